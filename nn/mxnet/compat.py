"""compat: faults of the original that change numbers, on request.

What MXNet 1.9.1 computes wrongly is right here, and nn/mxnet/DIFFERENCES.md lists it.  To
continue a run that was begun there with the same numbers:

    mx.compat("1.9.1")          # from here on
    with mx.compat("1.9.1"): …  # in a block
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Self

__all__ = ["compat", "faults_of_1_9_1"]

_VERSIONS = ("1.9.1",)
_version: ContextVar[str | None] = ContextVar("mxnet_compat", default=None)


class compat:  # noqa: N801  # it is called as a function
    """From here on, or in a block, compute as a version of MXNet did; None for right numbers.

    Raises ValueError for a version whose faults are not known.
    """

    def __init__(self, version: str | None):
        if version is not None and version not in _VERSIONS:
            raise ValueError(
                f"compat: the faults of {version!r} are not known, of {_VERSIONS} they are"
            )
        self._before = _version.get()
        _version.set(version)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _version.set(self._before)


def faults_of_1_9_1() -> bool:
    """Are the faults of MXNet 1.9.1 asked for?"""
    return _version.get() == "1.9.1"
