"""Operators on images against plain NumPy: colours, sizes, flips."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from tapegrad.nn import mxnet as mx

RNG = np.random.default_rng(0)
GRAY = np.array([0.299, 0.587, 0.114])


def picture(*shape, kind="float32"):
    return RNG.integers(0, 256, shape or (4, 5, 3)).astype(kind)


def nd(x):
    return mx.nd.array(x, dtype=x.dtype)


def by(name, x, alpha, **settings):
    """A change by exactly alpha."""
    function = getattr(mx.nd.image, f"random_{name}")
    return function(nd(x), min_factor=alpha, max_factor=alpha, **settings).asnumpy()


def turned(x, alpha):
    """The hue of each pixel turned, by Python's own conversion."""
    found = np.empty(x.shape)
    for at in np.ndindex(x.shape[:2]):
        hue, light, share = colorsys.rgb_to_hls(*(x[at] / 255))
        found[at] = colorsys.hls_to_rgb(hue + alpha, light, share)
    return found * 255


@pytest.mark.parametrize("alpha", [0.5, 0.9, 1.3])
def test_a_change_of_colours_follows_its_formula(alpha):
    x = picture()
    gray = x @ GRAY
    expected = {
        "brightness": x * alpha,
        "contrast": x * alpha + (1 - alpha) * gray.mean(),
        "saturation": x * alpha + (1 - alpha) * gray[..., None],
        "hue": turned(x, alpha),
    }
    for name, y in expected.items():
        np.testing.assert_allclose(by(name, x, alpha), y, rtol=1e-4, atol=2e-3, err_msg=name)
    grey = picture(4, 5, 1)
    np.testing.assert_allclose(
        by("contrast", grey, alpha), grey * alpha + (1 - alpha) * grey.mean(), rtol=1e-5
    )
    for name in ("saturation", "hue"):
        np.testing.assert_array_equal(by(name, grey, alpha), grey)


def test_pictures_of_bytes_are_cut_off_and_stay_bytes():
    x = picture(kind="uint8")
    y = by("brightness", x, 1.75)
    assert y.dtype == np.uint8
    np.testing.assert_array_equal(y, np.minimum(x * 1.75, 255).astype(int))
    assert by("contrast", x, 3.0).min() == 0


def test_the_original_forgets_two_colours_of_three():
    x = picture()
    with mx.compat("1.9.1"):
        y = by("saturation", x, 0.5)
    np.testing.assert_allclose(y, x * 0.5 + 0.5 * 0.114 * x[..., 2:], rtol=1e-4, atol=1e-3)


def test_factors_are_drawn_anew_between_their_ends():
    mx.random.seed(0)
    x = np.full((2, 2, 3), 100, np.float32)
    draws = [
        mx.nd.image.random_brightness(nd(x), min_factor=0.5, max_factor=1.5).asnumpy()
        for _ in range(50)
    ]
    values = {float(y[0, 0, 0]) for y in draws}
    assert all((y == y[0, 0, 0]).all() for y in draws)
    assert len(values) == 50
    assert min(values) < 65
    assert max(values) > 135
    assert 50 <= min(values) <= max(values) <= 150


def test_jitter_makes_its_changes_in_any_order():
    mx.random.seed(0)
    x = picture()
    amounts = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    np.testing.assert_array_equal(mx.nd.image.random_color_jitter(nd(x), **amounts).asnumpy(), x)
    y = mx.nd.image.random_color_jitter(nd(x), **{**amounts, "brightness": 0.5}).asnumpy()
    assert np.ptp(y[x > 0] / x[x > 0]) < 1e-5
    assert 0.5 <= (y.sum() / x.sum()) <= 1.5
    y = mx.nd.image.random_color_jitter(nd(x), **{**amounts, "hue": 0.2}).asnumpy()
    light = (x.max(-1) + x.min(-1), y.max(-1) + y.min(-1))
    np.testing.assert_allclose(*light, rtol=1e-3, atol=1e-2)  # the hue alone
    # bytes are cut off after each change, so that the order shows
    white = np.full((1, 1, 3), 250, np.uint8)
    white[..., 0] = 0
    both = {**amounts, "brightness": 1.0, "contrast": 1.0}
    found = [mx.nd.image.random_color_jitter(nd(white), **both).asnumpy() for _ in range(30)]
    assert any(not np.array_equal(found[0], y) for y in found)


def test_light_is_added_along_three_directions():
    x = picture()
    values, vectors = [55.46, 4.794, 1.148], [
        [-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203],
    ]  # fmt: skip
    alpha = np.array([0.1, -0.5, 2.0])
    y = mx.nd.image.adjust_lighting(nd(x), alpha=tuple(alpha)).asnumpy()
    np.testing.assert_allclose(
        y, x + np.array(vectors) @ (alpha * np.array(values)), rtol=1e-4, atol=1e-3
    )
    mx.random.seed(0)
    x = np.zeros((1, 1, 3), np.float32)
    draws = [mx.nd.image.random_lighting(nd(x), alpha_std=0.1).asnumpy()[0, 0] for _ in range(300)]
    wanted = (np.array(vectors) * np.array(values)) @ (np.array(vectors) * np.array(values)).T
    np.testing.assert_allclose(np.cov(np.array(draws).T), 0.01 * wanted, rtol=0.35, atol=0.05)
    with pytest.raises(mx.MXNetError, match="alpha has three numbers, not 2"):
        mx.nd.image.adjust_lighting(nd(x), alpha=(1.0, 2.0))


def test_resizing_is_that_of_mx_image():
    x = picture(2, 4, 6, 3, kind="uint8")
    for settings, size in (
        ({"size": 3}, (3, 3)),
        ({"size": (5, 2)}, (5, 2)),
        ({"size": 2, "keep_ratio": True, "interp": 2}, (3, 2)),
    ):
        y = mx.nd.image.resize(nd(x), **settings).asnumpy()
        method = settings.get("interp", 1)
        for found, image in zip(y, x, strict=True):
            np.testing.assert_array_equal(found, mx.image.imresize(image, *size, method))
    tall = mx.nd.image.resize(nd(x[0].swapaxes(0, 1)), size=2, keep_ratio=True)
    assert tall.shape == (3, 2, 3)
    np.testing.assert_array_equal(
        mx.nd._internal._cvimresize(nd(x[0]), w=5, h=2).asnumpy(), mx.image.imresize(x[0], 5, 2)
    )
    with pytest.raises(mx.MXNetError, match="size is one number or"):
        mx.nd.image.resize(nd(x), size=(1, 2, 3))


def test_flips_happen_with_probability_p():
    mx.random.seed(0)
    x = picture()
    for name, axis in (("left_right", 1), ("top_bottom", 0)):
        flip = getattr(mx.nd.image, f"random_flip_{name}")
        np.testing.assert_array_equal(flip(nd(x), p=1).asnumpy(), np.flip(x, axis))
        np.testing.assert_array_equal(flip(nd(x), p=0).asnumpy(), x)
        same = [np.array_equal(flip(nd(x)).asnumpy(), x) for _ in range(60)]
        assert 15 < sum(same) < 45


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("_cvimread", "reads a picture's file: call mx.image.imread"),
        ("_cvimdecode", "call mx.image.imdecode"),
        ("_npi_hypot_scalar", "belongs to mx.np and mx.npx, which are out of scope"),
        ("_npx_convolution", "belongs to mx.np"),
        ("_sg_mkldnn_conv", "holds a fused part of a graph: save the symbol from before"),
        ("_foreach", "runs subgraphs"),
        ("_Native", "runs Python code that no file holds"),
        ("_contrib_quantized_concat", "load the symbol from before quantize_model"),
        ("Concatt", "unknown operator 'Concatt'"),
    ],
)
def test_an_operator_that_is_not_here_says_why(name, why):
    text = mx.sym.relu(mx.sym.Variable("x"), name="y").tojson().replace('"relu"', f'"{name}"')
    with pytest.raises(mx.MXNetError, match=f"{name}.*{why}|{why}"):
        mx.sym.load_json(text)
