"""Every operator against recordings of the real MXNet: outputs, gradients, states."""

from __future__ import annotations

import numpy as np
import pytest
from mxnet_records import arrays, assert_recorded, entries, params, table, under

from tapegrad.autograd import Parameter, Tensor, vjp
from tapegrad.nn import mxnet as mx
from tapegrad.nn.mxnet.declaration import find_operator, operators
from tapegrad.nn.mxnet.symbol.running import RunPlan

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


@pytest.mark.parametrize(("kernel", "case"), params(CASES, "ops/cases.json", 2))
def test_operator_equals_its_recording(kernel, case):
    symbol = mx.sym.load_json(case["symbol"])
    assert symbol.list_arguments() == case["args"]
    assert symbol.list_auxiliary_states() == case["aux"]
    assert symbol.list_outputs() == case["outputs"]
    recorded = under(arrays(f"{kernel}/arrays.npz"), f"{case['id']}/")
    values, states = under(recorded, "in/"), under(recorded, "aux/")
    shapes = symbol.infer_shape(**{name: x.shape for name, x in values.items()})
    assert [list(shape) for shape in shapes[1]] == case["out_shapes"]
    plan = RunPlan(symbol.heads)
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


@pytest.mark.parametrize(("kernel", "case"), params(CASES, "ops/cases.json", 2))
def test_a_symbol_is_written_as_mxnet_wrote_it(kernel, case):
    assert mx.sym.load_json(case["symbol"]).tojson() == case["symbol"]


def test_a_parameter_may_stand_for_an_array():
    y = RunPlan(mx.sym.Activation(mx.sym.var("x"), act_type="relu").heads)(
        {"x": Parameter(np.ones(2))}
    )
    assert y.outputs[0].tracked


ALIASES = dict(table("op_aliases.json"))
FILES = ("_cvimread", "_cvimdecode")  # operators that read files, which no symbol does here


@pytest.mark.parametrize("name", params(ALIASES, "op_aliases.json"))
def test_an_operator_has_all_its_aliases(name):
    for alias in (name, *ALIASES[name]):
        if alias in FILES:
            with pytest.raises(mx.MXNetError, match="reads a picture's file: call"):
                find_operator(alias)
        elif alias.startswith(("_np_", "_npi_", "_npx_")) and alias not in operators():
            with pytest.raises(mx.MXNetError, match=r"belongs to mx\.np"):
                find_operator(alias)
        else:
            assert find_operator(alias).name == name


def test_numbers_of_numpy_are_written_as_pythons():
    x = mx.sym.Pooling(
        mx.sym.var("x"), kernel=(np.int64(2), np.int32(3)), stride=[np.int8(1), 1],
        global_pool=np.bool_(False),
    )  # fmt: skip
    assert x.list_attr() == {"kernel": "(2, 3)", "stride": "[1, 1]", "global_pool": "False"}
    found = mx.sym.contrib.MultiBoxPrior(mx.sym.var("x"), sizes=(np.float32(0.1), np.float64(2)))
    assert found.attr("sizes") == "(0.1, 2.0)"


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["quantized_concat", "quantized_elemwise_add"])
def test_quantized_operators_that_are_not_here_say_what_to_do(name):
    with pytest.raises(mx.MXNetError, match=r"load the symbol from before quantize_model"):
        find_operator(f"_contrib_{name}")


def test_an_unknown_operator_is_refused_with_the_nearest_names():
    for room in (mx.sym, mx.nd, mx.sym.op, mx.nd.op):
        with pytest.raises(AttributeError, match=r"did you mean .*FullyConnected"):
            _ = room.FullyConected
    for room in (mx.sym.contrib, mx.nd.contrib):
        with pytest.raises(AttributeError, match=r"did you mean .*_contrib_MultiBoxPrior"):
            _ = room.MultiboxPrior


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"num_hiden": 2}, "FullyConnected 'fc': unknown attribute 'num_hiden'; did you mean"),
        ({"num_hidden": "two"}, "attribute num_hidden='two' is no Int"),
        ({"num_hidden": 2, "flatten": "maybe"}, "attribute flatten='maybe' is no Bool"),
        ({}, "the required attribute 'num_hidden' is missing"),
        ({"num_hidden": 2, "wieght": mx.sym.var("w")}, "no input 'wieght'; it has data, weight"),
    ],
)  # fmt: skip
def test_a_wrong_attribute_is_refused_where_it_is_written(settings, text):
    with pytest.raises(mx.MXNetError, match=text):
        mx.sym.FullyConnected(mx.sym.var("x"), name="fc", **settings)


def test_a_shape_that_cannot_be_inferred_is_named_with_its_node():
    net = mx.sym.FullyConnected(mx.sym.var("x"), num_hidden=2, name="fc")
    net = mx.sym.Activation(net, act_type="relu", name="act")
    with pytest.raises(mx.MXNetError, match="FullyConnected 'fc' lacks the shape of its input"):
        net.simple_bind(mx.cpu())
    with pytest.warns(UserWarning, match="FullyConnected 'fc' lacks the shape"):
        assert net.infer_shape() == (None, None, None)
    state = mx.sym.zeros((0, 3), name="zero")
    with pytest.raises(mx.MXNetError, match=r"_zeros .zero. leaves its shape \(0, 3\) open"):
        mx.sym.Activation(state + mx.sym.var("b"), act_type="relu").simple_bind(mx.cpu())
    with pytest.raises(mx.MXNetError, match=r"Concat 'c'.*\(2, 3\).*differ"):
        mx.sym.Concat(mx.sym.var("a"), mx.sym.var("b"), dim=0, name="c").infer_shape(
            a=(2, 3), b=(2, 4)
        )


def test_none_is_kept_where_mxnet_writes_it():
    x = mx.sym.sum(mx.sym.var("x"), axis=None, name="s")
    assert x.attr("axis") == "None"
    assert mx.sym.slice_axis(mx.sym.var("x"), axis=0, begin=1, end=None).attr("end") == "None"
    assert "dtype" not in mx.sym.random.uniform(dtype=None).list_attr()


def test_attr_dict_lists_the_multipliers_bare_too():
    w = mx.sym.Variable("w", lr_mult=0.1, wd_mult=3, init='["constant", {"value": 2}]')
    net = mx.sym.FullyConnected(mx.sym.var("data"), w, num_hidden=2, name="fc")
    recorded = entries("experiments.json")["lr_mult/wd_mult attrs"]["attr"]
    assert net.attr_dict() == recorded


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_channels_may_be_last(rank):
    rng = np.random.default_rng(rank)
    letters = "DHW"[-rank:]
    x, w = rng.standard_normal((2, 3, *(5,) * rank)), rng.standard_normal((4, 3, *(2,) * rank))
    settings = {"kernel": (2,) * rank, "stride": (2,) * rank}

    def first(y):
        return np.moveaxis(y.asnumpy(), -1, 1)

    a, b, a_last, b_last = map(mx.nd.array, (x, w, np.moveaxis(x, 1, -1), np.moveaxis(w, 1, -1)))
    more = {"num_filter": 4, "no_bias": True, **settings}
    found = mx.nd.Convolution(a_last, b_last, layout=f"N{letters}C", **more)
    expected = mx.nd.Convolution(a, b, layout=f"NC{letters}", **more).asnumpy()
    np.testing.assert_allclose(first(found), expected, rtol=1e-4, atol=1e-5)
    found = mx.nd.Pooling(a_last, layout=f"N{letters}C", **settings)
    np.testing.assert_array_equal(first(found), mx.nd.Pooling(a, **settings).asnumpy())
