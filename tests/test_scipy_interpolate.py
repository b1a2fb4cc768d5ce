"""tapegrad.scipy.interpolate: values are SciPy's, derivatives those of the values."""

import numpy as np
import pytest
import scipy.interpolate

from tapegrad.autograd.check import check_gradients
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.scipy import interpolate

pytestmark = pytest.mark.extra

RNG = np.random.default_rng(0)
X = np.array([0.0, 0.7, 1.1, 2.0, 2.6, 3.5])
AT = np.array([[-0.4, 0.3, 0.9], [1.7, 2.4, 4.1]])
CONDITIONS = ["not-a-knot", "natural", "clamped", ((1, 0.4), (2, -0.7)), ("natural", (1, 0.3))]


@pytest.mark.parametrize("bc_type", CONDITIONS)
@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_cubic_splines(bc_type, n):
    y = RNG.normal(size=n)
    ours = interpolate.CubicSpline(X[:n], y, bc_type=bc_type)
    theirs = scipy.interpolate.CubicSpline(X[:n], y, bc_type=bc_type)
    for nu in range(5):
        np.testing.assert_allclose(ours(AT, nu), theirs(AT, nu), atol=1e-11)
    check_gradients(
        lambda x, y, at: interpolate.CubicSpline(x, y, bc_type=bc_type)(at), X[:n], y, AT, order=2
    )


def test_periodic_splines():
    y = RNG.normal(size=6)
    y[-1] = y[0]
    ours = interpolate.CubicSpline(X, y, bc_type="periodic")
    theirs = scipy.interpolate.CubicSpline(X, y, bc_type="periodic")
    np.testing.assert_allclose(ours(AT * 3), theirs(AT * 3), atol=1e-12)
    check_gradients(
        lambda x, y, at: interpolate.CubicSpline(x, y, bc_type="periodic")(at), X, y, AT, order=2
    )


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_splines_along_an_axis(axis):
    y = RNG.normal(size=(6, 6, 6))[: 6 if axis == 0 else 2, : 6 if axis == 1 else 3]
    ours = interpolate.CubicSpline(X, y, axis, extrapolate=False)
    theirs = scipy.interpolate.CubicSpline(X, y, axis, extrapolate=False)
    np.testing.assert_allclose(ours(AT), theirs(AT), atol=1e-12)
    np.testing.assert_allclose(ours(1.3), theirs(1.3), atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "cubic"])
@pytest.mark.parametrize("axis", [0, -1])
def test_interp1d(kind, axis):
    y = RNG.normal(size=(6, 2) if axis == 0 else (2, 6))
    for options in ({"fill_value": "extrapolate"}, {"bounds_error": False}, {"fill_value": 7.0}):
        if kind == "cubic" and options.get("fill_value") == 7.0:
            options["bounds_error"] = False
        wanted = scipy.interpolate.interp1d(X, y, kind, axis, **{"bounds_error": False, **options})
        found = interpolate.interp1d(X, y, kind, axis, **options)
        np.testing.assert_allclose(found(AT), wanted(AT), atol=1e-12)
        np.testing.assert_allclose(found(1.3), wanted(1.3), atol=1e-12)
        alone = interpolate.interp1d(X, y[:, 0] if axis == 0 else y[0], kind, **options)
        np.testing.assert_allclose(alone(1.3), wanted(1.3)[0], atol=1e-12)
    inside = np.array([0.3, 0.9, 2.4])
    check_gradients(lambda x, y, at: interpolate.interp1d(x, y, kind, axis)(at), X, y, inside)
    with pytest.raises(ValueError, match=r"outside of the grid in dimension 0: -0\.4"):
        interpolate.interp1d(X, y, kind, axis)(AT)


@pytest.mark.parametrize("method", ["linear", "nearest"])
@pytest.mark.parametrize("rest", [(), (2,)])
def test_grids(method, rest):
    grid = (X, np.array([0.0, 1.0, 3.0]), np.array([-1.0, 0.5]))
    values = RNG.normal(size=(6, 3, 2, *rest))
    points = RNG.uniform(size=(4, 2, 3)) * [3.5, 3.0, 1.5] - [0, 0, 1]
    ours = interpolate.RegularGridInterpolator(grid, values, method)
    theirs = scipy.interpolate.RegularGridInterpolator(grid, values, method)
    np.testing.assert_allclose(ours(points), theirs(points), atol=1e-13)
    np.testing.assert_allclose(ours(points[0, 0]), theirs(points[0, 0]), atol=1e-13)
    if method == "linear":
        check_gradients(
            lambda v, p, x: interpolate.RegularGridInterpolator((x, *grid[1:]), v)(p),
            values, points, X, order=2,
        )  # fmt: skip
    else:
        check_gradients(
            lambda v: interpolate.RegularGridInterpolator(grid, v, method)(points), values
        )
    points[0, 0] = [5.0, 1.0, 0.0]
    for fill in (np.nan, 7.0, None):
        pair = [
            room.RegularGridInterpolator(grid, values, method, False, fill)(points)
            for room in (interpolate, scipy.interpolate)
        ]
        np.testing.assert_allclose(*pair, atol=1e-13)
    with pytest.raises(ValueError, match=r"in dimension 0: 5\.0"):
        ours(points)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="increasing"):
        interpolate.CubicSpline([0.0, 0.0, 1.0], [1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match="x has 3 points, y 2"):
        interpolate.CubicSpline([0.0, 0.5, 1.0], [1.0, 2.0])
    with pytest.raises(ShapeError, match="the grid is"):
        interpolate.RegularGridInterpolator(([0.0, 1.0],), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="'linear' and 'cubic'"):
        interpolate.interp1d([0.0, 1.0], [1.0, 2.0], "quadratic")
