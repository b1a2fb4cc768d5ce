"""Small files of BigDL's formats for fuzz_formats.py, and mutants of what protobuf files say.

A seed begins with a letter that says which reader it is for: m (a model), w (a file of weights), t
(a definition in text).
"""

from __future__ import annotations

import contextlib
import copy
import io
import random
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent / "data" / "bigdl_models"
SMALL = 12_000  # bytes of a recorded file that is a seed

Seed = tuple[bytes, list[tuple[int, int, bool]], str]


def load(data: bytes) -> Any:
    """What the reader of the first letter makes of the rest."""
    from tapegrad.nn.formats import FormatError, Limits, bigdl
    from tapegrad.nn.formats.bigdl.weight_file import read_storages

    kind, rest = data[:1], data[1:]
    if kind == b"m":
        return bigdl.load(rest, missing="keep" if len(rest) % 2 else "refuse")
    if kind == b"w":
        return read_storages(rest, Limits())
    if kind == b"t":
        return bigdl.load_definition(rest)
    raise FormatError("a letter that says which reader it is for")


def recorded() -> Iterator[Seed]:
    """The small ones of BigDL's own files."""
    for path in sorted(ROOT.glob("*/*")):
        letter = {".bigdl": b"m", ".bin": b"w", ".prototxt": b"t"}.get(path.suffix)
        if letter is None or path.stat().st_size > SMALL or path.name.startswith("deploy"):
            continue
        yield seed(letter + path.read_bytes(), f"{path.parent.name}/{path.name}")


def made() -> Iterator[Seed]:
    """What our own writer makes of every layer that BigDL has."""
    from cases import MODULES, WITHOUT_FILES

    from tapegrad.autograd.check import Draws
    from tapegrad.nn.formats import UnsupportedError, bigdl

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed"
        for name, case in sorted(MODULES.items()):
            if name in WITHOUT_FILES:
                continue
            with contextlib.suppress(UnsupportedError):
                bigdl.save(case(Draws(0)).module, path)
                yield seed(b"m" + path.read_bytes(), f"{name}.bigdl")


def seed(data: bytes, name: str) -> Seed:
    """The places of the numbers in a file: of a message, its tags, lengths and values."""
    if data[:1] == b"m":
        return data, [(at + 1, n, False) for at, n in places(data[1:])], name
    if data[:1] == b"w":
        return data, [(at, 4, False) for at in range(1, min(len(data) - 4, 400), 4)], name
    words = [(m, len(w)) for m, w in _words(data) if len(w) < 40]
    return data, [(at, n, True) for at, n in words], name


def _words(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 1
    for word in data[1:].split():
        at = data.index(word, at)
        yield at, word
        at += len(word)


def places(data: bytes) -> list[tuple[int, int]]:
    """Where a message has varints, found by reading it once."""
    from tapegrad.nn.formats import FormatError, Limits
    from tapegrad.nn.formats.bigdl.fields import SCHEMA
    from tapegrad.nn.formats.common import wire_reading

    found = []

    class Noting(wire_reading._Walker):
        def varint(self, end: int) -> int:
            start = self.at
            value = super().varint(end)
            found.append((start, self.at - start))
            return value

    with contextlib.suppress(FormatError):
        Noting(data, Limits(), None, None, 0).run(SCHEMA.messages["BigDLModule"])
    return found


def with_other_values(
    rng: random.Random, data: bytes, choices: tuple[int, ...], kind_of_file: str = "bigdl"
) -> bytes:
    """A model with something else in its fields, and lengths that fit again."""
    from tapegrad.nn.formats import FormatError
    from tapegrad.nn.formats.common.records import set_values

    schema, records = _read(data, kind_of_file)
    before: list[tuple[Any, dict[str, Any]]] = []  # the values of the records that change
    for _ in range(rng.choice((1, 1, 2, 4))):
        record = rng.choice(records)
        fields = [field for field, _ in record.items()]
        if not fields:
            continue
        field = rng.choice(fields)
        values = set_values(record)
        before.append((values, {name: _own(value) for name, value in values.items()}))
        other = rng.choice(records)
        value = values[field.name]
        kind = rng.randrange(5)
        if kind == 0:
            del values[field.name]
        elif field.is_map:
            names = list(value)
            key = rng.choice(names) if names else "x"
            if kind < 3 and names:
                value.pop(key)
            else:
                value[rng.choice([key, "size", "p", "weight"])] = value.get(
                    rng.choice(names or [key])
                )
                value = {k: v for k, v in value.items() if v is not None}
                values[field.name] = value
        elif field.message is not None:
            same = [r for r in records if r._message is field.message]
            new = rng.choice(same)
            values[field.name] = [*value, new] if field.repeated else new
        elif isinstance(value, np.ndarray):
            values[field.name] = value[: rng.randrange(value.size + 1)]
        elif field.repeated and value:
            at = rng.randrange(len(value))
            new = set_values(other).get(field.name) or [rng.choice(choices)]
            value[at] = rng.choice(list(new)) if field.kind == "string" else rng.choice(choices)
        elif isinstance(value, bool):
            values[field.name] = not value
        elif isinstance(value, (int, float)):
            values[field.name] = rng.choice(choices)
        elif isinstance(value, str):
            named = "moduleType" if kind_of_file == "bigdl" else field.name
            words = [str(set_values(r).get(named, "x")) for r in records]
            values[field.name] = rng.choice([*words, "", "x", value[1:]])
    out = io.BytesIO()
    try:
        schema.write(records[0], out)
    except (FormatError, TypeError, AttributeError, RecursionError):
        return data  # a record in itself, a number that does not fit, a text for a number
    finally:
        for values, old in reversed(before):
            values.clear()
            values.update(old)
    return b"m" + out.getvalue()


def _own(value: Any) -> Any:
    """A list or dict that changes of the other do not reach."""
    return copy.copy(value) if isinstance(value, (list, dict)) else value


@cache
def _read(data: bytes, kind_of_file: str) -> tuple[Any, list[Any]]:
    """The schema of a model, and its records, the root first."""
    from tapegrad.nn.formats.bigdl import fields as bigdl
    from tapegrad.nn.formats.caffe import fields as caffe
    from tapegrad.nn.formats.common.records import Record

    schemas = {"bigdl": (bigdl.SCHEMA, "BigDLModule"), "caffe": (caffe.SCHEMA, "NetParameter")}
    schema, message = schemas[kind_of_file]
    records: list[Any] = []
    pending: list[Any] = [schema.read(data[1:], message)]
    while pending:
        record = pending.pop()
        records.append(record)
        for field, value in record.items():
            inner = value.values() if field.is_map else value if field.repeated else [value]
            pending += [each for each in inner if isinstance(each, Record)]
    return schema, records
