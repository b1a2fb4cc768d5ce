"""ShapeError: an input does not fit a module.

Forward code raises it with what is wrong.  `frames.py`, which runs modules, puts the module's path
in its parents before the text.
"""

from __future__ import annotations

from tapegrad.devices import TapegradError

__all__ = ["ShapeError", "shape_check"]


class ShapeError(TapegradError, ValueError):
    """An input does not fit a module; the message starts with the module's path in its parents."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.path = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


def shape_check(fits: bool, text: str) -> None:
    """Raise a ShapeError with `text` unless `fits`; the message starts with the module's path."""
    if not fits:
        raise ShapeError(text)
