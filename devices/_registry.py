"""What an array is and where it lives: the table of array libraries, and the devices they bring.

A library is declared once, as a `Backend`: its array type, its namespace, how arrays get in and
out, memory figures, random numbers.  Everything else asks by the array's type, so supporting one
more library is one more `register_backend` and no `if` anywhere.  A backend is loaded when a device
of its kind is named or when one of its arrays turns up, which can only be after somebody imported
the library: CuPy is never imported for a user who does not use it.

Types are matched exactly.  Subclasses of ndarray (masked arrays, matrices) mean something else by
the same operators, and are refused rather than misunderstood.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Protocol, Self

import numpy as np

from tapegrad.devices._errors import TapegradError

__all__ = [
    "Backend",
    "Device",
    "DeviceError",
    "MemoryInfo",
    "RandomStream",
    "address_of",
    "available_devices",
    "backend_named",
    "backend_of",
    "device",
    "device_of",
    "is_array",
    "namespace",
    "register_backend",
]


class DeviceError(TapegradError, TypeError, RuntimeError):
    """Arrays of different devices in one call, or a device that is not there.

    A TypeError, as Python's operators raise for operands that don't go together; also a
    RuntimeError, because a machine without a GPU is no mistake in the program.
    """


class MemoryInfo(NamedTuple):
    """Bytes of memory of a device; None where the platform does not tell.

    total: what the device has
    used:  what this process holds (CPU: its resident set; cuda: arrays alive in CuPy's pool)
    free:  what could still be allocated (cuda: the pool's cached blocks included)
    peak:  the most that `used` has been since the process started, where somebody counts it
    """

    total: int | None
    used: int | None
    free: int | None
    peak: int | None


class Device:
    """A place where arrays live: `device("cpu")`, `device("cuda:0")`.  Immutable and hashable.

    kind:  "cpu", "cuda", "strict" or the name of a registered backend
    index: number of the device among its kind, None where there is only one

    Constructing one does not ask whether it is there (a pickled Device can be read anywhere);
    `device` does.  ``with device("cuda:1"):`` makes it CuPy's current device; on others it does
    nothing.
    """

    __slots__ = ("_index", "_kind")

    _kind: str
    _index: int | None

    def __init__(self, kind: str, index: int | None = None) -> None:
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_index", index)

    @property
    def kind(self) -> str:
        """Which backend it belongs to."""
        return self._kind

    @property
    def index(self) -> int | None:
        """Its number among its kind, or None."""
        return self._index

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Device cannot be changed; make another with device(...)")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Device cannot be changed; make another with device(...)")

    def __str__(self) -> str:
        return self._kind if self._index is None else f"{self._kind}:{self._index}"

    def __repr__(self) -> str:
        return f"device('{self}')"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Device):
            return NotImplemented
        return self._kind == other._kind and self._index == other._index

    def __hash__(self) -> int:
        return hash((self._kind, self._index))

    def __reduce__(self) -> tuple[type[Device], tuple[str, int | None]]:
        return (Device, (self._kind, self._index))

    def __enter__(self) -> Self:
        context = backend_named(self._kind).activate(self)
        context.__enter__()
        _entered.stack.append(context)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _entered.stack.pop().__exit__(kind, error, trace)


class _Entered(threading.local):
    """The contexts that this thread's `with device:` blocks are in, innermost last."""

    def __init__(self) -> None:
        self.stack: list[AbstractContextManager[Any]] = []


_entered = _Entered()


def _nothing(_: Device) -> None:
    """What `synchronize` does where calls finish before they return."""


def _no_context(_: Device) -> AbstractContextManager[Any]:
    return nullcontext()


class RandomStream(Protocol):
    """What a backend's random numbers can do: `dtype` is float32 or float64, `out` contiguous."""

    algorithm: str

    def uniform(self, shape: tuple[int, ...], dtype: np.dtype[Any], out: Any) -> Any:
        """U[0, 1), into `out` unless that is None."""

    def normal(self, shape: tuple[int, ...], dtype: np.dtype[Any], out: Any) -> Any:
        """N(0, 1), into `out` unless that is None."""

    def integers(self, low: int, high: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """Whole numbers from low to high - 1, all equally likely."""

    def permutation(self, n: int) -> Any:
        """0 … n - 1 in random order, int64."""

    def get_state(self) -> dict[str, Any]:
        """Everything that decides what is drawn next, as JSON's types."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state that `get_state` returned."""


@dataclass(frozen=True)
class Backend:
    """One array library, as the rest of tapegrad sees it.

    kind:        the word before the colon in the names of its devices
    array_type:  the type of its arrays, matched exactly
    xp:          its namespace: what a primitive's body calls as `xp`
    device_of:   array -> Device
    devices:     () -> the devices that are there; raises DeviceError saying why there are none
    current:     () -> the device that `kind` without a number means
    from_numpy:  (ndarray, Device) -> new array on that device, sharing no memory with the ndarray
                 unless the device is the CPU
    to_numpy:    array -> ndarray, a copy unless the device is the CPU
    move:        (array, Device) -> the array on another device of the same kind
    memory:      Device -> MemoryInfo
    stream:      (Device, SeedSequence) -> the random numbers of that device (see `RandomStream`)
    synchronize: waits until what was started on the device is done
    activate:    Device -> context manager in which it is the library's current device
    numbered:    its devices carry numbers, so that arrays of this kind can still be mixed wrongly
    """

    kind: str
    array_type: type
    xp: Any
    device_of: Callable[[Any], Device]
    devices: Callable[[], list[Device]]
    current: Callable[[], Device]
    from_numpy: Callable[[np.ndarray[Any, Any], Device], Any]
    to_numpy: Callable[[Any], np.ndarray[Any, Any]]
    move: Callable[[Any, Device], Any]
    memory: Callable[[Device], MemoryInfo]
    stream: Callable[[Device, np.random.SeedSequence], RandomStream]
    synchronize: Callable[[Device], None] = _nothing
    activate: Callable[[Device], AbstractContextManager[Any]] = _no_context
    numbered: bool = False


class _Declared(NamedTuple):
    load: Callable[[], Backend]
    module: str
    listed: bool


_declared: dict[str, _Declared] = {}
_loaded: dict[str, Backend] = {}
_by_type: dict[type, Backend] = {}
_pending: dict[str, str] = {}  # module of the array type -> kind, of backends not loaded yet


def register_backend(
    kind: str, load: Callable[[], Backend], *, module: str, listed: bool = True
) -> None:
    """Declare an array library.

    kind:   the name of its devices, a lower-case word: "cuda" makes `device("cuda:0")` mean it
    load:   returns its Backend, and may import the library; called once, when first needed.
            Raises DeviceError saying what is missing
    module: `__module__` of its array type, by which its arrays are recognised before it is loaded
    listed: do its devices appear in `available_devices`?
    Raises ValueError for a kind that is taken or is no lower-case word.
    """
    if kind in _declared:
        raise ValueError(f"there is a backend called {kind!r} already")
    if not re.fullmatch(r"[a-z][a-z_]*", kind):
        raise ValueError(f"the name of a backend is a lower-case word, not {kind!r}")
    _declared[kind] = _Declared(load, module, listed)
    _pending[module] = kind


def backend_named(kind: str) -> Backend:
    """The backend of the devices called `kind`; loads it if need be.

    Raises ValueError for an unknown name, DeviceError where the library is not installed.
    """
    known = _loaded.get(kind)
    if known is not None:
        return known
    if kind not in _declared:
        raise ValueError(f"there is no device called {kind!r}; known are {', '.join(_declared)}")
    declared = _declared[kind]
    backend = declared.load()
    if backend.kind != kind or backend.array_type.__module__ != declared.module:
        raise ValueError(
            f"register_backend({kind!r}, module={declared.module!r}) loaded a backend of kind"
            f" {backend.kind!r} for {backend.array_type.__module__}.{backend.array_type.__name__}"
        )
    _loaded[kind] = backend
    _by_type[backend.array_type] = backend
    _pending.pop(declared.module, None)
    return backend


def _backend_of_type(array_type: type) -> Backend | None:
    """The backend of arrays of that type, None when it is no array type."""
    known = _by_type.get(array_type)
    if known is None and array_type.__module__ in _pending:
        backend_named(_pending[array_type.__module__])
        known = _by_type.get(array_type)
    return known


def backend_of(array: Any) -> Backend:
    """The backend that `array` belongs to; NumPy's scalars count as arrays of the CPU.

    Raises TypeError for anything else.
    """
    found = _backend_of_type(type(array))
    if found is not None:
        return found
    if isinstance(array, np.generic):
        return _loaded["cpu"]
    raise TypeError(_NOT_AN_ARRAY.format(**_described(array)))


_NOT_AN_ARRAY = "{name} is not an array of a known library{hint}"


def _described(x: Any) -> dict[str, str]:
    if isinstance(x, np.ndarray):
        hint = ": subclasses of ndarray are not taken for arrays; convert with np.asarray(x)"
    elif hasattr(type(x), "tracked"):
        hint = ": this function takes bare arrays; a Tensor's is its .data"
    else:
        hint = ""
    return {"name": f"{type(x).__module__}.{type(x).__qualname__}", "hint": hint}


# Asking ------------------------------------------------------------------------------------------

_NUMBERS = frozenset({bool, int, float, complex, type(None)})


def namespace(*arrays: Any) -> Any:
    """The array module of `arrays`: `numpy`, `cupy`, or that of another registered library.

    Numbers, NumPy's scalars and None go with any of them; with nothing else, it is `numpy`.
    Raises DeviceError for arrays of different devices, TypeError for what is no array.
    """
    for array in arrays:
        if type(array) is not np.ndarray:
            return _namespace(arrays)
    return np


def _namespace(arrays: tuple[Any, ...]) -> Any:
    found: Backend | None = None
    first: Any = None
    for array in arrays:
        if type(array) in _NUMBERS:
            continue
        backend = _backend_of_type(type(array))
        if backend is None:
            if isinstance(array, (np.generic, int, float, complex)):
                continue
            raise TypeError(_NOT_AN_ARRAY.format(**_described(array)))
        if found is None:
            found, first = backend, array
        elif backend is not found or (
            backend.numbered and backend.device_of(array) != backend.device_of(first)
        ):
            raise DeviceError(_MIXED.format(a=found.device_of(first), b=backend.device_of(array)))
    return np if found is None else found.xp


_MIXED = (
    "arrays on {a} and on {b} meet in one call: move one to the other's device first,"
    " x.to('{a}') or x.to('{b}')"
)


def is_array(x: Any) -> bool:
    """Is `x` an array of a known library?  Numbers, Tensors and subclasses of ndarray are not."""
    return type(x) is np.ndarray or _backend_of_type(type(x)) is not None


def device_of(array: Any) -> Device:
    """Where `array` lives.  Raises TypeError for what is no array."""
    return backend_of(array).device_of(array)


def address_of(array: Any) -> int | None:
    """Where the first entry of `array` lies in memory; None if its library does not tell."""
    for protocol in ("__array_interface__", "__cuda_array_interface__"):
        interface = getattr(array, protocol, None)
        if interface is not None:
            return int(interface["data"][0])
    return None


_NAME = re.compile(r"([a-z][a-z_]*)(?::(\d+))?")


def device(name: str | Device) -> Device:
    """The device called `name`: "cpu", "cuda" (CuPy's current one), "cuda:1", "strict", …

    Raises DeviceError when it is not there, saying what to install or what was found instead;
    ValueError for a name that means nothing.
    """
    if isinstance(name, Device):
        wanted, backend = name, backend_named(name.kind)
    elif isinstance(name, str):
        parts = _NAME.fullmatch(name)
        if parts is None:
            raise ValueError(f"{name!r} is no name of a device; write 'cpu', 'cuda' or 'cuda:0'")
        backend = backend_named(parts[1])
        if parts[2] is None:
            wanted = backend.current()
        elif backend.numbered:
            wanted = Device(parts[1], int(parts[2]))
        else:
            raise ValueError(f"device {name!r}: there is only one; write {parts[1]!r}")
    else:
        raise TypeError(f"a device is a name or a Device, not {type(name).__name__}")
    present = backend.devices()
    if wanted not in present:
        raise DeviceError(f"there is no {wanted}: found {', '.join(map(str, present))}")
    return wanted


def available_devices() -> list[Device]:
    """The devices of this machine, the CPU first.

    Looks for GPUs, for which it imports CuPy where that is installed.  The strict stand-in, which
    is always there, is not listed.
    """
    found: list[Device] = []
    for kind, declared in _declared.items():
        if declared.listed:
            try:
                found += backend_named(kind).devices()
            except DeviceError:  # not installed, or no such hardware: device(kind) tells which
                continue
    return found
