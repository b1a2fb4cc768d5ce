"""tapegrad.devices.collectives: what several ranks compute together.

A rank is one of several processes, started by ``mpiexec -n 4 python script.py`` or ``tapegrad run
-n 4 script.py``, or one of several threads (`run_in_threads`).  ``world()`` is the group of all of
them, one rank in a program that was started as usual; a `RankGroup` sums, broadcasts and gathers
arrays.  Every rank runs the same calls in the same order.
"""

from tapegrad.devices.collectives._failure import report_error
from tapegrad.devices.collectives._group import (
    CollectiveError,
    RankGroup,
    Request,
    SingleProcess,
    Window,
    tree_sum,
)
from tapegrad.devices.collectives._threads import run_in_threads
from tapegrad.devices.collectives._world import current, restarts, use, world

__all__ = [
    "CollectiveError",
    "RankGroup",
    "Request",
    "SingleProcess",
    "Window",
    "current",
    "report_error",
    "restarts",
    "run_in_threads",
    "tree_sum",
    "use",
    "world",
]
