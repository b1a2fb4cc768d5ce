"""Proof that a planted fault is one: the wrong layer and its right twin differ in what they do.

No law and no difference quotient takes part: both layers run on the same data, in all modes, sizes,
types and layouts, with this or that argument frozen, and whatever they give or leave is compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check import Draws

if TYPE_CHECKING:
    from planted.torch_faults import TorchFault
    from planted.torch_layers import TorchLayer

__all__ = ["difference"]

DATA = ("ordinary", "grid", "constant", "negative", "positive", "zero", "singular")


class _Sizes(Draws):
    """Draws whose sizes are of one order of magnitude."""

    def __init__(self, seed: int, least: int, data: str) -> None:
        self.least = least
        super().__init__(seed, regimes=(data if data in ("grid", "constant") else "ordinary",))

    def size(
        self,
        name: str,
        low: int = 1,
        high: int = 4,
        *,
        may_be_empty: bool = False,
        may_be_long: bool = False,
    ) -> int:
        """The size called `name`, `least` … `least` + 3 where no option sets it."""
        if name not in self._named:
            self._named[name] = self.integer(self.least, self.least + 3)
        return self._named[name]


def _example(layer: TorchLayer, seed: int, least: int, data: str) -> tuple[Any, Any, Any]:
    """(options, inputs, parameters) as arrays."""
    d = _Sizes(seed, least, data)
    options = {name: kind.draw(d) for name, kind in layer.settings().items()}
    for name, value in options.items():
        if isinstance(value, int):
            d.let(name, value)
    inputs = [spec(d) if callable(spec) else spec.draw(d) for spec in layer.specs()]
    inputs = [_changed(x, data, d) if x.dtype.kind == "f" else x for x in inputs]
    parameters = [0.5 * d.rng.standard_normal(d.shape(s)) for s in layer.parameters.values()]
    return options, inputs, parameters


def _changed(x: np.ndarray, data: str, d: Draws) -> np.ndarray:
    if data in ("negative", "positive"):
        return np.abs(x) * (-1 if data == "negative" else 1)
    if data == "singular" and x.ndim > 1 and x.shape[-1] == x.shape[-2]:
        return x[..., :1] * np.ones(x.shape[-1])
    return 0 * x if data == "zero" else x


def _behaviour(layer: TorchLayer, example: Any, *, train: bool, frozen: int, single: bool,
               fortran: bool) -> Iterator[Any]:  # fmt: skip
    """What the layer gives, and what it leaves of its arguments, over three calls."""
    import torch

    options, inputs, parameters = example
    module = layer.make()(**options).to(torch.float32 if single else torch.float64).train(train)
    kept = []
    for call in range(3):
        torch.manual_seed(0)
        tensors = [torch.tensor(np.array(x)) for x in inputs]
        tensors = [
            (t if call != 1 else 0.7 * t).to(torch.float32 if single else torch.float64)
            if t.is_floating_point() else t for t in tensors
        ]  # fmt: skip
        if fortran:
            tensors = [t.mT.contiguous().mT if t.ndim > 1 else t for t in tensors]
        held = list(module.parameters())
        for p, value in zip(held, parameters, strict=True):
            p.data.copy_(torch.tensor(value))
        leaves = [t for t in (*tensors, *held) if t.is_floating_point()]
        for i, leaf in enumerate(leaves):
            leaf.requires_grad_(i != frozen)
        found = module(*tensors)
        results = [t for t in torch.utils._pytree.tree_leaves(found)
                   if isinstance(t, torch.Tensor)]  # fmt: skip
        kept.append((results, [y.detach().clone() for y in results]))
        generator = torch.Generator().manual_seed(1)
        v = [torch.randn(y.shape, generator=generator, dtype=y.dtype) for y in results]
        if fortran:
            v = [c.mT.contiguous().mT if c.ndim > 1 else c for c in v]
        v = [c.requires_grad_() for c in v]
        asked = [leaf for leaf in leaves if leaf.requires_grad]
        if not asked or not any(y.requires_grad for y in results):
            yield [y.requires_grad for y in results]
            continue
        pairs = [(y, c) for y, c in zip(results, v, strict=True) if y.requires_grad]
        before = [c.detach().clone() for c in v]
        first = torch.autograd.grad([y for y, _ in pairs], asked, [c for _, c in pairs],
                                    create_graph=True, allow_unused=True)  # fmt: skip
        dense = [g.to_dense() if g is not None and g.is_sparse else g for g in first]
        yield from (None if g is None else g.detach() for g in dense)
        smooth = [g for g in dense if g is not None and g.requires_grad]
        if smooth and call == 2:
            second = torch.autograd.grad(
                [g.sum() + (g * g.detach()).sum() for g in smooth], [*asked, *v], allow_unused=True
            )
            yield from second
        with torch.no_grad():
            yield from [c - b for c, b in zip(v, before, strict=True)]
            yield from [t.detach().clone() for t in (*tensors, *held, *module.buffers())]
    for results, then in kept:
        yield from [y.detach() - was for y, was in zip(results, then, strict=True)]
        yield from then


def _recorded(layer: TorchLayer, example: Any, **setting: Any) -> list[Any]:
    """The behaviour, with an error as its end."""
    found = []
    try:
        found.extend(_behaviour(layer, example, **setting))
    except (RuntimeError, IndexError, ValueError) as error:
        found.append(type(error).__name__)
    return [
        np.zeros(1) if x is None else x if isinstance(x, (str, list)) else x.numpy() for x in found
    ]


def difference(fault: TorchFault) -> str:
    """Where the wrong layer differs from the right one, "" where nothing was found."""
    common = ((data, 1, True, False, seed) for seed in range(20) for data in DATA[:2])
    others = itertools.product(DATA, (1, 2, 17), (True, False), (False, True), range(2))
    for turn, (data, least, train, fortran, seed) in enumerate(itertools.chain(common, others)):
        example = _example(fault.right, seed, least, data)
        count = sum(x.dtype.kind == "f" for x in (*example[1], *example[2]))
        for frozen in range(-1, count if turn >= 40 else 0):
            for single in (False, True) if turn >= 40 and frozen == -1 else (False,):
                setting = {"train": train, "frozen": frozen, "single": single, "fortran": fortran}
                right = _recorded(fault.right, example, **setting)
                wrong = _recorded(fault.wrong, example, **setting)
                if not _alike(right, wrong, 1e-5 if single else 1e-12):
                    return f"{data} data, sizes from {least}, {setting}"
    return ""


def _alike(right: list[Any], wrong: list[Any], tolerance: float) -> bool:
    if len(right) != len(wrong):
        return False
    for a, b in zip(right, wrong, strict=True):
        if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
            if type(a) is not type(b) or a != b:
                return False
        elif (
            a.dtype != b.dtype
            or a.shape != b.shape
            or not np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
        ):
            return False
    return True
