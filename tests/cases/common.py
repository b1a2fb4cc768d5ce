"""What several families draw, and how an exception is said; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad.autograd import primitives
from tapegrad.autograd.check import Layer, TrialCall
from tapegrad.autograd.ops.index_template import HOLE

# Operations ---------------------------------------------------------------------------------------


def elementwise(name, *, large=1000.0, cut=False):
    """Operands that broadcast, each in the domain that the primitive declares.

    large: entries of the regime "large", where a thousand would overflow, or lose every digit
    cut:   there is a branch cut on the imaginary axis
    """
    primitive = primitives()[name].primitive

    def draw(d):
        shapes = d.broadcastable(len(primitive.arguments))
        return TrialCall([
            d.array(shape, *primitive.domain.get(argument, (None, None)), large=large, cut=cut)
            for argument, shape in zip(primitive.arguments, shapes, strict=True)
        ])  # fmt: skip

    return draw


def array_index(d):
    """(shape, template, index arrays): integer arrays that repeat entries, or a mask."""
    shape = (d.size("N"), d.size("A"), d.size("B"))
    if d.choice(["integers", "mask"]) == "mask":
        mask = d.booleans(shape[:1])
        return shape, (HOLE,), [mask]
    many = d.shape("K") if not d.empties else (0,)
    arrays = [d.integers(many, -n, n) for n in shape[:2]]
    template = d.choice([(HOLE,), (HOLE, HOLE), (slice(None), HOLE), (HOLE, slice(None), HOLE)])
    holes = sum(part is HOLE for part in template)
    if template[-1] is HOLE and len(template) == 3:
        arrays[1] = d.integers(many, 0, shape[2])
    if template == (slice(None), HOLE):
        arrays = arrays[1:]
    return shape, template, arrays[:holes]


def one(d):
    return TrialCall([d.array(d.shape())])


def two(d):
    return TrialCall([d.array(shape) for shape in d.broadcastable(2)])


def apart(d, shape, *, low=None):
    """Entries that are distinct by at least 1/2 along the last axis, in no order."""
    n = shape[-1]
    base = np.argsort(d.rng.random(shape), axis=-1) * 1.0 - (n // 2 if low is None else -low)
    return base + d.uniform(0.05, 0.45, shape)


def setting(**settings):
    return lambda d: TrialCall([d.array(d.shape())], settings)


def along(d):
    """A shape and one axis that is not empty."""
    shape = (d.size("N", may_be_empty=True), d.size("A") + 1, d.size("B"))
    return shape, d.choice([1, -2, 2])


def along_axis(d):
    shape, axis = along(d)
    return TrialCall([d.array(shape)], {"axis": axis})


def reduced(d):
    shape, axis = along(d)
    axis = d.choice([axis, (1, 2)]) if d.empties else d.choice([axis, (1, 2), None, 0])
    return TrialCall([d.array(shape)], {"axis": axis, "keepdims": d.choice([False, True])})


def with_gaps(d):
    """An array with NaN here and there, never all of a line along the last axis."""
    shape = (d.size("N", 1, 2, may_be_empty=True), d.size("A", 1, 2), 2)
    x = d.array(shape)
    x[..., 0][d.rng.random(shape[:-1]) < 0.3] = np.nan
    return x


def reduced_with_gaps(d):
    axis = d.choice([-1, 2, (1, 2)] if d.empties else [-1, 2, (1, 2), None])
    return TrialCall([with_gaps(d)], {"axis": axis, "keepdims": d.choice([False, True])})


def matrices(*settings):
    """A stack of at least two axes, with one of the settings."""

    def draw(d):
        shape = (*d.shape("N?"), d.size("A"), d.size("B"))
        return TrialCall([d.array(shape)], d.choice(settings or [{}]))

    return draw


def diagonal(d):
    return TrialCall([d.array((d.size("N"), d.size("A"), d.size("B")))], {
        "offset": d.choice([0, 1, -1]), "axis1": d.choice([0, -1]), "axis2": 1
    })  # fmt: skip


def complex_one(d):
    x = d.array(d.shape("A B"))
    return TrialCall([x + 1j * (d.rng.standard_normal(x.shape) + 3)])


def written(*rest):
    """A target, which is written into, and what follows it."""

    def draw(d):
        x = d.array((3, 3))
        values = [r(d) if callable(r) else r for r in rest]
        if x.dtype.kind == "f":  # what is complex cannot be written into it
            values = [v.real if isinstance(v, np.ndarray) else v for v in values]
        return TrialCall([x, *values])

    return draw


# Layers -------------------------------------------------------------------------------------------


def images(d, kernel, padding, planes):
    """(N,) C, H, W that hold a window; and how they are wrong."""
    height = max(1, kernel[1] - 2 * padding[1]) + d.integer(0, 3)
    width = max(1, kernel[0] - 2 * padding[0]) + d.integer(0, 3)
    return (*d.shape("N?"), planes, height, width)


def lengths(d, kernel, padding, dilation, most=2):
    """Axes long enough for one window each."""
    return tuple(
        max(1, a * (k - 1) + 1 - 2 * p) + d.integer(0, most)
        for k, p, a in zip(kernel, padding, dilation, strict=True)
    )


def sample(d, planes, sides, *, batches=True):
    """(N,) C and the sides, an input that is wrong, and whether it is a batch."""
    shape = (*(d.shape("N?") if batches else ()), planes, *sides)
    wrong = (*shape[: -len(sides) - 1], planes + 1, *sides)
    batch = "always" if len(shape) == len(sides) + 2 else None
    return shape, wrong, batch


def sides_for(d, kernel, padding, dilation=None):
    """Sides from settings in the order W H or T W H: H W or T H W."""
    sides = lengths(d, kernel, padding, dilation or (1,) * len(kernel))
    return (*sides[:-2], sides[-1], sides[-2])


def anywhere(make, low=None, high=None, large=1000.0):
    """Elementwise: any shape, any first axis is a batch."""

    def draw(d):
        x = d.array(d.shape("N A? B?"), low, high, large=large)
        return Layer(make(d), x, batch="always")

    return draw


# Exceptions ---------------------------------------------------------------------------------------


def not_the_derivative(name, reason, *, second=True):
    """The laws of derivatives: the gradient is on purpose not that of what is computed.

    second: whether the derivative of the gradient is not either
    """
    plural = ("its_gradients_are_the_derivatives", "its_second_derivatives_are_right")
    singular = (
        "its_gradient_is_the_derivative",
        "its_second_derivative_is_right",
        "at_a_tie_its_gradient_lies_between_those_of_both_sides",
    )
    laws = plural if name[0].isupper() else singular
    return {(name, law): reason for law in laws if second or "second" not in law}


def of_order(name, large, orders=(0, 1, 2), *, last=False):
    """An integer order, and an x in the primitive's domain."""
    primitive = primitives()[name].primitive

    def draw(d):
        x = d.array(d.shape(), *primitive.domain.get("x", (None, None)), large=large)
        order = d.choice(orders)
        return TrialCall([x, order] if last else [order, x])

    return draw
