"""Each layer of Caffe computes the formula of Caffe's documentation, written out in NumPy, or what
PyTorch gives; a test demands a case for every entry of the table."""

import io
from pathlib import Path

import numpy as np
import pytest
from caffe_models import drawn, ours

from tapegrad.nn.formats import UnsupportedError, caffe
from tapegrad.nn.formats.caffe.fields import SCHEMA
from tapegrad.nn.formats.caffe.table import TABLE, rows

torch = pytest.importorskip("torch", reason="PyTorch judges convolutions and pooling")
F = torch.nn.functional

CASES = {}


def case(kind, shape, more="", blobs=(), *, bottoms=1, tops=1):
    """Declare what a layer gives for inputs of this shape, as a function of them and the blobs."""

    def declare(function):
        name = f"{kind}: {more}" if more else kind
        assert name not in CASES, name
        CASES[name] = (kind, shape, more, blobs, bottoms, tops, function)
        return function

    return declare


def formula(kind, shape, more, function, blobs=(), **counts):
    case(kind, shape, more, blobs, **counts)(function)


IMAGES = (2, 4, 6, 5)


def tensors(*arrays):
    return [torch.tensor(a) for a in arrays]


def judged(function):
    """A function of PyTorch tensors as one of arrays."""
    return lambda *arrays: function(*tensors(*arrays)).numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def planes(b):
    return b.reshape(1, -1, 1, 1)


W = (6, 4, 3, 2)
formula(
    "Convolution",
    IMAGES,
    "convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 "
    "pad_h: 1 pad_w: 0 stride_h: 2 stride_w: 1 }",
    judged(lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 0))),
    [W, (6,)],
)
formula(
    "Convolution",
    IMAGES,
    "convolution_param { num_output: 6 kernel_size: 3 kernel_size: 2 "
    "dilation: 2 dilation: 1 bias_term: false group: 2 }",
    judged(lambda x, w: F.conv2d(x, w, dilation=(2, 1), groups=2)),
    [(6, 2, 3, 2)],
)
formula(
    "DepthwiseConvolution",
    IMAGES,
    "convolution_param { num_output: 4 kernel_size: 3 }",
    judged(lambda x, w, b: F.conv2d(x, w, b, groups=4)),
    [(4, 1, 3, 3), (4,)],
)
formula(
    "Deconvolution",
    IMAGES,
    "convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 group: 2 }",
    judged(lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 0, 2)),
    [(4, 3, 3, 3), (6,)],
)
formula(
    "Pooling",
    (1, 2, 8, 7),
    "pooling_param { kernel_size: 3 stride: 2 pad: 1 }",
    judged(lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
)
formula(
    "Pooling",
    (1, 2, 8, 7),
    "pooling_param { kernel_size: 3 stride: 2 round_mode: FLOOR }",
    judged(lambda x: F.max_pool2d(x, 3, 2)),
)
formula(
    "Pooling",
    (1, 2, 8, 7),
    "pooling_param { pool: AVE kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 }",
    judged(lambda x: F.avg_pool2d(x, (3, 2), 2, 1, ceil_mode=True)),
)
formula(
    "Pooling",
    IMAGES,
    "pooling_param { pool: MAX global_pooling: true }",
    lambda x: x.max((2, 3), keepdims=True),
)
formula(
    "Pooling",
    IMAGES,
    "pooling_param { pool: AVE global_pooling: true }",
    lambda x: x.mean((2, 3), keepdims=True),
)
formula(
    "InnerProduct",
    IMAGES,
    "inner_product_param { num_output: 3 }",
    lambda x, w, b: x.reshape(2, -1) @ w.T + b,
    [(3, 120), (3,)],
)
formula(
    "InnerProduct",
    IMAGES,
    "inner_product_param { num_output: 3 axis: -1 bias_term: false }",
    lambda x, w: x @ w.T,
    [(3, 5)],
)
formula(
    "InnerProduct",
    IMAGES,
    "inner_product_param { num_output: 3 axis: 2 transpose: true }",
    lambda x, w, b: x.reshape(2, 4, -1) @ w + b,
    [(30, 3), (3,)],
)
formula(
    "BatchNorm",
    IMAGES,
    "batch_norm_param { eps: 0.01 }",
    lambda x, m, v, f: (x - planes(m / f)) / np.sqrt(planes(v / f) + 0.01),
    [(4,), (4,), (1,)],
)
formula(
    "BatchNorm",
    (3, 4),
    "",
    lambda x, m, v, f: (x - m / f) / np.sqrt(v / f + 1e-5),
    [(4,), (4,), (1,)],
)
formula(
    "Scale",
    IMAGES,
    "scale_param { bias_term: true }",
    lambda x, w, b: x * planes(w) + planes(b),
    [(4,), (4,)],
)
formula("Scale", IMAGES, "scale_param { axis: 2 num_axes: -1 }", lambda x, w: x * w, [(6, 5)])
formula(
    "Scale", IMAGES, "scale_param { axis: -3 num_axes: 2 }", lambda x, w: x * w[..., None], [(4, 6)]
)
formula("Bias", IMAGES, "", lambda x, b: x + planes(b), [(4,)])
formula(
    "LRN",
    IMAGES,
    "lrn_param { local_size: 3 alpha: 0.3 beta: 0.6 k: 2 }",
    judged(lambda x: F.local_response_norm(x, 3, 0.3, 0.6, 2)),
)
formula(
    "LRN",
    IMAGES,
    "lrn_param { local_size: 3 alpha: 0.3 norm_region: WITHIN_CHANNEL }",
    judged(lambda x: x / (1 + 0.3 * F.avg_pool2d(x * x, 3, 1, 1)) ** 0.75),
)


def mvn(x, axes):
    return (x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + 1e-9)


formula("MVN", IMAGES, "", lambda x: mvn(x, (2, 3)))
formula("MVN", IMAGES, "mvn_param { across_channels: true }", lambda x: mvn(x, (1, 2, 3)))


def normalized(x, s, axes):
    return x / np.sqrt((x * x).sum(axes, keepdims=True) + 1e-10) * planes(s)


formula(
    "Normalize",
    IMAGES,
    "norm_param { across_spatial: false channel_shared: false }",
    lambda x, s: normalized(x, s, 1),
    [(4,)],
)
formula(
    "Normalize",
    IMAGES,
    "norm_param { channel_shared: false }",
    lambda x, s: normalized(x, s, (1, 2, 3)),
    [(4,)],
)
formula("ReLU", IMAGES, "", lambda x: np.maximum(x, 0))
formula("ReLU", IMAGES, "relu_param { negative_slope: 0.3 }", lambda x: np.where(x > 0, x, 0.3 * x))
formula("ReLU6", IMAGES, "", lambda x: np.clip(x, 0, 6))
formula("PReLU", IMAGES, "", lambda x, w: np.where(x > 0, x, planes(w) * x), [(4,)])
formula(
    "PReLU",
    IMAGES,
    "prelu_param { channel_shared: true }",
    lambda x, w: np.where(x > 0, x, w * x),
    [(1,)],
)
formula("ELU", IMAGES, "elu_param { alpha: 0.5 }", lambda x: np.where(x > 0, x, 0.5 * np.expm1(x)))
formula("Swish", IMAGES, "", lambda x: x * sigmoid(x))
formula("Clip", IMAGES, "clip_param { min: -0.5 max: 0.25 }", lambda x: np.clip(x, -0.5, 0.25))
formula("Sigmoid", IMAGES, "", sigmoid)
formula("TanH", IMAGES, "", np.tanh)
formula("AbsVal", IMAGES, "", np.abs)
formula("BNLL", IMAGES, "", lambda x: np.log1p(np.exp(x)))
formula("Threshold", IMAGES, "threshold_param { threshold: 0.2 }", lambda x: (x > 0.2) * 1.0)
formula(
    "Power", IMAGES, "power_param { power: 2 scale: 0.5 shift: 1 }", lambda x: (1 + 0.5 * x) ** 2
)
formula("Power", IMAGES, "power_param { scale: 0.5 shift: 1 }", lambda x: 1 + 0.5 * x)
formula("Power", IMAGES, "power_param { shift: -2 }", lambda x: x - 2)
formula("Exp", IMAGES, "", np.exp)
formula("Exp", IMAGES, "exp_param { base: 2 scale: 0.5 shift: 1 }", lambda x: 2 ** (1 + 0.5 * x))
formula(
    "Log", IMAGES, "log_param { base: 10 scale: 0.5 shift: 9 }", lambda x: np.log10(9 + 0.5 * x)
)
formula("Dropout", IMAGES, "dropout_param { dropout_ratio: 0.3 }", lambda x: x)
formula("Eltwise", IMAGES, "", lambda x, y, z: x + y + z, bottoms=3)
formula("Eltwise", IMAGES, "eltwise_param { operation: PROD }", lambda x, y: x * y, bottoms=2)
formula("Eltwise", IMAGES, "eltwise_param { operation: MAX }", np.maximum, bottoms=2)
formula("Eltwise", IMAGES, "eltwise_param { coeff: 1 coeff: -1 }", np.subtract, bottoms=2)
formula(
    "Eltwise",
    IMAGES,
    "eltwise_param { coeff: 2 coeff: 0.5 coeff: 1 }",
    lambda x, y, z: 2 * x + y / 2 + z,
    bottoms=3,
)
formula("Softmax", IMAGES, "", lambda x: softmax(x, 1))
formula("Softmax", (2, 3, 4), "softmax_param { axis: 1 }", lambda x: softmax(x, 1))
formula("Softmax", IMAGES, "softmax_param { axis: -1 }", lambda x: softmax(x, 3))
formula("SoftmaxWithLoss", (2, 5), "", lambda x, y: softmax(x, 1), bottoms=2)
formula("SigmoidCrossEntropyLoss", (2, 5), "", lambda x, y: sigmoid(x), bottoms=2)
for loss in ("EuclideanLoss", "HingeLoss", "InfogainLoss", "MultinomialLogisticLoss"):
    formula(loss, (2, 5), "", lambda x, y: x, bottoms=2)
formula("Concat", IMAGES, "", lambda x, y: np.concatenate([x, y], 1), bottoms=2)
formula(
    "Concat", IMAGES, "concat_param { axis: -1 }", lambda x, y: np.concatenate([x, y], 3), bottoms=2
)
formula(
    "Concat",
    IMAGES,
    "concat_param { concat_dim: 0 }",
    lambda x, y: np.concatenate([x, y], 0),
    bottoms=2,
)
formula("Slice", IMAGES, "", lambda x: [x[:, :2], x[:, 2:]], tops=2)
formula(
    "Slice",
    IMAGES,
    "slice_param { axis: -2 slice_point: 1 slice_point: 4 }",
    lambda x: [x[:, :, :1], x[:, :, 1:4], x[:, :, 4:]],
    tops=3,
)
formula(
    "Slice",
    IMAGES,
    "slice_param { slice_dim: 1 slice_point: 3 }",
    lambda x: [x[:, :3], x[:, 3:]],
    tops=2,
)
formula("Split", IMAGES, "", lambda x: [x, x], tops=2)
formula("Flatten", IMAGES, "", lambda x: x.reshape(2, -1))
formula("Flatten", IMAGES, "flatten_param { axis: -3 end_axis: 2 }", lambda x: x.reshape(2, 24, 5))
formula(
    "Reshape",
    IMAGES,
    "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }",
    lambda x: x.reshape(2, 2, 60),
)
formula(
    "Reshape",
    IMAGES,
    "reshape_param { shape { dim: 3 dim: -1 } axis: 2 }",
    lambda x: x.reshape(2, 4, 3, 10),
)
formula(
    "Reshape",
    IMAGES,
    "reshape_param { shape { dim: 2 dim: 2 } axis: 1 num_axes: 1 }",
    lambda x: x.reshape(2, 2, 2, 6, 5),
)
formula(
    "Permute",
    IMAGES,
    "permute_param { order: 0 order: 2 order: 3 order: 1 }",
    lambda x: x.transpose(0, 2, 3, 1),
)
formula("Permute", IMAGES, "permute_param { order: 0 order: 3 }", lambda x: x.transpose(0, 3, 1, 2))
formula("Tile", IMAGES, "tile_param { axis: 2 tiles: 3 }", lambda x: np.tile(x, (1, 1, 3, 1)))
formula("Reduction", IMAGES, "reduction_param { axis: 1 }", lambda x: x.sum((1, 2, 3)))
formula(
    "Reduction",
    IMAGES,
    "reduction_param { operation: MEAN axis: -1 coeff: 3 }",
    lambda x: 3 * x.mean(3),
)
formula(
    "Reduction",
    IMAGES,
    "reduction_param { operation: ASUM axis: 2 }",
    lambda x: np.abs(x).sum((2, 3)),
)
formula(
    "Reduction",
    IMAGES,
    "reduction_param { operation: SUMSQ }",
    lambda x: (x * x).sum(keepdims=True).reshape(1),
)
formula(
    "Embed",
    (2, 3),
    "embed_param { num_output: 4 input_dim: 7 }",
    lambda x, w, b: w[x.astype(int)] + b,
    [(7, 4), (4,)],
)

JUDGED_BY_MODELS = {  # by OpenCV, in test_caffe_files.py
    "PriorBox": "ssd", "DetectionOutput": "ssd", "Crop": "segmentation", "Silence": "rectangular",
}  # fmt: skip


def inputs_of(kind, shape, count):
    if kind == "Embed":
        return [np.arange(6).reshape(shape).astype(np.float32)]
    return [drawn(shape, seed) for seed in range(count)]


def blobs_of(kind, shapes):
    arrays = [drawn(shape, 10 + i) for i, shape in enumerate(shapes)]
    if kind == "BatchNorm":
        arrays[1:] = [np.abs(arrays[1]) + 0.5, np.full(1, 2, np.float32)]
    return arrays


def files_of(kind, shape, more, arrays, bottoms, tops):
    names = [f"in{i}" for i in range(bottoms)]
    text = ""
    for name in names:
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        text += f"input_param {{ shape {{ {dims} }} }} }}\n"
    read = " ".join(f'bottom: "{name}"' for name in names)
    gives = " ".join(f'top: "y{i}"' for i in range(tops))
    text += f'layer {{ name: "y" type: "{kind}" {read} {gives} {more} }}'
    net = SCHEMA.read_text(text.encode(), "NetParameter")
    for array in arrays:
        stated = SCHEMA.new("BlobShape", dim=list(array.shape))
        net.layer[-1].blobs.append(
            SCHEMA.new("BlobProto", shape=stated, data=np.ascontiguousarray(array).reshape(-1))
        )
    out = io.BytesIO()
    SCHEMA.write(net, out)
    return text.encode(), out.getvalue()


@pytest.mark.parametrize("name", CASES)
def test_a_layer_gives_what_its_formula_says(name):
    kind, shape, more, blobs, bottoms, tops, function = CASES[name]
    arrays, xs = blobs_of(kind, blobs), inputs_of(kind, shape, bottoms)
    module = caffe.load_caffe_model(*files_of(kind, shape, more, arrays, bottoms, tops))
    given = xs if not kind.endswith("Loss") else xs[:1]  # labels are left out
    found = ours(module, given if len(given) > 1 else given[0])
    wanted = function(*xs, *arrays)
    wanted = wanted if isinstance(wanted, list) else [wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.shape == np.shape(theirs)
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_what_was_read_is_written_and_read_again_with_equal_bits(name, tmp_path):
    kind, shape, more, blobs, bottoms, tops, _ = CASES[name]
    arrays, xs = blobs_of(kind, blobs), inputs_of(kind, shape, bottoms)
    module = caffe.load_caffe_model(*files_of(kind, shape, more, arrays, bottoms, tops))
    xs = xs if not kind.endswith("Loss") else xs[:1]
    files = tmp_path / "a.prototxt", tmp_path / "a.caffemodel"
    if name in NOT_WRITTEN:
        with pytest.raises(UnsupportedError, match=NOT_WRITTEN[name]):
            caffe.save_caffe(module, *files, inputs=list(xs))
        return
    caffe.save_caffe(module, *files, inputs=list(xs))
    again = caffe.load_caffe_model(*files)
    x = xs if len(xs) > 1 else xs[0]
    for mine, theirs in zip(ours(again, x), ours(module, x), strict=True):
        assert np.array_equal(mine, theirs)


# What becomes layers that Caffe has no word for: their classes
NOT_WRITTEN = {
    "MVN": "InstanceNorm",
    "MVN: mvn_param { across_channels: true }": "GroupNorm",
    "Normalize: norm_param { channel_shared: false }": "Normalize",
    "Reduction: reduction_param { operation: SUMSQ }": "keeps the batch",
}


def test_every_entry_of_the_table_is_judged():
    judged_ones = {kind for kind, *_ in CASES.values()} | JUDGED_BY_MODELS.keys()
    assert judged_ones == {entry.name for entry in TABLE}


def test_the_page_has_the_table():
    page = Path(__file__).parents[1] / "docs" / "formats_caffe.md"
    assert "\n".join(rows()) in page.read_text(encoding="utf-8")
