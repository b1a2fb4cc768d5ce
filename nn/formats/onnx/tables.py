"""The tables of docs/formats_onnx.md: `python -m tapegrad.nn.formats.onnx.tables` prints them."""

from __future__ import annotations

import sys

from tapegrad.nn.formats.onnx.calls import EXPORTERS, REASONS
from tapegrad.nn.formats.onnx.in_layers import LINEAR, PLAIN, WITH_WEIGHTS
from tapegrad.nn.formats.onnx.operators import OPERATORS, UNREADABLE
from tapegrad.nn.formats.onnx.out_modules import MODULES
from tapegrad.nn.formats.onnx.running import OnnxGraph

__all__ = ["doc_tables"]

_ = OnnxGraph  # whose file enters the operators


def doc_tables() -> list[str]:
    """The tables, each as lines of Markdown."""
    layers = {name for name in (*WITH_WEIGHTS, *PLAIN) if name != LINEAR}
    read = ", ".join(f"**{name}**" if name in layers else name for name in sorted(OPERATORS))
    modules = ", ".join(f"`{cls.__name__}`" for cls in sorted(MODULES, key=lambda c: c.__name__))
    written = ", ".join(f"`{name}`" for name in sorted(EXPORTERS))
    return [
        read,
        _by_reason(UNREADABLE, ""),
        modules,
        written,
        _by_reason(REASONS, "`"),
    ]


def _by_reason(reasons: dict[str, str], quote: str) -> str:
    """A row for each reason, with all that it is the reason for."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(f"{quote}{name}{quote}")
    rows = [f"| {', '.join(sorted(several))} | {reason} |" for reason, several in names.items()]
    return "\n".join(["| | why not |", "|---|---|", *rows])


if __name__ == "__main__":
    sys.stdout.write("\n\n".join(doc_tables()) + "\n")
