"""What the entries of the table read from: one layer of a file, with the shapes that reach it.

Caffe's files do not say how many planes a layer takes: the blobs do, or the shapes of what flows
in.  Shapes are computed here, layer by layer, in Python's integers and without an array, as far as
the file says them: an unknown length is None, and an unknown shape is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tapegrad.autograd import Parameter
from tapegrad.autograd.core.tensor import array_of
from tapegrad.nn.core.initialization import uniform_
from tapegrad.nn.core.places import copy_of_view
from tapegrad.nn.formats.caffe.blobs import array_of_blob, shape_of_blob
from tapegrad.nn.formats.caffe.fields import PARAMETERS, SCHEMA
from tapegrad.nn.formats.common.errors import FormatError, LimitError, UnsupportedError
from tapegrad.nn.formats.common.network import NetworkNode, NetworkValue, unused_name
from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["Flow", "LayerText", "Lengths", "Reading", "Session", "made"]

Lengths: TypeAlias = "tuple[int | None, ...] | None"  # a shape, as far as it is known

NO_ROOM = (
    "a model that can be made without a .caffemodel: the weights of its layers would need {size:,} "
    "bytes, and Limits allow {limit:,} (limits=Limits(max_expanded=…), or pass the .caffemodel)"
)


class LayerText:
    """One layer as both formats of Caffe write it: name, type, bottoms, tops, parameters, blobs."""

    def __init__(self, record: Record, name: str, kind: str, path: str) -> None:
        self.record, self.name, self.kind, self.path = record, name, kind, path
        self.bottoms, self.tops = list(record.bottom), list(record.top)
        self.blobs: list[Record] = list(record.blobs)


class Flow:
    """A blob that flows: the value in the network, and its shape."""

    def __init__(self, value: NetworkValue, shape: Lengths = None) -> None:
        self.value, self.shape = value, shape


class Session:
    """What the layers of one file have in common."""

    def __init__(self, file: str | None, fresh: int, has_weights: bool) -> None:
        self.file = file
        self.fresh = fresh  # how many bytes of weights may be made that no file has
        self.limit = fresh
        self.has_weights = has_weights
        self.nodes: list[NetworkNode] = []
        self.names: set[str] = set()
        self.shared: dict[str, Parameter] = {}
        self.floors: dict[str, dict[int, int]] = {}  # of pooling: sides that rounding down gives
        self.scales: set[str] = set()  # nodes that a BatchNorm before them may take in


class Settings:
    """A message of settings, whose numbers in single precision are the shortest that mean them:
    0.1 and not 0.10000000149.
    """

    def __init__(self, record: Record) -> None:
        self._record = record

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._record, name)
        if isinstance(value, float):
            return _shortest(value)
        if isinstance(value, list) and value and isinstance(value[0], float):
            return [_shortest(each) for each in value]
        return Settings(value) if isinstance(value, Record) else value

    def __contains__(self, name: str) -> bool:
        return name in self._record


def _shortest(value: float) -> float:
    return float(str(np.float32(value))) if math.isfinite(value) else value


class Reading:
    """One layer that is being read, and its bottoms."""

    def __init__(self, session: Session, layer: LayerText, bottoms: Sequence[Flow]) -> None:
        self.session, self.layer, self.bottoms = session, layer, list(bottoms)
        self.name, self.path = layer.name or layer.kind, layer.path

    # What the file says ---------------------------------------------------------------------------

    def param(self, name: str) -> Settings:
        """The parameters called `name`, with Caffe's defaults; the first format lacks some."""
        found: Record | None = getattr(self.layer.record, name, None)
        return Settings(SCHEMA.new(PARAMETERS[name][0]) if found is None else found)

    def refusal(self, expected: str, found: Any = None) -> UnsupportedError:
        """The error for what this layer says and nn does not have."""
        return UnsupportedError(expected, found, path=self.path, file=self.session.file)

    def error(self, expected: str, found: Any = None) -> FormatError:
        """The error for what no Caffe could run either."""
        return FormatError(expected, found, path=self.path, file=self.session.file)

    def needs(self, least: int, most: int | None = None) -> None:
        """Raise FormatError unless there are `least` bottoms, up to `most`."""
        count = len(self.bottoms)
        if count < least or (most is not None and count > most):
            wanted = f"{least}" if most == least else f"{least} or more"
            raise self.error(f"{wanted} bottoms", count)

    @property
    def shape(self) -> Lengths:
        """The shape of the first bottom."""
        return self.bottoms[0].shape

    @property
    def ndim(self) -> int | None:
        """How many axes the first bottom has."""
        return None if self.shape is None else len(self.shape)

    def axis(self, axis: int, ndim: int | None = None) -> int:
        """An axis counted from 0, as far as that can be known.  Raises FormatError for none."""
        ndim = self.ndim if ndim is None else ndim
        if ndim is None:
            return axis
        if not -ndim <= axis < ndim:
            raise self.error(f"an axis of a blob of {ndim} axes", axis)
        return axis % ndim

    def length(self, axis: int) -> int | None:
        """The length of the first bottom along an axis."""
        shape = self.shape
        return shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None

    # Weights --------------------------------------------------------------------------------------

    def stored_shape(self, index: int) -> tuple[int, ...] | None:
        """The shape that blob `index` states, None where there is none."""
        if index >= len(self.layer.blobs):
            return None
        return shape_of_blob(self.layer.blobs[index], self._blob(index), self.session.file)

    def weight(
        self, index: int, shape: tuple[int, ...], fill: float | None = None
    ) -> np.ndarray[Any, Any]:
        """A copy of blob `index`, in single or double precision; without a file of weights, draws,
        or `fill` where that is a number.

        Raises FormatError where the file of weights lacks the blob, or has it in another shape.
        """
        if index < len(self.layer.blobs):
            blob = self.layer.blobs[index]
            found = array_of_blob(blob, shape, self._blob(index), self.session.file)
            flat = copy_of_view(found.reshape(-1), found.dtype.newbyteorder("="))
            return flat.reshape(shape)
        if self.session.has_weights:
            raise FormatError(
                f"blob {index} of the layer in the file of weights",
                f"{len(self.layer.blobs)} blobs",
                path=self.path,
                file=self.session.file,
            )
        size = 4 * math.prod(shape)
        self.session.fresh -= size
        if self.session.fresh < 0:
            limit = self.session.limit
            asked = limit - self.session.fresh
            expected = NO_ROOM.format(size=asked, limit=limit)
            raise LimitError(expected, path=self.path, file=self.session.file)
        if fill is not None:
            return np.full(shape, fill, np.float32)
        drawn = Parameter(np.empty(shape, np.float32))
        bound = 1 / math.sqrt(max(math.prod(shape[1:]), 1))
        uniform_(drawn, -bound, bound)
        return array_of(drawn)

    def parameter(
        self, index: int, shape: tuple[int, ...], fill: float | None = None, stored: Any = None
    ) -> Parameter:
        """Blob `index` as a Parameter of this shape; one of a name that the file shares is shared.

        stored: (shape in the file, function from that array to the Parameter's), where they differ
        """
        name = self._shared_name(index)
        known = self.session.shared.get(name) if name else None
        if known is not None:
            if known.shape != shape:
                raise self.error(f"blob {name!r} of one shape, {known.shape}", shape)
            return known
        if stored is None:
            array = self.weight(index, shape, fill)
        else:
            array = np.ascontiguousarray(stored[1](self.weight(index, stored[0], fill)))
        made_now = Parameter(array)
        if name:
            self.session.shared[name] = made_now
        return made_now

    def _shared_name(self, index: int) -> str:
        specs = self.layer.record.param
        if index >= len(specs):
            return ""
        found: str = specs[index] if isinstance(specs[index], str) else specs[index].name
        return found

    def _blob(self, index: int) -> str:
        return f"{self.path}.blobs[{index}]"

    def positive(self, what: str, *values: int) -> None:
        """Raise FormatError unless all are 1 or more."""
        if min(values) < 1:
            raise self.error(f"{what} of at least 1", values)

    # Results --------------------------------------------------------------------------------------

    def then(self, layer: Any, shape: Lengths, reads: Sequence[Flow] | None = None) -> Flow:
        """A node with this layer, which reads the first bottom, or all of `reads` as a table."""
        table = reads is not None
        inputs = [flow.value for flow in (self.bottoms[:1] if reads is None else reads)]
        name = unused_name(self.name, self.session.names)
        self.session.nodes.append(NetworkNode(name, layer, tuple(inputs), table, self.path))
        return Flow(NetworkValue(name), shape)

    def chain(self, *layers: Any, shape: Lengths) -> list[Flow]:
        """Nodes one after the other; the last has the layer's name, and `shape` comes out."""
        flow = self.bottoms[0]
        for number, layer in enumerate(layers, 1):
            last = number == len(layers)
            wanted = self.name if last else f"{self.name}_{type(layer).__name__.lower()}"
            name = unused_name(wanted, self.session.names)
            self.session.nodes.append(NetworkNode(name, layer, (flow.value,), False, self.path))
            flow = Flow(NetworkValue(name), shape)
        return [Flow(flow.value, shape)]


def made(cls: type, **attributes: Any) -> Any:
    """A module of a class with these attributes, without its constructor, which would draw weights
    that the file's replace.
    """
    module: Any = object.__new__(cls)
    for name, value in attributes.items():
        setattr(module, name, value)
    return module
