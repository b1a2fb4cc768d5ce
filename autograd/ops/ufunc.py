"""Primitives whose body is the array library's own ufunc of that name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol

import numpy as np

from tapegrad.autograd.core.declaration import Primitive, PrimitiveFunction
from tapegrad.autograd.core.declaring import publish
from tapegrad.autograd.core.signatures import parameters_of
from tapegrad.autograd.ops.batch_rules import elementwise_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.devices import Array, Namespace

__all__ = ["ufunc"]

P = ParamSpec("P")


class _DeclareUfunc(Protocol):
    """The decorator that `ufunc` returns: the stub's parameters, and a Tensor as the result."""

    def __call__(self, stub: Callable[P, Any], /) -> PrimitiveFunction[P, Tensor]: ...


def ufunc(
    function: np.ufunc,
    *,
    differentiable: bool = True,
    domain: Mapping[str, tuple[float | None, float | None]] | None = None,
    faster: tuple[Callable[..., Any], int] | None = None,
) -> _DeclareUfunc:
    """Make an elementwise primitive whose body is the namespace's own ufunc of that name.

    The decorated function gives the arguments' names and the docstring; it is never run.
    faster: the body on NumPy's arrays, where it is faster than the ufunc from so many entries on;
            on arrays with less it must be the ufunc
    """

    def declare(stub: Callable[P, Any], /) -> PrimitiveFunction[P, Tensor]:
        name = function.__name__

        def library(xp: Namespace, *operands: Array, out: Array | None = None) -> Array:
            return getattr(xp, name)(*operands, out=out)

        body, least = faster or (library, 0)
        body.__name__ = stub.__name__
        published: Any = publish(
            Primitive(
                body,
                differentiable=differentiable,
                elementwise=True,
                domain=domain,
                inline=function,
                signature=parameters_of(stub),
            ),
            function,
            stub,
        )
        published.batch(elementwise_rule)
        if faster is not None:
            published.on("cuda")(library)
            published.primitive.large = partial(body, np)
            published.primitive.large_from = [least]
        return published

    return declare
