"""tapegrad.scipy.special: what SciPy wrote as ordinary functions."""

import numpy as np
import pytest
import scipy.special

import tapegrad as tg
from tapegrad.autograd import Parameter
from tapegrad.autograd.check import check_gradients
from tapegrad.autograd.scipy import special

RNG = np.random.default_rng(0)
A = RNG.normal(size=(2, 3, 4))
B = RNG.uniform(0.5, 2, size=(3, 4))


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp(axis, keepdims):
    signed = B * np.where(RNG.random(B.shape) < 0.5, -1, 1)
    for b, return_sign in ((None, False), (B, False), (signed, True), (None, True)):
        options = {"axis": axis, "b": b, "keepdims": keepdims, "return_sign": return_sign}
        found, expected = special.logsumexp(A, **options), scipy.special.logsumexp(A, **options)
        pairs = zip(found, expected, strict=True) if return_sign else [(found, expected)]
        for y, z in pairs:
            np.testing.assert_allclose(y, z)
    check_gradients(lambda a, b: special.logsumexp(a, axis, b, keepdims), A, B, order=2)
    check_gradients(
        lambda a, b: special.logsumexp(a, axis, b, keepdims, return_sign=True)[0], A, signed
    )


def test_logsumexp_far_out():
    a, b = np.array([1000.0, -np.inf, 999.0]), np.array([1.0, 2.0, 0.0])
    assert special.logsumexp(a, b=b) == 1000
    np.testing.assert_array_equal(tg.grad(lambda a: special.logsumexp(a, b=b))(a), [1, 0, 0])
    assert special.logsumexp(np.full(2, -np.inf), b=np.ones(2)) == -np.inf


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
def test_softmax(name, axis):
    ours, theirs = getattr(special, name), getattr(scipy.special, name)
    np.testing.assert_allclose(ours(A, axis), theirs(A, axis))
    check_gradients(lambda a: ours(a, axis), A, order=2)


X = np.array([2.3, 3.4])
CALLS = {
    "multigammaln": lambda f, x: f(x, 3),
    "factorial": lambda f, x: f(x),
    "comb": lambda f, x: f(x + 3, x - 1),
    "perm": lambda f, x: f(x + 3, x - 1),
    "polygamma": lambda f, x: f(2, x),
    "zeta": lambda f, x: f(3.5, x),
    "lambertw": lambda f, x: f(x),
    "sinc": lambda f, x: f(x),
    **{f"spherical_{k}n": lambda f, x: f(2, x) for k in "jyik"},
    **{f"spherical_{k}n derivative": lambda f, x: f(2, x, derivative=True) for k in "jyik"},
}


@pytest.mark.parametrize("case", CALLS)
def test_a_function_is_scipys(case):
    name, call = case.split()[0], CALLS[case]
    ours, theirs = getattr(special, name), getattr(scipy.special, name)
    np.testing.assert_allclose(call(ours, X), call(theirs, X), rtol=1e-12)
    check_gradients(lambda x: np.real(call(ours, x)), X, order=2)


def test_outside_of_their_domain():
    n, k = np.array([5.0, 5, -1, 3]), np.array([2.0, 7, 1, -2])
    np.testing.assert_allclose(special.comb(n, k), scipy.special.comb(n, k))
    np.testing.assert_allclose(
        special.comb(n[:1], k[:1], repetition=True), scipy.special.comb(5, 2, repetition=True)
    )
    np.testing.assert_allclose(special.perm(n, k), scipy.special.perm(n, k))
    np.testing.assert_allclose(special.factorial(np.array([-2.0, 0, 4])), [0, 1, 24])
    with pytest.raises(TypeError, match="exact=True"):
        special.comb(5, 2, exact=True)
    with pytest.raises(TypeError, match=r"zeta\(x, q\) in x"):
        tg.grad(lambda x: special.zeta(x, 2.0))(3.5)


def test_ufuncs_are_handed_on():
    assert special.gammaln is scipy.special.gammaln
    assert special.exp1(Parameter(X)).tracked
    with pytest.raises(AttributeError, match=r"tapegrad\.scipy\.special has no jn_zeros"):
        _ = special.jn_zeros
    with pytest.raises(AttributeError, match=r"nor has scipy\.special"):
        _ = special.nothing


def test_the_names_of_modules_are_one():
    import tapegrad.scipy.stats
    from tapegrad.scipy.stats import norm

    assert tapegrad.scipy.stats is tg.autograd.scipy.stats
    assert norm is tg.scipy.stats.norm
