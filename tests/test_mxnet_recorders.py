"""The scripts that made the recordings on the real MXNet run here unchanged, and make them again.

They lie in tests/data/mxnet/calls, as .txt, so that nothing takes them for code of this package.
Those of another directory of recordings are not run.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mxnet_records import ROOT, arrays, models, path, table

pytestmark = pytest.mark.extra
CALLS = Path(__file__).parent / "data" / "mxnet" / "calls"
RUN = (
    "import runpy, tapegrad.nn.mxnet as mx; mx.install(); mx.compat('1.9.1'); "
    "runpy.run_path('script.py', run_name='__main__')"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """made("gen_misc"): the folder of what the script recorded; each runs once."""
    done = {}

    def run(name):
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            (folder / "script.py").write_text((CALLS / f"{name}.txt").read_text())
            for part in ("golden", "tmp"):
                (folder / part).mkdir()
            ended = subprocess.run(
                [sys.executable, "-c", RUN], cwd=folder, capture_output=True, text=True,
                check=False, timeout=300,
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr[-2000:]
            done[name] = folder / "golden"
        return done[name]

    return run


def close(a, b):
    """Equal, numbers at 1e-5."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(close, a, b))
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    if numbers and not isinstance(a, bool):
        return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6) or (math.isnan(a) and math.isnan(b))
    return a == b


def test_models_have_the_recorded_symbols_and_data(made):
    folder = made("gen_models")
    compared = 0
    for name in models():
        symbol = ROOT / name / "m-symbol.json"
        if not symbol.exists() or not (folder / name).exists():
            continue
        assert (folder / name / "m-symbol.json").read_bytes() == symbol.read_bytes(), name
        info, recorded = (
            json.loads((place / name / "info.json").read_text()) for place in (folder, ROOT)
        )
        for part in (info, recorded):
            for entry in part["optimizers"].values():
                del entry["nonfinite"]  # which units are dead depends on the first values
        assert info == recorded
        with np.load(folder / name / "in.npz") as found:
            for key, x in arrays(f"{name}/in.npz").items():
                np.testing.assert_array_equal(found[key], x, err_msg=f"{name} {key}")
        compared += 1
    if not compared:
        pytest.skip("recording NAME/m-symbol.json is absent")


def test_one_operator_nets_have_the_recorded_symbols(made):
    found = {c["id"]: c for c in json.loads((made("gen_ops") / "ops/cases.json").read_text())}
    path("ops/cases.json")
    recorded = [case for case in table("ops/cases.json") if "error" not in case]
    assert recorded
    for case in recorded:
        assert found[case["id"]] == case


@pytest.mark.parametrize(
    "file", ["fit_trace.json", "lr_schedulers.json", "ndarrayiter.json", "multictx.json"]
)
def test_tables_are_recorded_again(made, file):
    recorded = json.loads(path(file).read_text())
    found = json.loads((made("gen_misc") / file).read_text())
    if isinstance(recorded, dict):
        found = {key: found[key] for key in recorded}
    assert close(found, recorded)


def test_metrics_are_recorded_again(made):
    found = json.loads((made("gen_misc") / "metrics.json").read_text())
    path("metrics.json")
    for key, entry in table("metrics.json").items():
        if key.startswith("_"):
            assert set(entry) <= set(found[key]), key
        elif "error" in entry:
            assert "error" in found[key], key
        else:
            assert close(found[key], entry), key


def test_buckets_have_the_recorded_files(made):
    folder = path("lstm_bucket")
    for file in (*folder.glob("*-symbol.json"), folder / "m.buckets"):
        again = made("gen_misc") / "lstm_bucket" / file.name
        assert again.read_bytes() == file.read_bytes(), file.name


def test_every_experiment_ends(made):
    found = json.loads((made("gen_exp") / "experiments.json").read_text())
    assert len(found) >= 45
    assert set(table("experiments.json")) <= set(found)
