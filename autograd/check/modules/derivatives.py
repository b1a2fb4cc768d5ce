"""Laws of a module's derivatives, and the law that all other laws take for granted.

Derivatives are checked twice: through `backward`, to first order, and through the tape, to second
order, with the parameters as arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.draws import REGIMES
from tapegrad.autograd.check.gradients import CheckError, check_gradients
from tapegrad.autograd.check.laws import Laws, NotCovered, must, must_be_close, must_be_transposed
from tapegrad.autograd.check.modules.trial import (
    NO_SECOND_ORDER,
    ModuleTrial,
    floating_arrays,
    has_handwritten_gradients,
)
from tapegrad.autograd.check.probing import probe
from tapegrad.autograd.check.report import Report
from tapegrad.autograd.core.tensor import as_array
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.transforms.products import jvp, vjp

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["LAWS"]

LAWS = Laws("module")


NOT_DETERMINISTIC = (
    "{name} is not deterministic: equal modules, seeds and inputs gave different values in calls "
    "{first} and {call} (largest difference {gap:.3g}). Take random numbers from tapegrad's own "
    "generator (random_stream() of a Module), which equal seeds make equal"
)


@LAWS()
def equal_calls_give_equal_tensors(trial: ModuleTrial) -> None:
    """Equal modules, seeds and inputs give equal bits, and results are Tensors."""
    x = trial.on_input()
    first = trial.forward(trial.copy(), x)
    call = trial.calls
    second = trial.forward(trial.copy(), x)
    gaps = [
        float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64)), initial=0))
        for a, b in zip(first, second, strict=True)
        if a.tobytes() != b.tobytes() and not (np.isnan(a) & np.isnan(b)).all()
    ]
    if gaps:
        raise CheckError(
            NOT_DETERMINISTIC.format(
                name=repr(trial), first=call, call=trial.calls, gap=max(gaps)
            )
        )  # fmt: skip


@LAWS(regimes=REGIMES, effort=1.0)
def its_gradients_are_the_derivatives(trial: ModuleTrial) -> Report:
    """gradInput and the parameters' gradients, from forward and backward, are the derivatives."""
    if not trial.point():
        return Report(repr(trial), ())  # indices in, no parameters: nothing to differentiate by
    module = trial.copy()
    count = len(floating_arrays(trial.input))

    def module_input(point: Sequence[np.ndarray]) -> Any:
        for parameter, value in zip(trial.parameters(module), point[count:], strict=True):
            parameter.data[...] = value
        return trial.on_input(point[:count])

    def evaluate(point: Sequence[np.ndarray]) -> list[np.ndarray]:
        return trial.forward(module, module_input(point))

    def pull(point: Sequence[np.ndarray], v: Sequence[np.ndarray]) -> list[np.ndarray]:
        x = module_input(point)
        trial.with_zero_gradients(module)
        trial.forward(module, x)
        found = trial.backward(module, x, v)
        structure = [tuple(g.shape) for g in found]
        expected = [tuple(np.shape(leaf)) for leaf in floating_arrays(trial.input)]
        must(structure == expected, f"gradInput has shapes {structure}, the input has {expected}")
        return [*found, *trial.gradients(module)]

    probes = probe(evaluate, pull, trial.point(), trial.rng, names=trial.names)
    return Report(repr(trial), probes).raise_if_wrong()


@LAWS(regimes=("ordinary", "grid"), effort=0.4, deep=True)
def its_second_derivatives_are_right(trial: ModuleTrial) -> Report | NotCovered:
    """The tape's second derivatives are right, with inputs and parameters as arguments."""
    if not trial.point():
        return Report(repr(trial), ())  # indices in, no parameters: nothing to differentiate by
    module = trial.copy()
    if has_handwritten_gradients(module):
        return NotCovered(NO_SECOND_ORDER)
    count = len(floating_arrays(trial.input))

    with ExitStack() as stack:

        def fn(*arguments: Tensor) -> Any:
            devices.manual_seed(trial.draws.seed)
            stack.close()
            # left open until the next call, since a checkpoint reads parameters in the reverse
            # sweep
            stack.enter_context(trial.with_parameters(module, arguments[count:]))
            return trial.call(module, trial.on_input(arguments[:count]))

        return check_gradients(
            fn, *trial.point(), order=2, seed=trial.draws.seed, probes=1, name=repr(trial)
        )


@LAWS()
def pushed_tangents_agree_with_its_gradients(trial: ModuleTrial) -> NotCovered | None:
    """⟨v, J·u⟩ = ⟨Jᵀ·v, u⟩, with inputs and parameters as arguments of the module."""
    point = trial.point()
    module = trial.copy()
    if has_handwritten_gradients(module):
        return NotCovered(NO_SECOND_ORDER)
    count = len(floating_arrays(trial.input))

    def fn(*arguments: Tensor) -> Any:
        devices.manual_seed(trial.draws.seed)
        with trial.with_parameters(module, arguments[count:]):
            outputs = leaves(trial.call(module, trial.on_input(arguments[:count])))
        return [y for y in outputs if y.dtype.kind == "f"]

    u = [gaussian(trial.rng, x.shape) for x in point]
    values, pushed = jvp(fn, tuple(point), tuple(u))
    v = [gaussian(trial.rng, np.shape(y)) for y in values]
    with ExitStack() as stack:

        def recorded(*arguments: Tensor) -> Any:
            devices.manual_seed(trial.draws.seed)
            # left open, since a checkpoint reads parameters in the reverse sweep
            stack.enter_context(trial.with_parameters(module, arguments[count:]))
            outputs = leaves(trial.call(module, trial.on_input(arguments[:count])))
            return [y for y in outputs if y.dtype.kind == "f"]

        _, pull = vjp(recorded, tuple(point))
        gradients = pull(v)
    must_be_transposed(v, list(map(as_array, pushed)), list(map(as_array, gradients)), u)
    return None


@LAWS()
def backward_is_linear_in_grad_output(trial: ModuleTrial) -> None:
    """gradInput of 2u − 3v is 2·gradInput(u) − 3·gradInput(v); of 0 it is 0."""
    module, x, u = trial.after_forward()
    v = trial.cotangents(module)
    of_u, of_v = trial.backward(module, x, u), trial.backward(module, x, v)
    mixed = trial.backward(module, x, [2 * a - 3 * b for a, b in zip(u, v, strict=True)])
    for i, (m, a, b) in enumerate(zip(mixed, of_u, of_v, strict=True)):
        # terms that cancel inside may be as large as the cotangents, and so may their rounding
        scale = 3 * max(float(np.max(np.abs(term), initial=0)) for term in (a, b, *u, *v))
        must_be_close(m, 2 * a - 3 * b, f"gradInput {i}", relative=1e-12, scale=scale)
    for i, zero in enumerate(trial.backward(module, x, [0 * c for c in u])):
        must(not zero.any(), f"gradInput {i} of gradOutput 0 is not 0")
