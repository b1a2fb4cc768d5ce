"""What the tables of documentation pages say of names: found, read and held against the package.

A table counts where a column is headed with a word of HEADS.  In the cells of that column each code
span is Python: an expression or a statement.  Names stand for what `world` has; any other bare
name, such as `n_in`, stands for a value of the reader's.  A name that is called, or whose attribute
is taken, must be in `world`, the attribute must exist, and the call accept the arguments shown;
`…` among them stands for any others.  A name that is no name of `world` and is called, or stands
alone, as `freeze()` does, is looked for in HOMES.  A span that begins with `tapegrad `, `pytest `
or `pip ` is a command line.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np

import tapegrad
from tapegrad import nn, ops, optim
from tapegrad.autograd import check
from tapegrad.devices import collectives
from tapegrad.nn import mxnet
from tapegrad.nn.formats import onnx, tensorflow, torch7, weights
from tapegrad.optim import bigdl

__all__ = ["COMMANDS", "complaints", "spans", "subcommands", "world"]

HEADS = {"here", "how", "tapegrad", "write"}
COMMANDS = ("tapegrad ", "pytest ", "pip ")
ROW = re.compile(r"^\|(.*)\|\s*$")
CELL = re.compile(r"(?<!\\)\|(?=(?:[^`]*`[^`]*`)*[^`]*$)")  # a bar inside of code divides nothing
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
ARGUMENT = re.compile(r"\w+=(…)?$")  # `axis=`: the name of an argument, of whatever call
ENDING = re.compile(r"\.\w+$")  # `.npz`: how a file's name ends
HOMES = (
    *("nn", "check", "optim", "bigdl", "data", "tg", "ops", "model", "layer", "criterion"),
    *("optimizer", "trainer", "t", "job", "mod", "handle", "data_set", "rnn", "found", "metric"),
)
UNKNOWN = object()  # a value of which nothing is known


def spans(text: str) -> Iterator[tuple[int, str]]:
    """(line, code) of each code span in a column of ours."""
    columns: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        row = ROW.match(line)
        if row is None:
            columns = None
            continue
        cells = [cell.strip() for cell in CELL.split(row[1])]
        if columns is None:
            columns = [cell.lower() for cell in cells]
            continue
        for head, cell in zip(columns, cells, strict=True):
            if head in HEADS:
                for code in CODE.findall(cell):
                    yield number, code.replace(r"\|", "|")


@cache
def world() -> dict[str, Any]:
    """What names in tables stand for."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x, y = np.ones((6, 3), np.float32), np.array([0, 1, 0, 1, 0, 1])
    model.forward(x)
    criterion = nn.CrossEntropyCriterion()
    optimizer = optim.Adam(model, lr=0.01)
    trainer = optim.Trainer(model, criterion, optimizer, progress=False)
    t = tapegrad.Parameter(np.ones((2, 2), np.float32))
    net = mxnet.mod.Module(nn.Linear(3, 2), loss=nn.MSECriterion())
    entry = nn.Input()
    return {
        **vars(builtins),
        "np": np,
        "tg": tapegrad,
        "tapegrad": tapegrad,
        "nn": nn,
        "ops": ops,
        "optim": optim,
        "bigdl": bigdl,
        "mx": mxnet,
        "hips": tapegrad.hips,
        "onnx": onnx,
        "torch7": torch7,
        "tensorflow": tensorflow,
        "weights": weights,
        "data": nn.data,
        "check": check,
        "collectives": collectives,
        "model": model,
        "net": model,
        "layer": model.get(0),
        "child": model.get(1),
        "module": model,
        "weight": t,
        "criterion": criterion,
        "optimizer": optimizer,
        "method": bigdl.SGD(0.1),
        "job": bigdl.Optimizer(model, (x, y), criterion, batchSize=2),
        "trainer": trainer,
        "mod": net,
        "t": t,
        "p": t,
        "x": t,
        "y": t,
        "rows": t,
        "columns": t,
        "a": t,
        "loss": criterion(model(x), y),
        "f": tapegrad.custom_vjp(np.tanh),
        "node": entry,
        "graph": nn.Graph(entry, nn.Tanh().inputs(entry)),
        "found": optim.LRFindResult,
        "rnn": nn.SeqLSTM(3, 4),
        "attention": nn.MultiHeadAttention(4, 2),
        "step": tapegrad.compile(lambda v: v),
        "handle": model.register_forward_hook(lambda *_: None),
        "data_set": nn.data.DataSet.array([nn.data.Sample(v, 0) for v in x]),
        "sample": nn.data.Sample(x[0], 0),
        "matrix": optim.ConfusionMatrix(["a", "b"]),
        "metric": optim.Accuracy(),
        "state": {},
        "scipy": UNKNOWN,
        "writer": UNKNOWN,  # of tensorboardX
        "add_histogram": UNKNOWN,
    }


def complaints(code: str) -> Iterator[str]:
    """What is wrong with the code of one span; nothing where all is well."""
    if code.startswith(COMMANDS):
        yield from _of_command(code)
        return
    if ARGUMENT.match(code) or ENDING.match(code) or not any(c.isalpha() for c in code):
        return
    if code.isidentifier():
        if code not in world() and code not in words() and not any(_homes(code)):
            yield f"nothing of ours is called {code}"
        return
    source = code.removeprefix("@").replace("…", "...")
    if source.rstrip().endswith(":"):
        source += " pass"
    try:
        tree = ast.parse(source)
    except SyntaxError:
        yield "neither Python nor a command"
        return
    reader = _Reader()
    reader.visit(tree)
    yield from reader.found


@cache
def words() -> frozenset[str]:
    """Names of arguments, methods and attributes of what our namespaces hold."""
    found = set(dir(np))
    for home in ("nn", "optim", "bigdl", "data", "tg", "hips"):
        for value in vars(world()[home]).values():
            if isinstance(value, type):
                found |= set(dir(value))
            if callable(value):
                with contextlib.suppress(TypeError, ValueError):
                    found |= set(inspect.signature(value).parameters)
    return frozenset(found)


def _homes(name: str) -> Iterator[Any]:
    """What is called so among the things of ours that have names."""
    for home in HOMES:
        if hasattr(world()[home], name):
            yield getattr(world()[home], name)


class _Instance:
    """The object that a class would make, of which nothing but the class is known."""

    def __init__(self, cls: type) -> None:
        self.cls = cls

    def attribute(self, name: str, missing: Callable[[], Any]) -> Any:
        if not hasattr(self.cls, name):
            return missing()
        found = inspect.getattr_static(self.cls, name)
        if inspect.isfunction(found):
            return partial(found, None)  # for its signature without `self`
        return UNKNOWN


class _Reader(ast.NodeVisitor):
    """Resolves names, attributes and calls, and notes what does not exist."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.own: dict[str, Any] = {}

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            __import__(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = __import__(node.module or "", fromlist=["*"])
        for alias in node.names:
            if alias.name != "*" and not hasattr(module, alias.name):
                self.found.append(f"{node.module} has no {alias.name}")

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            self.value(base)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """A signature that the reader writes: nothing in it is ours."""

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """A function that the reader writes."""

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.value(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.value(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.value(node)

    def value(self, node: ast.AST) -> Any:
        """What an expression is, as far as it can be known; what is wrong in it is noted."""
        if isinstance(node, ast.Name):
            return world().get(node.id, UNKNOWN)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        self.generic_visit(node)
        return UNKNOWN

    def _attribute(self, node: ast.Attribute) -> Any:
        if isinstance(node.value, ast.Name) and node.value.id not in world():
            if node.value.id != "self":
                self.found.append(f"what is {node.value.id}? say it in tests/page_tables.py")
            return UNKNOWN
        owner = self.value(node.value)
        if owner is UNKNOWN:
            return UNKNOWN
        if isinstance(owner, _Instance):
            return owner.attribute(node.attr, lambda: self._missing(node))
        if isinstance(node.ctx, ast.Store) and not isinstance(owner, (type, ModuleType)):
            return UNKNOWN if hasattr(owner, node.attr) else self._missing(node)
        try:
            return getattr(owner, node.attr)
        except AttributeError:
            return self._missing(node)
        except Exception:  # noqa: BLE001  # it is there, and has no value yet
            return UNKNOWN

    def _missing(self, node: ast.Attribute) -> Any:
        self.found.append(f"{ast.unparse(node)} does not exist")
        return UNKNOWN

    def _call(self, node: ast.Call) -> Any:
        function = self.value(node.func)
        if isinstance(node.func, ast.Name) and node.func.id not in world():
            homes = list(_homes(node.func.id))
            if not homes:
                self.found.append(f"what is {node.func.id}? say it in tests/page_tables.py")
            else:  # of several, the one that takes these arguments
                function = next((h for h in homes if not self._misfit(node, h)), homes[0])
        for part in (*node.args, *(keyword.value for keyword in node.keywords)):
            self.value(part)
        if function is UNKNOWN:
            return UNKNOWN
        if isinstance(function, _Instance):
            return UNKNOWN
        if not callable(function):
            self.found.append(f"{ast.unparse(node.func)} cannot be called")
            return UNKNOWN
        misfit = self._misfit(node, function)
        if misfit:
            self.found.append(f"{ast.unparse(node)}: {misfit}")
        return _Instance(function) if isinstance(function, type) else UNKNOWN

    @staticmethod
    def _misfit(node: ast.Call, function: Any) -> str:
        """Why a function would not take the arguments of a call; "" where it does."""
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # of functions in C there is none
            return ""
        given = [a for a in node.args if not _stands_for_any(a)]
        named = {k.arg: None for k in node.keywords if k.arg is not None}
        whole = len(given) == len(node.args) and len(named) == len(node.keywords)
        named_alone = isinstance(node.func, ast.Name) and not given  # `fit(resume=True)`
        whole = whole and bool(node.args + node.keywords) and not named_alone
        bind = signature.bind if whole else signature.bind_partial
        try:
            bind(*given, **named)
        except TypeError as error:
            return str(error)
        return ""


def _stands_for_any(node: ast.AST) -> bool:
    return isinstance(node, ast.Starred) or (
        isinstance(node, ast.Constant) and node.value is Ellipsis
    )


def _of_command(code: str) -> Iterator[str]:
    """What is wrong with a command line of tapegrad."""
    program, *words = code.split()
    if program != "tapegrad":
        return
    commands = subcommands()
    if not words or words[0] not in commands:
        yield f"tapegrad has the commands {', '.join(sorted(commands))}"
        return
    known = {option for action in commands[words[0]]._actions for option in action.option_strings}
    for word in words[1:]:
        if word.startswith("--") and word.partition("=")[0] not in known and word != "--":
            yield f"tapegrad {words[0]} has no {word}"


@cache
def subcommands() -> dict[str, argparse.ArgumentParser]:
    """The commands of the command line, by name."""
    from tapegrad import cli

    parser = cli._parser()
    return next(a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
