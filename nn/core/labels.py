"""Class labels: integers from 0, checked before they index anything.

A label that is no class is an error that names it.  As a plain index, NumPy would count a negative
one from the end of the array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad.autograd import primitive
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.nn.core.errors import ShapeError

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = ["class_labels"]

NO_CLASS = (
    "the target holds {label}, and the input has {classes} classes: labels are integers from "
    "0 to {last}{besides}"
)


@primitive(differentiable=False)
def class_labels(
    xp: Namespace, labels: Array, *, classes: int, ignored: int | None = None
) -> Array:
    """The labels as integers, -1 where a label is `ignored`.

    It is a primitive, so that a replayed step checks its new labels too.  Raises ShapeError for a
    label that is no class: NumPy would count it from the end, CuPy would use another valid index.
    """
    skipped = xp.zeros(labels.shape, dtype=bool) if ignored is None else labels == ignored
    known = (labels >= 0) & (labels < classes) & (labels == xp.floor(labels))
    if not bool((known | skipped).all()):
        wrong = labels[~(known | skipped)][0].item()
        besides = "" if ignored is None else f", or ignoreIndex, {ignored}"
        raise ShapeError(
            NO_CLASS.format(label=wrong, classes=classes, last=classes - 1, besides=besides)
        )
    return xp.where(skipped, -1, labels.astype(np.int64))


class_labels.batch(leading_axes_rule)
