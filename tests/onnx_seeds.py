"""Small ONNX files, and where their fields stand, for fuzz_formats.py.

A seed begins with the letter "o", which `load` takes away.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Seed = tuple[bytes, list[tuple[int, int, bool]], str]


def load(data: bytes) -> object:
    """What the reader makes of a seed without its first letter."""
    from tapegrad.nn.formats import onnx

    return onnx.load(data[1:])


def recorded() -> Iterator[Seed]:
    """No files of other programs: what they write is made in tests, by these programs."""
    yield from ()


def made() -> Iterator[Seed]:
    """What our own writer makes of layers and networks, and files with everything else."""
    from architectures import ARCHITECTURES
    from cases import MODULES
    from onnx_tools import examples

    from tapegrad.nn.formats import FormatError, onnx
    from tapegrad.nn.formats.onnx.reasons import WITHOUT_ONNX

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.onnx"
        for name in ("lenet", "resnet_block", "two_outputs", "prelu"):
            net, shape = ARCHITECTURES[name]()
            onnx.export(net, np.zeros(shape, np.float32), path)
            data = path.read_bytes()
            if len(data) < 20_000:
                yield noted(data, f"{name}.onnx")
        for name in sorted(set(MODULES) - set(WITHOUT_ONNX))[::9]:
            with contextlib.suppress(FormatError, StopIteration):
                module, inputs = next(examples(MODULES[name], 1))
                onnx.export(module, inputs, path, dynamic_batch=False)
                yield noted(path.read_bytes(), f"{name}.onnx")
    yield from everything()


def everything() -> Iterator[Seed]:
    """Arrays in every field and type, attributes of every type, a branch, external data."""
    from tapegrad.nn.formats.onnx.encoding import record_of
    from tapegrad.nn.formats.onnx.fields import SCHEMA
    from tapegrad.nn.formats.onnx.graph import DTYPES, NodeGraph, OnnxModel, OnnxNode, ValueInfo

    single = np.dtype(np.float32)
    arrays = {f"a{n}": np.arange(6).reshape(2, 3).astype(dtype) for n, dtype in DTYPES.items()}
    arrays["condition"] = np.array(True)
    branch = NodeGraph([OnnxNode("Neg", ["x"], ["n"])], [], [ValueInfo("n", single, None)], {})
    nodes = [
        OnnxNode("Add", ["x", "a1"], ["s"]),
        OnnxNode("Transpose", ["s"], ["t"], {"perm": [1, 0]}),
        OnnxNode("Constant", [], ["c"], {"value": np.ones(3, np.float32)}),
        OnnxNode("LeakyRelu", ["t"], ["l"], {"alpha": 0.5}),
        OnnxNode("RNN", ["q", "w", "w"], ["", "h"], {"activations": ["Relu"], "hidden_size": 2}),
        OnnxNode("Pad", ["l", "pads"], ["y"], {"mode": "edge"}),
    ]
    arrays |= {"w": np.ones((1, 2, 2), np.float32), "pads": np.zeros(4, np.int64)}
    inputs = [ValueInfo("x", single, (2, 3)), ValueInfo("q", single, (1, "n", 2))]
    graph = NodeGraph(nodes, inputs, [ValueInfo("y", single, None)], arrays)
    record = record_of(OnnxModel(graph, 17, "test"))
    with_branch = SCHEMA.new("AttributeProto", name="then_branch", type=5)
    with_branch.g = record_of(OnnxModel(branch, 17)).graph
    other = SCHEMA.new("AttributeProto", name="else_branch", type=5)
    other.g = with_branch.g
    node = SCHEMA.new(
        "NodeProto", op_type="If", input=["condition"], output=["i"], attribute=[with_branch, other]
    )
    record.graph.node.append(node)
    yield noted(_written(record), "everything.onnx")
    for name, kind, field in (
        ("f", 1, "float_data"), ("d", 11, "double_data"), ("i", 7, "int64_data"),
        ("u", 13, "uint64_data"), ("h", 10, "int32_data"), ("b", 16, "int32_data"),
    ):  # fmt: skip
        dtype = {"float_data": "<f4", "double_data": "<f8", "int64_data": "<i8"}.get(field, "<i4")
        numbers = np.arange(3).astype("<u8" if field == "uint64_data" else dtype)
        tensor = SCHEMA.new("TensorProto", name=name, data_type=kind, dims=np.array([3]))
        setattr(tensor, field, numbers)
        record.graph.initializer.append(tensor)
    entry = SCHEMA.new("StringStringEntryProto", key="location", value="w.bin")
    outside = SCHEMA.new("TensorProto", name="o", data_type=1, dims=np.array([3]), data_location=1)
    outside.external_data = [entry]
    yield noted(_written(record), "fields.onnx")
    record.graph.initializer.append(outside)
    yield noted(_written(record), "external.onnx")


def changed(rng: random.Random, data: bytes) -> bytes:
    """The seed with other values in its messages, and lengths that fit again."""
    from tapegrad.nn.formats import FormatError
    from tapegrad.nn.formats.common.records import Record
    from tapegrad.nn.formats.onnx.fields import SCHEMA

    root = SCHEMA.read(data[1:], "ModelProto")
    places: list[tuple[Record, str]] = []
    waiting = [root]
    while waiting:
        record = waiting.pop()
        for field, value in record.items():
            places.append((record, field.name))
            parts = value if isinstance(value, list) else [value]
            waiting.extend(part for part in parts if isinstance(part, Record))
    texts = [getattr(r, n) for r, n in places if isinstance(getattr(r, n), str)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        record, name = rng.choice(places)
        _change(rng, record, name, texts)
    try:
        return b"o" + _written(root)
    except FormatError:  # a number that its field cannot hold
        return data


def _change(rng: random.Random, record: Any, name: str, texts: list[str]) -> None:
    value = getattr(record, name)
    if isinstance(value, list) and value:
        kind, at = rng.randrange(4), rng.randrange(len(value))
        if kind == 0:
            del value[at]
        elif kind == 1:
            value.insert(at, rng.choice(value))
        elif kind == 2:
            value[at] = rng.choice(value)
        elif isinstance(value[at], str):
            value[at] = rng.choice([*texts, "", "x"])
    elif isinstance(value, np.ndarray):
        choices = [value[:-1], np.repeat(value, 2), value * 0, value * 0 - 1, value[:0]]
        setattr(record, name, rng.choice(choices))
        if value.dtype == np.int64 and value.size and rng.random() < 0.5:
            other = value.copy()
            other[rng.randrange(value.size)] = rng.choice([0, -1, 1, 7, 2**31, 2**62, -(2**63)])
            setattr(record, name, other)
    elif isinstance(value, bool) or value is None:
        delattr(record, name)
    elif isinstance(value, int):
        setattr(record, name, rng.choice([0, 1, 2, 3, 5, 7, 9, 10, 11, 16, 17, 255, -1, 2**31 - 1]))
    elif isinstance(value, float):
        setattr(record, name, rng.choice([0.0, -1.0, float("inf"), float("nan"), 1e30]))
    elif isinstance(value, str):
        setattr(record, name, rng.choice([*texts, "", "Loop", "com.other", "../w.bin", "ü"]))
    elif isinstance(value, bytes):
        setattr(record, name, rng.choice([b"", b"\xff", b"VALID", b"SAME_UPPER", b"edge"]))
    else:
        delattr(record, name)


def _written(record: Any) -> bytes:
    import io

    from tapegrad.nn.formats.onnx.fields import SCHEMA

    stream = io.BytesIO()
    SCHEMA.write(record, stream)
    return stream.getvalue()


def noted(data: bytes, name: str) -> Seed:
    """The places of a file's numbers and texts, found by reading it once."""
    from tapegrad.nn.formats import FormatError, onnx
    from tapegrad.nn.formats.common import wire_reading

    walker = wire_reading._Walker
    fields: list[tuple[int, int, bool]] = []
    kept = walker.varint, walker.take

    def varint(self, end: int) -> int:
        start = self.at
        value = kept[0](self, end)
        fields.append((start, self.at - start, False))
        return value

    def take(self, size: int, end: int) -> int:
        start = kept[1](self, size, end)
        fields.append((start, min(size, 8), False))
        return start

    walker.varint, walker.take = varint, take
    try:
        with contextlib.suppress(FormatError):
            onnx.load(data)
    finally:
        walker.varint, walker.take = kept
    moved = sorted({(at + 1, length, text) for at, length, text in fields if length})
    return b"o" + data, moved, name
