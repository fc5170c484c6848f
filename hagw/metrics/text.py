"""Metrics in Prometheus' text format."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hagw.metrics.table import METRICS, Document

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def text(document: Document) -> bytes:
    """Return all metrics of a status document with `mib`. Takes a millisecond or two."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Status(document))
    return generate_latest(registry)


class _Status(Collector):
    """The list of metrics over one document."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def describe(self) -> Iterator[Metric]:
        """Describe nothing: that would collect once more."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        for metric in METRICS:
            family: CounterMetricFamily | GaugeMetricFamily
            if metric.kind == "counter":
                family = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            else:
                family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for labels, value in metric.samples(self._document):
                family.add_metric(labels, value)
            yield family
