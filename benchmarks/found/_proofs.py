"""What the proofs of faults in other libraries share; nothing here or there imports tapegrad.

A proof is a function that returns the right value and a function that computes what the library
gives.  It is *there* while the two differ, or while the library raises; else it is *mended*.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["MENDED", "PROOFS", "THERE", "Proof", "numeric_gradient", "proof", "run"]

THERE, MENDED = 0, 3

# Packages by the names that people use.
PACKAGES = {"PyTorch": "torch", "HIPS autograd": "autograd", "JAX": "jax"}
NO_REPORT = "no report found on 2026-11-29"


@dataclass(frozen=True)
class Proof:
    """A fault of a library, and what proves it.

    what:      the fault, in a sentence
    source:    where the right value comes from
    since:     the version in which it was found
    known:     an issue of the library, or that none was found
    tolerance: relative; the values are compared after conversion to float64
    """

    name: str
    library: str
    what: str
    source: str
    since: str
    known: str
    tolerance: float
    function: Callable[[], tuple[Any, Callable[[], Any]]]

    def compare(self) -> tuple[bool, str, str]:
        """(whether the fault is there, the right value, the library's)."""
        right, compute = self.function()
        try:
            found = compute()
        except Exception as error:  # noqa: BLE001  # that the library raises is the fault
            text = str(error).strip().partition("\n")[0]
            return True, _shown(right), f"{type(error).__name__}: {text}"[:160]
        return not self._alike(right, found), _shown(right), _shown(found)

    def _alike(self, right: Any, found: Any) -> bool:
        if isinstance(right, str) or isinstance(found, str):
            return bool(right == found)
        a, b = np.asarray(right, float), np.asarray(found, float)
        if a.shape != b.shape:
            return False
        bound = self.tolerance * max(float(np.nanmax(np.abs(a), initial=0)), 1e-300)
        return bool(np.allclose(a, b, rtol=0, atol=bound, equal_nan=True))


PROOFS: dict[str, Proof] = {}


def proof(
    library: str, *, source: str, since: str, known: str = NO_REPORT,
    tolerance: float = 1e-6,
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:  # fmt: skip
    """Declare a proof under its function's name; the function's docstring is the fault."""

    def declare(function: Callable[[], Any]) -> Callable[[], Any]:
        name = function.__name__
        if name in PROOFS:
            raise ValueError(f"two proofs are called {name}: rename one")
        what = " ".join((function.__doc__ or "").split()).removesuffix(".")
        PROOFS[name] = Proof(name, library, what, source, since, known, tolerance, function)
        return function

    return declare


def numeric_gradient(function: Callable[[np.ndarray], Any], x: Any, h: float = 1e-5) -> np.ndarray:
    """Central differences of the sum of a function of one array, entry by entry."""
    x = np.array(x, float)
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        up, down = (float(np.sum(np.asarray(function(x + s)))) for s in (step, -step))
        gradient[i] = (up - down) / (2 * h)
    return gradient


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    array = np.asarray(value, float)
    if array.size == 0:
        return f"shape {array.shape}"
    text = np.array2string(array, precision=10, separator=", ").replace("\n", "")
    return " ".join(text.split())


def run(arguments: list[str] | None = None) -> int:
    """Run the proofs named on the command line, or all of the file, and print both values.

    Returns 0 if every fault is still there, 3 if one is mended in the installed version.
    """
    parser = argparse.ArgumentParser(description="proofs of faults in other libraries")
    parser.add_argument("names", nargs="*", choices=[*PROOFS, []], help="all when omitted")
    names = parser.parse_args(arguments).names or list(PROOFS)
    status = THERE
    for name in names:
        own = PROOFS[name]
        version = importlib.metadata.version(PACKAGES[own.library])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            there, right, found = own.compare()
        state = "still there" if there else "mended"
        print(f"{name}: {state} in {own.library} {version}\n  {own.what}")
        print(f"  right ({own.source}): {right}\n  {own.library}: {found}")
        status = status if there else MENDED
    sys.stdout.flush()
    return status
