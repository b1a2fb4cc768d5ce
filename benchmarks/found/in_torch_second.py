"""PyTorch: wrong second derivatives.  `python in_torch_second.py [NAME …]`."""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from _proofs import numeric_gradient, proof, run
from torch.autograd import grad
from torch.nn import functional as F

SINCE = "2.13.0"
D = torch.float64
torch.set_num_threads(1)


def tracked(values):
    """A float64 tensor that wants a gradient."""
    return torch.tensor(values, dtype=D, requires_grad=True)


def first(function, x):
    """The gradient of the sum of function(x), as a NumPy array."""
    t = tracked(x)
    return grad(function(t).sum(), t)[0].numpy()


def second(function, x):
    """The gradient of the sum of the gradient."""
    t = tracked(x)
    [g] = grad(function(t).sum(), t, create_graph=True)
    return grad(g.sum(), t)[0]


@proof("PyTorch", source="differences of the library's own first derivative", since=SINCE)
def weight_norm_second():
    """`weight_norm` (`torch._weight_norm`, `parametrizations.weight_norm`): the second derivative
    with respect to v is wrong, the Hessian not symmetric.
    """
    v0 = np.array([[0.6, -1.1]])

    def weight(v):
        return torch._weight_norm(v, torch.ones(1, 1, dtype=D), 0)[0, :1]

    def found():
        return second(weight, v0)

    return numeric_gradient(lambda v: first(weight, v), v0), found


@proof("PyTorch", source="−π²/3", since=SINCE)
def sinc_second():
    """`torch.sinc`, `torch.special.sinc`: the second derivative at 0 is NaN."""
    return [-(math.pi**2) / 3], lambda: second(torch.sinc, [0.0])


@proof("PyTorch", source="constant for x < eps and x > 1 − eps: 0", since=SINCE)
def logit_eps_second():
    """`torch.logit(x, eps)`: the second derivative is NaN at 0 and at 1, where the function is
    flat.
    """
    return [0.0, 0.0], lambda: second(lambda x: torch.logit(x, 0.1), [0.0, 1.0])


@proof("PyTorch", source="differences of the library's own gradient by w", since=SINCE)
def prelu_mixed():
    """`F.prelu` at x = 0: the gradient of x is w, but the derivative of that by w is 0."""

    def gradient(w):
        x = tracked([[0.0]])
        return grad(F.prelu(x, torch.tensor(w)).sum(), x)[0].numpy()

    def found():
        x, w = tracked([[0.0]]), tracked([0.25])
        [g] = grad(F.prelu(x, w).sum(), x, create_graph=True)
        return grad(g.sum(), w)[0]

    return numeric_gradient(gradient, [0.25]), found


@proof("PyTorch", source="∂²(x^y)/∂x∂y = x^(y−1) (1 + y log x): 1/x at y = 0", since=SINCE)
def pow_mixed():
    """`torch.pow`, `torch.float_power` of two tensors: at exponent 0 the derivative of the base's
    gradient by the exponent is 0 (in the other order it is right).
    """

    def found():
        x, y = tracked(2.0), tracked(0.0)
        [g] = grad(torch.pow(x, y), x, create_graph=True)
        return grad(g, y)[0]

    return 0.5, found


if __name__ == "__main__":
    sys.exit(run())
