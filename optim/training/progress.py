"""What a trainer shows while it runs, in the way of the place where it is looked at.

In a terminal a bar, with a line for each epoch above it; in a notebook a bar, a curve and a table
that change in their place; in a file, if that was asked for, a line for each epoch, and in a long
epoch one now and then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import IO, Any

from tapegrad.autograd.core.notebook import (
    LiveDisplay,
    LongCurve,
    bar_html,
    curve_svg,
    table_html,
)
from tapegrad.autograd.core.progress import clock_text, is_terminal, progress_place

__all__ = ["Progress", "start_progress"]

# Seconds between two lines, where a line is written over the last one and where it is not, and
# between two pictures of a notebook.
REFRESH, REPEAT, REDRAW = 0.1, 30.0, 0.5
MOST_ROWS = 12  # of the table of epochs in a notebook


class Progress:
    """Figures of a run, line by line on standard error.

    epochs: how many there will be in all, None without a number
    batches: of an epoch;  left: until the end of the run; None where nobody knows
    """

    def __init__(self, epochs: int | None, batches: int | None, left: int | None) -> None:
        self.epochs, self.batches, self.left = epochs, batches, left
        self.file: IO[str] = sys.stderr
        self.rewrites = is_terminal()
        self.shown = time.perf_counter()
        self.start_epoch()

    def start_epoch(self) -> None:
        """Begin to measure speed."""
        self.began, self.samples, self.made = time.perf_counter(), 0, 0

    def show_step(
        self, epoch: int, position: int, samples: int, left: int | None, *, loss: float, rate: float
    ) -> None:
        """Show a step, unless one was shown just now.

        position: batches of the epoch so far;  samples: of this step;  left: batches until the end
        of the run, None where nobody knows
        """
        self.samples += samples
        self.made += 1
        self.left = left
        now = time.perf_counter()
        if now - self.shown < self._interval():
            return
        self.shown = now
        self._draw_step(epoch, position, loss, rate)

    def show_validation(self, epoch: int) -> None:
        """Show that a validation runs."""

    def show_epoch(self, epoch: int, position: int | None, results: dict[str, float]) -> None:
        """Show an epoch's figures; of a part of it, after `position` batches."""
        figures = "  ".join(f"{name} {value:.5g}" for name, value in results.items())
        part = "" if position is None else f", {position} steps of {self.batches or 'it'}"
        self._write(
            f"{self._epoch(epoch)}{part}: {figures}  {self._speed():.0f} samples/s  "
            f"{clock_text(self._spent())}",
            stays=True,
        )

    def close(self) -> None:
        """End: nothing more will be shown."""

    def _interval(self) -> float:
        return REFRESH if self.rewrites else REPEAT

    def _draw_step(self, epoch: int, position: int, loss: float, rate: float) -> None:
        self._write(self._step_text(epoch, position, loss, rate), stays=not self.rewrites)

    def _step_text(self, epoch: int, position: int, loss: float, rate: float) -> str:
        of = "" if self.batches is None else f"/{self.batches}"
        remaining = ""
        if self.left is not None:
            remaining = f"  {clock_text(self.left * self._spent() / max(self.made, 1))} left"
        return (
            f"{self._epoch(epoch)} step {position}{of}  loss {loss:.5g}  rate {rate:.3g}  "
            f"{self._speed():.0f} samples/s{remaining}"
        )

    def _spent(self) -> float:
        return max(time.perf_counter() - self.began, 1e-9)

    def _speed(self) -> float:
        return self.samples / self._spent()

    def _epoch(self, epoch: int) -> str:
        return f"epoch {epoch}" if self.epochs is None else f"epoch {epoch}/{self.epochs}"

    def _write(self, line: str, *, stays: bool) -> None:
        text = f"\r{line}\033[K" if self.rewrites else line
        self.file.write(text + ("\n" if stays else ""))
        self.file.flush()


class BarProgress(Progress):
    """A bar of tqdm over all batches of the run, in a terminal."""

    def __init__(self, epochs: int | None, batches: int | None, left: int | None) -> None:
        super().__init__(epochs, batches, left)
        from tqdm import tqdm

        self.bar: Any = tqdm(total=left, unit="batch", dynamic_ncols=True, leave=False)
        self.pending = 0

    def show_step(
        self, epoch: int, position: int, samples: int, left: int | None, *, loss: float, rate: float
    ) -> None:
        """Count a step."""
        self.pending += 1
        super().show_step(epoch, position, samples, left, loss=loss, rate=rate)

    def show_validation(self, epoch: int) -> None:
        """Say so before the bar."""
        self.bar.set_description_str(f"{self._epoch(epoch)}, validation")

    def close(self) -> None:
        """Take the bar away; the lines of the epochs stay."""
        self.bar.close()

    def _draw_step(self, epoch: int, position: int, loss: float, rate: float) -> None:
        self.bar.set_description_str(self._epoch(epoch), refresh=False)
        self.bar.set_postfix_str(f"loss {loss:.4g}, rate {rate:.3g}", refresh=False)
        self.bar.update(self.pending)
        self.pending = 0

    def _write(self, line: str, *, stays: bool) -> None:
        self.bar.write(line, file=self.file)


class NotebookProgress(Progress):
    """A bar, a curve of the loss and a table of the epochs, in the output of a notebook's cell."""

    def __init__(self, epochs: int | None, batches: int | None, left: int | None) -> None:
        super().__init__(epochs, batches, left)
        self.display = LiveDisplay()
        self.total, self.done, self.text, self.rate = left, 0, "", 0.0
        self.losses = LongCurve()  # of steps
        self.of_epochs: dict[str, list[tuple[float, float]]] = {}
        self.rows: list[tuple[str, dict[str, float], str]] = []

    def show_step(
        self, epoch: int, position: int, samples: int, left: int | None, *, loss: float, rate: float
    ) -> None:
        """Keep the loss for the curve."""
        self.done += 1
        self.losses.add(float(self.done), loss)
        super().show_step(epoch, position, samples, left, loss=loss, rate=rate)

    def show_validation(self, epoch: int) -> None:
        """Say so behind the bar."""
        if self.text:  # what is over at once is shown at the end
            self.text = f"{self._epoch(epoch)}, validation"
            self._redraw()

    def show_epoch(self, epoch: int, position: int | None, results: dict[str, float]) -> None:
        """Add a row to the table, and a point to the curve of the validation."""
        name = str(epoch) if position is None else f"{epoch} (part)"
        self.rows.append((name, results, clock_text(self._spent())))
        if "val_loss" in results:
            points = self.of_epochs.setdefault("val_loss", [])
            points.append((float(self.done), results["val_loss"]))
        self.text = f"{self._epoch(epoch)}, {self._speed():.0f} samples/s"
        if time.perf_counter() - self.shown > self._interval():
            self.shown = time.perf_counter()
            self._redraw()

    def close(self) -> None:
        """Show all that there is."""
        self._redraw()

    def _interval(self) -> float:
        return REDRAW

    def _draw_step(self, epoch: int, position: int, loss: float, rate: float) -> None:
        self.text = self._step_text(epoch, position, loss, rate)
        self._redraw()

    def _redraw(self) -> None:
        curves = {"loss": self.losses.points(), **self.of_epochs}
        names = list(dict.fromkeys(name for _, results, _ in self.rows for name in results))
        rows: list[Sequence[str]] = [
            (epoch, *(f"{results[n]:.4g}" if n in results else "" for n in names), spent)
            for epoch, results, spent in self.rows[-MOST_ROWS:]
        ]
        if len(self.rows) > MOST_ROWS:
            rows.insert(0, ("…", *([""] * (len(names) + 1))))
        table = table_html(("epoch", *names, "time"), rows) if rows else ""
        bar = bar_html("", self.done, self.total, self.text)
        self.display.show(bar + curve_svg(curves) + table)


def start_progress(
    progress: bool | None, epochs: int | None, batches: int | None, left: int | None
) -> Progress | None:
    """What shows a run where it is looked at; None where nothing is to be shown.

    progress: True also in files, False never, None as `tapegrad.set_progress` says
    """
    place = progress_place(progress)
    if place is None:
        return None
    if place == "notebook":
        return NotebookProgress(epochs, batches, left)
    if place == "terminal":
        try:
            return BarProgress(epochs, batches, left)
        except ImportError:  # tqdm is optional
            pass
    return Progress(epochs, batches, left)
