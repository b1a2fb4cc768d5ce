"""The errors that several rooms of autograd raise or catch."""

from __future__ import annotations

from tapegrad.devices import TapegradError

__all__ = [
    "BatchingError",
    "ConversionError",
    "EngineSignal",
    "InPlaceError",
    "OperandError",
    "ShapeError",
]


class BatchingError(TapegradError, TypeError):
    """A function cannot run on all samples at once; the message starts with the line at fault."""


class ConversionError(TapegradError, TypeError):
    """Code turned a tracked Tensor into a number or an array, which would cut its gradient.

    line: the line of the program that did it, "file:number"
    """

    def __init__(self, text: str, line: str = "") -> None:
        super().__init__(text)
        self.line = line


class InPlaceError(TapegradError, RuntimeError):
    """An array was written in place where a derivative needs, or would lose, its old value."""


class OperandError(TapegradError, TypeError):
    """An operand of an operation is no array and no number; nothing has been computed."""


class ShapeError(TapegradError, ValueError):
    """The shapes of arrays do not fit an operation or a module.

    text: what is wrong
    path: where the module that ran the operation stands in its parents, "" outside of modules; it
          is filled in on the way out by what runs modules, and printed before the text
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.path = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class EngineSignal(BaseException):  # no error
    """What one part of the engine tells another by raising: a reason, no mistake of a user.

    No Exception, for code of a user that runs in between may catch all of these.
    """
