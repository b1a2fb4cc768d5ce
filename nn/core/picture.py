"""The graph of a module as a picture: boxes for modules, arrows for what flows between them.

A module says by `drawn_as` how it is wired:

    "box"       one box, whatever is inside; what a module is when it says nothing
    "chain"     its `modules` one after another
    "branches"  its `modules` side by side, each fed by the entire input; the results are the output
    "joined"    as "branches", and a box of its own that joins the results
    "parallel"  its `modules` side by side, the i-th fed by the i-th entry of the input
    "graph"     its `steps`, from `inputs` to `outputs`, as `containers.graph` has them

The picture itself is made in `tapegrad.autograd.core.drawing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd import Tensor
from tapegrad.autograd.core.drawing import MOST_BOXES, Box, Picture, draw_boxes, shape_text
from tapegrad.nn.core.transient import transient_value

if TYPE_CHECKING:
    from tapegrad.nn.core.part import Part

__all__ = ["Picture", "picture"]

UNKNOWN_WIRING = (
    "{name}.drawn_as is {wiring!r}; it may be box, chain, branches, joined, parallel or graph"
)


def picture(module: Part) -> Picture:
    """The graph of `module`; boxes hold output shapes after a `forward`.

    >>> from tapegrad import nn
    >>> picture(nn.Sequential(nn.Linear(2, 3), nn.Tanh())).svg[:4]
    '<svg'
    """
    return draw_boxes(_boxes(module))


# From modules to boxes ----------------------------------------------------------------------------


def _boxes(module: Any) -> list[Box]:
    count = module.nInputs if module.drawn_as == "graph" else 1
    boxes = [Box([f"input {i}" if count > 1 else "input"], "end") for i in range(count)]
    ends = _draw(module, list(range(count)), boxes)
    for i, end in enumerate(ends):
        boxes.append(Box([f"output {i}" if len(ends) > 1 else "output"], "end", [end]))
    if len(boxes) > MOST_BOXES:
        return [Box([repr(module).partition(" {")[0], f"{len(boxes)} boxes: too many to draw"])]
    return boxes


def _draw(module: Any, sources: list[int], boxes: list[Box]) -> list[int]:
    """Add the boxes of `module`, fed by the boxes `sources`; returns the boxes of its output."""
    wiring = module.drawn_as
    if wiring == "graph":
        return _draw_graph(module, sources, boxes)
    children = getattr(module, "modules", None)
    if wiring == "box" or not children:
        return _box_for_module(module, sources, boxes)
    if wiring == "chain":
        for child in children:
            sources = _draw(child, sources, boxes)
        return sources
    if wiring == "parallel":
        if len(sources) != len(children):
            sources = [_box_for_entry(i, sources, boxes) for i in range(len(children))]
        pairs = zip(children, sources, strict=True)
        return [end for child, source in pairs for end in _draw(child, [source], boxes)]
    if wiring not in {"branches", "joined"}:
        raise ValueError(UNKNOWN_WIRING.format(name=type(module).__name__, wiring=wiring))
    ends = [end for child in children for end in _draw(child, sources, boxes)]
    return ends if wiring == "branches" else _box_for_module(module, ends, boxes)


def _draw_graph(module: Any, sources: list[int], boxes: list[Box]) -> list[int]:
    if len(sources) != module.nInputs:
        sources = [_box_for_entry(i, sources, boxes) for i in range(module.nInputs)]
    ends: list[list[int]] = []
    for step in module.steps:
        current = [end for parent in step.parents for end in ends[parent]]
        if step.input is not None:
            current = [sources[step.input]]
        if step.selected is not None:
            current = [_box_for_entry(step.selected, current, boxes)]
        if step.module is not None:
            first = len(boxes)
            current = _draw(module.modules[step.module], current, boxes)
            words = [word for word in (step.name, step.description) if word]
            if words and len(boxes) > first:
                boxes[-1].lines[:0] = words
        ends.append(current)
    return [end for step_number in module.outputs for end in ends[step_number]]


def _box_for_module(module: Any, sources: list[int], boxes: list[Box]) -> list[int]:
    lines = [repr(module).partition(" {")[0].partition("\n")[0].removeprefix("nn.")]
    if shape := _shapes_text(transient_value(module, "output")):
        lines.append(shape)
    boxes.append(Box(lines, "module", list(dict.fromkeys(sources))))
    return [len(boxes) - 1]


def _box_for_entry(index: int, sources: list[int], boxes: list[Box]) -> int:
    boxes.append(Box([f"[{index}]"], "entry", list(dict.fromkeys(sources))))
    return len(boxes) - 1


def _shapes_text(output: Any) -> str:
    if isinstance(output, Tensor):
        return shape_text(output.shape)
    if isinstance(output, (list, tuple)):
        return ", ".join(_shapes_text(part) for part in output)
    return ""
