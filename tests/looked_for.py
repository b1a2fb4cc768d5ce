"""What docs/looked_for.md claims of layers and models: `CLAIMS` has proofs by a row's first cell.

A claim is a function of a folder for files that fails where the row is wrong.  Rows that point to
an example below have it in the page, which test_readme.py runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import errors, nn, optim
from tapegrad.nn.formats import onnx

CLAIMS: dict[str, Callable[[Path], object]] = {}
RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(2, 4, 6, 6)).astype(np.float32)
ROWS = RNG.normal(size=(8, 3)).astype(np.float32)
LABELS = np.arange(8) % 2


def shows(*rows: str) -> Callable[[Callable[[Path], object]], None]:
    def keep(claim: Callable[[Path], object]) -> None:
        for row in rows:
            assert row not in CLAIMS, row
            CLAIMS[row] = claim

    return keep


def equal(a, b, tolerance=1e-6):
    a, b = (np.asarray(v.numpy() if isinstance(v, tg.Tensor) else v) for v in (a, b))
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def trainer_of(model=None, criterion=None, **options) -> optim.Trainer:
    model = model or nn.Sequential(nn.Linear(3, 2))
    criterion = criterion or nn.CrossEntropyCriterion()
    return optim.Trainer(model, criterion, optim.SGD(model, lr=0.1), progress=False, **options)


# Layers


@shows("InstanceNorm1d, 2d, 3d")
def _(folder):
    layer = nn.InstanceNorm(4)
    equal(layer(IMAGE).numpy().mean(axis=(2, 3)), np.zeros((2, 4)))
    assert layer(IMAGE[..., 0]).shape == (2, 4, 6)
    assert not list(layer.named_buffers())


@shows("EmbeddingBag")
def _(folder):
    bag = nn.EmbeddingBag(5, 3, "sum", padding_idx=0)
    equal(bag(np.array([[1, 2], [3, 0]])), [bag.weight.data[[1, 2]].sum(0), bag.weight.data[3]])
    flat, offsets = np.array([1, 2, 3]), [2]
    bags = np.split(flat, offsets)
    padded = np.array([np.pad(b, (0, 2 - len(b))) for b in bags])
    equal(bag(padded), bag(np.array([[1, 2], [3, 0]])))


@shows("Flatten")
def _(folder):
    assert nn.Flatten(1, 2)(IMAGE).shape == (2, 24, 6)


@shows("AdaptiveAvgPool1d, 3d, AdaptiveMaxPool1d, 3d")
def _(folder):
    assert nn.AdaptiveAvgPool1d(3)(IMAGE[0]).shape == (4, 6, 3)
    assert nn.AdaptiveMaxPool3d(2)(IMAGE).shape == (2, 2, 2, 2)
    assert nn.AdaptiveMaxPool1d(2)(IMAGE[0]).shape == (4, 6, 2)
    assert nn.AdaptiveAvgPool3d(2)(IMAGE).shape == (2, 2, 2, 2)
    assert nn.SpatialAdaptiveAveragePooling(3, 2)(IMAGE).shape == (2, 4, 2, 3)
    assert nn.SpatialAdaptiveMaxPooling(3, 2)(IMAGE).shape == (2, 4, 2, 3)


@shows("ConvTranspose with groups")
def _(folder):
    parts = [nn.SpatialFullConvolution(2, 1, 3, 3) for _ in range(2)]
    layer = nn.Concat(1, *(nn.Sequential(nn.Narrow(1, 2 * i, 2), p) for i, p in enumerate(parts)))
    equal(layer(IMAGE)[:, 1:], parts[1](IMAGE[:, 2:]))


@shows("Upsample bicubic, or with align_corners=False")
def _(folder):
    x = np.arange(4.0).reshape(1, 1, 1, 4)
    at = (2 * np.arange(8) + 1) / 8 - 1  # centres of 8 pixels, as align_corners=False has them
    grid = np.stack([at, np.zeros(8)], axis=-1).reshape(1, 1, 8, 2)
    y = nn.GridSample(padding_mode="border")([x, grid])
    equal(y.numpy().ravel(), [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    rows, columns = RNG.normal(size=(9, 6)), RNG.normal(size=(7, 6))
    assert (rows @ tg.Tensor(IMAGE) @ columns.T).shape == (2, 4, 9, 7)


@shows("grid_sample")
def _(folder):
    grid = np.zeros((2, 1, 1, 2), np.float32)
    equal(nn.GridSample("nearest", "border", True)([IMAGE, grid]).shape, (2, 4, 1, 1))
    with pytest.raises(ValueError, match="padding_mode"):
        nn.GridSample(padding_mode="reflection")


@shows(
    "LSTM and GRU of PyTorch: several layers, both directions, batch first, h0 and c0, "
    "returned states"
)
def _(folder):
    layer = nn.RNNLayer("lstm", 3, 4, num_layers=2, batch_first=True, bidirectional=True)
    y, (h, c) = layer([ROWS[None], None])
    assert (y.shape, h.shape, c.shape) == ((1, 8, 8), (4, 1, 4), (4, 1, 4))
    equal(layer([ROWS[None], [h, c]])[0].shape, y.shape)


@shows("decoder layer of the Transformer")
def _(folder):
    layer = nn.TransformerDecoderLayer(4, 2, 8)
    assert layer([np.ones((2, 3, 4)), np.ones((2, 5, 4))]).shape == (2, 3, 4)


@shows("attention weights, key_padding_mask")
def _(folder):
    layer = nn.MultiHeadAttention(4, 2, need_weights=True)
    layer.setMask(key_padding_mask=np.array([[False, False, True]]))
    _, weights = layer(np.ones((1, 3, 4)))
    equal(weights.numpy()[..., 2], 0 * weights.numpy()[..., 2])


@shows("learned positional encodings")
def _(folder):
    assert nn.LearnedPositions(5, 4)(np.zeros((2, 3, 4))).shape == (2, 3, 4)
    assert nn.CAdd(3, 4)(np.zeros((2, 3, 4))).shape == (2, 3, 4)


@shows("AlphaDropout")
def _(folder):
    x = RNG.normal(size=4000)
    selu = 1.0507 * nn.ELU(1.6733)(x)
    equal([selu.numpy().mean(), selu.numpy().std()], [0, 1], 0.05)
    dropped = nn.AlphaDropout(0.2)(selu).numpy()
    equal([dropped.mean(), dropped.std()], [0, 1], 0.15)


@shows("Dropout with p = 1")
def _(folder):
    with pytest.raises(ValueError, match="p is 1"):
        nn.Dropout(1)
    equal(nn.MulConstant(0)(ROWS), 0 * ROWS)


@shows("ConvLSTM")
def _(folder):
    of_x, of_h = (nn.Conv2d(4, 4 * 2, 3, padding=1) for _ in "xh")
    of_h = nn.Conv2d(2, 4 * 2, 3, padding=1)
    h = c = np.zeros((2, 2, 6, 6), np.float32)
    for x in (IMAGE, -IMAGE):
        i, f, o, g = np.split(of_x(x) + of_h(h), 4, axis=1)
        c = tg.ops.sigmoid(f) * c + tg.ops.sigmoid(i) * np.tanh(g)
        h = tg.ops.sigmoid(o) * np.tanh(c)
    h.sum().backward()
    assert of_h.weight.grad.numpy().any()


@shows('Conv2d(padding="same")')
def _(folder):
    assert nn.Conv2d(4, 5, 3, padding=3 // 2)(IMAGE).shape == (2, 5, 6, 6)
    even = nn.Sequential(nn.SpatialZeroPadding(0, 1, 0, 1), nn.Conv2d(4, 5, 2))
    assert even(IMAGE).shape == (2, 5, 6, 6)
    with pytest.raises(
        ValueError, match=r"found 'same'; of an odd kernel and stride 1 the same is"
    ):
        nn.Conv2d(4, 5, 3, padding="same")


@shows("a stride by position, `Conv2d(3, 8, 3, 2)`")
def _(folder):
    layer = nn.Conv2d(4, 8, 3, 2, 1, 1, 2)
    assert (layer.stride, layer.padding, layer.dilation, layer.groups) == (
        (2, 2),
        (1, 1),
        (1, 1),
        2,
    )


@shows("padding_mode of convolutions")
def _(folder):
    for pad in (nn.SpatialReflectionPadding, nn.SpatialReplicationPadding):
        assert nn.Sequential(pad(1, 1, 1, 1), nn.Conv2d(4, 5, 3))(IMAGE).shape == (2, 5, 6, 6)


@shows("BatchNorm with momentum=None")
def _(folder):
    with pytest.raises(ValueError, match="momentum is None, it must be a number: for statistics"):
        nn.SpatialBatchNormalization(4, momentum=None)
    layer = nn.BatchNormalization(3)
    for n, batch in enumerate((ROWS[:4], ROWS[4:]), 1):
        layer.momentum = 1 / n
        layer(batch)
    equal(layer.running_mean, ROWS.mean(0))
    other = nn.BatchNormalization(3)
    optim.update_bn(other, ROWS, batch_size=4)
    equal(other.running_mean, ROWS.mean(0))


@shows("BatchNorm with track_running_stats=False")
def _(folder):
    model = nn.Sequential(nn.BatchNormalization(3))
    model.evaluate()
    model[0].training()
    before = model(ROWS).numpy() / model[0].weight.numpy()
    equal(before.mean(0), np.zeros(3), 1e-5)


@shows("spectral_norm")
def _(folder):
    layer = nn.SpectralNorm(nn.Linear(3, 4, bias=False))
    equal(np.linalg.norm(layer(np.eye(3)).numpy(), 2), 1, 1e-5)
    assert not list(layer.named_buffers())


@shows("weight_norm")
def _(folder):
    assert nn.WeightNorm(nn.Linear(3, 4))(ROWS).shape == nn.LinearWeightNorm(3, 4)(ROWS).shape


@shows("layers of integer images")
def _(folder):
    x = np.full((1, 1, 2, 2), 200, np.uint8)
    equal(nn.SpatialAveragePooling(2, 2)(x), np.full((1, 1, 1, 1), 200.0))


# Models


@shows("forward hooks, gradient hooks")
def _(folder):
    layer, seen = nn.Linear(3, 2), []
    handles = [
        layer.register_forward_pre_hook(lambda m, x: seen.append("pre")),
        layer.register_forward_hook(lambda m, x, y: seen.append("forward")),
        layer.register_full_backward_pre_hook(lambda m, g: seen.append("backward pre")),
        layer.register_full_backward_hook(lambda m, gx, gy: seen.append("backward")),
    ]
    layer(tg.Parameter(ROWS)).sum().backward()
    assert seen == ["pre", "forward", "backward pre", "backward"]
    for handle in handles:
        handle.remove()
    layer(tg.Parameter(ROWS)).sum().backward()
    assert len(seen) == 4


@shows("keyword arguments of a call")
def _(folder):
    class Masked(nn.Module):
        def updateOutput(self, x, mask=None):
            return x if mask is None else x * mask

    equal(Masked()(ROWS, mask=0 * ROWS), 0 * ROWS)


@shows("ModuleList, ModuleDict", "names for children")
def _(folder):
    class Net(nn.Module):
        def __init__(self):
            self.body = [nn.Linear(3, 3), (nn.Linear(3, 3), nn.ReLU())]
            self.heads = {"a": nn.Linear(3, 1)}

    names = list(Net().state_dict())
    assert [n for n in names if "weight" in n] == [
        "body.0.weight",
        "body.1.0.weight",
        "heads.a.weight",
    ]
    assert "heads.a" in dict(Net().named_modules())
    assert list(nn.Sequential(nn.Linear(1, 1, bias=False)).state_dict()) == ["0.weight"]


@shows("slices of a Sequential, item assignment")
def _(folder):
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2), nn.ReLU())
    assert len(model[:-1].modules) == 3
    model[1] = nn.ReLU()
    del model[3]
    model.insert(nn.Tanh(), 0)
    model.remove(0)
    assert [type(m).__name__ for m in model.modules] == ["Linear", "ReLU", "Linear"]


@shows("functional calls with other parameters")
def _(folder):
    layer, w = nn.Linear(3, 2, bias=False), np.ones((2, 3))
    slope = tg.grad(lambda w: nn.functional_call(layer, {"weight": w}, ROWS).sum())(w)
    equal(slope, np.tile(ROWS.sum(0), (2, 1)), 1e-5)


@shows("parametrizations", "pruning")
def _(folder):
    class Pruned(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(3, 2)
            self.mask = nn.Buffer(np.array([[1, 0, 1], [0, 1, 1]], np.float32))

        def updateOutput(self, x):
            return nn.functional_call(self.layer, {"weight": self.layer.weight * self.mask}, x)

    model = Pruned()
    optimizer, before = optim.SGD(model, lr=0.1), model.layer.weight.numpy().copy()
    (model(ROWS) ** 2).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(model.layer.weight.numpy() != before, model.mask.numpy() == 1)


@shows("requires_grad of one Parameter")
def _(folder):
    layer = nn.Linear(3, 2)
    layer.weight.freeze()
    assert (layer.weight.frozen, layer.bias.frozen) == (True, False)
    optimizer, before = optim.SGD(layer, lr=0.1), layer.state_dict()
    layer(ROWS).sum().backward()
    optimizer.step()
    equal(layer.weight, before["weight"])
    assert (layer.bias.numpy() != before["bias"]).all()
    layer.weight.unfreeze()
    layer.requires_grad_(False)
    assert not list(layer.named_trainable())


@shows("mixed precision, loss scaling")
def _(folder):
    x = np.full((1, 70_000), 2, np.float16)
    assert float(nn.MSECriterion()(nn.Identity().half()(x), 0 * x)) == 4  # the sum is 280,000


@shows("bfloat16")
def _(folder):
    assert nn.Linear(1, 1).type(np.float16).weight.dtype == np.float16
    with pytest.raises(AttributeError, match="NumPy has no bfloat16"):
        nn.Linear(1, 1).bfloat16()


@shows("export to ONNX")
def _(folder):
    model = nn.Sequential(nn.Linear(3, 2))
    onnx.export(model, ROWS, folder / "model.onnx")
    equal(nn.load(folder / "model.onnx")(ROWS), model(ROWS))


@shows("remembered states in a recorded step")
def _(folder):
    layer = nn.SeqLSTM(3, 2).remember("both")
    with pytest.raises(errors.ReplayError, match=r"WithStates\(module\)"):
        tg.replay(layer)(ROWS[:, None])


@shows("a compiled model")
def _(folder):
    model = nn.Linear(3, 2)
    step = tg.compile(lambda x: model(x).sum())
    for scale in (1, 2, 3):
        equal(step(ROWS * scale), model(ROWS * scale).sum(), 1e-5)


# Pictures


@shows("summary of an input or a shape, as torchinfo's")
def _(folder):
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert "1×4×30×30" in model.summary((1, 3, 32, 32))
    assert "2×4×4×4" in model.summary(np.ones((2, 3, 6, 6), np.float32))


@shows("a picture of the model, as torchview's and plot_model's")
def _(folder):
    assert "Linear" in nn.picture(nn.Sequential(nn.Linear(3, 2)), ROWS).svg


@shows("filters, feature maps, attention maps, histograms of gradients")
def _(folder):
    model = nn.Sequential(nn.Conv2d(4, 2, 3))
    model(IMAGE).sum().backward()
    attention, words = nn.MultiHeadAttention(4, 2), np.ones((1, 3, 4), np.float32)
    for figure in (
        nn.plot_filters(model, "0"),
        nn.plot_feature_maps(model, "0", IMAGE),
        nn.plot_attention(attention, words),
        nn.plot_histograms(model, bins=4),
    ):
        assert figure.axes


@shows("dim= and keepdim= of functions and methods")
def _(folder):
    assert tg.Tensor(IMAGE).mean(axis=1, keepdims=True).shape == (2, 1, 6, 6)

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(dim=1)

    with pytest.raises(TypeError) as caught:
        Mean()(IMAGE)
    assert "dim= is called axis= here, as in NumPy" in caught.value.__notes__
