"""Whole numbers of 8 bits in place of floats: quantize, layers of them, and back.

A quantized array comes with the two ends of a range of floats, (1,) each.  uint8 counts 255 steps
from the lower to the upper end; int8 counts 127 steps from 0 to the size r of the larger one, on
both sides.  Sums of products are int32, and 2³¹ - 1 of their steps reach their range's end.
Nothing here has a derivative.  Source: MXNet 1.9.1, contrib.quantization.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Choice, Float
from tapegrad.nn.mxnet.declaration import Call, Operator, PartialShape, operator
from tapegrad.nn.mxnet.operators.constants import constant
from tapegrad.nn.mxnet.operators.convolution import convolution, fully_connected
from tapegrad.nn.mxnet.operators.pooling import pooling
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["dequantize", "quantize", "quantize_v2", "requantize"]

STEPS = {"int8": 127, "uint8": 255, "int32": 2**31 - 1}
_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_INT8, _INT32 = np.dtype(np.int8), np.dtype(np.int32)
_OUTPUTS = "output min_output max_output"
_CALIBRATED: dict[str, Any] = {
    "min_calib_range": Float(None, none=True),
    "max_calib_range": Float(None, none=True),
}


# Shapes and types --------------------------------------------------------------------------------


def _ends(inputs: list[PartialShape], outputs: list[PartialShape], first: int) -> None:
    """The ends of ranges, inputs from `first` on and all outputs but one, have the shape (1,)."""
    for i in range(first, len(inputs)):
        inputs[i] = unify(inputs[i], (1,))
    for i in range(1, len(outputs)):
        outputs[i] = unify(outputs[i], (1,))


def _alike(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    inputs[0] = outputs[0] = unify(inputs[0], outputs[0])
    _ends(inputs, outputs, 1)


def _as_layer(layer: Operator) -> Any:
    """The rule of shapes of a layer, whose inputs the ends of their ranges follow."""

    def rule(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
        assert layer.infer is not None
        count = len(layer.input_names(a))
        own, result = inputs[:count], outputs[:1]
        layer.infer(a, own, result)
        inputs[:count], outputs[:1] = own, result
        _ends(inputs, outputs, count)

    return rule


def _inputs_of(layer: Operator) -> Any:
    def names(a: Attributes) -> list[str]:
        own = layer.input_names(a)
        return [*own, *(f"{end}_{name}" for name in own for end in ("min", "max"))]

    return names


def _typed(first: Any, result: Any, count: int) -> tuple[list[Any], list[Any]]:
    """Types of inputs and outputs where only the first ones are no ends of ranges."""
    return [first, *[_SINGLE] * count], [result, _SINGLE, _SINGLE]


def _same_type(a: Attributes, first: Any) -> tuple[list[Any], list[Any]]:
    return _typed(first or _INT8, first or _INT8, 2)


def _layer_types(a: Attributes, first: Any) -> tuple[list[Any], list[Any]]:
    own = [first or _INT8, *[_INT8] * (1 if a.no_bias else 2)]
    return [*own, *[_SINGLE] * 2 * len(own)], [_INT32, _SINGLE, _SINGLE]


def _out_type(a: Attributes) -> str:
    """The type of the result: "auto" is uint8 where the calibrated range has no numbers below 0."""
    if a.out_type != "auto":
        return str(a.out_type)
    return "uint8" if _calibrated(a) is not None and a.min_calib_range >= 0 else "int8"


def _calibrated(a: Attributes) -> tuple[float, float] | None:
    ends = (a.min_calib_range, a.max_calib_range)
    return None if None in ends else ends


# Numbers -----------------------------------------------------------------------------------------


def _reach(low: Any, high: Any) -> np.float32:
    """The size of the larger end."""
    return np.float32(np.max(np.abs([low, high])))


def _over(steps: float, length: Any) -> np.float32:
    """steps / length, and 0 for a range without length."""
    return np.float32(steps) / np.float32(length) if length else np.float32(0)


def _in_steps(x: np.ndarray, low: Any, high: Any, kind: str) -> list[np.ndarray]:
    """The numbers of steps of floats x, and the ends of the range; what lies outside is cut off."""
    if kind == "uint8":
        y = np.clip((x - np.float32(low)) * _over(255, high - low) + 0.5, 0, 255)
    else:
        high = _reach(low, high)
        low = -high
        y = np.sign(x) * np.minimum(np.abs(x) * _over(127, high) + 0.5, 127)
    return [y.astype(kind), *(np.full(1, end, np.float32) for end in (low, high))]


@constant
def _quantized(data: np.ndarray, low: np.ndarray, high: np.ndarray, *, kind: str) -> list:
    return _in_steps(data.astype(np.float32), low.item(), high.item(), kind)


@constant
def _quantized_whole(data: np.ndarray, *, ends: tuple[float, float] | None, kind: str) -> list:
    """As `_quantized`, in a given range or that of the data; data in steps already stay."""
    if data.dtype.name in ("int8", "uint8"):
        steps = STEPS[data.dtype.name]
        ends = ends or (-steps if data.dtype.name == "int8" else 0, steps)
        return [data, *(np.full(1, end, np.float32) for end in ends)]
    x = data.astype(np.float32)
    low, high = ends or (np.min(x, initial=np.inf), np.max(x, initial=-np.inf))
    return _in_steps(x, low, high, kind)


@constant
def _floats(data: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    steps, x = STEPS[data.dtype.name], data.astype(np.float32)
    if data.dtype.name == "uint8":
        return x * ((high - low) / np.float32(steps)) + low
    return x * (_reach(low, high) / np.float32(steps))


@constant
def _requantized(
    data: np.ndarray, low: np.ndarray, high: np.ndarray, *, ends: Any, kind: str
) -> list:
    x = data.astype(np.float32) * (_reach(low, high) / np.float32(STEPS["int32"]))
    reach = np.max(np.abs(x), initial=0) if ends is None else _reach(*ends)
    return _in_steps(x, 0 if kind == "uint8" else -reach, reach, kind)


@constant
def _sums(
    sums: np.ndarray,
    min_data: np.ndarray,
    max_data: np.ndarray,
    min_weight: np.ndarray,
    max_weight: np.ndarray,
    bias: np.ndarray | None = None,
    min_bias: np.ndarray | None = None,
    max_bias: np.ndarray | None = None,
    *,
    steps: int,
) -> list:
    """Sums of products of steps, plus the bias in their steps, as int32; and the ends' range."""
    step = (_reach(min_data, max_data) / np.float32(steps)) * (
        _reach(min_weight, max_weight) / np.float32(STEPS["int8"])
    )
    if bias is not None:
        of_bias = _reach(min_bias, max_bias) / np.float32(STEPS["int8"])
        sums = sums + np.trunc(bias * of_bias / step if step else 0 * bias)
    end = np.full(1, step * np.float32(STEPS["int32"]), np.float32)
    return [sums.astype(np.int32), -end, end]


def _must_be_steps(x: Tensor, name: str) -> None:
    if np.dtype(x.dtype).name not in ("int8", "uint8"):
        raise TypeError(f"{name} is int8 or uint8 here, not {np.dtype(x.dtype).name}")


# Operators ---------------------------------------------------------------------------------------


@operator(
    "_contrib_quantize", "data min_range max_range", outputs="output0 output1 output2",
    hint="quantize", flat="data min_range max_range", shapes=_alike,
    types=lambda a, _: _typed(_SINGLE, np.dtype(a.out_type), 2),
    out_type=Choice("uint8", words=("int8", "uint8")),
)  # fmt: skip
def quantize(call: Call, data: Tensor, min_range: Tensor, max_range: Tensor) -> list[Tensor]:
    """Floats in steps of a range, and the range; what lies outside of it is cut off."""
    return _quantized(data, min_range, max_range, kind=call.a.out_type)


@operator(
    "_contrib_quantize_v2", outputs="output0 output1 output2", hint="quantize_v2", flat="data",
    shapes=_alike, types=lambda a, first: _typed(first or _SINGLE, np.dtype(_out_type(a)), 0),
    out_type=Choice("int8", words=("auto", "int8", "uint8")), **_CALIBRATED,
)  # fmt: skip
def quantize_v2(call: Call, data: Tensor) -> list[Tensor]:
    """As `quantize`, in the calibrated range or, without one, in that of the data."""
    return _quantized_whole(data, ends=_calibrated(call.a), kind=_out_type(call.a))


@operator(
    "_contrib_dequantize", "data min_range max_range", hint="dequantize",
    flat="data min_range max_range", shapes=_alike,
    types=lambda a, first: ([first or _INT8, _SINGLE, _SINGLE], [_SINGLE]),
    out_type=Choice("float32", words=("float32",)),
)  # fmt: skip
def dequantize(call: Call, data: Tensor, min_range: Tensor, max_range: Tensor) -> Tensor:
    """The floats that int8, uint8 or int32 stand for.  Raises TypeError for another type."""
    if np.dtype(data.dtype).name not in STEPS:
        raise TypeError(f"data is int8, uint8 or int32, not {np.dtype(data.dtype).name}")
    return _floats(data, min_range, max_range)


@operator(
    "_contrib_requantize", "data min_range max_range", outputs="output0 output1 output2",
    hint="requantize", flat="data min_range max_range", shapes=_alike,
    types=lambda a, _: _typed(_INT32, np.dtype(_out_type(a)), 2),
    out_type=Choice("int8", words=("auto", "int8", "uint8")), **_CALIBRATED,
)  # fmt: skip
def requantize(call: Call, data: Tensor, min_range: Tensor, max_range: Tensor) -> list[Tensor]:
    """int32 as int8 (uint8: what is below 0 is cut off) of a smaller range: the calibrated one.

    Without one the range ends at the largest entry.  Raises TypeError for another type than int32.
    """
    if np.dtype(data.dtype) != _INT32:
        raise TypeError(f"data is int32 here, not {np.dtype(data.dtype).name}")
    return _requantized(
        data, min_range, max_range, ends=_calibrated(call.a), kind=_out_type(call.a)
    )


def _layer(layer: Operator, name: str, hint: str) -> Operator:
    """The declaration of a layer of int8 weights, whose sums are int32."""

    def body(call: Call, *arrays: Tensor) -> Any:
        count = len(arrays) // 3
        for x, word in zip(arrays[:count], ("data", "weight", "bias"), strict=False):
            _must_be_steps(x, word)
        data, weight, *bias = arrays[:count]
        # float64 holds all sums of products of 8 bits without rounding
        x, w = (ops.cast(one, dtype=_DOUBLE) for one in (data, weight))
        y = layer.body(call, x, w)
        if bias:
            axes = (1,) * (y.ndim - 2) if layer is convolution else ()
            bias = [bias[0].reshape((-1, *axes))]
        ends = arrays[count:]
        return _sums(
            y, *ends[:4], *bias, *ends[4:], steps=STEPS[np.dtype(data.dtype).name]
        )  # fmt: skip

    kinds: dict[str, Any] = dict(layer.kinds)
    body.__doc__ = f"`{layer.name}` of int8 or uint8 data and int8 weights and biases, as int32."
    return operator(
        name, _inputs_of(layer), outputs=_OUTPUTS, hint=hint, types=_layer_types,
        flat="data weight bias min_data max_data min_weight max_weight min_bias max_bias",
        shapes=_as_layer(layer), **kinds,
    )(body)  # fmt: skip


_layer(convolution, "_contrib_quantized_conv", "quantized_conv")
_layer(fully_connected, "_contrib_quantized_fully_connected", "quantized_fully_connected")


_OF_POOLING: dict[str, Any] = dict(pooling.kinds)


@operator(
    "_contrib_quantized_pooling", "data min_data max_data", outputs=_OUTPUTS, types=_same_type,
    hint="quantized_pooling", flat="data min_data max_data", shapes=_as_layer(pooling),
    **_OF_POOLING,
)  # fmt: skip
def quantized_pooling(call: Call, data: Tensor, min_data: Tensor, max_data: Tensor) -> list[Tensor]:
    """`Pooling` of int8 or uint8; a mean is rounded to the nearest step.

    Raises ValueError for a pool_type other than "max" and "avg", TypeError for another type.
    """
    _must_be_steps(data, "data")
    if call.a.pool_type not in ("avg", "max"):
        raise ValueError(f'pool_type is "avg" or "max" here, not "{call.a.pool_type}"')
    y = pooling.body(call, ops.cast(data, dtype=_DOUBLE))
    return [ops.to_integer(ops.rint(y), dtype=np.dtype(data.dtype)), min_data * 1, max_data * 1]


def _flat(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    if inputs[0] is not None:
        rest = inputs[0][1:]
        outputs[0] = unify(outputs[0], (inputs[0][0], 0 if 0 in rest else int(np.prod(rest))))
    _ends(inputs, outputs, 1)


@operator(
    "_contrib_quantized_flatten", "data min_data max_data", outputs=_OUTPUTS, types=_same_type,
    hint="quantized_flatten", flat="data min_data max_data", shapes=_flat,
)  # fmt: skip
def quantized_flatten(call: Call, data: Tensor, min_data: Tensor, max_data: Tensor) -> list[Tensor]:
    """`Flatten` of int8 or uint8."""
    _must_be_steps(data, "data")
    size = int(np.prod(data.shape[1:]))
    return [data.reshape((data.shape[0], size)) * 1, min_data * 1, max_data * 1]


@operator(
    "_contrib_quantized_act", "data min_data max_data", outputs=_OUTPUTS, types=_same_type,
    hint="quantized_act", flat="data min_data max_data", shapes=_alike,
    act_type=Choice(words=("relu",)),
)  # fmt: skip
def quantized_act(call: Call, data: Tensor, min_data: Tensor, max_data: Tensor) -> list[Tensor]:
    """max(x, 0) of int8 or uint8."""
    _must_be_steps(data, "data")
    return [ops.maximum(data, 0), min_data * 1, max_data * 1]
