"""Primitives whose body is the array library's own ufunc of that name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.declaration import Primitive, PrimitiveFunction
from tapegrad.autograd.core.declaring import publish
from tapegrad.autograd.ops.batch_rules import elementwise_rule

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ufunc"]


def ufunc(
    function: np.ufunc,
    *,
    differentiable: bool = True,
    domain: Mapping[str, tuple[float | None, float | None]] | None = None,
) -> Callable[[Callable[..., Any]], PrimitiveFunction]:
    """Make an elementwise primitive whose body is the namespace's own ufunc of that name.

    The decorated function gives the arguments' names and the docstring; it is never run.
    """

    def declare(stub: Callable[..., Any]) -> PrimitiveFunction:
        name = function.__name__

        def body(xp: Any, *operands: Any, out: Any = None) -> Any:
            return getattr(xp, name)(*operands, out=out)

        body.__name__ = stub.__name__
        published = publish(
            Primitive(
                body,
                differentiable=differentiable,
                domain=domain,
                inline=function,
                signature=inspect.signature(stub),
            ),
            function,
            stub,
        )
        published.batch(elementwise_rule)
        return published

    return declare
