"""A call of a module or function is recorded as a list of primitive calls on numbered values.

Unlike replay's recording, which keeps the bits of what it reads from outside, this one keeps the
arrays themselves: a large model is not copied, and a Parameter can be recognised.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad
from tapegrad.autograd.core.callsite import name_in_module, running_module_path, user_line
from tapegrad.autograd.core.mode import Observer, install_observer
from tapegrad.autograd.core.tensor import array_of, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.core.frames import current_frame
from tapegrad.nn.core.hooks import add_hook
from tapegrad.nn.formats.common.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tapegrad.autograd.core.declaration import Primitive

__all__ = [
    "RecordedNode",
    "OutsideArray",
    "CallRecord",
    "Slot",
    "ModuleSpan",
    "record",
]

READS = (
    "{where}: the call {action} while it is recorded. What Python decides by a value "
    "cannot be written into a file: use np.where, or export the parts around it"
)


@dataclass(frozen=True, slots=True)
class Slot:
    """A value of the recording, by its number."""

    number: int


class OutsideArray(NamedTuple):
    """An array that no call made and no input holds."""

    array: np.ndarray[Any, Any]
    name: str  # of a Parameter or Buffer; "" for another array
    where: str


@dataclass(frozen=True)
class RecordedNode:
    """One call: its operands are slots, numbers, None, and lists of these."""

    primitive: Primitive
    operands: tuple[Any, ...]
    settings: dict[str, Any]
    results: tuple[Any, ...]
    where: str
    owner: str  # the path of the module that made it, "0.conv", or ""


class ModuleSpan(NamedTuple):
    """One call of a module that has an operator of its own: entries[start:stop]."""

    module: Any
    start: int
    stop: int
    inputs: Any  # a nest with slots
    output: Any


@dataclass
class CallRecord(Observer):
    """The calls of one run.

    names, parameters: id of a module, and of the array of a Parameter or Buffer -> its path
    shapes, dtypes: those of each slot
    outside: slot number -> what is read from outside
    result:  what the call returned, a nest with slots for arrays
    spans:   calls of modules that `watched` asked for, outermost first
    """

    refuses = True

    names: dict[int, str] = field(default_factory=dict)
    parameters: dict[int, str] = field(default_factory=dict)
    entries: list[RecordedNode] = field(default_factory=list)
    outside: dict[int, OutsideArray] = field(default_factory=dict)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    dtypes: list[np.dtype[Any]] = field(default_factory=list)
    result: Any = None
    spans: list[ModuleSpan] = field(default_factory=list)
    _slots: dict[int, Slot] = field(default_factory=dict)
    _alive: list[Any] = field(default_factory=list)  # so that no id is used again

    def slot(self, array: Any) -> Slot:
        """The slot of an array; a new one for an array that has none."""
        found = self._slots.get(id(array))
        if found is None:
            found = self._slots[id(array)] = Slot(len(self.shapes))
            self._alive.append(array)
            self.shapes.append(tuple(array.shape))
            self.dtypes.append(np.dtype(array.dtype))
        return found

    def operand(self, value: Any, where: str) -> Any:
        """The operand as an entry has it; an array without a slot is from outside."""
        if isinstance(value, list):
            return [self.operand(item, where) for item in value]
        if not devices.is_array(value):
            return value
        if id(value) in self._slots:
            return self._slots[id(value)]
        slot = self.slot(value)
        name = self.parameters.get(id(value), "")
        if not name and (attribute := name_in_module(value)):
            name = f"{running_module_path()}.{attribute}"
        self.outside[slot.number] = OutsideArray(devices.to_numpy(value), name, where)
        return slot

    def call(
        self,
        primitive: Primitive,
        operands: Sequence[Any],
        settings: dict[str, Any],
        results: Sequence[Any],
    ) -> None:
        """Note a call (see `Observer`)."""
        where = user_line()
        noted = tuple(self.operand(value, where) for value in operands)
        slots = tuple(
            [self.slot(item) for item in r] if isinstance(r, list) else self.slot(r)
            for r in results
        )
        frame = current_frame()
        owner = self.names.get(id(frame.module), "") if frame is not None else ""
        self.entries.append(RecordedNode(primitive, noted, dict(settings), slots, where, owner))

    def refuse(self, action: str) -> None:
        """Raise, since the call reads a value (see `Observer`)."""
        raise UnsupportedError(READS.format(where=user_line(), action=action))

    def finish(self, result: Any) -> None:
        """Note what the call returned, and let go of the arrays that it made."""
        self.result = self.nest(result)
        self._slots, self._alive = {}, []

    def nest(self, value: Any) -> Any:
        """A nest with slots for its arrays."""
        return map_leaves(
            lambda part: (
                self.operand(array_of(part) if isinstance(part, Tensor) else part, "the result")
                if isinstance(part, Tensor) or devices.is_array(part)
                else part
            ),
            value,
        )


def record(
    function: Callable[..., Any],
    inputs: tuple[Any, ...],
    *,
    names: dict[int, str],
    parameters: dict[int, str],
    watched: Sequence[Any] = (),
) -> tuple[CallRecord, list[Slot]]:
    """The record of ``function(*inputs)``, and the slots of the arrays in `inputs`.

    names, parameters: as in CallRecord
    watched: the modules whose calls are noted as spans
    """
    made = CallRecord(names, parameters)
    tensors = map_leaves(
        lambda a: untracked(np.asarray(a)) if isinstance(a, (np.ndarray, np.generic)) else a,
        list(inputs),
    )
    slots = [made.slot(array_of(t)) for t in leaves(tensors) if isinstance(t, Tensor)]
    with ExitStack() as stack:
        for module in watched:
            _watch(stack, module, made)
        stack.enter_context(no_grad())
        stack.enter_context(install_observer(made))
        made.finish(function(*tensors))
    return made, slots


def _watch(stack: ExitStack, module: Any, made: CallRecord) -> None:
    """Note the calls of a module as spans, until the stack is left."""
    begun: list[tuple[int, Any]] = []

    def before(_: Any, inputs: tuple[Any, ...]) -> None:
        begun.append((len(made.entries), made.nest(list(inputs))))

    def after(_: Any, __: Any, output: Any) -> None:
        start, inputs = begun.pop()
        made.spans.append(ModuleSpan(module, start, len(made.entries), inputs, made.nest(output)))

    stack.enter_context(add_hook(module, "before", before))
    stack.enter_context(add_hook(module, "after", after))
