"""must_fit: values by name against the arrays that they are for, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from tapegrad.nn.mxnet.errors import MXNetError

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray

__all__ = ["must_fit"]


def must_fit(
    given: Mapping[str, Any], own: Mapping[str, NDArray], where: str, allow_extra: bool
) -> None:
    """Raise ValueError for a surplus name, with the nearest one, MXNetError for another shape."""
    for name, value in given.items():
        if name in own:
            if tuple(value.shape) != own[name].shape:
                raise MXNetError(
                    f"{name} has the shape {own[name].shape}, the given one {tuple(value.shape)}"
                )
        elif not allow_extra:
            near = get_close_matches(name, list(own), 1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise ValueError(f'Find name "{name}" that is not in the {where}{hint}')
