"""FeatureTransformer: what all transformers of images derive from.

A subclass writes ``transformMat(self, feature)``, which replaces what is under some keys.  Random
ones draw from `self.draws()`: the generator that `draw_from` or a Loader has set, the CPU's default
one otherwise, or one of their own where they were given a seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from tapegrad import devices
from tapegrad.nn.data.images.errors import ImageError
from tapegrad.nn.data.images.feature import ImageFeature
from tapegrad.nn.data.images.roi import Movement, follow
from tapegrad.nn.data.randomness import current_draws
from tapegrad.nn.data.transformer import ChainedTransformer, DataTransformer, as_transformer

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.nn.data.transformer import TransformerLike

__all__ = ["FeatureTransformer", "FeaturePipeline", "RandomTransformer"]

NO_COLOR = "{name} needs an image of three channels, and this one has {found}"


class FeatureTransformer(DataTransformer):
    """A function of one ImageFeature: subclasses write ``transformMat(self, feature)``.

    ``a >> b`` runs a, then b.  An image that does not fit (`ImageError`) becomes invalid; invalid
    ones pass as they are.  Other errors name the transformer and the image.
    ``transformer.seed(3)`` gives it a generator of its own.  (BigDL's FeatureTransformer.)
    """

    _generator: devices.Generator | None = None

    def transformMat(self, feature: ImageFeature) -> None:
        """Change the feature; subclasses write it."""
        raise NotImplementedError(f"{type(self).__name__} does not define transformMat")

    def transform(self, feature: ImageFeature) -> ImageFeature:
        """Transform the feature itself, and return it; an invalid one stays as it is."""
        if not feature.isValid:
            return feature
        try:
            self.transformMat(feature)
        except ImageError as error:
            feature.invalidate(f"{type(self).__name__}: {error}")
        except Exception as error:
            error.add_note(f"in {self!r}, of the image {feature!r}")
            raise
        return feature

    def apply(self, items: Iterator[ImageFeature]) -> Iterator[ImageFeature]:
        """Transformed clones of features; those that come in stay as they are."""
        for feature in items:
            yield self.transform(feature.clone())

    def __call__(self, data: Any) -> Any:
        """The transformed feature, frame, data set or iterator."""
        if isinstance(data, ImageFeature):
            return self.transform(data)
        return super().__call__(data)

    def __rshift__(self, other: TransformerLike) -> ChainedTransformer:
        step = as_transformer(other)
        if isinstance(step, FeatureTransformer):
            return FeaturePipeline([self, step])
        return ChainedTransformer(self, step)

    def seed(self, seed: int) -> Self:
        """Draw from a generator of this seed from now on; returns self."""
        self._generator = devices.Generator("cpu", seed)
        return self

    def draws(self) -> devices.Generator:
        """The generator to draw from."""
        return self._generator or current_draws()

    def uniform(self, low: float, high: float) -> float:
        """One number between low and high; low itself where they are equal."""
        return low + float(self.draws().uniform((), "float64")) * (high - low)

    def color(self, feature: ImageFeature) -> np.ndarray:
        """The mat of an image of three channels.  Raises ImageError for another one."""
        mat = feature.opencvMat()
        if mat.shape[2] != 3:
            raise ImageError(NO_COLOR.format(name=type(self).__name__, found=mat.shape[2]))
        return mat

    @staticmethod
    def move(feature: ImageFeature, mat: np.ndarray, movement: Movement, kind: str) -> None:
        """Set a moved image, and let the boxes of the label follow; see `roi.follow`."""
        feature["mat"] = mat
        if feature.hasLabel():
            feature["label"] = follow(feature["label"], movement, kind)


class FeaturePipeline(ChainedTransformer, FeatureTransformer):
    """Transformers of images one after the other: what ``a >> b`` makes.  (BigDL's Pipeline.)"""

    def __init__(self, transformers: list[FeatureTransformer]) -> None:
        ChainedTransformer.__init__(self, *transformers)

    def transform(self, feature: ImageFeature) -> ImageFeature:
        """Run all of them on the feature itself, and return it."""
        for step in self.steps:
            assert isinstance(step, FeatureTransformer)
            step.transform(feature)
        return feature

    def apply(self, items: Iterator[ImageFeature]) -> Iterator[ImageFeature]:
        """Transformed clones of features; those that come in stay as they are."""
        return FeatureTransformer.apply(self, items)

    def seed(self, seed: int) -> Self:
        """Let each step draw from a generator of its own; returns self."""
        for index, step in enumerate(self.steps):
            assert isinstance(step, FeatureTransformer)
            step.seed(seed + 7919 * index)
        return self

    __rshift__ = FeatureTransformer.__rshift__


class RandomTransformer(FeatureTransformer):
    """Run `transformer` with probability `prob`.  (BigDL's RandomTransformer.)

    Raises ValueError for what is no probability.
    """

    def __init__(self, transformer: FeatureTransformer, prob: float) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"RandomTransformer: prob is between 0 and 1, not {prob}")
        self.transformer, self.prob = transformer, prob

    def transformMat(self, feature: ImageFeature) -> None:
        """Draw, and run it or not."""
        if self.uniform(0, 1) < self.prob:
            self.transformer.transform(feature)

    def seed(self, seed: int) -> Self:
        """Give it, and what it runs, generators of their own; returns self."""
        self.transformer.seed(seed + 104729)
        return super().seed(seed)

    def __repr__(self) -> str:
        return f"RandomTransformer({self.transformer!r}, {self.prob})"
