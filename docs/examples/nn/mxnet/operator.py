from tapegrad.nn import mxnet as mx


# %% CustomOp CustomOpProp register
class Square(mx.operator.CustomOp):
    def forward(self, is_train, req, in_data, out_data, aux):
        self.assign(out_data[0], req[0], in_data[0] * in_data[0])

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        self.assign(in_grad[0], req[0], 2 * in_data[0] * out_grad[0])


@mx.operator.register("example_square")
class SquareProp(mx.operator.CustomOpProp):
    def create_operator(self, ctx, shapes, dtypes):
        return Square()


mx.nd.Custom(mx.nd.array([1.0, 3.0]), op_type="example_square")


# %% NumpyOp PythonOp
class Squared(mx.operator.NumpyOp):
    def forward(self, in_data, out_data):
        out_data[0][:] = in_data[0] ** 2

    def backward(self, out_grad, in_data, out_data, in_grad):
        in_grad[0][:] = 2 * in_data[0] * out_grad[0]


square = Squared()
isinstance(square, mx.operator.PythonOp)
square(mx.sym.Variable("x")).eval(x=mx.nd.array([1.0, 3.0]))[0]


# %% NDArrayOp
class SquaredArray(mx.operator.NDArrayOp):
    def forward(self, in_data, out_data):
        out_data[0][:] = in_data[0] * in_data[0]

    def backward(self, out_grad, in_data, out_data, in_grad):
        in_grad[0][:] = 2 * in_data[0] * out_grad[0]


SquaredArray()(mx.sym.Variable("x")).eval(x=mx.nd.array([1.0, 3.0]))[0]


# %% get_all_registered_operators
@mx.operator.register("example_nothing")
class NothingProp(mx.operator.CustomOpProp):
    pass


"example_nothing" in mx.operator.get_all_registered_operators()
