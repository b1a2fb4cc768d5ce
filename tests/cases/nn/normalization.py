"""Examples for nn/layers/normalization/; see `cases`."""

from __future__ import annotations

from cases.common import sample

from tapegrad import nn
from tapegrad.autograd.check import Layer


def normalization(kind, axes):
    def draw(d):
        features = d.size("C", 1, 3)
        module = kind(features, 1e-2, d.choice([0.1, 0.5]), d.choice([True, False]))
        if axes == 4 and d.choice([False, False, True]):
            module.format = "NHWC"
            shape = (d.size("N", 1, 4), *d.shape("H W"), features)
            return Layer(module, d.array(shape), d.array((*shape[:3], features + 1)), "evaluate")
        shape = (d.size("N", 1, 4), features, *d.shape("H W")[: axes - 2])
        wrong = d.array((shape[0], features + 1, *shape[2:]))
        return Layer(module, d.array(shape), wrong, "evaluate")

    return draw


def layer_normalization(d):
    n = d.size("A", 2, 4)
    module = nn.LayerNormalization(n, 0.25, 1e-2, d.choice([True, False]))
    return Layer(module, d.array((*d.shape("N"), n)), d.array((1, 1, n)), "always")


def volumetric_normalization(d):
    features = d.size("C", 1, 3)
    module = nn.VolumetricBatchNormalization(features, 1e-2, 0.5, d.choice([True, False]))
    shape = (d.size("N", 1, 3), features, *d.shape("D H W"))
    wrong = d.array((shape[0], features + 1, *shape[2:]))
    return Layer(module, d.array(shape), wrong, "evaluate")


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


def last_axes(make):
    """(…, A, B), normalized over B or over both."""

    def draw(d):
        shape = (*d.shape("N T?"), d.size("A", 1, 3), d.size("B", 2, 4))
        sizes = d.choice([shape[-1], shape[-1:], shape[-2:]])
        return Layer(
            make(sizes, d), d.array(shape), d.array((*shape[:-1], shape[-1] + 1)), "always"
        )

    return draw


def group_norm(d):
    groups, channels = d.choice([(1, 3), (2, 4), (3, 3)])
    shape = (*d.shape("N"), channels, *d.shape("H W?"))
    module = nn.GroupNorm(groups, channels, 1e-2, d.choice([True, False]))
    return Layer(module, d.array(shape), d.array((1, channels + 1, 2)), "always")


def instance_norm(d):
    c = d.size("C")
    shape = (*d.shape("N"), c, d.size("H", 2, 4), *d.shape("W?"))
    module = nn.InstanceNorm(c, 1e-2, d.choice([True, False]))
    return Layer(module, d.array(shape), d.array((1, c + 1, 2)), "always")


def within_maps(d):
    module = nn.SpatialWithinChannelLRN(d.choice([1, 3]), d.choice([1.0, 0.1]), 0.75)
    sides = (d.size("H", 2, 3), d.size("W", 2, 3))
    shape, _, batch = sample(d, d.size("C", 1, 2), sides)
    return Layer(module, d.array(shape), d.array(shape[-1:]), batch)


def scaled_norm(d):
    planes = d.size("C", 1, 3)
    module = nn.NormalizeScale(d.choice([2, 3]), scale=2.5, size=(1, planes, 1, 1))
    x = d.array((*d.shape("N"), planes, 2, 2))
    return Layer(module, x, d.array((1, planes + 1, 1)), "always")


MODULES = {
    "NormalizeScale": scaled_norm,
    "SpatialWithinChannelLRN": within_maps,
    "InstanceNorm": instance_norm,
    "BatchNormalization": normalization(nn.BatchNormalization, 2),
    "GroupNorm": group_norm,
    "LayerNorm": last_axes(
        lambda sizes, d: nn.LayerNorm(sizes, 1e-2, d.choice([True, False]), d.choice([True, False]))
    ),
    "LayerNormalization": layer_normalization,
    "RMSNorm": last_axes(
        lambda sizes, d: nn.RMSNorm(sizes, d.choice([1e-2, 0.1]), d.choice([True, False]))
    ),
    "SpatialBatchNormalization": normalization(nn.SpatialBatchNormalization, 4),
    "SpatialContrastiveNormalization": local_normalization(nn.SpatialContrastiveNormalization),
    "SpatialCrossMapLRN": across_maps,
    "SpatialDivisiveNormalization": local_normalization(nn.SpatialDivisiveNormalization),
    "SpatialSubtractiveNormalization": local_normalization(nn.SpatialSubtractiveNormalization),
    "SyncBatchNormalization": normalization(nn.SyncBatchNormalization, 2),
    "VolumetricBatchNormalization": volumetric_normalization,
}
