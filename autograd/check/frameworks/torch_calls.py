"""TorchCall: a function of torch tensors, called with NumPy arrays, and its derivatives.

Each call starts from one seed and leaves the random state, the default dtype and the grad mode of
the process as they were.  Nests of results are flat here, complex tensors are pairs of real ones,
sparse tensors are dense.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tapegrad.autograd.check.frameworks.nests import flat_nest, whole_of
from tapegrad.autograd.check.frameworks.smooth import is_smooth_torch
from tapegrad.autograd.check.gradients import CheckError

__all__ = ["TorchCall", "preserved"]

NOT_TENSORS = (
    "{name} returned {type}: what is checked returns a torch.Tensor, or a nest of them. Was a "
    "value taken out with .item() or .numpy()?"
)


@contextmanager
def preserved(torch: Any, seed: int, dtype: Any = None) -> Iterator[None]:
    """All random numbers from one seed, and tensors of one dtype; afterwards as it was before."""
    states = _states(torch)
    _seed(torch, seed)
    try:
        with _default_dtype(torch, dtype):
            yield
    finally:
        torch.default_generator.set_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])  # noqa: NPY002  # the user's layer may draw from it


def _states(torch: Any) -> tuple[Any, Any, Any]:
    """The states of all that a layer may draw random numbers from."""
    numpy_state = np.random.get_state()  # noqa: NPY002  # as above
    return torch.default_generator.get_state(), random.getstate(), numpy_state


def _seed(torch: Any, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # as above


@contextmanager
def _default_dtype(torch: Any, dtype: Any) -> Iterator[None]:
    """New tensors have this dtype, unless it is None."""
    default = torch.get_default_dtype()
    if dtype is None or dtype is default:
        yield
        return
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(default)


class TorchCall:
    """A function of torch tensors over NumPy arrays.

    run:        (*tensors) -> a nest of tensors
    name:       of the subject, for messages
    is_complex: for each tensor whether it comes as real and imaginary part
    constants:  the positions of arrays that are never tracked
    seed:       of the random numbers in each call
    inplace:    whether the function writes into its arguments on purpose
    """

    def __init__(
        self,
        torch: Any,
        run: Callable[..., Any],
        name: str,
        is_complex: Sequence[bool],
        constants: Collection[int],
        *,
        seed: int,
        inplace: bool,
    ) -> None:
        self.torch = torch
        self.run = run
        self.name = name
        self.is_complex = is_complex
        self.constants = constants
        self.seed = seed
        self.inplace = inplace
        self.paths: list[str] = []  # the expressions of the latest results
        self._draws: bool | None = None  # whether calls draw random numbers, None before the first

    # What a Pair is made of ----------------------------------------------------------------------

    def fn(self, *args: np.ndarray) -> Any:
        """The results as arrays, a list of them unless the function returns one tensor."""
        with self.torch.no_grad():
            tensors = [self._tensor(a) for a in args]
            found, single = self._outputs([t.clone() for t in tensors] if self.inplace else tensors)
        results = [_as_array(y) for y in found]
        return results[0] if single else results

    def vjp(self, cotangent: Any, *args: np.ndarray) -> list[Any]:
        """The gradient of ⟨cotangent, results⟩ for each array, None for constants."""
        v = cotangent if isinstance(cotangent, list) else [cotangent]
        return self.partial(v, args, range(len(args)))

    def partial(
        self, v: Sequence[np.ndarray], args: Sequence[np.ndarray], positions: Collection[int]
    ) -> list[Any]:
        """The gradients where only the arrays at `positions` are tracked."""
        tensors = self._tracked(args, positions)
        cotangents = [self._tensor(c) for c in v]
        return self._arrays(self._gradients(tensors, cotangents, graph=False), tensors)

    def second(self, u: Sequence[np.ndarray], v: Sequence[np.ndarray], args: Any) -> list[Any]:
        """The gradient of ⟨u, vjp(v, args)⟩; u has cotangents for tracked arrays only."""
        remaining = iter(u)
        all_u = [next(remaining) if self._is_tracked(i, a) else None for i, a in enumerate(args)]
        return self.second_all(all_u, v, args)[0]

    def second_all(
        self, u: Sequence[Any], v: Sequence[np.ndarray], args: Sequence[np.ndarray]
    ) -> tuple[list[Any], list[Any]]:
        """The gradients of ⟨u, vjp(v, args)⟩ of the arrays, and of the cotangents v."""
        torch = self.torch
        tensors = self._tracked(args, range(len(args)))
        cotangents = [self._tensor(c).clone().requires_grad_() for c in v]
        leaves = [t for t in tensors if t.requires_grad]
        own = [c for c, t in zip(u, tensors, strict=True) if t.requires_grad]
        gradients = self._gradients(tensors, cotangents, graph=True)
        pairs = [
            (g, self._tensor(c).to(g.dtype))
            for g, c in zip(gradients, own, strict=True)
            if g.requires_grad
        ]
        found: Sequence[Any] = [None] * (len(leaves) + len(cotangents))
        if pairs:
            with torch.enable_grad(), self._guarded(tensors, backward=True):
                found = torch.autograd.grad(
                    [g for g, _ in pairs], [*leaves, *cotangents], [c for _, c in pairs],
                    allow_unused=True,
                )  # fmt: skip
        zeroed = [
            torch.zeros_like(t) if g is None else g
            for g, t in zip(found, [*leaves, *cotangents], strict=True)
        ]
        of_v = [_as_array(_dense(g)) for g in zeroed[len(leaves) :]]
        return self._arrays(zeroed[: len(leaves)], tensors), of_v

    @contextmanager
    def _guarded(self, tensors: Sequence[Any], *, backward: bool = False) -> Iterator[None]:
        """What each call runs in; after a first call that draws no random numbers, it is cheap.

        backward: whether it is one of the gradient, whose random numbers are others than those of
                  the function: a mask that is drawn again is another one
        """
        torch, dtype = self.torch, self._dtype(tensors)
        if self._draws is False:
            with _default_dtype(torch, dtype):
                yield
            return
        with preserved(torch, self.seed + backward, dtype):
            before = _states(torch) if self._draws is None else None
            yield
            if before is not None:
                now = _states(torch)
                self._draws = (
                    not torch.equal(before[0], now[0])
                    or before[1] != now[1]
                    or before[2][2] != now[2][2]
                    or not np.array_equal(before[2][1], now[2][1])
                )

    def draws_numbers(self, args: Sequence[np.ndarray]) -> bool:
        """Does a call draw random numbers of torch?  False where it cannot be called."""
        try:
            return self._draws_numbers(args)
        except Exception:  # noqa: BLE001  # which other laws tell
            return False

    def _draws_numbers(self, args: Sequence[np.ndarray]) -> bool:
        torch = self.torch
        tensors = [self._tensor(np.array(a)) for a in args]
        whole = whole_of(tensors, self.is_complex, torch.complex)
        with torch.no_grad(), preserved(torch, self.seed, self._dtype(tensors)):
            before = torch.get_rng_state()
            self.run(*whole)
            return not torch.equal(before, torch.get_rng_state())

    def is_smooth(self, args: Sequence[np.ndarray]) -> bool:
        """Is a call made of smooth operations alone?"""
        tensors = [self._tensor(np.array(a)) for a in args]
        with preserved(self.torch, self.seed, self._dtype(tensors)):
            return is_smooth_torch(self.torch, self.run, tensors)

    def stops(self, args: Sequence[np.ndarray]) -> set[int]:
        """The positions of floating point results that require no gradient."""
        with self.torch.enable_grad():
            tensors = self._tracked(args, range(len(args)))
            found = self._tracked_outputs(tensors)
        return {
            i for i, y in enumerate(found)
            if not isinstance(y, self.torch.Tensor) or not y.requires_grad
        }  # fmt: skip

    # Tensors -------------------------------------------------------------------------------------

    def _tensor(self, array: np.ndarray) -> Any:
        """A tensor that shares the array's memory, so that writes are noticed, or else a copy."""
        torch, array = self.torch, np.asarray(array)
        if not array.size:  # NumPy's strides of nothing are 0, which torch's kernels refuse
            return torch.empty(array.shape, dtype=torch.from_numpy(np.empty(1, array.dtype)).dtype)
        if not array.flags.writeable or any(stride < 0 for stride in array.strides):
            return torch.tensor(array.copy())
        return torch.from_numpy(array)

    def _is_tracked(self, position: int, array: np.ndarray) -> bool:
        return np.asarray(array).dtype.kind == "f" and position not in self.constants

    def _tracked(self, args: Sequence[np.ndarray], positions: Collection[int]) -> list[Any]:
        return [
            self._tensor(a).requires_grad_()
            if i in positions and self._is_tracked(i, a)
            else self._tensor(a)
            for i, a in enumerate(args)
        ]

    def _dtype(self, tensors: Sequence[Any]) -> Any:
        return next((t.dtype for t in tensors if t.is_floating_point()), None)

    def _tracked_outputs(self, tensors: Sequence[Any]) -> list[Any]:
        """The results for tracked tensors; a function that writes into them is given copies.

        (Not views: their gradients cannot be sparse.)
        """
        if not self.inplace:
            try:
                return self._outputs(tensors)[0]
            except RuntimeError as error:
                if "leaf Variable that requires grad" not in str(error):
                    raise
        return self._outputs([t.clone() for t in tensors])[0]

    def _outputs(self, tensors: Sequence[Any]) -> tuple[list[Any], bool]:
        """The tensors of a call's result, real and dense, and whether it is a single one."""
        torch = self.torch
        whole = whole_of(tensors, self.is_complex, torch.complex)
        with self._guarded(tensors):
            result = self.run(*whole)
        flat = flat_nest(result)
        if not any(isinstance(leaf, torch.Tensor) for leaf in flat.leaves):
            raise CheckError(NOT_TENSORS.format(name=self.name, type=type(result).__name__))
        found: list[Any] = []
        self.paths = []
        for leaf, path in zip(flat.leaves, flat.paths, strict=True):
            if isinstance(leaf, torch.Tensor):
                y = _dense(leaf)
                both = y.is_complex()
                found += [torch.real(y), torch.imag(y)] if both else [y]
                self.paths += [f"{path}.real", f"{path}.imag"] if both else [path]
            elif isinstance(leaf, (bool, int, float)):
                found.append(leaf)
                self.paths.append(path)
        return found, isinstance(result, torch.Tensor) and len(found) == 1

    def _gradients(self, tensors: Sequence[Any], v: Sequence[Any], *, graph: bool) -> list[Any]:
        """The gradients of the tracked tensors, 0 where they do not take part."""
        torch = self.torch
        leaves = [t for t in tensors if t.requires_grad]
        with torch.enable_grad():
            found = self._tracked_outputs(tensors)
            pairs = [
                (y, c.to(y.dtype))
                for y, c in zip(found, v, strict=True)
                if isinstance(y, torch.Tensor) and y.requires_grad
            ]
            if not pairs or not leaves:
                return [torch.zeros_like(t) for t in leaves]
            with self._guarded(tensors, backward=True):
                gradients = torch.autograd.grad(
                    [y for y, _ in pairs], leaves, [c for _, c in pairs],
                    create_graph=graph, allow_unused=True,
                )  # fmt: skip
            return [
                torch.zeros_like(t) if g is None else _dense(g)
                for g, t in zip(gradients, leaves, strict=True)
            ]

    def _arrays(self, gradients: Sequence[Any], tensors: Sequence[Any]) -> list[Any]:
        remaining = iter(gradients)
        return [_as_array(next(remaining)) if t.requires_grad else None for t in tensors]


def _dense(tensor: Any) -> Any:
    import torch

    return tensor if tensor.layout is torch.strided else tensor.to_dense()


def _as_array(tensor: Any) -> np.ndarray:
    """The tensor's memory as an array, so that it is seen if a later call overwrites it.

    bfloat16, which NumPy has not, becomes float32.
    """
    import torch

    if not isinstance(tensor, torch.Tensor):
        return np.asarray(tensor)
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    return np.asarray(tensor.numpy(force=True))
