"""The commands about model files: `tapegrad show`, and `tapegrad convert` of _convert.py.

`show` reads a file as data and builds nothing, so that it works for files with unknown classes and
shows what is there rather than what we make of it.

`nn` and its formats are imported by the commands that need them: the command line reads this file
for each of its commands, and `tapegrad --version` should not wait for all layers to be loaded.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tapegrad import _convert
from tapegrad._command import add_command, is_file
from tapegrad._errors import CommandError, reason_of
from tapegrad.autograd.core.progress import working

LARGEST_LIST = 20  # entries of a list that are shown one by one


def add_commands(commands: Any) -> None:
    """Add both commands to the parser's subcommands."""
    show = add_command(
        commands,
        "show",
        help="print what is in a model file",
        description="Prints what is in a model file of any format that nn.load reads: its modules, "
        "layers or nodes, with shapes, parameters and sizes. Nothing of the file is executed, and "
        "no module is built.",
        examples=[
            ("tapegrad show model.safetensors", "the modules in it, with shapes and sizes"),
            ("tapegrad show resnet.onnx | less", "the nodes of a network"),
        ],
    )
    is_file(show.add_argument("file", help="a model file: .t7, .bigdl, .caffemodel, .pb, .onnx, …"))
    show.set_defaults(run=_show)
    _convert.add_convert(commands)


def _show(options: argparse.Namespace) -> int:
    from tapegrad.nn.formats import FormatError

    try:
        with working(f"reading {Path(options.file).name}"):
            report = list(describe_file(options.file))
    except (FormatError, OSError) as error:
        raise CommandError(reason_of(error)) from error
    encoding = sys.stdout.encoding or "utf-8"
    try:
        for line in report:  # a file may hold any character, a terminal may not show each
            printable = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
            print(printable.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has ended: `tapegrad show model.t7 | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def describe_file(file: str | bytes, kind: str | None = None) -> Iterator[str]:
    """Make the lines that `tapegrad show` prints of a file, or of the bytes of one.

    kind: the name of the file's format; by default its content and its name say it, and a file of
          which neither says anything is shown as one of Torch7's
    Raises FormatError for what is wrong with the content, OSError for the file itself.
    """
    from tapegrad.nn.core import files, places

    if kind is None:
        found = files.detect_format(file)
        kind = "torch7" if found is None else found.name
    size = len(file) if isinstance(file, bytes) else places.size_of(file)
    if kind in _OWN:
        yield from _OWN[kind](file, size)
        return
    [described] = [each.describe for each in files.formats() if each.name == kind]
    if described is None:
        raise CommandError(f"files of {kind} cannot be shown")
    yield from _described(described(file), size)


class _ParameterCount:
    """How many parameters a file has, each memory counted once."""

    def __init__(self) -> None:
        self.seen: set[Any] = set()
        self.entries = self.bytes = 0

    def add(self, key: Any, array: np.ndarray) -> None:
        """Count an array, unless one with the same key was counted."""
        if key not in self.seen:
            self.seen.add(key)
            self.entries += array.size
            self.bytes += array.nbytes

    def line(self, size: int) -> str:
        """Return the last line of the report, about a file of `size` bytes."""
        return f"{self.entries:,} parameters, {self.bytes:,} bytes; the file has {size:,} bytes"


def _describe_array(array: np.ndarray) -> str:
    return f"{array.dtype} {'x'.join(map(str, array.shape)) or 'scalar'}"


def _describe_torch7(file: str | bytes, size: int) -> Iterator[str]:
    from tapegrad.nn.formats import torch7
    from tapegrad.nn.formats.torch7.objects import Storage, Table, TorchObject

    root = torch7.objects(file)
    count = _ParameterCount()
    seen: dict[int, int] = {}
    stack: list[tuple[int, str, Any]] = [(0, "", root)]
    while stack:
        depth, name, item = stack.pop()
        start = "  " * min(depth, 40) + (f"{name}: " if name else "")
        if isinstance(item, np.ndarray):
            yield start + _describe_array(item)
        elif isinstance(item, Storage):
            yield start + f"storage {item.array.tolist() if item.array.size < 20 else item}"
        elif not isinstance(item, (Table, TorchObject)):
            yield start + f"{item!r:.100}"
        elif id(item) in seen:
            yield start + f"{_class_name(item)} (as above, no. {seen[id(item)]})"
        else:
            seen[id(item)] = len(seen)
            fields = item.fields if isinstance(item, TorchObject) else item
            again = isinstance(fields, Table) and fields is not item and id(fields) in seen
            if not isinstance(fields, Table) or again:
                yield start + _class_name(item)
                continue
            seen[id(fields)] = seen[id(item)]
            yield start + _class_name(item) + _describe_fields(item, fields, count)
            below = list(_children_to_show(item, fields))
            stack.extend((depth + 1, key, value) for key, value in reversed(below))
    yield count.line(size)


def _class_name(item: Any) -> str:
    return getattr(item, "class_name", "table")


def _describe_fields(item: Any, fields: Any, count: _ParameterCount) -> str:
    """Describe the parameters and settings of a module, to follow its name on a line."""
    if item is fields:
        return f" of {len(fields)}"
    texts = []
    for key, value in fields.items():
        if not isinstance(key, str) or key.startswith(("grad", "_")) or key == "output":
            continue
        if isinstance(value, np.ndarray):
            gradient = fields.get(f"grad{key[:1].upper()}{key[1:]}")
            if isinstance(gradient, np.ndarray):
                texts.append(f"{key} {_describe_array(value)}")
                count.add(_memory_key(value), value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            texts.append(f"{key} {_short_number(value)}")
    return f" ({', '.join(sorted(texts))})" if texts else ""


def _short_number(value: float) -> str:
    """Write a number in a few characters; JSON has integers that no float holds."""
    return f"{value:g}" if isinstance(value, float) else f"{value!s:.30}"


def _memory_key(array: np.ndarray) -> tuple[int, tuple[int, ...]]:
    return (array.__array_interface__["data"][0], array.shape)


def _children_to_show(item: Any, fields: Any) -> Iterator[tuple[str, Any]]:
    """Select what gets lines of its own: modules inside a module, everything inside a table."""
    from tapegrad.nn.formats.torch7.objects import Table, TorchObject

    for number, (key, value) in enumerate(fields.items()):
        name = key if isinstance(key, str) else f"[{key!r:.40}]"
        if item is fields:
            if number == LARGEST_LIST:
                yield "…", f"{len(fields) - number} more"
                return
            yield name, value
        elif isinstance(value, TorchObject):
            yield name, value
        elif isinstance(value, Table) and any(isinstance(v, TorchObject) for v in value.values()):
            for inner, part in value.items():
                yield f"{name}[{inner!r:.40}]", part


def _described(
    lines: Iterable[tuple[int, str, str, dict[str, np.ndarray]]], size: int
) -> Iterator[str]:
    count = _ParameterCount()
    for number, (depth, name, what, arrays) in enumerate(lines):
        texts = []
        for key, array in arrays.items():
            count.add((number, key), array)
            texts.append(f"{key} {_describe_array(array)}".strip())
        parts = [part for part in (what, "; ".join(texts)) if part]
        yield "  " * depth + f"{name:.100}: " + ", ".join(parts)
    yield count.line(size)


def _describe_weights(file: str | bytes, size: int) -> Iterator[str]:
    from tapegrad.nn.formats import weights

    count = _ParameterCount()
    for name, array in weights.load(file).items():
        count.add(_memory_key(array), array)
        yield f"{name}: {_describe_array(array)}"
    yield count.line(size)


def _describe_safetensors(file: str | bytes, size: int) -> Iterator[str]:
    from tapegrad.nn.formats import FormatError, native
    from tapegrad.nn.formats.native import safetensors_file

    arrays, metadata = safetensors_file.read(file, data=False)
    count = _ParameterCount()
    if metadata.get("format") != "tapegrad":
        for name, array in arrays.items():
            count.add(name, array)
            yield f"{name}: {_describe_array(array)}"
        yield count.line(size)
        return
    header, _ = native.architecture(file)
    modules, tensors = header["modules"], header["tensors"]
    stack: list[tuple[int, str, int]] = [(0, "", 0)]
    seen: set[int] = set()
    while stack:
        depth, name, number = stack.pop()
        if not 0 <= number < len(modules):
            raise FormatError(
                "the number of a module", number, file=None if isinstance(file, bytes) else file
            )
        module = modules[number]
        start = "  " * min(depth, 40) + (f"{name}: " if name else "")
        if number in seen:
            yield f"{start}{module.get('class')} (as above, no. {number})"
            continue
        seen.add(number)
        texts, below = [], []
        attributes = module.get("attributes")
        for key, value in attributes.items() if isinstance(attributes, dict) else ():
            for inner, kind, index in _find_references(key, value):
                if kind == "module":
                    below.append((depth + 1, inner, index))
                elif kind == "tensor" and 0 <= index < len(tensors):
                    entry = tensors[index]
                    data = arrays.get(str(entry.get("data")))
                    if data is not None and entry.get("kind") == "parameter":
                        count.add(entry["data"], data)
                        texts.append(f"{inner} {_describe_array(data)}")
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                texts.append(f"{key} {_short_number(value)}")
        yield f"{start}{module.get('class')}" + (f" ({', '.join(sorted(texts))})" if texts else "")
        stack.extend(reversed(below))
    yield count.line(size)


def _find_references(name: str, value: Any) -> Iterator[tuple[str, str, int]]:
    """Give (name, "module" or "tensor", number) for each reference in an attribute or a list."""
    items = enumerate(value) if isinstance(value, list) else [(None, value)]
    for index, item in items:
        if isinstance(item, dict) and len(item) == 1:
            ((kind, number),) = item.items()
            if kind in {"module", "tensor"} and type(number) is int:
                yield (name if index is None else f"{name}[{index}]"), kind, number


_OWN = {
    "native": _describe_safetensors,
    "torch7": _describe_torch7,
    "weights": _describe_weights,
}
