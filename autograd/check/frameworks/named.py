"""named: what `torch:torch.nn.Conv2d`, `jax:jax.nn.gelu` or `numpy:package.function` names.

A path is dotted, or has a colon between module and name.  The case is the one that is registered or
declared, else the one in `KNOWN`; a function of arrays without any gets an array of any values for
each argument that it needs.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from tapegrad.autograd.check.cases import Case, registered_case
from tapegrad.autograd.check.frameworks.cases import declared_case
from tapegrad.autograd.check.frameworks.known import KNOWN
from tapegrad.autograd.check.frameworks.making import signature_of

__all__ = ["FRAMEWORKS", "framework_of", "named", "own_case", "resolved"]

FRAMEWORKS = ("torch", "jax", "numpy")

NO_GRADIENT = (
    "{path} has no gradient to check: say --vjp package.module:function, name the function "
    '{name}_vjp and put it beside {name}, or write @check_vjp(its_gradient, "N? C") above {name}'
)


def resolved(path: str) -> tuple[ModuleType, str, Any]:
    """The module, the name in it ("" for the module itself) and what it is.

    Raises ImportError or ValueError where there is none.
    """
    module_name, colon, name = path.partition(":")
    parts = module_name.split(".")
    if colon:
        module = importlib.import_module(module_name)
    else:
        module, name = _longest_module(parts)
    target: Any = module
    for part in name.split(".") if name else ():
        if not hasattr(target, part):
            raise ValueError(f"{module.__name__} has no {name!r}")
        target = getattr(target, part)
    return module, name, target


def _longest_module(parts: Sequence[str]) -> tuple[ModuleType, str]:
    """The module that the first parts of a dotted path name, and the rest of the path."""
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        try:
            return importlib.import_module(name), ".".join(parts[count:])
        except ModuleNotFoundError as error:
            if count == 1 or not name.startswith(error.name or "-"):
                raise
    raise ValueError("an empty path names nothing")


def framework_of(candidate: Any) -> str | None:
    """The framework of a class or function that declares or has registered a case, else None.

    A class of PyTorch's modules or functions needs no case to be recognised.
    """
    torch = sys.modules.get("torch")
    if isinstance(candidate, type):
        bases = () if torch is None else (torch.nn.Module, torch.autograd.Function)
        return "torch" if bases and issubclass(candidate, bases) else None
    if not callable(candidate):
        return None
    declared = getattr(candidate, "law_case", None)
    if isinstance(declared, Mapping):
        return "numpy" if "vjp" in declared else declared.get("framework")
    return None


def named(
    framework: str,
    path: str,
    *,
    inputs: Sequence[Any] = (),
    options: Mapping[str, Any] | None = None,
    vjp: str | None = None,
) -> tuple[str, Any, Case | None]:
    """The name, the subject and the case (None if it has none) of a path.

    inputs, options: shapes and options instead of those of a case
    vjp:             the path of the gradient of a NumPy function
    Raises ImportError or ValueError where the path names nothing that can be checked.
    """
    module, name, target = resolved(path)
    if not name or not callable(target):
        raise ValueError(f"{path} is no class or function")
    shown = f"{module.__name__}:{name}"
    spec: dict[str, Any] = dict(options or {})
    if framework == "numpy":
        gradient = resolved(vjp)[2] if vjp else getattr(module, f"{name}_vjp", None)
        if gradient is None and own_case(framework, target) is None:
            raise ValueError(NO_GRADIENT.format(path=path, name=name))
        if gradient is not None:
            spec["vjp"] = gradient
    if inputs:
        return shown, target, declared_case(framework, target, {"inputs": list(inputs), **spec})
    case = own_case(framework, target)
    if case is None:
        known = KNOWN.get(f"{module.__name__}.{name}") or _default(target)
        if known is not None:
            case = declared_case(framework, target, {**known, **spec})
    return shown, target, case


def own_case(framework: str, target: Any) -> Case | None:
    """The case that is registered for a subject, else the one that it declares itself."""
    registered = registered_case(target)
    if registered is not None:
        return registered
    declared = vars(target).get("law_case") if hasattr(target, "__dict__") else None
    if isinstance(declared, Mapping):
        kept = {key: value for key, value in declared.items() if key != "framework"}
        return declared_case(framework, target, kept)
    return declared if isinstance(declared, Case) else None


def _default(target: Any) -> dict[str, Any] | None:
    """An array for each argument that a function needs; None for a class."""
    if inspect.isclass(target):
        return None
    signature = signature_of(target)
    count = 1
    if signature is not None:
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        count = sum(
            p.default is p.empty and p.kind in positional for p in signature.parameters.values()
        )
    return {"inputs": ["N? C"] if count <= 1 else ["N C"] * count}
