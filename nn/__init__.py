"""tapegrad.nn: modules, containers, layers and criterions."""

from tapegrad.autograd import (
    Parameter,
)
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
from tapegrad.nn.classification import (
    ClassNLLCriterion,
    ClassSimplexCriterion,
    CrossEntropyCriterion,
    SpatialClassNLLCriterion,
)
from tapegrad.nn.container import (
    ConcatTable,
    Container,
    Sequential,
)
from tapegrad.nn.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
)
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
from tapegrad.nn.criterion import (
    Criterion,
)
from tapegrad.nn.dropout import (
    Dropout,
)
from tapegrad.nn.graph import (
    Node,
    gModule,
)
from tapegrad.nn.joint_criterions import (
    ModuleCriterion,
    MultiCriterion,
    ParallelCriterion,
)
from tapegrad.nn.linear import (
    Linear,
)
from tapegrad.nn.losses import (
    AbsCriterion,
    BCECriterion,
    ClassNLLCriterion,
    CrossEntropyCriterion,
    DistKLDivCriterion,
    L1Cost,
    MSECriterion,
    MultiLabelSoftMarginCriterion,
    SmoothL1Criterion,
    SpatialAutoCropMSECriterion,
    WeightedMSECriterion,
)
from tapegrad.nn.margins import (
    CosineEmbeddingCriterion,
    DistanceRatioCriterion,
    HingeEmbeddingCriterion,
    L1HingeEmbeddingCriterion,
    MarginCriterion,
    MarginRankingCriterion,
    MultiLabelMarginCriterion,
    MultiMarginCriterion,
    SoftMarginCriterion,
)
from tapegrad.nn.module import (
    Buffer,
    Module,
    ShapeError,
    shape_check,
)
from tapegrad.nn.normalization import (
    BatchNormalization,
    SpatialBatchNormalization,
)
from tapegrad.nn.picture import (
    picture,
)
from tapegrad.nn.pooling import (
    SpatialAveragePooling,
    SpatialMaxPooling,
)
from tapegrad.nn.shape import (
    Reshape,
    View,
)
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
    # graphs
    "Node",
    "gModule",
    "picture",
    # layers
    "BatchNormalization",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Dropout",
    "Linear",
    "Reshape",
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
    "TemporalConvolution",
    "TemporalDynamicKMaxPooling",
    "TemporalMaxPooling",
    "TemporalRowConvolution",
    "TemporalSubSampling",
    "View",
    "VolumetricConvolution",
    "VolumetricDilatedConvolution",
    "VolumetricFullConvolution",
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
    "AbsCriterion",
    "BCECriterion",
    "ClassNLLCriterion",
    "ClassSimplexCriterion",
    "CosineEmbeddingCriterion",
    "CrossEntropyCriterion",
    "DistKLDivCriterion",
    "DistanceRatioCriterion",
    "HingeEmbeddingCriterion",
    "L1Cost",
    "L1HingeEmbeddingCriterion",
    "MSECriterion",
    "MarginCriterion",
    "MarginRankingCriterion",
    "ModuleCriterion",
    "MultiCriterion",
    "MultiLabelMarginCriterion",
    "MultiLabelSoftMarginCriterion",
    "MultiMarginCriterion",
    "ParallelCriterion",
    "SmoothL1Criterion",
    "SoftMarginCriterion",
    "SpatialAutoCropMSECriterion",
    "SpatialClassNLLCriterion",
    "WeightedMSECriterion",
]
