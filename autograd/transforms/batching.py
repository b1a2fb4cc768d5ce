"""All samples of a batch at once: `vmap`, and `per_sample_grad`, which is vmap of grad.

The function runs once, on Samples (`sample.py`).  Every call on one is run on the wholes behind
its operands by the primitive's batching rule, in public primitives, so what runs is ordinary taped
code and this is differentiable itself.  What does not differ from sample to sample stays one array:
a shared weight meets the batch in one matrix product.

Inside a derivative calls are recorded on the tape of one sample as well, by the primitive's own
rules; its sweep then runs on Samples too.  So the gradient of each sample is formed where the tape
forms it for one sample, and shared parameters are never stretched to the batch.  With parameters
that are, the same rules took as long for a perceptron, whose time goes into writing the gradients,
and 1.2 times as long for a small convolutional network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from tapegrad import devices
from tapegrad.autograd.core.call import apply, item_node, record_primitive
from tapegrad.autograd.core.callsite import user_line
from tapegrad.autograd.core.errors import BatchingError
from tapegrad.autograd.core.mode import (
    Interpreter,
    Mode,
    current_mode,
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
from tapegrad.autograd.transforms.arguments import Argnums, Arguments
from tapegrad.autograd.transforms.gradient import grad
from tapegrad.autograd.transforms.sample import Sample, bare
from tapegrad.autograd.transforms.variables import Call, derivative_depth, released

if TYPE_CHECKING:
    from tapegrad.autograd.core.declaration import Primitive

__all__ = ["per_sample_grad", "vmap"]

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
SIZES = "{name}: argument {i} has {size} samples along axis {axis}, an earlier one has {samples}"
NO_AXIS = (
    "{name}: argument {i} holds an array of shape {shape}, which has no axis {axis} for the "
    "samples; pass in_axes with None for an argument that all samples share"
)


class Batching(Interpreter):
    """One run of a function on a batch: an interpreter that runs calls on its Samples.

    samples: how many there are
    taped:   whether calls on wholes are recorded, for derivatives around the batch
    """

    def __init__(self, samples: int, taped: bool) -> None:
        self.samples = samples
        self.taped = taped
        self.outer = interpreter()  # of a batch around this one
        self.track = is_recording()
        self.depth = derivative_depth.get() + 1

    def run(self, fn: Callable[[], Any]) -> Any:
        """fn() on Samples of this batch."""
        depth = derivative_depth.set(self.depth)  # results stay Tensors, whatever went in
        token = switch_mode(Mode(self.track, observer(), self))
        try:
            return fn()
        finally:
            reset_mode(token)
            derivative_depth.reset(depth)

    def interpret(
        self, primitive: Primitive, operands: tuple[Any, ...], settings: dict[str, Any], aux: bool
    ) -> Any:
        """Run a call: on wholes if it has to do with Samples of this batch, else around it."""
        mode = current_mode()
        track = mode is not None and mode.track
        inside = track and derivative_depth.get() > self.depth  # of a derivative for one sample
        if primitive.mutates:
            raise BatchingError(WRITES.format(where=user_line(), name=primitive.name))
        batched = tuple([self._differs(x) for x in operands])
        if True not in batched and not primitive.random:
            token = switch_mode(self._around(track and (self.taped or inside)))
            try:
                return apply(primitive, operands, settings, aux)
            finally:
                reset_mode(token)
        token = switch_mode(self._around(track and self.taped))
        try:
            results = _by_rule(self, primitive, operands, batched, settings)
        finally:
            reset_mode(token)
        whole, *rest = results if primitive.aux else (results,)
        y: Any = list(map(self._sample, whole)) if primitive.several else self._sample(whole)
        extra = list(map(self._sample, rest))
        node = None
        if inside and primitive.differentiable:
            datas = [
                list(map(bare, x)) if name in primitive.lists else bare(x)
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
            _note_views(primitive, y, operands, settings)
        return (y, *extra) if aux else y

    def _differs(self, x: Any) -> bool:
        """Does the operand, or one of a list of them, differ from sample to sample?"""
        if isinstance(x, Sample):
            return x.batching is self
        return isinstance(x, (list, tuple)) and any(map(self._differs, x))

    def _sample(self, whole: Any) -> Sample:
        return Sample(whole if isinstance(whole, Tensor) else untracked(whole), self)

    def _around(self, track: bool) -> Mode | None:
        """The mode outside the batch, recording or not."""
        return make_mode(track, observer(), self.outer)


def _note_views(
    primitive: Primitive, y: Any, operands: tuple[Any, ...], settings: dict[str, Any]
) -> None:
    """Remember which Samples are views of the first operand: their wholes share its memory."""
    base: Any = operands[0]
    owner = owner_of(base.whole._data)
    given = (*operands[1:], *settings.values())
    for i, view in enumerate(y if primitive.several else [y]):
        if owner_of(view.whole._data) is owner and (
            view.shape or not _is_number(primitive, base, given)
        ):
            note_view(view, base, (primitive.function, given, i if primitive.several else None))


def _is_number(primitive: Primitive, base: Sample, given: tuple[Any, ...]) -> bool:
    """Would NumPy give a number here, which is a copy, and no array of no axes?"""
    array = np.broadcast_to(base.dtype.type(0), base.shape)
    operands = len(primitive.arguments) - 1
    settings = dict(zip(primitive.settings, given[operands:], strict=True))
    return not devices.is_array(primitive.body(np, array, *given[:operands], **settings))


def _node_of(x: Any) -> Any:
    return x._node if isinstance(x, Tensor) else None


def _by_rule(
    batching: Batching,
    primitive: Primitive,
    operands: tuple[Any, ...],
    batched: tuple[bool, ...],
    settings: dict[str, Any],
) -> Any:
    """The results of a call for all samples, as wholes, by the primitive's batching rule."""
    rule = primitive.batch_rule
    if rule is None:
        raise BatchingError(NO_RULE.format(where=user_line(), name=primitive.name))
    stretched = "batched" not in rule.names

    def whole(x: Any, among: bool) -> Any:
        if isinstance(x, Sample):
            if x.batching is batching:
                return x.whole
            if batching.outer is None:
                raise BatchingError(LEFT.format(where=user_line(), name=primitive.name))
        if isinstance(x, (list, tuple)):
            x = as_array(x)
        if (stretched or among) and hasattr(x, "shape"):
            x = s.broadcast_to(x, (batching.samples, *x.shape))
        return x

    values = [
        [whole(part, flag) for part in x] if name in primitive.lists else whole(x, False)
        for name, x, flag in zip(primitive.arguments, operands, batched, strict=True)
    ]
    known: dict[str, Any] = {
        **settings,
        **dict(zip(primitive.arguments, values, strict=True)),
        "batched": batched,
        "function": primitive.function,
        "operands": values,
        "samples": batching.samples,
        "settings": settings,
    }
    return rule.function(*[known[name] for name in rule.names])


# Transformations of functions ---------------------------------------------------------------------


def vmap(fn: Callable[..., Any], in_axes: Any = 0, out_axes: int = 0) -> Callable[..., Any]:
    """A function that applies fn, which is about one sample, to all samples of a batch at once.

    in_axes:  where the arrays of an argument have the samples: an axis, or None for an argument
              that all samples share; one for all, or a tuple with one for each argument.  It counts
              for every array in a nest; what is no array is shared.
    out_axes: where the results, in fn's structure, have them

    Arrays in, arrays out; Tensors for Tensors, or when a result depends on something tracked.
    Random numbers are drawn anew for every sample.
    Raises BatchingError, a TypeError that starts with the line, for a primitive without a batching
    rule, for a value that is read where samples differ (``if x:``, ``float(x)``, ``x[mask]``), and
    for writes; ValueError when arguments have no samples or not equally many.

    >>> vmap(np.dot, in_axes=(0, None))(np.eye(3), np.arange(3.0))
    """

    @wraps(fn)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        return _mapped(lambda *one: fn(*one, **kwargs), fn, args, in_axes, out_axes, taped=True)

    return mapped


def per_sample_grad(
    fn: Callable[..., Any],
    argnums: Argnums | None = None,
    *,
    in_axes: Any = None,
    parameters: Iterable[Parameter] | None = None,
) -> Callable[..., Any]:
    """A function that returns the gradient of fn for each sample of a batch, without a loop.

    fn:         takes one sample, without a batch axis, and returns one number
    argnums:    the argument(s) to differentiate by, the first unless `parameters` are given; all
                samples share them, and the arrays of the others have the samples in front
    in_axes:    overrides that: for each argument an axis, or None for one that is shared
    parameters: Parameters that fn uses, ``model.parameters()[0]``, to differentiate by instead

    Returns gradients in the structure of the arguments `argnums`, or a list of one for each of
    `parameters`, with the samples in front: (B, *shape).  Arrays in, arrays out; Tensors for
    Tensors, and then, as inside another derivative, they are differentiable themselves.
    Raises what `grad` and `vmap` raise.

    >>> loss = lambda w, x, y: (x @ w - y) ** 2
    >>> per_sample_grad(loss)(w, X, Y)                        # w (n,), X (B, n), Y (B,) -> (B, n)
    >>> one = lambda x, y: criterion(model(x), y)
    >>> per_sample_grad(one, parameters=model.parameters()[0])(X, Y)
    """
    if argnums is not None and parameters is not None:
        raise TypeError("per_sample_grad takes argnums or parameters, not both")
    chosen = None if parameters is None else list(parameters)
    for p in chosen or []:
        if not isinstance(p, Parameter):
            raise TypeError(f"per_sample_grad: parameters holds {type(p).__name__}, no Parameter")
    by_arguments = grad(fn, 0 if argnums is None else argnums)
    arguments = Arguments(fn, 0 if argnums is None else argnums)

    def by_parameters(*args: Any, **kwargs: Any) -> Any:
        assert chosen is not None  # only called then
        call = Call(fn, args, kwargs, ())
        found = call.cotangents(call.seeds(), [p._node for p in chosen])
        return [np.zeros_like(p) if g is None else g for g, p in zip(found, chosen, strict=True)]

    gradient = by_arguments if chosen is None else by_parameters

    @wraps(fn)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        axes = in_axes
        if axes is None:
            shared = () if chosen is not None else arguments.places(args, kwargs)
            axes = tuple(None if i in shared else 0 for i in range(len(args)))
        taped = derivative_depth.get() > 0 or _has_tensors(args)
        return _mapped(lambda *one: gradient(*one, **kwargs), fn, args, axes, 0, taped)

    return differentiated


def _has_tensors(args: tuple[Any, ...]) -> bool:
    return any(isinstance(x, Tensor) for x in leaves(list(args)))


def _mapped(
    run: Callable[..., Any],
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    in_axes: Any,
    out_axis: int,
    taped: bool,
) -> Any:
    """run(*args) on Samples, and its results as wholes: arrays, unless Tensors are wanted."""
    name = getattr(fn, "__name__", type(fn).__name__)
    axes = in_axes if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(args)
    if len(axes) != len(args):
        raise ValueError(f"{name}: in_axes has {len(axes)} entries for {len(args)} arguments")
    wholes = [
        arg if axis is None else map_leaves(partial(_whole, name, i, axis), arg)
        for i, (arg, axis) in enumerate(zip(args, axes, strict=True))
    ]
    samples: int | None = None
    for i, (arg, axis) in enumerate(zip(wholes, axes, strict=True)):
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

    def sampled(x: Any) -> Any:
        return Sample(x, batching) if isinstance(x, Tensor) else x

    given = [
        arg if axis is None else map_leaves(sampled, arg)
        for arg, axis in zip(wholes, axes, strict=True)
    ]
    result = batching.run(lambda: run(*given))
    outputs = [released(_collected(y, batching)) for y in leaves(result)]
    if out_axis:
        outputs = [s.moveaxis(y, 0, out_axis) for y in outputs]
    if derivative_depth.get() == 0 and not _has_tensors(args):
        outputs = _owned(outputs, [as_array(x) for x in leaves(list(args)) if hasattr(x, "shape")])
    return replace_leaves(result, outputs)


def _whole(name: str, i: int, axis: int, x: Any) -> Any:
    """An array of an argument as a Tensor with the samples in front; anything else as it is."""
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        return x
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(NO_AXIS.format(name=name, i=i, shape=tuple(x.shape), axis=axis))
    x = x if isinstance(x, Tensor) else untracked(as_array(x))
    return x if axis in (0, -x.ndim) else s.moveaxis(x, axis, 0)


def _collected(y: Any, batching: Batching) -> Tensor:
    """The result of all samples: the whole, or what they share, repeated."""
    if isinstance(y, Sample) and y.batching is batching:
        return y.whole
    y = y if isinstance(y, Tensor) else untracked(as_array(y))
    return s.broadcast_to(y, (batching.samples, *y.shape))


def _owned(outputs: list[Tensor], inputs: list[Any]) -> list[Any]:
    """The arrays of untracked results, each with memory of its own."""
    taken = {id(owner_of(x)) for x in inputs}
    arrays: list[Any] = []
    for y in outputs:
        if y.tracked:
            arrays.append(y)
            continue
        array, owner = y._data, owner_of(y._data)
        if id(owner) in taken or owner.nbytes != array.nbytes or not _writeable(array):
            array = devices.namespace(array).array(array, copy=True)
        taken.add(id(owner))
        arrays.append(array)
    return arrays


def _writeable(array: Any) -> bool:
    flags = getattr(array, "flags", None)
    return bool(getattr(flags, "writeable", True))
