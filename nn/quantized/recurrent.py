"""Recurrent layers with int8 weights.  Those that consist of Linears become so by their Linears.

The inputs of each step are rounded; states inside a layer that sees the whole sequence are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tapegrad.nn.quantized.int8 import Int8
from tapegrad.nn.recurrent.layered import RNNLayer
from tapegrad.nn.recurrent.layers import LookupRNN
from tapegrad.nn.recurrent.masking import Embedding
from tapegrad.nn.recurrent.sequence import SeqGRU, SeqLSTM
from tapegrad.nn.recurrent.steps import StepGRU, StepLSTM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tapegrad.autograd import Tensor

__all__: list[str] = []


class _Columns(Int8):
    """Int8 layers of torch/rnn's weights (D + O, gates·H), whose output rows are columns."""

    rows: ClassVar[Mapping[str, int | tuple[int, ...]]] = {"weight": 1, "weightO": 1}

    weight: Any
    weightO: Any
    if not TYPE_CHECKING:

        @property
        def weight(self) -> Any:
            """The weight as float32."""
            return self.weight_of("weight")

        @property
        def weightO(self) -> Any:
            """The weight of the projection as float32, None where there is none."""
            return self.weight_of("weightO")


class _QuantizedStepLSTM(_Columns, StepLSTM):
    """StepLSTM with int8 weights: x and h are rounded, c is not."""

    replaces = StepLSTM
    rounds = 2


class _QuantizedSeqLSTM(_Columns, SeqLSTM):
    """SeqLSTM with int8 weights."""

    replaces = SeqLSTM


class _QuantizedStepGRU(_Columns, StepGRU):
    """StepGRU with int8 weights: x and h are rounded where they are multiplied by weights."""

    replaces = StepGRU
    rows: ClassVar[Mapping[str, int | tuple[int, ...]]] = {"weight": 1}


class _QuantizedSeqGRU(_Columns, SeqGRU):
    """SeqGRU with int8 weights."""

    replaces = SeqGRU
    rows: ClassVar[Mapping[str, int | tuple[int, ...]]] = {"weight": 1}


class _Table(Int8):
    """Int8 layers whose `weight` is a table that indices choose from."""

    rounds = 0

    weight: Any
    if not TYPE_CHECKING:

        @property
        def weight(self) -> Any:
            """The table as float32."""
            return self.weight_of("weight")


class _QuantizedEmbedding(_Table, Embedding):
    """Embedding with int8 rows."""

    replaces = Embedding


class _QuantizedLookupRNN(_Table, LookupRNN):
    """LookupRNN with int8 rows; its Linear is quantized by itself."""

    replaces = LookupRNN


class _QuantizedRNNLayer(Int8, RNNLayer):
    """RNNLayer with int8 weights; biases are float32."""

    replaces = RNNLayer
    keeps: ClassVar[Any] = ("biases",)
    biases: dict[str, Tensor]

    @classmethod
    def hidden(cls) -> frozenset[str]:
        """The dict of weights and biases."""
        return frozenset({"weights"})

    @classmethod
    def weights_of(cls, layer: Any) -> dict[str, tuple[Tensor, int | tuple[int, ...]]]:
        """The matrices, whose axis of output rows is the first."""
        return {n: (w, 0) for n, w in layer.weights.items() if n.startswith("weight")}

    @classmethod
    def of(cls, layer: Any, memo: dict[int, Any]) -> Any:
        """Return the quantized layer of a layer, which stays as it is."""
        new = super().of(layer, memo)
        biases = {n: b for n, b in layer.weights.items() if not n.startswith("weight")}
        new.biases = {n: cls._kept(b) for n, b in biases.items()}
        return new

    weights: Any
    if not TYPE_CHECKING:

        @property
        def weights(self) -> Any:
            """All weights and biases by PyTorch's names, as float32."""
            return {**{name: self.weight_of(name) for name in self.int8}, **self.biases}
