"""What BigDL did, call by call, happens here too, or nn/methods/DIFFERENCES.md says what happens.

Each line of behaviours.txt and behaviours_rdd.txt has a translation (`same` or `differs`);
TAPEGRAD_BIGDL_RECORDINGS names another directory that holds the files.  What stands in rooms of its
own (data, validation methods, the formats of other systems) is translated in
bigdl_behaviours_of_rooms.py.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bigdl_behaviours_of_rooms as rooms
import numpy as np
import pytest
from bigdl_behaviours import TRANSLATIONS, Entry, arrays, differs, entries, same
from bigdl_recordings import require_cases

from tapegrad import nn, no_grad, ops, optim

PAGE = Path(nn.__file__).parent / "methods" / "DIFFERENCES.md"


def linear(n_in: int, n_out: int, name: str | None = None) -> nn.Linear:
    return nn.Linear(n_in, n_out).setName(name)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def filled(module: Any, weight: Any, bias: Any) -> Any:
    return module.setWeightsBias([np.array(weight, np.float32), np.array(bias, np.float32)])


def gradients(module: Any) -> list[np.ndarray]:
    """All gradients after one backward pass from ones."""
    module.zeroGradParameters()
    x = ones(1, 2)
    module.forward(x)
    module.backward(x, ones(1, 1))
    return gathered(module)


def gathered(module: Any) -> list[np.ndarray]:
    return [
        np.zeros(p.shape) if p.grad is None else p.grad.numpy()
        for _, p in module.named_parameters()
    ]


def values(parts: Any) -> list[np.ndarray]:
    return [part.detach().numpy() for part in parts]


def agree(found: list[np.ndarray], text: str) -> None:
    expected = arrays(text)
    assert [a.shape for a in found] == [a.shape for a in expected], text
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def refused(error: type[Exception], words: str, call: Callable[[], Any]) -> None:
    with pytest.raises(error, match=words):
        call()


# Names --------------------------------------------------------------------------------------------


@differs("names", "getName=", printed=True)
def name_of_an_unnamed_layer(text: str) -> None:
    postfix = re.match(r"Linear([0-9a-f]+) hasName=false toString=Linear\[(\w+)\]\(2 -> 2\)", text)
    assert postfix
    assert postfix[1] == postfix[2]
    layer = linear(2, 2)
    mine = re.fullmatch("Linear@([0-9a-f]{8})", layer.getName())
    assert mine
    assert layer.toString() == f"Linear[{mine[1]}](2 -> 2)"
    assert not layer.hasName()


@same("names", "setName same object: ", printed=True)
def set_name_returns_the_layer(text: str) -> None:
    layer = linear(2, 2)
    is_same = str(layer.setName("x") is layer).lower()
    assert text == f"{is_same} {layer.getName()} toString={layer.toString()}"


@same("names", "clone name: ", printed=True)
def copies_have_the_name(text: str) -> None:
    theirs = re.match(r"(x) ; unnamed clone keeps postfix: \((\w+),(\w+),(\w+)\)", text)
    assert theirs
    assert theirs[2] == theirs[3] == theirs[4]
    assert linear(2, 2, "x").cloneModule().getName() == theirs[1]
    layer = linear(2, 2)
    assert layer.getName() == layer.cloneModule().getName() == layer.clone(True).getName()


@same("names", "setName null")
def none_takes_the_name_away(text: str) -> None:
    assert str(linear(2, 2, "x").setName(None).getName() == "x").lower() == text


@same("names", "hasName after null")
def no_name_after_none(text: str) -> None:
    assert str(linear(2, 2, "x").setName(None).hasName()).lower() == text


def three(name: str | None = None) -> nn.Sequential:
    layers = (linear(2, 3, "a"), nn.Tanh().setName("t"), linear(3, 2, "a"))
    return nn.Sequential(*layers).setName(name)


@same("apply(name)", "apply missing")
def a_missing_name_is_none(text: str) -> None:
    assert str(three().apply("zz")) == text


@same("apply(name)", "apply dup")
def a_double_name_is_refused(text: str) -> None:
    refused(ValueError, r"'a'.*\[0\].*\[2\]", lambda: three().apply("a"))


@same("apply(name)", "apply t")
def apply_finds(text: str) -> None:
    assert f"Some({three().apply('t').toString()})" == text


@same("apply(name)", "apply own name")
def apply_finds_itself_first(text: str) -> None:
    assert f"Some({three('t').apply('t').toString()})" == text


@differs("duplicate module add", "add same twice")
def one_module_twice(text: str) -> None:
    assert "duplicate" in text
    layer = linear(2, 2)
    assert nn.Sequential(layer).add(layer).size() == 2


# Lists of arrays ----------------------------------------------------------------------------------

LISTS = "parameters / getWeightsBias null"


@differs(LISTS, "Tanh.parameters=", printed=True)
def a_layer_without_parameters(text: str) -> None:
    assert text == "null getWeightsBias=null getParametersTable=null getExtraParameter=null"
    layer = nn.Tanh()
    assert layer.parameters() == ([], [])
    assert layer.getWeightsBias() is layer.getParametersTable() is layer.getExtraParameter() is None


@same(LISTS, "Sequential(Tanh).parameters lengths=", printed=True)
def a_container_without_parameters(text: str) -> None:
    box = nn.Sequential(nn.Tanh())
    table = "{ }" if box.getParametersTable() == {} else "full"
    mine = f"({len(box.parameters()[0])},{len(box.parameters()[1])}) table= {table}"
    mine += f" getExtraParameter.len={len(box.getExtraParameter())}"
    assert re.sub(r"\{\s*\}", "{ }", text) == mine


@same(LISTS, "Linear gradWeight before zeroGrad: size=", printed=True)
def gradients_are_there(text: str) -> None:
    assert "x".join(map(str, linear(2, 3).gradWeight.shape)) == text


@same(LISTS, "setWeightsBias wrong count")
def another_count(text: str) -> None:
    refused(ValueError, "2 arrays.*given 1", lambda: linear(2, 3).setWeightsBias([ones(3, 2)]))


@differs(LISTS, "setWeightsBias wrong shape same count")
def another_shape(text: str) -> None:
    assert arrays(text)[0].shape == (3, 2)
    layer = linear(2, 3)
    before = layer.get_weights()
    refused(ValueError, r"shape \(2, 3\)", lambda: layer.setWeightsBias([ones(2, 3), ones(3)]))
    assert all(map(np.array_equal, before, layer.get_weights()))


@same(LISTS, "setWeightsBias wrong elements")
def another_number_of_entries(text: str) -> None:
    refused(ValueError, "shape", lambda: linear(2, 3).setWeightsBias([ones(2, 2), ones(3)]))


@same(LISTS, "setWeightsBias on Tanh")
def no_weights_to_set(text: str) -> None:
    refused(ValueError, "no parameters", lambda: nn.Tanh().setWeightsBias([]))


@same(LISTS, "getWeightsBias is live (no copy)")
def weights_are_live(text: str) -> None:
    layer = linear(1, 1)
    with no_grad():
        ops.assign(layer.getWeightsBias()[0].detach(), 7)
    agree(values([layer.weight]), text)


@same(LISTS, "setWeightsBias copies")
def weights_are_copied(text: str) -> None:
    layer, weight = linear(1, 1), 3 * ones(1, 1)
    layer.setWeightsBias([weight, ones(1)])
    weight[:] = 9
    agree(values([layer.weight]), text)


def bn() -> Any:
    return nn.SpatialBatchNormalization(2)


@same("extra parameters", "SBN extra ", printed=True)
def running_statistics(text: str) -> None:
    agree(values(bn().getExtraParameter()), text)


@same("extra parameters", "setExtra wrong len")
def another_count_of_buffers(text: str) -> None:
    refused(ValueError, "2 arrays", lambda: bn().setExtraParameter([ones(2)]))


@same("extra parameters", "setExtra null")
def none_for_buffers(text: str) -> None:
    refused(ValueError, "was given None", lambda: bn().setExtraParameter(None))


@same("extra parameters", "setExtra on Linear non-null")
def buffers_for_none(text: str) -> None:
    refused(ValueError, "no buffers", lambda: linear(2, 2).setExtraParameter([ones(2)]))


@same("extra parameters", "setExtra on Linear null")
def none_for_none(text: str) -> None:
    assert type(linear(2, 2).setExtraParameter(None)).__name__ == text


@same("extra parameters", "setExtra ok")
def buffers_are_set(text: str) -> None:
    agree(values(bn().setExtraParameter([5 * ones(2), 6 * ones(2)]).getExtraParameter()), text)


# Factors and freezing -----------------------------------------------------------------------------

SCALE = "scale / freeze"


def scales(layer: Any) -> str:
    return f"{layer.getScaleW()} {layer.getScaleB()}"


@same(SCALE, "default ", printed=True)
def scales_at_first(text: str) -> None:
    assert text.startswith(scales(linear(2, 1)))
    agree(gradients(linear(2, 1)), text)


@same(SCALE, "2/.5 ", printed=True)
def scales_multiply(text: str) -> None:
    agree(gradients(linear(2, 1).setScaleW(2).setScaleB(0.5)), text)


@differs(SCALE, "freeze 0", printed=True)
def freezing_keeps_the_scales(text: str) -> None:
    layer = linear(2, 1).setScaleW(2).setScaleB(0.5).freeze()
    assert text.startswith(".0 0.0")
    assert scales(layer) == "2.0 0.5"
    agree(gradients(layer), text)


@same(SCALE, "freeze twice, unFreeze -> ", printed=True)
def scales_after_freezing(text: str) -> None:
    assert scales(linear(2, 1).setScaleW(2).setScaleB(0.5).freeze().freeze().unFreeze()) == text


@differs(SCALE, "setScaleW(3) then unFreeze without freeze -> ", printed=True)
def unfreeze_forgets_no_scale(text: str) -> None:
    assert text == "1.0"
    assert linear(2, 1).setScaleW(3).unFreeze().getScaleW() == 3


@differs(SCALE, "freeze, setScaleW(3) -> ", printed=True)
def a_scale_set_while_frozen_stays(text: str) -> None:
    assert text == "3.0; unFreeze -> 1.0"
    assert linear(2, 1).freeze().setScaleW(3).unFreeze().getScaleW() == 3


@same(SCALE, "layer.freeze(nosuch)")
def freeze_an_unknown_layer(text: str) -> None:
    refused(KeyError, "nosuch", lambda: linear(2, 1).freeze("nosuch"))


@same(SCALE, "container.freeze(nosuch)")
def freeze_an_unknown_child(text: str) -> None:
    refused(KeyError, "nosuch", lambda: nn.Sequential(linear(2, 2)).freeze("nosuch"))


@same(SCALE, "container.unFreeze(nosuch)")
def unfreeze_an_unknown_child(text: str) -> None:
    refused(KeyError, "nosuch", lambda: nn.Sequential(linear(2, 2)).unFreeze("nosuch"))


def two() -> nn.Sequential:
    return nn.Sequential(linear(2, 2, "p"), linear(2, 1, "q"))


@differs(SCALE, "freeze p: ", printed=True)
def freezing_by_name(text: str) -> None:
    assert text == "(p,0.0,0.0) (q,1.0,1.0) container scaleW=1.0"
    model = two().freeze("p")
    assert [scales(layer) for layer in model.modules] == ["1.0 1.0", "1.0 1.0"]
    assert [name for name, _ in model.named_trainable()] == ["1.weight", "1.bias"]


@same(SCALE, "grads ", printed=True)
def gradients_beside_a_frozen_layer(text: str) -> None:
    mine, theirs = gradients(two().freeze("p")), arrays(text)
    assert [a.shape for a in mine] == [a.shape for a in theirs]
    assert [bool(a.any()) for a in mine] == [bool(a.any()) for a in theirs]
    assert mine[3] == theirs[3]


@same(SCALE, "unFreeze all: ", printed=True)
def unfreezing(text: str) -> None:
    model = two().freeze("p").unFreeze()
    assert " ".join(f"({m.getName()},{m.getScaleW()})" for m in model.modules) == text
    assert len(model.parameters()[0]) == 4


@same(SCALE, "container setScaleW(4): ", printed=True)
def a_container_sets_its_children(text: str) -> None:
    model = two().setScaleW(4)
    children = ",".join(str(m.getScaleW()) for m in model.modules)
    assert f"container getScaleW={model.getScaleW()} children={children}" == text


def regularized(regularizer: Any, weight: Any) -> Any:
    return filled(linear(2, 1), [weight], [0]).setWRegularizer(regularizer)


@same(SCALE, "regularizer scaled by scaleW")
def a_scaled_regularizer(text: str) -> None:
    agree(gradients(regularized(nn.L2Regularizer(0.1), [1, 2]).setScaleW(2)), text)


@same(SCALE, "regularizer frozen")
def a_frozen_regularizer(text: str) -> None:
    agree(gradients(regularized(nn.L2Regularizer(0.1), [1, 2]).freeze()), text)


@same(SCALE, "l1 regularizer")
def an_l1_regularizer(text: str) -> None:
    agree(gradients(regularized(nn.L1Regularizer(0.1), [1, -2])), text)


# Modes, shapes, times -----------------------------------------------------------------------------


@same("training flags", "default isTraining ", printed=True)
def training_flags(text: str) -> None:
    model = nn.Sequential(nn.Dropout(0.5), linear(2, 2))
    first = model.isTraining()
    model.evaluate()
    flags = [model.isTraining(), *(m.isTraining() for m in model.modules)]
    last = model.add(nn.Dropout()).modules[-1].isTraining()
    mine = f"{first}; evaluate -> ({','.join(map(str, flags))}); "
    assert f"{mine}add after evaluate keeps child's flag {last}".lower() == text.lower()


@same("training flags", "numeric type ", printed=True)
def numeric_type(text: str) -> None:
    assert "FloatType" in text
    assert linear(1, 1).getNumericType() == np.float32


@differs("training flags", "getInputShape on torch style")
def shape_of_the_input(text: str) -> None:
    layer = linear(2, 3)
    refused(ValueError, "forward", layer.getInputShape)
    layer.forward(ones(5, 2))
    assert layer.getInputShape() == (5, 2)


@differs("training flags", "getOutputShape on torch style")
def shape_of_the_output(text: str) -> None:
    assert linear(2, 3).getOutputShape((5, 2)) == (5, 3)


def run_once(measured: bool) -> nn.Sequential:
    inner = nn.Sequential(nn.Tanh().setName("B"), linear(2, 1, "C")).setName("inner")
    model = nn.Sequential(linear(2, 2, "A"), inner).setName("S")
    if measured:
        model.resetTimes()
    gradients(model)
    return model


def shown(model: Any, show: Callable[[int], Any]) -> str:
    return " ".join(f"({m.getName()},{show(f)},{show(b)})" for m, f, b in model.getTimes()).lower()


@differs("getTimes", "(A,true", printed=True)
def times_after_reset_times(text: str) -> None:
    model = run_once(measured=True)
    assert "(a,true" + text.lower() == shown(model, lambda ns: ns > 0)
    assert shown(run_once(measured=False), int) == "(a,0,0) (b,0,0) (c,0,0) (inner,0,0) (s,0,0)"


@same("getTimes", "com.intel.analytics.bigdl.dllib.nn.", printed=True)
def times_by_class(text: str) -> None:
    theirs = {name.rpartition(".")[2] for name in text.split()}
    found = run_once(measured=True).getTimesGroupByModuleType()
    assert {name.removeprefix("nn.") for name, _, _ in found} == theirs
    sums = [forward + backward for _, forward, backward in found]
    assert sums == sorted(sums, reverse=True)


@same("getTimes", "(A,0,0)", printed=True)
def times_are_reset(text: str) -> None:
    assert ("(A,0,0)" + text).lower() == shown(run_once(measured=True).resetTimes(), int)


@same("getTimes", "empty container getTimes ", printed=True)
def times_of_nothing(text: str) -> None:
    assert shown(nn.Sequential().setName("E"), int) == text.lower()


# Errors and states --------------------------------------------------------------------------------

RUN = "errors in forward"


@same(RUN, "forward wrong dim")
def too_many_axes(text: str) -> None:
    refused(nn.ShapeError, "3", lambda: linear(2, 2).forward(ones(3, 3, 3)))


@same(RUN, "forward wrong size")
def another_size(text: str) -> None:
    refused(nn.ShapeError, "inputSize is 2", lambda: linear(2, 2).forward(ones(3, 3)))


@same(RUN, "nested forward wrong size")
def another_size_below(text: str) -> None:
    model = nn.Sequential(linear(2, 2, "nn"))
    refused(nn.ShapeError, r"Sequential\[0\].Linear", lambda: model.forward(ones(3, 3)))


@same(RUN, "empty Sequential forward")
def an_empty_chain(text: str) -> None:
    expected = np.array([[float(n) for n in text.split("\n", maxsplit=1)[0].split()]])
    assert np.array_equal(nn.Sequential().forward(ones(1, 2)).numpy(), expected)


@differs(RUN, "empty Sequential backward")
def an_empty_chain_backward(text: str) -> None:
    model, g = nn.Sequential(), 3 * ones(1, 2)
    model.forward(ones(1, 2))
    assert np.array_equal(model.backward(ones(1, 2), g).numpy(), g)


@same(RUN, "backward without forward")
def backward_first(text: str) -> None:
    layer = linear(2, 1)
    refused(RuntimeError, "forward", lambda: layer.backward(ones(1, 2), ones(1, 1)))


CLEAR = "clearState clobbers aliased input"


@differs(CLEAR, "Identity")
def clearing_an_identity(text: str) -> None:
    x, layer = ones(2, 2), nn.Identity()
    layer.forward(x)
    layer.clearState()
    assert text.endswith("= 0")
    assert x.shape == (2, 2)


@same(CLEAR, "Sequential(View)")
def clearing_a_view(text: str) -> None:
    x, model = ones(2, 2), nn.Sequential(nn.View(2), linear(2, 1))
    model.forward(x)
    model.clearState()
    assert text == f"input dim after clearState = {x.ndim}"


# Files and copies ---------------------------------------------------------------------------------

FILES = "save/load errors"


def file(name: str) -> Path:
    return Path(tempfile.mkdtemp()) / name


@same(FILES, "saveTorch twice no overwrite")
def a_torch7_file_twice(text: str) -> None:
    path = file("o.t7")
    linear(2, 2).saveTorch(path, True).saveTorch(path, True)
    refused(FileExistsError, "overWrite=True", lambda: linear(2, 2).saveTorch(path))


@same(FILES, "saveWeights twice no overwrite")
def a_file_of_weights_twice(text: str) -> None:
    path = file("o.w")
    linear(2, 2).saveWeights(path, True)
    refused(FileExistsError, "overWrite=True", lambda: linear(2, 2).saveWeights(path, False))


@differs(FILES, "saveWeights on Tanh")
def weights_of_nothing(text: str) -> None:
    path = file("o.w")
    nn.Tanh().saveWeights(path)
    assert isinstance(nn.Tanh().loadWeights(path), nn.Tanh)


@same(FILES, "load missing")
def a_missing_file(text: str) -> None:
    refused(FileNotFoundError, "missing", lambda: nn.load(file("missing.bigdl")))


def saved(module: Any) -> Any:
    path = file("m.safetensors")
    module.save(path)
    return nn.load(path)


@same(FILES, "train flag survives save")
def the_mode_in_a_file(text: str) -> None:
    assert str(saved(linear(2, 2).evaluate()).isTraining()).lower() == text


@differs(FILES, "name postfix survives save")
def the_name_in_a_file(text: str) -> None:
    layer = linear(2, 2)
    assert saved(layer).getName() != layer.getName()
    assert saved(layer.setName("x")).getName() == "x"


@differs(FILES, "scaleW survives save")
def freezing_in_a_file(text: str) -> None:
    assert text == "1.0"
    assert saved(linear(2, 2).freeze()).parameters() == ([], [])
    assert saved(linear(2, 2).setScaleW(3)).getScaleW() == 3


@differs(FILES, "scaleW survives cloneModule")
def freezing_in_copies(text: str) -> None:
    assert text == "(0.0,1.0,1.0)"
    layer = linear(2, 2).setScaleW(3).freeze()
    for copy in (layer.cloneModule(), layer.clone(True), layer.clone(False)):
        assert copy.getScaleW() == 3
        assert copy.parameters() == ([], [])


@same(FILES, "clone deep/shallow share")
def what_copies_share(text: str) -> None:
    layer = linear(1, 1)
    deep, shallow, first = layer.clone(True), layer.clone(False), layer.get_weights()[0]
    layer.weight = 42 * ones(1, 1)
    layer.zeroGradParameters()
    ops.assign(layer.gradWeight, 9)
    theirs = arrays(text)
    assert np.array_equal(deep.get_weights()[0], first)
    assert theirs[0] != 42
    assert shallow.get_weights()[0] == theirs[1]
    assert deep.gradWeight.numpy() == theirs[2]
    assert shallow.gradWeight.numpy() == theirs[3]


@differs(FILES, "equals clone")
def equality(text: str) -> None:
    layer = linear(2, 2)
    assert text == "(true,false)"
    assert [layer == other for other in (layer, layer.cloneModule())] == [True, False]


LOAD = "loadWeights matchAll"


@same(LOAD, "loadModelWeights all")
def weights_of_a_model(text: str) -> None:
    source, target = two(), two()
    target.loadModelWeights(source)
    pairs = zip(source.get_weights(), target.get_weights(), strict=True)
    assert ",".join(str(np.array_equal(a, b)).lower() for a, b in pairs) == text


@differs(LOAD, "loadModelWeights missing layer matchAll=true")
def a_missing_layer(text: str) -> None:
    source, target = nn.Sequential(linear(2, 2, "p")), two()
    refused(KeyError, "called q", lambda: target.loadModelWeights(source))
    target.loadModelWeights(source, False)
    assert np.array_equal(source.get_weights()[0], target.get_weights()[0])


@differs(LOAD, "loadModelWeights shape change")
def a_source_of_another_shape(text: str) -> None:
    source = nn.Sequential(linear(3, 5, "p"))
    refused(ValueError, r"\(5, 3\)", lambda: two().loadModelWeights(source, False))


def through_a_file(source: Any, target: Any) -> Any:
    path = file("w.w")
    source.saveWeights(path, True)
    return target.loadWeights(path)


@same(LOAD, "loadWeights file")
def weights_of_a_file(text: str) -> None:
    source = two()
    pairs = zip(source.get_weights(), through_a_file(source, two()).get_weights(), strict=True)
    assert ",".join(str(np.array_equal(a, b)).lower() for a, b in pairs) == text


@differs(LOAD, "BN running stats in saveWeights/loadWeights")
def running_means_in_a_file_of_weights(text: str) -> None:
    source, target = bn().setName("bn"), bn().setName("bn")
    source.setExtraParameter([3 * ones(2), ones(2)])
    loaded = through_a_file(source, target)
    assert not arrays(text)[0].any()
    assert (loaded.running_mean.numpy() == 3).all()


@same(LOAD, "BN running stats in saveModule")
def running_means_in_a_file(text: str) -> None:
    source = bn().setExtraParameter([3 * ones(2), ones(2)])
    agree(values([saved(source).running_mean]), text)


@same(LOAD, "LSTM saveWeights/loadWeights restores?")
def weights_of_a_recurrent_network(text: str) -> None:
    source = nn.Sequential(nn.SeqLSTM(3, 4))
    source.getParametersTable()  # gives the unnamed layers their names, which the copy has too
    target = source.cloneModule()
    target.setWeightsBias([0 * w for w in target.get_weights()])
    pairs = zip(source.get_weights(), through_a_file(source, target).get_weights(), strict=True)
    assert {str(np.array_equal(a, b)).lower() for a, b in pairs} == set(text.split(","))


@same(LOAD, "Bilinear saveWeights ok")
def weights_of_a_maxout(text: str) -> None:
    through_a_file(nn.Maxout(2, 3, 2), nn.Tanh())


# Graphs -------------------------------------------------------------------------------------------


def names_in(graph: Any) -> str:
    return ",".join(re.sub("@.*", "<pf>", m.getName()) for m in graph.modules)


@same("graph", "toGraph Sequential")
def a_chain_as_a_graph(text: str) -> None:
    graph = nn.Sequential(linear(2, 2, "a"), nn.ReLU().setName("r")).toGraph()
    assert text.partition("modules=")[2] == names_in(graph).replace("Identity", "Input")


@same("graph", "toGraph single layer")
def a_layer_as_a_graph(text: str) -> None:
    assert text == names_in(linear(2, 2, "a").toGraph()).replace("Identity", "Input")


@same("graph", "graph dup names")
def a_name_twice(text: str) -> None:
    x = nn.Input()
    b = linear(2, 2, "a").inputs(linear(2, 2, "a").inputs(x))
    refused(ValueError, "called 'a'", lambda: nn.Graph(x, b))


@same("graph", "graph missing input")
def an_input_too_few(text: str) -> None:
    x = nn.Input()
    refused(ValueError, "inputs", lambda: nn.Graph(x, nn.CAddTable().inputs(x, nn.Input())))


@same("graph", "graph unrelated input")
def an_input_too_many(text: str) -> None:
    x = nn.Input()
    refused(ValueError, "no output", lambda: nn.Graph([x, nn.Input()], linear(2, 2).inputs(x)))


def chain() -> nn.Graph:
    x = nn.Input("in")
    return nn.Graph(x, linear(2, 1, "b").inputs(linear(2, 2, "a").inputs(x)))


@same("graph", "graph node(name)")
def an_unknown_node(text: str) -> None:
    refused(KeyError, "zz", lambda: chain().node("zz"))


@differs("graph", "graph stopGradient")
def a_gradient_that_stops(text: str) -> None:
    graph = chain().stopGradient(["b"])
    mine, theirs = gradients(graph), arrays(text)
    assert text.startswith("(EmptyGradInput")
    assert not graph.gradInput.numpy().any()
    assert [bool(g.any()) for g in mine] == [bool(g.any()) for g in theirs]


@differs("graph", "graph freeze(Array) then unFreeze")
def freezing_in_a_graph(text: str) -> None:
    graph = chain().freeze(["a"])
    assert text == "(0.0,1.0)"
    assert graph.apply("a").getScaleW() == 1
    assert len(graph.parameters()[0]) == 2
    assert len(graph.unFreeze().parameters()[0]) == 4


@differs("graph", "graph reset() unfreezes but keeps weights")
def resetting_a_graph(text: str) -> None:
    graph = chain()
    before = graph.get_weights()
    graph.apply("a").freeze()
    graph.reset()
    assert text == "(1.0,true)"
    assert len(graph.parameters()[0]) == 2
    assert not any(map(np.array_equal, before, graph.get_weights()))


@same("graph", "sequential reset() re-inits")
def resetting_a_chain(text: str) -> None:
    model = two()
    before = model.get_weights()[0]
    model.reset()
    assert str(np.array_equal(before, model.get_weights()[0])).lower() == text


@differs("graph", "Linear reset zero grads")
def resetting_keeps_gradients(text: str) -> None:
    layer = linear(2, 2)
    ops.assign(layer.gradWeight, 3)
    layer.reset()
    assert not arrays(text)[0].any()
    assert (layer.gradWeight.numpy() == 3).all()


@same("graph", "graph parameter order")
def order_in_a_graph(text: str) -> None:
    x = nn.Input("in")
    a, b = linear(2, 3, "a").inputs(x), linear(2, 4, "b").inputs(x)
    join = nn.JoinTable(1).setName("j").inputs(a, b)
    graph = nn.Graph(x, linear(7, 1, "c").inputs(join))
    shapes = ",".join("x".join(map(str, p.shape)) for p in graph.parameters()[0])
    assert f"{names_in(graph)} | {shapes}" == text


# Optimizers ---------------------------------------------------------------------------------------

TRAIN = "optimizer with frozen + weightDecay"


def trained(freeze: bool, make: Callable[[Any], Any], scale: float = 1) -> list[np.ndarray]:
    """The parameters after two steps on the sum of two ones, which is to be 3."""
    model = filled(linear(2, 1), [[1, 2]], [0.5]).setScaleW(scale)
    if freeze:
        model.freeze()
    optimizer, criterion = make(model), nn.MSECriterion()
    x, target = ones(2, 2), 3 * ones(2, 1)
    for _ in range(2):
        model.zeroGradParameters()
        criterion.forward(model.forward(x), target)
        model.backward(x, criterion.backward(model.output, target))
        optimizer.step()
    return model.get_weights()


def sgd(**options: Any) -> Callable[[Any], Any]:
    return lambda model: optim.SGD(model, lr=0.1, **options)


@same(TRAIN, "plain sgd")
def plain_sgd(text: str) -> None:
    agree(trained(False, sgd()), text)


@same(TRAIN, "frozen sgd")
def frozen_sgd(text: str) -> None:
    agree(trained(True, sgd()), text)


@differs(TRAIN, "frozen sgd wd")
def frozen_sgd_with_weight_decay(text: str) -> None:
    assert arrays(text)[0][0, 0] < 1
    agree(trained(True, sgd(weight_decay=0.1)), "[1x2]:1.0,2.0 ; [1]:0.5")


@same(TRAIN, "scaleW 2 sgd")
def scaled_sgd(text: str) -> None:
    agree(trained(False, sgd(), 2), text)


@same(TRAIN, "frozen sgd momentum")
def frozen_momentum(text: str) -> None:
    agree(trained(True, sgd(momentum=0.9)), text)


@same(TRAIN, "frozen adam")
def frozen_adam(text: str) -> None:
    agree(trained(True, lambda model: optim.Adam(model, lr=0.1)), text)


# The lines ----------------------------------------------------------------------------------------

rooms.declare()
ENTRIES = list(entries())


def test_there_are_lines() -> None:
    require_cases(len(ENTRIES), "behaviours.txt")


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.key for entry in ENTRIES])
def test_each_line_is_the_same_here_or_a_listed_difference(entry: Entry) -> None:
    assert entry.key in TRANSLATIONS, "write the translation of this line"
    TRANSLATIONS[entry.key].check(entry.text)


def test_the_page_lists_exactly_the_differences() -> None:
    """Each row of the last table of DIFFERENCES.md begins with the line that it is about."""
    rows = re.findall(r"^\| `([^`]+: [^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(set(rows))
    assert set(rows) == {key for key, each in TRANSLATIONS.items() if not each.same}
