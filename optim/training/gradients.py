"""How a trainer fills the gradients for a batch: at once, compiled, or with other ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.parameter import leaf_of
from tapegrad.autograd.core.tensor import array_of
from tapegrad.devices import collectives
from tapegrad.devices.collectives import RankGroup, SingleProcess
from tapegrad.optim.core.samples import samples_in
from tapegrad.optim.parallel.data_parallel import DataParallel, ShareLoss
from tapegrad.optim.training.checkpoint import Checkpoints
from tapegrad.optim.training.compiled_gradients import compile_gradients
from tapegrad.optim.training.evaluation import Evaluator, to_tensors
from tapegrad.optim.training.losses import batch_weights, is_mean_loss, sample_factors
from tapegrad.optim.training.ranks import SharedCheckpoints

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.compiled import Compiled
    from tapegrad.optim.core.optimizer import Optimizer
    from tapegrad.optim.training.data import Batch
    from tapegrad.optim.training.evaluation import Model
    from tapegrad.optim.training.metrics import Metric

__all__ = ["BatchGradients", "as_parallel"]


ROUNDS_OTHERWISE = (
    "Trainer(compile=True, parallel=DataParallel(shards=…)): a compiled step rounds otherwise than "
    "the first calls, which are recorded, and how many these are for a shard depends on the number "
    "of ranks. Leave out compile=, or the shards, which promise equal bits"
)


def as_parallel(
    model: Model, parallel: DataParallel | bool, *, compiled: bool
) -> DataParallel | None:
    """Return the DataParallel of a trainer; None where its rank works alone.

    Raises TypeError for what is neither a DataParallel, nor True, nor False; ValueError for shards
    of a trainer that compiles.
    """
    if isinstance(parallel, DataParallel):
        if compiled and parallel.shards is not None:
            raise ValueError(ROUNDS_OTHERWISE)
        return None if parallel.is_alone else parallel
    if not isinstance(parallel, bool):
        raise TypeError(
            f"Trainer: parallel is a DataParallel, True or False, not a {type(parallel).__name__}"
        )
    if not parallel or collectives.current().size == 1:
        return None
    return DataParallel(model)


class BatchGradients(Evaluator):
    """A model, a criterion and an optimizer whose gradients batches fill."""

    optimizer: Optimizer
    compile: bool
    parallel: DataParallel | None
    group: RankGroup
    _gradients: Compiled[...] | None = None

    def _fill_gradients(
        self, batch: Batch, accept: Callable[[float], None]
    ) -> tuple[float, tuple[float, float]]:
        """Fill the gradients for a batch; return its loss and the loss's (factor, weight).

        accept: called with the loss before any parameter's gradient changes, or, compiled on one
                rank, after; what it raises ends the step
        """
        if self.parallel is not None:
            return self._fill_with_ranks(self.parallel, batch, accept)
        if self.compile:
            value, weights, _, _ = self._run_compiled(
                batch, is_first=not self.optimizer.accumulated
            )
            accept(value)
            return value, weights
        self.optimizer.zero_grad()
        found = self._forward(batch)
        value = float(found.loss)
        accept(value)
        self._differentiate(found.loss)
        return value, found.weights

    def _differentiate(self, loss: Any) -> None:
        """Add the loss's derivatives to the gradients."""
        loss.backward()

    def _run_compiled(
        self, batch: Batch, *, is_first: bool
    ) -> tuple[float, tuple[float, float], Any, bool]:
        """Fill the gradients by a compiled step: loss, its (factor, weight), output, one_each."""
        if self._gradients is None:
            self._gradients = compile_gradients(self.model, self.criterion, self.optimizer.named)
        *inputs, target = batch
        factors, total = None, None
        if self.sample_weights:
            *inputs, target, sample_weights = batch
            factors, total = sample_factors(sample_weights, samples_in(target))
        self.optimizer.gradients()  # lie where the update reads them
        inputs = [to_tensors(x) for x in inputs]
        output, loss, one_each = self._gradients(inputs, target, factors, is_first)
        if total is not None:
            return float(loss), (total, total), output, one_each
        weights = batch_weights(self.criterion, output, target, one_each=one_each)
        return float(loss), weights, output, one_each

    # Several ranks --------------------------------------------------------------------------------

    def _fill_with_ranks(
        self, parallel: DataParallel, batch: Batch, accept: Callable[[float], None]
    ) -> tuple[float, tuple[float, float]]:
        self.optimizer.zero_grad()
        if not self.compile:
            result = parallel.of_batch(batch, self._share_loss, lambda r: accept(r.value))
            return result.value, (result.factor, result.weight)
        # A compiled share writes into the gradients, which are put back for the sum to come.
        before = [(g, array_of(g).copy()) for g in self.optimizer.gradients()]

        def put_back(value: float) -> None:
            for g, array in before:
                array_of(g)[...] = array
            accept(value)

        result = parallel.of_batch(
            batch, self._compiled_share_loss, lambda r: put_back(r.value), adjusted=True
        )
        return result.value, (result.factor, result.weight)

    def _share_loss(self, share: Batch) -> ShareLoss:
        found = self._forward(share)
        is_mean = self.sample_weights or is_mean_loss(
            self.criterion, found.output, found.target, one_each=found.one_each
        )
        return ShareLoss(found.loss, *found.weights, is_mean)

    def _compiled_share_loss(self, share: Batch) -> ShareLoss:
        value, (factor, weight), output, one_each = self._run_compiled(share, is_first=True)
        target = share[-2] if self.sample_weights else share[-1]
        is_mean = self.sample_weights or is_mean_loss(
            self.criterion, output, target, one_each=one_each
        )
        filled = [
            (leaf_of(p), array_of(p.grad))
            for p in self.optimizer.named.values()
            if p.grad is not None
        ]
        return ShareLoss(value, factor, weight, is_mean, filled)

    def _checkpoints_in(self, folder: str | Path, keep: int) -> Checkpoints:
        if self.group.size == 1:
            return Checkpoints(folder, keep)
        return SharedCheckpoints(folder, keep, self.group)

    def _group_for_evaluation(self, metrics: Sequence[Metric]) -> RankGroup:
        """All ranks; one where sums over ranks must not change a bit, or a metric has none."""
        parallel = self.parallel
        if parallel is None or parallel.shards is not None:
            return SingleProcess()
        can_merge = all(getattr(metric, "is_mergeable", False) for metric in metrics)
        return self.group if can_merge else SingleProcess()
