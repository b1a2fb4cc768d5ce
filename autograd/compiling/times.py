"""`StepTimes`: how long the parts of a compiled step take, and a picture of one call.

The clock is read before and after each part, so timed calls are slower than others by about a tenth
of a microsecond for each part, and kernels that would run as one row run one by one.
"""

from __future__ import annotations

import html
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tapegrad.autograd.core.drawing import Picture

if TYPE_CHECKING:
    from tapegrad.autograd.compiling.bound import BoundProgram

__all__ = ["NO_TIMES", "StepTimes", "draw_timeline"]

KEPT = 1000  # calls; the oldest are forgotten
WIDTH, HEIGHT, LEFT, TOP = 900, 22, 8, 44  # pixels
COLOURS = {"kernel": "#4878a8", "call": "#c9803f", "rest": "#b8b8c0"}
NO_TIMES = "no call has been timed yet: with step.timing(): step(…)"


class StepTimes:
    """Begin and end of each part in timed calls, in nanoseconds.

    calls: for each call, its begin, its end, and (position, begin, end) of each part that ran
    """

    def __init__(self) -> None:
        self.calls: deque[tuple[int, int, list[tuple[int, int, int]]]] = deque(maxlen=KEPT)

    def of_parts(self) -> dict[int, float]:
        """Seconds by position: the minimum over the calls."""
        found: dict[int, float] = {}
        for _, _, parts in self.calls:
            for position, begin, end in parts:
                seconds = (end - begin) * 1e-9
                found[position] = min(seconds, found.get(position, seconds))
        return found

    def of_call(self) -> float | None:
        """Seconds of a call, the minimum; None without calls."""
        return min(((end - begin) * 1e-9 for begin, end, _ in self.calls), default=None)

    def fastest(self) -> tuple[int, int, list[tuple[int, int, int]]]:
        """The call that took least time.  Raises ValueError without calls."""
        if not self.calls:
            raise ValueError(NO_TIMES)
        return min(self.calls, key=lambda call: call[1] - call[0])


def draw_timeline(bound: BoundProgram, title: str) -> Picture:
    """Draw the fastest timed call: a bar for each part, from its begin to its end.

    Raises ValueError when no call has been timed.
    """
    begin, end, parts = bound.times.fastest()
    scale = WIDTH / max(end - begin, 1)
    sums = {"kernel": 0, "call": 0}
    bars = []
    for position, first, last in parts:
        kind = "kernel" if position in bound.kernels else "call"
        sums[kind] += last - first
        entries = bound.groups[position].entries
        names = ", ".join(entry.primitive.name for entry in entries)
        text = f"{names}\n{entries[0].where}\n{(last - first) / 1000:.1f} µs"
        x, width = LEFT + (first - begin) * scale, max((last - first) * scale, 0.6)
        bars.append(
            f'<rect x="{x:.2f}" y="{TOP}" width="{width:.2f}" height="{HEIGHT}" '
            f'fill="{COLOURS[kind]}"><title>{html.escape(text)}</title></rect>'
        )
        if width > 7 * len(entries[0].primitive.name):
            bars.append(
                f'<text x="{x + 3:.2f}" y="{TOP + 15}" fill="#fff">'
                f"{html.escape(entries[0].primitive.name)}</text>"
            )
    return Picture(_svg(bars, title, (end - begin) / 1000, sums))


def _svg(bars: Sequence[str], title: str, total: float, sums: dict[str, int]) -> str:
    kernels, calls = sums["kernel"] / 1000, sums["call"] / 1000
    rest = max(total - kernels - calls, 0.0)
    shares = (("kernel", "kernels", kernels), ("call", "calls", calls), ("rest", "between", rest))
    legend, x = [], float(LEFT)
    for kind, name, microseconds in shares:
        text = f"{name} {microseconds:.1f} µs"
        legend.append(
            f'<rect x="{x}" y="26" width="10" height="10" fill="{COLOURS[kind]}"/>'
            f'<text x="{x + 14}" y="35">{text}</text>'
        )
        x += 7 * len(text) + 34
    width, height = WIDTH + 2 * LEFT, TOP + HEIGHT + 22
    end = f"{total:.1f} µs"
    return "".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">'
            ),
            f'<text x="{LEFT}" y="16" font-size="12">{html.escape(title)}: one call</text>',
            *legend,
            (
                f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" '
                f'fill="{COLOURS["rest"]}"/>'
            ),
            *bars,
            f'<text x="{LEFT}" y="{height - 6}">0</text>',
            f'<text x="{LEFT + WIDTH}" y="{height - 6}" text-anchor="end">{end}</text>',
            "</svg>",
        ]
    )
