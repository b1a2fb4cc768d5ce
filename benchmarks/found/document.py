"""The page about faults found in other libraries: `python document.py > ../../docs/found.md`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import _proofs

__all__ = ["FILES", "page"]

FILES = sorted(path.stem for path in Path(__file__).parent.glob("in_*.py"))

HEAD = """\
# Found in other libraries

The laws were held against the layers and functions of three other libraries, some 1,100 of them.
This is what they found wrong there: {count} proofs, none of which needs tapegrad. A proof computes
the right value by differences, by a closed form, by mpmath or by another function of the same
library, prints both values, and ends with status 0 while the fault is there, and with 3 once it is
mended in the version that is installed:

    python benchmarks/found/in_torch_values.py det_singular
    python benchmarks/found/in_jax.py                        # all of a file

A test runs them all (`pytest -m extra tests/test_found.py`). What a library documents otherwise, or
does at a point without a derivative, is no fault and is not listed. "None" under *report* means
that no public report was found on 2026-11-29; there may be one.

This page is written by `python benchmarks/found/document.py > docs/found.md`.
"""
TITLES = {
    "in_torch_values": "PyTorch: values and first derivatives",
    "in_torch_second": "PyTorch: second derivatives",
    "in_torch_nan": "PyTorch: a NaN that disappears",
    "in_torch_crashes": "PyTorch: errors and crashes",
    "in_autograd": "HIPS autograd",
    "in_jax": "JAX",
}


def _rows(name: str) -> Iterator[str]:
    """The table of one file."""
    known = set(_proofs.PROOFS)
    importlib.import_module(name)
    own = [proof for key, proof in _proofs.PROOFS.items() if key not in known]
    version = {proof.since for proof in own}
    yield f"\n## {TITLES[name]} ({', '.join(sorted(version))}, `benchmarks/found/{name}.py`)\n"
    yield "| proof | what is wrong | the right value | report |\n|---|---|---|---|"
    for proof in own:
        report = "none" if proof.known == _proofs.NO_REPORT else proof.known
        cells = [cell.replace("|", "\\|") for cell in (proof.what, proof.source)]
        yield f"| `{proof.name}` | {cells[0]} | {cells[1]} | {report} |"


def page() -> str:
    """The page, from the declarations of all proofs."""
    tables = [line for name in TITLES for line in _rows(name)]
    return HEAD.format(count=len(_proofs.PROOFS)) + "\n".join(tables) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
