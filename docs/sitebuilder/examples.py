"""What layers, losses, operations and optimizers were seen to do in a call that was made.

The laws know how to draw an example of each (tests/cases/, tests/cases_mxnet.py).  One small
example of each is drawn and run while the site is built, so that its line in the reference is a
fact, and nobody has to write it.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np

from sitebuilder.names import name_of, public_names
from sitebuilder.places import ROOT
from tapegrad import Parameter, optim
from tapegrad.autograd.check import Draws, operations
from tapegrad.nn import mxnet

__all__ = ["seen", "shapes"]

SEEDS = range(12)  # of examples that are small and not empty, the first without an axis of length 1
LARGEST = 400  # entries
LONGEST = 160  # characters
STEPS = 100  # of an optimizer

# seed -> (the arrays that went in, the line)
Run = Callable[[int], tuple[Any, str]]


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


def _of_layer(case: Callable[..., Any]) -> Run:
    def run(seed: int) -> tuple[Any, str]:
        layer = case(Draws(seed))
        text = repr(layer.module)
        if "\n" in text:  # a container, with a line for each module in it
            text = f"nn.{type(layer.module).__name__}"
        given = [layer.input] + ([layer.target] if layer.target is not None else [])
        result = layer.module(*given)
        return given, f"{text}: {', '.join(map(shapes, given))} -> {shapes(result)}"

    return run


def _of_operation(name: str, function: Any, case: Callable[..., Any]) -> Run:
    def run(seed: int) -> tuple[Any, str]:
        call = case(Draws(seed))
        result = function(*call.args, **call.settings)
        return list(call.args), _call(name, call.args, call.settings, result)

    return run


def _of_mxnet(name: str, function: Any, case: Callable[..., Any]) -> Run:
    def run(seed: int) -> tuple[Any, str]:
        from cases_mxnet import Draw

        settings, arrays = case(Draw(seed))
        result = function(*map(mxnet.ndarray.array, arrays.values()), **settings)
        return list(arrays.values()), _call(name, arrays.values(), settings, result)

    return run


def _of_optimizer(optimizer: Any) -> Run:
    """Σ x² from (4, -2) by a class, or by Torch7's form of the rule, at a rate that can be seen."""

    def run(seed: int) -> tuple[Any, str]:
        x = Parameter(np.array([4.0, -2.0]))
        options: dict[str, float] = {} if seed else {"lr": 0.1}  # some rules have no rate
        if inspect.isclass(optimizer):
            made = optimizer([x], **options)
            for _ in range(STEPS):
                made.zero_grad()
                np.sum(x**2).backward()
                made.step()
        else:
            options = {} if seed else {"learningRate": 0.1}
            state: dict[str, Any] = {}
            for _ in range(STEPS):
                optimizer(lambda v: (np.sum(v**2), 2 * v), x.data, dict(options), state)
        value = float(np.sum(x.data**2))
        given = ", ".join(f"{key}={number}" for key, number in options.items())
        return x.data, f"Σ x² goes from 20 to {value:.3g} in {STEPS} steps, {given or 'as it is'}"

    return run


def _call(name: str, given: Iterable[Any], settings: Mapping[str, Any], result: Any) -> str:
    words = [shapes(argument) for argument in given]
    words += [f"{key}={value!r}" for key, value in settings.items()]
    return f"{name}({', '.join(words)}) -> {shapes(result)}"


def _drawn(run: Run) -> str:
    """The line of the first example that will do; "" where none does."""
    lines: list[str] = []
    for seed in SEEDS:
        try:
            with (
                warnings.catch_warnings(),
                np.errstate(all="ignore"),
                contextlib.redirect_stdout(io.StringIO()),  # some layers print what passes
            ):
                warnings.simplefilter("ignore")
                given, line = run(seed)
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
    import cases_mxnet

    names = public_names()
    runs: dict[str, Run] = {}
    for table in (cases.MODULES, cases.CRITERIONS):
        runs |= {f"tapegrad.nn.{name}": _of_layer(case) for name, case in table.items()}
    every = operations()
    for name, case in cases.OPERATIONS.items():
        public = name_of(every.get(name))
        if public is not None:
            runs[public.path] = _of_operation(public.name, every[name], case)
    for name, case in cases_mxnet.CASES.items():
        path = f"tapegrad.nn.mxnet.ndarray.{name}"
        if path in names:
            runs[path] = _of_mxnet(name, names[path].value, case)
    for path, public in names.items():
        rule = isinstance(public.value, optim.UpdateRule)
        made = inspect.isclass(public.value) and issubclass(public.value, optim.Optimizer)
        if path.startswith("tapegrad.optim.") and (rule or made):
            runs[path] = _of_optimizer(public.value)
    lines = {path: _drawn(run) for path, run in runs.items() if path in names}
    return {path: line for path, line in lines.items() if line}
