"""BinaryTreeLSTM: an LSTM along the nodes of binary trees, from the leaves to the root.

All nodes are computed at once, again and again: after as many rounds as the tree is high, every
node has seen its children.  What is computed depends on no entry of the tree, so that the step can
be replayed for other trees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.layers.indexing import to_indices
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent.steps import zeros_beside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tapegrad.autograd.core.types import Nest

__all__ = ["BinaryTreeLSTM"]


class BinaryTreeLSTM(Module):
    """[x, trees] -> the state h of every node, from the leaves to the root.

    At a leaf with input x: c = W x + b, h = o·tanh(c), o = σ(V x + d).  At a node with children l
    and r: c = i·u + f_l·c_l + f_r·c_r, h = o·tanh(c), where i, f_l, f_r, o = σ and u = tanh of
    U h_l + V h_r with two Linears each.  Without gateOutput h = tanh(c).
    x: (N, leaves, inputSize);  trees: (N, nodes, 3), rows of [left child, right child, leaf]:
    children are numbers of rows from 0, -1 for none, and a node without children has the number of
    its leaf from 0; rows of -2 are padding -> (N, nodes, hiddenSize), 0 for padding.
    The children are the Linears of i, f_l, f_r, u, o, left before right, then W and V.
    withGraph: accepted and kept.
    Raises ShapeError for other inputs and for numbers of no row or leaf.  Source: BigDL's
    BinaryTreeLSTM, whose trees count from 1; K. Tai et al., "Improved semantic representations from
    tree-structured long short-term memory networks", 2015, equations 9-14.
    """

    keeps = ("modules", "inputSize", "hiddenSize", "gateOutput", "withGraph")
    promotes = True
    _in_graphs = False
    counts: ClassVar[Mapping[str, Any]] = {"input": (None, "label")}

    def __init__(
        self, inputSize: int, hiddenSize: int, gateOutput: bool = True, withGraph: bool = True
    ) -> None:
        self.inputSize, self.hiddenSize = inputSize, hiddenSize
        self.gateOutput = bool(gateOutput)
        self.withGraph = bool(withGraph)
        gates = 5 if gateOutput else 4
        self.modules = [Linear(hiddenSize, hiddenSize) for _ in range(2 * gates)]
        self.modules += [Linear(inputSize, hiddenSize) for _ in range(2 if gateOutput else 1)]

    def updateOutput(self, inputs: Nest) -> Tensor:
        x, trees = entries_of(inputs, 2)
        if x.ndim != 3 or x.shape[2] != self.inputSize:
            raise ShapeError(f"the input of shape {x.shape} is not (N, leaves, {self.inputSize})")
        if trees.ndim != 3 or trees.shape[0] != x.shape[0] or trees.shape[2] != 3:
            raise ShapeError(f"the trees of shape {trees.shape} are not ({x.shape[0]}, nodes, 3)")
        trees = trees.detach()
        nodes = trees.shape[1]
        left, right = (to_indices(ops.maximum(trees[:, :, k], 0), max(nodes, 1)) for k in (0, 1))
        leaf = to_indices(ops.maximum(trees[:, :, 2], 0), max(x.shape[1], 1))
        inner = ops.greater_equal(trees[:, :, :1], 0)
        is_leaf = ops.logical_and(
            ops.equal(trees[:, :, :1], -1), ops.greater_equal(trees[:, :, 2:], 0)
        )
        samples = x[ops.cast(ops.cumsum(leaf * 0 + 1, axis=0) - 1, dtype=leaf.dtype), leaf]
        zeros = zeros_beside(x, x.shape[0], nodes, self.hiddenSize)
        first = [ops.where(is_leaf, part, zeros) for part in self._leaves(samples)]
        c, h = first
        rows = ops.cast(ops.cumsum(left * 0 + 1, axis=0) - 1, dtype=left.dtype)
        for _ in range(nodes // 2):
            pairs = [[state[rows, child] for state in (c, h)] for child in (left, right)]
            composed = self._node(*pairs)
            c, h = (ops.where(inner, new, old) for new, old in zip(composed, first, strict=True))
        return h

    def _leaves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(c, h) of leaves with inputs x."""
        own = self.modules[10:] if self.gateOutput else self.modules[8:]
        c = own[0](x)
        h = ops.tanh(c)
        return c, ops.sigmoid(own[1](x)) * h if self.gateOutput else h

    def _node(self, left: list[Tensor], right: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(c, h) of nodes whose children have [c, h] each."""
        totals = [
            self.modules[2 * k](left[1]) + self.modules[2 * k + 1](right[1])
            for k in range(5 if self.gateOutput else 4)
        ]
        i, f_left, f_right = (ops.sigmoid(total) for total in totals[:3])
        c = i * ops.tanh(totals[3]) + f_left * left[0] + f_right * right[0]
        h = ops.tanh(c)
        return c, ops.sigmoid(totals[4]) * h if self.gateOutput else h

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.inputSize} -> {self.hiddenSize})"
