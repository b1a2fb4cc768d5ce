"""Graphs in the style of frozen Inception, ResNet and MobileNet, read and compared with PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_graphs import Graph

from tapegrad import nn, no_grad
from tapegrad.nn.formats import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsafeError,
    UnsupportedError,
)
from tapegrad.nn.formats.tensorflow import loadTF
from tapegrad.nn.formats.tensorflow.fields import SCHEMA

RANDOM = np.random.default_rng(1)


def drawn(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape, scale=0.5).astype(np.float32)


def statistics(n: int) -> list[np.ndarray]:
    """scale, offset, mean, variance"""
    return [drawn(n), drawn(n), drawn(n), RANDOM.uniform(0.5, 2, n).astype(np.float32)]


def run(module: nn.Module, *arrays: np.ndarray) -> Any:
    with no_grad():
        y = module(arrays[0] if len(arrays) == 1 else list(arrays))
    return [np.asarray(p) for p in y] if isinstance(y, list) else np.asarray(y)


def kinds(module: nn.Module) -> list[str]:
    return [type(m).__name__ for m in module.listModules() if not isinstance(m, nn.Container)]


# The same with PyTorch, images as (N, C, H, W) ----------------------------------------------------


class Torch:
    """What TensorFlow's operators compute."""

    def __init__(self) -> None:
        self.torch = pytest.importorskip("torch")
        self.f = self.torch.nn.functional

    def tensor(self, x: Any) -> Any:
        return self.torch.from_numpy(np.ascontiguousarray(x))

    def pad(self, x: Any, k: int, s: int, value: float = 0, dilation: int = 1) -> Any:
        """SAME."""
        widths = []
        span = dilation * (k - 1) + 1
        for n in x.shape[2:]:
            total = max((-(-n // s) - 1) * s + span - n, 0)
            widths = [total // 2, total - total // 2, *widths]
        return self.f.pad(x, widths, value=value)

    def conv(self, x: Any, w: np.ndarray, s: int = 1, same: bool = True, **more: Any) -> Any:
        if same:
            x = self.pad(x, w.shape[0], s, dilation=more.get("dilation", 1))
        return self.f.conv2d(x, self.tensor(w.transpose(3, 2, 0, 1)), stride=s, **more)

    def depthwise(self, x: Any, w: np.ndarray, s: int = 1) -> Any:
        k, _, planes, times = w.shape
        kernels = w.transpose(2, 3, 0, 1).reshape(planes * times, 1, k, k)
        return self.f.conv2d(self.pad(x, k, s), self.tensor(kernels), stride=s, groups=planes)

    def norm(self, x: Any, arrays: Any, eps: float = 1e-3) -> Any:
        scale, offset, mean, variance = (self.tensor(a)[:, None, None] for a in arrays)
        return (x - mean) / (variance + eps).sqrt() * scale + offset


@pytest.fixture
def torch() -> Torch:
    return Torch()


def close(y: np.ndarray, expected: Any) -> None:
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.extra
class TestNetworks:
    @pytest.mark.parametrize("size", [15, None])
    def test_inception(self, torch: Torch, size: int | None) -> None:
        w1, w2, wa, wb, wc = (
            drawn(3, 3, 3, 4),
            drawn(3, 3, 4, 6),
            *(drawn(1, 1, 6, 2) for _ in "abc"),
        )
        wd, n1, fc, bias = drawn(3, 3, 2, 3), statistics(4), drawn(7, 5), drawn(5)
        g = Graph()
        x = g.placeholder("input", (None, size, size, 3))
        y = g.batch_norm("bn", g.conv("c1", x, w1, (2, 2), "VALID"), n1)
        y = g.add("Relu", "r1", y)
        y = g.conv("c2", y, w2, (2, 2), "SAME")
        a = g.add("Relu", "ra", g.conv("a", y, wa))
        b = g.conv("d", g.add("Relu", "rb", g.conv("b", y, wb)), wd)
        c = g.conv("c", g.pool("MaxPool", "pool", y, 3, 1), wc)
        axis = g.const("concat/axis", np.int32(3))
        y = g.add("ConcatV2", "concat", a, b, c, axis, N=3)
        y = g.add(
            "Mean", "mean", y, g.const("mean/axes", np.array([1, 2], np.int32)), keep_dims=True
        )
        y = g.add("Identity", "dropout", y)
        shape = g.add("Shape", "shape", y)
        cut = [g.const(f"cut{i}", np.array([i], np.int32)) for i in (0, 1)]
        batch = g.add("StridedSlice", "batch", shape, cut[0], cut[1], cut[1], shrink_axis_mask=1)
        target = g.add("Pack", "target", batch, g.const("seven", np.int32(7)), N=2, axis=0)
        y = g.add("Reshape", "flat", y, target)
        y = g.add("MatMul", "fc/MatMul", y, g.const("fc/weights", fc))
        y = g.add("BiasAdd", "fc/BiasAdd", y, g.const("fc/biases", bias))
        g.add("Softmax", "prob", y)
        module = loadTF(g.data())
        assert "Transpose" not in kinds(module)
        data = drawn(2, 3, 15, 15)
        t = torch.conv(torch.tensor(data), w1, 2, same=False)
        t = torch.conv(torch.norm(t, n1).relu(), w2, 2)
        parts = [torch.conv(t, wa).relu(), torch.conv(torch.conv(t, wb).relu(), wd)]
        pooled = torch.f.max_pool2d(torch.pad(t, 3, 1, -np.inf), 3, 1)
        parts.append(torch.conv(pooled, wc))
        flat = torch.torch.cat(parts, 1).mean((2, 3))
        close(run(module, data), (flat @ torch.tensor(fc) + torch.tensor(bias)).softmax(1))

    def test_resnet_with_unfused_normalization(self, torch: Torch) -> None:
        w1, w2, w3, wl = drawn(7, 7, 3, 4), drawn(3, 3, 4, 4), drawn(1, 1, 4, 4), drawn(1, 1, 4, 6)
        n1, n2 = statistics(4), statistics(4)
        g = Graph()

        def norm(name: str, x: str, arrays: Any) -> str:
            scale, offset, mean, variance = (
                g.const(f"{name}/{i}", a) for i, a in enumerate(arrays)
            )
            eps = g.const(f"{name}/eps", np.float32(1e-3))
            root = g.add("Rsqrt", f"{name}/Rsqrt", g.add("AddV2", f"{name}/add", variance, eps))
            factor = g.add("Mul", f"{name}/mul", root, scale)
            shift = g.add("Sub", f"{name}/sub", offset, g.add("Mul", f"{name}/mul2", mean, factor))
            return g.add("AddV2", f"{name}/add_1", g.add("Mul", f"{name}/mul_1", x, factor), shift)

        x = g.placeholder("input", (None, 16, 16, 3))
        pads = g.const("pads", np.array([[0, 0], [3, 3], [3, 3], [0, 0]], np.int32))
        y = g.conv("conv1", g.add("Pad", "Pad", x, pads), w1, (2, 2), "VALID")
        y = g.add("Relu", "relu", norm("bn1", y, n1))
        y = g.pool("MaxPool", "pool1", y, 3, 2)
        short = norm("bn_s", g.conv("short", y, w3), n2)
        inner = g.conv("conv2", g.add("Relu", "pre", norm("bn2", y, n2)), w2)
        y = g.add("Relu", "out", g.add("AddV2", "sum", short, inner))
        y = g.add("Mean", "pool5", y, g.const("axes", np.array([1, 2], np.int32)), keep_dims=True)
        g.add("Squeeze", "logits", g.conv("last", y, wl), squeeze_dims=(1, 2))
        module = loadTF(g.data())
        assert not {"Transpose", "SpatialZeroPadding"} & set(kinds(module))
        # the first and the third normalization are in the weights of the convolutions before
        assert kinds(module).count("CMul") == 1
        data = drawn(3, 3, 16, 16)
        t = torch.f.pad(torch.tensor(data), (3, 3, 3, 3))
        t = torch.norm(torch.conv(t, w1, 2, same=False), n1).relu()
        t = torch.f.max_pool2d(torch.pad(t, 3, 2, -np.inf), 3, 2)
        t = torch.norm(torch.conv(t, w3), n2) + torch.conv(torch.norm(t, n2).relu(), w2)
        t = torch.conv(t.relu().mean((2, 3), keepdim=True), wl)
        close(run(module, data), t[:, :, 0, 0])

    @pytest.mark.parametrize("version", ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"])
    def test_mobilenet(self, torch: Torch, version: str) -> None:
        w1, wd, wp, wl = drawn(3, 3, 3, 4), drawn(3, 3, 4, 1), drawn(1, 1, 4, 6), drawn(1, 1, 6, 5)
        n1, n2 = statistics(4), statistics(6)
        g = Graph()
        x = g.placeholder("input", (1, 16, 16, 3))
        y = g.batch_norm("b1", g.conv("c1", x, w1, (2, 2)), n1, op=version)
        y = g.add("Relu6", "r1", y)
        y = g.conv("dw", y, wd, (2, 2), op="DepthwiseConv2dNative")
        y = g.batch_norm("b2", g.conv("pw", y, wp), n2, op=version)
        y = g.pool("AvgPool", "pool", g.add("Relu6", "r2", y), 4, 1, "VALID")
        y = g.add("BiasAdd", "bias", g.conv("last", y, wl), g.const("b", np.arange(5.0)))
        y = g.add("Squeeze", "squeezed", y, squeeze_dims=(1, 2))
        g.add(
            "Reshape", "Reshape_1", g.add("Softmax", "Softmax", y), g.const("to", np.array([-1, 5]))
        )
        module = loadTF(g.data())
        data = drawn(2, 3, 16, 16)
        t = torch.norm(torch.conv(torch.tensor(data), w1, 2), n1).clamp(0, 6)
        t = torch.norm(torch.conv(torch.depthwise(t, wd, 2), wp), n2).clamp(0, 6)
        t = torch.conv(torch.f.avg_pool2d(t, 4, 1), wl)[:, :, 0, 0]
        close(run(module, data), (t + torch.tensor(np.arange(5.0, dtype="f4"))).softmax(1))

    def test_inception_of_2015(self, torch: Torch) -> None:
        w1, n1, fc = drawn(3, 3, 3, 4), statistics(4), drawn(8, 5)
        g = Graph()
        g.add("DecodeJpeg", "DecodeJpeg", g.const("DecodeJpeg/contents", np.float32(0)))
        x = g.add("Mul", "Mul", "DecodeJpeg", g.const("scale", np.float32(2)))
        y = g.conv("conv", x, w1, (1, 1), "VALID")
        scale, offset, mean, variance = (g.const(f"b/{i}", a) for i, a in enumerate(n1))
        y = g.add(
            "BatchNormWithGlobalNormalization", "bn", y, mean, variance, offset, scale,
            variance_epsilon=1e-3, scale_after_normalization=True,
        )  # fmt: skip
        y = g.add("Relu", "relu", g.add("CheckNumerics", "check", y))
        y = g.add("Concat", "join", g.const("join/dim", np.int32(3)), y, y, N=2)
        y = g.pool("AvgPool", "pool_3", y, 8, 1, "VALID")
        y = g.add("Reshape", "pool_3/_reshape", y, g.const("shape", np.array([1, 8])))
        y = g.add("MatMul", "softmax/logits/MatMul", y, g.const("fc", fc))
        g.add("Softmax", "softmax", y)
        with pytest.raises(UnsupportedError, match="'DecodeJpeg'"):
            loadTF(g.data())
        module = loadTF(g.data(), ["Mul:0"], "softmax", shapes={"Mul": (1, 10, 10, 3)})
        data = drawn(1, 3, 10, 10)
        t = torch.norm(torch.conv(torch.tensor(data), w1, same=False), n1).relu()
        t = torch.torch.cat([t, t], 1).mean((2, 3)) @ torch.tensor(fc)
        close(run(module, data), t.softmax(1))

    def test_same_means_do_not_count_the_padding(self, torch: Torch) -> None:
        g = Graph()
        g.pool("AvgPool", "p", g.placeholder("x", (None, 5, 6, 2)), 3, 2)
        data = drawn(2, 2, 5, 6)
        t = torch.tensor(data)
        sums, counts = (torch.f.avg_pool2d(torch.pad(each, 3, 2), 3, 2) for each in (t, t * 0 + 1))
        close(run(loadTF(g.data()), data), sums / counts)

    @pytest.mark.parametrize("side", [7, 8])
    def test_a_transposed_convolution(self, torch: Torch, side: int) -> None:
        w = drawn(3, 3, 4, 2)
        g = Graph()
        x = g.placeholder("x", (None, 4, 4, 2))
        size, kernel = g.const("size", np.array([2, side, side, 4])), g.const("w", w)
        g.add("Conv2DBackpropInput", "y", size, kernel, x, strides=(1, 2, 2, 1), padding="SAME")
        data = drawn(2, 2, 4, 4)
        y = torch.torch.zeros(2, 4, side, side, requires_grad=True)
        torch.conv(y, w.transpose(0, 1, 2, 3), 2).backward(torch.tensor(data))
        close(run(loadTF(g.data()), data), y.grad)

    def test_dilation_in_blocks(self, torch: Torch) -> None:
        w = drawn(3, 3, 2, 3)
        g = Graph()
        x = g.placeholder("x", (None, 9, 10, 2))
        block = g.const("block", np.array([2, 2]))
        y = g.add("SpaceToBatchND", "s", x, block, g.const("pads", np.array([[2, 3], [2, 2]])))
        y = g.conv("c", y, w, padding="VALID")
        y = g.add("BatchToSpaceND", "b", y, block, g.const("crops", np.array([[0, 1], [0, 0]])))
        g.add("BiasAdd", "bias", y, g.const("biases", np.arange(3.0)))
        module = loadTF(g.data())
        assert kinds(module) == ["SpatialDilatedConvolution"]
        data = drawn(2, 2, 9, 10)
        t = torch.conv(torch.tensor(data), w, dilation=2)
        close(run(module, data), t + torch.tensor(np.arange(3.0, dtype="f4"))[:, None, None])

    def test_dilation_with_more_padding_after_than_before(self, torch: Torch) -> None:
        w = drawn(2, 2, 2, 3)
        g = Graph()
        g.conv("c", g.placeholder("x", (None, 6, 7, 2)), w, dilations=(1, 3, 3, 1))
        data = drawn(2, 2, 6, 7)
        y = torch.conv(torch.tensor(data), w, dilation=3)
        close(run(loadTF(g.data()), data), y)


# One operator at a time, with NumPy ---------------------------------------------------------------


def graph_of(build: Callable[[Graph], Any], shape: Any = (None, 3, 4, 5)) -> bytes:
    g = Graph()
    g.placeholder("x", shape)
    build(g)
    return g.data()


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


X = drawn(2, 3, 4, 5)
C4 = drawn(5)
# name -> (how it is built on "x", what it computes of (N, 3, 4, 5) as the graph has it)
OPERATORS: dict[str, tuple[Callable[[Graph], Any], Callable[[np.ndarray], Any]]] = {
    "Reshape": (lambda g: g.add("Reshape", "y", "x", g.const("s", ints(-1, 15, 4))),
                lambda x: x.reshape(-1, 15, 4)),
    "Reshape to rows": (lambda g: g.add("Reshape", "y", "x", g.const("s", ints(-1, 5))),
                        lambda x: x.reshape(-1, 5)),
    "Reshape of lengths": (
        lambda g: g.add("Reshape", "y", "x", g.add("Pack", "p", g.add(
            "StridedSlice", "n", g.add("Shape", "sh", "x"), g.const("a", ints(0)),
            g.const("b", ints(1)), g.const("c", ints(1)), shrink_axis_mask=1),
            g.const("d", np.int32(-1)), N=2, axis=0)), lambda x: x.reshape(2, -1)),
    "Transpose": (lambda g: g.add("Transpose", "y", "x", g.const("p", ints(0, 3, 1, 2))),
                  lambda x: x.transpose(0, 3, 1, 2)),
    "ExpandDims": (lambda g: g.add("ExpandDims", "y", "x", g.const("a", np.int32(-1))),
                   lambda x: x[..., None]),
    "Slice": (lambda g: g.add("Slice", "y", "x", g.const("a", ints(0, 1, 0, 2)),
                              g.const("b", ints(-1, 2, -1, 3))), lambda x: x[:, 1:3, :, 2:5]),
    "StridedSlice": (
        lambda g: g.add("StridedSlice", "y", "x", g.const("a", ints(0, 1, 0)),
                        g.const("b", ints(0, 2, 3)), g.const("c", ints(1, 1, 1)), begin_mask=1,
                        end_mask=1, shrink_axis_mask=2), lambda x: x[:, 1, :3]),
    "Split": (lambda g: [g.add("Split", "s", g.const("a", np.int32(2)), "x", num_split=2),
                         g.add("Sub", "y", "s:1", "s")], lambda x: x[:, :, 2:] - x[:, :, :2]),
    "SplitV": (lambda g: [g.add("SplitV", "s", "x", g.const("z", ints(1, -1)),
                                g.const("a", np.int32(3)), num_split=2),
                          g.add("Relu", "y", "s:1")], lambda x: np.maximum(x[..., 1:], 0)),
    "Unpack": (lambda g: [g.add("Unpack", "u", "x", num=3, axis=1), g.add("Pack", "y", "u:2", "u",
                                                                          N=2, axis=1)],
               lambda x: x[:, [2, 0]]),
    "Tile": (lambda g: g.add("Tile", "y", "x", g.const("t", ints(1, 2, 1, 3))),
             lambda x: np.tile(x, (1, 2, 1, 3))),
    "Mean": (lambda g: g.add("Mean", "y", "x", g.const("a", ints(-1)), keep_dims=True),
             lambda x: x.mean(-1, keepdims=True)),
    "Sum": (lambda g: g.add("Sum", "y", "x", g.const("a", ints(1, 3)), keep_dims=False),
            lambda x: x.sum((1, 3))),
    "Max": (lambda g: g.add("Max", "y", "x", g.const("a", ints(2))), lambda x: x.max(2)),
    "Min that keeps": (lambda g: g.add("Min", "y", "x", g.const("a", ints(1, 2)), keep_dims=True),
                       lambda x: x.min((1, 2), keepdims=True)),
    "PadV2": (lambda g: g.add("PadV2", "y", "x", g.const(
        "p", ints(0, 0, 0, 0, 1, 2, 0, 1).reshape(4, 2)), g.const("v", np.float32(1.5))),
              lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 1)), constant_values=1.5)),
    "MirrorPad": (lambda g: g.add("MirrorPad", "y", "x", g.const(
        "p", ints(0, 0, 1, 2, 1, 0, 0, 0).reshape(4, 2)), mode="REFLECT"),
        lambda x: np.pad(x, ((0, 0), (1, 2), (1, 0), (0, 0)), mode="reflect")),
    "Maximum": (lambda g: g.add("Maximum", "y", "x", g.add("Mul", "m", "x", g.const(
        "c", np.float32(0.2)))), lambda x: np.maximum(x, 0.2 * x)),
    "Minimum": (lambda g: g.add("Minimum", "y", g.const("c", np.float32(0.3)), "x"),
                lambda x: np.minimum(x, 0.3)),
    "Sub from a constant": (lambda g: g.add("Sub", "y", g.const("c", C4), "x"), lambda x: C4 - x),
    "RealDiv": (lambda g: g.add("RealDiv", "y", "x", g.const("c", C4)), lambda x: x / C4),
    "division of a constant": (lambda g: g.add("RealDiv", "y", g.const("c", C4), "x"),
                               lambda x: C4 / x),
    "SquaredDifference": (lambda g: g.add("SquaredDifference", "y", "x", g.const("c", C4)),
                          lambda x: (x - C4) ** 2),
    "AddN": (lambda g: g.add("AddN", "y", "x", "x", "x", N=3), lambda x: 3 * x),
    "Pow": (lambda g: g.add("Pow", "y", "x", g.const("c", np.float32(2))), lambda x: x**2),
    "LeakyRelu": (lambda g: g.add("LeakyRelu", "y", "x", alpha=0.3),
                  lambda x: np.where(x > 0, x, 0.3 * x)),
    "Elu": (lambda g: g.add("Elu", "y", "x"), lambda x: np.where(x > 0, x, np.expm1(x))),
    "Softplus": (lambda g: g.add("Softplus", "y", "x"), lambda x: np.log1p(np.exp(x))),
    "LogSoftmax": (lambda g: g.add("LogSoftmax", "y", "x"),
                   lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
    "MatMul of rows": (lambda g: g.add("MatMul", "y", "x", g.const("w", np.eye(5)[:, :2])),
                       lambda x: x[..., :2]),
    "Switch": (
        lambda g: [g.add("Switch", "s", "x", g.const("t", np.array(False))),
                   g.add("Neg", "no", "s:1"), g.add("Relu", "yes", "s"), g.add("Merge", "y", "no",
                                                                               "yes", N=2)],
        lambda x: np.maximum(x, 0)),
    "ResizeNearestNeighbor": (
        lambda g: g.add("ResizeNearestNeighbor", "y", "x", g.const("s", ints(6, 12))),
        lambda x: x.repeat(2, 1).repeat(3, 2)),
    "LRN": (lambda g: g.add("LRN", "y", "x", depth_radius=1, bias=2.0, alpha=0.5, beta=0.75),
            lambda x: x / (2 + 0.5 * sum(np.pad(x * x, ((0, 0),) * 3 + ((1, 1),))[..., i : i + 5]
                                         for i in range(3))) ** 0.75),
    "transposes around a convolution": (
        lambda g: g.add("Transpose", "y", g.conv("c", g.add(
            "Transpose", "t", "x", g.const("p", ints(0, 3, 1, 2))), np.eye(5)[None, None],
            data_format="NCHW"), g.const("q", ints(0, 2, 3, 1))), lambda x: x),
    "flattened, then more": (
        lambda g: g.add("Relu", "y", g.add("Reshape", "r", g.pool("MaxPool", "m", "x", 1, 1),
                                           g.const("s", ints(-1, 60)))),
        lambda x: np.maximum(x, 0).reshape(-1, 60)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_computes_what_numpy_does(name: str) -> None:
    build, compute = OPERATORS[name]
    x = np.abs(X) + 0.1 if "division" in name else X
    module = loadTF(graph_of(build), layout="file", outputs=["y"])
    y, expected = run(module, x), compute(x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    assert y.shape == expected.shape


def test_a_flattened_image_is_folded_into_the_weights() -> None:
    w, fc = drawn(1, 1, 5, 2), drawn(24, 3)
    g = Graph()
    g.placeholder("x", (None, 3, 4, 5))
    flat = g.add("Reshape", "flat", g.conv("c", "x", w), g.const("s", ints(-1, 24)))
    g.add("MatMul", "y", g.add("Identity", "dropout", flat), g.const("fc", fc))
    module = loadTF(g.data())
    assert kinds(module) == ["SpatialConvolution", "Reshape", "Linear"]
    y = run(module, np.ascontiguousarray(X.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(y, (X @ w[0, 0]).reshape(2, -1) @ fc, rtol=1e-5, atol=1e-5)


def test_layouts_are_as_asked_for() -> None:
    w = drawn(1, 1, 5, 2)
    data = graph_of(lambda g: g.conv("c", "x", w))
    expected = X @ w[0, 0]
    as_file = loadTF(data, layout="file")
    assert kinds(as_file) == ["Transpose", "SpatialConvolution", "Transpose"]
    np.testing.assert_allclose(run(as_file, X), expected, rtol=1e-5, atol=1e-6)
    ours = loadTF(data)
    y = run(ours, np.ascontiguousarray(X.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(y, expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="layout"):
        loadTF(data, layout="NCHW")


def test_inputs_and_outputs_are_those_that_are_named() -> None:
    g = Graph()
    for name in ("a", "b"):
        g.placeholder(name, (None, 3))
    keep = g.placeholder("keep_prob", ())
    g.add("Mul", "product", g.add("Add", "sum", "a", "b"), keep)
    g.add("Neg", "negative", "sum")
    a, b = drawn(2, 3), drawn(2, 3)
    with pytest.raises(UnsupportedError, match="constants="):
        loadTF(g.data())
    module = loadTF(g.data(), ["b", "a"], ["negative", "product"], constants={"keep_prob": 0.5})
    np.testing.assert_allclose(run(module, b, a), [-(a + b), 0.5 * (a + b)], rtol=1e-6)
    cut = loadTF(g.data(), "sum", "negative")
    np.testing.assert_allclose(run(cut, a), -a)
    for bad in ({"inputs": "c"}, {"outputs": "c"}, {"outputs": "sum:1"}, {"constants": {"c": 1}}):
        with pytest.raises(FormatError, match="none"):
            loadTF(g.data(), **({"constants": {"keep_prob": 1.0}} | bad))


def test_a_model_that_was_read_can_be_trained() -> None:
    g = Graph()
    y = g.add("MatMul", "fc/MatMul", g.placeholder("x", (None, 3)), g.const("w", drawn(3, 2)))
    g.add("BiasAdd", "fc/BiasAdd", y, g.const("b", drawn(2)))
    module = loadTF(g.data())
    assert module[0].getName() == "fc"
    before = module.state_dict()
    module.training()
    x = drawn(4, 3)
    module.backward(x, np.ones_like(module.forward(x).numpy()))
    module.updateParameters(0.1)
    assert not np.array_equal(module.state_dict()["0.weight"], before["0.weight"])


@pytest.mark.parametrize("dtype", ["f2", "f8", "bfloat16"])
def test_other_types_of_weights(dtype: str) -> None:
    w = drawn(3, 2).astype("f4" if dtype == "bfloat16" else dtype)
    g = Graph()
    g.placeholder("x", (None, 3), "f4" if dtype == "bfloat16" else dtype)
    g.add("MatMul", "y", "x", g.const("w", np.float32(0)))
    node = g.nodes[1]
    tensor = SCHEMA.new("TensorProto", tensor_shape=SCHEMA.new(
        "TensorShapeProto", dim=[SCHEMA.new("Dim", size=n) for n in (3, 2)]))  # fmt: skip
    if dtype == "bfloat16":
        w = (w.view(np.uint32) >> 16 << 16).view(np.float32)
        tensor.dtype, tensor.tensor_content = 14, (w.view(np.uint32) >> 16).astype("<u2").tobytes()
    elif dtype == "f2":
        tensor.dtype, tensor.half_val = 19, w.view(np.uint16).reshape(-1).astype(np.int32)
    else:
        tensor.dtype, tensor.double_val = 2, w.reshape(-1)
    node.attr["value"] = SCHEMA.new("AttrValue", tensor=tensor)
    module = loadTF(g.data())
    assert np.array_equal(module.state_dict()["0.weight"], w.T)


def test_big_endian_arrays_and_text_files(tmp_path: Path) -> None:
    w = drawn(3, 2)
    g = Graph()
    g.placeholder("x", (None, 3))
    g.add("MatMul", "y", "x", g.const("w", w))
    graph = SCHEMA.read(g.data(), "GraphDef")
    path = tmp_path / "graph.pbtxt"
    path.write_text(SCHEMA.text(graph), encoding="utf-8")
    assert np.array_equal(nn.load(path).state_dict()["0.weight"], w.T)
    tensor = g.nodes[1].attr["value"].tensor
    tensor.tensor_content = w.astype(">f4").tobytes()
    assert np.array_equal(loadTF(g.data(), byteOrder="big").state_dict()["0.weight"], w.T)
    with pytest.raises(ValueError, match="byteOrder"):
        loadTF(g.data(), byteOrder="middle")


def test_shared_constants_are_shared_parameters() -> None:
    g = Graph()
    w = g.const("w", drawn(3, 3))
    y = g.add("MatMul", "a", g.placeholder("x", (None, 3)), w)
    g.add("MatMul", "b", y, w)
    module = loadTF(g.data())
    assert module[0].weight is module[1].weight


# What is refused ----------------------------------------------------------------------------------


def chain(op: str, *more: str, **attributes: Any) -> Callable[[Graph], Any]:
    return lambda g: g.add(op, "y", "x", *more, **attributes)


def tensor_with(**fields: Any) -> Callable[[Graph], Any]:
    """A constant whose TensorProto has these fields."""

    def build(g: Graph) -> None:
        g.add("Add", "y", "x", g.const("c", np.zeros(2)))
        tensor = g.nodes[-2].attr["value"].tensor
        for key, value in fields.items():
            setattr(tensor, key, value)

    return build


def shaped(*lengths: int) -> Any:
    return SCHEMA.new("TensorShapeProto", dim=[SCHEMA.new("Dim", size=n) for n in lengths])


ATTACKS: dict[str, tuple[Callable[[Graph], Any], type[FormatError], str]] = {
    "a function of Python": (chain("PyFunc", token="f"), UnsafeError, "PyFunc"),
    "a file that is read": (lambda g: g.add("ReadFile", "r"), UnsafeError, "'r'.*ReadFile"),
    "a file that no output needs": (lambda g: [
        g.add("Neg", "y", "x"), g.add("ReadFile", "r"), g.add("Assert", "a", "r")], UnsafeError,
        "'r'.*ReadFile"),
    "a file that is written": (chain("WriteFile"), UnsafeError, "WriteFile"),
    "a checkpoint": (lambda g: g.add("RestoreV2", "save/restore"), UnsafeError, "RestoreV2"),
    "an operator that is none": (chain("Evil"), UnsupportedError, "'y'.*'Evil'"),
    "a function of the library": (chain("PartitionedCall"), UnsupportedError, "functions"),
    "a variable": (chain("VariableV2"), UnsupportedError, "frozen graph"),
    "a loop": (chain("NextIteration"), UnsupportedError, "loops"),
    "a cycle": (lambda g: [g.add("Add", "a", "x", "b"), g.add("Neg", "b", "a"), g.add("Neg", "y",
                                                                                      "b")],
                UnsupportedError, "cycles: .*a, b"),
    "a node that is not there": (chain("Add", "nothing"), FormatError, "'nothing', which y reads"),
    "a name twice": (lambda g: [g.add("Neg", "y", "x"), g.add("Neg", "y", "x")], FormatError,
                     "once"),
    "no name": (lambda g: g.add("Neg", "", "x"), FormatError, "name"),
    "an output that is not there": (chain("Add", "x:7"), FormatError, "output 7"),
    "too few inputs": (lambda g: g.add("Add", "y", "x"), FormatError, "2 to 2 inputs"),
    "a huge fill": (lambda g: g.add("Add", "y", "x", g.add(
        "Fill", "f", g.const("s", ints(100_000, 100_000)), g.const("v", np.float32(0)))),
        LimitError, "computed from constants"),
    "a huge tile": (lambda g: g.add("Add", "y", "x", g.add(
        "Tile", "f", g.const("v", np.ones((2, 2))), g.const("s", ints(100_000, 100_000)))),
        LimitError, "computed from constants"),
    "a huge range": (lambda g: g.add("Add", "y", "x", g.add(
        "Range", "f", g.const("a", np.int32(0)), g.const("b", np.int32(2**31 - 1)),
        g.const("c", np.int32(1)))), LimitError, "computed from constants"),
    "a huge product of constants": (lambda g: g.add("Add", "y", "x", g.add(
        "Add", "f", g.const("a", np.ones((10_000, 1))), g.const("b", np.ones((1, 10_000))))),
        LimitError, "computed from constants"),
    "one number for too many": (tensor_with(tensor_content=b"", tensor_shape=shaped(2**40)),
                                LimitError, "repeated"),
    "a negative length": (tensor_with(tensor_shape=shaped(-2, -1)), FormatError, "lengths"),
    "a huge shape": (tensor_with(tensor_shape=shaped(2**40, 2**40, 0)), FormatError, "memory"),
    "fewer bytes than the shape has": (tensor_with(tensor_content=bytes(4)), TruncatedError,
                                       "8 bytes"),
    "more numbers than the shape has": (
        tensor_with(tensor_content=b"", float_val=np.ones(3, "f4")), FormatError, "2 numbers"),
    "too many axes": (tensor_with(tensor_shape=shaped(*[1] * 33)), LimitError, "32 axes"),
    "a text": (tensor_with(dtype=7), UnsupportedError, "found text"),
    "a resource": (tensor_with(dtype=20), UnsupportedError, "a resource"),
    "an attribute of another kind": (
        lambda g: g.conv("y", "x", np.ones((1, 1, 5, 2)), padding=3), FormatError, "s for padding"),
    "a stride of 0": (lambda g: g.conv("y", "x", np.ones((1, 1, 5, 2)), (0, 1)), FormatError,
                      "at least 1"),
    "planes that do not fit": (lambda g: g.conv("y", "x", np.ones((1, 1, 4, 2))), FormatError,
                               "4 planes"),
    "a kernel larger than the image": (
        lambda g: g.conv("y", "x", np.ones((9, 9, 5, 2)), padding="VALID"), FormatError, "of 9"),
    "a batch normalization that trains": (
        lambda g: g.add("FusedBatchNorm", "y", "x", *(g.const(f"c{i}", C4) for i in range(4))),
        UnsupportedError, "is_training false"),
    "a wrong Reshape": (lambda g: g.add("Reshape", "y", "x", g.const("s", ints(-1, -1))),
                        FormatError, "one -1"),
    "an axis that is not there": (lambda g: g.add("Mean", "y", "x", g.const("a", ints(4))),
                                  FormatError, "axes of 4"),
    "a permutation that is none": (lambda g: g.add("Transpose", "y", "x", g.const(
        "p", ints(0, 0, 1, 2))), FormatError, "each axis once"),
    "a million parts": (lambda g: g.add("Split", "y", g.const("a", np.int32(3)), "x",
                                        num_split=10**6), FormatError, "so many parts"),
    "no outputs": (lambda g: None, FormatError, "an output"),
    "pixels from their centres": (lambda g: g.add("ResizeBilinear", "y", "x", g.const(
        "s", ints(6, 8)),
                                                  half_pixel_centers=True), UnsupportedError,
                                  "half_pixel"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_raise_their_class_of_error(name: str) -> None:
    build, error, message = ATTACKS[name]
    data = graph_of(build)
    with pytest.raises(FormatError, match=message) as caught:
        loadTF(data)
    assert isinstance(caught.value, error), (type(caught.value), caught.value)


def test_what_the_outputs_do_not_need_may_be_anything_when_they_are_named() -> None:
    g = Graph()
    g.placeholder("x", (None, 3))
    g.add("Neg", "y", "x")
    g.add("SaveV2", "save", "y")
    g.add("Unheard", "of", "y")
    assert np.array_equal(
        run(loadTF(g.data(), outputs="y"), np.ones((1, 3), "f4")), -np.ones((1, 3))
    )


def test_a_library_that_is_used_is_refused_with_a_sentence() -> None:
    g = Graph()
    g.placeholder("x", (None, 3))
    g.add("my_function", "y", "x")
    function = SCHEMA.new("FunctionDef", signature=SCHEMA.new("OpDef", name="my_function"))
    library = SCHEMA.new("FunctionDefLibrary", function=[function])
    with pytest.raises(UnsupportedError, match="a graph without functions: freeze"):
        loadTF(g.data(library=library))


def test_a_saved_model_is_named() -> None:
    with pytest.raises(FormatError, match="SavedModel"):
        loadTF(b"\x08\x01\x12\x00")


@pytest.mark.extra
def test_a_chain_of_many_nodes_takes_no_recursion() -> None:
    g = Graph()
    g.placeholder("n0", (None, 3))
    for i in range(5_000):
        g.add("Identity" if i % 50 else "Neg", f"n{i + 1}", f"n{i}")
    assert len(loadTF(g.data()).modules) == 100


def test_limits_are_the_callers() -> None:
    data = graph_of(lambda g: g.conv("c", "x", np.ones((1, 1, 5, 2))))
    for limits in (Limits(max_bytes=10), Limits(max_nodes=3), Limits(max_overhead=100)):
        with pytest.raises(LimitError, match="at most"):
            loadTF(data, limits=limits)
    with pytest.raises(TypeError, match="no classes"):
        nn.formats.tensorflow.load(data, classes=[nn.Linear])


def test_cuts_at_each_byte_raise_format_errors_or_load() -> None:
    def build(g: Graph) -> None:
        y = g.batch_norm("b", g.conv("c", "x", np.ones((1, 1, 5, 2))), [np.ones(2)] * 4)
        g.add("Reshape", "y", g.add("Relu", "r", y), g.const("s", ints(-1, 24)))

    data = graph_of(build)
    for k in range(len(data)):
        with contextlib.suppress(FormatError):
            loadTF(data[:k])
