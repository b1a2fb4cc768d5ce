"""Correct layers of PyTorch with backward code by hand, as data: code to be changed as text.

The forward code computes `y` from inputs, parameters and options, the backward code `g<argument>`
from the cotangent `g`, the arguments and `y`.  Both see `module` (whose attributes outlive a call),
`train` and `keep`, in which forward leaves values for backward.  A layer without backward code is
differentiated by PyTorch.  PyTorch is imported when a layer is built.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from tapegrad.autograd.check import array, indices, ints, one_of

__all__ = ["TORCH_LAYERS", "TorchLayer", "layer"]

FUNCTION = """
class Op(torch.autograd.Function):
    @staticmethod
    def forward(ctx, module, {args}):
        keep = ctx.keep = SimpleNamespace()
        ctx.module, train = module, module.training
        {settings}
        {forward}
        ctx.train = train
        ctx.save_for_backward({args}, {results})
        return {results}

    @staticmethod
    def backward(ctx, {cotangents}):
        module, keep, train = ctx.module, ctx.keep, ctx.train
        {args}, {results} = ctx.saved_tensors
        need = dict(zip({names}, ctx.needs_input_grad[1:]))
        {settings}
        {backward}
        return None, {gradients}
"""
MODULE = """
class Layer(torch.nn.Module):
    def __init__(self, **given):
        super().__init__()
        module, self.given = self, given
        {settings}
        {state}

    def forward(self, {inputs}):
        module, train = self, self.training
        {settings}
        {parameters}
        {call}
"""


@dataclass(frozen=True)
class TorchLayer:
    """A correct layer: its arguments, and its code.

    inputs, parameters: name -> named sizes
    sizes:    name -> (least, most) of the sizes of parameters, 1 … 4 where it says nothing
    options:  name -> values to draw from
    domain:   input -> open interval
    below:    input of integers -> the size, or the number, that bounds them; 2 for masks
    results:  names of what forward returns; their cotangents are g, or g<name> of several
    state:    code of the constructor, about `module`
    shape:    what the module makes of its result `y`, as code
    check:    further arguments of check_torch, left out where it does not know them
    """

    name: str
    inputs: dict[str, str]
    parameters: dict[str, str]
    forward: str
    backward: str
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    options: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    domain: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    below: dict[str, str | int] = field(default_factory=dict)
    results: tuple[str, ...] = ("y",)
    state: str = ""
    shape: str = "y"
    check: dict[str, Any] = field(default_factory=dict)

    def changed(self, edits: list[tuple[str, str]]) -> TorchLayer:
        """The layer with other code: pairs of a text and what comes in its place.

        The texts ``+f`` and ``+b`` stand for the end of forward and of backward, ``-f`` and ``-b``
        for their beginning.  Raises ValueError for a text that is not there exactly once.
        """
        codes = {name: getattr(self, name) for name in ("forward", "backward", "state", "shape")}
        for text, other in edits:
            if text in ("+f", "+b", "-f", "-b"):
                which = "forward" if text[1] == "f" else "backward"
                parts = [codes[which], other][:: 1 if text[0] == "+" else -1]
                codes[which] = "\n".join(parts)
                continue
            where = [name for name, code in codes.items() for _ in range(code.count(text))]
            if len(where) != 1:
                raise ValueError(f"{self.name}: {text!r} is there {len(where)} times")
            codes[where[0]] = codes[where[0]].replace(text, other)
        return replace(self, **codes)

    def sources(self) -> str:
        """The layer as Python."""
        args = [*self.inputs, *self.parameters]
        drawn = [*self.size_options(), *self.options]
        results = ", ".join(self.results)
        single = len(self.results) == 1
        gradients = ["None" if n in self.below else f"g{n}" for n in args]
        spots = {
            "settings": "\n".join(f"{n} = module.given['{n}']" for n in drawn) or "pass",
            "forward": self.forward, "backward": self.backward, "state": self.made_state(),
            "parameters": "\n".join(f"{n} = module.{n}" for n in self.parameters) or "pass",
            "call": f"{results} = Op.apply(module, {', '.join(args)})" if self.backward
            else self.forward,
        }  # fmt: skip
        spots["call"] += f"\nreturn {self.shape if single else results}"
        words = {
            "args": ", ".join(args), "results": results, "names": repr(args),
            "inputs": ", ".join(self.inputs), "gradients": ", ".join(gradients),
            "cotangents": "g" if single else ", ".join(f"g{n}" for n in self.results),
        }  # fmt: skip
        return "\n".join(
            _filled(frame, spots, words)
            for frame in ([FUNCTION] if self.backward else []) + [MODULE]
        )

    def made_state(self) -> str:
        """The constructor's code."""
        lines = [
            f"module.{name} = torch.nn.Parameter(torch.zeros({self.shape_of(names)}))"
            for name, names in self.parameters.items()
        ]
        return "\n".join([*lines, self.state or "pass"])

    @staticmethod
    def shape_of(names: str) -> str:
        """``"o 2*i"`` as Python."""
        return ", ".join(names.split())

    def size_options(self) -> dict[str, tuple[int, int]]:
        """The sizes of parameters, which are options of the constructor, with their limits."""
        names = [axis for shape in self.parameters.values() for axis in shape.split()]
        parts = [p for n in names for p in n.replace("+", "*").split("*") if not p.isdigit()]
        return {**dict.fromkeys(parts, (1, 4)), **self.sizes}

    def make(self) -> Callable[..., Any]:
        """The class of the layer, to be called with its options."""
        import torch

        names: dict[str, Any] = {
            "torch": torch, "F": torch.nn.functional, "math": math,
            "SimpleNamespace": SimpleNamespace, "__name__": "planted",
        }  # fmt: skip
        exec(compile(self.sources(), f"<{self.name}>", "exec"), names)
        return names["Layer"]

    def specs(self) -> list[Any]:
        """The inputs as `check_torch` takes them."""
        return [
            self._mask(names) if self.below.get(name) == 2
            else indices(names, below=self.below[name]) if name in self.below
            else array(names, *self.domain.get(name, ()))
            for name, names in self.inputs.items()
        ]  # fmt: skip

    @staticmethod
    def _mask(names: str) -> Callable[[Any], Any]:
        return lambda d: d.booleans(d.shape(names))

    def settings(self) -> dict[str, Any]:
        """The options as `check_torch` takes them."""
        sizes = {name: ints(low, high) for name, (low, high) in self.size_options().items()}
        return {**sizes, **{name: one_of(*values) for name, values in self.options.items()}}


def _filled(frame: str, spots: dict[str, str], words: dict[str, str]) -> str:
    """A frame with words in its lines, and code where a line is nothing but a name in braces."""
    lines = []
    for line in frame.splitlines():
        bare = line.strip()
        if bare[1:-1] in spots and bare[:1] == "{":
            lines.append(textwrap.indent(spots[bare[1:-1]], line[: line.index("{")]))
        else:
            for name, word in words.items():
                line = line.replace("{" + name + "}", word)
            lines.append(line)
    return "\n".join(lines)


TORCH_LAYERS: dict[str, TorchLayer] = {}


def layer(name: str, arguments: str, forward: str, backward: str = "", **more: Any) -> None:
    """Declare a layer; `arguments` is ``"x: N i | weight: o i, bias: o"``."""
    inputs, _, parameters = arguments.partition("|")
    TORCH_LAYERS[name] = TorchLayer(
        name, _named(inputs), _named(parameters),
        textwrap.dedent(forward).strip(), textwrap.dedent(backward).strip(), **more,
    )  # fmt: skip


def _named(text: str) -> dict[str, str]:
    pairs = [part.split(":") for part in text.split(",") if part.strip()]
    return {name.strip(): sizes.strip() for name, sizes in pairs}
