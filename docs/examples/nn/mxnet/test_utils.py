import numpy as np

from tapegrad.nn import mxnet as mx

x = mx.sym.Variable("x")

# %% almost_equal same
mx.test_utils.almost_equal(np.array([1.0]), np.array([1.0 + 1e-7]))

# %% assert_almost_equal
try:
    mx.test_utils.assert_almost_equal(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
except AssertionError as error:
    print(error)

# %% check_numeric_gradient
try:
    mx.test_utils.check_numeric_gradient(mx.sym.BlockGrad(x) * x, [np.array([2.0, 3.0])])
except AssertionError as error:
    print(str(error)[:60])

# %% check_symbolic_backward
y = mx.sym.square(x)
mx.test_utils.check_symbolic_backward(y, [np.array([3.0])], [np.array([1.0])], [np.array([6.0])])

# %% check_symbolic_forward
mx.test_utils.check_symbolic_forward(mx.sym.square(x), [np.array([3.0])], [np.array([9.0])])

# %% simple_forward
mx.test_utils.simple_forward(mx.sym.square(x), x=np.array([1.0, 3.0]))

# %% default_context default_dtype list_gpus
mx.test_utils.default_context()

# %% rand_ndarray
mx.test_utils.rand_ndarray((2, 3))

# %% rand_shape_2d rand_shape_3d
mx.test_utils.rand_shape_2d()

# %% rand_shape_nd
mx.test_utils.rand_shape_nd(4, dim=6)

# %% same_array
a = mx.nd.zeros((2, 2))
mx.test_utils.same_array(a, a.reshape((4,))), mx.test_utils.same_array(a, a.copy())
