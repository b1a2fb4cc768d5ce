"""StrictNamespace: CuPy's names and parameters over NumPy's functions.

`tapegrad.devices.strict` describes its purpose.  Members are made from the record of CuPy's
namespace when they are first used.  The sets below hold what the record cannot say: which functions
return Python's objects, which take ndarrays, which no layer needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.devices._cupy_signatures import CUPY, RECORD, Parameters
from tapegrad.devices._registry import DeviceError
from tapegrad.devices._strict_array import (
    MIXED,
    NUMBERS,
    HostArray,
    StrictArray,
    as_strict,
    scatter,
    unwrap_operand,
    wrap_result,
)

__all__ = ["StrictNamespace", "strict"]

# Functions ---------------------------------------------------------------------------------------

# Parameters for CUDA streams, which change no result.
_IGNORED = frozenset({"blocking", "stream"})

# Functions that return Python's objects, in CuPy too.
_HOST = frozenset(
    {
        "array2string",
        "array_repr",
        "array_str",
        "base_repr",
        "binary_repr",
        "broadcast_shapes",
        "bytes",
        "can_cast",
        "common_type",
        "format_float_positional",
        "format_float_scientific",
        "get_printoptions",
        "iscomplexobj",
        "isdtype",
        "isfortran",
        "isrealobj",
        "isscalar",
        "issubdtype",
        "iterable",
        "may_share_memory",
        "min_scalar_type",
        "mintypecode",
        "ndim",
        "printoptions",
        "promote_types",
        "result_type",
        "set_printoptions",
        "shape",
        "shares_memory",
        "size",
        "typename",
    }
)

# Functions that copy their argument to the device, so they take an ndarray.
_UPLOADS = frozenset({"array", "asarray", "asanyarray"})

# Functions that call back, read files or return CuPy's own objects.  No layer needs them.
_NOT_MODELLED = frozenset(
    {
        "apply_along_axis",
        "apply_over_axes",
        "default_rng",
        "from_dlpack",
        "frombuffer",
        "fromfile",
        "fromfunction",
        "fromiter",
        "fromstring",
        "genfromtxt",
        "get_random_state",
        "load",
        "loadtxt",
        "mask_indices",
        "piecewise",
        "reset_states",
        "save",
        "savetxt",
        "savez",
        "savez_compressed",
        "set_random_state",
        "show_config",
    }
)


def _check_first(parameters: Parameters, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise TypeError or DeviceError unless the first argument is a StrictArray, or several."""
    first = args[0] if args else kwargs.get(parameters.positional[0])
    items: Sequence[Any] = (first,)
    if parameters.first_is_sequence:
        items = first if isinstance(first, (list, tuple)) else ()
    for item in items:
        if isinstance(item, np.ndarray):
            raise DeviceError(MIXED.format(where=parameters.where))
        if type(item) is not StrictArray:
            raise TypeError(
                f"{CUPY}: the first argument of {parameters.where} must be"
                f" {'arrays' if parameters.first_is_sequence else 'an array'},"
                f" not {type(item).__name__}"
            )


def _make_function(
    where: str, name: str, text: str, call: Callable[..., Any]
) -> Callable[..., Any]:
    """The function that CuPy calls `where`, computed by NumPy's function `call`.

    text: its signature in the record
    """
    parameters = Parameters(where, text, call)
    check_first = parameters.first_is_array or parameters.first_is_sequence
    host, upload = name in _HOST, name in _UPLOADS

    def function(*args: Any, **kwargs: Any) -> Any:
        ordered, named = parameters.bind(args, kwargs)
        if check_first:
            _check_first(parameters, args, kwargs)
        if upload:
            return _upload(call, ordered, named, where)
        dtype = _take_out_foreign(parameters, named)
        out = parameters.out(args, kwargs)
        result = call(
            *[unwrap_operand(value, where) for value in ordered],
            **{key: unwrap_operand(value, where) for key, value in named.items()},
        )
        if host:
            return result
        if out is not None:
            return out
        result = wrap_result(result, (*args, *kwargs.values()))
        return result if dtype is None else result.astype(dtype)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{where}({text}), computed by NumPy; see CuPy's documentation."
    return function


def _take_out_foreign(parameters: Parameters, named: dict[str, Any]) -> Any:
    """Remove the arguments that NumPy's function lacks from `named`; return the dtype, if any."""
    dtype = None
    for name in parameters.foreign & named.keys():
        value = named.pop(name)
        if name == "dtype":
            dtype = value
        elif name not in _IGNORED and value is not None:
            raise TypeError(f"the strict stand-in does not model {parameters.where}(…, {name}=…)")
    return dtype


def _upload(
    call: Callable[..., Any], ordered: Sequence[Any], named: dict[str, Any], where: str
) -> Any:
    """The result of `array(x)` and its relatives, which copy an ndarray as if to another memory."""
    named = {key: value for key, value in named.items() if key not in _IGNORED}
    source = ordered[0] if ordered else next(iter(named.values()))
    if isinstance(source, np.ndarray):
        result = call(*ordered, **named)
        return as_strict(result.copy(order="K") if np.shares_memory(result, source) else result)
    bare = [unwrap_operand(value, where) for value in ordered]
    result = call(*bare, **{key: unwrap_operand(value, where) for key, value in named.items()})
    return wrap_result(result, ordered)


class _Ufunc:
    """A ufunc of CuPy, computed by NumPy's function of that name."""

    def __init__(self, name: str, text: str, call: Callable[..., Any]) -> None:
        shape, *methods = text.split()
        self.__name__ = name
        self.nin, self.nout = (int(count) for count in shape.split("->"))
        self.nargs = self.nin + self.nout
        self._methods = frozenset(methods)
        self._call = call
        self._where = f"cupy.{name}"

    def __repr__(self) -> str:
        return f"<ufunc 'strict.{self.__name__}'>"

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        where = self._where
        if kwargs:
            for name in kwargs:
                if name not in _UFUNC_KEYWORDS:
                    raise TypeError(f"{CUPY}: {where} takes no keyword argument {name!r}")
        if len(args) != self.nin:
            args, out = self._split(args, out)
        bare = [a._array if type(a) is StrictArray else self._number(a) for a in args]
        if out is None and not kwargs:
            return wrap_result(self._call(*bare), ())
        if type(self._call) is not np.ufunc:
            return self._by_function(bare, out, kwargs)
        if out is None:
            return wrap_result(self._call(*bare, **kwargs), ())
        self._call(*bare, out=self._bare_out(out), **kwargs)
        return out

    def _split(self, args: tuple[Any, ...], out: Any) -> tuple[tuple[Any, ...], Any]:
        if len(args) != self.nargs or out is not None:
            raise TypeError(
                f"{self._where} takes {self.nin} arguments, or {self.nargs} with its outputs;"
                f" {len(args)} were given"
            )
        outs = args[self.nin :]
        return args[: self.nin], outs[0] if self.nout == 1 else outs

    def _bare_out(self, out: Any) -> Any:
        outs = out if isinstance(out, tuple) else (out,)
        for item in outs:
            if type(item) is not StrictArray and not (item is None and len(outs) > 1):
                raise TypeError(
                    f"{self._where}: out must be a strict array, not {type(item).__name__}"
                )
        bare = tuple(None if item is None else item._array for item in outs)
        return bare if isinstance(out, tuple) else bare[0]

    def _by_function(self, bare: list[Any], out: Any, kwargs: dict[str, Any]) -> Any:
        """The result where NumPy has an ordinary function (sinc, i0, fix) without `out` and
        `dtype`.
        """
        result = wrap_result(self._call(*bare), ())
        if kwargs.get("dtype") is not None:
            result = result.astype(kwargs["dtype"])
        if out is None:
            return result
        out[...] = result
        return out

    def _number(self, value: Any) -> Any:
        if type(value) in NUMBERS or isinstance(value, np.generic):
            return value
        if isinstance(value, np.ndarray):
            raise DeviceError(MIXED.format(where=self._where))
        raise TypeError(f"{self._where}: unsupported type {type(value).__name__}")

    def _method_owner(self, name: str) -> Any:
        """NumPy's ufunc.  Raises NotImplementedError unless CuPy's ufunc has the method `name`."""
        if name not in self._methods:
            raise NotImplementedError(f"{CUPY} has no {self._where}.{name}")
        return self._call

    def _reduction(self, name: str, array: Any, out: Any, **kwargs: Any) -> Any:
        call = getattr(self._method_owner(name), name)
        if type(array) is not StrictArray:
            raise TypeError(f"{self._where}.{name} takes an array, not {type(array).__name__}")
        bare = {key: unwrap_operand(value, self._where) for key, value in kwargs.items()}
        if out is None:
            return wrap_result(call(array._array, **bare), ())
        call(array._array, out=self._bare_out(out), **bare)
        return out

    def reduce(
        self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        """The ufunc applied to the entries along `axis` one after another: np.add.reduce is a
        sum.
        """
        return self._reduction("reduce", array, out, axis=axis, dtype=dtype, keepdims=keepdims)

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        """The intermediate results of `reduce` along `axis`."""
        return self._reduction("accumulate", array, out, axis=axis, dtype=dtype)

    def reduceat(
        self, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None
    ) -> Any:
        """`reduce` over the slices that begin at `indices`."""
        return self._reduction("reduceat", array, out, indices=indices, axis=axis, dtype=dtype)

    def outer(self, A: Any, B: Any, **kwargs: Any) -> Any:
        """The ufunc of every pair of entries of A and B."""
        call = self._method_owner("outer").outer
        where = f"{self._where}.outer"
        return wrap_result(call(unwrap_operand(A, where), unwrap_operand(B, where), **kwargs), ())

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        """a[indices] = ufunc(a[indices], b), where repeated indices act one after another."""
        scatter(self._method_owner("at"), a, indices, b)


_UFUNC_KEYWORDS = frozenset(RECORD["ufunc_keywords"].split())


# Namespaces --------------------------------------------------------------------------------------


class _Indexed:
    """mgrid, ogrid, r_ or c_, which make arrays when they are indexed."""

    def __init__(self, name: str, call: Any) -> None:
        self._name, self._call = name, call

    def __getitem__(self, key: Any) -> Any:
        return wrap_result(self._call[unwrap_operand(key, f"cupy.{self._name}")], ())


class StrictNamespace:
    """CuPy's namespace, or a part of it such as `linalg`, computed by NumPy.

    It has the names that CuPy has, and functions take CuPy's parameters.  Members are made when
    they are first used.
    """

    def __init__(self, path: str, module: Any) -> None:
        self.__name__ = f"strict.{path}" if path else "strict"
        self._path = path
        self._module = module
        self._entries = RECORD["namespaces"][path]

    def __repr__(self) -> str:
        return f"<namespace {self.__name__}: {CUPY} computed by NumPy>"

    def __dir__(self) -> list[str]:
        entries = self._entries
        names = [*entries["functions"], *entries["ufuncs"], *entries["types"].split()]
        return sorted([*names, *entries["constants"].split(), *self._parts()])

    def _parts(self) -> list[str]:
        """The names of the namespaces inside this one."""
        prefix = f"{self._path}." if self._path else ""
        inside = (path.removeprefix(prefix) for path in RECORD["namespaces"] if path != self._path)
        return [part for part in inside if part and "." not in part]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        member = self._make_member(name)
        setattr(self, name, member)
        return member

    def _make_member(self, name: str) -> Any:
        where = f"cupy.{self._path}.{name}" if self._path else f"cupy.{name}"
        path, entries = where.removeprefix("cupy."), self._entries
        if path in RECORD["namespaces"]:
            return StrictNamespace(path, getattr(self._module, name))
        if name in entries["functions"]:
            special = _SPECIAL.get(path)
            if special is not None:
                return special
            if name not in _NOT_MODELLED and hasattr(self._module, name):
                call = getattr(self._module, name)
                return _make_function(where, name, entries["functions"][name], call)
        elif name in entries["ufuncs"]:
            if hasattr(self._module, name):
                return _Ufunc(name, entries["ufuncs"][name], getattr(self._module, name))
        elif name in entries["types"].split() or name in entries["constants"].split():
            member = _VALUES[name] if name in _VALUES else getattr(self._module, name, _VALUES)
            if _is_same_in_cupy(member):
                return member
        else:
            raise AttributeError(f"{CUPY} has no {where}")
        raise AttributeError(
            f"the strict stand-in does not model {where}; to test code that needs it, use a GPU"
        )


def _is_same_in_cupy(member: Any) -> bool:
    """Does CuPy use the same object as NumPy: a number, a dtype, an exception, …?"""
    if isinstance(member, type):
        same = (
            np.generic,
            np.dtype,
            np.finfo,
            np.iinfo,
            np.ndindex,
            Exception,
            StrictArray,
            _Ufunc,
        )
        return issubclass(member, same)
    return member is None or isinstance(member, (int, float, _Indexed, type(np.s_)))


def _asnumpy(
    a: Any, _: Any = None, order: str = "C", out: Any = None, **ignored: bool
) -> HostArray:
    """`a` as an ndarray: a copy of a strict array."""
    if unknown := ignored.keys() - _IGNORED:
        raise TypeError(f"{CUPY}: cupy.asnumpy takes no keyword argument {min(unknown)!r}")
    if type(a) is StrictArray:
        return a.get(order=order, out=out)
    return np.asarray(a)


def _get_array_module(*args: Any) -> Any:
    """`strict` if one of the arguments is a strict array, else `numpy`."""
    return strict if any(type(a) is StrictArray for a in args) else np


_VALUES: dict[str, Any] = {
    "ndarray": StrictArray,
    "ufunc": _Ufunc,
    **{name: _Indexed(name, getattr(np, name)) for name in ("mgrid", "ogrid", "r_", "c_")},
}
_SPECIAL: dict[str, Any] = {"asnumpy": _asnumpy, "get_array_module": _get_array_module}


strict = StrictNamespace("", np)
