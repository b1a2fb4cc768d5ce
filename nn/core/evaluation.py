"""Evaluation mode for a time: what looks at a model's outputs leaves each part in its own mode."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tapegrad.autograd import no_grad

__all__ = ["evaluation_mode"]

# The parts that run in evaluation mode now: id -> [how many runs, its own mode].
_running: dict[int, list[int]] = {}
_running_lock = threading.Lock()


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Evaluation mode and no tape in a with statement; each part's own mode is back afterwards.

    Where several threads run one model, it is back when the last of them is done.
    """
    modules = getattr(model, "listModules", None)
    parts = modules() if callable(modules) else []
    with _running_lock:
        for part in parts:
            entry = _running.setdefault(id(part), [0, int(bool(part.train))])
            entry[0] += 1
            if entry[0] == 1 and entry[1]:
                part.train = False
    try:
        with no_grad():
            yield
    finally:
        with _running_lock:
            for part in parts:
                entry = _running[id(part)]
                entry[0] -= 1
                if not entry[0]:
                    del _running[id(part)]
                    if entry[1]:
                        part.train = True
