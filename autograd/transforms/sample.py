"""Single: the Tensor that stands for one sample of a batch while a function runs on all of them.

To the function a Single is a Tensor of one sample's shape and dtype.  `batching.py` takes over the
calls on it and runs them on `batch`, the Tensor of all samples with the batch axis in front.  The
`_bare` of a Single is a placeholder without memory: it has the shape, dtype and device of one
sample, and NaN for every value, so that code that reads `_bare` directly is noticed.

The node of a Single belongs to the tape of one sample, where saved values are Singles too.  Its
batch has a node of its own on the tape around the run, so derivatives can be nested.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.errors import BatchingError
from tapegrad.autograd.core.tensor import Tensor, result_tensor
from tapegrad.autograd.ops.shape import broadcast_to

if TYPE_CHECKING:
    from tapegrad.devices import Array

__all__ = ["Single", "saved_form"]

READS = (
    "{where}: the function {action}, but the value differs from sample to sample: what Python does "
    "with it cannot be done for all of them at once. Select with np.where(condition, x, y), or "
    "loop over the samples."
)


class Single(Tensor):
    """One sample of `batch`, whose first axis counts the samples.

    batching: the run on a batch that made it; in another run the Single is a constant
    """

    __slots__ = ("batch", "batching")

    def __init__(self, batch: Tensor, batching: Any, node: Any = None) -> None:
        self.batch = batch
        self.batching = batching
        self._bare = _placeholder_for(batch._bare)
        self._node = node
        self._alias = None

    def with_node(self, node: Any) -> Single:
        """The same values with another past."""
        other = Single.__new__(Single)
        other.batch, other.batching, other._bare = self.batch, self.batching, self._bare
        other._node, other._alias = node, None
        return other

    def become(self, other: Tensor) -> None:
        """Take over the value and the past of `other`, a Single of the same batch or a Tensor."""
        self._node, self._bare = other._node, other._bare
        self.batch = other.batch if isinstance(other, Single) else self._repeated(other)

    def _repeated(self, shared: Tensor) -> Tensor:
        """A Tensor that all samples share, repeated for each of them."""
        batch: Tensor = broadcast_to(shared, (len(self.batch), *shared.shape))
        return batch

    def full_like(self, fill: float, dtype: Any) -> Single:
        """A new Single that holds the number `fill` in every entry and can be written into."""
        xp = devices.namespace(self.batch._bare)
        shape = tuple(self.batch.shape)
        return Single(result_tensor(xp.full(shape, fill, dtype=dtype)), self.batching)

    @property
    def flags(self) -> Any:
        """The memory layout of the placeholder, which says nothing about the batch."""
        return self._bare.flags

    def detach(self) -> Single:
        """The same values as constants, in every derivative."""
        return Single(self.batch.detach(), self.batching)

    def __copy__(self) -> Any:
        return self.copy("K")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.copy("K")

    def __repr__(self) -> str:
        return f"Single({self.dtype}{self.shape}, one of {len(self.batch)})"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def refuse_if_sample(self, action: str) -> None:
        """Raise BatchingError, which says what the function does (`action`)."""
        raise BatchingError(READS.format(where=user_line(), action=action))


def _refusing_method(name: str, action: str) -> Any:
    """A method of Single called `name` that raises BatchingError."""

    def refuse(self: Single, *_: Any, **__: Any) -> Any:
        self.refuse_if_sample(action)

    refuse.__name__ = name
    return refuse


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
    setattr(Single, _name, _refusing_method(_name, _action))
Single.data = property(_refusing_method("data", "reads .data"))  # type: ignore[method-assign, assignment]  # as above


def saved_form(x: Any) -> Any:
    """The form in which a tape saves x: the array of a Tensor; of a Single a copy without its past,
    because later writes change the Single itself; anything else as it is.
    """
    if isinstance(x, Single):
        return x.with_node(None)
    return x._bare if isinstance(x, Tensor) else x


def _placeholder_for(batch: Array) -> Array:
    """A read-only array like one sample of the array `batch`, with one entry in memory: NaN."""
    shape, dtype = batch.shape[1:], batch.dtype
    if type(batch) is np.ndarray:
        return np.ndarray(shape, dtype, _placeholder_bytes(dtype), 0, (0,) * len(shape))
    xp = devices.namespace(batch)
    filler = np.frombuffer(_placeholder_bytes(dtype), dtype)[0].item()
    return xp.broadcast_to(xp.full((), filler, dtype=dtype), shape)


@lru_cache(maxsize=64)
def _placeholder_bytes(dtype: np.dtype[Any]) -> bytes:
    """The bytes of the entry of a placeholder, which no computation can use unnoticed."""
    if dtype.kind in "fc":
        return np.full((), np.nan, dtype).tobytes()
    if dtype.kind in "iu":  # an index of this size is out of bounds everywhere
        return np.full((), np.iinfo(dtype).max, dtype).tobytes()
    return np.zeros((), dtype).tobytes()
