"""Primitives that make one number of several: reductions, products of matrices, normalization."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.nn.formats.common.errors import UnsupportedError
from tapegrad.nn.formats.onnx.calls import Call, counted_axis, fixed, refuses, writes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tapegrad.nn.formats.onnx.building import GraphValue

__all__: list[str] = []

BOOL = np.dtype(bool)


def _all_axes(call: Call) -> list[int]:
    axes = call.axes()
    return list(range(call.ndim)) if axes is None else list(axes)


def _reduction(op: str) -> Callable[[Call], GraphValue]:
    def write(call: Call) -> GraphValue:
        x = call.x
        if x.dtype == BOOL and op in ("ReduceMax", "ReduceMin"):
            whole = x.cast(np.int32)
            return call.builder.reduce(op, whole, _all_axes(call), keepdims=_kept(call)).cast(bool)
        if op in ("ReduceSum", "ReduceMean", "ReduceLogSumExp"):
            x = x.cast(call.dtype)
        if not call.ndim:
            return x
        return call.builder.reduce(op, x, _all_axes(call), keepdims=_kept(call))

    return write


def _kept(call: Call) -> bool:
    return bool(call.setting("keepdims"))


for _name, _op in (
    ("sum", "ReduceSum"), ("mean", "ReduceMean"), ("max", "ReduceMax"), ("min", "ReduceMin"),
    ("logsumexp", "ReduceLogSumExp"),
):  # fmt: skip
    writes(_name)(_reduction(_op))


@writes("any", "all")
def _any(call: Call) -> GraphValue:
    op = "ReduceMax" if call.primitive.name == "any" else "ReduceMin"
    x = call.x if call.x.dtype == BOOL else ~call.x.compare("Equal", 0)
    if not call.ndim:
        return x
    whole = x.cast(np.int32)
    return call.builder.reduce(op, whole, _all_axes(call), keepdims=_kept(call)).cast(bool)


@writes("count_nonzero")
def _count_nonzero(call: Call) -> GraphValue:
    x = call.x if call.x.dtype == BOOL else ~call.x.compare("Equal", 0)
    ones = x.cast(np.int64)
    if not call.ndim:
        return ones
    return call.builder.reduce("ReduceSum", ones, _all_axes(call), keepdims=_kept(call))


@writes("argmax", "argmin")
def _argmax(call: Call) -> GraphValue:
    op = "ArgMax" if call.primitive.name == "argmax" else "ArgMin"
    w, x, axis = call.builder, call.x, call.setting("axis")
    if x.dtype == BOOL:
        x = x.cast(np.int32)
    if axis is None:
        flat = w.op(op, w.reshape(x, [-1]), dtype=np.int64, axis=0, keepdims=0)
        return w.reshape(flat, call.shape) if call.shape else flat
    keep = 1 if _kept(call) else 0
    return w.op(op, x, dtype=np.int64, axis=counted_axis(axis, call.ndim), keepdims=keep)


@writes("cumsum")
def _cumsum(call: Call) -> GraphValue:
    w, x, axis = call.builder, call.value(0, call.dtype), call.setting("axis")
    if axis is None:
        x, axis = w.reshape(x, [-1]), 0
    return w.op("CumSum", x, w.number(counted_axis(axis, max(call.ndim, 1)), np.int64))


@writes("softmax", "log_softmax")
def _softmax(call: Call) -> GraphValue:
    op = "Softmax" if call.primitive.name == "softmax" else "LogSoftmax"
    axis = counted_axis(call.setting("axis"), call.ndim)
    return call.builder.op(op, call.value(0, call.dtype), axis=axis)


@writes("guarded_norm")
def _guarded_norm(call: Call) -> GraphValue:
    w, p = call.builder, call.setting("p")
    axis = [counted_axis(call.setting("axis"), call.ndim)]
    if p == 2:
        return w.op("Sqrt", w.reduce("ReduceSum", call.x * call.x, axis, keepdims=True))
    size = w.op("Abs", call.x)
    if p == 1:
        return w.reduce("ReduceSum", size, axis, keepdims=True)
    total = w.reduce("ReduceSum", w.op("Pow", size, w.number(p, size.dtype)), axis, keepdims=True)
    return w.op("Pow", total, w.number(1 / p, size.dtype))


@writes("standardize", "normalize")
def _standardize(call: Call) -> list[GraphValue]:
    w = call.builder
    axes = [counted_axis(axis, call.ndim) for axis in call.setting("axes")]
    wide = call.x.cast(np.float32) if call.x.dtype == np.float16 else call.x
    mean = w.reduce("ReduceMean", wide, axes, keepdims=True)
    rest = wide - mean
    var = w.reduce("ReduceMean", rest * rest, axes, keepdims=True)
    y = rest / w.op("Sqrt", var + call.setting("eps"))
    if call.primitive.name == "standardize":
        return [y, mean, var]
    _, weight, bias = call.operands
    if weight is not None:
        y = y * call.value(1, call.dtype)
    return [y if bias is None else y + call.value(2, call.dtype), mean, var][: len(call.results)]


@writes("nearest_centroid")
def _nearest_centroid(call: Call) -> GraphValue:
    w = call.builder
    rows = call.value(0, call.dtype)
    gap = w.unsqueeze(rows, [1]) - call.value(1, call.dtype)
    squares = w.reduce("ReduceSum", gap * gap, [2])
    nearest = w.op("ArgMin", squares, dtype=np.int64, axis=1, keepdims=0).cast(call.dtype)
    total = w.reduce("ReduceSum", squares, [1])
    return w.where(w.op("IsNaN", total, dtype=BOOL), w.number(np.nan, call.dtype), nearest)


@writes("scaled_dot_product_attention")
def _attention(call: Call) -> GraphValue:
    w, dtype = call.builder, call.dtype
    q, k, v, mask = (*(call.value(i, dtype) for i in range(3)), call.operands[3])
    scale, width, ndim = call.setting("scale"), call.shapes[0][-1], len(call.shapes[1])
    turned = w.op("Transpose", k, perm=[*range(ndim - 2), ndim - 1, ndim - 2])
    scores = w.op("MatMul", q * (1 / math.sqrt(width or 1) if scale is None else scale), turned)
    if mask is not None and mask.dtype == BOOL:
        scores = w.where(mask, -math.inf, scores)
    elif mask is not None:
        scores = scores + mask.cast(dtype)
    if call.setting("causal"):
        steps = call.shapes[0][-2], call.shapes[1][-2]
        if not all(isinstance(size, int) for size in steps):
            raise UnsupportedError("a causal mask is written for steps whose number is fixed")
        later = w.array(np.triu(np.ones(steps, bool), k=1))
        scores = w.where(later, -math.inf, scores)
    return w.op("MatMul", w.op("Softmax", scores, axis=-1), v)


# Products ----------------------------------------------------------------------------------------


@writes("matmul")
def _matmul(call: Call) -> GraphValue:
    return call.builder.op("MatMul", call.value(0, call.dtype), call.value(1, call.dtype))


@writes("affine")
def _affine(call: Call) -> GraphValue:
    w = call.builder
    across = w.op("Transpose", call.value(1, call.dtype), perm=[1, 0])
    return w.op("MatMul", call.value(0, call.dtype), across) + call.value(2, call.dtype)


def _einsum_of(
    call: Call, operands: Sequence[GraphValue], terms: Sequence[str], result: str
) -> GraphValue:
    """A sum of products over letters."""
    equation = f"{','.join(terms)}->{result}"
    return call.builder.op("Einsum", *operands, equation=equation)


@writes("contract")
def _contract(call: Call) -> GraphValue:
    terms = call.setting("axes1"), call.setting("axes2")
    operands = call.value(0, call.dtype), call.value(1, call.dtype)
    return _einsum_of(call, operands, terms, call.setting("result"))


@writes("contract_all")
def _contract_all(call: Call) -> GraphValue:
    operands = [value.cast(call.dtype) for value in call.operands[0]]
    return _einsum_of(call, operands, call.setting("terms"), call.setting("result"))


@writes("int8_product")
def _int8_product(call: Call) -> GraphValue:
    w = call.builder
    turned = w.op("Transpose", call.value(1), perm=[1, 0])
    return w.op("MatMulInteger", call.x, turned, dtype=np.int32)


@writes("convolve_full")
def _convolve_full(call: Call) -> GraphValue:
    w = call.builder
    (length,) = fixed(call.shapes[1], "the length of a convolved vector")
    x, v = (w.unsqueeze(call.value(i, call.dtype), [0, 1]) for i in (0, 1))
    turned = w.slice(v, [-1], [-(2**63) + 1], [2], [-1])
    y = w.op("Conv", x, turned, pads=[length - 1, length - 1], kernel_shape=[length])
    return w.squeeze(y, [0, 1])


@writes("det")
def _det(call: Call) -> GraphValue:
    return call.builder.op("Det", call.value(0, call.dtype))


refuses("ONNX has no solver of linear equations, and no inverse", "solve", "inv",
        "pseudo_inverse", "cofactors", "cofactor_change", "slogdet_parts")  # fmt: skip
refuses("ONNX has no eigenvalues and no factorizations of matrices",
        "eigh_parts", "eig_parts", "require_basis", "cholesky_lower", "qr_parts", "svd_parts",
        "qr_complete", "svd_complete", "rank_above", "close_pairs")  # fmt: skip
refuses("ONNX has no running product", "cumprod", "backward_scan")
refuses("ONNX's operators have no complex numbers",
        "forward_transform", "inverse_transform", "half_transform", "inverse_half_transform",
        "double_interior")  # fmt: skip
