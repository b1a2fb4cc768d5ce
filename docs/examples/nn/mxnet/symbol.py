from tapegrad.nn import mxnet as mx

x, y = mx.sym.Variable("x"), mx.sym.Variable("y")

# %% arange
mx.sym.arange(2, 6).eval()[0]

# %% eye
mx.sym.eye(2, 3, k=1).eval()[0]

# %% full
mx.sym.full((2, 2), 7).eval()[0]

# %% zeros ones
(x + mx.sym.zeros((1, 2))).eval(x=mx.nd.array([[3.0, 4.0]]))[0]

# %% linspace
mx.sym.linspace(0, 1, 5).eval()[0]

# %% histogram
counts = mx.sym.histogram(x, bins=2, range=(0, 6))[0]
counts.eval(x=mx.nd.array([1, 2, 2, 5]))[0]

# %% hypot maximum minimum pow
mx.sym.hypot(x, y).eval(x=mx.nd.array([3.0, 5.0]), y=mx.nd.array([4.0, 2.0]))[0]

# %% split_v2
parts = mx.sym.split_v2(x, [1, 3])
[part.asnumpy() for part in parts.eval(x=mx.nd.arange(5))]

# %% Symbol
net = mx.sym.Activation(
    mx.sym.FullyConnected(x, num_hidden=2, name="fc"), act_type="relu", name="a"
)
type(net).__name__, net.name
net.list_arguments()
net.infer_shape(x=(5, 3))[1]

# %% load load_json
net = mx.sym.FullyConnected(x, num_hidden=2, name="fc")
net.save("net.json")
mx.sym.load("net.json").list_arguments()
mx.sym.load_json(net.tojson()).list_outputs()
