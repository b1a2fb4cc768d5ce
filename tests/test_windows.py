"""Layers that look through windows, against loops written from their definitions and PyTorch.

Sequences and films are convolved and pooled by arrangements of two-dimensional kernels, and windows
that differ by lists of positions; the loops here know nothing of either.  Where PyTorch is
installed, the layers that it has too are compared with it, gradients included.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapegrad import devices, nn
from tapegrad.autograd import Tensor, ops, vjp
from tapegrad.nn.formats import torch7

seeds = st.integers(0, 2**16)


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def near(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    scale = max(1.0, float(np.max(np.abs(expected), initial=0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * scale)


# Windows as an axis -------------------------------------------------------------------------------


@given(st.integers(0, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), seeds)
def test_unfold_reads_windows_and_fold_adds_them_back(axis, size, step, dilation, seed):
    shape = [2, 3, 2]
    shape[axis] = dilation * (size - 1) + 1 + seed % 4
    x = random(seed, *shape)
    settings = {"axis": axis, "step": step, "dilation": dilation}
    y = ops.unfold(x, size=size, **settings)
    v = random(seed + 1, *y.shape)
    back = np.zeros_like(x)
    for place in np.ndindex(*y.shape):
        at = list(place[:-1])
        at[axis] = place[axis] * step + place[-1] * dilation
        assert y[place] == x[tuple(at)]
        back[tuple(at)] += v[place]
    assert y.shape[axis] == (shape[axis] - dilation * (size - 1) - 1) // step + 1
    near(ops.fold(v, shape=x.shape, **settings), back)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("unfold: a window spans 5 entries, the axis has only 4", (3, 1, 2)),
        ("unfold: size, step and dilation must be at least 1, found 0, 1, 1", (0, 1, 1)),
    ],
)
def test_unfold_refuses_windows_that_do_not_fit(message, call):
    size, step, dilation = call
    with pytest.raises(ValueError, match=message):
        ops.unfold(np.zeros((2, 4)), axis=1, size=size, step=step, dilation=dilation)


def test_fold_refuses_what_unfold_would_not_return():
    with pytest.raises(ValueError, match=r"fold: x must have shape \(3, 2\), found \(4, 2\)"):
        ops.fold(np.zeros((4, 2)), shape=(4,), axis=0)


@given(st.integers(1, 6), seeds)
def test_largest_positions_rise_and_prefer_the_earlier_of_equals(count, seed):
    x = np.random.default_rng(seed).integers(-2, 2, (2, 6, 3)).astype(float)
    x[0, seed % 6, 1] = np.nan
    found = ops.largest_positions(x, count=count, axis=1)
    for n, f in itertools.product(range(2), range(3)):
        column = np.where(np.isnan(x[n, :, f]), np.inf, x[n, :, f])
        order = sorted(range(6), key=lambda t: (-column[t], t))[:count]
        assert list(found[n, :, f]) == sorted(order)


# Convolution along one and three axes -------------------------------------------------------------


def convolved(x, w, stride, padding, dilation, groups):
    """y, and the two gradients for the cotangent v, entry by entry; any number of axes."""
    sides = x.shape[2:]
    counts = tuple(
        (n + 2 * p - a * (k - 1) - 1) // s + 1
        for n, k, s, p, a in zip(sides, w.shape[2:], stride, padding, dilation, strict=True)
    )
    y = np.zeros((len(x), len(w), *counts))
    v, gx, gw = random(7, *y.shape), np.zeros_like(x), np.zeros_like(w)
    taken = w.shape[1]
    for n, o, *out in np.ndindex(*y.shape):
        first = o // (len(w) // groups) * taken
        for c, *tap in np.ndindex(*w.shape[1:]):
            at = tuple(
                i * s - p + k * a
                for i, k, s, p, a in zip(out, tap, stride, padding, dilation, strict=True)
            )
            if all(0 <= i < size for i, size in zip(at, sides, strict=True)):
                source, weight, here = (n, first + c, *at), (o, c, *tap), (n, o, *out)
                y[here] += w[weight] * x[source]
                gx[source] += w[weight] * v[here]
                gw[weight] += x[source] * v[here]
    return y, v, gx, gw


@given(st.data(), st.sampled_from([1, 3]), seeds)
def test_convolution_of_sequences_and_films_is_the_sum_of_its_definition(data, axes, seed):
    groups = data.draw(st.sampled_from([1, 2]))
    stride, padding, dilation, kernel = (
        tuple(data.draw(st.integers(low, high)) for _ in range(axes))
        for low, high in ((1, 2), (0, 1), (1, 2), (1, 2))
    )
    sides = tuple(
        max(1, a * (k - 1) + 1 - 2 * p) + data.draw(st.integers(0, 2))
        for k, p, a in zip(kernel, padding, dilation, strict=True)
    )
    x, w = random(seed, 2, 2 * groups, *sides), random(seed + 1, 2 * groups, 2, *kernel)
    y, v, gx, gw = convolved(x, w, stride, padding, dilation, groups)
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if axes == 1:
        settings = {name: s[0] if isinstance(s, tuple) else s for name, s in settings.items()}
    function, adjoint = {
        1: (ops.conv1d, ops.conv1d_input_gradient),
        3: (ops.conv3d, ops.conv3d_input_gradient),
    }[axes]
    found, pull = vjp(lambda x, w: function(x, w, **settings), (x, w))
    near(found, y)
    for one, wanted in zip(pull(v), (gx, gw), strict=True):
        near(one, wanted)
    near(adjoint(v, w, x.shape, **settings), gx)


X, W = np.ones((1, 2, 3, 4, 5)), np.ones((2, 2, 2, 2, 2))


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("conv3d: x must have 5 axes, found shape \\(2, 3, 4, 5\\)", lambda: ops.conv3d(X[0], W)),
        ("conv3d: stride must be an int or three ints .* found \\(1, 2\\)",
         lambda: ops.conv3d(X, W, (1, 2))),
        ("conv3d: padding must be at least 0, found -1", lambda: ops.conv3d(X, W, 1, -1)),
        ("unfold: a window spans 5 entries, the axis has only 3",
         lambda: ops.conv3d(X, W, 1, 0, (4, 1, 1))),
        ("conv3d: x has 2 channels, w of shape .* takes 1 in each of 1 groups",
         lambda: ops.conv3d(X, W[:, :1])),
        ("conv1d: w must have 3 axes, found", lambda: ops.conv1d(X[0, 0], W)),
        ("max_pool3d: kernel must be an int or three ints", lambda: ops.max_pool3d(X, (1, 2))),
        ("max_pool3d: x must have the five axes", lambda: ops.max_pool3d(X[0], 2)),
        ("avg_pool3d: x must have the five axes", lambda: ops.avg_pool3d(X[0], 2)),
        ("positions have shape \\(2,\\), expected \\(3,\\)",
         lambda: ops.check_positions(np.zeros(2, int), (3,), 4)),
    ],
)  # fmt: skip
def test_bad_input_is_named_with_what_was_found_and_expected(message, call):
    with pytest.raises(ValueError, match=message):
        call()


# Pooling of films ---------------------------------------------------------------------------------


@given(st.data(), seeds)
def test_max_pooling_of_films_takes_the_first_of_equal_maxima_and_keeps_nan(data, seed):
    kernel, stride = (tuple(data.draw(st.integers(1, high)) for _ in range(3)) for high in (3, 2))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    sides = tuple(k + data.draw(st.integers(0, 2)) for k in kernel)
    x = np.random.default_rng(seed).integers(-2, 2, (1, 2, *sides)).astype(float)
    x[:, 0][np.random.default_rng(seed).random((1, *sides)) < 0.05] = np.nan
    y, indices = ops.max_pool3d(x, kernel, stride, padding, return_indices=True)
    for place in np.ndindex(*y.shape):
        best = None
        for tap in np.ndindex(*kernel):
            at = tuple(
                o * s - p + k for o, s, p, k in zip(place[2:], stride, padding, tap, strict=True)
            )
            if all(0 <= i < n for i, n in zip(at, sides, strict=True)):
                value = x[(*place[:2], *at)]
                if best is None or value > best[0] or (np.isnan(value) and not np.isnan(best[0])):
                    best = value, np.ravel_multi_index(at, sides)
        np.testing.assert_equal(y[place], best[0])
        if not np.isnan(best[0]):
            assert indices[place] == best[1]


def test_mean_of_films_is_the_mean_of_each_window():
    x = random(0, 2, 2, 4, 5, 3)
    y = ops.avg_pool3d(x, (2, 3, 1), (2, 1, 2))
    for n, c, t, i, j in np.ndindex(*y.shape):
        window = x[n, c, 2 * t : 2 * t + 2, i : i + 3, 2 * j : 2 * j + 1]
        assert abs(y[n, c, t, i, j] - window.mean()) < 1e-14


# Windows that differ ------------------------------------------------------------------------------


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.integers(1, 7))
def test_adaptive_pooling_covers_the_image_with_bins(height, width, rows, columns):
    x = random(height * 8 + width, 2, height, width)
    largest = nn.SpatialAdaptiveMaxPooling(columns, rows).double().forward(x).numpy()
    mean = nn.SpatialAdaptiveAveragePooling(columns, rows).double().forward(x).numpy()
    for i, j in itertools.product(range(rows), range(columns)):
        top, left = i * height // rows, j * width // columns
        bottom, right = -(-(i + 1) * height // rows), -(-(j + 1) * width // columns)
        window = x[:, top:bottom, left:right]
        near(largest[:, i, j], window.max(axis=(1, 2)))
        near(mean[:, i, j], window.mean(axis=(1, 2)))


def test_fractional_pooling_draws_anew_until_its_windows_are_fixed():
    devices.manual_seed(3)
    x = random(1, 4, 3, 9, 8)
    pooling = nn.SpatialFractionalMaxPooling(2, 3, 4, 5).double()
    outputs = [pooling.forward(x).numpy().copy() for _ in range(4)]
    assert outputs[0].shape == (4, 3, 5, 4)
    assert any(not np.array_equal(outputs[0], other) for other in outputs[1:])
    pooling.fixPoolingRegions()
    kept = pooling.forward(x).numpy().copy()
    np.testing.assert_array_equal(kept, outputs[-1])
    np.testing.assert_array_equal(pooling.forward(x).numpy(), kept)
    pooling.fixPoolingRegions(False)
    again = [pooling.forward(x).numpy().copy() for _ in range(4)]
    assert any(not np.array_equal(kept, other) for other in again)


def test_fixed_windows_outlast_clear_state_and_follow_the_input():
    x = np.random.default_rng(3).normal(size=(1, 9, 9))
    pooling = nn.SpatialFractionalMaxPooling(2, 2, 5, 6).double().fixPoolingRegions()
    expected = pooling.forward(x).numpy()
    assert np.array_equal(pooling.clearState().forward(x).numpy(), expected)
    strict = pooling.to("strict").forward(Tensor(x, device="strict"))
    assert np.array_equal(strict.numpy(), expected)
    pooling.fixPoolingRegions(False).clearState()
    assert pooling.randomSamples is None


def test_fractional_windows_begin_where_the_sequence_of_the_paper_says():
    x = random(2, 1, 1, 11, 10)
    pooling = nn.SpatialFractionalMaxPooling(3, 2, 0.5, 0.5).double()
    y = pooling.forward(x).numpy()
    u_width, u_height = pooling.randomSamples.numpy()[0, 0]
    starts = []
    for n, pool, u in ((11, 2, u_height), (10, 3, u_width)):
        count = n // 2
        step = (n - pool) / (count - 1)
        inner = [int((i + u) * step) - int(u * step) for i in range(count - 1)]
        starts.append([*inner, n - pool])
    assert y.shape == (1, 1, 5, 5)
    for i, j in np.ndindex(5, 5):
        top, left = starts[0][i], starts[1][j]
        assert y[0, 0, i, j] == x[0, 0, top : top + 2, left : left + 3].max()


@pytest.mark.parametrize(
    ("message", "make"),
    [
        ("at least 2 entries", lambda: nn.SpatialFractionalMaxPooling(1, 2, 3, 3)),
        ("ratios between 0 and 1", lambda: nn.SpatialFractionalMaxPooling(2, 2, 0.5, 3)),
        ("width must be 2 … 16", lambda: nn.FeatureLPPooling(17, 1, 2)),
        ("size must be odd", lambda: nn.SpatialCrossMapLRN(4)),
        ("use odd lengths", lambda: nn.SpatialDivisiveNormalization(1, np.ones(4))),
        ("it must have 1 or 2", lambda: nn.SpatialSubtractiveNormalization(1, np.ones((1, 1, 1)))),
        ("axis by axis \\(T, W, H\\)",
         lambda: nn.VolumetricFullConvolution(1, 1, 2, 2, 2, adjT=1)),
        ("groups = 2 must divide in_channels = 3", lambda: nn.Conv1d(3, 4, 2, groups=2)),
        ("kernel_size must be 3 int", lambda: nn.Conv3d(1, 1, (2, 2))),
        ("an integer of at least 1, found 1.5", lambda: nn.UpSampling(1.5)),
        ("nearest neighbours need a scale", lambda: nn.UpSampling({"oheight": 2, "owidth": 2})),
        ("give oheight and owidth", lambda: nn.SpatialUpSamplingBilinear({"owidth": 2})),
        ("undoes a SpatialMaxPooling, not a Tanh", lambda: nn.SpatialMaxUnpooling(nn.Tanh())),
        ("so that its windows do not overlap",
         lambda: nn.SpatialMaxUnpooling(nn.SpatialMaxPooling(2, 2, 1, 1))),
        ("rows of \\(from, to\\)", lambda: nn.SpatialConvolutionMap([1, 2], 2, 2)),
        ("numbered from 0, found -1", lambda: nn.SpatialConvolutionMap([[0, -1]], 2, 2)),
        ("larger than the image", lambda: nn.SpatialConvolutionLocal(1, 1, 2, 2, 3, 3)),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_with_the_reason(message, make):
    with pytest.raises(ValueError, match=message):
        make()


# Undoing a max pooling ----------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [2, 3])
def test_unpooling_puts_maxima_back_and_zeros_elsewhere(axes):
    pool, unpool = {
        2: (nn.SpatialMaxPooling, nn.SpatialMaxUnpooling),
        3: (nn.VolumetricMaxPooling, nn.VolumetricMaxUnpooling),
    }[axes]
    pooling = pool(*(2,) * axes).double()
    undoing = unpool(pooling).double()
    x = random(4, 2, 3, *(5,) * axes)
    y = pooling.forward(x).numpy()
    back = undoing.forward(y).numpy()
    assert back.shape == x.shape
    assert set(np.unique(back[back != 0])) == set(np.unique(y))
    np.testing.assert_array_equal(back[back != 0], x[back != 0])
    assert np.count_nonzero(back) == y.size


def test_unpooling_looks_at_the_picks_before_it_uses_them():
    pooling = nn.SpatialMaxPooling(2, 2).double()
    undoing = nn.SpatialMaxUnpooling(pooling).double()
    with pytest.raises(nn.ShapeError, match="SpatialMaxUnpooling: nothing was pooled yet"):
        undoing.forward(np.ones((1, 2, 2)))
    y = pooling.forward(random(5, 2, 4, 4)).numpy()
    with pytest.raises(nn.ShapeError, match="does not belong to what was pooled"):
        undoing.forward(np.ones((2, 3, 2)))
    places, sides = pooling.picks
    for wrong, lowest, highest in ((places + 16, 16, 31), (places - 16, -16, -1)):
        pooling._tapegrad_run.picks = (wrong, sides)
        with pytest.raises(nn.ShapeError, match=r"range from -?\d+ to -?\d+, .* from 0 to 15"):
            undoing.forward(y)
        assert lowest <= int(np.min(np.asarray(wrong))) <= int(np.max(np.asarray(wrong))) <= highest


def test_picks_are_kept_by_plain_calls_copied_and_cleared():
    pooling = nn.SpatialMaxPooling(2, 2)
    pair = nn.ConcatTable(pooling, nn.SpatialMaxUnpooling(pooling))
    y = pooling(random(7, 1, 4, 4).astype(np.float32))
    undone = pair.get(1)(y).numpy()
    copied = pair.clone()
    near(copied.get(1)(y).numpy(), undone)
    assert copied.double().get(0).picks is not None
    copied.get(0).clearState()
    assert copied.get(0).picks is None
    assert pooling.picks is not None


def test_a_pooling_without_unpooling_keeps_nothing():
    pooling = nn.SpatialMaxPooling(2, 2).double()
    pooling.forward(random(6, 1, 4, 4))
    assert pooling.picks is None


def test_an_unpooling_from_a_file_works_as_the_one_that_was_written(tmp_path):
    pooling = nn.SpatialMaxPooling(2, 2)
    model = nn.Sequential(pooling, nn.SpatialMaxUnpooling(pooling)).double()
    x = random(15, 2, 1, 4, 4)
    torch7.save(model, tmp_path / "model.t7")
    near(torch7.load(tmp_path / "model.t7").forward(x).numpy(), model.forward(x).numpy())


# Smaller promises ---------------------------------------------------------------------------------


def test_the_kernel_of_a_local_normalization_stays_the_caller_s():
    kernel = np.full((3, 3), 2.0)
    layer = nn.SpatialContrastiveNormalization(2, kernel)
    assert np.all(kernel == 2.0)
    near(layer.kernel.numpy(), np.full((3, 3), 1 / 18))


def test_a_kernel_of_one_axis_stands_for_its_outer_product():
    line = np.array([1.0, 2.0, 1.0])
    x = random(8, 2, 6, 5)
    for kind in (nn.SpatialSubtractiveNormalization, nn.SpatialDivisiveNormalization):
        one = kind(2, line).double().forward(x).numpy()
        near(one, kind(2, np.outer(line, line)).double().forward(x).numpy())


def test_a_constant_image_has_no_contrast_and_a_gradient_without_nan():
    layer = nn.SpatialContrastiveNormalization(1, np.ones((3, 3))).double()
    for value in (0.0, 0.5):
        x = np.full((1, 4, 4), value)
        y = layer.forward(x).numpy()
        assert np.max(np.abs(y)) < 1e-10
        assert np.all(np.isfinite(layer.backward(x, np.ones_like(y)).numpy()))


def test_connection_tables_choose_which_planes_meet():
    x = random(9, 3, 5, 6)
    table = [(0, 0), (2, 0), (1, 1), (2, 1)]
    layer = nn.SpatialConvolutionMap(table, 3, 2).double()
    w, b = layer.weight.numpy(), layer.bias.numpy()
    expected = np.zeros((2, 4, 4)) + b[:, None, None]
    for kernel, (source, to) in zip(w, table, strict=True):
        for i, j in np.ndindex(4, 4):
            expected[to, i, j] += np.sum(kernel * x[source, i : i + 2, j : j + 3])
    near(layer.forward(x).numpy(), expected)


def test_tables_of_connections_are_made_for_the_usual_cases():
    np.testing.assert_array_equal(nn.tables.full(2, 2), [[0, 0], [1, 0], [0, 1], [1, 1]])
    np.testing.assert_array_equal(nn.tables.oneToOne(3), [[0, 0], [1, 1], [2, 2]])
    drawn = nn.tables.random(5, 4, 2)
    assert drawn.shape == (8, 2)
    np.testing.assert_array_equal(drawn[:, 1], [0, 0, 1, 1, 2, 2, 3, 3])
    assert all(len(set(drawn[drawn[:, 1] == to, 0])) == 2 for to in range(4))
    # Dealt out: no plane twice before two packs of two pairs are used up.
    assert len(set(drawn[:4, 0])) == len(set(drawn[4:, 0])) == 4
    assert set(drawn[:, 0]) <= set(range(5))
    with pytest.raises(ValueError, match="nto must be 1 … nin = 3, found 4"):
        nn.tables.random(3, 2, 4)


def test_a_full_convolution_reaches_the_size_of_its_reference():
    layer = nn.VolumetricFullConvolution(2, 3, 3, 3, 3, 2, 2, 2, 1, 1, 1).double()
    x, reference = random(10, 2, 3, 2, 4), np.ones((7, 6, 4, 7))
    y = layer.forward([x, reference])
    assert y.shape == (3, 6, 4, 7)
    layer.backward([x, reference], np.ones(y.shape))
    assert not layer.gradInput[1].numpy().any()


# PyTorch ------------------------------------------------------------------------------------------


def conv_pair(axes, **settings):
    def make(torch):
        layer = getattr(nn, f"Conv{axes}d")(4, 6, (2, 3, 2)[:axes], **settings)
        other = getattr(torch.nn, f"Conv{axes}d")(4, 6, (2, 3, 2)[:axes], **settings)
        return layer, other, (2, 4, *(5, 6, 7)[:axes])

    return make


def transposed_pair(torch):
    layer = nn.SpatialFullConvolution(4, 3, 3, 2, 2, 1, 1, 0, 1, 0)
    other = torch.nn.ConvTranspose2d(4, 3, (2, 3), (1, 2), (0, 1), (0, 1))
    return layer, other, (2, 4, 4, 5)


def transposed_pair_of_films(torch):
    layer = nn.VolumetricFullConvolution(2, 3, 2, 3, 2, 1, 2, 2, 0, 1, 1, 0, 1, 0)
    other = torch.nn.ConvTranspose3d(2, 3, (2, 2, 3), (1, 2, 2), (0, 1, 1), (0, 0, 1))
    return layer, other, (2, 2, 3, 4, 3)


PAIRS = {
    **{f"Conv{axes}d": conv_pair(axes) for axes in (1, 2, 3)},
    **{
        f"Conv{axes}d of {groups} groups": conv_pair(
            axes, groups=groups, stride=2, padding=1, dilation=2
        )
        for axes in (1, 2, 3)
        for groups in (2,)
    },
    "Conv2d without bias": conv_pair(2, bias=False),
    "depthwise Conv1d": lambda torch: (
        nn.Conv1d(3, 6, 3, groups=3), torch.nn.Conv1d(3, 6, 3, groups=3), (2, 3, 7)
    ),
    "depthwise Conv2d": lambda torch: (
        nn.Conv2d(3, 6, 3, groups=3, dilation=(1, 2)),
        torch.nn.Conv2d(3, 6, 3, groups=3, dilation=(1, 2)),
        (2, 3, 6, 7),
    ),
    "depthwise Conv3d": lambda torch: (
        nn.Conv3d(3, 3, 2, groups=3, stride=(1, 2, 1)),
        torch.nn.Conv3d(3, 3, 2, groups=3, stride=(1, 2, 1)),
        (2, 3, 4, 5, 4),
    ),
    "SpatialFullConvolution": transposed_pair,
    "VolumetricFullConvolution": transposed_pair_of_films,
    "VolumetricMaxPooling": lambda torch: (
        nn.VolumetricMaxPooling(3, 2, 3, 2, 1, 2, 1, 0, 1).ceil(),
        torch.nn.MaxPool3d((3, 3, 2), (2, 2, 1), (1, 1, 0), ceil_mode=True),
        (2, 2, 5, 6, 4),
    ),
    "VolumetricAveragePooling": lambda torch: (
        nn.VolumetricAveragePooling(2, 3, 2, 1, 2, 1),
        torch.nn.AvgPool3d((2, 2, 3), (1, 1, 2)),
        (2, 2, 4, 5, 6),
    ),
    "SpatialAdaptiveMaxPooling": lambda torch: (
        nn.SpatialAdaptiveMaxPooling(3, 4), torch.nn.AdaptiveMaxPool2d((4, 3)), (2, 2, 7, 5)
    ),
    "SpatialAdaptiveAveragePooling": lambda torch: (
        nn.SpatialAdaptiveAveragePooling(3, 4), torch.nn.AdaptiveAvgPool2d((4, 3)), (2, 2, 7, 5)
    ),
    "SpatialReflectionPadding": lambda torch: (
        nn.SpatialReflectionPadding(1, 2, 3, 0),
        torch.nn.ReflectionPad2d((1, 2, 3, 0)),
        (2, 2, 4, 5),
    ),
    "VolumetricReplicationPadding": lambda torch: (
        nn.VolumetricReplicationPadding(1, 2, 3, 0, 2, 1),
        torch.nn.ReplicationPad3d((1, 2, 3, 0, 2, 1)),
        (2, 2, 3, 4, 5),
    ),
    "SpatialCrossMapLRN": lambda torch: (
        nn.SpatialCrossMapLRN(3, 0.5, 0.75, 2.0),
        torch.nn.LocalResponseNorm(3, 0.5, 0.75, 2.0),
        (2, 5, 3, 4),
    ),
    "PixelShuffle": lambda torch: (nn.PixelShuffle(3), torch.nn.PixelShuffle(3), (2, 18, 3, 4)),
    "UpSampling to the nearest": lambda torch: (
        nn.UpSampling(3), torch.nn.Upsample(scale_factor=3, mode="nearest"), (2, 2, 3, 2, 4)
    ),
}  # fmt: skip


@pytest.mark.extra
@pytest.mark.parametrize("name", PAIRS)
def test_pytorch_computes_the_same(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    torch.manual_seed(0)
    layer, other, shape = PAIRS[name](torch)
    layer, other = layer.double(), other.double()
    for ours, theirs in zip(layer.parameters()[0], other.parameters(), strict=True):
        ours.data[...] = theirs.detach().numpy()
    x = random(11, *shape)
    there = torch.tensor(x, requires_grad=True)
    expected = other(there)
    y = layer.forward(x)
    near(y.numpy(), expected.detach().numpy())
    v = random(12, *y.shape)
    expected.backward(torch.tensor(v))
    layer.zeroGradParameters()
    near(layer.backward(x, v).numpy(), there.grad.numpy())
    for ours, theirs in zip(layer.parameters()[1], other.parameters(), strict=True):
        near(ours.numpy(), theirs.grad.numpy())


@pytest.mark.extra
def test_interpolation_agrees_with_pytorch_to_single_precision():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    for shape, sizes in (((2, 2, 3, 5), (7, 6)), ((1, 2, 3, 4, 2), (5, 4, 6))):
        x = random(13, *shape)
        names = ("odepth", "oheight", "owidth")[-len(sizes) :]
        y = nn.UpSampling(dict(zip(names, sizes, strict=True)), "linear").forward(x).numpy()
        mode = {2: "bilinear", 3: "trilinear"}[len(sizes)]
        expected = torch.nn.functional.interpolate(
            torch.tensor(x), sizes, mode=mode, align_corners=True
        )
        # Places are computed in single precision, as in Torch7.
        np.testing.assert_allclose(y, expected.numpy(), rtol=0, atol=2e-6)


@pytest.mark.extra
def test_unpooling_agrees_with_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    x = random(14, 2, 3, 4, 6, 4)
    pooling = nn.VolumetricMaxPooling(2, 2, 2).double()
    undoing = nn.VolumetricMaxUnpooling(pooling).double()
    y, indices = torch.nn.functional.max_pool3d(torch.tensor(x), 2, return_indices=True)
    near(pooling.forward(x).numpy(), y.numpy())
    np.testing.assert_array_equal(np.asarray(pooling.picks[0]), indices.numpy())
    back = torch.nn.functional.max_unpool3d(y, indices, 2)
    near(undoing.forward(Tensor(y.numpy())).numpy(), back.numpy())
