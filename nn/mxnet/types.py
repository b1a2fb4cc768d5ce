"""Names for annotations of MXNet's interface: what its functions take."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, Union

import numpy as np
import numpy.typing as npt

from tapegrad.devices import DTypeLike

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.nn.mxnet.context import Context
    from tapegrad.nn.mxnet.initializer import Initializer
    from tapegrad.nn.mxnet.kvstore import KVStore
    from tapegrad.nn.mxnet.metric.base import EvalMetric
    from tapegrad.nn.mxnet.module.base import BatchEndParam
    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
    from tapegrad.nn.mxnet.optimizer.base import Optimizer
    from tapegrad.nn.mxnet.symbol.symbol import Symbol

__all__ = [
    "ArrayLike",
    "BatchCallback",
    "BatchCallbacks",
    "BatchLike",
    "Colour",
    "ContextLike",
    "DTypeLike",
    "DataShapes",
    "EpochCallback",
    "EpochCallbacks",
    "GradReq",
    "GroupContexts",
    "Index",
    "InitializerLike",
    "InitializerName",
    "IterData",
    "KVStoreLike",
    "Key",
    "Keys",
    "LoggerLike",
    "MetricArrays",
    "MetricLike",
    "NDArrayLike",
    "NDArrays",
    "OptimizerLike",
    "OptimizerSettings",
    "ParamsLike",
    "PathLike",
    "Picture",
    "RowIds",
    "ShapeLike",
    "ShapeOrText",
    "StoreValues",
    "Symbols",
]

# An array of either kind; one or several; one of which Picture's function returns the same kind.
NDArrayLike: TypeAlias = Union["NDArray", np.ndarray]
NDArrays: TypeAlias = (
    NDArrayLike | list["NDArray"] | list[np.ndarray] | list[NDArrayLike] | tuple[NDArrayLike, ...]
)
Picture = TypeVar("Picture", "NDArray", np.ndarray)
# What `mx.nd.array` takes: arrays, Tensors, numbers, lists of numbers.
ArrayLike: TypeAlias = Union["NDArray", "Tensor", npt.ArrayLike]
# What stands in the brackets of an array.
Index: TypeAlias = Union[
    int, np.integer, slice, EllipsisType, "NDArray", np.ndarray, list[Any], tuple[Any, ...], None
]
# Parameters or states by name.
ParamsLike: TypeAlias = Mapping[str, NDArrayLike]
# What an iterator runs over: one array, several, or arrays by name.
IterData: TypeAlias = NDArrays | Mapping[str, NDArrayLike] | None
ShapeLike: TypeAlias = int | Sequence[int]
# A shape, or its text as MXNet's iterators take it.
ShapeOrText: TypeAlias = int | tuple[int, ...] | list[int] | str
# A DataDesc, or (name, shape), (name, shape, dtype), (name, shape, dtype, layout), of each input.
DataShapes: TypeAlias = Sequence[
    tuple[str, Sequence[int]]
    | tuple[str, Sequence[int], DTypeLike]
    | tuple[str, Sequence[int], DTypeLike, str | None]
]
ContextLike: TypeAlias = Union["Context", Sequence["Context"], None]
# Where the nodes of a `ctx_group` run, for each context.
GroupContexts: TypeAlias = Mapping[str, ContextLike] | Sequence[Mapping[str, "Context"]] | None
# "write", "add" or "null" for all, in order, or by name.
GradReq: TypeAlias = str | Sequence[str] | Mapping[str, str]
# The number or name of a parameter; one or several.
Key: TypeAlias = int | str
Keys: TypeAlias = Key | list[Any] | tuple[Any, ...]
# What a KVStore takes for one key or several: an array, or one for each context.
StoreValues: TypeAlias = Union["NDArray", Sequence["NDArray"], Sequence[Sequence["NDArray"]]]
# What a metric compares: lists of arrays, or one.
MetricArrays: TypeAlias = NDArrayLike | Sequence[NDArrayLike]
Symbols: TypeAlias = Union["Symbol", Sequence["Symbol"]]
# A number or one for each channel; True for ImageNet's.
Colour: TypeAlias = bool | float | Sequence[float] | NDArrayLike | None
# What gave `prepare` the rows to fetch from a sparse store; all rows are here.
RowIds: TypeAlias = Callable[..., object]
PathLike: TypeAlias = str | os.PathLike[str]
# What gives an array its first values: an Initializer, or a function of (name, array).
InitializerLike: TypeAlias = Union["Initializer", Callable[[Any, "NDArray"], object], None]
# A thing or the name that makes it.
InitializerName: TypeAlias = Union["Initializer", str, None]
KVStoreLike: TypeAlias = Union["KVStore", str, None]
OptimizerLike: TypeAlias = Union["Optimizer", str]
OptimizerSettings: TypeAlias = Mapping[str, Any] | Sequence[tuple[str, Any]]
MetricLike: TypeAlias = Union[
    "EvalMetric",
    str,
    Callable[[np.ndarray, np.ndarray], Any],
    Mapping[str, Any],
    list[Any],
    tuple[Any, ...],
]


class BatchLike(Protocol):
    """A DataBatch, or what else has a list of arrays `data`."""

    @property
    def data(self) -> Any:
        """The arrays."""


class BatchCallback(Protocol):
    """What is called at the end of a batch, of a validation or of its batches."""

    def __call__(self, param: BatchEndParam, /) -> object: ...


class EpochCallback(Protocol):
    """What is called at the end of an epoch."""

    def __call__(
        self,
        epoch: int,
        symbol: Any,
        arg_params: dict[str, NDArray],
        aux_params: dict[str, NDArray],
        /,
    ) -> object: ...


BatchCallbacks: TypeAlias = BatchCallback | Sequence[BatchCallback] | None
EpochCallbacks: TypeAlias = EpochCallback | Sequence[EpochCallback] | None


class LoggerLike(Protocol):
    """A Logger, or the module `logging`."""

    def info(self, msg: object, /, *args: object) -> None:
        """Log a line."""

    def warning(self, msg: object, /, *args: object) -> None:
        """Log a warning."""
