"""A gradient as one record on the tape, where it depends on Parameters.

Arrays in, arrays out: so ``grad(f)(x)`` of an array x is swept without a tape.  But its entries may
depend on Parameters that f uses, and whoever puts them into a loss wants the gradient of that.
They come back as tracked Tensors, whose one node repeats the sweep, recorded, when a sweep reaches
it.  A gradient that nobody differentiates costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapegrad import devices
from tapegrad.autograd.core.call import item_node
from tapegrad.autograd.core.mode import enable_grad
from tapegrad.autograd.core.node import Node, Plan, record_call
from tapegrad.autograd.core.tensor import Tensor, as_array, result_tensor, untracked
from tapegrad.autograd.reverse.sweep import Paths, cotangents

__all__ = ["track_gradients"]


class _Gradient:
    """A sweep that has been made without a tape, and can be repeated with one.

    seeds:   pairs (node, bare cotangent), where it starts
    targets: the nodes whose cotangents are the gradients
    """

    def __init__(self, seeds: list[tuple[Node, Any]], targets: list[Node], paths: Paths) -> None:
        self.seeds = seeds
        self.targets = targets
        self.floor = paths.floor
        self.parents = paths.parameters_beyond

    def parent_cotangents(self, g: Any, wanted: Sequence[int]) -> Any:
        """The cotangents of the parents at the indices `wanted`, from that of the gradients."""
        parts = g if isinstance(g, list) else [g]
        taped = any(isinstance(part, Tensor) for part in parts)
        with enable_grad():
            seeds = [(node, untracked(as_array(seed))) for node, seed in self.seeds]
            gradients = cotangents(seeds, self.targets, taped=True)
        again = [
            (gradient._node, part)
            for gradient, part in zip(gradients, parts, strict=True)
            if part is not None and isinstance(gradient, Tensor) and gradient._node is not None
        ]
        targets = [self.parents[i] for i in wanted]
        found = [
            _zeros(target, parts) if c is None else c
            for c, target in zip(
                cotangents(again, targets, floor=self.floor, taped=taped), targets, strict=True
            )
        ]
        return found[0] if len(found) == 1 else tuple(found)


def _zeros(target: Node, parts: list[Any]) -> Any:
    like = next(part for part in parts if part is not None)
    zeros = devices.namespace(as_array(like)).zeros(target.shape, dtype=target.dtype)
    return untracked(zeros) if isinstance(like, Tensor) else zeros


class _GradientPlan(Plan):
    """The plan of a gradient's record."""

    __slots__ = ("name",)

    primitive = None
    mask = (True,)
    names = ("gradient",)
    sources = ("",)

    def __init__(self, name: str) -> None:
        self.name = f"gradient of {name}"

    def __repr__(self) -> str:
        return self.name

    def pull(self, g: Any, gradient: _Gradient) -> Any:
        """The cotangents of all parents, from the cotangent g of the gradients."""
        return gradient.parent_cotangents(g, range(len(gradient.parents)))

    def restrict(self, wanted: tuple[int, ...]) -> tuple[Callable[..., Any], tuple[int, ...]]:
        """`pull` for the parents with the indices `wanted` only, and what it takes after g."""
        return (lambda g, gradient: gradient.parent_cotangents(g, wanted)), (0,)


def track_gradients(
    name: str,
    arrays: list[Any],
    seeds: list[tuple[Node, Any]],
    targets: list[Node],
    paths: Paths,
) -> list[Tensor]:
    """The gradients `arrays` of the function `name` as Tensors that are tracked by one record.

    seeds, targets, paths: of the sweep that computed them
    """
    gradient = _Gradient(seeds, targets, paths)
    outcome = arrays[0] if len(arrays) == 1 else list(arrays)
    node = record_call(_GradientPlan(name), tuple(gradient.parents), (gradient,), outcome)
    if len(arrays) == 1:
        return [result_tensor(arrays[0], node)]
    return [
        result_tensor(array, item_node(node, i, len(arrays), array))
        for i, array in enumerate(arrays)
    ]
