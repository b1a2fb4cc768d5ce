"""Machine code of normalization: means, variances, the result, and the way back.

An array is read in one of three shapes.  In stretches, which have one mean, scale and shift each: a
channel of an image.  In rows, which have one mean each, and a scale and a shift for each column:
what layer normalization sees.  In columns, which have one of each: a batch of feature vectors.
The numbers of a stretch or a column are joined to those of a channel in `normalization.py`.  Where
all entries of one mean lie in a cache, as those of a group of channels or of a column of a small
batch, one kernel does all, and reads them several times.  A variance is a sum of squared deviations
from the mean, corrected by their sum, never a difference of squares.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.kernels.vector_code import Floats, KernelCode, Whole, ready

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "column_gradients",
    "column_sums",
    "column_products",
    "columns_normalized",
    "group_gradients",
    "groups_normalized",
    "row_gradients",
    "rows_normalized",
    "stretch_products",
    "stretch_sums",
    "applied",
]

Kernel = Callable[..., None]


def _entries(
    k: KernelCode, count: Whole, body: Callable[[Whole, int], None], registers: int = 2
) -> None:
    """Run body(first, width) over all entries once: several registers, one, single numbers."""
    wide = registers * k.lanes
    even, whole = count // wide * wide, count // k.lanes * k.lanes
    k.loop(even, lambda i: body(i, wide), step=wide)
    k.loop(whole, lambda i: body(i, k.lanes), start=even, step=k.lanes)
    k.loop(count, lambda i: body(i, 1), start=whole)


@lru_cache(maxsize=2)
def stretch_sums(dtype: np.dtype[Any]) -> Kernel:
    """Of each stretch of x: nearly its mean, what is missing to it, Σ (x - mean)².

    one: 1 / count, as a floating point number
    """
    k = KernelCode("x stretches count one results", dtype)
    x, stretches, count, one, results = k["x stretches count one results"]

    def stretch(n: Whole) -> None:
        first, share = k.at(x, n * count), k.load(one, 0, 1)
        mean, rest, squares = _moments(k, first, count, share)
        for number, value in enumerate((mean, rest, squares)):
            k.store(value, results, n * 3 + number)

    k.loop(stretches, stretch)
    return ready(k)


def _moments(
    k: KernelCode, first: Whole, count: Whole, share: Floats
) -> tuple[Floats, Floats, Floats]:
    [total] = k.sums(count, lambda i, width: [k.load(first, i, width)], 1)
    mean = total * share

    def deviations(i: Whole, width: int) -> list[Floats]:
        d = k.load(first, i, width) - mean.repeated(width)
        return [d, d * d]

    total, squares = k.sums(count, deviations, 2)
    rest = total * share
    return mean, rest, squares - total * rest


@lru_cache(maxsize=2)
def stretch_products(dtype: np.dtype[Any]) -> Kernel:
    """Of each stretch: Σ g, Σ g·(x - mean)."""
    k = KernelCode("g x stretches count means results", dtype)
    g, x, stretches, count, means, results = k["g x stretches count means results"]

    def stretch(n: Whole) -> None:
        at, mean = n * count, k.load(means, n, 1)
        first_g, first_x = k.at(g, at), k.at(x, at)

        def terms(i: Whole, width: int) -> list[Floats]:
            cotangent = k.load(first_g, i, width)
            return [cotangent, cotangent * (k.load(first_x, i, width) - mean.repeated(width))]

        for number, value in enumerate(k.sums(count, terms, 2)):
            k.store(value, results, n * 2 + number)

    k.loop(stretches, stretch)
    return ready(k)


@lru_cache(maxsize=8)
def applied(dtype: np.dtype[Any], *, by_columns: bool, with_g: bool) -> Kernel:
    """y = (x - mean)·b + c, with `g` (x - mean)·b + c + g·a; one of each for a stretch or a column.

    numbers: means, then b, then c, then a, each of them for all stretches or columns
    """
    k = KernelCode("x g y rows columns numbers", dtype)
    x, g, y, rows, columns, numbers = k["x g y rows columns numbers"]
    each = columns if by_columns else rows
    parts = [k.at(numbers, each * part) for part in range(3 + with_g)]

    def row(n: Whole) -> None:
        at = n * columns
        first_x, first_g, first_y = k.at(x, at), k.at(g, at), k.at(y, at)
        own = [] if by_columns else [k.load(part, n, 1) for part in parts]

        def entry(i: Whole, width: int) -> None:
            if by_columns:
                mean, b, c, *a = [k.load(part, i, width) for part in parts]
            else:
                mean, b, c, *a = [value.repeated(width) for value in own]
            value = c.plus_product(k.load(first_x, i, width) - mean, b)
            if a:
                value = value.plus_product(k.load(first_g, i, width), a[0])
            k.store(value, first_y, i)

        _entries(k, columns, entry)

    k.loop(rows, row)
    return ready(k)


# Rows ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def rows_normalized(dtype: np.dtype[Any], shifted: bool) -> Kernel:
    """y = (x - mean) / √(var + eps)·weight + bias of each row, its mean, and its var.

    numbers: 1 / columns, eps
    """
    k = KernelCode("x y rows columns weight bias numbers means variances", dtype)
    x, y, rows, columns, weight = k["x y rows columns weight"]
    bias, numbers, means, variances = k["bias numbers means variances"]

    def row(n: Whole) -> None:
        first, into = k.at(x, n * columns), k.at(y, n * columns)
        share = k.load(numbers, 0, 1)
        mean, rest, squares = _moments(k, first, columns, share)
        var = squares * share
        k.store(mean + rest, means, n)
        k.store(var, variances, n)
        inverse = k.all(1.0, 1) / (var + k.load(numbers, 1, 1)).sqrt()
        lower = rest * inverse

        def entry(i: Whole, width: int) -> None:
            value = (k.load(first, i, width) - mean.repeated(width)) * inverse.repeated(width)
            value = (value - lower.repeated(width)) * k.load(weight, i, width)
            k.store(value + k.load(bias, i, width) if shifted else value, into, i)

        _entries(k, columns, entry)

    k.loop(rows, row)
    return ready(k)


@lru_cache(maxsize=2)
def row_gradients(dtype: np.dtype[Any]) -> Kernel:
    """The cotangent of x of `rows_normalized`, and Σ g·y and Σ g of each column, added to `sums`.

    numbers: 1 / columns, eps;  sums: of the weight, then of the bias
    """
    k = KernelCode("g x y rows columns weight numbers means variances sums", dtype)
    g, x, y, rows, columns = k["g x y rows columns"]
    weight, numbers, means, variances, sums = k["weight numbers means variances sums"]
    more = k.at(sums, columns)

    def row(n: Whole) -> None:
        at = n * columns
        first_g, first_x, into = k.at(g, at), k.at(x, at), k.at(y, at)
        share, mean = k.load(numbers, 0, 1), k.load(means, n, 1)
        inverse = k.all(1.0, 1) / (k.load(variances, n, 1) + k.load(numbers, 1, 1)).sqrt()

        def terms(i: Whole, width: int) -> list[Floats]:
            cotangent = k.load(first_g, i, width)
            d = (k.load(first_x, i, width) - mean.repeated(width)) * inverse.repeated(width)
            product = cotangent * d
            k.store(k.load(sums, i, width) + product, sums, i)
            k.store(k.load(more, i, width) + cotangent, more, i)
            scale = k.load(weight, i, width)
            return [cotangent * scale, product * scale]

        total, slope = k.sums(columns, terms, 2, registers=2)
        average, slope = total * share, slope * share

        def entry(i: Whole, width: int) -> None:
            d = (k.load(first_x, i, width) - mean.repeated(width)) * inverse.repeated(width)
            value = k.load(first_g, i, width) * k.load(weight, i, width)
            value = value - average.repeated(width) - d * slope.repeated(width)
            k.store(value * inverse.repeated(width), into, i)

        _entries(k, columns, entry)

    k.loop(rows, row)
    return ready(k)


# Groups -------------------------------------------------------------------------------------------


def _own(k: KernelCode) -> Callable[[Whole], Whole]:
    """Where the weights of a group begin: every `period` groups they are the same ones."""
    begin, period, members = k["begin period members"]

    def own(n: Whole) -> Whole:
        number = begin + n
        return (number - number // period * period) * members

    return own


@lru_cache(maxsize=2)
def groups_normalized(dtype: np.dtype[Any]) -> Kernel:
    """y = (x - mean) / √(var + eps)·weight + bias of each group, its mean, and its var.

    A group has `members` stretches of `points` entries, and each of these its weight and bias.
    begin: the number of the first group;  numbers: 1 / entries of a group, eps
    """
    k = KernelCode(
        "x y groups members points weight bias begin period numbers means variances", dtype
    )
    x, y, groups, members, points = k["x y groups members points"]
    weight, bias, numbers, means, variances = k["weight bias numbers means variances"]
    own_of = _own(k)

    def group(n: Whole) -> None:
        at = n * members * points
        share, own = k.load(numbers, 0, 1), own_of(n)
        mean, rest, squares = _moments(k, k.at(x, at), members * points, share)
        var = squares * share
        k.store(mean + rest, means, n)
        k.store(var, variances, n)
        inverse = k.all(1.0, 1) / (var + k.load(numbers, 1, 1)).sqrt()

        def member(m: Whole) -> None:
            first, into = k.at(x, at + m * points), k.at(y, at + m * points)
            scale = inverse * k.load(weight, own + m, 1)
            shift = k.load(bias, own + m, 1) - rest * scale

            def entry(i: Whole, width: int) -> None:
                d = k.load(first, i, width) - mean.repeated(width)
                value = shift.repeated(width).plus_product(d, scale.repeated(width))
                k.store(value, into, i)

            _entries(k, points, entry)

        k.loop(members, member)

    k.loop(groups, group)
    return ready(k)


@lru_cache(maxsize=2)
def group_gradients(dtype: np.dtype[Any]) -> Kernel:
    """The cotangent of x of `groups_normalized`, and Σ g·y and Σ g of each weight, added to `sums`.

    begin, numbers: as there;  sums: of all weights, then of all biases
    """
    k = KernelCode(
        "g x y groups members points weight begin period numbers means variances sums", dtype
    )
    g, x, y, groups, members, points = k["g x y groups members points"]
    weight, numbers, means, variances, sums = k["weight numbers means variances sums"]
    own_of, more = _own(k), k.at(sums, k["period"] * members)

    def group(n: Whole) -> None:
        at = n * members * points
        share, mean, own = k.load(numbers, 0, 1), k.load(means, n, 1), own_of(n)
        inverse = k.all(1.0, 1) / (k.load(variances, n, 1) + k.load(numbers, 1, 1)).sqrt()

        def products(m: Whole, total: Floats, slope: Floats) -> list[Floats]:
            first_g, first_x = k.at(g, at + m * points), k.at(x, at + m * points)

            def terms(i: Whole, width: int) -> list[Floats]:
                cotangent = k.load(first_g, i, width)
                return [cotangent, cotangent * (k.load(first_x, i, width) - mean.repeated(width))]

            one, product = k.sums(points, terms, 2, registers=2)
            product = product * inverse
            k.store(k.load(sums, own + m, 1) + product, sums, own + m)
            k.store(k.load(more, own + m, 1) + one, more, own + m)
            scale = k.load(weight, own + m, 1)
            return [total + one * scale, slope + product * scale]

        total, slope = k.loop(members, products, [k.all(0.0, 1)] * 2)
        shift = total * share * inverse * -1.0
        lean = slope * share * inverse * inverse * -1.0

        def member(m: Whole) -> None:
            start = at + m * points
            first_g, first_x, into = k.at(g, start), k.at(x, start), k.at(y, start)
            scale = k.load(weight, own + m, 1) * inverse

            def entry(i: Whole, width: int) -> None:
                d = k.load(first_x, i, width) - mean.repeated(width)
                value = shift.repeated(width).plus_product(d, lean.repeated(width))
                value = value.plus_product(k.load(first_g, i, width), scale.repeated(width))
                k.store(value, into, i)

            _entries(k, points, entry)

        k.loop(members, member)

    k.loop(groups, group)
    return ready(k)


# Columns ------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def column_sums(dtype: np.dtype[Any]) -> Kernel:
    """Of each column: nearly its mean, what is missing to it, Σ (x - mean)²; each for all columns.

    one: 1 / rows, as a floating point number
    """
    k = KernelCode("x rows columns one results", dtype)
    x, rows, columns, one, results = k["x rows columns one results"]

    def strip(i: Whole, width: int) -> None:
        moments = _column_moments(k, k.at(x, i), rows, columns, k.load_all(one, 0, width))
        for part, value in enumerate(moments):
            k.store(value, k.at(results, columns * part), i)

    _entries(k, columns, strip, registers=4)
    return ready(k)


def _column_moments(
    k: KernelCode, first: Whole, rows: Whole, step: Whole, share: Floats
) -> tuple[Floats, Floats, Floats]:
    """As `_moments`, of neighbouring columns whose rows are `step` entries apart."""
    width, zero = share.width, k.all(0.0, share.width)
    [total] = k.loop(rows, lambda n, t: [t + k.load(first, n * step, width)], [zero])
    mean = total * share

    def deviations(n: Whole, total: Floats, squares: Floats) -> list[Floats]:
        d = k.load(first, n * step, width) - mean
        return [total + d, squares.plus_product(d, d)]

    total, squares = k.loop(rows, deviations, [zero, zero])
    rest = total * share
    return mean, rest, squares - total * rest


@lru_cache(maxsize=2)
def columns_normalized(dtype: np.dtype[Any]) -> Kernel:
    """y = (x - mean) / √(var + eps)·weight + bias of each column, its mean, and its var.

    step: how many entries the rows are apart;  numbers: 1 / rows, eps
    """
    k = KernelCode("x y rows columns step weight bias numbers means variances", dtype)
    x, y, rows, columns, step = k["x y rows columns step"]
    weight, bias, numbers, means, variances = k["weight bias numbers means variances"]

    def strip(i: Whole, width: int) -> None:
        first, into, share = k.at(x, i), k.at(y, i), k.load_all(numbers, 0, width)
        mean, rest, squares = _column_moments(k, first, rows, step, share)
        var = squares * share
        k.store(mean + rest, means, i)
        k.store(var, variances, i)
        inverse = k.all(1.0, width) / (var + k.load_all(numbers, 1, width)).sqrt()
        scale = inverse * k.load(weight, i, width)
        shift = k.load(bias, i, width) - rest * scale

        def row(n: Whole) -> None:
            d = k.load(first, n * step, width) - mean
            k.store(shift.plus_product(d, scale), into, n * step)

        k.loop(rows, row)

    _entries(k, columns, strip, registers=4)
    return ready(k)


@lru_cache(maxsize=2)
def column_gradients(dtype: np.dtype[Any]) -> Kernel:
    """The cotangent of x of `columns_normalized`, and Σ g·y and Σ g of each column.

    step, numbers: as there
    """
    k = KernelCode("g x y rows columns step weight numbers means variances products totals", dtype)
    g, x, y, rows, columns, step = k["g x y rows columns step"]
    weight, numbers, means, variances = k["weight numbers means variances"]
    products, totals = k["products totals"]

    def strip(i: Whole, width: int) -> None:
        first_g, first_x, into = k.at(g, i), k.at(x, i), k.at(y, i)
        mean, zero = k.load(means, i, width), k.all(0.0, width)
        share, eps = k.load_all(numbers, 0, width), k.load_all(numbers, 1, width)
        inverse = k.all(1.0, width) / (k.load(variances, i, width) + eps).sqrt()

        def terms(n: Whole, total: Floats, product: Floats) -> list[Floats]:
            cotangent = k.load(first_g, n * step, width)
            d = k.load(first_x, n * step, width) - mean
            return [total + cotangent, product.plus_product(cotangent, d)]

        total, product = k.loop(rows, terms, [zero, zero])
        product = product * inverse
        k.store(product, products, i)
        k.store(total, totals, i)
        scale = k.load(weight, i, width) * inverse
        shift = total * share * scale * -1.0
        lean = product * share * scale * inverse * -1.0

        def row(n: Whole) -> None:
            d = k.load(first_x, n * step, width) - mean
            value = shift.plus_product(d, lean)
            value = value.plus_product(k.load(first_g, n * step, width), scale)
            k.store(value, into, n * step)

        k.loop(rows, row)

    _entries(k, columns, strip, registers=4)
    return ready(k)


@lru_cache(maxsize=2)
def column_products(dtype: np.dtype[Any]) -> Kernel:
    """Of each column: Σ g, then Σ g·(x - mean)."""
    k = KernelCode("g x rows columns means results", dtype)
    g, x, rows, columns, means, results = k["g x rows columns means results"]

    def strip(i: Whole, width: int) -> None:
        first_g, first_x, mean = k.at(g, i), k.at(x, i), k.load(means, i, width)
        zero = k.all(0.0, width)

        def step(n: Whole, total: Floats, products: Floats) -> list[Floats]:
            cotangent = k.load(first_g, n * columns, width)
            d = k.load(first_x, n * columns, width) - mean
            return [total + cotangent, products.plus_product(cotangent, d)]

        for part, value in enumerate(k.loop(rows, step, [zero, zero])):
            k.store(value, k.at(results, columns * part), i)

    _entries(k, columns, strip, registers=4)
    return ready(k)
