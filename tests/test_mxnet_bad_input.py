"""Bad input to a module that is being trained: one clear error each, and nothing has changed."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.nn import mxnet as mx
from tapegrad.nn.formats import FormatError

DATA, LABEL = [("data", (2, 4))], [("softmax_label", (2,))]


def net():
    y = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    y = mx.sym.BatchNorm(y, name="bn")
    return mx.sym.SoftmaxOutput(y, name="softmax")


def batch(*shape):
    return mx.io.DataBatch([mx.nd.ones(shape or (2, 4))], [mx.nd.zeros(2)])


@pytest.fixture
def trained():
    """A module after a step."""
    mx.random.seed(0)
    module = mx.mod.Module(net())
    module.bind(DATA, LABEL)
    module.init_params(mx.init.Xavier())
    module.init_optimizer(optimizer_params={"learning_rate": 0.1, "momentum": 0.9})
    module.forward_backward(batch())
    module.update()
    return module


def state(module, folder):
    """All that later calls depend on."""
    arg, aux = module.get_params()
    module.save_optimizer_states(str(folder / "now.states"))
    return (
        {k: x.asnumpy().tolist() for k, x in {**arg, **aux}.items()},
        (folder / "now.states").read_bytes(),
        [y.asnumpy().tolist() for y in module.get_outputs()],
        str(module.data_shapes), str(module.label_shapes),
        module.binded, module.params_initialized, module.optimizer_initialized,
        module._optimizer,
    )  # fmt: skip


@pytest.fixture
def unchanged(trained, tmp_path):
    """The trained module; fails where it differs at the end, or cannot go on."""
    before = state(trained, tmp_path)
    yield trained
    assert state(trained, tmp_path) == before
    trained.forward_backward(batch())
    trained.update()
    assert state(trained, tmp_path) != before


TEXT = net().tojson()
ONE = mx.nd.ones((3, 4))


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("FullyConnected", "FulyConnected", "'FulyConnected'.*'fc'.*did you mean FullyConnected"),
        ('"num_hidden": "3"', '"num_hidden": "three"', "'fc'.*num_hidden='three' is no Int"),
        ('"num_hidden": "3"', '"num_hiden": "3"', "'fc'.*'num_hiden'; did you mean 'num_hidden'"),
    ],
)
def test_a_symbol_that_is_none(unchanged, tmp_path, old, new, text):
    assert old in TEXT
    prefix = str(tmp_path / "net")
    unchanged.save_checkpoint(prefix, 1)
    (tmp_path / "net-symbol.json").write_text(TEXT.replace(old, new))
    for load in (mx.sym.load_json, lambda _: mx.mod.Module.load(prefix, 1)):
        with pytest.raises(mx.MXNetError, match=text):
            load(TEXT.replace(old, new))
    with pytest.raises(FormatError, match=text):
        nn.load(prefix + "-0001.params")


SHAPE = mx.nd.zeros((3, 5))
BAD_CALLS = {
    "data of another name": (
        lambda m: m.bind([("dta", (2, 4))], LABEL, force_rebind=True),
        ValueError, r"don't match .*data_names.*\('dta', \(2, 4\)\).*\['data'\]",
    ),
    "reshaped data of another name": (
        lambda m: m.reshape([("dta", (2, 4))], LABEL),
        ValueError, r"don't match .*data_names",
    ),
    "a name that no argument has": (
        lambda m: mx.mod.Module(m.symbol, data_names=["dta"]),
        ValueError, "'dta' is not found.*Did you mean one of:\n\tdata",
    ),
    "a fixed parameter that there is not": (
        lambda m: mx.mod.Module(m.symbol, fixed_param_names=["fc_wieght"]),
        ValueError, "'fc_wieght' is not found",
    ),
    "data that fit no parameter": (
        lambda m: m.forward(batch(2, 5)),
        mx.MXNetError, r"fc_weight has the shape \(3, 4\) and would need \(3, 5\)",
    ),
    "a missing parameter": (
        lambda m: m.set_params({"fc_weight": ONE}, {}),
        RuntimeError, "fc_bias is not presented|bn_beta is not presented",
    ),
    "a surplus parameter": (
        lambda m: m.set_params({"fc_weight": ONE, "fc_wieght": ONE}, {}, allow_missing=True),
        ValueError, 'Find name "fc_wieght" that is not in the arguments; did you mean "fc_weight"',
    ),
    "a parameter of another shape": (
        lambda m: m.set_params({"fc_bias": mx.nd.ones(3), "fc_weight": SHAPE}, {},
                               allow_missing=True),
        mx.MXNetError, r"fc_weight has the shape \(3, 4\), the given one \(3, 5\)",
    ),
    "a state of another shape": (
        lambda m: m.set_params({"fc_bias": mx.nd.ones(3)}, {"bn_moving_mean": mx.nd.ones(2)},
                               allow_missing=True),
        mx.MXNetError, r"bn_moving_mean has the shape \(3,\), the given one \(2,\)",
    ),
    "first values of another shape": (
        lambda m: m.init_params(arg_params={"bn_beta": mx.nd.ones(3), "fc_weight": SHAPE},
                                aux_params={}, allow_missing=True, force_init=True),
        mx.MXNetError, r"fc_weight has the shape \(3, 4\), the given one \(3, 5\)",
    ),
    "an optimizer that there is not": (
        lambda m: m.init_optimizer(optimizer="adm", force_init=True),
        ValueError, "Cannot find optimizer adm; did you mean adam",
    ),
    "an option that it has not": (
        lambda m: m.init_optimizer(optimizer_params={"momentm": 0.9}, force_init=True),
        TypeError, "momentm",
    ),
    "a metric that there is not": (
        lambda m: m.score(mx.io.NDArrayIter(np.ones((2, 4)), np.zeros(2), 2), "acuracy"),
        ValueError, "acuracy.*accuracy",
    ),
    "a gradient of another number of outputs": (
        lambda m: m.backward([mx.nd.ones((2, 3))] * 2),
        mx.MXNetError, "2 gradients for 1 outputs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_call_that_does_not_fit(unchanged, name):
    call, error, text = BAD_CALLS[name]
    with pytest.raises(error, match=text):
        call(unchanged)


def test_a_shape_that_does_not_follow_is_named_and_the_module_stays_unbound():
    seen = mx.sym.Reshape(mx.sym.Variable("other"), shape=(-1, 4), name="seen")
    joined = mx.sym.broadcast_add(mx.sym.Variable("data"), seen, name="joined")
    module = mx.mod.Module(
        mx.sym.SoftmaxOutput(mx.sym.FullyConnected(joined, num_hidden=3, name="fc"), name="softmax")
    )
    with pytest.raises(mx.MXNetError, match="Reshape 'seen' lacks the shape of its input data"):
        module.bind(DATA, LABEL)
    assert not module.binded
    module = mx.mod.Module(net())
    with pytest.raises(mx.MXNetError, match=r"FullyConnected 'fc' lacks .* shape \(2, 0\)"):
        module.bind([("data", (2, 0))], LABEL)
    assert not module.binded
    module.bind(DATA, LABEL)
    module.init_params()


def test_labels_of_another_name_are_warned_of():
    with pytest.warns(UserWarning, match="'softmax_lable' is not found.*Did you mean.*\n\tsoftmax"):
        mx.mod.Module(net(), label_names=["softmax_lable"])
    module = mx.mod.Module(net())
    with pytest.warns(UserWarning, match="don't match names specified by label_names"):
        module.bind(DATA, [("softmax_lable", (2,))])


def test_cut_files(unchanged, tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    prefix = str(tmp_path / "net")
    unchanged.save_checkpoint(prefix, 1, save_optimizer_states=True)
    params, states = tmp_path / "net-0001.params", tmp_path / "net-0001.states"
    for path, load in (
        (params, lambda: unchanged.load_params(str(params))),
        (params, lambda: mx.mod.Module.load(prefix, 1)),
        (states, lambda: unchanged.load_optimizer_states(str(states))),
    ):
        whole = path.read_bytes()
        for count in {*range(0, len(whole), 13), len(whole) - 1}:
            path.write_bytes(whole[:count])
            with pytest.raises(FormatError) as caught:
                load()
            assert path.name in str(caught.value)
        path.write_bytes(whole)
    text = (tmp_path / "net-symbol.json").read_text()
    for count in range(0, len(text) - 2, 97):
        (tmp_path / "net-symbol.json").write_text(text[:count])
        with pytest.raises((FormatError, mx.MXNetError), match="symbol"):
            mx.mod.Module.load(prefix, 1)


def test_buckets_stay_bound_where_a_rebind_fails():
    def sym_gen(length):
        rows = mx.sym.Reshape(mx.sym.Variable("data"), shape=(-1, 2))
        y = mx.sym.FullyConnected(rows, num_hidden=3, name="fc")
        return mx.sym.MakeLoss(y, name="loss"), ("data",), ()

    model = mx.mod.BucketingModule(sym_gen, default_bucket_key=4)
    model.bind([("data", (2, 4))])
    model.init_params(mx.init.One())
    before = dict(model._buckets)
    with pytest.raises(ValueError, match="don't match names"):
        model.bind([("dta", (2, 4))], force_rebind=True)
    assert model.binded
    assert model._buckets == before
    model.bind([("data", (4, 4))], force_rebind=True)
    assert model.data_shapes[0].shape == (4, 4)
    assert (model.get_params()[0]["fc_weight"].asnumpy() == 1).all()
