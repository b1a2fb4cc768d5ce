"""Parameter: a Tensor that is learned, and the dtype that new ones get.

A Parameter is the only Tensor that is tracked from the start: its node is a `Leaf`, at which the
reverse sweep ends, and which holds the gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.node import Leaf
from tapegrad.autograd.core.tensor import Tensor, as_array, copied, untracked

__all__ = ["Parameter", "default_dtype", "set_default_dtype"]

NOT_FLOATING = (
    "only floating point arrays can be differentiated; this one holds {dtype}. "
    "Convert it: Parameter(x, dtype=np.float32)."
)

_default_dtype: list[np.dtype[Any]] = [np.dtype(np.float32)]


def default_dtype() -> np.dtype[Any]:
    """The dtype that new parameters of layers get; float32 unless set otherwise."""
    return _default_dtype[0]


def set_default_dtype(dtype: Any) -> None:
    """Make `dtype` (a floating point one) the dtype of parameters created from now on."""
    wanted = np.dtype(dtype)
    if wanted.kind != "f":
        raise TypeError(f"the default dtype must be floating point, not {wanted}")
    _default_dtype[0] = wanted


class Parameter(Tensor):
    """A Tensor that is learned: always tracked, and ``.grad`` collects its gradient.

    ``Parameter(data)`` shares memory with a floating point array and keeps its dtype; numbers and
    lists get the default dtype, float32 unless set otherwise.  `grad` is None until the
    first backward pass, then an untracked Tensor that each further pass adds to.
    Raises TypeError for integer or boolean data.
    """

    __slots__ = ()

    _state = True
    _node: Leaf

    def __init__(self, data: Any, *, dtype: Any = None, device: Any = None) -> None:
        if dtype is None and not hasattr(data, "dtype") and not isinstance(data, complex):
            dtype = default_dtype()
        super().__init__(data, dtype=dtype, device=device)
        if self._data.dtype.kind not in "fc":
            raise TypeError(NOT_FLOATING.format(dtype=self._data.dtype))
        self._node = Leaf(self._data.shape, self._data.dtype)

    @property
    def grad(self) -> Tensor | None:
        """The gradient gathered so far (untracked, same shape and dtype), or None."""
        return self._node.grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            value = untracked(as_array(value))
            if value.shape != self.shape:
                raise ValueError(
                    f"grad has shape {value.shape}, but its Parameter has shape {self.shape}"
                )
        self._node.grad = value

    def rebind(self, array: Any, grad: Any = None) -> None:
        """Hold another array, and gradient, from now on: flattening and conversion use this.

        What was recorded with the old array stays differentiable and keeps its old leaf.
        """
        self._data = array
        self._node = Leaf(array.shape, array.dtype)
        if grad is not None:
            self.grad = grad

    def __copy__(self) -> Parameter:
        return Parameter(self._data.copy())

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        copy = Parameter(copied(self._data, memo))
        memo[id(self)] = copy
        if self.grad is not None:
            copy.grad = untracked(copied(self.grad._data, memo))
        return copy

    def __reduce__(self) -> Any:
        grad = None if self.grad is None else devices.to_numpy(self.grad._data)
        return (_restored, (devices.to_numpy(self._data), grad))


def _restored(data: Any, grad: Any) -> Parameter:
    parameter = Parameter(data)
    parameter.grad = grad
    return parameter
