"""tapegrad.optim: optimizers, each one pure rule, and what training needs around them."""

from tapegrad.optim.adam import adam, adamax
from tapegrad.optim.adaptive import adadelta, adagrad, rmsprop, rprop
from tapegrad.optim.average import Average
from tapegrad.optim.checkgrad import checkgrad
from tapegrad.optim.checkpoint import (
    Checkpoints,
    ResumeError,
    load_checkpoint,
    save_checkpoint,
)
from tapegrad.optim.classes import (
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
from tapegrad.optim.clipping import clip_global_norm, clip_norm, clip_value
from tapegrad.optim.confusion import ConfusionMatrix
from tapegrad.optim.data import Batches
from tapegrad.optim.evolution import cmaes, de
from tapegrad.optim.fista import FistaLS
from tapegrad.optim.line_search import cg, lbfgs, lswolfe, polyinterp
from tapegrad.optim.logger import Logger
from tapegrad.optim.metrics import Metric
from tapegrad.optim.modern import adafactor, lamb, lars, lion, muon, signsgd
from tapegrad.optim.optimizer import Optimizer
from tapegrad.optim.options import Option
from tapegrad.optim.rule import Rule, optimizer
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
from tapegrad.optim.sgd import asgd, nag, sgd
from tapegrad.optim.trainer import Callback, EarlyStopping, TensorBoard, Trainer

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
