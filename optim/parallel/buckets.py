"""Flat buffers through which gradients are summed over ranks.

Gradients of neighbouring parameters share a buffer, so that there are few messages, each long
enough to pay.  The last parameters come first, as in a reverse sweep: a buffer whose gradients are
all there is on its way while the sweep goes on.  Every rank sends the buffers in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.parameter import leaf_of
from tapegrad.autograd.core.tensor import array_of
from tapegrad.autograd.ops import inplace
from tapegrad.autograd.reverse.accumulation import add_to_grad

if TYPE_CHECKING:
    from tapegrad.autograd import Parameter
    from tapegrad.autograd.core.node import Leaf
    from tapegrad.devices.collectives import RankGroup, Request

__all__ = ["Buckets"]


class _Bucket:
    """One buffer: the gradients of some parameters, then for each how often it had one."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        first = array_of(parameters[0])
        length = sum(p.size for p in parameters)
        zeros = np.zeros(length + len(parameters), first.dtype)
        self.buffer = devices.to_device(zeros, devices.device_of(first))
        self.parameters = parameters
        self.views, start = [], 0
        for p in parameters:
            self.views.append(self.buffer[start : start + p.size].reshape(p.shape))
            start += p.size
        self.counts = self.buffer[start:]
        self.missing = len(parameters)


class Buckets:
    """The buffers of some parameters.

    parameters: in the order of the model;  size: bytes of a buffer, of which one parameter may have
                more
    """

    def __init__(self, parameters: Sequence[Parameter], size: int) -> None:
        self.parameters = list(parameters)
        self._buckets = [_Bucket(group) for group in _grouped(self.parameters, size)]
        self._places: dict[Any, tuple[_Bucket, int]] = {
            leaf_of(p): (bucket, i)
            for bucket in self._buckets
            for i, p in enumerate(bucket.parameters)
        }
        self._group: RankGroup | None = None
        self._sent: list[Request] = []

    def fits(self, parameters: Sequence[Parameter]) -> bool:
        """Whether these are the same parameters, of the same dtypes and on the same devices."""
        return len(parameters) == len(self.parameters) and all(
            a is b and a.dtype == view.dtype and a.shape == view.shape
            for a, (b, view) in zip(parameters, self._in_order(), strict=True)
        )

    def _in_order(self) -> Iterator[tuple[Parameter, Any]]:
        for p in self.parameters:
            bucket, i = self._places[leaf_of(p)]
            yield p, bucket.views[i]

    def clear(self, send_to: RankGroup | None = None) -> None:
        """Begin a new gradient; with a group, each buffer is sent as soon as it is full."""
        self._group, self._sent = send_to, []
        for bucket in self._buckets:
            bucket.buffer[...] = 0
            bucket.missing = len(bucket.parameters)

    def receive(self, leaf: Leaf, g: Any, factor: float = 1.0) -> None:
        """Take factor · g as the gradient of a leaf; what is no parameter here is left out."""
        place = self._places.get(leaf)
        if place is None:
            return
        bucket, i = place
        view = bucket.views[i]
        if factor == 1:
            view[...] = g
        else:
            devices.namespace(view).multiply(g, factor, out=view, casting="same_kind")
        bucket.counts[i] = 1
        bucket.missing -= 1
        if self._group is not None:
            self._send_full()

    def _send_full(self) -> None:
        while len(self._sent) < len(self._buckets):
            bucket = self._buckets[len(self._sent)]
            if bucket.missing:
                return
            self._send(bucket)

    def _send(self, bucket: _Bucket) -> None:
        assert self._group is not None
        self._sent.append(self._group.all_reduce_later(bucket.buffer))

    def finish(self) -> None:
        """Send what parameters without a gradient held back, and wait for all sums."""
        if self._group is None:
            return
        for bucket in self._buckets[len(self._sent) :]:
            self._send(bucket)
        for sent in self._sent:
            sent.wait()

    def copies(self) -> list[Any]:
        """Return the buffers' content, as arrays of their own."""
        return [bucket.buffer.copy() for bucket in self._buckets]

    def assign(self, contents: Sequence[Any]) -> None:
        """Take over what `copies` returned, or sums of such."""
        for bucket, content in zip(self._buckets, contents, strict=True):
            bucket.buffer[...] = content

    def reduce_ordered(self, group: RankGroup) -> None:
        """Sum the buffers over the ranks, in the order of a tree."""
        sent = [group.all_reduce_later(bucket.buffer, ordered=True) for bucket in self._buckets]
        for one in sent:
            one.wait()

    def add_to_gradients(self, factor: float = 1.0, *, adjusted: bool = False) -> None:
        """p.grad += factor · gradient, for each parameter that had one on any rank.

        adjusted: whether the gradients have what a leaf's `adjust` adds to them
        """
        for bucket in self._buckets:
            if factor != 1:
                bucket.buffer[: bucket.buffer.size - bucket.counts.size] *= factor
            counts = devices.to_numpy(bucket.counts)
            for p, view, count in zip(bucket.parameters, bucket.views, counts, strict=True):
                if not count:
                    continue
                leaf = leaf_of(p)
                if adjusted and leaf.grad is not None:
                    inplace.accumulate(leaf.grad, view)
                else:
                    add_to_grad(leaf, view)


def _grouped(parameters: Sequence[Parameter], size: int) -> list[list[Parameter]]:
    """Neighbours of one dtype and device, the last first, of about `size` bytes."""
    groups: list[list[Parameter]] = []
    open_groups: dict[Any, list[Parameter]] = {}
    used: dict[Any, int] = {}
    for p in reversed(parameters):
        array = array_of(p)
        key = (str(array.dtype), str(devices.device_of(array)))
        group = open_groups.get(key)
        if group is None or used[key] + array.nbytes > size:
            group = []
            groups.append(group)
            open_groups[key] = group
            used[key] = 0
        group.append(p)
        used[key] += array.nbytes
    return groups
