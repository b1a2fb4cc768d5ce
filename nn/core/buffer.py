"""Buffer: state of a module that is not learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad import devices
from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.undo import undo_write

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Operand

__all__ = ["Buffer"]


class Buffer(Tensor):
    """State of a module that is not learned, such as a running mean; saved with its parameters.

    `assign` and ``b[i] = v`` write it; replay repeats such a write, a forward that fails undoes it.
    """

    __slots__ = ()

    _state = True

    def assign(self, value: Operand) -> None:
        """Overwrite the entries with `value`, broadcast and converted to this dtype."""
        self._before_write()
        ops.assign(self, value.detach() if isinstance(value, Tensor) else value)

    def _before_write(self) -> None:
        undo_write(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        result = Buffer(super().__deepcopy__(memo)._bare)
        memo[id(self)] = result
        return result

    def __copy__(self) -> Buffer:
        return Buffer(self._bare.copy())

    def __reduce__(self) -> Any:
        return (Buffer, (devices.to_numpy(self._bare),))
