"""ShapeError for layers, and the function that raises it.

Layers raise it with what is wrong, and so do the operations that they run.  `frames.py`, which runs
modules, puts the module's path in its parents before the text.
"""

from __future__ import annotations

from tapegrad.autograd.core.errors import ShapeError

__all__ = ["ShapeError", "shape_check"]


def shape_check(fits: bool, text: str) -> None:
    """Raise a ShapeError with `text` unless `fits`; the message starts with the module's path."""
    if not fits:
        raise ShapeError(text)
