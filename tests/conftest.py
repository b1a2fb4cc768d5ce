"""What every test shares: Hypothesis profiles, the `cuda` marker, and figures in the summary.

Tests that need a GPU are collected everywhere and skipped where there is none; the summary counts
them, so that a run without a GPU cannot look like a run with one. Measured figures (import time,
for instance) are printed there too: a number that nobody sees is not watched.
"""

import os
import sys
from collections import Counter
from pathlib import Path

# Before NumPy is loaded, and for the processes that tests start: the matrices here are small, and
# where other processes want the same processors two threads mostly wait for each other: those of a
# BLAS, and those of OpenMP, on which PyTorch's tests took three times as much processor time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The processes that tests start would each compile the whole package anew.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.dont_write_bytecode = False

import pytest
from hypothesis import HealthCheck, settings

# Deadlines are off: the machines that run this are shared, and slowness there is no failure here.
_SHARED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# How many examples a law of effort 1 gets; one of less effort gets its share, and one at least
# (two in `pytest -m extra`).
# Of 58 planted bugs, 10 examples of each law found 57.4 on average and 25 all. `default` and `deep`
# (`pytest -m extra`) draw the same examples everywhere: what passes for us passes for you. `dev`
# draws others each time.
settings.register_profile("default", max_examples=3, derandomize=True, print_blob=True, **_SHARED)
settings.register_profile("deep", max_examples=10, derandomize=True, print_blob=True, **_SHARED)
settings.register_profile("dev", max_examples=10, **_SHARED)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_FIGURES = pytest.StashKey[list[str]]()
_NO_CUDA = pytest.StashKey[tuple[int, str]]()

# The whole suite, and what is extra, run on every processor; a few tests that somebody picks run
# where they are called, with their output and without the seconds it takes to start workers.
_LARGE = {"", "not extra", "extra", "planted", "cuda"}
# How a file begins that is extra from end to end; and what is in each that has an extra test.
_EXTRA, _HAS_EXTRA = "\npytestmark = pytest.mark.extra", "mark.extra"


def pytest_addoption(parser):
    parser.addoption(
        "--law", default="", metavar="TEXT", help="hold only laws whose name contains TEXT"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """How many workers `-n auto` means."""
    picked = config.option.keyword or config.args != config.getini("testpaths")
    if picked or config.option.markexpr not in _LARGE:
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def why_no_cuda() -> str | None:
    """Why tests on a GPU can't run here, or None where they can."""
    from tapegrad import devices

    try:
        devices.device("cuda:0")
    except devices.DeviceError as error:
        return str(error).splitlines()[0]
    return None


def pytest_configure(config):
    config.stash[_FIGURES] = []
    if config.getoption("laws", None):  # `pytest --laws tapegrad.nn`: our cases are declared
        import cases

        cases.register()


def pytest_collection_modifyitems(config, items):
    # At the end there are many short tests, so that no worker waits for a long one of another.
    items.sort(key=lambda item: item.path.name == "test_laws.py")
    on_gpu = [item for item in items if item.get_closest_marker("cuda")]
    if not on_gpu:
        return
    reason = why_no_cuda()
    if reason is None:
        return
    config.stash[_NO_CUDA] = (len(on_gpu), reason)
    for item in on_gpu:
        item.add_marker(pytest.mark.skip(reason=f"cuda: {reason}"))


def pytest_ignore_collect(collection_path, config):
    """Leave out what has no test to run: reading it takes long, or asks for PyTorch."""
    if collection_path.suffix != ".py":
        return None
    if config.option.markexpr in {"extra", "planted"}:
        return None if _HAS_EXTRA in collection_path.read_text("utf-8") else True
    if config.option.markexpr != "not extra":
        return None
    named = collection_path.name.endswith("_torch.py")
    return True if named or _EXTRA in collection_path.read_text("utf-8") else None


def pytest_sessionfinish(session):
    """A worker hands its figures to the process that prints the summary."""
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["figures"] = config.stash[_FIGURES]
        config.workeroutput["cuda"] = config.stash.get(_NO_CUDA, None)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Gather what a worker hands over; every worker has collected every test."""
    found = getattr(node, "workeroutput", {})
    node.config.stash[_FIGURES] += found.get("figures", [])
    if found.get("cuda"):
        node.config.stash[_NO_CUDA] = tuple(found["cuda"])


def _times_by_file(reports):
    """The files that take longest, of a large run: seconds of all workers together."""
    seconds = Counter()
    for report in reports:
        seconds[report.nodeid.partition("::")[0]] += report.duration
    shown = ", ".join(f"{Path(file).stem} {n:.0f} s" for file, n in seconds.most_common(12))
    return f"{sum(seconds.values()):.0f} s in tests, of which {shown}"


def pytest_terminal_summary(terminalreporter, config):
    lines = list(config.stash[_FIGURES])
    reports = [
        r for found in terminalreporter.stats.values() for r in found if hasattr(r, "duration")
    ]
    if len(reports) > 100:
        lines.append(_times_by_file(reports))
    if _NO_CUDA in config.stash:
        count, reason = config.stash[_NO_CUDA]
        lines.append(f"cuda: {count} tests on a GPU not run: {reason}")
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def figures(request):
    """`figures("import tapegrad 80 ms")`: a line for the end of the run."""
    return request.config.stash[_FIGURES].append
