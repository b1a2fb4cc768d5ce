"""ONNX files from strangers: each class of attack is refused by name, and nothing is touched."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_tools import file_of

from tapegrad.nn.formats import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsafeError,
    UnsupportedError,
    onnx,
)
from tapegrad.nn.formats.onnx.fields import SCHEMA
from tapegrad.nn.formats.onnx.graph import OnnxNode
from tapegrad.nn.formats.onnx.importing import FEW

X = {"x": (2, 3)}


def relu(name: str = "y", source: str = "x") -> OnnxNode:
    return OnnxNode("Relu", [source], [name])


def record(nodes: list[OnnxNode] | None = None, arrays: dict[str, np.ndarray] | None = None) -> Any:
    """The record of a small model, to be spoilt."""
    return SCHEMA.read(file_of(nodes or [relu()], X, ["y"], arrays), "ModelProto")


def data_of(changed: Any) -> bytes:
    stream = io.BytesIO()
    SCHEMA.write(changed, stream)
    return stream.getvalue()


def tensor(**fields: Any) -> Any:
    usual = {"name": "w", "data_type": 1, "dims": np.array([2])}
    return SCHEMA.new("TensorProto", **{**usual, **fields})


def with_tensor(**fields: Any) -> bytes:
    model = record()
    model.graph.initializer.append(tensor(**fields))
    return data_of(model)


def attribute(name: str, **fields: Any) -> bytes:
    model = record()
    model.graph.node[0].attribute.append(SCHEMA.new("AttributeProto", name=name, **fields))
    return data_of(model)


RAW = np.zeros(8, np.uint8)

ATTACKS: dict[str, tuple[bytes, type[Exception], str]] = {
    "a shape whose product overflows": (
        with_tensor(dims=np.array([2**31, 2**31, 2**31]), raw_data=RAW),
        TruncatedError,
        "entries",
    ),
    "a shape that is larger than the data": (
        with_tensor(dims=np.array([10**9]), raw_data=RAW), TruncatedError, "4000000000 bytes",
    ),
    "a shape that is smaller than the data": (
        with_tensor(dims=np.array([1]), raw_data=RAW), FormatError, "4 bytes, found 8",
    ),
    "a negative length": (
        with_tensor(dims=np.array([-2, -1]), raw_data=RAW), FormatError, "not negative",
    ),
    "many axes": (
        with_tensor(dims=np.ones(40, np.int64), raw_data=RAW[:4]), LimitError, "at most 32 axes",
    ),
    "no length beside lengths that NumPy cannot count": (
        with_tensor(dims=np.array([0, 2**62, 2**62]), raw_data=RAW[:0]), FormatError, "NumPy can",
    ),
    "texts": (with_tensor(data_type=8, string_data=[b"a", b"b"]), UnsupportedError, "strings"),
    "complex numbers": (with_tensor(data_type=14, raw_data=RAW), UnsupportedError, "complex"),
    "a dtype that is none": (with_tensor(data_type=99, raw_data=RAW), UnsupportedError, "type 99"),
    "booleans that are neither": (
        with_tensor(data_type=9, dims=np.array([8]), raw_data=RAW + 2), FormatError, "0 or 1",
    ),
    "a segment": (
        with_tensor(raw_data=RAW, segment=SCHEMA.new("Segment", begin=0)),
        UnsupportedError, "segment",
    ),
    "an unknown operator": (
        file_of([OnnxNode("Explode", ["x"], ["y"])], X, ["y"]), UnsupportedError, "Explode",
    ),
    "a loop": (file_of([OnnxNode("Loop", ["x"], ["y"])], X, ["y"]), UnsupportedError, "no loops"),
    "a scan": (file_of([OnnxNode("Scan", ["x"], ["y"])], X, ["y"]), UnsupportedError, "no loops"),
    "a list of arrays": (
        file_of([OnnxNode("SequenceConstruct", ["x"], ["y"])], X, ["y"]), UnsupportedError, "lists",
    ),
    "a random draw": (
        file_of([OnnxNode("RandomNormalLike", ["x"], ["y"])], X, ["y"]), UnsupportedError, "random",
    ),
    "a cycle": (
        file_of([relu("a", "b"), relu("b", "a"), relu("y", "a")], X, ["y"]), FormatError, "a cycle",
    ),
    "a node that reads itself": (
        file_of([relu("y", "y")], X, ["y"]), FormatError, "a cycle",
    ),
    "a value that nobody makes": (
        file_of([relu("y", "nothing")], X, ["y"]), FormatError, "made by earlier nodes",
    ),
    "a value that is made twice": (
        file_of([relu(), relu()], X, ["y"]), FormatError, "y twice",
    ),
    "an output that nobody makes": (file_of([relu()], X, ["z"]), FormatError, "found z"),
    "no output": (file_of([relu()], X, []), FormatError, "an output of the graph"),
    "an opset of tomorrow": (
        file_of([relu()], X, ["y"], opset=99), UnsupportedError, "an opset from 7 to",
    ),
    "an opset of the day before": (
        file_of([relu()], X, ["y"], opset=3), UnsupportedError, "an opset from 7 to",
    ),
    "a node without its inputs": (
        file_of([OnnxNode("MatMul", ["x"], ["y"])], X, ["y"]), FormatError, "of its operator",
    ),
    "an attribute of a type that is none": (
        attribute("alpha", type=77), UnsupportedError, "type 77",
    ),
    "an attribute of a function": (
        attribute("alpha", ref_attr_name="a"), UnsupportedError, "a value",
    ),
    "nothing": (b"", FormatError, "a graph"),
    "no protobuf": (b"\x08\x08\xff\xff\xff\xff", FormatError, "the end of a varint"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(name: str) -> None:
    data, error, text = ATTACKS[name]
    with pytest.raises(error, match=text) as caught:
        onnx.load(data)
    assert isinstance(caught.value, FormatError)


def test_names_that_are_there_twice() -> None:
    model = record(arrays={"w": np.zeros(2, np.float32)})
    model.graph.initializer.append(model.graph.initializer[0])
    with pytest.raises(FormatError, match="a name that no other array has, found w"):
        onnx.load(data_of(model))
    model = record()
    model.graph.input.append(model.graph.input[0])
    with pytest.raises(FormatError, match="inputs with different names"):
        onnx.load(data_of(model))
    model = record([OnnxNode("LeakyRelu", ["x"], ["y"], {"alpha": 0.5})])
    model.graph.node[0].attribute.append(model.graph.node[0].attribute[0])
    with pytest.raises(FormatError, match="attributes with different names"):
        onnx.load(data_of(model))


def test_other_domains_and_functions_are_refused_by_name() -> None:
    model = record()
    model.graph.node[0].domain = "com.microsoft"
    with pytest.raises(UnsupportedError, match=r"com\.microsoft\.Relu"):
        onnx.load(data_of(model))
    model = record()
    model.functions.append(SCHEMA.new("FunctionProto", name="f", domain="mine"))
    with pytest.raises(UnsupportedError, match=r"mine\.f"):
        onnx.load(data_of(model))
    model = record()
    model.graph.node[0].domain = "ai.onnx"
    assert onnx.load(data_of(model))(np.ones((2, 3), np.float32)).shape == (2, 3)


def test_a_message_says_file_and_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(file_of([OnnxNode("MatMul", ["x"], ["y"], name="") for _ in "1"], X, ["y"]))
    with pytest.raises(FormatError, match=r"bad\.onnx, at graph\.node\[MatMul\]"):
        onnx.load(path)


# Data beside the file ----------------------------------------------------------------------------


def external(folder: Path, location: str, **entries: str) -> Path:
    entry = {"location": location, **entries}
    pairs = [SCHEMA.new("StringStringEntryProto", key=k, value=v) for k, v in entry.items()]
    model = record([OnnxNode("Add", ["x", "w"], ["y"])])
    model.graph.initializer.append(tensor(dims=np.array([3]), data_location=1, external_data=pairs))
    path = folder / "m.onnx"
    path.write_bytes(data_of(model))
    return path


def test_data_beside_the_file_are_read_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(8) + np.array([1, 2, 3], "<f4").tobytes())
    path = external(tmp_path, "w.bin", offset="8", length="12")
    with pytest.raises(UnsafeError, match="external_data=True"):
        onnx.load(path)
    net = onnx.load(path, external_data=True)
    np.testing.assert_array_equal(net(np.zeros((2, 3), np.float32)).numpy()[0], [1, 2, 3])
    with pytest.raises(ValueError, match="needs a path on this machine"):
        onnx.load(path.read_bytes(), external_data=True)


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "a/../../secret.bin", "..\\secret.bin", "C:\\secret.bin", "", "link.bin",
     "\0", "folder/secret.bin"],
)  # fmt: skip
def test_data_outside_of_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    """CVE-2022-25882 and CVE-2024-27318: a location that leads out of the model's folder."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")
    (inside / "folder").symlink_to(tmp_path)
    with pytest.raises(UnsafeError, match="inside the model's folder"):
        onnx.load(external(inside, location), external_data=True)
    with pytest.raises(UnsafeError, match="inside the model's folder"):
        onnx.load(external(inside, str(tmp_path / "secret.bin")), external_data=True)


def test_data_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(8))
    with pytest.raises(TruncatedError, match=r"12 bytes in w\.bin"):
        onnx.load(external(tmp_path, "w.bin"), external_data=True)
    with pytest.raises(FormatError, match="a file with external data"):
        onnx.load(external(tmp_path, "v.bin"), external_data=True)
    with pytest.raises(FormatError, match="a number for the offset"):
        onnx.load(external(tmp_path, "w.bin", offset="-4"), external_data=True)
    with pytest.raises(FormatError, match="12 bytes of external data, found 8"):
        onnx.load(external(tmp_path, "w.bin", length="8"), external_data=True)


# Memory and time ---------------------------------------------------------------------------------


def test_deep_graphs_and_large_numbers_take_no_memory() -> None:
    deep = [relu("v0", "x"), *(relu(f"v{i + 1}", f"v{i}") for i in range(5_000))]
    net = onnx.load(file_of(deep, X, ["v5000"]))
    assert len(net.modules) == 5_001
    bombs = [
        [OnnxNode("ConstantOfShape", ["n"], ["a"]), OnnxNode("Add", ["x", "a"], ["y"])],
        [OnnxNode("Range", ["zero", "many", "one"], ["a"]), OnnxNode("Add", ["x", "a"], ["y"])],
        [OnnxNode("Expand", ["x", "n"], ["y"])],
    ]
    arrays = {
        "n": np.array([2**20, 2**20]), "zero": np.array(0), "many": np.array(2**40),
        "one": np.array(1),
    }  # fmt: skip
    for nodes in bombs:
        tracemalloc.start()
        onnx.load(file_of(nodes, X, ["y"], arrays))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10_000_000
    assert FEW < 1_000


def test_branches_in_branches_end_somewhere() -> None:
    graph = record().graph
    for _ in range(40):
        outer = record().graph
        node = SCHEMA.new("NodeProto", op_type="If", input=["c"], output=["y"])
        node.attribute.append(SCHEMA.new("AttributeProto", name="then_branch", type=5, g=graph))
        outer.node = [node]
        graph = outer
    model = record()
    model.graph = graph
    with pytest.raises(FormatError):
        onnx.load(data_of(model))


def test_limits_are_kept() -> None:
    data = file_of([relu()], X, ["y"], {"w": np.zeros(1000, np.float32)})
    with pytest.raises(LimitError):
        onnx.load(data, limits=Limits(max_bytes=100))
    with pytest.raises(LimitError):
        onnx.load(data, limits=Limits(max_nodes=5))


def test_cuts_at_every_byte() -> None:
    data = file_of(
        [OnnxNode("Gemm", ["x", "w"], ["a"], {"transB": 1}), relu("y", "a")], X, ["y"],
        {"w": np.ones((2, 3), np.float32)},
    )  # fmt: skip
    for end in range(len(data)):
        with pytest.raises(FormatError):
            onnx.load(data[:end])


@pytest.mark.extra
@pytest.mark.skipif(sys.platform != "linux", reason="limits and timers of Linux")
@pytest.mark.parametrize("options", [("--count", "5000"), ("--truncate", "fields")])
def test_mutants_raise_format_errors_or_load(options: tuple[str, ...]) -> None:
    script = Path(__file__).parent / "fuzz_formats.py"
    done = subprocess.run(
        [sys.executable, str(script), "onnx", *options], capture_output=True, text=True,
        check=False, timeout=600, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["failures"] == []
    assert report["audit_events"] == {}
    assert report["memory_ok"], report
    assert report["worst_seconds"] < 1
    if "--count" in options:
        assert report["outcomes"]["loaded"] > 500
