"""`tapegrad check mypackage.layers:MyLayer`: the laws on the command line.

The report is that of `pytest --laws` and of `check_module`: what is broken with the smallest
example and how to make it again, what is unchecked, what was not covered, and how much ran.
"""

import ast
import secrets
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tapegrad._colour import painted
from tapegrad.autograd.check import (
    PROFILES,
    Subject,
    Summary,
    UsageError,
    check,
    find,
    ints,
)
from tapegrad.autograd.check.summary import VERDICTS
from tapegrad.autograd.core.progress import make_bar
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
        except Exception as error:
            reason = _reason(error)
            if reason is None:
                raise
            text = reason if reason.startswith(path) else f"{path}: {reason}"
            raise CheckFailed(text) from error
    names = {candidate.name for subject in subjects for candidate in subject.laws()}
    if law is not None and law not in names:
        raise CheckFailed(f"no law called {law!r} is about {', '.join(paths)}")
    if seed is None and not PROFILES[profile].derandomize:
        seed = secrets.randbelow(2**32)
    wanted = None if law is None else lambda candidate: candidate.name == law
    count = sum(
        wanted is None or wanted(candidate)
        for subject in subjects
        if subject.case is not None
        for candidate in subject.laws()
    )
    bar = make_bar(count, "law", name="check", progress=False if quiet else None)
    try:
        summary = check(
            subjects,
            profile,
            laws=wanted,
            seed=seed,
            progress=lambda *_: bar.update(),
            isolate=isolate,
        )
    except UsageError as error:
        raise CheckFailed(str(error)) from error
    finally:
        bar.close()
    print(_coloured(str(summary), ok=summary.ok))
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


def _reason(error: Exception) -> str | None:
    """What is wrong with a path, for a user; None for an error of our own code.

    Of an error that the module itself raises while it is imported, the place is told as well.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = frames[-1] if frames else None
    if isinstance(error, SyntaxError) and error.filename:
        return f"SyntaxError: {error.msg} ({error.filename}, line {error.lineno})"
    theirs = where is not None and not _is_ours(where.filename)
    if isinstance(error, (ImportError, ValueError, UsageError)) and not theirs:
        return str(error)
    if not theirs or where is None:
        return None
    if where.filename.startswith("<frozen importlib"):
        return str(error)
    return f"{type(error).__name__}: {error} ({where.filename}, line {where.lineno})"


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(Path(check.__code__.co_filename).parents[2])


def _coloured(report: str, *, ok: bool) -> str:
    """The report with its verdict in colour, where colours are shown."""
    first, *lines = report.splitlines()
    bad = tuple(f"{verdict.upper()}: " for verdict in VERDICTS)
    shown = [painted(first, "green" if ok else "red", sys.stdout)]
    for line in lines:
        word = next((word for word in bad if line.startswith(word)), "")
        shown.append(painted(word, "red", sys.stdout) + line[len(word) :] if word else line)
    return "\n".join(shown)
