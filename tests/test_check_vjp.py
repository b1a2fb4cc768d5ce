"""check_vjp: NumPy functions with a gradient written by hand, no Tensor anywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tapegrad.autograd.check import FUNCTION_LAWS, LawError, array, check_vjp, indices, ints, one_of


def linear(x, w):
    return x @ w.T


def linear_vjp(g, x, w):
    return g @ w, g.T @ x


def rows(i, table):
    return table[i]


def rows_vjp(g, i, table):
    found = np.zeros_like(table)
    np.add.at(found, i, g)
    return None, found


def rows_jvp(t, i, table):
    _, change = t
    return change[i]


def rows_vjp_that_forgets_repeated_rows(g, i, table):
    found = np.zeros_like(table)
    found[i] = g
    return None, found


def scaled(x, *, axis, times):
    return times * x.sum(axis=axis)


def scaled_vjp(g, x, *, axis, times):
    return times * np.broadcast_to(np.expand_dims(g, axis), x.shape).copy()


def both(x, y):
    return [x * y, x + y]


def both_vjp(g, x, y):
    return g[0] * y + g[1], g[0] * x + g[1]


def both_jvp(t, x, y):
    return [t[0] * y + x * t[1], t[0] + t[1]]


RIGHT = {
    "a product": (linear, linear_vjp, ["N i", "o i"], {}),
    "rows by index": (
        rows, rows_vjp, [indices("N", below="V"), "V D"], {"jvp_fn": rows_jvp},
    ),
    "options": (scaled, scaled_vjp, ["N C"], {"axis": one_of(0, 1), "times": ints(1, 3)}),
    "several results": (both, both_vjp, ["N", "N"], {"jvp_fn": both_jvp}),
    "a domain": (np.log, lambda g, x: g / x, [array("N C", 0, None)], {}),
    "arrays as they are": (
        np.tanh, lambda g, x: g - g * np.tanh(x) ** 2, [np.ones((2, 3))],
        {"jvp_fn": lambda t, x: t - t * np.tanh(x) ** 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", RIGHT)
def test_right_gradients_pass_every_law(what):
    fn, vjp, inputs, options = RIGHT[what]
    counted = check_vjp(fn, vjp, *inputs, **options).counts()
    assert counted["holds"] + counted["not covered"] == len(FUNCTION_LAWS)
    assert counted["not covered"] <= 4
    assert counted["gradients proved"] >= 20


@pytest.mark.parametrize(
    ("jvp_fn", "match"),
    [
        (lambda t, x, y: [t[0] * y, t[0] + t[1]], "⟨v, J·u⟩ ≠ ⟨Jᵀ·v, u⟩"),
        (lambda t, x, y: [x * t[1] + t[0] * y, (t[0] + t[1])[None]], "tangent 1 has shape"),
        (
            lambda t, x, y: x * t[1] + t[0] * y,
            "returned 1 arrays: it returns one for each of the 2",
        ),
    ],
)
def test_a_wrong_rule_for_tangents_is_refuted(jvp_fn, match):
    with pytest.raises(LawError, match=match):
        check_vjp(both, both_vjp, "N", "N", jvp_fn=jvp_fn)


def test_tangents_of_nests_and_complex_arrays_are_checked():
    def fn(d):
        return {"y": d["z"] * d["x"], "r": d["z"].real}

    def vjp(g, d):
        return {"z": g["y"] * d["x"] + g["r"], "x": np.real(g["y"] * d["z"])}

    def jvp(t, d):
        return {"y": t["z"] * d["x"] + d["z"] * t["x"], "r": t["z"].real}

    point = {"z": np.array([1 + 2j, 0.5j]), "x": np.array([2.0, -1.0])}
    assert check_vjp(fn, vjp, point, jvp_fn=jvp, batchwise=None).ok
    with pytest.raises(LawError, match="≠"):
        check_vjp(fn, vjp, point, jvp_fn=lambda t, d: {**jvp(t, d), "r": t["z"].imag})


kept = {}


def remembers(g, x):
    return g * kept.setdefault(x.shape, np.cos(x))


def overwrites(g, x):
    g *= np.cos(x)
    return g


def returns_the_cotangent(g, x):
    return g


buffers = {}


def reuses_a_buffer(g, x):
    buffer = buffers.setdefault((x.shape, x.dtype), np.empty(x.shape, x.dtype))
    np.multiply(g, np.cos(x), out=buffer)
    return buffer


WRONG = {
    "repeated rows": (
        rows, rows_vjp_that_forgets_repeated_rows, [indices("N", below="V"), "V D"],
        r"table\[0, 0\]: analytic",
    ),
    "a factor": (np.sin, lambda g, x: 2 * g * np.cos(x), ["N"], "analytic is twice numeric"),
    "a transposed gradient": (
        linear, lambda g, x, w: (g @ w, x.T @ g), ["N i", "o i"], "the gradient of w has shape",
    ),
    "an overwritten cotangent": (np.sin, overwrites, ["N"], "cotangent 0 was overwritten"),
    "an alias": (lambda x: x + 1, returns_the_cotangent, ["N"], "shares memory"),
    "a reused buffer": (np.sin, reuses_a_buffer, ["N"], "returned array 1 after another call"),
    "a stale cache": (np.sin, remembers, ["N"], "its gradient is the derivative"),
    "float64 in float32": (
        np.sin, lambda g, x: g * np.cos(x.astype(np.float64)), ["N"], "is float64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_gradient_is_refuted_by_name(what):
    fn, vjp, inputs, match = WRONG[what]
    with pytest.raises(LawError, match=match):
        check_vjp(fn, vjp, *inputs, strict=True)  # float64 is a convention of NumPy


rng = np.random.default_rng()
count = itertools.count()
IMPOSSIBLE = {
    "another type": (lambda x: float(x.sum()), "returned float in call 1"),
    "another value": (lambda x: x * rng.random(), "gave different values in calls 1 and 2"),
    "another shape": (lambda x: x[: 1 + next(count) % 2], "returned shapes"),
    "an error": (lambda x: x / np.zeros(3), "raised in call 1"),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_cannot_be_checked_is_said_with_the_call_that_showed_it(what):
    fn, match = IMPOSSIBLE[what]
    with pytest.raises(LawError, match=match):
        check_vjp(fn, lambda g, x: g * x, "N+3 M+3")


def test_a_gradient_that_forgets_an_argument_is_named():
    with pytest.raises(LawError, match=r"returned 1 arrays in call .* one for each of the 2"):
        check_vjp(linear, lambda g, x, w: g @ w, "N i", "o i")
