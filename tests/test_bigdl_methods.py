"""BigDL's methods of a module: what each does beyond the recorded lines, and the table of them."""

from __future__ import annotations

import ast
import copy
import functools
import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import numpy as np
import pytest
from bigdl_recordings import arrays_in, require_cases

import tapegrad
from tapegrad import nn, no_grad, ops, optim
from tapegrad.autograd.check import check_module, ints
from tapegrad.autograd.check.running import LawProfile
from tapegrad.autograd.core.mode import sweep_follower
from tapegrad.nn.core import timing
from tapegrad.nn.core.services import register_service, service
from tapegrad.nn.core.transient import transient_value
from tapegrad.nn.methods.bigdl.spellings import BigDL, python_spelling

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs" / "bigdl_methods.md"


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def run(module: Any, x: Any) -> Any:
    module.zeroGradParameters()
    y = module.forward(x)
    return module.backward(x, np.ones(y.shape, np.float32))


# The table and the spellings ------------------------------------------------------------------


def methods() -> list[str]:
    """The public methods that BigDL's mixins declare, in BigDL's spelling."""
    mixins = [base for base in BigDL.__mro__ if base.__module__.startswith("tapegrad.nn.methods.b")]
    return [
        name
        for base in mixins
        if base is not BigDL
        for name, value in vars(base).items()
        if not name.startswith("_") and callable(value) and name == value.__name__
    ]


def test_every_method_has_its_python_spelling() -> None:
    assert len(methods()) > 40
    for name in methods():
        spelled = python_spelling(name)
        assert hasattr(BigDL, spelled), f"{spelled} = spelled(….{name}) in bigdl/spellings.py"
        assert getattr(BigDL, spelled) is getattr(BigDL, name)


def test_a_spelling_is_the_method_of_the_class_that_overrides_it() -> None:
    class Own(nn.Module):
        def quantize(self) -> Any:
            return "own"

        def setName(self, name: str | None) -> Any:
            return name

    assert Own().set_name("x") == "x"
    assert python_spelling("setWRegularizer") == "set_w_regularizer"
    assert python_spelling("saveTF") == "save_tf"


# What BigDL's page of AbstractModule describes.
ORIGINAL = """
accGradParameters apply backward clearState clone cloneModule evaluate evaluateImage forward freeze
getExtraParameter getInputShape getName getNumericType getOutputShape getParametersTable getScaleB
getScaleW getTimes getTimesGroupByModuleType getWeightsBias gradInput hasName inputs isTraining
loadModelWeights loadWeights output parameters predict predictClass predictImage quantize release
reset resetTimes save saveCaffe saveDefinition saveModule saveTF saveTorch saveWeights scaleB
scaleW setExtraParameter setInputFormats setLine setName setOutputFormats setScaleB setScaleW
setWeightsBias toGraph train training unFreeze updateGradInput updateOutput zeroGradParameters
"""


def rows(section: str = "") -> dict[str, str]:
    """{method: the test that holds it}, of one section of the page or of all."""
    text = TABLE.read_text("utf-8")
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `(\w+)` \|[^|]*\| `(\S+)` \|$", text, re.MULTILINE)
    assert len(found) == len(dict(found)), "a method stands in the table twice"
    return dict(found)


def test_the_table_has_every_method_of_the_original() -> None:
    assert sorted(rows("AbstractModule")) == sorted(ORIGINAL.split())
    assert set(methods()) <= rows().keys()
    for name in rows():
        assert hasattr(nn.Module, name) or hasattr(nn.Graph, name), name


def whole(file: str) -> str:
    return (TESTS / file).read_text("utf-8")


@functools.cache
def sources(file: str) -> dict[str, str]:
    """{name: text with its decorators} of the functions and classes of a test file."""
    text = whole(file)
    found = {}
    for each in ast.walk(ast.parse(text)):
        if isinstance(each, (ast.FunctionDef, ast.ClassDef)):
            first = min([each.lineno, *(d.lineno for d in each.decorator_list)])
            found[each.name] = "\n".join(text.splitlines()[first - 1 : each.end_lineno])
    return found


def test_the_tests_of_the_table_are_there_and_call_the_methods() -> None:
    for name, held_by in rows().items():
        file, _, function = held_by.partition("::")
        texts = sources(file)
        assert function in texts, f"{file} has no {function}"
        test = texts[function]
        runs = function.startswith("test_") or re.search(r"^@(same|differs)\(", test)
        assert runs or f"({function})" in whole(file), f"{held_by} is not run"
        called = [text for other, text in texts.items() if re.search(rf"\b{other}\(", test)]
        words = rf"\b({name}|{python_spelling(name)})\b"
        assert re.search(words, "\n".join([test, *called])), f"{held_by} says nothing of {name}"


# Laws -----------------------------------------------------------------------------------------


def named(i: int) -> Any:
    model = nn.Sequential(nn.Linear(i, 3).setName("a"), nn.Tanh().setName("t")).setName("s")
    model[0].getName()
    return model.setLine(" ").setInputFormats([1])


def timed(i: int) -> Any:
    return nn.Sequential(nn.Linear(i, 3), nn.Tanh()).resetTimes()


def scaled(i: int) -> Any:
    return nn.Sequential(nn.Linear(i, 3).setScaleW(2).setScaleB(0.5), nn.Tanh())


def regularized(i: int) -> Any:
    regularizer = nn.L1L2Regularizer(0.1, 0.2)
    return nn.Sequential(nn.Linear(i, 3).setWRegularizer(regularizer), nn.Tanh())


def drawn(i: int) -> Any:
    return nn.Linear(i, 3).setInitMethod(nn.Xavier(), nn.ConstInitMethod(0.5))


def frozen(i: int) -> Any:
    return nn.Sequential(nn.Linear(i, 3).setName("a"), nn.Tanh(), nn.Linear(3, 2)).freeze("a")


class Values(nn.Module):
    """What a model returns, as constants: laws that go back then read what they ran on."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def updateOutput(self, x: Any) -> Any:
        return self.model(x).detach()


def quantized(i: int) -> Any:
    return Values(nn.Sequential(nn.Linear(i, 3), nn.Tanh(), nn.Linear(3, 2)).quantize())


NOT_A_DERIVATIVE = {"its_gradients_are_the_derivatives": "what is added has a factor, or a term"}
ONCE_A_CALL = {
    "an_empty_batch_is_fine": "the term of a regularizer is added for no samples too",
    "a_batch_is_its_samples_stacked": "the term of a regularizer is added once for each call",
}
NO_SLOPE = {
    "its_gradients_are_the_derivatives": "rounded inputs make steps, which have no slope",
    "its_second_derivatives_are_right": "rounded inputs make steps, which have no slope",
    "pushed_tangents_agree_with_its_gradients": "rounded inputs make steps, which have no slope",
}
SUBJECTS = {
    named: {},
    timed: {},
    scaled: NOT_A_DERIVATIVE,
    regularized: NOT_A_DERIVATIVE | ONCE_A_CALL,
    drawn: {},
    frozen: {},
    quantized: NO_SLOPE,
}


def laws(make: Any, examples: int) -> None:
    check_module(
        make,
        input="N? i",
        i=ints(1, 4),
        batchwise="split",
        exceptions=SUBJECTS[make],
        profile=LawProfile(examples),
    )


@pytest.mark.parametrize("make", [timed, scaled], ids=lambda make: make.__name__)
def test_no_method_breaks_a_law(make: Any) -> None:
    laws(make, 5)


@pytest.mark.extra
@pytest.mark.parametrize("make", SUBJECTS, ids=lambda make: make.__name__)
def test_no_method_breaks_a_law_of_many_examples(make: Any) -> None:
    laws(make, 40)


def test_factors_are_fields_to_read() -> None:
    """They are protected in BigDL; an assignment would change one layer and none below it."""
    model = nn.Sequential(nn.Linear(2, 2)).setScaleW(2).setScaleB(0.5)
    assert (model[0].scaleW, model[0].scaleB) == (2, 0.5)
    for field in ("scaleW", "scaleB"):
        with pytest.raises(AttributeError, match=rf"Linear\.{field} is the factor .* setScale"):
            setattr(model[0], field, 3)
    assert (model[0].scaleW, model[0].scaleB) == (2, 0.5)


# Factors and regularizers ---------------------------------------------------------------------


def plain_and_ruled(make: Any = lambda: nn.Linear(3, 2)) -> tuple[Any, Any]:
    plain = make()
    ruled = plain.clone().setScaleW(3).setScaleB(0.5).setWRegularizer(nn.L2Regularizer(0.1))
    return plain, ruled


def expected(plain: Any) -> tuple[np.ndarray, np.ndarray]:
    weight = plain.gradWeight.numpy() + 0.1 * plain.weight.detach().numpy()
    return 3 * weight, 0.5 * plain.gradBias.numpy()


def holds(plain: Any, ruled: Any) -> None:
    weight, bias = expected(plain)
    np.testing.assert_allclose(ruled.gradWeight.numpy(), weight, rtol=1e-5)
    np.testing.assert_allclose(ruled.gradBias.numpy(), bias, rtol=1e-5)


def test_factors_multiply_what_is_added_and_nothing_else() -> None:
    plain, ruled = plain_and_ruled()
    x = ones(4, 3)
    assert np.array_equal(run(plain, x).numpy(), run(ruled, x).numpy())  # gradInput
    holds(plain, ruled)
    np.sum(ruled(x)).backward()
    np.testing.assert_allclose(ruled.gradWeight.numpy(), 2 * expected(plain)[0], rtol=1e-5)

    def loss(weight: Any) -> Any:
        return np.sum(nn.functional_call(ruled, {"weight": weight}, x))

    found = tapegrad.grad(loss)(ruled.weight.detach())
    np.testing.assert_allclose(found, plain.gradWeight.numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda m: m.cloneModule(),
        lambda m: m.clone(False),
        lambda m: pickle.loads(pickle.dumps(m)),
        lambda m: m.double().float(),
    ],
)
def test_copies_keep_factors_and_regularizers(copied: Any) -> None:
    plain, ruled = plain_and_ruled()
    ruled = copied(ruled)
    run(plain, ones(4, 3)), run(ruled, ones(4, 3))
    holds(plain, ruled)


def test_a_file_keeps_factors_regularizers_names_and_initialization(tmp_path: Path) -> None:
    plain, ruled = plain_and_ruled()
    ruled.setName("fc").setInitMethod(nn.RandomNormal(1, 0.5), nn.Zeros).setWeightsBias(
        plain.get_weights()
    )
    loaded = nn.load(ruled.save(tmp_path / "m.safetensors") and tmp_path / "m.safetensors")
    run(plain, ones(4, 3)), run(loaded, ones(4, 3))
    holds(plain, loaded)
    assert loaded.getName() == "fc"
    assert not loaded.reset().bias.detach().numpy().any()


def test_a_new_parameter_has_the_factor_of_its_layer() -> None:
    plain, ruled = plain_and_ruled()
    ruled.weight = nn.Parameter(ruled.weight.detach().numpy().copy())
    run(plain, ones(4, 3)), run(ruled, ones(4, 3))
    holds(plain, ruled)


def test_flat_buffers_and_single_steps_keep_the_factors() -> None:
    plain, ruled = plain_and_ruled()
    ruled.getParameters()
    x, g = ones(4, 3), ones(4, 2)
    run(plain, x), run(ruled, x)
    holds(plain, ruled)
    before = ruled.get_weights()[0]
    ruled.accUpdateGradParameters(x, g, 0.1)
    step = before - ruled.get_weights()[0]
    np.testing.assert_allclose(step, 0.1 * expected(plain)[0], rtol=1e-4)


class ByHand(nn.Linear):
    """Linear with a gradient of its own hand."""

    def accGradParameters(self, input: Any, gradOutput: Any, scale: float = 1) -> None:
        self.gradWeight += scale * np.asarray(gradOutput).T @ np.asarray(input)
        self.gradBias += scale * np.asarray(gradOutput).sum(0)


def test_a_handwritten_gradient_has_the_factors() -> None:
    plain, ruled = plain_and_ruled(lambda: ByHand(3, 2))
    run(plain, ones(4, 3)), run(ruled, ones(4, 3))
    holds(plain, ruled)
    outer = nn.Sequential(ruled)
    run(outer, ones(4, 3))
    holds(plain, ruled)


def test_a_factor_of_zero_leaves_the_gradient_as_it_is() -> None:
    layer = nn.Linear(3, 2).setScaleW(0)
    ops.assign(layer.gradWeight, 7)
    layer.weight = np.full((2, 3), np.inf, np.float32)
    with np.errstate(invalid="ignore"):
        layer.forward(ones(1, 3))
        layer.backward(ones(1, 3), np.full((1, 2), np.nan, np.float32))
    assert (layer.gradWeight.numpy() == 7).all()


def test_replay_sees_a_new_factor() -> None:
    layer = nn.Linear(3, 2)
    layer.zeroGradParameters()

    @tapegrad.replay
    def step(x: Any) -> Any:
        loss = np.sum(layer(x))
        loss.backward()
        return loss

    for _ in range(3):
        step(ones(1, 3))
    layer.setScaleW(10)
    step(ones(1, 3))
    np.testing.assert_allclose(layer.gradWeight.numpy(), 13)


def test_a_disabled_regularizer_adds_nothing() -> None:
    layer = nn.Linear(3, 2)
    run(layer, ones(1, 3))
    plain = layer.gradWeight.numpy().copy()
    regularizer = nn.L1Regularizer(0.5)
    layer.setWRegularizer(regularizer)
    run(layer, ones(1, 3))
    assert not np.allclose(layer.gradWeight.numpy(), plain)
    regularizer.disable()
    run(layer, ones(1, 3))
    assert np.array_equal(layer.gradWeight.numpy(), plain)
    layer.setBRegularizer(regularizer.enable()).setWRegularizer(None).setURegularizer(None)
    run(layer, ones(1, 3))
    assert np.array_equal(layer.gradWeight.numpy(), plain)
    signs = np.sign(layer.bias.detach().numpy())
    np.testing.assert_allclose(layer.gradBias.numpy(), 1 + 0.5 * signs)


CELLS = {
    "RnnCell": lambda: nn.RnnCell(3, 4),
    "LSTMCell": lambda: nn.LSTMCell(3, 4),
    "LSTMCell with p": lambda: nn.LSTMCell(3, 4, p=0.5),
    "GRUCell": lambda: nn.GRUCell(3, 4),
    "GRUCell with p": lambda: nn.GRUCell(3, 4, p=0.5),
    "LSTMPeephole": lambda: nn.LSTMPeephole(3, 4),
    "LSTMPeephole with p": lambda: nn.LSTMPeephole(3, 4, p=0.5),
    "MultiRNNCell": lambda: nn.MultiRNNCell([nn.RnnCell(3, 3), nn.GRUCell(3, 4)]),
    "ConvLSTMPeephole": lambda: nn.ConvLSTMPeephole(3, 4, 3, 3),
    "ConvLSTMPeephole3D": lambda: nn.ConvLSTMPeephole3D(3, 4, 1, 3),
    "RNNLayer": lambda: nn.RNNLayer("gru", 3, 4, num_layers=2, bidirectional=True),
}


def regularized_by(
    method: str, make: Callable[[], Any], tmp_path: Path
) -> dict[str, tuple[int, ...]]:
    """{name: shape} of the parameters to whose gradients the method adds its term."""
    cell = make()
    getattr(cell, method)(nn.L2Regularizer(0.5))
    cell.save(tmp_path / "cell")
    found = {}
    for each in (cell, cell.cloneModule(), nn.load(tmp_path / "cell")):
        each.zeroGradParameters()
        named = list(each.named_parameters())
        ops.sum(sum((ops.sum(p) for _, p in named), ops.sum(named[0][1]) * 0)).backward()
        terms = {name: p.grad.numpy() - 1 for name, p in named}
        found = {name: term.shape for name, term in terms.items() if term.any()}
        for name, p in named:
            term = 0.5 * p.detach().numpy() if name in found else 0
            np.testing.assert_allclose(terms[name], term, atol=1e-6)
    return found


@pytest.mark.parametrize("name", CELLS)
def test_regularizers_of_cells_reach_what_reads_the_input_and_what_reads_the_state(
    name: str, tmp_path: Path
) -> None:
    methods = ("setWRegularizer", "setURegularizer", "setBRegularizer")
    w, u, b = (regularized_by(method, CELLS[name], tmp_path) for method in methods)
    assert w
    assert u
    assert b
    assert not w.keys() & u.keys()
    assert not b.keys() & (w.keys() | u.keys())
    if "Multi" not in name and name != "RNNLayer":
        assert {shape[1] for shape in w.values()} == {3}
        assert {shape[1] for shape in u.values()} == {4}
    if name == "RNNLayer":
        assert all("weight_hh" in each for each in u)
        assert all("weight_ih" in each for each in w)


def test_a_regularizer_without_its_weights_is_refused() -> None:
    regularizer = nn.L2Regularizer(0.1)
    chain = nn.Sequential(nn.Linear(3, 2))
    for call in (
        lambda: nn.Linear(3, 2).setURegularizer(regularizer),
        lambda: chain.setWRegularizer(regularizer),
        lambda: nn.Recurrent().add(nn.RnnCell(3, 4)).setURegularizer(regularizer),
        lambda: nn.Tanh().setBRegularizer(regularizer),
    ):
        with pytest.raises(ValueError, match="of its own"):
            call()
    chain.setWRegularizer(None)


def test_what_is_no_factor_regularizer_or_method_is_refused() -> None:
    layer = nn.Linear(3, 2)
    for call in (
        lambda: layer.setScaleW("2"),
        lambda: layer.setScaleB(float("nan")),
        lambda: layer.setWRegularizer(0.1),
        lambda: layer.setInitMethod("xavier"),
        lambda: layer.setName(3),
        lambda: layer.freeze(3),
        lambda: layer.getOutputShape(3),
        lambda: layer.inputs(layer),
        lambda: layer.evaluate([ones(3)]),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="at least 0"):
        nn.L2Regularizer(-1)
    with pytest.raises(ValueError, match="both bounds"):
        nn.RandomUniform(1.0)
    with pytest.raises(ValueError, match="BilinearFiller"):
        layer.setInitMethod(nn.BilinearFiller())


# Initial values -------------------------------------------------------------------------------

RECORDED = arrays_in("init.npz")
INITIAL = {
    "xavier": nn.Xavier(),
    "msra": nn.MsraFiller(),
    "msra_false": nn.MsraFiller(False),
    "randomuniform": nn.RandomUniform(),
    "ones": nn.Ones(),
    "zeros": nn.Zeros(),
}


def test_there_are_initial_values() -> None:
    require_cases(len(RECORDED), "init.npz")


@pytest.mark.parametrize("key", RECORDED)
def test_initial_values_are_distributed_as_bigdls(key: str) -> None:
    theirs = RECORDED[key]
    nn.manual_seed(3)
    layer = nn.Linear(theirs.shape[1], theirs.shape[0])
    layer.setInitMethod(INITIAL[key.rpartition("_")[0]])
    mine = np.concatenate([layer.reset().get_weights()[0] for _ in range(20)])
    count = theirs.size
    assert abs(mine.mean() - theirs.mean()) <= 5 * theirs.std() / np.sqrt(count)
    assert abs(mine.std() - theirs.std()) <= 5 * theirs.std() / np.sqrt(2 * count)
    if "msra" not in key:  # bounded: no entry is far beyond the largest that was recorded
        assert np.abs(mine).max() <= 1.02 * np.abs(theirs).max()


def test_a_bilinear_filter_enlarges_a_plane() -> None:
    layer = nn.SpatialFullConvolution(1, 1, 4, 4, 2, 2, 1, 1)
    layer.setInitMethod(nn.BilinearFiller(), nn.Zeros())
    y = layer.forward(ones(1, 1, 6, 6)).numpy()
    np.testing.assert_allclose(y[0, 0, 1:-1, 1:-1], 1, rtol=1e-6)


# Times and shapes -----------------------------------------------------------------------------


def lenet() -> Any:
    return nn.Sequential(
        nn.SpatialConvolution(1, 6, 5, 5),
        nn.Tanh(),
        nn.SpatialMaxPooling(2, 2, 2, 2),
        nn.Reshape(6 * 12 * 12),
        nn.Linear(6 * 12 * 12, 100),
        nn.Tanh(),
        nn.Linear(100, 10),
    )


def test_times_add_up_to_the_time_of_a_step(figures: Callable[[str], None]) -> None:
    model, x = lenet(), ones(32, 1, 28, 28)
    g = ones(32, 10)
    ratios = []
    for _ in range(20):
        model.resetTimes()
        begin = time.perf_counter_ns()
        model.forward(x)
        model.backward(x, g)
        wall = time.perf_counter_ns() - begin
        ratios.append(sum(f + b for _, f, b in model.getTimes()) / wall)
    median = np.median(ratios)
    figures(f"getTimes adds up to {median:.1%} of the time of a step, the median of 20 steps")
    assert 0.9 <= median <= 1.1
    by_layer = {id(m): (f, b) for m, f, b in model.getTimes()}
    assert all(forward > 0 and backward > 0 for forward, backward in by_layer.values())
    by_class: dict[str, list[int]] = {}
    for module, forward, backward in model.getTimes():
        sums = by_class.setdefault(type(module).__name__, [0, 0])
        sums[0] += forward
        sums[1] += backward
    found = {name: [f, b] for name, f, b in model.getTimesGroupByModuleType()}
    assert {name.rpartition(".")[2]: sums for name, sums in found.items()} == by_class


class Slow(nn.Module):
    """y = x, after a while; its gradient takes longer still."""

    def updateOutput(self, x: Any) -> Any:
        time.sleep(0.01)
        return ops.replace_gradients([x], function=self._wait)[0]

    def _wait(self, gradients: list[Any]) -> list[Any]:
        time.sleep(0.02)
        return gradients


@pytest.mark.parametrize("plainly", [True, False])
def test_the_slow_layer_has_the_time(plainly: bool) -> None:
    slow = Slow()
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(slow, nn.Tanh()), nn.Linear(3, 1))
    x = ones(2, 3)
    runs = []
    for _ in range(5):
        model.resetTimes()
        if plainly:
            np.sum(model(x)).backward()
        else:
            run(model, x)
        runs.append({id(m): (f, b) for m, f, b in model.getTimes()})
    # Other programs only add to a time.
    times = {key: np.min([each[key] for each in runs], axis=0) for key in runs[0]}
    assert 10e6 <= times[id(slow)][0] < 19e6
    assert 20e6 <= times[id(slow)][1] < 40e6
    assert all(f < 9e6 and b < 9e6 for key, (f, b) in times.items() if key != id(slow))
    assert model.getTimesGroupByModuleType()[0][0] == "Slow"


def test_a_module_that_is_not_timed_has_no_hook() -> None:
    model = lenet()
    names = set(vars(model[0]))
    model.resetTimes()
    assert model.cloneModule()[0]._tapegrad_hooks is None
    model.resetTimes(False)
    assert set(vars(model[0])) == names
    run(model, ones(1, 1, 28, 28))
    assert all(f == b == 0 for _, f, b in model.getTimes())


@pytest.mark.parametrize("ended", ["by hand", "with the module"])
def test_sweeps_are_followed_as_long_as_modules_are_timed(
    ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "_timed", WeakSet())  # of this test alone
    model, x = nn.Linear(3, 3).resetTimes(), ones(2, 3)
    run(model, x)
    assert len(timing._timed) == 1
    assert sweep_follower[0] is not None
    if ended == "by hand":
        model.resetTimes(False)
    else:
        del model
    run(nn.Linear(3, 3), x)
    assert sweep_follower[0] is None


def test_shapes_of_inputs_and_outputs() -> None:
    model = lenet()
    assert model.getOutputShape((7, 1, 28, 28)) == (7, 10)
    assert model.getInputShape([7, 1, 28, 28]) == (7, 1, 28, 28)
    assert model.isTraining()
    branches = nn.ConcatTable().add(nn.Linear(3, 2)).add(nn.Identity())
    assert branches.getOutputShape((4, 3)) == [(4, 2), (4, 3)]
    assert nn.CAddTable().getOutputShape([(4, 3), (4, 3)]) == (4, 3)
    with pytest.raises(nn.ShapeError):
        model.getOutputShape((7, 1, 27))
    run(model, ones(2, 1, 28, 28))
    assert model[4].getInputShape() == (2, 864)
    assert model[4].getOutputShape() == (2, 100)
    normalized = nn.BatchNormalization(3)
    normalized.getOutputShape((5, 3))
    assert not normalized.running_mean.numpy().any()


class Seen(nn.Module):
    """y = x, plus noise; notes the modes in which it and its copies ran."""

    modes: ClassVar[list[bool]] = []

    def updateOutput(self, x: Any) -> Any:
        self.modes.append(self.train)
        stream = tapegrad.devices.generator("cpu")
        return x + ops.normal(generator=stream, shape=x.shape, dtype=x.dtype)


def test_a_shape_is_asked_for_in_evaluation_mode_and_draws_nothing() -> None:
    layer = Seen()
    nn.manual_seed(5)
    first = layer.forward(ones(2)).numpy().copy()
    nn.manual_seed(5)
    assert layer.getOutputShape((3, 4)) == (3, 4)
    assert np.array_equal(layer.forward(ones(2)).numpy(), first)
    assert Seen.modes == [True, False, True]
    assert layer.isTraining()


def test_extra_parameters_are_numbers_with_fractions() -> None:
    layer = nn.Sequential(nn.BatchNormalization(3), nn.Linear(3, 2)).quantize()
    found = layer.getExtraParameter()
    assert [b.shape for b in found[:2]] == [(3,), (3,)]
    assert all(b.dtype == np.float32 for b in found)
    assert any(b.dtype == np.int8 for _, b in layer.named_buffers())


def test_formats_are_noted_side_by_side() -> None:
    layer = nn.Linear(2, 2).setInputFormats([1]).setOutputFormats([2, 3])
    for each in (layer, layer.cloneModule()):
        assert transient_value(each, "formats") == ((1,), (2, 3))


# Graphs ---------------------------------------------------------------------------------------


def test_edges_come_from_entries_in_three_forms() -> None:
    x = nn.Input("x")
    both = nn.ConcatTable().add(nn.Identity()).add(nn.Square()).inputs(x)
    one = nn.CSubTable().inputs((both, 1), (both, 0))
    other = nn.CSubTable().inputs([(both, 1), (both, 0)])
    third = nn.CAddTable().inputs(one, other)
    y = nn.Graph(x, third).forward(3 * ones(2)).numpy()
    assert np.array_equal(y, 12 * ones(2))
    assert nn.Linear(2, 2).inputs().parents == ()


def test_a_graph_is_cut_at_a_layer_and_learns() -> None:
    x = nn.Input("x")
    hidden = nn.Linear(3, 4).setName("hidden").inputs(x)
    graph = nn.Model(x, nn.Linear(4, 2).inputs(nn.Tanh().inputs(hidden)))
    cut = nn.Graph(graph.node("x"), graph.node("hidden"))
    assert cut.modules[1] is graph.apply("hidden")
    assert cut.forward(ones(5, 3)).shape == (5, 4)
    assert isinstance(graph.node("x"), nn.GraphNode)
    with pytest.raises(KeyError, match="hidden"):
        graph.node("nothing")


def test_a_stopped_gradient_is_kept_in_files_and_ends(tmp_path: Path) -> None:
    x = nn.Input("x")
    first = nn.Linear(3, 4).setName("first").inputs(x)
    graph = nn.Graph(x, nn.Linear(4, 2).setName("second").inputs(first)).stopGradient("second")
    graph.save(tmp_path / "g.safetensors")
    loaded = nn.load(tmp_path / "g.safetensors")
    for each in (graph, loaded):
        run(each, ones(5, 3))
        assert not each.apply("first").gradWeight.numpy().any()
        assert each.apply("second").gradWeight.numpy().any()
    graph.stopGradient()
    run(graph, ones(5, 3))
    assert graph.apply("first").gradWeight.numpy().any()
    with pytest.raises(KeyError, match="third"):
        graph.stopGradient("third")


def nested() -> Any:
    x = nn.Input()
    inner = nn.Graph(x, nn.Tanh().inputs(nn.Linear(3, 3).inputs(x)))
    branches = nn.Concat(1).add(nn.Sequential(inner, nn.Linear(3, 2))).add(nn.Linear(3, 4))
    table = nn.ConcatTable().add(nn.Linear(6, 2)).add(nn.Sequential(nn.Linear(6, 2), nn.ReLU()))
    parallel = nn.ParallelTable().add(nn.Tanh()).add(nn.Sigmoid())
    return nn.Sequential(nn.Sequential(nn.Linear(3, 3)), branches, table, parallel, nn.CAddTable())


def test_to_graph_flattens_what_is_nested() -> None:
    model = nested().setInputFormats([2]).setOutputFormats([3])
    graph, x = model.toGraph(), np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    inside = {type(m).__name__ for m in graph.modules}
    assert not inside & {"Sequential", "Graph", "Concat", "ConcatTable", "ParallelTable"}
    assert np.array_equal(graph.forward(x).numpy(), model.forward(x).numpy())
    a, b = run(model, x).numpy(), run(graph, x).numpy()
    np.testing.assert_allclose(a, b, rtol=1e-5)
    assert {id(p) for p in graph.parameters()[0]} == {id(p) for p in model.parameters()[0]}
    assert graph.toGraph() is graph
    start = nn.Input("data")
    assert nn.Linear(3, 2).toGraph(start).node("data") is not None


def test_several_inputs_and_outputs_of_a_graph() -> None:
    a, b = nn.Input("a"), nn.Input("b")
    total = nn.CAddTable().inputs(a, b)
    graph = nn.Graph([a, b], [total, nn.Square().inputs(total)])
    y = graph.forward([ones(2), 2 * ones(2)])
    assert [part.numpy()[0] for part in y] == [3, 9]
    g = graph.backward([ones(2), 2 * ones(2)], [ones(2), ones(2)])
    assert [part.numpy()[0] for part in g] == [7, 7]
    outer = nn.ParallelTable().add(nn.Identity()).add(nn.Identity())
    chained = nn.Sequential(outer, graph).toGraph()
    assert [part.numpy()[0] for part in chained.forward([ones(2), 2 * ones(2)])] == [3, 9]


# The rest -------------------------------------------------------------------------------------


def test_names_in_nested_containers() -> None:
    inner = nn.Sequential(nn.Linear(2, 2).setName("x"))
    model = nn.Sequential(inner.setName("x"), nn.Tanh())
    assert model.apply("x") is inner
    assert model.apply(model[1].getName()) is model[1]
    with pytest.raises(TypeError, match="takes a name"):
        model.apply(inner)
    assert model.toString().startswith("Sequential[")
    assert nn.Linear(2, 3).setName("a").setLine("#").toString() == "Linear[a](2 -> 3)"
    assert "#  (1): Tanh[t]#" in nn.Sequential(nn.Tanh().setName("t")).setLine("#").toString()


def test_release_and_training_return_the_module() -> None:
    model = lenet()
    run(model, ones(1, 1, 28, 28))
    assert model.release() is model
    assert model.output.size == 0
    assert model.evaluate().training() is model
    assert model.isTraining()


def test_weights_by_name() -> None:
    model = nn.Sequential(nn.Linear(3, 2).setName("fc"), nn.LinearWeightNorm(2, 2).setName("n"))
    table = model.getParametersTable()
    assert table["fc"].keys() == {"weight", "bias", "gradWeight", "gradBias"}
    assert table["n"].keys() == {f"{k}{i}" for k in ("weight", "gradient") for i in range(3)}
    assert table["fc"]["weight"] is model[0].weight
    assert model.set_weights([w * 0 for w in model.get_weights()]) is model
    assert not np.any(model.get_weights()[0])
    model[1].setName("fc")
    with pytest.raises(ValueError, match="'fc'"):
        model.getParametersTable()
    with pytest.raises(ValueError, match="n has"):
        nn.Linear(2, 2).setName("n").loadModelWeights(nn.Bilinear(1, 1, 1, False).setName("n"))


def test_a_failed_call_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 2).setName("a"), nn.Linear(2, 2).setName("b"))
    with pytest.raises(KeyError, match="there are a, b"):
        model.freeze("a", "nosuch")
    assert len(model.parameters()[0]) == 4
    before = model.get_weights()
    with pytest.raises(ValueError, match="array 3"):
        model.setWeightsBias([ones(2, 3), ones(2), ones(2, 2), ones(3)])
    assert all(map(np.array_equal, before, model.get_weights()))


def test_save_refuses_to_replace(tmp_path: Path) -> None:
    path, layer = tmp_path / "m.safetensors", nn.Linear(2, 2)
    assert layer.save(path) is layer
    with pytest.raises(FileExistsError, match="overWrite=True"):
        layer.save(path, False)
    with pytest.raises(TypeError, match="overWrite"):
        layer.save(path, "yes")


def test_services_are_asked_by_name() -> None:
    with pytest.raises(NotImplementedError, match="'nothing of the kind'"):
        service("nothing of the kind")
    with pytest.raises(ValueError, match="already"):
        register_service("save_weights")(lambda: None)


@pytest.mark.parametrize(
    ("name", "arguments", "passed"),
    [
        ("predict", ([1], 4), ([1], 4, False)),
        ("predict_class", ([1],), ([1], -1)),
        ("predict_image", ([1], "fc"), ([1], "fc", False, 4, "predict", None)),
        ("evaluate", ([1], ["top1"], 8), ([1], ["top1"], 8)),
        ("evaluate", ([1], 8, ["top1"]), ([1], ["top1"], 8)),
        ("evaluate_image", ([1], ["top1"]), ([1], ["top1"], None)),
        ("quantize", (), ()),
        ("save_module", ("m",), ("m", None)),
        ("save_definition", ("m",), ("m",)),
        ("save_caffe", ("p", "m"), ("p", "m", True)),
        ("save_tf", ([("x", (1,))], "m"), ([("x", (1,))], "m", "little", "NHWC")),
    ],
)
def test_a_method_asks_its_service(
    name: str, arguments: Any, passed: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tapegrad.nn.core import services

    calls: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(services._services, name, lambda *given: calls.append(given))
    layer = nn.Linear(2, 2)
    getattr(layer, name)(*arguments)
    assert calls == [(layer, *passed)]


def test_a_model_trains_with_names_factors_and_times() -> None:
    model = nn.Sequential(nn.Linear(2, 8).setName("a"), nn.Tanh(), nn.Linear(8, 1).setName("b"))
    model.freeze("a").setScaleW(0.5).resetTimes()
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    target = x[:, :1] * x[:, 1:]
    frozen = model[0].get_weights()[0]
    trainer = optim.Trainer(model, nn.MSECriterion(), optim.SGD(model, lr=0.1))
    trainer.fit([(x, target)] * 5, epochs=2)
    assert np.array_equal(model[0].get_weights()[0], frozen)
    with no_grad():
        assert model(x).shape == (64, 1)
