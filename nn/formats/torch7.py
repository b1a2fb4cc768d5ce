"""Torch7's files: `load`, `load_all` and `save`."""

from __future__ import annotations

import os
from typing import Any

from tapegrad.nn.formats.errors import Limits
from tapegrad.nn.formats.torch7_reader import read

__all__ = ["load"]


def load(file: str | os.PathLike[str] | bytes, *, limits: Limits | None = None) -> Any:
    """The object in a Torch7 file."""
    return read(file, limits=limits)[0]
