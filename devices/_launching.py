"""Generated kernels through CuPy, and CUDA graphs of what a step starts.

CuPy (14.2, as all versions since 10) refuses calls of cuBLAS while a stream is captured, although
cuBLAS could take part.  So a matrix product ends a graph, and the caller runs it by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tapegrad.devices._registry import CaptureError

if TYPE_CHECKING:
    from tapegrad.devices._types import Namespace

__all__ = ["OPTIONS", "CupyLauncher"]

# Products and sums round one by one, as NumPy's do.
OPTIONS = ("--std=c++14", "--fmad=false")

REFUSED = "the calls cannot be captured: {error}"


class CupyLauncher:
    """See `Launcher`.  Kernels run on CuPy's current device and stream."""

    def __init__(self, cupy: Namespace) -> None:
        self._cupy = cupy
        self._recording = threading.local()

    def is_capturing(self) -> bool:
        """Whether this thread records a graph."""
        return getattr(self._recording, "is_on", False)

    def compile(self, source: str, name: str) -> Callable[[int, int, tuple[Any, ...]], None]:
        """Compile a kernel; CuPy keeps the result on disk, and loads it once per device."""
        kernel = self._cupy.RawKernel(source, name, options=OPTIONS)

        def launch(blocks: int, threads: int, arguments: tuple[Any, ...]) -> None:
            kernel((blocks,), (threads,), arguments)

        return launch

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """Record a graph, whose intermediate memory is in a pool of its own.

        Other arrays may not get that memory, for each launch writes into it again.
        """
        cuda = self._cupy.cuda
        cuda.get_current_stream().synchronize()
        pool, stream = cuda.MemoryPool(), cuda.Stream(non_blocking=True)
        # Relaxed: the pool may ask the driver for memory, and kernels may be loaded.
        mode = cuda.runtime.streamCaptureModeRelaxed
        with cuda.using_allocator(pool.malloc), stream:
            stream.begin_capture(mode)
            self._recording.is_on = True
            try:
                run()
            except Exception as error:
                with suppress(Exception):  # a capture that has failed says so once more
                    stream.end_capture()
                raise CaptureError(REFUSED.format(error=error)) from error
            except BaseException:
                with suppress(Exception):
                    stream.end_capture()
                raise
            finally:
                self._recording.is_on = False
            try:
                graph = stream.end_capture()
            except Exception as error:
                raise CaptureError(REFUSED.format(error=error)) from error

        return _CapturedGraph(graph, pool).launch


class _CapturedGraph:
    """A graph and the pool of its memory, which lives as long."""

    def __init__(self, graph: Any, pool: Any) -> None:
        self._graph, self._pool = graph, pool

    def launch(self) -> None:
        """Do on the current stream what was recorded."""
        self._graph.launch()
