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


def labels_of_points(d, shape, classes):
    """Labels, of which some may be of no class."""
    return d.integers(shape, 0 if d.empties else d.choice([0, -1]), classes)


def pick_by_label(d):
    samples, classes, points = d.size("N"), d.integer(1, 4), d.choice([(), (2,), (2, 3)])
    labels = labels_of_points(d, (samples, *points), classes)
    return TrialCall([d.array((samples, classes, *points)), labels])


def place_by_label(d):
    classes, shape = d.integer(1, 4), (d.size("N"), *d.choice([(), (2,), (2, 3)]))
    return TrialCall([d.array(shape), labels_of_points(d, shape, classes)], {"classes": classes})


OPERATIONS = {
    "affine": affine,
    "class_labels": class_labels,
    "pick_by_label": pick_by_label,
    "place_by_label": place_by_label,
}
