"""A call of every function of the array API standard, to be made with any namespace of it.

A case is a function of a namespace and a `Draws`, and returns what the call gives. The same draws
go to both namespaces that are compared. `tests/test_array_api.py` makes the calls.
"""

from __future__ import annotations

import numpy as np

from tapegrad import array_api

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


def _unary(name, **bounds):
    def call(xp, d):
        f = getattr(xp, name)
        if bounds:
            return f(d(3, 4, **bounds)), f(d(**bounds))
        return f(d.special(3, 4)), f(d()), f(d(0, 2))

    return call


def _on_reals(name):
    def call(xp, d):
        return [] if np.dtype(d.dtype).kind == "c" else _unary(name)(xp, d)

    return call


def _binary(name, **bounds):
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


def _mixed(name):
    """Operands of two dtypes of one kind, of which the standard says what they give."""

    def call(xp, d):
        kind = np.dtype(d.dtype).kind
        others = [t for t in ALL if np.dtype(t).kind == kind] + ["int64"] * (kind == "u")
        others = [t for t in others if {t, d.dtype} != {"uint64", "int64"}]
        return [getattr(xp, name)(d(2, 3), d(3, dtype=t)) for t in others]

    return call


def _each(*calls):
    return lambda xp, d: [call(xp, d) for call in calls]


def _reduction(name, **more):
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


def _one_axis(name):
    def call(xp, d):
        f = getattr(xp, name)
        x = d(2, 3, 4)
        return [f(x), f(x, axis=0), f(x, axis=-1), f(x, axis=1, keepdims=True)]

    return call


def _in(dtypes, call):
    return dtypes, call


_DOMAINS = {
    "acos": (-1, 1),
    "acosh": (1, 5),
    "asin": (-1, 1),
    "atanh": (-0.9, 0.9),
}

ELEMENTWISE = {
    **{name: _in(NUMERIC, _unary(name)) for name in ("abs", "negative", "positive", "square")},
    **{name: _in(REAL, _unary(name)) for name in ("ceil", "floor", "trunc")},
    **{name: _in(NUMERIC, _unary(name)) for name in ("round", "conj")},
    # Of infinite complex numbers the standard says nothing.
    "sign": _in(NUMERIC, _each(_on_reals("sign"), lambda xp, d: xp.sign(d(3, 4)))),
    **{name: _in(NUMERIC, _unary(name)) for name in ("isfinite", "isinf", "isnan")},
    **{
        name: _in(FLOATING, _unary(name, low=low, high=high))
        for name, (low, high) in _DOMAINS.items()
    },
    **{
        name: _in(FLOATING, _unary(name))
        for name in (
            *("asinh", "atan", "cos", "cosh", "exp", "expm1", "log", "log1p", "log2", "log10"),
            *("reciprocal", "sin", "sinh", "sqrt", "tan", "tanh"),
        )
    },
    "real": _in(FLOATING, lambda xp, d: xp.real(d.special(3, 4))),
    "imag": _in(COMPLEX, lambda xp, d: xp.imag(d.special(3, 4))),
    "signbit": _in(FLOATS, _unary("signbit")),
    "bitwise_invert": _in(("bool", *INTEGRAL), _unary("bitwise_invert")),
    "logical_not": _in(("bool",), _unary("logical_not")),
    **{
        name: _in(NUMERIC, _each(_binary(name), _mixed(name)))
        for name in ("add", "subtract", "multiply")
    },
    **{name: _in(ALL, _each(_binary(name), _mixed(name))) for name in ("equal", "not_equal")},
    **{
        name: _in(REAL, _each(_binary(name), _mixed(name)))
        for name in ("less", "less_equal", "greater", "greater_equal", "maximum", "minimum")
    },
    "divide": _in(FLOATING, _each(_binary("divide"), _mixed("divide"))),
    **{name: _in(REAL, _binary(name, low=1, high=5)) for name in ("floor_divide", "remainder")},
    "pow": _in(NUMERIC, _binary("pow", low=1, high=3)),
    **{
        name: _in(FLOATS, _binary(name))
        for name in ("atan2", "copysign", "hypot", "logaddexp", "nextafter")
    },
    **{
        name: _in(("bool", *INTEGRAL), _each(_binary(name), _mixed(name)))
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor")
    },
    **{
        name: _in(INTEGRAL, _binary(name, low=0, high=3))
        for name in ("bitwise_left_shift", "bitwise_right_shift")
    },
    **{
        name: _in(("bool",), _binary(name)) for name in ("logical_and", "logical_or", "logical_xor")
    },
    "clip": _in(
        REAL,
        lambda xp, d: [
            xp.clip(d.special(3, 4), min=1, max=2),
            xp.clip(d(3, 4), 1, None),
            xp.clip(d(3, 4), max=2),
            xp.clip(d(3, 4)),
            xp.clip(d(3, 4), d(4, low=0, high=1), d(3, 1, low=5, high=6)),
        ],
    ),
}

STATISTICS = {
    **{name: _in(ALL, _reduction(name)) for name in ("all", "any", "count_nonzero")},
    **{name: _in(REAL, _reduction(name)) for name in ("max", "min")},
    **{
        name: _in(
            NUMERIC,
            _each(
                _reduction(name),
                lambda xp, d, name=name: getattr(xp, name)(
                    d(2, 3), axis=1, dtype=getattr(xp, d.dtype)
                ),
            ),
        )
        for name in ("sum", "prod")
    },
    "mean": _in(FLOATING, _reduction("mean")),
    **{
        name: _in(FLOATS, _each(_reduction(name), _reduction(name, correction=1)))
        for name in ("std", "var")
    },
    **{
        name: _in(
            NUMERIC,
            lambda xp, d, name=name: [
                getattr(xp, name)(d(4)),
                getattr(xp, name)(d(2, 3), axis=0),
                getattr(xp, name)(d(2, 3), axis=-1, include_initial=True),
                getattr(xp, name)(d(2, 3), axis=1, dtype=getattr(xp, d.dtype)),
            ],
        )
        for name in ("cumulative_sum", "cumulative_prod")
    },
    "diff": _in(
        NUMERIC,
        lambda xp, d: [
            xp.diff(d(5)),
            xp.diff(d(4, 3), axis=0, n=2),
            xp.diff(d(4, 3), prepend=d(4, 1), append=d(4, 2)),
            xp.diff(d(4, 3), n=0),
        ],
    ),
}

SEARCHING = {
    **{name: _in(REAL, _one_axis(name)) for name in ("argmax", "argmin")},
    **{
        name: _in(
            REAL,
            lambda xp, d, name=name: [
                getattr(xp, name)(d(9)),
                getattr(xp, name)(d(9, 2), axis=0, descending=True),
                getattr(xp, name)(d(2, 9), stable=True, descending=True),
            ],
        )
        for name in ("sort", "argsort")
    },
    "isin": _in(INTEGRAL, lambda xp, d: [xp.isin(d(3, 4), d(3)), xp.isin(d(), d(2))]),
    "nonzero": _in(ALL, lambda xp, d: [xp.nonzero(d(3, 4)), xp.nonzero(d(9))]),
    "searchsorted": _in(
        REAL,
        lambda xp, d: [
            xp.searchsorted(xp.sort(d(7)), d(2, 3)),
            xp.searchsorted(xp.sort(d(7)), d(5), side="right"),
            *[xp.searchsorted(x, d(5), sorter=xp.argsort(x)) for x in [d(7)]],
        ],
    ),
    "where": _in(
        ALL,
        lambda xp, d: [
            xp.where(d(3, 4, dtype="bool"), d(3, 4), d(4)),
            xp.where(d(3, 1, dtype="bool"), d(4), True if d.dtype == "bool" else 1),
        ],
    ),
    "take": _in(
        ALL,
        lambda xp, d: [
            xp.take(d(5), d.index([3, 0, 0, 4])),
            xp.take(d(3, 4), d.index([2, 0]), axis=1),
            xp.take(d(3, 4), d.index([-1, 0]), axis=0),
        ],
    ),
    "take_along_axis": _in(
        ALL,
        lambda xp, d: [
            xp.take_along_axis(d(3, 4), d.index([[0, 1], [3, 3], [2, 0]])),
            xp.take_along_axis(d(3, 2), d.index([[2, 0]]), axis=0),
        ],
    ),
    **{
        f"unique_{name}": _in(
            ALL,
            lambda xp, d, name=name: [
                getattr(xp, f"unique_{name}")(d(3, 4)),
                getattr(xp, f"unique_{name}")(d(0)),
            ],
        )
        for name in ("all", "counts", "inverse", "values")
    },
}

MANIPULATION = {
    "broadcast_arrays": _in(ALL, lambda xp, d: xp.broadcast_arrays(d(3, 1), d(4), d())),
    "broadcast_shapes": _in(("int64",), lambda xp, d: xp.broadcast_shapes((3, 1), (4,), ())),
    "broadcast_to": _in(ALL, lambda xp, d: xp.broadcast_to(d(3, 1), (2, 3, 4))),
    "concat": _in(
        ALL,
        lambda xp, d: [
            xp.concat([d(2, 3), d(1, 3)]),
            xp.concat((d(2, 3), d(2, 1)), axis=-1),
            xp.concat([d(2, 3), d()[None], d(2)], axis=None),
        ],
    ),
    "expand_dims": _in(ALL, lambda xp, d: [xp.expand_dims(d(2, 3), axis=k) for k in (-3, 0, 1, 2)]),
    "flip": _in(
        ALL,
        lambda xp, d: [xp.flip(d(2, 3)), xp.flip(d(2, 3), axis=1), xp.flip(d(2, 3), axis=(0, -1))],
    ),
    "moveaxis": _in(
        ALL,
        lambda xp, d: [
            xp.moveaxis(d(2, 3, 4), 0, -1),
            xp.moveaxis(d(2, 3, 4), (0, 1), (-1, 0)),
        ],
    ),
    "permute_dims": _in(ALL, lambda xp, d: xp.permute_dims(d(2, 3, 4), (2, 0, 1))),
    "repeat": _in(
        ALL,
        lambda xp, d: [
            xp.repeat(d(3, 2), 2),
            xp.repeat(d(3, 2), 2, axis=1),
            xp.repeat(d(3, 2), d.index([1, 0, 2]), axis=0),
        ],
    ),
    "reshape": _in(
        ALL,
        lambda xp, d: [
            xp.reshape(d(3, 4), (2, -1)),
            xp.reshape(d(3, 4), (12,), copy=True),
            xp.reshape(d(3, 4), (4, 3), copy=False),
            xp.reshape(d(), (1, 1)),
        ],
    ),
    "roll": _in(
        ALL,
        lambda xp, d: [
            xp.roll(d(3, 4), 2),
            xp.roll(d(3, 4), -1, axis=1),
            xp.roll(d(3, 4), (1, 2), axis=(0, 1)),
        ],
    ),
    "squeeze": _in(
        ALL, lambda xp, d: [xp.squeeze(d(1, 3, 1), axis=0), xp.squeeze(d(1, 3, 1), axis=(0, -1))]
    ),
    "stack": _in(
        ALL, lambda xp, d: [xp.stack([d(2, 3), d(2, 3)]), xp.stack((d(2), d(2)), axis=-1)]
    ),
    "tile": _in(
        ALL,
        lambda xp, d: [xp.tile(d(2, 3), (2,)), xp.tile(d(2), (2, 1, 3)), xp.tile(d(2, 3), (0, 1))],
    ),
    "unstack": _in(ALL, lambda xp, d: [xp.unstack(d(3, 2)), xp.unstack(d(3, 2), axis=-1)]),
}


def _dtyped(name, *arguments):
    def call(xp, d):
        f = getattr(xp, name)
        return [f(*arguments), f(*arguments, dtype=getattr(xp, d.dtype))]

    return call


def _liked(name, *arguments):
    def call(xp, d):
        f = getattr(xp, name)
        return [f(d(2, 3), *arguments), f(d(2), *arguments, dtype=xp.float32)]

    return call


def _shape_alone(call):
    """What is compared of results whose numbers may be any."""
    return lambda xp, d: [
        (x.shape, str(x.dtype).removeprefix("array_api_strict.")) for x in call(xp, d)
    ]


CREATION = {
    "arange": _in(
        REAL,
        lambda xp, d: [
            xp.arange(5),
            xp.arange(5, dtype=getattr(xp, d.dtype)),
            xp.arange(1, 9, 2),
            xp.arange(1.0, 2.0, 0.25),
            xp.arange(5, 1, -1),
            xp.arange(3, 1),
            xp.arange(3.0),
        ],
    ),
    "asarray": _in(
        ALL,
        lambda xp, d: [
            xp.asarray(True),
            xp.asarray(3),
            xp.asarray(1.5),
            xp.asarray(1j),
            xp.asarray([[1, 2], [3, 4]]),
            xp.asarray([1, 2.5]),
            xp.asarray(d(2, 3)),
            xp.asarray(d(2, 3), copy=True),
            xp.asarray(d(2, 3), copy=False),
            xp.asarray([1, 0, 1], dtype=getattr(xp, d.dtype)),
        ],
    ),
    "empty": _in(ALL, _shape_alone(_dtyped("empty", (2, 3)))),
    "empty_like": _in(NUMERIC, _shape_alone(_liked("empty_like"))),
    "eye": _in(
        NUMERIC,
        _each(_dtyped("eye", 3), lambda xp, d: [xp.eye(2, 3), xp.eye(3, k=1), xp.eye(3, 2, k=-1)]),
    ),
    "from_dlpack": _in(ALL, lambda xp, d: [xp.from_dlpack(d(2, 3)), xp.from_dlpack(d())]),
    "full": _in(
        ALL,
        lambda xp, d: [
            xp.full((2, 3), True),
            xp.full(3, 2),
            xp.full((), 1.5),
            xp.full((2,), 1j),
            xp.full((2,), 1, dtype=getattr(xp, d.dtype)),
        ],
    ),
    "full_like": _in(
        ALL,
        lambda xp, d: [
            xp.full_like(d(2, 3), True if d.dtype == "bool" else 2),
            xp.full_like(d(2, 3), 1.5, dtype=xp.float32),
        ],
    ),
    "linspace": _in(
        FLOATING,
        lambda xp, d: [
            xp.linspace(0, 1, 5),
            xp.linspace(-1.0, 2.0, 4, endpoint=False),
            xp.linspace(3, 1, 5, dtype=getattr(xp, d.dtype)),
            xp.linspace(0, 1 + 1j, 3),
            xp.linspace(0, 1, 1),
        ],
    ),
    "meshgrid": _in(
        NUMERIC,
        lambda xp, d: [
            xp.meshgrid(d(2), d(3)),
            xp.meshgrid(d(2), d(3), d(4), indexing="ij"),
            xp.meshgrid(d(2)),
        ],
    ),
    "ones": _in(ALL, _dtyped("ones", (2, 3))),
    "ones_like": _in(NUMERIC, _liked("ones_like")),
    "tril": _in(NUMERIC, lambda xp, d: [xp.tril(d(2, 3, 4)), xp.tril(d(3, 3), k=1)]),
    "triu": _in(NUMERIC, lambda xp, d: [xp.triu(d(2, 3, 4)), xp.triu(d(3, 3), k=-1)]),
    "zeros": _in(ALL, _dtyped("zeros", 3)),
    "zeros_like": _in(NUMERIC, _liked("zeros_like")),
}


def _targets(dtype):
    return [t for t in ALL if not (dtype in COMPLEX and t not in COMPLEX)]


DATA_TYPES = {
    "astype": _in(
        ALL,
        lambda xp, d: [
            *[xp.astype(d(2, 3, low=0), getattr(xp, t)) for t in _targets(d.dtype)],
            xp.astype(d(2), getattr(xp, d.dtype), copy=False),
        ],
    ),
    "can_cast": _in(
        ALL,
        lambda xp, d: [
            (bool(xp.can_cast(getattr(xp, d.dtype), getattr(xp, t))), bool(xp.can_cast(d(2), d2)))
            for t in ALL
            if np.dtype(t).kind == np.dtype(d.dtype).kind
            for d2 in [getattr(xp, t)]
        ],
    ),
    "finfo": _in(
        FLOATING,
        lambda xp, d: [
            (i.bits, i.eps, i.max, i.min, i.smallest_normal, i.dtype == getattr(xp, t))
            for t in FLOATS
            for i in (xp.finfo(getattr(xp, d.dtype)), xp.finfo(d(2)))
        ],
    ),
    "iinfo": _in(
        INTEGRAL,
        lambda xp, d: [
            (i.bits, i.max, i.min, i.dtype == getattr(xp, d.dtype))
            for i in (xp.iinfo(getattr(xp, d.dtype)), xp.iinfo(d(2)))
        ],
    ),
    "isdtype": _in(
        ALL,
        lambda xp, d: [
            bool(xp.isdtype(getattr(xp, d.dtype), kind))
            for kind in (
                *("bool", "signed integer", "unsigned integer", "integral", "real floating"),
                *("complex floating", "numeric", ("integral", "bool"), xp.float32, xp.bool),
            )
        ],
    ),
    "result_type": _in(
        ALL,
        lambda xp, d: [
            [t for t in ALL if found == getattr(xp, t)]
            for other in ALL
            if np.dtype(other).kind == np.dtype(d.dtype).kind
            for found in (
                xp.result_type(d(2), getattr(xp, other)),
                xp.result_type(d(2), d(3, dtype=other), getattr(xp, d.dtype)),
                xp.result_type(d(2), True if d.dtype == "bool" else 1),
            )
        ],
    ),
}

_STACKS = {
    "matmul": _in(
        NUMERIC,
        lambda xp, d: [
            xp.matmul(d(2, 3), d(3, 4)),
            xp.matmul(d(3), d(3)),
            xp.matmul(d(2, 1, 2, 3), d(4, 3, 2)),
            xp.matmul(d(3), d(2, 3, 4)),
        ],
    ),
    "matrix_transpose": _in(ALL, lambda xp, d: xp.matrix_transpose(d(2, 3, 4))),
    "tensordot": _in(
        NUMERIC,
        lambda xp, d: [
            xp.tensordot(d(2, 3, 4), d(3, 4, 2)),
            xp.tensordot(d(2, 3), d(3, 4), axes=1),
            xp.tensordot(d(2), d(3), axes=0),
            xp.tensordot(d(2, 3, 4), d(4, 2), axes=((0, 2), (1, 0))),
            xp.tensordot(d(2, 3), d(3, 4), axes=((-1,), (0,))),
        ],
    ),
    "vecdot": _in(
        NUMERIC,
        lambda xp, d: [xp.vecdot(d(2, 3), d(3)), xp.vecdot(d(3, 2), d(3, 2), axis=-2)],
    ),
}


def _in_linalg(call):
    return lambda xp, d: call(xp.linalg, d)


# In LAPACK's hands the signs of vectors are free; NumPy's are what both libraries have.
LINALG = {
    **{f"linalg.{name}": (kinds, _in_linalg(call)) for name, (kinds, call) in _STACKS.items()},
    "linalg.cholesky": _in(
        FLOATING,
        lambda xp, d: [
            xp.linalg.cholesky(d.positive()),
            xp.linalg.cholesky(d.positive(2), upper=True),
        ],
    ),
    "linalg.cross": _in(
        NUMERIC,
        lambda xp, d: [
            xp.linalg.cross(d(3), d(3)),
            xp.linalg.cross(d(2, 3), d(3, low=0)),
            xp.linalg.cross(d(3, 2), d(3, 2), axis=-2),
        ],
    ),
    "linalg.diagonal": _in(
        ALL,
        lambda xp, d: [
            xp.linalg.diagonal(d(2, 3, 4)),
            xp.linalg.diagonal(d(3, 3), offset=1),
            xp.linalg.diagonal(d(3, 3), offset=-2),
        ],
    ),
    **{
        f"linalg.{name}": _in(
            FLOATING,
            lambda xp, d, name=name: [
                getattr(xp.linalg, name)(d.matrix()),
                getattr(xp.linalg, name)(d.matrix(2)),
            ],
        )
        for name in ("det", "eig", "eigvals", "inv", "slogdet")
    },
    **{
        f"linalg.{name}": _in(
            FLOATING, lambda xp, d, name=name: getattr(xp.linalg, name)(d.positive(2))
        )
        for name in ("eigh", "eigvalsh")
    },
    "linalg.matrix_norm": _in(
        FLOATING,
        lambda xp, d: [
            xp.linalg.matrix_norm(d(2, 3, 4), ord=order, keepdims=keepdims)
            for order in ("fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf"))
            for keepdims in (False, True)
        ],
    ),
    "linalg.matrix_power": _in(
        FLOATING, lambda xp, d: [xp.linalg.matrix_power(d.matrix(2), n) for n in (0, 1, 3, -2)]
    ),
    "linalg.matrix_rank": _in(
        FLOATING,
        lambda xp, d: [
            xp.linalg.matrix_rank(d(2, 3, 4)),
            xp.linalg.matrix_rank(d.matrix(), rtol=0.5),
            xp.linalg.matrix_rank(d.matrix(2), rtol=d.xp.asarray([0.5, 0.1])),
        ],
    ),
    "linalg.outer": _in(NUMERIC, lambda xp, d: xp.linalg.outer(d(2), d(3))),
    "linalg.pinv": _in(
        FLOATING,
        lambda xp, d: [
            xp.linalg.pinv(d(2, 3, 4)),
            xp.linalg.pinv(d.matrix(), rtol=0.5),
            xp.linalg.pinv(d.matrix(2), rtol=d.xp.asarray([0.5, 0.1])),
        ],
    ),
    "linalg.qr": _in(
        FLOATING,
        lambda xp, d: [
            xp.linalg.qr(d(2, 4, 3)),
            xp.linalg.qr(d(3, 4)),
            xp.linalg.qr(d.matrix(), mode="complete"),
            xp.linalg.qr(d(4, 3), mode="complete"),
        ],
    ),
    "linalg.solve": _in(
        FLOATING,
        lambda xp, d: [
            xp.linalg.solve(d.matrix(2), d(3)),
            xp.linalg.solve(d.matrix(2), d(3, 2)),
            xp.linalg.solve(d.matrix(), d(2, 3, 1)),
        ],
    ),
    "linalg.svd": _in(
        FLOATING,
        lambda xp, d: [
            xp.linalg.svd(d(2, 4, 3), full_matrices=False),
            xp.linalg.svd(d.matrix()),
            xp.linalg.svd(d(2, 4, 3)),
            xp.linalg.svd(d(3, 4)),
        ],
    ),
    "linalg.svdvals": _in(FLOATING, lambda xp, d: xp.linalg.svdvals(d(2, 4, 3))),
    "linalg.trace": _in(
        NUMERIC,
        lambda xp, d: [
            xp.linalg.trace(d(2, 3, 4)),
            xp.linalg.trace(d(3, 3), offset=1),
            xp.linalg.trace(d(3, 3), dtype=getattr(xp, d.dtype)),
        ],
    ),
    "linalg.vector_norm": _in(
        FLOATING,
        lambda xp, d: [
            xp.linalg.vector_norm(d(3, 4)),
            xp.linalg.vector_norm(d(2, 3, 4), axis=(0, 2)),
            *[
                xp.linalg.vector_norm(d(3, 4), axis=1, ord=order, keepdims=True)
                for order in (0, 1, 2, 3, -1, 0.5, float("inf"), -float("inf"))
            ],
        ],
    ),
}


def _along_one(name):
    def call(xp, d):
        f = getattr(xp.fft, name)
        x = d(3, 6)
        return [
            f(x),
            f(x, n=8, axis=-1),
            f(x, n=3, axis=0, norm="ortho"),
            f(x, n=5, norm="forward"),
        ]

    return call


def _along_several(name):
    def call(xp, d):
        f = getattr(xp.fft, name)
        x = d(3, 4, 6)
        return [
            f(x),
            f(x, axes=(0, 2)),
            f(x, s=(4, 5), axes=(0, 1), norm="ortho"),
            f(x, axes=(-1, -2), norm="forward"),
        ]

    return call


def _frequencies(name):
    def call(xp, d):
        f = getattr(xp.fft, name)
        return [f(6), f(5, d=0.5), f(5, dtype=getattr(xp, d.dtype))]

    return call


FFT = {
    **{f"fft.{name}": _in(COMPLEX, _along_one(name)) for name in ("fft", "ifft")},
    **{f"fft.{name}": _in(COMPLEX, _along_one(name)) for name in ("irfft", "hfft")},
    **{f"fft.{name}": _in(FLOATS, _along_one(name)) for name in ("rfft", "ihfft")},
    **{f"fft.{name}": _in(COMPLEX, _along_several(name)) for name in ("fftn", "ifftn", "irfftn")},
    "fft.rfftn": _in(FLOATS, _along_several("rfftn")),
    **{f"fft.{name}": _in(FLOATS, _frequencies(name)) for name in ("fftfreq", "rfftfreq")},
    **{
        f"fft.{name}": _in(
            FLOATING,
            lambda xp, d, name=name: [
                getattr(xp.fft, name)(d(3, 4)),
                getattr(xp.fft, name)(d(3, 4), axes=1),
                getattr(xp.fft, name)(d(3, 4), axes=(0, 1)),
            ],
        )
        for name in ("fftshift", "ifftshift")
    },
}

CASES = {
    **ELEMENTWISE,
    **STATISTICS,
    **SEARCHING,
    **MANIPULATION,
    **CREATION,
    **DATA_TYPES,
    **_STACKS,
    **LINALG,
    **FFT,
}


# What a tracked Tensor gives, where the call above is of none, or of one that is cut off.
DERIVED = {
    "astype": lambda xp, d: [xp.astype(d(2), xp.complex128), xp.astype(d(2), xp.float64)],
    "full": lambda xp, d: xp.full((2, 3), d()),
    "full_like": lambda xp, d: xp.full_like(d(2, 3), d()),
    "linalg.pinv": lambda xp, d: [xp.linalg.pinv(d(2, 3, 4)), xp.linalg.pinv(d.matrix())],
    "linspace": lambda xp, d: [xp.linspace(d(), d(), 4), xp.linspace(0, d(), 3, endpoint=False)],
    **{
        name: _each(
            _reduction(name),
            lambda xp, d, name=name: getattr(xp, name)(d(3, 4), axis=0, correction=1.5),
        )
        for name in ("std", "var")
    },
    "from_dlpack": lambda xp, d: xp.from_dlpack(d(2).detach()),
}


def ours():
    """(name, thing) of all that tapegrad's namespace has, extensions included."""
    spaces = {"": array_api, "linalg.": array_api.linalg, "fft.": array_api.fft}
    for prefix, module in spaces.items():
        for name in module.__all__:
            if prefix + name not in ("linalg", "fft") and not name.startswith("__"):
                yield prefix + name, getattr(module, name)


def flat(result):
    """The parts of a result, in order."""
    if isinstance(result, (list, tuple)):
        return [leaf for part in result for leaf in flat(part)]
    return [result]
