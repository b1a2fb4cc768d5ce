"""Threads that run pieces take turns in Python, and wait for each other awake.

A thread that waits for Python's lock sleeps, and to wake takes longer than many a kernel: the other
has then taken the lock again, and the first one sleeps on while pieces are left.  So a thread that
comes out of a kernel waits in machine code, awake, until no other is in Python; a helper waits so
for more work, and the caller for the last piece.  All of this only saves time: every wait ends by
itself after about a millisecond, and Python's lock is what protects.

Without LLVM, or with fewer processors than threads, threads wait asleep.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.kernels import machine

__all__ = [
    "BUSY",
    "WORK",
    "Turns",
    "call_all",
    "call_in_turn",
    "can_wait_awake",
    "is_taking_turns",
    "leave_turn",
]

PAUSES = 2**14  # of a processor until a thread no longer waits awake: about a millisecond
LINE = 8  # numbers of a cache line
TURN, WORK, BUSY = 0, LINE, 2 * LINE  # where the numbers lie that `Turns` tells of
X86, ARM = "@llvm.x86.sse2.pause()", "@llvm.aarch64.hint(i32 1)"
PAUSE = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM}

TAKE = """\
take:
  %tried = phi i64 [ 0, %{before} ], [ %more, %late ]
  %there = load atomic i64, ptr %turn monotonic, align 8
  %free = icmp eq i64 %there, 0
  br i1 %free, label %change, label %wait
change:
  %was = atomicrmw xchg ptr %turn, i64 1 acq_rel, align 8
  %taken = icmp eq i64 %was, 0
  br i1 %taken, label %end, label %wait
wait:
  call void {pause}
  br label %late
late:
  %more = add i64 %tried, 1
  %enough = icmp ugt i64 %more, {pauses}
  br i1 %enough, label %end, label %take
end:
  ret void
"""
# table: a function, the table of its arguments, the address of the turn
CALL = """\
declare void {declared}
define void @kernel(ptr %table) {{
entry:
  %function = load ptr, ptr %table
  %second = getelementptr i64, ptr %table, i64 1
  %arguments = load ptr, ptr %second
  %third = getelementptr i64, ptr %table, i64 2
  %turn = load ptr, ptr %third
  store atomic i64 0, ptr %turn release, align 8
  call void %function(ptr %arguments)
  br label %take
{take}}}
"""
# table: the address of a number, what it is as yet, the address of the turn; then 1 if it changed
WAIT = """\
declare void {declared}
define void @kernel(ptr %table) {{
entry:
  %place = load ptr, ptr %table
  %second = getelementptr i64, ptr %table, i64 1
  %old = load i64, ptr %second
  %third = getelementptr i64, ptr %table, i64 2
  %turn = load ptr, ptr %third
  %fourth = getelementptr i64, ptr %table, i64 3
  store atomic i64 0, ptr %turn release, align 8
  br label %look
look:
  %looked = phi i64 [ 0, %entry ], [ %again, %pause ]
  %now = load atomic i64, ptr %place acquire, align 8
  %changed = icmp ne i64 %now, %old
  br i1 %changed, label %found, label %pause
pause:
  call void {pause}
  %again = add i64 %looked, 1
  %over = icmp ugt i64 %again, {pauses}
  br i1 %over, label %end, label %look
found:
  store i64 1, ptr %fourth
  br label %take
{take}}}
"""

Array = np.ndarray[Any, Any]
_local = threading.local()


class Turns:
    """What the threads of one pool share, in memory that machine code reads.

    Three numbers: whether one of them has the turn and so may be in Python, how many works there
    have been, and how many helpers are busy with the present one.
    """

    def __init__(self) -> None:
        room = np.zeros(4 * LINE, np.int64)  # each number in a cache line of its own
        first = -room.ctypes.data % 64 // 8
        self.numbers: Array = room[first : first + 3 * LINE]
        self._place = self.numbers.ctypes.data

    def begin(self) -> None:
        """The calling thread takes part, and has the turn."""
        _local.turn = self._place
        self.numbers[TURN] = 1

    def end(self) -> None:
        """The calling thread takes part no longer."""
        _local.turn = None

    def wait(self, which: int, number: int) -> bool:
        """Wait awake until a number is no longer `number`, and then for the turn; False if late."""
        table = (ctypes.c_int64 * 4)(self._place + 8 * which, number, self._place, 0)
        _function(WAIT)(ctypes.addressof(table))
        return bool(table[3])


def is_taking_turns() -> bool:
    """Whether the calling thread runs a piece, and so calls kernels by `call_in_turn`."""
    return getattr(_local, "turn", None) is not None


def call_in_turn(function: int, table: int) -> None:
    """Call the kernel at an address; meanwhile another thread may have the turn."""
    arguments = (ctypes.c_int64 * 3)(function, table, _local.turn)
    _function(CALL)(ctypes.addressof(arguments))


def call_all(addresses: int) -> None:
    """`machine.call_all`, in turn where the calling thread runs a piece."""
    if is_taking_turns():
        call_in_turn(machine.address_of_call_all(), addresses)
    else:
        machine.call_all(addresses)


def leave_turn() -> None:
    """Let others have the turn until the next kernel: the caller will be long without Python."""
    if (turn := getattr(_local, "turn", None)) is not None:
        ctypes.c_int64.from_address(turn).value = 0


def can_wait_awake(threads: int) -> bool:
    """Whether there is a processor for each thread, and machine code."""
    if hasattr(os, "sched_getaffinity"):
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    return threads <= processors and _pause() != "" and machine.is_available()


def _pause() -> str:
    return PAUSE.get(platform.machine().lower(), "")


@lru_cache(maxsize=2)
def _function(text: str) -> Callable[[int], None]:
    pause = _pause()
    take = TAKE.format(before="found" if text is WAIT else "entry", pause=pause, pauses=PAUSES)
    text = text.format(
        take=take, pause=pause, pauses=PAUSES, declared=pause.replace("i32 1", "i32")
    )
    [kernel] = machine.compiled_kernels([text]).values()
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(kernel.address)
    return lambda table, _owner=kernel: call(table)  # type: ignore[misc]  # a default
