"""What Torch7's format needs to know of single layers; composite_entries.py has the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.nn.formats.torch7 import layers, networks
from tapegrad.nn.formats.torch7.entry import (
    ClassEntry,
    DType,
    ExactArray,
    empty_bytes,
    empty_longs,
    empty_table,
    empty_tensor,
    long_storage,
    table_of_tensors,
    tensor_of_one,
)
from tapegrad.nn.formats.torch7.negative_axes import write_axes, write_gated_linear_unit
from tapegrad.nn.formats.torch7.objects import Table
from tapegrad.nn.layers.activation import (
    GELU,
    GatedLinearUnit,
    Mish,
    Power,
    SiLU,
    SoftPlus,
    Tanh,
    TanhShrink,
)
from tapegrad.nn.layers.attention import (
    LearnedPositions,
    MultiHeadAttention,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)
from tapegrad.nn.layers.bags import EmbeddingBag
from tapegrad.nn.layers.convolution.by_table import SpatialConvolutionMap, SpatialFullConvolutionMap
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
from tapegrad.nn.layers.normalization.batch import (
    BatchNormalization,
    LayerNormalization,
    SpatialBatchNormalization,
)
from tapegrad.nn.layers.normalization.local import (
    SpatialContrastiveNormalization,
    SpatialCrossMapLRN,
    SpatialDivisiveNormalization,
    SpatialSubtractiveNormalization,
)
from tapegrad.nn.layers.normalization.over_ranks import SyncBatchNormalization
from tapegrad.nn.layers.normalization.sample import GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from tapegrad.nn.layers.pointwise import Add, AddConstant, CAdd, CMul
from tapegrad.nn.layers.pooling.adaptive import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool3d,
)
from tapegrad.nn.layers.pooling.fixed import (
    SpatialAveragePooling,
    SpatialMaxPooling,
    VolumetricAveragePooling,
    VolumetricMaxPooling,
)
from tapegrad.nn.layers.pooling.fractional import (
    SpatialFractionalMaxPooling,
    VolumetricFractionalMaxPooling,
)
from tapegrad.nn.layers.pooling.unpooling import SpatialMaxUnpooling
from tapegrad.nn.layers.rectifiers import CReLU, ReLU, RReLU
from tapegrad.nn.layers.sampling import GridSample
from tapegrad.nn.layers.shape import (
    Convert,
    Copy,
    Flatten,
    Padding,
    Reshape,
    Squeeze,
    Transpose,
    Unsqueeze,
    View,
)
from tapegrad.nn.layers.softmax import SoftMax
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

__all__ = ["LAYERS", "LOOKUP"]


def _running_table(_: DType) -> Any:
    """Return the table in which Torch7's IndexLinear gathers keys and gradients."""
    kept = {"cumSumSizes": Table(), "keys": Table(), "gradWeight": Table(), "counter": 1}
    return Table(kept)


_UNFOLDED = {"finput": empty_tensor, "fgradInput": empty_tensor}
_SCALED = {"inputSize": long_storage(4), "outputSize": long_storage(4)}
LOOKUP = {
    "paddingValue": 0,
    "_count": lambda _: np.empty(0, np.int32),
    "_input": empty_longs,
}

LAYERS: dict[type, ClassEntry] = {
    SpatialCrossMapLRN: ClassEntry(options={"format": "NCHW"}),
    VolumetricAveragePooling: ClassEntry(
        options={"padT": 0, "padW": 0, "padH": 0, "count_include_pad": True, "ceil_mode": False}
    ),
    SoftMax: ClassEntry(options={"axis": None}),
    Power: ClassEntry(options={"scale": 1, "shift": 0}),
    AdaptiveAvgPool1d: ClassEntry(absent=True),
    AdaptiveAvgPool3d: ClassEntry(absent=True),
    AdaptiveMaxPool1d: ClassEntry(absent=True),
    AdaptiveMaxPool3d: ClassEntry(absent=True),
    AlphaDropout: ClassEntry(absent=True),
    EmbeddingBag: ClassEntry(absent=True),
    Flatten: ClassEntry(absent=True),
    GridSample: ClassEntry(absent=True),
    InstanceNorm: ClassEntry(absent=True),
    Add: ClassEntry(state={"_ones": tensor_of_one}),
    AddConstant: ClassEntry(read=layers.read_add_constant, write=layers.write_add_constant),
    BatchNormalization: ClassEntry(read=layers.read_batch_normalization, version=2),
    Bilinear: ClassEntry(gradient=table_of_tensors(2)),
    CAdd: ClassEntry(write=layers.write_size_of("bias")),
    CAddTable: ClassEntry(gradient=empty_table),
    CAddTensorTable: ClassEntry(gradient=empty_table),
    CDivTable: ClassEntry(gradient=empty_table),
    CMaxTable: ClassEntry(
        state=dict.fromkeys(("maxIdx", "mask", "maxVals", "gradMaxVals"), empty_tensor),
        gradient=empty_table,
    ),
    CMinTable: ClassEntry(
        state=dict.fromkeys(("minIdx", "mask", "minVals", "gradMaxVals"), empty_tensor),
        gradient=empty_table,
    ),
    CMul: ClassEntry(write=layers.write_size_of("weight")),
    CMulTable: ClassEntry(gradient=empty_table),
    CReLU: ClassEntry(write=networks.write_crelu),
    CSubTable: ClassEntry(gradient=empty_table),
    Conv1d: ClassEntry(absent=True),
    Conv2d: ClassEntry(absent=True),
    Conv3d: ClassEntry(absent=True),
    Convert: ClassEntry(state={"modules": empty_table}),
    Copy: ClassEntry(read=layers.read_copy, write=layers.write_copy),
    CosineDistance: ClassEntry(gradient=table_of_tensors(2)),
    DotProduct: ClassEntry(gradient=table_of_tensors(2)),
    Dropout: ClassEntry(read=layers.read_dropout, state={"noise": empty_tensor}),
    Euclidean: ClassEntry(write=layers.write_euclidean, ignores=("fastBackward",)),
    FlattenTable: ClassEntry(
        state={"input_map": empty_table},
        output=empty_table,
        gradient=empty_table,
    ),
    GELU: ClassEntry(absent=True),
    GatedLinearUnit: ClassEntry(write=write_gated_linear_unit),
    GradientReversal: ClassEntry(read=layers.read_gradient_reversal, version=2),
    GroupNorm: ClassEntry(absent=True),
    Index: ClassEntry(write=write_axes("dimension"), gradient=table_of_tensors(2)),
    IndexLinear: ClassEntry(
        read=layers.read_index_linear,
        write=layers.write_index_linear,
        state={
            **dict.fromkeys(("gradWeightBuffer", "valuesBuffer", "normalizedValues"), empty_tensor),
            "weightDecay": 0,
            "running": _running_table,
            "sizesCache": empty_table,
            "cumSumSizesCache": empty_table,
        },
    ),
    JoinTable: ClassEntry(state={"size": long_storage(0)}, gradient=empty_table),
    Kmeans: ClassEntry(read=layers.read_kmeans, write=layers.write_kmeans),
    LayerNorm: ClassEntry(absent=True),
    LearnedPositions: ClassEntry(absent=True),
    LayerNormalization: ClassEntry(
        read=layers.read_layer_normalization, write=layers.write_layer_normalization
    ),
    LinearWeightNorm: ClassEntry(write=layers.write_linear_weight_norm, ignores=("dirty",)),
    LookupTable: ClassEntry(
        options={"maskZero": False},
        write=layers.write_lookup_table,
        state=LOOKUP,
        ignores=("copiedInput",),
        version=4,
    ),
    MM: ClassEntry(gradient=table_of_tensors(2)),
    MV: ClassEntry(gradient=table_of_tensors(2)),
    MaskedSelect: ClassEntry(
        state={
            "_maskIndices": empty_longs,
            "_maskIndexBuffer": empty_longs,
            "_gradMask": empty_bytes,
            "_maskIndexBufferCPU": lambda _: ExactArray(np.empty(0, np.float32)),
            "_gradBuffer": empty_tensor,
        }
    ),
    Mish: ClassEntry(absent=True),
    MixtureTable: ClassEntry(
        state={
            "size": long_storage(0),
            "size2": long_storage(0),
            "batchSize": 0,
            "backwardSetup": False,
        },
        gradient=empty_table,
    ),
    MultiHeadAttention: ClassEntry(absent=True),
    NarrowTable: ClassEntry(output=empty_table, gradient=empty_table),
    Padding: ClassEntry(
        write=write_axes("dim", known="nInputDim"), state={"outputSize": long_storage(0)}
    ),
    PairwiseDistance: ClassEntry(state={"diff": empty_tensor}, gradient=empty_table),
    PartialLinear: ClassEntry(
        read=networks.read_partial_linear, write=networks.write_partial_linear
    ),
    RMSNorm: ClassEntry(absent=True),
    SyncBatchNormalization: ClassEntry(absent=True),
    RReLU: ClassEntry(read=layers.without("noise"), state={"noise": empty_tensor}),
    ReLU: ClassEntry(state={"threshold": 0, "val": 0}),
    Reshape: ClassEntry(read=layers.read_reshape, write=layers.write_reshape),
    SelectTable: ClassEntry(output=empty_table, gradient=empty_table),
    SiLU: ClassEntry(absent=True),
    SoftPlus: ClassEntry(state={"threshold": 20}),
    SparseLinear: ClassEntry(
        write=layers.write_sparse_linear,
        state={"weightDecay": 0, "sparseUpdate": 0},
        gradient=empty_table,
    ),
    SpatialAveragePooling: ClassEntry(
        write=layers.write_padding,
        options={"format": "NCHW", "global_pooling": False},
        read=layers.read_average_pooling,
    ),
    SpatialBatchNormalization: ClassEntry(options={"format": "NCHW"}, version=2),
    SpatialContrastiveNormalization: ClassEntry(
        write=lambda module, fields: fields | {"kernel": module.kernel}
    ),
    SpatialConvolution: ClassEntry(
        write=layers.write_padding,
        options={"nGroup": 1, "propagateBack": True, "format": "NCHW"},
        read=layers.read_convolution,
    ),
    SpatialConvolutionLocal: ClassEntry(write=layers.write_local_convolution),
    SpatialConvolutionMM: ClassEntry(read=layers.read_matrix_convolution),
    SpatialConvolutionMap: ClassEntry(
        options={"padW": 0, "padH": 0}, write=layers.write_connections
    ),
    SpatialDivisiveNormalization: ClassEntry(write=networks.write_divisive),
    SpatialDropout: ClassEntry(read=layers.without("noise"), state={"noise": empty_tensor}),
    SpatialFractionalMaxPooling: ClassEntry(read=layers.read_fractional),
    SpatialFullConvolution: ClassEntry(options={"nGroup": 1}, state={"ones": empty_tensor}),
    SpatialFullConvolutionMap: ClassEntry(
        options={"padW": 0, "padH": 0}, write=layers.write_connections
    ),
    SpatialMaxPooling: ClassEntry(
        write=layers.write_padding,
        options={"format": "NCHW"},
        read=layers.read_max_pooling,
        state={"indices": empty_tensor},
    ),
    SpatialMaxUnpooling: ClassEntry(read=layers.read_unpooling),
    SpatialSubtractiveNormalization: ClassEntry(write=networks.write_subtractive),
    SpatialUpSamplingBilinear: ClassEntry(state=_SCALED),
    SpatialUpSamplingNearest: ClassEntry(write=layers.write_nearest, state=_SCALED),
    Squeeze: ClassEntry(write=write_axes("dim", known="numInputDims")),
    TanhShrink: ClassEntry(state={"tanh": lambda _: Tanh()}),
    TransformerDecoderLayer: ClassEntry(absent=True),
    TransformerEncoderLayer: ClassEntry(absent=True),
    Transpose: ClassEntry(write=write_axes("permutations", known="numInputDims")),
    Unsqueeze: ClassEntry(write=write_axes("pos", known="numInputDims", beyond=1)),
    UpSampling: ClassEntry(state={"inputSize": long_storage(5), "outputSize": long_storage(5)}),
    View: ClassEntry(read=layers.read_view, write=layers.write_sizes),
    VolumetricDropout: ClassEntry(read=layers.without("noise"), state={"noise": empty_tensor}),
    VolumetricFractionalMaxPooling: ClassEntry(read=layers.read_fractional),
    VolumetricFullConvolution: ClassEntry(
        options={"nGroup": 1}, state=dict.fromkeys(("finput", "fgradInput", "ones"), empty_tensor)
    ),
    VolumetricMaxPooling: ClassEntry(state={"indices": empty_tensor}, version=2),
    WhiteNoise: ClassEntry(read=layers.without("noise"), state={"noise": empty_tensor}),
    ZipTable: ClassEntry(output=empty_table, gradient=empty_table),
    ZipTableOneToMany: ClassEntry(
        state={"gradInputEl": empty_tensor},
        output=empty_table,
        gradient=empty_table,
    ),
}
