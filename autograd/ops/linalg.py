"""Linear algebra: matrix products, and einsum contracted pair by pair.

A contraction of several operands is planned by opt_einsum, once per (subscripts, shapes), and
carried out as a chain of pairwise `contract` calls.  Since each pair is a recorded call, the
gradient follows the same path backwards: it never multiplies all operands at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.ops import reduction as r
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.batch_rules import align_samples, ndim_of
from tapegrad.autograd.ops.rearranging import diagonal, from_diagonal
from tapegrad.autograd.ops.subscripts import (
    contraction_path,
    parse_subscripts,
    subscripts_from_lists,
)

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand, Shape

__all__ = [
    "contract",
    "contract_all",
    "dot",
    "einsum",
    "inner",
    "leading_diagonal",
    "matmul",
    "matrix_trace",
    "outer",
    "tensordot",
    "trace",
]

products = late_module("tapegrad.autograd.kernels.products")
contraction = late_module("tapegrad.autograd.kernels.contraction")


@primitive(numpy=(np.matmul, np.linalg.matmul))
def matmul(xp: Namespace, x1: Array, x2: Array, *, out: Array | None = None) -> Array:
    """The matrix product x1 @ x2: (…, m, k), (…, k, n) -> (…, m, n); vectors as in NumPy."""
    return xp.matmul(x1, x2, out=out)


@matmul.on("numba", late=True)  # not even `products()` is asked for in each call
def _matmul_compiled() -> Callable[..., Array]:
    kernels = products()

    def body(xp: Namespace, x1: Array, x2: Array, *, out: Array | None = None) -> Array:
        return kernels.matmul(x1, x2, out=out)

    return body


matmul.primitive.refill = lambda out: products().product_into(out)


def _transpose_last_two(x: Array) -> Array:
    return s.transpose(x) if x.ndim == 2 else s.swapaxes(x, -1, -2)


def _times(x1: Array, x2: Array) -> Array:
    """x1 @ x2; of bare NumPy arrays by the way that the body takes."""
    if type(x1) is np.ndarray and type(x2) is np.ndarray:
        return products().matmul(x1, x2)
    return x1 @ x2


def _matmul_x1_rule(g: Array, x1_shape: Shape, x2: Array) -> Array:
    if x2.ndim == 1:
        if len(x1_shape) == 1:
            return g * x2
        return s.expand_dims(g, -1) * x2
    if len(x1_shape) == 1:
        return _times(s.expand_dims(g, -2), _transpose_last_two(x2))[..., 0, :]
    return _times(g, _transpose_last_two(x2))


def _as_rows(a: Array) -> Array:
    return s.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))  # -1 would not do for no columns


def _matmul_x2_rule(g: Array, x1: Array, x2_shape: Shape, x2_layout: str) -> Array:
    if x1.ndim == 1:
        if len(x2_shape) == 1:
            return g * x1
        return s.expand_dims(x1, -1) * s.expand_dims(g, -2)
    if len(x2_shape) == 1:
        if x1.ndim == 2:
            return s.transpose(x1) @ g
        return _times(_transpose_last_two(x1), s.expand_dims(g, -1))[..., 0]
    if len(x2_shape) == 2 and x1.ndim > 2:
        # One product instead of a batch of them that would then be summed.
        x1, g = _as_rows(x1), _as_rows(g)
    if x2_layout == "F":
        # x2 is a transposed matrix: so is its cotangent, which then lies in memory as the matrix.
        return s.transpose(_times(s.transpose(g), x1))
    return _times(_transpose_last_two(x1), g)


matmul.vjp(x1=_matmul_x1_rule, x2=_matmul_x2_rule)
matmul.jvp(x1=lambda t, x2: matmul(t, x2), x2=lambda t, x1: matmul(x1, t))


@matmul.batch
def _matmul_batch(x1: Array, x2: Array, batched: tuple[bool, bool]) -> Array:
    ndim1, ndim2 = ndim_of(x1, batched[0]), ndim_of(x2, batched[1])
    if batched == (True, False) and ndim2 == 2:  # one product for all samples
        y = matmul(_as_rows(x1) if ndim1 > 1 else x1, x2)
        return s.reshape(y, (*x1.shape[:-1], x2.shape[-1])) if ndim1 > 1 else y
    if batched == (False, True) and ndim2 == 1 and ndim1 == 2:
        return matmul(x2, s.transpose(x1))
    if ndim1 == 1:
        x1 = s.expand_dims(x1, -2)
    if ndim2 == 1:
        x2 = s.expand_dims(x2, -1)
    ndim = builtin_max(ndim1, ndim2, 2)
    y = matmul(
        align_samples(x1, ndim) if batched[0] else x1, align_samples(x2, ndim) if batched[1] else x2
    )
    if ndim2 == 1:
        y = s.reshape(y, y.shape[:-1])
        return s.reshape(y, y.shape[:-1]) if ndim1 == 1 else y
    return s.reshape(y, (*y.shape[:-2], y.shape[-1])) if ndim1 == 1 else y


# einsum ------------------------------------------------------------------------------------------


@primitive
def contract(xp: Namespace, x1: Array, x2: Array, *, axes1: str, axes2: str, result: str) -> Array:
    """Σ x1[axes1]·x2[axes2] over the letters that `result` lacks; no letter twice in an operand.

    Letters are sorted into batch, kept and summed ones, and one matrix product does the work.
    """
    return _contract(xp, xp.matmul, x1, x2, axes1, axes2, result)


@contract.on("numba")
def _contract_compiled(
    xp: Namespace, x1: Array, x2: Array, *, axes1: str, axes2: str, result: str
) -> Array:
    if type(x1) is np.ndarray and type(x2) is np.ndarray:
        return contraction().contract(x1, x2, axes1, axes2, result)
    return _contract(xp, products().matmul, x1, x2, axes1, axes2, result)


def _contract(
    xp: Namespace, product: Callable[..., Array], x1: Array, x2: Array, axes1: str, axes2: str,
    result: str,
) -> Array:  # fmt: skip
    lone1 = tuple(i for i, c in enumerate(axes1) if c not in axes2 and c not in result)
    lone2 = tuple(i for i, c in enumerate(axes2) if c not in axes1 and c not in result)
    wide: Any = np.result_type(x1.dtype, x2.dtype)  # float16 has sums that it cannot hold
    wide = wide if wide.kind in "fc" else None
    if lone1:
        x1, axes1 = x1.sum(lone1, wide), "".join(c for c in axes1 if c in axes2 or c in result)
    if lone2:
        x2, axes2 = x2.sum(lone2, wide), "".join(c for c in axes2 if c in axes1 or c in result)
    batch = [c for c in axes1 if c in axes2 and c in result]
    summed = [c for c in axes1 if c in axes2 and c not in result]
    rows = [c for c in axes1 if c not in axes2]
    columns = [c for c in axes2 if c not in axes1]
    size = {**dict(zip(axes2, x2.shape, strict=True)), **dict(zip(axes1, x1.shape, strict=True))}
    # A letter whose length is 1 on one side only is broadcast by the general product.
    for c in batch + summed:
        n1, n2 = x1.shape[axes1.index(c)], x2.shape[axes2.index(c)]
        if n1 != n2:
            return xp.einsum(f"{axes1},{axes2}->{result}", x1, x2)

    def count(letters: list[str]) -> int:
        return math.prod(size[c] for c in letters)

    left = xp.transpose(x1, [axes1.index(c) for c in (*batch, *rows, *summed)])
    right = xp.transpose(x2, [axes2.index(c) for c in (*batch, *summed, *columns)])
    left = xp.reshape(left, (count(batch), count(rows), count(summed)))
    right = xp.reshape(right, (count(batch), count(summed), count(columns)))
    if batch:
        y = product(left, right)
    else:
        y = product(left[0], right[0])
    order = [*batch, *rows, *columns]
    y = xp.reshape(y, tuple(size[c] for c in order))
    return xp.transpose(y, [order.index(c) for c in result])


def _contract_rule(
    g: Array, result: str, other: Array, other_axes: str, shape: Shape, axes: str
) -> Array:
    reached = "".join(c for c in axes if c in result or c in other_axes)
    partial = contract(g, other, axes1=result, axes2=other_axes, result=reached)
    if reached != axes:  # letters that only this operand has were summed: broadcast over them
        kept = tuple(partial.shape[reached.index(c)] if c in reached else 1 for c in axes)
        wide = tuple(k if c in reached else n for c, k, n in zip(axes, kept, shape, strict=True))
        partial = s.broadcast_to(s.reshape(partial, kept), wide)
    return partial


builtin_max = max

contract.vjp(
    x1=lambda g, x1_shape, x2, axes1, axes2, result: _contract_rule(
        g, result, x2, axes2, x1_shape, axes1
    ),
    x2=lambda g, x1, x2_shape, axes1, axes2, result: _contract_rule(
        g, result, x1, axes1, x2_shape, axes2
    ),
)
contract.jvp(
    x1=lambda t, x2, axes1, axes2, result: contract(t, x2, axes1, axes2, result),
    x2=lambda t, x1, axes1, axes2, result: contract(x1, t, axes1, axes2, result),
)


def _other_letter(text: str) -> str:
    """A letter that is not in `text`."""
    return next(c for c in map(chr, range(ord("A"), 0x250)) if c.isalpha() and c not in text)


@contract.batch
def _contract_batch(
    x1: Array, x2: Array, batched: tuple[bool, bool], axes1: str, axes2: str, result: str
) -> Array:
    c = _other_letter(axes1 + axes2 + result)
    return contract(x1, x2, c * batched[0] + axes1, c * batched[1] + axes2, c + result)


@primitive
def contract_all(
    xp: Namespace, arrays: list[Array], *, terms: tuple[str, ...], result: str
) -> Array:
    """Σ of the products of all arrays at once, over the letters that `result` lacks.

    It needs no memory beside its result, and the time of the full product.
    """
    return xp.einsum(",".join(terms) + "->" + result, *arrays)


def _contract_all_rule(
    g: Array, arrays: list[Array], terms: tuple[str, ...], result: str
) -> list[Array]:
    cotangents = []
    for i, (array, term) in enumerate(zip(arrays, terms, strict=True)):
        others, names = arrays[:i] + arrays[i + 1 :], (*terms[:i], *terms[i + 1 :])
        reached = "".join(c for c in term if any(c in name for name in (result, *names)))
        part = contract_all([g, *others], (result, *names), reached)
        if reached != term:  # letters that only this array has were summed: broadcast over them
            kept = tuple(n if c in reached else 1 for c, n in zip(term, array.shape, strict=True))
            part = s.broadcast_to(s.reshape(part, kept), tuple(array.shape))
        cotangents.append(part)
    return cotangents


contract_all.vjp(arrays=_contract_all_rule)


def _contract_all_tangents(
    t: list[Any], arrays: list[Any], terms: tuple[str, ...], result: str
) -> Any:
    total = None
    for i, part in enumerate(t):
        if part is not None:
            y = contract_all([*arrays[:i], part, *arrays[i + 1 :]], terms, result)
            total = y if total is None else total + y
    return total


contract_all.jvp(arrays=_contract_all_tangents)


@contract_all.batch
def _contract_all_batch(arrays: list[Array], terms: tuple[str, ...], result: str) -> Array:
    c = _other_letter("".join((*terms, result)))
    return contract_all(arrays, tuple(c + term for term in terms), c + result)


@primitive(view=True)
def leading_diagonal(xp: Namespace, x: Array) -> Array:
    """The diagonal of the first two axes, which have one length, as the first axis: a view."""
    return xp.einsum("ii...->i...", x)


@leading_diagonal.batch
def _leading_diagonal_batch(x: Array) -> Array:
    axes = (1, 2, 0, *range(3, x.ndim))
    y = leading_diagonal(s.transpose(x, axes))
    return s.transpose(y, (1, 0, *range(2, y.ndim)))


leading_diagonal.vjp(x=lambda g, x_shape: from_diagonal(s.moveaxis(g, 0, -1), x_shape, 0, 0, 1))
leading_diagonal.jvp(x=lambda t: leading_diagonal(t))


def _take_diagonals(x: Array, axes: str) -> tuple[Any, str]:
    """Take diagonals, so that no letter stands twice."""
    while len(set(axes)) != len(axes):
        c = next(c for c in axes if axes.count(c) > 1)
        i = axes.index(c)
        j = axes.index(c, i + 1)
        x = leading_diagonal(s.moveaxis(x, (i, j), (0, 1)))
        axes = c + "".join(a for k, a in enumerate(axes) if k not in (i, j))
    return x, axes


@composite(numpy=np.einsum)
def einsum(
    subscripts: str | Operand,
    *operands: Any,
    optimize: bool | str | tuple[Any, ...] | list[Any] = True,
    memory_limit: int | str | None = None,
) -> Tensor:
    """The Einstein sum of the operands, contracted in the order opt_einsum finds best.

    subscripts:   "ij,jk->ik"; with ``...`` for broadcast axes, without ``->`` as in NumPy; or the
                  operands with their axes as lists of numbers, (x, [0, 1], y, [1, 2], [0, 2])
    optimize:     True, a name of opt_einsum's ("greedy", "optimal", …), that with a memory limit
                  as in NumPy, False for all operands at once, or a path as np.einsum_path
                  returns it, ["einsum_path", (0, 1), …]
    memory_limit: the most entries that an intermediate result may have, or "max_input"; what no
                  sequence of pairs can do within it is contracted at once, slower
    Raises ShapeError when the operands' shapes do not fit the subscripts, ValueError for subscripts
    that make no sense.
    """
    if not isinstance(subscripts, str):
        subscripts, operands = subscripts_from_lists((subscripts, *operands))
    strategy: Any = optimize
    given: tuple[tuple[int, ...], ...] = ()
    if isinstance(strategy, (tuple, list)):
        if strategy and strategy[0] == "einsum_path":
            given = tuple(tuple(int(i) for i in step) for step in strategy[1:])
            strategy = True
        else:
            strategy, memory_limit = strategy[0], strategy[1] if len(strategy) > 1 else memory_limit
    arrays = [as_operand(x) for x in operands]
    terms, result = parse_subscripts(subscripts, tuple(x.ndim for x in arrays))
    work = [_take_diagonals(x, axes) for x, axes in zip(arrays, terms, strict=True)]
    size: dict[str, int] = {}
    for x, axes in work:
        for c, n in zip(axes, x.shape, strict=True):
            if size.setdefault(c, n) != n and 1 not in (n, size[c]):
                raise ShapeError(
                    f"einsum {subscripts!r}: axes {c!r} have lengths {size[c]} and {n}"
                )
            size[c] = builtin_max(size[c], n) if 0 not in (size[c], n) else 0
    if given:
        path = given
        if sum(len(step) - 1 for step in path) != len(work) - 1:
            raise ValueError(f"einsum {subscripts!r}: the path {path} does not join all operands")
    elif len(work) > 2 and strategy is not False:
        text = ",".join(axes for _, axes in work) + "->" + result
        shapes = tuple(tuple(size[c] for c in axes) for _, axes in work)
        method = strategy if isinstance(strategy, str) else "auto"
        path = contraction_path(text, shapes, method, memory_limit)
    else:
        path = (tuple(range(len(work))),)
    for pair in path:
        group = [work.pop(i) for i in sorted(pair, reverse=True)][::-1]
        rest = set(result).union(*(axes for _, axes in work))
        if len(group) > 2:
            named = dict.fromkeys("".join(axes for _, axes in group))
            kept = "".join(c for c in named if c in rest) if work else result
            y = contract_all([x for x, _ in group], tuple(axes for _, axes in group), kept)
            group = [(y, kept)]
        while len(group) > 1:
            (x1, axes1), (x2, axes2) = group[:2]
            keep = rest.union(*(axes for _, axes in group[2:])) if work or group[2:] else None
            letters = dict.fromkeys(axes1 + axes2)
            axes = result if keep is None else "".join(c for c in letters if c in keep)
            y = contract(x1, x2, axes1=axes1, axes2=axes2, result=axes)
            group[:2] = [(y, axes)]
        work += group
    [(y, axes)] = work
    lone = tuple(i for i, c in enumerate(axes) if c not in result)
    if lone:
        y, axes = r.sum(y, axis=lone), "".join(c for c in axes if c in result)
    if axes != result:
        y = s.transpose(y, tuple(axes.index(c) for c in result))
    return y


@composite(numpy=(np.tensordot, np.linalg.tensordot))
def tensordot(a: Operand, b: Operand, axes: int | Sequence[Any] = 2) -> Tensor:
    """Σ a·b over the last `axes` axes of a and the first of b, or over two given lists of axes."""
    a, b = as_operand(a), as_operand(b)
    if isinstance(axes, int):
        of_a, of_b = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        of_a, of_b = ([x] if isinstance(x, int) else list(x) for x in axes)
    letters = [chr(ord("a") + i) for i in range(a.ndim)]
    others = [chr(ord("A") + i) for i in range(b.ndim)]
    for i, j in zip(of_a, of_b, strict=True):
        others[j] = letters[i]
    summed = {letters[i] for i in of_a}
    result = "".join(c for c in (*letters, *others) if c not in summed)
    return contract(a, b, axes1="".join(letters), axes2="".join(others), result=result)


@composite(numpy=np.dot)
def dot(a: Operand, b: Operand) -> Tensor:
    """NumPy's dot: product with a 0-d operand, else sum over a's last and b's last but one axis."""
    a, b = as_operand(a), as_operand(b)
    if not ndim_of(a) or not ndim_of(b):
        return a * b
    if a.ndim <= 2 and b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, ([a.ndim - 1], [builtin_max(0, b.ndim - 2)]))


@composite(numpy=np.inner)
def inner(a: Operand, b: Operand) -> Tensor:
    """Σ a·b over the last axis of both."""
    a, b = as_operand(a), as_operand(b)
    if not ndim_of(a) or not ndim_of(b):
        return a * b
    return tensordot(a, b, ([a.ndim - 1], [b.ndim - 1]))


@composite(numpy=(np.outer, np.linalg.outer))
def outer(a: Operand, b: Operand) -> Tensor:
    """The product of every entry of a with every entry of b: (a.size, b.size)."""
    return s.reshape(a, (-1, 1)) * s.reshape(b, (1, -1))


@composite(numpy=np.trace)
def trace(x: Operand, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of a diagonal of the axes `axis1` and `axis2`."""
    return r.sum(diagonal(x, offset, axis1, axis2), axis=-1)


@composite(numpy=np.linalg.trace)
def matrix_trace(x: Operand, *, offset: int = 0) -> Tensor:
    """The sums of the diagonals of matrices (…, m, n) -> (…)."""
    return trace(x, offset, -2, -1)
