"""Examples of public names, written in docs/examples/ and run while the site is built.

A file there belongs to a namespace, of which it has the path: `nn/mxnet/metric.py` to
`tapegrad.nn.mxnet.metric` (and `front_door.py` to `tapegrad`).  It is a program in cells, each
under a line with the names that it is an example of:

    import numpy as np
    from tapegrad.nn import mxnet as mx

    # %% MAE MSE
    metric = mx.metric.MAE()
    metric.get()

What stands above the first such line is known to every cell, and shown with it as far as the cell
uses it; cells know nothing of each other.  An expression is shown with its value, as at a prompt.
A name in the line that its cell does not use gets the cell with the line's first name replaced by
it: MSE the call of `mx.metric.MSE()`.  The last statement may raise an error, where the name is
one of that error.
"""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import os
import random
import re
import tempfile
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import tapegrad
from sitebuilder.places import DOCS

__all__ = ["FOLDER", "Example", "examples", "problems", "run", "shown"]

FOLDER = DOCS / "examples"
MARK = re.compile(r"^# %% (.*)\n", flags=re.MULTILINE)
WIDTH = 80  # of an error's message
TRACEBACK = "Traceback (most recent call last):\n    ..."


@dataclass(frozen=True)
class Example:
    """An example of a public name, or of several.

    names:  those of its line
    common: what the file says before its first cell
    code:   the cell
    """

    names: tuple[str, ...]
    common: str
    code: str


def _namespace(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(["tapegrad", *parts]) if parts != ("front_door",) else "tapegrad"


def _uses(code: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", code) is not None


@cache
def examples(folder: Path = FOLDER) -> dict[str, Example]:
    """The examples by the path of their name.  Raises ValueError for two of one name."""
    found: dict[str, Example] = {}
    for file in sorted(folder.rglob("*.py")):
        common, *cells = MARK.split(file.read_text(encoding="utf-8"))
        names: list[str] = []
        for line, code in zip(cells[::2], cells[1::2], strict=True):
            names += line.split()
            if not code.strip():
                continue  # the names go on in the next line
            for name in names:
                path = f"{_namespace(file.relative_to(folder))}.{name}"
                if path in found:
                    raise ValueError(f"{file}: two examples of {name}")
                own = code
                if not _uses(code, name) and _uses(code, names[0]):
                    own = re.sub(rf"\b{re.escape(names[0])}\b", name, code)
                found[path] = Example(tuple(names), common, own)
            names = []
    return found


def _bound(node: ast.AST) -> set[str]:
    """The names that a statement gives a meaning, or changes: `a[0] = 1`."""
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.ctx, ast.Store):
            found.add(re.split(r"[.\[]", ast.unparse(part))[0])
        if isinstance(part, ast.alias):
            found.add((part.asname or part.name).partition(".")[0])
        elif isinstance(part, (ast.FunctionDef, ast.ClassDef)):
            found.add(part.name)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            found.add(part.id)
    return found


def _read(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _needed(common: str, code: str) -> list[str]:
    """The statements above the cells that a cell uses, and those that these use.

    A call that stands alone is taken where the cell uses what it begins with: `metric.update(y)`.
    Of `from … import …` only the names that are used are taken.
    """
    wanted = _read(ast.parse(code))
    kept: list[str] = []
    for node in reversed(ast.parse(common).body):
        alone = ast.unparse(node).partition(".")[0] if isinstance(node, ast.Expr) else ""
        if not _bound(node) & wanted and alone not in wanted:
            continue
        wanted |= _read(node)
        if isinstance(node, ast.ImportFrom):
            node.names = [name for name in node.names if (name.asname or name.name) in wanted]
            kept.append(ast.unparse(node))
        else:
            kept.append(_source(common, node))
    return kept[::-1]


def _source(text: str, node: ast.stmt) -> str:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])


def _at_a_prompt(source: str) -> str:
    first, *rest = source.splitlines()
    return "\n".join([f">>> {first}", *(f"... {line}".rstrip() for line in rest)])


def _run(node: ast.stmt, known: dict[str, Any]) -> None:
    """Run a statement, as a prompt does: the value of an expression is printed."""
    if isinstance(node, ast.Expr):
        value = eval(compile(ast.Expression(node.value), "<stdin>", "eval"), known)  # noqa: S307  # our own file
        if value is not None:
            print(repr(value))
    else:
        exec(compile(ast.Module([node], []), "<stdin>", "exec"), known)  # noqa: S102  # our own file


def _wrapped(message: str) -> str:
    """An error's message in lines that fit onto a page."""
    return "\n".join(
        part
        for line in message.splitlines()
        for part in textwrap.wrap(line, WIDTH, subsequent_indent="    ") or [""]
    )


@contextlib.contextmanager
def _apart() -> Iterator[io.StringIO]:
    """A block that starts in an empty folder with the same random numbers; gives what it prints."""
    home, root = Path.cwd(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    tapegrad.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  # MXNet's names draw from it, too
    random.seed(0)
    with (
        tempfile.TemporaryDirectory() as folder,
        np.printoptions(precision=4, suppress=True),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()) as out,
    ):
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            yield out
        finally:
            os.chdir(home)
            root.handlers[:] = handlers
            root.setLevel(level)


@cache
def run(example: Example) -> str:
    """The example as at a prompt, with what it shows; an error that it is not about passes."""
    known: dict[str, Any] = {"__name__": "__main__"}
    lines: list[str] = []
    with _apart() as out:
        for source in _needed(example.common, example.code):
            lines.append(_at_a_prompt(source))
            _run(ast.parse(source).body[0], known)
        for node in ast.parse(example.code).body:
            lines.append(_at_a_prompt(_source(example.code, node)))
            out.seek(0)
            out.truncate()
            try:
                _run(node, known)
            except Exception as error:
                if not any(cls.__name__ in example.names for cls in type(error).__mro__):
                    raise
                print(f"{TRACEBACK}\n{_wrapped(f'{type(error).__name__}: {error}')}")
            lines.append(out.getvalue().rstrip())
    return "\n".join(line for line in lines if line)


def shown(path: str) -> str:
    """What the example of a name shows, "" where it has none.

    Where a library is missing that the example needs, it is the code alone.
    """
    example = examples().get(path)
    if example is None:
        return ""
    try:
        return run(example)
    except ImportError:
        own = [_source(example.code, node) for node in ast.parse(example.code).body]
        return "\n".join(map(_at_a_prompt, _needed(example.common, example.code) + own))


def problems(found: Mapping[str, Example]) -> Iterator[str]:
    """A line for each example that fails, shows nothing, or shows what differs in each run."""
    for path, example in found.items():
        name = path.rpartition(".")[2]
        try:
            text = run(example)
        except Exception as error:  # noqa: BLE001  # the line says which
            yield f"{path}: {type(error).__name__}: {error}\n{example.code}"
            continue
        if all(line.startswith((">>> ", "...")) for line in text.splitlines()):
            yield f"{path}: shows nothing"
        if " at 0x" in text or tempfile.gettempdir() in text:
            yield f"{path}: shows an address in memory, or a folder of one run:\n{text}"
        if not _uses(text, name):
            yield f"{path}: does not use its name"
