"""Parameter, a Tensor that is learned, and the default dtype of new ones.

A Parameter is tracked from the start.  Its node is a `Leaf`: the reverse sweep ends there, and the
leaf holds the gradient.  A frozen Parameter shows no node, so that calls on it are not recorded,
and keeps its leaf for later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from weakref import WeakValueDictionary

import numpy as np

from tapegrad.autograd.core.node import Leaf
from tapegrad.autograd.core.running import refusal, refuse_cut, where_cut
from tapegrad.autograd.core.tensor import (
    Tensor,
    array_to_pickle,
    as_array,
    copy_array,
    untracked,
)

if TYPE_CHECKING:
    from tapegrad import devices
    from tapegrad.autograd.core.types import Array, DTypeLike, Operand

__all__ = [
    "GRADIENTS_STAY",
    "Parameter",
    "default_dtype",
    "leaf_of",
    "parameters_alive",
    "set_default_dtype",
]

GRADIENTS_STAY = (
    "{name}.zero_grad(set_to_none=True): gradients become 0 and keep their memory, where updates "
    "and recorded steps read them. Write zero_grad()"
)

NOT_FLOATING = (
    "only floating point arrays can be differentiated; this one holds {dtype}. "
    "Convert it: Parameter(x, dtype=np.float32)."
)

COPIED = (
    "{line}: a Parameter is copied {where}: the copy is another Parameter, which would take its "
    "gradient away. x.copy() is a copy whose gradient reaches x; copy a module before it runs."
)

_default_dtype: list[np.dtype[Any]] = [np.dtype(np.float32)]


def default_dtype() -> np.dtype[Any]:
    """The dtype of new parameters of layers; float32 unless `set_default_dtype` changed it."""
    return _default_dtype[0]


def set_default_dtype(dtype: DTypeLike) -> None:
    """Make `dtype` the dtype of parameters created from now on.

    Raises TypeError for a dtype that is not floating point.
    """
    default = np.dtype(dtype)
    if default.kind != "f":
        raise TypeError(f"the default dtype must be floating point, not {default}")
    _default_dtype[0] = default


_alive: WeakValueDictionary[int, Parameter] = WeakValueDictionary()


def parameters_alive() -> list[Parameter]:
    """All Parameters that anybody holds, to find those that share memory."""
    return list(_alive.values())


def leaf_of(parameter: Parameter) -> Leaf:
    """Return the node that holds the gradient, also of a frozen Parameter."""
    return parameter._leaf


class Parameter(Tensor):
    """A Tensor that is learned: it is always tracked, and ``.grad`` collects its gradient.

    ``Parameter(data)`` shares memory with a floating point array and keeps its dtype; numbers and
    lists get the default dtype (`default_dtype`).  `grad` is None until the first backward pass,
    then an untracked Tensor to which each further pass adds.
    ``p.freeze()`` makes it a constant until ``p.unfreeze()``: no gradient arrives, and optimizers
    leave it as it is.
    Raises TypeError for integer or boolean data.

    >>> w = Parameter(np.array([1.0, -2.0]))
    >>> np.sum(w**2).backward()
    >>> w.grad
    Tensor([ 2., -4.])
    """

    __slots__ = ("_leaf",)

    _state = True
    _leaf: Leaf

    def __init__(
        self, data: Operand, *, dtype: DTypeLike = None, device: devices.Device | str | None = None
    ) -> None:
        if dtype is None and not hasattr(data, "dtype") and not isinstance(data, complex):
            dtype = default_dtype()
        super().__init__(data, dtype=dtype, device=device)
        if self._bare.dtype.kind not in "fc":
            raise TypeError(NOT_FLOATING.format(dtype=self._bare.dtype))
        self._node = self._leaf = Leaf(self._bare.shape, self._bare.dtype)
        _alive[id(self)] = self

    def freeze(self) -> Self:
        """Make the Parameter a constant, for all code, until `unfreeze`; returns self.

        Its gradient stays as it is.  Calls that were recorded before still send theirs.
        """
        self._node = None
        return self

    def unfreeze(self) -> Self:
        """Let the Parameter learn again; returns self.  A frozen module's stays its constant."""
        self._node = self._leaf
        return self

    @property
    def frozen(self) -> bool:
        """True if optimizers leave the Parameter as it is.

        That is so after `freeze`, and while all modules that use the Parameter are frozen.
        """
        return self._node is None

    @property
    def grad(self) -> Tensor | None:
        """The gradient collected so far, untracked, of the same shape and dtype; or None."""
        gradient: Tensor | None = self._leaf.grad
        return gradient

    @grad.setter
    def grad(self, value: Operand | None) -> None:
        if value is not None:
            value = untracked(as_array(value))
            if value.shape != self.shape:
                raise ValueError(
                    f"grad has shape {value.shape}, but its Parameter has shape {self.shape}"
                )
        self._leaf.grad = value

    def rebind(self, array: Array, grad: Operand | None = None) -> None:
        """Replace the array and the gradient; flattening and conversion of modules use this.

        Calls recorded with the old array stay differentiable and keep the old leaf.
        """
        self._bare = array
        adjust = self._leaf.adjust
        self._leaf = Leaf(array.shape, array.dtype)
        self._leaf.adjust = adjust
        if not self._is_frozen_itself():
            self._node = self._leaf
        if grad is not None:
            self.grad = grad

    def _is_frozen_itself(self) -> bool:
        """Whether `freeze` was called on the Parameter, and not on modules that hold it."""
        return self._node is None

    def __copy__(self) -> Parameter:
        _refuse_where_it_cuts()
        return _restore_parameter(self._bare.copy(), None, self._is_frozen_itself())

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        _refuse_where_it_cuts()
        copy = Parameter(copy_array(self._bare, memo))
        memo[id(self)] = copy
        if self.grad is not None:
            copy.grad = untracked(copy_array(self.grad._bare, memo))
        return copy.freeze() if self._is_frozen_itself() else copy

    def __reduce__(self) -> Any:
        refuse_cut("pickle reads")
        grad = None if self.grad is None else array_to_pickle(self.grad._bare)
        return (_restore_parameter, (array_to_pickle(self._bare), grad, self._is_frozen_itself()))


def _refuse_where_it_cuts() -> None:
    where = where_cut()
    if where:
        raise refusal(COPIED, where=where)


def _restore_parameter(data: Any, grad: Any, frozen: bool = False) -> Parameter:
    parameter = Parameter(data)
    parameter.grad = grad
    return parameter.freeze() if frozen else parameter
