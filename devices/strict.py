"""The strict stand-in: NumPy arrays that behave as CuPy's do where code goes wrong.

A machine without a GPU cannot run code on one, but it can notice code that would fail there.  A
StrictArray holds an ndarray and refuses what a CuPy array refuses: turning into an ndarray unasked,
meeting ndarrays in one call, lists in place of arrays, dtypes that CuPy lacks; reductions return
0-d arrays instead of scalars.  Its namespace has the functions of `cupy` with the parameters of
`cupy` and computes them with NumPy.  It is there for the tests of your own layers too:

    >>> import numpy as np
    >>> from tapegrad.devices import namespace, to_device
    >>> x = to_device(np.ones(3, np.float32), "strict")
    >>> xp = namespace(x)          # the stand-in for `cupy`
    >>> xp.tanh(x).sum().shape
    ()

Stricter than CuPy where that would move data behind your back or leave the result open: NumPy's
functions called on a StrictArray raise instead of dispatching, ndarrays as indices or operands are
refused even by the functions that would upload them, an index out of bounds raises (CuPy wraps it
around), scattered operations take the dtypes that CuPy documents.  What CuPy has and this has not
(its own kernels, classes and files) raises an AttributeError that says so.

What CuPy has is a record, `cupy_namespace.json`, made by asking CuPy itself:
``python -m tapegrad.devices._record_cupy devices/cupy_namespace.json``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.devices import _cpu
from tapegrad.devices._generators import NumpyStream
from tapegrad.devices._registry import Backend
from tapegrad.devices._strict_array import STRICT, StrictArray, adopt
from tapegrad.devices._strict_namespace import StrictNamespace, strict

__all__ = ["StrictNamespace", "StrictArray", "load", "strict"]


def load() -> Backend:
    """The stand-in's declaration."""
    return Backend(
        kind="strict",
        array_type=StrictArray,
        xp=strict,
        device_of=lambda _: STRICT,
        devices=lambda: [STRICT],
        current=lambda: STRICT,
        from_numpy=lambda array, _: adopt(np.array(array, order="K", copy=True)),
        to_numpy=lambda array: np.array(array._array, order="K", copy=True),
        move=lambda array, _: array,
        memory=_cpu.memory,
        stream=lambda _, sequence: _StrictStream(sequence),
    )


class _StrictStream(NumpyStream):
    """The CPU's stream, in strict arrays: equal seeds give equal numbers on both."""

    def uniform(self, shape: tuple[int, ...], dtype: np.dtype[Any], out: Any) -> Any:
        drawn = super().uniform(shape, dtype, None if out is None else out._array)
        return adopt(np.asarray(drawn)) if out is None else out

    def normal(self, shape: tuple[int, ...], dtype: np.dtype[Any], out: Any) -> Any:
        drawn = super().normal(shape, dtype, None if out is None else out._array)
        return adopt(np.asarray(drawn)) if out is None else out

    def integers(self, low: int, high: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        return adopt(super().integers(low, high, shape, dtype))

    def permutation(self, n: int) -> Any:
        return adopt(super().permutation(n))
