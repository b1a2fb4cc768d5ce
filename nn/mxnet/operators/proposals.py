"""Proposals of a region proposal network (Faster R-CNN)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.attributes import Attributes, Bool, Float, Floats, Int
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.operators.boxes import kept
from tapegrad.nn.mxnet.operators.constants import constant
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["multi_proposal", "proposal"]


def base_anchors(stride: int, ratios: tuple[float, ...], scales: tuple[float, ...]) -> np.ndarray:
    """(ratios · scales, 4): boxes around the first cell, of whole pixels, both ends included."""
    centre = (stride - 1) / 2
    rows = []
    for ratio in ratios:
        area = math.floor(stride * stride / ratio)
        wide = math.floor(math.sqrt(area) + 0.5)
        high = math.floor(wide * ratio + 0.5)
        for scale in scales:
            x, y = (wide * scale - 1) / 2, (high * scale - 1) / 2
            rows.append([centre - x, centre - y, centre + x, centre + y])
    return np.array(rows)


def _moved(boxes: np.ndarray, shifts: np.ndarray, by_corner: bool) -> np.ndarray:
    if by_corner:
        return boxes + shifts
    size = boxes[:, 2:] - boxes[:, :2] + 1
    centre = boxes[:, :2] + (size - 1) / 2
    middle, grown = shifts[:, :2] * size + centre, np.exp(shifts[:, 2:]) * size
    return np.concatenate([middle - (grown - 1) / 2, middle + (grown - 1) / 2], 1)


@constant
def _proposals(
    chances: np.ndarray,
    shifts: np.ndarray,
    images: np.ndarray,
    *,
    before: int,
    after: int,
    threshold: float,
    smallest: int,
    scales: tuple[float, ...],
    ratios: tuple[float, ...],
    stride: int,
    by_corner: bool,
) -> list[np.ndarray]:
    """The regions (N·after, 5) and their scores (N·after, 1)."""
    n, both, high, wide = chances.shape
    count = both // 2
    anchors = base_anchors(stride, ratios, scales)
    if len(anchors) != count:
        raise ValueError(f"{count} anchors in cls_prob, {len(anchors)} by scales and ratios")
    y, x = np.meshgrid(np.arange(high) * stride, np.arange(wide) * stride, indexing="ij")
    cells = np.stack([x, y, x, y], -1)[:, :, None]
    grid = (cells + anchors).reshape((-1, 4)).astype(chances.dtype)
    row, column = (np.repeat(c.ravel() // stride, count) for c in (y, x))
    regions = np.zeros((n * after, 5), chances.dtype)
    scores = np.zeros((n * after, 1), chances.dtype)
    for i in range(n):
        tall, broad, zoom = images[i, :3]
        score = chances[i, count:].transpose((1, 2, 0)).reshape(-1).copy()
        moves = shifts[i].reshape((count, 4, high, wide)).transpose((2, 3, 0, 1)).reshape((-1, 4))
        boxes = _moved(grid, moves, by_corner)
        limit = np.array([broad - 1, tall - 1, broad - 1, tall - 1], boxes.dtype)
        boxes = np.maximum(np.minimum(boxes, limit), 0)
        score[(row >= int(tall / stride)) | (column >= int(broad / stride))] = -1
        least = smallest * zoom
        small = ((boxes[:, 2:] - boxes[:, :2] + 1) < least).any(1)
        boxes[small] += np.array([-1, -1, 1, 1]) * least / 2
        score[small] = -1
        order = np.argsort(-score, kind="stable")
        order = order[: min(before, len(order)) if before > 0 else len(order)]
        order = order[kept(boxes[order], threshold, extra=1.0)][:after]
        # where fewer are left they are repeated
        order = np.resize(order, after)
        regions[i * after : (i + 1) * after, 0] = i
        regions[i * after : (i + 1) * after, 1:] = boxes[order]
        scores[i * after : (i + 1) * after, 0] = score[order]
    return [regions, scores]


_SETTINGS: dict[str, Any] = {
    "rpn_pre_nms_top_n": Int(6000),
    "rpn_post_nms_top_n": Int(300),
    "threshold": Float(0.7),
    "rpn_min_size": Int(16),
    "scales": Floats((4.0, 8.0, 16.0, 32.0)),
    "ratios": Floats((0.5, 1.0, 2.0)),
    "feature_stride": Int(16),
    "output_score": Bool(False),
    "iou_loss": Bool(False),
}


def _shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    chances = inputs[0]
    if chances is None:
        return
    n, both, high, wide = chances
    inputs[1] = unify(inputs[1], (n, 2 * both, high, wide))
    inputs[2] = unify(inputs[2], (n, 3))
    rows = n * a.rpn_post_nms_top_n
    for i, columns in zip(range(len(outputs)), (5, 1), strict=False):
        outputs[i] = unify(outputs[i], (rows, columns))


def _outputs(a: Attributes) -> tuple[str, ...]:
    return ("output", "score") if a.output_score else ("output",)


def _run(call: Call, cls_prob: Tensor, bbox_pred: Tensor, im_info: Tensor) -> Any:
    a = call.a
    return _proposals(
        cls_prob, bbox_pred, im_info, before=a.rpn_pre_nms_top_n, after=a.rpn_post_nms_top_n,
        threshold=a.threshold, smallest=a.rpn_min_size, scales=a.scales, ratios=a.ratios,
        stride=a.feature_stride, by_corner=a.iou_loss,
    )  # fmt: skip


def _declare(name: str, hint: str) -> Any:
    return operator(
        name,
        "cls_prob bbox_pred im_info",
        hint=hint,
        outputs=_outputs,
        hidden=lambda a: 0 if a.output_score else 1,
        flat="cls_prob bbox_pred im_info",
        shapes=_shapes,
        **_SETTINGS,
    )


@_declare("_contrib_Proposal", "proposal")
def proposal(call: Call, cls_prob: Tensor, bbox_pred: Tensor, im_info: Tensor) -> list[Tensor]:
    """The best regions of one image, (k, 5) of [0, box], and their scores (k, 1).

    cls_prob (1, 2A, H, W): background then object; bbox_pred (1, 4A, H, W); im_info (1, 3) of
    [height, width, scale].  Boxes smaller than rpn_min_size · scale and those that a better one
    overlaps by more than `threshold` are left out.  Raises ValueError for several images.
    """
    if cls_prob.shape[0] != 1:
        raise ValueError("Proposal takes one image; MultiProposal takes several")
    return _run(call, cls_prob, bbox_pred, im_info)


@_declare("_contrib_MultiProposal", "multiproposal")
def multi_proposal(
    call: Call, cls_prob: Tensor, bbox_pred: Tensor, im_info: Tensor
) -> list[Tensor]:
    """`Proposal` of each image of a batch; the first number of a region is its image's."""
    return _run(call, cls_prob, bbox_pred, im_info)
