"""tapegrad.optim: optimizers, each one pure rule, and what training needs around them."""

from tapegrad.optim.core.clipping import clip_global_norm, clip_norm, clip_value
from tapegrad.optim.core.optimizer import Optimizer
from tapegrad.optim.core.options import Option
from tapegrad.optim.core.rule import Rule, optimizer
from tapegrad.optim.minimizers.evolution import cmaes, de
from tapegrad.optim.minimizers.fista import FistaLS
from tapegrad.optim.minimizers.gradient_check import checkgrad
from tapegrad.optim.minimizers.line_search import cg, lbfgs, lswolfe, polyinterp
from tapegrad.optim.rules.adaptive import adadelta, adagrad, rmsprop, rprop
from tapegrad.optim.rules.classes import (
    ASGD,
    LAMB,
    LARS,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    Muon,
    RMSprop,
    Rprop,
    SignSGD,
)
from tapegrad.optim.rules.descent import asgd, nag, sgd
from tapegrad.optim.rules.modern import adafactor, lamb, lars, lion, muon, signsgd
from tapegrad.optim.rules.moments import adam, adamax
from tapegrad.optim.schedules import (
    Plateau,
    constant,
    cosine,
    exponential,
    multi_step,
    one_cycle,
    plot_schedule,
    poly,
    sequential,
    step,
    warmup,
)
from tapegrad.optim.training.average import Average
from tapegrad.optim.training.checkpoint import (
    Checkpoints,
    ResumeError,
    load_checkpoint,
    save_checkpoint,
)
from tapegrad.optim.training.confusion import ConfusionMatrix
from tapegrad.optim.training.data import Batches
from tapegrad.optim.training.logger import Logger
from tapegrad.optim.training.metrics import Metric
from tapegrad.optim.training.trainer import Callback, EarlyStopping, TensorBoard, Trainer

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
    # younger rules in the same form
    "adafactor",
    "lamb",
    "lars",
    "lion",
    "muon",
    "signsgd",
    # of modules, with parameter groups
    "ASGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "LAMB",
    "LARS",
    "Lion",
    "Muon",
    "Optimizer",
    "RMSprop",
    "Rprop",
    "SGD",
    "SignSGD",
    # around a step
    "Average",
    "clip_global_norm",
    "clip_norm",
    "clip_value",
    # schedules
    "Plateau",
    "constant",
    "cosine",
    "exponential",
    "multi_step",
    "one_cycle",
    "plot_schedule",
    "poly",
    "sequential",
    "step",
    "warmup",
    # training
    "Batches",
    "Callback",
    "ResumeError",
    "Checkpoints",
    "EarlyStopping",
    "Metric",
    "TensorBoard",
    "Trainer",
    "load_checkpoint",
    "save_checkpoint",
    # declaring one's own
    "Option",
    "Rule",
    "optimizer",
]
