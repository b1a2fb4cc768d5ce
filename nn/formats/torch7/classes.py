"""Every class that Torch7's format needs to know something particular about: one table.

A class that is not here, or says nothing of some matter, follows the nearest base that does, and
else the general rule (modules.py).  What is to be done with fields is found for a class and all its
bases, bases first.  A new layer needs an entry only where it differs from that rule, or where
Torch7 has no such class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapegrad.nn.containers.container import Concat, ConcatTable, Container, MapTable, ParallelTable
from tapegrad.nn.containers.decorators import Bottle, Checkpoint, Profile, SpectralNorm, WeightNorm
from tapegrad.nn.containers.graph import gModule
from tapegrad.nn.criterions.alignment import CTCCriterion
from tapegrad.nn.criterions.classification import (
    ClassNLLCriterion,
    ClassSimplexCriterion,
    CrossEntropyCriterion,
)
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.criterions.joint import CriterionTable, ParallelCriterion, SampleWeightedCriterion
from tapegrad.nn.criterions.likelihoods import (
    BCEWithLogitsCriterion,
    FocalCriterion,
    GaussianNLLCriterion,
    PoissonNLLCriterion,
)
from tapegrad.nn.criterions.losses import HuberCriterion, WeightedMSECriterion
from tapegrad.nn.criterions.margins import (
    CosineEmbeddingCriterion,
    DistanceRatioCriterion,
    L1HingeEmbeddingCriterion,
    MarginRankingCriterion,
    TripletMarginCriterion,
)
from tapegrad.nn.criterions.over_time import (
    MaskZeroCriterion,
    RepeaterCriterion,
    SequencerCriterion,
)
from tapegrad.nn.formats.torch7 import cells, graph, layers, networks, over_time
from tapegrad.nn.formats.torch7.entry import (
    DType,
    Entry,
    bytes_,
    integers,
    longs,
    one,
    table,
    tables,
    tensor,
    tensors,
    zeros,
)
from tapegrad.nn.formats.torch7.objects import Table
from tapegrad.nn.layers.activation import GELU, Mish, SiLU, SoftPlus
from tapegrad.nn.layers.attention import MultiHeadAttention, TransformerEncoderLayer
from tapegrad.nn.layers.bags import EmbeddingBag
from tapegrad.nn.layers.convolution.plain import Conv1d, Conv2d, Conv3d
from tapegrad.nn.layers.convolution.spatial import (
    SpatialConvolution,
    SpatialConvolutionLocal,
    SpatialConvolutionMM,
    SpatialFullConvolution,
)
from tapegrad.nn.layers.convolution.volumetric import VolumetricFullConvolution
from tapegrad.nn.layers.distance import (
    CosineDistance,
    DotProduct,
    Euclidean,
    Kmeans,
    PairwiseDistance,
    WeightedEuclidean,
)
from tapegrad.nn.layers.dropout import (
    AlphaDropout,
    Dropout,
    SpatialDropout,
    VolumetricDropout,
    WhiteNoise,
)
from tapegrad.nn.layers.gradient import GradientReversal
from tapegrad.nn.layers.indexing import Index, MaskedSelect
from tapegrad.nn.layers.linear import Bilinear, LinearWeightNorm, PartialLinear
from tapegrad.nn.layers.lookup import IndexLinear, LookupTable, SparseLinear
from tapegrad.nn.layers.normalization.batch import BatchNormalization
from tapegrad.nn.layers.normalization.local import (
    SpatialDivisiveNormalization,
    SpatialSubtractiveNormalization,
)
from tapegrad.nn.layers.normalization.sample import GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from tapegrad.nn.layers.pointwise import Add
from tapegrad.nn.layers.pooling.adaptive import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool3d,
)
from tapegrad.nn.layers.pooling.fixed import (
    SpatialAveragePooling,
    SpatialMaxPooling,
    VolumetricDilatedMaxPooling,
    VolumetricMaxPooling,
)
from tapegrad.nn.layers.pooling.fractional import (
    SpatialFractionalMaxPooling,
    VolumetricFractionalMaxPooling,
)
from tapegrad.nn.layers.pooling.unpooling import SpatialMaxUnpooling
from tapegrad.nn.layers.rectifiers import CReLU, PReLU, ReLU, RReLU
from tapegrad.nn.layers.sampling import GridSample
from tapegrad.nn.layers.shape import Convert, Flatten, Reshape, View
from tapegrad.nn.layers.table import (
    MM,
    MV,
    CAddTable,
    CAddTensorTable,
    CDivTable,
    CMaxTable,
    CMinTable,
    CMulTable,
    CSubTable,
    FlattenTable,
    JoinTable,
    MixtureTable,
    NarrowTable,
    SelectTable,
    ZipTable,
    ZipTableOneToMany,
)
from tapegrad.nn.layers.upsampling import (
    SpatialUpSamplingBilinear,
    SpatialUpSamplingNearest,
    UpSampling,
)
from tapegrad.nn.module import Module
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
from tapegrad.nn.recurrent.masking import Embedding, LookupTableMaskZero
from tapegrad.nn.recurrent.over_time import BiSequencer, Recursor, Remembering, Repeater, Sequencer
from tapegrad.nn.recurrent.sequence import Bidirectional, SeqGRU, SeqLSTM
from tapegrad.nn.recurrent.steps import StepGRU, StepLSTM

__all__ = [
    "CLASSES",
    "absent",
    "entries",
    "gradient",
    "is_state",
    "output",
    "private",
    "state",
    "version",
]


def _running(_: DType) -> Any:
    """Where IndexLinear gathers keys and gradients."""
    kept = {"cumSumSizes": Table(), "keys": Table(), "gradWeight": Table(), "counter": 1}
    return Table(kept)


_PAST = tables("outputs", "gradOutputs", "_gradOutputs", "gradInputs")
_RECURRENT = _PAST | {"step": 1, "seqlen": 99_999, "rho": 99_999, "rmInSharedClones": True}
_CELLS = tables("cells", "gradCells")
_ZEROS = dict.fromkeys(("zeroOutput", "zeroCell"), tensor)
_SEQUENCE = dict.fromkeys(("gates", "buffer1", "buffer2", "buffer3", "grad_a_buffer", "h0"), tensor)
_RECURRENCE = _RECURRENT | {"typeTensor": tensor, "zeroTensor": tensor}
_UNFOLDED = {"finput": tensor, "fgradInput": tensor}
_SCALED = {"inputSize": longs(4), "outputSize": longs(4)}
_LOOKUP = {
    "shouldScaleGradByFreq": False,
    "copiedInput": False,
    "paddingValue": 0,
    "_count": lambda _: np.empty(0, np.int32),
    "_input": integers,
}

CLASSES: dict[type, Entry] = {
    AdaptiveAvgPool1d: Entry(absent=True),
    AdaptiveAvgPool3d: Entry(absent=True),
    AdaptiveMaxPool1d: Entry(absent=True),
    AdaptiveMaxPool3d: Entry(absent=True),
    AlphaDropout: Entry(absent=True),
    Add: Entry(state={"_ones": one}),
    BatchNormalization: Entry(read=layers.read_batch_normalization, version=2),
    BiSequencer: Entry(read=over_time.read_bi_sequencer, write=over_time.write_bi_sequencer),
    Bidirectional: Entry(read=over_time.read_bidirectional, write=over_time.write_bidirectional),
    BCEWithLogitsCriterion: Entry(absent=True),
    Bilinear: Entry(gradient=tensors(2)),
    Bottle: Entry(write=layers.write_bottle),
    CAddTable: Entry(gradient=table),
    CAddTensorTable: Entry(output=table, gradient=table),
    CDivTable: Entry(gradient=table),
    CMaxTable: Entry(
        state=dict.fromkeys(("maxIdx", "mask", "maxVals", "gradMaxVals"), tensor), gradient=table
    ),
    CMinTable: Entry(
        state=dict.fromkeys(("minIdx", "mask", "minVals", "gradMaxVals"), tensor), gradient=table
    ),
    CMulTable: Entry(gradient=table),
    CReLU: Entry(write=networks.write_crelu),
    CSubTable: Entry(gradient=table),
    CTCCriterion: Entry(absent=True),
    Checkpoint: Entry(absent=True),
    ClassNLLCriterion: Entry(
        state={
            "output_tensor": zeros(1),
            "total_weight_tensor": one,
            "target": lambda _: np.zeros(1, np.int64),
        }
    ),
    ClassSimplexCriterion: Entry(state={"_target": tensor}),
    Concat: Entry(state={"outputSize": longs(0)}),
    ConcatTable: Entry(output=table),
    Container: Entry(absent=True),
    Conv1d: Entry(absent=True),
    Conv2d: Entry(absent=True),
    Conv3d: Entry(absent=True),
    Convert: Entry(state={"modules": table}),
    CosineDistance: Entry(gradient=tensors(2)),
    CosineEmbeddingCriterion: Entry(gradient=tensors(2)),
    Criterion: Entry(write=layers.write_criterion, output=lambda _: 0, absent=True),
    CriterionTable: Entry(gradient=table),
    CrossEntropyCriterion: Entry(write=layers.write_cross_entropy),
    DistanceRatioCriterion: Entry(gradient=tensors(2)),
    DotProduct: Entry(gradient=tensors(2)),
    Dropout: Entry(read=layers.without("noise"), state={"noise": tensor}),
    Embedding: Entry(absent=True),
    EmbeddingBag: Entry(absent=True),
    Euclidean: Entry(state={"fastBackward": True}),
    FastLSTM: Entry(
        read=cells.read_fast_lstm,
        write=cells.write_fast_lstm,
        state=_RECURRENT | _CELLS | {"zeroTensor": tensor},
    ),
    FocalCriterion: Entry(absent=True),
    Flatten: Entry(absent=True),
    FlattenTable: Entry(state={"input_map": table}, output=table, gradient=table),
    GELU: Entry(absent=True),
    GRU: Entry(
        read=cells.read_gru,
        write=cells.write_gru,
        state=_RECURRENT | _CELLS | {"zeroTensor": tensor},
    ),
    GaussianNLLCriterion: Entry(absent=True),
    GradientReversal: Entry(read=layers.read_gradient_reversal),
    GridSample: Entry(absent=True),
    GroupNorm: Entry(absent=True),
    HuberCriterion: Entry(absent=True),
    Index: Entry(gradient=tensors(2)),
    IndexLinear: Entry(
        read=layers.read_index_linear,
        write=layers.write_index_linear,
        state={
            **dict.fromkeys(("gradWeightBuffer", "valuesBuffer", "normalizedValues"), tensor),
            "normalize": 0,
            "weightDecay": 0,
            "running": _running,
            "sizesCache": table,
            "cumSumSizesCache": table,
        },
    ),
    InstanceNorm: Entry(absent=True),
    JoinTable: Entry(state={"size": longs(0)}, gradient=table),
    Kmeans: Entry(read=layers.read_kmeans, write=layers.write_kmeans),
    L1HingeEmbeddingCriterion: Entry(gradient=tensors(2)),
    LSTM: Entry(
        read=cells.read_lstm,
        write=cells.write_lstm,
        state=_RECURRENT | _CELLS | {"zeroTensor": tensor},
    ),
    LayerNorm: Entry(absent=True),
    LinearRNN: Entry(
        read=cells.read_linear_rnn,
        write=cells.write_linear_rnn,
        state=_RECURRENCE | {"nInputDim": 1},
    ),
    LinearWeightNorm: Entry(
        state={"weight": tensor, "norm": tensor, "scale": tensor, "dirty": True}
    ),
    LookupRNN: Entry(
        read=cells.read_lookup_rnn,
        write=cells.write_lookup_rnn,
        state=_RECURRENCE | {"nInputDim": 0},
    ),
    LookupTable: Entry(write=layers.write_lookup_table, state=_LOOKUP, version=4),
    LookupTableMaskZero: Entry(state=_LOOKUP),
    MM: Entry(gradient=tensors(2)),
    MV: Entry(gradient=tensors(2)),
    MapTable: Entry(
        write=layers.write_map_table,
        state={"sharedparams": lambda _: ["weight", "bias", "gradWeight", "gradBias"]},
        output=table,
        gradient=table,
    ),
    MarginRankingCriterion: Entry(gradient=tensors(2, 1)),
    MaskZeroCriterion: Entry(
        read=over_time.read_mask_zero_criterion, write=over_time.write_mask_zero_criterion
    ),
    MaskedSelect: Entry(
        state={
            "_maskIndices": integers,
            "_maskIndexBuffer": integers,
            "_gradMask": bytes_,
            "_maskIndexBufferCPU": lambda _: np.empty(0, np.float32),
            "_gradBuffer": tensor,
        }
    ),
    Mish: Entry(absent=True),
    MixtureTable: Entry(
        state={
            **dict.fromkeys(
                ("_gaterView", "_expert", "_expertView", "_sum", "_expertView2"), tensor
            ),
            "size": longs(0),
            "size2": longs(0),
            "batchSize": 0,
            "backwardSetup": False,
        },
        gradient=lambda dtype: [tensor(dtype), Table()],
    ),
    Module: Entry(absent=True),
    MuFuRu: Entry(absent=True),
    MultiHeadAttention: Entry(absent=True),
    NarrowTable: Entry(output=table, gradient=table),
    PReLU: Entry(state={"gradWeightBuf": tensor, "gradWeightBuf2": tensor}),
    PairwiseDistance: Entry(state={"diff": tensor}, gradient=tensors(2)),
    ParallelCriterion: Entry(gradient=table),
    ParallelTable: Entry(output=table, gradient=table),
    PartialLinear: Entry(read=networks.read_partial_linear, write=networks.write_partial_linear),
    PoissonNLLCriterion: Entry(absent=True),
    Profile: Entry(
        state=dict.fromkeys(("numFwds", "numBwds", "summedFwdTime", "summedBwdTime"), 0)
    ),
    RMSNorm: Entry(absent=True),
    RReLU: Entry(read=layers.without("noise"), state={"noise": tensor}),
    ReLU: Entry(state={"threshold": 0, "val": 0}),
    RecGRU: Entry(write=cells.write_step, state=_RECURRENT | _ZEROS),
    RecLSTM: Entry(write=cells.write_step, state=_RECURRENT | _CELLS | _ZEROS),
    Recursor: Entry(write=cells.write_step, state=_RECURRENT),
    Remembering: Entry(read=over_time.read_remembering, private=("_remember",)),
    Repeater: Entry(state={"_remember": "neither"}, output=table),
    RepeaterCriterion: Entry(
        read=over_time.read_repeater_criterion, write=over_time.write_criterion_over_time
    ),
    Reshape: Entry(read=layers.read_reshape, write=layers.write_reshape),
    SampleWeightedCriterion: Entry(absent=True),
    SelectTable: Entry(gradient=table),
    SeqGRU: Entry(state=_SEQUENCE, gradient=tensor),
    SeqLSTM: Entry(
        state=_SEQUENCE | {"cell": tensor, "c0": tensor}, output=tensor, gradient=tensor
    ),
    Sequencer: Entry(state=tables("tableoutput", "tablegradInput", "_output"), output=table),
    SequencerCriterion: Entry(
        read=over_time.read_criterion_over_time, write=over_time.write_criterion_over_time
    ),
    SiLU: Entry(absent=True),
    SoftPlus: Entry(state={"threshold": 20}),
    SparseLinear: Entry(state={"weightDecay": 0, "sparseUpdate": 0}),
    SpatialAveragePooling: Entry(read=layers.read_pooling),
    SpatialConvolution: Entry(read=layers.read_convolution),
    SpatialConvolutionLocal: Entry(state=_UNFOLDED),
    SpatialConvolutionMM: Entry(read=layers.read_matrix_convolution),
    SpatialDivisiveNormalization: Entry(write=networks.write_divisive),
    SpatialDropout: Entry(read=layers.without("noise"), state={"noise": tensor}),
    SpatialFractionalMaxPooling: Entry(read=layers.read_fractional, state={"indices": integers}),
    SpatialFullConvolution: Entry(state={"ones": tensor}),
    SpatialMaxPooling: Entry(read=layers.read_pooling),
    SpatialMaxUnpooling: Entry(read=layers.read_unpooling),
    SpatialSubtractiveNormalization: Entry(write=networks.write_subtractive),
    SpatialUpSamplingBilinear: Entry(state=_SCALED),
    SpatialUpSamplingNearest: Entry(state=_SCALED),
    SpectralNorm: Entry(absent=True),
    StepGRU: Entry(write=cells.write_masking, state={"gates": tensor}, gradient=tensors(2)),
    StepLSTM: Entry(
        write=cells.write_masking, state={"gates": tensor}, output=tensors(2), gradient=tensors(3)
    ),
    TransformerEncoderLayer: Entry(absent=True),
    TripletMarginCriterion: Entry(absent=True),
    UpSampling: Entry(state={"inputSize": longs(5), "outputSize": longs(5)}),
    View: Entry(read=layers.read_view, write=layers.write_sizes),
    VolumetricDilatedMaxPooling: Entry(version=2),
    VolumetricDropout: Entry(read=layers.without("noise"), state={"noise": tensor}),
    VolumetricFractionalMaxPooling: Entry(read=layers.read_fractional, state={"indices": integers}),
    VolumetricFullConvolution: Entry(state=_UNFOLDED),
    VolumetricMaxPooling: Entry(version=2),
    WeightNorm: Entry(
        read=layers.read_weight_norm,
        write=layers.write_weight_norm,
        state={"_norm": tensor, "_scale": tensor},
    ),
    WeightedEuclidean: Entry(state={"fastBackward": True}),
    WeightedMSECriterion: Entry(state={"buffer": tensor}),
    WhiteNoise: Entry(read=layers.without("noise"), state={"noise": tensor}),
    ZipTable: Entry(output=table, gradient=table),
    ZipTableOneToMany: Entry(output=table, gradient=table),
    gModule: Entry(read=graph.read_gmodule, write=graph.write_gmodule),
}


# Questions ----------------------------------------------------------------------------------------


def absent(cls: type) -> bool:
    """Whether Torch7 has no class like this one."""
    return cls in CLASSES and CLASSES[cls].absent


def entries(cls: type) -> Iterator[Entry]:
    """The entries of the bases of a class, and its own, the most general first."""
    return (CLASSES[base] for base in reversed(cls.__mro__) if base in CLASSES)


def state(cls: type, dtype: DType) -> Iterator[tuple[str, Any]]:
    """(name, value) of the fields that a module of this class must have, its own first."""
    for entry in reversed(list(entries(cls))):
        for name, value in entry.state.items():
            yield name, value(dtype) if callable(value) else value


def is_state(cls: type, name: str) -> bool:
    """Whether a field of this name is such a one."""
    return any(name in entry.state for entry in entries(cls))


def output(cls: type, dtype: DType) -> Any:
    """The `output` of a new module."""
    return _nearest(cls, "output", tensor)(dtype)


def gradient(cls: type, dtype: DType) -> Any:
    """The `gradInput` of a new module."""
    return _nearest(cls, "gradient", tensor)(dtype)


def version(cls: type) -> int:
    """The version that Torch7 wrote for this class or the nearest base that has one."""
    return _nearest(cls, "version", 1)


def private(cls: type) -> tuple[str, ...]:
    """The declared names with an underscore in front that are fields in Torch7's files."""
    return tuple(name for entry in entries(cls) for name in entry.private)


def _nearest(cls: type, what: str, default: Any) -> Any:
    found = (getattr(entry, what) for entry in reversed(list(entries(cls))))
    return next((value for value in found if value is not None), default)
