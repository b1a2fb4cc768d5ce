"""tapegrad.optim: optimizers, each one pure rule, in Torch7's functional form."""

from tapegrad.optim.adam import adam
from tapegrad.optim.rule import Optimizer, optimizer
from tapegrad.optim.sgd import sgd

__all__ = ["Optimizer", "adam", "optimizer", "sgd"]
