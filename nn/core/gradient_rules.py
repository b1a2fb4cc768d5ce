"""What a module does with the gradients of its parameters before they are accumulated.

A module may have factors (`setScaleW`, `setScaleB`) and regularizers.  Both belong to the module,
which files and copies keep; the leaf of each of its Parameters is told, and whoever accumulates
into ``p.grad`` (`backward` of a module or of a Tensor) asks the leaf.  A function's `grad` is a
derivative and asks nobody.

A Parameter that several modules hold has one gradient and so one rule: that of the module whose
factors or regularizers were set last.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tapegrad.autograd import Parameter
from tapegrad.autograd.reverse.accumulation import add_to_grad

if TYPE_CHECKING:
    from tapegrad.nn.core.part import Part
    from tapegrad.nn.core.regularizers import Regularizer

__all__ = [
    "BIAS",
    "RECURRENT",
    "WEIGHT",
    "attach_rules",
    "kind_of_parameter",
    "rules_for_handwritten",
]

# The kinds of parameters for which factors and regularizers are set apart.
WEIGHT, BIAS, RECURRENT = "w", "b", "u"


class GradientRule:
    """g -> factor · (g + the regularizer's term); None, nothing to add, for a factor of 0.

    The reference to the Parameter is weak: its leaf holds the rule.
    """

    __slots__ = ("factor", "parameter", "regularizer")

    def __init__(self, parameter: Parameter, factor: float, regularizer: Regularizer | None):
        self.parameter = weakref.ref(parameter)
        self.factor, self.regularizer = factor, regularizer

    def __call__(self, g: Any) -> Any:
        if self.factor == 0:
            return None
        parameter = self.parameter()
        if self.regularizer is not None and parameter is not None:
            g = self.regularizer.add_to(g, parameter)
        return g if self.factor == 1 else g * self.factor


def kind_of_parameter(module: Part, name: str) -> str:
    """BIAS for a parameter called ``bias``, RECURRENT for one that its class lists, else WEIGHT.

    name: the attribute, with the position in it where it is a list
    """
    if name.rpartition(".")[2] == "bias":
        return BIAS
    return RECURRENT if name in module._recurrent_weights else WEIGHT


def attach_rules(module: Part, named: list[tuple[str, Any]]) -> None:
    """Tell the Parameters among a module's own fields what becomes of their gradients.

    named: (name, field) of all, as `part.named_fields` gives them
    """
    scale_w, scale_b = module._scales
    for name, parameter in named:
        if not isinstance(parameter, Parameter):
            continue
        kind = kind_of_parameter(module, name)
        factor = scale_b if kind == BIAS else scale_w
        regularizer = module._regularizers.get(kind)
        trivial = factor == 1 and regularizer is None
        parameter._leaf.adjust = None if trivial else GradientRule(parameter, factor, regularizer)


@contextmanager
def rules_for_handwritten(parameters: list[Parameter]) -> Iterator[None]:
    """Hold what a hand-written `accGradParameters` adds to gradients to the rules of the leaves."""
    ruled = [(p, p.grad) for p in parameters if p._leaf.adjust is not None]
    for p, _ in ruled:
        p.grad = p._bare * 0
    try:
        yield
    finally:
        added = [p.grad for p, _ in ruled]
        for (p, before), g in zip(ruled, added, strict=True):
            p.grad = before
            if g is not None:
                add_to_grad(p._leaf, g)
