"""All sources of the site as one folder of Markdown, from which Sphinx makes the pages.

It holds the pages of docs/ with their links made to fit, pages of the repository that they link to
(`nn/DIFFERENCES.md`, the changelog), notebooks, and the reference.  Each page gets the navigation
of its children.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from sitebuilder.notebooks import NotebookPage, card, notebook_pages
from sitebuilder.pages import (
    FENCE,
    FOLDER,
    LINK,
    PICTURE,
    Page,
    code_blocks,
    read_pages,
    site_path,
    tree,
    unreachable,
)
from sitebuilder.pictures import picture_of
from sitebuilder.places import DOCS, ROOT
from sitebuilder.reference import reference_pages
from sitebuilder.usage import mentioned_names, used_names

__all__ = ["SiteError", "all_pages", "stage"]

TEACHING = ("tour.md", "guide/", "howto/", "gallery/")
GALLERY = "<!-- gallery -->"


class SiteError(Exception):
    """The sources of the site contradict each other; each line says where and what to do."""


def all_pages(*, execute: bool) -> tuple[dict[str, Page], list[NotebookPage]]:
    """Every page of the site by its path, written and made, and the notebooks among them."""
    pages = read_pages()
    notebooks = notebook_pages(execute=execute)
    for path in _linked_outside(pages.values()):
        pages[f"repository/{path}"] = Page(
            f"repository/{path}",
            (ROOT / path).read_text(encoding="utf-8"),
            generated=True,
            origin=f"../{path}",
        )
    uses = _uses(pages, notebooks)
    for notebook in notebooks:
        origin = f"../{notebook.source.relative_to(ROOT).as_posix()}"
        pages[notebook.path] = Page(notebook.path, notebook.text, generated=True, origin=origin)
    for path, text in reference_pages(uses).items():
        pages[path] = Page(path, text, generated=True)
    return pages, notebooks


def _linked_outside(pages: Iterable[Page]) -> list[str]:
    """The pages of Markdown outside of docs/ to which pages link, relative to the repository."""
    found = set()
    for page in pages:
        for target in LINK.findall(page.text):
            path = page.resolve(target.partition("#")[0])
            if path.startswith("../") and path.endswith(".md") and (DOCS / path).exists():
                found.add(path.removeprefix("../"))
    return sorted(found - {"README.md"})


def _uses(
    pages: dict[str, Page], notebooks: list[NotebookPage]
) -> dict[str, list[tuple[str, str]]]:
    """From the path of a public name to the pages with it: first those that teach, in code."""
    found: dict[str, list[tuple[int, int, str, str]]] = {}
    sources = [
        (page.title, path, code_blocks(page.source, "python"), page.text)
        for path, page in pages.items()
        if not page.generated
    ]
    sources += [(n.title, n.path, n.code, "") for n in notebooks]
    for title, path, blocks, text in sources:
        used = used_names(blocks)
        order = 0 if path.startswith(TEACHING) else 1
        length = sum(map(len, blocks))
        for name in used:
            found.setdefault(name.path, []).append((order, length, title, path))
        for name in mentioned_names(text, Path(path).stem) - used:
            found.setdefault(name.path, []).append((2, length, title, path))
    return {
        name: [(title, path) for _, _, title, path in sorted(places)]
        for name, places in found.items()
    }


# Writing ------------------------------------------------------------------------------------------


def stage(folder: Path, *, execute: bool) -> dict[str, Page]:
    """Write the sources into `folder`; a file that is there with the same text is left alone.

    Raises SiteError for links that lead nowhere and for pages that no list leads to.
    """
    pages, notebooks = all_pages(execute=execute)
    _attach(pages, notebooks)
    lost = unreachable(pages)
    if lost:
        raise SiteError(
            "\n".join(
                f"docs/{path}: no page lists it: add '- [title]({path})' to a list of "
                "docs/index.md or of a page below it"
                for path in lost
            )
        )
    children = tree(pages)
    images: dict[str, bytes] = {}
    written: dict[str, bytes] = {}
    problems: list[str] = []
    for path, page in pages.items():
        text = _text(page, pages, notebooks, images, problems)
        written[path] = (text + _navigation(page, children.get(path, []))).encode()
    if problems:
        raise SiteError("\n".join(problems))
    for notebook in notebooks:
        images |= {f"gallery/{name}": data for name, data in notebook.files.items()}
    # Pictures are files beside the built pages, as HTML in the pages names them.
    _write(folder, written)
    _write(folder.parent / f"{folder.name}-extra", images)
    return pages


def _attach(pages: dict[str, Page], notebooks: list[NotebookPage]) -> None:
    """Put what is made into the lists of the pages that ask for it."""
    if "gallery/index.md" in pages:
        listed = "\n".join(f"- [{n.title}]({Path(n.path).name})" for n in notebooks)
        pages["gallery/index.md"].meta["made"] = listed
    for page in pages.values():
        if "made" in page.meta:
            page.__dict__.pop("text", None)
            page.source = f"{page.source.rstrip()}\n\n{page.meta['made']}\n"


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    if folder.exists():
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_file() and path.relative_to(folder).as_posix() not in files:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                shutil.rmtree(path)


def _navigation(page: Page, children: list[tuple[str, str, str]]) -> str:
    """The children as Sphinx's navigation, a part for each caption."""
    out: list[str] = []
    captions = dict.fromkeys(caption for caption, _, _ in children)
    for caption in captions:
        lines = [
            f"{label} <{os.path.relpath(path, page.folder or '.').removesuffix('.md')}>"
            for other, label, path in children
            if other == caption
        ]
        options = [":hidden:"] + ([f":caption: {caption}"] if caption else [])
        out.append("\n\n```{toctree}\n" + "\n".join([*options, "", *lines]) + "\n```\n")
    return "".join(out)


def _text(
    page: Page,
    pages: dict[str, Page],
    notebooks: list[NotebookPage],
    images: dict[str, bytes],
    problems: list[str],
) -> str:
    """A page as Sphinx gets it: links, pictures and lists filled in, outside of code."""

    def picture(found: re.Match[str]) -> str:
        svg, words = picture_of(found[1])
        name = f"picture-{found[1]}.svg"
        images[f"{page.folder}/{name}".lstrip("/")] = svg.encode()
        shown = f'<img src="{name}" class="picture" alt="{words}">'
        return f'{shown}\n<p class="caption">{words}</p>'

    def link(found: re.Match[str]) -> str:
        target = _target(page, found[1], pages, problems)
        return f"]({target})" if target else "](#)"

    pieces: list[str] = []
    end = 0
    for fence in [*FENCE.finditer(page.source), None]:
        plain = page.source[end : fence.start() if fence else None]
        if not page.path.startswith("reference/"):
            plain = LINK.sub(link, _with_file_links(page, plain, pages, images))
        plain = PICTURE.sub(picture, plain)
        if FOLDER in plain:
            plain = plain.replace(FOLDER, _listing(page, pages))
        if GALLERY in plain:
            cards = "".join(card(notebook) for notebook in notebooks)
            plain = plain.replace(
                GALLERY, f"```{{raw}} html\n<div class='cards'>{cards}</div>\n```"
            )
        pieces.append(plain)
        if fence:
            pieces.append(fence[0])
            end = fence.end()
    math = page.path.startswith("gallery/")
    front = "---\nmyst:\n  enable_extensions: [dollarmath]\n---\n\n" if math else ""
    text = "".join(pieces)
    if "made" in page.meta and page.path == "gallery/index.md":
        text = text.replace(page.meta["made"], "")  # the cards are the list
    return front + text


def _listing(page: Page, pages: dict[str, Page]) -> str:
    """The list of a folder's pages, with a heading for each area."""
    out: list[str] = []
    for area, found in page.areas(pages).items():
        if area:
            out.append(f"## {area}")
        out.append(
            "\n".join(
                f"- [{p.title}]({os.path.relpath(p.path, page.folder or '.')})" for p in found
            )
        )
    return "\n\n".join(out)


def _with_file_links(page: Page, text: str, pages: dict[str, Page], files: dict[str, bytes]) -> str:
    """Links to files that are no pages, such as scripts.

    Those in docs/ are put into `files`, to be fetched from the site; others of the repository are
    words alone.
    """

    def plain(found: re.Match[str]) -> str:
        path = page.resolve(found[2].partition("#")[0])
        if "://" in found[2] or found[2].startswith("#") or path in pages:
            return found[0]
        file = (DOCS / path).resolve()
        if not file.is_file() or file.suffix in {".md", ".ipynb"}:
            return found[0]
        if DOCS.resolve() not in file.parents:
            return found[1]
        files[path] = file.read_bytes()
        return f'<a href="{os.path.relpath(path, page.folder or ".")}" download>{found[1]}</a>'

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", plain, text)


def _target(page: Page, target: str, pages: dict[str, Page], problems: list[str]) -> str:
    """The address of a link on the site, or "" and a line in `problems`."""
    path, _, anchor = target.partition("#")
    if "://" in target or target.startswith("mailto:"):
        return target
    where = os.path.normpath(f"docs/{page.origin or page.path}")
    name = page.path if not path else page.resolve(path)
    name = site_path(name)
    if name == "repository/README.md":
        name = "index.md"
    if name.endswith("/") or (DOCS / name).is_dir():
        name = f"{name.rstrip('/')}/index.md"
    if name not in pages:
        problems.append(f"{where}: the link to {target} leads to no page")
        return ""
    made = pages[name].generated and name.startswith("reference/")
    if anchor and not made and anchor not in pages[name].anchors:
        problems.append(f"{where}: {target}: no heading of {name} has this anchor")
    if not path:
        return f"#{anchor}"
    shown = os.path.relpath(name, page.folder or ".")
    return f"{shown}#{anchor}" if anchor else shown
