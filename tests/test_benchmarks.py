"""The benchmark of steps runs, and each workload has a step whose losses are the peers'."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.extra

STEPS = Path(__file__).resolve().parents[1] / "benchmarks" / "steps"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(STEPS), *arguments], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return done.stdout


def names(module: str, peer: str) -> list[str]:
    code = f"import json, {module}; print(json.dumps(list({module}.PEERS[{peer!r}])))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=STEPS, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(STEPS), "PATH": ""},
    )  # fmt: skip
    return json.loads(done.stdout)


def test_each_workload_has_a_step_of_tapegrad() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import workloads; print(*workloads.WORKLOADS)"],
        cwd=STEPS, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for peer in ("tapegrad", "tapegrad compiled"):
        assert set(done.stdout.split()) <= set(names("ours", peer))


def test_losses_agree_with_pytorchs_and_the_page_says_so(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    run(
        "-w", "w2", "-p", "PyTorch,tapegrad,tapegrad compiled", "-t", "1", "-r", "1", "-s", "0.01",
        "-o", str(results), "--page", str(page),
    )  # fmt: skip
    found = json.loads(results.read_text())
    assert {r["peer"] for r in found} == {"PyTorch", "tapegrad", "tapegrad compiled"}
    assert not [r["error"] for r in found if r["error"]]
    text = page.read_text()
    assert "| w2 MLP 64-128-10, batch 32, SGD |" in text
    assert "geometric mean" in text


def test_a_workload_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(AssertionError, match=r"w99: there are w1, w2"):
        run("-w", "w99")
