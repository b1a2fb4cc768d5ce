"""Memory of parameters: one flat buffer for all of them, as Torch7 had it, and conversions.

`flattened` makes every parameter of a module a view of one buffer.  Storages are taken in the order
of first appearance and joined; a parameter keeps its shape and its strides, so that weights tied
through a transpose stay tied.  Elements that no parameter refers to are left out.  Optimizers then
update the whole model in one pass.

`StorageMap` converts memory (to a dtype, to a device) so that views of one storage stay views of
one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.node import owner_of
from tapegrad.autograd.core.tensor import untracked
from tapegrad.nn.core.run import last, run_of

if TYPE_CHECKING:
    from tapegrad.autograd import Parameter, Tensor

__all__ = ["StorageMap", "current", "flatten", "flattened"]

MIXED = (
    "getParameters needs one dtype and one device for all parameters; found {found}. Convert the "
    "module first: .float(), .double() or .to(device)."
)
NOT_COMPACT = (
    "getParameters: {name} is not contiguous and its storage has elements that no parameter uses, "
    "so it cannot be gathered"
)
MISMATCH = (
    "getParameters: parameters and gradients are not shared alike ({why}): share the gradients "
    "with the weights, as in share(other, 'weight', 'gradWeight', 'bias', 'gradBias')"
)


def view_of(buffer: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """A view of a 1-D `buffer`, from element `offset`, with strides in bytes."""
    if type(buffer) is np.ndarray:
        return np.ndarray(
            shape, buffer.dtype, buffer=buffer, offset=offset * buffer.itemsize, strides=strides
        )
    xp = devices.namespace(buffer)
    return xp.lib.stride_tricks.as_strided(buffer[offset:], shape, strides)


class _Layout:
    """Where each of a list of arrays goes in a flat buffer."""

    def __init__(self, named: list[tuple[str, Any]]) -> None:
        storages: dict[int, tuple[Any, list[int]]] = {}
        self.places: list[tuple[Any, int]] = []  # (owner, element offset inside it)
        for _, array in named:
            owner = owner_of(array)
            here, start = devices.address_of(array), devices.address_of(owner)
            offset = 0 if here is None or start is None else (here - start) // array.itemsize
            if here is None:
                owner = array  # without addresses, arrays are told apart by identity only
            storages.setdefault(id(owner), (owner, []))
            self.places.append((owner, offset))
        used: dict[int, np.ndarray[Any, Any]] = {
            key: np.zeros(owner.size, bool) for key, (owner, _) in storages.items()
        }
        for (_, array), (owner, offset) in zip(named, self.places, strict=True):
            steps = tuple(s // array.itemsize for s in array.strides)
            grid = np.full((), offset)
            for n, step in zip(array.shape, steps, strict=True):
                grid = grid[..., None] + step * np.arange(n)
            used[id(owner)][grid.reshape(-1)] = True
        self.offsets: list[int] = []
        self.pieces: list[tuple[Any, np.ndarray[Any, Any] | None]] = []
        starts: dict[int, int] = {}
        total = 0
        for key, (owner, _) in storages.items():
            starts[key] = total
            full = bool(used[key].all())
            self.pieces.append((owner, None if full else np.flatnonzero(used[key])))
            total += int(used[key].sum())
        self.size = total
        self.strides: list[tuple[int, ...]] = []
        for (name, array), (owner, offset) in zip(named, self.places, strict=True):
            key = id(owner)
            if used[key].all():
                self.offsets.append(starts[key] + offset)
            else:
                if not array.flags.c_contiguous:
                    raise ValueError(NOT_COMPACT.format(name=name))
                self.offsets.append(starts[key] + int(used[key][:offset].sum()))
            self.strides.append(tuple(array.strides))

    def gathered(self, xp: Any, dtype: Any) -> Any:
        """A new flat buffer with the values of all storages."""
        flat = xp.empty((self.size,), dtype=dtype)
        start = 0
        for owner, kept in self.pieces:
            values = _in_memory_order(owner)
            if kept is not None:
                values = values[xp.asarray(kept)]
            flat[start : start + values.size] = values
            start += values.size
        return flat


def _in_memory_order(owner: Any) -> Any:
    xp = devices.namespace(owner)
    return xp.ravel(owner if owner.flags.c_contiguous else owner.T)


def current(module: Any) -> tuple[Tensor, Tensor] | None:
    """The flat buffers of an earlier `getParameters`, if every parameter still lies in them."""
    known = last(module, "flat")
    if known is None:
        return None
    flat, flat_grad, views = known
    parameters = module._parameters()
    if len(parameters) != len(views):
        return None
    for p, (parameter, array, gradient) in zip(parameters, views, strict=True):
        if p is not parameter or p._data is not array:
            return None
        if p.grad is None or p.grad._data is not gradient:
            return None
    return flat, flat_grad


def flattened(module: Any) -> tuple[Tensor, Tensor]:
    """See `Module.getParameters`."""
    known = current(module)
    if known is not None:
        return known
    named: list[tuple[str, Parameter]] = list(module.named_trainable())
    if not named:
        empty = untracked(np.empty(0, np.float32))
        return empty, untracked(np.empty(0, np.float32))
    kinds: dict[str, str] = {}
    for name, p in named:
        kinds.setdefault(f"{p.dtype} on {p.device}", name)
    if len(kinds) > 1:
        found = ", ".join(f"{kind} ({name})" for kind, name in kinds.items())
        raise ValueError(MIXED.format(found=found))
    _, gradients = module.parameters()
    layout = _Layout([(name, p._data) for name, p in named])
    grads = _Layout(
        [(f"the gradient of {n}", g._data) for (n, _), g in zip(named, gradients, strict=True)]
    )
    if layout.size != grads.size:
        raise ValueError(
            MISMATCH.format(why=f"{layout.size} elements against {grads.size} of gradients")
        )
    for i, (name, _) in enumerate(named):
        if layout.offsets[i] != grads.offsets[i]:
            raise ValueError(MISMATCH.format(why=f"misaligned at {name}"))
    dtype = named[0][1].dtype
    xp = devices.namespace(named[0][1]._data)
    flat = untracked(layout.gathered(xp, dtype))
    flat_grad = untracked(grads.gathered(xp, dtype))
    views = []
    for i, ((_, p), gradient) in enumerate(zip(named, gradients, strict=True)):
        p._data = view_of(flat._data, layout.offsets[i], p.shape, layout.strides[i])
        gradient._data = view_of(flat_grad._data, grads.offsets[i], p.shape, grads.strides[i])
        p.grad = gradient
        views.append((p, p._data, gradient._data))
    module._drop_traces()
    run_of(module).flat = (flat, flat_grad, views)
    return flat, flat_grad


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """See `Module.flatten`."""
    if not tensors:
        return untracked(np.empty(0, np.float32))
    kinds = {f"{t.dtype} on {t.device}" for t in tensors}
    if len(kinds) > 1:
        raise ValueError(MIXED.format(found=", ".join(sorted(kinds))))
    layout = _Layout([(f"tensor {i}", t._data) for i, t in enumerate(tensors)])
    xp = devices.namespace(tensors[0]._data)
    flat = untracked(layout.gathered(xp, tensors[0].dtype))
    for i, t in enumerate(tensors):
        t._data = view_of(flat._data, layout.offsets[i], t.shape, layout.strides[i])
    return flat


class StorageMap:
    """Apply a conversion to arrays, once per storage, so that views stay views of one storage.

    done: the storages converted before, by identity; the new ones are added to it
    """

    def __init__(
        self, convert: Callable[[Any], Any], done: dict[int, tuple[Any, Any]] | None = None
    ) -> None:
        self._convert = convert
        self._done = {} if done is None else done  # keeps owners alive, so that ids stay theirs

    def __call__(self, array: Any) -> Any:
        """The converted array: a view of the converted storage where `array` is a view of one."""
        owner = owner_of(array)
        here, start = devices.address_of(array), devices.address_of(owner)
        if owner is array or here is None or start is None:
            return self._of(array)
        whole = self._of(owner)
        if whole is owner:
            return array
        scale = whole.itemsize / array.itemsize
        strides = tuple(int(s * scale) for s in array.strides)
        offset = (here - start) // array.itemsize
        return view_of(_flat_view(whole), offset, array.shape, strides)

    def _of(self, owner: Any) -> Any:
        if id(owner) not in self._done:
            self._done[id(owner)] = (owner, self._convert(owner))
        return self._done[id(owner)][1]


def _flat_view(array: Any) -> Any:
    xp = devices.namespace(array)
    return xp.reshape(array if array.flags.c_contiguous else array.T, (-1,))
