"""Reads the recorded runs of the real Torch7 and builds the modules that they describe.

The records are data: `index.json` says how each object was built (class, 1-based arguments, calls,
children) and one `.npz` per class holds the arrays.  Torch7 counts dimensions, indices and labels
from 1, tapegrad from 0; the numbers are translated here, at the border, by what each class declares
in `counts`, so that no layer knows of it.  Set TAPEGRAD_TORCH7_CASES to read another
directory of the same layout.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

OWN = Path(__file__).parent / "data" / "torch7"
ROOT = Path(os.environ.get("TAPEGRAD_TORCH7_CASES") or OWN)

# What `counts` may say about a number: the first three count from 1 in Torch7.  "pairs"
# is an array of rows (index, value).  For a table it may say a tuple, one of these or None for each
# entry.  Its names are those of the constructor's arguments, of fields, "input", "target" and
# "output", and "method.argument".
ONE_BASED = ("dimension", "index", "label", "pairs")

Record = dict[str, Any]


# Reading -------------------------------------------------------------------------------------


@functools.cache
def arrays_of(root: Path, name: str) -> dict[str, np.ndarray]:
    """Every array of one `.npz` file."""
    with np.load(root / name) as archive:
        return dict(archive)


def resolved(value: Any, root: Path) -> Any:
    """`value` with references to arrays replaced by copies of the arrays, Lua tables by lists and
    dicts; specifications of modules stay dicts."""
    if isinstance(value, list):
        return [resolved(item, root) for item in value]
    if not isinstance(value, dict):
        return value
    if "$npz" in value:
        return arrays_of(root, value["$npz"])[value["$key"]].copy()
    if "$list" in value:
        return [resolved(item, root) for item in value["$list"]]
    if "$dict" in value:
        return {resolved(key, root): resolved(item, root) for key, item in value["$dict"]}
    return {key: resolved(item, root) for key, item in value.items()}


@functools.cache
def index(root: Path = ROOT) -> tuple[Record, ...]:
    """All records as stored, arrays still by reference."""
    return tuple(json.loads((root / "index.json").read_text(encoding="utf-8")))


def records(root: Path = ROOT) -> Iterator[Record]:
    """All records with their arrays."""
    for entry in index(root):
        yield resolved(entry, root)


@functools.cache
def quadratic() -> tuple[np.ndarray, np.ndarray]:
    """A and b of the function ½·xᵀA x - bᵀx that optimizers were recorded on."""
    for root in (ROOT, OWN):
        for entry in index(root):
            if entry["kind"] == "optim-def":
                definition = resolved(entry, root)
                return definition["A"], definition["b"]
    raise LookupError("no record defines the quadratic function")


def classes_of(record: Any) -> set[str]:
    """Names, without "nn.", of every class that a record's specifications build."""
    found: set[str] = set()
    if isinstance(record, dict):
        if "$spec" in record:
            found.add(short(record["class"]))
        for item in record.values():
            found |= classes_of(item)
        if str(record.get("class", "")).startswith("nn."):
            found.add(short(record["class"]))
    elif isinstance(record, list):
        for item in record:
            found |= classes_of(item)
    return found


def short(name: str) -> str:
    """The name without its package: "Linear" for "nn.Linear"."""
    return name.removeprefix("nn.")


# From 1-based to 0-based ---------------------------------------------------------------------


def from_one_based(value: Any, kind: Any) -> Any:
    """A Torch7 dimension, index or label counted from 0.

    Negative numbers stay: as dimensions they count from the end in both worlds, as labels they are
    markers.  A label 0, invalid there, becomes -1, invalid here.  What is no number stays.
    """
    if kind is None or isinstance(value, str):
        return value
    if isinstance(kind, tuple):
        return [from_one_based(item, k) for item, k in zip(value, kind, strict=False)]
    if kind not in ONE_BASED:
        raise ValueError(f"counts says {kind!r}, which is none of {ONE_BASED}")
    if value is None:
        return None
    if isinstance(value, list):
        return [from_one_based(item, kind) for item in value]
    if kind == "pairs":
        return np.concatenate([value[..., :1] - 1, value[..., 1:]], axis=-1)
    if isinstance(value, np.ndarray):
        return np.where(value >= 0, value - 1, value).astype(value.dtype)
    if value == 0 and kind == "dimension":
        raise ValueError("Torch7 has no dimension 0")
    return value - 1 if value >= 0 else value


def translated(cls: type, name: str, value: Any) -> Any:
    """What Torch7 calls `value`, said to the argument, target or field `name` of `cls`."""
    return from_one_based(value, getattr(cls, "counts", {}).get(name))


def input_kind(module: Any) -> Any:
    """What `counts` says about the input of a module, or of those inside that receive it.

    A container hands its input to its first child, or, a table of it, to each.
    """
    declared = type(module).counts.get("input")
    children = list(getattr(module, "modules", ()))
    if declared is not None or not children:
        return declared
    if type(module).__name__ == "ParallelTable":
        return tuple(input_kind(child) for child in children)
    return input_kind(children[0])


def constructor_arguments(cls: type, values: list[Any]) -> list[Any]:
    """Torch7's positional arguments as `cls` takes them: 0-based, and nil is the default."""
    parameters = list(inspect.signature(cls).parameters.values())
    while values and values[-1] is None:
        values = values[:-1]
    result = []
    for position, value in enumerate(values):
        parameter = parameters[min(position, len(parameters) - 1)]
        if value is None:
            result.append(parameter.default)
        else:
            result.append(translated(cls, parameter.name, value))
    return result


def has_no_default(method: Any, argument: str) -> bool:
    """Whether an argument must be given."""
    return inspect.signature(method).parameters[argument].default is inspect.Parameter.empty


# Building ------------------------------------------------------------------------------------


class Builder:
    """Builds objects from specifications; `$ref` gives the object already built under that id."""

    def __init__(self, find: Callable[[str], type]) -> None:
        self.find = find
        self.objects: dict[int, Any] = {}

    def __call__(self, spec: Any) -> Any:
        if isinstance(spec, list):
            return [self(item) for item in spec]
        if not isinstance(spec, dict):
            return spec
        if "$ref" in spec:
            return self.objects[spec["$ref"]]
        if "$spec" not in spec:
            return {key: self(item) for key, item in spec.items()}
        cls = self.find(short(spec["class"]))
        arguments = constructor_arguments(cls, [self(item) for item in spec.get("args", [])])
        built = self.objects[spec["$spec"]] = cls(*arguments)
        for name, *values in spec.get("calls", []):
            method = getattr(built, name)
            names = list(inspect.signature(method).parameters)
            method(
                **{
                    argument: translated(cls, f"{name}.{argument}", self(value))
                    for argument, value in zip(names, values, strict=False)
                    if value is not None or has_no_default(method, argument)
                }
            )
        for child in spec.get("add", []):
            child = self(child)
            built.add(*(child if isinstance(child, list) else [child]))
        for name, value in spec.get("fields", {}).items():
            setattr(built, name, translated(cls, name, self(value)))
        return built


# Comparing -----------------------------------------------------------------------------------


def leaves(value: Any) -> list[np.ndarray]:
    """The arrays in nested lists, as float64 or as they are; numbers become 0-d arrays."""
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    if hasattr(value, "numpy"):
        value = value.numpy()
    return [np.asarray(value)]


def assert_close(actual: Any, expected: Any, what: str, tolerance: float = 1e-10) -> None:
    """Equal shapes, and differences of at most `tolerance` times the largest recorded entry.

    `expected` may be a list, such as the gradients of all parameters: its largest entry is then
    that of the whole list.  (A bias in front of a batch normalization has gradient 0, recorded as
    rounding errors of 1e-17: on its own it has no scale.)
    """
    found, wanted = leaves(actual), leaves(expected)
    assert len(found) == len(wanted), f"{what}: {len(found)} arrays, recorded {len(wanted)}"
    scale = max((float(np.max(np.abs(w))) for w in wanted if w.size), default=0.0)
    for position, (a, w) in enumerate(zip(found, wanted, strict=True)):
        where = f"{what}[{position}]" if len(wanted) > 1 else what
        assert a.shape == w.shape, f"{where}: shape {a.shape}, recorded {w.shape}"
        if not w.size:
            continue
        error = float(np.max(np.abs(a - w)))
        assert error <= tolerance * scale, (
            f"{where}: differs by {error:.3g} from a record whose largest entry is {scale:.3g}"
        )
