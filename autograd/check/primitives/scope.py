"""Which laws apply to which operation, and which of NumPy's functions run an operation.

For example, an operation without out= has no law of out=.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad.autograd.check.primitives.trial import operations
from tapegrad.autograd.core.declaration import numpy_functions

if TYPE_CHECKING:
    from tapegrad.autograd.check.laws import Law

__all__ = ["applies_to_primitive", "numpy_names"]


def applies_to_primitive(law: Law, name: str) -> bool:
    """Does the law apply to the operation of that name?"""
    function = operations()[name]
    primitive = getattr(function, "primitive", None)
    if primitive is None:
        # A fact returns something about arrays (shapes, dtypes, truth) and no arrays.
        if function.fact:  # type: ignore[attr-defined]  # set by @composite
            return law.name == "it_equals_numpy"
        if not function.differentiable and law.name in _DERIVATIVE_LAWS:  # type: ignore[attr-defined]  # too
            return False
        if law.name == "it_equals_numpy":
            return bool(numpy_names(name))
        return law.name not in _PRIMITIVE_ONLY
    if primitive.mutates:
        return law.name in _MUTATING_LAWS
    if primitive.random:
        return law.name in _RANDOM_LAWS
    if law.name in _MUTATING_LAWS | _RANDOM_LAWS and law.name not in _GENERAL:
        return False
    if law.name == "a_batch_agrees_with_the_loop_over_samples":
        return primitive.batch_rule is not None
    if law.name == "out_receives_the_result":
        return primitive.takes_out or "out" in inspect.signature(primitive.body_for(np)).parameters
    if law.name == "another_body_gives_what_the_plain_one_gives":
        return primitive.body_for(np) is not primitive.body
    if law.name == "it_equals_numpy":
        return bool(numpy_names(name))
    return primitive.differentiable or law.name not in _DERIVATIVE_LAWS


_PRIMITIVE_ONLY = {
    "another_body_gives_what_the_plain_one_gives",
    "out_receives_the_result",
    "only_its_target_is_overwritten",
    "equal_seeds_give_equal_draws",
}
_GENERAL = {"replay_equals_eager", "compiled_equals_eager"}
_MUTATING_LAWS = {"only_its_target_is_overwritten"} | _GENERAL
_RANDOM_LAWS = {"equal_seeds_give_equal_draws"} | _GENERAL
_DERIVATIVE_LAWS = {
    "its_gradient_is_the_derivative",
    "its_second_derivative_is_right",
    "its_gradient_is_linear_in_the_cotangent",
    "pushed_tangents_agree_with_its_gradient",
    "tracking_fewer_arguments_changes_no_gradient",
    "a_recorded_sweep_gives_the_same_gradient",
    "gradients_share_no_memory",
    "float64_results_carry_no_float32_noise",
    "at_a_tie_its_gradient_lies_between_those_of_both_sides",
    "at_equal_eigenvalues_its_gradient_is_right_or_nan",
}


def numpy_names(name: str) -> list[Callable[..., Any]]:
    """NumPy's functions that run the operation of that name on Tensors."""
    target = operations().get(name)
    # the entries of empty_like are undefined
    return [
        function
        for function, ours in numpy_functions.items()
        if ours is target and function is not np.empty_like
    ]
