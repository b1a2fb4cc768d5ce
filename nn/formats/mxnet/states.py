"""MXNet's .states files: a pickle of a dict index or name -> None, an array, or tuples of them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from tapegrad.nn.core.services import register_service
from tapegrad.nn.formats.common.errors import FormatError, LimitError, Limits, UnsafeError
from tapegrad.nn.formats.common.pickles import Built, Name, read_pickle
from tapegrad.nn.formats.mxnet.arrays import read_array, write_array
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray

__all__ = ["read_states", "write_states"]

_ARRAYS = {
    ("mxnet.ndarray.ndarray", "NDArray"),
    ("mxnet.ndarray", "NDArray"),
    ("mxnet.ndarray.sparse", "RowSparseNDArray"),
    ("mxnet.ndarray.sparse", "CSRNDArray"),
    ("mxnet.numpy.multiarray", "ndarray"),
}
_BYTES = {("builtins", "bytearray"), ("__builtin__", "bytearray"), ("_codecs", "encode")}
_MAKERS = {("copyreg", "__newobj__"), ("copy_reg", "__newobj__"), ("copy_reg", "_reconstructor")}
_KINDS = (int, float, str, bool, type(None))


@register_service("mxnet.load_states")
def read_states(data: bytes, place: str | None = None, limits: Limits | None = None) -> Any:
    """The states of a .states file's bytes.

    Raises UnsafeError for anything but numbers, texts and arrays, FormatError for other bytes.
    """
    limits = limits or Limits()
    found = read_pickle(bytes(data), place, limits)
    if isinstance(found, tuple):
        raise UnsafeError(
            "the file holds an optimizer, which is code: save the states without it", file=place
        )
    if not isinstance(found, dict):
        raise FormatError("a dict of states", type(found).__name__, file=place)
    reader = _Values(place, limits, len(data))
    return {_key(k, place): reader.value(v, 0) for k, v in found.items()}


def _key(key: Any, place: str | None) -> Any:
    try:
        return key.decode() if isinstance(key, bytes) else key
    except UnicodeDecodeError as error:
        raise FormatError("a key in UTF-8", key, file=place) from error


class _Values:
    """Makes the values of what a pickle holds; a part that stands in many places counts in each."""

    def __init__(self, place: str | None, limits: Limits, size: int):
        self.place, self.left = place, min(limits.max_nodes, 100_000 + size)
        self.made: dict[int, NDArray] = {}

    def value(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if depth > 16 or self.left < 0:
            raise LimitError("states nested at most 16 deep, and no more of them", file=self.place)
        if isinstance(value, _KINDS):
            return value
        if isinstance(value, (tuple, list)):
            return tuple(self.value(part, depth + 1) for part in value)
        if isinstance(value, Built):
            if id(value) not in self.made:  # all live until the end, so that ids stay theirs
                self.made[id(value)] = _array(value, self.place)
            return self.made[id(value)]
        raise UnsafeError("numbers, texts and arrays", type(value).__name__, file=self.place)


def _array(built: Built, place: str | None) -> NDArray:
    maker, args = built.maker, built.args
    if (maker.module, maker.name) in _MAKERS and args and isinstance(args[0], Name):
        maker = args[0]
    if (maker.module, maker.name) not in _ARRAYS:
        raise UnsafeError("numbers, texts and arrays", f"a call of {maker}", file=place)
    state = built.state
    if isinstance(state, dict):
        state = {_key(k, place): v for k, v in state.items()}
    handle = state.get("handle") if isinstance(state, dict) else None
    if isinstance(handle, Built) and (handle.maker.module, handle.maker.name) in _BYTES:
        handle = _bytes(handle, place)
    if not isinstance(handle, (bytes, bytearray)):
        raise FormatError("the bytes of an array", type(handle).__name__, file=place)
    return read_array(bytes(handle), place)


def _bytes(built: Built, place: str | None) -> bytes:
    """bytearray(b"…"), or bytearray("…", "latin-1") as Python 2 wrote it."""
    args = built.args
    if args and isinstance(args[0], Built) and args[0].maker == Name("_codecs", "encode"):
        args = args[0].args
    if args and isinstance(args[0], (bytes, bytearray)):
        return bytes(args[0])
    if len(args) == 2 and isinstance(args[0], str) and args[1] in ("latin-1", "latin1"):
        try:
            return args[0].encode("latin-1")
        except UnicodeEncodeError as error:
            raise FormatError(f"bytes as latin-1: {error}", file=place) from error
    raise FormatError("the bytes of an array", file=place)


@register_service("mxnet.dump_states")
def write_states(states: Mapping[Any, Any]) -> bytes:
    """The bytes of a .states file, for MXNet 1.9.1 on Python 3.

    Raises TypeError for a state of another kind.
    """
    body = b"".join(_written(key) + _written(value) for key, value in states.items())
    return b"\x80\x04" + b"}" + (b"(" + body + b"u" if states else b"") + b"."


def _written(value: Any) -> bytes:
    """The opcodes that make a value."""
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode()
        return b"X" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, (tuple, list)):
        return b"(" + b"".join(map(_written, value)) + b"t"
    if isinstance(value, NDArray):
        raw = write_array(value)
        content = b"\x8e" + struct.pack("<Q", len(raw)) + raw
        handle = b"cbuiltins\nbytearray\n" + content + b"\x85R"
        made = b"cmxnet.ndarray.ndarray\nNDArray\nN\x85R"
        return made + b"}" + _written("handle") + handle + b"sb"
    raise TypeError(f"a state is a number, an array or a tuple, not {type(value).__name__}")
