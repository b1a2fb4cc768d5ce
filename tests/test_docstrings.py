"""Docstrings begin with the thing, not with a pronoun for it, and say what a function raises."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("autograd", "devices", "nn", "optim", "package")
PRONOUN = re.compile(r"(It|Its|They|Their|Them|This|These|That|Those|Such)\b")
# Rooms where one place says what all functions raise: torch7/entry.py, and NumPy's protocols.
RAISES_ELSEWHERE = ("nn/formats/torch7/", "autograd/surface/numpy_protocol.py", "devices/_")
# Raised for subclasses and readers of the code, not for a mistake in a call.
NO_MISTAKE = {"AssertionError", "NotImplementedError", "StopIteration", "AttributeError"}
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


@pytest.mark.extra
def test_a_docstring_begins_with_no_pronoun():
    assert [line for file, tree in trees() for line in first_pronouns(file, tree)] == []


@pytest.mark.extra
def test_a_public_function_says_what_it_raises():
    unsaid = [
        line
        for file, tree in trees()
        if not file.startswith(RAISES_ELSEWHERE)
        for line in unsaid_errors(file, tree)
    ]
    assert unsaid == []


def test_what_is_looked_for_is_found():
    tree = ast.parse(
        '__all__ = ["f"]\ndef f(x):\n    """Its sum."""\n    raise ValueError("no")\n'
        'def g(x):\n    """A sum."""\n    raise ValueError("no")\n'
    )
    assert list(first_pronouns("a.py", tree)) == ["a.py:2: begins with 'Its'"]
    assert list(unsaid_errors("a.py", tree)) == ["a.py:2: f does not say that it raises ValueError"]
