"""Where the recordings of BigDL lie: tests/data/bigdl/, or what TAPEGRAD_BIGDL_RECORDINGS names.

A directory may lack files: tests read what is there, and are skipped by the name of what is not.  A
file that is there without any case fails, and so does a directory without any of the files.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

__all__ = ["DIRECTORY", "arrays_in", "require", "require_cases", "table_in"]

DIRECTORY = Path(
    os.environ.get("TAPEGRAD_BIGDL_RECORDINGS") or Path(__file__).parent / "data" / "bigdl"
)


def require(file: str) -> Path:
    """The path of a recording; the test is skipped, with the file's name, where it is absent."""
    path = DIRECTORY / file
    if not path.exists():
        pytest.skip(f"{file} is not in {DIRECTORY}")
    return path


# Files and folders with cases.
FILES = (
    "layers.npz",
    "criterions.npz",
    "optim.npz",
    "schedules.npz",
    "init.npz",
    "behaviours.txt",
    "behaviours_rdd.txt",
    "models",
)


def require_cases(count: int, *files: str) -> None:
    """Fail if `files` are there and hold no case, or if the directory has no recording at all.

    Where one of them is absent, the test is skipped, with its name.
    """
    assert any((DIRECTORY / file).exists() for file in FILES), f"{DIRECTORY} has no recordings"
    for file in files if not count else ():
        require(file)
    assert count, f"{', '.join(files)} in {DIRECTORY}: no case"


def arrays_in(file: str) -> dict[str, np.ndarray]:
    """The arrays of a recording by name; none where the directory lacks the file."""
    path = DIRECTORY / file
    if not path.exists():
        return {}
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


def table_in(file: str) -> dict[str, dict[str, np.ndarray]]:
    """The same by the name of the case, then that of the array: "case/array"."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays_in(file).items():
        case, _, name = key.partition("/")
        found.setdefault(case, {})[name] = array
    return found
