"""apart: the laws of a subject in a process of its own, in which a crash is a finding.

Code in C may end the process that runs it.  Here a forked process checks, and says through a pipe
which example comes next, before it runs it, and what it has found.  If the process ends, the law is
broken on the example that was said last, with the signal's name, and a new process goes on with the
next law; so it is if an example takes longer than the limit.  What had failed before, while a
smaller example was looked for, is not lost.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.check.gradients import UsageError
from tapegrad.autograd.check.report import LawError
from tapegrad.autograd.check.running import Failure, Outcome, Watch

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from tapegrad.autograd.check.laws import Law

__all__ = ["LIMIT", "apart"]

LIMIT = 60.0  # seconds that one example may take

Examine = Callable[["Law", Watch], Outcome]

CRASHED = (
    "the process that checked it was ended by {how}. A crash in compiled code is a fault of that "
    "code, whatever the arguments are"
)
TOO_LONG = (
    "this example did not end within {limit:g} seconds: a loop that does not end, or a lock that "
    "is never released? isolate=SECONDS allows longer"
)
NO_FORK = "isolate=True needs os.fork, which this system has not: say isolate=False"
_WORDS = {
    "SIGSEGV": "SIGSEGV, a segmentation fault",
    "SIGFPE": "SIGFPE, an integer division by zero or its like",
    "SIGABRT": "SIGABRT, an abort() in compiled code",
    "SIGILL": "SIGILL, an illegal instruction",
    "SIGBUS": "SIGBUS, a bus error",
    "SIGKILL": "SIGKILL, which the system sends where memory runs out",
}


def apart(laws: Sequence[Law], examine: Examine, *, limit: float = LIMIT) -> Iterator[Outcome]:
    """The outcomes of laws, each from a process that may crash, or never end.

    examine: (law, watch) -> the outcome; it tells `watch` each example before it is run
    limit:   the seconds that one example may take; a longer one is a broken law
    Raises UsageError where a process raises it, where there is no fork, and for a limit that is not
    above 0.
    """
    if not limit > 0:
        raise UsageError(f"isolate={limit:g}: the seconds of an example are more than 0")
    if not hasattr(os, "fork"):
        raise UsageError(NO_FORK)
    remaining = list(laws)
    while remaining:
        for outcome in _in_one_process(remaining, examine, limit):
            yield outcome
            remaining = remaining[remaining.index(outcome.law) + 1 :]


class _Teller:
    """Tells the parent process what comes next and what was found."""

    def __init__(self, pipe: Connection[Any, Any]) -> None:
        self._pipe = pipe

    def __call__(self, kind: str, value: Any) -> None:
        self._pipe.send((kind, value))

    def example(self, choices: Sequence[int], text: str) -> None:
        """Say the example that is run next."""
        self("example", (tuple(choices), text))

    def failure(self, failure: Failure) -> None:
        """Say what failed, before a smaller example is looked for."""
        self("failure", replace(failure, error=_portable(failure.error)))


def _in_one_process(laws: Sequence[Law], examine: Examine, limit: float) -> Iterator[Outcome]:
    """The outcomes of laws until the process ends."""
    by_name = {law.name: law for law in laws}
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = Pipe(duplex=False)
    child = os.fork()
    if not child:
        reading.close()
        with writing:
            _child(laws, examine, _Teller(writing))
        os._exit(0)
    writing.close()
    last: tuple[tuple[int, ...], str] = ((), "before the first example")
    law = laws[0]
    failure: Failure | None = None
    usage: UsageError | None = None
    done = late = False
    try:
        with reading:
            while not done and usage is None:
                if not reading.poll(limit):
                    late = True
                    os.kill(child, signal.SIGKILL)
                    break
                try:
                    kind, value = reading.recv()
                except (EOFError, pickle.UnpicklingError):
                    break
                if kind == "law":
                    law, failure = by_name[value], None
                    last = ((), "before the first example")
                elif kind == "example":
                    last = value
                elif kind == "failure":
                    failure = value
                elif kind == "outcome":
                    yield replace(value, law=law)
                elif kind == "usage":
                    usage = value
                else:
                    done = True
    except GeneratorExit:  # nobody wants the other laws
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    if usage is not None:
        raise usage
    if not done:
        yield _crash(law, status, last, failure, limit if late else None)


def _child(laws: Sequence[Law], examine: Examine, tell: _Teller) -> None:
    """Check the laws, in the child process."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # the threads of the parent are not here
    try:
        for law in laws:
            tell("law", law.name)
            outcome = examine(law, tell)
            error = None if outcome.error is None else _portable(outcome.error)
            tell("outcome", replace(outcome, law=None, error=error))  # type: ignore[arg-type]  # no law: it cannot be pickled
        tell("done", None)
    except UsageError as error:
        tell("usage", _portable(error))


def _portable(error: BaseException) -> BaseException:
    """The error itself if it survives the way to the parent process, else its text and notes."""
    try:
        again = str(pickle.loads(pickle.dumps(error)))  # noqa: S301  # what was dumped right here
    except Exception:  # noqa: BLE001  # any class of error may be unable to
        again = None
    if again == str(error):
        return error
    kind = UsageError if isinstance(error, UsageError) else LawError
    text = kind(f"{type(error).__name__}: {error}")
    for note in getattr(error, "__notes__", []):
        text.add_note(note)
    return text


def _crash(
    law: Law,
    status: int,
    last: tuple[tuple[int, ...], str],
    failure: Failure | None,
    limit: float | None,
) -> Outcome:
    """The outcome of a law in which the process ended, or had to be ended after so many seconds."""
    code = os.waitstatus_to_exitcode(status)
    how = f"exit({code})"
    if code < 0:
        name = signal.Signals(-code).name
        how = _WORDS.get(name, name)
    choices, example = last
    if failure is not None:
        did = f"ended the process by {how}" if limit is None else f"took over {limit:g} seconds"
        failure.error.add_note(f"a smaller example {did}: {example}")
        error, choices, example = failure.error, failure.choices, failure.example
    else:
        text = CRASHED.format(how=how) if limit is None else TOO_LONG.format(limit=limit)
        error = LawError(text)
    error.add_note(f"law:     {law.sentence}")
    error.add_note(f"example: {example}")
    return Outcome(law, error=error, choices=choices, example=example)
