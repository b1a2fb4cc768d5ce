"""What a `Trainer` calls while it runs: early stopping, event files, and what users write."""

from __future__ import annotations

import copy
import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.atomic_file import replace_file
from tapegrad.autograd.core.settings_text import ShowsSettings
from tapegrad.devices import collectives

if TYPE_CHECKING:
    from tapegrad.optim.training.trainer import Trainer

__all__ = ["CSVLog", "Callback", "EarlyStopping", "TensorBoard"]


class Callback(ShowsSettings):
    """Something that a trainer calls while it runs; a subclass overrides what it needs.

    every_rank: False for what writes files or prints: of several ranks that train together, only
                rank 0 calls it
    """

    every_rank = True

    def on_train_start(self, trainer: Trainer) -> None:
        """Act before the first step."""

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        """Act after an update, which `loss` was computed for."""

    def on_epoch_end(self, trainer: Trainer, results: dict[str, float]) -> None:
        """Act after an epoch and its validation; `results` has their figures by name."""

    def on_train_end(self, trainer: Trainer) -> None:
        """Act after the last step, also when an error ends the run."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know."""
        return {}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""


class EarlyStopping(Callback):
    """End the run when `monitor` has not improved by more than `threshold` for `patience` epochs.

    monitor: a name in the results of an epoch, such as "val_loss"
    mode:    "min" if smaller values are better, "max" if larger ones are
    restore_best: where it ends the run, put back the parameters and buffers, and the averages if
             there are such, of the best epoch; the optimizer stays as it is
    Raises ValueError for another mode, KeyError at the end of an epoch without the name.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 5,
        threshold: float = 0.0,
        mode: str = "min",
        restore_best: bool = False,
    ) -> None:
        if mode not in {"min", "max"}:
            raise ValueError(f"EarlyStopping: mode must be 'min' or 'max', not {mode!r}")
        self.monitor, self.patience, self.threshold, self.mode = monitor, patience, threshold, mode
        self.restore_best = restore_best
        self.best_state: dict[str, Any] | None = None
        self.best, self.bad = math.inf, 0

    def on_epoch_end(self, trainer: Trainer, results: dict[str, float]) -> None:
        """Compare with the best value so far, and stop the trainer after too many bad epochs."""
        if self.monitor not in results:
            raise KeyError(f"EarlyStopping monitors {self.monitor!r}; there are {sorted(results)}")
        value = results[self.monitor] * (1 if self.mode == "min" else -1)
        if value < self.best - self.threshold:
            self.best, self.bad = value, 0
            self.best_state = _state_of(trainer) if self.restore_best else None
        else:
            self.bad += 1
        if self.bad >= self.patience:
            trainer.stop()
            if self.best_state is not None:
                for name, state in self.best_state.items():
                    getattr(trainer, name).load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, how many epochs ago it was, and its arrays to be put back."""
        return {"best": self.best, "bad": self.bad, "best_state": self.best_state}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.best, self.bad = saved["best"], saved["bad"]
        self.best_state = saved.get("best_state") if self.restore_best else None


def _state_of(trainer: Trainer) -> dict[str, Any]:
    """Copies of the arrays that an epoch's results were computed with."""
    parts: dict[str, Any] = {"model": trainer.model, "average": trainer.average}
    return {
        name: copy.deepcopy(part.state_dict()) for name, part in parts.items() if part is not None
    }


class CSVLog(Callback):
    """Keep a CSV file of the epochs: a row of figures each, under their names.

    The file is the trainer's `history`, written anew after each epoch: a resumed run repeats no
    row and loses none.  The loss of each step is in `trainer.step_losses`.
    """

    every_rank = False

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_epoch_end(self, trainer: Trainer, results: dict[str, float]) -> None:
        """Write all epochs so far."""
        names = list(dict.fromkeys(name for row in trainer.history for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", *names], lineterminator="\n")
        writer.writeheader()
        for number, row in enumerate(trainer.history, 1):
            writer.writerow({"epoch": number, **row})
        with replace_file(self.path) as file:
            file.write(text.getvalue().encode())


class TensorBoard(Callback):
    """Write scalars as TensorBoard event files, through the package tensorboardX.

    Losses and rates are written each `every` steps, and the results of epochs.  tensorboardX writes
    the format alone, without TensorFlow or a server: `pip install tapegrad[tensorboard]`.
    Raises ImportError where it is not installed.
    """

    every_rank = False

    def __init__(self, folder: str | Path, *, every: int = 1) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "event files need tensorboardX: pip install tapegrad[tensorboard]"
            ) from error
        self.every = every
        # ranks that write nothing make no file
        self.writer: Any = None
        if collectives.current().rank == 0:
            self.writer = SummaryWriter(str(folder))

    def on_step_end(self, trainer: Trainer, loss: float) -> None:
        """Write the loss and the rate."""
        if trainer.step_count % self.every == 0:
            self.writer.add_scalar("loss", loss, trainer.step_count)
            self.writer.add_scalar("rate", trainer.optimizer.lr, trainer.step_count)

    def on_epoch_end(self, trainer: Trainer, results: dict[str, float]) -> None:
        """Write the epoch's figures."""
        for name, value in results.items():
            self.writer.add_scalar(name, value, trainer.step_count)

    def on_train_end(self, trainer: Trainer) -> None:
        """Finish the file; `flush` would not wait for what the writer's thread has yet to write.

        A further run of the trainer goes on in a file of its own.
        """
        self.writer.close()
