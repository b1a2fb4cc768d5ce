"""The pages of docs/: their titles, their links, and the order in which a reader finds them.

No list names the pages.  A page's *children* are the pages to which the items of its lists lead,
where an item begins with a link:

    - [Compiling a step](../compiling.md): when it pays

The home page, docs/index.md, is the root.  Headings above its lists are the captions of the
navigation.  A page with the line `<!-- pages of this folder -->` has all pages of its folder for
children, grouped by sub-folder or by `area:` in their front matter, in the order of their names (or
of `order:`, a number, in the front matter).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sitebuilder.places import DOCS

__all__ = [
    "FOLDER",
    "Page",
    "code_blocks",
    "prose",
    "read_pages",
    "site_path",
    "slug",
    "tree",
    "unreachable",
]

FOLDER = "<!-- pages of this folder -->"
FRONT = re.compile(r"\A---\n(.*?)^---\n+", flags=re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^(`{3,}|~{3,})([^\n`]*)\n(.*?)^\1[ \t]*$", flags=re.MULTILINE | re.DOTALL)
CHILD = re.compile(r"^[-*] \[([^\]]+)\]\(([^)#\s]+)\)", flags=re.MULTILINE)
HEADING = re.compile(r"^(#{1,6}) (.+?)\s*$", flags=re.MULTILINE)
PICTURE = re.compile(r"^<!-- picture: (\w+) -->$", flags=re.MULTILINE)
LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")


@dataclass
class Page:
    """A page of Markdown.

    path:   where it is on the site, as if all of it lay in docs/
    origin: where it lies in the repository, relative to docs/; links count from there
    """

    path: str
    source: str
    generated: bool = False
    origin: str = ""
    meta: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        front = FRONT.match(self.source)
        if front:
            for line in front[1].splitlines():
                key, _, value = line.partition(":")
                self.meta[key.strip()] = value.strip().strip("'\"")
            self.source = self.source[front.end() :]

    @cached_property
    def text(self) -> str:
        """The prose alone: what stands outside of fenced code, line for line."""
        return prose(self.source)

    @cached_property
    def title(self) -> str:
        """The first heading, as plain text."""
        found = HEADING.search(self.text)
        if found is None:
            raise ValueError(f"docs/{self.path} has no heading: begin it with '# Title'")
        return found[2].replace("`", "")

    @cached_property
    def anchors(self) -> set[str]:
        """Where links into the page may lead: its headings, as code hosts name them."""
        return {slug(heading) for _, heading in HEADING.findall(self.text)}

    @property
    def folder(self) -> str:
        """The folder, relative to docs/; "" for docs/ itself."""
        return self.path.rpartition("/")[0]

    def resolve(self, target: str) -> str:
        """The path relative to docs/ of a link's target; it may begin with "../"."""
        home = (self.origin or self.path).rpartition("/")[0]
        parts: list[str] = []
        for part in [*home.split("/"), *target.split("/")]:
            if part == ".." and parts and parts[-1] != "..":
                parts.pop()
            elif part not in {"", "."}:
                parts.append(part)
        return "/".join(parts)

    def children(self, pages: dict[str, Page]) -> Iterator[tuple[str, str, str]]:
        """(caption, label, path) of the pages that the lists of this page lead to."""
        caption = ""
        for line in self.text.splitlines():
            heading = HEADING.match(line)
            if heading and len(heading[1]) == 2:
                caption = heading[2]
            child = CHILD.match(line)
            if child and (path := site_path(self.resolve(child[2]))) in pages:
                yield caption, child[1].replace("`", ""), path
            if line.strip() == FOLDER:
                for area, found in self.areas(pages).items():
                    for page in found:
                        yield area or caption, page.title, page.path

    def areas(self, pages: dict[str, Page]) -> dict[str, list[Page]]:
        """The other pages of this page's folder, by area; those without an area first."""
        inside = [
            page
            for path, page in pages.items()
            if path.startswith(f"{self.folder}/") and path != self.path
        ]
        found: dict[str, list[Page]] = {}
        for page in sorted(inside, key=lambda p: (float(p.meta.get("order", "inf")), p.path)):
            sub = page.folder.removeprefix(self.folder).strip("/")
            area = page.meta.get("area", sub.replace("_", " ").replace("/", ": "))
            found.setdefault(area[:1].upper() + area[1:], []).append(page)
        first = {name: n for n, name in enumerate(found)}
        ordered = any("order" in page.meta for page in inside)
        return dict(sorted(found.items(), key=lambda item: first[item[0]] if ordered else item[0]))


def site_path(path: str) -> str:
    """Where a file of the repository, given relative to docs/, is on the site."""
    path = path.removeprefix("../docs/")
    if path.endswith(".ipynb"):
        return f"gallery/{path.rpartition('/')[2].removesuffix('.ipynb')}.md"
    return f"repository/{path.removeprefix('../')}" if path.startswith("../") else path


def prose(text: str) -> str:
    """The text with fenced code blanked out, line for line, and comments left in."""
    return FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)


def code_blocks(text: str, language: str) -> list[str]:
    """The fenced code of one language."""
    return [body for _, info, body in FENCE.findall(text) if info.strip().split(" ")[0] == language]


def slug(heading: str) -> str:
    """The anchor of a heading, as code hosts make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.lower().strip(), flags=re.UNICODE).replace(" ", "-")


def read_pages(docs: Path = DOCS) -> dict[str, Page]:
    """All pages of docs/ by their path; those of the site builder's own folder are none."""
    return {
        path.relative_to(docs).as_posix(): Page(
            path.relative_to(docs).as_posix(), path.read_text(encoding="utf-8")
        )
        for path in sorted(docs.rglob("*.md"))
        if "sitebuilder" not in path.relative_to(docs).parts
    }


def tree(pages: dict[str, Page], root: str = "index.md") -> dict[str, list[tuple[str, str, str]]]:
    """The navigation: for each page its children, each page at the first place that has it.

    A page is placed as near to the root as it is named, so that a list deep down does not take it
    away from a list above.
    """
    placed = {root}
    found: dict[str, list[tuple[str, str, str]]] = {}
    level = [root]
    while level:
        below: list[str] = []
        for path in level:
            found[path] = []
            for caption, label, child in pages[path].children(pages):
                if child not in placed:
                    placed.add(child)
                    below.append(child)
                    found[path].append((caption, label, child))
        level = below
    return found


def unreachable(pages: dict[str, Page], root: str = "index.md") -> list[str]:
    """Pages that no list leads to, from the root on."""
    return sorted(set(pages) - set(tree(pages, root)))
