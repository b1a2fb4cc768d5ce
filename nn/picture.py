"""The graph of a module as a picture: boxes for modules, arrows for what flows between them.

Layers of boxes by longest path from the input, each layer sorted by where its parents stand; a long
arrow has a place of its own in every layer that it passes (K. Sugiyama et al., 1981).  The result
is SVG text: Jupyter shows it, and no program such as Graphviz is needed.  Containers whose wiring
is known are drawn as their children; any other module is one box.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapegrad.autograd import Tensor
from tapegrad.nn.container import Concat, ConcatTable, DepthConcat, ParallelTable, Sequential
from tapegrad.nn.graph import gModule

if TYPE_CHECKING:
    from tapegrad.nn.module import Module

__all__ = ["Picture", "picture"]

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
    """One module of the picture, or an input, an output, a selected entry, or a bend."""

    lines: list[str]
    kind: str = "module"
    parents: list[int] = field(default_factory=list)
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


def picture(module: Module) -> Picture:
    """The graph of `module`; boxes hold output shapes after a `forward`."""
    return Picture(_svg(_boxes(module)))


# From modules to boxes ----------------------------------------------------------------------------


def _boxes(module: Module) -> list[Box]:
    count = module.inputs if isinstance(module, gModule) else 1
    boxes = [Box([f"input {i}" if count > 1 else "input"], "end") for i in range(count)]
    ends = _draw(module, list(range(count)), boxes)
    for i, end in enumerate(ends):
        boxes.append(Box([f"output {i}" if len(ends) > 1 else "output"], "end", [end]))
    if len(boxes) > MOST_BOXES:
        return [Box([repr(module).partition(" {")[0], f"{len(boxes)} boxes: too many to draw"])]
    return boxes


def _draw(module: Any, sources: list[int], boxes: list[Box]) -> list[int]:
    """Add the boxes of `module`, fed by the boxes `sources`; returns those that its output is."""
    if isinstance(module, gModule):
        return _draw_graph(module, sources, boxes)
    children = getattr(module, "modules", None) or []
    if isinstance(module, Sequential) and children:
        for child in children:
            sources = _draw(child, sources, boxes)
        return sources
    if isinstance(module, (ConcatTable, Concat, DepthConcat)) and children:
        ends = [end for child in children for end in _draw(child, sources, boxes)]
        return ends if isinstance(module, ConcatTable) else _one(module, ends, boxes)
    if isinstance(module, ParallelTable) and children:
        if len(sources) != len(children):
            sources = [_entry(i, sources, boxes) for i in range(len(children))]
        pairs = zip(children, sources, strict=True)
        return [end for child, source in pairs for end in _draw(child, [source], boxes)]
    return _one(module, sources, boxes)


def _draw_graph(module: gModule, sources: list[int], boxes: list[Box]) -> list[int]:
    if len(sources) != module.inputs:
        sources = [_entry(i, sources, boxes) for i in range(module.inputs)]
    ends: list[list[int]] = []
    for step in module.steps:
        found = [end for parent in step.parents for end in ends[parent]]
        if step.input is not None:
            found = [sources[step.input]]
        if step.selected is not None:
            found = [_entry(step.selected, found, boxes)]
        if step.module is not None:
            first = len(boxes)
            found = _draw(module.modules[step.module], found, boxes)
            words = [word for word in (step.name, step.description) if word]
            if words and len(boxes) > first:
                boxes[-1].lines[:0] = words
        ends.append(found)
    return [end for place in module.outputs for end in ends[place]]


def _one(module: Any, sources: list[int], boxes: list[Box]) -> list[int]:
    lines = [repr(module).partition(" {")[0].partition("\n")[0].removeprefix("nn.")]
    if shape := _shape(module.__dict__.get("_output")):
        lines.append(shape)
    boxes.append(Box(lines, "module", list(dict.fromkeys(sources))))
    return [len(boxes) - 1]


def _entry(index: int, sources: list[int], boxes: list[Box]) -> int:
    boxes.append(Box([f"[{index}]"], "entry", list(dict.fromkeys(sources))))
    return len(boxes) - 1


def _shape(output: Any) -> str:
    if isinstance(output, Tensor):
        return "×".join(map(str, output.shape)) or "scalar"
    if isinstance(output, (list, tuple)):
        return ", ".join(_shape(part) for part in output)
    return ""


# From boxes to SVG --------------------------------------------------------------------------------


def _layers(boxes: list[Box]) -> list[list[int]]:
    """Positions of boxes, by longest path from an input; boxes come after their parents."""
    depth: list[int] = []
    for box in boxes:
        depth.append(1 + max((depth[parent] for parent in box.parents), default=-1))
    layers: list[list[int]] = [[] for _ in range(max(depth) + 1)]
    for position, level in enumerate(depth):
        layers[level].append(position)
    return layers


def _route(boxes: list[Box], layers: list[list[int]]) -> dict[tuple[int, int], list[int]]:
    """The boxes that each arrow passes, ends included.

    An arrow over several layers gets a box without text in each layer between, so that it has a
    place of its own there; these are appended to `boxes` and `layers`.
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
    """Set every box's centre: layers from top to bottom, children under their parents."""
    top = float(MARGIN)
    for level, layer in enumerate(layers):
        if level:
            layer.sort(key=lambda i: _mean([boxes[p].x for p in boxes[i].parents]))
        wanted = [_mean([boxes[p].x for p in boxes[i].parents]) for i in layer]
        width = sum(boxes[i].width for i in layer) + GAP * (len(layer) - 1)
        left = _mean(wanted) - width / 2
        lines = max(len(boxes[i].lines) for i in layer)
        height = max(boxes[i].height for i in layer)
        for i in layer:
            if (
                boxes[i].kind == "bend"
            ):  # as tall as its neighbours, so that curves begin below them
                boxes[i].lines = [""] * lines
            boxes[i].x = left + boxes[i].width / 2
            boxes[i].y = top + height / 2
            left += boxes[i].width + GAP
        top += height + RISE


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _arrow(boxes: list[Box], route: list[int]) -> str:
    """The path of an arrow: curves between layers, straight through the boxes without text."""
    words = []
    for start, end in pairwise(route):
        a, b = boxes[start], boxes[end]
        y1, y2 = a.y + a.height / 2, b.y - b.height / 2
        middle = (y1 + y2) / 2
        words.append(f"{'L' if words else 'M'}{a.x:.1f},{y1:.1f}")
        words.append(f"C{a.x:.1f},{middle:.1f} {b.x:.1f},{middle:.1f} {b.x:.1f},{y2:.1f}")
    return " ".join(words)


def _svg(boxes: list[Box]) -> str:
    layers = _layers(boxes)
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
        f'<path d="{_arrow(boxes, route)}" fill="none" stroke="#667" marker-end="url(#tip)"/>'
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
