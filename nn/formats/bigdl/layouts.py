"""Orders of axes: what lies otherwise in BigDL's files than in our layers.

A rule is (module, array in the file) -> ours, and back.  All but those of channels last are views,
so that shared memory stays shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["RULES", "Rule"]

Array = np.ndarray[Any, Any]
Rule = tuple[Callable[[Any, Array], Array], Callable[[Any, Array], Array]]


def _last(module: Any) -> bool:
    return getattr(module, "format", "NCHW") == "NHWC"


def _same(module: Any, array: Array) -> Array:
    return array


def _grouped_from(module: Any, array: Array) -> Array:
    """[group, out / group, in / group, kH, kW]; of channels last [group, kH, kW, in, out]."""
    if _last(module) and array.ndim == 5:
        array = array.transpose(0, 4, 3, 1, 2)
    return array.reshape(-1, *array.shape[2:]) if array.ndim == 5 else array


def _grouped_to(module: Any, array: Array) -> Array:
    groups = module.nGroup
    whole = array.reshape(groups, array.shape[0] // groups, *array.shape[1:])
    return whole.transpose(0, 3, 4, 2, 1) if _last(module) else whole


def _full_from(module: Any, array: Array) -> Array:
    """[group, in / group, out / group, …]."""
    return array.reshape(-1, *array.shape[2:])


def _full_to(module: Any, array: Array) -> Array:
    groups = module.nGroup
    return array.reshape(groups, array.shape[0] // groups, *array.shape[1:])


def _depth_from(module: Any, array: Array) -> Array:
    """[multiplier, in, kH, kW], of channels last [kH, kW, in, multiplier] -> [in·m, 1, kH, kW]."""
    array = array.transpose(2, 3, 0, 1) if _last(module) else array.transpose(1, 0, 2, 3)
    return array.reshape(-1, 1, *array.shape[2:])


def _depth_to(module: Any, array: Array) -> Array:
    whole = array.reshape(module.nInputPlane, -1, module.kH, module.kW)
    return whole.transpose(2, 3, 0, 1) if _last(module) else whole.transpose(1, 0, 2, 3)


def _point_from(module: Any, array: Array) -> Array:
    """[out, in·m, 1, 1], of channels last [1, 1, in·m, out]."""
    if _last(module):
        return array.reshape(-1, array.shape[-1]).T
    return array.reshape(array.shape[0], -1)


def _point_to(module: Any, array: Array) -> Array:
    return array.T[None, None] if _last(module) else array[:, :, None, None]


def _local_from(module: Any, array: Array) -> Array:
    """The columns of channels last are (kH, kW, in)."""
    if not _last(module):
        return array
    positions, out, _ = array.shape
    whole = array.reshape(positions, out, module.kH, module.kW, -1).transpose(0, 1, 4, 2, 3)
    return whole.reshape(positions, out, -1)


def _local_to(module: Any, array: Array) -> Array:
    if not _last(module):
        return array
    positions, out, _ = array.shape
    whole = array.reshape(positions, out, -1, module.kH, module.kW).transpose(0, 1, 3, 4, 2)
    return whole.reshape(positions, out, -1)


def _local_bias_from(module: Any, array: Array) -> Array:
    """The entries of (position, out) lie as (out, position) do, but for channels last."""
    if _last(module):
        return array.reshape(-1, module.nOutputPlane).T
    return array.reshape(module.nOutputPlane, -1)


def _local_bias_to(module: Any, array: Array) -> Array:
    return array.T if _last(module) else array.reshape(-1, module.nOutputPlane)


RULES: dict[str, Rule] = {
    "": (_same, _same),
    "grouped": (_grouped_from, _grouped_to),
    "full": (_full_from, _full_to),
    "depth": (_depth_from, _depth_to),
    "point": (_point_from, _point_to),
    "local": (_local_from, _local_to),
    "local_bias": (_local_bias_from, _local_bias_to),
}
