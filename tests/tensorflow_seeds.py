"""Small graphs of TensorFlow, and mutants of their nodes, for fuzz_formats.py.

A changed byte of a message is mostly a wrong length, which the walker of protobuf finds.  So most
mutants here change the messages and are written again: other operators, inputs, attributes, shapes.
"""

from __future__ import annotations

import contextlib
import functools
import io
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["load", "made", "mutant", "recorded"]

MODELS = Path(__file__).parent / "data" / "bigdl_models"
SMALL = 4_000  # bytes of a recorded graph that is a seed

Seed = tuple[bytes, list[tuple[int, int, bool]], str]


def recorded() -> Iterator[Seed]:
    """BigDL's graphs."""
    for path in sorted(MODELS.glob("*/model.pb")):
        if path.stat().st_size < SMALL:
            yield path.read_bytes(), [], f"{path.parent.name}.pb"


def made() -> Iterator[Seed]:
    """What is written of all architectures, and each operator by itself."""
    from architectures import ARCHITECTURES
    from test_tensorflow_reading import OPERATORS, graph_of

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.pb"
        for name, make in ARCHITECTURES.items():
            module, shape = make()
            module.saveTF([("the_input", shape)], path)
            yield path.read_bytes(), [], f"{name}.pb"
    for name, (build, _) in OPERATORS.items():
        yield graph_of(build), [], f"{name}.pb"


def load(data: bytes) -> Any:
    """The module of a graph."""
    from tapegrad.nn.formats import tensorflow

    return tensorflow.load(data)


class _Node:
    """A node of a seed: its bytes as a field of the graph, and its message once it is asked for."""

    def __init__(self, data: bytes) -> None:
        self.data, self.graph = data, None

    def message(self) -> Any:
        if self.graph is None:
            self.graph = _schema().read(self.data, "GraphDef")
        return self.graph.node[0]

    def written(self) -> bytes:
        return self.data if self.graph is None else _written(self.graph)


def _schema() -> Any:
    from tapegrad.nn.formats.tensorflow.fields import SCHEMA

    return SCHEMA


def _written(graph: Any) -> bytes:
    out = io.BytesIO()
    _schema().write(graph, out)
    return out.getvalue()


@functools.cache
def _parts(data: bytes) -> tuple[list[bytes], bytes]:
    """The nodes of a graph, each as a field of it, and what comes after them.

    Most of a mutant's nodes are those of its seed, whose bytes need not be made again.
    """
    graph = _schema().read(data, "GraphDef")
    nodes = [_written(_schema().new("GraphDef", node=[node])) for node in graph.node]
    del graph.node
    return nodes, _written(graph)


def mutant(rng: random.Random, data: bytes, boundaries: tuple[int, ...]) -> bytes:
    """The graph with one to four changes in its nodes."""
    parts, rest = _parts(data)
    nodes = [_Node(part) for part in parts]
    for _ in range(rng.choice((1, 1, 2, 4))):
        with contextlib.suppress(LookupError, ValueError, TypeError, AttributeError):
            _change(rng, nodes, rng.choice(nodes).message(), boundaries)
    with contextlib.suppress(ValueError, TypeError):  # what no message can hold
        return b"".join([*(node.written() for node in nodes), rest])
    return b""


def _change(rng: random.Random, nodes: list[_Node], node: Any, boundaries: tuple[int, ...]) -> None:
    from tapegrad.nn.formats.tensorflow.operators import TABLE

    other = rng.choice(nodes).message()
    kind = rng.randrange(9)
    if kind == 0:
        rows = [operator.name for operator in TABLE]
        node.op = rng.choice([*rows, other.op])
    elif kind == 1:
        node.input = list(node.input)
        node.input[rng.randrange(len(node.input))] = other.name + rng.choice(("", "", ":1"))
    elif kind == 2:
        node.input = [*node.input, other.name] if rng.random() < 0.5 else list(node.input)[:-1]
    elif kind == 3:
        del nodes[rng.randrange(len(nodes))]
    elif kind == 4:
        node.attr = {
            **node.attr,
            rng.choice(list(other.attr)): rng.choice(list(other.attr.values())),
        }
    elif kind == 5:
        attr = dict(node.attr)
        attr.pop(rng.choice(list(attr)))
        node.attr = attr
    else:
        _change_value(rng, node, boundaries)


def _change_value(rng: random.Random, node: Any, boundaries: tuple[int, ...]) -> None:
    """A number in an attribute: of a list, of a shape, of a tensor."""
    value = rng.choice(list(node.attr.values()))
    number = rng.choice(boundaries)
    which = value.which("value")
    if which == "list":
        numbers = list(value.list.i)
        numbers[rng.randrange(len(numbers))] = number
        value.list.i = numbers
    elif which == "i":
        value.i = number
    elif which == "f":
        value.f = rng.choice((float("nan"), float("inf"), -1.0, 0.0))
    elif which == "b":
        value.b = not value.b
    elif which == "type":
        value.type = rng.choice((0, 1, 2, 3, 7, 9, 14, 19, 20, 101))
    elif which == "s":
        value.s = rng.choice((b"SAME", b"VALID", b"EXPLICIT", b"NCHW", b"NHWC", b"", b"\xff"))
    elif which == "shape":
        dims = list(value.shape.dim)
        dims[rng.randrange(len(dims))] = _schema().new("Dim", size=number)
        value.shape.dim = dims[: rng.choice((len(dims), 1))]
    elif which == "tensor":
        tensor = value.tensor
        raw = bytearray(bytes(tensor.tensor_content))
        part = rng.randrange(4)
        if part == 0 and raw:
            at = rng.randrange(0, len(raw), 4)
            raw[at : at + 4] = (number % 2**32).to_bytes(4, "little")
            tensor.tensor_content = bytes(raw)
        elif part == 1:
            dims = list(tensor.tensor_shape.dim)
            dims[rng.randrange(len(dims))] = _schema().new("Dim", size=number)
            tensor.tensor_shape.dim = dims
        elif part == 2:
            tensor.dtype = rng.choice((0, 1, 2, 3, 4, 7, 9, 10, 14, 19, 20))
        else:
            tensor.tensor_content = bytes(raw[: rng.randrange(len(raw) + 1)])
            tensor.int_val = [number % 2**31]
