"""invoke: an operator on arrays, at once; and the functions of `mx.nd` that it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad
from tapegrad.nn.core.services import register_service
from tapegrad.nn.mxnet.attributes import texts_of
from tapegrad.nn.mxnet.context import Context, current_context
from tapegrad.nn.mxnet.declaration import Call, find_operator
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, as_array, from_tensor

__all__ = ["invoke", "named_function"]


@register_service("mxnet.invoke")  # methods of NDArray, which stands below, ask for it
def invoke(name: str, arrays: Sequence[Any], settings: dict[str, Any]) -> Any:
    """The result of an operator: an NDArray, or a list of several.

    arrays:    NDArrays (or NumPy arrays); a list among them is spread out; what follows them in a
               call by position are attributes, in the order of the declaration
    settings:  attributes; inputs by name; `out`, an array or a list of arrays to write into; `ctx`
    Raises MXNetError for an unknown attribute or input, and for what the operator refuses.
    """
    op = find_operator(name)
    settings = dict(settings)
    out, context = settings.pop("out", None), settings.pop("ctx", None)
    settings.pop("name", None)
    flat: list[Any] = []
    rest = list(arrays)
    while rest and _is_input(rest[0]):
        first = rest.pop(0)
        flat += first if isinstance(first, (list, tuple)) else [first]
    for key, value in zip(op.kinds, rest, strict=False):
        settings.setdefault(key, value)
    named = {
        k: settings.pop(k) for k in list(settings) if _is_input(settings[k]) and k not in op.kinds
    }
    texts = texts_of(op.kinds, settings)
    if op.variadic:
        texts.setdefault(op.variadic, str(len(flat) + len(named)))
    read = op.read(texts)
    if not op.variadic:
        names = op.input_names(read)
        for key in named:
            if key not in names:
                raise MXNetError(f"{op.name} has no input {key!r}; it has {', '.join(names)}")
        given = dict(zip(names, flat, strict=False)) | named
        missing = [key for key in names if key not in given]
        if missing:
            raise MXNetError(f"{op.name}: the input {missing[0]!r} is missing")
        flat = [given[key] for key in names]
    else:
        flat += named.values()
    inputs = [as_array(value) for value in flat]
    place = _context(context, inputs)
    call = Call(read, False, devices.generator(place.device), op.name)
    with no_grad(), np.errstate(all="ignore"):
        try:
            results = op(call, *[x.tensor for x in inputs])
        except (ValueError, TypeError, IndexError) as error:
            if isinstance(error, MXNetError):
                raise
            raise MXNetError(f"{op.name}: {error}") from error
    for key, value in call.writes.items():
        inputs[op.input_names(read).index(key)][:] = NDArray(value, place)
    visible = results[: len(op.output_names(read))]
    found = [_fresh(y, inputs, place) for y in visible]
    if out is not None:
        targets = out if isinstance(out, (list, tuple)) else [out]
        for target, y in zip(targets, found, strict=True):
            target[:] = y
        return out
    return found[0] if len(found) == 1 else found


def _is_input(value: Any) -> bool:
    if isinstance(value, (NDArray, Tensor, np.ndarray)):
        return True
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(one, (NDArray, Tensor, np.ndarray)) for one in value)
    )


def _context(given: Any, inputs: Sequence[NDArray]) -> Context:
    if isinstance(given, Context):
        return given
    return inputs[0].context if inputs else current_context()


def _fresh(y: Any, inputs: Sequence[NDArray], context: Context) -> NDArray:
    """An NDArray that shares no memory with an input: operators of arrays give new arrays."""
    xp = devices.namespace(y.data)
    if any(y is x.tensor or xp.shares_memory(y.data, x.tensor.data) for x in inputs):
        y = Tensor(y.data.copy())
    return from_tensor(y, context)


def named_function(operator: str, name: str) -> Callable[..., Any]:
    """The function of an operator, called `name`."""

    def function(*arrays: Any, **settings: Any) -> Any:
        return invoke(operator, arrays, settings)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = find_operator(operator).body.__doc__
    return function
