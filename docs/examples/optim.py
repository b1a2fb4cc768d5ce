from pathlib import Path

import numpy as np

import tapegrad as tg
from tapegrad import nn, optim

scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]])
labels = np.array([1, 0, 0])


def square(x):
    """The sum of x², and its gradient."""
    return float(np.sum(x**2)), 2 * x


# %% StateSlot
slot = optim.StateSlot(start=0.1, only_if="momentum")
slot.start, slot.only_if

# %% UpdateRule
isinstance(optim.adam, optim.UpdateRule), optim.adam.state_names
x, losses = optim.adam(square, np.array([1.0, -2.0]), {"learningRate": 0.1}, {})
x, losses

# %% decayed_rate
float(optim.decayed_rate(0.1, 0.01, 100))

# %% scalar_shape
optim.StateSlot(shape=optim.scalar_shape).shape((3, 4))

# %% clip_each_grad_norm clip_grad_value
w, b = tg.Parameter(np.array([3.0, 4.0])), tg.Parameter(np.array([0.5]))
np.sum(w**2 / 2 + b).backward()
optim.clip_each_grad_norm([w, b], 1.0)
w.grad, b.grad

# %% cmaes
x, values, evaluations = optim.cmaes(square, np.array([1.0, -2.0]), {"maxEval": 200})
values[-1] < values[0], evaluations

# %% de
x, values = optim.de(square, np.array([1.0, -2.0]), {"maxFEs": 500})
values[-1] < values[0]


# %% FistaLS
def pull(x, L):
    """The minimum of |z| + L/2·(x - z)² in z."""
    return np.sign(x) * np.maximum(np.abs(x) - 1 / L, 0)


start = np.zeros(2)
smooth = lambda x: (float(np.sum((x - [3.0, 0.2]) ** 2)) / 2, x - [3.0, 0.2])
x, history = optim.FistaLS(smooth, lambda x: float(np.sum(np.abs(x))), pull, start)
np.round(x, 4)

# %% checkgrad
difference, gradient, estimate = optim.checkgrad(square, np.array([1.0, -2.0]))
difference < 1e-6, gradient

# %% cg
x, values, evaluations = optim.cg(square, np.array([1.0, -2.0]))
np.round(x, 6), evaluations

# %% polyinterp
optim.polyinterp([[0.0, 1.0, -2.0], [2.0, 1.0, 2.0]])  # x, f and f' of (x - 1)²

# %% ShardedOptimizer
model = nn.Linear(2, 1)
adam = optim.ShardedOptimizer(optim.Adam, model, lr=0.1)  # of this one rank
loss = np.sum(model(np.ones((4, 2), np.float32)) ** 2)
loss.backward()
_ = adam.step()
float(np.sum(model(np.ones((4, 2), np.float32)) ** 2)) < loss.item()

# %% Muon
w = tg.Parameter(np.array([[1.0, 2.0], [3.0, 4.0]]))
muon = optim.Muon([w], lr=0.1, weight_decay=0.0)
np.sum(w**2).backward()
_ = muon.step()
w

# %% plot_schedule
figure = optim.plot_schedule(optim.cosine_decay(0.1, 100), 100)
figure.axes[0].get_xlim()[1] > 90

# %% plot_history
figure = optim.plot_history([{"loss": 1.0, "val_loss": 1.2}, {"loss": 0.5, "val_loss": 0.8}])
[line.get_label() for line in figure.axes[0].lines]

# %% ExponentialMovingAverage
model = nn.Linear(2, 1)
average = optim.ExponentialMovingAverage(model, decay=0.9)
nn.init.uniform_(model.bias, 1.0, 1.0)
average.update()
with average.apply():
    print(model.bias)

# %% update_bn
model = nn.Sequential(nn.BatchNormalization(2))
optim.update_bn(model, np.array([[1.0, 10.0], [3.0, 30.0]], np.float32))
model[0].running_mean

# %% Checkpoints
checkpoints = optim.Checkpoints("run", keep=2)
for epoch in range(4):
    _ = checkpoints.save(epoch, {"epoch": epoch}, best=epoch == 1)
checkpoints.load_latest(), checkpoints.load_best()

# %% BinaryAccuracy
metric = optim.BinaryAccuracy()
metric.add(scores[:, 1], labels)
metric.value()

# %% AUC Accuracy Precision
metric = optim.AUC()
metric.add(scores, labels)
metric.value()

# %% MeanAbsoluteError
metric = optim.MeanAbsoluteError()
metric.add(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
metric.value()

# %% Logger
log = optim.Logger("training.log")
_ = log.setNames(["loss", "accuracy"]).add([0.7, 0.5]).add([0.4, 0.8])
print(Path("training.log").read_text())

# %% LRFindResult
model = nn.Linear(1, 1)
x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
trainer = optim.Trainer(model, nn.MSECriterion(), optim.SGD(model, lr=0.1), progress=False)
found = trainer.lr_find((x, 3 * x), num_it=50)
type(found).__name__, len(found.lrs), found.suggestion > 0
