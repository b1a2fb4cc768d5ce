"""Stand-ins: layers that a format has, in the place of layers that it has not.

A file of one system may hold what another has no class for, though it has one that does the same
for inputs of this shape.  A format gives rules, class -> (layer, shape of its input or None) ->
layer or None, and writes what `stand_ins` returns instead of the layer.  Modules are not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Parameter, Tensor, no_grad
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.containers.container import Concat, Sequential
from tapegrad.nn.core.hooks import add_hook
from tapegrad.nn.formats.common.modes import evaluating
from tapegrad.nn.layers.convolution.spatial import SpatialConvolution
from tapegrad.nn.layers.indexing import Narrow
from tapegrad.nn.layers.pointwise import MulConstant
from tapegrad.nn.layers.pooling.fixed import SpatialAveragePooling
from tapegrad.nn.layers.rearranging import InferReshape
from tapegrad.nn.layers.shape import Flatten, View

if TYPE_CHECKING:
    from tapegrad.nn.module import Module

__all__ = [
    "Rules",
    "by_groups",
    "flat_view",
    "joined_axes",
    "of_one_window",
    "stand_ins",
    "times_minus_one",
]

Shape = tuple[int, ...]
Rules = Mapping[type, Callable[[Any, "Shape | None"], "Module | None"]]


def stand_ins(module: Any, rules: Rules, inputs: Any = None) -> dict[int, Module]:
    """id of a layer of `module` -> the layer to write for it; none where no rule fits.

    inputs: an example of the input, an array or a list of several, on which the module runs once in
            evaluate mode without a tape; without it the rules see no shape.  A layer that gets
            inputs of several shapes has none either
    """
    layers = [part for part in module.listModules() if type(part) in rules]
    shapes: dict[int, set[Shape]] = {}
    if inputs is not None and layers:
        _run(module, layers, inputs, shapes)
    found: dict[int, Module] = {}
    for layer in layers:
        seen = shapes.get(id(layer), set())
        other = rules[type(layer)](layer, next(iter(seen)) if len(seen) == 1 else None)
        if other is not None:
            other.train = layer.train
            found[id(layer)] = other.setName(layer.getName()) if layer.hasName() else other
    return found


def _run(module: Any, layers: list[Any], inputs: Any, shapes: dict[int, set[Shape]]) -> None:
    def note(layer: Any, given: tuple[Any, ...]) -> None:
        if len(given) == 1 and isinstance(given[0], Tensor):
            shapes.setdefault(id(layer), set()).add(tuple(given[0].shape))

    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(add_hook(layer, "before", note))
        stack.enter_context(evaluating(module))
        stack.enter_context(no_grad())
        stack.enter_context(np.errstate(all="ignore"))
        module(inputs)


def flat_view(layer: Flatten | InferReshape, shape: Shape | None) -> Module | None:
    """A View that does what a Flatten or InferReshape does to samples of this shape."""
    if shape is None or len(shape) < 2:
        return None
    with no_grad():
        made = layer.updateOutput(Tensor(np.zeros(shape, np.float32))).shape
    if made[0] != shape[0] or len(made) < 2:
        return None
    view: Module = View(*((-1,) if len(made) == 2 else made[1:])).setNumInputDims(len(shape) - 1)
    return view


def joined_axes(layer: Flatten, shape: Shape | None) -> Module | None:
    """An InferReshape that does what a Flatten of all axes but the first does, or a View."""
    last = -1 if shape is None else len(shape) - 1
    if layer.start_dim == 1 and layer.end_dim in (-1, last):
        return InferReshape((0, -1))
    return flat_view(layer, shape)


def of_one_window(layer: Any, shape: Shape | None) -> Module | None:
    """A pooling over all of an image of this shape as one with the numbers of its window."""
    if not layer.global_pooling or shape is None or len(shape) < 3:
        return None
    made: Module = type(layer)(shape[-1], shape[-2], 1, 1)
    if isinstance(layer, SpatialAveragePooling) and not layer.divide:
        vars(made)["divide"] = False
    return made


def by_groups(layer: Any, _: Shape | None) -> Module | None:
    """A convolution in groups as one for each group, of the planes that it sees.

    The weights of all are parts of the memory of the one.
    """
    groups = layer.nGroup
    if groups == 1:
        return None
    n_in, n_out = layer.nInputPlane // groups, layer.nOutputPlane // groups
    several = Concat(1)
    window = (layer.kW, layer.kH, layer.dW, layer.dH, layer.padW, layer.padH)
    for k in range(groups):
        part = SpatialConvolution(n_in, n_out, *window)
        mine = slice(k * n_out, (k + 1) * n_out)
        part.weight = Parameter(array_of(layer.weight)[mine])
        part.bias = None if layer.bias is None else Parameter(array_of(layer.bias)[mine])
        several.add(Sequential(Narrow(1, k * n_in, n_in), part))
    return several


def times_minus_one(_: Any, __: Shape | None) -> Module:
    """A MulConstant that does what Negative does."""
    return MulConstant(-1)
