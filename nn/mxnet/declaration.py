"""operator: the one declaration of an MXNet operator, from which all else is derived.

    @operator("FullyConnected", "data weight bias", num_hidden=Int(), no_bias=Bool(False))
    def fully_connected(call, data, weight, bias=None):
        ...

The body is plain code of Tensors.  `call.a` has the attributes, `call.train` says whether it runs
in training mode, `call.generator` draws random numbers, and `call.write(name, value)` hands a new
value of an input (a running mean) to the executor.  Symbols, NDArray functions, executors, shape
inference, files and the laws find operators in `operators()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd import Tensor, ops
from tapegrad.nn.mxnet.attributes import Attribute, Attributes
from tapegrad.nn.mxnet.errors import MXNetError

if TYPE_CHECKING:
    from tapegrad.devices import Array, Device
    from tapegrad.nn.mxnet.types import DTypeLike


__all__ = ["Call", "Operator", "find_operator", "operator", "operators"]

Body = Callable[..., Any]
# A dimension that is not known yet is 0, as in MXNet; a shape that is not known is None.
PartialShape = tuple[int, ...] | None
ShapeRule = Callable[[Attributes, list[PartialShape], list[PartialShape]], None]
# (attributes, type of the first input or None) -> types of the inputs, types of the outputs
TypeRule = Callable[[Attributes, Any], tuple[list[Any], list[Any]]]


@dataclass
class Call:
    """What the body of an operator knows beside its inputs.

    a:         the attributes, read
    train:     whether it runs in training mode
    generator: what it draws random numbers from
    name:      the node's name
    shape:     the whole shape, where the attribute `shape` leaves dimensions open
    in_place:  whether MXNet would write the result over the first input
    writes:    new values of inputs; see `write`
    """

    a: Attributes
    train: bool = False
    generator: Any = None
    name: str = ""
    shape: tuple[int, ...] | None = None
    in_place: bool = False
    writes: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> Device | None:
        """Where this runs: an operator without inputs makes its arrays there."""
        return None if self.generator is None else self.generator.device

    def uniform(self, shape: Sequence[int], dtype: DTypeLike) -> Tensor:
        """Independent draws from U[0, 1).

        A Tensor: of a bare array no replay would see what is computed with it.
        """
        draws = ops.uniform(shape=tuple(shape), dtype=np.dtype(dtype), generator=self.generator)
        return Tensor(draws)

    def write(self, name: str, value: Array) -> None:
        """Give the input `name` (an auxiliary state) the value after this step."""
        self.writes[name] = value


@dataclass
class Operator:
    """An operator of MXNet; see `operator` for the fields."""

    name: str
    body: Body
    kinds: dict[str, Attribute]
    inputs: Callable[[Attributes], Sequence[str]]
    aliases: tuple[str, ...] = ()
    auxiliary: Callable[[Attributes], Sequence[str]] = lambda _: ()
    outputs: Callable[[Attributes], Sequence[str]] = lambda _: ("output",)
    hidden: Callable[[Attributes], int] = lambda _: 0
    variadic: str = ""
    initial: Mapping[str, str] = field(default_factory=dict)
    loss: Callable[[Attributes], bool] = lambda _: False
    random: bool = False
    flat: frozenset[str] = frozenset()
    hint: str = ""
    infer: ShapeRule | None = None
    types: TypeRule | None = None
    further: bool = False

    def read(self, texts: Mapping[str, str], node: str = "") -> Attributes:
        """The attributes of a node, read.  Raises MXNetError as `Attributes` says."""
        owner = f"{self.name} {node!r}" if node else self.name
        return Attributes(owner, self.kinds, texts, self.further)

    def input_names(self, a: Attributes) -> list[str]:
        """The names of the inputs, in order: auxiliary states included."""
        return list(self.inputs(a))

    def output_names(self, a: Attributes) -> list[str]:
        """The names of the visible outputs: "output", or "output0", "output1", …"""
        return list(self.outputs(a))

    def shapes(self, rule: ShapeRule) -> ShapeRule:
        """Decorator: the rule of shape inference.

        It is called with the attributes and the lists of the shapes of inputs and outputs as far as
        they are known (None, or 0 for an unknown dimension), and fills in what follows.  It may be
        called several times.  Without a rule the body runs on zeros once all inputs are known.
        """
        self.infer = rule
        return rule

    def __call__(self, call: Call, *inputs: Tensor) -> list[Tensor]:
        """All outputs, the hidden ones too where the body gives them."""
        if self.flat:
            names = self.variadic and [f"arg{i}" for i in range(len(inputs))]
            names = names or self.input_names(call.a)
            inputs = tuple(
                x.detach() if name in self.flat and x.tracked else x
                for name, x in zip(names, inputs, strict=False)
            )
        y = self.body(call, *inputs)
        results = y if isinstance(y, (tuple, list)) else [y]
        # what no input is behind (draws) comes as a bare array
        return [one if isinstance(one, Tensor) else Tensor(one) for one in results]


_operators: dict[str, Operator] = {}
_by_name: dict[str, Operator] = {}


def operator(
    name: str,
    inputs: str | Callable[[Attributes], Sequence[str]] = "data",
    *,
    aliases: str = "",
    auxiliary: str | Callable[[Attributes], Sequence[str]] = "",
    outputs: str | Callable[[Attributes], Sequence[str]] = "output",
    hidden: int | Callable[[Attributes], int] = 0,
    variadic: str = "",
    initial: Mapping[str, str] | None = None,
    loss: bool | Callable[[Attributes], bool] = False,
    random: bool = False,
    flat: str = "",
    hint: str = "",
    shapes: ShapeRule | None = None,
    types: TypeRule | None = None,
    further: bool = False,
    **kinds: Attribute,
) -> Callable[[Body], Operator]:
    """Decorator: declare an operator by the body that follows.

    name:       MXNet's name, as in symbol.json
    inputs:     names, separated by blanks; or a function of the attributes, where those decide
    aliases:    other names that files and calls use
    auxiliary:  the inputs that are states, not arguments (running means), as `inputs`
    outputs:    names of the visible outputs, or a function of the attributes that gives them
    hidden:     the number of outputs behind the visible ones that count in symbol.json alone
    variadic:   the attribute that holds the number of inputs (`num_args`), for inputs arg0, arg1, …
    initial:    input -> the `__init__` attribute of a variable there that has none
    loss:       whether its gradient is its own and ignores the head gradient; or a function
    random:     whether it draws random numbers
    flat:       the inputs that get no gradient by declaration (labels, indices)
    hint:       the stem of automatic names; when omitted, the name in lower case
    shapes:     the rule of shape inference; see `Operator.shapes`
    types:      the types of inputs and outputs, by the attributes and the first input's type; when
                omitted, all have that type, and outputs that of the attribute `dtype`
    further:    whether it takes attributes beside those of `kinds`, as texts
    kinds:      the attributes

    Raises ValueError for a name that is taken.
    """
    listed = tuple(inputs.split()) if isinstance(inputs, str) else None
    named = tuple(outputs.split()) if isinstance(outputs, str) else None
    states = tuple(auxiliary.split()) if isinstance(auxiliary, str) else None

    def declare(body: Body) -> Operator:
        declared = Operator(
            name,
            body,
            dict(kinds),
            (lambda _: listed) if listed is not None else inputs,  # type: ignore[arg-type]  # either is callable
            tuple(aliases.split()),
            (lambda _: states) if states is not None else auxiliary,  # type: ignore[arg-type]  # either is callable
            (lambda _: named) if named is not None else outputs,  # type: ignore[arg-type]  # either is callable
            (lambda _: hidden) if isinstance(hidden, int) else hidden,
            variadic,
            dict(initial or {}),
            (lambda _: loss) if isinstance(loss, bool) else loss,
            random,
            frozenset(flat.split()),
            hint or name.lower(),
            shapes,
            types,
            further,
        )
        for known in (name, *declared.aliases):
            if known in _by_name:
                raise ValueError(f"operator {known!r} is {_by_name[known].name}'s name already")
            _by_name[known] = declared
        _operators[name] = declared
        return declared

    return declare


def operators() -> dict[str, Operator]:
    """Every operator by MXNet's name, without aliases."""
    return dict(_operators)


# Operators of sparse arrays have a name more; storage is dense inside here.
SPARSE = "_sparse_"
CONTROL_FLOW = {"_foreach", "_while_loop", "_cond"}
FILES = {"_cvimdecode": "mx.image.imdecode", "_cvimread": "mx.image.imread"}
OF_NUMPY = ("_np_", "_npi_", "_npx_")
FUSED = ("_sg_", "_FusedOp", "_TensorRT")
QUANTIZED = ("_contrib_quantized_", "_contrib_calibrate_")
NATIVE = {"_Native", "_NDArray", "_CachedOp", "_CustomFunction"}


def find_operator(name: str, node: str = "") -> Operator:
    """The operator of a name or alias.  Raises MXNetError that says what is nearest, or why not."""
    found = _by_name.get(name) or _by_name.get(name.removeprefix(SPARSE))
    if found is not None:
        return found
    place = f" (node {node!r})" if node else ""
    if name in CONTROL_FLOW:
        raise MXNetError(f"operator {name}{place} runs subgraphs, which are not supported")
    if name in NATIVE:
        raise MXNetError(
            f"operator {name}{place} runs Python code that no file holds: register it with "
            "mx.operator.register, and compose the symbol in your script"
        )
    if name in FILES:
        raise MXNetError(f"operator {name}{place} reads a picture's file: call {FILES[name]}")
    if name.startswith(OF_NUMPY):
        raise MXNetError(
            f"operator {name}{place} belongs to mx.np and mx.npx, which are out of scope"
        )
    if name.startswith(FUSED):
        raise MXNetError(
            f"operator {name}{place} holds a fused part of a graph: save the symbol from before "
            "its backend (get_backend_symbol, optimize_for) changed it"
        )
    if name.startswith(QUANTIZED):
        raise MXNetError(
            f"operator {name}{place} is one of MXNet's quantized graphs that is not here: load the "
            "symbol from before quantize_model, and quantize the module here (nn.quantize)"
        )
    near = get_close_matches(name, _by_name, 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise MXNetError(f"unknown operator {name!r}{place}{hint}")
