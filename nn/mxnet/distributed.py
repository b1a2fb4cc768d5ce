"""Stores whose workers are the ranks of mpiexec: dist_sync, dist_device_sync, dist_async, nccl.

There are no servers.  A synchronous push sums over the ranks, and each makes the update that a
server would make; the parameters stay equal.  An asynchronous push changes memory that all ranks
reach, when it comes.  Source: mx.kvstore, ps-lite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.devices import collectives
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.kvstore import KVStore, key_number, key_pairs, register_store
from tapegrad.nn.mxnet.optimizer.base import Updater

if TYPE_CHECKING:
    from tapegrad.devices.collectives import RankGroup, Window
    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
    from tapegrad.nn.mxnet.types import Key, Keys, StoreValues

__all__ = ["AsyncStore", "SyncStore", "TwoBitRounding"]

UNKNOWN = "gradient compression is {{'type': '2bit', 'threshold': t > 0}}, not {found}"
NO_UPDATER = "a dist_async store updates with an optimizer: set_optimizer(…), no other updater"


class TwoBitRounding:
    """Gradients as -t, 0 or t; what that leaves over is added to the next gradient.

    threshold: t > 0.  Raises MXNetError for another.  Source: mx.kvstore, gradient compression
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        threshold = float(settings.get("threshold", 0.5))
        if settings.get("type") != "2bit" or not threshold > 0:
            raise MXNetError(UNKNOWN.format(found=dict(settings)))
        self.threshold = threshold
        self._left: dict[Any, Any] = {}

    def __call__(self, key: Any, gradient: NDArray) -> NDArray:
        """Round the gradient of a key."""
        data = gradient.tensor.data
        xp = devices.namespace(data)
        left = self._left.get(key)
        total = data if left is None else data + left
        t = self.threshold
        rounded = xp.where(total >= t, t, xp.where(total <= -t, -t, 0)).astype(data.dtype)
        self._left[key] = total - rounded
        result = gradient.copy()
        result.tensor.data[...] = rounded
        return result


class _RankStore(KVStore):
    """A store of several ranks."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.group: RankGroup = collectives.current()
        self._rounding: TwoBitRounding | None = None

    @property
    def rank(self) -> int:
        """The number of this worker."""
        return self.group.rank

    @property
    def num_workers(self) -> int:
        """The number of workers."""
        return self.group.size

    def barrier(self) -> None:
        """Return when all workers have come here."""
        self.group.barrier()

    _barrier = barrier

    def set_gradient_compression(self, compression_params: Mapping[str, Any]) -> None:
        """Round gradients to 2 bits.  Raises MXNetError for another kind of compression."""
        self._rounding = TwoBitRounding(compression_params)
        super().set_gradient_compression(compression_params)

    def init(self, key: Keys, value: StoreValues) -> None:
        """Enter first values, those of rank 0.  Raises MXNetError for a key that is there."""
        super().init(key, value)
        for k, _ in key_pairs(key, value):
            self._begin(k)

    def init_parameters(
        self,
        names: Sequence[str],
        arrays: Sequence[Sequence[NDArray]],
        params: Mapping[str, NDArray],
        on_store: bool,
    ) -> None:
        """Enter a Module's parameters, those of rank 0, and give them to every context."""
        for name, on_contexts in zip(names, arrays, strict=True):
            if name not in self._stored:
                self._stored[name] = params[name].copy()
                self._begin(name)
            self.pull(name, list(on_contexts))

    def _begin(self, key: Any) -> None:
        """Let a new key have rank 0's value."""
        self.group.broadcast(self._stored[key].tensor.data)

    def _rounded_sum(self, key: Key, arrays: Sequence[NDArray]) -> NDArray:
        total = self._summed(arrays)
        return total if self._rounding is None else self._rounding(key, total)


class SyncStore(_RankStore):
    """A store whose pushes wait for all workers, and sum what they push."""

    def _pushed(self, key: Key, arrays: Sequence[NDArray]) -> NDArray:
        total = self._rounded_sum(key, arrays)
        if total is arrays[0]:
            total = total.copy()
        self.group.all_reduce(total.tensor.data)
        return total


class AsyncStore(_RankStore):
    """A store whose pushes wait for nobody: each updates what is there when it comes.

    The parameters of a key, and its optimizer's state, are in the memory of one rank, which every
    rank changes by itself, one at a time.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self._windows: dict[Any, Window] = {}

    def _begin(self, key: Any) -> None:
        self._open(key)

    def _open(self, key: Any) -> None:
        """Open memory for a key, with what this store has of it; keys take turns in whose it is."""
        owner = list(self._stored).index(key) % self.group.size
        self._windows[key] = self.group.window(self._packed(key, 0), owner)

    def _arrays(self, key: Any) -> list[Any]:
        """The parameter and the arrays of its optimizer's state."""
        states = self._updater.states.get(key_number(key)) if self._updater else None
        return [self._stored[key].tensor.data, *_leaves(states)]

    def _packed(self, key: Any, count: int) -> Any:
        parts = [np.array([count], np.int64), *map(devices.to_numpy, self._arrays(key))]
        return np.concatenate([np.ascontiguousarray(p).reshape(-1).view(np.uint8) for p in parts])

    def _unpack(self, key: Any, content: Any) -> int:
        """Set parameter and state from a window's content; return the number of updates."""
        count, start = int(content[:8].view(np.int64)[0]), 8
        for array in self._arrays(key):
            stop = start + array.nbytes
            value = content[start:stop].view(array.dtype).reshape(array.shape)
            array[...] = devices.to_device(value, devices.device_of(array))
            start = stop
        return count

    def _set_updater(self, updater: Any) -> None:
        if not isinstance(updater, Updater):
            raise MXNetError(NO_UPDATER)
        for key, window in self._windows.items():
            self._unpack(key, window.read())
        super()._set_updater(updater)
        for key, stored in self._stored.items():
            number = key_number(key)
            updater.states[number] = updater.optimizer.create_state_multi_precision(number, stored)
            updater.states_synced[number] = True
            self._open(key)

    def _pushed(self, key: Key, arrays: Sequence[NDArray]) -> NDArray:
        return self._rounded_sum(key, arrays)

    def _receive(self, key: Key, merged: NDArray) -> None:
        stored, number = self._get(key), key_number(key)

        def change(content: Any) -> None:
            count = self._unpack(key, content)
            if self._updater is None:
                stored[:] = merged
            else:
                # the optimizer counts the updates of all workers
                self._updater.optimizer.set_update_count(number, count)
                self._updater(number, merged.as_in_context(stored.context), stored)
            content[...] = self._packed(key, count + 1)

        self._windows[key].update(change)

    def pull(
        self,
        key: Keys,
        out: StoreValues | None = None,
        priority: int = 0,
        ignore_sparse: bool = True,
    ) -> None:
        """Copy what the parameters are now into `out`.  Raises MXNetError for an unknown key."""
        for k, _ in key_pairs(key, out):
            self._get(k)
            self._unpack(k, self._windows[k].read())
        super().pull(key, out, priority, ignore_sparse)

    def pull_into(self, params: Mapping[str, NDArray]) -> None:
        """Copy what the parameters are now into a Module's own."""
        for name in params:
            if name in self._stored:
                self._unpack(name, self._windows[name].read())
        super().pull_into(params)


def _leaves(states: Any) -> list[Any]:
    """The arrays of a parameter's state, which is None, an NDArray, or a nest of them."""
    if states is None:
        return []
    if isinstance(states, (list, tuple)):
        return [array for state in states for array in _leaves(state)]
    return [states.tensor.data]


def _make(kind: str) -> KVStore:
    asynchronous: Callable[[str], KVStore] = AsyncStore
    return asynchronous(kind) if "_async" in kind else SyncStore(kind)


register_store("dist")(_make)
register_store("nccl")(_make)
