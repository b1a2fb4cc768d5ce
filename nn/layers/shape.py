"""The same entries, arranged along other axes, or with others put between them.

Torch7 has both Reshape and View because its View refuses arrays that are not contiguous in memory
and its Reshape copies them.  Here both share memory where the layout allows it and copy where it
does not; what remains different is how they tell a batch from a single sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.methods.torch7 import TORCH_TYPES
from tapegrad.nn.module import Module

__all__ = [
    "Collapse",
    "Contiguous",
    "Convert",
    "Copy",
    "Padding",
    "Replicate",
    "Reshape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "View",
]


class Reshape(Module):
    """The entries of x, row by row, in the shape `sizes`: Reshape(3, 4).

    x: (…) with 3·4 entries -> (3, 4), or (N, …) with N·3·4 entries -> (N, 3, 4).
    batchMode True: the first axis is always the batch; False: never; None, the default: x is a
    single sample if it has exactly as many entries as one, unless its first axis has length 1.
    It may also be the last positional argument, as in Torch7: Reshape(3, 4, True).
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

    def updateOutput(self, x: Any) -> Any:
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
    """The entries of x, row by row, in the shape `sizes`, one of which may be -1: View(3, -1).

    x: (…) with as many entries -> sizes;  with k times as many -> (k, *sizes), a batch of k.
    -1 stands for whatever is left, so that nothing remains to be a batch: say how many axes a
    single sample has with `setNumInputDims`, and every axis in front of them is batch.  Then, too,
    a batch of one keeps its axis.
    Raises ShapeError when the entries do not fit.  Source: nn.View.
    """

    keeps = ("numInputDims", "size", "numElements")

    def __init__(self, *sizes: int | Iterable[int]) -> None:
        self.numInputDims: int | None = None
        self.resetSize(*sizes)

    def resetSize(self, *sizes: int | Iterable[int]) -> Self:
        """View as another shape from now on."""
        size = lengths_of(sizes)
        known = [length for length in size if length != -1]
        if min(known, default=1) < 1 or len(size) - len(known) > 1:
            raise ValueError(f"View takes positive lengths and at most one -1, got {size}")
        self.size = size
        self.numElements = math.prod(known)
        return self

    def setNumInputDims(self, numInputDims: int) -> Self:
        """Say how many axes a single sample has; what is in front of them is batch."""
        self.numInputDims = numInputDims
        return self

    def updateOutput(self, x: Any) -> Any:
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
        left = entries // self.numElements
        if -1 in self.size:
            size = tuple(left if length == -1 else length for length in self.size)
        else:
            size, batch = self.size, batch * left
        single = batch == 1 and (self.numInputDims is None or x.ndim <= axes)
        return x.reshape(size if single else (batch, *size))

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({', '.join(map(str, self.size))})"


class Contiguous(Module):
    """y = x, in row-major order in memory; any shape.  Source: nn.Contiguous."""

    def updateOutput(self, x: Any) -> Any:
        return ops.copy(x)


class Copy(Module):
    """y = x in another floating point type: Copy("torch.DoubleTensor", "torch.FloatTensor").

    Without arguments, or from a type to itself, y = x.  Types are given as Torch7 named them or as
    dtypes; what arrives is converted whatever its own type is.  forceCopy and dontCast are accepted
    and have no meaning here.  Source: nn.Copy.
    """

    keeps = ("intype", "outtype")

    def __init__(
        self,
        intype: Any = None,
        outtype: Any = None,
        forceCopy: bool = False,
        dontCast: bool = False,
    ) -> None:
        self.intype = intype
        self.outtype = outtype

    def updateOutput(self, x: Any) -> Any:
        if self.outtype is None or self.outtype == self.intype:
            return x
        return ops.cast(x, dtype=np.dtype(TORCH_TYPES.get(self.outtype, self.outtype)))


class Squeeze(Module):
    """x without the axis `dim`, if its length is 1; without all such axes when dim is None.

    numInputDims: how many axes a single sample has; with one more, `dim` moves behind the batch,
    which is never dropped.  If nothing remains, one axis of length 1 does.  Source: nn.Squeeze.
    """

    keeps = ("dim", "numInputDims")
    counts: ClassVar[Mapping[str, str]] = {"dim": "dimension"}

    def __init__(self, dim: int | None = None, numInputDims: int | None = None) -> None:
        self.dim = dim
        self.setNumInputDims(numInputDims)

    def setNumInputDims(self, numInputDims: int | None) -> Self:
        """Say how many axes a single sample has."""
        self.numInputDims = numInputDims
        return self

    def updateOutput(self, x: Any) -> Any:
        if self.dim is None:
            batch = x.shape[:1] if x.ndim - 1 == self.numInputDims else ()
            shape = (*batch, *(n for n in x.shape[len(batch) :] if n != 1))
        else:
            axis = axis_of(self.dim, x.ndim, self.numInputDims)
            shape = tuple(n for a, n in enumerate(x.shape) if a != axis or n != 1)
        return x.reshape(shape or (1,))


class Unsqueeze(Module):
    """x with a new axis of length 1 at position `pos`.

    numInputDims: how many axes a single sample has; axes in front of them are batch, and `pos`
    counts behind them.  Raises ShapeError when there is no such position.  Source: nn.Unsqueeze,
    which takes the axes of the first input it meets for a sample's when numInputDims is omitted.
    """

    keeps = ("pos", "numInputDims")
    counts: ClassVar[Mapping[str, str]] = {"pos": "dimension"}

    def __init__(self, pos: int, numInputDims: int | None = None) -> None:
        self.pos = pos
        self.setNumInputDims(numInputDims)

    def setNumInputDims(self, numInputDims: int | None) -> Self:
        """Say how many axes a single sample has."""
        self.numInputDims = numInputDims
        return self

    def updateOutput(self, x: Any) -> Any:
        pos = self.pos
        if self.numInputDims is not None and pos >= 0:
            pos += x.ndim - self.numInputDims
        return ops.expand_dims(x, axis_of(pos, x.ndim + 1))

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)}(dim {self.pos + first if self.pos >= 0 else self.pos})"


class Replicate(Module):
    """x repeated nfeatures times along a new axis `dim`, without copying.

    ndim: how many axes a single sample has; with more, `dim` moves by one, behind the batch.
    Raises ShapeError when there is no such axis.  Source: nn.Replicate.
    """

    keeps = ("nfeatures", "dim", "ndim")
    counts: ClassVar[Mapping[str, str]] = {"dim": "dimension"}

    def __init__(self, nfeatures: int, dim: int = 0, ndim: int | None = None) -> None:
        self.nfeatures = nfeatures
        self.dim = dim
        self.ndim = ndim

    def updateOutput(self, x: Any) -> Any:
        batch = self.ndim is not None and x.ndim > self.ndim
        axis = axis_of(self.dim + batch, x.ndim + 1)
        shape = (*x.shape[:axis], self.nfeatures, *x.shape[axis:])
        return ops.broadcast_to(ops.expand_dims(x, axis), shape)


class Transpose(Module):
    """x with pairs of axes exchanged, one after the other: Transpose((0, 2), (1, 2)).

    `setNumInputDims` says how many axes a single sample has; axes in front of them are batch, and
    the pairs count behind them.  Raises ShapeError for an axis that is not there.
    Source: nn.Transpose.
    """

    keeps = ("permutations", "numInputDims")
    counts: ClassVar[Mapping[str, str]] = {"permutations": "dimension"}

    def __init__(self, *permutations: Iterable[int]) -> None:
        self.permutations = [tuple(pair) for pair in permutations]
        self.numInputDims: int | None = None

    def setNumInputDims(self, numInputDims: int | None) -> Self:
        """Say how many axes a single sample has."""
        self.numInputDims = numInputDims
        return self

    def updateOutput(self, x: Any) -> Any:
        batch = 0 if self.numInputDims is None else x.ndim - self.numInputDims
        for pair in self.permutations:
            first, second = (axis_of(d + batch if d >= 0 else d, x.ndim) for d in pair)
            x = ops.swapaxes(x, first, second)
        return x


class Padding(Module):
    """x with |pad| entries `value` put in along `dim`: before x if pad < 0, behind it if pad > 0.

    nInputDim: how many axes a single sample has; with another number, `dim` moves by one.
    index:     how many entries stand between the padding and that end of x: 0 is the very end.
    Raises ShapeError when there is no such place.  Source: nn.Padding.
    """

    keeps = ("dim", "pad", "nInputDim", "value", "index")
    counts: ClassVar[Mapping[str, str]] = {"dim": "dimension", "index": "index"}

    def __init__(
        self, dim: int, pad: int, nInputDim: int | None = None, value: float = 0, index: int = 0
    ) -> None:
        self.dim = dim
        self.pad = pad
        self.nInputDim = nInputDim
        self.value = value
        self.index = index

    def updateOutput(self, x: Any) -> Any:
        moved = self.nInputDim is not None and x.ndim != self.nInputDim and self.dim >= 0
        axis = axis_of(self.dim + moved, x.ndim)
        length = x.shape[axis]
        if not 0 <= self.index <= length:
            raise ShapeError(f"axis {axis} of {x.shape} has no place {self.index} for the padding")
        start = length - self.index if self.pad > 0 else self.index
        before, behind = ops.split(x, (start,), axis)
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, abs(self.pad))
        return ops.concatenate([ops.pad(before, tuple(widths), self.value), behind], axis=axis)


class Collapse(Module):
    """x as one axis, or (N, all the rest) when it has more than nInputDim axes.

    Source: nn.Collapse.
    """

    keeps = ("nInputDim",)

    def __init__(self, nInputDim: int) -> None:
        self.nInputDim = nInputDim

    def updateOutput(self, x: Any) -> Any:
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

    def updateOutput(self, x: Any) -> Any:
        if self.nInputDim < 0:
            return x
        single = x.ndim == self.nInputDim - 1
        if x.ndim != self.nInputDim and not single:
            raise ShapeError(f"the input of shape {x.shape} is no {self.inputShape}")
        y = self._converted(ops.expand_dims(x, self.inputBatchDim) if single else x)
        if not single or y.ndim == 1:
            return y
        return ops.squeeze(y, self.outputBatchDim)

    def _converted(self, x: Any) -> Any:
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
    """Lengths given one by one or as one sequence, as a tuple of ints."""
    sizes = tuple(sizes)
    if len(sizes) == 1 and isinstance(sizes[0], Iterable):
        sizes = tuple(sizes[0])
    return tuple(int(length) for length in sizes)
