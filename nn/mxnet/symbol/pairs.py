"""Functions of symbols in MXNet's Python: maximum of a symbol and a number, split_v2, histogram."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapegrad.nn.mxnet.symbol.symbol import Symbol, from_operator

__all__ = ["histogram", "hypot", "maximum", "minimum", "power", "split_settings", "split_v2"]


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
    of_numbers: dict[str, Callable[[Any, Any], Any]] = {
        "maximum": max,
        "minimum": min,
        "power": pow,
        "hypot": lambda a, b: (a * a + b * b) ** 0.5,
    }
    return of_numbers[name](left, right)


def maximum(left: Symbol | float, right: Symbol | float) -> Any:
    """The larger entry, elementwise; a tie's gradient goes to the left operand."""
    return _pair("maximum", left, right)


def minimum(left: Symbol | float, right: Symbol | float) -> Any:
    """The smaller entry, elementwise; a tie's gradient goes to the left operand."""
    return _pair("minimum", left, right)


def power(base: Symbol | float, exp: Symbol | float) -> Any:
    """base ** exp, elementwise."""
    return _pair("power", base, exp, "_rpower_scalar")


def hypot(left: Symbol | float, right: Symbol | float) -> Any:
    """√(left² + right²), elementwise."""
    return _pair("hypot", left, right)


def split_v2(
    ary: Symbol,
    indices_or_sections: int | Sequence[int],
    axis: int = 0,
    squeeze_axis: bool = False,
) -> Symbol:
    """Parts along an axis: so many equal ones, or those that begin at the given places."""
    return from_operator(
        "_split_v2", "_split_v2", [ary], split_settings(indices_or_sections, axis, squeeze_axis)
    )


def split_settings(parts: int | Sequence[int], axis: int, squeeze_axis: bool) -> dict[str, Any]:
    """The attributes of `_split_v2`.  Raises ValueError for other than a number or numbers."""
    found: dict[str, Any] = {"axis": axis, "squeeze_axis": squeeze_axis}
    if isinstance(parts, int):
        return {"indices": (), "sections": parts, **found}
    if isinstance(parts, (tuple, list)):
        return {"indices": (0, *parts), "sections": 0, **found}
    raise ValueError("indices_or_sections must be either int, or tuple / list of ints")


def histogram(
    a: Symbol, bins: Symbol | int = 10, range: Sequence[float] | None = None, **settings: Any
) -> Symbol:  # MXNet's name
    """How many entries lie in each bin, and the edges.

    bins: a symbol of edges, or a number of equal bins over `range`
    Raises ValueError for a number of bins without a range.
    """
    if isinstance(bins, Symbol):
        return from_operator("_histogram", "_histogram", [a, bins], settings)
    if range is None:
        raise ValueError("null range is not supported in symbol mode")
    settings |= {"bin_cnt": bins, "range": tuple(range)}
    return from_operator("_histogram", "_histogram", [a], settings)
