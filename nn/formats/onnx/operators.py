"""The table of what is read for each operator: a function from an OperatorCall to its outputs.

`@reads("Softmax", since=13)` enters a function for a model's opset from 13 on; an operator whose
meaning changed has several entries.  `refuses_to_read` says why an operator has none.

A value is a Tensor, or a NumPy array of what a graph computes about shapes: NumPy's functions take
both, and stay with arrays where they get no Tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from tapegrad.autograd import Tensor
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError

__all__ = [
    "NEWEST",
    "OLDEST",
    "OPERATORS",
    "UNREADABLE",
    "OperatorCall",
    "Reader",
    "Result",
    "reader_of",
    "reads",
    "refuses_to_read",
]

OLDEST, NEWEST = 7, 28  # opsets that are read


@dataclass
class OperatorCall:
    """One call of an operator in a graph that runs.

    inputs: values, None for one that is left out
    count:  the number of outputs that the node names
    """

    op: str
    inputs: Sequence[Any]
    attributes: Mapping[str, Any]
    opset: int
    count: int

    @property
    def x(self) -> Any:
        """The first input."""
        return self.inputs[0]

    def input(self, index: int) -> Any:
        """An input, None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def host(self, index: int) -> np.ndarray[Any, Any] | None:
        """The numbers of an input that says how to compute, None where it is left out."""
        value = self.input(index)
        return value.numpy() if isinstance(value, Tensor) else value

    def whole(self, index: int, attribute: str | None = None) -> list[int] | None:
        """Whole numbers of an input, or else of an attribute, None for neither."""
        numbers = self.host(index)
        if numbers is None:
            given = self.attributes.get(attribute) if attribute else None
            return None if given is None else [int(n) for n in given]
        return [int(n) for n in np.asarray(numbers).reshape(-1)]

    def number(self, name: str, default: float) -> Any:
        """An attribute that is a number."""
        value = self.attributes.get(name, default)
        if not isinstance(value, (int, float)):
            raise self.wrong(f"a number for {name}", type(value).__name__)
        return value

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(f"a text for {name}", type(value).__name__)
        return value

    def ints(self, name: str) -> list[int] | None:
        """An attribute that is a list of whole numbers."""
        value = self.attributes.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(n, int) for n in value):
            raise self.wrong(f"whole numbers for {name}", type(value).__name__)
        return value

    def wrong(self, expected: str, found: Any = None) -> FormatError:
        """The error for a call that is not as ONNX says."""
        return FormatError(f"{self.op}: {expected}", found)

    def unsupported(self, what: str) -> UnsupportedError:
        """The error for what is not translated."""
        return UnsupportedError(f"{self.op} without {what}")


Result: TypeAlias = Any  # a value, or a list of values
Reader: TypeAlias = Callable[[OperatorCall], Result]
R = TypeVar("R", bound=Reader)

OPERATORS: dict[str, dict[int, Reader]] = {}  # name -> first opset -> reader
UNREADABLE: dict[str, str] = {}


def reads(*names: str, since: int = 1) -> Callable[[R], R]:
    """Enter a reader for operators, from an opset on.  Raises TypeError for a second one."""

    def enter(function: R) -> R:
        for name in names:
            versions = OPERATORS.setdefault(name, {})
            if since in versions:
                raise TypeError(f"{name} has a reader since opset {since} already")
            versions[since] = function
        return function

    return enter


def refuses_to_read(reason: str, *names: str) -> None:
    """Say why operators are not read."""
    UNREADABLE.update(dict.fromkeys(names, reason))


def reader_of(op: str, opset: int) -> Reader | None:
    """The reader of an operator in an opset, None if there is none."""
    versions = OPERATORS.get(op, {})
    known = [since for since in versions if since <= opset]
    return versions[max(known)] if known else None
