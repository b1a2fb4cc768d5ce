"""Operators of Symbols: `a + b`, `a * 2`, `a > b`, and methods such as `a.reshape(…)`.

Between symbols they are elementwise operators without broadcasting, with numbers the `_scalar`
operators, as in MXNet.  Automatic names count by MXNet's internal names: `_plus0`, `_mulscalar0`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.declaration import find_operator
from tapegrad.nn.mxnet.errors import MXNetError

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.symbol.symbol import Symbol

__all__ = ["SymbolOperators"]

# Python's operator -> (operator of two symbols, with a number, with the number on the left); the
# name behind a colon is the stem of automatic names.
BINARY = {
    "add": ("elemwise_add:_plus", "_plus_scalar:_plusscalar", "_plus_scalar:_plusscalar"),
    "sub": ("elemwise_sub:_minus", "_minus_scalar:_minusscalar", "_rminus_scalar:_rminusscalar"),
    "mul": ("elemwise_mul:_mul", "_mul_scalar:_mulscalar", "_mul_scalar:_mulscalar"),
    "truediv": ("elemwise_div:_div", "_div_scalar:_divscalar", "_rdiv_scalar:_rdivscalar"),
    "mod": ("_mod:_mod", "_mod_scalar:_modscalar", "_rmod_scalar:_rmodscalar"),
    "pow": ("_power:_power", "_power_scalar:_powerscalar", "_rpower_scalar:_rpower_scalar"),
}
COMPARISONS = {
    "eq": ("_equal:_equal", "_equal_scalar:_equal_scalar"),
    "ne": ("_not_equal:_not_equal", "_not_equal_scalar:_not_equal_scalar"),
    "gt": ("_greater:_greater", "_greater_scalar:_greater_scalar"),
    "ge": ("_greater_equal:_greater_equal", "_greater_equal_scalar:_greater_equal_scalar"),
    "lt": ("_lesser:_lesser", "_lesser_scalar:_lesser_scalar"),
    "le": ("_lesser_equal:_lesser_equal", "_lesser_equal_scalar:_lesser_equal_scalar"),
}


def _binary(pair: str, scalar: str, kind: str) -> Callable[[Any, Any], Any]:
    def method(self: Symbol, other: Any) -> Any:
        if isinstance(other, SymbolOperators):
            return self._named(pair, self, other)
        if isinstance(other, Number):
            return self._named(scalar, self, scalar=other)
        raise TypeError(f"type {type(other).__name__} not supported: a Symbol or a number")

    method.__doc__ = f"Python's operator `{kind}`, elementwise."
    return method


class SymbolOperators:
    """Python's operators and a Symbol's methods, as calls of operators."""

    __slots__ = ()

    def _call(self, operator: str, function: str, args: Sequence[Any], settings: Any) -> Symbol:
        """Call an operator; `Symbol` says how."""
        raise NotImplementedError

    def _named(self, named: str, *symbols: Any, **settings: Any) -> Symbol:
        operator, _, function = named.partition(":")
        return self._call(operator, function, symbols, settings)

    def __neg__(self) -> Symbol:
        return self._named("_mul_scalar:_mulscalar", self, scalar=-1.0)

    def __abs__(self) -> Symbol:
        return self._named("abs:abs", self)

    def __bool__(self) -> bool:
        raise NotImplementedError("a Symbol has no value, so it is neither true nor false")

    __hash__ = object.__hash__

    if TYPE_CHECKING:  # `_install` sets them

        def __add__(self, other: Any) -> Symbol: ...
        def __radd__(self, other: Any) -> Symbol: ...
        def __sub__(self, other: Any) -> Symbol: ...
        def __rsub__(self, other: Any) -> Symbol: ...
        def __mul__(self, other: Any) -> Symbol: ...
        def __rmul__(self, other: Any) -> Symbol: ...
        def __truediv__(self, other: Any) -> Symbol: ...
        def __rtruediv__(self, other: Any) -> Symbol: ...
        def __mod__(self, other: Any) -> Symbol: ...
        def __rmod__(self, other: Any) -> Symbol: ...
        def __pow__(self, other: Any) -> Symbol: ...
        def __rpow__(self, other: Any) -> Symbol: ...
        def __eq__(self, other: object) -> Symbol: ...  # type: ignore[override]  # no truth
        def __ne__(self, other: object) -> Symbol: ...  # type: ignore[override]  # no truth
        def __gt__(self, other: Any) -> Symbol: ...
        def __ge__(self, other: Any) -> Symbol: ...
        def __lt__(self, other: Any) -> Symbol: ...
        def __le__(self, other: Any) -> Symbol: ...

    def __getattr__(self, name: str) -> Callable[..., Symbol]:
        """A method that is an operator: ``x.reshape(shape=(0, -1))``."""
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            find_operator(name)
        except MXNetError as error:
            raise AttributeError(f"a Symbol has no attribute {name!r}: {error}") from None

        def method(*args: Any, **settings: Any) -> Symbol:
            return self._call(name, name, (self, *args), settings)

        return method


def _install() -> None:
    for word, (pair, scalar, reflected) in BINARY.items():
        setattr(SymbolOperators, f"__{word}__", _binary(pair, scalar, word))
        setattr(SymbolOperators, f"__r{word}__", _binary(pair, reflected, word))
    for word, (pair, scalar) in COMPARISONS.items():
        setattr(SymbolOperators, f"__{word}__", _binary(pair, scalar, word))


_install()
