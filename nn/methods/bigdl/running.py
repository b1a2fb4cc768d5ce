"""Times, shapes, modes and graphs of a module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import default_dtype, no_grad
from tapegrad.autograd.core.tensor import untracked
from tapegrad.autograd.core.tree import leaves
from tapegrad.nn.core.functional_call import shadow_of
from tapegrad.nn.core.graph_node import GraphNode, node
from tapegrad.nn.core.hooks import HOOKS
from tapegrad.nn.core.own import qualified_name
from tapegrad.nn.core.part import Part, known_dtype
from tapegrad.nn.core.services import service
from tapegrad.nn.core.timing import BACKWARD, FORWARD, TIME, start
from tapegrad.nn.core.transient import transient_state_of, transient_value

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["Running"]

NO_SHAPE = (
    "{name}.{method}: the module has not run as one that keeps its {what}; give the shape of the "
    "input, {name}.{method}((32, 10)), or call forward{more} first"
)
NOT_A_SHAPE = "{name}.{method} takes a shape, such as (32, 10), or a list of shapes, not {found!r}"
NOT_NODES = (
    "{name}.inputs takes nodes, pairs (node, entry), or one list of them; {found!r:.60} is none"
)


class Running(Part):
    """What is known of a module's runs, and its place in graphs."""

    train: Any  # of the mixin Torch7, as the next one
    reset: Any

    # Times ----------------------------------------------------------------------------------------

    def resetTimes(self, measure: bool = True) -> Self:
        """Set the times of this module and of all below to zero, and measure them from now on.

        measure: False stops measuring; a module that is not measured costs nothing
        Copies and files of a module are not measured.  Returns self.
        """
        for module in self.listModules():
            hooks: dict[str, list[Any]] | None = module._tapegrad_hooks
            if measure:
                if hooks is None:
                    hooks = module.__dict__[HOOKS] = {}
                hooks[TIME] = [start()]
            elif hooks is not None:
                hooks.pop(TIME, None)
                if not any(hooks.values()):
                    del module.__dict__[HOOKS]
        return self

    def getTimes(self) -> list[tuple[Any, int, int]]:
        """(module, forward, backward) in nanoseconds since `resetTimes`, those below first.

        A module's time is its own, without that of the modules below, so that the sum is the time
        of all.  Backward is the part of a reverse sweep in the calls that its forward code made.
        All are zero before `resetTimes`, which begins to measure; steps that `replay` runs call no
        module, and count nothing.
        """
        return [(module, *_times_of(module)) for module in _children_first(self, set())]

    def getTimesGroupByModuleType(self) -> list[tuple[str, int, int]]:
        """(class, forward, backward) of `getTimes`, summed, the largest sum of both first."""
        sums: dict[str, list[int]] = {}
        for module, forward, backward in self.getTimes():
            spent = sums.setdefault(qualified_name(type(module)), [0, 0])
            spent[FORWARD] += forward
            spent[BACKWARD] += backward
        ordered = sorted(sums.items(), key=lambda item: -sum(item[1]))
        return [(name, forward, backward) for name, (forward, backward) in ordered]

    # Shapes ---------------------------------------------------------------------------------------

    def getInputShape(self, inputShape: Any = None) -> Any:
        """The shape of the last input, batch first; of several, a list.

        inputShape: if given, it is checked that the module runs on it, and returned.  A module
        below the one that ran knows its input after `backward`, by `gradInput`.
        Raises ValueError where nothing is known, TypeError for what is no shape, ShapeError for a
        shape that does not fit.
        """
        if inputShape is not None:
            self.getOutputShape(inputShape)
            return _shapes(_zeros(self, "getInputShape", inputShape))
        trace = transient_value(self, "trace")
        if trace is not None:
            inputs = trace.root.inputs
            return _shapes(inputs[0] if len(inputs) == 1 else inputs)
        gradient = transient_value(self, "gradInput")
        if gradient is None:
            raise ValueError(_no_shape(self, "getInputShape", "input", " and backward"))
        return _shapes(gradient)

    def getOutputShape(self, inputShape: Any = None) -> Any:
        """The shape of the last output, batch first; of several, a list.

        inputShape: if given, the shape of the output for an input of this shape, or list of shapes.
        A copy runs on zeros in evaluation mode, without memory of its own for parameters.
        Raises ValueError before the first forward, TypeError for what is no shape, ShapeError for a
        shape that does not fit.
        """
        if inputShape is None:
            output = transient_value(self, "output")
            if output is None:
                raise ValueError(_no_shape(self, "getOutputShape", "output", ""))
            return _shapes(output)
        zeros = _zeros(self, "getOutputShape", inputShape)
        copy = shadow_of(self, {})
        for module in copy.listModules():
            module.train = False
        generator = devices.generator("cpu")
        state = generator.get_state()
        try:
            with no_grad():
                return _shapes(copy(zeros))
        finally:
            generator.set_state(state)

    # Mode and state -------------------------------------------------------------------------------

    def isTraining(self) -> bool:
        """Whether the module is in training mode."""
        return bool(self.train)

    def release(self) -> Self:
        """Give back what calls keep: results, gradients of inputs, and the tape; returns self.

        BigDL frees the native memory of int8 layers; here Python frees memory by itself.
        """
        return self.clearState()

    # Graphs ---------------------------------------------------------------------------------------

    def inputs(self, *nodes: Any) -> GraphNode:
        """The node of this module in a graph, fed by nodes, as ``module(node, …)``.

        nodes: nodes, pairs (node, entry) for one entry of the list that a node's module returns,
        counted from 0, or one list of both; none makes an input of the graph.
        Raises TypeError for anything else.
        """
        if len(nodes) == 1 and isinstance(nodes[0], list):
            nodes = tuple(nodes[0])
        return node(self, *[_as_node(self, each) for each in nodes])

    def toGraph(self, *startNodes: GraphNode) -> Any:
        """The module as a Graph of its layers, with chains, branches and graphs below flattened.

        startNodes: inputs of the graph; without them one input is made.  The layers are shared with
        this module.  A graph without graphs or chains in it is returned as it is.
        """
        return service("to_graph")(self, *startNodes)

    def setInputFormats(self, formats: Sequence[int]) -> Self:
        """Note the memory layouts of the inputs, by BigDL's numbers; returns self.

        Nothing here depends on them; copies keep them.
        """
        return self._note_formats(0, formats)

    def setOutputFormats(self, formats: Sequence[int]) -> Self:
        """Note the memory layouts of the outputs, as `setInputFormats`; returns self."""
        return self._note_formats(1, formats)

    def _note_formats(self, position: int, formats: Sequence[int]) -> Self:
        state = transient_state_of(self)
        noted = list(state.formats or (None, None))
        noted[position] = tuple(formats)
        state.formats = tuple(noted)
        return self


def _times_of(module: Any) -> tuple[int, int]:
    hooks = module._tapegrad_hooks
    if hooks is None or TIME not in hooks:
        return 0, 0
    forward, backward = hooks[TIME][0].spent
    return forward, backward


def _children_first(module: Part, seen: set[int]) -> list[Any]:
    """The modules below, then the module, each once."""
    found: list[Any] = []
    seen.add(id(module))
    for child in Part.children(module):
        if id(child) not in seen:
            found += _children_first(child, seen)
    return [*found, module]


def _no_shape(module: Any, method: str, what: str, more: str) -> str:
    name = type(module).__name__
    return NO_SHAPE.format(name=name, method=method, what=what, more=more)


def _is_shape(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 0 for n in value
    )


def _zeros(module: Any, method: str, shape: Any) -> Any:
    """Zeros of a shape, or a list of such."""
    if _is_shape(shape):
        dtype = known_dtype(module)
        return untracked(np.zeros(tuple(shape), default_dtype() if dtype is None else dtype))
    if isinstance(shape, (list, tuple)) and shape:
        return [_zeros(module, method, each) for each in shape]
    name = type(module).__name__
    raise TypeError(NOT_A_SHAPE.format(name=name, method=method, found=shape))


def _shapes(nest: Nest) -> Any:
    if isinstance(nest, dict):
        return {key: _shapes(value) for key, value in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [_shapes(value) for value in nest]
    (leaf,) = leaves(nest)
    return tuple(leaf.shape)


def _as_node(module: Any, value: Any) -> GraphNode:
    if isinstance(value, GraphNode):
        return value
    if isinstance(value, tuple) and len(value) == 2:
        upstream, entry = value
        if isinstance(upstream, GraphNode) and isinstance(entry, int) and entry >= 0:
            return GraphNode(None, (upstream,), selected=entry)
    raise TypeError(NOT_NODES.format(name=type(module).__name__, found=value))
