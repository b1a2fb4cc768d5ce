"""The command line: what it prints, how it fails, and the promises of `tapegrad demo`.

The demo runs as a user runs it, in a process of its own without a terminal and without an input:
once in full, for its accuracy, and twice in short, because the same seed must give the same bytes.
"""

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from safetensors.numpy import load_file

import tapegrad
from tapegrad import _demo, cli
from tapegrad.autograd import no_grad

FILES = {"model.safetensors", "learning-curve.png", "misclassified.png"}


def tapegrad_command(*arguments, cwd):
    """Run `tapegrad …` without terminal or input."""
    return subprocess.run(
        [sys.executable, "-m", "tapegrad.cli", *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error::DeprecationWarning"},
    )


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"tapegrad {tapegrad.__version__}\n"


def test_the_entry_point_is_installed(tmp_path):
    script = Path(sys.executable).with_name("tapegrad")
    done = subprocess.run(
        [script, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"tapegrad {tapegrad.__version__}\n"


def test_the_package_runs_as_a_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tapegrad", "--version"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"tapegrad {tapegrad.__version__}\n"
    assert {"Any", "TYPE_CHECKING", "import_module"}.isdisjoint(dir(tapegrad))
    assert set(tapegrad.__all__) <= set(dir(tapegrad))


@pytest.mark.extra
def test_what_a_command_cannot_do_is_one_line_of_the_module_too(tmp_path):
    """`python -m` runs cli.py as `__main__`: the error must not be a class of that file."""
    done = tapegrad_command("convert", "a.unknown", "b.t7", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("tapegrad convert: a.unknown: the name must end in one of")
    assert done.stderr.count("\n") == 1


def test_info_names_versions_devices_blas_and_threads(capsys):
    assert cli.main(["info"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["tapegrad"] == tapegrad.__version__
    assert rows["numpy"] == np.__version__
    assert {"python", "opt_einsum", "numba", "cupy", "device", "BLAS", "processors"} <= set(rows)
    assert rows["threads"].startswith(f"{tapegrad.get_num_threads()} (")


def test_info_says_how_to_install_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(cli, "_version", lambda distributions: None)
    cli.main(["info"])
    assert "pip install 'tapegrad[fast]'" in capsys.readouterr().out


def test_threads_without_threadpoolctl_come_from_the_environment(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for variable in cli._THREAD_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert "default" in cli._threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cli._threads() == "3 (OMP_NUM_THREADS)"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["demo", "--epochs", "0"],
        ["demo", "--seed", "-1"],
        ["demo", "--device", "tpu"],
    ],
)
def test_a_wrong_command_line_ends_with_2_and_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert "usage: tapegrad" in capsys.readouterr().err


def test_a_missing_library_ends_with_1_and_the_command_that_installs_it(capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sklearn" else find(name)
    )
    assert cli.main(["demo"]) == 1
    assert capsys.readouterr().err == (
        "tapegrad demo: needs scikit-learn; install with\n    pip install 'tapegrad[demo]'\n"
    )


def test_a_device_that_is_not_there_ends_with_1_and_says_so(capsys, tmp_path):
    out = tmp_path / "out"
    assert cli.main(["demo", "--device", "cuda:99", "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith("tapegrad demo: ")
    assert not out.exists()


def test_a_folder_that_cannot_be_made_ends_with_1_and_says_so(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert cli.main(["demo", "--out", str(tmp_path / "file")]) == 1
    assert "file" in capsys.readouterr().err


def test_an_interrupt_ends_with_130(capsys, monkeypatch):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "run_demo", interrupted)
    assert cli.main(["demo"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.extra
def test_the_demo_reads_at_least_98_percent_of_the_digits(tmp_path, figures):
    start = time.perf_counter()
    done = tapegrad_command("demo", cwd=tmp_path)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"test accuracy 0\.\d{4}|test accuracy 1\.0000", last)
    assert float(last.split()[-1]) >= 0.98
    assert {path.name for path in (tmp_path / "tapegrad-demo").iterdir()} == FILES
    figures(f"tapegrad demo: {last}, {seconds:.0f} s")


@pytest.mark.extra
def test_the_demo_gives_the_same_bytes_for_the_same_seed_and_others_for_another(tmp_path):
    def trained(name, seed):
        out = tmp_path / name
        done = tapegrad_command("demo", "--epochs", 2, "--seed", seed, "--out", out, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert {path.name for path in out.iterdir()} == FILES
        text = re.sub(r"\d+\.\d s", "", done.stdout.replace(str(out), ""))
        return {path.name: path.read_bytes() for path in out.iterdir()}, text

    first, first_text = trained("first", 1)
    again, again_text = trained("again", 1)
    assert first == again
    assert first_text == again_text
    other, _ = trained("other", 2)
    assert other["model.safetensors"] != first["model.safetensors"]


@pytest.mark.extra
def test_the_demo_prints_its_modules_and_leaves_a_model_and_two_pictures(tmp_path, capsys):
    assert cli.main(["demo", "--epochs", "1", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    model = _demo.LeNet()
    for name in ("conv1", "norm1", "pool", "drop", "scores"):
        assert re.search(rf"^ +{name} .* 1×\d+", printed, flags=re.MULTILINE), name
    total = sum(parameter.size for parameter in model.parameters()[0])
    assert re.search(rf"^{total:,} parameters", printed, flags=re.MULTILINE)
    state = load_file(tmp_path / "model.safetensors")
    assert state["conv1.weight"].shape == model.conv1.weight.shape
    assert {"norm1.running_mean", "norm1.running_var"} <= set(state)
    for name in ("learning-curve.png", "misclassified.png"):
        picture = matplotlib.image.imread(tmp_path / name)
        assert min(picture.shape[:2]) > 150
        assert picture[..., :3].std() > 0.02


@pytest.mark.extra
def test_a_model_that_loads_differently_is_found_out(tmp_path, capsys, monkeypatch):
    load = _demo.load_parameters

    def corrupted(model, path):
        load(model, path)
        with no_grad():
            model.scores.bias[...] = np.arange(10) * 10.0

    monkeypatch.setattr(_demo, "load_parameters", corrupted)
    assert cli.main(["demo", "--epochs", "1", "--out", str(tmp_path)]) == 1
    assert "loaded" in capsys.readouterr().err


@pytest.mark.extra
def test_the_picture_of_mistakes_is_drawn_with_none_and_with_many(tmp_path):
    digits = _demo.load_digits(0)
    perfect = np.eye(10)[digits.test_labels]
    for name, answers in (("none", perfect), ("all", 1 - perfect)):
        _demo.draw_mistakes(answers, digits, tmp_path / f"{name}.png")
        assert matplotlib.image.imread(tmp_path / f"{name}.png").ndim == 3


def test_shifts_move_each_image_by_at_most_a_pixel_and_bring_in_paper():
    image = np.full((1, 1, 8, 8), -1, np.float32)
    image[0, 0, 3, 4] = 1
    moved = _demo.shift_images(np.repeat(image, 200, axis=0), np.random.default_rng(0))
    _, _, rows, columns = np.nonzero(moved > 0)
    assert moved.shape == (200, 1, 8, 8)
    assert set(rows) == {2, 3, 4}
    assert set(columns) == {3, 4, 5}


def test_the_split_keeps_the_classes_in_proportion():
    digits = _demo.load_digits(0)
    share = np.bincount(digits.test_labels) / np.bincount(digits.train_labels)
    assert len(digits.train_labels) + len(digits.test_labels) == 1797
    assert np.allclose(share, 0.25, atol=0.01)
