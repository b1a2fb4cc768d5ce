"""What a Trainer does with other ranks: shares, checkpoints by one of them, common decisions.

All ranks of a run make the same calls in the same order.  What only one rank knows, such as an
error of its disk or a callback's wish to stop, the others are told before they go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.optim.training.checkpoint import Checkpoints, ResumeError, decode, encode
from tapegrad.optim.training.losses import MeanLoss

if TYPE_CHECKING:
    from tapegrad.devices.collectives import RankGroup
    from tapegrad.optim.training.data import Batch
    from tapegrad.optim.training.metrics import Metric

__all__ = ["SharedCheckpoints", "agree_to_go_on", "batches_of_rank", "merge_figures"]

NOT_WRITTEN = "rank 0 could not do it: {why}"
UNEQUAL = (
    "rank {rank} has no more batches in this epoch, and others have: every rank must be given the "
    "same batches, of which a Trainer cuts the shares itself"
)


class SharedCheckpoints(Checkpoints):
    """Checkpoints that rank 0 writes and reads; the other ranks get what it read."""

    def __init__(self, folder: str | Path, keep: int, group: RankGroup) -> None:
        self.group = group
        self.folder, self.keep = Path(folder), keep
        self._by_first(lambda: super(SharedCheckpoints, self).__init__(folder, keep))

    def _by_first(self, action: Any) -> None:
        """Let rank 0 act; raise on every rank what went wrong there."""
        failure: Exception | None = None
        if self.group.rank == 0:
            try:
                action()
            except Exception as error:  # noqa: BLE001  # raised below, when the others know of it
                failure = error
        why = self.group.broadcast_bytes(str(failure or "").encode())
        if failure is not None:
            raise failure
        if why:
            raise ResumeError(NOT_WRITTEN.format(why=why.decode()))

    def save(self, step: int, content: Any, *, best: bool = False) -> Path:
        """Let rank 0 write; return when the file is there.  Raises ResumeError as rank 0 does."""
        self._by_first(lambda: super(SharedCheckpoints, self).save(step, content, best=best))
        return self.folder / f"step-{step:09d}.ckpt"

    def load_latest(self) -> Any | None:
        """Return the newest complete checkpoint of rank 0's folder, or None."""
        return self._shared(super().load_latest)

    def load_best(self) -> Any | None:
        """Return the content of rank 0's best.ckpt, or None."""
        return self._shared(super().load_best)

    def _shared(self, load: Any) -> Any | None:
        found: list[Any] = []
        self._by_first(lambda: found.append(load()))
        content = None
        if self.group.rank == 0 and found[0] is not None:
            content = b"".join(encode(found[0]))
        content = self.group.broadcast_bytes(content)
        return decode(content) if content else None


def agree_to_go_on(group: RankGroup, *, stop: bool, has_batch: bool) -> bool:
    """Tell whether the ranks go on with another step: none wants to stop, all have a batch.

    Raises RuntimeError on every rank where some have a batch and others none.
    """
    if group.size == 1:
        return has_batch and not stop
    flags = group.all_gather(np.array([stop, has_batch], np.uint8))
    have = flags[:, 1].tolist()
    if not flags[:, 0].any() and len(set(have)) > 1:
        raise RuntimeError(UNEQUAL.format(rank=have.index(0)))
    return not flags[:, 0].any() and bool(have[0])


def batches_of_rank(batches: Iterator[Batch], group: RankGroup) -> Iterator[Batch]:
    """Go through every n-th batch, beginning with batch number `rank`."""
    for index, batch in enumerate(batches):
        if index % group.size == group.rank:
            yield batch


def merge_figures(
    group: RankGroup, mean: MeanLoss, count: int, metrics: Sequence[Metric]
) -> tuple[MeanLoss, int]:
    """Return the mean loss and the number of batches of all ranks; the metrics are merged."""
    if group.size == 1:
        return mean, count
    total, weight, batches = group.sum_numbers(mean.total, mean.weight, count)
    own = b"".join(encode([metric.state_dict() for metric in metrics]))
    states = [decode(state) for state in group.all_gather_bytes(own)]
    for i, metric in enumerate(metrics):  # in one order, so that all ranks have equal bits
        for name, collected in states[0][i].items():
            setattr(metric, name, collected)
        for state in states[1:]:
            metric.merge(state[i])
    return MeanLoss(total, weight), int(batches)
