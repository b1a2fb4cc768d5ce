import numpy as np

import tapegrad as tg
from tapegrad import devices, ops

# %% as_axes
ops.as_axes(-1, 3), ops.as_axes((0, -1), 3)


# %% as_constant
def scaled(x, factor):
    return x * ops.as_constant(factor, "factor")


scaled(np.array([1.0, 2.0]), 3)
try:
    tg.grad(lambda k: np.sum(scaled(np.ones(2), k)))(3.0)
except TypeError as error:
    print(error)

# %% as_floating
ops.as_floating(np.array([1, 2])).dtype, ops.as_floating(np.ones(2, np.float32)).dtype

# %% as_operand
ops.as_operand([1.0, 2.0]), ops.as_operand([tg.Tensor(np.array(1.0)), 2.0])

# %% device_array wrap_like
ops.wrap_like(np.arange(3), tg.Tensor(np.ones(2))), ops.wrap_like(np.arange(3), np.ones(2))
ops.device_array(np.arange(3), np.ones(2))


# %% half_in_single
@ops.half_in_single
def average(xp, x):
    return xp.sum(x) / x.size


x = np.full(1000, 100, np.float16)
average(np, x), np.sum(x) / x.size

# %% inside_numbers
ops.inside_numbers(np.array([0, 5, -1]), 4, "wrap", "take")
ops.inside_numbers(np.array([0, 5, -1]), 4, "clip", "take")

# %% is_fortran
ops.is_fortran(np.ones((2, 3))), ops.is_fortran(np.ones((2, 3)).T)

# %% namespace_of
ops.namespace_of(tg.Tensor(np.ones(2))).__name__

# %% normalize_axis
ops.normalize_axis(-1, 3)


# %% real_only
@ops.real_only
def largest(xp, x):
    return xp.max(x)


largest(np, np.array([1.0, 3.0]))
try:
    largest(np, np.array([1j]))
except TypeError as error:
    print(error)

# %% refuse_complex
ops.refuse_complex(np.array([1.0]), "median")
try:
    ops.refuse_complex(np.array([1j]), "median")
except TypeError as error:
    print(error)

# %% replay_records
seen = []


@tg.replay
def step(x):
    seen.append(ops.replay_records())
    return x * 2


step(np.ones(1)), step(np.ones(1)), step(np.ones(1))
seen, ops.replay_records()

# %% value_of
bool(ops.value_of(tg.Tensor(np.array([1.0, 2.0]))).max() > 1)

# %% c_ r_
tg.grad(lambda x: np.sum(ops.c_[x, x**2] ** 2))(np.array([1.0, 2.0]))


# %% vectorize
def excess(a, b):
    return a - b if a > b else 0.0


f = ops.vectorize(excess)
f(np.array([1.0, 5.0]), 3.0)
tg.grad(lambda x: np.sum(f(x, 3.0)))(np.array([1.0, 5.0]))

# %% scaled_dot_product_attention
rng = np.random.default_rng(0)
q, k, v = rng.normal(size=(2, 4, 8)), rng.normal(size=(2, 6, 8)), rng.normal(size=(2, 6, 3))
hidden = np.arange(6) > 3  # the last two keys are padding
y = ops.scaled_dot_product_attention(q, k, v, hidden)
y.shape, np.allclose(y, ops.scaled_dot_product_attention(q, k[:, :4], v[:, :4]))

# %% conv3d_input_gradient
v, w = np.ones((1, 2, 2, 2, 2)), np.ones((2, 1, 2, 2, 2))
ops.conv3d_input_gradient(v, w, (1, 1, 3, 3, 3))[0, 0, 1]

# %% avg_pool2d_gradient
ops.avg_pool2d_gradient(np.ones((1, 1, 2, 2)), (1, 1, 4, 4), (2, 2))[0, 0]

# %% as_half_was widen_half
x = np.full(3, 60000, np.float16)
ops.as_half_was(ops.widen_half(x).sum() / 3, x), x.sum()

# %% complement
float(ops.complement(np, np.array(6.0))), float(1 - ops.erf(np.array(6.0)))

# %% array_repr
ops.array_repr(tg.Tensor(np.array([1 / 3, 2 / 3])), precision=2)

# %% common_type
ops.common_type(np.ones(1, np.float32), np.ones(1, int))

# %% einsum_path
ops.einsum_path("ij,jk,kl->il", np.ones((2, 3)), np.ones((3, 4)), np.ones((4, 5)))[0]

# %% getitem
ops.getitem(tg.Tensor(np.arange(6.0).reshape(2, 3)), (slice(None), [0, 2]))

# %% SlogdetResult
found = ops.slogdet(np.array([[2.0, 0.0], [0.0, 3.0]]))
type(found).__name__, found.sign, found.logabsdet

# %% EigResult
found = ops.eig(np.array([[0.0, 1.0], [-1.0, 0.0]]))
type(found).__name__, found.eigenvalues

# %% EighResult
found = ops.eigh(np.array([[2.0, 1.0], [1.0, 2.0]]))
type(found).__name__, found.eigenvalues

# %% QRResult
found = ops.qr(np.array([[3.0, 1.0], [4.0, 2.0]]))
type(found).__name__, found.R

# %% SVDResult
found = ops.svd(np.array([[3.0, 0.0], [0.0, 2.0]]))
type(found).__name__, found.S

# %% bernoulli
ops.bernoulli(devices.Generator(seed=0), 0.3, (8,), np.dtype("float32"))

# %% normal uniform
ops.normal(devices.Generator(seed=0), (3,), np.dtype("float32"))

# %% piecewise
x = np.array([-2.0, 1.0, 3.0])
f = lambda x: np.sum(ops.piecewise(x, [x < 0, x >= 0], [lambda x: -x, lambda x: x**2]))
f(x), tg.grad(f)(x)

# %% box_cox_slope
ops.box_cox_slope(np.log(np.array([2.0, 3.0])), np.array([0.0, 1.0]))
