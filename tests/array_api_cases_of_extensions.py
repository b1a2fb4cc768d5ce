"""Calls of what makes arrays, of dtypes, and of `linalg` and `fft`; see array_api_cases."""

from __future__ import annotations

import numpy as np
from array_api_draws import ALL, COMPLEX, FLOATING, FLOATS, INTEGRAL, NUMERIC, REAL, each, of


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
    "arange": of(
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
    "asarray": of(
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
    "empty": of(ALL, _shape_alone(_dtyped("empty", (2, 3)))),
    "empty_like": of(NUMERIC, _shape_alone(_liked("empty_like"))),
    "eye": of(
        NUMERIC,
        each(_dtyped("eye", 3), lambda xp, d: [xp.eye(2, 3), xp.eye(3, k=1), xp.eye(3, 2, k=-1)]),
    ),
    "from_dlpack": of(ALL, lambda xp, d: [xp.from_dlpack(d(2, 3)), xp.from_dlpack(d())]),
    "full": of(
        ALL,
        lambda xp, d: [
            xp.full((2, 3), True),
            xp.full(3, 2),
            xp.full((), 1.5),
            xp.full((2,), 1j),
            xp.full((2,), 1, dtype=getattr(xp, d.dtype)),
        ],
    ),
    "full_like": of(
        ALL,
        lambda xp, d: [
            xp.full_like(d(2, 3), True if d.dtype == "bool" else 2),
            xp.full_like(d(2, 3), 1.5, dtype=xp.float32),
        ],
    ),
    "linspace": of(
        FLOATING,
        lambda xp, d: [
            xp.linspace(0, 1, 5),
            xp.linspace(-1.0, 2.0, 4, endpoint=False),
            xp.linspace(3, 1, 5, dtype=getattr(xp, d.dtype)),
            xp.linspace(0, 1 + 1j, 3),
            xp.linspace(0, 1, 1),
        ],
    ),
    "meshgrid": of(
        NUMERIC,
        lambda xp, d: [
            xp.meshgrid(d(2), d(3)),
            xp.meshgrid(d(2), d(3), d(4), indexing="ij"),
            xp.meshgrid(d(2)),
        ],
    ),
    "ones": of(ALL, _dtyped("ones", (2, 3))),
    "ones_like": of(NUMERIC, _liked("ones_like")),
    "tril": of(NUMERIC, lambda xp, d: [xp.tril(d(2, 3, 4)), xp.tril(d(3, 3), k=1)]),
    "triu": of(NUMERIC, lambda xp, d: [xp.triu(d(2, 3, 4)), xp.triu(d(3, 3), k=-1)]),
    "zeros": of(ALL, _dtyped("zeros", 3)),
    "zeros_like": of(NUMERIC, _liked("zeros_like")),
}


def _targets(dtype):
    return [t for t in ALL if not (dtype in COMPLEX and t not in COMPLEX)]


DATA_TYPES = {
    "astype": of(
        ALL,
        lambda xp, d: [
            *[xp.astype(d(2, 3, low=0), getattr(xp, t)) for t in _targets(d.dtype)],
            xp.astype(d(2), getattr(xp, d.dtype), copy=False),
        ],
    ),
    "can_cast": of(
        ALL,
        lambda xp, d: [
            (bool(xp.can_cast(getattr(xp, d.dtype), getattr(xp, t))), bool(xp.can_cast(d(2), d2)))
            for t in ALL
            if np.dtype(t).kind == np.dtype(d.dtype).kind
            for d2 in [getattr(xp, t)]
        ],
    ),
    "finfo": of(
        FLOATING,
        lambda xp, d: [
            (i.bits, i.eps, i.max, i.min, i.smallest_normal, i.dtype == getattr(xp, t))
            for t in FLOATS
            for i in (xp.finfo(getattr(xp, d.dtype)), xp.finfo(d(2)))
        ],
    ),
    "iinfo": of(
        INTEGRAL,
        lambda xp, d: [
            (i.bits, i.max, i.min, i.dtype == getattr(xp, d.dtype))
            for i in (xp.iinfo(getattr(xp, d.dtype)), xp.iinfo(d(2)))
        ],
    ),
    "isdtype": of(
        ALL,
        lambda xp, d: [
            bool(xp.isdtype(getattr(xp, d.dtype), kind))
            for kind in (
                *("bool", "signed integer", "unsigned integer", "integral", "real floating"),
                *("complex floating", "numeric", ("integral", "bool"), xp.float32, xp.bool),
            )
        ],
    ),
    "result_type": of(
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

STACKS = {
    "matmul": of(
        NUMERIC,
        lambda xp, d: [
            xp.matmul(d(2, 3), d(3, 4)),
            xp.matmul(d(3), d(3)),
            xp.matmul(d(2, 1, 2, 3), d(4, 3, 2)),
            xp.matmul(d(3), d(2, 3, 4)),
        ],
    ),
    "matrix_transpose": of(ALL, lambda xp, d: xp.matrix_transpose(d(2, 3, 4))),
    "tensordot": of(
        NUMERIC,
        lambda xp, d: [
            xp.tensordot(d(2, 3, 4), d(3, 4, 2)),
            xp.tensordot(d(2, 3), d(3, 4), axes=1),
            xp.tensordot(d(2), d(3), axes=0),
            xp.tensordot(d(2, 3, 4), d(4, 2), axes=((0, 2), (1, 0))),
            xp.tensordot(d(2, 3), d(3, 4), axes=((-1,), (0,))),
        ],
    ),
    "vecdot": of(
        NUMERIC,
        lambda xp, d: [xp.vecdot(d(2, 3), d(3)), xp.vecdot(d(3, 2), d(3, 2), axis=-2)],
    ),
}


def _in_linalg(call):
    return lambda xp, d: call(xp.linalg, d)


# In LAPACK's hands the signs of vectors are free; NumPy's are what both libraries have.
LINALG = {
    **{f"linalg.{name}": (kinds, _in_linalg(call)) for name, (kinds, call) in STACKS.items()},
    "linalg.cholesky": of(
        FLOATING,
        lambda xp, d: [
            xp.linalg.cholesky(d.positive()),
            xp.linalg.cholesky(d.positive(2), upper=True),
        ],
    ),
    "linalg.cross": of(
        NUMERIC,
        lambda xp, d: [
            xp.linalg.cross(d(3), d(3)),
            xp.linalg.cross(d(2, 3), d(3, low=0)),
            xp.linalg.cross(d(3, 2), d(3, 2), axis=-2),
        ],
    ),
    "linalg.diagonal": of(
        ALL,
        lambda xp, d: [
            xp.linalg.diagonal(d(2, 3, 4)),
            xp.linalg.diagonal(d(3, 3), offset=1),
            xp.linalg.diagonal(d(3, 3), offset=-2),
        ],
    ),
    **{
        f"linalg.{name}": of(
            FLOATING,
            lambda xp, d, name=name: [
                getattr(xp.linalg, name)(d.matrix()),
                getattr(xp.linalg, name)(d.matrix(2)),
            ],
        )
        for name in ("det", "eig", "eigvals", "inv", "slogdet")
    },
    **{
        f"linalg.{name}": of(
            FLOATING, lambda xp, d, name=name: getattr(xp.linalg, name)(d.positive(2))
        )
        for name in ("eigh", "eigvalsh")
    },
    "linalg.matrix_norm": of(
        FLOATING,
        lambda xp, d: [
            xp.linalg.matrix_norm(d(2, 3, 4), ord=order, keepdims=keepdims)
            for order in ("fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf"))
            for keepdims in (False, True)
        ],
    ),
    "linalg.matrix_power": of(
        FLOATING, lambda xp, d: [xp.linalg.matrix_power(d.matrix(2), n) for n in (0, 1, 3, -2)]
    ),
    "linalg.matrix_rank": of(
        FLOATING,
        lambda xp, d: [
            xp.linalg.matrix_rank(d(2, 3, 4)),
            xp.linalg.matrix_rank(d.matrix(), rtol=0.5),
            xp.linalg.matrix_rank(d.matrix(2), rtol=d.xp.asarray([0.5, 0.1])),
        ],
    ),
    "linalg.outer": of(NUMERIC, lambda xp, d: xp.linalg.outer(d(2), d(3))),
    "linalg.pinv": of(
        FLOATING,
        lambda xp, d: [
            xp.linalg.pinv(d(2, 3, 4)),
            xp.linalg.pinv(d.matrix(), rtol=0.5),
            xp.linalg.pinv(d.matrix(2), rtol=d.xp.asarray([0.5, 0.1])),
        ],
    ),
    "linalg.qr": of(
        FLOATING,
        lambda xp, d: [
            xp.linalg.qr(d(2, 4, 3)),
            xp.linalg.qr(d(3, 4)),
            xp.linalg.qr(d.matrix(), mode="complete"),
            xp.linalg.qr(d(4, 3), mode="complete"),
        ],
    ),
    "linalg.solve": of(
        FLOATING,
        lambda xp, d: [
            xp.linalg.solve(d.matrix(2), d(3)),
            xp.linalg.solve(d.matrix(2), d(3, 2)),
            xp.linalg.solve(d.matrix(), d(2, 3, 1)),
        ],
    ),
    "linalg.svd": of(
        FLOATING,
        lambda xp, d: [
            xp.linalg.svd(d(2, 4, 3), full_matrices=False),
            xp.linalg.svd(d.matrix()),
            xp.linalg.svd(d(2, 4, 3)),
            xp.linalg.svd(d(3, 4)),
        ],
    ),
    "linalg.svdvals": of(FLOATING, lambda xp, d: xp.linalg.svdvals(d(2, 4, 3))),
    "linalg.trace": of(
        NUMERIC,
        lambda xp, d: [
            xp.linalg.trace(d(2, 3, 4)),
            xp.linalg.trace(d(3, 3), offset=1),
            xp.linalg.trace(d(3, 3), dtype=getattr(xp, d.dtype)),
        ],
    ),
    "linalg.vector_norm": of(
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
    **{f"fft.{name}": of(COMPLEX, _along_one(name)) for name in ("fft", "ifft")},
    **{f"fft.{name}": of(COMPLEX, _along_one(name)) for name in ("irfft", "hfft")},
    **{f"fft.{name}": of(FLOATS, _along_one(name)) for name in ("rfft", "ihfft")},
    **{f"fft.{name}": of(COMPLEX, _along_several(name)) for name in ("fftn", "ifftn", "irfftn")},
    "fft.rfftn": of(FLOATS, _along_several("rfftn")),
    **{f"fft.{name}": of(FLOATS, _frequencies(name)) for name in ("fftfreq", "rfftfreq")},
    **{
        f"fft.{name}": of(
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
