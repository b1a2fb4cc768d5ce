"""tapegrad.nn: modules, containers, layers and criterions."""

from tapegrad.autograd import Parameter
from tapegrad.nn.activation import Identity, LogSoftMax, ReLU, Sigmoid, SoftMax, Tanh
from tapegrad.nn.container import (
    Concat,
    ConcatTable,
    Container,
    DepthConcat,
    MapTable,
    Parallel,
    ParallelTable,
    Sequential,
)
from tapegrad.nn.convolution import SpatialConvolution
from tapegrad.nn.criterion import Criterion
from tapegrad.nn.dropout import Dropout
from tapegrad.nn.indexing import Index, MaskedSelect, Narrow, Select
from tapegrad.nn.linear import Linear
from tapegrad.nn.losses import ClassNLLCriterion, CrossEntropyCriterion, MSECriterion
from tapegrad.nn.module import Buffer, Module, ShapeError, shape_check
from tapegrad.nn.normalization import BatchNormalization, SpatialBatchNormalization
from tapegrad.nn.pointwise import Add, AddConstant, CAdd, CMul, Constant, Mul, MulConstant
from tapegrad.nn.pooling import SpatialAveragePooling, SpatialMaxPooling
from tapegrad.nn.reduction import Max, Mean, Min, Sum
from tapegrad.nn.shape import (
    Collapse,
    Contiguous,
    Convert,
    Copy,
    Padding,
    Replicate,
    Reshape,
    Squeeze,
    Transpose,
    Unsqueeze,
    View,
)
from tapegrad.nn.table import (
    MM,
    MV,
    CAddTable,
    CAddTensorTable,
    CDivTable,
    CMaxTable,
    CMinTable,
    CMulTable,
    CriterionTable,
    CSubTable,
    FlattenTable,
    JoinTable,
    MixtureTable,
    NarrowTable,
    SelectTable,
    SplitTable,
    ZipTable,
    ZipTableOneToMany,
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
    "Concat",
    "ConcatTable",
    "Container",
    "DepthConcat",
    "MapTable",
    "Parallel",
    "ParallelTable",
    "Sequential",
    # tables
    "CAddTable",
    "CAddTensorTable",
    "CDivTable",
    "CMaxTable",
    "CMinTable",
    "CMulTable",
    "CriterionTable",
    "CSubTable",
    "FlattenTable",
    "JoinTable",
    "MM",
    "MV",
    "MixtureTable",
    "NarrowTable",
    "SelectTable",
    "SplitTable",
    "ZipTable",
    "ZipTableOneToMany",
    # shapes and parts
    "Collapse",
    "Contiguous",
    "Convert",
    "Copy",
    "Index",
    "MaskedSelect",
    "Narrow",
    "Padding",
    "Replicate",
    "Reshape",
    "Select",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "View",
    # entry by entry, and along one axis
    "Add",
    "AddConstant",
    "CAdd",
    "CMul",
    "Constant",
    "Max",
    "Mean",
    "Min",
    "Mul",
    "MulConstant",
    "Sum",
    # layers
    "BatchNormalization",
    "Dropout",
    "Identity",
    "Linear",
    "LogSoftMax",
    "ReLU",
    "Sigmoid",
    "SoftMax",
    "SpatialAveragePooling",
    "SpatialBatchNormalization",
    "SpatialConvolution",
    "SpatialMaxPooling",
    "Tanh",
    # criterions
    "ClassNLLCriterion",
    "CrossEntropyCriterion",
    "MSECriterion",
]
