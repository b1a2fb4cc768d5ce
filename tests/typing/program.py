"""A program as somebody writes it; mypy and pyright check it, and test_types.py runs it.

`assert_type` holds what a type checker knows about a call. A line that must be refused stands in
`mistakes` with mypy's code: the mark is an error itself once the line is accepted.
"""

from collections.abc import Callable
from typing import Any, assert_type

import numpy as np

import tapegrad as tg
from tapegrad import Parameter, Tensor, nn, ops, optim
from tapegrad.typing import Array, Operand

# NumPy code ---------------------------------------------------------------------------------------


def loss(w: Array, x: Array, scale: float = 1.0) -> Array:
    """Mean squared product."""
    return scale * np.mean((x @ w) ** 2)


x = Tensor(np.ones((4, 2)))
w = Tensor(np.ones((2, 3)))
assert_type(x @ w, Tensor)
assert_type(x + 1, Tensor)
assert_type(2.0 * x, Tensor)
assert_type(-x, Tensor)
assert_type(x[0], Tensor)
assert_type(x.T, Tensor)
assert_type(x.sum(axis=0), Tensor)
assert_type(x.reshape(2, 4), Tensor)
assert_type(x > 0, Tensor)
assert_type(x.shape, tuple[int, ...])
assert_type(float(x.sum()), float)
assert_type(ops.tanh(x), Tensor)
assert_type(ops.sum(x, axis=0), Tensor)


# Derivatives keep the parameters of the function --------------------------------------------------

slope = tg.grad(loss)
slope(np.ones((2, 3)), np.ones((4, 2)), scale=2.0)
tg.value_and_grad(loss)(np.ones((2, 3)), np.ones((4, 2)))
tg.jacobian(loss)(np.ones((2, 3)), np.ones((4, 2)), 1.0)
tg.hessian(loss)(np.ones((2, 3)), np.ones((4, 2)))
value, pull = tg.vjp(np.tanh, np.ones(3))
tg.jvp(loss, (np.ones((2, 3)), np.ones((4, 2))), (np.ones((2, 3)), np.ones((4, 2))))
tg.hvp(lambda v: (v**3).sum(), np.ones(3), np.ones(3))


@tg.replay
def step(x: Tensor, rate: float) -> Tensor:
    """One recorded step."""
    return rate * (x @ x.T).sum()


# Layers -------------------------------------------------------------------------------------------


class Scale(nn.Module):
    """y = x · weight."""

    def __init__(self, n: int) -> None:
        self.weight = Parameter(np.ones(n))

    def updateOutput(self, x: Tensor) -> Tensor:
        return x * self.weight


layer = nn.Linear(2, 3)
assert_type(layer(x), Tensor)
assert_type(layer.forward(x), Tensor)
assert_type(layer.weight, Parameter)
assert_type(Scale(2)(x), Tensor)
model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), Scale(3))
y: Tensor = model(x)  # a container may return a table: its type is not known
assert_type(model.add(nn.ReLU()), nn.Sequential)
model.backward(x, model.forward(x))
criterion = nn.MSECriterion()
assert_type(criterion(y, x @ w), Tensor)
criterion(model(x), x @ w).backward()
model.zeroGradParameters()
parameters: list[Parameter] = list(model.parameters()[0])

optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
optimizer.zero_grad()
optimizer.step()
trainer = optim.Trainer(model, criterion, optimizer, metrics=["mae"])
checked: nn.Module = Scale(2).double().training().evaluate()

again = nn.load("model.safetensors") if __name__ == "never" else model
again.evaluate().forward(x)


# A primitive of one's own -------------------------------------------------------------------------


@tg.primitive
def cube(xp: Any, x: Array) -> Array:
    """x³, elementwise."""
    return x * x * x


cube.vjp(x=lambda g, x: 3 * g * x * x)
assert_type(cube(x), Tensor)


def apply_twice(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f(f(x)); modules are functions of Tensors."""
    return f(f(x))


apply_twice(nn.Tanh(), x)
operands: list[Operand] = [x, 1.0, [1, 2], np.ones(3)]
try:
    layer(Tensor(np.ones((4, 7))))
except tg.errors.ShapeError as error:
    assert_type(str(error), str)


def mistakes() -> None:
    """Call things as they cannot be called; each line is wrong."""
    slope(np.ones((2, 3)), np.ones((4, 2)), scal=2.0)  # type: ignore[call-arg]
    slope(np.ones((2, 3)))  # type: ignore[call-arg]
    tg.jacobian(loss)()  # type: ignore[call-arg]
    step(x)  # type: ignore[call-arg]
    cube()  # type: ignore[call-overload]
