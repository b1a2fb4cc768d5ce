"""What type checkers are told of Tensor is what Tensor has at run time."""

import ast
import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import tapegrad
from tapegrad.autograd.core import array_methods, tensor
from tapegrad.autograd.core.array_methods import ArrayMethods
from tapegrad.autograd.surface.absent import INSTEAD, OTHER_WORDS

Tensor = tapegrad.Tensor
DECLARED = {
    name
    for name in {**vars(ArrayMethods), **vars(ArrayMethods)["__annotations__"]}
    if name not in vars(object) or callable(vars(ArrayMethods).get(name))
} - {"__annotations__", "__module__", "__doc__", "__dict__", "__weakref__"}


def _written_in_the_class(file: str, name: str) -> set[str]:
    """The names that a class statement binds."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    [found] = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name]
    names = {n.name for n in found.body if isinstance(n, ast.FunctionDef)}
    return names | {"__module__", "__doc__", "__annotations__", "__slots__", "__weakref__"}


def test_every_attached_name_is_declared_to_type_checkers_and_no_other():
    inside = _written_in_the_class(tensor.__file__, "Tensor")
    slots = {"_alias", "_bare", "_node", "_state"}
    assert (
        set(vars(Tensor)) - inside - slots - set(INSTEAD) - set(OTHER_WORDS) - {"__dir__"}
        == DECLARED
    )


def _parameters(function):
    """(name, kind, default) of all parameters but the first; an operator's names are its own."""
    _, *parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, repr(p.default)) for p in parameters]


def _required(function):
    return [p for p in _parameters(function) if p[2] == repr(inspect.Parameter.empty)]


@pytest.mark.parametrize(
    "name", sorted(n for n in DECLARED if inspect.isfunction(vars(ArrayMethods).get(n)))
)
def test_a_declared_method_has_the_parameters_of_the_attached_one(name):
    declared, attached = vars(ArrayMethods)[name], vars(Tensor)[name]
    if name.startswith("__") and not name.startswith("__array"):
        assert len(_required(declared)) == len(_required(attached))
    else:
        assert _parameters(declared) == _parameters(attached)


def test_nothing_imports_the_declarations_at_run_time():
    assert ArrayMethods not in Tensor.__mro__
    assert Tensor.__mro__ == (Tensor, object)
    assert array_methods.__doc__


def test_the_code_whose_types_are_checked_runs():
    assert runpy.run_path(str(Path(__file__).with_name("typing") / "engine.py"))["x"].shape == (
        2,
        2,
    )


@pytest.mark.extra
def test_pyright_accepts_the_readme_s_first_example_and_the_recipe_of_a_layer(tmp_path):
    """In its default mode: `updateOutput(self, x)` overrides the one of `*inputs` in Module."""
    pytest.importorskip("pyright")
    root = Path(__file__).resolve().parents[1]
    for number, page in enumerate(("README.md", "docs/contributing.md")):
        code = re.findall(
            r"^```python\n(.*?)^```$", (root / page).read_text("utf-8"), re.MULTILINE | re.DOTALL
        )
        layer = next(block for block in code if "def updateOutput" in block)
        (tmp_path / f"page{number}.py").write_text(layer, encoding="utf-8")
    # Type checkers see no editable install: the folders of the checkout, as they will be installed.
    package = tmp_path / "tapegrad"
    package.mkdir()
    for path in (root / "package").iterdir():
        (package / path.name).symlink_to(path)
    for folder in ("autograd", "devices", "nn", "optim"):
        (package / folder).symlink_to(root / folder)
    pages = sorted(path.name for path in tmp_path.glob("page*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, *pages],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1].startswith("0 errors"), done.stdout
