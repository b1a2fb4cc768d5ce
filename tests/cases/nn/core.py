"""Examples for nn/core/; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def class_labels(d):
    classes = d.integer(1, 4)
    labels = d.integers(d.shape("N"), 0, classes)
    return TrialCall([labels], {"classes": classes, "ignored": -100})


OPERATIONS = {
    "class_labels": class_labels,
}
