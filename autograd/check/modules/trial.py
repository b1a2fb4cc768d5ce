"""One module on one drawn input: what the laws of modules ask of a subject.

Modules are known by Torch7's methods only (`forward`, `backward`, `parameters`, …), so a layer from
another package meets the same laws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.gradients import CheckError, paths
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws

__all__ = [
    "FIRST_ONLY",
    "Layer",
    "ModuleTrial",
    "as_tensor",
    "by_hand",
    "floats_of",
]

NOT_TENSORS = (
    "{name} returned {type} in call {call}: a layer returns Tensors, or nested lists, tuples and "
    "dicts of them. Was a value taken out with .numpy() or float()?"
)
SHAPE_CHANGED = (
    "{name} returned shapes {before} in call {first} and {after} in call {call}, on inputs of the "
    "same shapes: a layer whose output shape depends on values cannot be checked"
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
        return [*floats_of(self.input), *self.values(self.module)]

    def on_input(self, floats: Sequence[Any] | None = None) -> Any:
        """The input as Tensors, with other floating point arrays if given."""
        given = iter(floats_of(self.input) if floats is None else floats)
        return map_leaves(
            lambda leaf: as_tensor(next(given) if _is_float(leaf) else leaf), self.input
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
        return replace_leaves(
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
        moved = [0.5 * x + 0.25 * gaussian(self.rng, x.shape) for x in floats_of(self.input)]
        return self.on_input(moved)

    def is_random(self) -> bool:
        """Whether the module draws random numbers on this input."""
        module, x = self.copy(), self.on_input()
        generator = devices.generator("cpu")
        before = repr(generator.get_state())
        self.run(module, x)
        return repr(generator.get_state()) != before

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


FIRST_ONLY = "a gradient written by hand has no second derivative and no replay"
_GRADIENT_METHODS = ("updateGradInput", "accGradParameters", "backward")


def by_hand(module: Any) -> bool:
    """Whether any part overrides what derives gradients from forward code."""
    return any(
        not getattr(getattr(type(part), name), "derived", False)  # a mark of the method's own
        for part in module.listModules()
        for name in _GRADIENT_METHODS
    )


def _described(tree: Any) -> str:
    return ", ".join(f"{leaf.dtype}{leaf.shape}" for leaf in leaves(tree))


def as_tensor(value: Any) -> Tensor:
    """The value itself if it is a Tensor, else a Tensor of it."""
    return value if isinstance(value, Tensor) else Tensor(value)


def _is_float(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and leaf.dtype.kind == "f"


def floats_of(tree: Any) -> list[np.ndarray]:
    """The floating point arrays of a nest."""
    return [leaf for leaf in leaves(tree) if _is_float(leaf)]
