"""Rules of shape inference that several operators share; see `Operator.shapes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.attributes import Attributes
    from tapegrad.nn.mxnet.declaration import PartialShape

__all__ = ["all_alike", "first_alike"]


def all_alike(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    """All inputs and outputs have one shape: elementwise operators, both ways."""
    shape: PartialShape = None
    for one in (*inputs, *outputs):
        shape = unify(shape, one)
    inputs[:] = [shape] * len(inputs)
    outputs[:] = [shape] * len(outputs)


def first_alike(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    """The first output has the first input's shape, both ways."""
    inputs[0] = outputs[0] = unify(inputs[0], outputs[0])
