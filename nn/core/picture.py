"""The graph of a module as a picture: boxes for modules, arrows for what flows between them.

Where a module is of a class that does not say how it is wired, a run says it: the last `forward`,
or one on an input that is given (`core.wiring`).  A container says it by `drawn_as`:

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

from tapegrad.autograd.core.drawing import MOST_BOXES, Box, Picture, draw_boxes
from tapegrad.nn.core.own import is_own
from tapegrad.nn.core.transient import transient_value
from tapegrad.nn.core.wiring import (
    boxes_of_trace,
    class_line,
    is_opened,
    run_for_picture,
    shapes_text,
)

if TYPE_CHECKING:
    from tapegrad.nn.core.part import Part

__all__ = ["Picture", "picture"]

MOST_LISTED = 20
MOST_UNASKED = 200  # boxes of the last run: a notebook draws it each time it shows the module
UNKNOWN_WIRING = (
    "{name}.drawn_as is {wiring!r}; it may be box, chain, branches, joined, parallel or graph"
)


def picture(module: Part, *inputs: Any, **named: Any) -> Picture:
    """The graph of `module`: a box for each module inside it, with the shape of its output.

    inputs, named: arguments of a call, which is made once in evaluation mode, keeping nothing
    Without inputs the last `forward` is drawn, if it has no more than 200 boxes.  Else containers
    show how they are wired, and any other module is one box that lists the modules in it.  What
    forward code computes between its modules is a small box for each operation; modules of this
    package are drawn as one box each.  Raises what the call raises.

    >>> from tapegrad import nn
    >>> picture(nn.Sequential(nn.Linear(2, 3), nn.Tanh())).svg[:4]
    '<svg'
    """
    run: Any = module
    if inputs or named:
        return draw_boxes(_few(module, boxes_of_trace(module, run_for_picture(run, inputs, named))))
    trace = transient_value(module, "trace")
    if trace is not None and _has_hidden_wiring(module):
        boxes = boxes_of_trace(module, trace)
        if len(boxes) <= MOST_UNASKED:
            return draw_boxes(boxes)
    return draw_boxes(_few(module, _boxes(module)))


def _has_hidden_wiring(module: Any) -> bool:
    parts = module.listModules()
    return any(part.drawn_as == "box" and is_opened(part, module) for part in parts)


def _few(module: Any, boxes: list[Box]) -> list[Box]:
    if len(boxes) <= MOST_BOXES:
        return boxes
    return [Box([class_line(module), f"{len(boxes)} boxes: too many to draw"])]


# From modules to boxes ----------------------------------------------------------------------------


def _boxes(module: Any) -> list[Box]:
    count = module.nInputs if module.drawn_as == "graph" else 1
    boxes = [Box([f"input {i}" if count > 1 else "input"], "end") for i in range(count)]
    ends = _draw(module, list(range(count)), boxes)
    for i, end in enumerate(ends):
        boxes.append(Box([f"output {i}" if len(ends) > 1 else "output"], "end", [end]))
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
    lines = [class_line(module)]
    if module.drawn_as == "box" and not is_own(type(module)):
        lines += _lines_of_children(module)
    if shape := shapes_text(transient_value(module, "output")):
        lines.append(shape)
    boxes.append(Box(lines, "module", list(dict.fromkeys(sources))))
    return [len(boxes) - 1]


def _box_for_entry(index: int, sources: list[int], boxes: list[Box]) -> int:
    boxes.append(Box([f"[{index}]"], "entry", list(dict.fromkeys(sources))))
    return len(boxes) - 1


def _lines_of_children(module: Any) -> list[str]:
    """A line for each module below, with its name, of a module whose wiring nobody knows yet."""
    named = [(name, part) for name, part in module.named_modules() if name]
    lines = [f"{name}: {class_line(part)}" for name, part in named[:MOST_LISTED]]
    return lines + ([f"… {len(named) - MOST_LISTED} more"] if len(named) > MOST_LISTED else [])
