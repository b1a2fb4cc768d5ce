"""KVStore: the sum of the contexts' gradients, and the optimizer that works on it.

`local` and `device` sum on this machine; types whose name contains "dist" come from a registry that
other packages fill.  Source: mx.kvstore.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.nn.core.services import service
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, as_array
from tapegrad.nn.mxnet.optimizer.base import Optimizer, Updater, get_updater

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import Key, Keys, KVStoreLike, PathLike, StoreValues


__all__ = ["KVStore", "create", "for_module", "key_number", "key_pairs", "register_store"]

_LARGE = 16 * 1024 * 1024  # entries of a parameter from which each context updates for itself
_stores: dict[str, Callable[[str], KVStore]] = {}


def register_store(word: str) -> Callable[[Callable[[str], KVStore]], Callable[[str], KVStore]]:
    """Decorator: the function makes stores whose type contains `word`, as "dist"."""

    def enter(make: Callable[[str], KVStore]) -> Callable[[str], KVStore]:
        _stores[word] = make
        return make

    return enter


class KVStore:
    """Arrays by key; what is pushed to a key is summed, and given to the updater if there is."""

    def __init__(self, kind: str = "local"):
        self.type = kind
        self._stored: dict[Any, NDArray] = {}
        self._updater: Any = None
        self._compression: dict[str, Any] | None = None

    @property
    def rank(self) -> int:
        """The number of this worker."""
        return 0

    @property
    def num_workers(self) -> int:
        """The number of workers."""
        return 1

    @staticmethod
    def is_capable(capability: str) -> bool:
        """Whether the store has an optimizer of its own.  Raises MXNetError for another word."""
        if capability.lower() == "optimizer":
            return True
        raise MXNetError(f"Unknown capability: {capability}")

    def init(self, key: Keys, value: StoreValues) -> None:
        """Enter first values.  Raises MXNetError for a key that is there."""
        for k, arrays in key_pairs(key, value):
            if k in self._stored:
                raise MXNetError(f"duplicate init of key {k}")
            self._stored[k] = arrays[0].copy()

    def push(self, key: Keys, value: StoreValues, priority: int = 0) -> None:
        """Sum the arrays of each key; the updater works with the sum, else it is stored."""
        for k, arrays in key_pairs(key, value):
            self._receive(k, self._pushed(k, arrays))

    def _pushed(self, key: Key, arrays: Sequence[NDArray]) -> NDArray:
        """What a push of these arrays brings: their sum."""
        return self._summed(arrays)

    def _summed(self, arrays: Sequence[NDArray]) -> NDArray:
        if len(arrays) == 1:
            return arrays[0]
        total = arrays[0].copy()
        for x in arrays[1:]:
            total.tensor.data[...] += devices.to_device(x.tensor.data, total.tensor.device)
        return total

    def _receive(self, key: Key, merged: NDArray) -> None:
        stored = self._get(key)
        if self._updater is not None:
            self._updater(key_number(key), merged.as_in_context(stored.context), stored)
        else:
            stored[:] = merged

    def _get(self, key: Key) -> NDArray:
        if key not in self._stored:
            raise MXNetError(f"key {key} has not been inited")
        return self._stored[key]

    def pull(
        self,
        key: Keys,
        out: StoreValues | None = None,
        priority: int = 0,
        ignore_sparse: bool = True,
    ) -> None:
        """Copy the stored arrays into `out`.  Raises MXNetError for an unknown key."""
        for k, arrays in key_pairs(key, out):
            stored = self._get(k)
            for target in arrays:
                target[:] = stored

    def pushpull(
        self, key: Keys, value: StoreValues, out: StoreValues | None = None, priority: int = 0
    ) -> None:
        """push, then pull into `out` or into the arrays themselves."""
        self.push(key, value, priority)
        self.pull(key, value if out is None else out, priority)

    def broadcast(self, key: Keys, value: StoreValues, out: StoreValues, priority: int = 0) -> None:
        """init, then pull."""
        self.init(key, value)
        self.pull(key, out, priority)

    def row_sparse_pull(
        self, key: Keys, out: StoreValues | None = None, priority: int = 0, row_ids: object = None
    ) -> None:
        """pull; all rows are here."""
        self.pull(key, out, priority)

    def set_gradient_compression(self, compression_params: Mapping[str, Any]) -> None:
        """Round gradients to 2 bits.  Raises MXNetError where the store does not support it."""
        if "device" in self.type or "dist" in self.type:
            self._compression = dict(compression_params)
        else:
            raise MXNetError("Gradient compression is not supported for this type of kvstore")

    def set_optimizer(self, optimizer: Optimizer) -> None:
        """Update stored arrays with this optimizer at each push."""
        self._set_updater(get_updater(optimizer))

    def _set_updater(self, updater: Any) -> None:
        """Call `updater(key, sum, stored)` at each push."""
        self._updater = updater

    set_updater = _set_updater

    def save_optimizer_states(self, fname: PathLike, dump_optimizer: bool = False) -> None:
        """Write the optimizer's states.  Raises AssertionError without an optimizer."""
        if not isinstance(self._updater, Updater):
            raise AssertionError("Cannot save states for distributed training")  # noqa: TRY004  # MXNet's type
        service("mxnet.write_file")(fname, self._updater.get_states(dump_optimizer))

    def load_optimizer_states(self, fname: PathLike) -> None:
        """Read the optimizer's states.  Raises AssertionError without an optimizer, MXNetError."""
        if not isinstance(self._updater, Updater):
            raise AssertionError("Cannot load states for distributed training")  # noqa: TRY004  # MXNet's type
        self._updater.load_states(fname)

    save_states = save_optimizer_states
    load_states = load_optimizer_states

    # What a Module asks for

    def init_parameters(
        self,
        names: Sequence[str],
        arrays: Sequence[Sequence[NDArray]],
        params: Mapping[str, NDArray],
        on_store: bool,
    ) -> None:
        """Enter a Module's parameters, and give every context the stored values."""
        for name, on_contexts in zip(names, arrays, strict=True):
            if name not in self._stored:
                self._stored[name] = params[name].copy()
            if on_store:
                self.pull(name, list(on_contexts))

    def step(
        self,
        names: Sequence[str],
        pairs: Sequence[tuple[Sequence[NDArray], Sequence[NDArray | None]]],
        updater: Updater | None,
        on_store: bool | None,
    ) -> None:
        """One update: on the stored arrays, or by `updater` on every context with the sum."""
        count = len(pairs[0][0]) if pairs else 0
        for i, (name, (arrays, gradients)) in enumerate(zip(names, pairs, strict=True)):
            if gradients[0] is None:
                continue
            if on_store:
                self.push(name, list(gradients))  # type: ignore[arg-type]  # with the first all are there
                self.pull(name, list(arrays))
                continue
            self._stored[name] = self._pushed(name, [g for g in gradients if g is not None])
            for k, (weight, g) in enumerate(zip(arrays, gradients, strict=True)):
                assert g is not None
                g[:] = self._stored[name]
                updater(i * count + k, g, weight)  # type: ignore[misc]  # None only with on_store

    def pull_into(self, params: Mapping[str, NDArray]) -> None:
        """Copy the stored arrays into a Module's own."""
        for name, target in params.items():
            if name in self._stored:
                target[:] = self._stored[name]


def key_number(key: Any) -> Any:
    """Return the number of a key that is one in text, else the key."""
    return int(key) if isinstance(key, str) and key.isdigit() else key


def key_pairs(key: Any, value: Any) -> list[tuple[Any, list[NDArray]]]:
    """Return (key, arrays) of one key, or of several in a list.

    Raises ValueError for another number of values than keys.
    """
    if isinstance(key, (list, tuple)):
        if len(key) != len(value):
            raise ValueError(f"{len(key)} keys for {len(value)} values")
        return [(k, _arrays(v)) for k, v in zip(key, value, strict=True)]
    return [(key, _arrays(value))]


def _arrays(value: Any) -> list[NDArray]:
    return [as_array(x) for x in value] if isinstance(value, (list, tuple)) else [as_array(value)]


def create(name: str = "local") -> KVStore:
    """A store of a type.

    Raises TypeError for what is no text, MXNetError for a distributed type without a package that
    has it.
    """
    if not isinstance(name, str):
        raise TypeError("name must be a string")
    kind = name.lower()
    for word, make in _stores.items():
        if word in kind:
            return make(kind)
    if "dist" in kind or kind in ("p3", "horovod", "byteps"):
        raise MXNetError(f"kvstore {name!r} works on several machines, and no package here has it")
    return KVStore(kind)


def for_module(
    kvstore: KVStoreLike, contexts: int, params: Mapping[str, NDArray]
) -> tuple[KVStore | None, bool]:
    """(the store or None, whether it updates the parameters) for a Module.

    Raises TypeError for what is neither a store, nor its type, nor None.
    """
    on_store = os.environ.get("MXNET_UPDATE_ON_KVSTORE", "1") != "0"
    if kvstore is None:
        return None, False
    if isinstance(kvstore, KVStore):
        return kvstore, on_store
    if not isinstance(kvstore, str):
        raise TypeError("kvstore must be KVStore, str or None")
    if contexts == 1 and "dist" not in kvstore:
        return None, False
    store = create(kvstore)
    if kvstore == "local":
        largest = max((int(np.prod(p.shape)) for p in params.values()), default=0)
        on_store = on_store and largest <= _LARGE
    return store, on_store
