"""How arrays of BigDL's recordings differ from ours: labels that count from 1, orders of axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["from_recorded", "gradient_of_input", "input_from_recorded"]


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


def gradient_of_input(module: Any, value: Any) -> Any:
    """The recorded gradient of the input, without what the original adds to it by mistake."""
    if type(module).__name__ == "RecurrentDecoder":  # it has the gradients of all steps' inputs
        return value[:, 0]
    return value


def from_recorded(module: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Parameters, or their gradients, in our order of axes."""
    convert = LAYOUTS.get(type(module).__name__)
    return convert(module, arrays) if convert else arrays


def _convolution(module: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    if getattr(module, "format", "NCHW") == "NCHW" or not arrays:
        return arrays
    weight, *bias = arrays  # [group, kH, kW, in / group, out / group]
    weight = weight.transpose(0, 4, 3, 1, 2)
    return [weight.reshape(-1, *weight.shape[2:]), *bias]


LAYOUTS = {"SpatialConvolution": _convolution, "SpatialShareConvolution": _convolution}
