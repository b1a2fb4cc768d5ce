"""Examples for autograd/ops/writing.py; see `cases`."""

from __future__ import annotations

from cases.common import written

OPERATIONS = {
    "copyto": written(lambda d: d.array((3,))),
    "fill_diagonal": written(1.5),
    "place": written(lambda d: d.booleans((3, 3)), lambda d: d.array((2,))),
    "put": written([0, -2], lambda d: d.array((2,))),
    "put_along_axis": written(lambda d: d.integers((3, 1), 0, 3), lambda d: d.array((3, 1)), 1),
    "putmask": written(lambda d: d.booleans((3, 3)), lambda d: d.array((2,))),
}
