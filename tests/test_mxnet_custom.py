"""mx.operator: operators of a script, in symbols, arrays, executors, files."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from tapegrad.autograd import Tensor, vjp
from tapegrad.nn import mxnet as mx
from tapegrad.nn.mxnet.symbol.running import RunPlan


class Softmax(mx.operator.CustomOp):
    """The example of MXNet's documentation, written anew."""

    def __init__(self):
        self.calls = []

    def forward(self, is_train, req, in_data, out_data, aux):
        self.calls.append("train" if is_train else "eval")
        x = in_data[0].asnumpy()
        y = np.exp(x - x.max(axis=1, keepdims=True))
        self.assign(out_data[0], req[0], mx.nd.array(y / y.sum(axis=1, keepdims=True)))

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        self.calls.append("backward")
        label = in_data[1].asnumpy().astype(int)
        y = out_data[0].asnumpy()
        y[np.arange(label.size), label] -= 1
        self.assign(in_grad[0], req[0], mx.nd.array(y))


@mx.operator.register("test_softmax")
class SoftmaxProp(mx.operator.CustomOpProp):
    made: ClassVar[list[Softmax]] = []

    def __init__(self, scale="1"):
        super().__init__(need_top_grad=False)
        self.scale = float(scale)

    def list_arguments(self):
        return ["data", "label"]

    def infer_shape(self, in_shape):
        return [in_shape[0], [in_shape[0][0]]], [in_shape[0]], []

    def create_operator(self, ctx, shapes, dtypes):
        self.made.append(Softmax())
        return self.made[-1]


class Counting(mx.operator.CustomOp):
    def forward(self, is_train, req, in_data, out_data, aux):
        self.assign(out_data[0], req[0], in_data[0] * 2)
        self.assign(out_data[1], req[1], in_data[0] * in_data[0])
        aux[0][:] = aux[0] + 1

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        self.assign(in_grad[0], req[0], out_grad[0] * 2 + out_grad[1] * in_data[0] * 2)


@mx.operator.register("test_counting")
class CountingProp(mx.operator.CustomOpProp):
    def list_outputs(self):
        return ["double", "square"]

    def list_auxiliary_states(self):
        return ["count"]

    def infer_shape(self, in_shape):
        return in_shape, [in_shape[0], in_shape[0]], [[1]]

    def create_operator(self, ctx, shapes, dtypes):
        return Counting()


def test_a_symbol_of_a_registered_operator():
    net = mx.sym.Custom(data=mx.sym.var("data"), op_type="test_softmax", name="softmax", scale=2)
    assert net.list_arguments() == ["data", "softmax_label"]
    assert net.list_outputs() == ["softmax_output"]
    assert net.infer_shape(data=(4, 3)) == ([(4, 3), (4,)], [(4, 3)], [])
    assert net.attr("op_type") == "test_softmax"
    assert net.attr("scale") == "2"
    text = net.tojson()
    assert mx.sym.load_json(text).tojson() == text
    counting = mx.sym.Custom(mx.sym.var("x"), op_type="test_counting")
    assert counting.list_auxiliary_states()[0].endswith("_count")
    assert [name.split("_")[-1] for name in counting.list_outputs()] == ["double", "square"]


def test_it_runs_at_once_on_arrays():
    x = mx.nd.array([[1.0, 2.0]])
    y = mx.nd.Custom(x, mx.nd.array([0]), op_type="test_softmax")
    np.testing.assert_allclose(y.asnumpy(), [[0.26894143, 0.7310586]], rtol=1e-6)
    double, square = mx.nd.Custom(x, mx.nd.zeros((1,)), op_type="test_counting")
    np.testing.assert_array_equal(double.asnumpy(), [[2, 4]])
    np.testing.assert_array_equal(square.asnumpy(), [[1, 4]])


def test_an_executor_runs_it_again_in_each_replay_and_fills_gradients():
    net = mx.sym.Custom(mx.sym.var("data"), op_type="test_softmax", name="softmax")
    SoftmaxProp.made.clear()
    run = net.simple_bind(mx.cpu(), data=(2, 3))
    for k in range(4):
        x = np.random.default_rng(k).standard_normal((2, 3)).astype(np.float32)
        run.arg_dict["data"][:] = x
        run.arg_dict["softmax_label"][:] = [k % 3, 1]
        run.forward(is_train=True)
        run.backward()
        p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
        np.testing.assert_allclose(run.outputs[0].asnumpy(), p, rtol=1e-5)
        p[[0, 1], [k % 3, 1]] -= 1
        np.testing.assert_allclose(run.grad_dict["data"].asnumpy(), p, rtol=1e-4, atol=1e-6)
    run.forward(is_train=False)
    calls = [call for made in SoftmaxProp.made for call in made.calls]
    assert calls.count("backward") == 4
    assert calls.count("eval") == 1


def test_states_are_written_and_both_outputs_pull():
    net = mx.sym.Custom(mx.sym.var("x"), op_type="test_counting", name="c")
    state = {"c_count": Tensor(np.array([3.0]))}
    x = np.array([1.0, -2.0])
    runs = []

    def step(value):
        runs.append(RunPlan(net.heads)({"x": value, **state}, train=True))
        return runs[-1].outputs

    _, pull = vjp(step, (x,))
    np.testing.assert_array_equal(runs[0].writes["c_count"].numpy(), [4])
    np.testing.assert_allclose(pull([np.ones(2), np.ones(2)])[0], 2 + 2 * x)
    np.testing.assert_allclose(pull([np.ones(2), np.zeros(2)])[0], [2, 2])


def test_a_file_with_an_operator_that_nobody_registered_is_refused_by_name():
    net = mx.sym.Custom(mx.sym.var("data"), op_type="test_softmax", name="softmax")
    text = net.tojson().replace("test_softmax", "test_softmas")
    with pytest.raises(mx.MXNetError, match=r"'softmax'.*test_softmas.*did you mean test_softmax"):
        mx.sym.load_json(text)
    with pytest.raises(mx.MXNetError, match="op_type"):
        mx.sym.Custom(mx.sym.var("data"))


def test_only_descriptions_are_registered():
    with pytest.raises(TypeError, match="CustomOpProp"):
        mx.operator.register("test_nothing")(Softmax)
    assert "test_softmax" in mx.operator.get_all_registered_operators()


def test_assign_follows_the_request():
    op, dst = mx.operator.CustomOp(), mx.nd.ones((2,))
    op.assign(dst, "null", mx.nd.array([5, 5]))
    op.assign(dst, "add", mx.nd.array([1, 2]))
    np.testing.assert_array_equal(dst.asnumpy(), [2, 3])
    op.assign(dst, "write", mx.nd.array([7, 8]))
    np.testing.assert_array_equal(dst.asnumpy(), [7, 8])
