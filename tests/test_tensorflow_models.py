"""TensorFlow's graphs in and out: BigDL's recorded ones, OpenCV's judgement of ours, back again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from architectures import ARCHITECTURES, conv

from tapegrad import nn, no_grad
from tapegrad.cli import main
from tapegrad.nn.formats import UnsupportedError
from tapegrad.nn.formats.common.taking_apart import network_of
from tapegrad.nn.formats.tensorflow import loadTF
from tapegrad.nn.formats.tensorflow.operators import TABLE

HERE = Path(__file__).parent
MODELS = Path(os.environ.get("TAPEGRAD_BIGDL_MODELS", HERE / "data" / "bigdl_models"))


def drawn(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run(module: nn.Module, *arrays: np.ndarray) -> list[np.ndarray]:
    with no_grad():
        y = module(arrays[0] if len(arrays) == 1 else list(arrays))
    return [np.asarray(part) for part in (y if isinstance(y, list) else [y])]


# What BigDL wrote ---------------------------------------------------------------------------------

RECORDED = sorted(path.parent for path in MODELS.glob("*/model.pb"))


def test_there_are_bigdl_models_of_tensorflow() -> None:
    assert RECORDED, f"no */model.pb in {MODELS}"


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_a_tensorflow_graph_of_a_bigdl_model_gives_the_recorded_output(folder: Path) -> None:
    """Also where Reshape lacks the batch, or the View before a Linear was left out."""
    with np.load(folder / "data.npz") as data:
        x, expected = data["input"], data["output_eval"]
    module = nn.load(folder / "model.pb")
    [y] = run(module, x)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
    [one] = run(module, x[:1])  # the batch is not that of the file
    np.testing.assert_allclose(one, expected[:1], rtol=0, atol=1e-5)


def test_a_recorded_bigdl_model_has_the_recorded_parameters() -> None:
    folder = MODELS / "tf_mlp"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    module = nn.load(folder / "model.pb")
    with np.load(folder / "data.npz") as data:
        for i, (_, p) in enumerate(module.named_parameters()):
            assert np.array_equal(np.asarray(p.detach()), data[f"before_w_{i:02}"])
    assert [m.getName() for m in module.modules] == ["fc1", "tanh", "fc2", "lsm"]


# What we write ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["NHWC", "NCHW"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_written_is_read_back_with_equal_bits(name: str, form: str, tmp_path: Path) -> None:
    module, shape = ARCHITECTURES[name]()
    path = tmp_path / "model.pb"
    module.saveTF([("the_input", (None, *shape[1:]))], path, dataFormat=form)
    again = loadTF(path)
    for batch in (shape[0], 3):  # any batch
        x = drawn((batch, *shape[1:]))
        for ours, theirs in zip(run(again, x), run(module, x), strict=True):
            assert np.array_equal(ours, theirs)


# OpenCV makes two of a Reshape to images, and then takes the wrong one.
NOT_OPENCV = {"fully_connected_reshape"}


@pytest.mark.extra
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in NOT_OPENCV])
def test_opencv_runs_what_is_written(name: str, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    if int(cv2.__version__.split(".")[0]) > 4:
        pytest.skip("OpenCV 5 reads other graphs")
    module, shape = ARCHITECTURES[name]()
    path = tmp_path / "model.pb"
    module.saveTF([("the_input", shape)], path)
    net = cv2.dnn.readNetFromTensorflow(str(path))
    x = drawn(shape)
    net.setInput(x)
    names = list(net.getUnconnectedOutLayersNames())
    found = dict(zip(names, net.forward(names), strict=True))
    for value, expected in zip(network_of(module, shape).outputs, run(module, x), strict=True):
        # a bias is joined to the node before it, whose name stays
        [y] = [y for key, y in found.items() if key in own(value.name)]
        np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=0, atol=1e-5)


def own(name: str) -> tuple[str, ...]:
    return (name, f"{name}/conv2D", f"{name}/matmul")


def test_enough_architectures_are_for_opencv() -> None:
    assert len(ARCHITECTURES.keys() - NOT_OPENCV) >= 15


LAYERS: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    "linear of three axes": (nn.Linear(4, 3), [(2, 5, 4)]),
    "linear of images": (nn.Linear(5, 3), [(2, 3, 4, 5)]),
    "clamp": (nn.Sequential(nn.Linear(3, 3), nn.Clamp(-0.2, 0.3)), [(4, 3)]),
    "relu6": (nn.ReLU6(), [(4, 3)]),
    "softplus": (nn.Sequential(nn.SoftPlus(), nn.SoftSign()), [(4, 3)]),
    "numbers": (nn.Sequential(nn.MulConstant(2.5), nn.AddConstant(0.5), nn.Abs()), [(4, 3)]),
    "powers": (nn.Sequential(nn.Square(), nn.AddConstant(1.0), nn.Sqrt(), nn.Power(-1)), [(4, 3)]),
    "power": (nn.Sequential(nn.Square(), nn.Power(1.5, 2.0, 0.5)), [(4, 3)]),
    "exp and log": (nn.Sequential(nn.Exp(), nn.Log(), nn.Negative()), [(4, 3)]),
    "cmul of images": (nn.Sequential(nn.ReLU(), nn.CMul(1, 3, 1, 1)), [(2, 3, 4, 4)]),
    "cadd of all": (nn.Sequential(nn.ReLU(), nn.CAdd(3, 4, 4)), [(2, 3, 4, 4)]),
    "scale": (nn.Sequential(nn.ReLU(), nn.Scale(1, 3, 1, 1)), [(2, 3, 4, 4)]),
    "mean of rows": (nn.Mean(2), [(2, 3, 4, 5)]),
    "mean of planes": (nn.Mean(1), [(2, 3, 4, 5)]),
    "max and min": (nn.Sequential(nn.Max(3), nn.Min(2)), [(2, 3, 4, 5)]),
    "sum": (nn.Sum(1), [(2, 3, 4)]),
    "sum that keeps": (nn.Sum(1, squeeze=False), [(2, 3, 4)]),
    "narrow": (nn.Sequential(nn.Narrow(1, 1, 2), nn.Narrow(3, 0, 2)), [(2, 3, 4, 5)]),
    "select": (nn.Select(1, 2), [(2, 3, 4, 5)]),
    "select of rows": (nn.Select(2, 0), [(2, 3, 4, 5)]),
    "transpose": (nn.Transpose((1, 2)), [(2, 3, 4, 5)]),
    "transpose of matrices": (nn.Transpose((1, 2)), [(2, 3, 4)]),
    "squeeze": (nn.Sequential(nn.Squeeze(2), nn.Squeeze(1)), [(2, 1, 1, 5)]),
    "unsqueeze": (nn.Sequential(nn.Unsqueeze(1), nn.Unsqueeze(2)), [(2, 3)]),
    "padding": (nn.Sequential(nn.Padding(1, 2), nn.Padding(2, -1, value=1.5)), [(2, 3, 4)]),
    "padding of images": (nn.SpatialZeroPadding(1, 2, 0, 3), [(2, 3, 4, 5)]),
    "cutting off": (nn.SpatialZeroPadding(-1, 0, 0, -2), [(2, 3, 4, 5)]),
    "mirrored": (nn.SpatialReflectionPadding(1, 2, 1, 0), [(2, 3, 4, 5)]),
    "tile": (nn.Tile(1, 3), [(2, 3, 4, 5)]),
    "resized": (nn.ResizeBilinear(7, 9), [(2, 3, 4, 5)]),
    "resized to the corners": (nn.ResizeBilinear(7, 9, True), [(2, 3, 4, 5)]),
    "nearest": (nn.SpatialUpSamplingNearest(2), [(2, 3, 4, 5)]),
    "nearest by two numbers": (nn.UpSampling2D([2, 3]), [(2, 3, 4, 5)]),
    "a sum of tables": (nn.Sequential(nn.CAddTable(), nn.Tanh()), [(2, 3)] * 3),
    "a difference": (nn.CSubTable(), [(2, 3), (2, 3)]),
    "a quotient": (nn.CDivTable(), [(2, 3), (2, 3)]),
    "maxima": (nn.Sequential(nn.CMaxTable()), [(2, 3), (2, 3)]),
    "minima": (nn.CMinTable(), [(2, 3, 4, 4)] * 2),
    "matrices": (nn.MM(False, True), [(2, 3, 4), (2, 5, 4)]),
    "packed": (nn.Pack(1), [(2, 3), (2, 3)]),
    "joined": (nn.JoinTable(2), [(2, 3, 4, 5), (2, 3, 2, 5)]),
    "batch norm of vectors": (nn.BatchNormalization(3), [(4, 3)]),
    "softmax of planes": (nn.SoftMax(), [(2, 3, 4, 4)]),
    "log softmax": (nn.LogSoftMax(), [(2, 3)]),
    "flattened and more": (
        nn.Sequential(conv(2, 3, 1), nn.Flatten(), nn.ReLU(), nn.Linear(48, 2)), [(2, 2, 4, 4)]),
    "flattened and returned": (nn.Sequential(conv(2, 3, 1), nn.Flatten()), [(2, 2, 4, 4)]),
    "one image of a batch of one": (
        nn.Sequential(conv(1, 2, 3), nn.View(-1).setNumInputDims(3), nn.Linear(8, 2)),
        [(1, 1, 4, 4)]),
    "same padding": (nn.SpatialConvolution(2, 3, 3, 3, 2, 2, -1, -1), [(2, 2, 7, 8)]),
    "same pooling": (nn.SpatialMaxPooling(3, 3, 2, 2, -1, -1), [(2, 2, 7, 8)]),
    "means without padding": (
        nn.SpatialAveragePooling(3, 3, 2, 2, -1, -1, countIncludePad=False), [(2, 2, 7, 8)]),
    "padded means": (nn.SpatialAveragePooling(3, 3, 2, 2, 1, 1), [(2, 2, 7, 7)]),
    "padded maxima": (nn.SpatialMaxPooling(3, 3, 2, 2, 1, 1), [(2, 2, 8, 8)]),
    "full, valid": (nn.SpatialFullConvolution(2, 3, 3, 3, 2, 2), [(2, 2, 4, 5)]),
    "full, short kernel": (nn.SpatialFullConvolution(2, 3, 2, 2, 2, 2), [(2, 2, 4, 5)]),
}  # fmt: skip


@pytest.mark.parametrize("form", ["NHWC", "NCHW"])
@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_is_written_and_read(name: str, form: str, tmp_path: Path) -> None:
    module, shapes = LAYERS[name]
    module.evaluate()
    arrays = [drawn(shape, seed) for seed, shape in enumerate(shapes)]
    inputs = [(f"in{i}", shape) for i, shape in enumerate(shapes)]
    module.saveTF(inputs, tmp_path / "x.pb", dataFormat=form)
    again = loadTF(tmp_path / "x.pb", layout="file")
    images = [a.ndim == 4 and form == "NHWC" for a in arrays]
    given = [np.ascontiguousarray(a.transpose(0, 2, 3, 1)) if i else a
             for a, i in zip(arrays, images, strict=True)]  # fmt: skip
    for y, expected in zip(run(again, *given), run(module, *arrays), strict=True):
        if expected.ndim == 4 and form == "NHWC":
            y = y.transpose(0, 3, 1, 2)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_all_that_is_written_is_tested() -> None:
    """Every class with a writer is in some model above."""
    tested = set()
    for make in ARCHITECTURES.values():
        tested |= {type(m) for m in make()[0].listModules()}
    for module, _ in LAYERS.values():
        tested |= {type(m) for m in module.listModules()}
    left = {cls.__name__ for cls in TABLE.written_classes() if cls not in tested}
    # the same functions write them as other classes
    assert left <= {
        "SpatialConvolutionMM", "SpatialShareConvolution", "SpatialDropout", "Contiguous",
        "InferReshape", "SpatialSoftMax", "HardTanh",
    }  # fmt: skip


class TestRefused:
    def test_a_layer_without_a_word_is_named_with_its_place(self, tmp_path: Path) -> None:
        module = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.HardShrink()))
        with pytest.raises(UnsupportedError, match=r"model\[1\]\[0\].*nn\.HardShrink"):
            module.saveTF([("x", (1, 3))], tmp_path / "x.pb")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("inputs", "options"),
        [
            ([], {}), ("x", {}), ([("x",)], {}), ([("", (1, 3))], {}), ([("x", (1, 0))], {}),
            ([("x", (1, 3)), ("x", (1, 3))], {}), ([("x", (1, 3)), ("y", (2, 3))], {}),
            ([("x", (1, 3))], {"dataFormat": "NCWH"}), ([("x", (1, 3))], {"byteOrder": "big"}),
        ],
    )  # fmt: skip
    def test_other_arguments(self, inputs: Any, options: Any, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"inputs is a list|dataFormat|byteOrder"):
            nn.Linear(3, 2).saveTF(inputs, tmp_path / "x.pb", **options)
        assert not list(tmp_path.iterdir())

    def test_save_asks_for_shapes(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedError, match=r"module\.saveTF"):
            nn.Linear(3, 2).save(tmp_path / "x.pb")

    def test_the_name_of_an_input_is_no_layers(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedError, match="names of inputs"):
            nn.Linear(3, 2).setName("x").saveTF([("x", (1, 3))], tmp_path / "x.pb")


# The command line --------------------------------------------------------------------------------


def test_a_graph_is_shown_and_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.pb"
    module = nn.Sequential(nn.Linear(3, 2).setName("fc"), nn.Tanh().setName("out")).evaluate()
    module.saveTF([("x", (1, 3))], path)
    assert main(["show", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "fc/weight: Const, float32 3x2" in lines
    assert "out: Tanh (fc)" in lines
    assert lines[-1].startswith("8 parameters, 32 bytes")
    assert main(["convert", str(path), str(tmp_path / "m.safetensors")]) == 0
    x = drawn((2, 3))
    again = nn.load(tmp_path / "m.safetensors")
    assert np.array_equal(run(again, x)[0], run(module, x)[0])


# The page -----------------------------------------------------------------------------------------

PAGE = HERE.parent / "docs" / "tensorflow.md"


def operator_table() -> str:
    """The section of the page about operators."""
    lines = ["| operator | written for | remarks |", "|---|---|---|"]
    for row in sorted(TABLE, key=lambda row: row.name):
        names = ", ".join(f"`{name}`" for name in (row.name, *row.aliases))
        classes = ", ".join(f"`{cls.__name__}`" for cls in row.write)
        lines.append(f"| {names} | {classes} | {row.note} |")
    return "\n".join(lines) + "\n"


def test_the_page_has_the_table_of_operators() -> None:
    found = PAGE.read_text(encoding="utf-8").split("## Operators\n\n")[1]
    assert found == operator_table(), f"put this there:\n{operator_table()}"
