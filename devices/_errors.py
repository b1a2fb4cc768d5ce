"""TapegradError: what every error class of tapegrad derives from, beside a built-in one.

It stands in the lowest folder because every other folder's errors derive from it; users find all of
them in `tapegrad.errors`.
"""

from __future__ import annotations

__all__ = ["TapegradError"]


class TapegradError(Exception):
    """The base of every error class that tapegrad declares.

    Each class has a built-in base as well (ValueError, TypeError, …), which says what kind of
    mistake it is. Plain mistakes in arguments raise those built-in classes themselves.
    """
