"""tapegrad: differentiable NumPy code, with Torch7's modules on top.

The front door: the names most programs need, and the folders they come from. `tapegrad.autograd`
has the rest of the engine, `tapegrad.autograd.check` the laws.  The import stays light: `nn`,
`optim` and what only some programs name are imported when they are first named, kernels of machine
code when one first runs, and nothing optional before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tapegrad import autograd, devices
from tapegrad._version import __version__
from tapegrad.autograd import (
    Parameter,
    Primitive,
    Tensor,
    custom_vjp,
    default_dtype,
    elementwise_grad,
    enable_grad,
    from_dlpack,
    get_num_threads,
    grad,
    hessian,
    hvp,
    is_recording,
    jacobian,
    jvp,
    keep_memory,
    no_grad,
    ops,
    per_sample_grad,
    primitive,
    replay,
    set_default_dtype,
    set_num_threads,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)
from tapegrad.autograd.kernels.kept_memory import keep_memory_as_asked
from tapegrad.autograd.kernels.threads import set_threads_as_asked
from tapegrad.autograd.surface.einops_backend import register_einops
from tapegrad.devices import device, manual_seed

if TYPE_CHECKING:
    from tapegrad import errors, hips, nn, optim, scipy, typing
    from tapegrad.autograd import (
        AnomalyError,
        Tape,
        checkpoint,
        checkpoint_sequential,
        detect_anomaly,
    )
    from tapegrad.autograd.compiling.compiled import compile
    from tapegrad.autograd.core.progress import set_progress
    from tapegrad.autograd.surface import array_api

__all__ = [
    "__version__",
    # folders
    "autograd",
    "devices",
    "errors",
    "hips",
    "nn",
    "optim",
    "scipy",
    "typing",
    # tensors and derivatives
    "Parameter",
    "Tensor",
    "checkpoint",
    "checkpoint_sequential",
    "compile",
    "custom_vjp",
    "default_dtype",
    "elementwise_grad",
    "enable_grad",
    "from_dlpack",
    "grad",
    "hessian",
    "hvp",
    "is_recording",
    "jacobian",
    "jvp",
    "no_grad",
    "per_sample_grad",
    "replay",
    "set_default_dtype",
    "stop_gradient",
    "value_and_grad",
    "vjp",
    "vmap",
    # debugging
    "AnomalyError",
    "Tape",
    "detect_anomaly",
    # operations, and how to declare one
    "Primitive",
    "array_api",
    "register_einops",
    "ops",
    "primitive",
    # devices
    "device",
    "get_num_threads",
    "keep_memory",
    "manual_seed",
    "set_num_threads",
    # what is shown
    "set_progress",
]


set_threads_as_asked()
keep_memory_as_asked()
del set_threads_as_asked, keep_memory_as_asked


def __getattr__(name: str) -> Any:
    if name in {"array_api", "errors", "hips", "nn", "optim", "scipy", "typing"}:
        return import_module(f"tapegrad.{name}")
    if name == "compile":
        return import_module("tapegrad.autograd.compiling.compiled").compile
    if name == "set_progress":
        return import_module("tapegrad.autograd.core.progress").set_progress
    if name in __all__:
        return getattr(autograd, name)
    raise import_module("tapegrad._advice").absent_in_front(name, [*globals(), *__all__])


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
