"""Caffe's two files, in and out: a definition as text, and a model with the weights.

A .caffemodel holds its definition too, so that it is read alone; a .prototxt alone gives a module
with drawn weights, where the file says the shape of its input.  With both, the definition says the
layers and the model the weights, by the layers' names.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.containers.graph import gModule
from tapegrad.nn.core import places
from tapegrad.nn.core.part import named_fields
from tapegrad.nn.core.services import register_service
from tapegrad.nn.formats.caffe.building import network_of_layers
from tapegrad.nn.formats.caffe.definition import blobs_by_name, layers_of, net_inputs
from tapegrad.nn.formats.caffe.fields import PARAMETERS, SCHEMA
from tapegrad.nn.formats.caffe.reading import Session
from tapegrad.nn.formats.caffe.saving import net_of, refuse_empty, without_blobs
from tapegrad.nn.formats.common.errors import FormatError, Limits, UnsupportedError
from tapegrad.nn.formats.common.network import Network, module_of
from tapegrad.nn.formats.common.peeking import is_text
from tapegrad.nn.methods.bigdl.weights import copy_named_weights
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = [
    "definition_beside",
    "load",
    "load_caffe",
    "load_caffe_model",
    "read_record",
    "save",
    "save_caffe",
]

Source = str | os.PathLike[str] | bytes
ROOT = "NetParameter"
TEXT = (".prototxt", ".pbtxt")
BINARY = ".caffemodel"
NO_EXAMPLE = (
    "inputs=, an example of the input or its shape, which Caffe's files state; or a graph, as "
    "module.toGraph() makes it, whose files then state none"
)
UNKNOWN = "settings that tapegrad knows; what this one means is not known, so nothing is guessed"

# Fields of these messages change what a layer computes: one that the tables lack is an error
_MEANT = {message for message, *_ in PARAMETERS.values()} - {
    "DropoutParameter", "DummyDataParameter", "InputParameter", "MemoryDataParameter",
    "DetectionOutputParameter",
}  # fmt: skip
# and these say how training draws, or which code runs
_IGNORED = {
    "weight_filler", "bias_filler", "filler", "engine", "force_nd_im2col", "scale_filler",
    "stable_prod_grad",
}  # fmt: skip
_NUMBERS = {  # the same by their numbers in a model
    "ConvolutionParameter": (7, 8, 15, 17), "InnerProductParameter": (3, 4),
    "PoolingParameter": (11,), "LRNParameter": (6,), "ReLUParameter": (2,), "PReLUParameter": (1,),
    "ScaleParameter": (3, 5), "BiasParameter": (3,), "SoftmaxParameter": (1,),
    "EmbedParameter": (4, 5), "EltwiseParameter": (3,), "NormalizeParameter": (2,),
}  # fmt: skip


def load(
    path: Source,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Limits | None = None,
) -> Module:
    """The module of a .caffemodel, or of a .prototxt alone, with drawn weights.

    path:    the file's path or address, or its bytes; bytes that are text are a definition
    classes: of no use here: a Caffe file names layers of Caffe alone
    Raises as `load_caffe_model`.
    """
    del classes
    if _is_text(path):
        return load_caffe_model(path, None, limits=limits)
    return load_caffe_model(None, path, limits=limits)


def read_record(path: Source, limits: Limits) -> Record:
    """The NetParameter of a definition or a model, as `load` tells them apart.

    Raises FormatError or one of its children for the content, OSError for the file itself.
    """
    return (_text if _is_text(path) else _binary)(path, limits)


def _is_text(path: Source) -> bool:
    if isinstance(path, bytes):
        return is_text(path[:64])
    suffix = places.suffix_of(path)
    if suffix in TEXT or suffix == BINARY:
        return suffix in TEXT
    with places.opened(path) as stream:
        return is_text(stream.read(64))


@register_service("load_caffe_model")
def load_caffe_model(
    defPath: Source | None,
    modelPath: Source | None,
    *,
    train: bool = False,
    stages: Sequence[str] = (),
    limits: Limits | None = None,
) -> Module:
    """The module that Caffe's two files describe, its layers named as theirs.

    defPath:   the definition, a text; None: that in the model
    modelPath: the weights, found by the layers' names; None: drawn ones, at most
               a quarter of limits.max_expanded bytes of them
    train, stages: the phase and the stages by whose rules layers are in or out; without `train` it
               is TEST, and the module is in evaluate mode
    Inputs are those of the definition: Input and data layers, of which nothing is opened, and
    `input` fields.  A module takes batches of any size.  It returns the blobs that no layer reads,
    in the order in which the file makes them; losses are left out, for the Softmax or Sigmoid in
    them.  Raises UnsupportedError for layers that nn does not have and settings that it does not
    know, UnsafeError for Python layers, FormatError or its other children for what is wrong with
    the files, OSError for the files themselves; TypeError for neither.
    """
    network = _read(defPath, modelPath, train=train, stages=stages, limits=limits)
    module = module_of(network)
    if not train:
        module.evaluate()
    return module


def _read(
    definition: Source | None,
    model: Source | None,
    *,
    train: bool,
    stages: Sequence[str],
    limits: Limits | None,
) -> Network:
    limits = limits or Limits()
    if definition is None and model is None:
        raise TypeError("load_caffe_model takes a definition, a model, or both, not None twice")
    weights = None if model is None else _binary(model, limits)
    text = None if definition is None else _text(definition, limits)
    net = text if text is not None else weights
    assert net is not None
    file = places.source_name(definition if definition is not None else model or b"")
    layers = layers_of(net, file, train=train, stages=stages)
    if text is not None and weights is not None:
        found = blobs_by_name(weights, places.source_name(model or b""))
        for layer in layers:
            layer.blobs = found.get(layer.name, [])
    # drawing takes four times the memory of what is drawn, for a moment
    session = Session(file, limits.max_expanded // 4, weights is not None)
    return network_of_layers(layers, net_inputs(net, file), session)


def _binary(path: Source, limits: Limits) -> Record:
    skipped: Counter[str] = Counter()
    net = SCHEMA.read(path, ROOT, limits, skipped=skipped)
    if not net.layer and not net.layers:
        expected = "a Caffe model, with layers (a definition in text has the ending .prototxt)"
        raise FormatError(expected, "none", path="net", file=places.source_name(path))
    _check_skipped(skipped, places.source_name(path))
    return net


def _text(path: Source, limits: Limits) -> Record:
    skipped: Counter[str] = Counter()
    net = SCHEMA.read_text(path, ROOT, limits, skipped=skipped)
    if not net.layer and not net.layers:
        of_bigdl = {"NetParameter.moduleType", "NetParameter.subModules"} & skipped.keys()
        found = "one of BigDL's, for nn.formats.bigdl.load_definition" if of_bigdl else "none"
        expected = "a Caffe definition, with layers"
        raise FormatError(expected, found, path="net", file=places.source_name(path))
    _check_skipped(skipped, places.source_name(path))
    return net


def _check_skipped(skipped: Counter[str], file: str | None) -> None:
    """Raise UnsupportedError for a setting of a layer that the tables do not have."""
    for name in skipped:
        message, _, field = name.partition(".")
        known = field in _IGNORED or (field.isdigit() and int(field) in _NUMBERS.get(message, ()))
        if message in _MEANT and not known:
            raise UnsupportedError(UNKNOWN, name[:80], path="net", file=file)


@register_service("load_caffe")
def load_caffe(
    model: Module,
    defPath: Source | None,
    modelPath: Source,
    matchAll: bool = True,
    *,
    limits: Limits | None = None,
) -> Module:
    """Copy the weights of Caffe's files into the layers of `model` that have the same names.

    matchAll: whether each layer of the model with parameters must be in the files; what is in the
    files alone is left.  A BatchNorm and the Scale behind it are one layer, called as the first.
    Returns the model.  Raises KeyError for layers that the files lack, ValueError for other shapes,
    else as `load_caffe_model`; nothing is changed then.
    """
    network = _read(defPath, modelPath, train=False, stages=(), limits=limits)
    own = model.getParametersTable() or {}
    source: dict[str, dict[str, Any]] = {}
    for node in network.nodes:
        found = {
            _ENTRIES.get(name, name): array_of(value.detach())
            for name, value in named_fields(node.layer)
            if hasattr(value, "detach")
        }
        for name, array in found.items():
            mine = own.get(node.name, {}).get(name)
            if mine is not None and mine.size == array.size:
                found[name] = array.reshape(mine.shape)
        if found:
            source[node.name] = found
    copy_named_weights(model, source, matchAll)
    return model


_ENTRIES = {"running_mean": "runningMean", "running_var": "runningVar"}


# Writing ------------------------------------------------------------------------------------------


@register_service("save_caffe")
def _save_of_method(module: Module, *paths: Any) -> None:
    """`module.saveCaffe`, which without an example takes graphs alone, as BigDL's does."""
    if len(paths) < 4 and not isinstance(module, gModule):
        raise UnsupportedError(NO_EXAMPLE, f"nn.{type(module).__name__}", path="model")
    save_caffe(module, *paths)


def save_caffe(
    module: Module,
    prototxtPath: str | os.PathLike[str],
    modelPath: str | os.PathLike[str],
    useV2: bool = True,
    inputs: Any = None,
) -> None:
    """Write a module as Caffe's two files, which Caffe, OpenCV and BigDL read.

    useV2:  False: layers of Caffe's first format
    inputs: an example or the shape of the input, with the batch, (1, 3, 224, 224); a list of
            several.  The files then say the shapes, as Caffe demands, and layers whose words depend
            on shapes can be written.  Without, only what the layers themselves say
    What is written is the module in evaluate mode.  Raises UnsupportedError, with class and place,
    for what Caffe has no word for, before anything is written; OSError for the files.
    """
    if not isinstance(module, Module):
        raise TypeError(f"save_caffe writes a Module, not {type(module).__name__}")
    net = net_of(module, inputs, v2=useV2)
    refuse_empty(net)
    text = SCHEMA.text(without_blobs(net)).encode()
    with places.replaced(modelPath) as stream:
        SCHEMA.write(net, stream)
    with places.replaced(prototxtPath) as stream:
        stream.write(text)


def save(module: Module, path: str | os.PathLike[str]) -> None:
    """Write `path`, a .caffemodel, and beside it the definition, with the ending .prototxt.

    Raises as `save_caffe`.
    """
    save_caffe(module, definition_beside(path), path)


def definition_beside(path: str | os.PathLike[str]) -> str:
    """The name of the definition that belongs to a model: the same with the ending .prototxt."""
    place = os.fspath(path)
    return f"{place[: -len(Path(place).suffix)] if Path(place).suffix else place}.prototxt"
