"""The long-running loops. Each is one object with a ``run()`` that the daemon supervises."""
