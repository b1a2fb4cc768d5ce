"""Checkpoints: files of nested dicts, lists, numbers and arrays, complete or absent.

A file is written under a temporary name in the same folder, flushed to the disk (fsync), renamed
over its final name, and the folder is flushed too: whenever the power goes, a complete file stands
under the final name, the old one or the new.  A SHA-256 of the content stands at the file's end:
damage is noticed when it is read.  The content is JSON for the structure and plain .npy records for
arrays: no pickle, nothing in a file is ever executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.atomic_file import remove_leftovers, replace_file
from tapegrad.autograd.core.tensor import array_of
from tapegrad.devices import TapegradError

__all__ = ["Checkpoints", "ResumeError", "load_checkpoint", "save_checkpoint"]

MAGIC = b"tapegrad checkpoint 1\n"
DAMAGED = (
    "{path} is not a complete checkpoint: {why}. Use an older one; Checkpoints.load_latest() does."
)


class ResumeError(TapegradError, RuntimeError):
    """A checkpoint can't be read, or would not be worth keeping."""


def save_checkpoint(content: Any, path: str | Path) -> None:
    """Write nested dicts, lists, numbers, strings and arrays to `path`, completely or not at all.

    Raises TypeError for other objects, OSError when the disk refuses; what stood under `path`
    before then still stands there.
    """
    if not isinstance(path, (str, Path)):
        raise TypeError(f"save_checkpoint(content, path) takes a path, not a {type(path).__name__}")
    parts = encode(content)
    with replace_file(path) as file:
        for part in parts:
            file.write(part)


def load_checkpoint(path: str | Path) -> Any:
    """Read what `save_checkpoint` wrote.  Raises ResumeError when the file is not complete."""
    path = Path(path)
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise ResumeError(DAMAGED.format(path=path, why="it begins otherwise"))
    if len(data) < len(MAGIC) + 40 or hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise ResumeError(DAMAGED.format(path=path, why="its checksum does not fit"))
    return decode(data)


def encode(content: Any) -> list[bytes]:
    """Return the bytes of a checkpoint file, in parts."""
    arrays: list[np.ndarray[Any, Any]] = []
    structure = json.dumps(_to_json(content, arrays, "content"), allow_nan=False).encode()
    parts = [MAGIC, len(structure).to_bytes(8, "little"), structure]
    for array in arrays:
        record = io.BytesIO()
        np.lib.format.write_array(record, array, allow_pickle=False)
        parts.append(record.getvalue())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return [*parts, digest.digest()]


def decode(data: bytes) -> Any:
    """Return the content of a checkpoint file whose checksum has been looked at."""
    start = len(MAGIC) + 8
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    rest = io.BytesIO(data[start + length : -32])
    structure = json.loads(data[start : start + length])
    arrays: list[Any] = []
    while rest.tell() < len(data) - 32 - start - length:
        arrays.append(np.lib.format.read_array(rest, allow_pickle=False))
    return _from_json(structure, arrays)


def _to_json(value: Any, arrays: list[Any], where: str) -> Any:
    if isinstance(value, Tensor):
        value = devices.to_numpy(array_of(value.detach()))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            raise TypeError(f"{where}: a checkpoint holds no arrays of Python objects")
        arrays.append(value)
        return {"$array": len(arrays) - 1}
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, (list, tuple)):
        return [_to_json(item, arrays, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise TypeError(f"{where}: keys are strings that do not begin with $, not {key!r}")
        return {key: _to_json(item, arrays, f"{where}.{key}") for key, item in value.items()}
    raise TypeError(f"{where}: a checkpoint can't hold {type(value).__name__}")


def _from_json(value: Any, arrays: list[Any]) -> Any:
    if isinstance(value, list):
        return [_from_json(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        return arrays[value["$array"]]
    if "$float" in value:
        return float(value["$float"])
    return {key: _from_json(item, arrays) for key, item in value.items()}


class Checkpoints:
    """Numbered checkpoints in a folder: the last `keep` of them, and the best.

    folder: made if it is not there; one process writes to it at a time
    keep:   how many of the latest stay, at least 1
    """

    def __init__(self, folder: str | Path, keep: int = 3) -> None:
        if keep < 1:
            raise ValueError(f"Checkpoints: keep must be at least 1, not {keep}")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.keep = keep
        remove_leftovers(self.folder, ".ckpt")

    def save(self, step: int, content: Any, *, best: bool = False) -> Path:
        """Write step-N.ckpt, with `best` best.ckpt too, then delete what is older than the last."""
        path = self.folder / f"step-{step:09d}.ckpt"
        save_checkpoint(content, path)
        if best:
            save_checkpoint(content, self.folder / "best.ckpt")
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def paths(self) -> list[Path]:
        """Return the paths of the numbered checkpoints, oldest first."""
        return sorted(p for p in self.folder.iterdir() if re.fullmatch(r"step-\d+\.ckpt", p.name))

    def load_latest(self) -> Any | None:
        """Return the content of the newest checkpoint that is complete, or None if none is."""
        return self._load_first(reversed(self.paths()))

    def load_best(self) -> Any | None:
        """Return the content of best.ckpt, or None."""
        return self._load_first([self.folder / "best.ckpt"])

    def _load_first(self, paths: Iterable[Path]) -> Any | None:
        """Load the first checkpoint that is there and complete."""
        for path in paths:
            try:
                return load_checkpoint(path)
            except (ResumeError, FileNotFoundError):
                continue
        return None
