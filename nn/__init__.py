"""tapegrad.nn: modules, containers, layers and criterions."""

from tapegrad.autograd import Parameter
from tapegrad.nn.activation import Identity, LogSoftMax, ReLU, Sigmoid, SoftMax, Tanh
from tapegrad.nn.container import ConcatTable, Container, Sequential
from tapegrad.nn.convolution import SpatialConvolution
from tapegrad.nn.criterion import Criterion
from tapegrad.nn.dropout import Dropout
from tapegrad.nn.formats.native import load
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
    "load",
    "shape_check",
    # containers
    "ConcatTable",
    "Container",
    "Sequential",
    # layers
    "BatchNormalization",
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
    "SpatialMaxPooling",
    "Tanh",
    "View",
    # criterions
    "ClassNLLCriterion",
    "CrossEntropyCriterion",
    "MSECriterion",
]
