"""Examples for autograd/ops/activation.py; see `cases`."""

from __future__ import annotations

from cases.common import elementwise

from tapegrad.autograd.check import TrialCall


def softmax(d):
    shape = d.shape("N A B")[: 3 if d.empties else d.integer(1, 3)]
    return TrialCall(
        [d.array(shape)], {"axis": d.choice([1, -1]) if d.empties else d.axis(len(shape))}
    )


def gated(d):
    shape = [d.size("N", may_be_empty=True), d.size("A"), d.size("B")]
    axis = d.choice([1, -2, 2])
    shape[axis] *= 2
    return TrialCall([d.array(tuple(shape))], {"axis": axis})


OPERATIONS = {
    **{name: elementwise(name) for name in (
        "relu", "sigmoid", "softsign"
    )},
    "gated_linear": gated,
    "log_softmax": softmax,
    "softmax": softmax,
}  # fmt: skip
