"""The strict stand-in: arrays on the CPU that refuse what CuPy's arrays refuse.

A machine without a GPU cannot run code on one, but it can notice code that would fail there.  A
StrictArray holds an ndarray and refuses what a CuPy array refuses: implicit conversion to an
ndarray, ndarrays in the same call, lists in place of arrays, dtypes that CuPy lacks.  Reductions
return 0-d arrays instead of scalars.  Its namespace has the functions of `cupy` with the parameters
of `cupy`, and computes them with NumPy.  You can use it in the tests of your own layers:

    >>> import numpy as np
    >>> from tapegrad.devices import namespace, to_device
    >>> x = to_device(np.ones(3, np.float32), "strict")
    >>> xp = namespace(x)          # the stand-in for `cupy`
    >>> xp.tanh(x).sum().shape
    ()

It is stricter than CuPy where CuPy would move data unasked or leave the result undefined: NumPy's
functions called on a StrictArray raise instead of dispatching; ndarrays as indices or operands are
refused even by the functions that would upload them; an index out of bounds raises (CuPy wraps it
around); scattered operations take only the dtypes that CuPy documents.  Parts of CuPy that are not
modelled (its own kernels, classes and files) raise an AttributeError that says so.

The names and signatures of CuPy stand in a record, `cupy_namespace.json`, made from CuPy itself:
``python -m tapegrad.devices._record_cupy devices/cupy_namespace.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.devices import _cpu
from tapegrad.devices._generators import NumpyStream
from tapegrad.devices._registry import Backend
from tapegrad.devices._strict_array import STRICT, StrictArray, as_strict
from tapegrad.devices._strict_namespace import StrictNamespace, strict

if TYPE_CHECKING:
    from tapegrad.devices._types import Array, Shape

__all__ = ["StrictNamespace", "StrictArray", "load", "strict"]


def load() -> Backend:
    """The declaration of the strict stand-in."""
    return Backend(
        kind="strict",
        array_type=StrictArray,
        xp=strict,
        device_of=lambda _: STRICT,
        devices=lambda: [STRICT],
        current=lambda: STRICT,
        from_numpy=lambda array, _: as_strict(np.array(array, order="K", copy=True)),
        to_numpy=lambda array: np.array(array._array, order="K", copy=True),
        move=lambda array, _: array,
        memory=_cpu.memory,
        stream=lambda _, sequence: _StrictStream(sequence),
        address=lambda array: int(array._array.__array_interface__["data"][0]),
    )


class _StrictStream(NumpyStream):
    """The CPU's random stream in strict arrays: equal seeds give equal numbers on both."""

    def uniform(self, shape: Shape, dtype: np.dtype[Any], out: Array | None) -> Array:
        drawn = super().uniform(shape, dtype, None if out is None else out._array)
        return as_strict(np.asarray(drawn)) if out is None else out

    def normal(self, shape: Shape, dtype: np.dtype[Any], out: Array | None) -> Array:
        drawn = super().normal(shape, dtype, None if out is None else out._array)
        return as_strict(np.asarray(drawn)) if out is None else out

    def integers(self, low: int, high: int, shape: Shape, dtype: np.dtype[Any]) -> Array:
        return as_strict(super().integers(low, high, shape, dtype))

    def permutation(self, n: int) -> Array:
        return as_strict(super().permutation(n))
