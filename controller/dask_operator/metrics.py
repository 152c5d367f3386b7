"""Counters and histograms of the controller's work for Prometheus. `process.gauges` has its current state."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
PREFIX = "dask_operator"

RECONCILE_DURATION = Histogram(
    "reconcile_duration_seconds",
    "How long it took to plan one cluster and to make the plan's writes.",
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
RECONCILE_ERRORS = Counter(
    "reconcile_errors",
    "How often planning a cluster or asking its scheduler ended in an error of the controller's own. It is a bug: the "
    "log has a traceback.",
    namespace=PREFIX,
    registry=REGISTRY,
)
API_REQUESTS = Counter(
    "api_requests",
    "Requests to the Kubernetes API by their outcome. Code 0 means no answer.",
    ("verb", "resource", "code"),
    namespace=PREFIX,
    registry=REGISTRY,
)
API_REQUEST_DURATION = Histogram(
    "api_request_duration_seconds",
    "How long the Kubernetes API took to answer, including the wait for a free connection; without watches.",
    ("verb",),
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
WATCH_RESTARTS = Counter(
    "watch_restarts",
    "How often a watch of this kind broke or was refused, so that all objects of the kind had to be listed anew.",
    ("kind",),
    namespace=PREFIX,
    registry=REGISTRY,
)
RETIREMENTS = Counter(
    "retirements",
    "Worker Pods that schedulers were asked to retire before a scale-down: those retired; those retired when their "
    "drain time ended, with what they ran (overdue); and those refused because no other worker could take what they "
    "hold.",
    ("outcome",),
    namespace=PREFIX,
    registry=REGISTRY,
)
SCHEDULER_ERRORS = Counter(
    "scheduler_errors",
    "Requests to Dask schedulers that failed, without an answer or with one that makes no sense.",
    namespace=PREFIX,
    registry=REGISTRY,
)
RETIRED, OVERDUE, REFUSED = (RETIREMENTS.labels(outcome) for outcome in ("retired", "overdue", "refused"))


def rendered() -> bytes:
    """Return all metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)
