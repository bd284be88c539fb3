"""What an operator sees: metrics, health, logs, systemd notices, events. Knows no source, store or worker."""
