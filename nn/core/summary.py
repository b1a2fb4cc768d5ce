"""A module as a table: the modules in it, their output shapes, and how many parameters they have.

Jupyter shows a module this way, and the command line prints it.  Output shapes are those of the
last `forward`; before the first one the table has no such column.
"""

from __future__ import annotations

import html as _html
from typing import TYPE_CHECKING, Any, NamedTuple

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.core.drawing import shape_text
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.part import Part, named_fields
from tapegrad.nn.core.transient import transient_value

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SummaryRow", "summary_html", "summary_rows", "summary_text"]


class SummaryRow(NamedTuple):
    """One module of the table."""

    name: str
    depth: int
    module: str
    output: str
    parameters: str
    size: int


def summary_rows(module: Part) -> list[SummaryRow]:
    """One row for each module, parents first; the first module that holds a Parameter counts it."""
    table = []
    seen: set[int] = set()
    for name, part in module.named_modules():
        own = [
            (field, p)
            for field, p in named_fields(part)
            if isinstance(p, Parameter) and id(p) not in seen
        ]
        seen.update(id(p) for _, p in own)
        table.append(
            SummaryRow(
                name=name,
                depth=name.count(".") + 1 if name else 0,
                module=repr(part).partition(" {")[0].partition("\n")[0],
                output=_shape_cell(transient_value(part, "output")),
                parameters=", ".join(f"{field} {shape_text(p.shape)}" for field, p in own),
                size=sum(p.size for _, p in own),
            )
        )
    return table


def _shape_cell(output: Any) -> str:
    if isinstance(output, Tensor):
        return shape_text(output.shape)
    if isinstance(output, (list, tuple)):
        return f"[{', '.join(_shape_cell(part) for part in output)}]"
    return ""


def _cells(module: Part) -> tuple[list[str], list[list[str]], str]:
    """Headings, cells and the line below the table."""
    table = summary_rows(module)
    headings = ["name", "module", "output", "parameters", "count"]
    cells = [
        [
            "  " * row.depth + (row.name.rpartition(".")[2] or "(root)"),
            row.module,
            row.output,
            row.parameters,
            f"{row.size:,}" if row.size else "",
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


def summary_text(module: Part) -> str:
    """The table as aligned text."""
    headings, cells, total = _cells(module)
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    lines = []
    for line in [headings, ["-" * w for w in widths], *cells]:
        parts = [cell.ljust(w) for cell, w in zip(line, widths, strict=True)]
        parts[-1] = line[-1].rjust(widths[-1])
        lines.append("  ".join(parts).rstrip())
    return "\n".join([*lines, total])


def summary_html(module: Part) -> str:
    """The table as HTML, for Jupyter."""
    headings, cells, total = _cells(module)
    head = "".join(f"<th style='text-align:left'>{h}</th>" for h in headings)
    body = ""
    for line in cells:
        indent = len(line[0]) - len(line[0].lstrip())
        first = f"<td style='text-align:left;padding-left:{indent / 2 + 0.5}em'>"
        body += "<tr>" + first + _html.escape(line[0].strip()) + "</td>"
        for cell in line[1:-1]:
            body += f"<td style='text-align:left'>{_html.escape(cell)}</td>"
        body += f"<td style='text-align:right'>{line[-1]}</td></tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{total}</p>"
