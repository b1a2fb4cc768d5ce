"""Builds modules from the objects of a Torch7 file; description.py has the other direction.

Layers keep Torch7's names for their attributes, so most need nothing said: an instance is made
without calling its constructor (nothing in a file may decide how much memory that takes), and each
attribute that the class declares (`keeps`) gets the field of that name.  Numbers that count from 1
in Torch7 and from 0 in tapegrad are shifted by what the class declares in `counts`.  A tensor with
a gradient beside it is a Parameter, another a Buffer.

What that rule gets wrong is said per class in the table of classes.py, or by the class itself:
`from_torch7(cls, fields, version)`, a classmethod, returns the attributes to set.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from tapegrad.autograd import Parameter, Tensor
from tapegrad.nn.containers.decorators import Profile
from tapegrad.nn.containers.graph import gModule
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.own import is_own
from tapegrad.nn.core.part import after_restoring
from tapegrad.nn.core.state import has_default, kept_names
from tapegrad.nn.criterions.criterion import Criterion
from tapegrad.nn.formats.common.errors import FormatError
from tapegrad.nn.formats.common.names import may_be_attribute
from tapegrad.nn.formats.torch7.classes import class_entries, is_ignored, private_fields
from tapegrad.nn.formats.torch7.graph import PARTS as GRAPH_PARTS
from tapegrad.nn.formats.torch7.objects import (
    SKIPPED,
    TENSOR_TYPES,
    Storage,
    Table,
    TorchObject,
    module_type,
)
from tapegrad.nn.formats.torch7.stand_ins import fields_as_nn, first_replica, name_in_nn
from tapegrad.nn.module import Module

__all__ = ["attributes", "counts_of", "from_objects"]

# Fields that say something about every module, or that a forward or backward will make anew.
_OF_ALL = {"output", "gradInput", "_type", "train"}

_PLAIN = (bool, int, float, str, type(None))

# What code that is specific to a class may raise about fields that are not what it expects.
_MALFORMED = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)


# From a file ----------------------------------------------------------------------------------


def from_objects(
    root: Any, known: Mapping[str, type], file: str | None = None
) -> tuple[Any, list[str], list[str]]:
    """Build modules and lists from the objects of a file: (result, unknown, skipped).

    known:   classes by the names that Torch7 has for them
    unknown: the names of the file's classes that are not in `known`
    skipped: the paths of objects whose functions were not read
    A module with a part of an unknown class can't run, so it stays a TorchObject as well.
    Raises FormatError for fields that are not what a class needs.
    """
    found = _Discovered(root, known)
    results: dict[int, Any] = {}
    for raw in found.order:
        results[id(raw)] = _shell(raw, found.built.get(id(raw)))

    def result(raw: Any) -> Any:
        raw = first_replica(raw)
        return results.get(id(raw), raw)

    for raw in found.order:
        if isinstance(raw, Table):
            _fill_table(results[id(raw)], raw, result)
        elif id(raw) not in found.built:
            results[id(raw)].fields = result(raw.fields)
    tensors: dict[int, Tensor] = {}
    for raw in reversed(found.order):  # parts before wholes, as far as there is such an order
        cls = found.built.get(id(raw))
        if cls is None:
            continue
        fields = {key: result(value) for key, value in raw.fields.items() if isinstance(key, str)}
        try:
            fields = fields_as_nn(raw.class_name, fields)
            _set_attributes(results[id(raw)], fields, raw.version, tensors)
        except _MALFORMED as error:
            place = {"file": file, "offset": raw.offset, "path": found.path(raw)}
            if isinstance(error, FormatError):
                raise type(error)(error.expected, error.found, **place) from None
            expected = f"fields of a {raw.class_name}: {type(error).__name__}: {error!s:.200}"
            raise FormatError(expected, **place) from error
    if gModule in found.built.values():
        found.unknown -= GRAPH_PARTS  # which became its steps
    if Profile in found.built.values():
        found.unknown.discard("torch.Timer")  # whose times are measured anew
    skipped = [found.path(raw) for raw in found.order if _has_functions(raw)]
    return result(root), sorted(found.unknown), skipped


def _has_functions(raw: Any) -> bool:
    fields = raw.fields if isinstance(raw, TorchObject) else None
    return isinstance(fields, Table) and any(value is SKIPPED for value in fields.values())


class _Discovered:
    """Every table and instance below the root, parents first, and the class of each module."""

    def __init__(self, root: Any, known: Mapping[str, type]) -> None:
        self.order: list[Any] = []
        self.unknown: set[str] = set()
        self.built: dict[int, type] = {}
        self._parents: dict[int, list[tuple[Any, Any]]] = {}
        stack: list[tuple[Any, Any, Any]] = [(root, None, None)]
        while stack:
            item, parent, key = stack.pop()
            item = first_replica(item)
            if not isinstance(item, (Table, TorchObject)):
                continue
            parents = self._parents.setdefault(id(item), [])
            parents.append((parent, key))
            if len(parents) > 1:
                continue
            self.order.append(item)
            if isinstance(item, Table):
                for k, v in item.items():
                    stack.append((v, item, k))
                    if isinstance(k, (Table, TorchObject)):
                        stack.append((k, item, "<key>"))
            else:
                stack.append((item.fields, item, None))
                cls = known.get(item.class_name) or known.get(name_in_nn(item.class_name))
                if cls is None:
                    self.unknown.add(item.class_name)
                elif isinstance(item.fields, Table):
                    self.built[id(item)] = cls
                else:
                    self.unknown.add(item.class_name)  # a class of this name, stored otherwise
        self._leave_plain_what_cannot_run()

    def _leave_plain_what_cannot_run(self) -> None:
        spread = [item for item in self.order if self._is_unknown_module(item)]
        done: set[int] = set()
        while spread:
            item = spread.pop()
            if id(item) in done:
                continue
            done.add(id(item))
            for parent, key in self._parents[id(item)]:
                if isinstance(parent, Table) and self._is_used(parent, key):
                    spread.append(parent)
                elif isinstance(parent, TorchObject):
                    self.built.pop(id(parent), None)
                    spread.append(parent)

    def _is_unknown_module(self, item: Any) -> bool:
        return isinstance(item, TorchObject) and id(item) not in self.built

    def _is_used(self, table: Table, key: Any) -> bool:
        """Whether a module's field matters; those of other tables do."""
        for parent, _ in self._parents[id(table)]:
            cls = self.built.get(id(parent)) if isinstance(parent, TorchObject) else None
            if cls is not None and parent.fields is table:
                used = key == "modules" or key in attributes(cls)
                return used or hasattr(cls, "from_torch7") or not _declares(cls)
        return True

    def path(self, item: Any) -> str:
        """How `item` was first reached, in the file's keys."""
        steps: list[str] = []
        while item is not None and len(steps) < 60:
            item, key = self._parents[id(item)][0]
            if isinstance(key, str):
                steps.append(f".{key:.60}")
            elif key is not None:
                steps.append(f"[{key!r:.40}]" if isinstance(key, (int, float)) else "[…]")
        return "root" + "".join(reversed(steps))


def _shell(raw: Any, cls: type | None) -> Any:
    if isinstance(raw, Table):
        return [] if raw.is_list() else Table()
    return TorchObject(raw.class_name, None, raw.version) if cls is None else object.__new__(cls)


def _fill_table(target: Any, raw: Table, result: Any) -> None:
    if isinstance(target, list):
        target.extend(result(value) for value in raw.as_list())
        return
    for key, value in raw.items():
        target[result(key)] = result(value)


def _set_attributes(
    module: Any, fields: dict[str, Any], version: int, tensors: dict[int, Tensor]
) -> None:
    cls: type = type(module)
    if hasattr(cls, "from_torch7"):
        module.__dict__.update(cls.from_torch7(fields, version))
        _set_mode(module, fields)
        after_restoring(module)
        return
    _set_mode(module, fields)
    for entry in class_entries(cls):
        if entry.read is not None:
            fields = entry.read(fields, version)
    kinds = counts_of(cls)
    defaults, declared = _defaults(cls), kept_names(cls)
    others = [name for name, value in fields.items() if _is_setting(cls, name, value, fields)]
    for name in dict.fromkeys((*attributes(cls), *others)):
        if name not in fields:
            if name in defaults:
                module.__dict__[name] = defaults[name]
            elif name in declared and not has_default(cls, name):
                module.__dict__[name] = None
            continue
        value = fields[name]
        if isinstance(value, np.ndarray):
            gradient = fields.get(f"grad{name[:1].upper()}{name[1:]}")
            learned = name in {"weight", "bias"} and not isinstance(module, Criterion)
            value = _make_tensor(value, gradient, learned, tensors)
        if isinstance(value, Storage):
            value = tuple(value.array.tolist())
        kind = kinds.get(name)
        module.__dict__[name] = value if kind is None else from_one_based(value, kind)
    after_restoring(module)
    _check_parts(module)


def attributes(cls: type) -> tuple[str, ...]:
    """The attributes of a class that get the fields of their names, whatever these hold.

    Those that it declares; for a class of somebody else's that declares none, those of its bases
    and the parameters of its constructor.  The constructor itself is never called.
    """
    shown = [name for name in kept_names(cls) if not name.startswith("_")]
    names = dict.fromkeys((*shown, *private_fields(cls)))
    return tuple(names if _declares(cls) else names | dict.fromkeys(_constructor_parameters(cls)))


def counts_of(cls: type) -> Mapping[str, Any]:
    """Which attributes count from 1 in Torch7; none if somebody's class has a method `counts`."""
    found = getattr(cls, "counts", {})
    return found if isinstance(found, Mapping) else {}


def _declares(cls: type) -> bool:
    """Whether the class says what it keeps: ours do, others may."""
    theirs = (
        vars(base)["keeps"] for base in cls.__mro__ if "keeps" in vars(base) and not is_own(base)
    )
    return is_own(cls) or any(isinstance(names, tuple) for names in theirs)


def _constructor_parameters(cls: type) -> list[str]:
    """The parameters of the constructor, if that is not one of ours."""
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if owner is object or is_own(owner):
        return []
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(cls).parameters.values()
    return [p.name for p in found if p.kind not in kinds and may_be_attribute(cls, p.name)]


def _is_setting(cls: type, name: str, value: Any, fields: Mapping[str, Any]) -> bool:
    """Whether a field that no declaration names is kept nevertheless.

    Numbers, flags and texts are, and parameters: a person has set them.  Working memory of Torch7's
    is not.  A class that declares nothing may consist of whatever there is.
    """
    if name in _OF_ALL or name.startswith(("_", "grad")) or not may_be_attribute(cls, name):
        return False
    if is_ignored(cls, name) or callable(getattr(cls, name, None)):
        return False
    learned = isinstance(fields.get(f"grad{name[:1].upper()}{name[1:]}"), np.ndarray)
    return learned or isinstance(value, _PLAIN) or not _declares(cls)


def _set_mode(module: Any, fields: dict[str, Any]) -> None:
    """Set what every module has: its mode, and its type, which a criterion's arrays tell."""
    if not isinstance(module, Module):
        return
    if not fields.get("train", True):
        module.train = False
    values = (v for value in fields.values() for v in (value if type(value) is list else [value]))
    arrays = (v.dtype for v in values if isinstance(v, np.ndarray))
    said = module_type(fields.get("_type"))
    found = said or next((dtype for dtype in arrays if dtype in TENSOR_TYPES), None)
    if found is not None:
        module.__dict__["_type"] = found


def _check_parts(module: Any) -> None:
    """Refuse what would only be found out when the module runs."""
    for name in ("weight", "bias", "running_mean", "running_var"):
        value = module.__dict__.get(name)
        if value is not None and not isinstance(value, Tensor):
            raise FormatError(f"a tensor called {name}", type(value).__name__)
    parts = module.__dict__.get("modules", [])
    if not isinstance(parts, list) or not all(isinstance(part, Module) for part in parts):
        raise FormatError("a list of modules", f"{type(parts).__name__}")


def _make_tensor(
    array: np.ndarray[Any, Any], gradient: Any, learned: bool, tensors: dict[int, Tensor]
) -> Tensor:
    """A tensor of a module: the same object wherever the file has the same tensor."""
    known = tensors.get(id(array))
    if known is not None:
        return known
    if not (learned or isinstance(gradient, np.ndarray)) or array.dtype.kind != "f":
        made: Tensor = Buffer(array)
    else:
        made = Parameter(array)
        if isinstance(gradient, np.ndarray) and gradient.size == array.size:
            made.grad = gradient.reshape(array.shape).astype(array.dtype, copy=False)
    tensors[id(array)] = made
    return made


@functools.cache
def _defaults(cls: type) -> dict[str, Any]:
    """The constructor's default for each argument that has one, for fields that a file lacks.

    nil is no field, and false in Lua: a flag that is missing is off, whatever its default.
    """
    parameters = inspect.signature(cls).parameters.values()
    absent = (inspect.Parameter.empty, True)
    return {p.name: p.default for p in parameters if not any(p.default is x for x in absent)}


def from_one_based(value: Any, kind: Any) -> Any:
    """A dimension, index or label of Torch7's, or nested lists of them, counted from 0.

    Negative ones stay.  0, which Torch7 has for none, becomes -1 for indices and labels.
    """
    if value is None or not isinstance(kind, str):
        return value
    if isinstance(value, (list, tuple)):
        return [from_one_based(item, kind) for item in value]
    if isinstance(value, Tensor):
        array = value.numpy()
        return type(value)(np.where(array >= 0, array - 1, array).astype(array.dtype))
    if isinstance(value, bool) or not isinstance(value, int):
        raise FormatError(f"a {kind}, a whole number", f"{value!r:.60}")
    if value == 0 and kind == "dimension":
        raise FormatError("a dimension, which Torch7 counts from 1", "0")
    return value - 1 if value >= 0 else value
