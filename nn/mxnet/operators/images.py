"""Images as arrays (…, H, W, C) or (…, C, H, W): conversion, normalization, crops, flips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Floats, Int
from tapegrad.nn.mxnet.declaration import Call, operator
from tapegrad.nn.mxnet.operators.constants import beside, constant
from tapegrad.nn.mxnet.operators.shape_rules import all_alike

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["image_normalize", "image_to_tensor"]


@constant
def _single(x: Any) -> Any:
    return x.astype(np.float32)


@operator("_image_to_tensor", flat="data", hint="to_tensor")
def image_to_tensor(call: Call, data: Tensor) -> Any:
    """(…, H, W, C) from 0 to 255 -> (…, C, H, W), float32 from 0 to 1."""
    return ops.moveaxis(_single(data), -1, -3) / 255


@operator("_image_normalize", hint="normalize", shapes=all_alike, mean=Floats((0.0, 0.0, 0.0, 0.0)),
          std=Floats((1.0, 1.0, 1.0, 1.0)))  # fmt: skip
def image_normalize(call: Call, data: Tensor) -> Any:
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
def image_crop(call: Call, data: Tensor) -> Any:
    """A part of images (…, H, W, C) from column x and row y."""
    a = call.a
    return data[..., a.y : a.y + a.height, a.x : a.x + a.width, :]


@operator("_image_flip_left_right", hint="flip_left_right", shapes=all_alike)
def flip_left_right(call: Call, data: Tensor) -> Any:
    """The columns of images (…, H, W, C) in reverse order."""
    return ops.flip(data, -2)


@operator("_image_flip_top_bottom", hint="flip_top_bottom", shapes=all_alike)
def flip_top_bottom(call: Call, data: Tensor) -> Any:
    """The rows of images (…, H, W, C) in reverse order."""
    return ops.flip(data, -3)


@operator("_copyto", shapes=all_alike)
def copyto(call: Call, data: Tensor) -> Any:
    """The data, on another device in MXNet's graphs; here the executor's."""
    return data * 1
