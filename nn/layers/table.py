"""Table layers: modules whose input or output is a table, a Python list of arrays.

Most are one expression.  Torch7 writes their gradients by hand: zeros for entries that were not
selected, sums for an entry that is used several times.  Here the tape does that.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from tapegrad.autograd import Tensor, ops
from tapegrad.autograd.core.tree import leaves
from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.tables import concatenate_parts, entries_of, entries_of_one_shape
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = [
    "BifurcateSplitTable",
    "CAveTable",
    "CrossProduct",
    "Pack",
    "TableOperation",
    "CAddTable",
    "CAddTensorTable",
    "CDivTable",
    "CMaxTable",
    "CMinTable",
    "CMulTable",
    "CSubTable",
    "FlattenTable",
    "JoinTable",
    "MM",
    "MV",
    "MixtureTable",
    "NarrowTable",
    "SelectTable",
    "SplitTable",
    "ZipTable",
    "ZipTableOneToMany",
]

# Arithmetic ---------------------------------------------------------------------------------------


class CAddTable(Module):
    """y = x₀ + x₁ + …, entry by entry.

    [x₀, x₁, …]: arrays with equally many entries -> the shape of x₀.  `inplace` is accepted and
    kept; the caller's arrays are never overwritten.  Raises ShapeError when numbers of entries
    differ.  Source: nn.CAddTable.
    """

    keeps = ("inplace",)
    promotes = True

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = bool(inplace)

    def updateOutput(self, x: Nest) -> Tensor:
        return functools.reduce(ops.add, entries_of_one_shape(x))


class CAveTable(Module):
    """y = (x₀ + x₁ + …) / n, entry by entry, of n arrays.

    Shapes and errors as in CAddTable; `inplace` likewise.  Source: BigDL's CAveTable.
    """

    keeps = ("inplace",)
    promotes = True

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = bool(inplace)

    def updateOutput(self, x: Nest) -> Tensor:
        entries = entries_of_one_shape(x)
        return functools.reduce(ops.add, entries) / len(entries)


class CSubTable(Module):
    """y = x₀ - x₁, entry by entry: two arrays with equally many entries -> the shape of x₀.

    Raises ShapeError for other shapes.  Source: nn.CSubTable.
    """

    promotes = True

    def updateOutput(self, x: Nest) -> Tensor:
        first, second = entries_of_one_shape(x, 2)
        return first - second


class CMulTable(Module):
    """y = x₀ · x₁ · …, entry by entry: arrays with equally many entries -> the shape of x₀.

    Its gradient needs no division, so entries may be 0.  Raises ShapeError when numbers of entries
    differ.  Source: nn.CMulTable.
    """

    promotes = True

    def updateOutput(self, x: Nest) -> Tensor:
        return functools.reduce(ops.multiply, entries_of_one_shape(x))


class CDivTable(Module):
    """y = x₀ / x₁, entry by entry: two arrays with equally many entries -> the shape of x₀.

    Raises ShapeError for other shapes.  Source: nn.CDivTable.
    """

    promotes = True

    def updateOutput(self, x: Nest) -> Tensor:
        first, second = entries_of_one_shape(x, 2)
        return first / second


class CMaxTable(Module):
    """y = max(x₀, x₁, …), entry by entry; of equal entries the first has the gradient.

    [x₀, x₁, …]: arrays with equally many entries -> the shape of x₀.  Raises ShapeError when
    numbers of entries differ.  Source: nn.CMaxTable.
    """

    promotes = True

    def updateOutput(self, x: Nest) -> Tensor:
        return functools.reduce(ops.maximum, entries_of_one_shape(x))


class CMinTable(Module):
    """y = min(x₀, x₁, …), entry by entry; of equal entries the first has the gradient.

    Shapes and errors as in CMaxTable.  Source: nn.CMinTable.
    """

    promotes = True

    def updateOutput(self, x: Nest) -> Tensor:
        return functools.reduce(ops.minimum, entries_of_one_shape(x))


class CAddTensorTable(Module):
    """[v, [m₀, m₁, …]] -> [v + m₀, v + m₁, …], all of one shape.  Source: nn.CAddTensorTable."""

    promotes = True

    def updateOutput(self, x: Nest) -> list[Tensor]:
        first, others = entries_of(x, 2)
        return [
            functools.reduce(ops.add, entries_of_one_shape([first, other]))
            for other in entries_of(others)
        ]


class MM(Module):
    """y = A B for matrices, or batches of them; transA and transB transpose A and B first.

    [A, B]: (n, k) and (k, m), or (N, n, k) and (N, k, m) -> (n, m) or (N, n, m).
    Raises ShapeError when the shapes do not match.  Source: nn.MM.
    """

    keeps = ("transA", "transB")
    promotes = True

    def __init__(self, transA: bool = False, transB: bool = False) -> None:
        self.transA = bool(transA)
        self.transB = bool(transB)

    def updateOutput(self, x: Nest) -> Tensor:
        a, b = entries_of(x, 2)
        if a.ndim != b.ndim or a.ndim not in (2, 3) or a.shape[:-2] != b.shape[:-2]:
            raise ShapeError(f"shapes {a.shape} and {b.shape} are no pair of matrices or batches")
        a, b = (
            ops.swapaxes(m, -1, -2) if t else m for m, t in ((a, self.transA), (b, self.transB))
        )
        if a.shape[-1] != b.shape[-2]:
            raise ShapeError(f"the matrices {a.shape} and {b.shape} cannot be multiplied")
        return a @ b


class MV(Module):
    """y = M v for a matrix and a vector, or batches of them; `trans` transposes M first.

    [M, v]: (n, k) and (k,), or (N, n, k) and (N, k) -> (n,) or (N, n).
    Raises ShapeError when the shapes do not match.  Source: nn.MV.
    """

    keeps = ("trans",)
    promotes = True

    def __init__(self, trans: bool = False) -> None:
        self.trans = bool(trans)

    def updateOutput(self, x: Nest) -> Tensor:
        m, v = entries_of(x, 2)
        if m.ndim not in (2, 3) or v.ndim != m.ndim - 1 or m.shape[:-2] != v.shape[:-1]:
            raise ShapeError(f"shapes {m.shape} and {v.shape} are no matrix and vector, or batches")
        m = ops.swapaxes(m, -1, -2) if self.trans else m
        if m.shape[-1] != v.shape[-1]:
            raise ShapeError(f"the matrix {m.shape} and the vector {v.shape} do not match")
        y = m @ ops.expand_dims(v, -1)
        return y.reshape(y.shape[:-1])


class MixtureTable(Module):
    """y = Σₑ gate[e] · expert[e]: a mixture of experts.

    [gates, experts]: gates (E,) or (N, E); experts a table of E arrays, (…) or (N, …), or one array
    with the experts along the axis `dim` -> the shape of one expert.
    dim None: the first axis of a single sample, the second of a batch.
    Raises ShapeError when the number of experts is not E.  Source: nn.MixtureTable.
    """

    keeps = ("dim",)
    promotes = True
    counts: ClassVar[Mapping[str, str]] = {"dim": "dimension"}

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def updateOutput(self, x: Nest) -> Tensor:
        gates, experts = entries_of(x, 2)
        if gates.ndim not in (1, 2):
            raise ShapeError(f"gates of shape {gates.shape} are neither (E,) nor (N, E)")
        axis = gates.ndim - 1 if self.dim is None else self.dim
        if isinstance(experts, (list, tuple)):
            experts = ops.stack(entries_of_one_shape(experts), axis=axis)
        axis = axis_of(axis, experts.ndim)
        fits = experts.shape[axis] == gates.shape[-1] and axis >= gates.ndim - 1
        if not fits or experts.shape[: gates.ndim - 1] != gates.shape[:-1]:
            raise ShapeError(f"gates {gates.shape} and experts {experts.shape} do not match")
        gates_shape = [1] * experts.ndim
        gates_shape[axis] = gates.shape[-1]
        gates_shape[: gates.ndim - 1] = gates.shape[:-1]
        return ops.sum(gates.reshape(tuple(gates_shape)) * experts, axis=axis)


# Selecting and arranging --------------------------------------------------------------------------


class SelectTable(Module):
    """[x₀, x₁, …] -> xᵢ, i = index; a negative index counts from the end, and a dict takes a key.

    The gradient of every other entry is 0.  Raises ShapeError when there is no such entry.
    Source: nn.SelectTable.
    """

    keeps = ("index",)
    counts: ClassVar[Mapping[str, str]] = {"index": "index"}

    def __init__(self, index: int | str) -> None:
        self.index = index

    def updateOutput(self, x: Nest) -> Nest:
        try:
            return x[self.index]
        except (IndexError, KeyError):
            raise ShapeError(f"the table has {len(x)} entries, none at {self.index!r}") from None

    def describe(self, first: int) -> str:
        index = self.index
        if isinstance(index, int) and index >= 0:
            index += first
        return f"{torch7_name(self)}({index})"


class NarrowTable(Module):
    """[x₀, x₁, …] -> [xₒ, xₒ₊₁, …]: `length` entries from o = `offset` on.

    Raises ShapeError when the table has fewer.  Source: nn.NarrowTable.
    """

    keeps = ("offset", "length")
    counts: ClassVar[Mapping[str, str]] = {"offset": "index"}

    def __init__(self, offset: int, length: int = 1) -> None:
        self.offset = offset
        self.length = length

    def updateOutput(self, x: Nest) -> list[Nest]:
        stop = self.offset + self.length
        if not 0 <= self.offset <= stop <= len(x):
            raise ShapeError(
                f"the table has {len(x)} entries, not all of {self.offset} … {stop - 1}"
            )
        return list(x[self.offset : stop])


class FlattenTable(Module):
    """Nested tables -> one list of their arrays, first to last.  Source: nn.FlattenTable."""

    def updateOutput(self, x: Nest) -> list[Tensor]:
        return leaves(x)


class ZipTable(Module):
    """[[a₀, a₁, …], [b₀, b₁, …], …] -> [[a₀, b₀, …], [a₁, b₁, …], …].

    Raises ShapeError when the inner tables differ in length.  Source: nn.ZipTable.
    """

    def updateOutput(self, x: Nest) -> list[Nest]:
        if len({len(entries_of(part)) for part in entries_of(x)}) > 1:
            raise ShapeError(f"tables of lengths {[len(part) for part in x]} cannot be paired")
        return [list(parts) for parts in zip(*x, strict=True)]


class ZipTableOneToMany(Module):
    """[v, [m₀, m₁, …]] -> [[v, m₀], [v, m₁], …].  Source: nn.ZipTableOneToMany."""

    def updateOutput(self, x: Nest) -> list[Nest]:
        one, many = entries_of(x, 2)
        return [[one, other] for other in entries_of(many)]


class JoinTable(Module):
    """[x₀, x₁, …] -> the arrays joined along `dimension`.

    nInputDims: how many axes a single sample has; in an input with one more, a batch, `dimension`
    counts behind the axis of the batch.
    Raises ShapeError when other axes differ.  Source: nn.JoinTable.
    """

    keeps = ("dimension", "nInputDims")
    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension"}

    def __init__(self, dimension: int, nInputDims: int | None = None) -> None:
        self.dimension = dimension
        self.nInputDims = nInputDims

    def updateOutput(self, x: Nest) -> Tensor:
        return concatenate_parts(entries_of(x), axis_of(self.dimension, x[0].ndim, self.nInputDims))


class SplitTable(Module):
    """x -> its slices along `dimension`, as a list; the axis is dropped.

    nInputDims: how many axes a single sample has; in an input with one more, a batch, `dimension`
    counts behind the axis of the batch.
    Raises ShapeError when there is no such axis.  Source: nn.SplitTable.
    """

    keeps = ("dimension", "nInputDims")
    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension"}

    def __init__(self, dimension: int, nInputDims: int | None = None) -> None:
        self.dimension = dimension
        self.nInputDims = nInputDims

    def updateOutput(self, x: Tensor) -> list[Tensor]:
        axis = axis_of(self.dimension, x.ndim, self.nInputDims)
        shape = x.shape[:axis] + x.shape[axis + 1 :]
        length = x.shape[axis]
        return [part.reshape(shape) for part in ops.split(x, length, axis)] if length else []


class BifurcateSplitTable(Module):
    """x -> [the first ⌊n/2⌋ entries, the others] along `dimension`, n entries long.

    Raises ShapeError when there is no such axis.  Source: BigDL's BifurcateSplitTable.
    """

    keeps = ("dimension",)
    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension"}

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def updateOutput(self, x: Tensor) -> list[Tensor]:
        axis = axis_of(self.dimension, x.ndim)
        return list(ops.split(x, (x.shape[axis] // 2,), axis))


class Pack(Module):
    """[x₀, x₁, …] -> the arrays stacked along a new axis `dimension`; a single array is a table.

    Raises ShapeError when the shapes differ, or there is no such axis.  Source: BigDL's Pack.
    """

    keeps = ("dimension",)
    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension"}

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def updateOutput(self, x: Nest) -> Tensor:
        entries = entries_of(x) if isinstance(x, (list, tuple)) else [x]
        if len({entry.shape for entry in entries}) != 1:
            raise ShapeError(f"arrays of shapes {[e.shape for e in entries]} cannot be stacked")
        return ops.stack(entries, axis=axis_of(self.dimension, entries[0].ndim + 1))


class CrossProduct(Module):
    """[x₀, …, xₖ₋₁] -> the inner products of all pairs, x₀·x₁, x₀·x₂, …, x₁·x₂, …

    x: arrays (n,) or (N, n) -> (1, k(k-1)/2) or (N, k(k-1)/2).  numTensor and embeddingSize, unless
    0, are the k and the n that the input must have.
    Raises ShapeError for other inputs, and for less than two arrays.  Source: BigDL's CrossProduct.
    """

    keeps = ("numTensor", "embeddingSize")
    promotes = True

    def __init__(self, numTensor: int = 0, embeddingSize: int = 0) -> None:
        self.numTensor = numTensor
        self.embeddingSize = embeddingSize

    def updateOutput(self, x: Nest) -> Tensor:
        entries = entries_of_one_shape(x)
        count, shape = len(entries), entries[0].shape
        if count < 2 or (self.numTensor > 0 and count != self.numTensor):
            raise ShapeError(f"the input has {count} arrays, numTensor is {self.numTensor}")
        if len(shape) not in (1, 2) or (self.embeddingSize > 0 and shape[-1] != self.embeddingSize):
            raise ShapeError(
                f"arrays of shape {shape} are neither (n,) nor (N, n), embeddingSize is "
                f"{self.embeddingSize}"
            )
        rows = [entry.reshape((-1, shape[-1])) for entry in entries]
        pairs = [ops.sum(a * b, axis=-1) for i, a in enumerate(rows) for b in rows[i + 1 :]]
        return ops.stack(pairs, axis=-1)


class TableOperation(Module):
    """y = module([a, b]), where the smaller of two arrays is first expanded to the larger one.

    [a, b]: one of them has length 1 along the axes in which they differ -> what the module, such as
    CMulTable, makes of two arrays of one shape.  Raises ShapeError when neither expands.
    Source: BigDL's TableOperation.
    """

    keeps = ("module",)

    def __init__(self, module: Module) -> None:
        self.module = module

    def updateOutput(self, x: Nest) -> Nest:
        a, b = entries_of(x, 2)
        fits = a.ndim == b.ndim and all(
            n == m or 1 in (n, m) for n, m in zip(a.shape, b.shape, strict=True)
        )
        if not fits:
            raise ShapeError(f"neither of {a.shape} and {b.shape} expands to the other")
        shape = tuple(max(n, m) if n and m else 0 for n, m in zip(a.shape, b.shape, strict=True))
        return self.module([ops.broadcast_to(a, shape), ops.broadcast_to(b, shape)])
