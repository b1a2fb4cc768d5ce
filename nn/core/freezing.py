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

from typing import Any

from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.core.frames import FrozenFrame, current_frame, enter_frame

__all__ = ["class_before_freezing", "detach_constants", "mark_frozen_parameters"]

_NODE: Any = vars(Tensor)["_node"]  # the slot itself, as every Tensor has it
_GRAD: Any = vars(Parameter)["grad"]


class _FrozenAware:
    """The mixin in the class of each Parameter that a frozen module holds."""

    __slots__ = ()

    @property
    def _node(self) -> Any:
        frame = current_frame()
        if isinstance(frame, FrozenFrame) and frame.has_constant(self):
            return None
        return _NODE.__get__(self)

    @_node.setter
    def _node(self, node: Any) -> None:
        _NODE.__set__(self, node)

    @property
    def grad(self) -> Any:
        """The Parameter's gradient, also for code that sees it as a constant."""
        return _NODE.__get__(self).grad

    @grad.setter
    def grad(self, value: Any) -> None:
        with enter_frame(None):
            _GRAD.__set__(self, value)


_frozen_aware_classes: dict[type[Parameter], type[Parameter]] = {}


def _frozen_aware_class(cls: type[Parameter]) -> type[Parameter]:
    """The subclass of `cls` for Parameters that a frozen module holds; made once for each `cls`."""
    if cls not in _frozen_aware_classes:
        namespace = {"__slots__": (), "__module__": cls.__module__}
        _frozen_aware_classes.setdefault(cls, type(cls.__name__, (_FrozenAware, cls), namespace))
    return _frozen_aware_classes[cls]


def class_before_freezing(value: Any) -> type:
    """The class of `value` as it was before a frozen module held it."""
    cls = type(value)
    return cls.__bases__[1] if issubclass(cls, _FrozenAware) else cls


def mark_frozen_parameters(module: Any) -> frozenset[int]:
    """Give a frozen module's own Parameters the class that sees freezing, and return their ids.

    Parameters of modules that were never frozen keep their class, which is a little faster.  After
    `unfreeze` a Parameter keeps the new class, since another frozen module may hold it too.
    """
    own: list[Parameter] = module.own_parameters()
    for p in own:
        if not isinstance(p, _FrozenAware):
            p.__class__ = _frozen_aware_class(type(p))
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
