"""The decorator `primitive` makes a body a primitive, and the body's name the public callable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, overload

from tapegrad.autograd.core.declaration import (
    Primitive,
    PrimitiveFunction,
    PrimitiveWithSettings,
    numpy_functions,
    register_primitive,
)
from tapegrad.autograd.core.specialize import public_function

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Namespace

__all__ = ["primitive", "publish"]

P = ParamSpec("P")

# The array functions that a primitive stands for: one, or several.
NumpyFunctions = Callable[..., Any] | tuple[Callable[..., Any], ...]


class _Declare(Protocol):
    """The decorator, for a body with one result."""

    def __call__(
        self, body: Callable[Concatenate[Namespace, P], Any], /
    ) -> PrimitiveWithSettings[P, Tensor]: ...


class _DeclareSeveral(Protocol):
    """The decorator, for a body that returns a list of results."""

    def __call__(
        self, body: Callable[Concatenate[Namespace, P], Any], /
    ) -> PrimitiveWithSettings[P, list[Tensor]]: ...


@overload
def primitive(
    body: Callable[Concatenate[Namespace, P], Any], /
) -> PrimitiveWithSettings[P, Tensor]: ...


@overload
def primitive(
    *,
    several: Literal[True],
    numpy: NumpyFunctions = (),
    differentiable: bool = True,
    aux: tuple[str, ...] = (),
    view: bool | str = False,
    random: bool = False,
    elementwise: bool = False,
    domain: Mapping[str, tuple[float | None, float | None]] | None = None,
) -> _DeclareSeveral: ...


@overload
def primitive(
    *,
    numpy: NumpyFunctions = (),
    differentiable: bool = True,
    aux: tuple[str, ...] = (),
    mutates: str | None = None,
    view: bool | str = False,
    random: bool = False,
    elementwise: bool = False,
    domain: Mapping[str, tuple[float | None, float | None]] | None = None,
) -> _Declare: ...


def primitive(
    body: Callable[..., Any] | None = None,
    *,
    numpy: NumpyFunctions = (),
    differentiable: bool = True,
    aux: tuple[str, ...] = (),
    several: bool = False,
    mutates: str | None = None,
    view: bool | str = False,
    random: bool = False,
    elementwise: bool = False,
    domain: Mapping[str, tuple[float | None, float | None]] | None = None,
) -> Any:
    """Make the decorated body a primitive, and return the public callable.

    The body takes the array namespace `xp`; then arrays by position; then settings by keyword only;
    and ``out=None`` if it can write its result there.  An array argument annotated with ``list`` is
    a list of arrays; one with the default None may be missing.

    numpy:          NumPy function(s) that run this primitive when an argument is a Tensor
    differentiable: False for results that carry no derivative (argmax, comparisons)
    aux:            names of further results that rules may save; a call returns the first result
    several:        the body returns a list of results
    mutates:        the argument that the body overwrites; only replay records such calls
    view:           the result may share memory with the first argument; "read-only" if it shows
                    entries several times, so that a write to it is refused
    random:         the body draws from a generator among its settings
    elementwise:    each entry of the result depends on no other entries of the arguments than those
                    that broadcast to its place; so the rules of `vjp` push tangents too
    domain:         open interval in which an argument must lie, (low, high); None is unbounded

    >>> import tapegrad as tg
    >>> @primitive
    ... def cube(xp, x):
    ...     '''x³, elementwise.'''
    ...     return x * x * x
    >>> cube.vjp(x=lambda g, x: 3 * g * x * x)
    >>> tg.grad(cube)(2.0)
    array(12.)
    """

    def declare(body: Callable[..., Any]) -> PrimitiveFunction[..., Any]:
        return publish(
            Primitive(
                body,
                differentiable=differentiable,
                aux=aux,
                several=several,
                mutates=mutates,
                view=view,
                random=random,
                elementwise=elementwise,
                domain=domain,
            ),
            numpy,
            body,
        )

    return declare if body is None else declare(body)


def publish(
    primitive: Primitive, numpy: NumpyFunctions, described: Callable[..., Any]
) -> PrimitiveFunction[..., Any]:
    """Make the public callable of `primitive`, and register it by its name and in `numpy`.

    numpy:     NumPy function(s) that run it when an argument is a Tensor
    described: the function that has the docstring
    Raises TypeError for a name that another primitive has.
    """
    function: PrimitiveFunction[..., Any] = public_function(primitive, described)
    register_primitive(function)
    for replaced in numpy if isinstance(numpy, tuple) else (numpy,):
        numpy_functions[replaced] = function
    return function
