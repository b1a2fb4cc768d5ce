"""NumPy's functions and ufuncs on Tensors: the two protocols, answered from the registry.

A NumPy function runs the primitive or composite that names it in its declaration.  One that nothing
names is a TypeError at once: nothing falls back to converting a Tensor behind the user's back, and
an option that is not supported is an error, not ignored.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.core.declaration import numpy_functions
from tapegrad.autograd.core.errors import OperandError
from tapegrad.autograd.core.mode import refuse
from tapegrad.autograd.core.operands import computes_with_arrays
from tapegrad.autograd.core.running import refusal, where_cut
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand
from tapegrad.autograd.ops.building import array, full
from tapegrad.autograd.ops.scipy_ufuncs import primitive_of_scipy
from tapegrad.autograd.reverse.readers import array_to_read
from tapegrad.autograd.reverse.write import write_result
from tapegrad.autograd.surface import advice, ufunc_methods
from tapegrad.autograd.surface.nan_signatures import NAN_FULL
from tapegrad.autograd.surface.shape_signatures import OUT_IS_TENSOR, SHAPE_FULL, laid_out
from tapegrad.autograd.surface.signatures import FULL
from tapegrad.autograd.surface.ufunc_options import call_with_options

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import DTypeLike

__all__ = ["array_function", "array_ufunc", "to_numpy_array"]

TRACKED = (
    "{line}: this Tensor is tracked: converting it to a NumPy array{where} would silently cut its "
    "gradient. {advice}x.numpy() is its value as a constant."
)
UNKNOWN = (
    "{name} has no primitive, so it cannot be applied to a Tensor.{advice} "
    "Write it with functions that have one, or use .numpy() for a value without a gradient."
)
OPTION = "{name} on a Tensor: the option {option}={value!r} is not supported"

_OF_TEXT = ("numpy.char.", "numpy.strings.")  # their namesakes compute with numbers


def _unknown(function: Callable[..., Any], name: str, method: str = "") -> TypeError:
    """The error for a function without a primitive: what to write, or the nearest that has one."""
    name = f"{name}.{method}" if method else name
    instead = advice.advice_for(name) or advice.library_advice() or advice.remark_on(name)
    if not instead and not method and not name.startswith(_OF_TEXT):
        import difflib  # for the rare error alone

        known = {advice.public_name(f): f for f in numpy_functions if f is not function}
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        instead = f"The nearest that has one is {near[0]}." if near else ""
    return TypeError(UNKNOWN.format(name=name, advice=instead and f" {instead}"))


def _unsupported(name: str, option: str, value: Any) -> TypeError:
    """The error for an option of a function that has a primitive without that option."""
    instead = advice.library_advice(besides=name) or advice.option_advice(option)
    text = OPTION.format(name=name, option=option, value=value)
    return TypeError(f"{text}. {instead}" if instead else text)


def to_numpy_array(
    self: Tensor, dtype: DTypeLike = None, copy: bool | None = None
) -> np.ndarray[Any, Any]:
    """NumPy calls this to make an array of a Tensor."""
    if self._node is not None and not advice.only_compares():
        if advice.asks_who_answers():
            holder = np.empty((), object)
            holder[()] = self
            return holder
        where = where_cut()
        raise refusal(TRACKED, advice.OF_ARRAYS, where=f" {where}" if where else "")
    refuse("converts a Tensor to a NumPy array")
    return np.array(array_to_read(self.numpy()), dtype=dtype, copy=copy)


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy calls this when a ufunc meets a Tensor."""
    try:
        if method == "__call__" and not options and ufunc in numpy_functions:  # the ordinary call
            return numpy_functions[ufunc](*inputs)
        return _other_ufunc_call(ufunc, method, inputs, options)
    except OperandError:
        if computes_with_arrays(map(type, inputs), "__array_ufunc__", Tensor):
            return NotImplemented
        raise


def _other_ufunc_call(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """A ufunc with options, or one of its methods."""
    name = advice.public_name(ufunc)
    out = options.pop("out", None)
    function = numpy_functions.get(ufunc) or primitive_of_scipy(ufunc)
    if function is None and ufunc.__name__ == "clip":  # what ndarray.clip calls
        return numpy_functions[np.clip](*inputs)
    if method == "__call__":
        if function is None:
            raise _unknown(ufunc, name)
        target = _targets(out, name)
        y = call_with_options(ufunc, function, name, inputs, options, target)
        if target is None:
            return y
        if isinstance(target, tuple):
            return tuple(
                part if t is None else write_result(t, part, f"{name}(…, out=x)")
                for t, part in zip(target, y, strict=True)
            )
        return write_result(target, y, f"{name}(…, out=x)")
    several = ufunc.nout > 1 and method != "outer"
    if function is None or several or ufunc.signature is not None or ufunc.nin > 2:
        raise _unknown(ufunc, name, method)
    if method == "at":
        return ufunc_methods.at(ufunc, function, *inputs)
    if method == "outer":
        first, second = (as_operand(x) for x in inputs)
        wide = s.reshape(first, tuple(first.shape) + (1,) * second.ndim)
        y = ufunc(wide, second, **options)
    else:
        y = ufunc_methods.METHODS[method](ufunc, function, *inputs, **options)
    target = _targets(out, name)
    return y if target is None else write_result(target, y, f"{name}.{method}(…, out=x)")


def _targets(out: tuple[Any, ...] | None, name: str) -> Any:
    """The Tensor of out=, several as a tuple, or None.  Raises TypeError for an ndarray."""
    if out is None or all(target is None or target is ... for target in out):
        return None
    for target in out:
        if target is not None and not isinstance(target, Tensor):
            raise TypeError(OUT_IS_TENSOR.format(name=name))
    return out[0] if len(out) == 1 else out


def _build(
    values: Any,
    dtype: DTypeLike = None,
    *,
    copy: bool | None = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    device: Any = None,
) -> Tensor:
    """np.array(…, like=x) and its kin."""
    y: Any = values if copy is not True and isinstance(values, Tensor) else array(values)
    y = y if isinstance(y, Tensor) else Tensor(y)
    y = y if dtype is None or y.dtype == np.dtype(dtype) else y.astype(dtype)
    y = y if y.ndim >= ndmin else s.reshape(y, (1,) * (ndmin - y.ndim) + tuple(y.shape))
    return laid_out(y if device is None else y.to(device), order, [y])


def array_function(
    self: Tensor,
    function: Callable[..., Any],
    types: Sequence[type],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """NumPy calls this when another of its functions meets a Tensor."""
    try:
        target: Any = numpy_functions.get(function)
        known = _translators.get(function)
        if known is None or known[0] is not target:
            if target is None and function in _LIKE:  # NumPy asks because of like=x
                return _LIKE[function](*args, **kwargs)
            known = _learn_function(function, target)
        _, leading, translate = known
        if not kwargs and len(args) <= leading:  # the ordinary call
            return target(*args)
        return _call_with_options(function, target, translate, args, kwargs)
    except OperandError:
        if computes_with_arrays(types, "__array_function__", Tensor):
            return NotImplemented
        raise


def _learn_function(
    function: Callable[..., Any], target: Callable[..., Any] | None
) -> tuple[Any, int, Callable[..., Any]]:
    """How calls of a function of NumPy become calls of ours.  Raises TypeError if none has it."""
    name = advice.public_name(function)
    if target is None:
        raise _unknown(function, name)
    leading, translate = _make_translator(name, function, target)
    if function in _FULL:  # what is beyond `plain` is met by the function with NumPy's signature
        leading = min(leading, _FULL[function][1])
    _translators[function] = known = (target, leading, translate)
    return known


def _call_with_options(
    function: Callable[..., Any],
    target: Any,
    translate: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """A call that has more than leading arguments."""
    if kwargs.get("out") is not None and not ("where" in kwargs and function in _FULL):
        kwargs = dict(kwargs)
        out = kwargs.pop("out")
        name = advice.public_name(function)
        if not isinstance(out, Tensor):
            raise TypeError(OUT_IS_TENSOR.format(name=name))
        return write_result(out, function(*args, **kwargs), f"{name}(…, out=x)")
    full, plain = _FULL.get(function, (None, 0))
    if full is not None and not (len(args) <= plain and kwargs.keys() <= _PLAIN):
        return full(*args, **kwargs)
    args, kwargs = translate(args, kwargs)
    return target(*args, **kwargs)


def _full(*args: Any, **kwargs: Any) -> Tensor:
    y = full(*args, **kwargs)
    return y if isinstance(y, Tensor) else Tensor(y)


def _untracked(function: Callable[..., Any]) -> Callable[..., Tensor]:
    return lambda *args, **kwargs: Tensor(function(*args, **kwargs))


_BUILT = (np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray)
_CONSTANT = (np.zeros, np.ones, np.empty, np.arange, np.eye, np.identity, np.tri)
# What makes an array, if `like=` is a Tensor.
_LIKE: dict[Callable[..., Any], Callable[..., Any]] = {
    **dict.fromkeys(_BUILT, _build),
    **{function: _untracked(function) for function in _CONSTANT},
    np.full: _full,
}
_FULL = {**FULL, **NAN_FULL, **SHAPE_FULL}
# Options that the primitives have themselves.
_PLAIN = frozenset({"axis", "keepdims"})
_translators: dict[Callable[..., Any], tuple[Any, int, Callable[..., Any]]] = {}


def _make_translator(
    name: str, function: Callable[..., Any], target: Callable[..., Any]
) -> tuple[int, Callable[..., Any]]:
    """Work out how a call with NumPy's parameters becomes a call with ours.

    Operands correspond by position, options by name.  Options that we do not have are accepted at
    their defaults only.  Returns how many leading arguments have the same position in both, and the
    function that translates other calls.
    """
    ours = list(inspect.signature(target).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in ours):  # it takes NumPy's options as they are
        return 0, lambda args, kwargs: (args, kwargs)
    variadic = any(p.kind is p.VAR_POSITIONAL for p in ours)
    try:
        theirs = list(inspect.signature(function).parameters.values())
    except ValueError:  # no signature in some builds of NumPy: take the call as it is
        return 0, lambda args, kwargs: (args, kwargs)
    if variadic or any(p.kind is p.VAR_POSITIONAL for p in theirs):
        return 0, lambda args, kwargs: (args, _drop_defaults(name, theirs, ours, kwargs))
    required = [p for p in ours if p.default is p.empty] or ours[:1]
    renamed: dict[str, str] = {}
    known = {p.name for p in ours}
    for i, p in enumerate(theirs):
        if p.name in known:
            renamed[p.name] = p.name
        elif i < len(required):
            renamed[p.name] = required[i].name

    leading = 0
    while leading < min(len(theirs), len(ours)):
        mine = ours[leading]
        if mine.kind is mine.KEYWORD_ONLY or renamed.get(theirs[leading].name) != mine.name:
            break
        leading += 1
    same = frozenset(key for key, name in renamed.items() if key == name)

    def translate(
        args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if len(args) <= leading and kwargs.keys() <= same:
            return args, kwargs
        if len(args) > len(theirs):
            raise TypeError(f"{name} takes {len(theirs)} arguments, {len(args)} were given")
        named = {p.name: value for p, value in zip(theirs, args, strict=False)}
        named.update(kwargs)
        result = {}
        for key, value in named.items():
            if key in renamed or key in known:
                result[renamed.get(key, key)] = value
            elif not _is_default(theirs, key, value):
                raise _unsupported(name, key, value)
        return (), result

    return leading, translate


# They allow NumPy something that a Tensor's result does not depend on.
_PERMISSIONS = frozenset({"overwrite_input", "subok"})


def _is_default(parameters: list[inspect.Parameter], key: str, value: Any) -> bool:
    """Whether `value` asks for no more than NumPy's parameter `key` does when it is left out."""
    return (
        value is None
        or key in _PERMISSIONS
        or any(p.name == key and p.default is value for p in parameters)
    )


def _drop_defaults(
    name: str,
    theirs: list[inspect.Parameter],
    ours: list[inspect.Parameter],
    kwargs: dict[str, Any],
) -> dict[str, Any]:
    """The options that we have; TypeError for others that are not at their defaults."""
    known = {p.name for p in ours}
    for key, value in kwargs.items():
        if key not in known and not _is_default(theirs, key, value):
            raise _unsupported(name, key, value)
    return {key: value for key, value in kwargs.items() if key in known}
