"""Transformers: functions from a stream of things to a stream of others, joined with ``>>``.

Scala's ``a -> b`` is written ``a >> b`` here.  A transformer keeps nothing between streams, so that
one may run on several at once; a function of one thing is a transformer as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from tapegrad.nn.data.minibatch import MiniBatch, PaddingParam, stack_samples
from tapegrad.nn.data.sample import Sample

__all__ = ["ChainedTransformer", "Each", "SampleToMiniBatch", "DataTransformer", "as_transformer"]

NOT_ONE = "{found} is no transformer: give a DataTransformer, or a function of one sample"
NO_SAMPLE = (
    "SampleToMiniBatch takes Samples, and item {index} is {found}: put "
    "`lambda item: Sample(features, label)` before it"
)


class DataTransformer:
    """A function from an iterator to an iterator: subclasses write ``apply(self, items)``.

    ``a >> b`` runs a, then b.  Called on a data set or an image frame, a transformer gives a
    transformed one; on anything else that can be iterated over, an iterator.
    (BigDL's Transformer.)
    """

    def apply(self, items: Iterator[Any]) -> Iterator[Any]:
        """Return what becomes of `items`; subclasses write it, as a generator usually."""
        raise NotImplementedError(f"{type(self).__name__} does not define apply(self, items)")

    def __call__(self, data: Any) -> Any:
        """The transformed data."""
        transform = getattr(data, "transform", None)
        return transform(self) if callable(transform) else self.apply(iter(data))

    def __rshift__(self, other: TransformerLike) -> ChainedTransformer:
        return ChainedTransformer(self, as_transformer(other))

    def __rrshift__(self, other: TransformerLike) -> ChainedTransformer:
        return ChainedTransformer(as_transformer(other), self)

    def __repr__(self) -> str:
        return type(self).__name__


# What stands at either side of >>.
TransformerLike: TypeAlias = DataTransformer | Callable[[Any], Any]


class ChainedTransformer(DataTransformer):
    """Transformers one after the other, what ``a >> b`` makes.  (BigDL's ChainedTransformer.)"""

    def __init__(self, *steps: DataTransformer) -> None:
        self.steps: list[DataTransformer] = []
        for step in steps:
            self.steps += step.steps if isinstance(step, ChainedTransformer) else [step]

    def apply(self, items: Iterator[Any]) -> Iterator[Any]:
        """All steps, one after the other."""
        for step in self.steps:
            items = step.apply(items)
        return items

    def __repr__(self) -> str:
        return " >> ".join(map(repr, self.steps))


class Each(DataTransformer):
    """Call a function on each thing: ``Each(lambda sample: …)``."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def apply(self, items: Iterator[Any]) -> Iterator[Any]:
        """The function's results."""
        return map(self.function, items)

    def __repr__(self) -> str:
        return f"Each({getattr(self.function, '__name__', self.function)!s})"


def as_transformer(value: TransformerLike) -> DataTransformer:
    """A transformer as it is, and `Each` of a function.  Raises TypeError for anything else."""
    if isinstance(value, DataTransformer):
        return value
    if callable(value):
        return Each(value)
    raise TypeError(NOT_ONE.format(found=f"{value!r:.60}"))


class SampleToMiniBatch(DataTransformer):
    """Stack each `batchSize` samples into a MiniBatch; the last one may be smaller.

    featurePaddingParam, labelPaddingParam: how arrays of different lengths become one; without
                 them, different shapes are an error
    partitionNum: into how many parts the data is divided, each of which makes batches of
                 batchSize / partitionNum
    bucketBoundaries: lengths of the first feature, ascending; samples are put together with those
                 between the same two boundaries, so that little is padded.  The order of samples
                 changes then: those of a bucket come when it is full, the rest at the end
    dropLast:    leave out batches that are smaller
    Raises ValueError for a batch size below 1 or one that partitionNum does not divide; TypeError
    for items that are no Samples.  (BigDL's SampleToMiniBatch; buckets are ours.)
    """

    def __init__(
        self,
        batchSize: int,
        featurePaddingParam: PaddingParam | None = None,
        labelPaddingParam: PaddingParam | None = None,
        partitionNum: int = 1,
        *,
        bucketBoundaries: Iterable[int] | None = None,
        dropLast: bool = False,
    ) -> None:
        if batchSize < 1 or partitionNum < 1 or batchSize % partitionNum:
            raise ValueError(
                f"SampleToMiniBatch: batchSize {batchSize} is not divided by {partitionNum} "
                "partitions, or below 1"
            )
        self.batchSize = batchSize // partitionNum
        self.featurePadding, self.labelPadding = featurePaddingParam, labelPaddingParam
        self.dropLast = dropLast
        self.boundaries = None if bucketBoundaries is None else sorted(bucketBoundaries)

    def apply(self, items: Iterator[Sample]) -> Iterator[MiniBatch]:
        """The batches."""
        buckets: dict[int, list[Sample]] = {}
        for index, sample in enumerate(items):
            if not isinstance(sample, Sample):
                raise TypeError(NO_SAMPLE.format(index=index, found=type(sample).__name__))
            bucket = buckets.setdefault(self._bucket(sample), [])
            bucket.append(sample)
            if len(bucket) == self.batchSize:
                yield self._stacked(bucket)
                bucket.clear()
        if not self.dropLast:
            for _, bucket in sorted(buckets.items()):
                if bucket:
                    yield self._stacked(bucket)

    def _bucket(self, sample: Sample) -> int:
        if self.boundaries is None:
            return 0
        length = sample.featureLength()
        return sum(boundary < length for boundary in self.boundaries)

    def _stacked(self, samples: list[Sample]) -> MiniBatch:
        return stack_samples(samples, self.featurePadding, self.labelPadding)

    def __repr__(self) -> str:
        return f"SampleToMiniBatch({self.batchSize})"
