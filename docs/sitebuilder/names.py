"""Every public name: what `__all__` lists, from the front door on, with its family.

Nothing here is a list of names.  Namespaces are found from the front door through `__all__`; those
that are imported only when somebody asks for them are named beside it, and a test fails for a
module that a page of docs/ imports and that is not found.  The *family* of a name is the file that
declares it.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from sitebuilder.places import ROOT

__all__ = ["Namespace", "PublicName", "comment_at", "name_of", "namespaces", "public_names"]

# The front door; two namespaces that are the home of what others hand on as well; and the doors
# that open when they are first named.
DOORS = (
    "tapegrad",
    "tapegrad.errors",
    "tapegrad.ops",
    "tapegrad.autograd.check",
    "tapegrad.nn.formats",
    "tapegrad.nn.mxnet",
    "tapegrad.optim.bigdl",
    # what pages import who add something: rules of batching, declarations of state, protobuf
    "tapegrad.autograd.ops.batch_rules",
    "tapegrad.nn.core.state",
    "tapegrad.nn.formats.common.protobuf",
)


ASSIGNMENT = re.compile(r"((?:\w+, )*\w+)(?:: [^=]*)? = ")


@dataclass(frozen=True)
class PublicName:
    """A public object at the place where it is documented.

    path:   its shortest public path, "tapegrad.nn.Linear"
    family: the module that declares it, "tapegrad.nn.layers.linear"
    """

    path: str
    family: str
    value: Any = field(compare=False)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def namespace(self) -> str:
        """The path of the namespace."""
        return self.path.rpartition(".")[0]

    @property
    def kind(self) -> str:
        """One of class, function and data, as Sphinx calls them."""
        if inspect.isclass(self.value) and self.value.__module__.startswith("tapegrad"):
            return "class"
        # a second name of a type of others, tuple[int, ...], is described where it is given
        alias = inspect.isclass(self.value) or type(self.value).__module__ in {"typing", "types"}
        return "function" if callable(self.value) and not alias else "data"

    @property
    def doc(self) -> str:
        """The docstring, for a constant the comment at its declaration; "" where there is none."""
        if self.kind == "data":
            described = type(self.value).__module__.startswith("tapegrad")
            own = comment_at(self.family, self.name)
            return own or (inspect.getdoc(type(self.value)) or "" if described else "")
        doc = inspect.getdoc(self.value) or ""
        return doc if not inspect.isclass(self.value) or vars(self.value).get("__doc__") else ""


@dataclass
class Namespace:
    """A module that people write in front of a name."""

    path: str
    module: types.ModuleType
    names: list[PublicName] = field(default_factory=list)
    also: dict[str, str] = field(default_factory=dict)  # names documented elsewhere: their paths

    @property
    def families(self) -> dict[str, list[PublicName]]:
        """The names by the file that declares them, both in the order of `__all__`."""
        found: dict[str, list[PublicName]] = {}
        for name in self.names:
            found.setdefault(name.family, []).append(name)
        return found


@cache
def namespaces() -> dict[str, Namespace]:
    """All namespaces by path, the front door first, then breadth first."""
    found: dict[str, Namespace] = {}
    home: dict[int, PublicName] = {}
    waiting = [(path, _module(path)) for path in DOORS]
    seen: set[str] = set()
    while waiting:
        path, module = waiting.pop(0)
        if module.__name__ in seen:
            continue
        seen.add(module.__name__)
        space = found[path] = Namespace(path, module)
        for name, value in _members(module):
            if isinstance(value, types.ModuleType):
                if value.__name__.startswith("tapegrad"):
                    # A short second name, mx.nd beside mx.ndarray, is no place of its own.
                    last = value.__name__.rpartition(".")[2]
                    known = last if last != name and getattr(module, last, None) is value else name
                    waiting.append((f"{path}.{known}", value))
                continue
            if name.startswith("__"):
                continue
            family = str(getattr(value, "__module__", None) or module.__name__)
            ours = family.startswith("tapegrad")  # numbers and Any are the same object everywhere
            if ours and id(value) in home:
                space.also[name] = home[id(value)].path
                continue
            if not ours:
                family = module.__name__
            entry = PublicName(f"{path}.{name}", family, value)
            home[id(value)] = entry
            space.names.append(entry)
    _add_operators(found)
    return {path: space for path, space in found.items() if space.names or space.also}


def _module(path: str) -> types.ModuleType:
    """The module of a public path, which need not be the name under which Python imports it."""
    home, _, name = path.rpartition(".")
    found = getattr(import_module(home), name, None) if home else None
    return found if isinstance(found, types.ModuleType) else import_module(path)


def comment_at(module: str, name: str) -> str:
    """What the comments say above, or behind, the assignment to a name.

    A comment is about all lines below it, up to the next empty one.  The name is looked for in the
    module's own file, in the files of its folder, and then in the whole package.
    """
    home = Path(import_module(module).__file__ or "")
    near = [home, *sorted(home.parent.rglob("*.py"))] if home.name == "__init__.py" else [home]
    for file in dict.fromkeys([*near, *_files()]):
        if said := _assignments(file).get(name):
            return said
    return ""


@cache
def _files() -> tuple[Path, ...]:
    folders = ("autograd", "devices", "nn", "optim", "package")
    return tuple(file for folder in folders for file in sorted((ROOT / folder).rglob("*.py")))


@cache
def _assignments(file: Path) -> dict[str, str]:
    """The comments of the names that a file assigns at its top level, "" for those without."""
    found: dict[str, str] = {}
    above: list[str] = []
    begun = False  # whether an assignment has followed the comment
    for line in file.read_text(encoding="utf-8").splitlines():
        assigned = ASSIGNMENT.match(line)
        if line.startswith("# "):
            above = [] if begun else above
            begun = False
            above.append(line.removeprefix("# "))
        elif assigned:
            begun = True
            for name in assigned[1].split(", "):
                found.setdefault(name, "\n".join(above) or line.partition("  # ")[2])
        elif not line.startswith((" ", ")", "]", "}")):
            above, begun = [], False
    return found


def _members(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """The public names of a module; of one without `__all__`, what it declares itself."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        yield from ((name, getattr(module, name)) for name in dict.fromkeys(listed))
        return
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            yield name, value


def _add_operators(found: dict[str, Namespace]) -> None:
    """MXNet's operators, which `mx.nd` and `mx.sym` make functions of when they are named."""
    from tapegrad.nn.mxnet import ndarray
    from tapegrad.nn.mxnet.declaration import operators

    space = found["tapegrad.nn.mxnet.ndarray"]
    for name, operator in operators().items():
        if name.startswith("_") or name in space.also or not hasattr(ndarray, name):
            continue
        if any(known.name == name for known in space.names):
            continue
        family = getattr(
            getattr(operator, "body", None), "__module__", "tapegrad.nn.mxnet.operators"
        )
        space.names.append(PublicName(f"{space.path}.{name}", family, getattr(ndarray, name)))


@cache
def public_names() -> dict[str, PublicName]:
    """All public names by path."""
    return {name.path: name for space in namespaces().values() for name in space.names}


@cache
def _by_identity() -> dict[int, PublicName]:
    return {id(name.value): name for name in public_names().values()}


def name_of(value: Any) -> PublicName | None:
    """The public name of an object, or None."""
    found = _by_identity().get(id(value))
    return found if found is not None and found.value is value else None
