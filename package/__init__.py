"""tapegrad: differentiable NumPy code, with Torch7's modules on top.

The front door: the names most programs need, and the folders they come from. `tapegrad.autograd`
has the rest of the engine, `tapegrad.autograd.check` the laws; neither numba nor CuPy nor anything
else that is optional is imported until it is used.
"""

from tapegrad import autograd, devices, nn, optim
from tapegrad._version import __version__
from tapegrad.autograd import (
    Parameter,
    Primitive,
    Tensor,
    default_dtype,
    enable_grad,
    grad,
    is_recording,
    no_grad,
    ops,
    primitive,
    set_default_dtype,
    value_and_grad,
    vjp,
)
from tapegrad.devices import device, manual_seed

__all__ = [
    "__version__",
    # folders
    "autograd",
    "devices",
    "nn",
    "optim",
    # tensors and derivatives
    "Parameter",
    "Tensor",
    "default_dtype",
    "enable_grad",
    "grad",
    "is_recording",
    "no_grad",
    "set_default_dtype",
    "value_and_grad",
    "vjp",
    # operations, and how to declare one
    "Primitive",
    "ops",
    "primitive",
    # devices
    "device",
    "manual_seed",
]
