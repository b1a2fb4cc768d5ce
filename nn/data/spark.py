"""predict and evaluate over Spark's RDDs and DataFrames; PySpark is known by what it gives.

The model is broadcast once and loaded once in each worker process; partitions stay where they are.
Results of evaluate are collected and added here, in the order of the partitions: a task that Spark
runs a second time counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from typing import Any

from tapegrad.nn.data.backends import Job, register_backend
from tapegrad.nn.data.shipping import FrameColumns, ShippedFunction, model_bytes, without_model
from tapegrad.nn.data.tables import as_columns

__all__ = ["SparkBackend"]

NO_LABELS = "{place}: which columns are labels? DataSet.frame(frame, labels=[…]) says it"
NOT_A_VECTOR = (
    "predict: the outputs have shape {shape}: a frame holds one number or one vector for each row; "
    "give an RDD or a bag for others"
)
OUTPUT = "prediction"


class SparkBackend:
    """Partitions of an RDD, or of a DataFrame, whose columns are then the input."""

    def __init__(self) -> None:
        self._sent: tuple[Any, str, Any] | None = None  # (context, key, broadcast), of the last

    def accepts(self, data: Any) -> bool:
        """Tell an RDD or a DataFrame of PySpark, or columns of the latter."""
        if isinstance(data, FrameColumns):
            data = data.frame
        return type(data).__module__.partition(".")[0] == "pyspark"

    def map(self, job: Job, data: Any) -> Any:
        """The results as an RDD in the order of the data; of a frame, the frame with a column more.

        Nothing is computed yet.  The column is called "prediction": a list of doubles, or a number
        for predict_class.
        """
        columns = data if isinstance(data, FrameColumns) else FrameColumns(data, None, None)
        if not hasattr(columns.frame, "mapInPandas"):
            return data.mapPartitions(self._shipped(job, data.context))
        from pyspark.sql.types import ArrayType, DoubleType, LongType, StructField, StructType

        frame = columns.frame
        shipped = self._shipped(job, frame.sparkSession.sparkContext)
        classes = bool(getattr(shipped.function, "classes", False))
        kind = LongType() if classes else ArrayType(DoubleType())
        fields = [field for field in frame.schema.fields if field.name != OUTPUT]
        schema = StructType([*fields, StructField(OUTPUT, kind)])
        names = columns.input_names()
        return frame.mapInPandas(_OnFrames(shipped, names, classes), schema)

    def reduce(self, job: Job, data: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """The results of all partitions, added in their order.

        Raises ValueError for a frame whose labels nobody named.
        """
        if isinstance(data, FrameColumns):
            if data.labels is None:
                raise ValueError(NO_LABELS.format(place=job.place))
            rows = data.frame.rdd.mapPartitions(_Labelled(data.input_names(), data.labels))
        elif hasattr(data, "mapInPandas"):
            raise ValueError(NO_LABELS.format(place=job.place))
        else:
            rows = data
        found = rows.mapPartitions(self._shipped(job, rows.context)).collect()
        return reduce(combine, found) if found else None

    def _shipped(self, job: Job, context: Any) -> ShippedFunction:
        function, model = without_model(job.function)
        content = model_bytes(model)
        key = ShippedFunction.key_of(content)
        if self._sent is None or self._sent[:2] != (context, key):
            self._sent = (context, key, context.broadcast(content))
        return ShippedFunction(function, key, _Received(self._sent[2]))


class _Received:
    """What a broadcast brought; an object, which travels where a method of Spark's would not."""

    def __init__(self, broadcast: Any) -> None:
        self.broadcast = broadcast

    def __call__(self) -> bytes:
        content: bytes = self.broadcast.value
        return content


class _OnFrames:
    """From the pandas frames of a partition to the same with a column of predictions."""

    def __init__(self, function: ShippedFunction, names: Any, classes: bool) -> None:
        self.function, self.names, self.classes = function, names, classes

    def __call__(self, frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            names = [self.names] if isinstance(self.names, str) else list(self.names)
            outputs = list(self.function(as_columns(frame, names)))  # type: ignore[arg-type]  # a source
            yield frame.assign(**{OUTPUT: column_of(outputs, classes=self.classes)})


class _Labelled:
    """From Spark's rows to (input, target)."""

    def __init__(self, features: Any, labels: Any) -> None:
        self.features, self.labels = features, labels

    def __call__(self, rows: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        import numpy as np

        for row in rows:
            x, t = _entries(row, self.features), _entries(row, self.labels)
            yield np.asarray(x), np.asarray(t)


def _entries(row: Any, names: Any) -> Any:
    """A row's numbers: of one name that is no list the number itself, of several one array."""
    import numpy as np

    if isinstance(names, str):
        return _plain(row[names])
    return np.concatenate([np.atleast_1d(_plain(row[name])) for name in names])


def _plain(value: Any) -> Any:
    return value.toArray() if hasattr(value, "toArray") else value  # a vector of Spark's ML


def column_of(outputs: list[Any], *, classes: bool) -> list[Any]:
    """Outputs of samples as entries of a column: numbers, or lists of numbers.

    Raises ValueError for outputs of more axes.
    """
    if classes:
        return [int(label) for label in outputs]
    for output in outputs:
        if getattr(output, "ndim", 2) > 1:
            raise ValueError(NOT_A_VECTOR.format(shape=getattr(output, "shape", "of a nest")))
    return [output.reshape(-1).astype("float64").tolist() for output in outputs]


register_backend("spark", SparkBackend())
