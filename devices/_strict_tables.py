"""Generated members of StrictArray: its operators, and the methods and flags of CuPy's record.

`_strict_array.py` holds the class.  It calls the functions below with its own functions for taking
operands and wrapping results, so nothing in this file knows the class.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Container
from typing import Any

import numpy as np

from tapegrad.devices._cupy_signatures import CUPY, RECORD, Parameters

__all__ = ["ATTRIBUTES", "METHODS", "OPERATORS", "Flags", "methods", "operators"]

# Either (value, where) -> the value as NumPy takes it, or (result, sources) -> the result as CuPy
# returns it.
Convert = Callable[[Any, Any], Any]

# Operators ---------------------------------------------------------------------------------------


def _binary_methods(
    symbol: str, ufunc: Callable[..., Any], operand: Convert, wrap: Convert
) -> tuple[Any, Any, Any]:
    """The methods of one operator: for `x + y`, `y + x` and `x += y`."""

    def forward(self: Any, other: Any) -> Any:
        other = operand(other, symbol)
        if other is NotImplemented:
            return NotImplemented
        return wrap(ufunc(self._array, other), ())

    def reflected(self: Any, other: Any) -> Any:
        other = operand(other, symbol)
        if other is NotImplemented:
            return NotImplemented
        return wrap(ufunc(other, self._array), ())

    def in_place(self: Any, other: Any) -> Any:
        other = operand(other, f"{symbol}=")
        if other is NotImplemented:
            return NotImplemented
        ufunc(self._array, other, out=self._array)
        return self

    return forward, reflected, in_place


def _unary_method(function: Callable[..., Any], wrap: Convert) -> Any:
    def method(self: Any) -> Any:
        return wrap(function(self._array), ())

    return method


_ARITHMETIC = {
    "add": ("+", np.add),
    "sub": ("-", np.subtract),
    "mul": ("*", np.multiply),
    "truediv": ("/", np.true_divide),
    "floordiv": ("//", np.floor_divide),
    "mod": ("%", np.remainder),
    "pow": ("**", np.power),
    "matmul": ("@", np.matmul),
    "and": ("&", np.bitwise_and),
    "or": ("|", np.bitwise_or),
    "xor": ("^", np.bitwise_xor),
    "lshift": ("<<", np.left_shift),
    "rshift": (">>", np.right_shift),
    "divmod": ("divmod", np.divmod),
}
_COMPARISONS = {
    "eq": ("==", np.equal),
    "ne": ("!=", np.not_equal),
    "lt": ("<", np.less),
    "le": ("<=", np.less_equal),
    "gt": (">", np.greater),
    "ge": (">=", np.greater_equal),
}
OPERATORS = frozenset(ufunc for _, ufunc in (*_ARITHMETIC.values(), *_COMPARISONS.values()))


def operators(operand: Convert, wrap: Convert) -> dict[str, Any]:
    """The methods of all operators by name, such as `__add__`, `__radd__` and `__iadd__`.

    operand: (value, symbol) -> the other side as NumPy takes it, or NotImplemented
    wrap:    (result, sources) -> the result as CuPy returns it
    """
    members = {}
    for name, (symbol, ufunc) in _ARITHMETIC.items():
        forward, reflected, in_place = _binary_methods(symbol, ufunc, operand, wrap)
        members[f"__{name}__"] = forward
        members[f"__r{name}__"] = reflected
        if name not in {"divmod", "matmul"}:  # CuPy's arrays have no `@=`
            members[f"__i{name}__"] = in_place
    for name, (symbol, ufunc) in _COMPARISONS.items():
        members[f"__{name}__"] = _binary_methods(symbol, ufunc, operand, wrap)[0]
    for name in ("neg", "pos", "abs", "invert"):
        members[f"__{name}__"] = _unary_method(getattr(operator, name), wrap)
    return members


# Methods -----------------------------------------------------------------------------------------

METHODS: dict[str, str] = RECORD["methods"]
ATTRIBUTES = frozenset(RECORD["attributes"].split())
_NOT_MODELLED = frozenset({"mdspan", "reduced_view", "toDlpack", "tofile", "dump"})
_HOST = frozenset({"item", "tolist", "tobytes", "dumps"})
_IN_PLACE = frozenset({"fill", "partition", "put", "sort"})

# Methods that have an argument `dtype` in CuPy and none in NumPy.
_DTYPE_ALONE = frozenset({"argmax", "argmin"})


def _make_method(name: str, text: str, unwrap: Convert, wrap: Convert) -> Callable[..., Any]:
    """CuPy's array method, computed by ndarray's method or, where it has none, by NumPy's
    function.
    """
    own = getattr(np.ndarray, name, None)
    call: Callable[..., Any] = getattr(np, name) if own is None else own
    where = f"cupy.ndarray.{name}"
    parameters = Parameters(where, text, call, method=True)
    returns_bare = name in _HOST or name in _IN_PLACE
    takes_dtype_alone = name in _DTYPE_ALONE

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        ordered, named = parameters.bind(args, kwargs)
        # None means the default, which NumPy may write differently; for `axis` None is a value.
        named = {key: value for key, value in named.items() if value is not None or key == "axis"}
        dtype = named.pop("dtype", None) if takes_dtype_alone else None
        out = parameters.out(args, kwargs)
        result = call(
            self._array,
            *[unwrap(value, where) for value in ordered],
            **{key: unwrap(value, where) for key, value in named.items()},
        )
        if returns_bare:
            return result
        if out is not None:
            return out
        result = wrap(result, (self,))
        return result if dtype is None else result.astype(dtype)

    method.__name__ = name
    method.__qualname__ = f"StrictArray.{name}"
    method.__doc__ = f"{where}({text}), computed by NumPy; see CuPy's documentation."
    return method


def methods(unwrap: Convert, wrap: Convert, *, beside: Container[str]) -> dict[str, Any]:
    """The methods of CuPy's arrays by name, except for those in `beside`.

    unwrap: (value, where) -> the argument as NumPy takes it
    wrap:   (result, sources) -> the result as CuPy returns it
    """
    return {
        name: _make_method(name, text, unwrap, wrap)
        for name, text in METHODS.items()
        if name not in _NOT_MODELLED and name not in beside
    }


# Flags -------------------------------------------------------------------------------------------


class Flags:
    """The memory layout of a strict array, under the names of CuPy's flags."""

    __slots__ = ("_flags",)

    def __init__(self, flags: Any) -> None:
        self._flags = flags

    def __getattr__(self, name: str) -> bool:
        if name not in RECORD["flags"].split():
            raise AttributeError(f"{CUPY}: an array's flags have no {name!r}")
        return bool(getattr(self._flags, name))

    def __getitem__(self, name: str) -> bool:
        return bool(getattr(self, name.lower()))

    def __repr__(self) -> str:
        return "\n".join(f"  {name} : {self[name]}" for name in RECORD["flags"].split())
