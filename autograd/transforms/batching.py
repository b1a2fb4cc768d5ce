"""vmap and per_sample_grad: a function of one sample, run once on all samples of a batch.

The function runs on Singles (`sample.py`).  A call on Singles is replaced by the batching rule of
its primitive, which computes on the batches behind them in public primitives; so `vmap` can itself
be differentiated.  A value that is the same for all samples stays one array: a shared weight is
multiplied with the batch in one matrix product.

Inside a derivative, calls are recorded on the tape of one sample as well, and the sweep over that
tape runs on Singles too.  So the gradients by shared parameters are formed for each sample without
repeating the parameters along the batch.  Repeating them was measured: it took as long for a
perceptron, whose time goes into writing the gradients, and 1.2 times as long for a small
convolutional network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, overload

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.call import apply, item_node, record_primitive
from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.errors import BatchingError
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.core.mode import (
    Interpreter,
    Mode,
    current_mode,
    derivative_depth,
    interpreter,
    is_recording,
    make_mode,
    observer,
    reset_mode,
    switch_mode,
)
from tapegrad.autograd.core.node import owner_of
from tapegrad.autograd.core.parameter import Parameter
from tapegrad.autograd.core.tensor import Tensor, as_array, untracked
from tapegrad.autograd.core.tree import leaves, map_leaves, replace_leaves
from tapegrad.autograd.core.views import note_view
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.transforms.arguments import Argnums, Arguments, function_name
from tapegrad.autograd.transforms.gradient import grad
from tapegrad.autograd.transforms.sample import Single, saved_form
from tapegrad.autograd.transforms.variables import BoundCall, detach_unreachable

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import Primitive

__all__ = ["per_sample_grad", "vmap"]

numpy_draws = late_module("tapegrad.autograd.transforms.numpy_draws")

# The axis along which the arrays of an argument have the samples, or None where all samples share
# them: one for all arguments, or one for each.
SampleAxes: TypeAlias = int | Sequence[int | None] | None

P = ParamSpec("P")  # the parameters of fn

NO_RULE = (
    "{where}: {name} has no batching rule, so it cannot run on all samples of a batch at once. "
    "Declare one, {name}.batch(rule), or loop over the samples."
)
WRITES = (
    "{where}: {name} writes into an array, which cannot be done for all samples of a batch at "
    "once. Make the target one that each sample has of its own, np.zeros_like(x), or write outside "
    "the batch."
)
LEFT = "{where}: {name} was given a sample of a batch that is finished: return it from the function"
NO_BATCH = "{name}: no argument has a batch axis; in_axes={axes}"
DRAWN_ONCE = (
    "{name} draws from {generator}, which knows of no batch: all samples would have one draw. Draw "
    "for all of them before, rng.normal(size=(B, …)), and pass that as an argument, or draw inside "
    "by tapegrad.autograd.ops.normal, uniform or bernoulli, which give each sample its own."
)
SIZES = "{name}: argument {i} has {size} samples along axis {axis}, an earlier one has {samples}"
NO_AXIS = (
    "{name}: argument {i} holds an array of shape {shape}, which has no axis {axis} for the "
    "samples; pass in_axes with None for an argument that all samples share"
)


class Batching(Interpreter):
    """One run of a function on a batch: an interpreter that executes the calls on its Singles.

    samples: the number of samples
    taped:   whether calls on batches are recorded, for derivatives around the run
    """

    def __init__(self, samples: int, taped: bool) -> None:
        self.samples = samples
        self.taped = taped
        self.outer = interpreter()  # of a vmap around this one
        self.track = is_recording()
        self.depth = derivative_depth.get() + 1

    def run(self, fn: Callable[[], Any]) -> Any:
        """Call fn(), which computes on Singles of this run."""
        depth = derivative_depth.set(self.depth)  # so that results stay Tensors
        token = switch_mode(Mode(self.track, observer(), self))
        try:
            return fn()
        finally:
            reset_mode(token)
            derivative_depth.reset(depth)

    def interpret(
        self, primitive: Primitive, operands: tuple[Any, ...], settings: dict[str, Any], aux: bool
    ) -> Any:
        """Run a call: by its batching rule if an operand is a Single of this run, else as it is."""
        mode = current_mode()
        track = mode is not None and mode.track
        inside = track and derivative_depth.get() > self.depth  # in a derivative inside fn
        if primitive.mutates:
            raise BatchingError(WRITES.format(where=user_line(), name=primitive.name))
        batched = tuple([self._has_samples(x) for x in operands])
        if True not in batched and not primitive.random:
            token = switch_mode(self._outer_mode(track and (self.taped or inside)))
            try:
                return apply(primitive, operands, settings, aux)
            finally:
                reset_mode(token)
        token = switch_mode(self._outer_mode(track and self.taped))
        try:
            results = _apply_batch_rule(self, primitive, operands, batched, settings)
        finally:
            reset_mode(token)
        batch, *rest = results if primitive.aux else (results,)
        y: Any = list(map(self._as_sample, batch)) if primitive.several else self._as_sample(batch)
        extra = list(map(self._as_sample, rest))
        node = None
        if inside and primitive.differentiable:
            datas = [
                list(map(saved_form, x)) if name in primitive.lists else saved_form(x)
                for name, x in zip(primitive.arguments, operands, strict=True)
            ]
            nodes = [
                tuple(map(_node_of, x)) if name in primitive.lists else _node_of(x)
                for name, x in zip(primitive.arguments, operands, strict=True)
            ]
            node = record_primitive(primitive, datas, nodes, settings, y, tuple(extra))
        if node is not None and primitive.several:
            y = [part.with_node(item_node(node, i, len(y), part)) for i, part in enumerate(y)]
        elif node is not None:
            y = y.with_node(node)
        if primitive.view and batched[0]:
            _note_sample_views(primitive, y, operands, settings)
        return (y, *extra) if aux else y

    def _has_samples(self, x: Any) -> bool:
        """Is the operand a Single of this run, or a list that holds one?"""
        if isinstance(x, Single):
            return x.batching is self
        return isinstance(x, (list, tuple)) and any(map(self._has_samples, x))

    def _as_sample(self, batch: Any) -> Single:
        return Single(batch if isinstance(batch, Tensor) else untracked(batch), self)

    def _outer_mode(self, track: bool) -> Mode | None:
        """The mode outside this run, recording or not."""
        return make_mode(track, observer(), self.outer)


def _note_sample_views(
    primitive: Primitive, y: Any, operands: tuple[Any, ...], settings: dict[str, Any]
) -> None:
    """Remember which Singles are views of the first operand: their batches share its memory."""
    base: Any = operands[0]
    owner = owner_of(base.batch._bare)
    rest = (*operands[1:], *settings.values())
    for i, view in enumerate(y if primitive.several else [y]):
        if owner_of(view.batch._bare) is owner and (
            view.shape or not _is_number(primitive, base, rest)
        ):
            note_view(view, base, (primitive.function, rest, i if primitive.several else None))


def _is_number(primitive: Primitive, base: Single, rest: tuple[Any, ...]) -> bool:
    """Would NumPy return a number, which is a copy, instead of a view with no axes?

    rest: the other operands, then the settings
    """
    array = np.broadcast_to(base.dtype.type(0), base.shape)
    operands = len(primitive.arguments) - 1
    settings = dict(zip(primitive.settings, rest[operands:], strict=True))
    return not devices.is_array(primitive.body(np, array, *rest[:operands], **settings))


def _node_of(x: Any) -> Any:
    return x._node if isinstance(x, Tensor) else None


def _apply_batch_rule(
    batching: Batching,
    primitive: Primitive,
    operands: tuple[Any, ...],
    batched: tuple[bool, ...],
    settings: dict[str, Any],
) -> Any:
    """The results of a call for all samples, as batches, by the primitive's batching rule."""
    rule = primitive.batch_rule
    if rule is None:
        raise BatchingError(NO_RULE.format(where=user_line(), name=primitive.name))
    # A rule that does not ask which operands are batched gets all of them with a batch axis.
    all_batched = "batched" not in rule.names

    def as_batch(x: Any, beside_samples: bool) -> Any:
        if isinstance(x, Single):
            if x.batching is batching:
                return x.batch
            if batching.outer is None:
                raise BatchingError(LEFT.format(where=user_line(), name=primitive.name))
        if isinstance(x, (list, tuple)):
            x = as_array(x)
        if (all_batched or beside_samples) and hasattr(x, "shape"):
            x = s.broadcast_to(x, (batching.samples, *x.shape))
        return x

    values = [
        [as_batch(part, flag) for part in x] if name in primitive.lists else as_batch(x, False)
        for name, x, flag in zip(primitive.arguments, operands, batched, strict=True)
    ]
    values_by_name: dict[str, Any] = {
        **settings,
        **dict(zip(primitive.arguments, values, strict=True)),
        "batched": batched,
        "function": primitive.function,
        "operands": values,
        "samples": batching.samples,
        "settings": settings,
    }
    return rule.function(*[values_by_name[name] for name in rule.names])


# Transformations of functions ---------------------------------------------------------------------


@overload
def vmap(fn: np.ufunc, in_axes: SampleAxes = 0, out_axes: int = 0) -> Callable[..., Any]: ...
@overload
def vmap(fn: Callable[P, Any], in_axes: SampleAxes = 0, out_axes: int = 0) -> Callable[P, Any]: ...
def vmap(fn: Callable[..., Any], in_axes: SampleAxes = 0, out_axes: int = 0) -> Callable[..., Any]:
    """A function that applies fn, a function of one sample, to all samples of a batch at once.

    in_axes:  the axis of the samples in the arrays of an argument, or None for an argument that
              all samples share; one for all arguments, or a tuple with one for each.  It applies
              to every array in a nest; whatever is no array is shared.
    out_axes: the axis of the samples in the results, which have fn's structure

    Results are arrays for arrays, and Tensors for Tensors or where a result depends on something
    tracked.  Random numbers of tapegrad are drawn anew for every sample; those of NumPy and Python,
    which would be one draw for all, are refused.  Keyword arguments are shared.
    Raises BatchingError, a TypeError that starts with the line, for a primitive without a batching
    rule, for reading a value that differs between samples (``if x:``, ``float(x)``, ``x[mask]``),
    and for writes; ValueError when arguments have no samples or not equally many.

    >>> vmap(np.dot, in_axes=(0, None))(np.eye(3), np.arange(3.0))
    array([0., 1., 2.])
    """

    @wraps(fn)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        return _run_on_batch(
            lambda *one: fn(*one, **kwargs), fn, args, in_axes, out_axes, taped=True
        )

    return mapped


@overload
def per_sample_grad(
    fn: np.ufunc,
    argnums: Argnums | None = None,
    *,
    in_axes: SampleAxes = None,
    parameters: Iterable[Parameter] | None = None,
) -> Callable[..., Any]: ...
@overload
def per_sample_grad(
    fn: Callable[P, Any],
    argnums: Argnums | None = None,
    *,
    in_axes: SampleAxes = None,
    parameters: Iterable[Parameter] | None = None,
) -> Callable[P, Any]: ...
def per_sample_grad(
    fn: Callable[..., Any],
    argnums: Argnums | None = None,
    *,
    in_axes: SampleAxes = None,
    parameters: Iterable[Parameter] | None = None,
) -> Callable[..., Any]:
    """A function that returns the gradient of fn for each sample of a batch, without a loop.

    fn:         takes one sample, without a batch axis, and returns one number
    argnums:    the argument(s) to differentiate by, the first unless `parameters` are given; all
                samples share them, and the arrays of the others have the samples in front
    in_axes:    overrides that: for each argument an axis, or None for one that is shared
    parameters: Parameters that fn uses, ``model.parameters()[0]``, to differentiate by instead

    Returns gradients in the structure of the arguments `argnums`, or a list with one for each of
    `parameters`, with the samples in front: (B, *shape).  They are arrays for arrays, and Tensors
    for Tensors; Tensors, and gradients inside another derivative, are differentiable themselves.
    Raises what `grad` and `vmap` raise.

    >>> loss = lambda w, x, y: (x @ w - y) ** 2
    >>> per_sample_grad(loss)(np.ones(2), np.eye(2), np.zeros(2))
    array([[2., 0.],
           [0., 2.]])
    """
    if argnums is not None and parameters is not None:
        raise TypeError("per_sample_grad takes argnums or parameters, not both")
    selected = None if parameters is None else list(parameters)
    for p in selected or []:
        if not isinstance(p, Parameter):
            raise TypeError(f"per_sample_grad: parameters holds {type(p).__name__}, no Parameter")
    by_arguments = grad(fn, 0 if argnums is None else argnums)
    arguments = Arguments(fn, 0 if argnums is None else argnums)

    def by_parameters(*args: Any, **kwargs: Any) -> Any:
        assert selected is not None  # it is called in no other case
        call = BoundCall(fn, args, kwargs, ())
        # A frozen Parameter has a leaf too, which no call reaches: its gradient is 0.
        gradients = call.cotangents(call.seeds(), [p._leaf for p in selected])
        pairs = zip(gradients, selected, strict=True)
        return [np.zeros_like(p) if g is None else g for g, p in pairs]

    gradient = by_arguments if selected is None else by_parameters

    @wraps(fn)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        axes = in_axes
        if axes is None:
            shared = () if selected is not None else arguments.locate(args, kwargs)
            axes = tuple(None if i in shared else 0 for i in range(len(args)))
        taped = derivative_depth.get() > 0 or _has_tensors(args)
        return _run_on_batch(lambda *one: gradient(*one, **kwargs), fn, args, axes, 0, taped)

    return differentiated


def _has_tensors(args: tuple[Any, ...]) -> bool:
    return any(isinstance(x, Tensor) for x in leaves(list(args)))


def _run_on_batch(
    run: Callable[..., Any],
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    in_axes: Any,
    out_axis: int,
    taped: bool,
) -> Any:
    """The results of run(*args) on Singles, as batches with the samples along `out_axis`."""
    name = function_name(fn)
    axes = in_axes if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(args)
    if len(axes) != len(args):
        raise ValueError(f"{name}: in_axes has {len(axes)} entries for {len(args)} arguments")
    batches = [
        arg if axis is None else map_leaves(partial(_with_samples_first, name, i, axis), arg)
        for i, (arg, axis) in enumerate(zip(args, axes, strict=True))
    ]
    samples: int | None = None
    for i, (arg, axis) in enumerate(zip(batches, axes, strict=True)):
        for x in leaves(arg) if axis is not None else []:
            if isinstance(x, Tensor):
                samples = len(x) if samples is None else samples
                if len(x) != samples:
                    raise ValueError(
                        SIZES.format(name=name, i=i, size=len(x), axis=axis, samples=samples)
                    )
    if samples is None:
        raise ValueError(NO_BATCH.format(name=name, axes=in_axes))
    batching = Batching(samples, taped)

    def as_sample(x: Any) -> Any:
        return Single(x, batching) if isinstance(x, Tensor) else x

    samples_in = [
        arg if axis is None else map_leaves(as_sample, arg)
        for arg, axis in zip(batches, axes, strict=True)
    ]
    draws = numpy_draws()
    generators = draws.numpy_generators(fn, args)
    before = [draws.state_of(g) for g in generators]
    result = batching.run(lambda: run(*samples_in))
    for generator, state in zip(generators, before, strict=True):
        if draws.state_of(generator) != state:
            drawn = draws.generator_name(generator)
            raise BatchingError(DRAWN_ONCE.format(name=name, generator=drawn))
    outputs = [detach_unreachable(_batched_result(y, batching)) for y in leaves(result)]
    if out_axis:
        outputs = [s.moveaxis(y, 0, out_axis) for y in outputs]
    if derivative_depth.get() == 0 and not _has_tensors(args):
        outputs = _own_arrays(
            outputs, [as_array(x) for x in leaves(list(args)) if hasattr(x, "shape")]
        )
    return replace_leaves(result, outputs)


def _with_samples_first(name: str, i: int, axis: int, x: Any) -> Any:
    """An array of an argument as a Tensor with the samples in front; anything else as it is."""
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        return x
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(NO_AXIS.format(name=name, i=i, shape=tuple(x.shape), axis=axis))
    x = x if isinstance(x, Tensor) else untracked(as_array(x))
    return x if axis in (0, -x.ndim) else s.moveaxis(x, axis, 0)


def _batched_result(y: Any, batching: Batching) -> Tensor:
    """The result for all samples: the batch of a Single, or a shared value repeated."""
    if isinstance(y, Single) and y.batching is batching:
        return y.batch
    y = y if isinstance(y, Tensor) else untracked(as_array(y))
    return s.broadcast_to(y, (batching.samples, *y.shape))


def _own_arrays(outputs: list[Tensor], inputs: list[Any]) -> list[Any]:
    """The arrays of untracked results, each with memory that no input and no other result has."""
    used = {id(owner_of(x)) for x in inputs}
    arrays: list[Any] = []
    for y in outputs:
        if y.tracked:
            arrays.append(y)
            continue
        array, owner = y._bare, owner_of(y._bare)
        if id(owner) in used or owner.nbytes != array.nbytes or not _writeable(array):
            array = devices.namespace(array).array(array, copy=True)
        used.add(id(owner))
        arrays.append(array)
    return arrays


def _writeable(array: Any) -> bool:
    flags = getattr(array, "flags", None)
    return bool(getattr(flags, "writeable", True))
