"""torch_pair: PyTorch's layers as subjects of the laws of functions.

A `torch.nn.Module`, a `torch.autograd.Function` or any function of torch tensors becomes a pair of
NumPy functions.  The parameters of a module become arguments beside its inputs, and the second
order comes from `create_graph`.  PyTorch is imported only when a check runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.cases import (
    CaseArray,
    as_option,
    draw_arrays,
    draw_options,
    parse_spec,
)
from tapegrad.autograd.check.functions import Pair
from tapegrad.autograd.check.gradients import CheckError

if TYPE_CHECKING:
    from tapegrad.autograd.check.draws import Draws

__all__ = ["torch_pair"]

NOT_TENSORS = (
    "{name} returned {type}: what is checked returns a torch.Tensor, or a list or tuple of them"
)


def torch_pair(
    subject: Any, inputs: Sequence[Any], options: dict[str, Any], *, training: bool
) -> Callable[[Draws], Pair]:
    """The case of a torch subject: a function that makes a `Pair` from a `Draws`.

    subject:  a `torch.autograd.Function`, a module, or a function of tensors without options; else
              a class or function that makes a `torch.nn.Module` or such a function from the options
    inputs:   in the form of `module_case`'s input
    training: the mode of a module
    """
    import torch

    kinds = {name: as_option(value) for name, value in options.items()}
    inputs = [parse_spec(spec) for spec in inputs]

    def draw(d: Draws) -> Pair:
        settings = draw_options(kinds, d)
        arrays = [draw_arrays(spec, d) for spec in inputs]
        if inspect.isclass(subject) and issubclass(subject, torch.autograd.Function):
            function: Any = subject
            return _make_pair(
                torch, lambda *x: function.apply(*x, *settings.values()), arrays, [], d.seed
            )
        if isinstance(subject, torch.nn.Module):
            made = subject
        elif options or inspect.isclass(subject) or not inspect.signature(subject).parameters:
            torch.manual_seed(d.seed)
            made = subject(**settings)
        else:
            made = subject
        if not isinstance(made, torch.nn.Module):
            return _make_pair(torch, made, arrays, [], d.seed)
        made = made.double().train(training)
        names = [name for name, _ in made.named_parameters()]
        values = [0.5 * d.rng.standard_normal(tuple(p.shape)) for p in made.parameters()]
        buffers = {name: buffer.clone() for name, buffer in made.named_buffers()}

        def run(*tensors: Any) -> Any:
            x, parameters = tensors[: len(arrays)], tensors[len(arrays) :]
            state = {
                name: b.to(x[0].dtype) if b.is_floating_point() else b.clone()
                for name, b in buffers.items()
            }
            state = {name: b.clone() for name, b in state.items()}
            state.update(zip(names, parameters, strict=True))
            return torch.func.functional_call(made, state, x)

        shown = [spec.names if isinstance(spec, CaseArray) else str(spec) for spec in inputs]
        labels = [f"input {i} ({text})" if len(shown) > 1 else "input"
                  for i, text in enumerate(shown)]  # fmt: skip
        return _make_pair(torch, run, [*arrays, *values], [*labels, *names], d.seed)

    return draw


def _make_pair(
    torch: Any, run: Callable[..., Any], arrays: Sequence[Any], names: Sequence[str], seed: int
) -> Pair:
    """The pair of a function of torch tensors and its gradient, both over NumPy arrays."""

    def outputs(tensors: Sequence[Any]) -> tuple[list[Any], bool]:
        torch.manual_seed(seed)
        found = run(*tensors)
        single = not isinstance(found, (list, tuple))
        flat = [found] if single else list(found)
        for y in flat:
            if not isinstance(y, torch.Tensor):
                raise CheckError(NOT_TENSORS.format(name=run, type=type(y).__name__))
        return flat, single

    def fn(*args: np.ndarray) -> Any:
        with torch.no_grad():
            found, single = outputs([_torch_tensor(torch, a) for a in args])
        results = [np.array(y.numpy()) for y in found]
        return results[0] if single else results

    def as_tracked(args: Sequence[np.ndarray]) -> list[Any]:
        tensors = [_torch_tensor(torch, a) for a in args]
        return [t.requires_grad_() if t.is_floating_point() else t for t in tensors]

    def gradients_of(tensors: Sequence[Any], v: Sequence[Any], *, graph: bool) -> list[Any]:
        # Views, because torch forbids functions that write in place to write to leaves.
        found, _ = outputs([t.view_as(t) if t.requires_grad else t for t in tensors])
        leaves = [t for t in tensors if t.requires_grad]
        pairs = [(y, c) for y, c in zip(found, v, strict=True) if y.requires_grad]
        if not pairs:
            return [torch.zeros_like(t) for t in leaves]
        gradients = torch.autograd.grad(
            [y for y, _ in pairs], leaves, [c for _, c in pairs],
            create_graph=graph, allow_unused=True,
        )  # fmt: skip
        return [
            torch.zeros_like(t) if g is None else g for g, t in zip(gradients, leaves, strict=True)
        ]

    def as_arrays(gradients: Sequence[Any], tensors: Sequence[Any]) -> list[Any]:
        remaining = iter(gradients)
        return [
            np.array(next(remaining).detach().numpy()) if t.requires_grad else None for t in tensors
        ]

    def vjp(cotangent: Any, *args: np.ndarray) -> list[Any]:
        v = cotangent if isinstance(cotangent, list) else [cotangent]
        tensors = as_tracked(args)
        return as_arrays(
            gradients_of(tensors, [_torch_tensor(torch, c) for c in v], graph=False), tensors
        )

    def second(u: Sequence[np.ndarray], v: Sequence[np.ndarray], args: Sequence[Any]) -> list[Any]:
        tensors = as_tracked(args)
        leaves = [t for t in tensors if t.requires_grad]
        gradients = gradients_of(tensors, [_torch_tensor(torch, c) for c in v], graph=True)
        pairs = [(g, torch.tensor(c)) for g, c in zip(gradients, u, strict=True) if g.requires_grad]
        if not pairs:
            return as_arrays([torch.zeros_like(t) for t in leaves], tensors)
        found = torch.autograd.grad(
            [g for g, _ in pairs], leaves, [c for _, c in pairs], allow_unused=True
        )
        zeroed = [
            torch.zeros_like(t) if g is None else g for g, t in zip(found, leaves, strict=True)
        ]
        return as_arrays(zeroed, tensors)

    return Pair(fn, vjp, arrays, names, second, copies=True)


def _torch_tensor(torch: Any, array: np.ndarray) -> Any:
    """A tensor that shares the array's memory, so that writes are noticed, or else a copy."""
    array = np.asarray(array)
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        return torch.tensor(array.copy())
    return torch.from_numpy(array)
