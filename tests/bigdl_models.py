"""Where BigDL's recorded models lie: tests/data/bigdl_models/, or what TAPEGRAD_BIGDL_MODELS names.

Each folder is a model: model.bigdl, model_sep.bigdl and model_sep.bin, model_quant.bigdl,
definition.prototxt, exports of other kinds, and data.npz with inputs and outputs.  What a folder
lacks is skipped by its name; a directory without any case fails.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

__all__ = ["MODELS", "MODEL_NAMES", "Recorded", "flat", "model_file"]

MODELS = Path(
    os.environ.get("TAPEGRAD_BIGDL_MODELS") or Path(__file__).parent / "data" / "bigdl_models"
)
MODEL_NAMES = sorted(path.name for path in MODELS.iterdir() if path.is_dir()) or ["none"]


def model_file(name: str, file: str) -> Path:
    """The path of a recorded file; the test is skipped, by its name, where it is absent."""
    path = MODELS / name / file
    if not path.exists():
        pytest.skip(f"{name}/{file} is not in {MODELS}")
    return path


class Recorded:
    """The arrays of one model's data.npz."""

    def __init__(self, name: str) -> None:
        with np.load(model_file(name, "data.npz")) as file:
            self.arrays = {key: file[key] for key in file.files}

    def nest(self, name: str) -> Any:
        """An array, or the table of `name__1`, `name__2`, … as a list; None if there is none."""
        if name in self.arrays:
            return self.arrays[name]
        entries = []
        while f"{name}__{len(entries) + 1}" in self.arrays:
            entries.append(self.arrays[f"{name}__{len(entries) + 1}"])
        return entries or None

    def numbered(self, prefix: str) -> list[np.ndarray]:
        return [self.arrays[key] for key in sorted(self.arrays) if key.startswith(prefix)]


def flat(value: Any) -> list[np.ndarray]:
    """The arrays of a nest."""
    if isinstance(value, (list, tuple)):
        return [array for entry in value for array in flat(entry)]
    return [np.asarray(value.numpy() if hasattr(value, "numpy") else value)]
