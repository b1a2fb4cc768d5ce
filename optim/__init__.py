"""tapegrad.optim: optimizers, each one pure rule, and what training needs around them."""

from tapegrad.optim.adam import adam, adamax
from tapegrad.optim.adaptive import adadelta, adagrad, rmsprop, rprop
from tapegrad.optim.checkgrad import checkgrad
from tapegrad.optim.confusion import ConfusionMatrix
from tapegrad.optim.evolution import cmaes, de
from tapegrad.optim.fista import FistaLS
from tapegrad.optim.line_search import cg, lbfgs, lswolfe, polyinterp
from tapegrad.optim.logger import Logger
from tapegrad.optim.rule import Rule, optimizer
from tapegrad.optim.sgd import asgd, nag, sgd

__all__ = [
    # Torch7's functional forms
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "asgd",
    "cg",
    "cmaes",
    "de",
    "FistaLS",
    "lbfgs",
    "lswolfe",
    "nag",
    "polyinterp",
    "rmsprop",
    "rprop",
    "sgd",
    "ConfusionMatrix",
    "Logger",
    "checkgrad",
    # declaring one's own
    "Rule",
    "optimizer",
]
