"""Images as arrays (…, H, W, C) or (…, C, H, W): conversion, normalization, sizes, flips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Bool, Float, Floats, Int, Shape
from tapegrad.nn.mxnet.declaration import Call, Operator, operator
from tapegrad.nn.mxnet.operators.constants import beside, constant, drawn
from tapegrad.nn.mxnet.operators.drawing import stream
from tapegrad.nn.mxnet.operators.shape_rules import all_alike
from tapegrad.nn.mxnet.resample import resized

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["image_normalize", "image_to_tensor"]


@constant
def _single(x: Any) -> Any:
    return x.astype(np.float32)


@operator("_image_to_tensor", flat="data", hint="to_tensor")
def image_to_tensor(call: Call, data: Tensor) -> Tensor:
    """(…, H, W, C) from 0 to 255 -> (…, C, H, W), float32 from 0 to 1."""
    return ops.moveaxis(_single(data), -1, -3) / 255


@operator("_image_normalize", hint="normalize", shapes=all_alike, mean=Floats((0.0, 0.0, 0.0, 0.0)),
          std=Floats((1.0, 1.0, 1.0, 1.0)))  # fmt: skip
def image_normalize(call: Call, data: Tensor) -> Tensor:
    """(data - mean) / std of each channel, (…, C, H, W)."""
    channels, dtype = data.shape[-3], np.dtype(data.dtype)
    mean, std = (
        beside(data, _channels(v, channels).astype(dtype)) for v in (call.a.mean, call.a.std)
    )
    return (data - mean) / std


def _channels(values: tuple[float, ...], n: int) -> np.ndarray:
    given = values if len(values) > 1 else values * n
    return np.array(given[:n]).reshape((-1, 1, 1))


@operator("_image_crop", hint="crop", x=Int(), y=Int(), width=Int(), height=Int())
def image_crop(call: Call, data: Tensor) -> Tensor:
    """A part of images (…, H, W, C) from column x and row y."""
    a = call.a
    return data[..., a.y : a.y + a.height, a.x : a.x + a.width, :]


@operator("_image_flip_left_right", hint="flip_left_right", shapes=all_alike)
def flip_left_right(call: Call, data: Tensor) -> Tensor:
    """The columns of images (…, H, W, C) in reverse order."""
    return ops.flip(data, -2)


@operator("_image_flip_top_bottom", hint="flip_top_bottom", shapes=all_alike)
def flip_top_bottom(call: Call, data: Tensor) -> Tensor:
    """The rows of images (…, H, W, C) in reverse order."""
    return ops.flip(data, -3)


@drawn
def _whether(*, generator: Any, p: float) -> Any:
    return stream(generator).random(1) < p


def _declare_flip(name: str, flip: Operator) -> None:
    def body(call: Call, data: Tensor) -> Any:
        turned = _whether(generator=call.generator, p=call.a.p)
        return ops.where(turned, flip.body(call, data), data)

    body.__doc__ = f"{(flip.body.__doc__ or '').rstrip('.')}, with probability p."
    operator(f"_image_random_{name}", hint=f"random_{name}", random=True, shapes=all_alike,
             p=Float(0.5))(body)  # fmt: skip


_declare_flip("flip_left_right", flip_left_right)
_declare_flip("flip_top_bottom", flip_top_bottom)


@constant
def _in_size(data: Any, *, width: int, height: int, method: int) -> Any:
    rows, columns, channels = data.shape[-3:]
    images = data.reshape((-1, rows, columns, channels))
    found = [resized(image, width, height, method) for image in images]
    y = np.stack(found) if found else np.zeros((0, height, width, channels), data.dtype)
    return y.reshape((*data.shape[:-3], height, width, channels))


@operator("_image_resize", hint="resize", flat="data", size=Shape(()), keep_ratio=Bool(False),
          interp=Int(1))  # fmt: skip
def image_resize(call: Call, data: Tensor) -> Tensor:
    """Images (…, H, W, C) in the size (width, height), or a square one.

    With `keep_ratio` and one number that is the length of the shorter side.  The methods are those
    of `mx.image.imresize`, without a derivative.
    """
    a = call.a
    if len(a.size) not in (1, 2):
        raise ValueError(f"size is one number or (width, height), not {a.size}")
    width, height = a.size[0], a.size[-1]
    if len(a.size) == 1 and a.keep_ratio:
        rows, columns = data.shape[-3:-1]
        if rows > columns:
            height = rows * width // columns
        else:
            width = columns * height // rows
    return _in_size(data, width=width, height=height, method=a.interp)


@operator("_cvimresize", "src", flat="src", w=Int(), h=Int(), interp=Int(1))
def cvimresize(call: Call, src: Tensor) -> Tensor:
    """`mx.image.imresize` of images (…, H, W, C)."""
    return _in_size(src, width=call.a.w, height=call.a.h, method=call.a.interp)


@operator("_copyto", shapes=all_alike)
def copyto(call: Call, data: Tensor) -> Tensor:
    """The data, on another device in MXNet's graphs; here the executor's."""
    return data * 1
