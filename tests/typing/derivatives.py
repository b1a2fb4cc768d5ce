"""What a type checker must accept, infer and refuse; .ci/run gives this file to mypy.

An error that must be one stands behind `type: ignore`, which mypy reports where it is not needed.
"""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np

import tapegrad as tg
from tapegrad import Tensor


def f(x: Tensor, w: Tensor, *, scale: float = 1.0) -> Tensor:
    return x * w * scale


x = Tensor(1.0)

# Functions of functions keep the parameters of fn.
tg.grad(f)(x, x, scale=2.0)
tg.grad(f)(x)  # type: ignore[call-arg]
tg.grad(f)(x, x, sale=2.0)  # type: ignore[call-arg]
tg.value_and_grad(f)(x)  # type: ignore[call-arg]
tg.jacobian(f)(x)  # type: ignore[call-arg]
tg.hessian(f)(x)  # type: ignore[call-arg]
tg.elementwise_grad(f)(x)  # type: ignore[call-arg]
tg.vmap(f)(x)  # type: ignore[call-arg]
tg.per_sample_grad(f)(x)  # type: ignore[call-arg]
tg.replay(f)(x)  # type: ignore[call-arg]
tg.checkpoint(f)(x)  # type: ignore[call-arg]
assert_type(tg.checkpoint(f)(x, x), Tensor)
assert_type(tg.value_and_grad(f)(x, w=x), tuple[Any, Any])
tg.grad(tg.grad(f, "w"), "x")(x, x, scale=2.0)
tg.replay(f)(x, w=x)

# NumPy's functions, which are typed by overloads, go in as they are.
tg.elementwise_grad(np.sin)(np.ones(3))
tg.replay(np.exp)(np.ones(3))
tg.jacobian(np.fft.fft)(np.ones(3))
tg.vmap(np.dot, in_axes=(0, None))(np.eye(3), np.ones(3))

# Products answer in the form of args.
assert_type(tg.vjp(f, (x, x))[1](x), tuple[Any, ...])
assert_type(tg.vjp(f, {"x": x, "w": x})[1](x), dict[str, Any])
tg.vjp(np.sin, np.ones(3))[1](np.ones(3))
tg.vjp(f, (x,), argnums="w", w=x, scale=2.0)[1](x)
tg.vjp(f, x, x)  # type: ignore[call-overload]
tg.jvp(f, (x, x), (x, x), scale=2.0)
tg.hvp(np.prod, x, x)
