"""Dropout: random zeros while training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from tapegrad.autograd import Tensor, ops
from tapegrad.nn._text import torch7_name
from tapegrad.nn.module import Module

__all__ = ["Dropout"]

NO_PROBABILITY = "Dropout: p is {p}, it must be 0 <= p < 1"


class Dropout(Module):
    """y = x·noise, where an entry of noise is 0 with probability p, else 1 / (1 - p).

    x: any shape -> the same shape.  In evaluate() y = x.  `noise` holds the factors of the last
    call that drew them.
    v1: the first version, which does not divide by 1 - p in training and multiplies by it in
    evaluate().  stochasticInference: draw in evaluate() too.  inplace: accepted and kept; the
    caller's arrays are never overwritten.
    Raises ValueError unless 0 <= p < 1.  Source: nn.Dropout; N. Srivastava et al., "Dropout", JMLR
    15 (2014).
    """

    torch7_arguments: ClassVar[Mapping[str, str]] = {}  # a probability and three flags

    def __init__(
        self,
        p: float = 0.5,
        v1: bool = False,
        inplace: bool = False,
        stochasticInference: bool = False,
    ) -> None:
        self.setp(p)
        self.v2 = not v1
        self.inplace = bool(inplace)
        self.stochastic_inference = bool(stochasticInference)
        self.noise: Any = None

    def setp(self, p: float) -> Self:
        """Drop with another probability from now on."""
        if not 0 <= p < 1:
            raise ValueError(NO_PROBABILITY.format(p=p))
        self.p = p
        return self

    def updateOutput(self, x: Any) -> Any:
        if self.p == 0:
            return x
        if self.train or self.stochastic_inference:
            stream = self.random_stream(x)
            kept = ops.bernoulli(generator=stream, p=1 - self.p, shape=x.shape, dtype=x.dtype)
            noise = Tensor(kept)
            self.noise = noise / (1 - self.p) if self.v2 else noise
            return x * self.noise
        return x if self.v2 else x * (1 - self.p)

    def clearState(self) -> Self:
        """Forget outputs, gradients of inputs, and the noise."""
        self.noise = None
        return super().clearState()

    def __repr__(self) -> str:
        return f"{torch7_name(self)}({self.p:f})"
