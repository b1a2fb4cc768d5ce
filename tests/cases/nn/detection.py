"""Examples for nn/layers/detection/; see `cases`."""

from __future__ import annotations

import numpy as np
from cases.common import not_the_derivative

from tapegrad import nn
from tapegrad.autograd.check import Layer


def pooled(d):
    maps = d.array((2, d.size("C", 1, 2), 4, 5))
    rois = np.array([[0, 0, 0, 3, 2], [1, 1, 1, 4, 3], [1, 2, 2, 2, 2]])
    module = nn.RoiPooling(d.integer(1, 3), d.integer(1, 2), d.choice([1, 0.5]))
    return Layer(module, [maps, rois], [maps, rois[:, :4]])


def aligned(d):
    maps = d.array((1, d.size("C", 1, 2), 4, 5))
    rois = np.array([[0, 0, 3, 2], [1, 1, 4, 3]])
    module = nn.RoiAlign(
        d.choice([1, 0.5]), d.integer(1, 2), d.integer(1, 2), d.integer(1, 3),
        d.choice(["avg", "max"]), d.choice([True, False]),
    )  # fmt: skip
    return Layer(module, [maps, rois], [maps, d.array((2, 5))])


def priors(d):
    module = nn.PriorBox(
        [4.0], d.choice([None, [6.0]]), [2.0], d.choice([True, False]), d.choice([True, False]),
        d.choice([None, [0.1, 0.1, 0.2, 0.2]]), imgSize=16,
    )  # fmt: skip
    return Layer(module, d.array((*d.shape("N"), 1, 2, d.integer(1, 2))), d.array((2, 2)))


def proposals(d):
    """One region, however the offsets move the boxes: no box is too small for a scale of 0."""
    module = nn.Proposal(10, 1, [1.0], [2.0], 12, 1)
    deltas = d.array((1, 4, 2, 3), large=0.1) * 0.01
    x = [d.array((1, 2, 2, 3)), deltas, np.array([[64, 80, 0, 0]])]
    return Layer(module, x, [x[0][:, :1], *x[1:]])


def detected(d):
    boxes = nn.PriorBox([4.0], imgSize=16)
    prior = boxes(d.array((1, 1, 2, 2))).numpy()
    count = prior.shape[-1] // 4
    shared = d.choice([True, False])
    # Nothing is suppressed: how many detections there are must not change near x.
    module = nn.DetectionOutputSSD(
        3, shared, nmsThresh=2, confThresh=-1, keepTopK=d.choice([-1, 2])
    )
    n = d.size("N")
    # Gaussian scores: of equal ones, in which the largest of softmax may end, either comes first.
    x = [d.array((n, count * 4 * (1 if shared else 3))), d.normal((n, count * 3)), prior]
    return Layer(module, x, [x[0], d.array((n, count * 3 + 1)), prior])


MODULES = {
    "DetectionOutputSSD": detected,
    "PriorBox": priors,
    "Proposal": proposals,
    "RoiAlign": aligned,
    "RoiPooling": pooled,
}


EXCEPTIONS = {
    **not_the_derivative("DetectionOutputSSD", "detections have no gradient"),
    **not_the_derivative("Proposal", "regions have no gradient"),
    **{
        (name, "nan_stays_nan"): "a NaN is an error there: boxes cannot be chosen"
        for name in ("DetectionOutputSSD", "Proposal")
    },
    **{
        ("DetectionOutputSSD", law): "in training the input comes back, which has other shapes"
        for law in (
            "results_do_not_depend_on_earlier_calls",
            "state_dict_carries_everything_that_evaluation_needs",
        )
    },
}
