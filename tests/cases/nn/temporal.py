"""Examples for nn/layers/temporal.py; see `cases`."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd.check import Layer


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


MODULES = {
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
}
