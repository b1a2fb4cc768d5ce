"""A file has exactly what the class says it keeps; what somebody else's class has is kept too."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import CRITERIONS, MODULES, WITHOUT_FILES
from saved_modules import Scale, specials

from tapegrad import nn
from tapegrad.autograd import Parameter
from tapegrad.autograd.check import Draws
from tapegrad.nn.core.own import is_own, own_classes
from tapegrad.nn.core.state import has_default, kept_attributes, kept_names
from tapegrad.nn.core.transient import ATTRIBUTE
from tapegrad.nn.formats import FormatError, native, safetensors_file, torch7
from tapegrad.nn.module import Module

pytestmark = pytest.mark.extra  # README's command has five minutes

OF_NOBODY = {"attributes of a person's", "a stranger's classes"}
SPECIALS = [name for name in specials() if name not in OF_NOBODY]
OWN = own_classes(Module)
# Bases that only their subclasses are instances of.
ABSTRACT = {"nn.Module", "nn.Container", "nn.Criterion"}


def modules_of(name: str) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """(module, inputs) of a case or a special."""
    if name in SPECIALS:
        module, x = specials()[name]
        yield module.double(), (x,)
        return
    for seed in range(6):
        layer = (MODULES | CRITERIONS)[name](Draws(seed))
        yield layer.module, (layer.input, *([layer.target] if name in CRITERIONS else []))


# Attributes of a converted symbol have the names of its layers, which the class cannot know.
NAMED_BY_LAYERS = {"SymbolModule", "SymbolLayer"}


def as_declared(module: Module, tmp_path: Path) -> None:
    """Each own module in it has what its class declares, and so has its file."""
    for part in module.listModules():
        found, cls = set(kept_attributes(part)), type(part)
        declared = set(kept_names(cls))
        if cls.__name__ in NAMED_BY_LAYERS:
            found &= declared
        assert found <= declared, f"{cls.__name__} keeps {found - declared} and does not say so"
        missing = {name for name in declared - found if not has_default(cls, name)}
        assert not missing, f"{cls.__name__} says that it keeps {missing}"
    module.save(tmp_path / "m.safetensors")
    header, _ = native.architecture(tmp_path / "m.safetensors")
    assert len(header["modules"]) == len(module.listModules())
    for entry in header["modules"]:
        named = entry["class"].rpartition(".")[2] in NAMED_BY_LAYERS
        declared = set(kept_names(OWN[entry["class"]]))
        assert named or set(entry["attributes"]) <= declared, entry["class"]


@pytest.mark.parametrize(
    "name", [*sorted({*MODULES, *CRITERIONS} - WITHOUT_FILES.keys()), *SPECIALS]
)
def test_a_file_has_exactly_what_the_class_says_it_keeps(name: str, tmp_path: Path) -> None:
    for module, inputs in modules_of(name):
        as_declared(module, tmp_path)
        with contextlib.redirect_stdout(io.StringIO()):  # PrintSize and Profile write
            y = module.forward(*inputs)
            as_declared(module, tmp_path)
            if name in CRITERIONS:
                module.backward(*inputs)
            else:
                module.backward(*inputs, _ones(y))
        as_declared(module, tmp_path)
        module.freeze().evaluate()
        as_declared(module, tmp_path)
        module.clearState()
        as_declared(module, tmp_path)


def _ones(y: Any) -> Any:
    return [_ones(item) for item in y] if isinstance(y, (list, tuple)) else np.ones_like(y.numpy())


def test_every_class_of_nn_is_looked_at() -> None:
    seen = {
        type(part)
        for name in [*MODULES, *CRITERIONS, *SPECIALS]
        for module, _ in modules_of(name)
        for part in module.listModules()
    }
    public = {f"nn.{name}": getattr(nn, name) for name in nn.__all__}
    classes = {k: c for k, c in public.items() if isinstance(c, type) and issubclass(c, Module)}
    unseen = {name for name, cls in classes.items() if cls not in seen}
    assert unseen == ABSTRACT, "give each of these a case in tests/cases/nn/"


def test_what_is_declared_is_declared_once() -> None:
    """A class repeats nothing that a base says."""
    for name, cls in OWN.items():
        own = vars(cls).get("keeps", ())
        above = {n for base in cls.__mro__[1:] for n in vars(base).get("keeps", ())}
        assert len(set(own)) == len(own), name
        assert not set(own) & above, name
        assert ATTRIBUTE not in own, name


def test_a_declaration_that_is_no_tuple_of_names_says_so() -> None:
    for wrong in ("weight", ["weight"], (1,)):
        cls = type("Mine", (nn.Module,), {"keeps": wrong})
        with pytest.raises(TypeError, match=r"Mine\.keeps is .*must be a tuple of names"):
            kept_names(cls)


@pytest.mark.parametrize("name", ["keeps", "counts"])
def test_a_method_of_somebody_s_class_that_is_called_so_declares_nothing(
    name: str, tmp_path: Path
) -> None:
    for method in (lambda self: 3, property(lambda self: 3)):
        cls = type("Mine", (Scale,), {name: method})
        module = cls(2.0)
        module.save(tmp_path / "m.safetensors")
        assert nn.load(tmp_path / "m.safetensors", classes=[cls]).settings == module.settings
        plain = type("Plain", (nn.Module,), {name: method, "updateOutput": lambda _, x: x})()
        plain.running = nn.Buffer(np.ones(3))
        known = {"my.Plain": type(plain)}
        torch7.save(plain, tmp_path / "m.t7", classes=known)
        assert torch7.load(tmp_path / "m.t7", classes=known).running.shape == (3,)


def test_a_renamed_attribute_is_read_under_its_old_name_and_only_once(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    nn.Conv2d(2, 3, (4, 5)).save(path)
    arrays, metadata = safetensors_file.read(path)
    header = json.loads(metadata["tapegrad"])
    attributes = header["modules"][0]["attributes"]

    def write() -> None:
        with path.open("wb") as stream:
            safetensors_file.write(stream, arrays, metadata | {"tapegrad": json.dumps(header)})

    attributes["kernel"] = attributes["kernel_size"]
    write()
    with pytest.raises(FormatError, match=r"the name of an attribute, found 'kernel'"):
        nn.load(path)
    del attributes["kernel_size"]
    write()
    assert nn.load(path).kernel_size == (4, 5)


def copies(module: Module, tmp_path: Path) -> list[Any]:
    module.save(tmp_path / "m.safetensors")
    loaded = nn.load(tmp_path / "m.safetensors", classes=[Scale])
    return [loaded, module.clone(), copy.deepcopy(module), pickle.loads(pickle.dumps(module))]


def test_what_a_person_adds_is_kept(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    module.note, module._own, module.counts = "seen", [1, (2,)], 3
    module.extra = Parameter(np.ones(2, np.float32))
    for again in copies(module, tmp_path):
        assert (again.note, again._own, again.counts) == ("seen", [1, (2,)], 3)
        assert list(again.state_dict()) == ["weight", "bias", "extra"]


def test_a_strangers_class_keeps_everything_without_a_word(tmp_path: Path) -> None:
    module = Scale(2.0)
    x = np.ones(3)
    expected = module.forward(x).numpy().copy()
    module.backward(x, x)
    assert not is_own(Scale)
    assert set(kept_attributes(module)) == {"weight", "running", "settings", "kind", "_note"}
    for again in copies(module, tmp_path):
        assert set(kept_attributes(again)) == set(kept_attributes(module))
        assert np.array_equal(again.forward(x).numpy(), expected)


def test_neither_a_file_nor_a_copy_has_results_or_a_tape(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double()
    x = np.ones((2, 3))
    y = module.forward(x)
    module.backward(x, np.ones((2, 2)))
    assert np.array_equal(module.output.numpy(), y.numpy())
    assert module.gradInput.shape == (2, 3)
    for again in copies(module, tmp_path):
        assert all(ATTRIBUTE not in vars(part) for part in again.listModules())
        assert again.output.size == again.gradInput.size == 0  # as before the first call
        with pytest.raises(RuntimeError, match="forward"):
            again.backward(x, np.ones((2, 2)))
