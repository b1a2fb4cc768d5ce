from tapegrad.nn import mxnet as mx

# %% Executor simple_bind
x = mx.sym.Variable("x")
executor = mx.executor.simple_bind(mx.sym.square(x), mx.cpu(), x=(2,))
executor.forward(is_train=True, x=mx.nd.array([3.0, 4.0]))[0].asnumpy()
executor.backward(mx.nd.ones((2,)))
executor.grad_dict["x"].asnumpy()
type(executor).__name__

# %% requests
mx.executor.requests("write", ["x", "w"])
mx.executor.requests({"w": "add"}, ["x", "w"])
