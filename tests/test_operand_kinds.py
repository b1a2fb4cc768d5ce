"""Operands of every kind: lists that hold Tensors, numbers of other classes, foreign objects.

A call with lists must have the derivative that differences of the same NumPy code give. What no
argument reaches has the derivative zero.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import Tensor

X = np.array([0.7, 1.9, 0.4])
M = np.arange(9.0).reshape(3, 3) / 7


def written(y, index, value):
    """A copy of y in which y[index] = value."""
    y = y * 1
    y[index] = value
    return y


def after(function, y, *args):
    """A copy of y after a function that writes into it."""
    y = y * 1
    function(y, *args)
    return y


LISTS = {
    "x + [..]": lambda x: x + [x[0], 1.0, 2.0],  # noqa: RUF005  # a list beside a Tensor is what is tested
    "[..] + x": lambda x: [x[0], 1.0, 2.0] + x,  # noqa: RUF005  # a list beside a Tensor is what is tested
    "(..) * x": lambda x: (x[0], 1.0, 2.0) * x,
    "x - (..)": lambda x: x - (1.0, 2.0, x[2]),
    "x / [..]": lambda x: x / [x[1], 2.0, 3.0],
    "x ** [..]": lambda x: x ** [2.0, x[0], 1.0],
    "x @ [..]": lambda x: x @ [1.0, x[0], 2.0],
    "[..] @ x": lambda x: [1.0, x[0], 2.0] @ x,
    "x > [..]": lambda x: x * (x > [x[0], 1.0, 0.1]),
    "divmod": lambda x: divmod(x, [0.5, x[0], 1.0])[1],
    "x * range": lambda x: x * range(3),
    "NumPy's scalars": lambda x: x + [np.float64(1), np.float32(2), x[0]],  # noqa: RUF005  # a list beside a Tensor is what is tested
    "lists in lists": lambda x: np.multiply(x, [[x[0], 1.0, 2.0], (1.0, x[1], 1.0)]),
    "an array in a list": lambda x: np.add(x, [x, np.ones(3)]),
    "np.add": lambda x: np.add([x[0], 1.0, 2.0], x),
    "np.maximum": lambda x: np.maximum(x, [1.0, x[0], 0.1]),
    "np.hypot": lambda x: np.hypot(x, [x[0], 1.0, 2.0]),
    "np.multiply.outer": lambda x: np.multiply.outer(x, [x[0], 1.0]),
    "np.dot": lambda x: np.dot(x, [x[0], 1.0, 2.0]),
    "np.dot of a matrix": lambda x: np.dot([[1.0, 2.0, x[0]], [3.0, x[1], 5.0]], x),
    "x.dot": lambda x: x.dot([1.0, x[0], 2.0]),
    "np.inner": lambda x: np.inner([1.0, x[0], 2.0], x),
    "np.outer": lambda x: np.outer([1.0, x[0]], x),
    "np.kron": lambda x: np.kron([1.0, x[0]], x),
    "np.vdot": lambda x: np.vdot([1.0, x[0], 3.0], x),
    "np.cross": lambda x: np.cross([1.0, x[0], 3.0], x),
    "np.tensordot": lambda x: np.tensordot([[1.0, 2.0, x[0]], [3.0, 4.0, 5.0]], x, 1),
    "np.matmul": lambda x: np.matmul([[1.0, 2.0, x[0]], [3.0, 4.0, 5.0]], x),
    "np.einsum": lambda x: np.einsum("ij,j->i", [[1.0, 2.0, x[0]], [3.0, 4.0, 5.0]], x),
    "np.linalg.solve": lambda x: np.linalg.solve([[2.0, 0, x[0]], [0, 3.0, 0], [1, 0, 4.0]], x),
    "np.append": lambda x: np.append(x, [x[0]]),
    "np.append of lists": lambda x: np.append(x, [[x[0], 1.0], [2.0, x[1]]]),
    "np.concatenate": lambda x: np.concatenate([x, [x[0], 1.0]]),
    "np.stack": lambda x: np.stack([x, [x[0], 1.0, 2.0]]),
    "np.hstack": lambda x: np.hstack([x[0], [x[1], 2.0], x]),
    "np.vstack": lambda x: np.vstack([x, [x[0], 1.0, 2.0]]),
    "np.column_stack": lambda x: np.column_stack([x, [x[0], 1.0, 2.0]]),
    "np.dstack": lambda x: np.dstack([x, [x[0], 1.0, 2.0]]),
    "np.block": lambda x: np.block([[x[0], 1.0], [2.0, x[1]]]),
    "np.where": lambda x: np.where(x > 0.5, x, [x[0], 2.0, x[1]]),
    "np.where of a list": lambda x: np.where([True, False, True], x, [x[0], 2.0, x[1]]),
    "np.choose": lambda x: np.choose([0, 1, 0], [x, [x[0], x[0], 1.0]]),
    "np.select": lambda x: np.select([x > 1.0, x > 0.5], [x, [x[0], 1.0, 2.0]], x[0]),
    "np.meshgrid": lambda x: np.meshgrid(x, [x[0], 1.0])[1],
    "np.broadcast_arrays": lambda x: np.broadcast_arrays(x, [[x[0]], [1.0]])[1],
    "np.clip": lambda x: np.clip(x, [x[0] * 0.1, 0.1, 0.1], [2.0, x[1], 0.3]),
    "x.clip": lambda x: x.clip([0.1, 0.1, 0.1], [x[0], 1.0, 1.0]),
    "np.interp": lambda x: np.interp(x, [0.0, 1.0, 2.0], [x[0], 3.0, x[1]]),
    "np.polyval": lambda x: np.polyval([x[0], 1.0, 2.0], x),
    "np.convolve": lambda x: np.convolve(x, [x[0], 1.0]),
    "np.correlate": lambda x: np.correlate(x, [x[0], 1.0]),
    "np.average": lambda x: np.average(x, weights=[1.0, x[0], 2.0]),
    "np.trapezoid": lambda x: np.trapezoid(x, [0.0, x[0], 5.0]),
    "np.gradient": lambda x: np.gradient(x, [0.0, x[0], 3.0]),
    "np.diff": lambda x: np.diff(x, prepend=[x[0] * 2, 1.0]),
    "np.ediff1d": lambda x: np.ediff1d(x, to_end=[x[0]], to_begin=[1.0]),
    "np.cov": lambda x: np.cov(x, [1.0, x[0], 2.0]),
    "np.corrcoef": lambda x: np.corrcoef(x, [1.0, x[0], 2.0]),
    "np.insert": lambda x: np.insert(x, 1, [x[0], 2.0]),
    "np.insert at several": lambda x: np.insert(x, [0, 2], [x[0], 2.0]),
    "np.insert of nothing": lambda x: np.insert(x, [], []),
    "np.insert of a row": lambda x: np.insert(np.outer(x, x), 1, [x[0], 1.0, 2.0], axis=0),
    "x[:] = [..]": lambda x: written(x, slice(None), [x[0] ** 2, 1.0, x[1]]),
    "x[i] = [..]": lambda x: written(x, [0, 2], [x[1], x[0]]),
    "x[i:j] = (..)": lambda x: written(x, slice(0, 2), (x[1], x[2])),
    "rows": lambda x: written(np.outer(x, x), slice(0, 2), [[x[0], 1.0, 2.0], (x[1], 2.0, x[2])]),
    "into zeros": lambda x: written(np.zeros_like(x), slice(None), [x[0], x[1], 1.0]),
    "x += [..]": lambda x: (x * 1).__iadd__([x[0], 1.0, 2.0]),
    "np.copyto": lambda x: after(np.copyto, x, [x[0] * 2, 1.0, 2.0]),
    "np.putmask": lambda x: after(np.putmask, x, [True, False, True], [x[1], 2.0, x[0]]),
    "np.put": lambda x: after(np.put, x, [0, 2], [x[1], x[0]]),
    "np.place": lambda x: after(np.place, x, [True, False, True], [x[1], x[0]]),
    "np.put_along_axis": lambda x: after(
        np.put_along_axis, x, np.array([0, 2]), [x[1], x[0]], 0
    ),
    "np.add.at": lambda x: after(np.add.at, x, [0, 2], [x[1], x[0]]),
    "np.fill_diagonal": lambda x: after(np.fill_diagonal, np.outer(x, x), [x[1], x[0], 1.0]),
}  # fmt: skip
# Lists and arrays where NumPy takes a number, a tuple or a list of numbers.
SETTINGS = {
    "np.delete []": lambda x: np.delete(x, []),
    "np.delete list": lambda x: np.delete(x, [0, 2]),
    "np.delete array": lambda x: np.delete(x, np.array([-1])),
    "np.delete mask": lambda x: np.delete(x, [True, False, True]),
    "np.delete index of a Tensor": lambda x: np.delete(x, np.argmax(x)),
    "np.insert at an array": lambda x: np.insert(x, np.array([1, 1]), x[:2]),
    "np.insert into a constant": lambda x: np.insert(np.ones(3), 1, x[0]),
    "np.insert into a list": lambda x: np.insert([1.0, 2.0], 1, x[:2]),
    "np.tile list": lambda x: np.tile(x, [2, 2]),
    "np.tile array": lambda x: np.tile(x, np.array([2, 1])),
    "np.tile scalar": lambda x: np.tile(x, np.int64(2)),
    "np.moveaxis list": lambda x: np.moveaxis(np.outer(x, x), [0], [1]),
    "np.moveaxis array": lambda x: np.moveaxis(M * x, np.array([0, 1]), np.array([1, 0])),
    "np.expand_dims list": lambda x: np.expand_dims(x, [0, 2]),
    "np.squeeze scalar": lambda x: np.squeeze(x[None], np.int64(0)),
    "np.transpose array": lambda x: np.transpose(M * x, np.array([1, 0])),
    "np.reshape array": lambda x: np.reshape(x, np.array([3, 1])),
    "np.roll array": lambda x: np.roll(M * x, np.array([1, 2]), np.array([0, 1])),
    "np.rot90 list": lambda x: np.rot90(M * x, 1, [0, 1]),
    "np.repeat array": lambda x: np.repeat(x, np.array([1, 2, 0])),
    "np.repeat tuple": lambda x: np.repeat(x, (1, 2, 0)),
    "np.pad array": lambda x: np.pad(x, np.array([1, 2])),
    "np.split array": lambda x: np.split(x, np.array([1]))[1],
    "np.take nested": lambda x: np.take(x, [[0, 1], [2, 2]]),
    "np.take by a Tensor": lambda x: np.take(x, np.argsort(x)),
    "np.compress": lambda x: np.compress([True, False, True], x),
}


def weighted(y):
    return np.sum(np.sin(y) * np.arange(1, np.size(y) + 1).reshape(np.shape(y)))


@pytest.mark.parametrize("name", [*LISTS, *SETTINGS])
def test_lists_and_arrays_are_operands(name):
    function = {**LISTS, **SETTINGS}[name]
    steps = 1e-6 * np.eye(3)
    slope = [
        float(weighted(function(X + step)) - weighted(function(X - step))) / 2e-6 for step in steps
    ]
    found = tg.grad(lambda x: weighted(function(x)))(X)
    np.testing.assert_allclose(found, slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["x + [..]", "np.concatenate", "lists in lists", "np.append"])
def test_lists_are_operands_of_every_sample(name):
    batch = np.stack([X, X * 2])
    found = tg.vmap(tg.grad(lambda x: weighted(LISTS[name](x))))(batch)
    single = [tg.grad(lambda x: weighted(LISTS[name](x)))(row) for row in batch]
    np.testing.assert_allclose(found, single, rtol=1e-14)


def test_a_list_beside_bare_arrays_keeps_its_gradient():
    p = tg.Parameter(X)
    y = tg.ops.multiply(np.ones(3), [p[0], 1.0, p[2]])
    assert y.tracked
    y.sum().backward()
    np.testing.assert_array_equal(p.grad.numpy(), [1, 0, 1])


def test_a_ragged_list_is_refused_by_its_shapes():
    with pytest.raises(tg.errors.ShapeError, match="one shape"):
        tg.grad(lambda x: np.sum(x + [x, x[0], 1.0]))(X)  # noqa: RUF005  # a list beside a Tensor is what is tested


def test_a_list_of_tensors_has_numpys_dtype():
    single = Tensor(np.float32(2))
    for items in ([single, single], [single, 1.0], [single, 1], [single, 1j]):
        plain = [np.asarray(i) if isinstance(i, Tensor) else i for i in items]
        assert tg.ops.add(items, np.float32(0)).dtype == np.asarray(plain).dtype


# Foreign objects ---------------------------------------------------------------------------------


class Length:
    """A quantity with a unit, which knows what an array times a unit is."""

    __hash__ = None

    def __init__(self, value):
        self.value = value

    def __rmul__(self, other):
        return Length(other * self.value)

    def __radd__(self, other):
        return "radd", other

    def __rmatmul__(self, other):
        return "rmatmul", other

    def __rpow__(self, other):
        return "rpow", other

    def __gt__(self, other):
        return "gt", other

    def __eq__(self, other):
        return "eq", other


class Foreign:
    """An array of another library, with NumPy's protocols."""

    def __array_ufunc__(self, *args, **options):
        return "its ufunc"

    def __array_function__(self, *args, **options):
        return "its function"


def test_an_object_that_knows_the_answer_is_asked():
    p = tg.Parameter(X)
    product = p * Length(2.0)
    assert isinstance(product, Length)
    product.value.sum().backward()
    np.testing.assert_array_equal(p.grad.numpy(), [2, 2, 2])
    assert (p + Length(1))[0] == "radd"
    assert (p @ Length(1))[0] == "rmatmul"
    assert (p ** Length(1))[0] == "rpow"
    assert (p < Length(1))[0] == "gt"
    assert (p == Length(1))[0] == "eq"
    assert (p + Length(1))[1] is p
    with pytest.raises(tg.errors.OperandError, match="subtract: argument x2 is Length"):
        p - Length(1)  # which has no __rsub__


def test_a_library_with_numpys_protocols_is_asked():
    p = tg.Parameter(X)
    assert np.multiply(p, Foreign()) == "its ufunc"
    assert np.dot(p, Foreign()) == "its function"
    with pytest.raises(tg.errors.OperandError, match="argument x2 is Length"):
        np.multiply(p, Length(1))


def test_pandas_answers_for_constants_and_says_to_numpy_for_the_rest():
    pandas = pytest.importorskip("pandas")
    series = pandas.Series([1.0, 2.0, 3.0])
    product = Tensor(X) * series
    assert isinstance(product, pandas.Series)
    np.testing.assert_array_equal(product, X * series)
    for f in (lambda x: (x * series).sum(), lambda x: (series * x).sum()):
        with pytest.raises(tg.errors.ConversionError, match=r"\.to_numpy\(\)"):
            tg.grad(f)(X)


def test_a_fraction_is_a_number():
    for half in (lambda x: x * Fraction(1, 2), lambda x: Fraction(1, 2) * x):
        np.testing.assert_array_equal(half(Tensor(X)).numpy(), X / 2)
        np.testing.assert_array_equal(tg.elementwise_grad(half)(X), [0.5] * 3)
    np.testing.assert_array_equal(np.add(Tensor(X), Fraction(1, 2)).numpy(), X + 0.5)


def test_a_tensor_may_be_compared_with_anything_for_equality():
    x = Tensor(X)
    for other in (None, "a", object()):
        np.testing.assert_array_equal((x == other).numpy(), [False] * 3, strict=True)
        np.testing.assert_array_equal((x != other).numpy(), [True] * 3, strict=True)
        assert x[0] != other
    for other in (None, "a", object(), iter([1])):
        with pytest.raises(tg.errors.OperandError, match="not an array or a number"):
            x + other


@pytest.mark.extra
def test_an_array_of_another_library_is_not_merely_unequal():
    torch = pytest.importorskip("torch")
    with pytest.raises(tg.errors.OperandError, match=r"give x\.numpy\(\)"):
        Tensor(X) == torch.ones(3)  # noqa: B015


# Arguments and results ---------------------------------------------------------------------------

NUMBERS = {
    "int": 3,
    "float": 3.0,
    "np.float64": np.float64(3),
    "np.float32": np.float32(3),
    "np.int64": np.int64(3),
    "0-d array": np.array(3.0),
    "Tensor": Tensor(3.0),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_differentiated(name):
    x = NUMBERS[name]
    assert float(tg.grad(lambda x: x**3)(x)) == 27
    assert float(tg.grad(tg.grad(lambda x: x**3))(x)) == 18
    assert float(tg.jvp(lambda x: x**3, (x,), (1.0,))[1]) == 27
    assert float(tg.vjp(lambda x: x**3, (x,))[1](1.0)[0]) == 27
    assert float(tg.hessian(lambda x: x**3)(x)) == 18
    assert float(tg.elementwise_grad(lambda x: x**3)(x)) == 27


def test_arrays_of_integers_are_not():
    with pytest.raises(TypeError, match="holds int64; only floating point"):
        tg.grad(lambda x: x.sum())(np.array([1, 2]))


CONSTANTS = {
    "float": lambda *_: 2.0,
    "int": lambda *_: 2,
    "NumPy's scalar": lambda *_: np.float64(2),
    "array": lambda *_: np.array(2.0),
    "Tensor": lambda *_: Tensor(2.0),
    "steps": lambda x, *_: np.sum(np.sign(x)),
    "counts": lambda x, *_: np.sum(x > 0),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_what_no_argument_reaches_has_the_derivative_zero(name):
    f = CONSTANTS[name]
    zeros = np.zeros(3)
    np.testing.assert_array_equal(tg.grad(f)(X), zeros, strict=True)
    value, gradient = tg.value_and_grad(f)(X)
    assert np.shape(value) == ()
    np.testing.assert_array_equal(gradient, zeros, strict=True)
    np.testing.assert_array_equal(tg.jacobian(f)(X), zeros, strict=True)
    np.testing.assert_array_equal(tg.hessian(f)(X), np.zeros((3, 3)), strict=True)
    np.testing.assert_array_equal(tg.hvp(f, X, X), zeros)
    np.testing.assert_array_equal(tg.vjp(f, (X,))[1](1.0)[0], zeros)
    assert float(tg.jvp(f, (X,), (X,))[1]) == 0
    np.testing.assert_array_equal(tg.elementwise_grad(f)(X), zeros)
    np.testing.assert_array_equal(tg.vmap(tg.grad(f))(np.stack([X, X])), np.zeros((2, 3)))
    with pytest.raises(TypeError, match=r"strict=True: .* does not depend on its argument 0"):
        tg.grad(f, strict=True)(X)
    with pytest.raises(TypeError, match="strict=True"):
        tg.value_and_grad(f, strict=True)(X)
    with pytest.raises(TypeError, match="strict=True"):
        tg.jacobian(f, strict=True)(X)


def test_the_derivative_zero_has_the_structure_of_the_arguments():
    tree = {"a": 2.0, "b": [X, np.ones((2, 2))]}
    found = tg.grad(lambda tree: 1.0)(tree)
    assert found.keys() == tree.keys()
    np.testing.assert_array_equal(found["b"][1], np.zeros((2, 2)), strict=True)
    first, second = tg.grad(lambda x, y: x.sum(), (0, 1))(X, Tensor(X))
    np.testing.assert_array_equal(first, np.ones(3))
    assert isinstance(second, Tensor)
    assert not second.numpy().any()
    with pytest.raises(TypeError, match="its argument 1"):
        tg.grad(lambda x, y: x.sum(), (0, 1), strict=True)(X, X)
    with pytest.raises(TypeError, match="its argument y"):
        tg.grad(lambda x, y: x.sum(), "y", strict=True)(X, y=X)
    assert tg.grad(lambda x, y: (x * y).sum(), (0, 1), strict=True)(X, X)[0] is not None


@pytest.mark.parametrize("result", ["a", None, object(), {"a": "b"}])
def test_what_is_no_number_has_no_derivative(result):
    with pytest.raises(TypeError, match="returned"):
        tg.jacobian(lambda x: result)(X)
