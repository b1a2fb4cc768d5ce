"""Which page uses which name: the code on a page is parsed and its names are resolved.

`tg.grad`, `grad` after `from tapegrad import grad`, and `np.tanh`, which runs the primitive tanh,
are found as the objects that they are; a word that only looks like a name is not.
"""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from typing import Any

from sitebuilder.names import PublicName, name_of, namespaces, public_names

__all__ = ["imported_modules", "mentioned_names", "used_names"]

MISSING = object()
# What the prose of a page takes for imported.
KNOWN = """
import numpy as np, scipy, tapegrad, tapegrad as tg
from tapegrad import nn, ops, optim
from tapegrad.nn import mxnet as mx
"""


@cache
def _behind_numpy() -> dict[int, Any]:
    """What runs when a function of NumPy meets a Tensor, where it has a public name itself."""
    import tapegrad.scipy  # noqa: F401  # declares what SciPy's ufuncs run
    from tapegrad.autograd.core.declaration import numpy_functions

    return {id(function): runs for function, runs in numpy_functions.items()}


def _parsed(blocks: Iterable[str]) -> Iterator[ast.AST]:
    for block in blocks:
        lines = [line for line in block.splitlines() if not line.lstrip().startswith(("%", "!"))]
        try:
            yield from ast.walk(ast.parse("\n".join(lines)))
        except SyntaxError:  # an excerpt with an ellipsis in the wrong place is prose
            continue


def _environment(nodes: list[ast.AST]) -> dict[str, Any]:
    """What the imports of a page bring: names with their objects."""
    known: dict[str, Any] = {}
    for node in nodes:
        try:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] in {"tapegrad", "numpy", "scipy"}:
                        module = import_module(alias.name)
                        top = import_module(alias.name.split(".")[0])
                        known[alias.asname or top.__name__] = module if alias.asname else top
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tapegrad"):
                module = import_module(node.module or "")
                for alias in node.names:
                    if alias.name == "*":
                        known |= {n: getattr(module, n) for n in getattr(module, "__all__", ())}
                    else:
                        known[alias.asname or alias.name] = getattr(module, alias.name, MISSING)
        except ImportError:
            continue
    return known


def mentioned_names(prose: str, topic: str = "") -> set[PublicName]:
    """The public names in the backticks of a text, such as `nn.Linear(n_in, n_out)`.

    topic: "scipy", or "bigdl_files": the namespaces with its first word as a part are those whose
           names the text may use without saying where they are
    """
    spans = [code.replace("…", "...") for code in re.findall(r"`([^`\n]+)`", prose)]
    found = used_names([KNOWN, *(code for code in spans if "." in code)])
    spaces = {
        path[: path.index(word) + len(word)] + rest
        for word in {topic, topic.partition("_")[0]} - {""}
        for path in namespaces()
        if word in path.split(".")
        for rest in ("", path[path.index(word) + len(word) :])
    }
    for code in spans:
        name = code.partition("(")[0]
        paths = (f"{space}.{name}" for space in spaces)
        found |= {public_names()[path] for path in paths if path in public_names()}
    # An error is known by its name alone.
    errors = {f"tapegrad.errors.{word}" for word in re.findall(r"\b\w+(?:Error|Warning)\b", prose)}
    return found | {public_names()[path] for path in errors & set(public_names())}


def used_names(blocks: Iterable[str]) -> set[PublicName]:
    """The public names that code uses; blocks of one page know the imports of each other."""
    nodes = list(_parsed(blocks))
    known = _environment(nodes)
    found: set[PublicName] = set()
    for node in nodes:
        value = _value(node, known)
        if value is MISSING or isinstance(value, types.ModuleType):
            continue
        for candidate in (value, _behind_numpy().get(id(value), MISSING)):
            public = None if candidate is MISSING else name_of(candidate)
            if public is not None:
                found.add(public)
    return found


def _value(node: ast.AST, known: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return known.get(node.id, MISSING)
    if isinstance(node, ast.Attribute):
        home = _value(node.value, known)
        if isinstance(home, types.ModuleType):
            try:
                return getattr(home, node.attr, MISSING)
            except (ImportError, LookupError, TypeError):
                return MISSING
    return MISSING


def imported_modules(blocks: Iterable[str]) -> set[str]:
    """The modules of tapegrad from which code imports names."""
    return {
        node.module
        for node in _parsed(blocks)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tapegrad")
    }
