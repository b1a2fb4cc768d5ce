"""Transformations of functions: grad, value_and_grad, vjp.

Each differentiates with respect to fresh variables, recorded as `identity` calls on what was
passed: so an inner derivative stops at its own variables, an outer one passes through them, and
nested derivatives never take one variable for another.  Arguments may be nested lists, tuples and
dicts of arrays; results keep that structure.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from tapegrad import devices
from tapegrad.autograd import _mode
from tapegrad.autograd.node import Node, next_serial
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.sweep import cotangents, reaches_parameter, seed_for
from tapegrad.autograd.tensor import Tensor, as_array, fresh, untracked
from tapegrad.autograd.tree import leaves, map_leaves, unflatten

__all__ = ["grad", "value_and_grad", "vjp"]

NOT_SCALAR = (
    "grad needs a function that returns one number; {name} returned shape {shape}. "
    "Sum it, or use vjp with the cotangent you want."
)
NOT_A_TENSOR = (
    "{name} returned {type}, which holds no Tensor: its result does not depend on the arguments "
    "through tapegrad. Were they converted with .numpy(), float() or .data?"
)
NOT_FLOATING = "argument {which} holds {dtype}; only floating point arrays can be differentiated"

# How many derivatives are being taken around this call: an inner one must then be recorded itself.
_depth: ContextVar[int] = ContextVar("tapegrad_depth", default=0)


def variable(x: Tensor) -> Tensor:
    """A fresh variable with x's value, recorded as an identity call on x."""
    result = fresh(x._data)
    node = Node.__new__(Node)
    node.serial = next_serial()
    node.plan = e.identity.primitive.plan((x._node is not None,))
    node.parents = () if x._node is None else x._node
    node.saved = ()
    node.shape, node.dtype = x.shape, x.dtype
    result._node = node
    return result


def _variable(value: Any, which: str) -> Tensor:
    """A variable for an argument of a function that is being differentiated."""
    tensor = value if isinstance(value, Tensor) else untracked(as_array(value))
    if tensor.dtype.kind not in "fc":
        if hasattr(value, "dtype"):
            raise TypeError(NOT_FLOATING.format(which=which, dtype=tensor.dtype))
        tensor = untracked(as_array(value, float))  # a Python int: as in calculus, a number
    return variable(tensor)


def _released(x: Any) -> Any:
    """x without a past that only leads to this call's own variables, which nobody can reach."""
    if _depth.get() or not isinstance(x, Tensor) or x._node is None or reaches_parameter(x._node):
        return x
    return x.detach()


class _Call:
    """One run of a function on fresh variables, and what is needed to reverse it."""

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Any, argnums: tuple[int, ...]
    ) -> None:
        name = getattr(fn, "__name__", type(fn).__name__)
        self.structure: Any = [args[i] for i in argnums]
        flat = leaves(self.structure)
        self.tensors_in = any(isinstance(value, Tensor) for value in flat)
        variables = [_variable(value, f"of {name}") for value in flat]
        self.targets: list[Node] = [v._node for v in variables if v._node is not None]
        self.like = variables
        changed = list(args)
        for i, value in zip(argnums, unflatten(self.structure, variables), strict=True):
            changed[i] = value
        token = _depth.set(_depth.get() + 1)
        try:
            with _mode.enable_grad():
                self.output = fn(*changed, **kwargs)
        finally:
            _depth.reset(token)
        self.name = name

    def value(self) -> Any:
        """What fn returned: arrays for arrays, Tensors for Tensors or inside another derivative."""
        if self.tensors_in or _depth.get() > 0:
            return map_leaves(_released, self.output)
        return map_leaves(lambda output: output._data, self.output)

    def gradients(self, seeds: list[tuple[Node, Any]]) -> Any:
        """The cotangents of the variables, in the structure of the arguments."""
        mode = _mode.current()
        observed = mode is not None and mode.observer is not None
        taped = self.tensors_in or _depth.get() > 0 or observed
        if taped:
            seeds = [(n, g if isinstance(g, Tensor) else untracked(g)) for n, g in seeds]
        else:
            seeds = [(n, as_array(g)) for n, g in seeds]
        found = cotangents(seeds, self.targets, taped=taped)
        results = [
            self._finished(g, variable) for g, variable in zip(found, self.like, strict=True)
        ]
        return unflatten(self.structure, results)

    def _finished(self, g: Any, variable: Tensor) -> Any:
        if g is None:
            xp = devices.namespace(variable._data)
            g = xp.zeros(variable.shape, dtype=variable.dtype)
            return untracked(g) if self.tensors_in else g
        if isinstance(g, Tensor):
            # arrays for arrays, unless the gradient itself depends on something tracked
            g = _released(g)
            return g if self.tensors_in or g.tracked else g._data
        xp = devices.namespace(variable._data)
        # A rule may hand its cotangent on, or a broadcast view of it: what leaves here is owned.
        return xp.array(g, copy=True)


def _numbers(argnums: int | tuple[int, ...], args: tuple[Any, ...]) -> tuple[int, ...]:
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in chosen:
        if not -len(args) <= i < len(args):
            raise TypeError(f"argnums={argnums}, but the function was given {len(args)} arguments")
    return tuple(i % len(args) for i in chosen)


def value_and_grad(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns (fn(…), its gradient with respect to argument(s) `argnums`).

    fn returns one number (0-d, or one entry).  Gradients are arrays for arrays and Tensors for
    Tensors, in the structure of the arguments; with a tuple of `argnums`, a tuple of gradients.
    Of a complex number it is the gradient of the real part: for a holomorphic fn of complex
    arguments its derivative.
    Raises ValueError when fn returns several numbers, TypeError when it returns no Tensor or an
    argument is not floating point.
    """

    @wraps(fn)
    def differentiated(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        call = _Call(fn, args, kwargs, _numbers(argnums, args))
        output = call.output
        if not isinstance(output, Tensor):
            raise TypeError(NOT_A_TENSOR.format(name=call.name, type=type(output).__name__))
        if output.size != 1:
            raise ValueError(NOT_SCALAR.format(name=call.name, shape=output.shape))
        seeds = [] if output._node is None else [(output._node, seed_for(output, None))]
        gradients = call.gradients(seeds)
        return call.value(), gradients[0] if isinstance(argnums, int) else tuple(gradients)

    return differentiated


def grad(fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns the gradient of fn with respect to argument(s) `argnums`.

    See `value_and_grad`.  Nest it for higher orders: ``grad(grad(f))``.
    """
    both = value_and_grad(fn, argnums)

    @wraps(fn)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return differentiated


def vjp(fn: Callable[..., Any], *args: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """(fn(*args), pull) where pull(v) = vᵀ·J: one cotangent per argument, as a tuple.

    fn may return an array or nested lists, tuples and dicts of them; v has the same structure.
    `pull` may be called several times.
    """
    call = _Call(fn, args, {}, tuple(range(len(args))))
    outputs = leaves(call.output)
    for output in outputs:
        if not isinstance(output, Tensor):
            raise TypeError(NOT_A_TENSOR.format(name=call.name, type=type(output).__name__))

    def pull(v: Any) -> tuple[Any, ...]:
        given = leaves(v)
        if len(given) != len(outputs):
            raise ValueError(f"{call.name} returned {len(outputs)} arrays, v has {len(given)}")
        seeds = [
            (output._node, seed_for(output, g))
            for output, g in zip(outputs, given, strict=True)
            if output._node is not None
        ]
        return tuple(call.gradients(seeds))

    return call.value(), pull
