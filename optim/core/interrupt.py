"""Updates that Ctrl-C does not cut in two."""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["defer_interrupt"]

# The functions in C behind those of `signal`, which look up each handler among the members of an
# enum: that takes longer than the update of a small layer.
_in_c: Any = importlib.import_module("_signal")


@contextmanager
def defer_interrupt() -> Iterator[None]:
    """Keep Ctrl-C waiting until the block is left, so that an update is made whole or not at all.

    In other threads than the main one, which Ctrl-C does not reach, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[Any] = []
    before = _in_c.getsignal(signal.SIGINT)
    if before is None:
        yield
        return
    _in_c.signal(signal.SIGINT, lambda *arguments: caught.append(arguments))
    try:
        yield
    finally:
        _in_c.signal(signal.SIGINT, before)
        if caught and callable(before):
            before(*caught[0])
