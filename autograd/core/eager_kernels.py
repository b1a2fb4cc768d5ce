"""Where primitives ask for a kernel that runs several steps of their body in one loop.

Kernels are made in a room above the primitives (`compiling/eager.py`), which most programs never
import.  The front door hands over how to import it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import Primitive
    from tapegrad.devices import Array

__all__ = ["kernel_runner", "set_kernel_importer"]

# (primitive, operands, settings, out) -> the result, or None where no kernel fits
Runner = Callable[["Primitive", tuple[Any, ...], dict[str, Any], "Array | None"], "Array | None"]

_importers: list[Callable[[], Runner]] = []
_runners: list[Runner] = []


def set_kernel_importer(importer: Callable[[], Runner]) -> None:
    """Call `importer`, which returns what runs kernels, when one is first asked for."""
    _importers[:] = [importer]
    _runners.clear()


def kernel_runner() -> Runner:
    """What runs a primitive's body as a kernel."""
    if not _runners:
        _runners.append(_importers[0]())
    return _runners[0]
