"""Read and write safetensors files: a JSON header with the offset of each array, then the arrays.

The `safetensors` package is not used, for two reasons.  It maps a file and then copies it, which
takes twice the file's size in memory; this reader takes the size once.  And here each thing wrong
with a file is a FormatError.  A file is eight bytes of length, the header, and the data without
holes or overlaps; the tests compare this code with the package in both directions.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from tapegrad.nn.core.places import opened
from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsupportedError,
)

__all__ = ["parse_json", "read", "write"]

Arrays = dict[str, np.ndarray[Any, Any]]

_BRAIN = np.dtype("V2")  # bfloat16, which NumPy lacks: such arrays become float32
_DTYPES: dict[str, np.dtype[Any]] = {
    "BF16": _BRAIN,
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if dtype != _BRAIN}
_EXPANSION = 40  # an upper bound: bytes of Python objects that one byte of JSON may become


HEADER = (
    "a safetensors file, whose header ends within the {left} bytes left (nn.formats.torch7.load "
    "reads Torch7's files)"
)


def read(
    path: str | os.PathLike[str] | bytes, limits: Limits | None = None, *, data: bool = True
) -> tuple[Arrays, dict[str, str]]:
    """Return (arrays by name, metadata) of a safetensors file.

    path: the file's path, or its bytes
    data: False reads no data: the arrays have shapes and dtypes, and no memory of their own
    bfloat16, which NumPy lacks, becomes float32, with equal values.
    Raises FormatError or one of its subclasses; OSError for the file itself.
    """
    limits = limits or Limits()
    if isinstance(path, bytes):
        return _read(io.BytesIO(path), len(path), None, limits, data)
    name = os.fspath(path)
    with opened(name, limits.max_bytes) as stream:
        return _read(stream, os.fstat(stream.fileno()).st_size, name, limits, data)


def _read(
    stream: BinaryIO, size: int, name: str | None, limits: Limits, data: bool
) -> tuple[Arrays, dict[str, str]]:
    if limits.max_bytes is not None and size > limits.max_bytes:
        raise LimitError(f"at most {limits.max_bytes} bytes", size, file=name)
    head = stream.read(8)
    if len(head) < 8:
        raise TruncatedError("the length of a header", f"{len(head)} bytes", file=name, offset=0)
    length = int.from_bytes(head, "little")
    if length > size - 8:
        expected = HEADER.format(left=size - 8)
        raise TruncatedError(expected, length, file=name, offset=0)
    longest = limits.overhead(size) // _EXPANSION
    if length > longest:
        raise LimitError(f"a header of at most {longest} bytes", length, file=name, offset=0)
    text = stream.read(length)
    if len(text) < length:
        raise TruncatedError(f"a header of {length} bytes", len(text), file=name, offset=8)
    header = parse_json(text, file=name, offset=8)
    if not isinstance(header, dict):
        raise FormatError("a header, a JSON object", type(header).__name__, file=name, offset=8)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError("metadata, a JSON object of strings", file=name, offset=8)
    if len(header) > limits.max_nodes:
        raise LimitError(f"at most {limits.max_nodes} arrays", len(header), file=name, offset=8)
    entries = [_parse_entry(key, value, limits, name) for key, value in header.items()]
    entries.sort(key=lambda entry: (entry[3], entry[4]))
    end = 0
    for key, _, _, start, stop in entries:
        if start != end:
            expected = f"data from {end} on, without holes or overlaps"
            raise FormatError(expected, start, file=name, offset=8, path=f"{key:.80}")
        end = stop
    if end != size - 8 - length:
        kind = TruncatedError if end > size - 8 - length else FormatError
        raise kind(f"{end} bytes of data", size - 8 - length, file=name, offset=8 + length)
    arrays: Arrays = {}
    for key, dtype, shape, start, stop in entries:
        if not data:
            shown = np.dtype(np.float32) if dtype == _BRAIN else dtype
            arrays[key] = np.broadcast_to(np.empty((), shown), shape)
            continue
        array = arrays[key] = np.empty(shape, dtype)
        if stop > start:
            _read_into(stream, array, name, key)
        if dtype == _BRAIN:
            wide = array.view(np.uint16).astype(np.uint32)
            wide <<= 16
            arrays[key] = wide.view(np.float32)
        elif dtype == np.bool and array.view(np.uint8).max(initial=0) > 1:
            at = 8 + length + start
            raise FormatError("booleans, 0 or 1", "another byte", file=name, offset=at, path=key)
    return arrays, metadata


def _parse_entry(
    key: str, value: Any, limits: Limits, name: str | None
) -> tuple[str, np.dtype[Any], tuple[int, ...], int, int]:
    """Return (name, dtype, shape, first byte, byte after the last) of one array."""

    def error(expected: str, found: Any, kind: type[FormatError] = FormatError) -> FormatError:
        return kind(expected, f"{found!r:.80}", file=name, offset=8, path=f"{key:.80}")

    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise error("dtype, shape and data_offsets", value)
    dtype = _DTYPES.get(value["dtype"]) if isinstance(value["dtype"], str) else None
    if dtype is None:
        kind = UnsupportedError if isinstance(value["dtype"], str) else FormatError
        raise error("a dtype that NumPy has", value["dtype"], kind)
    shape, offsets = value["shape"], value["data_offsets"]
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise error("a shape, and where the data begin and end", value)
    if len(shape) > limits.max_ndim:
        raise error(f"at most {limits.max_ndim} axes", len(shape), LimitError)
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise error("as many bytes as the shape has", value)
    if max(shape, default=0) >= 2**60:
        raise error("a shape that fits into memory", shape)
    return key, dtype, tuple(shape), offsets[0], offsets[1]


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _read_into(stream: BinaryIO, array: np.ndarray[Any, Any], name: str | None, key: str) -> None:
    # NumPy's stubs declare the buffer protocol for Python 3.12 and later only.
    view = memoryview(array.reshape(-1)).cast("B")  # type: ignore[arg-type]  # as said
    done = 0
    while done < len(view):
        got = stream.readinto(view[done:])  # type: ignore[attr-defined]  # every binary file has it
        if not got:
            at = stream.tell()
            raise TruncatedError(f"{len(view)} bytes", done, file=name, offset=at, path=key)
        done += got
    if sys.byteorder != "little":  # pragma: no cover  # machines that the tests do not run on
        array.byteswap(inplace=True)


def parse_json(
    text: bytes | str,
    *,
    file: str | None = None,
    offset: int | None = None,
    path: str | None = None,
) -> Any:
    """Return the value of JSON text that has no NaN, and each key of an object once.

    Raises FormatError, LimitError for nesting that is too deep.
    """

    def make_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise FormatError("each key once", file=file, offset=offset, path=path)
        return result

    def refuse_constant(value: str) -> Any:
        raise FormatError("a JSON number", value, file=file, offset=offset, path=path)

    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return json.loads(text, object_pairs_hook=make_dict, parse_constant=refuse_constant)
    except FormatError:
        raise
    except RecursionError:
        expected = "JSON that is nested less deeply"
        raise LimitError(expected, file=file, offset=offset, path=path) from None
    except ValueError as error:  # not UTF-8, not JSON, or a number with thousands of digits
        raise FormatError(f"JSON: {error!s:.200}", file=file, offset=offset, path=path) from None


def write(stream: BinaryIO, arrays: Mapping[str, np.ndarray[Any, Any]], metadata: Any) -> None:
    """Write a safetensors file.  Raises UnsupportedError for a dtype that the format lacks."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for name, array in arrays.items():
        dtype = array.dtype.newbyteorder("=")
        if dtype not in _NAMES:
            raise UnsupportedError("a dtype that safetensors has", str(dtype), path=name)
        end = start + array.size * dtype.itemsize
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for array in arrays.values():
        dtype = array.dtype.newbyteorder("<")
        stream.write(np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data)
