"""TapegradError: the base of all error classes of tapegrad.

It is defined in the lowest folder, because the error classes of every other folder derive from it.
Users find all of them in `tapegrad.errors`.
"""

from __future__ import annotations

__all__ = ["TapegradError"]


class TapegradError(Exception):
    """The base of every error class that tapegrad declares.

    Each of these classes has a built-in base as well (ValueError, TypeError, …), which says what
    kind of mistake it is.  Plain mistakes in arguments raise the built-in classes themselves.
    """
