"""Training curves: the figures of epochs and the loss of each step as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd.core.figures import hide_rims, make_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["plot_history"]

NOTHING = "plot_history: there are no figures yet: call it after fit"


def plot_history(
    history: Sequence[Mapping[str, float]],
    step_losses: Sequence[float] = (),
    *,
    figure: Figure | SubFigure | None = None,
) -> Figure | SubFigure:
    """Draw training curves: the losses on the left, then a diagram for each metric.

    history:     what `Trainer.fit` returns: for each epoch its figures by name.  A figure val_x is
                 drawn beside x
    step_losses: `trainer.step_losses`, the loss of each step, drawn behind those of the epochs
    figure:      where to draw; a new one when omitted.  Returns the figure
    Raises ValueError for no figures at all, ImportError where Matplotlib is not installed.
    """
    names = list(dict.fromkeys(name for row in history for name in row))
    if not names and not len(step_losses):
        raise ValueError(NOTHING)
    panels: dict[str, list[str]] = {"loss": []}
    for name in names:
        panels.setdefault(name.removeprefix("val_"), []).append(name)
    figure = make_figure("plot_history", figure, (4.2 * len(panels) + 0.3, 3.2))
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    epochs = np.arange(1, len(history) + 1)
    for axes, (title, members) in zip(grid, panels.items(), strict=True):
        if title == "loss" and len(step_losses):
            # Epochs may have had different lengths, which the figures do not say.
            ends = np.arange(1, len(step_losses) + 1)
            scaled = ends * (len(history) / len(step_losses) if len(history) else 1)
            axes.plot(scaled, step_losses, color="0.8", linewidth=0.8, label="loss of each step")
        for name in members:
            values = [row.get(name, np.nan) for row in history]
            marker = "o" if len(epochs) < 10 else None
            colour = "C1" if name.startswith("val_") else "C0"
            axes.plot(epochs, values, color=colour, marker=marker, label=name)
        _finish(axes, title, "epoch" if len(history) else "step")
    return figure


def _finish(axes: Axes, title: str, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    finite = values[np.isfinite(values)]
    if title == "loss" and finite.size and finite.min() > 0 and finite.max() > 20 * finite.min():
        axes.set_yscale("log")
    axes.set(title=title, xlabel=unit)
    axes.legend(frameon=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    hide_rims(axes)
