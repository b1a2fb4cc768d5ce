"""Colours of a terminal: off in files and pipes, and where the environment says NO_COLOR."""

from __future__ import annotations

import os
from typing import IO

__all__ = ["has_colours", "painted"]

_CODES = {"red": "31", "green": "32", "yellow": "33", "bold": "1"}


def has_colours(stream: IO[str]) -> bool:
    """Whether what is written there is to be coloured.

    No in a file or pipe, on a terminal that is called "dumb", and where NO_COLOR is set to
    anything (no-color.org); FORCE_COLOR asks for colours everywhere else.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    is_terminal = bool(getattr(stream, "isatty", lambda: False)())
    return is_terminal and os.environ.get("TERM") != "dumb"


def painted(text: str, colour: str, stream: IO[str]) -> str:
    """The text in a colour ("red", "green", "yellow", "bold"), or as it is."""
    return f"\033[{_CODES[colour]}m{text}\033[0m" if has_colours(stream) else text
