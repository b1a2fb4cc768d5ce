"""Models that Torch7 made, trained and saved: loaded, run, tuned, saved and loaded again.

`tests/data/torch7/models.tar.xz` has, for each model NAME, `NAME.fresh.t7` (new), `.run.t7` (after
forward and backward), `.trained.t7` (after an update), `.clear.t7` (after clearState),
`.checkpoint.t7` (a table of model, criterion, state of the optimizer and more) and `.record.t7`:
the numbers of a run.  TAPEGRAD_TORCH7_MODELS names another directory or archive of the same layout;
what is missing there is skipped by name.
"""

from __future__ import annotations

import functools
import os
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch7_records import assert_close

from tapegrad import nn, optim
from tapegrad.nn.formats import torch7 as t7

pytestmark = pytest.mark.extra  # README's command has five minutes

OWN = Path(__file__).parent / "data" / "torch7" / "models.tar.xz"
ROOT = Path(os.environ.get("TAPEGRAD_TORCH7_MODELS") or OWN)
STATES = ("fresh", "run", "trained", "clear", "checkpoint")
SGD = {"learningRate": 0.05, "momentum": 0.9, "weightDecay": 1e-3}


@functools.cache
def files() -> dict[str, bytes]:
    """The files by name: "resnet.fresh"."""
    if ROOT.is_dir():
        return {p.stem: p.read_bytes() for p in sorted(ROOT.glob("*.t7"))}
    with tarfile.open(ROOT) as archive:
        members = sorted(archive.getmembers(), key=lambda member: member.name)
        return {Path(m.name).stem: archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]


NAMES = sorted({name.rsplit(".", 1)[0] for name in files()})


def file(name: str, state: str) -> bytes:
    """The bytes of one file; without it the test is skipped."""
    if f"{name}.{state}" not in files():
        pytest.skip(f"no {name}.{state}.t7")
    return files()[f"{name}.{state}"]


def loaded(name: str, state: str) -> Any:
    """What a file holds, loaded without a warning; of a checkpoint its model."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = t7.load(file(name, state), strict=True)
    return found["model"] if state == "checkpoint" else found


class Record:
    """The recorded numbers, as a model here is to have them.

    Where nn/DIFFERENCES.md names a departure for a class in the model, the numbers are changed as
    it says; nothing goes by the names of models.
    """

    def __init__(self, name: str, model: Any) -> None:
        self.fields = t7.load(file(name, "record"))
        self.model = model
        self.classes = {type(module) for module in model.listModules()}
        single = model.parameters()[0] and model.parameters()[0][0].dtype == np.float32
        self.tolerance = 1e-5 if single else 1e-10

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def start(self, model: Any) -> Any:
        """The model in the mode that the run was recorded in."""
        return model.evaluate() if self.fields.get("eval") else model.training()

    @property
    def input(self) -> Any:
        """The input with its indices counted from 0; `index` says which of it are indices."""
        x, which = self["input"], self.fields.get("index")
        if which == 0:
            return [part - 1 for part in x] if isinstance(x, list) else x - 1
        return [x[0] - 1, *x[1:]] if which == 1 else x

    def parameters(self, key: str) -> list[np.ndarray]:
        """A list with an array for each Parameter."""
        own = [p.numpy() for p in self.model.parameters()[0]]
        found = self.once(self[key])
        if nn.WeightNorm in self.classes:  # the gradient of v has the shape of the weight there
            found = [f.reshape(o.shape) for f, o in zip(found, own, strict=True)]
        return found

    def once(self, found: list[np.ndarray]) -> list[np.ndarray]:
        """Each Parameter once; Torch7 lists those of a MapTable for each copy."""
        if nn.MapTable not in self.classes:
            return found
        kept: list[np.ndarray] = []
        for array in found:
            if not any(np.array_equal(array, other) for other in kept):
                kept.append(array)
        return kept

    def padding(self) -> list[int]:
        """Which Parameters have a row for the padding, which Torch7 trains and zeroes."""
        modules = self.model.listModules()
        rows = [m.weight for m in modules if isinstance(m, nn.LookupTableMaskZero)]
        rows += [m.weight for m in modules if isinstance(m, nn.LookupRNN) and m.maskzero]
        own = self.model.parameters()[0]
        return [i for i, p in enumerate(own) if any(p is row for row in rows)]

    def compare(self, found: Any, key: str) -> None:
        """Parameters or gradients against the recorded ones."""
        wanted, rows = self.parameters(key), self.padding()
        arrays = [np.array(a.numpy()) for a in found]
        for i in rows:
            arrays[i], wanted[i] = arrays[i][1:], wanted[i][1:]
        assert_close(arrays, wanted, key, self.tolerance)

    def compare_flat(self, flat: Any) -> None:
        """The tuned parameters in one array; a WeightNorm's weight follows them in Torch7."""
        found, wanted = np.array(flat.numpy()), np.array(self["tuned"])
        if nn.WeightNorm in self.classes:
            wanted = wanted[: found.size]
        start = 0
        for i, parameter in enumerate(self.model.parameters()[0]):
            if i in self.padding():
                row = slice(start, start + parameter.shape[1])
                found[row] = wanted[row] = 0
            start += parameter.size
        assert_close(found, wanted, "tuned", self.tolerance)


def without_none(gradient: Any, recorded: Any) -> Iterator[tuple[Any, Any]]:
    """(found, recorded) of gradInput where there is a gradient: indices have none."""
    if isinstance(gradient, (list, tuple)):
        for parts in zip(gradient, recorded, strict=True):
            yield from without_none(*parts)
    elif gradient is not None:
        yield gradient, recorded


@pytest.mark.parametrize("name", NAMES)
def test_torch7_model_computes_what_was_recorded(name: str) -> None:
    """Output, gradInput, gradients, one update, the output after it, and evaluate mode."""
    model = loaded(name, "fresh")
    record = Record(name, model)
    x, tolerance = record.input, record.tolerance
    record.start(model)
    record.compare(model.parameters()[0], "params0")
    model.zeroGradParameters()
    assert_close(model.forward(x), record["output"], "output", tolerance)
    gradient = model.backward(x, record["grad"])
    for found, wanted in without_none(gradient, record["gradInput"]):
        assert_close(found, wanted, "gradInput", tolerance)
    record.compare(model.parameters()[1], "grads")
    model.updateParameters(0.1)
    record.compare(model.parameters()[0], "params1")
    assert_close(model.forward(x), record["output2"], "output2", tolerance)
    assert_close(model.evaluate().forward(x), record["evaluated"], "evaluated", tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_torch7_model_is_tuned_as_recorded(name: str) -> None:
    """Two steps of sgd on the flat parameters."""
    model = loaded(name, "fresh")
    record = Record(name, model)
    x, config = record.input, dict(SGD)
    record.start(model)
    flat, flat_gradient = model.getParameters()

    def evaluate(_: Any) -> tuple[float, Any]:
        model.zeroGradParameters()
        model.forward(x)
        model.backward(x, record["grad"])
        return 0.0, flat_gradient

    for _ in range(2):
        optim.sgd(evaluate, flat, config)
    record.compare_flat(flat)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", NAMES)
def test_torch7_model_loads_in_every_state_and_comes_back_from_our_files(
    name: str, state: str, tmp_path: Path
) -> None:
    model = loaded(name, state)
    record = Record(name, model)
    x = record.input
    for one in ("binary", "ascii"):
        t7.save(model, tmp_path / "again.t7", mode=one)
        again = t7.load(tmp_path / "again.t7", strict=True)
        assert repr(again) == repr(model)
        names = [parameter for parameter, _ in model.named_parameters()]
        assert [parameter for parameter, _ in again.named_parameters()] == names
        for ours, theirs in zip(*(m.parameters()[0] for m in (again, model)), strict=True):
            assert np.array_equal(ours.numpy(), theirs.numpy(), equal_nan=True)
            assert ours.dtype == theirs.dtype
        assert shares(again) == shares(model)
        before = {path: b.numpy().copy() for path, b in model.named_buffers()}
        outputs = [record.start(m).forward(x) for m in (again, model)]
        assert_close(outputs[0], [leaf.numpy() for leaf in leaves(outputs[1])], "output", 0)
        for path, buffer in model.named_buffers():
            if path in before and buffer.shape == before[path].shape:
                buffer.assign(before[path])
    if state != "checkpoint":
        record.compare(model.parameters()[0], "params0" if state in ("fresh", "run") else "params1")
        expected = record["output" if state in ("fresh", "run") else "output2"]
        assert_close(record.start(model).forward(x), expected, "output", record.tolerance)


def leaves(value: Any) -> list[Any]:
    """The Tensors of nested lists."""
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def shares(model: Any) -> list[tuple[int, int]]:
    """Which Parameters see the same memory."""
    arrays = [p.numpy() for p in model.parameters()[0]]
    pairs = ((i, j) for j in range(len(arrays)) for i in range(j))
    return [(i, j) for i, j in pairs if np.may_share_memory(arrays[i], arrays[j])]


@pytest.mark.parametrize("name", NAMES)
def test_torch7_model_is_taken_up_from_its_checkpoint(name: str, tmp_path: Path) -> None:
    """What is beside the model, its optimizer's state among it, comes back from our files."""
    found = t7.load(file(name, "checkpoint"), strict=True)
    t7.save(found, tmp_path / "again.t7")
    again = t7.load(tmp_path / "again.t7", strict=True)
    assert set(again) == set(found)
    assert type(again["criterion"]) is type(found["criterion"])
    assert again["epoch"] == found["epoch"]
    state, kept = found["optimState"], again["optimState"]
    assert set(kept) == set(state)
    for key in state:
        assert np.array_equal(kept[key], state[key]), key


def test_torch7_model_files_are_there() -> None:
    assert NAMES, f"no model in {ROOT}"
    assert ROOT != OWN or (len(NAMES) == 32 and len(files()) == 192)
