"""Optimizers with a rate for each entry: Adam and its relatives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.nn.mxnet.compat import faults_of_1_9_1
from tapegrad.nn.mxnet.optimizer.base import Optimizer, register, state_like

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
    from tapegrad.nn.mxnet.types import Key

__all__ = [
    "FTML",
    "LAMB",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "Adamax",
    "Ftrl",
    "GroupAdaGrad",
    "Nadam",
    "RMSProp",
]


class _Moments(Optimizer):
    """Two moments of the gradient as the state."""

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        **settings: Any,
    ):
        super().__init__(learning_rate=learning_rate, **settings)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def create_state(self, index: Key, weight: NDArray) -> tuple[NDArray, ...]:
        """(first moment, second moment)."""
        return state_like(weight), state_like(weight)

    def _with_decay(self, index: Key, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        """clip(rescale·g + wd·w)."""
        return self.clipped(g * self.rescale_grad + self._get_wd(index) * w)


@register
class Adam(_Moments):
    """w -= lr·√(1 - β₂ᵗ)/(1 - β₁ᵗ)·m/(√v + ε); the decay is inside the clip.

    Source: D. Kingma, J. Ba, ICLR 2015; mx.optimizer.Adam.
    """

    def __init__(self, lazy_update: bool = True, **settings: Any):
        super().__init__(**settings)
        self.lazy_update = lazy_update

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        xp = devices.namespace(w)
        t = self._update_count(index)
        rate = self._get_lr(index) * math.sqrt(1 - self.beta2**t) / (1 - self.beta1**t)
        g = self._with_decay(index, w, g)
        m, v = state
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        v[...] = self.beta2 * v + (1 - self.beta2) * g * g
        w -= rate * m / (xp.sqrt(v) + self.epsilon)


@register
class Adamax(_Moments):
    """w -= lr/(1 - β₁ᵗ)·m/u with u = max(β₂·u, |g|).

    MXNet divides by 0 for a weight whose gradient was never other than 0 and makes it NaN; here
    such a weight stays (`mx.compat`).  Source: mx.optimizer.Adamax.
    """

    def __init__(self, learning_rate: float = 0.002, **settings: Any):
        super().__init__(learning_rate=learning_rate, **settings)

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        xp = devices.namespace(w)
        t = self._update_count(index)
        rate = self._get_lr(index) / (1 - self.beta1**t)
        g = self._with_decay(index, w, g)
        m, u = state
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        u[...] = xp.maximum(self.beta2 * u, xp.abs(g))
        with np.errstate(invalid="ignore", divide="ignore"):
            move = rate * m / u
        w -= move if faults_of_1_9_1() else xp.where(u == 0, 0, move)


@register
class Nadam(_Moments):
    """Adam with Nesterov's momentum, whose schedule is one number for all parameters.

    Source: T. Dozat, ICLR 2016 workshop; mx.optimizer.Nadam.
    """

    def __init__(self, schedule_decay: float = 0.004, **settings: Any):
        super().__init__(**settings)
        self.schedule_decay, self.m_schedule = schedule_decay, 1.0

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        xp = devices.namespace(w)
        t = self._update_count(index)
        lr = self._get_lr(index)
        g = self._with_decay(index, w, g)
        now = self.beta1 * (1.0 - 0.5 * 0.96 ** (t * self.schedule_decay))
        then = self.beta1 * (1.0 - 0.5 * 0.96 ** ((t + 1) * self.schedule_decay))
        self.m_schedule *= now
        following = self.m_schedule * then
        m, v = state
        m[...] = self.beta1 * m + (1.0 - self.beta1) * g
        v[...] = self.beta2 * v + (1.0 - self.beta2) * g * g
        g_prime = g / (1.0 - self.m_schedule)
        m_prime = m / (1.0 - following)
        v_prime = v / (1.0 - self.beta2**t)
        m_bar = (1.0 - now) * g_prime + then * m_prime
        w -= lr * m_bar / (xp.sqrt(v_prime) + self.epsilon)


@register
class AdaGrad(Optimizer):
    """h += G², w -= lr·(G/√(h + ε) + wd·w), G = clip(rescale·g).

    Source: J. Duchi et al., JMLR 2011; mx.optimizer.AdaGrad.
    """

    def __init__(self, learning_rate: float = 0.01, eps: float = 1e-7, **settings: Any):
        super().__init__(learning_rate=learning_rate, **settings)
        self.float_stable_eps = eps

    def create_state(self, index: Key, weight: NDArray) -> NDArray:
        """The sum of squares."""
        return state_like(weight)

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        xp = devices.namespace(w)
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        g = self.scaled(g)
        state += g * g
        w -= lr * (g / xp.sqrt(state + self.float_stable_eps) + wd * w)


@register
class GroupAdaGrad(Optimizer):
    """AdaGrad with one sum for each row: h += mean(G²), w -= lr·G/√(h + ε); no weight decay.

    Source: mx.optimizer.contrib.GroupAdaGrad.
    """

    def __init__(self, learning_rate: float = 0.01, eps: float = 1e-5, **settings: Any):
        super().__init__(learning_rate=learning_rate, **settings)
        self.float_stable_eps = eps

    def create_state(self, index: Key, weight: NDArray) -> NDArray:
        """The sum of mean squares of each row.  Raises ValueError for other than matrices."""
        if len(weight.shape) != 2:
            raise ValueError("GroupAdaGrad is for matrices")
        return state_like(weight[:, 0:1].copy())

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class.  Raises ValueError for weight decay."""
        xp = devices.namespace(w)
        self._update_count(index)
        if self._get_wd(index):
            raise ValueError("Weight decay is not supported for GroupAdaGrad")
        g = self.scaled(g)
        state += xp.mean(g * g, axis=1, keepdims=True)
        w -= self._get_lr(index) * g / xp.sqrt(state + self.float_stable_eps)


@register
class RMSProp(Optimizer):
    """n = γ₁·n + (1 - γ₁)·G², w -= lr·G/√(n + ε); centered: also the mean, and momentum γ₂.

    G = clip(rescale·g + wd·w); clip_weights bounds w.  Source: T. Tieleman, G. Hinton, 2012;
    A. Graves, arXiv 1308.0850 (centered); mx.optimizer.RMSProp.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        gamma1: float = 0.9,
        gamma2: float = 0.9,
        epsilon: float = 1e-8,
        centered: bool = False,
        clip_weights: float | None = None,
        **settings: Any,
    ):
        super().__init__(learning_rate=learning_rate, **settings)
        self.gamma1, self.gamma2, self.centered = gamma1, gamma2, centered
        self.epsilon, self.clip_weights = epsilon, clip_weights

    def create_state(self, index: Key, weight: NDArray) -> tuple[NDArray, ...]:
        """(n,), or (n, mean, momentum) if centered."""
        return tuple(state_like(weight) for _ in range(3 if self.centered else 1))

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        xp = devices.namespace(w)
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        g = self.clipped(g * self.rescale_grad + wd * w)
        n = state[0]
        n[...] = self.gamma1 * n + (1 - self.gamma1) * g * g
        if self.centered:
            mean, delta = state[1:]
            mean[...] = self.gamma1 * mean + (1 - self.gamma1) * g
            delta[...] = self.gamma2 * delta - lr * g / xp.sqrt(n - mean * mean + self.epsilon)
            w += delta
        else:
            w -= lr * g / xp.sqrt(n + self.epsilon)
        if self.clip_weights:
            xp.clip(w, -self.clip_weights, self.clip_weights, out=w)


@register
class AdaDelta(Optimizer):
    """a = ρ·a + (1 - ρ)·G², d = √(D + ε)/√(a + ε)·G, D = ρ·D + (1 - ρ)·d², w -= d + wd·w.

    The learning rate is not used.  Source: M. Zeiler, arXiv 1212.5701; mx.optimizer.AdaDelta.
    """

    def __init__(self, rho: float = 0.90, epsilon: float = 1e-5, **settings: Any):
        super().__init__(**settings)
        self.rho, self.epsilon = rho, epsilon

    def create_state(self, index: Key, weight: NDArray) -> tuple[NDArray, ...]:
        """(mean square of gradients, mean square of moves)."""
        return state_like(weight), state_like(weight)

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        xp = devices.namespace(w)
        self._update_count(index)
        wd = self._get_wd(index)
        g = self.scaled(g)
        a, moved = state
        a[...] = self.rho * a + (1.0 - self.rho) * g * g
        d = xp.sqrt(moved + self.epsilon) / xp.sqrt(a + self.epsilon) * g
        moved[...] = self.rho * moved + (1.0 - self.rho) * d * d
        w -= d + wd * w


@register
class Ftrl(Optimizer):
    """z += G - (√(n + G²) - √n)·w/lr, n += G², w = (sign(z)·λ₁ - z)/((β + √n)/lr + wd) or 0.

    w is 0 where |z| <= λ₁.  Source: H. B. McMahan et al., KDD 2013; mx.optimizer.Ftrl.
    """

    def __init__(
        self, lamda1: float = 0.01, learning_rate: float = 0.1, beta: float = 1, **settings: Any
    ):
        super().__init__(learning_rate=learning_rate, **settings)
        self.lamda1, self.beta = lamda1, beta

    def create_state(self, index: Key, weight: NDArray) -> tuple[NDArray, ...]:
        """(z, n)."""
        return state_like(weight), state_like(weight)

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        xp = devices.namespace(w)
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        g = self.scaled(g)
        z, n = state
        z += g - (xp.sqrt(n + g * g) - xp.sqrt(n)) * w / lr
        n += g * g
        moved = (xp.sign(z) * self.lamda1 - z) / ((self.beta + xp.sqrt(n)) / lr + wd)
        w[...] = moved * (xp.abs(z) > self.lamda1)


@register
class FTML(Optimizer):
    """d' = (1 - β₁ᵗ)/lr·(√(v/(1 - β₂ᵗ)) + ε), z = β₁·z + (1 - β₁)·G - (d' - β₁·d)·w, w = -z/d'.

    Source: S. Zheng, J. T. Kwok, ICML 2017; mx.optimizer.FTML.
    """

    def __init__(
        self, beta1: float = 0.6, beta2: float = 0.999, epsilon: float = 1e-8, **settings: Any
    ):
        super().__init__(**settings)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def create_state(self, index: Key, weight: NDArray) -> tuple[NDArray, ...]:
        """(d, v, z)."""
        return tuple(state_like(weight) for _ in range(3))

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        xp = devices.namespace(w)
        t = self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        g = self.clipped(g * self.rescale_grad + wd * w)
        d, v, z = state
        v[...] = self.beta2 * v + (1 - self.beta2) * g * g
        new = (1 - self.beta1**t) / lr * (xp.sqrt(v / (1 - self.beta2**t)) + self.epsilon)
        z[...] = self.beta1 * z + (1 - self.beta1) * g - (new - self.beta1 * d) * w
        d[...] = new
        w[...] = -z / new


@register
class LAMB(_Moments):
    """Adam's direction + wd·w, times ‖w‖/‖direction‖, for large batches.

    Source: Y. You et al., ICLR 2020; mx.optimizer.LAMB.
    """

    def __init__(
        self,
        epsilon: float = 1e-6,
        lower_bound: float | None = None,
        upper_bound: float | None = None,
        bias_correction: bool = True,
        **settings: Any,
    ):
        super().__init__(epsilon=epsilon, **settings)
        self.lower_bound, self.upper_bound = lower_bound, upper_bound
        self.bias_correction = bias_correction

    def step(self, index: Key, w: np.ndarray, g: np.ndarray, state: Any) -> None:
        """See the class."""
        xp = devices.namespace(w)
        t = self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        g = self.scaled(g)
        m, v = state
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        v[...] = self.beta2 * v + (1 - self.beta2) * g * g
        first, second = m, v
        if self.bias_correction:
            first, second = m / (1 - self.beta1**t), v / (1 - self.beta2**t)
        direction = first / (xp.sqrt(second) + self.epsilon) + wd * w
        size = float(xp.linalg.norm(w))
        if self.lower_bound is not None and self.lower_bound >= 0:
            size = max(size, self.lower_bound)
        if self.upper_bound is not None and self.upper_bound >= 0:
            size = min(size, self.upper_bound)
        moved = float(xp.linalg.norm(direction))
        ratio = size / moved if size and moved else 1.0
        w -= lr * ratio * direction
