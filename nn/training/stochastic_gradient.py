"""StochasticGradient: the training loop of Torch7's nn, which is older than its optim."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices

if TYPE_CHECKING:
    from tapegrad.nn.criterions.criterion import Criterion
    from tapegrad.nn.module import Module

__all__ = ["StochasticGradient"]


class StochasticGradient:
    """Trains a module sample by sample: p -= learningRate · gradient after each.

    The attributes are settings:
    learningRate 0.01;  learningRateDecay 0: the rate of the first epoch is learningRate, that of
    epoch k, from the second, learningRate/(1 + k·learningRateDecay), as in Torch7;
    maxIteration 25: the number of epochs, without end when 0 or less;
    shuffleIndices True: whether to shuffle the samples, once;  verbose True: whether to print the
    mean loss of each epoch;
    hookExample: called with (self, (x, target)) after each sample;
    hookIteration: called with (self, epoch, mean loss, rate) after each epoch.
    Source: nn.StochasticGradient.
    """

    def __init__(self, module: Module, criterion: Criterion) -> None:
        self.module = module
        self.criterion = criterion
        self.learningRate = 0.01
        self.learningRateDecay = 0.0
        self.maxIteration = 25
        self.shuffleIndices = True
        self.verbose = True
        self.hookExample: Callable[..., Any] | None = None
        self.hookIteration: Callable[..., Any] | None = None

    def train(self, dataset: Any) -> list[float]:
        """Run the epochs; returns the mean loss of each.

        dataset: a sequence of pairs (x, target), or an object with `size()` whose items 0, 1, … are
        such pairs
        """
        count = dataset.size() if callable(getattr(dataset, "size", None)) else len(dataset)
        order = np.arange(count)
        if self.shuffleIndices:
            order = np.argsort(devices.generator("cpu").uniform((count,), np.float64))
        losses: list[float] = []
        rate, epoch = self.learningRate, 1
        while True:
            total = 0.0
            for position in order:
                x, target = dataset[int(position)]
                total += float(self.criterion.forward(self.module.forward(x), target))
                g = self.criterion.updateGradInput(self.module.output, target)
                self.module.updateGradInput(x, g)
                self.module.accUpdateGradParameters(x, g, rate)
                if self.hookExample is not None:
                    self.hookExample(self, (x, target))
            losses.append(total / max(count, 1))
            if self.hookIteration is not None:
                self.hookIteration(self, epoch, losses[-1], rate)
            if self.verbose:
                sys.stdout.write(f"# epoch {epoch}: mean loss {losses[-1]:g}\n")
            epoch += 1
            rate = self.learningRate / (1 + epoch * self.learningRateDecay)
            if 0 < self.maxIteration < epoch:
                return losses
