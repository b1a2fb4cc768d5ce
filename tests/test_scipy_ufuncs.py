"""Every ufunc of scipy.special has a primitive: one with a derivative, or one that says why not.

The laws of primitives, held against each of them, are extra; here a look at each costs little.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.special
from cases.ops import scipy as rare

from tapegrad import grad, vmap
from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.check import Draws
from tapegrad.autograd.ops.scipy_ufuncs import by_name, primitive_of_scipy
from tapegrad.autograd.scipy.page import page

ROOT = Path(__file__).resolve().parents[1]
UFUNCS = {
    name: ufunc
    for name in dir(scipy.special)
    if isinstance(ufunc := getattr(scipy.special, name), np.ufunc)
}
DIFFERENTIABLE = [
    name
    for name, case in rare.CASES.items()
    if case.tracked and f"special_{name}" not in rare.REFUSED
    and by_name[name].primitive.differentiable
]  # fmt: skip


def test_none_is_forgotten():
    assert len(UFUNCS) > 200
    missing = [name for name, ufunc in UFUNCS.items() if primitive_of_scipy(ufunc) is None]
    assert missing == [], (
        "ufuncs of scipy.special without a primitive: declare each in autograd/scipy/ufuncs/, "
        "where no derivative is known with the reason (`UnknownSlope`)"
    )
    for name, function in by_name.items():
        ufunc, primitive = getattr(scipy.special, name), function.primitive
        assert len(primitive.arguments) == ufunc.nin, name
        assert primitive.several == (ufunc.nout > 1), name


def weighted(y):
    """The sum of all results, each times a weight of its own."""
    parts = y if isinstance(y, (list, tuple)) else [y]
    total = 0.0
    for i, part in enumerate(parts):
        total = total + (i + 0.7) * np.sum(np.real(part))
        if part.dtype.kind == "c":
            total = total + 0.3 * np.sum(np.imag(part))
    return total


def drawn(name):
    """The arguments of a call, the places of the arrays, and the weighted call as a function."""
    call = rare.CASES[name](Draws(5))
    places = [i for i, x in enumerate(call.args) if isinstance(x, np.ndarray)]
    function = UFUNCS[name]

    def of_arrays(*arrays):
        args = list(call.args)
        for i, x in zip(places, arrays, strict=True):
            args[i] = x
        return weighted(function(*args))

    return call.args, [call.args[i] for i in places], of_arrays


# SciPy's results have too few digits for a difference quotient, or are others'.
ROUGH = ("ncfdtrinc", "itairy", "obl_rad2", "obl_rad2_cv")


@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if name not in ROUGH])
def test_its_gradient_is_the_difference_quotient(name):
    _, arrays, function = drawn(name)
    directions = [np.cos(1.0 + np.arange(x.size)).reshape(x.shape) for x in arrays]
    step = 1e-5
    ends = [
        function(*[x + sign * step * u for x, u in zip(arrays, directions, strict=True)])
        for sign in (1, -1)
    ]
    slopes = grad(function, tuple(range(len(arrays))))(*arrays)
    along = sum(np.sum(g * u) for g, u in zip(slopes, directions, strict=True))
    np.testing.assert_allclose(along, (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-7)


def test_what_has_no_derivative_is_refused_by_name_with_the_reason():
    with pytest.raises(TypeError, match=r"scipy\.special\.betainc with respect to a .*closed form"):
        grad(lambda a: scipy.special.betainc(a, 2.0, 0.3))(1.5)
    for name in (name.removeprefix("special_") for name in rare.REFUSED):
        values = rare.CASES[name](Draws(0)).args
        for i, argument in enumerate(by_name[name].primitive.arguments):
            with pytest.raises(TypeError, match=f"{name} with respect to {argument} "):
                grad(
                    lambda x, i=i: weighted(UFUNCS[name](*values[:i], x, *values[i + 1 :]))  # noqa: B023
                )(np.float64(np.max(values[i])))


def test_tensors_without_a_past_have_values():
    x = np.array([0.3, 0.6])
    np.testing.assert_array_equal(scipy.special.zetac(Tensor(x + 2)), scipy.special.zetac(x + 2))
    sine, cosine = scipy.special.sici(Parameter(x))
    np.testing.assert_array_equal(sine.numpy(), scipy.special.sici(x)[0])
    assert cosine.tracked
    assert not scipy.special.gammasgn(Parameter(x)).tracked


def test_precision_and_batches():
    x = np.array([[0.3, 0.6], [0.9, 1.4]])
    for name in ("exp1", "airy", "struve"):
        given = (0.5,) if name == "struve" else ()
        y = UFUNCS[name](*given, Tensor(x.astype(np.float32)))
        parts = y if isinstance(y, (list, tuple)) else [y]
        assert {part.dtype for part in parts} == {np.dtype(np.float32)}
    assert scipy.special.hankel1(0.5, Tensor(x.astype(np.float32))).dtype == np.complex64
    many = vmap(lambda row: scipy.special.fresnel(row)[1])(Tensor(x))
    np.testing.assert_allclose(many.numpy(), scipy.special.fresnel(x)[1])


@pytest.mark.extra
def test_the_rare_ones_are_imported_when_one_is_needed():
    code = (
        "import sys, tapegrad, scipy.special, numpy as np\n"
        "x = tapegrad.Tensor(np.array([0.5]))\n"
        "scipy.special.gammaln(x)\n"
        "print('tapegrad.autograd.scipy' in sys.modules)\n"
        "print(float(tapegrad.grad(scipy.special.exp1)(1.0)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.split()
    assert first == "False"
    np.testing.assert_allclose(float(second), -np.exp(-1.0))


def test_the_page_is_made_from_the_registry():
    text = (ROOT / "docs" / "scipy.md").read_text(encoding="utf-8")
    known = {name: why for (name, law), why in rare.EXCEPTIONS.items() if "second" in law}
    assert page(known) in text, "python tests/scipy_page.py writes it anew"
