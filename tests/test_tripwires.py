"""Five things that once turned "move a file" or "add a method" into silent damage.

Each test does what a later change will do: moves a method, adds one, puts a class of the same name
into another room.  Each fails on commit 90bdff7.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_modules import STRANGERS

from tapegrad import nn
from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.check import check_module, ints
from tapegrad.nn.core.own import has_handwritten_gradient, is_own, own_classes, qualified_name
from tapegrad.nn.formats import FormatError, native, torch7
from tapegrad.nn.module import Module

DATA = Path(__file__).parent / "data"
ROWS = np.linspace(-1, 1, 12).reshape(4, 3)


@pytest.fixture
def room() -> Iterator[Any]:
    """`room(name)`: a module of the package that is not there otherwise, by its dotted name."""
    made = []

    def make(name: str) -> types.ModuleType:
        module = sys.modules[name] = types.ModuleType(name)
        made.append(name)
        return module

    yield make
    for name in made:
        del sys.modules[name]


# T1: which gradients are written by hand is marked on methods, not read off their files -----------


def verdict(law: str) -> str:
    """What comes of a law of Linear."""
    summary = check_module(lambda i: nn.Linear(i, 2), input="N i", i=ints(1, 4), law=law)
    [(_, outcome)] = summary.outcomes
    return outcome.verdict


@pytest.mark.parametrize("mark", [True, False])
def test_a_gradient_method_may_stand_in_any_file(
    mark: bool, room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`updateGradInput` moves into a mixin; every law of every layer is checked as before."""
    elsewhere = room("tapegrad.nn.methods.moved")
    original = Module.updateGradInput

    def updateGradInput(self: Any, input: Any, gradOutput: Any) -> Any:
        return original(self, input, gradOutput)

    updateGradInput.__module__ = elsewhere.__name__
    if mark:
        updateGradInput.derived = True  # type: ignore[attr-defined]  # goes with the method
    monkeypatch.setattr(Module, "updateGradInput", updateGradInput)
    for law in ("its_second_derivatives_are_right", "replay_equals_eager"):
        assert verdict(law) == ("holds" if mark else "not covered")


# T2: what a loaded module consists of is declared, not disassembled -------------------------------


def _touch(self: Any) -> None:
    """A method as BigDL's mixin will have them: it assigns attributes."""
    self.grad = self.scaleW = self.timing = None


def saved(module: Any, path: Path, **classes: type) -> Any:
    known = {f"my.{name}": cls for name, cls in classes.items()}
    torch7.save(module, path, classes=known)
    return torch7.load(path, classes=known)


@pytest.mark.parametrize("make", [lambda: nn.Linear(3, 2), lambda: nn.Sum(1), nn.Tanh])
def test_a_method_of_module_puts_nothing_into_loaded_modules(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for base in (nn.Module, nn.Linear, nn.Sum):
        monkeypatch.setattr(base, "setTiming", _touch, raising=False)
    module = make()
    assert set(vars(saved(module, tmp_path / "x.t7"))) - {"_training", "_type"} == set(vars(module))


def test_a_mixin_puts_nothing_into_loaded_modules(tmp_path: Path) -> None:
    class Mixin:
        setTiming = _touch

    class Custom(Mixin, nn.Module):
        def __init__(self, n: int) -> None:
            self.n = n
            self.weight = Parameter(np.arange(3.0))
            self.inner = nn.Linear(3, 3)
            self.choice = "none"

        def updateOutput(self, x: Any) -> Any:
            return self.inner(x) * self.weight * self.n

    module = Custom(2)
    again = saved(nn.Sequential(module), tmp_path / "x.t7", Custom=Custom).get(0)
    assert set(vars(again)) - {"_training", "_type"} == {"n", "weight", "inner", "choice"}
    assert np.array_equal(again.forward(ROWS).numpy(), module.forward(ROWS).numpy())


def test_a_strangers_class_that_says_nothing_loses_nothing(tmp_path: Path) -> None:
    class Custom(nn.Module):
        def __init__(self) -> None:
            self.running = nn.Buffer(np.arange(3.0))
            self.names = {"one": 1, "two": [2, 3]}

        def updateOutput(self, x: Any) -> Any:
            return x * self.running + self.names["two"][1]

    module = nn.Sequential(Custom())
    again = saved(module, tmp_path / "x.t7", Custom=Custom)
    assert isinstance(again.get(0).running, nn.Buffer)
    assert np.array_equal(again.forward(ROWS).numpy(), module.forward(ROWS).numpy())


def test_a_strangers_class_may_say_what_its_fields_are(tmp_path: Path) -> None:
    class Custom(nn.Module):
        keeps = ("first", "second")

        def __init__(self, whatever: int) -> None:
            self.first, self.second = whatever, [whatever, [nn.Tanh()]]

    again = saved(nn.Sequential(Custom(3)), tmp_path / "x.t7", Custom=Custom).get(0)
    assert set(vars(again)) - {"_training", "_type"} == {"first", "second"}
    assert isinstance(again.second[1][0], nn.Tanh)


# T3: a method that is added to Module makes no file unreadable ------------------------------------


def files() -> dict[str, bytes]:
    """Every file of ours in the repository."""
    found = {path.name: path.read_bytes() for path in (DATA / "native").glob("*.safetensors")}
    for path in (DATA / "native").glob("v*_classes.zip"):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name != "expected.safetensors"]
            found |= {f"{path.name}/{name}": archive.read(name) for name in names}
    return found


@pytest.mark.extra
def test_methods_that_are_added_to_module_make_no_file_unreadable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = files()
    assert len(found) > 200
    names = {"inputs"}
    for data in found.values():
        for entry in native.architecture(data)[0]["modules"]:
            names |= {name for name in entry["attributes"] if not name.startswith("_")}
    assert {"weight", "steps", "note"} <= names

    def added(self: Any, *arguments: Any) -> None:
        """A method as a facade may bring it."""

    for name in names:
        monkeypatch.setattr(Module, name, added, raising=False)
    for name, data in found.items():
        assert isinstance(nn.load(data, classes=STRANGERS), Module), name


def test_a_graph_is_saved_and_loaded_beside_a_method_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Module, "inputs", lambda self, *nodes: None, raising=False)
    x = nn.node(nn.Identity())
    graph = nn.gModule([x], [nn.Linear(3, 2)(x)])
    graph.save(tmp_path / "x.safetensors")
    torch7.save(graph, tmp_path / "x.t7")
    for again in (nn.load(tmp_path / "x.safetensors"), torch7.load(tmp_path / "x.t7")):
        assert np.array_equal(again.forward(ROWS).numpy(), graph.forward(ROWS).numpy())


def test_what_a_class_declares_may_be_in_a_file_whatever_it_is_called(tmp_path: Path) -> None:
    class Named(nn.Module):
        keeps = ("cpu",)  # a method of Module's, too

    module = Named()
    module.cpu = "i386"
    module.save(tmp_path / "x.safetensors")
    assert nn.load(tmp_path / "x.safetensors", classes=[Named]).cpu == "i386"


# T4: no class takes another's place in a file -----------------------------------------------------


def test_no_two_classes_of_the_package_have_one_name() -> None:
    assert len(own_classes(Module)) > 240  # raises for two of one name
    names = {name.partition(".")[0] for name in own_classes(Module)}
    assert names <= {"nn", "mxnet"}


def _foreign(base: type, module: str, name: str) -> type:
    """A class as another room of the package, or a user, may define it."""
    return type(name, (base,), {"__module__": module, "updateOutput": lambda _, x: x})


def test_a_class_of_the_same_name_in_mxnets_room_is_another_one(room: Any, tmp_path: Path) -> None:
    mxnet = room("tapegrad.nn.mxnet.simulated")
    mxnet.Linear = _foreign(nn.Linear, mxnet.__name__, "Linear")
    mxnet.Module = _foreign(Module, mxnet.__name__, "Module")
    assert is_own(mxnet.Linear)
    assert qualified_name(mxnet.Linear) == "mxnet.Linear"
    path = tmp_path / "x.safetensors"
    nn.Sequential(nn.Linear(3, 3), mxnet.Linear(3, 3), Module(), mxnet.Module()).save(path)
    found = [type(module) for module in nn.load(path)]
    assert found == [nn.Linear, mxnet.Linear, Module, mxnet.Module]
    with zipfile.ZipFile(DATA / "native" / "v1_classes.zip") as archive:
        assert type(nn.load(archive.read("Linear.safetensors"))) is nn.Linear


def test_two_classes_of_one_name_in_the_package_are_an_error(room: Any) -> None:
    again = room("tapegrad.nn.layers.again")
    again.Linear = _foreign(Module, again.__name__, "Linear")
    with pytest.raises(RuntimeError, match=r"two classes are called nn\.Linear: in .* and tapeg"):
        own_classes(Module)
    # It would stand in the way of all other tests while it lives.
    again.Linear.__module__ = "elsewhere"


@pytest.mark.parametrize("module", ["somewhere", "tapegrad.nn.layers.linear", "tapegrad.nn.module"])
@pytest.mark.parametrize("base", [nn.Module, nn.Linear])
def test_a_strangers_class_never_takes_a_layers_place(
    base: type, module: str, tmp_path: Path
) -> None:
    theirs = [_foreign(base, module, name) for name in ("Linear", "Module")]
    assert [qualified_name(cls) for cls in theirs] == ["Linear", "Module"]
    nn.Linear(3, 2).save(tmp_path / "x.safetensors")
    assert type(nn.load(tmp_path / "x.safetensors")) is nn.Linear
    assert type(nn.load(tmp_path / "x.safetensors", classes=theirs)) is nn.Linear
    with zipfile.ZipFile(DATA / "native" / "v1_classes.zip") as archive:
        data = archive.read("Linear.safetensors")
    assert type(nn.load(data, classes=theirs)) is nn.Linear
    made = theirs[0].__new__(theirs[0])
    made.save(tmp_path / "y.safetensors")
    assert type(nn.load(tmp_path / "y.safetensors", classes=theirs)) is theirs[0]
    with pytest.raises(FormatError, match=r"classes=\[Linear\]"):
        nn.load(tmp_path / "y.safetensors")


# T5: a gradient written by hand is honoured wherever its class is defined -------------------------


def test_a_gradient_by_hand_inside_the_package_is_honoured(room: Any) -> None:
    facade = room("tapegrad.nn.mxnet.simulated")

    class Doubling(nn.Module):
        __module__ = facade.__name__

        def updateOutput(self, x: Any) -> Any:
            return x * 1

        def updateGradInput(self, input: Any, gradOutput: Any) -> Any:
            self.gradInput = Tensor(np.asarray(gradOutput) * 2)
            return self.gradInput

    facade.Doubling = Doubling
    assert Doubling.__module__ == "tapegrad.nn.mxnet.simulated"
    assert is_own(Doubling)
    model = nn.Sequential(nn.Identity(), Doubling(), nn.Identity())
    x = np.ones((2, 3))
    model.forward(x)
    assert model.backward(x, x).numpy().tolist() == (2 * x).tolist()
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double()  # and no other gradient is
    assert not any(part._by_hand for part in model.listModules())


def test_a_gradient_that_borrows_a_docstring_is_by_hand_nevertheless() -> None:
    """`functools.wraps` copies the mark of a derived method onto somebody's own."""

    class Doubling(nn.Module):
        def updateOutput(self, x: Any) -> Any:
            return x * 1

        @functools.wraps(nn.Module.updateGradInput)
        def updateGradInput(self, input: Any, gradOutput: Any) -> Any:
            self.gradInput = Tensor(np.asarray(gradOutput) * 2)
            return self.gradInput

    model, x = nn.Sequential(Doubling()), np.ones((2, 3))
    model.forward(x)
    assert model.backward(x, x).numpy().tolist() == (2 * x).tolist()


def test_a_wrapper_around_module_s_own_method_makes_no_gradient_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody may count or time the calls."""
    original = Module.updateGradInput

    @functools.wraps(original)
    def timed(*arguments: Any) -> Any:
        return original(*arguments)

    monkeypatch.setattr(nn.methods.torch7.Torch7, "updateGradInput", timed)
    assert not has_handwritten_gradient(nn.Linear)


def test_no_method_is_by_hand_for_where_it_stands() -> None:
    """What Module and Criterion derive says so itself."""
    for cls in (nn.Module, nn.Criterion):
        for name in ("updateGradInput", "accGradParameters", "backward"):
            assert getattr(inspect.getattr_static(cls, name), "derived", False)
