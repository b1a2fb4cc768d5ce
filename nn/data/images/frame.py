"""ImageFrame: many images, read from files, arrays, Parquet or Arrow, and transformed together."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad import devices
from tapegrad.nn.data.images.convert import BytesToMat
from tapegrad.nn.data.images.display import gallery
from tapegrad.nn.data.images.feature import ImageFeature
from tapegrad.nn.data.images.transformer import FeatureTransformer
from tapegrad.nn.data.randomness import current_draws, generator_for
from tapegrad.nn.data.transformer import as_transformer

if TYPE_CHECKING:
    from tapegrad.nn.data.sample import Sample
    from tapegrad.nn.data.transformer import TransformerLike

__all__ = ["ImageFrame", "LocalImageFrame"]

NO_ARROW = "Parquet and Arrow need pyarrow, which is not installed: pip install 'tapegrad[frames]'"
NO_COLUMN = "ImageFrame: the table has no column {name!r}; it has {names}"
NO_FILES = "ImageFrame.read: there is no file or folder {path!r}"
LABELS = "ImageFrame.setLabel: {labels} labels for {images} images"
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class ImageFrame:
    """Many images: ``ImageFrame.read(folder)``, ``ImageFrame.array(features)``, …

    A frame of this process is a `LocalImageFrame`.  (BigDL's ImageFrame.)
    """

    @staticmethod
    def read(path: str | os.PathLike[str], *, decode: bool = True) -> LocalImageFrame:
        """The images of a folder and all below, of one file, or of a pattern such as "a/*.png".

        In the order of their paths; a feature's "uri" is its path.  Files that are no images become
        invalid features.
        decode: whether to make their mats now, or leave the bytes for BytesToMat()
        Raises FileNotFoundError where there is nothing.
        """
        features = [ImageFeature(file.read_bytes(), uri=str(file)) for file in _files(path)]
        frame = LocalImageFrame(features)
        return frame.transform(BytesToMat()) if decode else frame

    @staticmethod
    def stream(
        path: str | os.PathLike[str], transformer: FeatureTransformer | None = None
    ) -> Iterator[ImageFeature]:
        """The images of a folder one by one, transformed: memory is that of one image.

        Raises FileNotFoundError where there is nothing.
        """
        files = _files(path)
        chain = BytesToMat() if transformer is None else BytesToMat() >> transformer
        return chain.apply(ImageFeature(file.read_bytes(), uri=str(file)) for file in files)

    @staticmethod
    def array(images: Iterable[Any], labels: Iterable[Any] | None = None) -> LocalImageFrame:
        """A frame of ImageFeatures, or of arrays (height, width, 3) in blue, green, red.

        labels: one for each.  Raises ValueError for another number of labels.
        """
        features = [
            image if isinstance(image, ImageFeature) else ImageFeature(image) for image in images
        ]
        frame = LocalImageFrame(features)
        if labels is not None:
            frame.setLabel(list(labels))
        return frame

    @staticmethod
    def from_arrow(table: Any, *, bytes_column: str = "image", uri: str = "uri",
                   label: str = "label") -> LocalImageFrame:  # fmt: skip
        """A frame of an Arrow table: file bytes, and uris and labels if there are such columns.

        Raises KeyError without a column of bytes.
        """
        names = list(table.column_names)
        if bytes_column not in names:
            raise KeyError(NO_COLUMN.format(name=bytes_column, names=names))
        columns = {name: table.column(name).to_pylist() for name in (bytes_column, uri, label)
                   if name in names}  # fmt: skip
        features = []
        for index, data in enumerate(columns[bytes_column]):
            given = {key: columns[key][index] if key in columns else None for key in (uri, label)}
            features.append(ImageFeature(data, given[label], given[uri]))
        return LocalImageFrame(features)

    @staticmethod
    def readParquet(path: str | os.PathLike[str]) -> LocalImageFrame:
        """The images that `writeParquet` wrote: their bytes, uris and labels.

        Raises ImportError without pyarrow, KeyError for a table without a column "image".
        """
        return ImageFrame.from_arrow(_parquet().read_table(os.fspath(path)))

    @staticmethod
    def writeParquet(images: Any, output: str | os.PathLike[str]) -> None:
        """Write images to a Parquet file: columns "uri", "image" (file bytes), "label" (numbers).

        images: a frame of features with bytes, or the path of a folder
        Raises ImportError without pyarrow, KeyError for a feature without bytes.
        """
        frame = images if isinstance(images, ImageFrame) else ImageFrame.read(images, decode=False)
        assert isinstance(frame, LocalImageFrame)
        _parquet().write_table(frame.to_arrow(), os.fspath(output))

    def isLocal(self) -> bool:
        """Whether the images are in this process."""
        return False

    def isDistributed(self) -> bool:
        """Whether they are elsewhere."""
        return not self.isLocal()

    is_local, is_distributed = isLocal, isDistributed


class LocalImageFrame(ImageFrame):
    """Images in this process, a list of ImageFeatures.  (BigDL's LocalImageFrame.)

    ``frame.transform(t)`` transforms the features themselves, as in BigDL, and returns the frame;
    ``frame >> t`` leaves them as they are and returns a new frame, or an iterator of batches.
    """

    def __init__(self, features: Sequence[ImageFeature]) -> None:
        self.features = list(features)

    def isLocal(self) -> bool:
        """True."""
        return True

    def toLocal(self) -> LocalImageFrame:
        """The frame itself."""
        return self

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[ImageFeature]:
        return iter(self.features)

    def __getitem__(self, index: int) -> ImageFeature:
        return self.features[index]

    def transform(self, transformer: FeatureTransformer) -> Self:
        """Transform the features; returns the frame."""
        for feature in self.features:
            transformer.transform(feature)
        return self

    def __rshift__(self, transformer: TransformerLike) -> Any:
        step = as_transformer(transformer)
        if isinstance(step, FeatureTransformer):
            return LocalImageFrame(list(step.apply(iter(self.features))))
        return step.apply(iter(self.features))

    @property
    def invalid(self) -> list[ImageFeature]:
        """The features that are not valid; each has the reason as its `error`."""
        return [feature for feature in self.features if not feature.isValid]

    def setLabel(self, labels: Mapping[str, Any] | Sequence[Any]) -> Self:
        """Set labels: a mapping from uris, or a list with one for each image; returns the frame.

        Raises ValueError for a list of another length.
        """
        if isinstance(labels, Mapping):
            for feature in self.features:
                feature.setLabel(labels)
            return self
        if len(labels) != len(self.features):
            raise ValueError(LABELS.format(labels=len(labels), images=len(self.features)))
        for feature, label in zip(self.features, labels, strict=True):
            feature["label"] = label
        return self

    def randomSplit(
        self, weights: Sequence[float], seed: int | None = None
    ) -> list[LocalImageFrame]:
        """Frames of random parts, which together have each image once; weights need not sum to 1.

        Raises ValueError for weights that are negative or all 0.
        """
        if not weights or min(weights) < 0 or not sum(weights):
            raise ValueError(f"randomSplit: weights are at least 0, and not all 0: {weights}")
        generator = current_draws() if seed is None else generator_for(seed)
        order = devices.to_numpy(generator.permutation(len(self.features)))
        fractions = np.cumsum(weights) / sum(weights)
        ends = [0, *(round(len(order) * end) for end in fractions)]
        return [
            LocalImageFrame([self.features[i] for i in np.sort(order[start:stop])])
            for start, stop in itertools.pairwise(ends)
        ]

    def to_arrow(self) -> Any:
        """An Arrow table with the uris, bytes and labels (numbers) of the images.

        Raises ImportError without pyarrow, KeyError for a feature without bytes.
        """
        try:
            import pyarrow as pa
        except ImportError as error:
            raise ImportError(NO_ARROW) from error
        columns: dict[str, Any] = {
            "uri": pa.array([f.get("uri") for f in self.features], pa.string()),
            "image": pa.array([f["bytes"] for f in self.features], pa.binary()),
        }
        if any(f.hasLabel() for f in self.features):
            labels = [f.getLabel() for f in self.features]
            columns["label"] = [None if x is None else np.asarray(x).tolist() for x in labels]
        return pa.table(columns)

    # What is under the features' keys -------------------------------------------------------------

    def get_image(self, float_key: str = "floats", to_chw: bool = True) -> list[np.ndarray]:
        """The floats of each image; see `ImageFeature.toTensor`."""
        return [feature.toTensor(float_key, to_chw) for feature in self.features]

    def get_label(self) -> list[Any]:
        """The label of each image, None where there is none."""
        return [feature.getLabel() for feature in self.features]

    def get_predict(self, key: str = "predict") -> list[tuple[str | None, Any]]:
        """(uri, prediction) of each image; None where there is none."""
        return [(feature.get("uri"), feature.get(key)) for feature in self.features]

    def get_sample(self, key: str = "sample") -> list[Sample | None]:
        """The sample of each image, None where there is none."""
        return [feature.get(key) for feature in self.features]

    def __repr__(self) -> str:
        wrong = len(self.invalid)
        return f"LocalImageFrame({len(self)} images{f', {wrong} invalid' if wrong else ''})"

    def _repr_html_(self) -> str:
        """The first images with their boxes, for notebooks."""
        return f"<p>{self!r}</p>{gallery(self.features[:12])}"


def _files(path: str | os.PathLike[str]) -> list[Path]:
    found = Path(path)
    if found.is_dir():
        files = [file for file in found.rglob("*") if file.suffix.lower() in SUFFIXES]
    elif found.is_file():
        files = [found]
    else:
        start = Path(found.anchor) if found.anchor else Path()
        pattern = str(found.relative_to(found.anchor)) if found.anchor else str(found)
        files = [file for file in start.glob(pattern) if file.is_file()] if "*" in pattern else []
    if not files:
        raise FileNotFoundError(NO_FILES.format(path=os.fspath(path)))
    return sorted(files)


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(NO_ARROW) from error
    return parquet
