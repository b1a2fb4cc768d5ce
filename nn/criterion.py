"""Criterion: a module of two inputs whose output is one number, the loss.

The gradient is taken with respect to the first input, the prediction; the target is a constant of
the stateful methods.  ``criterion(x, target)`` composes on the tape as any module does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.tree import map_leaves
from tapegrad.nn import _span
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor

__all__ = ["Criterion"]


class Criterion(Module):
    """A loss: subclasses define ``updateOutput(self, x, target)`` and return a 0-d Tensor.

    (Torch7's nn.Criterion.)
    """

    def backward(self, input: Any, target: Any) -> Any:  # type: ignore[override]  # as in Torch7
        """The gradient of the loss with respect to `input`, kept as `gradInput`.

        Raises ValueError when `input` or `target` are not those of the last `forward`.
        """
        return self.updateGradInput(input, target)

    def updateGradInput(self, input: Any, target: Any) -> Any:
        """See `backward`: a criterion without parameters has nothing else to do."""
        name, method = type(self).__name__, "backward"
        span = _span.same_input(name, method, input, self._trace)
        assert self._trace is not None  # same_input has raised otherwise
        _span.same_target(name, method, target, self._target)
        seeds = _span.seeds_for(name, method, span, map_leaves(_one, span.output))
        found = _span.reverse(self._trace, seeds, inputs=True, parameters=None)
        _span.gradients_to_inputs(self._trace, found, None)
        return self.gradInput

    def __call__(self, *inputs: Any) -> Any:
        """The loss of (input, target) as a Tensor on the current tape; no state is kept."""
        return _span.call(self, inputs, self.updateOutput)

    def _traced(self, inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], Callable[..., Any]]:
        if len(inputs) != 2:
            raise TypeError(f"{type(self).__name__}.forward takes input and target")
        x, target = inputs
        self._target = _span.as_tensors(target)
        constant = map_leaves(lambda t: t.detach(), self._target)
        return (x,), lambda x: self.updateOutput(x, constant)

    _target: Any = None


def _one(output: Tensor) -> Any:
    from tapegrad.autograd.sweep import seed_for

    return seed_for(output, None)
