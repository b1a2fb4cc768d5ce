"""The graph of a module as a picture: boxes for modules, arrows for what flows between them.

Containers whose wiring is known are drawn as their children; any other module is one box.  The
picture itself is made in `tapegrad.autograd.core.drawing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd import Tensor
from tapegrad.autograd.core.drawing import MOST_BOXES, Box, Picture, drawn, shape_text
from tapegrad.nn.containers.container import (
    Concat,
    ConcatTable,
    DepthConcat,
    ParallelTable,
    Sequential,
)
from tapegrad.nn.containers.graph import gModule

if TYPE_CHECKING:
    from tapegrad.nn.module import Module

__all__ = ["Picture", "picture"]


def picture(module: Module) -> Picture:
    """The graph of `module`; boxes hold output shapes after a `forward`."""
    return drawn(_boxes(module))


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
        return shape_text(output.shape)
    if isinstance(output, (list, tuple)):
        return ", ".join(_shape(part) for part in output)
    return ""
