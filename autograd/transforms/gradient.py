"""grad and value_and_grad: functions that return the gradient of a function.

Each call runs the function once on fresh variables (`variables.py`) and sweeps back.  Arguments may
be nested lists, tuples and dicts of arrays; gradients keep that structure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, overload

from tapegrad.autograd.kernels.kept_memory import keeping_memory
from tapegrad.autograd.transforms.arguments import Argnums, Arguments
from tapegrad.autograd.transforms.variables import BoundCall

if TYPE_CHECKING:
    import numpy as np

__all__ = ["grad", "value_and_grad"]

P = ParamSpec("P")  # the parameters of fn


@overload
def value_and_grad(
    fn: np.ufunc, argnums: Argnums = 0, *, strict: bool = False
) -> Callable[..., tuple[Any, Any]]: ...
@overload
def value_and_grad(
    fn: Callable[P, Any], argnums: Argnums = 0, *, strict: bool = False
) -> Callable[P, tuple[Any, Any]]: ...
def value_and_grad(
    fn: Callable[..., Any], argnums: Argnums = 0, *, strict: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns (fn(…), its gradient with respect to argument(s) `argnums`).

    fn:      returns one number (0-d, or one entry)
    argnums: the position or the name of an argument, or a tuple of such, whether callers pass it by
             position or by name
    strict:  raise TypeError for an argument that the result does not depend on; its gradient is 0
             otherwise, also where fn returns a number or an array that is no Tensor
    Gradients are arrays for arrays and Tensors for Tensors, in the structure of the arguments; with
    a tuple of `argnums`, a tuple of gradients.  Where a Parameter is behind fn, value and gradients
    are tracked Tensors, so that they can stand in a loss; under `no_grad` they are arrays.
    Of a complex number it is the gradient of the real part: for a holomorphic fn of complex
    arguments its derivative.
    Raises ValueError when fn returns several numbers, TypeError when it returns no number, an
    argument is not floating point, or `argnums` names one that fn was not given.

    >>> value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    (array(5.), array([2., 4.]))
    """
    arguments = Arguments(fn, argnums)

    @wraps(fn)
    @keeping_memory
    def differentiated(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        call = BoundCall(fn, args, kwargs, arguments.locate(args, kwargs))
        if strict:
            call.require_dependence()
        gradient = _gradient(call, arguments)
        return call.value(), gradient

    return differentiated


def _gradient(call: BoundCall, arguments: Arguments) -> Any:
    gradients = call.gradients(call.seeds())
    return gradients[0] if arguments.single else tuple(gradients)


@overload
def grad(fn: np.ufunc, argnums: Argnums = 0, *, strict: bool = False) -> Callable[..., Any]: ...
@overload
def grad(
    fn: Callable[P, Any], argnums: Argnums = 0, *, strict: bool = False
) -> Callable[P, Any]: ...
def grad(
    fn: Callable[..., Any], argnums: Argnums = 0, *, strict: bool = False
) -> Callable[..., Any]:
    """A function that returns the gradient of fn: ``grad(fn)(x)`` is ∂fn/∂x, of the shape of x.

    fn:      returns one number (0-d, or one entry), computed with NumPy's functions or tapegrad's
    argnums: which argument is x, by position or by name; a tuple of such for several gradients
    strict:  raise TypeError where the result does not depend on x; its gradient is 0 otherwise
    It is an array for an array, a Tensor for a Tensor, and a nest for a nest of them; a tracked
    Tensor where a Parameter is behind fn.  `value_and_grad` returns the value too, and says more.
    Nest it for higher orders: ``grad(grad(f))``.
    Raises ValueError when fn returns several numbers (`jacobian`, `elementwise_grad`), TypeError
    when it returns no number, or an argument is not floating point.

    >>> grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    array([2., 4.])
    >>> grad(lambda x, w: np.sum(w * x), "w")(2.0, w=3.0)
    array(2.)
    >>> grad(grad(np.tanh))(0.5).item()
    -0.7268619813835875
    """
    arguments = Arguments(fn, argnums)

    @wraps(fn)
    @keeping_memory
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        call = BoundCall(fn, args, kwargs, arguments.locate(args, kwargs))
        if strict:
            call.require_dependence()
        return _gradient(call, arguments)

    return differentiated
