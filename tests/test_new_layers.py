"""Layers that Torch7 lacks, by formula and by small numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.nn import manual_seed

RNG = np.random.default_rng(5)


def test_flatten_joins_axes():
    x = np.arange(24.0).reshape(2, 3, 4)
    for layer, shape in (
        (nn.Flatten(), (2, 12)),
        (nn.Flatten(0), (24,)),
        (nn.Flatten(0, 1), (6, 4)),
        (nn.Flatten(-1), (2, 3, 4)),
    ):
        np.testing.assert_array_equal(layer.forward(x).numpy(), x.reshape(shape))
    assert nn.Flatten().forward(np.zeros((0, 3, 4))).shape == (0, 12)
    with pytest.raises(nn.ShapeError, match="before axis 2"):
        nn.Flatten(2, 1).forward(x)


def test_instance_norm_standardizes_each_channel():
    x = RNG.standard_normal((2, 3, 4, 5))
    mean, var = x.mean(axis=(2, 3), keepdims=True), x.var(axis=(2, 3), keepdims=True)
    y = nn.InstanceNorm(3).forward(x).numpy()
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5))
    with pytest.raises(nn.ShapeError, match="L"):
        nn.InstanceNorm(3).forward(np.ones((2, 3)))


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
def test_bags_of_vectors(mode):
    bag = nn.EmbeddingBag(5, 2, mode, padding_idx=0).double()
    w = bag.weight.numpy()
    reduce = {"mean": np.mean, "sum": np.sum, "max": np.max}[mode]
    y = bag.forward(np.array([[1, 3, 0], [0, 0, 0], [4, 4, 2]])).numpy()
    np.testing.assert_allclose(y[0], reduce(w[[1, 3]], axis=0))
    np.testing.assert_allclose(y[2], reduce(w[[4, 4, 2]], axis=0))
    assert not y[1].any()


def test_weighted_bags():
    bag = nn.EmbeddingBag(5, 2, "sum").double()
    indices, factors = np.array([[1, 3]]), np.array([[0.5, -2.0]])
    w = bag.weight.numpy()
    np.testing.assert_allclose(bag.forward([indices, factors]).numpy()[0], 0.5 * w[1] - 2 * w[3])
    bag.mode = "mean"
    with pytest.raises(nn.ShapeError, match="mode must be 'sum'"):
        bag.forward([indices, factors])


def test_alpha_dropout_keeps_mean_and_variance():
    manual_seed(0)
    y = nn.AlphaDropout(0.3).forward(RNG.standard_normal(200_000)).numpy()
    assert abs(y.mean()) < 0.02
    assert abs(y.var() - 1) < 0.02
    assert len(np.unique(np.round(np.sort(y)[:100], 9))) > 1  # kept entries are below, too
    x = RNG.standard_normal(5)
    np.testing.assert_array_equal(nn.AlphaDropout(0.3).evaluate().forward(x).numpy(), x)


def test_adaptive_pooling_has_bins_of_whole_numbers():
    x = np.arange(7.0)[None]
    np.testing.assert_allclose(nn.AdaptiveAvgPool1d(3).forward(x).numpy(), [[1, 3, 5]])
    np.testing.assert_allclose(nn.AdaptiveMaxPool1d(3).forward(x).numpy(), [[2, 4, 6]])
    film = RNG.standard_normal((1, 2, 4, 5, 6))
    one = nn.AdaptiveAvgPool3d(1).forward(film).numpy()
    np.testing.assert_allclose(one[..., 0, 0, 0], film.mean(axis=(2, 3, 4)))
    with pytest.raises(ValueError, match="or 3 of them"):
        nn.AdaptiveMaxPool3d((1, 2))


def test_a_grid_of_the_pixels_gives_the_image():
    image = RNG.standard_normal((1, 2, 3, 4))
    for align in (False, True):
        rows, columns = ((np.arange(n) * 2 + 1) / n - 1 for n in (3, 4))
        if align:
            rows, columns = np.linspace(-1, 1, 3), np.linspace(-1, 1, 4)
        grid = np.stack(np.meshgrid(columns, rows), axis=-1)[None]
        for mode in ("bilinear", "nearest"):
            layer = nn.GridSample(mode, align_corners=align)
            np.testing.assert_allclose(layer.forward([image, grid]).numpy(), image)
    outside = np.full((1, 1, 1, 2), 5.0)
    assert not nn.GridSample().forward([image, outside]).numpy().any()
    border = nn.GridSample(padding_mode="border").forward([image, outside]).numpy()
    np.testing.assert_allclose(border[..., 0, 0], image[..., -1, -1])


def test_spectral_norm_has_norm_one():
    module = nn.SpectralNorm(nn.Linear(4, 3)).double()
    x = RNG.standard_normal((2, 4))
    w = module.v.numpy()
    expected = x @ (w / np.linalg.norm(w, 2)).T + module.bias.numpy()
    np.testing.assert_allclose(module.forward(x).numpy(), expected)
    before = w.copy()
    module.reset()
    assert (module.v.numpy() != before).any()
    assert len(module.parameters()[0]) == 2
    with pytest.raises(TypeError, match="no parameter called weight"):
        nn.SpectralNorm(nn.Tanh())
