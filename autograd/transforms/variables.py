"""BoundCall: one run of a function on fresh variables.  Every derivative is made from such a run.

A variable is recorded as an `identity` call on the argument that it stands for.  So an inner
derivative stops at its own variables, an outer derivative passes through them, and nested
derivatives never confuse two variables.  nn marks the inputs of modules by variables too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.mode import (
    current_mode,
    derivative_depth,
    enable_grad,
    is_followed,
    is_recording,
    no_grad,
)
from tapegrad.autograd.core.node import Node, parents_of, record_call
from tapegrad.autograd.core.other_keywords import note_keyword
from tapegrad.autograd.core.running import differentiated, refusal_behind
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves
from tapegrad.autograd.forward.push import Course
from tapegrad.autograd.forward.streaming import Stream
from tapegrad.autograd.ops import elementwise as e
from tapegrad.autograd.ops.shape import copy
from tapegrad.autograd.reverse.sweep import Paths, cotangents, reaches_parameter, seed_for
from tapegrad.autograd.transforms.arguments import function_name
from tapegrad.autograd.transforms.gradient_record import track_gradients
from tapegrad.autograd.transforms.sample import Single

__all__ = ["BoundCall", "detach_unreachable", "tangent_for", "variable"]

NOT_SCALAR = (
    "a gradient is of a function that returns one number; {name} returned {found}. {advice}, or "
    "use vjp with the cotangent you want."
)
NOTHING_RETURNED = "{name} returned None: does it end without a return statement?"
NOT_A_TENSOR = (
    "{name} returned {found}, which is no Tensor, array or number, and so has no derivative"
)
INDEPENDENT = (
    "strict=True: the result of {name} does not depend on its argument {which}. Was that converted "
    "with .numpy(), or used in comparisons and as an index alone?"
)
LIST_OF_NUMBERS = (
    "argument {which} of {name} is a list of numbers, which {name} gets as a list of Tensors; "
    "np.array(…) makes one array of it"
)
NOT_FLOATING = (
    "argument {which} of {name} holds {dtype}; only floating point arrays can be differentiated"
)


def variable(x: Tensor) -> Tensor:
    """A fresh variable with the value of x, recorded as an identity call on x."""
    past = x._node
    if past is None:
        return x.with_node(record_call(_WITHOUT_PAST, (), (), x._bare))
    return x.with_node(record_call(_WITH_PAST, (past,), (), x._bare))


_WITHOUT_PAST, _WITH_PAST = (e.identity.primitive.plan((tracked,)) for tracked in (False, True))


def _argument_variable(value: Any, fn: Callable[..., Any], which: int | str) -> Tensor:
    """A variable for one array of an argument of fn; a number, Python's or NumPy's, is a float.

    which: the position or name of the argument, for messages
    Raises TypeError for an array of integers or booleans, and for what is no array of numbers.
    """
    try:
        tensor = value if isinstance(value, Tensor) else untracked(as_array(value))
    except TypeError as error:
        raise TypeError(f"argument {which} of {function_name(fn)}: {error}") from error
    if tensor.dtype.kind not in "fc":
        if hasattr(value, "dtype") and not isinstance(value, np.generic):
            raise TypeError(
                NOT_FLOATING.format(which=which, name=function_name(fn), dtype=tensor.dtype)
            )
        tensor = untracked(as_array(value, float))  # 2 means the number 2.0, as in calculus
    return variable(tensor)


def detach_unreachable(x: Any) -> Any:
    """x without its past, if that leads only to variables of a finished derivative.

    Nothing outside can ask for a gradient by such variables, so the tape behind x can be freed.
    """
    if (
        derivative_depth.get()
        or not isinstance(x, Tensor)
        or x._node is None
        or reaches_parameter(x._node)
    ):
        return x
    return x.detach()


def _has_past(variable: Tensor) -> bool:
    """Does a fresh variable stand for a tracked argument?"""
    return variable._node is not None and variable._node.parents != ()


def tangent_for(variable: Tensor, tangent: Any) -> Any:
    """A tangent in the dtype of its variable: an array, or a Tensor where it is one."""
    if isinstance(tangent, Tensor):
        return tangent if tangent.dtype == variable.dtype else tangent.astype(variable.dtype)
    return as_array(tangent, variable.dtype)


def _as_constant(result: Any) -> Any:
    """An array or a number as a Tensor that is not tracked; anything else as it is."""
    if isinstance(result, Tensor) or not (
        devices.is_array(result) or isinstance(result, (int, float, complex, np.generic))
    ):
        return result
    return untracked(as_array(result))


def _reach(nodes: list[Node], targets: set[Node | None]) -> bool:
    """Whether one of the targets is among the nodes and their ancestors."""
    seen: set[Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node in targets:
            return True
        if node not in seen:
            seen.add(node)
            stack.extend(parents_of(node))
    return False


def _any_tensors(values: list[Any]) -> bool:
    return any(isinstance(value, Tensor) for value in values)


def _array_if_unreachable(y: Tensor) -> Any:
    """The array of y; y itself where a Parameter is behind it."""
    return y if y._node is not None and reaches_parameter(y._node) else y._bare


def _explain_lists(error: TypeError, fn: Callable[..., Any], arguments: Iterable[Any]) -> None:
    """Add to an error inside fn that an argument was a list of numbers, where one was."""
    for which, value in arguments:
        if isinstance(value, list) and value and all(np.isscalar(x) for x in leaves(value)):
            error.add_note(LIST_OF_NUMBERS.format(which=which, name=function_name(fn)))


class BoundCall:
    """One run of a function on fresh variables, and what a sweep back over it needs.

    keys:  which arguments get variables, as positions in `args` and keys of `kwargs`
    along: the tangents of their arrays, which then travel with the run where that is possible
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        keys: tuple[int | str, ...],
        along: list[Any] | None = None,
    ) -> None:
        self.name = function_name(fn)
        self.keys = keys
        self.structure: list[Any] = []  # the original arguments, one for each key
        self.flat = True  # whether each of them is one array and no nest
        self.tensors_in = False  # whether they hold Tensors
        self.paths: Paths | Course | None = None  # of the last derivative
        self.variables: list[Tensor] = []
        changed = list(args)
        for key in keys:
            value = args[key] if isinstance(key, int) else kwargs[key]
            self.structure.append(value)
            if type(value) is np.ndarray:
                new: Any = _argument_variable(value, fn, key)
                self.variables.append(new)
            else:
                self.flat = False
                arrays = leaves(value)
                self.tensors_in = self.tensors_in or any(isinstance(x, Tensor) for x in arrays)
                parts = [_argument_variable(x, fn, key) for x in arrays]
                self.variables += parts
                new = replace_leaves(value, parts)
            if isinstance(key, int):
                changed[key] = new
            else:
                kwargs = {**kwargs, key: new}
        self.stream: Stream | None = None
        if along is not None and self._can_stream(along):
            self.stream = Stream()
            for x, t in zip(self.variables, along, strict=True):
                x._node = self.stream.node_of(x, tangent_for(x, as_array(t)))
        self.targets: list[Node] = [v._node for v in self.variables if v._node is not None]
        token = derivative_depth.set(derivative_depth.get() + 1)
        name_token = differentiated.set(self.name)
        try:
            if self.stream is not None:
                with self.stream.installed():
                    self.output = fn(*changed, **kwargs)
            elif current_mode() is None:
                self.output = fn(*changed, **kwargs)
            else:
                with enable_grad():
                    self.output = fn(*changed, **kwargs)
        except Exception as error:  # any error may hide the refusal of a conversion
            refused = refusal_behind(error)
            if refused is not None:
                raise refused.with_traceback(error.__traceback__) from None
            if isinstance(error, TypeError):
                note_keyword(error)
                _explain_lists(error, fn, zip(keys, self.structure, strict=True))
            raise
        finally:
            differentiated.reset(name_token)
            derivative_depth.reset(token)

    def _can_stream(self, along: list[Any]) -> bool:
        """Is the run at the top, on NumPy arrays, with nothing tracked among the arguments?"""
        return (
            current_mode() is None
            and not derivative_depth.get()
            and all(type(x._bare) is np.ndarray and not _has_past(x) for x in self.variables)
            and not any(isinstance(t, Tensor) and t.tracked for t in along)
        )

    def outputs(self) -> list[Tensor]:
        """What fn returned, as Tensors: arrays and numbers are constants, of derivative 0.

        Raises TypeError where fn returned anything else.
        """
        if self.output is None:
            raise TypeError(NOTHING_RETURNED.format(name=self.name))
        self.output = map_leaves(_as_constant, self.output)
        outputs = leaves(self.output)
        for output in outputs:
            if not isinstance(output, Tensor):
                found = type(output).__name__
                if output is not self.output:
                    found = f"a {type(self.output).__name__} with a part of type {found}"
                raise TypeError(NOT_A_TENSOR.format(name=self.name, found=found))
        return outputs

    def scalar(self) -> Tensor:
        """The number that fn returned.  Raises ValueError for several, TypeError for no Tensor."""
        output = self.output
        if not isinstance(output, Tensor):
            self.outputs()  # raises where a part of the result is no number
            output = self.output
        if not isinstance(output, Tensor):
            found = f"a {type(output).__name__}"
            advice = "Return the number alone"
            raise TypeError(NOT_SCALAR.format(name=self.name, found=found, advice=advice))
        if output._bare.size != 1:
            found = f"shape {output.shape}"
            raise ValueError(NOT_SCALAR.format(name=self.name, found=found, advice="Sum it"))
        return output

    def require_dependence(self) -> None:
        """Raise TypeError, which names it, for an argument that fn's result does not depend on."""
        outputs = [y._node for y in self.outputs() if y._node is not None]
        position = 0
        for key, value in zip(self.keys, self.structure, strict=True):
            count = len(leaves(value))
            own = {v._node for v in self.variables[position : position + count]}
            position += count
            if count and not _reach(outputs, own):
                raise TypeError(INDEPENDENT.format(name=self.name, which=key))

    def value(self) -> Any:
        """The result of fn: arrays for arrays, Tensors for Tensors or inside another derivative.

        It is a tracked Tensor where a Parameter is behind it, whose gradient may be wanted.
        """
        if self.tensors_in or derivative_depth.get() > 0:
            return map_leaves(detach_unreachable, self.output)
        if self.paths is None:
            nodes = [y._node for y in leaves(self.output) if isinstance(y, Tensor) and y.tracked]
            self.paths = Paths([node for node in nodes if node is not None], self.targets)
        if not self.paths.parameters_beyond or not is_recording():
            return map_leaves(lambda output: output._bare, self.output)
        return map_leaves(_array_if_unreachable, self.output)

    def seeds(self) -> list[tuple[Node, Any]]:
        """The start of the gradient's sweep: the cotangent 1 of the number that fn returned."""
        output = self.scalar()
        return [] if output._node is None else [(output._node, seed_for(output, None))]

    def cotangents(self, seeds: list[tuple[Node, Any]], targets: list[Node]) -> list[Any]:
        """The cotangent of each target; None for a target that no seed depends on."""
        taped = self.tensors_in or derivative_depth.get() > 0
        paths = self.paths = Paths([node for node, _ in seeds], targets)
        if not taped and is_recording():
            taped = any(isinstance(g, Tensor) and g.tracked for _, g in seeds)
        if not taped and not is_followed():
            return cotangents([(n, as_array(g)) for n, g in seeds], targets, paths=paths)
        seeds = [(n, g if isinstance(g, Tensor) else untracked(g)) for n, g in seeds]
        if taped:
            alone = self._stands_alone(paths, [g for _, g in seeds])
            with no_grad() if alone else nullcontext():
                return cotangents(seeds, targets, taped=True, paths=paths)
        with no_grad():
            results = cotangents(seeds, targets, taped=True, paths=paths)
            # copies, for the reason given in `_owned_gradient`
            return [g if g is None else copy(g) for g in results]

    def _stands_alone(self, paths: Paths, seeds: list[Any]) -> bool:
        """Whether nothing tracked is behind arguments and seeds: nobody then derives the result."""
        if derivative_depth.get() > 0 or paths.needed is not None:
            return False
        given = [*leaves(self.structure), *leaves(seeds)]
        return not any(isinstance(x, Tensor) and x.tracked for x in given)

    def gradients(self, seeds: list[tuple[Node, Any]]) -> list[Any]:
        """The cotangents of the variables: for each key, in the structure of its argument."""
        cotangents = self.cotangents(seeds, self.targets)
        paths = self.paths
        assert isinstance(paths, Paths)  # the sweep has set it
        results = [
            self._owned_gradient(g, variable)
            for g, variable in zip(cotangents, self.variables, strict=True)
        ]
        if paths.parameters_beyond and is_recording() and not _any_tensors(results):
            results = track_gradients(self.name, results, seeds, self.targets, paths)
        if self.flat:
            return results
        gradients: list[Any] = replace_leaves(self.structure, results)
        return gradients

    def course(self) -> Course:
        """The calls over which tangents of the variables are pushed to the results."""
        nodes = [output._node for output in self.outputs()]
        course = Course(nodes, () if self.stream else self.targets, self.stream)
        self.paths = course
        return course

    def tangents(self, course: Course, moved: list[Any]) -> list[Any]:
        """The tangents of the results; zeros for one that does not move.

        moved: one tangent for each of the course's sources, in its dtype; None for one that stays
        They are tracked Tensors where something tracked is behind them, else Tensors or arrays as
        gradients are.
        """
        outputs = self.outputs()
        taped = derivative_depth.get() > 0 or (self.tensors_in and self.stream is None)
        if not taped and is_recording():
            taped = bool(course.parameters_beyond) or any(
                isinstance(t, Tensor) and t.tracked for t in moved
            )
        if not taped and not is_followed():
            pushed = course.push([None if t is None else as_array(t) for t in moved])
        else:
            moved = [t if t is None or isinstance(t, Tensor) else untracked(t) for t in moved]
            if taped:
                pushed = course.push(moved, taped=True)
            else:
                with no_grad():
                    pushed = course.push(moved, taped=True)
                    # copies, for the reason given in `_owned_gradient`
                    pushed = [t if t is None else copy(t) for t in pushed]
        results = [self._owned_gradient(t, y) for t, y in zip(pushed, outputs, strict=True)]
        if not self.tensors_in:
            return results
        return [t if isinstance(t, Tensor) else untracked(t) for t in results]

    def _owned_gradient(self, g: Any, variable: Tensor) -> Any:
        """The cotangent g of a variable, or the tangent of a result, as callers get it.

        It is zeros for None, floating point ones where a result is not, and has its own memory.
        """
        if g is None:
            xp = devices.namespace(variable._bare)
            dtype = variable.dtype if variable.dtype.kind in "fc" else float
            g = xp.zeros(variable.shape, dtype=dtype)
            return untracked(g) if self.tensors_in else g
        if isinstance(g, Tensor):
            # an array if fn was given arrays, unless the gradient depends on something tracked
            g = detach_unreachable(g)
            return g if self.tensors_in or g.tracked or isinstance(g, Single) else g._bare
        # A rule may return the cotangent that it was given, or a broadcast view of it, and callers
        # may write to their gradient.
        return devices.namespace(g).array(g, copy=True)
