"""What the calls of the array API standard are made with: draws, and the forms that many have.

A case is a function of a namespace and a `Draws`, and returns what the call gives. The same draws
go to both namespaces that are compared.
"""

from __future__ import annotations

import numpy as np

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGRAL = SIGNED + UNSIGNED
FLOATS = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
FLOATING = FLOATS + COMPLEX
REAL = INTEGRAL + FLOATS
NUMERIC = INTEGRAL + FLOATING
ALL = ("bool", *NUMERIC)
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0)


class Draws:
    """Arrays of one namespace, drawn from a seed, in one dtype unless another is asked for."""

    def __init__(self, xp, dtype, seed=0, make=None):
        self.xp, self.dtype, self.random = xp, dtype, np.random.default_rng(seed)
        self.make = make or xp.asarray

    def numbers(self, shape, dtype=None, low=-3.0, high=3.0):
        dtype = np.dtype(dtype or self.dtype)
        if dtype.kind == "b":
            return self.random.random(shape) < 0.5
        if dtype.kind in "iu":
            first = 0 if dtype.kind == "u" else int(low)
            return self.random.integers(max(first, int(low)), int(high) + 4, shape).astype(dtype)
        x = self.random.uniform(low, high, shape)
        if dtype.kind == "c":
            x = x + 1j * self.random.uniform(low, high, shape)
        return x.astype(dtype)

    def __call__(self, *shape, dtype=None, low=-3.0, high=3.0):
        return self.make(self.numbers(shape, dtype, low, high))

    def special(self, *shape):
        """Numbers of which the first few are NaN, infinite and zero, where the dtype has them."""
        x = self.numbers(shape)
        if x.dtype.kind in "fc":
            x.flat[: len(SPECIAL)] = SPECIAL
        return self.make(x)

    def index(self, values, dtype="int64"):
        return self.make(np.asarray(values, dtype))

    def matrix(self, *lead, n=3):
        """Square matrices whose eigenvalues and singular values are well apart."""
        x = self.numbers((*lead, n, n), low=-0.3, high=0.3)
        return self.make(x + np.diag(2.0 * np.arange(1, n + 1)).astype(x.dtype))

    def positive(self, *lead, n=3):
        x = self.numbers((*lead, n, n), low=-0.3, high=0.3)
        x = x + np.diag(2.0 * np.arange(1, n + 1)).astype(x.dtype)
        return self.make(x @ np.conj(np.swapaxes(x, -1, -2)))


def unary(name, **bounds):
    def call(xp, d):
        f = getattr(xp, name)
        if bounds:
            return f(d(3, 4, **bounds)), f(d(**bounds))
        return f(d.special(3, 4)), f(d()), f(d(0, 2))

    return call


def on_reals(name):
    def call(xp, d):
        return [] if np.dtype(d.dtype).kind == "c" else unary(name)(xp, d)

    return call


def binary(name, **bounds):
    def call(xp, d):
        f = getattr(xp, name)
        x = d(3, 4, **bounds)
        number = {"b": True, "i": 2, "u": 2, "f": 1.5, "c": 1.5 - 0.5j}[np.dtype(d.dtype).kind]
        return (
            f(x, d(3, 4, **bounds)),
            f(x, d(4, **bounds)),
            f(d(**bounds), d(3, 1, **bounds)),
            f(x, number),
            f(number, x),
        )

    return call


def mixed(name):
    """Operands of two dtypes of one kind, of which the standard says what they give."""

    def call(xp, d):
        kind = np.dtype(d.dtype).kind
        others = [t for t in ALL if np.dtype(t).kind == kind] + ["int64"] * (kind == "u")
        others = [t for t in others if {t, d.dtype} != {"uint64", "int64"}]
        return [getattr(xp, name)(d(2, 3), d(3, dtype=t)) for t in others]

    return call


def each(*calls):
    return lambda xp, d: [call(xp, d) for call in calls]


def reduction(name, **more):
    def call(xp, d):
        f = getattr(xp, name)
        x = d(2, 3, 4)
        return [
            f(x, **more),
            f(x, axis=0, **more),
            f(x, axis=(0, -1), **more),
            f(x, axis=1, keepdims=True, **more),
            f(x, axis=(), **more),
            f(d(), **more),
        ]

    return call


def one_axis(name):
    def call(xp, d):
        f = getattr(xp, name)
        x = d(2, 3, 4)
        return [f(x), f(x, axis=0), f(x, axis=-1), f(x, axis=1, keepdims=True)]

    return call


def of(dtypes, call):
    return dtypes, call
