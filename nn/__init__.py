"""tapegrad.nn: modules, containers, layers and criterions."""

from tapegrad.autograd import Parameter
from tapegrad.devices import manual_seed
from tapegrad.nn import initialization as init
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
from tapegrad.nn.decorators import (
    GPU,
    Bottle,
    Decorator,
    DontCast,
    NaN,
    Profile,
    WeightNorm,
)
from tapegrad.nn.distance import (
    Cosine,
    CosineDistance,
    DotProduct,
    Euclidean,
    Kmeans,
    Normalize,
    PairwiseDistance,
    WeightedEuclidean,
)
from tapegrad.nn.dropout import Dropout, SpatialDropout, VolumetricDropout, WhiteNoise
from tapegrad.nn.gradient import GradientReversal, L1Penalty, PrintSize, ZeroGrad
from tapegrad.nn.indexing import Index, MaskedSelect, Narrow, Select
from tapegrad.nn.linear import Bilinear, Linear, LinearWeightNorm, PartialLinear
from tapegrad.nn.lookup import IndexLinear, LookupTable, OneHot, SparseLinear
from tapegrad.nn.losses import ClassNLLCriterion, CrossEntropyCriterion, MSECriterion
from tapegrad.nn.module import Buffer, Module, ShapeError, shape_check
from tapegrad.nn.normalization import (
    BatchNormalization,
    LayerNormalization,
    SpatialBatchNormalization,
    VolumetricBatchNormalization,
)
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
from tapegrad.nn.stochastic_gradient import StochasticGradient
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
    "init",
    "manual_seed",
    "StochasticGradient",
    # decorators
    "Bottle",
    "Decorator",
    "DontCast",
    "GPU",
    "NaN",
    "Profile",
    "WeightNorm",
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
    # linear forms, dense and sparse, and looking up
    "Bilinear",
    "IndexLinear",
    "Linear",
    "LinearWeightNorm",
    "LookupTable",
    "OneHot",
    "PartialLinear",
    "SparseLinear",
    # distances and norms
    "Cosine",
    "CosineDistance",
    "DotProduct",
    "Euclidean",
    "Kmeans",
    "Normalize",
    "PairwiseDistance",
    "WeightedEuclidean",
    # normalization, noise, and what acts on gradients
    "BatchNormalization",
    "Dropout",
    "GradientReversal",
    "L1Penalty",
    "LayerNormalization",
    "PrintSize",
    "SpatialBatchNormalization",
    "SpatialDropout",
    "VolumetricBatchNormalization",
    "VolumetricDropout",
    "WhiteNoise",
    "ZeroGrad",
    # layers
    "Identity",
    "LogSoftMax",
    "ReLU",
    "Sigmoid",
    "SoftMax",
    "SpatialAveragePooling",
    "SpatialConvolution",
    "SpatialMaxPooling",
    "Tanh",
    # criterions
    "ClassNLLCriterion",
    "CrossEntropyCriterion",
    "MSECriterion",
]
