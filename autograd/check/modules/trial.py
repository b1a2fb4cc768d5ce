"""ModuleTrial: one module on one drawn input, with the methods that the laws use.

It uses only Torch7's methods of a module (`forward`, `backward`, `parameters`, …), so the laws
apply to layers of other packages as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.gradients import CheckError, leaf_paths
from tapegrad.autograd.check.laws import array_types
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws

__all__ = [
    "NO_SECOND_ORDER",
    "Layer",
    "ModuleTrial",
    "as_tensor",
    "has_handwritten_gradients",
    "floating_arrays",
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
    """One drawn example of a module: the module, an input, and facts about it.

    input:    an array, or nest of arrays, for `forward`
    wrong:    an input that it must refuse, None if it takes every input
    batch:    "always" if the output of a batch stacks those of its samples, "evaluate" if only in
              evaluation mode, "perm" if only the order of the samples does not matter, None if
              samples influence each other or there is no batch axis
    target:   the target of a criterion
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
        self.target_dtype: np.dtype | None = None  # the precision that a criterion's target has
        self._shapes: dict[Any, tuple[int, Any]] = {}
        self.stochastic: bool | None = getattr(case, "stochastic", None)
        self.layer = case(draws)
        self.module = self.layer.module.double()
        self.training = draws.choice([True, False])
        self.set_mode(self.module)
        for parameter in self.parameters(self.module):
            parameter.data[...] = 0.5 * gaussian(self.rng, parameter.shape)
        self.input = self.layer.input
        self.names = [path for path, leaf in leaf_paths(self.input, "input") if _is_float(leaf)]
        self.names += [f"parameter {i}" for i in range(len(self.parameters(self.module)))]

    def __repr__(self) -> str:
        mode = "training" if self.training else "evaluation"
        return f"{self.module!r} on {array_types(leaves(self.input))} in {mode} mode"

    # Using the module ------------------------------------------------------------

    def set_mode(self, module: Any) -> Any:
        """Put a module into the mode of the trial."""
        return module.training() if self.training else module.evaluate()

    def parameters(self, module: Any) -> list[Any]:
        """The parameters of a module."""
        return list(module.parameters()[0] or [])

    def gradients(self, module: Any) -> list[np.ndarray]:
        """Copies of the gradients of the parameters."""
        return [np.array(g.numpy()) for g in module.parameters()[1] or []]

    def values(self, module: Any) -> list[np.ndarray]:
        """Copies of the parameters."""
        return [np.array(p.numpy()) for p in self.parameters(module)]

    def copy(self) -> Any:
        """A clone of the module of the trial."""
        return self.module.clone()

    def point(self) -> list[np.ndarray]:
        """The arrays to differentiate by: floating point inputs, then parameters."""
        return [*floating_arrays(self.input), *self.values(self.module)]

    def on_input(self, floats: Sequence[Any] | None = None) -> Any:
        """The input as Tensors, with other floating point arrays if given."""
        remaining = iter(floating_arrays(self.input) if floats is None else floats)
        return map_leaves(
            lambda leaf: as_tensor(next(remaining) if _is_float(leaf) else leaf), self.input
        )

    def forward(self, module: Any, x: Any) -> list[np.ndarray]:
        """Copies of the outputs of forward; random layers draw the same numbers in each call."""
        devices.manual_seed(self.draws.seed)
        return [np.array(y.numpy()) for y in leaves(self.run(module, x))]

    def run(self, module: Any, x: Any) -> Any:
        """The result of `forward`."""
        return self.checked_call(f"{self._title(module)}.forward", module.forward, x)

    def call(self, module: Any, x: Any) -> Any:
        """The result of a plain call, recorded on the current tape."""
        return self.checked_call(self._title(module), module, x)

    def checked_call(self, name: str, function: Callable[..., Any], *inputs: Any) -> Any:
        """function(*inputs), whose result must be Tensors with the shapes of earlier calls.

        Raises CheckError otherwise; an error that the function raises gets a note on the call.
        """
        self.calls += 1
        try:
            result = function(*inputs)
        except Exception as error:
            error.add_note(
                f"raised in call {self.calls}: {name}({array_types(leaves(list(inputs)))})"
            )
            raise
        flat = leaves(result)
        for leaf in flat or [result]:
            if not isinstance(leaf, Tensor):
                kind = type(leaf).__name__
                raise CheckError(NOT_TENSORS.format(name=name, type=kind, call=self.calls))
        shapes = [leaf.shape for leaf in flat]
        key = (name, str(array_types(leaves(list(inputs)))))
        first, before = self._shapes.setdefault(key, (self.calls, shapes))
        if before != shapes:
            raise CheckError(
                SHAPE_CHANGED.format(
                    name=f"{name}({key[1]})", before=before, after=shapes,
                    first=first, call=self.calls,
                )
            )  # fmt: skip
        return result

    def _title(self, module: Any) -> str:
        return f"{type(module).__name__} in {'training' if self.training else 'evaluation'} mode"

    def backward(
        self, module: Any, x: Any, v: Sequence[np.ndarray], scale: float = 1
    ) -> list[np.ndarray]:
        """Copies of the gradients with respect to the floating point inputs."""
        module.backward(x, self.grad_output(module, v), scale)
        return self.grad_input(module)

    def grad_output(self, module: Any, v: Sequence[np.ndarray]) -> Any:
        """Cotangents with the structure and on the device of the output of a module."""
        outputs = leaves(module.output)
        return replace_leaves(
            module.output, [Tensor(c, device=y.device) for c, y in zip(v, outputs, strict=True)]
        )

    def grad_input(self, module: Any) -> list[np.ndarray]:
        """Copies of the arrays of gradInput."""
        return [np.array(g.numpy()) for g in leaves(module.gradInput)]

    def cotangents(self, module: Any) -> list[np.ndarray]:
        """Random cotangents for the last outputs of a module."""
        return [gaussian(self.rng, y.shape).astype(y.dtype) for y in leaves(module.output)]

    def with_zero_gradients(self, module: Any) -> Any:
        """The module itself, after setting its gradients to zero."""
        module.zeroGradParameters()
        return module

    def after_forward(self) -> tuple[Any, Any, list[np.ndarray]]:
        """A clone with zero gradients after one forward, its input, and random cotangents."""
        module, x = self.with_zero_gradients(self.copy()), self.on_input()
        self.forward(module, x)
        return module, x, self.cotangents(module)

    def other_input(self) -> Any:
        """An input with other values of the same shapes, and no negative ones where none were."""
        return self.on_input([self._moved(x) for x in floating_arrays(self.input)])

    def _moved(self, x: np.ndarray) -> np.ndarray:
        moved = 0.5 * x + 0.25 * gaussian(self.rng, x.shape)
        # Probabilities, such as a loss takes, stay such.
        inside = x * (0.5 + 0.5 * self.rng.random(x.shape))
        return inside if x.size and x.min() >= 0 else moved

    def is_random(self) -> bool:
        """Does the module draw random numbers on this input?"""
        module, x = self.copy(), self.on_input()
        generator = devices.generator("cpu")
        before = repr(generator.get_state())
        self.run(module, x)
        return repr(generator.get_state()) != before

    @contextmanager
    def with_parameters(self, module: Any, tensors: Sequence[Tensor]) -> Iterator[None]:
        """A context in which a module computes with other, tracked Tensors as its parameters."""
        own = self.parameters(module)
        saved = [(p._bare, p._node) for p in own]
        try:
            for p, t in zip(own, tensors, strict=True):
                p._bare, p._node = t._bare, t._node
            yield
        finally:
            for p, (data, node) in zip(own, saved, strict=True):
                p._bare, p._node = data, node


NO_SECOND_ORDER = "a gradient written by hand has no second derivative and no replay"
_GRADIENT_METHODS = ("updateGradInput", "accGradParameters", "backward")


def has_handwritten_gradients(module: Any) -> bool:
    """Does any part override a method that derives gradients from forward code?"""
    return any(
        not getattr(getattr(type(part), name), "derived", False)  # set by nn on its own methods
        for part in module.listModules()
        for name in _GRADIENT_METHODS
    )


def as_tensor(value: Any) -> Tensor:
    """`value` itself if it is a Tensor, else a Tensor of it."""
    return value if isinstance(value, Tensor) else Tensor(value)


def _is_float(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and leaf.dtype.kind == "f"


def floating_arrays(tree: Any) -> list[np.ndarray]:
    """The floating point arrays of a nest."""
    return [leaf for leaf in leaves(tree) if _is_float(leaf)]
