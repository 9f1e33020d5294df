"""The metrics: one table, and the scorer that applies it to a batch.

A metric is a function and a line of the table. Most divide sums over an image's known pixels; the pooled ones
(``…_pooled``) divide the sums of all images, so an uneven last batch cannot bias either.
"""

from __future__ import annotations

from basrelief.metrics.names import is_pooled_name, pooled_name, unpooled_name
from basrelief.metrics.score import count_images, pool, score_batch, summarise
from basrelief.metrics.spec import MetricSpec
from basrelief.metrics.table import (
    DEFINITIONS_VERSION,
    METRICS,
    alignments_of,
    check_metric,
    default_metric,
    higher_is_better,
    is_in_unit,
    main_metrics,
    metric_spec,
    metrics_for,
)

__all__ = [
    "DEFINITIONS_VERSION",
    "METRICS",
    "MetricSpec",
    "alignments_of",
    "check_metric",
    "count_images",
    "default_metric",
    "higher_is_better",
    "is_in_unit",
    "is_pooled_name",
    "main_metrics",
    "metric_spec",
    "metrics_for",
    "pool",
    "pooled_name",
    "score_batch",
    "summarise",
    "unpooled_name",
]
