"""The readers and the writer of plain weights, as one file format of nn.

    arrays = nn.load_weights("model.pt")          # {"0.weight": array, …}; also .npz, .h5
    model.load_state_dict(arrays, rename={"features.*.**": "*.**"})
    nn.save_weights(model, "model.npz")

The content of a file says which of them it is: a ZIP file of arrays, one that PyTorch wrote, HDF5.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tapegrad.nn.core import files, places
from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits, UnsupportedError
from tapegrad.nn.formats.common.names import names_of_classes
from tapegrad.nn.formats.weights.archive import Archive
from tapegrad.nn.formats.weights.hdf5 import MAGIC, read_hdf5
from tapegrad.nn.formats.weights.npz import read_npz, write_npz
from tapegrad.nn.formats.weights.torch_file import is_torch_archive, read_torch, refuse_legacy

__all__ = ["load", "read_plain", "save", "write"]

_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
KERAS = (
    "arrays: a .keras file is a program beside its weights; in Keras, "
    "model.save_weights('model.weights.h5') writes the arrays alone"
)

Arrays = dict[str, np.ndarray]


def load(
    path: str | os.PathLike[str] | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Limits | None = None,
) -> Arrays:
    """The arrays of a .npz, .pt or .h5 file by name: such files hold no module.

    Raises FormatError or one of its children for the content, OSError for the file itself,
    TypeError for `classes`.
    """
    if names_of_classes(classes):
        raise TypeError("files of plain weights have no classes: leave `classes` out")
    return read_plain(path, limits)


def read_plain(path: str | os.PathLike[str] | bytes, limits: Limits | None = None) -> Arrays:
    """The arrays of a file by name, in the file's order.

    path: the file's path, or its bytes.  Arrays of a PyTorch file are parts of the file itself,
          mapped into memory, and what is written into them stays in memory; of bytes, they are
          read-only
    Raises FormatError or one of its children for the content, OSError for the file itself.
    """
    limits = limits or Limits()
    if isinstance(path, bytes):
        return _read(path, path, None, limits)
    name = os.fspath(path)
    with places.opened(name, limits.max_bytes) as stream:
        size = os.fstat(stream.fileno()).st_size
        if not size:
            raise FormatError("a file of arrays", "an empty file", file=name, offset=0)
        # closed when the last array that is a part of it is
        mapped = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_COPY)
    # what is behind an address is in no file that another process could open
    source = mapped[:] if places.is_remote(path) and mapped[: len(MAGIC)] == MAGIC else path
    return _read(mapped, source, name, limits)


def _read(
    data: Any, path: str | os.PathLike[str] | bytes, place: str | None, limits: Limits
) -> Arrays:
    if limits.max_bytes is not None and len(data) > limits.max_bytes:
        raise LimitError(f"at most {limits.max_bytes} bytes", len(data), file=place)
    first = bytes(data[:16])
    if first.startswith(MAGIC):
        return read_hdf5(path, limits)
    if first.startswith((_ZIP, _EMPTY_ZIP)):
        archive = Archive(data, place, limits)
        if is_torch_archive(archive):
            return read_torch(archive)
        if "config.json" in archive.members and "metadata.json" in archive.members:
            raise UnsupportedError(KERAS, "a .keras file", file=place, offset=0)
        return read_npz(archive)
    refuse_legacy(first, place)
    expected = "a .npz file, one of torch.save, or an HDF5 file"
    raise FormatError(expected, first[:8], file=place, offset=0)


def save(module: Any, path: str | os.PathLike[str]) -> None:
    """Write a module's parameters and buffers, without the module, as .npz.

    Raises UnsupportedError for a number that NumPy's files do not have, OSError.
    """
    write(module.state_dict(), path)


def write(arrays: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> None:
    """Write arrays by name as .npz.  Raises UnsupportedError, OSError."""
    with places.replaced(path) as stream:
        write_npz(stream, arrays)


def _recognises(first: bytes) -> bool:
    return first.startswith((_ZIP, MAGIC))


files.register_format(
    files.FileFormat(
        "weights",
        (".npz",),
        load,
        save,
        _recognises,
        shared=(".pt", ".pth", ".h5", ".hdf5", ".keras"),
        read_arrays=read_plain,
        write_arrays=write,
    )
)
