"""tapegrad.optim: optimizers, each one pure update rule, and what training needs around them.

The front door hands on what the rooms export: an optimizer is here when a file of `rules/` names it
in its `__all__`.
"""

from typing import TYPE_CHECKING, NoReturn

from tapegrad.optim import bigdl as bigdl
from tapegrad.optim import minimizers, parallel, rules, schedules, training, validation
from tapegrad.optim.core.advice import absent_in_optim
from tapegrad.optim.core.clipping import clip_each_grad_norm as clip_each_grad_norm
from tapegrad.optim.core.clipping import clip_grad_norm as clip_grad_norm
from tapegrad.optim.core.clipping import clip_grad_value as clip_grad_value
from tapegrad.optim.core.optimizer import Optimizer as Optimizer
from tapegrad.optim.core.options import option as option
from tapegrad.optim.core.rule import StateSlot as StateSlot
from tapegrad.optim.core.rule import UpdateRule as UpdateRule
from tapegrad.optim.core.rule import cast_like as cast_like
from tapegrad.optim.core.rule import decayed_rate as decayed_rate
from tapegrad.optim.core.rule import scalar_shape as scalar_shape
from tapegrad.optim.core.rule import update_rule as update_rule
from tapegrad.optim.minimizers import *
from tapegrad.optim.parallel import *
from tapegrad.optim.rules import *
from tapegrad.optim.schedules import *
from tapegrad.optim.training import *
from tapegrad.optim.validation import *

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        "Optimizer",
        "StateSlot",
        "UpdateRule",
        "cast_like",
        "clip_each_grad_norm",
        "clip_grad_norm",
        "clip_grad_value",
        "decayed_rate",
        "option",
        "scalar_shape",
        "update_rule",
        *minimizers.__all__,
        *parallel.__all__,
        *rules.__all__,
        *schedules.__all__,
        *training.__all__,
        *validation.__all__,
    ]


def __dir__() -> list[str]:
    rooms = ["bigdl", "schedules"]
    return sorted(
        {*globals()["__all__"], *rooms, *(name for name in globals() if name.startswith("__"))}
    )


def __getattr__(name: str) -> NoReturn:
    raise absent_in_optim(name, list(globals()))
