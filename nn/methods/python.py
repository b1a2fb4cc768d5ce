"""The habits of Python and PyTorch: states as dicts, devices, freezing, tables in notebooks, files.

The mixin has no state; it stands on `Part` and knows no layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Tensor, no_grad, ops
from tapegrad.autograd.core.tensor import array_of, as_array
from tapegrad.nn.core import files
from tapegrad.nn.core.freezing import hold
from tapegrad.nn.core.part import Part
from tapegrad.nn.core.picture import picture
from tapegrad.nn.core.summary import html, text

__all__ = ["Python"]


class Python(Part):
    """What people who come from PyTorch look for."""

    def freeze(self) -> Self:
        """Stop learning here and below: these Parameters are constants until `unfreeze`.

        They are left out of `parameters()`, and no work is spent on their gradients; gradients
        with respect to inputs pass as before.  `state_dict` still holds them.  Buffers, such as
        running means, go on moving in training mode.  As with `no_grad`, a thread that forward
        code starts by itself does not know of it, unless it runs in a copy of the context
        (`contextvars.copy_context`).  Returns self.
        """
        return self._freeze(True)

    def unfreeze(self) -> Self:
        """Learn again, here and below; returns self."""
        return self._freeze(False)

    def _freeze(self, frozen: bool) -> Self:
        for module in self.listModules():
            module._frozen = frozen
            if frozen:
                hold(module)
        self._drop_traces()
        return self

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Parameters and buffers by dotted name, as NumPy arrays (copies)."""
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name: np.array(devices.to_numpy(array_of(t))) for name, t in named}

    def load_state_dict(
        self, state: Mapping[str, Any], *, strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Copy parameters and buffers from `state`; returns (names missing in it, left over).

        strict: both must be empty.  Raises KeyError naming every name that is missing or left over,
        ValueError naming every shape that differs; nothing is changed then.
        """
        named: dict[str, Tensor] = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        missing, extra = sorted(named.keys() - state.keys()), sorted(state.keys() - named.keys())
        both = {name: t for name, t in named.items() if name in state}
        wrong = [
            f"{name} is {np.shape(state[name])}, expected {t.shape}"
            for name, t in both.items()
            if np.shape(state[name]) != t.shape
        ]
        if strict and (missing or extra):
            shapes = f"; {'; '.join(wrong)}" if wrong else ""
            raise KeyError(f"state_dict: missing {missing}, not in the module {extra}{shapes}")
        if wrong:
            raise ValueError(f"state_dict: {'; '.join(wrong)}")
        with no_grad():
            for name, t in both.items():
                value = devices.to_device(as_array(state[name], t.dtype), t.device)
                ops.assign(t.detach(), value)
        return missing, extra

    def to(self, device: Any) -> Self:
        """Move parameters and buffers to a device, keeping what is shared shared; returns self.

        Raises DeviceError when the device is not there.
        """
        target = devices.device(device)
        return self._convert(lambda array: devices.to_device(array, target))

    def cpu(self) -> Self:
        """Move to the CPU; returns self."""
        return self.to("cpu")

    def save(self, path: Any) -> None:
        """Write the module to a file that `nn.load` reads.

        The ending of the name says which kind: ".t7" Torch7's, see nn.formats.torch7; any that no
        other kind has a safetensors file of our own, see nn.formats.native.
        """
        files.save(self, path)

    def summary(self) -> str:
        """A table of the modules below: name, class, output shape if known, parameters."""
        return text(self)

    def _repr_html_(self) -> str:
        return html(self) + picture(self).svg
