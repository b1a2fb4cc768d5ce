"""Containers, and layers that hold others, in BigDL's files."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.formats.bigdl.attributes import NULL, attr
from tapegrad.nn.formats.bigdl.description import array_in
from tapegrad.nn.formats.bigdl.entry import Entry, declared
from tapegrad.nn.formats.bigdl.graphs import read_graph, write_graph
from tapegrad.nn.formats.bigdl.layer_entries import OURS
from tapegrad.nn.formats.bigdl.quantized import read_quantized
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.pointwise import CAdd, CMul

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["COMPOSITES", "READ_ONLY"]

_MOST = 2**31 - 1


def _read_container(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    module = reader.made(entry, record, path)
    for child in reader.children(record, path):
        module.add(child)
    return module


def _write_container(writer: Any, module: Any, record: Record, path: str) -> None:
    writer.children(record, module.modules, path)


def _one_child(reader: Any, record: Record, path: str) -> Any:
    """The module inside: an attribute of the container, and the first of its children."""
    child = reader.module_in(record, "module", path)
    if child is not None:
        return child
    found = reader.children(record, path)
    if not found:
        raise reader.error("a module inside", "none", path)
    return found[0]


def _read_map(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    return entry.cls(_one_child(reader, record, path))


def _write_map(writer: Any, module: Any, record: Record, path: str) -> None:
    writer.children(record, module.modules[:1], path)
    child = record.subModules[0] if record.subModules else None
    record.attr["module"] = (
        writer.module_attr(None, path) if child is None else attr("MODULE", child)
    )


def _read_bottle(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    values = entry.values(record.attr, reader.file, path)
    child = _one_child(reader, record, path)
    return entry.cls(child, values["nInputDim"], values["nOutputDim"])


def _write_bottle(writer: Any, module: Any, record: Record, path: str) -> None:
    _write_map(writer, module, record, path)


def _read_scale(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    """A Scale of its CMul and its CAdd."""
    layers = [reader.module_in(record, name, path) for name in ("cmul", "cadd")]
    if not isinstance(layers[0], CMul) or not isinstance(layers[1], CAdd):
        raise reader.error("a CMul and a CAdd", None, path)
    module = entry.cls.__new__(entry.cls)
    module.__dict__.update(weight=layers[0].weight, bias=layers[1].bias)
    if module.weight.shape != module.bias.shape:
        raise reader.error("two arrays of one shape", module.bias.shape, path)
    return module


def _write_scale(writer: Any, module: Any, record: Record, path: str) -> None:
    for name, cls, field in (("cmul", CMul, "weight"), ("cadd", CAdd, "bias")):
        layer: Any = cls.__new__(cls)
        layer.__dict__[field] = getattr(module, field)
        record.attr[name] = writer.module_attr(layer, f"{path}.{name}")


def _read_maxout(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    """A Maxout around the Linear that the file has."""
    network = reader.module_in(record, "layer", path)
    linear = next(iter(getattr(network, "modules", [])), None)
    sizes = [reader.attribute(record, n, path) for n in ("outputSize", "maxoutNumber")]
    if not isinstance(linear, Linear) or not all(type(n) is int and n > 0 for n in sizes):
        raise reader.error("a Linear, and sizes", None, path)
    if linear.weight.shape[0] != sizes[0] * sizes[1]:
        raise reader.error(f"{sizes[0]} times {sizes[1]} rows", linear.weight.shape[0], path)
    module = entry.cls(1, 1, 1)
    module.modules[0] = linear
    module.modules[1] = OURS.View(sizes[1], sizes[0]).setNumInputDims(1)
    return module


def _write_maxout(writer: Any, module: Any, record: Record, path: str) -> None:
    linear, view = module.modules[0], module.modules[1]
    inner = OURS.Sequential(*module.modules)
    record.attr["layer"] = writer.module_attr(inner, f"{path}.layer")
    record.attr["inputSize"] = attr("INT32", linear.weight.shape[1])
    record.attr["outputSize"] = attr("INT32", view.size[1])
    record.attr["maxoutNumber"] = attr("INT32", view.size[0])
    record.attr["withBias"] = attr("BOOL", linear.bias is not None)
    writer.inherit(record, [record.attr["layer"].bigDLModuleValue])


def _read_map_convolution(reader: Any, record: Record, path: str, entry: Entry) -> Any:
    """A SpatialConvolutionMap, with the pairs of planes that it connects."""
    table = reader.attribute(record, "connTable", path)
    if table is NULL or not hasattr(table, "storage"):
        raise reader.error("a tensor of pairs", None, f"{path}.connTable")
    pairs = reader.array(table, f"{path}.connTable")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.min() < 1:
        raise reader.error("pairs of planes that count from 1", pairs.shape, f"{path}.connTable")
    values = entry.values(record.attr, reader.file, path)
    module = entry.cls.__new__(entry.cls)
    module.__dict__.update(values)
    reader.set_arrays(module, entry, record, path)
    planes = pairs.astype(np.int64) - 1
    module.__dict__["connTable"] = Buffer(planes)
    module.__dict__["nInputPlane"] = int(planes[:, 0].max()) + 1
    module.__dict__["nOutputPlane"] = int(planes[:, 1].max()) + 1
    return module


def _write_map_convolution(writer: Any, module: Any, record: Record, path: str) -> None:
    pairs = (array_in(module.connTable) + 1).astype(module.weight.dtype)
    record.attr["connTable"] = writer.tensor_attr(pairs, f"{path}.connTable")


def _inner(text: str) -> Any:
    return declared(text, OURS, made=False, read=read_quantized)


GRAPH = ("StaticGraph", "DynamicGraph", "Graph", "Model")

COMPOSITES: list[Entry] = [
    *(
        declared(text, OURS, read=_read_container, write=_write_container)
        for text in ("Sequential", "ConcatTable", "ParallelTable", "Concat(dimension:a)")
    ),
    declared("MapTable", OURS, read=_read_map, write=_write_map, options={"shared": True}),
    declared(
        f"Bottle(nInputDim:i, nOutputDim1:i?{_MOST}>nOutputDim=none)",
        OURS,
        read=_read_bottle,
        write=_write_bottle,
    ),
    declared("Scale(size:I#weight) weight bias", OURS, read=_read_scale, write=_write_scale),
    declared(
        "Maxout(wRegularizer:R, bRegularizer:R, initWeight:T, initBias:T)",
        OURS,
        read=_read_maxout,
        write=_write_maxout,
    ),
    declared(
        "SpatialConvolutionMap(kW:i, kH:i, dW:i, dH:i, padW:i, padH:i, wRegularizer:R, "
        "bRegularizer:R) weight bias",
        OURS,
        read=_read_map_convolution,
        write=_write_map_convolution,
    ),
    Entry("StaticGraph", OURS.Graph, read=read_graph, write=write_graph),
]

# What other names, or files alone, have.
READ_ONLY: list[Entry] = [
    *(Entry(name, OURS.Graph, read=read_graph) for name in GRAPH[1:]),
    Entry("Input", OURS.Identity),
    dataclasses.replace(_inner("Linear"), name="quantized.Linear"),
    *(
        dataclasses.replace(_inner(text), name=f"quantized.{text.partition('(')[0]}")
        for text in (
            (
                "SpatialConvolution(nInputPlane:i, nOutputPlane:i, kernelW:i@kW, kernelH:i@kH, "
                "strideW:i@dW, strideH:i@dH, padW:i, padH:i, nGroup:i=1, format:F=NCHW)"
            ),
            (
                "SpatialDilatedConvolution(nInputPlane:i, nOutputPlane:i, kW:i, kH:i, dW:i, dH:i, "
                "padW:i, padH:i, dilationW:i, dilationH:i)"
            ),
        )
    ),
]
