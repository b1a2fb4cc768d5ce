"""What files call classes: the closed list from which a loader makes instances.

Since version 2 a class of ours has the name of its system in front, "nn.Linear", and somebody
else's its bare name, which is a word without a dot: neither can stand for the other, whatever is
called how, and wherever it is defined.  Version 1 had bare names for all; which of them were ours
is written down here, so that classes that came later do not take the names of strangers' classes in
old files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from tapegrad.nn.core.own import is_own, own_classes, qualified_name
from tapegrad.nn.core.state import records
from tapegrad.nn.module import Module

__all__ = ["Known", "name_in_files", "register_class"]

NOT_A_WORD = "a class whose name is a word, which {name!r} is not"

# The names of ours in version 1, all of nn.  Never add to them.
_VERSION_1 = """
Abs AbsCriterion AbstractRecurrent Add AddConstant BCECriterion BatchNormalization BiSequencer
Bidirectional Bilinear Bottle CAdd CAddTable CAddTensorTable CDivTable CMaxTable CMinTable CMul
CMulTable CReLU CSubTable Checkpoint Clamp ClassNLLCriterion ClassSimplexCriterion Collapse Concat
ConcatTable Constant Container Contiguous Conv1d Conv2d Conv3d Convert Copy Cosine CosineDistance
CosineEmbeddingCriterion Criterion CriterionTable CrossEntropyCriterion Decorator DepthConcat
DistKLDivCriterion DistanceRatioCriterion DontCast DotProduct Dropout ELU Embedding Euclidean Exp
FastLSTM FeatureLPPooling FlattenTable GELU GPU GRU Gate GatedLinearUnit GradientReversal
GroupNorm HardShrink HardTanh HingeEmbeddingCriterion Identity Index IndexLinear JoinTable Kmeans
L1Cost L1HingeEmbeddingCriterion L1Penalty LSTM LayerNorm LayerNormalization LeakyReLU Linear
LinearRNN LinearWeightNorm Log LogSigmoid LogSoftMax LookupRNN LookupTable LookupTableMaskZero MM
MSECriterion MV MapTable MarginCriterion MarginRankingCriterion MaskZero MaskZeroCriterion Masked
MaskedSelect Max Maxout Mean Min Mish MixtureTable Module ModuleCriterion MuFuRu Mul MulConstant
MultiCriterion MultiHeadAttention MultiLabelMarginCriterion MultiLabelSoftMarginCriterion
MultiMarginCriterion NaN Narrow NarrowTable Normalize OneHot PReLU Padding PairwiseDistance
Parallel ParallelCriterion ParallelTable PartialLinear Peephole PixelShuffle Power PrintSize
Profile RMSNorm RReLU ReLU ReLU6 RecGRU RecLSTM Recursor Remembering Repeater RepeaterCriterion
Replicate Reshape SAdd Select SelectTable SeqBGRU SeqBLSTM SeqGRU SeqLSTM Sequencer
SequencerCriterion Sequential SiLU Sigmoid SmoothL1Criterion SoftMarginCriterion SoftMax SoftMin
SoftPlus SoftShrink SoftSign SparseLinear SpatialAdaptiveAveragePooling SpatialAdaptiveMaxPooling
SpatialAutoCropMSECriterion SpatialAveragePooling SpatialBatchNormalization
SpatialClassNLLCriterion SpatialContrastiveNormalization SpatialConvolution
SpatialConvolutionLocal SpatialConvolutionMM SpatialConvolutionMap SpatialCrossMapLRN
SpatialDepthWiseConvolution SpatialDilatedConvolution SpatialDilatedMaxPooling
SpatialDivisiveNormalization SpatialDropout SpatialFractionalMaxPooling SpatialFullConvolution
SpatialFullConvolutionMap SpatialLPPooling SpatialLogSoftMax SpatialMaxPooling SpatialMaxUnpooling
SpatialReflectionPadding SpatialReplicationPadding SpatialSoftMax SpatialSubSampling
SpatialSubtractiveNormalization SpatialUpSamplingBilinear SpatialUpSamplingNearest
SpatialZeroPadding SplitTable Sqrt Square Squeeze StepGRU StepLSTM Sum Tanh TanhShrink
TemporalConvolution TemporalDynamicKMaxPooling TemporalMaxPooling TemporalRowConvolution
TemporalSubSampling Threshold TransformerEncoderLayer Transpose Unsqueeze UpSampling View
VolumetricAveragePooling VolumetricBatchNormalization VolumetricConvolution
VolumetricDilatedConvolution VolumetricDilatedMaxPooling VolumetricDropout
VolumetricFractionalMaxPooling VolumetricFullConvolution VolumetricMaxPooling
VolumetricMaxUnpooling VolumetricReplicationPadding WeightNorm WeightedEuclidean
WeightedMSECriterion WhiteNoise ZeroGrad ZipTable ZipTableOneToMany _Adaptive _Branches _Conv
_Convolution _Fractional _Full _Images _Interpolating _LastAxes _Local _Map _MaxPooling _Padding
_Plain _Pooling _ReverseSequence _ReverseUnreverse _Rounded _SpatialPadding _Weighted gModule
"""
_OURS_IN_VERSION_1 = frozenset(_VERSION_1.split())
_RECORDS_IN_VERSION_1 = frozenset({"Step", "_Clock"})

_registered: dict[str, type] = {}

C = TypeVar("C", bound=type)


def register_class(cls: C) -> C:
    """Let files have modules of this class; a decorator.

    Raises ValueError for a name that another registered class has, and for one that is no word.
    """
    if is_own(cls):
        return cls
    known = _registered.get(_word(cls), cls)
    if known is not cls:
        raise ValueError(f"another class is called {cls.__name__}: {known!r}")
    _registered[cls.__name__] = cls
    return cls


def _word(cls: type) -> str:
    if not cls.__name__.isidentifier():
        raise ValueError(NOT_A_WORD.format(name=cls.__name__))
    return cls.__name__


class Known:
    """The module classes and records of a file of some version, by the names that it has for them.

    classes: further ones, of the caller's
    """

    def __init__(self, version: int, classes: Iterable[type] = ()) -> None:
        self._version = version
        self._ours = own_classes(Module)
        theirs = {_word(cls): cls for cls in classes if not is_own(cls)}
        self._theirs: Mapping[str, type] = theirs | _registered
        self._records = records()

    def module(self, name: str) -> type | None:
        """The class of modules that a file of this version calls so; None for an unknown one."""
        if self._version == 1:
            ours = name in _OURS_IN_VERSION_1
            return self._ours.get(f"nn.{name}") if ours else self._theirs.get(name)
        return self._ours.get(name) if "." in name else self._theirs.get(name)

    def record(self, name: str) -> type | None:
        """The class of records that a file of this version calls so; None for an unknown one."""
        if self._version == 1:
            return self._records.get(f"nn.{name}") if name in _RECORDS_IN_VERSION_1 else None
        return self._records.get(name)


def name_in_files(cls: type) -> str:
    """What a file written today calls a class.  Raises ValueError for a name that is no word."""
    return qualified_name(cls) if is_own(cls) else _word(cls)
