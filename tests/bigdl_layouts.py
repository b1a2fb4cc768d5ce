"""How arrays of BigDL's recordings differ from ours: labels that count from 1, orders of axes."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "DEPARTURES",
    "ORIGINALS",
    "from_recorded",
    "gradient_of_input",
    "input_from_recorded",
    "output_from_recorded",
]


def count_of(module: Any, role: str) -> Any:
    """What a class declares of numbers in its input or target that other systems count from 1."""
    found = type(module).counts.get(role)
    if found is None:
        for name in ("criterion", "module"):
            inner = getattr(module, name, None)
            if inner is not None and hasattr(type(inner), "counts"):
                return count_of(inner, role)
    return found


def input_from_recorded(module: Any, value: Any, role: str = "input") -> Any:
    """An input or a target with its indices and labels counted from 0."""
    return _shifted(value, count_of(module, role))


def _shifted(value: Any, counts: Any) -> Any:
    if counts is None or value is None:
        return value
    if isinstance(counts, tuple):
        return [_shifted(entry, kind) for entry, kind in zip(value, counts, strict=True)]
    if isinstance(value, list):
        return [_shifted(entry, counts) for entry in value]
    return value - 1


def output_from_recorded(module: Any, value: Any) -> Any:
    """The recorded output, with what the original forgets."""
    if type(module).__name__ == "LocallyConnected1D":  # the last frame has no bias there
        value = value.copy()
        value[..., -1, :] += module.bias.numpy()[-1]
    return value


def gradient_of_input(module: Any, value: Any) -> Any:
    """The recorded gradient of the input, without what the original adds to it by mistake."""
    if type(module).__name__ == "RecurrentDecoder":  # it has the gradients of all steps' inputs
        return value[:, 0]
    return value


# (class, "train" or "eval"): what is recorded there and differs here, and why (nn/DIFFERENCES.md).
DEPARTURES: dict[tuple[str, str], dict[str, str]] = {
    (name, "eval"): {
        "gradInput": "the original divides by the deviation of a batch that there was not",
        "gradient 0": "the original subtracts the mean of a batch that there was not",
    }
    for name in ("BatchNormalization", "SpatialBatchNormalization")
} | {
    ("Scale", "train"): {"gradient 0": "the original multiplies by the output, not by the input"},
    ("NormalizeScale", "train"): {
        "gradient 0": "the original multiplies by what is not normalized"
    },
}


def from_recorded(module: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Parameters, or their gradients, in our order of axes."""
    convert = LAYOUTS.get(type(module).__name__)
    return _by_size(module, convert(module, arrays) if convert else arrays)


def _by_size(module: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The arrays in the order of our parameters: a graph of BigDL lists its layers in another."""
    left, found = list(arrays), []
    for parameter in module.parameters()[0]:
        fits = [k for k, array in enumerate(left) if array.size == parameter.size]
        if not fits:
            return arrays
        found.append(left.pop(fits[0]))
    return found if not left else arrays


def _is_last(module: Any) -> bool:
    return getattr(module, "format", "NCHW") == "NHWC"


def _convolution(module: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """[group, kH, kW, in / group, out / group] of channels last."""
    if not _is_last(module) or not arrays:
        return arrays
    weight, *bias = arrays
    weight = weight.transpose(0, 4, 3, 1, 2)
    return [weight.reshape(-1, *weight.shape[2:]), *bias]


def _local(module: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The columns of channels last are (kH, kW, in), and the bias is [position, out]."""
    if not _is_last(module) or not arrays:
        return arrays
    weight, *bias = arrays
    positions, out, _ = weight.shape
    weight = weight.reshape(positions, out, module.kH, module.kW, -1).transpose(0, 1, 4, 2, 3)
    return [weight, *(b.reshape(positions, out).T for b in bias)]


def _separable(module: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """[multiplier, in, kH, kW]; [kH, kW, in, multiplier] of channels last."""
    if not arrays:
        return arrays
    depth, point, *bias = arrays
    if _is_last(module):
        depth = depth.reshape(module.kH, module.kW, module.nInputPlane, -1).transpose(2, 3, 0, 1)
        return [depth, point.reshape(-1, module.nOutputPlane).T, *bias]
    depth = depth.reshape(-1, module.nInputPlane, module.kH, module.kW).transpose(1, 0, 2, 3)
    return [depth, point, *bias]


def _copies(module: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The copies of MapTable's module share parameters, and have gradients of their own."""
    own = len(module.parameters()[0])
    if len(arrays) <= own:
        return arrays
    return [sum(arrays[k::own], np.zeros_like(arrays[k])) for k in range(own)]


LAYOUTS = {
    "LocallyConnected2D": _local,
    "MapTable": _copies,
    "SpatialConvolution": _convolution,
    "SpatialSeparableConvolution": _separable,
    "SpatialShareConvolution": _convolution,
}


def softmax_as_original(criterion: Any, x: np.ndarray, target: np.ndarray) -> Any:
    """What BigDL 2.4's SoftmaxWithCriterion gives: its SoftMax is that of the last axis."""
    shares = np.exp(x - x.max(-1, keepdims=True))
    shares = shares / shares.sum(-1, keepdims=True)
    labels = target.reshape(x.shape[0], 1, *x.shape[2:]).astype(int)
    counts = (
        np.ones(labels.shape)
        if criterion.ignoreLabel is None
        else (labels != criterion.ignoreLabel)
    )
    safe = np.maximum(labels, 0)
    picked = np.take_along_axis(shares, safe, 1)
    gradient = shares.copy()
    np.put_along_axis(gradient, safe, picked - 1, 1)
    divisor = {
        "VALID": counts.sum(), "FULL": counts.size, "BATCH_SIZE": x.shape[0], "NONE": 1
    }[criterion.normalizeMode]  # fmt: skip
    divisor = max(divisor, 1)
    return -(np.log(picked) * counts).sum() / divisor, gradient * counts / divisor


# What the original computes where it is not what its page says, by class: recorded values are
# these, or ours.
ORIGINALS = {"SoftmaxWithCriterion": softmax_as_original}
