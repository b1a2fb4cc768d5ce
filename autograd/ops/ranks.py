"""Sums over the ranks of a data-parallel run, as part of a computation.

Every rank makes the call, with arrays of one shape.  The derivative is that of the sum of all
ranks' results: a cotangent is summed over the ranks as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.core.pushing import linear_in
from tapegrad.autograd.ops.batch_rules import leading_axes_rule

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Namespace

__all__ = ["sum_over_ranks"]

collectives = late_module("tapegrad.devices.collectives")


@primitive
def sum_over_ranks(xp: Namespace, x: Array) -> Array:
    """Σ over the current group's ranks of x, any shape; x itself, copied, for one rank."""
    total = xp.array(x, order="C", copy=True)
    collectives().current().all_reduce(total)
    return total


sum_over_ranks.vjp(x=lambda g: sum_over_ranks(g))
sum_over_ranks.batch(leading_axes_rule)
sum_over_ranks.jvp(x=linear_in(sum_over_ranks, "x"))
