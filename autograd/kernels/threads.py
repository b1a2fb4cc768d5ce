"""`set_num_threads` says how many threads compute, and `run_pieces` runs work on them.

There is one pool of Python threads.  What runs on it releases Python's lock: NumPy, BLAS, kernels
of machine code.  Work comes in pieces whose number and limits do not depend on the number of
threads, and each piece writes to a place of its own; so results have equal bits for any number.
While pieces run, BLAS works with one thread; outside of them with as many as were set.  Products
of tapegrad's own come to BLAS in pieces, too, or by `blas_alone`: threads of BLAS that have worked
wait busily for some hundredths of a second, and would take the processors from those of the pool.

A piece that splits its own work again does so by itself, and so does a second user thread that
comes while the pool is busy.  A child of `fork` starts with no pool and makes its own.
"""

from __future__ import annotations

import atexit
import ctypes
import itertools
import math
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any, cast

import numpy as np

from tapegrad.autograd.kernels.turns import BUSY, WORK, Turns, can_wait_awake, leave_turn

__all__ = [
    "blas_alone",
    "get_num_threads",
    "keeps_up_with_blas",
    "run_pieces",
    "run_shares",
    "scratch_arrays",
    "set_num_threads",
    "set_threads_as_asked",
]

VARIABLE = "TAPEGRAD_NUM_THREADS"
AT_EXIT = 5.0  # seconds that the end of the process waits for a thread that computes
WORTH = 2**16  # numbers that are worth a second thread
KEPT_BYTES = 2**26  # scratch memory that each thread keeps between calls
KEPT_FORMS = 64  # sets of arrays in it that each thread remembers

Array = np.ndarray[Any, Any]

_local = threading.local()
_blas: list[Callable[[int], object]] = []  # set the number of threads of each BLAS, once one is set
SETTERS = [
    f"{prefix}openblas_set_num_threads{suffix}"
    for prefix in ("scipy_", "")
    for suffix in ("64_", "")
]


class _Settings:
    """How many threads compute, and the pool.

    is_set:  whether a number was asked for
    stays_awake: whether threads wait awake for each other, for about a millisecond
    busy:    the lock that the one call holds that uses the pool
    waiting: where its threads wait for work
    helpers: how many there are
    """

    def __init__(self) -> None:
        self.count = 1
        self.is_set = False
        self.stays_awake = False
        self.forget_threads()

    def forget_threads(self) -> None:
        """Begin with a pool that has no threads."""
        self.busy = threading.Lock()
        self.waiting: SimpleQueue[_Work] = SimpleQueue()
        self.turns = Turns()
        self.helpers = 0


_settings = _Settings()


def get_num_threads() -> int:
    """How many threads the compiled kernels run on: 1 unless it was set."""
    return _settings.count


def set_num_threads(n: int) -> None:
    """Run compiled kernels on n threads, and BLAS with n threads outside of them.

    The setting is one for the whole process.  `TAPEGRAD_NUM_THREADS` in the environment sets it
    when tapegrad is imported; without either, kernels run on one thread and BLAS as it was
    configured.  Kernels give the same bits for each n; BLAS may not.  BLAS is set through
    threadpoolctl (`pip install 'tapegrad[fast]'`); without it, only kernels are.
    Raises ValueError for an n below 1, TypeError for no whole number.
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(f"set_num_threads: n must be a whole number, found {n!r}")
    if n < 1:
        raise ValueError(f"set_num_threads: n must be at least 1, found {n}")
    _blas[:] = map(_setter, _blas_libraries())
    _settings.count, _settings.is_set = int(n), True
    _settings.stays_awake = n > 1 and can_wait_awake(int(n))
    _set_blas(_settings.count)


def set_threads_as_asked() -> None:
    """Set what the environment variable says.  Raises ValueError for no number of at least 1."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{VARIABLE} must be a whole number of at least 1, found {text!r}")
    set_num_threads(int(text))


def _blas_libraries() -> list[Any]:
    """What sets the number of threads of each BLAS that is loaded."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _setter(library: Any) -> Callable[[int], object]:
    """What sets the number of threads of a library; of OpenBLAS itself, in half of the time."""
    for name in SETTERS:
        if (function := getattr(library.dynlib, name, None)) is not None:
            function.argtypes, function.restype = [ctypes.c_int], None
            return cast("Callable[[int], object]", function)
    return cast("Callable[[int], object]", library.set_num_threads)


def keeps_up_with_blas() -> bool:
    """Whether kernels run on as many threads as BLAS does outside of them."""
    return _settings.is_set or _blas_has_one_thread()


@lru_cache(maxsize=1)
def _blas_has_one_thread() -> bool:
    libraries = _blas_libraries()
    if libraries:
        return all(library.num_threads == 1 for library in libraries)
    return os.cpu_count() == 1


def _set_blas(count: int) -> None:
    for set_threads in _blas:
        set_threads(count)


def blas_alone(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """function(*args, **options), for which BLAS shall take no second thread."""
    if _settings.count == 1 or getattr(_local, "inside", False):
        leave_turn()
        return function(*args, **options)
    try:
        _set_blas(1)
        return function(*args, **options)
    finally:
        _set_blas(_settings.count)


# The pool -----------------------------------------------------------------------------------------


class _Work:
    """One call of `run_pieces`: which piece comes next, how many are at work, what was raised.

    Helpers run in a copy of the caller's context, in which NumPy has what `np.errstate` says.
    """

    def __init__(self, function: Callable[[int], object], count: int, turns: Turns | None) -> None:
        self.function, self.count = function, count
        self.numbers = itertools.count()  # `next` on it is one step under Python's lock
        self.error: BaseException | None = None
        self._helpers, self._closed = 0, False
        self._changing, self._left = threading.Lock(), threading.Lock()
        self._turns, self._context = turns, copy_context()

    def run(self) -> None:
        """Run pieces until none is left, or one has failed."""
        while self.error is None and (number := next(self.numbers)) < self.count:
            try:
                self.function(number)
            except BaseException as error:  # noqa: BLE001  # raised again where the call was made
                self.error = error

    def help(self) -> None:
        """Run pieces on another thread, unless the work is closed."""
        with self._changing:
            if self._closed:
                return
            self._count_helpers(1)
        if self._turns is not None:
            self._turns.begin()
        self._context.copy().run(self.run)
        with self._changing:
            self._count_helpers(-1)
        with suppress(RuntimeError):  # nobody waits
            self._left.release()

    def _count_helpers(self, change: int) -> None:
        self._helpers += change
        if self._turns is not None:
            self._turns.numbers[BUSY] = self._helpers

    def close(self) -> None:
        """Let nobody begin any more, and wait until all have left.

        An exception of a signal may come at any line; the caller then calls it again.
        """
        with self._changing:
            self._closed = True
        while helpers := self._helpers:
            if self._turns is None or not self._turns.wait(BUSY, helpers):
                self._left.acquire(timeout=0.05)  # `_helpers` tells; a release may get lost


def _help_for_ever(waiting: SimpleQueue[_Work], turns: Turns) -> None:
    _local.inside = True
    while True:
        work: _Work | None = waiting.get()
        while work is not None:
            work.help()
            work = _next_work(waiting, turns)


def _next_work(waiting: SimpleQueue[_Work], turns: Turns) -> _Work | None:
    """What comes next, if it comes soon."""
    late = not _settings.stays_awake
    while True:
        number = int(turns.numbers[WORK])
        try:
            return waiting.get_nowait()
        except Empty:
            if late:
                return None
        late = not turns.wait(WORK, number)


def run_pieces(function: Callable[[int], object], count: int) -> None:
    """Run function(0), …, function(count - 1), on as many threads as were set, in any order.

    Returns when all are done.  What a piece raises is raised here, once no other is running; pieces
    that have not begun are left out.
    """
    threads = min(_settings.count, count)
    if threads < 2 or getattr(_local, "inside", False) or _settings.busy.locked():
        for number in range(count):
            function(number)
        return
    # No exception of a signal comes between `with` and its lock, as it may after `acquire`.
    with _settings.busy:  # where two threads come at once, one waits here
        turns = _settings.turns if _settings.stays_awake else None
        _run_on_threads(_Work(function, count, turns), threads - 1, turns)


def run_shares(
    function: Callable[[slice], object], length: int, entries: int, whole: int = 1
) -> None:
    """Run function(slice) for slices of `length`, one for each thread where that is worth it.

    entries: how many numbers are read or written in all
    whole:   what the length of a slice is a multiple of
    """
    threads = _settings.count if entries >= WORTH else 1
    step = max(1, -(-length // (threads * whole))) * whole
    parts = [slice(first, min(first + step, length)) for first in range(0, length, step)]
    run_pieces(lambda number: function(parts[number]), len(parts))


def _run_on_threads(work: _Work, helpers: int, turns: Turns | None) -> None:
    while _settings.helpers < helpers:
        threading.Thread(
            target=_help_for_ever,
            args=(_settings.waiting, _settings.turns),
            name="tapegrad worker",
            daemon=True,
        ).start()
        _settings.helpers += 1
    interrupt: BaseException | None = None
    try:
        _local.inside = True
        _set_blas(1)
        for _ in range(helpers):
            _settings.waiting.put(work)
        if turns is not None:
            turns.begin()
            turns.numbers[WORK] += 1
        work.run()
    except BaseException as error:  # noqa: BLE001  # KeyboardInterrupt between the lines
        interrupt = work.error = error
    while True:  # nobody may leave while another thread writes into the caller's memory
        try:
            work.close()
            _local.inside = False
            if turns is not None:
                turns.end()
            _set_blas(_settings.count)
            break
        except BaseException as error:  # noqa: BLE001  # what a handler of a signal raises
            interrupt = work.error = error
    if interrupt is not None:
        raise interrupt
    if work.error is not None:
        raise work.error


def _start_again() -> None:
    """Forget the threads that a child of `fork` does not have."""
    _settings.forget_threads()
    _local.inside = False


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_start_again)


@atexit.register
def _close_pool() -> None:
    """Wait until the pool is idle, and keep it so: Python is about to free its threads' memory."""
    _settings.busy.acquire(timeout=AT_EXIT)  # whoever computes later does so by itself


# Memory -------------------------------------------------------------------------------------------


def scratch_arrays(dtype: np.dtype[Any], *shapes: tuple[int, ...]) -> list[Array]:
    """Arrays to work in, which belong to this thread until it asks again.

    Each begins at a cache line, and has zeros of at least one more behind it.  New memory of some
    megabytes costs about as much as the work on it, since the system provides it page by page; so
    the thread keeps it.
    """
    known: dict[Any, list[Array]] = _local.__dict__.setdefault("arrays", {})
    key = (dtype, shapes)
    if (found := known.get(key)) is None:
        if len(known) >= KEPT_FORMS:
            known.clear()
        found = _parts(dtype, shapes)
        if found and found[0].nbytes <= KEPT_BYTES:
            known[key] = found
    return found


def _parts(dtype: np.dtype[Any], shapes: tuple[tuple[int, ...], ...]) -> list[Array]:
    sizes = [-(-math.prod(shape) * dtype.itemsize // 64) * 64 + 192 for shape in shapes]
    memory = _memory(sum(sizes))
    arrays, at = [], 0
    for shape, nbytes in zip(shapes, sizes, strict=True):
        room = memory[at : at + nbytes].view(dtype)
        room[math.prod(shape) :] = 0
        arrays.append(room[: math.prod(shape)].reshape(shape))
        at += nbytes
    return arrays


def _memory(nbytes: int) -> Array:
    """Bytes that begin at a cache line: those of the thread, if they are enough."""
    memory: Array | None = getattr(_local, "memory", None)
    if memory is not None and memory.nbytes >= nbytes:
        return memory[:nbytes]
    memory = np.empty(nbytes + 64, np.uint8)
    first = -memory.ctypes.data % 64
    memory = memory[first : first + nbytes]
    if nbytes <= KEPT_BYTES:
        _local.memory = memory
        _local.__dict__["arrays"].clear()  # views of the smaller memory
    return memory
