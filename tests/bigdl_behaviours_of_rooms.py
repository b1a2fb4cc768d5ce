"""Translations of the lines of behaviours.txt about parameter tables, and about rooms of their own.

Lines about a format that is not there yet are skipped, and so counted; from the moment it is there
they are compared.
"""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bigdl_behaviours import arrays, differs, numbers, same

from tapegrad import nn

# Names of parameters ------------------------------------------------------------------------------

TABLES = "parameters table names for many layers"


def table_of(module: Any) -> tuple[list[str], str]:
    """(each layer with its arrays, the shapes of the parameters), as the recording writes them."""
    table = module.getParametersTable()
    weights = module.getWeightsBias()
    parts = [
        re.sub("@.*", "<pf>", layer)
        + "{"
        + ", ".join(f"{name}:{_shape(entries[name])}" for name in sorted(entries))
        + "}"
        for layer, entries in (table or {"null": {}}).items()
    ]
    shapes = "null" if weights is None else ",".join(map(_shape, weights))
    return ["null"] if table is None else sorted(parts), shapes


def _shape(array: Any) -> str:
    return "x".join(map(str, array.shape))


def recorded_table(text: str) -> tuple[list[str], str]:
    layers, _, shapes = text.partition("  params=")
    return ["null"] if layers == "null" else sorted(re.findall(r"\S+\{[^}]*\}", layers)), shapes


def merged(text: str) -> str:
    """Shapes whose first two axes, groups and channels of a group, are made one."""

    def merge(match: re.Match[str]) -> str:
        first, second, *rest = match[0].split("x")
        return "x".join([str(int(first) * int(second)), *rest])

    return re.sub(r"\d+x\d+x\d+x\d+x\d+", merge, text)


SAME_TABLES: Mapping[str, Callable[[], Any]] = {
    "Linear": lambda: nn.Linear(2, 3),
    "Linear nobias": lambda: nn.Linear(2, 3, False),
    "Bilinear": lambda: nn.Bilinear(2, 3, 4),
    "SBN": lambda: nn.SpatialBatchNormalization(2),
    "PReLU": lambda: nn.PReLU(2),
    "PReLU0": nn.PReLU,
    "LookupTable": lambda: nn.LookupTable(5, 3),
    "CMul": lambda: nn.CMul(1, 3),
    "CAdd": lambda: nn.CAdd(3),
    "Mul": nn.Mul,
    "Add": lambda: nn.Add(3),
    "Cosine": lambda: nn.Cosine(2, 3),
    "Euclidean": lambda: nn.Euclidean(2, 3),
    "Maxout": lambda: nn.Maxout(2, 3, 2),
    "TemporalConvolution": lambda: nn.TemporalConvolution(3, 4, 2),
    "VolumetricConvolution": lambda: nn.VolumetricConvolution(2, 3, 2, 2, 2),
    "SpatialConvolutionMap": lambda: nn.SpatialConvolutionMap(nn.tables.full(2, 3), 2, 2),
    "MixtureTable": nn.MixtureTable,
    "Bottle": lambda: nn.Bottle(nn.Linear(2, 3)),
    "MapTable": lambda: nn.MapTable(nn.Linear(2, 3)),
    "Scale": lambda: nn.Scale(1, 3, 1, 1),
    "Highway": lambda: nn.Highway(3),
    "TimeDistributed(Linear)": lambda: nn.TimeDistributed(nn.Linear(2, 3)),
    "Recurrent(LSTM)": lambda: nn.Recurrent().add(nn.LSTMCell(3, 4)),
    "Recurrent(LSTM p=.5)": lambda: nn.Recurrent().add(nn.LSTMCell(3, 4, p=0.5)),
    "Recurrent(GRU)": lambda: nn.Recurrent().add(nn.GRUCell(3, 4)),
    "Recurrent(RnnCell)": lambda: nn.Recurrent().add(nn.RnnCell(3, 4, nn.Tanh())),
    "Recurrent(LSTMPeephole)": lambda: nn.Recurrent().add(nn.LSTMPeephole(3, 4)),
}
# Weights of convolutions have no axis of groups here.
WITH_GROUPS: Mapping[str, Callable[[], Any]] = {
    "SpatialConvolution": lambda: nn.SpatialConvolution(2, 4, 3, 3),
    "SpatialConvolution group2": lambda: nn.SpatialConvolution(2, 4, 3, 3, nGroup=2),
    "SpatialFullConvolution": lambda: nn.SpatialFullConvolution(2, 4, 3, 3),
}


def same_table(label: str, make: Callable[[], Any]) -> None:
    @same(TABLES, label)
    def check(text: str) -> None:
        assert table_of(make()) == recorded_table(text)


def without_groups(label: str, make: Callable[[], Any]) -> None:
    @differs(TABLES, label)
    def check(text: str) -> None:
        assert table_of(make()) == recorded_table(merged(text))


def normalization_without_weights(text: str) -> None:
    assert "NullPointer" in text
    layer = nn.SpatialBatchNormalization(2, affine=False)
    assert table_of(layer) == (
        ["SpatialBatchNormalization<pf>{runningMean:2, runningVar:2}"],
        "null",
    )


def locally_connected(text: str) -> None:
    found = table_of(nn.LocallyConnected2D(2, 5, 5, 3, 2, 2))
    assert found == recorded_table(text.replace("16x3,", "3x16,").replace(",16x3", ",3x16"))


def separable_convolution(text: str) -> None:
    found = table_of(nn.SpatialSeparableConvolution(2, 3, 1, 3, 3))
    mine = text.replace("1x2x3x3", "2x1x3x3").replace("3x2x1x1", "3x2")
    assert found == recorded_table(mine)


def lstm_cell(text: str) -> None:
    layers, shapes = table_of(nn.LSTMCell(3, 4))
    assert set(recorded_table(text)[0]) < set(layers)
    assert shapes == "16x3,16,16x4"


def srelu(text: str) -> None:
    entries = nn.SReLU([3]).setName("s").getParametersTable()["s"]
    names = {"tLeft", "aLeft", "tRight", "aRight"}
    assert entries.keys() == names | {f"grad{name[0].upper()}{name[1:]}" for name in names}
    assert all(name in text for name in names)


# Files of other systems ---------------------------------------------------------------------------

FILES = "save/load errors"


def bigdl_file_twice(text: str) -> None:
    twice("saveModule")


def twice(method: str) -> None:
    path = Path(tempfile.mkdtemp()) / "o"
    getattr(nn.Linear(2, 2), method)(path)
    with pytest.raises(FileExistsError, match="overWrite=True"):
        getattr(nn.Linear(2, 2), method)(path)


def tensorflow_of_a_chain(text: str) -> None:
    path = Path(tempfile.mkdtemp()) / "o.pb"
    nn.Sequential(nn.Linear(2, 2)).saveTF([("i", (1, 2))], path)
    assert isinstance(nn.load(path), nn.Sequential)


def caffe_of_a_chain(text: str) -> None:
    folder = Path(tempfile.mkdtemp())
    with pytest.raises(ValueError, match="inputs="):
        nn.Sequential(nn.Linear(2, 2)).saveCaffe(folder / "o.prototxt", folder / "o.caffemodel")
    assert not list(folder.iterdir())


# Data ---------------------------------------------------------------------------------------------


def model() -> Any:
    weight = np.array([[1, 0], [0, 1], [-1, -1]], np.float32)
    layer = nn.Linear(2, 3).setName("lin").setWeightsBias([weight, np.zeros(3, np.float32)])
    return nn.Sequential(layer, nn.SoftMax())


def features() -> np.ndarray:
    return np.array([[k - 3, 1] for k in range(1, 6)], np.float32)


def predict(text: str) -> None:
    found = np.asarray(model().predict(features()))
    np.testing.assert_allclose(found, np.array(arrays(text)), rtol=1e-5)


def predict_class(text: str) -> None:
    found = [int(each) + 1 for each in model().predictClass(features())]
    assert ",".join(map(str, found)) == text


def predict_keeps_the_mode(text: str) -> None:
    subject = model()
    subject.predict(features())
    assert str(subject.isTraining()).lower() == text


def predict_the_last_sample(text: str) -> None:
    assert text.endswith("1x2 ; 2")
    found = nn.Sequential(nn.Reshape(1, 2)).predict(features(), 4)
    assert [np.shape(each) for each in found] == [(1, 2)] * 5


def predict_class_of_matrices(text: str) -> None:
    with pytest.raises(ValueError, match="one score for each class"):
        nn.Sequential(nn.Reshape(1, 2)).predictClass(features())


def predict_a_table(text: str) -> None:
    found = nn.ConcatTable().add(nn.Linear(2, 1)).add(nn.Linear(2, 2)).predict(features()[:2])
    lengths = {len(each) for each in found}
    assert lengths == {2}


VALIDATION = "tapegrad.optim.validation"


def methods() -> Any:
    return importlib.import_module(VALIDATION)


def evaluate(text: str) -> None:
    wanted = [methods().Top1Accuracy(), methods().Loss(nn.ClassNLLCriterion(logProbAsInput=False))]
    found = model().evaluate((features(), np.zeros(5, np.int64)), wanted)
    theirs = numbers(text)
    accuracy, loss = found[0][0].result(), found[1][0].result()
    assert accuracy == (pytest.approx(theirs[2]), 5)
    assert loss == (pytest.approx(1.713772, rel=1e-5), 5)


PARTITIONS = "two partitions"


def predict_in_parts(text: str) -> None:
    found = model().predict(features(), partitions=2)
    assert " ".join(_shape(each) for each in found) == text


def any_batch_size_predicts(text: str) -> None:
    assert "should be divided by partitionNum 2" in text
    assert len(model().predict(features(), 3, partitions=2)) == 5


def predict_class_in_parts(text: str) -> None:
    found = model().predictClass(features(), 4, partitions=2)
    assert ",".join(str(int(each) + 1) for each in found) == text


def predict_in_parts_keeps_the_mode(text: str) -> None:
    subject = model()
    subject.predict(features(), partitions=2)
    assert text == "false"
    assert subject.isTraining()


def share_the_buffer(text: str) -> None:
    found = [float(each[0]) for each in model().predict(features(), 4, shareBuffer=True)]
    np.testing.assert_allclose(found, numbers(text), rtol=1e-5)


def evaluate_in_parts(text: str) -> None:
    wanted = [methods().Top1Accuracy(), methods().Loss(nn.ClassNLLCriterion(logProbAsInput=False))]
    data = (features(), np.zeros(5, np.int64))
    (accuracy, _), (loss, _) = model().evaluate(data, wanted, partitions=2)
    theirs = numbers(re.sub(r"Top1", "", text))
    assert accuracy.result() == (pytest.approx(theirs[2]), int(theirs[1]))
    assert loss.result() == (pytest.approx(theirs[5], rel=1e-5), int(theirs[4]))


def mean_error_in_parts(text: str) -> None:
    assert "count: 3, Average Loss: 0.5" in text  # of batches
    data = (features(), np.zeros(5, np.int64))
    ((error, _),) = model().evaluate(data, [methods().MAE()], 4, partitions=2)
    assert error.result() == (0.6, 5)


def any_batch_size_evaluates(text: str) -> None:
    assert "should be divided by partitionNum 2" in text
    data = (features(), np.zeros(5, np.int64))
    ((result, _),) = model().evaluate(data, [methods().Top1Accuracy()], 3, partitions=2)
    assert result.result() == (0.4, 5)


SCORES = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.3, 0.4, 0.3]], np.float32)
LABELS = np.array([3.0, 1.0, 1.0])  # from 1, as BigDL has them
ITEMS = np.array([0.1, 0.5, 0.3, 0.2, 0.9], np.float32)
METHODS: Mapping[str, tuple[Callable[[Any], Any], tuple[float, int]]] = {
    "top1": (lambda v: v.Top1Accuracy(1)(SCORES, LABELS), (2 / 3, 3)),
    "top1 1D": (lambda v: v.Top1Accuracy(1)(SCORES[0], LABELS[:1]), (1, 1)),
    "top1 binary": (
        lambda v: v.Top1Accuracy()(np.array([[0.2], [0.5], [0.8]], np.float32), [0, 1, 0]),
        (2 / 3, 3),
    ),
    "top5": (lambda v: v.Top5Accuracy(1)(np.arange(1.0, 8)[None] / 10, [2]), (0, 1)),
    "loss default criterion": (lambda v: v.Loss(first_label=1)(SCORES, LABELS), (-0.5, 3)),
    "treenn": (
        lambda v: v.TreeNNAccuracy(1)(np.array([[[0.1, 0.9], [0.3, 0.2]]]), [[2, 1]]),
        (1, 1),
    ),
    "map": (lambda v: v.MeanAveragePrecision(3, 3)(SCORES, [2, 0, 0]), (2 / 3, 1)),
    "auc": (
        lambda v: v.PrecisionRecallAUC()(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])),
        (19 / 24, 4),
    ),
}
OTHER_METHODS: Mapping[str, tuple[Callable[[Any], Any], tuple[float, int]]] = {
    "mae": (lambda v: v.MAE(1)(SCORES, LABELS), (1 / 3, 3)),
    "hitratio neg=4 k=2": (lambda v: v.HitRatio(2, 4)(ITEMS, [0, 0, 1, 0, 0]), (0, 1)),
    "hitratio k=1: last element ignored": (
        lambda v: v.HitRatio(1, 2)(np.array([0.1, 0.5, 0.9]), [0, 1, 0]),
        (0, 1),
    ),
    "ndcg": (lambda v: v.NDCG(10, 4)(ITEMS, [0, 0, 1, 0, 0]), (0.5, 1)),
}


def measured(label: str, run: Callable[[Any], Any], expected: tuple[float, int], kind: Any) -> None:
    section = "validation methods"

    @kind(section, label)
    def check(text: str) -> None:
        value, count = run(methods()).result()
        assert value == pytest.approx(expected[0], rel=1e-6)
        assert count == expected[1]
        theirs = numbers(re.sub(r"@\d+", "", text))
        is_same = any(n == pytest.approx(value, rel=1e-6) for n in theirs) and count in theirs
        assert is_same == (kind is same)


def padded_rows(text: str) -> None:
    with pytest.raises(ValueError, match=r"Top1Accuracy.*3 samples"):
        methods().Top1Accuracy(1)(SCORES, LABELS[:2])


def too_few_classes(text: str) -> None:
    with pytest.raises(ValueError, match=r"Top5Accuracy.*3 classes"):
        methods().Top5Accuracy(1)(SCORES, LABELS)


# Images -------------------------------------------------------------------------------------------


def frame(count: int, invalid: int | None = None) -> Any:
    images = importlib.import_module("tapegrad.nn.data.images")
    data = importlib.import_module("tapegrad.nn.data")
    found = []
    for k in range(1, count + 1):
        feature = images.ImageFeature()
        feature["sample"] = data.Sample(np.array([k, 1], np.float32))
        feature.isValid = k - 1 != invalid
        found.append(feature)
    return images.ImageFrame.array(found)


def predict_image(text: str) -> None:
    found = list(model().predictImage(frame(3, invalid=1)))
    assert "predict" not in found[1]
    for feature, expected in zip((found[0], found[2]), arrays(text), strict=True):
        np.testing.assert_allclose(np.asarray(feature["predict"]), expected, rtol=1e-5)


def predict_a_layer(text: str) -> None:
    found = model().predictImage(frame(2), outputLayer="lin", predictKey="pp")
    for feature, expected in zip(found, arrays(text), strict=True):
        np.testing.assert_allclose(np.asarray(feature["pp"]), expected, rtol=1e-5)


def predict_an_unknown_layer(text: str) -> None:
    with pytest.raises((KeyError, ValueError), match="nolayer"):
        model().predictImage(frame(2), outputLayer="nolayer")


def evaluate_local_images(text: str) -> None:
    frames = frame(2)
    for feature in frames:
        sample = feature["sample"]
        feature["sample"] = type(sample)(sample.features, np.array(0))
    ((result, _),) = model().evaluateImage(frames, [methods().Top1Accuracy()])
    assert result.result()[1] == 2


def declare() -> None:
    """Declare all translations of this file."""
    for label, make in SAME_TABLES.items():
        same_table(label, make)
    for label, make in WITH_GROUPS.items():
        without_groups(label, make)
    differs(TABLES, "SBN noaffine")(normalization_without_weights)
    differs(TABLES, "SReLU")(srelu)
    differs(TABLES, "LocallyConnected2D")(locally_connected)
    differs(TABLES, "SpatialSeparableConvolution")(separable_convolution)
    differs(TABLES, "LSTM cell")(lstm_cell)
    same(FILES, "saveModule twice no overwrite")(bigdl_file_twice)
    differs(FILES, "saveTF on Sequential")(tensorflow_of_a_chain)
    same(FILES, "saveCaffe on Sequential")(caffe_of_a_chain)
    same("predict local", "predict")(predict)
    same("predict local", "predictClass")(predict_class)
    same("predict local", "predict left model training flag")(predict_keeps_the_mode)
    squeezed = "predict leftover-1 of [1xk] output squeezes"
    differs("predict local", squeezed)(predict_the_last_sample)
    same("predict local", "predictClass on 2-D")(predict_class_of_matrices)
    same("predict local", "predict table output")(predict_a_table)
    differs("evaluate local dataset", "evaluate")(evaluate)
    same(PARTITIONS, "rdd predict default")(predict_in_parts)
    uneven = "rdd predict batchSize 3 (not multiple of partitions)"
    differs(PARTITIONS, uneven)(any_batch_size_predicts)
    same(PARTITIONS, "rdd predictClass batch 4")(predict_class_in_parts)
    differs(PARTITIONS, "training flag after rdd predict")(predict_in_parts_keeps_the_mode)
    same(PARTITIONS, "rdd predict shareBuffer=true collect")(share_the_buffer)
    same(PARTITIONS, "rdd evaluate default")(evaluate_in_parts)
    differs(PARTITIONS, "rdd evaluate batch 4")(mean_error_in_parts)
    differs(PARTITIONS, "rdd evaluate batch 3")(any_batch_size_evaluates)
    for label, (run, expected) in METHODS.items():
        measured(label, run, expected, same)
    for label, (run, expected) in OTHER_METHODS.items():
        measured(label, run, expected, differs)
    differs("validation methods", "top1 output longer than target")(padded_rows)
    same("validation methods", "top5 with 3 classes")(too_few_classes)
    same("predictImage local", "predictImage")(predict_image)
    same("predictImage local", "predictImage outputLayer")(predict_a_layer)
    same("predictImage local", "predictImage outputLayer missing")(predict_an_unknown_layer)
    differs("predictImage local", "evaluateImage on local")(evaluate_local_images)
