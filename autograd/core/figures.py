"""Figures of Matplotlib, for the functions called `plot_…`: the extra `plot`.

Each of them draws into the `figure` that it is given, or else makes one, and returns it.
Matplotlib is imported when a figure is made.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import Tensor, array_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["NO_MATPLOTLIB", "hide_rims", "image_grid", "make_figure", "plain_array", "show_image"]

NO_MATPLOTLIB = "{place} needs Matplotlib: pip install 'tapegrad[plot]'"
WIDTH = 0.9  # inches of a small picture in a grid
MOST_COLUMNS = 8


def make_figure(
    place: str, figure: Figure | SubFigure | None, size: tuple[float, float]
) -> Figure | SubFigure:
    """The figure to draw into: the given one, or a new one of `size` inches.

    place: the function that draws, for the error
    Raises ImportError where Matplotlib is not installed.
    """
    if figure is not None:
        return figure
    try:
        from tapegrad.autograd.core.matplotlib_figure import ShownFigure
    except ImportError as error:
        raise ImportError(NO_MATPLOTLIB.format(place=place)) from error
    return ShownFigure(figsize=size, layout="constrained")


def image_grid(
    place: str, count: int, figure: Figure | SubFigure | None, *, columns: int | None = None
) -> tuple[Figure | SubFigure, list[Axes]]:
    """(figure, axes of `count` small pictures in rows of at most `columns`), without ticks."""
    columns = columns or min(max(count, 1), max(MOST_COLUMNS, math.ceil(math.sqrt(count))))
    rows = max(-(-count // columns), 1)
    size = (WIDTH * columns + 1.0, (WIDTH + 0.2) * rows + 0.6)
    figure = make_figure(place, figure, size)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set(xticks=[], yticks=[])
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, list(grid[:count])


def show_image(axes: Axes, pixels: Any, **options: Any) -> Any:
    """Draw (H, W) or (H, W, 3) so that every entry stays a square of its own."""
    return axes.imshow(pixels, interpolation="nearest", **options)


def hide_rims(axes: Axes) -> None:
    """Leave out the upper and the right side of a diagram's frame, and draw a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)


def plain_array(x: Any) -> np.ndarray[Any, Any]:
    """The values of a Tensor, of a device's array or of a list, as a NumPy array."""
    return np.asarray(devices.to_numpy(array_of(x.detach()) if isinstance(x, Tensor) else x))
