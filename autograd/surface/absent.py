"""What a Tensor does not have -> what to write instead: attributes of arrays, words of others."""

from __future__ import annotations

__all__ = ["INSTEAD", "OTHER_WORDS"]

# Attributes of arrays.
INSTEAD = {
    "base": "a Tensor says nothing about whose memory it uses; np.shares_memory(x, y) does",
    "byteswap": "x.numpy().byteswap() for a value without a gradient",
    "ctypes": "x.numpy().ctypes",
    "dump": "pickle.dump(x, file)",
    "dumps": "pickle.dumps(x)",
    "flags": "a Tensor shows no memory layout; x.numpy().flags does",
    "getfield": "x.numpy().getfield(…) for a value without a gradient",
    "resize": "a Tensor keeps its shape; np.resize(x, shape) and x.reshape(shape) give another",
    "setfield": "write x[i] = v",
    "setflags": "a Tensor shows no memory layout; x.numpy().setflags(…) is the array's",
    "strides": "a Tensor shows no memory layout; x.numpy().strides does",
    "tofile": "x.numpy().tofile(file)",
    "view": "x.reshape(shape) has another shape, x[...] is the same memory, x.astype(dtype) "
    "converts, x.numpy().view(dtype) sees bytes",
}

# Functions of NumPy, of one and of two arrays.
_OF_ONE = """
    abs absolute arccos arcsin arctan cbrt ceil cos cosh exp expm1 floor isfinite isinf isnan log
    log10 log1p log2 logical_not sign sin sinh sqrt square tan tanh trunc diag flipud fliplr median
    tril triu
"""
_OF_TWO = "cross fmod inner kron logaddexp logical_and logical_or matmul maximum minimum outer vdot"
_FLOATS = "x.astype(np.{})"
_LEARNS = (
    "a Parameter learns, and its freeze() and unfreeze() switch that; tapegrad.grad(f)(x) is the "
    "gradient with respect to any array"
)
_RECORD = "tapegrad.Tape(x) shows the record behind a result"
_COMPARED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**"}

# Words of PyTorch, Torch7, TensorFlow and pandas.
OTHER_WORDS = {
    **{name: f"np.{name}(x)" for name in _OF_ONE.split()},
    **{name: f"np.{name}(x, y)" for name in _OF_TWO.split()},
    **{name: f"x {sign} y" for name, sign in {**_COMPARED, **_ARITHMETIC}.items()},
    **{f"{name}_": f"x {sign}= y" for name, sign in _ARITHMETIC.items()},
    **{f"c{name}": f"x {sign}= y" for name, sign in _ARITHMETIC.items()},
    "addmm": "x + y @ z",
    "assign": "x[...] = y",
    "bmm": "x @ y",
    "bool": _FLOATS.format("bool_"),
    "chunk": "np.array_split(x, n, axis)",
    "clamp": "x.clip(low, high)",
    "clone": "x.copy()",
    "contiguous": "x itself will do: a Tensor shows no memory layout",
    "copy_": "x[...] = y",
    "cpu": 'x.to("cpu")',
    "cuda": 'x.to("cuda:0")',
    "det": "np.linalg.det(x)",
    "detach_": "x = x.detach()",
    "dim": "x.ndim",
    "double": _FLOATS.format("float64"),
    "erf": "tapegrad.ops.erf(x)",
    "expand": "np.broadcast_to(x, shape)",
    "expand_as": "np.broadcast_to(x, y.shape)",
    "fill_": "x[...] = v",
    "flip": "np.flip(x, axis)",
    "float": _FLOATS.format("float32"),
    "gather": "np.take_along_axis(x, i, axis)",
    "grad": "only a Parameter has .grad, after loss.backward(); " + _LEARNS,
    "grad_fn": _RECORD,
    "half": _FLOATS.format("float16"),
    "iloc": "x[i]",
    "index_select": "np.take(x, indices, axis)",
    "int": _FLOATS.format("int32"),
    "inverse": "np.linalg.inv(x)",
    "is_contiguous": "a Tensor shows no memory layout; x.numpy().flags does",
    "is_cuda": "x.device",
    "is_leaf": _RECORD,
    "loc": "x[i]",
    "log_softmax": "tapegrad.ops.log_softmax(x, axis)",
    "logsumexp": "tapegrad.ops.logsumexp(x, axis)",
    "long": _FLOATS.format("int64"),
    "masked_fill": "np.where(mask, v, x)",
    "masked_select": "x[mask]",
    "mm": "x @ y",
    "mv": "x @ y",
    "narrow": "x[start : start + n]",
    "nElement": "x.size",
    "neg": "-x",
    "nelement": "x.size",
    "new_ones": "np.ones(shape, x.dtype)",
    "new_zeros": "np.zeros(shape, x.dtype)",
    "norm": "np.linalg.norm(x)",
    "numel": "x.size",
    "permute": "x.transpose(1, 0)",
    "reciprocal": "1 / x",
    "register_hook": "tapegrad.ops.watch_gradient(x, watch=print), in the place of x",
    "relu": "np.maximum(x, 0)",
    "requires_grad": _LEARNS,
    "requires_grad_": _LEARNS,
    "resizeAs": "x.reshape(y.shape)",
    "retain_grad": "tapegrad.grad(f)(x), or tapegrad.ops.watch_gradient(x, watch=print)",
    "roll": "np.roll(x, n, axis)",
    "rsqrt": "1 / np.sqrt(x)",
    "scatter_": "np.put_along_axis(x, i, v, axis)",
    "share_memory_": "x.numpy() in multiprocessing.shared_memory, for values",
    "sigmoid": "tapegrad.ops.sigmoid(x)",
    "softmax": "tapegrad.ops.softmax(x, axis)",
    "split": "np.split(x, ends, axis)",
    "squeeze_": "x = x.squeeze()",
    "stride": "a Tensor shows no memory layout; x.numpy().strides does",
    "t": "x.T",
    "to_numpy": "x.numpy()",
    "topk": "np.sort(x, axis)[..., -n:]",
    "type": "x.astype(dtype)",
    "type_as": "x.astype(y.dtype)",
    "unbind": "list(x)",
    "unsqueeze": "np.expand_dims(x, axis)",
    "unsqueeze_": "x = np.expand_dims(x, axis)",
    "values": "x.numpy()",
    "zero": "x[...] = 0",
    "zero_": "x[...] = 0",
}
