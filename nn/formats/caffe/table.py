"""The table of Caffe's layers: all families, and what is refused or left out."""

from __future__ import annotations

from tapegrad.nn.formats.caffe import convolutions, detection, normalizations, pointwise, shapes
from tapegrad.nn.formats.common.operators import Operators

__all__ = ["DATA", "LEFT_OUT", "TABLE", "canonical", "rows"]

UNSAFE = {"Python": "it names a module and a class that Caffe imports and calls"}

TABLE = Operators(
    "Caffe",
    convolutions.OPERATORS,
    normalizations.OPERATORS,
    pointwise.OPERATORS,
    shapes.OPERATORS,
    detection.OPERATORS,
    unsafe=UNSAFE,
)

# Layers whose tops are inputs of the network.  Nothing of their files is opened.
DATA = (
    "Input", "Data", "ImageData", "HDF5Data", "MemoryData", "DummyData", "WindowData",
    "AnnotatedData",
)  # fmt: skip

# Layers that give nothing which a network in use needs
LEFT_OUT = ("Accuracy", "HDF5Output", "DetectionEvaluate")

_KNOWN = {
    name.upper(): name
    for operator in TABLE
    for name in (operator.name, *operator.aliases)
} | {name.upper(): name for name in (*DATA, *LEFT_OUT, *UNSAFE)}  # fmt: skip


def canonical(kind: str) -> str:
    """A type as the table has it, whose letters' case does not matter (as in BigDL)."""
    return _KNOWN.get(kind.upper(), kind)


def rows() -> list[str]:
    """The table of docs/formats_caffe.md: each layer, what is written as it, what to know."""
    lines = ["| Caffe | written from | |", "|---|---|---|"]
    for entry in sorted(TABLE, key=lambda entry: entry.name.lower()):
        classes = ", ".join(f"`nn.{cls.__name__}`" for cls in entry.write)
        names = ", ".join(f"`{name}`" for name in (entry.name, *entry.aliases))
        lines.append(f"| {names} | {classes} | {entry.note} |")
    lines.append(f"| {', '.join(f'`{name}`' for name in DATA)} | | inputs; nothing is opened |")
    lines.append(f"| {', '.join(f'`{name}`' for name in LEFT_OUT)} | | left out |")
    lines += [f"| `{name}` | | refused: {reason} |" for name, reason in UNSAFE.items()]
    return lines
