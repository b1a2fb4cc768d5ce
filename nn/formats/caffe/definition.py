"""The layers of a file in one form: both formats, phases, and weights by layers' names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.nn.formats.caffe.fields import SCHEMA, V1_TYPES
from tapegrad.nn.formats.caffe.reading import LayerText
from tapegrad.nn.formats.caffe.table import LEFT_OUT, canonical
from tapegrad.nn.formats.common.errors import FormatError, UnsupportedError

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["blobs_by_name", "every_layer", "layers_of", "net_inputs"]

OF_2013 = (
    "layers of Caffe's first or second format; those of 2013 (layers { layer { … } }) are turned "
    "into them by Caffe's own upgrade_net_proto_text and upgrade_net_proto_binary"
)


def layers_of(net: Record, file: str | None, *, train: bool, stages: Sequence[str]) -> list[Any]:
    """The layers that a phase has, in the file's order.

    Raises UnsupportedError for layers of the format before the first, FormatError for layers of
    both formats in one file, and for two layers of one name in one phase.
    """
    if "layer" in net and "layers" in net:
        raise FormatError("layers of one format", "layer and layers", path="net", file=file)
    v1 = "layers" in net
    found: list[LayerText] = []
    names: dict[str, str] = {}
    for number, record in enumerate(net.layers if v1 else net.layer):
        path = f"net.{'layers' if v1 else 'layer'}[{number}]"
        if v1 and "layer" in record:
            raise UnsupportedError(OF_2013, path=path, file=file)
        if not _is_in(record, train=train, stages=stages):
            continue
        layer = LayerText(record, record.name, _type(record, v1=v1), path)
        layer.path = f"{path} ({_short(layer.name)})" if layer.name else path
        if layer.kind in LEFT_OUT:
            continue
        if layer.name in names:
            expected = f"a name for each layer; {names[layer.name]} has it too"
            raise FormatError(expected, repr(_short(layer.name)), path=path, file=file)
        if layer.name:
            names[layer.name] = path
        found.append(layer)
    return found


def every_layer(net: Record) -> list[LayerText]:
    """All layers of a file, of both formats and in whatever phase, known or not."""
    return [
        LayerText(record, record.name, _type(record, v1=field == "layers"), f"net.{field}[{i}]")
        for field in ("layers", "layer")
        for i, record in enumerate(getattr(net, field))
    ]


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:60]}…"


def _type(record: Record, *, v1: bool) -> str:
    if not v1:
        return canonical(record.type)
    word = SCHEMA.enums["LayerType"].names.get(record.type, "")
    return V1_TYPES.get(word, word or str(record.type))


def _is_in(record: Record, *, train: bool, stages: Sequence[str]) -> bool:
    """Whether a layer is in the network of a phase: any of its includes, none of its excludes."""
    if record.include:
        return any(_meets(rule, train=train, stages=stages) for rule in record.include)
    return not any(_meets(rule, train=train, stages=stages) for rule in record.exclude)


def _meets(rule: Record, *, train: bool, stages: Sequence[str]) -> bool:
    if "phase" in rule and (rule.phase == 0) != train:
        return False
    if ("min_level" in rule and rule.min_level > 0) or ("max_level" in rule and rule.max_level < 0):
        return False
    wanted = all(stage in stages for stage in rule.stage)
    return wanted and not any(stage in stages for stage in rule.not_stage)


def blobs_by_name(net: Record, file: str | None) -> dict[str, list[Record]]:
    """The blobs of all layers of a file, in whatever phase, by their layers' names.

    Raises FormatError for two layers of one name that both have blobs.
    """
    found: dict[str, list[Record]] = {}
    for field in ("layer", "layers"):
        for number, record in enumerate(getattr(net, field)):
            if not record.blobs:
                continue
            if record.name in found:
                path = f"net.{field}[{number}]"
                expected = "weights for each layer once"
                raise FormatError(expected, repr(_short(record.name)), path=path, file=file)
            found[record.name] = list(record.blobs)
    return found


def net_inputs(net: Record, file: str | None) -> list[tuple[str, tuple[int, ...] | None]]:
    """The inputs that a file states outside its layers, and their shapes where it says them.

    Raises FormatError for shapes that are not as many as inputs.
    """
    names = list(net.input)
    shapes: list[tuple[int, ...] | None] = [tuple(s.dim) for s in net.input_shape]
    dims = list(net.input_dim)
    if dims and not shapes:
        if len(dims) != 4 * len(names):
            raise FormatError(
                f"four input_dim for each of {len(names)} inputs", len(dims), path="net", file=file
            )
        shapes = [tuple(dims[i : i + 4]) for i in range(0, len(dims), 4)]
    if shapes and len(shapes) != len(names):
        raise FormatError(
            f"an input_shape for each of {len(names)} inputs", len(shapes), path="net", file=file
        )
    return list(zip(names, shapes or [None] * len(names), strict=True))
