"""How the modules inside a module are wired, read from one run of its forward code.

A class of a user's says nothing about its wiring; its forward code does.  A trace of a run has a
span for each module that was called, and the tape says what flowed from one to another, so that a
residual connection is an arrow of its own.  What forward code computes between its modules is a
small box for each operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd import Tensor, enable_grad
from tapegrad.autograd.core.drawing import Box, shape_text
from tapegrad.autograd.core.node import LEAF, Node, parents_of
from tapegrad.autograd.core.parameter import leaf_of
from tapegrad.autograd.core.tree import leaves
from tapegrad.nn.core.evaluation import evaluation_mode
from tapegrad.nn.core.own import is_own
from tapegrad.nn.core.trace import trace_call

if TYPE_CHECKING:
    from tapegrad.nn.core.spans import Span, Trace

__all__ = ["boxes_of_trace", "class_line", "is_opened", "run_for_picture", "shapes_text"]


def is_opened(module: Any, root: Any) -> bool:
    """Whether a picture of `root` shows what is inside the module, and not one box for it.

    Open are the root itself, containers, and classes that are not this package's own.
    """
    is_open = module is root or module.drawn_as != "box" or not is_own(type(module))
    return is_open and bool(module.children())


def run_for_picture(module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> Trace:
    """A trace of the module on these inputs, in evaluation mode; nothing of it is kept."""
    with evaluation_mode(module), enable_grad():
        args, update = module._traced(inputs)
        return trace_call(module, args, update, named)


def boxes_of_trace(root: Any, trace: Trace) -> list[Box]:
    """The boxes of a picture of `root`, whose forward code left the trace."""
    return _Wiring(root, trace).boxes


class _Wiring:
    def __init__(self, root: Any, trace: Trace) -> None:
        self.root = root
        self.names = {id(module): name for name, module in root.named_modules()}
        self.boxes: list[Box] = []
        self.by_node: dict[int, list[int]] = {}  # id of a node -> where its value comes from
        self.leaves = {id(leaf_of(p)): name for name, p in root.named_parameters()}
        shown = _shown_spans(root, trace.spans)
        self.span_of = {
            id(t._node): span for span in shown for t in _tensors(span.output) if t._node
        }
        self.box_of_span: dict[int, int] = {}
        self.inputs: dict[int, int] = {}  # id of the array of an input -> its box
        self._draw_inputs(trace.root)
        # A span is followed by those that use its output: drawn in this order, parents come first.
        for span in shown:
            self._box_of_span(span)
        outputs = _tensors(trace.root.output)
        for number, output in enumerate(outputs):
            text = f"output {number}" if len(outputs) > 1 else "output"
            self.boxes.append(Box([text, shape_text(output.shape)], "end", self._sources(output)))

    def _draw_inputs(self, span: Span) -> None:
        tensors = _tensors(span.inputs)
        for number, (tensor, node) in enumerate(zip(tensors, span.nodes, strict=True)):
            text = f"input {number}" if len(tensors) > 1 else "input"
            self.boxes.append(Box([text, shape_text(tensor.shape)], "end"))
            self.inputs[id(tensor._bare)] = len(self.boxes) - 1
            if node is not None:
                self.by_node[id(node)] = [len(self.boxes) - 1]

    def _box_of_span(self, span: Span) -> int:
        known = self.box_of_span.get(id(span))
        if known is not None:
            return known
        sources: list[int] = []
        for tensor, node in zip(_tensors(span.inputs), span.nodes, strict=True):
            if node is None:
                sources += self._sources(tensor)
            else:
                for parent in parents_of(node):
                    sources += self._from(parent)
                if not parents_of(node):  # an input that nothing recorded led to
                    sources += self._untracked(tensor)
        module = span.reference()
        name = self.names.get(id(module), "")
        lines = [name] if name else []
        lines.append(class_line(module) if module is not None else "a module")
        if shape := shapes_text(span.output):
            lines.append(shape)
        self.boxes.append(Box(lines, "module", _once(sources)))
        self.box_of_span[id(span)] = len(self.boxes) - 1
        return len(self.boxes) - 1

    def _sources(self, tensor: Tensor) -> list[int]:
        return self._untracked(tensor) if tensor._node is None else self._from(tensor._node)

    def _untracked(self, tensor: Tensor) -> list[int]:
        found = self.inputs.get(id(tensor._bare))
        return [] if found is None else [found]

    def _from(self, last: Node) -> list[int]:
        """The boxes that the value of a node comes from; makes boxes for operations on the way."""
        waiting = [last]
        while waiting:  # no recursion: forward code may be deep
            node = waiting[-1]
            key = id(node)
            if key in self.by_node:
                waiting.pop()
            elif key in self.span_of:
                waiting.pop()
                self.by_node[key] = [self._box_of_span(self.span_of[key])]
            elif missing := [p for p in parents_of(node) if id(p) not in self.by_node]:
                waiting += missing
            else:
                waiting.pop()
                self.by_node[key] = self._operation(node)
        return self.by_node[id(last)]

    def _operation(self, node: Node) -> list[int]:
        if node.serial == LEAF:
            lines = [self.leaves.get(id(node), "parameter"), shape_text(tuple(node.shape))]
            self.boxes.append(Box(lines, "entry", late=True))
            return [len(self.boxes) - 1]
        sources = _once([i for parent in parents_of(node) for i in self.by_node[id(parent)]])
        name = repr(node.plan)
        if name in _UNSEEN:
            return sources
        shape = [] if node.shape is None else [shape_text(tuple(node.shape))]
        self.boxes.append(Box([name, *shape], "entry", sources))
        return [len(self.boxes) - 1]


_UNSEEN = {"identity", "item"}


def _shown_spans(root: Any, spans: list[Span]) -> list[Span]:
    """The spans that get a box: of modules that stay closed, outside of other such modules.

    A span comes after those inside it.
    """
    kept: list[tuple[int, Span]] = []
    for position, span in enumerate(spans):
        module = span.reference()
        has_inside = span.first < position
        if module is root or (has_inside and module is not None and is_opened(module, root)):
            continue
        while kept and kept[-1][0] >= span.first:
            kept.pop()
        kept.append((position, span))
    return [span for _, span in kept]


def _tensors(nest: Any) -> list[Tensor]:
    return [t for t in leaves(nest) if isinstance(t, Tensor)]


def _once(indices: list[int]) -> list[int]:
    return list(dict.fromkeys(indices))


def class_line(module: Any) -> str:
    """A module's class and settings in one line, without what is inside it."""
    return repr(module).partition(" {")[0].partition("\n")[0].removeprefix("nn.")


def shapes_text(output: Any) -> str:
    """The shapes of a nest of Tensors, for a box."""
    if isinstance(output, Tensor):
        return shape_text(output.shape)
    if isinstance(output, (list, tuple)):
        return ", ".join(shapes_text(part) for part in output)
    if isinstance(output, dict):
        return ", ".join(f"{key} {shapes_text(part)}" for key, part in output.items())
    return ""
