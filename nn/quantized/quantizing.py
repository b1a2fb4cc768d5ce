"""quantize: a model of int8 weights, made of one that has been trained."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tapegrad.autograd import no_grad
from tapegrad.nn.core import memory
from tapegrad.nn.core.services import register_service
from tapegrad.nn.module import Module
from tapegrad.nn.quantized.int8 import Int8, observing

__all__ = ["quantize"]

NOTHING = (
    "quantize: {name} has no layer that can be quantized: Linear, convolutions, LookupTable and "
    "recurrent layers can, and {known} others are left as they are"
)
NO_MODULE = "quantize takes a Module, not {kind}"

M = TypeVar("M", bound=Module)


@register_service("quantize")
def quantize(model: M, calibrate: Iterable[Any] | None = None) -> M:
    """Return a new model with int8 weights, in evaluation mode; `model` stays as it is.

    calibrate: batches of inputs.  The largest |x| that each layer meets in them sets its scale
               once for all; without them each row or sample has a scale of its own
    Linear, convolutions, LookupTable and recurrent layers become int8, one scale for each output
    row, wherever they stand in the model; subclasses of yours and all other layers stay.
    The file of the model is about a quarter as large, and it has no gradients: a derivative raises
    NotImplementedError.  docs/quantization.md says what it costs.
    Raises TypeError for what is no Module, ValueError for a model without such a layer, and for
    weights that are not finite.
    """
    if not isinstance(model, Module):
        raise TypeError(NO_MODULE.format(kind=type(model).__name__))
    kinds = dict(_kinds(Int8))
    memo: dict[int, Any] = {}
    memory.copy_used_parts(model, memo)
    made: list[Any] = []
    parts = model.listModules()
    for layer in reversed(parts):  # those inside a layer come before it
        kind = kinds.get(type(layer))
        if kind is not None:
            memo[id(layer)] = kind.of(layer, memo)
            made.append(memo[id(layer)])
    if not made:
        raise ValueError(NOTHING.format(name=type(model).__name__, known=len(parts)))
    result: Any = copy.deepcopy(model, memo)
    result.evaluate()
    for part in result.listModules():
        part.clearState()  # what training has left behind: results, drawn noise
    if calibrate is not None:
        for layer in made:
            layer.observe(begin=True)
        with observing(), no_grad():
            for batch in calibrate:
                result(batch)
        for layer in made:
            layer.observe(begin=False)
    return result


def _kinds(base: Any) -> Iterator[tuple[type, Any]]:
    """(class of layers, class of their quantized ones) for all that are declared below `base`."""
    for cls in base.__subclasses__():
        if "replaces" in vars(cls):
            yield cls.replaces, cls
        yield from _kinds(cls)
