"""Generated source is compiled here, so that tracebacks and debuggers can show its lines.

Both look lines up in `linecache`.  So generated source is entered there under a name in angle
brackets, as attrs and doctest do.  Equal texts of one name share an entry, so that the number of
entries stays bounded: one for each primitive and each combination of tracked operands.
"""

from __future__ import annotations

import linecache
from itertools import count
from types import CodeType

from tapegrad.autograd.core.callsite import GENERATED

__all__ = ["compile_source"]


def compile_source(source: str, name: str) -> CodeType:
    """Compile `source` for `exec`; tracebacks show its lines under the file ``<tapegrad name>``."""
    lines = source.splitlines(keepends=True)
    for number in count(1):
        file = f"{GENERATED} {name}>" if number == 1 else f"{GENERATED} {name}, {number}>"
        # With None as its modification time `linecache.checkcache` looks for no file on the disk.
        entry = (len(source), None, lines, file)
        if linecache.cache.setdefault(file, entry) == entry:
            break
    return compile(source, file, "exec")
