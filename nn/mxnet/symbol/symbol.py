"""Symbol: some outputs of a graph, as MXNet's users hold them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad.nn.core.services import service
from tapegrad.nn.mxnet.attributes import text_of, with_bare_names
from tapegrad.nn.mxnet.declaration import find_operator
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.symbol.compose import apply_operator
from tapegrad.nn.mxnet.symbol.graph import Output, SymbolNode, in_order, output_name, states_of
from tapegrad.nn.mxnet.symbol.inference import (
    TYPE_FLAGS,
    Shapes,
    infer_shapes,
    infer_types,
    known_all,
)
from tapegrad.nn.mxnet.symbol.json_text import graph_from_json, graph_to_json
from tapegrad.nn.mxnet.symbol.naming import current_attributes
from tapegrad.nn.mxnet.symbol.overloading import SymbolOperators

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.executor import Executor
    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
    from tapegrad.nn.mxnet.types import DTypeLike, InitializerName


__all__ = ["Group", "Symbol", "Variable", "load", "load_json", "var"]

ShapesFound = tuple[list[Any] | None, list[Any] | None, list[Any] | None]


class Symbol(SymbolOperators):
    """One or several outputs of a graph of operators.  Source: mx.symbol.Symbol."""

    __slots__ = ("heads",)

    def __init__(self, heads: Sequence[Output]):
        self.heads = tuple(heads)

    def _call(self, operator: str, function: str, args: Sequence[Any], settings: Any) -> Symbol:
        return from_operator(operator, function, args, settings)

    # What it is

    @property
    def name(self) -> str | None:
        """The node's name; None for a group."""
        return self.heads[0][0].name if len(self.heads) == 1 else None

    @property
    def nodes(self) -> list[SymbolNode]:
        """All nodes, each behind its inputs."""
        return in_order(self.heads)

    def list_arguments(self) -> list[str]:
        """The names of the variables that are no states, in the order in which they are needed."""
        nodes = self.nodes
        states = states_of(nodes)
        return [n.name for n in nodes if n.op is None and id(n) not in states]

    def list_auxiliary_states(self) -> list[str]:
        """The names of the states, such as running means."""
        nodes = self.nodes
        states = states_of(nodes)
        return [n.name for n in nodes if id(n) in states]

    def list_inputs(self) -> list[str]:
        """The names of all variables."""
        return [n.name for n in self.nodes if n.op is None]

    def list_outputs(self) -> list[str]:
        """The names of the outputs, as "softmax_output"."""
        return [output_name(head) for head in self.heads]

    def __repr__(self) -> str:
        if len(self.heads) == 1:
            return f"<Symbol {self.name}>"
        return f"<Symbol group [{', '.join(head[0].name for head in self.heads)}]>"

    def __iter__(self) -> Iterator[Symbol]:
        return (Symbol([head]) for head in self.heads)

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def num_outputs(self) -> int:
        """The number of outputs."""
        return len(self.heads)

    def __getitem__(self, index: int | slice | str) -> Symbol:
        """One output, by number or by name ("fc1" is found as "fc1_output" too).

        Raises ValueError for an unknown or an ambiguous name, IndexError for a number out of range.
        """
        if isinstance(index, str):
            names = self.list_outputs()
            found = [i for i, name in enumerate(names) if name == index]
            if not found:
                near = get_close_matches(index, names, 3)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                raise ValueError(f"Cannot find output that matches name {index!r}{hint}")
            if len(found) > 1:
                raise ValueError(f"There are multiple outputs with name {index!r}")
            index = found[0]
        if isinstance(index, slice):
            return Symbol(self.heads[index])
        if not -len(self.heads) <= index < len(self.heads):
            raise IndexError(f"Index {index} is out of range of {len(self.heads)} outputs")
        return Symbol([self.heads[index]])

    def get_internals(self) -> Symbol:
        """The outputs of all nodes below, variables included, each to be found by name."""
        return Symbol([(n, i) for n in self.nodes for i in range(len(n.output_names))])

    def get_children(self) -> Symbol | None:
        """The inputs of the nodes of the outputs; None where they have none."""
        found = [entry for node, _ in self.heads for entry in node.inputs]
        return Symbol(found) if found else None

    # Attributes

    def attr(self, key: str) -> str | None:
        """An attribute's text, or None.  ``attr("lr_mult")`` finds `__lr_mult__` too.

        Raises ValueError for a group.
        """
        if len(self.heads) != 1:
            raise ValueError("a group has no attributes of its own: take one output, sym[0].attr()")
        attrs = self.heads[0][0].attrs
        return attrs.get(key, attrs.get(f"__{key}__"))

    def list_attr(self, recursive: bool = False) -> dict[str, str]:
        """The node's attributes.  Raises ValueError for `recursive`: use attr_dict()."""
        if recursive:
            raise ValueError("list_attr(recursive=True) is gone from MXNet: use attr_dict()")
        return dict(self.heads[0][0].attrs)

    def attr_dict(self) -> dict[str, dict[str, str]]:
        """Node name -> attributes, of the nodes that have some; __lr_mult__ as lr_mult, too."""
        return {node.name: with_bare_names(node.attrs) for node in self.nodes if node.attrs}

    def _set_attr(self, **attributes: str) -> None:
        """Set attributes of the node.  Raises ValueError for a value that is no text."""
        for key, value in attributes.items():
            if not isinstance(value, str):
                raise ValueError("Set Attr only accepts string values")  # noqa: TRY004  # MXNet's type
            self.heads[0][0].attrs[key] = value

    # Composition

    def __call__(self, *args: Symbol, name: str | None = None, **inputs: Symbol) -> Symbol:
        """A copy of the graph in which variables are replaced: by name, or in order."""
        copied = self.__copy__()
        if args and inputs:
            raise TypeError(
                "compose accepts input Symbols either as positional or keyword arguments, not both"
            )
        variables = [n for n in copied.nodes if n.op is None]
        if len(args) > len(variables):
            raise MXNetError(f"compose: {len(args)} inputs for {len(variables)} variables")
        by_name = dict(zip((v.name for v in variables), args, strict=False)) | inputs
        for key, value in by_name.items():
            if not isinstance(value, Symbol) or len(value.heads) != 1:
                raise TypeError(f"compose: {key} must be a Symbol with one output")
            if key not in {v.name for v in variables}:
                raise MXNetError(f"compose: there is no variable {key!r}")
        for node in copied.nodes:
            node.inputs = [
                by_name[n.name].heads[0] if n.op is None and n.name in by_name else (n, i)
                for n, i in node.inputs
            ]
        if name:
            copied.heads[0][0].name = name
        return copied

    def __copy__(self) -> Self:
        twins: dict[int, SymbolNode] = {}
        for node in self.nodes:
            inputs = [(twins[id(n)], i) for n, i in node.inputs]
            twins[id(node)] = SymbolNode(node.op, node.name, dict(node.attrs), inputs)
        return type(self)([(twins[id(n)], i) for n, i in self.heads])

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[Callable[..., Symbol], tuple[str]]:
        return load_json, (self.tojson(),)

    # Shapes and types

    def infer_shape(self, *args: Any, **shapes: Sequence[int]) -> ShapesFound:
        """Shapes of (arguments, outputs, states) from some arguments'; all None if some is unknown.

        Raises MXNetError where shapes contradict each other, with the node.
        """
        found = self._shapes(args, shapes)
        result = self._by_kind(found)
        if all(known_all(part) for part in result):
            return result
        unknown = found.unknown()
        warnings.warn(
            f"Cannot decide shape for the following arguments ({', '.join(unknown)}). "
            f"Consider providing them as input: {found.missing()}",
            stacklevel=2,
        )
        return None, None, None

    def infer_shape_partial(self, *args: Any, **shapes: Sequence[int]) -> ShapesFound:
        """As `infer_shape`, with () or zeros for what is unknown."""
        found = self._by_kind(self._shapes(args, shapes))
        return tuple([shape or () for shape in part] for part in found)  # type: ignore[return-value]  # three lists

    def _shapes(self, args: tuple[Any, ...], shapes: Mapping[str, Sequence[int]]) -> Shapes:
        if args and shapes:
            raise ValueError(
                "Can only specify known argument shapes either by positional or kwargs way."
            )
        given = {n: s for n, s in zip(self.list_arguments(), args, strict=False) if s is not None}
        return infer_shapes(self.heads, {**given, **shapes})

    def shapes(self, given: Mapping[str, Sequence[int]]) -> Shapes:
        """All that follows from the shapes of some variables; see `Shapes`."""
        return infer_shapes(self.heads, given)

    def types(self, given: Mapping[str, Any]) -> dict[tuple[int, int], Any]:
        """The types of all outputs, by (id of the node, number of the output)."""
        return infer_types(self.heads, given)

    def _by_kind(self, found: Shapes) -> tuple[list[Any], list[Any], list[Any]]:
        states = states_of(found.nodes)
        variables = [n for n in found.nodes if n.op is None]
        arguments = [found[n, 0] for n in variables if id(n) not in states]
        auxiliary = [found[n, 0] for n in variables if id(n) in states]
        return arguments, [found[head] for head in self.heads], auxiliary

    def infer_type(self, *args: Any, **types: Any) -> tuple[list[Any], list[Any], list[Any]]:
        """Types of (arguments, outputs, states), as NumPy's classes, from some arguments'."""
        given = {n: t for n, t in zip(self.list_arguments(), args, strict=False) if t is not None}
        found = infer_types(self.heads, {**given, **types})
        nodes = self.nodes
        states = states_of(nodes)
        variables = [n for n in nodes if n.op is None]
        return (
            [found[id(n), 0].type for n in variables if id(n) not in states],
            [found[id(n), i].type for n, i in self.heads],
            [found[id(n), 0].type for n in variables if id(n) in states],
        )

    def debug_str(self) -> str:
        """The graph as text: outputs, variables, and each operator with inputs and attributes."""
        lines = ["Symbol Outputs:"]
        lines += [f"\toutput[{k}]={node.name}({i})" for k, (node, i) in enumerate(self.heads)]
        for node in self.nodes:
            if node.op is None:
                lines.append(f"Variable:{node.name}")
                continue
            lines += ["--------------------", f"Op:{node.op.name}, Name={node.name}", "Inputs:"]
            lines += [
                f"\targ[{k}]={child.name}({i})" + " version=0" * (child.op is None)
                for k, (child, i) in enumerate(node.inputs)
            ]
            if node.attrs:
                lines += ["Attrs:", *(f"\t{k}={v}" for k, v in sorted(node.attrs.items()))]
        return "\n".join(lines) + "\n"

    # Files

    def tojson(self, remove_amp_cast: bool = True) -> str:
        """The text of symbol.json, as MXNet 1.9.1 writes it."""
        return graph_to_json(_without_amp_cast(self).heads if remove_amp_cast else self.heads)

    def save(self, fname: str | Path, remove_amp_cast: bool = True) -> None:
        """Write symbol.json."""
        Path(fname).write_text(self.tojson(remove_amp_cast), encoding="utf-8")

    # Execution: the executors stand above

    def bind(self, *args: Any, **settings: Any) -> Executor:
        """An executor on given arrays.  Source: mx.symbol.Symbol.bind."""
        return service("mxnet.bind")(self, *args, **settings)

    def simple_bind(self, *args: Any, **settings: Any) -> Executor:
        """An executor on arrays of inferred shapes.  Source: mx.symbol.Symbol.simple_bind."""
        return service("mxnet.simple_bind")(self, *args, **settings)

    def eval(self, *args: Any, **arrays: Any) -> list[NDArray]:
        """The outputs for arrays by name, once.  Source: mx.symbol.Symbol.eval."""
        return service("mxnet.eval")(self, *args, **arrays)

    def grad(self, wrt: Any) -> Any:
        """Not in MXNet either: bind an executor and call its backward."""
        raise NotImplementedError("Symbol.grad does nothing in MXNet; bind and call backward()")


def _without_amp_cast(symbol: Symbol) -> Symbol:
    """The graph without its `amp_cast` nodes, which mixed precision adds."""
    if not any(n.op is not None and n.op.name == "amp_cast" for n in symbol.nodes):
        return symbol
    copied = symbol.__copy__()

    def past(entry: Output) -> Output:
        while entry[0].op is not None and entry[0].op.name == "amp_cast":
            entry = entry[0].inputs[0]
        return entry

    for node in copied.nodes:
        node.inputs = [past(entry) for entry in node.inputs]
    return Symbol([past(head) for head in copied.heads])


def var(
    name: str,
    attr: dict[str, str] | None = None,
    shape: Sequence[int] | None = None,
    lr_mult: float | None = None,
    wd_mult: float | None = None,
    dtype: DTypeLike | None = None,
    init: InitializerName = None,
    stype: str | None = None,
    profiler_scope: str | None = None,
    **kwargs: str,
) -> Symbol:
    """A variable: an array that is given when the graph runs.  Source: mx.symbol.var.

    Raises TypeError for a name that is no text, ValueError for keyword arguments that are not of
    the form __name__.
    """
    if not isinstance(name, str):
        raise TypeError("Expect a string for variable `name`")
    attrs = {
        k if k.startswith("__") else f"__{k}__": v for k, v in current_attributes(attr).items()
    }
    given = {
        "shape": shape,
        "lr_mult": lr_mult,
        "wd_mult": wd_mult,
        "profiler_scope": profiler_scope,
    }
    if shape is not None:
        given["shape"] = str(tuple(shape))
    attrs |= {f"__{key}__": text_of(value) for key, value in given.items() if value is not None}
    if dtype is not None:
        attrs["__dtype__"] = str(_flag(dtype))
    if init is not None:
        attrs["__init__"] = init if isinstance(init, str) else init.dumps()
    if stype is not None:
        attrs["__storage_type__"] = str({"default": 0, "row_sparse": 1, "csr": 2}[stype])
    for key, value in kwargs.items():
        if not (key.startswith("__") and key.endswith("__")):
            raise ValueError(
                f"Attribute name={key} is not supported. Additional attributes must start and end "
                "with double underscores, e.g, __yourattr__"
            )
        attrs[key] = value
    return Symbol([(SymbolNode(None, name, attrs), 0)])


def _flag(dtype: Any) -> int:
    return TYPE_FLAGS.index(np.dtype(dtype).name)


Variable = var


def Group(symbols: Sequence[Symbol]) -> Symbol:
    """All outputs of several symbols as one.  Raises TypeError for what is no Symbol."""
    if not symbols or not all(isinstance(symbol, Symbol) for symbol in symbols):
        raise TypeError("Expected a list of symbols as input")
    return Symbol([head for symbol in symbols for head in symbol.heads])


def load_json(text: str) -> Symbol:
    """The symbol of a text.  Raises MXNetError as `graph_from_json` says."""
    if not isinstance(text, str):
        raise TypeError("fname required to be string")
    return Symbol(graph_from_json(text))


def load(fname: str | Path) -> Symbol:
    """The symbol of a file.  Raises MXNetError as `graph_from_json` says, OSError."""
    return Symbol(graph_from_json(Path(fname).read_text(encoding="utf-8"), str(fname)))


def from_operator(name: str, function: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Symbol:
    """The symbol of a call ``mx.sym.NAME(*args, **kwargs)``; see `functions`."""
    op = find_operator(name)
    node_name, attributes = kwargs.pop("name", None), kwargs.pop("attr", None)
    symbols: list[Output] = []
    rest = list(args)
    while rest and (isinstance(rest[0], Symbol) or _all_symbols(rest[0])):
        first = rest.pop(0)
        for one in [first] if isinstance(first, Symbol) else first:
            symbols += _one(one, op.name) if not op.variadic else list(one.heads)
    for key, value in zip(op.kinds, rest, strict=False):
        kwargs.setdefault(key, value)
    if len(rest) > len(op.kinds):
        raise TypeError(f"{function}: too many arguments")
    named = {k: _one(v, op.name)[0] for k, v in kwargs.items() if isinstance(v, Symbol)}
    settings = {k: v for k, v in kwargs.items() if not isinstance(v, Symbol)}
    node = apply_operator(
        op, symbols, named, settings, name=node_name, hint=function.lower(), attributes=attributes
    )
    return Symbol([(node, i) for i in range(len(node.output_names))])


def _all_symbols(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(v, Symbol) for v in value)
    )


def _one(symbol: Symbol, owner: str) -> list[Output]:
    if len(symbol.heads) != 1:
        names = ", ".join(symbol.list_outputs())
        raise MXNetError(f"{owner}: an input has {len(symbol.heads)} outputs ({names}): take one")
    return list(symbol.heads)


def initializer_of(text: str) -> tuple[str, dict[str, Any]]:
    """("xavier", {…}) from an `__init__` attribute.  Raises MXNetError for another text."""
    try:
        name, settings = json.loads(text)
    except (ValueError, TypeError) as error:
        raise MXNetError(f"an __init__ attribute is [name, settings], not {text!r}") from error
    return str(name).lower(), dict(settings)
