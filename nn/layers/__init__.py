"""Layers, by family."""

from typing import TYPE_CHECKING

from tapegrad.nn.layers import (
    activation,
    attention,
    bags,
    beams,
    convolution,
    detection,
    distance,
    dropout,
    gradient,
    graphs,
    indexing,
    linear,
    lookup,
    maxout,
    normalization,
    padding,
    pointwise,
    pooling,
    rearranging,
    rectifiers,
    reduction,
    sampling,
    shape,
    softmax,
    sparse,
    table,
    temporal,
    transformer,
    upsampling,
)
from tapegrad.nn.layers.activation import *
from tapegrad.nn.layers.attention import *
from tapegrad.nn.layers.bags import *
from tapegrad.nn.layers.beams import *
from tapegrad.nn.layers.convolution import *
from tapegrad.nn.layers.detection import *
from tapegrad.nn.layers.distance import *
from tapegrad.nn.layers.dropout import *
from tapegrad.nn.layers.gradient import *
from tapegrad.nn.layers.graphs import *
from tapegrad.nn.layers.indexing import *
from tapegrad.nn.layers.linear import *
from tapegrad.nn.layers.lookup import *
from tapegrad.nn.layers.maxout import *
from tapegrad.nn.layers.normalization import *
from tapegrad.nn.layers.padding import *
from tapegrad.nn.layers.pointwise import *
from tapegrad.nn.layers.pooling import *
from tapegrad.nn.layers.rearranging import *
from tapegrad.nn.layers.rectifiers import *
from tapegrad.nn.layers.reduction import *
from tapegrad.nn.layers.sampling import *
from tapegrad.nn.layers.shape import *
from tapegrad.nn.layers.softmax import *
from tapegrad.nn.layers.sparse import *
from tapegrad.nn.layers.table import *
from tapegrad.nn.layers.temporal import *
from tapegrad.nn.layers.transformer import *
from tapegrad.nn.layers.upsampling import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *activation.__all__,
        *attention.__all__,
        *bags.__all__,
        *beams.__all__,
        *convolution.__all__,
        *detection.__all__,
        *distance.__all__,
        *dropout.__all__,
        *gradient.__all__,
        *graphs.__all__,
        *indexing.__all__,
        *linear.__all__,
        *lookup.__all__,
        *maxout.__all__,
        *normalization.__all__,
        *padding.__all__,
        *pointwise.__all__,
        *pooling.__all__,
        *rearranging.__all__,
        *rectifiers.__all__,
        *reduction.__all__,
        *sampling.__all__,
        *shape.__all__,
        *softmax.__all__,
        *sparse.__all__,
        *table.__all__,
        *temporal.__all__,
        *transformer.__all__,
        *upsampling.__all__,
    ]
