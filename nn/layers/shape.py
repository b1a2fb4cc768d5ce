"""Layers that rearrange the axes of their input, repeat it, pad it, or convert its type.

Torch7 has both Reshape and View because its View refuses arrays that are not contiguous in memory
and its Reshape copies them.  Here both share memory where the layout allows it and copy where it
does not.  They still tell a batch from a single sample by different rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.methods.torch7 import TORCH_TYPES
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import DTypeLike

__all__ = [
    "Collapse",
    "Contiguous",
    "Convert",
    "Copy",
    "Flatten",
    "Padding",
    "Replicate",
    "Reshape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "View",
]


class Reshape(Module):
    """y = the entries of x, row by row, in the shape `sizes`: Reshape(3, 4).

    x: (…) with 3·4 entries -> (3, 4), or (N, …) with N·3·4 entries -> (N, 3, 4).
    batchMode True: the first axis is always the batch; False: never; None, the default: x is a
    single sample if it has exactly as many entries as one, unless its first axis has length 1.
    batchMode may also be the last positional argument, as in Torch7: Reshape(3, 4, True).
    Raises ShapeError when the numbers of entries differ.  Source: nn.Reshape.
    """

    keeps = ("size", "nelement", "batchMode")

    def __init__(
        self, *sizes: int | Iterable[int] | bool | None, batchMode: bool | None = None
    ) -> None:
        if sizes and isinstance(sizes[-1], bool):
            *sizes, batchMode = sizes  # type: ignore[assignment]  # just seen to be a bool
        self.size = lengths_of(sizes)
        if min(self.size, default=0) < 0:
            raise ValueError(f"Reshape takes lengths, got {self.size}; View accepts one -1")
        self.nelement = math.prod(self.size)
        self.batchMode = batchMode

    def updateOutput(self, x: Tensor) -> Tensor:
        single = self.batchMode is False or (
            self.batchMode is None and x.size == self.nelement and (not x.ndim or x.shape[0] != 1)
        )
        shape = self.size if single else (*x.shape[:1], *self.size)
        if math.prod(shape) != x.size:
            raise ShapeError(
                f"the input of shape {x.shape} has {x.size} entries, "
                f"{shape} would have {math.prod(shape)}"
            )
        return x.reshape(shape)

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({'x'.join(map(str, self.size))})"


class View(Module):
    """y = the entries of x, row by row, in the shape `sizes`, with -1 for one length: View(3, -1).

    x: (…) with as many entries -> sizes;  with k times as many -> (k, *sizes), a batch of k.
    -1 stands for as many entries as remain, so that x would always be a single sample.  After
    `setNumInputDims(n)` a single sample has n axes, and all axes in front of them are the batch;
    then a batch of one keeps its axis.
    Raises ShapeError when the entries do not fit.  Source: nn.View.
    """

    keeps = ("numInputDims", "size", "numElements")

    def __init__(self, *sizes: int | Iterable[int]) -> None:
        self.numInputDims: int | None = None
        self.resetSize(*sizes)

    def resetSize(self, *sizes: int | Iterable[int]) -> Self:
        """Set the shape.  Raises ValueError for lengths below 1, and for more than one -1."""
        size = lengths_of(sizes)
        known = [length for length in size if length != -1]
        if min(known, default=1) < 1 or len(size) - len(known) > 1:
            raise ValueError(f"View takes positive lengths and at most one -1, got {size}")
        self.size = size
        self.numElements = math.prod(known)
        return self

    def setNumInputDims(self, numInputDims: int) -> Self:
        """Set the number of axes of a single sample; axes in front of them are the batch."""
        self.numInputDims = numInputDims
        return self

    def updateOutput(self, x: Tensor) -> Tensor:
        axes = x.ndim if self.numInputDims is None else self.numInputDims
        if axes > x.ndim:
            raise ShapeError(f"the input has {x.ndim} axes, a single sample has {axes}")
        entries = math.prod(x.shape[x.ndim - axes :])
        if entries % self.numElements:
            raise ShapeError(
                f"the input of shape {x.shape} has {entries} entries per sample, which is no "
                f"multiple of the {self.numElements} of View{self.size}"
            )
        batch = math.prod(x.shape[: x.ndim - axes])
        remaining = entries // self.numElements
        if -1 in self.size:
            size = tuple(remaining if length == -1 else length for length in self.size)
        else:
            size, batch = self.size, batch * remaining
        single = batch == 1 and (self.numInputDims is None or x.ndim <= axes)
        return x.reshape(size if single else (batch, *size))

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({', '.join(map(str, self.size))})"


class Flatten(Module):
    """y = x with the axes from `start_dim` to `end_dim`, both included, joined to one.

    x: (N, …) -> (N, n) with the defaults.  Negative axes count from the end.
    Raises ShapeError when there is no such axis, or the last is before the first.
    """

    keeps = ("start_dim", "end_dim")

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def updateOutput(self, x: Tensor) -> Tensor:
        first, last = axis_of(self.start_dim, x.ndim), axis_of(self.end_dim, x.ndim)
        if last < first:
            raise ShapeError(f"axis {last} of the input of shape {x.shape} is before axis {first}")
        joined = math.prod(x.shape[first : last + 1])
        return x.reshape((*x.shape[:first], joined, *x.shape[last + 1 :]))


class Contiguous(Module):
    """y = x, in row-major order in memory; any shape.  Source: nn.Contiguous."""

    def updateOutput(self, x: Tensor) -> Tensor:
        return ops.copy(x)


class Copy(Module):
    """y = x, of any shape, in another floating point type.

    Copy("torch.DoubleTensor", "torch.FloatTensor") converts to float32.  Without arguments, or
    with two equal types, y = x.  Types are Torch7's names or dtypes.  x is converted whatever its
    own dtype is.  forceCopy and dontCast are accepted and have no effect.
    Source: nn.Copy.
    """

    keeps = ("intype", "outtype")

    def __init__(
        self,
        intype: DTypeLike | None = None,
        outtype: DTypeLike | None = None,
        forceCopy: bool = False,
        dontCast: bool = False,
    ) -> None:
        self.intype = intype
        self.outtype = outtype

    def updateOutput(self, x: Tensor) -> Tensor:
        if self.outtype is None or self.outtype == self.intype:
            return x
        return ops.cast(x, dtype=np.dtype(TORCH_TYPES.get(self.outtype, self.outtype)))


class Squeeze(Module):
    """y = x without the axis `dim` if its length is 1; without all such axes if dim is None.

    numInputDims: how many axes a single sample has; in an input with one more, `dim` counts behind
    the axis of the batch, which is never dropped.  The result has at least one axis.  Source:
    nn.Squeeze.
    """

    keeps = ("dim", "numInputDims")
    counts: ClassVar[Mapping[str, str]] = {"dim": "dimension"}

    def __init__(self, dim: int | None = None, numInputDims: int | None = None) -> None:
        self.dim = dim
        self.setNumInputDims(numInputDims)

    def setNumInputDims(self, numInputDims: int | None) -> Self:
        """Set the number of axes of a single sample; None if there are no batches."""
        self.numInputDims = numInputDims
        return self

    def updateOutput(self, x: Tensor) -> Tensor:
        if self.dim is None:
            batch = x.shape[:1] if x.ndim - 1 == self.numInputDims else ()
            shape = (*batch, *(n for n in x.shape[len(batch) :] if n != 1))
        else:
            axis = axis_of(self.dim, x.ndim, self.numInputDims)
            shape = tuple(n for a, n in enumerate(x.shape) if a != axis or n != 1)
        return x.reshape(shape or (1,))


class Unsqueeze(Module):
    """y = x with a new axis of length 1 at position `pos`.

    numInputDims: how many axes a single sample has; axes in front of them are the batch, and `pos`
    counts behind them.  Raises ShapeError when there is no such position.
    Source: nn.Unsqueeze, whose default for numInputDims is the number of axes of its first input.
    """

    keeps = ("pos", "numInputDims")
    counts: ClassVar[Mapping[str, str]] = {"pos": "dimension"}

    def __init__(self, pos: int, numInputDims: int | None = None) -> None:
        self.pos = pos
        self.setNumInputDims(numInputDims)

    def setNumInputDims(self, numInputDims: int | None) -> Self:
        """Set the number of axes of a single sample; None if there are no batches."""
        self.numInputDims = numInputDims
        return self

    def updateOutput(self, x: Tensor) -> Tensor:
        pos = self.pos
        if self.numInputDims is not None and pos >= 0:
            pos += x.ndim - self.numInputDims
        return ops.expand_dims(x, axis_of(pos, x.ndim + 1))

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)}(dim {self.pos + first if self.pos >= 0 else self.pos})"


class Replicate(Module):
    """y = x repeated nfeatures times along a new axis `dim`, without a copy.

    ndim: how many axes a single sample has; in an input with more, `dim` counts behind the axis of
    the batch.
    Raises ShapeError when there is no such axis.  Source: nn.Replicate.
    """

    keeps = ("nfeatures", "dim", "ndim")
    counts: ClassVar[Mapping[str, str]] = {"dim": "dimension"}

    def __init__(self, nfeatures: int, dim: int = 0, ndim: int | None = None) -> None:
        self.nfeatures = nfeatures
        self.dim = dim
        self.ndim = ndim

    def updateOutput(self, x: Tensor) -> Tensor:
        batch = self.ndim is not None and x.ndim > self.ndim
        axis = axis_of(self.dim + batch, x.ndim + 1)
        shape = (*x.shape[:axis], self.nfeatures, *x.shape[axis:])
        return ops.broadcast_to(ops.expand_dims(x, axis), shape)


class Transpose(Module):
    """y = x with pairs of axes exchanged, one after the other: Transpose((0, 2), (1, 2)).

    After `setNumInputDims(n)` a single sample has n axes; axes in front of them are the batch, and
    the pairs count behind them.  Raises ShapeError for an axis that x does not have.
    Source: nn.Transpose.
    """

    keeps = ("permutations", "numInputDims")
    counts: ClassVar[Mapping[str, str]] = {"permutations": "dimension"}

    def __init__(self, *permutations: Iterable[int]) -> None:
        self.permutations = [tuple(pair) for pair in permutations]
        self.numInputDims: int | None = None

    def setNumInputDims(self, numInputDims: int | None) -> Self:
        """Set the number of axes of a single sample; None if there are no batches."""
        self.numInputDims = numInputDims
        return self

    def updateOutput(self, x: Tensor) -> Tensor:
        batch = 0 if self.numInputDims is None else x.ndim - self.numInputDims
        for pair in self.permutations:
            first, second = (axis_of(d + batch if d >= 0 else d, x.ndim) for d in pair)
            x = ops.swapaxes(x, first, second)
        return x


class Padding(Module):
    """y = x with |pad| entries `value` inserted along `dim`: at the start if pad < 0, else at the
    end.

    nInputDim: how many axes a single sample has; in another input `dim` counts behind one more axis
    index:     how many entries of x stand between the padding and that end of the axis
    Raises ShapeError for an axis or an index that x does not have.  Source: nn.Padding.
    """

    keeps = ("dim", "pad", "nInputDim", "value", "index")
    promotes = True
    counts: ClassVar[Mapping[str, str]] = {"dim": "dimension", "index": "index"}

    def __init__(
        self, dim: int, pad: int, nInputDim: int | None = None, value: float = 0, index: int = 0
    ) -> None:
        self.dim = dim
        self.pad = pad
        self.nInputDim = nInputDim
        self.value = value
        self.index = index

    def updateOutput(self, x: Tensor) -> Tensor:
        batched = self.nInputDim is not None and x.ndim != self.nInputDim and self.dim >= 0
        axis = axis_of(self.dim + batched, x.ndim)
        length = x.shape[axis]
        if not 0 <= self.index <= length:
            raise ShapeError(f"axis {axis} of {x.shape} has no index {self.index} for the padding")
        start = length - self.index if self.pad > 0 else self.index
        before, after = ops.split(x, (start,), axis)
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, abs(self.pad))
        return ops.concatenate([ops.pad(before, tuple(widths), self.value), after], axis=axis)


class Collapse(Module):
    """x as one axis, or (N, all the rest) when it has more than nInputDim axes.

    Source: nn.Collapse.
    """

    keeps = ("nInputDim",)

    def __init__(self, nInputDim: int) -> None:
        self.nInputDim = nInputDim

    def updateOutput(self, x: Tensor) -> Tensor:
        batch = x.shape[:1] if x.ndim > self.nInputDim else ()
        return x.reshape((*batch, math.prod(x.shape[len(batch) :])))


class Convert(Module):
    """x with its axes, named by letters, as another string of letters: Convert("bchw", "bhwc").

    The letters of inputShape and outputShape are the same: a transposition.  To "bf": all axes but
    the batch b become one.  To "b": the only feature (of "bf"), or the first (of "bt").  To "bt",
    from "b": a new axis.  b may be left out of both; it is then in front, and a single sample has
    one axis less.  With one argument only, that is the output and the input is the same; without
    any both are "b*", any axes behind the batch, and y = x.
    Raises ValueError for other conversions, ShapeError for other numbers of axes.
    Source: nn.Convert.
    """

    keeps = (
        "inputShape",
        "outputShape",
        "inputBatchDim",
        "outputBatchDim",
        "nInputDim",
        "nOutputDim",
        "transposition",
    )
    counts: ClassVar[Mapping[str, str]] = {
        "inputBatchDim": "dimension", "outputBatchDim": "dimension"
    }  # fmt: skip

    def __init__(self, inputShape: str = "b*", outputShape: str | None = None) -> None:
        shapes = (inputShape, inputShape if outputShape is None else outputShape)
        self.inputShape, self.outputShape = (s if "b" in s else f"b{s}" for s in shapes)
        self.inputBatchDim = self.inputShape.index("b")
        self.outputBatchDim = self.outputShape.index("b")
        self.nInputDim = len(self.inputShape)
        self.nOutputDim = len(self.outputShape)
        if self.inputShape == self.outputShape == "b*":
            self.nInputDim = self.nOutputDim = -1  # any number
        self.transposition = sorted(self.inputShape) == sorted(self.outputShape)
        known = self.outputShape == "bf" or (
            self.outputShape == "b" and sorted(self.inputShape) in (["b", "f"], ["b", "t"])
        )
        known = known or (self.inputShape, self.outputShape) == ("b", "bt")
        if not (self.transposition or known) or ("*" in self.inputShape and self.nInputDim > 0):
            raise ValueError(f"Convert: no way from {self.inputShape} to {self.outputShape}")

    def updateOutput(self, x: Tensor) -> Tensor:
        if self.nInputDim < 0:
            return x
        single = x.ndim == self.nInputDim - 1
        if x.ndim != self.nInputDim and not single:
            raise ShapeError(f"the input of shape {x.shape} is no {self.inputShape}")
        y = self._rearrange(ops.expand_dims(x, self.inputBatchDim) if single else x)
        if not single or y.ndim == 1:
            return y
        return ops.squeeze(y, self.outputBatchDim)

    def _rearrange(self, x: Tensor) -> Tensor:
        if self.transposition:
            return ops.transpose(x, tuple(self.inputShape.index(c) for c in self.outputShape))
        batch = self.inputBatchDim
        if self.outputShape == "b":
            other = 1 - batch
            if "f" in self.inputShape and x.shape[other] != 1:
                raise ShapeError(f"{x.shape[other]} features do not fit in one number a sample")
            return x[(slice(None), 0) if other else (0, slice(None))]
        x = ops.swapaxes(x, 0, batch)
        return x.reshape((x.shape[0], math.prod(x.shape[1:])))


def lengths_of(sizes: Iterable[Any]) -> tuple[int, ...]:
    """Return lengths, passed one by one or as one sequence, as a tuple of ints."""
    sizes = tuple(sizes)
    if len(sizes) == 1 and isinstance(sizes[0], Iterable):
        sizes = tuple(sizes[0])
    return tuple(int(length) for length in sizes)
