"""The texts of modules, in the forms that Torch7 gave them; the layers' `__repr__` share these.

`nn.Linear(5 -> 3)` says more than a memory address.  The recorded runs of Torch7 hold such texts,
and the tests compare them.
"""

from __future__ import annotations

from collections.abc import Iterable

from tapegrad.nn.core.own import qualified_name

__all__ = ["indent", "torch7_name"]


def torch7_name(module: object) -> str:
    """The class's name as Torch7 writes it, "nn.Linear"; the bare name of somebody else's class."""
    return qualified_name(type(module))


def indent(lines: Iterable[str], spaces: int) -> str:
    """The lines as one text, all but the first moved right by `spaces`."""
    return "\n".join(lines).replace("\n", "\n" + " " * spaces)
