"""The digits from image files to predictions: frame, pipeline, training, a hidden layer."""

import io

import numpy as np
import pytest
from PIL import Image

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.nn import data
from tapegrad.nn.data import (
    BytesToMat,
    ChannelNormalize,
    ImageFeature,
    ImageFrame,
    ImageFrameToSample,
    Loader,
    MatToTensor,
    RandomCrop,
    RandomTransformer,
    Resize,
)

pytestmark = pytest.mark.extra


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


class Count:
    """(right, all) as an array, which adds up."""

    def __call__(self, output, target):
        return np.array([(output.numpy().argmax(axis=1) == target).sum(), len(target)])


def test_digits_from_files_to_predictions():
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (digits.images * 15.9).astype(np.uint8)
    frame = ImageFrame.array(
        [ImageFeature(png(image), uri=str(i)) for i, image in enumerate(pixels)]
    )
    frame.setLabel({str(i): int(label) for i, label in enumerate(digits.target)})
    train, test = frame.randomSplit([3, 1], seed=0)
    to_sample = (
        ChannelNormalize(80, 80, 80, 95, 95, 95) >> MatToTensor()
        >> ImageFrameToSample(targetKeys=["label"])
    )  # fmt: skip
    shaken = RandomTransformer(Resize(9, 9) >> RandomCrop(8, 8), 0.3)
    tg.manual_seed(0)
    model = nn.Sequential(
        nn.SpatialConvolution(3, 8, 3, 3), nn.ReLU(), nn.View(8 * 36), nn.Linear(288, 10)
    )
    loader = Loader(
        list(train >> BytesToMat()), 32, seed=1, transformer=shaken >> to_sample, workers=2
    )
    optimizer = optim.Adam(model, lr=0.005)
    trainer = optim.Trainer(model, nn.CrossEntropyCriterion(), optimizer, progress=False)
    trainer.fit(loader, epochs=4)

    test.features[7]["bytes"] = b"broken"
    ready = test >> BytesToMat() >> to_sample
    assert len(ready.invalid) == 1
    [(found, _)] = data.evaluate_image(model, ready, Count())
    right, count = found
    assert count == len(test) - 1
    assert right / count > 0.93
    ready = data.predict_image(model, ready)
    classes = [f["predict"].argmax() for f in ready if f.isValid]
    labels = [f["label"] for f in ready if f.isValid]
    assert sum(a == b for a, b in zip(classes, labels, strict=True)) == right
    samples = [f["sample"] for f in ready if f.isValid]
    assert data.predict_class(model, samples, 4).tolist() == classes
    hidden = data.predict_image(model, ready, outputLayer="0", predictKey="maps")
    assert hidden[0]["maps"].shape == (8, 6, 6)
    for pieces in (2, 7, 64):
        [(again, _)] = data.evaluate_image(model, ready, Count(), partitions=pieces)
        assert again.tolist() == found.tolist()
