"""What Torch7's format needs to know of containers, recurrent layers and criterions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad.nn.containers.container import (
    Concat,
    ConcatTable,
    Container,
    MapTable,
    Parallel,
    ParallelTable,
    Sequential,
)
from tapegrad.nn.containers.decorators import (
    GPU,
    Bottle,
    Checkpoint,
    DontCast,
    Profile,
    SpectralNorm,
    WeightNorm,
)
from tapegrad.nn.containers.graph import Graph, gModule
from tapegrad.nn.criterions.alignment import CTCCriterion
from tapegrad.nn.criterions.classification import (
    ClassNLLCriterion,
    ClassSimplexCriterion,
    CrossEntropyCriterion,
    SpatialClassNLLCriterion,
)
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.joint import (
    CriterionTable,
    ModuleCriterion,
    MultiCriterion,
    ParallelCriterion,
    SampleWeightedCriterion,
)
from tapegrad.nn.criterions.likelihoods import (
    BCEWithLogitsCriterion,
    FocalCriterion,
    GaussianNLLCriterion,
    PoissonNLLCriterion,
)
from tapegrad.nn.criterions.losses import HuberCriterion, MultiLabelSoftMarginCriterion
from tapegrad.nn.criterions.margins import (
    CosineEmbeddingCriterion,
    L1HingeEmbeddingCriterion,
    MarginRankingCriterion,
    MultiLabelMarginCriterion,
    TripletMarginCriterion,
)
from tapegrad.nn.criterions.over_time import (
    MaskZeroCriterion,
    RepeaterCriterion,
    SequencerCriterion,
)
from tapegrad.nn.formats.torch7 import cells, graph, layers, over_time
from tapegrad.nn.formats.torch7.entry import (
    ClassEntry,
    Results,
    empty_bytes,
    empty_table,
    empty_tables,
    empty_tensor,
    long_storage,
    no_field,
    table_of_tensors,
    tensor_of_one,
    zero_tensor,
)
from tapegrad.nn.formats.torch7.layer_entries import LOOKUP
from tapegrad.nn.formats.torch7.negative_axes import write_axes
from tapegrad.nn.layers.activation import Sigmoid
from tapegrad.nn.module import Module
from tapegrad.nn.recurrent.layered import RNNLayer
from tapegrad.nn.recurrent.layers import (
    GRU,
    LSTM,
    FastLSTM,
    LinearRNN,
    LookupRNN,
    MuFuRu,
    RecGRU,
    RecLSTM,
)
from tapegrad.nn.recurrent.masking import Embedding, LookupTableMaskZero, MaskZero
from tapegrad.nn.recurrent.over_time import (
    BiSequencer,
    Recursor,
    Repeater,
    Sequencer,
    WithStates,
)
from tapegrad.nn.recurrent.recurrence import Recurrence
from tapegrad.nn.recurrent.sequence import Bidirectional, SeqGRU, SeqLSTM
from tapegrad.nn.recurrent.states import Remembering
from tapegrad.nn.recurrent.steps import StepGRU, StepLSTM

__all__ = ["COMPOSITES"]


def _of_the_ends(module: Any, results: Callable[[Any], Results]) -> Results:
    """Return what a Sequential has before its first call: (last output, first gradInput)."""
    parts = module.modules
    return (results(parts[-1])[0], results(parts[0])[1]) if parts else (None, None)


_PAST = empty_tables("outputs", "gradOutputs", "_gradOutputs", "gradInputs")
_RECURRENT = _PAST | {"step": 1, "seqlen": 99_999}
_SHARING = {"rmInSharedClones": True}
_OLD = ("rho", "rmInSharedClones", "zeroTensor")
_CELLS = empty_tables("cells", "gradCells")
_SEQUENCE = dict.fromkeys(
    ("gates", "buffer1", "buffer2", "buffer3", "grad_a_buffer", "h0"), empty_tensor
)

COMPOSITES: dict[type, ClassEntry] = {
    BCEWithLogitsCriterion: ClassEntry(absent=True),
    CTCCriterion: ClassEntry(absent=True),
    FocalCriterion: ClassEntry(absent=True),
    GaussianNLLCriterion: ClassEntry(absent=True),
    HuberCriterion: ClassEntry(absent=True),
    PoissonNLLCriterion: ClassEntry(absent=True),
    SampleWeightedCriterion: ClassEntry(absent=True),
    SpectralNorm: ClassEntry(absent=True),
    TripletMarginCriterion: ClassEntry(absent=True),
    BiSequencer: ClassEntry(read=over_time.read_bi_sequencer, write=over_time.write_bi_sequencer),
    Bidirectional: ClassEntry(
        read=over_time.read_bidirectional, write=over_time.write_bidirectional
    ),
    Bottle: ClassEntry(write=layers.write_bottle),
    Checkpoint: ClassEntry(absent=True),
    ClassNLLCriterion: ClassEntry(
        state={
            "output_tensor": zero_tensor(1),
            "total_weight_tensor": tensor_of_one,
            "target": zero_tensor(1),
        }
    ),
    ClassSimplexCriterion: ClassEntry(write=layers.write_class_simplex),
    Concat: ClassEntry(write=write_axes("dimension"), state={"outputSize": long_storage(0)}),
    ConcatTable: ClassEntry(output=empty_table),
    Container: ClassEntry(absent=True),
    CosineEmbeddingCriterion: ClassEntry(state={"_idx": empty_bytes}, gradient=table_of_tensors(2)),
    Criterion: ClassEntry(write=layers.write_criterion, output=lambda _: 0, absent=True),
    CriterionTable: ClassEntry(
        results=lambda module, results: (None, [results(module.criterion)[1]])
    ),
    CrossEntropyCriterion: ClassEntry(write=layers.write_cross_entropy),
    DontCast: ClassEntry(read=layers.without("moduleType"), write=layers.write_dont_cast),
    Embedding: ClassEntry(absent=True),
    FastLSTM: ClassEntry(
        read=cells.read_fast_lstm,
        write=cells.write_fast_lstm,
        state=_RECURRENT | _SHARING | _CELLS | {"zeroTensor": empty_tensor},
        ignores=_OLD,
    ),
    GPU: ClassEntry(output=no_field, gradient=no_field),
    GRU: ClassEntry(
        read=cells.read_gru,
        write=cells.write_gru,
        state=_RECURRENT | _CELLS | {"zeroTensor": empty_tensor},
        ignores=_OLD,
    ),
    L1HingeEmbeddingCriterion: ClassEntry(gradient=table_of_tensors(2)),
    LSTM: ClassEntry(
        read=cells.read_lstm,
        write=cells.write_lstm,
        state=_RECURRENT | _SHARING | _CELLS | {"zeroTensor": empty_tensor},
        ignores=_OLD,
    ),
    LinearRNN: ClassEntry(
        read=cells.read_linear_rnn,
        write=cells.write_linear_rnn,
        state=_RECURRENT | {"typeTensor": empty_tensor, "nInputDim": 1},
        ignores=_OLD,
    ),
    LookupRNN: ClassEntry(
        read=cells.read_lookup_rnn,
        write=cells.write_lookup_rnn,
        state=_RECURRENT | {"typeTensor": empty_tensor, "nInputDim": 0},
        ignores=_OLD,
    ),
    LookupTableMaskZero: ClassEntry(state=LOOKUP, ignores=("copiedInput", "shouldScaleGradByFreq")),
    MapTable: ClassEntry(
        read=layers.read_map_table,
        write=layers.write_only_child,
        state={"sharedparams": lambda _: ["weight", "bias", "gradWeight", "gradBias"]},
        output=empty_table,
        gradient=empty_table,
    ),
    MarginRankingCriterion: ClassEntry(gradient=table_of_tensors(2, 1)),
    MaskZero: ClassEntry(output=no_field, gradient=no_field),
    MaskZeroCriterion: ClassEntry(
        read=over_time.read_mask_zero_criterion, write=over_time.write_mask_zero_criterion
    ),
    Module: ClassEntry(absent=True),
    ModuleCriterion: ClassEntry(output=no_field, gradient=no_field),
    MuFuRu: ClassEntry(absent=True),
    RNNLayer: ClassEntry(absent=True),
    WithStates: ClassEntry(absent=True),
    MultiCriterion: ClassEntry(read=layers.read_weights, write=layers.write_weights),
    MultiLabelMarginCriterion: ClassEntry(state={"isTarget": empty_tensor}),
    MultiLabelSoftMarginCriterion: ClassEntry(state={"sigmoid": lambda _: Sigmoid()}),
    Parallel: ClassEntry(write=write_axes("inputDimension", "outputDimension")),
    ParallelCriterion: ClassEntry(gradient=empty_table),
    ParallelTable: ClassEntry(output=empty_table, gradient=empty_table),
    Profile: ClassEntry(
        write=layers.write_only_child,
        state=dict.fromkeys(("numFwds", "numBwds", "summedFwdTime", "summedBwdTime"), 0),
    ),
    RecGRU: ClassEntry(
        write=cells.write_step,
        state=_RECURRENT | _SHARING | {"zeroOutput": empty_tensor},
        ignores=_OLD,
    ),
    RecLSTM: ClassEntry(
        write=cells.write_step,
        state=_RECURRENT
        | _SHARING
        | _CELLS
        | dict.fromkeys(("zeroOutput", "zeroCell"), empty_tensor),
        ignores=_OLD,
    ),
    Recurrence: ClassEntry(
        read=cells.read_recurrence,
        write=cells.write_step,
        state=_RECURRENT | {"typeTensor": empty_tensor},
        ignores=_OLD,
    ),
    Recursor: ClassEntry(write=cells.write_step, state=_RECURRENT, ignores=_OLD),
    Remembering: ClassEntry(read=over_time.read_remembering, private=("_remember",)),
    Repeater: ClassEntry(
        read=over_time.read_repeater,
        write=layers.write_only_child,
        ignores=("_remember", "nStep"),
        output=empty_table,
    ),
    RepeaterCriterion: ClassEntry(
        read=over_time.read_repeater_criterion, write=over_time.write_criterion_over_time
    ),
    SeqGRU: ClassEntry(
        read=over_time.read_seq_gru,
        state=_SEQUENCE,
        ignores=("batchfirst", "seqLength", "miniBatch"),
        gradient=empty_tensor,
    ),
    SeqLSTM: ClassEntry(
        state=_SEQUENCE | {"cell": empty_tensor, "c0": empty_tensor},
        output=empty_tensor,
        gradient=empty_tensor,
    ),
    Sequencer: ClassEntry(
        state=empty_tables("tableoutput", "tablegradInput", "_output"), output=empty_table
    ),
    SequencerCriterion: ClassEntry(
        read=over_time.read_criterion_over_time, write=over_time.write_criterion_over_time
    ),
    Sequential: ClassEntry(results=_of_the_ends),
    SpatialClassNLLCriterion: ClassEntry(
        state={
            "output_tensor": zero_tensor(1),
            "total_weight_tensor": tensor_of_one,
            "target": zero_tensor(1),
        }
    ),
    StepGRU: ClassEntry(
        write=cells.write_masking, state={"gates": empty_tensor}, gradient=table_of_tensors(2)
    ),
    StepLSTM: ClassEntry(
        write=cells.write_masking,
        state={"gates": empty_tensor},
        output=table_of_tensors(2),
        gradient=table_of_tensors(3),
    ),
    WeightNorm: ClassEntry(read=layers.read_weight_norm, write=layers.write_weight_norm),
    Graph: ClassEntry(absent=True),
    gModule: ClassEntry(read=graph.read_gmodule, write=graph.write_gmodule),
}
