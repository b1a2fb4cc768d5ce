"""is_smooth_numpy, is_smooth_torch, is_smooth_jax: is a function made of smooth operations alone?

A gradient of exactly 0 where an entry is exactly 0 is that of a mask, x·(x ≠ 0), or of pieces that
meet there, relu(x) − relu(−x), and no fault; difference quotients cannot tell it from a fault.  But
a function that calls nothing but operations with a derivative everywhere that they are finite has
no mask and no pieces, and one gradient.  What a function calls is seen while it runs: in NumPy by
an array that notes its operations, in PyTorch below autograd (forward code of autograd.Function
too), in JAX in the traced program.  An operation that is not in the lists here, a comparison, or an
array whose calls cannot be followed makes the answer "no", so that nothing is accused by mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["is_smooth_jax", "is_smooth_numpy", "is_smooth_torch"]

# Operations whose derivative exists wherever they and it are finite, and those that move entries:
# of all three, and those that one of them has besides.
_ALL = """
    add sub subtract mul multiply neg negative exp exp2 expm1 sin cos tan sinh cosh tanh asinh
    arcsinh atan arctan log log2 log10 log1p div divide true_divide reciprocal square erf erfc
    sigmoid logistic expit logaddexp logaddexp2 matmul dot tensordot einsum sum mean prod cumsum
    cumprod reshape transpose squeeze expand_dims concatenate stack zeros_like ones_like full_like
    empty_like positive flip roll moveaxis swapaxes broadcast_to trace
"""
_OF_NUMPY = "vecdot outer inner kron vstack hstack take tile repeat split"
_OF_TORCH = """
    rsub silu gelu softplus log_softmax _log_softmax _softmax softmax logsumexp mm bmm addmm baddbmm
    addmv addbmm mv ger vdot linear convolution view _unsafe_view t permute unsqueeze expand slice
    select narrow unbind split split_with_sizes cat clone detach alias _to_copy lift_fresh zeros
    ones full empty arange scalar_tensor new_zeros new_empty new_full new_ones copy_ fill_ zero_
    add_ sub_ mul_ div_ neg_ exp_ addcmul addcdiv lerp rsqrt _reshape_alias as_strided diagonal
    native_layer_norm special_expit mse_loss linalg_vecdot empty_strided unfold tril triu repeat
    special_erfcx erfinv digamma lgamma
"""
_OF_JAX = """
    dot_general reduce_sum reduce_prod convert_element_type broadcast_in_dim slice rsqrt copy iota
    rev pjit jit closed_call custom_vjp_call custom_jvp_call custom_vjp_call_jaxpr lgamma digamma
    conv_general_dilated erf_inv pad
"""
_NUMPY, _TORCH, _JAX = (frozenset((_ALL + own).split()) for own in (_OF_NUMPY, _OF_TORCH, _OF_JAX))


def is_smooth_numpy(function: Callable[..., Any], args: Sequence[np.ndarray]) -> bool:
    """Does a function of arrays call smooth operations of NumPy alone?  False if it raises.

    It is called at two points.  Arrays beside the arguments that differ between them come from an
    argument by a way that was not followed.
    """
    seen: list[list[bytes]] = []
    for shift in (0.0, 1.0):
        noted = _Noted()
        watched = [
            _watch(a + shift if shift and a.dtype.kind == "f" else a.copy(), noted) for a in args
        ]
        try:
            with np.errstate(all="ignore"):
                found = function(*watched)
        except Exception:  # noqa: BLE001  # a user's function may raise anything
            return False
        leaves = found if isinstance(found, (list, tuple)) else [found]
        if noted.doubts or not all(isinstance(leaf, _Watched) for leaf in leaves):
            return False
        seen.append(noted.others)
    return seen[0] == seen[1]


class _Noted:
    """What a run did: whether there is a doubt, and the bytes of other arrays that took part."""

    def __init__(self) -> None:
        self.doubts = False
        self.others: list[bytes] = []


def _watch(array: Any, noted: _Noted) -> Any:
    if isinstance(array, (list, tuple)):
        return type(array)(_watch(item, noted) for item in array)
    if not isinstance(array, (np.ndarray, np.generic)):
        return array
    watched = np.asarray(array).view(_Watched)
    watched.noted = noted
    return watched


def _plain(value: Any, noted: _Noted) -> Any:
    """The argument of an operation without its watch; an array that has none is noted."""
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item, noted) for item in value)
    if isinstance(value, _Watched):
        return value.view(np.ndarray)
    if isinstance(value, (np.ndarray, np.generic)):
        noted.others.append(np.asarray(value).tobytes())
        noted.doubts |= value.dtype.kind == "b"
    return value


class _Watched(np.ndarray):
    """An array that notes the operations that are called with it."""

    noted: _Noted

    def __array_finalize__(self, source: Any) -> None:
        self.noted = getattr(source, "noted", None) or _Noted()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return self._run(ufunc.__name__, getattr(ufunc, method), inputs, kwargs, ufunc)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self._run(func.__name__, func, args, kwargs)

    def _run(self, name: str, call: Any, args: Any, kwargs: Any, ufunc: Any = None) -> Any:
        noted = self.noted
        power = ufunc is np.power and isinstance(args[1], int) and args[1] > 0
        if name not in _NUMPY and not power:
            noted.doubts = True
        plain = {key: _plain(value, noted) for key, value in kwargs.items()}
        return _watch(call(*_plain(tuple(args), noted), **plain), noted)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, _Watched):
            self.noted.doubts = True
        return _watch(self.view(np.ndarray)[key], self.noted)

    def __getattribute__(self, name: str) -> Any:
        if name in _OPAQUE:
            object.__getattribute__(self, "noted").doubts = True
        return object.__getattribute__(self, name)

    def __bool__(self) -> bool:
        self.noted.doubts = True
        return bool(self.view(np.ndarray))

    def __float__(self) -> float:
        self.noted.doubts = True
        return float(self.view(np.ndarray))


# Methods that look at the values and are no operations that could be noted.
_METHODS = """
    sort argsort argmax argmin partition argpartition nonzero item tolist tobytes searchsorted
    choose data ctypes tofile __array_interface__ __array_struct__
"""
_OPAQUE = frozenset(_METHODS.split())


def is_smooth_torch(torch: Any, run: Callable[..., Any], tensors: Sequence[Any]) -> bool:
    """Does a function of tensors call smooth operations of PyTorch alone?  False if it raises."""
    from torch.utils._python_dispatch import TorchDispatchMode

    doubts: list[str] = []

    class Noting(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = func.name().removeprefix("aten::").partition(".")[0]
            power = name == "pow" and isinstance(args[1], int) and args[1] > 0
            if name not in _TORCH and not power:
                doubts.append(name)
            found = func(*args, **(kwargs or {}))
            if isinstance(found, torch.Tensor) and found.dtype is torch.bool:
                doubts.append(name)
            return found

    try:
        with torch.no_grad(), Noting():
            run(*tensors)
    except Exception:  # noqa: BLE001  # a user's function may raise anything
        return False
    return not doubts


def is_smooth_jax(jax: Any, run: Callable[..., Any], args: Sequence[Any]) -> bool:
    """Is the program that JAX traces made of smooth operations alone?  False if it has none."""
    try:
        program = jax.make_jaxpr(run)(*args)
    except Exception:  # noqa: BLE001  # a user's function may raise anything
        return False
    return _is_smooth_program(program.jaxpr)


def _is_smooth_program(program: Any) -> bool:
    for step in program.eqns:
        name = step.primitive.name
        power = name == "integer_pow" and step.params["y"] > 0
        if name not in _JAX and not power:
            return False
        if any(getattr(out.aval, "dtype", None) == np.bool_ for out in step.outvars):
            return False
        for value in step.params.values():
            inner = getattr(value, "jaxpr", value if hasattr(value, "eqns") else None)
            if inner is not None and hasattr(inner, "eqns") and not _is_smooth_program(inner):
                return False
    return True
