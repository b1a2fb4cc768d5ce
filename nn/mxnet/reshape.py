"""reshaped: MXNet's codes for shapes, 0, -1, -2, -3 and -4."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tapegrad.nn.mxnet.errors import MXNetError

__all__ = ["reshaped"]


def reshaped(shape: Sequence[int], codes: Sequence[int], reverse: bool = False) -> tuple[int, ...]:
    """The shape that MXNet's codes make of `shape`.

    0 copies a dimension, -1 is inferred, -2 copies all that are left, -3 joins two, -4 splits one
    into the two numbers behind it (one of which may be -1).  `reverse` matches from the right.
    Raises MXNetError where the codes do not fit.
    """
    if reverse:
        flipped = _flip(codes)
        return tuple(reversed(reshaped(tuple(reversed(shape)), flipped)))
    given, found, at = list(shape), [], 0
    codes = list(codes)
    try:
        i = 0
        while i < len(codes):
            code = codes[i]
            if code == 0:
                found.append(given[at])
                at += 1
            elif code == -2:
                found += given[at:]
                at = len(given)
            elif code == -3:
                found.append(given[at] * given[at + 1])
                at += 2
            elif code == -4:
                first, second = codes[i + 1], codes[i + 2]
                whole = given[at]
                first = whole // second if first == -1 else first
                second = whole // first if second == -1 else second
                if first * second != whole:
                    raise MXNetError(f"Reshape: {whole} is not {first} × {second}")
                found += [first, second]
                at, i = at + 1, i + 2
            else:
                found.append(code)
                at += 1
            i += 1
    except IndexError:
        raise MXNetError(
            f"Reshape: the codes {tuple(codes)} need more axes than {tuple(shape)}"
        ) from None
    total = math.prod(given)
    if found.count(-1) > 1:
        raise MXNetError(f"Reshape: {tuple(codes)} leaves more than one dimension open")
    if -1 in found:
        rest = math.prod(n for n in found if n != -1)
        if rest == 0 or total % rest:
            raise MXNetError(f"Reshape: {tuple(shape)} does not fit into {tuple(codes)}")
        found[found.index(-1)] = total // rest
    if math.prod(found) != total:
        raise MXNetError(f"Reshape: {tuple(shape)} has {total} entries, {tuple(found)} has others")
    return tuple(found)


def _flip(codes: Sequence[int]) -> list[int]:
    """The codes from the right; the two numbers behind a -4 stay behind it."""
    parts: list[list[int]] = []
    i = 0
    codes = list(codes)
    while i < len(codes):
        if codes[i] == -4:
            parts.append([-4, *reversed(codes[i + 1 : i + 3])])
            i += 3
        else:
            parts.append([codes[i]])
            i += 1
    return [code for part in reversed(parts) for code in part]
