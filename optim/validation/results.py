"""What a validation method finds in a batch: results that add up, in any order and grouping.

Counts are integers and sums are exact, so that a result is the same to the last digit however the
data were cut: into batches, over partitions or machines.  `first + second` is a new result.

Source: BigDL's optim.ValidationResult; its sums are rounded, and `+` changes the first one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

__all__ = ["AccuracyResult", "ExactSum", "LossResult", "ValidationResult"]

OTHER_KIND = "{own} and {other} cannot be added: results of one method add up with one another"

# Every finite float64 is a multiple of 2**-1074.
SHIFT = 1074


class ExactSum:
    """A sum of floats without rounding: an integer multiple of 2**-1074.

    beside: the sum of those that are not finite, which decides when there are any
    """

    __slots__ = ("beside", "units")

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.units, self.beside = 0, 0.0
        for value in values:
            number = float(value)
            if math.isfinite(number):
                above, below = number.as_integer_ratio()
                self.units += above << (SHIFT + 1 - below.bit_length())
            else:
                self.beside += number

    def __add__(self, other: ExactSum) -> ExactSum:
        both = ExactSum()
        both.units = self.units + other.units
        both.beside = self.beside + other.beside
        return both

    def divided_by(self, count: float) -> float:
        """Return sum / count, rounded once for a whole count; NaN for none."""
        if not count:
            return math.nan
        if self.beside or math.isnan(self.beside):
            return self.beside / count
        above, below = float(count).as_integer_ratio()
        try:
            return self.units * below / (above << SHIFT)
        except OverflowError:
            return math.inf if self.units > 0 else -math.inf

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExactSum):
            return NotImplemented
        if math.isnan(self.beside) or math.isnan(other.beside):
            return math.isnan(self.beside) and math.isnan(other.beside)
        return self.units == other.units and self.beside == other.beside

    def __hash__(self) -> int:
        return hash(None if math.isnan(self.beside) else (self.units, self.beside))


class ValidationResult:
    """A figure of some samples: `result()` is (value, count), and results add up with +.

    A subclass says what it holds (`_parts`, a tuple of things that compare) and how two are added.
    Raises TypeError where results of different kinds are added.
    """

    def result(self) -> tuple[float, int]:
        """Return the figure and how many samples it is of; NaN for none."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its figure is")

    def _parts(self) -> tuple[Any, ...]:
        raise NotImplementedError(f"{type(self).__name__} does not say what it holds")

    def _added(self, other: Self) -> Self:
        raise NotImplementedError(f"{type(self).__name__} does not say how it adds up")

    def __add__(self, other: Any) -> Self:
        if type(other) is not type(self):
            if isinstance(other, int) and other == 0:  # where `sum` begins
                return self
            own, found = type(self).__name__, type(other).__name__
            raise TypeError(OTHER_KIND.format(own=own, other=found))
        return self._added(other)

    __radd__ = __add__

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash((type(self), self._parts()))

    def __repr__(self) -> str:
        value, count = self.result()
        return f"{type(self).__name__}({value}, count: {count})"


class AccuracyResult(ValidationResult):
    """How many of `count` samples are correct: result() is (correct / count, count)."""

    def __init__(self, correct: int, count: int) -> None:
        self.correct, self.count = int(correct), int(count)

    def result(self) -> tuple[float, int]:
        """Return (correct / count, count)."""
        return (self.correct / self.count if self.count else math.nan), self.count

    def _parts(self) -> tuple[Any, ...]:
        return self.correct, self.count

    def _added(self, other: AccuracyResult) -> AccuracyResult:
        return AccuracyResult(self.correct + other.correct, self.count + other.count)

    def __repr__(self) -> str:
        accuracy = self.result()[0]
        return f"Accuracy(correct: {self.correct}, count: {self.count}, accuracy: {accuracy})"


class LossResult(ValidationResult):
    """A sum over `count` samples: result() is (sum / weight, count).

    values:  what is added up, exactly
    weights: what the sum is divided by, if not by the count: the weights of the samples' classes
    name:    what the figure is called
    """

    def __init__(
        self,
        values: Iterable[float] | ExactSum,
        count: int,
        *,
        weights: Iterable[float] | ExactSum | None = None,
        name: str = "Loss",
    ) -> None:
        self.total = values if isinstance(values, ExactSum) else ExactSum(values)
        if weights is None:
            weights = [float(count)]
        self.weight = weights if isinstance(weights, ExactSum) else ExactSum(weights)
        self.count, self.name = int(count), name

    def result(self) -> tuple[float, int]:
        """Return (sum / weight, count)."""
        return self.total.divided_by(self.weight.divided_by(1)), self.count

    def _parts(self) -> tuple[Any, ...]:
        return self.total, self.weight, self.count, self.name

    def _added(self, other: LossResult) -> LossResult:
        return LossResult(
            self.total + other.total,
            self.count + other.count,
            weights=self.weight + other.weight,
            name=self.name,
        )

    def __repr__(self) -> str:
        total, mean = self.total.divided_by(1), self.result()[0]
        return f"({self.name}: {total}, count: {self.count}, Average {self.name}: {mean})"


def in_order(*columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return arrays of equal length in one order that depends on their content alone.

    The first column decides, then the second, and so on; all ascending.
    """
    order = np.lexsort(columns[::-1])
    return tuple(column[order] for column in columns)
