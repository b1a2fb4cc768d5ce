"""Subjects as tables: a line is a name, code, inputs and options.

    special.{erf,erfc} | S.$(x) | N? C
    Linear | | N? T in_features | in_features=range(1, 6), out_features=range(1, 6)

Words in braces make a line of each, with ``$`` for the word.  Code is an expression of the inputs,
called x or, where there are several, a, b, c …; of a module it is the constructor's call, of the
options.  Inputs are parted by semicolons: named sizes and, behind them, ``> low``, ``in low high``,
``below C`` (integers), ``signs`` (−1 or 1), ``integer signs`` or ``mask``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapegrad.autograd.check import array, indices

__all__ = ["Row", "function_of", "rows"]

LETTERS = "abcdefgh"


@dataclass(frozen=True)
class Row:
    """One subject."""

    name: str
    code: str
    inputs: tuple[Any, ...]
    options: dict[str, Any]


def rows(text: str, **names: Any) -> Iterator[Row]:
    """The subjects of a table; `names` may be used in the options."""
    for line in text.strip().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, code, inputs, options = (
            [cell.strip() for cell in re.split(r"\s\|(?=\s|$)", line)] + [""] * 3
        )[:4]
        found = re.search(r"\{(.+?)\}", name)
        for word in found[1].split(",") if found else [""]:
            full = name.replace(found[0], word) if found else name
            yield Row(
                full,
                code.replace("$", word),
                tuple(_spec(part.strip()) for part in inputs.split(";")),
                eval(f"dict({options.replace('$', word)})", dict(names)),
            )


def _spec(text: str) -> Any:
    """One input."""
    for mark, spec in _KINDS.items():
        found = re.fullmatch(rf"(.*?) {mark}", text)
        if found:
            return spec(*found.groups())
    return array(text)


def _number(text: str) -> float | None:
    return None if text == "_" else float(text)


def _signs(kind: type) -> Callable[[str], Any]:
    def spec(names: str) -> Any:
        return lambda d: np.where(d.booleans(d.shape(names)), kind(1), kind(-1))

    return spec


def _mask(names: str) -> Any:
    return lambda d: d.booleans(d.shape(names))


_KINDS: dict[str, Callable[..., Any]] = {
    r"> (\S+)": lambda names, low: array(names, _number(low), None),
    r"in (\S+) (\S+)": lambda names, low, high: array(names, _number(low), _number(high)),
    r"below (\S+)": lambda names, below: indices(names, int(below) if below.isdigit() else below),
    "integer signs": _signs(int),
    "signs": _signs(float),
    "mask": _mask,
}


def function_of(row: Row, names: dict[str, Any]) -> Callable[..., Any]:
    """The function of a row's code, under the row's name."""
    arguments = ["x"] if len(row.inputs) == 1 else list(LETTERS[: len(row.inputs)])
    function: Callable[..., Any] = eval(f"lambda {', '.join(arguments)}: {row.code}", dict(names))
    function.__name__ = re.sub(r"\W+", "_", row.name)
    return function
