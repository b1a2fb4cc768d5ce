"""Where each public name stands in the reference, and how pages link to it.

The families are the files that declare the names, so that no list says what stands where: layers
stand as in nn/layers/, operations as in autograd/ops/.  A small namespace is one page; of a large
one each family is, or a folder of small families.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache

from sitebuilder.names import Namespace, PublicName, namespaces, public_names

__all__ = ["address", "folder_of", "linker", "pages_of", "places", "short"]

MANY = 40  # names on one page
FEW = 26  # names of a folder, to be on one page


@cache
def places() -> dict[str, str]:
    """The page, relative to docs/, of each public name."""
    return {
        name.path: page
        for space in namespaces().values()
        for page, groups in pages_of(space).items()
        for names in groups.values()
        for name in names
    }


def folder_of(path: str) -> str:
    """The folder of a page, as os.path takes it: "." for docs/ itself."""
    return path.rpartition("/")[0] or "."


def short(path: str) -> str:
    """The path of a namespace as files of the reference are called."""
    return path.removeprefix("tapegrad.")


def _common(paths: list[list[str]]) -> list[str]:
    """The parts with which all paths begin."""
    shortest = min(map(len, paths))
    same = (len({path[n] for path in paths}) == 1 for n in range(shortest))
    return paths[0][: next((n for n, equal in enumerate(same) if not equal), shortest)]


@cache
def _pages_by_path(path: str) -> dict[str, dict[str, list[PublicName]]]:
    space = namespaces()[path]
    home = f"reference/{short(path)}"
    families = space.families
    if len(space.names) <= MANY or len(families) == 1:
        return {f"{home}.md": families}
    common = _common([family.split(".") for family in families])
    sizes: dict[str, int] = {}
    for family, names in families.items():
        folder = ".".join(family.split(".")[:-1])
        sizes[folder] = sizes.get(folder, 0) + len(names)
    pages: dict[str, dict[str, list[PublicName]]] = {}
    for family, names in families.items():
        folder = ".".join(family.split(".")[:-1])
        inside = len(folder.split(".")) > len(common)
        group = folder if inside and sizes[folder] <= FEW else family
        rest = ".".join(group.split(".")[len(common) :]) or family.rpartition(".")[2]
        pages.setdefault(f"{home}/{rest}.md", {})[family] = names
    return pages


def pages_of(space: Namespace) -> dict[str, dict[str, list[PublicName]]]:
    """The pages of a namespace: on each, names by family."""
    return _pages_by_path(space.path)


# Addresses ----------------------------------------------------------------------------------------


def address(name: PublicName, page: str) -> str:
    """The address of a name, from another page."""
    target = places()[name.path].removesuffix(".md") + ".html"
    return f"{os.path.relpath(target, folder_of(page))}#{name.path}"


@cache
def _by_word() -> dict[str, list[PublicName]]:
    found: dict[str, list[PublicName]] = {}
    for name in public_names().values():
        found.setdefault(name.name, []).append(name)
    return found


def linker(page: str, space: Namespace) -> Callable[[str], str | None]:
    """From a word in backticks to its address on the site, or None."""

    def link(word: str) -> str | None:
        found = re.match(r"(?:(?:tapegrad|tg)\.)?([A-Za-z_][\w.]*)", word)
        if not found:
            return None
        path = found[1]
        candidates = [f"{space.path}.{path}", f"tapegrad.{path}"]
        for candidate in candidates:
            if candidate in public_names():
                return address(public_names()[candidate], page)
        if path in space.also:
            return address(public_names()[space.also[path]], page)
        alone = _by_word().get(path, [])
        fits = len(alone) == 1 and len(path) > 3 and "mxnet" not in alone[0].path
        return address(alone[0], page) if fits else None

    return link
