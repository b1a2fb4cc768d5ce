"""One run of a function on fresh variables, which is what every derivative is made of.

A variable is recorded as an `identity` call on what was passed: so an inner derivative stops at its
own variables, an outer one passes through them, and nested derivatives never take one variable for
another.  nn marks the inputs of modules by variables too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.mode import current_mode, enable_grad, is_followed, no_grad
from tapegrad.autograd.core.node import Node, record_call
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.shape import copy
from tapegrad.autograd.reverse.sweep import cotangents, reaches_parameter, seed_for
from tapegrad.autograd.transforms.arguments import name_of
from tapegrad.autograd.transforms.sample import Sample

__all__ = ["Call", "derivative_depth", "released", "variable"]

NOT_SCALAR = (
    "grad needs a function that returns one number; {name} returned shape {shape}. "
    "Sum it, or use vjp with the cotangent you want."
)
NOT_A_TENSOR = (
    "{name} returned {type}, which holds no Tensor: its result does not depend on the arguments "
    "through tapegrad. Were they converted with .numpy(), float() or .data?"
)
NOT_FLOATING = (
    "argument {which} of {name} holds {dtype}; only floating point arrays can be differentiated"
)

# How many derivatives are being taken around this call: an inner one must then be recorded itself.
derivative_depth: ContextVar[int] = ContextVar("tapegrad_depth", default=0)


def variable(x: Tensor) -> Tensor:
    """A fresh variable with x's value, recorded as an identity call on x."""
    past = x._node
    if past is None:
        return x.with_node(record_call(_ALONE, (), (), x._data))
    return x.with_node(record_call(_BEHIND, (past,), (), x._data))


_ALONE, _BEHIND = (e.identity.primitive.plan((tracked,)) for tracked in (False, True))


def _variable(value: Any, fn: Callable[..., Any], which: int | str) -> Tensor:
    """A variable for an argument, or a part of one, of a function that is being differentiated."""
    tensor = value if isinstance(value, Tensor) else untracked(as_array(value))
    if tensor.dtype.kind not in "fc":
        if hasattr(value, "dtype"):
            raise TypeError(NOT_FLOATING.format(which=which, name=name_of(fn), dtype=tensor.dtype))
        tensor = untracked(as_array(value, float))  # a Python int: as in calculus, a number
    return variable(tensor)


def released(x: Any) -> Any:
    """x, detached if its past leads only to this call's own variables, which nobody can reach."""
    if (
        derivative_depth.get()
        or not isinstance(x, Tensor)
        or x._node is None
        or reaches_parameter(x._node)
    ):
        return x
    return x.detach()


class Call:
    """One run of a function on fresh variables, and what is needed to reverse it."""

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        places: tuple[int | str, ...],
    ) -> None:
        self.name = name_of(fn)
        self.structure: list[Any] = []  # the arguments as they were, one for each place
        self.flat = True  # is each of them one array?
        self.tensors_in = False
        self.variables: list[Tensor] = []
        changed = list(args)
        for place in places:
            value = args[place] if isinstance(place, int) else kwargs[place]
            self.structure.append(value)
            if type(value) is np.ndarray:
                new: Any = _variable(value, fn, place)
                self.variables.append(new)
            else:
                self.flat = False
                found = leaves(value)
                self.tensors_in = self.tensors_in or any(isinstance(x, Tensor) for x in found)
                parts = [_variable(x, fn, place) for x in found]
                self.variables += parts
                new = replace_leaves(value, parts)
            if isinstance(place, int):
                changed[place] = new
            else:
                kwargs = {**kwargs, place: new}
        self.targets: list[Node] = [v._node for v in self.variables if v._node is not None]
        token = derivative_depth.set(derivative_depth.get() + 1)
        try:
            if current_mode() is None:
                self.output = fn(*changed, **kwargs)
            else:
                with enable_grad():
                    self.output = fn(*changed, **kwargs)
        finally:
            derivative_depth.reset(token)

    def outputs(self) -> list[Tensor]:
        """The Tensors that fn returned.  Raises TypeError for anything else among its results."""
        found = leaves(self.output)
        for output in found:
            if not isinstance(output, Tensor):
                raise TypeError(NOT_A_TENSOR.format(name=self.name, type=type(output).__name__))
        return found

    def scalar(self) -> Tensor:
        """The number that fn returned.  Raises ValueError for several, TypeError for no Tensor."""
        output = self.output
        if not isinstance(output, Tensor):
            raise TypeError(NOT_A_TENSOR.format(name=self.name, type=type(output).__name__))
        if output._data.size != 1:
            raise ValueError(NOT_SCALAR.format(name=self.name, shape=output.shape))
        return output

    def value(self) -> Any:
        """What fn returned: arrays for arrays, Tensors for Tensors or inside another derivative."""
        if self.tensors_in or derivative_depth.get() > 0:
            return map_leaves(released, self.output)
        return map_leaves(lambda output: output._data, self.output)

    def seeds(self) -> list[tuple[Node, Any]]:
        """The cotangent 1 of the one number that fn returned."""
        output = self.scalar()
        return [] if output._node is None else [(output._node, seed_for(output, None))]

    def cotangents(self, seeds: list[tuple[Node, Any]], targets: list[Node]) -> list[Any]:
        """The cotangent of each target, None where nothing reaches it."""
        taped = self.tensors_in or derivative_depth.get() > 0
        if not taped and not is_followed():
            return cotangents([(n, as_array(g)) for n, g in seeds], targets)
        seeds = [(n, g if isinstance(g, Tensor) else untracked(g)) for n, g in seeds]
        if taped:
            return cotangents(seeds, targets, taped=True)
        with no_grad():
            found = cotangents(seeds, targets, taped=True)
            return [g if g is None else copy(g) for g in found]  # owned, as below

    def gradients(self, seeds: list[tuple[Node, Any]]) -> list[Any]:
        """The cotangents of the variables: for each place, in the structure of its argument."""
        found = self.cotangents(seeds, self.targets)
        results = [
            self._finished(g, variable) for g, variable in zip(found, self.variables, strict=True)
        ]
        if self.flat:
            return results
        gradients: list[Any] = replace_leaves(self.structure, results)
        return gradients

    def _finished(self, g: Any, variable: Tensor) -> Any:
        if g is None:
            xp = devices.namespace(variable._data)
            g = xp.zeros(variable.shape, dtype=variable.dtype)
            return untracked(g) if self.tensors_in else g
        if isinstance(g, Tensor):
            # arrays for arrays, unless the gradient itself depends on something tracked
            g = released(g)
            return g if self.tensors_in or g.tracked or isinstance(g, Sample) else g._data
        # A rule may hand its cotangent on, or a broadcast view of it: what leaves here is owned.
        return devices.namespace(g).array(g, copy=True)
