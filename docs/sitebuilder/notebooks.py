"""Notebooks as pages: their cells with the outputs of an executed copy.

The notebooks in the repository have no outputs.  Executed copies come from the folder that
TAPEGRAD_EXECUTED names (the tests of the notebooks leave them there), else from build/notebooks; a
copy counts only if its code is that of the notebook.  What is missing there is executed and kept
in build/notebooks, unless the build was told not to execute anything.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sitebuilder.places import NOTEBOOKS, ROOT

__all__ = ["NotebookPage", "card", "notebook_pages"]

CACHE = ROOT / "build" / "notebooks"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
# What a page shows of an output, the first that a cell has.
IMAGES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}
MOST_LINES = 60  # of one output

PLACEHOLDER = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 200">
<rect width="320" height="200" fill="#eef2f7"/>
<path d="M40 150 C110 150 120 50 160 50 S210 150 280 150" fill="none" stroke="#2b6cb0"
 stroke-width="4"/>
</svg>
"""


@dataclass
class NotebookPage:
    """A notebook as Markdown, with the files of its pictures."""

    path: str  # of the page, "gallery/01_name.md"
    source: Path
    title: str
    summary: str
    code: list[str]
    text: str
    executed: bool
    files: dict[str, bytes] = field(default_factory=dict)
    thumbnail: str = ""


def notebook_pages(*, execute: bool) -> list[NotebookPage]:
    """All notebooks, those of the gallery last, by their names."""
    found = [p for p in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts]
    found.sort(key=lambda p: (len(p.relative_to(NOTEBOOKS).parts), p.as_posix()))
    return [_page(path, execute=execute) for path in found]


def _page(path: Path, *, execute: bool) -> NotebookPage:
    plain = json.loads(path.read_text(encoding="utf-8"))
    executed = _executed(path, plain, execute=execute)
    notebook = executed or plain
    files: dict[str, bytes] = {}
    cells = list(_cells(notebook, path.stem, files))
    cells.insert(1, _origin(path, plain))
    text = "\n\n".join(cells) + "\n"
    if executed is None:
        text += "\n*The outputs of this notebook were not at hand when the page was built.*\n"
    prose = [_source(cell) for cell in plain["cells"] if cell["cell_type"] == "markdown"]
    heading = re.search(r"^# (.+)$", prose[0] if prose else "", flags=re.MULTILINE)
    if heading is None:
        raise ValueError(f"{path}: its first cell must hold a title, '# …'")
    below = prose[0][heading.end() :].strip() or (prose[1] if len(prose) > 1 else "")
    summary = " ".join(below.split("\n\n")[0].split())
    images = [name for name in files if not name.endswith("placeholder.svg")]
    thumbnail = images[-1] if images else f"{path.stem}-placeholder.svg"
    if not images:
        files[thumbnail] = PLACEHOLDER.encode()
    return NotebookPage(
        f"gallery/{path.stem}.md",
        path,
        heading[1].strip(),
        re.split(r"(?<=[.!?]) ", summary)[0],
        [_source(cell) for cell in plain["cells"] if cell["cell_type"] == "code"],
        text,
        executed is not None,
        files,
        thumbnail,
    )


def _origin(path: Path, notebook: dict[str, Any]) -> str:
    """Where the notebook of a page lies, and what the code asks the environment for."""
    where = f"<code class='literal'>{path.relative_to(ROOT).as_posix()}</code>"
    words = f"This page is the notebook {where} of the repository."
    if any("TAPEGRAD_GALLERY_FAST" in code for code in _code(notebook)):
        words += (
            " It trains for a shorter time where the environment has"
            " <code class='literal'>TAPEGRAD_GALLERY_FAST=1</code>."
        )
    return f"```{{raw}} html\n<p class='facts'>{words}</p>\n```"


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _code(notebook: dict[str, Any]) -> list[str]:
    return [_source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _executed(path: Path, plain: dict[str, Any], *, execute: bool) -> dict[str, Any] | None:
    """The executed copy of a notebook, or None."""
    places = [Path(place) for place in (os.environ.get("TAPEGRAD_EXECUTED"),) if place] + [CACHE]
    for place in places:
        for copy in sorted(place.rglob(path.name)):
            found: dict[str, Any] = json.loads(copy.read_text(encoding="utf-8"))
            # a test may have put cells of its own in front
            if _code(found)[-len(_code(plain)) :] == _code(plain):
                extra = len(found["cells"]) - len(plain["cells"])
                return {**found, "cells": found["cells"][extra:]}
    return _execute(path) if execute else None


def _execute(path: Path) -> dict[str, Any]:
    import nbclient
    import nbformat

    print(f"  executing {path.relative_to(ROOT)}", file=sys.stderr)
    notebook = nbformat.read(path, as_version=4)
    CACHE.mkdir(parents=True, exist_ok=True)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(CACHE)}}
    ).execute()
    kept = CACHE / path.relative_to(NOTEBOOKS)
    kept.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, kept)
    result: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return result


def _cells(notebook: dict[str, Any], stem: str, files: dict[str, bytes]) -> Iterator[str]:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            yield _source(cell)
        elif cell["cell_type"] == "code" and _source(cell).strip():
            yield _fenced(_source(cell), "python")
            for output in _joined(cell.get("outputs", [])):
                yield from _output(output, stem, files)


def _joined(outputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The outputs, with the text of neighbouring streams as one, as a terminal would show it."""
    text = ""
    for output in outputs:
        if output["output_type"] == "stream":
            text += "".join(output["text"])
            continue
        if text:
            yield {"output_type": "stream", "text": text}
            text = ""
        yield output
    if text:
        yield {"output_type": "stream", "text": text}


def _output(output: dict[str, Any], stem: str, files: dict[str, bytes]) -> Iterator[str]:
    if output["output_type"] == "stream":
        yield _shown(output["text"])
        return
    if output["output_type"] == "error":
        yield _shown(f"{output['ename']}: {output['evalue']}")
        return
    data = output["data"]
    for kind, ending in IMAGES.items():
        if kind in data:
            name = f"{stem}-{len(files)}.{ending}"
            text = "".join(data[kind])
            files[name] = text.encode() if ending == "svg" else base64.b64decode(text)
            yield f'<img src="{name}" class="output" alt="what the cell above draws">'
            return
    if "text/html" in data:
        yield f"```{{raw}} html\n<div class='output'>{''.join(data['text/html'])}</div>\n```"
    elif "text/plain" in data:
        yield _shown("".join(data["text/plain"]))


def _shown(text: str) -> str:
    """Printed text as a block: of overwritten lines the last, of long outputs the ends."""
    lines = [line.rpartition("\r")[2] for line in ANSI.sub("", text).rstrip().split("\n")]
    if len(lines) > MOST_LINES:
        half = MOST_LINES // 2
        lines = [*lines[:half], f"… {len(lines) - MOST_LINES} lines …", *lines[-half:]]
    return _fenced("\n".join(lines), "text")


def _fenced(text: str, language: str) -> str:
    longest = max((len(ticks) for ticks in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def card(page: NotebookPage) -> str:
    """A notebook's place on the gallery's index page."""
    name = Path(page.path).with_suffix(".html").name
    return (
        f"<a class='card' href='{name}'><img src='{page.thumbnail}' alt=''>"
        f"<strong>{html.escape(page.title)}</strong>"
        f"<span>{html.escape(page.summary.replace('`', ''))}</span></a>"
    )
