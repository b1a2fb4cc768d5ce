"""Which objects may be operands, and what to write in place of those that may not.

Subclasses of ndarray with arithmetic of their own (masks, units, the matrix product for ``*``) are
refused: a Tensor would read their memory, and compute something else than NumPy does.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.autograd.core.errors import OperandError

__all__ = [
    "can_answer",
    "computes_with_arrays",
    "equals_no_number",
    "no_operand",
    "refuse_own_arithmetic",
]

OWN_ARITHMETIC = "{name} has arithmetic of its own, which Tensors do not follow: {advice}"
NO_OPERAND = "{place} is {name}, not an array or a number{advice}"

_NAMES = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift"
_PROTOCOLS = ("__array_ufunc__", "__array_function__", "__neg__", "__abs__", "__eq__", "__lt__")
_OPERATORS = (
    *(f"__{side}{name}__" for side in ("", "r", "i") for name in _NAMES.split()),
    *_PROTOCOLS,
)

# Module and name of a class, or the module alone: what to write.
_INSTEAD = {
    ("numpy.ma", "MaskedArray"): (
        "take its parts, np.where(np.ma.getmaskarray(m), 0, x) and m.filled(0), or the entries "
        "that count, x[~m.mask]"
    ),
    ("numpy", "matrix"): "give np.asarray(m), and write @ for its *",
    ("scipy.sparse", ""): (
        "A.toarray() is its dense form; A @ x, x @ A and x * A take it as it is"
    ),
    ("pandas", ""): "give df.to_numpy()",
    ("torch", ""): "give x.numpy(), or tapegrad.from_dlpack(x)",
    ("jax", ""): "give np.asarray(x), or tapegrad.from_dlpack(x)",
    ("astropy", ""): "give x.value, without its unit",
    ("pint", ""): "give x.magnitude, without its unit",
    ("builtins", "NoneType"): "is a `return` missing?",
    ("builtins", "generator"): "make a list of it",
    ("builtins", "map"): "make a list of it",
    ("builtins", "set"): "make a list of it, in an order",
}  # fmt: skip


def _advice_on(kind: type) -> str:
    for base in kind.__mro__:
        for (module, name), advice in _INSTEAD.items():
            inside = base.__module__ == module or base.__module__.startswith(f"{module}.")
            if inside and name in ("", base.__name__):
                return advice
    return ""


@lru_cache(maxsize=256)
def _own_arithmetic(kind: type) -> str:
    """Why arrays of a subclass of ndarray are refused; "" for one that computes as ndarray does."""
    if all(getattr(kind, name) is getattr(np.ndarray, name) for name in _OPERATORS):
        return ""
    advice = _advice_on(kind) or "give np.asarray(x) if the numbers alone are meant"
    return OWN_ARITHMETIC.format(name=f"{kind.__module__}.{kind.__name__}", advice=advice)


def refuse_own_arithmetic(data: Any) -> None:
    """Raise TypeError for an array, or a list of arrays, of a class with arithmetic of its own."""
    if isinstance(data, np.ndarray):
        kind: Any = type(data)  # type checkers do not take every class for hashable
        reason = kind is not np.ndarray and _own_arithmetic(kind)
        if reason:
            raise TypeError(reason)
    elif isinstance(data, (list, tuple)):
        for item in data:
            if isinstance(item, (np.ndarray, list, tuple)):
                refuse_own_arithmetic(item)


# Libraries whose arrays convert a Tensor behind the user's back, or raise without a hint.
_NO_ANSWER = ("builtins", "jax", "jaxlib", "numpy", "scipy", "torch")
_REFLECTED = {
    "add": "__radd__",
    "subtract": "__rsub__",
    "multiply": "__rmul__",
    "divide": "__rtruediv__",
    "floor_divide": "__rfloordiv__",
    "remainder": "__rmod__",
    "power": "__rpow__",
    "matmul": "__rmatmul__",
    "bitwise_and": "__rand__",
    "bitwise_or": "__ror__",
    "bitwise_xor": "__rxor__",
    "left_shift": "__rlshift__",
    "right_shift": "__rrshift__",
    "less": "__gt__",
    "less_equal": "__ge__",
    "greater": "__lt__",
    "greater_equal": "__le__",
    "equal": "__eq__",
    "not_equal": "__ne__",
}


def can_answer(kind: type, operation: str) -> bool:
    """Whether objects of a foreign class may know what ``tensor + object`` is.

    operation: the name of the primitive
    """
    if kind.__module__.partition(".")[0] in _NO_ANSWER:
        return False
    name = _REFLECTED.get(operation, "")
    return getattr(kind, name, None) is not getattr(object, name, None)


def equals_no_number(kind: type) -> bool:
    """Whether no number equals an object of a class: None, text, what has no equality of its own.

    Arrays of other libraries are none of these: they may hold numbers.
    """
    own: Any = kind.__eq__
    return kind.__module__ == "builtins" or own is object.__eq__


def computes_with_arrays(kinds: Iterable[type], protocol: str, own: type) -> bool:
    """Whether a foreign class among `kinds` answers one of NumPy's protocols itself."""
    return any(
        getattr(kind, protocol, None) is not None
        for kind in kinds
        if not issubclass(kind, (own, np.ndarray, np.generic))
    )


def no_operand(place: str, data: Any) -> OperandError:
    """The error for something that is no array, with what to write instead where that is known."""
    advice = _advice_on(type(data))
    return OperandError(
        NO_OPERAND.format(place=place, name=type(data).__name__, advice=advice and f": {advice}")
    )
