"""Cases of windows, convolution, pooling, padding and upsampling along one, two and three axes."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd import ops
from tapegrad.autograd.check import Layer, TrialCall

# Primitives and composites ------------------------------------------------------------------------


def unfold(d):
    axis, size, dilation = d.integer(0, 2), d.integer(1, 3), d.integer(1, 2)
    shape = [*d.shape("N A B")[:2], d.size("C", may_be_empty=True)]
    shape[axis] = dilation * (size - 1) + 1 + d.integer(0, 3)
    settings = {"axis": d.choice([axis, axis - 3]), "size": size}
    return TrialCall([d.array(tuple(shape))], {
        **settings, "step": d.integer(1, 3), "dilation": dilation
    })  # fmt: skip


def fold(d):
    call = unfold(d)
    [x] = call.args
    settings = dict(call.settings)
    y = ops.unfold(x, **settings)
    del settings["size"]
    return TrialCall([d.array(y.shape)], {"shape": x.shape, **settings})


def largest_positions(d):
    shape = (d.size("N", may_be_empty=True), d.integer(1, 4), d.size("C"))
    axis = d.choice([1, -2])
    return TrialCall([d.array(shape)], {"count": d.integer(1, shape[1]), "axis": axis})


def check_positions(d):
    shape = d.shape("N A B")
    return TrialCall([d.integers(shape, 0, 6)], {"shape": shape, "size": 6})


def lengths(d, kernel, padding, dilation, most=2):
    """Axes long enough for one window each."""
    return tuple(
        max(1, a * (k - 1) + 1 - 2 * p) + d.integer(0, most)
        for k, p, a in zip(kernel, padding, dilation, strict=True)
    )


def conv(axes):
    def draw(d):
        groups = d.choice([1, 1, 2])
        kernel = tuple(d.integer(1, 2 if axes == 3 else 3) for _ in range(axes))
        settings = {
            name: tuple(d.integer(low, high) for _ in range(axes))
            for name, low, high in (("stride", 1, 2), ("padding", 0, 1), ("dilation", 1, 2))
        }
        sides = lengths(d, kernel, settings["padding"], settings["dilation"])
        if axes == 1:
            settings = {name: value for name, (value,) in settings.items()}
        n, c, o = d.size("N", 1, 2, may_be_empty=True), d.size("C", 1, 2), d.size("O", 1, 2)
        x, w = d.array((n, groups * c, *sides)), d.array((groups * o, c, *kernel))
        return TrialCall([x, w], {**settings, "groups": groups})

    return draw


def conv_input_gradient(axes):
    function = {1: ops.conv1d, 3: ops.conv3d}[axes]

    def draw(d):
        call = conv(axes)(d)
        x, w = call.args
        y = function(x, w, **call.settings)
        return TrialCall([d.array(y.shape), w], {"shape": x.shape, **call.settings})

    return draw


def max_pool3d(d):
    kernel = tuple(d.integer(1, 2) for _ in range(3))
    settings = {
        "kernel": kernel,
        "stride": d.choice([None, 1, (1, 2, 1)]),
        "padding": tuple(d.integer(0, k // 2) for k in kernel),
        "dilation": d.choice([1, (1, 2, 1)]),
        "ceil_mode": d.choice([False, True]),
    }
    dilation = (1, 1, 1) if settings["dilation"] == 1 else settings["dilation"]
    sides = lengths(d, kernel, (0, 0, 0), dilation)
    shape = (d.size("N", 1, 2, may_be_empty=True), d.size("C", 1, 2), *sides)
    return TrialCall([d.array(shape)], settings)


def avg_pool3d(d):
    kernel = tuple(d.integer(1, 2) for _ in range(3))
    sides = lengths(d, kernel, (0, 0, 0), (1, 1, 1))
    shape = (d.size("N", 1, 2, may_be_empty=True), d.size("C", 1, 2), *sides)
    return TrialCall([d.array(shape)], {"kernel": kernel, "stride": d.choice([None, 1, (2, 1, 1)])})


PRIMITIVES = {
    "check_positions": check_positions,
    "fold": fold,
    "largest_positions": largest_positions,
    "unfold": unfold,
}

COMPOSITES = {
    "avg_pool3d": avg_pool3d,
    "conv1d": conv(1),
    "conv1d_input_gradient": conv_input_gradient(1),
    "conv3d": conv(3),
    "conv3d_input_gradient": conv_input_gradient(3),
    "max_pool3d": max_pool3d,
}


# Convolutions -------------------------------------------------------------------------------------


def sample(d, planes, sides, *, batches=True):
    """(N,) C and the sides, an input that is wrong, and whether it is a batch."""
    shape = (*(d.shape("N?") if batches else ()), planes, *sides)
    wrong = (*shape[: -len(sides) - 1], planes + 1, *sides)
    batch = "always" if len(shape) == len(sides) + 2 else None
    return shape, wrong, batch


def maybe_without_bias(d, module):
    return module.noBias() if d.choice([False, True]) else module


def windows(d, axes, most=2):
    """Kernels, strides, paddings and dilations in Torch7's order; sides in the arrays' order."""
    kernel, stride, padding, dilation = (
        tuple(d.integer(low, high) for _ in range(axes))
        for low, high in ((1, most), (1, 2), (0, 1), (1, 2))
    )
    return kernel, stride, padding, dilation


def sides_for(d, kernel, padding, dilation=None):
    """Sides from settings in the order W H or T W H: H W or T H W."""
    sides = lengths(d, kernel, padding, dilation or (1,) * len(kernel))
    return (*sides[:-2], sides[-1], sides[-2])


def convolution(kind, axes, dilated=False):
    def draw(d):
        n_in, n_out = d.size("n_in", 1, 3), d.size("n_out", 1, 3)
        kernel, stride, padding, dilation = windows(d, axes, 3 if axes == 2 else 2)
        extra = dilation if dilated else ()
        module = maybe_without_bias(d, kind(n_in, n_out, *kernel, *stride, *padding, *extra))
        sides = sides_for(d, kernel, padding, dilation if dilated else None)
        shape, wrong, batch = sample(d, n_in, sides)
        return Layer(module, d.array(shape), d.array(wrong), batch)

    return draw


def full_convolution(kind, axes):
    def draw(d):
        n_in, n_out = d.size("n_in", 1, 3), d.size("n_out", 1, 2)
        kernel, stride, padding, _ = windows(d, axes)
        adjustment = tuple(d.integer(0, s - 1) for s in stride)
        module = kind(n_in, n_out, *kernel, *stride, *padding, *adjustment)
        sides = tuple(d.integer(3, 4) for _ in range(axes))
        shape, wrong, batch = sample(d, n_in, sides)
        x = d.array(shape)
        if d.choice([False, True]):
            return Layer(maybe_without_bias(d, module), x, d.array(wrong), batch)
        reference = module(x).shape
        sizes = tuple(int(n) + d.integer(0, 1) for n in reference[-axes:])
        return Layer(module, [x, d.array((*reference[:-axes], *sizes))], None, None)

    return draw


def local_convolution(d):
    n_in, n_out = d.size("n_in", 1, 2), d.size("n_out", 1, 2)
    kernel, stride, padding, _ = windows(d, 2)
    height, width = sides_for(d, kernel, padding)
    module = nn.SpatialConvolutionLocal(n_in, n_out, width, height, *kernel, *stride, *padding)
    shape, _, batch = sample(d, n_in, (height, width))
    wrong = d.array((n_in, height + 1, width))
    return Layer(maybe_without_bias(d, module), d.array(shape), wrong, batch)


def connections(d):
    """Planes that are connected: the last one of either side always is."""
    n_in, n_out = d.integer(1, 3), d.integer(1, 3)
    pairs = [(i, o) for i in range(n_in) for o in range(n_out) if d.choice([True, False])]
    return [*pairs, (n_in - 1, n_out - 1)], n_in


def mapped(kind, *, batches):
    def draw(d):
        table, n_in = connections(d)
        kernel, stride, _, _ = windows(d, 2)
        module = kind(table, *kernel, *stride)
        shape, wrong, batch = sample(d, n_in, sides_for(d, kernel, (0, 0)), batches=batches)
        return Layer(module, d.array(shape), d.array(wrong), batch)

    return draw


def modern(kind, axes):
    def draw(d):
        groups = d.choice([1, 2, 3])
        n_in, n_out = groups * d.size("n_in", 1, 2), groups * d.size("n_out", 1, 2)
        kernel, stride, padding, dilation = windows(d, axes, 3 if axes < 3 else 2)
        module = kind(
            n_in, n_out, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups,
            bias=d.choice([True, False]),
        )  # fmt: skip
        shape, wrong, batch = sample(d, n_in, lengths(d, kernel, padding, dilation))
        return Layer(module, d.array(shape), d.array(wrong), batch)

    return draw


# Sequences ----------------------------------------------------------------------------------------


def sequence(make, *, batches=True):
    """(N,) time, features for a layer made of (draws, features, kW, dW)."""

    def draw(d):
        features, kernel = d.size("F", 1, 3), d.integer(1, 3)
        module = make(d, features, kernel, d.integer(1, 3))
        frames = kernel + d.integer(0, 3)
        sizes = (features, frames) if getattr(module, "featFirst", False) else (frames, features)
        shape = (*(d.shape("N?") if batches else ()), *sizes)
        batch = "always" if len(shape) == 3 else None
        wrong = d.array((1, 1, *shape)) if len(shape) == 3 else d.array((features,))
        return Layer(module, d.array(shape), wrong, batch)

    return draw


def k_largest(d):
    k = d.integer(1, 3)
    module = nn.TemporalDynamicKMaxPooling(k, d.choice([0, 0.5]))
    shape = (*d.shape("N?"), k + d.integer(0, 3), d.size("F", 1, 3))
    wrong = None if k == 1 else d.array((k - 1, 2))
    return Layer(module, d.array(shape), wrong, "always" if len(shape) == 3 else None)


# Pooling ------------------------------------------------------------------------------------------


def pooling(make, axes):
    """(N,) C and the sides, for a layer made of (draws, planes, kernel, stride, padding, …)."""

    def draw(d):
        kernel = tuple(d.integer(1, 3 if axes == 2 else 2) for _ in range(axes))
        padding = tuple(d.integer(0, k // 2) for k in kernel)
        stride = tuple(d.integer(1, 2) for _ in range(axes))
        dilation = tuple(d.integer(1, 2) for _ in range(axes))
        planes = d.size("C", 1, 2)
        module = make(d, planes, kernel, stride, padding, dilation)
        if hasattr(module, "ceil_mode") and d.choice([False, True]):
            module.ceil()
        shape, _, batch = sample(d, planes, sides_for(d, kernel, (0,) * axes, dilation))
        return Layer(module, d.array(shape), d.array(shape[-1:]), batch)

    return draw


def adaptive(kind):
    def draw(d):
        module = kind(d.integer(1, 3), d.integer(1, 3))
        shape, _, batch = sample(d, d.size("C", 1, 2), (d.integer(1, 5), d.integer(1, 5)))
        return Layer(module, d.array(shape), d.array(shape[-1:]), batch)

    return draw


def fractional(kind, axes):
    """With windows kept: else they are drawn in evaluation too, as in Torch7."""

    def draw(d):
        pools = tuple(d.integer(2, 3) for _ in range(axes))
        if d.choice([True, False]):
            module = kind(*pools, *(d.integer(1, 2) for _ in range(axes)))
        else:
            module = kind(*pools, *(d.choice([0.4, 0.5]) for _ in range(axes)))
        module.fixPoolingRegions()
        shape, _, _ = sample(d, d.size("C", 1, 2), tuple(d.integer(5, 6) for _ in range(axes)))
        return Layer(module, d.array(shape), d.array((*shape[:-axes], *((1,) * axes))), None)

    return draw


def unpooling(pool, unpool, axes):
    """Behind its pooling, which says where the entries go."""

    def draw(d):
        kernel = tuple(d.integer(1, 2) for _ in range(axes))
        pooling = pool(*kernel)
        shape, _, batch = sample(d, d.size("C", 1, 2), sides_for(d, kernel, (0,) * axes))
        module = nn.Sequential(pooling, unpool(pooling))
        return Layer(module, d.array(shape), d.array(shape[-1:]), batch)

    return draw


def feature_pooling(d):
    """Positive entries: sums of odd powers of others may have no root."""
    width, stride = d.integer(2, 3), d.integer(1, 2)
    batched = d.choice([False, True])
    module = nn.FeatureLPPooling(width, stride, d.choice([2, 1, 3]), batched)
    features = width + d.integer(0, 3)
    shape = (*((d.size("N", may_be_empty=True),) if batched else ()), features, *d.shape("A? B?"))
    wrong = (*shape[: int(batched)], width - 1, *shape[int(batched) + 1 :])
    return Layer(module, d.array(shape, 0), d.array(wrong, 0), "always" if batched else None)


def lp_pooling(d):
    """Positive entries, as above."""
    kernel, stride = ((d.integer(1, 2), d.integer(1, 2)) for _ in range(2))
    module = nn.SpatialLPPooling(1, d.choice([2, 3, 1.5]), *kernel, *stride)
    shape, _, batch = sample(d, d.size("C", 1, 2), sides_for(d, kernel, (0, 0)))
    return Layer(module, d.array(shape, 0), d.array(shape[-1:], 0), batch)


# Padding, upsampling, normalization ---------------------------------------------------------------


def padding(kind, sides, least):
    def draw(d):
        module = kind(*(d.integer(least, 2) for _ in range(2 * sides)))
        shape, _, batch = sample(d, d.size("C", 1, 2), tuple(d.integer(3, 4) for _ in range(sides)))
        return Layer(module, d.array(shape), d.array(shape[-1:]), batch)

    return draw


def upsampling(make, *, films=False, singles=True):
    def draw(d):
        module = make(d)
        sides = tuple(d.integer(1, 3) for _ in range(d.choice([2, 3]) if films else 2))
        shape = (*d.shape("N?" if singles else "N"), d.size("C", 1, 2), *sides)
        batch = "always" if len(shape) == len(sides) + 2 else None
        return Layer(module, d.array(shape), d.array(shape[-1:]), batch)

    return draw


def output_sizes(d):
    return {"oheight": d.integer(1, 5), "owidth": d.integer(1, 5)}


def upsampling_of_films(d):
    mode = d.choice(["nearest", "linear"])
    if mode == "linear" and d.choice([False, True]):
        return nn.UpSampling(output_sizes(d) | {"odepth": d.integer(1, 4)}, mode)
    return nn.UpSampling(d.integer(1, 3), mode)


def pixel_shuffle(d):
    r = d.integer(1, 3)
    planes = r * r * d.size("C", 1, 2)
    shape, wrong, batch = sample(d, planes, (d.size("H", 1, 2), d.size("W", 1, 2)))
    return Layer(nn.PixelShuffle(r), d.array(shape), d.array(wrong if r > 1 else shape[-1:]), batch)


def local_normalization(kind):
    def draw(d):
        planes = d.size("C", 1, 2)
        sizes = d.choice([(3,), (3, 3), (1, 3)])
        kernel = d.choice([None, d.rng.uniform(0.5, 1.5, sizes)])
        shape, wrong, batch = sample(d, planes, (d.integer(3, 4), d.integer(3, 4)))
        return Layer(kind(planes, kernel), d.array(shape), d.array(wrong), batch)

    return draw


def across_maps(d):
    module = nn.SpatialCrossMapLRN(d.choice([3, 1, 5]), d.choice([1.0, 1e-4]), 0.75, 1.5)
    shape, _, batch = sample(d, d.size("C", 1, 4), (d.size("H", 1, 2), d.size("W", 1, 2)))
    return Layer(module, d.array(shape), d.array(shape[-1:]), batch)


MODULES = {
    "Conv1d": modern(nn.Conv1d, 1),
    "Conv2d": modern(nn.Conv2d, 2),
    "Conv3d": modern(nn.Conv3d, 3),
    "FeatureLPPooling": feature_pooling,
    "PixelShuffle": pixel_shuffle,
    "SpatialAdaptiveAveragePooling": adaptive(nn.SpatialAdaptiveAveragePooling),
    "SpatialAdaptiveMaxPooling": adaptive(nn.SpatialAdaptiveMaxPooling),
    "SpatialContrastiveNormalization": local_normalization(nn.SpatialContrastiveNormalization),
    "SpatialConvolutionLocal": local_convolution,
    "SpatialConvolutionMM": convolution(nn.SpatialConvolutionMM, 2),
    "SpatialConvolutionMap": mapped(nn.SpatialConvolutionMap, batches=True),
    "SpatialCrossMapLRN": across_maps,
    "SpatialDepthWiseConvolution": convolution(nn.SpatialDepthWiseConvolution, 2),
    "SpatialDilatedConvolution": convolution(nn.SpatialDilatedConvolution, 2, dilated=True),
    "SpatialDilatedMaxPooling": pooling(
        lambda d, _, *settings: nn.SpatialDilatedMaxPooling(*sum(settings, ())), 2
    ),
    "SpatialDivisiveNormalization": local_normalization(nn.SpatialDivisiveNormalization),
    "SpatialFractionalMaxPooling": fractional(nn.SpatialFractionalMaxPooling, 2),
    "SpatialFullConvolution": full_convolution(nn.SpatialFullConvolution, 2),
    "SpatialFullConvolutionMap": mapped(nn.SpatialFullConvolutionMap, batches=False),
    "SpatialLPPooling": lp_pooling,
    "SpatialMaxUnpooling": unpooling(nn.SpatialMaxPooling, nn.SpatialMaxUnpooling, 2),
    "SpatialReflectionPadding": padding(nn.SpatialReflectionPadding, 2, 0),
    "SpatialReplicationPadding": padding(nn.SpatialReplicationPadding, 2, -1),
    "SpatialSubSampling": pooling(
        lambda d, planes, kernel, stride, *_: nn.SpatialSubSampling(planes, *kernel, *stride), 2
    ),
    "SpatialSubtractiveNormalization": local_normalization(nn.SpatialSubtractiveNormalization),
    "SpatialUpSamplingBilinear": upsampling(
        lambda d: nn.SpatialUpSamplingBilinear(d.choice([2, 3, output_sizes(d)]))
    ),
    "SpatialUpSamplingNearest": upsampling(lambda d: nn.SpatialUpSamplingNearest(d.integer(1, 3))),
    "SpatialZeroPadding": padding(nn.SpatialZeroPadding, 2, -1),
    "TemporalConvolution": sequence(
        lambda d, *sizes: nn.TemporalConvolution(sizes[0], d.integer(1, 3), *sizes[1:])
    ),
    "TemporalDynamicKMaxPooling": k_largest,
    "TemporalMaxPooling": sequence(lambda d, _, *sizes: nn.TemporalMaxPooling(*sizes)),
    "TemporalRowConvolution": sequence(
        lambda d, *sizes: nn.TemporalRowConvolution(*sizes, d.choice([False, True]))
    ),
    "TemporalSubSampling": sequence(
        lambda d, *sizes: nn.TemporalSubSampling(*sizes), batches=False
    ),
    "UpSampling": upsampling(upsampling_of_films, films=True, singles=False),
    "VolumetricAveragePooling": pooling(
        lambda d, _, kernel, stride, *rest: nn.VolumetricAveragePooling(*kernel, *stride), 3
    ),
    "VolumetricConvolution": convolution(nn.VolumetricConvolution, 3),
    "VolumetricDilatedConvolution": convolution(nn.VolumetricDilatedConvolution, 3, dilated=True),
    "VolumetricDilatedMaxPooling": pooling(
        lambda d, _, *settings: nn.VolumetricDilatedMaxPooling(*sum(settings, ())), 3
    ),
    "VolumetricFractionalMaxPooling": fractional(nn.VolumetricFractionalMaxPooling, 3),
    "VolumetricFullConvolution": full_convolution(nn.VolumetricFullConvolution, 3),
    "VolumetricMaxPooling": pooling(
        lambda d, _, *settings: nn.VolumetricMaxPooling(*sum(settings[:3], ())), 3
    ),
    "VolumetricMaxUnpooling": unpooling(nn.VolumetricMaxPooling, nn.VolumetricMaxUnpooling, 3),
    "VolumetricReplicationPadding": padding(nn.VolumetricReplicationPadding, 3, -1),
}
