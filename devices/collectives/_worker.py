"""A thread that runs what it is given in order, beside what the rank computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

__all__ = ["Worker"]


class _Job:
    """Something that the thread runs, and how it ended."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run
        self.ended = threading.Event()
        self.error: BaseException | None = None

    def wait(self) -> None:
        self.ended.wait()
        if self.error is not None:
            error, self.error = self.error, None
            raise error


class Worker:
    """One thread with a queue; it begins with the first job and does not keep the program alive."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last: _Job | None = None

    def begin(self, run: Callable[[], None]) -> _Job:
        """Run this after what was given before; the result's wait() raises what `run` raised."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
            self._thread.start()
        job = self._last = _Job(run)
        self._jobs.put(job)
        return job

    def drain(self) -> None:
        """Return when everything that was given has ended."""
        if self._last is not None:
            self._last.ended.wait()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job.run()
            except BaseException as error:  # noqa: BLE001  # it is raised where somebody waits
                job.error = error
            job.ended.set()
