"""Layers whose input is indices: LookupTable, OneHot, and linear layers of sparse inputs.

Indices count from 0; a negative one, or one beyond the end, is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, default_dtype, no_grad, ops
from tapegrad.autograd.core.tensor import array_of
from tapegrad.autograd.ops.index_template import HOLE
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import bound, fill_, normal_, uniform_
from tapegrad.nn.core.undo import undo_write
from tapegrad.nn.layers.indexing import to_indices
from tapegrad.nn.layers.pointwise import float_buffer
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest, Operand

__all__ = ["IndexLinear", "LookupTable", "OneHot", "SparseLinear"]


class LookupTable(Module):
    """y = weight[x]: a learned vector for each index.

    x: indices of any shape (…) and any dtype -> (…, nOutput);  weight (nIndex, nOutput), from
    N(0, 1).
    paddingValue: an index whose vector is looked up but never learned; -1, the default: none.
    maxNorm: a call first scales the vectors that it uses, in weight itself, to a p-norm of at most
    maxNorm, p = normType.  `scaleGradByFreq()`: the gradient of a vector is divided by the number
    of its occurrences in x; so does shouldScaleGradByFreq.  maskZero: the vectors of paddingValue
    are zeros.  Both are BigDL's options.
    Raises ShapeError for an index that is not in 0 … nIndex - 1.  Source:
    nn.LookupTable.

    >>> from tapegrad import nn
    >>> nn.LookupTable(10, 4)(np.array([[1, 2], [9, 0]])).shape
    (2, 2, 4)
    """

    keeps = ("weight", "paddingValue", "maxNorm", "normType", "maskZero")
    counts: ClassVar[Mapping[str, str]] = {
        "input": "index", "paddingValue": "label", "setPadding.paddingValue": "label"
    }  # fmt: skip
    shouldScaleGradByFreq = False
    maskZero = False

    def __init__(
        self,
        nIndex: int,
        nOutput: int,
        paddingValue: int = -1,
        maxNorm: float | None = None,
        normType: float = 2,
        shouldScaleGradByFreq: bool = False,
        maskZero: bool = False,
    ) -> None:
        if shouldScaleGradByFreq:
            self.scaleGradByFreq()
        if maskZero:
            self.maskZero = True
        self.weight = Parameter(np.empty((nIndex, nOutput), default_dtype()))
        self.setPadding(paddingValue)
        self.setMaxNorm(maxNorm).setNormType(normType)
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight from N(0, 1), or N(0, stdv²)."""
        normal_(self.weight, 0.0, 1.0 if stdv is None else stdv)

    def setPadding(self, paddingValue: int) -> Self:
        """Set the index whose vector is never learned; -1 for none."""
        self.paddingValue = paddingValue
        return self

    def setMaxNorm(self, maxNorm: float | None) -> Self:
        """Set the largest norm of vectors that are used; None for no limit."""
        self.maxNorm = maxNorm
        return self

    def setNormType(self, normType: float) -> Self:
        """Set the p of the norm that maxNorm limits.  Raises ValueError unless p > 0."""
        if not normType > 0:
            raise ValueError(f"LookupTable: normType is {normType}, it must be positive")
        self.normType = normType
        return self

    def scaleGradByFreq(self) -> Self:
        """Divide the gradient of a vector by the number of its occurrences in the input."""
        self.shouldScaleGradByFreq = True
        return self

    def accUpdateOnly(self) -> Self:
        """Do nothing; accepted since Torch7 has it.  Gradients take no memory before `backward`."""
        return self

    def updateOutput(self, x: Tensor) -> Tensor:
        count = self.weight.shape[0]
        x = to_indices(x, count)
        if self.maxNorm is not None:
            self._renormalize(x, self.maxNorm)
        y = self.weight[x]
        if self.paddingValue >= 0:
            counts = ops.expand_dims(ops.not_equal(x, self.paddingValue), -1)
            y = ops.where(counts, y, 0) if self.maskZero else ops.scale_gradient(y, counts)
        if self.shouldScaleGradByFreq:
            flat = x.reshape((-1,))
            one = ops.cast(flat * 0 + 1, dtype=y.dtype)
            occurrences = ops.index_add(one, [flat], template=(HOLE,), shape=(count,))
            y = ops.scale_gradient(y, ops.expand_dims(1 / occurrences[x], -1))
        return y

    def _renormalize(self, x: Tensor, maxNorm: float) -> None:
        weight = self.weight.detach()
        undo_write(weight)
        with no_grad():
            flat = x.reshape((-1,))
            rows = weight[flat]
            powers = ops.absolute(rows) ** self.normType
            norm = ops.sum(powers, axis=-1, keepdims=True) ** (1 / self.normType)
            factor = ops.where(norm > maxNorm, maxNorm / (norm + 1e-7), 1)
            ops.assign_at(weight, rows * factor, [flat], template=(HOLE,))


class OneHot(Module):
    """y[…, j] = 1 where j = x, else 0: indices of any shape (…) -> (…, outputSize).

    y has x's dtype if that is a floating point one, else the default dtype.  The gradient of x is
    0.  Raises ShapeError for an index that is not in 0 … outputSize - 1.  Source: nn.OneHot.
    """

    keeps = ("outputSize",)
    counts: ClassVar[Mapping[str, str]] = {"input": "index"}

    def __init__(self, outputSize: int) -> None:
        self.outputSize = outputSize

    def updateOutput(self, x: Tensor) -> Tensor:
        dtype = x.dtype if x.dtype.kind == "f" else default_dtype()
        x = to_indices(x, self.outputSize)
        ones = ops.broadcast_to(x.reshape(-1)[:1] * 0 + 1, (self.outputSize,))
        return ops.cast(ops.expand_dims(x, -1) == ops.cumsum(ones) - 1, dtype=dtype)


class SparseLinear(Module):
    """y = W x + b for an x that is mostly zeros, given as rows (index, value).

    x: (nnz, 2), or for a batch a table of such arrays, or (N, nnz, 2) -> (outputSize,) or
    (N, outputSize);  weight (outputSize, inputSize) from U(-s, s), s = 1/√inputSize, bias
    (outputSize,) a millionth of that.
    doGradInput: whether values have a gradient; otherwise the gradient of x is 0.  It has the
    structure of x, with zeros for the indices.
    Raises ShapeError for indices that are not in 0 … inputSize - 1.  Source: nn.SparseLinear.
    """

    keeps = ("doGradInput", "weight", "bias")
    counts: ClassVar[Mapping[str, str]] = {"input": "pairs"}

    def __init__(self, inputSize: int, outputSize: int, doGradInput: bool = False) -> None:
        self.doGradInput = bool(doGradInput)
        self.weight = Parameter(np.empty((outputSize, inputSize), default_dtype()))
        self.bias = Parameter(np.empty(outputSize, default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw weight from U(-s, s), s = 1/√inputSize, or stdv; bias from a millionth of it."""
        s = bound(self.weight.shape[1], None) if stdv is None else stdv
        uniform_(self.weight, -s, s)
        uniform_(self.bias, -1e-6 * s, 1e-6 * s)

    def updateOutput(self, x: Nest) -> Tensor:
        if isinstance(x, (list, tuple)):
            return ops.stack([self._sample(part) for part in x])
        return self._sample(x)

    def _sample(self, x: Tensor) -> Tensor:
        if x.ndim not in (2, 3) or x.shape[-1] != 2:
            raise ShapeError(f"the input of shape {x.shape} is neither (nnz, 2) nor (N, nnz, 2)")
        indices = to_indices(x[..., 0], self.weight.shape[1])
        values = x[..., 1] if self.doGradInput else x[..., 1].detach()
        return sum_weighted_rows(self.weight.T, indices, values) + self.bias


class IndexLinear(Module):
    """y = Σᵢ valueᵢ · weight[keyᵢ] + b: a linear layer of sparse inputs, given as keys and values.

    [keys, values]: (nnz,) and (nnz,), or for a batch two tables of such arrays; or
    [keys, values, sizes], all samples one after the other and their lengths (N,) ->
    (outputSize,) or (N, outputSize);  weight (inputSize, outputSize) from 0, bias (outputSize,)
    from U(-s, s), s = 1/√inputSize.
    doGradInput: whether values have a gradient; otherwise it is 0.
    keysOffset: added to every key.  weight, bias: arrays to start from.
    normalize: divide each value by the largest one, in absolute value, that its key had while
    training, and add a number that is learned for each key.  weight (inputSize, 4 + outputSize) has
    four columns more, in front: the largest value and its inverse, 1 where there is one, and the
    number that is added.  In evaluate mode a value beyond the largest becomes 1 or -1.
    Raises ShapeError for keys that are not in 0 … inputSize - 1.  Source: nn.IndexLinear.
    """

    keeps = ("inputSize", "outputSize", "doGradInput", "keysOffset", "normalize", "weight", "bias")
    counts: ClassVar[Mapping[str, Any]] = {"input": ("index", None, None)}
    normalize = 0  # how many columns of weight are in front of the weights: 4 or none

    def __init__(
        self,
        inputSize: int,
        outputSize: int,
        doGradInput: bool = False,
        keysOffset: int = 0,
        weight: Operand | None = None,
        bias: Operand | None = None,
        normalize: bool = False,
    ) -> None:
        self.inputSize = inputSize
        self.outputSize = outputSize
        self.doGradInput = bool(doGradInput)
        self.keysOffset = keysOffset
        if normalize:
            self.normalize = 4
        dtype = default_dtype()
        columns = outputSize + self.normalize
        empty = np.zeros((inputSize, columns), dtype), np.zeros(outputSize, dtype)
        self.weight = Parameter(empty[0] if weight is None else float_buffer(weight))
        self.bias = Parameter(empty[1] if bias is None else float_buffer(bias))
        if bias is None:
            s = bound(inputSize, None)
            uniform_(self.bias, -s, s)

    def reset(self, stdv: float | None = None) -> None:
        """Set weight to 0 and draw bias from U(-s, s): s = 1/√inputSize, or stdv·√3.

        Nothing is remembered of the values that keys had.
        """
        s = bound(self.inputSize, stdv)
        fill_(self.weight, 0.0)
        uniform_(self.bias, -s, s)

    def updateOutput(self, x: Nest) -> Tensor:
        if len(x) not in (2, 3):
            raise ShapeError(f"the input has {len(x)} parts, it must be [keys, values(, sizes)]")
        keys, values = x[0], x[1]
        if len(x) == 3:
            keys, values = (_split_by_sizes(part, x[2]) for part in (keys, values))
        if not isinstance(keys, (list, tuple)):
            return self._outputs([keys], [values])[0]
        if len(keys) != len(values):
            raise ShapeError(f"{len(keys)} arrays of keys, {len(values)} of values")
        return ops.stack(self._outputs(keys, values))

    def _outputs(self, keys: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        """The output for each sample."""
        samples = [self._checked(k, v) for k, v in zip(keys, values, strict=True)]
        if self.normalize:
            scaled = self._scaled_in_training if self.train else self._scaled
            samples = [(k, scaled(k, v)) for k, v in samples]
        if not self.normalize:
            return [sum_weighted_rows(self.weight, k, v) + self.bias for k, v in samples]
        added, rows = self.weight[:, 3], self.weight[:, self.normalize :]
        return [sum_weighted_rows(rows, k, v + added[k]) + self.bias for k, v in samples]

    def _checked(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if keys.ndim != 1 or keys.shape != values.shape:
            raise ShapeError(f"keys of shape {keys.shape} and values of {values.shape}")
        keys = to_indices(keys + self.keysOffset if self.keysOffset else keys, self.inputSize)
        return keys, values if self.doGradInput else values.detach()

    def _scaled(self, keys: Tensor, values: Tensor) -> Tensor:
        """Values over the largest that their keys have had; beyond it, their signs."""
        known = self.weight.detach()[keys]
        beyond = ops.absolute(values) > known[:, 0]
        return ops.where(beyond, ops.sign(values), values * known[:, 1])

    def _scaled_in_training(self, keys: Tensor, values: Tensor) -> Tensor:
        """Values over the largest that their keys have had, up to each; weight remembers these."""
        count = keys.shape[0]
        if not count:
            return values
        weight, sizes = self.weight.detach(), ops.absolute(values.detach())
        undo_write(weight)
        with no_grad():
            known = weight[keys]
            same = ops.expand_dims(keys, 1) == ops.expand_dims(keys, 0)
            everywhere = ops.where(same, sizes, 0)
            earlier = Tensor(np.tri(count, dtype=bool), device=keys.device)
            largest = [
                ops.max(found, axis=1) for found in (ops.where(earlier, everywhere, 0), everywhere)
            ]
            inverses = [
                ops.where(
                    ops.greater(m, known[:, 0]), 1 / ops.where(ops.greater(m, 0), m, 1), known[:, 1]
                )
                for m in largest
            ]
            columns = [ops.maximum(largest[1], known[:, 0]), inverses[1], known[:, 0] * 0 + 1]
            rows = ops.concatenate([ops.stack(columns, axis=1), known[:, 3:]], axis=1)
            ops.assign_at(weight, rows, [keys], template=(HOLE,))
        return values * inverses[0]


def sum_weighted_rows(table: Tensor, indices: Tensor, values: Tensor) -> Tensor:
    """Return Σ values · table[indices] over the last axis of indices: (…, nnz) -> (…, n_out)."""
    return ops.sum(table[indices] * ops.expand_dims(values, -1), axis=-2)


def _split_by_sizes(x: Tensor, sizes: Tensor) -> Sequence[Tensor]:
    """Split x into parts of lengths `sizes`.  Raises ShapeError unless they add up to len(x)."""
    sizes.refuse_if_sample("reads how long the pieces are")
    lengths = [int(n) for n in devices.to_numpy(array_of(sizes)).reshape(-1)]
    if sum(lengths) != x.shape[0]:
        raise ShapeError(f"sizes add up to {sum(lengths)}, there are {x.shape[0]} keys")
    return ops.split(x, tuple(int(n) for n in np.cumsum(lengths)[:-1]), 0)
