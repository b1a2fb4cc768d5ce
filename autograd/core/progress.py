"""Progress bars of what may take long: one setting for all, and one function that makes a bar.

A bar is drawn on standard error, where that is a terminal, by tqdm if it is installed; in a
notebook as a line of HTML that changes in its place.  Nothing is drawn in files, pipes and logs,
and nothing for what takes less than two seconds.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from tapegrad.autograd.core.notebook import LiveDisplay, bar_html, is_notebook

__all__ = [
    "DELAY",
    "VARIABLE",
    "Bar",
    "clock_text",
    "is_terminal",
    "make_bar",
    "progress_place",
    "set_progress",
    "with_bar",
    "working",
]

VARIABLE = "TAPEGRAD_PROGRESS"
DELAY = 2.0  # seconds: what ends before has no bar
REFRESH = 0.2  # seconds between two pictures of a notebook's bar
NO_TQDM = "progress=True needs tqdm, which is not installed: pip install 'tapegrad[progress]'"
NOT_A_SETTING = "set_progress takes True, False or None, not {found!r}"

_setting: list[bool | None] = [None]


def set_progress(shown: bool | None) -> None:
    """Switch all progress bars of tapegrad off (False), or on again (True).

    None, as at the start: on, unless the environment says TAPEGRAD_PROGRESS=0.  An argument
    ``progress=`` of a call comes before this.  Raises TypeError for anything else.
    """
    if shown is not None and not isinstance(shown, bool):
        raise TypeError(NOT_A_SETTING.format(found=shown))
    _setting[0] = shown


def _is_on() -> bool:
    if _setting[0] is not None:
        return _setting[0]
    return os.environ.get(VARIABLE, "").strip().lower() not in {"0", "no", "off", "false"}


def is_terminal() -> bool:
    """Whether standard error is a terminal."""
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


def progress_place(asked: bool | None) -> Literal["notebook", "terminal", "file"] | None:
    """Where progress is to be shown: None for nowhere.

    asked: True also in files and pipes, False never, None where somebody looks on
    """
    if asked is False or (asked is None and not _is_on()):
        return None
    if is_notebook():
        return "notebook"
    if is_terminal():
        return "terminal"
    return "file" if asked else None


class Bar(Protocol):
    """Something that shows how much of a known or unknown amount is done."""

    def update(self, n: int = 1) -> Any:
        """Add n to what is done."""

    def close(self) -> Any:
        """Take the bar away, or leave it at its end."""


class _NoBar:
    def update(self, n: int = 1) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


class NotebookBar:
    """A bar of HTML, drawn when two seconds have passed, and gone at its end.

    total: None where nobody knows
    """

    def __init__(self, total: int | None, unit: str, name: str) -> None:
        self.total, self.unit, self.name, self.done = total, unit, name, 0
        self.began = time.perf_counter()
        self.next = self.began + DELAY
        self.display: LiveDisplay | None = None

    def update(self, n: int = 1) -> None:
        """Add n, and draw from time to time."""
        self.done += n
        now = time.perf_counter()
        if now < self.next:
            return
        self.next = now + REFRESH
        self._draw(bar_html(self.name, self.done, self.total, self._text(now - self.began)))

    def _text(self, spent: float) -> str:
        of = "" if self.total is None else f"/{self.total}"
        text = f"{self.done}{of} {self.unit}s, {self.done / max(spent, 1e-9):.3g}/s"
        if self.total is not None and self.done:
            left = spent / self.done * max(self.total - self.done, 0)
            text += f", {clock_text(left)} left"
        return text

    def _draw(self, html: str) -> None:
        if self.display is None:
            self.display = LiveDisplay()
        self.display.show(html)

    def close(self) -> None:
        """Take the bar away."""
        if self.display is not None:
            self.display.show("")


def make_bar(total: int | None, unit: str, *, name: str = "", progress: bool | None = None) -> Bar:
    """A bar over `total` things, None where nobody knows how many.

    unit: what is counted, in the singular;  name: what stands in front of the bar
    progress: True also in files and at once, False none, None as `set_progress` says
    Raises ImportError for True outside of a notebook where tqdm is not installed.
    """
    place = progress_place(progress)
    if place is None:
        return _NoBar()
    if place == "notebook":
        return NotebookBar(total, unit, name)
    try:
        from tqdm import tqdm
    except ImportError as error:
        if progress:
            raise ImportError(NO_TQDM) from error
        return _NoBar()
    delay = 0.0 if progress else DELAY
    bar: Bar = tqdm(
        total=total,
        unit=unit,
        desc=name or None,
        delay=delay,
        leave=bool(progress),
        dynamic_ncols=True,
    )
    return bar


def with_bar(
    things: Iterable[Any],
    total: int | None,
    unit: str,
    *,
    name: str = "",
    progress: bool | None = None,
) -> Iterator[Any]:
    """The same things, with a bar that counts them: arguments and errors of `make_bar`."""
    bar = make_bar(total, unit, name=name, progress=progress)
    return iter(things) if isinstance(bar, _NoBar) else _counted(things, bar)


def _counted(things: Iterable[Any], bar: Bar) -> Iterator[Any]:
    try:
        for thing in things:
            yield thing
            bar.update()
    finally:
        bar.close()


@contextmanager
def working(text: str, *, progress: bool | None = None) -> Iterator[None]:
    """Show, from two seconds on, that one long call runs, and for how long: in a terminal alone.

    text: what is done;  progress: False for never, None as `set_progress` says
    """
    if progress_place(progress) != "terminal":
        yield
        return
    began, ended = time.perf_counter(), threading.Event()
    stream = sys.stderr

    def show() -> None:
        wait = DELAY
        while not ended.wait(wait):
            wait = REFRESH
            stream.write(f"\r{text}  {clock_text(time.perf_counter() - began)}\033[K")
            stream.flush()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if time.perf_counter() - began > DELAY:
            stream.write("\r\033[K")
            stream.flush()


def clock_text(seconds: float) -> str:
    """Seconds as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
