"""The tables of what is written for each primitive: a function from a Call to its Values.

`@writes("name", …)` enters a function for primitives; `refuses("reason", "name", …)` says why ONNX
cannot have one.  A test demands one or the other for every primitive that is declared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.onnx.building import GraphBuilder, GraphValue
from tapegrad.nn.formats.onnx.dims import Dim, Size, Varying

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import Primitive

__all__ = ["EXPORTERS", "REASONS", "Call", "Exporter", "fixed", "counted_axis", "refuses", "writes"]


@dataclass(frozen=True)
class Call:
    """A recorded call that is being written.

    operands: Values, numbers (Dims too), None, and lists of these
    shapes:   of each operand, a list of them for a list, () for a number
    settings: of the call, Dims among them where they depend on the batch
    results:  (dtype, shape) of each result, those of a list and auxiliary ones in their order
    constants: of each operand, its array if the file has it, else None
    """

    builder: GraphBuilder
    primitive: Primitive
    operands: tuple[Any, ...]
    shapes: tuple[Any, ...]
    settings: dict[str, Any]
    results: tuple[tuple[np.dtype[Any], tuple[Size, ...]], ...]
    constants: tuple[Any, ...]

    @property
    def x(self) -> GraphValue:
        """The first operand."""
        return self.value(0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the first result."""
        return self.results[0][0]

    @property
    def shape(self) -> tuple[Size, ...]:
        """The shape of the first result."""
        return self.results[0][1]

    @property
    def ndim(self) -> int:
        """The number of axes of the first operand."""
        return len(self.shapes[0])

    def value(self, index: int, dtype: Any = None) -> GraphValue:
        """An operand as a GraphValue; a number in the dtype, of the result if none is given."""
        operand = self.operands[index]
        if isinstance(operand, GraphValue):
            return operand if dtype is None else operand.cast(dtype)
        wanted = self.dtype if dtype is None else dtype
        if isinstance(operand, Dim):
            return self.builder.squeeze(self.builder.dim(operand), [0]).cast(wanted)
        if isinstance(operand, Varying):
            raise operand.refuse()
        return self.builder.number(operand, wanted)

    def setting(self, name: str) -> Any:
        """A setting, with its default.  Raises UnsupportedError for one that varies."""
        value = self.settings.get(name, self.primitive.settings[name])
        if isinstance(value, Varying):
            raise value.refuse()
        return value

    def axes(self, name: str = "axis") -> tuple[int, ...] | None:
        """A setting of axes, counted from 0; None for all axes."""
        axes = self.setting(name)
        if axes is None:
            return None
        listed = axes if isinstance(axes, (tuple, list)) else (axes,)
        return tuple(int(axis) % max(self.ndim, 1) for axis in listed)

    def promoted(self) -> list[GraphValue]:
        """The operands in the dtypes in which the primitive's ufunc computes them.

        Raises UnsupportedError for a primitive that is no ufunc.
        """
        function = self.primitive.inline
        if function is None:
            raise UnsupportedError(f"{self.primitive.name} is no ufunc")
        kinds: list[Any] = []
        for operand in self.operands:
            if isinstance(operand, (GraphValue, np.generic)):
                kinds.append(operand.dtype)
            elif isinstance(operand, (Dim, Varying)):
                kinds.append(int if isinstance(operand, Dim) else float)
            else:
                kinds.append(np.dtype(bool) if type(operand) is bool else type(operand))
        *dtypes, _ = function.resolve_dtypes((*kinds, None))
        return [self.value(i, dtype) for i, dtype in enumerate(dtypes)]


Exporter: TypeAlias = Callable[[Call], GraphValue | Sequence[GraphValue]]
E = TypeVar("E", bound=Exporter)

EXPORTERS: dict[str, Exporter] = {}
REASONS: dict[str, str] = {}


def writes(*names: str) -> Callable[[E], E]:
    """Enter a function for primitives.  Raises TypeError for one that has a function already."""

    def enter(function: E) -> E:
        for name in names:
            if name in EXPORTERS or name in REASONS:
                raise TypeError(f"{name} has an entry already")
            EXPORTERS[name] = function
        return function

    return enter


def refuses(reason: str, *names: str) -> None:
    """Say why no file can have these primitives.  Raises TypeError as `writes` does."""
    for name in names:
        if name in EXPORTERS or name in REASONS:
            raise TypeError(f"{name} has an entry already")
        REASONS[name] = reason


def fixed(sizes: Sequence[Size], what: str) -> list[int]:
    """Sizes that may not depend on the batch.  Raises UnsupportedError, which says `what` does."""
    if any(isinstance(size, Dim) for size in sizes):
        raise UnsupportedError(
            f"{what} depends on the size of the batch, which ONNX's operator cannot say; export "
            "with dynamic_batch=False"
        )
    return [int(size) for size in sizes if not isinstance(size, Dim)]


def counted_axis(axis: int, ndim: int) -> int:
    """An axis counted from 0."""
    return int(axis) % max(ndim, 1)
