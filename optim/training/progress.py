"""The line that a trainer shows while it runs.

In a terminal it is written over and over; in a file, a pipe or a notebook what is written stays, so
that there only epochs have a line, and a long epoch one now and then.
"""

from __future__ import annotations

import sys
import time
from typing import IO

__all__ = ["Progress"]

# Seconds between two lines, where a line is written over the last one and where it is not.
REFRESH, REPEAT = 0.1, 30.0


class Progress:
    """Figures of a run, on standard error; in a notebook, whose errors are red, on standard output.

    epochs: how many there will be in all;  batches: of an epoch, None where nobody knows
    """

    def __init__(self, epochs: int | None, batches: int | None) -> None:
        self.epochs, self.batches = epochs, batches
        self.file: IO[str] = sys.stderr
        if type(self.file).__module__.startswith("ipykernel"):
            self.file = sys.stdout
        self.rewrites = bool(getattr(self.file, "isatty", lambda: False)())
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
        now = time.perf_counter()
        if now - self.shown < (REFRESH if self.rewrites else REPEAT):
            return
        self.shown = now
        spent = max(now - self.began, 1e-9)
        of = "" if self.batches is None else f"/{self.batches}"
        remaining = "" if left is None else f"  {_clock(left * spent / self.made)} left"
        self._write(
            f"{self._epoch(epoch)} step {position}{of}  loss {loss:.5g}  rate {rate:.3g}  "
            f"{self.samples / spent:.0f} samples/s{remaining}",
            stays=not self.rewrites,
        )

    def show_epoch(self, epoch: int, position: int | None, results: dict[str, float]) -> None:
        """Show an epoch's figures; of a part of it, after `position` batches."""
        spent = max(time.perf_counter() - self.began, 1e-9)
        figures = "  ".join(f"{name} {value:.5g}" for name, value in results.items())
        part = "" if position is None else f", {position} steps of {self.batches or 'it'}"
        self._write(
            f"{self._epoch(epoch)}{part}: {figures}  {self.samples / spent:.0f} samples/s  "
            f"{_clock(spent)}",
            stays=True,
        )

    def _epoch(self, epoch: int) -> str:
        return f"epoch {epoch}" if self.epochs is None else f"epoch {epoch}/{self.epochs}"

    def _write(self, line: str, *, stays: bool) -> None:
        text = f"\r{line}\033[K" if self.rewrites else line
        self.file.write(text + ("\n" if stays else ""))
        self.file.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
