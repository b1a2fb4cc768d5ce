"""Laws: properties that every primitive, module, criterion or optimizer must have.

A law is a sentence and a function that raises `LawError` when an example breaks it.  There is one
ordered table of laws for each kind of subject, so a new law applies to every subject, and a new
subject is held to every law.  Arrays that differ are always described by how many entries differ,
the worst entry, and both values.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapegrad.autograd.check.report import LawError
from tapegrad.autograd.core.errors import EngineSignal

__all__ = [
    "Convention",
    "Law",
    "Laws",
    "NotCovered",
    "RefusedError",
    "Uncovered",
    "array_types",
    "join_laws",
    "must",
    "must_agree",
    "must_all_be_equal",
    "must_be_close",
    "must_be_close_to",
    "must_be_transposed",
    "must_be_equal",
    "must_be_unchanged",
    "must_leave_no_cycles",
    "must_refuse",
    "must_show_nan",
    "snapshot",
    "spoil",
]


@dataclass(frozen=True)
class NotCovered:
    """The result of a law on an example to which it does not apply; the summary counts these."""

    reason: str


class Uncovered(EngineSignal):
    """Raised inside a law instead of returning `NotCovered`; the message is the reason."""


class Convention(Uncovered):
    """Raised inside a law where a subject differs from it by a known convention, with its reason.

    With ``strict=True`` the checks ask anyway.
    """


class RefusedError(Uncovered):
    """A subject does not take the data of an example, or has no such derivative, and says so.

    A law that meets it is not covered by this example; nothing is broken.
    """


@dataclass(frozen=True)
class Law:
    """One property: its sentence in snake case, its check, and the examples that it needs.

    check:    called with a trial (a subject and one drawn example); raises LawError
    regimes:  the regimes of data on which it is checked
    effort:   the share of the profile's number of examples on which it is checked (1 is all)
    empties:  whether its examples have empty axes
    long:     whether its examples have an axis of some thousand entries, where they may be empty
    deep:     whether it takes so long that a suite of few examples leaves it out
    """

    name: str
    check: Callable[[Any], Any]
    regimes: tuple[str, ...] = ("ordinary",)
    effort: float = 0.2
    empties: bool = False
    long: bool = False
    deep: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def draws(self) -> dict[str, Any]:
        """What its examples are drawn with, as `Draws` takes it."""
        return {"regimes": self.regimes, "empties": self.empties, "long": self.long}

    @property
    def sentence(self) -> str:
        """The name as a sentence."""
        return self.name.replace("_", " ")


@dataclass
class Laws:
    """An ordered table of laws for one kind of subject; used as a decorator it adds a law."""

    subject: str
    laws: dict[str, Law] = field(default_factory=dict)

    def __call__(self, **options: Any) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        """A decorator that declares a function a law; the function's name is the sentence."""

        def declare(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
            if check.__name__ in self.laws:
                raise ValueError(f"there is a law called {check.__name__} already")
            self.laws[check.__name__] = Law(check.__name__, _apart_from_refusals(check), **options)
            return check

        return declare

    def __iter__(self) -> Any:
        return iter(self.laws.values())

    def __len__(self) -> int:
        return len(self.laws)

    def __getitem__(self, name: str) -> Law:
        return self.laws[name]


def _apart_from_refusals(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`check`, which returns NotCovered where it raises RefusedError."""

    @functools.wraps(check)
    def checked(trial: Any) -> Any:
        try:
            return check(trial)
        except RefusedError as refusal:
            return NotCovered(str(refusal))

    return checked


def join_laws(subject: str, *tables: Laws) -> Laws:
    """One table of several, in their order; raises ValueError where two laws have one name."""
    all_laws = Laws(subject)
    for table in tables:
        for law in table:
            if law.name in all_laws.laws:
                raise ValueError(f"there is a law called {law.name} already")
            all_laws.laws[law.name] = law
    return all_laws


def array_types(arrays: Iterable[Any]) -> str:
    """The dtypes and shapes of arrays in words, for messages: "float64(2, 3), int64()"."""
    return ", ".join(f"{array.dtype}{tuple(array.shape)}" for array in arrays)


# Conditions ----------------------------------------------------------------------------------


def must(condition: object, message: str) -> None:
    """Raise LawError with `message` unless `condition` is true."""
    if not condition:
        raise LawError(message)


def must_be_equal(found: Any, expected: Any, what: str) -> None:
    """Raise LawError unless two arrays agree in shape, dtype and every bit (NaN equals NaN)."""
    found, expected = np.asarray(found), np.asarray(expected)
    must(
        found.shape == expected.shape and found.dtype == expected.dtype,
        f"{what}: {found.dtype}{found.shape} instead of {expected.dtype}{expected.shape}",
    )
    if found.tobytes() == expected.tobytes():
        return
    # equal NaNs may differ in their payload, and −0.0 == 0.0 counts as equal values
    same = found == expected
    if found.dtype.kind in "fc":
        same |= np.isnan(found) & np.isnan(expected)
    if not same.all():
        raise LawError(f"{what}: {_describe_difference(found, expected, ~same)}")


def must_all_be_equal(found: Sequence[Any], expected: Sequence[Any], what: str) -> None:
    """Raise LawError unless two lists of arrays agree in length, shapes, dtypes and every bit."""
    must(len(found) == len(expected), f"{what}: {len(found)} instead of {len(expected)}")
    for i, (f, e) in enumerate(zip(found, expected, strict=True)):
        must_be_equal(f, e, f"{what} {i}")


def must_be_close(
    found: Any, expected: Any, what: str, *, relative: float, scale: float | None = None
) -> None:
    """Raise LawError unless two arrays differ by at most `relative` times a magnitude.

    The magnitude is the largest finite one in `expected`, or `scale` where that is larger, such as
    the magnitude of the terms of a sum.
    """
    found = np.asarray(found, np.float64)
    expected = np.asarray(expected, np.float64)
    must(found.shape == expected.shape, f"{what}: shape {found.shape} instead of {expected.shape}")
    finite = np.isfinite(expected)
    size = float(np.max(np.abs(expected[finite]), initial=0.0))
    size = max(size, scale or 0.0, np.finfo(np.float64).tiny)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(found - expected) <= relative * size
        same = near | (found == expected) | (np.isnan(found) & np.isnan(expected))
    if not same.all():
        raise LawError(f"{what}: {_describe_difference(found, expected, ~same)}")


def must_agree(found: Any, expected: Any, what: str) -> None:
    """Raise LawError unless two arrays of one dtype differ by no more than the order of sums.

    Floating point numbers may differ by 2⁶ units in the last place of the largest, others not.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    must(found.dtype == expected.dtype, f"{what}: {found.dtype} instead of {expected.dtype}")
    if expected.dtype.kind not in "fc":
        must(bool(np.array_equal(found, expected)), f"{what}: {found!r} instead of {expected!r}")
        return
    relative = 64 * float(np.finfo(expected.dtype).eps)
    for part in ("real", "imag"):
        a, b = getattr(found, part), getattr(expected, part)
        must_be_close(a, b, what, relative=relative)


def must_be_close_to(found: Any, expected: Any, what: str, bars: np.ndarray) -> None:
    """Raise LawError unless two arrays differ nowhere by more than `bars` (∞ allows all)."""
    found = np.asarray(found, np.float64)
    must(found.shape == expected.shape, f"{what}: shape {found.shape} instead of {expected.shape}")
    with np.errstate(invalid="ignore", over="ignore"):
        near = (np.abs(found - expected) <= bars) | np.isinf(bars)
    if not near.all():
        raise LawError(f"{what}: {_describe_difference(found, expected, ~near)}")


def must_be_transposed(
    v: Sequence[Any], pushed: Sequence[Any], gradients: Sequence[Any], u: Sequence[Any]
) -> None:
    """Raise LawError unless ⟨v, J·u⟩ = ⟨Jᵀ·v, u⟩ up to rounding, on the scale of the terms.

    pushed:    J·u, as forward mode gives it
    gradients: Jᵀ·v, as the sweep does
    Where a derivative is not finite, both must be so.
    """
    forward, reverse = (
        np.concatenate([np.zeros(1), *(np.ravel(np.multiply(a, b)) for a, b in pairs)])
        for pairs in (zip(v, pushed, strict=True), zip(gradients, u, strict=True))
    )
    one, other = bool(np.isfinite(forward).all()), bool(np.isfinite(reverse).all())
    if not (one and other):
        must(one == other, "of the tangents and the gradients one is finite, the other is not")
        return
    scale = float(np.abs(forward).sum() + np.abs(reverse).sum())
    must_be_close(forward.sum(), reverse.sum(), "⟨v, J·u⟩ ≠ ⟨Jᵀ·v, u⟩", relative=1e-10, scale=scale)


def snapshot(arrays: Iterable[Any]) -> list[bytes]:
    """The bytes of arrays, to compare after a call."""
    return [np.asarray(array).tobytes() for array in arrays]


def must_be_unchanged(before: Sequence[bytes], arrays: Iterable[Any], what: str) -> None:
    """Raise LawError unless the arrays still hold the bytes of an earlier `snapshot`."""
    for i, (old, array) in enumerate(zip(before, arrays, strict=True)):
        must(old == np.asarray(array).tobytes(), f"{what} {i} was overwritten")


def must_refuse(action: Callable[[], Any], what: str) -> None:
    """Raise LawError unless the action raises ValueError or TypeError."""
    try:
        action()
    except (ValueError, TypeError):
        return
    raise LawError(f"{what} was accepted")


def spoil(x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two copies of x with one entry changed: to NaN in the first, to another number in the second.

    If the second changes a result, the entry matters, and NaN must show in the result of the first.
    The change is small, so that another entry rarely becomes the largest: max pooling's gradient
    would then change at a place where NaN need not show.
    """
    index = int(rng.integers(x.size))
    bad, moved = x.copy(), x.copy()
    bad.reshape(-1)[index] = np.nan
    moved.reshape(-1)[index] += 2.0**-20
    return bad, moved


def must_show_nan(before: np.ndarray, moved: np.ndarray, bad: np.ndarray, what: str) -> None:
    """Raise LawError unless the result is NaN wherever the spoiled entry (see `spoil`) matters.

    before, moved, bad: the result for x, and for both copies that `spoil` made
    A result that only moves entries, as sort does, may show the NaN in another place.
    """
    lost = (before != moved) & ~np.isnan(bad)
    if lost.any() and np.isnan(bad).any() and np.isin(bad[~np.isnan(bad)], before).all():
        return
    must(not lost.any(), f"NaN in {what} gives {bad[lost][:1]}")


def must_leave_no_cycles(step: Callable[[], None], times: int = 3) -> None:
    """Run `step` without the garbage collector; raise LawError if garbage is left."""
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()  # what was there before is not looked at: in a test suite it is millions of objects
    try:
        for _ in range(times):
            step()
        garbage = gc.collect()
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
    must(garbage == 0, f"{garbage} objects in reference cycles after {times} calls")


def _describe_difference(found: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> str:
    indices = np.argwhere(wrong)
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.abs(found[wrong].astype(np.float64) - expected[wrong].astype(np.float64))
    worst = int(np.argmax(np.where(np.isnan(gaps), np.inf, gaps)))
    index = tuple(int(i) for i in indices[worst])
    return (
        f"{len(indices)} of {found.size} entries differ, most at {list(index)}: "
        f"{found[index]} instead of {expected[index]}"
    )
