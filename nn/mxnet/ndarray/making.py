"""Functions of `mx.nd` that MXNet has in Python: ranges, joins, histograms, pairs with numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor
from tapegrad.nn.mxnet.ndarray import sparse
from tapegrad.nn.mxnet.ndarray.functions import invoke
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array, from_tensor
from tapegrad.nn.mxnet.symbol.pairs import split_settings

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.context import Context
    from tapegrad.nn.mxnet.types import DTypeLike, ShapeLike

__all__ = [
    "PAIRS",
    "arange",
    "concatenate",
    "eye",
    "from_dlpack",
    "from_numpy",
    "histogram",
    "linspace",
    "moveaxis",
    "onehot_encode",
    "split_v2",
    "zeros",
]


def zeros(
    shape: ShapeLike,
    ctx: Context | None = None,
    dtype: DTypeLike | None = None,
    stype: str | None = None,
) -> NDArray:
    """An array of zeros, with a kind of storage.  Raises ValueError for an unknown one."""
    return sparse.zeros(stype or "default", shape, ctx, dtype)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: object = None,
    ctx: Context | None = None,
    dtype: DTypeLike | None = np.float32,
) -> NDArray:
    """Numbers from start (0 if only one is given) up to stop, each `repeat` times.

    Raises ValueError for infer_range, whose stop only a graph knows.
    """
    if infer_range:
        raise ValueError("arange of arrays needs stop; infer_range is for symbols")
    settings = {
        "start": start, "stop": stop, "step": step, "repeat": repeat, "ctx": ctx, "dtype": dtype,
    }  # fmt: skip
    found: NDArray = invoke("_arange", [], settings)
    return found


def linspace(
    start: float,
    stop: float,
    num: int,
    endpoint: bool = True,
    ctx: Context | None = None,
    dtype: DTypeLike | None = np.float32,
) -> NDArray:
    """`num` numbers in equal steps from start to stop."""
    settings = {
        "start": start, "stop": stop, "num": num, "endpoint": endpoint, "ctx": ctx, "dtype": dtype,
    }  # fmt: skip
    found: NDArray = invoke("_linspace", [], settings)
    return found


def eye(
    N: int,
    M: int = 0,
    k: int = 0,
    ctx: Context | None = None,
    dtype: DTypeLike | None = None,
    **more: Any,
) -> NDArray:
    """(N, M or N): ones on a diagonal, k above the main one."""
    settings = {"N": N, "M": M, "k": k, "ctx": ctx, "dtype": dtype or np.float32, **more}
    found: NDArray = invoke("_eye", [], settings)
    return found


def concatenate(arrays: Sequence[NDArray], axis: int = 0, always_copy: bool = True) -> NDArray:
    """Arrays one behind the other; one alone is returned itself unless `always_copy`.

    Raises ValueError without arrays.
    """
    if not arrays:
        raise ValueError("concatenate: there are no arrays")
    if len(arrays) == 1 and not always_copy:
        return arrays[0]
    found: NDArray = invoke("Concat", [list(arrays)], {"dim": axis})
    return found


def moveaxis(
    tensor: NDArray, source: int | Sequence[int], destination: int | Sequence[int]
) -> NDArray:
    """Axes moved to other places; the others keep their order."""
    n = tensor.ndim
    froms = [i % n for i in ([source] if isinstance(source, int) else source)]
    to = [i % n for i in ([destination] if isinstance(destination, int) else destination)]
    axes = [i for i in range(n) if i not in froms]
    for place, axis in sorted(zip(to, froms, strict=True)):
        axes.insert(place, axis)
    found: NDArray = invoke("transpose", [tensor], {"axes": tuple(axes)})
    return found


def split_v2(
    ary: NDArray,
    indices_or_sections: int | Sequence[int],
    axis: int = 0,
    squeeze_axis: bool = False,
) -> Any:
    """Parts along an axis: so many equal ones, or those that begin at the given places."""
    return invoke("_split_v2", [ary], split_settings(indices_or_sections, axis, squeeze_axis))


def onehot_encode(indices: NDArray, out: NDArray) -> NDArray:
    """Write into out (n, k) a row with a 1 at the place of each index.  It is deprecated."""
    found: NDArray = invoke("one_hot", [indices], {"depth": out.shape[1], "out": out})
    return found


def histogram(
    a: NDArray, bins: NDArray | int = 10, range: Sequence[float] | None = None
) -> list[NDArray]:  # MXNet's name
    """How many entries lie in each bin, and the edges.

    bins: an array of edges, or a number of equal bins over `range` (else from least to largest)
    """
    if isinstance(bins, NDArray):
        return invoke("_histogram", [a, bins], {})
    values = a.asnumpy()
    ends = (float(values.min()), float(values.max())) if range is None else tuple(range)
    return invoke("_histogram", [a], {"bin_cnt": bins, "range": ends})


def from_numpy(ndarray: np.ndarray, zero_copy: bool = True) -> NDArray:
    """The NDArray of a NumPy array, on its memory if `zero_copy`, with its type."""
    if not zero_copy:
        return array(ndarray, dtype=ndarray.dtype)
    return from_tensor(Tensor(ndarray))


def from_dlpack(dlpack: Any) -> NDArray:
    """The NDArray on the memory of another library's array."""
    return from_numpy(np.from_dlpack(dlpack))


# Two arrays, or an array and a number ------------------------------------------------------------

# name -> (operator of arrays, with a number on the right, with a number on the left, of numbers)
PAIRS: dict[str, tuple[str, str, str, Callable[[Any, Any], Any]]] = {
    "add": ("broadcast_add", "_plus_scalar", "_plus_scalar", np.add),
    "subtract": ("broadcast_sub", "_minus_scalar", "_rminus_scalar", np.subtract),
    "multiply": ("broadcast_mul", "_mul_scalar", "_mul_scalar", np.multiply),
    "divide": ("broadcast_div", "_div_scalar", "_rdiv_scalar", np.divide),
    "true_divide": ("broadcast_div", "_div_scalar", "_rdiv_scalar", np.divide),
    "modulo": ("broadcast_mod", "_mod_scalar", "_rmod_scalar", np.mod),
    "power": ("broadcast_power", "_power_scalar", "_rpower_scalar", np.power),
    "maximum": ("broadcast_maximum", "_maximum_scalar", "_maximum_scalar", np.maximum),
    "minimum": ("broadcast_minimum", "_minimum_scalar", "_minimum_scalar", np.minimum),
    "hypot": ("broadcast_hypot", "_hypot_scalar", "_hypot_scalar", np.hypot),
    "equal": ("broadcast_equal", "_equal_scalar", "_equal_scalar", np.equal),
    "not_equal": ("broadcast_not_equal", "_not_equal_scalar", "_not_equal_scalar", np.not_equal),
    "greater": ("broadcast_greater", "_greater_scalar", "_lesser_scalar", np.greater),
    "greater_equal": (
        "broadcast_greater_equal", "_greater_equal_scalar", "_lesser_equal_scalar",
        np.greater_equal,
    ),
    "lesser": ("broadcast_lesser", "_lesser_scalar", "_greater_scalar", np.less),
    "lesser_equal": (
        "broadcast_lesser_equal", "_lesser_equal_scalar", "_greater_equal_scalar", np.less_equal,
    ),
    "logical_and": (
        "broadcast_logical_and", "_logical_and_scalar", "_logical_and_scalar", np.logical_and,
    ),
    "logical_or": (
        "broadcast_logical_or", "_logical_or_scalar", "_logical_or_scalar", np.logical_or,
    ),
    "logical_xor": (
        "broadcast_logical_xor", "_logical_xor_scalar", "_logical_xor_scalar", np.logical_xor,
    ),
}  # fmt: skip


def pair_function(name: str) -> Callable[[Any, Any], Any]:
    """The function ``mx.nd.NAME(lhs, rhs)`` of arrays, or of one and a number."""
    arrays, right, left, numbers = PAIRS[name]

    def function(lhs: Any, rhs: Any) -> Any:
        if isinstance(lhs, Number):
            if isinstance(rhs, Number):
                return numbers(lhs, rhs)
            return invoke(left, [rhs], {"scalar": float(lhs)})  # type: ignore[arg-type]  # it is a real number
        if isinstance(rhs, Number):
            return invoke(right, [lhs], {"scalar": float(rhs)})  # type: ignore[arg-type]  # it is a real number
        return invoke(arrays, [lhs, rhs], {})

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}`, elementwise, of arrays that broadcast or of one and a number."
    return function
