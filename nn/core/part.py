"""Part: the tree that modules form, walked by type.

A walk finds Parameters, Buffers and modules below by their type among the attributes, in lists,
tuples and dicts too; nothing is registered.  An assignment that would take something out of this
walk's sight is made right or refused (`core.assignment`).  Copying, converting, describing and the
results of a stateful call belong to the tree as well: every module has them, whichever system's
methods stand on top (`tapegrad.nn.methods`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, default_dtype
from tapegrad.autograd.core.tensor import result_tensor, untracked
from tapegrad.autograd.core.tree import map_leaves
from tapegrad.nn.core import memory
from tapegrad.nn.core.assignment import hidden_items, overwrite
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.freezing import mark_frozen_parameters, note_user
from tapegrad.nn.core.gradient_rules import attach_rules
from tapegrad.nn.core.state import kept_attributes
from tapegrad.nn.core.structure import Structure, note_change
from tapegrad.nn.core.text import torch7_name
from tapegrad.nn.core.transient import ATTRIBUTE, TransientState, transient_state_of

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Array, Nest

__all__ = [
    "Part",
    "after_restoring",
    "attach_gradient_rules",
    "empty_result",
    "fresh_result",
    "gradient_of",
    "holds_state",
    "known_dtype",
    "named_fields",
    "text_of",
]


class Part:
    """A node of a tree of modules: it holds Parameters, Buffers and other Parts as attributes.

    A Part computes nothing; `Module`, its subclass, does.
    """

    keeps: ClassVar[tuple[str, ...]] = (  # see core.state
        "_training",
        "_frozen",
        "_type",
        "_name",
        "_scales",
        "_regularizers",
        "_initializers",
    )
    counts: ClassVar[Mapping[str, Any]] = {}
    promotes: ClassVar[bool] = False  # whether integer inputs become floats first (core.trace)

    # Where calls leave results; a recorded step depends on all other attributes (autograd/replay).
    _step_results = (ATTRIBUTE,)

    modules: list[Any]  # the children of a container; other modules hold theirs in attributes
    _tapegrad_run: TransientState | None = None  # what calls leave behind; see core.transient
    _tapegrad_hooks: dict[str, list[Any]] | None = None  # see core.hooks
    _training = True
    _frozen = False
    _type: np.dtype[Any] | None = None  # what type() converted to last; None before that
    _name: str | None = None  # what setName gave it
    _scales = (1.0, 1.0)  # factors of the gradients of weights and of biases (core.gradient_rules)
    _regularizers: Mapping[str, Any] = MappingProxyType({})  # by kind of parameter
    _initializers: Mapping[str, Any] = MappingProxyType({})  # by kind of parameter
    drawn_as = "box"  # how `core.picture` draws the module: as one box, or its children's wiring
    _in_graphs = True  # whether the module may be a node of a graph (core.graph_node)
    _keeps_type = False  # if True, type() converts neither this module nor those below it

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; an array where a Parameter or Buffer is overwrites its entries.

        Raises TypeError for modules or parameters where nobody would find them: in a set or another
        holder that is no list, tuple or dict, and under the name of a method that runs the module.
        """
        old = self.__dict__.get(name)
        if old is not None and value is not None and isinstance(old, (Parameter, Buffer)):
            if not holds_state(value):
                overwrite(f"{type(self).__name__}.{name}", old, value)
                return
            _set_state(self, name, value)
            return
        if type(value) not in _PLAIN:
            _check_findable(self, name, value)
            if holds_state(value):
                _set_state(self, name, value)
                return
        elif old is not None and type(old) not in _PLAIN and holds_state(old):
            note_change()
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        note_change()
        object.__delattr__(self, name)

    # The tree -------------------------------------------------------------------------------------

    def children(self) -> list[Any]:
        """The modules directly below this one, each once."""
        return [module for _, module in _children(self)]

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """(dotted name, module) for this module, named "", and all below it, each once."""
        yield from _named_modules(self)

    def listModules(self) -> list[Any]:
        """The module itself and all below it, parents first, each once."""
        return [module for _, module in _named_modules(self)]

    def name_of_child(self, child: Any) -> str:
        """The source text that leads from here to `child`: ``[2]`` in a container, ``.conv1``."""
        for name, module in _children(self):
            if module is child:
                steps = name.split(".")
                return "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in steps)
        return ""

    def _parameters(self) -> list[Parameter]:
        return [p for _, p in self.named_trainable()]

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, Parameter), each once, in the order of `parameters`."""
        yield from _named_of_kind(self, Parameter)

    def named_trainable(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, Parameter), each once, without frozen ones and those of frozen modules."""
        yield from _named_of_kind(self, Parameter, frozen=False)

    @property
    def _recurrent_weights(self) -> tuple[str, ...]:
        """The names of the module's own parameters that its own output is multiplied by."""
        return ()

    def own_parameters(self) -> list[Parameter]:
        """The Parameters of this module itself, not of those below, each once."""
        parameters = {id(p): p for _, p in named_fields(self) if isinstance(p, Parameter)}
        return list(parameters.values())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """(dotted name, Buffer), each once."""
        yield from _named_of_kind(self, Buffer)

    # What a stateful call leaves behind -----------------------------------------------------------

    def keep(self, name: str, value: Any, *, tracked: bool = False) -> None:
        """Store `output` or `gradInput` in the Tensors that held it before, bound to new arrays.

        tracked: whether they keep their past, too
        """
        state = transient_state_of(self)
        setattr(state, name, _rebind_result(getattr(state, name, None), value, tracked))

    def clearState(self) -> Self:
        """Drop outputs, gradients with respect to inputs, and the tape; parameters stay."""
        for module in self.listModules():
            if module._tapegrad_run is not None:
                module._tapegrad_run.clear()
        return self

    def _structure(self) -> Structure:
        """What an optimizer compares to notice that layers or Parameters were replaced."""
        return Structure(self)

    def _drop_traces(self) -> None:
        for module in self.listModules():
            if module._tapegrad_run is not None:
                module._tapegrad_run.drop_tape()

    # Memory ---------------------------------------------------------------------------------------

    def _convert(
        self,
        convert: Callable[[Array], Array],
        excluded: Collection[int] = (),
        converted: dict[int, tuple[Array, Array]] | None = None,
    ) -> Self:
        """Apply `convert` to all memory, once per storage, so that views of one stay views of one.

        excluded:  ids of parameters and buffers that stay as they are
        converted: the storages that earlier conversions of this kind made, which this one extends
        Raises ValueError if a Parameter elsewhere shares memory that would be replaced.
        """
        storages = memory.StorageMap(convert, converted)
        arrays = [
            (p, storages(p._bare)) for _, p in self.named_parameters() if id(p) not in excluded
        ]
        if converted is None:  # else those that share come to the same cache
            memory.refuse_to_part(self, [p for p, array in arrays if array is not p._bare])
        for p, array in arrays:
            gradient = p.grad
            if gradient is not None:
                gradient._bare = storages(gradient._bare)
            p.rebind(array, gradient)
        for _, buffer in self.named_buffers():
            if id(buffer) not in excluded:
                buffer._bare = storages(buffer._bare)
        Part.clearState(self)  # a layer's own clearState may drop more than the results
        self._drop_traces()
        return self

    # Copying and showing --------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """The content of a copy or a pickle: the kept attributes (core.state), no results."""
        state = kept_attributes(self)
        if self._tapegrad_run is not None and (run := self._tapegrad_run.copied()) is not None:
            state[ATTRIBUTE] = run
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if not memo:  # the root of a copy
            memory.copy_used_parts(self, memo)
        result = self.__class__.__new__(self.__class__)
        memo[id(self)] = result
        result.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return result

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the content of a copy or a pickle."""
        self.__dict__.update(state)
        after_restoring(self)

    def describe(self, first: int) -> str:
        """The module as text, with positions and dimensions counted from `first`.

        `repr` counts from 0, and `__tostring__`, Torch7's text, from 1.
        """
        lines = []
        for name, module in _children(self) if first == 0 else ():  # Torch7 prints the name only
            lines.append(f"  ({name}): " + text_of(module, first).replace("\n", "\n  "))
        return torch7_name(self) + (" {\n" + "\n".join(lines) + "\n}" if lines else "")

    def __repr__(self) -> str:
        return self.describe(0)

    def __tostring__(self) -> str:
        """Torch7's text for this module: children and dimensions count from 1."""
        return text_of(self, 1)


# What the methods above share ---------------------------------------------------------------------


# Types of values that hold neither modules nor parameters.
_PLAIN = frozenset({bool, int, float, complex, str, type(None), Tensor})

# Under these names a module runs; what else has one of them would be run, or be read as a setting.
_RUN = {"forward", "backward", "updateOutput", "updateGradInput", "accGradParameters"}
_RUN |= {"train", "gradWeight", "gradBias"}
TAKEN = (
    "{cls}.{name} is {what} of every module, so a {kind} cannot have that name: "
    "give the attribute another one, such as {cls}.{name}_layer"
)
HIDDEN = (
    "{cls}.{name} holds a {kind} in a {holder}, where nothing finds it to train or save it: put it "
    "into a list, a tuple or a dict"
)


def _set_state(module: Part, name: str, value: Any) -> None:
    """Set an attribute that holds modules, Parameters or Buffers."""
    note_change()
    object.__setattr__(module, name, value)
    note_user(module, [value])
    attach_gradient_rules(module)


def after_restoring(module: Part) -> None:
    """What assignments would have done, for a module whose attributes were set without them."""
    note_user(module, module.__dict__.values())
    if module._frozen:
        mark_frozen_parameters(module)
    attach_gradient_rules(module)


def attach_gradient_rules(module: Part) -> None:
    """Tell the module's own Parameters its factors and regularizers, if it has any."""
    if "_scales" in module.__dict__ or "_regularizers" in module.__dict__:
        attach_rules(module, list(named_fields(module)))


def holds_state(value: Any) -> bool:
    """Whether a walk finds a module, Parameter or Buffer in `value`."""
    if isinstance(value, (list, tuple, dict)):
        return any(isinstance(item, _STATE) for _, item in _items(value, "", set()))
    return isinstance(value, _STATE)


def _check_findable(module: Part, name: str, value: Any) -> None:
    cls = type(module).__name__
    if name in _RUN and holds_state(value):
        what = "a field" if isinstance(getattr(type(module), name), property) else "a method"
        raise TypeError(TAKEN.format(cls=cls, name=name, what=what, kind=type(value).__name__))
    hidden = list(hidden_items(value, _STATE))
    if hidden:
        found = {id(part) for _, part in _named_modules(module)}
        found |= {id(t) for kind in (Parameter, Buffer) for _, t in _named_of_kind(module, kind)}
        for item in hidden:
            if id(item) not in found:
                kind, holder = type(item).__name__, type(value).__name__
                raise TypeError(HIDDEN.format(cls=cls, name=name, kind=kind, holder=holder))


def text_of(module: Part, first: int) -> str:
    """`module.describe(first)`, or `repr(module)` if the class has a `__repr__` of its own."""
    has_own_repr = type(module).__repr__ is not Part.__repr__
    return repr(module) if has_own_repr else module.describe(first)


def known_dtype(module: Part) -> Any:
    """The dtype of a module: of its own parameters, of its last conversion, or of those below.

    None where there is none of them.
    """
    own = next((p.dtype for p in module.own_parameters()), module._type)
    return next((p.dtype for _, p in module.named_parameters()), None) if own is None else own


def named_fields(module: Part) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of the Tensors and modules among a module's own attributes."""
    seen: set[int] = set()
    for name, value in vars(module).items():
        if type(value) in _PLAIN or name == ATTRIBUTE:
            continue
        if isinstance(value, (Tensor, Part)):
            yield name, value
        elif name == "modules" and isinstance(value, list):  # a container's children: "0", "1", …
            for i, item in enumerate(value):
                yield from _items(item, str(i), seen)
        elif isinstance(value, (list, tuple, dict)):
            yield from _items(value, name, seen)


def _items(value: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """(dotted name, Tensor or module) for all that `value` contains, not looking into modules."""
    if isinstance(value, (Tensor, Part)):
        yield prefix, value
    elif isinstance(value, (list, tuple, dict)) and id(value) not in seen:
        seen.add(id(value))
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            yield from _items(item, f"{prefix}.{key}", seen)


def _children(module: Part) -> list[tuple[str, Any]]:
    return _modules_in(named_fields(module))


def _modules_in(fields: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    children: dict[int, tuple[str, Any]] = {}
    for name, value in fields:
        if isinstance(value, Part):
            children.setdefault(id(value), (name, value))
    return list(children.values())


def _named_modules(root: Part) -> Iterator[tuple[str, Any]]:
    """(dotted name, module), each once, and no name twice."""
    for name, module, _ in _walk(root, "", set(), set()):
        yield name, module


def _walk(
    module: Part, name: str, seen: set[int], names: set[str]
) -> Iterator[tuple[str, Any, list[tuple[str, Any]]]]:
    """(dotted name, module, what `named_fields` finds in it), each once."""
    if id(module) in seen:
        return
    seen.add(id(module))
    name = _unused(name, names)
    fields = list(named_fields(module))
    yield name, module, fields
    for step, child in _modules_in(fields):
        yield from _walk(child, f"{name}.{step}" if name else step, seen, names)


def _named_of_kind(module: Part, kind: type, *, frozen: bool = True) -> Iterator[tuple[str, Any]]:
    """(dotted name, instance of `kind`), each once; with those that are frozen if `frozen`.

    No two have one name, nor have a Parameter and a Buffer.
    """
    names: set[str] = set()
    name_of: dict[int, str] = {}
    seen: set[int] = set()
    for prefix, part, fields in _walk(module, "", set(), set()):
        for field, value in fields:
            if not isinstance(value, (Parameter, Buffer)):
                continue
            if id(value) not in name_of:
                full = f"{prefix}.{field}" if prefix else field
                name_of[id(value)] = _unused(full, names)
            if id(value) in seen or not isinstance(value, kind):
                continue
            if frozen or not (part._frozen or _is_frozen(value)):
                seen.add(id(value))
                yield name_of[id(value)], value


def _is_frozen(value: Any) -> bool:
    """Whether `freeze` was called on the Parameter itself."""
    return isinstance(value, Parameter) and value._is_frozen_itself()


def _unused(name: str, names: set[str]) -> str:
    """`name`, or `name#2`, … where others have it, as keys of a dict such as 1 and "1" may."""
    unused, count = name, 1
    while unused in names:
        count += 1
        unused = f"{name}#{count}"
    names.add(unused)
    return unused


_STATE = (Parameter, Buffer, Part)


def gradient_of(parameter: Parameter) -> Tensor:
    """The gradient gathered so far; before the first backward, zeros that the Parameter keeps."""
    if parameter.grad is None:
        xp = devices.namespace(parameter._bare)
        parameter.grad = xp.zeros(parameter.shape, dtype=parameter.dtype)
    assert parameter.grad is not None  # set above
    return parameter.grad


def empty_result() -> Tensor:
    """The value of `output` and `gradInput` before the first call."""
    return untracked(np.empty(0, default_dtype()))


def fresh_result(nest: Nest) -> Nest:
    """The same values in new Tensors, which no later call binds to other arrays."""
    return map_leaves(_fresh_leaf, nest)


def _fresh_leaf(x: Any) -> Any:
    return x.with_node(x._node) if isinstance(x, Tensor) else x


def _rebind_result(handle: Nest, value: Nest, tracked: bool) -> Nest:
    """`value` in the Tensors and lists of `handle`, the result before, where both correspond."""
    if isinstance(value, Tensor):
        node = value._node if tracked else None
        if type(handle) is not Tensor:
            return result_tensor(value._bare, node)
        handle._bare, handle._node, handle._alias = value._bare, node, None
        return handle
    if isinstance(value, (list, tuple)):
        old = handle if isinstance(handle, (list, tuple)) and len(handle) == len(value) else None
        items = [_rebind_result(old[i] if old else None, v, tracked) for i, v in enumerate(value)]
        if isinstance(old, list) and isinstance(value, list):
            old[:] = items
            return old
        return type(value)(items) if not hasattr(value, "_fields") else type(value)(*items)
    if isinstance(value, dict):
        known = handle if isinstance(handle, dict) else {}
        return {key: _rebind_result(known.get(key), v, tracked) for key, v in value.items()}
    return value
