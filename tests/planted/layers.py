"""Correct layers with gradients by hand, as data: code that is short enough to be changed as text.

The forward code computes `y` from the arguments, the backward code `g<argument>` from the cotangent
`g` and everything that the forward code has computed.  Arguments are declared by named sizes, as
the checker's cases are; those behind the bar are parameters.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

__all__ = ["LAYERS", "Code", "LayerKind"]


@cache
def _compiled(text: str) -> Any:
    return compile(textwrap.dedent(text), "<planted layer>", "exec")


@dataclass(frozen=True)
class Code:
    """Forward and backward of a layer, as text that runs in one namespace."""

    forward: str
    backward: str

    def run(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Every name that the forward code has bound, `y` among them."""
        names = {"np": np, **arguments}
        exec(_compiled(self.forward), names)
        return {name: value for name, value in names.items() if name not in ("np", "__builtins__")}

    def pull(self, names: dict[str, Any], g: Any, wanted: list[str]) -> list[Any]:
        """The gradients of the arguments `wanted`."""
        names = {**names, "np": np, "g": g}
        exec(_compiled(self.backward), names)
        return [names["g" + name] for name in wanted]


@dataclass(frozen=True)
class LayerKind:
    """A correct layer: how its arguments are drawn, and its code.

    inputs, parameters: name -> named sizes
    sizes:              name -> (least, most) where 1 … 4 does not do
    options:            name -> values to draw from
    domain:             name -> open interval
    integers:           name -> (named sizes, name of the size that bounds them)
    batch:              as in the checker's Layer: whether rows of a batch do not meet
    skip:               laws that do not hold by the layer's nature
    """

    name: str
    inputs: dict[str, str]
    parameters: dict[str, str]
    code: Code
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    options: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    domain: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    integers: dict[str, tuple[str, str]] = field(default_factory=dict)
    batch: str | None = None
    skip: tuple[str, ...] = ()
    large: float = 1000.0

    def draw(self, d: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """(inputs, parameters, constants) of one example."""
        for name, (low, high) in self.sizes.items():
            d.size(name, low, high)
        constants = {name: d.choice(list(values)) for name, values in self.options.items()}
        arrays = {
            name: d.array(d.shape(names), *self.domain.get(name, (None, None)), large=self.large)
            for name, names in {**self.inputs, **self.parameters}.items()
        }
        for name, (names, bound) in self.integers.items():
            constants[name] = d.integers(d.shape(names), 0, d.size(bound))
        inputs = {name: arrays[name] for name in self.inputs}
        return inputs, {name: arrays[name] for name in self.parameters}, constants

    def changed(self, forward: str, backward: str) -> LayerKind:
        """The layer with other code."""
        return replace(self, code=Code(forward, backward))


LAYERS: dict[str, LayerKind] = {}


def layer(name: str, arguments: str, forward: str, backward: str, **more: Any) -> None:
    """Declare a layer; `arguments` is ``"x: N i | weight: o i, bias: o"``."""
    inputs, _, parameters = arguments.partition("|")
    LAYERS[name] = LayerKind(
        name, _named(inputs), _named(parameters),
        Code(textwrap.dedent(forward), textwrap.dedent(backward)), **more,
    )  # fmt: skip


def _named(text: str) -> dict[str, str]:
    pairs = [part.split(":") for part in text.split(",") if part.strip()]
    return {name.strip(): sizes.strip() for name, sizes in pairs}


NAN = ("nan_stays_nan",)
ROWS = "always"

# Products -----------------------------------------------------------------------------------------

layer("linear", "x: N i | weight: o i, bias: o", "y = x @ weight.T + bias", """
    gx = g @ weight
    gweight = g.T @ x
    gbias = g.sum(axis=0)
    """, batch=ROWS)  # fmt: skip
layer("bilinear", "a: N i, b: N j | weight: o i j, bias: o", """
    y = np.einsum('ni,oij,nj->no', a, weight, b) + bias
    """, """
    ga = np.einsum('no,oij,nj->ni', g, weight, b)
    gb = np.einsum('no,oij,ni->nj', g, weight, a)
    gweight = np.einsum('no,ni,nj->oij', g, a, b)
    gbias = g.sum(axis=0)
    """, batch=ROWS)  # fmt: skip
layer("batched product", "a: N i k, b: N k j", "y = a @ b", """
    ga = g @ b.swapaxes(1, 2)
    gb = a.swapaxes(1, 2) @ g
    """, batch=ROWS)  # fmt: skip
layer("dot product", "a: N i, b: N i", "y = (a * b).sum(axis=1)", """
    ga = g[:, None] * b
    gb = g[:, None] * a
    """, batch=ROWS)  # fmt: skip
layer("outer product", "a: N i, b: N j", "y = a[:, :, None] * b[:, None, :]", """
    ga = (g * b[:, None, :]).sum(axis=2)
    gb = (g * a[:, :, None]).sum(axis=1)
    """, batch=ROWS)  # fmt: skip
layer("scale", "x: N C T | weight: C", "y = x * weight[:, None]", """
    gx = g * weight[:, None]
    gweight = (g * x).sum(axis=(0, 2))
    """, batch=ROWS)  # fmt: skip
layer("offset", "x: N i | bias: i", "y = x + bias", """
    gx = g.copy()
    gbias = g.sum(axis=0)
    """, batch=ROWS)  # fmt: skip
layer("broadcast product", "a: N i, b: i", "y = a * b", """
    ga = g * b
    gb = (g * a).sum(axis=0)
    """)  # fmt: skip
layer("quotient", "a: N i, b: N i", "y = a / b", """
    ga = g / b
    gb = -g * y / b
    """, batch=ROWS, domain={"b": (0.5, None)})  # fmt: skip
layer("euclidean", "x: N i | weight: o i", """
    d = x[:, None, :] - weight
    y = np.sqrt((d * d).sum(axis=2) + 0.01)
    """, """
    u = g[:, :, None] * d / y[:, :, None]
    gx = u.sum(axis=1)
    gweight = -u.sum(axis=0)
    """, batch=ROWS)  # fmt: skip
layer("factorized", "x: N i | weight: i k", """
    s = x @ weight
    y = 0.5 * (s * s - (x * x) @ (weight * weight)).sum(axis=1)
    """, """
    h = g[:, None] * s
    gx = h @ weight.T - g[:, None] * x * (weight * weight).sum(axis=1)
    gweight = x.T @ h - (g[:, None] * x * x).sum(axis=0)[:, None] * weight
    """, batch=ROWS, large=10.0)  # fmt: skip

# Convolution and pooling --------------------------------------------------------------------------

layer("convolution", "x: N C L | weight: O C k, bias: O", """
    p = np.pad(x, ((0, 0), (0, 0), (pad, pad)))
    k = weight.shape[2]
    m = (p.shape[2] - k) // stride + 1
    windows = np.stack([p[:, :, i * stride:i * stride + k] for i in range(m)], axis=2)
    y = np.einsum('ncmk,ock->nom', windows, weight) + bias[:, None]
    """, """
    gp = np.zeros_like(p)
    for i in range(m):
        gp[:, :, i * stride:i * stride + k] += np.einsum('no,ock->nck', g[:, :, i], weight)
    gx = gp[:, :, pad:pad + x.shape[2]].copy()
    gweight = np.einsum('nom,ncmk->ock', g, windows)
    gbias = g.sum(axis=(0, 2))
    """, sizes={"L": (3, 6), "k": (1, 3), "C": (1, 2), "O": (1, 2), "N": (1, 2)},
    options={"stride": (1, 2), "pad": (0, 1)}, batch=ROWS)  # fmt: skip
layer("convolution 2d", "x: N C H W | weight: O C k l", """
    k, l = weight.shape[2:]
    m, n = x.shape[2] - k + 1, x.shape[3] - l + 1
    y = np.zeros((x.shape[0], weight.shape[0], m, n), x.dtype)
    for a in range(k):
        for b in range(l):
            y += np.einsum('ncij,oc->noij', x[:, :, a:a + m, b:b + n], weight[:, :, a, b])
    """, """
    gx, gweight = np.zeros_like(x), np.zeros_like(weight)
    for a in range(k):
        for b in range(l):
            gx[:, :, a:a + m, b:b + n] += np.einsum('noij,oc->ncij', g, weight[:, :, a, b])
            gweight[:, :, a, b] = np.einsum('noij,ncij->oc', g, x[:, :, a:a + m, b:b + n])
    """, sizes={"H": (2, 4), "W": (2, 4), "k": (1, 2), "l": (1, 2), "C": (1, 2), "O": (1, 2),
                "N": (1, 2)}, batch=ROWS)  # fmt: skip
layer("depthwise convolution", "x: N C L | weight: C k", """
    k = weight.shape[1]
    m = x.shape[2] - k + 1
    y = sum(x[:, :, a:a + m] * weight[:, a, None] for a in range(k))
    """, """
    gx, gweight = np.zeros_like(x), np.zeros_like(weight)
    for a in range(k):
        gx[:, :, a:a + m] += g * weight[:, a, None]
        gweight[:, a] = (g * x[:, :, a:a + m]).sum(axis=(0, 2))
    """, sizes={"L": (3, 5), "k": (1, 3)}, batch=ROWS)  # fmt: skip
layer("transposed convolution", "x: N C L | weight: C O k", """
    k = weight.shape[2]
    y = np.zeros((x.shape[0], weight.shape[1], (x.shape[2] - 1) * stride + k), x.dtype)
    for i in range(x.shape[2]):
        y[:, :, i * stride:i * stride + k] += np.einsum('nc,cok->nok', x[:, :, i], weight)
    """, """
    gx, gweight = np.zeros_like(x), np.zeros_like(weight)
    for i in range(x.shape[2]):
        part = g[:, :, i * stride:i * stride + k]
        gx[:, :, i] = np.einsum('nok,cok->nc', part, weight)
        gweight += np.einsum('nok,nc->cok', part, x[:, :, i])
    """, sizes={"k": (1, 3), "C": (1, 2), "O": (1, 2)}, options={"stride": (1, 2)},
    batch=ROWS)  # fmt: skip
layer("max pooling", "x: N C L", """
    m = x.shape[2] // k
    windows = x[:, :, :m * k].reshape(*x.shape[:2], m, k)
    first = windows.argmax(axis=3)[..., None]
    y = windows.max(axis=3)
    """, """
    u = np.zeros_like(windows)
    np.put_along_axis(u, first, g[..., None], axis=3)
    gx = np.zeros_like(x)
    gx[:, :, :m * k] = u.reshape(*x.shape[:2], m * k)
    """, sizes={"L": (3, 7)}, options={"k": (2, 3)}, batch=ROWS)  # fmt: skip
layer("average pooling", "x: N C L", """
    m = x.shape[2] // k
    y = x[:, :, :m * k].reshape(*x.shape[:2], m, k).mean(axis=3)
    """, """
    gx = np.zeros_like(x)
    gx[:, :, :m * k] = np.repeat(g / k, k, axis=2)
    """, sizes={"L": (3, 7)}, options={"k": (2, 3)}, batch=ROWS)  # fmt: skip
layer("overlapping pooling", "x: N L", """
    m = x.shape[1] - 2
    y = np.stack([x[:, i:i + 3].max(axis=1) for i in range(m)], axis=1)
    """, """
    gx = np.zeros_like(x)
    rows = np.arange(len(x))
    for i in range(m):
        gx[rows, i + x[:, i:i + 3].argmax(axis=1)] += g[:, i]
    """, sizes={"L": (4, 7)}, batch=ROWS)  # fmt: skip
layer("upsampling", "x: N C L", "y = np.repeat(x, k, axis=2)", """
    gx = g.reshape(*x.shape, k).sum(axis=3)
    """, options={"k": (2, 3)}, batch=ROWS)  # fmt: skip
layer("linear interpolation", "x: N L", """
    y = np.empty((len(x), 2 * x.shape[1] - 1), x.dtype)
    y[:, ::2] = x
    y[:, 1::2] = (x[:, 1:] + x[:, :-1]) / 2
    """, """
    gx = g[:, ::2].copy()
    gx[:, 1:] += g[:, 1::2] / 2
    gx[:, :-1] += g[:, 1::2] / 2
    """, sizes={"L": (2, 5)}, batch=ROWS)  # fmt: skip

# Normalization ------------------------------------------------------------------------------------

layer("batch normalization", "x: N C | weight: C, bias: C", """
    c = x - x.mean(axis=0)
    inverse = 1 / np.sqrt((c * c).mean(axis=0) + 1e-5)
    z = c * inverse
    y = z * weight + bias
    """, """
    h = g * weight
    gx = inverse * (h - h.mean(axis=0) - z * (h * z).mean(axis=0))
    gweight = (g * z).sum(axis=0)
    gbias = g.sum(axis=0)
    """, sizes={"N": (2, 5)})  # fmt: skip
layer("layer normalization", "x: N C | weight: C, bias: C", """
    c = x - x.mean(axis=1, keepdims=True)
    inverse = 1 / np.sqrt((c * c).mean(axis=1, keepdims=True) + 1e-5)
    z = c * inverse
    y = z * weight + bias
    """, """
    h = g * weight
    gx = inverse * (h - h.mean(axis=1, keepdims=True) - z * (h * z).mean(axis=1, keepdims=True))
    gweight = (g * z).sum(axis=0)
    gbias = g.sum(axis=0)
    """, sizes={"C": (2, 5)}, batch=ROWS)  # fmt: skip
layer("root mean square normalization", "x: N C | weight: C", """
    inverse = 1 / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-5)
    z = x * inverse
    y = z * weight
    """, """
    h = g * weight
    gx = inverse * (h - z * (h * z).mean(axis=1, keepdims=True))
    gweight = (g * z).sum(axis=0)
    """, sizes={"C": (2, 5)}, batch=ROWS)  # fmt: skip
layer("unit length", "x: N C", """
    length = np.sqrt((x * x).sum(axis=1, keepdims=True) + 1e-8)
    y = x / length
    """, """
    gx = (g - y * (g * y).sum(axis=1, keepdims=True)) / length
    """, batch=ROWS)  # fmt: skip
layer("standardization", "x: N C T", """
    c = x - x.mean(axis=2, keepdims=True)
    s = np.sqrt((c * c).mean(axis=2, keepdims=True) + 0.01)
    y = c / s
    """, """
    gx = (g - g.mean(axis=2, keepdims=True) - y * (g * y).mean(axis=2, keepdims=True)) / s
    """, sizes={"T": (2, 5)}, batch=ROWS)  # fmt: skip
layer("local response", "x: N C", """
    s = x * x
    total = s.copy()
    total[:, 1:] += s[:, :-1]
    total[:, :-1] += s[:, 1:]
    base = 1 + 0.5 * total
    y = x * base ** -0.75
    """, """
    u = -0.75 * g * x * base ** -1.75
    spread = u.copy()
    spread[:, 1:] += u[:, :-1]
    spread[:, :-1] += u[:, 1:]
    gx = g * base ** -0.75 + x * spread
    """, sizes={"C": (2, 5)}, batch=ROWS)  # fmt: skip

# Elementwise --------------------------------------------------------------------------------------

layer("relu", "x: N i", "y = np.maximum(x, 0)", "gx = g * (x > 0)", batch=ROWS)
layer("leaky relu", "x: N i", "y = np.where(x > 0, x, slope * x)", """
    gx = np.where(x > 0, g, slope * g)
    """, options={"slope": (0.25, 0.01)}, batch=ROWS)  # fmt: skip
layer("parametric relu", "x: N C T | weight: C", """
    w = weight[:, None]
    y = np.where(x > 0, x, w * x)
    """, """
    gx = np.where(x > 0, g, w * g)
    gweight = np.where(x > 0, 0, g * x).sum(axis=(0, 2))
    """, batch=ROWS)  # fmt: skip
layer("elu", "x: N i", """
    e = np.exp(np.minimum(x, 0))
    y = np.where(x > 0, x, e - 1)
    """, "gx = np.where(x > 0, g, g * e)", batch=ROWS)  # fmt: skip
layer("gelu", "x: N i", """
    t = np.tanh(0.7978845608 * (x + 0.044715 * x ** 3))
    y = 0.5 * x * (1 + t)
    """, """
    inner = 0.7978845608 * (1 + 3 * 0.044715 * x ** 2)
    gx = g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)
    """, batch=ROWS, large=3.0)  # fmt: skip
layer("silu", "x: N i", """
    s = 0.5 + 0.5 * np.tanh(0.5 * x)
    y = x * s
    """, "gx = g * (s + y * (1 - s))", batch=ROWS)  # fmt: skip
layer("sigmoid", "x: N i", "y = 0.5 + 0.5 * np.tanh(0.5 * x)", "gx = g * y * (1 - y)", batch=ROWS)
layer("tanh", "x: N i", "y = np.tanh(x)", "gx = g * (1 - y * y)", batch=ROWS)
layer("softplus", "x: N i", "y = np.logaddexp(0, beta * x) / beta", """
    gx = g * (0.5 + 0.5 * np.tanh(0.5 * beta * x))
    """, options={"beta": (1.0, 2.0)}, batch=ROWS)  # fmt: skip
layer("softsign", "x: N i", "y = x / (1 + np.abs(x))", "gx = g / (1 + np.abs(x)) ** 2", batch=ROWS)
layer("hard tanh", "x: N i", "y = np.clip(x, -1, high)", """
    gx = g * ((x > -1) & (x < high))
    """, options={"high": (1.0, 0.5)}, batch=ROWS, skip=NAN)  # fmt: skip
layer("absolute value", "x: N i", "y = np.abs(x)", "gx = g * np.sign(x)", batch=ROWS)
layer("square root", "x: N i", "y = np.sqrt(x)", "gx = g / (2 * y)",
      domain={"x": (0, None)}, batch=ROWS)  # fmt: skip
layer("logarithm", "x: N i", "y = np.log(x)", "gx = g / x", domain={"x": (0, None)}, batch=ROWS)
layer("power", "x: N i", "y = x ** p", "gx = g * p * x ** (p - 1)", options={"p": (2, 3, 5)},
      batch=ROWS, large=10.0)  # fmt: skip
layer("gated linear unit", "x: N i", """
    half = x.shape[1] // 2
    a, s = x[:, :half], 0.5 + 0.5 * np.tanh(0.5 * x[:, half:])
    y = a * s
    """, """
    gx = np.concatenate([g * s, g * a * s * (1 - s)], axis=1)
    """, sizes={"N": (1, 3), "i": (4, 4)}, batch=ROWS)  # fmt: skip
layer("maxout", "x: N i k", "y = x.max(axis=2)", """
    gx = np.zeros_like(x)
    np.put_along_axis(gx, x.argmax(axis=2)[..., None], g[..., None], axis=2)
    """, batch=ROWS)  # fmt: skip

# Softmax and losses -------------------------------------------------------------------------------

layer("softmax", "x: N K", """
    e = np.exp(x - x.max(axis=1, keepdims=True))
    y = e / e.sum(axis=1, keepdims=True)
    """, "gx = y * (g - (g * y).sum(axis=1, keepdims=True))", sizes={"K": (2, 5)},
    batch=ROWS)  # fmt: skip
layer("log softmax", "x: N K", """
    c = x - x.max(axis=1, keepdims=True)
    y = c - np.log(np.exp(c).sum(axis=1, keepdims=True))
    """, "gx = g - np.exp(y) * g.sum(axis=1, keepdims=True)", sizes={"K": (2, 5)},
    batch=ROWS)  # fmt: skip
layer("log sum exp", "x: N K", """
    m = x.max(axis=1, keepdims=True)
    e = np.exp(x - m)
    y = m[:, 0] + np.log(e.sum(axis=1))
    """, "gx = g[:, None] * e / e.sum(axis=1, keepdims=True)", batch=ROWS)  # fmt: skip
layer("cross entropy", "x: N K", """
    c = x - x.max(axis=1, keepdims=True)
    l = c - np.log(np.exp(c).sum(axis=1, keepdims=True))
    n = np.arange(len(x))
    rows = rows.astype(x.dtype)
    y = -(l[n, labels] * rows[labels]).mean()
    """, """
    p = np.exp(l)
    p[n, labels] -= 1
    gx = g * p * rows[labels][:, None] / len(x)
    """, sizes={"N": (1, 4), "K": (2, 4)}, integers={"labels": ("N", "K")},
    options={"rows": (np.array([1.0, 0.5, 2.0, 3.0]),)})  # fmt: skip
layer("squared error", "x: N i, target: N i", """
    d = x - target
    y = (d * d).mean()
    """, """
    gx = g * 2 * d / d.size
    gtarget = -gx
    """)  # fmt: skip
layer("huber", "x: N i, target: N i", """
    d = x - target
    y = np.where(np.abs(d) < 1, 0.5 * d * d, np.abs(d) - 0.5).sum()
    """, """
    gx = g * np.clip(d, -1, 1)
    gtarget = -gx
    """)  # fmt: skip
layer("hinge", "x: N K", """
    n = np.arange(len(x))
    m = 1 - x[n, labels][:, None] + x
    m[n, labels] = 0
    y = np.maximum(m, 0).sum(axis=1)
    """, """
    gx = g[:, None] * (m > 0)
    gx[n, labels] = -gx.sum(axis=1)
    """, sizes={"K": (2, 4)}, integers={"labels": ("N", "K")}, skip=NAN)  # fmt: skip
layer("binary cross entropy", "x: N i, target: N i", """
    y = -(target * np.log(x) + (1 - target) * np.log(1 - x)).mean()
    """, """
    gx = g * (x - target) / (x * (1 - x)) / x.size
    gtarget = g * (np.log(1 - x) - np.log(x)) / x.size
    """, domain={"x": (0, 1), "target": (0, 1)})  # fmt: skip
layer("cosine similarity", "a: N i, b: N i", """
    na = np.sqrt((a * a).sum(axis=1, keepdims=True) + 1e-4)
    nb = np.sqrt((b * b).sum(axis=1, keepdims=True) + 1e-4)
    y = (a * b).sum(axis=1) / (na * nb)[:, 0]
    """, """
    ga = g[:, None] * (b / (na * nb) - y[:, None] * a / na ** 2)
    gb = g[:, None] * (a / (na * nb) - y[:, None] * b / nb ** 2)
    """, batch=ROWS)  # fmt: skip
layer("divergence", "x: N i, target: N i", """
    y = (target * (np.log(target) - np.log(x))).sum(axis=1)
    """, """
    gx = -g[:, None] * target / x
    gtarget = g[:, None] * (np.log(target) - np.log(x) + 1)
    """, domain={"x": (0, None), "target": (0, None)}, batch=ROWS)  # fmt: skip

# Reductions ---------------------------------------------------------------------------------------

layer("sum", "x: N i j", "y = x.sum(axis=axis)", """
    gx = np.broadcast_to(np.expand_dims(g, axis), x.shape).copy()
    """, options={"axis": (1, 2)}, batch=ROWS)  # fmt: skip
layer("mean", "x: N i j", "y = x.mean(axis=axis)", """
    gx = np.broadcast_to(np.expand_dims(g, axis), x.shape) / x.shape[axis]
    """, options={"axis": (1, 2)}, batch=ROWS)  # fmt: skip
layer("variance", "x: N i", """
    c = x - x.mean(axis=1, keepdims=True)
    y = (c * c).sum(axis=1) / (x.shape[1] - 1)
    """, "gx = g[:, None] * 2 * c / (x.shape[1] - 1)", sizes={"i": (2, 5)}, batch=ROWS)  # fmt: skip
layer("maximum over an axis", "x: N i", "y = x.max(axis=0)", """
    gx = np.zeros_like(x)
    gx[x.argmax(axis=0), np.arange(x.shape[1])] = g
    """)  # fmt: skip
layer("median", "x: N i", """
    order = np.argsort(x, axis=1, kind='stable')
    middle = order[:, x.shape[1] // 2]
    y = x[np.arange(len(x)), middle]
    """, """
    gx = np.zeros_like(x)
    gx[np.arange(len(x)), middle] = g
    """, batch=ROWS, skip=NAN)  # fmt: skip
layer("product", "x: N i", "y = x.prod(axis=1)", """
    gx = np.empty_like(x)
    for i in range(x.shape[1]):
        gx[:, i] = g * np.delete(x, i, axis=1).prod(axis=1)
    """, batch=ROWS, large=10.0)  # fmt: skip
layer("cumulative sum", "x: N i", "y = np.cumsum(x, axis=1)", """
    gx = np.cumsum(g[:, ::-1], axis=1)[:, ::-1].copy()
    """, batch=ROWS)  # fmt: skip
layer("masked mean", "x: N T i", """
    mask = (np.arange(x.shape[1]) < lengths[:, None] + 1)[:, :, None]
    mask = mask.astype(x.dtype)
    count = mask.sum(axis=1)
    y = (x * mask).sum(axis=1) / count
    """, "gx = mask * (g / count)[:, None, :]", integers={"lengths": ("N", "T")},
    skip=NAN)  # fmt: skip

# Moving values about ------------------------------------------------------------------------------

layer("gather", "x: V i", "y = x[index]", """
    gx = np.zeros_like(x)
    np.add.at(gx, index, g)
    """, integers={"index": ("K", "V")}, sizes={"K": (1, 5)})  # fmt: skip
layer("lookup", "s: K | weight: V i", "y = weight[index] * s[:, None]", """
    gs = (g * weight[index]).sum(axis=1)
    gweight = np.zeros_like(weight)
    np.add.at(gweight, index, g * s[:, None])
    """, integers={"index": ("K", "V")}, sizes={"K": (1, 5)})  # fmt: skip
layer("scatter", "x: K i", """
    y = np.zeros((3, x.shape[1]), x.dtype)
    np.add.at(y, index % 3, x)
    """, "gx = g[index % 3]", integers={"index": ("K", "V")}, sizes={"V": (3, 3)})  # fmt: skip
layer("padding", "x: N i j", "y = np.pad(x, ((0, 0), (before, 1), (0, before)))", """
    gx = g[:, before:before + x.shape[1], :x.shape[2]].copy()
    """, options={"before": (2, 0, 1)}, batch=ROWS)  # fmt: skip
layer("reflection padding", "x: N i", "y = np.concatenate([x[:, 1:2], x, x[:, -2:-1]], axis=1)", """
    gx = g[:, 1:-1].copy()
    gx[:, 1] += g[:, 0]
    gx[:, -2] += g[:, -1]
    """, sizes={"i": (2, 5)}, batch=ROWS)  # fmt: skip
layer("roll", "x: N i", "y = np.roll(x, k, axis=1)", "gx = np.roll(g, -k, axis=1)",
      options={"k": (1, 2)}, batch=ROWS, sizes={"i": (2, 5)})  # fmt: skip
layer("transposition", "x: N i j k", "y = x.transpose(0, 2, 3, 1).copy()", """
    gx = g.transpose(0, 3, 1, 2).copy()
    """, batch=ROWS)  # fmt: skip
layer("concatenation", "a: N i, b: N j", "y = np.concatenate([a, b], axis=1)", """
    ga = g[:, :a.shape[1]].copy()
    gb = g[:, a.shape[1]:].copy()
    """, batch=ROWS)  # fmt: skip
layer("pixel shuffle", "x: N L k",
      "y = x.transpose(0, 2, 1).reshape(len(x), x.shape[1] * x.shape[2])",
      "gx = g.reshape(len(x), x.shape[2], x.shape[1]).transpose(0, 2, 1).copy()",
      batch=ROWS)  # fmt: skip
layer("triangle", "x: N i i", "y = np.tril(x)", "gx = np.tril(g)", batch=ROWS, skip=NAN)

# Sequences ----------------------------------------------------------------------------------------

layer("recurrence", "x: T i | u: i, w: i", """
    h = np.zeros((len(x) + 1, x.shape[1]), x.dtype)
    for t in range(len(x)):
        h[t + 1] = np.tanh(u * x[t] + w * h[t])
    y = h[1:].copy()
    """, """
    gx, gu, gw = np.zeros_like(x), np.zeros_like(u), np.zeros_like(w)
    carry = np.zeros_like(u)
    for t in reversed(range(len(x))):
        d = (g[t] + carry) * (1 - h[t + 1] ** 2)
        gx[t] = u * d
        gu += d * x[t]
        gw += d * h[t]
        carry = w * d
    """, sizes={"T": (2, 4)})  # fmt: skip
layer("gated recurrence", "x: N i, h: N i | wz: i, wr: i, wn: i", """
    z = 0.5 + 0.5 * np.tanh(x * wz + h)
    r = 0.5 + 0.5 * np.tanh(x * wr - h)
    n = np.tanh(x * wn + r * h)
    y = (1 - z) * n + z * h
    """, """
    dn = g * (1 - z) * (1 - n * n)
    dz = g * (h - n) * 2 * z * (1 - z)
    dr = dn * h * 2 * r * (1 - r)
    gx = dn * wn + dz * wz + dr * wr
    gh = g * z + dn * r + dz - dr
    gwz = (dz * x).sum(axis=0)
    gwr = (dr * x).sum(axis=0)
    gwn = (dn * x).sum(axis=0)
    """, batch=ROWS)  # fmt: skip
layer("memory cell", "x: N i, c: N i | wf: i, wo: i", """
    f = 0.5 + 0.5 * np.tanh(x * wf)
    o = 0.5 + 0.5 * np.tanh(x * wo)
    s = f * c + (1 - f) * np.tanh(x)
    y = o * np.tanh(s)
    """, """
    t = np.tanh(s)
    ds = g * o * (1 - t * t)
    df = ds * (c - np.tanh(x)) * 2 * f * (1 - f)
    do = g * t * 2 * o * (1 - o)
    gx = df * wf + do * wo + ds * (1 - f) * (1 - np.tanh(x) ** 2)
    gc = ds * f
    gwf = (df * x).sum(axis=0)
    gwo = (do * x).sum(axis=0)
    """, batch=ROWS)  # fmt: skip
layer("attention", "q: N T d, k: N S d, v: N S e", """
    s = q @ k.swapaxes(1, 2) / q.shape[2] ** 0.5
    a = np.exp(s - s.max(axis=2, keepdims=True))
    a = a / a.sum(axis=2, keepdims=True)
    y = a @ v
    """, """
    da = g @ v.swapaxes(1, 2)
    ds = a * (da - (da * a).sum(axis=2, keepdims=True)) / q.shape[2] ** 0.5
    gq = ds @ k
    gk = ds.swapaxes(1, 2) @ q
    gv = a.swapaxes(1, 2) @ g
    """, sizes={"N": (1, 2), "S": (2, 4)}, batch=ROWS, large=2.0)  # fmt: skip
layer("dropout", "x: N i", """
    keep = (np.arange(x.size).reshape(x.shape) * 7919 % 10) > 3
    y = x * keep / 0.6 if train else x.copy()
    """, "gx = g * keep / 0.6 if train else g.copy()", options={"rate": (0.4,)},
    skip=NAN)  # fmt: skip

# Matrices -----------------------------------------------------------------------------------------

layer("inverse", "x: i i", """
    y = np.linalg.inv(0.2 * x + 4 * np.eye(len(x), dtype=x.dtype))
    """, "gx = -0.2 * y.T @ g @ y.T", large=1.0, skip=NAN)  # fmt: skip
layer("quadratic form", "x: N i | weight: i i", "y = np.einsum('ni,ij,nj->n', x, weight, x)", """
    gx = g[:, None] * (x @ (weight + weight.T))
    gweight = np.einsum('n,ni,nj->ij', g, x, x)
    """, batch=ROWS)  # fmt: skip
layer("trace of a product", "a: N i k, b: N k i", "y = np.einsum('nik,nki->n', a, b)", """
    ga = g[:, None, None] * b.swapaxes(1, 2)
    gb = g[:, None, None] * a.swapaxes(1, 2)
    """, batch=ROWS)  # fmt: skip
