"""What the entries of the table write to: the records of a file's layers, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.formats.caffe.fields import PARAMETERS, SCHEMA, V1_TYPES
from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.common.network import NetworkValue, unused_name

if TYPE_CHECKING:
    from tapegrad.nn.formats.common.network import ArrayType, Network, NetworkNode
    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["Output", "Writing"]

V1_NAMES = {name: word for word, name in V1_TYPES.items()}
NOT_IN_V1 = "a layer of Caffe's first format; write the second one, useV2=True"


class Output:
    """The layers of one file, as they are written."""

    def __init__(self, network: Network, v2: bool) -> None:
        self.network, self.v2 = network, v2
        self.layers: list[Record] = []
        self.names = {each.name for each in network.nodes} | set(network.inputs)
        uses: dict[int, int] = {}
        for layer in {id(node.layer): node.layer for node in network.nodes}.values():
            for _, parameter in layer.named_parameters():
                uses[id(parameter)] = uses.get(id(parameter), 0) + 1
        layers = [id(node.layer) for node in network.nodes]
        self.shared: dict[int, str] = {}  # parameters that several layers of the file use
        for each in network.nodes:
            for field, parameter in each.layer.named_parameters():
                if uses[id(parameter)] > 1 or layers.count(id(each.layer)) > 1:
                    self.shared.setdefault(id(parameter), f"{each.name}.{field}")

    def put(
        self,
        kind: str,
        name: str,
        bottoms: Sequence[str],
        tops: Sequence[str],
        place: str,
        blobs: Sequence[Any] = (),
        **parameters: dict[str, Any],
    ) -> None:
        """Add a layer: its parameters by the names of their fields, its blobs as arrays.

        Raises UnsupportedError for a layer that the first format does not have.
        """
        if self.v2:
            record = SCHEMA.new("LayerParameter", name=name, type=kind)
            numbered = 1
        else:
            if kind not in V1_NAMES:
                raise UnsupportedError(NOT_IN_V1, kind, path=place)
            number = SCHEMA.enums["LayerType"][V1_NAMES[kind]]
            record = SCHEMA.new("V1LayerParameter", name=name, type=number)
            numbered = 2
        record.bottom = list(bottoms)
        record.top = list(tops)
        for field, values in parameters.items():
            if PARAMETERS[field][numbered] is None:
                raise UnsupportedError(NOT_IN_V1, kind, path=place)
            setattr(record, field, SCHEMA.new(PARAMETERS[field][0], **values))
        specs = [self.shared.get(id(each), "") for each in blobs]
        if any(specs):
            record.param = [SCHEMA.new("ParamSpec", name=s) for s in specs] if self.v2 else specs
        record.blobs = [blob_of(each) for each in blobs]
        self.layers.append(record)


def blob_of(values: Any) -> Record:
    """A BlobProto of an array, Parameter or Buffer, whose numbers are not copied where they lie in
    one piece.
    """
    array = devices.to_numpy(array_of(values.detach())) if hasattr(values, "detach") else values
    array = np.asarray(array)
    shape = SCHEMA.new("BlobShape", dim=list(array.shape))
    if array.dtype == np.float64:
        flat = np.ascontiguousarray(array).reshape(-1)
        return SCHEMA.new("BlobProto", shape=shape, double_data=flat)
    flat = np.ascontiguousarray(array, np.float32).reshape(-1)
    return SCHEMA.new("BlobProto", shape=shape, data=flat)


class Writing:
    """One node that is being written, with the names of the blobs that it reads."""

    def __init__(self, out: Output, node: NetworkNode, bottoms: Sequence[str]) -> None:
        self.out, self.node, self.bottoms = out, node, list(bottoms)
        self.name, self.layer = node.name, node.layer

    def refusal(self, expected: str, found: Any = None) -> UnsupportedError:
        """The error for what Caffe has no word for."""
        shown = f"nn.{type(self.layer).__name__}" if found is None else found
        return UnsupportedError(expected, shown, path=f"model{self.node.place}")

    def input_type(self, index: int = 0) -> ArrayType | None:
        """Shape and dtype of what the layer reads, where an example was run."""
        return self.out.network.type_of(self.node.inputs[index])

    def output_type(self) -> ArrayType | None:
        """Shape and dtype of what the layer returns, where an example was run."""
        return self.out.network.type_of(NetworkValue(self.name))

    def ndim(self) -> int | None:
        """How many axes the first input has, with the batch, where that is known."""
        kind = self.input_type()
        return None if kind is None else len(kind.shape)

    def axis(self, axis: int) -> int:
        """An axis counted from 0.  Raises UnsupportedError where that needs an example."""
        if axis >= 0:
            return axis
        ndim = self.ndim()
        if ndim is None:
            raise self.refusal("an example input, which says how many axes there are")
        return axis + ndim

    def images(self) -> None:
        """Raise UnsupportedError where the input is known not to be a batch of images."""
        if self.ndim() not in (None, 4):
            raise self.refusal("a batch of images", f"{self.ndim()} axes")
        if getattr(self.layer, "format", "NCHW") != "NCHW":
            raise self.refusal("planes before rows and columns", "the format NHWC")

    def put(
        self,
        kind: str,
        *,
        blobs: Sequence[Any] = (),
        reads: Sequence[str] | None = None,
        ending: str = "",
        tops: int = 1,
        **parameters: dict[str, Any],
    ) -> list[str]:
        """Add a layer, called as the node, with `ending` behind; returns its tops.

        reads: its bottoms, those of the node if omitted
        """
        name = unused_name(self.name + ending, self.out.names) if ending else self.name
        made = [name] if tops == 1 else [f"{name}_{i}" for i in range(tops)]  # none of a Silence
        if tops > 1:
            made = [unused_name(top, self.out.names) for top in made]
        bottoms = self.bottoms if reads is None else reads
        self.out.put(kind, name, bottoms, made, f"model{self.node.place}", blobs, **parameters)
        return made
