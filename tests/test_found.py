"""Faults in other libraries: each proof runs, and docs/found.md is what the proofs declare.

A fault that is mended in the installed version is no failure here, but is said: its entry then
belongs to an older version.  A proof may not use tapegrad.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOUND = ROOT / "benchmarks" / "found"
FILES = sorted(path.stem for path in FOUND.glob("in_*.py"))
NEEDS = {"in_autograd": "autograd", "in_jax": "jax"}


def declared(stem):
    """Names of the functions under `@proof`, by reading only."""
    tree = ast.parse((FOUND / f"{stem}.py").read_text())
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(d, ast.Call) and d.func.id == "proof" for d in node.decorator_list)
    ]


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=FOUND, capture_output=True, text=True, check=False
    )


def test_proofs_use_no_tapegrad():
    for path in FOUND.glob("*.py"):
        assert "tapegrad" not in [
            name.partition(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            for name in (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        ]


def test_every_proof_has_its_row():
    page = (ROOT / "docs" / "found.md").read_text()
    names = [name for stem in FILES for name in declared(stem)]
    assert len(names) >= 50
    assert len(set(names)) == len(names)
    assert [name for name in names if page.count(f"| `{name}` |") != 1] == []


@pytest.mark.extra
@pytest.mark.parametrize("stem", FILES)
def test_the_proofs_run(stem, figures):
    pytest.importorskip(NEEDS.get(stem, "torch"))
    done = run(f"{stem}.py")
    assert done.returncode in (0, 3), done.stderr
    states = [line.partition(": ")[2] for line in done.stdout.splitlines() if line[:1] != " "]
    states = [state for state in states if state.startswith(("still there", "mended"))]
    assert len(states) == len(declared(stem))
    mended = sum(state.startswith("mended") for state in states)
    figures(f"{stem}: {len(states) - mended} faults still there, {mended} mended")


@pytest.mark.extra
def test_one_proof_runs_alone():
    pytest.importorskip("torch")
    done = run("in_torch_values.py", "det_singular")
    assert done.returncode in (0, 3)
    assert done.stdout.count("right (") == 1


@pytest.mark.extra
def test_the_page_is_what_the_proofs_declare():
    for name in ("torch", "autograd", "jax"):
        pytest.importorskip(name)
    done = run("document.py")
    assert done.stdout == (ROOT / "docs" / "found.md").read_text(), done.stderr


@pytest.mark.extra
def test_a_right_library_counts_as_mended(tmp_path):
    (tmp_path / "it.py").write_text(
        f"import sys\nsys.path.insert(0, {str(FOUND)!r})\nfrom _proofs import proof, run\n"
        '@proof("PyTorch", source="y", since="1")\ndef it():\n    return 1.0, lambda: 1.0\n'
        "sys.exit(run())\n"
    )
    pytest.importorskip("torch")
    assert run(str(tmp_path / "it.py")).returncode == 3
