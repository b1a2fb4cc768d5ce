"""predict and evaluate over Dask's bags, arrays and DataFrames; Dask is known by what it gives.

The model's bytes are one object of the graph, which each worker gets once; a process loads the
model once.  Results of evaluate are added here in the order of the partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from tapegrad.nn.data.backends import Job, register_backend
from tapegrad.nn.data.shipping import FrameColumns, ShippedFunction, model_bytes, without_model
from tapegrad.nn.data.spark import NO_LABELS, NOT_A_VECTOR, OUTPUT
from tapegrad.nn.data.tables import as_columns

__all__ = ["DaskBackend"]

NOT_ALIKE = "{place}: the arrays are divided otherwise along their first axis, or hold no samples"


class DaskBackend:
    """Partitions of a bag, a DataFrame, an array, or a tuple of arrays."""

    def accepts(self, data: Any) -> bool:
        """Tell a collection of Dask, columns of a frame, or a tuple of arrays."""
        if isinstance(data, FrameColumns):
            data = data.frame
        if isinstance(data, tuple) and data:
            return all(self.accepts(entry) for entry in data)
        return type(data).__module__.partition(".")[0] in {"dask", "dask_expr"}

    def map(self, job: Job, data: Any) -> Any:
        """The results as a bag, an array (N, …), or a frame with columns of predictions.

        The outputs' shape is asked of the first sample; nothing else is computed yet.  Raises
        ValueError for an array without samples, and for arrays that are divided otherwise.
        """
        if isinstance(data, FrameColumns) or hasattr(data, "map_partitions"):
            if _is_bag(data):
                return _bag_of(self._pieces(job, data, _outputs))
            return self._frame(job, data)
        arrays = data if isinstance(data, tuple) else (data,)
        first = [array[:1].compute() for array in arrays]
        if not len(first[0]):
            raise ValueError(NOT_ALIKE.format(place=job.place))
        function: Any = getattr(job.function, "function", job.function)
        [one] = list(function(first[0] if len(first) == 1 else tuple(first)))
        shape, dtype = np.shape(one), np.asarray(one).dtype
        import dask.array as da

        lengths = _same_lengths(job.place, arrays)
        pieces = self._pieces(job, data, _stacked)
        return da.concatenate(
            [
                da.from_delayed(piece, (length, *shape), dtype)
                for piece, length in zip(pieces, lengths, strict=True)
                if length
            ]
        )

    def reduce(self, job: Job, data: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """The results of all partitions, added in their order.

        Raises ValueError for a frame whose labels nobody named, and as `map`.
        """
        columns = isinstance(data, FrameColumns)
        is_frame = columns or (hasattr(data, "map_partitions") and not _is_bag(data))
        if is_frame and (not columns or data.labels is None):
            raise ValueError(NO_LABELS.format(place=job.place))
        import dask

        found = dask.compute(*self._pieces(job, data, _outputs))
        results = [result for part in found for result in part]
        return reduce(combine, results) if results else None

    def _frame(self, job: Job, data: Any) -> Any:
        """The frame with a column "prediction", or prediction_0, … for several numbers a sample."""
        import dask.dataframe as dd

        columns = data if isinstance(data, FrameColumns) else FrameColumns(data, None, None)
        names = columns.input_names()
        names = [names] if isinstance(names, str) else list(names)
        function: Any = getattr(job.function, "function", job.function)
        first = columns.frame.head(1)
        outputs = list(function(as_columns(first, names))) if len(first) else []
        example = _with_columns(first, outputs).head(0)
        pieces = self._pieces(job, columns.frame, _WithColumns(names, example))
        return dd.from_delayed(pieces, meta=example)

    def _pieces(self, job: Job, data: Any, run: Callable[..., Any]) -> list[Any]:
        """One delayed result of `run(function, content, partition)` for each partition."""
        import dask

        function, model = without_model(job.function)
        content = model_bytes(model)
        key = ShippedFunction.key_of(content)
        shared = dask.delayed(content, name=f"tapegrad-model-{key}", pure=True)
        return [
            dask.delayed(_run)(run, function, key, shared, *parts)
            for parts in _partitions(job.place, data)
        ]


def _run(run: Any, function: Any, key: str, content: bytes, *parts: Any) -> Any:
    return run(ShippedFunction(function, key, lambda: content), *parts)


def _outputs(function: ShippedFunction, *parts: Any) -> list[Any]:
    return list(function(parts[0] if len(parts) == 1 else parts))


def _stacked(function: ShippedFunction, *parts: Any) -> Any:
    return np.stack(_outputs(function, *parts)) if len(parts[0]) else np.zeros(0)


class _WithColumns:
    """From a pandas frame to the same with columns of predictions."""

    def __init__(self, names: Sequence[str], example: Any) -> None:
        self.names, self.example = names, example

    def __call__(self, function: ShippedFunction, frame: Any) -> Any:
        if not len(frame):
            return self.example
        source: Any = as_columns(frame, self.names)
        return _with_columns(frame, list(function(source)))


def _with_columns(frame: Any, outputs: list[Any]) -> Any:
    """The frame with the outputs of its rows.  Raises ValueError for outputs of several axes."""
    if not outputs or np.ndim(outputs[0]) == 0:
        return frame.assign(**{OUTPUT: np.array(outputs)})
    if np.ndim(outputs[0]) > 1:
        raise ValueError(NOT_A_VECTOR.format(shape=np.shape(outputs[0])))
    table = np.stack(outputs)
    return frame.assign(**{f"{OUTPUT}_{i}": table[:, i] for i in range(table.shape[1])})


def _is_bag(data: Any) -> bool:
    return hasattr(data, "map_partitions") and hasattr(data, "foldby")


def _bag_of(pieces: list[Any]) -> Any:
    import dask.bag as db

    return db.from_delayed(pieces)


def _partitions(place: str, data: Any) -> list[tuple[Any, ...]]:
    """The partitions as delayed objects, one or several for each."""
    if isinstance(data, FrameColumns):
        import dask

        take = dask.delayed(_columns)
        parts = data.frame.to_delayed()
        return [(take(part, data.input_names(), i), take(part, data.labels, i))
                for i, part in enumerate(parts)]  # fmt: skip
    if isinstance(data, tuple):
        _same_lengths(place, data)
        each = [_delayed_rows(array) for array in data]
        return list(zip(*each, strict=True))
    if hasattr(data, "map_partitions"):
        return [(part,) for part in data.to_delayed()]
    return [(part,) for part in _delayed_rows(data)]


def _columns(frame: Any, names: Any, _: int) -> Any:
    return np.asarray(as_columns(frame, names))


def _delayed_rows(array: Any) -> list[Any]:
    """Blocks of an array that hold whole samples."""
    whole = array.rechunk(dict.fromkeys(range(1, array.ndim), -1))
    return list(whole.to_delayed().ravel())


def _same_lengths(place: str, arrays: Sequence[Any]) -> tuple[int, ...]:
    lengths = {array.chunks[0] for array in arrays}
    if len(lengths) != 1:
        raise ValueError(NOT_ALIKE.format(place=place))
    found: tuple[int, ...] = lengths.pop()
    return found


register_backend("dask", DaskBackend())
