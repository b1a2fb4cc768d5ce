"""Monitor: a number of every output and parameter, every few batches.  Source: mx.monitor."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.executor import Executor


__all__ = ["Monitor"]

_LOG = logging.getLogger()  # MXNet's monitor writes to the root logger, which scripts set up


def _size(x: NDArray) -> NDArray:
    """‖x‖ / √size."""
    return array([np.linalg.norm(x.asnumpy().reshape(-1)) / math.sqrt(x.size)])


class Monitor:
    """Statistics of what runs, every `interval` batches.

    stat_func:   array -> array or number; ‖x‖/√size when omitted
    pattern:     the names that count, matched from their beginning
    sort:        whether toc sorts by name
    monitor_all: whether inputs of operators count too
    """

    def __init__(
        self,
        interval: int,
        stat_func: Callable[[NDArray], Any] | None = None,
        pattern: str = ".*",
        sort: bool = False,
        monitor_all: bool = False,
    ):
        self.stat_func = stat_func or _size
        self.interval, self.sort, self.monitor_all = interval, sort, monitor_all
        self.activated = False
        self.queue: list[tuple[int, str, Any]] = []
        self.step = 0
        self.exes: list[Any] = []
        self.re_prog = re.compile(pattern)

    def stat_helper(self, name: str, x: NDArray) -> None:
        """Take the statistic of an array, if the monitor is active and the name counts."""
        if self.activated and self.re_prog.match(name):
            self.queue.append((self.step, name, self.stat_func(x)))

    def install(self, exe: Executor, monitor_all: bool | None = None) -> None:
        """Watch an executor."""
        exe.set_monitor_callback(
            self.stat_helper, self.monitor_all if monitor_all is None else monitor_all
        )
        self.exes.append(exe)

    def tic(self) -> None:
        """Begin a batch; it is watched if its number is a multiple of the interval."""
        if self.step % self.interval == 0:
            self.queue = []
            self.activated = True
        self.step += 1

    def toc(self) -> list[tuple[int, str, str]]:
        """End a batch: [(step, name, statistic as text)], arguments and states included."""
        if not self.activated:
            return []
        for exe in self.exes:
            for name, x in (*exe.arg_dict.items(), *exe.aux_dict.items()):
                if self.re_prog.match(name):
                    self.queue.append((self.step, name, self.stat_func(x)))
        self.activated = False
        queue = sorted(self.queue, key=lambda item: item[1]) if self.sort else self.queue
        found = []
        for step, name, stats in queue:
            parts = stats if isinstance(stats, (list, tuple)) else [stats]
            texts = [
                str(part.asscalar() if part.size == 1 else part.asnumpy())
                if isinstance(part, NDArray)
                else str(part)
                for part in parts
            ]
            found.append((step, name, "".join(text + "\t" for text in texts)))
        self.queue = []
        return found

    def toc_print(self) -> None:
        """End a batch, and log what `toc` gives."""
        for step, name, text in self.toc():
            _LOG.info("Batch: %7d %30s %s", step, name, text)
