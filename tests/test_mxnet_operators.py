"""Every operator against recordings of the real MXNet: outputs, gradients, states."""

from __future__ import annotations

import numpy as np
import pytest
from mxnet_records import arrays, assert_recorded, table, under

from tapegrad.autograd import Parameter, Tensor, vjp
from tapegrad.nn import mxnet as mx
from tapegrad.nn.mxnet.symbol.running import Plan

# (folder, id) -> why a recording is not the truth
NOT_THE_TRUTH = {("ops", 33, "grad"): "MKL-DNN is wrong there; ops_native has the right one"}
UNDEFINED = {("LeakyReLU", "rrelu", 1): "the mask is memory that nobody wrote in evaluate mode"}
KERNELS = ("ops", "ops_native")
CASES = [
    pytest.param(kernel, case, id=f"{kernel}-{case['id']}-{case['op']}")
    for kernel in KERNELS
    for case in table(f"{kernel}/cases.json")
    if "symbol" in case
]


def test_there_are_cases():
    assert CASES, "no recorded operator was found"


@pytest.fixture(autouse=True)
def as_1_9_1():
    with mx.compat("1.9.1"):
        yield


@pytest.mark.parametrize(("kernel", "case"), CASES)
def test_operator_equals_its_recording(kernel, case):
    symbol = mx.sym.load_json(case["symbol"])
    assert symbol.list_arguments() == case["args"]
    assert symbol.list_auxiliary_states() == case["aux"]
    assert symbol.list_outputs() == case["outputs"]
    recorded = under(arrays(f"{kernel}/arrays.npz"), f"{case['id']}/")
    values, states = under(recorded, "in/"), under(recorded, "aux/")
    shapes = symbol.infer_shape(**{name: x.shape for name, x in values.items()})
    assert [list(shape) for shape in shapes[1]] == case["out_shapes"]
    plan = Plan(symbol.heads)
    fixed = {name: Tensor(x) for name, x in states.items()}

    if any(key.startswith("eval/") for key in recorded):
        given = {name: Tensor(x) for name, x in values.items()}
        outputs = plan({**given, **fixed}, train=False).outputs
        check(outputs, under(recorded, "eval/out/"), "output in evaluate mode", case)
    if not any(key.startswith("train/") for key in recorded):
        return
    run = {}

    def step(*point):
        run["run"] = plan({**dict(zip(values, point, strict=True)), **fixed}, train=True)
        return run["run"].outputs

    outputs, pull = vjp(step, tuple(values.values()))
    check(outputs, under(recorded, "train/out/"), "output in training mode", case)
    heads = under(recorded, "head/")
    gradients = pull([heads[str(i)].astype(y.dtype) for i, y in enumerate(outputs)])
    if (kernel, case["id"], "grad") not in NOT_THE_TRUTH:
        for name, g in zip(values, gradients, strict=True):
            if f"grad/{name}" in recorded:
                assert_recorded(np.asarray(g), recorded[f"grad/{name}"], f"gradient of {name}")
    written = {name: np.asarray(value) for name, value in run["run"].writes.items()}
    for name, expected in {
        **under(recorded, "aux_after/"),
        **under(recorded, "arg_after/"),
    }.items():
        before = {**values, **states}[name]
        assert_recorded(written.get(name, before), expected, f"{name} afterwards")


def check(outputs, recorded, what, case):
    assert recorded, f"nothing is recorded of the {what}"
    for key, expected in recorded.items():
        if (case["op"], case["attrs"].get("act_type"), int(key)) in UNDEFINED:
            continue
        if int(key) < len(outputs):
            y = outputs[int(key)]
            y = y.detach().numpy() if isinstance(y, Tensor) else y
            assert_recorded(y, expected, f"{what} {key}")


@pytest.mark.parametrize(("kernel", "case"), CASES)
def test_a_symbol_is_written_as_mxnet_wrote_it(kernel, case):
    assert mx.sym.load_json(case["symbol"]).tojson() == case["symbol"]


def test_a_parameter_may_stand_for_an_array():
    y = Plan(mx.sym.Activation(mx.sym.var("x"), act_type="relu").heads)(
        {"x": Parameter(np.ones(2))}
    )
    assert y.outputs[0].tracked
