"""What a trainer shows and tries beside training: curves, and the learning-rate finder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from tapegrad.optim.core.advice import absent_in_trainer
from tapegrad.optim.training.data import Data, as_batches
from tapegrad.optim.training.gradients import BatchGradients
from tapegrad.optim.training.history import plot_history
from tapegrad.optim.training.lr_finder import LRFindResult, find_lr

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["Inspection"]


class Inspection(BatchGradients):
    """The methods of a Trainer that change nothing of the run."""

    history: list[dict[str, float]]
    step_losses: list[float]

    def plot_history(self, figure: Figure | SubFigure | None = None) -> Figure | SubFigure:
        """Draw the losses of steps and epochs, and each metric; returns a Matplotlib figure.

        figure: where to draw; a new one when omitted.  Raises what `optim.plot_history` raises.
        """
        return plot_history(self.history, self.step_losses, figure=figure)

    def lr_find(
        self,
        data: Data,
        *,
        start_lr: float = 1e-7,
        end_lr: float = 10.0,
        num_it: int = 100,
        batch_size: int = 32,
        seed: int = 0,
        stop_div: bool = True,
    ) -> LRFindResult:
        """Try rates that rise from `start_lr` to `end_lr`, a step at each, and keep the losses.

        data, batch_size, seed: as of `fit`; begun anew as often as `num_it` steps need it
        num_it:   how many rates, each larger than the one before by the same factor
        stop_div: end when the smoothed loss is over 4 times its best; a loss that is not finite
                  ends the trial in any case
        The trial runs on copies: model, optimizer, criterion, gradients, random generators and the
        run so far stay as they are, and no callback is called.  All groups get the same rate.
        Returns the rates and losses: ``found.suggestion``, ``found.plot()``.
        Raises ValueError for rates that do not rise, fewer than 3, and data without samples;
        FloatingPointError where the loss is not finite from the beginning.
        Source: L. Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3.
        """
        entries = 3 if self.sample_weights else 2
        batches = as_batches(data, batch_size, seed, place="Trainer.lr_find", entries=entries)
        return find_lr(
            self,
            batches,
            start_lr=start_lr,
            end_lr=end_lr,
            num_it=num_it,
            stop_div=stop_div,
            progress=False if self.progress is False or self.group.rank else None,
        )

    def __repr__(self) -> str:
        steps, epochs = getattr(self, "step_count", 0), getattr(self, "epoch", 0)
        figures = (
            ", ".join(f"{k} {v:.5g}" for k, v in self.history[-1].items()) if self.history else ""
        )
        return (
            f"Trainer({type(self.model).__name__}, {_name(self.criterion)}, "
            f"{type(self.optimizer).__name__}; {epochs} epochs, {steps} steps"
            f"{'; ' if figures else ''}{figures})"
        )

    if not TYPE_CHECKING:  # type checkers would take any name for an attribute

        def __getattr__(self, name: str) -> NoReturn:
            raise absent_in_trainer(self, name)


def _name(criterion: Any) -> str:
    kind = type(criterion).__name__
    return getattr(criterion, "__name__", kind) if kind == "function" else kind
