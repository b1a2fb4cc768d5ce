"""Running statistics of several ranks or shards, as one: their means, weighted by samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import array_of, untracked

if TYPE_CHECKING:
    from tapegrad.devices.collectives import RankGroup

__all__ = ["MeanStatistics"]


class MeanStatistics:
    """The buffers of a model, while shards of one batch move them from the same beginning.

    Those of floating point become Σ samples · buffer / Σ samples, where a shard changed them; the
    others the largest.
    """

    def __init__(self, buffers: list[Any]) -> None:
        self._buffers = buffers
        self._before = [array_of(buffer).copy() for buffer in buffers]
        self._host = [devices.to_numpy(array) for array in self._before]

    def restore(self) -> None:
        """Give the buffers the content that they had at first."""
        for buffer, array in zip(self._buffers, self._before, strict=True):
            buffer.assign(untracked(array.copy()))

    def summary(self, samples: int) -> np.ndarray[Any, Any]:
        """Return what the buffers hold now, times `samples`, and which changed: (n,) float64."""
        parts: list[Any] = []
        for buffer, before in zip(self._buffers, self._host, strict=True):
            now = devices.to_numpy(array_of(buffer))
            is_changed = samples and not np.array_equal(now, before, equal_nan=True)
            parts.append([float(is_changed)])
            if now.dtype.kind == "f":
                parts.append((now if samples else np.zeros_like(now)).ravel() * np.float64(samples))
        return np.concatenate(parts) if parts else np.zeros(0)

    def take(
        self, total: np.ndarray[Any, Any], samples: float, group: RankGroup, largest: list[Any]
    ) -> None:
        """Set the buffers from the sum of all summaries, over so many samples.

        largest: from `largest_numbers`, of this rank's shards
        """
        start = 0
        for buffer, before, whole in zip(self._buffers, self._host, largest, strict=True):
            is_changed = total[start] > 0
            start += 1
            value = before
            if before.dtype.kind == "f":
                mean = total[start : start + before.size].reshape(before.shape)
                start += before.size
                if is_changed and samples:
                    value = (mean / samples).astype(before.dtype)
            elif before.dtype.kind in "iu" and is_changed:
                value = np.ascontiguousarray(whole)
                group.all_reduce(value, "max")
            home = devices.device_of(array_of(buffer))
            buffer.assign(untracked(devices.to_device(value.copy(), home)))

    def largest_numbers(self, so_far: list[Any] | None) -> list[Any]:
        """Return the largest of `so_far` and the buffers' present content, entry by entry."""
        now = [devices.to_numpy(array_of(buffer)).copy() for buffer in self._buffers]
        if so_far is None:
            return now
        return [
            np.maximum(a, b) if a.dtype.kind in "iu" else b
            for a, b in zip(so_far, now, strict=True)
        ]
