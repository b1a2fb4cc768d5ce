"""Source that this package writes itself: compiled, and known to tracebacks and debuggers.

A traceback shows lines, and pdb steps through them, only of files that `linecache` knows.  So what
is generated is entered there, under a name in angle brackets, as attrs and doctest do.  Equal texts
of one name share an entry: there are as many as primitives and combinations of operands, however
often a function is made anew.
"""

from __future__ import annotations

import linecache
from itertools import count
from types import CodeType

from tapegrad.autograd.core.callsite import GENERATED

__all__ = ["compiled"]


def compiled(source: str, name: str) -> CodeType:
    """The code of `source`, for `exec`; tracebacks show its lines under the file ``<… name>``."""
    lines = source.splitlines(keepends=True)
    for number in count(1):
        file = f"{GENERATED} {name}>" if number == 1 else f"{GENERATED} {name}, {number}>"
        # Without a time of change `linecache.checkcache` does not look for a file on the disk.
        entry = (len(source), None, lines, file)
        if linecache.cache.setdefault(file, entry) == entry:
            break
    return compile(source, file, "exec")
