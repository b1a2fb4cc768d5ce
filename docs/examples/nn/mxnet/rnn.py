from tapegrad.nn import mxnet as mx

# %% RNNCell GRUCell
cell = mx.rnn.RNNCell(4)
outputs, states = cell.unroll(3, mx.sym.Variable("x"), merge_outputs=True)
outputs.list_arguments()
outputs.infer_shape(x=(2, 3, 5))[1]

# %% ConvRNNCell ConvGRUCell ConvLSTMCell BaseConvRNNCell
cell = mx.rnn.ConvRNNCell((1, 3, 8, 8), num_hidden=4)
isinstance(cell, mx.rnn.BaseConvRNNCell)
outputs, states = cell.unroll(2, [mx.sym.Variable("x0"), mx.sym.Variable("x1")])
mx.sym.Group(outputs).infer_shape(x0=(1, 3, 8, 8), x1=(1, 3, 8, 8))[1]

# %% FusedRNNCell
cell = mx.rnn.FusedRNNCell(4, num_layers=2, mode="lstm")
outputs, states = cell.unroll(3, mx.sym.Variable("x"), layout="NTC", merge_outputs=True)
outputs.infer_shape(x=(2, 3, 5))[1]

# %% BidirectionalCell
cell = mx.rnn.BidirectionalCell(mx.rnn.GRUCell(4, "l_"), mx.rnn.GRUCell(4, "r_"))
outputs, states = cell.unroll(3, mx.sym.Variable("x"), merge_outputs=True)
outputs.infer_shape(x=(2, 3, 5))[1]

# %% DropoutCell
cells = mx.rnn.SequentialRNNCell()
cells.add(mx.rnn.GRUCell(4))
cells.add(mx.rnn.DropoutCell(0.5))
outputs, states = cells.unroll(3, mx.sym.Variable("x"), merge_outputs=True)
outputs.infer_shape(x=(2, 3, 5))[1]

# %% ResidualCell ZoneoutCell
cell = mx.rnn.ResidualCell(mx.rnn.GRUCell(5))
outputs, states = cell.unroll(3, mx.sym.Variable("x"), merge_outputs=True)
outputs.infer_shape(x=(2, 3, 5))[1]


# %% ModifierCell
class Doubled(mx.rnn.ModifierCell):
    def __call__(self, inputs, states):
        output, states = self.base_cell(inputs, states)
        return 2 * output, states


cell = Doubled(mx.rnn.RNNCell(4))
output, states = cell(mx.sym.Variable("x"), cell.begin_state())
output.infer_shape(x=(2, 5))[1]


# %% BaseRNNCell
class Adding(mx.rnn.BaseRNNCell):
    @property
    def state_info(self):
        return [{"shape": (0, 3), "__layout__": "NC"}]

    def __call__(self, inputs, states):
        total = states[0] + inputs
        return total, [total]


outputs, states = Adding().unroll(4, mx.sym.Variable("x"), merge_outputs=True)
outputs.eval(x=mx.nd.ones((1, 4, 3)))[0].asnumpy()

# %% RNNParams
shared = mx.rnn.RNNParams("both_")
first, second = mx.rnn.RNNCell(4, params=shared), mx.rnn.RNNCell(4, params=shared)
shared.get("extra_weight").name

# %% rnn_unroll
outputs, states = mx.rnn.rnn_unroll(mx.rnn.RNNCell(4), 2)
mx.sym.Group(outputs).list_arguments()

# %% save_rnn_checkpoint
cell = mx.rnn.RNNCell(4)
outputs, states = cell.unroll(3, mx.sym.Variable("x"), merge_outputs=True)
weights = {"rnn_i2h_weight": mx.nd.ones((4, 5)), "rnn_h2h_weight": mx.nd.ones((4, 4))}
biases = {"rnn_i2h_bias": mx.nd.zeros((4,)), "rnn_h2h_bias": mx.nd.zeros((4,))}
mx.rnn.save_rnn_checkpoint(cell, "net", 1, outputs, weights | biases, {})
symbol, weights, states = mx.rnn.load_rnn_checkpoint(cell, "net", 1)
sorted(weights)
