"""No rank is left hanging: an exception that ends one rank ends all of them."""

from __future__ import annotations

import sys
import threading
import traceback
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapegrad.devices.collectives._group import RankGroup

__all__ = ["end_all_on_error", "report_error"]


def report_error(group: RankGroup, error: BaseException) -> None:
    """Print the traceback with the number of the rank in front of each line, in one write."""
    text = "".join(traceback.format_exception(error))
    lines = [f"rank {group.rank} of {group.size} failed, and all ranks end.", *text.splitlines()]
    sys.stdout.flush()
    sys.stderr.write("".join(f"[rank {group.rank}] {line}\n" for line in lines))
    sys.stderr.flush()


def end_all_on_error(group: RankGroup) -> None:
    """From now on, what Python would print of an exception and exit ends all ranks.

    The main thread and others alike: a rank without one of its threads would be waited for, too.
    """
    before = sys.excepthook

    def in_main(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            before(kind, error, trace)
        else:
            report_error(group, error)
        group.abort(130 if isinstance(error, KeyboardInterrupt) else 1)

    def in_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            report_error(group, arguments.exc_value)
        group.abort(1)

    sys.excepthook = in_main
    threading.excepthook = in_thread
