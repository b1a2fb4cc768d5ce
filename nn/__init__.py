"""tapegrad.nn: modules, containers, layers and criterions."""

from tapegrad.autograd import Parameter
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
from tapegrad.nn.losses import ClassNLLCriterion, CrossEntropyCriterion, MSECriterion
from tapegrad.nn.module import Buffer, Module, ShapeError, shape_check
from tapegrad.nn.normalization import BatchNormalization, SpatialBatchNormalization
from tapegrad.nn.pooling import SpatialAveragePooling, SpatialMaxPooling
from tapegrad.nn.shape import Reshape, View
from tapegrad.nn.temporal import (
    TemporalConvolution,
    TemporalDynamicKMaxPooling,
    TemporalMaxPooling,
    TemporalRowConvolution,
    TemporalSubSampling,
)

__all__ = [
    # what layers are made of
    "Buffer",
    "Criterion",
    "Module",
    "Parameter",
    "ShapeError",
    "shape_check",
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
    "Identity",
    "Linear",
    "LogSoftMax",
    "ReLU",
    "Reshape",
    "Sigmoid",
    "SoftMax",
    "SpatialAveragePooling",
    "SpatialBatchNormalization",
    "SpatialConvolution",
    "SpatialConvolutionLocal",
    "SpatialConvolutionMM",
    "SpatialConvolutionMap",
    "SpatialDepthWiseConvolution",
    "SpatialDilatedConvolution",
    "SpatialFullConvolution",
    "SpatialFullConvolutionMap",
    "SpatialMaxPooling",
    "Tanh",
    "TemporalConvolution",
    "TemporalDynamicKMaxPooling",
    "TemporalMaxPooling",
    "TemporalRowConvolution",
    "TemporalSubSampling",
    "View",
    "VolumetricConvolution",
    "VolumetricDilatedConvolution",
    "VolumetricFullConvolution",
    # criterions
    "ClassNLLCriterion",
    "CrossEntropyCriterion",
    "MSECriterion",
]
