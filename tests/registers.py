"""`registers_of`: kernels of machine code for processors with other registers than this one's."""

from __future__ import annotations

import pkgutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from tapegrad.autograd import kernels
from tapegrad.autograd.kernels import vector_code

# What compiles, and the allocator of arrays that are still there, belong to the whole process.
OF_THE_PROCESS = {"kept_memory", "machine", "turns"}
MODULES = [
    import_module(f"{kernels.__name__}.{found.name}")
    for found in pkgutil.iter_modules(kernels.__path__)
    if found.name not in OF_THE_PROCESS
]


def forget_kernels() -> None:
    """Forget all that kernels, plans and threads keep: it was made for the registers there were."""
    for module in MODULES:
        for value in list(vars(module).values()):
            if hasattr(value, "cache_clear"):
                value.cache_clear()
            elif isinstance(value, threading.local):
                vars(value).clear()


@contextmanager
def registers_of(size: int) -> Iterator[None]:
    """Let kernels be made for registers of so many bytes: 16, 32 or 64."""
    before = vector_code._vector_bytes
    forget_kernels()
    vector_code._vector_bytes = lambda: size
    try:
        yield
    finally:
        vector_code._vector_bytes = before
        forget_kernels()
