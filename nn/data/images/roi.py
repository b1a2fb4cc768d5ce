"""Boxes around the objects of an image, which follow what happens to the image.

A box is (x1, y1, x2, y2) in a continuous plane where the pixel in column j covers [j, j + 1): so a
box (2, 1, 4, 2) covers the pixels in columns 2 and 3 of row 1.  Normalized boxes are in fractions
of the width and height.  Each geometric transformer is, along an axis, x' = a·x + b; `follow`
applies that to the boxes of the label.

In BigDL a transformer moves the pixels, and another one after it (RoiHFlip, RoiResize, RoiProject)
the boxes.  Here the boxes go with the pixels; those transformers know what has been done already
and do the rest, so pipelines written either way move boxes once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Movement", "RoiLabel", "clipped", "follow"]

COUNTS = "RoiLabel: {classes} classes and {boxes} boxes; there is one class for each box"
BOXES = "RoiLabel: bboxes are (N, 4), rows of x1, y1, x2, y2, not {found}"


class RoiLabel:
    """The classes and boxes of the objects in an image.

    classes: (N,), or (2, N) with a second row that says which are difficult
    bboxes:  (N, 4), rows (x1, y1, x2, y2) in pixels
    masks:   what else belongs to each object, a list of N
    normalized: whether the boxes are in fractions of the image's width and height
    Raises ValueError for other shapes.  (BigDL's RoiLabel.)
    """

    def __init__(
        self,
        classes: npt.ArrayLike,
        bboxes: npt.ArrayLike,
        masks: list[Any] | None = None,
        *,
        normalized: bool = False,
    ) -> None:
        self.classes = np.array(classes, np.float32)
        self.bboxes = (
            np.array(bboxes, np.float32).reshape(-1, 4)
            if np.size(bboxes) == 0
            else (np.array(bboxes, np.float32))
        )
        if self.bboxes.ndim != 2 or self.bboxes.shape[1] != 4:
            raise ValueError(BOXES.format(found=self.bboxes.shape))
        if self.classes.shape[-1:] != (len(self.bboxes),):
            raise ValueError(COUNTS.format(classes=self.classes.shape[-1:], boxes=len(self.bboxes)))
        self.masks, self.normalized = masks, normalized
        self.done = Done()

    def size(self) -> int:
        """How many objects there are."""
        return len(self.bboxes)

    def copy(self) -> RoiLabel:
        """The same objects, in arrays of its own."""
        found = RoiLabel(self.classes, self.bboxes, self.masks, normalized=self.normalized)
        found.done = Done(self.done.flips, self.done.resized, self.done.projected)
        return found

    def taken(self, chosen: np.ndarray) -> RoiLabel:
        """The objects for which `chosen` is True."""
        found = self.copy()
        found.bboxes, found.classes = self.bboxes[chosen], self.classes[..., chosen]
        if self.masks is not None:
            found.masks = [m for m, take in zip(self.masks, chosen, strict=True) if take]
        return found

    def pixels(self, height: int, width: int) -> np.ndarray:
        """The boxes in pixels of an image of this size."""
        scale = [width, height, width, height] if self.normalized else [1, 1, 1, 1]
        return self.bboxes * np.array(scale, np.float32)

    def arrays(self) -> list[np.ndarray]:
        """[classes, bboxes], as a target of several arrays."""
        return [self.classes, self.bboxes]

    def __repr__(self) -> str:
        kind = ", normalized" if self.normalized else ""
        return f"RoiLabel({self.size()} boxes{kind})"


@dataclass
class Done:
    """What the boxes have followed already, so that BigDL's Roi* transformers do not do it again.

    projected: the objects before those outside of a crop were dropped and the others clipped
    """

    flips: int = 0
    resized: bool = False
    projected: RoiLabel | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Movement:
    """What a transformer does to positions: x' = ax·x + bx, y' = ay·y + by, in pixels.

    before, after: (height, width) of the image
    """

    before: tuple[int, int]
    after: tuple[int, int]
    ax: float = 1.0
    bx: float = 0.0
    ay: float = 1.0
    by: float = 0.0

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """The boxes (N, 4) in pixels after the movement."""
        x = boxes[:, 0::2] * self.ax + self.bx
        y = boxes[:, 1::2] * self.ay + self.by
        columns = [x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)]
        return np.stack(columns, axis=1).astype(np.float32) if len(boxes) else boxes


def follow(label: Any, movement: Movement, kind: str) -> Any:
    """The label after a movement of the image: boxes moved, clipped to the image, none empty.

    kind: "flip", "resize", "window" (a crop or an expansion), for BigDL's Roi* transformers
    A label that is no RoiLabel stays as it is.
    """
    if not isinstance(label, RoiLabel):
        return label
    moved = _moved(label, movement)
    if moved.done.projected is not None:
        moved.done.projected = _moved(moved.done.projected, movement)
    if kind == "flip":
        moved.done.flips += 1
    elif kind == "resize":
        moved.done.resized = True
    else:
        before = moved.copy()
        before.done = Done()
        moved.done.projected = before
    return clipped(moved, movement.after)


def _moved(label: RoiLabel, movement: Movement) -> RoiLabel:
    found = label.copy()
    boxes = movement.boxes(label.pixels(*movement.before))
    found.bboxes = _in_units(boxes, label, movement.after)
    return found


def clipped(label: RoiLabel, size: tuple[int, int]) -> RoiLabel:
    """The label with its boxes clipped to an image of (height, width), without empty ones."""
    height, width = size
    boxes = np.clip(label.pixels(height, width), 0, np.array([width, height, width, height]))
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    found = label.copy()
    found.bboxes = _in_units(boxes, label, size)
    return found if kept.all() else found.taken(kept)


def _in_units(boxes: np.ndarray, label: RoiLabel, size: tuple[int, int]) -> np.ndarray:
    """Boxes in pixels, in the units of `label`."""
    height, width = size
    scale = [width, height, width, height] if label.normalized else [1, 1, 1, 1]
    return (boxes / np.array(scale, np.float32)).astype(np.float32)
