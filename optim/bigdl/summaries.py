"""What a run writes for TensorBoard, and keeps to be read: BigDL's TrainSummary, ValidationSummary.

Event files are written by tensorboardX: `pip install tapegrad[tensorboard]`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from tapegrad.optim.training.callbacks import TensorBoard

__all__ = ["TrainSummary", "ValidationSummary"]

NO_TAG = "{name}: there is no tag {tag!r}; there are {known}"


class _Summary:
    """Scalars by tag, in event files below logDir/appName."""

    folder: ClassVar[str]

    def __init__(self, logDir: str | Path, appName: str) -> None:
        self.path = Path(logDir) / appName / self.folder
        self.writer: Any = TensorBoard(self.path).writer
        self._values: dict[str, list[tuple[int, float, float]]] = {}

    def addScalar(self, tag: str, value: float, step: int) -> Self:
        """Write one value."""
        self.writer.add_scalar(tag, value, step)
        self._values.setdefault(tag, []).append((step, float(value), time.time()))
        return self

    def addHistogram(self, tag: str, values: Any, step: int) -> Self:
        """Write how the entries of an array are distributed."""
        self.writer.add_histogram(tag, values, step)
        return self

    def readScalar(self, tag: str) -> list[tuple[int, float, float]]:
        """Return (step, value, seconds since 1970) of what this object has written under `tag`.

        Raises KeyError for a tag without a value.
        """
        if tag not in self._values:
            known = ", ".join(self._values) or "none"
            raise KeyError(NO_TAG.format(name=type(self).__name__, tag=tag, known=known))
        return list(self._values[tag])

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()

    add_scalar, read_scalar = addScalar, readScalar


class TrainSummary(_Summary):
    """Loss, LearningRate and Throughput of each step, in logDir/appName/train.

    Parameters are written, as histograms, where `setSummaryTrigger("Parameters", trigger)` says so.
    Raises ImportError where tensorboardX is not installed.
    """

    folder = "train"
    TAGS: ClassVar[tuple[str, ...]] = ("Loss", "LearningRate", "Throughput", "Parameters")

    def __init__(self, logDir: str | Path, appName: str) -> None:
        super().__init__(logDir, appName)
        self.triggers: dict[str, Callable[[Any], bool]] = {}

    def setSummaryTrigger(self, name: str, trigger: Callable[[Any], bool]) -> Self:
        """Say when a tag is written.  Raises ValueError for a tag that does not exist."""
        if name not in self.TAGS:
            raise ValueError(
                NO_TAG.format(name="TrainSummary", tag=name, known=", ".join(self.TAGS))
            )
        self.triggers[name] = trigger
        return self

    def is_time(self, tag: str, state: dict[str, Any]) -> bool:
        """Tell whether the tag is to be written after this step."""
        trigger = self.triggers.get(tag)
        return tag != "Parameters" if trigger is None else bool(trigger(state))

    set_summary_trigger = setSummaryTrigger


class ValidationSummary(_Summary):
    """The figures of each validation, under their methods' names, in logDir/appName/validation.

    Raises ImportError where tensorboardX is not installed.
    """

    folder = "validation"
