"""tapegrad.autograd: Tensors, primitives, and the derivatives that fall out of them."""

from importlib import import_module as _import_module

from tapegrad.autograd import ops
from tapegrad.autograd.core.composite import composite, composites
from tapegrad.autograd.core.declaration import Primitive, primitives
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.eager_kernels import set_kernel_importer as _set_kernel_importer
from tapegrad.autograd.core.errors import BatchingError, InPlaceError
from tapegrad.autograd.core.foreign import set_foreign_importer as _set_foreign_importer
from tapegrad.autograd.core.mode import enable_grad, is_recording, no_grad
from tapegrad.autograd.core.parameter import Parameter, default_dtype, set_default_dtype
from tapegrad.autograd.core.tensor import Tensor, from_dlpack
from tapegrad.autograd.debug.anomaly import AnomalyError, detect_anomaly
from tapegrad.autograd.debug.tape import Tape
from tapegrad.autograd.kernels.kept_memory import keep_memory
from tapegrad.autograd.kernels.threads import get_num_threads, set_num_threads
from tapegrad.autograd.ops.scipy_ufuncs import set_ufunc_importer as _set_ufunc_importer
from tapegrad.autograd.ops.ufunc import ufunc
from tapegrad.autograd.replay.recording import ReplayError
from tapegrad.autograd.replay.step import Replay, replay
from tapegrad.autograd.surface import methods as _methods
from tapegrad.autograd.transforms.batching import per_sample_grad, vmap
from tapegrad.autograd.transforms.checkpoint import (
    CheckpointError,
    checkpoint,
    checkpoint_sequential,
)
from tapegrad.autograd.transforms.derivatives import (
    custom_vjp,
    elementwise_grad,
    hessian,
    jacobian,
    stop_gradient,
)
from tapegrad.autograd.transforms.gradient import grad, value_and_grad
from tapegrad.autograd.transforms.products import hvp, jvp, vjp

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

_set_kernel_importer(
    lambda: _import_module("tapegrad.autograd.compiling.eager").run_kernel  # when first needed
)
_set_ufunc_importer(lambda: _import_module("tapegrad.autograd.scipy.ufuncs"))
_set_foreign_importer(
    "scipy.sparse", lambda: _import_module("tapegrad.autograd.scipy.sparse").operator_of
)
