"""MTImageFeatureToBatch: images to mini-batches, transformed by several threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.data.images.convert import MatToTensor
from tapegrad.nn.data.images.roi import RoiLabel
from tapegrad.nn.data.minibatch import MiniBatch, PerSample
from tapegrad.nn.data.randomness import current_draws, draw_from, generator_for
from tapegrad.nn.data.sample import row_array
from tapegrad.nn.data.transformer import DataTransformer

if TYPE_CHECKING:
    from tapegrad.nn.data.images.feature import ImageFeature
    from tapegrad.nn.data.images.transformer import FeatureTransformer

__all__ = ["MTImageFeatureToBatch"]

OTHER_SIZE = (
    "MTImageFeatureToBatch: the image {name} is {found} after the transformer; the batch takes "
    "{expected}: end the transformer with Resize or a crop"
)


class MTImageFeatureToBatch(DataTransformer):
    """Mini-batches of images (N, 3, height, width) float32 with labels (N,), made by threads.

    transformer: runs on each image, in one of `workers` threads; the images stay in order, and what
                 random steps draw depends on an image's place only
    toRGB:       red, green, blue instead of blue, green, red
    extractRoi:  the target is a list of the images' (classes, boxes) instead of labels
    Invalid images are left out, and counted in `invalid`.
    Raises ValueError for an image of another size, KeyError for one without a label where others
    have one.  (BigDL's MTImageFeatureToBatch.)
    """

    def __init__(
        self,
        width: int,
        height: int,
        batchSize: int,
        transformer: FeatureTransformer,
        toRGB: bool = True,
        extractRoi: bool = False,
        *,
        workers: int = 2,
    ) -> None:
        if min(width, height, batchSize, workers) < 1:
            raise ValueError("MTImageFeatureToBatch: sizes and workers are at least 1")
        self.shape, self.batchSize, self.transformer = (3, height, width), batchSize, transformer
        self.toRGB, self.extractRoi, self.workers = toRGB, extractRoi, workers
        self.invalid = 0

    def apply(self, items: Iterator[ImageFeature]) -> Iterator[MiniBatch]:
        """The batches; the last one may be smaller."""
        self.invalid = 0
        features: list[ImageFeature] = []
        for feature in self._transformed(items):
            if not feature.isValid:
                self.invalid += 1
                continue
            features.append(feature)
            if len(features) == self.batchSize:
                yield self._stacked(features)
                features = []
        if features:
            yield self._stacked(features)

    def _transformed(self, items: Iterator[ImageFeature]) -> Iterator[ImageFeature]:
        seed = int(current_draws().integers(0, 2**31))
        waiting: deque[Any] = deque()
        with ThreadPoolExecutor(self.workers) as pool:
            for feature, place in zip(items, count(), strict=False):
                waiting.append(pool.submit(self._one, feature, seed, place))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _one(self, feature: ImageFeature, seed: int, place: int) -> ImageFeature:
        with draw_from(generator_for(seed, place)):
            found = self.transformer.transform(feature.clone())
        if found.isValid and "floats" not in found and "imageTensor" not in found:
            MatToTensor().transform(found)
        return found

    def _stacked(self, features: list[ImageFeature]) -> MiniBatch:
        input = np.empty((len(features), *self.shape), np.float32)
        for row, feature in zip(input, features, strict=True):
            planes = feature["imageTensor"] if "imageTensor" in feature else feature.toTensor()
            if planes.shape != self.shape:
                raise ValueError(
                    OTHER_SIZE.format(
                        name=feature.get("uri", ""), found=planes.shape, expected=self.shape
                    )
                )
            row[...] = planes[::-1] if self.toRGB else planes
        if self.extractRoi:
            return MiniBatch(input, PerSample(_objects(f["label"]) for f in features))
        if not any(feature.hasLabel() for feature in features):
            return MiniBatch(input)
        labels = [row_array(feature["label"]) for feature in features]
        return MiniBatch(input, np.stack([x.reshape(()) if x.size == 1 else x for x in labels]))


def _objects(label: Any) -> dict[str, Any]:
    if not isinstance(label, RoiLabel):
        raise TypeError(f"extractRoi needs a RoiLabel, not {type(label).__name__}")
    found: dict[str, Any] = {"classes": label.classes, "bboxes": label.bboxes}
    return found if label.masks is None else {**found, "masks": label.masks}
