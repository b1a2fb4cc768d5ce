"""Machine code of normalization: means, variances, the result, and the way back.

An array is read in one of three shapes.  In stretches, which have one mean, scale and shift each: a
channel of an image.  In rows, which have one mean each, and a scale and a shift for each column:
what layer normalization sees.  In columns, which have one of each: a batch of feature vectors.
The numbers of a stretch or a column are joined to those of a channel or a group in
`normalization.py`.  A variance is a sum of squared deviations from the mean, corrected by their
sum, never a difference of squares.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.kernels.vector_code import Floats, KernelCode, Whole, ready

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "column_sums",
    "column_products",
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


# Columns ------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def column_sums(dtype: np.dtype[Any]) -> Kernel:
    """Of each column: nearly its mean, what is missing to it, Σ (x - mean)²; each for all columns.

    one: 1 / rows, as a floating point number
    """
    k = KernelCode("x rows columns one results", dtype)
    x, rows, columns, one, results = k["x rows columns one results"]

    def strip(i: Whole, width: int) -> None:
        first, share, zero = k.at(x, i), k.load_all(one, 0, width), k.all(0.0, width)
        [total] = k.loop(rows, lambda n, t: [t + k.load(first, n * columns, width)], [zero])
        mean = total * share

        def deviations(n: Whole, total: Floats, squares: Floats) -> list[Floats]:
            d = k.load(first, n * columns, width) - mean
            return [total + d, squares.plus_product(d, d)]

        total, squares = k.loop(rows, deviations, [zero, zero])
        rest = total * share
        for part, value in enumerate((mean, rest, squares - total * rest)):
            k.store(value, k.at(results, columns * part), i)

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
