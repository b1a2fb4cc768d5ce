"""The learning-rate finder: a trial run whose rate rises, on copies of model and optimizer."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.figures import hide_rims, make_figure
from tapegrad.autograd.core.progress import make_bar
from tapegrad.optim.training.evaluation import NO_BATCHES
from tapegrad.optim.training.gradients import BatchGradients, as_parallel

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from tapegrad.optim.training.data import Batch, HasEpochs

__all__ = ["LRFindResult"]

SMOOTHING = 0.9  # the share of the past in the smoothed loss
DIVERGED = 4.0  # times the best smoothed loss: the trial ends there
BAD_RANGE = "Trainer.lr_find: start_lr {start} and end_lr {end} must be positive and rising"
TOO_FEW = "Trainer.lr_find: num_it is {count}: a curve needs at least 3 rates"


@dataclass(frozen=True)
class LRFindResult:
    """What a learning-rate finder saw.

    lrs:      the rates, rising by one factor each time, (n,)
    losses:   the loss of the batch that was learned from at each rate, (n,)
    smoothed: the losses, each averaged with those before it, (n,)
    `suggestion` is a rate to begin with; `plot` draws the curve.
    Source: L. Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3.
    """

    lrs: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray

    @property
    def suggestion(self) -> float | None:
        """The rate where the smoothed loss falls fastest over log(rate); None if it never falls.

        The last rates, after the smallest loss, do not count.
        """
        lowest = int(np.argmin(self.smoothed))
        if lowest < 2:
            return None
        slopes = np.gradient(self.smoothed[: lowest + 1], np.log(self.lrs[: lowest + 1]))
        steepest = int(np.argmin(slopes))
        return float(self.lrs[steepest]) if slopes[steepest] < 0 else None

    def plot(self, figure: Figure | SubFigure | None = None) -> Figure | SubFigure:
        """Draw the losses over the rates, with a mark at the suggestion; returns the figure.

        figure: where to draw; a new one when omitted
        Raises ImportError where Matplotlib is not installed.
        """
        figure = make_figure("LRFindResult.plot", figure, (5.5, 3.4))
        axes = figure.subplots()
        axes.plot(self.lrs, self.losses, color="0.75", linewidth=1, label="loss of a batch")
        axes.plot(self.lrs, self.smoothed, color="C0", label="smoothed")
        found = self.suggestion
        if found is not None:
            at = int(np.argmin(np.abs(self.lrs - found)))
            axes.plot([found], [self.smoothed[at]], "o", color="C3", label=f"steepest: {found:.2g}")
        low, high = float(np.min(self.smoothed)), float(self.smoothed[0])
        room = 0.25 * max(high - low, 1e-12)
        axes.set_ylim(low - room, max(high, float(np.median(self.smoothed))) + 2 * room)
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.legend(frameon=False)
        hide_rims(axes)
        return figure

    def __repr__(self) -> str:
        found = self.suggestion
        text = "none: the loss never falls" if found is None else f"{found:.3g}"
        span = f"{self.lrs[0]:.3g} to {self.lrs[-1]:.3g}"
        return f"LRFindResult({len(self.lrs)} rates from {span}, suggestion {text})"


def find_lr(
    trainer: BatchGradients,
    batches: HasEpochs,
    *,
    start_lr: float,
    end_lr: float,
    num_it: int,
    stop_div: bool,
    progress: bool | None = None,
) -> LRFindResult:
    """Run the trial: `Trainer.lr_find` says what it does.

    Raises ValueError for rates that do not rise, fewer than 3 of them, and data without samples;
    FloatingPointError where the loss is not finite from the beginning.
    """
    if not 0 < start_lr < end_lr < math.inf:
        raise ValueError(BAD_RANGE.format(start=start_lr, end=end_lr))
    if num_it < 3:
        raise ValueError(TOO_FEW.format(count=num_it))
    rates = np.geomspace(start_lr, end_lr, num_it)
    names = sorted({str(p.device) for _, p in trainer.model.named_parameters()} | {"cpu"})
    states = [(devices.generator(name), devices.generator(name).get_state()) for name in names]
    bar = make_bar(num_it, "rate", name="lr_find", progress=progress)
    try:
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # the last rates are meant to be too large
            losses = list(_losses(_copied(trainer), _endless(batches), rates, bar, stop=stop_div))
    finally:
        bar.close()
        for generator, state in states:
            generator.set_state(state)
    if not losses:
        raise FloatingPointError(
            f"Trainer.lr_find: the loss is not finite at the smallest rate, {start_lr:g}"
        )
    return LRFindResult(rates[: len(losses)], np.array(losses), _smooth(losses))


def _copied(trainer: BatchGradients) -> BatchGradients:
    """The same model, criterion and optimizer once more, with nothing shared."""
    trial = BatchGradients()
    parts = (trainer.model, trainer.criterion, trainer.optimizer)
    trial.model, trial.criterion, trial.optimizer = copy.deepcopy(parts)
    if not any(part.train for part in trial.model.listModules()):
        trial.model.training()
    trial.sample_weights, trial.compile = trainer.sample_weights, trainer.compile
    trial.average, trial.metrics = None, []
    is_shared = trainer.parallel is not None
    trial.parallel = as_parallel(trial.model, is_shared, compiled=trainer.compile)
    trial.group = trainer.group
    return trial


def _endless(batches: HasEpochs) -> Iterator[Batch]:
    for epoch in itertools.count():
        found = False
        for batch in batches.epoch(epoch):
            found = True
            yield batch
        if not found:
            raise ValueError(NO_BATCHES.format(place="Trainer.lr_find"))


def _losses(
    trial: BatchGradients, batches: Iterator[Batch], rates: np.ndarray, bar: Any, *, stop: bool
) -> Iterator[float]:
    """The loss at each rate, until it is not finite or has risen far above the best."""
    best = average = math.inf

    def accept(loss: float) -> None:
        if not math.isfinite(loss):
            raise FloatingPointError

    for number, rate in enumerate(rates):
        trial.optimizer.lr = float(rate)
        values = []
        try:
            while True:  # several batches where gradients are accumulated
                values.append(trial._fill_gradients(next(batches), accept)[0])  # noqa: SLF001  # of a relative
                if trial.optimizer.step():
                    break
        except FloatingPointError:  # the end of the trial
            return
        loss = float(np.mean(values))
        yield loss
        bar.update()
        average = loss if number == 0 else SMOOTHING * average + (1 - SMOOTHING) * loss
        best = min(best, average)
        if stop and number and average > DIVERGED * abs(best):
            return


def _smooth(losses: Sequence[float]) -> np.ndarray:
    """m₀ = 0, mᵢ = βmᵢ₋₁ + (1 − β)lᵢ, each over (1 − βⁱ), which makes up for the beginning."""
    mean, smoothed = 0.0, []
    for count, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smoothed.append(mean / (1 - SMOOTHING**count))
    return np.array(smoothed)
