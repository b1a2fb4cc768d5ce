"""The sdist and the wheel of this checkout, for the tests and nightly runs that install them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv*", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "build", "dist"
)


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command elsewhere, without an input, and return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (
        f"{command} exited with {done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout + done.stderr


def build(folder: Path) -> tuple[Path, Path]:
    """(sdist, wheel) in `folder`: the sdist of a copy, and the wheel of the unpacked sdist.

    Nothing uses the network: the build back end is the setuptools of the running environment.
    """
    copy = folder / "sources"
    shutil.copytree(ROOT, copy, ignore=_LEFT_BEHIND)
    command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    run(*command, "--sdist", copy, cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (tree,) = (folder / "unpacked").iterdir()
    run(*command, "--wheel", tree, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel
