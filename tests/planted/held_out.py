"""Bugs in further layers, written when checker, harness and all other bugs were finished.

What `bugs` shows may have been tuned for, if only by what came to mind; these were run once, and
nothing was changed for them.  Layers and mistakes as there.  A fifteenth was struck out, because it
is none: 1 in place of sign(0) is a valid subgradient of |x|, and is rightly not accused.
"""

from __future__ import annotations

import textwrap
from typing import Any

from planted.bugs import Bug
from planted.layers import Code, LayerKind

__all__ = ["HELD_OUT", "HELD_OUT_LAYERS"]


# ruff: noqa: E501  # a slip is one line of a table


def _kind(name: str, inputs: Any, parameters: Any, forward: str, backward: str, **more: Any) -> Any:
    code = Code(textwrap.dedent(forward), textwrap.dedent(backward))
    return LayerKind(name, inputs, parameters, code, **more)


HELD_OUT_LAYERS = {
    kind.name: kind
    for kind in (
        _kind("rotation", {"x": "N i", "t": "N"}, {}, """
            c, s = np.cos(t)[:, None], np.sin(t)[:, None]
            a, b = x[:, :2], x[:, 2:]
            y = np.concatenate([a * c - b * s, a * s + b * c], axis=1)
            """, """
            p, q = g[:, :2], g[:, 2:]
            gx = np.concatenate([p * c + q * s, q * c - p * s], axis=1)
            gt = (q * (a * c - b * s) - p * (a * s + b * c)).sum(axis=1)
            """, sizes={"i": (4, 4)}, batch="always", large=10.0),
        _kind("moving average", {"x": "N T"}, {}, """
            y = np.empty_like(x)
            y[:, 0] = x[:, 0]
            for t in range(1, x.shape[1]):
                y[:, t] = 0.75 * y[:, t - 1] + 0.25 * x[:, t]
            """, """
            gx, carry = np.empty_like(x), np.zeros_like(x[:, 0])
            for t in reversed(range(1, x.shape[1])):
                carry = carry + g[:, t]
                gx[:, t] = 0.25 * carry
                carry = 0.75 * carry
            gx[:, 0] = carry + g[:, 0]
            """, sizes={"T": (2, 5)}, batch="always"),
        _kind("mixture", {"x": "N i"}, {"weight": "k i", "gate": "k i"}, """
            s = x @ gate.T
            e = np.exp(s - s.max(axis=1, keepdims=True))
            p = e / e.sum(axis=1, keepdims=True)
            h = x @ weight.T
            y = (p * h).sum(axis=1)
            """, """
            u = g[:, None] * p
            ds = u * (h - y[:, None])
            gx = u @ weight + ds @ gate
            gweight = u.T @ x
            ggate = ds.T @ x
            """, batch="always", large=2.0),
        _kind("total variation", {"x": "N i"}, {}, "y = np.abs(np.diff(x, axis=1)).sum(axis=1)", """
            s = np.sign(np.diff(x, axis=1)) * g[:, None]
            gx = np.zeros_like(x)
            gx[:, 1:] += s
            gx[:, :-1] -= s
            """, sizes={"i": (2, 5)}, batch="always"),
        _kind("spread", {"x": "N i"}, {}, "y = x.max(axis=1) - x.min(axis=1)", """
            n = np.arange(len(x))
            gx = np.zeros_like(x)
            gx[n, x.argmax(axis=1)] += g
            gx[n, x.argmin(axis=1)] -= g
            """, batch="always"),
    )
}  # fmt: skip

_SLIPS = """
rotation | x | same angle back | q * c - p * s | q * c + p * s
rotation | x | halves swapped | np.concatenate([p * c + q * s, q * c - p * s], axis=1) | np.concatenate([q * c - p * s, p * c + q * s], axis=1)
rotation | t | sign | (q * (a * c - b * s) - p | (q * (a * c - b * s) + p
rotation | t | mean | .sum(axis=1) | .mean(axis=1)
moving average | x | first sample decays, too | gx[:, 0] = carry + g[:, 0] | gx[:, 0] = 0.25 * (carry + g[:, 0])
moving average | x | nothing carried | carry = 0.75 * carry | carry = 0 * carry
moving average | x | rate | gx[:, t] = 0.25 * carry | gx[:, t] = 0.75 * carry
mixture | x | gate's path forgotten | + ds @ gate | + 0
mixture | gate | not centred | (h - y[:, None]) | h
mixture | weight | gate's weight forgotten | gweight = u.T @ x | gweight = (g[:, None] + 0 * p).T @ x
total variation | x | one neighbour | gx[:, :-1] -= s | pass
total variation | x | without sign | np.sign(np.diff(x, axis=1)) * g[:, None] | np.ones_like(x[:, 1:]) * g[:, None]
spread | x | overwrites where the largest is the smallest | -= g | = -g
spread | x | every tie | gx[n, x.argmax(axis=1)] += g | gx += g[:, None] * (x == x.max(axis=1, keepdims=True))
"""


def _held_out() -> list[Bug]:
    found = []
    for line in _SLIPS.strip().splitlines():
        name, argument, what, old, new = (part.strip() for part in line.split(" | "))
        kind = HELD_OUT_LAYERS[name]
        if old not in kind.code.backward:
            raise ValueError(f"{name}: no such text in its backward code: {old}")
        changed = kind.changed(kind.code.forward, kind.code.backward.replace(old, new))
        found.append(Bug(f"{name}: {argument}, {what}", changed, what, argument, "held out"))
    return found


HELD_OUT = _held_out()
