import numpy as np

from tapegrad.nn import mxnet as mx

net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc")

# %% load_params save_checkpoint
mx.model.save_checkpoint("net", 3, net, {"fc_bias": mx.nd.ones((2,))}, {})
parameters, states = mx.model.load_params("net", 3)
parameters

# %% FeedForward
x = np.array([[0.0, 1.0], [1.0, 0.0]] * 20)
y = np.array([0.0, 1.0] * 20)
model = mx.model.FeedForward(
    mx.sym.SoftmaxOutput(net, name="softmax"), num_epoch=20, learning_rate=1.0, numpy_batch_size=10
)
model.fit(x, y)
model.predict(x[:2])
