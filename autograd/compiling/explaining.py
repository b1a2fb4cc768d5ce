"""`explanation` says in a table what a compiled step runs, and why not more of it is fused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.bound import BoundProgram
    from tapegrad.autograd.compiling.grouping import EntryGroup
    from tapegrad.autograd.replay.program import Program

__all__ = ["explanation"]

MOVING = "a view of what lies elsewhere in each call"
MOST_NAMES = 6  # of a kernel's operations in its line


def explanation(program: Program, bound: BoundProgram | str) -> str:
    """The table of one program, or one line if it could not be compiled."""
    if isinstance(bound, str):
        return f"{len(program.entries)} operations, run one by one: {bound}\n"
    again = sum(bound.groups[i].again for i in bound.kernels)
    fused = sum(len(bound.groups[i].entries) for i in bound.kernels) - again
    views = len(bound.views)
    left = len(program.entries) - fused - views - len(bound.placed)
    kernels = _count(len(bound.kernels), "kernel")
    counts = f"{fused} in {kernels}, {_count(views, 'view')} made once, {_count(left, 'call')}"
    if again:
        counts += f", {again} made again where they are read"
    if bound.placed:
        counts += f", {_count(len(bound.placed), 'result')} in a gradient's place"
    places = f"{bound.nbytes:,} bytes for intermediate values ({bound.unplanned:,} without reuse)"
    memory = f"{places}, {bound.scratch:,} inside kernels"
    total = bound.times.of_call()
    times = bound.times.of_parts()
    lines = [f"{len(program.entries)} operations: {counts}", memory]
    column = ""
    if total is not None:
        between = total - sum(times.values())
        counted = _count(len(bound.times.calls), "timed call")
        lines.append(f"{_microseconds(total)} µs ({counted}), {_microseconds(between)} in between")
        column = f"{'µs':>9} "
    lines += ["", f"{'runs':<8} {column}{'shape':<16} {'line':<24} what"]
    for position, group in enumerate(bound.groups):
        if column:
            took = times.get(position)
            column = f"{'' if took is None else _microseconds(took):>9} "
        kind = "kernel" if position in bound.kernels else "view" if position in bound.views else ""
        kind = "placed" if position in bound.placed else kind or "call"
        lines.append(_line(group, kind, column))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f}"


def _line(group: EntryGroup, kind: str, column: str) -> str:
    first = group.entries[0]
    where = first.where.rsplit("/", 1)[-1]
    names = [entry.primitive.name for entry in group.entries]
    if kind == "kernel":
        assert group.space is not None
        shape = " × ".join(map(str, group.space.shape)) or "one number"
        text = ", ".join(names[:MOST_NAMES])
        if len(names) > MOST_NAMES:
            text += f", … ({len(names)})"
        return f"{'kernel':<8} {column}{shape:<16} {where:<24} {text}"
    reason = MOVING if first.primitive.view and kind == "call" else group.reason
    reason = f": {reason}" if kind == "call" and reason else ""
    return f"{kind:<8} {column}{'':<16} {where:<24} {names[0]}{reason}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
