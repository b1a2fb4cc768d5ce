"""A sample or a batch of samples: how the layers of windows tell them apart, and what fits neither.

Torch7's layers take (C, H, W) as well as (N, C, H, W).  The primitives take batches only, so that a
layer puts an axis of length 1 in front of a single sample and drops it from the result.
"""

from __future__ import annotations

from typing import Any

from tapegrad.nn.module import ShapeError

__all__ = ["batch_of", "like_given"]


def batch_of(x: Any, axes: str, planes: int | None = None, name: str = "nInputPlane") -> Any:
    """x (N, …), with an axis in front if it is a single sample.

    axes:   the sample's, "C H W"; `planes` is the length of that called C, which `name` sets
    Raises ShapeError for other numbers of axes or planes.
    """
    letters = axes.split()
    single = x.ndim == len(letters)
    if x.ndim != len(letters) + 1 and not single:
        _refuse(x, letters, planes, name)
    place = letters.index("C") if planes is not None else 0
    if planes is not None and x.shape[x.ndim - len(letters) + place] != planes:
        _refuse(x, letters, planes, name)
    return x.reshape((1, *x.shape)) if single else x


def like_given(y: Any, x: Any, axes: str) -> Any:
    """y without its batch axis, if x was a single sample."""
    return y.reshape(y.shape[1:]) if x.ndim == len(axes.split()) else y


def _refuse(x: Any, letters: list[str], planes: int | None, name: str) -> None:
    wanted = [str(planes) if c == "C" and planes is not None else c for c in letters]
    sample, batch = ", ".join(wanted), ", ".join(["N", *wanted])
    known = f"; {name} is {planes}" if planes is not None else ""
    raise ShapeError(f"the input of shape {x.shape} is neither ({sample}) nor ({batch}){known}")
