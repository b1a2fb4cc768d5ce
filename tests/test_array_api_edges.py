"""The array API on arrays without axes, without entries, or with one, judged by array-api-strict.

What the judge refuses, the standard leaves open; what it computes must be the same here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from array_api_cases import flat

from tapegrad import Tensor
from tapegrad import array_api as xp

strict = pytest.importorskip("array_api_strict")
pytestmark = pytest.mark.extra

# Where NumPy, and the judge with it, computes what the standard leaves open.
OPEN = {
    "prod () 0": "a 0-d array has no axis 0",
    "prod () -1": "a 0-d array has no axis -1",
    "diff 0 ()": "a 0-d array has no axis",
}
REDUCTIONS = (
    *("sum", "prod", "max", "min", "mean", "std", "var", "all", "any", "count_nonzero", "argmax"),
    *("argmin", "cumulative_sum", "cumulative_prod", "sort", "argsort", "flip"),
)
SQUARE = ((0, 0), (1, 1), (0, 2, 2), (2, 0, 0), (3, 3))
OBLONG = ((0, 3), (3, 0), (2, 3), (0, 2, 3), (2, 0, 3))
SMALL = ((), (0,), (1,), (3,), (2, 3), (0, 2))


def numbers(*shape, dtype="float64"):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def near_identity(shape):
    x = numbers(*shape) * 0.01
    return x + np.swapaxes(x, -1, -2) + 5 * np.eye(shape[-1])


Call = Callable[[Any], Any]


def reductions() -> Iterator[tuple[str, Call]]:
    for name in REDUCTIONS:
        kind = "bool" if name in ("all", "any") else "float64"
        for shape in ((), (0,), (0, 3), (3, 0), (1,), (2, 0, 3)):
            x = numbers(*shape, dtype=kind)
            if name not in ("sort", "argsort"):  # they have an axis always
                yield f"{name} {shape}", lambda s, n=name, x=x: getattr(s, n)(s.asarray(x))
            for axis in (0, -1):
                yield (
                    f"{name} {shape} {axis}",
                    lambda s, n=name, x=x, a=axis: getattr(s, n)(s.asarray(x), axis=a),
                )


def matrices() -> Iterator[tuple[str, Call]]:
    for name in ("cholesky", "det", "inv", "slogdet", "eigh", "eigvalsh", "eig", "eigvals"):
        for shape in SQUARE:
            x = near_identity(shape)
            yield f"{name} {shape}", lambda s, n=name, x=x: getattr(s.linalg, n)(s.asarray(x))
    for name in (
        *("svd", "svdvals", "qr", "pinv", "matrix_rank", "matrix_norm", "trace", "diagonal"),
        *("matrix_transpose", "vector_norm"),
    ):
        for shape in (*SQUARE, *OBLONG):
            x = near_identity(shape) if shape in SQUARE else numbers(*shape) * 0.1
            yield f"{name} {shape}", lambda s, n=name, x=x: getattr(s.linalg, n)(s.asarray(x))
    for shape in SQUARE:
        for n in (0, 1, -2):
            x = near_identity(shape)
            yield f"power {shape} {n}", lambda s, x=x, n=n: s.linalg.matrix_power(s.asarray(x), n)
    for a, b in (
        *(((0, 0), (0, 2)), ((0, 3, 3), (3,)), ((2, 2), (2, 0)), ((0, 2, 2), (2, 2))),
        *(((3, 2, 2), (2,)), ((1, 2, 2), (4, 2, 2))),
    ):
        x, y = near_identity(a), numbers(*b)
        yield (
            f"solve {a} {b}",
            lambda s, x=x, y=y: s.linalg.solve(s.asarray(x), s.asarray(y)),
        )


def products() -> Iterator[tuple[str, Call]]:
    for name, a, b in (
        *(("matmul", (0,), (0,)), ("matmul", (0, 3), (3, 2)), ("matmul", (2, 0), (0, 3))),
        *(("matmul", (3,), (3, 0)), ("matmul", (0, 2, 3), (3, 4)), ("matmul", (2, 3), (0, 3, 4))),
        *(("vecdot", (0,), (0,)), ("vecdot", (2, 0), (2, 0)), ("vecdot", (0, 3), (3,))),
        *(("cross", (0, 3), (3,)), ("cross", (2, 1, 3), (4, 3))),
        *(("outer", (0,), (2,)), ("outer", (2,), (0,))),
    ):
        x, y = numbers(*a), numbers(*b)
        yield (
            f"{name} {a} {b}",
            lambda s, n=name, x=x, y=y: getattr(s.linalg, n)(s.asarray(x), s.asarray(y)),
        )
    for a, b, axes in (
        *(((0,), (0,), 1), ((2, 0), (0, 3), 1), ((2, 3), (4, 0), 0), ((), (), 0)),
        ((2, 3, 4), (4, 3, 2), ((1, 2), (1, 0))),
    ):
        x, y = numbers(*a), numbers(*b)
        yield (
            f"tensordot {a} {b} {axes}",
            lambda s, x=x, y=y, k=axes: s.tensordot(s.asarray(x), s.asarray(y), axes=k),
        )


def movements() -> Iterator[tuple[str, Call]]:
    calls: dict[str, Callable[[Any, Any], Any]] = {
        "unique_all": lambda s, x: s.unique_all(x),
        "nonzero": lambda s, x: s.nonzero(x),
        "roll": lambda s, x: s.roll(x, 1),
        "roll back": lambda s, x: s.roll(x, -2, axis=0),
        "roll both": lambda s, x: s.roll(x, (1, 1), axis=(0, -1)),
        "permute": lambda s, x: s.permute_dims(x, tuple(range(x.ndim))[::-1]),
        "unstack": lambda s, x: s.unstack(x),
        "concat": lambda s, x: s.concat([x, x], axis=None),
        "stack": lambda s, x: s.stack([x], axis=-1),
        "searchsorted": lambda s, x: s.searchsorted(s.asarray(numbers(4)), x),
        "mask": lambda s, x: x[x > 1],
        "mask of all": lambda s, x: x[s.asarray(True)],
        "()": lambda s, x: x[()],
        "...": lambda s, x: x[...],
        "None": lambda s, x: x[None],
        "repeat 0": lambda s, x: s.repeat(x, 0),
        "repeat 3": lambda s, x: s.repeat(x, 3),
        "diff 0": lambda s, x: s.diff(x, n=0),
        "diff 1": lambda s, x: s.diff(x, n=1),
        "diff 5": lambda s, x: s.diff(x, n=5),
        **{
            f"tile {counts}": lambda s, x, counts=counts: s.tile(x, counts)
            for counts in ((), (2,), (0,), (1, 2), (2, 1, 1))
        },
        **{
            f"expand {axis}": lambda s, x, axis=axis: s.expand_dims(x, axis=axis)
            for axis in (0, -1)
        },
        **{
            f"reshape {target}": lambda s, x, target=target: s.reshape(x, target)
            for target in ((-1,), (1, -1), (0,), ())
        },
    }
    for name, call in calls.items():
        for shape in SMALL:
            x = numbers(*shape)
            yield f"{name} {shape}", lambda s, call=call, x=x: call(s, s.asarray(x))


def transforms() -> Iterator[tuple[str, Call]]:
    for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
        kind = "float64" if name in ("rfft", "ihfft") else "complex128"
        for shape in ((1,), (2,), (0, 3), (3, 1)):
            x = numbers(*shape, dtype=kind)
            for n in (None, 1, 3):
                yield (
                    f"{name} {shape} {n}",
                    lambda s, f=name, x=x, n=n: getattr(s.fft, f)(s.asarray(x), n=n),
                )


def grids() -> Iterator[tuple[str, Call]]:
    for n in (0, 1, 2):
        yield f"fftfreq {n}", lambda s, n=n: s.fft.fftfreq(n)
        yield f"linspace {n}", lambda s, n=n: s.linspace(0, 1, n)
        yield f"linspace open {n}", lambda s, n=n: s.linspace(0, 1, n, endpoint=False)
        yield f"eye {n}", lambda s, n=n: [s.eye(n), s.eye(n, 3, k=-1), s.eye(n, 0)]
        yield f"arange {n}", lambda s, n=n: [s.arange(n), s.arange(n, -3, -1), s.arange(n, n)]


EDGES = dict(
    edge
    for family in (reductions, matrices, products, movements, transforms, grids)
    for edge in family()
)


@pytest.mark.parametrize("name", EDGES)
def test_an_edge_is_the_judges(name):
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            expected = flat(EDGES[name](strict))
        except Exception:  # noqa: BLE001  # whatever it is: the judge refuses the call
            return
        if name in OPEN:
            with pytest.raises(np.exceptions.AxisError):
                EDGES[name](xp)
            return
        found = flat(EDGES[name](xp))
    assert len(found) == len(expected)
    for own, other in zip(found, expected, strict=True):
        assert isinstance(own, Tensor)
        value, right = own.numpy(), np.asarray(other)
        assert (value.dtype, value.shape) == (right.dtype, right.shape)
        np.testing.assert_allclose(value, right, rtol=1e-12, atol=1e-13)


def test_most_edges_are_judged():
    assert len(EDGES) > 500
    assert set(OPEN) <= set(EDGES)
