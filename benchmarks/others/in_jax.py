"""JAX's functions in float64, through `jax.vjp`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax import nn as jnn

from others.pairs import check_pair
from others.tables import Row, function_of, rows
from tapegrad.autograd.check import Pair

__all__ = ["SUBJECTS"]

jax.config.update("jax_enable_x64", True)

# ruff: noqa: E501  # a subject is one line of a table

NN = """
nn.{relu,relu6,sigmoid,softplus,silu,log_sigmoid,elu,leaky_relu,hard_tanh,celu,selu,gelu,hard_sigmoid,hard_silu,softmax,log_softmax,standardize,mish,squareplus,logsumexp} | jnn.$(x) | N? C
nn.glu | jnn.glu(x) | N 2*C
nn.gelu exact | jnn.gelu(x, approximate=False) | N? C
nn.dot_product_attention | jnn.dot_product_attention(a, b, c) | N L h e; N S h e; N S h e
"""

SPECIAL = """
special.{erf,erfc,i0,i0e,i1,i1e,ndtr,log_ndtr,expit} | sp.$(x) | N? C
special.{digamma,gammaln,entr,gamma,exp1,spence,expi} | sp.$(x) | N? C > 0
special.{ndtri,logit} | sp.$(x) | N? C in 0 1
special.erfinv | sp.erfinv(x) | N? C in -1 1
special.{xlogy,xlog1py,betaln,beta,gammainc,gammaincc,kl_div,rel_entr} | sp.$(a, b) | N C > 0; N C > 0
special.betainc | sp.betainc(a, b, c) | N C > 0; N C > 0; N C in 0 1
special.betainc of x | sp.betainc(1.5, 2.5, x) | N? C in 0 1
special.polygamma | sp.polygamma(1, x) | N? C > 0
special.gammainc of x | sp.gammainc(1.7, x) | N? C > 0
special.zeta of q | sp.zeta(2.5, x) | N? C > 0
special.bessel_jn | sp.bessel_jn(x, v=2) | N? C > 0
special.multigammaln | sp.multigammaln(x, 2) | N? C > 1
special.logsumexp weighted | sp.logsumexp(x, b=2.0) | N? C
"""

NUMPY = """
jnp.{sinc,exp2,cbrt,i0,abs,nan_to_num,tanh,arctan,arcsinh} | jnp.$(x) | N? C
jnp.sqrt | jnp.sqrt(x) | N? C > 0
jnp.{prod,cumprod,cumsum,var,std,sort,max,median,nanmean} along an axis | jnp.$(x, axis=-1) | N? C
jnp.{median,min,ptp,nanmean,prod} of all | jnp.$(x) | N? C
jnp.linalg.norm | jnp.linalg.norm(x) | N? C
jnp.clip | jnp.clip(x, -0.5, 0.7) | N? C
jnp.quantile | jnp.quantile(x, 0.3) | N? C
jnp.fft power | jnp.abs(jnp.fft.rfft(x)) ** 2 | N? C
jnp.cov | jnp.cov(x.reshape(1, -1)) | N? C
jnp.top_k | lax.top_k(x, 1)[0] | N? C
jnp.convolve | jnp.convolve(a, b) | C; D
jnp.unwrap | jnp.unwrap(x) | N? C
jnp.pad edge | jnp.pad(x, 1, mode="edge") | N? C
jnp.trapezoid | jnp.trapezoid(x) | N? C
jnp.segment_{sum,prod,max,min} | jax.ops.segment_$(x.ravel(), jnp.arange(x.size) % 2, 2) | N C+1
jnp.at {multiply,max,min,add} | jnp.ones(3, x.dtype).at[jnp.arange(x.size) % 3].$(x.ravel()) | N? C
jnp.where of a root | jnp.where(x > 0.1, jnp.sqrt(jnp.maximum(x, 0.1)), x) | N? C
jnp.{logaddexp,arctan2,hypot,maximum,logaddexp2,copysign} | jnp.$(a, b) | N C; C
jnp.{power,float_power} | jnp.$(a, b) | N C > 0; C
jnp.{mod,fmod} | jnp.$(a, b) | N C; C > 0.3
jnp.power 3 | x ** 3 | N? C
jnp.take | jnp.take(a, b, axis=-1) | N C; k below C
jnp.take_along_axis | jnp.take_along_axis(a, b, -1) | N C; N k below C
lax.{cummax,cumlogsumexp} | lax.$(x) | N C
lax.reduce_window max | lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 2), "SAME") | N C
lax.conv | lax.conv_general_dilated(a, b, (2, 1), "SAME", rhs_dilation=(1, 2), feature_group_count=2) | N 4 H+2 W+2; 4 2 2 2
"""

LINALG = """
linalg.{det,inv,pinv} | jnp.linalg.$(x) | N? n n
linalg.slogdet | jnp.linalg.slogdet(x)[1] | N? n n
linalg.cholesky | jnp.linalg.cholesky(spd(x)) | N? n n
linalg.eigvalsh | jnp.linalg.eigvalsh(x + jnp.swapaxes(x, -1, -2)) | N? n n
linalg.eigh projector | projector(*jnp.linalg.eigh(x + jnp.swapaxes(x, -1, -2))) | N? n n
linalg.svdvals | jnp.linalg.svd(x, compute_uv=False) | N? n m
linalg.svd rebuilt | rebuilt(*jnp.linalg.svd(x, full_matrices=False)) | N? n m
linalg.expm | jsl.expm(x) | n n
linalg.matrix_power | jnp.linalg.matrix_power(x, 3) | N? n n
linalg.solve | jnp.linalg.solve(a, b) | n n; n k
linalg.lstsq | jnp.linalg.lstsq(a, b)[0] | n+2 n; n+2 k
linalg.solve_triangular | jsl.solve_triangular(apart(a), b) | n n; n k
linalg.cho_solve | jsl.cho_solve(jsl.cho_factor(spd(a)), b) | n n; n k
ndimage.map_coordinates | jax.scipy.ndimage.map_coordinates(a, [b[0], b[1]], order=1) | H W; 2 k in 0 2
random.gamma | jax.random.gamma(jax.random.key(0), x) | N C > 0.3
stats.norm.logcdf | stats.norm.logcdf(x) | N? C
stats.t.logpdf | stats.t.logpdf(a, b) | N C; N C > 0.5
stats.beta.logpdf | stats.beta.logpdf(a, b, c) | N C in 0 1; N C > 0.5; N C > 0.5
image.resize | jax.image.resize(x, (3, 4), "cubic") | H W
"""


def spd(x: Any) -> Any:
    """A positive definite matrix."""
    return x @ jnp.swapaxes(x, -1, -2) + 3 * jnp.eye(x.shape[-1], dtype=x.dtype)


def apart(x: Any) -> Any:
    """A matrix that is far from singular, for ordinary data."""
    return x + 20 * jnp.eye(x.shape[-1], dtype=x.dtype)


def projector(w: Any, v: Any) -> Any:
    """A smooth function of a symmetric matrix, by its eigenvectors."""
    return v @ (jnp.sin(w)[..., None] * jnp.swapaxes(v, -1, -2))


def rebuilt(u: Any, s: Any, v: Any) -> Any:
    """A smooth function of a matrix, by its singular vectors."""
    return (u * jnp.tanh(s)[..., None, :]) @ v


NAMES = {
    "jax": jax, "jnp": jnp, "jnn": jnn, "lax": lax, "sp": jax.scipy.special,
    "jsl": jax.scipy.linalg, "stats": jax.scipy.stats, "spd": spd, "apart": apart,
    "projector": projector, "rebuilt": rebuilt,
}  # fmt: skip


def _subject(row: Row) -> Callable[[str], Any]:
    bare = jax.jit(function_of(row, NAMES))

    def gradients(v: Any, *a: Any) -> Any:
        floats = [i for i, x in enumerate(a) if x.dtype.kind == "f"]

        def of_floats(*b: Any) -> Any:
            all_of_them = list(a)
            for i, z in zip(floats, b, strict=True):
                all_of_them[i] = z
            return bare(*all_of_them)

        return jax.vjp(of_floats, *[a[i] for i in floats])[1](v)

    def seconds(u: Any, v: Any, *a: Any) -> Any:
        floats = [i for i, x in enumerate(a) if x.dtype.kind == "f"]

        def of_floats(*b: Any) -> Any:
            all_of_them = list(a)
            for i, z in zip(floats, b, strict=True):
                all_of_them[i] = z
            return gradients(v, *all_of_them)

        return jax.vjp(of_floats, *[a[i] for i in floats])[1](u)

    first, second = jax.jit(gradients), jax.jit(seconds)

    def placed(found: Any, a: Sequence[Any]) -> list[Any]:
        remaining = iter(found)
        return [np.array(next(remaining)) if x.dtype.kind == "f" else None for x in a]

    def in_structure(v: Any, a: Sequence[Any]) -> Any:
        shape = jax.eval_shape(bare, *a)
        flat = list(v) if isinstance(v, (list, tuple)) else [v]
        return jax.tree.unflatten(jax.tree.structure(shape), flat)

    def make(args: list[Any]) -> Pair:
        def fn(*a: Any) -> Any:
            y = bare(*a)
            return [np.array(z) for z in y] if isinstance(y, (list, tuple)) else np.array(y)

        return Pair(
            fn,
            lambda v, *a: placed(first(in_structure(v, a), *a), a),
            args,
            [f"argument {i}" for i in range(len(args))],
            lambda u, v, a: placed(second(tuple(u), in_structure(list(v), a), *a), a),
            copies=True,
        )

    return lambda profile: check_pair(row.name, row.inputs, make, profile)


SUBJECTS = {
    f"jax {row.name}": _subject(row)
    for table in (NN, SPECIAL, NUMPY, LINALG)
    for row in rows(table)
}
