"""Learning rates by the number of updates, which counts from 1.  Source: mx.lr_scheduler."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

__all__ = [
    "CosineScheduler",
    "FactorScheduler",
    "LRScheduler",
    "MultiFactorScheduler",
    "PolyScheduler",
]

_LOG = logging.getLogger(__name__)


class LRScheduler:
    """A rate that is `base_lr` behind a warm-up.

    warmup_steps:    the number of updates of the warm-up
    warmup_begin_lr: the rate that it begins with
    warmup_mode:     "linear", up to base_lr, or "constant"
    Raises TypeError and ValueError for arguments that make no warm-up.
    """

    def __init__(
        self,
        base_lr: float = 0.01,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0,
        warmup_mode: str = "linear",
    ):
        if not isinstance(warmup_steps, int):
            raise AssertionError("warmup_steps is a whole number")  # noqa: TRY004  # MXNet's type
        if warmup_begin_lr > base_lr:
            raise ValueError("Base lr has to be higher than warmup_begin_lr")
        if warmup_steps < 0:
            raise ValueError("Warmup steps has to be positive or 0")
        if warmup_mode not in ("linear", "constant"):
            raise ValueError("Supports only linear and constant modes of warmup")
        self.base_lr, self.warmup_steps = base_lr, warmup_steps
        self.warmup_begin_lr, self.warmup_final_lr = warmup_begin_lr, base_lr
        self.warmup_mode = warmup_mode

    def get_warmup_lr(self, num_update: int) -> float:
        """The rate during the warm-up."""
        if num_update >= self.warmup_steps:
            raise AssertionError(f"the warm-up ends at update {self.warmup_steps}")
        if self.warmup_mode == "constant":
            return self.warmup_begin_lr
        whole = self.warmup_final_lr - self.warmup_begin_lr
        return self.warmup_begin_lr + whole * num_update / self.warmup_steps

    def __call__(self, num_update: int) -> float:
        """The rate of an update."""
        raise NotImplementedError("must override this")


class FactorScheduler(LRScheduler):
    """Times `factor` behind every `step` updates, down to `stop_factor_lr`.

    Raises ValueError for a step below 1 and a factor above 1.
    """

    def __init__(
        self,
        step: int,
        factor: float = 1,
        stop_factor_lr: float = 1e-8,
        base_lr: float = 0.01,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0,
        warmup_mode: str = "linear",
    ):
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        if step < 1:
            raise ValueError("Schedule step must be greater or equal than 1 round")
        if factor > 1.0:
            raise ValueError("Factor must be no more than 1 to make lr reduce")
        self.step, self.factor, self.stop_factor_lr = step, factor, stop_factor_lr
        self.count = 0

    def __call__(self, num_update: int) -> float:
        """The rate of an update; the object remembers how far it is."""
        if num_update < self.warmup_steps:
            return self.get_warmup_lr(num_update)
        while num_update > self.count + self.step:
            self.count += self.step
            self.base_lr *= self.factor
            if self.base_lr < self.stop_factor_lr:
                self.base_lr = self.stop_factor_lr
                _LOG.info(
                    "Update[%d]: now learning rate arrived at %0.5e", num_update, self.base_lr
                )
            else:
                _LOG.info("Update[%d]: Change learning rate to %0.5e", num_update, self.base_lr)
        return self.base_lr


class MultiFactorScheduler(LRScheduler):
    """Times `factor` behind each of a list of updates.

    Raises ValueError for a list that does not rise from 1, and a factor above 1.
    """

    def __init__(
        self,
        step: Sequence[int],
        factor: float = 1,
        base_lr: float = 0.01,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0,
        warmup_mode: str = "linear",
    ):
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        if not isinstance(step, list) or not step:
            raise AssertionError("step is a list of numbers of updates")
        for i, one in enumerate(step):
            if i and one <= step[i - 1]:
                raise ValueError("Schedule step must be an increasing integer list")
            if one < 1:
                raise ValueError("Schedule step must be greater or equal than 1 round")
        if factor > 1.0:
            raise ValueError("Factor must be no more than 1 to make lr reduce")
        self.step, self.factor = step, factor
        self.cur_step_ind = self.count = 0

    def __call__(self, num_update: int) -> float:
        """The rate of an update; the object remembers how far it is."""
        if num_update < self.warmup_steps:
            return self.get_warmup_lr(num_update)
        while self.cur_step_ind < len(self.step) and num_update > self.step[self.cur_step_ind]:
            self.count = self.step[self.cur_step_ind]
            self.cur_step_ind += 1
            self.base_lr *= self.factor
            _LOG.info("Update[%d]: Change learning rate to %0.5e", num_update, self.base_lr)
        return self.base_lr


class _Falling(LRScheduler):
    """A rate that falls from base_lr to final_lr until `max_update`."""

    def __init__(
        self,
        max_update: int,
        base_lr: float = 0.01,
        final_lr: float = 0,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0,
        warmup_mode: str = "linear",
    ):
        super().__init__(base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        if not isinstance(max_update, int):
            raise AssertionError("max_update is a whole number")  # noqa: TRY004  # MXNet's type
        if max_update < 1:
            raise ValueError("maximum number of updates must be strictly positive")
        self.base_lr_orig, self.max_update, self.final_lr = base_lr, max_update, final_lr
        self.max_steps = max_update - warmup_steps

    def _share(self, done: float) -> float:
        """The share of the fall that is left when `done` of the updates are."""
        raise NotImplementedError

    def __call__(self, num_update: int) -> float:
        """The rate of an update."""
        if num_update < self.warmup_steps:
            return self.get_warmup_lr(num_update)
        if num_update <= self.max_update:
            share = self._share((num_update - self.warmup_steps) / self.max_steps)
            self.base_lr = self.final_lr + (self.base_lr_orig - self.final_lr) * share
        return self.base_lr


class PolyScheduler(_Falling):
    """final_lr + (base_lr - final_lr)·(1 - t/T)^pwr."""

    def __init__(
        self,
        max_update: int,
        base_lr: float = 0.01,
        pwr: int = 2,
        final_lr: float = 0,
        warmup_steps: int = 0,
        warmup_begin_lr: float = 0,
        warmup_mode: str = "linear",
    ):
        super().__init__(max_update, base_lr, final_lr, warmup_steps, warmup_begin_lr, warmup_mode)
        self.power = pwr

    def _share(self, done: float) -> float:
        return float((1 - done) ** self.power)


class CosineScheduler(_Falling):
    """final_lr + (base_lr - final_lr)·(1 + cos(πt/T))/2."""

    def _share(self, done: float) -> float:
        return (1 + math.cos(math.pi * done)) / 2
