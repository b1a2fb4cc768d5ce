"""Everything that needs a GPU, in one run of at most eight minutes: `python benchmarks/gpu.py`.

Needs CuPy and, for comparisons, PyTorch; for the tests, the `test` extra.  First the tests marked
`cuda` run, those that decide most first, then steps of benchmarks/steps (w2–w9; w10, which is Adam
alone; w12, a table of which few rows are looked up): tapegrad eager
and compiled against PyTorch eager, and PyTorch compiled where time is left.  Each part is a process
with its own limit of time, so that one that hangs loses itself alone.  Results are written after
each part, as JSON and as a page; what was skipped stands there with its reason.

Without a GPU, `--device cpu --rounds 1 --limit 60` runs all but the tests' bodies, to try it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

# (file and choice of tests, seconds): what fails here makes what comes later doubtful
TESTS = (
    ("tests/test_devices.py", 40),
    ("tests/test_strict.py", 40),
    ("tests/test_cuda_compiled.py", 100),
    ("tests/test_kernels.py", 25),
    ("tests/test_optim_devices.py", 25),
    ("tests/test_demo.py tests/test_anomaly.py tests/test_dlpack.py", 40),
    ("tests/test_laws.py -k operation", 90),
    ("tests/test_laws.py -k module", 70),
    ("tests/test_laws.py -k 'criterion or optimizer'", 40),
)
WORKLOADS = ("w2", "w7", "w9", "w5", "w3", "w6", "w4", "w8", "w10", "w12")
SECONDS = 40  # of the peers of one workload
OURS = ("PyTorch", "tapegrad", "tapegrad compiled")
SHARE_OF_TESTS = 0.55  # of all time, at most
LEAST = 5.0  # seconds: with less a part does not begin


@dataclass
class Part:
    """One part: what it is, how it ended, and what it found.

    status: "ok", "failed", "over its limit of … s" or "skipped: why"
    """

    name: str
    status: str
    seconds: float = 0.0
    found: list[dict[str, Any]] = field(default_factory=list)
    output: str = ""


def run_process(command: list[str], limit: float, variables: dict[str, str]) -> tuple[str, str]:
    """(status, the end of what it printed) of a command, which is ended with all its children."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **variables},
        )  # fmt: skip
        try:
            status = "failed" if process.wait(max(limit, 0.1)) else "ok"
        except subprocess.TimeoutExpired:
            status = f"over its limit of {limit:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):  # children may have outlived it
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        return status, log.read()[-4000:]


class Run:
    """The parts so far, the clock, and the files."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.begin = time.monotonic()
        self.parts: list[Part] = []
        self.about = about(arguments.device)

    def left(self) -> float:
        """Seconds."""
        return self.arguments.limit - (time.monotonic() - self.begin)

    def do(self, name: str, limit: float, body: Callable[[float], Part]) -> None:
        """Run a part within its limit and what is left of all time; write what is known."""
        limit = min(limit, self.left())
        begin = time.monotonic()
        if limit < LEAST:
            part = Part(name, "skipped: no time was left")
        else:
            try:
                part = body(limit)
            except Exception as error:  # noqa: BLE001  # one part never loses the others
                part = Part(name, f"failed: {type(error).__name__}: {error}"[:300])
        part.seconds = time.monotonic() - begin
        self.parts.append(part)
        print(f"{part.seconds:6.1f} s  {part.name}: {part.status}", flush=True)
        self.write()

    def write(self) -> None:
        """Both files anew."""
        output: Path = self.arguments.output
        found = {"about": self.about, "parts": [asdict(p) for p in self.parts]}
        output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        output.with_suffix(".md").write_text(page(self.about, self.parts), encoding="utf-8")


def about(device: str) -> list[str]:
    """Where the figures come from."""
    found = [f"device {device}, Python {platform.python_version()}, {os.cpu_count()} cores"]
    code = (
        "import importlib.metadata as m\n"
        "for n in ('tapegrad','numpy','cupy-cuda12x','cupy-cuda13x','torch'):\n"
        "    try: print(n, m.version(n), end='; ')\n"
        "    except m.PackageNotFoundError: pass\n"
    )
    _, versions = run_process([sys.executable, "-c", code], 20, {})
    found.append(versions.strip("; \n"))
    if device.startswith("cuda"):
        try:
            query = "--query-gpu=name,driver_version,memory.total"
            status, text = run_process(["nvidia-smi", query, "--format=csv,noheader"], 20, {})
        except OSError as error:
            status, text = "failed", str(error)
        found.append(text.strip() if status == "ok" else f"nvidia-smi: {text.strip()[:200]}")
    return found


def tests(selection: str, device: str) -> Callable[[float], Part]:
    """The part that runs some tests marked `cuda`."""
    name = f"tests: {selection}"

    def body(limit: float) -> Part:
        command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-n", "4", "--maxfail=20"]
        if importlib.util.find_spec("pytest") is None or importlib.util.find_spec("xdist") is None:
            return Part(name, "skipped: pytest or pytest-xdist is not installed")
        status, text = run_process([*command, *shlex.split(selection)], limit, {})
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
        if status == "ok" and "passed" not in last:
            status = "skipped: no test ran"
            if not device.startswith("cuda"):
                status += ", for there is no GPU"
        return Part(name, status, found=[{"summary": last.strip("= ")}], output=text)

    return body


def steps(workload: str, peers: tuple[str, ...], run: Run) -> Callable[[float], Part]:
    """The part that measures some peers on a workload."""
    name = f"{workload}: {', '.join(peers)}"

    def body(limit: float) -> Part:
        arguments = run.arguments
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder, "results.json")
            command = [
                sys.executable, str(HERE / "steps"), "-w", workload, "-p", ",".join(peers),
                "-t", str(arguments.threads), "-r", str(arguments.rounds),
                "-s", str(arguments.seconds), "-o", str(results), "--wait", str(limit * 0.8),
            ]  # fmt: skip
            status, text = run_process(command, limit, {"STEPS_DEVICE": arguments.device})
            found = json.loads(results.read_text()) if results.exists() else []
        absent = sorted(set(peers) - {r["peer"].partition(", ")[0] for r in found})
        if status == "ok" and absent:
            status = f"ok, without {', '.join(absent)}: not installed, or has no such step"
        if status == "ok" and any(r["error"] for r in found):
            status = "failed: " + "; ".join(
                f"{r['peer']}: {r['error']}" for r in found if r["error"]
            )
        return Part(name, status, found=found, output="" if status == "ok" else text)

    return body


def page(lines: list[str], parts: list[Part]) -> str:
    """The results as Markdown."""
    text = ["# On a GPU", "", *(f"- {line}" for line in lines if line), "", "## Steps", ""]
    times: dict[str, dict[str, float]] = {}
    for part in parts:
        for r in part.found:
            if "peer" in r and not r["error"] and r["smallest"] == r["smallest"]:
                times.setdefault(r["workload"], {})[r["peer"]] = r["smallest"]
    peers = list(dict.fromkeys(p for found in times.values() for p in found))
    text.append(f"| ms, and the ratio to PyTorch | {' | '.join(peers)} |")
    text.append("|---|" + "---:|" * len(peers))
    for workload, found in times.items():
        reference = found.get("PyTorch")
        cells = []
        for peer in peers:
            seconds = found.get(peer)
            ratio = f" ({seconds / reference:.2f})" if seconds and reference else ""
            cells.append("–" if seconds is None else f"{seconds * 1e3:.3f}{ratio}")
        text.append(f"| {workload} | {' | '.join(cells)} |")
    text += ["", "## Parts", "", "| part | s | result |", "|---|---:|---|"]
    for part in parts:
        summary = " ".join(r.get("summary", "") for r in part.found)
        what = f"{part.status} {summary}".strip().replace("|", "/").replace("\n", " ")
        text.append(f"| {part.name.replace('|', '/')} | {part.seconds:.1f} | {what} |")
    return "\n".join(text) + "\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("-w", "--workloads", default=",".join(WORKLOADS))
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("-s", "--seconds", type=float, default=0.3, help="of a peer's turn")
    parser.add_argument("-t", "--threads", type=int, default=4)
    parser.add_argument("--limit", type=float, default=480, help="seconds of the whole")
    parser.add_argument("--no-tests", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu.json"))
    run = Run(parser.parse_args())
    arguments = run.arguments
    for selection, limit in () if arguments.no_tests else TESTS:
        left = arguments.limit * SHARE_OF_TESTS - (time.monotonic() - run.begin)
        run.do(f"tests: {selection}", min(limit, left), tests(selection, arguments.device))
    workloads = arguments.workloads.split(",")
    for workload in workloads:
        run.do(workload, SECONDS, steps(workload, OURS, run))
    if arguments.device.startswith("cuda"):
        for workload in workloads:
            compiled = ("PyTorch", "PyTorch compiled")
            run.do(workload, 2 * SECONDS, steps(workload, compiled, run))


if __name__ == "__main__":
    main()
