"""Padding: masked samples of a batch, and indices that stand for no entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tapegrad.autograd import Parameter, Tensor, default_dtype, ops
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.containers.container import Container
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.initialization import normal_
from tapegrad.nn.core.masks import boolean_mask
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.layers.indexing import to_indices
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    import numpy.typing as npt

    from tapegrad.autograd.core.types import Nest, Operand

__all__ = ["Embedding", "LookupTableMaskZero", "MaskZero"]


class MaskZero(Container):
    """y = module(x), with 0 for the masked samples of the output; they get no gradient.

    x: (N, …), or lists of such arrays.  `setZeroMask` sets the mask; with v1 the mask is instead
    the samples whose features are all 0 in the first array of the input.
    Raises ShapeError for a mask that does not fit, and without one.
    Source: torch/rnn's nn.MaskZero.
    """

    keeps = ("v2", "maskinput", "maskoutput", "_mask")
    _mask: Any = None

    def __init__(
        self,
        module: Module,
        v1: bool = False,
        maskinput: bool = False,
        maskoutput: bool = True,
    ) -> None:
        super().__init__(module)
        self.v2 = not v1
        self.maskinput = bool(maskinput)
        self.maskoutput = bool(maskoutput)

    def setZeroMask(self, mask: npt.ArrayLike | None) -> Self:
        """Set which samples are masked, as booleans (N,), or False for none; returns self.

        Raises TypeError for numbers other than 0 and 1.
        """
        given = mask is not None and mask is not False
        self._mask = boolean_mask(mask, type(self).__name__) if given else mask
        return self

    def updateOutput(self, x: Nest) -> Nest:
        mask = self._mask_of(leaves(x)[0])
        if mask is None:
            return self.modules[0](x)
        if self.maskinput:
            x = map_leaves(lambda leaf: _zero_masked(leaf, mask), x)
        y = self.modules[0](x)
        return map_leaves(lambda leaf: _zero_masked(leaf, mask), y) if self.maskoutput else y

    def _mask_of(self, x: Tensor) -> Tensor | None:
        """The mask (N,) for the input x; None if no sample is masked."""
        if not self.v2:
            axes = tuple(range(1, x.ndim))
            mask: Tensor = ops.logical_not(ops.any(ops.not_equal(x, 0), axis=axes))
            return mask
        if self._mask is False:
            return None
        if self._mask is None or self._mask.shape != x.shape[:1]:
            found = "none was set" if self._mask is None else f"it has shape {self._mask.shape}"
            raise ShapeError(
                f"setZeroMask must be given {x.shape[:1]} booleans for the input of shape "
                f"{x.shape}; {found}"
            )
        return Tensor(self._mask, device=x.device)

    def describe(self, first: int) -> str:
        return f"{torch7_name(self)} @ {next(self._children(first))}"


def _zero_masked(x: Tensor, mask: Tensor) -> Tensor:
    """x (N, …), with 0 for the samples where `mask` (N,) holds."""
    return ops.where(mask.reshape((-1, *(1,) * (x.ndim - 1))), 0, x)


class LookupTableMaskZero(Module):
    """The rows of a table that integers name, and zeros where an integer is negative.

    x: integers from 0 to nIndex - 1, any shape (…) -> (…, nOutput);  weight (nIndex + 1, nOutput):
    the row of index i is weight[i + 1], and weight[0] stands for the padding; it takes no part.
    The weight starts from N(0, 1).
    Raises ShapeError for other indices.  Source: torch/rnn's nn.LookupTableMaskZero.
    """

    keeps = ("weight",)
    counts: ClassVar[Mapping[str, str]] = {"input": "label"}
    paddingValue = 0

    def __init__(self, nIndex: int, nOutput: int) -> None:
        self.weight = Parameter(np.empty((nIndex + 1, nOutput), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw the weight from N(0, stdv²), 1 when None."""
        normal_(self.weight, 0.0, 1.0 if stdv is None else stdv)

    def updateOutput(self, x: Tensor) -> Tensor:
        padding = ops.less(x, 0)
        return lookup_rows(self.weight[1:], ops.where(padding, 0, x), padding)


class Embedding(Module):
    """The rows of a table that integers name.

    x: integers from 0 to num_embeddings - 1, any shape (…) -> (…, embed_dim);
    weight (num_embeddings, embed_dim), from N(0, 1).
    padding_idx: the row of this index starts at 0 and gets no gradient; a negative one counts from
    the end.
    Raises ShapeError for other indices, ValueError for a padding_idx that is no row.
    """

    keeps = ("padding_idx", "weight")

    def __init__(self, num_embeddings: int, embed_dim: int, padding_idx: int | None = None) -> None:
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"Embedding: padding_idx is {padding_idx}, there are {num_embeddings} rows"
            )
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = Parameter(np.empty((num_embeddings, embed_dim), default_dtype()))
        self.reset()

    def reset(self, stdv: float | None = None) -> None:
        """Draw the weight from N(0, stdv²), 1 when None; the padding row is 0."""
        normal_(self.weight, 0.0, 1.0 if stdv is None else stdv)
        if self.padding_idx is not None:
            ops.assign(self.weight.detach()[self.padding_idx], 0)

    def updateOutput(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.padding_idx is None:
            return lookup_rows(weight, x, None)
        # The padding row keeps its values, whatever they are, and passes no gradient.
        padding = ops.equal(x, self.padding_idx)
        fixed = weight.detach()[self.padding_idx]
        return lookup_rows(weight, x, padding, fixed)

    def __repr__(self) -> str:
        rows, columns = self.weight.shape
        ending = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{torch7_name(self)}({rows}, {columns}{ending})"


def lookup_rows(weight: Tensor, x: Tensor, padding: Tensor | None, fixed: Operand = 0) -> Tensor:
    """weight[x] with `fixed` where `padding` holds.  Raises ShapeError for indices of no row."""
    indices = to_indices(x.reshape((-1,)), weight.shape[0], rows=True)
    rows = weight[indices].reshape((*x.shape, weight.shape[1]))
    return rows if padding is None else ops.where(padding.reshape((*x.shape, 1)), fixed, rows)
