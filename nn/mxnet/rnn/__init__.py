"""tapegrad.nn.mxnet.rnn: `mx.rnn`, cells that are unrolled into symbols, and their data."""

from tapegrad.nn.mxnet.rnn.base import BaseRNNCell, RNNParams
from tapegrad.nn.mxnet.rnn.cells import GRUCell, LSTMCell, RNNCell
from tapegrad.nn.mxnet.rnn.checkpoints import (
    do_rnn_checkpoint,
    load_rnn_checkpoint,
    rnn_unroll,
    save_rnn_checkpoint,
)
from tapegrad.nn.mxnet.rnn.convolutional import (
    BaseConvRNNCell,
    ConvGRUCell,
    ConvLSTMCell,
    ConvRNNCell,
)
from tapegrad.nn.mxnet.rnn.fused import FusedRNNCell
from tapegrad.nn.mxnet.rnn.modifiers import DropoutCell, ModifierCell, ResidualCell, ZoneoutCell
from tapegrad.nn.mxnet.rnn.sentences import BucketSentenceIter, encode_sentences
from tapegrad.nn.mxnet.rnn.stacks import BidirectionalCell, SequentialRNNCell

__all__ = [
    "BaseConvRNNCell",
    "BaseRNNCell",
    "BidirectionalCell",
    "BucketSentenceIter",
    "ConvGRUCell",
    "ConvLSTMCell",
    "ConvRNNCell",
    "DropoutCell",
    "FusedRNNCell",
    "GRUCell",
    "LSTMCell",
    "ModifierCell",
    "RNNCell",
    "RNNParams",
    "ResidualCell",
    "SequentialRNNCell",
    "ZoneoutCell",
    "do_rnn_checkpoint",
    "encode_sentences",
    "load_rnn_checkpoint",
    "rnn_unroll",
    "save_rnn_checkpoint",
]
