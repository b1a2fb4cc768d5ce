"""What is several layers in Caffe's files and one in nn, put together once all layers are there.

BatchNorm and Scale, Softmax and Log, pooling and the Slices that `convolutions` writes behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.formats.caffe.normalizations import NORMALIZATIONS
from tapegrad.nn.formats.common.network import Network, NetworkNode, NetworkValue
from tapegrad.nn.layers.activation import Log
from tapegrad.nn.layers.indexing import Narrow
from tapegrad.nn.layers.softmax import LogSoftMax, SoftMax

if TYPE_CHECKING:
    from tapegrad.nn.formats.caffe.reading import Session

__all__ = ["joined"]


def joined(network: Network, session: Session) -> Network:
    """The network, with one layer for each group of layers that nn has as one."""
    network = _with_normalization(network, session.scales)
    return _with_log_softmax(_without_cuts(network, session.floors))


def _with_normalization(network: Network, scales: set[str]) -> Network:
    """The network, with each BatchNorm and the Scale that alone reads it as one layer.

    scales: the nodes that a Scale of one weight for each plane became
    """
    readers = network.readers_of()
    gone: dict[NetworkValue, NetworkValue] = {}
    kept: list[NetworkNode] = []
    by_name = network.by_name()
    for each in network.nodes:
        before = by_name.get(each.inputs[0].name) if each.name in scales else None
        layer: Any = None if before is None else before.layer
        if (
            before is None
            or type(layer) not in NORMALIZATIONS.values()
            or layer.affine
            or len(readers[NetworkValue(before.name)]) > 1
            or NetworkValue(before.name) in network.outputs
            or _size_of(each) != layer.running_mean.size
        ):
            kept.append(each)
            continue
        _take_in(layer, each.layer)
        gone[NetworkValue(each.name)] = NetworkValue(before.name)
    for each in kept:
        each.inputs = tuple(gone.get(value, value) for value in each.inputs)
    outputs = tuple(gone.get(value, value) for value in network.outputs)
    return Network(kept, network.inputs, outputs)


def _size_of(node: NetworkNode) -> int:
    scale: Any = node.layer
    size: int = scale.weight.size
    return size


def _take_in(layer: Any, scale: Any) -> None:
    weight = scale.weight
    layer.affine = True
    kind, size = type(weight), weight.size
    layer.weight = kind(weight.numpy().reshape(size))
    bias = getattr(scale, "bias", None)
    values = np.zeros(size, weight.dtype) if bias is None else bias.numpy().reshape(size)
    layer.bias = kind(values)


def _without_cuts(network: Network, floors: dict[str, dict[int, int]]) -> Network:
    """The network, with pooling that rounds up and is then cut as pooling that rounds down.

    floors: of nodes with pooling, the sides (by axis) that rounding down gives, where it matters
    """
    readers = network.readers_of()
    gone: dict[NetworkValue, NetworkValue] = {}
    names = {each.name for each in network.nodes} | set(network.inputs)
    for each in network.nodes:
        wanted, last = dict(floors.get(each.name, {})), NetworkValue(each.name)
        cuts: list[NetworkNode] = []
        while wanted and last not in network.outputs and len(readers.get(last, [])) == 1:
            [reader] = readers[last]
            layer: Any = reader.layer
            if (
                type(layer) is not Narrow
                or layer.index
                or (wanted.pop(layer.dimension, None) != layer.length)
            ):
                break
            cuts.append(reader)
            last = NetworkValue(reader.name)
        else:
            if cuts and not wanted:
                pooling: Any = each.layer
                pooling.floor()
                gone |= {NetworkValue(cut.name): NetworkValue(each.name) for cut in cuts}
    kept = [each for each in network.nodes if NetworkValue(each.name) not in gone]
    renamed = {
        each.name: plain
        for each in kept
        if each.name in floors
        and NetworkValue(each.name) in gone.values()
        and (plain := each.name.removesuffix("_ceil")) not in names
    }

    def now(value: NetworkValue) -> NetworkValue:
        found = gone.get(value, value)
        return NetworkValue(renamed.get(found.name, found.name), found.entry)

    for each in kept:
        each.name = renamed.get(each.name, each.name)
        each.inputs = tuple(map(now, each.inputs))
    return Network(kept, network.inputs, tuple(map(now, network.outputs)))


def _with_log_softmax(network: Network) -> Network:
    """The network, with a Softmax and the Log that alone reads it as one layer of nn."""
    readers, by_name = network.readers_of(), network.by_name()
    gone: set[str] = set()
    for each in network.nodes:
        before = by_name.get(each.inputs[0].name) if type(each.layer) is Log else None
        if before is None or type(before.layer) is not SoftMax or before.layer.axis is not None:
            continue
        value = NetworkValue(before.name)
        if len(readers[value]) == 1 and value not in network.outputs:
            each.layer, each.inputs = LogSoftMax(), before.inputs
            gone.add(before.name)
    nodes = [each for each in network.nodes if each.name not in gone]
    return Network(nodes, network.inputs, network.outputs)
