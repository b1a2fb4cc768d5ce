"""Colours of images (…, H, W, C), red first: brightness, contrast, saturation, hue, lighting.

Entries of whole numbers are cut off at their type's ends and lose what is behind the point.
Nothing here has a derivative.  Source: MXNet 1.9.1, image_random.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.nn.mxnet.attributes import Float, Floats
from tapegrad.nn.mxnet.compat import faults_of_1_9_1
from tapegrad.nn.mxnet.declaration import Call, operator
from tapegrad.nn.mxnet.operators.constants import constant, drawn
from tapegrad.nn.mxnet.operators.drawing import stream
from tapegrad.nn.mxnet.operators.shape_rules import all_alike

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["adjust_lighting", "color_jitter", "random_lighting"]

_GRAY = (0.299, 0.587, 0.114)  # how much of each colour is brightness
# Directions in which the colours of ImageNet's pictures differ, by how much they do.
_LIGHT = np.array([
    [55.46 * -0.5675, 4.794 * 0.7192, 1.148 * 0.4009],
    [55.46 * -0.5808, 4.794 * -0.0045, 1.148 * -0.8140],
    [55.46 * -0.5836, 4.794 * -0.6948, 1.148 * 0.4203],
])  # fmt: skip


def _gray(x: np.ndarray) -> np.ndarray:
    """(…, H, W, 1): the brightness."""
    if x.shape[-1] == 1:
        return x
    return (x[..., :3] @ np.array(_GRAY, x.dtype))[..., None]


def _brightness(x: np.ndarray, alpha: float, faults: bool) -> np.ndarray:
    """alpha · x."""
    return x * alpha


def _contrast(x: np.ndarray, alpha: float, faults: bool) -> np.ndarray:
    """alpha · x + (1 - alpha) · the mean brightness."""
    return x * alpha + (1 - alpha) * _gray(x).mean((-3, -2), keepdims=True)


def _saturation(x: np.ndarray, alpha: float, faults: bool) -> np.ndarray:
    """alpha · x + (1 - alpha) · the brightness of the pixel."""
    if x.shape[-1] == 1:
        return x
    # 1.9.1 keeps blue's part of the sum alone
    gray = x[..., 2:3] * x.dtype.type(_GRAY[2]) if faults else _gray(x)
    return x * alpha + (1 - alpha) * gray


def _hue(x: np.ndarray, alpha: float, faults: bool) -> np.ndarray:
    """The hue turned by alpha · 360°; lightness and saturation stay."""
    if x.shape[-1] == 1:
        return x
    r, g, b = np.moveaxis(x / 255, -1, 0)
    high, low = np.maximum(np.maximum(r, g), b), np.minimum(np.minimum(r, g), b)
    spread, light = high - low, (high + low) / 2
    plain = spread <= np.finfo(np.float32).eps
    step = 60 / np.where(plain, 1, spread)
    angle = np.where(
        high == r,
        (g - b) * step,
        np.where(high == g, (b - r) * step + 120, (r - g) * step + 240),
    )
    half = np.where(light < 0.5, high + low, 2 - high - low)
    share = np.where(plain, 0, spread / np.where(plain, 1, half))
    top = np.where(light <= 0.5, light * (1 + share), light + share - light * share)
    bottom = 2 * light - top
    found = []
    for turn in (120, 0, -120):
        at = (angle + alpha * 360 + turn) % 360
        # a trapezoid: up over the first sixth, full up to a half, down over the next sixth
        level = np.clip(np.minimum(at, 240 - at) / 60, 0, 1)
        found.append(np.where(plain, light, bottom + (top - bottom) * level))
    return np.stack(found, -1) * 255


_CHANGES: dict[str, Callable[[np.ndarray, float, bool], np.ndarray]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
}


def _saved(x: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """x as dtype; what a type of whole numbers cannot hold becomes its end."""
    if dtype.kind in "iu":
        x = np.clip(x, np.iinfo(dtype).min, np.iinfo(dtype).max)
    return x.astype(dtype)


def _in_floats(data: np.ndarray) -> np.ndarray:
    return data.astype(np.float32) if data.dtype.kind in "iu" else data


@drawn
def _changed(
    data: np.ndarray, *, generator: Any, ranges: tuple[Any, ...], mixed: bool, faults: bool
) -> Any:
    """data with changes (name, lowest, highest alpha), one after another, `mixed` in any order."""
    rng = stream(generator)
    order = rng.permutation(len(ranges)) if mixed else range(len(ranges))
    for i in order:
        name, low, high = ranges[i]
        changed = _CHANGES[name](_in_floats(data), float(rng.uniform(low, high)), faults)
        data = _saved(changed, data.dtype)
    return data


def _declare(name: str) -> None:
    def body(call: Call, data: Tensor) -> Any:
        return _changed(
            data, generator=call.generator, ranges=((name, call.a.min_factor, call.a.max_factor),),
            mixed=False, faults=faults_of_1_9_1(),
        )  # fmt: skip

    formula = (_CHANGES[name].__doc__ or "").rstrip(".")
    body.__doc__ = f"{formula}, with alpha from min_factor to max_factor."
    operator(
        f"_image_random_{name}", hint=f"random_{name}", random=True, flat="data",
        shapes=all_alike, min_factor=Float(), max_factor=Float(),
    )(body)  # fmt: skip


for _name in _CHANGES:
    _declare(_name)


@operator(
    "_image_random_color_jitter", hint="random_color_jitter", random=True, flat="data",
    shapes=all_alike, brightness=Float(), contrast=Float(), saturation=Float(), hue=Float(),
)  # fmt: skip
def color_jitter(call: Call, data: Tensor) -> Tensor:
    """The four changes in any order, each by at most its amount; an amount of 0 leaves one out."""
    ranges = [
        (name, middle - amount, middle + amount)
        for name, middle in {**dict.fromkeys(_CHANGES, 1.0), "hue": 0.0}.items()
        if (amount := getattr(call.a, name)) > 0
    ]
    return _changed(
        data, generator=call.generator, ranges=tuple(ranges), mixed=True,
        faults=faults_of_1_9_1(),
    )  # fmt: skip


def _lit(data: np.ndarray, alpha: Any) -> np.ndarray:
    if data.shape[-1] == 1:
        return data
    x = _in_floats(data)
    return _saved(x + (_LIGHT @ np.asarray(alpha, np.float64)).astype(x.dtype), data.dtype)


@constant
def _lit_by(data: np.ndarray, *, alpha: tuple[float, ...]) -> np.ndarray:
    return _lit(data, alpha)


@drawn
def _lit_at_random(data: np.ndarray, *, generator: Any, size: float) -> Any:
    return _lit(data, stream(generator).normal(0, size, 3))


@operator("_image_adjust_lighting", hint="adjust_lighting", flat="data", shapes=all_alike,
          alpha=Floats())  # fmt: skip
def adjust_lighting(call: Call, data: Tensor) -> Tensor:
    """Three multiples `alpha` of the directions in which ImageNet's colours differ are added.

    Raises ValueError for another number of multiples.
    Source: A. Krizhevsky et al., "ImageNet classification with deep convolutional neural
    networks", 2012, section 4.1.
    """
    if len(call.a.alpha) != 3:
        raise ValueError(f"alpha has three numbers, not {len(call.a.alpha)}")
    return _lit_by(data, alpha=call.a.alpha)


@operator("_image_random_lighting", hint="random_lighting", random=True, flat="data",
          shapes=all_alike, alpha_std=Float(0.05))  # fmt: skip
def random_lighting(call: Call, data: Tensor) -> Tensor:
    """`_image_adjust_lighting` by three normal numbers with the standard deviation alpha_std."""
    return _lit_at_random(data, generator=call.generator, size=call.a.alpha_std)
