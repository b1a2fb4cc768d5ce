"""`mx.viz`: a symbol as a table, and as a picture.  Source: mx.visualization.

The picture is SVG of our own; Graphviz is not needed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.drawing import Box, Picture, draw_boxes, shape_text

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.symbol.graph import SymbolNode
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import PathLike

__all__ = ["NetworkPlot", "plot_network", "print_summary"]

_HEADINGS = ("Layer (type)", "Output Shape", "Param #", "Previous Layer")
_WEIGHTS = (
    "_weight", "_bias", "_beta", "_gamma", "_moving_var", "_moving_mean", "_running_var",
    "_running_mean",
)  # fmt: skip
_SHOWN = ("kernel", "stride", "num_filter", "num_hidden", "act_type", "pool_type", "p", "dim")


def print_summary(
    symbol: Symbol,
    shape: Mapping[str, Sequence[int]] | None = None,
    line_length: int = 120,
    positions: Sequence[float] = (0.44, 0.64, 0.74, 1.0),
) -> None:
    """Print a table: layers, output shapes without the samples, numbers of parameters, inputs.

    shape:     shapes of the data by name; without them shapes and numbers are unknown
    positions: where the columns end, as fractions of the line or as places
    Raises ValueError where shapes do not follow from those given.
    """
    stops = [int(p * line_length) if positions[-1] <= 1 else int(p) for p in positions]
    found = symbol.shapes(shape) if shape is not None else None
    if found is not None and found.unknown():
        raise ValueError(f"Input shape is incomplete: {', '.join(found.unknown())} is unknown")
    given = set(shape or ())
    lines = [_row(_HEADINGS, stops), "=" * line_length]
    counted: set[int] = set()
    heads = {id(node) for node, _ in symbol.heads}
    for node in symbol.nodes:
        if node.op is None and node.name not in given and id(node) not in heads:
            continue
        size = 0
        before = []
        for child, _ in node.inputs:
            is_weight = child.op is None and child.name not in given
            if not is_weight:
                before.append(child.name)
            elif found is not None and id(child) not in counted and not _is_label(child):
                counted.add(id(child))
                size += math.prod(found[child, 0] or ())
        out = found[node, 0] if found is not None else None
        kind = node.op.name if node.op is not None else "null"
        cells = [f"{node.name}({kind})", "x".join(map(str, (out or ())[1:])), str(size)]
        lines.append(_row([*cells, before[0] if before else ""], stops))
        lines += [_row(["", "", "", name], stops) for name in before[1:]]
        lines.append("_" * line_length)
    total = 0
    if found is not None:
        by_id = {id(n): n for n in symbol.nodes}
        total = sum(math.prod(found[by_id[i], 0] or ()) for i in counted)
    lines[-1] = "=" * line_length
    text = "\n".join(["_" * line_length, *lines, f"Total params: {total}", "_" * line_length])
    sys.stdout.write(text + "\n")


def _is_label(node: SymbolNode) -> bool:
    return node.name.endswith("label")


def _row(cells: Sequence[str], stops: Sequence[int]) -> str:
    line = ""
    for cell, stop in zip(cells, stops, strict=True):
        line = (line + cell)[:stop].ljust(stop)
    return line


class NetworkPlot(Picture):
    """The picture of a symbol, as SVG; Jupyter shows it."""

    def __init__(self, svg: str, title: str = "plot"):
        super().__init__(svg)
        self.title = title

    def _repr_html_(self) -> str:
        return self.svg

    def render(self, filename: PathLike | None = None, **others: Any) -> str:
        """Write the picture, and give the file's name, which ends in ".svg".

        filename: when omitted, the title.  What Graphviz takes besides has no effect.
        """
        path = Path(self.title if filename is None else filename)
        if path.suffix != ".svg":
            path = path.with_name(path.name + ".svg")
        self.save(path)
        return str(path)


def plot_network(
    symbol: Symbol,
    title: str = "plot",
    save_format: str = "svg",
    shape: Mapping[str, Sequence[int]] | None = None,
    dtype: object = None,
    node_attrs: Mapping[str, str] | None = None,
    hide_weights: bool = True,
) -> NetworkPlot:
    """The graph of a symbol as a picture, boxes for operators and arrows for what flows.

    shape:        shapes of the data by name; boxes then hold the shapes of the outputs
    hide_weights: whether weights, biases and states have no boxes
    save_format, dtype, node_attrs: accepted, and without effect: the picture is SVG
    """
    found = symbol.shapes(shape) if shape is not None else None
    places: dict[int, int] = {}
    boxes: list[Box] = []
    for node in symbol.nodes:
        if node.op is None and hide_weights and node.name.endswith(_WEIGHTS):
            continue
        parents = [places[id(child)] for child, _ in node.inputs if id(child) in places]
        out = found[node, 0] if found is not None else None
        lines = _lines(node) + ([shape_text(tuple(out))] if out else [])
        places[id(node)] = len(boxes)
        kind = "end" if node.op is None else "module"
        boxes.append(Box(lines, kind, list(dict.fromkeys(parents)), late=node.op is None))
    return NetworkPlot(draw_boxes(boxes).svg, title)


def _lines(node: SymbolNode) -> list[str]:
    if node.op is None:
        return [node.name]
    shown = [f"{key} {node.attrs[key]}" for key in _SHOWN if key in node.attrs]
    return [node.name, ", ".join([node.op.name, *shown])]
