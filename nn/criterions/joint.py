"""Criterions made of criterions: weighted sums, one for each entry of a list, modules in front.

A weighted sum keeps the criterions in the list `criterions` and their factors in `weights`, as in
Torch7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from tapegrad import devices
from tapegrad.autograd import no_grad, ops
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.core.trace import promote_integers
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.targets import (
    is_mean,
    require_number,
    set_reduction,
    sum_or_mean,
    target_of_shape,
    target_tensor,
)
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest

__all__ = [
    "CriterionTable",
    "ModuleCriterion",
    "MultiCriterion",
    "ParallelCriterion",
    "SampleWeightedCriterion",
    "TransformerCriterion",
]


class MultiCriterion(Criterion):
    """loss = Σₖ weightₖ·criterionₖ(x, target): several criterions of one prediction and target.

    x, target: as every criterion takes them -> 0-d.  Source: nn.MultiCriterion.
    """

    keeps: ClassVar[tuple[str, ...]] = ("criterions", "weights")
    promotes = False  # each of the criterions does

    def __init__(self) -> None:
        self.criterions: list[Criterion] = []
        self.weights: list[float] = []

    def add(self, criterion: Criterion, weight: float = 1) -> Self:
        """Append a criterion with a factor; returns self.

        Raises TypeError for what is no criterion.
        """
        if not isinstance(criterion, Criterion):
            raise TypeError(f"{type(self).__name__} holds criterions, not {criterion!r:.60}")
        self.criterions.append(criterion)
        self.weights.append(weight)
        return self

    def updateOutput(self, x: Nest, target: Nest = None) -> Tensor:
        count = len(self.criterions)
        return self._weighted_sum([x] * count, [target] * count)

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        """The weights of the parts, if all have the same; else those of a mean over samples.

        The sum of a mean and of a sum depends on the size of the batch, in training as well.
        """
        count = len(self.criterions)
        return self._common_weights([x] * count, [target] * count, samples)

    def _common_weights(self, inputs: Any, targets: Any, samples: int) -> tuple[float, float]:
        children = zip(self.criterions, inputs, targets, strict=True)
        found = {criterion.mean_weights(x, t, samples) for criterion, x, t in children}
        return found.pop() if len(found) == 1 else (samples, samples)

    def _weighted_sum(self, inputs: Any, targets: Any) -> Any:
        if not self.criterions:
            raise ValueError(f"{type(self).__name__} has no criterions: add(criterion, weight)")
        children = zip(self.criterions, self.weights, inputs, targets, strict=True)
        losses = [
            require_number(criterion(x, t), self) * weight for criterion, weight, x, t in children
        ]
        return ops.sum(ops.stack(losses))


class ParallelCriterion(MultiCriterion):
    """loss = Σₖ weightₖ·criterionₖ(x[k], target[k]): one criterion for each entry of a list.

    x: a list with an entry for each criterion;  target: such a list too, or, with repeatTarget,
    one target for all -> 0-d.
    Raises ShapeError when the lengths differ.  Source: nn.ParallelCriterion.
    """

    keeps = ("repeatTarget",)

    def __init__(self, repeatTarget: bool = False) -> None:
        super().__init__()
        self.repeatTarget = bool(repeatTarget)

    def updateOutput(self, x: Nest, target: Nest = None) -> Tensor:
        count = len(self.criterions)
        targets = self._targets(target)
        for what, entries in (("input", x), ("target", targets)):
            if not isinstance(entries, (list, tuple)) or len(entries) != count:
                raise ShapeError(f"the {what} is not a list of {count} entries, one a criterion")
        return self._weighted_sum(x, targets)

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        return self._common_weights(x, self._targets(target), samples)

    def _targets(self, target: Nest) -> Any:
        return [target] * len(self.criterions) if self.repeatTarget else target


class ModuleCriterion(Criterion):
    """loss = criterion(inputModule(x), targetModule(target)).

    Either module may be None, and then changes nothing.  Targets are constants: targetModule gets
    no gradient.  `backward` adds to the gradients of inputModule's parameters, which Torch7 leaves
    out.  castTarget: bring the target to the dtype of the prediction.
    Source: nn.ModuleCriterion.
    """

    keeps = ("inputModule", "targetModule", "castTarget", "criterion")
    promotes = False  # inputModule may look up indices

    def __init__(
        self,
        criterion: Criterion,
        inputModule: Module | None = None,
        targetModule: Module | None = None,
        castTarget: bool = True,
    ) -> None:
        self.inputModule = inputModule
        self.targetModule = targetModule
        self.castTarget = castTarget
        if inputModule is not None and inputModule is targetModule:
            raise ValueError("ModuleCriterion: inputModule and targetModule must not be the same")
        self.criterion = criterion

    def updateOutput(self, x: Nest, target: Nest = None) -> Tensor:
        if self.inputModule is not None:
            x = self.inputModule(x)
        x = promote_integers(x)  # castTarget would truncate the target to integers
        target = self._target(target)
        if self.castTarget and getattr(target, "dtype", x.dtype) != x.dtype:
            target = ops.cast(target, dtype=x.dtype)
        return self.criterion(x, target)

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        # The labels alone decide: inputModule need not run a second time, and draw from its stream.
        return self.criterion.mean_weights(x, self._target(target), samples)

    def _target(self, target: Nest) -> Any:
        if self.targetModule is None:
            return target
        with no_grad():
            return self.targetModule(target)


class TransformerCriterion(ModuleCriterion):
    """ModuleCriterion under BigDL's name: criterion(inputTransformer(x), targetTransformer(t)).

    x, target: what the modules take -> 0-d; without a module they go to the criterion as they are.
    Source: BigDL's TransformerCriterion.
    """

    def __init__(
        self,
        criterion: Criterion,
        inputTransformer: Module | None = None,
        targetTransformer: Module | None = None,
    ) -> None:
        super().__init__(criterion, inputTransformer, targetTransformer)


class SampleWeightedCriterion(Criterion):
    """loss = Σₙ wₙ·lossₙ / Σₙ wₙ: a criterion's loss of each sample, weighted.

    x: (N, …);  target: [t, w], what the criterion takes, and the weights (N,) -> 0-d.  A loss of a
    sample is the mean over its entries.  The criterion must take `reduction`; whatever its own is,
    this one's decides: "mean" as above, "sum" without the division, "none" gives (N,).
    The loss of weights that are all 0 is 0.  Raises ShapeError for another number of weights,
    TypeError for a criterion whose losses cannot be had one by one.
    """

    keeps = ("criterion",)
    promotes = False

    def __init__(self, criterion: Criterion, reduction: str = "mean") -> None:
        self.criterion = criterion
        set_reduction(self, reduction)

    def updateOutput(self, x: Tensor, target: Nest) -> Tensor:
        t, w = entries_of(target, 2)
        own, self.criterion.reduction = self.criterion.reduction, "none"
        try:
            losses = self.criterion(x, t)
        finally:
            self.criterion.reduction = own
        if losses.shape[:1] != x.shape[:1]:
            raise TypeError(
                f"{type(self.criterion).__name__} has no losses of single samples: it gave shape "
                f"{losses.shape} for the input of shape {x.shape}"
            )
        if losses.ndim > 1:
            losses = ops.mean(losses, axis=tuple(range(1, losses.ndim)))
        w = target_of_shape(target_tensor(w, x), losses.shape, "one weight for each sample")
        w = ops.cast(w, dtype=losses.dtype)
        total = ops.sum(w)
        return sum_or_mean(losses * w, self, ops.where(ops.equal(total, 0), 1, total))

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        """The mean divides by the weights of the samples, and so does that of batches."""
        if not is_mean(self):
            return 1, samples
        w = target_tensor(entries_of(target, 2)[1], x).detach()
        total = float(devices.to_numpy(array_of(w)).sum())
        return total, total


class CriterionTable(Module):
    """y = criterion(x, target) of the list [x, target], 0-d: a criterion as a layer of a network.

    The target's gradient is 0.  Source: nn.CriterionTable.
    """

    keeps = ("criterion",)

    def __init__(self, criterion: Criterion) -> None:
        self.criterion = criterion

    def updateOutput(self, x: Nest) -> Tensor:
        prediction, target = entries_of(x, 2)
        return self.criterion(prediction, target.detach())
