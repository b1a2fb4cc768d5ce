"""Small files of MXNet's formats, and where their numbers stand, for fuzz_formats.py.

A seed begins with a letter that says which reader it is for: p (.params), j (symbol.json), s
(.states), r (records).
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent / "data" / "mxnet"
SMALL = 4_000  # bytes of a recorded file that is a seed

Seed = tuple[bytes, list[tuple[int, int, bool]], str]


def load(data: bytes) -> Any:
    """What the reader of the first letter makes of the rest."""
    from tapegrad.nn.formats import FormatError
    from tapegrad.nn.formats.mxnet import RecordReader, read_states, recordio
    from tapegrad.nn.formats.mxnet import files as models

    kind, rest = data[:1], data[1:]
    if kind == b"p":
        return models.load(rest)
    if kind == b"j":
        return models.read_symbol(rest)
    if kind == b"s":
        return read_states(rest)
    if kind == b"r":
        reader = RecordReader(rest)
        found = []
        while (record := reader.read()) is not None:
            found.append(recordio.unpack_header(record))
        return found
    raise FormatError("a letter of a reader")


def recorded() -> Iterator[Seed]:
    """Files of the recordings."""
    for path in sorted(ROOT.glob("*/m*.params")):
        if path.stat().st_size < SMALL:
            yield _noted(b"p" + path.read_bytes(), path.name, _arrays_reader)
    for path in (ROOT / "mlp" / "m-symbol.json", ROOT / "bnnet" / "m-symbol.json"):
        yield _words(b"j" + path.read_bytes(), path.name)


def made() -> Iterator[Seed]:
    """What our own writers make, and what those of other versions made."""
    for name, data in params().items():
        yield _noted(b"p" + data, name, _arrays_reader)
    for name, data in states().items():
        yield _noted(b"s" + data, name, _pickle_reader)
    for name, data in records().items():
        yield b"r" + data, [(k + 1, 4, False) for k in range(0, len(data) - 3, 4)], name
    cases = json.loads((ROOT / "ops" / "cases.json").read_text(encoding="utf-8"))
    for case in (cases if isinstance(cases, list) else list(cases.values()))[::4]:
        if isinstance(case, dict) and "symbol" in case:
            symbol = case["symbol"]
            text = symbol if isinstance(symbol, str) else json.dumps(symbol)
            yield _words(b"j" + text.encode(), str(case.get("id", "case")))


def params() -> dict[str, bytes]:
    """Arrays of all types, versions and kinds of storage."""
    from tapegrad.nn import mxnet as mx
    from tapegrad.nn.formats.mxnet import write_arrays

    types = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool")
    arrays = [mx.nd.array(np.arange(6).reshape(2, 3), dtype=t) for t in types]
    found = {"types": write_arrays(arrays, [f"arg:{t}" for t in types]), "none": write_arrays([])}
    found["no names"] = write_arrays(arrays[:2])
    four, cpu = struct.pack("<4f", 1, 2, 3, 4), struct.pack("<iii", 1, 0, 0)
    old = struct.pack("<III", 2, 2, 2) + cpu + four
    one = struct.pack("<Iiqq", 0xF993FAC8, 2, 2, 2) + cpu + four
    three = struct.pack("<Iii", 0xF993FACA, 0, 0) + cpu + four[:4]
    brain = struct.pack("<Iiiq", 0xF993FAC9, 0, 1, 2) + struct.pack("<iii", 1, 0, 12) + four[:4]
    rows = (
        struct.pack("<Ii", 0xF993FAC9, 1) + struct.pack("<iqq", 2, 2, 2)
        + struct.pack("<iqq", 2, 5, 2) + cpu + struct.pack("<iiq", 6, 1, 2)
        + four + struct.pack("<qq", 1, 3)
    )  # fmt: skip
    csr = (
        struct.pack("<Ii", 0xF993FAC9, 2) + struct.pack("<iq", 1, 3) + struct.pack("<iqq", 2, 2, 4)
        + cpu + struct.pack("<iiq", 6, 1, 3) + struct.pack("<iiq", 6, 1, 3)
        + four[:12] + struct.pack("<qqq", 0, 1, 3) + struct.pack("<qqq", 2, 0, 3)
    )  # fmt: skip
    for name, body in {
        "V0": old, "V1": one, "V3": three, "bfloat16": brain, "row_sparse": rows, "csr": csr,
    }.items():  # fmt: skip
        head = struct.pack("<QQQ", 0x112, 0, 1)
        found[name] = head + body + struct.pack("<QQ", 1, 1) + b"x"
    return found


def states() -> dict[str, bytes]:
    """What our writer makes, and Python's pickle of the same by several protocols."""
    from tapegrad.nn import mxnet as mx
    from tapegrad.nn.formats.mxnet import write_states

    arrays = [mx.nd.array(np.arange(3)), mx.nd.array(np.ones((2, 2)))]
    ours = {0: None, 1: arrays[0], 2: (arrays[0], arrays[1]), "w": ((arrays[1],), 2.5)}
    found = {"ours": write_states(ours)}
    plain = {0: None, 1: (1, 2.5, "text"), "x": True}
    for protocol in range(5):
        found[f"protocol {protocol}"] = pickle.dumps(plain, protocol)
        found[f"a call, protocol {protocol}"] = pickle.dumps({0: _Evil()}, protocol)
    return found


class _Evil:
    """Runs a command where Python's own reader reads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def records() -> dict[str, bytes]:
    """Whole records, one in several parts, and headers with labels."""
    from tapegrad.nn.formats.mxnet import RecordWriter
    from tapegrad.nn.mxnet import recordio

    mark = struct.pack("<I", 0xCED7230A)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x")  # noqa: PTH118  # a text
        for name, bodies in {"one": [b"abc"], "parts": [b"1234" + mark + b"x", mark * 2]}.items():
            writer = RecordWriter(path)
            for i, body in enumerate(bodies):
                writer.write(recordio.pack((0, float(i), i, 0), body))
                writer.write(recordio.pack((0, [1.0, 2.0], i, 0), body))
            writer.close()
            found[name] = Path(path).read_bytes()
    return found


def _arrays_reader() -> Any:
    from tapegrad.nn.formats.mxnet.arrays import _Reader

    return _Reader


def _pickle_reader() -> Any:
    from tapegrad.nn.formats.common.pickles import _Machine

    return _Machine


def _noted(data: bytes, name: str, reader: Callable[[], Any]) -> Seed:
    """The places of the numbers that a reader with a position `at` reads in the seed."""
    from tapegrad.nn.formats import FormatError

    cls = reader()
    fields: list[tuple[int, int, bool]] = []
    original = cls.number

    def number(self: Any, *args: Any) -> Any:
        start = self.at
        value = original(self, *args)
        fields.append((start + 1, self.at - start, False))
        return value

    cls.number = number
    try:
        with contextlib.suppress(FormatError):  # code is refused, and is a seed too
            load(data)
    finally:
        cls.number = original
    return data, sorted(set(fields)), name


def _words(data: bytes, name: str) -> Seed:
    """The places of the words in a text."""
    fields, start = [], None
    for i in range(1, len(data)):
        word = chr(data[i]).isalnum() or data[i] in b"-+._"
        if word and start is None:
            start = i
        elif not word and start is not None:
            fields.append((start, i - start, True))
            start = None
    return data, fields, name
