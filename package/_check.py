"""`tapegrad check mypackage.layers:MyLayer`: the laws on the command line.

The report is that of `pytest --laws` and of `check_module`: what is broken with the smallest
example and how to make it again, what is unchecked, what was not covered, and how much ran.
"""

import ast
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tapegrad.autograd.check import (
    PROFILES,
    Outcome,
    Subject,
    Summary,
    UsageError,
    check,
    find,
    ints,
)
from tapegrad.devices import TapegradError

__all__ = ["CheckFailed", "run_laws"]


class CheckFailed(TapegradError, RuntimeError):  # noqa: N818  # a result, not an error of the program
    """Nothing could be checked; the message is for the user."""


def run_laws(
    paths: Sequence[str],
    *,
    profile: str,
    law: str | None,
    seed: int | None,
    quiet: bool,
    inputs: Sequence[str] = (),
    options: Sequence[str] = (),
    vjp: str | None = None,
    isolate: bool = False,
) -> Summary:
    """Check what the paths name, print the report and return it.

    inputs, options, vjp: those of `find`, options as NAME=VALUE
    isolate:              that of `check`
    Raises CheckFailed for paths that name nothing, for what does not fit a subject, and for a law
    that is about none of them.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:  # as `python -m` does: the package need not be installed
        sys.path.insert(0, folder)
    subjects: list[Subject] = []
    for path in paths:
        try:
            subjects += find(path, inputs=inputs, options=_values(options), vjp=vjp)
        except (ImportError, ValueError, UsageError) as error:
            raise CheckFailed(f"{path}: {error}") from error
    names = {candidate.name for subject in subjects for candidate in subject.laws()}
    if law is not None and law not in names:
        raise CheckFailed(f"no law called {law!r} is about {', '.join(paths)}")
    if seed is None and not PROFILES[profile].derandomize:
        seed = secrets.randbelow(2**32)
    try:
        summary = check(
            subjects,
            profile,
            laws=None if law is None else lambda candidate: candidate.name == law,
            seed=seed,
            progress=None if quiet else _progress,
            isolate=isolate,
        )
    except UsageError as error:
        raise CheckFailed(str(error)) from error
    if not quiet:
        print(file=sys.stderr)
    print(summary)
    if seed is not None:
        print(f"drawn with --seed {seed}")
    return summary


def _values(options: Sequence[str]) -> dict[str, Any]:
    """Options that are written NAME=VALUE: a Python value, 1..5 for integers, or else a text.

    Raises CheckFailed for one without a sign of equality.
    """
    found: dict[str, Any] = {}
    for option in options:
        name, equal, text = option.partition("=")
        if not equal or not name.isidentifier():
            raise CheckFailed(f"--option {option}: write NAME=VALUE, such as in_features=1..5")
        low, dots, high = text.partition("..")
        if dots and low.isdigit() and high.isdigit():
            found[name] = ints(int(low), int(high))
            continue
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = text
    return found


def _progress(_: Subject, outcome: Outcome) -> None:
    """Print a mark for each law, a dot if it holds."""
    mark = "." if outcome.verdict == "holds" else outcome.verdict[0]
    print(mark, end="", file=sys.stderr, flush=True)
