import numpy as np

from tapegrad.nn import mxnet as mx

# %% Uniform Orthogonal MSRAPrelu Zero One
weight = mx.nd.zeros((2, 3))
mx.init.Uniform()("fc1_weight", weight)
weight

# %% Constant
weight = mx.nd.zeros((2, 3))
mx.init.Constant(0.5)("fc1_weight", weight)
weight

# %% Bilinear
weight = mx.nd.zeros((1, 1, 4, 4))
mx.init.Bilinear()("up_weight", weight)
weight[0, 0]

# %% LSTMBias
bias = mx.nd.zeros((8,))
own = {"__init__": mx.init.LSTMBias(forget_bias=1.0).dumps()}
mx.init.Xavier()(mx.init.InitDesc("lstm_i2h_bias", own), bias)
bias

# %% FusedRNN
weights = mx.nd.zeros((80,))
fused = mx.init.FusedRNN(mx.init.One(), num_hidden=2, num_layers=1, mode="lstm")
own = {"__init__": fused.dumps()}
mx.init.Xavier()(mx.init.InitDesc("lstm_parameters", own), weights)
weights.asnumpy().reshape(10, 8)

# %% InitDesc
name = mx.init.InitDesc("fc1_weight", attrs={"lr_mult": "2"})
name, name.attrs


# %% Initializer
class Alternating(mx.init.Initializer):
    def _init_weight(self, name, array):
        array[:] = np.resize([1.0, -1.0], array.shape)


weight, bias = mx.nd.zeros((2, 4)), mx.nd.ones((2,))
Alternating()("fc1_weight", weight)
Alternating()("fc1_bias", bias)
weight.asnumpy(), bias.asnumpy()

# %% Load
first = mx.init.Load({"fc1_weight": mx.nd.ones((2, 2))}, default_init=mx.init.Zero())
known, new = mx.nd.empty((2, 2)), mx.nd.empty((3,))
first("fc1_weight", known)
first("fc2_weight", new)
known.asnumpy(), new.asnumpy()

# %% Mixed
mixed = mx.init.Mixed(["conv.*", ".*"], [mx.init.One(), mx.init.Zero()])
conv, other = mx.nd.empty((2,)), mx.nd.empty((2,))
mixed("conv1_weight", conv)
mixed("fc1_weight", other)
conv.asnumpy(), other.asnumpy()

# %% create
mx.init.create("xavier", magnitude=2).dumps()

# %% names
mx.init.names()[:6]


# %% register
@mx.init.register
class Thirds(mx.init.Initializer):
    def _init_weight(self, name, array):
        array[:] = 1 / 3


weight = mx.nd.zeros((2, 2))
mx.init.create("thirds")("fc1_weight", weight)
weight
