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
    prior = boxes(d.array((1, 1, 1, 2))).numpy()
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


def levels(d, n, planes, sides=((4, 6), (2, 3))):
    return [d.array((n, planes, *shape)) for shape in sides]


def pyramid(d):
    top = d.choice([0, 1, 2])
    own = d.choice([True, False])
    extra = ((2, 2) if own else (3, 2)) if top == 2 else ()
    skipped = d.choice([True, False])
    module = nn.FPN([0, 1, 3] if skipped else [1, 3], 2, top, *extra)
    n = d.size("N")
    x = [d.array((n, 1, 4, 6)), d.array((n, 3, 2, 3))]
    x = [d.array((n, 1, 2, 2)), *x] if skipped else x
    return Layer(module, x, [*x[:-1], d.array((n, 3, 2, 4))])


def regions(d, images):
    """Regions of 100 and of 300 pixels, which two levels share, on maps of a few entries."""
    small, large = [1, 0, 100, 90], [0, 1, 300, 280]
    return [np.array([small, large][: d.integer(1, 2)]) for _ in range(images)]


SCALES = (2**-3, 2**-4)


def pooled_levels(d):
    n = d.size("N")
    module = nn.Pooler(d.integer(1, 2), SCALES, d.integer(1, 2))
    maps, rois = levels(d, n, 2), regions(d, n)
    return Layer(module, [maps, rois], [maps, [*rois, rois[0]]])


def proposed(d):
    """One region of each image, however the offsets move the boxes."""
    module = nn.RegionProposal(1, (32, 64), (1.0,), (8, 16), 20, 1, 20, 1, minSize=0)
    x = [levels(d, d.size("N", 1, 2), 1, ((2, 2), (1, 1))), np.array([64, 80])]
    return Layer(module, x, [[*x[0], *x[0]], x[1]])


def boxes_of_regions(d):
    # Nothing is suppressed: how many detections there are must not change near x.
    n = d.size("N", 1, 2)
    module = nn.BoxHead(1, 1, SCALES, 1, -1, 2, d.choice([0, 2]), 2, 2)
    x = [levels(d, n, 1, ((2, 2), (1, 1))), regions(d, n), np.array([64, 80])]
    return Layer(module, x, [x[0], [*x[1], x[1][0]], x[2]])


def masks(d):
    n = d.size("N")
    module = nn.MaskHead(2, 2, SCALES, 1, [d.integer(1, 2)], 1, 3, d.choice([True, False]))
    rois = regions(d, n)
    labels = d.integers((sum(map(len, rois)),), 0, 3)
    x = [levels(d, n, 2), rois, labels]
    return Layer(module, x, [*x[:2], labels[:-1]])


def detected_by_frcnn(d):
    module = nn.DetectionOutputFrcnn(2, 3, d.choice([True, False]), d.choice([0, 2]), -1)
    rois = np.array([[0, 0, 0, 20, 10], [0, 30, 20, 60, 50]])
    x = [np.array([[60, 80, 1, 1]]), rois, d.array((2, 12), large=1) * 0.1, d.array((2, 3), 0, 1)]
    return Layer(module, x, [*x[:3], x[3][:, :2]])


MODULES = {
    "BoxHead": boxes_of_regions,
    "DetectionOutputFrcnn": detected_by_frcnn,
    "DetectionOutputSSD": detected,
    "FPN": pyramid,
    "MaskHead": masks,
    "Pooler": pooled_levels,
    "PriorBox": priors,
    "Proposal": proposals,
    "RegionProposal": proposed,
    "RoiAlign": aligned,
    "RoiPooling": pooled,
}


EXCEPTIONS = {
    **not_the_derivative("BoxHead", "detections have no gradient"),
    **not_the_derivative("DetectionOutputFrcnn", "detections have no gradient"),
    **not_the_derivative("DetectionOutputSSD", "detections have no gradient"),
    **not_the_derivative("Proposal", "regions have no gradient"),
    **not_the_derivative("RegionProposal", "regions have no gradient"),
    **{
        (name, law): "in training the input comes back, which has other shapes"
        for name in ("BoxHead", "DetectionOutputFrcnn", "DetectionOutputSSD")
        for law in (
            "results_do_not_depend_on_earlier_calls",
            "state_dict_carries_everything_that_evaluation_needs",
        )
    },
    **{
        (name, law): "how many regions a level has depends on the data"
        for name in ("BoxHead", "MaskHead", "Pooler")
        for law in ("replay_equals_eager", "a_setting_changed_after_recording_is_seen")
    },
    **{
        (name, "float32_agrees_with_float64"): "in training regions come back as they were given"
        for name in ("BoxHead", "DetectionOutputFrcnn")
    },
}  # fmt: skip
