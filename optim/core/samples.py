"""How many samples a batch has."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["samples_in"]


def samples_in(target: Any) -> int:
    """Return how many samples a batch has: the length of its target, or of the first of several."""
    while isinstance(target, (list, tuple, dict)):
        entries = list(target.values()) if isinstance(target, dict) else target
        if not entries or not _has_length(entries[0]):
            break
        target = entries[0]
    return len(target)


def _has_length(value: Any) -> bool:
    return isinstance(value, (list, tuple, dict)) or np.ndim(value) > 0
