"""Laws of primitives and composites: what every operation on Tensors must do.

Each file holds a table of the laws about one subject.  `PRIMITIVE_LAWS` joins the tables in the
order in which the laws are checked.
"""

from tapegrad.autograd.check.laws import join_laws
from tapegrad.autograd.check.primitives import (
    batches,
    calls,
    derivatives,
    other_arrays,
    precision,
    values,
)
from tapegrad.autograd.check.primitives.other_arrays import agree_on_device
from tapegrad.autograd.check.primitives.scope import applies_to_primitive
from tapegrad.autograd.check.primitives.trial import PrimitiveTrial, TrialCall, operations

__all__ = [
    "PRIMITIVE_LAWS",
    "TrialCall",
    "PrimitiveTrial",
    "agree_on_device",
    "applies_to_primitive",
    "operations",
]

PRIMITIVE_LAWS = join_laws(
    "primitive",
    derivatives.LAWS,
    values.LAWS,
    precision.LAWS,
    calls.LAWS,
    batches.LAWS,
    other_arrays.LAWS,
)
