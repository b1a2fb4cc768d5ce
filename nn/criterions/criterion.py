"""Criterion: a module of two inputs whose output is one number, the loss.

`backward` returns the gradient with respect to the first input, the prediction; in the stateful
methods the target is a constant.  ``criterion(x, target)`` composes on the tape as any module does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from tapegrad.autograd.core.tree import map_leaves
from tapegrad.nn.core.half import run_in_single
from tapegrad.nn.core.own import gradient_from_tape
from tapegrad.nn.core.part import fresh_result
from tapegrad.nn.core.reading import (
    add_to_parameter_gradients,
    check_same_target,
    checked_root_span,
    seeds_for,
    store_input_gradients,
    sweep_trace,
)
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.trace import as_tensors, run_module
from tapegrad.nn.core.transient import transient_state_of
from tapegrad.nn.criterions.targets import is_mean
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd import Parameter, Tensor
    from tapegrad.autograd.core.types import Nest
    from tapegrad.nn.core.spans import Trace

__all__ = ["Criterion"]


class Criterion(Module):
    """A loss: subclasses define ``updateOutput(self, x, target)`` and return a 0-d Tensor.

    reduction: "mean" or "sum" of the losses, or "none" for each of them; None, the default, is what
    sizeAverage says.  `backward` gives the gradient of the sum of what is returned.
    A loss that uses no target can be called without one.  Of float16 predictions the loss is
    computed in float32, and returned in float16.  (Torch7's nn.Criterion.)
    """

    keeps: ClassVar[tuple[str, ...]] = ("reduction",)
    promotes = True
    reduction: str | None = None
    sizeAverage = True
    _in_graphs = False

    if TYPE_CHECKING:  # each loss has its own; this declares what all of them return

        def updateOutput(self, *inputs: Any, **named: Any) -> Tensor: ...

    @gradient_from_tape
    def backward(self, input: Nest, target: Nest = None) -> Nest:  # type: ignore[override]  # as in Torch7
        """Compute, keep and return `gradInput`, the gradient of the loss with respect to `input`.

        The gradients of the loss's own Parameters, if it has any, are added to theirs.
        Raises ValueError when `input` or `target` are not those of the last `forward`, RuntimeError
        without a forward.
        """
        if self._by_hand:
            self.updateGradInput(input, target)
            if self._parameters():
                self.accGradParameters(input, target, 1)
            return fresh_result(self.gradInput)
        trace, cotangents = self._reverse_loss("backward", input, target, None)
        add_to_parameter_gradients(cotangents, 1)
        store_input_gradients(trace, cotangents, None)
        return fresh_result(self.gradInput)

    @gradient_from_tape
    def updateGradInput(self, input: Nest, target: Nest = None) -> Nest:
        """As `backward`; the gradients of the loss's own Parameters stay as they are."""
        trace, cotangents = self._reverse_loss("updateGradInput", input, target, [])
        store_input_gradients(trace, cotangents, None)
        return fresh_result(self.gradInput)

    @gradient_from_tape
    def accGradParameters(self, input: Nest, target: Nest = None, scale: float = 1) -> None:
        """Add scale times the gradient of the loss to that of each of its own Parameters."""
        _, cotangents = self._reverse_loss(
            "accGradParameters", input, target, self._parameters(), inputs=False
        )
        add_to_parameter_gradients(cotangents, scale)

    def _reverse_loss(
        self,
        method: str,
        input: Nest,
        target: Nest,
        parameters: list[Parameter] | None,
        *,
        inputs: bool = True,
    ) -> tuple[Trace, dict[Any, Any]]:
        name = type(self).__name__
        run = transient_state_of(self)
        trace = run.trace
        span = checked_root_span(name, method, input, trace)
        assert trace is not None  # checked_root_span raises otherwise
        check_same_target(name, method, target, run.target)
        seeds = seeds_for(name, method, span, map_leaves(_unit_seed, span.output))
        return trace, sweep_trace(trace, seeds, inputs=inputs, parameters=parameters)

    def _compose(self, inputs: tuple[Any, ...], named: Mapping[str, Any] | None = None) -> Any:
        """The loss of (input, target), as a part of the current tape."""
        x, *target = self._checked(inputs)
        # The target is no input of the span, so that gradInput is that of the prediction alone.
        return run_module(self, (x,), self._update_for(*map(as_tensors, target)), named)

    def _traced(self, inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], Callable[..., Any]]:
        x, *target = self._checked(inputs)
        tensors = transient_state_of(self).target = as_tensors(target[0]) if target else None
        constants = map_leaves(lambda t: t.detach(), tensors)
        return (x,), self._update_for(constants)

    def _update_for(self, *target: Nest) -> Callable[..., Any]:
        """The forward code as a function of the prediction; it computes in float32 for float16."""

        def update(x: Nest, **named: Any) -> Tensor:
            forward = partial(self.updateOutput, **named) if named else self.updateOutput
            loss: Tensor = run_in_single(forward, x, *target)
            return loss

        return update

    def _checked(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if not 1 <= len(inputs) <= 2:
            raise TypeError(f"{type(self).__name__}.forward takes input and target")
        return inputs

    def mean_weights(self, x: Nest, target: Nest, samples: int) -> tuple[float, float]:
        """Return (factor, weight) of a batch: Σ factor·loss / Σ weight is the mean over batches.

        A loss that is a mean over samples has (samples, samples), a sum (1, samples): the mean over
        several batches is then a mean over their samples, whatever the sizes of the batches.
        """
        return (samples if is_mean(self) else 1), samples

    def __repr__(self) -> str:
        return torch7_name(self)


def _unit_seed(output: Tensor) -> Tensor:
    return output.full_like(1, output.dtype)
