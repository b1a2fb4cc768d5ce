"""Graphs in BigDL's files: nodes by their names, each with the names of those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.nn.containers.graph import Graph, GraphNode
from tapegrad.nn.formats.bigdl.attributes import NULL, array_attr, attr
from tapegrad.nn.formats.bigdl.building import short_name
from tapegrad.nn.formats.bigdl.fields import SCHEMA
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.layers.activation import Identity
from tapegrad.nn.layers.table import SelectTable

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["read_graph", "write_graph"]

LOOP = "a graph without loops (BigDL's DynamicGraph may have them)"
_ALL = -1  # of an edge: the whole output of the node before


def _node_name(record: Record) -> str:
    """What a graph calls a node: its name, or its class and the text that tells it from others."""
    return record.name or short_name(record.moduleType).rpartition(".")[2] + record.namePostfix


def read_graph(reader: Any, record: Record, path: str, entry: Any) -> Graph:
    """The graph of a record.  Raises FormatError for names that are not there, or twice."""
    records: dict[str, Record] = {}
    for child in record.subModules:
        name = _node_name(child)
        if name in records:
            raise reader.error("each node once", f"{name:.60}", path)
        records[name] = child
    inputs, outputs = (
        _names(reader, record, "inputNames", path),
        _names(reader, record, "outputNames", path),
    )
    nodes: dict[str, GraphNode] = {}
    for name in _in_order(reader, records, [*inputs, *outputs], path):
        child = records[name]
        parents = [] if name in inputs else list(child.preModules)
        edges = record.attr.get(f"{name}_edges")
        nodes[name] = GraphNode(
            reader.build(child, f"{path}.{name:.60}"),
            [_selected(reader, nodes[p], edges, p, path) for p in parents],
        )
    graph = Graph([nodes[name] for name in inputs], [nodes[name] for name in outputs])
    stopped = reader_list(reader, record, "stopGradientLayers", path)
    if stopped:
        graph.stopGradient(*stopped)
    return graph


def _names(reader: Any, record: Record, attribute: str, path: str) -> list[str]:
    found = reader_list(reader, record, attribute, path)
    if not found or len(set(found)) != len(found):
        raise reader.error("names of nodes, each once", f"{found!r:.60}", f"{path}.{attribute}")
    return found


def reader_list(reader: Any, record: Record, attribute: str, path: str) -> list[str]:
    """The texts of an attribute; none where it is missing or null."""
    if attribute not in record.attr:
        return []
    found = reader.attribute(record, attribute, path)
    if found is NULL:
        return []
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise reader.error("a list of texts", f"{found!r:.60}", f"{path}.{attribute}")
    return found


def _in_order(reader: Any, records: dict[str, Record], wanted: list[str], path: str) -> list[str]:
    """The nodes that are needed, those before a node first; found without recursion."""
    order: dict[str, None] = {}
    open_nodes: set[str] = set()
    pending = [(name, False) for name in reversed(wanted)]
    while pending:
        name, done = pending.pop()
        if done:
            order[name] = None
            open_nodes.discard(name)
            continue
        if name in order:
            continue
        if name not in records:
            raise reader.error("the name of a node", f"{name:.60}", path)
        if name in open_nodes:
            raise reader.error(LOOP, f"{name:.60}", path, UnsupportedError)
        open_nodes.add(name)
        pending.append((name, True))
        pending += [(before, False) for before in reversed(records[name].preModules)]
    return list(order)


def _selected(
    reader: Any, node: GraphNode, edges: Record | None, name: str, path: str
) -> GraphNode:
    """The node before, or the entry of its output that an edge takes."""
    index = _ALL
    if edges is not None and name in edges.nameAttrListValue.attr:
        index = edges.nameAttrListValue.attr[name].int32Value
    if index == _ALL:
        return node
    if index < 1:
        raise reader.error("an entry that counts from 1", index, f"{path}.{name:.60}_edges")
    return GraphNode(None, (node,), selected=index - 1)


def write_graph(writer: Any, module: Any, record: Record, path: str) -> None:
    """Describe the steps of a graph as nodes; what selects an entry becomes a SelectTable."""
    names: list[str] = []
    used: set[str] = set()
    inputs: dict[int, str] = {}
    for number, step in enumerate(module.steps):
        where = f"{path}.steps[{number}]"
        inner = module.modules[step.module] if step.module is not None else Identity()
        if step.selected is not None:
            if step.module is not None:
                raise UnsupportedError("a step that selects, and has no module", path=where)
            inner = SelectTable(step.selected)
        child = writer.describe(inner, where)
        if step.module is None and step.selected is None:
            child.train = module.train
        name = _node_name(child)
        if name in used:  # a module that stands in the graph twice
            if child.name:
                child.name = f"{child.name}_{number}"
            else:
                child.namePostfix = f"{writer.tensors.next_id():08x}"
            name = _node_name(child)
        used.add(name)
        names.append(name)
        before = [names[parent] for parent in step.parents]
        child.preModules, child.nextModules = before, list(before)
        record.subModules.append(child)
        edges = SCHEMA.new(
            "NameAttrList", name=name, attr={each: attr("INT32", _ALL) for each in before}
        )
        record.attr[f"{name}_edges"] = attr("NAME_ATTR_LIST", edges)
        if step.input is not None:
            inputs[step.input] = name
    if sorted(inputs) != list(range(module.nInputs)):
        raise UnsupportedError("a graph whose inputs each have one step", path=path)
    record.attr["inputNames"] = array_attr("STRING", [inputs[i] for i in range(module.nInputs)])
    record.attr["outputNames"] = array_attr("STRING", [names[step] for step in module.outputs])
    if module.stopped:
        record.attr["stopGradientLayers"] = array_attr("STRING", [names[i] for i in module.stopped])
    writer.inherit(record, record.subModules)
