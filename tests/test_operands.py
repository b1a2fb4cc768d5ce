"""What is given to NumPy's functions beside a Tensor: subclasses, lists, settings, foreign objects.

Each is read as NumPy reads it, or refused by a TypeError that says what to write.
"""

import inspect
import re
import warnings

import cases
import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.autograd.check import Draws, operations
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.autograd.surface import coverage

X = np.array([[1.0, 2.0], [3.0, 5.0]])
V = np.array([0.7, 1.9, 0.4])


class Plain(np.ndarray):
    """A subclass without arithmetic of its own."""


class Doubled(np.ndarray):
    """A subclass with its own product."""

    def __mul__(self, other):
        return np.asarray(self) * other * 2


class Units(np.ndarray):
    """A subclass that takes NumPy's calls over."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return NotImplemented


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    MATRIX = np.matrix([[1.0, 2.0], [3.0, 4.0]])
MASKED = np.ma.masked_array(X, [[False, True], [False, False]])
REFUSED = {
    "matrix": (MATRIX, "write @ for its"),
    "masked": (MASKED, "getmaskarray"),
    "doubled": (X.view(Doubled), r"np\.asarray\(x\)"),
    "units": (X.view(Units), r"np\.asarray\(x\)"),
}
USES = {
    "m * x": lambda m, x: m * x,
    "x * m": lambda m, x: x * m,
    "x @ m": lambda m, x: x @ m,
    "x - m": lambda m, x: x - m,
    "np.add": np.add,
    "np.where": lambda m, x: np.where(x > 2, x, m),
    "np.dot": np.dot,
    "np.concatenate": lambda m, x: np.concatenate([x, m]),
    "np.stack": lambda m, x: np.stack([m, x]),
    "np.linalg.solve": lambda m, x: np.linalg.solve(x, m),
    "x += m": lambda m, x: (x * 1).__iadd__(m),
    "in a list": lambda m, x: np.add(x, [m, m]),
    "Tensor": lambda m, x: tg.Tensor(m),
    "a module": lambda m, x: nn.Linear(2, 2)(m),
    "grad's argument": lambda m, x: tg.grad(np.sum)(m),
    "vmap's argument": lambda m, x: tg.vmap(lambda row: row * 2)(m),
}
OF_MASKED = {
    "np.ma.exp": np.ma.exp,
    "np.ma.multiply": lambda x: np.ma.multiply(x, MASKED),
    "np.ma.minimum": lambda x: np.ma.minimum(MASKED, x),
    "np.ma.getdata": np.ma.getdata,
    "np.ma.concatenate": lambda x: np.ma.concatenate([MASKED, x]),
    "np.ma.where": lambda x: np.ma.where(MASKED > 1, x, 0.0),
    "np.ma.dot": lambda x: np.ma.dot(MASKED, x),
    "np.ma.filled": lambda x: np.ma.filled(x, 0.0),
    "np.ma.sum": np.ma.sum,
    "np.ma.array": np.ma.array,
    "m -= x": lambda x: MASKED.copy().__isub__(x),
    "m / x": lambda x: MASKED / x,
    "m ** x": lambda x: MASKED**x,
    "m > x": lambda x: x < MASKED,
    "m @ x": lambda x: MASKED @ x,
    "m[0] = x[0]": lambda x: MASKED.copy().__setitem__(0, x[0]),
    "m[0, 0] = x[0, 0]": lambda x: MASKED.copy().__setitem__((0, 0), x[0, 0]),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("use", USES)
def test_a_subclass_with_arithmetic_of_its_own_is_refused(use, kind):
    array, words = REFUSED[kind]
    if (use, kind) == ("m * x", "doubled"):  # Python asks the class itself, and it is right
        assert float(np.sum(USES[use](array, tg.Tensor(X)))) == 2 * np.sum(X * X)
        return
    with pytest.raises(
        TypeError, match=f"arithmetic of its own.*{words}|to a NumPy array"
    ) as caught:
        USES[use](array, tg.Parameter(X))
    assert "arithmetic" in str(caught.value) or (use, kind) == ("m * x", "masked")


@pytest.mark.parametrize("name", OF_MASKED)
def test_functions_of_masked_arrays_refuse_a_tracked_tensor(name):
    with pytest.raises(TypeError, match=r"NumPy array|float\(\)|arithmetic of its own"):
        tg.grad(lambda x: np.sum(OF_MASKED[name](x)))(X)


def test_the_mask_of_a_tensor_is_a_constant():
    gradient = tg.grad(lambda x: np.sum(np.ma.getmaskarray(x)))(X)
    np.testing.assert_array_equal(gradient, np.zeros_like(X), strict=True)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_subclass_may_be_written_into_a_tensor(kind):
    written = tg.Tensor(X) * 0
    written[...] = REFUSED[kind][0]
    plain = np.zeros((2, 2))
    plain[...] = REFUSED[kind][0]
    np.testing.assert_array_equal(written.numpy(), plain)


def test_a_subclass_that_computes_as_ndarray_does_is_read_as_one():
    plain = X.view(Plain)

    def f(m):
        return tg.grad(lambda x: np.sum(m * x) + np.sum((x @ m) ** 2))(X)

    np.testing.assert_array_equal(f(plain), f(X))
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum(x**2))(plain), 2 * X)


LISTS = [1.0, 2.0, 3.0]
ROWS = [[1.0, 2], [3, 4], [5, 6]]
OF_LISTS = {
    "np.dot(list, x)": lambda x: np.dot(LISTS, x),
    "np.dot(x, list)": lambda x: np.dot(x, LISTS),
    "np.dot(2-d list, x)": lambda x: np.sum(np.dot(np.transpose(ROWS).tolist(), x)),
    "x.dot(list)": lambda x: x.dot(LISTS),
    "np.inner(list, x)": lambda x: np.inner(LISTS, x),
    "np.inner(x, list)": lambda x: np.inner(x, LISTS),
    "np.tensordot": lambda x: np.sum(np.tensordot(x, ROWS, [[0], [0]])),
    "np.tensordot with arrays": lambda x: np.sum(np.tensordot(x, ROWS, np.array([[0], [0]]))),
    "np.tile": lambda x: weighted(np.tile(x, [2, 1])),
    "np.tile with an array": lambda x: weighted(np.tile(x, np.array([2]))),
    "np.moveaxis": lambda x: weighted(np.moveaxis(np.outer(x, LISTS), [0], [1])),
    "np.moveaxis with arrays": lambda x: weighted(
        np.moveaxis(np.outer(x, LISTS), np.array([0]), np.array([-1]))
    ),
    "np.expand_dims": lambda x: weighted(np.expand_dims(x, [0, 2])),
    "np.delete nothing": lambda x: weighted(np.delete(x, [])),
    "np.delete": lambda x: weighted(np.delete(x, [0, 2])),
    "np.insert nothing": lambda x: weighted(np.insert(x, [], [])),
    "np.insert": lambda x: weighted(np.insert(x, [0, 1], [1.0, 2.0])),
    "np.insert into a list": lambda x: weighted(np.insert(LISTS, 1, x[0])),
    "np.pad of a Tensor": lambda x: weighted(np.pad(x, 2, constant_values=x[0])),
    "np.pad of a matrix": lambda x: weighted(
        np.pad(np.outer(x, LISTS), ((1, 0), (0, 2)), mode="constant", constant_values=x[1])
    ),
}


def weighted(y):
    return np.sum(np.cos(np.arange(1.0, 1 + y.size)).reshape(y.shape) * y)


def slope(f, x, step=1e-6):
    steps = step * np.eye(x.size)
    return [(f(x + s) - f(x - s)) / (2 * step) for s in steps]


@pytest.mark.parametrize("name", OF_LISTS)
def test_lists_are_operands_and_settings_as_in_numpy(name):
    f = OF_LISTS[name]
    value, gradient = tg.value_and_grad(f)(V)
    np.testing.assert_allclose(value, f(V), rtol=1e-14)
    np.testing.assert_allclose(gradient, slope(f, V), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: np.moveaxis(x, 5, 0),
        lambda x: np.moveaxis(x, [0, 0], [0, 1]),
        lambda x: np.take(x, [0], axis=3),
        lambda x: np.take_along_axis(x, np.zeros((1, 2), int), 4),
        lambda x: np.repeat(x, 2, axis=2),
        lambda x: np.expand_dims(x, [0, 0]),
        lambda x: np.squeeze(x, 7),
        lambda x: np.pad(x, {4: (1, 1)}),
    ],
)
def test_an_axis_outside_of_the_array_is_an_error_as_in_numpy(wrong):
    for x in (X, tg.Tensor(X)):
        with pytest.raises((ValueError, IndexError)):
            wrong(x)


# Settings: every number that a call takes, and that is no operand ---------------------------------

INTEGERS = {"deg", "shift", "k", "decimals", "n", "axis", "axis1", "axis2", "offset", "rowvar"}
ORDERS = {"guarded_norm", "guarded_power"}  # of nn's own: p is a number there


def number_settings(name):
    """(call, place, value): calls of the case, and each place of them that holds a number."""
    draw = cases.OPERATIONS.get(name)
    for seed in range(6):
        call = draw(Draws(seed)) if draw else None
        if call is None:
            return
        parameters = inspect.signature(operations()[name]).parameters
        given = {*list(parameters)[: len(call.args)], *call.settings}
        for place, value in [*enumerate(call.args), *call.settings.items()]:
            name_of_place = [*parameters, *range(9)][place] if isinstance(place, int) else place
            if type(value) in (int, float) and name_of_place not in INTEGERS:
                yield call, place, value
        for p in parameters.values():
            if p.name not in {*given, *INTEGERS} and type(p.default) in (int, float):
                yield call, p.name, p.default


def result_with(call, operation, place, value):
    """The sum of the results of a call on Tensors, with another value at a place."""
    args = map_leaves(
        lambda a: tg.Tensor(a.copy()) if isinstance(a, np.ndarray) else a, list(call.args)
    )
    options = dict(call.settings)
    if isinstance(place, int):
        args[place] = value
    else:
        options[place] = value
    results = [y for y in leaves(operation(*args, **options)) if isinstance(y, tg.Tensor)]
    return sum(weighted(np.real(y)) for y in results if y.dtype.kind in "fc")


@pytest.mark.parametrize("name", sorted(operations()))
def test_a_tracked_setting_has_its_gradient_or_is_refused(name):
    operation = operations()[name]
    for call, place, value in number_settings(name):
        if name in ORDERS:
            continue
        given = tg.Parameter(np.float64(value))
        try:
            result = result_with(call, operation, place, given)
            if isinstance(result, tg.Tensor) and result.tracked:
                result.backward()
        except (TypeError, ValueError, AttributeError, IndexError):
            continue
        found = 0.0 if given.grad is None else given.grad.item()
        try:
            a, b = (result_with(call, operation, place, value + h) for h in (1e-5, -1e-5))
        except (TypeError, ValueError, IndexError, AttributeError):
            continue  # an integer, a choice among words
        right = (float(a) - float(b)) / 2e-5
        np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-4, err_msg=f"{name}({place}=t)")


# Refusals that help -------------------------------------------------------------------------------


def scipy_calls():
    import scipy.integrate
    import scipy.linalg
    import scipy.sparse
    import scipy.sparse.linalg
    import scipy.special
    import scipy.stats

    sparse = scipy.sparse.csr_array(np.diag(V))
    return {
        "norm.logpdf": (
            lambda x: scipy.stats.norm.logpdf(V, x[0], x[1]),
            r"tapegrad\.scipy\.stats",
        ),
        "odeint": (
            lambda x: scipy.integrate.odeint(lambda y, t: -x[0] * y, 1.0, [0.0, 1.0]),
            r"tapegrad\.scipy\.integrate, and pass",
        ),
        "quad": (lambda x: scipy.integrate.quad(lambda t: t * x[0], 0, 1)[0], r"scipy\.integrate"),
        "expm": (lambda x: scipy.linalg.expm(np.outer(x, x)), "For scipy.linalg.expm: "),
        "solve_triangular": (
            lambda x: scipy.linalg.solve_triangular(np.eye(3), x),
            r"name in tapegrad\.scipy\.linalg",
        ),
        "inv": (lambda x: scipy.linalg.inv(np.outer(x, x)), r"there is np\.linalg\.inv"),
        "logsumexp": (scipy.special.logsumexp, r"tapegrad\.autograd\.ops\.logsumexp"),
        "A * x": (lambda x: sparse * x, r"x \* A with the Tensor first"),
        "spsolve": (lambda x: scipy.sparse.linalg.spsolve(sparse.tocsc(), x), r"A\.toarray\(\)"),
    }


NUMPY_CALLS = {
    "piecewise": (
        lambda x: np.piecewise(V, [V < 1, V >= 1], [lambda t: t * x[0], 0.0]),
        r"For numpy\.piecewise: Use tapegrad\.ops\.piecewise",
    ),
    "select": (lambda x: np.select([V < 1], [V], default=x[0]), r"Use tapegrad\.ops\.select"),
    "apply_along_axis": (
        lambda x: np.apply_along_axis(lambda row: row * x[0], 1, X),
        r"Use tapegrad\.ops\.apply_along_axis",
    ),
    "vectorize": (lambda x: np.vectorize(lambda t: t * x[0])(V), r"tapegrad\.ops\.vectorize"),
    "full": (lambda x: np.full(3, x[0]), r"tapegrad\.ops\.full"),
    "full_like": (lambda x: np.full_like(V, x[0]), r"np\.ones_like"),
    "polyval": (lambda x: np.polynomial.polynomial.polyval(V, x), "polyvander"),
    "poly1d": (lambda x: np.poly1d([x[0], x[1]]), r"np\.polyval"),
    "array": (lambda x: np.array([x[0], 1.0]), r"tapegrad\.ops\.array"),
    "r_": (lambda x: np.r_[0, x], r"tapegrad\.ops\.r_"),
    "max of a list": (lambda x: np.max([x[0], x[1]]), r"np\.stack"),
    "ndenumerate": (lambda x: list(np.ndenumerate(x)), r"np\.ndindex"),
    "where=": (lambda x: np.log(x, where=V > 1), r"out=np\.zeros_like"),
    "np.savez": (lambda x: np.savez("never", x), r"x\.numpy\(\)"),
    "np.ix_": (np.ix_, r"Instead: np\.ix_"),
    "None": (lambda x: x * None, "return"),
    "a generator": (lambda x: x + (v for v in LISTS), "make a list of it"),
    "a str": (lambda x: x + "a", "str, not an array"),
}


@pytest.mark.parametrize("name", NUMPY_CALLS)
def test_a_refused_call_of_numpy_says_what_to_write(name):
    call, words = NUMPY_CALLS[name]
    with pytest.raises(TypeError, match=words):
        tg.grad(lambda x: np.sum(call(x)))(V)


def test_a_refused_call_of_scipy_says_what_to_write():
    pytest.importorskip("scipy")
    for call, words in scipy_calls().values():
        with pytest.raises(TypeError, match=words):
            tg.grad(lambda x, call=call: np.sum(call(x)))(V)


def test_no_message_names_a_function_as_its_own_neighbour():
    functions = [*coverage.NAMESPACES["numpy"].__dict__.items()]
    special = pytest.importorskip("scipy.special")
    functions += [*vars(special).items(), ("abs", np.frompyfunc(abs, 1, 1))]
    refused = 0
    for name, function in functions:
        if not isinstance(function, np.ufunc) or function.signature:
            continue
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # counts that are no whole numbers
                function(*[tg.Tensor(V / 4)] * function.nin)
        except TypeError as error:
            if "has no primitive" not in str(error):
                continue
            refused += 1
            head, _, rest = str(error).partition(" has no primitive")
            assert head.endswith((name, function.__name__))
            assert f"{head} " not in rest
            assert f"{head}." not in rest
    assert refused > 0


def test_foreign_arrays_are_refused_with_the_way_in():
    frame = type("DataFrame", (), {"__module__": "pandas.core.frame"})()
    with pytest.raises(TypeError, match=r"DataFrame, not an array or a number: give df\.to_numpy"):
        tg.Tensor(V) * frame


SPARSE = """
np.dot(s, x); np.dot(x, s); np.inner(s, x); np.tensordot(s, x); np.einsum("ij,jk", s, x)
np.kron(s, x); np.outer(s, x); np.vdot(s, x); np.concatenate([s, x]); np.stack([s, x])
np.where(x > 0, s, x); np.matmul(s, x); np.linalg.multi_dot([s, x]); np.linalg.solve(s, x)
np.maximum(s, x); np.append(x, s); np.convolve(s, x[0]); np.interp(x, s, x[0]); np.cross(s, x)
np.trapezoid(x, s); np.clip(x, s, s); np.insert(x[0], 0, s); x + s; tg.Tensor(s)
"""


@pytest.mark.parametrize("code", [c.strip() for c in re.split("[;\\n]", SPARSE) if c.strip()])
@pytest.mark.parametrize("what", ["tracked", "untracked"])
def test_a_sparse_matrix_is_no_entry_of_an_array(code, what):
    sparse = pytest.importorskip("scipy.sparse")
    x = tg.Parameter(X) * 1 if what == "tracked" else tg.Tensor(X)
    values = {"np": np, "tg": tg, "x": x, "s": sparse.csr_matrix(np.eye(2))}
    with pytest.raises(TypeError, match=r"is csr_matrix.*A\.toarray\(\) is its dense form"):
        eval(code, values)


def test_no_function_is_its_own_nearest_neighbour():
    x = tg.Parameter(X) * 1
    refusals = []
    for room in (np, np.linalg, np.fft, np.char):
        for name, function in list(vars(room).items()):
            if name == "test":  # NumPy's own tests
                continue
            if name[0] != "_" and callable(function) and not isinstance(function, type):
                for arguments in ([x], [x, x]):
                    refusals += refusal_of(function, arguments)
    found = [re.search(r"(\S+) has no primitive.* one is (\S+)\.( |$)", text) for text in refusals]
    near = [(match[1].split(".")[-1], match[2].split(".")[-1]) for match in found if match]
    assert near  # some have a neighbour
    assert [pair for pair in near if pair[0] == pair[1]] == []


def refusal_of(function, arguments):
    kinds = (TypeError, ValueError, LookupError, AttributeError, OSError, RuntimeError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(*arguments)
    except kinds as error:
        return [str(error)]
    return []
