"""Anomaly mode finds the call that makes the first NaN or Inf, and arrays that change unseen.

An observer tests the result of every call.  A call makes a NaN if its result holds one and no
operand does; an operand that already holds one came from outside.  In the reverse sweep the
cotangents that a rule returns are compared with the cotangent it took and the values it saved.  The
calls inside a rule are not tested one by one, since a rule may compute an Inf that a `where` inside
it removes; they only tell in which call the bad number began.

For every recorded call the observer notes its line, its module and checksums of its saved arrays.
So the reverse sweep can name the line whose derivative is wrong, and can detect a write to a bare
array, of which nothing else in tapegrad learns.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.callsite import name_in_module, running_module_path, user_line
from tapegrad.autograd.core.contexts import context
from tapegrad.autograd.core.errors import InPlaceError
from tapegrad.autograd.core.mode import Forwarder, Observer, install_observer, observer
from tapegrad.autograd.core.node import Node, last_write, owner_of, parents_of, write_serial
from tapegrad.autograd.core.tensor import Tensor, array_of
from tapegrad.devices import TapegradError

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import Primitive
    from tapegrad.devices import Array

__all__ = ["AnomalyError", "detect_anomaly"]

BORN = (
    "{where}: {operation}{module} makes the first {kind}: its result, {array}, holds {count}, the "
    "first at {index}{operands}."
)
CAME_IN = (
    "{where}: a {kind} comes in with {argument} of {operation}{module}: {array}, holds {count}, "
    "the first at {index}. No call made it that anomaly mode has seen: it is in the data, in a "
    "parameter, or was computed before or outside."
)
WRITTEN = (
    "{where}: {operation}{module} writes the first {kind}: the array it wrote, {array}, holds "
    "{count}, the first at {index}, and what was written holds none."
)
BORN_IN_REVERSE = (
    "{where}: the reverse of {operation}{module} makes the first {kind}: the cotangent of its "
    "operand {argument}, {array}, holds {count}, the first at {index}{operands}{inside}."
)
HANDED_ON = (
    "{where}: the reverse of {operation}{module} makes the first {kind}: the cotangent of its "
    "operand {argument}, {inside}, is {array} and holds {count}, the first at {index}."
)
BORN_IN_TANGENT = (
    "{where}: the tangent of {operation}{module} makes the first {kind}: {array}, holds {count}, "
    "the first at {index}{operands}{inside}."
)
SUMMED = "added to what reached this operand from other calls"
FITTED = "brought to the operand's shape and dtype"
CAME_INTO_REVERSE = (
    "{where}: a {kind} comes into the reverse of {operation}{module} with {argument}: {array}, "
    "holds {count}, the first at {index}. No rule made it that anomaly mode has seen."
)
CHANGED = (
    "{where}: {operation}{module} saved {argument}, an array of shape {shape}, for its derivative, "
    "and the array has changed since, by a write that went past the tape (to a bare array, such as "
    "x.data or what a Tensor was made of): copy it before the write, or compute a new array."
)
OVERWRITTEN = " The call is at {where}{module}{write}."
NOT_SEEN = "a line outside anomaly mode"


class AnomalyError(TapegradError, FloatingPointError):
    """A NaN or an Inf was made, or a NaN came in; the message starts with the user's line.

    operation: the name of the primitive, or of a module whose gradient is written by hand
    where:     "file:line" of the call; in the reverse, of the call whose rules ran
    module:    path of the module that made the call, ``Sequential[1].Linear``, or ""
    phase:     "forward", "reverse", "tangent" (of forward mode) or "write" (a gradient or parameter
               that was added to)
    kind:      "NaN" or "Inf"
    argument:  the operand that a number came in with; in the reverse, the operand whose cotangent
               holds it
    born:      False for a number that came in from outside
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str = "",
        where: str = "",
        module: str = "",
        phase: str = "forward",
        kind: str = "NaN",
        argument: str = "",
        born: bool = True,
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.where = where
        self.module = module
        self.phase = phase
        self.kind = kind
        self.argument = argument
        self.born = born


@context
def detect_anomaly(*, nan: bool = True, inf: bool = True) -> Generator[None, None, None]:
    """A context, and a decorator, in which the call that makes the first NaN or Inf raises.

    nan: look for NaN that is made or comes in from outside
    inf: look for Inf that is made; Inf that comes in, as in a mask of -inf, is no error

    The mode covers forward and reverse of every order, in modules and outside.
    Raises AnomalyError, which names operation, line and module, and InPlaceError if an array that a
    recorded call saved was changed past the tape.  In nested blocks the inner block's options hold.
    NumPy's warnings about what is looked for are silent inside.  All results have equal bits; calls
    take several times longer, so the mode is for finding a mistake.

    >>> import tapegrad as tg
    >>> with detect_anomaly(), np.errstate(divide="ignore"):
    ...     tg.grad(np.log)(0.0)
    Traceback (most recent call last):
        ...
    tapegrad.autograd.debug.anomaly.AnomalyError: ...log makes the first Inf: ...
    """
    outer = observer()
    if isinstance(outer, _Anomaly):
        outer = outer.outer
    quiet: Any = {"invalid": "ignore"} if nan else {}
    if inf:
        quiet |= {"divide": "ignore", "over": "ignore"}
    with np.errstate(**quiet), install_observer(_Anomaly(nan=nan, inf=inf, outer=outer)):
        yield


class _CallSite(NamedTuple):
    """The line and module that recorded a call, and checksums of its saved values, in order."""

    where: str = NOT_SEEN
    module: str = ""
    sums: tuple[Any, ...] = ()


# The sites of all living nodes that were recorded in anomaly mode. They outlive the block, since a
# backward pass may run in another block than the forward pass.
_sites: WeakKeyDictionary[Node, _CallSite] = WeakKeyDictionary()


class _Reversal:
    """A call whose rules run, and the first calls inside them that made a NaN and an Inf."""

    def __init__(self, site: _CallSite) -> None:
        self.site = site
        self.first_calls: dict[str, str] = {}  # kind -> name of the primitive


class _Anomaly(Forwarder):
    """The observer of anomaly mode; `outer` is the observer before it, and hears of everything."""

    def __init__(self, *, nan: bool, inf: bool, outer: Observer | None) -> None:
        super().__init__(outer)
        self.nan = nan
        self.inf = inf
        self._reversals: list[_Reversal] = []
        self._writes: dict[int, tuple[int, str]] = {}  # id of the owner -> (serial, line)
        self._delivery: tuple[Node, Node] | None = None  # (node, parent): see `before_delivery`

    # Methods of an observer -------------------------------------------------------------------

    def call(
        self,
        primitive: Primitive,
        operands: Sequence[Any],
        settings: dict[str, Any],
        results: Sequence[Any],
    ) -> None:
        """Test the result of a call (see `Observer.call`)."""
        self.outer.call(primitive, operands, settings, results)
        if primitive.mutates:
            self._note_write(primitive, operands)
            return
        kind = self._bad_kind(results[0])
        if not kind:
            return
        named = list(zip(primitive.arguments, operands, strict=True))
        inputs = [*named, *settings.items()]
        if kind == "Inf" and _holds([value for _, value in inputs], "NaN", "Inf"):
            return
        source = next(((n, v) for n, v in inputs if kind == "NaN" and _holds(v, "NaN")), None)
        if self._reversals:
            if source is None:
                self._reversals[-1].first_calls.setdefault(kind, primitive.name)
            return
        if self._delivery is not None:
            (node, parent), self._delivery = self._delivery, None
            site = _sites.get(node, _CallSite())
            raise _anomaly_error(
                HANDED_ON, kind, results[0], phase="reverse", operation=repr(node.plan), site=site,
                argument=_operand_names(node)[_parent_index(parent, node)],
                inside=SUMMED if primitive.name == "add" else FITTED,
            )  # fmt: skip
        site = _CallSite(user_line(), running_module_path())
        if source is not None:
            name, value = source
            raise _anomaly_error(
                CAME_IN, kind, value, operation=primitive.name, born=False, site=site,
                argument=_operand_title("setting" if name in settings else "operand", name, value),
            )  # fmt: skip
        raise _anomaly_error(
            BORN, kind, results[0], operation=primitive.name, site=site, operands=named
        )  # fmt: skip

    def recorded(self, node: Node) -> None:
        """Note the line and module of a recorded call, and checksums of its saved arrays."""
        self.outer.recorded(node)
        sums = tuple(_checksums(value) for value in node.saved)
        if self._reversals:  # calls inside a rule belong to the line whose derivative they are
            _sites[node] = self._reversals[-1].site._replace(sums=sums)
        else:
            _sites[node] = _CallSite(user_line(), running_module_path(), sums)

    def reverse(
        self, node: Node, indices: Sequence[int], g: Any, run: Callable[[], list[Any]]
    ) -> list[Any]:
        """Test the cotangents that the rules of a call return (see `Observer.reverse`)."""
        site = _sites.get(node, _CallSite())
        operation = repr(node.plan)
        _verify_saved(node, site)
        if self.nan and _holds(g, "NaN"):
            raise _anomaly_error(
                CAME_INTO_REVERSE, "NaN", g, phase="reverse", operation=operation, born=False,
                site=site, argument="the cotangent of its result",
            )  # fmt: skip
        reversal = _Reversal(site)
        self._reversals.append(reversal)
        try:
            results = self.outer.reverse(node, indices, g, run)
        finally:
            self._reversals.pop()
        for index, result in zip(indices, results, strict=True):
            kind = self._bad_kind(result)
            if kind:
                self._judge(node, site, index, result, kind, g, reversal)
        return results

    def push(self, node: Node, tangents: Sequence[Any], run: Callable[[], Any]) -> Any:
        """Test the tangent that the rules of a call return (see `Observer.push`)."""
        site = _sites.get(node, _CallSite())
        _verify_saved(node, site)
        reversal = _Reversal(site)
        self._reversals.append(reversal)
        try:
            result = self.outer.push(node, tangents, run)
        finally:
            self._reversals.pop()
        kind = self._bad_kind(result)
        if kind and not _holds([*tangents, *node.saved], *("NaN", "Inf")[: 1 + (kind == "Inf")]):
            operation = repr(node.plan)
            first = reversal.first_calls.get(kind, operation)
            raise _anomaly_error(
                BORN_IN_TANGENT, kind, result, phase="tangent", operation=operation, site=site,
                operands=list(zip(node.plan.names, node.saved, strict=True)),
                inside="" if first == operation else f"; it began in {first}, which the rule calls",
            )  # fmt: skip
        return result

    def _judge(
        self,
        node: Node,
        site: _CallSite,
        index: int,
        result: Any,
        kind: str,
        g: Any,
        reversal: _Reversal,
    ) -> None:
        """Raise for the cotangent of an operand, unless its Inf comes from an input of the rule."""
        primitive = node.plan.primitive
        aux = () if primitive is None else primitive.aux
        saved = [
            (name, value)
            for name, value in zip(node.plan.names, node.saved, strict=True)
            if name not in aux
        ]
        if kind == "Inf" and _holds([g, *[value for _, value in saved]], "NaN", "Inf"):
            return
        operation, argument = repr(node.plan), _operand_names(node)[index]
        for name, value in saved if kind == "NaN" else ():
            if _holds(value, "NaN"):
                raise _anomaly_error(
                    CAME_INTO_REVERSE, kind, value, phase="reverse", operation=operation,
                    born=False, site=site, argument=f"the value of {name} that it saved",
                )  # fmt: skip
        first = reversal.first_calls.get(kind, operation)
        inside = "" if first == operation else f"; it began in {first}, which the rule calls"
        raise _anomaly_error(
            BORN_IN_REVERSE, kind, result, phase="reverse", operation=operation, site=site,
            argument=argument, operands=[("the cotangent of its result", g), *saved],
            inside=inside,
        )  # fmt: skip

    def before_delivery(self, node: Node, parent: Node) -> None:
        """Note whose cotangent the following calls fit or add up."""
        self.outer.before_delivery(node, parent)
        self._delivery = node, parent

    def after_delivery(self, node: Node) -> None:
        """Note that these calls are over."""
        self.outer.after_delivery(node)
        self._delivery = None

    def explain_overwrite(self, node: Node, array: Array) -> str:
        """Text with the line of the call that saved the array, and of the write if it is known."""
        site = _sites.get(node, _CallSite())
        serial, line = self._writes.get(id(owner_of(array)), (None, ""))
        is_last_write = serial is not None and serial == write_serial(array)
        write = f"; the write at {line}" if is_last_write else ""
        return OVERWRITTEN.format(
            where=site.where, module=_in_module_text(site.module), write=write
        ) + self.outer.explain_overwrite(node, array)

    # Tests ------------------------------------------------------------------------------------

    def _bad_kind(self, value: Any) -> str:
        """The kind of bad number in `value` that this mode looks for: "NaN", "Inf" or ""."""
        if not _holds(value, "NaN", "Inf"):
            return ""
        if self.nan and _holds(value, "NaN"):
            return "NaN"
        return "Inf" if self.inf and _holds(value, "Inf") else ""

    def _note_write(self, primitive: Primitive, operands: Sequence[Any]) -> None:
        """Note the line of a write, and test the target of a write to all its entries."""
        target = operands[primitive.arguments.index(primitive.mutates)]
        where = user_line()
        self._writes[id(owner_of(target))] = (last_write[0], where)
        if primitive.name not in {
            "assign",
            "accumulate",
        }:  # other writes leave some entries unchanged
            return
        kind = self._bad_kind(target)
        inputs = [value for value in operands if value is not target]
        if kind and not _holds(inputs, "NaN", "Inf"):
            site = _CallSite(where, running_module_path())
            raise _anomaly_error(
                WRITTEN, kind, target, phase="write", operation=primitive.name, site=site
            )


# Values -------------------------------------------------------------------------------------------


def _floating_values(value: Any) -> Iterator[Any]:
    """Yield the floating point arrays and numbers in a nest of lists and tuples."""
    if isinstance(value, Tensor):
        value = array_of(value)
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _floating_values(item)
    elif (devices.is_array(value) and value.dtype.kind in "fc") or isinstance(
        value, (float, complex, np.inexact)
    ):
        yield value


def _holds(value: Any, *kinds: str) -> bool:
    """True if an array or number in `value` is, or holds, a number of one of these kinds."""
    return any(_is_of_kind(number, kinds) for number in _floating_values(value))


def _is_of_kind(number: Any, kinds: tuple[str, ...]) -> bool:
    if devices.is_array(number):
        xp = devices.namespace(number)
        if len(kinds) == 2:
            return not bool(xp.isfinite(number).all())
        return bool((xp.isnan if kinds[0] == "NaN" else xp.isinf)(number).any())
    parts = (number.real, number.imag)
    return any(
        (math.isnan(part) and "NaN" in kinds) or (math.isinf(part) and "Inf" in kinds)
        for part in parts
    )


def _checksums(value: Any) -> Any:
    """Checksums of the arrays in a saved value, as a list for a list; None for any other value."""
    if isinstance(value, (list, tuple)):
        return [_checksums(item) for item in value]
    if not devices.is_array(value):
        return None
    flat = np.ascontiguousarray(devices.to_numpy(value)).reshape(-1)
    return zlib.crc32(flat.view(np.uint8).data)


def _verify_saved(node: Node, site: _CallSite) -> None:
    """Raise InPlaceError if a saved array has changed since the call was recorded."""
    for name, value, checksums in zip(node.plan.names, node.saved, site.sums, strict=False):
        values = value if isinstance(value, (list, tuple)) else [value]
        sums = checksums if isinstance(checksums, list) else [checksums]
        for i, (array, old) in enumerate(zip(values, sums, strict=True)):
            if old is not None and _checksums(array) != old:
                what = "its result" if name == "y" else name
                raise InPlaceError(
                    CHANGED.format(
                        where=site.where, operation=node.plan, module=_in_module_text(site.module),
                        argument=f"{what}[{i}]" if isinstance(checksums, list) else what,
                        shape=tuple(array.shape),
                    )
                )  # fmt: skip


# Messages -----------------------------------------------------------------------------------------


def _anomaly_error(
    template: str,
    kind: str,
    value: Any,
    *,
    operation: str,
    site: _CallSite,
    phase: str = "forward",
    argument: str = "",
    born: bool = True,
    operands: Iterable[tuple[str, Any]] = (),
    inside: str = "",
) -> AnomalyError:
    """The error whose message shows the entries of `value` that are NaN or Inf."""
    guilty = next(number for number in _floating_values(value) if _is_of_kind(number, (kind,)))
    array = np.asarray(devices.to_numpy(guilty) if devices.is_array(guilty) else guilty)
    bad = np.isnan(array) if kind == "NaN" else np.isinf(array)
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    facts = {"operation": operation, "where": site.where, "argument": argument, "kind": kind}
    message = template.format(
        **facts,
        module=_in_module_text(site.module),
        array=f"{array.dtype} {array.shape}",
        count=f"{int(bad.sum())} {kind} among {array.size}",
        index=list(index) if index else "its only entry",
        operands="".join(f", {text}" for text in _describe_operands(operands, array.shape, index)),
        inside=inside,
    )
    return AnomalyError(message, **facts, module=site.module, phase=phase, born=born)


def _in_module_text(module: str) -> str:
    return f" in {module}" if module else ""


def _operand_title(what: str, name: str, value: Any) -> str:
    """The title of an operand or setting, with its name in the running module if it has one."""
    attribute = name_in_module(value)
    return f"{attribute} ({what} {name})" if attribute else f"{what} {name}"


def _describe_operands(
    operands: Iterable[tuple[str, Any]], shape: tuple[int, ...], index: tuple[int, ...]
) -> Iterator[str]:
    """Yield a text on each operand: its value at the bad entry of the result, or its range."""
    for name, value in operands:
        value = array_of(value) if isinstance(value, Tensor) else value
        if isinstance(value, (bool, int, float, complex, np.number)):
            yield f"{name} is {value}"
        elif devices.is_array(value) and value.dtype.kind in "biufc" and value.size:
            array = np.asarray(devices.to_numpy(value))
            if array.shape == shape:
                yield f"{name} is {array[index]} there"
            elif array.size == 1:
                yield f"{name} is {array.reshape(-1)[0]}"
            elif array.dtype.kind != "c":
                low, high = np.nanmin(array), np.nanmax(array)
                yield f"{name} {array.shape} is between {low} and {high}"


def _operand_names(node: Node) -> list[str]:
    """The names of the operands whose nodes are the parents of `node`, in order."""
    names: list[str] = []
    primitive = node.plan.primitive
    if primitive is None:  # a gradient written by hand: inputs, then parameters
        return [str(i) for i in range(len(parents_of(node)))]
    for name, tracked in zip(primitive.arguments, node.plan.mask, strict=True):
        if isinstance(tracked, tuple):
            names += [f"{name}[{i}]" for i, flag in enumerate(tracked) if flag]
        elif tracked:
            names.append(name)
    return names


def _parent_index(parent: Node, node: Node) -> int:
    return next(i for i, p in enumerate(parents_of(node)) if p is parent)
