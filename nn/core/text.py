"""How modules print: the forms that Torch7 gave them, shared by the layers' `__repr__`.

`nn.Linear(5 -> 3)` says more than a memory address, and the recorded runs hold these texts, so the
tests can compare them.
"""

from __future__ import annotations

from collections.abc import Iterable

from tapegrad.nn.core.own import qualified_name

__all__ = ["indent", "torch7_name"]


def torch7_name(module: object) -> str:
    """The class as Torch7 writes it, "nn.Linear"; a class of somebody else's has its bare name."""
    return qualified_name(type(module))


def indent(lines: Iterable[str], spaces: int) -> str:
    """The lines as one text, every one but the first moved right."""
    return "\n".join(lines).replace("\n", "\n" + " " * spaces)
