"""ShownFigure: a figure of Matplotlib that a notebook shows, in whatever way it was made.

The one file that imports Matplotlib at its top; `core.figures` imports it when a figure is made.
"""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["ShownFigure"]


class ShownFigure(Figure):
    """A Figure that Jupyter shows as the result of a cell, once.

    Figures of `pyplot` would be shown a second time at the end of the cell, and stay in memory
    until somebody closes them.
    """

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        FigureCanvasAgg(self).print_png(file)
        return file.getvalue()
