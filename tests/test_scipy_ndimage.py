"""tapegrad.scipy.ndimage: values are SciPy's, derivatives those of the values."""

import numpy as np
import pytest
import scipy.ndimage

from tapegrad.autograd.check import check_gradients
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.scipy import ndimage

pytestmark = pytest.mark.extra

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(6, 7))
MODES = ["reflect", "constant", "nearest", "mirror", "wrap"]


@pytest.mark.parametrize("name", ["correlate", "convolve"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "origin"), [((3, 2), 0), ((2, 3), (-1, 1)), ((4, 3), 1)])
def test_weights(name, mode, size, origin):
    weights = RNG.normal(size=size)
    ours, theirs = getattr(ndimage, name), getattr(scipy.ndimage, name)
    np.testing.assert_allclose(
        ours(IMAGE, weights, mode=mode, cval=0.7, origin=origin),
        theirs(IMAGE, weights, mode=mode, cval=0.7, origin=origin),
        atol=1e-13,
    )
    check_gradients(lambda x, w: ours(x, w, mode=mode, origin=origin), IMAGE, weights, order=2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("axis", [0, -1])
def test_along_an_axis(mode, axis):
    weights = RNG.normal(size=4)
    for name in ("correlate1d", "convolve1d"):
        ours, theirs = getattr(ndimage, name), getattr(scipy.ndimage, name)
        np.testing.assert_allclose(
            ours(IMAGE, weights, axis, mode=mode, origin=1),
            theirs(IMAGE, weights, axis, mode=mode, origin=1),
            atol=1e-13,
        )
    np.testing.assert_allclose(
        ndimage.sobel(IMAGE, axis, mode=mode), scipy.ndimage.sobel(IMAGE, axis, mode=mode)
    )
    for order in range(4):
        np.testing.assert_allclose(
            ndimage.gaussian_filter1d(IMAGE, 0.8, axis, order, mode=mode),
            scipy.ndimage.gaussian_filter1d(IMAGE, 0.8, axis, order, mode=mode),
            atol=1e-13,
        )
        check_gradients(
            lambda x, sigma, order=order: ndimage.gaussian_filter1d(x, sigma, axis, order),
            IMAGE, 0.8,
        )  # fmt: skip


def test_filters_along_all_axes():
    np.testing.assert_allclose(
        ndimage.gaussian_filter(IMAGE, (0.7, 1.2), (1, 0), truncate=2),
        scipy.ndimage.gaussian_filter(IMAGE, (0.7, 1.2), (1, 0), truncate=2),
    )
    check_gradients(lambda x, s: ndimage.gaussian_filter(x, s, truncate=2), IMAGE, 0.8, order=2)
    for size in (3, 4, (2, 3)):
        np.testing.assert_allclose(
            ndimage.uniform_filter(IMAGE, size), scipy.ndimage.uniform_filter(IMAGE, size)
        )
    np.testing.assert_allclose(ndimage.laplace(IMAGE), scipy.ndimage.laplace(IMAGE))
    check_gradients(lambda x: ndimage.laplace(ndimage.uniform_filter(x)), IMAGE)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(
    "mode", ["constant", "nearest", "mirror", "reflect", "grid-mirror", "grid-wrap"]
)
def test_values_between_pixels(order, mode):
    points = RNG.uniform(size=(2, 3, 5)) * [[[9.0]], [[10.0]]] - 2
    wanted = scipy.ndimage.map_coordinates(IMAGE, points, order=order, mode=mode, cval=0.7)
    found = ndimage.map_coordinates(IMAGE, points, order=order, mode=mode, cval=0.7)
    np.testing.assert_allclose(found, wanted, atol=1e-10)
    raw = ndimage.map_coordinates(IMAGE, points, order=order, mode=mode, prefilter=False)
    plain = scipy.ndimage.map_coordinates(IMAGE, points, order=order, mode=mode, prefilter=False)
    np.testing.assert_allclose(raw, plain, atol=1e-10)
    if order == 0:
        check_gradients(lambda x: ndimage.map_coordinates(x, points, order=order, mode=mode), IMAGE)
    else:
        check_gradients(
            lambda x, p: ndimage.map_coordinates(x, p, order=order, mode=mode), IMAGE, points,
            order=2,
        )  # fmt: skip


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="the mode is 'most'"):
        ndimage.correlate1d(IMAGE, [1.0], mode="most")
    with pytest.raises(ShapeError, match="the image has 2 axes, the weights 1"):
        ndimage.correlate(IMAGE, np.ones(3))
    with pytest.raises(ValueError, match="the origin 2 lies outside"):
        ndimage.correlate(IMAGE, np.ones((3, 3)), origin=2)
    with pytest.raises(ValueError, match="the order is 2"):
        ndimage.map_coordinates(IMAGE, np.ones((2, 1)), order=2)
    with pytest.raises(ShapeError, match="coordinates 3"):
        ndimage.map_coordinates(IMAGE, np.ones((3, 1)))
