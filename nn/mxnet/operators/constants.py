"""constant, drawn: operations in plain NumPy code without a derivative, which replay runs again.

What depends on values (which box suppresses which, which entry is the largest of a region) is
computed on the CPU, and the result goes to the device of the first array.  `beside` takes constants
there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.specialize import public_function

if TYPE_CHECKING:
    from tapegrad.devices import Array


__all__ = ["beside", "constant", "drawn"]


def beside(x: Array, values: np.ndarray) -> Tensor:
    """The NumPy array `values`, as a Tensor on the device of x."""
    return Tensor(values, device=x.device)


def _on_cpu(array: Any) -> Any:
    return None if array is None else devices.to_numpy(array)


def constant(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: fn(*arrays, **settings) on NumPy arrays as an operation without a derivative.

    The settings of fn are keyword-only.  A fn with an annotation ``-> list`` returns several
    arrays.
    """
    signature = inspect.signature(fn)
    several = str(signature.return_annotation).startswith("list")

    def body(xp: Any, *arrays: Any, **settings: Any) -> Any:
        found = fn(*map(_on_cpu, arrays), **settings)
        return [xp.asarray(y) for y in found] if several else xp.asarray(found)

    body.__name__, body.__doc__, body.__module__ = fn.__name__, fn.__doc__, fn.__module__
    primitive = Primitive(body, differentiable=False, several=several, signature=signature)
    return public_function(primitive, body)


def drawn(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: fn(*arrays, generator, **settings) draws random numbers; otherwise as `constant`.

    The generator is a keyword-only argument, and the result goes to its device; replay repeats what
    it draws.
    """
    signature = inspect.signature(fn)

    def body(xp: Any, *arrays: Any, **settings: Any) -> Any:
        found = fn(*map(_on_cpu, arrays), **settings)
        return devices.to_device(np.asarray(found), settings["generator"].device)

    body.__name__, body.__doc__, body.__module__ = fn.__name__, fn.__doc__, fn.__module__
    return public_function(Primitive(body, random=True, signature=signature), body)
