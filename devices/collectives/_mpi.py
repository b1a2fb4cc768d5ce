"""Ranks as processes that `mpiexec` starts, with mpi4py.

Arrays of the CPU go through MPI as they are.  Those of a GPU go through NCCL where each rank has a
GPU of its own, and through the CPU's memory elsewhere.
"""

from __future__ import annotations

import atexit
import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.devices._registry import device_of
from tapegrad.devices._transfer import to_device, to_numpy
from tapegrad.devices.collectives._failure import end_all_on_error
from tapegrad.devices.collectives._farewell import Waiting, watch_for_farewells
from tapegrad.devices.collectives._group import CollectiveError, RankGroup, Request, Window
from tapegrad.devices.collectives._nccl import NcclChannel
from tapegrad.devices.collectives._worker import Worker

if TYPE_CHECKING:
    from tapegrad.devices._types import Array

__all__ = ["MPIGroup"]

NO_MPI = (
    "this process is one of several that mpiexec started, and mpi4py is missing: "
    "pip install 'tapegrad[mpi]'"
)
NO_LIBRARY = "mpi4py cannot load an MPI library ({error}): pip install 'tapegrad[mpi]'"
_PIECE = 1 << 26  # entries of one call: MPI counts in 32 bits


class MPIGroup(RankGroup):
    """The ranks of MPI's world.  Raises CollectiveError where mpi4py or its library is missing."""

    name = "mpi"

    def __init__(self) -> None:
        try:
            self._mpi = importlib.import_module("mpi4py.MPI")
        except ModuleNotFoundError as error:
            raise CollectiveError(NO_MPI) from error
        except (ImportError, RuntimeError) as error:
            raise CollectiveError(NO_LIBRARY.format(error=error)) from error
        # A communicator of our own: messages of the user's program are others.
        self._comm = self._mpi.COMM_WORLD.Dup()
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        self._operations = {
            "sum": self._mpi.SUM, "max": self._mpi.MAX, "min": self._mpi.MIN,
        }  # fmt: skip
        # Sums run in a thread of their own where the library lets several threads call it.
        self._beside = self._mpi.Query_thread() >= self._mpi.THREAD_MULTIPLE
        self._worker = Worker("tapegrad collectives")
        self._channel: NcclChannel | None = None
        self._waiting = Waiting()
        self._windows: list[_MPIWindow] = []
        atexit.register(self._free_windows)  # runs after the farewells, which are registered later
        if self.size > 1:
            end_all_on_error(self)
            if self._beside:
                watch_for_farewells(self, self._mpi.COMM_WORLD.Dup(), self._waiting)

    @property
    def communicator(self) -> Any:
        """mpi4py's communicator of this group, a duplicate of COMM_WORLD."""
        return self._comm

    def abort(self, code: int = 1) -> None:
        """End all ranks at once, with this exit code."""
        self._mpi.COMM_WORLD.Abort(code)

    def _all_reduce(self, buffer: Array, op: str, ordered: bool) -> None:
        self._worker.drain()  # one order of calls on every rank; no other thread is needed then
        self._all_reduce_now(buffer, op, ordered)

    def _begin_all_reduce(self, buffer: Array, op: str, ordered: bool) -> Request:
        job = self._worker.begin(partial(self._all_reduce_now, buffer, op, ordered))
        if not self._beside:
            job.wait()
        return job

    def _all_reduce_now(self, buffer: Array, op: str, ordered: bool) -> None:
        if not isinstance(buffer, np.ndarray):
            channel = self._nccl(buffer)
            if channel is not None and not ordered:
                channel.all_reduce(buffer, op)
                return
            host = to_numpy(buffer)
            self._all_reduce_now(host, op, ordered)
            buffer[...] = to_device(host, device_of(buffer))
            return
        with self._waiting.inside("all_reduce"):
            for piece in _pieces(buffer.reshape(-1)):
                self._reduce_piece(piece, op, ordered)

    def _reduce_piece(self, piece: Any, op: str, ordered: bool) -> None:
        if ordered:
            self._sum_by_tree(piece, op)
        elif piece.dtype == np.float16:  # a type that MPI does not have
            wide = piece.astype(np.float32)
            self._comm.Allreduce(self._mpi.IN_PLACE, wide, self._operations[op])
            piece[...] = wide
        else:
            self._comm.Allreduce(self._mpi.IN_PLACE, piece, self._operations[op])

    def _sum_by_tree(self, piece: Any, op: str) -> None:
        """Exchange with the neighbour, then with the neighbouring pair, …; addition commutes."""
        combine: Any = {"sum": np.add, "max": np.maximum, "min": np.minimum}[op]
        other = np.empty_like(piece)
        step = 1
        while step < self.size:
            partner = self.rank ^ step
            self._comm.Sendrecv(_bytes(piece), partner, 0, _bytes(other), partner, 0)
            combine(piece, other, out=piece)
            step *= 2

    def _nccl(self, buffer: Array) -> NcclChannel | None:
        if self._channel is None:
            self._channel = NcclChannel(self, device_of(buffer))
        return self._channel if self._channel.works else None

    def _broadcast(self, buffer: Array, root: int) -> None:
        host = self._host(buffer)
        with self._waiting.inside("broadcast"):
            for piece in _pieces(_bytes(host)):
                self._comm.Bcast(piece, root)
        if not isinstance(buffer, np.ndarray):
            buffer[...] = to_device(host, device_of(buffer))

    def _all_gather(self, buffer: Array) -> Array:
        host = self._host(buffer)
        result = np.empty((self.size, *buffer.shape), host.dtype)
        parts = _bytes(result).reshape(self.size, -1)
        start = 0
        for piece in _pieces(_bytes(host)):
            received = np.empty((self.size, piece.size), np.uint8)
            with self._waiting.inside("all_gather"):
                self._comm.Allgather(piece, received)
            parts[:, start : start + piece.size] = received
            start += piece.size
        return result if isinstance(buffer, np.ndarray) else to_device(result, device_of(buffer))

    def _reduce_scatter(self, buffer: Array) -> Array:
        host = self._host(buffer)
        dtype = host.dtype
        if dtype == np.float16:
            host = host.astype(np.float32)
        parts = host.reshape(self.size, -1)
        result = np.empty(parts.shape[1], host.dtype)
        start = 0
        for received in _pieces(result):
            stop = start + received.size
            sent = np.ascontiguousarray(parts[:, start:stop])
            with self._waiting.inside("reduce_scatter"):
                self._comm.Reduce_scatter_block(sent, received, self._mpi.SUM)
            start = stop
        result = result.astype(dtype, copy=False)
        return result if isinstance(buffer, np.ndarray) else to_device(result, device_of(buffer))

    def _barrier(self) -> None:
        self._worker.drain()
        with self._waiting.inside("barrier"):
            self._comm.Barrier()

    def _window(self, content: Array, root: int) -> Window:
        self._worker.drain()
        window = _MPIWindow(self._mpi, self._comm, content, root)
        self._windows.append(window)
        return window

    def _free_windows(self) -> None:
        """Close the windows, which all ranks do together."""
        for window in self._windows:
            window.free()
        self._windows.clear()

    def _host(self, buffer: Array) -> Any:
        """The buffer itself, or its entries in the CPU's memory, when begun sums have ended."""
        self._worker.drain()  # one order of calls on every rank
        return buffer if isinstance(buffer, np.ndarray) else to_numpy(buffer)


class _MPIWindow:
    """Memory of one rank, which the others lock, read and write without its help."""

    def __init__(self, mpi: Any, communicator: Any, content: Any, root: int) -> None:
        own = content.size if communicator.Get_rank() == root else 0
        self._mpi, self._root, self._size = mpi, root, content.size
        self._memory = mpi.Win.Allocate(own, 1, comm=communicator)
        if own:
            self._memory.Lock(root, mpi.LOCK_EXCLUSIVE)
            np.frombuffer(self._memory, np.uint8)[...] = content
            self._memory.Unlock(root)
        communicator.Barrier()

    def read(self) -> Any:
        result = np.empty(self._size, np.uint8)
        self._memory.Lock(self._root, self._mpi.LOCK_SHARED)
        try:
            self._memory.Get(result, self._root)
        finally:
            self._memory.Unlock(self._root)
        return result

    def free(self) -> None:
        self._memory.Free()

    def update(self, change: Callable[[Array], None]) -> None:
        content = np.empty(self._size, np.uint8)
        self._memory.Lock(self._root, self._mpi.LOCK_EXCLUSIVE)
        try:
            self._memory.Get(content, self._root)
            self._memory.Flush(self._root)
            change(content)
            self._memory.Put(content, self._root)
        finally:
            self._memory.Unlock(self._root)


def _bytes(array: Any) -> Any:
    return array.reshape(-1).view(np.uint8)


def _pieces(flat: Any) -> Iterator[Any]:
    """Parts of a flat array, of lengths that MPI can count."""
    for start in range(0, flat.size, _PIECE):
        yield flat[start : start + _PIECE]
