"""LocalDataSet: samples in this process, with an order, transformers and a size.

`data(train)` is what BigDL's trainers ask for: for training an endless stream in a random order,
for evaluation one pass in the order of the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.nn.data.backends import find_backend
from tapegrad.nn.data.loading import Loader
from tapegrad.nn.data.minibatch import MiniBatch, slice_nest
from tapegrad.nn.data.randomness import current_draws, generator_for
from tapegrad.nn.data.sample import Sample, row_array
from tapegrad.nn.data.shipping import FrameColumns
from tapegrad.nn.data.sources import Columns, as_source
from tapegrad.nn.data.tables import as_columns
from tapegrad.nn.data.transformer import ChainedTransformer, DataTransformer, as_transformer

if TYPE_CHECKING:
    from tapegrad.nn.data.transformer import TransformerLike

__all__ = ["DataSet", "LocalDataSet"]

NOT_COUNTED = (
    "LocalDataSet.{method}: nobody knows how many samples a function makes: give a list or arrays"
)
FRACTIONS = "LocalDataSet.randomSplit: fractions {found} must be at least 0 and sum to 1"
EMPTY_PART = "LocalDataSet.randomSplit: {fraction} of {n} samples are none"


class LocalDataSet:
    """Samples, the transformers that they pass, and the order in which they come for training.

    source:  a list of samples, `Columns` of arrays, or a function that makes an iterable of samples
    seed:    of the orders; drawn from the CPU's generator where it is None, so that `manual_seed`
             decides
    ``data_set >> transformer`` is a data set of what the transformer makes.
    (BigDL's LocalDataSet.)
    """

    def __init__(
        self,
        source: Sequence[Any] | Columns | Callable[[], Iterable[Any]],
        transformer: DataTransformer | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        self.source, self.transformer, self.seed = source, transformer, seed
        self._order: np.ndarray | None = None
        self._shuffles = 0

    # The samples ----------------------------------------------------------------------------------

    def size(self) -> int:
        """How many samples there are, before transformers put them into batches.

        Of a list of MiniBatches, the samples in them.  Raises TypeError where a function makes the
        samples.
        """
        if isinstance(self.source, Columns):
            return self.source.length or 0
        if callable(self.source):
            raise TypeError(NOT_COUNTED.format(method="size"))
        if self.source and isinstance(self.source[0], MiniBatch):
            return sum(batch.size() for batch in self.source)
        return len(self.source)

    def __len__(self) -> int:
        return self.size()

    def data(self, train: bool) -> Iterator[Any]:
        """What comes out of the transformers.

        train: an endless stream in the order that `shuffle` drew, random after each `shuffle`;
               otherwise one pass, in the order of the samples
        """
        return self._transformed(self._endless() if train else iter(self._rows(None)))

    def samples(self) -> Columns | Iterable[Any]:
        """What `predict` and `evaluate` run over: arrays where there are such, or one pass."""
        if self.transformer is None and isinstance(self.source, Columns):
            return self.source
        return self.data(train=False)

    def __iter__(self) -> Iterator[Any]:
        return self.data(train=False)

    def _transformed(self, rows: Iterator[Any]) -> Iterator[Any]:
        return rows if self.transformer is None else self.transformer.apply(rows)

    def _endless(self) -> Iterator[Any]:
        empty = False
        while not empty:
            empty = True
            for row in self._rows(self._order):
                empty = False
                yield row

    def _rows(self, order: np.ndarray | None) -> Iterable[Any]:
        source = self.source
        if callable(source) and not isinstance(source, Columns):
            return source()
        indices = range(self._count()) if order is None else order
        if isinstance(source, Columns):
            return (self._sample_at(int(i)) for i in indices)
        return (source[int(i)] for i in indices)

    def _count(self) -> int:
        return (self.source.length or 0) if isinstance(self.source, Columns) else len(self.source)  # type: ignore[arg-type]  # no function here

    def _sample_at(self, index: int) -> Sample:
        assert isinstance(self.source, Columns)
        input, target = self.source.input, self.source.target
        return Sample(
            _first(slice_nest(input, index, index + 1)),
            () if target is None else _first(slice_nest(target, index, index + 1)),
        )

    # Transformers and order -----------------------------------------------------------------------

    def transform(self, transformer: TransformerLike) -> LocalDataSet:
        """A data set of what `transformer` makes of these samples; ``>>`` is the same."""
        step = as_transformer(transformer)
        chain = step if self.transformer is None else ChainedTransformer(self.transformer, step)
        made = LocalDataSet(self.source, chain, seed=self.seed)
        made._order, made._shuffles = self._order, self._shuffles
        return made

    __rshift__ = transform

    def shuffle(self) -> LocalDataSet:
        """Draw a new order for `data(train=True)`; returns self.

        Raises TypeError where a function makes the samples, whose order is its own.
        """
        if callable(self.source) and not isinstance(self.source, Columns):
            raise TypeError(NOT_COUNTED.format(method="shuffle"))
        generator = (
            current_draws() if self.seed is None else generator_for(self.seed, self._shuffles)
        )
        self._order = devices.to_numpy(generator.permutation(self._count()))
        self._shuffles += 1
        return self

    def randomSplit(self, weights: Sequence[float], seed: int | None = None) -> list[LocalDataSet]:
        """Data sets of random parts, which together have each sample once, with the transformers.

        weights: the fraction of each part; seed: of the choice, drawn from the CPU's generator
        where it is None
        Raises ValueError for fractions that do not sum to 1 and for a part without samples,
        TypeError where a function makes the samples.
        """
        if callable(self.source) and not isinstance(self.source, Columns):
            raise TypeError(NOT_COUNTED.format(method="randomSplit"))
        if not weights or min(weights) < 0 or abs(sum(weights) - 1) > 1e-9:
            raise ValueError(FRACTIONS.format(found=tuple(weights)))
        n = self._count()
        generator = current_draws() if seed is None else generator_for(seed)
        order = devices.to_numpy(generator.permutation(n))
        ends = [0, *(round(n * end) for end in np.cumsum(weights))]
        parts = []
        for fraction, start, stop in zip(weights, ends[:-1], ends[1:], strict=True):
            if start == stop:
                raise ValueError(EMPTY_PART.format(fraction=fraction, n=n))
            parts.append(LocalDataSet(self._taken(np.sort(order[start:stop])), self.transformer))
        return parts

    def _taken(self, indices: np.ndarray) -> Columns | list[Any]:
        if isinstance(self.source, Columns):
            taken = [_take(entry, indices) for entry in (self.source.input, self.source.target)]
            return Columns(*taken)
        assert not callable(self.source)
        return [self.source[int(i)] for i in indices]

    def batches(self, batchSize: int = 32, **options: Any) -> Loader:
        """A `Loader` over these samples and transformers, for any Trainer.

        options: those of Loader: shuffle, seed, weights, workers, …
        """
        source: Any = self.source
        if callable(source) and not isinstance(source, Columns):
            return Loader(_Passes(self), batchSize, **{"shuffle": False, **options})
        if isinstance(source, Columns):
            source = source.input if source.target is None else (source.input, source.target)
        return Loader(source, batchSize, transformer=self.transformer, **options)

    def __repr__(self) -> str:
        count = "…" if callable(self.source) else str(self._count())
        chain = "" if self.transformer is None else f" >> {self.transformer!r}"
        return f"LocalDataSet({count}){chain}"


class _Passes:
    """A pass over a data set for each iteration."""

    def __init__(self, data_set: LocalDataSet) -> None:
        self.data_set = data_set

    def __iter__(self) -> Iterator[Any]:
        return self.data_set.data(train=False)


def _first(nest: Any) -> Any:
    if isinstance(nest, dict):
        return {key: _first(value) for key, value in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [_first(value) for value in nest]
    return row_array(nest)[0]


def _take(nest: Any, indices: np.ndarray) -> Any:
    if nest is None:
        return None
    if isinstance(nest, dict):
        return {key: _take(value, indices) for key, value in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [_take(value, indices) for value in nest]
    return row_array(nest[:])[indices]


class DataSet:
    """Functions that make data sets, by what they are made of.  (BigDL's DataSet.)"""

    @staticmethod
    def array(data: Sequence[Any], *more: Any, seed: int | None = None) -> LocalDataSet:
        """A data set of a list of Samples or MiniBatches, or of arrays (x, target).

        Raises ValueError for arrays of different lengths, TypeError for what is no data.
        """
        if isinstance(data, list) and not more:
            return LocalDataSet(data, seed=seed)
        whole = (data, *more) if more else data
        with_targets = isinstance(whole, tuple) and len(whole) > 1
        source = as_source(whole, "DataSet.array", with_targets=with_targets)
        found = source if isinstance(source, Columns) else list(source.rows)  # type: ignore[attr-defined]  # Rows
        return LocalDataSet(found, seed=seed)

    @staticmethod
    def frame(
        table: Any,
        features: Sequence[str] | str | None = None,
        labels: Sequence[str] | str | None = None,
        *,
        seed: int | None = None,
    ) -> LocalDataSet | FrameColumns:
        """A data set of a pandas frame, an Arrow table or a polars frame.

        Of a frame of Spark or Dask, what `predict` and `evaluate` run over where the frame lies.

        features: names of the columns that make the input (N, columns), all but the labels where it
                  is None; a column of lists makes further axes
        labels:   names of those that make the target: (N,) for one name, (N, columns) for a list
        Raises KeyError for a column that is not there, TypeError for columns without numbers.
        """
        if find_backend(None, table) is not find_backend("local", None):
            return FrameColumns(table, features, labels)
        columns = as_columns(table)
        if features is None and labels is not None:
            others = {labels} if isinstance(labels, str) else set(labels)
            features = [name for name in columns.names or () if name not in others]
        target = None if labels is None else as_columns(table, labels)
        return LocalDataSet(Columns(as_columns(table, features), target), seed=seed)

    @staticmethod
    def function(make: Callable[[], Iterable[Any]]) -> LocalDataSet:
        """A data set of what a function makes anew for each pass: a generator's, for instance.

        Raises TypeError for what cannot be called.
        """
        if not callable(make):
            raise TypeError(f"DataSet.function takes a function, not {type(make).__name__}")
        return LocalDataSet(make)

    @staticmethod
    def joined(parts: Sequence[Any]) -> LocalDataSet:
        """A data set of several one after the other; batches go over their ends.

        So a result does not depend on how the samples were divided.
        """
        sets = [part if isinstance(part, LocalDataSet) else DataSet.array(part) for part in parts]
        return LocalDataSet(lambda: (row for part in sets for row in part.data(train=False)))
