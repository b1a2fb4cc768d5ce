import numpy as np

from tapegrad import nn, optim
from tapegrad.optim import bigdl
from tapegrad.optim.bigdl import SGD

scores = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.3, 0.4, 0.3]])
labels = np.array([2, 0, 0])


def square(x):
    """The sum of x², and its gradient."""
    return np.sum(x**2), 2 * x


# %% Adagrad Adamax Ftrl RMSprop ParallelAdam LarsSGD
method = bigdl.Adagrad(learningRate=0.1)
x = np.array([1.0, -2.0])
for _ in range(3):
    x, losses = method.optimize(square, x)
x, losses

# %% Adadelta
method = bigdl.Adadelta(decayRate=0.9, Epsilon=1e-3)
x = np.array([1.0, -2.0])
for _ in range(3):
    x, losses = method.optimize(square, x)
x, losses

# %% LBFGS
x, losses = bigdl.LBFGS(maxIter=10).optimize(square, np.array([1.0, -2.0]))
np.round(x, 6), len(losses)

# %% OptimMethod
method = bigdl.Adam(learningRate=0.1)
isinstance(method, bigdl.OptimMethod), method.state["neval"]
x, losses = method.optimize(square, np.array([1.0]))
method.state["neval"]

# %% JointOptimizer
model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
both = bigdl.JointOptimizer({"first": optim.SGD(model[0], lr=0.1), "last": optim.Adam(model[2])})
x, y = np.ones((8, 2), np.float32), np.zeros((8, 1), np.float32)
trainer = optim.Trainer(model, nn.MSECriterion(), both, progress=False)
history = trainer.fit((x, y), epochs=3)
history[-1]["loss"] < history[0]["loss"]

# %% MaxEpoch
stop = bigdl.MaxEpoch(2)
[stop({"epoch": epoch, "neval": 1}) for epoch in (1, 2, 3)]

# %% MaxIteration
stop = bigdl.MaxIteration(100)
[stop({"epoch": 1, "neval": step}) for step in (1, 100, 101)]

# %% SeveralIteration
now = bigdl.SeveralIteration(100)
[now({"epoch": 1, "neval": step}) for step in (100, 101, 102, 201)]

# %% EveryEpoch
now = bigdl.EveryEpoch()
[now({"epoch": epoch, "neval": 1}) for epoch in (1, 1, 2, 2, 3)]

# %% MaxScore
stop = bigdl.MaxScore(0.9)
[stop({"epoch": 1, "neval": 1, "score": score}) for score in (0.8, 0.95)]

# %% MinLoss
stop = bigdl.MinLoss(0.1)
[stop({"epoch": 1, "neval": 1, "Loss": loss}) for loss in (0.5, 0.05)]

# %% TriggerAnd TriggerOr
stop = bigdl.TriggerAnd(bigdl.MaxEpoch(2), bigdl.MinLoss(0.1))
[stop({"epoch": 3, "neval": 1, "Loss": loss}) for loss in (0.5, 0.05)]

# %% Default
rate = SGD.Default()
[rate(bigdl.Moment(0.1, learningRateDecay=0.01, steps=n)) for n in (0, 100, 300)]

# %% Step
rate = SGD.Step(stepSize=100, gamma=0.5)
[rate(bigdl.Moment(0.1, steps=n)) for n in (0, 99, 100, 200)]

# %% MultiStep
rate = SGD.MultiStep([100, 150], gamma=0.5)
[rate(bigdl.Moment(0.1, steps=n)) for n in (0, 99, 100, 200)]

# %% Exponential
rate = SGD.Exponential(decayStep=100, decayRate=0.5)
[round(rate(bigdl.Moment(0.1, steps=n)), 4) for n in (0, 50, 100, 200)]

# %% NaturalExp
rate = SGD.NaturalExp(decay_step=100, gamma=0.5)
[round(rate(bigdl.Moment(0.1, steps=n)), 4) for n in (0, 50, 100, 200)]

# %% Poly
rate = SGD.Poly(power=0.5, maxIteration=200)
[round(rate(bigdl.Moment(0.1, steps=n)), 4) for n in (0, 50, 100, 200)]

# %% Warmup
rate = SGD.Warmup(delta=0.01)
[round(rate(bigdl.Moment(0.1, steps=n)), 4) for n in (0, 5, 10)]

# %% EpochStep
rate = SGD.EpochStep(stepSize=2, gamma=0.5)
[rate(bigdl.Moment(0.1, epoch=n)) for n in (1, 2, 3, 4)]

# %% EpochDecay
rate = SGD.EpochDecay(lambda epoch: epoch // 3)
[round(rate(bigdl.Moment(0.1, epoch=n)), 4) for n in (1, 3, 6)]

# %% EpochDecayWithWarmUp
rate = SGD.EpochDecayWithWarmUp(10, 0.01, lambda epoch: epoch // 3)
[round(rate(bigdl.Moment(0.1, epoch=1, steps=n)), 4) for n in (0, 5, 10)]

# %% EpochSchedule Regime
regimes = [
    SGD.Regime(1, 2, {"learningRate": 0.1}),
    SGD.Regime(3, 9, {"learningRate": 0.01, "weightDecay": 1e-4}),
]
method = SGD(learningRateSchedule=SGD.EpochSchedule(regimes))
[SGD.EpochSchedule(regimes)(bigdl.Moment(1.0, epoch=n)) for n in (1, 2, 3)]

# %% Plateau
rate = SGD.Plateau("score", factor=0.5, patience=1, mode="max")
measured = [0.6, 0.7, 0.7, 0.7, 0.7]
[rate(bigdl.Moment(0.1, epoch=n, measured={"score": s})) for n, s in enumerate(measured, 2)]

# %% SequentialSchedule
rate = SGD.SequentialSchedule(1).add(SGD.Warmup(0.05), 2).add(SGD.Step(2, 0.5), 100)
[round(rate(bigdl.Moment(0.1, steps=n)), 4) for n in range(7)]

# %% Moment
now = bigdl.Moment(learningRate=0.1, steps=200, epoch=3, measured={"Loss": 0.4})
SGD.Step(100, 0.5)(now)


# %% Schedule
class Halved(bigdl.Schedule):
    def __call__(self, moment):
        return moment.learningRate / 2**moment.epoch


method = bigdl.SGD(learningRate=0.8, learningRateSchedule=Halved())
Halved()(bigdl.Moment(0.8, epoch=2))

# %% TrainSummary ValidationSummary
summary = bigdl.TrainSummary("logs", "digits")
_ = summary.addScalar("Loss", 0.5, 1)
summary.readScalar("Loss")[0][:2]

# %% AccuracyResult
first, second = bigdl.AccuracyResult(8, 10), bigdl.AccuracyResult(5, 10)
(first + second).result()

# %% LossResult
first, second = bigdl.LossResult([0.5, 0.25], 2), bigdl.LossResult([1.0], 1)
(first + second).result()

# %% ExactSum
total = bigdl.ExactSum([1e16, 1.0, -1e16])
total.divided_by(1), sum([1e16, 1.0, -1e16])

# %% AUCResult PrecisionRecallAUC
method = bigdl.PrecisionRecallAUC()
found = method(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
type(found).__name__, found.result()

# %% MAPResult MeanAveragePrecision
method = bigdl.MeanAveragePrecision(k=-1, classes=3)
found = method(scores, labels)
type(found).__name__, found.result()

# %% average_precision
bigdl.average_precision(np.array([True, False, True]), positives=2)

# %% DetectionResult MeanAveragePrecisionObjectDetection
method = bigdl.MeanAveragePrecisionObjectDetection.pascalVOC(2)
detected = [np.array([[1, 0.9, 0, 0, 10, 10], [1, 0.8, 20, 20, 30, 30]])]  # class, score, box
objects = [np.array([[1, 0, 0, 10, 9, 0]])]  # class, box, whether it is difficult
found = method(detected, objects)
type(found).__name__, found.result()

# %% box_overlaps
bigdl.box_overlaps(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 1], [1, 1, 3, 3]]))

# %% MAE
bigdl.MAE()(np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 1.0]])).result()

# %% Top5Accuracy
bigdl.Top5Accuracy()(np.arange(14.0).reshape(2, 7), np.array([1, 6])).result()

# %% TreeNNAccuracy
trees = np.array([[[0.1, 0.9], [0.3, 0.2]], [[0.8, 0.2], [0.5, 0.5]]])  # (trees, nodes, classes)
bigdl.TreeNNAccuracy()(trees, np.array([[1, 0], [1, 1]])).result()

# %% ValidationResult
found = bigdl.Top1Accuracy()(scores, labels)
isinstance(found, bigdl.ValidationResult), found.result()


# %% ValidationMethod
class Undecided(bigdl.ValidationMethod):
    def __call__(self, output, target):
        best = np.sort(output)[:, -2:]
        return bigdl.AccuracyResult(int(np.sum(best[:, 1] - best[:, 0] < 0.15)), len(output))


Undecided()(scores, labels).result()

# %% NDCG HitRatio
items = np.array([0.1, 0.5, 0.3, 0.2, 0.9])  # the scores of one chosen item and four others
bigdl.NDCG(k=3, negNum=4)(items, np.array([0, 1, 0, 0, 0])).result()
