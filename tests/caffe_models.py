"""What the tests of Caffe's files share: weights for a definition, and OpenCV as the judge."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np

from tapegrad import no_grad
from tapegrad.nn.formats import caffe
from tapegrad.nn.formats.caffe.fields import SCHEMA
from tapegrad.nn.formats.caffe.reading import Reading

DATA = Path(__file__).parent / "data" / "caffe"
FLAT = ("Scale", "Bias", "Normalize", "PReLU")  # blobs of these layers have one axis


def filled(definition: Path, folder: Path, seed: int = 0) -> Path:
    """A .caffemodel with drawn weights for each layer of a definition."""
    random = np.random.default_rng(seed)
    blobs: dict[str, dict[int, np.ndarray]] = {}

    def weight(self, index, shape, fill=None):
        scale = 1.5 / max(np.prod(shape[1:]), 1) ** 0.5
        array = random.normal(0, scale, shape).astype(np.float32)
        if self.layer.kind == "BatchNorm":
            choices = (random.normal(0, 1, shape), random.uniform(1, 4, shape), np.full(shape, 2.0))
            array = choices[index].astype(np.float32)
        blobs.setdefault(self.name, {})[index] = array
        return array

    with mock.patch.object(Reading, "weight", weight):
        caffe.load_caffe_model(definition, None)
    net = SCHEMA.read_text(definition, "NetParameter", skipped=Counter())
    for layer in [*net.layer, *net.layers]:
        kind = layer.type if net.layer else ""
        for _, array in sorted(blobs.get(layer.name, {}).items()):
            stored = array.reshape(-1) if kind in FLAT else array
            shape = SCHEMA.new("BlobShape", dim=list(stored.shape))
            layer.blobs.append(SCHEMA.new("BlobProto", shape=shape, data=stored.reshape(-1)))
    path = folder / f"{definition.stem}.caffemodel"
    with path.open("wb") as stream:
        SCHEMA.write(net, stream)
    return path


def arrays_of(result) -> list[np.ndarray]:
    parts = result if isinstance(result, list) else [result]
    return [np.asarray(part.detach()) for part in parts]


def ours(module, x) -> list[np.ndarray]:
    with no_grad():
        return arrays_of(module(x))


def opencv(cv2, definition: Path, model: Path, x) -> list[np.ndarray]:
    """What OpenCV gives for these files: the tops that no layer reads."""
    net = cv2.dnn.readNetFromCaffe(str(definition), str(model))
    net.setInput(x)
    names = net.getUnconnectedOutLayersNames()
    return list(net.forward([n for n in names if net.getLayer(n).type != "Silence"]))


def drawn(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
