"""PyTorch's functions: torch.special, torch.linalg, torch and torch.nn.functional."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from others.tables import Row, function_of, rows
from tapegrad.autograd.check import check_torch

__all__ = ["SUBJECTS"]

torch.set_num_threads(1)

# ruff: noqa: E501  # a subject is one line of a table

SPECIAL = """
special.{airy_ai,bessel_j0,bessel_j1,erf,erfc,erfcx,exp2,expit,expm1,i0,i0e,i1,i1e,log_ndtr,modified_bessel_i0,modified_bessel_i1,ndtr,sinc,spherical_bessel_j0} | S.$(x) | N? C
special.{bessel_y0,bessel_y1,digamma,psi,entr,gammaln,log1p,modified_bessel_k0,modified_bessel_k1,scaled_modified_bessel_k0,scaled_modified_bessel_k1} | S.$(x) | N? C > 0
special.{logit,ndtri} | S.$(x) | N? C in 0 1
special.erfinv | S.erfinv(x) | N? C in -1 1
special.{digamma,gammaln} negative | S.$(x) | N? C in -1 0
special.polygamma {1,3} | S.polygamma($, x) | N? C > 0
special.multigammaln | S.multigammaln(x, 2) | N? C > 1
special.{gammainc,gammaincc,xlog1py,xlogy} | S.$(a, b) | N C > 0; N C > 0
special.gammainc of x | S.gammainc(torch.full_like(x, 1.7), x) | N? C > 0
special.zeta of q | S.zeta(torch.full_like(x, 2.5), x) | N? C > 0
special.{logsumexp,softmax,log_softmax} | S.$(x, -1) | N? C
special.{chebyshev_polynomial_t,hermite_polynomial_h,laguerre_polynomial_l,legendre_polynomial_p} | S.$(x, torch.tensor(3)) | N? C
"""

LINALG = """
linalg.{det,inv,pinv,svdvals,matrix_exp,cond} | L.$(x) | N? n n
linalg.slogdet | L.slogdet(x)[1] | N? n n
linalg.logdet | torch.logdet(spd(x)) | N? n n
linalg.eigvalsh | L.eigvalsh(x + x.mT) | N? n n
linalg.cholesky | L.cholesky(spd(x)) | N? n n
linalg.cholesky_inverse | torch.cholesky_inverse(L.cholesky(spd(x))) | N? n n
linalg.qr | list(L.qr(x)) | N? n n
linalg.lu | list(L.lu(x)) | N? n n
linalg.lu_factor | list(L.lu_factor(x)) | N? n n
linalg.inv_ex | L.inv_ex(x)[0] | N? n n
linalg.ldl_factor | L.ldl_factor(x + x.mT)[0] | N? n n
linalg.matrix_power {2,3} | L.matrix_power(x, $) | N? n n
linalg.matrix_power -2 | L.matrix_power(apart(x), -2) | N? n n
linalg.eigh projector | projector(*L.eigh(x + x.mT)) | N? n n
linalg.svd rebuilt | rebuilt(*L.svd(x, full_matrices=False)) | N? n m
linalg.svd | list(L.svd(x, full_matrices=False)) | N? n m
linalg.eigh | list(L.eigh(x + x.mT)) | N? n n
linalg.pinv of rectangles | L.pinv(x) | N? n m
linalg.householder_product | L.householder_product(x, 0.3 * x[..., 0, :]) | N? n n
linalg.trace | x.diagonal(dim1=-2, dim2=-1).sum(-1) | N? n n
linalg.lstsq | L.lstsq(a, b)[0] | n+2 n; n+2 k
linalg.lstsq residuals | L.lstsq(a, b)[1] | n+2 n; n+2 k
linalg.solve | L.solve(a, b) | N? n n; N? n k
linalg.solve of the right | L.solve(a, b, left=False) | N? n n; N? k n
linalg.solve_triangular | L.solve_triangular(apart(a), b, upper=True) | N? n n; N? n k
linalg.solve_triangular unit | L.solve_triangular(a, b, upper=False, unitriangular=True) | N? n n; N? n k
linalg.lu_solve | L.lu_solve(*L.lu_factor(a), b) | N? n n; N? n k
linalg.cholesky_solve | torch.cholesky_solve(b, L.cholesky(spd(a))) | N? n n; N? n k
linalg.tensorsolve | L.tensorsolve(apart(a), b) | n n; n
linalg.multi_dot | L.multi_dot([a, b, c]) | n m; m k; k l
linalg.cross | L.cross(a, b) | N 3; N 3
linalg.vander | L.vander(x, N=4) | N? n
linalg.vecdot | L.vecdot(a, b) | N C; N C
linalg.vector_norm {0,0.5,1,2,3,math.inf,-math.inf,-1} | L.vector_norm(x, $, dim=-1) | N? C
linalg.matrix_norm {"fro","nuc",1,-1,2,-2,math.inf,-math.inf} | L.matrix_norm(x, $) | N? n m
"""

TORCH = """
torch.{exp,sin,cos,tan,sinh,cosh,tanh,atan,asinh,square,sigmoid,abs,reciprocal,rad2deg,deg2rad,sgn,nan_to_num,sinc} | torch.$(x) | N? C
torch.{frac,trunc,round,floor,ceil,sign,angle} | torch.$(x) | N? C | kinks=True
torch.{log,log2,log10,sqrt,rsqrt,lgamma,digamma} | torch.$(x) | N? C > 0
torch.{asin,acos,atanh,erfinv} | torch.$(x) | N? C in -1 1
torch.acosh | torch.acosh(x) | N? C > 1
torch.logit eps | torch.logit(x, 0.1) | N? C in 0 1
torch.logit eps of any number | torch.logit(x, 0.1) | N? C
torch.{sum,mean,prod,cumsum,cumprod,logcumsumexp,nansum,nanmean,amax,logsumexp,diff} along the last | torch.$(x, dim=-1) | N? C
torch.{prod,median,nanmedian,max,min,norm,trapezoid,nansum,mean,amin} of all | torch.$(x) | N? C
torch.{cummax,cummin,max,min,median,mode} along an axis | torch.$(x, -1)[0] | N? C
torch.{var,std} | torch.$(x, -1, correction=0) | N? C
torch.var_mean | list(torch.var_mean(x, -1, correction=0)) | N? C
torch.kthvalue | x.kthvalue(1, -1)[0] | N? C
torch.sort | x.sort(-1)[0] | N? C
torch.sort descending | x.sort(-1, descending=True)[0] | N? C
torch.topk | x.topk(1, -1)[0] | N? C
torch.aminmax | list(x.aminmax()) | N? C
torch.argmax | x.argmax(-1) | N C
torch.clamp | x.clamp(-0.5, 0.7) | N? C
torch.abs root | x.abs().sqrt() | N? C
torch.pow {0,2,3,-2} | x ** $ | N? C
torch.pow of a base | 2.5 ** x | N? C
torch.norm {1,3} | torch.norm(x, $, -1) | N? C
torch.renorm | torch.renorm(x.reshape(1, -1), 2, 0, 1.0) | N? C
torch.roll | torch.roll(x, 1, -1) | N? C
torch.flip | x.flip(0) | N? C
torch.tril | x.tril() | N C
torch.unfold | x.unfold(-1, 1, 1) | N? C
torch.as_strided | torch.as_strided(x.reshape(-1), (2, x.numel()), (0, 1)) | N? C
torch.cov | torch.cov(x.reshape(1, -1), correction=0) | N? C
torch.corrcoef | torch.corrcoef(x) | N C
torch.quantile | torch.quantile(x, 0.3, -1) | N? C
torch.fft power | torch.fft.rfft(x).abs() ** 2 | N? C
torch.fft there and back | torch.fft.irfft(torch.fft.rfft(x) * 2, n=x.shape[-1]) | N? C
torch.fft real | torch.fft.fft(x).real | N? C
torch.fft | torch.fft.fft(x) | N? C
torch.complex exp | torch.view_as_real(torch.complex(a, b).exp()) | N C; N C
torch.polar | torch.view_as_real(torch.polar(a, b)) | N C > 0; N C
torch.repeat_interleave | x.repeat_interleave(2, 0) | N? C
torch.expand | x.unsqueeze(0).expand(3, *x.shape) | N? C
torch.masked_fill | x.masked_fill(x > 0.3, 2.0) | N? C
torch.masked_select | x.masked_select(x > 0).sum() | N? C
torch.where | torch.where(x > 0, x.exp(), x) | N? C
torch.index twice | x[..., [0, 0]] | N? C
torch.scatter_reduce {prod,mean,amax} | torch.ones(2, dtype=x.dtype).scatter_reduce(0, torch.arange(x.numel()) % 2, x.reshape(-1), "$") | N? C
torch.index_reduce {prod,mean} | torch.ones(2, dtype=x.dtype).index_reduce(0, torch.arange(x.numel()) % 2, x.reshape(-1), "$") | N? C
torch.segment_reduce {max,min,prod,sum,mean} | torch.segment_reduce(x, "$", lengths=torch.tensor([x.numel()])) | C
torch.vander | torch.vander(x, 3) | n
torch.{atan2,hypot,logaddexp,logaddexp2,maximum,minimum,fmax,fmin,mul,copysign,dist,ldexp,nextafter} | torch.$(a, b) | N C; N C
torch.heaviside | torch.heaviside(a, b) | N C; N C | kinks=True
torch.{div,fmod,remainder} | torch.$(a, b) | N C; N C > 0.3
torch.{pow,float_power} of two | torch.$(a, b) | N C > 0; N C
torch.mul broadcast | a * b | N C; C
torch.add broadcast | a + b[:, None] | N C; N
torch.addcmul | torch.addcmul(a, b, c, value=0.5) | N C; C; N 1
torch.addcdiv | torch.addcdiv(a, b, c) | N C; C; N 1 > 0.3
torch.lerp | torch.lerp(a, b, c) | N C; C; N 1
torch.matmul | a @ b | N n m; m k
torch.matmul broadcast | a @ b | N 1 n m; k m l
torch.bmm | torch.bmm(a, b) | N n m; N m k
torch.baddbmm | torch.baddbmm(a, b, c, beta=0.3, alpha=2.0) | 1 n k; N n m; N m k
torch.addmm | torch.addmm(a, b, c, beta=0.5) | k; n m; m k
torch.einsum | torch.einsum("nij,nkj->nik", a, b) | N i j; N k j
torch.einsum of a diagonal | torch.einsum("nii->ni", x) | N n n
torch.tensordot | torch.tensordot(a, b, 1) | n m; m k
torch.cartesian_prod | torch.cartesian_prod(a, b) | n; m
torch.cdist p={0.0,0.5,1.0,1.5,2.0,3.0,math.inf} | torch.cdist(a, b, $) | N? n k; N? m k
torch.gather | a.gather(-1, b) | N C; N k below C
torch.gather sparse | a.gather(-1, b, sparse_grad=True) | N C; N k below C
torch.scatter_add | a.scatter_add(-1, b, c) | N C; N k below C; N k
torch.index_add | a.index_add(-1, b, c, alpha=2) | N C; k below C; N k
torch.scatter_reduce {amin,prod,mean} of rows | a.scatter_reduce(-1, b, c, "$") | N C; N k below C; N k
torch.{neg,positive,relu,erf,erfc,exp2,expm1,arctan,arcsinh} again | torch.$(x) | N? C
torch.logit of sigmoid | torch.logit(x.sigmoid()) | N? C in -3 3
torch.sign times size | x.sgn() * x.abs() | N? C
torch.{sub,add,rsub,minimum,true_divide,logaddexp} of rows | torch.$(a, b) | N C > 0.3; C > 0.3
torch.{fliplr,flipud,rot90,triu,t} | torch.$(x) | N C
torch.movedim | torch.movedim(x, 0, -1) | N C D
torch.permute | x.permute(2, 0, 1) | N C D
torch.chunk | list(x.chunk(2, -1)) | N C+1
torch.split | list(x.split(2, -1)) | N C
torch.unbind | list(x.unbind(-1)) | N C
torch.{cat,hstack,vstack,dstack} | torch.$([a, b]) | N C; N C
torch.stack | torch.stack([a, b], 1) | N C; N C
torch.{kron,inner} | torch.$(a, b) | N C; M C
torch.{dot,outer,vdot} | torch.$(a, b) | C; C
torch.mv | torch.mv(a, b) | n m; m
torch.addr | torch.addr(a, b, c, alpha=2.0) | n m; n; m
torch.addbmm | torch.addbmm(a, b, c, beta=0.5) | n k; N n m; N m k
torch.block_diag | torch.block_diag(a, b) | n m; k l
torch.{diag,diagonal,diagflat} | torch.$(x) | n n
torch.diag_embed | torch.diag_embed(x) | N C
torch.diagonal_scatter | a.diagonal_scatter(b) | n n; n
torch.select_scatter | a.select_scatter(b, 0, 0) | C D; D
torch.slice_scatter | a.slice_scatter(b, 1, 0, 1) | N C; N 1
torch.index_select | a.index_select(-1, b) | N C; k below C
torch.index_fill | a.index_fill(-1, b, 2.0) | N C; k below C
torch.take | a.take(b) | C; k below C
torch.take_along_dim | a.take_along_dim(b, -1) | N C; N k below C
torch.scatter | a.scatter(-1, b, 2.0) | N C; N k below C
torch.tile | x.tile(2, 1) | N C
torch.narrow | x.narrow(-1, 0, 1) | N C
torch.{cumulative_trapezoid,logcumsumexp,cumprod,cumsum} of rows | torch.$(x, dim=-1) | N C
torch.gradient | list(torch.gradient(x)) | C+2
torch.std_mean | list(torch.std_mean(x, -1, correction=0)) | N? C
torch.nanquantile | torch.nanquantile(x, 0.3, -1) | N? C
torch.quantile midpoint | torch.quantile(x, 0.5, 0, interpolation="midpoint") | N C
torch.{softmax,log_softmax} of rows | torch.$(x, 0) | N C
torch.softmax of all axes | x.flatten().softmax(0).reshape(x.shape) | N C
torch.stft | torch.stft(x.reshape(1, -1).repeat(1, 8)[:, :8], 4, 2, 4, window=torch.ones(4, dtype=x.dtype), return_complex=True, center=False).abs() ** 2 | N+1 C
torch.fft2 power | torch.fft.fft2(x).abs() ** 2 | N+1 C
torch.fftshift | torch.fft.fftshift(x) | N C
torch.logsumexp of both axes | x.logsumexp((0, 1)) | N+1 C
torch.bernoulli masked | x * torch.bernoulli(torch.full_like(x, 0.5)) | N C
torch.cross of rows | torch.cross(a, b, dim=-1) | N 3; N 3
torch.trapezoid of points | torch.trapezoid(a, b) | N C; N C
torch.bucketed | x[..., torch.searchsorted(torch.tensor([0.5]), torch.tensor([0.1, 0.2]))] | N C
torch.xlogy | torch.xlogy(a, b) | N C; N C > 0
torch.where of two | torch.where(a > b, a * b, a + b) | N C; N C
torch.lerp by a number | torch.lerp(a, b, 0.3) | N C; N C
"""

FUNCTIONAL = """
F.{mse_loss,l1_loss,smooth_l1_loss,huber_loss,poisson_nll_loss} | F.$(a, b) | N C; N C in 0.1 3
F.soft_margin_loss | F.soft_margin_loss(a, b) | N C; N C in 0.1 3 | constant="b"
F.{relu,relu6,elu,leaky_relu,silu,softplus,tanhshrink,softshrink,hardshrink,hardtanh,logsigmoid,softmin,softmax} plain | F.$(x, **({"dim": -1} if "$".startswith("softm") else {})) | N? C
F.kl_div | F.kl_div(a, b, reduction="sum") | N C; N C in 0 1
F.binary_cross_entropy_with_logits | F.binary_cross_entropy_with_logits(a, b) | N C; N C
F.cross_entropy | F.cross_entropy(a, b) | N C; N below C
F.nll_loss | F.nll_loss(a.log_softmax(-1), b) | N C; N below C
F.triplet_margin_loss | F.triplet_margin_loss(a, b, c) | N C; N C; N C
F.conv1d | F.conv1d(a, b, c) | N 2 L+2; o 2 2; o
F.conv2d groups | F.conv2d(a, b, groups=2) | N 4 H+2 W+2; 4 2 2 2
F.conv_transpose1d | F.conv_transpose1d(a, b, stride=2) | N 2 L; 2 o 2
F.conv_transpose2d | F.conv_transpose2d(a, b) | N 2 H W; 2 o 2 2
F.{max_pool1d,avg_pool1d} | F.$(x, 2) | N C L+2
F.{max_pool2d,avg_pool2d} | F.$(x, 2) | N C H+2 W+2
F.{adaptive_avg_pool2d,adaptive_max_pool2d} | F.$(x, 2) | N C H+1 W+1
F.lp_pool1d | F.lp_pool1d(x, 2.0, 2) | N C L+2
F.unfold | F.unfold(x, 2) | N C H+2 W+2
F.fold | F.fold(x, (3, 3), 2) | N 4*C 4
F.one_hot times | F.one_hot(b, 4).to(a.dtype) * a[:, None] | N; N below 4
F.embedding | F.embedding(a, b) | N T below 3; 3 k
F.embedding_bag {sum,mean} | F.embedding_bag(a, b, mode="$") | N+1 S below 3; 3 k
F.local_response_norm | F.local_response_norm(x, 2) | N C L
F.channel_shuffle | F.channel_shuffle(x, 2) | N 2*C H W
F.pixel_unshuffle | F.pixel_unshuffle(x, 2) | N C 2*H 2*W
F.upsample of factor 2 {nearest,bilinear,bicubic} | F.interpolate(x, scale_factor=2.0, mode="$") | N C H W
F.grid_sample {bilinear,nearest,bicubic} border apart | F.grid_sample(a, b, mode="$", padding_mode="border", align_corners=False) | N C H W; N P Q 2
F.grid_sample {bilinear,nearest} of volumes | F.grid_sample(a, b, mode="$", align_corners=False) | N C D H W; N P Q R 3
F.pairwise_distance | F.pairwise_distance(a, b) | N C; N C
F.dropout | F.dropout(x, 0.3, training=True) | N C
F.feature_alpha_dropout | F.feature_alpha_dropout(x, 0.3, training=True) | N C L
F.gelu tanh | F.gelu(x, approximate="tanh") | N C
F.normalize of columns | F.normalize(x, dim=0) | N C
F.grid_sample {bilinear,nearest,bicubic} zeros | F.grid_sample(a, b, mode="$", align_corners=False) | N C H W; N P Q 2
F.grid_sample {bilinear,nearest,bicubic} border | F.grid_sample(a, b, mode="$", padding_mode="border", align_corners=True) | N C H W; N P Q 2
F.grid_sample {bilinear,nearest,bicubic} reflection | F.grid_sample(a, b, mode="$", padding_mode="reflection", align_corners=False) | N C H W; N P Q 2
F.affine_grid | F.affine_grid(x, [x.shape[0], 1, 3, 4], align_corners=False) | N+1 2 3
F.interpolate antialias {bilinear,bicubic} | F.interpolate(x, size=(3, 2), mode="$", antialias=True) | N C H W
F.gumbel_softmax | F.gumbel_softmax(x, 0.7) | N? C
F.gumbel_softmax hard | F.gumbel_softmax(x, 0.7, hard=True) | N? C
F.normalize {1.0,2.0,3.0} | F.normalize(x, $, dim=-1) | N? C
F.scaled_dot_product_attention {False,True} | F.scaled_dot_product_attention(a, b, c, is_causal=$) | N h L e; N h S e; N h S f
F.scaled_dot_product_attention with a mask | F.scaled_dot_product_attention(a, b, c, attn_mask=d) | N h L e; N h S e; N h S f; L S
F.conv_tbc | torch.conv_tbc(a, b, c, 1) | L+2 N C; 2 C k; k
F.bilinear | F.bilinear(a, b, c) | N i; N j; k i j
F.rms_norm | F.rms_norm(a, (a.shape[-1],), b) | N? C; C
F.layer_norm | F.layer_norm(a, (a.shape[-1],), b, c) | N? C+1; C+1; C+1
F.group_norm | F.group_norm(a, 2, b, c) | N 2*C L; 2*C; 2*C
F.instance_norm | F.instance_norm(a, weight=b, bias=c) | N C L+1; C; C
F.batch_norm training | F.batch_norm(a, None, None, b, c, True) | N+1 C L; C; C
F.batch_norm with statistics | F.batch_norm(a, b, c) | N C L; C; C > 0
F.prelu | F.prelu(a, b) | N C L; C
F.rrelu training | F.rrelu(x, training=True) | N? C
F.{hardtanh_,elu_} | F.$(x) | N? C | inplace=True
F.silu in place | F.silu(x, inplace=True) | N? C | inplace=True
F.celu | F.celu(x, 0.3) | N? C
F.{logsigmoid,softsign,mish,hardswish,hardsigmoid,gelu,selu} | F.$(x) | N? C
F.glu | F.glu(x, -1) | N 2*C
F.threshold | F.threshold(x, 0.1, 2.0) | N? C
F.linear | F.linear(a, b, c) | N i; o i; o
F.embedding max_norm | F.embedding(a, b, max_norm=0.7) | N below 3; 3 k
F.pixel_shuffle | F.pixel_shuffle(x, 2) | N 4*C H W
F.pad {reflect,replicate,circular} | F.pad(x, (1, 1), mode="$") | N C L+2
F.cosine_similarity | F.cosine_similarity(a, b, dim=-1) | N C; N C
F.pdist p={1.0,2.0,math.inf} | F.pdist(x, $) | N C
F.alpha_dropout | F.alpha_dropout(x, 0.3, training=True) | N? C
"""


def spd(x: Any) -> Any:
    """A positive definite matrix."""
    return x @ x.mT + 3 * torch.eye(x.shape[-1], dtype=x.dtype)


def apart(x: Any) -> Any:
    """A matrix that is far from singular, for ordinary data."""
    return x + 20 * torch.eye(x.shape[-1], dtype=x.dtype)


def projector(w: Any, v: Any) -> Any:
    """A smooth function of a symmetric matrix, by its eigenvectors."""
    return v @ torch.diag_embed(torch.sin(w)) @ v.mT


def rebuilt(u: Any, s: Any, v: Any) -> Any:
    """A smooth function of a matrix, by its singular vectors."""
    return u @ torch.diag_embed(torch.tanh(s)) @ v


NAMES = {
    "torch": torch, "F": F, "S": torch.special, "L": torch.linalg, "math": math, "spd": spd,
    "apart": apart, "projector": projector, "rebuilt": rebuilt,
}  # fmt: skip


def _subject(row: Row) -> Callable[[str], Any]:
    function = function_of(row, NAMES)
    return lambda profile: check_torch(
        function, *row.inputs, profile=profile, raise_error=False, **row.options
    )


SUBJECTS = {
    row.name: _subject(row) for table in (SPECIAL, LINALG, TORCH, FUNCTIONAL) for row in rows(table)
}
