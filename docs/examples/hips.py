import numpy as np

from tapegrad import hips

rows = np.array([[1.0, 2.0], [3.0, 4.0]])


# %% primitive defvjp
@hips.primitive
def square(x):
    return x * x


hips.defvjp(square, lambda y, x: lambda g: 2 * x * g)
hips.grad(lambda x: np.sum(square(x)))(np.array([1.0, 3.0]))

# %% flatten_func
f, back, vector = hips.flatten_func(lambda w: {"a": 2 * w["a"]}, {"a": np.array([1.0, 2.0])})
f(vector), back(vector)

# %% hessian_vector_product
times = hips.hessian_vector_product(lambda x: np.sum(x**3))
times(np.array([1.0, 2.0]), np.array([1.0, 0.0]))

# %% make_hvp
times, gradient = hips.make_hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
times(np.array([1.0, 0.0])), gradient

# %% make_jvp
push = hips.make_jvp(lambda x: x**2)(np.array([1.0, 2.0]))
push(np.array([1.0, 0.0]))

# %% sgd rmsprop
gradient = hips.grad(lambda w: np.sum(w**2))
hips.sgd(lambda w, step: gradient(w), np.array([1.0, -2.0]), num_iters=100)
