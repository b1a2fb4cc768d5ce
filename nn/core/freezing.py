"""Frozen modules: their Parameters are constants for them, and for nobody else.

Other modules may hold the same Parameters, learn them, and run at the same time in another thread.
So a call of a frozen module changes nothing about a Parameter.  Instead, the Parameters that frozen
modules hold have a class that looks up which module runs in this thread (`frames`).  To the forward
code of a frozen module that holds it, such a Parameter shows no node, so operations on it are not
recorded; to all other code it shows its own.

Rejected: to replace the module's attributes by constants.  If each call did it, other threads would
see the constants.  If `freeze` did it, a module that is given ``frozen.weight`` would get a
constant and never learn it.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.core.frames import FrozenFrame, current_frame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tapegrad.autograd.core.node import Leaf

__all__ = [
    "class_before_freezing",
    "detach_constants",
    "is_frozen_itself",
    "mark_frozen_parameters",
    "note_user",
]

_NODE: Any = vars(Tensor)["_node"]  # the slot itself, as every Tensor has it


class _FrozenAware:
    """The mixin in the class of each Parameter that a frozen module holds."""

    __slots__ = ()

    _leaf: Any  # a slot of Parameter's

    @property
    def _node(self) -> Any:
        frame = current_frame()
        if frame is not None:
            if isinstance(frame, FrozenFrame) and frame.has_constant(self):
                return None
            if frame.module is not None:
                _note(_users, self, frame.module)
        return _NODE.__get__(self)

    @_node.setter
    def _node(self, node: Any) -> None:
        _NODE.__set__(self, node)

    @property
    def frozen(self) -> bool:
        """True after `freeze`, and while all modules that use the Parameter are frozen."""
        if self._is_frozen_itself():
            return True
        return _is_any(_holders, self, frozen=True) and not _is_any(_users, self, frozen=False)

    def rebind(self, array: Any, grad: Any = None) -> None:
        """Replace the array and the gradient; the new leaf is that of the same modules."""
        before: Any = self._leaf
        super().rebind(array, grad)  # type: ignore[misc]  # Parameter's
        for table in (_holders, _users):
            if before in table:
                table[self._leaf] = table.pop(before)

    def _is_frozen_itself(self) -> bool:
        return _NODE.__get__(self) is None


# By the leaf of a Parameter, modules by their ids: those that held it when they were frozen, and
# those to which it was given, or whose forward code used it, as one that learns.
_ModulesByLeaf: TypeAlias = "WeakKeyDictionary[Leaf, dict[int, weakref.ref[Any]]]"
_holders: _ModulesByLeaf = WeakKeyDictionary()
_users: _ModulesByLeaf = WeakKeyDictionary()


def _note(table: _ModulesByLeaf, parameter: Any, module: Any) -> None:
    noted = table.get(parameter._leaf)
    if noted is None:
        noted = table.setdefault(parameter._leaf, {})
    if id(module) not in noted or noted[id(module)]() is not module:
        noted[id(module)] = weakref.ref(module)


def _is_any(table: _ModulesByLeaf, parameter: Any, *, frozen: bool) -> bool:
    """Whether a module of the table, frozen or not, still holds the Parameter."""
    modules = [reference() for reference in list(table.get(parameter._leaf, {}).values())]
    return any(
        module is not None
        and module._frozen == frozen
        and any(p is parameter for p in module.own_parameters())
        for module in modules
    )


_frozen_aware_classes: dict[type[Parameter], type[Parameter]] = {}


def _frozen_aware_class(cls: type[Parameter]) -> type[Parameter]:
    """The subclass of `cls` for Parameters that a frozen module holds; made once for each `cls`."""
    if cls not in _frozen_aware_classes:
        namespace = {"__slots__": (), "__module__": cls.__module__}
        _frozen_aware_classes.setdefault(cls, type(cls.__name__, (_FrozenAware, cls), namespace))
    return _frozen_aware_classes[cls]


def note_user(module: Any, values: Iterable[Any]) -> None:
    """A module is given Parameters: they learn while it does, even if frozen modules hold them.

    values: of its attributes; Parameters are found in lists, tuples and dicts, too
    """
    rest, seen = list(values), set()
    while rest:
        value = rest.pop()
        if isinstance(value, Parameter):
            _note(_users, value, module)
        elif isinstance(value, (list, tuple, dict)) and value and id(value) not in seen:
            seen.add(id(value))
            rest.extend(value.values() if isinstance(value, dict) else value)


def class_before_freezing(value: Any) -> type:
    """The class of `value` as it was before a frozen module held it."""
    cls = type(value)
    return cls.__bases__[1] if issubclass(cls, _FrozenAware) else cls


def is_frozen_itself(parameter: Parameter) -> bool:
    """Whether `freeze` was called on the Parameter, and not only on modules that hold it."""
    return parameter._is_frozen_itself()


def mark_frozen_parameters(module: Any) -> frozenset[int]:
    """Give a frozen module's own Parameters the class that sees freezing, and return their ids.

    Parameters of modules that were never frozen keep their class, which is a little faster.  After
    `unfreeze` a Parameter keeps the new class, since another frozen module may hold it too.
    """
    own: list[Parameter] = module.own_parameters()
    for p in own:
        if not isinstance(p, _FrozenAware):
            p.__class__ = _frozen_aware_class(type(p))
        _note(_holders, p, module)
    return frozenset(map(id, own))


def detach_constants(nest: Any) -> Any:
    """`nest`, with a detached Tensor for each Parameter that the running code sees as a constant.

    The results of a frozen module pass through this function, and what it hands to the modules
    below it does too: the receiving code would otherwise see a Parameter that learns.
    """
    if type(nest) is Tensor or not any(map(_is_constant, leaves(nest))):
        return nest
    return map_leaves(lambda leaf: leaf.detach() if _is_constant(leaf) else leaf, nest)


def _is_constant(leaf: Any) -> bool:
    return isinstance(leaf, _FrozenAware) and leaf._node is None
