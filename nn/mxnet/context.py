"""Context: where an array lives, `mx.cpu(0)` or `mx.gpu(1)`.

Every CPU context is the same memory here; its number says which of several workers a slice belongs
to, as in MXNet.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, ClassVar, Self

from tapegrad import devices
from tapegrad.nn.mxnet.errors import MXNetError

if TYPE_CHECKING:
    from tapegrad.devices import Device


__all__ = ["Context", "cpu", "cpu_pinned", "current_context", "gpu", "num_gpus"]

_TYPES = {1: "cpu", 2: "gpu", 3: "cpu_pinned", 5: "cpu_shared"}


class Context:
    """A device by type and number; as a block it is the default of arrays that are made inside.

    Raises ValueError for another type.  Source: mx.context.Context.
    """

    devtype2str: ClassVar[dict[int, str]] = _TYPES
    devstr2type: ClassVar[dict[str, int]] = {name: number for number, name in _TYPES.items()}

    def __init__(self, device_type: str | Context, device_id: int = 0):
        if isinstance(device_type, Context):
            name, device_id = device_type.device_type, device_type.device_id
        else:
            name = device_type
        if name not in self.devstr2type:
            raise ValueError(f"no context {name!r}; there are {', '.join(self.devstr2type)}")
        self.device_type: str = name
        self.device_id: int = device_id
        self._tokens: list[Token[Context]] = []

    @property
    def device_typeid(self) -> int:
        """The number that files use for the type."""
        return self.devstr2type[self.device_type]

    @property
    def device(self) -> Device:
        """tapegrad's device.  Raises MXNetError for a GPU that is not there."""
        if self.device_type != "gpu":
            return devices.device("cpu")
        try:
            return devices.device(f"cuda:{self.device_id}")
        except devices.DeviceError as error:
            raise MXNetError(f"{self}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Context) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((self.device_type, self.device_id))

    def __str__(self) -> str:
        return f"{self.device_type}({self.device_id})"

    __repr__ = __str__

    def __enter__(self) -> Self:
        self._tokens.append(_current.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._tokens.pop())

    def empty_cache(self) -> None:
        """Free what the device keeps for later arrays; nothing on a CPU."""


def cpu(device_id: int = 0) -> Context:
    """A CPU context."""
    return Context("cpu", device_id)


def cpu_pinned(device_id: int = 0) -> Context:
    """A CPU context; memory is not pinned here."""
    return Context("cpu_pinned", device_id)


def gpu(device_id: int = 0) -> Context:
    """A GPU context; an array on it raises MXNetError where the GPU is missing."""
    return Context("gpu", device_id)


_current: ContextVar[Context] = ContextVar("mxnet_context", default=Context("cpu", 0))  # noqa: B039  # nobody changes it


def current_context() -> Context:
    """The context of the innermost block; cpu(0) outside."""
    return _current.get()


def num_gpus() -> int:
    """The number of GPUs."""
    count = 0
    while True:
        try:
            devices.device(f"cuda:{count}")
        except devices.DeviceError:
            return count
        count += 1
