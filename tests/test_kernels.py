"""Convolution and pooling against loops written from their definitions, one entry at a time.

The loops know nothing of patches, layouts or blocks; Hypothesis draws sizes and settings, a seed
the entries.  Beside values: adjointness, ties, NaN, memory layouts, the strict stand-in, bad input,
and the recorded runs of Torch7's own layers.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch7_records import OWN, ROOT, index, resolved

from tapegrad import devices
from tapegrad.autograd import ops, vjp
from tapegrad.autograd.kernels import convolution, pooling
from tapegrad.autograd.kernels.windows import plane_windows

TOLERANCE = {np.dtype("f4"): 2e-5, np.dtype("f8"): 1e-12}

# The definitions, entry by entry ------------------------------------------------------------------


def pair(setting):
    return setting if isinstance(setting, tuple) else (setting, setting)


def window_taps(o, kernel, stride, padding, dilation):
    return [o * stride - padding + k * dilation for k in range(kernel)]


def conv2d_terms(x_shape, w_shape, stride, padding, dilation, groups):
    """Every (n, o, i, j), (o, c, k, l), (n, channel, h, w) whose product is a term of conv2d."""
    (n_images, _, height, width), (n_planes, n_taken, kh, kw) = x_shape, w_shape
    (sh, sw), (ph, pw), (dh, dw) = pair(stride), pair(padding), pair(dilation)
    high = (height + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    wide = (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    terms = []
    for n, o, i, j in itertools.product(range(n_images), range(n_planes), range(high), range(wide)):
        group = o // (n_planes // groups)
        for c, k, m in itertools.product(range(n_taken), range(kh), range(kw)):
            h, w = i * sh - ph + k * dh, j * sw - pw + m * dw
            if 0 <= h < height and 0 <= w < width:
                terms.append(((n, o, i, j), (o, c, k, m), (n, group * n_taken + c, h, w)))
    return (n_images, n_planes, high, wide), terms


def pool_count(size, kernel, stride, padding, dilation, ceil_mode):
    """How many windows there are, found by trying them one after the other."""
    count = 0
    while True:
        start = count * stride - padding
        end = start + dilation * (kernel - 1) + 1
        fits = end <= size + padding
        # With the ceiling, what the window before has left over gets another one.
        left_over = end - stride < size + padding
        if not fits and not (ceil_mode and left_over and start < size):
            return count
        count += 1


def naive_pool_windows(shape, kernel, stride, padding, dilation, ceil_mode):
    """For every output (i, j): the taps of its window, in row-major order, in and out of x."""
    sizes = list(
        zip(shape[2:], pair(kernel), pair(stride), pair(padding), pair(dilation), strict=True)
    )
    counts = [pool_count(*size, ceil_mode) for size in sizes]
    windows = {}
    for i, j in itertools.product(*map(range, counts)):
        taps = [window_taps(o, *size[1:]) for o, size in zip((i, j), sizes, strict=True)]
        windows[i, j] = list(itertools.product(*taps))
    return counts, windows


def naive_max_pool2d(x, kernel, stride, padding, dilation=1, ceil_mode=False):
    n, c, height, width = x.shape
    counts, windows = naive_pool_windows(x.shape, kernel, stride, padding, dilation, ceil_mode)
    y, indices = np.empty((n, c, *counts), x.dtype), np.empty((n, c, *counts), np.int64)
    for a, b in itertools.product(range(n), range(c)):
        for (i, j), taps in windows.items():
            inside = [(h, w) for h, w in taps if 0 <= h < height and 0 <= w < width]
            best = inside[0]
            for h, w in inside[1:]:
                if x[a, b, h, w] > x[a, b][best] or np.isnan(x[a, b, h, w]):
                    best = h, w
            y[a, b, i, j], indices[a, b, i, j] = x[a, b][best], best[0] * width + best[1]
    return y, indices


def naive_avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad, divide):
    n, c, height, width = x.shape
    ph, pw = pair(padding)
    counts, windows = naive_pool_windows(x.shape, kernel, stride, padding, 1, ceil_mode)
    y = np.empty((n, c, *counts), x.dtype)
    for (i, j), taps in windows.items():
        inside = [(h, w) for h, w in taps if 0 <= h < height and 0 <= w < width]
        near = [(h, w) for h, w in taps if -ph <= h < height + ph and -pw <= w < width + pw]
        number = len(near) if count_include_pad else len(inside)
        total = sum(x[:, :, h, w] for h, w in inside)
        y[:, :, i, j] = total / number * (1 if divide else len(taps))
    return y


# Drawing ------------------------------------------------------------------------------------------

dtypes = st.sampled_from([np.dtype("f4"), np.dtype("f8")])
seeds = st.integers(0, 2**16)


def settings_of(low, high):
    return st.integers(low, high) | st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    settings = {
        "stride": draw(settings_of(1, 3)),
        "padding": draw(settings_of(0, 2)),
        "dilation": draw(settings_of(1, 2)),
        "groups": groups,
    }
    sides = [
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 4))
        for k, p, d in zip(
            kernel, pair(settings["padding"]), pair(settings["dilation"]), strict=True
        )
    ]
    channels, planes = (groups * draw(st.integers(1, 3)) for _ in range(2))
    x_shape = (draw(st.integers(1, 3)), channels, *sides)
    return x_shape, (planes, channels // groups, *kernel), settings


@st.composite
def poolings(draw, *, dilated=False):
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    settings = {
        "kernel": kernel,
        "stride": draw(settings_of(1, 4)),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }
    dilation = draw(settings_of(1, 2)) if dilated else 1
    if dilated:
        settings["dilation"] = dilation
    # Large enough that a window without padding fits: none is all padding then.
    sides = [
        d * (k - 1) + 1 + draw(st.integers(0, 5))
        for k, d in zip(kernel, pair(dilation), strict=True)
    ]
    return (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *sides), settings


def assert_near(found, expected, dtype):
    assert found.dtype == dtype
    assert found.shape == expected.shape
    scale = np.max(np.abs(expected), initial=1.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


# Convolution --------------------------------------------------------------------------------------


@given(convolutions(), dtypes, seeds, st.sampled_from([1, 700, 2**21]))
def test_convolution_and_both_gradients_are_the_sums_of_their_definition(
    drawn, dtype, seed, patch_bytes
):
    x_shape, w_shape, settings = drawn
    rng = np.random.default_rng(seed)
    y_shape, terms = conv2d_terms(x_shape, w_shape, **settings)
    x, w, v = (rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape, y_shape))
    y, gx, gw = np.zeros(y_shape), np.zeros(x_shape), np.zeros(w_shape)
    for at_y, at_w, at_x in terms:
        y[at_y] += float(w[at_w]) * float(x[at_x])
        gx[at_x] += float(w[at_w]) * float(v[at_y])
        gw[at_w] += float(v[at_y]) * float(x[at_x])
    settings["patch_bytes"] = patch_bytes
    assert_near(convolution.conv2d(np, x, w, **settings), y, dtype)
    found = convolution.conv2d_input_gradient(np, v, w, shape=x_shape, **settings)
    assert_near(found, gx, dtype)
    found = convolution.conv2d_weight_gradient(np, x, v, shape=w_shape, **settings)
    assert_near(found, gw, dtype)


@pytest.mark.parametrize("channels", [1, 8])
def test_the_example_above_meets_both_layouts(channels):
    rows, columns = plane_windows("here", (1, channels, 5, 6), (3, 3))
    assert convolution._runs_over_channels(channels, 1, rows, columns) == (channels == 8)


@pytest.mark.parametrize(
    ("w_shape", "settings"),
    [
        ((6, 2, 3, 3), {"stride": 2, "padding": 1, "groups": 2}),
        ((5, 4, 3, 2), {"stride": (2, 1), "padding": 1}),
        ((5, 4, 1, 1), {}),
        ((5, 4, 1, 1), {"stride": 2}),
        ((6, 2, 1, 1), {"padding": (0, 1), "groups": 2}),
    ],
)
def test_convolution_adjoints_satisfy_their_inner_products_at_realistic_size(w_shape, settings):
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((9, 4, 24, 21)), rng.standard_normal(w_shape)
    y = convolution.conv2d(np, x, w, **settings)
    v = rng.standard_normal(y.shape)
    gx = convolution.conv2d_input_gradient(np, v, w, shape=x.shape, **settings)
    gw = convolution.conv2d_weight_gradient(np, x, v, shape=w.shape, **settings)
    expected = np.vdot(y, v)
    scale = np.vdot(np.abs(y), np.abs(v))
    assert abs(np.vdot(x, gx) - expected) < 1e-13 * scale
    assert abs(np.vdot(w, gw) - expected) < 1e-13 * scale


def test_windows_that_see_nothing_but_padding_give_zeros():
    x, w = np.ones((1, 1, 3, 4)), np.ones((1, 1, 1, 1))
    settings = {"stride": 10, "padding": 2}
    y = convolution.conv2d(np, x, w, **settings)
    np.testing.assert_array_equal(y, [[[[0.0]]]])
    back = convolution.conv2d_input_gradient(np, y + 1, w, shape=x.shape, **settings)
    np.testing.assert_array_equal(back, np.zeros_like(x))


# Max pooling --------------------------------------------------------------------------------------


@given(poolings(dilated=True), dtypes, seeds, st.sampled_from([1, 2**18]))
def test_max_pooling_takes_the_first_of_equal_maxima_never_padding_and_keeps_nan(
    drawn, dtype, seed, block_bytes
):
    shape, settings = drawn
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 2, shape).astype(dtype)
    x[rng.random(shape) < 0.3] = -np.inf
    x[rng.random(shape) < 0.05] = np.nan
    y, indices = pooling.max_pool2d(np, x, **settings, block_bytes=block_bytes)
    expected, places = naive_max_pool2d(x, **settings)
    assert y.dtype == dtype
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, places)


def test_max_pooling_of_an_image_without_anything_finite_picks_entries_of_the_image():
    x = np.full((1, 1, 3, 3), -np.inf)
    y, indices = pooling.max_pool2d(np, x, kernel=3, stride=1, padding=1)
    assert np.all(y == -np.inf)
    np.testing.assert_array_equal(indices[0, 0], [[0, 0, 1], [0, 0, 1], [3, 3, 4]])


def test_max_pooling_counts_more_taps_than_a_byte_holds():
    x = np.random.default_rng(0).standard_normal((2, 1, 20, 19))
    y, indices = pooling.max_pool2d(np, x, kernel=(18, 17), stride=1)
    expected, places = naive_max_pool2d(x, (18, 17), 1, 0)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, places)


def test_max_pooling_of_integers_pads_with_what_is_never_larger():
    x = np.random.default_rng(0).integers(-128, -120, (1, 2, 4, 5)).astype(np.int8)
    y, indices = pooling.max_pool2d(np, x, kernel=3, stride=2, padding=1)
    expected, places = naive_max_pool2d(x, 3, 2, 1)
    assert y.dtype == np.int8
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, places)


@given(poolings(dilated=True), seeds)
def test_unpooling_and_gathering_at_the_picks_are_adjoint_and_gather_gives_the_maxima(drawn, seed):
    shape, settings = drawn
    rng = np.random.default_rng(seed)
    # Small integers: sums are exact in any order, so equality is too.
    x, u = (rng.integers(-9, 9, shape).astype(float) for _ in range(2))
    y, indices = pooling.max_pool2d(np, x, **settings)
    v = rng.integers(-9, 9, y.shape).astype(float)
    np.testing.assert_array_equal(pooling.max_pool2d_gather(np, x, indices), y)
    spread = pooling.max_unpool2d(np, v, indices, shape=shape)
    assert np.vdot(u, spread) == np.vdot(pooling.max_pool2d_gather(np, u, indices), v)
    expected = np.zeros(shape)
    for n, c, i, j in np.ndindex(*y.shape):
        expected[n, c, *divmod(indices[n, c, i, j], shape[3])] += v[n, c, i, j]
    np.testing.assert_array_equal(spread, expected)


# Average pooling ----------------------------------------------------------------------------------


@given(poolings(), dtypes, st.booleans(), st.booleans(), seeds)
def test_average_pooling_divides_by_what_torch7_counts(drawn, dtype, include, divide, seed):
    shape, settings = drawn
    rng = np.random.default_rng(seed)
    settings.update(count_include_pad=include, divide=divide)
    x = rng.standard_normal(shape).astype(dtype)
    y = pooling.avg_pool2d(np, x, **settings)
    assert_near(y, naive_avg_pool2d(x.astype(float), **settings), dtype)
    v = rng.standard_normal(y.shape).astype(dtype)
    # The adjoint entry by entry: its matrix is the transpose of the linear map's.
    units = np.eye(x.size).reshape(-1, *shape)
    maps = [np.vdot(naive_avg_pool2d(unit, **settings), v.astype(float)) for unit in units[:24]]
    found = pooling.avg_pool2d_gradient(np, v, shape=shape, **settings)
    assert found.shape == shape
    assert_near(found.ravel()[:24], np.array(maps), dtype)


def test_average_pooling_of_nan_and_infinity_stays_within_their_windows():
    x = np.ones((1, 1, 4, 4))
    x[0, 0, 0, 0], x[0, 0, 3, 3] = np.nan, np.inf
    y = pooling.avg_pool2d(np, x, kernel=2)
    np.testing.assert_array_equal(y[0, 0], [[np.nan, 1], [1, np.inf]])


def test_average_pooling_of_integers_is_not_truncated():
    x = np.array([[[[1, 2], [3, 5]]]])
    assert pooling.avg_pool2d(np, x, kernel=2).item() == 2.75


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "ceil_mode", "count"),
    [
        (5, 2, 2, 0, False, 2),
        (5, 2, 2, 0, True, 3),
        (6, 3, 2, 1, False, 3),
        (6, 3, 2, 1, True, 4),
        (4, 2, 2, 1, True, 3),
        (5, 2, 5, 0, True, 1),  # a second window would begin at 5, outside of 0 … 4
        (3, 2, 4, 1, True, 1),  # … here at 3, in the padding behind the image
        (1, 2, 2, 0, True, 1),  # smaller than the kernel, and yet its window begins inside
        (1, 1, 1, 0, False, 1),
    ],
)
def test_the_number_of_windows_follows_torch7(size, kernel, stride, padding, ceil_mode, count):
    x = np.ones((1, 1, size, size))
    settings = {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    assert pooling.max_pool2d(np, x, **settings)[0].shape == (1, 1, count, count)
    assert pooling.avg_pool2d(np, x, **settings).shape == (1, 1, count, count)
    assert pool_count(size, kernel, stride, padding, 1, ceil_mode) == count


# Every kernel, in every memory layout and on every array type -------------------------------------


def calls():
    """name -> (kernel, its arrays, its settings)."""
    rng = np.random.default_rng(11)

    def array(*shape):
        return rng.standard_normal(shape)

    found = {}
    for name, w_shape, settings in (
        ("planes", (2, 1, 2, 3), {"padding": (1, 0)}),
        ("rows", (4, 6, 3, 3), {"stride": 2, "padding": 1}),
        ("groups", (4, 3, 2, 2), {"dilation": 2, "groups": 2}),
        ("single", (4, 6, 1, 1), {}),
    ):
        x = array(3, w_shape[1] * settings.get("groups", 1), 6, 7)
        w = array(*w_shape)
        v = array(*convolution.conv2d(np, x, w, **settings).shape)
        found[f"conv2d {name}"] = convolution.conv2d, (x, w), settings
        given_x, given_w = {"shape": x.shape, **settings}, {"shape": w.shape, **settings}
        found[f"input gradient {name}"] = convolution.conv2d_input_gradient, (v, w), given_x
        found[f"weight gradient {name}"] = convolution.conv2d_weight_gradient, (x, v), given_w
    x = array(3, 2, 6, 7)
    for name, settings in (
        ("tiles", {"kernel": 2}),
        ("overlap", {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ):
        y, indices = pooling.max_pool2d(np, x, **settings)
        v = array(*y.shape)
        found[f"max {name}"] = pooling.max_pool2d, (x,), settings
        found[f"gather {name}"] = pooling.max_pool2d_gather, (x, indices), {}
        found[f"unpool {name}"] = pooling.max_unpool2d, (v, indices), {"shape": x.shape}
        found[f"average {name}"] = pooling.avg_pool2d, (x,), settings
        given_x = {"shape": x.shape, **settings}
        found[f"average gradient {name}"] = pooling.avg_pool2d_gradient, (v,), given_x
    return found


CALLS = calls()
every_call = pytest.mark.parametrize(
    ("kernel", "arrays", "settings"), list(CALLS.values()), ids=list(CALLS)
)


def results(kernel, xp, arrays, settings):
    result = kernel(xp, *arrays, **settings)
    return list(result) if isinstance(result, tuple) else [result]


def reversed_view(a):
    return np.ascontiguousarray(a[:, ::-1, ::-1, ::-1])[:, ::-1, ::-1, ::-1]


def channels_last(a):
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def every_other(a):
    wide = np.full((2 * a.shape[0], *a.shape[1:3], 2 * a.shape[3]), 7, a.dtype)
    wide[::2, :, :, ::2] = a
    return wide[::2, :, :, ::2]


@every_call
@pytest.mark.parametrize(
    "layout",
    [np.asfortranarray, reversed_view, channels_last, every_other],
    ids=lambda f: f.__name__,
)
def test_strides_do_not_matter(kernel, arrays, settings, layout):
    expected = results(kernel, np, arrays, settings)
    given = [layout(a) for a in arrays]
    for found, wanted in zip(results(kernel, np, given, settings), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)


@every_call
def test_inputs_may_be_read_only_and_results_are_their_own_contiguous_memory(
    kernel, arrays, settings
):
    given = [a.copy() for a in arrays]
    for a in given:
        a.setflags(write=False)
    for found in results(kernel, np, given, settings):
        assert found.flags.c_contiguous
        assert found.flags.writeable
        assert not any(np.shares_memory(found, a) for a in given)
    for a, before in zip(given, arrays, strict=True):
        np.testing.assert_array_equal(a, before)


@every_call
def test_float32_in_float32_out(kernel, arrays, settings):
    given = [a.astype("f4") if a.dtype == float else a for a in arrays]
    wanted = results(kernel, np, arrays, settings)
    for found, expected in zip(results(kernel, np, given, settings), wanted, strict=True):
        assert found.dtype == (np.int64 if expected.dtype == np.int64 else np.float32)
        if found.dtype == np.float32:
            assert_near(found, expected, found.dtype)


@every_call
def test_an_empty_batch_gives_an_empty_batch(kernel, arrays, settings):
    # Batches hold 3 images here, and no weights hold 3 planes.
    given = [a[:0] if a.shape[0] == 3 else a for a in arrays]
    emptied = dict(settings)
    if settings.get("shape", (0,))[0] == 3:
        emptied["shape"] = (0, *settings["shape"][1:])
    wanted = results(kernel, np, arrays, settings)
    for found, full in zip(results(kernel, np, given, emptied), wanted, strict=True):
        if kernel is convolution.conv2d_weight_gradient:
            assert found.shape == full.shape
            assert not found.any()
        else:
            assert found.shape == (0, *full.shape[1:])
        assert found.dtype == full.dtype


@every_call
def test_the_strict_stand_in_gives_the_same_bits(kernel, arrays, settings):
    strict = [devices.to_device(a, "strict") for a in arrays]
    xp = devices.namespace(*strict)
    expected = results(kernel, np, arrays, settings)
    for found, wanted in zip(results(kernel, xp, strict, settings), expected, strict=True):
        assert type(found) is type(strict[0])
        np.testing.assert_array_equal(devices.to_numpy(found), wanted)


@pytest.mark.cuda
@every_call
def test_cupy_gives_the_same_values(kernel, arrays, settings):
    there = [devices.to_device(a, "cuda:0") for a in arrays]
    xp = devices.namespace(*there)
    expected = results(kernel, np, arrays, settings)
    for found, wanted in zip(results(kernel, xp, there, settings), expected, strict=True):
        np.testing.assert_allclose(devices.to_numpy(found), wanted, rtol=0, atol=1e-12)


# The primitives -----------------------------------------------------------------------------------


def test_the_primitives_differentiate_through_the_kernels():
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 3, 6, 6)), rng.standard_normal((4, 3, 3, 3))
    settings = {"stride": 2, "padding": 1}

    def network(x, w):
        y = ops.max_pool2d(ops.conv2d(x, w, **settings), kernel=2, stride=1)
        return ops.avg_pool2d(y, kernel=2)

    y, pull = vjp(network, (x, w))
    v = rng.standard_normal(y.shape)
    c = body(ops.conv2d)(np, x, w, **settings)
    m, indices = body(ops.max_pool2d)(
        np, c, kernel=2, stride=1, padding=0, dilation=1, ceil_mode=False
    )
    averages = {
        "kernel": 2, "stride": None, "padding": 0, "ceil_mode": False,
        "count_include_pad": True, "divide": True,
    }  # fmt: skip
    np.testing.assert_array_equal(y, body(ops.avg_pool2d)(np, m, **averages))
    gm = body(ops.avg_pool2d_gradient)(np, v, shape=m.shape, **averages)
    gc = body(ops.max_unpool2d)(np, gm, indices, shape=c.shape)
    gx = body(ops.conv2d_input_gradient)(np, gc, w, shape=x.shape, **settings)
    gw = body(ops.conv2d_weight_gradient)(np, x, gc, shape=w.shape, **settings)
    for found, wanted in zip(pull(v), (gx, gw), strict=True):
        np.testing.assert_array_equal(found, wanted)


def body(function):
    """What runs a primitive on NumPy's arrays."""
    return function.primitive.body_for(np)


def test_third_derivatives_of_a_convolution_close():
    # f(x, w) = ½ Σ conv2d(x, w)² is a polynomial; along a line its derivatives are exact numbers.
    rng = np.random.default_rng(3)
    x, w, u = (rng.standard_normal(s) for s in ((2, 2, 5, 4), (3, 2, 2, 2), (2, 2, 5, 4)))
    settings = {"stride": (2, 1), "padding": 1, "dilation": (1, 2)}

    def along(f, direction):
        def derivative(x, w):
            _, pull = vjp(lambda x: f(x, w), x)
            return ops.sum(pull(1.0) * direction)

        return derivative

    def f(x, w):
        y = ops.conv2d(x, w, **settings)
        return ops.sum(y * y) * 0.5

    second = along(along(f, u), u)
    cu = convolution.conv2d(np, u, w, **settings)
    np.testing.assert_allclose(float(second(x, w)), np.vdot(cu, cu), rtol=1e-12)
    _, pull = vjp(lambda w: second(x, w), w)
    wanted = 2 * convolution.conv2d_weight_gradient(np, u, cu, shape=w.shape, **settings)
    np.testing.assert_allclose(pull(1.0), wanted, rtol=0, atol=1e-12)


# Bad input ----------------------------------------------------------------------------------------

X, W = np.ones((2, 4, 5, 6)), np.ones((3, 4, 3, 3))
BAD = {
    "conv2d: x must have the four axes .* found shape \\(4, 5, 6\\).*batch": lambda: ops.conv2d(
        X[0], W
    ),
    "conv2d: w must have the four axes .* found shape \\(4, 3, 3\\)": lambda: ops.conv2d(X, W[0]),
    "conv2d: x has 4 channels, w of shape \\(3, 2, 3, 3\\) takes 2 .*shape \\(3, 4, 3, 3\\)": (
        lambda: ops.conv2d(X, W[:, :2])
    ),
    "groups = 2 must divide the 4 channels of x and the 3 output planes": lambda: ops.conv2d(
        X, W[:, :2], groups=2
    ),
    "groups = 0 must divide": lambda: ops.conv2d(X, W, groups=0),
    "conv2d: the window's height 9 \\(kernel 3, dilation 4\\) is more than the padded input's 7": (
        lambda: ops.conv2d(X, W, dilation=4, padding=1)
    ),
    "conv2d: stride must be at least 1, found \\(0, 1\\)": lambda: ops.conv2d(X, W, (0, 1)),
    "conv2d: padding must be at least 0, found -1": lambda: ops.conv2d(X, W, padding=-1),
    "conv2d: dilation must be an int or a pair .* found 1.5": lambda: ops.conv2d(
        X, W, dilation=1.5
    ),
    "conv2d: stride must be an int or a pair .* found \\(1, 2, 3\\)": lambda: ops.conv2d(
        X, W, (1, 2, 3)
    ),
    "conv2d_input_gradient: the cotangent must have shape .* = \\(2, 3, 3, 4\\), found": (
        lambda: ops.conv2d_input_gradient(np.ones((2, 3, 5, 6)), W, X.shape)
    ),
    "conv2d_weight_gradient: the cotangent must have shape .* = \\(2, 3, 3, 4\\), found": (
        lambda: ops.conv2d_weight_gradient(X, np.ones((1, 3, 3, 4)), W.shape)
    ),
    "max_pool2d: x must have the four axes .* found shape \\(4, 5, 6\\).*x\\[None\\]": (
        lambda: ops.max_pool2d(X[0], 2)
    ),
    "max_pool2d: kernel must be at least 1, found 0": lambda: ops.max_pool2d(X, 0),
    "max_pool2d: padding 2 is more than half the kernel's height 3: use at most 1": (
        lambda: ops.max_pool2d(X, 3, padding=2)
    ),
    "max_pool2d: the window's width 7 is more than the padded input's 6": (
        lambda: ops.max_pool2d(X, (5, 7))
    ),
    "max_pool2d: dilation 6 puts every tap of a window into the padding": (
        lambda: ops.max_pool2d(X[:, :, :, :5], 2, padding=1, dilation=6)
    ),
    "max_pool2d_gather: indices of shape \\(1, 4, 2, 3\\) do not belong to x of shape": (
        lambda: ops.max_pool2d_gather(X, np.zeros((1, 4, 2, 3), int))
    ),
    "max_unpool2d: x must have shape .* = \\(2, 4, 2, 2\\), found \\(2, 4, 5, 6\\)": (
        lambda: ops.max_unpool2d(X, np.zeros((2, 4, 2, 2), int), (2, 4, 5, 6))
    ),
    "avg_pool2d: padding 1 is more than half the kernel's height 1: use at most 0": (
        lambda: ops.avg_pool2d(X, (1, 2), padding=1)
    ),
    "avg_pool2d: the window's height 6 is more": lambda: ops.avg_pool2d(X, 6),
    "avg_pool2d_gradient: the cotangent must have shape .* = \\(2, 4, 2, 3\\), found": (
        lambda: ops.avg_pool2d_gradient(X, X.shape, 2)
    ),
}


@pytest.mark.parametrize("message", list(BAD))
def test_bad_input_is_named_with_what_was_found_and_expected(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()


# Torch7's own runs --------------------------------------------------------------------------------

RECORDED = [
    entry
    for entry in index(ROOT)
    if entry["kind"] == "module"
    and entry["class"]
    in {
        "nn.SpatialConvolution",
        "nn.SpatialDilatedConvolution",
        "nn.SpatialMaxPooling",
        "nn.SpatialDilatedMaxPooling",
        "nn.SpatialAveragePooling",
    }
]


@pytest.mark.skipif(ROOT != OWN, reason="another directory of records may hold others")
def test_torch7_recorded_these_layers():
    assert len(RECORDED) == 11


def batched(a):
    return a if a.ndim == 4 else a[None]


@pytest.mark.parametrize("entry", RECORDED, ids=[entry["id"] for entry in RECORDED])
def test_torch7_records_agree_with_the_kernels(entry):
    record = resolved(entry, ROOT)
    fields = record["fields"]
    x, v = batched(record["input"]), batched(record["gradOutput"])
    settings = {"stride": (fields["dH"], fields["dW"]), "padding": (fields["padH"], fields["padW"])}
    if "dilationH" in fields:
        settings["dilation"] = (fields["dilationH"], fields["dilationW"])
    if "Convolution" in record["class"]:
        w, b = record["params"]
        y = convolution.conv2d(np, x, w, **settings) + b[:, None, None]
        back = convolution.conv2d_input_gradient(np, v, w, shape=x.shape, **settings)
        gw = convolution.conv2d_weight_gradient(np, x, v, shape=w.shape, **settings)
        pairs = [(gw, record["gradParams"][0])]
    else:
        settings.update(kernel=(fields["kH"], fields["kW"]), ceil_mode=fields["ceil_mode"])
        pairs = []
        if "Average" in record["class"]:
            settings.update({name: fields[name] for name in ("count_include_pad", "divide")})
            y = pooling.avg_pool2d(np, x, **settings)
            back = pooling.avg_pool2d_gradient(np, v, shape=x.shape, **settings)
        else:
            y, indices = pooling.max_pool2d(np, x, **settings)
            back = pooling.max_unpool2d(np, v, indices, shape=x.shape)
            pairs = [(indices + 1, batched(record["buffers"]["indices"]))]
    pairs += [(y, batched(record["output"])), (back, batched(record["gradInput"]))]
    for found, wanted in pairs:
        assert found.shape == wanted.shape
        assert np.max(np.abs(found - wanted)) <= 1e-12 * np.max(np.abs(wanted))
