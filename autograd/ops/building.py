"""Tensors built of numbers, lists, arrays and Tensors, where NumPy's own functions ask no protocol.

`array`, `full`, `r_`, `c_` and `vectorize` are NumPy's, for entries that have gradients.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_axes, as_operand, wrap_like
from tapegrad.autograd.ops.windows import unfold

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import DTypeLike, Nest, Operand, Shape

__all__ = ["array", "c_", "full", "r_", "sliding_window_view", "vectorize"]

NO_MATRIX = "{name}: the directive {text!r} makes a matrix, which Tensors do not; leave it out"
BAD_DIRECTIVE = "{name}: {text!r} is no directive such as '0', '0,2' or '0,2,0'"
NO_CALL = "vectorize: there is nothing to call the function with"
ARGUMENTS = "vectorize: the signature {signature!r} is of {wanted} arguments, {given} were given"
SIZES = "vectorize: the dimension {name!r} of {signature!r} has the lengths {first} and {second}"
TOO_FEW = "vectorize: argument {i} has {ndim} axes, {signature!r} asks for {wanted}"


def _tensors_in(values: Any) -> Iterator[Tensor]:
    """The Tensors in nested lists."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors_in(value)


@composite()
def array(values: Nest, dtype: DTypeLike | None = None, ndmin: int = 0) -> Tensor:
    """Nested lists of numbers, arrays and Tensors as one Tensor: np.array, for all of these.

    It is an array where none of them is a Tensor.
    dtype: as NumPy finds it, unless it is given
    ndmin: the fewest axes that the result has; further ones of length 1 are put in front
    Raises ShapeError for lists of different lengths.
    """
    found = next(_tensors_in(values), None)
    if found is None:
        plain: Any = np.array(values, dtype=dtype, ndmin=ndmin)
        return plain
    y = _joined(values, found)
    y = s.copy(y) if isinstance(values, Tensor) else y
    y = y if dtype is None or y.dtype == np.dtype(dtype) else y.astype(dtype)
    return s.reshape(y, (1,) * (ndmin - y.ndim) + tuple(y.shape)) if y.ndim < ndmin else y


def _joined(values: Any, like: Tensor) -> Any:
    """Nested lists as one Tensor, on the device of `like`."""
    if not isinstance(values, (list, tuple)):
        return values if isinstance(values, Tensor) else wrap_like(as_operand(values), like)
    parts = [_joined(value, like) for value in values]
    if not parts:
        return wrap_like(np.zeros(0), like)
    shapes = sorted({tuple(part.shape) for part in parts})
    if len(shapes) > 1:
        raise ShapeError(f"array: the parts of a list have the shapes {shapes[0]} and {shapes[1]}")
    common = np.result_type(*[part.dtype for part in parts])
    return s.stack([p if p.dtype == common else p.astype(common) for p in parts])


@composite()
def full(shape: int | Shape, fill_value: Operand, dtype: DTypeLike | None = None) -> Tensor:
    """`fill_value`, a number or what broadcasts to `shape`, in every entry: np.full for Tensors.

    fill_value: (…) -> shape, in its dtype unless one is given
    """
    lengths: Any = shape if isinstance(shape, (tuple, list)) else (shape,)
    value: Any = as_operand(fill_value)
    if dtype is not None and value.dtype != np.dtype(dtype):
        value = value.astype(dtype)
    return s.copy(s.broadcast_to(value, tuple(operator.index(n) for n in lengths)))


# Concatenation by indexing ------------------------------------------------------------------------


class _Concatenation:
    """What ``r_[…]`` and ``c_[…]`` do: NumPy's, for parts that have gradients."""

    def __init__(self, name: str, axis: int, ndmin: int, place: int) -> None:
        self._name = name
        self._default = (axis, ndmin, place)

    def __repr__(self) -> str:
        return f"tapegrad.ops.{self._name}"

    def __getitem__(self, parts: Any) -> Tensor:
        axis, ndmin, place = self._default
        parts = list(parts) if isinstance(parts, tuple) else [parts]
        if parts and isinstance(parts[0], str):
            axis, ndmin, place = self._directive(parts.pop(0))
        pieces: list[tuple[Any, bool]] = []  # with whether the part is a number
        kinds: list[Any] = []
        for part in parts:
            if isinstance(part, slice):
                part = _range(part)
            number = np.isscalar(part)
            piece: Any = part if isinstance(part, Tensor) else array(part)
            pieces.append((piece, bool(number)))
            kinds.append(part if type(part) in (int, float, complex) else piece.dtype)
        common = np.result_type(*kinds)
        laid = []
        for piece, number in pieces:
            piece = piece if piece.dtype == common else piece.astype(common)
            laid.append(_with_axes(piece, ndmin, -1 if number else place))
        return s.concatenate(laid, axis)

    def _directive(self, text: str) -> tuple[int, int, int]:
        if text in ("r", "c"):
            raise TypeError(NO_MATRIX.format(name=self._name, text=text))
        axis, ndmin, place = self._default
        try:
            numbers = [int(word) for word in text.split(",")]
            axis, ndmin, place = (*numbers, *(axis, ndmin, place)[len(numbers) :])
        except ValueError:
            raise ValueError(BAD_DIRECTIVE.format(name=self._name, text=text)) from None
        return axis, ndmin, place


def _range(part: slice) -> Any:
    """start:stop:step, or start:stop:nj for n points with both ends, as an array."""
    start = 0 if part.start is None else part.start
    step = 1 if part.step is None else part.step
    if isinstance(step, complex):
        return np.linspace(start, part.stop, int(abs(step)))
    return np.arange(start, part.stop, step)


def _with_axes(x: Tensor, ndmin: int, place: int) -> Tensor:
    """x with at least `ndmin` axes; its own begin at `place` among them, at the end for -1."""
    new = ndmin - x.ndim
    if new <= 0:
        return x
    place = place + new + 1 if place < 0 else place
    return s.reshape(x, (1,) * place + tuple(x.shape) + (1,) * (new - place))


r_ = _Concatenation("r_", 0, 1, -1)
c_ = _Concatenation("c_", -1, 2, 0)


# Functions of entries -----------------------------------------------------------------------------


def vectorize(
    pyfunc: Callable[..., Any],
    otypes: Sequence[DTypeLike] | str | None = None,
    *,
    excluded: set[int | str] | None = None,
    signature: str | None = None,
) -> Callable[..., Any]:
    """A function of arrays that calls `pyfunc` for each entry: np.vectorize, for Tensors.

    otypes:    the dtypes of the results, as they come unless given
    excluded:  numbers and names of arguments that are passed on as they are
    signature: "(m,n),(n)->(m)": what is called for each entry is called for each such array
    The entries of what is called with broadcast.  Results of pyfunc may be numbers, arrays,
    Tensors, or a tuple of these.  `vmap` computes all entries at once where pyfunc allows it.
    Raises ValueError where there is nothing to call pyfunc with.
    """
    left_out = set(excluded or ())
    core = None if signature is None else _parse_signature(signature)

    def of_arrays(*args: Any, **kwargs: Any) -> Any:
        places: list[Any] = [i for i in range(len(args)) if i not in left_out]
        places += [name for name in kwargs if name not in left_out]
        if not places:
            raise ValueError(NO_CALL)
        arrays = [args[p] if isinstance(p, int) else kwargs[p] for p in places]
        arrays = [a if isinstance(a, Tensor) else array(a) for a in arrays]
        widths = _core_widths(arrays, core, signature)
        outer = np.broadcast_shapes(
            *[tuple(a.shape[: a.ndim - w]) for a, w in zip(arrays, widths, strict=True)]
        )
        wide = [
            s.broadcast_to(a, (*outer, *a.shape[a.ndim - w :]))
            for a, w in zip(arrays, widths, strict=True)
        ]
        results: list[Any] = []
        for index in np.ndindex(*outer):
            own: dict[Any, Any] = dict(enumerate(args)) | kwargs
            own.update((p, a[index]) for p, a in zip(places, wide, strict=True))
            y = pyfunc(*[own[i] for i in range(len(args))], **{k: own[k] for k in kwargs})
            results.append(y)
        if not results:
            raise ValueError(NO_CALL)
        several = isinstance(results[0], tuple)
        parts = zip(*results, strict=True) if several else [results]
        made = [_collect(list(part), outer, arrays) for part in parts]
        for i, kind in enumerate([] if otypes is None else otypes):
            made[i] = made[i] if made[i].dtype == np.dtype(kind) else made[i].astype(kind)
        return tuple(made) if several else made[0]

    return of_arrays


def _parse_signature(signature: str) -> list[tuple[str, ...]]:
    """The names of the core dimensions of each argument."""
    left = signature.replace(" ", "").partition("->")[0]
    groups = left.removeprefix("(").removesuffix(")").split("),(")
    return [tuple(name for name in group.split(",") if name) for group in groups]


def _core_widths(
    arrays: list[Any], core: list[tuple[str, ...]] | None, signature: str | None
) -> list[int]:
    """How many last axes of each argument belong to one call."""
    if core is None:
        return [0] * len(arrays)
    if len(core) != len(arrays):
        text = ARGUMENTS.format(signature=signature, wanted=len(core), given=len(arrays))
        raise TypeError(text)
    lengths: dict[str, int] = {}
    for i, (a, names) in enumerate(zip(arrays, core, strict=True)):
        if a.ndim < len(names):
            text = TOO_FEW.format(i=i, ndim=a.ndim, signature=signature, wanted=len(names))
            raise ShapeError(text)
        for name, n in zip(names, a.shape[a.ndim - len(names) :], strict=True):
            if lengths.setdefault(name, n) != n:
                first = lengths[name]
                text = SIZES.format(name=name, signature=signature, first=first, second=n)
                raise ShapeError(text)
    return [len(names) for names in core]


def _collect(results: list[Any], outer: tuple[int, ...], arrays: list[Any]) -> Tensor:
    """The results of all calls, in the shape of the calls and then that of one result."""
    stacked = _joined(results, arrays[0])
    return s.reshape(stacked, (*outer, *stacked.shape[1:]))


@composite(numpy=np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Operand,
    window_shape: int | Sequence[int],
    axis: int | Sequence[int] | None = None,
    *,
    subok: bool = False,
    writeable: bool = False,
) -> Tensor:
    """The windows of `window_shape` that slide over the axes, whose own axes come last: a view.

    x: (…, n, …) -> (…, n - size + 1, …, size), for each axis in `axis`, or for all of them
    Raises TypeError for a writeable one, whose entries would stand in several places.
    """
    del subok
    if writeable:
        raise TypeError("sliding_window_view: writeable=True on a Tensor is not supported: copy it")
    y: Any = as_operand(x)
    sizes: Any = window_shape if isinstance(window_shape, (tuple, list)) else (window_shape,)
    axes: Any = range(y.ndim) if axis is None else axis
    axes = as_axes(axes if not isinstance(axes, range) else tuple(axes), y.ndim)
    if len(axes) != len(sizes):
        raise ValueError(f"sliding_window_view: {len(sizes)} lengths for {len(axes)} axes")
    for place, size in zip(axes, sizes, strict=True):
        y = unfold(y, axis=place, size=operator.index(size))
    return y
