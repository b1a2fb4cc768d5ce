"""A docstring as HTML.

Docstrings here are plain text: a formula, shapes in and out, arguments in aligned columns, what is
raised, the source.  Their lines mean something, so a line break is kept where the next word would
still have fitted; where it would not, the paragraph goes on.  Shapes, and what stands in backticks,
are set in the type of code; an indented line, and what follows `>>>`, as it stands.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

__all__ = ["first_sentence", "inline", "parts", "source_class"]

WIDTH = 100  # columns of a source line
# `name`, ``code``, and shapes: (N, C, H, W), (…, n), (n,), also 1-based ones such as (3·E, E)
CODE = re.compile(r"``(.+?)``|`([^`\s][^`]*?)`", flags=re.DOTALL)
SIZE = r"[\w·+*/ =⌊⌋⌈⌉'′₀-₉…-]+"
SHAPE = re.compile(rf"(?<!\w)\((?:(?:…|{SIZE}),(?: (?:…|{SIZE}))?)+\)(?!\w)|\(\)")
LIKE_A_SIZE = re.compile(
    r"^(…|[A-Za-z]\w{0,2}['′]?|\d+|[A-Z]\w*)$|[·/+=⌊…]|^(n|in|out|k|d|o)[A-Z_]\w+$|[Ss]ize\d*$|_\w+$"
)
# "name:   text" and "a, b: text", with lines below that are indented further
FIELD = re.compile(r"^(?!Source: )(\*{0,2}\w+(?:, \*{0,2}\w+)*):(?: +|$)(.*)$")
ITEM = re.compile(r"^(?:[-*•]|\d+[.)]) +")
# What begins a line of its own, however long the line before
BEGINS = re.compile(r"Raises |Source: |\w+(?:, \w+)*: ")
SOURCE = re.compile(r"Source: (nn|optim)\.(\w+)")

Link = Callable[[str], str | None]


def first_sentence(doc: str) -> str:
    """The first line, as far as it is one sentence; without a full stop."""
    paragraph = " ".join(doc.partition("\n\n")[0].split("\n"))
    line = doc.partition("\n")[0]
    ended = re.match(r"(.+?[.;])(?:  | (?=[A-Z`])|$)", paragraph)
    text = ended[1] if ended and len(ended[1]) <= 180 else line
    return text.rstrip(".;: ")


def source_class(doc: str) -> str:
    """The class or function of Torch7 that the docstring names as its source, or ""."""
    found = SOURCE.search(doc)
    return f"{found[1]}.{found[2]}" if found else ""


def parts(doc: str, link: Link) -> Iterator[tuple[str, str]]:
    """The docstring in pieces, as ("html", text) and ("pycon", code).

    link: gives the address of a name in backticks, or None
    """
    for block in re.split(r"\n\s*\n", doc.strip()) if doc.strip() else ():
        lines = block.split("\n")
        if lines[0].lstrip().startswith(">>>") or lines[0] == "Example:":
            body = lines[1:] if lines[0] == "Example:" else lines
            if body:
                yield "pycon", _dedented(body)
            continue
        where = next((i for i, line in enumerate(lines) if line.lstrip().startswith(">>>")), None)
        if where is not None:
            yield "html", _block(lines[:where], link)
            yield "pycon", _dedented(lines[where:])
            continue
        yield "html", _block(lines, link)


def _dedented(lines: list[str]) -> str:
    depth = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(line[depth:] for line in lines)


def _block(lines: list[str], link: Link) -> str:
    """The lines between two empty ones."""
    if all(line.startswith("    ") or not line for line in lines):
        return f"<pre class='doc'>{html.escape(_dedented(lines))}</pre>"
    out: list[str] = []
    text: list[str] = []  # lines of a paragraph that has begun

    def flush() -> None:
        if text:
            out.append(f"<p>{_paragraph(text, link)}</p>")
            text.clear()

    i = 0
    while i < len(lines):
        field = FIELD.match(lines[i])
        if field and _is_table(lines, i):
            fields: list[str] = []
            flush()
            while i < len(lines) and (field := FIELD.match(lines[i])):
                body = [field[2]]
                i += 1
                while i < len(lines) and lines[i].startswith("  "):
                    body.append(lines[i].strip())
                    i += 1
                words = ", ".join(
                    f"<code class='literal'>{html.escape(w)}</code>" for w in field[1].split(", ")
                )
                fields.append(f"<dt>{words}</dt><dd>{inline(' '.join(body), link)}</dd>")
            out.append(f"<dl class='doc'>{''.join(fields)}</dl>")
            continue
        if lines[i].startswith("    "):
            flush()
            inset = []
            while i < len(lines) and lines[i].startswith("  "):
                inset.append(lines[i])
                i += 1
            out.append(f"<pre class='doc'>{html.escape(_dedented(inset))}</pre>")
            continue
        if ITEM.match(lines[i]):
            flush()
            items: list[str] = []
            while i < len(lines) and (
                ITEM.match(lines[i]) or (items and lines[i].startswith("  "))
            ):
                if ITEM.match(lines[i]):
                    items.append(ITEM.sub("", lines[i]))
                else:
                    items[-1] += " " + lines[i].strip()
                i += 1
            out.append("<ul>" + "".join(f"<li>{inline(t, link)}</li>" for t in items) + "</ul>")
            continue
        text.append(lines[i])
        i += 1
    flush()
    return "\n".join(out)


def _is_table(lines: list[str], i: int) -> bool:
    """Whether a table "name:   text" begins at line i, of aligned rows, or of several.

    Its rows go on in lines that are indented; prose that only begins with "x: " goes on in lines
    that are not.
    """
    rows, aligned = 0, False
    while i < len(lines) and (field := FIELD.match(lines[i])):
        rows += 1
        aligned = aligned or bool(re.match(r"[^:]+:  +\S", lines[i]) or not field[2])
        i += 1
        while i < len(lines) and lines[i].startswith("  "):
            i += 1
    ends = i == len(lines) or BEGINS.match(lines[i]) or lines[i - 1].endswith((".", ")"))
    return aligned or (rows > 1 and bool(ends))


def _paragraph(lines: list[str], link: Link) -> str:
    """Lines joined where a line is full, and broken where its author broke it."""
    pieces = [lines[0]]
    for before, line in pairwise(lines):
        word = line.split(" ")[0]
        full = len(before) + 1 + len(word) > WIDTH - 4 - 8
        if (full and not BEGINS.match(line)) or line.startswith(" "):
            pieces[-1] += " " + line.strip()
        else:
            pieces.append(line)
    return "<br>\n".join(inline(piece, link) for piece in pieces)


def inline(text: str, link: Link) -> str:
    """Backticks and shapes as code, names as links; the rest escaped."""
    out: list[str] = []
    end = 0
    for match in CODE.finditer(text):
        out.append(_shapes(text[end : match.start()]))
        code = match[1] or match[2]
        target = link(code)
        shown = f"<code class='literal'>{html.escape(code)}</code>"
        out.append(f'<a href="{html.escape(target)}">{shown}</a>' if target else shown)
        end = match.end()
    out.append(_shapes(text[end:]))
    return "".join(out)


def _shapes(text: str) -> str:
    out: list[str] = []
    end = 0
    for match in SHAPE.finditer(text):
        sizes = [size.strip() for size in match[0][1:-1].split(",")]
        if not all(LIKE_A_SIZE.search(size) for size in sizes if size):
            continue
        out.append(html.escape(text[end : match.start()]))
        out.append(f"<code class='literal'>{html.escape(match[0])}</code>")
        end = match.end()
    out.append(html.escape(text[end:]))
    return "".join(out)
