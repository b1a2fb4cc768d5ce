"""shrink: the smallest example that still fails, found by making one choice after another smaller.

An example is the list of its choices (see draws.py), in which a smaller integer is a simpler choice
and a shorter list a smaller example.  (Rejected: Hypothesis, which shrinks as far, but takes
milliseconds to set up for each law, a third of the time of a suite whose laws hold.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

__all__ = ["shrink"]

Choices = tuple[int, ...]


def shrink(
    choices: Sequence[int], attempt: Callable[[Choices], Choices | None], *, most: int = 400
) -> Choices:
    """The choices of a failing example that no single change makes smaller.

    choices: those of an example that fails
    attempt: called with choices; if the example nearest to them fails in the same way, the choices
             that it really made, else None
    most:    how often `attempt` is called at most
    """
    best = tuple(choices)
    tried = {best}
    left = most
    improved = True
    while improved:
        improved = False
        for candidate in _smaller(best):
            if candidate in tried:
                continue
            if not left:
                return best
            left -= 1
            tried.add(candidate)
            made = attempt(candidate)
            if made is not None and _size(made) < _size(best):
                best = made
                tried.add(best)
                improved = True
                break
    return best


def _size(choices: Choices) -> tuple[int, Choices]:
    return len(choices), choices


def _smaller(choices: Choices) -> Iterator[Choices]:
    """Candidates, the boldest first: everything 0, choices left out, single ones smaller."""
    seed, *rest = choices
    yield (seed, *(0 for _ in rest))
    for length in (4, 2, 1):
        for i in range(1, len(choices) - length + 1):
            yield (*choices[:i], *choices[i + length :])
    for i, value in enumerate(choices):
        smaller = range(min(value, 3)) if i == 0 else sorted({0, value // 2, value - 1})
        for other in smaller:
            if other < value:
                yield (*choices[:i], other, *choices[i + 1 :])
