"""Sample: the Tensor that stands for one sample of a batch while a function runs on all of them.

To the function it is a Tensor of one sample's shape and dtype; calls on it are taken over by
`batching.py`, which runs them on `whole`, the Tensor of all samples with the batch in front.  Its
`_data` only says what an array would be: it has the shape, the dtype and the device, and NaN for
every value, so that code which reads behind the Tensor's back is found out, and no memory.

Its node belongs to the tape of one sample, where saved values are Samples too.  The whole has a
past of its own, on the tape around the batch: so derivatives of derivatives fall out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.errors import BatchingError
from tapegrad.autograd.core.tensor import Tensor, result_tensor
from tapegrad.autograd.ops.shape import broadcast_to

__all__ = ["Sample", "bare"]

READS = (
    "{where}: the function {action}, but the value differs from sample to sample: what Python does "
    "with it cannot be done for all of them at once. Select with np.where(condition, x, y), or "
    "loop over the samples."
)


class Sample(Tensor):
    """One sample of `whole`, whose first axis counts the samples.

    batching: the run that made it; in another one it is a constant
    """

    __slots__ = ("batching", "whole")

    def __init__(self, whole: Tensor, batching: Any, node: Any = None) -> None:
        self.whole = whole
        self.batching = batching
        self._data = _valueless(whole._data)
        self._node = node
        self._alias = None

    def with_node(self, node: Any) -> Sample:
        """The same values with another past."""
        other = Sample.__new__(Sample)
        other.whole, other.batching, other._data = self.whole, self.batching, self._data
        other._node, other._alias = node, None
        return other

    def become(self, other: Tensor) -> None:
        """Stand for the value of `other`, one sample of the same batch, and for its past."""
        self._node, self._data = other._node, other._data
        self.whole = other.whole if isinstance(other, Sample) else self._all_of(other)

    def _all_of(self, shared: Tensor) -> Tensor:
        whole: Tensor = broadcast_to(shared, (len(self.whole), *shared.shape))
        return whole

    def full_like(self, fill: float, dtype: Any) -> Sample:
        """`fill` in every entry of every sample, constants that can be written into."""
        xp = devices.namespace(self.whole._data)
        shape = tuple(self.whole.shape)
        return Sample(result_tensor(xp.full(shape, fill, dtype=dtype)), self.batching)

    @property
    def flags(self) -> Any:
        """How one sample lies in memory: nothing that a rule could make use of."""
        return self._data.flags

    def detach(self) -> Sample:
        """The same values, as constants for every derivative."""
        return Sample(self.whole.detach(), self.batching)

    def __copy__(self) -> Sample:
        return self.detach()

    def __deepcopy__(self, memo: dict[int, Any]) -> Sample:
        return self.detach()

    def __repr__(self) -> str:
        return f"Sample({self.dtype}{self.shape}, one of {len(self.whole)})"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def refuse_if_sample(self, action: str) -> None:
        """Raise BatchingError, which says what the function does (`action`)."""
        raise BatchingError(READS.format(where=user_line(), action=action))


def _reading(name: str, action: str) -> Any:
    def read(self: Sample, *_: Any, **__: Any) -> Any:
        self.refuse_if_sample(action)

    read.__name__ = name
    return read


for _name, _action in {
    "numpy": "calls .numpy()",
    "item": "calls .item()",
    "tolist": "calls .tolist()",
    "__float__": "calls float()",
    "__int__": "calls int()",
    "__complex__": "calls complex()",
    "__index__": "uses a Tensor as a Python index",
    "__bool__": "asks a Tensor for true or false",
    "__contains__": "asks whether a Tensor contains a value",
    "__array__": "converts a Tensor to a NumPy array",
    "__reduce__": "pickles a Tensor",
}.items():
    setattr(Sample, _name, _reading(_name, _action))
Sample.data = property(_reading("data", "reads .data"))  # type: ignore[method-assign, assignment]  # as above


def bare(x: Any) -> Any:
    """What a tape saves of x: its array; of a Sample, which writes change, another without a past;
    anything else as it is.
    """
    if isinstance(x, Sample):
        return x.with_node(None)
    return x._data if isinstance(x, Tensor) else x


def _valueless(whole: Any) -> Any:
    """An array like one sample of `whole`: read-only, of one entry in memory, without a value."""
    shape = whole.shape[1:]
    if type(whole) is np.ndarray:
        return np.ndarray(shape, whole.dtype, _no_value(whole.dtype), 0, (0,) * len(shape))
    xp = devices.namespace(whole)
    filler = np.frombuffer(_no_value(whole.dtype), whole.dtype)[0].item()
    return xp.broadcast_to(xp.full((), filler, dtype=whole.dtype), shape)


@lru_cache(maxsize=64)
def _no_value(dtype: np.dtype[Any]) -> bytes:
    if dtype.kind in "fc":
        return np.full((), np.nan, dtype).tobytes()
    if dtype.kind in "iu":  # an index of this size is out of bounds everywhere
        return np.full((), np.iinfo(dtype).max, dtype).tobytes()
    return np.zeros((), dtype).tobytes()
