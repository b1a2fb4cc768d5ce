"""The laws held against a planted layer: as a module whose gradients are written by hand.

A hunt draws examples with plain random numbers, law by law, and stops at the first finding; what a
user of Hypothesis gets, shrinking included, is `smallest`.  Laws about second derivatives, replay
and other devices need forward code on Tensors and do not apply to layers over bare arrays.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import nn
from tapegrad.autograd import Tensor
from tapegrad.autograd.check import (
    MODULE_LAWS,
    Draws,
    LawError,
    Layer,
    ModuleTrial,
    Report,
    run_law,
)
from tapegrad.autograd.core.tree import leaves

if TYPE_CHECKING:
    from planted.layers import LayerKind

__all__ = ["HAND_WRITTEN_LAWS", "ByHand", "Finding", "hunt", "label", "smallest", "trial_maker"]

HAND_WRITTEN_LAWS = (
    "its_gradients_are_the_derivatives",
    "inputs_grad_outputs_and_parameters_are_left_alone",
    "grad_input_shares_no_memory",
    "gradients_accumulate_into_what_is_there",
    "accumulated_gradients_are_linear_in_scale",
    "backward_is_linear_in_grad_output",
    "results_are_not_overwritten_by_the_next_call",
    "results_do_not_depend_on_earlier_calls",
    "backward_is_update_grad_input_then_acc_grad_parameters",
    "zero_grad_parameters_zeroes_every_gradient",
    "acc_update_grad_parameters_is_one_step_that_keeps_the_gradients",
    "a_batch_is_its_samples_stacked",
    "memory_layout_does_not_matter",
    "float32_agrees_with_float64",
    "evaluation_is_deterministic_and_changes_nothing",
    "equal_seeds_give_equal_results",
    "a_clone_is_equal_and_independent",
    "nan_stays_nan",
    "integers_give_the_values_of_their_floats",
)


class ByHand(nn.Module):
    """A layer of `planted.layers` with Torch7's three methods over bare arrays."""

    promotes = True

    def __init__(self, kind: LayerKind, parameters: dict[str, Any], constants: dict[str, Any]):
        self.kind = kind
        self.constants = constants
        self.names = list(parameters)
        self.held = [nn.Parameter(value, dtype=np.float64) for value in parameters.values()]

    def __repr__(self) -> str:
        return f"{self.kind.name}{self.constants or ''}"

    def arguments(self, x: Any) -> dict[str, Any]:
        """Inputs, parameters and constants by name, as bare arrays."""
        inputs = zip(self.kind.inputs, leaves(x), strict=True)
        found = {name: np.asarray(_bare(value)) for name, value in inputs}
        found |= {n: p.numpy() for n, p in zip(self.names, self.held, strict=True)}
        return {**found, **self.constants, "train": self._training}

    def updateOutput(self, x: Any) -> Any:
        # in a namespace: modules look for parameters in dicts
        self.values = SimpleNamespace(**self.kind.code.run(self.arguments(x)))
        return Tensor(np.array(self.values.y))

    def updateGradInput(self, input: Any, gradOutput: Any) -> Any:
        self.gradInput = self.in_structure(input, self.pulled(gradOutput, list(self.kind.inputs)))
        return self.gradInput

    def accGradParameters(self, input: Any, gradOutput: Any, scale: float = 1) -> None:
        pulled = self.pulled(gradOutput, self.names)
        for gradient, value in zip(self.parameters()[1], pulled, strict=True):
            gradient.data[...] += scale * value

    def pulled(self, gradOutput: Any, wanted: list[str]) -> list[Any]:
        """The gradients of the arguments `wanted` at the last forward."""
        [g] = leaves(gradOutput)
        return self.kind.code.pull(vars(self.values), np.asarray(_bare(g)), wanted)

    def in_structure(self, input: Any, values: list[Any]) -> Any:
        """Gradients as Tensors, in the structure of the input."""
        tensors = [Tensor(np.asarray(value)) for value in values]
        return tensors if isinstance(input, (list, tuple)) else tensors[0]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("values", "_trace")}


def _bare(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else value


def label(kind: LayerKind, argument: str) -> str:
    """What the checker calls an argument of the layer."""
    if argument in kind.parameters:
        return f"parameter {list(kind.parameters).index(argument)}"
    inputs = list(kind.inputs)
    return "input" if len(inputs) == 1 else f"input[{inputs.index(argument)}]"


def trial_maker(kind: LayerKind, make: type[ByHand] = ByHand) -> Any:
    """A trial from a `Draws`, as `run_law` wants it."""

    def case(d: Any) -> Layer:
        inputs, parameters, constants = kind.draw(d)
        arrays = list(inputs.values())
        module = make(kind, parameters, constants)
        return Layer(module, arrays if len(arrays) > 1 else arrays[0], batch=kind.batch)

    return lambda d: ModuleTrial(kind.name, case, d)


@dataclass(frozen=True)
class Finding:
    """What a hunt has found: the law that was broken, in which example, and the message."""

    law: str
    example: int
    message: str
    report: Any = None

    @property
    def places(self) -> set[str]:
        """Arguments that the message accuses."""
        if self.report is not None:
            return {e.argument for probe in self.report.wrong for e in probe.entries}
        named = re.findall(r"gradient of (parameter \d+)|gradInput (\d+)|(gradInput)", self.message)
        return {parameter or f"gradInput {i}" for parameter, i, _ in named}

    @property
    def names_an_entry(self) -> bool:
        """Whether an index is said."""
        return bool(re.search(r"\[[\d, ]*\]|: analytic", self.message))


def laws_of(kind: LayerKind) -> list[Any]:
    """The laws that are about such a layer, cheapest first."""
    return [MODULE_LAWS[name] for name in HAND_WRITTEN_LAWS if name not in kind.skip]


def hunt(kind: LayerKind, make: type[ByHand] = ByHand, *, examples: int, seed: int = 0) -> Any:
    """The first Finding of any law, None if the layer passes; errors in its code count as found."""
    maker = trial_maker(kind, make)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for law in laws_of(kind):
            reports = []
            for example in range(max(2, round(examples * law.effort))):
                draws = Draws(seed * 1_000_003 + example, **law.draws, turn=example)
                try:
                    reports.append(law.check(maker(draws)))
                except LawError as error:
                    return Finding(law.name, example, str(error), error.report)
                except (ValueError, IndexError, TypeError) as error:
                    return Finding(law.name, example, f"{type(error).__name__}: {error}")
            found = [report for report in reports if isinstance(report, Report)]
            unresolved = [report for report in found if not report.ok]
            if len(unresolved) > 0.2 * len(found):
                return Finding(law.name, len(found), f"unchecked: {unresolved[-1]}")
    return None


def smallest(kind: LayerKind, law: str, make: type[ByHand] = ByHand, *, examples: int = 100) -> Any:
    """The shrunk failure that Hypothesis reports, as an exception with notes."""
    try:
        run_law(MODULE_LAWS[law], trial_maker(kind, make), examples=examples)
    except Exception as error:  # noqa: BLE001  # whatever the broken layer raises is the finding
        return error
    return None
