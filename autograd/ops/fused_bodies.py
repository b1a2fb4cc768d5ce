"""`fuse` lets primitives of several steps, and their rules, run as one loop over memory.

NumPy walks over its arrays once for each step of a body such as softmax's.  With the `fast` extra
the steps are taken apart as `compile` takes them apart, and become one loop, made once for each
dtype and setting and for any number of rows.  The body stays what it is: the declaration, the
oracle, and what runs on small arrays, on other dtypes and elsewhere than on a CPU.

A rule is written in primitives, so that derivatives of derivatives follow.  Where nobody asks for
these, its steps are single calls on bare arrays.  `fuse_rule` gives array code for that case, which
becomes one loop as well.  The rule stays, as the oracle, for small arrays, and for derivatives that
are recorded, batched or pushed forward.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.call import apply
from tapegrad.autograd.core.declaration import Primitive
from tapegrad.autograd.core.eager_kernels import kernel_runner
from tapegrad.autograd.core.mode import interpreter, is_recording
from tapegrad.autograd.core.tensor import Tensor, as_array

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import PrimitiveFunction
    from tapegrad.devices import Array, Namespace

__all__ = [
    "LEAST",
    "fuse",
    "fuse_elementwise",
    "fuse_rule",
    "fused_at_any_size",
    "fused_elementwise",
    "fused_primitives",
    "is_large",
    "runs_unrecorded",
]

LEAST = [4096]  # entries of arrays for which a loop of our own is worth its call


def is_large(x: Array, least: int = LEAST[0]) -> bool:
    """Whether an array has so many entries that machine code is worth its call."""
    return bool(x.size >= min(LEAST[0], least))


@contextmanager
def fused_at_any_size() -> Iterator[None]:
    """Use loops of our own for arrays of any size, as the laws do to look at them."""
    least, LEAST[0] = LEAST[0], 1
    try:
        yield
    finally:
        LEAST[0] = least


_names: list[str] = []
_elementwise: list[str] = []


def fused_primitives() -> list[str]:
    """The names of the primitives whose bodies run as one loop."""
    return list(_names)


def fuse(*functions: PrimitiveFunction[..., Any]) -> None:
    """Let the bodies of these primitives run as one loop each."""
    for function in functions:
        _names.append(function.primitive.name)
        _fuse(function.primitive)


def fuse_elementwise(*functions: PrimitiveFunction[..., Any], warns: bool = False) -> None:
    """Let elementwise functions run as one loop on large arrays.

    warns: NumPy's code computes a result again, with its warnings, that is not finite everywhere
    """
    for function in functions:
        _elementwise.append(function.primitive.name)
        _fuse(function.primitive, _is_finite if warns else None)


def fused_elementwise() -> list[str]:
    """The names of the elementwise functions that run as one loop on large arrays."""
    return list(_elementwise)


def _is_finite(y: Array) -> bool:
    return bool(np.isfinite(y).all())


def fuse_rule(
    function: PrimitiveFunction[..., Any],
    body: Callable[..., Any],
    steps: Callable[..., Any] | None = None,
) -> None:
    """Let the rule for the first argument run as one loop, where no derivative is recorded.

    body: (xp, g, *saved) -> the cotangent, in array code; the rule's own save list, settings after
          the arrays.  A law compares the two.
    steps: the same for kernels, in less steps, of float32
    """
    primitive: Primitive = function.primitive
    rule = primitive.rules[primitive.arguments[0]]
    assert rule is not None
    names = rule.names
    arrays = [name for name in names if name not in primitive.settings]
    settings = names[len(arrays) :]
    gradient = Primitive(
        _named(body, f"{primitive.name}_gradient", arrays, settings), differentiable=False
    )
    if steps is not None:
        gradient.stepwise(_named(steps, gradient.name, arrays, settings))
    _fuse(gradient)
    taped, count = rule.function, len(arrays)

    def run(g: Array, *saved: Any) -> Any:
        if g.size < LEAST[0] or gradient.body_for(np) is gradient.body:
            return taped(g, *saved)
        if type(g) is not np.ndarray and not runs_unrecorded(g, saved):
            return taped(g, *saved)
        options = dict(zip(settings, saved[count:], strict=True))
        return apply(gradient, (g, *saved[:count]), options)

    rule.function = run


def runs_unrecorded(g: Any, saved: tuple[Any, ...]) -> bool:
    """Whether no derivative of the rule is recorded or batched; an observer may look on."""
    if interpreter() is not None or type(as_array(g)) is not np.ndarray:
        return False
    return not is_recording() or not any(isinstance(v, Tensor) and v.tracked for v in (g, *saved))


def _named(
    body: Callable[..., Any], name: str, arrays: list[str], settings: tuple[str, ...]
) -> Callable[..., Any]:
    """The body as that of a primitive, whose arguments may not be called g and y."""
    kinds = inspect.Parameter
    parameters = [kinds(n, kinds.POSITIONAL_OR_KEYWORD) for n in ("xp", "cotangent")]
    parameters += [kinds(f"saved_{n}", kinds.POSITIONAL_OR_KEYWORD) for n in arrays]
    parameters += [kinds(n, kinds.KEYWORD_ONLY) for n in settings]

    def gradient(xp: Namespace, g: Array, *saved: Array, **options: Any) -> Any:
        return body(xp, g, *saved, *options.values())

    gradient.__name__ = gradient.__qualname__ = name
    gradient.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read back
    return gradient


def _fuse(primitive: Primitive, is_good: Callable[[Array], bool] | None = None) -> None:
    """Let a body run as one loop on large arrays, and keep its result if that is good."""
    body, takes_out = primitive.body, primitive.takes_out
    if primitive.steps is None:
        primitive.stepwise(body)

    def fused(xp: Namespace, *operands: Any, out: Array | None = None, **settings: Any) -> Array:
        if np.size(operands[0]) >= LEAST[0]:
            # A result that is not good may not be written over what it is computed from.
            place = out if is_good is None else None
            y = kernel_runner()(primitive, operands, settings, place)
            if y is not None and (is_good is None or is_good(y)):
                if out is None or y is out:
                    return y
                out[...] = y
                return out
        if out is None or takes_out:
            extra = {"out": out} if takes_out else {}
            result: Array = body(xp, *operands, **extra, **settings)
            return result
        out[...] = body(xp, *operands, **settings)
        return out

    primitive.on("numba")(fused)
    inline = primitive.inline
    if inline is not None:

        def large(*operands: Any, out: Array | None = None) -> Array:
            x = operands[0]
            if type(x) is np.ndarray and x.size >= LEAST[0]:
                return fused(np, *operands, out=out)
            result: Array = inline(*operands, out=out)
            return result

        primitive.large = large
