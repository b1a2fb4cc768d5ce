"""Examples for nn/core/; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def class_labels(d):
    classes = d.integer(1, 4)
    labels = d.integers(d.shape("N"), 0, classes)
    return TrialCall([labels], {"classes": classes, "ignored": -100})


def affine(d):
    n_in, n_out = d.size("n_in"), d.size("n_out")
    x = d.array((*d.shape("N? T?"), n_in))
    return TrialCall([x, d.array((n_out, n_in)), d.array((n_out,))])


OPERATIONS = {
    "affine": affine,
    "class_labels": class_labels,
}
