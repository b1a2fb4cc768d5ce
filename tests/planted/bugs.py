"""The mistakes: each changes one thing in one layer, and says which argument then is wrong.

Three sources.  `SLIPS` are edits of the text, one by one, such as people make them.  `GENERIC`
appends a line behind one argument's gradient, over all layers in turn.  `METHODS` breaks a promise
of Torch7's three methods (accumulation, scale, memory, modes) in layers of every sort.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from planted.hunting import ByHand
from planted.layers import LAYERS, LayerKind
from tapegrad.autograd import Tensor

# ruff: noqa: E501  # a slip is one line of a table

__all__ = ["BUGS", "Bug"]


@dataclass(frozen=True)
class Bug:
    """A wrong layer.

    argument: what must be named, "" where the mistake is not in one gradient
    family:   slip, generic or method
    """

    name: str
    kind: LayerKind
    what: str
    argument: str
    family: str
    make: type[ByHand] = ByHand


# Slips: layer | argument | what | text | other text -----------------------------------------------

SLIPS = """
linear | x | transpose | g @ weight | (weight.T @ g.T).reshape(x.shape)
linear | weight | transpose, right for squares only | g.T @ x | (x.T @ g).reshape(weight.shape)
linear | bias | mean instead of sum | g.sum(axis=0) | g.mean(axis=0)
linear | weight | mean over the batch | g.T @ x | g.T @ x / len(x)
bilinear | a | indices swapped | ga = np.einsum('no,oij,nj->ni', g, weight, b) | ga = np.einsum('no,oij,nj->ni', g, weight, b[::-1])
bilinear | weight | factors swapped | np.einsum('no,ni,nj->oij', g, a, b) | np.einsum('no,ni,nj->oij', g, b, a) if a.shape == b.shape else np.einsum('no,ni,nj->oij', g, a, b)
batched product | a | no transpose of squares | g @ b.swapaxes(1, 2) | g @ (b if b.shape[1] == b.shape[2] else b.swapaxes(1, 2))
batched product | b | first sample for all | a.swapaxes(1, 2) @ g | np.broadcast_to(a[:1], a.shape).swapaxes(1, 2) @ g
dot product | a | the other's value | g[:, None] * b | g[:, None] * a
outer product | b | wrong axis | (g * a[:, :, None]).sum(axis=1) | (g * a[:, :, None]).sum(axis=1 if g.shape[1] != g.shape[2] else 2)
scale | weight | only over the batch | (g * x).sum(axis=(0, 2)) | (g * x).sum(axis=0)[:, -1]
scale | x | weight forgotten | gx = g * weight[:, None] | gx = g * 1
offset | bias | no sum over the batch | g.sum(axis=0) | g[0]
broadcast product | b | no sum over the broadcast axis | (g * a).sum(axis=0) | (g * a)[-1]
quotient | b | sign | -g * y / b | g * y / b
quotient | b | numerator in place of the quotient | -g * y / b | -g * a / b
euclidean | weight | sign | -u.sum(axis=0) | u.sum(axis=0)
euclidean | x | not divided by the distance | u = g[:, :, None] * d / y[:, :, None] | u = g[:, :, None] * d
factorized | x | second term forgotten | - g[:, None] * x * (weight * weight).sum(axis=1) | + 0
factorized | weight | twice the square | - (g[:, None] * x * x).sum(axis=0)[:, None] * weight | - 2 * (g[:, None] * x * x).sum(axis=0)[:, None] * weight
convolution | x | overwrites overlapping windows | += np.einsum('no,ock->nck' | = np.einsum('no,ock->nck'
convolution | x | padding cut at the wrong end | gp[:, :, pad:pad + x.shape[2]] | gp[:, :, :x.shape[2]]
convolution | x | stride ignored | gp[:, :, i * stride:i * stride + k] | gp[:, :, i:i + k]
convolution | weight | kernel not flipped back | np.einsum('nom,ncmk->ock', g, windows) | np.einsum('nom,ncmk->ock', g, windows)[:, :, ::-1]
convolution | bias | last position missing | g.sum(axis=(0, 2)) | g[:, :, :-1].sum(axis=(0, 2))
convolution | x | last window missing | for i in range(m): | for i in range(m - 1):
convolution 2d | x | kernel axes swapped for squares | weight[:, :, a, b]) | (weight[:, :, b, a] if k == l else weight[:, :, a, b]))
convolution 2d | weight | overwritten by the last row | gweight[:, :, a, b] = | gweight[:, :, -1, b] =
convolution 2d | x | off by one | gx[:, :, a:a + m, b:b + n] | gx[:, :, :m, b:b + n]
depthwise convolution | weight | first tap for all | (g * x[:, :, a:a + m]) | (g * x[:, :, :m])
depthwise convolution | x | reversed kernel | g * weight[:, a, None] | g * weight[:, k - 1 - a, None]
transposed convolution | weight | overwrites | gweight += | gweight =
transposed convolution | x | stride ignored | g[:, :, i * stride:i * stride + k] | g[:, :, i:i + k]
max pooling | x | gradient to every tie | np.put_along_axis(u, first, g[..., None], axis=3) | u += g[..., None] * (windows == y[..., None])
max pooling | x | the smallest gets it | np.put_along_axis(u, first | np.put_along_axis(u, windows.argmin(axis=3)[..., None]
max pooling | x | spread evenly | np.put_along_axis(u, first, g[..., None], axis=3) | u += g[..., None] / k
average pooling | x | not divided | np.repeat(g / k, k, axis=2) | np.repeat(g, k, axis=2)
average pooling | x | tiled instead of repeated | np.repeat(g / k, k, axis=2) | np.tile(g / k, (1, 1, k))
average pooling | x | remainder of the length | gx = np.zeros_like(x) | gx = np.full_like(x, g.mean() / k)
overlapping pooling | x | overwrites where windows share a maximum | += g[:, i] | = g[:, i]
overlapping pooling | x | gradient to every tie | gx[rows, i + x[:, i:i + 3].argmax(axis=1)] += g[:, i] | gx[:, i:i + 3] += g[:, i, None] * (x[:, i:i + 3] == y[:, i, None])
overlapping pooling | x | last window missing | for i in range(m): | for i in range(m - 1):
upsampling | x | mean instead of sum | .sum(axis=3) | .mean(axis=3)
upsampling | x | first copy only | .sum(axis=3) | [..., 0]
linear interpolation | x | not halved | gx[:, 1:] += g[:, 1::2] / 2 | gx[:, 1:] += g[:, 1::2]
linear interpolation | x | one neighbour forgotten | gx[:, :-1] += g[:, 1::2] / 2 | pass
batch normalization | x | mean's share forgotten | h - h.mean(axis=0) - z | h - z
batch normalization | x | deviation's share forgotten | - z * (h * z).mean(axis=0) | - 0
batch normalization | x | unbiased variance in the backward | - z * (h * z).mean(axis=0) | - z * (h * z).sum(axis=0) / (len(x) - 1)
batch normalization | weight | input instead of the normalized one | (g * z).sum(axis=0) | (g * x).sum(axis=0)
batch normalization | x | weight forgotten | h = g * weight | h = g
layer normalization | x | wrong axis for squares | h.mean(axis=1, keepdims=True) - z | h.mean(axis=0 if len(x) == x.shape[1] else 1, keepdims=True) - z
layer normalization | weight | mean over the batch | (g * z).sum(axis=0) | (g * z).mean(axis=0)
layer normalization | x | saved values of another eps | z * (h * z).mean | z * (1 + 1e-4) * (h * z).mean
root mean square normalization | x | second term not averaged | (h * z).mean(axis=1, keepdims=True) | (h * z).sum(axis=1, keepdims=True)
root mean square normalization | x | weight left out of the second term | z * (h * z).mean | z * (g * z).mean
unit length | x | projection forgotten | - y * (g * y).sum(axis=1, keepdims=True) | - 0
unit length | x | projection over the wrong axis | (g * y).sum(axis=1, keepdims=True) | (g * y).sum(axis=0, keepdims=True)
standardization | x | mean over all axes | g.mean(axis=2, keepdims=True) - y | g.mean() - y
standardization | x | variance instead of deviation | / s | / (s * s)
local response | x | one neighbour forgotten | spread[:, :-1] += u[:, 1:] | pass
local response | x | exponent off by one | base ** -1.75 | base ** -0.75
relu | x | by the sign of the cotangent | (x > 0) | (g > 0)
relu | x | threshold at one half | (x > 0) | (x > 0.5)
leaky relu | x | slope in the wrong half | np.where(x > 0, g, slope * g) | np.where(x < 0, g, slope * g)
leaky relu | x | fixed slope | slope * g | 0.25 * g
parametric relu | weight | not summed over positions | .sum(axis=(0, 2)) | [:, :, 0].sum(axis=0)
parametric relu | weight | positive half too | np.where(x > 0, 0, g * x) | (g * x)
elu | x | the value instead of the exponential | g * e | g * y
gelu | x | inner derivative forgotten | (1 - t * t) * inner | (1 - t * t)
gelu | x | 3 forgotten | 3 * 0.044715 | 0.044715
silu | x | second term forgotten | s + y * (1 - s) | s
silu | x | x instead of y | y * (1 - s) | x * (1 - s)
sigmoid | x | of the input | y * (1 - y) | x * (1 - x)
sigmoid | x | second power | y * (1 - y) | y * (1 - y * y)
tanh | x | no square | 1 - y * y | 1 - y
softplus | x | beta forgotten | 0.5 * beta * x | 0.5 * x
softplus | x | beta as a factor | gx = g * ( | gx = beta * g * (
softsign | x | no square | ** 2 | ** 1
hard tanh | x | wrong bound | x < high | x < 1
hard tanh | x | gradient outside | (x > -1) & (x < high) | (x < high)
absolute value | x | without sign | np.sign(x) | 1
absolute value | x | NaN at 0 | np.sign(x) | (x / np.abs(x))
square root | x | no half | (2 * y) | y
square root | x | of the input | (2 * y) | (2 * x)
logarithm | x | of the value | g / x | g / (1 + y * y)
logarithm | x | offset | g / x | g / (x + 1e-6)
power | x | exponent off by one | x ** (p - 1) | x ** p
power | x | fixed exponent | g * p * x ** (p - 1) | g * 2 * x ** (p - 1)
gated linear unit | x | halves swapped | [g * s, g * a * s * (1 - s)] | [g * a * s * (1 - s), g * s]
gated linear unit | x | gate not differentiated | g * a * s * (1 - s) | g * a * s
maxout | x | first piece always | x.argmax(axis=2)[..., None] | 0 * x.argmax(axis=2)[..., None]
maxout | x | gradient to every tie | np.put_along_axis(gx, x.argmax(axis=2)[..., None], g[..., None], axis=2) | gx += g[..., None] * (x == y[..., None])
softmax | x | diagonal only | (g - (g * y).sum(axis=1, keepdims=True)) | g * (1 - y)
softmax | x | wrong axis | (g * y).sum(axis=1, keepdims=True) | (g * y).sum(axis=0, keepdims=True)
log softmax | x | mean instead of sum | g.sum(axis=1, keepdims=True) | g.mean(axis=1, keepdims=True)
log softmax | x | probabilities not exponentiated | np.exp(y) * | y *
log sum exp | x | not normalized | / e.sum(axis=1, keepdims=True) | * 1
cross entropy | x | not averaged | / len(x) | * 1
cross entropy | x | weights forgotten | * rows[labels][:, None] / len | / len
cross entropy | x | label's one forgotten | p[n, labels] -= 1 | pass
squared error | x | no 2 | g * 2 * d | g * d
squared error | target | sign | gtarget = -gx | gtarget = gx
squared error | x | divided by the rows only | / d.size | / len(d)
huber | x | not clipped | np.clip(d, -1, 1) | d
huber | x | sign only | np.clip(d, -1, 1) | np.sign(d)
hinge | x | label's row counts one | gx[n, labels] = -gx.sum(axis=1) | gx[n, labels] = -g
hinge | x | all classes counted | (m > 0) | (m > -9)
binary cross entropy | x | not divided by the variance | / (x * (1 - x)) | / 1
binary cross entropy | target | sign | np.log(1 - x) - np.log(x) | np.log(x) - np.log(1 - x)
cosine similarity | a | norm not squared | / na ** 2) | / na)
cosine similarity | b | projection forgotten | - y[:, None] * b / nb ** 2 | - 0
divergence | x | sign | gx = -g | gx = g
divergence | target | one forgotten | - np.log(x) + 1) | - np.log(x))
sum | x | wrong axis of squares | np.expand_dims(g, axis) | np.expand_dims(g, axis if x.shape[1] != x.shape[2] else 3 - axis)
mean | x | divided by the wrong length | x.shape[axis] | x.shape[1]
mean | x | not divided | / x.shape[axis] | * 1.0
variance | x | biased in the backward | (x.shape[1] - 1) | x.shape[1]
variance | x | not centred | 2 * c | 2 * x
maximum over an axis | x | gradient to every tie | gx[x.argmax(axis=0), np.arange(x.shape[1])] = g | gx += g * (x == y)
maximum over an axis | x | along the other axis | gx[x.argmax(axis=0), np.arange(x.shape[1])] = g | gx[0] = g
median | x | lower neighbour | gx[np.arange(len(x)), middle] | gx[np.arange(len(x)), order[:, (x.shape[1] - 1) // 2]]
median | x | every tie | gx[np.arange(len(x)), middle] = g | gx += g[:, None] * (x == y[:, None])
product | x | quotient, NaN at 0 | np.delete(x, i, axis=1).prod(axis=1) | (y / x[:, i])
product | x | own factor kept | np.delete(x, i, axis=1).prod(axis=1) | y
cumulative sum | x | not reversed | np.cumsum(g[:, ::-1], axis=1)[:, ::-1] | np.cumsum(g, axis=1)
cumulative sum | x | exclusive | [:, ::-1].copy() | [:, ::-1] - g
masked mean | x | mask forgotten | mask * (g / count) | (0 * mask + 1) * (g / count)
masked mean | x | divided by the full length | g / count | g / x.shape[1]
gather | x | overwrites repeated indices | np.add.at(gx, index, g) | gx[index] = g
gather | x | buffered addition | np.add.at(gx, index, g) | gx[index] += g
lookup | weight | overwrites repeated indices | np.add.at(gweight, index, g * s[:, None]) | gweight[index] += g * s[:, None]
lookup | weight | factor forgotten | g * s[:, None]) | g)
lookup | s | wrong row | (g * weight[index]) | (g * weight[:1])
scatter | x | off by one | g[index % 3] | g[(index + 1) % 3]
padding | x | cut at the front | before:before + x.shape[1] | :x.shape[1]
padding | x | cut at the wrong end | :x.shape[2]] | g.shape[2] - x.shape[2]:]
reflection padding | x | reflected to the edge | gx[:, 1] += g[:, 0] | gx[:, 0] += g[:, 0]
reflection padding | x | overwrites | gx[:, -2] += g[:, -1] | gx[:, -2] = g[:, -1]
roll | x | same direction | -k | k
transposition | x | same permutation again | g.transpose(0, 3, 1, 2).copy() | g.transpose(0, 2, 3, 1).reshape(x.shape)
concatenation | a | the last columns | g[:, :a.shape[1]] | g[:, -a.shape[1]:]
concatenation | b | off by one | g[:, a.shape[1]:] | np.roll(g, 1, axis=1)[:, a.shape[1]:]
pixel shuffle | x | reshaped without transposition | g.reshape(len(x), x.shape[2], x.shape[1]).transpose(0, 2, 1) | g.reshape(x.shape)
triangle | x | diagonal missing | np.tril(g) | np.tril(g, -1)
triangle | x | the other triangle | np.tril(g) | np.triu(g)
recurrence | x | nothing carried back in time | (g[t] + carry) | g[t]
recurrence | w | own step instead of the one before | d * h[t] | d * h[t + 1]
recurrence | u | overwrites | gu += | gu =
recurrence | w | last step missing | carry = w * d | carry = w * d * (t < 2)
gated recurrence | h | one path forgotten | dn * r + dz - dr | dn * r + dz
gated recurrence | wr | before the gate | (dr * x).sum(axis=0) | (dn * x).sum(axis=0)
gated recurrence | x | one gate forgotten | + dr * wr | + 0
memory cell | c | the new state's share | gc = ds * f | gc = ds * (1 - f)
memory cell | wo | gate not differentiated | do = g * t * 2 * o * (1 - o) | do = g * t
memory cell | x | candidate forgotten | + ds * (1 - f) * (1 - np.tanh(x) ** 2) | + 0
attention | q | scale forgotten | / q.shape[2] ** 0.5 | / 1.0
attention | k | softmax not centred | da - (da * a).sum(axis=2, keepdims=True) | da
attention | v | not transposed for squares | gv = a.swapaxes(1, 2) @ g | gv = (a if a.shape[1] == a.shape[2] else a.swapaxes(1, 2)) @ g
dropout | x | other scale | / 0.6 if | if
dropout | x | mask in evaluation, too | if train else g.copy() | if True else g.copy()
inverse | x | sign | -0.2 | 0.2
inverse | x | not transposed | y.T @ g @ y.T | y @ g @ y
quadratic form | x | weight taken for symmetric | (weight + weight.T) | (2 * weight)
quadratic form | weight | twice | np.einsum('n,ni,nj->ij', g, x, x) | 2 * np.einsum('n,ni,nj->ij', g, x, x)
trace of a product | a | not transposed for squares | b.swapaxes(1, 2) | (b if b.shape[1] == b.shape[2] else b.swapaxes(1, 2))
trace of a product | b | first sample for all | a.swapaxes(1, 2) | a[:1].swapaxes(1, 2)
"""


def _slips() -> list[Bug]:
    found = []
    for line in SLIPS.strip().splitlines():
        name, argument, what, old, new = (part.strip() for part in line.split(" | "))
        kind = LAYERS[name]
        if old not in kind.code.backward:
            raise ValueError(f"{name}: no such text in its backward code: {old}")
        changed = kind.changed(kind.code.forward, kind.code.backward.replace(old, new))
        found.append(Bug(f"{name}: {argument}, {what}", changed, what, argument, "slip"))
    return found


# One line behind a gradient, over all layers ------------------------------------------------------

GENERIC = {
    "wrong factor": "{g} = 2 * {g}",
    "off by one per cent": "{g} = 1.01 * {g}",
    "sign": "{g} = -{g}",
    "forgotten": "{g} = 0 * {g}",
    "one entry": "{g} = {g} * 1.0; {g}.flat[-1] *= 1.1",
    "last entry dropped": "{g} = {g} * 1.0; {g}.flat[-1] = 0",
    "batch remainder": "{g} = {g} * 1.0; {g}[len({g}) // 2 * 2:] = 0",
    "permuted": "{g} = {g}.reshape(-1)[::-1].reshape({g}.shape)",
    "rolled": "{g} = np.roll({g}, 1)",
    "float32 inside": "{g} = {g}.astype(np.float32).astype({g}.dtype)",
    "rounded": "{g} = np.round({g}, 3)",
    "clipped": "{g} = np.clip({g}, -0.5, 0.5)",
    "offset": "{g} = {g} + 1e-3",
    "wrong dtype": "{g} = {g}.astype(np.float64)",
    "square root": "{g} = np.sign({g}) * np.sqrt(np.abs({g}))",
    "wrong saved value": "{g} = {g} * (1 + 1e-3 * np.tanh(y.mean()))",
    "size-one axes": "{g} = {g} * 3 if 1 in {g}.shape[1:] else {g}",
    "unbatched only": "{g} = {g} * 0.5 if len({g}) == 1 else {g}",
    "large values": "{g} = np.where(np.abs({g}) > 50, 0, {g})",
    "zeros": "{g} = np.where({a} == 0, np.nan, {g})",
    "negative values": "{g} = np.where({a} < -1, 0.9 * {g}, {g})",
}


def _bites(what: str, kind: LayerKind, argument: str) -> bool:
    """Whether the operator can change this gradient at all: an equivalent layer is no bug."""
    if what in ("zeros", "negative values"):
        return argument in kind.inputs and argument not in kind.domain
    if what == "size-one axes":
        sizes = {**kind.inputs, **kind.parameters}[argument].split()[1:]
        return any(kind.sizes.get(size, (1, 4))[0] == 1 for size in sizes)
    if what == "large values":
        return kind.name in LARGE_GRADIENTS
    return True


LARGE_GRADIENTS = {
    "linear", "bilinear", "batched product", "dot product", "outer product", "scale",
    "broadcast product", "factorized", "convolution", "convolution 2d", "depthwise convolution",
    "transposed convolution", "squared error", "variance", "power", "product", "quadratic form",
    "trace of a product",
}  # fmt: skip


def _generic() -> list[Bug]:
    found = []
    operators = list(GENERIC.items())
    turn = 0
    for kind in LAYERS.values():
        arguments = [*kind.inputs, *kind.parameters]
        for _ in range(2):
            argument = arguments[turn // 2 % len(arguments)]
            while not _bites(operators[turn % len(operators)][0], kind, argument):
                turn += 1
            what, line = operators[turn % len(operators)]
            turn += 1
            text = line.format(g=f"g{argument}", a=argument)
            changed = kind.changed(kind.code.forward, f"{kind.code.backward}\n{text}\n")
            found.append(
                Bug(f"{kind.name}: {argument}, {what}", changed, what, argument, "generic")
            )
    return found


# The methods --------------------------------------------------------------------------------------


class Overwrites(ByHand):
    def accGradParameters(self, input, gradOutput, scale=1):
        pulled = self.pulled(gradOutput, self.names)
        for gradient, value in zip(self.parameters()[1], pulled, strict=True):
            gradient.data[...] = scale * value


class IgnoresScale(ByHand):
    def accGradParameters(self, input, gradOutput, scale=1):
        super().accGradParameters(input, gradOutput, 1)


class ScalesTwice(ByHand):
    def accGradParameters(self, input, gradOutput, scale=1):
        super().accGradParameters(input, gradOutput, scale * scale)


class AccumulatesTwice(ByHand):
    def updateGradInput(self, input, gradOutput):
        super().accGradParameters(input, gradOutput, 1)
        return super().updateGradInput(input, gradOutput)


class AccumulatesGradInput(ByHand):
    def updateGradInput(self, input, gradOutput):
        before = getattr(self, "gathered", None)
        now = self.pulled(gradOutput, list(self.kind.inputs))
        if before is not None and [b.shape for b in before] == [n.shape for n in now]:
            now = [b + n for b, n in zip(before, now, strict=True)]
        self.gathered = now
        self.gradInput = self.in_structure(input, now)
        return self.gradInput


class StaleCache(ByHand):
    def updateOutput(self, x):
        known = getattr(self, "values", None)
        y = super().updateOutput(x)
        if known is not None and known.y.shape == self.values.y.shape:
            self.values = known
        return y


class WritesToItsInput(ByHand):
    def updateOutput(self, x):
        y = super().updateOutput(x)
        for array in self.arguments(x).values():
            if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.flags.writeable:
                array[...] *= 0.5
        return y


class WritesToGradOutput(ByHand):
    def updateGradInput(self, input, gradOutput):
        found = super().updateGradInput(input, gradOutput)
        array = gradOutput.data
        if array.flags.writeable:
            array[...] = 0
        return found


class WritesToParameters(ByHand):
    def updateGradInput(self, input, gradOutput):
        found = super().updateGradInput(input, gradOutput)
        for p in self.held:
            p.data[...] *= 1.5
        return found


class ReusesItsOutput(ByHand):
    def updateOutput(self, x):
        y = super().updateOutput(x).numpy()
        kept = self.__dict__.get("buffer")
        if kept is None or kept.shape != y.shape or kept.dtype != y.dtype:
            self.buffer = kept = np.empty_like(y)
        kept[...] = y
        return Tensor(kept)


class ReusesGradInput(ByHand):
    def updateGradInput(self, input, gradOutput):
        first, *rest = self.pulled(gradOutput, list(self.kind.inputs))
        kept = self.__dict__.get("buffer")
        if kept is None or kept.shape != np.shape(first) or kept.dtype != first.dtype:
            self.buffer = kept = np.empty_like(first)
        kept[...] = first
        self.gradInput = self.in_structure(input, [kept, *rest])
        return self.gradInput


class GivesGradOutputBack(ByHand):
    def updateGradInput(self, input, gradOutput):
        super().updateGradInput(input, gradOutput)
        g = gradOutput.numpy()
        if g.shape == np.shape(getattr(self.values, next(iter(self.kind.inputs)))):
            g[...] = self.gradInput.numpy()
            self.gradInput = Tensor(g)
        return self.gradInput


class EvaluatesForward(ByHand):
    def updateOutput(self, x):
        y = super().updateOutput(x)
        return y if self._training else Tensor(y.numpy() * 0.5)


class NoGradientInEvaluation(ByHand):
    def pulled(self, gradOutput, wanted):
        found = super().pulled(gradOutput, wanted)
        return found if self._training else [0 * value for value in found]


class RemembersItsFirstInput(ByHand):
    def updateOutput(self, x):
        if "mean" not in self.__dict__:
            self.mean = float(np.mean(self.arguments(x)[next(iter(self.kind.inputs))]))
        return Tensor(super().updateOutput(x).numpy() + self.mean)


class CountsItsCalls(ByHand):
    calls = 0

    def updateOutput(self, x):
        self.calls += 1
        return Tensor(super().updateOutput(x).numpy() * self.calls)


class ComputesInFloat32(ByHand):
    def updateOutput(self, x):
        y = super().updateOutput(x).numpy()
        return Tensor(y.astype(np.float32).astype(y.dtype))


class ReturnsFloat64(ByHand):
    def updateOutput(self, x):
        return Tensor(super().updateOutput(x).numpy().astype(np.float64))


class DropsNaN(ByHand):
    def updateOutput(self, x):
        return Tensor(np.nan_to_num(super().updateOutput(x).numpy()))


class MixesItsBatch(ByHand):
    def updateOutput(self, x):
        y = super().updateOutput(x).numpy()
        return Tensor(y - y.mean(axis=0, keepdims=True))

    def pulled(self, gradOutput, wanted):
        g = gradOutput.numpy()
        return super().pulled(Tensor(g - g.mean(axis=0, keepdims=True)), wanted)


class SharesItsParametersWithItsClone(ByHand):
    def __deepcopy__(self, memo):
        other = type(self)(self.kind, {}, self.constants)
        other.names, other.held = self.names, self.held
        other._training = self._training
        memo[id(self)] = other
        return other


class UnevenBackward(ByHand):
    def pulled(self, gradOutput, wanted):
        found = super().pulled(gradOutput, wanted)
        return [np.where(np.abs(value) < 1e-2, 0, value) for value in found]


class ComputesWithIntegers(ByHand):
    promotes = False


class IgnoresStrides(ByHand):
    def updateOutput(self, x):
        name = next(iter(self.kind.inputs))
        arguments = self.arguments(x)
        array = arguments[name]
        if not array.flags.c_contiguous and array.base is not None:
            arguments[name] = np.ascontiguousarray(array).reshape(-1)[::-1].reshape(array.shape)
        self.values = SimpleNamespace(**self.kind.code.run(arguments))
        return Tensor(np.array(self.values.y))


# what is wrong, the class, and whether parameters are needed
METHODS: dict[str, tuple[type[ByHand], bool]] = {
    "overwrites instead of accumulating": (Overwrites, True),
    "scale ignored": (IgnoresScale, True),
    "scale squared": (ScalesTwice, True),
    "updateGradInput accumulates too": (AccumulatesTwice, True),
    "gradInput accumulates": (AccumulatesGradInput, False),
    "stale cache": (StaleCache, False),
    "input written in place": (WritesToItsInput, False),
    "gradOutput written in place": (WritesToGradOutput, False),
    "parameters written in backward": (WritesToParameters, True),
    "output buffer reused": (ReusesItsOutput, False),
    "gradInput buffer reused": (ReusesGradInput, False),
    "gradInput is gradOutput's memory": (GivesGradOutputBack, False),
    "evaluation differs from its gradient": (EvaluatesForward, False),
    "no gradient in evaluation": (NoGradientInEvaluation, False),
    "remembers its first input": (RemembersItsFirstInput, False),
    "counts its calls": (CountsItsCalls, False),
    "computes in float32": (ComputesInFloat32, False),
    "returns float64 always": (ReturnsFloat64, False),
    "drops NaN": (DropsNaN, False),
    "mixes its batch": (MixesItsBatch, False),
    "clone shares parameters": (SharesItsParametersWithItsClone, True),
    "small gradients cut off": (UnevenBackward, False),
    "ignores strides": (IgnoresStrides, False),
    "computes with integers": (ComputesWithIntegers, False),
}

ON = ("linear", "scale", "batch normalization", "bilinear", "parametric relu")
PLAIN = ("tanh", "linear", "softmax", "convolution", "layer normalization", "sigmoid")
WITHOUT = {  # a promise that the layer does not give cannot be broken
    "mixes its batch": ("tanh", "linear"),
    "gradInput is gradOutput's memory": ("tanh", "sigmoid"),
    "returns float64 always": ("tanh", "sigmoid"),
    "drops NaN": ("tanh", "linear"),
    "computes with integers": ("tanh", "softmax"),
}


def _methods() -> list[Bug]:
    found = []
    for turn, (what, (make, needs_parameters)) in enumerate(METHODS.items()):
        pool = WITHOUT.get(what, ON if needs_parameters else PLAIN)
        names = {pool[turn % len(pool)]: 0, pool[(turn + 1) % len(pool)]: 0}
        found += [Bug(f"{name}: {what}", LAYERS[name], what, "", "method", make) for name in names]
    return found


BUGS: list[Bug] = [*_slips(), *_generic(), *_methods()]
