"""TensorFlow's frozen graphs (.pb): GraphDef files in and out.

model = nn.load("frozen.pb")                         # images are (N, C, H, W)
model = nn.formats.tensorflow.loadTF("frozen.pb", ["input"], ["softmax"])
model.saveTF([("input", (1, 3, 224, 224))], "again.pb")
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.core import files, places
from tapegrad.nn.formats.common.errors import FormatError, Limits, UnsupportedError
from tapegrad.nn.formats.common.names import names_of_classes
from tapegrad.nn.formats.common.network import module_of, unused_name
from tapegrad.nn.formats.common.peeking import seen_fields
from tapegrad.nn.formats.tensorflow.fields import SCHEMA
from tapegrad.nn.formats.tensorflow.graph import axes_form, network_of_graph, stated_shape
from tapegrad.nn.formats.tensorflow.operators import IMAGES
from tapegrad.nn.formats.tensorflow.reading import GraphSession
from tapegrad.nn.formats.tensorflow.saving import saveTF
from tapegrad.nn.formats.tensorflow.tensors import DTYPES, array_of_tensor
from tapegrad.nn.formats.tensorflow.values import CHANNELS_FIRST

if TYPE_CHECKING:
    from tapegrad.nn.module import Module

__all__ = ["describe", "load", "loadTF"]

_BATCH = 2  # where a file leaves the number of samples free
Place = str | os.PathLike[str]
NO_ORDER = "byteOrder is 'little' or 'big', not {found!r}"
NO_LAYOUT = "layout is 'ours' or 'file', not {found!r}"
SAVED_MODEL = "a frozen GraphDef: a SavedModel has its variables elsewhere, freeze it first"
NO_SHAPES = (
    "the shapes of the inputs: module.saveTF([('input', (1, 3, 224, 224))], path) writes a graph"
)


def loadTF(
    path: Place | bytes,
    inputs: Sequence[str] | str | None = None,
    outputs: Sequence[str] | str | None = None,
    byteOrder: str = "little",
    *,
    layout: str = "ours",
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> Module:
    """The module of a frozen graph, in evaluate mode, whose parameters can be trained.

    path:      a .pb file, a .pbtxt file in protobuf's text format, or the bytes of a .pb file
    inputs:    names of the nodes that become the module's inputs, "Mul" or "split:1"; what lies
               before them is not read.  All Placeholders that are needed, if omitted
    outputs:   names of the nodes that the module returns; those that no node reads, if omitted
    byteOrder: of the machine that wrote the arrays' bytes
    layout:    "ours": images that the graph has as (N, H, W, C) go in and come out as
               (N, C, H, W); "file": all go in and come out as the graph has them, with a Transpose
               where needed
    shapes:    shapes of inputs instead of those in the file, by name; None for a length not known
    constants: values of Placeholders, {"keep_prob": 1.0}
    Raises UnsafeError for a node that runs code or touches files, UnsupportedError for an operator
    that is not in the table, FormatError or another of its children for the rest, OSError for the
    file itself, ValueError for other arguments.  Source: BigDL's Module.loadTF.
    """
    if byteOrder not in ("little", "big"):
        raise ValueError(NO_ORDER.format(found=byteOrder))
    if layout not in ("ours", "file"):
        raise ValueError(NO_LAYOUT.format(found=layout))
    limits = limits or Limits()
    name = places.source_name(path)
    graph = _graph(path, limits, name)
    size = len(path) if isinstance(path, bytes) else places.size_of(path)
    budget = limits.max_expanded + 2 * size
    session = GraphSession(name, limits, layout == "ours", byteOrder == "big", budget)
    starts, ends = ([n] if isinstance(n, str) else n for n in (inputs, outputs))
    network = network_of_graph(graph, session, starts, ends, shapes or {}, constants or {})
    try:
        module = module_of(network)
    except FormatError as error:
        error.file = name
        raise
    module.evaluate()
    return module


def _graph(path: Place | bytes, limits: Limits, name: str | None) -> Any:
    if name is not None and places.suffix_of(name) == ".pbtxt":
        return SCHEMA.read_text(path, "GraphDef", limits)
    try:
        return SCHEMA.read(path, "GraphDef", limits)
    except UnsupportedError:
        raise
    except FormatError as error:
        if error.offset == 0 and isinstance(error.found, str) and "varint" in error.found:
            raise UnsupportedError(SAVED_MODEL, file=name, offset=0) from error
        raise


def describe(
    path: Place | bytes, limits: Limits | None = None
) -> Iterator[tuple[int, str, str, dict[str, np.ndarray]]]:
    """(depth, name, what it is, its arrays) of each line of `tapegrad show`; nothing is run.

    Raises FormatError for the content, OSError for the file itself.
    """
    limits = limits or Limits()
    name = places.source_name(path)
    for node in _graph(path, limits, name).node:
        arrays = {}
        if node.op == "Const" and "value" in node.attr:
            arrays[""] = array_of_tensor(
                node.attr["value"].tensor, f"node {node.name[:80]!r}", name
            )
        reads = ", ".join(text[:60] for text in node.input[:5])
        yield 0, node.name, f"{node.op[:60]} ({reads})" if reads else node.op[:60], arrays


def _input_types(path: Place | bytes, limits: Limits | None = None) -> list[files.InputType]:
    """(shape, dtype) of each Placeholder, in the order that `loadTF` takes its axes in.

    2 stands for a number of samples that the file leaves free; an empty list where another length
    is free.  Raises FormatError for the content, OSError for the file itself.
    """
    nodes = _graph(path, limits or Limits(), places.source_name(path)).node
    forms = {axes_form(node) for node in nodes if node.op in IMAGES}
    turned = bool(forms) and "NCHW" not in forms
    found: list[files.InputType] = []
    for node in nodes:
        if node.op != "Placeholder":
            continue
        shape = list(stated_shape(node) or ())
        shape = [_BATCH, *shape[1:]] if shape and shape[0] < 1 else shape
        if turned and len(shape) == 4:
            shape = [shape[k] for k in CHANNELS_FIRST]
        kind = node.attr["dtype"].type if "dtype" in node.attr else 1
        if not shape or min(shape) < 1 or kind not in DTYPES:
            return []
        found.append((tuple(shape), np.dtype(DTYPES[kind][0]).name))
    return found


def load(
    path: Place | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Limits | None = None,
) -> Module:
    """The module of a frozen graph: `loadTF` with what it takes if nothing is said.

    Raises as `loadTF`; TypeError for `classes`: such files have none.
    """
    if names_of_classes(classes):
        raise TypeError("TensorFlow's files have no classes: leave `classes` out")
    return loadTF(path, limits=limits)


def save(module: Module, path: Place) -> None:
    """Raise UnsupportedError: a graph needs the shapes of its inputs, see `saveTF`."""
    raise UnsupportedError(NO_SHAPES, type(module).__name__, file=path)


def _save_from(module: Module, inputs: Any, path: Place) -> None:
    arrays = inputs if isinstance(inputs, list) else [inputs]
    taken = {each.getName() for each in module.listModules() if each.hasName()}
    names = [unused_name(f"input{k}" if len(arrays) > 1 else "input", taken)
             for k in range(len(arrays))]  # fmt: skip
    shapes = [(-1, *np.shape(array)[1:]) for array in arrays]
    saveTF(module, list(zip(names, shapes, strict=True)), path)


def _looks_like(data: Any) -> bool:
    """Whether a file is a message whose first field is a node, which has a name and an operator."""
    for field in seen_fields(data, most=1):
        if field is None or field.number != 1 or field.wire != 2:
            return False
        inner = list(seen_fields(data, field.start, field.end))
        return None not in inner and {(f.number, f.wire) for f in inner} >= {(1, 2), (2, 2)}
    return False


files.register_format(
    files.FileFormat(
        "tensorflow",
        (".pb",),
        load,
        save,
        shared=(".pbtxt",),
        matches=_looks_like,
        save_from=_save_from,
        input_types=_input_types,
        describe=describe,
    )
)
