"""Examples for autograd/ops/complex_domain.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def of_sign(d, count=1):
    """All entries on one side, so that a small step does not change the dtype."""
    sign = d.choice([1, -1])
    return [sign * d.array((3,), 0.2, 3.0) for _ in range(count)]


def beyond(d):
    x = d.array((3,), 0.2, 0.8)
    return TrialCall([x + d.choice([0, 2])])


OPERATIONS = {
    **dict.fromkeys(
        ("emath_log", "emath_log10", "emath_log2", "emath_sqrt"),
        lambda d: TrialCall(of_sign(d)),
    ),
    **dict.fromkeys(("emath_arccos", "emath_arcsin", "emath_arctanh"), beyond),
    "emath_logn": lambda d: TrialCall([d.array((3,), 1.5, 3.0), *of_sign(d)]),
    "emath_power": lambda d: TrialCall([*of_sign(d), d.choice([2, 0.5])]),
}


EXCEPTIONS = {
    (name, law): "the values decide whether the result is complex"
    for name in OPERATIONS
    for law in ("replay_equals_eager",)
}
