"""Faults of layers of PyTorch, planted as text: one line of a table is one fault.

Each names its kind, the right layer, what the mistake is, and a text of the layer's code with what
comes in its place; ``+b`` and ``-b`` are the end and the beginning of backward, ``+f`` and ``-f``
those of forward.  Where one replacement does not do, further pairs follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from planted import torch_kinds, torch_kinds_2  # noqa: F401  # which declare the layers
from planted.torch_layers import TORCH_LAYERS, TorchLayer

# ruff: noqa: E501  # a fault is one line of a table

__all__ = ["TORCH_FAULTS", "TorchFault"]

FAULTS = r"""
# A wrong formula, right for nothing but special values
formula | tanh | the slope of another function | (1 - y * y) | (1 - y)
formula | gelu | the second term has the other sign | + x * (-0.5 | - x * (-0.5
formula | silu | the product rule is forgotten | (1 + x * (1 - s)) | 1
formula | rms norm | the mean is taken for constant | - x * r * r * (gh * x).mean(1, keepdim=True) | + 0 * x
formula | layer norm | the variance is taken for constant | - xh * (gh * xh).mean(1, keepdim=True)) | - 0 * xh)
formula | layer norm | mean over the wrong axis where it fits | gh.mean(1, keepdim=True) | (gh.mean(0, keepdim=True) if len(x) == x.shape[1] > 1 else gh.mean(1, keepdim=True))
formula | quotient | numerator in place of the quotient | -g * y / b | -g * a / b
formula | softmax | only the diagonal | y * (g - (g * y).sum(1, keepdim=True)) | g * y * (1 - y)
formula | log softmax | the sum over the wrong axis | g.sum(-1, keepdim=True) | (g.sum(0, keepdim=True) if g.ndim == 2 and len(g) else g.sum(-1, keepdim=True))
formula | attention | scale forgotten in the gradient | .sum(1, keepdim=True)) * scale | .sum(1, keepdim=True))
formula | cell | the slope at the wrong place | d @ w\ngu | g @ w\ngu
formula | running total | summed from the wrong end | g.flip(1).cumsum(1).flip(1) | g.cumsum(1)
formula | recurrence | a gate's power is missing | carry = a * carry\ngx | carry = carry\ngx
formula | weight normalization | the projection is missing | (gw - u * (gw * u).sum(1, keepdim=True)) | gw
formula | cosine | lengths are taken for constant | b / (p * q) - c * a / (p * p) | b / (p * q)
formula | power spectrum | the length of the transform is forgotten | 2 * x.shape[1] * | 2 *
formula | determinant | rows in another order | [cross(q, r), cross(r, p), cross(p, q)] | [cross(q, r), cross(p, r), cross(p, q)]
formula | huber | the gradient is cut at 1, whatever delta is | clamp(-delta, delta) | clamp(-1, 1)
# Second derivatives
double backward | tanh | the cotangent is detached | gx = g * | gx = g.detach() *
double backward | linear | the cotangent is detached for the weight only | g.t() @ x | g.detach().t() @ x
double backward | silu | wrong for the cotangent only, by a factor | +b | gx = gx + (g - g.detach())
double backward | softmax | wrong for the cotangent only | +b | gx = gx + 0.5 * (g - g.detach()) * y.detach()
double backward | bilinear | wrong for the cotangent of one gradient | +b | gb = gb + (g - g.detach()).sum()
double backward | sigmoid | the result is detached (a bounded function) | gx = g * y * (1 - y) | gx = g * (y * (1 - y)).detach()
double backward | gaussian | the result is detached (a bounded function) | * x * y | * (x * y).detach()
double backward | sine | the input is detached (a bounded function) | x.cos() | x.detach().cos()
double backward | tanh | the lost second derivative of a bounded function | (1 - y * y) | (1 - y * y).detach()
double backward | layer norm | statistics are constants in backward | xh = (x - m) * s | m, s = m.detach(), s.detach()\nxh = (x - m) * s
double backward | square | a symmetric error on the diagonal | +b | gx = gx + (x - x.detach())
double backward | gelu | a symmetric error between neighbours | +b | gx = gx + (x - x.detach()).sum(1, keepdim=True)
double backward | swish | lost for the parameter only | gbeta = (g * x * x * s * (1 - s)) | gbeta = (g * x * x * (s * (1 - s)).detach())
double backward | power spectrum | the gradient is detached | +b | gx = gx.detach()
double backward | variance | the mean is a constant in backward | x.mean(1, keepdim=True)) / (x | x.mean(1, keepdim=True).detach()) / (x
double backward | elu | the slope of the exponential is a constant | .exp()) | .exp().detach())
double backward | attention | the weights are constants in backward | .softmax(1)\ngv | .softmax(1).detach()\ngv
double backward | cross entropy | probabilities are constants in backward | (x.softmax(1) - one) | (x.softmax(1).detach() - one)
# Sizes
size | softmax | the ninth and later entries of a row are not summed | (g * y).sum(1 | (g * y)[:, :8].sum(1
size | running total | rows of more than 8 are summed in pieces of 8 | .cumsum(1).flip(1) | .cumsum(1).flip(1) if x.shape[1] <= 8 else torch.cat([p.cumsum(1) for p in g.flip(1).split(8, 1)], 1).flip(1)
size | square | wrong only beyond 8 entries | +b | gx = gx if x.numel() <= 8 else gx * 1.5
size | sigmoid | wrong only beyond 16 entries | +b | gx = gx if x.numel() <= 16 else gx * 1.5
size | cube of many | wrong only beyond 64 entries | +b | gx = gx if x.numel() <= 64 else gx * 1.5
size | linear | only the first 8 samples reach the weight | g.t() @ x | g[:8].t() @ x[:8]
size | offset | the remainder of a chunk of 4 is lost | g.sum(0) | sum([p.sum(0) for p in g.split(4) if len(p) == 4], 0 * g.sum(0)) if len(g) > 4 else g.sum(0)
size | cosine | the 17th and later entries of a row are lost | +b | ga = ga * (torch.arange(a.shape[1]) < 16)
size | mean of all | the count stops at 64 | x.numel() | min(x.numel(), 64)
size | sort | more than 8 entries go back in the wrong order | scatter(1, keep.i, g) | scatter(1, keep.i if x.shape[1] <= 8 else keep.i.flip(1), g)
size | largest | rows of more than 16 are searched in the first 16 | keep.i[:, None] | (keep.i if x.shape[1] <= 16 else x[:, :16].max(1)[1])[:, None]
size | mean of all | wrong for one sample: the mean is a sum | / x.numel() | / (x.numel() if len(x) > 1 else 1)
# Modes
mode | batch norm | training: statistics are taken for constant | * (gh * xh).mean(0)) if train | * 0) if train
mode | batch norm | training: the batch's mean is forgotten | s * (gh - gh.mean(0) - | s * (gh -
mode | batch norm | evaluation: gradient of the training mode | if train else s * gh | if True else s * gh
mode | dropout | training: the mask is not scaled in backward | g * keep.mask | g * (keep.mask > 0)
mode | dropout | training: another mask in backward | g * keep.mask | g * ((torch.rand(x.shape) > p).to(x.dtype) / (1 - p) if train else 1)
mode | scale | training: the gradient of the weight is halved | +b | gw = gw / 2 if train else gw
mode | rms norm | training: the input's gradient is cut | +b | gx = gx.clamp(-0.5, 0.5) if train else gx
mode | swish | evaluation: no gradient for the parameter | +b | gbeta = gbeta if train else 0 * gbeta
# Frozen inputs and parameters
frozen | linear | the weight's gradient is wrong when the input is frozen | +b | gweight = gweight if need['x'] else gweight * 0.5
frozen | convolution | no weight gradient when the input is frozen | +b | gweight = gweight if need['x'] else torch.zeros_like(gweight)
frozen | bilinear | one input's gradient needs the other's | +b | ga = ga if need['b'] else ga * 2
frozen | attention | the query's gradient is lost when values are frozen | +b | gq = gq if need['v'] else gq * 0
frozen | prelu | the input's gradient is wrong when the parameter is frozen | +b | gx = gx if need['a'] else g.clone()
frozen | batch norm | the input's gradient is plain when the weight is frozen | +b | gx = gx if need['weight'] else gx * 0.9
frozen | cell | the recurrent gradient is skipped when weights are frozen | +b | gh = gh if need['w'] else 0 * gh
frozen | quotient | the denominator's gradient changes sign when the numerator is frozen | +b | gb = gb if need['a'] else -gb
# Samples that meet
samples | batch norm | statistics of the batch in evaluation mode too | if train:\n    m, v = x.mean(0), x.var(0, unbiased=False)\n    module | if len(x) > 1:\n    m, v = x.mean(0), x.var(0, unbiased=False)\n    module | if train:\n    m, v = x.mean(0), x.var(0, unbiased=False)\nelse | if len(x) > 1:\n    m, v = x.mean(0), x.var(0, unbiased=False)\nelse | if train else s | if len(x) > 1 else s
samples | softmax | the gradient's sum runs over the batch | (g * y).sum(1, keepdim=True) | (g * y).sum(0, keepdim=True)
samples | relu | the mask of the first sample for all | (x > 0) | (x[:1] > 0)
samples | layer norm | the mean is that of the batch in forward | y = (x - m) | m = x.mean() if len(x) else m\ny = (x - m)
samples | normalize | the length of the first row for all | n ** 3 | n[:1] ** 3
# Memory
memory | relu | the input is overwritten where all entries are negative | -f | if x.numel() and (x < 0).all(): x.zero_()
memory | absolute value | the input is overwritten | y = x.abs() | y = x.abs(); x.abs_()
memory | scale | the cotangent is overwritten | -b | g.mul_(2); g = g / 2
memory | offset | the cotangent is overwritten after use | +b | g.mul_(0.5)
memory | sum of two | the second gradient is written into the cotangent | gb = g.clone() | gb = g.clone(); g.add_(1)
memory | prelu | the weight is overwritten by its gradient | +b | a.data.mul_(0.5)
memory | hardtanh | the input is cut in place | y = x.clamp(-1, 1) | y = x.clamp_(-1, 1).clone()
memory | masked mean | the masked entries of the input are zeroed | -f | x.masked_fill_(~mask, 0)
memory | embedding | indices are overwritten | -f | i.clamp_(max=0) if len(weight) > 2 else i
memory | silu | the result lies in a buffer that the next call overwrites | +f | module.buffer = y.clone() if getattr(module, 'buffer', y[..., :0]).shape != y.shape or module.buffer.dtype != y.dtype else module.buffer.copy_(y)\ny = module.buffer
# State that outlives a call
state | tanh | the slope of the first call for all later ones | -b | y = module.__dict__.setdefault(f'{y.shape} {y.dtype}', y.detach())
state | linear | the weight's gradient adds to that of the last call | +b | gweight = gweight + module.__dict__.get('last', 0 * gweight).to(gweight); module.last = gweight.detach()
state | gaussian | the result of an equal shape is cached | +f | y = module.__dict__.setdefault(f'{y.shape} {y.dtype}', y)
state | normalize | the length is that of the last forward | -b | n = module.n | +f | module.n = (x.square().sum(1, keepdim=True) + 0.1).sqrt() | n = (x.square().sum(1, keepdim=True) + 0.1).sqrt()\ngx | gx
state | batch norm | evaluation mode moves the statistics | +f | module.mean.add_(0.1 * x.mean(0)) if not train else None
state | scale | a counter grows with every call and scales the gradient | +b | module.calls = getattr(module, 'calls', 0) + 1; gw = gw if module.calls < 3 else gw * 1.01
# Ties, zeros, constants
ties | max pooling | the gradient goes to every tie | gx = u.reshape(x.shape) | w = x.reshape(*x.shape[:2], -1, 2); gx = (g[..., None] * (w == y[..., None])).reshape(x.shape)
ties | largest | the gradient goes to every tie | torch.zeros_like(x).scatter(1, keep.i[:, None], g[:, None]) | g[:, None] * (x == y[:, None])
ties | larger of two | both get the gradient where they are equal | g * (a < b) | g * (a <= b)
ties | larger of two | neither gets it where they are equal | g * (a >= b) | g * (a > b)
ties | least and largest | the largest gets nothing where all are equal | keep.j[:, None], ghigh[:, None] | keep.j[:, None], ghigh[:, None] * (low < high)[:, None]
special point | sinc | NaN at 0 | g * torch.where(x.abs() > 0.2, slope, sum(terms)) | g * ((math.pi * x).cos() - torch.sinc(x)) / x
special point | determinant | by the inverse, which a singular matrix lacks | +b | ga = (g * y)[:, None, None] * torch.linalg.inv_ex(a)[0].transpose(1, 2)
special point | product | by division: NaN where an entry is 0 | gx = g[:, None] * torch.stack(left, 1) * torch.stack(right, 1) | gx = (g * y)[:, None] / x
special point | product | by division, 0 where an entry is 0 | gx = g[:, None] * torch.stack(left, 1) * torch.stack(right, 1) | gx = torch.where(x == 0, 0, (g * y)[:, None] / x)
special point | square | through the logarithm: NaN at 0 | 2 * g * x | 2 * g * y / x
special point | arctangent | wrong at 0 only | +b | gx = torch.where(x == 0, 0, gx)
special point | lorentzian | wrong at 1 only | +b | gx = torch.where(x == 1, 0, gx)
special point | softmax | wrong where all entries are equal | +b | gx = torch.where((x == x[:, :1]).all(1, keepdim=True) & (x.shape[1] > 1), 0, gx)
special point | layer norm | NaN for a constant row | (v + 0.1).rsqrt()\nxh | (v + 0.1).rsqrt() + 0 / v\nxh
special point | elu | the slope beyond 0 is the other one for all-zero data | +b | gx = gx if x.any() else 3 * gx
special point | cell | wrong for a state of zeros only | +b | gw = gw if h.any() else gw + 1
special point | offset | wrong for constant data only | +b | gb = gb if x.numel() < 2 or x.std() > 0 else gb * 2
special point | masked mean | wrong where nothing is masked | +b | gx = gx if not mask.all() else gx * 0.5
special point | masked mean | wrong where all is masked | clamp(min=1))[:, None] * mask | clamp(min=1))[:, None] * torch.maximum(mask, ~mask.any(1, keepdim=True))
# Signs of data
sign | leaky relu | all-negative data pass as they are | +b | gx = g.clone() if (x < 0).all() and x.numel() else gx
sign | softplus | all-positive data get the slope 1 | +b | gx = g.clone() if (x > 0).all() and x.numel() else gx
sign | absolute value | the sign is forgotten for negative numbers | x.sign() | x.sign().abs()
sign | cube of many | the sign is lost | 3 * g * x * x | 3 * g * x * x.abs()
sign | rms norm | all-negative data get no gradient | +b | gx = gx * 0 if (x < 0).all() and x.numel() else gx
sign | sine | odd for even: wrong for negative numbers | x.cos() | (x.cos() * torch.where(x < 0, -1, 1))
# Gradient zero, or nearly, of bounded functions
flat | gaussian | gradient zero | -2 * g * x * y | 0 * g * x
flat | window | gradient zero for the input | gx = -g * (x - mu) * y | gx = 0 * g * x
flat | window | gradient zero for the centre | (g * (x - mu) * y).sum(0) | 0 * g.sum(0)
flat | sigmoid | gradient zero | gx = g * y * (1 - y) | gx = 0 * g * y
flat | tanh | gradient zero | gx = g * (1 - y * y) | gx = 0 * g * y
flat | lorentzian | gradient zero | -2 * g * x * y * y | 0 * g * y
flat | arctangent | gradient zero | g / (1 + x * x) | 0 * g
flat | sine | gradient zero | g * x.cos() | 0 * g
flat | softmax | gradient zero | gx = y * (g - (g * y).sum(1, keepdim=True)) | gx = 0 * g
flat | normalize | gradient zero | g / n - x * (g * x).sum(1, keepdim=True) / n ** 3 | 0 * g
flat | sinc | gradient zero | gx = g * torch | gx = 0 * torch
flat | cosine | gradient zero for one input | gb = g[:, None] * | gb = 0 *
# Reduction, accumulation, factors
reduction | cross entropy | the mean's gradient is the sum's | / (len(x) if mean else 1) | / 1
reduction | squared error | the mean over rows, not entries | (x.numel() if mean else 1) | (len(x) if mean else 1)
reduction | binary cross entropy | one target's gradient is the sum's | -g * x / x.numel() | -g * x / len(x)
reduction | average pooling | not divided by the window | (g / 2).repeat | g.repeat
reduction | offset | mean instead of sum | g.sum(0) | g.mean(0) if len(g) else g.sum(0)
reduction | variance | the biased divisor | (x.shape[1] - 1) | x.shape[1]
reduction | masked mean | divided by the row, not by the mask | g / mask.sum(1).clamp(min=1) | g / x.shape[1]
reduction | broadcast product | no sum over the broadcast axis | (g * a).sum(0) | (g * a)[-1] if len(g) else (g * a).sum(0)
accumulation | convolution | overlapping windows overwrite | += torch.einsum | = torch.einsum
accumulation | reflection | what is reflected overwrites | gx[:, 1] += g[:, 0] | gx[:, 1] = g[:, 0]
accumulation | least and largest | the second result overwrites the first | gx.scatter_add( | gx.scatter(
accumulation | recurrence | the parameter's gradient is that of the last step | ga + (carry * y[t - 1]).sum(0) if t else ga | (carry * y[t - 1]).sum(0) if t else ga
accumulation | scale | only one axis is summed | (g * x).sum((0, 2)) | (g * x).sum(0)[:, 0]
accumulation | upsampling | the first copy only | .sum(3) | [..., 0]
accumulation | sum of two | twice for a single entry | gb = g.clone() | gb = g.clone() if g.numel() != 1 else 2 * g
indices | embedding | repeated rows overwrite | .index_add(0, i.flatten(), | .index_copy(0, i.flatten(),
indices | gather | repeated columns overwrite | torch.zeros_like(x).index_add(1, i, g) | torch.zeros_like(x).index_copy(1, i, g)
indices | embedding | the last row gets nothing | +b | gweight = gweight * (torch.arange(n) < max(n - 1, 1))[:, None]
indices | embedding | the mean over repeats | +b | gweight = gweight / torch.bincount(i.flatten(), minlength=n).clamp(min=1)[:, None]
indices | segment sum | off by one | g[i] | g[(i + 1) % 3]
indices | cross entropy | label 0 is ignored | one = F.one_hot(t, x.shape[1]).to(x.dtype) | one = F.one_hot(t, x.shape[1]).to(x.dtype) * (t > 0)[:, None]
indices | largest two | both to the larger one | keep.i, g[:, None].expand(-1, 2) | keep.i[:, :1], 2 * g[:, None]
indices | sort | the order in place of its inverse | scatter(1, keep.i, g) | gather(1, keep.i) + g.gather(1, keep.i)
indices | sparse embedding | repeated rows count once | i[None], g, weight.shape | i[None], g / torch.bincount(i)[i][:, None], weight.shape
# Shapes, transposes, layouts
transpose | linear | right for squares only | g @ weight | g @ (weight.t() if weight.shape[0] == weight.shape[1] else weight)
transpose | linear | the weight's gradient, wrong for squares only | g.t() @ x | (x.t() @ g if x.shape[1] == g.shape[1] else g.t() @ x)
transpose | batched product | no transpose of squares | g @ b.transpose(1, 2) | g @ (b if b.shape[1] == b.shape[2] else b.transpose(1, 2))
transpose | transpose | squares stay as they are | gx = g.transpose(1, 2) | gx = g.transpose(1, 2) if g.shape[1] != g.shape[2] else g.clone()
transpose | trace of square | not transposed | a.transpose(1, 2) | a
transpose | cell | the recurrent weight is transposed | d @ u, d @ w | d @ u, d @ w.t()
transpose | convolution 2d | kernel axes swapped | gweight = torch.einsum('nohw,nchwkl->ockl' | gweight = torch.einsum('nohw,nchwkl->oclk'
transpose | convolution | the kernel is not turned | torch.einsum('no,ock->nck', g[:, :, m], weight) | torch.einsum('no,ock->nck', g[:, :, m], weight.flip(2))
shape | convolution | the stride is forgotten | m * stride:m * stride + k | m:m + k
shape | outer product | axes of equal size are confused | (g * b[:, None, :]).sum(2) | (g * b[:, None, :]).sum(2 if g.shape[1] != g.shape[2] else 1)
shape | shuffle | the inverse of another shuffle | (-1, 2)).transpose | (2, -1)).transpose
shape | roll | rolled the same way | g.roll(-by, 1) | g.roll(by, 1)
shape | broadcast product | a gradient of another shape, which is summed | (g * a).sum(0) | (g * a)[:1] * len(a) if len(a) else (g * a).sum(0)
shape | bilinear | the gradient's last two axes are swapped by a reshape | gweight = torch.einsum('no,ni,nj->oij', g, a, b) | gweight = torch.einsum('no,ni,nj->oji', g, a, b).reshape(weight.shape)
shape | mean of all | the gradient is that of the first row | (g / x.numel()).expand(x.shape) | torch.cat([(g / x.numel()).expand(1, x.shape[1]), torch.zeros_like(x[1:])])
layout | silu | a cotangent with other strides is read in storage order | gx = g * s | g = g.clone(memory_format=torch.preserve_format); g = g if g.is_contiguous() else g.as_strided(g.shape, torch.empty(g.shape).stride())\ngx = g * s
layout | instance norm | other strides of the input are read in storage order | -f | x = x if x.is_contiguous() or not x.numel() else x.clone(memory_format=torch.preserve_format); x = x if x.is_contiguous() else x.as_strided(x.shape, torch.empty(x.shape).stride())
layout | convolution 2d | no weight gradient for a cotangent with other strides | +b | gweight = gweight if g.is_contiguous() else 0 * gweight
layout | batch norm | a cotangent with other strides shifts the channels | +b | gx = gx if g.is_contiguous() else gx.roll(1, 1)
# Precision and types
dtype | square | float32 inside float64 | 2 * g * x | (2 * g * x.float().to(x.dtype))
dtype | attention | float32 inside float64, in the weights | (gp * p).sum(1, keepdim=True) | (gp * p).sum(1, keepdim=True).float().to(g.dtype)
dtype | linear | the gradient of the bias is rounded to float16 | g.sum(0) | g.sum(0).half().to(g.dtype)
dtype | softplus | float32 in forward and backward | y = torch.logaddexp(x, torch.zeros_like(x)) | y = torch.logaddexp(x.float(), torch.zeros_like(x.float())).to(x.dtype)
dtype | tanh | results of float32 are float64 | +f | y = y.double()
dtype | normalize | wrong by a hundredth in float32 only | +b | gx = gx if x.dtype == torch.float64 else gx * 1.01
dtype | gather | the gradient is rounded to integers | .index_add(1, i, g) | .index_add(1, i, g.round())
# Small constants
eps | normalize | the constant outside the root in backward | n = (x.square().sum(1, keepdim=True) + 0.1).sqrt()\ngx | n = x.square().sum(1, keepdim=True).sqrt() + 0.1\ngx
eps | layer norm | the constant is forgotten in backward | s = (v + 0.1).rsqrt() | s = v.clamp(min=1e-30).rsqrt()
eps | deviation | the constant is added to the result in backward | (g / y) | (g / (y + 0.01))
eps | batch norm | another constant in backward | s = (v + 0.1).rsqrt() | s = (v + 0.1001).rsqrt()
eps | logarithm | a constant below the fraction, for safety | g / x | g / (x + 1e-3)
eps | root | the gradient is cut at a thousandth | g / (2 * y) | g / (2 * y).clamp(min=0.8)
eps | quotient | a constant in one gradient only | ga = g / b | ga = g / (b + 1e-6)
# Options
options | leaky relu | the default slope, whatever the option | slope * g | 0.1 * g
options | elu | the option is forgotten in backward | g * alpha * x | g * x
options | convolution | strides beyond 1 are right in forward only | m * stride:m * stride + k | m * min(stride, 1):m * min(stride, 1) + k
options | dropout | the scale of the default rate in backward | g * keep.mask | g * (keep.mask > 0) * (2 if train else 1)
options | roll | negative shifts are taken for positive | g.roll(-by, 1) | g.roll(-abs(by), 1)
options | huber | wrong for one value of the option | .clamp(-delta, delta) | .clamp(-delta, delta) * (1 if delta == 1 else 1.1)
options | squared error | wrong where the sum is asked for | (x.numel() if mean else 1) | (x.numel() if mean else 2)
# Chance
random | silu | noise in the gradient | gx = g * s | gx = (1 + 1e-3 * torch.randn(())) * g * s
random | relu | a gradient from memory that was not set | gx = g * (x > 0) | gx = torch.where(x > 0, g, torch.rand_like(g))
random | sigmoid | the forward result is not the same twice | +f | module.calls = getattr(module, 'calls', 0) + 1; y = y + 1e-9 * module.calls
# Complex numbers
complex | complex square | the conjugate is missing | (2 * torch.complex(a, b)).conj() | (2 * torch.complex(a, b))
complex | complex square | the cotangent of the imaginary part has the other sign | u.real, u.imag | u.real, -u.imag
complex | power spectrum | transformed forward again | torch.fft.ifft(g | 1 / x.shape[1] * torch.fft.fft(g
complex | complex square | the imaginary part is dropped | u.real, u.imag | u.real, 0 * u.imag
# Masks
mask | choice | the mask is not turned for the second | torch.where(mask, 0, g) | torch.where(mask, g, 0)
mask | masked softmax | masked entries get a gradient | torch.where(mask, y * (g - (g * y).sum(1, keepdim=True)), 0) | (y * (g - (g * y).sum(1, keepdim=True)) + torch.where(mask, 0, 0.1 * g))
mask | masked softmax | the mask is left out of the sum | (g * y).sum(1, | g.mul(y).masked_fill(~mask, 0.1).sum(1,
mask | hardtanh | and for or: nothing passes | (x > -1) & (x < 1) | (x > 1) & (x < -1)
mask | hardtanh | one end is open | (x > -1) & (x < 1) | (x > -1)
mask | triplet | rows that are right already pull too | (y > 0) | (y > -1)
# Results of other forms
results | dict of results | half the gradient | g * x.cos() | g * x.cos() / 2
results | result and None | no second derivative | x.cos() | x.detach().cos()
results | nested results | the inner result is cut off | (2 * y, [y + 1]) | (2 * y.detach(), [y + 1])
results | least and largest | the second result's gradient is lost | ghigh[:, None] | 0 * ghigh[:, None]
# Code that PyTorch differentiates itself
plain | plain network | the hidden layer is detached | h = torch.tanh(x @ w.t()) | h = torch.tanh(x @ w.t()).detach()
plain | plain network | the weight is read through .data | v.t() | v.data.t()
plain | plain network | half of the sum is made of numbers | y = h @ v.t() | y = h @ v.t() + torch.tensor(h.sum().item(), dtype=x.dtype)
plain | plain network | no_grad around one factor | y = h @ v.t() | with torch.no_grad(): scale = h.square().sum()\ny = h @ v.t() * scale
plain | plain normalization | the mean is detached | m = x.mean(1, keepdim=True) | m = x.mean(1, keepdim=True).detach()
plain | plain normalization | the deviation is detached | + 0.1).sqrt() | + 0.1).sqrt().detach()
plain | plain normalization | through NumPy and back | m = x.mean(1, keepdim=True) | m = torch.from_numpy(x.detach().numpy().mean(1, keepdims=True)) if x.numel() else x.mean(1, keepdim=True)
plain | plain normalization | rounded to float32 on the way | y = (x - m) | x = x.float().double() if x.dtype == torch.float64 else x\ny = (x - m)
"""


@dataclass(frozen=True)
class TorchFault:
    """A wrong layer: its kind, the right twin's name, what is wrong, and the edits."""

    kind: str
    twin: str
    what: str
    edits: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """Unique among the faults."""
        return f"{self.twin}: {self.what}"

    @property
    def right(self) -> TorchLayer:
        """The layer without the fault."""
        return TORCH_LAYERS[self.twin]

    @cached_property
    def wrong(self) -> TorchLayer:
        """The layer with it."""
        return self.right.changed(list(self.edits))


def _read(table: str) -> list[TorchFault]:
    found = []
    for line in table.strip().splitlines():
        if line.startswith("#"):
            continue
        kind, twin, what, *texts = (
            part.strip().replace("\\n", "\n") for part in re.split(r"\s\|(?:\s|$)", line)
        )  # fmt: skip
        edits = tuple(zip(texts[::2], texts[1::2], strict=True))
        found.append(TorchFault(kind, twin, what, edits))
    return found


TORCH_FAULTS = _read(FAULTS)
