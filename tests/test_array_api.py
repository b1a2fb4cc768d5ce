"""The array API standard on Tensors, with array-api-strict, its reference, as the judge.

Both compute on NumPy, so most numbers must agree in every bit; where ours is another formula, they
agree within units in the last place that are said beside the name.
"""

from __future__ import annotations

import inspect
import operator
import subprocess
import sys
import warnings

import numpy as np
import pytest
from array_api_cases import CASES, flat, ours
from array_api_draws import ALL, FLOATING, INTEGRAL, NUMERIC, REAL, Draws

import tapegrad
from tapegrad import Tensor
from tapegrad import array_api as xp

strict = pytest.importorskip("array_api_strict")
pytestmark = pytest.mark.extra

# Names of the judge that the standard does not have.
NOT_OF_THE_STANDARD = {
    *("ArrayAPIStrictFlags", "Device", "ModuleType", "get_array_api_strict_flags"),
    *("reset_array_api_strict_flags", "set_array_api_strict_flags"),
}
# Functions of the edition of 2025 that the judge has and does not list.
UNLISTED = {"linalg.eig", "linalg.eigvals"}
# Units in the last place, of the largest entry of a result, by which ours may differ: sums are
# taken in another order, or one factorization serves for several functions.
ULPS = {
    "fft.irfftn": 4,
    "linalg.cholesky": 4,
    "linalg.eigvalsh": 8,
    "linalg.matrix_norm": 8,
    "linalg.matrix_power": 4,
    "linalg.qr": 8,
    "linalg.svdvals": 8,
    "linalg.tensordot": 4,
    "linalg.vecdot": 4,
    "linalg.vector_norm": 8,
    "prod": 8,
    "sign": 2,
    "tensordot": 4,
    "vecdot": 4,
}


def _names_of_the_judge():
    for prefix, module in (("", strict), ("linalg.", strict.linalg), ("fft.", strict.fft)):
        for name in getattr(module, "__all__", dir(module)):
            if prefix + name not in ("linalg", "fft") and not name.startswith("_"):
                yield prefix + name


def test_every_name_of_the_standard_is_there():
    expected = set(_names_of_the_judge()) - NOT_OF_THE_STANDARD | UNLISTED
    assert {name for name, _ in ours()} == expected
    assert all(hasattr(strict.linalg, name.removeprefix("linalg.")) for name in UNLISTED)


def test_every_function_has_a_case():
    assert {name for name, thing in ours() if callable(thing)} == set(CASES)


def compare(name, case, dtype, seed):
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Degrees of freedom", RuntimeWarning)
        theirs = flat(case(strict, Draws(strict, dtype, seed)))
        own_results = flat(case(xp, Draws(xp, dtype, seed)))
    assert len(own_results) == len(theirs)
    for i, (own, their) in enumerate(zip(own_results, theirs, strict=True)):
        where = f"{name}, {dtype}, result {i}"
        if isinstance(their, type(strict.asarray(1))):
            assert isinstance(own, Tensor), where
            own, their = own.numpy(), np.asarray(their)
            assert own.dtype == their.dtype, where
            assert own.shape == their.shape, where
            if name in ULPS and own.dtype.kind in "fc":
                finite = np.abs(their[np.isfinite(their)])
                scale = finite.max(initial=0) * np.finfo(own.dtype).eps * ULPS[name]
                np.testing.assert_allclose(own, their, rtol=0, atol=scale, err_msg=where)
            else:
                np.testing.assert_array_equal(own, their, err_msg=where, strict=True)
                if own.dtype.kind == "f":
                    np.testing.assert_array_equal(np.signbit(own), np.signbit(their), where)
        else:
            assert own == their, where


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_function_agrees_with_the_judge(name, seed):
    dtypes, case = CASES[name]
    for dtype in dtypes:
        compare(name, case, dtype, seed)


def test_what_the_judge_gets_wrong():
    x, few = Draws(strict, "int8", 0), Draws(xp, "int8", 0)
    theirs, own = strict.isin(x(9), x(2), invert=True), xp.isin(few(9), few(2), invert=True)
    # array-api-strict 2.6.1 leaves `invert` out
    np.testing.assert_array_equal(own.numpy(), ~np.asarray(theirs))


@pytest.mark.parametrize("name", sorted(name for name, thing in ours() if callable(thing)))
def test_a_function_takes_what_the_standard_lets_one_give(name):
    theirs, own = strict, xp
    for part in name.split("."):
        theirs, own = getattr(theirs, part), getattr(own, part)
    given = inspect.signature(theirs).parameters.values()
    taken = inspect.signature(own).parameters
    keywords = [p.name for p in given if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    assert [name for name in keywords if name not in taken] == []
    positional = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    inspect.signature(own).bind(*[0] * len(positional))
    inspect.signature(own).bind(*[0] * len(required))
    # a default of the judge is the default here, whatever it is called
    for p in given:
        if p.name in taken and p.default is not p.empty and "Undef" not in repr(p.default):
            assert taken[p.name].default == p.default, p.name


# Elsewhere than on the CPU nothing may be taken for an array of NumPy's.
CANNOT_LEAVE = {"from_dlpack"}  # DLPack knows no such memory


@pytest.mark.parametrize("name", sorted(set(CASES) - CANNOT_LEAVE))
def test_a_function_agrees_with_itself_on_strict_arrays(name):
    dtypes, case = CASES[name]
    for dtype in dtypes:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Degrees of freedom", RuntimeWarning)
            here = flat(case(xp, Draws(xp, dtype)))
            there = flat(case(xp, Draws(xp, dtype, make=lambda x: Tensor(x, device="strict"))))
        for one, other in zip(here, there, strict=True):
            if isinstance(one, Tensor) and name.endswith("tensordot"):
                # a contraction of NumPy's arrays may add the same products in another order
                found, expected = other.numpy(), one.numpy()
                assert found.dtype == expected.dtype
                unit = np.finfo(found.dtype).eps if found.dtype.kind in "fc" else 0
                bound = 4 * unit * np.abs(expected).max(initial=0)
                np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
            elif isinstance(one, Tensor):
                np.testing.assert_array_equal(other.numpy(), one.numpy(), strict=True)
            else:
                assert one == other


# Arrays -------------------------------------------------------------------------------------------


def test_a_tensor_has_every_attribute_of_the_standards_array():
    judged = {name for name in dir(type(strict.asarray(1.0))) if name[0] != "_"}
    judged |= {name for name in vars(type(strict.asarray(1.0))) if name.startswith("__")}
    judged -= {"__buffer__", "__annotations__", "__sizeof__"}
    assert {name for name in judged if not hasattr(Tensor([[1.0]]), name)} == set()


ARITHMETIC = "add sub mul truediv floordiv mod pow"
BITS = "and or xor lshift rshift"
COMPARED = "lt le gt ge eq ne"


@pytest.mark.parametrize("name", f"{ARITHMETIC} {BITS} {COMPARED} matmul".split())
def test_an_operator_agrees_with_the_judge(name):
    function = getattr(operator, f"{name}_" if name in ("and", "or") else name)
    dtypes = {"truediv": FLOATING, "floordiv": REAL, "mod": REAL, "eq": ALL, "ne": ALL}.get(name)
    if dtypes is None:
        dtypes = INTEGRAL if name in BITS.split() else REAL if name in COMPARED else NUMERIC

    def case(_, d):
        x, y = d(3, 3, low=1, high=3), d(3, 3, low=1, high=3)
        if name == "matmul":
            return function(x, y)
        number = 2 if np.dtype(d.dtype).kind in "iu" else 1.5
        number = True if d.dtype == "bool" else number
        return function(x, y), function(x, number), function(number, x), function(x, y[0, ...])

    for dtype in dtypes:
        compare(name, case, dtype, 0)
        if name not in (*COMPARED.split(), "matmul"):
            compare(f"i{name}", _in_place(getattr(operator, f"i{name}")), dtype, 0)


def _in_place(function):
    def case(xp, d):
        x, y = d(3, 3, low=1, high=3), d(3, low=1, high=3)
        z = x
        z = function(z, y)
        assert z is x
        return z

    return case


def test_signs_and_absolute_values_agree_with_the_judge():
    for dtype in NUMERIC:
        compare("signs", lambda _, d: [f(d.special(3, 4)) for f in SIGNS], dtype, 0)
    for dtype in ("bool", *INTEGRAL):
        compare("invert", lambda _, d: ~d(3, 4), dtype, 0)


SIGNS = (operator.neg, operator.pos, operator.abs)

# Some indices the judge reads by and does not write by, as the standard leaves them open.
READ = {
    "one": lambda d: (1, ...),
    "two": lambda d: (1, -1),
    "slices": lambda d: (slice(None, None, -1), slice(1, 3)),
    "dots": lambda d: (..., 0),
    "new": lambda d: (None, slice(None), None, 1),
    "mask": lambda d: d(3, 4, dtype="bool"),
    "integers": lambda d: (d.index([2, 0]), d.index([1, 1])),
    "integers and a number": lambda d: (d.index([2, 0]), 1),
    "0-d": lambda d: (d.index(1), d.index(2)),
}
WRITTEN = ("one", "two", "slices", "dots", "mask")


@pytest.mark.parametrize("name", sorted(READ))
def test_reading_and_writing_agree_with_the_judge(name):
    def read(_, d):
        return d(3, 4)[READ[name](d)]

    def write(_, d):
        x, index = d(3, 4), READ[name](d)
        x[index] = d()
        return x

    for dtype in ALL:
        compare(name, read, dtype, 0)
        if name in WRITTEN:
            compare(name, write, dtype, 0)


def test_numbers_are_read_as_from_the_judge():
    for make in (strict.asarray, xp.asarray):
        assert (float(make(1.5)), int(make(3)), complex(make(1j)), bool(make(True))) == (
            *(1.5, 3, 1j),
            True,
        )
        assert operator.index(make(3)) == 3
        assert make([[1.0, 2.0, 3.0]]).shape == (1, 3)
        assert make([[1.0, 2.0]]).T.shape == make([[1.0, 2.0]]).mT.shape == (2, 1)
        assert (make([1]).ndim, make([1, 2]).size) == (1, 2)


def test_a_tensor_names_its_namespace():
    x = Tensor(1.0)
    assert x.__array_namespace__() is xp is tapegrad.array_api
    assert x.__array_namespace__(api_version="2024.12") is xp
    with pytest.raises(ValueError, match=r"no edition '2019.01' here; there are 2021.12"):
        x.__array_namespace__(api_version="2019.01")
    assert xp.__array_api_version__ == strict.__array_api_version__


def test_it_is_imported_by_its_short_name():
    code = (
        "import tapegrad.array_api as xp, tapegrad.array_api.linalg as linalg\n"
        "from tapegrad.array_api import asarray\nimport tapegrad\n"
        "assert xp is tapegrad.array_api is asarray([1.0]).__array_namespace__()\n"
        "assert linalg is xp.linalg"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# What the namespace says of itself ----------------------------------------------------------------


def test_the_namespaces_information_agrees_with_the_judge():
    theirs, own = strict.__array_namespace_info__(), xp.__array_namespace_info__()
    assert own.capabilities() == theirs.capabilities()
    assert own.devices()[0] == own.default_device() == xp.zeros(1).device
    names = {
        n: str(t).removeprefix("array_api_strict.") for n, t in theirs.default_dtypes().items()
    }
    assert {n: str(t) for n, t in own.default_dtypes().items()} == names
    kinds = [*KINDS, ("bool", "integral"), None]
    for kind in kinds:
        assert set(own.dtypes(kind=kind)) == set(theirs.dtypes(kind=kind))
    assert own.dtypes(device="cpu")["bool"] == xp.bool
    with pytest.raises(tapegrad.errors.DeviceError):
        own.dtypes(device="cuda:77")


KINDS = (
    *("bool", "signed integer", "unsigned integer", "integral", "real floating"),
    *("complex floating", "numeric"),
)


def test_defaults_do_not_follow_the_dtype_of_parameters():
    before = tapegrad.default_dtype()
    assert (before, xp.asarray(1.0).dtype, xp.zeros(1).dtype) == (
        np.float32,
        xp.float64,
        xp.float64,
    )


# Making arrays ------------------------------------------------------------------------------------


def test_asarray_shares_copies_or_refuses():
    array = np.arange(3.0)
    x = xp.asarray(array)
    array[0] = 7
    assert float(x[0]) == 7
    assert np.shares_memory(xp.asarray(array, copy=False).numpy(), array)
    assert not np.shares_memory(xp.asarray(array, copy=True).numpy(), array)
    assert xp.asarray(x) is x
    assert not np.shares_memory(xp.asarray(x, copy=True).numpy(), x.numpy())
    assert xp.asarray(bytearray(b"ab"), copy=False).tolist() == [97, 98]
    for obj, dtype in (([1.0], None), (1.0, None), (array, xp.int64), (x, xp.float32), ([x], None)):
        with pytest.raises(ValueError, match="asarray: copy=False, but"):
            xp.asarray(obj, dtype=dtype, copy=False)
    with pytest.raises(TypeError, match="not an array or a number"):
        xp.asarray(None)


def test_asarray_of_tracked_tensors_and_lists_of_them_is_tracked():
    def f(x):
        nested = xp.asarray([[x[0], 2.0], [x[1] * x[1], x[0] * 3]], dtype=xp.float64)
        assert nested.tracked
        assert nested.shape == (2, 2)
        return xp.sum(nested * xp.asarray([[1.0, 10.0], [100.0, 1000.0]]))

    np.testing.assert_array_equal(tapegrad.grad(f)(np.array([1.0, 2.0])), [3001.0, 400.0])
    seen = tapegrad.grad(lambda x: xp.sum(xp.asarray(x, dtype=xp.float32)))(np.ones(2))
    assert seen.dtype == np.float64


def test_constants_of_tensors_have_derivatives_in_them():
    assert float(tapegrad.grad(lambda t: xp.sum(xp.full((2, 3), t)))(np.float64(1.5))) == 6
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(
        tapegrad.grad(lambda x: xp.sum(xp.full_like(x, x[0])))(x), [2.0, 0.0]
    )
    ends = tapegrad.grad(lambda x: xp.sum(xp.linspace(x[0], x[1], 5)))(x)
    np.testing.assert_allclose(ends, [2.5, 2.5], rtol=1e-15)


MADE = {
    "arange": lambda **o: xp.arange(3, **o),
    "asarray": lambda **o: xp.asarray([1.0], **o),
    "asarray of a Tensor": lambda **o: xp.asarray(Tensor([1.0]), **o),
    "astype": lambda **o: xp.astype(Tensor([1.0]), xp.int8, **o),
    "empty": lambda **o: xp.empty(3, **o),
    "empty_like": lambda **o: xp.empty_like(Tensor([1.0]), **o),
    "eye": lambda **o: xp.eye(3, **o),
    "fftfreq": lambda **o: xp.fft.fftfreq(3, **o),
    "rfftfreq": lambda **o: xp.fft.rfftfreq(3, **o),
    "from_dlpack": lambda **o: xp.from_dlpack(np.ones(3), **o),
    "full": lambda **o: xp.full(3, 1.0, **o),
    "full_like": lambda **o: xp.full_like(Tensor([1.0]), 2.0, **o),
    "linspace": lambda **o: xp.linspace(0, 1, 3, **o),
    "ones": lambda **o: xp.ones(3, **o),
    "ones_like": lambda **o: xp.ones_like(Tensor([1.0]), **o),
    "zeros": lambda **o: xp.zeros(3, **o),
    "zeros_like": lambda **o: xp.zeros_like(Tensor([1.0]), **o),
}


def test_every_function_with_a_device_is_tried():
    takers = {name for name, thing in ours() if _takes_device(thing)}
    assert takers == {name.partition(" ")[0] for name in MADE} ^ FREQUENCIES | {
        f"fft.{name}" for name in FREQUENCIES
    }


FREQUENCIES = {"fftfreq", "rfftfreq"}


def _takes_device(thing):
    return inspect.isfunction(thing) and "device" in inspect.signature(thing).parameters


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_new_tensor_is_on_the_device_that_is_named(name):
    strict_device = tapegrad.device("strict")
    made = MADE[name](device="strict")
    assert made.device == strict_device
    assert made.to_device("cpu").device == tapegrad.device("cpu")
    assert MADE[name](device=tapegrad.device("cpu")).device == tapegrad.device("cpu")
    assert MADE[name]().device == tapegrad.device("cpu")
    with pytest.raises(tapegrad.errors.DeviceError):
        MADE[name](device="cuda:77")


def test_likes_are_where_the_original_is():
    x = Tensor([1.0], device="strict")
    for make in (xp.zeros_like, xp.ones_like, xp.empty_like, lambda x: xp.full_like(x, 2)):
        assert make(x).device == x.device


# Refusals -----------------------------------------------------------------------------------------

X = Tensor(np.ones((2, 3)))
REFUSED = {
    "take without an axis": (lambda: xp.take(X, Tensor([0])), ValueError, "say along which"),
    "a running sum without an axis": (lambda: xp.cumulative_sum(X), ValueError, "say along"),
    "a running product without an axis": (lambda: xp.cumulative_prod(X), ValueError, "say along"),
    "nonzero of a number": (lambda: xp.nonzero(Tensor(1.0)), ValueError, "0d"),
    "squeeze of a long axis": (lambda: xp.squeeze(X, 0), ValueError, "has length 2"),
    "squeeze past the last axis": (lambda: xp.squeeze(X, 2), np.exceptions.AxisError, "axis 2"),
    "a view that there is not": (
        lambda: xp.reshape(X.T, (6,), copy=False),
        ValueError,
        r"x of shape \(3, 2\) has no view of shape \(6,\)",
    ),
    "complex to real": (lambda: xp.astype(X * 1j, xp.float32), TypeError, r"astype\(real\(x\)"),
    "a wide bound": (lambda: xp.clip(X, xp.ones((4, 2, 3))), ValueError, "min has shape"),
    "tril of a vector": (lambda: xp.tril(xp.ones(3)), ValueError, "two axes at least"),
    "cross of pairs": (lambda: xp.linalg.cross(X[:, :2], X[:, :2]), ValueError, "vectors have 3"),
    "outer of matrices": (lambda: xp.linalg.outer(X, X), ValueError, "vectors have one axis"),
    "rank of a vector": (lambda: xp.linalg.matrix_rank(xp.ones(3)), ValueError, "two axes"),
    "transpose of a vector": (lambda: xp.matrix_transpose(xp.ones(3)), ValueError, "two axes"),
    "vecdot along no axis": (lambda: xp.vecdot(X, xp.ones(3), axis=0 - 2), ValueError, "vecdot"),
    "a mode of qr": (lambda: xp.linalg.qr(X, mode="r"), ValueError, "'reduced', 'complete'"),
    "a step of 0": (lambda: xp.arange(0, 1, 0), ValueError, "step is 0"),
    "frequencies in integers": (lambda: xp.fft.fftfreq(3, dtype=xp.int8), ValueError, "floating"),
    "a word of isdtype": (lambda: xp.isdtype(xp.int8, "whole"), ValueError, "whole"),
    "finfo of integers": (lambda: xp.finfo(xp.int8), ValueError, "inexact"),
    "iinfo of floats": (lambda: xp.iinfo(X), ValueError, "[Ii]nvalid integer"),
    "a stream of a CPU": (lambda: X.to_device("cpu", stream=1), ValueError, "a CPU has none"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refusal_says_what_is_wrong(name):
    call, kind, text = REFUSED[name]
    with pytest.raises(kind, match=text):
        call()
