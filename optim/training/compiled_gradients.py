"""A trainer's gradients as one compiled step: forward code, loss and reverse sweep.

The update stays outside.  Between gradients and update the trainer looks at the loss, which a
compiled step cannot, and an optimizer is one pass over its memory as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Parameter, Tensor, no_grad, ops
from tapegrad.optim.core.samples import samples_in
from tapegrad.optim.training.losses import mean_loss

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.compiled import Compiled
    from tapegrad.optim.training.evaluation import Model

__all__ = ["compile_gradients"]


def compile_gradients(
    model: Model, criterion: Callable[[Any, Any], Any], named: Mapping[str, Parameter]
) -> Compiled[...]:
    """Return a compiled (inputs, target, factors, zero) -> (output, loss, one_each).

    It fills the gradients; one_each says whether the criterion returned a loss for each sample.

    inputs:  a list of Tensors, or nests of them;  factors: see `mean_loss`
    zero:    whether the gradients of `named`, the optimizer's Parameters, begin at zero; else they
             go on from where they are
    """
    # A trainer that does not compile does not import the compiler either.
    from tapegrad.autograd.compiling.compiled import compile

    def gradients(inputs: list[Any], target: Any, factors: Tensor | None, zero: bool) -> Any:
        if zero:
            with no_grad():
                for p in named.values():
                    if p.grad is not None:
                        ops.assign(p.grad.detach(), 0)
        output = model(*inputs)
        losses = criterion(output, target)
        loss = mean_loss(losses, factors, samples_in(target))
        loss.backward()
        return output, loss, np.ndim(losses) > 0

    return compile(gradients)
