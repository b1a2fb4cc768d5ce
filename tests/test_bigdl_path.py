"""The digits as BigDL users go: Sample, MiniBatch, Optimizer, evaluate, predict, quantize."""

import time

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.nn.data import (
    DataSet,
    ImageFeature,
    ImageFrame,
    ImageFrameToSample,
    MatToTensor,
    Sample,
    SampleToMiniBatch,
)
from tapegrad.optim.bigdl import Adam, Loss, Optimizer, Top1Accuracy, Top5Accuracy, Trigger

pytestmark = pytest.mark.extra


def lenet():
    """LeNet for 8 x 8 pixels, layer by layer as in BigDL's example."""
    return (
        nn.Sequential()
        .add(nn.Reshape(1, 8, 8))
        .add(nn.SpatialConvolution(1, 16, 3, 3, 1, 1, 1, 1).setName("conv1_3x3"))
        .add(nn.Tanh())
        .add(nn.SpatialConvolution(16, 32, 3, 3, 1, 1, 1, 1).setName("conv2_3x3"))
        .add(nn.Tanh())
        .add(nn.SpatialMaxPooling(2, 2, 2, 2))
        .add(nn.Reshape(32 * 4 * 4))
        .add(nn.Linear(32 * 4 * 4, 64).setName("fc1"))
        .add(nn.Tanh())
        .add(nn.Linear(64, 10).setName("fc2"))
        .add(nn.LogSoftMax())
    )


def accuracy_of(model, samples):
    ((result, method),) = model.evaluate(samples, [Top1Accuracy()], 64)
    assert isinstance(method, Top1Accuracy)
    found, count = result.result()
    assert count == len(samples)
    return found


def seconds_of(model, samples):
    """The shortest of several predictions of all samples."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        model.predict(samples, 64)
        times.append(time.perf_counter() - start)
    return min(times)


def test_lenet_from_samples_to_int8(tmp_path, figures):
    from sklearn.datasets import load_digits

    digits = load_digits()
    tg.manual_seed(0)
    samples = [
        Sample((image / 8 - 1).astype(np.float32), int(label))
        for image, label in zip(digits.images, digits.target, strict=True)
    ]
    train, test = DataSet.array(samples).randomSplit([0.8, 0.2], seed=0)
    test = list(test)
    model = lenet()

    batches = train >> SampleToMiniBatch(32)
    optimizer = Optimizer(model, batches, nn.ClassNLLCriterion())
    optimizer.setOptimMethod(Adam(2e-3)).setEndWhen(Trigger.maxEpoch(6))
    optimizer.setValidation(
        Trigger.everyEpoch(), DataSet.array(test) >> SampleToMiniBatch(64), [Top1Accuracy(), Loss()]
    )
    trained = optimizer.optimize()
    assert trained is model

    exact = accuracy_of(model, test)
    assert exact > 0.97
    assert exact == optimizer.results[0][0].result()[0]
    ((top5, _),) = model.evaluate(test, [Top5Accuracy()])
    assert top5.result()[0] >= exact

    labels = np.array([sample.label() for sample in test])
    classes = model.predictClass(test)
    assert (np.asarray(classes) == labels).mean() == exact

    frame = ImageFrame.array([ImageFeature(sample.feature()) for sample in test])
    ready = model.predictImage(frame >> MatToTensor() >> ImageFrameToSample())
    assert [feature["predict"].argmax() for feature in ready] == np.asarray(classes).tolist()
    hidden = model.predictImage(ready, outputLayer="fc1", predictKey="features")
    assert all(feature["features"].shape == (64,) for feature in hidden)

    for part in model.listModules():
        part.clearState()
    model.save(tmp_path / "float")
    float_size = (tmp_path / "float").stat().st_size
    calibrated = nn.quantize(model, calibrate=[np.stack([s.feature() for s in test])])
    for quantized in (model.quantize(), calibrated):
        assert exact - accuracy_of(quantized, test) <= 0.005
        quantized.save(tmp_path / "int8")
        assert (tmp_path / "int8").stat().st_size <= 0.3 * float_size
        again = nn.load(tmp_path / "int8").predictClass(test)
        assert np.array_equal(again, quantized.predictClass(test))
    ratio = seconds_of(model.quantize(), test) / seconds_of(model, test)
    lost = exact - accuracy_of(model.quantize(), test)
    size = (tmp_path / "int8").stat().st_size / float_size
    figures(
        f"LeNet on the digits: {exact:.1%} right, {100 * lost:.1f} points lost by int8, its file "
        f"{size:.2f} of the float32 one's bytes, {ratio:.2f} of its time"
    )
