"""The tables of docs/scipy.md, made from the declarations: `python tests/scipy_page.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tapegrad.autograd.ops import scipy_ufuncs
from tapegrad.autograd.scipy import (
    integrate,
    interpolate,
    linalg,
    ndimage,
    optimize,
    signal,
    sparse,
    special,
    stats,
    ufuncs,
)

__all__ = ["page"]

_MODULES = {
    "special": special,
    "stats": stats,
    "linalg": linalg,
    "optimize": optimize,
    "integrate": integrate,
    "signal": signal,
    "interpolate": interpolate,
    "sparse": sparse,
    "ndimage": ndimage,
}


def _row(name: str, function: Any, once: bool) -> str:
    primitive = function.primitive
    known: list[str] = []
    unknown: dict[str, list[str]] = {}
    for argument in primitive.arguments:
        rule = primitive.rules.get(argument)
        reason = getattr(rule.function, "reason", "") if rule is not None else ""
        if rule is not None and rule.function is scipy_ufuncs.refuse_order:
            reason = "no closed form in SciPy's functions is known"
        if not primitive.differentiable:
            unknown.setdefault("it is constant between jumps", []).append(argument)
        elif reason:
            unknown.setdefault(reason, []).append(argument)
        else:
            known.append(argument)
    orders = "" if not known else ("1" if once else "1, 2, 3")
    reasons = "; ".join(f"{', '.join(names)}: {why}" for why, names in unknown.items())
    return f"| `{name}` | {', '.join(known)} | {orders} | {reasons} |"


def page(once: Mapping[str, str]) -> str:
    """The tables: each ufunc with its derivatives, and the names of each module.

    once: the primitives whose second derivative has an exception
    """
    assert ufuncs.__all__  # all are declared
    lines = [
        "| ufunc | derivative in | orders checked | without one, and why |",
        "|---|---|---|---|",
    ]
    lines += [
        _row(name, function, function.__name__ in once)
        for name, function in sorted(scipy_ufuncs.by_name.items())
        if hasattr(function, "primitive")
    ]
    lines += ["", "| module | functions and classes |", "|---|---|"]
    for name, module in _MODULES.items():
        names = ", ".join(f"`{each}`" for each in sorted(module.__all__))
        lines.append(f"| `tapegrad.scipy.{name}` | {names} |")
    return "\n".join(lines) + "\n"
