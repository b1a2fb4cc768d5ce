"""tapegrad.nn: modules, containers, layers and criterions."""

from tapegrad.autograd import Parameter
from tapegrad.nn.activation import (
    ELU,
    GELU,
    Abs,
    Clamp,
    CReLU,
    Exp,
    GatedLinearUnit,
    HardShrink,
    HardTanh,
    Identity,
    LeakyReLU,
    Log,
    LogSigmoid,
    LogSoftMax,
    Mish,
    Power,
    PReLU,
    ReLU,
    ReLU6,
    RReLU,
    Sigmoid,
    SiLU,
    SoftMax,
    SoftMin,
    SoftPlus,
    SoftShrink,
    SoftSign,
    SpatialLogSoftMax,
    SpatialSoftMax,
    Sqrt,
    Square,
    Tanh,
    TanhShrink,
    Threshold,
)
from tapegrad.nn.container import ConcatTable, Container, Sequential
from tapegrad.nn.convolution import SpatialConvolution
from tapegrad.nn.criterion import Criterion
from tapegrad.nn.dropout import Dropout
from tapegrad.nn.linear import Linear
from tapegrad.nn.losses import ClassNLLCriterion, CrossEntropyCriterion, MSECriterion
from tapegrad.nn.module import Buffer, Module, ShapeError, shape_check
from tapegrad.nn.normalization import BatchNormalization, SpatialBatchNormalization
from tapegrad.nn.pooling import SpatialAveragePooling, SpatialMaxPooling
from tapegrad.nn.shape import Reshape, View

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
    "Dropout",
    "Linear",
    "Reshape",
    "SpatialAveragePooling",
    "SpatialBatchNormalization",
    "SpatialConvolution",
    "SpatialMaxPooling",
    "View",
    # transfer functions
    "Abs",
    "CReLU",
    "Clamp",
    "ELU",
    "Exp",
    "GELU",
    "GatedLinearUnit",
    "HardShrink",
    "HardTanh",
    "Identity",
    "LeakyReLU",
    "Log",
    "LogSigmoid",
    "LogSoftMax",
    "Mish",
    "PReLU",
    "Power",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "SoftMax",
    "SoftMin",
    "SoftPlus",
    "SoftShrink",
    "SoftSign",
    "SpatialLogSoftMax",
    "SpatialSoftMax",
    "Sqrt",
    "Square",
    "Tanh",
    "TanhShrink",
    "Threshold",
    # criterions
    "ClassNLLCriterion",
    "CrossEntropyCriterion",
    "MSECriterion",
]
