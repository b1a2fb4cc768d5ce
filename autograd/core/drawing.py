"""`draw_boxes` draws a graph as SVG text: boxes in layers, and arrows between them.

The layer of a box is the longest path to it, and each layer is sorted by the positions of the
parents.  A long arrow has a position of its own in every layer that it passes (K. Sugiyama et al.,
1981).  Jupyter shows the SVG text without a program such as Graphviz.  The callers say what the
boxes stand for: calls on a tape (`debug/tape.py`), modules (`nn.picture`).
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

__all__ = ["MOST_BOXES", "Box", "Picture", "draw_boxes", "shape_text"]

CHARACTER, LINE, MARGIN, GAP, RISE = 6.7, 15, 12, 24, 34  # pixels
MOST_BOXES = 2000

OPENING = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
    'viewBox="{left:.1f} 0 {width:.1f} {height:.1f}" font-family="sans-serif" font-size="12">'
)
TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#667"/></marker></defs>'
)


@dataclass
class Box:
    """One box of a graph: its text, and the indices of its parents, which stand above it.

    kind: "module" (or call), "end" (input, output), "entry" (one of several), "bend" (of an arrow)
    late: put the box just above the first box that it leads to, not as near to the top as possible
    """

    lines: list[str]
    kind: str = "module"
    parents: list[int] = field(default_factory=list)
    late: bool = False
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        """In pixels."""
        return max(len(line) for line in self.lines) * CHARACTER + 2 * MARGIN

    @property
    def height(self) -> float:
        """In pixels."""
        return len(self.lines) * LINE + MARGIN


class Picture:
    """SVG text that Jupyter shows."""

    def __init__(self, svg: str) -> None:
        self.svg = svg

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Write the picture to a file, whose name should end in ``.svg``."""
        Path(path).write_text(self.svg, encoding="utf-8")


def draw_boxes(boxes: list[Box]) -> Picture:
    """Draw boxes, which must come after their parents in the list."""
    return Picture(_svg_text(boxes))


def shape_text(shape: tuple[int, ...]) -> str:
    """The text of a shape in a box: 3×4."""
    return "×".join(map(str, shape)) or "scalar"


def _assign_layers(boxes: list[Box]) -> list[list[int]]:
    """The indices of the boxes of each layer; a box is below all its parents."""
    depth: list[int] = []
    for box in boxes:
        depth.append(1 + max((depth[parent] for parent in box.parents), default=-1))
    below: dict[int, int] = {}  # index of a box -> depth of the highest box that it leads to
    for index in range(len(boxes) - 1, -1, -1):
        if boxes[index].late:
            depth[index] = below.get(index, depth[index] + 1) - 1
        for parent in boxes[index].parents:
            below[parent] = min(depth[index], below.get(parent, depth[index]))
    layers: list[list[int]] = [[] for _ in range(max(depth) + 1)]
    for index, level in enumerate(depth):
        layers[level].append(index)
    return layers


def _route(boxes: list[Box], layers: list[list[int]]) -> dict[tuple[int, int], list[int]]:
    """Return for each arrow (start, end) the indices of the boxes that it passes, ends included.

    An arrow over several layers gets a box without text in each layer in between, which keeps a
    position free for it; these boxes are appended to `boxes` and `layers`.
    """
    level = {i: depth for depth, layer in enumerate(layers) for i in layer}
    routes = {}
    for end in range(len(boxes)):
        last = []
        for start in boxes[end].parents:
            route = [start]
            for depth in range(level[start] + 1, level[end]):
                boxes.append(Box([""], "bend", [route[-1]]))
                route.append(len(boxes) - 1)
                layers[depth].append(route[-1])
            last.append(route[-1])
            routes[start, end] = [*route, end]
        boxes[end].parents = last
    return routes


def _arrange(boxes: list[Box], layers: list[list[int]]) -> None:
    """Set the centre of every box: layers from top to bottom, children below their parents."""
    top = float(MARGIN)
    for level, layer in enumerate(layers):
        if level:
            layer.sort(
                key=lambda i: (
                    _has_nothing_above(boxes[i]),
                    _mean_position([boxes[p].x for p in boxes[i].parents]),
                )
            )
        wanted = [
            _mean_position([boxes[p].x for p in boxes[i].parents])
            for i in layer
            if not _has_nothing_above(boxes[i])
        ]
        width = sum(boxes[i].width for i in layer) + GAP * (len(layer) - 1)
        left = _mean_position(wanted) - width / 2
        lines = max(len(boxes[i].lines) for i in layer)
        height = max(boxes[i].height for i in layer)
        for i in layer:
            if boxes[i].kind == "bend":
                boxes[i].lines = [""] * lines  # as tall as its neighbours: curves begin below them
            boxes[i].x = left + boxes[i].width / 2
            boxes[i].y = top + height / 2
            left += boxes[i].width + GAP
        top += height + RISE


def _has_nothing_above(box: Box) -> bool:
    """True for a box without parents that is drawn late; it goes to the right of its layer."""
    return box.late and not box.parents


def _mean_position(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _arrow_path(boxes: list[Box], route: list[int]) -> str:
    """The SVG path of an arrow: curves between layers, lines through boxes without text."""
    words: list[str] = []
    for start, end in pairwise(route):
        a, b = boxes[start], boxes[end]
        y1, y2 = a.y + a.height / 2, b.y - b.height / 2
        middle = (y1 + y2) / 2
        words.append(f"{'L' if words else 'M'}{a.x:.1f},{y1:.1f}")
        words.append(f"C{a.x:.1f},{middle:.1f} {b.x:.1f},{middle:.1f} {b.x:.1f},{y2:.1f}")
    return " ".join(words)


def _svg_text(boxes: list[Box]) -> str:
    layers = _assign_layers(boxes)
    routes = _route(boxes, layers)
    _arrange(boxes, layers)
    left = min(box.x - box.width / 2 for box in boxes) - MARGIN
    right = max(box.x + box.width / 2 for box in boxes) + MARGIN + GAP
    bottom = max(box.y + box.height / 2 for box in boxes) + MARGIN
    parts = [
        OPENING.format(left=left, width=right - left, height=bottom),
        TIP,
    ]
    parts.extend(
        f'<path d="{_arrow_path(boxes, route)}" fill="none" stroke="#667" marker-end="url(#tip)"/>'
        for route in routes.values()
    )
    fills = {"module": "#e8eef9", "end": "#eef5ea", "entry": "#fbf3e2"}
    for box in boxes:
        if box.kind == "bend":
            continue
        x, y = box.x - box.width / 2, box.y - box.height / 2
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
            f'rx="5" fill="{fills[box.kind]}" stroke="#889"/>'
        )
        for number, line in enumerate(box.lines):
            height = y + MARGIN / 2 + LINE * (number + 0.75)
            parts.append(
                f'<text x="{box.x:.1f}" y="{height:.1f}" text-anchor="middle">'
                f"{html.escape(line)}</text>"
            )
    return "\n".join([*parts, "</svg>"])
