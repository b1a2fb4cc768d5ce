"""PyTorch: a NaN that disappears.  `python in_torch_nan.py [NAME …]`."""

from __future__ import annotations

import math
import sys

import torch
from _proofs import proof, run
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SINCE = "2.13.0"
D = torch.float64
torch.set_num_threads(1)


@proof("PyTorch", source="the same call with the math kernel", since=SINCE)
def attention_nan_query():
    """`F.scaled_dot_product_attention`, flash kernel on the CPU: a NaN query gives 0; so do
    MultiheadAttention and the Transformer layers.
    """
    q = torch.full((1, 1, 1, 2), math.nan, dtype=D)
    k = torch.tensor([[[[0.3, -0.2], [1.0, 0.5]]]], dtype=D)

    def with_kernel(kernel):
        with sdpa_kernel(kernel):
            return F.scaled_dot_product_attention(q, k, k).flatten()

    right = with_kernel(SDPBackend.MATH)
    return right, lambda: with_kernel(SDPBackend.FLASH_ATTENTION)


@proof("PyTorch", source="p = 2 and `F.pdist(p=inf)` of the same rows are NaN", since=SINCE)
def cdist_inf_nan():
    """`torch.cdist(p=inf)`: a NaN is ignored."""

    def distance(p):
        a = torch.tensor([[math.nan, 0.0]], dtype=D)
        return torch.cdist(a, torch.tensor([[1.0, 0.5]], dtype=D), p)

    return distance(2), lambda: distance(math.inf)


@proof(
    "PyTorch",
    source='the same bag in another order, mode="sum", and `amax` of the rows are NaN',
    since=SINCE,
)
def embedding_bag_max_nan():
    """`F.embedding_bag(mode="max")`: a NaN row is ignored unless it is the first of its bag."""
    rows = torch.tensor([[math.nan], [1.0]])
    return rows.amax(0, keepdim=True), lambda: F.embedding_bag(
        torch.tensor([[1, 0]]), rows, mode="max"
    )


@proof(
    "PyTorch", source="max(0, 1 − x[y] + NaN) is NaN, as `torch.clamp(min=0)` has it", since=SINCE
)
def multi_margin_loss_nan():
    """`F.multi_margin_loss` of a NaN score is 0."""
    x = torch.tensor([[math.nan, 0.0]])
    right = torch.clamp(1 - x[0, 1] + x[0, :1], min=0).sum() / 2
    return right, lambda: F.multi_margin_loss(x, torch.tensor([1]))


@proof(
    "PyTorch", source="max(0, 1 − x[y] + NaN) is NaN, as `torch.clamp(min=0)` has it", since=SINCE
)
def multilabel_margin_loss_nan():
    """`F.multilabel_margin_loss` of a NaN score is 0."""
    x = torch.tensor([[math.nan, 0.0]])
    right = torch.clamp(1 - x[0, 1] + x[0, :1], min=0).sum() / 2
    return right, lambda: F.multilabel_margin_loss(x, torch.tensor([[1, -1]]))


@proof(
    "PyTorch",
    source="P₃(x) = (5x³ − 3x)/2 of NaN is NaN, as chebyshev_polynomial_t has it",
    since=SINCE,
)
def legendre_nan():
    """`torch.special.legendre_polynomial_p` of NaN returns memory that was not set."""
    x = torch.full((4,), math.nan, dtype=D)
    return (5 * x**3 - 3 * x) / 2, lambda: torch.special.legendre_polynomial_p(x, torch.tensor(3))


@proof(
    "PyTorch",
    source="L₂(x) = 1 − 2x + x²/2 of NaN is NaN, as chebyshev_polynomial_t has it",
    since=SINCE,
)
def laguerre_nan():
    """`torch.special.laguerre_polynomial_l` of NaN returns memory that was not set."""
    x = torch.full((4,), math.nan, dtype=D)
    return 1 - 2 * x + x**2 / 2, lambda: torch.special.laguerre_polynomial_l(x, torch.tensor(2))


if __name__ == "__main__":
    sys.exit(run())
