"""MXNet's files: models as modules, tables and pictures of symbols, and hostile files."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import mxnet_seeds
import numpy as np
import pytest
from mxnet_records import arrays, assert_recorded, models, path
from test_formats_atomic import at_most
from test_formats_safety import assert_harmless, run

from tapegrad import Tensor, cli, nn, optim
from tapegrad.nn import mxnet as mx
from tapegrad.nn.formats import (
    FormatError,
    LimitError,
    TruncatedError,
    UnsafeError,
    UnsupportedError,
)
from tapegrad.nn.formats import mxnet as format_mxnet

pytestmark = pytest.mark.extra  # README's command has five minutes

NAMES = models()


def model(name):
    return nn.load(path(f"{name}/m-0000.params"))


def network():
    """Two branches, batch normalization, names that are no attributes, two outputs."""
    x, y = mx.sym.Variable("left"), mx.sym.Variable("right")
    a = mx.sym.FullyConnected(x, num_hidden=3, name="stage1/fc")
    b = mx.sym.FullyConnected(y, num_hidden=3, name="output")
    joined = mx.sym.BatchNorm(a + b, name="bn", fix_gamma=False, momentum=0.5)
    scaled = mx.sym.broadcast_mul(joined, mx.sym.Variable("plain", shape=(1, 3)))
    return mx.sym.Group([mx.sym.SoftmaxOutput(scaled, name="softmax"), joined])


def values_of(symbol, **shapes):
    draws = np.random.RandomState(0)
    found = symbol.infer_shape(**shapes)
    arg = dict(zip(symbol.list_arguments(), found[0], strict=True))
    aux = dict(zip(symbol.list_auxiliary_states(), found[2], strict=True))
    skipped = {*shapes, "softmax_label"}
    return (
        {k: mx.nd.array(draws.uniform(0.5, 1, s)) for k, s in arg.items() if k not in skipped},
        {k: mx.nd.array(np.ones(s)) for k, s in aux.items()},
    )


@pytest.fixture
def two():
    symbol = network()
    return mx.SymbolModule(symbol, *values_of(symbol, left=(4, 2), right=(4, 5)))


class TestModels:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_checkpoint_is_a_module_with_recorded_outputs(self, name):
        module = model(name).evaluate()
        inputs, expected = arrays(f"{name}/in.npz"), arrays(f"{name}/out.npz")
        given = [inputs[f"data:{n}"] for n in module.input_names if f"data:{n}" in inputs]
        found = module(given if len(given) > 1 else given[0])
        outputs = found if isinstance(found, list) else [found]
        for key, y in zip(module.symbol.list_outputs(), outputs, strict=True):
            assert_recorded(y.numpy(), expected[f"eval:{key}"], f"{name} {key}")

    def test_gradients_are_the_recorded_ones(self):
        module = model("lenet").training()
        inputs, expected = arrays("lenet/in.npz"), arrays("lenet/out.npz")
        y = module([inputs["data:data"], inputs["label:softmax_label"]])
        y.sum().backward()
        for name, p in module.named_parameters():
            assert_recorded(p.grad.numpy(), expected[f"grad:{name.replace('.', '_')}"], name)

    def test_names_are_those_of_the_layers(self, two):
        module = model("lenet")
        assert [n for n, _ in module.named_parameters()][:3] == [
            "conv1.weight", "conv1.bias", "conv2.weight",
        ]  # fmt: skip
        assert module.fc1.weight.shape == (7, 24)
        assert (module.input_names, module.label_names) == (
            ["data", "softmax_label"], ["softmax_label"],
        )  # fmt: skip
        assert sorted(n for n, _ in two.named_parameters()) == [
            "bn.beta", "bn.gamma", "layers.output.bias", "layers.output.weight",
            "layers.stage1/fc.bias", "layers.stage1/fc.weight", "plain",
        ]  # fmt: skip
        assert [n for n, _ in two.named_buffers()] == ["bn.moving_mean", "bn.moving_var"]
        assert two.variable("output_weight").shape == (3, 5)
        with pytest.raises(NotImplementedError, match="with their model"):
            module.fc1(np.ones((2, 24)))

    def test_several_inputs_and_outputs_and_running_means(self, two):
        x, y = np.ones((4, 2), np.float32), np.arange(20, dtype=np.float32).reshape(4, 5)
        first, joined = two.training()([x, y])
        assert first.shape == joined.shape == (4, 3)
        np.testing.assert_allclose(first.numpy().sum(1), 1, rtol=1e-6)
        before = two.bn.moving_mean.numpy().copy()
        assert not (before == 1).any()
        two.evaluate()([x, y, np.zeros(4)])
        np.testing.assert_array_equal(two.bn.moving_mean.numpy(), before)
        with pytest.raises(mx.MXNetError, match="the inputs are left, right, softmax_label"):
            two(x)

    def test_a_state_of_unknown_size_takes_that_of_the_data(self):
        cell = mx.rnn.LSTMCell(3, prefix="l_")
        y, _ = cell.unroll(2, mx.sym.Variable("data"), merge_outputs=True)
        module = mx.SymbolModule(y, values_of(y, data=(5, 2, 4))[0])
        for count in (5, 7, 5):
            assert module(np.ones((count, 2, 4), np.float32)).shape == (count, 2, 3)

    def test_a_model_trains(self):
        module = model("mlp").training()
        inputs = arrays("mlp/in.npz")
        x, y = inputs["data:data"], inputs["label:softmax_label"]
        optimizer = optim.SGD(module, lr=0.5 / len(x))
        losses = []
        for _ in range(15):
            module.zeroGradParameters()
            p = module([x, y])
            p.sum().backward()
            optimizer.step()
            losses.append(-np.log(p.numpy()[np.arange(len(y)), y.astype(int)]).mean())
        assert losses[-1] < losses[0] * 0.8

    @pytest.mark.parametrize("name", NAMES)
    def test_it_is_written_byte_for_byte_and_kept_natively(self, name, tmp_path):
        module = model(name)
        nn.save(module, tmp_path / "again-0007.params")
        for end, old in (("-0007.params", "-0000.params"), ("-symbol.json", "-symbol.json")):
            written = (tmp_path / f"again{end}").read_bytes()
            assert written == path(f"{name}/m{old}").read_bytes()
        module.evaluate()
        module.save(tmp_path / "model.safetensors")
        again = nn.load(tmp_path / "model.safetensors")
        assert type(again) is mx.SymbolModule
        assert not again.train
        assert again.state_dict().keys() == module.state_dict().keys()
        again.save(tmp_path / "third-0001.params")
        assert (tmp_path / "third-0001.params").read_bytes() == (
            tmp_path / "again-0007.params"
        ).read_bytes()

    def test_names_that_are_no_attributes_are_kept_too(self, two, tmp_path):
        x, y = np.ones((4, 2), np.float32), np.ones((4, 5), np.float32)
        expected = two.evaluate()([x, y])[0].numpy()
        two.save(tmp_path / "m.safetensors")
        two.save(tmp_path / "m-0000.params")
        for name in ("m.safetensors", "m-0000.params", "m-symbol.json"):
            found = nn.load(tmp_path / name).evaluate()([x, y])[0].numpy()
            np.testing.assert_array_equal(found, expected)

    def test_the_symbol_belongs_to_the_last_params(self, tmp_path):
        for epoch in (3, 12):
            module = model("mlp")
            module.fc1.bias.data[...] = epoch
            nn.save(module, tmp_path / f"m-{epoch:04d}.params")
        assert nn.load(tmp_path / "m-symbol.json").fc1.bias.numpy()[0] == 12
        assert nn.load(tmp_path / "m-0003.params").fc1.bias.numpy()[0] == 3
        (tmp_path / "n-symbol.json").write_bytes((tmp_path / "m-symbol.json").read_bytes())
        with pytest.raises(FormatError, match=r"n-0000\.params beside it"):
            nn.load(tmp_path / "n-symbol.json")

    def test_gluons_arrays_have_no_prefixes(self, tmp_path):
        mx.nd.save(str(tmp_path / "g.params"), {"dense0.weight": mx.nd.ones((2, 3))})
        found = nn.load(tmp_path / "g.params")
        assert list(found) == ["dense0.weight"]
        np.testing.assert_array_equal(found["dense0.weight"], np.ones((2, 3), np.float32))
        module = model("bnnet")
        bare = {**module.arg_params(), **module.aux_params()}
        mx.nd.save(str(tmp_path / "m-0000.params"), bare)
        (tmp_path / "m-symbol.json").write_text(module.symbol_text)
        again = nn.load(tmp_path / "m-0000.params")
        assert again.state_dict().keys() == module.state_dict().keys()

    def test_arrays_without_a_variable_are_named(self, tmp_path):
        module = model("mlp")
        found = {f"arg:{k}": v for k, v in module.arg_params().items()}
        mx.nd.save(str(tmp_path / "m-0000.params"), found | {"arg:zz": mx.nd.ones(1)})
        (tmp_path / "m-symbol.json").write_text(module.symbol_text)
        with pytest.warns(UserWarning, match="no variables for: arg:zz"):
            nn.load(tmp_path / "m-0000.params")
        with pytest.raises(mx.MXNetError, match="no variable 'zz'"):
            mx.SymbolModule(module.symbol, {"zz": np.ones(1)})
        with pytest.raises(mx.MXNetError, match="state 'bn0_moving_mean' has no value"):
            mx.SymbolModule(model("bnnet").symbol, model("bnnet").arg_params())

    def test_what_mxnet_lacks_is_refused(self, tmp_path):
        with pytest.raises(UnsupportedError, match="SymbolModule"):
            nn.save(nn.Linear(2, 2), tmp_path / "m-0000.params")
        with pytest.raises(UnsupportedError, match=r"prefix-0000\.params"):
            nn.save(model("mlp"), tmp_path / "m.params")
        with pytest.raises(TypeError, match="classes"):
            nn.load(path("mlp/m-0000.params"), classes=[nn.Linear])
        assert not list(tmp_path.iterdir())


class TestCommands:
    def test_show_and_convert(self, tmp_path, capsys):
        source = str(path("lenet/m-0000.params"))
        assert cli.main(["show", source]) == 0
        shown = capsys.readouterr().out
        assert "conv1: Convolution (kernel (3, 3)" in shown
        assert "conv1_weight float32 4x2x3x3" in shown
        assert "data: input" in shown
        assert "359 parameters, 1,436 bytes" in shown
        target = str(tmp_path / "m.safetensors")
        assert cli.main(["convert", source, target]) == 0
        back = str(tmp_path / "back-0000.params")
        assert cli.main(["convert", target, back]) == 0
        assert (tmp_path / "back-0000.params").read_bytes() == path(
            "lenet/m-0000.params"
        ).read_bytes()
        mx.nd.save(str(tmp_path / "g.params"), [mx.nd.ones((2, 3))])
        capsys.readouterr()
        assert cli.main(["show", str(tmp_path / "g.params")]) == 0
        assert "[0]: float32 2x3" in capsys.readouterr().out
        assert cli.main(["convert", str(tmp_path / "g.params"), target]) == 0
        assert list(nn.load_weights(target)) == ["0"]
        assert cli.main(["convert", str(tmp_path / "g.params"), str(tmp_path / "g.t7")]) == 1
        assert "no symbol lies beside it" in capsys.readouterr().err


class TestViews:
    def test_the_table_of_a_symbol(self, capsys):
        mx.viz.print_summary(model("lenet").symbol, shape={"data": (4, 2, 13, 13)})
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].split() == [
            "Layer",
            "(type)",
            "Output",
            "Shape",
            "Param",
            "#",
            "Previous",
            "Layer",
        ]
        assert ["conv1(Convolution)", "4x13x13", "76", "data"] in [x.split() for x in lines]
        assert "Total params: 359" in lines
        mx.viz.print_summary(model("lenet").symbol)
        assert "Total params: 0" in capsys.readouterr().out
        with pytest.raises(ValueError, match="incomplete"):
            mx.viz.print_summary(network(), shape={"left": (1, 2)})

    def test_the_picture_of_a_symbol(self, tmp_path):
        symbol = model("bnnet").symbol
        shape = arrays("bnnet/in.npz")["data:data"].shape
        plot = mx.viz.plot_network(symbol, title="net", shape={"data": shape})
        assert plot._repr_svg_() == plot._repr_html_()
        assert "bn0_gamma" not in plot.svg
        assert ">bn0<" in plot.svg
        whole = mx.viz.plot_network(symbol, hide_weights=False)
        assert "bn0_gamma" in whole.svg
        written = plot.render(tmp_path / "net")
        assert written.endswith("net.svg")
        assert (tmp_path / "net.svg").read_text() == plot.svg


# Hostile files ------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="limits and timers of Linux")
class TestMutants:
    def test_mutants_raise_format_errors_or_load(self):
        report = run("mxnet", "--count", "30_000")
        assert_harmless(report, 30_000)
        assert report["outcomes"]["loaded"] > 30_000 / 20

    def test_mutants_are_shown_or_raise_format_errors(self):
        assert_harmless(run("mxnet", "--show", "--count", "5000"), 5_000)

    def test_cut_files_are_refused(self):
        report = run("mxnet", "--truncate", "fields")
        assert_harmless(report, 20_000)
        # the pickles and texts whose last byte is an empty line, and records between two
        assert report["outcomes"].get("loaded", 0) < 10


def header(count=1):
    return struct.pack("<QQQ", 0x112, 0, count)


UPSAMPLING = b"""{"nodes": [{"op": "null", "name": "data", "inputs": []}, {"op": "UpSampling",
"name": "up", "attrs": {"num_args": "65536", "sample_type": "nearest", "scale": "2"},
"inputs": [[0, 0, 0]]}], "arg_nodes": [0], "heads": [[1, 0, 0]]}"""


DEVICE = struct.pack("<iii", 1, 0, 0)
V2 = struct.pack("<Ii", 0xF993FAC9, 0)
BOMB = header() + V2 + struct.pack("<iqq", 2, 1 << 20, 1 << 20) + DEVICE
SPARSE = (
    header() + struct.pack("<Ii", 0xF993FAC9, 1) + struct.pack("<iqq", 2, 0, 1)
    + struct.pack("<iqq", 2, 1 << 40, 1) + DEVICE + struct.pack("<iiq", 6, 1, 0)
    + struct.pack("<Q", 0)
)  # fmt: skip
JSON = (
    b'j{"nodes":[{"op":"null","name":"x","inputs":[]},{"op":%s,"name":"y","inputs":[[0,0]]}],'
    b'"heads":[[1,0]]}'
)
# a tuple of 30 tuples of 30 tuples …, each of which stands in the file once
LAUGHS = b"\x80\x02}K\x00(" + b"N" * 30 + b"tq\x010"
for level in range(1, 5):
    LAUGHS += b"(" + (b"h" + bytes([level])) * 30 + b"tq" + bytes([level + 1]) + b"0"
LAUGHS += b"h\x05s."
ATTACKS = {
    "another magic": (b"p" + struct.pack("<QQQ", 0x113, 0, 0), FormatError),
    "many arrays": (b"p" + header(1 << 60), TruncatedError),
    "a large array": (b"p" + BOMB, TruncatedError),
    "a large sparse array": (b"p" + SPARSE, LimitError),
    "many axes": (b"p" + header() + V2 + struct.pack("<i", 1 << 30), LimitError),
    "zeros times infinity": (
        b"p" + header() + V2 + struct.pack("<i4q", 4, 1 << 40, 1 << 40, 1 << 40, 0) + DEVICE,
        LimitError,
    ),
    "an unknown type": (
        b"p" + header() + V2 + struct.pack("<iq", 1, 1) + struct.pack("<iii", 1, 0, 9),
        UnsupportedError,
    ),
    "an unknown version": (b"p" + header() + struct.pack("<I", 0xF993FACB), FormatError),
    "bytes behind the end": (b"p" + header(0) + struct.pack("<Q", 0) + b"x", FormatError),
    "deep lists": (b"j" + b"[" * 100_000, LimitError),
    "inputs that are not there": (b"j" + UPSAMPLING, LimitError),
    "a file of brackets": (b"j" + b"[" + b"[]," * 300_000 + b"0]", LimitError),
    "an unknown operator": (
        b'j{"nodes":[{"op":"Evil","name":"x","inputs":[]}],"heads":[[0,0]]}', UnsupportedError,
    ),
    "an operator of Python": (
        b'j{"nodes":[{"op":"_Native","name":"x","inputs":[]}],"heads":[[0,0]]}', UnsupportedError,
    ),
    "a subgraph": (
        b'j{"nodes":[{"op":"null","name":"x","inputs":[],"subgraphs":[{}]}],"heads":[[0,0]]}',
        FormatError,
    ),
    "many outputs": (
        JSON % b'"SliceChannel","attrs":{"num_outputs":"2000000000"}',
        LimitError,
    ),
    "an input behind its node": (
        b'j{"nodes":[{"op":"relu","name":"x","inputs":[[0,0]]}],"heads":[[0,0]]}', FormatError,
    ),
    "code in a shape": (
        JSON % b'"Reshape","attrs":{"shape":"__import__(\'os\').system(\'x\')"}',
        FormatError,
    ),
    "no text": (b"j\xff\xfe", FormatError),
    "a call": (b"s" + b"cos\nsystem\n(S'x'\ntR.", FormatError),
    "a call in a value": (
        b"s" + pickle.dumps({0: print}), UnsafeError,
    ),
    "an optimizer": (b"s\x80\x02}cmxnet.optimizer\nSGD\n)R\x86.", UnsafeError),
    "no dict": (b"s\x80\x02K\x01.", FormatError),
    "laughs": (b"s" + LAUGHS, LimitError),
    "a key of keys": (b"s\x80\x02}((K\x00tq\x00h\x00h\x00\x86q\x01NtNu.", FormatError),
    "many marks": (b"s\x80\x02" + b"(" * 600_000, LimitError),
    "a memo of millions": (b"s\x80\x04N" + b"\x94" * 700_000 + b".", LimitError),
    "a long number": (b"s\x80\x02\x8b\xff\xff\xff\x7f", TruncatedError),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_with_its_class(name):
    data, kind = ATTACKS[name]
    with pytest.raises(kind) as caught:
        mxnet_seeds.load(data)
    assert isinstance(caught.value, FormatError)
    assert len(str(caught.value)) < 1000


def test_every_small_file_is_refused_when_it_is_cut():
    """At every byte; what still loads is whole: a record file between two records."""
    for data in mxnet_seeds.params().values():
        if len(data) < 300:
            for k in range(len(data)):
                with pytest.raises(FormatError):
                    mxnet_seeds.load(b"p" + data[:k])
    for data in mxnet_seeds.states().values():
        for k in range(len(data)):
            with pytest.raises(FormatError):
                mxnet_seeds.load(b"s" + data[:k])


WATCHED = """
import sys, pickle
from tapegrad.nn.formats.mxnet import read_states
from tapegrad.nn.formats import FormatError
import mxnet_seeds
class Evil:
    def __reduce__(self):
        import os
        return os.system, ("touch canary",)
files = [*mxnet_seeds.states().values(), pickle.dumps({0: Evil()}), pickle.dumps({0: Evil}, 0)]
for data in files[:1]:
    read_states(data)
seen = []
sys.addaudithook(lambda event, _: seen.append(event))
for data in files:
    try:
        read_states(data)
    except FormatError:
        pass
bad = [e for e in seen if e.split(".")[0] in ("open", "import", "exec", "compile", "os",
                                              "subprocess", "socket", "pickle", "ctypes")]
print(bad)
"""


def test_reading_states_opens_imports_and_runs_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], capture_output=True, text=True, check=False, timeout=120,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr[-2000:]
    assert not list(tmp_path.iterdir())


def test_a_key_of_states_that_is_no_text_is_refused(tmp_path):
    data = format_mxnet.write_states({"weight": mx.nd.ones((2, 2))})
    assert data.count(b"weight") == 1
    for wrong in (b"C\x06\xd4eight", b"C\x06w\xffight"):  # bytes, in pickle's words
        at = data.index(b"weight")
        start = max(data.rfind(word, 0, at) for word in (b"\x8c", b"X"))
        changed = data[:start] + wrong + data[at + 6 :]
        with pytest.raises(FormatError, match="key in UTF-8"):
            format_mxnet.read_states(changed)


# Files appear whole or not at all -----------------------------------------------------------------


def save_arrays(place):
    mx.nd.save(str(place / "x"), {"a": mx.nd.ones((3, 2))})


def save_states(place):
    format_mxnet.arrays.write_file(
        place / "x", format_mxnet.write_states({0: mx.nd.ones((2, 2)), 1: None})
    )


def save_records(place):
    with mx.recordio.MXRecordIO(place / "x", "w") as writer:
        for i in range(4):
            writer.write(bytes(i * 9))


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of a file")
@pytest.mark.parametrize("save", [save_arrays, save_states, save_records])
def test_a_disk_that_is_full_after_any_byte_leaves_the_old_file(save, tmp_path):
    save(tmp_path)
    size = (tmp_path / "x").stat().st_size
    (tmp_path / "x").write_bytes(b"before")
    for k in range(0, size, 5):
        with at_most(k), pytest.raises(OSError, match="too large"):
            save(tmp_path)
        assert (tmp_path / "x").read_bytes() == b"before"
        assert [p.name for p in tmp_path.iterdir()] == ["x"]


KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
import numpy as np
from tapegrad.nn import mxnet as mx
folder, rng = Path(sys.argv[1]), random.Random(0)
arrays = [mx.nd.full((60, 60), i) for i in range(2)]
def save(i):
    mx.nd.save(str(folder / "p"), {"a": arrays[i]})
    with mx.recordio.MXRecordIO(folder / "r", "w") as writer:
        for _ in range(20):
            writer.write(bytes([i]) * 100)
save(0)
seen = []
for turn in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        while True:
            save(turn % 2)
            save(1 - turn % 2)
    time.sleep(rng.uniform(0.0, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    a = mx.nd.load(str(folder / "p"))["a"].asnumpy()
    assert a.min() == a.max() and a.size == 3600
    reader = mx.recordio.MXRecordIO(folder / "r", "r")
    records = [reader.read() for _ in range(21)]
    assert records[20] is None and len(set(records[:20])) == 1
    seen += [int(a[0, 0]), records[0][0]]
print(json.dumps(sorted(set(seen))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_process_that_is_killed_leaves_whole_files(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), "40"], capture_output=True, text=True,
        timeout=120, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [0, 1]
    assert {p.suffix for p in tmp_path.iterdir() if p.name not in "pr"} <= {".part"}


def test_a_converted_model_takes_tensors_too():
    module = model("mlp").evaluate()
    x = arrays("mlp/in.npz")["data:data"]
    np.testing.assert_array_equal(module(Tensor(x)).numpy(), module(x).numpy())
