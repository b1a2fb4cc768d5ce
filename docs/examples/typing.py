import numpy as np

import tapegrad as tg
from tapegrad import typing


# %% Array Operand Axes Scalar
def norm(x: typing.Operand, axis: typing.Axes = None, scale: typing.Scalar = 1.0) -> typing.Array:
    return scale * np.sqrt(np.sum(np.square(x), axis=axis))


norm(np.array([[3.0, 4.0]]), axis=1)


# %% DTypeLike Shape
def ones(shape: typing.Shape, dtype: typing.DTypeLike = "float32") -> np.ndarray:
    return np.ones(shape, dtype)


ones((2,))


# %% Namespace
def softplus(xp: typing.Namespace, x: typing.Array) -> typing.Array:
    return xp.logaddexp(x, 0)


softplus(np, np.array([0.0, 1.0]))


# %% Nest
def loss(weights: typing.Nest) -> tg.Tensor:
    return np.sum(weights["w"] ** 2) + weights["b"] ** 2


tg.grad(loss)({"w": np.array([1.0, 2.0]), "b": 3.0})
