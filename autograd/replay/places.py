"""The kinds of places outside of a step that hold what it reads: mappings, lists, cells, memory.

A place keeps the values that it held when it was made, and compares.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from operator import is_
from typing import Any

import numpy as np

from tapegrad.autograd.core.tensor import Tensor, array_of

__all__ = [
    "NODE",
    "ArrayBytes",
    "Cells",
    "Constants",
    "Entries",
    "FunctionDefaults",
    "Mapped",
    "Memory",
    "Place",
    "WholeMapping",
    "is_plain",
    "is_same",
]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)
NODE: Any = vars(Tensor)["_node"]  # the slot itself: a frozen module hides it

# A plain array of more bytes is compared by about as many bytes, of rows spread over it.
COMPARED_BYTES = 1 << 20


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


_MISSING = _Missing()


class Place:
    """Values that one place held.

    label: how messages call the place; with one of `keys` behind it, one of its values
    """

    keys: tuple[str, ...] = ()
    is_same: Callable[[Any, Any], bool]  # whether one value is no change from another

    def __init__(self, label: str) -> None:
        self.label = label
        self.values = self.read()

    def read(self) -> tuple[Any, ...]:
        """The values as they are now."""
        raise NotImplementedError

    def holds(self) -> bool:
        """True if all values are what they were; equal numbers and equal plain arrays count."""
        now, before = self.read(), self.values
        if len(now) != len(before):
            return False
        return all(map(is_, now, before)) or all(map(self.is_same, now, before))

    def changes(self) -> Iterator[tuple[str, Any, Any]]:
        """(name, value before, value now) for each value that is another than it was."""
        now = self.read()
        if len(now) == len(self.values):
            for key, old, new in zip(self.keys, self.values, now, strict=True):
                if not self.is_same(old, new):
                    yield self.label + key, old, new

    def without_changes(self) -> Place | None:
        """The place without the values that have changed; None if it cannot be divided."""
        return None


class Mapped(Place):
    """Some entries of a mapping, by name."""

    def __init__(self, label: str, mapping: Any, names: tuple[Any, ...], form: str) -> None:
        self.mapping = mapping
        self.names = names
        self.form = form
        super().__init__(label)

    @property
    def keys(self) -> tuple[str, ...]:  # type: ignore[override]  # made when it is asked for
        """The names as the form of the mapping shows them."""
        return tuple(map(self.form.format, self.names))

    def read(self) -> tuple[Any, ...]:
        """The values as they are now (see `Place`)."""
        return tuple([self.mapping.get(name, _MISSING) for name in self.names])

    def _unchanged(self) -> tuple[Any, ...]:
        triples = zip(self.names, self.values, self.read(), strict=True)
        return tuple(name for name, old, new in triples if is_same(old, new))

    def without_changes(self) -> Place | None:
        """The place without what has changed (see `Place`)."""
        names = self._unchanged()
        return Mapped(self.label, self.mapping, names, self.form) if names else None


class WholeMapping(Mapped):
    """All entries of a mapping but those in `skipped`, and which there are."""

    def __init__(self, label: str, mapping: Any, skipped: tuple[Any, ...], form: str) -> None:
        self.skipped = skipped
        super().__init__(label, mapping, tuple(n for n in mapping if n not in skipped), form)

    def holds(self) -> bool:
        """True if all is as it was (see `Place`)."""
        size = len(self.mapping) - sum(name in self.mapping for name in self.skipped)
        return size == len(self.names) and super().holds()

    def without_changes(self) -> Place | None:
        """The place without what has changed (see `Place`)."""
        unchanged = self._unchanged()
        skipped = (*self.skipped, *(n for n in self.mapping if n not in unchanged))
        return WholeMapping(self.label, self.mapping, skipped, self.form)


class Entries(Place):
    """The items of a list, a deque or a set."""

    def __init__(self, label: str, items: Any) -> None:
        self.items = items
        super().__init__(label)
        self.keys = tuple(f"[{i}]" for i in range(len(self.values)))

    def read(self) -> tuple[Any, ...]:
        """The values as they are now (see `Place`)."""
        return tuple(self.items)


class Memory(Place):
    """Where a Tensor's values lie; for a Parameter its gradient's too, and whether it is frozen."""

    keys: tuple[str, ...] = (".data",)
    is_same = staticmethod(is_)  # equal values elsewhere are not enough

    def __init__(self, label: str, tensor: Tensor, is_parameter: bool) -> None:
        self.tensor = tensor
        self.is_parameter = is_parameter
        if is_parameter:
            self.keys = (".data", ".grad", ".frozen")
        super().__init__(label)

    @staticmethod
    def gradient_memory(parameter: Any) -> Any:
        """The array of a Parameter's gradient, or None."""
        gradient = parameter.grad
        return None if gradient is None else array_of(gradient)

    @staticmethod
    def is_frozen(parameter: Any) -> bool:
        """Whether a Parameter is frozen by itself."""
        return NODE.__get__(parameter) is None

    def read(self) -> tuple[Any, ...]:
        """The values as they are now (see `Place`)."""
        memory = array_of(self.tensor)
        if not self.is_parameter:
            return (memory,)
        return memory, self.gradient_memory(self.tensor), self.is_frozen(self.tensor)


class ArrayBytes(Place):
    """The values of a plain array."""

    keys = ("",)

    def __init__(self, label: str, array: Any) -> None:
        self.array = array
        super().__init__(label)

    def read(self) -> tuple[Any, ...]:
        """The values as they are now (see `Place`)."""
        array = self.array
        if array.nbytes > COMPARED_BYTES:
            every = -(-array.nbytes // COMPARED_BYTES)
            array = array[::every] if array.shape[0] > every else array[:1]
        return (array.tobytes(),)


class Cells(Place):
    """The variables that a function closes over."""

    def __init__(self, function: types.FunctionType, names: tuple[str, ...] | None = None) -> None:
        pairs = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        chosen = [(n, cell) for n, cell in pairs if names is None or n in names]
        self.function = function
        self.keys = tuple(n for n, _ in chosen)
        self.cells = [cell for _, cell in chosen]
        super().__init__("")

    def read(self) -> tuple[Any, ...]:
        """The values as they are now (see `Place`)."""
        return tuple(_contents(cell) for cell in self.cells)

    def without_changes(self) -> Place | None:
        """The place without what has changed (see `Place`)."""
        triples = zip(self.keys, self.values, self.read(), strict=True)
        return Cells(self.function, tuple(n for n, old, new in triples if is_same(old, new)))


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable is not yet bound
        return _MISSING


class FunctionDefaults(Place):
    """The defaults of a function's arguments, and what it wraps."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        name = f"{function.__name__}."
        self.keys = (name + "__defaults__", name + "__kwdefaults__", name + "__wrapped__")
        super().__init__("")

    def read(self) -> tuple[Any, ...]:
        """The values as they are now (see `Place`)."""
        function: Any = self.function
        wrapped = vars(function).get("__wrapped__")
        return function.__defaults__, function.__kwdefaults__, wrapped


class Constants(Place):
    """What cannot change, and leads to what can: a method's object and function."""

    def __init__(self, label: str, *values: Any) -> None:
        self._constants = values
        self.keys = ("",) * len(values)
        super().__init__(label)

    def read(self) -> tuple[Any, ...]:
        """The values as they are now (see `Place`)."""
        return self._constants


def is_plain(value: Any) -> bool:
    """True for numbers, texts and what else has a value and no content."""
    return isinstance(value, _PLAIN)


def is_same(a: Any, b: Any) -> bool:
    """True for one object, and for equal numbers, texts and plain arrays of one type."""
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return False
    if kind in (float, complex):
        return repr(a) == repr(b)  # nan is nan, and 0.0 is not -0.0
    if isinstance(a, np.generic):
        return bool(a.dtype == b.dtype and a.tobytes() == b.tobytes())
    if isinstance(a, (*_PLAIN, frozenset, slice, range)):
        return bool(a == b)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(is_same, a, b))
    if kind is np.ndarray:
        alike = a.shape == b.shape and a.dtype == b.dtype and not a.dtype.hasobject
        return alike and bool(a.tobytes() == b.tobytes())
    if kind is types.MethodType:
        return a.__self__ is b.__self__ and a.__func__ is b.__func__
    return False


Place.is_same = staticmethod(is_same)
