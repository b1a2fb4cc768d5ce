"""mx.util: the small helpers that scripts call."""

from __future__ import annotations

import os
from pathlib import Path

from tapegrad.nn.mxnet.context import num_gpus

__all__ = ["get_gpu_count", "getenv", "is_np_array", "is_np_shape", "makedirs", "setenv"]


def makedirs(d: str | Path) -> None:
    """Make a folder and those above it, if they are not there."""
    Path(d).expanduser().mkdir(parents=True, exist_ok=True)


def get_gpu_count() -> int:
    """The number of GPUs."""
    return num_gpus()


def getenv(name: str) -> str | None:
    """A variable of the environment, or None."""
    return os.environ.get(name)


def setenv(name: str, value: str | None) -> None:
    """Set a variable of the environment; None deletes it."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def is_np_shape() -> bool:
    """Whether arrays may be without axes: never, as in MXNet by default."""
    return False


def is_np_array() -> bool:
    """Whether arrays are `mx.np`'s: never."""
    return False
