"""PyTorch: wrong first derivatives and wrong values.  `python in_torch_values.py [NAME …]`."""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from _proofs import numeric_gradient, proof, run
from torch import nn
from torch.autograd import grad
from torch.nn import functional as F

SINCE = "2.13.0"
D = torch.float64
torch.set_num_threads(1)


def tracked(values):
    """A float64 tensor that wants a gradient."""
    return torch.tensor(values, dtype=D, requires_grad=True)


@proof(
    "PyTorch",
    source="the same call with a contiguous grad_output; evaluation mode: grad_output itself",
    since=SINCE,
)
def batch_norm_permuted_cotangent():
    """`F.batch_norm` and `nn.BatchNorm3d`, batch of one sample: the gradient of the input is wrong
    (its entries change places) when grad_output is equal but lies in memory in another order.
    """
    v = torch.tensor([1.0, 2, 3, 4], dtype=D).view(1, 2, 2, 1, 1)
    permuted = torch.as_strided(v.transpose(1, 2).contiguous(), v.shape, (1, 1, 2, 4, 4))
    assert torch.equal(v, permuted)

    def found():
        x = tracked([1.0, 2, 3, 4]).view(1, 2, 2, 1, 1)
        y = F.batch_norm(x, torch.zeros(2, dtype=D), torch.ones(2, dtype=D), eps=0.0)
        return grad(y, x, permuted)[0].flatten()

    return v.flatten(), found


@proof("PyTorch", source="the same call with a contiguous grad_output", since=SINCE)
def batch_norm_2d_training_permuted_cotangent():
    """`nn.BatchNorm2d` in training mode, one sample: gradients of input and weight are wrong for a
    grad_output in Fortran order.
    """
    values = torch.tensor([0.3, -1.2, 0.7, 2.0], dtype=D).view(1, 2, 2, 1)
    v = torch.tensor([1.0, -2, 0.5, 3], dtype=D).view(1, 2, 2, 1)

    def gradients(cotangent):
        layer = nn.BatchNorm2d(2).double()
        x = values.clone().requires_grad_()
        return torch.cat([g.flatten() for g in grad(layer(x), (x, layer.weight), cotangent)])

    fortran = v.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    return gradients(v), lambda: gradients(fortran)


@proof(
    "PyTorch", source="evaluation mode with mean 0 and variance 1: grad_output itself", since=SINCE
)
def instance_norm_permuted_cotangent():
    """`nn.InstanceNorm3d(track_running_stats=True)` in evaluation mode: the gradient's entries
    change places for a grad_output in Fortran order (it calls the same kernel).
    """
    v = torch.tensor([1.0, 2, 3, 4], dtype=D).view(2, 2, 1, 1)
    layer = nn.InstanceNorm3d(2, track_running_stats=True, eps=0.0).double().eval()

    def found():
        x = tracked([1.0, 2, 3, 4]).view(2, 2, 1, 1)
        return grad(layer(x), x, v.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0))[
            0
        ].flatten()

    return v.flatten(), found


def _lrn(size):
    x = np.array([0.9, -1.3, 0.4]).reshape(1, 3, 1, 1)
    layer = nn.CrossMapLRN2d(size, 0.5, 0.75, 1.0)
    return x, layer


@proof("PyTorch", source="differences of the layer's own values", since=SINCE)
def cross_map_lrn_gradient():
    """`nn.CrossMapLRN2d(3)`: the gradient is not that of its own values; the window that backward
    uses is another.
    """
    x, layer = _lrn(3)

    def found():
        t = tracked(x)
        return grad(layer(t).sum(), t)[0].numpy()

    return numeric_gradient(lambda z: layer(torch.tensor(z)), x), found


@proof(
    "PyTorch",
    source="F.local_response_norm, which is the same formula: x / (k + α/n Σ x²)^β",
    since=SINCE,
)
def cross_map_lrn_value():
    """`nn.CrossMapLRN2d(3)`: the window of the third channel still holds the first."""
    x, layer = _lrn(3)
    z = np.pad(x[0, :, 0, 0], 1) ** 2
    sums = z[:-2] + z[1:-1] + z[2:]
    right = x[0, :, 0, 0] / (1 + 0.5 / 3 * sums) ** 0.75
    return right, lambda: layer(torch.tensor(x)).flatten()


@proof(
    "PyTorch",
    source="the cofactors of [[1, 2], [2, 4]]",
    since=SINCE,
    known="pytorch/pytorch#104675",
)
def det_singular():
    """`torch.linalg.det`: the gradient at a singular matrix is 0 (with create_graph=True it is
    right).
    """

    def found():
        a = tracked([[1.0, 2], [2, 4]])
        return grad(torch.linalg.det(a), a)[0]

    return [[4.0, -2], [-2, 1]], found


@proof(
    "PyTorch",
    source="‖(1, 1) + t(1, 1)‖∞ rises by t: the gradient's entries add up to 1",
    since=SINCE,
)
def cdist_inf_ties():
    """`torch.cdist(p=inf)`: of differences tied for the largest each gets the whole gradient."""

    def found():
        a, b = tracked([[2.0, 2]]), tracked([[1.0, 1]])
        return grad(torch.cdist(a, b, math.inf).sum(), a)[0].sum()

    return 1.0, found


@proof(
    "PyTorch",
    source="‖(1, 1) + t(1, 1)‖∞ rises by t: the entries of the first row add up to 1",
    since=SINCE,
)
def pdist_inf_ties():
    """`F.pdist(p=inf)`: of differences tied for the largest each gets the whole gradient."""

    def found():
        x = tracked([[2.0, 2], [1, 1]])
        return grad(F.pdist(x, math.inf).sum(), x)[0][0].sum()

    return 1.0, found


@proof(
    "PyTorch",
    source="with grad_output 1 each of two gets 1/2; backward is linear: with −1 each gets −1/2",
    since=SINCE,
)
def segment_max_ties():
    """`torch.segment_reduce("max")`: for a negative grad_output each of the tied entries gets all
    of it.
    """

    def found():
        x = tracked([1.0, 1])
        y = torch.segment_reduce(x, "max", lengths=torch.tensor([2]))
        return grad(y, x, torch.tensor([-1.0], dtype=D))[0]

    return [-0.5, -0.5], found


@proof("PyTorch", source="1/6", since=SINCE, tolerance=1e-12)
def hardsigmoid_slope():
    """`F.hardsigmoid` in float64: the slope 1/6 is that of float32."""

    def found():
        x = tracked([1.0])
        return grad(F.hardsigmoid(x), x)[0]

    return [1 / 6], found


@proof("PyTorch", source="exp(x/α) at x = −0.4", since=SINCE, tolerance=1e-11)
def celu_slope():
    """`F.celu` in float64, α = 0.3: the gradient has the precision of float32."""

    def found():
        x = tracked([-0.4])
        return grad(F.celu(x, 0.3), x)[0]

    return [math.exp(-0.4 / 0.3)], found


@proof(
    "PyTorch",
    source="with p = 1 it is the sum of the window, whose gradient is 1 everywhere",
    since=SINCE,
)
def lp_pool_zero_sum():
    """`nn.LPPool1d(1.0, 2)`: no gradient where a window's sum is 0."""

    def found():
        x = tracked([[[1.0, -1, 2, 3]]])
        return grad(nn.LPPool1d(1.0, 2)(x).sum(), x)[0].flatten()

    return [1.0, 1, 1, 1], found


if __name__ == "__main__":
    sys.exit(run())
