"""`machine_code` turns the text of a kernel into a function in memory, with numba's LLVM.

numba brings llvmlite, which compiles such a text in a few hundredths of a second, where numba takes
half a second for the same loop in Python.  So nothing is stored on disk, and no two processes can
disturb each other.  Without llvmlite there are no kernels (`is_available`).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

__all__ = ["kernel_address", "call_all", "is_available"]

Kernel = Callable[[Any], None]

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

_compiled: dict[str, Kernel] = {}
_compiling = threading.Lock()


@lru_cache(maxsize=1)
def is_available() -> bool:
    """True where llvmlite is installed and compiles for this machine."""
    if find_spec("llvmlite") is None:
        return False
    try:
        _compile("define void @kernel(ptr %table) {\n  ret void\n}\n")
    except Exception:  # noqa: BLE001  # an LLVM that knows no such pointers, or not this processor
        return False
    return True


def kernel_address(text: str) -> int:
    """Where the function `kernel` of a text lies; it takes the address of a table.

    Equal texts share one.  Raises RuntimeError if LLVM refuses the text.
    """
    return _machine_code(text).address  # type: ignore[attr-defined]  # set below


def call_all(addresses: Any) -> None:
    """Call kernels without coming back to Python in between.

    addresses: the address of a list of the addresses of a kernel and its table, …, and a zero
    """
    _all()(addresses)


@lru_cache(maxsize=1)
def _all() -> Kernel:
    return _machine_code(ALL)


def _machine_code(text: str) -> Kernel:
    with _compiling:
        kernel = _compiled.get(text)
        if kernel is None:
            kernel = _compiled[text] = _compile(text)
        return kernel


def _compile(text: str) -> Kernel:
    llvm, machine = _target()
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, _target.__wrapped__()[1])
    engine.finalize_object()
    address = engine.get_function_address("kernel")
    kernel: Any = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
    kernel.engine = engine  # which owns the code
    kernel.address = address
    return kernel


@lru_cache(maxsize=1)
def _target() -> tuple[Any, Any]:
    """LLVM, and a machine for the processor that this is."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=2,
        jit=True,
    )
    return llvm, machine
