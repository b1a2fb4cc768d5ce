import numpy as np

import tapegrad as tg
from tapegrad import autograd, ops

# %% Replay
step = tg.replay(lambda x: np.sum(x**2))
type(step).__name__
[float(step(np.array([n, 1.0]))) for n in range(3)]


# %% composite
@autograd.composite()
def log_mean_exp(x):
    """The logarithm of the mean of eˣ."""
    return ops.log(ops.mean(ops.exp(x)))


tg.grad(log_mean_exp)(np.array([0.0, 1.0]))

# %% composites
autograd.composites()["std"](np.array([1.0, 3.0]))

# %% primitives
autograd.primitives()["tanh"](np.array([0.0, 1.0]))


# %% ufunc
@autograd.ufunc(np.float_power)
def float_power(x, p):
    """xᵖ in float64, elementwise."""


float_power.vjp(x=lambda g, x, p: g * p * x ** (p - 1), p=lambda g, x, y: g * y * ops.log(x))
tg.grad(lambda x: np.sum(np.float_power(x, 3)))(np.array([1.0, 2.0]))
