"""Declaring: the decorator that makes a body a primitive, and its name the public callable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tapegrad.autograd.core.declaration import (
    Primitive,
    PrimitiveFunction,
    numpy_functions,
    register,
)
from tapegrad.autograd.core.specialize import public_function

__all__ = ["primitive", "publish"]


def primitive(
    body: Callable[..., Any] | None = None,
    *,
    numpy: Any = (),
    differentiable: bool = True,
    aux: tuple[str, ...] = (),
    several: bool = False,
    mutates: str | None = None,
    view: bool | str = False,
    random: bool = False,
    domain: Mapping[str, tuple[float | None, float | None]] | None = None,
) -> Any:
    """Make the decorated body a primitive, and its name the public callable.

    The body takes the array namespace `xp`, then arrays by position (annotate one with ``list`` if
    it is a list of arrays, default None if it may be missing), then settings by keyword, and
    ``out=None`` if it can write its result there.

    numpy:          NumPy function(s) that run this primitive when they meet a Tensor
    differentiable: False for results that carry no derivative (argmax, comparisons)
    aux:            names of further results that rules may use; the call returns the first
    several:        the body returns a list of results
    mutates:        the argument that the body overwrites; such calls are recorded by replay only
    view:           the result may share memory with the first argument; "read-only" when a write
                    to it cannot be passed on, since it shows entries several times
    random:         the body draws from a generator among its settings
    domain:         open interval in which an argument must lie, (low, high); None is unbounded
    """

    def declare(body: Callable[..., Any]) -> PrimitiveFunction:
        return publish(
            Primitive(
                body,
                differentiable=differentiable,
                aux=aux,
                several=several,
                mutates=mutates,
                view=view,
                random=random,
                domain=domain,
            ),
            numpy,
            body,
        )

    return declare if body is None else declare(body)


def publish(primitive: Primitive, numpy: Any, described: Callable[..., Any]) -> PrimitiveFunction:
    """The public callable of `primitive`, which is registered by its name and in `numpy`.

    numpy:     NumPy function(s) that run it when they meet a Tensor
    described: has the docstring
    Raises TypeError for a name that is taken.
    """
    function: PrimitiveFunction = public_function(primitive, described)
    register(function)
    for replaced in numpy if isinstance(numpy, tuple) else (numpy,):
        numpy_functions[replaced] = function
    return function
