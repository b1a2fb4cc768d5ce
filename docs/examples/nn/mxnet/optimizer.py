import numpy as np

from tapegrad.nn import mxnet as mx

# %% SGD NAG Adam Adamax AdaGrad RMSProp FTML Ftrl Nadam LAMB Signum DCASGD LARS LBSGD ccSGD SGLD
# %% AdaDelta
w = mx.nd.array([1.0, -2.0])
update = mx.optimizer.get_updater(mx.optimizer.SGD(learning_rate=0.1))
for _ in range(3):
    update(0, 2 * w, w)  # the gradient of w₀² + w₁²
w

# %% GroupAdaGrad
w = mx.nd.array([[1.0, -2.0], [3.0, 0.0]])
update = mx.optimizer.get_updater(mx.optimizer.GroupAdaGrad(learning_rate=0.1))
for _ in range(3):
    update(0, 2 * w, w)
w

# %% Test
w = mx.nd.array([1.0, -2.0])
update = mx.optimizer.get_updater(mx.optimizer.Test(rescale_grad=0.5))
update(0, mx.nd.array([1.0, 1.0]), w)
w


# %% Optimizer
class Signs(mx.optimizer.Optimizer):
    def step(self, index, w, g, state):
        w -= self.learning_rate * np.sign(g)


w = mx.nd.array([1.0, -2.0])
update = mx.optimizer.get_updater(Signs(learning_rate=0.25))
update(0, 2 * w, w)
w

# %% Updater get_updater
w = mx.nd.array([1.0, -2.0])
update = mx.optimizer.Updater(mx.optimizer.SGD(learning_rate=0.1, momentum=0.9))
update(0, mx.nd.array([1.0, 1.0]), w)
update.states[0]

# %% create
mx.optimizer.create("adam", learning_rate=0.01).lr

# %% names
mx.optimizer.names()[:5]


# %% register
@mx.optimizer.register
class Halving(mx.optimizer.Optimizer):
    def step(self, index, w, g, state):
        w /= 2


w = mx.nd.array([1.0, -2.0])
mx.optimizer.get_updater(mx.optimizer.create("halving"))(0, w, w)
w
