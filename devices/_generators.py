"""Random numbers: one explicit generator per device, seeded together, saved and restored as data.

The kind of device decides the algorithm, so one seed gives the same bits on every machine with that
kind of device; different kinds give different numbers.  The CPU uses NumPy's PCG64.  States are
dictionaries of numbers and strings that JSON can hold, so that a training run can be stopped, saved
and continued with the same bits.

`bernoulli` always compares in float32, whatever dtype is asked for: so the same network in float32
and in float64 drops the same units.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import numpy as np

from tapegrad.devices._registry import Device, backend_named, backend_of, device
from tapegrad.devices._types import Array, DTypeLike, Shape

__all__ = ["Generator", "NumpyStream", "generator", "manual_seed", "watched_draws"]

# What methods take as a shape: the lengths of the axes, or the length of the only axis.
ShapeLike = int | Shape


class NumpyStream:
    """The random stream of the CPU: NumPy's Generator over PCG64.  See `RandomStream`."""

    algorithm = "PCG64"

    def __init__(self, sequence: np.random.SeedSequence) -> None:
        self._bits = np.random.PCG64(sequence)
        self._draw = np.random.Generator(self._bits)

    def uniform(self, shape: Shape, dtype: np.dtype[Any], out: Array | None) -> Array:
        return self._draw.random(shape, dtype=dtype, out=out)

    def normal(self, shape: Shape, dtype: np.dtype[Any], out: Array | None) -> Array:
        return self._draw.standard_normal(shape, dtype=dtype, out=out)

    def integers(self, low: int, high: int, shape: Shape, dtype: np.dtype[Any]) -> Array:
        return np.asarray(self._draw.integers(low, high, shape, dtype=dtype))

    def permutation(self, n: int) -> Array:
        return self._draw.permutation(n)

    def get_state(self) -> dict[str, Any]:
        return dict(self._bits.state)

    def set_state(self, state: dict[str, Any]) -> None:
        self._bits.state = cast("Any", state)


_watcher: ContextVar[Callable[[Generator], None] | None] = ContextVar(
    "tapegrad_draws", default=None
)


@contextmanager
def watched_draws(watcher: Callable[[Generator], None]) -> Iterator[None]:
    """A context in which `watcher` is called with each generator before it draws.

    Watchers of contexts around this one are called as well.
    """
    outer = _watcher.get()

    def call_watchers(generator: Generator) -> None:
        watcher(generator)
        if outer is not None:
            outer(generator)

    token = _watcher.set(call_watchers)
    try:
        yield
    finally:
        _watcher.reset(token)


class Generator:
    """A stream of random numbers on one device.

    device: the device of the arrays that it makes, "cpu" when omitted
    seed:   an integer ≥ 0; fresh entropy from the operating system when None

    Equal seeds and equal calls give equal bits.  Generators are hashable (by identity) and can be
    pickled and deep-copied with their state.  Raises DeviceError for a device that is not there.
    """

    def __init__(self, device: str | Device = "cpu", seed: int | None = None) -> None:
        self._device = _device_named(device)
        self._xp = backend_named(self._device.kind).xp
        self.seed(seed)

    @property
    def device(self) -> Device:
        """The device of the arrays that it makes."""
        return self._device

    def __repr__(self) -> str:
        return f"Generator({str(self._device)!r}, {self._stream.algorithm})"

    def seed(self, seed: int | None) -> None:
        """Start again from `seed`, as a new Generator does."""
        if seed is not None:
            seed = _nonnegative_integer(seed, "a seed")
        self._start_from(np.random.SeedSequence(seed))

    def _start_from(self, sequence: np.random.SeedSequence) -> None:
        self._sequence = sequence
        self._stream = backend_named(self._device.kind).stream(self._device, sequence)

    # Drawing ---------------------------------------------------------------------------------

    def uniform(
        self,
        shape: ShapeLike = (),
        dtype: DTypeLike = np.float32,
        *,
        low: float = 0.0,
        high: float = 1.0,
        out: Array | None = None,
    ) -> Array:
        """Independent draws from U[low, high), of `shape` and `dtype` (float16, float32, float64).

        The values are equally spaced: by 2⁻¹¹, 2⁻²⁴ or 2⁻⁵³ of the range; scaling may round one up
        to `high`, except for the default range.  `out` receives the draws if given.
        Raises TypeError for another dtype, ValueError unless low ≤ high and high - low is finite.
        """
        shape, dtype = _as_shape(shape), _floating_dtype(dtype)
        if not (low <= high and math.isfinite(high - low)):
            raise ValueError(f"uniform: need low ≤ high and a finite range, not [{low}, {high})")
        y = self._draw_standard("uniform", shape, dtype, out)
        if low != 0.0 or high != 1.0:
            y *= high - low
            y += low
        return self._into_out(y, out)

    def normal(
        self,
        shape: ShapeLike = (),
        dtype: DTypeLike = np.float32,
        *,
        mean: float = 0.0,
        std: float = 1.0,
        out: Array | None = None,
    ) -> Array:
        """Independent draws from N(mean, std²), of `shape` and `dtype` (float16, float32, float64).

        `out` receives the draws if given.
        Raises TypeError for another dtype, ValueError unless std ≥ 0.
        """
        shape, dtype = _as_shape(shape), _floating_dtype(dtype)
        if not std >= 0.0:
            raise ValueError(f"normal: the standard deviation must be ≥ 0, not {std}")
        y = self._draw_standard("normal", shape, dtype, out)
        if std != 1.0:
            y *= std
        if mean != 0.0:
            y += mean
        return self._into_out(y, out)

    def bernoulli(
        self,
        p: float | Array = 0.5,
        shape: ShapeLike = (),
        dtype: DTypeLike = np.float32,
        *,
        out: Array | None = None,
    ) -> Array:
        """Independent draws, 1 with probability p and 0 otherwise, of `shape` and any `dtype`.

        p: a number in [0, 1], or an array of such on this device that broadcasts to `shape`;
        rounded to multiples of 2⁻²⁴.  `out` receives the draws if given.
        Raises ValueError for a number outside [0, 1]; the entries of an array are not looked at.
        """
        shape, dtype = _as_shape(shape), np.dtype(dtype)
        if isinstance(p, (int, float, np.generic)):
            p = float(p)
            if not 0.0 <= p <= 1.0:
                raise ValueError(f"bernoulli: p is a probability, between 0 and 1, not {p}")
        elif p.ndim > len(shape) or any(
            n not in {1, m} for n, m in zip(p.shape[::-1], shape[::-1], strict=False)
        ):
            raise ValueError(f"bernoulli: p of shape {p.shape} does not broadcast to {shape}")
        self._check_out(shape, dtype, out)
        self._notify_watcher()
        chosen = self._stream.uniform(shape, np.dtype(np.float32), None) < p
        return self._into_out(self._xp.asarray(chosen, dtype=dtype), out)

    def integers(
        self, low: int, high: int, shape: ShapeLike = (), dtype: DTypeLike = np.int64
    ) -> Array:
        """Independent integers from low to high - 1, all equally likely, of `shape`.

        Raises ValueError when low ≥ high or `dtype` cannot hold the integers, TypeError for a dtype
        that is not an integer one.
        """
        low, high = operator.index(low), operator.index(high)
        shape, dtype = _as_shape(shape), np.dtype(dtype)
        if dtype.kind not in "iu":
            raise TypeError(f"integers: the dtype must be an integer one, not {dtype}")
        limits = np.iinfo(dtype)
        if not limits.min <= low < high <= int(limits.max) + 1:
            raise ValueError(f"integers: need low < high within {dtype}, not {low} and {high}")
        self._notify_watcher()
        return self._stream.integers(low, high, shape, dtype)

    def permutation(self, n: int) -> Array:
        """The numbers 0 … n - 1 in random order, int64, shape (n,); all orders equally likely."""
        n = _nonnegative_integer(n, "the length of a permutation")
        self._notify_watcher()
        return self._stream.permutation(n)

    def _notify_watcher(self) -> None:
        watcher = _watcher.get()
        if watcher is not None:
            watcher(self)

    def _draw_standard(
        self, what: str, shape: tuple[int, ...], dtype: np.dtype[Any], out: Any
    ) -> Any:
        """Draws of the standard distribution: `out` itself where that can be drawn into."""
        self._check_out(shape, dtype, out)
        self._notify_watcher()
        draw = getattr(self._stream, what)
        if dtype.itemsize >= 4:
            into = out if out is not None and out.flags.c_contiguous else None
            return draw(shape, dtype, into)
        y = draw(shape, np.dtype(np.float32), None)
        if what == "uniform":
            # float16 has 11 bits: rounding would reach 1.0, which U[0, 1) excludes.
            y *= 2048.0
            self._xp.floor(y, out=y)
            y /= 2048.0
        return y.astype(dtype)

    def _check_out(self, shape: Shape, dtype: np.dtype[Any], out: Array | None) -> None:
        if out is None:
            return
        if backend_of(out).device_of(out) != self._device:
            raise ValueError(f"out is on {backend_of(out).device_of(out)}, not {self._device}")
        if out.shape != shape or out.dtype != dtype:
            raise ValueError(
                f"out is {out.dtype} of shape {out.shape}; drawn are {dtype} of shape {shape}"
            )

    @staticmethod
    def _into_out(y: Array, out: Array | None) -> Array:
        """y, copied into `out` where that is given and another array."""
        if out is None or y is out:
            return y
        out[...] = y
        return out

    # State -------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Everything that decides what is drawn and spawned next, in types that JSON has."""
        return {
            "algorithm": self._stream.algorithm,
            "entropy": self._sequence.entropy,
            "spawn_key": [int(word) for word in self._sequence.spawn_key],
            "spawned": self._sequence.n_children_spawned,
            "stream": self._stream.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that `get_state` returned, of this generator or another.

        Raises ValueError for the state of another algorithm, that is of another kind of device.
        """
        if state["algorithm"] != self._stream.algorithm:
            raise ValueError(
                f"a state of {state['algorithm']} does not fit a generator on {self._device},"
                f" which uses {self._stream.algorithm}"
            )
        self._sequence = np.random.SeedSequence(
            state["entropy"],
            spawn_key=tuple(state["spawn_key"]),
            n_children_spawned=state["spawned"],
        )
        self._stream.set_state(state["stream"])

    def copy(self) -> Generator:
        """A second generator with the same state, which draws the same numbers."""
        copy = Generator(self._device, 0)
        copy.set_state(self.get_state())
        return copy

    def spawn(self, n: int) -> list[Generator]:
        """`n` generators on this device, independent of this one and of each other.

        Their seeds depend on the seed of this one and on how many were spawned before, not on what
        was drawn.
        """
        self._notify_watcher()
        children = []
        for sequence in self._sequence.spawn(n):
            child = Generator(self._device, 0)
            child._start_from(sequence)
            children.append(child)
        return children

    def __getstate__(self) -> dict[str, Any]:
        return {"device": str(self._device), "state": self.get_state()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__init__(saved["device"], 0)  # type: ignore[misc]  # unpickling calls only __new__
        self.set_state(saved["state"])


def _device_named(name: str | Device) -> Device:
    """`device(name)`, for functions with an argument called `device`."""
    return device(name)


def _nonnegative_integer(n: Any, what: str) -> int:
    number = operator.index(n)
    if number < 0:
        raise ValueError(f"{what} is a whole number ≥ 0, not {number}")
    return number


def _as_shape(shape: Any) -> Shape:
    if not isinstance(shape, (tuple, list)):
        shape = (shape,)
    lengths = tuple(operator.index(n) for n in shape)
    if any(n < 0 for n in lengths):
        raise ValueError(f"a shape has lengths ≥ 0, not {lengths}")
    return lengths


_FLOATS = frozenset({np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)})


def _floating_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    wanted: np.dtype[Any] = np.dtype(dtype)
    if wanted not in _FLOATS:
        raise TypeError(f"drawn are float16, float32 and float64, not {wanted}")
    return wanted


# The default generators --------------------------------------------------------------------------

_defaults: dict[Device, Generator] = {}
_seed: list[int | None] = [None]
_lock = threading.Lock()


def generator(device: str | Device = "cpu") -> Generator:
    """The default generator of a device, always the same object.

    `manual_seed` seeds it, whether it is called before or after; without that the operating system
    does.
    """
    home = _device_named(device)
    default = _defaults.get(home)
    if default is None:
        with _lock:
            default = _defaults.get(home)
            if default is None:
                default = _defaults[home] = Generator(home, _seed[0])
    return default


def manual_seed(seed: int) -> None:
    """Seed the default generators of all devices, also those that have not been used yet.

    Raises TypeError for anything but an integer, ValueError for a negative one.

    >>> from tapegrad import nn
    >>> _ = manual_seed(0)
    >>> a = nn.Linear(2, 1).weight.numpy().copy()
    >>> _ = manual_seed(0)
    >>> np.array_equal(a, nn.Linear(2, 1).weight.numpy())
    True
    """
    seed = _nonnegative_integer(seed, "a seed")
    with _lock:
        _seed[0] = seed
        for default in _defaults.values():
            default.seed(seed)
