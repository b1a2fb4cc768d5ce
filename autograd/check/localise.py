"""localise: the wrong entries of a gradient, and a diagnosis in words.

It runs after a failure only, so it may cost thousands of evaluations.  Small arguments are measured
entry by entry.  In large ones wrong entries are found by bisection with a probe for each half,
because a 512 × 512 weight would need a million evaluations otherwise.  On tied data, a *group* of
equal entries is moved together, as in the probe that failed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np

from tapegrad.autograd.check.directions import gaussian
from tapegrad.autograd.check.report import ReportEntry
from tapegrad.autograd.check.slopes import Line, slope_at

__all__ = ["diagnose", "localise"]

_ENTRYWISE = 256  # the largest size of an argument that is measured entry by entry
_MOST_ENTRIES = 16  # bisection stops after this many wrong entries


def localise(
    line: Line,
    gradients: Sequence[np.ndarray],
    names: Sequence[str],
    groups: np.ndarray | None,
    *,
    step: float,
    scale: float,
) -> tuple[tuple[ReportEntry, ...], tuple[str, ...]]:
    """The wrong entries, worst first, and sentences that describe the error."""
    measure = _Measure(line, gradients, groups, step, scale)
    entries: list[ReportEntry] = []
    sentences: list[str] = []
    for position, name in enumerate(names):
        gradient = gradients[position]
        lost = np.flatnonzero(np.isnan(gradient))
        if lost.size:
            sentences += [
                f"{name}: the gradient is NaN",
                *_describe_wrong(name, np.isnan(gradient)),
            ]
            entries += [
                ReportEntry(
                    name, (_index(gradient.shape, flat),), *measure(position, flat[None])[:2]
                )
                for flat in lost[:_MOST_ENTRIES]
            ]
            continue
        moves = measure.moves_of(position)
        if not moves:
            continue
        if len(moves) <= _ENTRYWISE:
            wrong = [
                (move, a, n) for move in moves for a, n, bad in [measure(position, move)] if bad
            ]
            numeric = np.full(gradient.size, np.nan)
            for move in moves:
                numeric[move] = measure(position, move)[1]
            if wrong and groups is None:
                sentences += diagnose(
                    name, gradient, numeric.reshape(gradient.shape), measure.slack(position)
                )
            elif wrong:
                sentences += _diagnose_ties(name, gradient, wrong)
        else:
            wrong = list(measure.bisect(position, moves))
            if wrong:
                flat_indices = [move[0] for move, _, _ in wrong]
                sentences += _describe_indices(
                    name, gradient.shape, flat_indices, capped=len(wrong) >= _MOST_ENTRIES
                )
        entries += [
            ReportEntry(
                name, tuple(_index(gradient.shape, flat) for flat in move), analytic, number
            )
            for move, analytic, number in wrong
        ]
    if not entries:
        entries, sentences = measure.worst(names)
    entries.sort(key=lambda entry: -_gap_size(entry.analytic, entry.numeric))
    return tuple(entries), tuple(sentences)


class _Measure:
    """Numeric slopes along single entries, or groups of tied entries, of the arguments."""

    def __init__(self, line, gradients, groups, step, scale):
        self.line, self.gradients, self.groups = line, gradients, groups
        self.step, self.scale = step, scale
        self._cache: dict[tuple[int, bytes], tuple[float, float, bool]] = {}
        self._sizes = [gradient.size for gradient in gradients]
        self._slack = [0.0] * len(gradients)

    def moves_of(self, position: int) -> list[np.ndarray]:
        """The sets of flat indices of the argument that are moved together."""
        size = self._sizes[position]
        if self.groups is None:
            return [np.array([flat]) for flat in range(size)]
        start = sum(self._sizes[:position])
        own = self.groups[start : start + size]
        return [np.flatnonzero(own == group) for group in np.unique(own) if group >= 0]

    def slack(self, position: int) -> float:
        """The widest error bar of a slope that was measured in the argument."""
        return self._slack[position]

    def __call__(self, position: int, move: np.ndarray) -> tuple[float, float, bool]:
        """(analytic, numeric, whether they differ beyond the error bar) along `move`."""
        key = (position, move.tobytes())
        if key not in self._cache:
            direction = [np.zeros(gradient.shape) for gradient in self.gradients]
            direction[position].reshape(-1)[move] = 1.0
            line = Line(
                self.line.evaluate, self.line.leaves, direction, self.line.cotangents,
                self.line.values, self.gradients,
            )  # fmt: skip
            slope = slope_at(line, self.step)
            entries = self.gradients[position].reshape(-1)[move]
            analytic = float(np.sum(entries))
            slack = 8 * slope.error + 1e-8 * float(np.sum(np.abs(entries)))
            if math.isfinite(slope.error):
                self._slack[position] = max(self._slack[position], slack)
            bad = not abs(analytic - slope.value) <= slack
            self._cache[key] = (analytic, slope.value, bad)
        return self._cache[key]

    def worst(self, names: Sequence[str]) -> tuple[list[ReportEntry], list[str]]:
        """The entry with the largest relative difference, for when none exceeds its error bar."""
        if not self._cache:
            return [], []

        def excess(key: tuple[int, bytes]) -> float:
            analytic, numeric, _ = self._cache[key]
            return abs(analytic - numeric) / (abs(analytic) + abs(numeric) or 1.0)

        position, move = max(self._cache, key=excess)
        analytic, numeric, _ = self._cache[position, move]
        shape, name = self.gradients[position].shape, names[position]
        indices = tuple(_index(shape, flat) for flat in np.frombuffer(move, np.intp))
        sentence = f"{name}: single entries differ within their error bars, this one most"
        return [ReportEntry(name, indices, analytic, numeric)], [sentence]

    def bisect(
        self, position: int, moves: list[np.ndarray]
    ) -> Iterator[tuple[np.ndarray, float, float]]:
        """At most `_MOST_ENTRIES` wrong entries of a large argument, found by probing halves.

        The entries of a half move by random amounts, so that two errors do not cancel.
        """
        rng = np.random.default_rng(0)
        amounts = gaussian(rng, self._sizes[position])
        found, pending = 0, [moves]
        while pending and found < _MOST_ENTRIES:
            part = pending.pop()
            if len(part) == 1:
                analytic, numeric, bad = self(position, part[0])
                if bad:
                    found += 1
                    yield part[0], analytic, numeric
                continue
            chosen = np.concatenate(part)
            direction = [np.zeros(gradient.shape) for gradient in self.gradients]
            direction[position].reshape(-1)[chosen] = amounts[chosen]
            products = self.gradients[position].reshape(-1)[chosen] * amounts[chosen]
            line = Line(
                self.line.evaluate, self.line.leaves, direction, self.line.cotangents,
                self.line.values, self.gradients,
            )  # fmt: skip
            slope = slope_at(line, self.step)
            # independent errors of many terms add up to about the root of the sum of their squares
            spread = min(np.sum(np.abs(products)), 6 * np.sqrt(np.sum(products * products)))
            slack = 4 * slope.error + 1e-9 * float(spread)
            if not abs(float(np.sum(products)) - slope.value) <= slack:
                pending += [part[len(part) // 2 :], part[: len(part) // 2]]


def diagnose(name: str, analytic: np.ndarray, numeric: np.ndarray, slack: float) -> list[str]:
    """At most two sentences on how the analytic and the numeric gradient of an argument differ."""
    size = max(float(np.max(np.abs(numeric), initial=0.0)), slack)
    close = slack + 1e-6 * size
    wrong = ~(np.abs(analytic - numeric) <= slack + 1e-8 * np.abs(analytic))
    if not np.isfinite(numeric).all() or analytic.size == 0:
        return []
    if np.isnan(analytic).any():
        return [f"{name}: the gradient is NaN", *_describe_wrong(name, np.isnan(analytic))]
    if not np.any(np.abs(analytic) > close):
        return [f"{name}: analytic is zero everywhere, numeric is not"]
    everywhere = _relation(analytic, numeric, close)
    if everywhere:
        return [f"{name}: {everywhere} everywhere"]
    rearranged = _rearrangement(analytic, numeric, close)
    if rearranged:
        return [f"{name}: {rearranged}"]
    sentences = _describe_wrong(name, wrong)
    part = _relation(analytic[wrong], numeric[wrong], close)
    if part and not wrong.all():
        sentences.append(f"{name}: there, {part}")
    return sentences


def _relation(analytic: np.ndarray, numeric: np.ndarray, close: float) -> str:
    """A relation between both gradients, such as a factor or a constant; "" if there is none."""
    if analytic.size == 0:
        return ""
    if not np.any(np.abs(analytic) > close):
        return "analytic is zero"
    if not np.any(np.abs(numeric) > close):
        return "numeric is zero"
    factor = float(np.sum(analytic * numeric) / np.sum(numeric * numeric))
    if np.all(np.abs(analytic - factor * numeric) <= close * max(1.0, abs(factor))):
        if abs(factor - 1) < 1e-5:
            return f"analytic and numeric differ by {abs(factor - 1):.1e} of their size"
        return f"analytic is {_factor_in_words(factor)} numeric"
    shift = float(np.mean(analytic - numeric))
    if analytic.size > 1 and np.all(np.abs(analytic - numeric - shift) <= close):
        return f"analytic − numeric is the constant {shift:.6g}"
    if analytic.size > 1 and np.all(np.abs(np.abs(analytic) - np.abs(numeric)) <= close):
        return "analytic has the right size and some wrong signs"
    return ""


def _factor_in_words(factor: float) -> str:
    words = {2.0: "twice", -1.0: "minus", 0.5: "half of"}
    for value, word in words.items():
        if abs(factor - value) < 1e-5:
            return word
    if abs(factor - round(factor)) < 1e-5 * abs(factor):
        return f"{round(factor)} times"
    if factor and abs(1 / factor - round(1 / factor)) < 1e-5 * abs(1 / factor):
        return f"1/{round(1 / factor)} of"
    return f"{factor:.6g} times"


def _rearrangement(analytic: np.ndarray, numeric: np.ndarray, close: float) -> str:
    """How the right values are rearranged in the gradient; "" if they are not."""

    def same(array: np.ndarray) -> bool:
        return array.shape == numeric.shape and bool(np.all(np.abs(array - numeric) <= close))

    if analytic.size < 2:
        return ""
    if 2 <= analytic.ndim <= 4:
        for axes in permutations(range(analytic.ndim)):
            if axes != tuple(range(analytic.ndim)) and same(analytic.transpose(axes)):
                order = "" if analytic.ndim == 2 else f" (axes {axes})"
                return f"analytic is numeric transposed{order}"
            swapped = analytic.transpose(axes)
            if swapped.shape != numeric.shape and same(swapped.reshape(numeric.shape)):
                return f"analytic is numeric transposed and reshaped (axes {axes})"
    for axis in range(analytic.ndim):
        if same(np.flip(analytic, axis)):
            return f"analytic is numeric reversed along axis {axis}"
        for shift in range(1, analytic.shape[axis]):
            if same(np.roll(analytic, shift, axis)):
                short = (
                    shift if shift <= analytic.shape[axis] // 2 else shift - analytic.shape[axis]
                )
                return f"analytic is numeric shifted by {-short} along axis {axis}"
    ordered = np.sort(analytic, axis=None) - np.sort(numeric, axis=None)
    if np.all(np.abs(ordered) <= close):
        return "analytic has numeric's values in another order"
    return ""


def _describe_wrong(name: str, wrong: np.ndarray) -> list[str]:
    if wrong.all():
        return [f"{name}: wrong in every entry"]
    return _describe_indices(name, wrong.shape, np.flatnonzero(wrong))


def _describe_indices(
    name: str, shape: tuple[int, ...], flat: Sequence[int] | np.ndarray, capped: bool = False
) -> list[str]:
    """A sentence on how many entries are wrong, and which indices they have in common."""
    indices = np.array(np.unravel_index(np.asarray(flat, np.intp), shape))
    parts = []
    for axis, along in enumerate(indices):
        values = np.unique(along)
        if shape[axis] > 1 and len(values) <= max(1, shape[axis] // 2):
            if len(values) == 1 and values[0] == shape[axis] - 1:
                parts.append(f"index on axis {axis} is the last ({values[0]})")
            elif len(values) == 1 and values[0] == 0:
                parts.append(f"index on axis {axis} is the first (0)")
            else:
                parts.append(f"index on axis {axis} is in {values[:8].tolist()}")
    if capped:
        return [f"{name}: wrong in at least {_MOST_ENTRIES} entries"]
    count = f"wrong in {len(flat)} of {math.prod(shape)} entries"
    return [f"{name}: {count}" + (f", only where {' and '.join(parts)}" if parts else "")]


def _diagnose_ties(
    name: str, gradient: np.ndarray, wrong: Sequence[tuple[np.ndarray, float, float]]
) -> list[str]:
    """A sentence on wrong gradients of tied entries.

    If the right sum results when equal gradients of one group count once, the rule gives the
    gradient to every tie instead of to one.
    """
    for move, _, numeric in wrong:
        once = np.unique(gradient.reshape(-1)[move])
        if len(move) < 2 or abs(float(np.sum(once)) - numeric) > 1e-6 * np.sum(np.abs(once)):
            return [f"{name}: wrong on values that tie"]
    return [f"{name}: the gradient goes to every tie instead of one of them"]


def _index(shape: tuple[int, ...], flat: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(flat), shape)) if shape else ()


def _gap_size(analytic: float, numeric: float) -> float:
    gap = abs(analytic - numeric)
    return gap if math.isfinite(gap) else math.inf
