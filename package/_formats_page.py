"""The page docs/formats.md: `python -m tapegrad._formats_page > docs/formats.md` writes it.

Everything in its tables is asked of the registries of the formats, so that the page cannot say what
the code does not do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tapegrad.nn import containers, criterions, layers, recurrent
from tapegrad.nn.core import files
from tapegrad.nn.formats.bigdl import files as bigdl_files
from tapegrad.nn.formats.bigdl.reasons import NOT_WRITTEN
from tapegrad.nn.formats.caffe import table as caffe_table
from tapegrad.nn.formats.common.taking_apart import RULES
from tapegrad.nn.formats.mxnet.layers import PASSING, SYMBOL_LAYERS
from tapegrad.nn.formats.mxnet.writing import SYMBOL_WRITERS
from tapegrad.nn.formats.onnx import operators as onnx_operators
from tapegrad.nn.formats.onnx.calls import EXPORTERS
from tapegrad.nn.formats.onnx.in_layers import LINEAR, PLAIN, WITH_WEIGHTS
from tapegrad.nn.formats.onnx.out_modules import MODULES
from tapegrad.nn.formats.onnx.reasons import WITHOUT_ONNX
from tapegrad.nn.formats.tensorflow import operators as tensorflow_operators
from tapegrad.nn.formats.torch7 import files as torch7_files
from tapegrad.nn.module import Module

__all__ = ["page"]

INTRODUCTION = """\
# Model files: formats, layers and operators

This page is made by `python -m tapegrad._formats_page > docs/formats.md` of the registries that
readers and writers use; a test compares.

```text
tapegrad convert model.t7 model.onnx --input-shape 1,3,224,224 --check
tapegrad show model.onnx
```

`nn.load(path)` reads a file of any format: the first bytes say which, else the ending, else the
content. `nn.save(module, path)` writes the format of the ending; formats whose files say the shape
of the input take an example, `nn.save(module, path, inputs=x)`, and the command
`--input-shape`, unless IN states the shape. `--check` runs both models on the same random input and
prints the largest difference. `--weights FILE` takes the weights from a file of their own: BigDL's
weight file, the model of a Caffe definition, or arrays by name.

## Formats

| format | written as | read too | known by | takes an example | holds |
|---|---|---|---|---|---|
"""

_HOLDS = {
    "native": "every module; arrays by name",
    "torch7": "modules, tables, arrays",
    "bigdl": "modules",
    "caffe": "layers, by way of a network of them",
    "tensorflow": "operators, by way of a network of layers",
    "onnx": "operators, by recording a call",
    "mxnet": "symbols, read as a `SymbolModule`; arrays by name",
    "weights": "arrays by name",
}

LAYERS = """\

## Layers, out

What each format writes of the layers and criterions of `nn`; our own format writes all of them.
"for" is a layer that the format has and that does the same for inputs of the example's shape,
"edges" what becomes edges between layers, "no" is refused for a reason of its own; "1" is one
operator of ONNX, "n" several, by recording a call.

| | Torch7 | BigDL | Caffe | TensorFlow | MXNet | ONNX |
|---|---|---|---|---|---|---|
"""

MXNET = """\

MXNet's operators are those of [`nn.mxnet`](mxnet.md), which runs all of a symbol; these become
layers of `nn` on the way to other formats:
"""

OPERATORS = """\

## Operators, in and out

| {format} | in | out |
|---|---|---|
"""


def page() -> str:
    """The text of the page."""
    return "".join([
        INTRODUCTION,
        *_lines(_formats()),
        LAYERS,
        *_lines(_layers()),
        OPERATORS.format(format="Caffe"),
        *_lines(_of_table(caffe_table.TABLE)),
        OPERATORS.format(format="TensorFlow").replace("## Operators, in and out\n\n", ""),
        *_lines(_of_table(tensorflow_operators.TABLE)),
        MXNET,
        _code(sorted((*SYMBOL_LAYERS, *PASSING), key=str.lower)),
        ".\n",
        OPERATORS.format(format="ONNX").replace("## Operators, in and out\n\n", ""),
        *_lines(_of_onnx()),
    ])  # fmt: skip


def _lines(rows: Iterable[Iterable[str]]) -> Iterator[str]:
    for row in rows:
        yield f"| {' | '.join(row)} |\n"


def _formats() -> Iterator[list[str]]:
    for kind in files.formats():
        known = ["first bytes"] if kind.recognises else []
        known += ["content"] if kind.matches else []
        yield [
            kind.name,
            _code(kind.suffixes),
            _code(kind.shared),
            ", ".join([*known, "ending"]),
            "yes" if kind.save_from else "",
            _HOLDS.get(kind.name, ""),
        ]


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _classes() -> dict[str, type]:
    rooms = (containers, layers, recurrent, criterions)
    found = {name: getattr(room, name) for room in rooms for name in room.__all__}
    return {
        name: cls
        for name, cls in sorted(found.items())
        if isinstance(cls, type) and issubclass(cls, Module) and cls is not Module
    }


def _layers() -> Iterator[list[str]]:
    torch7, bigdl = set(torch7_files.known().values()), bigdl_files.written_classes()
    caffe = set(caffe_table.TABLE.written_classes())
    tensorflow = set(tensorflow_operators.TABLE.written_classes())
    for name, cls in _classes().items():
        criterion = issubclass(cls, criterions.Criterion)
        yield [
            f"`{name}`",
            _mark(cls, torch7, torch7_files.RULES),
            "no" if name in NOT_WRITTEN else _mark(cls, bigdl, bigdl_files.RULES),
            _mark(cls, caffe, {}, RULES),
            _mark(cls, tensorflow, {}, RULES),
            _mark(cls, set(SYMBOL_WRITERS), {}, RULES),
            "" if criterion else "no" if name in WITHOUT_ONNX else "1" if cls in MODULES else "n",
        ]


def _mark(
    cls: type, written: set[type], rules: Mapping[type, Any], edges: Iterable[type] = ()
) -> str:
    if cls in written:
        return "yes"
    return "for" if cls in rules else "edges" if cls in edges else ""


def _of_table(table: Any) -> Iterator[list[str]]:
    for entry in sorted(table, key=lambda entry: entry.name.lower()):
        names = _code((entry.name, *entry.aliases))
        written = _code(dict.fromkeys(cls.__name__ for cls in entry.write))
        yield [names, "yes" if entry.read else "", written]
    for name in table.unsafe:
        yield [f"`{name}`", "refused: it runs code or touches files", ""]


def _of_onnx() -> Iterator[list[str]]:
    as_layers = {name for name in (*WITH_WEIGHTS, *PLAIN) if name != LINEAR}
    for name in sorted(onnx_operators.OPERATORS, key=str.lower):
        versions = onnx_operators.OPERATORS[name]
        since = f" (since opset {min(versions)})" if min(versions) > onnx_operators.OLDEST else ""
        yield [f"`{name}`", ("layer" if name in as_layers else "operator") + since, ""]
    yield ["", "", f"{len(EXPORTERS)} primitives: [formats_onnx.md](formats_onnx.md)"]


if __name__ == "__main__":
    sys.stdout.write(page())
