"""Metrics.  Source: mx.metric."""

from __future__ import annotations

from typing import Any

__all__ = ["as_metric"]


def as_metric(metric: Any) -> Any:
    """The metric itself, or the one of a name."""
    return metric
