"""JAX: wrong derivatives of special functions, and one crash.  `python in_jax.py [NAME …]`."""

from __future__ import annotations

import math
import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from _proofs import proof, run
from jax.scipy import special

SINCE = "0.10.2"
jax.config.update("jax_enable_x64", True)


@proof("JAX", source="log(x)/(1 − x), by limit −1 at 1", since=SINCE)
def spence_gradient():
    """`special.spence`: the gradient is NaN on (1, 2], and 0 at 1."""
    x = np.array([1.0, 1.13, 1.5, 2.0])
    right = [-1.0, *(math.log(t) / (1 - t) for t in x[1:])]
    return right, lambda: jax.vmap(jax.grad(special.spence))(jnp.array(x))


@proof("JAX", source="mpmath.diff of besselj(2, x) at 0.05", since=SINCE)
def bessel_jn_second():
    """`special.bessel_jn(x, v=2)`: the second derivative near 0 is wrong by a factor of −2600."""

    def value(z):
        return special.bessel_jn(jnp.array([z]), v=2)[2, 0]

    right = float(mpmath.diff(lambda t: mpmath.besselj(2, t), 0.05, 2))
    return right, lambda: jax.grad(jax.grad(value))(0.05)


@proof("JAX", source="mpmath.besselj(2, 1)", since=SINCE, known="jax-ml/jax#12402")
def bessel_jn_float32():
    """`special.bessel_jn(x, v=2)` is NaN in float32 for x below about 3."""
    right = float(mpmath.besselj(2, 1))
    return right, lambda: special.bessel_jn(jnp.array([1.0], jnp.float32), v=2)[2, 0]


@proof("JAX", source="(δᵢⱼ − xᵢxⱼ/r²)/r at (1, 1)", since=SINCE)
def hypot_hessian():
    """`jnp.hypot`: the Hessian is 0 where |x| = |y|."""
    h = 1 / (2 * math.sqrt(2))
    hessian = jax.hessian(lambda v: jnp.hypot(v[0], v[1]))
    return [[h, -h], [-h, h]], lambda: hessian(jnp.array([1.0, 1.0]))


@proof("JAX", source="I₁(0) = 0", since=SINCE, known="jax-ml/jax#40628")
def i0_slope():
    """`special.i0`: the gradient at 0 is 1."""
    return 0.0, lambda: jax.grad(special.i0)(0.0)


@proof("JAX", source="B(a, 1) = 1/a: 2/a³", since=SINCE, known="jax-ml/jax#34353")
def beta_hessian():
    """`special.beta(a, b)` and `betaln`: second derivatives are wrong where a = b."""
    return 2.0, lambda: jax.grad(jax.grad(lambda a: special.beta(a, 1.0)))(1.0)


@proof("JAX", source="mpmath.diff of E₁ at 0.7", since=SINCE)
def exp1_second():
    """`special.exp1`: the second derivative raises TypeError inside JAX."""
    right = float(mpmath.diff(mpmath.e1, 0.7, 2))
    return right, lambda: jax.grad(jax.grad(special.exp1))(0.7)


@proof("JAX", source="scipy.special.rel_entr, and JAX's own kl_div, give NaN", since=SINCE)
def rel_entr_nan():
    """`special.rel_entr(NaN, 1)` is inf."""
    return math.nan, lambda: special.rel_entr(jnp.nan, 1.0)


if __name__ == "__main__":
    sys.exit(run())
