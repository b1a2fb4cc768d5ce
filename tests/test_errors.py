"""Every error class of the tree has one root and a built-in base, and stands in tapegrad.errors."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import tapegrad
from tapegrad import errors, nn, optim
from tapegrad.autograd.core.errors import EngineSignal
from tapegrad.errors import TapegradError


def modules():
    """Every module of tapegrad but `__main__`, imported."""
    for folder in (tapegrad, *map(importlib.import_module, FOLDERS)):
        yield folder
        for info in pkgutil.walk_packages(folder.__path__, f"{folder.__name__}."):
            if not info.name.endswith("__main__"):
                yield importlib.import_module(info.name)


FOLDERS = [f"tapegrad.{name}" for name in ("devices", "autograd", "nn", "optim")]
CLASSES = {
    cls
    for module in modules()
    for cls in vars(module).values()
    if isinstance(cls, type)
    and issubclass(cls, BaseException)
    and cls.__module__ == module.__name__
    and not issubclass(cls, EngineSignal)
}
ERRORS = sorted(
    (c for c in CLASSES if not issubclass(c, Warning) and c is not TapegradError),
    key=lambda cls: cls.__name__,
)


def is_of_a_command(cls: type) -> bool:
    """Is the class in a private file of package/, whose errors the command line prints?"""
    parts = cls.__module__.split(".")
    return len(parts) == 2 and parts[1].startswith("_")


def test_the_tree_is_searched():
    assert len(ERRORS) > 18
    assert errors.ShapeError in ERRORS


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_an_error_has_the_root_and_a_builtin_base(cls):
    assert issubclass(cls, TapegradError), "derive it from tapegrad.devices.TapegradError as well"
    built_in = [base for base in cls.__mro__ if base.__module__ == "builtins"]
    own = [base for base in built_in if base not in (Exception, BaseException, object)]
    assert own, "give it a built-in base that says what kind of mistake it is, such as ValueError"


def test_errors_has_every_class_and_nothing_else():
    public = {cls.__name__ for cls in CLASSES if not is_of_a_command(cls)}
    assert sorted(public) == sorted(errors.__all__), "put it into package/errors.py"
    assert len(public) == len([cls for cls in CLASSES if not is_of_a_command(cls)])
    for cls in CLASSES:
        assert is_of_a_command(cls) or getattr(errors, cls.__name__) is cls


def test_errors_of_calls_in_the_wrong_order_say_the_right_one(tmp_path):
    layer, path = nn.Linear(2, 3), str(tmp_path / "file.t7")
    with pytest.raises(TypeError, match=r"save\(module, path\) takes a path, not a Linear"):
        nn.save(path, layer)
    with pytest.raises(TypeError, match=r"save\(obj, path\) takes a path, not a Linear"):
        nn.formats.torch7.save(layer, layer)  # (path, obj), its former order, is still taken
    with pytest.raises(TypeError, match=r"save_checkpoint\(content, path\) takes a path"):
        optim.save_checkpoint(path, {"a": 1})
    for name in (path, str(tmp_path / "file.safetensors")):
        with pytest.raises(TypeError, match=r"writes a Module, not int; nn.formats.torch7.save"):
            nn.save(3, name)  # type: ignore[arg-type]
    nn.save(layer, path)
    for wrong in (nn.Linear, "Linear", [layer], ["Linear"]):
        with pytest.raises(TypeError, match="classes takes a list of classes"):
            nn.load(path, classes=wrong)  # type: ignore[arg-type]


def test_a_criterion_without_inputs_says_nothing_of_graphs():
    with pytest.raises(TypeError, match=r"forward code takes \(x, target\)\.$"):
        nn.MSECriterion()()
    with pytest.raises(TypeError, match=r"takes \(x\)\. To describe .* nn\.node\(module\)$"):
        nn.Tanh()()
