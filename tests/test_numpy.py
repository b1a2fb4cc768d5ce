"""NumPy as the interface: coverage, the complex convention, contraction, SciPy, HIPS's examples.

That each function is right is proved by the laws (`test_laws.py`); here stands what they cannot
see: that no function is missing, what is refused and how, and whole programs.
"""

import importlib.util
import itertools
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import scipy.special

from tapegrad import cli
from tapegrad.autograd import Parameter, Tensor, grad, ops, vjp
from tapegrad.autograd.core.declaration import numpy_functions
from tapegrad.autograd.surface import coverage, unsupported

ROOT = Path(__file__).resolve().parent.parent
rng = np.random.default_rng(0)

# Coverage -----------------------------------------------------------------------------------------


def test_every_public_function_of_numpy_is_in_a_column():
    rows = coverage.coverage_table()
    assert {row.column for row in rows} == set(coverage.COLUMNS)
    assert len({(row.namespace, row.name) for row in rows}) == len(rows)


def test_a_function_in_no_column_is_an_error(monkeypatch):
    monkeypatch.setattr(np, "new_in_some_release", lambda x: x, raising=False)
    with pytest.raises(LookupError, match=r"numpy\.new_in_some_release"):
        coverage.coverage_table()


def test_most_functions_with_a_derivative_have_one_here(figures):
    share = coverage.differentiable_share()
    figures(f"NumPy's functions that have a derivative: {share:.1%} have one on Tensors")
    assert share >= 0.95


def test_the_page_is_what_the_registry_says():
    page = (ROOT / "docs" / "numpy_coverage.md").read_text()
    version = re.search(r"NumPy (\d+)\.(\d+)", page)
    found = tuple(map(int, np.__version__.split(".")[:2]))
    if found < tuple(map(int, version.groups())):
        pytest.skip("the page has functions that this older NumPy lacks")
    # a newer NumPy may have more functions, and then this test says so
    shown = coverage.markdown().replace("NumPy {}.{}".format(*found), version[0])
    assert page == shown, "python -m tapegrad.autograd.surface.coverage writes it"


def test_the_command_line_prints_it(capsys):
    assert cli.main(["info", "--ops"]) == 0
    assert "numpy.linalg" in capsys.readouterr().out


UNSUPPORTED = {
    "array": np.array,
    "asanyarray": np.asanyarray,
    "asarray": np.asarray,
    "asarray_chkfinite": np.asarray_chkfinite,
    "ascontiguousarray": np.ascontiguousarray,
    "asfortranarray": np.asfortranarray,
    "asmatrix": np.asmatrix,
    "bmat": lambda x: np.bmat([[x, x]]),
    "full": lambda x: np.full(3, x),
    "require": np.require,
    "histogram2d": lambda x: np.histogram2d(x[0], x[1]),
    "histogramdd": np.histogramdd,
    "isfortran": np.isfortran,
    "isnat": np.isnat,
    "ix_": lambda x: np.ix_(x[0], x[1]),
    "save": lambda x: np.save("x", x),
    "savetxt": lambda x: np.savetxt("x", x),
    "savez": lambda x: np.savez("x", x),
    "savez_compressed": lambda x: np.savez_compressed("x", x),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("name", sorted(unsupported.NOT_SUPPORTED))
def test_what_is_not_supported_raises_what_the_table_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = {"TypeError": TypeError, "AttributeError": AttributeError}
    expected = error[unsupported.NOT_SUPPORTED[name][0]]
    x = Parameter(rng.standard_normal((2, 2)))
    with pytest.raises(expected):
        UNSUPPORTED[name](x)


def test_what_has_no_derivative_gives_untracked_tensors():
    x = Parameter(np.array([[2.0, 1.0], [3.0, 5.0]]))
    for y in (
        np.argsort(x),
        np.sign(x),
        np.round(x),
        np.isnan(x),
        x > 1,
        x // 2,
        np.nonzero(x)[0],
        np.linalg.matrix_rank(x),
        np.searchsorted(np.arange(3.0), x),
        np.intersect1d(x, x),
    ):
        assert isinstance(y, Tensor)
        assert not y.tracked


# Complex numbers ----------------------------------------------------------------------------------


def test_the_gradient_of_a_real_function_of_complex_numbers_is_the_conjugate_direction():
    """df = Re(g·dz): of |z|² it is 2·conj(z), and -conj(g) points downhill."""
    z = np.array([1 + 2j, -3j])
    np.testing.assert_allclose(grad(lambda z: np.sum(np.abs(z) ** 2))(z), 2 * z.conj())
    np.testing.assert_allclose(grad(lambda z: np.sum(np.real(z)))(z), [1, 1])
    np.testing.assert_allclose(grad(lambda z: np.sum(np.imag(z)))(z), [-1j, -1j])


def real_pairing(f, *arguments):
    """⟨g, dz⟩ from the tape and from a central difference, over random complex directions."""
    weights = None

    def number(*z):
        y = f(*z)
        parts = y if isinstance(y, tuple) else (y,)
        nonlocal weights
        if weights is None:
            weights = [rng.standard_normal(p.shape) for p in parts]
        total = 0
        for p, w in zip(parts, weights, strict=True):
            total = total + np.sum(np.real(p) * w) + np.sum(np.imag(p) * np.flip(w))
        return total

    number(*arguments)
    directions = [
        rng.standard_normal(a.shape) + 1j * rng.standard_normal(a.shape)
        if a.dtype.kind == "c"
        else rng.standard_normal(a.shape)
        for a in arguments
    ]
    gradients = grad(number, argnums=tuple(range(len(arguments))))(*arguments)
    found = sum(np.sum(g * d).real for g, d in zip(gradients, directions, strict=True))
    h = 1e-6
    sides = [
        number(*[a + s * h * d for a, d in zip(arguments, directions, strict=True)])
        for s in (1, -1)
    ]
    return found, (sides[0] - sides[1]) / (2 * h)


def complex_matrix(n=3, m=None):
    shape = (n, m or n)
    noise = rng.uniform(-0.4, 0.4, shape) + 1j * rng.uniform(-0.4, 0.4, shape)
    return noise + np.eye(*shape) * np.arange(1, shape[1] + 1) * (1.5 + 0.5j)


def hermitian(x):
    return x @ np.conj(np.swapaxes(x, -1, -2)) + np.eye(x.shape[-1])


def projector(v):
    """What of a vector does not depend on its phase."""
    return v[:, :1] @ np.conj(v[:, :1].T)


COMPLEX = {
    "add": (lambda a, b: a + b * np.array([1.0, 2, 3]), 2),
    "power": (lambda a: a**3, 1),
    "exp": (lambda a: np.exp(a) + np.sin(a) + np.log(a) + np.sqrt(a) + np.tanh(a), 1),
    "inverse hyperbolic": (lambda a: np.arcsinh(a) + np.arctanh(a / 9) + np.arccosh(a + 9), 1),
    "absolute": (lambda a: np.abs(a) + np.angle(a), 1),
    "conjugate": (lambda a: np.conj(a) * a, 1),
    "matmul": (lambda a, b: a @ b, 2),
    "einsum": (lambda a, b: np.einsum("ij,jk,ik->i", a, b, a), 2),
    "vdot": (np.vdot, 2),
    "convolve": (lambda a, b: np.convolve(a[0], b[0]) + np.correlate(a[0], b[1], "full"), 2),
    "var": (lambda a: np.var(a, axis=0) + np.std(a, axis=1), 1),
    "prod": (lambda a: np.prod(a) + np.cumprod(a)[-1], 1),
    "sort": (lambda a: np.sort(a, axis=0), 1),
    "cov": (np.cov, 1),
    "solve": (np.linalg.solve, 2),
    "inv": (np.linalg.inv, 1),
    "det": (np.linalg.det, 1),
    "slogdet": (lambda a: tuple(np.linalg.slogdet(a)), 1),
    "pinv": (lambda a: np.linalg.pinv(a[:, :2]), 1),
    "cholesky": (lambda a: np.linalg.cholesky(hermitian(a)), 1),
    "eigvalsh": (lambda a: np.linalg.eigvalsh(hermitian(a)), 1),
    "eigh": (lambda a: projector(np.linalg.eigh(hermitian(a))[1]), 1),
    "qr": (lambda a: tuple(np.linalg.qr(a[:, :2])), 1),
    "eigvals": (np.linalg.eigvals, 1),
    "eig": (lambda a: projector(np.linalg.eig(a)[1]), 1),
    "svdvals": (lambda a: np.linalg.svd(a, compute_uv=False), 1),
    "svd": (lambda a: projector(np.linalg.svd(a)[0]), 1),
    "svd, oblong": (lambda a: projector(np.linalg.svd(a[:, :2], full_matrices=False)[2].T), 1),
    "norm": (lambda a: np.linalg.norm(a) + np.linalg.norm(a, "nuc") + np.linalg.norm(a, 1), 1),
    "fft": (lambda a: np.fft.fft(a, 5) + np.fft.ifft(a, 5, norm="ortho"), 1),
    "irfft": (lambda a: np.fft.irfft(a, 5) + np.fft.hfft(a, 5), 1),
    "polynomials": (lambda a: np.roots(a[0]), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_derivatives(name):
    f, count = COMPLEX[name]
    found, expected = real_pairing(f, *[complex_matrix() for _ in range(count)])
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_real_and_complex_arguments_make_complex_results():
    a, z = np.array([3.0, 1.0, 2.0]), np.array([2.0 + 1j, 3.0])
    for f in (np.polydiv, np.polyadd, np.intersect1d, np.union1d, np.convolve, np.kron):
        for first, second in ((a, z), (z, a), (a, z[:1]), (z, a[:1])):
            found, expected = f(Tensor(first), Tensor(second)), f(first, second)
            if not isinstance(expected, tuple):
                found, expected = [found], [expected]
            for x, y in zip(found, expected, strict=True):
                assert x.dtype == y.dtype
                np.testing.assert_allclose(x.numpy(), y)


def test_geomspace_between_negative_and_complex_ends():
    for ends in ((-1.0, -8.0), (1j, 8j), (1 + 2j, -3j), (np.array([-2.0, 1]), np.array([-5.0, 4]))):
        expected = np.geomspace(*ends, 4)
        np.testing.assert_allclose(np.geomspace(Tensor(ends[0]), ends[1], 4).numpy(), expected)
    assert grad(lambda x: np.geomspace(x, -8.0, 3)[1])(-2.0) == pytest.approx(1.0)  # -√(x·8)


def test_a_real_argument_of_a_complex_function_keeps_the_real_part():
    x = rng.standard_normal(6)
    g = grad(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2))(x)
    assert g.dtype == np.float64
    np.testing.assert_allclose(g, 2 * 6 * x)  # Parseval


def test_third_derivatives():
    def third(f):
        for _ in range(3):
            f = grad(lambda x, f=f: np.sum(f(x)))
        return f

    x = np.array([0.0, 0.3, 5.5])
    series = np.array([0.0, np.pi**4 * 0.3 / 5, 0])
    assert abs(third(np.sinc)(x)[:2] - series[:2])[0] < 1e-14
    k = np.pi
    s, c = np.sin(k * x[2]), np.cos(k * x[2])
    exact = -(k**2) * c / x[2] + 3 * k * s / x[2] ** 2 + 6 * c / x[2] ** 3 - 6 * s / (k * x[2] ** 4)
    np.testing.assert_allclose(third(np.sinc)(x)[2], exact, rtol=1e-12)
    bessel = (3 * scipy.special.iv(1, x) + scipy.special.iv(3, x)) / 4
    np.testing.assert_allclose(third(np.i0)(x), bessel, rtol=1e-12, atol=1e-15)


# Contraction --------------------------------------------------------------------------------------


def test_einsum_keeps_its_intermediates_within_the_memory_limit(monkeypatch):
    arrays = [rng.standard_normal((6, 2)), rng.standard_normal((2, 6)), rng.standard_normal((6, 2))]
    text = "ij,jk,kl->il"
    expected = np.einsum(text, *arrays)
    sizes = []
    from tapegrad.autograd.ops import linalg

    plain = linalg.contract
    monkeypatch.setattr(linalg, "contract", lambda *a, **k: sizes.append(1) or plain(*a, **k))
    y = ops.einsum(text, *map(Tensor, arrays), memory_limit=2)
    assert not sizes, "a pair was contracted although its result is too large"
    np.testing.assert_allclose(y.numpy(), expected)
    np.testing.assert_allclose(
        np.einsum(text, *map(Tensor, arrays), optimize=("greedy", 2)).numpy(), expected
    )
    ops.einsum(text, *map(Tensor, arrays))
    assert sizes


@pytest.mark.parametrize("limit", [None, 2, 1000])
def test_einsum_gradients_do_not_depend_on_the_memory_limit(limit):
    arrays = [rng.standard_normal((4, 3)), rng.standard_normal((3, 4)), rng.standard_normal((4, 2))]

    def loss(a, b, c):
        return np.sum(np.sin(ops.einsum("ij,jk,kl->il", a, b, c, memory_limit=limit)))

    def plain(a, b, c):
        return np.sum(np.sin(a @ b @ c))

    for found, expected in zip(grad(loss, (0, 1, 2))(*arrays), grad(plain, (0, 1, 2))(*arrays),
                               strict=True):  # fmt: skip
        np.testing.assert_allclose(found, expected)


def test_einsum_takes_operands_with_lists_of_axes():
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((3, 4))
    np.testing.assert_allclose(np.einsum(Tensor(a), [0, 1], Tensor(b), [1, 2], [2, 0]).numpy(),
                               (a @ b).T)  # fmt: skip


# Options and refusals -----------------------------------------------------------------------------


def test_svd_completes_bases_as_numpy_does():
    x = rng.standard_normal((4, 2))
    for a in (x, x.T):
        for found, expected in zip(np.linalg.svd(Tensor(a)), np.linalg.svd(a), strict=True):
            np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric", "wrap"])
def test_pad_in_numpy_modes(mode):
    x = rng.standard_normal((3, 4))
    y, pull = vjp(lambda x: np.pad(x, ((1, 2), (2, 0)), mode=mode), x)
    np.testing.assert_array_equal(y, np.pad(x, ((1, 2), (2, 0)), mode=mode))
    g = pull(np.ones_like(y))
    assert g.sum() == y.size


@pytest.mark.parametrize("n", range(1, 6))
@pytest.mark.parametrize("m", range(1, 6))
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_correlate_and_convolve_equal_numpy_for_all_lengths(n, m, mode):
    a = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    v = rng.standard_normal(m) + 1j * rng.standard_normal(m)
    for f in (np.correlate, np.convolve):
        np.testing.assert_allclose(f(Tensor(a), Tensor(v), mode).numpy(), f(a, v, mode))


def test_sets_of_entries_that_meet():
    a, b = np.array([3.0, 1.0, 2.0, 1.0]), np.array([2.0, 5.0])
    for f in (np.intersect1d, np.setdiff1d, np.setxor1d, np.union1d):
        np.testing.assert_array_equal(f(Tensor(a), Tensor(b)).numpy(), f(a, b))
    for f in (np.unique_all, np.unique_counts, np.unique_inverse):
        for found, expected in zip(f(Tensor(a)), f(a), strict=True):
            np.testing.assert_array_equal(found.numpy(), expected)
    y = np.trim_zeros(Tensor(np.array([0.0, 1.5, 0.0, 2.0, 0.0])))
    np.testing.assert_array_equal(y.numpy(), [1.5, 0, 2])


def test_histogram_between_given_borders_is_differentiated_by_its_weights():
    x, w, borders = np.array([0.5, 1.5, 1.7, 7.0]), rng.standard_normal(4), [0.0, 1.0, 2.0]
    for found, expected in zip(np.histogram(Tensor(x), borders), np.histogram(x, borders),
                               strict=True):  # fmt: skip
        np.testing.assert_array_equal(found.numpy(), expected)
    y, pull = vjp(lambda w: np.histogram(x, borders, weights=w)[0], w)
    np.testing.assert_allclose(y, np.histogram(x, borders, weights=w)[0])
    np.testing.assert_array_equal(pull(np.array([2.0, 3.0])), [2, 3, 3, 0])


def test_ufunc_methods():
    x = rng.standard_normal((3, 2))
    for f in (
        np.add.accumulate,
        lambda x: np.multiply.accumulate(x, axis=1),
        lambda x: np.subtract.outer(x, x),
    ):
        np.testing.assert_allclose(f(Tensor(x)).numpy(), f(x))


def test_numpy_functions_that_write_are_differentiated():
    def f(x, v):
        y = x * 1.0
        np.put(y, [1], v[:1])
        np.fill_diagonal(y, v[1])
        np.put_along_axis(y, np.array([[2], [2], [0]]), np.reshape(v, (3, 1)), 1)
        return np.sum(y * y)

    x, v = rng.standard_normal((3, 3)), rng.standard_normal(3)
    g, h = grad(f, (0, 1))(x, v)
    step = 1e-6
    for i in range(3):
        e = np.eye(3)[i] * step
        slope = (f(Tensor(x), Tensor(v + e)) - f(Tensor(x), Tensor(v - e))).item() / (2 * step)
        assert h[i] == pytest.approx(slope, rel=1e-6, abs=1e-8)
    assert g[0, 0] == g[0, 2] == 0


# SciPy --------------------------------------------------------------------------------------------


def test_indices_along_an_axis_broadcast_as_numpys():
    """A length of 1 on another axis stands for all of it."""
    x, indices = rng.standard_normal((2, 3, 2)), np.array([1, 2]).reshape(2, 1, 1)
    taken = np.take_along_axis(Tensor(x), indices, 1)
    assert np.array_equal(taken.numpy(), np.take_along_axis(x, indices, 1))
    assert np.array_equal(
        np.take_along_axis(Tensor(x[:1]), indices, 1).numpy(),
        np.take_along_axis(x[:1], indices, 1),
    )

    def put(y):
        np.put_along_axis(y, indices, np.ones((2, 1, 2)), 1)
        return np.asarray(y)

    assert np.array_equal(put(Tensor(x.copy())), put(x.copy()))
    for wrong in (np.zeros(2, int), np.zeros((1, 2, 3, 2), int)):
        with pytest.raises(ValueError, match="as many axes"):
            np.take_along_axis(Tensor(x), wrong, 1)
        with pytest.raises(ValueError, match="as many axes"):
            np.put_along_axis(Tensor(x), wrong, 1.0, 1)


def test_scipy_is_not_loaded_before_it_is_used():
    code = "import sys, tapegrad; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_scipy_ufuncs_meet_tensors():
    x = np.array([0.5, 1.5])
    for name in ("erf", "gammaln", "psi", "expit", "i0", "ndtr"):
        function = getattr(scipy.special, name)
        y = function(Parameter(x))
        assert y.tracked
        np.testing.assert_allclose(y.numpy(), function(x))
    with pytest.raises(TypeError, match="has no primitive"):
        np.frompyfunc(abs, 1, 1)(Parameter(x))


# HIPS autograd's examples -------------------------------------------------------------------------


def hips_examples():
    spec = importlib.util.spec_from_file_location("hips", ROOT / "benchmarks" / "hips.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HIPS = hips_examples()


@pytest.mark.parametrize("title", sorted(HIPS.EXAMPLES))
def test_example_of_hips_autograd_runs_on_plain_numpy(title):
    value = np.asarray(HIPS.EXAMPLES[title](np, grad)())
    assert np.isfinite(value).all()
    if title.startswith("Rosenbrock"):
        assert np.abs(value - 1).max() < 1.5
    if title.startswith("tanh"):
        t = np.tanh(np.linspace(-3, 3, 200))
        u = 1 - t * t
        expected = u * (16 * u * u - 88 * u * t * t + 16 * t**4)
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)


def hips_python():
    spec = importlib.util.find_spec("autograd")
    return sys.executable if spec and "site-packages" in str(spec.origin) else None


@pytest.mark.extra
@pytest.mark.skipif(hips_python() is None, reason="HIPS autograd is not installed")
def test_examples_agree_with_hips_autograd(figures):
    script = str(ROOT / "benchmarks" / "hips.py")
    with tempfile.TemporaryDirectory() as folder:
        sides = [
            json.loads(subprocess.run([sys.executable, "-P", script, "--only", name], cwd=folder,
                                      check=True, capture_output=True, text=True).stdout)
            for name in ("tapegrad", "hips")
        ]  # fmt: skip
    for title, ours in sides[0].items():
        theirs = sides[1][title]
        np.testing.assert_allclose(ours["value"], theirs["value"], rtol=1e-6, atol=1e-9)
        figures(f"{title}: {ours['seconds'] / theirs['seconds']:.2f} of HIPS autograd's time")


# Bodies of our own where NumPy's Python costs more than the work ----------------------------------


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((), (3,)), ((), ()), ((3,), (2, 3)), ((3, 1), (2, 3, 4)), ((1,), (0,)), ((2, 0), (2, 0))],
)
def test_broadcast_to_is_numpys_read_only_view(shape, wanted):
    x = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    for array in x, x.astype(np.float32), x[..., None][..., 0], x.view():
        found = ops.broadcast_to(array, wanted)
        np.testing.assert_array_equal(found, np.broadcast_to(array, wanted))
        assert found.dtype == array.dtype
        assert not found.flags.writeable
        assert np.shares_memory(found, array) or not found.size
    x.flags.writeable = False
    assert ops.broadcast_to(x, wanted).shape == wanted
    assert ops.broadcast_to(np.float32(2), (2,)).tolist() == [2, 2]
    for wrong in ((2,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)):
        with pytest.raises(ValueError, match=r"broadcast|more dimensions"):
            ops.broadcast_to(np.ones(wrong[0]), wrong[1])


def test_roll_is_numpys():
    x = np.arange(12.0).reshape(3, 4)
    for shift, axis in itertools.product((-5, -1, 0, 1, 3, 7), (0, 1, -1, -2, None)):
        np.testing.assert_array_equal(ops.roll(x, shift, axis), np.roll(x, shift, axis))
    assert ops.roll(np.zeros((0, 3)), 1, 0).shape == (0, 3)
    with pytest.raises(np.exceptions.AxisError):
        ops.roll(x, 1, 2)


def test_operations_take_numbers_without_wrapping_them():
    for value in 0.5, np.float32(0.5), 2:
        for function in ops.exp, ops.sum, ops.negative, ops.square:
            assert not isinstance(function(value), Tensor)
            np.testing.assert_allclose(function(value), getattr(np, function.__name__)(value))


def test_a_numpy_function_can_be_declared_anew():
    def first(x):
        return x * 2

    original = numpy_functions[np.sinc]
    assert np.sinc(Tensor(0.0)).item() == 1.0
    try:
        numpy_functions[np.sinc] = first
        assert np.sinc(Tensor(4.0)).item() == 8.0
    finally:
        numpy_functions[np.sinc] = original


@pytest.mark.parametrize("number", [0.5, 1, True, np.float32(0.5), np.float64(0.5)])
def test_numbers_among_choices_take_the_dtype_that_numpy_gives_them(number):
    options = [number, np.ones(3, np.float32)]
    expected = np.choose([0, 1, 0], options)
    found = np.choose([0, 1, 0], [number, Tensor(options[1])])
    assert found.dtype == expected.dtype
    assert np.array_equal(found.numpy(), expected)


def test_nothing_taken_of_nothing_is_no_index_error():
    x = Tensor(np.zeros((0, 0)))
    assert np.take(x, 0, axis=1).shape == np.take(np.zeros((0, 0)), 0, axis=1).shape == (0,)
    assert np.take(x, [[3]], axis=1).shape == (0, 1, 1)
    with pytest.raises(IndexError):
        np.take(Tensor(np.zeros((2, 0))), 0, axis=1)
