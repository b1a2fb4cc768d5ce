"""load_weights, save_weights: arrays by name, of files that hold them with or without a module."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import array_of, as_array
from tapegrad.nn.core.files import NATIVE, detect_format, format_by_suffix, formats
from tapegrad.nn.core.part import Part

__all__ = ["load_weights", "save_weights"]

NO_ARRAYS = "{path} holds a {found}, and no arrays by name"
NO_WRITER = "{path}: arrays alone are written as {known}; save(module, path) writes modules"


def load_weights(
    path: str | os.PathLike[str] | bytes, *, limits: Any = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of a file by name, for `module.load_state_dict`.

    path:   the file's path, or its bytes: .safetensors, .npz, a state_dict of PyTorch (.pt, .pth),
            weights of Keras (.h5); of a file that holds a module, its parameters and buffers
    limits: how much of a file is accepted, nn.formats.Limits
    bfloat16, which NumPy lacks, becomes float32, with equal values.
    Raises FormatError or one of its children for the content, OSError for the file itself,
    TypeError for a file that holds something else.
    """
    kind = detect_format(path) or next(k for k in formats() if k.name == NATIVE)
    if kind.read_arrays is not None:
        arrays: dict[str, np.ndarray[Any, Any]] = kind.read_arrays(path, limits)
        return arrays
    found = kind.load(path, limits=limits)
    if isinstance(found, Part):
        return _state(found)
    if isinstance(found, Mapping) and all(isinstance(x, np.ndarray) for x in found.values()):
        return {str(name): x for name, x in found.items()}
    place = "the file" if isinstance(path, bytes) else os.fspath(path)
    raise TypeError(NO_ARRAYS.format(path=place, found=type(found).__name__))


def save_weights(
    source: Part | Mapping[str, np.ndarray[Any, Any]], path: str | os.PathLike[str]
) -> None:
    """Write arrays by name, without a module, as .npz or .safetensors.

    source: a module, whose parameters and buffers these are, or a mapping
    The name's ending says which; the file appears complete or not at all.
    Raises ValueError for another ending, UnsupportedError for a type of numbers that the format
    lacks, OSError for the file itself.
    """
    kind = format_by_suffix(path, shared=False)
    if kind is None or kind.write_arrays is None:
        known = " or ".join(k.suffixes[0] for k in formats() if k.write_arrays)
        raise ValueError(NO_WRITER.format(path=os.fspath(path), known=known))
    arrays = _state(source) if isinstance(source, Part) else source
    plain = {str(name): np.asarray(devices.to_numpy(as_array(x))) for name, x in arrays.items()}
    kind.write_arrays(plain, path)


def _state(module: Part) -> dict[str, np.ndarray[Any, Any]]:
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: np.array(devices.to_numpy(array_of(t))) for name, t in named}
