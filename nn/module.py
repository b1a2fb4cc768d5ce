"""Module: plain forward code with a name, from which every system's methods are derived.

An author writes `updateOutput` (or `forward`) in array code.  Parameters, buffers and children are
found by type among the attributes when they are asked for (`core.part`); nothing is registered, and
there is no `super().__init__()` to forget.  The methods that other systems gave their modules are
mixins without state, one for each system (`methods`).

``module(x)`` composes on the current tape and keeps neither results nor tape.  A class that changes
something in a call (running means, noise, remembered states, picks for an unpooling) says so in its
docstring.
``module.forward(x)`` is Torch7's stateful call: it returns the value, keeps `output` and the tape
for `backward`, for the module and all its children (`core.transient`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, overload

from tapegrad import devices
from tapegrad.autograd import Tensor
from tapegrad.autograd.core.tree import leaves
from tapegrad.nn.core.arguments import name_arguments, refuse_names_by_hand, sort_arguments
from tapegrad.nn.core.by_hand import call_by_hand
from tapegrad.nn.core.frames import current_frame
from tapegrad.nn.core.graph_node import GraphNode, are_nodes, node, refuse_no_input
from tapegrad.nn.core.own import has_handwritten_gradient
from tapegrad.nn.core.part import Part, fresh_result
from tapegrad.nn.core.reading import NO_FORWARD
from tapegrad.nn.core.timing import FORWARD, TIME, measure
from tapegrad.nn.core.trace import run_module, trace_call
from tapegrad.nn.core.transient import NOT_KEPT, transient_state_of, transient_value
from tapegrad.nn.core.undo import on_failure
from tapegrad.nn.methods.bigdl import BigDL
from tapegrad.nn.methods.python import Python
from tapegrad.nn.methods.torch7 import Torch7

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Nest, Operand

    # What a module runs on; a Nest that is no node of a graph, nor a list of nodes.
    Value: TypeAlias = (
        Operand | Sequence[Operand | Sequence[Any] | Mapping[str, Any]] | Mapping[str, Any] | None
    )

__all__ = ["Module"]

NO_UPDATE_OUTPUT = (
    "{name} defines no forward code: write `def updateOutput(self, x)` (or `def forward(self, x)`)"
)

TAKEN = (
    "{name}.{attribute} is where calls leave their results (nn.core.transient): give it another "
    "name"
)

NODE_WITH_NAMES = (
    "{name} was called on nodes and {given}: a graph passes arrays only; set the rest on the module"
)

Output_co = TypeVar("Output_co", covariant=True)


# Two protocols tell type checkers that a call of a module returns what the class's own forward code
# returns: a Tensor for Linear, a list for ConcatTable.
class HasUpdateOutput(Protocol[Output_co]):
    """A class with forward code: `forward` returns what its `updateOutput` returns."""

    @property
    def updateOutput(self) -> Callable[..., Output_co]: ...


class HasForward(Protocol[Output_co]):
    """A class with `forward`, derived or its author's: a call returns what it returns."""

    @property
    def forward(self) -> Callable[..., Output_co]: ...


# One mixin for each system whose methods a module has; a further one goes in front of Part.  Where
# two systems use one name, the mixin that comes first answers to it.
class Module(BigDL, Torch7, Python, Part):
    """A layer or model: parameters, and forward code that is differentiated by recording it.

    Subclasses set Parameters, Buffers and Modules as attributes, or in lists, tuples and dicts of
    them, and define ``updateOutput(self, x)``; `x` and the result are Tensors or nested lists of
    them.  (Torch7's nn.Module.)

    >>> from tapegrad import nn
    >>> class Double(nn.Module):
    ...     def forward(self, x):
    ...         return 2 * x
    >>> Double()(np.ones(2))
    Tensor([2., 2.])
    """

    _by_hand = False  # whether the class writes its gradient itself

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = vars(cls)
        for attribute in NOT_KEPT:
            if attribute in own:
                raise TypeError(TAKEN.format(name=cls.__name__, attribute=attribute))
        if "forward" in own and not getattr(own["forward"], "_stateful", False):
            if "updateOutput" in own:
                raise TypeError(f"{cls.__name__} defines both forward and updateOutput: write one")
            cls.updateOutput = own["forward"]  # type: ignore[method-assign]  # people's habit
        if "updateOutput" in vars(cls):
            cls.forward = _stateful_forward(cls)  # type: ignore[method-assign]  # bound to this class
        if "reset" in own:
            cls.reset = _with_init_methods(own["reset"])
        if "__init__" in own:
            cls.__init__ = name_arguments(own["__init__"])  # type: ignore[method-assign]  # same signature
        cls._by_hand = has_handwritten_gradient(cls)

    # `**named` tells type checkers that a subclass may have any signature.
    def updateOutput(self, *inputs: Any, **named: Any) -> Any:
        """Compute the output from the inputs: the module's forward code, which subclasses write."""
        raise NotImplementedError(NO_UPDATE_OUTPUT.format(name=type(self).__name__))

    updateOutput.abstract = True  # type: ignore[attr-defined]  # a mark: the laws skip this one

    @overload
    def __call__(
        self: HasForward[Output_co], x: Value, /, *inputs: Value, **named: Any
    ) -> Output_co: ...
    @overload
    def __call__(self: HasForward[Output_co], /, **named: Any) -> Output_co: ...
    @overload
    def __call__(
        self, node: GraphNode | Sequence[GraphNode], /, *nodes: GraphNode
    ) -> GraphNode: ...
    def __call__(self, /, *inputs: Any, **named: Any) -> Any:
        """The output for `inputs` as fresh Tensors on the current tape; no state is kept.

        named: further arguments of the forward code, such as a mask or a mode: arrays among them
        become Tensors, all else stays what it is.  Text by position counts as named.
        Called on nodes it returns a node of the graph that is being described (`nn.node`).
        Raises TypeError for a call without an input, if the forward code needs one.
        """
        if are_nodes(inputs):
            if named:
                raise TypeError(NODE_WITH_NAMES.format(name=type(self).__name__, given=[*named]))
            return node(self, *inputs)
        if named or len(inputs) > 1:
            inputs, named = sort_arguments(self, inputs, named)
        if not inputs:
            refuse_no_input(self)
        return self._compose(inputs, named)

    def _compose(self, inputs: tuple[Nest, ...], named: Mapping[str, Any] | None = None) -> Any:
        """The output for `inputs`, as a part of the current tape."""
        if self._by_hand:
            refuse_names_by_hand(self, named)
            return call_by_hand(self, inputs)
        return run_module(self, inputs, self.updateOutput, named)

    def forward(self: HasUpdateOutput[Output_co], *inputs: Any, **named: Any) -> Output_co:
        """Torch7's forward: run, and keep `output` and the tape for `backward`.

        `backward` is about `inputs`; the arguments in `named` are constants of the call, as in a
        plain call.  Returns the value of `output` in new Tensors, untracked unless an input is
        tracked.  Inside another module's forward code it composes as a plain call does.
        """
        module: Any = self
        return _forward(module, inputs, named, type(module))

    forward._stateful = True  # type: ignore[attr-defined]  # a mark: not written by a subclass's author

    def _traced(self, inputs: tuple[Nest, ...]) -> tuple[tuple[Nest, ...], Callable[..., Any]]:
        """The inputs that `forward` differentiates for, and the code that it runs on them."""
        return inputs, self.updateOutput

    def random_stream(self, like: Tensor) -> devices.Generator:
        """The random generator of the device of `like`; a failing forward puts its state back."""
        generator = devices.generator(like.device)

        def keep_state() -> Callable[[], None]:
            state = generator.get_state()
            return lambda: generator.set_state(state)

        on_failure(id(generator), keep_state)
        return generator

    def __tape__(self) -> Any:
        """The tracked output of the last `forward`, from which `tapegrad.Tape` reads the tape."""
        trace = transient_value(self, "trace")
        if trace is None:
            raise ValueError(NO_FORWARD.format(name=type(self).__name__, method="__tape__"))
        return trace.root.output


def _stateful_forward(cls: type[Module]) -> Callable[..., Any]:
    def forward(self: Module, *inputs: Nest, **named: Nest) -> Any:
        return _forward(self, inputs, named, cls)

    forward.__doc__ = Module.forward.__doc__
    forward._stateful = True  # type: ignore[attr-defined]  # a mark: not written by a subclass's author
    return forward


def _with_init_methods(reset: Callable[..., Any]) -> Callable[..., Any]:
    """A class's own `reset`, after which the layer's initialization methods draw."""

    @functools.wraps(reset)
    def run(self: Module, *args: Any, **named: Any) -> Any:
        reset(self, *args, **named)
        self._draw_by_methods()
        return self

    return run


def _forward(
    module: Module, inputs: tuple[Any, ...], named: dict[str, Any], cls: type[Module]
) -> Any:
    frame = current_frame()
    if frame is not None and frame.module is not None:
        if frame.module is module and cls is not type(module):
            return cls.updateOutput(module, *inputs, **named)  # super().forward(x) in forward code
        return module(*inputs, **named)
    if named or len(inputs) > 1:
        inputs, named = sort_arguments(module, inputs, named)
    if module._tapegrad_hooks is not None and TIME in module._tapegrad_hooks:
        with measure(module._tapegrad_hooks[TIME][0], FORWARD):
            return _stateful(module, inputs, named)
    return _stateful(module, inputs, named)


def _stateful(module: Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    if module._by_hand:
        refuse_names_by_hand(module, named)
    run = transient_state_of(module)
    run.trace = None  # drop the previous tape before making the next
    args, update = module._traced(inputs)
    trace = trace_call(module, args, update, named)
    for span in trace.spans:
        span.keep("output", span.output)
    if any(map(_is_tracked, leaves(inputs))):
        trace.root.keep("output", trace.root.output, tracked=True)
    run.trace = trace
    return fresh_result(transient_value(module, "output"))


def _is_tracked(x: Any) -> bool:
    return isinstance(x, Tensor) and x.tracked
