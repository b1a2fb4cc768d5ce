"""What the namespace says about itself: ``__array_namespace_info__()``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapegrad import devices
from tapegrad.autograd.surface.array_api.data_types import DEFAULTS, DTYPES, DType

if TYPE_CHECKING:
    from tapegrad.devices import Device

__all__ = ["VERSIONS", "NamespaceInfo"]

# The editions of the standard of which everything is there, the newest last.
VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")


class NamespaceInfo:
    """The answers to questions about dtypes, devices and capabilities."""

    def capabilities(self) -> dict[str, bool | int | None]:
        """What depends on the library: indexing by booleans, results of unknown size, axes.

        max dimensions: how many axes a Tensor may have
        """
        return {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": 64,
        }

    def default_device(self) -> Device:
        """Where new Tensors are if no device is given."""
        return devices.device("cpu")

    def devices(self) -> list[Device]:
        """The devices of this machine, the CPU first."""
        return devices.available_devices()

    def default_dtypes(self, *, device: Device | str | None = None) -> dict[str, DType]:
        """The dtypes of Python numbers, by kind; the same on every device.

        Raises DeviceError for a device that is not there.
        """
        _check(device)
        return dict(DEFAULTS)

    def dtypes(
        self,
        *,
        device: Device | str | None = None,
        kind: str | tuple[str, ...] | None = None,
    ) -> dict[str, DType]:
        """The dtypes by name, all or those of `kind`; the same on every device.

        kind: as in `isdtype`
        Raises ValueError for another word, DeviceError for a device that is not there.
        """
        _check(device)
        if kind is None:
            return dict(DTYPES)
        return {name: dtype for name, dtype in DTYPES.items() if np.isdtype(dtype, kind)}


def _check(device: Device | str | None) -> None:
    if device is not None:
        devices.device(device)
