"""tapegrad.scipy.signal: values are SciPy's, derivatives those of the values."""

import numpy as np
import pytest
import scipy.signal

from tapegrad.autograd.check import check_gradients
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.scipy import signal

pytestmark = pytest.mark.extra

RNG = np.random.default_rng(0)
SHAPES = [
    ((7,), (3,)),
    ((3,), (7,)),
    ((4, 5), (2, 3)),
    ((2, 3), (5, 4)),
    ((4, 5), (3, 2)),
    ((6,), (4,)),
]
MODES = ("full", "same", "valid")


@pytest.mark.parametrize("name", ["convolve", "correlate", "fftconvolve", "oaconvolve"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shapes", SHAPES)
def test_convolutions(name, mode, shapes):
    a, v = (RNG.normal(size=shape) for shape in shapes)
    ours, theirs = getattr(signal, name), getattr(scipy.signal, name)
    np.testing.assert_allclose(ours(a, v, mode), theirs(a, v, mode), atol=1e-13)
    za, zv = a + 1j * a[::-1], v - 0.3j * v[::-1]
    np.testing.assert_allclose(ours(za, zv, mode), theirs(za, zv, mode), atol=1e-13)
    check_gradients(lambda a, v: ours(a, v, mode), a, v, order=2)


def test_gradients_of_complex_signals():
    a, v = RNG.normal(size=(2, 5)), RNG.normal(size=(2, 3))
    for ours in (signal.convolve, signal.correlate):

        def parts(a, v, ours=ours):
            y = ours(a[0] + 1j * a[1], v[0] + 1j * v[1])
            return np.real(y), np.imag(y)

        check_gradients(parts, a, v, order=2)


@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("boundary", ["fill", "wrap", "symm"])
@pytest.mark.parametrize("size", [(3, 2), (2, 4), (3, 3)])
def test_of_matrices(name, mode, boundary, size):
    a, v = RNG.normal(size=(4, 5)), RNG.normal(size=size)
    ours, theirs = getattr(signal, name), getattr(scipy.signal, name)
    for fill in (0, 1.5):
        expected = theirs(a, v, mode, boundary, fill)
        np.testing.assert_allclose(ours(a, v, mode, boundary, fill), expected, atol=1e-13)
    check_gradients(lambda a, v: ours(a, v, mode, boundary, 1.5), a, v)


def test_fftconvolve_along_some_axes():
    a, v = RNG.normal(size=(2, 3, 6)), RNG.normal(size=(1, 3, 4))
    for mode in MODES:
        expected = scipy.signal.fftconvolve(a, v, mode, axes=-1)
        np.testing.assert_allclose(signal.fftconvolve(a, v, mode, axes=-1), expected, atol=1e-13)
    check_gradients(lambda a, v: signal.fftconvolve(a, v, "same", axes=[2]), a, v, order=2)


ORDERS = [(3, 4), (4, 2), (1, 3), (3, 1)]


@pytest.mark.parametrize("orders", ORDERS)
@pytest.mark.parametrize("axis", [-1, 0])
def test_lfilter(orders, axis):
    b, a = (RNG.normal(size=n) * 0.4 for n in orders)
    a[0] = 1.6
    x = RNG.normal(size=(6, 7))
    expected = scipy.signal.lfilter(b, a, x, axis)
    np.testing.assert_allclose(signal.lfilter(b, a, x, axis), expected, atol=1e-13)
    check_gradients(lambda b, a, x: signal.lfilter(b, a, x, axis), b, a, x, order=2)
    shape = [6, 7]
    shape[axis] = max(orders) - 1
    zi = RNG.normal(size=shape)
    for found, wanted in zip(
        signal.lfilter(b, a, x, axis, zi), scipy.signal.lfilter(b, a, x, axis, zi), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-13)
    check_gradients(lambda b, a, x, z: signal.lfilter(b, a, x, axis, z), b, a, x, zi, order=2)


def test_sections_and_analytic_signals():
    sos = scipy.signal.butter(4, 0.3, output="sos")
    x = RNG.normal(size=(2, 9))
    np.testing.assert_allclose(signal.sosfilt(sos, x), scipy.signal.sosfilt(sos, x), atol=1e-13)
    check_gradients(signal.sosfilt, sos, x)
    for n in (8, 9):
        np.testing.assert_allclose(signal.hilbert(x[:, :n]), scipy.signal.hilbert(x[:, :n]))
    check_gradients(lambda x: np.abs(signal.hilbert(x)), x)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="the mode is 'most'"):
        signal.convolve(np.ones(3), np.ones(2), "most")
    with pytest.raises(ShapeError, match="in1 has 2 axes, in2 1"):
        signal.correlate(np.ones((3, 3)), np.ones(2))
    with pytest.raises(ValueError, match="at least as long"):
        signal.convolve(np.ones((3, 3)), np.ones((2, 4)), "valid")
