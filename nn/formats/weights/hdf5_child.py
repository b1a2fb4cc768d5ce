"""Reads an HDF5 file with h5py, in a process of its own, and writes its arrays to standard output.

The HDF5 library is C code that broken files crash, and its files may name other files to be read:
external links, external storage, virtual datasets.  This program is started by hdf5.py, with limits
on memory and time.  Once the file is open it gives up the right to open another one.

    hdf5_child.py FILE MAX_BYTES MAX_MEMORY SECONDS

Output: for each dataset u32 length, JSON {"name", "dtype", "shape"}, entries; at the end u32 0.
What is wrong is one JSON {"error": kind, "text": …}.
"""

# ruff: noqa: BLE001  # whatever happens is reported to the process that waits
from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

PIECE = 1 << 22  # bytes that are read at once
MOST = 100_000  # groups and datasets
DEPTH = 64
KINDS = "fiub"


KINDS_OF_ERRORS = ("format", "limit", "unsafe", "unsupported")


def cannot_read(kind: str, text: str) -> ValueError:
    """An error for what is not read; `main` reports its kind and text."""
    return ValueError(kind, text)


def limit(memory: int, seconds: int) -> None:
    """Bound this process's memory and time."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123  # no more imports
            pages = int(stream.read().split()[0])
        size = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def open_no_more() -> None:
    """Refuse from now on to open any file; those that are open stay so."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def datasets(root: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    """All datasets below a group, by their paths, groups in the order of their names."""
    stack: list[tuple[str, Any, int]] = [("", root, 0)]
    seen: set[Any] = set()
    count = 0
    while stack:
        name, item, depth = stack.pop()
        count += 1
        if count > MOST or depth > DEPTH:
            raise cannot_read("limit", f"more than {MOST} objects, or {DEPTH} groups in groups")
        if isinstance(item, h5py.Dataset):
            yield name, item
            continue
        if item.id.__hash__() in seen:
            raise cannot_read("format", f"{name}: a group inside itself, or in two places")
        seen.add(item.id.__hash__())
        for key in sorted(item, reverse=True):
            link = item.get(key, getlink=True)
            path = f"{name}/{key}" if name else key
            if isinstance(link, h5py.ExternalLink):
                raise cannot_read("unsafe", f"{path}: a link to another file")
            if not isinstance(link, h5py.HardLink):
                raise cannot_read("unsupported", f"{path}: a link that is none of the file's own")
            inner = item[key]
            if not isinstance(inner, (h5py.Group, h5py.Dataset)):
                raise cannot_read("unsupported", f"{path}: a type, and no group or dataset")
            stack.append((path, inner, depth + 1))


def refuse_others(name: str, dataset: Any, h5py: Any) -> None:
    """Refuse a dataset whose entries lie elsewhere, or are no numbers."""
    if dataset.external:
        raise cannot_read("unsafe", f"{name}: entries that lie in another file")
    if dataset.is_virtual:
        raise cannot_read("unsafe", f"{name}: a virtual dataset, made of others")
    kind = dataset.dtype
    if kind.kind not in KINDS or kind.itemsize > 8 or kind.subdtype is not None:
        raise cannot_read("unsupported", f"{name}: entries of type {kind}, which is no number")
    if h5py.check_dtype(ref=kind) is not None or h5py.check_dtype(vlen=kind) is not None:
        raise cannot_read("unsupported", f"{name}: references or texts")
    if dataset.shape is None:
        raise cannot_read("unsupported", f"{name}: a dataset without a space")


def check_size(name: str, dataset: Any, most: int) -> int:
    """How many bytes the entries have, of at most so many."""
    size: int = math.prod(dataset.shape) * dataset.dtype.itemsize
    if size > most:
        raise cannot_read("limit", f"{name}: more than {most} bytes")
    return size


def write_entries(dataset: Any, out: BinaryIO, np: Any) -> None:
    """Write all entries in C order, little endian, a few rows at a time."""
    kind = dataset.dtype.newbyteorder("<")
    if not dataset.shape or not dataset.size:
        out.write(np.asarray(dataset[()], kind).tobytes())
        return
    row = max(math.prod(dataset.shape[1:]) * kind.itemsize, 1)
    rows = max(PIECE // row, 1)
    out.writelines(
        np.ascontiguousarray(dataset[first : first + rows], kind).tobytes()
        for first in range(0, dataset.shape[0], rows)
    )


def main(arguments: list[str]) -> None:
    """Read the file that the arguments name."""
    out = sys.stdout.buffer

    def say(**what: Any) -> None:
        text = json.dumps(what).encode()
        out.write(len(text).to_bytes(4, "little") + text)

    try:
        os.environ["HDF5_PLUGIN_PRELOAD"] = "::"  # no filters of other libraries
        import h5py
        import numpy as np

        path, most, memory, seconds = arguments[0], *map(int, arguments[1:])
        limit(memory, seconds)
        with h5py.File(path, "r", locking=False) as root:
            open_no_more()
            left = most
            for name, dataset in datasets(root, h5py):
                refuse_others(name, dataset, h5py)
                left -= check_size(name, dataset, left)
                kind = dataset.dtype.newbyteorder("<").str
                say(name=name, dtype=kind, shape=list(dataset.shape))
                write_entries(dataset, out, np)
        out.write(bytes(4))
    except ValueError as error:
        if error.args[0] in KINDS_OF_ERRORS and len(error.args) > 1:
            say(error=error.args[0], text=error.args[1])
        else:
            say(error="format", text=f"ValueError: {error!s:.200}")
    except MemoryError:
        say(error="limit", text="it needs more memory than is allowed")
    except Exception as error:
        say(error="format", text=f"{type(error).__name__}: {error!s:.200}")
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
