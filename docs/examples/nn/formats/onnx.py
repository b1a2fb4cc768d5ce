import numpy as np

from tapegrad import nn
from tapegrad.nn.formats import onnx

model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
x = np.ones((1, 3), np.float32)

# %% load save
y = model.forward(x)
onnx.save(model, "model.onnx")
np.array_equal(onnx.load("model.onnx")(x), y)

# %% read_model build_module
onnx.export(model, x, "model.onnx")
found = onnx.read_model("model.onnx")
onnx.build_module(found)


# %% OnnxGraph
class SumOfSquares(nn.Module):
    def forward(self, x):
        return np.sum(x * x, axis=1)


onnx.export(SumOfSquares(), x, "model.onnx")
graph = onnx.load("model.onnx")  # no chain of layers
type(graph).__name__, graph(x)
