"""Random numbers: one explicit generator per device, seeded together, saved and restored as data.

A generator's algorithm belongs to its device, so one seed gives one stream, bit for bit, on every
machine with that kind of device; streams of different kinds differ.  On the CPU it is NumPy's
PCG64.  States are dictionaries of numbers and strings that JSON can hold, so that a training run
can be stopped, saved and continued with the same bits.

Masks (`bernoulli`) are always decided in float32, whatever dtype they are wanted in: the same
network in float32 and in float64 drops the same units.
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

__all__ = ["Generator", "NumpyStream", "generator", "manual_seed", "watched_draws"]

ShapeLike = int | tuple[int, ...]


class NumpyStream:
    """NumPy's Generator over PCG64."""

    algorithm = "PCG64"

    def __init__(self, sequence: np.random.SeedSequence) -> None:
        self._bits = np.random.PCG64(sequence)
        self._draw = np.random.Generator(self._bits)

    def uniform(self, shape: tuple[int, ...], dtype: np.dtype[Any], out: Any) -> Any:
        return self._draw.random(shape, dtype=dtype, out=out)

    def normal(self, shape: tuple[int, ...], dtype: np.dtype[Any], out: Any) -> Any:
        return self._draw.standard_normal(shape, dtype=dtype, out=out)

    def integers(self, low: int, high: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        return np.asarray(self._draw.integers(low, high, shape, dtype=dtype))

    def permutation(self, n: int) -> Any:
        return self._draw.permutation(n)

    def get_state(self) -> dict[str, Any]:
        return dict(self._bits.state)

    def set_state(self, state: dict[str, Any]) -> None:
        self._bits.state = cast("Any", state)


_watcher: ContextVar[Callable[[Any], None] | None] = ContextVar("tapegrad_draws", default=None)


@contextmanager
def watched_draws(watcher: Callable[[Any], None]) -> Iterator[None]:
    """A context in which `watcher`, and those outside it, get each generator before it draws."""
    outer = _watcher.get()

    def both(generator: Any) -> None:
        watcher(generator)
        if outer is not None:
            outer(generator)

    token = _watcher.set(both)
    try:
        yield
    finally:
        _watcher.reset(token)


class Generator:
    """A stream of random numbers on one device.

    device: where its arrays are made, "cpu" when omitted
    seed:   a whole number ≥ 0; fresh entropy from the operating system when None

    Same seed and same calls give the same bits.  Generators are hashable (by identity) and can be
    pickled and deep-copied with their state.  Raises DeviceError for a device that is not there.
    """

    def __init__(self, device: str | Device = "cpu", seed: int | None = None) -> None:
        self._device = _present(device)
        self._xp = backend_named(self._device.kind).xp
        self.seed(seed)

    @property
    def device(self) -> Device:
        """Where its arrays are made."""
        return self._device

    def __repr__(self) -> str:
        return f"Generator({str(self._device)!r}, {self._stream.algorithm})"

    def seed(self, seed: int | None) -> None:
        """Start anew from `seed`, as a new Generator would; other holders of this one notice."""
        if seed is not None:
            seed = _natural(seed, "a seed")
        self._begin(np.random.SeedSequence(seed))

    def _begin(self, sequence: np.random.SeedSequence) -> None:
        self._sequence = sequence
        self._stream = backend_named(self._device.kind).stream(self._device, sequence)

    # Drawing ---------------------------------------------------------------------------------

    def uniform(
        self,
        shape: ShapeLike = (),
        dtype: Any = np.float32,
        *,
        low: float = 0.0,
        high: float = 1.0,
        out: Any = None,
    ) -> Any:
        """Independent draws from U[low, high), of `shape` and `dtype` (float16, float32, float64).

        They are equally spaced: by 2⁻¹¹, 2⁻²⁴ or 2⁻⁵³ of the range; scaling may round one up to
        `high`, except for the default range.  `out` receives them if given.
        Raises TypeError for another dtype, ValueError unless low ≤ high and high - low is finite.
        """
        shape, dtype = _shape(shape), _floating(dtype)
        if not (low <= high and math.isfinite(high - low)):
            raise ValueError(f"uniform: need low ≤ high and a finite range, not [{low}, {high})")
        y = self._standard("uniform", shape, dtype, out)
        if low != 0.0 or high != 1.0:
            y *= high - low
            y += low
        return self._delivered(y, out)

    def normal(
        self,
        shape: ShapeLike = (),
        dtype: Any = np.float32,
        *,
        mean: float = 0.0,
        std: float = 1.0,
        out: Any = None,
    ) -> Any:
        """Independent draws from N(mean, std²), of `shape` and `dtype` (float16, float32, float64).

        `out` receives them if given.
        Raises TypeError for another dtype, ValueError unless std ≥ 0.
        """
        shape, dtype = _shape(shape), _floating(dtype)
        if not std >= 0.0:
            raise ValueError(f"normal: the standard deviation must be ≥ 0, not {std}")
        y = self._standard("normal", shape, dtype, out)
        if std != 1.0:
            y *= std
        if mean != 0.0:
            y += mean
        return self._delivered(y, out)

    def bernoulli(
        self, p: Any = 0.5, shape: ShapeLike = (), dtype: Any = np.float32, *, out: Any = None
    ) -> Any:
        """Independent draws that are 1 with probability p, else 0, of `shape` and any `dtype`.

        p: a number in [0, 1], or an array of such on this device that broadcasts to `shape`;
        rounded to multiples of 2⁻²⁴.  `out` receives the draws if given.
        Raises ValueError for a number outside [0, 1]; the entries of an array are not looked at.
        """
        shape, dtype = _shape(shape), np.dtype(dtype)
        if isinstance(p, (int, float, np.generic)):
            p = float(p)
            if not 0.0 <= p <= 1.0:
                raise ValueError(f"bernoulli: p is a probability, between 0 and 1, not {p}")
        elif p.ndim > len(shape) or any(
            n not in {1, m} for n, m in zip(p.shape[::-1], shape[::-1], strict=False)
        ):
            raise ValueError(f"bernoulli: p of shape {p.shape} does not broadcast to {shape}")
        self._check_out(shape, dtype, out)
        self._about_to_draw()
        chosen = self._stream.uniform(shape, np.dtype(np.float32), None) < p
        return self._delivered(self._xp.asarray(chosen, dtype=dtype), out)

    def integers(self, low: int, high: int, shape: ShapeLike = (), dtype: Any = np.int64) -> Any:
        """Independent whole numbers from low to high - 1, all equally likely, of `shape`.

        Raises ValueError when low ≥ high or `dtype` cannot hold them, TypeError for a dtype that is
        not an integer one.
        """
        low, high = operator.index(low), operator.index(high)
        shape, dtype = _shape(shape), np.dtype(dtype)
        if dtype.kind not in "iu":
            raise TypeError(f"integers: the dtype must be an integer one, not {dtype}")
        limits = np.iinfo(dtype)
        if not limits.min <= low < high <= int(limits.max) + 1:
            raise ValueError(f"integers: need low < high within {dtype}, not {low} and {high}")
        self._about_to_draw()
        return self._stream.integers(low, high, shape, dtype)

    def permutation(self, n: int) -> Any:
        """The numbers 0 … n - 1 in random order, int64, shape (n,); all orders equally likely."""
        n = _natural(n, "the length of a permutation")
        self._about_to_draw()
        return self._stream.permutation(n)

    def _about_to_draw(self) -> None:
        watcher = _watcher.get()
        if watcher is not None:
            watcher(self)

    def _standard(self, what: str, shape: tuple[int, ...], dtype: np.dtype[Any], out: Any) -> Any:
        """Draws of the standard distribution: `out` itself where that can be drawn into."""
        self._check_out(shape, dtype, out)
        self._about_to_draw()
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

    def _check_out(self, shape: tuple[int, ...], dtype: np.dtype[Any], out: Any) -> None:
        if out is None:
            return
        if backend_of(out).device_of(out) != self._device:
            raise ValueError(f"out is on {backend_of(out).device_of(out)}, not {self._device}")
        if out.shape != shape or out.dtype != dtype:
            raise ValueError(
                f"out is {out.dtype} of shape {out.shape}; drawn are {dtype} of shape {shape}"
            )

    @staticmethod
    def _delivered(y: Any, out: Any) -> Any:
        if out is None or y is out:
            return y
        out[...] = y
        return out

    # State -------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Everything that decides what is drawn and spawned next; `json.dumps` takes it."""
        return {
            "algorithm": self._stream.algorithm,
            "entropy": self._sequence.entropy,
            "spawn_key": [int(word) for word in self._sequence.spawn_key],
            "spawned": self._sequence.n_children_spawned,
            "stream": self._stream.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where the generator stood that `state` was taken of.

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
        """Another generator that will draw the same numbers."""
        twin = Generator(self._device, 0)
        twin.set_state(self.get_state())
        return twin

    def spawn(self, n: int) -> list[Generator]:
        """`n` generators on this device, independent of this one and of each other.

        Which they are depends on the seed and on how many were spawned before, not on what was
        drawn.
        """
        self._about_to_draw()
        children = []
        for sequence in self._sequence.spawn(n):
            child = Generator(self._device, 0)
            child._begin(sequence)
            children.append(child)
        return children

    def __getstate__(self) -> dict[str, Any]:
        return {"device": str(self._device), "state": self.get_state()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__init__(saved["device"], 0)  # type: ignore[misc]  # an instance that __new__ left bare
        self.set_state(saved["state"])


def _present(name: str | Device) -> Device:
    return device(name)


def _natural(n: Any, what: str) -> int:
    number = operator.index(n)
    if number < 0:
        raise ValueError(f"{what} is a whole number ≥ 0, not {number}")
    return number


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, (tuple, list)):
        shape = (shape,)
    lengths = tuple(operator.index(n) for n in shape)
    if any(n < 0 for n in lengths):
        raise ValueError(f"a shape has lengths ≥ 0, not {lengths}")
    return lengths


_FLOATS = frozenset({np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)})


def _floating(dtype: Any) -> np.dtype[Any]:
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

    Seeded by `manual_seed` where that has been called, before or after; else by the operating
    system.
    """
    where = _present(device)
    known = _defaults.get(where)
    if known is None:
        with _lock:
            known = _defaults.get(where)
            if known is None:
                known = _defaults[where] = Generator(where, _seed[0])
    return known


def manual_seed(seed: int) -> None:
    """Seed the default generators of all devices, those not used yet included.

    Raises TypeError for what is no whole number, ValueError for a negative one.
    """
    seed = _natural(seed, "a seed")
    with _lock:
        _seed[0] = seed
        for known in _defaults.values():
            known.seed(seed)
