"""Losses."""

from typing import TYPE_CHECKING

from tapegrad.nn.criterions import (
    alignment,
    classification,
    criterion,
    distributions,
    joint,
    likelihoods,
    losses,
    margins,
    over_time,
    similarities,
)
from tapegrad.nn.criterions.alignment import *
from tapegrad.nn.criterions.classification import *
from tapegrad.nn.criterions.criterion import *
from tapegrad.nn.criterions.distributions import *
from tapegrad.nn.criterions.joint import *
from tapegrad.nn.criterions.likelihoods import *
from tapegrad.nn.criterions.losses import *
from tapegrad.nn.criterions.margins import *
from tapegrad.nn.criterions.over_time import *
from tapegrad.nn.criterions.similarities import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        *alignment.__all__,
        *classification.__all__,
        *criterion.__all__,
        *distributions.__all__,
        *joint.__all__,
        *likelihoods.__all__,
        *losses.__all__,
        *margins.__all__,
        *over_time.__all__,
        *similarities.__all__,
    ]
