"""Pictures for notebooks: images side by side, and what each step of a pipeline does to one."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.nn.data.images.feature import ImageFeature, picture_of
from tapegrad.nn.data.images.pillow import encode_png
from tapegrad.nn.data.images.resample import AREA, NEAREST, resample
from tapegrad.nn.data.images.transformer import FeaturePipeline, FeatureTransformer

if TYPE_CHECKING:
    from typing import Any

__all__ = ["PipelinePicture", "gallery", "picture_pipeline"]

SIDE = 160  # the longer side of an image in a gallery, in pixels


class PipelinePicture:
    """What each step of a pipeline made of one image: `steps` are (name, feature).

    A notebook shows it as a row of images with their boxes, sizes and dtypes.
    """

    def __init__(self, steps: Sequence[tuple[str, ImageFeature]]) -> None:
        self.steps = list(steps)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {_caption(feature)}" for name, feature in self.steps)

    def _repr_html_(self) -> str:
        return gallery([feature for _, feature in self.steps], [name for name, _ in self.steps])

    def _repr_png_(self) -> Any:
        shown = [_small(picture_of(f)) for _, f in self.steps if "mat" in f]
        if not shown:
            return None
        height = max(len(image) for image in shown)
        padded = [
            np.pad(image, ((0, height - len(image)), (0, 8), (0, 0)), constant_values=255)
            for image in shown
        ]
        return encode_png(np.concatenate(padded, axis=1))


def picture_pipeline(transformer: FeatureTransformer, feature: ImageFeature) -> PipelinePicture:
    """Run a pipeline on a clone of the feature, and keep what each step made of it.

    A step that removes the mat is shown with the one before it.
    """
    steps = transformer.steps if isinstance(transformer, FeaturePipeline) else [transformer]
    current = feature.clone()
    found = [("input", feature)]
    for step in steps:
        assert isinstance(step, FeatureTransformer)
        before = current.get("mat")
        current = step.transform(current.clone())
        shown = current
        if "mat" not in current and before is not None:
            shown = current.clone()
            shown["mat"] = before
        found.append((repr(step), shown))
    return PipelinePicture(found)


def gallery(features: Sequence[ImageFeature], names: Sequence[str] | None = None) -> str:
    """HTML with the images side by side."""
    titles = names or [str(feature.get("uri", "")) for feature in features]
    return "".join(
        f'<figure style="display:inline-block;margin:4px;vertical-align:top">{_image(feature)}'
        f"<figcaption>{html.escape(title)}<br>{html.escape(_caption(feature))}</figcaption></figure>"
        for title, feature in zip(titles, features, strict=True)
    )


def _caption(feature: ImageFeature) -> str:
    if not feature.isValid:
        return f"invalid: {feature.error}"
    if "mat" not in feature:
        return "not decoded"
    height, width, channels = feature["mat"].shape
    boxes = getattr(feature.get("label"), "bboxes", None)
    objects = "" if boxes is None else f", {len(boxes)} boxes"
    return f"{height}×{width}×{channels} {feature['mat'].dtype}{objects}"


def _image(feature: ImageFeature) -> str:
    if "mat" not in feature:
        return ""
    data = base64.b64encode(encode_png(_small(picture_of(feature)))).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(_caption(feature))}">'


def _small(pixels: np.ndarray) -> np.ndarray:
    """The pixels with the longer side at SIDE."""
    factor = SIDE / max(pixels.shape[:2])
    height, width = (max(round(side * factor), 1) for side in pixels.shape[:2])
    return resample(pixels, height, width, AREA if factor < 1 else NEAREST)
