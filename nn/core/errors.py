"""ShapeError for layers, and the function that raises it.

Layers raise it with what is wrong, as the operations that they run do; `frames.py`, which runs
modules, adds the module's path in its parents.
"""

from __future__ import annotations

from tapegrad.autograd.core.errors import ShapeError

__all__ = ["ShapeError", "shape_check"]


def shape_check(fits: bool, text: str) -> None:
    """Raise a ShapeError with `text` unless `fits`; the module's path is put before it."""
    if not fits:
        raise ShapeError(text)
