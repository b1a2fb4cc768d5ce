"""mx.engine: MXNet's settings of its scheduler, which have nothing to schedule here.

Every call here has ended when it returns; a recorded step is one run of its operations already.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["bulk", "set_bulk_size"]

_size = 15  # MXNet's own


def set_bulk_size(size: int) -> int:
    """Note how many operations MXNet would run at once; returns the number of before."""
    global _size  # MXNet's setting is one for the process
    before, _size = _size, int(size)
    return before


@contextmanager
def bulk(size: int) -> Iterator[None]:
    """A block with another size."""
    before = set_bulk_size(size)
    try:
        yield
    finally:
        set_bulk_size(before)
