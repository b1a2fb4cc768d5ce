"""Primitives that SciPy's ufuncs compute: `scipy.special.expit(tensor)` finds its own by name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from tapegrad import devices
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.ops.batch_rules import elementwise_rule

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["by_name", "primitive_of_scipy", "refuse_order", "scipy_ufunc"]

by_name: dict[str, Callable[..., Any]] = {}


def primitive_of_scipy(function: np.ufunc) -> Callable[..., Any] | None:
    """The primitive for a ufunc of scipy.special, or None."""
    name = function.__name__
    module = sys.modules.get("scipy.special")
    if name == "psi":
        name = "digamma"
    known = by_name.get(name)
    return known if known is not None and getattr(module, name, None) is function else None


def scipy_ufunc(**declared: Any) -> Callable[[Callable[..., Any]], Any]:
    """Declare an elementwise primitive computed by SciPy's function of the stub's name."""

    def declare(stub: Callable[..., Any]) -> Any:
        name = stub.__name__.removeprefix("special_")

        def body(xp: Namespace, *operands: Any) -> Any:
            y = getattr(devices.special(xp), name)(*operands)
            # SciPy computes some of them in double precision only
            dtypes = [x.dtype for x in operands if hasattr(x, "dtype") and x.dtype.kind == "f"]
            target = max(dtypes, key=lambda dtype: dtype.itemsize, default=y.dtype)
            return y if y.dtype == target else y.astype(target)

        body.__name__ = stub.__name__
        body.__doc__ = stub.__doc__
        own = list(inspect.signature(stub).parameters.values())
        first = inspect.Parameter("xp", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        body.__signature__ = inspect.Signature([first, *own])  # type: ignore[attr-defined]  # the stub's
        body.__module__ = stub.__module__
        by_name[name] = function = primitive(elementwise=True, **declared)(body)
        function.batch(elementwise_rule)
        return function

    return declare


ORDER = (
    "a special function's derivative with respect to its order is not known here: "
    "pass order.detach()"
)


def refuse_order(g: Array) -> NoReturn:
    """Raise TypeError: the rule of an order, since a missing gradient would be a wrong one."""
    raise TypeError(ORDER)
