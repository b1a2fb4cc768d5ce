"""A ufunc's options on Tensors: where=, dtype=, casting=, order=, axes=, axis=, keepdims=, out=.

A call without options never comes here.  NumPy itself says which types a call computes in
(`ufunc.resolve_dtypes`), and so which conversions are refused; the rest is written in primitives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.declaration import NUMBERS
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, normalize_axis
from tapegrad.autograd.surface.shape_signatures import NO_VALUE, astype, laid_out

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["call_with_options", "cast_for_loop", "unused_safe"]

UNKNOWN_OPTION = "{name} on a Tensor: the option {option}={value!r} is not supported"
ONE_AXIS = "{name}: axis= is for operands of one core dimension each, and not beside axes="
KEEPS_NONE = "{name}: keepdims= is for results without core dimensions of their own"
MANY_AXES = "{name}: axes= names {found} lists of axes, for {wanted} operands and results"
WRONG_AXES = "{name}: axes={axes!r} for an operand with {wanted} core dimensions"
_KNOWN = frozenset({"where", "dtype", "casting", "order", "subok", "signature", "sig"})
_ORDERS = ("C", "F", "A", "K")


def call_with_options(
    ufunc: np.ufunc,
    function: Callable[..., Any],
    name: str,
    inputs: tuple[Any, ...],
    options: dict[str, Any],
    target: Any = None,
) -> Any:
    """`function`, which stands for `ufunc`, called with NumPy's options.

    target: what out= holds where where= leaves an entry out, or None without out=
    Raises TypeError for an option that the ufunc lacks, a conversion that casting= forbids, and
    where= without out=; AxisError and ValueError for axes that an operand lacks.
    """
    options = dict(options)
    if ufunc.signature is not None:
        axes = _core_axes(ufunc, name, options, inputs)
        keepdims = bool(options.pop("keepdims", False))
    for option, value in options.items():
        if option not in _KNOWN or (option == "where" and ufunc.signature is not None):
            raise TypeError(UNKNOWN_OPTION.format(name=name, option=option, value=value))
    order = options.get("order", "K")
    if order not in _ORDERS:
        raise ValueError(f"{name}: order={order!r} is none of {', '.join(_ORDERS)}")
    where = options.get("where", True)
    if isinstance(where, np.bool_) and where:
        where = True
    if where is not True and target is None:
        raise TypeError(NO_VALUE.format(name=name))
    operands, results = cast_for_loop(ufunc, inputs, options)
    if where is not True:
        where = as_operand(where)
        operands = [unused_safe(function, i, x, where) for i, x in enumerate(operands)]
    if ufunc.signature is not None:
        y = _call_on_axes(ufunc, function, name, operands, axes, keepdims)
    else:
        y = function(*operands)
    several = isinstance(y, (tuple, list))
    parts = list(y) if several else [y]
    for i, (part, dtype) in enumerate(zip(parts, results, strict=True)):
        if dtype is not None and part.dtype != dtype:
            part = astype(part, dtype)
        if where is not True:
            part = e.where(where, part, target[i] if isinstance(target, tuple) else target)
        parts[i] = laid_out(part, order, operands)
    return tuple(parts) if several else parts[0]


def cast_for_loop(
    ufunc: np.ufunc, inputs: Sequence[Any], options: dict[str, Any]
) -> tuple[list[Any], list[np.dtype | None]]:
    """The operands in the types that the call computes in, and the types of its results.

    Raises TypeError where casting= forbids a conversion, or the ufunc has no such types.
    """
    operands = [x if type(x) in NUMBERS or hasattr(x, "dtype") else as_operand(x) for x in inputs]
    dtype, casting = options.get("dtype"), options.get("casting", "same_kind")
    signature = options.get("signature", options.get("sig"))
    if dtype is None and signature is None and casting == "same_kind":
        return operands, [None] * ufunc.nout
    if dtype is not None:
        signature = (*(None,) * ufunc.nin, *(np.dtype(dtype),) * ufunc.nout)
    fixed: Any = {} if signature is None else {"signature": signature}
    kinds = [
        type(x) if type(x) in (int, float, complex) else np.dtype(_type_of(x)) for x in operands
    ]
    resolved = ufunc.resolve_dtypes((*kinds, *(None,) * ufunc.nout), casting=casting, **fixed)
    for i, (x, wanted) in enumerate(zip(operands, resolved, strict=False)):
        if _type_of(x) != wanted:
            operands[i] = astype(x, wanted)
    return operands, list(resolved[ufunc.nin :])


def _type_of(x: Any) -> Any:
    """The dtype of an operand, or of a number."""
    return x.dtype if hasattr(x, "dtype") else np.result_type(x)


def unused_safe(function: Callable[..., Any], position: int, x: Any, where: Any) -> Any:
    """x with a number that `function` is smooth at where `where` does not hold.

    Entries that are left out then cause no warning, and no NaN times 0 in the derivative.
    """
    primitive = getattr(function, "primitive", None)
    low: Any = None
    high: Any = None
    if primitive is not None:
        low, high = primitive.domain.get(primitive.arguments[position], (None, None))
    inside: Any = 1
    if low is not None and high is not None:
        inside = (low + high) / 2
    elif low is not None or high is not None:
        inside = low + 1 if low is not None else high - 1
    x = as_operand(x)
    return e.where(where, x, np.asarray(inside).astype(x.dtype)[()])


# Generalised ufuncs -------------------------------------------------------------------------------


def _core_dimensions(ufunc: np.ufunc) -> list[list[str]]:
    """The names of the core dimensions of every operand and result: "(n?,k),(k)->(n?)"."""
    return [
        [part for part in inside.split(",") if part]
        for inside in re.findall(r"\(([^)]*)\)", str(ufunc.signature).replace(" ", ""))
    ]


def _core_axes(
    ufunc: np.ufunc, name: str, options: dict[str, Any], inputs: tuple[Any, ...]
) -> list[tuple[int, ...]] | None:
    """What axes= or axis= says, taken out of the options: axes of every operand and result."""
    axes, axis = options.pop("axes", None), options.pop("axis", None)
    core = _core_dimensions(ufunc)
    if axis is not None:
        if axes is not None or any(len(part) != 1 for part in core[: ufunc.nin]):
            raise TypeError(ONE_AXIS.format(name=name))
        keeps = (axis,) if options.get("keepdims") else ()
        return [(axis,)] * ufunc.nin + [(axis,) if part else keeps for part in core[ufunc.nin :]]
    if axes is None:
        return None
    lists = [tuple(a) if isinstance(a, (tuple, list)) else (a,) for a in axes]
    if len(lists) == ufunc.nin and not any(core[ufunc.nin :]):
        lists += [lists[0] if options.get("keepdims") else ()] * ufunc.nout
    if len(lists) != ufunc.nargs:
        raise ValueError(MANY_AXES.format(name=name, found=len(lists), wanted=ufunc.nargs))
    return lists


def _call_on_axes(
    ufunc: np.ufunc,
    function: Callable[..., Any],
    name: str,
    operands: list[Any],
    axes: list[tuple[int, ...]] | None,
    keepdims: bool,
) -> Any:
    """`function`, whose core dimensions are the last axes, with core dimensions at `axes`."""
    core = _core_dimensions(ufunc)
    if keepdims and (any(core[ufunc.nin :]) or len({len(p) for p in core[: ufunc.nin]}) > 1):
        raise TypeError(KEEPS_NONE.format(name=name))
    kept = len(core[0]) if keepdims else 0
    if axes is None:
        y = function(*operands)
        return s.reshape(y, (*y.shape, *(1,) * kept)) if kept else y
    missing: set[str] = set()  # optional dimensions that a vector lacks
    moved = []
    for x, named, at in zip(operands, core, axes, strict=False):
        x = as_operand(x)
        optional = {part for part in named if part.endswith("?")}
        if x.ndim < len(named):
            missing |= optional
            named = [part for part in named if part not in optional]
        moved.append(_move_to_end(x, at, len(named), name))
    y = function(*moved)
    count = kept or len([part for part in core[-1] if part not in missing])
    if kept:
        y = s.reshape(y, (*y.shape, *(1,) * kept))
    at = axes[-1]
    if len(at) != count:
        raise ValueError(WRONG_AXES.format(name=name, axes=at, wanted=count))
    if not count:
        return y
    return s.moveaxis(y, tuple(range(-count, 0)), tuple(normalize_axis(a, y.ndim) for a in at))


def _move_to_end(x: Tensor, axes: tuple[int, ...], count: int, name: str) -> Tensor:
    """x with its core dimensions moved from `axes` to the end."""
    if len(axes) != count:
        raise ValueError(WRONG_AXES.format(name=name, axes=axes, wanted=count))
    at = tuple(normalize_axis(a, x.ndim) for a in axes)
    return s.moveaxis(x, at, tuple(range(-count, 0))) if count else x
