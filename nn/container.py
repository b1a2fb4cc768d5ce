"""Containers: modules made of modules.

A container keeps its children in the list `modules`; everything else (parameters, modes,
conversion, paths in messages) finds them there by type.  Composition is ordinary code on the tape,
so a container needs no gradient of its own: what Torch7 wrote by hand, running children backwards
and adding up the gradients of branches, is what the reverse sweep does anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from tapegrad.nn._text import indented, torch7_name
from tapegrad.nn.module import Module

__all__ = ["ConcatTable", "Container", "Sequential"]


class Container(Module):
    """A module with children, in the list `modules`, numbered from 0.

    Positions may be negative and then count from the end; one that does not exist is an IndexError.
    Source: nn.Container.
    """

    def __init__(self, *modules: Module) -> None:
        self.modules: list[Module] = []
        for module in modules:
            self.add(module)

    def add(self, module: Module) -> Self:
        """Append `module`; returns the container, so that calls can be chained."""
        self.modules.append(self._checked(module))
        return self

    def get(self, index: int) -> Module:
        """The child at position `index`."""
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
        return True  # an empty container is a module, not the absence of one

    def describe(self, first: int) -> str:
        """The tree of children as text, children numbered from `first`."""
        lines = [f"({number}): {text}" for number, text in enumerate(self._children(first), first)]
        return f"{torch7_name(self)} {{\n  {indented(lines, 2)}\n}}"

    def __repr__(self) -> str:
        return self.describe(0)

    def __tostring__(self) -> str:
        """Torch7's text for this container, whose children count from 1."""
        return self.describe(1)

    def _children(self, first: int) -> Iterator[str]:
        for module in self.modules:
            yield module.describe(first) if isinstance(module, Container) else repr(module)

    def _checked(self, module: Any) -> Module:
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__} holds modules, not {type(module).__name__}: {module!r:.60}"
            )
        return module

    def _position(self, index: int, size: int | None = None) -> int:
        size = len(self.modules) if size is None else size
        if not -size <= index < size:
            raise IndexError(
                f"{type(self).__name__} has {len(self.modules)} modules, none at position {index}"
            )
        return index % size


class Sequential(Container):
    """y = mₙ(… m₁(m₀(x))): children one after another; any input that the first one takes.

    An empty Sequential returns its input.  Source: nn.Sequential.

    >>> Sequential(Linear(3, 4), Tanh()).add(Linear(4, 2))  # doctest: +SKIP
    """

    def insert(self, module: Module, index: int | None = None) -> None:
        """Put `module` at position `index`, before what is there; at the end when omitted."""
        size = len(self.modules) + 1
        position = size - 1 if index is None else self._position(index, size)
        self.modules.insert(position, self._checked(module))

    def remove(self, index: int | None = None) -> None:
        """Take out the child at position `index`; the last one when omitted."""
        del self.modules[self._position(-1 if index is None else index)]

    def updateOutput(self, x: Any) -> Any:
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
        return f"{torch7_name(self)} {{\n  {indented(lines, 2)}\n}}"


class ConcatTable(Container):
    """y = [m₀(x), m₁(x), …]: every child on the same input; returns a list with one entry a child.

    The gradient of the input is the sum over the children, entry by entry where the input is itself
    a list.  Source: nn.ConcatTable.
    """

    def updateOutput(self, x: Any) -> list[Any]:
        """x: whatever all children take -> list of their outputs."""
        return [module(x) for module in self.modules]

    def describe(self, first: int) -> str:
        lines = ["input"]
        left = len(self.modules)
        for number, text in enumerate(self._children(first), first):
            left -= 1
            mark, margin = ("  |`-> ", "  |    ") if left else ("   `-> ", "       ")
            lines.append(f"{mark}({number}): " + text.replace("\n", "\n" + margin))
        lines.append("   ... -> output")
        return f"{torch7_name(self)} {{\n  {indented(lines, 2)}\n}}"
