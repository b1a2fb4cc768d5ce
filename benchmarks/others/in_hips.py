"""HIPS autograd's rules, through `make_vjp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import autograd.numpy as anp
import autograd.numpy.fft as afft
import autograd.numpy.linalg as alg
import numpy as np
from autograd.builtins import tuple as atuple

import autograd.scipy.linalg as sl
import autograd.scipy.signal as ss
import autograd.scipy.special as sp
import autograd.scipy.stats as st
from autograd import make_vjp
from others.pairs import check_pair
from others.tables import Row, function_of, rows
from tapegrad.autograd.check import Pair

__all__ = ["SUBJECTS"]

# ruff: noqa: E501  # a subject is one line of a table

ELEMENTWISE = """
{absolute,negative,exp,exp2,expm1,sin,cos,tan,sinh,cosh,tanh,arctan,arcsinh,square,sinc,fabs,deg2rad,rad2deg,degrees,radians,nan_to_num,real,conj} | anp.$(x) | N? C
{angle,sign,floor,ceil} | anp.$(x) | N? C | kinks=True
{log,log2,log10,log1p,sqrt,reciprocal} | anp.$(x) | N? C > 0
{arcsin,arccos,arctanh} | anp.$(x) | N? C in -1 1
arccosh | anp.arccosh(x) | N? C > 1
{add,subtract,multiply,maximum,minimum,fmax,fmin,logaddexp,logaddexp2,hypot,arctan2} | anp.$(a, b) | N C; N C
{add,subtract,multiply,maximum,minimum,fmax,fmin,logaddexp,logaddexp2,hypot,arctan2} broadcast | anp.$(a, b) | N C; C
{add,multiply,maximum,hypot,logaddexp} of columns | anp.$(a, b) | N 1; N C
{divide,true_divide,mod,remainder} | anp.$(a, b) | N C; C > 0.3
power | anp.power(a, b) | N C > 0; C
power {0,1,3} | x ** $ | N? C
power -2.0 | x ** -2.0 | N? C > 0
power of a base | 2.0 ** x | N? C
"""

REDUCTIONS = """
{sum,mean,prod,var,std,max,min,amax,amin} | anp.$(x) | N? C
{sum,mean,prod,var,std,max,min} axis | anp.$(x, axis=-1) | N? C
{sum,mean,prod,var,std,max,min} axis0 keep | anp.$(x, axis=0, keepdims=True) | N? C
{sum,mean,prod,var,std,max,min} axes | anp.$(x, axis=(0, -1)) | N C D
{var,std} ddof | anp.$(x, axis=-1, ddof=1) | N C+1
cumsum | anp.cumsum(x, axis=-1) | N? C
cumsum of all | anp.cumsum(x) | N? C
sort | anp.sort(x) | C
sort 2d | anp.sort(x) | N C
partition | anp.partition(x, 0) | C
dot of vectors | anp.dot(a, b) | C; C
dot of matrix and vector | anp.dot(a, b) | N C; C
dot of matrices | anp.dot(a, b) | N C; C D
dot of stacks | anp.dot(a, b) | A N C; B C D
matmul | anp.matmul(a, b) | N n m; N m k
matmul broadcast | anp.matmul(a, b) | N n m; m k
inner | anp.inner(a, b) | N C; M C
outer | anp.outer(a, b) | N; C
outer of matrices | anp.outer(a, b) | N C; D
outer with itself | anp.outer(x, x) | N C
tensordot | anp.tensordot(a, b, 1) | n m; m k
kron | anp.kron(a, b) | n m; k l
einsum | anp.einsum("nij,nkj->nik", a, b) | N i j; N k j
einsum diagonal | anp.einsum("ii->i", x) | n n
cross | anp.cross(a, b) | N 3; N 3
trace | anp.trace(x) | n n
"""

SHAPES = """
reshape | anp.reshape(x, (-1,)) | N? C
reshape in Fortran order | anp.reshape(x, (-1,), order="F") | N? C
ravel | anp.ravel(x) | N? C
transpose | anp.transpose(x) | N C D
transpose of axes | anp.transpose(x, (1, 0, 2)) | N C D
swapaxes | anp.swapaxes(x, 0, -1) | N C D
moveaxis | anp.moveaxis(x, 0, -1) | N C D
rollaxis | anp.rollaxis(x, 1) | N C D
squeeze | anp.squeeze(x, axis=1) | N 1 C
expand_dims | anp.expand_dims(x, 0) | N? C
broadcast_to | anp.broadcast_to(x, (2, *x.shape)) | N? C
{flipud,fliplr} | anp.$(x) | N C
rot90 | anp.rot90(x) | N C
roll | anp.roll(x, 1) | N? C
roll of an axis | anp.roll(x, 1, axis=-1) | N? C
tile | anp.tile(x, 2) | N? C
tile of rows | anp.tile(x, (2, 1)) | N C
repeat | anp.repeat(x, 2, axis=0) | N? C
repeat by counts | anp.repeat(x, [1, 2], axis=0) | 2 C
concatenate | anp.concatenate([a, b]) | N C; M C
stack | anp.stack([a, b], 1) | N C; N C
{vstack,hstack} | anp.$([a, b]) | N C; N C
array_split | anp.array_split(x, 2)[0] | N+2 C
split | anp.split(x, 2)[1] | 2*C
pad | anp.pad(x, 1, "constant") | N? C
diag | anp.diag(x) | n m
diag of a vector | anp.diag(x) | n
diag offset | anp.diag(x, 1) | n m
diagonal | anp.diagonal(x) | n m
{tril,triu} | anp.$(x) | n m
diff | anp.diff(x) | N C+1
diff twice | anp.diff(x, n=2) | N C
gradient | anp.gradient(x) | C+1
gradient of an axis | anp.gradient(x, axis=1) | N C+1
where | anp.where(x > 0, x, 2 * x) | N? C
select | anp.select([x > 1, x > 0], [x, 2 * x], 0.0 * x) | N? C
clip | anp.clip(x, -0.5, 0.7) | N? C
getitem | x[..., 0] | N? C
getitem twice | x[..., [0, 0]] | N? C
getitem of a mask | anp.sum(x[x > 0]) | N? C
full | anp.full(3, x[0]) | C
array of parts | anp.array([x[0], 2 * x[0]]) | C
astype | x.astype(float) | N? C
{zeros_like,ones_like} times | anp.$(x) * x | N? C
{sum,mean,max,min,prod} of all keep | anp.$(x, keepdims=True) | N C
{sum,mean,var,std} of the first axis | anp.$(x, axis=0) | N C
{max,min} of a vector | anp.$(x) | C
range of values | anp.max(x) - anp.min(x) | N C
atleast_{1,2,3} | anp.atleast_$d(x) | C
{column_stack,dstack} of two | anp.$([a, b]) | N C; N C
append | anp.append(a, b) | C; D
rollaxis back | anp.rollaxis(x, 2, 0) | N C D
squeeze of all | anp.squeeze(x) | 1 C
ravel in Fortran order | anp.ravel(x, order="F") | N C
{add,subtract,multiply,maximum,minimum} of a row and a column | anp.$(a, b) | N 1; 1 C
{subtract,minimum,fmax,fmin,logaddexp2,arctan2} of columns | anp.$(a, b) | N 1; N C
mod of two | a % b | N C > 0.3; N C > 0.3
dot of a number | anp.dot(2.0, x) | N C
matmul of vectors | anp.matmul(a, b) | C; C
matmul of stack and vector | anp.matmul(a, b) | N n m; m
einsum of three | anp.einsum("ij,jk,kl->il", a, b, c) | n m; m k; k l
einsum sum | anp.einsum("ij->j", x) | N C
einsum outer | anp.einsum("i,j->ij", a, b) | N; C
tensordot of two axes | anp.tensordot(a, b, ([0, 1], [0, 1])) | n m; n m k
inner of vectors | anp.inner(a, b) | C; C
where of two | anp.where(a > b, a, b) | N C; N C
abs complex | anp.abs(a + 1j * b) | N C > 0.3; N C
angle complex | anp.angle(a + 1j * b) | N C > 0.3; N C
"""

LINALG = """
linalg.{det,inv,pinv} | alg.$(x) | n n
linalg.{det,inv,pinv} of a stack | alg.$(x) | M n n
linalg.slogdet | alg.slogdet(x)[1] | n n
linalg.cholesky | alg.cholesky(spd(x)) | n n
linalg.cholesky of a stack | alg.cholesky(spd(x)) | M n n
linalg.eigvalsh | alg.eigh(x + anp.swapaxes(x, -1, -2))[0] | n n
linalg.eigh projector | projector(*alg.eigh(x + anp.swapaxes(x, -1, -2))) | n n
linalg.svdvals | alg.svd(x, compute_uv=False) | n m
linalg.svd rebuilt | rebuilt(*alg.svd(x, full_matrices=False)) | n m
linalg.solve | alg.solve(a, b) | n n; n k
linalg.solve apart | alg.solve(apart(a), b) | n n; n k
linalg.solve of a vector | alg.solve(apart(a), b) | n n; n
linalg.norm | alg.norm(x) | n
linalg.norm of a matrix | alg.norm(x) | n m
linalg.norm {1,3,4,np.inf} | alg.norm(x, $) | n
linalg.norm {3,4} of an axis | alg.norm(x, $, axis=0) | n m
linalg.norm {"fro","nuc"} | alg.norm(x, $) | n m
linalg.norm {"fro","nuc"} of axes | alg.norm(x, $, axis=(-2, -1)) | M n m
sl.sqrtm | sl.sqrtm(spd(x)) | n n
sl.solve_triangular | sl.solve_triangular(apart(a), b) | n n; n k
sl.solve_triangular lower | sl.solve_triangular(apart(a), b, trans="T", lower=True) | n n; n k
sl.solve_banded | sl.solve_sylvester(apart(a), apart(b), c) | n n; m m; n m
fft.{fft,fft2,fftn} power | anp.abs(afft.$(x)) ** 2 | N+1 C+1
fft.{ifft,ifft2} real | anp.real(afft.$(x)) | N+1 C+1
fft.rfft power | anp.abs(afft.rfft(x)) ** 2 | N+1 C+1
fft.there and back | anp.real(afft.ifft(afft.fft(x) * 2)) | N+1 C+1
fft.{fftshift,ifftshift} | afft.$(x) | N+1 C
"""

SCIPY = """
sp.{erf,erfc,expit,i0,i1,j0,j1} | sp.$(x) | N? C
sp.erfinv | sp.erfinv(x) | N? C in -1 1
sp.erfcinv | sp.erfcinv(x) | N? C in 0 2
sp.logit | sp.logit(x) | N? C in 0 1
sp.{gamma,gammaln,digamma,psi,rgamma,y0,y1} | sp.$(x) | N? C > 0
sp.gammaln negative | sp.gammaln(x) | N? C in -1 0
sp.polygamma | sp.polygamma(1, x) | N? C > 0
sp.{jn,yn} | sp.$(2, x) | N? C > 0.3
sp.{beta,betaln} | sp.$(a, b) | N C > 0; N C > 0
sp.gammainc of x | sp.gammainc(1.7, x) | N? C > 0
sp.gammainc of both | sp.gammainc(a, b) | N C > 0; N C > 0
sp.betainc of x | sp.betainc(1.5, 2.5, x) | N? C in 0 1
sp.multigammaln | sp.multigammaln(x, 2) | N? C > 1
sp.logsumexp | sp.logsumexp(x, axis=-1) | N? C
ss.convolve | ss.convolve(a, b) | N C; D E
ss.convolve of vectors | ss.convolve(a, b) | N; D
ss.convolve valid | ss.convolve(a, b, mode="valid") | N+D; D
norm.{pdf,cdf,logpdf,logcdf,sf,logsf} | st.norm.$(a, b, c) | N C; C; N C in 0.2 3
t.{pdf,cdf,logpdf,logcdf} | st.t.$(x, 3.5) | N C
t.{pdf,cdf,logpdf} of df | st.t.$(0.3, x) | N C > 0.5
t.{pdf,cdf,logpdf} shifted | st.t.$(a, 3.5, b, c) | N C; C; N C in 0.2 3
chi2.{pdf,logpdf} | st.chi2.$(x, 3.5) | N C > 0
gamma.{pdf,logpdf} | st.gamma.$(x, 2.5) | N C > 0
beta.{pdf,logpdf} | st.beta.$(x, 1.5, 2.5) | N C in 0 1
poisson.logpmf | st.poisson.logpmf(3, x) | N C > 0
multivariate_normal.logpdf | st.multivariate_normal.logpdf(a, b, spd(c)) | n; n; n n
dirichlet.logpdf | st.dirichlet.logpdf(np.array([0.3, 0.7]), x) | 2 > 0.2
"""


def spd(x: Any) -> Any:
    """A positive definite matrix."""
    return anp.matmul(x, anp.swapaxes(x, -1, -2)) + 3 * np.eye(x.shape[-1])


def apart(x: Any) -> Any:
    """A matrix that is far from singular, for ordinary data."""
    return x + 20 * np.eye(x.shape[-1])


def projector(w: Any, v: Any) -> Any:
    """A smooth function of a symmetric matrix, by its eigenvectors."""
    return anp.dot(v * anp.sin(w), v.T)


def rebuilt(u: Any, s: Any, v: Any) -> Any:
    """A smooth function of a matrix, by its singular vectors."""
    return anp.dot(u * anp.tanh(s), v)


NAMES = {
    "anp": anp, "np": np, "alg": alg, "afft": afft, "sl": sl, "ss": ss, "sp": sp, "st": st,
    "spd": spd, "apart": apart, "projector": projector, "rebuilt": rebuilt,
}  # fmt: skip


def _pair(function: Callable[..., Any], args: list[Any]) -> Pair:
    floats = tuple(i for i, x in enumerate(args) if np.asarray(x).dtype.kind == "f")

    def traced(*a: Any) -> Any:
        y = function(*a)
        return atuple(y) if isinstance(y, (list, tuple)) else y

    def fn(*a: Any) -> Any:
        y = function(*a)
        return [np.asarray(z) for z in y] if isinstance(y, (list, tuple)) else np.asarray(y)

    def pulled(v: Any, a: Sequence[Any]) -> Any:
        return make_vjp(traced, floats)(*a)[0](atuple(v) if isinstance(v, (list, tuple)) else v)

    def placed(found: Any, a: Sequence[Any]) -> list[Any]:
        out: list[Any] = [None] * len(a)
        for i, z in zip(floats, found, strict=True):
            out[i] = np.asarray(z)
        return out

    def vjp(v: Any, *a: Any) -> list[Any]:
        return placed(pulled(v, a), a)

    def second(u: Sequence[Any], v: Sequence[Any], a: Sequence[Any]) -> list[Any]:
        several = isinstance(function(*a), (list, tuple))
        cotangent = tuple(v) if several else v[0]
        pull, _ = make_vjp(lambda *b: atuple(pulled(cotangent, b)), floats)(*a)
        return placed(pull(tuple(u)), a)

    return Pair(fn, vjp, args, [f"argument {i}" for i in range(len(args))], second)


def _subject(row: Row) -> Callable[[str], Any]:
    function = function_of(row, NAMES)
    return lambda profile: check_pair(
        row.name, row.inputs, lambda args: _pair(function, args), profile,
        kinks=bool(row.options.get("kinks")),
    )  # fmt: skip


TABLES = (ELEMENTWISE, REDUCTIONS, SHAPES, LINALG, SCIPY)
SUBJECTS = {f"hips {row.name}": _subject(row) for table in TABLES for row in rows(table)}
