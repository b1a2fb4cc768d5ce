import numpy as np

from tapegrad import nn
from tapegrad.nn import mxnet as mx

# %% BatchEndParam
metric = mx.metric.create("acc")
after = mx.module.BatchEndParam(epoch=0, nbatch=5, eval_metric=metric, locals={})
after.epoch, after.nbatch, after.eval_metric.name

# %% sections
mx.module.sections(10, [1, 1, 2])

# %% symbol_of
net = mx.module.symbol_of(nn.Sequential(nn.Linear(3, 2), nn.Tanh()))
net.list_arguments()
net.infer_shape(data=(5, 3))[1]

# %% BaseModule
net = mx.sym.LinearRegressionOutput(
    mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=1), mx.sym.Variable("label")
)
module = mx.mod.Module(net, label_names=["label"])
isinstance(module, mx.module.BaseModule)
data = mx.io.NDArrayIter(np.ones((4, 3)), np.ones(4), batch_size=2, label_name="label")
module.fit(data, num_epoch=30, eval_metric="mse", optimizer_params={"learning_rate": 0.1})
module.score(data, "mse")


# %% PythonModule
class Doubles(mx.module.PythonModule):
    def _compute_output_shapes(self):
        return [("output", self.data_shapes[0].shape)]

    def forward(self, data_batch, is_train=None):
        self.result = data_batch.data[0] * 2

    def get_outputs(self, merge_multi_context=True):
        return [self.result]


module = Doubles(["data"], None, ["output"])
module.bind([("data", (2,))])
module.forward(mx.io.DataBatch([mx.nd.array([1.0, 2.0])]))
module.get_outputs()[0]
