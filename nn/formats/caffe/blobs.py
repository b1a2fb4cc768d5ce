"""Blobs: the arrays of Caffe's layers, in the layouts of all its times and of BigDL.

shape of a file                     read as
shape { dim: … }                    as it stands
num, channels, height, width        these four (files before 2014): (1, 1, n, m) is (n, m)
(1, g·o, i, kH, kW) or (g, o, …)    BigDL's convolutions, five axes: the first two are joined
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tapegrad.nn.formats.common.errors import FormatError, LimitError, TruncatedError

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.nn.formats.common.protobuf import Record

__all__ = ["array_of_blob", "shape_of_blob"]

LEGACY = ("num", "channels", "height", "width")


def shape_of_blob(blob: Record, path: str, file: str | None) -> tuple[int, ...]:
    """The shape that a blob states.  Raises FormatError for negative lengths, LimitError."""
    if "shape" in blob:
        dims = tuple(int(n) for n in blob.shape.dim)
    elif any(name in blob for name in LEGACY):
        dims = (blob.num, blob.channels, blob.height, blob.width)
    else:
        dims = (max(blob.data.size, blob.double_data.size),)
    if len(dims) > 32:
        raise LimitError("at most 32 axes", len(dims), path=path, file=file)
    if min(dims, default=0) < 0:
        raise FormatError("lengths that are not negative", dims, path=path, file=file)
    return dims


def array_of_blob(
    blob: Record, wanted: tuple[int, ...], path: str, file: str | None
) -> np.ndarray[Any, Any]:
    """A blob's numbers in the shape `wanted`, as a view of the file.

    Axes of length 1, and how the leading axes are split, do not matter.
    Raises FormatError for a shape that is not that, TruncatedError for too few numbers.
    """
    shape = shape_of_blob(blob, path, file)
    data = blob.data if blob.data.size else blob.double_data
    if "shape" not in blob and not all(name in blob for name in LEGACY):
        shape = wanted
    count = math.prod(shape)
    if data.size != count:
        kind = TruncatedError if data.size < count else FormatError
        raise kind(f"{count} numbers for the shape {shape}", data.size, path=path, file=file)
    if _without_ones(shape) != _without_ones(wanted) and not _grouped(shape, wanted):
        raise FormatError(f"a blob of shape {wanted}", shape, path=path, file=file)
    found: np.ndarray[Any, Any] = data.reshape(wanted)
    return found


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _grouped(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a shape of five axes is that of a convolution with the groups in front."""
    return len(shape) == 5 and len(wanted) == 4 and (shape[0] * shape[1], *shape[2:]) == wanted
