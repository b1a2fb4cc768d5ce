"""A module as a table: the modules in it, their output shapes, and how many parameters they have.

Jupyter shows a module this way, and the command line prints it.  Output shapes are those of a run
on given inputs, or of the last `forward`; before the first one the table has no such column.  Where
some parameters are frozen, what learns and what does not have a column each.
"""

from __future__ import annotations

import html as _html
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, default_dtype
from tapegrad.autograd.core.drawing import shape_text
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.evaluation import evaluation_mode
from tapegrad.nn.core.part import Part, known_dtype, named_fields
from tapegrad.nn.core.trace import trace_call
from tapegrad.nn.core.transient import transient_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["SummaryRow", "output_shapes", "summary_html", "summary_rows", "summary_text"]


class SummaryRow(NamedTuple):
    """One module of the table; its name is that below the row of the module that holds it."""

    name: str
    depth: int
    module: str
    output: str
    parameters: str
    size: int
    frozen: int


def summary_rows(module: Part, outputs: Mapping[int, Any] | None = None) -> list[SummaryRow]:
    """One row for each module, parents first; the first module that holds a Parameter counts it.

    outputs: by id of a module, what it returned; None for that of the last `forward`
    """
    table = []
    seen: set[int] = set()
    depth_of = {"": 0}
    learn = {id(p) for _, p in module.named_trainable()}
    for name, part in module.named_modules():
        own = [
            (field, p)
            for field, p in named_fields(part)
            if isinstance(p, Parameter) and id(p) not in seen
        ]
        seen.update(id(p) for _, p in own)
        above = name.rpartition(".")[0]
        while above not in depth_of:  # a list or dict of modules has no row of its own
            above = above.rpartition(".")[0]
        depth_of[name] = depth_of[above] + 1 if name else 0
        table.append(
            SummaryRow(
                name=name.removeprefix(f"{above}."),
                depth=depth_of[name],
                module=repr(part).partition(" {")[0].partition("\n")[0],
                output=_shape_cell(
                    transient_value(part, "output") if outputs is None else outputs.get(id(part))
                ),
                parameters=", ".join(f"{field} {shape_text(p.shape)}" for field, p in own),
                size=sum(p.size for _, p in own),
                frozen=sum(p.size for _, p in own if id(p) not in learn),
            )
        )
    return table


def _shape_cell(output: Any) -> str:
    if isinstance(output, Tensor):
        return shape_text(output.shape)
    if isinstance(output, (list, tuple)):
        return f"[{', '.join(_shape_cell(part) for part in output)}]"
    if isinstance(output, dict):
        return f"{{{', '.join(f'{key}: {_shape_cell(part)}' for key, part in output.items())}}}"
    return ""


def output_shapes(module: Any, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> dict[int, Any]:
    """What each module below returns in one run, by its id: in evaluation mode, keeping nothing.

    inputs: arrays or nests of them; a tuple of whole numbers is the shape of an array of zeros
    Of several calls of a module the last counts.  Raises what the call raises.
    """
    first = next((p for _, p in module.named_parameters()), None)
    dtype = known_dtype(module) or default_dtype()
    device = "cpu" if first is None else first.device

    def example(x: Any) -> Any:
        if isinstance(x, tuple) and x and all(type(n) is int for n in x):
            return Tensor(np.zeros(x, dtype), device=device)
        if isinstance(x, (list, tuple)) and any(isinstance(each, tuple) for each in x):
            return [example(each) for each in x]
        return x

    with evaluation_mode(module):
        args, update = module._traced(tuple(map(example, inputs)))
        trace = trace_call(module, args, update, named)
    return {id(span.reference()): span.output for span in trace.spans}


def _cells(
    module: Part, outputs: Mapping[int, Any] | None = None
) -> tuple[list[str], list[list[str]], str]:
    """Headings, cells and the line below the table."""
    table = summary_rows(module, outputs)
    headings = ["name", "module", "output", "parameters", "count"]
    has_frozen = any(row.frozen for row in table)
    if has_frozen:
        headings[-1:] = ["trained", "frozen"]
    cells = [
        [
            "  " * row.depth + (row.name or "(root)"),
            row.module,
            row.output,
            row.parameters,
            *map(_count_cell, [row.size - row.frozen, row.frozen] if has_frozen else [row.size]),
        ]
        for row in table
    ]
    if not any(row.output for row in table):
        headings.pop(2)
        for line in cells:
            line.pop(2)
    parameters = _each_memory_once(p for _, p in module.named_parameters())
    trained = _each_memory_once(p for _, p in module.named_trainable())
    kinds = ", ".join(sorted({str(p.dtype) for p in parameters}))
    total, learned = (sum(p.size for p in each) for each in (parameters, trained))
    size = sum(p.nbytes for p in parameters)
    text = f"{total:,} parameters"
    if learned < total:
        text += f" ({learned:,} trained, {total - learned:,} frozen)"
    return headings, cells, text + (f", {size:,} bytes, {kinds}" if total else "")


def _count_cell(count: int) -> str:
    return f"{count:,}" if count else ""


def _each_memory_once(parameters: Iterable[Parameter]) -> list[Parameter]:
    """The Parameters, without those whose entries are those of one before them."""
    known: set[Any] = set()
    result = []
    for p in parameters:
        array = array_of(p)
        address = devices.address_of(array)
        memory = id(array) if address is None or not array.size else (address, array.size)
        if memory not in known:
            known.add(memory)
            result.append(p)
    return result


def summary_text(module: Part, outputs: Mapping[int, Any] | None = None) -> str:
    """The table as aligned text."""
    headings, cells, total = _cells(module, outputs)
    numbers = len(headings) - len({"count", "trained", "frozen"}.intersection(headings))
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    lines = []
    for line in [headings, ["-" * w for w in widths], *cells]:
        parts = [
            cell.ljust(w) if column < numbers else cell.rjust(w)
            for column, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join([*lines, total])


def summary_html(module: Part) -> str:
    """The table as HTML, for Jupyter."""
    headings, cells, total = _cells(module)
    numbers = len(headings) - len({"count", "trained", "frozen"}.intersection(headings))
    head = "".join(f"<th style='text-align:left'>{h}</th>" for h in headings)
    body = ""
    for line in cells:
        indent = len(line[0]) - len(line[0].lstrip())
        first = f"<td style='text-align:left;padding-left:{indent / 2 + 0.5}em'>"
        body += "<tr>" + first + _html.escape(line[0].strip()) + "</td>"
        for column, cell in enumerate(line[1:], 1):
            side = "left" if column < numbers else "right"
            body += f"<td style='text-align:{side}'>{_html.escape(cell)}</td>"
        body += "</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{total}</p>"
