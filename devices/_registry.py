"""The table of array libraries, and the devices that they bring.

A library is declared once, as a `Backend`: its array type, its namespace, transfers, memory
figures, random numbers.  Everything else looks the backend up by the array's type, so supporting
another library takes one call of `register_backend` and no other change.  A backend is loaded when
a device of its kind is named, or when one of its arrays is met, which requires that somebody has
imported the library: so CuPy is never imported for a user who does not use it.

Types are matched exactly.  Subclasses of ndarray (masked arrays, matrices) give other meanings to
the same operators, and are refused.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, Self

import numpy as np

from tapegrad.devices._errors import TapegradError

if TYPE_CHECKING:
    from tapegrad.devices._types import Array, Namespace, Shape

__all__ = [
    "Backend",
    "CaptureError",
    "Device",
    "DeviceError",
    "Launcher",
    "MemoryInfo",
    "RandomStream",
    "address_of",
    "available_devices",
    "backend_named",
    "backend_of",
    "device",
    "device_of",
    "is_array",
    "launcher_of",
    "namespace",
    "register_backend",
]


class DeviceError(TapegradError, TypeError, RuntimeError):
    """Arrays of different devices were used in one call, or a device is not there.

    It is a TypeError, which Python's operators raise for operands that do not go together, and a
    RuntimeError, because a machine without a GPU is no mistake in the program.
    """


class MemoryInfo(NamedTuple):
    """Bytes of memory of a device; None where the platform does not tell a figure.

    total: the memory of the device
    used:  the memory that this process holds (CPU: its resident set; cuda: live arrays in CuPy's
           pool)
    free:  the memory that can still be allocated (cuda: including the pool's cached blocks)
    peak:  the largest value of `used` since the process started
    """

    total: int | None
    used: int | None
    free: int | None
    peak: int | None


class Device:
    """A device whose memory holds arrays: `device("cpu")`, `device("cuda:0")`.

    Devices are immutable and hashable.

    kind:  "cpu", "cuda", "strict" or the name of a registered backend
    index: number of the device among its kind, None where there is only one

    The constructor does not check that the device is there, so that a pickled Device can be read
    anywhere; the function `device` checks.  ``with device("cuda:1"):`` makes it CuPy's current
    device; for other kinds it does nothing.
    """

    __slots__ = ("_index", "_kind")

    _kind: str
    _index: int | None

    def __init__(self, kind: str, index: int | None = None) -> None:
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_index", index)

    @property
    def kind(self) -> str:
        """The name of its backend."""
        return self._kind

    @property
    def index(self) -> int | None:
        """The number of the device among those of its kind, None where there is only one."""
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
    """The open contexts of this thread's `with device:` blocks, innermost last."""

    def __init__(self) -> None:
        self.stack: list[AbstractContextManager[Any]] = []


_entered = _Entered()


def _no_wait(_: Device) -> None:
    """`synchronize` of a library whose calls finish before they return."""


def _no_context(_: Device) -> AbstractContextManager[Any]:
    return nullcontext()


class RandomStream(Protocol):
    """The random numbers of a backend.  `dtype` is float32 or float64, `out` is contiguous."""

    algorithm: str

    def uniform(self, shape: Shape, dtype: np.dtype[Any], out: Array | None) -> Array:
        """Draws from U[0, 1), written into `out` unless that is None."""

    def normal(self, shape: Shape, dtype: np.dtype[Any], out: Array | None) -> Array:
        """Draws from N(0, 1), written into `out` unless that is None."""

    def integers(self, low: int, high: int, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """Integers from low to high - 1, all equally likely."""

    def permutation(self, n: int) -> Array:
        """The numbers 0 … n - 1 in random order, int64."""

    def get_state(self) -> dict[str, Any]:
        """Everything that decides what is drawn next, in types that JSON has."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that `get_state` returned."""


class CaptureError(TapegradError, RuntimeError):
    """A library does not let calls be recorded; its own error is the cause."""


class Launcher(Protocol):
    """What runs generated kernels on a device, and records calls to repeat them at once."""

    def compile(self, source: str, name: str) -> Callable[[int, int, tuple[Any, ...]], None]:
        """The kernel `name` of a text in CUDA C: a function of (blocks, threads, arguments)."""

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """Record the work that `run` starts, without doing it, and return what does it.

        What `run` allocates stays allocated while the returned function lives.  Raises
        CaptureError where the library cannot record what `run` starts.
        """

    def is_capturing(self) -> bool:
        """Whether this thread is within `capture`, where nothing may be done for one call only."""


@dataclass(frozen=True)
class Backend:
    """The declaration of one array library.

    kind:        the word before the colon in the names of its devices
    array_type:  the type of its arrays, matched exactly
    xp:          its namespace, which the bodies of primitives get as `xp`
    device_of:   array -> Device
    devices:     () -> the devices that are there; raises DeviceError saying why there are none
    current:     () -> the device that `kind` without a number means
    from_numpy:  (ndarray, Device) -> new array on that device, sharing no memory with the ndarray
                 unless the device is the CPU
    to_numpy:    array -> ndarray, a copy unless the device is the CPU
    move:        (array, Device) -> the array on another device of the same kind
    memory:      Device -> MemoryInfo
    stream:      (Device, SeedSequence) -> the random numbers of that device (see `RandomStream`)
    synchronize: Device -> None; waits until all work that was started on the device is done
    activate:    Device -> context manager in which it is the library's current device
    numbered:    whether its devices have numbers; arrays of two such devices cannot be mixed
    launcher:    what runs generated kernels, None where the library has nothing of that kind
    address:     array -> the address of its first entry; None where the protocols of arrays tell it
    """

    kind: str
    array_type: type
    xp: Namespace
    device_of: Callable[[Array], Device]
    devices: Callable[[], list[Device]]
    current: Callable[[], Device]
    from_numpy: Callable[[np.ndarray[Any, Any], Device], Array]
    to_numpy: Callable[[Array], np.ndarray[Any, Any]]
    move: Callable[[Array, Device], Array]
    memory: Callable[[Device], MemoryInfo]
    stream: Callable[[Device, np.random.SeedSequence], RandomStream]
    synchronize: Callable[[Device], None] = _no_wait
    activate: Callable[[Device], AbstractContextManager[Any]] = _no_context
    numbered: bool = False
    launcher: Launcher | None = None
    address: Callable[[Array], int] | None = None


class _Declaration(NamedTuple):
    load: Callable[[], Backend]
    module: str
    listed: bool


_declared: dict[str, _Declaration] = {}
_loaded: dict[str, Backend] = {}
_by_type: dict[type, Backend] = {}
_pending: dict[str, str] = {}  # module of the array type -> kind, of backends not loaded yet


def register_backend(
    kind: str, load: Callable[[], Backend], *, module: str, listed: bool = True
) -> None:
    """Declare an array library.

    kind:   the name of its devices, a lower-case word: "cuda" makes `device("cuda:0")` mean it
    load:   returns its Backend, and may import the library; called once, when first needed.
            It raises DeviceError, saying what is missing, where it cannot
    module: `__module__` of its array type, by which its arrays are recognised before it is loaded
    listed: whether its devices appear in `available_devices`
    Raises ValueError for a kind that is registered already or is no lower-case word.
    """
    if kind in _declared:
        raise ValueError(f"there is a backend called {kind!r} already")
    if not re.fullmatch(r"[a-z][a-z_]*", kind):
        raise ValueError(f"the name of a backend is a lower-case word, not {kind!r}")
    _declared[kind] = _Declaration(load, module, listed)
    _pending[module] = kind


def backend_named(kind: str) -> Backend:
    """The backend of the devices called `kind`, which is loaded if it has not been.

    Raises ValueError for an unknown name, DeviceError where the library is not installed.
    """
    loaded = _loaded.get(kind)
    if loaded is not None:
        return loaded
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
    backend = _by_type.get(array_type)
    if backend is None and array_type.__module__ in _pending:
        backend_named(_pending[array_type.__module__])
        backend = _by_type.get(array_type)
    return backend


def backend_of(array: Array) -> Backend:
    """The backend of `array`; NumPy's scalars count as arrays of the CPU.

    Raises TypeError for anything else.
    """
    backend = _backend_of_type(type(array))
    if backend is not None:
        return backend
    if isinstance(array, np.generic):
        return _loaded["cpu"]
    raise TypeError(_NOT_AN_ARRAY.format(**_describe_non_array(array)))


_NOT_AN_ARRAY = "{name} is not an array of a known library{hint}"


def _describe_non_array(x: Any) -> dict[str, str]:
    if isinstance(x, np.ndarray):
        hint = ": subclasses of ndarray are not taken for arrays; convert with np.asarray(x)"
    elif hasattr(type(x), "tracked"):
        hint = ": this function takes bare arrays; a Tensor's is its .data"
    else:
        hint = ""
    return {"name": f"{type(x).__module__}.{type(x).__qualname__}", "hint": hint}


# Arrays ------------------------------------------------------------------------------------------

_NUMBERS = frozenset({bool, int, float, complex, type(None)})


def namespace(*arrays: Array | complex | None) -> Namespace:
    """The array module of `arrays`: `numpy`, `cupy`, or that of another registered library.

    Numbers, NumPy's scalars and None go with every library; without an array it is `numpy`.
    Raises DeviceError for arrays of different devices, TypeError for anything that is no array.
    """
    for array in arrays:
        if type(array) is not np.ndarray:
            return _common_namespace(arrays)
    return np


def _common_namespace(arrays: tuple[Any, ...]) -> Namespace:
    """`namespace` of arrays that are not all NumPy's."""
    common: Backend | None = None
    first: Any = None
    for array in arrays:
        if type(array) in _NUMBERS:
            continue
        backend = _backend_of_type(type(array))
        if backend is None:
            if isinstance(array, (np.generic, int, float, complex)):
                continue
            raise TypeError(_NOT_AN_ARRAY.format(**_describe_non_array(array)))
        if common is None:
            common, first = backend, array
        elif backend is not common or (
            backend.numbered and backend.device_of(array) != backend.device_of(first)
        ):
            raise DeviceError(_MIXED.format(a=common.device_of(first), b=backend.device_of(array)))
    return np if common is None else common.xp


_MIXED = (
    "arrays on {a} and on {b} meet in one call: move one to the other's device first,"
    " x.to('{a}') or x.to('{b}')"
)


def is_array(x: Any) -> bool:
    """Is `x` an array of a registered library?  Numbers, Tensors, subclasses of ndarray are not."""
    return type(x) is np.ndarray or _backend_of_type(type(x)) is not None


def device_of(array: Array) -> Device:
    """The device that holds `array`.  Raises TypeError for anything that is no array."""
    return backend_of(array).device_of(array)


def launcher_of(array: Array) -> Launcher | None:
    """What runs generated kernels on the device of `array`; None where nothing does.

    Raises TypeError for anything that is no array.
    """
    return backend_of(array).launcher


def address_of(array: Array) -> int | None:
    """The memory address of the first entry of `array`; None if its library does not tell."""
    backend = _by_type.get(type(array))
    if backend is not None and backend.address is not None:
        return backend.address(array)
    for protocol in ("__array_interface__", "__cuda_array_interface__"):
        interface = getattr(array, protocol, None)
        if interface is not None:
            return int(interface["data"][0])
    return None


_NAME = re.compile(r"([a-z][a-z_]*)(?::(\d+))?")


def device(name: str | Device) -> Device:
    """The device called `name`: "cpu", "cuda" (CuPy's current one), "cuda:1", "strict", …

    Raises DeviceError when the device is not there, saying what to install or what was found
    instead; ValueError for an unknown name, TypeError for anything but a name or a Device.
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

    To look for GPUs it imports CuPy, where that is installed.  The strict stand-in, which is always
    there, is not listed.
    """
    available: list[Device] = []
    for kind, declared in _declared.items():
        if declared.listed:
            try:
                available += backend_named(kind).devices()
            except DeviceError:  # not installed, or no such hardware: device(kind) tells which
                continue
    return available
