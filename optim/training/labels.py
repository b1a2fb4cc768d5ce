"""What metrics read off a batch: scores and labels, in whichever of the usual shapes they come.

Two readings of one pair of arrays would be two figures, and one of them wrong: shapes that fit in
two ways are refused, and so is a label that is no class.  Losses use the same rule for negative
labels: they are no classes (`nn/core/labels.py`), and here samples that nobody has labelled.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeAlias

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.tensor import array_of

__all__ = [
    "IgnoreIndex",
    "binary_labels",
    "ignored_labels",
    "in_one_shape",
    "looks_like_probabilities",
    "scores_and_labels",
    "nest_to_numpy",
]

# Labels that are left out, beside the negative ones.
IgnoreIndex: TypeAlias = int | Collection[int] | None

NO_LABELS = (
    "{name}: the target of shape {target} holds neither one label nor one 1 among zeros for each "
    "sample of the output of shape {output}, whose classes stand along {axes}. If they stand along "
    "another axis, give class_axis="
)
TWO_READINGS = (
    "{name}: the classes of the output of shape {output} may stand along axis 1 or along axis 2: "
    "the target of shape {target} fits both. Say which one: class_axis=1 or class_axis=2"
)
NO_CLASS = (
    "{name}: the target holds {label}, and the output has {classes} classes: labels are whole "
    "numbers from 0 to {last}, negative where there is none. Give ignore_index= to leave out "
    "others"
)
NOT_BINARY = (
    "{name}: the target holds {label}: it must be 0 or 1. Give ignore_index={label} if such "
    "samples are to be left out; for targets -1 and 1 give (target + 1) / 2"
)
NO_PAIRS = (
    "{name}: the output has shape {output}, the target {target}: both must be alike, but for axes "
    "of length 1"
)
SEVERAL = (
    "{name} takes one array, and the {what} is a {kind}: derive from Metric, and measure in "
    "batch_sum what you want of it"
)


def nest_to_numpy(value: Any) -> Any:
    """Return arrays and Tensors as NumPy arrays, also those in lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return devices.to_numpy(array_of(value.detach()))
    if isinstance(value, dict):
        return {key: nest_to_numpy(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)) and any(_holds_arrays(entry) for entry in value):
        return [nest_to_numpy(entry) for entry in value]
    return np.asarray(value)


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds_arrays(entry) for entry in value)
    return isinstance(value, dict) or hasattr(value, "shape")


def one_array(name: str, what: str, value: Any) -> np.ndarray:
    """Return `value` as an array of real numbers.  Raises TypeError for anything else."""
    found = nest_to_numpy(value)
    if not isinstance(found, np.ndarray):
        raise TypeError(SEVERAL.format(name=name, what=what, kind=type(value).__name__))
    if found.dtype.kind not in "fiub":
        raise TypeError(f"{name}: the {what} is of dtype {found.dtype}; real numbers are needed")
    return found


def ignored_labels(ignore_index: IgnoreIndex) -> tuple[int, ...]:
    """Return an ignore_index, which may be one label or several, as a tuple."""
    if ignore_index is None:
        return ()
    return tuple(ignore_index) if isinstance(ignore_index, Collection) else (ignore_index,)


def scores_and_labels(
    name: str,
    output: Any,
    target: Any,
    *,
    ignore_index: IgnoreIndex = None,
    class_axis: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (M, classes) and labels (M,) of the samples that have a label.

    output: (N, C), (N, C, …) or (N, …, C);  target: labels (N, …), also with an axis of length 1 in
    place of the classes, or in the output's shape, 1 for the class and 0 for the others.  A sample
    is whatever has a label: each pixel of a picture, each step of a sequence.
    Raises ValueError for other shapes, for shapes that fit in two ways, and for labels that are no
    class; TypeError for several outputs.
    """
    y, t = one_array(name, "output", output), one_array(name, "target", target)
    axis = _find_class_axis(name, y, t, class_axis)
    classes = y.shape[axis]
    if classes < 2:
        raise ValueError(
            f"{name}: the output of shape {y.shape} has one score for each sample, which is the "
            "largest always: optim.BinaryAccuracy compares it with a threshold"
        )
    rows = np.moveaxis(y, axis, -1).reshape(-1, classes)
    found = t.argmax(axis=axis) if t.shape == y.shape else t
    labels = found.reshape(-1)
    missing = (labels < 0) | np.isin(labels, ignored_labels(ignore_index))
    wrong = ~missing & ~((labels < classes) & (labels == np.floor(labels)))
    if wrong.any():
        label = labels[wrong][0].item()
        raise ValueError(NO_CLASS.format(name=name, label=label, classes=classes, last=classes - 1))
    return rows[~missing], labels[~missing].astype(np.int64)


def _find_class_axis(name: str, y: np.ndarray, t: np.ndarray, class_axis: int | None) -> int:
    """Find the axis along which the classes stand: 1 or the last one, whichever fits the target."""
    if y.ndim < 2:
        raise ValueError(
            f"{name}: the output of shape {y.shape} has no axis of classes beside that of samples"
        )
    if class_axis is None:
        axes = sorted({1, y.ndim - 1})
    else:
        axes = [range(y.ndim)[class_axis]]
    fitting = [axis for axis in axes if _fits(y, t, axis)]
    if not fitting:
        shown = " or ".join(f"axis {axis}" for axis in axes)
        raise ValueError(NO_LABELS.format(name=name, output=y.shape, target=t.shape, axes=shown))
    # Pictures are (N, C, H, W) in all of this package; sequences are (N, C, T) for Conv1d, and
    # (N, T, C) for everything else.
    if len(fitting) > 1 and y.ndim == 3:
        raise ValueError(TWO_READINGS.format(name=name, output=y.shape, target=t.shape))
    return fitting[0]


def _fits(y: np.ndarray, t: np.ndarray, axis: int) -> bool:
    """Tell whether the target holds a label, or a 1 among zeros, for each sample."""
    before, after = y.shape[:axis], y.shape[axis + 1 :]
    if t.shape in {before + after, (*before, 1, *after)}:
        return True
    if t.shape != y.shape:
        return False
    return bool((((t == 0) | (t == 1)).all()) and ((t == 1).sum(axis=axis) == 1).all())


def in_one_shape(name: str, output: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return output and target (N, …) in the shape of the output.

    Raises ValueError unless their shapes agree, but for axes of length 1; never broadcasts.
    """
    y, t = one_array(name, "output", output), one_array(name, "target", target)
    alike = y.ndim and t.ndim and len(y) == len(t) and _without_ones(y) == _without_ones(t)
    if not alike:
        raise ValueError(NO_PAIRS.format(name=name, output=y.shape, target=t.shape))
    return y, t.reshape(y.shape)


def _without_ones(array: np.ndarray) -> list[int]:
    return [length for length in array.shape if length != 1]


def binary_labels(
    name: str, output: Any, target: Any, ignore_index: IgnoreIndex
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (M,) and labels (M,), 0 or 1, of the entries that have one.

    Raises ValueError for other labels, unless they are to be ignored: -1 means "no" for some
    losses and "unknown" for other people, so that neither is taken for granted.
    """
    y, t = in_one_shape(name, output, target)
    counted = ~np.isin(t, ignored_labels(ignore_index))
    scores, labels = y[counted], t[counted]
    wrong = (labels != 0) & (labels != 1)
    if wrong.any():
        raise ValueError(NOT_BINARY.format(name=name, label=labels[wrong][0].item()))
    return scores.reshape(-1), labels.reshape(-1).astype(np.int64)


def looks_like_probabilities(rows: np.ndarray) -> bool:
    """Tell whether all rows (M, classes) are at least 0 and sum to 1, as far as rounding goes."""
    tolerance = 1e-2 if rows.dtype == np.float16 else 1e-4
    if not len(rows) or not (rows >= 0).all():
        return False
    return bool((np.abs(rows.sum(axis=1, dtype=np.float64) - 1) < tolerance).all())
