"""`tapegrad run -n 4 script.py`: a script on several ranks, started again when one of them fails.

Each rank is a Python process under mpiexec that runs the script as `python script.py` would.  A
rank that fails ends all of them; the ranks of the next try find their checkpoints.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tapegrad._command import add_command, is_file, natural_number, positive_integer
from tapegrad._errors import CommandError

__all__ = ["add_run"]

NO_MPI = "needs an MPI library for several ranks; install with\n    pip install 'tapegrad[mpi]'"
AGAIN = "tapegrad run: the ranks ended with code {code}; restart {number} of {most}"
_THREADS = ("TAPEGRAD_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
_INTERRUPTED = 130


def add_run(commands: Any) -> None:
    """Add the command to a parser's commands."""
    run = add_command(
        commands,
        "run",
        help="run a script on several ranks",
        description="Runs `python SCRIPT ARGUMENTS` as several processes that train together: see "
        "optim.DataParallel. A rank that fails, or is killed, ends all, with the traceback of the "
        "first. A Trainer with a folder goes on from its last checkpoint after a restart; other "
        "scripts ask tapegrad.devices.collectives.restarts().",
        examples=[
            ("tapegrad run -n 4 train.py --epochs 10", "four processes that train together"),
            ("tapegrad run -n 4 --restarts 3 train.py", "begun again, at most 3 times"),
        ],
    )
    run.add_argument(
        "-n", "--ranks", type=positive_integer, default=1, help="how many (default: 1)"
    )
    run.add_argument(
        "--restarts", type=natural_number, default=0, metavar="K",
        help="start all ranks again when one failed, K times at most (default: 0)",
    )  # fmt: skip
    run.add_argument(
        "--threads", type=positive_integer,
        help="threads of each rank, unless a variable says it (default: processors / ranks)",
    )  # fmt: skip
    is_file(run.add_argument("script", metavar="SCRIPT", help="a Python file"))
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS")
    run.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if not Path(options.script).is_file():
        raise CommandError(f"{options.script}: there is no such file")
    command = [sys.executable, "-m", "tapegrad._rank", options.script, *options.arguments]
    if options.ranks > 1:
        command = [_mpiexec(), "-n", str(options.ranks), *command]
    threads = options.threads or max((os.cpu_count() or 1) // options.ranks, 1)
    environment = {**dict.fromkeys(_THREADS, str(threads)), **os.environ}
    for number in range(options.restarts + 1):
        environment["TAPEGRAD_RESTART"] = str(number)
        done = subprocess.run(command, env=environment, check=False)  # noqa: S603  # the user's own
        code = done.returncode
        if code in (0, _INTERRUPTED):
            return code
        if number < options.restarts:
            note = AGAIN.format(code=code, number=number + 1, most=options.restarts)
            sys.stderr.write(f"{note}\n")
            sys.stderr.flush()
    return code if 0 < code < 256 else 1


def _mpiexec() -> str:
    """The starter that belongs to this Python's mpi4py, or the one on the path."""
    if importlib.util.find_spec("mpi4py") is None:
        raise CommandError(NO_MPI)
    own = Path(sys.executable).parent / "mpiexec"
    found = str(own) if own.is_file() else shutil.which("mpiexec")
    if found is None:
        raise CommandError(NO_MPI)
    return found
