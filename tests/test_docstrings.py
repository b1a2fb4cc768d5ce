"""Docstrings begin with the thing, not with a pronoun for it, and say what a function raises.

Every public name has one, with the shapes of its arrays, and a place in the reference; the examples
in them are true.  What is public is found as the reference finds it (docs/sitebuilder/names.py).
"""

import ast
import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sitebuilder.addresses import places
from sitebuilder.docstrings import first_sentence
from sitebuilder.names import PublicName, namespaces, public_names

import tapegrad
from tapegrad import nn

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("autograd", "devices", "nn", "optim", "package")
PRONOUN = re.compile(r"(It|Its|They|Their|Them|This|These|That|Those|Such)\b")
# Rooms where one place says what all functions raise: torch7/entry.py, and NumPy's protocols.
RAISES_ELSEWHERE = ("nn/formats/torch7/", "autograd/surface/numpy_protocol.py", "devices/_")
# Raised for subclasses and readers of the code, not for a mistake in a call.
NO_MISTAKE = {"AssertionError", "NotImplementedError", "StopIteration", "AttributeError"}
# How a docstring says what shapes it is about: (N, C), "any shape", "elementwise", "along an axis",
# "a list"; a module around another one takes what that takes.
SHAPES = re.compile(
    r"\((?:…|[\w·/+⌈⌉]+'?),|\bshapes?\b|lementwise|entr(?:y|ies)\b|\bax[ie]s\b|matri|vector|scalar|0-d"
    r"|\barrays?\b|\blists?\b|->|\bm\(x\)|\b[mM]odules?\b|on any input|criterion\("
)
# What speaks of shapes without saying which a call takes.
ASIDE = re.compile(r"Raises .*?(?:\.(?=\s)|\Z)|Source: .*|>>>.*", flags=re.DOTALL)
SAYS = re.compile(r"\b[Rr]ais|\b[Rr]efuse|Error\b")

Documented = ast.Module | ast.ClassDef | ast.FunctionDef


def trees() -> Iterator[tuple[str, ast.Module]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            yield path.relative_to(ROOT).as_posix(), tree


def first_pronouns(file: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, Documented):
            match = PRONOUN.match(ast.get_docstring(node) or "")
            if match:
                yield f"{file}:{getattr(node, 'lineno', 1)}: begins with {match[0]!r}"


def public_functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """(docstrings of the function and its class, the function), by the file's __all__."""
    listed = [
        ast.unparse(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    for node in tree.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)) or repr(node.name) not in str(
            listed
        ):
            continue
        text = ast.get_docstring(node) or ""
        for part in [node] if isinstance(node, ast.FunctionDef) else node.body:
            if isinstance(part, ast.FunctionDef) and (part is node or part.name[0] != "_"):
                own = ast.get_docstring(part)
                if own is not None:  # a method without one is documented by what it overrides
                    yield f"{text} {own}", part


def unsaid_errors(file: str, tree: ast.Module) -> Iterator[str]:
    for text, function in public_functions(tree):
        raised = {
            str(getattr(getattr(node.exc, "func", node.exc), "id", ""))
            for node in ast.walk(function)
            if isinstance(node, ast.Raise)
        }
        errors = {name for name in raised - NO_MISTAKE if name.endswith("Error")}
        if errors and not SAYS.search(text):
            names = ", ".join(sorted(errors))
            yield f"{file}:{function.lineno}: {function.name} does not say that it raises {names}"


def undocumented(names: list[PublicName]) -> Iterator[str]:
    for name in names:
        if len(first_sentence(name.doc)) < 2:
            yield f"{name.path}: no docstring (of a constant: no comment above it)"


def without_shapes(names: list[PublicName]) -> Iterator[str]:
    for name in names:
        primitive = getattr(name.value, "primitive", None)
        module = inspect.isclass(name.value) and issubclass(name.value, (nn.Module, nn.Criterion))
        takes_arrays = module or (primitive is not None and not primitive.elementwise)
        if takes_arrays and not SHAPES.search(ASIDE.sub("", name.doc)):
            yield f"{name.path}: the docstring says no shapes"


def test_every_public_name_has_a_docstring_and_a_place_in_the_reference():
    names = public_names()
    assert len(names) > 2000
    assert list(undocumented(list(names.values()))) == []
    assert [path for path in names if path not in places()] == []


def test_layers_and_operations_say_their_shapes():
    assert list(without_shapes(list(public_names().values()))) == []


EXAMPLES = [name for name in public_names().values() if ">>>" in name.doc]


@pytest.mark.extra
@pytest.mark.parametrize("name", EXAMPLES, ids=lambda name: name.path)
def test_examples_are_true(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tapegrad.manual_seed(0)
    beside = vars(namespaces()[name.namespace].module)  # the name is used where it is imported from
    known = {**beside, name.name: name.value, "np": np}
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    test = doctest.DocTestParser().get_doctest(name.doc, known, name.path, None, None)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=flags).run(test, out=said.append)
    assert not said, "".join(said)


FIRST_MET = """
    grad value_and_grad vjp jvp hvp jacobian hessian vmap per_sample_grad checkpoint compile replay
    custom_vjp primitive no_grad detect_anomaly manual_seed Tensor Parameter Tape
    nn.Module nn.Sequential nn.Linear nn.SpatialConvolution nn.SpatialMaxPooling nn.Dropout
    nn.BatchNormalization nn.ReLU nn.LookupTable nn.SeqLSTM nn.MultiHeadAttention nn.gModule
    nn.CrossEntropyCriterion nn.MSECriterion nn.save nn.load nn.functional_call nn.picture
    optim.Trainer optim.Batches optim.Adam optim.SGD optim.cosine_decay optim.clip_grad_norm
    autograd.check.check_gradients autograd.check.check_module
"""


@pytest.mark.parametrize("path", FIRST_MET.split())
def test_what_people_meet_first_has_an_example(path):
    doc = public_names()[f"tapegrad.{path}"].doc
    assert ">>>" in doc
    assert "+SKIP" not in doc


def test_what_is_missing_is_found():
    layer = type("B", (nn.Module,), {"__doc__": "A layer.", "__module__": "tapegrad.nn"})
    names = [
        PublicName("tapegrad.a", "tapegrad", lambda: None),
        PublicName("tapegrad.nn.B", "tapegrad.nn", layer),
    ]
    assert [line.partition(":")[0] for line in undocumented(names)] == ["tapegrad.a"]
    assert [line.partition(":")[0] for line in without_shapes(names)] == ["tapegrad.nn.B"]


@pytest.fixture(scope="module")
def faults():
    """What is wrong in all files, read once: beginnings with a pronoun, and errors not said."""
    pronouns, unsaid = [], []
    for file, tree in trees():
        pronouns += first_pronouns(file, tree)
        if not file.startswith(RAISES_ELSEWHERE):
            unsaid += unsaid_errors(file, tree)
    return pronouns, unsaid


@pytest.mark.extra
def test_a_docstring_begins_with_no_pronoun(faults):
    assert faults[0] == []


@pytest.mark.extra
def test_a_public_function_says_what_it_raises(faults):
    assert faults[1] == []


def test_what_is_looked_for_is_found():
    tree = ast.parse(
        '__all__ = ["f"]\ndef f(x):\n    """Its sum."""\n    raise ValueError("no")\n'
        'def g(x):\n    """A sum."""\n    raise ValueError("no")\n'
    )
    assert list(first_pronouns("a.py", tree)) == ["a.py:2: begins with 'Its'"]
    assert list(unsaid_errors("a.py", tree)) == ["a.py:2: f does not say that it raises ValueError"]
