import numpy as np

from tapegrad.nn import mxnet as mx

# %% NDArray array
x = mx.nd.array([[1, 2], [3, 4]])
x.shape, x.dtype, x.context
(x * 2).sum(axis=0).asnumpy()
type(x).__name__

# %% arange
mx.nd.arange(2, 6), mx.nd.arange(3, repeat=2)

# %% concatenate
mx.nd.concatenate([mx.nd.ones((1, 2)), mx.nd.zeros((1, 2))])

# %% empty zeros ones
mx.nd.empty((2, 2))

# %% eye
mx.nd.eye(2, 3, k=1)

# %% from_numpy
a = np.arange(3.0)
x = mx.nd.from_numpy(a)
x += 10
a

# %% from_dlpack
a = np.arange(3.0)
mx.nd.from_dlpack(a)

# %% full
mx.nd.full((2, 2), 7)

# %% histogram
counts, edges = mx.nd.histogram(mx.nd.array([1, 2, 2, 5]), bins=2)
counts.asnumpy(), edges.asnumpy()

# %% linspace
mx.nd.linspace(0, 1, 5)

# %% load save
mx.nd.save("weights.params", {"w": mx.nd.ones((2,))})
mx.nd.load("weights.params")

# %% load_frombuffer
from pathlib import Path

mx.nd.save("weights.params", {"w": mx.nd.ones((2,))})
mx.nd.load_frombuffer(Path("weights.params").read_bytes())

# %% moveaxis
mx.nd.moveaxis(mx.nd.zeros((2, 3, 4)), 0, 2).shape

# %% onehot_encode
mx.nd.onehot_encode(mx.nd.array([0, 2]), mx.nd.zeros((2, 3)))

# %% split_v2
[part.asnumpy() for part in mx.nd.split_v2(mx.nd.arange(5), [1, 3])]

# %% waitall
y = mx.nd.ones((2,)) * 2
mx.nd.waitall()
y


# %% Custom
class Double(mx.operator.CustomOp):
    def forward(self, is_train, req, in_data, out_data, aux):
        self.assign(out_data[0], req[0], 2 * in_data[0])


@mx.operator.register("example_double")
class DoubleProp(mx.operator.CustomOpProp):
    def create_operator(self, ctx, shapes, dtypes):
        return Double()


mx.nd.Custom(mx.nd.array([1.0, 3.0]), op_type="example_double")

# %% col2im
x = mx.nd.arange(16).reshape((1, 1, 4, 4))
columns = mx.nd.im2col(x, kernel=(2, 2), stride=(2, 2))
columns.shape
back = mx.nd.col2im(columns, output_size=(4, 4), kernel=(2, 2), stride=(2, 2))
bool((back == x).asnumpy().all())

# %% Pooling
x = mx.nd.arange(16).reshape((1, 1, 4, 4))
mx.nd.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max")

# %% RNN
x, state = mx.nd.ones((5, 2, 3)), mx.nd.zeros((1, 2, 4))
weights = mx.nd.full((4 * 3 + 4 * 4 + 2 * 4,), 0.1)
mx.nd.RNN(x, weights, state, mode="rnn_tanh", state_size=4, num_layers=1).shape
