"""predict_image and evaluate_image: a model over the samples of an image frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.tree import map_leaves
from tapegrad.nn.core.hooks import add_hook
from tapegrad.nn.core.services import register_service
from tapegrad.nn.data.backends import Job, find_backend
from tapegrad.nn.data.images.frame import LocalImageFrame
from tapegrad.nn.data.prediction import PredictPartition, checked_batch_size, evaluate

if TYPE_CHECKING:
    from tapegrad.nn.data.images.feature import ImageFeature
    from tapegrad.nn.data.minibatch import PaddingParam
    from tapegrad.nn.data.prediction import ValidationMethod
    from tapegrad.nn.data.sample import Sample

__all__ = ["evaluate_image", "predict_image"]

NO_SAMPLE = (
    "{place}: the valid image {name} has no sample: end the pipeline with MatToTensor() >> "
    "ImageFrameToSample(), or make it invalid"
)
NO_LAYER = "predict_image: no layer is called {name!r}; there are {known}"
SEVERAL = "predict_image: {count} layers are called {name!r}: give them different names"
NOT_RUN = "predict_image: the layer {name!r} did not run in the forward of the model"


class _Hidden:
    """A model whose output is that of one of its layers, of the last call if there are several."""

    def __init__(self, model: Any, name: str) -> None:
        self.model, self.name = model, name
        self.layer = find_layer(model, name)
        self.listModules = model.listModules
        self.named_parameters = model.named_parameters

    def __call__(self, input: Any) -> Any:
        kept: list[Any] = []
        hook = add_hook(self.layer, "after", lambda _module, _inputs, output: kept.append(output))
        with hook:
            self.model(input)
        if not kept:
            raise ValueError(NOT_RUN.format(name=self.name))
        return kept[-1]


def find_layer(model: Any, name: str) -> Any:
    """The layer of a name: that of `setName`, else the dotted name of the state dict ("0", "a.1").

    Raises ValueError where no layer or several have it.
    """
    named = dict(model.named_modules())
    found = [layer for layer in named.values() if _given_name(layer) == name]
    found = found or ([named[name]] if name in named else [])
    if not found:
        known = ", ".join(sorted({_given_name(m) or n for n, m in named.items() if n}))
        raise ValueError(NO_LAYER.format(name=name, known=known or "none"))
    if len(found) > 1:
        raise ValueError(SEVERAL.format(count=len(found), name=name))
    return found[0]


def _given_name(layer: Any) -> str | None:
    name: str | None = layer.getName() if layer.hasName() else None
    return name


def _samples(place: str, features: Sequence[ImageFeature]) -> list[Sample]:
    found = []
    for feature in features:
        if "sample" not in feature:
            raise ValueError(NO_SAMPLE.format(place=place, name=feature.get("uri", "")))
        found.append(feature["sample"])
    return found


@register_service("predict_image")
def predict_image(
    model: Any,
    imageFrame: Iterable[ImageFeature],
    outputLayer: str | None = None,
    shareBuffer: bool = False,
    batchPerPartition: int = 4,
    predictKey: str = "predict",
    featurePaddingParam: PaddingParam | None = None,
) -> Any:
    """Predict the sample of each valid image, and put the output under `predictKey`.

    imageFrame:  a LocalImageFrame, or an iterator of ImageFeatures, of which one batch at a time is
                 in memory; or an RDD or a Dask bag of them, which becomes another one
    outputLayer: the name of the layer whose output is wanted instead of the model's
    shareBuffer: see `predict`; a prediction is valid until the next batch, so it is for iterators
    batchPerPartition: samples that the model runs on at once
    featurePaddingParam: how samples of different shapes are stacked
    Invalid images pass through without a prediction; ``frame.invalid`` has them.
    Returns a new frame of the same features; an iterator of them where an iterator was given.
    Raises ValueError for a valid image without a sample and for a layer that is not there; the
    features are then as they were.  (BigDL's predictImage.)
    """
    size = checked_batch_size("predict_image", batchPerPartition, 4)
    backend = find_backend(None, imageFrame)
    if backend is not find_backend("local", None):
        images = PredictImages(model, size, predictKey, outputLayer, featurePaddingParam)
        return backend.map(Job(images, "predict_image", False, size), imageFrame)
    source = model if outputLayer is None else _Hidden(model, outputLayer)
    run = PredictPartition(
        source, size, share=shareBuffer, padding=featurePaddingParam, place="predict_image"
    )
    if isinstance(imageFrame, Iterator):
        return _predicted(run, imageFrame, size, predictKey)
    features = list(imageFrame)
    _samples("predict_image", [feature for feature in features if feature.isValid])
    return LocalImageFrame(list(_predicted(run, iter(features), size, predictKey)))


@dataclass(frozen=True)
class PredictImages:
    """The function from a partition of image features to the same with their predictions."""

    model: Any
    size: int
    key: str
    layer: str | None = None
    padding: PaddingParam | None = None

    def __call__(self, features: Iterable[ImageFeature]) -> Iterator[ImageFeature]:
        source = self.model if self.layer is None else _Hidden(self.model, self.layer)
        run = PredictPartition(source, self.size, padding=self.padding, place="predict_image")
        return _predicted(run, iter(features), self.size, self.key)


def _predicted(
    run: PredictPartition, features: Iterator[ImageFeature], size: int, key: str
) -> Iterator[ImageFeature]:
    """The features in order, in groups that hold `size` valid ones."""
    buffers: list[np.ndarray] = []
    while group := list(_group(features, size)):
        valid = [feature for feature in group if feature.isValid]
        outputs = list(run(_samples("predict_image", valid), buffers)) if valid else []
        for feature, output in zip(valid, outputs, strict=True):
            feature[key] = output if run.share else map_leaves(np.array, output)
        yield from group


def _group(features: Iterator[ImageFeature], size: int) -> Iterator[ImageFeature]:
    left = size
    while left:
        found = next(iter(islice(features, 1)), None)
        if found is None:
            return
        left -= found.isValid
        yield found


@register_service("evaluate_image")
def evaluate_image(
    model: Any,
    imageFrame: Iterable[ImageFeature],
    methods: ValidationMethod | Sequence[ValidationMethod],
    batchSize: int | None = None,
    **options: Any,
) -> list[tuple[Any, ValidationMethod]]:
    """What each validation method finds on the samples of the valid images; see `evaluate`.

    Invalid images are left out.  Raises ValueError for a valid image without a sample, and what
    `evaluate` raises.  (BigDL's evaluateImage, here also of local frames.)
    """
    samples: Any
    if find_backend(None, imageFrame) is not find_backend("local", None):
        elsewhere: Any = imageFrame
        samples = elsewhere.filter(_is_valid).map(_sample_of)
        return evaluate(model, samples, methods, batchSize, **options)
    valid = (feature for feature in imageFrame if feature.isValid)
    if isinstance(imageFrame, Iterator):
        samples = (_sample_of(feature) for feature in valid)
    else:
        samples = _samples("evaluate_image", list(valid))
    return evaluate(model, samples, methods, batchSize, **options)


def _is_valid(feature: ImageFeature) -> bool:
    return bool(feature.isValid)


def _sample_of(feature: ImageFeature) -> Sample:
    return _samples("evaluate_image", [feature])[0]
