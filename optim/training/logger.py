"""Logger: a table of numbers in a text file, and its plot in a PNG beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

__all__ = ["Logger"]


class Logger:
    """One line of numbers per call, under column names, tab-separated as Torch7 wrote them.

    filename:  where the table goes; a file that exists is begun anew
    timestamp: put the date and time into the file's name
    `plot` draws all columns into filename.png (with Matplotlib), `display` does so or not.
    Source: optim.Logger of torch/optim.
    """

    def __init__(self, filename: str | Path, timestamp: bool = False) -> None:
        path = Path(filename)
        if timestamp:
            path = path.with_name(f"{path.name}_{time.strftime('%Y_%m_%d_%H_%M_%S')}")
        self.path = path
        self.names: list[str] = []
        self.rows: list[list[float]] = []
        self.styles: list[str] = []
        self.logscale = False
        path.write_text("", encoding="utf-8")

    def setNames(self, names: Sequence[str]) -> Self:
        """Name the columns, before the first row.

        Raises ValueError after the first row.
        """
        if self.rows:
            raise ValueError("Logger.setNames: rows have been written already")
        self.names = [str(name) for name in names]
        self._write("\t".join(self.names))
        return self

    def add(self, values: Sequence[float] | Mapping[str, float]) -> Self:
        """Append a row: numbers in order, or by name, which names the columns at the first row.

        Raises ValueError, writing nothing, when there are not as many numbers as names.
        """
        if isinstance(values, Mapping):
            if not self.names:
                self.setNames(list(values))
            if set(values) != set(self.names):
                raise ValueError(f"Logger: the columns are {self.names}, not {sorted(values)}")
            values = [values[name] for name in self.names]
        row = [float(value) for value in values]
        if self.names and len(row) != len(self.names):
            raise ValueError(f"Logger: {len(row)} numbers for {len(self.names)} names")
        self.rows.append(row)
        self._write("\t".join(f"{value:.8g}" for value in row))
        return self

    def _write(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def style(self, styles: str | Sequence[str]) -> Self:
        """Choose how columns are drawn: "-", "+", ".", "+-", "~" for a line; one, or one each."""
        self.styles = [styles] * len(self.names) if isinstance(styles, str) else list(styles)
        return self

    def setlogscale(self, state: bool = True) -> Self:
        """Draw the values on a logarithmic axis."""
        self.logscale = state
        return self

    def plot(self) -> Path:
        """Draw all columns over the row number into a PNG; returns its path."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4))
        axes = figure.subplots()
        for i, column in enumerate(zip(*self.rows, strict=True)):
            label = self.names[i] if i < len(self.names) else str(i)
            style = self.styles[i] if i < len(self.styles) else "-"
            axes.plot(range(1, len(column) + 1), column, style.replace("~", "-"), label=label)
        if self.logscale:
            axes.set_yscale("log")
        axes.set_xlabel("row")
        axes.legend()
        target = self.path.with_name(self.path.name + ".png")
        figure.savefig(target, dpi=120)
        return target
