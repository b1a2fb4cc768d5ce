"""Reads recordings of the real MXNet 1.9.1: tests/data/mxnet, or TAPEGRAD_MXNET_RECORDINGS.

Another directory of this layout may lack files or entries: a test takes what it finds, skips what
is absent by name, and fails where it found no case at all.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(os.environ.get("TAPEGRAD_MXNET_RECORDINGS", Path(__file__).parent / "data" / "mxnet"))
MODELS = ("mlp", "lenet", "bnnet", "dropout", "elemwise", "linreg")
RELATIVE = 1e-5  # of the largest entry, in float32


def path(name):
    """A file or folder of the recordings; the test is skipped by name where it is absent."""
    found = ROOT / name
    if not found.exists():
        pytest.skip(f"recording {name} is absent")
    return found


def table(name):
    """The content of a JSON file, or an empty list where the file is absent."""
    found = ROOT / name
    return json.loads(found.read_text()) if found.exists() else []


def entries(name):
    """The content of a JSON file; the test is skipped by name where it is absent."""
    return json.loads(path(name).read_text())


def params(found, name, count=1):
    """What was found in a file for a test with `count` arguments, else a case skipped by name."""
    found = list(found)
    if found:
        return found
    reason = f"recording {name} is absent, or has no such entries"
    return [pytest.param(*[None] * count, marks=pytest.mark.skip(reason=reason), id=name)]


def models():
    """The folders of models: those of this tree's recordings, and all others that are there."""
    folders = ROOT.iterdir() if ROOT.is_dir() else ()
    found = {folder.name for folder in folders if (folder / "m-symbol.json").exists()}
    return [*MODELS, *sorted(found - set(MODELS))]


@functools.cache
def arrays(name):
    """The arrays of an .npz file by name, or {} where the file is absent."""
    found = ROOT / name
    if not found.exists():
        return {}
    with np.load(found) as file:
        return {key: file[key] for key in file.files}


def under(found, prefix):
    """The arrays whose name begins with `prefix`, without it."""
    return {
        key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)
    }


def assert_recorded(found, expected, what, relative=RELATIVE):
    """Fail unless the entries agree with a recording, relative to its largest entry."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, recorded {expected.shape}"
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), err_msg=what)
    size = float(np.max(np.abs(expected[finite]), initial=0.0))
    np.testing.assert_allclose(
        found[finite].astype(np.float64),
        expected[finite].astype(np.float64),
        rtol=0,
        atol=relative * max(size, 1e-30) + 1e-30,
        err_msg=what,
    )
    np.testing.assert_array_equal(found[~finite], expected[~finite], err_msg=what)
