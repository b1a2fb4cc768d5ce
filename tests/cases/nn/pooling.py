"""Examples for nn/layers/pooling/; see `cases`."""

from __future__ import annotations

from cases.common import images, sample, sides_for

from tapegrad import nn
from tapegrad.autograd.check import Layer


def spatial_pooling(make):
    def draw(d):
        kernel = (d.integer(1, 3), d.integer(1, 3))
        padding = tuple(d.integer(0, k // 2) for k in kernel)
        stride = (d.integer(1, 3), d.integer(1, 2))
        module = make(d)(*kernel, *stride, *padding)
        if d.choice([False, True]):
            module.ceil()
        shape = images(d, kernel, padding, d.size("C", 1, 2))
        batch = "always" if len(shape) == 4 else None
        return Layer(module, d.array(shape), d.array(shape[-1:]), batch)

    return draw


def average(d):
    def make(*sizes):
        module = nn.SpatialAveragePooling(*sizes)
        module.divide = d.choice([True, True, False])
        return module.setCountExcludePad() if d.choice([False, True]) else module

    return make


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
    """With windows drawn and kept: else they are drawn in evaluation too, as in Torch7."""

    def draw(d):
        pools = tuple(d.integer(2, 3) for _ in range(axes))
        if d.choice([True, False]):
            module = kind(*pools, *(d.integer(1, 2) for _ in range(axes)))
        else:
            module = kind(*pools, *(d.choice([0.4, 0.5]) for _ in range(axes)))
        module.fixPoolingRegions()
        shape, _, _ = sample(d, d.size("C", 1, 2), tuple(d.integer(5, 6) for _ in range(axes)))
        x = d.array(shape)
        module.forward(x)
        return Layer(module, x, d.array((*shape[:-axes], *((1,) * axes))), None)

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


def to_a_size(kind, axes):
    def draw(d):
        size = d.choice([1, 2, tuple(d.integer(1, 3) for _ in range(axes))])
        shape = (*d.shape("N?"), d.size("C"), *(d.size(name, 1, 4) for name in "THW"[:axes]))
        batch = "always" if len(shape) == axes + 2 else None
        return Layer(kind(size), d.array(shape), d.array((3,)), batch)

    return draw


MODULES = {
    "AdaptiveAvgPool1d": to_a_size(nn.AdaptiveAvgPool1d, 1),
    "AdaptiveAvgPool3d": to_a_size(nn.AdaptiveAvgPool3d, 3),
    "AdaptiveMaxPool1d": to_a_size(nn.AdaptiveMaxPool1d, 1),
    "AdaptiveMaxPool3d": to_a_size(nn.AdaptiveMaxPool3d, 3),
    "FeatureLPPooling": feature_pooling,
    "SpatialAdaptiveAveragePooling": adaptive(nn.SpatialAdaptiveAveragePooling),
    "SpatialAdaptiveMaxPooling": adaptive(nn.SpatialAdaptiveMaxPooling),
    "SpatialAveragePooling": spatial_pooling(average),
    "SpatialDilatedMaxPooling": pooling(
        lambda d, _, *settings: nn.SpatialDilatedMaxPooling(*sum(settings, ())), 2
    ),
    "SpatialFractionalMaxPooling": fractional(nn.SpatialFractionalMaxPooling, 2),
    "SpatialLPPooling": lp_pooling,
    "SpatialMaxPooling": spatial_pooling(lambda _: nn.SpatialMaxPooling),
    "SpatialMaxUnpooling": unpooling(nn.SpatialMaxPooling, nn.SpatialMaxUnpooling, 2),
    "SpatialSubSampling": pooling(
        lambda d, planes, kernel, stride, *_: nn.SpatialSubSampling(planes, *kernel, *stride), 2
    ),
    "VolumetricAveragePooling": pooling(
        lambda d, _, kernel, stride, *rest: nn.VolumetricAveragePooling(*kernel, *stride), 3
    ),
    "VolumetricDilatedMaxPooling": pooling(
        lambda d, _, *settings: nn.VolumetricDilatedMaxPooling(*sum(settings, ())), 3
    ),
    "VolumetricFractionalMaxPooling": fractional(nn.VolumetricFractionalMaxPooling, 3),
    "VolumetricMaxPooling": pooling(
        lambda d, _, *settings: nn.VolumetricMaxPooling(*sum(settings[:3], ())), 3
    ),
    "VolumetricMaxUnpooling": unpooling(nn.VolumetricMaxPooling, nn.VolumetricMaxUnpooling, 3),
}
