"""Memory of parameters: one flat buffer for all of them, as in Torch7, and conversions.

`flatten_parameters` makes every parameter of a module a view of one buffer, so that an optimizer
updates the entire model in one pass.  The buffer holds the storages in the order in which
parameters first refer to them, without elements to which no parameter refers.  A parameter keeps
its shape and its strides, so that weights tied through a transpose stay tied.

`StorageMap` converts memory (to a dtype, to a device) so that views of one storage stay views of
one.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.node import owner_of
from tapegrad.autograd.core.parameter import parameters_alive
from tapegrad.autograd.core.tensor import memory_key, untracked
from tapegrad.autograd.core.zeros import watch_zeros
from tapegrad.nn.core.transient import transient_state_of, transient_value

if TYPE_CHECKING:
    from tapegrad.autograd import Parameter, Tensor
    from tapegrad.devices import Array, DTypeLike, Namespace, Shape

__all__ = [
    "StorageMap",
    "copy_used_parts",
    "current_flat_buffers",
    "flatten_parameters",
    "flatten_tensors",
    "refuse_to_part",
    "share_missing_gradients",
]

MIXED = (
    "getParameters needs one dtype and one device for all parameters; found {found}. Convert the "
    "module first: .float(), .double() or .to(device)."
)
NOT_COMPACT = (
    "getParameters: {name} is not contiguous and its storage has elements that no parameter uses, "
    "so it cannot be gathered"
)
PARTED = (
    "{name}: a conversion would end the sharing with {other}: put both into one module and convert "
    "that, or share anew afterwards"
)
MISMATCH = (
    "getParameters: parameters and gradients are not shared alike ({why}): share the gradients "
    "with the weights, as in share(other, 'weight', 'gradWeight', 'bias', 'gradBias')"
)


def view_of(buffer: Array, offset: int, shape: Shape, strides: tuple[int, ...]) -> Array:
    """A view of a 1-D `buffer`, from element `offset` on, with strides in bytes."""
    if type(buffer) is np.ndarray:
        return np.ndarray(
            shape, buffer.dtype, buffer=buffer, offset=offset * buffer.itemsize, strides=strides
        )
    xp = devices.namespace(buffer)
    return xp.lib.stride_tricks.as_strided(buffer[offset:], shape, strides)


class _Layout:
    """The offsets and strides that a list of arrays gets in one flat buffer."""

    def __init__(self, named: list[tuple[str, Array]]) -> None:
        storages: dict[int, Array] = {}
        sources: list[tuple[Array, int]] = []  # of each array: (storage, offset in it in elements)
        for _, array in named:
            owner = owner_of(array)
            address, start = devices.address_of(array), devices.address_of(owner)
            offset = 0 if address is None or start is None else (address - start) // array.itemsize
            if address is None:
                owner = array  # without addresses, only identity says what shares memory
            storages.setdefault(id(owner), owner)
            sources.append((owner, offset))
        used: dict[int, np.ndarray[Any, Any]] = {
            key: np.zeros(owner.size, bool) for key, owner in storages.items()
        }
        for (_, array), (owner, offset) in zip(named, sources, strict=True):
            steps = tuple(s // array.itemsize for s in array.strides)
            grid = np.full((), offset)
            for n, step in zip(array.shape, steps, strict=True):
                grid = grid[..., None] + step * np.arange(n)
            used[id(owner)][grid.reshape(-1)] = True
        self.offsets: list[int] = []
        # (storage, the indices that some array refers to; None for all)
        self.pieces: list[tuple[Array, np.ndarray[Any, Any] | None]] = []
        starts: dict[int, int] = {}
        total = 0
        for key, owner in storages.items():
            starts[key] = total
            full = bool(used[key].all())
            self.pieces.append((owner, None if full else np.flatnonzero(used[key])))
            total += int(used[key].sum())
        self.size = total
        self.strides: list[tuple[int, ...]] = []
        for (name, array), (owner, offset) in zip(named, sources, strict=True):
            key = id(owner)
            if used[key].all():
                self.offsets.append(starts[key] + offset)
            else:
                if not array.flags.c_contiguous:
                    raise ValueError(NOT_COMPACT.format(name=name))
                self.offsets.append(starts[key] + int(used[key][:offset].sum()))
            self.strides.append(tuple(array.strides))

    def gather(self, xp: Namespace, dtype: DTypeLike) -> Array:
        """A new flat buffer with the values of all storages."""
        flat = xp.empty((self.size,), dtype=dtype)
        start = 0
        for owner, used in self.pieces:
            values = _ravel_in_memory_order(owner)
            if used is not None:
                values = values[xp.asarray(used)]
            flat[start : start + values.size] = values
            start += values.size
        return flat


def _ravel_in_memory_order(owner: Array) -> Array:
    xp = devices.namespace(owner)
    return xp.ravel(owner if owner.flags.c_contiguous else owner.T)


def current_flat_buffers(module: Any) -> tuple[Tensor, Tensor] | None:
    """The flat buffers of an earlier `getParameters`; None if a parameter lies elsewhere now."""
    known = transient_value(module, "flat")
    if known is None:
        return None
    flat, flat_grad, views = known
    parameters = module._parameters()
    if len(parameters) != len(views):
        return None
    for p, (parameter, array, gradient) in zip(parameters, views, strict=True):
        if p is not parameter or p._bare is not array:
            return None
        if p.grad is None or p.grad._bare is not gradient:
            return None
    return flat, flat_grad


def flatten_parameters(module: Any) -> tuple[Tensor, Tensor]:
    """(flat parameters, flat gradients) of a module; see `Module.getParameters`.

    Raises ValueError for mixed dtypes or devices, and where gradients lie otherwise.
    """
    known = current_flat_buffers(module)
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
    share_missing_gradients(p for _, p in named)
    _, gradients = module.parameters()
    outside = _sharers([p for _, p in named], module)
    layout = _Layout([(name, p._bare) for name, p in [*named, *outside]])
    outside_grads = _sharers(gradients, module, gradients=True)
    names = [f"the gradient of {name}" for name, _ in [*named, *outside_grads]]
    every_grad = [*gradients, *(g for _, g in outside_grads)]
    grads = _Layout([(n, g._bare) for n, g in zip(names, every_grad, strict=True)])
    if layout.size != grads.size:
        raise ValueError(
            MISMATCH.format(why=f"{layout.size} elements against {grads.size} of gradients")
        )
    for i, (name, _) in enumerate(named):
        if layout.offsets[i] != grads.offsets[i]:
            raise ValueError(MISMATCH.format(why=f"misaligned at {name}"))
    dtype = named[0][1].dtype
    xp = devices.namespace(named[0][1]._bare)
    flat = untracked(layout.gather(xp, dtype))
    flat_grad = untracked(grads.gather(xp, dtype))
    watch_zeros(flat_grad._bare)
    views = []
    for i, (_, p) in enumerate(outside, len(named)):  # they go on sharing it
        p._bare = view_of(flat._bare, layout.offsets[i], p.shape, layout.strides[i])
    for i, (_, g) in enumerate(outside_grads, len(named)):
        g._bare = view_of(flat_grad._bare, grads.offsets[i], g.shape, grads.strides[i])
    for i, ((_, p), gradient) in enumerate(zip(named, gradients, strict=True)):
        p._bare = view_of(flat._bare, layout.offsets[i], p.shape, layout.strides[i])
        gradient._bare = view_of(flat_grad._bare, grads.offsets[i], p.shape, grads.strides[i])
        p.grad = gradient
        views.append((p, p._bare, gradient._bare))
    module._drop_traces()
    transient_state_of(module).flat = (flat, flat_grad, views)
    return flat, flat_grad


def copy_used_parts(module: Any, memo: dict[Any, Any]) -> None:
    """Copy what a module's parameters, gradients and buffers use of memory that others use too.

    memo: of `copy.deepcopy`, which would otherwise copy all of it: a part of a flattened model
          would get the entire buffer.  Views of one memory have copies that are views of one
    """
    tensors = [t for _, t in (*module.named_parameters(), *module.named_buffers())]
    tensors += [t.grad for t in tensors if getattr(t, "grad", None) is not None]
    by_owner: dict[int, list[Any]] = {}
    for t in tensors:
        owner = owner_of(t._bare)
        if owner is not t._bare and type(owner) is np.ndarray:
            by_owner.setdefault(id(owner), []).append(t._bare)
    for arrays in by_owner.values():
        try:
            layout = _Layout([("", array) for array in arrays])
        except ValueError:  # not gathered without gaps: copied whole
            continue
        if layout.size == owner_of(arrays[0]).size:
            continue
        flat = layout.gather(np, arrays[0].dtype)
        for i, array in enumerate(arrays):
            copied = view_of(flat, layout.offsets[i], array.shape, layout.strides[i])
            # By its memory too: what an optimizer still has of a replaced layer may share it.
            memo[id(array)] = memo[memory_key(array)] = copied
            memo.setdefault(id(memo), []).append(array)


def share_missing_gradients(parameters: Iterable[Parameter]) -> None:
    """Give Parameters of one memory one gradient, where all but one of them have none yet."""
    known: dict[Any, list[Parameter]] = {}
    for p in parameters:
        address = devices.address_of(p._bare)
        if address is not None and p._bare.size:
            known.setdefault((address, p.shape, p._bare.strides), []).append(p)
    for same in known.values():
        if len(same) > 1:
            gradient = next((p.grad for p in same if p.grad is not None), None)
            for p in same:
                if gradient is None:
                    xp = devices.namespace(p._bare)
                    gradient = p.grad = untracked(xp.zeros_like(p._bare))
                elif p.grad is None:
                    p.grad = gradient


def _sharers(tensors: list[Any], module: Any, *, gradients: bool = False) -> list[tuple[str, Any]]:
    """The Parameters outside of a list that share memory with it, each with a text for it.

    gradients: look at gradients instead, in a list of gradients
    """
    own = set(map(id, tensors))
    owners = {id(owner_of(t._bare)) for t in tensors}
    candidates = [p.grad if gradients else p for p in parameters_alive()]
    outside = f"outside {type(module).__name__}, which shares its memory"
    return [
        (f"a Parameter of shape {t.shape} {outside}", t)
        for t in candidates
        if t is not None and id(t) not in own and id(owner_of(t._bare)) in owners
        and _overlaps_any(t, tensors)
    ]  # fmt: skip


def _overlaps_any(tensor: Any, tensors: list[Any]) -> bool:
    start, stop = _extent(tensor._bare)
    extents = (_extent(t._bare) for t in tensors)
    return any(start < other_stop and other_start < stop for other_start, other_stop in extents)


def _extent(array: Array) -> tuple[int, int]:
    """The addresses between which the entries of an array lie; for none that is known, its id."""
    address = devices.address_of(array)
    if address is None:
        return id(array), id(array) + 1
    steps = zip(array.shape, array.strides, strict=True)
    size = sum((n - 1) * abs(s) for n, s in steps) + array.itemsize if array.size else 0
    return address, address + size


def refuse_to_part(module: Any, parameters: list[Parameter]) -> None:
    """Raise ValueError if Parameters outside the module share memory of those to be converted."""
    if _sharers(parameters, module):
        for part in module.listModules():
            _forget_replaced_layers(part)
        gc.collect()  # modules that nobody holds any more share nothing
        for text, _ in _sharers(parameters, module):
            raise ValueError(PARTED.format(name=type(module).__name__, other=text))


def _forget_replaced_layers(part: Any) -> None:
    """Forget the buffers of an earlier `getParameters` if the part has lost Parameters in them."""
    known = transient_value(part, "flat")
    if known is not None:
        own = {id(p) for _, p in part.named_parameters()}
        if any(id(parameter) not in own for parameter, *_ in known[2]):
            transient_state_of(part).flat = None


def flatten_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """One flat buffer of which all `tensors` become views; see `Module.flatten`.

    Raises ValueError for mixed dtypes or devices.
    """
    if not tensors:
        return untracked(np.empty(0, np.float32))
    kinds = {f"{t.dtype} on {t.device}" for t in tensors}
    if len(kinds) > 1:
        raise ValueError(MIXED.format(found=", ".join(sorted(kinds))))
    layout = _Layout([(f"tensor {i}", t._bare) for i, t in enumerate(tensors)])
    xp = devices.namespace(tensors[0]._bare)
    flat = untracked(layout.gather(xp, tensors[0].dtype))
    for i, t in enumerate(tensors):
        t._bare = view_of(flat._bare, layout.offsets[i], t.shape, layout.strides[i])
    return flat


class StorageMap:
    """Converts arrays, once per storage, so that views of one storage stay views of one.

    converted: the storages converted before, by identity; the new ones are added to it
    """

    def __init__(
        self,
        convert: Callable[[Array], Array],
        converted: dict[int, tuple[Array, Array]] | None = None,
    ) -> None:
        self._convert = convert
        # (storage, what became of it), by the storage's id; holding it keeps the id in use.
        self._converted = {} if converted is None else converted

    def __call__(self, array: Array) -> Array:
        """The converted array: a view of the converted storage where `array` is a view of one."""
        owner = owner_of(array)
        address, start = devices.address_of(array), devices.address_of(owner)
        if owner is array or address is None or start is None:
            return self._convert_once(array)
        storage = self._convert_once(owner)
        if storage is owner:
            return array
        scale = storage.itemsize / array.itemsize
        strides = tuple(int(s * scale) for s in array.strides)
        offset = (address - start) // array.itemsize
        return view_of(_flat_view(storage), offset, array.shape, strides)

    def _convert_once(self, owner: Array) -> Array:
        if id(owner) not in self._converted:
            self._converted[id(owner)] = (owner, self._convert(owner))
        return self._converted[id(owner)][1]


def _flat_view(array: Array) -> Array:
    xp = devices.namespace(array)
    return xp.reshape(array if array.flags.c_contiguous else array.T, (-1,))
