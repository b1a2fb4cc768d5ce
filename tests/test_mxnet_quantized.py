"""Quantized operators against loops over entries, and in a graph with its files."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.nn import mxnet as mx

RNG = np.random.default_rng(0)


def steps(*shape, kind="int8"):
    low, high = (0, 256) if kind == "uint8" else (-127, 128)
    return RNG.integers(low, high, shape).astype(kind)


def nd(x):
    return mx.nd.array(x, dtype=np.asarray(x).dtype)


def ends(low, high):
    return nd(np.array([low], np.float32)), nd(np.array([high], np.float32))


def in_steps(x, low, high, kind):
    """One number, by the definition."""
    if kind == "uint8":
        return int(min(max((x - low) * 255 / (high - low) + 0.5, 0), 255))
    reach = max(abs(low), abs(high))
    return int(math.copysign(min(abs(x) * 127 / reach + 0.5, 127), x))


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_floats_become_steps_and_steps_floats(kind):
    x = np.array([-3.0, -1.0, -0.31, 0.0, 0.26, 0.5, 1.0, 2.0, 5.0], np.float32)
    y, low, high = mx.nd.contrib.quantize(nd(x), *ends(-1.0, 2.0), out_type=kind)
    assert y.dtype == np.dtype(kind).type
    assert y.asnumpy().tolist() == [in_steps(v, -1.0, 2.0, kind) for v in x.tolist()]
    assert (low.asscalar(), high.asscalar()) == ((-2, 2) if kind == "int8" else (-1, 2))
    back = mx.nd.contrib.dequantize(y, low, high).asnumpy()
    size = (high.asscalar() - low.asscalar()) / (254 if kind == "int8" else 255)
    assert np.abs(back - np.clip(x, low.asscalar(), 2)).max() <= size / 2 + 1e-6


def test_the_range_comes_from_the_data_or_from_calibration():
    x = nd(np.array([[0.5, 3.0], [1.0, -4.0]], np.float32))
    y, low, high = mx.nd.contrib.quantize_v2(x)
    assert (y.dtype, low.asscalar(), high.asscalar()) == (np.int8, -4, 4)
    assert y.asnumpy().tolist() == [[16, 95], [32, -127]]
    y, low, high = mx.nd.contrib.quantize_v2(x, out_type="uint8")
    assert (y.dtype, low.asscalar(), high.asscalar()) == (np.uint8, -4, 3)
    given = {"min_calib_range": 0.0, "max_calib_range": 2.0, "out_type": "auto"}
    y, low, high = mx.nd.contrib.quantize_v2(x, **given)
    assert (y.dtype, low.asscalar(), high.asscalar()) == (np.uint8, 0, 2)
    assert y.asnumpy().tolist() == [[64, 255], [128, 0]]
    y, low, high = mx.nd.contrib.quantize_v2(x, **{**given, "min_calib_range": -1.0})
    assert (y.dtype, low.asscalar(), high.asscalar()) == (np.int8, -2, 2)
    again = mx.nd.contrib.quantize_v2(y)  # steps stay
    assert [again[0].asnumpy().tolist(), again[1].asscalar()] == [y.asnumpy().tolist(), -127]
    zeros, low, high = mx.nd.contrib.quantize_v2(mx.nd.zeros((2,)))
    assert zeros.asnumpy().tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("bias", [False, True])
def test_convolution_sums_products_of_steps(kind, bias):
    x, w, b = steps(2, 3, 4, 4, kind=kind), steps(4, 3, 2, 3), steps(4)
    own = [x, w, b][: 3 if bias else 2]
    ranges = [(0.0 if kind == "uint8" else -2.0, 2.5), (-1.0, 0.5), (-0.3, 0.2)][: len(own)]
    y, low, high = mx.nd.contrib.quantized_conv(
        *map(nd, own), *itertools.chain(*(ends(*r) for r in ranges)), kernel=(2, 3), num_filter=4,
        stride=(1, 2), pad=(1, 0), no_bias=not bias,
    )  # fmt: skip
    step = 2.5 / (255 if kind == "uint8" else 127) * 1.0 / 127
    padded = np.pad(x.astype(int), [(0, 0), (0, 0), (1, 1), (0, 0)])
    expected = np.zeros((2, 4, 5, 1), int)
    for n, o, i, j in itertools.product(range(2), range(4), range(5), range(1)):
        part = padded[n, :, i : i + 2, 2 * j : 2 * j + 3]
        expected[n, o, i, j] = np.sum(part * w[o].astype(int))
        if bias:
            expected[n, o, i, j] += int(b[o] * (0.3 / 127) / step)
    assert y.dtype == np.int32
    assert np.abs(y.asnumpy() - expected).max() <= bias  # the bias in float32
    np.testing.assert_allclose(high.asscalar(), step * (2**31 - 1), rtol=1e-6)
    assert low.asscalar() == -high.asscalar()
    floats = mx.nd.contrib.dequantize(y, low, high).asnumpy()
    np.testing.assert_allclose(floats, y.asnumpy() * step, rtol=1e-5)


@pytest.mark.parametrize("flatten", [True, False])
def test_fully_connected_sums_products_of_steps(flatten):
    x, w = steps(2, 3, 4), steps(5, 12 if flatten else 4)
    y, _, high = mx.nd.contrib.quantized_fully_connected(
        nd(x), nd(w), *ends(-1, 2), *ends(-3, 1), num_hidden=5, no_bias=True, flatten=flatten
    )
    rows = x.astype(int).reshape((2, 12) if flatten else (2, 3, 4))
    np.testing.assert_array_equal(y.asnumpy(), rows @ w.astype(int).T)
    np.testing.assert_allclose(high.asscalar(), 2 / 127 * 3 / 127 * (2**31 - 1), rtol=1e-6)


def test_requantize_takes_a_smaller_range():
    x = np.array([2**30, -(2**29), 1000, 0], np.int32)
    y, low, high = mx.nd.contrib.requantize(nd(x), *ends(-8.0, 8.0))
    assert (low.asscalar(), high.asscalar()) == (-4, 4)  # the largest entry
    assert y.asnumpy().tolist() == [127, -64, 0, 0]
    y, low, high = mx.nd.contrib.requantize(
        nd(x), *ends(-8.0, 8.0), min_calib_range=-1.0, max_calib_range=3.0
    )
    assert (low.asscalar(), high.asscalar()) == (-3, 3)
    assert y.asnumpy().tolist() == [127, -85, 0, 0]
    y, low, high = mx.nd.contrib.requantize(nd(x), *ends(-8.0, 8.0), out_type="uint8")
    assert (y.dtype, low.asscalar(), high.asscalar()) == (np.uint8, 0, 4)
    assert y.asnumpy().tolist() == [255, 0, 0, 0]


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_pooling_activation_and_flatten_keep_the_range(kind):
    x, given = steps(1, 2, 4, 4, kind=kind), ends(-1.0, 2.0)
    windows = x.astype(int).reshape(1, 2, 2, 2, 2, 2).swapaxes(3, 4).reshape(1, 2, 2, 2, 4)
    square = {"kernel": (2, 2), "stride": (2, 2)}
    largest = mx.nd.contrib.quantized_pooling(nd(x), *given, pool_type="max", **square)
    np.testing.assert_array_equal(largest[0].asnumpy(), windows.max(-1))
    mean = mx.nd.contrib.quantized_pooling(nd(x), *given, pool_type="avg", **square)
    np.testing.assert_array_equal(mean[0].asnumpy(), np.rint(windows.sum(-1) / 4))
    positive = mx.nd.contrib.quantized_act(nd(x), *given, act_type="relu")
    np.testing.assert_array_equal(positive[0].asnumpy(), np.where(x > 0, x, 0))
    flat = mx.nd.contrib.quantized_flatten(nd(x), *given)
    np.testing.assert_array_equal(flat[0].asnumpy(), x.reshape(1, 32))
    for y, low, high in (largest, mean, positive, flat):
        assert y.dtype == np.dtype(kind).type
        assert (low.asscalar(), high.asscalar()) == (-1, 2)


def quantized_net():
    """data -> int8 -> a layer -> int8 -> relu -> floats, and its parameters."""
    var = mx.sym.Variable
    first = mx.sym.contrib.quantize_v2(var("data"), name="data_quantize")
    layer = mx.sym.contrib.quantized_fully_connected(
        first[0], var("fc_weight_quantize"), var("fc_bias_quantize"), first[1], first[2],
        var("fc_weight_quantize_min"), var("fc_weight_quantize_max"),
        var("fc_bias_quantize_min"), var("fc_bias_quantize_max"), num_hidden=4, name="fc",
    )  # fmt: skip
    again = mx.sym.contrib.requantize(layer[0], layer[1], layer[2], name="requantize_fc")
    act = mx.sym.contrib.quantized_act(again[0], again[1], again[2], act_type="relu", name="act")
    symbol = mx.sym.contrib.dequantize(act[0], act[1], act[2], name="act_dequantize")
    floats = {"fc_weight": RNG.normal(size=(4, 6)), "fc_bias": RNG.normal(size=4)}
    params = {}
    for name, x in floats.items():
        found = mx.nd.contrib.quantize_v2(mx.nd.array(x))
        for end, y in zip(("", "_min", "_max"), found, strict=True):
            params[f"{name}_quantize{end}"] = y
    return symbol, params, floats


def test_a_quantized_graph_runs_and_is_saved(tmp_path):
    symbol, params, floats = quantized_net()
    x = RNG.normal(size=(3, 6)).astype(np.float32)
    expected = np.maximum(x @ floats["fc_weight"].T + floats["fc_bias"], 0)
    prefix = str(tmp_path / "net")
    mx.model.save_checkpoint(prefix, 0, symbol, params, {})
    read, arg, aux = mx.model.load_checkpoint(prefix, 0)
    assert read.tojson() == symbol.tojson()
    assert arg["fc_weight_quantize"].dtype == np.int8
    assert read.infer_type()[0][1:4] == [np.int8, np.int8, np.float32]
    module = mx.mod.Module(read, label_names=None)
    module.bind([("data", (3, 6))], for_training=False)
    module.set_params(arg, aux)
    y = module.predict(mx.io.NDArrayIter(x, batch_size=3)).asnumpy()
    assert np.abs(y - expected).max() < 0.03 * np.abs(expected).max()
    loaded = nn.load(prefix + "-0000.params")
    np.testing.assert_array_equal(loaded.forward(x).numpy(), y)
    assert loaded.variable("fc_weight_quantize").dtype == np.int8
    nn.save(loaded, str(tmp_path / "net.safetensors"))
    other = nn.load(str(tmp_path / "net.safetensors"))
    np.testing.assert_array_equal(other.forward(x).numpy(), y)


def test_what_is_not_quantized_is_refused():
    x, given = mx.nd.ones((1, 1, 2, 2)), ends(-1.0, 1.0)
    with pytest.raises(mx.MXNetError, match="data is int8 or uint8 here, not float32"):
        mx.nd.contrib.quantized_pooling(x, *given, kernel=(2, 2))
    with pytest.raises(mx.MXNetError, match="data is int32 here, not float32"):
        mx.nd.contrib.requantize(x, *given)
    with pytest.raises(mx.MXNetError, match="int8, uint8 or int32, not float32"):
        mx.nd.contrib.dequantize(x, *given)
    with pytest.raises(mx.MXNetError, match='pool_type is "avg" or "max" here, not "sum"'):
        mx.nd.contrib.quantized_pooling(x.astype("int8"), *given, kernel=(2, 2), pool_type="sum")
    with pytest.raises(mx.MXNetError, match="expected one of relu"):
        mx.nd.contrib.quantized_act(x.astype("int8"), *given, act_type="tanh")
