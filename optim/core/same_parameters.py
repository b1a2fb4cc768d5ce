"""Whether a module still has the Parameters that an optimizer was made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapegrad.autograd import Parameter

__all__ = ["refuse_other_parameters", "structure_of"]

OTHER_PARAMETERS = (
    "{name}: the module's Parameters are not those that this optimizer was made for (new: {new}; "
    "no longer there: {old}): make a new optimizer after layers or Parameters were replaced"
)
ADDED = (
    "{name}: the module has got new Parameters: {new}. optimizer.add_group(…) lets them learn, and "
    "freeze() leaves them as they are"
)


def structure_of(module: Any) -> Any:
    """Return what tells that a module's Parameters may have been replaced; None if nothing does."""
    make = getattr(module, "_structure", None)
    return None if make is None else make()


def refuse_other_parameters(module: Any, named: Mapping[str, Parameter], name: str) -> None:
    """Raise RuntimeError where the module has other Parameters than those by name in `named`."""
    now = dict(module.named_parameters())
    known = {id(p) for p in named.values()}
    new = ", ".join(n for n, p in now.items() if id(p) not in known)
    gone = known - {id(p) for p in now.values()}
    if gone:
        old = ", ".join(n for n, p in named.items() if id(p) in gone)
        raise RuntimeError(OTHER_PARAMETERS.format(name=name, new=new or "none", old=old))
    if new:
        raise RuntimeError(ADDED.format(name=name, new=new))
