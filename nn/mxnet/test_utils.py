"""mx.test_utils: comparisons and checks for tests of symbols.  Source: mx.test_utils."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.nn.mxnet.context import Context, cpu, current_context, num_gpus
from tapegrad.nn.mxnet.ndarray.ndarray import NDArray, array, as_array, zeros
from tapegrad.nn.mxnet.random import draw_uniform

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.symbol.symbol import Symbol
    from tapegrad.nn.mxnet.types import (
        ArrayLike,
        DTypeLike,
        GradReq,
        NDArrayLike,
        NDArrays,
        ParamsLike,
    )


__all__ = [
    "almost_equal",
    "assert_almost_equal",
    "check_numeric_gradient",
    "check_symbolic_backward",
    "check_symbolic_forward",
    "default_context",
    "default_dtype",
    "list_gpus",
    "rand_ndarray",
    "rand_shape_2d",
    "rand_shape_3d",
    "rand_shape_nd",
    "same",
    "same_array",
    "simple_forward",
]


def default_context() -> Context:
    """The current context."""
    return current_context()


def default_dtype() -> type[np.float32]:
    """float32."""
    return np.float32


def list_gpus() -> range:
    """The numbers of the GPUs."""
    return range(num_gpus())


def _bare(x: Any) -> np.ndarray:
    return x.asnumpy() if isinstance(x, NDArray) else np.asarray(x)


def same(a: ArrayLike, b: ArrayLike) -> bool:
    """Are all entries equal?"""
    return np.array_equal(_bare(a), _bare(b))


def same_array(array1: NDArray, array2: NDArray) -> bool:
    """Do two arrays share their memory?"""
    first, second = array1.tensor.data, array2.tensor.data
    return bool(devices.namespace(first).shares_memory(first, second))


def almost_equal(
    a: ArrayLike, b: ArrayLike, rtol: float = 1e-5, atol: float = 1e-20, equal_nan: bool = False
) -> bool:
    """Is |a - b| <= atol + rtol·|b| everywhere?"""
    return bool(np.allclose(_bare(a), _bare(b), rtol, atol, equal_nan))


def assert_almost_equal(
    a: ArrayLike,
    b: ArrayLike,
    rtol: float = 1e-5,
    atol: float = 1e-20,
    names: Sequence[str] = ("a", "b"),
    equal_nan: bool = False,
) -> None:
    """Raise AssertionError, with the largest difference, unless `almost_equal`."""
    np.testing.assert_allclose(
        _bare(a), _bare(b), rtol, atol, equal_nan, err_msg=f"{names[0]} and {names[1]} differ"
    )


def rand_shape_2d(dim0: int = 10, dim1: int = 10) -> tuple[int, ...]:
    """Two lengths, from 1 to the given ones."""
    return rand_shape_nd(2, (dim0, dim1))


def rand_shape_3d(dim0: int = 10, dim1: int = 10, dim2: int = 10) -> tuple[int, ...]:
    """Three lengths, from 1 to the given ones."""
    return rand_shape_nd(3, (dim0, dim1, dim2))


def rand_shape_nd(num_dim: int, dim: int | Sequence[int] = 10) -> tuple[int, ...]:
    """Lengths of `num_dim` axes, from 1 to `dim`, by NumPy's global generator."""
    ends = [dim] * num_dim if isinstance(dim, int) else dim
    return tuple(int(np.random.randint(1, n + 1)) for n in ends)  # noqa: NPY002  # users seed it


def rand_ndarray(
    shape: Sequence[int],
    stype: str = "default",
    dtype: DTypeLike | None = None,
    ctx: Context | None = None,
) -> NDArray:
    """Draws from U[-1, 1)."""
    found = array(draw_uniform(-1, 1, tuple(shape), ctx), ctx, dtype or np.float32)
    return found.tostype(stype)


def simple_forward(
    sym: Symbol, ctx: Context | None = None, is_train: bool = False, **inputs: Any
) -> Any:
    """The output, or a list of them, as NumPy arrays, for inputs by name."""
    arrays = {name: as_array(x) for name, x in inputs.items()}
    executor = sym.bind(ctx or cpu(), arrays, grad_req="null")
    outputs = [y.asnumpy() for y in executor.forward(is_train=is_train)]
    return outputs[0] if len(outputs) == 1 else outputs


def _located(names: Sequence[str], location: Any) -> dict[str, NDArray]:
    given = location if isinstance(location, Mapping) else dict(zip(names, location, strict=True))
    return {name: array(_bare(given[name])) for name in names}


def check_symbolic_forward(
    sym: Symbol,
    location: ParamsLike | Sequence[NDArrayLike],
    expected: ParamsLike | Sequence[NDArrayLike],
    rtol: float = 1e-4,
    atol: float = 1e-6,
    aux_states: ParamsLike | Sequence[NDArrayLike] | None = None,
    ctx: Context | None = None,
) -> list[NDArray]:
    """Raise AssertionError unless the outputs at `location` (by name or in order) are `expected`.

    Returns the outputs.
    """
    arrays = _located(sym.list_arguments(), location)
    states = _located(sym.list_auxiliary_states(), aux_states or {})
    executor = sym.bind(ctx or cpu(), arrays, grad_req="null", aux_states=states)
    outputs: list[NDArray] = executor.forward(is_train=False)
    names = sym.list_outputs()
    wanted = expected if not isinstance(expected, Mapping) else [expected[n] for n in names]
    for name, y, value in zip(names, outputs, wanted, strict=True):
        assert_almost_equal(y, value, rtol, atol, (name, "expected"))
    return outputs


def _gradients(
    sym: Any, arrays: Mapping[str, NDArray], states: Any, heads: Any, grad_req: Any, ctx: Any
) -> dict[str, NDArray]:
    buffers = {name: zeros(x.shape) for name, x in arrays.items()}
    executor = sym.bind(ctx or cpu(), arrays, buffers, grad_req, states)
    executor.forward(is_train=True)
    executor.backward(heads)
    return {name: g for name, g in executor.grad_dict.items() if g is not None}


def check_symbolic_backward(
    sym: Symbol,
    location: ParamsLike | Sequence[NDArrayLike],
    out_grads: NDArrays | None,
    expected: ParamsLike | Sequence[NDArrayLike],
    rtol: float = 1e-5,
    atol: float = 1e-20,
    aux_states: ParamsLike | Sequence[NDArrayLike] | None = None,
    grad_req: GradReq = "write",
    ctx: Context | None = None,
) -> dict[str, NDArray]:
    """Raise AssertionError unless the gradients at `location` are `expected`; returns them."""
    names = sym.list_arguments()
    arrays = _located(names, location)
    states = _located(sym.list_auxiliary_states(), aux_states or {})
    heads = None if out_grads is None else [array(_bare(g)) for g in out_grads]
    found = _gradients(sym, arrays, states, heads, grad_req, ctx)
    given = expected if isinstance(expected, Mapping) else dict(zip(names, expected, strict=True))
    for name, g in found.items():
        if name in given:
            assert_almost_equal(g, given[name], rtol, atol, (f"gradient of {name}", "expected"))
    return found


def check_numeric_gradient(
    sym: Symbol,
    location: ParamsLike | Sequence[NDArrayLike],
    aux_states: ParamsLike | Sequence[NDArrayLike] | None = None,
    numeric_eps: float = 1e-3,
    rtol: float = 1e-2,
    atol: float = 1e-3,
    grad_nodes: Sequence[str] | None = None,
    ctx: Context | None = None,
) -> None:
    """Raise AssertionError unless gradients agree with (f(x + h) - f(x - h)) / 2h.

    f is the sum of the output times fixed random numbers; h is `numeric_eps`.
    """
    names = sym.list_arguments()
    arrays = _located(names, location)
    states = _located(sym.list_auxiliary_states(), aux_states or {})
    executor = sym.bind(ctx or cpu(), arrays, grad_req="null", aux_states=states)
    heads = [draw_uniform(0.1, 1.1, y.shape) for y in executor.forward(is_train=True)]

    def value() -> float:
        outputs = executor.forward(is_train=True)
        return float(
            sum(
                np.sum(y.asnumpy().astype(np.float64) * h)
                for y, h in zip(outputs, heads, strict=True)
            )
        )

    found = _gradients(sym, arrays, states, [array(h) for h in heads], "write", ctx)
    for name in grad_nodes or names:
        memory = arrays[name].tensor.data
        slope = np.zeros(memory.shape)
        for i in np.ndindex(*memory.shape):
            before = memory[i]
            ends = []
            for step in (numeric_eps, -numeric_eps):
                memory[i] = before + step
                ends.append(value())
            memory[i] = before
            slope[i] = (ends[0] - ends[1]) / (2 * numeric_eps)
        assert_almost_equal(found[name], slope, rtol, atol, (f"gradient of {name}", "differences"))
