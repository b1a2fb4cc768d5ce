"""Operators of NDArrays: `a + b` broadcasts, and `a.sum(axis=1)` is the operator `sum`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad.nn.mxnet.declaration import find_operator
from tapegrad.nn.mxnet.errors import MXNetError

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray

__all__ = ["NDArrayOperators"]

# Python's operator -> (operator of two arrays, with a number, with the number on the left).
BINARY = {
    "add": ("broadcast_add", "_plus_scalar", "_plus_scalar"),
    "sub": ("broadcast_sub", "_minus_scalar", "_rminus_scalar"),
    "mul": ("broadcast_mul", "_mul_scalar", "_mul_scalar"),
    "truediv": ("broadcast_div", "_div_scalar", "_rdiv_scalar"),
    "mod": ("broadcast_mod", "_mod_scalar", "_rmod_scalar"),
    "pow": ("broadcast_power", "_power_scalar", "_rpower_scalar"),
}
COMPARISONS = {
    "eq": ("broadcast_equal", "_equal_scalar"),
    "ne": ("broadcast_not_equal", "_not_equal_scalar"),
    "gt": ("broadcast_greater", "_greater_scalar"),
    "ge": ("broadcast_greater_equal", "_greater_equal_scalar"),
    "lt": ("broadcast_lesser", "_lesser_scalar"),
    "le": ("broadcast_lesser_equal", "_lesser_equal_scalar"),
}


def _binary(pair: str, scalar: str, kind: str, swap: bool = False) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        if isinstance(other, NDArrayOperators):
            return self._call(pair, (other, self) if swap else (self, other), {})
        if isinstance(other, Number) or (isinstance(other, np.ndarray) and other.ndim == 0):
            return self._call(scalar, (self,), {"scalar": float(other)})  # type: ignore[arg-type]  # it is a real number
        if isinstance(other, np.ndarray):
            return self._call(pair, (other, self) if swap else (self, other), {})
        if kind in ("eq", "ne"):
            return NotImplemented
        raise TypeError(f"type {type(other).__name__} not supported")

    method.__doc__ = f"Python's operator `{kind}`, elementwise."
    return method


def _in_place(kind: str) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        self[:] = getattr(self, f"__{kind}__")(other)
        return self

    method.__doc__ = f"Python's in-place operator of `{kind}`, on the same memory."
    return method


class NDArrayOperators:
    """Python's operators and an NDArray's methods, as calls of operators."""

    __slots__ = ()

    def _call(self, operator: str, arrays: Sequence[Any], settings: dict[str, Any]) -> Any:
        """Call an operator; `NDArray` says how."""
        raise NotImplementedError

    def __neg__(self) -> Self:
        return self._call("negative", (self,), {})

    def __abs__(self) -> Self:
        return self._call("abs", (self,), {})

    if TYPE_CHECKING:  # `_install` sets them

        def __add__(self, other: Any) -> NDArray: ...
        def __radd__(self, other: Any) -> NDArray: ...
        def __sub__(self, other: Any) -> NDArray: ...
        def __rsub__(self, other: Any) -> NDArray: ...
        def __mul__(self, other: Any) -> NDArray: ...
        def __rmul__(self, other: Any) -> NDArray: ...
        def __truediv__(self, other: Any) -> NDArray: ...
        def __rtruediv__(self, other: Any) -> NDArray: ...
        def __mod__(self, other: Any) -> NDArray: ...
        def __rmod__(self, other: Any) -> NDArray: ...
        def __pow__(self, other: Any) -> NDArray: ...
        def __rpow__(self, other: Any) -> NDArray: ...
        def __eq__(self, other: object) -> NDArray: ...  # type: ignore[override]  # as NumPy's
        def __ne__(self, other: object) -> NDArray: ...  # type: ignore[override]  # as NumPy's
        def __hash__(self) -> int: ...
        def __gt__(self, other: Any) -> NDArray: ...
        def __ge__(self, other: Any) -> NDArray: ...
        def __lt__(self, other: Any) -> NDArray: ...
        def __le__(self, other: Any) -> NDArray: ...

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A method that is an operator: ``x.sum(axis=1)``."""
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            find_operator(name)
        except MXNetError as error:
            raise AttributeError(f"an NDArray has no attribute {name!r}: {error}") from None

        def method(*args: Any, **settings: Any) -> Any:
            return self._call(name, (self, *args), settings)

        return method


def _install() -> None:
    for word, (pair, scalar, reflected) in BINARY.items():
        setattr(NDArrayOperators, f"__{word}__", _binary(pair, scalar, word))
        setattr(NDArrayOperators, f"__r{word}__", _binary(pair, reflected, word, swap=True))
        setattr(NDArrayOperators, f"__i{word}__", _in_place(word))
    for word, (pair, scalar) in COMPARISONS.items():
        setattr(NDArrayOperators, f"__{word}__", _binary(pair, scalar, word))


_install()
