"""Written: one example as lines of the user's framework, with nothing of tapegrad in them.

Arrays become variables with their values, the subject an expression: its name where it can be
imported, its source where it is a short lambda.
"""

from __future__ import annotations

import inspect
import keyword
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.check.frameworks.making import name_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Written", "arguments_in_words", "array_literal", "expression_of", "variables"]

# Where the functions of libraries are known to users; their own modules are elsewhere.
_NAMESPACES = (
    "torch.nn", "torch.nn.functional", "torch", "torch.special", "torch.linalg", "torch.fft",
    "numpy", "numpy.linalg", "jax.numpy", "jax.nn", "jax.lax", "jax.scipy.special", "jax",
)  # fmt: skip

_SHORT = {"numpy": "np", "numpy.linalg": "np.linalg", "jax.numpy": "jnp"}


@dataclass
class Written:
    """An example in lines of a framework.

    framework: "numpy", "torch" or "jax"
    imports:   the lines that import
    defines:   the lines that make `f`
    names:     a variable for each array
    call:      the expression of a call of `f` with these variables
    gradient:  of NumPy, the expression of the hand-written gradient, called as `call` is
    picks:     of NumPy, the expression that takes the gradient of each array out of that
    tracked:   the positions of the arrays that have gradients
    seed:      of the random numbers in a call, None where none are drawn
    """

    framework: str
    imports: list[str]
    defines: list[str]
    names: list[str]
    call: str
    tracked: Sequence[int]
    gradient: str = ""
    picks: Sequence[str] = ()
    seed: int | None = None
    notes: list[str] = field(default_factory=list)


class _Variable:
    """Shown in the text of a nest as the variable's name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


def variables(paths: Sequence[str]) -> list[Any]:
    """A variable for each path, whose text is a Python name: ``p["w"]`` is p_w."""
    names: list[str] = []
    for path in paths:
        name = re.sub(r"\W+", "_", path).strip("_") or "x"
        if name[0].isdigit() or keyword.iskeyword(name) or name in ("f", "h", "y", "argument_0"):
            name = "x" if name == "argument_0" else f"{name}_"
        while name in names:
            name += "_"
        names.append(name)
    return [_Variable(name) for name in names]


def expression_of(subject: Any) -> tuple[list[str], str, list[str]]:
    """Imports, an expression of the subject, and notes for the reader where it is not complete."""
    if not hasattr(subject, "__qualname__") and not hasattr(subject, "__name__"):
        return [], "model", [f"model is your {type(subject).__name__}"]
    for space in _NAMESPACES:
        module = sys.modules.get(space)
        for name in (getattr(subject, "__name__", ""), _last(getattr(subject, "__name__", ""))):
            if module is not None and name and getattr(module, name, None) is subject:
                short = _SHORT.get(space, space)
                known = short != space or space.startswith("torch")
                return [] if known else [f"import {space}"], f"{short}.{name}", []
    if getattr(subject, "__name__", "") == "<lambda>":
        return _lambda(subject)
    module_name = getattr(subject, "__module__", None) or ""
    qualified = getattr(subject, "__qualname__", subject.__name__)
    top = qualified.partition(".")[0]
    if "<locals>" in qualified:
        own = qualified.rpartition(".")[2]
        return [], own, [f"{own} is yours, from {module_name}"]
    if module_name in ("__main__", ""):
        return [], qualified, [f"{top} is yours"]
    return [f"from {module_name} import {top}"], qualified, []


def _last(name: str) -> str:
    """``erf`` of ``special_erf``, as PyTorch's functions in C call themselves."""
    return name.partition("_")[2]


def _lambda(subject: Any) -> tuple[list[str], str, list[str]]:
    shown = name_of(subject)
    if not shown.startswith("lambda"):
        return [], "f_of_yours", ["f_of_yours is your lambda"]
    imports, notes = [], []
    for name in subject.__code__.co_names:
        value = subject.__globals__.get(name)
        if inspect.ismodule(value):
            own = value.__name__
            imports.append(f"import {own}" if own == name else f"import {own} as {name}")
        elif value is not None and getattr(value, "__module__", "__main__") != "__main__":
            imports.append(f"from {value.__module__} import {name}")
    notes += [f"{name} is yours" for name in subject.__code__.co_freevars]
    return imports, f"({shown})", notes


def array_literal(array: np.ndarray) -> str:
    """The entries as nested lists, in as many digits as they need."""
    return repr(array.tolist()).replace("nan", "float('nan')").replace("inf", "float('inf')")


def arguments_in_words(positional: Sequence[Any], keywords: Mapping[str, Any]) -> str:
    """The arguments of a call as they are written."""
    parts = [repr(item) for item in positional]
    parts += [f"{name}={value!r}" for name, value in keywords.items()]
    return ", ".join(parts)
