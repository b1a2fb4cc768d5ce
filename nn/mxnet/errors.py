"""MXNetError, the error of MXNet's own engine, and the texts that several files raise."""

from __future__ import annotations

from tapegrad.devices import TapegradError

__all__ = ["MXNetError", "MXNetValueError"]


class MXNetError(TapegradError, RuntimeError):
    """MXNet's engine refuses a call: a shape, an attribute, an operator, a missing array."""


class MXNetValueError(MXNetError, ValueError):
    """An operator refuses the shapes or values of its inputs: a ValueError as of any layer."""
