import numpy as np

from tapegrad.nn import mxnet as mx

true = mx.nd.array([0.0, 1.0, 1.0])
classes = mx.nd.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
values = mx.nd.array([0.5, 1.0, 0.0])

# %% MAE MSE RMSE PearsonCorrelation
metric = mx.metric.MAE()
metric.update([true], [values])
metric.get()

# %% F1 MCC PCC CrossEntropy NegativeLogLikelihood
metric = mx.metric.F1()
metric.update([true], [classes])
metric.get()

# %% TopKAccuracy
metric = mx.metric.TopKAccuracy(top_k=2)
scores = mx.nd.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
metric.update([mx.nd.array([0, 1, 2])], [scores])
metric.get()

# %% Loss Caffe Torch
metric = mx.metric.Loss()
metric.update(None, [mx.nd.array([1.0, 2.0, 6.0])])
metric.get()

# %% CompositeEvalMetric
metric = mx.metric.CompositeEvalMetric(["acc", "ce"])
metric.update([true], [classes])
metric.get()


# %% CustomMetric
def largest(label, prediction):
    return np.abs(label - prediction).max()


metric = mx.metric.CustomMetric(largest)
metric.update([true], [values])
metric.get()


# %% np_metric
def largest(label, prediction):
    return np.abs(label - prediction).max()


metric = mx.metric.np_metric(largest)
metric.update([true], [values])
metric.get()

# %% as_metric
metric = mx.metric.as_metric("mse")
metric.name, mx.metric.as_metric(metric) is metric

# %% check_label_shapes
mx.metric.check_label_shapes(true, values, wrap=True)

# %% create
mx.metric.create("top_k_accuracy", top_k=5).name
[metric.name for metric in mx.metric.create(["acc", "f1"]).metrics]

# %% names
mx.metric.names()[:5]


# %% register
@mx.metric.register("far")
class FarOff(mx.metric.EvalMetric):
    def __init__(self):
        super().__init__("far-off")

    def update(self, labels, predictions):
        for label, prediction in zip(labels, predictions, strict=True):
            self.sum_metric += float(np.sum(np.abs(label.asnumpy() - prediction.asnumpy()) > 0.7))
            self.num_inst += label.size


metric = mx.metric.create("far")
metric.update([true], [values])
metric.get()
