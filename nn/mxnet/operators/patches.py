"""im2col, col2im, and attention over interleaved queries, keys and values (as GluonNLP exports)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Int, Shape
from tapegrad.nn.mxnet.declaration import Call, operator
from tapegrad.nn.mxnet.operators.windows import length, of_rank

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["col2im", "im2col"]

_KERNEL: dict[str, Any] = {
    "kernel": Shape(),
    "stride": Shape(()),
    "dilate": Shape(()),
    "pad": Shape(()),
}


def _each_axis(a: Attributes) -> list[tuple[int, int, int, int]]:
    """(kernel, stride, pad, dilate) of each axis."""
    rest = [of_rank(a, name, default) for name, default in (("stride", 1), ("pad", 0))]
    return list(zip(a.kernel, *rest, of_rank(a, "dilate", 1), strict=True))


@operator("im2col", **_KERNEL)
def im2col(call: Call, data: Tensor) -> Tensor:
    """The windows of images as columns: (N, C, …) -> (N, C · ∏kernel, windows)."""
    settings = _each_axis(call.a)
    rank = len(settings)
    y = ops.pad(data, [(0, 0), (0, 0), *((pad, pad) for _, _, pad, _ in settings)])
    for i, (kernel, stride, _, dilate) in enumerate(settings):
        y = ops.unfold(y, axis=2 + i, size=kernel, step=stride, dilation=dilate)
    order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    n, channels = data.shape[:2]
    return ops.transpose(y, order).reshape((n, channels * math.prod(call.a.kernel), -1))


@operator("col2im", output_size=Shape(), **_KERNEL)
def col2im(call: Call, data: Tensor) -> Tensor:
    """Images of `output_size` from columns: the adjoint of `im2col`."""
    a, settings = call.a, _each_axis(call.a)
    rank, n = len(settings), data.shape[0]
    channels = data.shape[1] // math.prod(a.kernel)
    sizes = list(zip(a.output_size, settings, strict=True))
    counts = [length(m, kernel, stride, pad, dilate) for m, (kernel, stride, pad, dilate) in sizes]
    x = data.reshape((n, channels, *a.kernel, *counts))
    y = ops.transpose(x, (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank)))
    padded = [m + 2 * pad for m, (_, _, pad, _) in sizes]
    for i in reversed(range(rank)):
        _, stride, _, dilate = settings[i]
        # the windows along axes before i are still apart
        shape = (n, channels, *counts[:i], *padded[i:], *a.kernel[:i])
        y = ops.fold(y, shape=shape, axis=2 + i, step=stride, dilation=dilate)
    inner = tuple(slice(pad, pad + m) for m, (_, _, pad, _) in sizes)
    return y[(slice(None), slice(None), *inner)]


# Attention: (length, batch, heads · parts · d), the parts of a head side by side -----------------


def _parts(x: Any, heads: int, parts: int) -> list[Any]:
    """(L, B, heads · parts · d) -> parts arrays (B · heads, L, d)."""
    steps, samples, wide = x.shape
    d = wide // (heads * parts)
    y = ops.transpose(x.reshape((steps, samples * heads, parts, d)), (2, 1, 0, 3))
    return [y[i] for i in range(parts)]


def _scores(queries: Any, keys: Any) -> Any:
    return ops.matmul(queries / math.sqrt(queries.shape[-1]), ops.swapaxes(keys, -1, -2))


def _joined(attention: Any, values: Any, heads: int) -> Any:
    """(B · heads, L, M), (B · heads, M, d) -> (L, B, heads · d)."""
    y = ops.transpose(ops.matmul(attention, values), (1, 0, 2))
    return y.reshape((y.shape[0], -1, heads * y.shape[2]))


@operator("_contrib_interleaved_matmul_selfatt_qk", "queries_keys_values",
          hint="interleaved_matmul_selfatt_qk", heads=Int())  # fmt: skip
def selfatt_qk(call: Call, queries_keys_values: Tensor) -> Tensor:
    """Q · Kᵀ / √d of each head: (L, B, heads · 3 · d) -> (B · heads, L, L)."""
    queries, keys, _ = _parts(queries_keys_values, call.a.heads, 3)
    return _scores(queries, keys)


@operator("_contrib_interleaved_matmul_selfatt_valatt", "queries_keys_values attention",
          hint="interleaved_matmul_selfatt_valatt", heads=Int())  # fmt: skip
def selfatt_valatt(call: Call, queries_keys_values: Tensor, attention: Tensor) -> Tensor:
    """attention · V of each head: (B · heads, L, L) -> (L, B, heads · d)."""
    return _joined(attention, _parts(queries_keys_values, call.a.heads, 3)[2], call.a.heads)


@operator("_contrib_interleaved_matmul_encdec_qk", "queries keys_values",
          hint="interleaved_matmul_encdec_qk", heads=Int())  # fmt: skip
def encdec_qk(call: Call, queries: Tensor, keys_values: Tensor) -> Tensor:
    """Q · Kᵀ / √d: (L, B, heads · d), (M, B, heads · 2 · d) -> (B · heads, L, M)."""
    (mine,) = _parts(queries, call.a.heads, 1)
    return _scores(mine, _parts(keys_values, call.a.heads, 2)[0])


@operator("_contrib_interleaved_matmul_encdec_valatt", "keys_values attention",
          hint="interleaved_matmul_encdec_valatt", heads=Int())  # fmt: skip
def encdec_valatt(call: Call, keys_values: Tensor, attention: Tensor) -> Tensor:
    """attention · V: (M, B, heads · 2 · d), (B · heads, L, M) -> (L, B, heads · d)."""
    return _joined(attention, _parts(keys_values, call.a.heads, 2)[1], call.a.heads)


@operator("_contrib_div_sqrt_dim", hint="div_sqrt_dim")
def div_sqrt_dim(call: Call, data: Tensor) -> Tensor:
    """data / √(the length of the last axis)."""
    return data / np.sqrt(data.shape[-1]).astype(np.dtype(data.dtype))
