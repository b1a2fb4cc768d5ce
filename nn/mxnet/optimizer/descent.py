"""Gradient descent and its relatives: SGD, NAG, Signum, DCASGD, SGLD, LARS, LBSGD."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.nn.mxnet.compat import faults_of_1_9_1
from tapegrad.nn.mxnet.optimizer.base import Optimizer, register, state_like
from tapegrad.nn.mxnet.random import draw_normal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
    from tapegrad.nn.mxnet.types import Key

__all__ = ["DCASGD", "LARS", "LBSGD", "NAG", "SGD", "SGLD", "Signum", "Test", "ccSGD"]


class _WithMomentum(Optimizer):
    def __init__(self, momentum: float = 0.0, **settings: Any):
        super().__init__(**settings)
        self.momentum = momentum

    def create_state(self, index: Key, weight: NDArray) -> Any:
        """The momentum; None without."""
        return state_like(weight) if self.momentum else None

    def _rates(self, index: Key) -> tuple[float, float]:
        """(learning rate, weight decay) of the update that begins, which is counted."""
        self._update_count(index)
        return self._get_lr(index), self._get_wd(index)


@register
class SGD(_WithMomentum):
    """m = momentum·m - lr·(clip(rescale·g) + wd·w), w += m.  Source: mx.optimizer.SGD."""

    def __init__(self, momentum: float = 0.0, lazy_update: bool = True, **settings: Any):
        super().__init__(momentum, **settings)
        self.lazy_update = lazy_update

    def _paired(self, copy: NDArray, state: Any) -> tuple[Any, Any]:
        return state, copy  # MXNet's order of (momentum, copy)

    def _unpaired(self, state: tuple[Any, Any]) -> tuple[Any, Any]:
        return state[1], state[0]

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        lr, wd = self._rates(index)
        move = self.scaled(g)
        if wd:
            move = move + w.dtype.type(wd) * w
        move = move * w.dtype.type(lr)
        if state is None:
            w -= move
            return
        state *= w.dtype.type(self.momentum)
        state -= move
        w += state


@register
class ccSGD(SGD):  # noqa: N801  # MXNet's name
    """SGD under its former name."""


@register
class NAG(_WithMomentum):
    """m = momentum·m - lr·G, w += (momentum + 1)·m - momentum·m_before, G = clip(rescale·g) + wd·w.

    Source: mx.optimizer.NAG.
    """

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        lr, wd = (w.dtype.type(rate) for rate in self._rates(index))
        g = self.scaled(g)
        move = (g + wd * w) * lr
        if state is None:
            w -= move
            return
        before = state * w.dtype.type(self.momentum)
        w += w.dtype.type(self.momentum + 1) * (before - move) - before
        if faults_of_1_9_1():  # its kernel has written w already when it decays the momentum
            move = (g + wd * w) * lr
        state[...] = before - move


@register
class Signum(Optimizer):
    """m = momentum·m - (1 - momentum)·(wd·w + clip(rescale·g)), w = (1 - lr·wd_lh)·w + lr·sign(m).

    Source: J. Bernstein et al., ICML 2018; mx.optimizer.Signum.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.9,
        wd_lh: float = 0.0,
        **settings: Any,
    ):
        super().__init__(learning_rate=learning_rate, **settings)
        self.momentum, self.wd_lh = momentum, wd_lh

    def create_state(self, index: Key, weight: NDArray) -> NDArray | None:
        """The momentum; None without."""
        return state_like(weight) if self.momentum else None

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        xp = devices.namespace(w)
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        if state is None:
            w[...] = (1 - lr * wd) * w - lr * xp.sign(self.scaled(g))
            return
        state[...] = self.momentum * state - (1 - self.momentum) * (wd * w + self.scaled(g))
        w[...] = (1 - lr * self.wd_lh) * w + lr * xp.sign(state)


@register
class DCASGD(Optimizer):
    """m = momentum·m - lr·(G + wd·w + λ·G²·(w - w_before)), w += m, G = clip(rescale·g).

    Source: S. Zheng et al., "Asynchronous stochastic gradient descent with delay compensation",
    ICML 2017; mx.optimizer.DCASGD.
    """

    def __init__(self, momentum: float = 0.0, lamda: float = 0.04, **settings: Any):
        super().__init__(**settings)
        self.momentum, self.lamda = momentum, lamda

    def create_state(self, index: Key, weight: NDArray) -> tuple[NDArray | None, NDArray]:
        """(the momentum or None, the previous weight)."""
        return (state_like(weight) if self.momentum else None, weight.copy())

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        moment, before = state
        g = self.scaled(g)
        move = -lr * (g + wd * w + self.lamda * g * g * (w - before))
        if moment is not None:
            moment[...] = self.momentum * moment + move
            move = moment
        before[...] = w
        w += move


@register
class SGLD(Optimizer):
    """w -= lr/2·(clip(rescale·g) + wd·w) + N(0, √lr).

    Source: M. Welling, Y. W. Teh, ICML 2011; mx.optimizer.SGLD.
    """

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        noise = devices.namespace(w).asarray(draw_normal(0, np.sqrt(lr), w.shape))
        w += -lr / 2 * (self.scaled(g) + wd * w) + noise


@register
class LARS(_WithMomentum):
    """SGD whose rate is lr·η·‖w‖ / (‖rescale·g‖ + wd·‖w‖ + ε) for each weight.

    Gammas, betas and biases keep lr.  Source: Y. You et al., arXiv 1708.03888; mx.optimizer.LARS.
    """

    def __init__(
        self,
        momentum: float = 0.0,
        lazy_update: bool = True,
        eta: float = 0.001,
        eps: float = 0,
        momentum_correction: bool = True,
        **settings: Any,
    ):
        super().__init__(momentum, **settings)
        self.lazy_update, self.eta, self.eps = lazy_update, eta, eps
        self.momentum_correction = momentum_correction
        self.last_lr: float | None = None
        self.cur_lr: float | None = None

    def set_wd_mult(self, args_wd_mult: Mapping[Key, float]) -> None:
        """Only names that end in _weight are decayed."""
        found = {n: 0.0 for n in self.idx2name.values() if not n.endswith("_weight")}
        self.wd_mult = {**found, **self._from_symbol("__wd_mult__"), **args_wd_mult}

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        xp = devices.namespace(w)
        self._update_count(index)
        rate = self.learning_rate
        if self.cur_lr is None or rate != self.cur_lr:
            self.last_lr, self.cur_lr = self.cur_lr or rate, rate
        lr, wd = self._get_lr(index), self._get_wd(index)
        name = self.idx2name.get(index, str(index))
        if not name.endswith(("gamma", "beta", "bias")):
            w_norm = float(xp.linalg.norm(w.astype(np.float64)))
            g_norm = float(xp.linalg.norm((g * self.rescale_grad).astype(np.float64)))
            if w_norm > 0 and g_norm > 0:
                lr *= self.eta * w_norm / (g_norm + wd * w_norm + self.eps)
        move = lr * (self.scaled(g) + wd * w)
        if state is None:
            w -= move
            return
        correction = 1.0
        if self.momentum_correction and self.last_lr:
            correction = (self.cur_lr or 0.0) / self.last_lr
        state[...] = self.momentum * correction * state - move
        w += state


@register
class LBSGD(SGD):
    """SGD for large batches: here with the learning rate as it is (warm-up by a scheduler).

    Source: mx.optimizer.LBSGD.
    """

    def __init__(
        self,
        momentum: float = 0.0,
        multi_precision: bool = False,
        warmup_strategy: str = "linear",
        warmup_epochs: int = 5,
        batch_scale: float = 1,
        updates_per_epoch: int = 32,
        begin_epoch: int = 0,
        num_epochs: int = 60,
        **settings: Any,
    ):
        super().__init__(momentum, multi_precision=multi_precision, **settings)
        self.warmup_strategy, self.warmup_epochs = warmup_strategy, warmup_epochs
        self.batch_scale, self.updates_per_epoch = batch_scale, updates_per_epoch
        self.init_updates, self.num_epochs = begin_epoch * updates_per_epoch, num_epochs
        self.init_num_epochs = begin_epoch


@register
class Test(Optimizer):
    """w += rescale·g; for tests.  Source: mx.optimizer.Test."""

    def create_state(self, index: Key, weight: NDArray) -> NDArray:
        """Zeros."""
        return state_like(weight)

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        w += g * self.rescale_grad
        state[...] = w
