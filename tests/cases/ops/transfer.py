"""Examples for autograd/ops/transfer.py; see `cases`."""

from __future__ import annotations

from cases.common import elementwise

from tapegrad.autograd.check import TrialCall


def with_settings(name, **choices):
    """An elementwise call, with each setting one of its choices."""
    draw = elementwise(name)

    def drawn(d):
        call = draw(d)
        return TrialCall(call.args, {key: d.choice(values) for key, values in choices.items()})

    return drawn


OPERATIONS = {
    **{name: elementwise(name) for name in (
        "gelu", "gelu_by_tanh", "log_one_plus_exp", "log_sigmoid", "magnitude", "mish", "silu",
    )},
    "logistic_loss": elementwise("logistic_loss"),
    "root": elementwise("root"),
    "threshold": with_settings("threshold", limit=[0.1, -0.5], value=[0, 2.5]),
    "elu": with_settings("elu", alpha=[1, 0.3]),
    "hard_shrink": with_settings("hard_shrink", limit=[0.5, 1]),
    "hard_tanh": with_settings("hard_tanh", low=[-1, 0], high=[1, 6]),
    "huber": with_settings("huber", delta=[1, 0.3]),
    "leaky_relu": with_settings("leaky_relu", slope=[0.01, 2.0, 0]),
    "soft_plus": with_settings("soft_plus", beta=[1, 2.5], threshold=[20]),
    "soft_shrink": with_settings("soft_shrink", limit=[0.5, 1]),
}  # fmt: skip
