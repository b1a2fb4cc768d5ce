"""The entries of an axis of x by their remainders by the stride, for input gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tapegrad.autograd.kernels.direct_plans import FrameAxis, frame_axis

if TYPE_CHECKING:
    from tapegrad.autograd.kernels.windows import AxisWindows

__all__ = ["Residue", "cotangent_axis", "residues"]


class Residue(NamedTuple):
    """The entries of an axis of x with one remainder by the stride, and the taps that reach them.

    size:   how many entries
    taps:   numbers of the taps
    shifts: for each tap, how far before an entry's number the number of its window is
    """

    size: int
    taps: tuple[int, ...]
    shifts: tuple[int, ...]

    @property
    def reached_by(self) -> slice:
        """The taps as a slice: they are as far from each other as two with one remainder are."""
        first, second = (*self.taps, 1, 1)[:2]
        step = second - first if len(self.taps) > 1 else 1
        return slice(first, first + len(self.taps) * step, step)


def residues(axis: AxisWindows) -> list[Residue]:
    """Each remainder that an entry of the axis has."""
    found = []
    for remainder in range(min(axis.stride, axis.size)):
        taps = [
            k
            for k in range(axis.kernel)
            if (k * axis.dilation - axis.padding - remainder) % axis.stride == 0
        ]
        shifts = [(k * axis.dilation - axis.padding - remainder) // axis.stride for k in taps]
        count = -(-(axis.size - remainder) // axis.stride)
        found.append(Residue(count, tuple(taps), tuple(shifts)))
    return found


def cotangent_axis(axis: AxisWindows, parts: Sequence[Residue]) -> tuple[FrameAxis, int]:
    """The axis of the cotangent's frames, and the zeros in front of it."""
    shifts = [(shift, r.size) for r in parts for shift in r.shifts]
    before = max([0, *(shift for shift, _ in shifts)])
    length = max([1, *(count + before - shift for shift, count in shifts)])
    return frame_axis(axis.count, 1, before, length), before
