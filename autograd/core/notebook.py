"""What a notebook shows while code runs: HTML that changes in its place, without widgets.

IPython's display machinery does the work: it is there wherever a notebook is.  The HTML has no
script and no style sheet, so that a saved notebook shows on any page what was there last.
"""

from __future__ import annotations

import html
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["LiveDisplay", "LongCurve", "bar_html", "curve_svg", "is_notebook", "table_html"]

COLOURS = ("#4878a8", "#c9803f", "#5a9a5a", "#a05a90")
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" '
    'font-family="sans-serif" font-size="10">'
)
MOST_POINTS = 200  # of a long curve, at least: one for each pixel or two


def is_notebook() -> bool:
    """Whether what is printed goes to a notebook (a kernel of Jupyter)."""
    return type(sys.stderr).__module__.startswith("ipykernel")


class LiveDisplay:
    """A piece of HTML in the output of a cell, which `show` replaces."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        """Show the text, in the place of what was there."""
        from IPython.display import HTML, display

        page = HTML(text)
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)


class LongCurve:
    """Points (x, y) of a curve that grows: at most twice MOST_POINTS means of so many neighbours.

    A run may have millions of steps, and its picture is drawn twice a second.
    """

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._size = 1  # how many make one point
        self._begun: list[tuple[float, float]] = []

    def add(self, x: float, y: float) -> None:
        """Add a point; one whose y is not finite is left out."""
        if not math.isfinite(y):
            return
        self._begun.append((x, y))
        if len(self._begun) < self._size:
            return
        self._points.append(_mean(self._begun))
        self._begun = []
        if len(self._points) == 2 * MOST_POINTS:
            self._points = [_mean(self._points[i : i + 2]) for i in range(0, 2 * MOST_POINTS, 2)]
            self._size *= 2

    def points(self) -> list[tuple[float, float]]:
        """The points so far, the last one perhaps of fewer than the others."""
        return [*self._points, *([_mean(self._begun)] if self._begun else [])]


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def bar_html(name: str, done: int, total: int | None, text: str) -> str:
    """A bar that is filled as far as the work is done, with a text behind it."""
    share = 100.0 * min(done / total, 1.0) if total else 100.0
    return (
        '<div style="font-family:monospace;font-size:90%">'
        f"{html.escape(name)} "
        '<span style="display:inline-block;width:16em;height:0.8em;border:1px solid #889;'
        'vertical-align:middle"><span style="display:block;height:100%;'
        f'width:{share:.1f}%;background:{COLOURS[0] if total else "#c8d4e4"}"></span></span> '
        f"{html.escape(text)}</div>"
    )


def curve_svg(
    curves: Mapping[str, Sequence[tuple[float, float]]], *, width: int = 420, height: int = 150
) -> str:
    """Curves over one x axis as a small SVG picture: name -> points (x, y).

    What is not finite is left out; "" where no curve has two points.  Where all y are positive and
    the largest is over 20 times the smallest, the y axis is logarithmic.
    """
    kept = {
        name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in curves.items()
    }
    every = [point for points in kept.values() for point in points]
    if max(map(len, kept.values()), default=0) < 2:
        return ""
    low, high = min(y for _, y in every), max(y for _, y in every)
    is_log = low > 0 and high > 20 * low
    scale = math.log10 if is_log else float
    bottom, top = scale(low), scale(high)
    first, last = min(x for x, _ in every), max(x for x, _ in every)
    left, right, above, below = 52, 8, 16, 16
    across, up = width - left - right, height - above - below

    def place(x: float, y: float) -> str:
        right_share = (x - first) / (last - first or 1.0)
        up_share = (scale(y) - bottom) / (top - bottom or 1.0)
        return f"{left + across * right_share:.1f},{above + up * (1 - up_share):.1f}"

    parts = [SVG.format(w=width, h=height)]
    parts.append(
        f'<rect x="{left}" y="{above}" width="{across}" height="{up}" fill="none" stroke="#bbc"/>'
    )
    for value, y in ((high, above + 8), (low, above + up)):
        parts.append(
            f'<text x="{left - 4}" y="{y}" text-anchor="end" fill="#667">{value:.3g}</text>'
        )
    for value, x, anchor in ((first, left, "start"), (last, left + across, "end")):
        parts.append(
            f'<text x="{x}" y="{height - 4}" text-anchor="{anchor}" fill="#667">{value:.0f}</text>'
        )
    begin = float(left)
    for (name, points), colour in zip(kept.items(), COLOURS * len(kept), strict=False):
        if not points:
            continue
        way = " ".join(place(x, y) for x, y in points)
        if len(points) == 1:
            across_text, up_text = way.split(",")
            parts.append(f'<circle cx="{across_text}" cy="{up_text}" r="2.5" fill="{colour}"/>')
        else:
            parts.append(
                f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            )
        parts.append(f'<text x="{begin:.0f}" y="11" fill="{colour}">{html.escape(name)}</text>')
        begin += 7 * len(name) + 14
    return "".join([*parts, "</svg>"])


def table_html(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column stands at the left, the others at the right."""
    cell = "<{tag} style='text-align:right;padding:0 0.6em'>{text}</{tag}>"
    head = "".join(cell.format(tag="th", text=html.escape(text)) for text in headings)
    body = "".join(
        "<tr>" + "".join(cell.format(tag="td", text=html.escape(text)) for text in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
