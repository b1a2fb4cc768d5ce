"""Examples for nn/layers/gradient.py; see `cases`."""

from __future__ import annotations

from cases.common import anywhere, not_the_derivative

from tapegrad import nn

MODULES = {
    "ActivityRegularization": anywhere(lambda d: nn.ActivityRegularization(0.25, 0.5)),
    "Echo": anywhere(lambda _: nn.Echo()),
    "NegativeEntropyPenalty": anywhere(lambda d: nn.NegativeEntropyPenalty(0.1), 0, 1),
    "GradientReversal": anywhere(lambda d: nn.GradientReversal(d.choice([1, 0.5]))),
    "L1Penalty": anywhere(lambda d: nn.L1Penalty(0.25, d.choice([True, False]))),
    "PrintSize": anywhere(lambda _: nn.PrintSize("size")),
    "ZeroGrad": anywhere(lambda _: nn.ZeroGrad()),
}


EXCEPTIONS = {
    **not_the_derivative("GradientReversal", "the gradient is multiplied by -λ on its way"),
    **not_the_derivative("ZeroGrad", "the gradient is 0"),
    **not_the_derivative(
        "L1Penalty", "the gradient of a penalty is added that is not in the output"
    ),
    **not_the_derivative(
        "ActivityRegularization", "the gradient of a penalty is added that is not in the output"
    ),
    ("ActivityRegularization", "backward_is_linear_in_grad_output"): "so it is with L1Penalty",
    (
        "ActivityRegularization",
        "pushed_tangents_agree_with_its_gradients",
    ): "so it is with L1Penalty",
    **not_the_derivative(
        "NegativeEntropyPenalty", "the gradient of a penalty is added that is not in the output"
    ),
    ("NegativeEntropyPenalty", "backward_is_linear_in_grad_output"): "so it is with L1Penalty",
    (
        "NegativeEntropyPenalty",
        "pushed_tangents_agree_with_its_gradients",
    ): "so it is with L1Penalty",
    ("L1Penalty", "backward_is_linear_in_grad_output"): "the penalty has a gradient anyway",
    ("L1Penalty", "pushed_tangents_agree_with_its_gradients"): "the output has no penalty",
    ("L1Penalty", "a_batch_is_its_samples_stacked"): "sizeAverage divides by the batch size",
}
