"""What a step reads from outside beside arrays: settings, which replay compares at each call.

A recording holds the calls that Python made; why it made these, it does not know.  So all that
Python could have read is watched: the variables that the step's functions close over or find among
their globals, the attributes of every module and optimizer that runs, and what lists, dicts and
objects among these contain.  If one of them is another object than it was, or an unequal number,
the recording is not valid and the step is recorded anew.

Nothing lists settings by hand.  A class says `_step_results`, the attributes in which calls leave
results, and all others are watched; of objects of any other class those attributes are watched
that the code of the step names.  Tensors are read where they are, so only their memory is compared.
"""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import attrgetter, call, is_, methodcaller
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.node import owner_of
from tapegrad.autograd.core.parameter import Parameter
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.replay.places import (
    NODE,
    ArrayBytes,
    Cells,
    Constants,
    Entries,
    FunctionDefaults,
    Mapped,
    Memory,
    Place,
    WholeMapping,
    is_plain,
)
from tapegrad.autograd.replay.reachable import (
    attributes_of,
    is_data,
    is_of_library,
    may_hold_settings,
    name_of,
    names_in,
)

__all__ = ["Watches"]


class Watches:
    """All places that one recording watches."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._seen: dict[int, Any] = {}  # by id; holding the object keeps its id in use
        self._names: set[str] = set()  # the attributes that the code of the step names
        self._by_name: list[tuple[Any, str, set[str]]] = []  # object, label, names watched so far
        self._quick: Callable[[], bool] | None = None
        # Parameters that had no gradient before the step, and the array of the one that it made.
        self.begun: list[tuple[Any, Any]] = []

    def __len__(self) -> int:
        return len(self._places)

    def add(self, value: Any, label: str = "") -> None:
        """Watch `value` and all that can be reached from it."""
        if id(value) not in self._seen:
            self._walk(value, label or name_of(value))
            self._visit_names()

    def hold(self) -> bool:
        """True if all that was watched is as it was; equal numbers and plain arrays count."""
        if self._quick is not None and self._quick():
            return True
        if not all(place.holds() for place in self._places):
            return False
        self._quick = _quick_check(self._places)
        return True

    def difference(self) -> str:
        """The name of the first place that is not as it was."""
        for place in self._places:
            if not place.holds():
                return next((name for name, _, _ in place.changes()), place.label)
        return "nothing"

    def settle(self, arrays: list[Any]) -> list[tuple[str, Any, Any]]:
        """Take the values at the end of a recording as those to be kept.

        arrays: all arrays of the recording's calls, which a replay reads where they are
        Returns (name, old value, new value) for what the step itself has changed; that is a result
        of the step and no setting, so it is watched no more.
        """
        memory = [t.values[0] for t in self._places if isinstance(t, Memory)]
        known = {id(owner_of(a)) for a in (*arrays, *memory) if isinstance(a, np.ndarray)}
        changed: list[tuple[str, Any, Any]] = []
        kept: list[Place] = []
        for place in self._places:
            if isinstance(place, Constants):
                continue
            if isinstance(place, ArrayBytes) and id(owner_of(place.array)) in known:
                continue
            if not place.holds():
                changed.extend(place.changes())
                if isinstance(place, Memory) and place.is_parameter and place.values[1] is None:
                    self.begun.append((place.tensor, place.gradient_memory(place.tensor)))
                remaining = place.without_changes()
                if remaining is None:
                    continue
                place = remaining
            kept.append(place)
        gone = {id(old) for _, old, _ in changed}
        self._places = [p for p in kept if not (isinstance(p, Memory) and id(p.tensor) in gone)]
        self._seen, self._by_name = {}, []
        self._quick = _quick_check(self._places)
        return changed

    # Walking --------------------------------------------------------------------------------------

    def _walk(self, value: Any, label: str) -> None:
        pending = [(value, label)]
        while pending:
            value, label = pending.pop()
            if is_plain(value):
                continue
            if isinstance(value, (tuple, frozenset)):
                pending.extend((item, f"{label}[{i}]") for i, item in enumerate(value))
                continue
            if id(value) in self._seen:
                continue
            self._seen[id(value)] = value
            for place in self._places_of(value, label):
                self._places.append(place)
                if not isinstance(place, (Memory, ArrayBytes)):
                    pending.extend(
                        (item, place.label + key)
                        for item, key in zip(place.values, place.keys, strict=True)
                    )

    def _places_of(self, value: Any, label: str) -> Iterator[Place]:
        cls = type(value)
        results = getattr(cls, "_step_results", None)
        if isinstance(value, Tensor):
            yield Memory(label, value, isinstance(value, Parameter))
        elif devices.is_array(value):
            if isinstance(value, np.ndarray) and not value.dtype.hasobject:
                yield ArrayBytes(label, value)
        elif isinstance(results, tuple) and not isinstance(value, type):
            yield WholeMapping(label, attributes_of(value), results, ".{}")
            for base in cls.__mro__:
                if id(base) not in self._seen and base is not object:
                    self._seen[id(base)] = base
                    yield from self._places_of_class(base)
        elif isinstance(value, dict):
            yield WholeMapping(label, value, (), "[{!r:.40}]")
        elif isinstance(value, (list, deque, set)):
            yield Entries(label, value)
        elif isinstance(value, types.FunctionType):
            yield from self._places_of_function(value)
        elif isinstance(value, types.MethodType):
            yield Constants(label, value.__self__, value.__func__)
        elif isinstance(value, functools.partial):
            yield Constants(label, value.func, value.args, value.keywords)
        elif isinstance(value, (staticmethod, classmethod)):
            yield Constants(label, value.__func__)
        elif isinstance(value, property):
            yield Constants(label, value.fget)
        elif isinstance(value, (attrgetter, methodcaller)):
            self._names |= _names_told(value)
        elif may_hold_settings(value):
            self._by_name.append((value, label, set()))
            if not isinstance(value, (type, types.ModuleType)) and callable(value):
                wrapped = getattr(value, "__wrapped__", None)
                yield Constants(label, vars(cls).get("__call__"), wrapped)

    def _places_of_class(self, cls: type) -> Iterator[Place]:
        """Watch the class's own data, and the functions of a class that is no library's."""
        library = is_of_library(cls.__module__)
        own = vars(cls)
        names = [n for n, v in own.items() if is_data(n, v)]
        if library:  # which has settings there in a few classes, and declarations in all
            names = [n for n in names if n[0] != "_" and isinstance(own[n], (int, float, list))]
        if names:
            yield Mapped(cls.__name__, own, tuple(names), ".{}")
        if not library:
            functions = [v for n, v in own.items() if n == "__call__" or not n.startswith("__")]
            yield Constants(cls.__name__, *(v for v in functions if not is_data("", v)))

    def _places_of_function(self, function: types.FunctionType) -> Iterator[Place]:
        if function.__closure__:
            yield Cells(function)
        if not is_of_library(function.__globals__.get("__name__")):
            global_names, attributes = names_in(function.__code__)
            self._names |= attributes
            present = tuple(n for n in sorted(global_names) if n in function.__globals__)
            if present:
                yield Mapped("", function.__globals__, present, "{}")
        if function.__defaults__ or function.__kwdefaults__ or "__wrapped__" in vars(function):
            yield FunctionDefaults(function)

    def _visit_names(self) -> None:
        """Watch, of each object of an unknown class, the attributes that the code names."""
        done = -1
        while done != len(self._names) + len(self._by_name):
            done = len(self._names) + len(self._by_name)
            for value, label, watched in list(self._by_name):
                fresh = self._names - watched
                watched |= fresh
                self._watch_names(attributes_of(value), fresh, label)
                if not isinstance(value, (type, types.ModuleType)):
                    for base in type(value).__mro__:
                        if not is_of_library(base.__module__):
                            self._watch_names(vars(base), fresh, base.__name__)

    def _watch_names(self, mapping: Any, names: set[str], label: str) -> None:
        present = tuple(n for n in sorted(names) if mapping.get(n, mapping) is not mapping)
        if present:
            place = Mapped(label, mapping, present, ".{}")
            self._places.append(place)
            for key, item in zip(place.keys, place.values, strict=True):
                self._walk(item, label + key)


def _names_told(getter: attrgetter[Any] | methodcaller) -> set[str]:
    """The names that an `attrgetter` or `methodcaller` was made with."""
    texts = getter.__reduce__()[1]
    return {name for text in texts if isinstance(text, str) for name in text.split(".")}


def _quick_check(places: list[Place]) -> Callable[[], bool]:
    """A function that compares all places at once; False may mean an equal number, or a change.

    It makes a call for each kind of place, which compares in C: at about 50 ns a value.
    """
    mapped = [p for p in places if isinstance(p, Mapped)]
    entries = [p for p in places if isinstance(p, Entries)]
    memory = [p for p in places if isinstance(p, Memory)]
    learned = [p for p in memory if p.is_parameter]
    plain = [p for p in learned if p.values[1] is not None and p.values[1] is _read_gradient(p)]
    known = set(map(id, plain))
    without = [p for p in learned if id(p) not in known]
    cells = [p for p in places if isinstance(p, Cells)]
    lists = [p.items for p in entries]
    sized = [*(p.mapping for p in places if isinstance(p, WholeMapping)), *lists]
    sizes = list(map(len, sized))
    pairs: list[tuple[list[Any], Callable[[], Any]]] = [
        (_values_of(mapped), _read_mapped(mapped)),
        ([value for p in memory for value in p.values[:1]], _reader(_memory_of, memory, "tensor")),
        (_values_of(cells), _read_cells(cells)),
        (_values_of(entries), functools.partial(chain.from_iterable, lists)),
        ([p.values[1] for p in plain], _reader(_gradient_of, plain, "tensor")),
        ([p.values[1] for p in without], _reader(Memory.gradient_memory, without, "tensor")),
        ([_node_told(p) for p in learned], _reader(NODE.__get__, learned, "tensor")),
    ]
    pairs = [(values, read) for values, read in pairs if values]
    others = [p for p in places if not isinstance(p, (Mapped, Entries, Memory, Cells))]

    def holds() -> bool:
        try:
            if list(map(len, sized)) != sizes:
                return False
            for values, read in pairs:
                if not all(map(is_, read(), values)):
                    return False
        # a set that changed under way, an empty cell, a gradient that is None now
        except (RuntimeError, ValueError, AttributeError):
            return False
        return not others or all(p.holds() for p in others)

    return holds


def _values_of(places: Sequence[Place]) -> list[Any]:
    return [value for p in places for value in p.values]


def _reader(function: Callable[[Any], Any], places: Sequence[Any], name: str) -> Callable[[], Any]:
    return functools.partial(map, function, [getattr(p, name) for p in places])


def _read_mapped(places: list[Mapped]) -> Callable[[], Any]:
    gets = [p.mapping.get for p in places for _ in p.names]
    return functools.partial(map, call, gets, [name for p in places for name in p.names])


def _read_cells(places: list[Cells]) -> Callable[[], Any]:
    return functools.partial(map, attrgetter("cell_contents"), [c for p in places for c in p.cells])


_memory_of = attrgetter("_bare")
_gradient_of = attrgetter("_leaf.grad._bare")


def _read_gradient(place: Memory) -> Any:
    try:
        return _gradient_of(place.tensor)
    except AttributeError:  # no gradient
        return None


def _node_told(place: Memory) -> Any:
    """The node of a Parameter that is as frozen as it was; what no node is for another."""
    node = NODE.__get__(place.tensor)
    return node if (node is None) == place.values[2] else place
