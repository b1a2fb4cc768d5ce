"""Examples for autograd/ops/fourier.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall

NORM = (None, "ortho", "forward")


def signal(d, *, of_complex=True):
    shape = (d.size("N", may_be_empty=True), d.integer(2, 5), d.integer(2, 5))
    x = d.array(shape)
    return x + 1j * d.array(shape) if of_complex and d.choice([True, False]) else x


def transform(axes):
    def draw(d):
        return TrialCall([signal(d)], {"axes": axes, "norm": d.choice(["backward", *NORM[1:]])})

    return draw


def fft(of_complex=True):
    def draw(d):
        settings = {"axis": d.choice([-1, 1]), "norm": d.choice(NORM)}
        n = d.choice([None, 3, 6])
        return TrialCall([signal(d, of_complex=of_complex)], {"n": n, **settings})

    return draw


def fftn(of_complex=True):
    def draw(d):
        lengths, axes = d.choice([(None, (1, 2)), ((3, 4), (-2, -1)), ((6,), (1,))])
        settings = {"s": lengths, "axes": axes, "norm": d.choice(NORM)}
        return TrialCall([signal(d, of_complex=of_complex)], settings)

    return draw


def fft2(of_complex=True):
    return lambda d: TrialCall([signal(d, of_complex=of_complex)], {"norm": d.choice(NORM)})


def half(d):
    return TrialCall(
        [d.array((2, d.integer(1, 5)))], {"axis": 1, "norm": d.choice(["ortho", "forward"])}
    )


def inverse_half(d):
    length = d.integer(1, 6)
    settings = {"length": length, "axis": 1, "norm": d.choice(["ortho", "backward"])}
    x = d.array((2, length // 2 + 1))
    return TrialCall([x + 1j * d.array(x.shape)], settings)


def double_interior(d):
    length = d.integer(1, 6)
    return TrialCall([d.array((2, length // 2 + 1))], {"length": length, "axis": 1})


def shifted(d):
    return TrialCall([d.array(d.shape("N A B"))], {"axes": d.choice([None, 1, (0, 2)])})


OPERATIONS = {
    **dict.fromkeys((
        "fft", "hfft", "ifft", "irfft"
    ), fft()),
    **dict.fromkeys((
        "fftn", "ifftn", "irfftn"
    ), fftn()),
    **dict.fromkeys((
        "fft2", "ifft2", "irfft2"
    ), fft2()),
    "double_interior": double_interior,
    "fftshift": shifted,
    "forward_transform": transform((1, 2)),
    "half_transform": half,
    "ifftshift": shifted,
    "ihfft": fft(of_complex=False),
    "inverse_half_transform": inverse_half,
    "inverse_transform": transform((2,)),
    "rfft": fft(of_complex=False),
    "rfft2": fft2(of_complex=False),
    "rfftn": fftn(of_complex=False),
}  # fmt: skip
