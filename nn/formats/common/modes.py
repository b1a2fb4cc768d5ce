"""Evaluation mode for a while: what is written of a module depends on its mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["evaluating"]


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """A context in which a module and all below it are in evaluation mode."""
    modes = [(part, bool(part.train)) for part in module.listModules()]
    try:
        module.evaluate()
        yield
    finally:
        for part, mode in modes:
            part.train = mode
