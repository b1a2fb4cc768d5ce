"""Writes `cupy_namespace.json`, the record of CuPy's namespace that the strict stand-in follows.

    python -m tapegrad.devices._record_cupy devices/cupy_namespace.json

Run it where CuPy is installed (a GPU is not needed), when the CuPy version that the `cuda` extra
asks for changes.  Names and parameters are read from CuPy itself instead of being kept by hand.
Signatures do not say whether a function's first argument must be an array.  That is found out by
calling the function with a list: CuPy refuses the list, or fails later because there is no GPU.

A signature is one string: `a!, axis=, out=` means that `a` must be an array and that the others may
be left out; `*`, `*args` and `**` mean what they mean in Python.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tapegrad.devices._types import Namespace

__all__ = ["main", "record_cupy"]

_NAMESPACES = ("", "linalg", "fft", "random", "lib", "lib.stride_tricks")

# The keyword arguments that functions declared with **kwargs read from them.  A function that is
# not listed gets "**", which allows any.
_KEYWORDS = {
    "einsum": "dtype=, optimize=",
    "meshgrid": "indexing=, copy=, sparse=",
    "pad": "constant_values=, end_values=, stat_length=, reflect_type=",
    "rand": "dtype=",
    "randn": "dtype=",
}

_UFUNC_METHODS = ("reduce", "accumulate", "reduceat", "at")

_REFUSES_LISTS = re.compile(
    r"'list' object (has no attribute|cannot)|cupy\.|cupy arrays?\b|takes no keyword|"
    r"keyword argument for sort\(\)|input arrays? to be cupy",
    re.IGNORECASE,
)


def record_cupy(cupy: Namespace) -> dict[str, Any]:
    """The content of the file for the module `cupy`: its names, signatures, methods and flags."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "cupy": cupy.__version__,
            "numpy": np.__version__,
            "namespaces": {path: _record_namespace(cupy, path) for path in _NAMESPACES},
            "ufunc_keywords": _record_ufunc_keywords(cupy),
            "methods": _record_methods(cupy.ndarray),
            "attributes": " ".join(_attributes(cupy.ndarray)),
            "flags": " ".join(_attributes(cupy._core.flags.Flags)),
        }


def _record_namespace(cupy: Any, path: str) -> dict[str, Any]:
    module = cupy
    for part in filter(None, path.split(".")):
        module = getattr(module, part)
    entries: dict[str, Any] = {"functions": {}, "ufuncs": {}, "types": [], "constants": []}
    for name in sorted(dir(module)):
        member = getattr(module, name)
        if name.startswith("_") or isinstance(member, types.ModuleType):
            continue
        if type(member).__name__ == "_Feature":  # `from __future__ import annotations`
            continue
        if isinstance(member, cupy.ufunc):
            entries["ufuncs"][name] = _record_ufunc(member)
        elif isinstance(member, type):
            entries["types"].append(name)
        elif callable(member):
            entries["functions"][name] = _record_function(name, member)
        else:
            entries["constants"].append(name)
    return {
        **entries,
        "types": " ".join(entries["types"]),
        "constants": " ".join(entries["constants"]),
    }


def _record_ufunc(ufunc: Any) -> str:
    """A ufunc's numbers of inputs and outputs, and the methods that it has: "2->1 at outer"."""
    methods = ["outer"] if ufunc.nin == 2 else []
    for name in _UFUNC_METHODS:
        method = getattr(ufunc, name)
        try:
            method(None) if name in {"reduce", "accumulate"} else method(None, None)
        except NotImplementedError:
            continue
        except AttributeError:  # the method exists and tried to use its argument, None
            methods.append(name)
    return " ".join([f"{ufunc.nin}->{ufunc.nout}", *sorted(methods)])


def _record_ufunc_keywords(cupy: Any) -> str:
    """The keyword arguments that every ufunc takes besides `out`, read from the docstrings."""
    heads = {
        re.sub(r"^.*\\\*, ", "", ufunc.__doc__.splitlines()[0])
        for ufunc in vars(cupy).values()
        if isinstance(ufunc, cupy.ufunc)
    }
    if len(heads) != 1:
        raise ValueError(f"CuPy's ufuncs differ in their keyword arguments: {sorted(heads)}")
    return " ".join(re.findall(r"(\w+)=", heads.pop()))


def _record_function(name: str, function: Any) -> str:
    """The signature of a function as one string, as the module docstring describes."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return _from_docstring(function)
    words: list[str] = []
    star = False
    for parameter in parameters:
        if parameter.name.startswith("_"):
            continue
        word = parameter.name
        if parameter.kind is parameter.VAR_POSITIONAL:
            word, star = f"*{word}", True
        elif parameter.kind is parameter.VAR_KEYWORD:
            words.append(_KEYWORDS.get(name, "**"))
            continue
        elif parameter.kind is parameter.KEYWORD_ONLY and not star:
            words.append("*")
            star = True
        if parameter.default is not parameter.empty:
            word += "="
        words.append(word)
    # An argument `tup` is a sequence of arrays: CuPy accepts the list and refuses its entry.
    can_be_tested = words and words[0] != "tup" and parameters[0].kind in {0, 1}
    if can_be_tested and _refuses_lists(function, parameters):
        words[0] = words[0].removesuffix("=") + "!"
    return ", ".join(words)


def _refuses_lists(function: Any, parameters: list[inspect.Parameter]) -> bool:
    """Does the function refuse a list as its first argument, rather than fail for another
    reason?
    """
    required = [p for p in parameters if p.kind in {0, 1} and p.default is p.empty]
    try:
        function([1.0], *[1] * (len(required) - 1))
    except Exception as error:  # noqa: BLE001  # the kind of failure is the answer
        # These messages mean that the function wanted a number or a shape, not an array.
        if re.search(r"interpreted as an integer|<=|unsupported operand", str(error)):
            return False
        return _REFUSES_LISTS.search(f"{error}") is not None
    return False


def _from_docstring(function: Any) -> str:
    """The signature in the first line of a compiled function's docstring."""
    head = (function.__doc__ or "").splitlines()[0]
    found = re.search(r"\((.*?)\)( ->|$)", head)
    if found is None:
        return "*args, **"
    words = []
    for part in filter(None, found[1].split(", ")):
        left, _, default = part.partition("=")
        word = left.split()[-1]  # without the C type before it
        if word in {"self", "/"}:
            continue
        # An optional `out` has the type of an array too.
        array = left.startswith("_ndarray_base ") and not default
        words.append(word + ("!" if array else "=" if default else ""))
    return ", ".join(words)


def _record_methods(array_type: type) -> dict[str, str]:
    found = {}
    for name in dir(array_type):
        member = getattr(array_type, name)
        if callable(member) and not name.startswith("_"):
            found[name] = _from_docstring(member)
    return found


def _attributes(any_type: type) -> list[str]:
    return [
        name
        for name in dir(any_type)
        if not name.startswith("_") and not callable(getattr(any_type, name))
    ]


def main(arguments: list[str] | None = None) -> int:
    """Write the record of the installed CuPy into the file named on the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tapegrad.devices._record_cupy FILE.json\n")
        return 2
    import cupy

    text = json.dumps(record_cupy(cupy), indent=1, sort_keys=True)
    Path(arguments[0]).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
