"""Functions of NumPy, and other calls, that Tensors refuse: why, and what to write instead."""

from __future__ import annotations

__all__ = ["NOT_SUPPORTED", "REFUSED_CALLS", "REFUSED_OPTIONS", "remark_on"]

_PROTOCOL = "NumPy asks no protocol here; use the Tensor itself, np.stack or tapegrad.ops.array"

# name: (error, remark, whether it has a mathematical derivative)
NOT_SUPPORTED = {
    "array": ("TypeError", _PROTOCOL, True),
    "asanyarray": ("TypeError", _PROTOCOL, True),
    "asarray": ("TypeError", _PROTOCOL, True),
    "asarray_chkfinite": ("TypeError", _PROTOCOL, True),
    "ascontiguousarray": ("TypeError", _PROTOCOL, True),
    "asfortranarray": ("TypeError", _PROTOCOL, True),
    "asmatrix": ("TypeError", _PROTOCOL, True),
    "bmat": ("TypeError", _PROTOCOL, True),
    "full": ("TypeError", "NumPy asks no protocol here; use tapegrad.ops.full(shape, x)", True),
    "require": ("TypeError", _PROTOCOL, True),
    "histogram2d": ("TypeError", "np.histogram has a derivative in its weights", True),
    "histogramdd": ("TypeError", "np.histogram has a derivative in its weights", True),
    "isfortran": ("AttributeError", "a Tensor shows no memory order", False),
    "isnat": ("TypeError", "Tensors hold numbers, no dates", False),
    "ix_": ("TypeError", "np.ix_(i.numpy(), j.numpy())", False),
    "save": ("TypeError", "np.save(file, x.numpy())", False),
    "savetxt": ("TypeError", "np.savetxt(file, x.numpy())", False),
    "savez": ("TypeError", "np.savez(file, x=x.numpy())", False),
    "savez_compressed": ("TypeError", "np.savez_compressed(file, x=x.numpy())", False),
}

# What else is refused: a call, and why or what to write.
REFUSED_CALLS = {
    "`float(t)`, `int(t)`, `complex(t)`, `math.exp(t)`, `array[i] = t`, callbacks of SciPy": (
        "a number has no gradient; refused while a function is being differentiated or a module's "
        "forward code runs. `t.item()` is the value; `np.zeros_like(x)` can be filled"
    ),
    "`np.array([t, u])`, `np.float64(t)`": (
        "an ndarray has no gradient; `np.stack([t, u])`, `tapegrad.ops.array`"
    ),
    "`pickle.dumps(t)`, copies of a Parameter": "as `float(t)`; `x.copy()` keeps the gradient",
    "`np.matrix`, masked arrays, other subclasses with operators of their own": (
        "their arithmetic is not a Tensor's; `np.asarray(m)`, `np.where(mask, 0, x)`"
    ),
    "`np.ma.exp(t)` and all of `np.ma`": "they read bare memory; `np.where(mask, 0, x)`",
    "sparse matrices": "`A.toarray() @ x`, or `tapegrad.custom_vjp`",
    "frames and series of pandas": "`df.to_numpy() @ w`",
    "`out=` an ndarray": "the target must be a Tensor",
    "`x.view()`, `x.base`, `x.strides`, `x.flags`": "AttributeErrors that say what to write",
    "writes that would lose a derivative": "InPlaceError: [writing into Tensors](writing.md)",
}

# Options of functions that are supported otherwise: a call, and why it is refused.
REFUSED_OPTIONS = {
    "ufunc(where=) without out=": (
        "the entries that are left out would have no value; `out=np.zeros_like(x)`"
    ),
    "linalg.qr(mode='raw')": "Householder vectors are LAPACK's; mode='reduced' has a derivative",
    "pad(mode=function)": "the function would write into an array",
    "quantile(q=), quantile(weights=)": "tracked ones, in which it has no derivative here",
    "cov(dtype=int)": "a covariance is no integer",
    "sort(order=), argsort(order=)": "Tensors have no fields",
    "sliding_window_view(writeable=True)": "its entries stand in several places",
    "emath": "in vmap and replay: the values decide whether the result is complex",
}


def remark_on(name: str) -> str:
    """What to write instead of a function that is not supported, as a sentence, or ""."""
    remark = NOT_SUPPORTED.get(name, ("", "", False))[1]
    return f"Instead: {remark}." if remark.startswith("np.") else remark and f"{remark}."
