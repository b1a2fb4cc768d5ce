"""Tensor's operators and array methods, attached from the primitives.

Operators are functions made of the primitives as the primitives' own are, not wrappers around them:
a wrapper would cost as much as a tenth of a recorded operation.  An attribute that arrays have and
Tensors do not is an error that says what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from tapegrad import devices
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.core.specialize import operator_function
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import (
    counting,
    indexing,
    linalg,
    rearranging,
    repetition,
    sorting,
    statistics,
    writing,
)
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.conversion import to_device
from tapegrad.autograd.reverse.sweep import backward
from tapegrad.autograd.reverse.write import update, write
from tapegrad.autograd.surface import numpy_protocol, shape_signatures, signatures
from tapegrad.autograd.surface.absent import INSTEAD, OTHER_WORDS
from tapegrad.autograd.surface.flat import Flat

if TYPE_CHECKING:
    from types import ModuleType

    from tapegrad.autograd.core.types import Operand, Scalar

__all__: list[str] = []

array_api = late_module("tapegrad.autograd.surface.array_api")

NO_EDITION = "the array API standard has no edition {version!r} here; there are {known}"


_raise_to = operator_function(e.power)


def _power(x: Tensor, exponent: Operand) -> Tensor:
    if type(exponent) is int and exponent == 2:
        return e.square(x)
    return _raise_to(x, exponent)


def _axes(axes: tuple[Any, ...]) -> tuple[int, ...] | None:
    order: Any = axes
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        order = axes[0]
    return tuple(order) if order else None


def _reshape(x: Tensor, *shape: Any, **options: Any) -> Tensor:
    """The entries in another shape: x.reshape(2, 3) or x.reshape((2, 3)); one length may be -1.

    Options are those of np.reshape, order="F" and copy=True.
    """
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    return shape_signatures.reshape(x, shape, **options) if options else s.reshape(x, shape)


def _transpose(x: Tensor, *axes: Any) -> Tensor:
    """The axes in another order; reversed without arguments."""
    return s.transpose(x, _axes(axes))


def _to(x: Tensor, device: devices.Device | str) -> Tensor:
    """x on another device, differentiably; x itself when it is there already.

    Raises DeviceError when the device is not there.
    """
    target = devices.device(device)
    return x if x.device == target else to_device(x, device=target)


def _to_device(x: Tensor, device: devices.Device | str, /, *, stream: Any = None) -> Tensor:
    """x on another device, differentiably, as the array API standard asks for it: `to`.

    stream: CuPy's stream to copy on; None for the current one
    Raises DeviceError when the device is not there, ValueError for a stream of a CPU's array.
    """
    if stream is None:
        return _to(x, device)
    if x.device.kind == "cpu" and devices.device(device).kind == "cpu":
        raise ValueError(f"to_device: the stream is {stream!r}, and a CPU has none")
    with stream:
        return _to(x, device)


def _array_namespace(x: Tensor, /, *, api_version: str | None = None) -> ModuleType:
    """The functions of the array API standard: `tapegrad.array_api`.

    api_version: the edition that is asked for, such as "2024.12"
    Raises ValueError for an edition that is not there.
    """
    namespace: ModuleType = array_api()
    known = namespace.information.VERSIONS
    if api_version is not None and api_version not in known:
        raise ValueError(NO_EDITION.format(version=api_version, known=", ".join(known)))
    return namespace


def _clip(x: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """x limited to min <= x <= max: numbers, arrays that broadcast, or None for no bound."""
    return e.numpy_clip(x, min=min, max=max)


def _reflected(function: Any) -> Callable[..., Any]:
    """The method of an operator such as `__rmatmul__`: `function` of the other operand and x."""
    operator = operator_function(function)

    def method(x: Tensor, other: Operand) -> Any:
        return operator(other, x)

    return method


def _inplace(function: Callable[..., Tensor], sign: str) -> Callable[..., Tensor]:
    """The method of an operator such as `+=`: `function` written into the Tensor."""

    def method(x: Tensor, value: Operand) -> Tensor:
        return update(x, function, value, sign)

    return method


def _fill_inplace(x: Tensor, value: Scalar) -> None:
    """Set every entry to the number `value`."""
    write(x, (...,), value, "x.fill(v)")


def _sort_inplace(x: Tensor, axis: int = -1) -> None:
    """Sort the entries along `axis`, in place."""
    write(x, (...,), sorting.sort(x, axis=axis), "x.sort()")


def _partition_inplace(x: Tensor, kth: int | Sequence[int], axis: int = -1) -> None:
    """Put the kth entries along `axis` where sorting would put them, in place."""
    write(x, (...,), sorting.partition(x, kth, axis=axis), "x.partition(k)")


def _round_number(x: Tensor, ndigits: int | None = None) -> Any:
    """``round(x, n)``: an integer without n, as of NumPy's numbers."""
    return int(counting.numpy_round(x)) if ndigits is None else counting.numpy_round(x, ndigits)


def _set_flat(x: Tensor, value: Operand) -> None:
    Flat(x)[:] = value


def _set_real(x: Tensor, value: Operand) -> None:
    write(e.real(x), (...,), value, "x.real = v")


def _set_imag(x: Tensor, value: Operand) -> None:
    if x.dtype.kind != "c":
        raise TypeError(f"x.imag = v: x holds {x.dtype}, which has no imaginary part to set")
    write(e.imag(x), (...,), value, "x.imag = v")


def _absent_attribute(name: str, advice: str) -> property:
    """A property that raises `advice` when it is read or set.

    There is one for each name: a `__getattr__` would slow every attribute of every Tensor down.
    """

    def absent(x: Tensor, value: object = None) -> NoReturn:
        raise AttributeError(
            f"{type(x).__name__!r} object has no attribute {name!r}: {advice}", name=name, obj=x
        )

    return property(absent, absent, doc=f"Not of Tensors: {advice}.")


# Methods of Tensor that the package itself calls.
_INSIDE = frozenset({"become", "refuse_if_sample", "with_node"})


def _names_of(x: Tensor) -> list[str]:
    """The attributes that a Tensor has, without those that only raise, or are not for users."""
    absent = {**INSTEAD, **OTHER_WORDS}
    names = (n for n in object.__dir__(x) if n not in _INSIDE)
    return [n for n in names if n not in absent or hasattr(x, n)]


def _attach() -> None:
    """Give Tensor its operators, methods and properties."""
    names: dict[str, Any] = {
        "__add__": operator_function(e.add),
        "__radd__": e.add,
        "__sub__": operator_function(e.subtract),
        "__rsub__": lambda x, other: e.subtract(other, x),
        "__mul__": operator_function(e.multiply),
        "__rmul__": operator_function(e.multiply, swapped=True),
        "__truediv__": operator_function(e.divide),
        "__rtruediv__": _reflected(e.divide),
        "__floordiv__": operator_function(e.floor_divide),
        "__rfloordiv__": lambda x, other: e.floor_divide(other, x),
        "__mod__": operator_function(e.remainder),
        "__rmod__": lambda x, other: e.remainder(other, x),
        "__pow__": _power,
        "__rpow__": lambda x, other: e.power(other, x),
        "__matmul__": operator_function(linalg.matmul),
        "__rmatmul__": _reflected(linalg.matmul),
        "__neg__": e.negative,
        "__pos__": e.positive,
        "__abs__": e.absolute,
        "__lt__": operator_function(e.less),
        "__le__": operator_function(e.less_equal),
        "__gt__": operator_function(e.greater),
        "__ge__": operator_function(e.greater_equal),
        "__eq__": operator_function(e.equal),
        "__ne__": operator_function(e.not_equal),
        "__hash__": object.__hash__,
        "__dir__": _names_of,
        "__and__": operator_function(e.bitwise_and),
        "__rand__": lambda x, other: e.bitwise_and(other, x),
        "__or__": operator_function(e.bitwise_or),
        "__ror__": lambda x, other: e.bitwise_or(other, x),
        "__xor__": operator_function(e.bitwise_xor),
        "__rxor__": lambda x, other: e.bitwise_xor(other, x),
        "__lshift__": operator_function(e.left_shift),
        "__rlshift__": lambda x, other: e.left_shift(other, x),
        "__rshift__": operator_function(e.right_shift),
        "__rrshift__": lambda x, other: e.right_shift(other, x),
        "__divmod__": lambda x, other: (e.floor_divide(x, other), e.remainder(x, other)),
        "__rdivmod__": lambda x, other: (e.floor_divide(other, x), e.remainder(other, x)),
        "__invert__": e.invert,
        "__getitem__": indexing.getitem,
        "__setitem__": write,
        "__iadd__": _inplace(e.add, "+"),
        "__isub__": _inplace(e.subtract, "-"),
        "__imul__": _inplace(e.multiply, "*"),
        "__itruediv__": _inplace(e.divide, "/"),
        "__ifloordiv__": _inplace(e.floor_divide, "//"),
        "__imod__": _inplace(e.remainder, "%"),
        "__ipow__": _inplace(_power, "**"),
        "__imatmul__": _inplace(linalg.matmul, "@"),
        "__iand__": _inplace(e.bitwise_and, "&"),
        "__ior__": _inplace(e.bitwise_or, "|"),
        "__ixor__": _inplace(e.bitwise_xor, "^"),
        "__ilshift__": _inplace(e.left_shift, "<<"),
        "__irshift__": _inplace(e.right_shift, ">>"),
        "backward": backward,
        "__array__": numpy_protocol.to_numpy_array,
        "__array_ufunc__": numpy_protocol.array_ufunc,
        "__array_function__": numpy_protocol.array_function,
        "T": property(s.transpose, doc="The axes reversed."),
        "mT": property(lambda x: s.swapaxes(x, -1, -2), doc="The last two axes exchanged."),
        "real": property(e.real, _set_real, doc="The real part."),
        "imag": property(e.imag, _set_imag, doc="The imaginary part."),
        "sum": signatures.sum,
        "mean": signatures.mean,
        "max": signatures.max,
        "min": signatures.min,
        "prod": signatures.prod,
        "var": signatures.var,
        "std": signatures.std,
        "cumsum": signatures.cumsum,
        "cumprod": signatures.cumprod,
        "ptp": statistics.ptp,
        "fill": _fill_inplace,
        "put": writing.put,
        "sort": _sort_inplace,
        "partition": _partition_inplace,
        "flat": property(Flat, _set_flat, doc="The entries in row-major order."),
        "argsort": sorting.argsort,
        "argpartition": sorting.argpartition,
        "diagonal": rearranging.diagonal,
        "round": counting.numpy_round,
        "__round__": _round_number,
        "nonzero": counting.nonzero,
        "searchsorted": counting.searchsorted,
        "compress": lambda x, condition, axis=None: rearranging.compress(condition, x, axis),
        "choose": rearranging.choose,
        "argmax": signatures.argmax,
        "argmin": signatures.argmin,
        "any": signatures.any,
        "all": signatures.all,
        "reshape": _reshape,
        "transpose": _transpose,
        "ravel": shape_signatures.ravel,
        "flatten": shape_signatures.flatten,
        "squeeze": s.squeeze,
        "swapaxes": s.swapaxes,
        "repeat": repetition.repeat,
        "copy": shape_signatures.copy_method,
        "clip": _clip,
        "conj": e.conjugate,
        "conjugate": e.conjugate,
        "dot": linalg.dot,
        "trace": signatures.trace,
        "take": shape_signatures.take,
        "astype": shape_signatures.astype,
        "to": _to,
        "to_device": _to_device,
        "__array_namespace__": _array_namespace,
    }
    for name, function in names.items():
        setattr(Tensor, name, function)
    for name, advice in {**INSTEAD, **OTHER_WORDS}.items():
        setattr(Tensor, name, _absent_attribute(name, advice))


_attach()
