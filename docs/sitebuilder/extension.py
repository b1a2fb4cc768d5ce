"""What Sphinx is told besides its settings: formulas of notebooks become MathML.

Browsers draw MathML themselves, so that no page loads a program for its formulas from elsewhere.
"""

from __future__ import annotations

from typing import Any

__all__ = ["setup"]


def _formula(translator: Any, node: Any, *, block: bool) -> None:
    from docutils import nodes
    from latex2mathml.converter import convert

    translator.body.append(convert(node.astext(), display="block" if block else "inline"))
    raise nodes.SkipNode


def _inline(translator: Any, node: Any) -> None:
    _formula(translator, node, block=False)


def _block(translator: Any, node: Any) -> None:
    _formula(translator, node, block=True)


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
