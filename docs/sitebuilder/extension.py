"""What Sphinx is told besides its settings: formulas as MathML, and a navigation of modest size.

Browsers draw MathML themselves, so that no page loads a program for its formulas from elsewhere.

The theme asks for a navigation of all pages in each page, which takes most of the time of a build
and grows with the square of the pages.  A page gets two levels, and below them its own branch.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

__all__ = ["mathml", "setup"]

LEVELS = 2  # of the navigation that every page has


def mathml(formula: str, *, block: bool) -> str:
    """A formula of LaTeX as MathML.  Raises ValueError for what would be shown as it is written."""
    from latex2mathml.converter import convert

    known = formula.replace("{aligned}", "{align}").replace("{gathered}", "{gather}")
    found = convert(known, display="block" if block else "inline")
    if re.search(r"<mi>(?:\\|&</mi>)", found):  # the word itself, or a column of no table
        raise ValueError(f"this formula has a word that is not known: {formula}")
    return found


def _formula(translator: Any, node: Any, *, block: bool) -> None:
    from docutils import nodes

    translator.body.append(mathml(node.astext(), block=block))
    raise nodes.SkipNode


def _inline(translator: Any, node: Any) -> None:
    _formula(translator, node, block=False)


def _block(translator: Any, node: Any) -> None:
    _formula(translator, node, block=True)


def _children(app: Any, page: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The lists of a page's children, each (caption, [(label, page)])."""
    from sphinx import addnodes

    known: dict[str, list[tuple[str, list[tuple[str, str]]]]] = app.env.__dict__.setdefault(
        "_navigation", {}
    )
    if page not in known:
        toc = app.env.tocs.get(page)
        lists = toc.findall(addnodes.toctree) if toc is not None else ()
        known[page] = [
            (
                str(each["caption"] or ""),
                [(title or app.env.titles[ref].astext(), ref) for title, ref in each["entries"]],
            )
            for each in lists
        ]
    return known[page]


def _navigation(app: Any, current: str) -> Callable[..., str]:
    """What the theme calls for the navigation of the page `current`."""
    parents = {
        child: page for page, children in app.env.toctree_includes.items() for child in children
    }
    branch = {current}
    page: str | None = current
    while (page := parents.get(page or "")) is not None:
        branch.add(page)

    def items(entries: list[tuple[str, str]], level: int) -> str:
        out = []
        for label, ref in entries:
            shown = level < LEVELS or ref in branch
            inside = [entry for _, list_ in _children(app, ref) for entry in list_] if shown else []
            below = f"<ul>{items(inside, level + 1)}</ul>" if inside else ""
            here = " current" if ref in branch else ""
            address = app.builder.get_relative_uri(current, ref)
            out.append(
                f'<li class="toctree-l{level}{here}"><a class="reference internal" '
                f'href="{html.escape(address)}">{html.escape(label)}</a>{below}</li>'
            )
        return "".join(out)

    def navigation(**_: Any) -> str:
        parts = []
        for caption, entries in _children(app, app.config.root_doc):
            head = (
                f'<p class="caption" role="heading"><span class="caption-text">{caption}</span></p>'
            )
            parts.append(f"{head if caption else ''}<ul>{items(entries, 1)}</ul>")
        return "".join(parts)

    return navigation


def _give_navigation(app: Any, page: str, _template: str, context: dict[str, Any], _: Any) -> None:
    if "toctree" in context:
        context["toctree"] = _navigation(app, page)


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("html-page-context", _give_navigation, priority=100)  # before the theme, at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
