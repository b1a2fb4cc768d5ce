"""BigDL's Optimizer: a model, data, a criterion and triggers, and `optimize()`.

The loop is the package's Trainer: its checkpoints resume with equal bits, and a loss that is not
finite ends the run before a parameter changes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tapegrad.optim.bigdl.data import Epochs, as_epochs
from tapegrad.optim.bigdl.joint import JointOptimizer
from tapegrad.optim.bigdl.loop import AskTrigger, Loop, Saving, Validation
from tapegrad.optim.bigdl.methods import SGD, OptimMethod
from tapegrad.optim.training.trainer import Trainer
from tapegrad.optim.training.triggers import max_iteration

if TYPE_CHECKING:
    from tapegrad.optim.bigdl.summaries import TrainSummary, ValidationSummary
    from tapegrad.optim.validation.methods import ValidationMethod
    from tapegrad.optim.validation.results import ValidationResult

__all__ = ["LocalOptimizer", "Optimizer"]

INCOMPLETE = "Optimizer: there is no {what}: give it to Optimizer(…), or call {method}"
NO_MODULE = "Optimizer.setOptimMethods: the model has no module {name!r}; there are {known}"
SEVERAL_MODULES = "Optimizer.setOptimMethods: {count} modules are called {name!r}"
WITHOUT_METHOD = (
    "Optimizer.setOptimMethods: no method updates {names}. Give one to each module that learns, or "
    "freeze the others"
)
NO_TRIGGER = "Optimizer.{method}: the trigger is {kind}: Trigger.everyEpoch() makes one"
NO_METHOD = "Optimizer: an optim method is an SGD(…), Adam(…) …, not {kind}"
NO_FOLDER = "Optimizer.optimize: resume needs setCheckpoint(path, trigger)"
WHOLE = ""  # the name of the method that updates the whole model


class _Trainer(Trainer):
    """A Trainer that goes through the data of a model which is all frozen, and changes nothing."""

    def _differentiate(self, loss: Any) -> None:
        if self.optimizer.learning:
            super()._differentiate(loss)


class Optimizer:
    """Train a model: `Optimizer(model, data, criterion).setEndWhen(Trigger.maxEpoch(5)).optimize()`.

    model:       a Module;  criterion: (output, target) -> 0-d Tensor
    trainingSet: arrays (inputs, targets), batches of these, a list of Samples, or a DataSet (see
                 `tapegrad.optim.bigdl.data`); `dataset` is another name for it
    batchSize:   of arrays and samples
    Every method that sets something returns the optimizer, and has a snake_case name too
    (`set_end_when`).  Until others are set, the method is SGD() and the end comes after 100 steps.
    `state` has "epoch" and "neval", from 1, "Loss" and "score", the last loss and the last value of
    the first validation method.
    """  # noqa: E501  # one call

    def __init__(
        self,
        model: Any = None,
        trainingSet: Any = None,
        criterion: Callable[[Any, Any], Any] | None = None,
        batchSize: int = 32,
        *,
        dataset: Any = None,
        optimMethod: OptimMethod | None = None,
        endWhen: AskTrigger | None = None,
        seed: int = 0,
    ) -> None:
        self.model, self.criterion, self.seed = model, criterion, seed
        self.state: dict[str, Any] = {"epoch": 1, "neval": 1}
        self._data: Epochs | None = None
        self._methods: dict[str, OptimMethod] = {WHOLE: optimMethod or SGD()}
        self._end: AskTrigger = endWhen or max_iteration(100)
        self._validation: Validation | None = None
        self._saving: Saving | None = None
        self._overwrite = False
        self._clip_value: tuple[float, float] | None = None
        self._clip_norm: float | None = None
        self._train_summary: TrainSummary | None = None
        self._validation_summary: ValidationSummary | None = None
        self._trainer: Trainer | None = None
        self.results: list[tuple[ValidationResult, ValidationMethod]] = []
        data = dataset if trainingSet is None else trainingSet
        if data is not None:
            self.setTrainData(data, batchSize)

    # What is trained ------------------------------------------------------------------------------

    def setModel(self, model: Any) -> Self:
        """Set the model; the state of the methods begins anew."""
        self.model, self._trainer = model, None
        return self

    def setTrainData(self, data: Any, batchSize: int = 32) -> Self:
        """Set the data.  Raises TypeError for what is no data, ValueError without samples."""
        place = "Optimizer.setTrainData"
        source = as_epochs(data, batchSize, train=True, place=place, seed=self.seed)
        self._data = Epochs(source)
        return self

    def setCriterion(self, criterion: Callable[[Any, Any], Any]) -> Self:
        """Set the criterion."""
        self.criterion, self._trainer = criterion, None
        return self

    def setState(self, state: Mapping[str, Any]) -> Self:
        """Set entries of the run's state, such as "epoch" and "neval"."""
        self.state.update(state)
        return self

    # How ------------------------------------------------------------------------------------------

    def setOptimMethod(self, method: OptimMethod) -> Self:
        """Set the method for the whole model.  Raises TypeError for what is no method."""
        return self.setOptimMethods({WHOLE: method})

    def setOptimMethods(self, methods: Mapping[str, OptimMethod]) -> Self:
        """Set methods for modules by name; together they must update all that learns.

        Raises TypeError for what is no method; `optimize` raises ValueError for a name that no
        module has, and for parameters of no method or of two.
        """
        for method in methods.values():
            if not isinstance(method, OptimMethod):
                raise TypeError(NO_METHOD.format(kind=type(method).__name__))
        self._methods, self._trainer = dict(methods), None
        return self

    def setEndWhen(self, endWhen: AskTrigger) -> Self:
        """Set when the run ends.  Raises TypeError for what is no trigger."""
        self._end = _checked_trigger("setEndWhen", endWhen)
        return self

    def setConstantGradientClipping(self, min: float, max: float) -> Self:  # BigDL's
        """Limit each entry of the gradients to [min, max].  Raises ValueError unless min ≤ max."""
        if not min <= max:
            raise ValueError(f"Optimizer.setConstantGradientClipping: min {min} is above max {max}")
        self._clip_value, self._trainer = (min, max), None
        return self

    def setGradientClippingByl2Norm(self, clipNorm: float) -> Self:
        """Scale all gradients together to a Euclidean norm of at most clipNorm.

        Raises ValueError unless it is positive.
        """
        if not clipNorm > 0:
            text = "Optimizer.setGradientClippingByl2Norm: clipNorm must be positive, not {}"
            raise ValueError(text.format(clipNorm))
        self._clip_norm, self._trainer = clipNorm, None
        return self

    def disableGradientClipping(self) -> Self:
        """Leave gradients as they are."""
        self._clip_value = self._clip_norm = self._trainer = None
        return self

    def setDropModuleProperty(
        self,
        dropPercentage: float,
        maxDropPercentage: float,
        batchsize: int = 100,
        warmupIteration: int = 200,
    ) -> Self:
        """Do nothing: in BigDL it drops the gradients of slow machines, and here is one machine."""
        return self

    # What happens meanwhile -----------------------------------------------------------------------

    def setValidation(
        self,
        trigger: AskTrigger,
        dataset: Any,
        vMethods: Sequence[ValidationMethod],
        batchSize: int = 32,
    ) -> Self:
        """Evaluate the model on `dataset` when the trigger says so, by these methods.

        `results` has what the last validation found, as (result, method).
        Raises TypeError for what is no trigger or no data.
        """
        place = "Optimizer.setValidation"
        batches = as_epochs(dataset, batchSize, train=False, place=place)
        checked = _checked_trigger("setValidation", trigger)
        self._validation = Validation(checked, batches, list(vMethods))
        return self

    def setCheckpoint(self, path: str | Path, trigger: AskTrigger) -> Self:
        """Write step-N.ckpt into the folder `path` when the trigger says so.

        A file has all that decides what comes next: `optimize(resume=True)` goes on from the last
        complete one.  Raises TypeError for what is no trigger.
        """
        self._saving = Saving(_checked_trigger("setCheckpoint", trigger), Path(path))
        return self

    def overWriteCheckpoint(self) -> Self:
        """Keep only the last checkpoint."""
        self._overwrite = True
        return self

    def setTrainSummary(self, trainSummary: TrainSummary) -> Self:
        """Write the figures of steps for TensorBoard."""
        self._train_summary = trainSummary
        return self

    def setValidationSummary(self, validationSummary: ValidationSummary) -> Self:
        """Write the figures of validations for TensorBoard."""
        self._validation_summary = validationSummary
        return self

    # The run --------------------------------------------------------------------------------------

    def optimize(self, *, resume: bool = False) -> Any:
        """Train until the end's trigger says so, and return the model.

        resume: go on from the newest complete checkpoint, if there is one
        Called again, it goes on with the same state, if a later end has been set.
        Raises ValueError for what is missing and for methods that do not fit the model;
        FloatingPointError for a loss that is not finite, changing no parameter.
        """
        data = self._data
        missing = (
            ("model", "setModel", self.model), ("criterion", "setCriterion", self.criterion),
            ("data", "setTrainData", data),
        )  # fmt: skip
        for what, method, value in missing:
            if value is None:
                raise ValueError(INCOMPLETE.format(what=what, method=method))
        assert data is not None
        if resume and self._saving is None:
            raise ValueError(NO_FOLDER)
        trainer = self._make_trainer()
        if self._saving is not None:
            self._saving.overwrite = self._overwrite
        loop = Loop(
            self.state, self._methods, trainer.optimizer, data, self._end,  # type: ignore[arg-type]  # made here
            self._validation, self._saving, self._train_summary, self._validation_summary,
        )  # fmt: skip
        trainer.callbacks = [loop]
        if resume and self._saving is not None:
            saved = self._saving.checkpoints().load_latest()
            if saved is not None:
                trainer.load_state_dict(saved)
        trainer.fit(data, steps=sys.maxsize)
        self.results = loop.results or self.results
        return self.model

    def _make_trainer(self) -> Trainer:
        """Return the trainer of the last run, or a new one where something else is trained."""
        if self._trainer is None:
            optimizers = {
                name: method.make_optimizer(_find_module(self.model, name))
                for name, method in self._methods.items()
            }
            joint = JointOptimizer(optimizers, self._clip_value, self._clip_norm)
            updated = {id(p) for o in optimizers.values() for p in o.named.values()}
            named = getattr(self.model, "named_trainable", self.model.named_parameters)
            left = [name for name, p in named() if id(p) not in updated]
            if left:
                raise ValueError(WITHOUT_METHOD.format(names=", ".join(left)))
            assert self.criterion is not None
            self._trainer = _Trainer(self.model, self.criterion, joint, progress=False)  # type: ignore[arg-type]  # it answers to what a Trainer asks
        return self._trainer

    set_model, set_traindata, set_criterion, set_state = (
        setModel, setTrainData, setCriterion, setState,
    )  # fmt: skip
    set_train_data = setTrainData
    set_optim_method, set_optim_methods = setOptimMethod, setOptimMethods
    set_end_when, set_validation = setEndWhen, setValidation
    set_checkpoint, over_write_checkpoint = setCheckpoint, overWriteCheckpoint
    set_train_summary, set_val_summary = setTrainSummary, setValidationSummary
    set_validation_summary = setValidationSummary
    set_gradclip_const = set_constant_gradient_clipping = setConstantGradientClipping
    set_gradclip_l2norm = set_gradient_clipping_by_l2_norm = setGradientClippingByl2Norm
    disable_gradclip = disable_gradient_clipping = disableGradientClipping
    set_drop_module_property = setDropModuleProperty


# One process is all there is: BigDL's other name is the same.
LocalOptimizer = Optimizer


def _checked_trigger(method: str, trigger: Any) -> AskTrigger:
    if not callable(trigger):
        raise TypeError(NO_TRIGGER.format(method=method, kind=type(trigger).__name__))
    checked: AskTrigger = trigger
    return checked


def _find_module(model: Any, name: str) -> Any:
    """Return the module that is called so, or has this path in the model."""
    if name == WHOLE:
        return model
    known = dict(model.named_modules())
    called = [m for m in known.values() if _name_of(m) == name]
    if len(called) > 1:
        raise ValueError(SEVERAL_MODULES.format(count=len(called), name=name))
    found = called[0] if called else known.get(name)
    if found is None:
        names = [_name_of(m) or path for path, m in known.items() if path]
        raise ValueError(NO_MODULE.format(name=name, known=", ".join(names)))
    return found


def _name_of(module: Any) -> str | None:
    """The name that somebody gave the module, where modules have names."""
    if not callable(getattr(module, "hasName", None)) or not module.hasName():
        return None
    name: str = module.getName()
    return name
