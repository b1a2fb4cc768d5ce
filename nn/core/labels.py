"""Class labels: whole numbers from 0, looked at before anything is indexed with them.

A label that is no class is an error that names it, not an entry from the other end of an array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.autograd import primitive
from tapegrad.autograd.ops.batch_rules import leading_axes_rule
from tapegrad.nn.core.errors import ShapeError

__all__ = ["class_labels"]

NO_CLASS = (
    "the target holds {label}, and the input has {classes} classes: labels are whole numbers from "
    "0 to {last}{besides}"
)


@primitive(differentiable=False)
def class_labels(xp: Any, labels: Any, *, classes: int, ignored: int | None = None) -> Any:
    """The labels as integers, -1 where a label is `ignored`.

    A primitive, so that a replayed step looks at its new labels too.  Raises ShapeError for a label
    that is no class: NumPy would take it for an index from the end, CuPy for one of its neighbours.
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
