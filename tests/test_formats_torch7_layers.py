"""Layers in Torch7's files: what is written has what Torch7's own objects have, where they have it.

The records of the real Torch7 (torch7_records.py) say of each object its plain fields and the paths
to its parameters.  A file of ours must hold the same under the same names; and where a layer is one
piece here and a network there, it must come back from the network.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch7_records
from test_formats_torch7 import same_attributes
from test_torch7_cases import build, prepared
from torch7_records import assert_close

from tapegrad import manual_seed, nn
from tapegrad.autograd import Parameter, Tensor
from tapegrad.nn.formats import (
    FormatError,
    UnknownClassWarning,
    UnsupportedError,
)
from tapegrad.nn.formats import torch7 as t7
from tapegrad.nn.formats.torch7.classes import CLASSES
from tapegrad.nn.formats.torch7.files import known
from tapegrad.nn.formats.torch7.objects import Storage, Table, TorchObject
from tapegrad.nn.formats.torch7.writer import WritePlan

pytestmark = pytest.mark.extra  # README's command has five minutes

RECORDS = {
    record["id"]: record
    for record in torch7_records.index()
    if record["kind"] in {"module", "criterion"} and record["class"] in known()
}

# A record's mode is not in its specification; layers without parameters have the type of the model
# that they are in.
OF_THE_RUN = {"train"}


def saved(module: Any, tmp_path: Path) -> TorchObject:
    t7.save(module, tmp_path / "x.t7")
    return t7.objects(tmp_path / "x.t7")


def at(root: Any, path: str) -> Any:
    """What stands under a path like "modules[1].weight" in Torch7's counting."""
    for name, number in re.findall(r"(\w+)|\[(\d+)\]", path):
        root = root[name or int(number)]
    return root


def bytes_of(root: Any) -> bytes:
    out = io.BytesIO()
    WritePlan(root).write(out)
    return out.getvalue()


@pytest.mark.parametrize("name", RECORDS)
def test_fields_and_parameters_stand_where_torch7_has_them(name: str, tmp_path: Path) -> None:
    record = torch7_records.resolved(RECORDS[name], torch7_records.ROOT)
    module = prepared(record) if record["kind"] == "module" else build(record["spec"]).double()
    root = saved(module, tmp_path)
    for field, value in record.get("fields", {}).items():
        if field not in OF_THE_RUN and (field != "_type" or module.parameters()[0]):
            assert root[field] == value, field
    for path, values in zip(record.get("paramNames", []), record.get("params", []), strict=True):
        if path != "?":  # a parameter that no list of modules leads to
            assert np.array_equal(at(root, path), values), path


def test_the_recorded_layers_are_reached() -> None:
    if torch7_records.ROOT == torch7_records.OWN:
        assert len(RECORDS) >= 366


# Classes whose records are files, of torch/rnn and nngraph.
RECORDED_AS_FILES = {"BiSequencer", "LookupRNN", "MaskZeroCriterion", "Recursor", "gModule"}
RECORDED_AS_FILES |= {"RepeaterCriterion", "ReverseSequence", "ReverseUnreverse"}
RECORDED_AS_FILES |= {"SequencerCriterion", "Recurrence"}


def test_a_class_is_recorded_from_torch7_or_its_entry_says_that_torch7_has_none() -> None:
    recorded = set(RECORDED_AS_FILES)
    for record in torch7_records.index(torch7_records.OWN):
        recorded |= torch7_records.classes_of(record)
    names = {name.removeprefix("nn."): cls for name, cls in known().items()}
    unknown = sorted(names.keys() - recorded)
    where = "formats/torch7/layer_entries.py or composite_entries.py"
    assert not unknown, f"no records: say ClassEntry(absent=True) in {where}"
    absent = {cls.__name__ for cls, entry in CLASSES.items() if entry.absent}
    assert not absent & recorded


# Layers that are networks there -----------------------------------------------------------------


def lstm(peepholes: bool = True) -> nn.Module:
    module = nn.LSTM(3, 2)
    for gate in (module.forgetGate, module.inputGate, module.outputGate):
        gate.cell = gate.cell if peepholes else None
    return module


def partial() -> nn.Module:
    module = nn.PartialLinear(3, 4)
    module.setPartition([2, 0])
    return module


ROWS = np.linspace(-1, 1, 24).reshape(4, 2, 3)
WORDS = np.array([[0, 4], [2, 1], [3, 3]])
NETWORKS: dict[str, tuple[Any, np.ndarray]] = {
    "LSTM": (lambda: nn.Sequencer(lstm()), ROWS),
    "LSTM without peepholes": (lambda: nn.Sequencer(lstm(peepholes=False)), ROWS),
    "FastLSTM": (lambda: nn.Sequencer(nn.FastLSTM(3, 2)), ROWS),
    "GRU": (lambda: nn.Sequencer(nn.GRU(3, 2)), ROWS),
    "LinearRNN": (lambda: nn.Sequencer(nn.LinearRNN(3, 2, nn.Tanh())), ROWS),
    "LookupRNN": (lambda: nn.Sequencer(nn.LookupRNN(5, 2)), WORDS),
    "BiSequencer": (lambda: nn.BiSequencer(nn.GRU(3, 2)), ROWS),
    "BiSequencer, added": (lambda: nn.BiSequencer(lstm(), merge=nn.CAddTable()), ROWS),
    "BiSequencer, joined": (lambda: nn.BiSequencer(lstm(), merge=nn.JoinTable(0)), ROWS),
    "SeqBLSTM": (lambda: nn.SeqBLSTM(3, 2), ROWS),
    "SeqBGRU, joined": (lambda: nn.SeqBGRU(3, 2, nn.JoinTable(2)), ROWS),
    "PartialLinear": (partial, ROWS[0]),
    "PartialLinear, whole": (lambda: nn.PartialLinear(3, 4), ROWS[0]),
    "CReLU": (lambda: nn.CReLU(1), ROWS[0]),
    "SpatialSubtractiveNormalization": (
        lambda: nn.SpatialSubtractiveNormalization(2, np.ones((3, 5))),
        np.sin(np.arange(98.0)).reshape(2, 7, 7),
    ),
    "SpatialDivisiveNormalization, one axis": (
        lambda: nn.SpatialDivisiveNormalization(2, np.ones(3)),
        np.sin(np.arange(98.0)).reshape(2, 7, 7),
    ),
}


@pytest.mark.parametrize("mode", ["training", "evaluate"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_a_network_there_comes_back_with_equal_output(
    name: str, mode: str, tmp_path: Path
) -> None:
    make, x = NETWORKS[name]
    module = getattr(make().double(), mode)()
    modes = [part.train for part in module.listModules()]
    t7.save(module, tmp_path / "x.t7")
    assert [part.train for part in module.listModules()] == modes  # saving changes nothing
    again = t7.load(tmp_path / "x.t7")
    same_attributes(module, again, name)
    assert [part.train for part in again.listModules()] == modes
    assert_close(again.forward(x), module.forward(x), "output", 0)
    assert len(again.parameters()[0]) == len(module.parameters()[0])


def run_as_stored(module: Any, tmp_path: Path) -> Any:
    """The network inside a saved layer, built by itself, as Torch7 would run it."""
    root = saved(module, tmp_path)
    return lambda path: t7.load(bytes_of(at(root, path)))


def test_the_step_of_an_lstm_computes_what_the_layer_does(tmp_path: Path) -> None:
    for peepholes in (True, False):
        module = lstm(peepholes).double()
        step = run_as_stored(module, tmp_path)("modules[1]")
        x, h, c = ROWS[0], ROWS[1, :, :2], ROWS[2, :, :2]
        found = step.forward([x, h, c])
        _, expected = module.step(Tensor(x), [Tensor(h), Tensor(c)])
        assert_close(found, expected, "state", 1e-14)


@pytest.mark.parametrize("make", [lambda: nn.LinearRNN(3, 2), lambda: nn.GRU(3, 2)])
def test_the_steps_of_others_compute_what_the_layers_do(make: Any, tmp_path: Path) -> None:
    module = make().double()
    step = run_as_stored(module, tmp_path)("modules[1]")
    x, h = ROWS[0], ROWS[1, :, :2]
    assert_close(step.forward([x, h]), module.step(Tensor(x), Tensor(h))[0], "state", 1e-14)


def test_the_step_of_a_lookup_rnn_computes_what_the_layer_does(tmp_path: Path) -> None:
    module = nn.LookupRNN(5, 2).double()
    step = run_as_stored(module, tmp_path)("modules[1]")
    x, h = WORDS[0], ROWS[1, :, :2]
    assert_close(step.forward([x, h]), module.step(Tensor(x), Tensor(h))[0], "state", 1e-14)


def test_a_bi_sequencer_is_the_network_of_its_parts(tmp_path: Path) -> None:
    for merge in (None, nn.CMulTable(), nn.JoinTable(1), nn.JoinTable(-1)):
        module = nn.BiSequencer(nn.RecGRU(3, 2), merge=merge).double()
        network = run_as_stored(module, tmp_path)("modules[1]")
        assert_close(network.forward(ROWS), module.forward(ROWS), "output", 0)


def test_the_estimators_of_local_normalization_add_up_what_the_layer_does(tmp_path: Path) -> None:
    """Torch7 goes through entries in order where their number is the same, whatever the shapes."""
    x = np.sin(np.arange(98.0)).reshape(2, 7, 7)

    def run(network: Any, of: np.ndarray) -> np.ndarray:
        found: np.ndarray = network.forward(of).numpy().copy()
        return found.reshape(x.shape)

    for kernel in (np.ones((3, 5)), np.array([1.0, 2, 1])):
        module = nn.SpatialSubtractiveNormalization(2, kernel).double()
        inside = run_as_stored(module, tmp_path)
        mean = inside("meanestimator")
        coefficients = run(mean, np.ones_like(x))
        found = x - run(mean, x) / coefficients
        assert_close(found, module.forward(x), "output", 1e-12)
        module = nn.SpatialDivisiveNormalization(2, kernel).double()
        inside = run_as_stored(module, tmp_path)
        coefficients = run(inside("meanestimator"), np.ones_like(x))
        deviation = inside("thresholder").forward(run(inside("stdestimator"), x) / coefficients)
        assert_close(x / deviation.numpy(), module.forward(x), "output", 1e-12)


def test_an_old_lstm_has_no_dropout_and_linears_of_another_class(tmp_path: Path) -> None:
    module = lstm().double()
    root = saved(module, tmp_path)
    pending = [root]
    while pending:
        part = pending.pop()
        parts = part["modules"]
        for number, inner in list(parts.items()):
            below = inner["modules"] if "modules" in inner.fields else {}
            if len(below) == 2 and below[1].class_name == "nn.Dropout":
                parts[number] = below[2]
                if number == 2:
                    below[2].class_name = "nn.LinearNoBias"
                    below[2].fields["bias"] = np.zeros(2)
                    below[2].fields["gradBias"] = np.zeros(2)
            elif below:
                pending.append(inner)
    again = t7.load(bytes_of(root))
    assert len(again.parameters()[0]) == len(module.parameters()[0])
    assert again.inputGate.hidden.bias is None
    assert_close(again.forward(ROWS[0]), module.forward(ROWS[0]), "output", 0)


def changed(root: Any, path: str, value: Any) -> bytes:
    """The bytes of a file in which something else stands under a path."""
    whole, _, last = path.rpartition(".")
    parent = at(root, whole)
    name, _, number = last.partition("[")
    if number:
        parent[name][int(number[:-1])] = value
    else:
        getattr(parent, "fields", parent)[name] = value
    return bytes_of(root)


IDENTITY = TorchObject("nn.Identity", Table())
DECLINED: dict[str, tuple[Any, str, Any, str]] = {
    "another step": (lstm, "modules[1]", IDENTITY, "as torch/rnn builds them"),
    "no step": (lstm, "modules", [], "a list of modules"),
    "dropout": (
        lstm,
        "modules[1].modules[3].modules[1].modules[1].modules[1].modules[1].modules[1].modules[1].p",
        0.5,
        "without dropout",
    ),
    "no peephole": (
        lstm,
        "modules[1].modules[3].modules[1].modules[1].modules[1].modules[1].modules[3].weight",
        None,
        "a CMul with a weight",
    ),
    "entries in another order": (
        lambda: nn.GRU(3, 2),
        "modules[1].modules[3].modules[2].index",
        1,
        "as torch/rnn builds them",
    ),
    "another join": (
        lambda: nn.LinearRNN(3, 2),
        "modules[1].modules[1].dimension",
        2,
        "as torch/rnn builds them",
    ),
    "no lookup": (
        lambda: nn.LookupRNN(3, 2),
        "modules[1].modules[1].modules[1].weight",
        None,
        "a LookupTable with a weight",
    ),
    "a network of other parts": (
        lambda: nn.LookupRNN(3, 2),
        "modules[1].modules[2]",
        IDENTITY,
        "a network of ParallelTable, CAddTable, Module",
    ),
    "a size of 0": (lambda: nn.FastLSTM(3, 2), "inputSize", 0, "a size called inputSize"),
    "a merge over time": (
        lambda: nn.BiSequencer(nn.GRU(3, 2)),
        "modules[1].modules[2].dimension",
        1,
        "counted from the end",
    ),
    "a merge of whole sequences": (
        lambda: nn.BiSequencer(nn.GRU(3, 2)),
        "modules[1].modules[2]",
        IDENTITY,
        "a merge that does the same to a step",
    ),
    "no Sequencer": (
        lambda: nn.BiSequencer(nn.GRU(3, 2)),
        "modules[1].modules[1].modules[1]",
        IDENTITY,
        "Sequencers in a BiSequencer",
    ),
    "no such mode": (lambda: nn.SeqGRU(3, 2), "_remember", "always", "one of"),
    "a partition beyond the outputs": (
        partial,
        "partition",
        np.array([1.0, 5.0]),
        "a partition of 4 outputs",
    ),
    "no partition": (partial, "partition", None, "a tensor called partition"),
    "no weight": (partial, "network.modules[1].modules[2].weight", None, "a weight"),
    "keys that are normalized": (
        lambda: nn.IndexLinear(3, 2),
        "normalize",
        3,
        "0 or 4 columns",
    ),
    "an average over steps": (
        lambda: nn.RepeaterCriterion(nn.MSECriterion()),
        "sizeAverage",
        True,
        "without sizeAverage",
    ),
    "no criterion": (lambda: nn.SequencerCriterion(nn.MSECriterion()), "clones", 1, "a criterion"),
    "a mask from the input": (
        lambda: nn.MaskZeroCriterion(nn.MSECriterion()),
        "v2",
        False,
        "given its mask",
    ),
}


@pytest.mark.parametrize("name", DECLINED)
def test_what_is_stored_otherwise_is_declined_with_its_place(name: str, tmp_path: Path) -> None:
    make, path, value, message = DECLINED[name]
    data = changed(saved(make(), tmp_path), path, value)
    with pytest.raises(FormatError, match=rf"at root: .*{message}"):
        t7.load(data)


def test_an_unknown_module_in_a_step_leaves_a_table_and_a_warning(tmp_path: Path) -> None:
    step = "modules[1].modules[1].modules[2]"
    data = changed(saved(nn.FastLSTM(3, 2), tmp_path), step, TorchObject("my.Own", Table()))
    with pytest.warns(UnknownClassWarning, match=r"my\.Own"):
        assert isinstance(t7.load(data), TorchObject)


def test_what_torch7_would_merge_otherwise_is_not_saved(tmp_path: Path) -> None:
    for merge in (nn.Identity(), nn.JoinTable(0, 1)):
        with pytest.raises(UnsupportedError, match="root: a merge that does the same"):
            t7.save(nn.BiSequencer(nn.GRU(3, 2), merge=merge), tmp_path / "x.t7")
    module = lstm()
    module.inputGate.cell = None
    with pytest.raises(UnsupportedError, match="root: gates that all have a peephole"):
        t7.save(module, tmp_path / "x.t7")


def test_criterions_over_time_come_back(tmp_path: Path) -> None:
    x, target = ROWS, ROWS[::-1].copy()
    for criterion in (
        nn.SequencerCriterion(nn.MSECriterion(), True),
        nn.RepeaterCriterion(nn.MSECriterion()),
    ):
        t7.save(criterion, tmp_path / "x.t7")
        again = t7.load(tmp_path / "x.t7")
        t = target if isinstance(criterion, nn.SequencerCriterion) else target[0]
        assert float(again.forward(x, t)) == float(criterion.forward(x, t))
        same_attributes(criterion, again, "")
    old = TorchObject("nn.SequencerCriterion", Table({"clones": Table()}))
    old.fields["criterion"] = TorchObject("nn.MSECriterion", Table({"sizeAverage": True}))
    assert isinstance(t7.load(bytes_of(old)).criterion, nn.MSECriterion)
    masked = nn.MaskZeroCriterion(nn.MSECriterion())
    t7.save(masked, tmp_path / "x.t7")
    again = t7.load(tmp_path / "x.t7").setZeroMask([True, False])
    assert float(again.forward(x[0], x[1])) == float(nn.MSECriterion().forward(x[0, 1:], x[1, 1:]))


@pytest.mark.parametrize("make", [lambda: nn.Sequencer(nn.GRU(3, 2)), lambda: nn.SeqLSTM(3, 2)])
def test_states_are_remembered_by_what_is_loaded(make: Any, tmp_path: Path) -> None:
    module = make().double().remember("both").evaluate()
    t7.save(module, tmp_path / "x.t7")
    again = t7.load(tmp_path / "x.t7")
    for _ in range(2):
        assert_close(again.forward(ROWS), module.forward(ROWS), "output", 0)
    assert not np.array_equal(again.forward(ROWS).numpy(), again.forget().forward(ROWS).numpy())


def test_masks_from_the_input_are_the_first_version_there(tmp_path: Path) -> None:
    assert saved(nn.SeqLSTM(3, 2), tmp_path)["v2"] is True
    assert saved(nn.SeqLSTM(3, 2).maskZero(), tmp_path)["v2"] is False


def test_keys_of_an_index_linear_are_counted_from_1_there(tmp_path: Path) -> None:
    module = nn.IndexLinear(4, 2, keysOffset=1).double()
    module.weight = Parameter(np.arange(8.0).reshape(4, 2))
    root = saved(module, tmp_path)
    assert root["offset"] == 0
    assert "keysOffset" not in root.fields
    x = [np.array([0, 2]), np.array([1.0, 3.0])]
    assert_close(t7.load(tmp_path / "x.t7").forward(x), module.forward(x), "output", 0)


def test_a_gpu_module_writes_its_type_and_device_in_front_of_its_fields(tmp_path: Path) -> None:
    """Torch7's nn.GPU writes two objects, and reads two."""
    module = nn.Sequential(nn.GPU(nn.Linear(3, 2), 0), nn.Tanh()).double()
    t7.save(module, tmp_path / "x.t7")
    data = (tmp_path / "x.t7").read_bytes()
    name = data.index(b"nn.GPU") + len("nn.GPU")
    assert int.from_bytes(data[name : name + 4], "little") == 3  # a table of two entries
    assert int.from_bytes(data[name + 8 : name + 12], "little") == 2
    assert b"torch.DoubleTensor" in data[name : name + 60]
    again = t7.load(tmp_path / "x.t7")
    assert isinstance(again.get(0), nn.GPU)
    assert_close(again.forward(ROWS), module.forward(ROWS), "output", 0)


def test_no_state_of_torch7s_methods_stays_in_a_loaded_layer(tmp_path: Path) -> None:
    t7.save(nn.Sequencer(nn.RecLSTM(3, 2)), tmp_path / "x.t7")
    loaded = t7.load(tmp_path / "x.t7")
    for part in loaded.listModules():
        assert not {"step", "seqlen", "rho", "outputs"} & set(vars(part))


def test_layers_that_draw_come_back_with_the_same_draws(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Dropout(0.5), nn.RReLU())
    t7.save(module, tmp_path / "x.t7")
    again = t7.load(tmp_path / "x.t7")
    outputs = []
    for model in (module, again):
        manual_seed(3)
        outputs.append(model.forward(ROWS).numpy().copy())
    assert np.array_equal(*outputs)


# Fields that are not what a class needs ----------------------------------------------------------


def normed() -> nn.Module:
    return nn.WeightNorm(nn.SpatialConvolution(2, 3, 3, 3))


def unpooling() -> nn.Module:
    return nn.SpatialMaxUnpooling(nn.SpatialMaxPooling(2, 2, 2, 2))


def graph() -> nn.Module:
    first = nn.node(nn.Linear(3, 2))
    second = nn.node(nn.Linear(3, 2))
    return nn.gModule([first, second], [nn.CAddTable()([first, second])])


LONG = np.array([3.0, 2.0])
MALFORMED: dict[str, tuple[Any, str, Any, str]] = {
    "no weight for its sizes": (
        lambda: nn.SpatialConvolution(2, 3, 3, 3),
        "weight",
        np.zeros((3, 17)),
        r"a weight for \(3, 2, 3, 3\)",
    ),
    "a weight that is a text": (lambda: nn.Linear(3, 2), "weight", "w", "a tensor called weight"),
    "a convolution of a text": (
        lambda: nn.SpatialConvolutionMM(2, 3, 3, 3),
        "weight",
        "w",
        "a tensor called weight",
    ),
    "modules that are none": (nn.Sequential, "modules", 1, "a list of modules"),
    "sizes that are a text": (lambda: nn.View(3, 2), "size", "3x2", "sizes called size"),
    "no sizes": (lambda: nn.View(3, 2), "size", None, "at most one -1, found None"),
    "two unknown sizes": (lambda: nn.View(3, 2), "size", -np.ones(2), "at most one -1"),
    "a negative size": (lambda: nn.Reshape(3, 2), "size", -np.ones(2), "sizes"),
    "an eps that is none": (
        lambda: nn.IndexLinear(3, 2),
        "offset",
        "none",
        "a number called offset",
    ),
    "no pooling": (unpooling, "pooling", IDENTITY, "a pooling module called pooling"),
    "an axis that is none": (normed, "outputDim", 9, "a dimension of them"),
    "other sizes": (normed, "v", np.zeros((3, 4)), "v and g for a weight"),
    "two modules": (normed, "modules", [IDENTITY, IDENTITY], "a list of one module"),
    "no module": (normed, "modules", [1], "a module"),
    "no v": (normed, "v", 1, "a tensor called v"),
    "a dimension that is a text": (lambda: nn.Sum(1), "dimension", "x", "a whole number"),
    "dimension 0": (lambda: nn.Sum(1), "dimension", 0, "counts from 1"),
    "graph: no modules": (graph, "modules", 1, "a list of modules"),
    "graph: no inputs": (graph, "nInputs", 0, "a number called nInputs"),
    "graph: no nodes": (graph, "forwardnodes", 1, "a list of nodes"),
    "graph: a node that is none": (graph, "forwardnodes[2]", 1, "a node of a graph"),
    "graph: no parents": (graph, "forwardnodes[5].data.mapindex", [], "takes a value"),
    "graph: parents that are none": (graph, "forwardnodes[5].data.mapindex", 1, "mapindex"),
    "graph: a place before the first": (
        graph,
        "forwardnodes[3].data.selectindex",
        0,
        "a place in a list, from 1",
    ),
    "graph: a place after the last": (graph, "forwardnodes[3].data.selectindex", 3, "2 inputs"),
    "graph: a module of no list": (
        graph,
        "forwardnodes[5].data.module",
        IDENTITY,
        "one of the modules",
    ),
    "graph: no output": (graph, "outnode.data.mapindex", [], "an output"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_fields_that_a_class_can_not_use_are_refused_with_their_place(
    name: str, tmp_path: Path
) -> None:
    make, path, value, message = MALFORMED[name]
    data = changed(saved(make(), tmp_path), path, value)
    (tmp_path / "bad.t7").write_bytes(data)
    with pytest.raises(FormatError, match=rf"bad\.t7, byte 8, at root: .*{message}"):
        t7.load(tmp_path / "bad.t7")


def test_old_convolutions_have_matrices_and_one_padding(tmp_path: Path) -> None:
    x = np.sin(np.arange(98.0)).reshape(2, 7, 7)
    module = nn.SpatialConvolution(2, 3, 3, 3, 1, 1, 2, 2).double()
    root = saved(module, tmp_path)
    root.fields["padding"] = root.fields.pop("padW")
    del root.fields["padH"]
    root.fields["weight"] = root["weight"].reshape(3, -1)
    assert_close(t7.load(bytes_of(root)).forward(x), module.forward(x), "output", 0)


@pytest.mark.parametrize("kind", ["SpatialConvolution", "SpatialConvolutionMM"])
def test_a_normed_convolution_comes_back(kind: str, tmp_path: Path) -> None:
    x = np.sin(np.arange(98.0)).reshape(2, 7, 7)
    module = nn.WeightNorm(getattr(nn, kind)(2, 3, 3, 3)).double()
    root = saved(module, tmp_path)
    assert_close(t7.load(tmp_path / "x.t7").forward(x), module.forward(x), "output", 1e-14)
    assert "weight" not in root["modules"][1].fields  # Torch7 makes it from v and g
    root["modules"][1].fields["weight"] = np.zeros(54)  # as files of its first version have it
    assert_close(t7.load(bytes_of(root)).forward(x), module.forward(x), "output", 1e-14)


def test_a_normed_layer_without_bias_comes_back(tmp_path: Path) -> None:
    module = nn.WeightNorm(nn.Linear(3, 2, False)).double()
    assert "bias" not in saved(module, tmp_path).fields
    assert_close(t7.load(tmp_path / "x.t7").forward(ROWS), module.forward(ROWS), "output", 1e-14)


def test_a_node_that_is_taken_twice_has_one_edge_of_each_number(tmp_path: Path) -> None:
    first = nn.node(nn.Linear(3, 2))
    module = nn.gModule([first], [nn.CAddTable()([first, first])]).double()
    t7.save(module, tmp_path / "x.t7")
    assert_close(t7.load(tmp_path / "x.t7").forward(ROWS), module.forward(ROWS), "output", 0)


def test_sizes_may_be_a_tensor(tmp_path: Path) -> None:
    data = changed(saved(nn.View(3, 2), tmp_path), "size", LONG)
    assert t7.load(data).size == (3, 2)


def test_a_constant_array_is_added_by_what_comes_back(tmp_path: Path) -> None:
    module = nn.AddConstant(np.arange(3.0)).double()
    t7.save(module, tmp_path / "x.t7")
    assert_close(t7.load(tmp_path / "x.t7").forward(ROWS), module.forward(ROWS), "output", 0)


def test_a_unpooling_comes_back(tmp_path: Path) -> None:
    module = unpooling()
    t7.save(nn.Sequential(module.pooling, module), tmp_path / "x.t7")
    again = t7.load(tmp_path / "x.t7")
    assert again.get(1).pooling is again.get(0)
    x = np.random.default_rng(0).normal(size=(1, 4, 4)).astype(np.float32)
    assert np.count_nonzero(again.forward(x).numpy()) == 4


class Own(nn.Module):
    """A user's class that says what its fields are."""

    counts: ClassVar = {"places": "index", "input": ("index", None)}

    def __init__(self) -> None:
        self.places, self.sizes, self.input = [0, 1], (2, 3), None

    def updateOutput(self, x: Any) -> Any:
        return x


class Spelled(Own):
    """One that translates by itself."""

    @classmethod
    def from_torch7(cls, fields: Any, version: int) -> dict[str, Any]:
        return {"places": [n - 1 for n in fields["places"]], "version": version}

    def to_torch7(self) -> dict[str, Any]:
        return {"places": [n + 1 for n in self.places]}


def test_a_class_of_ones_own_may_translate_its_fields(tmp_path: Path) -> None:
    own = {"my.Own": Own, "my.Spelled": Spelled}
    t7.save([Own(), Spelled().evaluate()], tmp_path / "x.t7", classes=own)
    first, second = t7.objects(tmp_path / "x.t7").as_list()
    assert first["places"].as_list() == second["places"].as_list() == [1, 2]
    first.fields["sizes"] = Storage(np.array([4, 5]))
    first.fields["input"] = 1
    first.fields["forward"] = 1  # no field of this name replaces a method
    data = bytes_of([first, second])
    a, b = t7.load(data, classes=own)
    assert (a.places, a.sizes, a.input, b.places, b.version) == ([0, 1], (4, 5), 1, [0, 1], 1)
    assert callable(a.forward)
    assert (a.train, b.train) == (True, False)
    del second.fields["places"]
    with pytest.raises(FormatError, match=r"at root\[2\]: fields of a my.Spelled: KeyError"):
        t7.load(bytes_of([first, second]), classes=own)


def test_an_instance_without_fields_stays_what_it_is() -> None:
    with pytest.warns(UnknownClassWarning, match=r"nn\.Linear"):
        found = t7.load(bytes_of(TorchObject("nn.Linear", 1)))
    assert isinstance(found, TorchObject)
    assert found.fields == 1


def test_an_attribute_that_torch7_has_nothing_for_is_named(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Tanh())
    for bad in (lambda x: x, [{"deep": len}]):
        model.get(0).callback = bad
        with pytest.raises(UnsupportedError, match=r"root\.modules\[0\]\.callback: an attribute"):
            t7.save(model, tmp_path / "x.t7")


def test_a_profile_from_a_file_counts_from_zero(tmp_path: Path) -> None:
    t7.save(nn.Profile(nn.Linear(3, 2)), tmp_path / "m.t7")
    loaded = t7.load(tmp_path / "m.t7")
    assert loaded.numFwds == 0
    loaded.forward(np.ones((1, 3), np.float32))
    assert loaded.numFwds == 1
