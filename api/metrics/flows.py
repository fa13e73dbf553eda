"""The series of single flows: for those who may see them, and not more than a scraper can bear."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge

from api.readmodel.overdue import FlowLateness

MOST_SERIES = 1_000  # flows, or instances; those that are overdue first

_LABELS = ["flow_id", "flow"]


def series(late: Sequence[FlowLateness]) -> CollectorRegistry:
    """Return what is known of each flow; `late` has those that are overdue first."""
    registry = CollectorRegistry()
    overdue = Gauge(
        "flow_overdue",
        "1 for a flow whose last success is older than its schedule promises",
        _LABELS,
        registry=registry,
    )
    success = Gauge(
        "flow_last_success_timestamp_seconds",
        "When the last successful execution of a flow began; 0 when there was none",
        _LABELS,
        registry=registry,
    )
    interval = Gauge(
        "flow_expected_interval_seconds", "How often a flow's schedule has it run", _LABELS, registry=registry
    )
    for one in late[:MOST_SERIES]:
        labels = (one.flow_id, one.name)
        overdue.labels(*labels).set(one.overdue)
        success.labels(*labels).set(0 if one.last_success is None else one.last_success.timestamp())
        if one.interval is not None:
            interval.labels(*labels).set(one.interval.total_seconds())
    left_out = Gauge("flow_series_left_out", "Flows that are not shown, as there are too many", registry=registry)
    left_out.set(max(0, len(late) - MOST_SERIES))
    return registry
