"""Models, optimizers, metrics, initializers, schedulers and contexts against MXNet's recordings."""

from __future__ import annotations

import ast
import json
import math

import numpy as np
import pytest
from mxnet_records import arrays, assert_recorded, entries, models, params, path, table, under

from tapegrad.nn import mxnet as mx

# The bias in front of a normalization has the gradient 0: what is recorded is rounding, which
# optimizers that divide by its size blow up, and the running mean behind it follows the bias.
NO_GRADIENT = {("bnnet", "conv1_bias"), ("bnnet", "bn1_moving_mean")}


@pytest.fixture(autouse=True)
def as_1_9_1():
    with mx.compat("1.9.1"):
        yield


class Recorded:
    """A recorded model: its checkpoint, data, results."""

    def __init__(self, name):
        folder = path(name)
        self.name = name
        self.info = json.loads((folder / "info.json").read_text())
        self.symbol, self.arg, self.aux = mx.model.load_checkpoint(str(folder / "m"), 0)
        given = arrays(f"{name}/in.npz")
        self.data = [(k, tuple(shape)) for k, shape in self.info["data"]]
        self.label = [(k, tuple(shape)) for k, shape in self.info["label"]]
        self.batch = mx.io.DataBatch(
            [mx.nd.array(given[f"data:{k}"]) for k, _ in self.data],
            [mx.nd.array(given[f"label:{k}"]) for k, _ in self.label],
        )
        self.out = arrays(f"{name}/out.npz")
        heads = under(self.out, "head_grad:")
        self.heads = [mx.nd.array(heads[str(i)]) for i in range(len(heads))] or None

    def module(self, **settings):
        made = mx.mod.Module(
            self.symbol, [k for k, _ in self.data], [k for k, _ in self.label] or None
        )
        made.bind(self.data, self.label or None, **settings)
        made.init_params(arg_params=self.arg, aux_params=self.aux)
        return made


@pytest.mark.parametrize("name", models())
def test_a_model_runs_as_recorded(name):
    recorded = Recorded(name)
    module = recorded.module(inputs_need_grad=True)
    module.forward(recorded.batch, is_train=False)
    for key, y in zip(module.output_names, module.get_outputs(), strict=True):
        assert_recorded(y.asnumpy(), recorded.out[f"eval:{key}"], f"{key} in evaluate mode")
    if not any(key.startswith("grad:") for key in recorded.out):
        return
    module.forward(recorded.batch, is_train=True)
    module.backward(recorded.heads)
    for key, y in zip(module.output_names, module.get_outputs(), strict=True):
        assert_recorded(y.asnumpy(), recorded.out[f"train:{key}"], f"{key} in training mode")
    group = module._exec_group
    for key, [g] in zip(group.own_params, group.grad_arrays, strict=True):
        if (name, key) not in NO_GRADIENT:
            assert_recorded(g.asnumpy(), recorded.out[f"grad:{key}"], f"gradient of {key}")
    for (key, _), g in zip(recorded.data, module.get_input_grads(), strict=True):
        assert_recorded(g.asnumpy(), recorded.out[f"igrad:{key}"], f"gradient of {key}")
    module._params_dirty = True
    for key, x in module.get_params()[1].items():
        expected = recorded.out[f"aux_after_train_fwd:{key}"]
        assert_recorded(x.asnumpy(), expected, f"{key} afterwards")


@pytest.mark.parametrize("name", models())
def test_every_hidden_output_is_as_recorded(name):
    recorded = Recorded(name)
    expected = arrays(f"{name}/internals_eval.npz")
    internals = recorded.symbol.get_internals()
    known = set(expected)
    wanted = mx.sym.Group([internals[n] for n in internals.list_outputs() if n in known])
    given = dict(zip([k for k, _ in recorded.data], recorded.batch.data, strict=True))
    given |= zip([k for k, _ in recorded.label], recorded.batch.label, strict=True)
    values = {**recorded.arg, **given}
    names = wanted.list_arguments()
    states = {k: recorded.aux[k] for k in wanted.list_auxiliary_states()}
    executor = wanted.bind(
        mx.cpu(), {k: values[k] for k in names}, grad_req="null", aux_states=states
    )
    for key, y in zip(wanted.list_outputs(), executor.forward(is_train=False), strict=True):
        assert_recorded(y.asnumpy(), expected[key], key)


def optimizers():
    for name in models():
        for info in [table(f"{name}/info.json")] if table(f"{name}/info.json") else []:
            for kind in info["optimizers"]:
                yield pytest.param(name, kind, id=f"{name}-{kind}")


@pytest.mark.filterwarnings("ignore:learning rate from:UserWarning")  # as recorded
@pytest.mark.parametrize(("name", "kind"), params(optimizers(), "NAME/info.json", 2))
def test_five_updates_are_as_recorded(name, kind):
    recorded = Recorded(name)
    steps = arrays(f"{name}/opt.npz")
    if not any(key.startswith(f"{kind}/") for key in steps):
        pytest.skip(f"recording {name}/opt.npz of {kind} is absent")
    info = recorded.info["optimizers"][kind]
    if info["nonfinite"]:
        pytest.skip(f"{kind} of {name} was not finite: {', '.join(info['nonfinite'])}")
    settings = dict(info["params"])
    if "lr_scheduler" in settings:
        call = ast.parse(settings["lr_scheduler"], mode="eval").body
        keywords = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
        settings["lr_scheduler"] = getattr(mx.lr_scheduler, call.func.id)(**keywords)
    module = recorded.module()
    module.init_optimizer(kvstore="local", optimizer=info["optimizer"], optimizer_params=settings)
    for step in range(1, 6):
        module.forward(recorded.batch, is_train=True)
        module.backward(recorded.heads)
        module.update()
        if step in (1, 5):
            found, states = module.get_params()
            for key, expected in under(steps, f"{kind}/{step}/").items():
                if (name, key) not in NO_GRADIENT:
                    what = f"{key} after {step} updates"
                    assert_recorded(found[key].asnumpy(), expected, what)
            for key, expected in under(steps, f"{kind}/{step}aux/").items():
                if (name, key) not in NO_GRADIENT:
                    what = f"{key} after {step} updates"
                    assert_recorded(states[key].asnumpy(), expected, what)


METRICS = table("metrics.json") or {}


@pytest.mark.parametrize(
    "given",
    params(
        [key for key, entry in METRICS.items() if key.startswith("[") and "kind" in entry],
        "metrics.json",
    ),
)
def test_a_metric_is_as_recorded(given):
    entry = METRICS[given]
    name, settings = json.loads(given)
    path("metrics.npz")
    stored = arrays("metrics.npz")
    kind = entry["kind"]
    label, pred = stored[f"y{kind}"], stored[f"p{kind}"]
    metric = mx.metric.create(name, **settings)
    assert metric.name == entry["name"]
    assert str(metric.get()) == entry["empty"]
    metric.update([mx.nd.array(label)], [mx.nd.array(pred)])
    assert_value(metric.get(), entry["one_batch"])
    metric = mx.metric.create(name, **settings)
    half = len(label) // 2
    for part in (slice(None, half), slice(half, None)):
        metric.update([mx.nd.array(label[part])], [mx.nd.array(pred[part])])
    assert_value(metric.get(), entry["two_batches"])


def assert_value(found, expected):
    assert found[0] == expected[0]
    if isinstance(expected[1], list):
        assert found[1] == pytest.approx(expected[1], rel=1e-6)
    elif math.isnan(expected[1]):
        assert math.isnan(found[1])
    else:
        assert found[1] == pytest.approx(expected[1], rel=1e-6)


def test_what_mxnet_refuses_as_a_metric_is_refused():
    path("metrics.json")
    for given, entry in METRICS.items():
        if given.startswith("[") and "error" in entry:
            name, settings = json.loads(given)
            with pytest.raises((ValueError, TypeError)):
                mx.metric.create(name, **settings)


def test_registries_have_the_names_that_mxnet_has():
    if "_optimizers" not in METRICS:
        pytest.skip("recording metrics.json has no registries")
    for name in METRICS["_optimizers"]:
        assert mx.optimizer.create(name) is not None
    for name in METRICS["_registry"]:
        assert name in mx.metric.names()
    for name in METRICS["_initializers"]:
        assert name in mx.init.names()


SCHEDULERS = {
    "Factor": mx.lr_scheduler.FactorScheduler,
    "FactorScheduler": mx.lr_scheduler.FactorScheduler,
    "MultiFactor": mx.lr_scheduler.MultiFactorScheduler,
    "Poly": mx.lr_scheduler.PolyScheduler,
    "Cosine": mx.lr_scheduler.CosineScheduler,
}
SHORT = {"stop": "stop_factor_lr", "warmup": "warmup_steps", "begin": "warmup_begin_lr"}
NAMED = {
    "Poly(10,1,pwr=1,final=.1,warmup=3,begin=.2)": ("Poly", (10, 1, 1, 0.1, 3, 0.2), {}),
    "Cosine(10,1,.1,warmup 3 const)": ("Cosine", (10, 1, 0.1, 3, 0.05, "constant"), {}),
    "Factor warmup": (
        "Factor",
        (3, 0.5),
        {"base_lr": 1, "warmup_steps": 4, "warmup_begin_lr": 0.1},
    ),
}


def scheduler(text):
    if text in NAMED:
        kind, args, settings = NAMED[text]
        return SCHEDULERS[kind](*args, **settings)
    call = ast.parse(text, mode="eval").body
    settings = {SHORT.get(k.arg, k.arg): ast.literal_eval(k.value) for k in call.keywords}
    return SCHEDULERS[call.func.id](*map(ast.literal_eval, call.args), **settings)


@pytest.mark.parametrize("text", params(table("lr_schedulers.json"), "lr_schedulers.json"))
def test_a_learning_rate_is_as_recorded(text):
    rates = table("lr_schedulers.json")[text]
    schedule = scheduler(text)
    assert [schedule(i) for i in range(len(rates))] == pytest.approx(rates, rel=1e-12)


INITIALIZERS = {
    key: entry
    for key, entry in (table("initializers.json") or {}).items()
    if isinstance(entry, dict) and "dumps" in entry
}


@pytest.mark.parametrize("name", params(INITIALIZERS, "initializers.json"))
def test_first_values_have_the_recorded_moments(name):
    entry = INITIALIZERS[name]
    made = mx.init.create(entry["dumps"])
    assert json.loads(made.dumps()) == json.loads(entry["dumps"])
    x = mx.nd.zeros(tuple(entry["shape"]))
    mx.random.seed(3)
    made(mx.init.InitDesc("x_weight"), x)
    values = x.asnumpy()
    if entry["std"] == 0 or "Bilinear" in name or "LSTMBias" in name:
        np.testing.assert_allclose(values, entry["values"], rtol=1e-6)
        return
    spread = entry["std"]
    assert values.mean() == pytest.approx(entry["mean"], abs=6 * spread / math.sqrt(values.size))
    if "gram_diag" in entry:
        w = values.reshape(values.shape[0], -1)
        gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        assert np.diag(gram).mean() == pytest.approx(entry["gram_diag"], rel=1e-5)
        assert abs(gram - np.diag(np.diag(gram))).max() < 1e-5
        return
    assert values.std() == pytest.approx(spread, rel=0.03)
    if "niform" in entry["dumps"]:
        assert values.max() == pytest.approx(entry["max"], rel=0.01)
        assert values.min() == pytest.approx(entry["min"], rel=0.01)


CONTEXTS = {
    "1cpu_local": (1, None, "local", "1"),
    "2cpu_local": (2, None, "local", "1"),
    "2cpu_device": (2, None, "device", "1"),
    "2cpu_local_noupd": (2, None, "local", "0"),
    "2cpu_none": (2, None, None, "1"),
    "2cpu_wl_1_3": (2, [1, 3], "local", "1"),
    "3cpu": (3, None, "local", "1"),
}


def small_net():
    n = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc1")
    n = mx.sym.FullyConnected(mx.sym.Activation(n, act_type="tanh"), num_hidden=3, name="fc2")
    return mx.sym.SoftmaxOutput(n, name="softmax")


@pytest.mark.parametrize("tag", list(CONTEXTS))
def test_several_contexts_train_as_recorded(tag, monkeypatch):
    info, stored = table("multictx.json"), arrays("multictx.npz")
    if not stored or f"{tag}/out" not in stored:
        pytest.skip(f"recording multictx {tag} is absent")
    count, work, store, on_store = CONTEXTS[tag]
    monkeypatch.setenv("MXNET_UPDATE_ON_KVSTORE", on_store)
    contexts = [mx.cpu(i) for i in range(count)]
    module = mx.mod.Module(small_net(), context=contexts, work_load_list=work)
    module.bind([("data", (10, 5))], [("softmax_label", (10,))], inputs_need_grad=True)
    module.init_params(
        arg_params={k: mx.nd.array(v) for k, v in under(stored, "init/").items()}, aux_params={}
    )
    module.init_optimizer(
        kvstore=store,
        optimizer_params={"learning_rate": 0.5, "momentum": 0.9, "wd": 0.01},
    )
    batch = mx.io.DataBatch([mx.nd.array(stored["X"])], [mx.nd.array(stored["Y"])])
    for _ in range(3):
        module.forward_backward(batch)
        module.update()
    assert_recorded(module.get_outputs()[0].asnumpy(), stored[f"{tag}/out"], "output")
    entry = dict(info).get(tag)
    if entry is not None:
        group = module._exec_group
        assert [[s.start, s.stop] for s in group.slices] == entry["slices"]
        unmerged = module.get_outputs(merge_multi_context=False)
        assert [[list(y.shape) for y in ys] for ys in unmerged] == entry["out_shapes_unmerged"]
        grads = module.get_input_grads(False)
        assert [[list(g.shape) for g in gs] for gs in grads] == entry["input_grads_unmerged"]
        kind = None if module._kvstore is None else module._kvstore.type
        assert kind == entry["kvstore"]
        assert module._update_on_kvstore == entry["update_on_kvstore"]
        updater = module._updater or module._kvstore._updater
        assert sorted(map(str, updater.states)) == entry["state_keys"]
        assert {str(k): v for k, v in module._optimizer.idx2name.items()} == entry["idx2name"]
        equal = all(
            np.array_equal(a[0].asnumpy(), x.asnumpy()) for a in group.param_arrays for x in a
        )
        assert equal == entry["per_device_param_equal"]
    for key, x in module.get_params()[0].items():
        assert_recorded(x.asnumpy(), stored[f"{tag}/{key}"], key)


def test_batches_are_split_as_recorded():
    for size, work, expected in entries("multictx.json").get("split", ()):
        if isinstance(expected, str):
            with pytest.raises(ValueError, match="Too many slices"):
                mx.module.sections(size, work)
        else:
            found = mx.module.sections(size, work)
            assert [[s.start, s.stop] for s in found] == expected
