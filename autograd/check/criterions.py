"""Laws of criterions: the laws of modules that make sense for a loss, and some for losses only.

A criterion is a module with two inputs, whose `backward` takes the target instead of gradOutput.
The trial below translates between the two, so that the laws of modules apply unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.autograd.check.laws import Laws, NotCovered, must, must_be_close, must_be_equal
from tapegrad.autograd.check.modules import MODULE_LAWS, ModuleTrial
from tapegrad.autograd.check.modules.integers import INTEGERS, REFUSALS, integers_near
from tapegrad.autograd.check.report import LawError
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves, map_leaves

__all__ = ["CRITERION_LAWS", "CriterionTrial"]

CRITERION_LAWS = Laws("criterion")


class CriterionTrial(ModuleTrial):
    """A criterion with an input and a target."""

    def target_for(self, x: Any) -> Any:
        """The target on the device of the input; floats in its dtype, once in `target_dtype`."""
        device, dtype = leaves(x)[0].device, leaves(x)[0].dtype

        def as_target(leaf: Any) -> Tensor:
            array = np.asarray(leaf)
            if array.dtype.kind == dtype.kind == "f":
                rounded = array.astype(self.target_dtype or dtype, copy=False)
                array = rounded.astype(dtype, copy=False)
            return Tensor(array, device=device)

        return map_leaves(as_target, self.layer.target)

    def run(self, module: Any, x: Any) -> Any:
        """The result of `forward`."""
        self._target = self.target_for(x)
        return self.checked_call(f"{self._title(module)}.forward", module.forward, x, self._target)

    def call(self, module: Any, x: Any) -> Any:
        """The result of a plain call, recorded on the current tape."""
        return self.checked_call(self._title(module), module, x, self.target_for(x))

    def backward(
        self, module: Any, x: Any, v: Sequence[np.ndarray], scale: float = 1
    ) -> list[np.ndarray]:
        """v times the gradient with respect to the input."""
        module.backward(x, self.target_for(x))
        return [v[0] * g for g in self.grad_input(module)]


for _name in (
    "equal_calls_give_equal_tensors",
    "its_gradients_are_the_derivatives",
    "its_second_derivatives_are_right",
    "pushed_tangents_agree_with_its_gradients",
    "backward_with_another_input_is_an_error",
    "a_plain_call_gives_the_output_and_keeps_no_state",
    "inputs_grad_outputs_and_parameters_are_left_alone",
    "grad_input_shares_no_memory",
    "results_are_not_overwritten_by_the_next_call",
    "results_do_not_depend_on_earlier_calls",
    "memory_layout_does_not_matter",
    "it_leaves_no_cyclic_garbage",
    "evaluation_is_deterministic_and_changes_nothing",
    "equal_seeds_give_equal_results",
    "a_clone_is_equal_and_independent",
    "a_pickled_copy_gives_equal_results",
    "float32_agrees_with_float64",
    "float16_agrees_with_float64",
    "float16_sums_lose_nothing",
    "saturated_values_and_gradients_are_precise",
    "its_text_is_short_and_printing_changes_nothing",
    "finite_data_give_finite_results",
    "nan_stays_nan",
    "integers_give_the_values_of_their_floats",
    "a_wrong_shape_is_refused_and_changes_nothing",
    "replay_equals_eager",
    "compiled_equals_eager",
    "a_setting_changed_after_recording_is_seen",
    "strict_arrays_agree_with_numpy",
):
    CRITERION_LAWS.laws[_name] = MODULE_LAWS[_name]


@CRITERION_LAWS()
def integer_targets_give_the_loss_of_their_floats(trial: CriterionTrial) -> NotCovered | None:
    """Integers and booleans as targets give what equal floats give, or raise an error."""
    floats = [t for t in leaves(trial.layer.target) if np.asarray(t).dtype.kind == "f"]
    if not any(t.size for t in floats):
        return NotCovered("the case has no floating point target")
    dtype = np.dtype(trial.draws.choice(list(INTEGERS)))
    remaining = iter([integers_near(t, dtype, wide=False, rng=trial.rng) for t in floats])

    def whole(leaf: Any) -> Any:
        return next(remaining) if np.asarray(leaf).dtype.kind == "f" else leaf

    whole_target = map_leaves(whole, trial.layer.target)
    losses = []
    for kind in (dtype, np.dtype(np.float64)):

        def as_kind(leaf: Any, kind: np.dtype = kind) -> Tensor:
            return Tensor(leaf.astype(kind) if leaf.dtype == dtype else leaf)

        target = map_leaves(as_kind, whole_target)
        try:
            loss = trial.copy().forward(trial.on_input(), target)
        except REFUSALS:
            return None
        losses.append(np.array(loss.numpy()))
    must_be_close(losses[0], losses[1], f"the loss of a {dtype} target", relative=1e-6)
    return None


@CRITERION_LAWS()
def the_loss_is_one_number(trial: CriterionTrial) -> None:
    """`forward` returns a 0-d Tensor."""
    [loss] = leaves(trial.run(trial.copy(), trial.on_input()))
    must(loss.shape == (), f"the loss has shape {loss.shape}")


@CRITERION_LAWS()
def the_target_is_left_alone_and_checked(trial: CriterionTrial) -> None:
    """Neither forward nor backward writes into the target; backward with another is an error."""
    module, x = trial.copy(), trial.on_input()
    before = [np.array(leaf) for leaf in leaves(trial.layer.target)]
    trial.forward(module, x)
    trial.backward(module, x, [np.ones(())])
    for leaf, old in zip(leaves(trial.layer.target), before, strict=True):
        must_be_equal(np.asarray(leaf), old, "target")
    if not before:
        return  # a penalty has no target
    other = map_leaves(lambda t: Tensor(1 - t.numpy()), trial.target_for(x))
    try:
        module.backward(x, other)
    except ValueError:
        return
    raise LawError("backward(x, another target) was accepted")
