"""What NumPy's arrays have and do, on Tensors: every attribute of ndarray, and everyday code.

The table of attributes is complete in both directions, so that one of a new NumPy is noticed.  The
snippets are what a NumPy user writes without thinking; each gives on Tensors, tracked or not, the
values, shapes and dtypes that it gives on arrays.
"""

from __future__ import annotations

import copy
import math
import operator
import pickle
import re

import numpy as np
import pytest
import scipy.special

import tapegrad
from tapegrad.autograd import Parameter, Tensor, grad, no_grad, ops
from tapegrad.autograd.check import check_gradients
from tapegrad.autograd.surface.absent import INSTEAD, OTHER_WORDS

RNG = np.random.default_rng(0)
ARRAYS = {
    "x": RNG.normal(size=(3, 4)),
    "s": RNG.normal(size=(3, 3)) + 3 * np.eye(3),
    "v": RNG.normal(size=4),
    "z": RNG.normal(size=3) + 1j * RNG.normal(size=3),
    "m": RNG.normal(size=(3, 4)) > 0,
    "i": np.array([2, 0]),
}
BARE = ARRAYS["x"] + 1.0

# Attributes ---------------------------------------------------------------------------------------

# Attribute -> an expression that uses it as on an array; "" where a test of its own does.
ATTRIBUTES = {
    "T": "x.T",
    "all": "m.all(axis=0)",
    "any": "m.any(1, keepdims=True)",
    "argmax": "x.argmax(axis=1, keepdims=True)",
    "argmin": "x.argmin()",
    "argpartition": "v.argpartition(1)[1]",
    "argsort": "x.argsort(axis=0)",
    "astype": "x.astype('f4', copy=False), x.astype(int), x.astype(complex)",
    "choose": "i.choose([v[:2], v[1:3], v[2:]])",
    "clip": "x.clip(-0.5, 0.5), x.clip(min=0), x.clip(None, 0.3)",
    "compress": "x.compress([True, False, True], axis=0)",
    "conj": "z.conj()",
    "conjugate": "z.conjugate()",
    "copy": "x.copy(), x.copy('F')",
    "cumprod": "x.cumprod(axis=0)",
    "cumsum": "x.cumsum(1), x.cumsum()",
    "data": "",
    "device": "str(x.device)",
    "diagonal": "x.diagonal(), x.diagonal(1)",
    "dot": "x.dot(x.T), x.dot(v)",
    "dtype": "x.dtype, z.dtype, m.dtype",
    "fill": "",
    "flat": "list(x.flat), x.flat[3], x.flat[[1, 2]], x.flat[2:5], len(x.flat)",
    "flatten": "x.flatten(), x.flatten('F')",
    "imag": "z.imag, x.imag",
    "item": "x.item(3), x.item(1, 2), x[0, 0].item(), x.item(-1)",
    "itemsize": "x.itemsize, z.itemsize",
    "mT": "x.mT",
    "max": "x.max(axis=-1, keepdims=True), x.max(initial=3.0), x.max(0)",
    "mean": "x.mean(), x.mean(axis=0), x.mean(1, np.float32), x.mean(where=m), z.mean()",
    "min": "x.min(), x.min(where=m, initial=0.5)",
    "nbytes": "x.nbytes",
    "ndim": "x.ndim",
    "nonzero": "x.nonzero(), i.nonzero()",
    "partition": "",
    "prod": "x.prod(), x.prod(0), x.prod(where=m, initial=2.0), x.prod(0, np.float32)",
    "put": "",
    "ravel": "x.ravel(), x.ravel('F'), x.T.ravel()",
    "real": "z.real, x.real",
    "repeat": "x.repeat(2), x.repeat(2, axis=0), x.repeat([1, 2, 0], axis=0)",
    "reshape": "x.reshape(4, 3), x.reshape((2, -1)), x.reshape(-1), x.reshape(4, 3, order='F')",
    "round": "x.round(), x.round(1)",
    "searchsorted": "v.cumsum().searchsorted(0.1)",
    "shape": "x.shape",
    "size": "x.size",
    "sort": "",
    "squeeze": "x[None].squeeze(0), x[:, None].squeeze()",
    "std": "x.std(), x.std(axis=0, ddof=1), x.std(1, None, None, 1), x.std(where=m), z.std()",
    "sum": "x.sum(), x.sum(0, float, None, True), x.sum(initial=1.0), x.sum(1, where=m), m.sum()",
    "swapaxes": "x.swapaxes(0, 1)",
    "take": "x.take([0, 1]), x.take(i, axis=0), x.take([0, 17, -15], mode='wrap'), "
    "x.take([99], 1, None, 'clip')",
    "to_device": "x.to_device('cpu')",
    "tobytes": "x.tobytes(), x.tobytes('F')",
    "tolist": "x.tolist()",
    "trace": "s.trace(), s.trace(1), s.trace(0, 0, 1, np.float32)",
    "transpose": "x.transpose(), x.transpose(1, 0), x.transpose((1, 0))",
    "var": "x.var(1), x.var(where=m), x.var(ddof=1), z.var()",
}  # fmt: skip

# Methods between double underscores that Python or NumPy call.
SPECIAL = {
    "__abs__": "abs(x)",
    "__add__": "x + v, x + [1, 2, 3, 4]",
    "__and__": "m & (x > 0)",
    "__array__": "",
    "__array_function__": "np.sum(x)",
    "__array_namespace__": "",  # NumPy's array names another; tests/test_array_api.py
    "__array_ufunc__": "np.exp(x)",
    "__bool__": "bool(x[0, 0])",
    "__complex__": "complex(z[0])",
    "__contains__": "0.5 in x, x[0, 0] in x",
    "__copy__": "copy.copy(x)",
    "__deepcopy__": "copy.deepcopy(x)",
    "__divmod__": "divmod(x, 2)",
    "__dlpack__": "",
    "__dlpack_device__": "x.__dlpack_device__()",
    "__eq__": "x == x, x == 0",
    "__float__": "float(x[0, 0])",
    "__floordiv__": "x // 2",
    "__format__": "f'{x[0, 0]:.3f}'",
    "__ge__": "x >= 0",
    "__getitem__": "x[1, ...], x[..., 1], x[m], x[i], x[:, None], x[[0, 2]], "
    "x[np.ix_([0, 2], [1, 3])]",
    "__gt__": "x > 0, BARE > x",
    "__hash__": "",
    "__iadd__": "", "__iand__": "", "__ifloordiv__": "", "__ilshift__": "", "__imatmul__": "",
    "__imod__": "", "__imul__": "", "__ior__": "", "__ipow__": "", "__irshift__": "",
    "__isub__": "", "__itruediv__": "", "__ixor__": "",
    "__index__": "operator.index(i[0]), BARE[i[0]], list(range(i[0]))",
    "__int__": "int(x[0, 0])",
    "__invert__": "~m, ~i",
    "__iter__": "list(x), [row.sum() for row in x], max(v), sorted(v)",
    "__le__": "x <= 0",
    "__len__": "len(x)",
    "__lshift__": "i << 1",
    "__lt__": "x < 0",
    "__matmul__": "x @ x.T, x @ v",
    "__mod__": "x % 2",
    "__mul__": "x * v, x * 1j, x * np.float64(2)",
    "__ne__": "x != 0",
    "__neg__": "-x",
    "__or__": "m | (x > 0)",
    "__pos__": "+x",
    "__pow__": "x ** 2, abs(x) ** 2.5, x ** -1",
    "__radd__": "1 + x, BARE + x, [1, 2, 3, 4] + x",
    "__rand__": "True & m",
    "__rdivmod__": "divmod(5, abs(x) + 1)",
    "__reduce__": "pickle.loads(pickle.dumps(x))",
    "__reduce_ex__": "pickle.loads(pickle.dumps(x, protocol=2))",
    "__repr__": "",
    "__rfloordiv__": "2 // (abs(x) + 1)",
    "__rlshift__": "1 << i",
    "__rmatmul__": "BARE @ x.T",
    "__rmod__": "2 % (abs(x) + 1)",
    "__rmul__": "2 * x, BARE * x, True * x, (1, 2, 3, 4) * x",
    "__ror__": "False | m",
    "__rpow__": "2 ** x, BARE ** 2 * x",
    "__rrshift__": "8 >> i",
    "__rshift__": "i >> 1",
    "__rsub__": "1 - x, BARE - x, (1, 2, 3, 4) - x",
    "__rtruediv__": "1 / x, BARE / x",
    "__rxor__": "True ^ m",
    "__setitem__": "",
    "__str__": "",
    "__sub__": "x - v",
    "__truediv__": "x / v",
    "__xor__": "m ^ (x > 0)",
}  # fmt: skip

# What a Tensor has not, beside what INSTEAD tells users about.
WITHOUT = {
    "__array_finalize__": "of subclasses of ndarray",
    "__array_interface__": "would hand out memory without a check of the past; x.numpy() checks",
    "__array_priority__": "superseded by __array_ufunc__",
    "__array_struct__": "as __array_interface__",
    "__array_wrap__": "of subclasses of ndarray",
    "__buffer__": "as __array_interface__",
    "__class_getitem__": "of annotations",
    "__delitem__": "an array's entries cannot be deleted, nor can a Tensor's",
    "__setstate__": "pickled by __reduce__",
}
OF_OBJECT = set(dir(object)) - {*SPECIAL}


def test_every_attribute_of_ndarray_has_its_line():
    found = {n for n in set(dir(np.ndarray)) - OF_OBJECT if not re.match("_[^_]", n)}
    known = {**ATTRIBUTES, **SPECIAL, **INSTEAD, **WITHOUT}
    new, gone = sorted(found - known.keys()), sorted(known.keys() - found)
    assert not new, f"new in NumPy {np.__version__}: {new}"
    # what some supported versions of NumPy or Python lack
    assert set(gone) <= {"__array_namespace__", "__buffer__", "device", "mT", "to_device"}


@pytest.mark.parametrize("name", sorted({**ATTRIBUTES, **SPECIAL}))
def test_tensors_have_it(name):
    assert hasattr(Tensor, name)


@pytest.mark.parametrize("name", sorted({**INSTEAD, **OTHER_WORDS, **WITHOUT}))
def test_tensors_have_not(name):
    x = Tensor(np.ones(2))
    assert not hasattr(x, name), f"{name} exists: give it a line in ATTRIBUTES"
    if name in {**INSTEAD, **OTHER_WORDS}:
        with pytest.raises(AttributeError, match=f"{name}'.*: "):
            getattr(x, name)
        with pytest.raises(AttributeError, match=f"{name}'.*: "):
            setattr(x, name, 1)
        assert name not in dir(x)


def statement_of(advice):
    """The code that an advice consists of, or begins with; None for one of words."""
    code = advice.partition(", in the")[0].partition(", or ")[0]
    try:
        return compile(code, advice, "exec")
    except SyntaxError:
        return None


@pytest.mark.parametrize("name", sorted(n for n, a in OTHER_WORDS.items() if statement_of(a)))
def test_the_advice_on_a_word_of_others_runs(name):
    y = Tensor(np.array([[1.0, 0.5, 0.25], [0.5, 0.75, 0.125], [0.25, 0.125, 1.0]]))
    values = {
        "np": np, "tapegrad": tapegrad, "x": y * 1, "y": y, "z": y, "n": 2, "v": 1.5, "axis": 0,
        "low": 0, "high": 1, "shape": (2, 3, 3), "i": np.zeros((1, 3), int), "indices": [0, 1],
        "mask": y > 0.5, "start": 1, "ends": [1], "dtype": np.float32, "f": np.sum,
    }  # fmt: skip
    try:
        exec(statement_of(OTHER_WORDS[name]), values)
    except tapegrad.errors.DeviceError:
        assert name == "cuda"


def test_most_advice_on_words_of_others_is_code():
    words = [n for n, a in OTHER_WORDS.items() if not statement_of(a)]
    assert words == [
        "contiguous", "grad", "grad_fn", "is_contiguous", "is_leaf", "requires_grad",
        "requires_grad_", "share_memory_", "stride",
    ]  # fmt: skip


# Everyday code ------------------------------------------------------------------------------------

SNIPPETS = """
x[1:, ::-1]; x[-1]; x[i, i]; x[x > 0]; sum(x); math.sqrt(abs(v[0])); np.array(2.0) * x
np.dot(x, v); np.vdot(z, z); np.inner(x, x); np.outer(v, v); np.kron(x, s); np.trace(s)
np.einsum('ij,kj->ik', x, x); np.einsum('ii', s); np.tensordot(x, x, axes=([1], [1]))
np.matmul(x, x.T); np.cross(x[:, :3], x[:, 1:]); np.linalg.outer(v, v)
np.linalg.solve(s, s); np.linalg.inv(s); np.linalg.det(s); np.linalg.slogdet(s)
np.linalg.cholesky(s @ s.T); np.linalg.qr(s); np.linalg.eigh(s + s.T); np.linalg.eigvalsh(s @ s.T)
np.linalg.eigvals(s); np.linalg.eig(s); np.linalg.svd(s); np.linalg.svd(x, full_matrices=False)
np.linalg.svdvals(x); np.linalg.norm(x); np.linalg.norm(v, 1); np.linalg.norm(x, axis=1)
np.linalg.norm(x, 2); np.linalg.norm(x, ord='nuc'); np.linalg.vector_norm(x); np.linalg.cond(s)
np.linalg.matrix_norm(x); np.linalg.pinv(x); np.linalg.matrix_power(s, 3); np.linalg.matrix_rank(s)
np.linalg.lstsq(x.T, v, rcond=None); np.linalg.tensorsolve(s, s[0]); np.linalg.tensorinv(s, ind=1)
np.linalg.multi_dot([x, x.T, s]); np.linalg.diagonal(s); np.linalg.matrix_transpose(x)
np.sum(x, 0); np.sum(x, axis=None, keepdims=True); np.sum(x, 0, np.float32); np.sum(x, where=m)
np.sum(x, initial=2.0); np.mean(x, where=m); np.mean(x, dtype=np.float32); np.var(x, where=m)
np.std(x, axis=1, ddof=1); np.std(x, correction=1); np.var(x, 0, None, None, 1)
np.max(x, initial=9.0)
np.any(x > 0, where=m); np.all(x > 0, axis=0); np.prod(x, axis=1); np.ptp(x); np.amax(x)
np.average(x, axis=0, weights=[1, 2, 3]); np.median(x); np.percentile(x, 50)
np.quantile(x, [0.25, 0.5]); np.cumsum(x, axis=1); np.cumsum(x, 0, np.float32); np.cumprod(v)
np.where(x > 0); np.where(x > 0, x, 0); np.where(m, x, -x); np.select([x > 0], [x], 0)
np.concatenate([x, x]); np.concatenate((x, BARE), axis=1); np.concat([x, x]); np.append(v, 1.0)
np.stack([x, x], axis=-1); np.vstack([x, v]); np.hstack([x, x]); np.block([[s, s]])
np.tile(x, (2, 1))
np.split(x, 2, axis=1); np.array_split(v, 3); np.pad(x, 1); np.pad(x, ((1, 0), (0, 2)), 'edge')
np.roll(x, 1, axis=0); np.flip(x); np.fliplr(x); np.rot90(x); np.diag(v); np.tril(s); np.triu(s, 1)
np.diff(v); np.gradient(v); np.trapezoid(v); np.interp([0.5, 1.5], [0, 1, 2, 3], v)
np.convolve(v, v); np.correlate(z, z, 'same'); np.polyval([1.0, 2], v); np.roots(v)
np.polyfit(np.arange(4.0), v, 1); np.fft.fft(z); np.fft.rfft(x); np.fft.ifft2(x); np.fft.fftshift(v)
np.maximum(x, 0); np.minimum(x, BARE); np.clip(x, 0, 1); np.log(abs(x)); np.sqrt(x * x); np.sign(z)
np.sign(x); np.sort(x, axis=0); np.argsort(x); np.unique(v)
np.take_along_axis(x, np.argsort(x, 1), 1)
np.expand_dims(x, 0); np.squeeze(x[None]); np.moveaxis(x, 0, 1); np.permute_dims(x, (1, 0))
np.broadcast_to(v, (2, 4)); np.repeat(x, 2); np.take(x, [1, 2]); np.take(x, [5, -1], mode='clip')
np.ravel(x, order='F'); np.ravel(x, 'F'); np.reshape(x, (4, 3)); np.reshape(x, 12)
np.reshape(x, (4, 3), order='F'); np.copy(x, order='F'); np.astype(x, np.float32); np.astype(x, int)
np.meshgrid(v, v); np.cov(x); np.corrcoef(x); np.cov(x, aweights=[1, 2, 3, 4]); np.histogram(v, 3)
np.bincount(np.array([0, 1, 1]), weights=v[:3]); np.searchsorted(np.sort(v), 0.0)
np.nansum(x); np.isnan(x); np.isfinite(x).all(); np.count_nonzero(x); np.allclose(x, BARE - 1)
np.array_equal(x, BARE); np.zeros_like(x); np.ones_like(x); np.full_like(x, 2.0); np.shape(x)
np.add.reduce(x); np.add.reduce(x, axis=1, dtype=np.float32); np.maximum.reduce(x, axis=None)
np.multiply.outer(v, v); np.add.accumulate(x); np.logaddexp(x, x); np.hypot(x, x); np.arctan2(x, x)
np.round(x, 2); np.floor(x); np.sinc(x); np.i0(x); np.heaviside(x, 0.5)
np.apply_along_axis(np.sum, 0, x)
np.insert(v, 1, 2.0); np.delete(v, 1); np.result_type(x, 1.0); np.iscomplexobj(z); np.real(z)
np.angle(z)
np.linspace(v[0], v[1], 3); np.piecewise(x, [x > 0], [lambda t: t * 2, 0]); np.nan_to_num(x)
np.lexsort((v, v)); np.polynomial.polynomial.polyval(v, [1.0, 2.0]); np.poly1d([1.0, 2])(v)
scipy.special.erf(x); scipy.special.gammaln(x * x); scipy.special.digamma(x * x + 1)
scipy.special.expit(x); scipy.special.xlogy(x * x, x * x); scipy.special.betaln(x * x, 2.0)
scipy.special.i0(x); scipy.special.j1(x); scipy.special.logit(scipy.special.expit(x))
"""
SNIPPETS = [line.strip() for line in SNIPPETS.replace("\n", ";").split(";") if line.strip()]
SPACE = {
    "np": np, "math": math, "operator": operator, "pickle": pickle, "copy": copy, "scipy": scipy,
    "BARE": BARE,
}  # fmt: skip


def plain(result):
    if isinstance(result, (tuple, list)):
        return [part for item in result for part in plain(item)]
    return [result.numpy() if isinstance(result, Tensor) else result]


def evaluated(code, wrap):
    arrays = {
        name: wrap(a.copy()) if a.dtype.kind in "fc" else Tensor(a) for name, a in ARRAYS.items()
    }
    return plain(eval(code, {**SPACE, **arrays}))


@pytest.mark.filterwarnings("ignore:overflow|invalid|divide:RuntimeWarning")
@pytest.mark.parametrize("wrap", [Tensor, Parameter])
@pytest.mark.parametrize("code", [*ATTRIBUTES.values(), *SPECIAL.values(), *SNIPPETS])
def test_code_gives_what_it_gives_on_arrays(code, wrap):
    if not code:
        return
    bare = {name: a.copy() for name, a in ARRAYS.items()}
    expected = plain(eval(code, {**SPACE, **bare}))
    found = evaluated(code, wrap)
    assert len(found) == len(expected)
    for f, e in zip(found, expected, strict=True):
        if isinstance(e, (np.ndarray, np.generic, float, complex, int)):
            assert np.shape(f) == np.shape(e)
            assert np.asarray(f).dtype == np.asarray(e).dtype
            np.testing.assert_allclose(f, e, rtol=1e-12, atol=1e-14)
        else:
            assert f == e


def test_there_are_many_of_them():
    assert len(SNIPPETS) >= 180


# Methods that write -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    ["x.fill(2.0)", "x.put([0, -1], [5.0, 6.0])", "x.sort()", "x.sort(0)", "x.partition(1)",
     "x.partition((0, 2), axis=0)", "x.flat = [1.0, 2.0]", "x.flat[3] = 7.0",
     "x.flat[[0, 5]] = v[:2]",
     "x.flat[2:9] = 1.0", "x[i] = v", "x[:, 1] = 3", "x[m] = 0.0", "x += v", "x -= 1", "x *= v",
     "x /= 2", "x //= 2", "x %= 0.5", "x **= 2", "s @= s", "i <<= 1", "i >>= 1", "m &= m", "m |= m",
     "m ^= m", "x.real = 1.0", "z.imag = 1.0", "z.real[0] = 2.0", "np.add.at(x, [0, 0], v)"],
)  # fmt: skip
@pytest.mark.parametrize("tracked", [False, True])
def test_writing_leaves_what_it_leaves_in_arrays(statement, tracked):
    arrays = {name: a.copy() for name, a in ARRAYS.items()}

    def tensors():
        for name, array in ARRAYS.items():
            if tracked and array.dtype.kind in "fc":
                yield name, Parameter(array.copy()) * 1.0
            else:
                yield name, Tensor(array.copy())

    held = dict(tensors())
    exec(statement, {**SPACE, **arrays, "__builtins__": {}}, of_arrays := dict(arrays))
    exec(statement, {**SPACE, **held, "__builtins__": {}}, of_tensors := dict(held))
    for name, array in of_arrays.items():
        np.testing.assert_allclose(of_tensors[name].numpy(), array, err_msg=name)


def test_flat_is_differentiated_and_reaches_a_tensor_of_any_layout():
    def f(x, v):
        y = (x * 1.0).T
        y.flat[[0, 5]] = v
        return sum(e * e for e in y.flat) + y.flat[2]

    check_gradients(f, ARRAYS["x"], ARRAYS["v"][:2], order=2)
    x = Tensor(ARRAYS["x"].copy())
    x.T.flat[1] = 9.0
    assert x[1, 0].item() == 9.0
    assert len(x.flat) == 12


@pytest.mark.parametrize(
    "code",
    ["x.sum(0, float, None, True, 1.0, m)", "x.mean(where=m)", "x.var(where=m, ddof=1)",
     "x.std(0, where=m)", "x.prod(where=m, initial=2.0)", "x.max(where=m, initial=-9.0)",
     "x.min(1, initial=0.1)", "x.ravel('F') * x.ravel()", "x.reshape(4, 3, order='F') ** 2",
     "x.take([0, 17], mode='wrap')", "x.cumsum(0, np.float64)", "x.trace(1, dtype=float)",
     "np.sum(x, where=m)", "np.add.reduce(x, where=m)", "np.take(x, [99], mode='clip')",
     "x + [1, 2, 3, 4]", "(1, 2, 3, 4) * x", "x.flat[3:7]"],
)  # fmt: skip
def test_options_are_differentiated(code):
    check_gradients(lambda x: eval(code, {**SPACE, "x": x, "m": MASK}) * 1.0, ARRAYS["x"], order=2)


MASK = np.array([[1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 0]], bool)


def test_a_positional_dtype_is_not_taken_for_keepdims():
    x = Tensor(ARRAYS["x"])
    assert x.mean(0, np.float32).shape == (4,)
    assert x.sum(0, float).dtype == np.float64
    assert np.sum(x, 0, np.float32).dtype == np.float32
    assert x.std(0, None, None, 1).shape == (4,)


def test_out_of_methods_is_a_tensor_that_is_written():
    x, y = Parameter(ARRAYS["x"]), Tensor(np.zeros(4))
    assert x.sum(0, out=y) is y
    assert y.tracked
    np.testing.assert_allclose(y.numpy(), ARRAYS["x"].sum(0))
    with pytest.raises(TypeError, match="ndarray cannot take a Tensor's result"):
        x.mean(0, out=np.zeros(4))


def test_conversions_of_dtype():
    x = Parameter(ARRAYS["x"])
    assert not x.astype(int).tracked
    assert not np.astype(x, int).tracked  # no derivative, and no gradient that pretends one
    assert np.astype(x, np.float32).tracked
    assert x.astype(np.float64, copy=False) is x
    with pytest.raises(TypeError, match="casting='safe'"):
        x.astype(np.float32, casting="safe")
    with pytest.raises(ValueError, match="order='B'"):
        x.ravel("B")
    with pytest.raises(ValueError, match="initial="):
        x.max(where=MASK)
    with pytest.raises(ValueError, match="'around'"):
        x.take([0], mode="around")


# Operators without a derivative, hashes, text -----------------------------------------------------


def test_floor_division_is_untracked():
    x = Parameter(ARRAYS["x"])
    assert not (x // 2).tracked
    assert (x % 2).tracked
    assert grad(lambda x: np.sum(x // 2 + x))(ARRAYS["x"]).tolist() == np.ones((3, 4)).tolist()


def test_tensors_are_hashed_by_identity_and_compare_by_entry():
    x = Tensor(ARRAYS["v"])
    assert {x: 1}[x] == 1
    assert (x == ARRAYS["v"]).all()


def test_repr_and_str_say_that_it_is_a_tensor():
    assert repr(Tensor([1.0])) == str(Tensor([1.0])) == "Tensor([1.])"


def test_an_array_of_tracked_tensors_is_refused_with_advice():
    v = Parameter(ARRAYS["v"])
    for make in (np.array, np.asarray, np.ascontiguousarray):
        with pytest.raises(TypeError, match=r"np\.stack"):
            make([v, v])
    with no_grad():
        assert np.asarray(v.detach()).shape == (4,)


# SciPy's functions that are no ufuncs -------------------------------------------------------------


@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax", "polygamma"])
def test_a_python_function_of_scipy_names_ours(name):
    x = ARRAYS["x"] ** 2 + 0.5
    arguments = (1,) if name == "polygamma" else ()
    theirs, ours = getattr(scipy.special, name), getattr(ops, name)
    with pytest.raises(TypeError, match=rf"tapegrad\.autograd\.ops\.{name}\."):
        theirs(*arguments, Parameter(x))
    options = {} if name == "polygamma" else {"axis": 1}
    np.testing.assert_allclose(
        ours(*arguments, Tensor(x), **options).numpy(), theirs(*arguments, x, **options)
    )
