"""tapegrad.nn: modules, containers, layers and criterions."""

from tapegrad.autograd import Parameter
from tapegrad.nn import tables
from tapegrad.nn.activation import Identity, LogSoftMax, ReLU, Sigmoid, SoftMax, Tanh
from tapegrad.nn.container import ConcatTable, Container, Sequential
from tapegrad.nn.conv import Conv1d, Conv2d, Conv3d
from tapegrad.nn.convolution import (
    SpatialConvolution,
    SpatialConvolutionLocal,
    SpatialConvolutionMap,
    SpatialConvolutionMM,
    SpatialDepthWiseConvolution,
    SpatialDilatedConvolution,
    SpatialFullConvolution,
    SpatialFullConvolutionMap,
    VolumetricConvolution,
    VolumetricDilatedConvolution,
    VolumetricFullConvolution,
)
from tapegrad.nn.criterion import Criterion
from tapegrad.nn.dropout import Dropout
from tapegrad.nn.linear import Linear
from tapegrad.nn.local_normalization import (
    SpatialContrastiveNormalization,
    SpatialCrossMapLRN,
    SpatialDivisiveNormalization,
    SpatialSubtractiveNormalization,
)
from tapegrad.nn.losses import ClassNLLCriterion, CrossEntropyCriterion, MSECriterion
from tapegrad.nn.module import Buffer, Module, ShapeError, shape_check
from tapegrad.nn.normalization import BatchNormalization, SpatialBatchNormalization
from tapegrad.nn.padding import (
    SpatialReflectionPadding,
    SpatialReplicationPadding,
    SpatialZeroPadding,
    VolumetricReplicationPadding,
)
from tapegrad.nn.pooling import (
    FeatureLPPooling,
    SpatialAdaptiveAveragePooling,
    SpatialAdaptiveMaxPooling,
    SpatialAveragePooling,
    SpatialDilatedMaxPooling,
    SpatialFractionalMaxPooling,
    SpatialMaxPooling,
    SpatialMaxUnpooling,
    SpatialSubSampling,
    VolumetricAveragePooling,
    VolumetricDilatedMaxPooling,
    VolumetricFractionalMaxPooling,
    VolumetricMaxPooling,
    VolumetricMaxUnpooling,
)
from tapegrad.nn.shape import Reshape, View
from tapegrad.nn.temporal import (
    TemporalConvolution,
    TemporalDynamicKMaxPooling,
    TemporalMaxPooling,
    TemporalRowConvolution,
    TemporalSubSampling,
)
from tapegrad.nn.upsampling import (
    PixelShuffle,
    SpatialUpSamplingBilinear,
    SpatialUpSamplingNearest,
    UpSampling,
)

__all__ = [
    # what layers are made of
    "Buffer",
    "Criterion",
    "Module",
    "Parameter",
    "ShapeError",
    "shape_check",
    "tables",
    # containers
    "ConcatTable",
    "Container",
    "Sequential",
    # layers
    "BatchNormalization",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Dropout",
    "FeatureLPPooling",
    "Identity",
    "Linear",
    "LogSoftMax",
    "PixelShuffle",
    "ReLU",
    "Reshape",
    "Sigmoid",
    "SoftMax",
    "SpatialAdaptiveAveragePooling",
    "SpatialAdaptiveMaxPooling",
    "SpatialAveragePooling",
    "SpatialBatchNormalization",
    "SpatialContrastiveNormalization",
    "SpatialConvolution",
    "SpatialConvolutionLocal",
    "SpatialConvolutionMM",
    "SpatialConvolutionMap",
    "SpatialCrossMapLRN",
    "SpatialDepthWiseConvolution",
    "SpatialDilatedConvolution",
    "SpatialDilatedMaxPooling",
    "SpatialDivisiveNormalization",
    "SpatialFractionalMaxPooling",
    "SpatialFullConvolution",
    "SpatialFullConvolutionMap",
    "SpatialMaxPooling",
    "SpatialMaxUnpooling",
    "SpatialReflectionPadding",
    "SpatialReplicationPadding",
    "SpatialSubSampling",
    "SpatialSubtractiveNormalization",
    "SpatialUpSamplingBilinear",
    "SpatialUpSamplingNearest",
    "SpatialZeroPadding",
    "Tanh",
    "TemporalConvolution",
    "TemporalDynamicKMaxPooling",
    "TemporalMaxPooling",
    "TemporalRowConvolution",
    "TemporalSubSampling",
    "UpSampling",
    "View",
    "VolumetricAveragePooling",
    "VolumetricConvolution",
    "VolumetricDilatedConvolution",
    "VolumetricDilatedMaxPooling",
    "VolumetricFractionalMaxPooling",
    "VolumetricFullConvolution",
    "VolumetricMaxPooling",
    "VolumetricMaxUnpooling",
    "VolumetricReplicationPadding",
    # criterions
    "ClassNLLCriterion",
    "CrossEntropyCriterion",
    "MSECriterion",
]
