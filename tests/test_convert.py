"""`tapegrad convert` and `tapegrad show` for every format, and files known by their content."""

import re
from pathlib import Path

import numpy as np
import pytest
import round_trips
from architectures import ARCHITECTURES

from tapegrad import _convert, _files, _formats_page, cli, nn, no_grad
from tapegrad.nn.containers.graph import Graph
from tapegrad.nn.core import files

OTHERS = [ending for ending in round_trips.ENDINGS if ending != ".t7"]
# a symbol lies beside MXNet's
WHOLE = [ending for ending in round_trips.ENDINGS if ending != "-0000.params"]
X = np.random.default_rng(2).normal(size=(3, 12)).astype(np.float32)


@pytest.fixture
def mlp():
    return ARCHITECTURES["mlp"]()[0]


def convert(capsys, *arguments):
    """(exit code, what was printed, the error) of `tapegrad convert`."""
    code = cli.main(["convert", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    "first", [".t7", *(pytest.param(e, marks=pytest.mark.extra) for e in OTHERS)]
)
def test_a_file_of_each_format_becomes_one_of_each_other_with_equal_results(
    mlp, first, tmp_path, capsys
):
    nn.save(mlp, tmp_path / f"a{first}", inputs=X)
    shape = ("--input-shape", "3,12") if first == "-0000.params" else ()
    for second in round_trips.ENDINGS:
        code, out, err = convert(
            capsys, tmp_path / f"a{first}", tmp_path / f"b{second}", "--check", *shape
        )
        assert (code, err) == (0, "")
        assert re.search(r"largest difference 0 of results of a random input \d+x12, ", out), second
        found = round_trips.result_of(nn.load(tmp_path / f"b{second}"), X)
        assert np.array_equal(found, round_trips.result_of(mlp, X))


@pytest.mark.extra
@pytest.mark.parametrize("name", round_trips.MODELS)
def test_five_models_pass_through_each_two_formats(name, figures):
    found = list(round_trips.differences(name))
    assert len(found) == len(round_trips.ENDINGS) ** 2
    assert max(value for *_, value in found) <= 1e-6
    figures(f"largest difference of {name} through each two formats: {max(v for *_, v in found)}")


@pytest.mark.parametrize("ending", WHOLE)
def test_a_file_without_an_ending_is_known_by_its_content(mlp, ending, tmp_path):
    path = tmp_path / f"a{ending}"
    nn.save(mlp, path, inputs=X)
    kind = files.format_by_suffix(path)
    bare = path.rename(tmp_path / "model")
    assert files.detect_format(bare) is kind
    assert files.detect_format(bare.read_bytes()) is kind
    for source in (bare, bare.read_bytes()):
        expected = round_trips.result_of(mlp, X)
        assert np.array_equal(round_trips.result_of(nn.load(source), X), expected)


def test_a_caffe_definition_is_known_by_its_content_and_noise_by_none(mlp, tmp_path):
    nn.save(mlp, tmp_path / "a.caffemodel", inputs=X)
    bare = (tmp_path / "a.prototxt").rename(tmp_path / "definition")
    assert isinstance(nn.load(bare), nn.Sequential)
    assert isinstance(nn.load(bare.read_bytes()), nn.Sequential)
    noise = np.random.default_rng(3)
    for size in (0, 1, 7, 40, 300):
        assert files.detect_format(noise.bytes(size)) is None


@pytest.mark.parametrize("ending", WHOLE)
def test_show_prints_the_arrays_of_each_format(mlp, ending, tmp_path, capsys):
    path = tmp_path / f"a{ending}"
    nn.save(mlp, path, inputs=X)
    assert cli.main(["show", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"9x12|12x9", "\n".join(lines))
    entries = int(lines[-1].split()[0].replace(",", ""))
    assert entries in (157, 157 + 2)  # TensorFlow and ONNX have shapes as arrays
    assert lines[-1].endswith(f"the file has {path.stat().st_size:,} bytes")
    assert list(_files.describe_file(path.read_bytes())) == lines


@pytest.mark.parametrize("ending", [".caffemodel", ".pb", ".onnx"])
def test_a_shape_that_nobody_states_is_asked_for(ending, tmp_path, capsys):
    model, shape = ARCHITECTURES["resnet_block"]()
    model.save(tmp_path / "a.t7")
    code, _, err = convert(capsys, tmp_path / "a.t7", tmp_path / f"b{ending}")
    assert code == 1
    assert "--input-shape 1,3,224,224" in err
    assert not (tmp_path / f"b{ending}").exists()
    given = "x".join(map(str, shape))
    done = convert(
        capsys, tmp_path / "a.t7", tmp_path / f"b{ending}", "--input-shape", given, "--check"
    )
    assert done[0] == 0
    assert given in done[1]
    # which the next file states
    assert convert(capsys, tmp_path / f"b{ending}", tmp_path / "c.safetensors", "--check")[0] == 0


def test_formats_without_shapes_need_none_except_to_check(tmp_path, capsys):
    ARCHITECTURES["resnet_block"]()[0].save(tmp_path / "a.t7")
    assert convert(capsys, tmp_path / "a.t7", tmp_path / "c.bigdl")[0] == 0
    assert "--check runs" in convert(capsys, tmp_path / "a.t7", tmp_path / "c.t7", "--check")[2]


def test_check_finds_a_file_that_computes_something_else(mlp, tmp_path, capsys, monkeypatch):
    nn.save(mlp, tmp_path / "a.t7")
    write = _convert._Conversion.write

    def other(self, module):
        write(self, module)
        again = nn.load(self.target)
        with no_grad():
            again.get(0).bias[...] *= 1.01
        nn.save(again, self.target)

    monkeypatch.setattr(_convert._Conversion, "write", other)
    code, out, _ = convert(capsys, tmp_path / "a.t7", tmp_path / "b.bigdl", "--check")
    assert code == 1
    assert "largest difference 0 " not in out
    loose = ("--check", "--tolerance", "1")
    assert convert(capsys, tmp_path / "a.t7", tmp_path / "b.bigdl", *loose)[0] == 0


def test_weights_lie_in_a_file_of_their_own(mlp, tmp_path, capsys):
    expected = round_trips.result_of(mlp, X)
    mlp.save(tmp_path / "own.safetensors")
    nn.save_weights(mlp, tmp_path / "w.npz")
    nn.save(mlp, tmp_path / "c.caffemodel", inputs=X)
    (tmp_path / "c.caffemodel").rename(tmp_path / "d.caffemodel")
    arguments = ("own.safetensors", "b.bigdl", "--weights-out", "b.bin", "--check")
    assert convert(capsys, *[tmp_path / a if "." in a else a for a in arguments])[0] == 0
    assert "--weights FILE" in convert(capsys, tmp_path / "b.bigdl", tmp_path / "z.t7")[2]
    other = ARCHITECTURES["mlp"]()[0]
    with no_grad():
        other.get(0).weight[...] = 0
    other.save(tmp_path / "other.t7")
    for source, weights in (("other.t7", "w.npz"), ("c.prototxt", "d.caffemodel"),
                            ("b.bigdl", "b.bin"), ("b.bigdl", "b.bin")):  # fmt: skip
        target = tmp_path / "z.onnx"
        done = convert(
            capsys, tmp_path / source, target, "--weights", tmp_path / weights, "--check"
        )
        assert done[0] == 0, done
        assert np.array_equal(round_trips.result_of(nn.load(target), X), expected), source


def test_weights_that_are_drawn_are_announced(mlp, tmp_path, capsys):
    nn.save(mlp, tmp_path / "c.caffemodel", inputs=X)
    code, _, err = convert(capsys, tmp_path / "c.prototxt", tmp_path / "d.t7")
    assert code == 0
    assert "c.prototxt has no weights: drawn ones are written (--weights FILE" in err
    assert convert(capsys, tmp_path / "c.caffemodel", tmp_path / "d.t7")[2] == ""


def test_arrays_become_arrays_and_no_module(mlp, tmp_path, capsys):
    nn.save_weights(mlp, tmp_path / "w.npz")
    code, out, _ = convert(capsys, tmp_path / "w.npz", tmp_path / "w.safetensors", "--check")
    assert code == 0
    assert "largest difference 0 of arrays" in out
    assert convert(capsys, tmp_path / "w.safetensors", tmp_path / "again.npz", "--check")[0] == 0
    found = nn.load_weights(tmp_path / "again.npz")
    assert list(found) == list(mlp.state_dict())
    for target in ("m.t7", "m.onnx"):
        code, _, err = convert(capsys, tmp_path / "w.npz", tmp_path / target)
        assert code == 1
        assert "tapegrad convert MODEL OUT --weights" in err
    mlp.save(tmp_path / "m.safetensors")
    assert convert(capsys, tmp_path / "m.safetensors", tmp_path / "w2.npz", "--check")[0] == 0
    wrong = ARCHITECTURES["lenet"]()[0]
    wrong.save(tmp_path / "wrong.safetensors")
    code, _, err = convert(
        capsys, tmp_path / "wrong.safetensors", tmp_path / "m.t7", "--weights", tmp_path / "w.npz"
    )
    assert code == 1
    assert err.startswith(f"tapegrad convert: {tmp_path / 'w.npz'}: ")


@pytest.mark.parametrize(
    ("target", "more", "said"),
    [
        ("b.prototxt", (), "name the model, .caffemodel: the definition is written beside it"),
        ("b.pt", (), "such files are read only; files that are written end in one of .bigdl, "),
        ("b.model", (), "the name must end in one of .bigdl, "),
        ("b.params", (), "a name like prefix-0000.params"),
        ("b.onnx", ("--ascii",), "--ascii is for a Torch7 file"),
        ("b.onnx", ("--weights-out", "w"), "--weights-out is for a file of BigDL"),
        ("b.pb", ("--fixed-batch",), "--fixed-batch is for an ONNX model"),
    ],
)
def test_what_cannot_be_done_is_one_line(mlp, target, more, said, tmp_path, capsys):
    mlp.save(tmp_path / "a.t7")
    code, _, err = convert(capsys, tmp_path / "a.t7", tmp_path / target, *more)
    assert code == 1
    assert err.startswith("tapegrad convert: ")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / target).exists()


def test_a_file_that_is_no_model_is_one_line(tmp_path, capsys):
    (tmp_path / "a.bin").write_bytes(b"\0" * 100)
    code, _, err = convert(capsys, tmp_path / "a.bin", tmp_path / "b.t7")
    assert code == 1
    assert "neither its name nor its content says a format" in err
    assert convert(capsys, tmp_path / "absent.t7", tmp_path / "b.t7")[0] == 1


@pytest.mark.parametrize("text", ["1,0,3", "a", "1,2:strange9", "", "-1,3"])
def test_a_shape_is_lengths(text, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["convert", "a.t7", "b.t7", f"--input-shape={text}"])
    assert end.value.code == 2
    assert "--input-shape" in capsys.readouterr().err


def test_torch7_and_bigdl_get_layers_that_do_the_same(tmp_path):
    image = np.random.default_rng(4).normal(size=(2, 3, 6, 6)).astype(np.float32)
    pooled = nn.SpatialAveragePooling(1, 1, globalPooling=True)
    model = nn.Sequential(
        nn.ConcatTable(
            nn.Flatten(), nn.Flatten(1, 2), nn.InferReshape((0, -1)), pooled,
            nn.InferReshape((0, 9, -1)), nn.Flatten(1, 3),
        ),
    ).evaluate()  # fmt: skip
    expected = [np.asarray(y.detach()) for y in model(image)]
    for ending in (".t7", ".bigdl"):
        nn.save(model, tmp_path / f"a{ending}", inputs=image)
        again = nn.load(tmp_path / f"a{ending}").evaluate()(image)
        for y, z in zip(expected, again, strict=True):
            assert np.array_equal(y, z.detach()), ending
        with pytest.raises(nn.formats.UnsupportedError, match="Flatten"):
            nn.save(model, tmp_path / f"a{ending}")  # without an example
    assert [type(m) for m in model.get(0).modules[:2]] == [nn.Flatten, nn.Flatten]


def test_torch7_gets_a_convolution_for_each_group_whose_weights_are_one_memory(tmp_path):
    model = nn.Sequential(nn.SpatialConvolution(4, 6, 3, 2, 2, 1, 1, 0, nGroup=2), nn.Negative())
    image = np.random.default_rng(4).normal(size=(2, 4, 6, 6)).astype(np.float32)
    nn.save(model.evaluate(), tmp_path / "a.t7", inputs=image)
    again = nn.load(tmp_path / "a.t7").evaluate()
    kinds = [type(each).__name__ for each in again.listModules()]
    assert kinds == ["Sequential", "Concat", *["Sequential", "Narrow", "SpatialConvolution"] * 2,
                     "MulConstant"]  # fmt: skip
    np.testing.assert_allclose(
        round_trips.result_of(again, image), round_trips.result_of(model, image), atol=1e-6
    )
    weights = [c.weight for c in again.listModules() if isinstance(c, nn.SpatialConvolution)]
    first, second = (w.numpy().__array_interface__["data"][0] for w in weights)
    assert second - first == weights[0].nbytes


def test_a_graph_of_bigdl_is_one_of_nngraph(tmp_path):
    data = nn.Input("data")
    first = nn.Linear(12, 4)(data)
    graph = Graph(data, [nn.Tanh()(first), nn.ReLU()(first)]).evaluate()
    nn.save(graph, tmp_path / "a.t7", inputs=X)
    again = nn.load(tmp_path / "a.t7").evaluate()
    assert type(again) is nn.gModule
    for y, z in zip(graph(X), again(X), strict=True):
        assert np.array_equal(y.detach(), z.detach())


def test_outputs_of_a_tensorflow_graph_keep_their_order_and_number(tmp_path):
    data = nn.Input("data")
    first = nn.Linear(12, 4)(data)
    second = nn.Tanh()(first)
    third = nn.ReLU()(second)
    for outputs in ([third, second], [second, third], [first, third, first]):
        graph = nn.gModule(data, outputs).evaluate()
        nn.save(graph, tmp_path / "a.pb", inputs=X)
        again = nn.load(tmp_path / "a.pb")
        for y, z in zip(graph(X), again(X), strict=True):
            assert np.array_equal(y.detach(), z.detach())


def test_a_hook_that_was_taken_away_is_no_reason_to_refuse(mlp, tmp_path):
    mlp.register_forward_hook(lambda *_: None).remove()
    nn.save(mlp, tmp_path / "a.pb", inputs=X)


@pytest.mark.extra
def test_the_page_of_formats_is_what_the_registries_say():
    page = Path(__file__).parents[1] / "docs" / "formats.md"
    assert page.read_text(encoding="utf-8") == _formats_page.page(), (
        "run: python -m tapegrad._formats_page > docs/formats.md"
    )


# MXNet -------------------------------------------------------------------------------------------

IMAGE = np.random.default_rng(5).normal(size=(2, 4, 6, 6)).astype(np.float32)
OF_MXNET = {
    "groups and strides": lambda: nn.SpatialConvolution(4, 6, 3, 2, 2, 1, 1, 0, nGroup=2),
    "dilated": lambda: nn.SpatialDilatedConvolution(4, 2, 3, 3, 1, 1, 2, 2, 2, 2).noBias(),
    "transposed": lambda: nn.SpatialFullConvolution(4, 3, 3, 3, 2, 2, 1, 1, 1, 1),
    "maximum, rounded up": lambda: nn.SpatialMaxPooling(3, 3, 2, 2).ceil(),
    "mean without borders": lambda: nn.SpatialAveragePooling(3, 3, 1, 1, 1, 1).setCountExcludePad(),
    "mean with borders": lambda: nn.SpatialAveragePooling(3, 3, 1, 1, 1, 1),
    "mean of all": lambda: nn.SpatialAveragePooling(1, 1, globalPooling=True),
    "norm without scale": lambda: nn.SpatialBatchNormalization(4, affine=False),
    "norm of rows": lambda: nn.Sequential(nn.Flatten(), nn.BatchNormalization(144)),
    "local norm": lambda: nn.SpatialCrossMapLRN(3, 0.1, 0.6, 2),
    "one slope": nn.PReLU,
    "slopes": lambda: nn.PReLU(4),
    "leaky": lambda: nn.LeakyReLU(0.3),
    "exponential": lambda: nn.ELU(0.7),
    "no axis": lambda: nn.Sequential(nn.View(-1).setNumInputDims(3), nn.Linear(144, 3).noBias()),
    "shape": lambda: nn.Reshape(2, 2, 36),
    "log of shares": lambda: nn.Sequential(nn.Flatten(), nn.LogSoftMax()),
    "three terms": lambda: nn.Sequential(
        nn.ConcatTable(nn.Tanh(), nn.Sigmoid(), nn.Abs()), nn.CAddTable()
    ),
    "product": lambda: nn.Sequential(nn.ConcatTable(nn.Exp(), nn.Square()), nn.CMulTable()),
    "joined": lambda: nn.Sequential(nn.ConcatTable(nn.SoftPlus(), nn.SoftSign()), nn.JoinTable(1)),
    "several": lambda: nn.ConcatTable(nn.Negative(), nn.ReLU()),
    "dropped": lambda: nn.Sequential(nn.Dropout(0.5), nn.Sqrt()),
}


@pytest.mark.extra
@pytest.mark.parametrize("name", OF_MXNET)
def test_layers_become_operators_of_mxnet_and_layers_again(name, tmp_path):
    nn.manual_seed(6)
    model = nn.Sequential(OF_MXNET[name]()).evaluate()
    x = np.abs(IMAGE)
    for each in model.listModules():
        if isinstance(each, nn.BatchNormalization):
            each.running_mean.assign(np.linspace(-1, 1, each.running_mean.size, dtype=np.float32))
            each.running_var.assign(np.linspace(0.5, 2, each.running_var.size, dtype=np.float32))
    expected = _arrays(model(x))
    path = tmp_path / "m-0000.params"
    nn.save(model, path, inputs=x)
    symbol = nn.load(path).evaluate()
    layers = round_trips.loaded(path, x)
    assert not any("mxnet" in type(each).__module__ for each in layers.listModules())
    for found in (_arrays(symbol(x)), _arrays(layers(x))):
        assert [a.shape for a in found] == [a.shape for a in expected]
        for y, z in zip(expected, found, strict=True):
            np.testing.assert_allclose(z, y, rtol=2e-6, atol=2e-6)


def _arrays(result):
    several = result if isinstance(result, (list, tuple)) else [result]
    return [np.asarray(y.detach()) for y in several]


@pytest.mark.extra
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.SpatialConvolution(4, 2, 3, 3, 2, 2, -1, -1), "padding of at least 0"),
        (lambda: nn.Sequential(nn.SpatialMaxPooling(3, 3, 2, 2, 1, 1).ceil()), "no padding where"),
        (nn.SoftMax, "a softmax of rows"),
        (lambda: nn.SoftPlus(2), "beta 1"),
        (nn.LogSigmoid, r"model.*LogSigmoid.*an operator for"),
    ],
)
def test_what_mxnet_has_no_operator_for_is_refused_with_its_place(make, said, tmp_path):
    x = IMAGE[:, :, :5, :]
    with pytest.raises(nn.formats.UnsupportedError, match=said):
        nn.save(make().evaluate(), tmp_path / "m-0000.params", inputs=x)
    assert not list(tmp_path.iterdir())


@pytest.mark.extra
@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"op": "sin"}, "an operator that other formats have layers for"),
        ({"op": "Pooling", "pool_type": "lp", "p_value": 2, "kernel": (2, 2)}, "maximum or the"),
        (
            {"op": "Pooling", "pooling_convention": "full", "pad": (1, 1), "kernel": (3, 3)},
            "no pad",
        ),
        ({"op": "softmax", "axis": 1}, "a softmax of rows"),
        ({"op": "Reshape", "shape": (0, -3, 0)}, "has no codes"),
        ({"op": "LeakyReLU", "act_type": "selu"}, "leaky, elu or prelu"),
    ],
)
def test_operators_without_a_layer_are_refused_by_name(attributes, said):
    from tapegrad.nn import mxnet as mx

    operator = attributes.pop("op")
    symbol = getattr(mx.sym, operator)(mx.sym.Variable("data"), name="here", **attributes)
    module = mx.SymbolModule(symbol)
    [make] = [kind.as_layers for kind in files.formats() if kind.name == "mxnet"]
    with pytest.raises(nn.formats.UnsupportedError, match=said) as caught:
        make(module, IMAGE)
    assert "'here'" in str(caught.value)
