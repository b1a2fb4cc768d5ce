"""A call of a module with other parameters than its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.tensor import as_array, untracked
from tapegrad.autograd.core.tree import leaves
from tapegrad.nn.core.buffer import Buffer

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Operand

__all__ = ["functional_call", "shadow_of"]

NO_SUCH = "functional_call: {name} has no {unknown}; its parameters and buffers are {known}"
OTHER_SHAPE = "functional_call: {name} has shape {found}, the module's has {expected}"
BY_HAND = (
    "functional_call: {name} has a hand-written gradient, which is for the Parameters that it "
    "holds. Delete updateGradInput and accGradParameters to have it from the forward code."
)


def functional_call(
    module: Any, parameters: Mapping[str, Operand], /, *inputs: Any, **named: Any
) -> Any:
    """The output of ``module(*inputs, **named)`` with other parameters and buffers than its own.

    parameters: arrays or Tensors by dotted name, as `named_parameters`, `named_buffers` and
                `state_dict` have them; those that are not named are the module's.  Gradients reach
                the Tensors that are given: ``grad(lambda p: loss(functional_call(m, p, x)))(p)``
    The module itself stays as it is, so that threads may call it at the same time; only buffers
    that are not given are updated in training mode, as by any call.
    Raises KeyError for an unknown name, ValueError for another shape, TypeError for a module with a
    hand-written gradient.  (PyTorch's torch.func.functional_call.)

    >>> from tapegrad import nn
    >>> model = nn.Sequential(nn.Linear(2, 1, bias=False))
    >>> functional_call(model, {"0.weight": np.ones((1, 2))}, np.array([[3.0, 4.0]]))
    Tensor([[7.]])
    """
    own: dict[str, Tensor] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    unknown = sorted(parameters.keys() - own.keys())
    if unknown:
        name = type(module).__name__
        raise KeyError(NO_SUCH.format(name=name, unknown=unknown, known=[*own]))
    for part in module.listModules():
        if part._by_hand:
            raise TypeError(BY_HAND.format(name=type(part).__name__))
    memo: dict[int, Any] = {}
    for name, value in parameters.items():
        given = value if isinstance(value, Tensor) else untracked(as_array(value))
        if given.shape != own[name].shape:
            raise ValueError(
                OTHER_SHAPE.format(name=name, found=given.shape, expected=own[name].shape)
            )
        if isinstance(own[name], Buffer) and not isinstance(given, Buffer):
            given = Buffer(devices.namespace(given._bare).array(given._bare))
        memo[id(own[name])] = given
    return shadow_of(module, memo)(*inputs, **named)


def shadow_of(module: Any, others: Mapping[int, Any]) -> Any:
    """A copy of the module that shares all memory with it.

    others: by ids of Tensors of the module, what the copy has in their places
    """
    # A deep copy takes what its memo already has: nothing that holds arrays is copied.
    memo: dict[int, Any] = {}
    for part in module.listModules():
        memo.update((id(value), value) for value in _arrays_of(part))
    tensors = (*module.named_parameters(), *module.named_buffers())
    memo.update((id(tensor), tensor) for _, tensor in tensors)
    return copy.deepcopy(module, memo | dict(others))


def _arrays_of(part: Any) -> list[Any]:
    """The Tensors and arrays that a part holds beside parameters, the last results among them."""
    run = part._tapegrad_run
    results = [] if run is None else [getattr(run, name, None) for name in ("output", "gradInput")]
    return [
        leaf
        for leaf in leaves([*vars(part).values(), *results])
        if isinstance(leaf, (Tensor, np.ndarray)) or devices.is_array(leaf)
    ]
