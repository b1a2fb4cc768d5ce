"""Sums of arrays on GPUs, one GPU for each rank, by NCCL through CuPy.

MPI starts the ranks and carries the name by which they meet; after that the GPUs exchange what they
have themselves.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tapegrad.devices._registry import Device
    from tapegrad.devices._types import Array
    from tapegrad.devices.collectives._group import RankGroup

__all__ = ["NcclChannel"]

_ID_BYTES = 128  # of ncclUniqueId


class NcclChannel:
    """NCCL among the ranks of a group; `works` is False where a rank has no GPU of its own.

    All ranks make it at the same time.
    """

    def __init__(self, group: RankGroup, device: Device) -> None:
        self._nccl = _library()
        names = group.all_gather_bytes(f"{_host_name()} {device}".encode())
        able = group.all_gather(np.array([self._nccl is not None], np.uint8))
        # NCCL refuses two ranks on one GPU
        self.works = bool(able.all()) and len(set(names)) == group.size
        self._communicator: Any = None
        if self.works:
            made: Any = self._nccl
            own = _packed(made.get_unique_id()) if group.rank == 0 else None
            name = group.broadcast_bytes(own)
            self._communicator = made.NcclCommunicator(group.size, _unpacked(name), group.rank)

    def all_reduce(self, buffer: Array, op: str) -> None:
        """buffer = Σ over ranks of buffer, in place, on the buffer's current stream."""
        nccl: Any = self._nccl
        kinds = {
            "float16": nccl.NCCL_FLOAT16, "float32": nccl.NCCL_FLOAT32,
            "float64": nccl.NCCL_FLOAT64, "int32": nccl.NCCL_INT32, "int64": nccl.NCCL_INT64,
            "int8": nccl.NCCL_INT8, "uint8": nccl.NCCL_UINT8, "uint32": nccl.NCCL_UINT32,
            "uint64": nccl.NCCL_UINT64, "complex64": nccl.NCCL_FLOAT32,
            "complex128": nccl.NCCL_FLOAT64,
        }  # fmt: skip
        count = buffer.size * (2 if buffer.dtype.kind == "c" else 1)
        operation = {"sum": nccl.NCCL_SUM, "max": nccl.NCCL_MAX, "min": nccl.NCCL_MIN}[op]
        place = buffer.data.ptr
        stream = importlib.import_module("cupy").cuda.get_current_stream()
        self._communicator.allReduce(
            place, place, count, kinds[str(buffer.dtype)], operation, stream.ptr
        )
        stream.synchronize()


def _library() -> Any:
    """CuPy's NCCL, None where CuPy was built without it."""
    try:
        nccl = importlib.import_module("cupy.cuda.nccl")
    except ImportError:
        return None
    return nccl if getattr(nccl, "available", True) else None


def _host_name() -> str:
    return importlib.import_module("platform").node()


def _packed(name: tuple[int, ...]) -> bytes:
    return np.array(name, np.int8).tobytes()


def _unpacked(name: bytes) -> tuple[int, ...]:
    return tuple(np.frombuffer(name, np.int8, _ID_BYTES).tolist())
