"""Axes that count from the end, for classes of Torch7's that count from the front only.

They become positive where the layer knows how many axes a sample has, and are refused where it does
not: Torch7 would not find such an axis, or take another for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tapegrad.nn.formats.common.errors import UnsupportedError

if TYPE_CHECKING:
    from tapegrad.nn.formats.torch7.entry import Fields

__all__ = ["write_axes", "write_gated_linear_unit"]

FROM_THE_FRONT = "{cls}.{name} counted from the front, as Torch7's class takes it{fix}"
GIVE_AXES = " (or {known}, how many axes a sample has, given)"


def write_axes(
    *names: str, known: str | None = None, beyond: int = 0
) -> Callable[[Any, Fields], Fields]:
    """The axes called `names`, counted from the front.

    known:  the attribute that says how many axes a single sample has
    beyond: how many positions a sample has beside its axes: 1 where an axis is put in
    """

    def write(module: Any, fields: Fields) -> Fields:
        count = None if known is None else fields.get(known)

        def positive(axis: Any, name: str) -> Any:
            if isinstance(axis, (list, tuple)):
                return [positive(one, name) for one in axis]
            if axis is None or axis > 0:
                return axis
            if count is None or not axis + 1 + count + beyond > 0:
                fix = "" if known is None else GIVE_AXES.format(known=known)
                cls = type(module).__name__
                raise UnsupportedError(
                    FROM_THE_FRONT.format(cls=cls, name=name, fix=fix), f"{axis}"
                )
            return axis + 1 + count + beyond

        return fields | {name: positive(fields.get(name), name) for name in names}

    return write


def write_gated_linear_unit(module: Any, fields: Fields) -> Fields:
    """The last axis is that of a layer for which no other was given."""
    if fields.get("dim") == -1:
        return {name: value for name, value in fields.items() if name != "dim"}
    return write_axes("dim")(module, fields)
