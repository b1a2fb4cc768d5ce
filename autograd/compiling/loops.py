"""Loops in the text of a kernel, of which Python writes the body once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.machine_text import Code

__all__ = ["carried_loop", "loop", "loop_while", "only_if"]


def loop(code: Code, count: int, step: int, body: Callable[[str], None]) -> None:
    """Write a loop of `body(index)` for 0, step, …, without carried values."""
    if count <= 0:
        return
    if count <= step:
        body("0")
        return
    loop_while(code, str(count), step, body)


def loop_while(code: Code, count: str, step: int, body: Callable[[str], None]) -> None:
    """Write a loop of `body(index)` for 0, step, … below `count`, at least once."""

    def without_values(index: str, _: list[str]) -> list[str]:
        body(index)
        return []

    carried_loop(code, count, step, [], without_values)


def carried_loop(
    code: Code,
    count: str,
    step: int,
    carried: list[tuple[str, str]],
    body: Callable[[str, list[str]], list[str]],
) -> list[str]:
    """Write a loop that carries values: (type, first value) -> the last values."""
    head, after, before = (
        code.fresh("head")[1:],
        code.fresh("after")[1:],
        code.fresh("from")[1:],
    )
    end = code.fresh("end")[1:]
    code.do(f"br label %{before}")
    code.do(f"{before}:")
    code.do(f"br label %{head}")
    code.do(f"{head}:")
    index, following = code.fresh("i"), code.fresh("i")
    code.do(f"{index} = phi i64 [ 0, %{before} ], [ {following}, %{end} ]")
    names = [code.fresh("c") for _ in carried]
    at = len(code.lines)
    new = body(index, names)
    code.do(f"br label %{end}")
    code.do(f"{end}:")
    code.do(f"{following} = add i64 {index}, {step}")
    more = code.let(f"icmp slt i64 {following}, {count}")
    code.do(f"br i1 {more}, label %{head}, label %{after}")
    code.do(f"{after}:")
    code.lines[at:at] = [
        f"  {name} = phi {kind} [ {first}, %{before} ], [ {value}, %{end} ]"
        for name, (kind, first), value in zip(names, carried, new, strict=True)
    ]
    return new


def only_if(code: Code, condition: str, body: Callable[[], None]) -> None:
    """Write code that runs where a condition holds."""
    yes, no = code.fresh("then")[1:], code.fresh("otherwise")[1:]
    code.do(f"br i1 {condition}, label %{yes}, label %{no}")
    code.do(f"{yes}:")
    body()
    code.do(f"br label %{no}")
    code.do(f"{no}:")
