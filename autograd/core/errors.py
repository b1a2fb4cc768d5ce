"""The errors that several rooms of autograd raise or catch."""

from __future__ import annotations

from tapegrad.devices import TapegradError

__all__ = ["BatchingError", "InPlaceError"]


class BatchingError(TapegradError, TypeError):
    """A function cannot run on all samples at once; the message starts with the line at fault."""


class InPlaceError(TapegradError, RuntimeError):
    """An array was written in place where a derivative needs, or would lose, its old value."""
