"""Pictures that a page asks for by `<!-- picture: NAME -->`, drawn while the site is built.

A function here is the picture of its name: it returns SVG.  Its docstring is the text that stands
for the picture where there is none.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

__all__ = ["PICTURES", "picture_of"]

PICTURES: dict[str, Callable[[], str]] = {}


def _picture(function: Callable[[], str]) -> Callable[[], str]:
    PICTURES[function.__name__] = function
    return function


def picture_of(name: str) -> tuple[str, str]:
    """(SVG, the words that stand for it) of a picture.  Raises ValueError for an unknown name."""
    if name not in PICTURES:
        raise ValueError(f"no picture is called {name!r}: {', '.join(PICTURES)}")
    function = PICTURES[name]
    return function(), " ".join((inspect.getdoc(function) or "").split())


def _points(xs: list[float], ys: list[float]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))


@_picture
def derivatives() -> str:
    """tanh and its first three derivatives, each the grad of the one before"""
    import numpy as np

    import tapegrad as tg

    x = np.linspace(-4, 4, 161)
    width, height, left, top = 640, 300, 40, 20
    across = list(left + (x + 4) / 8 * (width - 2 * left))
    colours = ["#2b6cb0", "#c05621", "#2f855a", "#805ad5"]
    names = ["np.tanh", "grad(np.tanh)", "grad(grad(np.tanh))", "grad(grad(grad(np.tanh)))"]
    f: Callable[..., object] = np.tanh
    curves, words = [], []
    for n, (colour, name) in enumerate(zip(colours, names, strict=True)):
        y = np.array([float(f(v)) for v in x])  # type: ignore[arg-type]
        down = list(top + (2.1 - y) / 4.2 * (height - 2 * top))
        curves.append(
            f'<polyline points="{_points(across, down)}" fill="none" '
            f'stroke="{colour}" stroke-width="2.5"/>'
        )
        words.append(f'<text x="{left + 8}" y="{top + 16 + 20 * n}" fill="{colour}">{name}</text>')
        f = tg.grad(f)
    zero = top + 2.1 / 4.2 * (height - 2 * top)
    axes = (
        f'<line x1="{left}" x2="{width - left}" y1="{zero}" y2="{zero}" stroke="#a0aec0"/>'
        f'<line x1="{width / 2}" x2="{width / 2}" y1="{top}" y2="{height - top}" stroke="#a0aec0"/>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" '
        f'font-family="monospace" font-size="13">'
        f'<rect width="{width}" height="{height}" rx="8" fill="#f7fafc"/>{axes}{"".join(curves)}'
        f"{''.join(words)}</svg>"
    )


@_picture
def tape() -> str:
    """The tape of sum(tanh(x · w)²): boxes are recorded operations, with shapes of results"""
    import numpy as np

    import tapegrad as tg

    w = tg.Parameter(np.ones(3))
    loss = np.sum(np.tanh(np.arange(3.0) * w) ** 2)
    # Without the running numbers of the calls: they depend on what was computed before.
    return re.sub(r">(\w+) \d+</text>", r">\1</text>", _svg(tg.Tape(loss).draw()))


@_picture
def model() -> str:
    """A model with a branch: boxes are modules, with the shapes of their outputs"""
    import numpy as np

    from tapegrad import nn

    branch = nn.ConcatTable(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Identity())
    network = nn.Sequential(nn.Linear(4, 8), branch, nn.CAddTable(), nn.Linear(8, 2))
    network.forward(np.zeros((16, 4), np.float32))
    return _svg(nn.picture(network))


def _svg(picture: object) -> str:
    text = str(getattr(picture, "svg", None) or picture._repr_svg_())  # type: ignore[attr-defined]
    return re.sub(r"^<\?xml.*?\?>\s*", "", text)
