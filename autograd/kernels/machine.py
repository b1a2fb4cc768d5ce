"""`compiled_kernels` turns texts of kernels into functions in memory, with numba's LLVM.

numba brings llvmlite, which compiles such a text in a few hundredths of a second, where numba takes
half a second for the same loop in Python.  So nothing is stored on disk, and no two processes can
disturb each other.  Without llvmlite there are no kernels (`is_available`).

A kernel lives as long as something holds it.  LLVM is used by one thread at a time, and a fork
waits until none uses it: else a child would wait for ever for a thread that it does not have.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.util import find_spec
from itertools import count
from typing import Any

__all__ = ["Kernel", "address_of_call_all", "call_all", "compiled_kernels", "is_available"]

# Calls one kernel after another: (address of a kernel, address of its table), …, 0.
ALL = """\
define void @kernel(ptr %list) {
entry:
  br label %head
head:
  %at = phi ptr [ %list, %entry ], [ %next, %body ]
  %function = load ptr, ptr %at
  %done = icmp eq ptr %function, null
  br i1 %done, label %end, label %body
body:
  %second = getelementptr ptr, ptr %at, i64 1
  %table = load ptr, ptr %second
  call void %function(ptr %table)
  %next = getelementptr ptr, ptr %at, i64 2
  br label %head
end:
  ret void
}
"""

LIBRARIES = 100  # of one session of LLVM, which keeps some kilobytes of each that it had


class Kernel:
    """The machine code of a text; nothing may run it once this object is gone.

    address: where the function lies; it takes the address of a table
    library: owns the code, and that of the kernels that were compiled with it
    """

    __slots__ = ("__weakref__", "address", "library")

    def __init__(self, address: int, library: _Library) -> None:
        self.address, self.library = address, library


class _Library:
    """The code of kernels that were compiled together; its end frees the code."""

    def __init__(self, tracker: Any, session: Any) -> None:
        weakref.finalize(self, _free, tracker, [session]).atexit = False


_kernels: weakref.WeakValueDictionary[str, Kernel] = weakref.WeakValueDictionary()
# Python may collect garbage, and so free libraries, in the middle of a compilation.
_using_llvm = threading.RLock()
_numbers = count()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_using_llvm.acquire,
        after_in_parent=_using_llvm.release,
        after_in_child=_using_llvm.release,
    )


@lru_cache(maxsize=1)
def is_available() -> bool:
    """True where llvmlite is installed and compiles for this machine."""
    if find_spec("llvmlite") is None:
        return False
    try:
        compiled_kernels(["define void @kernel(ptr %table) {\n  ret void\n}\n"])
    except Exception:  # noqa: BLE001  # an LLVM that knows no such pointers, or not this processor
        return False
    return True


def compiled_kernels(texts: Iterable[str]) -> dict[str, Kernel]:
    """The kernel of each text, which defines a function `kernel` of the address of a table.

    Equal texts share one.  Raises RuntimeError if LLVM refuses a text.
    """
    with _using_llvm:
        kernels = {text: _kernels.get(text) for text in texts}
        found = {text: kernel for text, kernel in kernels.items() if kernel is not None}
        missing = [text for text in kernels if text not in found]
        if missing:
            made = _compile(missing)
            _kernels.update(made)
            found.update(made)
        return found


def call_all(addresses: Any) -> None:
    """Call kernels without coming back to Python in between.

    addresses: the address of a list of the addresses of a kernel and its table, …, and a zero
    """
    function, _ = _all()
    function(addresses)


def address_of_call_all() -> int:
    """The kernel of `call_all`, which takes that list as its table."""
    _, kernel = _all()
    return kernel.address


@lru_cache(maxsize=1)
def _all() -> tuple[Callable[[Any], None], Kernel]:
    [kernel] = compiled_kernels([ALL]).values()
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(kernel.address), kernel


def _compile(texts: list[str]) -> dict[str, Kernel]:
    """Compile kernels into one library, for each takes whole pages of memory."""
    llvm, machine = _target()
    names = {text: f"kernel{number}" for number, text in enumerate(texts)}
    module = llvm.parse_assembly(_joined(names))
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    builder = llvm.JITLibraryBuilder().add_object_img(machine.emit_object(module))
    builder.add_current_process()  # which has the functions of C that a processor may lack
    for name in names.values():
        builder.export_symbol(name)
    number = next(_numbers)
    session = _session(number // LIBRARIES)
    tracker = builder.link(session, f"library{number}")
    library = _Library(tracker, session)
    return {text: Kernel(tracker[name], library) for text, name in names.items()}


def _joined(names: dict[str, str]) -> str:
    """One text of many, in which each function has the name given for its text."""
    declared: dict[str, None] = {}
    functions: list[str] = []
    for text, name in names.items():
        for line in text.replace("@kernel(", f"@{name}(").splitlines():
            if line.startswith("declare "):
                declared[line] = None  # LLVM takes no second declaration
            else:
                functions.append(line)
    return "\n".join([*declared, *functions, ""])


def _free(tracker: Any, session: list[Any]) -> None:
    """Free the code of a library, and then a session that has no other."""
    with _using_llvm:
        tracker.close()
        session.clear()


@lru_cache(maxsize=1)
def _session(_: int) -> Any:
    """The session of LLVM with a number; a new one takes the place of the last."""
    llvm, _ = _target()
    # LLVM's older linker may place code and constants too far apart for these processors
    is_arm = platform.machine().lower() in {"arm64", "aarch64"}
    return llvm.create_lljit_compiler(_new_machine(llvm), use_jit_link=is_arm)


@lru_cache(maxsize=1)
def _target() -> tuple[Any, Any]:
    """LLVM, and a machine for the processor that this is."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm, _new_machine(llvm)


def _new_machine(llvm: Any) -> Any:
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=2,
        jit=True,
    )
