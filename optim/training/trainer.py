"""Trainer: the loop around a step, for people who do not want to write one.

Everything that decides what comes next is in `state_dict()`: parameters, running statistics, the
optimizer's and the plateau's state, random generators, and the position in the data.  A run that is
stopped anywhere and resumed, in another process, goes on with equal bits.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, no_grad
from tapegrad.autograd.core.tensor import array_of
from tapegrad.optim.core.interrupt import defer_interrupt
from tapegrad.optim.training.checkpoint import Checkpoints, ResumeError
from tapegrad.optim.training.data import Batch, Data, HasEpochs, as_batches
from tapegrad.optim.training.metrics import MetricSource, make_metric

if TYPE_CHECKING:
    from tapegrad.optim.core.optimizer import Optimizer
    from tapegrad.optim.schedules import ReduceOnPlateau
    from tapegrad.optim.training.average import ExponentialMovingAverage
    from tapegrad.optim.training.callbacks import Callback

__all__ = ["Trainer"]

NOT_FINITE = (
    "step {step}: the loss is {loss}; no parameter was updated and no checkpoint written. The last "
    "good one is {last}. A smaller rate or clip_grad_norm= may help."
)


class Model(Protocol):
    """A module, as far as the trainer knows one."""

    @property
    def train(self) -> bool: ...

    def __call__(self, *inputs: Any) -> Any: ...  # a module's own

    def training(self) -> Any: ...

    def evaluate(self) -> Any: ...

    def listModules(self) -> list[Any]: ...

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]: ...

    def state_dict(self) -> dict[str, np.ndarray]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> Any: ...


class Trainer:
    """Train a module: ``Trainer(model, criterion, optimizer).fit(data, epochs=10)``.

    model:       a Module;  criterion: (output, target) -> 0-d Tensor
    optimizer:   of this package's object form
    metrics:     names (top1, top5, mae, f1, perplexity) or classes, for validation
    callbacks:   see `Callback`
    average:     an `ExponentialMovingAverage` to update after each step
    plateau:     a `ReduceOnPlateau` to report the validation loss to (the loss without validation)
    folder:      where checkpoints go; keep: how many of the last stay, beside the best
    save_every:  steps between checkpoints, beside the one after each epoch
    progress:    a line with loss, rate and samples per second
    Raises ValueError for an unknown metric, and for save_every without a folder.
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
        progress: bool = True,
    ) -> None:
        if save_every is not None and folder is None:
            raise ValueError("Trainer: save_every needs a folder for the checkpoints")
        self.model, self.criterion, self.optimizer = model, criterion, optimizer
        self.metrics: list[MetricSource] = [metrics] if isinstance(metrics, str) else list(metrics)
        for source in self.metrics:
            make_metric(source)  # a name that does not exist is an error now, not after an epoch
        self.callbacks, self.average, self.plateau = list(callbacks), average, plateau
        self.checkpoints = None if folder is None else Checkpoints(folder, keep)
        self.save_every, self.progress = save_every, progress
        self.step_count = self.epoch = self.position = 0
        self.best = math.inf
        self.epoch_loss, self.epoch_samples = 0.0, 0
        self.history: list[dict[str, float]] = []
        self._stopped = False

    def stop(self) -> None:
        """End the run after the current step."""
        self._stopped = True

    def fit(
        self,
        data: Data,
        *,
        epochs: int,
        validation: Data | None = None,
        batch_size: int = 32,
        seed: int = 0,
        steps: int | None = None,
        resume: bool = False,
    ) -> list[dict[str, float]]:
        """Train until `epochs` epochs, or `steps` steps in all, are made; return their figures.

        data:   a tuple of arrays (x, target), `Batches`, an iterable of (x, target), or a function
                that makes one for each epoch
        batch_size, seed: of arrays, which are shuffled anew in each epoch
        resume: go on from the newest complete checkpoint of the folder, if there is one
        Raises FloatingPointError, changing no parameter and no checkpoint, when a loss is not
        finite.
        """
        batches = as_batches(data, batch_size, seed)
        if resume:
            if self.checkpoints is None:
                raise ValueError("Trainer.fit: resume needs a folder")
            saved = self.checkpoints.load_latest()
            if saved is not None:
                self.load_state_dict(saved)
        self._stopped = False
        for callback in self.callbacks:
            callback.on_train_start(self)
        try:
            while self.epoch < epochs and not self._is_finished(steps):
                self._run_epoch(batches, validation, batch_size, steps)
        finally:
            for callback in self.callbacks:
                callback.on_train_end(self)
        return self.history

    def _is_finished(self, steps: int | None) -> bool:
        return self._stopped or (steps is not None and self.step_count >= steps)

    def _run_epoch(
        self, batches: HasEpochs, validation: Data | None, batch_size: int, steps: int | None
    ) -> None:
        self.model.training()
        start, samples = time.perf_counter(), 0
        for batch in batches.epoch(self.epoch, self.position):
            if self._is_finished(steps):
                return
            loss = self._update(batch)
            samples += len(batch[0])
            if self.progress:
                self._show(loss, samples / max(time.perf_counter() - start, 1e-9))
            for callback in self.callbacks:
                callback.on_step_end(self, loss)
            if self.save_every and self.step_count % self.save_every == 0:
                self.save_checkpoint()
        results = {"loss": self.epoch_loss / max(self.epoch_samples, 1)}
        if validation is not None:
            results.update(self.evaluate(validation, batch_size=batch_size))
        self.history.append(results)
        monitored = results.get("val_loss", results["loss"])
        if self.plateau is not None:
            self.plateau.report(monitored)
        self.epoch, self.position = self.epoch + 1, 0
        self.epoch_loss, self.epoch_samples = 0.0, 0
        if self.progress:
            figures = "  ".join(f"{name} {value:.5g}" for name, value in results.items())
            sys.stderr.write(f"\repoch {self.epoch}: {figures}\033[K\n")
        for callback in self.callbacks:
            callback.on_epoch_end(self, results)
        if self.checkpoints is not None:
            best = monitored < self.best
            self.best = min(self.best, monitored)
            self.save_checkpoint(best=best)

    def _update(self, batch: Batch) -> float:
        """Make one step, and return the loss that it was computed for."""
        *inputs, target = batch
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(*[_as_tensor(x) for x in inputs]), target)
        value = float(loss)
        if not math.isfinite(value):
            paths = [] if self.checkpoints is None else self.checkpoints.paths()
            raise FloatingPointError(
                NOT_FINITE.format(
                    step=self.step_count, loss=value, last=paths[-1] if paths else "none"
                )
            )
        loss.backward()
        with defer_interrupt():
            # All of these, or none: Ctrl-C waits.
            if self.optimizer.step() and self.average is not None:
                self.average.update()
            self.step_count += 1
            self.position += 1
            self.epoch_loss += value * len(target)
            self.epoch_samples += len(target)
        return value

    def evaluate(self, data: Data, *, batch_size: int = 32) -> dict[str, float]:
        """Compute val_loss and the metrics over `data`, in evaluation mode.

        With the averages in place of the parameters, if the trainer has an `average`.
        """
        metrics = [make_metric(source) for source in self.metrics]
        total, count = 0.0, 0
        mode = bool(self.model.train)
        self.model.evaluate()
        try:
            with no_grad(), self._apply_average():
                for *inputs, target in as_batches(data, batch_size, 0, shuffle=False).epoch(0):
                    output = self.model(*[_as_tensor(x) for x in inputs])
                    total += float(self.criterion(output, target)) * len(target)
                    count += len(target)
                    for metric in metrics:
                        metric.add(output, target)
        finally:
            if mode:
                self.model.training()
        results = {"val_loss": total / max(count, 1)}
        results.update({f"val_{metric.name}": metric.value() for metric in metrics})
        return results

    def _apply_average(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.average is None else self.average.apply()

    def _show(self, loss: float, speed: float) -> None:
        sys.stderr.write(
            f"\repoch {self.epoch + 1} step {self.step_count}  loss {loss:.5g}  "
            f"rate {self.optimizer.lr:.3g}  {speed:.0f} samples/s\033[K"
        )

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
        return self.checkpoints.save(self.step_count, content, best=best)

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
            "epoch_loss": self.epoch_loss,
            "epoch_samples": self.epoch_samples,
            "best": self.best,
            "history": self.history,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        for name, p in self.model.named_parameters():
            gradient = saved["gradients"].get(name)
            if gradient is not None:
                p.grad = devices.to_device(gradient, p.device)
        if self.average is not None and saved["average"] is not None:
            self.average.load_state_dict(saved["average"])
        if self.plateau is not None and saved["plateau"] is not None:
            self.plateau.load_state_dict(saved["plateau"])
        streams = [devices.generator(d) for d in self._devices()] + list(self._generators())
        for stream, state in zip(streams, saved["generators"], strict=True):
            stream.set_state(state)
        for callback, state in zip(self.callbacks, saved["callbacks"], strict=True):
            callback.load_state_dict(state)
        self.step_count, self.epoch = saved["step"], saved["epoch"]
        self.position, self.best = saved["position"], saved["best"]
        self.epoch_loss, self.epoch_samples = saved["epoch_loss"], saved["epoch_samples"]
        self.history = list(saved["history"])

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


def _as_tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)
