"""ShapeError: an input does not fit a module.

It is raised with what is wrong; the module's path in its parents is put before that on the way out,
by what runs modules (`frames.py`).
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
    """Raise a ShapeError with `text` unless `fits`; the module's path is put before it."""
    if not fits:
        raise ShapeError(text)
