"""Convolution, Deconvolution, Pooling, InnerProduct and Embed, read and written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.nn.core.windows import same_padding
from tapegrad.nn.formats.caffe.reading import Flow, Lengths, Reading, made
from tapegrad.nn.formats.common.operators import Operator
from tapegrad.nn.layers.convolution.spatial import (
    SpatialConvolution,
    SpatialConvolutionMM,
    SpatialDepthWiseConvolution,
    SpatialDilatedConvolution,
    SpatialFullConvolution,
    SpatialShareConvolution,
)
from tapegrad.nn.layers.linear import Linear
from tapegrad.nn.layers.lookup import LookupTable
from tapegrad.nn.layers.pointwise import CAdd
from tapegrad.nn.layers.pooling.adaptive import (
    SpatialAdaptiveAveragePooling,
    SpatialAdaptiveMaxPooling,
)
from tapegrad.nn.layers.pooling.fixed import (
    SpatialAveragePooling,
    SpatialDilatedMaxPooling,
    SpatialMaxPooling,
)
from tapegrad.nn.layers.shape import Flatten

if TYPE_CHECKING:
    from tapegrad.nn.formats.caffe.writing import Writing

__all__ = ["OPERATORS"]

IMAGES = "a window over images, with a height and a width"


def _pair(r: Reading, p: Any, word: str, listed: str, default: int) -> tuple[int, int]:
    """(height, width) of a kernel, stride, …: `word_h` and `word_w`, or one or two numbers."""
    if word != "dilation" and (f"{word}_h" in p or f"{word}_w" in p):
        return int(getattr(p, f"{word}_h")), int(getattr(p, f"{word}_w"))
    numbers = getattr(p, listed)
    if not isinstance(numbers, list):
        return int(numbers), int(numbers)
    if len(numbers) > 2:
        raise r.refusal(IMAGES, f"{len(numbers)} numbers for {listed}")
    return (numbers[0], numbers[-1]) if numbers else (default, default)


def _size(r: Reading, length: int | None, k: int, s: int, p: int, d: int = 1) -> int | None:
    if length is None:
        return None
    span = d * (k - 1) + 1
    if length + 2 * p < span:
        raise r.error(f"an image not smaller than the kernel, {span}", length + 2 * p)
    return (length + 2 * p - span) // s + 1


def _planes(r: Reading, group: int, axis: int) -> int:
    """How many planes come in: by the shape that is known, or by the weights."""
    if r.ndim not in (None, 4):
        raise r.refusal("a batch of images", f"a blob of {r.ndim} axes")
    planes, stored = r.length(1), r.stored_shape(0)
    if planes is None and stored is not None and len(stored) in (4, 5):
        planes = (
            stored[-3] * group if axis == 1 else stored[-4] * (1 if len(stored) == 4 else group)
        )
    if planes is None:
        raise r.error("a shape of the input, or weights, which say how many planes there are")
    r.positive("planes", planes)
    return planes


def _sides(r: Reading) -> tuple[int | None, int | None, int | None]:
    shape = r.shape
    return (None, None, None) if shape is None else (shape[0], shape[2], shape[3])


def read_convolution_layer(r: Reading, depthwise: bool = False) -> list[Flow]:
    p = r.param("convolution_param")
    (kh, kw), (dh, dw) = _pair(r, p, "kernel", "kernel_size", 0), _pair(r, p, "stride", "stride", 1)
    (ph, pw), (sh, sw) = _pair(r, p, "pad", "pad", 0), _pair(r, p, "dilation", "dilation", 1)
    group, n_out = p.group, p.num_output
    r.needs(1, 1)
    r.positive("lengths", kh, kw, dh, dw, sh, sw, group, n_out)
    if r.axis(p.axis, 4) != 1:
        raise r.refusal("planes along axis 1", p.axis)
    n_in = _planes(r, group, 1)
    if depthwise and group == 1:
        group = n_in
    if n_in % group or n_out % group:
        raise r.error(f"planes that divide into {group} groups", (n_in, n_out))
    lengths = {"kW": kw, "kH": kh, "dW": dw, "dH": dh, "padW": pw, "padH": ph}
    if group != 1:
        lengths["nGroup"] = group
    if (sh, sw) != (1, 1):
        lengths |= {"dilationW": sw, "dilationH": sh}
    layer = made(
        SpatialConvolution if (sh, sw) == (1, 1) else SpatialDilatedConvolution,
        nInputPlane=n_in,
        nOutputPlane=n_out,
        **lengths,
        weight=r.parameter(0, (n_out, n_in // group, kh, kw)),
        bias=r.parameter(1, (n_out,), 0.0) if p.bias_term else None,
    )
    batch, height, width = _sides(r)
    sides = _size(r, height, kh, dh, ph, sh), _size(r, width, kw, dw, pw, sw)
    return [r.then(layer, (batch, n_out, *sides))]


def read_depthwise(r: Reading) -> list[Flow]:
    return read_convolution_layer(r, depthwise=True)


def _padding(w: Writing, layer: Any) -> tuple[int, int]:
    """(padH, padW) as numbers; -1 as what it comes to for the example's size."""
    if min(layer.padH, layer.padW) >= 0:
        return layer.padH, layer.padW
    kind = w.input_type()
    if kind is None:
        raise w.refusal("padding as numbers, or an example input", "padding -1")
    sides = same_padding(kind.shape[2:], (layer.kH, layer.kW), (layer.dH, layer.dW))
    if any(before != after for before, after in sides):
        raise w.refusal("the same padding on both sides", f"padding -1, which is {sides}")
    return sides[0][0], sides[1][0]


def _window(w: Writing, layer: Any) -> dict[str, Any]:
    padH, padW = _padding(w, layer)  # as Torch7's attributes
    return {
        "kernel_h": layer.kH, "kernel_w": layer.kW, "stride_h": layer.dH, "stride_w": layer.dW,
        "pad_h": padH, "pad_w": padW,
    }  # fmt: skip


def _blobs(weight: Any, bias: Any) -> list[Any]:
    return [weight] if bias is None else [weight, bias]


def write_convolution(w: Writing, layer: Any) -> list[str]:
    w.images()
    p = {"num_output": layer.nOutputPlane, **_window(w, layer)}
    if layer.bias is None:
        p["bias_term"] = False
    if layer.nGroup != 1:
        p["group"] = layer.nGroup
    if isinstance(layer, SpatialDilatedConvolution):
        dilation = [layer.dilationH, layer.dilationW]
        p["dilation"] = dilation[:1] if dilation[0] == dilation[1] else dilation
    weight = layer.weight
    if weight.ndim == 2:
        weight = weight.detach().reshape(
            (layer.nOutputPlane, layer.nInputPlane, layer.kH, layer.kW)
        )
    return w.put("Convolution", blobs=_blobs(weight, layer.bias), convolution_param=p)


def write_depthwise(w: Writing, layer: Any) -> list[str]:
    w.images()
    planes = layer.nInputPlane * layer.nOutputPlane
    shape = (layer.nOutputPlane, layer.nInputPlane, layer.kH, layer.kW)
    weight = layer.weight.detach().reshape(shape).transpose((1, 0, 2, 3))
    p = {"num_output": planes, "group": layer.nInputPlane, **_window(w, layer)}
    bias = None if layer.bias is None else layer.bias.detach().T.reshape((planes,))
    if bias is None:
        p["bias_term"] = False
    weight = weight.reshape((planes, 1, layer.kH, layer.kW))
    return w.put("Convolution", blobs=_blobs(weight, bias), convolution_param=p)


def read_deconvolution(r: Reading) -> list[Flow]:
    p = r.param("convolution_param")
    (kh, kw), (dh, dw) = _pair(r, p, "kernel", "kernel_size", 0), _pair(r, p, "stride", "stride", 1)
    (ph, pw), dilation = _pair(r, p, "pad", "pad", 0), _pair(r, p, "dilation", "dilation", 1)
    group, n_out = p.group, p.num_output
    r.needs(1, 1)
    r.positive("lengths", kh, kw, dh, dw, group, n_out)
    if dilation != (1, 1):
        raise r.refusal("a deconvolution without dilation", dilation)
    n_in = _planes(r, group, 0)
    stored = r.stored_shape(0)
    if stored is not None and len(stored) == 5:  # BigDL writes its planes in as num_output
        n_out = stored[2] * group
    if n_in % group or n_out % group or n_out < 1:
        raise r.error(f"planes that divide into {group} groups", (n_in, n_out))
    layer = made(
        SpatialFullConvolution,
        nInputPlane=n_in,
        nOutputPlane=n_out,
        kW=kw,
        kH=kh,
        dW=dw,
        dH=dh,
        padW=pw,
        padH=ph,
        adjW=0,
        adjH=0,
        **({"nGroup": group} if group != 1 else {}),
        weight=r.parameter(0, (n_in, n_out // group, kh, kw)),
        bias=r.parameter(1, (n_out,), 0.0) if p.bias_term else None,
    )
    batch, *sides = _sides(r)
    lengths = [
        None if n is None else (n - 1) * d - 2 * pad + k
        for n, d, pad, k in zip(sides, (dh, dw), (ph, pw), (kh, kw), strict=True)
    ]
    return [r.then(layer, (batch, n_out, *lengths))]


def write_deconvolution(w: Writing, layer: Any) -> list[str]:
    w.images()
    if layer.adjW or layer.adjH:
        raise w.refusal("a deconvolution whose size follows from its input", "adj that is not 0")
    if len(w.bottoms) > 1:
        raise w.refusal("a deconvolution with one input", "a table with a reference")
    p = {"num_output": layer.nOutputPlane, **_window(w, layer)}
    if layer.bias is None:
        p["bias_term"] = False
    if layer.nGroup != 1:
        p["group"] = layer.nGroup
    return w.put("Deconvolution", blobs=_blobs(layer.weight, layer.bias), convolution_param=p)


# Pooling ------------------------------------------------------------------------------------------


def read_pooling(r: Reading) -> list[Flow]:
    p = r.param("pooling_param")
    r.needs(1, 1)
    if r.ndim not in (None, 4):
        raise r.refusal("a batch of images", f"a blob of {r.ndim} axes")
    method = {0: "MAX", 1: "AVE"}.get(p.pool)
    if method is None:
        raise r.refusal("pooling of maxima or means", "stochastic pooling")
    batch, height, width = _sides(r)
    planes = r.length(1)
    if p.global_pooling:
        layer: Any = (
            SpatialAveragePooling(1, 1, globalPooling=True)
            if method == "AVE"
            else SpatialAdaptiveMaxPooling(1, 1)
        )
        return [r.then(layer, (batch, planes, 1, 1))]
    (kh, kw), (dh, dw) = _pair(r, p, "kernel", "kernel_size", 0), _pair(r, p, "stride", "stride", 1)
    ph, pw = _pair(r, p, "pad", "pad", 0)
    r.positive("lengths", kh, kw, dh, dw)
    if 2 * ph > kh or 2 * pw > kw:
        raise r.refusal("padding of at most half a window", (ph, pw))
    if method == "MAX":
        layer = SpatialMaxPooling(kw, kh, dw, dh, pw, ph)
    else:
        layer = SpatialAveragePooling(kw, kh, dw, dh, pw, ph)
    ceil = p.round_mode == 0
    if ceil:
        layer.ceil()
    sides = (
        _pooled(r, height, kh, dh, ph, ceil=ceil),
        _pooled(r, width, kw, dw, pw, ceil=ceil),
    )
    flow = r.then(layer, (batch, planes, *sides))
    down = _size(r, height, kh, dh, ph), _size(r, width, kw, dw, pw)
    cut = {i: n for i, n in enumerate(down, 2) if n is not None and n != sides[i - 2]}
    if cut:
        r.session.floors[flow.value.name] = cut
    return [flow]


def _pooled(r: Reading, n: int | None, k: int, s: int, p: int, *, ceil: bool) -> int | None:
    down = _size(r, n, k, s, p)
    return rounded_up(n, k, s, p) if n is not None and ceil else down


def rounded_up(length: int, k: int, s: int, p: int) -> int:
    """The number of windows, rounded up; each begins within the image or the padding before it."""
    up = -(-(length + 2 * p - k) // s) + 1
    return up - 1 if (up - 1) * s >= length + p else up


def write_pooling(w: Writing, layer: Any) -> list[str]:
    w.images()
    if isinstance(layer, SpatialDilatedMaxPooling) and (layer.dilationW, layer.dilationH) != (1, 1):
        raise w.refusal("pooling without dilation")
    p = {"pool": 0, **_window(w, layer), "round_mode": 0 if layer.ceil_mode else 1}
    if not isinstance(layer, SpatialMaxPooling):
        p["pool"] = 1
        padded = p["pad_h"] or p["pad_w"]
        if not layer.divide or (padded and not layer.count_include_pad):
            raise w.refusal("means over windows in which padding counts")
        if layer.global_pooling:
            return w.put("Pooling", pooling_param={"pool": 1, "global_pooling": True})
    kind = w.input_type()
    if layer.ceil_mode or kind is None:
        return w.put("Pooling", pooling_param=p)
    return _write_floor(w, p, kind.shape)


def _write_floor(w: Writing, p: dict[str, Any], shape: tuple[int, ...]) -> list[str]:
    """Pooling whose number of windows is rounded down, for programs that know no round_mode too:
    where that makes a difference it is rounded up, and the last window is cut off.
    """
    sides = []
    for length, letter in zip(shape[2:], "hw", strict=True):
        k, s, pad = (p[f"{word}_{letter}"] for word in ("kernel", "stride", "pad"))
        sides.append(((length + 2 * pad - k) // s + 1, rounded_up(length, k, s, pad)))
    cut = [axis for axis, (down, up) in enumerate(sides, 2) if down != up]
    if not cut:
        return w.put("Pooling", pooling_param=p)
    tops = w.put("Pooling", ending="_ceil", pooling_param={**p, "round_mode": 0})
    for axis in cut:
        down, _ = sides[axis - 2]
        ending = "_rows" if axis == 2 else "_columns"
        slicing = {"axis": axis, "slice_point": [down]}
        kept, rest = w.put("Slice", reads=tops, ending=ending, tops=2, slice_param=slicing)
        w.put("Silence", reads=[rest], ending=f"{ending}_unused", tops=0)
        tops = [kept]
    return tops


def write_adaptive(w: Writing, layer: Any) -> list[str]:
    w.images()
    if (layer.W, layer.H) != (1, 1):
        raise w.refusal("adaptive pooling to 1 x 1")
    method = 0 if isinstance(layer, SpatialAdaptiveMaxPooling) else 1
    return w.put("Pooling", pooling_param={"pool": method, "global_pooling": True})


# Matrices -----------------------------------------------------------------------------------------


def _features(shape: Lengths, axis: int) -> int | None:
    if shape is None or any(n is None for n in shape[axis:]):
        return None
    count = 1
    for n in shape[axis:]:
        count *= n or 0
    return count


def read_inner_product(r: Reading) -> list[Flow]:
    p = r.param("inner_product_param")
    r.needs(1, 1)
    r.positive("num_output", p.num_output)
    axis = r.axis(p.axis)
    n_in, stored = _features(r.shape, axis), r.stored_shape(0)
    if n_in is None and stored is not None and len(stored) >= 2:
        n_in = stored[-2] if p.transpose else stored[-1]
    if n_in is None:
        raise r.error("a shape of the input, or weights, which say how many features there are")
    r.positive("features", n_in)
    shape = (p.num_output, n_in)
    stored_as = ((n_in, p.num_output), lambda a: a.T) if p.transpose else None
    layer = made(
        Linear,
        weight=r.parameter(0, shape, stored=stored_as),
        bias=r.parameter(1, (p.num_output,), 0.0) if p.bias_term else None,
    )
    kept = r.shape[:axis] if r.shape is not None else (None,) * max(axis, 0)
    flat = r.ndim is not None and r.ndim - axis == 1
    layers = [layer] if flat else [Flatten(axis, -1), layer]
    return r.chain(*layers, shape=(*kept, p.num_output))


def write_linear(w: Writing, layer: Any) -> list[str]:
    ndim = w.ndim()
    if ndim == 1:
        raise w.refusal("a batch", "a single sample")
    p = {"num_output": layer.weight.shape[0]}
    if layer.bias is None:
        p["bias_term"] = False
    if ndim is not None and ndim > 2:
        p["axis"] = ndim - 1
    return w.put("InnerProduct", blobs=_blobs(layer.weight, layer.bias), inner_product_param=p)


def read_embed(r: Reading) -> list[Flow]:
    p = r.param("embed_param")
    r.needs(1, 1)
    r.positive("num_output and input_dim", p.num_output, p.input_dim)
    weight = r.parameter(0, (p.input_dim, p.num_output))
    layers = [made(LookupTable, weight=weight, paddingValue=-1, maxNorm=None, normType=2)]
    if p.bias_term:
        axes = 1 if r.ndim is None else r.ndim
        layers.append(made(CAdd, bias=r.parameter(1, (1,) * axes + (p.num_output,), 0.0)))
    shape = None if r.shape is None else (*r.shape, p.num_output)
    return r.chain(*layers, shape=shape)


def write_lookup(w: Writing, layer: Any) -> list[str]:
    if layer.maxNorm is not None or layer.maskZero:
        raise w.refusal("a table whose vectors are not scaled or masked")
    rows, width = layer.weight.shape
    p = {"num_output": width, "input_dim": rows, "bias_term": False}
    return w.put("Embed", blobs=[layer.weight], embed_param=p)


OPERATORS = [
    Operator(
        "Convolution",
        read_convolution_layer,
        dict.fromkeys(
            (
                SpatialConvolution,
                SpatialShareConvolution,
                SpatialDilatedConvolution,
                SpatialConvolutionMM,
            ),
            write_convolution,
        )
        | {SpatialDepthWiseConvolution: write_depthwise},
        note="images only; groups, dilation",
    ),
    Operator(
        "DepthwiseConvolution",
        read_depthwise,
        aliases=("ConvolutionDepthwise",),
        note="of forks of Caffe: as many groups as planes; written as Convolution",
    ),
    Operator(
        "Deconvolution",
        read_deconvolution,
        {SpatialFullConvolution: write_deconvolution},
        note="without dilation and adj",
    ),
    Operator(
        "Pooling",
        read_pooling,
        dict.fromkeys(
            (SpatialMaxPooling, SpatialDilatedMaxPooling, SpatialAveragePooling), write_pooling
        )
        | dict.fromkeys((SpatialAdaptiveAveragePooling, SpatialAdaptiveMaxPooling), write_adaptive),
        note="MAX and AVE; without round_mode the number of windows is rounded up",
    ),
    Operator("InnerProduct", read_inner_product, {Linear: write_linear}),
    Operator("Embed", read_embed, {LookupTable: write_lookup}),
]
