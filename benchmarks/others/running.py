"""Subjects in workers: one that crashes, or takes too long, is a finding and not the end.

`python -m others.running LIBRARY SECONDS PROFILE` is a worker: it reads the names of subjects
from its input, and prints a line of JSON before and after each.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LIBRARIES", "Record", "records", "subjects"]

LIBRARIES = {
    "torch_modules": "others.in_torch_modules",
    "torch_functions": "others.in_torch_functions",
    "hips": "others.in_hips",
    "jax": "others.in_jax",
}


WORKER = [sys.executable, "-m", "others.running"]


class _TooLong(BaseException):
    """The time of one subject is over; no law may swallow that."""


@dataclass(frozen=True)
class Record:
    """What the laws said of one subject.

    outcomes: law, verdict, text of the error or the reasons
    end:      "" or what ended the check: an exception, a signal, the time limit
    """

    name: str
    seconds: float
    outcomes: tuple[tuple[str, str, str], ...]
    end: str

    @property
    def accusations(self) -> list[tuple[str, str, str]]:
        """The outcomes that speak against the subject."""
        found = [o for o in self.outcomes if o[1] in ("broken", "unchecked")]
        return [*found, ("the check itself", "raised", self.end)] if self.end else found


def subjects(library: str) -> dict[str, Callable[[str], Any]]:
    """The subjects of a library: name -> a function of the profile that returns a Summary."""
    found: dict[str, Callable[[str], Any]] = importlib.import_module(LIBRARIES[library]).SUBJECTS
    return found


def _outcome(outcome: Any) -> tuple[str, str, str]:
    error = outcome.error
    text = f"{type(error).__name__}: {error}" if error is not None else "; ".join(outcome.reasons)
    return outcome.law.name, outcome.verdict, text[:1500]


def _check(name: str, check: Callable[[str], Any], profile: str, seconds: int) -> Record:
    def stop(*_: Any) -> None:
        raise _TooLong

    # processor time: on a busy machine the clock on the wall says little
    signal.signal(signal.SIGPROF, stop)
    started, outcomes, end = time.process_time(), (), ""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcomes = tuple(_outcome(o) for _, o in check(profile).outcomes)
    except _TooLong:
        end = f"too slow: more than {seconds} s of processor time"
    except Exception as error:  # noqa: BLE001  # a check that raises is a finding about the checker
        end = f"{type(error).__name__}: {error}"[:500]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return Record(name, round(time.process_time() - started, 3), outcomes, end)


def work(library: str, names: list[str], seconds: int, profile: str) -> None:
    """Check the subjects called `names`, and print what was found."""
    known = subjects(library)
    for name in names:
        print(json.dumps({"begins": name}), flush=True)
        record = _check(name, known[name], profile, seconds)
        print(json.dumps(vars(record)), flush=True)


def _one_worker(
    library: str, names: list[str], seconds: int, profile: str, until: float
) -> Iterator[Record]:
    """The records of some subjects, by workers that follow each other where one crashes."""
    waiting = list(names)
    here = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    while waiting and time.monotonic() < until:
        worker = subprocess.Popen(
            [*WORKER, library, str(seconds), profile],
            cwd=here, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(waiting))
        worker.stdin.close()
        at = waiting[0]
        for line in worker.stdout:
            if not line.startswith("{"):
                continue
            found = json.loads(line)
            if "begins" in found:
                at = found["begins"]
                continue
            found["outcomes"] = tuple(tuple(o) for o in found["outcomes"])
            waiting.remove(found["name"])
            yield Record(**found)
            if time.monotonic() > until:
                worker.kill()
                break
        worker.stdout.close()
        status = worker.wait()
        if status and time.monotonic() < until and at in waiting:
            end = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
            waiting.remove(at)
            yield Record(at, 0.0, (), end)


def records(
    library: str, *, only: str = "", processes: int = 1, minutes: float = 60.0, seconds: int = 60,
    profile: str = "pr", progress: Callable[[Record], None] | None = None,
) -> list[Record]:  # fmt: skip
    """Check the subjects of a library, in worker processes, while time is left."""
    names = [name for name in subjects(library) if only.lower() in name.lower()]
    until = time.monotonic() + 60 * minutes
    found: list[Record] = []

    def one(part: list[str]) -> None:
        for record in _one_worker(library, part, seconds, profile, until):
            found.append(record)
            if progress is not None:
                progress(record)

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(one, [names[i::processes] for i in range(processes)]))
    return found


if __name__ == "__main__":
    work(sys.argv[1], json.loads(sys.stdin.read()), int(sys.argv[2]), sys.argv[3])
