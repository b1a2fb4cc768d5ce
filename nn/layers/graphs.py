"""Inputs of graphs; and a module as a graph of its layers, its chains and branches flattened."""

from __future__ import annotations

from typing import Any, TypeAlias

from tapegrad.nn.containers.container import Concat, ConcatTable, ParallelTable, Sequential
from tapegrad.nn.containers.graph import Graph, GraphNode, gModule, node
from tapegrad.nn.core.hooks import HOOKS
from tapegrad.nn.core.services import register_service
from tapegrad.nn.core.timing import TIME
from tapegrad.nn.core.transient import transient_state_of, transient_value
from tapegrad.nn.layers.activation import Identity
from tapegrad.nn.layers.table import JoinTable

__all__ = ["Input"]

# What flows from one module to the next: the node of its value, or of each entry of a list.
Flow: TypeAlias = "GraphNode | list[Flow]"


def Input(name: str | None = None) -> GraphNode:  # BigDL's name
    """An input of a graph: a node without parents, whose module returns what it is given.

    name: of its module.  Source: BigDL's Input.
    """
    return node(Identity().setName(name))


@register_service("to_graph")
def to_graph(module: Any, *starts: GraphNode) -> Graph | gModule:
    """The Graph of a module's layers, which it shares with the module (`Module.toGraph`).

    starts: the inputs; without them one is made.  A graph in which nothing can be flattened is
    returned itself.
    """
    if not starts and isinstance(module, gModule) and not any(map(_opens, module.modules)):
        return module
    count = module.nInputs if isinstance(module, gModule) else 1
    inputs = list(starts) or [Input() for _ in range(count)]
    flow = _flow(module, inputs[0] if len(inputs) == 1 else list(inputs))
    outputs = [_one(each) for each in flow] if isinstance(flow, list) else [flow]
    graph = Graph(inputs, outputs)
    if (formats := transient_value(module, "formats")) is not None:
        transient_state_of(graph).formats = formats
    return graph


def _is(module: Any, *classes: type) -> bool:
    """Whether the module runs the forward code of one of the classes."""
    return any(
        isinstance(module, cls)
        and getattr(type(module), "updateOutput", None) is vars(cls)["updateOutput"]
        for cls in classes
    )


def _opens(module: Any) -> bool:
    """Whether `_flow` makes several nodes of the module."""
    hooked = set(vars(module).get(HOOKS) or ()) - {TIME}
    if hooked or not getattr(module, "modules", None):
        return False
    if _is(module, gModule):
        return not module.stopped
    several = len(module.modules) > 1  # one branch gives a list of one, which a node is not
    return _is(module, Sequential) or (several and _is(module, Concat, ConcatTable, ParallelTable))


def _one(flow: Flow) -> GraphNode:
    """One node for a flow: of a list, that of an Identity that returns it."""
    return node(Identity(), [_one(each) for each in flow]) if isinstance(flow, list) else flow


def _flow(module: Any, flow: Flow) -> Flow:
    """What comes out of the module for what flows in."""
    if not _opens(module):
        inner = [_one(each) for each in flow] if isinstance(flow, list) else [flow]
        return node(module, inner)
    if _is(module, Sequential):
        for child in module.modules:
            flow = _flow(child, flow)
        return flow
    if _is(module, gModule):
        return _flow_through_graph(module, flow)
    if _is(module, ParallelTable):
        entries = _entries(flow, len(module.modules))
        return [_flow(m, each) for m, each in zip(module.modules, entries, strict=True)]
    branches: list[Flow] = [_flow(child, flow) for child in module.modules]
    if not _is(module, Concat):
        return branches
    return node(JoinTable(module.dimension), [_one(each) for each in branches])


def _entries(flow: Flow, count: int) -> list[Flow]:
    if isinstance(flow, list) and len(flow) == count:
        return flow
    return [GraphNode(None, (_one(flow),), selected=i) for i in range(count)]


def _flow_through_graph(module: gModule, flow: Flow) -> Flow:
    entries = [flow] if module.nInputs == 1 else _entries(flow, module.nInputs)
    flows: list[Flow] = []
    for step in module.steps:
        parents = [flows[parent] for parent in step.parents]
        if step.input is not None:
            parents = [entries[step.input]]
        value: Flow = parents[0] if len(parents) == 1 else list(parents)
        if step.selected is not None:
            chosen = value[step.selected] if isinstance(value, list) else None
            value = chosen or GraphNode(None, (_one(value),), selected=step.selected)
        flows.append(value if step.module is None else _flow(module.modules[step.module], value))
    results = [flows[number] for number in module.outputs]
    return results[0] if len(results) == 1 else results
