"""Tangents that travel with the results, so that the tape behind them is dropped at once.

A run of `jvp` at the top, where no other derivative and no batch is around it, needs its tape for
nothing but the next call.  So an interpreter takes the calls: each result gets a `Moved` node,
which holds its tangent and no past, and what the call would have saved is freed.  Memory stays that
of the function, and large arrays are reused from the cache.

The interpreter does the plain case itself.  Whatever else makes nodes, an inner derivative, a
custom gradient, is recorded as ever, and pushed when its result is next used.  A Parameter behind
an operand ends all that: the result must then be tracked, so the rest of the run is recorded.

As `specialize.py` does for ordinary calls, this file writes one function for each primitive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from tapegrad.autograd.core.call import apply, aspects, ensure_array
from tapegrad.autograd.core.declaration import NUMBERS, Primitive
from tapegrad.autograd.core.generated import compile_source
from tapegrad.autograd.core.mode import (
    NO_GRAD,
    Interpreter,
    Mode,
    current_mode,
    make_mode,
    reset_mode,
    switch_mode,
)
from tapegrad.autograd.core.node import next_serial, parents_of
from tapegrad.autograd.core.pushing import Push, find_push
from tapegrad.autograd.core.specialize import saved_expression, view_lines
from tapegrad.autograd.core.tensor import Tensor
from tapegrad.autograd.core.tree import leaves
from tapegrad.autograd.forward.push import Course, Moved, fit_tangent, push_call

__all__ = ["Stream"]


class Stream(Interpreter):
    """One run of a function whose results carry tangents."""

    def __init__(self) -> None:
        self.floor = next_serial()
        self.stopped = False  # once a Parameter is met, after which calls are recorded
        # Inner derivatives and no_grad() install modes of their own, so this one says both that
        # this interpreter is asked and that it streams.
        self.mode = Mode(track=True, interpreter=self, stream=self)

    def node_of(self, x: Tensor, tangent: Any) -> Moved:
        """A node for x that carries a tangent, an array of its shape and dtype."""
        return _moved_node(self, x._bare, tangent)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """A context in which calls are streamed."""
        token = switch_mode(self.mode)
        try:
            yield
        finally:
            reset_mode(token)

    def interpret(
        self, primitive: Primitive, operands: tuple[Any, ...], settings: dict[str, Any], aux: bool
    ) -> Any:
        """Record a call, as `function_of` does not run it, and drop the tape where this streams."""
        mode = current_mode()
        if mode is not self.mode or self.stopped:  # an inner derivative, or no_grad()
            assert mode is not None  # this interpreter is in it
            token = switch_mode(make_mode(mode.track, mode.observer, None))
            try:
                return apply(primitive, operands, settings, aux)
            finally:
                reset_mode(token)
        token = switch_mode(NO_GRAD)
        try:
            self._settle(operands)
            switch_mode(None)
            results = apply(primitive, operands, settings, aux)
            switch_mode(NO_GRAD)
            self._settle(results if isinstance(results, (list, tuple)) else [results])
            return results
        finally:
            reset_mode(token)

    @staticmethod
    def function_of(primitive: Primitive) -> Callable[..., Any]:
        """(stream, *operands, *settings) -> the result with its tangent.

        Where it cannot run the call it returns the stream, and `interpret` is asked.
        """
        if primitive.streamed is None:
            primitive.streamed = _streamed_function(primitive)
        return primitive.streamed

    def _settle(self, values: Iterable[Any]) -> None:
        """Push tangents to the Tensors among `values` that have a tape, and drop this."""
        if self.stopped:
            return
        behind = [x for x in leaves(list(values)) if isinstance(x, Tensor) and self._is_behind(x)]
        if not behind:
            return
        if len(behind) == 1 and (t := self._pushed_once(behind[0]._node)) is not None:
            tangents = [t]
        else:
            course = Course([x._node for x in behind], run=self)
            if course.parameters_beyond:
                self.stopped = True
                return
            tangents = course.push([node.tangent for node in course.sources])
        for x, t in zip(behind, tangents, strict=True):
            if t is not None:
                x._node = _moved_node(self, x._bare, t)

    def _is_behind(self, x: Tensor) -> bool:
        """Has x a past that no tangent stands for?"""
        node = x._node
        return node is not None and (type(node) is not Moved or node.run is not self)

    def _pushed_once(self, node: Any) -> Any:
        """The tangent of a call's one result where all parents carry tangents; else None."""
        if node.shape is None or node.serial < self.floor:
            return None
        parents: tuple[Any, ...] = parents_of(node)
        for parent in parents:
            if type(parent) is not Moved or parent.run is not self:
                return None
        t = push_call(node, [parent.tangent for parent in parents], taped=False)
        return None if t is None else fit_tangent(t, node)


def _moved_node(run: Stream, array: Any, tangent: Any) -> Moved:
    node = Moved.__new__(Moved)
    node.shape, node.dtype = array.shape, array.dtype
    node.tangent, node.run = tangent, run
    return node


def _left_to_others(stream: Stream, *_: Any) -> Any:
    return stream


def _is_arithmetic(primitive: Primitive, argument: str) -> bool:
    """Does the rule for a tangent name no function, so that it runs alike in every mode?"""
    rule: Any = primitive.jvp_rules.get(argument) or primitive.rules[argument]
    code = getattr(rule.function, "__code__", None)
    return code is not None and not code.co_names and not code.co_freevars


# A primitive's streamed function is generated: `_streamed_function` puts the parts below together.
# In its source `_x` is the array of the operand x, `_x_node` the node of a Tensor.


def _masks(primitive: Primitive) -> list[tuple[bool, ...]]:
    """Which operands carry tangents, a mask for each case; of two operands both come first."""
    operands = primitive.arguments
    ruled = [n for n in operands if primitive.rules.get(n) is not None and primitive.differentiable]
    masks = [tuple(n == name for n in operands) for name in ruled]
    return [(True, True), *masks] if len(ruled) == 2 else masks


def _pushes(primitive: Primitive) -> list[tuple[tuple[bool, ...], Push]] | None:
    """Each mask with what pushes its tangents; None for a primitive that is left to others."""
    simple = (
        1 <= len(primitive.arguments) <= 2
        and not primitive.lists
        and not primitive.optional
        and not primitive.several
        and not primitive.random
        and not primitive.mutates
    )
    if not simple:
        return None
    pushes = [
        (mask, find_push(primitive, mask, primitive.plan(mask).names, tuple(range(sum(mask)))))
        for mask in _masks(primitive)
    ]
    return None if any(push.the_rest for _, push in pushes) else pushes


def _operand_lines(name: str) -> list[str]:
    """Take an operand apart; what another run or the tape knows is left to others."""
    return [
        f"if isinstance({name}, _Tensor):",
        f"    _{name} = {name}._bare",
        f"    _{name}_node = {name}._node",
        f"    if _{name}_node is not None and (",
        f"        type(_{name}_node) is not _Moved or _{name}_node.run is not _stream",
        "    ):",
        "        return _stream",
        "else:",
        f"    _{name} = {name}",
        f"    _{name}_node = None",
    ]


def _body_lines(primitive: Primitive) -> list[str]:
    """Run the body on arrays and numbers; `_result` is a Tensor of what it returns."""
    operands = primitive.arguments
    odd = " or ".join(
        f"type(_{name}) is not _ndarray and type(_{name}) not in _NUMBERS" for name in operands
    )
    arguments = ", ".join(f"_{name}" for name in operands)
    if not primitive.inline:
        arguments = ", ".join(["_np", arguments, *(f"{n}={n}" for n in primitive.settings)])
    outcome = ", ".join(["_y", *(f"_aux_{name}" for name in primitive.aux)])
    return [
        "if _stream.stopped:",
        "    return _stream",
        f"if {odd}:",
        "    return _stream",
        f"{outcome} = _body({arguments})",
        "if " + " and ".join(f"_{n} is {n}" for n in operands) + ":",
        "    return _y",
        "if type(_y) is not _ndarray:",
        "    _y = _asarray(_y)",
        "_result = _new(_Tensor)",
        "_result._bare = _y",
        "_result._alias = None",
    ]


def _push_call(
    primitive: Primitive, mask: tuple[bool, ...], push: Push, label: str
) -> tuple[str, list[str]]:
    """(the case that a mask stands for, the lines that push its tangents to `_t`)."""
    tracked = [n for n, flag in zip(primitive.arguments, mask, strict=True) if flag]
    tangents = [f"_{name}_node.tangent" for name in tracked]
    taken = tangents[0] if len(tangents) == 1 else f"({', '.join(tangents)})"
    saved = [saved_expression(primitive, n, tracked) for n in primitive.plan(mask).names]
    values = ", ".join([taken, *["_y.shape"] * push.shaped, *saved])
    test = " and ".join(f"_{name}_node is not None" for name in tracked)
    call = f"_t = {label}({values})"
    if all(_is_arithmetic(primitive, name) for name in tracked):
        return test, [call]
    lines = ["_token = _switch(_NO_GRAD)", "try:", f"    {call}", "finally:", "    _reset(_token)"]
    return test, lines


def _node_lines(
    primitive: Primitive, pushes: list[tuple[tuple[bool, ...], Push]], scope: dict[str, Any]
) -> list[str]:
    """Give `_result` the node that holds its tangent, or None; the pushes go into `scope`."""
    if not pushes:
        return ["_result._node = None"]
    lines: list[str] = []
    for mask, push in pushes:
        label = "_push_" + "".join("01"[flag] for flag in mask)
        scope[label] = push.function
        test, call = _push_call(primitive, mask, push, label)
        lines += [f"{'elif' if lines else 'if'} {test}:", *(f"    {line}" for line in call)]
    return [
        *lines,
        "else:",
        "    _t = None",
        "if _t is None:",
        "    _result._node = None",
        "else:",
        "    _node = _new(_Moved)",
        "    _node.shape = _shape = _y.shape",
        "    _node.dtype = _dtype = _y.dtype",
        "    if _t.shape != _shape or _t.dtype is not _dtype:",
        "        _t = _fit(_t, _node)",
        "    _node.tangent = _t",
        "    _node.run = _stream",
        "    _result._node = _node",
    ]


def _streamed_function(primitive: Primitive) -> Callable[..., Any]:
    """The function that `Stream.function_of` returns."""
    pushes = _pushes(primitive)
    if pushes is None:
        return _left_to_others
    scope: dict[str, Any] = {
        "_Tensor": Tensor,
        "_Moved": Moved,
        "_new": object.__new__,
        "_ndarray": np.ndarray,
        "_asarray": partial(ensure_array, np),
        "_np": np,
        "_NUMBERS": NUMBERS,
        "_fit": fit_tangent,
        "_NO_GRAD": NO_GRAD,
        "_switch": switch_mode,
        "_reset": reset_mode,
        "_body": primitive.inline or primitive.body_for(np),
        "function": primitive.function,
        **{f"_{what}_of": function for what, function in aspects.items()},
    }
    lines = [line for name in primitive.arguments for line in _operand_lines(name)]
    lines += _body_lines(primitive)
    lines += _node_lines(primitive, pushes, scope)
    if primitive.view:
        lines += view_lines(primitive, scope)
    lines.append("return _result")
    parameters = ", ".join(("_stream", *primitive.arguments, *primitive.settings))
    source = f"def _call({parameters}):\n" + "".join(f"    {line}\n" for line in lines)
    code = compile_source(source, f"{primitive.name} streamed")
    exec(code, scope)  # noqa: S102  # source made above from declared names only
    return scope["_call"]
