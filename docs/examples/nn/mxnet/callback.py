import logging
import sys

import numpy as np

from tapegrad.nn import mxnet as mx

metric = mx.metric.create("acc")
metric.update([mx.nd.array([0, 1])], [mx.nd.array([[0.9, 0.1], [0.8, 0.2]])])
net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2)
net = mx.sym.SoftmaxOutput(net, name="softmax")

# %% LogValidationMetricsCallback
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
after = mx.callback.LogValidationMetricsCallback()
after(mx.module.BatchEndParam(epoch=1, nbatch=9, eval_metric=metric, locals=None))

# %% ProgressBar
bar = mx.callback.ProgressBar(total=10, length=20)
bar(mx.module.BatchEndParam(epoch=0, nbatch=5, eval_metric=metric, locals=None))

# %% log_train_metric
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
log = mx.callback.log_train_metric(period=50)
log(mx.module.BatchEndParam(epoch=0, nbatch=100, eval_metric=metric, locals=None))

# %% module_checkpoint
from pathlib import Path

module = mx.mod.Module(net)
data = mx.io.NDArrayIter(np.ones((4, 3)), np.array([0, 1, 0, 1]), batch_size=2)
module.fit(data, num_epoch=2, epoch_end_callback=mx.callback.module_checkpoint(module, "net"))
sorted(file.name for file in Path().glob("net*"))
