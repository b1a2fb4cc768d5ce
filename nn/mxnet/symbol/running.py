"""RunPlan: a graph in the order in which it runs, as plain code of Tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tapegrad.nn.mxnet.declaration import Call
from tapegrad.nn.mxnet.errors import MXNetError, MXNetValueError
from tapegrad.nn.mxnet.symbol.graph import Output, SymbolNode, in_order, output_name

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.devices import Generator

__all__ = ["RunPlan", "Run"]


@dataclass
class Run:
    """The results of one run: outputs, and new values of variables that operators wrote."""

    outputs: list[Tensor]
    writes: dict[str, Tensor] = field(default_factory=dict)


class RunPlan:
    """A graph in the order in which it runs, made once and run often."""

    def __init__(self, heads: Sequence[Output]):
        self.heads = list(heads)
        self.nodes = in_order(heads)
        uses = Counter((id(n), i) for node in self.nodes for n, i in node.inputs)
        uses.update((id(n), i) for n, i in heads)
        self._in_place = {
            id(node)
            for node in self.nodes
            if node.inputs
            and node.inputs[0][0].op is not None
            and uses[id(node.inputs[0][0]), node.inputs[0][1]] == 1
        }

    def __call__(
        self,
        values: Mapping[str, Tensor],
        *,
        train: bool = False,
        generator: Generator | None = None,
        watch: Callable[[str, Tensor], None] | None = None,
        filled: Mapping[int, tuple[int, ...]] | None = None,
    ) -> Run:
        """Run the graph.

        values:    a Tensor for each variable, by name
        train:     whether operators are in training mode
        generator: what random operators draw from
        watch:     called with the name and the value of each operator's visible outputs
        filled:    id of a node without inputs -> its whole shape, where its attribute leaves
                   dimensions open (`_zeros` of a recurrent state)
        Raises MXNetError for a variable without a value, and, with the node, for what an operator
        refuses.
        """
        results: dict[tuple[int, int], Tensor] = {}
        writes: dict[str, Tensor] = {}
        for node in self.nodes:
            if node.op is None:
                if node.name not in values:
                    raise MXNetError(f"variable {node.name!r} has no value")
                results[id(node), 0] = values[node.name]
                continue
            call = Call(node.read, train, generator, node.name)
            call.in_place = id(node) in self._in_place
            if filled and id(node) in filled:
                call.shape = filled[id(node)]
            found = _call(node, call, [results[id(n), i] for n, i in node.inputs])
            for i, y in enumerate(found):
                results[id(node), i] = y
                if watch is not None and i < len(node.output_names):
                    watch(output_name((node, i)), y)
            for name, value in call.writes.items():
                variable = node.inputs[node.input_names.index(name)][0]
                writes[variable.name] = value
        return Run([results[id(n), i] for n, i in self.heads], writes)


def _call(node: SymbolNode, call: Call, inputs: list[Tensor]) -> list[Tensor]:
    assert node.op is not None
    try:
        return node.op(call, *inputs)
    except MXNetError:
        raise
    except (ValueError, TypeError, IndexError) as error:
        shown = ", ".join(
            f"{name}{tuple(x.shape)}" for name, x in zip(node.input_names, inputs, strict=False)
        )
        kind = MXNetValueError if isinstance(error, ValueError) else MXNetError
        raise kind(f"{node.op.name} {node.name!r} ({shown}): {error}") from error
