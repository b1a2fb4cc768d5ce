"""Examples for nn/core/; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def class_labels(d):
    classes = d.integer(1, 4)
    labels = d.integers(d.shape("N"), 0, classes)
    return TrialCall([labels], {"classes": classes, "ignored": -100})


def cross_entropy(d):
    samples, classes = d.shape("N")[0], d.integer(1, 4)
    labels = d.integers((samples,), 0, classes)
    if not d.empties and d.choice([False, True]):
        labels[0] = -100
    settings = {"ignored": -100, "mean": d.choice([True, False])}
    return TrialCall([d.array((samples, classes)), labels], settings)


OPERATIONS = {
    "cross_entropy": cross_entropy,
    "class_labels": class_labels,
}
