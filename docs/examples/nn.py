import numpy as np

import tapegrad as tg
from tapegrad import nn

layer = nn.Linear(3, 2)

# %% ConstInitMethod
nn.Linear(3, 2).setInitMethod(nn.ConstInitMethod(0.5), nn.Zeros()).weight

# %% Ones RandomNormal RandomUniform MsraFiller
nn.Linear(3, 2).setInitMethod(nn.Ones()).weight

# %% BilinearFiller
layer = nn.SpatialFullConvolution(1, 1, 4, 4, 2, 2, 1, 1).setInitMethod(nn.BilinearFiller())
layer.weight[0, 0]


# %% InitializationMethod
class Alternating(nn.InitializationMethod):
    def init(self, parameter):
        with tg.no_grad():
            parameter[:] = np.resize([1.0, -1.0], parameter.shape)


nn.Linear(3, 2).setInitMethod(Alternating(), nn.Zeros()).weight


# %% L1Regularizer L2Regularizer
layer = nn.Linear(3, 2).setWRegularizer(nn.L1Regularizer(0.01))
x, g = np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32)
layer.zeroGradParameters()
_ = layer.forward(x), layer.backward(x, g)  # the gradient is that of the regularizer alone
layer.weight, layer.gradWeight

# %% L1L2Regularizer Regularizer
both = nn.L1L2Regularizer(0.01, 0.1)
isinstance(both, nn.Regularizer), both.l1, both.l2


# %% shape_check
class Halves(nn.Module):
    def forward(self, x):
        nn.shape_check(x.shape[-1] % 2 == 0, f"the last axis is even, not {x.shape[-1]}")
        return x[..., ::2]


try:
    nn.Sequential(Halves())(np.ones((1, 3)))
except nn.ShapeError as error:
    print(error)

# %% Container
model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
isinstance(model, nn.Container), len(model), model[-1]

# %% GraphNode Input
x = nn.Input()
y = nn.Tanh()(nn.Linear(3, 2)(x))
type(y).__name__, y.module
nn.Graph(x, y)(np.ones((1, 3), np.float32)).shape

# %% Anchor
nn.Anchor(ratios=[0.5, 1.0], scales=[8]).generateAnchors(1, 1)

# %% Nms
boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30]], np.float32)
nn.Nms().nms(np.array([0.9, 0.8, 0.7], np.float32), boxes, 0.5)

# %% StochasticGradient
x = np.linspace(-1, 1, 16, dtype=np.float32)[:, None]
model = nn.Linear(1, 1)
trainer = nn.StochasticGradient(model, nn.MSECriterion())
trainer.maxIteration, trainer.learningRate, trainer.verbose = 5, 0.1, False
[round(loss, 4) for loss in trainer.train(list(zip(x, 3 * x, strict=True)))]
model.weight
