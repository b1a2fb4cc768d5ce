"""Normalization by machine code: (x - mean) / √(var + eps) · weight + bias, and the way back.

`shape_of_work` says in which shape the code of `normalizing_code.py` reads an array, if in any.
Sums of stretches and columns are joined in float64, by the formula for the variance of a union
(T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
variances", 1979): no difference of large numbers is taken, so a large mean does no harm.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tapegrad.autograd.kernels import machine, normalizing_code
from tapegrad.autograd.kernels.addresses import address, readable
from tapegrad.autograd.kernels.normalizing_whole import (
    WHOLE,
    in_form,
    numbers_of,
    pieces_of_rows,
    row_numbers,
    summed,
)
from tapegrad.autograd.kernels.threads import run_pieces

__all__ = ["Work", "normalize", "normalize_gradient", "shape_of_work"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
FEWEST = 8  # entries of a stretch, a row, or a column's neighbours
LONGEST = 2**17  # entries of a row, which is read twice from a cache
MOST_ROWS = 1024  # of columns that are read twice from a cache, some neighbours at a time


class Work(NamedTuple):
    """In which shape an array is read.

    kind:   "stretches", "groups", "rows", "columns", or "short columns", which stay in a cache
    lead:   the shape of what has a mean of its own: all stretches; (rows,); or (columns,)
    length: how many entries each of them has
    axes:   of `lead` that stretches are joined along
    spread: the shape of a weight that broadcasts with `lead`; of groups, (how many groups have
            weights of their own, how many each has)
    """

    kind: str
    lead: Shape
    length: int
    axes: Shape
    spread: Shape


def shape_of_work(x: Any, weight: Any, bias: Any, axes: Shape) -> Work | None:
    """The shape in which machine code reads these arrays; None if it does not.

    weight, bias: None, or arrays of one shape that broadcast with x.
    """
    if type(x) is not np.ndarray or x.dtype not in FLOATS or not x.dtype.isnative or not x.size:
        return None
    for other in (weight, bias):
        if other is not None and (type(other) is not np.ndarray or other.dtype != x.dtype):
            return None
    if weight is None:
        shape = None if bias is None else bias.shape
    else:
        shape = weight.shape
        if bias is not None and bias.shape != shape:
            return None
    work = _work(x.shape, tuple(axes), shape)
    return work if work is not None and machine.is_available() else None


@lru_cache(maxsize=512)
def _work(shape: Shape, axes: Shape, own: Shape | None) -> Work | None:
    ndim = len(shape)
    reduced = {axis % ndim for axis in axes if -ndim <= axis < ndim}
    if len(reduced) != len(axes) or not reduced:
        return None
    own = (1,) * ndim if own is None else (1,) * (ndim - len(own)) + own
    if len(own) != ndim or any(o not in (1, n) for o, n in zip(own, shape, strict=True)):
        return None
    flat = [axis in reduced and own[axis] == 1 for axis in range(ndim)]
    first = ndim
    while first and flat[first - 1]:
        first -= 1
    length = math.prod(shape[first:])
    groups = _groups(shape, own, reduced, first) if length >= FEWEST else None
    if groups is not None:
        return groups
    if length >= FEWEST:
        inner = tuple(sorted(axis for axis in reduced if axis < first))
        return Work("stretches", shape[:first], length, inner, own[:first])
    kept = [axis for axis in range(ndim) if axis not in reduced]
    first = max(kept, default=-1) + 1  # of the last axes that are all reduced
    columns = math.prod(shape[first:])
    rows = shape[:first]
    if len(reduced) == ndim - first and FEWEST <= columns <= LONGEST:
        if own[:first] == (1,) * first and own[first:] == shape[first:]:
            return Work("rows", rows, columns, (), own)
        return None
    first = min(kept, default=ndim)
    columns = math.prod(shape[first:])
    if len(reduced) == first and own[:first] == (1,) * first and columns >= FEWEST:
        count = math.prod(shape[:first])
        kind = "short columns" if count <= MOST_ROWS else "columns"
        return Work(kind, shape[first:], count, (), own[first:])
    return None


def _groups(shape: Shape, own: Shape, reduced: set[int], first: int) -> Work | None:
    """The work on groups of stretches, with weights for each; stretches begin at axis `first`."""
    begin = first
    while begin and begin - 1 in reduced:
        begin -= 1
    lead, length = shape[:begin], math.prod(shape[begin:])
    if (
        len(reduced) > len(shape) - begin
        or length > LONGEST
        or own[begin:first] != shape[begin:first]
    ):
        return None
    period = math.prod(own[:begin])
    same = begin  # weights are the same along the first axes, and others along the last
    while same and own[same - 1] == shape[same - 1]:
        same -= 1
    if any(n != 1 for n in own[:same]):
        return None
    return Work("groups", lead, length, (), (period, math.prod(shape[begin:first])))


# Forward ------------------------------------------------------------------------------------------


def normalize(
    work: Work, x: Array, weight: Array | None, bias: Array | None, axes: Shape, eps: float
) -> tuple[Array, Array, Array]:
    """(x - mean) / √(var + eps) · weight + bias, mean and var; the latter two with keepdims."""
    x = readable(x, x.dtype)
    y = np.empty(x.shape, x.dtype)
    shape = list(x.shape)
    for axis in axes:
        shape[axis] = 1
    if work.kind == "rows":
        assert weight is not None or bias is not None
        mean, var = np.empty(shape, x.dtype), np.empty(shape, x.dtype)
        _normalize_rows(work, x, weight, bias, eps, (y, mean, var))
        return y, mean, var
    if work.kind in WHOLE:
        mean, var = np.empty(shape, x.dtype), np.empty(shape, x.dtype)
        weights = numbers_of(work, x, weight, 1), numbers_of(work, x, bias, 0)
        WHOLE[work.kind][0](work, x, weights, eps, (y, mean, var))
        return y, mean, var
    mean, var = _moments(work, x)
    inverse = 1 / np.sqrt(var + eps)
    near = mean.astype(x.dtype)
    scale = inverse if weight is None else inverse * weight.reshape(work.spread)
    shift = (near - mean) * scale
    if bias is not None:
        shift = shift + bias.reshape(work.spread)
    _apply(work, x, None, y, near, scale, shift)
    return y, in_form(near, shape), in_form(var.astype(x.dtype), shape)


def _moments(work: Work, x: Array) -> tuple[Array, Array]:
    """Mean and var in float64, in the shape `lead` with its `axes` of length 1."""
    size, count = x.itemsize, work.length
    if work.kind == "columns":
        columns = math.prod(work.lead)
        pieces = pieces_of_rows(count, columns * size)
        found = np.empty((len(pieces), 3, columns), x.dtype)
        run = normalizing_code.column_sums(x.dtype)
        numbers = np.array([n for _, n in pieces], np.float64).reshape(-1, 1)
        ones = (1 / numbers).astype(x.dtype)

        def rows(number: int) -> None:
            first, height = pieces[number]
            run(
                address(x) + first * columns * size, height, columns,
                address(ones) + number * size, address(found[number]),
            )  # fmt: skip

        run_pieces(rows, len(pieces))
        if len(pieces) == 1:
            near, rest, squares = found[0].astype(np.float64)
            var = np.maximum(squares / count, 0)
            return (near + rest).reshape(work.lead), var.reshape(work.lead)
        near, rest, squares = (found[:, part].astype(np.float64) for part in range(3))
        means = near + rest
        mean = (means * (numbers / count)).sum(0)
        squares = squares.sum(0) + (numbers * (means - mean) ** 2).sum(0)
        return mean.reshape(work.lead), np.maximum(squares / count, 0).reshape(work.lead)
    stretches = math.prod(work.lead)
    results = np.empty((stretches, 3), x.dtype)
    run = normalizing_code.stretch_sums(x.dtype)
    one = np.array(1 / count, x.dtype)
    pieces = pieces_of_rows(stretches, count * size)

    def part(number: int) -> None:
        first, several = pieces[number]
        run(
            address(x) + first * count * size, several, count, address(one),
            address(results) + 3 * first * size,
        )  # fmt: skip

    run_pieces(part, len(pieces))
    wide = results.astype(np.float64)
    means = (wide[:, 0] + wide[:, 1]).reshape(work.lead)
    squares = wide[:, 2].reshape(work.lead)
    if not work.axes:
        return means, np.maximum(squares / count, 0)
    mean = means.mean(axis=work.axes, keepdims=True)
    squares = squares.sum(axis=work.axes, keepdims=True)
    squares = squares + count * np.square(means - mean).sum(axis=work.axes, keepdims=True)
    count *= math.prod(work.lead[axis] for axis in work.axes)
    return mean, np.maximum(squares / count, 0)


def _apply(
    work: Work, x: Array, g: Array | None, y: Array, mean: Array, *coefficients: Array
) -> None:
    """y = (x - mean)·b + c + g·a, from mean, b, c and, with g, a."""
    size, by_columns = x.itemsize, work.kind == "columns"
    each = math.prod(work.lead)
    numbers = np.empty((len(coefficients) + 1, *work.lead), x.dtype)
    for place, value in enumerate((mean, *coefficients)):
        numbers[place] = value
    run = normalizing_code.applied(x.dtype, by_columns=by_columns, with_g=g is not None)
    rows, columns = (work.length, each) if by_columns else (each, work.length)
    pieces = pieces_of_rows(rows, columns * size)
    if not by_columns:  # numbers of the rows of one piece lie side by side
        flat = numbers.reshape(len(numbers), each)
        blocks = [np.ascontiguousarray(flat[:, f : f + n]) for f, n in pieces]

    def part(number: int) -> None:
        first, several = pieces[number]
        moved = first * columns * size
        run(
            address(x) + moved, 0 if g is None else address(g) + moved, address(y) + moved,
            several, columns, address(numbers if by_columns else blocks[number]),
        )  # fmt: skip

    run_pieces(part, len(pieces))


def _weight_row(work: Work, x: Array, weight: Array | None) -> Array:
    return np.ones(work.length, x.dtype) if weight is None else readable(weight, x.dtype)


def _normalize_rows(
    work: Work,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    into: tuple[Array, ...],
) -> None:
    """Write the result, mean and var into the arrays of `into`."""
    rows, columns, size = math.prod(work.lead), work.length, x.itemsize
    y, mean, var = into
    scale = _weight_row(work, x, weight)
    shift = scale if bias is None else readable(bias, x.dtype)
    numbers = row_numbers(work, x, eps)
    run = normalizing_code.rows_normalized(x.dtype, bias is not None)
    pieces = pieces_of_rows(rows, columns * size)

    def part(number: int) -> None:
        first, several = pieces[number]
        moved = first * columns * size
        run(
            address(x) + moved, address(y) + moved, several, columns, address(scale),
            address(shift), address(numbers), address(mean) + first * size,
            address(var) + first * size,
        )  # fmt: skip

    run_pieces(part, len(pieces))


# Reverse ------------------------------------------------------------------------------------------


def normalize_gradient(
    work: Work,
    g: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    var: Array,
    eps: float,
    own: Shape | None,
) -> tuple[Array, Array | None, Array | None]:
    """The cotangents of x, weight and bias; own is the shape of the latter two."""
    g, x = readable(g, x.dtype), readable(x, x.dtype)
    y = np.empty(x.shape, x.dtype)
    if work.kind == "rows":
        assert own is not None
        sums = _row_gradients(work, g, x, weight, mean, var, eps, y)
        by_weight, by_bias = sums.sum(0, dtype=np.float64).astype(x.dtype)
        return y, in_form(by_weight, own), in_form(by_bias, own)
    if work.kind in WHOLE:
        scales = numbers_of(work, x, weight, 1)
        sums = WHOLE[work.kind][1](work, g, x, scales, (mean, var), eps, y)
        if own is None:
            return y, None, None
        return y, summed(work, sums[0], own), summed(work, sums[1], own)
    if work.kind == "columns":
        flat = work.lead
    else:
        flat = tuple(1 if axis in work.axes else n for axis, n in enumerate(work.lead))
    near = mean.reshape(flat)
    inverse = 1 / np.sqrt(var.reshape(flat).astype(np.float64) + eps)
    totals, products = _products(work, g, x, near)
    scale = 1 if weight is None else weight.reshape(work.spread).astype(np.float64)
    first, second, count = totals * scale, products * scale, work.length
    if work.axes:
        first = first.sum(axis=work.axes, keepdims=True)
        second = second.sum(axis=work.axes, keepdims=True)
        count *= math.prod(work.lead[axis] for axis in work.axes)
    b = second * (inverse * inverse * inverse / -count)
    _apply(work, x, g, y, near, b, first * inverse / -count, inverse * scale)
    if own is None:
        return y, None, None
    axes = tuple(axis for axis, n in enumerate(work.spread) if n == 1)
    by_weight, by_bias = (products * inverse).sum(axis=axes), totals.sum(axis=axes)
    return y, by_weight.astype(x.dtype).reshape(own), by_bias.astype(x.dtype).reshape(own)


def _products(work: Work, g: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    """Σ g and Σ g·(x - mean) of stretches or columns, in float64 and the shape `lead`."""
    size, count, each = x.itemsize, work.length, math.prod(work.lead)
    means = np.empty(work.lead, x.dtype)
    means[...] = mean
    if work.kind == "columns":
        pieces = pieces_of_rows(count, each * size)
        found = np.empty((len(pieces), 2, each), x.dtype)
        run = normalizing_code.column_products(x.dtype)

        def rows(number: int) -> None:
            first, several = pieces[number]
            moved = first * each * size
            run(
                address(g) + moved, address(x) + moved, several, each, address(means),
                address(found[number]),
            )  # fmt: skip

        run_pieces(rows, len(pieces))
        total = found.sum(0, dtype=np.float64)
        return total[0].reshape(work.lead), total[1].reshape(work.lead)
    results = np.empty((each, 2), x.dtype)
    run = normalizing_code.stretch_products(x.dtype)
    pieces = pieces_of_rows(each, count * size)

    def part(number: int) -> None:
        first, several = pieces[number]
        moved = first * count * size
        run(
            address(g) + moved, address(x) + moved, several, count,
            address(means) + first * size, address(results) + 2 * first * size,
        )  # fmt: skip

    run_pieces(part, len(pieces))
    wide = results.astype(np.float64)
    return wide[:, 0].reshape(work.lead), wide[:, 1].reshape(work.lead)


def _row_gradients(
    work: Work,
    g: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    var: Array,
    eps: float,
    y: Array,
) -> Array:
    """Write the cotangent of x into y, and return the sums for weight and bias of each piece."""
    rows, columns, size = math.prod(work.lead), work.length, x.itemsize
    scale, numbers = _weight_row(work, x, weight), row_numbers(work, x, eps)
    pieces = pieces_of_rows(rows, columns * size)
    sums = np.zeros((len(pieces), 2, columns), x.dtype)
    run = normalizing_code.row_gradients(x.dtype)

    def part(number: int) -> None:
        first, several = pieces[number]
        moved = first * columns * size
        run(
            address(g) + moved, address(x) + moved, address(y) + moved, several, columns,
            address(scale), address(numbers), address(mean) + first * size,
            address(var) + first * size, address(sums[number]),
        )  # fmt: skip

    run_pieces(part, len(pieces))
    return sums
