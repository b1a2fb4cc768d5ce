"""MXNet's models: prefix-symbol.json with prefix-0001.params, as modules.

    model = nn.load("lenet-0010.params")  # a SymbolModule, if lenet-symbol.json lies beside it
    nn.save(model, "again-0000.params")   # again-symbol.json and again-0000.params

A .params file without a symbol, such as Gluon's `save_parameters` writes, is a dict of arrays, or
a list where they have no names.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tapegrad.nn.core import files
from tapegrad.nn.core.places import beside, exists, file_name, names_beside
from tapegrad.nn.formats.common.errors import (
    FormatError,
    LimitError,
    Limits,
    UnsupportedError,
)
from tapegrad.nn.formats.common.names import names_of_classes
from tapegrad.nn.formats.mxnet.arrays import LIST, mapped_file, read_arrays, save_arrays, write_file
from tapegrad.nn.formats.mxnet.layers import module_of_symbol
from tapegrad.nn.formats.mxnet.writing import symbol_module_of
from tapegrad.nn.mxnet.declaration import find_operator
from tapegrad.nn.mxnet.errors import MXNetError
from tapegrad.nn.mxnet.symbol.json_text import graph_from_json
from tapegrad.nn.mxnet.symbol.symbol import Symbol
from tapegrad.nn.mxnet.symbol_module import SymbolModule

if TYPE_CHECKING:
    import numpy as np

    from tapegrad.nn.module import Module
    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray

__all__ = ["describe", "load", "read_symbol", "save"]

_PARAMS = re.compile(r"(.*)-(\d{4,})\.params$", re.DOTALL)
_SYMBOL = "-symbol.json"
_MAGIC = LIST.to_bytes(8, "little")
_PRICE = 100  # bytes of an object of Python
# Attributes that say how many inputs or outputs an operator has, and how many digits they have.
_COUNTED = ("num_args", "num_outputs", "num_inputs", "num_weights", "num_arrays", "sections")
_LONGEST = 5
_MOST_MADE = 10_000  # inputs and outputs, all together, beside as many as the file has objects
SURPLUS = "{file} has arrays that the symbol has no variables for: {names}"
ONLY_SYMBOLS = (
    "a mxnet.SymbolModule, or an example of the input: nn.save(module, 'm-0000.params', inputs=x)"
)


def load(
    path: str | os.PathLike[str] | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Limits | None = None,
) -> Any:
    """The model of a checkpoint: a SymbolModule; without a symbol the arrays, by name.

    path: prefix-0001.params, or prefix-symbol.json, to which the params of the highest number
          belong; or the bytes of a .params file
    Raises FormatError or one of its children for the content, OSError for a file itself, TypeError
    for `classes`: such files have none.
    """
    if names_of_classes(classes):
        raise TypeError("MXNet's files have no classes: leave `classes` out")
    limits = limits or Limits()
    if isinstance(path, bytes):
        return _arrays(read_arrays(path, None, limits))
    symbol, params = _pair(os.fspath(path))
    arrays = read_arrays(mapped_file(params, limits), params, limits)
    if symbol is None:
        return _arrays(arrays)
    graph = read_symbol(bytes(mapped_file(symbol, limits)[:]), symbol, limits)
    return _module(graph, arrays, params)


def _pair(path: str) -> tuple[str | None, str]:
    """(symbol.json or None, .params) of a model, from the name of either."""
    name = file_name(path)
    if name.endswith(_SYMBOL):
        prefix = name.removesuffix(_SYMBOL)
        found = []
        for other in names_beside(path):
            match = _PARAMS.match(other)
            if match and match[1] == prefix:
                found.append((int(match[2]), other))
        if not found:
            raise FormatError(f"{prefix}-0000.params beside it", file=path)
        return path, beside(path, max(found)[1])
    match = _PARAMS.match(name)
    symbol = beside(path, match[1] + _SYMBOL) if match else None
    return (symbol if symbol is not None and exists(symbol) else None), path


def _arrays(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: x.tensor.numpy() for name, x in found.items()}
    return [x.tensor.numpy() for x in found]


def read_symbol(data: bytes, place: str | None = None, limits: Limits | None = None) -> Symbol:
    """The symbol of the bytes of symbol.json.

    Raises UnsupportedError for an operator that is not here, LimitError for too many nodes,
    FormatError for anything else that is wrong.
    """
    limits = limits or Limits()
    size = sum(data.count(c) for c in (b"{", b"[", b","))
    most = min(limits.max_nodes, limits.overhead(len(data)) // _PRICE)
    if size > most:
        raise LimitError(f"at most {most} objects", size, file=place)
    try:
        text = data.decode("utf-8")
        _check(json.loads(text), place, size)
        symbol = Symbol(graph_from_json(text, place or "symbol.json"))
        for node in symbol.nodes:
            _ = node.read, node.output_names
    except FormatError:
        raise
    except (MXNetError, ValueError, TypeError, KeyError, IndexError, ArithmeticError) as error:
        raise FormatError(f"a symbol: {error!s:.300}", file=place) from error
    except RecursionError as error:
        raise LimitError("a text that nests less deep", file=place) from error
    return symbol


def _check(found: Any, place: str | None, size: int) -> None:
    """Refuse operators that are not here, and numbers of inputs and outputs that nobody has.

    size: how many objects the text has; inputs that it does not name are made, a node for each
    """
    counted_all = 0
    nodes = found.get("nodes") if isinstance(found, dict) else None
    known = {"null"}
    for node in nodes if isinstance(nodes, list) else ():
        if not isinstance(node, dict):
            continue
        name = node.get("op")
        if isinstance(name, str) and name not in known:
            try:
                find_operator(name, str(node.get("name", ""))[:100])
            except MXNetError as error:
                raise UnsupportedError(f"operators that are here: {error}", file=place) from error
            known.add(name)
        for key in ("param", "attr", "attrs"):
            part = node.get(key)
            if not isinstance(part, dict):
                continue
            for counted in _COUNTED:
                value = str(part.get(counted, ""))
                if len(value) > _LONGEST:
                    raise LimitError(f"{counted} of {_LONGEST} digits", value[:40], file=place)
                counted_all += int(value) if value.isascii() and value.isdigit() else 0
                if counted_all > _MOST_MADE + size:
                    expected = f"at most {_MOST_MADE + size} inputs and outputs of such a file"
                    raise LimitError(expected, counted_all, file=place)


def _module(graph: Symbol, arrays: Any, place: str) -> SymbolModule:
    if not isinstance(arrays, dict) and arrays:
        raise FormatError("arrays with names, for a symbol", f"{len(arrays)} without", file=place)
    states = set(graph.list_auxiliary_states())
    variables = set(graph.list_inputs())
    arg, aux, surplus = {}, {}, []
    for key, value in dict(arrays).items():  # a file of no arrays is an empty list
        name = key.removeprefix("arg:").removeprefix("aux:")  # Gluon's names have neither
        if name in states:
            aux[name] = value
        elif name in variables:
            arg[name] = value
        else:
            surplus.append(key)
    try:
        module = SymbolModule(graph, arg, aux, copy=False)
    except (MXNetError, ValueError, TypeError) as error:
        raise FormatError(f"parameters for the symbol: {error!s:.300}", file=place) from error
    if surplus:
        shown = ", ".join(f"{name:.60}" for name in surplus[:5])
        warnings.warn(SURPLUS.format(file=place, names=shown), stacklevel=3)
    return module


def save(module: Module, path: str | os.PathLike[str]) -> None:
    """Write a SymbolModule: prefix-symbol.json, and prefix-0000.params of the number in the name.

    Each file appears whole or not at all, the symbol first.
    Raises UnsupportedError for another module, or a name that is neither; OSError.
    """
    if not isinstance(module, SymbolModule):
        raise UnsupportedError(ONLY_SYMBOLS, type(module).__name__)
    place = os.fspath(path)
    name = file_name(place)
    if name.endswith(_SYMBOL):
        prefix, params = name.removesuffix(_SYMBOL), None
    else:
        match = _PARAMS.match(name)
        if match is None:
            raise UnsupportedError("a name like prefix-0000.params", name)
        prefix, params = match[1], place
    parameters, states = module.variables()
    found = {f"arg:{name}": x for name, x in parameters.items()}
    found |= {f"aux:{name}": x for name, x in states.items()}
    write_file(beside(place, prefix + _SYMBOL), module.symbol_text.encode())
    save_arrays(params or beside(place, f"{prefix}-0000.params"), found)


def describe(
    path: str | os.PathLike[str] | bytes, limits: Limits | None = None
) -> Iterator[tuple[int, str, str, dict[str, np.ndarray]]]:
    """(depth, name, what it is, its arrays) of each line of `tapegrad show`; nothing is run.

    The symbol's operators with the parameters that they take first, or the arrays alone.
    Raises FormatError for the content, OSError for a file itself.
    """
    limits = limits or Limits()
    symbol, params = (None, None) if isinstance(path, bytes) else _pair(os.fspath(path))
    data = path if isinstance(path, bytes) else mapped_file(params or path, limits)
    arrays = read_arrays(data, params, limits)
    if not isinstance(arrays, dict):
        arrays = {f"[{i}]": x for i, x in enumerate(arrays)}
    left: dict[str, NDArray] = {
        key.removeprefix("arg:").removeprefix("aux:"): x for key, x in arrays.items()
    }
    if symbol is not None:
        for node in read_symbol(bytes(mapped_file(symbol, limits)[:]), symbol, limits).nodes:
            if node.op is None:
                if node.name not in left:
                    yield 0, node.name, "input", {}
                continue
            own = {}
            for child, _ in node.inputs:
                if child.op is None and child.name in left:
                    own[child.name] = left.pop(child.name).tensor.numpy()
            settings = ", ".join(
                f"{key} {value:.40}" for key, value in sorted(node.attrs.items()) if key[:2] != "__"
            )
            yield 0, node.name, node.op.name + (f" ({settings})" if settings else ""), own
    for name, x in left.items():
        yield 0, name, "", {"": x.tensor.numpy()}


def _recognises(first: bytes) -> bool:
    return first[:8] == _MAGIC


def _save_from(module: Module, inputs: Any, path: str | os.PathLike[str]) -> None:
    """Write any module whose layers MXNet has operators for."""
    known = isinstance(module, SymbolModule)
    save(module if known else symbol_module_of(module, inputs), path)


files.register_format(
    files.FileFormat(
        "mxnet",
        (".params",),
        load,
        save,
        _recognises,
        shared=(".json", ".nd"),
        describe=describe,
        save_from=_save_from,
        as_layers=module_of_symbol,
    )
)
