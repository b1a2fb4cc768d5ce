"""`benchmarks/gpu.py` on a machine without a GPU: what it measures, cuts off, skips and says."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tapegrad import devices

pytestmark = pytest.mark.extra

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu.py"


def run(folder, *arguments):
    """(parts by name, the page) of a run on the CPU."""
    output = folder / "gpu.json"
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "-r", "1", "-s", "0.02", "-t", "1"]
    done = subprocess.run(
        [*command, "-o", str(output), *arguments], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    parts = {p["name"]: p for p in json.loads(output.read_text())["parts"]}
    return parts, output.with_suffix(".md").read_text()


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_benchmark"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["gpu_benchmark"]


def test_steps_are_measured_and_written(tmp_path):
    parts, page = run(tmp_path, "--no-tests", "-w", "w2", "--limit", "150")
    [part] = parts.values()
    assert part["status"].startswith("ok")
    peers = {r["peer"] for r in part["found"]}
    assert {"tapegrad", "tapegrad compiled"} <= peers
    assert ("PyTorch" in peers) or "without PyTorch" in part["status"]
    row = next(line for line in page.splitlines() if line.startswith("| w2 |"))
    assert row.count("|") == 2 + len(peers)


def test_without_time_all_parts_are_skipped_and_named(tmp_path):
    parts, page = run(tmp_path, "-w", "w2,w8", "--limit", "1")
    assert {p["status"] for p in parts.values()} == {"skipped: no time was left"}
    assert any(name.startswith("tests: tests/test_laws.py") for name in parts)
    assert page.count("skipped: no time was left") == len(parts)


def test_a_part_that_hangs_is_ended_with_its_children(script):
    child = "import time; print('child', flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    begin = time.monotonic()
    status, text = script.run_process([sys.executable, "-c", code], 3, {})
    assert status == "over its limit of 3 s"
    assert "child" in text
    assert time.monotonic() - begin < 20


def test_a_part_that_fails_loses_no_other(script, tmp_path):
    options = argparse.Namespace(device="cpu", limit=60, output=tmp_path / "gpu.json")
    found = script.Run(options)
    found.do("first", 10, lambda _: 1 / 0)
    found.do("second", 10, lambda limit: script.Part("second", f"ok, {limit:.0f} s"))
    assert [p.status for p in found.parts] == [
        "failed: ZeroDivisionError: division by zero", "ok, 10 s",
    ]  # fmt: skip
    page = (tmp_path / "gpu.md").read_text()
    assert "ZeroDivisionError" in page
    assert "| second |" in page


def test_tests_marked_cuda_are_skipped_where_there_is_no_gpu(script):
    if any(d.kind == "cuda" for d in devices.available_devices()):
        pytest.skip("there is a GPU")
    part = script.tests("tests/test_dlpack.py", "cpu")(120)
    assert part.status == "skipped: no test ran, for there is no GPU"
    assert "skipped" in part.found[0]["summary"]


def test_every_selection_names_tests_that_are_there(script):
    for selection, _ in script.TESTS:
        files = [word for word in selection.split() if word.endswith(".py")]
        assert files
        assert all("cuda" in (script.ROOT / file).read_text() for file in files)
