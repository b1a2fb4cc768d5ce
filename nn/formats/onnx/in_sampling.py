"""Operators that sample images at places, and choose boxes, read.

Which entries a sample reads is a matter of Python's arithmetic on the places; how much of each it
takes is recorded, so that gradients reach the image and the places.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tapegrad.autograd import Tensor
from tapegrad.nn.formats.onnx.operators import OperatorCall, reads

__all__: list[str] = []

_CUBIC = -0.75  # Keys' parameter, as the operator has it
MODES = {"linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4, "nearest": 1}  # entries of an axis
PADDINGS = ("zeros", "border", "reflection")


def _plain(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(value.detach()) if isinstance(value, Tensor) else np.asarray(value)


@reads("AffineGrid")
def _affine_grid(call: OperatorCall) -> Any:
    theta, sizes = call.x, call.whole(1)
    if sizes is None or len(sizes) not in (4, 5) or theta.ndim != 3:
        raise call.wrong("a size of four or five numbers, and theta (N, 2, 3) or (N, 3, 4)", sizes)
    corners = bool(call.number("align_corners", 0))
    axes = []
    for n in sizes[2:]:
        steps = np.arange(n)
        axes.append(2 * steps / max(n - 1, 1) - 1 if corners else (2 * steps + 1) / n - 1)
    places = np.meshgrid(*axes, indexing="ij")[::-1]
    points = np.stack([*places, np.ones(sizes[2:])], -1).reshape(-1, len(sizes) - 1)
    flat = np.matmul(points.astype(theta.dtype), np.swapaxes(theta, 1, 2))
    return flat.reshape((sizes[0], *sizes[2:], len(sizes) - 2))


class _Axis:
    """What the samples read along one axis: entries, and how much of each.

    places: (N, P) in units of entries; n: the length of the axis
    """

    def __init__(self, places: Any, n: int, mode: str, padding: str, corners: bool) -> None:
        self.n, self.padding = n, padding
        self.low, self.high = (0.0, n - 1.0) if corners else (-0.5, n - 0.5)
        wide = MODES[mode]
        places = np.rint(places) if wide == 1 else places
        if wide < 4:  # of a cubic, only the entries are brought back (as in PyTorch)
            places = self._inside(places)
        first = np.floor(_plain(places))
        self.parts = [(1.0, first)] if wide == 1 else []
        if wide > 1:
            part = places - first.astype(places.dtype)
            shares = _linear(part) if wide == 2 else _cubic(part)
            self.parts = [(s, first + k - (wide // 2 - 1)) for k, s in enumerate(shares)]

    def _inside(self, places: Any) -> Any:
        """The places as the padding brings them back, where it does."""
        if self.padding == "border":
            return np.clip(places, 0, self.n - 1)
        if self.padding == "zeros" or self.high == self.low:
            return places if self.padding == "zeros" else places * 0
        span, plain = self.high - self.low, _plain(places)
        turns = np.floor((plain - self.low) / span)
        odd = turns % 2 == 1
        start = self.low + turns * span
        moved = places - start.astype(plain.dtype)
        back = np.where(odd, self.high - moved, self.low + moved)
        return np.where((plain < self.low) | (plain > self.high), back, places)

    def entry(self, number: int) -> tuple[Any, np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
        """(share, index, whether the index is inside) of one entry of the samples."""
        share, at = self.parts[number]
        if self.padding == "zeros":
            inside = (at >= 0) & (at < self.n)
            return share, np.clip(at, 0, self.n - 1).astype(np.int64), inside
        at = np.rint(_plain(self._inside(at)))
        return share, np.clip(at, 0, self.n - 1).astype(np.int64), None


def _linear(t: Any) -> list[Any]:
    return [1 - t, t]


def _cubic(t: Any) -> list[Any]:
    def near(d: Any) -> Any:
        return ((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1

    def far(d: Any) -> Any:
        return ((_CUBIC * d - 5 * _CUBIC) * d + 8 * _CUBIC) * d - 4 * _CUBIC

    return [far(1 + t), near(t), near(1 - t), far(2 - t)]


@reads("GridSample", since=16)
def _grid_sample(call: OperatorCall) -> Any:
    x, grid = call.x, call.inputs[1]
    mode, padding = call.text("mode", "bilinear"), call.text("padding_mode", "zeros")
    if mode not in MODES or padding not in PADDINGS:
        raise call.unsupported(f"mode {', '.join(MODES)} and padding {', '.join(PADDINGS)}")
    many = x.ndim - 2
    if many < 1 or grid.ndim != x.ndim or grid.shape[-1] != many:
        raise call.wrong(f"a grid (N, …, {many})", grid.shape)
    corners = bool(call.number("align_corners", 0))
    count, sizes = x.shape[0], x.shape[2:]
    axes = []
    for k, n in enumerate(sizes):
        given = grid[..., many - 1 - k].reshape(count, -1)
        places = (given + 1) / 2 * (n - 1) if corners else ((given + 1) * n - 1) / 2
        axes.append(_Axis(places, n, mode, padding, corners))
    flat = x.reshape(count, x.shape[1], -1)
    rows = np.arange(count)[:, None]
    total: Any = 0
    for numbers in itertools.product(range(MODES[mode]), repeat=many):
        share: Any = 1.0
        index: Any = 0
        for axis, number in zip(axes, numbers, strict=True):
            part, at, inside = axis.entry(number)
            share = share * part
            share = share if inside is None else share * inside.astype(x.dtype)
            index = index * axis.n + at
        taken = flat[rows, :, index]  # (N, P, C)
        weight = np.expand_dims(share, -1) if np.ndim(share) else share
        total = total + taken * weight
    result = np.swapaxes(total, 1, 2).reshape((count, x.shape[1], *grid.shape[1:-1]))
    return result.astype(x.dtype)


@reads("NonMaxSuppression")
def _non_max_suppression(call: OperatorCall) -> Any:
    boxes, scores = _plain(call.x).astype(np.float64), _plain(call.inputs[1])
    most, overlap, least = (call.host(k) for k in (2, 3, 4))
    limit = 0 if most is None else int(most.reshape(-1)[0])
    shared = 0.0 if overlap is None else float(overlap.reshape(-1)[0])
    sides = _sides(boxes, bool(call.number("center_point_box", 0)))
    found = []
    for n, k in np.ndindex(*scores.shape[:2]):
        order = np.argsort(-scores[n, k], kind="stable")
        if least is not None:
            order = order[scores[n, k][order] > least.reshape(-1)[0]]
        chosen: list[int] = []
        for each in order:
            if len(chosen) >= limit:
                break
            if not chosen or (_overlap(sides[n], int(each), chosen) <= shared).all():
                chosen.append(int(each))
        found += [(n, k, each) for each in chosen]
    return Tensor(np.array(found, np.int64).reshape(-1, 3))


def _sides(boxes: np.ndarray[Any, Any], centred: bool) -> np.ndarray[Any, Any]:
    """(…, 4): the smaller and the larger of two corners."""
    a, b = boxes[..., :2], boxes[..., 2:]
    if centred:
        a, b = a - b / 2, a + b / 2
    return np.concatenate([np.minimum(a, b), np.maximum(a, b)], -1)


def _overlap(sides: np.ndarray[Any, Any], each: int, chosen: list[int]) -> np.ndarray[Any, Any]:
    """The area that a box shares with each chosen one, as a part of both together."""
    low = np.maximum(sides[each, :2], sides[chosen, :2])
    high = np.minimum(sides[each, 2:], sides[chosen, 2:])
    common = np.prod(np.maximum(high - low, 0), -1)
    areas = np.prod(sides[:, 2:] - sides[:, :2], -1)
    whole = areas[each] + areas[chosen] - common
    result: np.ndarray[Any, Any] = common / np.where(whole > 0, whole, 1)
    return result
