"""What happens between the steps of an `Optimizer`'s run: triggers are asked, and acted upon."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapegrad import devices
from tapegrad.autograd import no_grad
from tapegrad.autograd.core.tensor import array_of
from tapegrad.optim.bigdl.methods import PER_ENTRY
from tapegrad.optim.training.callbacks import Callback
from tapegrad.optim.training.checkpoint import Checkpoints
from tapegrad.optim.training.evaluation import NO_BATCHES, keep_modes, to_tensors
from tapegrad.optim.training.triggers import Trigger

if TYPE_CHECKING:
    from tapegrad.optim.bigdl.data import Epochs
    from tapegrad.optim.bigdl.joint import JointOptimizer
    from tapegrad.optim.bigdl.methods import OptimMethod
    from tapegrad.optim.bigdl.summaries import TrainSummary, ValidationSummary
    from tapegrad.optim.training.data import HasEpochs
    from tapegrad.optim.training.trainer import Trainer
    from tapegrad.optim.validation.methods import ValidationMethod
    from tapegrad.optim.validation.results import ValidationResult

__all__ = ["Loop", "Saving", "Validation", "evaluate_batches"]

AskTrigger = Callable[[Any], bool]


@dataclass
class Validation:
    """When a run is validated, on what, and by which methods."""

    trigger: AskTrigger
    batches: HasEpochs
    methods: Sequence[ValidationMethod]


@dataclass
class Saving:
    """When checkpoints are written, and where; only the last one stays with `overwrite`."""

    trigger: AskTrigger
    path: Path
    overwrite: bool = False

    def checkpoints(self) -> Checkpoints:
        """Return the folder's checkpoints."""
        return Checkpoints(self.path, 1 if self.overwrite else 1_000_000)


def evaluate_batches(
    model: Any, batches: HasEpochs, methods: Sequence[ValidationMethod], place: str = "evaluate"
) -> list[tuple[ValidationResult, ValidationMethod]]:
    """Return each method's result over all batches, with the method; in evaluation mode.

    Raises ValueError for data without samples.
    """
    found: list[Any] = [0] * len(methods)
    count = 0
    with keep_modes(model), no_grad():
        model.evaluate()
        for *inputs, target in batches.epoch(0):
            output = model(*[to_tensors(x) for x in inputs])
            found = [sum_ + m(output, target) for sum_, m in zip(found, methods, strict=True)]
            count += 1
    if not count:
        raise ValueError(NO_BATCHES.format(place=place))
    return list(zip(found, methods, strict=True))


@dataclass
class Loop(Callback):
    """A run's state, and what is done when a trigger says so.

    state: "epoch" and "neval" from 1, "recordsProcessedThisEpoch", and what was measured last
    """

    state: dict[str, Any]
    methods: Mapping[str, OptimMethod]
    optimizer: JointOptimizer
    batches: Epochs
    end: AskTrigger
    validation: Validation | None = None
    saving: Saving | None = None
    train_summary: TrainSummary | None = None
    validation_summary: ValidationSummary | None = None
    results: list[tuple[ValidationResult, ValidationMethod]] = field(default_factory=list)
    _since: float = 0.0

    def on_train_start(self, trainer: Trainer) -> None:
        """Set the first rate, and end a run whose end has been reached already."""
        self.state.setdefault("recordsProcessedThisEpoch", 0)
        for trigger in self._triggers():
            trigger(self.state)  # triggers that wait for a change see where it starts
        self._set_rates()
        self._since = time.perf_counter()
        if self.end(self.state):
            trainer.stop()

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        """Count the step, and do what triggers say."""
        state = self.state
        rate = self.optimizer.lr
        state["neval"] += 1
        state["Loss"] = loss
        state["recordsProcessedThisEpoch"] += self.batches.samples
        if self.batches.is_last:
            state["epoch"] += 1
            state["recordsProcessedThisEpoch"] = 0
        if self.train_summary is not None:
            self._summarize(self.train_summary, trainer, loss, rate)
        if self.validation is not None and self.validation.trigger(state):
            self._validate(trainer, self.validation)
        if self.saving is not None and self.saving.trigger(state):
            self.saving.checkpoints().save(trainer.step_count, trainer.state_dict())
        if self.end(state):
            trainer.stop()
        self._set_rates()

    def on_train_end(self, trainer: Trainer) -> None:
        """Finish the event files."""
        for summary in (self.train_summary, self.validation_summary):
            if summary is not None:
                summary.writer.flush()

    def _triggers(self) -> list[AskTrigger]:
        own = [part.trigger for part in (self.validation, self.saving) if part is not None]
        of_summary = {} if self.train_summary is None else self.train_summary.triggers
        return [*own, *of_summary.values()]

    def _set_rates(self) -> None:
        """Give the optimizers what the methods' schedules say of the next step."""
        for name, method in self.methods.items():
            method.state.update(self.state)
            if method.learningRateSchedule is None:
                continue
            rate = method.rate(self.state)
            fixed = {"learningRate", *PER_ENTRY}
            options = {k: v for k, v in method.rule_options().items() if k not in fixed}
            for group in self.optimizer.optimizers[name].groups:
                changed = {k: v for k, v in options.items() if _differs(group.options.get(k), v)}
                group.options.update({**changed, "lr": rate})

    def _validate(self, trainer: Trainer, validation: Validation) -> None:
        self.results = evaluate_batches(
            trainer.model, validation.batches, validation.methods, "setValidation"
        )
        if self.results:
            self.state["score"] = self.results[0][0].result()[0]
        if self.validation_summary is not None:
            for result, method in self.results:
                self.validation_summary.addScalar(
                    method.name, result.result()[0], self.state["neval"] - 1
                )

    def _summarize(self, summary: TrainSummary, trainer: Trainer, loss: float, rate: float) -> None:
        step, now = self.state["neval"] - 1, time.perf_counter()
        speed = self.batches.samples / max(now - self._since, 1e-9)
        self._since = now
        for tag, value in (("Loss", loss), ("LearningRate", rate), ("Throughput", speed)):
            if summary.is_time(tag, self.state):
                summary.addScalar(tag, value, step)
        if summary.is_time("Parameters", self.state):
            for name, p in trainer.model.named_parameters():
                summary.addHistogram(name, devices.to_numpy(array_of(p.detach())), step)

    # Saving ---------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the run's state, and that of schedules and triggers."""
        return {
            "state": dict(self.state),
            "schedules": {
                name: {} if m.learningRateSchedule is None else m.learningRateSchedule.state_dict()
                for name, m in self.methods.items()
            },
            "triggers": [t.state_dict() for t in self._own_triggers()],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.state.clear()
        self.state.update(saved["state"])
        for name, method in self.methods.items():
            if method.learningRateSchedule is not None:
                method.learningRateSchedule.load_state_dict(saved["schedules"][name])
        for trigger, own in zip(self._own_triggers(), saved["triggers"], strict=True):
            trigger.load_state_dict(own)

    def _own_triggers(self) -> list[Trigger]:
        return [t for t in (*self._triggers(), self.end) if isinstance(t, Trigger)]


def _differs(old: Any, new: Any) -> bool:
    return old is not new and not (isinstance(new, (int, float, str, bool)) and old == new)
