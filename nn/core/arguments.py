"""How the arguments of a call become inputs, for which there are gradients, and named ones."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["name_arguments", "refuse_names_by_hand", "sort_arguments"]

UNKNOWN_NAME = "{name} takes no argument {unknown}; its arguments are {known}"

BY_HAND = (
    "{name} has a hand-written gradient, which is called with the input alone: it takes no "
    "{given} by name. Set it on the module, or delete updateGradInput and accGradParameters."
)
# BigDL's arguments that are methods here.
ADVICE = {
    "wRegularizer": "setWRegularizer(…)",
    "bRegularizer": "setBRegularizer(…)",
    "uRegularizer": "setURegularizer(…)",
    "initWeight": "setWeightsBias([…])",
    "initBias": "setWeightsBias([…])",
}
METHOD = ". What {name} is for, the method {method} does"
# Names of arguments in PyTorch and Keras -> what ours are called; the first that a layer has.
WORDS = {
    "alpha": ("negval",),
    "dilation": ("dilationW, dilationH",),
    "embedding_dim": ("nOutput", "embed_dim"),
    "features": ("outputSize",),
    "filters": ("nOutputPlane",),
    "hidden_size": ("hiddenSize", "outputsize"),
    "in_channels": ("nInputPlane",),
    "in_features": ("inputSize",),
    "input_dim": ("inputSize", "nIndex"),
    "input_size": ("inputSize", "inputsize"),
    "kernel_size": ("kT, kW, kH", "kW, kH", "kW"),
    "negative_slope": ("negval",),
    "num_embeddings": ("nIndex",),
    "num_features": ("nOutput",),
    "out_channels": ("nOutputPlane",),
    "out_features": ("outputSize",),
    "output_size": ("outputSize",),
    "padding": ("padW, padH",),
    "rate": ("p",),
    "stride": ("dW, dH",),
    "units": ("outputSize",),
    "use_bias": ("bias",),
}
INSTEAD_OF = {
    "device": "layer.to(device) moves a layer",
    "dtype": "layer.type(dtype) converts a layer, and tapegrad.set_default_dtype all later ones",
    "input_shape": "leave it out: sizes are those of the other arguments",
    "name": 'layer.setName("…") gives a name',
    "activation": "activations are layers of their own, such as nn.ReLU()",
}
NO_NAME = "{name}: the forward code takes no argument after {count}, which {value!r} could be"


def sort_arguments(
    module: Any, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(inputs by position, arguments by name) of a call.

    Text after the first input gets the name of its argument.  If all are named, the first argument
    of the forward code is the input; a criterion's `target` is its second.
    Raises TypeError for text that no argument could be.
    """
    if not named and not any(type(x) is str for x in inputs[1:]):
        return inputs, named
    names = _names_of(module.updateOutput)
    first = next((i for i, x in enumerate(inputs) if i and type(x) is str), len(inputs))
    if len(inputs) > len(names) and first < len(inputs):
        raise TypeError(
            NO_NAME.format(name=type(module).__name__, count=len(names), value=inputs[first])
        )
    given = dict(zip(names[first:], inputs[first:], strict=False))
    if both := sorted(given.keys() & named.keys()):
        raise TypeError(f"{type(module).__name__}: {both[0]} is given by position and by name")
    named, inputs = {**given, **named}, inputs[:first]
    while len(inputs) < _inputs_by_name(module) and names[len(inputs)] in named:
        inputs = (*inputs, named.pop(names[len(inputs)]))
    return inputs, named


def _names_of(update: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the arguments of a module's forward code."""
    function = getattr(update, "__func__", None)
    if function is None:  # no method of the class, but a function that the module holds
        return tuple(inspect.signature(update).parameters)
    if function not in _names:
        _names[function] = tuple(inspect.signature(update).parameters)
    return _names[function]


# By the function of the class: to read a signature takes longer than to call a small layer.
_names: WeakKeyDictionary[Callable[..., Any], tuple[str, ...]] = WeakKeyDictionary()


def _inputs_by_name(module: Any) -> int:
    """How many arguments are inputs even when they are named."""
    return 1 if module._in_graphs else 2  # a criterion's prediction and target


def refuse_names_by_hand(module: Any, named: Mapping[str, Any] | None) -> None:
    """Raise TypeError for named arguments of a module with a hand-written gradient."""
    if named:
        raise TypeError(BY_HAND.format(name=type(module).__name__, given=", ".join(named)))


def _hint(name: str, known: list[str]) -> str:
    """What to write for an argument of another system's, or ""."""
    if name in ADVICE:
        return METHOD.format(name=name, method=ADVICE[name])
    if name in INSTEAD_OF:
        return f". For {name}: {INSTEAD_OF[name]}"
    for ours in WORDS.get(name, ()):
        if set(ours.split(", ")) <= set(known):
            return f". {name} is called {ours}"
    return ""


def name_arguments(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor whose TypeError for an argument of another name says which names there are."""

    @functools.wraps(init)
    def construct(self: Any, *arguments: Any, **named: Any) -> None:
        try:
            init(self, *arguments, **named)
        except TypeError as error:
            trace = error.__traceback__
            if trace is not None and trace.tb_next is not None:
                raise  # from inside the constructor
            known = list(inspect.signature(init).parameters)[1:]
            unknown = [name for name in named if name not in known]
            if not unknown:
                raise
            text = UNKNOWN_NAME.format(
                name=type(self).__name__,
                unknown=", ".join(map(repr, unknown)),
                known=", ".join(known) or "none",
            )
            for name in unknown:
                text += _hint(name, known)
            raise TypeError(text) from None

    return construct
