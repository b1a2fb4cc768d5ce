"""What operators do with objects of other libraries, which rooms above enter here.

`x @ A` with a sparse matrix of SciPy asks here for its answer: the room of SciPy's functions has
it, and is imported when the first such object comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["foreign_answer", "set_foreign_importer"]

Answer = Callable[[Any, Any], Any]

_importers: dict[str, Callable[[], Callable[[str, Any], Answer | None]]] = {}


def set_foreign_importer(
    library: str, importer: Callable[[], Callable[[str, Any], Answer | None]]
) -> None:
    """Let `importer` be asked for operators that meet an object of a library, "scipy.sparse".

    What it returns gives, for the name of a primitive and an object, the function of both operands
    or None.
    """
    _importers[library] = importer


def foreign_answer(operation: str, x1: Any, x2: Any) -> Any:
    """The result of an operator that met an object of another library, or NotImplemented."""
    for other in (x1, x2):
        for base in type(other).__mro__:
            for library, importer in _importers.items():
                if base.__module__ == library or base.__module__.startswith(f"{library}."):
                    answer = importer()(operation, other)
                    if answer is not None:
                        return answer(x1, x2)
    return NotImplemented
