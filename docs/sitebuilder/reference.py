"""The pages of the reference: one for each namespace, and for each family of a large one.

A page begins with a table of its names.  Which page that is, says addresses.py; what stands in an
entry, entries.py.
"""

from __future__ import annotations

import html
import inspect
import os
import re
from collections.abc import Iterator, Mapping

from sitebuilder import docstrings
from sitebuilder.addresses import address, folder_of, linker, pages_of, short
from sitebuilder.entries import Uses, entry, heading, intro, table
from sitebuilder.names import Namespace, PublicName, namespaces, public_names

__all__ = ["all_names", "reference_pages"]


def reference_pages(uses: Uses) -> dict[str, str]:
    """All pages of the reference, as Markdown, by their path relative to docs/."""
    pages: dict[str, str] = {}
    for space in namespaces().values():
        home = _home(space)
        groups = pages_of(space)
        if list(groups) == [home]:
            pages[home] = _page(f"`{space.path}`", space, home, groups[home], uses)
        else:
            pages |= _family_pages(space, uses)
            pages[home] = "\n\n".join(
                [
                    f"# `{space.path}`",
                    *intro(space.module.__name__, linker(home, space)),
                    *_lists(space),
                    _also(space, home),
                    all_names(space, home),
                ]
            )
        inside = [other for other in namespaces().values() if _parent(other) == space.path]
        if inside:
            pages[home] += "\n\n## Namespaces inside\n\n" + _list_of(inside, home) + "\n"
    pages["reference/index.md"] = _index()
    return pages


def _home(space: Namespace) -> str:
    return f"reference/{short(space.path)}.md"


def _parent(space: Namespace) -> str:
    """The namespace on whose page this one is listed; "" for those of the index."""
    path = space.path.rpartition(".")[0]
    while path and path not in namespaces():
        path = path.rpartition(".")[0]
    return "" if path == "tapegrad" else path


def _list_of(spaces: list[Namespace], page: str) -> str:
    lines = []
    for space in sorted(spaces, key=lambda s: s.path):
        first = re.sub(r"^tapegrad[\w.]*: ", "", inspect.getdoc(space.module) or "")
        target = os.path.relpath(_home(space), folder_of(page))
        what = docstrings.first_sentence(first)
        what = what[:1].upper() + what[1:]
        lines.append(f"- [{space.path}]({target})" + (f": {what}" if what else ""))
    return "\n".join(lines)


def _folders(space: Namespace) -> dict[str, dict[str, str]]:
    """The pages of a large namespace by folder: {folder: {rest of the path: page}}."""
    home = _home(space).removesuffix(".md")
    found: dict[str, dict[str, str]] = {}
    for page in pages_of(space):
        rest = page.removeprefix(f"{home}/").removesuffix(".md")
        found.setdefault(rest.rpartition(".")[0], {})[rest] = page
    return found


def _family_pages(space: Namespace, uses: Uses) -> dict[str, str]:
    """The pages of the families, and a page for each folder of several."""
    pages: dict[str, str] = {}
    groups = pages_of(space)
    for folder, inside in _folders(space).items():
        for rest, page in inside.items():
            title = f"`{space.path}`: {heading(rest).lower()}"
            pages[page] = _page(title, space, page, groups[page], uses)
        if folder and len(inside) > 1:
            path = _folder_page(space, folder)
            words = intro(_package(space, folder), linker(path, space))
            pages[path] = "\n\n".join(
                [
                    f"# `{space.path}`: {heading(folder).lower()}",
                    *words,
                    _items(inside, groups, path),
                ]
            )
    return pages


def _folder_page(space: Namespace, folder: str) -> str:
    return f"{_home(space).removesuffix('.md')}/{folder}/index.md"


def _package(space: Namespace, folder: str) -> str:
    """The module of a folder of families."""
    for family in space.families:
        if f".{folder}." in f".{family}.":
            return family[: f"{family}.".index(f".{folder}.") + len(folder) + 1]
    return space.module.__name__


def _items(
    inside: dict[str, str], groups: Mapping[str, dict[str, list[PublicName]]], page: str
) -> str:
    lines = []
    for rest, target in inside.items():
        names = [name for group in groups[target].values() for name in group]
        some = ", ".join(f"`{name.name}`" for name in names[:8])
        more = f" … {len(names)} names" if len(names) > 8 else ""
        shown = os.path.relpath(target, folder_of(page))
        lines.append(f"- [{heading(rest)}]({shown}): {some}{more}")
    return "\n".join(lines)


def _lists(space: Namespace) -> Iterator[str]:
    """The lists of a large namespace's own page: its folders, and the families that lie in none."""
    home = _home(space)
    groups = pages_of(space)
    folders: list[str] = []
    alone: dict[str, str] = {}
    for folder, inside in _folders(space).items():
        if folder and len(inside) > 1:
            target = os.path.relpath(_folder_page(space, folder), folder_of(home))
            words = ", ".join(
                f"[{heading(rest).lower()}]({os.path.relpath(page, folder_of(home))})"
                for rest, page in inside.items()
            )
            folders.append(f"- [{heading(folder)}]({target}): {words}")
        else:
            alone |= inside
    if folders:
        yield "\n".join(folders)
    if alone:
        yield _items(alone, groups, home)


def all_names(space: Namespace, page: str) -> str:
    """The names of a large namespace in alphabetical order, each a link to its entry."""
    names = [n for groups in pages_of(space).values() for group in groups.values() for n in group]
    links = ", ".join(
        f'<a href="{address(name, page)}"><code>{html.escape(name.name)}</code></a>'
        for name in sorted(names, key=lambda name: name.name.lower())
    )
    return f"## All names, A to Z\n\n```{{raw}} html\n<p class='names'>{links}</p>\n```"


def _index() -> str:
    """The first page of the reference."""
    count = len(public_names())
    top = [space for space in namespaces().values() if not _parent(space)]
    return (
        "# Reference\n\n"
        f"The {count:,} public names of tapegrad, by namespace, from their docstrings. "
        "The search box finds each by its name. "
        "Shapes are written as tuples: `x: (N, n_in) -> (N, n_out)` takes an array of two axes "
        "and returns one."
        "\n\n" + _list_of(top, "reference/index.md") + "\n"
    )


def _page(
    title: str, space: Namespace, page: str, families: dict[str, list[PublicName]], uses: Uses
) -> str:
    link = linker(page, space)
    parts = [f"# {title}"]
    alone = len(families) == 1
    own = space.module.__name__
    if own in families or not alone:
        parts += intro(own, link) if page == f"reference/{short(space.path)}.md" else []
    parts.append(f"```{{py:currentmodule}} {space.path}\n```")
    for family, names in families.items():
        if not alone:
            parts.append(f"## {heading(family)}")
        if family != own:
            parts += intro(family, link)
        parts.append(table(names, page, space))
        parts += [entry(name, space, page, uses) for name in names]
    if space.also and page == f"reference/{short(space.path)}.md":
        parts.append(_also(space, page))
    return "\n\n".join(parts) + "\n"


def _also(space: Namespace, page: str) -> str:
    """Names that the namespace hands on, with the place where they are described."""
    items = ", ".join(
        f'<a href="{address(public_names()[path], page)}"><code>{html.escape(name)}</code></a>'
        for name, path in sorted(space.also.items())
    )
    return f"```{{raw}} html\n<p class='facts'>Described elsewhere: {items}.</p>\n```"
