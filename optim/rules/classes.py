"""The optimizers by their names: SGD, Adam, Muon and the others.

Each class is a table: the rule that it runs, PyTorch's names and defaults of the options, and what
the rule calls these options.  What the classes do is in `optimizer.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tapegrad.autograd import Parameter  # noqa: TC001  # an annotation that people may resolve
from tapegrad.optim.core.optimizer import Optimizer
from tapegrad.optim.rules.adaptive import adadelta, adagrad, rmsprop, rprop
from tapegrad.optim.rules.descent import asgd, sgd
from tapegrad.optim.rules.modern import adafactor, lamb, lars, lion, muon, signsgd
from tapegrad.optim.rules.moments import adam, adamax

__all__ = [
    "ASGD", "LAMB", "LARS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax",
    "Lion", "Muon", "RMSprop", "Rprop", "SignSGD",
]  # fmt: skip

_RATE = {"lr": "learningRate", "weight_decay": "weightDecay", "eps": "epsilon"}
_BETAS = {**_RATE, "betas": ("beta1", "beta2")}
_DECOUPLED = {**_BETAS, "weight_decay": "decoupledDecay"}


class SGD(Optimizer):
    """v = μv + (1 - dampening)(g + λx), x -= lr · v: lr 1e-3, momentum, dampening, nesterov."""

    rule = sgd
    defaults: ClassVar = {
        "lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False,
    }  # fmt: skip
    translation = _RATE


class Adam(Optimizer):
    """Adam as in the paper, ε after the bias correction: lr 1e-3, betas, eps, weight_decay (L2)."""

    rule = adam
    defaults: ClassVar = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    translation = _BETAS
    fixed: ClassVar = {"paper": True}


class AdamW(Optimizer):
    """Adam with decoupled weight decay: x shrinks by lr · weight_decay (1e-2)."""

    rule = adam
    defaults: ClassVar = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2}
    translation = _DECOUPLED
    fixed: ClassVar = {"paper": True}


class Adamax(Optimizer):
    """AdaMax: lr 2e-3, betas, eps 1e-8, weight_decay (L2)."""

    rule = adamax
    defaults: ClassVar = {"lr": 2e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    translation = _BETAS


class Adagrad(Optimizer):
    """Adagrad: lr 1e-2, lr_decay, eps 1e-10, initial_accumulator_value, weight_decay (L2)."""

    rule = adagrad
    defaults: ClassVar = {
        "lr": 1e-2, "lr_decay": 0.0, "eps": 1e-10, "initial_accumulator_value": 0.0,
        "weight_decay": 0.0,
    }  # fmt: skip
    translation: ClassVar = {
        **_RATE, "lr_decay": "learningRateDecay", "initial_accumulator_value": "initialMean"
    }  # fmt: skip


class Adadelta(Optimizer):
    """Adadelta: lr 1, rho 0.9, eps 1e-6, weight_decay (L2)."""

    rule = adadelta
    defaults: ClassVar = {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.0}
    translation: ClassVar = {**_RATE, "eps": "eps"}


class RMSprop(Optimizer):
    """RMSprop: lr 1e-2, alpha 0.99, eps 1e-8, momentum, centered, weight_decay (L2)."""

    rule = rmsprop
    defaults: ClassVar = {
        "lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False,
        "weight_decay": 0.0,
    }  # fmt: skip
    translation = _RATE


class Rprop(Optimizer):
    """Rprop: lr 1e-2 (the first step size), etas (0.5, 1.2), step_sizes (1e-6, 50)."""

    rule = rprop
    defaults: ClassVar = {"lr": 1e-2, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0)}
    translation: ClassVar = {
        "lr": "stepsize",
        "etas": ("etaminus", "etaplus"),
        "step_sizes": ("stepsizemin", "stepsizemax"),
    }


class ASGD(Optimizer):
    """Averaged SGD: lr 1e-2, lambd 1e-4, alpha 0.75, t0 1e6; the averages are in `state_dict`."""

    rule = asgd
    defaults: ClassVar = {"lr": 1e-2, "lambd": 1e-4, "alpha": 0.75, "t0": 1e6}
    translation: ClassVar = {"lr": "eta0", "lambd": "lambda"}


class Lion(Optimizer):
    """Lion: lr 1e-4, betas (0.9, 0.99), weight_decay (decoupled)."""

    rule = lion
    defaults: ClassVar = {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0}
    translation = _DECOUPLED


class SignSGD(Optimizer):
    """signSGD, with momentum Signum: lr 1e-3, momentum, weight_decay (decoupled)."""

    rule = signsgd
    defaults: ClassVar = {"lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0}
    translation = _RATE


class LAMB(Optimizer):
    """LAMB: lr 1e-3, betas, eps 1e-6, weight_decay."""

    rule = lamb
    defaults: ClassVar = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.0}
    translation = _DECOUPLED


class LARS(Optimizer):
    """LARS: lr 0.1, momentum 0.9, weight_decay, trust 1e-3."""

    rule = lars
    defaults: ClassVar = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "trust": 1e-3}
    translation = _RATE


class Adafactor(Optimizer):
    """Adafactor: lr 1e-2, beta2_decay -0.8, eps (dtype's, 1e-3), d 1, weight_decay (decoupled)."""

    rule = adafactor
    defaults: ClassVar = {
        "lr": 1e-2, "beta2_decay": -0.8, "eps": (None, 1e-3), "d": 1.0, "weight_decay": 0.0,
    }  # fmt: skip
    translation: ClassVar = {
        "lr": "learningRate", "beta2_decay": "beta2Decay", "eps": ("smallest", "epsilon"),
        "d": "clipping", "weight_decay": "decoupledDecay",
    }  # fmt: skip


class Muon(Optimizer):
    """Muon, for weights of two or more axes: lr 1e-3, momentum 0.95, nesterov, weight_decay 0.1."""

    rule = muon
    defaults: ClassVar = {
        "lr": 1e-3, "momentum": 0.95, "nesterov": True, "weight_decay": 0.1, "ns_steps": 5,
        "ns_coefficients": (3.4445, -4.7750, 2.0315), "eps": 1e-7, "match_adamw": False,
    }  # fmt: skip
    translation: ClassVar = {
        "lr": "learningRate", "weight_decay": "decoupledDecay", "ns_steps": "steps",
        "ns_coefficients": "coefficients", "eps": "epsilon", "match_adamw": "match",
    }  # fmt: skip

    def check_parameters(self, named: Mapping[str, Parameter]) -> None:
        """Vectors have no singular values to even out."""
        vectors = [name for name, p in named.items() if p.ndim < 2]
        if vectors:
            raise ValueError(
                f"Muon is for parameters of two or more axes; give {', '.join(vectors)} to another "
                "optimizer, such as AdamW({name: p for name, p in module.named_parameters() "
                "if p.ndim < 2})"
            )
