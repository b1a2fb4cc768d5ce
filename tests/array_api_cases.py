"""A call of every function of the array API standard, to be made with any namespace of it.

`tests/test_array_api.py` makes the calls, with Tensors and with array-api-strict's arrays.
"""

from __future__ import annotations

from array_api_cases_of_extensions import CREATION, DATA_TYPES, FFT, LINALG, STACKS
from array_api_draws import (
    ALL,
    COMPLEX,
    FLOATING,
    FLOATS,
    INTEGRAL,
    NUMERIC,
    REAL,
    binary,
    each,
    mixed,
    of,
    on_reals,
    one_axis,
    reduction,
    unary,
)

from tapegrad import array_api

_DOMAINS = {
    "acos": (-1, 1),
    "acosh": (1, 5),
    "asin": (-1, 1),
    "atanh": (-0.9, 0.9),
}

ELEMENTWISE = {
    **{name: of(NUMERIC, unary(name)) for name in ("abs", "negative", "positive", "square")},
    **{name: of(REAL, unary(name)) for name in ("ceil", "floor", "trunc")},
    **{name: of(NUMERIC, unary(name)) for name in ("round", "conj")},
    # Of infinite complex numbers the standard says nothing.
    "sign": of(NUMERIC, each(on_reals("sign"), lambda xp, d: xp.sign(d(3, 4)))),
    **{name: of(NUMERIC, unary(name)) for name in ("isfinite", "isinf", "isnan")},
    **{
        name: of(FLOATING, unary(name, low=low, high=high))
        for name, (low, high) in _DOMAINS.items()
    },
    **{
        name: of(FLOATING, unary(name))
        for name in (
            *("asinh", "atan", "cos", "cosh", "exp", "expm1", "log", "log1p", "log2", "log10"),
            *("reciprocal", "sin", "sinh", "sqrt", "tan", "tanh"),
        )
    },
    "real": of(FLOATING, lambda xp, d: xp.real(d.special(3, 4))),
    "imag": of(COMPLEX, lambda xp, d: xp.imag(d.special(3, 4))),
    "signbit": of(FLOATS, unary("signbit")),
    "bitwise_invert": of(("bool", *INTEGRAL), unary("bitwise_invert")),
    "logical_not": of(("bool",), unary("logical_not")),
    **{
        name: of(NUMERIC, each(binary(name), mixed(name)))
        for name in ("add", "subtract", "multiply")
    },
    **{name: of(ALL, each(binary(name), mixed(name))) for name in ("equal", "not_equal")},
    **{
        name: of(REAL, each(binary(name), mixed(name)))
        for name in ("less", "less_equal", "greater", "greater_equal", "maximum", "minimum")
    },
    "divide": of(FLOATING, each(binary("divide"), mixed("divide"))),
    **{name: of(REAL, binary(name, low=1, high=5)) for name in ("floor_divide", "remainder")},
    "pow": of(NUMERIC, binary("pow", low=1, high=3)),
    **{
        name: of(FLOATS, binary(name))
        for name in ("atan2", "copysign", "hypot", "logaddexp", "nextafter")
    },
    **{
        name: of(("bool", *INTEGRAL), each(binary(name), mixed(name)))
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor")
    },
    **{
        name: of(INTEGRAL, binary(name, low=0, high=3))
        for name in ("bitwise_left_shift", "bitwise_right_shift")
    },
    **{name: of(("bool",), binary(name)) for name in ("logical_and", "logical_or", "logical_xor")},
    "clip": of(
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
    **{name: of(ALL, reduction(name)) for name in ("all", "any", "count_nonzero")},
    **{name: of(REAL, reduction(name)) for name in ("max", "min")},
    **{
        name: of(
            NUMERIC,
            each(
                reduction(name),
                lambda xp, d, name=name: getattr(xp, name)(
                    d(2, 3), axis=1, dtype=getattr(xp, d.dtype)
                ),
            ),
        )
        for name in ("sum", "prod")
    },
    "mean": of(FLOATING, reduction("mean")),
    **{
        name: of(FLOATS, each(reduction(name), reduction(name, correction=1)))
        for name in ("std", "var")
    },
    **{
        name: of(
            NUMERIC,
            lambda xp, d, name=name: [
                getattr(xp, name)(d(4)),
                getattr(xp, name)(d(2, 3), axis=0),
                getattr(xp, name)(d(2, 3), axis=-1, include_initial=True),
                getattr(xp, name)(d.special(9), include_initial=True),
                getattr(xp, name)(d(0), include_initial=True),
                getattr(xp, name)(d(2, 3), axis=1, dtype=getattr(xp, d.dtype)),
            ],
        )
        for name in ("cumulative_sum", "cumulative_prod")
    },
    "diff": of(
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
    **{name: of(REAL, one_axis(name)) for name in ("argmax", "argmin")},
    **{
        name: of(
            REAL,
            lambda xp, d, name=name: [
                getattr(xp, name)(d(9)),
                getattr(xp, name)(d(9, 2), axis=0, descending=True),
                getattr(xp, name)(d(2, 9), stable=True, descending=True),
            ],
        )
        for name in ("sort", "argsort")
    },
    "isin": of(INTEGRAL, lambda xp, d: [xp.isin(d(3, 4), d(3)), xp.isin(d(), d(2))]),
    "nonzero": of(ALL, lambda xp, d: [xp.nonzero(d(3, 4)), xp.nonzero(d(9))]),
    "searchsorted": of(
        REAL,
        lambda xp, d: [
            xp.searchsorted(xp.sort(d(7)), d(2, 3)),
            xp.searchsorted(xp.sort(d(7)), d(5), side="right"),
            *[xp.searchsorted(x, d(5), sorter=xp.argsort(x)) for x in [d(7)]],
        ],
    ),
    "where": of(
        ALL,
        lambda xp, d: [
            xp.where(d(3, 4, dtype="bool"), d(3, 4), d(4)),
            xp.where(d(3, 1, dtype="bool"), d(4), True if d.dtype == "bool" else 1),
        ],
    ),
    "take": of(
        ALL,
        lambda xp, d: [
            xp.take(d(5), d.index([3, 0, 0, 4])),
            xp.take(d(3, 4), d.index([2, 0]), axis=1),
            xp.take(d(3, 4), d.index([-1, 0]), axis=0),
        ],
    ),
    "take_along_axis": of(
        ALL,
        lambda xp, d: [
            xp.take_along_axis(d(3, 4), d.index([[0, 1], [3, 3], [2, 0]])),
            xp.take_along_axis(d(3, 2), d.index([[2, 0]]), axis=0),
        ],
    ),
    **{
        f"unique_{name}": of(
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
    "broadcast_arrays": of(ALL, lambda xp, d: xp.broadcast_arrays(d(3, 1), d(4), d())),
    "broadcast_shapes": of(("int64",), lambda xp, d: xp.broadcast_shapes((3, 1), (4,), ())),
    "broadcast_to": of(ALL, lambda xp, d: xp.broadcast_to(d(3, 1), (2, 3, 4))),
    "concat": of(
        ALL,
        lambda xp, d: [
            xp.concat([d(2, 3), d(1, 3)]),
            xp.concat((d(2, 3), d(2, 1)), axis=-1),
            xp.concat([d(2, 3), d()[None], d(2)], axis=None),
        ],
    ),
    "expand_dims": of(ALL, lambda xp, d: [xp.expand_dims(d(2, 3), axis=k) for k in (-3, 0, 1, 2)]),
    "flip": of(
        ALL,
        lambda xp, d: [xp.flip(d(2, 3)), xp.flip(d(2, 3), axis=1), xp.flip(d(2, 3), axis=(0, -1))],
    ),
    "moveaxis": of(
        ALL,
        lambda xp, d: [
            xp.moveaxis(d(2, 3, 4), 0, -1),
            xp.moveaxis(d(2, 3, 4), (0, 1), (-1, 0)),
        ],
    ),
    "permute_dims": of(ALL, lambda xp, d: xp.permute_dims(d(2, 3, 4), (2, 0, 1))),
    "repeat": of(
        ALL,
        lambda xp, d: [
            xp.repeat(d(3, 2), 2),
            xp.repeat(d(3, 2), 2, axis=1),
            xp.repeat(d(3, 2), d.index([1, 0, 2]), axis=0),
        ],
    ),
    "reshape": of(
        ALL,
        lambda xp, d: [
            xp.reshape(d(3, 4), (2, -1)),
            xp.reshape(d(3, 4), (12,), copy=True),
            xp.reshape(d(3, 4), (4, 3), copy=False),
            xp.reshape(d(), (1, 1)),
        ],
    ),
    "roll": of(
        ALL,
        lambda xp, d: [
            xp.roll(d(3, 4), 2),
            xp.roll(d(3, 4), -1, axis=1),
            xp.roll(d(3, 4), (1, 2), axis=(0, 1)),
        ],
    ),
    "squeeze": of(
        ALL, lambda xp, d: [xp.squeeze(d(1, 3, 1), axis=0), xp.squeeze(d(1, 3, 1), axis=(0, -1))]
    ),
    "stack": of(ALL, lambda xp, d: [xp.stack([d(2, 3), d(2, 3)]), xp.stack((d(2), d(2)), axis=-1)]),
    "tile": of(
        ALL,
        lambda xp, d: [xp.tile(d(2, 3), (2,)), xp.tile(d(2), (2, 1, 3)), xp.tile(d(2, 3), (0, 1))],
    ),
    "unstack": of(ALL, lambda xp, d: [xp.unstack(d(3, 2)), xp.unstack(d(3, 2), axis=-1)]),
}

CASES = {
    **ELEMENTWISE,
    **STATISTICS,
    **SEARCHING,
    **MANIPULATION,
    **CREATION,
    **DATA_TYPES,
    **STACKS,
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
        name: each(
            reduction(name),
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
