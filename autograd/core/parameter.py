"""Parameter is a Tensor that is learned; this file also holds the default dtype of new ones.

A Parameter is tracked from the start.  Its node is a `Leaf`: the reverse sweep ends there, and the
leaf holds the gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.node import Leaf
from tapegrad.autograd.core.running import refusal, refuse_cut, where_cut
from tapegrad.autograd.core.tensor import Tensor, as_array, copy_array, untracked

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, DTypeLike, Operand

__all__ = ["Parameter", "default_dtype", "set_default_dtype"]

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


class Parameter(Tensor):
    """A Tensor that is learned: it is always tracked, and ``.grad`` collects its gradient.

    ``Parameter(data)`` shares memory with a floating point array and keeps its dtype; numbers and
    lists get the default dtype (`default_dtype`).  `grad` is None until the first backward pass,
    then an untracked Tensor to which each further pass adds.
    Raises TypeError for integer or boolean data.
    """

    __slots__ = ()

    _state = True
    _node: Leaf

    def __init__(
        self, data: Operand, *, dtype: DTypeLike = None, device: devices.Device | str | None = None
    ) -> None:
        if dtype is None and not hasattr(data, "dtype") and not isinstance(data, complex):
            dtype = default_dtype()
        super().__init__(data, dtype=dtype, device=device)
        if self._bare.dtype.kind not in "fc":
            raise TypeError(NOT_FLOATING.format(dtype=self._bare.dtype))
        self._node = Leaf(self._bare.shape, self._bare.dtype)

    @property
    def grad(self) -> Tensor | None:
        """The gradient collected so far, untracked, of the same shape and dtype; or None."""
        return self._node.grad

    @grad.setter
    def grad(self, value: Operand | None) -> None:
        if value is not None:
            value = untracked(as_array(value))
            if value.shape != self.shape:
                raise ValueError(
                    f"grad has shape {value.shape}, but its Parameter has shape {self.shape}"
                )
        self._node.grad = value

    def rebind(self, array: Array, grad: Operand | None = None) -> None:
        """Replace the array and the gradient; flattening and conversion of modules use this.

        Calls recorded with the old array stay differentiable and keep the old leaf.
        """
        self._bare = array
        self._node = Leaf(array.shape, array.dtype)
        if grad is not None:
            self.grad = grad

    def __copy__(self) -> Parameter:
        _refuse_where_it_cuts()
        return Parameter(self._bare.copy())

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        _refuse_where_it_cuts()
        copy = Parameter(copy_array(self._bare, memo))
        memo[id(self)] = copy
        if self.grad is not None:
            copy.grad = untracked(copy_array(self.grad._bare, memo))
        return copy

    def __reduce__(self) -> Any:
        refuse_cut("pickle reads")
        grad = None if self.grad is None else devices.to_numpy(self.grad._bare)
        return (_restore_parameter, (devices.to_numpy(self._bare), grad))


def _refuse_where_it_cuts() -> None:
    where = where_cut()
    if where:
        raise refusal(COPIED, where=where)


def _restore_parameter(data: Any, grad: Any) -> Parameter:
    parameter = Parameter(data)
    parameter.grad = grad
    return parameter
