"""Keras' HDF5 weights (.h5, .hdf5): read by h5py in a process of its own, with limits.

The HDF5 library crashes on some broken files, and the process that crashes is not ours.  That
process (hdf5_child.py) follows no link out of the file, and sends plain numbers over a pipe.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsafeError,
    UnsupportedError,
)

__all__ = ["MAGIC", "read_hdf5"]

MAGIC = b"\x89HDF\r\n\x1a\n"
_CHILD = Path(__file__).with_name("hdf5_child.py")
_MEMORY = 512_000_000  # bytes that the library may take beyond what it has at the start
_SECONDS = 60  # and one for each 5 MB of the file
_HEADER = 1 << 16
_KINDS: dict[str, type[FormatError]] = {
    "format": FormatError,
    "limit": LimitError,
    "unsafe": UnsafeError,
    "unsupported": UnsupportedError,
}
_DTYPE = re.compile(r"[<|](?:[iu][1248]|f[248]|b1)")
NEEDED = "HDF5 files are read by h5py: pip install 'tapegrad[files]'"

Arrays = dict[str, np.ndarray]


def read_hdf5(path: str | os.PathLike[str] | bytes, limits: Limits) -> Arrays:
    """The arrays of an HDF5 file, by their paths in it: "dense/dense/kernel:0".

    path: the file's path, or its bytes, for which a temporary file is made
    Raises UnsafeError for links to other files and entries that lie there, UnsupportedError for
    entries that are no numbers, FormatError or another of its children for the rest; ImportError
    without h5py; OSError for the file itself.
    """
    if importlib.util.find_spec("h5py") is None:
        raise ImportError(NEEDED)
    if isinstance(path, bytes):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "weights.h5"
            file.write_bytes(path)
            return _read(file, None, limits)
    return _read(Path(path), os.fspath(path), limits)


def _read(file: Path, place: str | None, limits: Limits) -> Arrays:
    size = file.stat().st_size
    seconds = _SECONDS + size // 5_000_000
    most = limits.inflated(size)
    command = [sys.executable, "-P", str(_CHILD), str(file.resolve())]
    command += map(str, (most, _MEMORY, seconds))
    # the search path of this process: h5py may lie where the interpreter alone would not look
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(  # noqa: S603  # this interpreter and a file of ours
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as child:
        clock = threading.Timer(2 * seconds, child.kill)
        clock.start()
        try:
            assert child.stdout is not None
            return _Answer(child.stdout, place, limits, most).arrays()
        except TruncatedError as error:
            code = child.wait()
            found = f"it ended by signal {-code}" if code < 0 else f"it ended with code {code}"
            expected = "a file that the HDF5 library reads"
            raise FormatError(expected, found, file=place) from error
        finally:
            clock.cancel()
            child.kill()


class _Answer:
    """What the other process sends; it may have been taken over, and is believed nothing."""

    def __init__(self, stream: IO[bytes], place: str | None, limits: Limits, most: int) -> None:
        self.stream, self.place, self.limits, self.left = stream, place, limits, most

    def error(self, kind: type[FormatError], expected: str, found: Any = None) -> FormatError:
        return kind(expected, found, file=self.place)

    def take(self, target: memoryview) -> None:
        done = 0
        while done < len(target):
            got = self.stream.readinto(target[done:])  # type: ignore[attr-defined]  # a pipe has it
            if not got:
                raise self.error(TruncatedError, f"{len(target)} bytes", done)
            done += got

    def number(self) -> int:
        raw = bytearray(4)
        self.take(memoryview(raw))
        return int.from_bytes(raw, "little")

    def described(self, raw: bytearray) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
        """(name, shape, type) of the array that follows; raises what the other process reports."""
        try:
            said = json.loads(raw)
            if "error" in said:
                raise self.error(_KINDS[said["error"]], f"plain arrays: {said['text']}")
            name, shape, kind = str(said["name"]), said["shape"], str(said["dtype"])
            if _DTYPE.fullmatch(kind) and all(type(n) is int and n >= 0 for n in shape):
                return name, tuple(shape), np.dtype(kind)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, FormatError):
                raise
        raise self.error(FormatError, "the description of an array", bytes(raw[:80]))

    def arrays(self) -> Arrays:
        found: Arrays = {}
        while length := self.number():
            if length > _HEADER:
                raise self.error(LimitError, f"names of at most {_HEADER} bytes", length)
            raw = bytearray(length)
            self.take(memoryview(raw))
            name, shape, dtype = self.described(raw)
            if len(shape) > self.limits.max_ndim:
                raise self.error(LimitError, f"at most {self.limits.max_ndim} axes", len(shape))
            if len(found) >= self.limits.max_nodes:
                raise self.error(LimitError, f"at most {self.limits.max_nodes} arrays")
            self.left -= math.prod(shape) * dtype.itemsize
            if self.left < 0:
                raise self.error(LimitError, "fewer bytes", f"the shape {shape}")
            array: np.ndarray = np.empty(math.prod(shape), dtype)
            if array.nbytes:
                self.take(memoryview(array).cast("B"))  # type: ignore[arg-type]  # from 3.12 on
            found[name] = array.reshape(shape)
        return found
