"""What a Torch7 file may hold: shared weights, clones, twins, replicas, functions."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch7_functions import MARK, bytes_of, copy_of_one_type, with_functions

from tapegrad import nn
from tapegrad.nn.formats import (
    FormatError,
    Limits,
    SkippedFunctionWarning,
    TruncatedError,
    UnsafeError,
    UnsupportedError,
)
from tapegrad.nn.formats import torch7 as t7
from tapegrad.nn.formats.torch7 import Storage, Table, TorchObject

ROWS = np.random.default_rng(0).normal(size=(4, 3))
STEPS = np.random.default_rng(1).normal(size=(5, 4, 3))


def saved(module: Any, path: Path) -> Any:
    """The objects in a file of a module."""
    t7.save(module, path / "x.t7")
    return t7.objects(path / "x.t7")


# Sharing -----------------------------------------------------------------------------------------


def test_weights_shared_by_two_layers_are_shared_by_two_parameters_of_the_file(
    tmp_path: Path,
) -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.share(first, "weight", "bias", "gradWeight", "gradBias")
    model = nn.Sequential(first, nn.Tanh(), second).double()
    t7.save(model, tmp_path / "x.t7")
    again = t7.load(tmp_path / "x.t7")
    assert len(again.parameters()[0]) == len(model.parameters()[0]) == 4
    for name in ("weight", "bias", "gradWeight", "gradBias"):
        arrays = [getattr(again.get(i), name).numpy() for i in (0, 2)]
        assert np.shares_memory(*arrays), name
    for one in (model, again):
        one.zeroGradParameters()
        one.backward(ROWS, one.forward(ROWS).numpy())
        one.updateParameters(0.1)
    assert np.array_equal(model.get(0).weight.numpy(), again.get(0).weight.numpy())


def test_what_is_shared_stays_so_when_it_is_written_in_another_type(tmp_path: Path) -> None:
    """A flat buffer is one storage in the file, in the type of the modules."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)).double()
    model.getParameters()
    t7.save(model, tmp_path / "x.t7")
    first = t7.load(tmp_path / "x.t7").get(0)
    assert first.weight.numpy().base is first.bias.numpy().base
    constant = np.arange(3.0)
    both = nn.Sequential(nn.AddConstant(constant), nn.AddConstant(constant))
    for layer in both.modules:
        layer.constant_tensor._bare = constant
    root = saved(both, tmp_path)
    arrays = [root["modules"][i]["constant_scalar"] for i in (1, 2)]
    assert arrays[0].dtype == np.float32
    assert np.shares_memory(*arrays)


def test_one_parameter_of_two_layers_is_one_again(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model.get(1).weight = model.get(0).weight
    t7.save(model, tmp_path / "x.t7")
    again = t7.load(tmp_path / "x.t7")
    assert again.get(1).weight is again.get(0).weight


def test_the_clones_of_a_map_table_are_one_set_of_parameters(tmp_path: Path) -> None:
    model = nn.MapTable(nn.Linear(3, 2)).double()
    model.forward([ROWS] * 3)
    root = saved(model, tmp_path)
    root["modules"][2] = saved(nn.Linear(3, 2).double(), tmp_path)
    again = t7.load(bytes_of(root))
    assert len(again.parameters()[0]) == 2
    assert np.array_equal(again.forward([ROWS])[0].numpy(), model.forward([ROWS])[0].numpy())
    root.fields["shared"] = False
    assert len(t7.load(bytes_of(root)).parameters()[0]) == 4


def test_parameters_of_a_weighted_euclidean_keep_their_order(tmp_path: Path) -> None:
    t7.save(nn.WeightedEuclidean(3, 2), tmp_path / "x.t7")
    names = [name for name, _ in t7.load(tmp_path / "x.t7").named_parameters()]
    assert names == ["weight", "diagCov"]


# Recurrent layers --------------------------------------------------------------------------------


def test_a_lookup_rnn_may_have_a_table_with_padding(tmp_path: Path) -> None:
    module = nn.Sequencer(nn.LookupRNN(4, 2)).double()
    root = saved(module, tmp_path)
    table = root["modules"][1]["modules"][1]["modules"][1]["modules"][1]
    weight = table["weight"]
    table.class_name = "nn.LookupTableMaskZero"
    table.fields["weight"] = np.concatenate([np.full((1, 2), np.nan), weight])
    table.fields["gradWeight"] = np.zeros((5, 2))
    again = t7.load(bytes_of(root))
    x = np.array([[0, 3], [2, 1]])
    assert np.array_equal(again.forward(x).numpy(), module.forward(x).numpy())
    padded = again.forward(np.array([[0], [-1]])).numpy()
    linear, transfer = again.modules[0].modules
    assert np.array_equal(padded[1], transfer(linear(padded[0])).numpy())
    back = saved(again, tmp_path)["modules"][1]["modules"][1]["modules"][1]["modules"][1]
    assert back.class_name == "nn.LookupTableMaskZero"
    assert np.array_equal(back["weight"], table["weight"], equal_nan=True)


def test_a_recurrence_runs_any_module(tmp_path: Path) -> None:
    step = nn.Sequential(nn.JoinTable(0, 1), nn.Linear(5, 2), nn.Tanh())
    module = nn.Sequencer(nn.Recurrence(step, 2, 1)).double()
    root = saved(module, tmp_path)["modules"][1]
    assert root["outputSize"].as_list() == [2]
    assert root["sharedClones"][1] is root["modules"][1]
    again = t7.load(tmp_path / "x.t7")
    assert np.array_equal(again.forward(STEPS).numpy(), module.forward(STEPS).numpy())
    assert repr(again) == repr(module)
    root.fields["outputSize"] = Storage(np.array([2]), "torch.LongStorage")
    assert t7.load(bytes_of(root)).outputSize == [2]
    for bad in ("2", Table(), [0], [[2], 3]):
        root.fields["outputSize"] = bad
        with pytest.raises(FormatError, match="sizes called outputSize"):
            t7.load(bytes_of(root))


def test_element_researchs_names_are_read(tmp_path: Path) -> None:
    module = nn.SeqGRU(3, 2).double()
    root = saved(module, tmp_path)
    for new, old in (("inputsize", "inputSize"), ("outputsize", "outputSize")):
        root.fields[old] = root.fields.pop(new)
    root.fields.update({"batchfirst": False, "seqLength": 1, "miniBatch": 1})
    del root.fields["v2"]
    again = t7.load(bytes_of(root))
    assert np.array_equal(again.forward(STEPS).numpy(), module.forward(STEPS).numpy())
    assert not {"batchfirst", "seqLength", "miniBatch", "inputSize"} & set(vars(again))
    root.fields["batchfirst"] = True
    with pytest.raises(UnsupportedError, match="batchfirst"):
        t7.load(bytes_of(root))
    repeater = nn.Repeater(nn.RecGRU(3, 2), 4).double()
    root = saved(repeater, tmp_path)
    root.fields["nStep"] = root.fields.pop("seqlen")
    root.fields["rnn"] = root.fields.pop("module")
    again = t7.load(bytes_of(root))
    assert "nStep" not in vars(again)
    for found, wanted in zip(again.forward(ROWS), repeater.forward(ROWS), strict=True):
        assert np.array_equal(found.numpy(), wanted.numpy())
    root.fields["nStep"] = 0
    with pytest.raises(FormatError, match="steps called seqlen"):
        t7.load(bytes_of(root))


def test_a_mask_zero_without_a_mask_says_so(tmp_path: Path) -> None:
    t7.save(nn.MaskZero(nn.Linear(3, 2)).double(), tmp_path / "x.t7")
    again = t7.load(tmp_path / "x.t7")
    with pytest.raises(ValueError, match="setZeroMask must be given"):
        again.forward(ROWS)
    assert again.setZeroMask(False).forward(ROWS).shape == (4, 2)


# Other packages ----------------------------------------------------------------------------------


def as_cudnn(root: Any) -> Any:
    """The same objects with cudnn's classes where there are any."""
    pending = [root]
    while pending:
        item = pending.pop()
        if isinstance(item, TorchObject):
            if item.class_name not in {"nn.Sequential", "nn.View", "nn.Linear"}:
                item.class_name = item.class_name.replace("nn.", "cudnn.")
            pending.append(item.fields)
        elif isinstance(item, Table):
            pending.extend(item.values())
    return root


def test_cudnns_classes_load_as_their_twins(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    model = nn.Sequential(
        nn.SpatialConvolution(3, 4, 3, 3),
        nn.SpatialBatchNormalization(4),
        nn.ReLU(True),
        nn.SpatialMaxPooling(2, 2, 2, 2),
        nn.SpatialAveragePooling(2, 2, 1, 1, 1, 1),
        nn.SpatialCrossMapLRN(3),
        nn.Dropout(0.5),
        nn.View(-1).setNumInputDims(3),
        nn.Linear(4 * 16, 3),
        nn.LogSoftMax(),
    ).double()
    root = as_cudnn(saved(model.evaluate(), tmp_path))
    root["modules"][1].fields.update({"groups": 1, "fmode": 1})
    root["modules"][3].fields["mode"] = "CUDNN_ACTIVATION_RELU"
    for name in ("v2", "noise"):
        del root["modules"][7].fields[name]
    pooling = root["modules"][5].fields
    del pooling["count_include_pad"], pooling["divide"]
    pooling["mode"] = "CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING"
    again = t7.load(bytes_of(root), strict=True)
    assert repr(again) == repr(model)
    assert np.array_equal(again.forward(x).numpy(), model.forward(x).numpy())
    pooling["mode"] = "CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING"
    model.get(4).setCountExcludePad()
    assert np.array_equal(t7.load(bytes_of(root)).forward(x).numpy(), model.forward(x).numpy())
    root["modules"][1].fields["groups"] = 2
    with pytest.raises(UnsupportedError, match=r"modules\[1\]: .*of one group"):
        t7.load(bytes_of(root))


def test_a_temporal_convolution_of_cudnn_has_four_axes(tmp_path: Path) -> None:
    module = nn.TemporalConvolution(3, 2, 2).double()
    root = as_cudnn(saved(module, tmp_path))
    for name in ("weight", "gradWeight"):
        root.fields[name] = root[name].reshape(2, 1, 2, 3)
    assert np.array_equal(t7.load(bytes_of(root)).forward(ROWS).numpy(), module.forward(ROWS))


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("mode", ["binary", "ascii"])
def test_a_model_of_several_gpus_is_its_first_replica(
    version: int, mode: Any, tmp_path: Path
) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double()
    replicas = Table({1: saved(model, tmp_path), 2: saved(model, tmp_path)})
    basic = TorchObject("nn.DataParallelTable.Basic", Table())
    fields = Table({"modules": replicas, "gpuAssignments": [1, 2], "dimension": 1, "impl": basic})
    several = TorchObject("nn.DataParallelTable", fields, version)
    basic.fields["owner"] = several
    checkpoint = t7.load(bytes_of([several, several], mode), strict=True)
    assert isinstance(checkpoint[0], nn.Sequential)
    assert checkpoint[0] is checkpoint[1]
    assert np.array_equal(checkpoint[0].forward(ROWS).numpy(), model.forward(ROWS).numpy())
    inside = saved(nn.Sequential(nn.Identity()), tmp_path)
    inside["modules"][1] = several
    assert repr(t7.load(bytes_of(inside)).get(0)) == repr(model)


def test_replicas_that_are_none_are_refused() -> None:
    several = TorchObject("nn.DataParallelTable", Table({"modules": Table()}), 1)
    with pytest.raises(FormatError, match=r"modules in a nn\.DataParallelTable"):
        t7.load(bytes_of(several))
    several.fields["modules"][1] = several
    with pytest.raises(FormatError, match="itself"):
        t7.load(bytes_of(several))


# Functions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["binary", "ascii"])
def test_a_copy_of_one_type_is_an_identity_whose_functions_are_not_read(
    mode: Any, tmp_path: Path
) -> None:
    root = saved(nn.Sequential(nn.Linear(3, 2), nn.Identity()).double(), tmp_path)
    root["modules"][2] = copy_of_one_type()
    data = with_functions(root, mode)
    with pytest.warns(SkippedFunctionWarning, match=r"root\.modules\[2\].*hand on"):
        model = t7.load(data)
    assert isinstance(model.get(1), nn.Copy)
    assert np.array_equal(model.forward(ROWS).numpy(), model.get(0).forward(ROWS).numpy())
    assert "updateOutput" not in vars(model.get(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            repr(t7.objects(data)["modules"][2]["updateOutput"]) == "a function that was not read"
        )


@pytest.mark.parametrize("mode", ["binary", "ascii"])
@pytest.mark.parametrize(
    "change",
    [
        lambda copy: setattr(copy, "class_name", "nn.Linear"),
        lambda copy: copy.fields.update({"clearState": MARK}),
        lambda copy: copy.fields.update({"updateOutput": Table({"updateOutput": MARK})}),
    ],
    ids=["another class", "another method", "inside a table"],
)
def test_any_other_function_is_refused(mode: Any, change: Any) -> None:
    copy = copy_of_one_type()
    change(copy)
    with pytest.raises(UnsafeError, match="bytecode"):
        t7.load(with_functions(copy, mode))


def test_a_function_longer_than_the_file_is_an_error() -> None:
    data = with_functions(copy_of_one_type())
    at = data.index(b"\x1bLua") - 4
    with pytest.raises(TruncatedError, match="a function"):
        t7.load(data[:at] + (2**30).to_bytes(4, "little") + data[at + 4 :])
    for end in range(0, len(data) - 1, 3):
        with pytest.raises(FormatError):
            t7.load(data[:end])
    with pytest.raises(FormatError, match="at most"):
        t7.load(data, limits=Limits(max_nodes=3))


def test_an_index_of_a_function_stands_for_nothing_else() -> None:
    root = Table({1: copy_of_one_type(), 2: Table({"x": 1})})
    data = bytearray(with_functions(root))
    index = int.from_bytes(data[data.index(b"\x1bLua") - 8 :][:4], "little")
    at = data.rindex((3).to_bytes(4, "little"), 0, data.rindex(b"x"))
    data[at + 4 : at + 8] = index.to_bytes(4, "little")
    with pytest.raises(FormatError):
        t7.load(bytes(data))


def test_a_copy_to_another_type_keeps_it(tmp_path: Path) -> None:
    module = nn.Copy("torch.DoubleTensor", "torch.FloatTensor").double()
    root = saved(module, tmp_path)
    assert (root["gradInput"].dtype, root["output"].dtype) == (np.float64, np.float32)
    assert t7.load(tmp_path / "x.t7").forward(ROWS).dtype == np.float32
    again = saved(nn.Copy().double(), tmp_path)
    assert (again["gradInput"].dtype, again["output"].dtype) == (np.float64, np.float64)
    assert t7.load(tmp_path / "x.t7").outtype is None


def test_a_timer_has_no_fields(tmp_path: Path) -> None:
    root = saved(nn.Profile(nn.Linear(3, 2)), tmp_path)
    root.fields["timer"] = TorchObject("torch.Timer")
    for mode in ("binary", "ascii"):
        again = t7.load(bytes_of(root, mode), strict=True)
        assert again.forward(ROWS.astype(np.float32)).shape == (4, 2)
