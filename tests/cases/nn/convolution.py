"""Examples for nn/layers/convolution/; see `cases`."""

from __future__ import annotations

from cases.common import images, lengths, sample, sides_for

from tapegrad import nn
from tapegrad.autograd.check import Layer


def spatial_convolution(d):
    n_in, n_out = d.size("n_in", 1, 3), d.size("n_out", 1, 3)
    kernel = (d.integer(1, 3), d.integer(1, 3))
    padding = (d.integer(0, 2), d.integer(0, 2))
    stride = (d.integer(1, 2), d.integer(1, 3))
    if d.choice([False, True]):
        return with_options(d, nn.SpatialConvolution)
    module = nn.SpatialConvolution(n_in, n_out, *kernel, *stride, *padding)
    if d.choice([False, True]):
        module.noBias()
    shape = images(d, kernel, padding, n_in)
    wrong = d.array((n_in + 1, *shape[-2:]))
    return Layer(module, d.array(shape), wrong, "always" if len(shape) == 4 else None)


def with_options(d, kind):
    """BigDL's: groups, padding by the sides, channels last."""
    groups = d.choice([1, 2])
    n_in, n_out = groups * d.size("n_in", 1, 2), groups * d.size("n_out", 1, 2)
    kernel, stride = (d.integer(1, 3), d.integer(1, 3)), (d.integer(1, 2), d.integer(1, 2))
    padding, last = d.choice([(-1, -1), (1, 1)]), d.choice([True, False])
    bias = d.choice([True, False])
    module = kind(
        n_in, n_out, *kernel, *stride, *padding, nGroup=groups, withBias=bias,
        format="NHWC" if last else "NCHW",
    )  # fmt: skip
    return Layer(module, *image_input(d, n_in, last))


def image_input(d, planes, last, sides=None):
    """An input, one with a plane too many, and whether it is a batch."""
    batch = d.shape("N?")
    sides = sides or (d.integer(2, 4), d.integer(2, 4))
    shapes = [(*batch, *sides, n) if last else (*batch, n, *sides) for n in (planes, planes + 1)]
    return d.array(shapes[0]), d.array(shapes[1]), "always" if batch else None


def separable(d):
    n_in, last = d.size("n_in", 1, 2), d.choice([True, False])
    padding = d.choice([(-1, -1), (1, 1)])
    module = nn.SpatialSeparableConvolution(
        n_in, d.size("n_out", 1, 2), d.integer(1, 2), d.integer(1, 3), d.integer(1, 3),
        d.integer(1, 2), d.integer(1, 2), *padding, d.choice([True, False]),
        "NHWC" if last else "NCHW",
    )  # fmt: skip
    return Layer(module, *image_input(d, n_in, last))


def locally_connected(d):
    n_in, last = d.size("n_in", 1, 2), d.choice([True, False])
    height, width = d.integer(2, 4), d.integer(2, 4)
    kernel, stride = (d.integer(1, 2), d.integer(1, 2)), (d.integer(1, 2), d.integer(1, 2))
    module = nn.LocallyConnected2D(
        n_in, width, height, d.size("n_out", 1, 2), *kernel, *stride,
        *d.choice([(-1, -1), (0, 0), (1, 0)]), withBias=d.choice([True, False]),
        format="NHWC" if last else "NCHW",
    )  # fmt: skip
    return Layer(module, *image_input(d, n_in, last, (height, width)))


def locally_connected_frames(d):
    frames, size = d.integer(2, 4), d.size("A")
    module = nn.LocallyConnected1D(frames, size, d.size("B"), d.integer(1, 2), d.integer(1, 2))
    batch = d.shape("N?")
    wrong = d.array((*batch, frames, size + 1))
    return Layer(module, d.array((*batch, frames, size)), wrong, "always" if batch else None)


def maybe_without_bias(d, module):
    return module.noBias() if d.choice([False, True]) else module


def windows(d, axes, most=2):
    """Kernels, strides, paddings and dilations in Torch7's order; sides in the arrays' order."""
    kernel, stride, padding, dilation = (
        tuple(d.integer(low, high) for _ in range(axes))
        for low, high in ((1, most), (1, 2), (0, 1), (1, 2))
    )
    return kernel, stride, padding, dilation


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
        groups = d.choice([1, 1, 2])
        n_in, n_out = n_in * groups, n_out * groups
        module = kind(n_in, n_out, *kernel, *stride, *padding, *adjustment, nGroup=groups)
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


MODULES = {
    "LocallyConnected1D": locally_connected_frames,
    "LocallyConnected2D": locally_connected,
    "SpatialSeparableConvolution": separable,
    "SpatialShareConvolution": lambda d: with_options(d, nn.SpatialShareConvolution),
    "Conv1d": modern(nn.Conv1d, 1),
    "Conv2d": modern(nn.Conv2d, 2),
    "Conv3d": modern(nn.Conv3d, 3),
    "SpatialConvolution": spatial_convolution,
    "SpatialConvolutionLocal": local_convolution,
    "SpatialConvolutionMM": convolution(nn.SpatialConvolutionMM, 2),
    "SpatialConvolutionMap": mapped(nn.SpatialConvolutionMap, batches=True),
    "SpatialDepthWiseConvolution": convolution(nn.SpatialDepthWiseConvolution, 2),
    "SpatialDilatedConvolution": convolution(nn.SpatialDilatedConvolution, 2, dilated=True),
    "SpatialFullConvolution": full_convolution(nn.SpatialFullConvolution, 2),
    "SpatialFullConvolutionMap": mapped(nn.SpatialFullConvolutionMap, batches=False),
    "VolumetricConvolution": convolution(nn.VolumetricConvolution, 3),
    "VolumetricDilatedConvolution": convolution(nn.VolumetricDilatedConvolution, 3, dilated=True),
    "VolumetricFullConvolution": full_convolution(nn.VolumetricFullConvolution, 3),
}
