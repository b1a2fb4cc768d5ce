"""PyTorch: errors, and one crash, on legal input.  `python in_torch_crashes.py [NAME …]`."""

from __future__ import annotations

import math
import subprocess
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


def shape_of_gradient(function, shape):
    """The shape of the gradient of zeros of a shape."""
    x = torch.zeros(shape, requires_grad=True)
    y = function(x)
    return list(grad(y, x, torch.ones_like(y))[0].shape)


@proof(
    "PyTorch",
    source="p = 0: a gradient of shape (0, 3)",
    since=SINCE,
    known="pytorch/pytorch#197099",
)
def pdist_empty_crash():
    """`F.pdist(…).backward()` on an empty batch (0 rows) ends the process by a segmentation fault,
    p > 0.
    """
    code = (
        "import torch; torch.set_num_threads(1); x = torch.zeros(0, 3, requires_grad=True); "
        "y = torch.nn.functional.pdist(x, {p}); y.backward(torch.ones_like(y)); "
        "print(tuple(x.grad.shape))"
    )

    def outcome(p):
        done = subprocess.run(
            [sys.executable, "-c", code.format(p=p)], capture_output=True, text=True, check=False
        )
        if done.returncode < 0:
            return f"ended by signal {-done.returncode}"
        return (done.stdout or done.stderr).strip().splitlines()[-1]

    return outcome(0.0), lambda: outcome(2.0)


@proof("PyTorch", source="differences of the sum of 1 + x + x²", since=SINCE)
def vander_backward():
    """`torch.vander(x, n)` has no working backward: an in-place error of its own."""

    def found():
        x = tracked([1.0, 2])
        return grad(torch.vander(x, 3).sum(), x)[0]

    return numeric_gradient(lambda x: np.vander(x, 3), [1.0, 2]), found


@proof(
    "PyTorch", source="the same values in contiguous memory", since=SINCE,
    known="pytorch/pytorch#54135",
)  # fmt: skip
def kron_transposed():
    """`torch.kron` of a transposed matrix, which is not contiguous, raises a view error."""
    a, b = torch.arange(6, dtype=D).view(3, 2).t(), torch.ones(2, 2, dtype=D)
    return torch.kron(a.contiguous(), b), lambda: torch.kron(a, b)


@proof("PyTorch", source="the same values in contiguous memory", since=SINCE)
def conv_tbc_strided():
    """`torch.conv_tbc` of an input that is not contiguous: backward raises a view error."""
    values = torch.arange(12, dtype=D).view(3, 2, 2) / 10
    w, b = torch.ones(2, 2, 2, dtype=D), torch.zeros(2, dtype=D)

    def gradient(t):
        x = t.requires_grad_()
        return grad(torch.conv_tbc(x, w, b, 1).sum(), x)[0]

    right = gradient(values.clone())
    return right, lambda: gradient(values.transpose(0, 2).contiguous().transpose(0, 2).detach())


@proof("PyTorch", source="the shape of the input", since=SINCE)
def pixel_shuffle_empty():
    """`F.pixel_shuffle`: backward of an empty batch raises (a gradient of another shape)."""
    shape = [0, 4, 1, 1]
    return shape, lambda: shape_of_gradient(lambda x: F.pixel_shuffle(x, 2), shape)


@proof("PyTorch", source="the shape of the input", since=SINCE)
def pixel_unshuffle_empty():
    """`F.pixel_unshuffle`: backward of an empty batch raises."""
    shape = [0, 1, 2, 2]
    return shape, lambda: shape_of_gradient(lambda x: F.pixel_unshuffle(x, 2), shape)


@proof("PyTorch", source="the shape of the input; without affine it is given", since=SINCE)
def instance_norm_affine_empty():
    """`nn.InstanceNorm1d(affine=True)` of an empty batch raises IndexError."""
    x = torch.zeros(0, 1, 2)
    right = list(nn.InstanceNorm1d(1)(x).shape)
    return right, lambda: list(nn.InstanceNorm1d(1, affine=True)(x).shape)


@proof("PyTorch", source="numpy.fft.rfft of the same array: shape (0, 2)", since=SINCE)
def fft_empty_batch():
    """`torch.fft.rfft`, `fft`, `fft2` of an empty batch raise an MKL error (builds with MKL)."""
    right = list(np.fft.rfft(np.zeros((0, 3))).shape)
    return right, lambda: list(torch.fft.rfft(torch.zeros(0, 3)).shape)


@proof("PyTorch", source="NaN, as `torch.linalg.solve` and numpy.linalg.solve have it", since=SINCE)
def lstsq_nan():
    """`torch.linalg.lstsq` of NaN fails an internal assertion that asks for a bug report."""
    a = torch.full((3, 1), math.nan)
    return [[math.nan]], lambda: torch.linalg.lstsq(a, torch.ones(3, 1))[0]


@proof("PyTorch", source="NaN: the factor of a 1 × 1 matrix is the matrix", since=SINCE)
def ldl_factor_nan():
    """`torch.linalg.ldl_factor` of NaN fails an internal assertion that asks for a bug report."""
    return [[math.nan]], lambda: torch.linalg.ldl_factor(torch.full((1, 1), math.nan))[0]


if __name__ == "__main__":
    sys.exit(run())
