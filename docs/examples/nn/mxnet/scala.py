import numpy as np

from tapegrad.nn import mxnet as mx

net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc")
net = mx.sym.SoftmaxOutput(net, name="softmax")
data = mx.io.NDArrayIter(np.array([[0.0, 1.0], [1.0, 0.0]] * 20), np.array([0.0, 1.0] * 20), 10)

# %% FitParams Module
module = mx.scala.Module(net)
settings = mx.scala.FitParams().setOptimizer(mx.optimizer.SGD(learning_rate=1.0))
module.fit(data, numEpoch=5, fitParams=settings)
module.score(data, mx.metric.create("acc")).get()
