"""The law of options: on Tensors, NumPy's functions take NumPy's options and give its results.

Every combination in `options_table.py` that NumPy itself takes gives the same values, shape and
dtype, and the gradient that central differences of NumPy's own results give; or it is refused with
a TypeError that `unsupported.REFUSED_OPTIONS` has a reason for.
"""

from __future__ import annotations

import inspect
import warnings
from collections import Counter

import numpy as np
import options_table
import pytest
from options_table import IRREGULAR as N
from options_table import METHODS, OPERANDS, UFUNCS_OF_TWO

from tapegrad import grad, vmap
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.declaration import numpy_functions
from tapegrad.autograd.surface.numpy_protocol import _FULL
from tapegrad.autograd.surface.unsupported import REFUSED_OPTIONS
from tapegrad.errors import BatchingError

# Phases and signs are conventions of LAPACK, and central differences take both sides of a tie.
NO_DIFFERENCES = {
    ("linalg.svd", "full_matrices"): "the vectors beyond the rank are arbitrary",
    ("linalg.eigh", "UPLO"): "one triangle is read",
    (
        "linalg.eigvalsh",
        "UPLO",
    ): "one triangle is read",
    ("linalg.cholesky", "upper"): "one triangle is read",
    ("linalg.svd", "hermitian"): "one triangle is read",
    ("linalg.pinv", "hermitian"): "one triangle is read",
    ("linalg.cond", "p"): "",
}
ALL = list(options_table.combinations())


def flat(result):
    """The numbers of a result, with its parts behind one another, and their dtypes and shapes."""
    parts = result if isinstance(result, (list, tuple)) else [result]
    arrays = [np.asarray(p.numpy() if isinstance(p, Tensor) else p) for p in parts]
    kinds = [(a.dtype, a.shape) for a in arrays]
    wide = [a.astype(complex).ravel() for a in arrays]
    return np.concatenate(wide) if wide else np.zeros(0, complex), kinds


def weighted(result):
    """A number that depends on every floating point number of a result."""
    total = 0.0
    for k, part in enumerate(result if isinstance(result, (list, tuple)) else [result]):
        if not hasattr(part, "dtype") or part.dtype.kind not in "fc" or not part.size:
            continue
        numbers = np.cos(np.arange(part.size) + k).reshape(part.shape)
        total = total + np.sum(np.real(part) * numbers) + np.sum(np.imag(part) * np.flip(numbers))
    return total


def differences(f, x, step=1e-6):
    slopes = np.zeros(x.shape)
    for i in np.ndindex(*x.shape):
        low, high = x.copy(), x.copy()
        low[i] -= step
        high[i] += step
        slopes[i] = (f(high) - f(low)) / (2 * step)
    return slopes


class Call:
    """One call of a function with options, as a function of one of its operands."""

    def __init__(self, name, options):
        self.name, self.options = name, dict(options)
        self.function, self.operands = options_table.function_of(name), OPERANDS[name]
        kinds = [self._is_variable(x) for x in self.operands]
        self.place = kinds.index(True)

    @staticmethod
    def _is_variable(x):
        x = x[0] if isinstance(x, list) and x else x
        return isinstance(x, np.ndarray) and x.dtype.kind == "f"

    @property
    def variable(self):
        x = self.operands[self.place]
        return x[0] if isinstance(x, list) else x

    def __call__(self, x):
        operands, options = list(self.operands), dict(self.options)
        whole = operands[self.place]
        operands[self.place] = [x, *whole[1:]] if isinstance(whole, list) else x
        if isinstance(self.function, np.ufunc) and "where" in options:
            options["out"] = (
                np.zeros_like(x)
                if self.name not in ["isfinite", "less", "equal"]
                else np.zeros_like(x, bool)
            )
        return self.function(*operands, **options)


def verdict(name, option, options):
    """ "agrees", "refused", or what is wrong; None where NumPy itself refuses the call."""
    call = Call(name, options)
    x = call.variable
    try:
        expected, kinds = flat(call(x.copy()))
    except (TypeError, ValueError, IndexError, np.linalg.LinAlgError):
        return None
    try:
        found, own = flat(call(Tensor(x.copy())))
    except TypeError as error:
        if name_of(name, option, options) in REFUSED_OPTIONS and "not supported" in str(error):
            return "refused"
        return f"raises {error!r:.150}"
    except Exception as error:  # noqa: BLE001  # whatever it is, it is a fault
        return f"crashes: {error!r:.150}"
    if name == "empty_like":
        return "agrees" if own == kinds else f"dtypes {own}, NumPy's {kinds}"
    if own != kinds:
        return f"dtypes and shapes {own}, NumPy's {kinds}"
    if not np.allclose(found, expected, rtol=1e-6, atol=1e-9, equal_nan=True):
        return f"values {found[:4]}, NumPy's {expected[:4]}"
    if (name, option) in NO_DIFFERENCES or any(k.itemsize < 8 for k, _ in kinds if k.kind == "f"):
        return "agrees"
    return gradient_verdict(call, x)


def gradient_verdict(call, x):
    right = differences(lambda a: weighted(call(a)), x)
    try:
        slope = grad(lambda a: weighted(call(a)) + np.sum(a * 0))(x.copy())
    except Exception as error:  # noqa: BLE001  # whatever it is, it is a fault
        return f"its gradient crashes: {error!r:.150}"
    if not np.allclose(slope, right, rtol=1e-4, atol=1e-5, equal_nan=True):
        return f"gradient {slope.ravel()[:4]}, by differences {right.ravel()[:4]}"
    return "agrees"


def name_of(name, option, options):
    """Under which name REFUSED_OPTIONS has a call: "linalg.qr(mode='raw')", "ufunc(where=)"."""
    if isinstance(options_table.function_of(name), np.ufunc):
        return f"ufunc({option}=)"
    return f"{name}({option}={options[option]!r})"


def judge(combinations):
    """The verdicts on many combinations, counted, and the faults among them."""
    counts, faults = Counter(), []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name, option, options in combinations:
            found = verdict(name, option, options)
            if found in ("agrees", "refused", None):
                counts[found] += 1
            else:
                faults.append(f"{name}({options}): {found}")
    return counts, faults


# Methods of ufuncs --------------------------------------------------------------------------------

INDICES, SEGMENTS = np.array([0, 2, 2, 1]), np.array([0, 2, 1])
# NumPy's vectorised loops read the entries before the last result is written, where they lie in a
# row: 0.7 ** 1.9 ** 0.4 is 0.7 ** 0.4 there.  Their reference is one call after the other.
READ_TOO_EARLY = {"arctan2", "power"}


def by_method(ufunc, method, options, x):
    """A ufunc's method of x."""
    if method == "at":
        y = x * 1.0
        ufunc.at(y, (INDICES, slice(0, 2)), N[:2, :2].repeat(2, 0) + 0.5)
        return y
    if method == "outer":
        return ufunc.outer(x, x[0] + 0.25, **options)
    if method == "reduceat":
        return ufunc.reduceat(x, SEGMENTS, **options)
    return getattr(ufunc, method)(x, **options)


def reference(name, method, options):
    ufunc = getattr(np, name)
    if name not in READ_TOO_EARLY or method in ("at", "outer"):
        return lambda x: by_method(ufunc, method, options, x)
    slow = np.frompyfunc(lambda a, b: ufunc(a, b), 2, 1)  # noqa: PLW0108  # a call for each pair
    own = {k: v for k, v in options.items() if k != "dtype"}
    kind = options.get("dtype", float)
    return lambda x: np.asarray(by_method(slow, method, own, x.astype(kind))).astype(kind)


@pytest.mark.extra
@pytest.mark.parametrize("name", UFUNCS_OF_TWO)
def test_the_methods_of_a_binary_ufunc_agree_with_numpy(name):
    ufunc, agreed = getattr(np, name), 0
    for method, options in [(m, o) for m, several in METHODS.items() for o in several]:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                by_method(ufunc, method, options, N.copy())
            except (TypeError, ValueError):  # of NumPy itself
                with pytest.raises((TypeError, ValueError)):
                    by_method(ufunc, method, options, Tensor(N.copy()))
                continue
            plain = reference(name, method, options)
            expected, kinds = flat(plain(N.copy()))
            found, own = flat(by_method(ufunc, method, options, Tensor(N.copy())))
            where = f"{name}.{method}({options})"
            assert own == kinds, where
            np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=where)
            agreed += 1
            if kinds[0][0] == np.float64:
                slope = grad(
                    lambda a: weighted(by_method(ufunc, method, options, a)) + np.sum(a * 0)  # noqa: B023
                )(N.copy())
                right = differences(lambda a: weighted(plain(a)), N)  # noqa: B023
                np.testing.assert_allclose(slope, right, rtol=1e-4, atol=1e-5, err_msg=where)
    assert agreed >= (3 if name in ("less", "equal") else 11)


AXES = {
    "matmul": [[(1, 0), (0, 1), (0, 1)], [(-2, -1), (0, 1), (1, 0)]],
    "vecdot": [[0, 1, ()], [1, 0], [(0,), (0,)]],
    "matvec": [[(1, 0), 0, 0], [(0, 1), (0,), (0,)]],
    "vecmat": [[0, (1, 0), 0]],
}


@pytest.mark.parametrize("name", AXES)
def test_axes_of_generalised_ufuncs(name):
    ufunc, operands = getattr(np, name), OPERANDS[name]
    for axes in AXES[name]:
        expected = ufunc(*operands, axes=axes)
        found = ufunc(Tensor(operands[0]), *operands[1:], axes=axes)
        np.testing.assert_allclose(found.numpy(), expected)
    with pytest.raises(ValueError, match="axes="):
        ufunc(Tensor(operands[0]), *operands[1:], axes=[0])


X = Tensor(np.arange(6.0).reshape(3, 2) + np.eye(3, 2))
REFUSALS = {
    "ufunc(where=) without out=": lambda: np.exp(X, where=X.numpy() > 0),
    "linalg.qr(mode='raw')": lambda: np.linalg.qr(X, mode="raw"),
    "pad(mode=function)": lambda: np.pad(X, 1, mode=lambda *_: None),
    "quantile(q=), quantile(weights=)": lambda: grad(lambda q: np.quantile(X, q))(0.5),
    "cov(dtype=int)": lambda: np.cov(X, dtype=int),
    "sort(order=), argsort(order=)": lambda: np.sort(X, order="f"),
    "sliding_window_view(writeable=True)": lambda: np.lib.stride_tricks.sliding_window_view(
        X, 2, 0, writeable=True
    ),
    "emath": lambda: vmap(np.emath.sqrt)(X),
}


@pytest.mark.parametrize("name", REFUSED_OPTIONS)
def test_what_the_page_says_is_refused_is_refused(name):
    with pytest.raises((TypeError, BatchingError)):
        REFUSALS[name]()


# Every option of every function that Tensors answer -----------------------------------------------

# Options that ask for nothing here, or that REFUSED_OPTIONS has.
NOT_ASKED = {
    "like": "the result is a Tensor where an argument is one",
    "out": "all functions write into Tensors",
    "subok": "a result is a Tensor",
    "overwrite_input": "a permission",
}
REFUSED = {
    ("sort", "order"),
    ("argsort", "order"),
    ("partition", "order"),
    ("argpartition", "order"),
}


def test_every_option_of_numpys_functions_is_known():
    unknown = []
    for function, own in numpy_functions.items():
        if isinstance(function, np.ufunc) or function in (np.where, np.einsum_path):
            continue
        known = inspect.signature(_FULL.get(function, (own, 0))[0]).parameters
        if any(p.kind is p.VAR_KEYWORD for p in known.values()):
            continue
        for name, p in inspect.signature(function).parameters.items():
            is_option = p.default is not p.empty or p.kind is p.KEYWORD_ONLY
            if is_option and name not in known and name not in NOT_ASKED:
                unknown.append((function.__name__, name))
    assert set(unknown) == REFUSED


RARE = {
    "choose wrap": lambda x: np.choose(x % 5, [x, x + 1, x + 2], mode="wrap"),
    "choose clip": lambda x: np.choose(x % 5, [x, x + 1, x + 2], mode="clip"),
    "ravel_multi_index": lambda x: np.ravel_multi_index((x, x), (3, 4), mode=("wrap", "clip")),
    "ravel_multi_index F": lambda x: np.ravel_multi_index((x % 3, x % 4), (3, 4), order="F"),
    "packbits": lambda x: np.packbits(x > 3, axis=0, bitorder="little"),
    "unpackbits": lambda x: np.unpackbits(x.astype(np.uint8), axis=1, count=5),
    "unpackbits of all": lambda x: np.unpackbits(x.astype(np.uint8), count=-5),
    "unpackbits of more": lambda x: np.unpackbits(x.astype(np.uint8), axis=0, count=20),
    "partition": lambda x: np.partition(x, [0, 1], kind="introselect"),
    "argpartition": lambda x: np.argpartition(x, [0], axis=0, kind="introselect"),
    "astype F": lambda x: x.astype(float, order="F"),
    "put wrap": lambda x: (np.put(x, [-1, 9, 3], [7, 8, 9], mode="wrap"), x)[1],
    "put clip": lambda x: (np.put(x, [-5, 99], [7, 8], mode="clip"), x)[1],
    "copyto": lambda x: (np.copyto(x, x + 0.7, casting="unsafe"), x)[1],
}


@pytest.mark.parametrize("name", RARE)
def test_rare_options(name):
    x = np.arange(6).reshape(2, 3) * 7 % 5
    expected, found = RARE[name](x.copy()), RARE[name](Tensor(x.copy())).numpy()
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    assert found.flags.f_contiguous == expected.flags.f_contiguous or "astype" not in name


# Kinds of numbers ---------------------------------------------------------------------------------

KINDS = "bool int8 uint8 int16 uint32 int64 uint64 float16 float32 float64 complex64 complex128"
NAMES = """
    prod cumprod nanprod nancumprod sum cumsum nansum mean var std median nanmedian nanvar max ptp
    average vander cov corrcoef polyder polyint poly histogram nan_to_num unique i0
"""
OF_ONE_ARRAY = {
    **{name: getattr(np, name) for name in NAMES.split()},
    "quantile": lambda x: np.quantile(x, [0.3, 0.7]),
    "percentile": lambda x: np.percentile(x, 30),
    "nanquantile": lambda x: np.nanquantile(x, 1),
    "mean(dtype=int)": lambda x: np.mean(x, dtype=int),
    "var(dtype=complex)": lambda x: np.var(x, dtype=complex),
    "sum(dtype=int8)": lambda x: np.sum(x, dtype=np.int8),
    "cumsum(dtype=float32)": lambda x: np.cumsum(x, dtype=np.float32),
    "add.reduce": np.add.reduce,
    "multiply.accumulate": np.multiply.accumulate,
    "take of truths": lambda x: np.take(x, [True, False, True]),
}
OF_TWO_ARRAYS = {
    "polyfit": lambda x, y: np.polyfit(x, y, 1),
    "polyval": np.polyval,
    "geomspace": lambda x, y: np.geomspace(x, y, 4),
    "linspace": lambda x, y: np.linspace(x, y, 4),
    "logspace": lambda x, y: np.logspace(x[:2] * 0, x[:2] * 0 + 1, 3),
    "cov": np.cov,
    "interp": lambda x, y: np.interp(x, [0.0, 3, 9], [1.0, 2, 4]),
    "histogram(weights=)": lambda x, y: np.histogram(x, 3, weights=y),
    "average(weights=)": lambda x, y: np.average(x, weights=y),
}
# NumPy refuses what Tensors take: truths in differences, half precision in linear algebra.
WIDER = {"bool", "float16"}


def agree_in_kind(name, f, *arrays):
    """Whether results on Tensors have NumPy's values and dtypes; both may refuse the call."""
    try:
        expected, kinds = flat(f(*arrays))
    except TypeError:
        if WIDER.isdisjoint(str(a.dtype) for a in arrays):
            with pytest.raises(TypeError):
                f(*map(Tensor, arrays))
        return
    found, own = flat(f(*map(Tensor, arrays)))
    where = f"{name} of {[str(a.dtype) for a in arrays]}"
    assert own == kinds, where
    coarse = {"float16": 2e-3, "float32": 1e-5, "complex64": 1e-5}
    rtol = max([1e-10, *(coarse.get(str(a.dtype), 0) for a in arrays)])
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12, err_msg=where)


@pytest.mark.extra
@pytest.mark.parametrize("name", [*OF_ONE_ARRAY, *OF_TWO_ARRAYS])
def test_values_and_dtypes_of_every_kind_of_number(name):
    x, y = np.array([1, 3, 2, 5, 7, 2]), np.array([2, 1, 3, 4, 1, 6])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for first in KINDS.split():
            if name in OF_ONE_ARRAY:
                if (name, first) != ("poly", "float16"):  # float64 in NumPy, by way of no rule
                    agree_in_kind(name, OF_ONE_ARRAY[name], x.astype(first))
                continue
            for second in KINDS.split():
                agree_in_kind(name, OF_TWO_ARRAYS[name], x.astype(first), y.astype(second))


def test_linspace_agrees_to_the_last_bit():
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 50, 400):
        start, stop = rng.normal(size=2)
        for endpoint in (True, False):
            y = np.linspace(Tensor(start), stop, n, endpoint)
            np.testing.assert_array_equal(y.numpy(), np.linspace(start, stop, n, endpoint))


@pytest.mark.parametrize("p", [None, 1, 2, -2, np.inf, "fro"])
def test_the_condition_number_of_singular_matrices(p):
    singular = np.array([np.eye(2), np.zeros((2, 2)), np.ones((2, 2))])
    cases = [singular[:2], *singular[:2]]
    if p in (1, np.inf, "fro"):  # singular values of NaN do not converge
        cases += [singular, np.full((2, 2), np.nan)]
    with np.errstate(all="ignore"):
        for x in cases:
            found = np.linalg.cond(Tensor(x), p)
            np.testing.assert_array_equal(found.numpy(), np.linalg.cond(x, p))


def test_powers_of_nan():
    x = np.array([np.nan, np.inf, 2.0])
    np.testing.assert_array_equal(np.vander(Tensor(x)).numpy(), np.vander(x))
    assert np.isfinite(grad(lambda x: np.sum(np.vander(x, 1)) + np.sum(x[2:]))(x)).all()


def test_where_needs_out_and_leaves_no_nan_behind():
    x = np.array([0.7, 0.0, -0.4])
    with pytest.raises(TypeError, match="where= without out= is not supported"):
        np.log(Tensor(x), where=x > 0)
    slope = grad(lambda x: np.sum(np.log(x, out=np.zeros_like(x), where=x > 0)))(x)
    np.testing.assert_allclose(slope, [1 / 0.7, 0, 0])
    y = np.clip(Tensor(x), 0, 1, where=x < 0, out=Tensor(x.copy()))
    np.testing.assert_array_equal(y.numpy(), [0.7, 0, 0])
    slope = grad(lambda x: grad(lambda x: np.sum(np.sqrt(x, out=x * 2, where=x > 0)))(x)[0])(x)
    np.testing.assert_allclose(slope, [-(0.7**-1.5) / 4, 0, 0])


def test_a_sample_of_options_agrees_with_numpy():
    counts, faults = judge(ALL[::41])
    assert not faults, "\n".join(faults)
    assert counts["agrees"] > 30


@pytest.mark.extra
def test_options_agree_with_numpy(figures):
    counts, faults = judge(ALL)
    assert not faults, "\n".join(faults)
    assert counts["agrees"] >= 1500
    assert counts["refused"] <= 5
