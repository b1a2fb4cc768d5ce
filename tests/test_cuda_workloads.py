"""The workloads of benchmarks/steps, compiled for a GPU: kernels on the CPU, losses as eager ones.

Their data are cut to sizes that a test can have; NVRTC compiles every text.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cuda_tools import ARCHITECTURES, compile_by_nvrtc, why_no_compiler, why_no_nvrtc

pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(bool(why_no_compiler()), reason=why_no_compiler()),
]

ROOT = Path(__file__).resolve().parents[1]

# Of each workload, the fewest kernels that its step has.
KERNELS = {"w1": 1, "w2": 4, "w3": 5, "w4": 5, "w5": 3, "w6": 5, "w7": 5, "w8": 1, "w9": 1,
           "w10": 1, "w11": 0, "w12": 3}  # fmt: skip

# In a process of its own, for the device of the steps is a variable of the environment.
RUN = """
import json, sys
from pathlib import Path
import numpy as np
from cuda_tools import HostLauncher, launching_on_strict
import ours, workloads

def cut(name):
    d = workloads.WORKLOADS[name].make()
    rows = {"w3": 16, "w4": 3, "w5": 1, "w6": 5, "w7": 1, "w9": 12}.get(name)
    for key in ("x", "y", "t") if rows else ():
        if key in d:
            d[key] = d[key][:rows]
    if name == "w1":
        d["length"] = 200
    if name == "w8":
        d["X"], d["y"] = d["X"][:300], d["y"][:300]
    if name == "w10":
        for key in ("params", "grads"):
            d[key] = {k: a[:5000] for k, a in list(d[key].items())[:3]}
    if name == "w11":
        d["operands"] = [a[:5, :5, :5].copy() for a in d["operands"]]
    if name == "w12":
        d["E"], d["i"], d["t"] = d["E"][:10_000], d["i"][:500] % 10_000, d["t"][:500]
    return d

name = sys.argv[1]
eager = ours.PEERS["tapegrad"][name](cut(name))
expected = [eager() for _ in range(6)]
launcher = HostLauncher(Path(sys.argv[2]))
with launching_on_strict(launcher):
    step = ours.PEERS["tapegrad compiled"][name](cut(name))
    found = [step() for _ in range(6)]
np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-8)
print(json.dumps(list(dict.fromkeys(launcher.sources))))
"""


@pytest.mark.parametrize("name", KERNELS)
def test_a_workload_compiled_for_a_gpu_has_the_losses_of_ordinary_calls(name, tmp_path):
    paths = [ROOT / "benchmarks" / "steps", ROOT / "tests", os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", RUN, name, str(tmp_path)], capture_output=True, text=True,
        check=False,
        env={**os.environ, "STEPS_DEVICE": "strict", "PYTHONPATH": ":".join(map(str, paths))},
    )  # fmt: skip
    assert not done.returncode, done.stderr[-3000:]
    sources = json.loads(done.stdout.splitlines()[-1])
    assert len(sources) >= KERNELS[name]
    if not why_no_nvrtc():
        for source in sources:
            for architecture in ARCHITECTURES:
                assert compile_by_nvrtc(source, architecture)
