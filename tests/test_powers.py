"""Powers with a number for the exponent: what is fast gives what NumPy's function gives."""

import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.autograd import ops

PRODUCTS = [-4, -3, -2, -1, 2, 3, 4, -2.0, 3.0, -1.5, -0.5, 0.5, 1.5]
OTHERS = [-17, -5, 0, 1, 5, 6.0, 17, 301, 2.5, -2.5, 1.7, np.inf, -np.inf, np.nan, 2**25]
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-38, -1e-38, 1e-40, 3e38, -3e38, 0.5]


def ordinary(dtype, signs=True):
    rng = np.random.default_rng(0)
    x = np.exp(rng.uniform(-9, 9, 3000))
    return (x * rng.choice([-1, 1], x.size) if signs else x).astype(dtype)


def power(x, p):
    with np.errstate(all="ignore"):
        return ops.power(x, p)


def numpys(x, p):
    with np.errstate(all="ignore"):
        return np.power(x, p)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("p", PRODUCTS + OTHERS)
def test_a_power_has_the_digits_of_numpys(p, dtype):
    for signs in (False, True):
        x = ordinary(dtype, signs)
        found, expected = power(x, p), numpys(x, p)
        assert found.dtype == expected.dtype
        units = abs(p) + 1 if p in PRODUCTS else 2
        np.testing.assert_allclose(found, expected, rtol=units * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("p", PRODUCTS + OTHERS)
@pytest.mark.parametrize("special", [SPECIAL, [-0.0, 2.0, 0.0], [np.inf, 2.0, 0.5]], ids=len)
def test_zeros_infinities_and_nan_are_as_ieee_has_them(special, p, dtype):
    x = np.array(special * 12, dtype)
    found, expected = power(x, p), numpys(x, p)
    np.testing.assert_allclose(found, expected, rtol=1e-6 if dtype == "f" else 1e-14)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[number], np.signbit(expected)[number])


@pytest.mark.parametrize("p", [-3, 3, 0.5, -1.5, 5, 6, 1.7])
def test_a_power_may_be_written_over_its_base(p):
    for signs in (False, True):
        x = ordinary("f", signs)
        expected = power(x, p)
        with np.errstate(all="ignore"):
            found = ops.power.primitive.direct(x, p, out=x)
        assert found is x
        np.testing.assert_array_equal(x, expected)


def test_other_operands_are_numpys_alone():
    x = ordinary("d")
    whole = np.arange(1, 50)
    for base, p in ((whole, 3), (x, np.float32(3)), (x.astype("e"), 3), (x + 1j, 3), (whole, whole),
                    (np.abs(x), x), (3.0, whole)):  # fmt: skip
        found, expected = power(base, p), numpys(base, p)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert power(np.zeros((0, 3)), 5).shape == (0, 3)


def test_what_warns_in_numpy_warns():
    x = ordinary("f")
    for base, p in ((x, 0.5), (np.append(x, 0), -1), (np.full(40, 1e30, "f"), 3), (x, 1.7)):
        with pytest.warns(RuntimeWarning):
            ops.power(base.astype("f"), p)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for p in PRODUCTS:
            ops.power(np.abs(x), p)
        ops.power(np.full(40, -np.inf), 1.5)
        ops.power(x, 5)
        for tiny in (np.full(40, 1e-40, "f"), np.full(40, 1e-310)):
            ops.power(tiny, -0.5)  # 1 / x, which would overflow, is no part of 1 / √x


@pytest.mark.parametrize("p", [-3, -1, -0.5, 0.5, 1.5, 2, 3, 4])
def test_a_compiled_power_gives_the_bits_of_an_eager_one(p):
    x = ordinary("f", signs=p == int(p))

    def step(x):
        return ops.power(x, p) * 2

    expected = step(tg.Tensor(x)).numpy()
    compiled = tg.compile(step)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(tg.Tensor(x)).numpy(), expected)


@pytest.mark.parametrize("p", PRODUCTS)
def test_a_compiled_power_of_special_numbers_is_as_ieee_has_it(p):
    x = np.array(SPECIAL * 4, "f")
    compiled = tg.compile(lambda x: ops.power(x, p) * 2)
    for _ in range(3):
        with np.errstate(all="ignore"):
            found = compiled(tg.Tensor(x)).numpy()
        np.testing.assert_allclose(found, numpys(x, p) * 2, rtol=1e-6)


@pytest.mark.parametrize("p", [*PRODUCTS, 1, 5, 6, 1.7])
def test_derivatives_of_a_power(p):
    x = np.abs(ordinary("d")[:40]) if p != int(p) else ordinary("d")[:40]
    f = tg.elementwise_grad(lambda x: x**p)
    np.testing.assert_allclose(f(x), p * np.power(x, p - 1), rtol=1e-13)
    second = p * (p - 1) * np.power(x, p - 2)
    np.testing.assert_allclose(tg.elementwise_grad(f)(x), second, rtol=1e-13)


@pytest.mark.parametrize("p", [3, 5, -2])
def test_a_power_of_negative_numbers_takes_no_more_than_ten_products(p):
    """NumPy's own takes some hundred times as long as a product."""
    calls = []

    class Counted(np.ndarray):
        def __array_ufunc__(self, function, method, *operands, **options):
            calls.append(function.__name__)
            bare = [np.asarray(o) for o in operands]
            assert function is not np.power or bare[0].min() >= 0
            return getattr(function, method)(*bare, **options)

    ops.power.primitive.direct(ordinary("f").view(Counted), p)
    assert calls
