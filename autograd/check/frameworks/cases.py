"""The cases of subjects of NumPy, PyTorch and JAX, from the arguments of their checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tapegrad.autograd.check.cases import Case
from tapegrad.autograd.check.frameworks import making
from tapegrad.autograd.check.frameworks.jax import jax_pair
from tapegrad.autograd.check.frameworks.numpy import numpy_pair
from tapegrad.autograd.check.frameworks.torch import torch_pair

__all__ = ["CHECK_ARGUMENTS", "declared_case", "jax_case", "torch_case", "vjp_case"]

CHECK_ARGUMENTS = ("profile", "law", "choices", "seed", "raise_error", "isolate")
_FLAGS = ("kinks", "exceptions", "inplace", "deterministic", "strict")


def _sorted_arguments(
    subject: Any, given: dict[str, Any], options: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The keyword arguments as flags of the case, arguments of the check, and options.

    ``inplace=`` is an option of a subject that has such a parameter.
    """
    own = dict(given)
    flags = {
        name: own.pop(name)
        for name in _FLAGS
        if name in own and not (name == "inplace" and making.has_parameter(subject, name))
    }
    asked = {name: own.pop(name) for name in CHECK_ARGUMENTS if name in own}
    if flags.get("exceptions") is None:
        flags.pop("exceptions", None)
    return flags, asked, {**own, **(options or {})}


def vjp_case(
    fn: Callable[..., Any], vjp_fn: Callable[..., Any], *inputs: Any, **spec: Any
) -> tuple[Case, dict[str, Any]]:
    """The case of a NumPy function, and those arguments of `check_vjp` that say how to check."""
    names = ("constant", "domains", "batchwise", "jvp_fn")
    own = {name: spec.pop(name) for name in names if name in spec}
    flags, asked, kept = _sorted_arguments(fn, spec, spec.pop("options", None))
    draw = numpy_pair(fn, vjp_fn, inputs, kept, inplace=flags.get("inplace", False), **own)
    return Case(draw, "function", **flags), asked


def torch_case(subject: Any, *inputs: Any, **spec: Any) -> tuple[Case, dict[str, Any]]:
    """The case of a torch subject, and those arguments of `check_torch` that say how to check."""
    own = {
        name: spec.pop(name, None)
        for name in ("training", "forward", "domains", "through", "batchwise")
    }
    constant, options = spec.pop("constant", ()), spec.pop("options", None)
    flags, asked, kept = _sorted_arguments(subject, spec, options)
    is_function = not inspect.isclass(subject) and making.has_parameter(subject, "training")
    if own["training"] is not None and is_function:  # as of torch.nn.functional.dropout
        kept["training"] = own.pop("training")
    draw = torch_pair(
        subject, inputs, kept, constant=constant or (), inplace=flags.get("inplace", False), **own
    )
    return Case(draw, "function", **flags), asked


def jax_case(subject: Any, *inputs: Any, **spec: Any) -> tuple[Case, dict[str, Any]]:
    """The case of a JAX subject, and those arguments of `check_jax` that say how to check."""
    names = ("constant", "domains", "through", "batchwise", "jit")
    own = {name: spec.pop(name) for name in names if name in spec}
    flags, asked, kept = _sorted_arguments(subject, spec, spec.pop("options", None))
    return Case(jax_pair(subject, inputs, kept, **own), "function", **flags), asked


def declared_case(framework: str, subject: Any, declared: Mapping[str, Any]) -> Case:
    """The case that a class or function declares in ``law_case``: a dict of a check's arguments.

    ``"input"`` is the one input or ``"inputs"`` a list of several; ``"vjp"`` the gradient of a
    NumPy function, ``"jvp_fn"`` its rule for tangents where it has one.
    """
    spec = dict(declared)
    inputs = spec.pop("inputs", None) or [spec.pop("input", "N? C")]
    make = spec.pop("make", subject)
    if framework == "numpy":
        case, _ = vjp_case(make, spec.pop("vjp"), *inputs, **spec)
    elif framework == "torch":
        case, _ = torch_case(make, *inputs, **spec)
    else:
        case, _ = jax_case(make, *inputs, **spec)
    return case
