"""The names of classes in files: the closed list from which a loader makes instances.

Since version 2 of the format a file calls a class of tapegrad "nn.Linear", and a user's class by
its bare name, a word without a dot, so that neither can be taken for the other.  In version 1 all
names were bare.  The list below says which of them were tapegrad's then, so that a class that was
added to tapegrad later is not taken for a user's class in an old file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from tapegrad.nn.core.own import is_own, own_classes, qualified_name
from tapegrad.nn.core.state import saved_records
from tapegrad.nn.module import Module

__all__ = ["KnownClasses", "name_in_files", "register_class"]

NOT_A_WORD = "a class whose name is a word, which {name!r} is not"

# The names of tapegrad.nn's classes when version 1 was current.  Never add to them.
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
    """Let every file that is loaded have modules of this class; a decorator.

    Raises ValueError for a name that another registered class has, and for one that is no word.
    """
    if is_own(cls):
        return cls
    known = _registered.get(_bare_name(cls), cls)
    if known is not cls:
        raise ValueError(f"another class is called {cls.__name__}: {known!r}")
    _registered[cls.__name__] = cls
    return cls


def _bare_name(cls: type) -> str:
    if not cls.__name__.isidentifier():
        raise ValueError(NOT_A_WORD.format(name=cls.__name__))
    return cls.__name__


class KnownClasses:
    """The module classes and records that a file may have, by their names in its version.

    classes: the caller's, as `load` takes them; a mapping's names count beside the classes' own
    """

    def __init__(self, version: int, classes: Iterable[type] | Mapping[str, type] = ()) -> None:
        self._version = version
        self._ours = own_classes(Module)
        if isinstance(classes, Mapping):
            theirs = {cls.__name__: cls for cls in classes.values() if not is_own(cls)}
            theirs |= {name.removeprefix("nn."): cls for name, cls in classes.items()}
        else:
            theirs = {_bare_name(cls): cls for cls in classes if not is_own(cls)}
        self._theirs: Mapping[str, type] = theirs | _registered
        self._records = saved_records()

    def module(self, name: str) -> type | None:
        """Return the class of modules with this name in the file; None for an unknown name."""
        if self._version == 1:
            ours = name in _OURS_IN_VERSION_1
            return self._ours.get(f"nn.{name}") if ours else self._theirs.get(name)
        return self._ours.get(name) if "." in name else self._theirs.get(name)

    def record(self, name: str) -> type | None:
        """Return the class of records with this name in the file; None for an unknown name."""
        if self._version == 1:
            return self._records.get(f"nn.{name}") if name in _RECORDS_IN_VERSION_1 else None
        return self._records.get(name)


def name_in_files(cls: type) -> str:
    """Return a class's name in files of today.  Raises ValueError for a name that is no word."""
    return qualified_name(cls) if is_own(cls) else _bare_name(cls)
