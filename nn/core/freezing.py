"""Frozen modules: their Parameters are constants for them, and for nobody else.

Other modules may hold the same Parameters, learn them, and run at the same time in another thread.
So a call of a frozen module changes nothing about a Parameter.  Instead the Parameters that frozen
modules hold have a class which asks who is computing: for the forward code of a frozen module that
holds it, a Parameter has no node, so calls on it are not recorded; for everybody else it has its
own.  Which code runs is known for each thread (`frames`).

Rejected: exchanging the module's attributes for constants.  Done for the length of a call, another
thread sees it; done in `freeze`, whoever takes ``frozen.weight`` for a module of his own gets
something that never learns.
"""

from __future__ import annotations

from typing import Any

from tapegrad.autograd import Parameter, Tensor
from tapegrad.autograd.core.tree import leaves, map_leaves
from tapegrad.nn.core.frames import FrozenFrame, current_frame, enter_frame

__all__ = ["mark_frozen_parameters", "class_before_freezing", "detach_constants"]

_NODE: Any = vars(Tensor)["_node"]  # the slot itself, as every Tensor has it
_GRAD: Any = vars(Parameter)["grad"]


class _FrozenAware:
    """What the class of a Parameter gets when a frozen module holds it."""

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
        """The Parameter's gradient, also for code to which it is a constant."""
        return _NODE.__get__(self).grad

    @grad.setter
    def grad(self, value: Any) -> None:
        with enter_frame(None):
            _GRAD.__set__(self, value)


_frozen_aware_classes: dict[type[Parameter], type[Parameter]] = {}


def _frozen_aware_class(cls: type[Parameter]) -> type[Parameter]:
    """The class of those Parameters of `cls` that a frozen module holds; one for each `cls`."""
    if cls not in _frozen_aware_classes:
        namespace = {"__slots__": (), "__module__": cls.__module__}
        _frozen_aware_classes.setdefault(cls, type(cls.__name__, (_FrozenAware, cls), namespace))
    return _frozen_aware_classes[cls]


def class_before_freezing(value: Any) -> type:
    """The class that `value` was made of, whether a frozen module holds it or not."""
    cls = type(value)
    return cls.__bases__[1] if issubclass(cls, _FrozenAware) else cls


def mark_frozen_parameters(module: Any) -> frozenset[int]:
    """Make a frozen module's own Parameters ask who is computing, and return their ids.

    Other Parameters do not ask, which would cost a little.  These go on asking after `unfreeze`,
    since another frozen module may hold them too.
    """
    own: list[Parameter] = module.own_parameters()
    for p in own:
        if not isinstance(p, _FrozenAware):
            p.__class__ = _frozen_aware_class(type(p))
    return frozenset(map(id, own))


def detach_constants(nest: Any) -> Any:
    """`nest` with each Parameter that is a constant to the running code as one for everybody.

    A frozen module's inputs to the modules below it pass through here, and so does its result:
    those who get them would otherwise find a Parameter that learns.
    """
    if type(nest) is Tensor or not any(map(_is_constant, leaves(nest))):
        return nest
    return map_leaves(lambda leaf: leaf.detach() if _is_constant(leaf) else leaf, nest)


def _is_constant(leaf: Any) -> bool:
    return isinstance(leaf, _FrozenAware) and leaf._node is None
