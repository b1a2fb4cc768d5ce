import numpy as np

import tapegrad as tg
from tapegrad import array_api as xp

x = xp.asarray([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])

# %% int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128 bool
xp.asarray([0, 1, 2], dtype=xp.int8)

# %% e inf nan
xp.asarray([1.0, xp.e])

# %% pi
xp.sin(xp.asarray([0.0, xp.pi / 2]))

# %% newaxis
x[:, xp.newaxis, :].shape

# %% arange
xp.arange(3), xp.arange(1, 2, 0.25)

# %% asarray
xp.asarray([[1, 2], [3, 4]]), xp.asarray(1.5)

# %% zeros ones
xp.zeros((2, 3))

# %% empty
xp.empty((2, 3)).shape

# %% zeros_like ones_like
xp.zeros_like(x)

# %% empty_like
xp.empty_like(x).shape

# %% eye
xp.eye(2, 3, k=1)

# %% from_dlpack
a = np.arange(3.0)
xp.from_dlpack(a)

# %% full
xp.full((2, 2), 7.0)

# %% full_like
xp.full_like(x, 7.0)

# %% linspace
xp.linspace(0.0, 1.0, 5)

# %% meshgrid
xp.meshgrid(xp.arange(2), xp.arange(3))

# %% tril triu
xp.tril(x)

# %% astype
xp.astype(x, xp.int32)

# %% can_cast
xp.can_cast(xp.int32, xp.int64), xp.can_cast(xp.int64, xp.int32)

# %% finfo
xp.finfo(xp.float32).eps, xp.finfo(x).max

# %% iinfo
xp.iinfo(xp.int8).min, xp.iinfo(xp.int8).max

# %% isdtype
xp.isdtype(xp.float32, "real floating"), xp.isdtype(xp.int8, (xp.int16, "bool"))

# %% clip
xp.clip(x, 1.0, 3.0)

# %% round
xp.round(xp.asarray([0.5, 1.5, 2.4]))

# %% broadcast_arrays
[found.shape for found in xp.broadcast_arrays(x, xp.asarray([1.0, 2.0, 3.0]))]

# %% broadcast_shapes
xp.broadcast_shapes((2, 1), (3,))

# %% broadcast_to
xp.broadcast_to(xp.asarray([1.0, 2.0]), (3, 2))

# %% concat
xp.concat([x, x], axis=1).shape, xp.concat([x, x], axis=None).shape

# %% stack
xp.stack([x, x]).shape, xp.stack([x, x], axis=-1).shape

# %% expand_dims
xp.expand_dims(x, axis=1).shape

# %% flip
xp.flip(x, axis=1)

# %% moveaxis
xp.moveaxis(xp.zeros((2, 3, 4)), 0, -1).shape

# %% permute_dims
xp.permute_dims(xp.zeros((2, 3, 4)), (2, 0, 1)).shape

# %% repeat
xp.repeat(xp.asarray([1, 2]), 2), xp.repeat(xp.asarray([1, 2]), xp.asarray([1, 3]))

# %% reshape
xp.reshape(x, (3, -1))

# %% roll
xp.roll(x, 1, axis=1)

# %% squeeze
xp.squeeze(xp.zeros((1, 3, 1)), axis=0).shape

# %% tile
xp.tile(xp.asarray([1, 2]), (2, 2))

# %% unstack
xp.unstack(x)

# %% matrix_transpose
xp.matrix_transpose(x)

# %% tensordot
xp.tensordot(x, xp.matrix_transpose(x), axes=1)

# %% vecdot
xp.vecdot(x, xp.asarray([1.0, 0.0, 2.0]))

# %% argmax argmin argsort sort
xp.argmax(x, axis=1)

# %% isin
xp.isin(xp.asarray([1, 2, 3]), xp.asarray([3, 1]))

# %% nonzero
xp.nonzero(x)

# %% searchsorted
xp.searchsorted(xp.asarray([1.0, 2.0, 4.0]), xp.asarray([0.5, 2.0, 3.0]))

# %% take
xp.take(x, xp.asarray([2, 0]), axis=1)

# %% take_along_axis
xp.take_along_axis(x, xp.argmax(x, axis=1, keepdims=True))

# %% unique_all unique_counts unique_inverse unique_values
xp.unique_all(xp.asarray([3, 1, 3]))

# %% where
xp.where(x > 2, x, 0.0)

# %% all any
xp.all(x > 0, axis=1)

# %% count_nonzero
xp.count_nonzero(x), xp.count_nonzero(x, axis=0)

# %% cumulative_sum cumulative_prod
xp.cumulative_sum(x, axis=1)

# %% diff
xp.diff(x)

# %% max min mean sum prod std var
xp.max(x), xp.max(x, axis=1)
tg.grad(lambda x: xp.max(x))(x)
