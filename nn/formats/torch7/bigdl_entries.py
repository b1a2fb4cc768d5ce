"""BigDL's classes, which Torch7 lacks: its files name none of them."""

from __future__ import annotations

import inspect
from types import ModuleType

from tapegrad.nn.criterions import distributions, similarities
from tapegrad.nn.criterions.joint import TransformerCriterion
from tapegrad.nn.criterions.over_time import TimeDistributedCriterion, TimeDistributedMaskCriterion
from tapegrad.nn.formats.torch7.entry import ClassEntry
from tapegrad.nn.layers import beams, rearranging, sparse, transformer
from tapegrad.nn.layers.activation import HardSigmoid, Negative
from tapegrad.nn.layers.convolution import local
from tapegrad.nn.layers.convolution.spatial import (
    SpatialSeparableConvolution,
    SpatialShareConvolution,
)
from tapegrad.nn.layers.detection import heads, proposals, pyramids, regions
from tapegrad.nn.layers.dropout import (
    GaussianDropout,
    GaussianNoise,
    GaussianSampler,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from tapegrad.nn.layers.gradient import ActivityRegularization, Echo, NegativeEntropyPenalty
from tapegrad.nn.layers.indexing import Masking
from tapegrad.nn.layers.linear import Highway
from tapegrad.nn.layers.normalization.local import SpatialWithinChannelLRN
from tapegrad.nn.layers.normalization.sample import NormalizeScale
from tapegrad.nn.layers.padding import Cropping2D, Cropping3D
from tapegrad.nn.layers.pointwise import Scale
from tapegrad.nn.layers.rectifiers import BinaryThreshold, SReLU
from tapegrad.nn.layers.table import (
    BifurcateSplitTable,
    CAveTable,
    CrossProduct,
    Pack,
    TableOperation,
)
from tapegrad.nn.layers.upsampling import ResizeBilinear, UpSampling1D, UpSampling2D, UpSampling3D
from tapegrad.nn.recurrent import cells, convolutional_cells, trees, unrolled

__all__ = ["BIGDL"]

# Files of which every public class is BigDL's.
FILES: tuple[ModuleType, ...] = (
    beams,
    cells,
    convolutional_cells,
    distributions,
    heads,
    local,
    proposals,
    pyramids,
    rearranging,
    regions,
    similarities,
    sparse,
    transformer,
    trees,
    unrolled,
)

CLASSES: tuple[type, ...] = (
    ActivityRegularization,
    BifurcateSplitTable,
    BinaryThreshold,
    CAveTable,
    Cropping2D,
    Cropping3D,
    CrossProduct,
    Echo,
    GaussianDropout,
    GaussianNoise,
    GaussianSampler,
    HardSigmoid,
    Highway,
    Masking,
    Negative,
    NegativeEntropyPenalty,
    NormalizeScale,
    Pack,
    ResizeBilinear,
    SReLU,
    Scale,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
    SpatialSeparableConvolution,
    SpatialShareConvolution,
    SpatialWithinChannelLRN,
    TableOperation,
    TimeDistributedCriterion,
    TimeDistributedMaskCriterion,
    TransformerCriterion,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
)


def _classes_of(module: ModuleType) -> list[type]:
    """The public classes of a file."""
    found = [getattr(module, name) for name in module.__all__]
    return [value for value in found if inspect.isclass(value)]


BIGDL: dict[type, ClassEntry] = {
    cls: ClassEntry(absent=True)
    for cls in (*CLASSES, *(cls for module in FILES for cls in _classes_of(module)))
}
