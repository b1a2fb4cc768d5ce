"""From a module to the records of Caffe's two files: inputs, layers, outputs that nothing reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.nn.formats.caffe.fields import SCHEMA
from tapegrad.nn.formats.caffe.table import TABLE
from tapegrad.nn.formats.caffe.writing import Output, Writing
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.network import Network, NetworkNode, NetworkValue, unused_name
from tapegrad.nn.formats.common.taking_apart import network_of
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.lookup import LookupTable

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record
    from tapegrad.nn.module import Module

__all__ = ["net_of", "without_blobs"]


def net_of(module: Module, inputs: Any, *, v2: bool) -> Record:
    """The NetParameter of a module, with its weights.

    inputs: examples or shapes of the inputs, with the batch; None: those that the layers say
    Raises UnsupportedError, with class and place, for what Caffe has no word for.
    """
    leaves = tuple(TABLE.written_classes())
    network = network_of(module, *_examples(inputs), leaves=leaves)
    if inputs is None and (guess := _first_shape(network)) is not None:
        network = network_of(module, guess, leaves=leaves)
    network.nodes = _needed(network)
    out = Output(network, v2)
    net = SCHEMA.new("NetParameter", name=module.getName() if module.hasName() else "tapegrad")
    tops: dict[NetworkValue, str] = {}
    for name in network.inputs:
        tops[NetworkValue(name)] = name
    _put_inputs(out, net)
    for node in network.nodes:
        _, write = TABLE.writer(node.layer, f"model{node.place}")
        writing = Writing(out, node, [tops[value] for value in node.inputs])
        made = write(writing, node.layer)
        tops[NetworkValue(node.name)] = made[0]
        tops |= {NetworkValue(node.name, i): top for i, top in enumerate(made)}
    _put_outputs(out, tops)
    if v2:
        net.layer = out.layers
    else:
        net.layers = out.layers
    return net


def _examples(inputs: Any) -> tuple[Any, ...]:
    if inputs is None:
        return ()
    several = isinstance(inputs, (list, tuple)) and not all(isinstance(n, int) for n in inputs)
    return tuple(inputs) if several else (inputs,)


def _first_shape(network: Network) -> tuple[int, ...] | None:
    """A shape of the only input, where the first layer says all of it."""
    if len(network.inputs) != 1:
        return None
    readers = network.readers_of().get(NetworkValue(network.inputs[0]), [])
    for node in readers:
        if type(node.layer) is Linear:
            layer: Any = node.layer
            return (1, layer.weight.shape[1])
        if type(node.layer) is LookupTable:
            return (1, 1)
    return None


def _needed(network: Network) -> list[NetworkNode]:
    """The nodes on which the outputs depend: a blob that nothing reads would be an output."""
    needed = {value.name for value in network.outputs}
    kept: list[NetworkNode] = []
    for node in reversed(network.nodes):
        if node.name in needed:
            kept.append(node)
            needed |= {value.name for value in node.inputs}
    return kept[::-1]


def _put_inputs(out: Output, net: Record) -> None:
    network = out.network
    read = {value.name for node in network.nodes for value in node.inputs}
    read |= {value.name for value in network.outputs}
    for name in network.inputs:
        kind = network.type_of(NetworkValue(name))
        shape = None if kind is None else SCHEMA.new("BlobShape", dim=list(kind.shape))
        if out.v2:
            if shape is None:
                out.put("Input", name, [], [name], "the input")
            else:
                out.put("Input", name, [], [name], "the input", input_param={"shape": [shape]})
        else:
            net.input.append(name)
            if shape is not None:
                net.input_shape.append(shape)
        if name not in read:
            out.put("Silence", unused_name(f"{name}_unused", out.names), [name], [], "the input")


def _put_outputs(out: Output, tops: dict[NetworkValue, str]) -> None:
    """A Split for each output where something else reads it, or where their order is another."""
    outputs = [tops[value] for value in out.network.outputs]
    read = {bottom for layer in out.layers for bottom in layer.bottom}
    order = [top for layer in out.layers for top in layer.top]
    numbers = [order.index(top) if top in order else -1 for top in outputs]
    plain = sorted(set(numbers)) == numbers and not read & set(outputs) and -1 not in numbers
    plain = plain and bool(out.layers[-1].top)  # programs that ask for no name get the last layer
    if plain and not set(out.network.inputs) & set(outputs):
        return
    for top in outputs:
        name = unused_name(f"{top}_output", out.names)
        out.put("Split", name, [top], [name], f"the output {top}")


def without_blobs(net: Record) -> Record:
    """The same network without weights, for the text."""
    field = "layer" if "layer" in net else "layers"
    copied = SCHEMA.new("NetParameter", **{f.name: value for f, value in net.items()})
    layers = []
    for layer in getattr(net, field):
        values = {f.name: value for f, value in layer.items() if f.name != "blobs"}
        kind = "LayerParameter" if field == "layer" else "V1LayerParameter"
        layers.append(SCHEMA.new(kind, **values))
    if layers:
        setattr(copied, field, layers)
    return copied


def refuse_empty(net: Record) -> None:
    """Raise UnsupportedError for a network without layers."""
    if not net.layer and not net.layers:
        raise UnsupportedError("a module with layers", "none", path="model")
