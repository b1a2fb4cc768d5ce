"""What layers, losses and operations were seen to do: shapes in and out of a call that was made.

The laws know how to draw an example of each (tests/cases/).  One small example of each is drawn and
run while the site is built, so that its line in the reference is a fact and nobody has to write it.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from sitebuilder.names import name_of, public_names
from sitebuilder.places import ROOT

__all__ = ["seen", "shapes"]

SEEDS = range(12)  # of examples that are small and not empty, the first without an axis of length 1
LARGEST = 400  # entries
LONGEST = 160  # characters


def shapes(value: Any) -> str:
    """The shapes of arrays in a nest, with dtypes that are not floating point: "(2, 3)"."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {shapes(v)}" for key, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shapes, value)) + "]"
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        return repr(value)
    kind = np.dtype(value.dtype).kind
    word = {"f": "", "c": "complex ", "b": "bool "}.get(kind, "int ")
    return f"{word}{tuple(value.shape)}"


def _arrays(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [array for entry in value for array in _arrays(entry)]
    return [value] if hasattr(value, "shape") else []


def _small(value: Any) -> bool:
    sizes = [int(np.prod(array.shape)) for array in _arrays(value)]
    return bool(sizes) and min(sizes) > 0 and sum(sizes) <= LARGEST


def _of_layer(case: Callable[..., Any], draws: Any) -> tuple[Any, str]:
    layer = case(draws)
    text = repr(layer.module)
    if "\n" in text:  # a container, with a line for each module in it
        text = f"nn.{type(layer.module).__name__}"
    given = [layer.input] + ([layer.target] if layer.target is not None else [])
    result = layer.module(*given)
    return given, f"{text}: {', '.join(map(shapes, given))} -> {shapes(result)}"


def _of_operation(name: str, function: Any) -> Callable[..., tuple[Any, str]]:
    def run(case: Callable[..., Any], draws: Any) -> tuple[Any, str]:
        call = case(draws)
        result = function(*call.args, **call.settings)
        given = [shapes(argument) for argument in call.args]
        given += [f"{key}={value!r}" for key, value in call.settings.items()]
        return list(call.args), f"{name}({', '.join(given)}) -> {shapes(result)}"

    return run


def _drawn(case: Callable[..., Any], run: Callable[..., tuple[Any, str]]) -> str:
    from tapegrad.autograd.check import Draws

    lines: list[str] = []
    for seed in SEEDS:
        try:
            with (
                warnings.catch_warnings(),
                np.errstate(all="ignore"),
                contextlib.redirect_stdout(io.StringIO()),  # some layers print what passes
            ):
                warnings.simplefilter("ignore")
                given, line = run(case, Draws(seed))
        except Exception:  # noqa: BLE001, S112  # an example may be one of an error
            continue
        if _small(given) and len(line) < LONGEST:
            if all(1 not in array.shape and array.shape for array in _arrays(given)):
                return line
            lines.append(line)
    return lines[0] if lines else ""


@cache
def seen() -> dict[str, str]:
    """The line of each public name that has one: "nn.Linear(2 -> 3): (4, 2) -> (4, 3)"."""
    sys.path.insert(0, str(ROOT / "tests"))
    import cases

    from tapegrad.autograd.check import operations

    found: dict[str, str] = {}
    names = public_names()
    for table in (cases.MODULES, cases.CRITERIONS):
        for name, case in table.items():
            path = f"tapegrad.nn.{name}"
            if path in names:
                found[path] = _drawn(case, _of_layer)
    every = operations()
    for name, case in cases.OPERATIONS.items():
        public = name_of(every.get(name))
        if public is not None:
            found[public.path] = _drawn(case, _of_operation(public.name, every[name]))
    return {path: line for path, line in found.items() if line}
