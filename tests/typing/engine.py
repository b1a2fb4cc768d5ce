"""Code of a user, with the types that a type checker must find in it.

`.ci/run` gives this file to mypy, which compares each `assert_type`; `test_types.py` runs it, where
`assert_type` does nothing, so that what is checked is also code that works.
"""

from typing import assert_type

import numpy as np

import tapegrad as tg
from tapegrad.autograd import ops
from tapegrad.typing import Array, Namespace

x = tg.Tensor([[1.0, 2.0], [3.0, 4.0]])
w = tg.Parameter(np.ones((2, 2)))

# Operators, methods and attributes give Tensors, on a Parameter too.
assert_type(x @ w, tg.Tensor)
assert_type(x + 1, tg.Tensor)
assert_type(2.0 / w, tg.Tensor)
assert_type(-w, tg.Tensor)
assert_type(x == 1, tg.Tensor)
assert_type(x[0], tg.Tensor)
assert_type(x[:, None], tg.Tensor)
assert_type(x.T, tg.Tensor)
assert_type(x.sum(), tg.Tensor)
assert_type(x.mean(axis=(0, 1), keepdims=True), tg.Tensor)
assert_type(x.reshape(4).max(), tg.Tensor)
assert_type(x.shape, tuple[int, ...])
assert_type([row for row in x], list[tg.Tensor])  # noqa: C416  # iteration is what is checked
assert_type(w.detach(), tg.Tensor)
assert_type(divmod(x, 2), tuple[tg.Tensor, tg.Tensor])

# Primitives are callables with the names of their bodies' parameters.
assert_type(ops.log(x), tg.Tensor)
assert_type(ops.sum(x, axis=0, keepdims=True), tg.Tensor)
assert_type(ops.sum(x, 0, keepdims=True), tg.Tensor)


def _mistakes() -> None:
    """Each line is wrong; mypy reports an ignored error that is none (warn_unused_ignores)."""
    ops.log()  # type: ignore[call-arg]
    ops.log(x, x)  # type: ignore[call-arg]
    ops.log(y=x)  # type: ignore[call-arg]
    ops.sum(x, axes=0)  # type: ignore[call-overload]
    x.sum(axes=0)  # type: ignore[call-arg]
    x.no_such_method()  # type: ignore[attr-defined]
    x @ object()  # type: ignore[operator]


# A primitive of the user's own.
@tg.primitive
def _double(xp: Namespace, x: Array) -> Array:
    return x * 2


_double.vjp(x=lambda g: g * 2)
assert_type(_double(x), tg.Tensor)


@tg.primitive(domain={"x": (0, None)})
def _root(xp: Namespace, x: Array, *, shift: float = 0.0, out: Array | None = None) -> Array:
    return xp.sqrt(x + shift, out=out)


_root.vjp(x=lambda g, y: g / (2 * y))
assert_type(_root(x, shift=1.0), tg.Tensor)


@tg.primitive(several=True)
def _halves(xp: Namespace, x: Array) -> list[Array]:
    return [x / 2, x - x / 2]


_halves.vjp(x=lambda g: None)
assert_type(_halves(x), list[tg.Tensor])
