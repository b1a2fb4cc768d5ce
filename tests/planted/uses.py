"""Faults in what people do with modules, optimizers, recorded steps and states, planted as text.

Each changes one line of the package, as long as a with statement lasts: the code of one function is
compiled anew from its changed source.  So every caller meets the fault, also those that imported
the function before.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import CodeType, FunctionType
from typing import Any

import cases
import pytest
from machine_runs import Figures, run_machine

from tapegrad import optim
from tapegrad.autograd.check import (
    CRITERION_LAWS,
    MODULE_LAWS,
    OPTIMIZER_LAWS,
    Draws,
    LawError,
)
from tapegrad.autograd.check.criterions import CriterionTrial
from tapegrad.autograd.check.modules import ModuleTrial
from tapegrad.autograd.check.optimizers import OptimizerTrial

# ruff: noqa: E501  # a fault is one line of a table

__all__ = ["USES", "Use", "hunt_use", "planted"]

# finder | what | function | text | other text.  Lines of one name are one fault; \n ends a line, and
# a property with = behind it is its setter.
FAULTS = r"""
modules | an optimizer moves what is frozen | optim.core.optimizer:Optimizer._which_learn | if not p.frozen]) | ])
modules | an optimizer moves what is frozen | optim.core.optimizer:Optimizer._which_learn | getattr(self.module, "named_trainable", self.module.named_parameters) | self.module.named_parameters
modules | an optimizer does not see what is unfrozen | optim.core.optimizer:Optimizer._follow_parameters | not moved and self._learning == self._which_learn() | not moved
modules | an optimizer forgets the state of what rests | optim.core.runs:at_rest | if name not in members and state} | if False}
modules | a run of memory reaches over what is frozen in it | optim.core.runs:_Place.continues | self.stop == other.start | self.stop <= other.start
modules | a run of memory reaches over what is frozen in it | optim.core.runs:_Place.continues | == other.gradient_start | <= other.gradient_start
modules | an optimizer moves memory that others hold | optim.core.optimizer:Optimizer._gather | and not is_held_elsewhere(trained) and not is_held_elsewhere(gradients) | and True
modules | an optimizer moves memory that others hold | nn.core.memory:flatten_parameters | _sharers([p for _, p in named], module) | []
modules | an optimizer moves memory that others hold | nn.core.memory:flatten_parameters | _sharers(gradients, module, gradients=True) | []
modules | shared gradients are clipped twice | optim.core.clipping:_gradients | if memory not in known or not array.size: | if True:
modules | frozen gradients count in the norm | optim.core.clipping:_gradients | getattr(target, "named_trainable", target.named_parameters) | target.named_parameters
modules | accumulated gradients are zeroed | optim.core.optimizer:Optimizer.zero_grad | if self.accumulated: | if False:
modules | accumulated gradients are summed | optim.core.optimizer:Optimizer._update | g / self.accumulated | g * 1
modules | replaced layers are not noticed | optim.core.optimizer:Optimizer._refuse_other_parameters | self._structure is not None and self._structure.may_differ() | False
modules | the rate of a group cannot be set | optim.core.groups:GroupOptions.update | if "lr" in new: | if False:
modules | a layer called output does not learn | nn.methods.torch7:Torch7.output= | if holds_state(value): | if False:
modules | private attributes do not learn | nn.core.part:named_fields | if type(value) in _PLAIN or name == ATTRIBUTE: | if type(value) in _PLAIN or name[0] == "_":
modules | an assigned array is a constant | nn.core.part:Part.__setattr__ | if not holds_state(value): | if False:
modules | unfreeze leaves Parameters frozen | nn.methods.python:Python._freeze | p.unfreeze() | pass
modules | freeze stops at the first module | nn.methods.python:Python._freeze | in self.listModules(): | in [self]:
modules | share leaves the gradients apart | nn.methods.torch7:Torch7.share | own._bare = source._bare | pass
modules | a clone shares memory | autograd.core.parameter:Parameter.__deepcopy__ | copy_array(self._bare, memo) | self._bare
modules | a copy has no gradients | autograd.core.parameter:Parameter.__deepcopy__ | self.grad is not None | False
modules | getParameters gives an old buffer | nn.core.memory:current_flat_buffers | if p is not parameter or p._bare is not array: | if p is not parameter:
modules | getParameters gives an old buffer | nn.core.memory:current_flat_buffers | p.grad is None or p.grad._bare is not gradient | p.grad is None
modules | zeroGradParameters leaves frozen gradients | nn.methods.torch7:Torch7.zeroGradParameters | not in known and p.grad is not None | not in known and False
modules | evaluate stops at the first module | nn.methods.torch7:Torch7.evaluate | in self.listModules(): | in [self]:
modules | training stops at the first module | nn.core.training_mode:TrainingMode.__call__ | in self.module.listModules(): | in [self.module]:
modules | p.data -= g raises after the update | autograd.core.tensor:Tensor.data= | note_write(self._bare) | raise AttributeError("data")
modules | shared memory counts twice in a total | nn.core.summary:_each_memory_once | known.add(memory) | pass
modules | what is frozen counts as trained | nn.core.summary:_cells | module.named_trainable() | module.named_parameters()
modules | results are one handle | nn.core.part:fresh_result | return map_leaves(_fresh_leaf, nest) | return nest
modules | a criterion's own Parameters get no gradient | nn.criterions.criterion:Criterion.backward | input, target, None) | input, target, [])
modules | a gradient by an array is a constant in a loss | autograd.transforms.variables:BoundCall.gradients | paths.parameters_beyond and | False and
modules | the second backward replaces the first | autograd.reverse.accumulation:add_to_grad | inplace.accumulate(leaf.grad, g if scale == 1 else g * scale) | inplace.assign(leaf.grad, g if scale == 1 else g * scale)
modules | replay does not watch the mode | autograd.replay.watching:Watches._places_of | attributes_of(value), results, | attributes_of(value), (*results, "_training"),
modules | replay does not watch the freezing of modules | autograd.replay.watching:Watches._places_of | attributes_of(value), results, | attributes_of(value), (*results, "_frozen"),
recurrent | replay takes an old mask of the same shape | autograd.replay.places:is_same | alike and bool(a.tobytes() == b.tobytes()) | alike
recurrent | replay does not watch the mask | autograd.replay.watching:Watches._places_of | attributes_of(value), results, | attributes_of(value), (*results, "_mask"),
recurrent | replay keeps a state for ever | nn.recurrent.states:Remembering._remembers | watching is not None and watching.refuses | False
recurrent | a remembered state is not detached | nn.recurrent.states:Remembering.keep_states | self._kept = map_leaves(lambda t: t.detach(), states) | self._kept = states
recurrent | a mask is never taken away | nn.recurrent.sequence:Masked.setZeroMask | None if mask is None | self._mask if mask is None
recurrent | forget does nothing in evaluation mode | nn.recurrent.states:Remembering.forget | self._kept = None | self._kept = None if self.train else self._kept
recurrent | states of one sample are broadcast | nn.recurrent.states:check_states | if found != wanted: | if len(found) != len(wanted):
recurrent | the mask of the way back is not reversed | nn.recurrent.sequence:Bidirectional.setZeroMask | mask[::-1] | mask
recurrent | the mask of a call is not reversed | nn.recurrent.sequence:Bidirectional.updateOutput | ops.flip(mask, axis=0) | mask
recurrent | states that are passed are remembered too | nn.recurrent.states:Remembering.keep_states | elif self._remembers(): | if self._remembers():
recurrent | states are remembered in the other mode | nn.recurrent.states:Remembering._remembers | "train" if self.train else "eval" | "eval" if self.train else "train"
recurrent | states that are set are not copied | nn.recurrent.states:Remembering.setHiddenState | ops.copy(t).detach() | t.detach()
recurrent | a refused sequence leaves its states | nn.recurrent.over_time:Sequencer.updateOutput | dict(self.start_states() or {}) | self.start_states() or {}
recurrent | padding keeps the state of the step before | nn.recurrent.padded_gates:at_padding | np.array(gates, dtype) | np.array([gates[0]] + [0] * (len(gates) - 1), dtype)
attention | replay takes an old mask of the same shape, of attention | autograd.replay.places:is_same | alike and bool(a.tobytes() == b.tobytes()) | alike
trainer | parts in evaluation mode are trained | optim.training.trainer:Trainer._set_modes | if any(part.train for part in parts): | if False:
trainer | a validation of nothing is 0 | optim.training.evaluation:Evaluator._evaluate | if not count: | if False:
trainer | a validation of nothing is 0 | optim.training.data:_with_samples | if not len(batches): | if False:
trainer | a loss that sums depends on the batches | nn.criterions.classification:ClassNLLCriterion.mean_weights | return 1, samples | return samples, samples
trainer | an incomplete accumulation goes into the next epoch | optim.training.trainer:Trainer._run_epoch | self._finish_accumulating() | pass
trainer | an incomplete accumulation is divided by all | optim.core.optimizer:Optimizer._update | g / self.accumulated | g / self.accumulate
trainer | each epoch has the same order | optim.training.data:Batches.__iter__ | self._iterations += 1 | pass
trainer | a resumed run forgets accumulated gradients | optim.training.trainer:Trainer.load_state_dict | if gradient is not None: | if False:
trainer | a loss that is not finite moves the statistics | optim.training.trainer:Trainer._update | buffer.assign(untracked(array)) | pass
trainer | the average misses the last update of an epoch | optim.training.trainer:Trainer._finish_accumulating | self.average is not None | False
trainer | ignored labels count as wrong | optim.training.evaluation:Evaluator._evaluate | labels_ignored_by(self.criterion) | ()
trainer | ignored labels count as wrong | optim.training.labels:scores_and_labels | (labels < 0) | (labels < -1)
trainer | NaN is a right answer | optim.training.classification:Accuracy.batch_sum | & ~np.isnan(scores).any(axis=1) | & True
law of modules | replay does not watch the settings of modules | autograd.replay.watching:Watches._places_of | elif isinstance(results, tuple) and | elif False and
law of modules | replay takes equal shapes for equal values | autograd.replay.places:is_same | alike and bool(a.tobytes() == b.tobytes()) | alike
law of compiled steps | memory is used again too early | autograd.compiling.buffers:plan_buffers | living[0][0] < life.first | living[0][0] < life.first + 2
law of compiled steps | a kernel does not wait for a write | autograd.compiling.grouping:_Builder._order | for owner in {self._owner(slot) for slot in reads}: | for owner in ():
law of compiled steps | a sum takes columns behind the end of a row | autograd.compiling.kernel_sums:add_lanes | if mask is not None: | if False:
law of criterions | replay takes equal numbers of another sign for one | autograd.replay.places:is_same | return repr(a) == repr(b) | return abs(a - b) < 2
law of optimizers | replay does not watch the entries of a dict | autograd.replay.watching:Watches._places_of | elif isinstance(value, dict): | elif False:
"""


@dataclass(frozen=True)
class Use:
    """A fault in use, and what is to find it: a machine, or a law of recorded steps.

    edits: (function, text, other text)
    """

    finder: str
    name: str
    edits: tuple[tuple[str, str, str], ...]


def _read(table: str) -> dict[str, Use]:
    found: dict[str, Use] = {}
    for line in table.strip().splitlines():
        finder, name, *edit = (part.strip().replace("\\n", "\n") for part in line.split(" | "))
        known = found[name].edits if name in found else ()
        if len(edit) != 3 or (known and found[name].finder != finder):
            raise ValueError(f"not a fault: {line}")
        found[name] = Use(finder, name, (*known, tuple(edit)))
    return found


USES = _read(FAULTS)


@contextmanager
def planted(use: Use) -> Iterator[list[FunctionType]]:
    """Have the fault in the package inside a with statement, which is given what is changed."""
    with ExitStack() as stack:
        by_function: dict[str, list[tuple[str, str]]] = {}
        for place, old, new in use.edits:
            by_function.setdefault(place, []).append((old, new))
        functions = [_function_at(place) for place in by_function]
        for function, edits in zip(functions, by_function.values(), strict=True):
            stack.callback(setattr, function, "__code__", function.__code__)
            function.__code__ = _changed(function, edits)
        yield functions


def _function_at(place: str) -> FunctionType:
    module, _, path = place.removesuffix("=").partition(":")
    value: Any = import_module(f"tapegrad.{module}")
    for name in path.split("."):
        value = vars(value)[name]
    if isinstance(value, property):
        value = value.fset if place.endswith("=") else value.fget
    return inspect.unwrap(getattr(value, "__func__", value))


def _changed(function: FunctionType, edits: list[tuple[str, str]]) -> CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"{function.__qualname__} has this not once: {old}")
        source = source.replace(old, new)
    inner = ast.parse(source).body[0]
    assert isinstance(inner, ast.FunctionDef)
    inner.decorator_list, inner.returns = [], None
    free = ", ".join(function.__code__.co_freevars)
    outer = ast.parse(f"def outer({free}):\n    global {inner.name}\n    pass").body[0]
    assert isinstance(outer, ast.FunctionDef)
    outer.body[1] = inner  # a global, so that what calls itself closes over nothing
    tree = ast.fix_missing_locations(ast.Module([outer], []))
    names: dict[str, Any] = dict(vars(inspect.getmodule(function)))
    flags = __future__.annotations.compiler_flag
    exec(compile(tree, "<planted>", "exec", flags, dont_inherit=True), names)
    names["outer"](*function.__code__.co_freevars)
    code: CodeType = names[inner.name].__code__
    return code


def _machines(name: str) -> list[Any]:
    found = import_module(f"test_machine_{name}")
    if name == "recurrent":
        return [found.of_kind(kind) for kind in found.KINDS]
    kinds = {"modules": "Modules", "attention": "Attentions", "trainer": "TrainerMachine"}
    return [getattr(found, kinds[name])]


def hunt_use(use: Use, *, examples: int, rounds: int = 1) -> int | None:
    """How many examples it took to find the fault; None if it was not found.

    examples: of a machine, or of each subject of a law, in one round.  Hypothesis varies examples
              that it has, so the first ones of several rounds differ more than those of one
    """
    if use.finder.startswith("law of "):
        with planted(use):
            return _hunt_by_law(use.finder.removeprefix("law of "), examples * rounds)
    figures = Figures()
    steps = {"modules": 40, "trainer": 12}.get(use.finder, 20)
    with planted(use):
        try:
            for number in range(rounds):
                for machine in _machines(use.finder):
                    run_machine(
                        machine, examples, steps, seed=number or None, shrink=False, figures=figures
                    )
        except (Exception, pytest.fail.Exception):  # noqa: BLE001  # whatever the fault makes of it
            return figures.examples - 1  # Hypothesis runs the example again that it reports
    return None


def _hunt_by_law(kind: str, examples: int) -> int | None:
    """The same of one law over all subjects: of settings that are changed after recording, if none
    is named."""
    laws, subjects, trial = {
        "modules": (MODULE_LAWS, cases.MODULES, ModuleTrial),
        "criterions": (CRITERION_LAWS, cases.CRITERIONS, CriterionTrial),
        "optimizers": (OPTIMIZER_LAWS, cases.OPTIMIZERS, _optimizer_trial),
        "compiled steps": (MODULE_LAWS, cases.MODULES, ModuleTrial),
    }[kind]
    name = (
        "compiled_equals_eager" if kind == "compiled steps" else "changed_after_recording_is_seen"
    )
    [law] = [each for each in laws if each.name.endswith(name)]
    count = 0
    for example in range(examples):
        for subject, case in subjects.items():
            if (subject, law.name) in cases.EXCEPTIONS:
                continue
            count += 1
            draws = Draws(example, regimes=law.regimes, empties=law.empties)
            try:
                law.check(trial(subject, case, draws))
            except (LawError, ArithmeticError, Warning):  # an overflow of wrong numbers, too
                return count
    return None


def _optimizer_trial(name: str, case: Any, draws: Draws) -> OptimizerTrial:
    return OptimizerTrial(name, getattr(optim, name), case, draws)
