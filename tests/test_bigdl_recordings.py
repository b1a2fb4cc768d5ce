"""Another directory of BigDL's recordings is read as far as it goes, and never silently."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import bigdl_recordings
import numpy as np
import pytest

TESTS = Path(__file__).parent
HERE = TESTS / "data" / "bigdl"
READERS = ["layers", "optim", "behaviours", "quantize", "methods"]


def test_absent_files_are_skipped_by_name_and_no_case_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(bigdl_recordings, "DIRECTORY", tmp_path)
    with pytest.raises(AssertionError, match="has no recordings"):
        bigdl_recordings.require_cases(0, "optim.npz")
    np.savez(tmp_path / "init.npz")
    assert bigdl_recordings.arrays_in("init.npz") == bigdl_recordings.arrays_in("optim.npz") == {}
    with pytest.raises(pytest.skip.Exception, match=r"optim\.npz is not in"):
        bigdl_recordings.require_cases(0, "optim.npz")
    with pytest.raises(AssertionError, match=r"init\.npz in .*: no case"):
        bigdl_recordings.require_cases(0, "init.npz")
    np.savez(tmp_path / "layers.npz", **{"relu/input": np.ones(2)})
    assert list(bigdl_recordings.table_in("layers.npz")) == ["relu"]
    bigdl_recordings.require_cases(1, "layers_manifest.txt", "layers.npz", "criterions.npz")


def run_on(directory):
    """The tests of recordings on another directory: the exit status, and what was printed."""
    files = [str(TESTS / f"test_bigdl_{name}.py") for name in READERS]
    code = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n0",
        "-rfs",
        "-p",
        "no:cacheprovider",
        "--tb=no",
    ]
    done = subprocess.run(
        [*code, *files],
        env={**os.environ, "TAPEGRAD_BIGDL_RECORDINGS": str(directory)},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.extra
def test_an_empty_directory_fails_in_each_file(tmp_path):
    status, text = run_on(tmp_path)
    assert status == 1
    for name in READERS:
        assert f"FAILED tests/test_bigdl_{name}.py" in text


@pytest.mark.extra
def test_a_directory_of_some_files_passes_and_says_what_it_lacks(tmp_path):
    absent = ("criterions.npz", "optim.npz", "behaviours.txt", "init.npz", "models")
    for file in ("layers_manifest.txt", "layers.npz", "schedules.npz"):
        shutil.copy(HERE / file, tmp_path)
    status, text = run_on(tmp_path)
    assert status == 0, text
    for file in absent:
        assert f"{file} is not in {tmp_path}" in text
