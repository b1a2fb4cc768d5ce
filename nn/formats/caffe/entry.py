"""Caffe's entry in the table of formats: what its files look like, and what they say of inputs."""

from __future__ import annotations

import os
import re
from typing import Any

from tapegrad.nn.core import files
from tapegrad.nn.core.places import source_name
from tapegrad.nn.formats.caffe.definition import layers_of, net_inputs
from tapegrad.nn.formats.caffe.files import definition_beside, load, read_record, save, save_caffe
from tapegrad.nn.formats.caffe.showing import describe
from tapegrad.nn.formats.caffe.table import DATA
from tapegrad.nn.formats.common.errors import Limits
from tapegrad.nn.formats.common.peeking import is_text, seen_fields

_LAYER, _V1_LAYER = 100, 2
_LAYER_IN_TEXT = re.compile(rb"^\s*layers?\s*:?\s*\{", re.MULTILINE)
_BEGIN = 1 << 16  # bytes of a text in which a layer begins


def _looks_like(data: Any) -> bool:
    """Whether a file has layers of Caffe: field 100, or field 2 with a type that is a number."""
    if is_text(bytes(data[:64])):
        return _LAYER_IN_TEXT.search(bytes(data[:_BEGIN])) is not None
    for field in seen_fields(data):
        if field is None:
            return False
        if field.wire == 2 and field.number == _LAYER:
            return True
        if field.wire == 2 and field.number == _V1_LAYER:
            inner = {f.number: f.wire for f in seen_fields(data, field.start, field.end) if f}
            return inner.get(4) == 2 and inner.get(5) == 0
    return False


def _input_types(
    path: str | os.PathLike[str] | bytes, limits: Limits | None = None
) -> list[files.InputType]:
    """(shape, dtype) of each input that a file states; an empty list where a shape is not stated.

    Raises FormatError or one of its children for the content, OSError for the file itself.
    """
    net, file = read_record(path, limits or Limits()), source_name(path)
    shapes: list[Any] = [shape for _, shape in net_inputs(net, file)]
    for layer in layers_of(net, file, train=False, stages=()):
        if layer.kind == "Input":
            stated: list[Any] = [tuple(s.dim) for s in layer.record.input_param.shape]
            full = len(stated) == len(layer.tops)
            shapes += stated if full else stated[:1] * len(layer.tops) or [None]
        elif layer.kind in DATA:
            shapes.append(None)
    if None in shapes:
        return []
    return [(tuple(int(n) for n in shape), "float32") for shape in shapes]


def _save_from(module: Any, inputs: Any, path: str | os.PathLike[str]) -> None:
    save_caffe(module, definition_beside(path), path, inputs=inputs)


files.register_format(
    files.FileFormat(
        "caffe",
        (".caffemodel",),
        load,
        save,
        shared=(".prototxt",),
        matches=_looks_like,
        save_from=_save_from,
        input_types=_input_types,
        describe=describe,
    )
)
