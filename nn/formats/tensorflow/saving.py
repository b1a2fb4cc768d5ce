"""saveTF: a module as a frozen graph, whose Placeholders take batches of any size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import default_dtype
from tapegrad.nn.core import places
from tapegrad.nn.core.services import register_service
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.network import NetworkValue
from tapegrad.nn.formats.common.taking_apart import network_of
from tapegrad.nn.formats.tensorflow.fields import SCHEMA
from tapegrad.nn.formats.tensorflow.operators import TABLE
from tapegrad.nn.formats.tensorflow.tensors import DTYPES
from tapegrad.nn.formats.tensorflow.writing import Edge, LayerWriting, Pen

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.network import NetworkNode
    from tapegrad.nn.formats.common.protobuf import Record
    from tapegrad.nn.module import Module

__all__ = ["graph_of_module", "saveTF"]

NO_INPUTS = (
    "inputs is a list of names and shapes, [('input', (1, 3, 224, 224))], whose first length is "
    "the batch, not {found!r:.80}"
)
FORMATS = "dataFormat is 'NHWC' or 'NCHW', not {found!r}"
NO_ORDER = "byteOrder is 'little': all files are written so, found {found!r}"
_BATCH = 2  # of the example, where any batch is asked for
_TYPES = {np.dtype(text): number for number, (text, _) in DTYPES.items()}


@register_service("save_tf")
def saveTF(
    module: Module,
    inputs: Sequence[tuple[str, Sequence[int | None]]],
    path: str | os.PathLike[str],
    byteOrder: str = "little",
    dataFormat: str = "NHWC",
) -> None:
    """Write a module, as it is in evaluate mode, as a frozen GraphDef.

    inputs:     [(name, shape), …], a shape for each array that the module takes, in our order,
                (N, C, H, W) for images.  The graph takes batches of any size; with a length N and a
                SpatialFullConvolution of that one alone, which other programs than TensorFlow need.
                N None or -1 says that it must be any
    byteOrder:  "little"
    dataFormat: the graph's order of the axes of images, "NHWC" or "NCHW".  With "NHWC" all arrays
                of four axes have the second one last, inputs and outputs too
    The nodes of a layer's result have the layer's name.
    Raises UnsupportedError for a layer that TensorFlow has no word for, naming class and place,
    ValueError for other arguments, OSError for the file itself.  Nothing is written then.
    Source: BigDL's saveTF.
    """
    if byteOrder not in ("little", "little_endian"):
        raise ValueError(NO_ORDER.format(found=byteOrder))
    if dataFormat not in ("NHWC", "NCHW"):
        raise ValueError(FORMATS.format(found=dataFormat))
    graph = graph_of_module(module, inputs, dataFormat)
    with places.replaced(path) as stream:
        SCHEMA.write(graph, stream)


def graph_of_module(
    module: Module, inputs: Sequence[tuple[str, Sequence[int | None]]], data_format: str = "NHWC"
) -> Record:
    """The GraphDef that `saveTF` writes.

    Raises UnsupportedError, ValueError as `saveTF`.
    """
    names, shapes, batch = _checked(inputs)
    with np.errstate(all="ignore"):  # the example is of ones, and no one sees its results
        network = network_of(module, *(np.ones(shape, _dtype(module)) for shape in shapes))
    if len(network.inputs) != len(names):
        raise ValueError(NO_INPUTS.format(found=inputs))
    pen = Pen(network, data_format == "NHWC", batch)
    _reserve(pen, names)
    for name, own in zip(names, network.inputs, strict=True):
        _write_input(pen, name, own)
    for node in network.sorted():
        _write_node(pen, node)
    _write_outputs(pen)
    versions = SCHEMA.new("VersionDef", producer=27)
    return SCHEMA.new("GraphDef", node=pen.nodes, versions=versions)


def _checked(
    inputs: Sequence[tuple[str, Sequence[int | None]]],
) -> tuple[list[str], list[tuple[int, ...]], int | None]:
    try:
        pairs = [(name, tuple(shape)) for name, shape in inputs]
        names = [name for name, _ in pairs]
        batches = {shape[0] for _, shape in pairs}
        [batch] = {None if n in (None, -1) else int(n) for n in batches}
        size = batch or _BATCH
        shapes = [(size, *(int(n) for n in shape[1:])) for _, shape in pairs]  # type: ignore[arg-type]  # None: a TypeError
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(NO_INPUTS.format(found=inputs)) from error
    good = all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names)
    if not good or any(min(shape) < 1 for shape in shapes):
        raise ValueError(NO_INPUTS.format(found=inputs))
    return names, shapes, batch


def _dtype(module: Module) -> np.dtype[Any]:
    floats = [p.dtype for _, p in module.named_parameters() if p.dtype.kind == "f"]
    return np.dtype(floats[0] if floats else default_dtype())


def _reserve(pen: Pen, names: list[str]) -> None:
    """Inputs have the names that were asked for; no layer's nodes take them."""
    for node in pen.network.nodes:
        if node.name in names:
            raise UnsupportedError(
                "names of inputs that no layer has", repr(node.name), path=f"model{node.place}"
            )


def _write_input(pen: Pen, name: str, own: str) -> None:
    value = NetworkValue(own)
    kind = pen.network.types[value]
    lengths = pen.in_graph([-1, *kind.shape[1:]])
    dims = [SCHEMA.new("Dim", size=n) for n in lengths]
    shape = SCHEMA.new("AttrValue", shape=SCHEMA.new("TensorShapeProto", dim=dims))
    dtype = SCHEMA.new("AttrValue", type=_TYPES[np.dtype(kind.dtype)])
    pen.add("Placeholder", name, [], dtype=dtype, shape=shape)
    pen.wires[value] = Edge(name)


def _write_node(pen: Pen, node: NetworkNode) -> None:
    _, write = TABLE.writer(node.layer, f"model{node.place}")
    writing = LayerWriting(pen, node)
    write(writing, node.layer)


def _write_outputs(pen: Pen) -> None:
    """An Identity for each output where another node reads one, or where their order is another.

    Readers take what no node reads for the outputs, in the file's order.
    """
    outputs = pen.network.outputs
    refs = [pen.wires[value].ref for value in outputs]
    read = {ref for node in pen.nodes for ref in node.input}
    order = [node.name for node in pen.nodes]
    numbers = [order.index(ref) if ref in order else -1 for ref in refs]
    if sorted(set(numbers)) == numbers and -1 not in numbers and not read & set(refs):
        return
    for value, ref in zip(outputs, refs, strict=True):
        dtype = SCHEMA.new("AttrValue", type=_TYPES[np.dtype(pen.network.types[value].dtype)])
        pen.add("Identity", f"{value.name}_output", [ref], T=dtype)
