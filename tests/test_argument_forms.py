"""vjp, jvp and hvp take arguments as a tuple, by name or bare, and agree in all these forms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapegrad.autograd import (
    Parameter,
    Tensor,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
    vmap,
)

RNG = np.random.default_rng(0)


class Affine(NamedTuple):
    w: np.ndarray
    b: np.ndarray


def close(got, expected) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=1e-10, atol=1e-10)


# A function of up to three arguments, one of which may be a nest, and what it is called with ------

NESTS = {
    "array": (lambda p: p, lambda a: a),
    "list": (lambda p: p[0] * p[1], lambda a: [a, a * a + 1]),
    "named tuple": (lambda p: p.w + p.b, lambda a: Affine(a, a * 0.5)),
    "dict": (lambda p: p["w"] * 2 + p["d"]["b"], lambda a: {"w": a, "d": {"b": a + 1}}),
}


def arguments_of(draw, count: int, kind: str, size: int):
    """An array function of `count` arguments with a matching tuple, and another like the tuple."""
    read, build = NESTS[kind]
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    matrix = rng.normal(size=(size + 1, size)) * 0.5

    def layer(x, y=1.0, p=None, *, scale=1.0):
        inner = x * y * scale if p is None else x * y * scale + read(p) ** 2
        return np.tanh(matrix @ inner)

    def layer_of_nest(p):
        return np.tanh(matrix @ read(p) ** 2)

    def make():
        nest = build(rng.normal(size=size))
        return (nest,) if count == 0 else (*rng.normal(size=(2, size)), nest)[:count]

    return (layer if count else layer_of_nest), make(), make()


@st.composite
def problems(draw):
    """(fn, args, tangents, kwargs) in one of the forms, and the same by position."""
    count = draw(st.integers(0, 3))  # 0: of a nest alone
    kind = draw(st.sampled_from(sorted(NESTS)))
    fn, args, tangents = arguments_of(draw, count, kind, draw(st.integers(1, 3)))
    kwargs = {"scale": 0.7} if count and draw(st.booleans()) else {}
    if draw(st.booleans()):
        args = tuple(wrapped(x) for x in args)
    names = "xyp" if count else "p"
    single = len(args) == 1
    bare = single and (count > 0 or kind != "dict")
    form = draw(st.sampled_from(["tuple", "dict"] + ["bare", "mixed", "mixed back"] * bare))
    shaped = {
        "tuple": (args, tangents),
        "dict": (
            dict(zip(names, args, strict=False)),
            dict(reversed(list(zip(names, tangents, strict=False)))),
        ),
        "bare": (args[0], tangents[0]),
        "mixed": (args, tangents[0]),
        "mixed back": (args[0], tangents),
    }[form]
    return fn, *shaped, kwargs, args, tangents


def wrapped(nest):
    """The nest with Tensors for its arrays."""
    if isinstance(nest, Affine):
        return Affine(*map(wrapped, nest))
    if isinstance(nest, list):
        return [wrapped(x) for x in nest]
    if isinstance(nest, dict):
        return {key: wrapped(x) for key, x in nest.items()}
    return Tensor(nest)


def parts(nest):
    """The arrays of a nest, in the order of a dict's sorted keys."""
    if isinstance(nest, dict):
        return [x for key in sorted(nest) for x in parts(nest[key])]
    if isinstance(nest, (list, tuple)):
        return [x for part in nest for x in parts(part)]
    return [np.asarray(nest.numpy() if isinstance(nest, Tensor) else nest)]


def in_order(form):
    """The parts of arguments in one of the forms, in the order of the positions."""
    return parts([form[name] for name in "xyp" if name in form] if is_by_name(form) else form)


def is_by_name(form) -> bool:
    return isinstance(form, dict) and form.keys() <= set("xyp")


def dot(a, b):
    return sum(np.sum(x * y) for x, y in zip(a, b, strict=True))


def rows_of(blocks, positional):
    """The Hessian's blocks in one list for each array of the arguments."""
    for argument, x in zip(blocks, positional, strict=True):
        found, count = parts(argument), len(parts(x))
        width = len(found) // count
        for i in range(count):
            yield found[i * width : (i + 1) * width]


def form_of(nest):
    """The containers of a nest, without its arrays."""
    if isinstance(nest, dict):
        return {key: form_of(value) for key, value in nest.items()}
    if isinstance(nest, (list, tuple)):
        return type(nest), [form_of(x) for x in nest]
    return Tensor if isinstance(nest, Tensor) else np.ndarray


@given(problems())
def test_all_derivatives_agree_in_every_form(problem) -> None:
    fn, args, tangents, kwargs, positional, directions = problem
    numbers = tuple(range(len(positional)))

    def loss(*args, **kwargs):
        return np.sum(np.exp(fn(*args, **kwargs)))

    # jacobian and jvp: J·t, whatever form t has
    blocks = [parts(block) for block in jacobian(fn, numbers)(*positional, **kwargs)]
    along = [x for direction in directions for x in parts(direction)]
    rows = [block for argument in blocks for block in argument]
    value, derivative = jvp(fn, args, tangents, **kwargs)
    expected = sum(np.tensordot(j, t, t.ndim) for j, t in zip(rows, along, strict=True))
    close(parts(value)[0], parts(fn(*map(wrapped, positional), **kwargs))[0])
    close(parts(derivative)[0], expected)

    # vjp: ⟨v, J·t⟩ = ⟨vᵀ·J, t⟩, and the pullback has the form of args
    value, pull = vjp(fn, args, **kwargs)
    v = RNG.normal(size=np.shape(value))
    pulled = pull(v)
    assert form_of(pulled) == form_of(args)
    close(dot(in_order(pulled), along), np.sum(v * expected))
    for one, j in zip(in_order(pulled), rows, strict=True):
        close(one, np.tensordot(v, j, v.ndim))

    # hvp: H·t, where H is the Jacobian of the gradient, and both are the gradient's own derivative
    gradients = grad(loss, numbers)(*positional, **kwargs)
    value, pull = vjp(loss, args, **kwargs)
    for one, g in zip(in_order(pull(1.0)), parts(gradients), strict=True):
        close(one, g)
    close(jvp(loss, args, tangents, **kwargs)[1], dot(parts(gradients), along))
    product = hvp(loss, args, tangents, **kwargs)
    assert form_of(product) == form_of(args)
    for got, row in zip(
        in_order(product),
        rows_of(hessian(loss, numbers)(*positional, **kwargs), positional),
        strict=True,
    ):
        close(got, sum(np.tensordot(h, t, t.ndim) for h, t in zip(row, along, strict=True)))
    through_gradient = jvp(grad(loss, numbers), positional, directions, **kwargs)[1]
    for one, other in zip(in_order(product), parts(through_gradient), strict=True):
        close(one, other)


# Each form, by example ----------------------------------------------------------------------------

X, V = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.0, -2.0])


def test_a_bare_array_is_one_argument_and_is_not_iterated_over() -> None:
    y, pull = vjp(np.sin, X)
    np.testing.assert_allclose(y, np.sin(X))
    assert type(pull(V)) is np.ndarray
    np.testing.assert_allclose(pull(V), V * np.cos(X))
    np.testing.assert_allclose(jvp(np.sin, X, V)[1], V * np.cos(X))
    np.testing.assert_allclose(hvp(lambda x: np.sum(x**3), X, V), 6 * X * V)
    pair = np.array([2.0, 3.0])  # two entries, one argument
    assert vjp(np.sum, pair)[1](1.0).tolist() == [1.0, 1.0]
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        vjp(lambda x, y: x * y, pair)
    assert isinstance(vjp(np.sin, Tensor(X))[1](V), Tensor)


def test_numbers_of_every_kind_are_bare_arguments() -> None:
    for x in 2, 2.0, np.float64(2.0), Tensor(2.0):
        assert float(vjp(lambda x: x**3, x)[1](1)) == 12
        assert float(jvp(lambda x: x**3, x, 2)[1]) == 24
        assert float(hvp(lambda x: x**3, x, 2.0)) == 24
    assert jvp(np.exp, 0j, 1j)[1] == 1j


def test_the_tuple_is_passed_by_position_and_comes_back_as_a_tuple() -> None:
    pull = vjp(np.multiply, (X, V))[1]
    assert type(pull(X)) is tuple
    assert [g.tolist() for g in pull(np.ones(3))] == [V.tolist(), X.tolist()]
    assert type(vjp(np.sin, (X,))[1](V)) is tuple
    assert type(hvp(lambda x: np.sum(x * x), (X,), V)) is tuple
    assert vjp(lambda: Tensor(1.0), ())[1](1.0) == ()


def test_the_dict_is_passed_by_name_and_comes_back_as_a_dict() -> None:
    def f(x, *, power):
        return np.sum(x**power)

    pulled = vjp(f, {"power": 2.0, "x": X + 2})[1](1.0)
    assert list(pulled) == ["power", "x"]
    np.testing.assert_allclose(pulled["x"], 2 * (X + 2))
    along = {"x": V, "power": 0.0}
    np.testing.assert_allclose(
        jvp(f, {"power": 2.0, "x": X + 2}, along)[1], np.sum(2 * (X + 2) * V)
    )
    assert list(hvp(f, {"power": 2.0, "x": X + 2}, along)) == ["power", "x"]


def test_dicts_inside_are_matched_by_key_and_not_by_order() -> None:
    def f(p):
        return {"s": p["a"] * 2, "t": p["b"] * p["b"]}

    p = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}
    t = {"b": np.array([1.0, 0.0]), "a": np.array([5.0, 7.0])}
    derivative = jvp(f, (p,), (t,))[1]
    assert derivative["s"].tolist() == [10, 14]
    assert derivative["t"].tolist() == [6, 0]
    [pulled] = vjp(f, (p,))[1]({"t": np.array([1.0, 1.0]), "s": np.array([0.0, 3.0])})
    assert pulled["a"].tolist() == [0, 6]
    assert pulled["b"].tolist() == [6, 8]
    [product] = hvp(lambda p: np.sum(f(p)["t"]), (p,), (t,))
    assert product["b"].tolist() == [2, 0]


def test_keyword_arguments_are_constants_unless_argnums_names_them() -> None:
    def f(x, w=1.0, *, index):
        return np.sum(x[index] * w) ** 2

    index = np.array([0, 2])
    got = jvp(f, X, V, w=3.0, index=index)[1]
    np.testing.assert_allclose(got, jacobian(f)(X, 3.0, index=index) @ V)
    np.testing.assert_allclose(
        hvp(f, (X,), (V,), w=3.0, index=index)[0], hessian(f)(X, 3.0, index=index) @ V
    )
    assert type(vjp(f, X, index=index)[1](1.0)) is np.ndarray
    by_x, by_w = vjp(f, X, argnums=(0, "w"), w=3.0, index=index)[1](1.0)
    np.testing.assert_allclose(by_x, grad(f)(X, 3.0, index=index))
    np.testing.assert_allclose(by_w, grad(f, "w")(X, 3.0, index=index))
    alone = vjp(f, {"x": X, "w": 3.0}, argnums="w", index=index)[1](1.0)
    np.testing.assert_allclose(alone, by_w)


def test_the_products_are_differentiable_and_run_on_batches() -> None:
    def f(x):
        return np.tanh(x) * x

    third = grad(lambda x: hvp(lambda x: np.sum(f(x)), x, V).sum())(X)
    expected = grad(
        lambda x: (grad(lambda u: np.sum(grad(lambda w: np.sum(f(w)))(u) * V))(x)).sum()
    )
    np.testing.assert_allclose(third, expected(X), rtol=1e-12)
    batch = RNG.normal(size=(4, 3))
    each = vmap(lambda x: vjp(f, x)[1](V))(batch)
    np.testing.assert_allclose(each, np.stack([vjp(f, x)[1](V) for x in batch]))
    each = vmap(lambda x: jvp(f, x, V)[1])(batch)
    np.testing.assert_allclose(each, np.stack([jvp(f, x, V)[1] for x in batch]))
    assert value_and_grad(lambda x: jvp(f, x, x)[1].sum())(X)[1].shape == (3,)


# What does not fit --------------------------------------------------------------------------------


def product_of(x, y):
    return x * y


def test_the_old_spelling_is_told_the_new_one() -> None:
    message = r"given 2 arguments of product_of one by one.*vjp\(product_of, \(x, y\)\)"
    with pytest.raises(TypeError, match=message):
        vjp(product_of, X, V)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([X, V], r"a list, which is one argument.*missing.*'y'.*tuple\(args\)"),
        ({"x": X}, r"keys name arguments of product_of: missing.*'y'.*product_of, \(args,\)"),
        ({"x": X, "z": V}, r"keys name arguments of product_of: .*product_of, \(args,\)"),
        ({0: X, 1: V}, "keys name arguments of product_of: [01] is no name"),
    ],
)
def test_arguments_that_do_not_suit_the_function_say_which_form_does(args, message) -> None:
    for run in (
        lambda: vjp(product_of, args),
        lambda: jvp(product_of, args, args),
        lambda: hvp(product_of, args, args),
    ):
        with pytest.raises(TypeError, match=message):
            run()


def test_an_argument_that_is_given_twice_is_refused() -> None:
    with pytest.raises(TypeError, match="args and the keyword arguments both hold 'y'"):
        vjp(product_of, {"x": X, "y": V}, y=V)


@pytest.mark.parametrize("derivative", [jvp, hvp])
@pytest.mark.parametrize(
    ("args", "tangents", "message"),
    [
        ((X, V), {"x": X, "y": V}, "args is a tuple of 2, tangents is a dict"),
        ({"x": X, "y": V}, (X, V), "args is a dict, tangents is a tuple of 2"),
        ((X, V), X, "args is a tuple of 2, tangents is one bare argument"),
        ((X, V), [X, V], "args is a tuple of 2, tangents is one bare argument"),
        (X, (X, V), "args is one bare argument, tangents is a tuple of 2"),
        ((X, V), (X,), "args is a tuple of 2, tangents is a tuple of 1"),
        ({"x": X, "y": V}, {"x": X}, r"the keys are \['x'\], they must be \['x', 'y'\]"),
        (X, np.ones(2), r"tangents holds the shapes \(2,\), args has \(3,\)"),
        ((X, V), (X, 1.0), r"the shapes \(\(3,\), \(\)\), args has \(\(3,\), \(3,\)\)"),
        ([X, V], [X], r"the shapes \[\(3,\)\], args has \[\(3,\), \(3,\)\]"),
        (({"a": X}, V), ([X], V), "tangents holds the shapes"),
        ((None, V), (X, V), "tangents holds the shapes"),
    ],
)
def test_tangents_that_do_not_match_are_refused(derivative, args, tangents, message) -> None:
    with pytest.raises(ValueError, match=message):
        derivative(product_of, args, tangents)


def test_cotangents_that_do_not_match_are_refused() -> None:
    pull = vjp(lambda x: {"a": x, "b": x * 2}, X)[1]
    with pytest.raises(ValueError, match=r"the keys are \['a', 'c'\], they must be \['a', 'b'\]"):
        pull({"a": X, "c": X})
    with pytest.raises(ValueError, match="returned 2 arrays, v has 1"):
        pull([X])
    with pytest.raises(ValueError, match=r"has shape \(2,\)"):
        pull({"a": X, "b": np.ones(2)})


def test_a_complex_direction_of_a_real_argument_or_result_is_refused() -> None:
    for derivative in (jvp, hvp):
        with pytest.raises(TypeError, match=r"tangent holds complex128, its argument float64"):
            derivative(lambda x: np.sum(x * x), X, 1j * V)
    assert jvp(lambda z: z * z, X + 0j, V)[1].tolist() == (2 * X * V).tolist()
    with pytest.raises(TypeError, match="the gradient is complex, what it is the gradient of"):
        vjp(np.sin, X)[1](1j * V)
    with pytest.raises(TypeError, match="the gradient is complex"):
        (Parameter(X) * 2).backward(1j * V)


def test_cotangents_of_another_shape_name_the_function() -> None:
    with pytest.raises(ValueError, match=r"product_of: v has shape \(\), what product_of returned"):
        vjp(product_of, (X, V))[1](1.0)
    with pytest.raises(ValueError, match="sin returned 1 array, v has 3"):
        vjp(np.sin, X)[1]([1.0, 1.0, 1.0])


def test_what_is_no_function_or_returns_nothing_says_so() -> None:
    makers = (grad, value_and_grad, jacobian, hessian, lambda f: vjp(f, X))
    for make in (*makers, lambda f: jvp(f, X, V), lambda f: hvp(f, X, V)):
        with pytest.raises(TypeError, match=r"this is of type float.*grad\(f\)\(x\)"):
            make(2.0)

    def forgetful(x):
        x * 2  # and no return

    for make in (lambda f: grad(f)(X), lambda f: jacobian(f)(X), lambda f: vjp(f, X)):
        with pytest.raises(TypeError, match="forgetful returned None: does it end without"):
            make(forgetful)
    with pytest.raises(TypeError, match="one number; <lambda> returned a tuple"):
        grad(lambda x: (np.sum(x), x))(X)
    for argnums in ((), []):
        with pytest.raises(TypeError, match=r"selects no argument of product_of"):
            grad(product_of, argnums)


def test_errors_name_the_function_of_the_user_and_the_argument() -> None:
    with pytest.raises(TypeError, match="argument 1 of product_of holds int64"):
        hvp(product_of, (X, np.arange(3)), (V, V))
    with pytest.raises(TypeError, match="argument 1 of product_of: 'text' is str, not an array"):
        vjp(product_of, (X, "text"))
    with pytest.raises(TypeError, match=r"a named tuple, which is one argument.*tuple\(args\)"):
        vjp(product_of, Affine(X, V))
    with pytest.raises(TypeError, match="list") as caught:
        grad(lambda x: np.sum(x**2))([1.0, 2.0])
    assert "np.array(…) makes one array of it" in caught.value.__notes__[0]
