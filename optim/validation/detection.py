"""Mean average precision of detectors: boxes or masks, as PASCAL VOC and COCO measure it.

A batch is a list with an entry for each image.
detections: {"labels": (n,), "scores": (n,), "boxes": (n, 4)}, or an array (n, 6) of label, score
            and box; or for all images one array (images, 1 + 6·m) whose rows are the number of
            detections and then these, as BigDL's DetectionOutputSSD returns them
targets:    {"labels": (m,), "boxes": (m, 4)}, and "difficult" or "iscrowd" (m,), or an array (m, 5)
            or (m, 6) of label, box and difficult
A box is x1, y1, x2, y2.  "masks", booleans (n, H, W), take the place of boxes in segmentation.

Source: BigDL's optim.MeanAveragePrecisionObjectDetection; the VOC development kit; T.-Y. Lin et
al., "Microsoft COCO: common objects in context", 2014.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from tapegrad.optim.training.labels import nest_to_numpy
from tapegrad.optim.validation.curves import average_precision
from tapegrad.optim.validation.methods import ValidationMethod
from tapegrad.optim.validation.results import ValidationResult, in_order

__all__ = ["DetectionResult", "MeanAveragePrecisionObjectDetection", "box_overlaps"]

WRONG, RIGHT, IGNORED = 0, 1, 2  # what a detection is, by an overlap that is asked for
MISSING = "image {image}: the {what} lack {key!r}; they have {known}"
NOT_OF_IMAGES = "there are detections of {found} images and targets of {wanted}"
WRONG_ARRAY = "image {image}: the {what} have shape {shape}, not {wanted}"
OTHER_SETTINGS = "results of methods with other settings cannot be added: {own} and {other}"


def box_overlaps(
    boxes: np.ndarray,
    others: np.ndarray,
    *,
    inclusive: bool = False,
    crowd: np.ndarray | None = None,
) -> np.ndarray:
    """Return intersection over union of boxes (n, 4) with others (m, 4), as (n, m).

    inclusive: coordinates are of pixels that belong to the box: a side is x2 - x1 + 1 long
    crowd:     booleans (m,): with these, the intersection over the first box's own area
    """
    extra = 1.0 if inclusive else 0.0
    first, second = boxes.astype(np.float64), others.astype(np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.maximum(high - low + extra, 0), axis=2)
    areas, their = (np.prod(b[:, 2:] - b[:, :2] + extra, axis=1) for b in (first, second))
    return _quotient(common, areas, their, crowd)


def mask_overlaps(
    masks: np.ndarray, others: np.ndarray, *, crowd: np.ndarray | None = None
) -> np.ndarray:
    """Return intersection over union of masks (n, H, W) with others (m, H, W), as (n, m)."""
    first, second = (m.reshape(len(m), -1).astype(np.float64) for m in (masks, others))
    return _quotient(first @ second.T, first.sum(axis=1), second.sum(axis=1), crowd)


def _quotient(
    common: np.ndarray, areas: np.ndarray, their: np.ndarray, crowd: np.ndarray | None
) -> np.ndarray:
    below = areas[:, None] + their[None, :] - common
    if crowd is not None:
        below = np.where(crowd[None, :], areas[:, None], below)
    return np.divide(common, below, out=np.zeros_like(common), where=below > 0)


class DetectionResult(ValidationResult):
    """What became of each detection: result() is (mean average precision, 1).

    labels, scores: (n,);  outcomes: (n, overlaps), 0 wrong, 1 right, 2 neither
    positives: for each class, how many objects there are to be found
    The mean is over classes of which there is an object, and over the overlaps asked for.
    """

    def __init__(
        self,
        labels: np.ndarray,
        scores: np.ndarray,
        outcomes: np.ndarray,
        positives: Mapping[int, int],
        settings: tuple[Any, ...],
    ) -> None:
        columns = in_order(-scores, labels, *outcomes.T)
        self.scores, self.labels = -columns[0], columns[1]
        self.outcomes = np.stack(columns[2:], axis=1)
        self.positives = dict(positives)
        self.settings = settings

    def result(self) -> tuple[float, int]:
        """Return the mean over classes and overlaps, NaN without objects; the count is 1."""
        style, k, _ = self.settings
        found = [
            average_precision(self._outcomes(c, t, k) == RIGHT, positives, style)
            for c, positives in sorted(self.positives.items())
            if positives
            for t in range(self.outcomes.shape[1])
        ]
        return (math.fsum(found) / len(found) if found else math.nan), 1

    def _outcomes(self, c: int, t: int, k: int) -> np.ndarray:
        own = self.outcomes[self.labels == c, t]
        own = own[own != IGNORED]
        return own if k < 0 else own[:k]

    def _parts(self) -> tuple[Any, ...]:
        arrays = (self.labels, self.scores, self.outcomes)
        rows = tuple(str(a.tolist()) for a in arrays)
        return (*rows, tuple(sorted(self.positives.items())), self.settings)

    def _added(self, other: Self) -> Self:
        if self.settings != other.settings:
            raise TypeError(OTHER_SETTINGS.format(own=self.settings, other=other.settings))
        both = dict(self.positives)
        for c, count in other.positives.items():
            both[c] = both.get(c, 0) + count
        return type(self)(
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.outcomes, other.outcomes]),
            both,
            self.settings,
        )


class MeanAveragePrecisionObjectDetection(ValidationMethod):
    """Mean average precision of detections, over classes and over overlaps that are asked for.

    classes:   how many there are; labels are 0 … classes - 1
    overlaps:  the least intersection over union at which an object counts as found
    style:     the recalls: "voc2007", "voc2010" or "coco" (see `average_precision`)
    skipClass: a class that is left out, such as the background 0; -1 for none
    topK:      only the k largest scores of each class count; all if -1
    most:      detections of an image that count, those with the largest scores; all if None
    inclusive: see `box_overlaps`;  segmentation: masks instead of boxes
    A detection finds the object of its class that it overlaps most; of several that find one
    object, that with the largest score is right.  As in VOC, an object that is found already stays
    the candidate; in "coco" style the best one that is still free is taken.  Difficult objects and
    crowds are neither right nor wrong to find.
    Raises ValueError for detections and targets of other shapes.
    `pascalVOC`, `cocoBBox` and `cocoSegmentation` make those with the usual settings.
    """

    def __init__(
        self,
        classes: int,
        overlaps: Sequence[float] = (0.5,),
        *,
        style: str = "voc2010",
        skipClass: int = -1,
        topK: int = -1,
        most: int | None = None,
        inclusive: bool = False,
        segmentation: bool = False,
    ) -> None:
        self.classes, self.overlaps, self.style = classes, tuple(overlaps), style
        self.skipClass, self.topK, self.most = skipClass, topK, most
        self.inclusive, self.segmentation = inclusive, segmentation
        average_precision(np.zeros(0, bool), 0, style)  # an unknown style is an error now

    @classmethod
    def pascalVOC(
        cls, nClass: int, useVoc2007: bool = False, topK: int = -1, skipClass: int = 0
    ) -> Self:
        """Return VOC's: one overlap of 0.5, and coordinates of pixels that belong to the box."""
        style = "voc2007" if useVoc2007 else "voc2010"
        return cls(nClass, style=style, topK=topK, skipClass=skipClass, inclusive=True)

    @classmethod
    def cocoBBox(
        cls,
        nClass: int,
        topK: int = -1,
        skipClass: int = 0,
        iouThres: tuple[float, float, int] = (0.5, 0.05, 10),
    ) -> Self:
        """Return COCO's of boxes: overlaps 0.5, 0.55 … 0.95; the 100 best of an image count.

        iouThres: the first overlap, the step, and how many
        """
        overlaps = _ladder(*iouThres)
        return cls(nClass, overlaps, style="coco", topK=topK, skipClass=skipClass, most=100)

    @classmethod
    def cocoSegmentation(
        cls,
        nClass: int,
        topK: int = -1,
        skipClass: int = 0,
        iouThres: tuple[float, float, int] = (0.5, 0.05, 10),
    ) -> Self:
        """Return COCO's of masks: as `cocoBBox`, with masks in place of boxes."""
        return cls(
            nClass, _ladder(*iouThres), style="coco", topK=topK, skipClass=skipClass, most=100,
            segmentation=True,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """What is measured, and how."""
        low, high = self.overlaps[0], self.overlaps[-1]
        shown = f"{low:g}" if low == high else f"{low:g}:{high:g}"
        return f"MAP@{shown} ({'masks' if self.segmentation else 'boxes'}, {self.style})"

    def __call__(self, output: Any, target: Any) -> DetectionResult:
        """Return the result of the images of a batch."""
        detections = _images(output, "detections", ("labels", "scores", "boxes"))
        targets = _images(target, "targets", ("labels", "boxes", "difficult"))
        if len(detections) != len(targets):
            raise ValueError(NOT_OF_IMAGES.format(found=len(detections), wanted=len(targets)))
        shape = "masks" if self.segmentation else "boxes"
        rows: list[tuple[int, float, list[int]]] = []
        positives: dict[int, int] = {}
        for i, (found, wanted) in enumerate(zip(detections, targets, strict=True)):
            _require(found, ("labels", "scores", shape), i, "detections")
            _require(wanted, ("labels", shape), i, "targets")
            rows += self._of_image(found, wanted, shape, positives)
        return DetectionResult(
            np.array([label for label, *_ in rows], np.int64),
            np.array([score for _, score, _ in rows], np.float64),
            np.array([o for *_, o in rows], np.int64).reshape(-1, len(self.overlaps)),
            positives,
            (self.style, self.topK, self.overlaps),
        )

    def _of_image(
        self, found: dict[str, Any], wanted: dict[str, Any], shape: str, positives: dict[int, int]
    ) -> list[tuple[int, float, list[int]]]:
        labels, scores = found["labels"].astype(np.int64), found["scores"].astype(np.float64)
        ignored = wanted.get("iscrowd", wanted.get("difficult", np.zeros(len(wanted["labels"]))))
        order = np.lexsort((np.arange(len(scores)), -scores))[: self.most]
        rows: list[tuple[int, float, list[int]]] = []
        for c in range(self.classes):
            if c == self.skipClass:
                continue
            objects = np.flatnonzero(wanted["labels"] == c)
            hard = ignored[objects].astype(bool)
            positives[c] = positives.get(c, 0) + int((~hard).sum())
            own = order[labels[order] == c]
            table = self._overlaps(found[shape][own], wanted[shape][objects], hard)
            each = [self._outcomes(table, hard, least) for least in self.overlaps]
            rows += [
                (c, float(scores[n]), [outcome[i] for outcome in each]) for i, n in enumerate(own)
            ]
        return rows

    def _overlaps(self, own: np.ndarray, objects: np.ndarray, hard: np.ndarray) -> np.ndarray:
        crowd = hard if self.style == "coco" else None
        if self.segmentation:
            return mask_overlaps(own, objects, crowd=crowd)
        return box_overlaps(own, objects, inclusive=self.inclusive, crowd=crowd)

    def _outcomes(self, table: np.ndarray, hard: np.ndarray, least: float) -> list[int]:
        """Decide about each detection, in order of falling scores, at one overlap."""
        free = np.ones(table.shape[1], bool)
        outcomes = []
        for row in table:
            candidates = row >= least
            if self.style == "coco":
                candidates &= free | hard
                # An object to be found comes before any crowd.
                if (candidates & ~hard).any():
                    candidates &= ~hard
            if not candidates.any():
                outcomes.append(WRONG)
                continue
            best = int(np.argmax(np.where(candidates, row, -1.0)))
            if hard[best]:
                outcomes.append(IGNORED)
            else:
                outcomes.append(RIGHT if free[best] else WRONG)
                free[best] = False
        return outcomes


def _ladder(first: float, step: float, count: int) -> tuple[float, ...]:
    return tuple(round(first + i * step, 10) for i in range(count))


def _images(batch: Any, what: str, columns: tuple[str, ...]) -> list[dict[str, np.ndarray]]:
    """Return a dict of arrays for each image."""
    found = nest_to_numpy(batch)
    if isinstance(found, np.ndarray) and what == "detections" and found.ndim == 2:
        return [
            _image(row[1:].reshape(-1, 6)[: int(row[0])], i, what, columns)
            for i, row in enumerate(found)
        ]
    if isinstance(found, dict):
        found = [found]
    return [_image(image, i, what, columns) for i, image in enumerate(found)]


def _image(image: Any, number: int, what: str, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
    if isinstance(image, Mapping):
        return {key: np.asarray(value) for key, value in image.items()}
    rows = np.asarray(image)
    rows = rows.reshape(0, 6) if not rows.size else rows
    widths = (6,) if what == "detections" else (5, 6)
    if rows.ndim != 2 or rows.shape[1] not in widths:
        wanted = " or ".join(f"(n, {width})" for width in widths)
        raise ValueError(
            WRONG_ARRAY.format(image=number, what=what, shape=rows.shape, wanted=wanted)
        )
    if what == "detections":
        return {"labels": rows[:, 0], "scores": rows[:, 1], "boxes": rows[:, 2:6]}
    hard = rows[:, 5] if rows.shape[1] == 6 else np.zeros(len(rows))
    return {"labels": rows[:, 0], "boxes": rows[:, 1:5], columns[2]: hard}


def _require(image: dict[str, np.ndarray], keys: tuple[str, ...], number: int, what: str) -> None:
    for key in keys:
        if key not in image:
            known = ", ".join(image)
            raise ValueError(MISSING.format(image=number, what=what, key=key, known=known))
    if not len(image["labels"]):
        for key in keys:
            size = (0, 4) if key == "boxes" else (0, *np.shape(image[key])[1:])
            image[key] = np.zeros(size)
