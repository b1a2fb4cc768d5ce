"""Two-dimensional convolution and its two adjoints run as copies of patches and matrix products.

The windows of each image are copied into a patch matrix, so that BLAS does the arithmetic.  The
copy takes most of the time, and is fast where it moves long contiguous runs; hence two layouts:

- planes: (taps, windows) for each image; runs along an output row.  Few channels, large images.
- rows:   (windows, taps) with channels last; runs over kernel row and channels.  Many channels.

The input gradient adds its patches up with the batch as the last axis, which gives the longest
runs.  Images are processed in batches whose patches fit into a cache.  These were slower in NumPy:
one product for each kernel tap over shifted images (2-50 times), the input gradient as a
convolution with the flipped kernel (up to 7 times), one patch matrix for all images (1.5 times for
many).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.autograd.core.errors import ShapeError
from tapegrad.autograd.kernels.windows import (
    AxisWindows,
    IntOrPair,
    expect_shape,
    image_batches,
    pad_for_windows,
    plane_windows,
)

if TYPE_CHECKING:
    from tapegrad.devices import Array, Namespace

__all__ = [
    "conv2d",
    "conv2d_input_gradient",
    "conv2d_weight_gradient",
    "convolution_windows",
]

PATCH_BYTES = 2**20


def convolution_windows(
    where: str,
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: IntOrPair,
    padding: IntOrPair,
    dilation: IntOrPair,
    groups: int,
) -> tuple[AxisWindows, AxisWindows]:
    """The windows of a convolution.  Raises ShapeError or ValueError, which begin with `where`."""
    for name, shape, layout in (
        ("x", x_shape, "(N, C, H, W)"),
        ("w", w_shape, "(O, C / groups, kH, kW)"),
    ):
        if len(shape) != 4:
            hint = ": give a single image a batch axis" if name == "x" and len(shape) == 3 else ""
            raise ShapeError(
                f"{where}: {name} must have the four axes {layout}, found shape {shape}{hint}"
            )
    channels, planes = x_shape[1], w_shape[0]
    if groups < 1 or channels % groups or planes % groups:
        raise ShapeError(
            f"{where}: groups = {groups} must divide the {channels} channels of x and the "
            f"{planes} output planes of w"
        )
    if w_shape[1] * groups != channels:
        raise ShapeError(
            f"{where}: x has {channels} channels, w of shape {w_shape} takes {w_shape[1]} in each "
            f"of {groups} groups: give x {w_shape[1] * groups} channels, or w the shape "
            f"{(planes, channels // groups, *w_shape[2:])}"
        )
    return plane_windows(
        where, x_shape, w_shape[2:], stride=stride, padding=padding, dilation=dilation
    )


def _runs_over_channels(
    channels: int, groups: int, rows: AxisWindows, columns: AxisWindows
) -> bool:
    """True if the layout with channels last copies longer runs (a 1×1 kernel needs no copy)."""
    single = rows.kernel == columns.kernel == 1
    return groups == 1 and not single and channels * columns.kernel > columns.count


def _patch_memory(
    xp: Namespace, n: int, image_size: int, dtype: Any, patch_bytes: int
) -> tuple[Array, list[slice]]:
    """Return memory for the patches of one batch of images, and the slices that batch n images.

    All batches use the same memory: new memory costs more than the copy into it, since the system
    provides it page by page and takes it back each time.
    """
    parts = list(image_batches(xp, n, dtype.itemsize * image_size, patch_bytes))
    return xp.empty(_largest_batch(parts) * image_size, dtype=dtype), parts


def _largest_batch(parts: list[slice]) -> int:
    return max((part.stop - part.start for part in parts), default=0)


def _copy_into(store: Array, view: Array) -> Array:
    """Copy `view` to the start of `store`, and return the copy."""
    target = store[: view.size].reshape(view.shape)
    target[...] = view
    return target


def _plane_patches(
    xp: Namespace, x: Array, rows: AxisWindows, columns: AxisWindows, groups: int, store: Array
) -> Array:
    """(n, C, H, W) -> (n, groups, C/groups · kH · kW, oH · oW)."""
    x = pad_for_windows(xp, x, rows, columns)
    n, channels = x.shape[:2]
    taps = channels // groups * rows.kernel * columns.kernel
    if rows.kernel == columns.kernel == 1:
        read = xp.ascontiguousarray(x[:, :, rows.tap(0), columns.tap(0)])
        return read.reshape(n, groups, taps, rows.count * columns.count)
    across, plane, down, right = x.strides
    shape = (n, channels, rows.kernel, columns.kernel, rows.count, columns.count)
    strides = (
        across,
        plane,
        down * rows.dilation,
        right * columns.dilation,
        down * rows.stride,
        right * columns.stride,
    )
    patches = _copy_into(store, xp.lib.stride_tricks.as_strided(x, shape, strides))
    return patches.reshape(n, groups, taps, rows.count * columns.count)


def _row_patches(
    xp: Namespace, x: Array, rows: AxisWindows, columns: AxisWindows, store: Array
) -> Array:
    """(n, C, H, W) -> (n · oH · oW, kH · kW · C)."""
    n, channels = x.shape[:2]
    last = xp.ascontiguousarray(pad_for_windows(xp, x, rows, columns).transpose(0, 2, 3, 1))
    across, down, right, plane = last.strides
    shape = (n, rows.count, columns.count, rows.kernel, columns.kernel, channels)
    strides = (
        across,
        down * rows.stride,
        right * columns.stride,
        down * rows.dilation,
        right * columns.dilation,
        plane,
    )
    patches = _copy_into(store, xp.lib.stride_tricks.as_strided(last, shape, strides))
    return patches.reshape(n * rows.count * columns.count, rows.kernel * columns.kernel * channels)


def conv2d(
    xp: Namespace,
    x: Array,
    w: Array,
    *,
    stride: IntOrPair = (1, 1),
    padding: IntOrPair = (0, 0),
    dilation: IntOrPair = (1, 1),
    groups: int = 1,
    patch_bytes: int = PATCH_BYTES,
) -> Array:
    """y[n, o, i, j] = Σ w[o, c, k, l] · x[n, c, i·stride + k·dilation - padding, …].

    x (N, C, H, W), w (O, C / groups, kH, kW) -> (N, O, oH, oW) of their common dtype; zero outside.
    Raises ShapeError for shapes that do not fit, ValueError for settings that make no sense.
    """
    rows, columns = convolution_windows(
        "conv2d", x.shape, w.shape, stride, padding, dilation, groups
    )
    n, channels = x.shape[:2]
    planes = w.shape[0]
    taps = channels // groups * rows.kernel * columns.kernel
    image = groups * taps * rows.count * columns.count
    y = xp.empty((n, planes, rows.count, columns.count), dtype=xp.result_type(x, w))
    store, parts = _patch_memory(xp, n, image, x.dtype, patch_bytes)
    if _runs_over_channels(channels, groups, rows, columns):
        matrix = xp.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(taps, planes)
        for part in parts:
            product = xp.matmul(_row_patches(xp, x[part], rows, columns, store), matrix)
            last = product.reshape(part.stop - part.start, rows.count, columns.count, planes)
            y[part] = last.transpose(0, 3, 1, 2)
        return y
    matrix = w.reshape(groups, planes // groups, taps)
    grouped = y.reshape(n, groups, planes // groups, rows.count * columns.count)
    for part in parts:
        patches = _plane_patches(xp, x[part], rows, columns, groups, store)
        xp.matmul(matrix, patches, out=grouped[part])
    return y


def conv2d_weight_gradient(
    xp: Namespace,
    x: Array,
    g: Array,
    *,
    shape: tuple[int, ...],
    stride: IntOrPair = (1, 1),
    padding: IntOrPair = (0, 0),
    dilation: IntOrPair = (1, 1),
    groups: int = 1,
    patch_bytes: int = PATCH_BYTES,
) -> Array:
    """The array d of `shape` with ⟨d, w⟩ = ⟨g, conv2d(x, w)⟩ for every w of that shape."""
    where = "conv2d_weight_gradient"
    rows, columns = convolution_windows(where, x.shape, shape, stride, padding, dilation, groups)
    n, channels = x.shape[:2]
    planes = shape[0]
    expected = (n, planes, rows.count, columns.count)
    expect_shape(where, "the cotangent", g, "(N, O, oH, oW)", expected)
    dtype = xp.result_type(x, g)
    taps = channels // groups * rows.kernel * columns.kernel
    windows = rows.count * columns.count
    image = groups * taps * windows
    store, parts = _patch_memory(xp, n, image, x.dtype, patch_bytes)
    if _runs_over_channels(channels, groups, rows, columns):
        total = xp.zeros((planes, taps), dtype=dtype)
        for part in parts:
            matrix = xp.ascontiguousarray(g[part].transpose(1, 0, 2, 3))
            matrix = matrix.reshape(planes, (part.stop - part.start) * windows)
            total += xp.matmul(matrix, _row_patches(xp, x[part], rows, columns, store))
        total = total.reshape(planes, rows.kernel, columns.kernel, channels)
        return xp.ascontiguousarray(total.transpose(0, 3, 1, 2))
    total = xp.zeros((groups, planes // groups, taps), dtype=dtype)
    grouped = g.reshape(n, groups, planes // groups, windows)
    for part in parts:
        patches = _plane_patches(xp, x[part], rows, columns, groups, store)
        total += xp.matmul(grouped[part], patches.swapaxes(2, 3)).sum(axis=0)
    return total.reshape(shape)


def conv2d_input_gradient(
    xp: Namespace,
    g: Array,
    w: Array,
    *,
    shape: tuple[int, ...],
    stride: IntOrPair = (1, 1),
    padding: IntOrPair = (0, 0),
    dilation: IntOrPair = (1, 1),
    groups: int = 1,
    patch_bytes: int = PATCH_BYTES,
) -> Array:
    """The array d of `shape` with ⟨d, x⟩ = ⟨g, conv2d(x, w)⟩ for every x of that shape."""
    where = "conv2d_input_gradient"
    rows, columns = convolution_windows(where, shape, w.shape, stride, padding, dilation, groups)
    n, channels, height, width = shape
    planes = w.shape[0]
    expected = (n, planes, rows.count, columns.count)
    expect_shape(where, "the cotangent", g, "(N, O, oH, oW)", expected)
    taps = channels // groups * rows.kernel * columns.kernel
    matrix = w.reshape(groups, planes // groups, taps).swapaxes(1, 2)
    if all(axis.kernel == axis.stride == 1 and axis.needs_no_padding for axis in (rows, columns)):
        # A 1×1 convolution is its own adjoint, with the weights transposed.
        back = matrix.reshape(channels, planes // groups, 1, 1)
        return conv2d(xp, g, back, groups=groups, patch_bytes=patch_bytes)
    matrix = xp.ascontiguousarray(matrix)
    y = xp.empty(shape, dtype=xp.result_type(g, w))
    windows = rows.count * columns.count
    image = groups * taps * windows
    store, parts = _patch_memory(xp, n, image, y.dtype, patch_bytes)
    top, left = rows.padding, columns.padding
    size = (max(rows.reach, top + height), max(columns.reach, left + width))
    frame = channels * size[0] * size[1]
    sums = xp.empty(_largest_batch(parts) * frame, dtype=y.dtype)
    for part in parts:
        count = part.stop - part.start
        inner = xp.ascontiguousarray(g[part].transpose(1, 2, 3, 0))
        inner = inner.reshape(groups, planes // groups, windows * count)
        patches = store[: image * count]
        xp.matmul(matrix, inner, out=patches.reshape(groups, taps, windows * count))
        patches = patches.reshape(
            channels, rows.kernel, columns.kernel, rows.count, columns.count, count
        )
        total = sums[: frame * count].reshape(channels, *size, count)
        total.fill(0)
        for i in range(rows.kernel):
            for j in range(columns.kernel):
                total[:, rows.tap(i), columns.tap(j)] += patches[:, i, j]
        y[part] = total[:, top : top + height, left : left + width].transpose(3, 0, 1, 2)
    return y
