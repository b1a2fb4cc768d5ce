"""Registers the backends that come with tapegrad.

NumPy is loaded at once.  CuPy and the strict stand-in are loaded when one of their devices is named
or one of their arrays is met.
"""

from __future__ import annotations

from tapegrad.devices import _cpu
from tapegrad.devices._registry import Backend, backend_named, register_backend

__all__: list[str] = []


def _cuda() -> Backend:
    from tapegrad.devices._cuda import load

    return load()


def _strict() -> Backend:
    from tapegrad.devices.strict import load

    return load()


register_backend("cpu", _cpu.load, module="numpy")
register_backend("cuda", _cuda, module="cupy")
register_backend("strict", _strict, module="tapegrad.devices.strict", listed=False)

backend_named("cpu")
