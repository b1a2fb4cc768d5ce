"""`fuse` lets primitives of several steps, and their rules, run as one loop over memory.

NumPy walks over its arrays once for each step of a body such as softmax's.  With the `fast` extra
the steps are taken apart as `compile` takes them apart, and become one loop, made once for each
dtype and setting and for any number of rows.  The body stays what it is: the declaration, the
oracle, and what runs on small arrays, on other dtypes and elsewhere than on a CPU.

A rule is written in primitives, so that derivatives of derivatives follow.  Where nobody asks for
these, its steps are single calls on bare arrays.  `fuse_rule` gives array code for that case, which
becomes one loop as well.  The rule stays, as the oracle, for small arrays, and for derivatives that
are recorded, batched or pushed forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tapegrad.autograd.core.call import apply
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.eager_kernels import kernel_runner
from tapegrad.autograd.core.mode import NO_GRAD, current_mode, interpreter, is_recording
from tapegrad.autograd.core.signatures import DeclaredParameters
from tapegrad.autograd.core.tensor import Tensor, as_array

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import PrimitiveFunction
    from tapegrad.devices import Array, Namespace

__all__ = [
    "LEAST",
    "fuse",
    "fuse_elementwise",
    "fuse_rule",
    "fused_at_any_size",
    "fused_elementwise",
    "fused_primitives",
    "is_large",
    "runs_unrecorded",
]

Other: TypeAlias = Callable[..., Any]
SINGLE: np.dtype[Any] = np.dtype(np.float32)
DOUBLE: np.dtype[Any] = np.dtype(np.float64)
TRUTH = np.dtype(bool)
LEAST = [4096]  # entries of arrays for which a loop of our own is worth its call


def is_large(x: Array, least: int = LEAST[0]) -> bool:
    """Whether an array has so many entries that machine code is worth its call."""
    return bool(x.size >= min(LEAST[0], least))


@contextmanager
def fused_at_any_size() -> Iterator[None]:
    """Use loops of our own for arrays of any size, as the laws do to look at them."""
    least, LEAST[0] = LEAST[0], 1
    try:
        yield
    finally:
        LEAST[0] = least


_names: list[str] = []
_elementwise: list[str] = []


def fused_primitives() -> list[str]:
    """The names of the primitives whose bodies run as one loop."""
    return list(_names)


def fuse(*functions: PrimitiveFunction[..., Any], otherwise: Other | None = None) -> None:
    """Let the bodies of these primitives run as one loop each.

    otherwise: what the body does without `xp`, for calls that no loop of its steps fits; it returns
               None for some
    """
    for function in functions:
        _names.append(function.primitive.name)
        _fuse(function.primitive, otherwise)


def fuse_elementwise(
    *functions: PrimitiveFunction[..., Any], warns: bool = False, exact: bool = False
) -> None:
    """Let elementwise functions run as one loop on large float32 arrays, however they lie.

    warns: NumPy's code computes a result again, with its warnings, that is not finite everywhere
    exact: the loop gives NumPy's bits, in float64 as well
    """
    dtypes = frozenset({SINGLE, DOUBLE} if exact else {SINGLE})
    for function in functions:
        _elementwise.append(function.primitive.name)
        _fuse_elementwise(function.primitive, warns, dtypes)


def fused_elementwise() -> list[str]:
    """The names of the elementwise functions that run as one loop on large arrays."""
    return list(_elementwise)


def fuse_rule(
    function: PrimitiveFunction[..., Any],
    body: Callable[..., Any],
    steps: Callable[..., Any] | None = None,
    otherwise: Other | None = None,
) -> None:
    """Let the rule for the first argument run as one loop, where no derivative is recorded.

    body: (xp, g, *saved) -> the cotangent, in array code; the rule's own save list, settings after
          the arrays.  A law compares the two.
    steps: the same for kernels, in less steps, of float32
    otherwise: as for `fuse`
    """
    primitive: Primitive = function.primitive
    rule = primitive.rules[primitive.arguments[0]]
    assert rule is not None
    names = rule.names
    arrays = [name for name in names if name not in primitive.settings]
    settings = names[len(arrays) :]
    # no argument of a primitive may be called g or y
    renamed = DeclaredParameters(("cotangent", *(f"saved_{n}" for n in arrays)), settings)
    own = _by_settings(body, f"{primitive.name}_gradient")
    gradient = Primitive(own, differentiable=False, signature=renamed)
    if steps is not None:
        gradient.stepwise(_by_settings(steps, gradient.name))
    _fuse(gradient, otherwise)
    taped, count = rule.function, len(arrays)

    def run(g: Array, *saved: Any) -> Any:
        if g.size < LEAST[0]:
            return taped(g, *saved)
        loop = gradient.body_for(np)
        if loop is gradient.body or (type(g) is not np.ndarray and not runs_unrecorded(g, saved)):
            return taped(g, *saved)
        options = dict(zip(settings, saved[count:], strict=True))
        arrays = (g, *saved[:count])
        mode = current_mode()
        if (mode is None or mode is NO_GRAD) and all(type(a) is np.ndarray for a in arrays):
            return loop(np, *arrays, **options)  # all that `apply` would do
        return apply(gradient, arrays, options)

    rule.function = run


def runs_unrecorded(g: Any, saved: tuple[Any, ...]) -> bool:
    """Whether no derivative of the rule is recorded or batched; an observer may look on."""
    if interpreter() is not None or type(as_array(g)) is not np.ndarray:
        return False
    # a list, since this is asked in each call of a rule, and a generator takes twice as long
    return not is_recording() or not [v for v in (g, *saved) if isinstance(v, Tensor) and v.tracked]


def _by_settings(body: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The body, named so, with settings by keyword."""

    def gradient(xp: Namespace, g: Array, *saved: Array, **settings: Any) -> Any:
        return body(xp, g, *saved, *settings.values())

    gradient.__name__ = gradient.__qualname__ = name
    return gradient


def _fuse(primitive: Primitive, otherwise: Other | None) -> None:
    """Let a body run as one loop on large arrays."""
    body, takes_out = primitive.body, primitive.takes_out
    if primitive.steps is None:
        primitive.stepwise(body)

    def loop(operands: tuple[Any, ...], settings: dict[str, Any], out: Array | None) -> Any:
        y = kernel_runner()(primitive, operands, settings, out)
        if y is None and otherwise is not None:
            y = otherwise(*operands, **settings)
            if y is not None and out is not None:
                out[...] = y
                return out
        return y

    def fused(xp: Namespace, *operands: Any, out: Array | None = None, **settings: Any) -> Array:
        if np.size(operands[0]) >= LEAST[0]:
            y = loop(operands, settings, out)
            if y is None:
                y = _run_moved(loop, operands, settings, out)
            if y is not None:
                return y
        if out is None or takes_out:
            extra = {"out": out} if takes_out else {}
            result: Array = body(xp, *operands, **extra, **settings)
            return result
        out[...] = body(xp, *operands, **settings)
        return out

    primitive.on("numba")(fused)


def _run_moved(
    loop: Callable[..., Any],
    operands: tuple[Any, ...],
    settings: dict[str, Any],
    out: Array | None,
) -> Array | None:
    """The result of a loop on copies of arrays that have gaps or another order.

    A copy is one step over memory, and a body has several.  The result lies as the first array
    with gaps does, as NumPy would have it; None where no loop fits, or none lies so.
    """
    arrays = [o for o in operands if type(o) is np.ndarray]
    odd = [a for a in arrays if not a.flags.c_contiguous]
    if not odd or any(a.dtype != SINGLE for a in arrays):
        return None
    order = _order_of(max(odd, key=lambda a: any(a.strides)))  # a stretched one has no order
    if "axis" in settings:
        axis = settings["axis"] % len(order)
        settings = settings | {"axis": order.index(axis)}
    moved = [
        np.ascontiguousarray(o.transpose(order)) if np.ndim(o) == len(order) else o
        for o in operands
    ]
    y = loop(tuple(moved), settings, None)
    if y is None:
        return None
    y = y.transpose(sorted(range(y.ndim), key=order.__getitem__))
    if out is None:
        return y
    out[...] = y
    return out


def _order_of(x: Array) -> list[int]:
    """The axes of an array, the one with the longest steps first."""
    return sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))


def _fuse_elementwise(primitive: Primitive, warns: bool, dtypes: frozenset[np.dtype[Any]]) -> None:
    """Let an elementwise body run as one loop: its bits depend on numbers and no layout."""
    if primitive.steps is None:
        primitive.stepwise(primitive.body)
    plain: Callable[..., Any] = primitive.inline or partial(primitive.body, np)

    def run(*operands: Any, out: Array | None = None) -> Any:
        if any(type(o) is np.ndarray and o.size >= LEAST[0] for o in operands):
            y = _run_elementwise(primitive, operands, dtypes)
            # Where NumPy is to warn, nothing may be written over what it computes from.
            if y is not None and (not warns or np.isfinite(y).all()):
                if out is None:
                    return y
                out[...] = y
                return out
        if out is None:
            return plain(*operands)
        if primitive.takes_out:
            return plain(*operands, out=out)
        out[...] = plain(*operands)
        return out

    def fused(xp: Namespace, *operands: Any, out: Array | None = None) -> Any:
        return run(*operands, out=out)

    primitive.on("numba")(fused)
    if primitive.inline is not None:
        primitive.large, primitive.large_from = run, LEAST


def _run_elementwise(
    primitive: Primitive, operands: tuple[Any, ...], dtypes: frozenset[np.dtype[Any]]
) -> Array | None:
    """The result of a kernel on floating point arrays of one dtype, numbers, and truths.

    None where no kernel fits: for other operands, or where truths are all that there is.
    """
    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] = ()
    shapes = set()
    for o in operands:
        kind = type(o)
        if kind is np.ndarray:
            if o.dtype != TRUTH:
                if o.dtype not in dtypes or dtype not in (None, o.dtype):
                    return None
                dtype = o.dtype
            shapes.add(o.shape)
            shape = o.shape
        elif kind is not float and kind is not int:
            return None
    if dtype is None:
        return None
    if len(operands) == 1:
        [x] = operands
        if not x.flags.c_contiguous:  # as it lies, where it has no gaps
            order = _order_of(x)
            y = kernel_runner()(primitive, (np.ascontiguousarray(x.transpose(order)),), {}, None)
            return None if y is None else y.transpose(sorted(range(x.ndim), key=order.__getitem__))
        return kernel_runner()(primitive, (x,), {}, None)
    if len(shapes) > 1:
        shape = np.broadcast_shapes(*shapes)
    whole = []
    for o in operands:
        if type(o) is not np.ndarray:
            o = np.asarray(o, dtype)  # an operand, not a part of the kernel: it may be another
        elif o.shape == shape:
            if not o.flags.c_contiguous and any(o.strides):
                o = np.ascontiguousarray(o)
        elif o.size != 1:
            o = np.ascontiguousarray(np.broadcast_to(o, shape))
        whole.append(o)
    return kernel_runner()(primitive, tuple(whole), {}, None)
