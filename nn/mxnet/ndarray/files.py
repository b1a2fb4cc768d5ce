"""save, load: lists and dicts of arrays in MXNet's .params format, which formats/mxnet writes."""

from __future__ import annotations

from typing import Any

from tapegrad.nn.core.services import service

__all__ = ["load", "load_frombuffer", "save"]


def save(fname: Any, data: Any) -> None:
    """Write an NDArray, a list of them, or a dict of them by name.

    Raises TypeError for other data, OSError.
    """
    service("mxnet.save_arrays")(fname, data)


def load(fname: Any) -> Any:
    """The arrays of a file: a dict by name, or a list where they have none.

    Raises MXNetError for a file that holds none, OSError.
    """
    return service("mxnet.load_arrays")(fname)


def load_frombuffer(buf: bytes) -> Any:
    """The arrays of a file's bytes.  Raises MXNetError as `load`."""
    return service("mxnet.load_arrays_from_bytes")(buf)
