"""Boxes of detectors: priors, targets, detections, suppression, proposals.

A box is [x1, y1, x2, y2].  What these operators decide has no derivative; `box_nms` alone lets the
gradient of what it keeps through.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Choice, Float, Floats, Int
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.constants import beside, constant
from tapegrad.nn.mxnet.symbol.inference import known, unify

__all__ = ["box_iou", "box_nms", "multibox_detection", "multibox_prior", "multibox_target"]

_VARIANCES = Floats((0.1, 0.1, 0.2, 0.2))


def overlaps(first: np.ndarray, second: np.ndarray, extra: float = 0.0) -> np.ndarray:
    """(N, 4), (M, 4) -> (N, M): intersection over union, 0 where the union is not positive.

    extra: what is added to each length, 1 where both ends of a box belong to it
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.prod(np.maximum(high - low + extra, 0), axis=2)
    area, other = (np.prod(b[:, 2:] - b[:, :2] + extra, axis=1) for b in (first, second))
    union = area[:, None] + other[None, :] - both
    return np.where(union > 0, both / np.where(union > 0, union, 1), 0)


def _of_class(classes: np.ndarray, i: int) -> np.ndarray:
    return classes == classes[i]


def kept(
    boxes: np.ndarray,
    threshold: float,
    same: Callable[[int], np.ndarray] | None = None,
    extra: float = 0.0,
) -> np.ndarray:
    """Which boxes stay, of boxes in falling order of score: those that no better one overlaps.

    same: same(i) -> the mask of the boxes that box i may suppress; None for all
    """
    alive = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        rest = np.flatnonzero(alive[i + 1 :]) + i + 1
        if same is not None:
            rest = rest[same(i)[rest]]
        if rest.size:
            alive[rest] &= ~(overlaps(boxes[i : i + 1], boxes[rest], extra)[0] > threshold)
    return alive


# SSD ---------------------------------------------------------------------------------------------


def _prior_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    if inputs[0] is not None and known(inputs[0][2:]):
        high, wide = inputs[0][2:]
        outputs[0] = (1, high * wide * (len(a.sizes) + len(a.ratios) - 1), 4)


@operator(
    "_contrib_MultiBoxPrior",
    hint="multiboxprior",
    flat="data",
    shapes=_prior_shapes,
    sizes=Floats((1.0,)),
    ratios=Floats((1.0,)),
    clip=Bool(False),
    steps=Floats((-1.0, -1.0)),
    offsets=Floats((0.5, 0.5)),
)
def multibox_prior(call: Call, data: Tensor) -> Tensor:
    """Boxes around each pixel's centre, in shares of the image: (…, H, W) -> (1, H·W·k, 4).

    Each size with the first ratio of width to height, then the first size with the other ratios;
    k = sizes + ratios - 1.  steps and offsets are those of rows, then of columns.
    """
    a = call.a
    high, wide = data.shape[2:]
    down, right = (
        step if step > 0 else 1 / n for step, n in zip(a.steps, (high, wide), strict=True)
    )
    y = (np.arange(high) + a.offsets[0]) * down
    x = (np.arange(wide) + a.offsets[1]) * right
    pairs = [(size, a.ratios[0]) for size in a.sizes]
    pairs += [(a.sizes[0], ratio) for ratio in a.ratios[1:]]
    half = np.array(
        [[size * high / wide * math.sqrt(r) / 2, size / math.sqrt(r) / 2] for size, r in pairs]
    )
    column, row = np.meshgrid(x, y)
    centre = np.stack([column, row], 2)[:, :, None]
    boxes = np.concatenate([centre - half, centre + half], 3).reshape((1, -1, 4))
    boxes = np.clip(boxes, 0, 1) if a.clip else boxes
    return Tensor(boxes.astype(np.dtype(data.dtype)), device=data.device)


def _target_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    anchors, labels, _ = inputs
    if anchors is not None and labels is not None:
        wide = (labels[0], 4 * anchors[1])
        outputs[:] = [wide, wide, (labels[0], anchors[1])]


@constant
def _targets(
    anchors: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    threshold: float,
    ignored: float,
    ratio: float,
    hard: float,
    variances: tuple[float, ...],
) -> list[np.ndarray]:
    """loc_target, loc_mask, cls_target: see `multibox_target`."""
    boxes = anchors.reshape((-1, 4))
    n, count = len(labels), len(boxes)
    places = np.zeros((n, count, 4), boxes.dtype)
    masks = np.zeros((n, count, 4), boxes.dtype)
    classes = np.full((n, count), ignored, boxes.dtype)
    for i in range(n):
        valid = np.flatnonzero(labels[i, :, 0] == -1)
        truth = labels[i, : valid[0]] if valid.size else labels[i]
        if not len(truth):
            continue
        match, chosen = _matched(overlaps(boxes, truth[:, 1:5]), threshold)
        negative = ~chosen
        if ratio > 0:
            negative = _hardest(scores[i], match, chosen, ratio, hard)
        classes[i, negative] = 0
        owner = truth[match[1][chosen]]
        classes[i, chosen] = owner[:, 0] + 1
        masks[i, chosen] = 1
        places[i, chosen] = _encoded(boxes[chosen], owner[:, 1:5], np.array(variances))
    return [places.reshape((n, -1)), masks.reshape((n, -1)), classes]


def _matched(
    shares: np.ndarray, threshold: float
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """((overlap, number of the label) of each anchor, whether it is positive).

    First each label takes the anchor that it overlaps best, the best pair of all first; then each
    other anchor takes its best label, if the overlap is over the threshold.
    """
    best, owner = shares.max(1), shares.argmax(1)
    chosen = np.zeros(len(shares), bool)
    left = shares.astype(np.float64)
    for _ in range(shares.shape[1]):
        anchor, label = np.unravel_index(left.argmax(), left.shape)
        if left[anchor, label] <= 1e-6:
            break
        chosen[anchor] = True
        best[anchor], owner[anchor] = shares[anchor, label], label
        left[anchor], left[:, label] = -1, -1
    if threshold > 0:
        chosen |= best > threshold
    return (best, owner), chosen


def _hardest(
    scores: np.ndarray,
    match: tuple[np.ndarray, np.ndarray],
    chosen: np.ndarray,
    ratio: float,
    hard: float,
) -> np.ndarray:
    """The negative anchors that look least like background, `ratio` for each positive one."""
    count = min(int(chosen.sum() * ratio), int((~chosen).sum()))
    powers = np.exp(scores - scores.max(0))
    background = powers[0] / powers.sum(0)
    open_ = np.flatnonzero(~chosen & (match[0] < hard))
    order = open_[np.argsort(background[open_], kind="stable")][:count]
    negative = np.zeros(len(chosen), bool)
    negative[order] = True
    return negative


def _encoded(anchors: np.ndarray, truth: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """The shift of the centre and the log of the growth from anchors to boxes, over variances."""
    size, goal = anchors[:, 2:] - anchors[:, :2], truth[:, 2:] - truth[:, :2]
    shift = (truth[:, 2:] + truth[:, :2] - anchors[:, 2:] - anchors[:, :2]) / 2 / size
    return np.concatenate([shift / variances[:2], np.log(goal / size) / variances[2:]], 1)


@operator(
    "_contrib_MultiBoxTarget",
    "anchor label cls_pred",
    hint="multiboxtarget",
    outputs="loc_target loc_mask cls_target",
    flat="anchor label cls_pred",
    shapes=_target_shapes,
    overlap_threshold=Float(0.5),
    ignore_label=Float(-1.0),
    negative_mining_ratio=Float(-1.0),
    negative_mining_thresh=Float(0.5),
    minimum_negative_samples=Int(0),
    variances=_VARIANCES,
)
def multibox_target(call: Call, anchor: Tensor, label: Tensor, cls_pred: Tensor) -> list[Tensor]:
    """What each anchor is to predict: shifts (N, 4A), which of them count (N, 4A), class (N, A).

    anchor (1, A, 4), label (N, M, 5) of [class, box] where class -1 ends the list, cls_pred
    (N, classes, A).  Class 0 is background; an anchor that is neither has `ignore_label`.
    """
    a = call.a
    return _targets(
        anchor, label, cls_pred, threshold=a.overlap_threshold, ignored=a.ignore_label,
        ratio=a.negative_mining_ratio, hard=a.negative_mining_thresh, variances=a.variances,
    )  # fmt: skip


@constant
def _detections(
    chances: np.ndarray,
    shifts: np.ndarray,
    anchors: np.ndarray,
    *,
    clip: bool,
    threshold: float,
    background: int,
    suppression: float,
    force: bool,
    variances: tuple[float, ...],
    topk: int,
) -> np.ndarray:
    """(N, A, 6) of [class, score, box]; rows that are no detection have class -1."""
    n, classes, count = chances.shape
    found = np.full((n, count, 6), -1, chances.dtype)
    boxes = anchors.reshape((-1, 4))
    others = [k for k in range(classes) if k != background]
    for i in range(n):
        best = chances[i, others].argmax(0)
        score = chances[i, others][best, np.arange(count)]
        chosen = np.flatnonzero(score >= threshold)
        moved = _decoded(boxes[chosen], shifts[i].reshape((-1, 4))[chosen], variances)
        rows = np.concatenate(
            [
                best[chosen, None],
                score[chosen, None],
                np.clip(moved, 0, 1) if clip else moved,
            ],
            1,
        ).astype(found.dtype)
        if len(rows) and 0 < suppression <= 1:
            rows = rows[np.argsort(-rows[:, 1], kind="stable")]
            if topk > 0:
                rows[topk:, 0] = -1
            top = rows[:topk] if topk > 0 else rows
            alive = _alive(top, suppression, force)
            top[~alive, 0] = -1
        found[i, : len(rows)] = rows
    return found


def _alive(rows: np.ndarray, threshold: float, force: bool) -> np.ndarray:
    """Which rows stay where an overlap of at least `threshold` suppresses."""
    same = None if force else partial(_of_class, rows[:, 0])
    return kept(rows[:, 2:], float(np.nextafter(threshold, -1)), same)


def _decoded(anchors: np.ndarray, shifts: np.ndarray, variances: Sequence[float]) -> np.ndarray:
    """The inverse of `_encoded`."""
    size, centre = anchors[:, 2:] - anchors[:, :2], (anchors[:, 2:] + anchors[:, :2]) / 2
    v = np.array(variances, anchors.dtype)
    middle = shifts[:, :2] * v[:2] * size + centre
    half = np.exp(shifts[:, 2:] * v[2:]) * size / 2
    return np.concatenate([middle - half, middle + half], 1)


def _detection_shapes(
    a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]
) -> None:
    chances = inputs[0]
    if chances is None:
        return
    n, _, count = chances
    inputs[1] = unify(inputs[1], (n, 4 * count))
    inputs[2] = unify(inputs[2], (1, count, 4))
    outputs[0] = unify(outputs[0], (n, count, 6))


@operator(
    "_contrib_MultiBoxDetection",
    "cls_prob loc_pred anchor",
    hint="multiboxdetection",
    flat="cls_prob loc_pred anchor",
    shapes=_detection_shapes,
    clip=Bool(True),
    threshold=Float(0.01),
    background_id=Int(0),
    nms_threshold=Float(0.5),
    force_suppress=Bool(False),
    variances=_VARIANCES,
    nms_topk=Int(-1),
)
def multibox_detection(call: Call, cls_prob: Tensor, loc_pred: Tensor, anchor: Tensor) -> Tensor:
    """Detections by falling score, (N, A, 6) of [class without background, score, box].

    cls_prob (N, classes, A), loc_pred (N, 4A), anchor (1, A, 4).  Class -1 marks a row that is no
    detection, or that a better one of its class overlaps by nms_threshold.
    """
    a = call.a
    return _detections(
        cls_prob, loc_pred, anchor, clip=a.clip, threshold=a.threshold,
        background=a.background_id, suppression=a.nms_threshold, force=a.force_suppress,
        variances=a.variances, topk=a.nms_topk,
    )  # fmt: skip


# Suppression and overlap of any boxes ------------------------------------------------------------

_FORMATS = ("center", "corner")


@constant
def _survivors(
    rows: np.ndarray,
    *,
    threshold: float,
    valid: float,
    topk: int,
    start: int,
    score: int,
    label: int,
    background: int,
    force: bool,
    center: bool,
) -> np.ndarray:
    """(B, N): the numbers of the rows that stay, in falling order of score, -1 behind them."""
    found = np.full(rows.shape[:2], -1, np.int64)
    if topk == 0:
        found[:] = np.arange(rows.shape[1])
        return found
    for i, one in enumerate(rows):
        good = one[:, score] > valid
        if label >= 0 and background >= 0:
            good &= one[:, label] != background
        at = np.flatnonzero(good)
        at = at[np.argsort(-one[at, score], kind="stable")]
        at = at[:topk] if topk > 0 else at
        boxes = one[at, start : start + 4]
        if center:
            half = boxes[:, 2:] / 2
            boxes = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)
        same = None if label < 0 or force else partial(_of_class, one[at, label])
        at = at[kept(boxes, threshold, same)]
        found[i, : len(at)] = at
    return found


def _nms_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    inputs[0] = outputs[0] = unify(inputs[0], outputs[0])


@operator(
    "_contrib_box_nms",
    aliases="_contrib_box_non_maximum_suppression",
    hint="box_nms",
    outputs="output0",
    hidden=1,
    shapes=_nms_shapes,
    overlap_thresh=Float(0.5),
    valid_thresh=Float(0.0),
    topk=Int(-1),
    coord_start=Int(2),
    score_index=Int(1),
    id_index=Int(-1),
    background_id=Int(-1),
    force_suppress=Bool(False),
    in_format=Choice("corner", words=_FORMATS),
    out_format=Choice("corner", words=_FORMATS),
)
def box_nms(call: Call, data: Tensor) -> Tensor:
    """Rows by falling score without those that a better one overlaps; -1 fills up, (…, N, k).

    A row has a score, four numbers of a box from coord_start on, and a class if id_index says
    where; only rows of one class suppress each other unless `force_suppress`.
    """
    a = call.a
    rows = data.reshape((-1, *data.shape[-2:]))
    at = _survivors(
        rows, threshold=a.overlap_thresh, valid=a.valid_thresh, topk=a.topk, start=a.coord_start,
        score=a.score_index, label=a.id_index, background=a.background_id, force=a.force_suppress,
        center=a.in_format == "center",
    )  # fmt: skip
    picked = rows[beside(rows, np.arange(rows.shape[0])[:, None]), ops.maximum(at, 0)]
    if a.in_format != a.out_format:
        picked = _in_other_format(picked, a.coord_start, a.out_format == "center")
    y = ops.where(ops.expand_dims(ops.less(at, 0), -1), -1, picked)
    return y.reshape(tuple(data.shape))


def _in_other_format(rows: Any, start: int, center: bool) -> Any:
    first, second = rows[..., start : start + 2], rows[..., start + 2 : start + 4]
    if center:
        pair = [(first + second) / 2, second - first]
    else:
        pair = [first - second / 2, first + second / 2]
    return ops.concatenate([rows[..., :start], *pair, rows[..., start + 4 :]], -1)


@constant
def _iou(first: np.ndarray, second: np.ndarray, *, center: bool) -> np.ndarray:
    """Overlaps of all pairs."""
    pair = [x.reshape((-1, 4)) for x in (first, second)]
    if center:
        pair = [np.concatenate([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], 1) for b in pair]
    y = overlaps(pair[0], pair[1]).astype(first.dtype)
    return y.reshape((*first.shape[:-1], *second.shape[:-1]))


@operator(
    "_contrib_box_iou", "lhs rhs", flat="lhs rhs", hint="box_iou",
    format=Choice("corner", words=_FORMATS),
)  # fmt: skip
def box_iou(call: Call, lhs: Tensor, rhs: Tensor) -> Tensor:
    """Intersection over union of all pairs: (…, 4), (~, 4) -> (…, ~)."""
    return _iou(lhs, rhs, center=call.a.format == "center")
