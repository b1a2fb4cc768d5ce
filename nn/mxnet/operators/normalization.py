"""Normalizations: by batch, sample, layer, group, length, neighbours; and Dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd import ops
from tapegrad.nn.mxnet.attributes import Attributes, Bool, Choice, Float, Int, Shape, Text
from tapegrad.nn.mxnet.declaration import Call, PartialShape, operator
from tapegrad.nn.mxnet.symbol.inference import unify

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor

__all__ = ["batch_norm", "dropout"]


def _by_axis(axis: int, count: int) -> Any:
    """The rule of shapes: `count` inputs behind the data have the length of its axis."""

    def rule(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
        data = inputs[0] = outputs[0] = unify(inputs[0], outputs[0])
        if data is None:
            return
        n = data[getattr(a, "axis", axis) % len(data)]
        for i in range(1, count + 1):
            inputs[i] = unify(inputs[i], (n,))
        for i in range(1, len(outputs)):
            outputs[i] = unify(outputs[i], (n,))

    return rule


_BATCH: dict[str, Any] = {
    "eps": Float(1e-3),
    "momentum": Float(0.9),
    "fix_gamma": Bool(True),
    "use_global_stats": Bool(False),
    "output_mean_var": Bool(False),
}
_STATES = {"moving_mean": '["zero", {}]', "moving_var": '["one", {}]'}


def _statistics(a: Attributes) -> tuple[str, ...]:
    return ("output", "mean", "var") if a.output_mean_var else ("output",)


def _batch_norm(
    call: Call, data: Tensor, gamma: Tensor, beta: Tensor, moving_mean: Tensor, moving_var: Tensor
) -> Any:
    a = call.a
    axis = getattr(a, "axis", 1) % data.ndim
    shape = tuple(n if i == axis else 1 for i, n in enumerate(data.shape))
    others = tuple(i for i in range(data.ndim) if i != axis)
    if a.fix_gamma:
        gamma_used: Any = 1
        if call.train:
            call.write("gamma", gamma.detach() * 0 + 1)
    else:
        gamma_used = gamma.reshape(shape)
    if call.train and not a.use_global_stats:
        y, mean, var = ops.standardize(data, axes=others, eps=a.eps)
        keep = a.momentum
        mean, var = mean.reshape((-1,)), var.reshape((-1,))
        call.write("moving_mean", moving_mean * keep + mean.detach() * (1 - keep))
        call.write("moving_var", moving_var * keep + var.detach() * (1 - keep))
    else:
        mean, var = moving_mean, moving_var
        y = (data - mean.reshape(shape)) / ops.sqrt(var.reshape(shape) + a.eps)
    result = y * gamma_used + beta.reshape(shape)
    if a.fix_gamma:
        result = result + gamma.reshape(shape) * 0
    # MXNet's third output is the inverse deviation, whatever its name says
    return [result, mean, 1 / ops.sqrt(var + a.eps)]


batch_norm = operator(
    "BatchNorm",
    "data gamma beta moving_mean moving_var",
    auxiliary="moving_mean moving_var",
    outputs=_statistics,
    hidden=lambda a: 0 if a.output_mean_var else 2,
    initial=_STATES,
    shapes=_by_axis(1, 4),
    axis=Int(1),
    cudnn_off=Bool(False),
    min_calib_range=Float(None, none=True),
    max_calib_range=Float(None, none=True),
    **_BATCH,
)(_batch_norm)
_batch_norm.__doc__ = """(x - mean) / √(var + eps) · γ + β along `axis`, over all other axes.

In training mode the statistics are the batch's, and the running ones become momentum · old +
(1 - momentum) · new, with the biased variance.  `fix_gamma` takes γ as 1 and writes 1 into it.
"""

operator(
    "BatchNorm_v1",
    "data gamma beta moving_mean moving_var",
    auxiliary="moving_mean moving_var",
    outputs=_statistics,
    hidden=lambda a: 0 if a.output_mean_var else 2,
    initial=_STATES,
    shapes=_by_axis(1, 4),
    **_BATCH,
)(_batch_norm)

operator(
    "_contrib_SyncBatchNorm",
    "data gamma beta moving_mean moving_var",
    auxiliary="moving_mean moving_var",
    outputs=_statistics,
    hidden=lambda a: 0 if a.output_mean_var else 2,
    initial=_STATES,
    shapes=_by_axis(1, 4),
    ndev=Int(1),
    key=Text(""),
    **_BATCH,
)(_batch_norm)


def _scaled(y: Any, gamma: Tensor, beta: Tensor, axis: int) -> Any:
    shape = tuple(n if i == axis else 1 for i, n in enumerate(y.shape))
    return y * gamma.reshape(shape) + beta.reshape(shape)


@operator("InstanceNorm", "data gamma beta", hidden=2, eps=Float(0.001), shapes=_by_axis(1, 2))
def instance_norm(call: Call, data: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Each channel of each sample with mean 0 and variance 1, times γ plus β."""
    y, _, _ = ops.standardize(data, axes=tuple(range(2, data.ndim)), eps=call.a.eps)
    return _scaled(y, gamma, beta, 1)


def _layer_statistics(a: Attributes) -> tuple[str, ...]:
    return ("output", "mean", "std") if a.output_mean_var else ("output",)


def _layer_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    data = inputs[0] = outputs[0] = unify(inputs[0], outputs[0])
    if data is None:
        return
    axis = a.axis % len(data)
    inputs[1], inputs[2] = unify(inputs[1], (data[axis],)), unify(inputs[2], (data[axis],))
    for i in range(1, len(outputs)):
        outputs[i] = unify(outputs[i], (*data[:axis], 1, *data[axis + 1 :]))


@operator(
    "LayerNorm",
    "data gamma beta",
    outputs=_layer_statistics,
    hidden=lambda a: 0 if a.output_mean_var else 2,
    axis=Int(-1),
    eps=Float(1e-5),
    output_mean_var=Bool(False),
    shapes=_layer_shapes,
)
def layer_norm(call: Call, data: Tensor, gamma: Tensor, beta: Tensor) -> list[Tensor]:
    """Mean 0 and variance 1 along an axis, times γ plus β."""
    axis = call.a.axis % data.ndim
    y, mean, var = ops.standardize(data, axes=(axis,), eps=call.a.eps)
    return [_scaled(y, gamma, beta, axis), mean, ops.sqrt(var + call.a.eps)]


def _group_shapes(a: Attributes, inputs: list[PartialShape], outputs: list[PartialShape]) -> None:
    data = inputs[0] = outputs[0] = unify(inputs[0], outputs[0])
    inputs[1], inputs[2] = unify(inputs[1], (a.num_groups,)), unify(inputs[2], (a.num_groups,))
    if data is not None:
        for i in range(1, len(outputs)):
            outputs[i] = unify(outputs[i], (data[0], a.num_groups))


@operator(
    "GroupNorm",
    "data gamma beta",
    outputs=_layer_statistics,
    hidden=lambda a: 0 if a.output_mean_var else 2,
    num_groups=Int(1),
    eps=Float(1e-5),
    output_mean_var=Bool(False),
    shapes=_group_shapes,
)
def group_norm(call: Call, data: Tensor, gamma: Tensor, beta: Tensor) -> list[Tensor]:
    """Mean 0 and variance 1 of each group of channels, times γ plus β of the group."""
    n, groups = data.shape[0], call.a.num_groups
    x = data.reshape((n, groups, -1))
    y, mean, var = ops.standardize(x, axes=(2,), eps=call.a.eps)
    y = _scaled(y, gamma, beta, 1).reshape(tuple(data.shape))
    return [y, mean.reshape((n, groups)), ops.sqrt(var + call.a.eps).reshape((n, groups))]


@operator(
    "L2Normalization",
    hidden=1,
    eps=Float(1e-10),
    mode=Choice("instance", words=("channel", "instance", "spatial")),
)
def l2_normalization(call: Call, data: Tensor) -> Tensor:
    """x / √(Σ x² + eps): over a whole sample, over the channels, or over each channel's image."""
    last = range(2, data.ndim)
    axes = {"instance": range(1, data.ndim), "channel": (1,), "spatial": last}[call.a.mode]
    size = ops.sqrt(ops.sum(ops.square(data), axis=tuple(axes), keepdims=True) + call.a.eps)
    return data / size


@operator("LRN", hidden=1, alpha=Float(1e-4), beta=Float(0.75), knorm=Float(2.0), nsize=Int())
def lrn(call: Call, data: Tensor) -> Tensor:
    """x · (knorm + alpha / nsize · Σ x² over nsize neighbouring channels)^-beta."""
    a, before = call.a, call.a.nsize // 2
    widths = [(0, 0), (before, a.nsize - 1 - before), *[(0, 0)] * (data.ndim - 2)]
    squares = ops.unfold(ops.pad(ops.square(data), widths), axis=1, size=a.nsize)
    return data * (a.knorm + a.alpha / a.nsize * ops.sum(squares, axis=-1)) ** -a.beta


@operator(
    "Dropout",
    hidden=1,
    random=True,
    p=Float(0.5),
    mode=Choice("training", words=("always", "training")),
    axes=Shape(()),
    cudnn_off=Bool(False, none=True),
)
def dropout(call: Call, data: Tensor) -> list[Tensor]:
    """Entries are 0 with probability p, the others divided by 1 - p; one draw along `axes`."""
    a = call.a
    if not (call.train or a.mode == "always") or a.p == 0:
        return [data * 1, data * 0 + 1]
    shape = tuple(1 if i in a.axes else n for i, n in enumerate(data.shape))
    kept = ops.less(call.uniform(shape, data.dtype), 1 - a.p)
    mask = ops.cast(kept, dtype=data.dtype) / (1 - a.p)
    return [data * mask, mask]
