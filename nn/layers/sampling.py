"""GridSample: images looked up at positions that are computed.

The four neighbours of a position are looked up and mixed, so that both the image and the positions
get gradients from rules that exist.  Torch7's nearest relative is stn's BilinearSamplerBHWD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.tables import entries_of
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest

__all__ = ["GridSample"]

MODES = ("bilinear", "nearest")
PADDINGS = ("zeros", "border")


class GridSample(Module):
    """[x, grid] -> y[n, c, i, j] = x[n, c] at the position grid[n, i, j], interpolated.

    x: images (N, C, H, W);  grid: (N, H', W', 2), pairs (horizontal, vertical) from -1 to 1 ->
    (N, C, H', W').  -1 and 1 are the outer edges of the first and last pixels; with align_corners
    their centres.  mode: "bilinear", or "nearest", which gives the grid no gradient.  padding_mode:
    outside, x is 0 ("zeros") or the nearest pixel ("border").
    Raises ShapeError for other shapes, ValueError for other modes.
    Source: M. Jaderberg et al., "Spatial transformer networks", 2015, equation 5.
    """

    keeps = ("mode", "padding_mode", "align_corners")
    promotes = True

    def __init__(
        self,
        mode: str = "bilinear",
        padding_mode: str = "zeros",
        align_corners: bool = False,
    ) -> None:
        if mode not in MODES or padding_mode not in PADDINGS:
            raise ValueError(
                f"GridSample: mode is one of {MODES}, padding_mode one of {PADDINGS}, found "
                f"{mode!r}, {padding_mode!r}"
            )
        self.mode = mode
        self.padding_mode = padding_mode
        self.align_corners = bool(align_corners)

    def updateOutput(self, x: Nest) -> Tensor:
        image, grid = entries_of(x, 2)
        fits = image.ndim == grid.ndim == 4 and grid.shape[::3] == (image.shape[0], 2)
        if not fits or 0 in image.shape[2:]:
            raise ShapeError(
                f"the inputs of shapes {image.shape} and {grid.shape} are not (N, C, H, W) and "
                "(N, H', W', 2)"
            )
        column, row = (self._pixels(grid[..., i], image.shape[3 - i]) for i in (0, 1))
        if self.mode == "nearest":
            row, column = ops.rint(row.detach()), ops.rint(column.detach())
            unknown = ops.expand_dims(ops.isnan(row + column), 1)  # NaN is no position outside
            return ops.where(unknown, np.nan, self._look_up(image, row, column))
        above, left = ops.floor(row.detach()), ops.floor(column.detach())
        down, right = row - above, column - left
        y: Tensor = ops.zeros_like(image[:, :, :1, :1])
        for di, share in ((0, 1 - down), (1, down)):
            for dj, part in ((0, 1 - right), (1, right)):
                pixel = self._look_up(image, above + di, left + dj)
                y = y + pixel * ops.expand_dims(share * part, 1)
        return y

    def _pixels(self, positions: Tensor, length: int) -> Tensor:
        """Positions from -1 to 1 as indices of pixels along an axis, fractions included."""
        scale = length - 1 if self.align_corners else length
        pixels = (positions + 1) * (0.5 * scale) - (0 if self.align_corners else 0.5)
        if self.padding_mode == "border":
            pixels = ops.clip(pixels, 0, length - 1)
        return pixels

    def _look_up(self, image: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """The pixels (N, C, H', W') at whole rows and columns (N, H', W'), 0 outside the image."""
        n, channels, height, width = image.shape
        inside = ops.logical_and(
            ops.logical_and(row >= 0, row < height),
            ops.logical_and(column >= 0, column < width),
        )
        flat = ops.where(inside, row * width + column, 0)
        indices = ops.cast(flat, dtype=np.dtype(np.int64)).reshape((n, 1, -1))
        indices = ops.broadcast_to(indices, (n, channels, indices.shape[2]))
        pixels = image.reshape((n, channels, height * width))
        found = ops.take_along_axis(pixels, indices, axis=2).reshape((n, channels, *row.shape[1:]))
        return ops.where(ops.expand_dims(inside, 1), found, 0)
