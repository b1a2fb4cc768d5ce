"""BigDL's files: every layer that BigDL has, shared memory, old files, and files of strangers."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bigdl_constructors import OTHERWISE, build, constructor_names
from bigdl_models import MODELS
from test_bigdl_layers import LAYER_CASES, LAYERS, numbered

from tapegrad import nn
from tapegrad.nn.formats import (
    FormatError,
    LimitError,
    Limits,
    TruncatedError,
    UnsupportedError,
    bigdl,
)
from tapegrad.nn.formats.bigdl.attributes import array_attr, attr
from tapegrad.nn.formats.bigdl.fields import DATA_TYPE, SCHEMA
from tapegrad.nn.formats.bigdl.files import entries, records
from tapegrad.nn.formats.bigdl.reasons import NOT_WRITTEN
from tapegrad.nn.formats.bigdl.showing import describe
from tapegrad.nn.formats.bigdl.weight_file import read_storages

NAME = "com.intel.analytics.bigdl.dllib.nn."


def written(module: nn.Module) -> bytes:
    """The bytes of a model's file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.bigdl"
        bigdl.save(module, path)
        return path.read_bytes()


def arrays(module: nn.Module) -> list[np.ndarray]:
    found = [*module.named_parameters(), *module.named_buffers()]
    return [tensor.numpy() for _, tensor in found]


def state(module: Any) -> dict[str, Any]:
    """Settings of a module, with what its class says where it says nothing itself."""
    names = {name for name in vars(module) if not name.startswith("_")} - {"modules"}
    return {
        name: value
        for name in names
        if isinstance(value := getattr(module, name), (int, float, str, bool, tuple, type(None)))
    }


# Layers -------------------------------------------------------------------------------------------


def layers_of_bigdl() -> list[str]:
    """BigDL's layers that nn has, by BigDL's names."""
    found = []
    for name in constructor_names():
        cls = getattr(nn, OTHERWISE.get(name, name))
        if not issubclass(cls, nn.Criterion):
            found.append(name)
    return found


@pytest.mark.parametrize("name", layers_of_bigdl())
def test_each_layer_of_bigdl_models_has_an_entry_or_a_reason(name: str) -> None:
    cls = getattr(nn, OTHERWISE.get(name, name))
    has = [entry for entry in entries().values() if entry.cls is cls]
    assert bool(has) != (name in NOT_WRITTEN), f"{name}: an entry, or a reason in reasons.py"


def test_a_reason_is_about_a_class_of_ours() -> None:
    for name, reason in NOT_WRITTEN.items():
        assert hasattr(nn, name), name
        assert len(reason) > 10


CASES = [(n, e, m) for n, e, m in LAYER_CASES if e.partition("[")[0] not in NOT_WRITTEN]


@pytest.mark.parametrize(("name", "expression", "mode"), CASES, ids=[n for n, *_ in CASES])
def test_a_layer_of_bigdl_models_is_read_as_it_was_written(
    name: str, expression: str, mode: str
) -> None:
    module: Any = build(expression)
    module.training() if mode == "train" else module.evaluate()
    again: Any = bigdl.load(written(module))
    assert type(again) is type(module)
    assert again.train == module.train
    assert str(again) == str(module)
    for ours, theirs in zip(arrays(again), arrays(module), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    before, after = state(module), state(again)
    for key in before.keys() & after.keys():
        same = (before[key], after[key])
        assert before[key] == after[key] or same == (-1, None), f"{key}: {same}"
    if name in LAYERS:  # the arrays have the sizes and the order that BigDL's have
        sizes = [list(array.shape) for array in numbered(LAYERS[name], "before_w_")]
        record = records(written(module))
        if "cmul" not in record.attr:
            assert [list(tensor.size) for tensor in record.parameters] == sizes


MORE = {
    "a BiRecurrent": lambda: nn.BiRecurrent(nn.JoinTable(2, 3)).add(nn.LSTMCell(3, 4)),
    "a BiRecurrent of halves": lambda: nn.BiRecurrent(None, None, True).add(nn.GRUCell(2, 4)),
    "a Recurrent that normalizes": lambda: nn.Recurrent({"eps": 1e-3}).add(nn.GRUCell(3, 4)),
    "a Recurrent with masks": lambda: nn.Recurrent(None, True).add(nn.RnnCell(3, 4, nn.ReLU())),
    "a cell without a bias": lambda: nn.Recurrent().add(nn.RnnCell(3, 4, None, False, False)),
    "cells above each other": lambda: nn.RecurrentDecoder(3).add(
        nn.MultiRNNCell([nn.LSTMCell(3, 3), nn.LSTMPeephole(3, 3)])
    ),
    "a ConvLSTM without peepholes": lambda: nn.Recurrent().add(
        nn.ConvLSTMPeephole(2, 3, 3, 3, withPeephole=False)
    ),
    "a ConvLSTM of volumes": lambda: nn.Recurrent().add(nn.ConvLSTMPeephole3D(2, 3, 3, 1)),
    "a cell with other functions": lambda: nn.Recurrent().add(
        nn.LSTMCell(3, 4, 0, nn.ReLU(), nn.HardSigmoid())
    ),
    "a time-distributed layer": lambda: nn.TimeDistributed(nn.Linear(3, 2), True),
    "channels last": lambda: nn.Sequential(
        nn.SpatialConvolution(4, 6, 3, 2, nGroup=2, format="NHWC", withBias=False),
        nn.SpatialBatchNormalization(6, affine=False, format="NHWC"),
    ),
    "a separable layer, channels last": lambda: nn.SpatialSeparableConvolution(
        3, 4, 2, 3, 2, format="NHWC"
    ),
    "a local layer, channels last": lambda: nn.LocallyConnected2D(2, 5, 4, 3, 2, 2, format="NHWC"),
    "a convolution by a table": lambda: nn.SpatialConvolutionMap(nn.tables.oneToOne(3), 3, 2),
    "deconvolutions": lambda: nn.Sequential(
        nn.SpatialFullConvolution(4, 6, 3, 2, nGroup=2).noBias(),
        nn.VolumetricFullConvolution(4, 6, 3, 2, 1, nGroup=2),
    ),
    "SReLU, Maxout, Scale": lambda: nn.Sequential(
        nn.SReLU([3, 4]), nn.Maxout(4, 3, 2), nn.Scale(1, 3)
    ),
    "LookupTable": lambda: nn.LookupTable(5, 3, 1, 2.0, 1.0, False, True),
    "tables": lambda: nn.Concat(1, nn.MapTable(nn.Linear(3, 2)), nn.Bottle(nn.Linear(3, 2), 2, 2)),
    "64 bits": lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNormalization(2), nn.Tanh()).double(),
}


@pytest.mark.parametrize("name", MORE)
def test_more_bigdl_models_are_read_as_they_were_written(name: str) -> None:
    module = MORE[name]()
    again = bigdl.load(written(module))
    assert str(again) == str(module)
    assert again.type() == module.type()
    for ours, theirs in zip(arrays(again), arrays(module), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert written(again) == written(again)


CELLS = {
    "RnnCell": (nn.RnnCell(3, 4), 1),
    "LSTM": (nn.LSTMCell(3, 4), 2),
    "GRU": (nn.GRUCell(3, 4), 1),
    "LSTMPeephole": (nn.LSTMPeephole(3, 4), 2),
    "ConvLSTMPeephole": (nn.ConvLSTMPeephole(3, 4, 3, 3), 2),
}


@pytest.mark.extra
@pytest.mark.parametrize("name", CELLS)
def test_the_network_of_a_cell_in_bigdl_models_computes_its_step(name: str) -> None:
    """BigDL runs the network that the file has; here it gives what our cell does."""
    cell, states = CELLS[name]
    record = records(written(nn.Recurrent().add(cell)))
    root = SCHEMA.read(written(cell), "BigDLModule")
    inner = root.attr["cell"].bigDLModuleValue
    inner.attr["global_storage"] = root.attr["global_storage"]
    stream = io.BytesIO()
    SCHEMA.write(inner, stream)
    network = bigdl.load(stream.getvalue())
    rng = np.random.default_rng(0)
    shape = (2, 4, 5, 5) if "Conv" in name else (2, 4)
    x = rng.standard_normal((shape[0], 3, *shape[2:])).astype(np.float32)
    state = [rng.standard_normal(shape).astype(np.float32) for _ in range(states)]
    y, following = cell.forward([x, state if states > 1 else state[0]])
    part = x if "Conv" in name else cell.modules[0].forward(x).numpy()
    z, other = network.forward([part, state if states > 1 else state[0]])
    np.testing.assert_allclose(z.numpy(), y.numpy(), rtol=1e-5, atol=1e-6)
    pairs = zip(other, following, strict=True) if states > 1 else [(other, following)]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
    assert record.attr["topology"].bigDLModuleValue.attr["is_cell_module"].boolValue


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a class of ours": (lambda: nn.Sequential(nn.GELU()), r"root.modules\[0\].*a class of BigDL"),
    "Highway": (lambda: nn.Highway(3), "graph"),
    "dropout in a cell": (lambda: nn.Recurrent().add(nn.LSTMCell(3, 4, 0.5)), "without dropout"),
    "half a number": (lambda: nn.Clamp(-0.5, 1), "Clamp.minV: a whole number"),
    "an option": (lambda: nn.Sqrt(1e-3), "Sqrt.eps = 0"),
    "16 bits": (lambda: nn.Linear(3, 2).half(), "float32 or float64"),
    "a number of 33 bits": (lambda: nn.Narrow(0, 2**32), "32 bits"),
    "modules in modules": (lambda: deep(101), "100 deep"),
}


def deep(times: int) -> nn.Module:
    module: nn.Module = nn.Tanh()
    for _ in range(times):
        module = nn.Sequential(module)
    return module


@pytest.mark.parametrize("name", REFUSED)
def test_what_bigdl_models_can_not_hold_is_refused_before_a_file_is_there(
    name: str, tmp_path: Path
) -> None:
    make, text = REFUSED[name]
    with pytest.raises(UnsupportedError, match=text):
        make().saveModule(tmp_path / "model.bigdl")
    assert not list(tmp_path.iterdir())


# What a model is beside its layers ----------------------------------------------------------------


def test_bigdl_models_keep_names_modes_regularizers_and_their_texts() -> None:
    inner = nn.Linear(3, 2).setName("fc").setWRegularizer(nn.L1L2Regularizer(0.1, 0.2))
    inner.setBRegularizer(nn.L2Regularizer(0.3))
    model = nn.Sequential(inner, nn.Dropout(0.3).evaluate(), nn.Tanh())
    name = model.get(2).getName()
    again: Any = bigdl.load(written(model))
    assert [m.train for m in again.modules] == [True, False, True]
    assert (again.get(0).getName(), again.get(2).getName()) == ("fc", name)
    assert again.get(0)._regularizers == inner._regularizers
    cell = nn.LSTMCell(3, 4).setURegularizer(nn.L1Regularizer(0.5))
    again = bigdl.load(written(nn.Recurrent().add(cell)))
    assert again.getCell().modules[1]._regularizers == cell.modules[1]._regularizers


def test_memory_that_bigdl_models_share_is_shared_again() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    flat, _ = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).getParameters(), None
    del flat
    again: Any = bigdl.load(written(model))
    assert again.get(0).weight is again.get(1).weight
    storages = records(written(model)).attr["global_storage"].nameAttrListValue.attr
    assert len(storages) == 3
    views = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    whole = np.arange(12, dtype=np.float32)
    views.get(0).weight.rebind(whole[:9].reshape(3, 3))
    views.get(1).weight.rebind(whole[3:].reshape(3, 3))
    again = bigdl.load(written(views))
    again.get(0).weight.numpy()[1:] = 7
    np.testing.assert_array_equal(again.get(1).weight.numpy()[:2], 7)


def test_shared_storages_of_a_bigdl_model_are_one_memory() -> None:
    """Two tensors of one storage, as BigDL's `share` makes them."""
    model = nn.Sequential(nn.Linear(2, 2, False), nn.Linear(2, 2, False))
    root = SCHEMA.read(written(model), "BigDLModule")
    one, two = (child.parameters[0] for child in root.subModules)
    two.storage.id = one.storage.id
    again: Any = bigdl.load(bytes_of(root))
    again.get(0).weight.numpy()[...] = 5
    np.testing.assert_array_equal(again.get(1).weight.numpy(), 5)
    assert again.get(0).weight is not again.get(1).weight


def test_graphs_of_bigdl_models_keep_steps_splits_and_stops() -> None:
    a, b = nn.Input(), nn.Input()
    both = nn.ConcatTable(nn.Linear(3, 4), nn.Linear(3, 4)).inputs(a)
    left, right = both.split(2)
    total = nn.CAddTable().setName("sum").inputs(left, right, b)
    model = nn.Graph([a, b], [nn.Tanh().inputs(total), total])
    model.stopGradient("sum")
    again: Any = bigdl.load(written(model))
    x = [np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)]
    for ours, theirs in zip(again.forward(x), model.forward(x), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert len(again.stopped) == 1
    twice = nn.Tanh()
    node = nn.Input()
    shared = nn.Sequential(nn.Linear(3, 3))
    h = twice.inputs(shared.inputs(node))
    model = nn.Graph(node, nn.CAddTable().inputs(h, nn.Sigmoid().inputs(h)))
    again = bigdl.load(written(model))
    np.testing.assert_array_equal(again.forward(x[0]).numpy(), model.forward(x[0]).numpy())


def bytes_of(root: Any) -> bytes:
    stream = io.BytesIO()
    SCHEMA.write(root, stream)
    return stream.getvalue()


def tensor(values: Any, number: int, **changed: Any) -> Any:
    """A tensor with its entries beside it, as BigDL 0.5 wrote it."""
    values = np.asarray(values, np.float32)
    fields = {
        "datatype": DATA_TYPE["FLOAT"],
        "size": list(values.shape),
        "stride": [n // 4 for n in values.strides],
        "offset": 1,
        "dimension": values.ndim,
        "nElements": values.size,
        "id": number,
        "storage": SCHEMA.new(
            "TensorStorage", datatype=DATA_TYPE["FLOAT"], float_data=values.ravel(), id=number + 50
        ),
    }
    return SCHEMA.new("BigDLTensor", **{**fields, **changed})


def linear(**changed: Any) -> Any:
    """A Linear as BigDL 0.5 wrote it."""
    fields = {
        "moduleType": "com.intel.analytics.bigdl.nn.Linear",
        "attr": {
            "inputSize": attr("INT32", 2),
            "outputSize": attr("INT32", 3),
            "withBias": attr("BOOL", True),
        },
        "weight": tensor([[1, 2], [3, 4], [5, 6]], 1),
        "bias": tensor([7, 8, 9], 2),
        "version": "0.5.0",
    }
    return SCHEMA.new("BigDLModule", **{**fields, **changed})


def test_a_bigdl_model_of_0_5_has_its_weights_in_other_fields() -> None:
    model: Any = bigdl.load(bytes_of(linear()))
    assert not model.train
    np.testing.assert_array_equal(model.weight.numpy(), [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(model.forward(np.float32([[1, 1]])).numpy(), [[10, 15, 20]])


# Files of strangers -------------------------------------------------------------------------------

ATTACKS: dict[str, tuple[Any, type[FormatError], str]] = {
    "no module": (SCHEMA.new("BigDLModule"), FormatError, "a model of BigDL"),
    "a class that is not here": (
        linear(moduleType=NAME + "Exotic"),
        UnsupportedError,
        "at root<Exotic>: a class that is here.*Exotic",
    ),
    "a class of Java": (linear(moduleType="java.lang.Runtime"), UnsupportedError, "Runtime"),
    "no attribute": (linear(moduleType=NAME + "ELU", attr={}), FormatError, "attribute alpha"),
    "a text for a number": (
        linear(moduleType=NAME + "ELU", attr={"alpha": attr("STRING", "x")}),
        FormatError,
        "at root<ELU>.alpha: a number, found 'x'",
    ),
    "a size that a layer refuses": (
        linear(moduleType=NAME + "RecurrentDecoder", attr={"seqLength": attr("INT32", -1)}),
        FormatError,
        "RecurrentDecoder",
    ),
    "a view beyond its storage": (
        linear(weight=tensor(np.ones((3, 2)), 1, size=[3, 200])),
        FormatError,
        "a view of 6 entries, found entries 0 to 203",
    ),
    "an offset before its storage": (
        linear(weight=tensor(np.ones((3, 2)), 1, offset=0)),
        FormatError,
        "a view of 6 entries",
    ),
    "strides of 0 that are a bomb": (
        linear(weight=tensor(np.ones((3, 2)), 1, size=[2**20, 2**20], stride=[0, 0])),
        LimitError,
        "bytes that the file does not hold",
    ),
    "sizes without strides": (
        linear(weight=tensor(np.ones((3, 2)), 1, stride=[1])),
        FormatError,
        "as many strides",
    ),
    "more axes than NumPy has": (
        linear(weight=tensor([1], 1, size=[1] * 70, stride=[1] * 70)),
        LimitError,
        "32 sizes",
    ),
    "a storage that is not there": (
        linear(weight=tensor([1], 1, storage=SCHEMA.new("TensorStorage", id=9))),
        FormatError,
        "the entries of storage 9",
    ),
    "whole numbers for a weight": (
        linear(
            weight=tensor(
                [1],
                1,
                datatype=0,
                storage=SCHEMA.new("TensorStorage", int_data=np.int32([1]), id=4),
            )
        ),
        FormatError,
        "numbers with fractions",
    ),
    "a cell whose sizes are a bomb": (
        linear(
            moduleType=NAME + "LSTM",
            attr={"inputSize": attr("INT32", 2**30), "hiddenSize": attr("INT32", 2**30)},
        ),
        FormatError,
        "entries of arrays, found 9",
    ),
    "three arrays for a Linear": (
        linear(parameters=[tensor([1.0], k) for k in (1, 2, 3)]),
        FormatError,
        "1 to 2 arrays, found 3",
    ),
    "a graph with a loop": (
        linear(
            moduleType=NAME + "StaticGraph",
            attr={
                "inputNames": array_attr("STRING", ["a"]),
                "outputNames": array_attr("STRING", ["b"]),
            },
            subModules=[
                linear(name="a"),
                linear(name="b", preModules=["c"]),
                linear(name="c", preModules=["b"]),
            ],
        ),
        UnsupportedError,
        "without loops",
    ),
    "a graph without its node": (
        linear(
            moduleType=NAME + "StaticGraph",
            attr={
                "inputNames": array_attr("STRING", ["a"]),
                "outputNames": array_attr("STRING", ["b"]),
            },
        ),
        FormatError,
        "the name of a node",
    ),
    "two nodes of one name": (
        linear(moduleType=NAME + "StaticGraph", subModules=[linear(name="a"), linear(name="a")]),
        FormatError,
        "each node once",
    ),
    "a regularizer below 0": (
        linear(
            attr={
                "wRegularizer": attr(
                    "REGULARIZER", SCHEMA.new("Regularizer", regularData=[-1.0, 0.0])
                )
            }
        ),
        FormatError,
        "values that Linear takes",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_bigdl_model_of_a_stranger_is_an_error_with_its_place(name: str, tmp_path: Path) -> None:
    root, kind, text = ATTACKS[name]
    path = tmp_path / "attack.bigdl"
    path.write_bytes(bytes_of(root))
    with pytest.raises(kind, match=text) as caught:
        bigdl.load(path)
    assert caught.value.file == str(path)
    assert caught.value.path is not None


def test_the_first_bigdl_model_in_the_family_is_no_other_format() -> None:
    with pytest.raises(FormatError):
        bigdl.load(b"not a model at all")
    with pytest.raises(LimitError):
        bigdl.load(bytes_of(linear()), limits=Limits(max_bytes=10))
    with pytest.raises(ValueError, match="'refuse' or 'keep'"):
        bigdl.load(bytes_of(linear()), missing="other")  # type: ignore[arg-type]


@pytest.mark.extra
@pytest.mark.parametrize("name", ["mlp", "temporal", "graph_multi"])
def test_a_bigdl_model_that_is_cut_at_any_byte_is_an_error(name: str) -> None:
    data = (MODELS / name / "model.bigdl").read_bytes()
    whole = str(bigdl.load(data))
    kept = 0
    for size in range(len(data)):
        try:
            found = bigdl.load(data[:size])
        except FormatError:
            continue
        kept += 1  # a message has no mark at its end: what is cut off may be what nobody reads
        assert str(found) == whole
    assert kept < 20
    weights = (MODELS / name / "model_sep.bin").read_bytes()
    for size in range(len(weights)):
        with pytest.raises(FormatError):
            read_storages(weights[:size], Limits())


def separate(*storages: tuple[int, int, int, bytes], magic: int = 3721) -> bytes:
    body = struct.pack(">ii", magic, len(storages))
    for number, kind, size, data in storages:
        body += struct.pack(">iii", number, kind, size) + data
    return body + struct.pack(">i", 16) + hashlib.md5(body).digest()


WEIGHTS = {
    "another magic": (separate(magic=3722), FormatError, "3721"),
    "a size beyond the end": (separate((1, 0, 2**30, b"")), TruncatedError, "entries"),
    "a size below 0": (separate((1, 0, -1, b"")), TruncatedError, "entries"),
    "a type that is not there": (separate((1, 4, 0, b"")), FormatError, "a type of numbers"),
    "a storage twice": (separate((1, 0, 0, b""), (1, 0, 0, b"")), FormatError, "each storage once"),
    "more storages than bytes": (
        struct.pack(">ii", 3721, 2**30),
        TruncatedError,
        "storages",
    ),
    "another digest": (separate((1, 0, 1, bytes(4)))[:-1] + b"x", FormatError, "the digest"),
    "bytes behind the digest": (separate() + b"x", FormatError, "the end"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_beside_bigdl_models_are_checked(name: str) -> None:
    data, kind, text = WEIGHTS[name]
    with pytest.raises(kind, match=text):
        read_storages(data, Limits())


def test_a_bigdl_model_without_its_weights_says_what_it_needs() -> None:
    with pytest.raises(FormatError, match="weightPath"):
        bigdl.load(MODELS / "mlp" / "model_sep.bigdl")


def test_what_is_not_here_is_kept_and_written_again() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    root = SCHEMA.read(written(model), "BigDLModule")
    root.subModules[0].moduleType = NAME + "Exotic"
    root.subModules[0].attr["inner"] = attr("MODULE", linear())
    data = bytes_of(root)
    with pytest.raises(UnsupportedError, match=r"root<Sequential>.subModules\[0\]<Exotic>"):
        bigdl.load(data)
    kept: Any = bigdl.load(data, missing="keep")
    with pytest.raises(UnsupportedError, match="Exotic was kept"):
        kept.forward(np.ones((1, 2), np.float32))
    again = SCHEMA.read(written(kept), "BigDLModule")
    assert again.subModules[0].moduleType == NAME + "Exotic"
    again.subModules[0].moduleType = NAME + "Linear"
    loaded: Any = bigdl.load(bytes_of(again))
    np.testing.assert_array_equal(loaded.get(0).weight.numpy(), model.get(0).weight.numpy())


class Doubled(nn.Module):
    """y = 2x."""

    def updateOutput(self, x: Any) -> Any:
        return 2 * x


def test_bigdl_models_have_classes_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.bigdl"
    bigdl.save(nn.Sequential(Doubled()), path, classes={"org.Doubled": Doubled})
    assert records(path).subModules[0].moduleType == "org.Doubled"
    for classes in ([Doubled], {"org.Doubled": Doubled}):
        assert type(bigdl.load(path, classes=classes).get(0)) is Doubled
    with pytest.raises(UnsupportedError, match="Doubled"):
        bigdl.load(path)


# The methods --------------------------------------------------------------------------------------


def test_bigdl_model_methods_save_and_refuse_to_replace(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2).setName("fc"))
    path = tmp_path / "model.bigdl"
    assert model.saveModule(path) is model
    assert type(nn.load(path)) is nn.Sequential
    with pytest.raises(FileExistsError, match="overWrite=True"):
        model.saveModule(path)
    with pytest.raises(FileExistsError):
        model.saveModule(tmp_path / "other.bigdl", path)
    assert not (tmp_path / "other.bigdl").exists()
    model.saveModule(path, overWrite=True)
    model.save(path)  # by the ending
    model.saveDefinition(tmp_path / "model.prototxt")
    with pytest.raises(FileExistsError):
        model.saveDefinition(tmp_path / "model.prototxt")
    again: Any = bigdl.load_definition(tmp_path / "model.prototxt")
    model.saveWeights(tmp_path / "weights")
    again.loadWeights(tmp_path / "weights")
    np.testing.assert_array_equal(again.get(0).weight.numpy(), model.get(0).weight.numpy())


def test_java_tables_of_bigdl_weights_are_refused_by_their_name(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"\xac\xed\x00\x05sr\x00\x2dcom.intel.analytics.bigdl.utils.Table")
    with pytest.raises(UnsupportedError, match="saveModule"):
        nn.Linear(3, 2).loadWeights(path)


def test_a_bigdl_model_is_shown_without_being_built() -> None:
    lines = list(describe(MODELS / "lenet_graph" / "model.bigdl"))
    assert lines[0][2].startswith("StaticGraph")
    entries_ = sum(a.size for *_, found in lines for a in found.values())
    assert entries_ == sum(
        p.size for p in nn.load(MODELS / "lenet_graph" / "model.bigdl").parameters()[0]
    )


@pytest.mark.extra
@pytest.mark.skipif(sys.platform != "linux", reason="memory as Linux counts it")
def test_a_large_bigdl_model_needs_little_more_memory_than_its_file(tmp_path: Path) -> None:
    import subprocess

    model = nn.Sequential(*(nn.Linear(4096, 4096, False) for _ in range(3)))
    path = tmp_path / "large.bigdl"
    model.saveModule(path)
    size = path.stat().st_size
    code = (
        "import sys\n"
        "from tapegrad import nn\n"
        "from tapegrad.nn.formats import bigdl\n"
        "def kilobytes(name):\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith(name))\n"
        "def peak(call):\n"
        "    open('/proc/self/clear_refs', 'w').write('5')  # forget the peak so far\n"
        "    before = kilobytes('VmRSS')\n"
        "    result = call()\n"
        "    print(1024 * (kilobytes('VmHWM') - before))\n"
        "    return result\n"
        "model = peak(lambda: bigdl.load(sys.argv[1]))\n"
        "peak(lambda: model.saveModule(sys.argv[1] + '2'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    read, wrote = map(int, done.stdout.split())
    assert read <= 1.25 * size + 64_000_000, f"{read} bytes for a file of {size}"
    assert wrote <= 0.25 * size + 64_000_000
