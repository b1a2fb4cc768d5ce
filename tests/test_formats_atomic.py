"""A file that is written is there whole or not at all: full disks, kills, links and devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.nn.formats import bigdl, torch7

pytestmark = pytest.mark.extra  # README's command has five minutes

FULL = Path("/dev/full")


def save_torch7(path: Path, module: nn.Module) -> None:
    torch7.save(module, path)


def save_text(path: Path, module: nn.Module) -> None:
    torch7.save(module, path, mode="ascii")


def save_native(path: Path, module: nn.Module) -> None:
    module.save(path)


def save_bigdl(path: Path, module: nn.Module) -> None:
    bigdl.save(module, path)


SAVE: dict[str, Callable[[Path, nn.Module], None]] = {
    "Torch7": save_torch7,
    "Torch7, as text": save_text,
    "safetensors": save_native,
}
ALL = {**SAVE, "BigDL": save_bigdl}  # which keeps no attributes that somebody set


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: the system refuses, as on a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of a file")
@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("sizes", [(3, 2), (40, 100)], ids=["every byte", "every 499th"])
def test_a_disk_that_is_full_after_any_byte_leaves_the_old_file(
    kind: str, sizes: tuple[int, int], tmp_path: Path
) -> None:
    path, model = tmp_path / "model", nn.Sequential(nn.Linear(*sizes), nn.Tanh())
    ALL[kind](path, model)
    size = path.stat().st_size
    path.write_bytes(b"before")
    for k in range(0, size, 1 if sizes == (3, 2) else 499):
        with at_most(k), pytest.raises(OSError, match="too large"):
            ALL[kind](path, model)
        assert path.read_bytes() == b"before"
        assert names(tmp_path) == ["model"]
    with at_most(size):
        ALL[kind](path, model)
    assert path.stat().st_size == size


KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
import numpy as np
from tapegrad import nn
from tapegrad.nn.formats import torch7

path, rng, seen = Path(sys.argv[1]) / "model", random.Random(0), []
models = [nn.Sequential(nn.Linear(60, 60)) for _ in range(2)]
for number, model in enumerate(models):
    model.parameters()[0][0].numpy()[...] = number
save = (lambda m: m.save(path)) if sys.argv[2] == "native" else (lambda m: torch7.save(m, path))
load = nn.load if sys.argv[2] == "native" else torch7.load
save(models[0])
for _ in range(int(sys.argv[3])):
    child = os.fork()
    if not child:
        while True:
            save(models[0])
            save(models[1])
    time.sleep(rng.uniform(0.0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    weight = load(path).parameters()[0][0].numpy()
    assert weight.min() == weight.max()
    seen.append(float(weight[0, 0]))
left = [p.suffix for p in path.parent.iterdir() if p != path]
print(json.dumps({"seen": sorted(set(seen)), "loads": len(seen), "others": sorted(set(left))}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.parametrize("kind", ["torch7", "native"])
def test_a_process_that_is_killed_leaves_one_whole_file(kind: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), kind, "100"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["loads"] == 100
    assert report["seen"] == [0.0, 1.0]
    assert report["others"] in ([], [".part"])


@pytest.mark.parametrize("kind", ALL)
def test_a_link_stays_a_link_to_the_new_file(kind: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "model", tmp_path / "link"
    target.write_bytes(b"before")
    link.symlink_to(target)
    ALL[kind](link, nn.Linear(3, 2))
    assert link.is_symlink()
    assert len(target.read_bytes()) > 100
    assert names(tmp_path) == ["folder", "link"]


@pytest.mark.skipif(sys.platform == "win32", reason="no devices in the file system")
@pytest.mark.parametrize("kind", ALL)
def test_devices_are_not_replaced(kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", *([FULL] if FULL.exists() else [])):
        with pytest.raises(OSError, match="no file that could be replaced"):
            ALL[kind](path, nn.Linear(3, 2))
    assert FULL.is_char_device() or not FULL.exists()
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("kind", ALL)
def test_a_folder_that_is_not_there_is_an_error_of_the_file(kind: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ALL[kind](tmp_path / "nowhere" / "model", nn.Linear(3, 2))


def test_what_can_not_be_saved_is_found_before_a_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: Any) -> None:
        raise AssertionError("a file was opened")

    module = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    module.get(1).callback = np.sin
    monkeypatch.setattr(os, "open", opened)
    for save in SAVE.values():
        with pytest.raises(ValueError, match="callback"):
            save(tmp_path / "model", module)
