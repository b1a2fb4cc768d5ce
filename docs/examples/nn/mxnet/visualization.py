from tapegrad.nn import mxnet as mx

net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc")
net = mx.sym.SoftmaxOutput(net, name="softmax")

# %% NetworkPlot plot_network
plot = mx.viz.plot_network(net, shape={"data": (1, 8)})
type(plot).__name__, plot.svg[:4]

# %% print_summary
mx.viz.print_summary(net, shape={"data": (1, 8)}, line_length=72)
