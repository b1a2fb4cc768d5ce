"""GraphBuilder collects the nodes of a graph that is written; a GraphValue is an output of a node.

Values have operators, so that a primitive that ONNX has no operator for is written as its formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.onnx.dims import Dim, Size
from tapegrad.nn.formats.onnx.graph import ELEMENT_TYPES, Array, OnnxNode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["GraphBuilder", "GraphValue"]

INT64 = np.dtype(np.int64)
BOOL = np.dtype(bool)


class GraphValue:
    """A named value of the graph, and its dtype.  Operators append nodes; numbers are constants."""

    __slots__ = ("builder", "dtype", "name")

    def __init__(self, builder: GraphBuilder, name: str, dtype: np.dtype[Any]) -> None:
        self.builder, self.name, self.dtype = builder, name, dtype

    def _operand(self, other: GraphValue | float) -> GraphValue:
        return other if isinstance(other, GraphValue) else self.builder.number(other, self.dtype)

    def _binary(self, op: str, other: GraphValue | float, *, swapped: bool = False) -> GraphValue:
        operand = self._operand(other)
        return self.builder.op(op, *((operand, self) if swapped else (self, operand)))

    def __add__(self, other: GraphValue | float) -> GraphValue:
        return self._binary("Add", other)

    def __sub__(self, other: GraphValue | float) -> GraphValue:
        return self._binary("Sub", other)

    def __rsub__(self, other: float) -> GraphValue:
        return self._binary("Sub", other, swapped=True)

    def __mul__(self, other: GraphValue | float) -> GraphValue:
        return self._binary("Mul", other)

    def __truediv__(self, other: GraphValue | float) -> GraphValue:
        return self._binary("Div", other)

    def __rtruediv__(self, other: float) -> GraphValue:
        return self._binary("Div", other, swapped=True)

    def __neg__(self) -> GraphValue:
        return self.builder.op("Neg", self)

    def __invert__(self) -> GraphValue:
        return self.builder.op("Not", self)

    def __and__(self, other: GraphValue) -> GraphValue:
        return self.builder.op("And", self, other)

    def __or__(self, other: GraphValue) -> GraphValue:
        return self.builder.op("Or", self, other)

    def __xor__(self, other: GraphValue) -> GraphValue:
        return self.builder.op("Xor", self, other)

    def compare(self, op: str, other: GraphValue | float) -> GraphValue:
        """Booleans: Equal, Less, LessOrEqual, Greater, GreaterOrEqual."""
        return self.builder.op(op, self, self._operand(other), dtype=BOOL)

    def cast(self, dtype: Any) -> GraphValue:
        """The value in another dtype."""
        return self.builder.cast(self, np.dtype(dtype))

    __radd__ = __add__
    __rmul__ = __mul__


class GraphBuilder:
    """The nodes and arrays of a graph.

    opset: the version of ONNX's operators that the nodes are written in
    sizes: the batch sizes of the recordings
    """

    def __init__(self, opset: int, sizes: Sequence[int] = ()) -> None:
        self.opset, self.sizes = opset, tuple(sizes)
        self.nodes: list[OnnxNode] = []
        self.initializers: dict[str, Array] = {}
        self.owner = ""  # the path of the module whose nodes are being written
        self.batch_source: tuple[str, int] | None = None  # an input, and its axis of samples
        self._names: set[str] = set()
        self._numbers: dict[Any, GraphValue] = {}
        self._dims: dict[Any, GraphValue] = {}

    # Names and nodes -----------------------------------------------------------------------------

    def fresh(self, hint: str) -> str:
        """A name that nothing has yet: the hint, or the hint and a number."""
        name, count = hint, 0
        while name in self._names:
            count += 1
            name = f"{hint}_{count}"
        self._names.add(name)
        return name

    def op(
        self, op: str, *inputs: GraphValue | None, dtype: Any = None, **attributes: Any
    ) -> GraphValue:
        """Append a node with one output, of the first input's dtype if none is given."""
        return self.ops(op, inputs, 1, dtypes=(dtype,), **attributes)[0]

    def ops(
        self,
        op: str,
        inputs: Sequence[GraphValue | None],
        count: int,
        *,
        dtypes: Sequence[Any] = (),
        **attributes: Any,
    ) -> list[GraphValue]:
        """Append a node with `count` outputs, of the first input's dtype where none is given."""
        usual = next((value.dtype for value in inputs if value is not None), None)
        prefix = f"{self.owner}/" if self.owner else ""
        name = self.fresh(f"{prefix}{op}")
        names = [self.fresh(f"{name}:{i}" if i else f"{name}:0") for i in range(count)]
        given = [*dtypes, *(None,) * (count - len(dtypes))]
        outputs = [
            GraphValue(self, each, np.dtype(dtype if dtype is not None else usual))
            for each, dtype in zip(names, given, strict=True)
        ]
        listed = ["" if value is None else value.name for value in inputs]
        while listed and not listed[-1]:
            listed.pop()
        kept = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(OnnxNode(op, listed, names, kept, name))
        return outputs

    def cast(self, value: GraphValue, dtype: np.dtype[Any]) -> GraphValue:
        """The value in another dtype; itself if it has the dtype."""
        if value.dtype == dtype:
            return value
        return self.op("Cast", value, dtype=dtype, to=element_type(dtype))

    def where(
        self, condition: GraphValue, x1: GraphValue | float, x2: GraphValue | float
    ) -> GraphValue:
        """x1 where the condition holds, else x2; one of them is a value."""
        dtype = next(x.dtype for x in (x1, x2) if isinstance(x, GraphValue))
        operands = [x if isinstance(x, GraphValue) else self.number(x, dtype) for x in (x1, x2)]
        return self.op("Where", condition, *operands, dtype=dtype)

    # Constants -----------------------------------------------------------------------------------

    def array(self, array: Array, hint: str = "constant") -> GraphValue:
        """An array of the file."""
        element_type(array.dtype)
        name = self.fresh(hint)
        self.initializers[name] = array
        return GraphValue(self, name, array.dtype)

    def number(self, number: Any, dtype: Any) -> GraphValue:
        """A number as an array without axes, once for each number."""
        array = np.asarray(number, dtype=dtype)
        key = ((), array.dtype.str, array.tobytes())
        if key not in self._numbers:
            self._numbers[key] = self.array(array)
        return self._numbers[key]

    def vector(self, numbers: Sequence[int]) -> GraphValue:
        """Whole numbers as a vector of int64, once for each vector."""
        array = np.asarray(list(numbers), dtype=np.int64)
        key = (array.shape, array.dtype.str, array.tobytes())
        if key not in self._numbers:
            self._numbers[key] = self.array(array)
        return self._numbers[key]

    # Numbers that depend on the batch ------------------------------------------------------------

    def sizes_of(self, sizes: Sequence[Size]) -> GraphValue:
        """Whole numbers as a vector of int64, those that depend on the batch computed from it."""
        if not any(isinstance(size, Dim) for size in sizes):
            return self.vector([int(size) for size in sizes if not isinstance(size, Dim)])
        parts: list[GraphValue] = []
        known: list[int] = []
        for size in sizes:
            if not isinstance(size, Dim):
                known.append(int(size))
                continue
            if known:
                parts.append(self.vector(known))
                known = []
            parts.append(self.dim(size))
        if known:
            parts.append(self.vector(known))
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=0)

    def dim(self, dim: Dim) -> GraphValue:
        """A number that depends on the batch, as a vector of one int64.

        Raises UnsupportedError for one that is no multiple of the batch and a constant.
        """
        k, c = dim.affine(self.sizes)
        if (k, c) not in self._dims:
            self._dims[k, c] = self._affine(k, c)
        return self._dims[k, c]

    def _affine(self, k: int, c: int) -> GraphValue:
        if (k, c) == (1, 0):
            if self.batch_source is None:
                raise UnsupportedError("no input says the size of the batch")
            name, axis = self.batch_source
            # its owner is the graph, whoever asks first
            owner, self.owner = self.owner, ""
            shape = self.op("Shape", GraphValue(self, name, INT64), dtype=INT64)
            batch = self.op("Gather", shape, self.vector([axis]), axis=0)
            self.owner = owner
            return batch
        value = self.dim(Dim(self.sizes))
        if k != 1:
            value = self.op("Mul", value, self.vector([k]))
        return self.op("Add", value, self.vector([c])) if c else value

    # Shapes --------------------------------------------------------------------------------------

    def reshape(self, value: GraphValue, shape: Sequence[Size]) -> GraphValue:
        """The value in another shape, in which one length may be a Dim or -1, or several Dims."""
        dims = [size for size in shape if isinstance(size, Dim)]
        if len(dims) == 1 and all(size != 0 for size in shape):
            shape = [-1 if isinstance(size, Dim) else size for size in shape]
        has_zero = any(size == 0 for size in shape)
        target = self.sizes_of(shape)
        return self.op("Reshape", value, target, allowzero=1 if has_zero else None)

    def unsqueeze(self, value: GraphValue, axes: Sequence[int]) -> GraphValue:
        """The value with axes of length 1 at these places of the result."""
        return self.op("Unsqueeze", value, self.vector(axes)) if axes else value

    def squeeze(self, value: GraphValue, axes: Sequence[int]) -> GraphValue:
        """The value without these axes, of length 1."""
        return self.op("Squeeze", value, self.vector(axes)) if axes else value

    def reduce(
        self, op: str, value: GraphValue, axes: Sequence[int] | None, *, keepdims: bool = False
    ) -> GraphValue:
        """A reduction over axes, None for all: ReduceSum and its relatives in this opset."""
        keep = 1 if keepdims else 0
        if axes is not None and not axes:
            return value
        if self.opset >= (13 if op == "ReduceSum" else 18):
            vector = None if axes is None else self.vector(axes)
            return self.op(op, value, vector, keepdims=keep)
        return self.op(op, value, keepdims=keep, axes=None if axes is None else list(axes))

    def slice(
        self,
        value: GraphValue,
        starts: Sequence[Size],
        ends: Sequence[Size],
        axes: Sequence[int],
        steps: Sequence[int] | None = None,
    ) -> GraphValue:
        """A part of the value along axes."""
        given = [self.sizes_of(starts), self.sizes_of(ends), self.vector(axes)]
        if steps is not None and any(step != 1 for step in steps):
            given.append(self.vector(steps))
        return self.op("Slice", value, *given)

    def pad(
        self, value: GraphValue, before: Sequence[Size], after: Sequence[Size], fill: float = 0
    ) -> GraphValue:
        """The value with a border; nothing is cut off."""
        if not any(isinstance(n, Dim) or n for n in (*before, *after)):
            return value
        widths = self.sizes_of([*before, *after])
        return self.op("Pad", value, widths, self.number(fill, value.dtype), mode="constant")


def element_type(dtype: np.dtype[Any]) -> int:
    """ONNX's number of a dtype.  Raises UnsupportedError for one that it has no number for."""
    number = ELEMENT_TYPES.get(np.dtype(dtype).newbyteorder("="))
    if number is None:
        kind = "complex numbers" if np.dtype(dtype).kind == "c" else f"{dtype} arrays"
        raise UnsupportedError(f"ONNX's operators compute with real numbers, not with {kind}")
    return number
