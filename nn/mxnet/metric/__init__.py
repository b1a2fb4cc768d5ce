"""tapegrad.nn.mxnet.metric: `mx.metric`."""

from tapegrad.nn.mxnet.metric.base import (
    CompositeEvalMetric,
    CustomMetric,
    EvalMetric,
    as_metric,
    check_label_shapes,
    create,
    names,
    np_metric,
    register,
)
from tapegrad.nn.mxnet.metric.classification import (
    F1,
    MCC,
    PCC,
    Accuracy,
    CrossEntropy,
    NegativeLogLikelihood,
    Perplexity,
    TopKAccuracy,
)
from tapegrad.nn.mxnet.metric.regression import (
    MAE,
    MSE,
    RMSE,
    Caffe,
    Loss,
    PearsonCorrelation,
    Torch,
)

__all__ = [
    "Accuracy",
    "Caffe",
    "CompositeEvalMetric",
    "CrossEntropy",
    "CustomMetric",
    "EvalMetric",
    "F1",
    "Loss",
    "MAE",
    "MCC",
    "MSE",
    "NegativeLogLikelihood",
    "PCC",
    "PearsonCorrelation",
    "Perplexity",
    "RMSE",
    "TopKAccuracy",
    "Torch",
    "as_metric",
    "check_label_shapes",
    "create",
    "names",
    "np_metric",
    "register",
    "np",
]

np = np_metric  # MXNet's name
