"""`python -m tests.nightly` lists the names; with one of them, and options, it does that run.

`--help` after a name says what its options mean.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
HELP = {"-h", "--help"}
# As in pytest: the tests' own modules by their names, and not the folders of the repository's root,
# where `import autograd` would find ours instead of HIPS's.
sys.path[:] = [
    str(HERE.parent),
    *(p for p in sys.path if Path(p or ".").resolve() != HERE.parents[1]),
]
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def runs():
    """Every declared run by name."""
    import conftest  # noqa: F401  # which registers Hypothesis's profiles

    from tests.nightly import RUNS

    for path in sorted(HERE.glob("[!_]*.py")):
        importlib.import_module(f"tests.nightly.{path.stem}")
    return dict(sorted(RUNS.items()))


def listing(found):
    """A line for each run, and one for each of its options."""
    lines = []
    for name, run in found.items():
        options = " ".join(f"--{key}={value}" for key, value in run.options.items())
        lines += [f"{name}  ({run.minutes:g} minutes): {run.sentence}", f"    {options}"]
    return "\n".join(lines)


def options_of(run, arguments):
    """`--examples=100` as `{"examples": 100}`; SystemExit with what is possible where it is not."""
    given = {}
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        if name not in run.options or not argument.startswith("--") or not value:
            possible = ", ".join(f"--{key}={default}" for key, default in run.options.items())
            sys.exit(f"{argument}: not an option; there are {possible}")
        try:
            given[name] = type(run.options[name])(value)
        except ValueError as error:
            sys.exit(f"{argument}: {error}")
    return given


def main(arguments):
    """The exit status: 0 when nothing failed."""
    found = runs()
    if not arguments or arguments[0] in HELP:
        print(listing(found))
        return 0
    name, *rest = arguments
    if name not in found:
        sys.exit(f"no nightly run is called {name!r}; there are {', '.join(found)}")
    run = found[name]
    if HELP & {*rest}:
        print(f"{listing({name: run})}\n\n{inspect.getdoc(run.function)}")
        return 0
    given = options_of(run, rest)
    print(f"{name}: {run.sentence}  Budget: {run.minutes:g} minutes.", flush=True)
    started = time.perf_counter()
    failures = run.function(**given)
    took = (time.perf_counter() - started) / 60
    print(f"{name}: {failures} failures, {took:.1f} of {run.minutes:g} minutes", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
