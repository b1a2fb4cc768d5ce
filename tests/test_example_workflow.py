"""docs/examples/laws.yml, which people copy: it is valid, and its commands do what it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKFLOW = Path(__file__).resolve().parents[1] / "docs/examples/laws.yml"
PACKAGE = """
import numpy as np
from tapegrad import nn

class Scale(nn.Module):
    law_case = {"input": "N? n", "n": range(1, 4), "batchwise": "split"}
    promotes = True

    def __init__(self, n):
        self.size = nn.Parameter(np.ones(n, np.float32))

    def updateOutput(self, x):
        return x * self.size
"""
WRONG = """
    def accGradParameters(self, input, gradOutput, scale=1):
        super().accGradParameters(input, gradOutput, 2 * scale)
"""


def workflow():
    import yaml  # comes with the extra `docs`

    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))


def steps():
    return [step for job in workflow()["jobs"].values() for step in job["steps"]]


@pytest.mark.extra
def test_it_is_a_workflow_that_runs_on_each_change_and_each_night():
    content = workflow()
    # YAML 1.1 reads the key `on` as true; GitHub reads it as text.
    assert set(content[True]) == {"push", "pull_request", "schedule"}
    for job in content["jobs"].values():
        assert job["runs-on"] == "ubuntu-latest"
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    pinned = [step["uses"] for step in steps() if "uses" in step]
    assert all("@v" in action for action in pinned)
    (install,) = [s["run"] for s in steps() if s.get("run", "").startswith("pip ")]
    assert install.split() == ["pip", "install", "tapegrad", "pytest", "."]


@pytest.mark.extra
@pytest.mark.parametrize("profile", ["pr", "ci"])
@pytest.mark.parametrize("right", [True, False])
def test_its_commands_pass_a_right_layer_and_refuse_a_wrong_one(tmp_path, profile, right):
    (command,) = [s["run"] for s in steps() if f"--laws-profile {profile}" in s.get("run", "")]
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage/__init__.py").touch()
    code = PACKAGE if right else PACKAGE + WRONG
    (tmp_path / "mypackage/layers.py").write_text(code, encoding="utf-8")
    program, *arguments = command.split()
    assert program == "pytest"
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments, "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (0 if right else 1), done.stdout[-2000:] + done.stderr[-2000:]
    assert ("its gradients are the derivatives" in done.stdout) == (not right)
