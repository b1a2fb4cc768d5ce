"""`keep_memory` keeps the memory of freed arrays for the next ones, instead of giving it back.

An array of a megabyte that comes from the system costs more time than a product of its entries:
the system clears its pages, and hands them out one by one as they are touched.  A training step
frees as many such arrays as it makes.  So blocks that were freed wait in a store; an array takes
one that has its size, or at most an eighth more.

NumPy calls the functions that `_handler` gives it, in machine code, wherever an array is made in a
context with that handler, and wherever such an array is freed.  Python's lock is held then, so the
store needs none.  What is small, and what the store lacks, is left to NumPy's own functions.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from functools import lru_cache, wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from tapegrad.autograd.kernels import machine

__all__ = [
    "LEAST",
    "give_back_kept_memory",
    "keep_memory",
    "keep_memory_as_asked",
    "keeping_memory",
]

P = ParamSpec("P")
T = TypeVar("T")

VARIABLE = "TAPEGRAD_KEEP_MEMORY"
MEGABYTES = 256  # of freed memory, unless another number is asked for
LEAST = 2**18  # bytes of an array that the store is asked for
BLOCKS = 128  # in the store, at most
NAME = b"mem_handler"  # of the capsules that NumPy takes
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # settings of glibc's mallopt
PAGES, MOST_FROM_HEAP = 2**17, 2**25  # what glibc begins with, and the most that it takes
SET_HANDLER, GET_HANDLER = 304, 305  # in the table of NumPy's functions, which never changes


class _Functions(ctypes.Structure):
    """What NumPy calls; `context` is the first argument of each."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("context", "new", "zeros", "resize", "free")]


class _Handler(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("own", _Functions)]


class _Store(ctypes.Structure):
    """The blocks that wait, the oldest first, and how many bytes they have together."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("count", "held", "limit", "least")),
        ("blocks", ctypes.c_int64 * 2 * BLOCKS),  # address and bytes of each
    ]


# Each function knows NumPy's own, {own.…}, by address.  A block is taken from the newest on.
TAKE = """\
  %least_at = getelementptr i64, ptr %store, i64 3
  %least = load i64, ptr %least_at
  %is_small = icmp ult i64 %size, %least
  br i1 %is_small, label %other, label %search
search:
  %blocks = getelementptr i64, ptr %store, i64 4
  %count = load i64, ptr %store
  %last = sub i64 %count, 1
  %eighth = lshr i64 %size, 3
  %most = add i64 %size, %eighth
  br label %head
head:
  %i = phi i64 [ %last, %search ], [ %before, %step ]
  %is_end = icmp slt i64 %i, 0
  br i1 %is_end, label %other, label %look
look:
  %slot = getelementptr {{ i64, i64 }}, ptr %blocks, i64 %i
  %bytes_at = getelementptr i64, ptr %slot, i64 1
  %bytes = load i64, ptr %bytes_at
  %is_enough = icmp uge i64 %bytes, %size
  %is_close = icmp ule i64 %bytes, %most
  %fits = and i1 %is_enough, %is_close
  br i1 %fits, label %found, label %step
step:
  %before = sub i64 %i, 1
  br label %head
found:
  %block = load ptr, ptr %slot
  %from = getelementptr {{ i64, i64 }}, ptr %slot, i64 1
  %behind = sub i64 %last, %i
  %length = mul i64 %behind, 16
  call void @llvm.memmove.p0.p0.i64(ptr %slot, ptr %from, i64 %length, i1 false)
  store i64 %last, ptr %store
  %held_at = getelementptr i64, ptr %store, i64 1
  %held = load i64, ptr %held_at
  %left = sub i64 %held, %bytes
  store i64 %left, ptr %held_at
"""
NEW = f"""\
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
define ptr @kernel(ptr %store, i64 %size) {{{{
entry:
{TAKE}  ret ptr %block
other:
  %own = inttoptr i64 {{own.new}} to ptr
  %fresh = call ptr %own(ptr {{context}}, i64 %size)
  ret ptr %fresh
}}}}
"""
ZEROS = f"""\
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
define ptr @kernel(ptr %store, i64 %entries, i64 %entry_size) {{{{
entry:
  %size = mul i64 %entries, %entry_size
{TAKE}  call void @llvm.memset.p0.i64(ptr %block, i8 0, i64 %size, i1 false)
  ret ptr %block
other:
  %own = inttoptr i64 {{own.zeros}} to ptr
  %fresh = call ptr %own(ptr {{context}}, i64 %entries, i64 %entry_size)
  ret ptr %fresh
}}}}
"""
RESIZE = """\
define ptr @kernel(ptr %store, ptr %block, i64 %size) {{
  %own = inttoptr i64 {own.resize} to ptr
  %fresh = call ptr %own(ptr {context}, ptr %block, i64 %size)
  ret ptr %fresh
}}
"""
# How many bytes a block has is what the C library says: the array may have been resized.
FREE = f"""\
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @{{usable}}(ptr)
define void @kernel(ptr %store, ptr %block, i64 %size) {{{{
entry:
  %own = inttoptr i64 {{own.free}} to ptr
  %least_at = getelementptr i64, ptr %store, i64 3
  %least = load i64, ptr %least_at
  %is_small = icmp ult i64 %size, %least
  br i1 %is_small, label %other, label %measure
measure:
  %bytes = call i64 @{{usable}}(ptr %block)
  %limit_at = getelementptr i64, ptr %store, i64 2
  %limit = load i64, ptr %limit_at
  %is_over = icmp ugt i64 %bytes, %limit
  br i1 %is_over, label %other, label %room
room:
  %blocks = getelementptr i64, ptr %store, i64 4
  %held_at = getelementptr i64, ptr %store, i64 1
  br label %head
head:
  %count = load i64, ptr %store
  %held = load i64, ptr %held_at
  %after = add i64 %held, %bytes
  %is_much = icmp ugt i64 %after, %limit
  %is_full = icmp eq i64 %count, {BLOCKS}
  %is_oldest_out = or i1 %is_much, %is_full
  br i1 %is_oldest_out, label %evict, label %keep
evict:
  %oldest = load ptr, ptr %blocks
  %old_at = getelementptr i64, ptr %blocks, i64 1
  %old_bytes = load i64, ptr %old_at
  %second = getelementptr i64, ptr %blocks, i64 2
  %left = sub i64 %count, 1
  %length = mul i64 %left, 16
  call void @llvm.memmove.p0.p0.i64(ptr %blocks, ptr %second, i64 %length, i1 false)
  store i64 %left, ptr %store
  %rest = sub i64 %held, %old_bytes
  store i64 %rest, ptr %held_at
  call void %own(ptr {{context}}, ptr %oldest, i64 %old_bytes)
  br label %head
keep:
  %slot = getelementptr {{{{ i64, i64 }}}}, ptr %blocks, i64 %count
  store ptr %block, ptr %slot
  %bytes_at = getelementptr i64, ptr %slot, i64 1
  store i64 %bytes, ptr %bytes_at
  %more = add i64 %count, 1
  store i64 %more, ptr %store
  store i64 %after, ptr %held_at
  ret void
other:
  call void %own(ptr {{context}}, ptr %block, i64 %size)
  ret void
}}}}
"""


_switch: list[_Access | None] = []  # empty until it is known whether memory can be kept


class _Access(NamedTuple):
    """The store, and how NumPy is told of it.

    handler: where NumPy finds the handler of a context
    own:     NumPy's handler, `ours` the one with the store
    drop:    frees a block
    """

    handler: ContextVar[Any]
    own: Any
    ours: Any
    store: _Store
    drop: Callable[[int], None]


def keep_memory(megabytes: float = MEGABYTES) -> None:
    """Keep the memory of freed arrays for the next ones, up to so many megabytes.

    megabytes: of 10⁶ bytes; 0 gives back what is kept, and keeps no more

    It counts for arrays of at least 256 kB that are made in this thread from now on, by whatever
    code.  Without this call the same is done within what is tapegrad's own: a reverse sweep, a
    transform such as `grad`, a compiled step, a Trainer's run.  `TAPEGRAD_KEEP_MEMORY=256` in the
    environment calls it when tapegrad is imported.  Memory that is kept counts as the process's;
    the oldest is given back first.

    Without the extra `fast` only this call keeps memory: it tells glibc to give back less, of all
    that the process frees.  On Windows and macOS it then does nothing.

    Raises TypeError for what is no real number, ValueError for a number below 0.

    >>> import tapegrad as tg
    >>> tg.keep_memory(512)  # at most half a gigabyte
    >>> tg.keep_memory(0)  # as NumPy does it
    """
    if isinstance(megabytes, bool) or not isinstance(megabytes, (int, float, np.number)):
        raise TypeError(f"keep_memory: megabytes must be a number, found {megabytes!r}")
    if not 0 <= megabytes <= 1e12:
        raise ValueError(f"keep_memory: megabytes must be at least 0, found {megabytes}")
    access = _access()
    if access is None:
        _ask_the_c_library(int(megabytes * 1e6))
        return
    access.store.limit = int(megabytes * 1e6)
    _give_back(access, access.store.limit)
    if access.store.limit == 0:
        if access.handler.get() is access.ours:
            access.handler.set(access.own)
    elif access.handler.get() is access.own:  # and not a handler of somebody else
        access.handler.set(access.ours)
    _switch[:] = [access if access.store.limit else None]


def keep_memory_as_asked() -> None:
    """Keep what the environment variable says.  Raises ValueError for no number of at least 0."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return
    try:
        keep_memory(float(text))
    except ValueError:
        raise ValueError(f"{VARIABLE} must be a number of at least 0, found {text!r}") from None


def keeping_memory(function: Callable[P, T]) -> Callable[P, T]:
    """The function with memory kept while it runs, unless `keep_memory(0)` was called.

    Memory is not kept before LLVM is loaded, by a first kernel: small programs need neither.
    """

    @wraps(function)
    def run(*args: P.args, **options: P.kwargs) -> T:
        if not _switch:
            if "llvmlite" not in sys.modules:
                return function(*args, **options)
            _switch.append(_access())
        access = _switch[0]
        if access is None:
            return function(*args, **options)
        handler = access.handler
        if handler.get() is not access.own:  # ours already, or of somebody else
            return function(*args, **options)
        token = handler.set(access.ours)
        try:
            return function(*args, **options)
        finally:
            handler.reset(token)

    return run


def _ask_the_c_library(size: int) -> None:
    """Let glibc keep so many bytes that were freed, and take blocks of up to 32 MB from them."""
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(TRIM_THRESHOLD, min(max(size, PAGES), 2**31 - 1))
    library.mallopt(MMAP_THRESHOLD, min(max(size, PAGES), MOST_FROM_HEAP))
    if not size:
        library.malloc_trim(0)


def give_back_kept_memory() -> None:
    """Free all blocks that wait, where arrays of other sizes are to come."""
    access = _access()
    if access is not None:
        _give_back(access, 0)


def _give_back(access: _Access, limit: int) -> None:
    """Free the oldest blocks until what is left is within the limit."""
    store = access.store
    while store.held > limit:
        address, size = store.blocks[0]
        store.blocks[: store.count - 1] = store.blocks[1 : store.count]
        store.count, store.held = store.count - 1, store.held - size
        access.drop(address)


@lru_cache(maxsize=1)
def _access() -> _Access | None:
    """None where machine code, the C library's sizes of blocks or Python's lock are missing."""
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    if os.name != "posix" or not has_lock or not machine.is_available():
        return None
    table = _numpy_functions()
    if table is None:
        return None
    python_object = ctypes.py_object
    own = ctypes.PYFUNCTYPE(python_object)(table[GET_HANDLER])()
    set_handler = ctypes.PYFUNCTYPE(python_object, python_object)(table[SET_HANDLER])
    handler_variable = _variable(set_handler, own)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [python_object, ctypes.c_char_p]
    handler = _Handler.from_address(pointer(own, NAME))
    if handler_variable is None or handler.name != b"default_allocator" or handler.version != 1:
        return None
    made = _made(handler.own)
    if made is None:
        return None
    ours, store = made
    new_capsule = ctypes.pythonapi.PyCapsule_New
    new_capsule.restype = python_object
    new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    capsule = new_capsule(ctypes.addressof(ours), NAME, None)
    free = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
        handler.own.free
    )
    context = handler.own.context
    return _Access(
        handler_variable, own, capsule, store, lambda address: free(context, address, LEAST)
    )


def _variable(set_handler: Callable[[Any], Any], own: Any) -> ContextVar[Any] | None:
    """The variable in which NumPy has the handler of a context; it is named in no module."""

    def found() -> ContextVar[Any] | None:
        set_handler(own)  # what has been set in a context is seen there
        for variable, value in copy_context().items():
            if value is own:
                return variable
        return None

    return copy_context().run(found)


def _numpy_functions() -> Any:
    """The table of the functions that NumPy has for C, or None where it is not found."""
    module = sys.modules.get("numpy._core._multiarray_umath")
    capsule = vars(module).get("_ARRAY_API") if module else None
    if capsule is None:
        return None
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.cast(pointer(capsule, None), ctypes.POINTER(ctypes.c_void_p))


def _made(own: _Functions) -> tuple[_Handler, _Store] | None:
    """A handler with an empty store, beside NumPy's own functions."""
    usable = "malloc_size" if sys.platform == "darwin" else "malloc_usable_size"
    if not hasattr(ctypes.CDLL(None), usable):
        return None
    context = f"inttoptr (i64 {own.context or 0} to ptr)"
    texts = [t.format(own=own, context=context, usable=usable) for t in (NEW, ZEROS, RESIZE, FREE)]
    kernels = machine.compiled_kernels(texts)
    store = _Store(0, 0, int(MEGABYTES * 1e6), LEAST)
    handler = _Handler(
        b"tapegrad_store",
        1,
        _Functions(ctypes.addressof(store), *(kernels[text].address for text in texts)),
    )
    # An array may be freed after this module is gone, when Python ends: all this stays for ever.
    for lasting in (store, handler, *kernels.values()):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(lasting))
    return handler, store
