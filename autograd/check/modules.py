"""Laws of modules: what every layer and container must do, whoever wrote it.

Modules are known by Torch7's methods only (`forward`, `backward`, `parameters`, …), so a layer from
another package meets the same laws.  Derivatives are checked twice: through `backward`, as users
of the methods see them, and through the tape, to second order, with the parameters put in as
arguments.  The rest are the promises that hand-written layers break: accumulation, scale, stale
buffers, shared memory, modes, copies.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.draws import REGIMES, Draws
from tapegrad.autograd.check.gradients import CheckError, check_gradients, paths
from tapegrad.autograd.check.laws import (
    Laws,
    NotCovered,
    must,
    must_be_close,
    must_be_equal,
    must_be_unchanged,
    snapshot,
)
from tapegrad.autograd.check.layouts import ODD_LAYOUTS
from tapegrad.autograd.check.primitives import must_leave_no_cycles
from tapegrad.autograd.check.probing import probe
from tapegrad.autograd.check.report import LawError, Report
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, map_leaves, unflatten
from tapegrad.autograd.replay.step import replay

__all__ = ["MODULE_LAWS", "Layer", "ModuleTrial"]

MODULE_LAWS = Laws("module")

NOT_TENSORS = (
    "{name} returned {type} in call {call}: a layer returns Tensors, or nested lists, tuples and "
    "dicts of them. Was a value taken out with .numpy() or float()?"
)
SHAPE_CHANGED = (
    "{name} returned shapes {before} in call {first} and {after} in call {call}, on inputs of the "
    "same shapes: a layer whose output shape depends on values cannot be checked"
)
NOT_DETERMINISTIC = (
    "{name} is not deterministic: equal modules, seeds and inputs gave different values in calls "
    "{first} and {call} (largest difference {gap:.3g}). Take random numbers from tapegrad's own "
    "generator (random_stream() of a Module), which equal seeds make equal"
)


@dataclass
class Layer:
    """One drawn example of a module: itself, an input, and what is known about it.

    input:    array, or nest of arrays, that `forward` takes
    wrong:    an input that it must refuse, None if it takes everything
    batch:    "always" if a batch gives the samples' outputs stacked, "evaluate" if only in
              evaluation mode, None if the samples of a batch meet or there is no batch axis
    target:   of criterions
    """

    module: Any
    input: Any
    wrong: Any = None
    batch: str | None = None
    target: Any = None


class ModuleTrial:
    """A module in float64 with random parameters, in a drawn mode, and one drawn input."""

    def __init__(self, name: str, case: Callable[[Draws], Layer], draws: Draws) -> None:
        self.name = name
        self.draws = draws
        self.rng = draws.rng
        self.calls = 0
        self._shapes: dict[Any, tuple[int, Any]] = {}
        self.stochastic: bool | None = getattr(case, "stochastic", None)
        self.layer = case(draws)
        self.module = self.layer.module.double()
        self.training = draws.choice([True, False])
        self.set_mode(self.module)
        for parameter in self.parameters(self.module):
            parameter.data[...] = 0.5 * gaussian(self.rng, parameter.shape)
        self.input = self.layer.input
        self.names = [path for path, leaf in paths(self.input, "input") if _is_float(leaf)]
        self.names += [f"parameter {i}" for i in range(len(self.parameters(self.module)))]

    def __repr__(self) -> str:
        mode = "training" if self.training else "evaluation"
        return f"{self.module!r} on {_described(self.input)} in {mode} mode"

    # What can be done with a module ------------------------------------------------------------

    def set_mode(self, module: Any) -> Any:
        """Put the module in the trial's mode."""
        return module.training() if self.training else module.evaluate()

    def parameters(self, module: Any) -> list[Any]:
        """The module's parameters."""
        return list(module.parameters()[0] or [])

    def gradients(self, module: Any) -> list[np.ndarray]:
        """Copies of the parameters' gradients."""
        return [np.array(g.numpy()) for g in module.parameters()[1] or []]

    def values(self, module: Any) -> list[np.ndarray]:
        """Copies of the parameters."""
        return [np.array(p.numpy()) for p in self.parameters(module)]

    def copy(self) -> Any:
        """A module of its own, equal to the trial's."""
        return self.module.clone()

    def point(self) -> list[np.ndarray]:
        """Floating point inputs, then parameters: what is differentiated."""
        return [*_floats(self.input), *self.values(self.module)]

    def on_input(self, floats: Sequence[Any] | None = None) -> Any:
        """The input as Tensors, with other floating point arrays if given."""
        given = iter(_floats(self.input) if floats is None else floats)
        return map_leaves(
            lambda leaf: _as_tensor(next(given) if _is_float(leaf) else leaf), self.input
        )

    def forward(self, module: Any, x: Any) -> list[np.ndarray]:
        """Copies of the outputs' arrays; random layers draw the same numbers each time."""
        devices.manual_seed(self.draws.seed)
        return [np.array(y.numpy()) for y in leaves(self.run(module, x))]

    def run(self, module: Any, x: Any) -> Any:
        """The stateful call."""
        return self.observed(f"{self._title(module)}.forward", module.forward, x)

    def call(self, module: Any, x: Any) -> Any:
        """The plain call, on the current tape."""
        return self.observed(self._title(module), module, x)

    def observed(self, name: str, function: Callable[..., Any], *inputs: Any) -> Any:
        """function(*inputs), counted; its result must be Tensors of the shapes seen before.

        Raises CheckError where it is not; an error raised inside carries the call as a note.
        """
        self.calls += 1
        try:
            found = function(*inputs)
        except Exception as error:
            error.add_note(f"raised in call {self.calls}: {name}({_described(list(inputs))})")
            raise
        flat = leaves(found)
        for leaf in flat or [found]:
            if not isinstance(leaf, Tensor):
                kind = type(leaf).__name__
                raise CheckError(NOT_TENSORS.format(name=name, type=kind, call=self.calls))
        shapes = [leaf.shape for leaf in flat]
        key = (name, str(_described(list(inputs))))
        first, before = self._shapes.setdefault(key, (self.calls, shapes))
        if before != shapes:
            raise CheckError(
                SHAPE_CHANGED.format(
                    name=f"{name}({key[1]})", before=before, after=shapes,
                    first=first, call=self.calls,
                )
            )  # fmt: skip
        return found

    def _title(self, module: Any) -> str:
        return f"{type(module).__name__} in {'training' if self.training else 'evaluation'} mode"

    def backward(
        self, module: Any, x: Any, v: Sequence[np.ndarray], scale: float = 1
    ) -> list[np.ndarray]:
        """Copies of the gradients with respect to the floating point inputs."""
        module.backward(x, self.grad_output(module, v), scale)
        return self.grad_input(module)

    def grad_output(self, module: Any, v: Sequence[np.ndarray]) -> Any:
        """Cotangents in the structure, and on the device, of the module's output."""
        outputs = leaves(module.output)
        return unflatten(
            module.output, [Tensor(c, device=y.device) for c, y in zip(v, outputs, strict=True)]
        )

    def grad_input(self, module: Any) -> list[np.ndarray]:
        """Copies of gradInput's arrays that belong to floating point inputs."""
        return [np.array(g.numpy()) for g in leaves(module.gradInput)]

    def cotangents(self, module: Any) -> list[np.ndarray]:
        """Random cotangents of the last outputs."""
        return [gaussian(self.rng, y.shape).astype(y.dtype) for y in leaves(module.output)]

    def zeroed(self, module: Any) -> Any:
        """The module with zero gradients."""
        module.zeroGradParameters()
        return module

    def prepared(self) -> tuple[Any, Any, list[np.ndarray]]:
        """A copy after one forward with zero gradients, its input, a cotangent."""
        module, x = self.zeroed(self.copy()), self.on_input()
        self.forward(module, x)
        return module, x, self.cotangents(module)

    def other_input(self) -> Any:
        """Other data of the same shapes."""
        moved = [0.5 * x + 0.25 * gaussian(self.rng, x.shape) for x in _floats(self.input)]
        return self.on_input(moved)

    @contextmanager
    def parameters_as(self, module: Any, tensors: Sequence[Tensor]) -> Iterator[None]:
        """Let the module compute with other, tracked Tensors in place of its parameters."""
        own = self.parameters(module)
        kept = [(p._data, p._node) for p in own]
        try:
            for p, t in zip(own, tensors, strict=True):
                p._data, p._node = t._data, t._node
            yield
        finally:
            for p, (data, node) in zip(own, kept, strict=True):
                p._data, p._node = data, node


# What a check needs ------------------------------------------------------------------------------


@MODULE_LAWS()
def equal_calls_give_equal_tensors(trial: ModuleTrial) -> None:
    """Equal modules, seeds and inputs give equal bits; what is returned are Tensors."""
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


# Derivatives --------------------------------------------------------------------------------------


@MODULE_LAWS(regimes=REGIMES, effort=1.0)
def its_gradients_are_the_derivatives(trial: ModuleTrial) -> Report:
    """gradInput and the parameters' gradients, through forward and backward."""
    if not trial.point():
        return Report(repr(trial), ())  # indices in, no parameters: nothing to differentiate by
    module = trial.copy()
    count = len(_floats(trial.input))

    def placed(point: Sequence[np.ndarray]) -> Any:
        for parameter, value in zip(trial.parameters(module), point[count:], strict=True):
            parameter.data[...] = value
        return trial.on_input(point[:count])

    def evaluate(point: Sequence[np.ndarray]) -> list[np.ndarray]:
        return trial.forward(module, placed(point))

    def pull(point: Sequence[np.ndarray], v: Sequence[np.ndarray]) -> list[np.ndarray]:
        x = placed(point)
        trial.zeroed(module)
        trial.forward(module, x)
        found = trial.backward(module, x, v)
        structure = [tuple(g.shape) for g in found]
        expected = [tuple(np.shape(leaf)) for leaf in _floats(trial.input)]
        must(structure == expected, f"gradInput has shapes {structure}, the input has {expected}")
        return [*found, *trial.gradients(module)]

    probes = probe(evaluate, pull, trial.point(), trial.rng, names=trial.names)
    return Report(repr(trial), probes).raise_if_wrong()


@MODULE_LAWS(regimes=("ordinary", "grid"), effort=0.4)
def its_second_derivatives_are_right(trial: ModuleTrial) -> Report | NotCovered:
    """Through the tape, with inputs and parameters as arguments."""
    if not trial.point():
        return Report(repr(trial), ())  # indices in, no parameters: nothing to differentiate by
    module = trial.copy()
    if _by_hand(module):
        return NotCovered(_FIRST_ONLY)
    count = len(_floats(trial.input))

    with ExitStack() as stack:

        def fn(*arguments: Tensor) -> Any:
            devices.manual_seed(trial.draws.seed)
            stack.close()
            # until the next call, not for this one: a checkpoint reads parameters again in reverse
            stack.enter_context(trial.parameters_as(module, arguments[count:]))
            return trial.call(module, trial.on_input(arguments[:count]))

        return check_gradients(
            fn, *trial.point(), order=2, seed=trial.draws.seed, probes=1, name=repr(trial)
        )


@MODULE_LAWS()
def backward_is_linear_in_grad_output(trial: ModuleTrial) -> None:
    """gradInput of 2u − 3v is 2·gradInput(u) − 3·gradInput(v); of 0 it is 0."""
    module, x, u = trial.prepared()
    v = trial.cotangents(module)
    of_u, of_v = trial.backward(module, x, u), trial.backward(module, x, v)
    mixed = trial.backward(module, x, [2 * a - 3 * b for a, b in zip(u, v, strict=True)])
    for i, (m, a, b) in enumerate(zip(mixed, of_u, of_v, strict=True)):
        # terms that cancel inside are about as large as the cotangents, and leave their rounding
        scale = 3 * max(float(np.max(np.abs(term), initial=0)) for term in (a, b, *u, *v))
        must_be_close(m, 2 * a - 3 * b, f"gradInput {i}", relative=1e-12, scale=scale)
    for i, zero in enumerate(trial.backward(module, x, [0 * c for c in u])):
        must(not zero.any(), f"gradInput {i} of gradOutput 0 is not 0")


# The methods --------------------------------------------------------------------------------------


@MODULE_LAWS()
def backward_is_update_grad_input_then_acc_grad_parameters(trial: ModuleTrial) -> None:
    """Equal bits, in either order of the two parts."""
    module, x, v = trial.prepared()
    expected = trial.backward(module, x, v, scale=0.5)
    gradients = trial.gradients(module)
    for order in ("updateGradInput first", "accGradParameters first"):
        parts = trial.zeroed(trial.copy())
        trial.forward(parts, x)
        g = trial.grad_output(parts, v)
        if order.startswith("acc"):
            parts.accGradParameters(x, g, 0.5)
        before = trial.gradients(parts)
        parts.updateGradInput(x, g)
        for i, (now, then) in enumerate(zip(trial.gradients(parts), before, strict=True)):
            must_be_equal(now, then, f"gradient of parameter {i} after updateGradInput")
        if order.startswith("update"):
            parts.accGradParameters(x, g, 0.5)
        _must_equal_all(trial.grad_input(parts), expected, f"gradInput, {order},")
        _must_equal_all(trial.gradients(parts), gradients, f"gradient of parameter, {order},")


@MODULE_LAWS()
def gradients_accumulate_into_what_is_there(trial: ModuleTrial) -> None:
    """backward adds to the parameters' gradients, and only once; gradInput is set, not added."""
    module, x, v = trial.prepared()
    once = trial.backward(module, x, v)
    gradients = trial.gradients(module)
    noise = [gaussian(trial.rng, g.shape) for g in gradients]
    for g, n in zip(module.parameters()[1] or [], noise, strict=True):
        g.data[...] = n
    again = trial.backward(module, x, v)
    _must_equal_all(again, once, "gradInput of a repeated backward,")
    for i, (now, n, g) in enumerate(zip(trial.gradients(module), noise, gradients, strict=True)):
        scale = float(np.max(np.abs(n), initial=0) + np.max(np.abs(g), initial=0))
        must_be_close(
            now - n, g, f"what backward added to the gradient of parameter {i}",
            relative=1e-12, scale=scale,
        )  # fmt: skip


@MODULE_LAWS()
def accumulated_gradients_are_linear_in_scale(trial: ModuleTrial) -> None:
    """accGradParameters(x, g, s) adds s times what scale 1 adds; gradInput knows no scale."""
    module, x, v = trial.prepared()
    unscaled = trial.backward(module, x, v)
    one = trial.gradients(module)
    for scale in (0.5, -2.0, 0.3):
        trial.zeroed(module)
        must_be = trial.backward(module, x, v, scale)
        _must_equal_all(must_be, unscaled, f"gradInput with scale {scale},")
        for i, (s, g) in enumerate(zip(trial.gradients(module), one, strict=True)):
            must_be_close(
                s, scale * g, f"gradient of parameter {i} with scale {scale}", relative=1e-14
            )


@MODULE_LAWS()
def zero_grad_parameters_zeroes_every_gradient(trial: ModuleTrial) -> None:
    """And nothing else."""
    module, x, v = trial.prepared()
    trial.backward(module, x, v)
    values = trial.values(module)
    module.zeroGradParameters()
    for i, g in enumerate(trial.gradients(module)):
        must(not g.any(), f"gradient of parameter {i} is not 0")
    _must_equal_all(trial.values(module), values, "parameter")


@MODULE_LAWS()
def update_parameters_subtracts_the_gradient_times_the_rate(trial: ModuleTrial) -> None:
    """p − rate·gradient, for each parameter; gradients stay."""
    module, x, v = trial.prepared()
    trial.backward(module, x, v)
    values, gradients = trial.values(module), trial.gradients(module)
    module.updateParameters(0.125)
    _must_equal_all(trial.gradients(module), gradients, "gradient of parameter")
    for i, (now, p, g) in enumerate(zip(trial.values(module), values, gradients, strict=True)):
        scale = float(np.max(np.abs(p), initial=0) + np.max(np.abs(g), initial=0))
        must_be_close(now, p - 0.125 * g, f"parameter {i}", relative=1e-14, scale=scale)


@MODULE_LAWS()
def acc_update_grad_parameters_is_one_step_that_keeps_the_gradients(trial: ModuleTrial) -> None:
    """p − rate·(this gradient), whatever has been gathered before."""
    module, x, v = trial.prepared()
    trial.backward(module, x, v)
    values, gradients = trial.values(module), trial.gradients(module)
    module.accUpdateGradParameters(x, trial.grad_output(module, v), 0.125)
    _must_equal_all(trial.gradients(module), gradients, "gradient of parameter")
    for i, (now, p, g) in enumerate(zip(trial.values(module), values, gradients, strict=True)):
        scale = float(np.max(np.abs(p), initial=0) + np.max(np.abs(g), initial=0))
        must_be_close(now, p - 0.125 * g, f"parameter {i}", relative=1e-13, scale=scale)


@MODULE_LAWS()
def backward_with_another_input_is_an_error(trial: ModuleTrial) -> NotCovered | None:
    """A ValueError that leaves the gradients alone."""
    module, x, v = trial.prepared()
    floats = _floats(trial.input)
    if not floats or not floats[0].size:
        return NotCovered("no floating point input, or an empty one")
    trial.backward(module, x, v)
    gradients = trial.gradients(module)
    _must_raise(lambda: trial.backward(module, trial.other_input(), v), "backward(another input)")
    _must_equal_all(trial.gradients(module), gradients, "gradient of parameter")
    return None


@MODULE_LAWS()
def a_plain_call_gives_the_output_and_keeps_no_state(trial: ModuleTrial) -> None:
    """module(x) has forward's bits and leaves output, gradInput and gradients alone."""
    module, x, v = trial.prepared()
    expected = [np.array(y.numpy()) for y in leaves(module.output)]
    trial.backward(module, x, v)
    gradients, grad_input = trial.gradients(module), trial.grad_input(module)
    trial.call(module, trial.other_input())
    _must_equal_all([y.numpy() for y in leaves(module.output)], expected, "output")
    _must_equal_all(trial.grad_input(module), grad_input, "gradInput")
    _must_equal_all(trial.gradients(module), gradients, "gradient of parameter")
    devices.manual_seed(trial.draws.seed)
    called = leaves(trial.call(trial.copy(), x))
    _must_equal_all([y.numpy() for y in called], expected, "output of a plain call,")


# Memory -------------------------------------------------------------------------------------------


@MODULE_LAWS(regimes=("ordinary", "grid"))
def inputs_grad_outputs_and_parameters_are_left_alone(trial: ModuleTrial) -> None:
    """forward and backward write into nothing they were given."""
    module, x = trial.zeroed(trial.copy()), trial.on_input()
    arrays = [t.numpy() for t in leaves(x)]
    parameters = [p.numpy() for p in trial.parameters(module)]
    before = snapshot(arrays), snapshot(parameters)
    trial.forward(module, x)
    v = trial.cotangents(module)
    output, given = [y.numpy() for y in leaves(module.output)], snapshot(v)
    outputs = snapshot(output)
    trial.backward(module, x, v)
    must_be_unchanged(before[0], arrays, "input")
    must_be_unchanged(before[1], parameters, "parameter")
    must_be_unchanged(given, v, "gradOutput")
    must_be_unchanged(outputs, output, "output")


@MODULE_LAWS()
def grad_input_shares_no_memory(trial: ModuleTrial) -> None:
    """Not with gradOutput, input, output, a parameter, or another gradInput."""
    module, x, v = trial.prepared()
    g = trial.grad_output(module, v)
    trial.backward(module, x, [t.numpy() for t in leaves(g)])
    found = [t.numpy() for t in leaves(module.gradInput)]
    others = [t.numpy() for t in [*leaves(x), *leaves(g), *trial.parameters(module)]]
    for i, gradient in enumerate(found):
        for other in [*found[:i], *others, *[t.numpy() for t in module.parameters()[1] or []]]:
            must(not np.shares_memory(gradient, other), f"gradInput {i} shares memory")


@MODULE_LAWS()
def results_are_not_overwritten_by_the_next_call(trial: ModuleTrial) -> None:
    """Arrays once returned by forward and backward keep their bits."""
    module, x, v = trial.prepared()
    trial.backward(module, x, v)
    kept = [t.numpy() for t in [*leaves(module.output), *leaves(module.gradInput)]]
    before = snapshot(kept)
    other = trial.other_input()
    trial.forward(module, other)
    trial.backward(module, other, trial.cotangents(module))
    must_be_unchanged(before, kept, "result")


@MODULE_LAWS()
def results_do_not_depend_on_earlier_calls(trial: ModuleTrial) -> None:
    """Other data, another mode and a failed call in between leave nothing stale behind."""
    module, x, v = trial.prepared()
    expected, output = trial.backward(module, x, v), [y.numpy() for y in leaves(module.output)]
    gradients = trial.gradients(module)
    used = trial.zeroed(trial.copy())
    other = trial.other_input()
    if trial.training:  # evaluation would meet the statistics that training leaves behind
        used.evaluate()
        trial.forward(used, other)
        used.training()
    trial.forward(used, other)
    trial.backward(used, other, trial.cotangents(used))
    trial.zeroed(used)
    _must_equal_all(trial.forward(used, x), output, "output")
    _must_equal_all(trial.backward(used, x, v), expected, "gradInput")
    _must_equal_all(trial.gradients(used), gradients, "gradient of parameter")


@MODULE_LAWS()
def memory_layout_does_not_matter(trial: ModuleTrial) -> None:
    """Fortran order, gaps, negative strides and read-only arrays give the same results."""
    module, x, v = trial.prepared()
    expected, output = trial.backward(module, x, v), [y.numpy() for y in leaves(module.output)]
    for name, layout in ODD_LAYOUTS.items():
        other = trial.zeroed(trial.copy())
        odd = trial.on_input([layout(a) for a in _floats(trial.input)])
        for i, (f, e) in enumerate(zip(trial.forward(other, odd), output, strict=True)):
            must_be_close(f, e, f"output {i} of {name} input", relative=1e-12, scale=1.0)
        found = trial.backward(other, odd, [layout(c) for c in v])
        for i, (f, e) in enumerate(zip(found, expected, strict=True)):
            must_be_close(f, e, f"gradInput {i} of {name} arrays", relative=1e-11, scale=1.0)


@MODULE_LAWS(effort=0.1)
def it_leaves_no_cyclic_garbage(trial: ModuleTrial) -> None:
    """Forward and backward are freed by reference count alone."""
    module, x = trial.copy(), trial.on_input()

    def step() -> None:
        trial.forward(module, x)
        trial.backward(module, x, trial.cotangents(module))

    step()
    must_leave_no_cycles(step)


# Modes and randomness -----------------------------------------------------------------------------


@MODULE_LAWS()
def evaluation_is_deterministic_and_changes_nothing(trial: ModuleTrial) -> None:
    """In evaluation mode two seeds give equal bits, and parameters and buffers stay."""
    module, x = trial.copy().evaluate(), trial.on_input()
    state = module.state_dict()
    devices.manual_seed(1)
    first = [np.array(y.numpy()) for y in leaves(trial.run(module, x))]
    devices.manual_seed(2)
    second = [np.array(y.numpy()) for y in leaves(trial.run(module, x))]
    _must_equal_all(second, first, "output with another seed,")
    for name, value in module.state_dict().items():
        must_be_equal(value, state[name], name)


@MODULE_LAWS()
def equal_seeds_give_equal_results(trial: ModuleTrial) -> None:
    """Two equal modules with one seed give equal outputs, gradients and buffers."""
    first, second, x = trial.zeroed(trial.copy()), trial.zeroed(trial.copy()), trial.on_input()
    _must_equal_all(trial.forward(second, x), trial.forward(first, x), "output")
    v = trial.cotangents(first)
    _must_equal_all(trial.backward(second, x, v), trial.backward(first, x, v), "gradInput")
    _must_equal_all(trial.gradients(second), trial.gradients(first), "gradient of parameter")
    for name, value in first.state_dict().items():
        must_be_equal(second.state_dict()[name], value, name)


@MODULE_LAWS(effort=0.1)
def it_is_random_only_if_its_case_says_so(trial: ModuleTrial) -> NotCovered | None:
    """stochastic=True: random numbers are drawn in training mode; False: in no mode."""
    if not trial.stochastic:
        must(
            trial.stochastic is None or not _is_random(trial),
            "random numbers are drawn: say stochastic=True in the case, if they are meant to be",
        )
        return (
            NotCovered("the case says nothing on randomness") if trial.stochastic is None else None
        )
    must(not trial.training or _is_random(trial), "no random number was drawn in training mode")
    return None


@MODULE_LAWS(effort=0.1)
def training_and_evaluate_reach_every_module(trial: ModuleTrial) -> None:
    """The mode of the whole tree follows, and comes back."""
    module = trial.copy()
    for method, mode in (("evaluate", False), ("training", True), ("evaluate", False)):
        getattr(module, method)()
        for part in module.listModules():
            must(part.train is mode, f"{type(part).__name__}.train is {part.train} after {method}")


# Copies and conversions ---------------------------------------------------------------------------


@MODULE_LAWS()
def a_clone_is_equal_and_independent(trial: ModuleTrial) -> None:
    """Equal bits before; afterwards neither sees what happens to the other."""
    module, x, v = trial.prepared()
    trial.backward(module, x, v)
    clone = module.clone()
    _must_equal_all(trial.values(clone), trial.values(module), "parameter of the clone")
    _must_equal_all(trial.gradients(clone), trial.gradients(module), "gradient of the clone")
    before, gradients = trial.values(module), trial.gradients(module)
    state = module.state_dict()
    for p, g in zip(*clone.parameters(), strict=True):
        p.data[...] += 1
        g.data[...] += 1
    trial.forward(clone, trial.other_input())
    _must_equal_all(trial.values(module), before, "parameter of the original")
    _must_equal_all(trial.gradients(module), gradients, "gradient of the original")
    for name, value in module.state_dict().items():
        must_be_equal(value, state[name], f"{name} of the original")


@MODULE_LAWS()
def sharing_joins_the_memory_of_exactly_the_named_fields(trial: ModuleTrial) -> None:
    """share(other, "weight") makes weights one memory, in every part, and leaves the rest apart."""
    module, other = trial.copy(), trial.copy()
    must(module.share(other, "weight") is module, "share() returns the module")
    theirs = dict(other.named_parameters())
    for name, parameter in module.named_parameters():
        same = np.shares_memory(parameter.numpy(), theirs[name].numpy())
        wanted = name.rpartition(".")[2] == "weight" and parameter.size > 0
        must(same == wanted, f"{name} is {'shared' if same else 'not shared'}")
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[2] == "weight":
            parameter.data[...] = 0.75
            must_be_equal(theirs[name].numpy(), parameter.numpy(), f"the other's {name}")


@MODULE_LAWS()
def a_pickled_copy_gives_equal_results(trial: ModuleTrial) -> None:
    """Parameters, buffers and mode survive pickling."""
    module, x, _ = trial.prepared()
    copy = pickle.loads(pickle.dumps(module))  # noqa: S301  # our own bytes
    _must_equal_all(trial.forward(copy, x), trial.forward(module, x), "output of the copy")
    must(copy.train == module.train, "the mode was lost")


@MODULE_LAWS(effort=0.1)
def shared_parameters_stay_shared_in_copies(trial: ModuleTrial) -> NotCovered | None:
    """A Parameter that two parts hold is one Parameter in a clone and after pickling."""
    pair = [trial.copy()]
    pair.append(pair[0].clone())
    names = dict(pair[0].named_parameters())
    if not names:
        return NotCovered("it has no parameters")
    pair[1].share(pair[0], *{name.rpartition(".")[2] for name in names})
    first, second = pickle.loads(pickle.dumps(pair))  # noqa: S301  # our own bytes
    theirs = dict(second.named_parameters())
    for name, parameter in first.named_parameters():
        same = np.shares_memory(parameter.numpy(), theirs[name].numpy())
        must(same or not parameter.size, f"{name} was shared, and is not after pickling")
    return None


@MODULE_LAWS(effort=0.1)
def its_text_is_short_and_printing_changes_nothing(trial: ModuleTrial) -> None:
    """repr is text without the memory address, the same for a clone."""
    module, x, _ = trial.prepared()
    output, text = [y.numpy() for y in leaves(module.output)], repr(module)
    must(" at 0x" not in text, f"repr is {text}")
    must(repr(module.clone()) == text, f"a clone of {text} is {module.clone()!r}")
    _must_equal_all(trial.forward(module, x), output, "output after repr()")


@MODULE_LAWS()
def state_dict_carries_everything_that_evaluation_needs(trial: ModuleTrial) -> None:
    """Loading it into a differently initialised module of the same kind gives equal bits."""
    module, x, _ = trial.prepared()
    other = module.clone()
    for tensor in [*dict(other.named_parameters()).values(), *dict(other.named_buffers()).values()]:
        tensor.data[...] = 0.25
    other.load_state_dict(module.state_dict())
    first = trial.forward(module.evaluate(), x)
    _must_equal_all(trial.forward(other.evaluate(), x), first, "output")


@MODULE_LAWS()
def get_parameters_gives_flat_views(trial: ModuleTrial) -> None:
    """What is written to the flat buffers is seen by the module, and the other way round."""
    module, x, v = trial.prepared()
    expected, output = trial.backward(module, x, v), [y.numpy() for y in leaves(module.output)]
    values, gradients = trial.values(module), trial.gradients(module)
    trial.zeroed(module)
    flat, flat_gradient = module.getParameters()
    size = sum(value.size for value in values)
    must(flat.shape == flat_gradient.shape == (size,), f"flat shape {flat.shape}, size {size}")
    _must_equal_all(trial.values(module), values, "parameter after getParameters,")
    _must_equal_all(trial.forward(module, x), output, "output after getParameters,")
    _must_equal_all(trial.backward(module, x, v), expected, "gradInput after getParameters,")
    if not size:
        return
    reached = np.sort(np.concatenate([np.ravel(g) for g in gradients]))
    must_be_equal(np.sort(flat_gradient.numpy()), reached, "the flat gradient, sorted,")
    flat.data[...] *= 0.5
    halves = [0.5 * value for value in values]
    _must_equal_all(trial.values(module), halves, "parameter after halving the flat buffer,")
    again, _ = module.getParameters()
    must(again is flat or np.shares_memory(again.numpy(), flat.numpy()),
         "a second getParameters gave other buffers")  # fmt: skip


@MODULE_LAWS()
def float32_agrees_with_float64(trial: ModuleTrial) -> None:
    """float32 in is float32 out, everywhere, and close to float64."""
    single = trial.copy().float()
    double = single.clone().double()
    floats = [a.astype(np.float32) for a in _floats(trial.input)]
    x, y = trial.on_input(floats), trial.on_input([a.astype(np.float64) for a in floats])
    at_single, at_double = trial.forward(single, x), trial.forward(double, y)
    v = [c.astype(np.float32) for c in trial.cotangents(double)]
    g_single = trial.backward(trial.zeroed(single), x, v)
    g_double = trial.backward(trial.zeroed(double), y, [c.astype(np.float64) for c in v])
    pairs = [
        ("output", at_single, at_double, 1e-5),
        ("gradInput", g_single, g_double, 1e-4),
        ("gradient of parameter", trial.gradients(single), trial.gradients(double), 1e-4),
    ]
    for what, singles, doubles, tolerance in pairs:
        for i, (s, d) in enumerate(zip(singles, doubles, strict=True)):
            must(s.dtype == np.float32, f"{what} {i} of a float32 module is {s.dtype}")
            must_be_close(s, d, f"{what} {i} in float32", relative=tolerance, scale=1.0)


@MODULE_LAWS()
def conversion_to_float_and_back_keeps_structure(trial: ModuleTrial) -> None:
    """Names, shapes and the list of modules stay; values are rounded once."""
    module, x, _ = trial.prepared()
    values = trial.values(module)
    names = [name for name, _ in module.named_parameters()]
    parts = [id(part) for part in module.listModules()]
    must(module.float().double() is module, "float() and double() return the module itself")
    must([name for name, _ in module.named_parameters()] == names, "parameters were renamed")
    must([id(part) for part in module.listModules()] == parts, "modules were replaced")
    rounded = [value.astype(np.float32).astype(np.float64) for value in values]
    _must_equal_all(trial.values(module), rounded, "parameter")
    trial.forward(module, x)


@MODULE_LAWS()
def clear_state_drops_results_and_nothing_else(trial: ModuleTrial) -> None:
    """output and gradInput become empty; the next forward gives equal bits."""
    module, x, v = trial.prepared()
    trial.backward(module, x, v)
    output = [np.array(y.numpy()) for y in leaves(module.output)]
    values, gradients = trial.values(module), trial.gradients(module)
    must(module.clearState() is module, "clearState() returns the module")
    left = sum(t.size for t in [*leaves(module.output), *leaves(module.gradInput)])
    must(left == 0, f"{left} entries of output and gradInput are left")
    _must_equal_all(trial.values(module), values, "parameter")
    _must_equal_all(trial.gradients(module), gradients, "gradient of parameter")
    if trial.training or not dict(module.named_buffers()):
        _must_equal_all(trial.forward(module, x), output, "output")


# Data ---------------------------------------------------------------------------------------------


@MODULE_LAWS()
def a_batch_is_its_samples_stacked(trial: ModuleTrial) -> NotCovered | None:
    """Where samples do not meet: outputs and input gradients of a batch are those of its rows."""
    wanted = trial.layer.batch
    floats = _floats(trial.input)
    if wanted not in ("always", "evaluate") or not floats:
        return NotCovered("the case declares no batch whose samples do not meet")
    if wanted == "evaluate" and trial.training:
        return NotCovered("in training mode the samples of a batch meet")
    module, x, v = trial.prepared()
    output = [np.array(y.numpy()) for y in leaves(module.output)]
    expected = trial.backward(module, x, v)
    total = trial.gradients(module)
    for row in range(floats[0].shape[0]):
        part = slice(row, row + 1)
        one = trial.on_input([a[part] for a in floats])
        for i, (f, e) in enumerate(zip(trial.forward(module, one), output, strict=True)):
            must_be_close(f, e[part], f"output {i} of row {row}", relative=1e-11, scale=1.0)
        found = trial.backward(module, one, [c[part] for c in v])
        for i, (f, e) in enumerate(zip(found, expected, strict=True)):
            must_be_close(f, e[part], f"gradInput {i} of row {row}", relative=1e-11, scale=1.0)
    for i, (f, e) in enumerate(zip(trial.gradients(module), total, strict=True)):
        scale = float(np.max(np.abs(e), initial=1.0))
        must_be_close(
            f, 2 * e, f"gradient of parameter {i}, rows and batch", relative=1e-11, scale=scale
        )
    return None


@MODULE_LAWS()
def a_permuted_batch_gives_permuted_results(trial: ModuleTrial) -> NotCovered | None:
    """The order of the samples passes through, and parameters' gradients do not know it."""
    wanted, floats = trial.layer.batch, _floats(trial.input)
    if wanted is None or not floats:
        return NotCovered("the case declares no batch axis")
    if wanted == "evaluate" and trial.training:
        return NotCovered("in training mode samples may meet")
    module, x, v = trial.prepared()
    output = [np.array(y.numpy()) for y in leaves(module.output)]
    expected, total = trial.backward(module, x, v), trial.gradients(module)
    order = trial.rng.permutation(floats[0].shape[0])
    mixed = trial.zeroed(trial.copy())
    there = trial.on_input([a[order] for a in floats])
    for i, (f, e) in enumerate(zip(trial.forward(mixed, there), output, strict=True)):
        must_be_close(f, e[order], f"output {i} of permuted samples", relative=1e-11, scale=1.0)
    found = trial.backward(mixed, there, [c[order] for c in v])
    for i, (f, e) in enumerate(zip(found, expected, strict=True)):
        must_be_close(f, e[order], f"gradInput {i} of permuted samples", relative=1e-10, scale=1.0)
    for i, (f, e) in enumerate(zip(trial.gradients(mixed), total, strict=True)):
        what = f"gradient of parameter {i}, samples permuted"
        must_be_close(f, e, what, relative=1e-10, scale=1.0)
    return None


@MODULE_LAWS(regimes=REGIMES, effort=0.4)
def finite_data_give_finite_results(trial: ModuleTrial) -> None:
    """Zeros, constants and data of size 1000 give finite outputs and gradients."""
    module, x, v = trial.prepared()
    found = {
        "output": [y.numpy() for y in leaves(module.output)],
        "gradInput": trial.backward(module, x, v),
        "gradient of parameter": trial.gradients(module),
    }
    for what, arrays in found.items():
        for i, a in enumerate(arrays):
            bad = int(np.sum(~np.isfinite(a)))
            must(not bad, f"{what} {i}: {bad} of {a.size} entries are not finite")


@MODULE_LAWS(empties=True)
def an_empty_batch_is_fine(trial: ModuleTrial) -> NotCovered | None:
    """A batch of no samples gives outputs without samples, and gradients that are 0."""
    if trial.layer.batch is None or all(x.size for x in _floats(trial.input)):
        return NotCovered("the case declares no batch axis that may be empty")
    module, x, v = trial.prepared()
    for i, (g, given) in enumerate(
        zip(trial.backward(module, x, v), _floats(trial.input), strict=True)
    ):
        must(g.shape == given.shape, f"gradInput {i} has shape {g.shape}")
    for i, g in enumerate(trial.gradients(module)):
        must(not g.any(), f"gradient of parameter {i} from no samples is not 0")
    return None


@MODULE_LAWS()
def nan_stays_nan(trial: ModuleTrial) -> None:
    """A NaN in an entry that matters shows in the output."""
    module = trial.copy()
    floats = _floats(trial.input)
    before = trial.forward(module, trial.on_input())
    for i, x in enumerate(floats):
        if not x.size:
            continue
        place = int(trial.rng.integers(x.size))
        bad, moved = x.copy(), x.copy()
        bad.reshape(-1)[place] = np.nan
        moved.reshape(-1)[place] += 0.03125
        rest = floats[:i], floats[i + 1 :]
        # copies, because running statistics would pass from one call to the next
        after = trial.forward(trial.copy(), trial.on_input([*rest[0], moved, *rest[1]]))
        broken = trial.forward(trial.copy(), trial.on_input([*rest[0], bad, *rest[1]]))
        for b, a, n in zip(before, after, broken, strict=True):
            lost = (a != b) & ~np.isnan(n)
            must(not lost.any(), f"NaN in input {i} gives {n[lost][:1]}")


@MODULE_LAWS()
def a_wrong_shape_is_refused_and_changes_nothing(trial: ModuleTrial) -> NotCovered | None:
    """A ValueError; parameters, buffers, random state and the last output stay."""
    if trial.layer.wrong is None:
        return NotCovered("the case declares no wrong input")
    module, x, v = trial.prepared()
    expected = trial.backward(module, x, v)
    output, state = [y.numpy() for y in leaves(module.output)], module.state_dict()
    generator = devices.generator("cpu")
    random = generator.get_state()
    wrong = map_leaves(_as_tensor, trial.layer.wrong)
    _must_raise(lambda: trial.run(module, wrong), "forward(an input of the wrong shape)")
    must(repr(generator.get_state()) == repr(random), "random numbers were drawn by a failing call")
    for name, value in module.state_dict().items():
        must_be_equal(value, state[name], name)
    _must_equal_all([y.numpy() for y in leaves(module.output)], output, "output")
    trial.forward(module, x)
    _must_equal_all(trial.backward(module, x, v), expected, "gradInput after the failed call,")
    return None


# Other ways to run --------------------------------------------------------------------------------


@MODULE_LAWS()
def replay_equals_eager(trial: ModuleTrial) -> NotCovered | None:
    """A training step, recorded and run again, gives equal outputs and parameters, bit for bit."""
    if _by_hand(trial.module):
        return NotCovered(_FIRST_ONLY)

    def step_of(module: Any) -> Callable[..., Any]:
        def step(x: Any, v: Any) -> Any:
            module.zeroGradParameters()
            outputs = leaves(trial.call(module, x))
            for y, g in zip(outputs, leaves(v), strict=True):
                if y.tracked:
                    y.backward(g)
            module.updateParameters(0.125)
            return outputs

        return step

    eager, replayed = trial.copy(), trial.copy()
    x = trial.on_input()
    trial.forward(eager, x)
    v = [_as_tensor(c) for c in trial.cotangents(eager)]
    eager = trial.copy()
    again = replay(step_of(replayed))
    steps: list[tuple[Any, Callable[..., Any]]] = [(eager, step_of(eager)), (replayed, again)]
    histories = []
    for module, step in steps:
        devices.manual_seed(trial.draws.seed)
        history = []
        for turn in range(4):
            shifted = trial.on_input([a + 0.25 * turn for a in _floats(trial.input)])
            history += [np.array(y.numpy()) for y in step(shifted, v)]
            history += trial.values(module)
        histories.append([*history, *module.state_dict().values()])
    must(again.recorded == 1, "the step was never replayed")
    _must_equal_all(histories[1], histories[0], "replayed value")
    return None


@MODULE_LAWS(effort=0.1)
def clones_in_threads_give_what_one_thread_gives(trial: ModuleTrial) -> None:
    """Four threads, each with a clone in evaluation mode: equal bits, call after call."""
    serial, x = trial.zeroed(trial.copy()).evaluate(), trial.on_input()
    output = trial.forward(serial, x)
    v = trial.cotangents(serial)
    expected = trial.backward(serial, x, v)

    def work(module: Any) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
        found = []
        for _ in range(5):
            outputs = [np.array(y.numpy()) for y in leaves(trial.run(module, x))]
            found.append((outputs, trial.backward(module, x, v)))
        return found

    with ThreadPoolExecutor(4) as pool:
        modules = [trial.zeroed(trial.copy()).evaluate() for _ in range(4)]
        for found in pool.map(work, modules):
            for outputs, gradients in found:
                _must_equal_all(outputs, output, "output in a thread,")
                _must_equal_all(gradients, expected, "gradInput in a thread,")


@MODULE_LAWS()
def strict_arrays_agree_with_numpy(trial: ModuleTrial) -> None:
    """The module uses nothing but the array namespace of its input's device."""
    agree_on_device(trial, "strict")


def agree_on_device(trial: ModuleTrial, device: str) -> None:
    """Outputs and gradients on `device` are those of the CPU, and stay on the device.

    Random layers are compared in evaluation mode: each device has its own stream.
    """
    module, x = trial.zeroed(trial.copy()).evaluate(), trial.on_input()
    if not _is_random(trial):
        trial.set_mode(module)
    there = module.clone().to(device)
    target = devices.device(device)
    x_there = map_leaves(lambda t: t.to(device), x)
    expected = trial.forward(module, x)
    found = trial.forward(there, x_there)
    for y in leaves(there.output):
        must(y.device == target, f"the output came back from {device} to {y.device}")
    v = trial.cotangents(module)
    gradients = trial.backward(module, x, v)
    found_gradients = trial.backward(there, x_there, v)
    must(
        all(g.device == target for g in leaves(there.gradInput)),
        f"gradInput came back from {device}",
    )
    pairs = [
        ("output", found, expected),
        ("gradInput", found_gradients, gradients),
        ("gradient of parameter", trial.gradients(there), trial.gradients(module)),
    ]
    for what, founds, expecteds in pairs:
        for i, (f, e) in enumerate(zip(founds, expecteds, strict=True)):
            must_be_close(f, e, f"{what} {i} on {device}", relative=1e-11, scale=1.0)


# Helpers ------------------------------------------------------------------------------------------


_FIRST_ONLY = "a gradient written by hand has no second derivative and no replay"
_GRADIENT_METHODS = ("updateGradInput", "accGradParameters", "backward")


def _by_hand(module: Any) -> bool:
    """Whether any part overrides what derives gradients from forward code."""
    return any(
        not getattr(getattr(type(part), name), "derived", False)  # a mark of the method's own
        for part in module.listModules()
        for name in _GRADIENT_METHODS
    )


def _described(tree: Any) -> str:
    return ", ".join(f"{leaf.dtype}{leaf.shape}" for leaf in leaves(tree))


def _is_random(trial: ModuleTrial) -> bool:
    """Whether the module draws random numbers on this input."""
    module, x = trial.copy(), trial.on_input()
    generator = devices.generator("cpu")
    before = repr(generator.get_state())
    trial.run(module, x)
    return repr(generator.get_state()) != before


def _must_raise(action: Callable[[], Any], what: str) -> None:
    try:
        action()
    except (ValueError, TypeError):
        return
    raise LawError(f"{what} was accepted")


def _must_equal_all(found: Sequence[Any], expected: Sequence[Any], what: str) -> None:
    must(len(found) == len(expected), f"{what}: {len(found)} instead of {len(expected)}")
    for i, (f, e) in enumerate(zip(found, expected, strict=True)):
        must_be_equal(f, e, f"{what} {i}")


def _as_tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(value)


def _is_float(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and leaf.dtype.kind == "f"


def _floats(tree: Any) -> list[np.ndarray]:
    return [leaf for leaf in leaves(tree) if _is_float(leaf)]
