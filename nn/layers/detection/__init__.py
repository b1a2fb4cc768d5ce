"""Detection of objects: anchors, priors, suppression of overlaps, pyramids, heads of regions."""

from typing import TYPE_CHECKING

from tapegrad.nn.layers.detection import boxes, heads, proposals, pyramids, regions
from tapegrad.nn.layers.detection.boxes import *
from tapegrad.nn.layers.detection.heads import *
from tapegrad.nn.layers.detection.proposals import *
from tapegrad.nn.layers.detection.pyramids import *
from tapegrad.nn.layers.detection.regions import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *boxes.__all__,
        *heads.__all__,
        *proposals.__all__,
        *pyramids.__all__,
        *regions.__all__,
    ]
