"""tapegrad.autograd: Tensors, primitives, and the derivatives that fall out of them.

What records steps, shows tapes or hunts for NaN is imported when it is first named.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from tapegrad.autograd import ops
from tapegrad.autograd.core.composite import composite, composites
from tapegrad.autograd.core.declaration import Primitive, primitives
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.eager_kernels import set_kernel_importer as _set_kernel_importer
from tapegrad.autograd.core.errors import BatchingError, InPlaceError
from tapegrad.autograd.core.foreign import set_foreign_importer as _set_foreign_importer
from tapegrad.autograd.core.late import late_module as _late_module
from tapegrad.autograd.core.mode import enable_grad, is_recording, no_grad
from tapegrad.autograd.core.parameter import Parameter, default_dtype, set_default_dtype
from tapegrad.autograd.core.tensor import Tensor, from_dlpack
from tapegrad.autograd.kernels.kept_memory import keep_memory
from tapegrad.autograd.kernels.threads import get_num_threads, set_num_threads
from tapegrad.autograd.ops.scipy_ufuncs import set_ufunc_importer as _set_ufunc_importer
from tapegrad.autograd.ops.ufunc import ufunc
from tapegrad.autograd.replay.entry import replay
from tapegrad.autograd.surface import methods as _methods
from tapegrad.autograd.transforms.batching import per_sample_grad, vmap
from tapegrad.autograd.transforms.derivatives import (
    custom_vjp,
    elementwise_grad,
    hessian,
    jacobian,
    stop_gradient,
)
from tapegrad.autograd.transforms.gradient import grad, value_and_grad
from tapegrad.autograd.transforms.products import hvp, jvp, vjp

if _TYPE_CHECKING:
    from tapegrad.autograd.debug.anomaly import AnomalyError, detect_anomaly
    from tapegrad.autograd.debug.tape import Tape
    from tapegrad.autograd.replay.recording import ReplayError
    from tapegrad.autograd.replay.step import Replay
    from tapegrad.autograd.transforms.checkpoint import (
        CheckpointError,
        checkpoint,
        checkpoint_sequential,
    )

__all__ = [
    "AnomalyError",
    "BatchingError",
    "CheckpointError",
    "InPlaceError",
    "Parameter",
    "Primitive",
    "Replay",
    "ReplayError",
    "Tape",
    "Tensor",
    "checkpoint",
    "checkpoint_sequential",
    "composite",
    "composites",
    "default_dtype",
    "detect_anomaly",
    "enable_grad",
    "from_dlpack",
    "get_num_threads",
    "keep_memory",
    "grad",
    "is_recording",
    "no_grad",
    "stop_gradient",
    "jvp",
    "jacobian",
    "hvp",
    "hessian",
    "elementwise_grad",
    "custom_vjp",
    "ops",
    "per_sample_grad",
    "primitive",
    "primitives",
    "replay",
    "set_default_dtype",
    "set_num_threads",
    "ufunc",
    "value_and_grad",
    "vjp",
    "vmap",
]

del _methods

_anomaly = _late_module("tapegrad.autograd.debug.anomaly")
_checkpoint = _late_module("tapegrad.autograd.transforms.checkpoint")
_LATE = {  # name -> the module that has it, which is imported when it is first named
    "AnomalyError": _anomaly,
    "CheckpointError": _checkpoint,
    "Replay": _late_module("tapegrad.autograd.replay.step"),
    "ReplayError": _late_module("tapegrad.autograd.replay.recording"),
    "Tape": _late_module("tapegrad.autograd.debug.tape"),
    "checkpoint": _checkpoint,
    "checkpoint_sequential": _checkpoint,
    "detect_anomaly": _anomaly,
}

_set_kernel_importer(
    lambda: _import_module("tapegrad.autograd.compiling.eager").run_kernel  # when first needed
)
_set_ufunc_importer(lambda: _import_module("tapegrad.autograd.scipy.ufuncs"))
_set_foreign_importer(
    "scipy.sparse", lambda: _import_module("tapegrad.autograd.scipy.sparse").operator_of
)


def __getattr__(name: str) -> _Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    found = globals()[name] = getattr(_LATE[name](), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
