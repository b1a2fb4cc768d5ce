"""symbol.json: read from every version since 0.8, written byte for byte as 1.9.1 writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tapegrad.nn.mxnet.attributes import attributes_of_inputs, renamed
from tapegrad.nn.mxnet.declaration import find_operator, operators
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.symbol.graph import Output, SymbolNode, in_order, states_of

__all__ = ["graph_from_json", "graph_to_json"]

VERSION = 10901
_INLINE = 10  # lists of numbers up to this length stand in one line
_BEFORE_ARGMAX_NONE = 905  # until then axis -1 of argmax and argmin meant None
_OLD = 800
_LIMIT_NODES = 1_000_000


def graph_to_json(heads: Sequence[Output]) -> str:
    """The text of symbol.json for a graph."""
    nodes = in_order(heads)
    ids = {id(node): i for i, node in enumerate(nodes)}
    states = states_of(nodes)
    rows = [0]
    for node in nodes:
        rows.append(rows[-1] + node.count)

    def entries(outputs: Iterable[Output]) -> list[list[int]]:
        # a state's version is 1, as it is written once
        return [[ids[id(n)], i, 1 if id(n) in states else 0] for n, i in outputs]

    fields = {
        "nodes": _lines([_node_text(node, entries(node.inputs)) for node in nodes], 2),
        "arg_nodes": _numbers([ids[id(n)] for n in nodes if n.op is None], 2),
        "node_row_ptr": _numbers(rows, 2),
        "heads": _numbers(entries(heads), 2),
        "attrs": f'{{"mxnet_version": ["int", {VERSION}]}}',
    }
    return _object(fields, 0)


def _node_text(node: SymbolNode, inputs: list[list[int]]) -> str:
    if node.op is not None and node.op.name not in operators():
        raise MXNetError(
            f"{node.op.name} {node.name!r} runs Python code, which symbol.json cannot hold: write "
            "the parameters alone, save_params, and make the symbol in your script"
        )
    fields = {"op": _text(node.op.name if node.op else "null"), "name": _text(node.name)}
    if node.attrs:
        attrs = {key: _text(value) for key, value in sorted(node.attrs.items())}
        if len(attrs) == 1:
            [(key, value)] = attrs.items()
            fields["attrs"] = f"{{{_text(key)}: {value}}}"
        else:
            fields["attrs"] = _object(attrs, 6)
    fields["inputs"] = _numbers(inputs, 6)
    return _object(fields, 4)


def _object(fields: dict[str, str], indent: int) -> str:
    inner = ", ".join(f"\n{' ' * (indent + 2)}{_text(k)}: {v}" for k, v in fields.items())
    return f"{{{inner}\n{' ' * indent}}}"


def _lines(items: list[str], indent: int) -> str:
    inner = ", ".join(f"\n{' ' * (indent + 2)}{item}" for item in items)
    return f"[{inner}\n{' ' * indent}]" if items else "[]"


def _numbers(values: Sequence[Any], indent: int) -> str:
    texts = [json.dumps(value) for value in values]
    return f"[{', '.join(texts)}]" if len(texts) <= _INLINE else _lines(texts, indent)


_ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _text(value: str) -> str:
    return '"' + "".join(_ESCAPED.get(c, c) for c in value) + '"'


# Reading ------------------------------------------------------------------------------------------


def graph_from_json(text: str, place: str = "symbol.json") -> list[Output]:
    """The heads of the graph that the text describes.

    place: what the text is called in an error
    Raises MXNetError for text that is no JSON of a symbol, an unknown operator (with its node), an
    input that does not come before its node, and an index out of range.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MXNetError(f"{place}: it is no JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("nodes"), list):
        raise MXNetError(f"{place}: a symbol has a list 'nodes'")
    if len(found["nodes"]) > _LIMIT_NODES:
        raise MXNetError(f"{place}: {len(found['nodes'])} nodes, more than {_LIMIT_NODES}")
    version = _version(found)
    nodes: list[SymbolNode] = []
    for i, entry in enumerate(found["nodes"]):
        nodes.append(_read_node(entry, nodes, version, f"{place}: node {i}"))
    heads = [_read_entry(h, nodes, f"{place}: heads") for h in found.get("heads") or []]
    if not heads:
        raise MXNetError(f"{place}: it has no heads")
    return heads


def _version(found: dict[str, Any]) -> int:
    attrs = found.get("attrs")
    entry = attrs.get("mxnet_version") if isinstance(attrs, dict) else None
    if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], int):
        return entry[1]
    return _OLD


def _read_node(entry: Any, before: list[SymbolNode], version: int, place: str) -> SymbolNode:
    if not isinstance(entry, dict):
        raise MXNetError(f"{place} is {type(entry).__name__}, not an object")
    name, op = entry.get("name"), entry.get("op")
    if not isinstance(name, str) or not isinstance(op, str):
        raise MXNetError(f"{place} has no name or no op")
    if entry.get("subgraphs"):
        raise MXNetError(f"{place} ({name!r}) runs subgraphs, which are not supported")
    attrs: dict[str, str] = {}
    for key in ("param", "attr", "attrs"):
        part = entry.get(key) or {}
        if not isinstance(part, dict):
            raise MXNetError(f"{place} ({name!r}): {key} is no object")
        attrs.update({str(k): v if isinstance(v, str) else str(v) for k, v in part.items()})
    inputs = [_read_entry(e, before, f"{place} ({name!r})") for e in entry.get("inputs") or []]
    if op == "null":
        return SymbolNode(None, name, renamed(attrs), inputs)
    declared = find_operator(op, name)
    attrs, of_inputs = attributes_of_inputs(attrs)
    if version < _BEFORE_ARGMAX_NONE and declared.name in ("argmax", "argmin"):
        attrs = {k: v for k, v in attrs.items() if (k, v) != ("axis", "-1")}
    node = SymbolNode(declared, name, attrs, inputs)
    _complete(node, place)
    for key, value in of_inputs.items():
        node.pass_on(key, value)
    return node


def _read_entry(entry: Any, nodes: list[SymbolNode], place: str) -> Output:
    if not (
        isinstance(entry, list)
        and len(entry) in (2, 3)
        and all(isinstance(n, int) and not isinstance(n, bool) for n in entry)
    ):
        raise MXNetError(f"{place}: an input is [node, output, version], not {entry!r}")
    node, index = entry[:2]
    if not 0 <= node < len(nodes):
        raise MXNetError(f"{place}: input node {node} does not come before it")
    if not 0 <= index < max(nodes[node].count, 1):
        raise MXNetError(f"{place}: {nodes[node].name!r} has no output {index}")
    return nodes[node], index


def _complete(node: SymbolNode, place: str) -> None:
    """Add variables for inputs that old files leave out: states, and labels of losses."""
    if node.op is None or node.op.variadic:
        return
    try:
        names = node.op.input_names(node.read)
    except MXNetError as error:
        raise MXNetError(f"{place} ({node.name!r}): {error}") from error
    if len(node.inputs) > len(names):
        raise MXNetError(
            f"{place} ({node.name!r}): {node.op.name} takes {len(names)} inputs, not "
            f"{len(node.inputs)}"
        )
    for name in names[len(node.inputs) :]:
        initial = {"__init__": node.op.initial[name]} if name in node.op.initial else {}
        node.inputs.append((SymbolNode(None, f"{node.name}_{name}", initial), 0))
