"""The public surface by name: what `docs/policy.md` promises, in `tests/data/public_names.txt`.

    python -m tests.public_names    # in a clone: write the list anew, on purpose

The list has a line for each name in `__all__` of a public room, and for each public attribute of a
class there, under the class that has it first: "tapegrad.Tensor.sum".  A name that is taken away
stays in the list, as "removed: …", so that a test can ask the changelog about it; a release with
other first numbers drops these lines.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tapegrad import __version__

__all__ = ["LIST", "PAGE", "REMOVED", "listed", "public_names", "renewed", "rooms"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "policy.md"
LIST = Path(__file__).parent / "data" / "public_names.txt"
REMOVED = "removed: "
_HEAD = "# The public names of tapegrad {}: python -m tests.public_names writes this file."


def rooms(section: str = "What is public") -> dict[str, ModuleType]:
    """The rooms in the table of a section of docs/policy.md, by the name that users write."""
    text = PAGE.read_text(encoding="utf-8").split(f"# {section}\n", 1)[1].split("\n#", 1)[0]
    rows = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    return {name: _module(name) for row in rows for name in re.findall("`(.+?)`", row)}


def _module(name: str) -> ModuleType:
    """The module that a user reaches by this name, as an attribute or by an import."""
    parent, _, last = name.rpartition(".")
    found = getattr(_module(parent), last, None) if parent else None
    return found if isinstance(found, ModuleType) else importlib.import_module(name)


def public_names() -> set[str]:
    """Every public name as it is now."""
    places = rooms()
    shortest = sorted(places, key=lambda name: (name.count("."), name))
    names: set[str] = set()
    homes: dict[type, str] = {}
    for place in shortest:
        for name in places[place].__all__:
            found = getattr(places[place], name)
            names.add(f"{place}.{name}")
            if isinstance(found, type):
                homes.setdefault(found, f"{place}.{name}")
    for cls, place in homes.items():
        names |= {f"{place}.{attribute}" for attribute in _attributes(cls, homes)}
    return names


def _attributes(cls: type, public: dict[type, str]) -> Iterator[str]:
    """What a class has that no public class above it has: its own, and that of hidden bases."""
    inherited = {name for base in cls.__mro__[1:] if base in public for name in dir(base)}
    for base in cls.__mro__:
        if base.__module__.startswith("tapegrad"):
            own = {*vars(base), *inspect.get_annotations(base)}
            yield from (n for n in own - inherited if not n.startswith("_"))


def listed() -> tuple[str, set[str], set[str]]:
    """(version, names, removed names) of the list in the repository."""
    first, *lines = LIST.read_text(encoding="utf-8").splitlines()
    version = first.split(":")[0].split()[-1]
    removed = {line.removeprefix(REMOVED) for line in lines if line.startswith(REMOVED)}
    return version, {line for line in lines if not line.startswith(REMOVED)}, removed


def renewed(names: set[str], old: tuple[str, set[str], set[str]], version: str) -> str:
    """The list's new text, of the names as they are and the list that was."""
    before, known, removed = old
    gone = (known | (removed if _minor(before) == _minor(version) else set())) - names
    lines = sorted(names) + [f"{REMOVED}{name}" for name in sorted(gone)]
    return "\n".join([_HEAD.format(version), *lines]) + "\n"


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def main() -> int:
    """Write the list, and say what has changed."""
    old = listed() if LIST.exists() else (__version__, set(), set())
    names = public_names()
    LIST.write_text(renewed(names, old, __version__), encoding="utf-8")
    for sign, changed in (("+", names - old[1]), ("-", old[1] - names)):
        for name in sorted(changed):
            print(sign, name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
