"""Trainer: the loop around a step, for people who do not want to write one.

Everything that decides what comes next is in `state_dict()`: parameters, running statistics, the
optimizer's and the plateau's state, random generators, and the position in the data.  A run that is
stopped anywhere and resumed, in another process, goes on with equal bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.former import renamed_argument
from tapegrad.autograd.core.tensor import array_of, untracked
from tapegrad.autograd.kernels.kept_memory import keeping_memory
from tapegrad.devices import collectives
from tapegrad.devices.collectives import SingleProcess
from tapegrad.optim.core.interrupt import defer_interrupt
from tapegrad.optim.core.samples import samples_in
from tapegrad.optim.training.checkpoint import ResumeError
from tapegrad.optim.training.data import (
    Batch,
    Batches,
    Data,
    HasEpochs,
    as_batches,
    length_of,
    not_finite_in,
)
from tapegrad.optim.training.evaluation import NO_BATCHES, Model
from tapegrad.optim.training.gradients import as_parallel
from tapegrad.optim.training.inspection import Inspection
from tapegrad.optim.training.losses import MeanLoss
from tapegrad.optim.training.metrics import MetricSource, make_metrics
from tapegrad.optim.training.progress import Progress, start_progress
from tapegrad.optim.training.ranks import agree_to_go_on

if TYPE_CHECKING:
    from tapegrad.optim.core.optimizer import Optimizer
    from tapegrad.optim.parallel.data_parallel import DataParallel
    from tapegrad.optim.schedules import ReduceOnPlateau
    from tapegrad.optim.training.average import ExponentialMovingAverage
    from tapegrad.optim.training.callbacks import Callback

__all__ = ["Trainer"]

NOT_FINITE = (
    "step {step}: the loss is {loss}; no parameter was updated and no checkpoint written.{last} "
    "{advice}"
)
SMALLER_RATE = "A smaller rate, or clip_grad_norm= of the optimizer, may help."
BAD_DATA = "The data hold NaN or infinite numbers: {found}. Leave these samples out, or mend them."
A_CLASS = "Trainer: the {what} is the class {name}: give an instance, {name}(…)"
NO_CALL = "Trainer: the criterion is {kind}, which cannot be called with (output, target)"
NO_OPTIMIZER = (
    "Trainer: the optimizer is {found!r:.40}: give one of tapegrad.optim, such as optim.Adam(model)"
)
ONE_ARGUMENT = "Trainer.fit takes the data as one argument: fit((x, target), epochs=…)"
NO_END = "Trainer.fit: say how long: epochs=, steps=, or both"
OTHER_ORDER = (
    "Trainer.fit: the run was saved after {position} batches of an epoch with {saved}, and the "
    "data has {found}: those would be other samples. Give the same data, or call "
    "trainer.restart_epoch() first"
)

OTHER_COUNT = (
    "Trainer: the run was saved with {saved} {what}, and this one has {found}: give it the same, "
    "in the same order"
)


class Trainer(Inspection):
    """Train a module: ``Trainer(model, criterion, optimizer).fit(data, epochs=10)``.

    model:       a Module;  criterion: (output, target) -> 0-d Tensor, or (N, …), a loss a sample
    optimizer:   of this package's object form
    metrics:     names (top1, top5, binary_accuracy, precision, recall, f1, auc, perplexity, mae) or
                 classes, for validation; labels that the criterion ignores are not counted
    callbacks:   see `Callback`
    average:     an `ExponentialMovingAverage` to update after each step
    plateau:     a `ReduceOnPlateau` to report the validation loss to (the loss without validation)
    folder:      where checkpoints go; keep: how many of the last stay, beside the best
    save_every:  steps between checkpoints, beside the one after each epoch and the last
    sample_weights: batches are (x, target, weights), also those of the validation; losses are
                 means with these weights, of a criterion that returns one loss for each sample
    progress:    a bar with loss, rate and the time left.  None: where somebody looks on, in a
                 terminal or a notebook (`tapegrad.set_progress` switches it off); True: also in
                 files and pipes, a line for each epoch; False: never
    compile:     record the gradients of a batch once for each shape, and run them compiled, as
                 `tapegrad.compile` does; with what compiling allows, the same figures.  (A last
                 batch of another size is another shape; `Batches(…, drop_last=True)` has none.)
    parallel:    how ranks share the work, where mpiexec has started several: a `DataParallel` with
                 settings of its own; True makes one if there are several; False: each for itself
    A loss is reported as the mean over samples, however they were cut into batches, also where the
    criterion sums; the weights of classes and of samples count.
    A step is a batch.  Parts of the model that are in evaluation mode stay so, such as a
    BatchNormalization whose statistics are not to move, unless all of the model is.
    `history` has the figures of each epoch, `step_losses` the loss of each step, `plot_history`
    draws both; `lr_find` tries rates.
    Raises ValueError for an unknown metric, for two of one name, and for save_every without a
    folder; TypeError for a class in place of an instance.

    >>> from tapegrad import nn, optim
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> adam = optim.Adam(model, lr=0.02)
    >>> trainer = optim.Trainer(model, nn.MSECriterion(), adam, progress=False)
    >>> history = trainer.fit((x, x**2), epochs=30)
    >>> len(history), history[-1]["loss"] < history[0]["loss"]
    (30, True)
    """

    def __init__(
        self,
        model: Model,
        criterion: Callable[[Any, Any], Any],
        optimizer: Optimizer,
        *,
        metrics: str | Sequence[MetricSource] = (),
        callbacks: Sequence[Callback] = (),
        average: ExponentialMovingAverage | None = None,
        plateau: ReduceOnPlateau | None = None,
        folder: str | Path | None = None,
        keep: int = 3,
        save_every: int | None = None,
        sample_weights: bool = False,
        progress: bool | None = None,
        compile: bool = False,
        parallel: DataParallel | bool = True,
    ) -> None:
        if save_every is not None and folder is None:
            raise ValueError("Trainer: save_every needs a folder for the checkpoints")
        for what, value in (("model", model), ("criterion", criterion), ("optimizer", optimizer)):
            if isinstance(value, type):
                raise TypeError(A_CLASS.format(what=what, name=value.__name__))
        if not callable(criterion):
            raise TypeError(NO_CALL.format(kind=type(criterion).__name__))
        if not hasattr(optimizer, "zero_grad"):
            raise TypeError(NO_OPTIMIZER.format(found=optimizer))
        self.model, self.criterion, self.optimizer = model, criterion, optimizer
        single = isinstance(metrics, str) or callable(metrics)
        self.metrics: list[MetricSource] = [metrics] if single else list(metrics)  # type: ignore[list-item]  # one, or several
        make_metrics(self.metrics)  # a name that does not exist is an error now, not after an epoch
        self.callbacks, self.average, self.plateau = list(callbacks), average, plateau
        self.parallel = as_parallel(model, parallel, compiled=compile)
        self.group = SingleProcess() if self.parallel is None else self.parallel.group
        self.checkpoints = None if folder is None else self._checkpoints_in(folder, keep)
        self.save_every, self.progress = save_every, progress
        self.sample_weights, self.compile = sample_weights, compile
        self.step_count = self.epoch = self.position = 0
        self.best = math.inf
        self.epoch_loss = MeanLoss()
        self.history: list[dict[str, float]] = []
        self.step_losses: list[float] = []
        self._stopped = False
        self._saved_at = -1
        # What decides the order of samples in an epoch that was left in the middle.
        self._order: dict[str, Any] | None = None
        self._data: tuple[Any, ...] = ()
        self._kept_modes: list[Any] = []
        self._buffers: list[Any] = []

    def stop(self) -> None:
        """End the run after the current step."""
        self._stopped = True

    @renamed_argument("batch", "batch_size")
    def fit(
        self,
        data: Data,
        *more: Any,
        epochs: int | None = None,
        validation: Data | None = None,
        batch_size: int = 32,
        seed: int = 0,
        steps: int | None = None,
        resume: bool | None = None,
    ) -> list[dict[str, float]]:
        """Train for `epochs` epochs, or `steps` steps if they end before; return all figures.

        A further call goes on from there, for so many epochs or steps more.

        data:   a tuple or list of arrays (x, target), `Batches`, an iterable of (x, target), or a
                function that makes one for each epoch
        batch_size, seed: of arrays, which are shuffled anew in each epoch
        resume: go on from the folder's newest complete checkpoint, if any; `epochs` and `steps`
                then count from the beginning.  None does so where `tapegrad run --restarts` has
                started the program again
        An epoch that ends in the middle has its figures so far, last in what is returned; a call
        with the same data goes on there, another begins the epoch again.  Gradients that are being
        accumulated at the end of an epoch make an update.  Raises FloatingPointError, changing no
        state, when a loss is not finite; ValueError for data without samples, TypeError for others.
        """
        if more:
            raise TypeError(ONE_ARGUMENT)
        if epochs is None and steps is None:
            raise ValueError(NO_END)
        entries = 3 if self.sample_weights else 2
        batches = as_batches(data, batch_size, seed, place="Trainer.fit", entries=entries)
        validated = None if validation is None else self._for_evaluation(validation, batch_size)
        if resume is None:
            resume = self.checkpoints is not None and collectives.restarts() > 0
        if resume:
            if self.checkpoints is None:
                raise ValueError("Trainer.fit: resume needs a folder")
            saved = self.checkpoints.load_latest()
            if saved is not None:
                self.load_state_dict(saved)
                self._saved_at = self.step_count
        self._begin(data, batches)
        last_epoch = _end(epochs, 0 if resume else self.epoch)
        last_step = _end(steps, 0 if resume else self.step_count)
        self._stopped = False
        self._set_modes()
        self._buffers = [buffer for _, buffer in self.model.named_buffers()]
        for callback in self._called():
            callback.on_train_start(self)
        shown = None
        if self.group.rank == 0:
            length = length_of(batches)
            left = _batches_left(self, length, last_epoch, last_step)
            shown = start_progress(self.progress, epochs and int(last_epoch), length, left)
        try:
            while self.epoch < last_epoch and self._goes_on(last_step):
                self._run_epoch(batches, validated, last_epoch, last_step, shown)
            return [*self.history, *self._close_part(validated, shown)]
        finally:
            if shown:
                shown.close()
            for callback in self._called():
                callback.on_train_end(self)

    def restart_epoch(self) -> None:
        """Begin the epoch again at the next `fit`, if it was left in the middle.

        What has been learned in it stays, and gradients that were being accumulated make an update.
        """
        self._finish_accumulating()
        self.position, self.epoch_loss = 0, MeanLoss()

    def _begin(self, data: Data, batches: HasEpochs) -> None:
        """Go on in the middle of an epoch if the samples are the same; else begin it again."""
        order = batches.describe_order() if isinstance(batches, Batches) else None
        objects = data if isinstance(data, (tuple, list)) else (data,)
        if self.position and self._data:
            is_same = len(objects) == len(self._data) and all(map(_is, objects, self._data))
            if not is_same or order != self._order:
                self.restart_epoch()
        elif self.position and order is not None and self._order not in (None, order):
            raise ValueError(
                OTHER_ORDER.format(position=self.position, saved=self._order, found=order)
            )
        self._order, self._data = order, tuple(objects)

    def _set_modes(self) -> None:
        """Put the model into training mode, but for parts that somebody put into evaluation mode.

        In a model that is in evaluation mode as a whole, as for predictions between two runs, these
        are the parts that were so in the last run.
        """
        parts = self.model.listModules()
        if any(part.train for part in parts):
            self._kept_modes = [part for part in parts if not part.train]
            return
        kept = {id(part) for part in self._kept_modes}
        for part in parts:
            part.train = id(part) not in kept

    def _goes_on(self, last_step: float, *, has_batch: bool = True) -> bool:
        """Whether another step follows; a rank that stops, stops all."""
        ends = self._stopped or self.step_count >= last_step
        goes_on = agree_to_go_on(self.group, stop=ends, has_batch=has_batch)
        self._stopped = self._stopped or (has_batch and not goes_on and not ends)
        return goes_on

    def _called(self) -> list[Callback]:
        """The callbacks that this rank calls."""
        first = self.group.rank == 0
        return [c for c in self.callbacks if first or getattr(c, "every_rank", True)]

    @keeping_memory
    def _run_epoch(
        self,
        batches: HasEpochs,
        validation: HasEpochs | None,
        last_epoch: float,
        last_step: float,
        shown: Progress | None,
    ) -> None:
        if shown:
            shown.start_epoch()
        for batch in batches.epoch(self.epoch, self.position):
            if not self._goes_on(last_step):
                return
            loss = self._update(batch)
            if shown:
                left = _batches_left(self, shown.batches, last_epoch, last_step)
                samples = samples_in(batch[1])
                shown.show_step(
                    self.epoch + 1, self.position, samples, left, loss=loss, rate=self.optimizer.lr
                )
            for callback in self._called():
                callback.on_step_end(self, loss)
            if self.save_every and self.step_count % self.save_every == 0:
                self.save_checkpoint()
        self._goes_on(last_step, has_batch=False)
        if not self.position:
            raise ValueError(NO_BATCHES.format(place="Trainer.fit"))
        self._finish_accumulating()
        results = self._figures(validation, shown)
        self.history.append(results)
        monitored = results.get("val_loss", results["loss"])
        if self.plateau is not None:
            self.plateau.report(monitored)
        self.epoch, self.position = self.epoch + 1, 0
        self.epoch_loss = MeanLoss()
        if shown:
            shown.show_epoch(self.epoch, None, results)
        for callback in self._called():
            callback.on_epoch_end(self, results)
        is_best = monitored < self.best
        self.best = min(self.best, monitored)
        if self.checkpoints is not None:
            self.save_checkpoint(best=is_best)

    def _close_part(
        self, validation: HasEpochs | None, shown: Progress | None
    ) -> list[dict[str, float]]:
        """Return the figures of an epoch that ended in the middle, and save what there is."""
        if not self.position:
            return []
        results = self._figures(validation, shown)
        if shown:
            shown.show_epoch(self.epoch + 1, self.position, results)
        if self.checkpoints is not None and self._saved_at != self.step_count:
            self.save_checkpoint()
        return [results]

    def _figures(self, validation: HasEpochs | None, shown: Progress | None) -> dict[str, float]:
        results = {"loss": self.epoch_loss.value()}
        if validation is not None:
            if shown:
                shown.show_validation(self.epoch + 1)
            results.update(self._evaluate(validation))
        return results

    def _update(self, batch: Batch) -> float:
        """Make one step, and return the loss that it was computed for."""
        # Running statistics have moved before the loss is known.
        kept = [(buffer, array_of(buffer).copy()) for buffer in self._buffers]

        def accept(value: float) -> None:
            if math.isfinite(value):
                return
            for buffer, array in kept:
                buffer.assign(untracked(array))
            paths = [] if self.checkpoints is None else self.checkpoints.paths()
            last = f" The last good one is {paths[-1]}." if paths else ""
            found = not_finite_in(batch)
            advice = BAD_DATA.format(found=found) if found else SMALLER_RATE
            raise FloatingPointError(
                NOT_FINITE.format(step=self.step_count, loss=value, last=last, advice=advice)
            )

        value, weights = self._fill_gradients(batch, accept)
        with defer_interrupt():
            # All of these, or none: Ctrl-C waits.
            if self.optimizer.step() and self.average is not None:
                self.average.update()
            self.step_count += 1
            self.position += 1
            self.epoch_loss.add(value, weights)
            self.step_losses.append(value)
        return value

    def _finish_accumulating(self) -> None:
        with defer_interrupt():
            if self.optimizer.flush() and self.average is not None:
                self.average.update()

    # Saving ---------------------------------------------------------------------------------------

    def save_checkpoint(self, *, best: bool = False) -> Path:
        """Write a checkpoint now; with `best` best.ckpt too.  Returns its path.

        Raises ValueError without a folder, ResumeError when a parameter is not finite.
        """
        if self.checkpoints is None:
            raise ValueError("Trainer.save_checkpoint: there is no folder; give folder=")
        content = self.state_dict()
        for name, array in content["model"].items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ResumeError(f"{name} is not finite; no checkpoint was written")
        path = self.checkpoints.save(self.step_count, content, best=best)
        self._saved_at = self.step_count
        return path

    def state_dict(self) -> dict[str, Any]:
        """Return everything that decides what the run does next."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "gradients": {
                name: None if p.grad is None else devices.to_numpy(array_of(p.grad.detach())).copy()
                for name, p in self.model.named_parameters()
            }
            if self.optimizer.accumulated
            else {},
            "average": None if self.average is None else self.average.state_dict(),
            "plateau": None if self.plateau is None else self.plateau.state_dict(),
            "generators": [devices.generator(d).get_state() for d in self._devices()]
            + [g.get_state() for g in self._generators()],
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "step": self.step_count,
            "epoch": self.epoch,
            "position": self.position,
            "epoch_loss": self.epoch_loss.total,
            "epoch_samples": self.epoch_loss.weight,
            "order": self._order,
            "best": self.best,
            "history": [dict(results) for results in self.history],
            "step_losses": np.array(self.step_losses, np.float64),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises ResumeError for a run with other callbacks or random generators, and what the model
        and the optimizer raise where they are others; changes nothing then.
        """
        streams = [devices.generator(d) for d in self._devices()] + list(self._generators())
        found = {"callbacks": len(self.callbacks), "generators": len(streams)}
        for what, count in found.items():
            if len(saved[what]) != count:
                raise ResumeError(
                    OTHER_COUNT.format(what=what, saved=len(saved[what]), found=count)
                )
        before = self.model.state_dict()
        self.model.load_state_dict(saved["model"])
        try:
            self.optimizer.load_state_dict(saved["optimizer"])
        except Exception:
            self.model.load_state_dict(before)
            raise
        for name, p in self.model.named_parameters():
            gradient = saved["gradients"].get(name)
            if gradient is not None:
                p.grad = devices.to_device(gradient, p.device)
        if self.average is not None and saved["average"] is not None:
            self.average.load_state_dict(saved["average"])
        if self.plateau is not None and saved["plateau"] is not None:
            self.plateau.load_state_dict(saved["plateau"])
        for stream, state in zip(streams, saved["generators"], strict=True):
            stream.set_state(state)
        for callback, state in zip(self.callbacks, saved["callbacks"], strict=True):
            callback.load_state_dict(state)
        self.step_count, self.epoch = saved["step"], saved["epoch"]
        self.position, self.best = saved["position"], saved["best"]
        self.epoch_loss = MeanLoss(saved["epoch_loss"], saved["epoch_samples"])
        self.history = [dict(results) for results in saved["history"]]
        self.step_losses = np.asarray(saved.get("step_losses", ())).tolist()
        self._order, self._data = saved.get("order"), ()

    def _devices(self) -> list[str]:
        names = {str(p.device) for _, p in self.model.named_parameters()}
        return sorted(names | {"cpu"})

    def _generators(self) -> Iterator[devices.Generator]:
        """Go through the generators that modules have for themselves, each once."""
        known: set[int] = set()
        for module in self.model.listModules():
            for value in vars(module).values():
                if isinstance(value, devices.Generator) and id(value) not in known:
                    known.add(id(value))
                    yield value


def _is(a: Any, b: Any) -> bool:
    return a is b


def _end(count: int | None, made: int) -> float:
    return math.inf if count is None else made + count


def _batches_left(
    trainer: Trainer, batches: int | None, last_epoch: float, last_step: float
) -> int | None:
    """Return how many batches the run has yet to go through, None where nobody knows."""
    of_steps = last_step - trainer.step_count
    of_epochs = math.inf
    if batches is not None:
        of_epochs = (last_epoch - trainer.epoch) * batches - trainer.position
    left = min(of_steps, of_epochs)
    return None if math.isinf(left) else int(left)
