"""ONNX files that we read: layers, graphs, each operator against onnxruntime and ONNX itself."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_tools import arrays_of, expect_close, file_of, outputs

from tapegrad import nn, optim
from tapegrad.autograd import grad
from tapegrad.nn.formats import FormatError, UnsupportedError, onnx
from tapegrad.nn.formats.onnx.graph import NodeGraph, OnnxNode, ValueInfo
from tapegrad.nn.formats.onnx.operators import OPERATORS

RNG = np.random.default_rng(1)


def single(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


# What a model becomes ----------------------------------------------------------------------------


def test_a_chain_of_layers_is_a_sequential() -> None:
    w, b = single(4, 3, 3, 3), single(4)
    data = file_of(
        [
            OnnxNode("Conv", ["x", "conv1.weight", "conv1.bias"], ["a"], {"pads": [1, 1, 1, 1]}),
            OnnxNode("Relu", ["a"], ["b"]),
            OnnxNode("MaxPool", ["b"], ["c"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
            OnnxNode("Flatten", ["c"], ["y"]),
        ],
        {"x": ("n", 3, 6, 6)}, ["y"], {"conv1.weight": w, "conv1.bias": b},
    )  # fmt: skip
    net = nn.load(data)
    kinds = [type(layer).__name__ for layer in net.modules]
    assert kinds == ["SpatialConvolution", "ReLU", "SpatialMaxPooling", "InferReshape"]
    assert net.modules[0].getName() == "conv1"
    np.testing.assert_array_equal(net.modules[0].weight.numpy(), w)
    assert not net.train


def test_branches_are_a_gmodule() -> None:
    data = file_of(
        [
            OnnxNode("Conv", ["x", "w"], ["a"]),
            OnnxNode("Sigmoid", ["a"], ["b"]),
            OnnxNode("Mul", ["a", "b"], ["c"]),
            OnnxNode("Concat", ["c", "a"], ["y"], {"axis": 1}),
        ],
        {"x": (2, 3, 5, 5)}, ["y"], {"w": single(2, 3, 2, 2)},
    )  # fmt: skip
    net = onnx.load(data)
    assert isinstance(net, nn.gModule)
    assert net(single(2, 3, 5, 5)).shape == (2, 4, 4, 4)


def test_another_graph_keeps_the_names_of_its_arrays_and_learns() -> None:
    w, scale = single(3, 2), np.array([2, 3], np.float32)
    data = file_of(
        [
            OnnxNode("MatMul", ["x", "w"], ["a"]),
            OnnxNode("Add", ["a", "b"], ["c"]),
            OnnxNode("Mul", ["c", "scale"], ["d"]),
            OnnxNode("ReduceMean", ["d"], ["y"], {"axes": [0], "keepdims": 0}),
        ],
        {"x": ("n", 3)}, ["y"], {"w": w, "b": np.zeros(2, np.float32), "scale": scale},
    )  # fmt: skip
    net = onnx.load(data)
    x = single(5, 3)
    assert isinstance(net, onnx.OnnxGraph)
    assert set(net.weights) == {"scale"}
    assert [type(layer).__name__ for layer in net.layers.values()] == ["Linear"]
    np.testing.assert_allclose(net(x).numpy(), ((x @ w) * scale).mean(0), rtol=1e-5)
    trainer = optim.SGD(net, lr=0.1)
    before = float(np.sum(net(x) ** 2))
    for _ in range(3):
        net.zeroGradParameters()
        np.sum(net.training()(x) ** 2).backward()
        trainer.step()
    assert float(np.sum(net(x) ** 2)) < before


def test_a_graph_is_saved_in_our_format_and_written_again(tmp_path: Path) -> None:
    data = file_of(
        [OnnxNode("CumSum", ["x", "axis"], ["a"]), OnnxNode("Mul", ["a", "w"], ["y"])],
        {"x": ("n", 3)}, ["y"], {"axis": np.array(1), "w": single(3)},
    )  # fmt: skip
    net, x = onnx.load(data), single(4, 3)
    net.save(tmp_path / "m.safetensors")
    again = nn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again(x).numpy(), net(x).numpy())
    onnx.export(net, x, tmp_path / "m.onnx")
    np.testing.assert_array_equal(onnx.load(tmp_path / "m.onnx")(x).numpy(), net(x).numpy())


def test_shapes_that_a_graph_computes() -> None:
    data = file_of(
        [
            OnnxNode("Shape", ["x"], ["s"]),
            OnnxNode("Gather", ["s", "zero"], ["n"]),
            OnnxNode("Unsqueeze", ["n", "axis"], ["m"]),
            OnnxNode("Concat", ["m", "rest"], ["target"], {"axis": 0}),
            OnnxNode("Reshape", ["x", "target"], ["y"]),
        ],
        {"x": ("n", 2, 3)}, ["y"],
        {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])},
    )  # fmt: skip
    assert onnx.load(data)(single(4, 2, 3)).shape == (4, 6)


def test_an_if_whose_condition_the_file_has_is_its_branch() -> None:
    def branch(op: str) -> NodeGraph:
        return NodeGraph(
            [OnnxNode(op, ["x"], [op])], [], [ValueInfo(op, np.dtype(np.float32), None)], {}
        )

    model = onnx.read_model(file_of([OnnxNode("Relu", ["x"], ["y"])], {"x": (3,)}, ["y"]))
    node = OnnxNode(
        "If", ["c"], ["y"], {"then_branch": branch("Neg"), "else_branch": branch("Exp")}
    )
    model.graph.nodes[:] = [node]
    x = single(3)
    for condition, expected in ((True, -x), (False, np.exp(x))):
        model.graph.initializers["c"] = np.array(condition)
        found = onnx.build_module(model)(x).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    del model.graph.initializers["c"]
    model.graph.inputs.append(ValueInfo("c", np.dtype(bool), ()))
    with pytest.raises(UnsupportedError, match="an If whose condition the file has"):
        onnx.build_module(model)


def test_several_inputs_and_outputs_are_lists() -> None:
    data = file_of(
        [OnnxNode("Add", ["a", "b"], ["c"]), OnnxNode("Sub", ["a", "b"], ["d"])],
        {"a": (2, 3), "b": (2, 3)}, ["c", "d"],
    )  # fmt: skip
    a, b = single(2, 3), single(2, 3)
    expect_close(outputs(onnx.load(data), [a, b]), [a + b, a - b], 0)


# Operators ---------------------------------------------------------------------------------------

INT = np.int64
X = single(2, 4, 6, 5)
ROWS = single(3, 7)
NONE = np.array([], np.float32)

# (operator, inputs, attributes, opsets): onnxruntime says what is right.
CASES: list[tuple[str, list[Any], dict[str, Any], tuple[int, ...]]] = [
    ("Softmax", [X], {"axis": 1}, (9, 11, 13, 21)),
    ("LogSoftmax", [X], {"axis": 2}, (9, 13)),
    ("Slice", [X], {"starts": [1, 0], "ends": [3, -1], "axes": [1, 2]}, (7, 9)),
    ("Slice", [X, np.array([-1]), np.array([-9]), np.array([2]), np.array([-2])], {}, (10, 13)),
    ("Pad", [X], {"pads": [0, 0, 1, 2, 0, 0, 0, 1], "mode": "edge"}, (9, 10)),
    ("Pad", [X, np.array([0, 0, 1, 2, 0, 0, 0, -1])], {"mode": "constant"}, (11, 13, 19)),
    ("Pad", [X, np.array([0, 0, 1, 2, 0, 0, 2, 1])], {"mode": "reflect"}, (11, 18)),
    ("Clip", [X], {"min": -0.5, "max": 0.5}, (7, 10)),
    ("Clip", [X, np.array(-0.5, np.float32)], {}, (11, 13)),
    ("Squeeze", [single(2, 1, 3, 1)], {"axes": [1]}, (7, 11)),
    ("Squeeze", [single(2, 1, 3, 1), np.array([1, 3])], {}, (13, 21)),
    ("Unsqueeze", [ROWS], {"axes": [0, 2]}, (7, 11)),
    ("Unsqueeze", [ROWS, np.array([1])], {}, (13,)),
    ("ReduceSum", [X], {"axes": [1, 3]}, (7, 11)),
    ("ReduceSum", [X, np.array([1])], {"keepdims": 0}, (13, 18)),
    ("ReduceMean", [X], {"axes": [-1]}, (11, 13)),
    ("ReduceMean", [X, np.array([0, 2])], {}, (18,)),
    ("ReduceMax", [X], {"axes": [2], "keepdims": 0}, (11, 13)),
    ("ReduceLogSumExp", [X, np.array([1])], {}, (18,)),
    ("ReduceL2", [X], {"axes": [1]}, (11, 13)),
    ("ReduceProd", [ROWS], {"axes": [0]}, (11,)),
    ("Split", [X], {"axis": 1, "split": [1, 3]}, (7, 11)),
    ("Split", [X, np.array([1, 3])], {"axis": 1}, (13, 18)),
    ("TopK", [ROWS, np.array([3])], {"axis": 1}, (10, 11)),
    ("TopK", [ROWS, np.array([2])], {"axis": 0, "largest": 0}, (11, 24)),
    ("Upsample", [X, np.array([1, 1, 2, 3], np.float32)], {"mode": "nearest"}, (9,)),
    ("Resize", [X, np.array([1, 1, 2, 3], np.float32)], {"mode": "linear"}, (10,)),
    ("Resize", [X, NONE, np.array([1, 1, 1.7, 0.6], np.float32)], {"mode": "nearest"}, (11, 19)),
    ("Resize", [X, None, None, np.array([2, 4, 9, 8])],
     {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}, (13, 19)),
    ("Resize", [X, None, None, np.array([2, 4, 9, 8])],
     {"mode": "cubic", "coordinate_transformation_mode": "align_corners"}, (13, 18)),
    ("BatchNormalization", [X, *(np.abs(single(4)) for _ in range(4))], {}, (9, 14, 15)),
    ("InstanceNormalization", [X, single(4), single(4)], {}, (7, 17)),
    ("LayerNormalization", [X, single(6, 5), single(6, 5)], {"axis": 2}, (17,)),
    ("GroupNormalization", [X, single(4), single(4)], {"num_groups": 2}, (21,)),
    ("LRN", [X], {"size": 3, "alpha": 0.1}, (7, 13)),
    ("Gemm", [ROWS, single(7, 4), single(4)], {"alpha": 0.5, "beta": 2.0}, (7, 11, 13)),
    ("Gemm", [ROWS, single(4, 7)], {"transB": 1}, (11, 13)),
    ("Conv", [X, single(6, 4, 3, 2), single(6)], {"pads": [1, 0, 2, 1], "strides": [2, 1]},
     (7, 11)),
    ("Conv", [X, single(4, 1, 3, 3)], {"group": 4, "dilations": [2, 1], "pads": [2, 1, 2, 1]},
     (11,)),
    ("Conv", [X, single(2, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (11,)),
    ("Conv", [X, single(2, 4, 2, 4)], {"auto_pad": "SAME_LOWER"}, (11,)),
    ("Conv", [single(2, 3, 9), single(4, 3, 2), single(4)], {"strides": [2]}, (7, 11)),
    ("Conv", [single(2, 2, 4, 5, 6), single(3, 2, 2, 2, 3)], {"pads": [1, 0, 1, 0, 0, 1]}, (11,)),
    ("ConvTranspose", [X, single(4, 3, 3, 2), single(3)],
     {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 0]}, (7, 11)),
    ("ConvTranspose", [X, single(4, 2, 3, 3)], {"group": 2, "dilations": [2, 1]}, (11,)),
    ("ConvTranspose", [X, single(4, 2, 3, 3)], {"strides": [2, 2], "output_shape": [12, 10]},
     (11,)),
    ("ConvTranspose", [single(1, 2, 5), single(2, 3, 3)], {"strides": [2]}, (11,)),
    ("MaxPool", [X], {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 2]}, (8, 12)),
    ("MaxPool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, (10, 12, 22)),
    ("MaxPool", [X], {"kernel_shape": [2, 2], "dilations": [2, 2]}, (10, 12)),
    ("MaxPool", [single(2, 3, 9)], {"kernel_shape": [3]}, (12,)),
    ("AveragePool", [X], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, (7, 11, 19)),
    ("AveragePool", [X], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
     (10, 19)),
    ("AveragePool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, (19, 22)),
    ("GlobalMaxPool", [X], {}, (7,)),
    ("LpPool", [X], {"kernel_shape": [2, 2], "p": 2}, (11, 18)),
    ("DepthToSpace", [X], {"blocksize": 2, "mode": "CRD"}, (11, 13)),
    ("SpaceToDepth", [single(1, 2, 4, 6)], {"blocksize": 2}, (13,)),
    ("Gather", [X, np.array([[0, -1], [2, 1]])], {"axis": 1}, (7, 13)),
    ("GatherElements", [ROWS, np.array([[0, 2], [1, 0], [2, 2]])], {"axis": 0}, (11, 13)),
    ("GatherND", [X, np.array([[[0, 1], [3, 2]], [[1, 5], [2, -1]]])], {"batch_dims": 1}, (12, 13)),
    ("ScatterND", [ROWS, np.array([[2], [0]]), single(2, 7)], {}, (11, 16)),
    ("ScatterElements", [ROWS, np.array([[1, 0]]), single(1, 2)], {"axis": 1}, (11, 16)),
    ("OneHot", [np.array([1, -1, 3]), np.array(4), np.array([0, 2], np.float32)], {}, (9, 11)),
    ("Expand", [single(3, 1), np.array([2, 1, 6])], {}, (8, 13)),
    ("Tile", [ROWS, np.array([2, 1])], {}, (7, 13)),
    ("Where", [ROWS > 0, ROWS, np.zeros((1, 7), np.float32)], {}, (9, 16)),
    ("Trilu", [ROWS, np.array(1)], {"upper": 0}, (14,)),
    ("Range", [np.array(2), np.array(11), np.array(3)], {}, (11,)),
    ("Cast", [ROWS * 3], {"to": 7}, (9, 13, 21)),
    ("Mod", [np.array([-7, 7, 5]), np.array([3, -3, 5])], {}, (10, 13)),
    ("Div", [np.array([-7, 7, 5]), np.array([2, -2, 3])], {}, (7, 14)),
    ("Einsum", [single(2, 3, 4), single(2, 4, 5)], {"equation": "bij,bjk->bik"}, (12,)),
    ("CumSum", [ROWS, np.array(1)], {"exclusive": 1, "reverse": 1}, (11, 14)),
    ("ArgMax", [ROWS], {"axis": 1, "keepdims": 0}, (11, 13)),
    ("PRelu", [X, single(4, 1, 1)], {}, (9, 16)),
    ("Selu", [ROWS], {}, (7, 22)),
    ("Gelu", [ROWS], {"approximate": "tanh"}, (20,)),
    ("HardSwish", [ROWS * 3], {}, (14,)),
    ("QuantizeLinear", [ROWS, np.array(0.1, np.float32), np.array(3, np.uint8)], {}, (10, 13)),
    ("DequantizeLinear", [np.arange(6, dtype=np.uint8).reshape(2, 3), np.abs(single(3)),
                          np.array([1, 2, 3], np.uint8)], {"axis": 1}, (13,)),
    ("QLinearMatMul", [
        (X[0, 0] * 20).astype(np.int8), np.array(0.1, np.float32), np.array(2, np.int8),
        (ROWS.T[:5] * 20).astype(np.int8), np.array(0.2, np.float32), np.array(-1, np.int8),
        np.array(3.1, np.float32), np.array(4, np.int8),
    ], {}, (10, 21)),
    ("QLinearConv", [(np.abs(X) * 20).astype(np.uint8), np.array(0.1, np.float32),
                     np.array(2, np.uint8), (single(3, 4, 2, 2) * 20).astype(np.int8),
                     np.array([0.1, 0.2, 0.3], np.float32), np.zeros(3, np.int8),
                     np.array(9.1, np.float32), np.array(100, np.uint8),
                     np.array([1, 200, -300], np.int32)], {"pads": [1, 0, 0, 1]}, (10,)),
    ("ConvInteger", [(np.abs(X) * 20).astype(np.uint8),
                     (np.abs(single(3, 4, 2, 2)) * 20).astype(np.uint8),
                     np.array(7, np.uint8)], {"strides": [2, 1]}, (10,)),
    ("GridSample", [X, single(2, 3, 5, 2)], {"padding_mode": "reflection"}, (16,)),
    ("GridSample", [X, single(2, 3, 5, 2)], {"mode": "bicubic", "padding_mode": "border"}, (16,)),
    ("GridSample", [X, single(2, 3, 5, 2)], {"mode": "bicubic", "padding_mode": "reflection"},
     (16,)),
    ("GridSample", [X, single(2, 3, 5, 2)], {"align_corners": 1}, (16,)),
    ("LSTM", [single(5, 2, 3), single(2, 16, 3), single(2, 16, 4), single(2, 32),
              np.array([5, 3], np.int32), single(2, 2, 4), single(2, 2, 4), single(2, 12)],
     {"hidden_size": 4, "direction": "bidirectional"}, (7, 14)),
    ("LSTM", [single(5, 2, 3), single(1, 16, 3), single(1, 16, 4)],
     {"hidden_size": 4, "direction": "reverse"}, (7, 22)),
    ("GRU", [single(5, 2, 3), single(1, 12, 3), single(1, 12, 4), single(1, 24)],
     {"hidden_size": 4}, (7, 14)),
    ("GRU", [single(5, 2, 3), single(2, 12, 3), single(2, 12, 4), single(2, 24)],
     {"hidden_size": 4, "linear_before_reset": 1, "direction": "bidirectional"}, (7, 14)),
    ("RNN", [single(5, 2, 3), single(1, 4, 3), single(1, 4, 4), single(1, 8)],
     {"hidden_size": 4, "activations": ["Relu"]}, (7, 14)),
]  # fmt: skip
COUNTS = {"Split": 2, "TopK": 2, "LSTM": 3, "GRU": 2, "RNN": 2}


def model_by_helper(op: str, inputs: list[Any], attributes: dict[str, Any], opset: int) -> bytes:
    """A model of one operator, made by the onnx library."""
    from onnx import helper

    names = ["" if value is None else f"i{k}" for k, value in enumerate(inputs)]
    outs = [f"o{k}" for k in range(COUNTS.get(op, 1))]
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in zip(names, inputs, strict=True) if name
    ]  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node(op, names, outs, **attributes)], "g", infos,
        [helper.make_empty_tensor_value_info(name) for name in outs],
    )  # fmt: skip
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8 if opset < 21 else 10)
    return model.SerializeToString()


@pytest.mark.extra
@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{n}-{CASES[n][0]}")
def test_an_operator_gives_what_onnxruntime_gives(number: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    op, inputs, attributes, opsets = CASES[number]
    given = [value for value in inputs if value is not None]
    for opset in opsets:
        data = model_by_helper(op, inputs, attributes, opset)
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        names = [entry.name for entry in session.get_inputs()]
        expected = session.run(None, dict(zip(names, given, strict=True)))
        found = outputs(onnx.load(data), given if len(given) > 1 else given[0])
        expect_close(found, expected, 2e-5)


def test_samples_of_a_grid_have_gradients() -> None:
    """A slope of images and of places, against differences; between entries, where there is one."""
    data = file_of(
        [OnnxNode("GridSample", ["x", "grid"], ["y"], {"mode": "bilinear"})],
        {"x": (1, 2, 4, 5), "grid": (1, 3, 2, 2)}, ["y"],
    )  # fmt: skip
    net, image = onnx.load(data), single(1, 2, 4, 5).astype(np.float64)
    grid = np.linspace(-0.83, 0.78, 12).reshape(1, 3, 2, 2)

    def total(x: Any, places: Any) -> Any:
        return np.sum(net([x, places]) ** 2)

    slopes = grad(total, argnums=(0, 1))(image, grid)
    random, step = np.random.default_rng(2), 1e-6
    for k, slope in enumerate(slopes):
        direction = random.normal(size=slope.shape)
        ends = []
        for sign in (1, -1):
            given = [image, grid]
            given[k] = given[k] + sign * step * direction
            ends.append(float(np.asarray(outputs(net, given)[0] ** 2).sum()))
        expected = (ends[0] - ends[1]) / (2 * step)
        assert np.sum(np.asarray(slope) * direction) == pytest.approx(expected, rel=1e-5)


# What ONNX's own cases of operators ask that is not done, by a part of their names.
NOT_DONE = {
    "bf16": "there is no such dtype in NumPy: float32 takes its place",
    "BFLOAT16": "the same",
    "bfloat16": "the same",
    "empty_set": "the largest of no entries",
}


@pytest.mark.extra
def test_onnx_s_own_cases() -> None:
    pytest.importorskip("onnx")
    from onnx import numpy_helper
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    wrong, seen = [], Counter()
    for case in cases:
        if case.model is None or any(part in case.name for part in NOT_DONE):
            continue
        ops = {node.op_type for node in case.model.graph.node}
        try:
            net = onnx.load(case.model.SerializeToString())
        except FormatError:
            seen["refused"] += 1
            if ops <= set(OPERATORS) and "If" not in ops:
                seen["refused for its types or opset"] += 1
            continue
        for inputs, expected in case.data_sets:
            arrays = [
                numpy_helper.to_array(a) if hasattr(a, "raw_data") else np.asarray(a)
                for a in (*inputs, *expected)
            ]
            given, wanted = arrays[: len(inputs)], arrays[len(inputs) :]
            try:
                with np.errstate(all="ignore"):
                    found = arrays_of(net(given if len(given) != 1 else given[0]))
                half = any(a.dtype == np.float16 for a in arrays)
                expect_close(found[: len(wanted)], wanted[: len(found)], 1e-2 if half else 1e-3)
            except FormatError:
                seen["refused while it runs"] += 1
            except Exception as error:  # noqa: BLE001  # all are listed
                wrong.append(f"{case.name}: {error!s:.100}")
            else:
                seen["right"] += 1
    assert not wrong
    assert seen["right"] >= 1150, seen


# Other programs' models --------------------------------------------------------------------------


def torch_models() -> dict[str, Any]:
    import torch
    from torch import nn as t

    class Recurrent(t.Module):
        def __init__(self, kind: Any) -> None:
            super().__init__()
            self.body = kind(3, 4, 2, bidirectional=True, batch_first=True)
            self.head = t.Linear(8, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.body(x)[0][:, -1])

    class Text(t.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = t.Embedding(11, 8)
            self.layer = t.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = t.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            return self.head(self.layer(self.words(x)).mean(1))

    torch.manual_seed(0)
    images = torch.randn(2, 3, 16, 16)
    network = t.Sequential(
        t.Conv2d(3, 8, 3, padding=1, stride=2), t.BatchNorm2d(8), t.ReLU(),
        t.MaxPool2d(2, ceil_mode=True), t.Conv2d(8, 8, 3, groups=4), t.PReLU(8),
        t.AdaptiveAvgPool2d(1), t.Flatten(), t.Linear(8, 4), t.Softmax(1),
    )  # fmt: skip
    upwards = t.Sequential(
        t.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1),
        t.Upsample(scale_factor=2, mode="bilinear"), t.GELU(), t.InstanceNorm2d(4, affine=True),
        t.ReflectionPad2d(1),
    )  # fmt: skip
    sequence = torch.randn(2, 5, 3)
    return {
        "network": (network, images, (9, 11, 13, 17)),
        "upwards": (upwards, images, (11, 13, 17)),
        "text": (Text(), torch.randint(0, 11, (2, 5)), (17,)),
        "lstm": (Recurrent(t.LSTM), sequence, (9, 13, 17)),
        "gru": (Recurrent(t.GRU), sequence, (9, 13, 17)),
        "rnn": (Recurrent(t.RNN), sequence, (9, 17)),
    }


@pytest.mark.extra
@pytest.mark.parametrize("name", ["network", "upwards", "text", "lstm", "gru", "rnn"])
def test_what_pytorch_exports(name: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    module, x, opsets = torch_models()[name]
    module.eval()
    for opset in opsets:
        stream = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, (x,), stream, opset_version=opset, dynamo=False, input_names=["x"],
                dynamic_axes={"x": {0: "n"}},
            )  # fmt: skip
        net = onnx.load(stream.getvalue())
        for inputs in (x, x[:1]):
            with torch.no_grad():
                expected = module(inputs).numpy()
            expect_close(outputs(net, inputs.numpy()), [expected], 1e-5)
