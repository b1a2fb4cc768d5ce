"""Our own model files, and the commands about files.

tests/data/native holds a file of each released version of the format: they load for ever.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import CRITERIONS, MODULES, WITHOUT_FILES
from test_formats_torch7 import same_attributes

from tapegrad import manual_seed, nn
from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.check import Draws
from tapegrad.cli import main
from tapegrad.nn.core import files
from tapegrad.nn.formats import FormatError, UnsupportedError, torch7
from tapegrad.nn.formats.native import files as native
from tapegrad.nn.formats.native import names, safetensors_file

DATA = Path(__file__).parent / "data"
TORCH7 = DATA / "torch7" / "t7"


class Scale(nn.Module):
    """A user's class."""

    def __init__(self, factor: float) -> None:
        self.weight = Parameter(np.array([factor], np.float32))
        self.settings = {"names": ["a", ("b", 1)], 2: None, "limit": float("inf")}

    def updateOutput(self, x: Any) -> Any:
        return x * self.weight


def shared_memory(module: nn.Module) -> list[tuple[int, int]]:
    arrays = [p.numpy() for p in module.parameters()[0]]
    pairs = [(i, j) for i in range(len(arrays)) for j in range(i)]
    return [(i, j) for i, j in pairs if np.shares_memory(arrays[i], arrays[j])]


# The format ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(WITHOUT_FILES))
def test_a_layer_that_calls_a_function_is_refused_with_its_name(name: str, tmp_path: Path) -> None:
    module = MODULES[name](Draws(0)).module
    with pytest.raises(UnsupportedError, match=r"without holding code, found function"):
        module.save(tmp_path / "m.safetensors")
    assert not any(tmp_path.iterdir())


@pytest.mark.extra
@pytest.mark.parametrize("name", sorted({*MODULES, *CRITERIONS} - WITHOUT_FILES.keys()))
def test_every_layer_comes_back_with_its_attributes_and_bits(name: str, tmp_path: Path) -> None:
    for seed in range(3):
        layer = (MODULES | CRITERIONS)[name](Draws(seed))
        module = layer.module
        module.save(tmp_path / "m.safetensors")
        again = nn.load(tmp_path / "m.safetensors")
        assert type(again) is type(module)
        assert repr(again) == repr(module)
        same_attributes(module, again, name)
        state, found = module.state_dict(), again.state_dict()
        assert list(found) == list(state)
        assert all(found[key].tobytes() == state[key].tobytes() for key in state)
        if layer.target is None:
            x = layer.input
            manual_seed(0)  # some layers draw in evaluate() as well
            ours = module.evaluate().forward(x)
            manual_seed(0)
            theirs = again.evaluate().forward(x)
            if isinstance(ours, Tensor):
                assert ours.numpy().tobytes() == theirs.numpy().tobytes()


def test_files_of_every_released_version_load() -> None:
    files = sorted((DATA / "native").glob("v*.safetensors"))
    assert len(files) >= 6
    for file in files:
        assert isinstance(nn.load(file), nn.Module)
    model = nn.load(DATA / "native" / "v1_convolutional.safetensors")
    with np.load(DATA / "native" / "v1_convolutional.npz") as recorded:
        error = np.abs(model.forward(recorded["input"]).numpy() - recorded["output"]).max()
    assert error < 1e-5
    assert not model.train
    assert model.get(2).ceil_mode
    assert model.get(5).bias is None


@pytest.mark.parametrize("name", ["shared", "tied_transpose", "same_module_twice", "mlp_flattened"])
def test_sharing_is_kept(name: str, tmp_path: Path) -> None:
    module = torch7.load(TORCH7 / f"{name}.bin.t7")
    module.save(tmp_path / "m.safetensors")
    again = nn.load(tmp_path / "m.safetensors")
    assert shared_memory(again) == shared_memory(module)
    assert len(again.listModules()) == len(module.listModules())
    for found, wanted in zip(again.parameters()[0], module.parameters()[0], strict=True):
        assert np.array_equal(found.numpy(), wanted.numpy())


def test_one_parameter_in_two_places_stays_one(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model.get(1).weight = model.get(0).weight
    model.save(tmp_path / "m.safetensors")
    again = nn.load(tmp_path / "m.safetensors")
    assert again.get(1).weight is again.get(0).weight
    assert len(again.parameters()[0]) == 3


def test_each_format_says_who_reads_the_other(tmp_path: Path) -> None:
    nn.Linear(3, 2).save(tmp_path / "m.safetensors")
    with pytest.raises(FormatError, match=r"m\.safetensors, byte 0: .*nn\.load reads"):
        torch7.load(tmp_path / "m.safetensors")
    shutil.copy(TORCH7 / "lenet.bin.t7", tmp_path / "lenet.bin")
    for file in (tmp_path / "lenet.bin", TORCH7 / "lenet.bin.t7"):
        with pytest.raises(FormatError, match=rf"{file.name}, byte 0: .*torch7\.load"):
            native.load(file)
    assert repr(nn.load(tmp_path / "lenet.bin")) == repr(nn.load(TORCH7 / "lenet.bin.t7"))


def test_the_name_or_the_first_bytes_say_which_format_a_file_has(tmp_path: Path) -> None:
    x = np.ones((2, 3), np.float32)
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    y = model(x).numpy()
    for name in ("m.safetensors", "m.t7", "m.model", "m"):
        model.save(tmp_path / name)
        np.testing.assert_array_equal(nn.load(tmp_path / name)(x).numpy(), y)
        first = (tmp_path / name).read_bytes()[:9]
        assert (first[8:] == b"{") is (name != "m.t7")
    (tmp_path / "m.model").rename(tmp_path / "ours.t7")
    np.testing.assert_array_equal(nn.load(tmp_path / "ours.t7")(x).numpy(), y)
    lenet = nn.load(TORCH7 / "lenet.bin.t7")
    assert repr(lenet) == repr(torch7.load(TORCH7 / "lenet.bin.t7"))
    with pytest.raises(FileNotFoundError, match=r"gone\.t7"):
        nn.load(tmp_path / "gone.t7")


def test_a_format_that_registers_itself_is_loaded_and_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_formats", dict(files._formats))

    def save(module: nn.Module, path: Any) -> None:
        Path(path).write_text(f"toy {module.n}", encoding="utf-8")

    def load(file: Any, *, limits: Any = None) -> nn.Module:
        text = file.decode() if isinstance(file, bytes) else Path(file).read_text(encoding="utf-8")
        made = nn.Sequential()
        made.n = int(text.split()[1])
        return made

    toy = files.FileFormat("toy", (".toy",), load, save, lambda first: first[:4] == b"toy ")
    files.register_format(toy)
    model = nn.Sequential()
    model.n = 7
    model.save(tmp_path / "m.toy")
    assert nn.load(tmp_path / "m.toy").n == 7
    assert nn.load(b"toy 8").n == 8
    (tmp_path / "m.toy").rename(tmp_path / "m.other")
    assert nn.load(tmp_path / "m.other").n == 7
    with pytest.raises(ValueError, match=r"second: \.toy belongs to toy"):
        files.register_format(files.FileFormat("second", (".2", ".toy"), load, save))
    for suffix in ("dotless", ".Large"):  # no file's ending would be found to be these
        with pytest.raises(ValueError, match=f"third: a suffix is .* not '{suffix}'"):
            files.register_format(files.FileFormat("third", (suffix,), load, save))


def test_endings_that_others_use_too_are_read_and_not_written(tmp_path: Path) -> None:
    model, x = nn.Sequential(nn.Linear(3, 2)), np.ones((1, 3), np.float32)
    y = model.forward(x).numpy()
    for name, ours in (("m.T7", False), ("m.t7b", False), ("m.dat", True), ("m.net", True)):
        model.save(tmp_path / name)
        assert (files.detect_format(tmp_path / name).name == files.NATIVE) is ours
        np.testing.assert_array_equal(nn.load(tmp_path / name).forward(x).numpy(), y)
    (tmp_path / "m.T7").rename(tmp_path / "theirs.dat")
    np.testing.assert_array_equal(nn.load(tmp_path / "theirs.dat").forward(x).numpy(), y)


def test_classes_may_come_with_names_or_without_for_each_format(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    nn.Sequential(Scale(2.0)).save(path)
    for given in ([Scale], {"any.Name": Scale}, {"nn.Scale": Scale}):
        assert isinstance(nn.load(path, classes=given).get(0), Scale)
    other = stranger("Other")
    assert isinstance(nn.load(path, classes={"Scale": other}).get(0), other)
    plain = stranger("Plain")
    for name in ("Plain", "nn.Plain"):
        torch7.save(nn.Sequential(plain()), tmp_path / "m.t7", classes={name: plain})
        for given in ([plain], {name: plain}):
            assert isinstance(nn.load(tmp_path / "m.t7", classes=given).get(0), plain)
            assert isinstance(torch7.load(tmp_path / "m.t7", classes=given).get(0), plain)
    torch7.save(nn.Sequential(plain()), tmp_path / "m.t7", classes=[plain])
    assert torch7.objects(tmp_path / "m.t7").fields["modules"][1].class_name == "nn.Plain"


def test_save_and_load_are_a_pair_in_each_format(tmp_path: Path) -> None:
    model, x = nn.Sequential(nn.Linear(3, 2)), np.ones((1, 3), np.float32)
    y = model.forward(x).numpy()
    for room, name in ((nn, "a.safetensors"), (nn, "a.t7"), (native, "b"), (torch7, "c")):
        room.save(model, tmp_path / name)
        np.testing.assert_array_equal(room.load(path=tmp_path / name).forward(x).numpy(), y)
    assert isinstance(torch7.load(tmp_path / "a.t7"), nn.Sequential)
    with pytest.raises(TypeError, match=r"save\(module, path\) takes a path, not a Sequential"):
        nn.save("m.t7", model)
    with pytest.raises(TypeError, match=r"save\(module, path\) writes a Module, not str"):
        nn.save("m", "m")


def test_the_command_line_reads_our_own_files_by_any_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    native.save(nn.Sequential(nn.Linear(3, 2)), tmp_path / "m.t7")
    assert main(["show", str(tmp_path / "m.t7")]) == 0
    assert "nn.Linear" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "m.t7"), str(tmp_path / "n.t7")]) == 0
    assert isinstance(torch7.load(tmp_path / "n.t7"), nn.Sequential)


def test_a_loaded_model_can_be_trained(tmp_path: Path) -> None:
    nn.Sequential(nn.Linear(3, 2), nn.Tanh()).save(tmp_path / "m.safetensors")
    model = nn.load(tmp_path / "m.safetensors")
    x = np.ones((4, 3), np.float32)
    before = model.forward(x).numpy().copy()
    model.backward(x, np.ones((4, 2), np.float32))
    model.updateParameters(0.1)
    assert (model.forward(x).numpy() < before).all()


def test_a_users_class_loads_when_it_is_passed_or_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    nn.Sequential(Scale(2.0)).save(path)
    with pytest.raises(UnsupportedError, match=r"classes=\[Scale\]"):
        nn.load(path)
    model = nn.load(path, classes=[Scale])
    assert model.get(0).settings == {"names": ["a", ("b", 1)], 2: None, "limit": float("inf")}
    monkeypatch.setattr(names, "_registered", {})
    assert native.register_class(Scale) is Scale
    assert nn.load(path).forward(np.ones(1, np.float32)).numpy().tolist() == [2.0]


def stranger(name: str, **attributes: Any) -> type[nn.Module]:
    """A class of a user's, by whatever name."""
    return type(name, (nn.Module,), {"updateOutput": lambda _, x: x, **attributes})


def test_a_class_that_is_called_as_one_of_ours_is_not_mixed_up_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = stranger("Linear")
    forged = stranger("Linear", __module__=nn.Linear.__module__)
    path = tmp_path / "m.safetensors"
    nn.Sequential(nn.Linear(3, 2), theirs()).save(path)
    with pytest.raises(UnsupportedError, match=r"classes=\[Linear\]"):
        nn.load(path)
    for cls in (theirs, forged):
        assert [type(m) for m in nn.load(path, classes=[cls])] == [nn.Linear, cls]
    monkeypatch.setattr(names, "_registered", {})
    native.register_class(theirs)
    assert [type(m) for m in nn.load(path)] == [nn.Linear, theirs]
    with pytest.raises(ValueError, match="another class is called Linear"):
        native.register_class(forged)


def test_two_classes_of_one_name_and_names_that_are_no_words_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(UnsupportedError, match=r"1: one class called Own"):
        nn.Sequential(stranger("Own")(), stranger("Own")()).save(path)
    dotted = stranger("nn.Linear")
    with pytest.raises(UnsupportedError, match=r"0: a class whose name is a word"):
        nn.Sequential(dotted()).save(path)
    with pytest.raises(ValueError, match="is a word"):
        native.register_class(dotted)
    nn.Linear(3, 2).save(path)
    with pytest.raises(ValueError, match="is a word"):
        nn.load(path, classes=[dotted])


@pytest.mark.parametrize(
    "name", ["forward", "updateOutput", "train", "_tapegrad_run", "not a name"]
)
def test_an_attribute_that_no_file_may_have_is_refused_when_it_is_saved(
    name: str, tmp_path: Path
) -> None:
    module = nn.Sequential(nn.Tanh())
    vars(module.get(0))[name] = 1
    if name == "_tapegrad_run":  # not kept
        module.save(tmp_path / "m.safetensors")
        assert name not in vars(nn.load(tmp_path / "m.safetensors").get(0))
        return
    with pytest.raises(UnsupportedError, match=rf"0\.{name}: an attribute that a file may have"):
        module.save(tmp_path / "m.safetensors")


def test_what_is_no_data_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    model.get(1).callback = lambda x: x
    with pytest.raises(UnsupportedError, match=r"1\.callback.*function"):
        model.save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_the_safetensors_package_reads_our_files_and_we_read_its(tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors.numpy")
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNormalization(2))
    model.save(tmp_path / "m.safetensors")
    found = package.load_file(tmp_path / "m.safetensors")
    state = model.state_dict()
    assert {key: value.tobytes() for key, value in found.items()} == {
        key: value.tobytes() for key, value in state.items()
    }
    arrays = {
        name: np.arange(6).reshape(2, 3).astype(name)
        for name in ("float64", "float32", "float16", "int64", "int32", "uint8", "bool")
    } | {"empty": np.empty((0, 3), np.float32), "scalar": np.array(1.5)}
    package.save_file(arrays, tmp_path / "theirs.safetensors", {"a": "b"})
    ours, metadata = safetensors_file.read(tmp_path / "theirs.safetensors")
    assert metadata == {"a": "b"}
    assert ours.keys() == arrays.keys()
    for name, array in arrays.items():
        assert ours[name].dtype == array.dtype
        assert np.array_equal(ours[name], array)
    with pytest.raises(FormatError, match="saved by tapegrad"):
        nn.load(tmp_path / "theirs.safetensors")


def test_what_the_format_does_not_have_is_named(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    whole = np.arange(4.0)
    cases = [
        (deep, "lists nested at most 60 deep"),
        (type("Mine", (Tensor,), {})(np.zeros(1)), "a Tensor, Parameter or Buffer, found Mine"),
        ([whole, whole.view(np.int64)[1:]], "views of one memory with one dtype"),
        (np.zeros(2, complex), "a dtype that safetensors has"),
    ]
    for value, message in cases:
        module = nn.Tanh()
        module.value = value
        with pytest.raises(UnsupportedError, match=message):
            module.save(tmp_path / "m.safetensors")
    with pytest.raises(TypeError, match="writes a Module, not dict"):
        native.save({}, tmp_path / "m.safetensors")  # type: ignore[arg-type]
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        nn.Tanh().save(tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_numbers_and_dtypes_of_numpy_come_back_as_what_they_are(tmp_path: Path) -> None:
    module = nn.Tanh()
    module.count, module.kind = np.int64(3), np.dtype(np.float32)
    module.save(tmp_path / "m.safetensors")
    again = nn.load(tmp_path / "m.safetensors")
    assert (again.count, again.kind) == (3, np.float32)


# The commands -------------------------------------------------------------------------------------


def test_convert_goes_there_and_back_with_the_same_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, ours, back = TORCH7 / "lenet.bin.t7", tmp_path / "m.safetensors", tmp_path / "m.t7"
    assert main(["convert", str(source), str(ours)]) == 0
    assert main(["convert", str(ours), str(back), "--ascii"]) == 0
    assert back.read_bytes()[:4] == b"4\n1\n"
    with np.load(TORCH7 / "lenet.npz") as recorded:
        outputs = [
            m.forward(recorded["input"]).numpy().tobytes()
            for m in (torch7.load(source), nn.load(ours), torch7.load(back))
        ]
    assert len(set(outputs)) == 1
    for name in ("text.t7", "binary.t7"):  # from Torch7's format to Torch7's
        flags = ["--ascii"] if name == "text.t7" else []
        assert main(["convert", str(back), str(tmp_path / name), *flags]) == 0
    assert (tmp_path / "text.t7").read_bytes() == back.read_bytes()
    torch7.save(nn.load(ours), tmp_path / "direct.t7")
    assert (tmp_path / "binary.t7").read_bytes() == (tmp_path / "direct.t7").read_bytes()
    assert "bytes" in capsys.readouterr().out


@pytest.mark.parametrize("ending", [".t7", ".safetensors"])
def test_show_prints_the_tree_with_shapes_and_sizes(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"m{ending}"
    assert main(["convert", str(TORCH7 / "lenet.bin.t7"), str(path)]) == 0
    assert main(["show", str(path)]) == 0
    text = capsys.readouterr().out
    assert "weight float64 3x1x5x5" in text
    assert "404 parameters, 3,232 bytes" in text
    assert text.count("SpatialConvolution") == 2


@pytest.mark.parametrize("name", ["cyclic", "checkpoint", "gmodule", "tied_transpose", "noref"])
def test_show_works_for_files_of_any_content(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(TORCH7 / f"{name}.bin.t7")]) == 0
    assert "the file has" in capsys.readouterr().out


def test_show_ends_quietly_when_nobody_reads_on() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    code = "import sys; from tapegrad.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "show", str(TORCH7 / "lenet.bin.t7")]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", str(TORCH7 / "function.bin.t7")], "bytecode"),
        (["show", "missing.t7"], "missing.t7"),
        (["convert", str(TORCH7 / "dataset.bin.t7"), "x.safetensors"], "not a module"),
        (["convert", "a.unknown", "x.t7"], "must end in"),
    ],
)
def test_commands_end_in_one_message(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_what_calls_leave_behind_is_in_no_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    pooling = nn.SpatialMaxPooling(2, 2)
    model = nn.Sequential(pooling, nn.SpatialMaxUnpooling(pooling), nn.View(-1), nn.Linear(16, 2))
    model.save(path)
    before = path.read_bytes()
    x = np.random.default_rng(0).standard_normal((1, 4, 4)).astype(np.float32)
    model.backward(x, model.forward(x))
    model.zeroGradParameters()
    assert pooling.picks is not None
    model.save(path)
    assert path.read_bytes() == before
    header, arrays = native.architecture(path)
    assert not any("_tapegrad_run" in module["attributes"] for module in header["modules"])
    header["modules"][0]["attributes"]["_tapegrad_run"] = None
    with path.open("wb") as stream:
        metadata = {"format": "tapegrad", "tapegrad": json.dumps(header)}
        safetensors_file.write(stream, {k: np.array(a) for k, a in arrays.items()}, metadata)
    with pytest.raises(FormatError, match="the name of an attribute, found '_tapegrad_run'"):
        nn.load(path)
