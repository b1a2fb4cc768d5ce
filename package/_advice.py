"""What to write for words of PyTorch, JAX and TensorFlow that `tapegrad` does not have."""

from __future__ import annotations

from importlib import import_module

import numpy as np

from tapegrad.autograd import ops
from tapegrad.autograd.core.absent_name import absent_name
from tapegrad.autograd.core.declaration import numpy_functions

__all__ = ["absent_in_front"]

_MADE = "arange array asarray empty eye full full_like linspace ones ones_like zeros zeros_like"
_SAME = ("complex64", "complex128", "float16", "float32", "float64", "int32", "int64")
_DTYPES = {
    **dict(zip(_SAME, _SAME, strict=True)),
    "bool": "bool_",
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "int": "int32",
    "long": "int64",
}
_RANDOM = (
    "`np.random.default_rng(seed)`; numbers that a recorded step draws anew: "
    '`tapegrad.ops.normal(generator=tapegrad.devices.generator("cpu"), shape=(2, 3), dtype=float)`'
)
_COMPILE = "`tapegrad.compile(step)`, which records a step and compiles it"
_LEARNS = (
    "`tapegrad.Parameter(x)` for what learns; what `tapegrad.grad(f)` differentiates needs no mark"
)

_KINDS = ("Byte", "Cuda", "Double", "Float", "Half", "Int", "Long")

# Code between backticks is run by a test; what it leaves out, "…", is only looked up.
INSTEAD = {
    **{name: f"`tapegrad.Tensor(np.{name}(…))`" for name in _MADE.split()},
    **{name: f"NumPy's `np.{dtype}`" for name, dtype in _DTYPES.items()},
    **dict.fromkeys([f"{kind}Tensor" for kind in _KINDS], "`tapegrad.Tensor(x, dtype=np.float32)`"),
    **dict.fromkeys(("as_tensor", "constant", "from_numpy", "tensor"), "`tapegrad.Tensor(x)`"),
    **dict.fromkeys(("rand", "randint", "randn", "random", "randperm", "Generator"), _RANDOM),
    **dict.fromkeys(("function", "jit"), _COMPILE),
    **dict.fromkeys(("GradientTape", "Variable"), _LEARNS),
    "backends": "tapegrad info in a shell, which says what it runs on",
    "bfloat16": "`np.float16`: NumPy has no bfloat16",
    "cat": "`np.concatenate([x, x])`",
    "clamp": "`np.clip(x, 0, 1)`",
    "cuda": '`model.cuda()`, `x.to("cuda:0")`, `tapegrad.device("cuda:0")`',
    "custom_gradient": "`tapegrad.custom_vjp(f)`",
    "custom_jvp": "`tapegrad.custom_vjp(f)`",
    "fft": "`np.fft`",
    "func": "`tapegrad.grad`, `tapegrad.vmap`, `tapegrad.vjp`, and `nn.functional_call`",
    "gather": "`np.take_along_axis`",
    "inference_mode": "`tapegrad.no_grad()`",
    "is_grad_enabled": "`tapegrad.is_recording()`",
    "is_tensor": "`isinstance(x, tapegrad.Tensor)`",
    "jacfwd": "`tapegrad.jacobian(f)`, or `tapegrad.jvp(f, x, x)` for one direction",
    "jacrev": "`tapegrad.jacobian(f)`",
    "keras": "`tapegrad.nn` for layers, `tapegrad.optim.Trainer` for fit, evaluate and predict",
    "lax": "Python's own loops, which are recorded, and `tapegrad.ops`",
    "linalg": "`np.linalg`",
    "load": "`nn.load(path)`",
    "mm": "`x @ x`",
    "numpy": "NumPy itself: its functions take Tensors",
    "permute": "`np.transpose(x, (1, 0))`",
    "pmap": "`tapegrad.vmap(f)` on one device, `optim.DataParallel(model)` on several ranks",
    "save": "`nn.save(model, path)`",
    "seed": "`tapegrad.manual_seed(0)`",
    "set_default_tensor_type": "`tapegrad.set_default_dtype(np.float32)`",
    "set_grad_enabled": "`tapegrad.no_grad()` or `tapegrad.enable_grad()`",
    "special": "scipy.special, whose functions take Tensors",
    "tensor_split": "`np.array_split(x, 2)`",
    "unsqueeze": "`np.expand_dims(x, 0)`",
    "utils": "`optim.Batches(x, target)` for data, `optim.clip_grad_norm` for gradients, "
    "`tapegrad.checkpoint(f)`",
}


def absent_in_front(name: str, known: list[str]) -> AttributeError:
    """Return the error for a name that `tapegrad` does not have."""
    instead = INSTEAD
    if name not in INSTEAD:
        theirs = getattr(np, name, None)
        if callable(theirs) and theirs in numpy_functions:
            instead = {name: f"`np.{name}`, which takes Tensors"}
        elif callable(getattr(ops, name, None)):
            instead = {name: f"`tapegrad.ops.{name}`"}
        else:
            # Two rooms that are imported when something is named that is nowhere else.
            for room in ("nn", "optim"):
                if name in import_module(f"tapegrad.{room}").__all__:
                    instead = {name: f"`tapegrad.{room}.{name}`"}
    return absent_name("tapegrad", name, instead, known)
