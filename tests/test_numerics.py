"""Where numbers are special: equal values, zeros, ties, saturation, small integers, half precision.

A derivative there is right, or NaN or an error where none exists: never another finite number.
"""

import math

import numpy as np
import pytest
import scipy.special

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.autograd import Parameter, Tensor

MATRIX_FUNCTIONS = {
    "sqrt": (np.sqrt, 1.0),
    "exp": (np.exp, 0.0),
    "identity": (lambda w: w * 1, 0.0),
    "cube": (lambda w: w**3, -1.0),
    "constant": (lambda w: w * 0 + 1, 0.0),
}


def slope(f, x, direction, h=1e-5):
    return (float(f(x + h * direction)) - float(f(x - h * direction))) / (2 * h)


def right_or_nan(f, x, rng, relative=1e-5):
    """The gradient of f at x, compared with a difference; True if it is a number."""
    direction = rng.normal(size=x.shape)
    direction = direction + direction.T if x.shape[0] == x.shape[1] else direction
    got = float(np.sum(tg.grad(f)(x) * direction))
    if np.isnan(got):
        return False
    expected = slope(f, x, direction)
    assert got == pytest.approx(expected, rel=relative, abs=relative)
    return True


def spectrum(rng, n, low):
    """n values of which some are equal, or equal up to rounding."""
    values = low + 1 + rng.integers(0, 3, n).astype(float)
    return np.sort(values * (1 + rng.choice([0, 1e-16], n)))


def matrix_of(rng, values):
    n = len(values)
    basis = np.eye(n) if rng.integers(2) else np.linalg.qr(rng.normal(size=(n, n)))[0]
    a = (basis * values) @ basis.T
    return (a + a.T) / 2


@pytest.mark.parametrize("name", MATRIX_FUNCTIONS)
@pytest.mark.parametrize("seed", range(20))
def test_matrix_functions_by_eigh_are_right_or_nan(name, seed):
    rng = np.random.default_rng(seed)
    f, low = MATRIX_FUNCTIONS[name]
    a, k = matrix_of(rng, spectrum(rng, 4, low)), rng.normal(size=(4, 4))

    def by_eigh(a):
        w, v = np.linalg.eigh((a + a.T) / 2)
        return np.sum(k * ((v * f(w)) @ v.T))

    right_or_nan(by_eigh, a, rng)


def test_what_depends_on_the_space_of_equal_values_has_a_derivative():
    rng = np.random.default_rng(0)
    a, k = matrix_of(rng, np.array([1.0, 1.0, 2.0, 3.0])), rng.normal(size=(4, 4))

    def projector(a):
        v = np.linalg.eigh((a + a.T) / 2)[1][:, :2]
        return np.sum(k * (v @ v.T))

    def truncated(a):
        w, v = np.linalg.eigh((a + a.T) / 2)
        return np.sum(k * ((v[:, 2:] * w[2:]) @ v[:, 2:].T))

    def polar(a):
        u, _, vh = np.linalg.svd(a)
        return np.sum(k * (u @ vh))

    for f in (projector, truncated, polar):
        assert right_or_nan(f, a, rng)
    assert right_or_nan(polar, np.eye(4), rng)
    one = np.outer(rng.normal(size=4), rng.normal(size=3))
    assert right_or_nan(lambda a: np.linalg.svd(a, full_matrices=False)[1][0], one, rng)


@pytest.mark.parametrize("seed", range(20))
def test_functions_by_svd_are_right_or_nan(seed):
    rng = np.random.default_rng(seed)
    values = spectrum(rng, 3, 0.0)[::-1]
    u, v = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    a, k = (u * values) @ v.T, rng.normal(size=(3, 3))

    def rebuilt(a):
        u, s, vh = np.linalg.svd(a)
        return np.sum(k * ((u * s**2) @ vh))

    right_or_nan(rebuilt, a, rng)


def test_a_defective_matrix_gives_nan_and_no_number():
    jordan = np.array([[1.0, 1.0], [0.0, 1.0]])

    def squares(a):
        return np.real(np.sum(np.linalg.eigvals(a) ** 2))

    assert np.isnan(tg.grad(squares)(jordan)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_det_has_two_derivatives_at_every_rank(n):
    rng = np.random.default_rng(n)
    for rank in range(n + 1):
        a = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n))
        u, v = rng.normal(size=(2, n, n))
        gradient = tg.grad(np.linalg.det)
        assert np.sum(gradient(a) * u) == pytest.approx(slope(np.linalg.det, a, u), abs=1e-8)

        def along(a, v=v, gradient=gradient):
            return np.sum(gradient(a) * v)

        found = np.sum(tg.hvp(np.linalg.det, a, u) * v)
        assert found == pytest.approx(slope(along, a, u), abs=1e-7)
        if rank < n:
            third = tg.grad(lambda a, u=u, v=v: np.sum(tg.hvp(np.linalg.det, a, u) * v))(a)
            assert np.isnan(third).all()


def test_one_singular_matrix_of_a_stack_leaves_the_others():
    stack = np.stack([2 * np.eye(2), np.ones((2, 2))])
    found = tg.grad(lambda a: np.sum(np.linalg.slogdet(a)[1]))(stack)
    np.testing.assert_allclose(found[0], np.eye(2) / 2)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(
        tg.grad(lambda a: np.sum(np.linalg.det(a)))(stack), [2 * np.eye(2), [[1, -1], [-1, 1]]]
    )


def test_the_phase_of_a_complex_determinant_has_a_derivative():
    rng = np.random.default_rng(0)
    a, u = (rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)) for _ in range(2))

    def phase(a):
        return np.real(np.linalg.slogdet(a)[0] * (1 + 2j))

    assert np.real(np.sum(tg.grad(phase)(a) * u)) == pytest.approx(slope(phase, a, u))


KINKS = {
    "norm": np.linalg.norm,
    "matrix norm": lambda x: np.linalg.norm(np.reshape(x, (1, 2))),
    "vector norm": np.linalg.vector_norm,
    "norm of order 3": lambda x: np.linalg.norm(x, 3),
    "hypot": lambda x: np.hypot(x[0], x[1]),
    "abs": lambda x: np.abs(x[0]),
    "fabs": lambda x: np.fabs(x[0]),
    "complex abs": lambda x: np.abs(x[0] + 1j * x[1]),
    "std": np.std,
    "nanstd": np.nanstd,
    "std with where": lambda x: np.std(x, where=np.array([True, True])),
}


@pytest.mark.parametrize("name", KINKS)
def test_a_guarded_point_has_a_first_derivative_and_no_second(name):
    f = KINKS[name]
    np.testing.assert_array_equal(tg.grad(lambda x: f(x) ** 2)(np.zeros(2)), [0, 0])
    np.testing.assert_array_equal(tg.grad(f)(np.zeros(2)), [0, 0])
    hessian = tg.hessian(lambda x: f(x) ** 2)(np.zeros(2))
    assert np.isnan(hessian[0, 0])  # 2 is right for some, and no rule of the parts can give it
    assert np.isfinite(tg.hessian(lambda x: f(x) ** 2)(np.array([3.0, 1.0]))).all()


@pytest.mark.parametrize(("f", "y"), [(scipy.special.xlogy, 2.0), (scipy.special.xlog1py, 1.0)])
def test_a_guard_of_a_product_leaves_its_mixed_derivative(f, y):
    """x·log(2) is smooth at x = 0: ∂²/∂x∂y is 1/2 there, as everywhere."""
    hessian = tg.hessian(lambda v: f(v[0], v[1]))(np.array([0.0, y]))
    np.testing.assert_allclose(hessian, [[0, 0.5], [0.5, 0]], atol=1e-15)
    # outside the domain the product is 0 for every y
    assert tg.grad(f, argnums=1)(0.0, -3.0) == 0


def test_the_fractional_part_grows_as_x_does_at_0_too():
    for x in (0.0, -0.0, 0.5, 3.0, -2.5):
        assert tg.grad(lambda v: np.modf(v)[0])(x) == 1


def test_softsign_has_a_finite_second_derivative_at_0():
    f = nn.SoftSign()
    assert tg.grad(tg.grad(f))(0.0) == 0  # between the limits 2 and -2
    assert tg.grad(tg.grad(f))(1.0) == -0.25


@pytest.mark.parametrize("f", [np.maximum, np.minimum, np.fmax, np.fmin])
def test_ties_share_the_gradient_as_in_max(f):
    assert tg.grad(f, argnums=(0, 1))(1.0, 1.0) == (0.5, 0.5)
    assert tg.grad(lambda x: f(x, -x))(0.0) == 0.0
    low, high = tg.grad(lambda x, y: np.sum(f(x, y)), argnums=(0, 1))(
        np.array([1, 2], np.float32), np.array([2, 1], np.float32)
    )
    assert low.dtype == np.float32
    np.testing.assert_array_equal(low + high, [1, 1])


def test_bounds_of_clip_are_alike_as_numbers_and_arrays():
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    by_numbers = tg.grad(lambda x: np.sum(np.clip(x, 0, 1)))(x)
    by_arrays = tg.grad(lambda x: np.sum(np.clip(x, 0 * x, 0 * x + 1)))
    by_bounds = tg.grad(lambda x, a: np.sum(np.clip(x, a, a + 1)))(x, np.zeros(5))
    np.testing.assert_array_equal(by_numbers, [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(by_bounds, by_numbers)
    assert by_arrays(x).shape == x.shape


def sech_squared(x):
    return 4 * math.exp(-2 * x) / (1 + math.exp(-2 * x)) ** 2


@pytest.mark.parametrize(
    ("f", "x", "right"),
    [
        (np.expm1, -40.0, math.exp(-40)),
        (np.tanh, 19.5, sech_squared(19.5)),
        (np.tanh, -300.0, sech_squared(300)),
        (scipy.special.expit, 40.0, math.exp(-40) / (1 + math.exp(-40)) ** 2),
        (tg.ops.sigmoid, 40.0, math.exp(-40) / (1 + math.exp(-40)) ** 2),
        (np.i0, 1e-300, 5e-301),
        (np.i0, 1e-18, 5e-19),
        (np.arcsin, 1 - 2.0**-40, 1 / math.sqrt(2.0**-40 * (2 - 2.0**-40))),
        (np.arctanh, 1 - 2.0**-50, 1 / (2.0**-50 * (2 - 2.0**-50))),
        (scipy.special.rgamma, -2.0, 2.0),
    ],
)
def test_saturated_derivatives_have_all_their_digits(f, x, right):
    assert float(tg.grad(f)(x)) == pytest.approx(right, rel=1e-13)


def test_a_saturated_tanh_is_silent():
    for dtype, x in ((np.float16, 60.0), (np.float32, 1e4), (np.float64, 1e5)):
        p = Parameter(np.array([x, -x], dtype))
        np.tanh(p).sum().backward()  # overflow would be a warning, which is an error here
        np.testing.assert_array_equal(p.grad.numpy(), [0, 0])


def test_gammainc_of_order_1_has_derivatives_at_0():
    def f(x):
        return scipy.special.gammainc(1.0, x)

    assert tg.grad(f)(0.0) == 1.0
    assert tg.grad(tg.grad(f))(0.0) == -1.0


@pytest.mark.parametrize("x", [[1.0, 0.0, 2, 3], [0.0, 0, 2, 3], [2.0, 0, 3, 0], [1.5, -2, 0.5, 3]])
def test_cumprod_with_zeros_is_right_to_third_order(x):
    x, (k, u, v, w) = np.array(x), np.random.default_rng(0).normal(size=(4, 4))

    def f(x):
        return np.sum(np.cumprod(x) * k)

    def along_u(x):
        return np.sum(tg.grad(f)(x) * u)

    def along_uv(x):
        return np.sum(tg.hvp(f, x, u) * v)

    assert np.sum(tg.grad(f)(x) * w) == pytest.approx(slope(f, x, w), abs=1e-7)
    assert np.sum(tg.grad(along_u)(x) * w) == pytest.approx(slope(along_u, x, w), abs=1e-7)
    assert np.sum(tg.grad(along_uv)(x) * w) == pytest.approx(slope(along_uv, x, w), abs=1e-7)


def test_cumprod_of_a_long_vector_takes_linear_time_and_survives_underflow():
    x = np.full(5000, 0.5)
    x[10] = 0
    assert np.isfinite(tg.grad(lambda x: np.sum(np.cumprod(x)))(x)).all()


# Integers -----------------------------------------------------------------------------------------

INTEGERS = {
    "quantile": lambda i: np.quantile(i, 0.3),
    "percentile": lambda i: np.percentile(i, [10, 30, 90]),
    "percentile, lower": lambda i: np.percentile(i, 30, method="lower"),
    "nanquantile": lambda i: np.nanquantile(i, 0.3),
    "nanmedian": np.nanmedian,
    "nanmax": np.nanmax,
    "nanmin": np.nanmin,
    "i0": np.i0,
    "prod": lambda i: np.prod(i * 7),
    "nanprod": lambda i: np.nanprod(i * 7),
    "cumprod": lambda i: np.cumprod(i * 7),
    "vander": lambda i: np.vander(i, 8),
    "nan_to_num": np.nan_to_num,
    "gradient": np.gradient,
    "poly": np.poly,
    "polyint": np.polyint,
    "polyder": np.polyder,
    "spacing": np.spacing,
    "modf": lambda i: np.modf(i)[0],
    "vecdot": lambda i: np.vecdot(i, i),
    "pinv": lambda i: np.linalg.pinv(np.reshape(i, (2, 2))),
    "matrix_rank": np.linalg.matrix_rank,
}


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_neither_truncated_nor_wrapped_where_numpy_does_not(name, dtype):
    f, i = INTEGERS[name], np.array([1, 5, 2, 9], dtype)
    found, expected = f(Tensor(i)), np.asarray(f(i))
    assert found.numpy().dtype == expected.dtype
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_statistics_of_positions_have_the_right_factor():
    x = np.array([0.3, 1.7, 2.2, 5.1])
    gradient = tg.grad(lambda x: x[0] * np.quantile(np.argsort(x), 0.3))(x)
    np.testing.assert_allclose(gradient, [0.9, 0, 0, 0])


@pytest.mark.parametrize("at", [range(5), np.arange(5), [0, 1, 2, 3, 4]])
def test_polyfit_at_integers(at):
    y, u = np.random.default_rng(0).normal(size=(2, 5))

    def f(y):
        return np.sum(np.polyfit(at, y, 2, w=np.arange(1, 6)) * [1.0, -2.0, 0.5])

    assert np.sum(tg.grad(f)(y) * u) == pytest.approx(slope(f, y, u), abs=1e-7)


def test_trim_zeros_of_a_matrix_trims_all_axes():
    x = np.pad(np.eye(3), ((1, 2), (0, 3)))
    for options in ({}, {"trim": "f"}, {"trim": "b", "axis": 1}, {"axis": (0,)}):
        np.testing.assert_array_equal(
            np.trim_zeros(Tensor(x), **options).numpy(), np.trim_zeros(x, **options)
        )


# Half precision -----------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
WIDE, IMAGES = RNG.normal(size=(4, 64)) * 300, RNG.normal(size=(2, 4, 9, 9)) * 200
HALF = {
    "LayerNorm": (lambda: nn.LayerNorm(64), WIDE),
    "RMSNorm": (lambda: nn.RMSNorm(64), WIDE),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), IMAGES),
    "BatchNormalization": (lambda: nn.BatchNormalization(64), WIDE),
    "LayerNormalization": (lambda: nn.LayerNormalization(64), WIDE),
    "Cosine": (lambda: nn.Cosine(64, 3), WIDE),
    "Euclidean": (lambda: nn.Euclidean(64, 3), WIDE),
    "WeightedEuclidean": (lambda: nn.WeightedEuclidean(64, 3), WIDE),
    "Normalize": (lambda: nn.Normalize(2), WIDE),
    "CosineDistance": (nn.CosineDistance, [WIDE, WIDE[::-1] + 1]),
    "PairwiseDistance": (nn.PairwiseDistance, [WIDE, WIDE[::-1] + 1]),
    "SpatialLPPooling": (lambda: nn.SpatialLPPooling(4, 2, 2, 2), np.abs(IMAGES)),
    "FeatureLPPooling": (lambda: nn.FeatureLPPooling(2, 2, 2, True), np.abs(WIDE)),
    "SpatialCrossMapLRN": (lambda: nn.SpatialCrossMapLRN(3), IMAGES),
    "SpatialDivisiveNormalization": (lambda: nn.SpatialDivisiveNormalization(4), IMAGES),
    "SpatialContrastiveNormalization": (lambda: nn.SpatialContrastiveNormalization(4), IMAGES),
    "GELU": (nn.GELU, np.linspace(-6, 6, 50)),
    "SoftMax": (nn.SoftMax, np.zeros((1, 70_000))),
    "LogSoftMax": (nn.LogSoftMax, np.zeros((1, 70_000))),
}


def half_and_double(make, x, *target):
    module = make()
    values = [p.numpy().astype(np.float16) for p in module.parameters()[0] or []]
    results = []
    for dtype in (np.float16, np.float64):
        module.type(dtype)
        for p, value in zip(module.parameters()[0] or [], values, strict=True):
            p.data[...] = value
        cast = [np.asarray(v, np.float16).astype(dtype) for v in (x if type(x) is list else [x])]
        cast = cast if type(x) is list else cast[0]
        goal = [np.asarray(t).astype(dtype) for t in target]
        y = module.forward(cast, *goal)
        assert y.dtype == dtype
        g = module.backward(cast, *goal) if goal else module.backward(cast, y * 0 + 1)
        results.append((y.numpy(), (g if type(g) is list else [g])[0].numpy()))
    return results


@pytest.mark.parametrize("name", HALF)
def test_sums_of_half_precision_do_not_overflow(name):
    make, x = HALF[name]
    (y, g), (y_right, g_right) = half_and_double(make, x)
    np.testing.assert_allclose(y, y_right, rtol=0.02, atol=0.02 * np.abs(y_right).max())
    np.testing.assert_allclose(g, g_right, rtol=0.05, atol=0.05 * np.abs(g_right).max() + 2e-3)


@pytest.mark.parametrize(
    ("make", "x", "target"),
    [
        (nn.MSECriterion, np.ones(70_000), np.zeros(70_000)),
        (nn.AbsCriterion, np.ones(70_000), np.zeros(70_000)),
        (nn.BCECriterion, np.array([0, 1, 0.5, 0.25]), np.array([0.0, 1, 1, 0])),
    ],
)
def test_losses_of_half_precision_are_numbers(make, x, target):
    (y, g), (y_right, g_right) = half_and_double(make, x, target)
    np.testing.assert_allclose(y, y_right, rtol=0.01)
    np.testing.assert_allclose(g, g_right, rtol=0.01, atol=1e-6)


def test_norms_and_steps_of_half_precision():
    p = Parameter(np.ones(4, np.float16))
    (p * np.array([0, 1e-4, 1, 300], np.float16)).sum().backward()
    assert float(optim.clip_grad_norm([p], 1.0)) == pytest.approx(300, rel=1e-2)
    for make in (optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad):
        q = Parameter(np.ones(4, np.float16))
        optimizer = make([q])
        (q * np.array([0, 1e-4, 1, 100], np.float16)).sum().backward()
        optimizer.step()
        assert np.isfinite(q.numpy()).all()


@pytest.mark.parametrize("f", [np.median, np.nanmedian, lambda x: np.quantile(x, 0.5)])
def test_the_median_of_two_equal_numbers_is_their_mean(f):
    np.testing.assert_array_equal(tg.grad(f)(np.array([0.7, 0.7])), [0.5, 0.5])
    np.testing.assert_array_equal(tg.grad(f)(np.array([0.7, 0.9])), [0.5, 0.5])


def test_the_quantile_between_two_equal_numbers_keeps_both_shares():
    gradient = tg.grad(lambda x: np.quantile(x, 0.3))(np.array([2.0, 2.0]))
    np.testing.assert_allclose(gradient, [0.7, 0.3])


def test_the_gradient_of_a_broadcast_float16_operand_is_added_in_float32():
    x = np.ones((4000, 2), np.float16)
    gradient = tg.grad(lambda b: np.sum((x + b)[:, 0]))(np.zeros(2, np.float16))
    assert gradient.dtype == np.float16
    np.testing.assert_array_equal(gradient, [4000, 0])


def test_the_gradient_of_entries_read_often_is_added_in_float32():
    index = np.zeros(4000, int)
    gradient = tg.grad(lambda w: np.sum(w[index]))(np.ones(2, np.float16))
    np.testing.assert_array_equal(gradient, [4000, 0])
