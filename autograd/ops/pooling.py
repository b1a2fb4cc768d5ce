"""Max and average pooling over windows, differentiable to every order.

Max pooling picks one entry per window; once the picks are known it is linear.  Its derivative
therefore is the pair `max_unpool2d` (add at the picks) and `max_pool2d_gather` (read there), each
the other's adjoint; the picks themselves carry no derivative.  Average pooling is linear anyway.

In three dimensions both go frame by frame and then along time: a maximum of maxima, a mean of
means, at fewer comparisons and additions than one pass over windows in three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.composite import composite
from tapegrad.autograd.core.declaring import primitive
from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.core.late import late_module
from tapegrad.autograd.core.pushing import linear_in
from tapegrad.autograd.ops import shape as s
from tapegrad.autograd.ops.arrays import as_operand, refuse_complex
from tapegrad.autograd.ops.batch_rules import merge_samples, split_samples

if TYPE_CHECKING:
    from tapegrad.autograd.core.tensor import Tensor
    from tapegrad.autograd.core.types import Array, Namespace, Operand, Shape

__all__ = [
    "avg_pool2d",
    "avg_pool2d_gradient",
    "avg_pool3d",
    "check_positions",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool3d",
    "max_unpool2d",
]

kernels = late_module("tapegrad.autograd.kernels.pooling")
fast = late_module("tapegrad.autograd.kernels.fast_pooling")


@primitive(aux=("indices",))
def max_pool2d(
    xp: Namespace,
    x: Array,
    *,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = (0, 0),
    dilation: int | Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> Array:
    """The maximum of each window: (N, C, H, W) -> (N, C, oH, oW), in x's dtype.

    ``max_pool2d.with_aux`` also gives the picks: int64, h · W + w counted from 0 in the image.
    Settings are an int or a pair (height, width); stride is the kernel by default.  oH is
    ⌊(H + 2·padding - dilation·(kH - 1) - 1) / stride⌋ + 1; `ceil_mode` rounds up, but never to a
    window that would start beyond the image and its first padding.  Padding never wins.  Of equal
    maxima the first in row-major order wins; a NaN in a window makes it NaN.

    Raises ShapeError for padding above kernel // 2 (Torch7's rule) and windows larger than the
    padded image, ValueError for other settings that make no sense, TypeError for complex x.
    Source: Torch7's SpatialMaxPooling and SpatialDilatedMaxPooling.
    """
    refuse_complex(x, "max_pool2d")
    return kernels().max_pool2d(
        xp,
        x,
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )


@primitive
def max_pool2d_gather(xp: Namespace, x: Array, indices: Array) -> Array:
    """x[n, c] read at the flat positions indices[n, c]: (N, C, H, W) -> the shape of `indices`.

    `indices` (N, C, oH, oW) are those of `max_pool2d`; that they lie in the image is not checked.
    """
    return kernels().max_pool2d_gather(xp, x, indices)


@primitive
def max_unpool2d(xp: Namespace, x: Array, indices: Array, *, shape: Shape) -> Array:
    """Zeros of `shape` (N, C, H, W) with x (N, C, oH, oW) added at the flat positions `indices`.

    The adjoint of `max_pool2d_gather`: an entry picked by several windows collects all of them.
    """
    return kernels().max_unpool2d(xp, x, indices, shape=shape)


# The bodies of the `fast` extra: see kernels/fast_pooling.py.


@max_pool2d.on("numba")
def _max_pool2d_compiled(xp: Namespace, x: Array, **settings: Any) -> Any:
    refuse_complex(x, "max_pool2d")
    return fast().max_pool2d(x, **settings)


@max_unpool2d.on("numba")
def _unpool_compiled(
    xp: Namespace, x: Array, indices: Array, *, shape: Shape, out: Array | None = None
) -> Array:
    return fast().max_unpool2d(x, indices, shape=shape, out=out)


max_pool2d.vjp(x=lambda g, indices, x_shape: max_unpool2d(g, indices, x_shape))
max_pool2d_gather.vjp(x=lambda g, indices, x_shape: max_unpool2d(g, indices, x_shape), indices=None)
max_unpool2d.vjp(x=lambda g, indices: max_pool2d_gather(g, indices), indices=None)
max_pool2d.jvp(x=lambda t, indices: max_pool2d_gather(t, indices))
max_pool2d_gather.jvp(x=lambda t, indices: max_pool2d_gather(t, indices))
max_unpool2d.jvp(x=lambda t, indices, y_shape: max_unpool2d(t, indices, y_shape))


@max_pool2d.batch
def _max_pool2d_batch(x: Array, settings: dict[str, Any], samples: int) -> tuple[Array, ...]:
    y, indices = max_pool2d.with_aux(merge_samples(x), **settings)
    return tuple(split_samples(part, samples, x.shape[1]) for part in (y, indices))


@max_pool2d_gather.batch
def _gather_batch(x: Array, indices: Array, samples: int) -> Array:
    return split_samples(
        max_pool2d_gather(merge_samples(x), merge_samples(indices)), samples, x.shape[1]
    )


@max_unpool2d.batch
def _unpool_batch(x: Array, indices: Array, samples: int, shape: Shape) -> Array:
    merged = (samples * shape[0], *shape[1:])
    return split_samples(
        max_unpool2d(merge_samples(x), merge_samples(indices), merged), samples, shape[0]
    )


@primitive
def avg_pool2d(
    xp: Namespace,
    x: Array,
    *,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divide: bool = True,
) -> Array:
    """The sum of each window over its number of entries: (N, C, H, W) -> (N, C, oH, oW).

    That number counts padding, but not what a last window of `ceil_mode` has beyond the padding;
    without `count_include_pad` it counts entries of the image alone.  Without `divide` the average
    is multiplied by the kernel's area, as in Torch7: a full window gives its sum.  Settings, sizes
    and errors are those of `max_pool2d`; stride is the kernel by default (Torch7's layer says 1).
    Source: Torch7's SpatialAveragePooling.
    """
    return kernels().avg_pool2d(
        xp,
        x,
        kernel=kernel,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divide=divide,
    )


@primitive
def avg_pool2d_gradient(
    xp: Namespace,
    v: Array,
    *,
    shape: Shape,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divide: bool = True,
) -> Array:
    """The adjoint of `avg_pool2d`: ⟨result, x⟩ = ⟨v, avg_pool2d(x)⟩ for every x of `shape`.

    v (N, C, oH, oW) -> `shape` = (N, C, H, W): each window hands its share to its entries.
    """
    return kernels().avg_pool2d_gradient(
        xp,
        v,
        shape=shape,
        kernel=kernel,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divide=divide,
    )


@avg_pool2d.on("numba")
def _avg_pool2d_compiled(
    xp: Namespace, x: Array, *, out: Array | None = None, **settings: Any
) -> Array:
    return fast().avg_pool2d(x, out=out, **settings)


@avg_pool2d_gradient.on("numba")
def _avg_gradient_compiled(
    xp: Namespace, v: Array, *, out: Array | None = None, **settings: Any
) -> Array:
    return fast().avg_pool2d_gradient(v, out=out, **settings)


avg_pool2d.vjp(
    x=lambda g, x_shape, kernel, stride, padding, ceil_mode, count_include_pad, divide: (
        avg_pool2d_gradient(
            g, x_shape, kernel, stride, padding, ceil_mode, count_include_pad, divide
        )
    )
)
avg_pool2d_gradient.vjp(
    v=lambda g, kernel, stride, padding, ceil_mode, count_include_pad, divide: avg_pool2d(
        g, kernel, stride, padding, ceil_mode, count_include_pad, divide
    )
)
avg_pool2d.jvp(x=linear_in(avg_pool2d, "x"))
avg_pool2d_gradient.jvp(v=linear_in(avg_pool2d_gradient, "v"))


@avg_pool2d.batch
def _avg_pool2d_batch(x: Array, settings: dict[str, Any], samples: int) -> Array:
    return split_samples(avg_pool2d(merge_samples(x), **settings), samples, x.shape[1])


@avg_pool2d_gradient.batch
def _avg_gradient_batch(v: Array, settings: dict[str, Any], samples: int, shape: Shape) -> Array:
    merged = {**settings, "shape": (samples * shape[0], *shape[1:])}
    return split_samples(avg_pool2d_gradient(merge_samples(v), **merged), samples, shape[0])


@primitive(differentiable=False)
def check_positions(xp: Namespace, indices: Array, *, shape: Shape, size: int) -> Array:
    """Return `indices` if they have `shape` and lie in 0 … size - 1.

    Raises ShapeError when they do not: adding at a position outside an image would end up in the
    next one.
    """
    if tuple(indices.shape) != shape:
        raise ShapeError(f"the positions have shape {tuple(indices.shape)}, expected {shape}")
    if indices.size:
        low, high = int(xp.min(indices)), int(xp.max(indices))
        if low < 0 or high >= size:
            raise ShapeError(
                f"the positions range from {low} to {high}, those of an output of {size} entries "
                f"from 0 to {size - 1}"
            )
    return indices


@check_positions.batch
def _positions_batch(indices: Array, samples: int, shape: Shape, size: int) -> Array:
    return check_positions(indices, (samples, *shape), size)


def _triples(where: str, **settings: int | Sequence[int]) -> list[tuple[int, int, int]]:
    """Settings as (time, height, width).  Raises ValueError for others."""
    triples = []
    for name, setting in settings.items():
        triple = setting if isinstance(setting, tuple) else (setting,) * 3
        if len(triple) != 3:
            raise ValueError(
                f"{where}: {name} must be an int or three ints (time, height, width), "
                f"found {setting!r}"
            )
        triples.append(triple)
    return triples


def _expect_film(where: str, x: Array) -> None:
    """Raise ShapeError unless x has the axes (N, C, T, H, W)."""
    if x.ndim != 5:
        raise ShapeError(
            f"{where}: x must have the five axes (N, C, T, H, W), found shape {tuple(x.shape)}"
        )


@composite()
def max_pool3d(
    x: Operand,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """`max_pool2d` with time in front: x (N, C, T, H, W) -> (N, C, T', H', W').

    Settings are an int or three (time, height, width).  With `return_indices` also the picks:
    int64, (t · H + h) · W + w.  Of equal maxima the first in row-major order wins.
    """
    x = as_operand(x)
    _expect_film("max_pool3d", x)
    stride = kernel if stride is None else stride
    k, d, p, a = _triples(
        "max_pool3d", kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )
    n, c, t, h, w = x.shape
    frames = s.reshape(x, (n * c, t, h, w))
    best, picks = max_pool2d.with_aux(frames, k[1:], d[1:], p[1:], a[1:], ceil_mode)
    rows, columns = best.shape[2:]
    films = s.reshape(best, (n * c, 1, t, rows * columns))
    y, frame = max_pool2d.with_aux(films, (k[0], 1), (d[0], 1), (p[0], 0), (a[0], 1), ceil_mode)
    shape = (n, c, y.shape[2], rows, columns)
    y = s.reshape(y, shape)
    if not return_indices:
        return y
    within = max_pool2d_gather(s.reshape(picks, films.shape), frame)
    return y, s.reshape(frame // (rows * columns) * (h * w) + within, shape)


@composite()
def avg_pool3d(
    x: Operand, kernel: int | Sequence[int], stride: int | Sequence[int] | None = None
) -> Tensor:
    """`avg_pool2d` with time in front, without padding: x (N, C, T, H, W) -> (N, C, T', H', W')."""
    x = as_operand(x)
    _expect_film("avg_pool3d", x)
    k, d = _triples("avg_pool3d", kernel=kernel, stride=kernel if stride is None else stride)
    n, c, t, h, w = x.shape
    y = avg_pool2d(s.reshape(x, (n * c, t, h, w)), k[1:], d[1:])
    rows, columns = y.shape[2:]
    y = avg_pool2d(s.reshape(y, (n * c, 1, t, rows * columns)), (k[0], 1), (d[0], 1))
    return s.reshape(y, (n, c, y.shape[2], rows, columns))
