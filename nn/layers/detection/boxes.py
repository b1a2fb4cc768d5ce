"""Boxes (x1, y1, x2, y2) as NumPy arrays: anchors, overlaps, offsets, suppression of overlaps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

__all__ = ["Anchor", "Nms"]

Boxes = np.ndarray[Any, np.dtype[Any]]


class Anchor:
    """Anchor boxes of some shapes and sizes at every cell of a feature map.

    ratios: heights over widths;  scales: sides in units of 16 pixels.
    Source: BigDL's Anchor; S. Ren et al., "Faster R-CNN", 2015, section 3.1.1.
    """

    def __init__(self, ratios: Iterable[float], scales: Iterable[float]) -> None:
        self.ratios = tuple(float(ratio) for ratio in ratios)
        self.scales = tuple(float(scale) for scale in scales)
        self.anchorNum = len(self.ratios) * len(self.scales)

    def basic(self, base: float = 16) -> Boxes:
        """The anchors of the first cell, (anchorNum, 4): around the box (0, 0, base-1, base-1).

        All scales of a ratio follow each other.  Sides of a ratio are rounded to pixels.
        """
        centre = (base - 1) / 2
        rows = []
        for ratio in self.ratios:
            width = np.round(np.sqrt(base * base / ratio))
            height = np.round(width * ratio)
            for scale in self.scales:
                half = (width * scale - 1) / 2, (height * scale - 1) / 2
                rows.append(
                    (centre - half[0], centre - half[1], centre + half[0], centre + half[1])
                )
        return np.array(rows, np.float32)

    def generateAnchors(self, width: int, height: int, featStride: float = 16) -> Boxes:
        """All anchors of a map of width x height cells, (height·width·anchorNum, 4), row by row."""
        x, y = np.meshgrid(np.arange(width) * featStride, np.arange(height) * featStride)
        shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
        return (shifts + self.basic(featStride)).reshape(-1, 4).astype(np.float32)


class Nms:
    """Suppression of boxes that overlap a better one.  Source: BigDL's Nms."""

    def nms(
        self,
        scores: Boxes,
        boxes: Boxes,
        thresh: float,
        scoreThresh: float | None = None,
        topk: int = -1,
        normalized: bool = False,
    ) -> Boxes:
        """The numbers of the boxes that stay, from 0, the best first.

        scores: (n,);  boxes: (n, 4).  A box goes that overlaps a better one by more than `thresh`,
        intersection over union.  scoreThresh: only boxes with larger scores stay;  topk: only so
        many of them are looked at, all if negative.  normalized: sides are x2 - x1, not one more.
        """
        scores, boxes = np.asarray(scores), np.asarray(boxes)
        order = np.argsort(-scores, kind="stable")
        if scoreThresh is not None:
            order = order[scores[order] > scoreThresh]
        if topk > -1:
            order = order[:topk]
        kept: list[int] = []
        while order.size:
            best, order = order[0], order[1:]
            kept.append(int(best))
            order = order[overlaps(boxes[best], boxes[order], normalized) <= thresh]
        return np.array(kept, np.int64)


def overlaps(box: Boxes, boxes: Boxes, normalized: bool) -> Boxes:
    """Intersection over union of one box (4,) and others (n, 4): (n,)."""
    more = 0 if normalized else 1
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.prod(np.maximum(high - low + more, 0), axis=1)
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2] + more, 0), axis=1)
    union = np.prod(np.maximum(box[2:] - box[:2] + more, 0)) + areas - both
    return both / np.where(union > 0, union, 1)


def move_boxes(boxes: Boxes, deltas: Boxes, more: int = 1) -> Boxes:
    """Boxes (n, 4) moved by offsets (n, 4): of the centre in sides, of the sides in logarithms.

    more: what a side is longer than the difference of its ends.
    """
    sides = boxes[:, 2:] - boxes[:, :2] + more
    centres = boxes[:, :2] + sides / 2 + deltas[:, :2] * sides
    halves = np.exp(deltas[:, 2:]) * sides / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def decode_boxes(priors: Boxes, variances: Boxes, offsets: Boxes, encoded: bool) -> Boxes:
    """Boxes (n, 4) from priors and offsets (n, 4), in units of the variances unless encoded."""
    scaled = offsets if encoded else offsets * variances
    sides = priors[:, 2:] - priors[:, :2]
    centres = (priors[:, 2:] + priors[:, :2]) / 2 + scaled[:, :2] * sides
    halves = np.exp(scaled[:, 2:]) * sides / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def chosen_boxes(
    boxes_of: Callable[[int], Boxes],
    probabilities: Boxes,
    *,
    background: int = 0,
    thresh: float,
    least: float,
    topk: int = -1,
    keep: int = -1,
    normalized: bool = False,
    vote: bool = False,
) -> Boxes:
    """The detections of an image, rows of (class, probability, x1, y1, x2, y2), by class.

    boxes_of(class): its boxes (n, 4);  probabilities (n, classes).  Those of a class other than
    `background`, above `least`, are suppressed at an overlap of `thresh` (Nms has topk and
    normalized); the `keep` best of all stay, all if negative.
    vote: a box becomes the mean of its class's boxes above `least` that overlap it by half or more,
    weighted by their probabilities.
    """
    rows: list[tuple[float, ...]] = []
    for label in range(probabilities.shape[1]):
        if label == background:
            continue
        boxes, found = boxes_of(label), probabilities[:, label]
        for k in Nms().nms(found, boxes, thresh, least, topk, normalized):
            box = boxes[k]
            if vote:
                near = (overlaps(box, boxes, normalized) >= 0.5) & (found > least)
                box = np.average(boxes[near], axis=0, weights=found[near])
            rows.append((label, found[k], *box))
    if -1 < keep < len(rows):
        best = sorted(range(len(rows)), key=lambda k: -rows[k][1])[:keep]
        rows = sorted((rows[k] for k in best), key=lambda row: row[0])
    return np.array(rows, probabilities.dtype).reshape(-1, 6)


def refuse_nan(name: str, **arrays: np.ndarray[Any, Any]) -> None:
    """Raise ValueError if an entry is NaN: no comparison could choose among such boxes."""
    for what, array in arrays.items():
        if np.isnan(array).any():
            raise ValueError(
                f"{name}: {np.count_nonzero(np.isnan(array))} of {array.size} {what} are NaN, so "
                "boxes cannot be chosen; look for the layer before that made them NaN"
            )
