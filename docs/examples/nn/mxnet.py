import numpy as np

from tapegrad.nn import mxnet as mx

# %% Context current_context
with mx.Context("cpu", 1):
    x = mx.nd.zeros((2,))
    print(mx.current_context())
x.context, mx.current_context()

# %% cpu_pinned gpu
mx.cpu_pinned(0)

# %% num_gpus
mx.num_gpus()

# %% AttrScope
with mx.AttrScope(lr_mult="2"):
    weight = mx.sym.Variable("weight")
weight.attr("lr_mult")

# %% NameManager
with mx.NameManager():
    x = mx.sym.Variable("x")
    print(mx.sym.FullyConnected(x, num_hidden=2).name, mx.sym.FullyConnected(x, num_hidden=2).name)

# %% Prefix
with mx.Prefix("encoder_"):
    y = mx.sym.FullyConnected(mx.sym.Variable("x"), num_hidden=2, name="fc")
y.list_arguments()

# %% SymbolModule
y = mx.sym.FullyConnected(mx.sym.Variable("x"), num_hidden=2, name="fc")
weights = {"fc_weight": np.ones((2, 3)), "fc_bias": np.zeros(2)}
layer = mx.SymbolModule(y, weights)
layer(np.array([[1.0, 2.0, 3.0]]))

# %% compat
x = mx.nd.array([-1.0, 0.0])
try:
    mx.compat("0.1")
except ValueError as error:
    print(error)

# %% install
mx.install()
from mxnet import nd

nd.ones((2,))
