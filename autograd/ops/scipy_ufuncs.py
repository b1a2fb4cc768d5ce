"""Primitives that SciPy's ufuncs compute: `scipy.special.expit(tensor)` finds its own by name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.declaring import publish
from tapegrad.autograd.core.signatures import DeclaredParameters, parameters_of
from tapegrad.autograd.ops.batch_rules import elementwise_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = [
    "by_name",
    "declare_ufunc",
    "primitive_of_scipy",
    "refuse_order",
    "scipy_ufunc",
    "set_ufunc_importer",
    "UnknownSlope",
]

by_name: dict[str, Callable[..., Any]] = {}
_importers: list[Callable[[], Any]] = []


def set_ufunc_importer(importer: Callable[[], Any]) -> None:
    """Call `importer` when a ufunc is asked for that is not in `by_name`: it declares the rest."""
    _importers[:] = [importer]


def primitive_of_scipy(function: np.ufunc) -> Callable[..., Any] | None:
    """The primitive for a ufunc of scipy.special, or None."""
    name = function.__name__
    module = sys.modules.get("scipy.special")
    if name == "psi":
        name = "digamma"
    if name not in by_name and module is not None and _importers:
        _importers.pop()()
    known = by_name.get(name)
    return known if known is not None and getattr(module, name, None) is function else None


def _body_of(name: str, *, double: bool = False, whole: tuple[int, ...] = ()) -> Callable[..., Any]:
    """The body that calls SciPy's function of that name, and returns the operands' precision.

    double: whether the function is called in double precision only
    whole:  the positions of whole numbers: a number of Python's among float32 would make one too,
            and SciPy warns of that
    """

    def body(xp: Namespace, *operands: Any) -> Any:
        taken = [_widened(x) for x in operands] if double else list(operands)
        for i in whole:
            if type(taken[i]) is int:
                taken[i] = np.int64(taken[i])
        y = getattr(devices.special(xp), name)(*taken)
        # SciPy computes some of them in double precision only
        dtypes = [x.dtype for x in operands if hasattr(x, "dtype") and x.dtype.kind in "fc"]
        target = max(dtypes, key=lambda dtype: np.finfo(dtype).bits, default=None)
        if isinstance(y, tuple):
            return [_in_precision(each, target) for each in y]
        return _in_precision(y, target)

    return body


def _widened(x: Any) -> Any:
    """x in double precision, if it is an array of floats."""
    narrow = hasattr(x, "dtype") and x.dtype.kind in "fc"
    return x.astype(np.result_type(x.dtype, np.float64)) if narrow else x


def _in_precision(y: Array, target: Any) -> Array:
    """y in the precision of the dtype `target`, None for its own; complex if y is."""
    if target is None:
        return y
    if y.dtype.kind == "c":
        target = np.result_type(target, np.complex64)
    elif target.kind == "c":
        target = np.finfo(target).dtype
    return y if y.dtype == target else y.astype(target)


def scipy_ufunc(**declared: Any) -> Callable[[Callable[..., Any]], Any]:
    """Declare an elementwise primitive computed by SciPy's function of the stub's name."""

    def declare(stub: Callable[..., Any]) -> Any:
        name = stub.__name__.removeprefix("special_")

        body = _body_of(name)
        body.__name__ = stub.__name__
        body.__module__ = stub.__module__
        made = Primitive(body, elementwise=True, signature=parameters_of(stub), **declared)
        by_name[name] = function = publish(made, (), stub)
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


def declare_ufunc(
    module: str,
    name: str,
    formula: str,
    *,
    several: bool = False,
    differentiable: bool = True,
    double: bool = False,
    holomorphic: bool = True,
    **rules: Any,
) -> Any:
    """Declare SciPy's ufunc of that name, whose arguments are those of the rules, in their order.

    module:  the file that declares it, `__name__`
    formula: its docstring, elementwise; arguments broadcast, and the result has their precision
    several: whether it has several results
    double:  whether SciPy's function in single precision is worth nothing
    holomorphic: False where the rules of complex arguments are no products with a slope, and
             cannot be those of tangents too
    Returns the primitive, which is called special_NAME, since others may use the plain name.
    """
    counted = [i for i, rule in enumerate(rules.values()) if getattr(rule, "whole", False)]
    body = _body_of(name, double=double, whole=tuple(counted))
    body.__name__ = f"special_{name}"
    body.__doc__ = formula
    body.__module__ = module
    made = Primitive(
        body,
        several=several,
        differentiable=differentiable,
        elementwise=differentiable and holomorphic and not several,
        signature=DeclaredParameters(tuple(rules)),
    )
    by_name[name] = function = publish(made, (), body)
    if differentiable:
        function.vjp(**{each: _named(name, each, rule) for each, rule in rules.items()})
    function.batch(elementwise_rule)
    return function


UNKNOWN = (
    "the derivative of scipy.special.{name} with respect to {argument} is not known here: "
    "{reason}; pass {argument}.detach()"
)


class UnknownSlope:
    """The rule of an argument without a known derivative: it raises TypeError, with the reason.

    whole: whether the argument counts in whole numbers
    """

    def __init__(self, reason: str, *, whole: bool = False) -> None:
        self.reason, self.whole = reason, whole


def _named(name: str, argument: str, rule: Any) -> Any:
    """The rule, where it is unknown one that names the function and the argument."""
    if not isinstance(rule, UnknownSlope):
        return rule

    def refused(g: Array) -> NoReturn:
        raise TypeError(UNKNOWN.format(name=name, argument=argument, reason=rule.reason))

    refused.reason = rule.reason  # type: ignore[attr-defined]  # the page of functions tells it
    return refused
