"""What a scrape of the metrics shows."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from quantdesk_oracle.ops.metrics import Metrics


def scraped(metrics: Metrics, name: str, **labels: str) -> float | None:
    """The value of one series; None where there is none."""
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None
