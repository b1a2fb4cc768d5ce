"""`run_kernel` runs the body of one primitive as a kernel, outside of any recorded step.

A kernel of a step is made for fixed memory.  A kernel of a primitive reads the addresses of each
call, and serves any number of rows; where rows do not matter, any number of entries.  So a new
shape costs a look at the body, and a new text, for another setting or length of a row, is compiled.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.compiling.kernel_sums import LANES
from tapegrad.autograd.compiling.kernel_text import kernel_text
from tapegrad.autograd.compiling.layouts import Layout
from tapegrad.autograd.compiling.scalar_code import obstacle_to
from tapegrad.autograd.compiling.space import Space, Unplaceable, key_of
from tapegrad.autograd.compiling.standins import Untraceable
from tapegrad.autograd.compiling.tracing import Traced, trace_entry
from tapegrad.autograd.kernels import machine
from tapegrad.autograd.kernels.addresses import address
from tapegrad.autograd.kernels.threads import get_num_threads, run_pieces
from tapegrad.autograd.kernels.turns import call_in_turn, is_taking_turns
from tapegrad.autograd.replay.recording import ProgramEntry, ProgramSlot

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import Primitive

__all__ = ["run_kernel"]

MOST_FORMS = 512  # of calls of one primitive that are remembered
SHORT = 509  # columns of the arrays on which a body without sums is looked at; a prime
PIECE = 1 << 16  # entries for one thread at a time
ROWS = (3, 5)  # what is looked at with either number must not depend on it


@dataclass
class _EagerKernel:
    """A kernel for calls of one form.

    function: takes the address of a table
    kernel:   owns its code
    order:    which operand each entry of the table stands for, -1 for the result
    steps:    bytes from one row or entry to the next in each of these; 0 for a single number
    table:    the type of the table: addresses, pieces of scratch memory, and the length
    scratch:  bytes of each piece of memory that it works in
    columns:  of a row, where the table says the number of rows; 1 where it says that of entries
    """

    function: Callable[[Any], None]
    kernel: machine.Kernel
    order: list[int]
    steps: list[int]
    table: Callable[..., Any]
    scratch: list[int]
    columns: int
    dtype: np.dtype[Any]


_forms: dict[Any, _EagerKernel | None] = {}
_making = threading.Lock()


def run_kernel(
    primitive: Primitive, operands: tuple[Any, ...], settings: dict[str, Any], out: Any
) -> Any:
    """The result of a primitive's body, by a kernel; None where none fits.

    A kernel fits arrays of one shape, of a vector or more, contiguous, float32 (float64 where no
    function such as exp is computed), with numbers besides, and a body of elementwise steps and of
    sums along the last axis.  An array may also have a single entry, or be one that is stretched,
    as the cotangent of a mean: the kernel reads it once.  Numbers are written into the kernel.
    """
    form: list[Any] = [primitive]
    shape = _shape_of_largest(operands)
    if math.prod(shape) < LANES:
        return None
    for operand in operands:
        if type(operand) is np.ndarray:
            flags = operand.flags
            if not flags.aligned:
                return None
            if operand.shape == shape and flags.c_contiguous:
                form.append(operand.dtype)
            elif _is_single(operand, shape):
                form.append((operand.dtype,))
            else:
                return None
        else:
            form.append(repr(operand))
    key = (*form, shape, *settings.values()) if settings else (*form, shape)
    try:
        kernel = _forms[key]
    except KeyError:
        kernel = _make(key, primitive, operands, settings)
    except TypeError:  # a setting that is no key
        return None
    if kernel is None:
        return None
    if out is None:
        out = np.empty(shape, kernel.dtype)
    elif out.dtype != kernel.dtype or not out.flags.c_contiguous or out.shape != shape:
        return None
    pointers = [address(out if i < 0 else operands[i]) for i in kernel.order]
    count = out.size // kernel.columns
    piece = max(PIECE // kernel.columns, 1)
    if get_num_threads() == 1 or count < 2 * piece:
        _run(kernel, pointers, count)
        return out
    pieces = count // piece  # the last one takes the rest

    def run_piece(number: int) -> None:
        start = number * piece
        moved = [p + start * step for p, step in zip(pointers, kernel.steps, strict=True)]
        _run(kernel, moved, piece if number < pieces - 1 else count - start)

    run_pieces(run_piece, pieces)
    return out


def _shape_of_largest(operands: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape of the array with the most entries."""
    shape: tuple[int, ...] = ()
    most = -1
    for operand in operands:
        if type(operand) is np.ndarray and operand.size > most:
            shape, most = operand.shape, operand.size
    return shape


def _is_single(operand: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether an array is one number, that of a single entry or one that is stretched."""
    if operand.size == 1:
        return operand.ndim <= len(shape)
    return operand.shape == shape and not any(operand.strides)


def _run(kernel: _EagerKernel, pointers: list[int], count: int) -> None:
    """Run a kernel on `count` rows or entries that begin at the pointers."""
    if kernel.scratch:
        held = [np.empty(nbytes + 64, np.uint8) for nbytes in kernel.scratch]
        pointers = [*pointers, *(-(-address(h) // 64) * 64 for h in held)]
    table = kernel.table(*pointers, count)
    if is_taking_turns():
        call_in_turn(kernel.kernel.address, ctypes.addressof(table))
    else:
        kernel.function(ctypes.addressof(table))


def _make(
    key: Any, primitive: Primitive, operands: tuple[Any, ...], settings: dict[str, Any]
) -> _EagerKernel | None:
    with _making:
        if len(_forms) >= MOST_FORMS:
            _forms.clear()
        try:
            kernel = _kernel_of(primitive, operands, settings)
        except (Untraceable, Unplaceable, RuntimeError):  # LLVM's own for a text that it refuses
            kernel = None
        _forms[key] = kernel
    return kernel


def _kernel_of(
    primitive: Primitive, operands: tuple[Any, ...], settings: dict[str, Any]
) -> _EagerKernel | None:
    shape = _shape_of_largest(operands)
    if not machine.is_available() or not shape:
        return None
    traced, layouts = _trace(primitive, operands, settings, _cut(shape, ROWS[0], SHORT))
    if any(call.axes for call in traced.calls):
        if shape[-1] == 1:
            return None
        traced, layouts = _trace(primitive, operands, settings, _cut(shape, ROWS[0], shape[-1]))
        other, _ = _trace(primitive, operands, settings, _cut(shape, ROWS[1], shape[-1]))
    else:
        other, _ = _trace(primitive, operands, settings, _cut(shape, ROWS[1], SHORT - 8))
    if _steps(traced) != _steps(other):
        return None  # numbers in it depend on the shape
    space = Space(traced.result.shape, obstacle_to)
    space.add(traced.calls, layouts)
    if any(c.axes and space.places[key_of(c.result)].kind != "row" for c in traced.calls):
        return None
    result = traced.result.slot
    assert result is not None
    dtypes = {slot: layouts[slot].dtype for slot in space.outside}
    text = kernel_text(space, dtypes, {result}, any_length=True)
    kernel = machine.compiled_kernels([text.text])[text.text]
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(kernel.address)
    order = [*text.reads, *(-1 for _ in text.writes)]
    columns = shape[-1] if any(c.axes for c in traced.calls) else 1
    dtype = traced.result.dtype
    steps = [
        dtype.itemsize * columns if i < 0
        else 0 if _is_single(operands[i], shape)
        else operands[i].itemsize * columns
        for i in order
    ]  # fmt: skip
    table = ctypes.c_int64 * (len(order) + len(text.scratch) + 1)
    return _EagerKernel(function, kernel, order, steps, table, text.scratch, columns, dtype)


def _cut(shape: tuple[int, ...], rows: int, columns: int) -> tuple[int, ...]:
    """A shape of as many axes with few rows."""
    last = min(shape[-1], columns) if columns == shape[-1] else columns
    return (last,) if len(shape) == 1 else (*[1] * (len(shape) - 2), rows, last)


def _trace(
    primitive: Primitive,
    operands: tuple[Any, ...],
    settings: dict[str, Any],
    shape: tuple[int, ...],
) -> tuple[Traced, list[Layout]]:
    # A slot is an operand's place.  Operands that are one array have a slot each: the next call of
    # this form may come with two.
    layouts: list[Layout] = []
    parts: list[Any] = []
    some: list[Any] = []
    whole = _shape_of_largest(operands)
    for slot, operand in enumerate(operands):
        if isinstance(operand, np.ndarray):
            own = (1,) * operand.ndim if _is_single(operand, whole) else shape
            layouts.append(_layout(own, operand.dtype, slot))
            parts.append(ProgramSlot(slot))
            some.append(np.zeros(own, operand.dtype))
        else:
            layouts.append(_layout((), np.dtype(float), slot))  # is not asked for
            parts.append(operand)
            some.append(operand)
    with np.errstate(all="ignore"):
        y = primitive.body(np, *some, **settings)
    if not isinstance(y, np.ndarray) or y.shape != shape:
        raise Unplaceable("its result has another shape")
    result = ProgramSlot(len(operands))
    layouts.append(_layout(shape, y.dtype, result.number))
    entry = ProgramEntry(primitive, tuple(parts), settings, (result,), "", np)
    return trace_entry(entry, layouts), layouts


def _layout(shape: tuple[int, ...], dtype: np.dtype[Any], owner: int) -> Layout:
    return Layout(shape, dtype, np.empty(shape, dtype).strides, owner, owns=True)


def _steps(traced: Traced) -> list[Any]:
    """The calls of a body, without shapes."""
    places = {id(c.result): i for i, c in enumerate(traced.calls)}
    return [
        (
            c.name, c.dtypes, bool(c.axes),
            [places.get(id(o), getattr(o, "slot", repr(o))) for o in c.operands],
        )
        for c in traced.calls
    ]  # fmt: skip
