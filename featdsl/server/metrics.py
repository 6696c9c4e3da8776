"""The metrics of the server, for Prometheus. Labels are names of the registry and codes of errors, so that they are few."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

from featdsl.server.refusals import CODES

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

    from featdsl.query.answer import Answer

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable with the folder in which several workers keep their metrics; set before the first import."""

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """Counts requests. With several workers, each writes to files in a shared folder, and a scrape adds these up."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = registry = CollectorRegistry()
        seconds, of_set = "Time to answer a request of feature values.", ["set"]
        self._seconds = Histogram("featdsl_request_seconds", seconds, of_set, buckets=_SECONDS, registry=registry)
        self._rows = Counter("featdsl_rows", "Rows of keys that were answered.", of_set, registry=registry)
        unknown = "Rows without any value: their entities are unknown."
        self._unknown = Counter("featdsl_unknown_entities", unknown, of_set, registry=registry)
        slow = "Columns read from the tables although there is an online store."
        self._table_reads = Counter("featdsl_table_reads", slow, of_set, registry=registry)
        self._pushed = Counter("featdsl_pushed_events", "Events that were added.", ["source"], registry=registry)
        self._errors = Counter("featdsl_errors", "Requests that were refused, by code.", ["code"], registry=registry)
        published = "Time of the newest publication that an answer was read from, in seconds since 1970."
        self._published = Gauge(
            "featdsl_publication_timestamp_seconds", published, registry=registry, multiprocess_mode="max"
        )
        self._newest: datetime | None = None
        self._children: dict[str, tuple[Histogram, Counter, Counter, Counter]] = {}
        for code in CODES:
            self._errors.labels(code)

    def answered(self, label: str, seconds: float, answer: Answer, *, is_published: bool) -> None:
        """Count an answer; `is_published` says whether there is an online store to read it from."""
        children = self._children.get(label)
        if children is None:
            children = self._children[label] = (
                self._seconds.labels(label),
                self._rows.labels(label),
                self._unknown.labels(label),
                self._table_reads.labels(label),
            )
        timer, rows, unknown, table_reads = children
        timer.observe(seconds)
        rows.inc(len(answer.rows))
        if number := unknown_rows(answer):
            unknown.inc(number)
        if is_published and answer.from_tables:
            table_reads.inc(len(answer.from_tables))
        if answer.published_at is not None and answer.published_at != self._newest:
            self._newest = answer.published_at
            self._published.set(answer.published_at.timestamp())

    def pushed(self, source: str, events: int) -> None:
        """Count events that were added to a source."""
        self._pushed.labels(source).inc(events)

    def refused(self, code: str) -> None:
        """Count an error."""
        self._errors.labels(code).inc()

    def text(self) -> tuple[bytes, str]:
        """Return the metrics of all workers in Prometheus' format, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = self._registry
        if FOLDER in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST


def unknown_rows(answer: Answer) -> int:
    """Return the number of rows whose entities are unknown: those without any value, or by their statuses if there are any."""
    if answer.statuses is not None:
        return sum(any(each.status == "unknown_entity" for each in row.values()) for row in answer.statuses)
    return list(answer.rows).count(dict.fromkeys(answer.dtypes))
