"""Modules whose Parameters stand under unusual names, for the state machine of modules."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd import Parameter


class Count(nn.Module):
    """y = x in training mode, x/2 otherwise; counts calls in training mode in a private buffer."""

    def __init__(self):
        self._calls = nn.Buffer(np.zeros(1))

    def updateOutput(self, x):
        if self.train:
            self._calls.assign(self._calls + 1)
        return x if self.train else x * 0.5


class Block(nn.Module):
    """A scale of its own and children, under private names, names of results, and equal keys."""

    def __init__(self, children):
        first, *rest = children
        self._scale = Parameter(np.ones(3, np.float32))
        self.output = first
        self._rest = {1: rest[0], "1": rest[1]} if len(rest) == 2 else rest

    def updateOutput(self, x):
        x = self.output(x * self._scale)
        for child in self._rest.values() if isinstance(self._rest, dict) else self._rest:
            x = child(x)
        return x


class Center(nn.Criterion):
    """mean((x - c)²) with a learned c."""

    def __init__(self):
        self.center = Parameter(np.ones(3, np.float32))

    def updateOutput(self, x, target=None):
        return ((x - self.center) ** 2).mean()


def data(seed, dtype):
    return np.random.default_rng(seed).standard_normal((4, 3)).astype(dtype)
