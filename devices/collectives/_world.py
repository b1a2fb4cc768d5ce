"""Which group this process belongs to: the environment says it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tapegrad.devices.collectives._group import RankGroup, SingleProcess
from tapegrad.devices.collectives._mpi import MPIGroup

__all__ = ["current", "restarts", "use", "world"]

# What starters of MPI programs tell their processes of the number of ranks.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "PMIX_SIZE")
_CHOICES = {"single": SingleProcess, "mpi": MPIGroup}
UNKNOWN = "TAPEGRAD_COLLECTIVES is one of {choices}, not {found!r}"

_world: list[RankGroup | None] = [None]
_lock = threading.Lock()
_chosen: ContextVar[RankGroup | None] = ContextVar("tapegrad_group", default=None)


def world() -> RankGroup:
    """Return the group of all processes that were started together, always the same object.

    Under mpiexec it is that of MPI, else one process.  The variable TAPEGRAD_COLLECTIVES, "single"
    or "mpi", says otherwise.  Raises CollectiveError where MPI is needed and missing, ValueError
    for another value of the variable.
    """
    group = _world[0]
    if group is None:
        with _lock:
            group = _world[0]
            if group is None:
                group = _world[0] = _made()
    return group


def _made() -> RankGroup:
    asked = os.environ.get("TAPEGRAD_COLLECTIVES", "")
    if asked:
        if asked not in _CHOICES:
            raise ValueError(UNKNOWN.format(choices=", ".join(_CHOICES), found=asked))
        return _CHOICES[asked]()
    return MPIGroup() if any(_number(name) > 1 for name in _SIZES) else SingleProcess()


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 0


def current() -> RankGroup:
    """Return the group that `use` chose here, else `world()`."""
    return _chosen.get() or world()


@contextmanager
def use(group: RankGroup) -> Iterator[RankGroup]:
    """A context in which `group` is the current one, for this thread."""
    token = _chosen.set(group)
    try:
        yield group
    finally:
        _chosen.reset(token)


def restarts() -> int:
    """Return how often `tapegrad run --restarts` has started this program again, 0 at first."""
    return _number("TAPEGRAD_RESTART")
