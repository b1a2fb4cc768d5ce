"""Models that the real BigDL 2.4 saved: each of their files loads, with the recorded numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bigdl_layouts import from_recorded
from bigdl_models import MODEL_NAMES, MODELS, Recorded, flat, model_file

from tapegrad import nn
from tapegrad.nn.formats import bigdl
from tapegrad.nn.formats.bigdl.fields import SCHEMA

TOLERANCE = 1e-5
FILES = ["model.bigdl", "model_sep.bigdl"]


def load(name: str, file: str) -> Any:
    path = model_file(name, file)
    beside = path.with_suffix(".bin") if file == "model_sep.bigdl" else None
    return bigdl.load(path, weightPath=beside)


def check(found: Any, recorded: Any, tolerance: float = TOLERANCE) -> None:
    found, recorded = flat(found), flat(recorded)
    assert len(found) == len(recorded)
    for ours, theirs in zip(found, recorded, strict=True):
        assert ours.shape == theirs.shape
        scale = max(1.0, float(np.abs(theirs).max(initial=0)))
        assert float(np.abs(ours - theirs).max(initial=0)) <= tolerance * scale


def test_there_are_recorded_bigdl_models() -> None:
    assert list(MODELS.glob("*/model.bigdl")), f"no model in {MODELS}"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_bigdl_model_gives_the_recorded_output(name: str, file: str) -> None:
    model = load(name, file)
    recorded = Recorded(name)
    assert not model.train  # as it was saved
    check(model.forward(recorded.nest("input")), recorded.nest("output_eval"))


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_bigdl_model_gives_the_recorded_gradients(name: str) -> None:
    model, recorded = load(name, "model.bigdl"), Recorded(name)
    if any(isinstance(m, nn.Dropout) for m in model.listModules()):
        pytest.skip("what its Dropout dropped was not recorded")
    model.training()
    model.zeroGradParameters()
    check(model.forward(recorded.nest("input")), recorded.nest("output_train"))
    found = model.backward(recorded.nest("input"), recorded.nest("gradOutput"))
    check(found, recorded.nest("gradInput"))
    gradients = recorded.numbered("after_g_")
    for layer in model.listModules():
        own = [] if nn.Module.children(layer) else [p.grad for p in layer.parameters()[0]]
        theirs, gradients = gradients[: len(own)], gradients[len(own) :]
        for ours, array in zip(own, from_recorded(layer, theirs), strict=True):
            check(ours, array.reshape(ours.shape))
    assert not gradients


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_definition_of_a_bigdl_model_has_its_layers_and_sizes(name: str) -> None:
    model = load(name, "model.bigdl")
    defined = bigdl.load_definition(model_file(name, "definition.prototxt"))
    assert str(defined) == str(model)
    arrays = [p.numpy() for p in model.parameters()[0]]
    assert [p.shape for p in defined.parameters()[0]] == [a.shape for a in arrays]
    defined.setWeightsBias(arrays)
    if model.getExtraParameter():
        defined.setExtraParameter([b.numpy() for b in model.getExtraParameter()])
    recorded = Recorded(name)
    check(defined.evaluate().forward(recorded.nest("input")), recorded.nest("output_eval"))


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_quantized_bigdl_model_is_near_what_bigdl_computed(name: str) -> None:
    model = load(name, "model_quant.bigdl")
    recorded = Recorded(name)
    check(model.forward(recorded.nest("input")), recorded.nest("output_quant"), 0.02)
    layers = [m for m in model.listModules() if hasattr(m, "int8")]
    assert layers
    assert all(np.abs(m.int8["weight"].numpy()).max() == 127 for m in layers)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_bigdl_model_that_is_written_is_read_with_equal_bits(name: str, tmp_path: Path) -> None:
    model = load(name, "model.bigdl")
    assert model.saveModule(tmp_path / "a.bigdl") is model
    model.saveModule(tmp_path / "b.bigdl", tmp_path / "b.bin")
    inline = nn.load(tmp_path / "a.bigdl")
    separate = bigdl.load(tmp_path / "b.bigdl", weightPath=tmp_path / "b.bin")
    x = Recorded(name).nest("input")
    expected = flat(model.forward(x))
    for again in (inline, separate):
        assert str(again) == str(model)
        for ours, theirs in zip(flat(again.forward(x)), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    inline.saveModule(tmp_path / "c.bigdl")
    assert (tmp_path / "c.bigdl").read_bytes() == (tmp_path / "a.bigdl").read_bytes()
    model.saveDefinition(tmp_path / "d.prototxt")
    assert str(bigdl.load_definition(tmp_path / "d.prototxt")) == str(model)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_bigdl_model_that_is_written_has_what_bigdl_wrote(name: str, tmp_path: Path) -> None:
    """Each module has the attributes, arrays and names of the recorded one, in their kinds."""
    path = model_file(name, "model.bigdl")
    bigdl.load(path).saveModule(tmp_path / "again.bigdl")
    theirs = SCHEMA.read(path, "BigDLModule")
    ours = SCHEMA.read(tmp_path / "again.bigdl", "BigDLModule")
    assert differences(theirs, ours) == []


def differences(theirs: Any, ours: Any, path: str = "root") -> list[str]:
    """Where two records of modules differ in what BigDL reads; nodes of graphs by their names."""
    found = []
    graph = theirs.moduleType.endswith("Graph")
    if ours.moduleType != theirs.moduleType:
        if theirs.moduleType.rpartition(".")[2] != "Input":  # an Identity here
            found.append(f"{path}: {ours.moduleType}")
    if (ours.name, ours.train) != (theirs.name, theirs.train):
        found.append(f"{path}: {ours.name} {ours.train}")
    if not theirs.subModules:
        sizes = [[list(p.size) for p in record.parameters] for record in (theirs, ours)]
        if sizes[0] != sizes[1]:
            found.append(f"{path}: {sizes}")
    if "cell" in theirs.attr:  # the network of a cell: names of nodes are made anew
        return found
    names = {name for name in theirs.attr if not name.endswith("_edges")} - {"global_storage"}
    for name in sorted(names):
        if name not in ours.attr:
            found.append(f"{path}: no {name}")
            continue
        a, b = theirs.attr[name], ours.attr[name]
        if a.dataType != b.dataType or a.which("value") != b.which("value"):
            found.append(f"{path}.{name}: {a} {b}")
        elif a.which("value") == "bigDLModuleValue":
            found += differences(a.bigDLModuleValue, b.bigDLModuleValue, f"{path}.{name}")
        elif a.which("value") not in {"tensorValue", None} and a != b:
            found.append(f"{path}.{name}: {a} {b}")
    children = [list(record.subModules) for record in (theirs, ours)]
    if graph:
        children = [
            sorted(each, key=lambda m: m.name or m.moduleType + m.namePostfix) for each in children
        ]
    if len(children[0]) != len(children[1]):
        return [*found, f"{path}: {len(children[1])} modules"]
    for k, pair in enumerate(zip(*children, strict=True)):
        found += differences(*pair, f"{path}[{k}]")
        if graph and pair[0].preModules != pair[1].preModules:
            found.append(f"{path}[{k}]: {pair[1].preModules}")
    return found


@pytest.mark.extra
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_protobuf_library_reads_a_bigdl_model_as_we_do(name: str, tmp_path: Path) -> None:
    from google.protobuf import unknown_fields
    from protobuf_judge import from_library, judge

    library = judge(SCHEMA)["BigDLModule"]
    path = model_file(name, "model.bigdl")
    bigdl.load(path).saveModule(tmp_path / "again.bigdl")
    for file in (path, tmp_path / "again.bigdl"):
        message = library.FromString(file.read_bytes())
        assert from_library(message, SCHEMA.messages["BigDLModule"]) == SCHEMA.read(
            file, "BigDLModule"
        )
        assert len(unknown_fields.UnknownFieldSet(message)) == 0
        bigdl.load(message.SerializeToString())


@pytest.mark.extra
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_protobuf_library_reads_a_definition_of_a_bigdl_model(name: str) -> None:
    from google.protobuf import text_format
    from protobuf_judge import from_library, judge

    path = model_file(name, "definition.prototxt")
    message = text_format.Parse(path.read_text("utf-8"), judge(SCHEMA)["BigDLModule"]())
    ours = SCHEMA.read_text(path, "BigDLModule")
    assert from_library(message, SCHEMA.messages["BigDLModule"]) == ours
