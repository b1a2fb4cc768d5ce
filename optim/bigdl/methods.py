"""BigDL's OptimMethods: the options of an update rule by BigDL's names, without parameters.

A method is made before there is a model, and given to an `Optimizer` of this namespace; or it
minimizes a function by itself, `method.optimize(feval, x)`.  The mathematics is that of the rules
(`tapegrad.optim.rules`); here stand BigDL's names and defaults.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tapegrad.autograd.core.tensor import untracked
from tapegrad.optim import rules
from tapegrad.optim.bigdl import schedules
from tapegrad.optim.bigdl.schedules import Default, Moment, Schedule
from tapegrad.optim.core.optimizer import Optimizer
from tapegrad.optim.core.options import unknown_option
from tapegrad.optim.minimizers import lbfgs
from tapegrad.optim.training.checkpoint import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Array
    from tapegrad.optim.core.groups import HasParameters
    from tapegrad.optim.core.rule import UpdateRule

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "Adamax",
    "Ftrl",
    "LarsSGD",
    "OptimMethod",
    "ParallelAdam",
    "RMSprop",
]

NEEDS_A_FUNCTION = (
    "LBFGS evaluates the function several times in a step, and a training loop gives it one "
    "gradient of one batch: call LBFGS(…).optimize(feval, x), or train by another method"
)
OTHER_METHOD = "{path} was saved by {found}, not by {name}: {found}.load(path) reads it"
WRONG_LENGTH = "{name}: {option} has {found} entries, the model's parameters have {count}"

# Options of SGD that hold a number for each entry of all parameters together.
PER_ENTRY = ("learningRates", "weightDecays")


class OptimMethod:
    """A way to minimize: options by BigDL's names, and a `state` that steps leave behind.

    A subclass names its `rule`, and in `names` the options that the rule calls otherwise.
    state: "epoch" and "neval" from 1, as a training loop counts them, and what the rule keeps
    """

    rule: ClassVar[UpdateRule]
    names: ClassVar[Mapping[str, str]] = {}
    # BigDL's options that change nothing here.
    unused: ClassVar[tuple[str, ...]] = ()
    learningRate: float
    learningRateDecay: float

    def __init__(self, **options: Any) -> None:
        self.state: dict[str, Any] = {"epoch": 1, "neval": 1}
        self.learningRateSchedule: Schedule | None = options.pop("learningRateSchedule", None)
        self._options = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)
        self.rule.complete_options(self.rule_options())

    def rule_options(self) -> dict[str, Any]:
        """Return the options as the rule calls them; without a rate, where a schedule sets it."""
        names = [name for name in self._options if name not in self.unused]
        found = {self.names.get(name, name): getattr(self, name) for name in names}
        if self.learningRateSchedule is not None:
            found.pop("learningRateDecay", None)
        return found

    def rate(self, measured: Mapping[str, float] | None = None) -> float:
        """Return the learning rate of the next step, which the schedule makes of `state`.

        measured: the last values by name, for a schedule that watches one
        """
        schedule = self.learningRateSchedule
        steps = int(self.state["neval"]) - 1
        if schedule is None:
            decay = getattr(self, "learningRateDecay", 0.0)
            return getattr(self, "learningRate", 1.0) / (1 + steps * decay)
        for name, value in schedule.options(int(self.state["epoch"])).items():
            if name not in self._options:
                raise unknown_option(type(self).__name__, name, self._options)
            setattr(self, name, value)
        return schedule(
            Moment(
                self.learningRate, self.learningRateDecay, steps, int(self.state["epoch"]),
                measured or {},
            )
        )  # fmt: skip

    def optimize(
        self, feval: Callable[[Any], tuple[Any, Any]], x: Tensor | Array
    ) -> tuple[Tensor | Array, list[Any]]:
        """Make one step: x is overwritten.  Returns (x, [f]), f being that of before.

        feval: x -> (f, gradient of x's shape)
        """
        rate = self.rate(self.state)
        config = self.rule_options()
        if self.learningRateSchedule is not None:
            config["learningRate"] = rate
        x, losses, *_ = self.rule(feval, x, config, self.state)
        self.state["neval"] += 1
        return x, losses

    def make_optimizer(self, module: HasParameters) -> Optimizer:
        """Return an optimizer of this package for a module, with the method's options.

        Raises ValueError for learningRates and weightDecays of another length than all parameters
        together.
        """
        options = self.rule_options()
        options["lr"] = options.pop("learningRate", 1.0)
        per_entry = {
            name: np.asarray(options.pop(name)).reshape(-1)
            for name in PER_ENTRY
            if options.get(name) is not None
        }
        named = dict(module.named_parameters())
        count = sum(p.size for p in named.values())
        for option, values in per_entry.items():
            if values.size != count:
                name = type(self).__name__
                text = WRONG_LENGTH.format(name=name, option=option, found=values.size, count=count)
                raise ValueError(text)
        groups, start = [], 0
        for p in named.values() if per_entry else ():
            part = slice(start, start + p.size)
            own = {option: values[part].reshape(p.shape) for option, values in per_entry.items()}
            groups.append({"params": p, **own})
            start = part.stop
        return object_form(self.rule)(module, groups=groups, **options)

    def getLearningRate(self) -> float:
        """Return the learning rate of the next step."""
        return self.rate(self.state)

    def getHyperParameter(self) -> str:
        """Return the rate and the other options, in words."""
        others = [n for n in self._options if n not in {"learningRate", *self.unused}]
        shown = [f"{name} is {getattr(self, name)}." for name in others if getattr(self, name)]
        return " ".join([f"Current learning rate is {self.getLearningRate()}.", *shown])

    def clearHistory(self) -> None:
        """Forget what steps have left behind; the next one is the first."""
        self.state = {"epoch": 1, "neval": 1}

    def loadFromTable(self, config: Mapping[str, Any]) -> Self:
        """Set options by name.  Raises TypeError for one that does not exist."""
        for name, value in config.items():
            if name == "learningRateSchedule":
                self.learningRateSchedule = value
            elif name in self._options:
                setattr(self, name, value)
            else:
                raise unknown_option(type(self).__name__, name, self._options)
        return self

    def save(self, path: str | Path, overWrite: bool = False) -> Self:
        """Write the options and the state to a file; a schedule's formula is not written.

        Raises FileExistsError unless overWrite, where there is a file already.
        """
        if Path(path).exists() and not overWrite:
            raise FileExistsError(f"{path} exists already: save(path, overWrite=True)")
        options = {name: getattr(self, name) for name in self._options}
        schedule = self.learningRateSchedule
        content = {
            "method": type(self).__name__, "options": options, "state": self.state,
            "schedule": {} if schedule is None else schedule.state_dict(),
        }  # fmt: skip
        save_checkpoint(content, path)
        return self

    @classmethod
    def load(cls, path: str | Path, learningRateSchedule: Schedule | None = None) -> Self:
        """Read what `save` wrote; the schedule is given anew.

        Raises ValueError for a file of another method, ResumeError for one that is not complete.
        """
        content = load_checkpoint(path)
        if content["method"] != cls.__name__:
            raise ValueError(
                OTHER_METHOD.format(path=path, found=content["method"], name=cls.__name__)
            )
        parameters = inspect.signature(cls).parameters
        method = cls(**{k: v for k, v in content["options"].items() if k in parameters})
        if learningRateSchedule is not None:
            method.learningRateSchedule = learningRateSchedule
        if method.learningRateSchedule is not None and content["schedule"]:
            method.learningRateSchedule.load_state_dict(content["schedule"])
        method.state = {
            name: untracked(value) if isinstance(value, np.ndarray) else value
            for name, value in content["state"].items()
        }
        return method

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._options)
        return f"{type(self).__name__}({shown})"


_FORMS: dict[str, type[Optimizer]] = {}


def object_form(rule: UpdateRule) -> type[Optimizer]:
    """Return the class of optimizers whose options are the rule's own, and "lr"."""
    if rule.__name__ not in _FORMS:
        body = {
            "rule": rule,
            "keywords": {name: "lr" if name == "learningRate" else name for name in rule.options},
            "__doc__": f"Run {rule.__name__} with the rule's own names of options.",
            "__module__": __name__,
        }  # fmt: skip
        _FORMS[rule.__name__] = type(f"{rule.__name__}_of_module", (Optimizer,), body)
    return _FORMS[rule.__name__]


class SGD(OptimMethod):
    """Gradient descent: v = momentum · v + (1 - dampening)(g + weightDecay · x), x -= rate · v.

    dampening: `momentum` itself when None, as in BigDL: give 0 for the usual momentum
    nesterov:  g + momentum · v in place of v; dampening must be 0
    learningRateSchedule: one of SGD.Default(), SGD.Poly(…), SGD.Step(…) and the other schedules;
               learningRateDecay is for SGD.Default()
    learningRates, weightDecays: a factor or decay for each entry of all parameters together
    Raises ValueError for nesterov with dampening or without momentum.
    """

    rule = rules.sgd
    Default = schedules.Default
    Poly = schedules.Poly
    Step = schedules.Step
    MultiStep = schedules.MultiStep
    EpochDecay = schedules.EpochDecay
    EpochStep = schedules.EpochStep
    EpochSchedule = schedules.EpochSchedule
    Regime = schedules.Regime
    NaturalExp = schedules.NaturalExp
    Exponential = schedules.Exponential
    Plateau = schedules.Plateau
    Warmup = schedules.Warmup
    SequentialSchedule = schedules.SequentialSchedule
    EpochDecayWithWarmUp = schedules.EpochDecayWithWarmUp

    def __init__(
        self,
        learningRate: float = 1e-3,
        learningRateDecay: float = 0.0,
        weightDecay: float = 0.0,
        momentum: float = 0.0,
        dampening: float | None = None,
        nesterov: bool = False,
        learningRateSchedule: Schedule | None = None,
        learningRates: Any = None,
        weightDecays: Any = None,
    ) -> None:
        super().__init__(
            learningRate=learningRate, learningRateDecay=learningRateDecay,
            weightDecay=weightDecay, momentum=momentum, dampening=dampening, nesterov=nesterov,
            learningRateSchedule=learningRateSchedule or Default(),
            learningRates=learningRates, weightDecays=weightDecays,
        )  # fmt: skip


class Adam(OptimMethod):
    """Adam with ε before the bias correction: see `tapegrad.optim.adam`."""

    rule = rules.adam
    names: ClassVar[Mapping[str, str]] = {"Epsilon": "epsilon"}

    def __init__(
        self,
        learningRate: float = 1e-3,
        learningRateDecay: float = 0.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
        Epsilon: float = 1e-8,
    ) -> None:
        super().__init__(
            learningRate=learningRate, learningRateDecay=learningRateDecay,
            beta1=beta1, beta2=beta2, Epsilon=Epsilon,
        )  # fmt: skip


class ParallelAdam(OptimMethod):
    """Adam.  parallelNum is taken and unused: a step is one pass over memory here."""

    rule = rules.adam
    names: ClassVar[Mapping[str, str]] = {"Epsilon": "epsilon"}
    unused = ("parallelNum",)

    def __init__(
        self,
        learningRate: float = 1e-3,
        learningRateDecay: float = 0.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
        Epsilon: float = 1e-8,
        parallelNum: int = 1,
    ) -> None:
        super().__init__(
            learningRate=learningRate, learningRateDecay=learningRateDecay,
            beta1=beta1, beta2=beta2, Epsilon=Epsilon, parallelNum=parallelNum,
        )  # fmt: skip


class Adamax(OptimMethod):
    """AdaMax: see `tapegrad.optim.adamax`."""

    rule = rules.adamax
    names: ClassVar[Mapping[str, str]] = {"Epsilon": "epsilon"}

    def __init__(
        self,
        learningRate: float = 0.002,
        beta1: float = 0.9,
        beta2: float = 0.999,
        Epsilon: float = 1e-38,
    ) -> None:
        super().__init__(learningRate=learningRate, beta1=beta1, beta2=beta2, Epsilon=Epsilon)


class Adagrad(OptimMethod):
    """Adagrad: see `tapegrad.optim.adagrad`."""

    rule = rules.adagrad

    def __init__(
        self,
        learningRate: float = 1e-3,
        learningRateDecay: float = 0.0,
        weightDecay: float = 0.0,
    ) -> None:
        super().__init__(
            learningRate=learningRate, learningRateDecay=learningRateDecay, weightDecay=weightDecay
        )


class Adadelta(OptimMethod):
    """Adadelta, which has no learning rate: see `tapegrad.optim.adadelta`."""

    rule = rules.adadelta
    names: ClassVar[Mapping[str, str]] = {"decayRate": "rho", "Epsilon": "eps"}

    def __init__(self, decayRate: float = 0.9, Epsilon: float = 1e-10) -> None:
        super().__init__(decayRate=decayRate, Epsilon=Epsilon)


class RMSprop(OptimMethod):
    """RMSprop, decayRate being its α: see `tapegrad.optim.rmsprop`."""

    rule = rules.rmsprop
    names: ClassVar[Mapping[str, str]] = {"decayRate": "alpha", "Epsilon": "epsilon"}

    def __init__(
        self,
        learningRate: float = 1e-2,
        learningRateDecay: float = 0.0,
        decayRate: float = 0.99,
        Epsilon: float = 1e-8,
    ) -> None:
        super().__init__(
            learningRate=learningRate, learningRateDecay=learningRateDecay, decayRate=decayRate,
            Epsilon=Epsilon,
        )  # fmt: skip


class Ftrl(OptimMethod):
    """FTRL-proximal: see `tapegrad.optim.ftrl`."""

    rule = rules.ftrl

    def __init__(
        self,
        learningRate: float = 1e-3,
        learningRatePower: float = -0.5,
        initialAccumulatorValue: float = 0.1,
        l1RegularizationStrength: float = 0.0,
        l2RegularizationStrength: float = 0.0,
        l2ShrinkageRegularizationStrength: float = 0.0,
    ) -> None:
        super().__init__(
            learningRate=learningRate, learningRatePower=learningRatePower,
            initialAccumulatorValue=initialAccumulatorValue,
            l1RegularizationStrength=l1RegularizationStrength,
            l2RegularizationStrength=l2RegularizationStrength,
            l2ShrinkageRegularizationStrength=l2ShrinkageRegularizationStrength,
        )  # fmt: skip


class LarsSGD(OptimMethod):
    """LARS, with the norms of each parameter: see `tapegrad.optim.lars`.

    lrScheduleOwner is taken and unused: in BigDL it says which of several methods prints the rate.
    Raises ValueError unless trust lies in (0, 1].
    """

    rule = rules.lars
    unused = ("lrScheduleOwner",)

    def __init__(
        self,
        lrScheduleOwner: bool = True,
        trust: float = 1.0,
        learningRate: float = 1e-3,
        learningRateDecay: float = 0.01,
        weightDecay: float = 0.0005,
        momentum: float = 0.5,
        learningRateSchedule: Schedule | None = None,
    ) -> None:
        if not 0 < trust <= 1:
            raise ValueError(f"LarsSGD: trust must lie in (0, 1], not {trust}")
        super().__init__(
            lrScheduleOwner=lrScheduleOwner, trust=trust, learningRate=learningRate,
            learningRateDecay=learningRateDecay, weightDecay=weightDecay, momentum=momentum,
            learningRateSchedule=learningRateSchedule or Default(),
        )  # fmt: skip

    @classmethod
    def createOptimForModule(cls, model: Any, **options: Any) -> dict[str, LarsSGD]:
        """Return a method for each module that has parameters of its own, by the module's name."""
        found = {}
        for name, module in model.named_modules():
            own = {id(p) for _, p in module.named_parameters()}
            below = {id(p) for child in module.children() for _, p in child.named_parameters()}
            if own - below:
                found[name] = cls(**options)
        return found


class LBFGS(OptimMethod):
    """Limited-memory BFGS: see `tapegrad.optim.lbfgs`.  It minimizes functions, and trains nothing.

    maxEval: 1.25 · maxIter when None
    """

    names: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        maxIter: int = 20,
        maxEval: float | None = None,
        tolFun: float = 1e-5,
        tolX: float = 1e-9,
        nCorrection: int = 100,
        learningRate: float = 1.0,
        verbose: bool = False,
        lineSearch: Callable[..., Any] | None = None,
        lineSearchOptions: Mapping[str, Any] | None = None,
    ) -> None:
        self.state = {"epoch": 1, "neval": 1}
        self.learningRateSchedule = None
        self.config = {
            "maxIter": maxIter, "maxEval": maxEval, "tolFun": tolFun, "tolX": tolX,
            "nCorrection": nCorrection, "learningRate": learningRate, "verbose": verbose,
            "lineSearch": lineSearch, "lineSearchOptions": lineSearchOptions,
        }  # fmt: skip
        self._options = tuple(self.config)
        for name, value in self.config.items():
            setattr(self, name, value)

    def optimize(
        self, feval: Callable[[Any], tuple[Any, Any]], x: Tensor | Array
    ) -> tuple[Tensor | Array, list[Any]]:
        """Make up to maxIter steps: x is overwritten.  Returns (x, [f, …])."""
        config = {name: getattr(self, name) for name in self._options}
        x, losses, _ = lbfgs(feval, x, config, self.state)
        self.state["neval"] += 1
        return x, losses

    def make_optimizer(self, module: HasParameters) -> Optimizer:
        """Raise TypeError: a training loop has one gradient for a step, and no function."""
        raise TypeError(NEEDS_A_FUNCTION)
