"""What a server counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from noria.server.protocol import Request
from noria.server.stepping import Run

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_EVENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class Metrics:
    """Counters and histograms of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._events = Counter(
            "noria_events", "Events taken and durable", ["model"], registry=registry
        )
        self._problems = Counter(
            "noria_problems", "Requests refused", ["problem"], registry=registry
        )
        self._batch = Histogram(
            "noria_batch_events", "Events in a batch", buckets=_EVENTS, registry=registry
        )
        self._step = Histogram(
            "noria_step_seconds", "Stepping a batch", buckets=_SECONDS, registry=registry
        )
        self._commit = Histogram(
            "noria_commit_seconds", "Committing a batch", buckets=_SECONDS, registry=registry
        )
        self._request = Histogram(
            "noria_request_seconds",
            "From a message's arrival to its answer",
            buckets=_SECONDS,
            registry=registry,
        )

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Report what a function returns whenever the metrics are read."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def refused(self, problem: str) -> None:
        """A request met a problem."""
        self._problems.labels(problem).inc()

    def batch(self, runs: Sequence[Run], step_s: float, commit_s: float) -> None:
        """A batch was stepped and committed."""
        events = 0
        for run in runs:
            if run.change is not None:
                events += len(run.answers)
                self._events.labels(run.key.model).inc(len(run.answers))
        self._batch.observe(events)
        self._step.observe(step_s)
        self._commit.observe(commit_s)

    def waited(self, requests: Sequence[Request]) -> None:
        """Requests were answered."""
        now = time.monotonic()
        for request in requests:
            self._request.observe(now - request.arrived_s)

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self._registry)
