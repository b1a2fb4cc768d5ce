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
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad
from tapegrad.autograd.core.tensor import array_of
from tapegrad.optim.core.interrupt import uninterrupted
from tapegrad.optim.training.checkpoint import Checkpoints, ResumeError
from tapegrad.optim.training.data import as_batches
from tapegrad.optim.training.metrics import metric

__all__ = ["Callback", "EarlyStopping", "TensorBoard", "Trainer"]

NAN = (
    "step {step}: the loss is {loss}; no parameter was updated and no checkpoint written. The last "
    "good one is {last}. A smaller rate or clip_norm= may help."
)


class Callback:
    """What is told about a run; every method may be left out."""

    def on_start(self, trainer: Trainer) -> None:
        """Before the first step."""

    def on_step(self, trainer: Trainer, loss: float) -> None:
        """After each update."""

    def on_epoch(self, trainer: Trainer, results: dict[str, float]) -> None:
        """After each epoch and its validation."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last step, also when an error ends the run."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""


class EarlyStopping(Callback):
    """End the run when `watch` has not improved by more than `threshold` for `patience` epochs."""

    def __init__(
        self, watch: str = "val_loss", patience: int = 5, threshold: float = 0.0, mode: str = "min"
    ) -> None:
        if mode not in {"min", "max"}:
            raise ValueError(f"EarlyStopping: mode must be 'min' or 'max', not {mode!r}")
        self.watch, self.patience, self.threshold, self.mode = watch, patience, threshold, mode
        self.best, self.bad = math.inf, 0

    def on_epoch(self, trainer: Trainer, results: dict[str, float]) -> None:
        """Compare with the best value so far."""
        if self.watch not in results:
            raise KeyError(f"EarlyStopping watches {self.watch!r}; there are {sorted(results)}")
        value = results[self.watch] * (1 if self.mode == "min" else -1)
        if value < self.best - self.threshold:
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.bad >= self.patience:
            trainer.stop()

    def state_dict(self) -> dict[str, Any]:
        """The best value and how long ago it was."""
        return {"best": self.best, "bad": self.bad}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.best, self.bad = saved["best"], saved["bad"]


class TensorBoard(Callback):
    """Scalars as TensorBoard event files, through the package tensorboardX.

    Losses and rates each `every` steps, results of epochs.  tensorboardX writes the format alone,
    without TensorFlow or a server: `pip install tapegrad[tensorboard]`.
    """

    def __init__(self, folder: str | Path, every: int = 1) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "event files need tensorboardX: pip install tapegrad[tensorboard]"
            ) from error
        self.every = every
        self.writer = SummaryWriter(str(folder))

    def on_step(self, trainer: Trainer, loss: float) -> None:
        """Write the loss and the rate."""
        if trainer.step_count % self.every == 0:
            self.writer.add_scalar("loss", loss, trainer.step_count)
            self.writer.add_scalar("rate", trainer.optimizer.lr, trainer.step_count)

    def on_epoch(self, trainer: Trainer, results: dict[str, float]) -> None:
        """Write the epoch's figures."""
        for name, value in results.items():
            self.writer.add_scalar(name, value, trainer.step_count)

    def on_end(self, trainer: Trainer) -> None:
        """Finish the file; `flush` would not wait for what the writer's thread has yet to write.

        A further run of the trainer goes on in a file of its own.
        """
        self.writer.close()


class Trainer:
    """Train a module: ``Trainer(model, criterion, optimizer).fit(data, epochs=10)``.

    model:       a Module;  criterion: (output, target) -> 0-d Tensor
    optimizer:   of this package's object form
    metrics:     names (top1, top5, mae, f1, perplexity) or classes, for validation
    callbacks:   see `Callback`;  average: an `Average` to update after each step
    plateau:     a `Plateau` that is told the validation loss (the loss without validation)
    folder:      where checkpoints go; keep: how many of the last stay, beside the best
    save_every:  steps between checkpoints, beside the one after each epoch
    progress:    a line with loss, rate and samples per second
    """

    def __init__(
        self,
        model: Any,
        criterion: Callable[[Any, Any], Any],
        optimizer: Any,
        *,
        metrics: Sequence[Any] = (),
        callbacks: Sequence[Callback] = (),
        average: Any = None,
        plateau: Any = None,
        folder: str | Path | None = None,
        keep: int = 3,
        save_every: int | None = None,
        progress: bool = True,
    ) -> None:
        if save_every is not None and folder is None:
            raise ValueError("Trainer: save_every needs a folder for the checkpoints")
        self.model, self.criterion, self.optimizer = model, criterion, optimizer
        self.metrics = [metric] if isinstance(metrics, str) else list(metrics)
        for given in self.metrics:
            metric(given)  # a name that does not exist is an error now, not after an epoch
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
        data: Any,
        *,
        epochs: int,
        validation: Any = None,
        batch: int = 32,
        seed: int = 0,
        steps: int | None = None,
        resume: bool = False,
    ) -> list[dict[str, float]]:
        """Train until `epochs` epochs, or `steps` steps in all, are made; the figures of epochs.

        data:   a tuple of arrays (x, target), `Batches`, an iterable of (x, target), or a function
                that makes one for each epoch
        resume: go on from the newest whole checkpoint of the folder, if there is one
        Raises FloatingPointError, changing no parameter and no checkpoint, when a loss is not
        finite.
        """
        batches = as_batches(data, batch, seed)
        if resume:
            if self.checkpoints is None:
                raise ValueError("Trainer.fit: resume needs a folder")
            saved = self.checkpoints.latest()
            if saved is not None:
                self.load_state_dict(saved)
        self._stopped = False
        for callback in self.callbacks:
            callback.on_start(self)
        try:
            while self.epoch < epochs and not self._finished(steps):
                self._epoch(batches, validation, batch, steps)
        finally:
            for callback in self.callbacks:
                callback.on_end(self)
        return self.history

    def _finished(self, steps: int | None) -> bool:
        return self._stopped or (steps is not None and self.step_count >= steps)

    def _epoch(self, batches: Any, validation: Any, size: int, steps: int | None) -> None:
        self.model.training()
        began, seen, ended = time.perf_counter(), 0, True
        for batch in batches.epoch(self.epoch, self.position):
            if self._finished(steps):
                ended = False
                break
            loss = self._update(batch)
            seen += len(batch[0])
            if self.progress:
                self._show(loss, seen / max(time.perf_counter() - began, 1e-9))
            for callback in self.callbacks:
                callback.on_step(self, loss)
            if self.save_every and self.step_count % self.save_every == 0:
                self.save()
        if not ended:
            return
        results = {"loss": self.epoch_loss / max(self.epoch_samples, 1)}
        if validation is not None:
            results.update(self.evaluate(validation, size))
        self.history.append(results)
        watched = results.get("val_loss", results["loss"])
        if self.plateau is not None:
            self.plateau.report(watched)
        self.epoch, self.position = self.epoch + 1, 0
        self.epoch_loss, self.epoch_samples = 0.0, 0
        if self.progress:
            figures = "  ".join(f"{name} {value:.5g}" for name, value in results.items())
            sys.stderr.write(f"\repoch {self.epoch}: {figures}\033[K\n")
        for callback in self.callbacks:
            callback.on_epoch(self, results)
        if self.checkpoints is not None:
            best = watched < self.best
            self.best = min(self.best, watched)
            self.save(best=best)

    def _update(self, batch: tuple[Any, ...]) -> float:
        *inputs, target = batch
        self.optimizer.zero()
        loss = self.criterion(self.model(*[_tensor(x) for x in inputs]), target)
        value = float(loss)
        if not math.isfinite(value):
            last = (
                "none" if self.checkpoints is None else (self.checkpoints.paths() or ["none"])[-1]
            )
            raise FloatingPointError(NAN.format(step=self.step_count, loss=value, last=last))
        loss.backward()
        with uninterrupted():
            # All of these, or none: Ctrl-C waits.
            if self.optimizer.step() and self.average is not None:
                self.average.update()
            self.step_count += 1
            self.position += 1
            self.epoch_loss += value * len(target)
            self.epoch_samples += len(target)
        return value

    def evaluate(self, data: Any, batch: int = 32) -> dict[str, float]:
        """val_loss and the metrics over `data`, in evaluation mode, with the averages if any."""
        found = [metric(given) for given in self.metrics]
        total, count = 0.0, 0
        mode = bool(self.model.train)
        self.model.evaluate()
        try:
            with no_grad(), self._averaged():
                for *inputs, target in as_batches(data, batch, 0, shuffle=False).epoch(0):
                    output = self.model(*[_tensor(x) for x in inputs])
                    total += float(self.criterion(output, target)) * len(target)
                    count += len(target)
                    for one in found:
                        one.add(output, target)
        finally:
            if mode:
                self.model.training()
        results = {"val_loss": total / max(count, 1)}
        results.update({f"val_{one.name}": one.value() for one in found})
        return results

    def _averaged(self) -> Any:
        return nullcontext() if self.average is None else self.average.applied()

    def _show(self, loss: float, speed: float) -> None:
        sys.stderr.write(
            f"\repoch {self.epoch + 1} step {self.step_count}  loss {loss:.5g}  "
            f"rate {self.optimizer.lr:.3g}  {speed:.0f} samples/s\033[K"
        )

    # Saving ---------------------------------------------------------------------------------------

    def save(self, *, best: bool = False) -> Path:
        """Write a checkpoint now.  Raises ResumeError when a parameter is not finite."""
        if self.checkpoints is None:
            raise ValueError("Trainer.save: there is no folder; give folder=")
        content = self.state_dict()
        for name, array in content["model"].items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ResumeError(f"{name} is not finite; no checkpoint was written")
        return self.checkpoints.save(self.step_count, content, best=best)

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what the run does next."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "gradients": {
                name: None if p.grad is None else devices.to_numpy(array_of(p.grad.detach())).copy()
                for name, p in self.model.named_parameters()
            }
            if self.optimizer.gathered
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
        for part, key in ((self.average, "average"), (self.plateau, "plateau")):
            if part is not None and saved[key] is not None:
                part.load_state_dict(saved[key])
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
        found = {str(p.device) for _, p in self.model.named_parameters()}
        return sorted(found | {"cpu"})

    def _generators(self) -> Iterator[Any]:
        """Generators of the modules' own."""
        known: set[int] = set()
        for module in self.model.listModules():
            for value in vars(module).values():
                if isinstance(value, devices.Generator) and id(value) not in known:
                    known.add(id(value))
                    yield value


def _tensor(x: Any) -> Any:
    return x if isinstance(x, Tensor) else Tensor(x)
