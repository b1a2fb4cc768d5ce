"""einsum's subscripts as text: read, completed, and the order of contractions that they ask for."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tapegrad.autograd.core.errors import ShapeError

__all__ = ["contraction_path", "parse_subscripts", "subscripts_from_lists"]


@lru_cache(maxsize=4096)
def contraction_path(
    subscripts: str,
    shapes: tuple[tuple[int, ...], ...],
    optimize: str = "auto",
    memory_limit: int | str | None = None,
) -> tuple[tuple[int, ...], ...]:
    """The order of pairwise contractions that opt_einsum chooses."""
    import opt_einsum  # takes as long to import as some thirty files of ours

    path, _ = opt_einsum.contract_path(
        subscripts, *shapes, shapes=True, optimize=optimize, memory_limit=memory_limit
    )
    return tuple(tuple(pair) for pair in path)


@lru_cache(maxsize=4096)
def parse_subscripts(subscripts: str, ndims: tuple[int, ...]) -> tuple[tuple[str, ...], str]:
    """Subscripts without spaces and ellipses, one string per operand, and the result's.

    Raises ShapeError where a term does not fit the axes of its operand, ValueError for another
    number of terms than operands, and for a result that names an unknown letter or one twice.
    """
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum {subscripts!r} names {len(terms)} operands, given {len(ndims)}")
    spare = [c for c in map(chr, range(ord("A"), 0x250)) if c.isalpha() and c not in text]
    widest = 0
    for term, ndim in zip(terms, ndims, strict=True):
        letters = len(term.replace("...", ""))
        if "..." in term:
            widest = max(widest, ndim - letters)
        if (ndim < letters) if "..." in term else (ndim != letters):
            raise ShapeError(f"einsum {subscripts!r}: {term!r} does not fit {ndim} axes")
    dots = "".join(spare[:widest])
    full = []
    for term, ndim in zip(terms, ndims, strict=True):
        width = ndim - len(term.replace("...", ""))
        full.append(term.replace("...", dots[len(dots) - width :] if width else ""))
    if not arrow:
        joined = "".join(full)
        once = sorted(c for c in set(joined) if joined.count(c) == 1 and c not in dots)
        right = dots + "".join(once)
    else:
        right = right.replace("...", dots)
    unknown = [c for c in right if c not in "".join(full)]
    if unknown or len(set(right)) != len(right):
        raise ValueError(f"einsum {subscripts!r}: bad result {right!r}")
    return tuple(full), right


def subscripts_from_lists(arguments: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """(x, [0, 1], y, [1, 2], [0, 2]) as subscripts and operands."""
    paired = len(arguments) // 2 * 2
    operands = arguments[:paired:2]
    axes = list(arguments[1:paired:2])
    letters = [chr(c) for c in (*range(97, 123), *range(65, 91))]

    def text(numbers: Any) -> str:
        return "".join("..." if n is Ellipsis else letters[n] for n in numbers)

    subscripts = ",".join(map(text, axes))
    return (subscripts + "->" + text(arguments[-1]) if len(arguments) % 2 else subscripts), operands
