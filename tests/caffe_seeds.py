"""Small files of Caffe, and where their numbers stand, for fuzz_formats.py.

A seed begins with a letter: m a model, t a definition, b both (the definition's length in four
bytes, the definition, the model).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from architectures import ARCHITECTURES

DATA = Path(__file__).parent / "data"

Field = tuple[int, int, bool]
Seed = tuple[bytes, list[Field], str]


def load(data: bytes) -> Any:
    """What the reader of the first letter makes of the rest."""
    from tapegrad.nn.formats import FormatError, caffe

    kind, rest = data[:1], data[1:]
    if kind == b"m":
        return caffe.load_caffe_model(None, rest)
    if kind == b"t":
        return caffe.load_caffe_model(rest, None)
    if kind == b"b":
        length = int.from_bytes(rest[:4], "little")
        return caffe.load_caffe_model(rest[4 : 4 + length], rest[4 + length :])
    raise FormatError("a letter of a reader")


def recorded() -> Iterator[Seed]:
    """What BigDL wrote, and definitions in the style of the published ones."""
    for path in sorted((DATA / "bigdl_models").glob("*/model*.caffemodel")):
        yield model_seed(path.read_bytes(), f"{path.parent.name}.{path.name}")
    for path in sorted((DATA / "caffe").glob("*.prototxt")):
        yield text_seed(path.read_bytes(), path.name)


def made() -> Iterator[Seed]:
    """What our own writer makes of the architectures, and of layers with shapes of all kinds."""
    from tapegrad.nn.formats import caffe

    with tempfile.TemporaryDirectory() as folder:
        definition, model = Path(folder) / "m.prototxt", Path(folder) / "m.caffemodel"
        for name, make in ARCHITECTURES.items():
            module, shape = make()
            caffe.save_caffe(module, definition, model, inputs=shape)
            yield model_seed(model.read_bytes(), f"{name}.caffemodel")
            if name in ("lenet", "rectangular", "two_outputs"):
                text, binary = definition.read_bytes(), model.read_bytes()
                yield text_seed(text, f"{name}.prototxt")
                both = b"b" + len(text).to_bytes(4, "little") + text + binary
                yield both, [(1, 4, False)], f"{name}.both"


def model_seed(data: bytes, name: str) -> Seed:
    return b"m" + data, [(k + 1, n, t) for k, n, t in wire_fields(data)], name


def text_seed(data: bytes, name: str) -> Seed:
    fields: list[Field] = []
    start = None
    for i, byte in enumerate(b"t" + data):
        word = i > 0 and (chr(byte).isalnum() or byte in b"_.-")
        if word and start is None:
            start = i
        elif not word and start is not None:
            fields.append((start, i - start, True))
            start = None
    return b"t" + data, fields, name


def wire_fields(data: bytes) -> list[Field]:
    """The places of tags, numbers and lengths of a protobuf message, and of those inside it."""
    found: list[Field] = []
    waiting = [(0, len(data))]
    while waiting:
        at, stop = waiting.pop()
        own: list[Field] = []
        inside: list[tuple[int, int]] = []
        while at < stop:
            tag, width = varint(data, at, stop)
            if not width or not tag >> 3:
                break
            own.append((at, width, False))
            at += width
            kind = tag & 7
            if kind in (1, 5):
                own.append((at, 8 if kind == 1 else 4, False))
                at += 8 if kind == 1 else 4
                continue
            value, width = varint(data, at, stop)
            if kind not in (0, 2) or not width:
                break
            own.append((at, width, False))
            at += width
            if kind == 2:
                inside.append((at, at + value))
                at += value
        if at == stop:  # else it is no message but text or numbers
            found += own
            waiting += inside
    return sorted(set(found))


def varint(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """A number and its width; width 0 for none."""
    value = 0
    for width in range(1, 11):
        if at + width > stop:
            return 0, 0
        byte = data[at + width - 1]
        value |= (byte & 0x7F) << 7 * (width - 1)
        if byte < 0x80:
            return value, width
    return 0, 0
