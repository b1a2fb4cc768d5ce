"""Back ends: where partitions of samples become partitions of results.

Everything that runs over data is one function from a partition of samples to a partition of
results.  A back end says which data is its own, and runs such a function on all partitions: here in
this process, or in several processes or threads by joblib.  Others (Spark, Dask) enter themselves
with `register_backend`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tapegrad.nn.data.sources import Source, as_source

if TYPE_CHECKING:
    from tapegrad.nn.data.minibatch import PaddingParam

__all__ = ["DataBackend", "Job", "backends", "find_backend", "register_backend"]

NO_BACKEND = "there is no back end {name!r}: there are {known}; others call register_backend"
TAKEN = "register_backend: {name!r} is there already"
NO_JOBLIB = (
    "backend={name!r} runs through joblib, which is not installed: pip install "
    "'tapegrad[partitioned]'"
)

# From the samples of a partition to its results.
PartitionFunction: TypeAlias = Callable[[Any], Iterable[Any]]


@dataclass(frozen=True)
class Job:
    """How a function runs over data.

    function:   from a partition to its results
    place:      who asks, for errors;  with_targets: whether samples must have labels
    batch_size: partitions are cut at its multiples, so that they hold the same batches however many
                there are
    partitions: how many there are at most; one for each worker where it is None
    workers:    processes or threads; one for each processor where it is None
    """

    function: PartitionFunction
    place: str
    with_targets: bool
    batch_size: int
    partitions: int | None = None
    workers: int | None = None
    padding: PaddingParam | None = None


class DataBackend(Protocol):
    """One way of running a function on all partitions of some data."""

    def accepts(self, data: Any) -> bool:
        """Whether such data belongs to this back end, as an RDD does to Spark."""
        ...

    def map(self, job: Job, data: Any) -> Any:
        """The results of all partitions in order, as an iterator or in the back end's own form."""
        ...

    def reduce(self, job: Job, data: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """The results of all partitions, combined two by two; None where there are none."""
        ...


_backends: dict[str, DataBackend] = {}


def register_backend(name: str, backend: DataBackend) -> None:
    """Let `predict` and `evaluate` run on `backend`, by name or where it accepts the data.

    Raises ValueError for a name that is taken.
    """
    if name in _backends:
        raise ValueError(TAKEN.format(name=name))
    _backends[name] = backend


def backends() -> list[str]:
    """The names of all back ends."""
    return list(_backends)


def find_backend(name: str | None, data: Any) -> DataBackend:
    """The back end of a name; without one, the first that accepts the data, else the local one.

    Raises ValueError for a name that is not there.
    """
    if name is not None:
        if name not in _backends:
            raise ValueError(NO_BACKEND.format(name=name, known=", ".join(_backends)))
        return _backends[name]
    return next((b for b in _backends.values() if b.accepts(data)), _backends["local"])


class Local:
    """One partition after the other, in this process and thread."""

    def accepts(self, data: Any) -> bool:
        """No data is its own; it takes what nobody else does."""
        return False

    def map(self, job: Job, data: Any) -> Iterator[Any]:
        """The results, computed when they are asked for."""
        return chain.from_iterable(job.function(piece) for piece in self._pieces(job, data))

    def reduce(self, job: Job, data: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """The results combined from left to right."""
        found = iter(self.map(job, data))
        first = next(found, None)
        return first if first is None else reduce(combine, found, first)

    def _pieces(self, job: Job, data: Any) -> Iterator[Source]:
        source = as_source(data, job.place, with_targets=job.with_targets, padding=job.padding)
        if (job.partitions or 1) == 1:
            return iter([source])
        return source.pieces(job.partitions or 1, job.batch_size)


class Joblib(Local):
    """Partitions in several processes or threads, by joblib; results come in order.

    kind: "processes" or "threads".  A partition that is asked for waits for those before it, and at
    most two for each worker are computed ahead.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def map(self, job: Job, data: Any) -> Iterator[Any]:
        """The results in order.  Raises ImportError where joblib is not installed."""
        try:
            import joblib
        except ImportError as error:
            raise ImportError(NO_JOBLIB.format(name=self.kind)) from error
        workers = job.workers or joblib.cpu_count()
        source = as_source(data, job.place, with_targets=job.with_targets, padding=job.padding)
        pieces = source.pieces(job.partitions or 4 * workers, job.batch_size)
        parallel = joblib.Parallel(
            n_jobs=workers,
            backend="threading" if self.kind == "threads" else "loky",
            return_as="generator",
        )
        made = parallel(joblib.delayed(_results)(job.function, piece) for piece in pieces)
        return chain.from_iterable(made)


def _results(function: PartitionFunction, piece: Any) -> list[Any]:
    return list(function(piece))


register_backend("local", Local())
register_backend("threads", Joblib("threads"))
register_backend("processes", Joblib("processes"))
