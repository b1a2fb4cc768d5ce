"""ONNX files that we write: what they say, what is refused, and what other programs compute.

onnx.checker sees every file that onnxruntime runs; what we read back has equal bits where the
operations are the same ones.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from architectures import ARCHITECTURES
from cases import MODULES, OPERATIONS
from onnx_tools import (
    arrays_of,
    as_single,
    examples,
    expect_close,
    outputs,
    run_onnxruntime,
)

from tapegrad import nn, no_grad
from tapegrad.autograd import Tensor, primitives
from tapegrad.autograd.check import Draws
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.formats import FormatError, UnsupportedError, onnx
from tapegrad.nn.formats.onnx.calls import EXPORTERS, REASONS
from tapegrad.nn.formats.onnx.dims import Dim
from tapegrad.nn.formats.onnx.reasons import WITHOUT_ONNX
from tapegrad.nn.formats.onnx.tables import doc_tables

DOC = Path(__file__).parents[1] / "docs" / "formats_onnx.md"
GATES = "machine code of the gates, and NumPy's functions of them in the graph"
# Layers that are written as other operations than they compute by, whose results differ in the
# last bits.
CLOSE = {
    "BiSequencer": GATES,
    "GELU": "1 - erf in place of erfc",
    "LogSigmoid": "log(1 + e⁻ˣ) by a formula",
    "Mish": "Softplus",
    "RNNLayer": "sums in the order of LSTM and GRU",
    "SeqBGRU": GATES,
    "SeqBLSTM": GATES,
    "SeqGRU": GATES,
    "SeqLSTM": GATES,
    "Sequencer": GATES,
    "SoftPlus": "Softplus",
    "SpatialAveragePooling": "sums by a convolution where the last windows reach beyond the image",
    "SpatialUpSamplingBilinear": "Resize",
    "TemporalConvolution": "windows are copied before the product",
    "TransformerDecoderLayer": "its GELU",
    "TransformerEncoderLayer": "its GELU",
    "WithStates": GATES,
}
RNG = np.random.default_rng(0)


def single(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def written(called, example, path, **options):
    """The model that was written, and the module that reads it."""
    onnx.export(called, example, path, **options)
    return onnx.read_model(path), onnx.load(path)


# The tables --------------------------------------------------------------------------------------


def test_every_primitive_has_an_entry_or_a_reason() -> None:
    own = {
        name for name, function in primitives().items()
        if function.primitive.body.__module__.startswith("tapegrad.")
        # SciPy's, of which none has an entry, and which have one reason
        and not function.primitive.body.__module__.startswith("tapegrad.autograd.scipy.")
    }  # fmt: skip
    ours = {name for name in own if name in EXPORTERS or name in REASONS}
    assert ours == own
    assert not set(EXPORTERS) & set(REASONS)
    loaded = {name for name in (*EXPORTERS, *REASONS) if name in primitives()}
    assert set(EXPORTERS) <= loaded | {"optimizer_step"}


def test_the_page_has_the_tables() -> None:
    text = DOC.read_text(encoding="utf-8")
    for table in doc_tables():
        assert table in text, "python -m tapegrad.nn.formats.onnx.tables prints them"
    for name in WITHOUT_ONNX:
        assert f"`{name}`" in text


# What a file says --------------------------------------------------------------------------------


def test_arrays_are_called_as_parameters_are(tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.SpatialConvolution(3, 4, 3, 3), nn.SpatialBatchNormalization(4), nn.View(4),
        nn.Linear(4, 2),
    )  # fmt: skip
    model, _ = written(net, single(2, 3, 3, 3), tmp_path / "m.onnx")
    assert {*net.state_dict()} <= {*model.graph.initializers}
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(model.graph.initializers[name], array)
    assert [node.op for node in model.graph.nodes] == [
        "Conv", "BatchNormalization", "Reshape", "Gemm",
    ]  # fmt: skip


def test_the_opset_is_said_and_checked(tmp_path: Path) -> None:
    for opset in (17, 21):
        model, _ = written(nn.Tanh(), single(2, 3), tmp_path / "m.onnx", opset=opset)
        assert model.opset == opset
    with pytest.raises(ValueError, match="it must be one of 17 … 21"):
        onnx.export(nn.Tanh(), single(2, 3), tmp_path / "n.onnx", opset=16)
    assert not (tmp_path / "n.onnx").exists()


def test_names_of_inputs_and_outputs(tmp_path: Path) -> None:
    model, _ = written(
        nn.CAddTable(), [single(2, 3), single(2, 3)], tmp_path / "m.onnx",
        input_names=["a", "b"], output_names=["sum"],
    )  # fmt: skip
    assert [info.name for info in model.graph.inputs] == ["a", "b"]
    assert [info.name for info in model.graph.outputs] == ["sum"]
    with pytest.raises(ValueError, match="input_names must be 1 different names"):
        onnx.export(nn.Tanh(), single(2), tmp_path / "n.onnx", input_names=["a", "b"])


def test_a_layer_with_an_operator_is_one_node(tmp_path: Path) -> None:
    for layer, example, op in (
        (nn.RNNLayer("lstm", 3, 4), single(5, 2, 3), "LSTM"),
        (nn.RNNLayer("gru", 3, 4), single(5, 2, 3), "GRU"),
        (nn.LayerNorm(3), single(2, 3), "LayerNormalization"),
        (nn.VolumetricConvolution(2, 3, 2, 2, 2), single(1, 2, 3, 3, 3), "Conv"),
        (nn.SpatialCrossMapLRN(5), single(1, 6, 3, 3), "LRN"),
        (nn.ELU(), single(2, 3), "Elu"),
    ):
        axes = {0: 1} if isinstance(layer, nn.RNNLayer) else True
        model, back = written(layer, example, tmp_path / "m.onnx", dynamic_batch=axes)
        assert op in [node.op for node in model.graph.nodes]
        expect_close(outputs(back, example), outputs(layer, example), 1e-6)


def test_a_module_is_recorded_in_evaluation_mode_and_keeps_its_own(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNormalization(4))
    x = single(4, 3)
    for _ in range(3):
        net.forward(x)
    _, back = written(net, x, tmp_path / "m.onnx")
    assert [bool(part.train) for part in net.listModules()] == [True] * 4
    np.testing.assert_array_equal(back(x).numpy(), net.evaluate()(x).numpy())


def test_save_takes_the_input_of_the_last_forward(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with pytest.raises(UnsupportedError, match="an example of the input"):
        net.save(tmp_path / "m.onnx")
    y = net.forward(single(2, 3))
    net.save(tmp_path / "m.onnx")
    back = nn.load(tmp_path / "m.onnx")
    assert isinstance(back, nn.Sequential)
    assert back.state_dict().keys() == net.state_dict().keys()
    assert y.shape == (2, 4)


# Functions ---------------------------------------------------------------------------------------


def softened(x):
    norm = np.sqrt(np.sum(x * x, axis=1, keepdims=True))
    return np.where(norm > 1, x / norm, x) @ x.T


def filled(x):
    out = np.zeros_like(x)
    for i in range(x.shape[1]):
        out[:, i] = x[:, i] * (i + 1)
    out += x
    return out


def picked(x):
    order = np.argsort(x, axis=1)
    return np.take_along_axis(x, order, axis=1)[:, ::-1], x[[1, 0]], x[:, None, 1:], x[x > 0]


def by_rows(x):
    rows = np.arange(x.shape[0])
    return x[rows, np.argmax(x, axis=1)] * x.shape[0], np.pad(x, ((0, 0), (1, 2)))


FUNCTIONS = [softened, filled, picked, by_rows]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_a_function_is_written_for_any_batch(function, tmp_path: Path) -> None:
    x = single(4, 3)
    _, back = written(function, x, tmp_path / "m.onnx")
    for n in (1, 3, 4, 7):
        more = single(n, 3) if function is not picked else single(n + 2, 3)
        expected = arrays_of(function(Tensor(more)))
        expect_close(outputs(back, more), expected, 1e-6)


@pytest.mark.extra
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_onnxruntime_runs_a_function_for_any_batch(function, tmp_path: Path) -> None:
    onnx.export(function, single(4, 3), tmp_path / "m.onnx")
    for n in (3, 8):
        x = single(n, 3)
        expected = arrays_of(function(Tensor(x)))
        expect_close(run_onnxruntime(tmp_path / "m.onnx", [x]), expected, 1e-5)


def test_arrays_made_of_the_batch_are_made_by_the_file(tmp_path: Path) -> None:
    def function(x):
        n, d = x.shape
        return (
            x + Tensor(np.ones((n, d), np.float32)) * Tensor(np.arange(n, dtype=np.int64))[:, None]
        )

    _, back = written(function, single(4, 3), tmp_path / "m.onnx")
    for n in (1, 6):
        x = single(n, 3)
        expected = x + np.arange(n)[:, None]
        np.testing.assert_allclose(back(x).numpy(), expected, rtol=1e-6)


def test_the_axis_of_samples_can_be_another(tmp_path: Path) -> None:
    net = nn.RNNLayer("tanh", 3, 4)
    _, back = written(net, single(5, 2, 3), tmp_path / "m.onnx", dynamic_batch={0: 1})
    x = single(5, 7, 3)
    expect_close(outputs(back, x), outputs(net, x), 1e-6)
    with pytest.raises(ValueError, match="dynamic_batch names axis 3 of input 0"):
        onnx.export(net, single(5, 2, 3), tmp_path / "n.onnx", dynamic_batch={0: 3})


# Refusals ----------------------------------------------------------------------------------------


def reads_a_value(x):
    return x if float(x.sum()) > 0 else -x


def steps_by_batch(x):
    for _ in range(x.shape[0]):
        x = x * 2
    return x


def array_by_batch(x):
    return x + Tensor(np.random.default_rng(0).normal(size=x.shape).astype(np.float32))


def share_of_batch(x):
    return x * (1 / x.shape[0])


REFUSED = {
    reads_a_value: "while it is recorded",
    nn.Dropout(0.5).training().updateOutput: "a random draw; export in evaluation mode",
    steps_by_batch: "makes other operations where axis 0 of the inputs is",
    array_by_batch: "depends on the size of the batch in a way that a file cannot say",
    share_of_batch: "is no whole number",
    primitives()["gamma"]: "no gamma function",
    lambda x: x + 1j: "not with complex numbers",
}


@pytest.mark.parametrize("function", REFUSED, ids=lambda f: getattr(f, "__name__", "f"))
def test_what_no_file_can_say_is_refused(function, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    with pytest.raises(UnsupportedError, match=REFUSED[function]):
        onnx.export(function, np.abs(single(4, 3)) + 1, path)
    assert path.read_bytes() == b"old"


def test_a_single_sample_says_what_to_do(tmp_path: Path) -> None:
    net = nn.SpatialConvolution(3, 4, 3, 3)
    with pytest.raises(UnsupportedError, match="Export with dynamic_batch=False"):
        onnx.export(net, single(3, 5, 5), tmp_path / "m.onnx")
    _, back = written(net, single(3, 5, 5), tmp_path / "m.onnx", dynamic_batch=False)
    x = single(3, 5, 5)
    np.testing.assert_array_equal(back(x).numpy(), net(x).numpy())


def test_numbers_of_a_batch_are_multiples_of_it() -> None:
    sizes = (2, 3, 5)
    batch = Dim(sizes)
    assert (batch * 3 + 1).affine(sizes) == (3, 1)
    assert batch - batch == 0
    with pytest.raises(UnsupportedError, match="no multiple of it"):
        (batch * batch).affine(sizes)


# Whole models and layers -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_is_read_back_with_equal_bits(name: str, tmp_path: Path) -> None:
    net, shape = ARCHITECTURES[name]()
    x = single(*shape)
    onnx.export(net, x, tmp_path / "m.onnx")
    back = onnx.load(tmp_path / "m.onnx")
    assert not isinstance(back, onnx.OnnxGraph)
    for inputs in (x, x[:1]):
        expect_close(outputs(back, inputs), outputs(net, inputs), 0)
    count = sum(p.size for p in net.parameters()[0])
    assert sum(p.size for p in back.parameters()[0]) == count


def test_a_layer_is_read_back_with_its_very_options(tmp_path: Path) -> None:
    """ONNX keeps float32; 0.1 comes back as 0.1."""
    net = nn.Sequential(nn.SpatialCrossMapLRN(5, 0.1, 0.7, 1.3), nn.LeakyReLU(0.2), nn.ELU(0.3))
    onnx.export(net, single(1, 6, 4, 4), tmp_path / "m.onnx")
    lrn, leaky, elu = onnx.load(tmp_path / "m.onnx").modules
    assert (lrn.alpha, lrn.beta, lrn.k) == (0.1, 0.7, 1.3)
    assert (leaky.negval, elu.alpha) == (0.2, 0.3)


@pytest.mark.extra
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_onnxruntime_runs_an_architecture(name: str, tmp_path: Path) -> None:
    net, shape = ARCHITECTURES[name]()
    x = single(*shape)
    onnx.export(net, x, tmp_path / "m.onnx")
    for inputs in (x, x[:1]):
        found = run_onnxruntime(tmp_path / "m.onnx", [inputs])
        expect_close(found, outputs(net, inputs), 1e-5)


@pytest.mark.extra
@pytest.mark.parametrize("opset", [18, 19, 20, 21])
def test_onnxruntime_runs_the_other_opsets(opset: int, tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.SpatialConvolution(3, 4, 3, 3), nn.GroupNorm(2, 4), nn.SpatialMaxPooling(2, 2),
        nn.Sum(2), nn.LayerNorm(3), nn.SoftMax(-1), nn.Mean(1),
    )  # fmt: skip
    x = single(2, 3, 8, 8)
    onnx.export(net, x, tmp_path / "m.onnx", opset=opset)
    expect_close(run_onnxruntime(tmp_path / "m.onnx", [x]), outputs(net.evaluate(), x), 1e-5)


@pytest.mark.extra
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_opencv_runs_an_architecture(name: str, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    net, shape = ARCHITECTURES[name]()
    x = single(*shape)
    onnx.export(net, x, tmp_path / "m.onnx", dynamic_batch=False)
    graph = cv2.dnn.readNetFromONNX(str(tmp_path / "m.onnx"))
    graph.setInput(x)
    found = list(graph.forward(graph.getUnconnectedOutLayersNames()))
    expected = outputs(net, x)
    order = [next(f for f in found if f.shape == e.shape) for e in expected]
    expect_close(order, expected, 1e-5)


@pytest.mark.extra
@pytest.mark.parametrize("name", sorted(MODULES))
def test_onnxruntime_runs_every_layer(name: str, tmp_path: Path) -> None:
    path, count = tmp_path / "m.onnx", 0
    for module, inputs in examples(MODULES[name]):
        expected = outputs(module, inputs)
        for dynamic in (False, True):
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    onnx.export(module, inputs, path, dynamic_batch=dynamic)
            except UnsupportedError:
                assert dynamic or name in WITHOUT_ONNX
                continue
            count += not dynamic
            given = arrays_of(inputs)
            expect_close(run_onnxruntime(path, given), expected, 1e-4)
            back = onnx.load(path)
            found = outputs(back, given[0] if len(given) == 1 else given)
            expect_close(found, expected, 1e-6 if name in CLOSE else 0)
    assert (count > 0) == (name not in WITHOUT_ONNX)


PROGRAMS = sorted(name for name in EXPORTERS if name in OPERATIONS)
# Primitives whose cases are about something else than a result.
IN_PLACE = ("accumulate", "assign", "assign_at")


@pytest.mark.extra
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in IN_PLACE])
def test_onnxruntime_runs_every_primitive(name: str, tmp_path: Path) -> None:
    function, ran, path = primitives()[name], 0, tmp_path / "m.onnx"
    for seed in range(6):
        case = OPERATIONS[name](Draws(seed))
        operands, settings = [as_single(operand) for operand in case.args], case.settings
        arrays = [leaf for leaf in leaves(operands) if isinstance(leaf, np.ndarray)]
        if any(array.dtype.kind == "c" for array in arrays):
            continue
        tensors = map_leaves(lambda a: Tensor(a) if isinstance(a, np.ndarray) else a, operands)
        with no_grad():
            expected = arrays_of(function(*tensors, **settings))
        try:
            onnx.export(
                lambda *given: function(*given, **settings),  # noqa: B023  # called at once
                tuple(operands), path, dynamic_batch=False, opset=18,
            )  # fmt: skip
        except FormatError:
            assert name == "replace_entries"  # a write into a view at arrays
            continue
        ran += 1
        expect_close(run_onnxruntime(path, arrays), expected, 2e-5)
    assert ran
