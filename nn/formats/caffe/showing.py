"""What `tapegrad show` prints of a Caffe file: nothing is built, and unknown layers are shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tapegrad.nn.formats.caffe.blobs import array_of_blob, shape_of_blob
from tapegrad.nn.formats.caffe.definition import every_layer
from tapegrad.nn.formats.caffe.files import read_record
from tapegrad.nn.formats.common.errors import Limits

if TYPE_CHECKING:
    import numpy as np

__all__ = ["describe"]


def describe(
    path: str | os.PathLike[str] | bytes, limits: Limits | None = None
) -> Iterator[tuple[int, str, str, dict[str, np.ndarray[Any, Any]]]]:
    """(depth, name, what it is, its arrays) of the network and of each layer; nothing is run.

    Raises FormatError or one of its children for the content, OSError for the file itself.
    """
    net = read_record(path, limits or Limits())
    inputs = f" (inputs {', '.join(net.input)})" if net.input else ""
    yield 0, f"{net.name:.60}" or "net", f"Caffe network{inputs:.200}", {}
    for layer in every_layer(net):
        flow = f"[{', '.join(layer.bottoms)}] -> [{', '.join(layer.tops)}]"
        arrays = {}
        for i, blob in enumerate(layer.blobs):
            place = f"{layer.path}.blobs[{i}]"
            arrays[f"[{i}]"] = array_of_blob(blob, shape_of_blob(blob, place, None), place, None)
        yield 1, f"{layer.name:.60}", f"{layer.kind:.60} {flow:.300}", arrays
