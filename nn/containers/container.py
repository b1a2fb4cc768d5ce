"""Containers: modules made of modules.

A container keeps its children in the list `modules`, where walks over the tree find them
(parameters, modes, conversion, paths in messages).  Composition is ordinary code on the tape, so a
container needs no gradient of its own: Torch7's containers ran their children backwards and summed
the gradients of branches by hand, and the reverse sweep does both.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, overload

from tapegrad.autograd import no_grad, ops
from tapegrad.nn.core.axes import axis_of
from tapegrad.nn.core.errors import ShapeError
from tapegrad.nn.core.part import text_of
from tapegrad.nn.core.tables import concatenate_parts, entries_of
from tapegrad.nn.core.text import indent, torch7_name
from tapegrad.nn.core.undo import undo_attribute
from tapegrad.nn.module import Module

if TYPE_CHECKING:
    from tapegrad.autograd import Tensor
    from tapegrad.autograd.core.types import Nest

__all__ = [
    "Concat",
    "ConcatTable",
    "Container",
    "DepthConcat",
    "MapTable",
    "Parallel",
    "ParallelTable",
    "Sequential",
]


NO_INDEX = (
    "{name} is indexed by the numbers of its children, not by {found}; a Sequential by slices too, "
    "and named_modules() has children by name"
)


class Container(Module):
    """A module with children, in the list `modules`, numbered from 0.

    A negative index counts from the end.  Raises IndexError for an index of no child.
    Source: nn.Container.
    """

    keeps: ClassVar[tuple[str, ...]] = ("modules",)

    def __init__(self, *modules: Module) -> None:
        self.modules: list[Module] = []
        for module in modules:
            self.add(module)

    def add(self, module: Module) -> Self:
        """Append `module`; returns the container, so that calls can be chained."""
        self.modules.append(self._checked(module))
        return self

    def get(self, index: int) -> Module:
        """The child number `index`."""
        return self.modules[self._position(index)]

    def size(self) -> int:
        """The number of children."""
        return len(self.modules)

    def __getitem__(self, index: int) -> Module:
        return self.get(index)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.modules)

    def __len__(self) -> int:
        return len(self.modules)

    def __bool__(self) -> bool:
        return True  # also for an empty container, so that `if module:` tells it from None

    def describe(self, first: int) -> str:
        """The tree of children as text, children numbered from `first`."""
        lines = [f"({number}): {text}" for number, text in enumerate(self._children(first), first)]
        return f"{torch7_name(self)} {{\n  {indent(lines, 2)}\n}}"

    def _children(self, first: int) -> Iterator[str]:
        for module in self.modules:
            yield text_of(module, first)

    def _checked(self, module: Any) -> Module:
        if not isinstance(module, Module):
            text = (
                f"{type(self).__name__} holds modules, not {type(module).__name__}: {module!r:.60}"
            )
            if isinstance(module, (list, tuple, Mapping)):
                values = ".values()" if isinstance(module, Mapping) else ""
                text += f". Give them one by one: nn.{type(self).__name__}(*layers{values})"
            raise TypeError(text)
        return module

    def _position(self, index: int, size: int | None = None) -> int:
        size = len(self.modules) if size is None else size
        if not hasattr(index, "__index__"):
            raise TypeError(NO_INDEX.format(name=type(self).__name__, found=type(index).__name__))
        if not -size <= index < size:
            raise IndexError(
                f"{type(self).__name__} has {len(self.modules)} modules, none at position {index}"
            )
        return index % size


class Sequential(Container):
    """y = mₙ(… m₁(m₀(x))): children one after another, on any input that the first one takes.

    An empty Sequential returns its input.  Source: nn.Sequential.

    >>> from tapegrad import nn
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).add(nn.Linear(4, 2))
    >>> model(np.ones((5, 3), np.float32)).shape
    (5, 2)
    >>> model[:2]
    nn.Sequential {
      [input -> (0) -> (1) -> output]
      (0): nn.Linear(3 -> 4)
      (1): nn.Tanh
    }
    """

    drawn_as = "chain"

    def insert(self, module: Module | int, index: int | Module | None = None) -> Self:
        """Insert `module` before the child number `index`; at the end when omitted.

        The two may be given in either order.  Returns the container.  Raises TypeError for two
        modules.
        """
        if isinstance(index, Module) and not isinstance(module, Module):
            module, index = index, module
        if isinstance(index, Module):
            raise TypeError(f"{type(self).__name__}.insert takes a module and an index")
        size = len(self.modules) + 1
        number = size - 1 if index is None else self._position(index, size)
        self.modules.insert(number, self._checked(module))
        self._drop_traces()
        return self

    def remove(self, index: int | Module | None = None) -> Self:
        """Remove the child number `index`, the last one when omitted; returns the container.

        A module is removed from the first place that holds it.  Raises ValueError if none does.
        """
        if isinstance(index, Module):
            index = next((i for i, child in enumerate(self.modules) if child is index), None)
            if index is None:
                raise ValueError(f"{type(self).__name__}.remove: the module is no child")
        del self[-1 if index is None else index]
        return self

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        """The child number `index`; for a slice a Sequential of these children, not of copies."""
        if isinstance(index, slice):
            return Sequential(*self.modules[index])
        return self.get(index)

    def __setitem__(self, index: int | slice, module: Module | Iterable[Module]) -> None:
        """Put `module` in the place of the child number `index`; for a slice, several modules."""
        if isinstance(index, slice):
            if isinstance(module, Module) and not isinstance(module, Container):
                raise TypeError(f"{type(self).__name__}[i:j] = … takes several modules, not one")
            self.modules[index] = [self._checked(each) for each in module]
        else:
            self.modules[self._position(index)] = self._checked(module)
        self._drop_traces()

    def __delitem__(self, index: int | slice) -> None:
        """Remove the child number `index`, or those of a slice."""
        if isinstance(index, slice):
            del self.modules[index]
        else:
            del self.modules[self._position(index)]
        self._drop_traces()

    def updateOutput(self, x: Nest) -> Nest:
        """x: whatever the first child takes -> what the last one returns."""
        for module in self.modules:
            x = module(x)
        return x

    def describe(self, first: int) -> str:
        numbers = range(first, first + len(self.modules))
        route = " -> ".join(["input", *(f"({number})" for number in numbers), "output"])
        lines = [f"[{route}]"]
        for number, text in zip(numbers, self._children(first), strict=True):
            lines.append(f"({number}): {text}")
        name = "nn.Sequential" if first else torch7_name(self)  # Torch7 hides subclasses' names
        return f"{name} {{\n  {indent(lines, 2)}\n}}"


class _Branches(Container):
    """A container whose children stand side by side, drawn as branches from input to output."""

    def describe(self, first: int) -> str:
        lines = ["input"]
        left = len(self.modules)
        for number, text in enumerate(self._children(first), first):
            left -= 1
            mark, margin = ("  |`-> ", "  |    ") if left else ("   `-> ", "       ")
            lines.append(f"{mark}({number}): " + text.replace("\n", "\n" + margin))
        lines.append("   ... -> output")
        return f"{torch7_name(self)} {{\n  {indent(lines, 2)}\n}}"

    def _check_one_each(self, count: int) -> None:
        if count != len(self.modules):
            raise ShapeError(f"{count} inputs for {len(self.modules)} modules")


class ConcatTable(_Branches):
    """y = [m₀(x), m₁(x), …]: every child on the same input; returns a list with one entry a child.

    The gradient of the input is the sum over the children, entry by entry where the input is itself
    a list.  Source: nn.ConcatTable.
    """

    drawn_as = "branches"

    def updateOutput(self, x: Nest) -> list[Nest]:
        """x: whatever all children take -> list of their outputs."""
        return [module(x) for module in self.modules]


class ParallelTable(_Branches):
    """y = [m₀(x₀), m₁(x₁), …]: the i-th child on the i-th entry of the input table.

    Raises ShapeError unless there are as many entries as children.  Source: nn.ParallelTable.
    """

    drawn_as = "parallel"

    def updateOutput(self, x: Nest) -> list[Nest]:
        self._check_one_each(len(entries_of(x)))
        return [module(part) for module, part in zip(self.modules, x, strict=True)]


class Concat(_Branches):
    """y = the outputs of all children on the same input, joined along `dimension`.

    dimension: an axis of the outputs, a batch axis counted like any other.
    Raises ShapeError when the outputs differ along other axes.  Source: nn.Concat.
    """

    drawn_as = "joined"

    keeps = ("dimension",)
    counts: ClassVar[Mapping[str, str]] = {"dimension": "dimension"}

    def __init__(self, dimension: int, *modules: Module) -> None:
        super().__init__(*modules)
        self.dimension = dimension

    def updateOutput(self, x: Nest) -> Tensor:
        """x: whatever all children take -> one array."""
        outputs = [module(x) for module in self.modules]
        if not outputs:
            raise ShapeError("there is nothing to join: the container is empty")
        return concatenate_parts(outputs, axis_of(self.dimension, outputs[0].ndim))


class DepthConcat(Concat):
    """Concat of outputs that differ in size: all are padded with zeros to the largest.

    Along every axis but `dimension`, an output of length n fills the middle of the largest length
    N, from index ⌊(N - n) / 2⌋ on.  Raises ShapeError when the numbers of axes differ.
    Source: nn.DepthConcat; C. Szegedy et al., "Going Deeper with Convolutions", 2015.
    """

    def updateOutput(self, x: Nest) -> Tensor:
        """x: whatever all children take -> one array."""
        outputs = [module(x) for module in self.modules]
        if len({y.ndim for y in outputs}) != 1:
            raise ShapeError(f"shapes {[y.shape for y in outputs]} cannot be joined")
        axis = axis_of(self.dimension, outputs[0].ndim)
        largest = [max(lengths) for lengths in zip(*(y.shape for y in outputs), strict=True)]
        padded = [_pad_to_centre(y, axis, largest) for y in outputs]
        return concatenate_parts(padded, axis)


def _pad_to_centre(y: Tensor, axis: int, largest: list[int]) -> Tensor:
    missing = [0 if a == axis else largest[a] - n for a, n in enumerate(y.shape)]
    if not any(missing):
        return y
    padded: Tensor = ops.pad(y, tuple((m // 2, m - m // 2) for m in missing))
    return padded


class Parallel(_Branches):
    """The outputs of the i-th child on the i-th slice of x along inputDimension, joined.

    x: an array with as many slices as there are children; a child gets its slice without that axis
    -> the outputs joined along outputDimension, an axis of the outputs.
    Raises ShapeError for another number of slices.  Source: nn.Parallel.
    """

    keeps = ("inputDimension", "outputDimension")
    counts: ClassVar[Mapping[str, str]] = {
        "inputDimension": "dimension", "outputDimension": "dimension"
    }  # fmt: skip

    def __init__(self, inputDimension: int, outputDimension: int, *modules: Module) -> None:
        super().__init__(*modules)
        self.inputDimension = inputDimension
        self.outputDimension = outputDimension

    def updateOutput(self, x: Tensor) -> Tensor:
        axis = axis_of(self.inputDimension, x.ndim)
        self._check_one_each(x.shape[axis])
        shape = x.shape[:axis] + x.shape[axis + 1 :]
        parts = [part.reshape(shape) for part in ops.split(x, x.shape[axis], axis)]
        outputs = [module(part) for module, part in zip(self.modules, parts, strict=True)]
        return concatenate_parts(outputs, axis_of(self.outputDimension, outputs[0].ndim))


class MapTable(Container):
    """y = [m(x₀), m(x₁), …]: one module on every entry of the input table.

    Each entry gets a copy of the module, with its own output and buffers; `modules` lists the
    copies made so far, as many as the longest table needed.
    shared: whether the copies use the same Parameters, each listed once; otherwise each copy learns
    its own, which start from the module's.
    Raises ShapeError for an input that is no table.  Source: nn.MapTable.
    """

    keeps = ("shared",)

    def __init__(self, module: Module | None = None, shared: bool = True) -> None:
        self.shared = shared
        super().__init__()
        if module is not None:
            self.add(module)

    def add(self, module: Module) -> Self:
        """Map `module` from now on; copies of another are dropped."""
        self.modules = [self._checked(module)]
        return self

    def resize(self, count: int) -> None:
        """Keep `count` copies, one for each entry of a table, and make those that are missing."""
        module = self.get(0)
        # A deep copy takes what its memo already has: the Parameters that are not to be copied.
        memo = {id(p): p for _, p in module.named_trainable()} if self.shared else {}
        copies = self.modules[: max(count, 1)]
        with (
            no_grad()
        ):  # forward code that records may not copy Parameters, which are new ones here
            while len(copies) < count:
                copies.append(copy.deepcopy(module, dict(memo)))
        self.modules = copies

    def clearState(self) -> Self:
        """Drop outputs, gradients of inputs, and shared copies."""
        if self.shared:
            del self.modules[1:]
        return super().clearState()

    def updateOutput(self, x: Nest) -> list[Nest]:
        """x: a table -> the list of outputs."""
        undo_attribute(self, "modules")
        self.resize(max(len(entries_of(x)), len(self.modules)))
        return [module(part) for module, part in zip(self.modules, x, strict=False)]

    def describe(self, first: int) -> str:
        inner = next(self._children(first), "")
        return f"{torch7_name(self)} {{\n  {indent([inner], 2)}\n}}"
