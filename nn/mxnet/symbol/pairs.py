"""maximum, minimum, power, hypot: of two symbols, or of a symbol and a number."""

from __future__ import annotations

from typing import Any

from tapegrad.nn.mxnet.symbol.symbol import Symbol, from_operator

__all__ = ["hypot", "maximum", "minimum", "power"]


def _pair(name: str, left: Any, right: Any, reflected: str = "") -> Any:
    if isinstance(left, Symbol) and isinstance(right, Symbol):
        return from_operator(f"_{name}", f"_{name}", [left, right], {})
    stem = f"_{name}scalar"
    if isinstance(left, Symbol):
        return from_operator(f"_{name}_scalar", stem, [left], {"scalar": right})
    if isinstance(right, Symbol):
        operator = reflected or f"_{name}_scalar"
        return from_operator(
            operator, operator.replace("_scalar", "scalar"), [right], {"scalar": left}
        )
    return {
        "maximum": max,
        "minimum": min,
        "power": pow,
        "hypot": lambda a, b: (a * a + b * b) ** 0.5,
    }[name](left, right)


def maximum(left: Any, right: Any) -> Any:
    """The larger entry, elementwise; a tie's gradient goes to the left operand."""
    return _pair("maximum", left, right)


def minimum(left: Any, right: Any) -> Any:
    """The smaller entry, elementwise; a tie's gradient goes to the left operand."""
    return _pair("minimum", left, right)


def power(base: Any, exp: Any) -> Any:
    """base ** exp, elementwise."""
    return _pair("power", base, exp, "_rpower_scalar")


def hypot(left: Any, right: Any) -> Any:
    """√(left² + right²), elementwise."""
    return _pair("hypot", left, right)
