"""MXNet's Module call by call: the state machine, fit's order of calls, buckets, iterators."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
from mxnet_records import ROOT, arrays, assert_recorded, params, path, table, under

from tapegrad.nn import mxnet as mx

DATA, LABEL = [("data", (10, 5))], [("softmax_label", (10,))]


@pytest.fixture(autouse=True)
def as_1_9_1():
    with mx.compat("1.9.1"):
        yield


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()


def net():
    n = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc1")
    n = mx.sym.FullyConnected(mx.sym.Activation(n, act_type="tanh"), num_hidden=3, name="fc2")
    return mx.sym.SoftmaxOutput(n, name="softmax")


class Given:
    """The arrays that the recording's calls use."""

    def __init__(self):
        stored = arrays("multictx.npz")
        if not {"X", "Y"} <= set(stored):
            pytest.skip("recording multictx.npz has no X and Y")
        self.x, self.y = stored["X"], stored["Y"]
        self.batch = mx.io.DataBatch([mx.nd.array(self.x)], [mx.nd.array(self.y)])
        self.params = {k: mx.nd.array(v) for k, v in under(stored, "init/").items()}

    def iterator(self, size=10):
        return mx.io.NDArrayIter(self.x, self.y, size)


def bind(m):
    m.bind(DATA, LABEL)


def initialized(m):
    bind(m)
    m.init_params()


def with_optimizer(m):
    initialized(m)
    m.init_optimizer()


def forwarded(m):
    initialized(m)
    m.forward(Given().batch)


def for_prediction(m):
    m.bind(DATA, None, for_training=False)
    m.init_params()


STAGES = {
    "initial": lambda m: None,
    "binded": bind,
    "params": initialized,
    "fwd": forwarded,
    "optimizer": with_optimizer,
    "bind for_training=False + params": for_prediction,
}
CALLS = {
    "data_names": lambda m, g: m.data_names,
    "label_names": lambda m, g: m.label_names,
    "output_names": lambda m, g: m.output_names,
    "symbol": lambda m, g: m.symbol is not None,
    "data_shapes": lambda m, g: m.data_shapes,
    "label_shapes": lambda m, g: m.label_shapes,
    "output_shapes": lambda m, g: m.output_shapes,
    "get_params": lambda m, g: type(m.get_params()).__name__,
    "init_params": lambda m, g: m.init_params(),
    "set_params({}, {})": lambda m, g: m.set_params({}, {}),
    "init_optimizer": lambda m, g: m.init_optimizer(),
    "forward": lambda m, g: m.forward(g.batch),
    "backward": lambda m, g: m.backward(),
    "update": lambda m, g: m.update(),
    "get_outputs": lambda m, g: len(m.get_outputs()),
    "get_input_grads": lambda m, g: m.get_input_grads(),
    "get_states": lambda m, g: m.get_states(),
    "get_states(False)": lambda m, g: m.get_states(False),
    "set_states(value=0)": lambda m, g: m.set_states(value=0),
    "set_states()": lambda m, g: m.set_states(),
    "set_states(states=[],value=0)": lambda m, g: m.set_states([], 0),
    "update_metric": lambda m, g: m.update_metric(mx.metric.Accuracy(), g.batch.label),
    "install_monitor": lambda m, g: m.install_monitor(mx.mon.Monitor(1)),
    "reshape": lambda m, g: m.reshape(DATA, LABEL),
    "save_optimizer_states": lambda m, g: m.save_optimizer_states("tmp/x.states"),
    "load_optimizer_states": lambda m, g: saved_states(m),
    "save_checkpoint": lambda m, g: m.save_checkpoint("tmp/xx", 0),
    "borrow_optimizer(self)": lambda m, g: m.borrow_optimizer(m),
    "prepare": lambda m, g: m.prepare(g.batch),
    "score": lambda m, g: m.score(g.iterator(), "acc"),
    "predict": lambda m, g: m.predict(g.iterator()).shape,
    "fit(no num_epoch)": lambda m, g: m.fit(g.iterator()),
}


def saved_states(m):
    if m.optimizer_initialized:
        m.save_optimizer_states("tmp/x.states")
    m.load_optimizer_states("tmp/x.states")


def module(**settings):
    return mx.mod.Module(net(), **settings)


def after(prepare, call):
    m = module()
    prepare(m)
    call(m)
    return m


def set_params(**settings):
    return after(initialized, lambda m: m.set_params(**settings)).params_initialized


def init_params(*args, **settings):
    return after(bind, lambda m: m.init_params(*args, **settings)).params_initialized


def init_optimizer(**settings):
    return after(initialized, lambda m: m.init_optimizer(**settings))._optimizer.rescale_grad


def without_bias(g):
    return {k: v for k, v in g.params.items() if k != "fc1_bias"}


SINGLE = {
    "Module(bad data name)": lambda g: module(data_names=["zz"]),
    "Module(bad label name)": lambda g: module(label_names=["zz"]),
    "Module(bad fixed_param_names)": lambda g: module(fixed_param_names=["zz"]),
    "Module(bad state_names)": lambda g: module(state_names=["zz"]),
    "Module(work_load_list wrong len)": lambda g: module(work_load_list=[1, 2]),
    "bind wrong data name": lambda g: module().bind([("x", (10, 5))]),
    "bind for_training=False inputs_need_grad=True": lambda g: module().bind(
        DATA, for_training=False, inputs_need_grad=True
    ),
    "bind grad_req=bogus": lambda g: module().bind(DATA, LABEL, grad_req="bogus"),
    "bind grad_req=5": lambda g: module().bind(DATA, LABEL, grad_req=5),
    "bind label batch != data batch": lambda g: module().bind(DATA, [("softmax_label", (7,))]),
    "set_params missing": lambda g: set_params(arg_params=without_bias(g), aux_params={}),
    "set_params missing allow_missing": lambda g: set_params(
        arg_params=without_bias(g), aux_params={}, allow_missing=True
    ),
    "set_params extra": lambda g: set_params(
        arg_params={**g.params, "zz": mx.nd.ones(1)}, aux_params={}
    ),
    "set_params extra allow_extra": lambda g: set_params(
        arg_params={**g.params, "zz": mx.nd.ones(1)}, aux_params={}, allow_extra=True
    ),
    "set_params extra allow_missing": lambda g: set_params(
        arg_params={**g.params, "zz": mx.nd.ones(1)}, aux_params={}, allow_missing=True
    ),
    "set_params wrong shape": lambda g: set_params(
        arg_params={**g.params, "fc1_bias": mx.nd.ones(9)}, aux_params={}
    ),
    "set_params force_init=False": lambda g: set_params(
        arg_params=g.params, aux_params={}, force_init=False
    ),
    "init_params(None, None)": lambda g: init_params(None),
    "init_params partial no allow_missing": lambda g: init_params(mx.init.One(), arg_params={}),
    "init_params partial allow_missing": lambda g: init_params(
        mx.init.One(), arg_params={}, allow_missing=True
    ),
    "init_params(None, partial, allow_missing) leaves zeros": lambda g: init_params(
        None, arg_params={}, allow_missing=True
    ),
    "init_params extra ignored?": lambda g: init_params(
        None, arg_params={**g.params, "zz": mx.nd.ones(1)}
    ),
    "init_optimizer unknown": lambda g: init_optimizer(optimizer="nope"),
    "init_optimizer bad kv": lambda g: init_optimizer(kvstore=5),
    "init_optimizer unknown kv str 1 ctx": lambda g: init_optimizer(kvstore="blah"),
    "init_optimizer dist_sync": lambda g: init_optimizer(kvstore="dist_sync"),
    "init_optimizer unknown param": lambda g: init_optimizer(optimizer_params={"foo": 1}),
    "init_optimizer object": lambda g: init_optimizer(optimizer=mx.optimizer.SGD()),
    "init_optimizer wrong object": lambda g: init_optimizer(optimizer=5),
}
# What is an error in both, of the same type; the text here says more.  Values that depend on
# MXNet's random numbers are not compared.
RANDOM = {"score"}


# MXNet computes with memory that nobody wrote; here the error says what to call first.
NO_FORWARD = {
    f"{stage}: {call}"
    for stage in ("binded", "params", "optimizer")
    for call in ("backward", "update_metric", "get_outputs")
}

# MXNet asks for servers; here the ranks of mpiexec are the workers, and one is enough.
WITHOUT_SERVERS = {"init_optimizer dist_sync"}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("label", "outcome", "text"),
    params(
        [pytest.param(*entry, id=entry[0]) for entry in table("state_machine.json")],
        "state_machine.json",
        3,
    ),
)
def test_a_call_does_as_recorded(label, outcome, text):
    given = Given()
    if label in SINGLE:
        run = lambda: SINGLE[label](given)  # noqa: E731  # it is called below
        call = ""
    else:
        stage, _, call = label.partition(": ")
        m = module()
        STAGES[stage](m)
        run = lambda: CALLS[call](m, given)  # noqa: E731  # it is called below
    if outcome == "ok" and label in NO_FORWARD:
        with pytest.raises(mx.MXNetError, match="call forward first"):
            run()
        return
    if outcome == "ok":
        found = run()
        if call not in RANDOM and not text.startswith("<"):
            assert repr(found)[:160] == text
        return
    if label in WITHOUT_SERVERS:
        run()
        return
    with pytest.raises(Exception) as caught:  # noqa: PT011  # the type is compared below
        run()
    kinds = {kind.__name__ for kind in type(caught.value).__mro__}
    assert outcome in kinds, f"{caught.value!r}, recorded {outcome}: {text}"
    assert str(caught.value), "the message is empty"
    plain = text.split("\u001b")[0].split(":")[0]
    if text and outcome != "MXNetError" and not text.startswith("\u001b"):
        assert plain.split("'")[0][:25] in str(caught.value)


class Traced(mx.mod.Module):
    """Notes the calls that others make, and forward and backward wherever they come from."""

    log: list[str]
    depth = 0


def _traced(name):
    original = getattr(mx.mod.Module, name)

    def call(self, *args, **settings):
        shown = f"{name}(is_train={settings['is_train']})" if "is_train" in settings else name
        if self.depth == 0:
            self.log.append(shown)
        elif name in ("forward", "backward"):
            self.log.append("  " + shown)
        self.depth += 1
        try:
            return original(self, *args, **settings)
        finally:
            self.depth -= 1

    return call


for _name in (
    "bind", "init_params", "init_optimizer", "forward_backward", "forward", "backward", "update",
    "update_metric", "prepare", "get_params", "set_params", "install_monitor",
):  # fmt: skip
    setattr(Traced, _name, _traced(_name))


def test_fit_calls_in_the_recorded_order():
    recorded = table("fit_trace.json")
    if not recorded:
        pytest.skip("recording fit_trace.json is absent")
    given, log = Given(), []

    class Iterator(mx.io.NDArrayIter):
        tag = "train"

        def reset(self):
            if hasattr(self, "seen"):
                log.append(f"{self.tag}.reset")
            self.seen = True
            super().reset()

        def next(self):
            log.append(f"{self.tag}.next")
            return super().next()

    class Metric(mx.metric.Accuracy):
        def reset(self):
            log.append("metric.reset")
            super().reset()

        def get_name_value(self):
            log.append("metric.get_name_value")
            return super().get_name_value()

        def get_global_name_value(self):
            log.append("metric.get_global_name_value")
            return super().get_global_name_value()

    class Monitor(mx.mon.Monitor):
        def tic(self):
            log.append("monitor.tic")
            super().tic()

        def toc_print(self):
            log.append("monitor.toc_print")

    train, held_out = Iterator(given.x, given.y, 4), Iterator(given.x, given.y, 5)
    held_out.tag = "eval"
    logger = logging.getLogger("trace")
    logger.setLevel(logging.INFO)
    logger.propagate = False

    class Handler(logging.Handler):
        def emit(self, record):
            log.append("LOG " + record.getMessage().split("=")[0])

    logger.addHandler(Handler())

    def callback(name):
        def note(*args):
            first = args[0]
            place = (first.epoch, first.nbatch) if hasattr(first, "nbatch") else first
            log.append(f"CB {name} {place}")

        return note

    m = Traced(net(), logger=logger)
    m.log = log
    m.fit(
        train, eval_data=held_out, eval_metric=Metric(), num_epoch=2, monitor=Monitor(1),
        batch_end_callback=[callback("batch_end")], epoch_end_callback=callback("epoch_end"),
        eval_end_callback=callback("eval_end"), eval_batch_end_callback=callback("eval_batch_end"),
    )  # fmt: skip
    # the metric's reset in its constructor is noted as well
    assert [entry for entry in log if entry != "metric.get_name_value"] == [
        entry for entry in recorded if entry != "metric.get_name_value"
    ]


def iterated(entry, mode):
    x = np.arange(10, dtype="f").reshape(10, 1)
    it = mx.io.NDArrayIter(x, np.arange(10, dtype="f") * 10, 4, last_batch_handle=mode)
    for epoch in entry:
        found = [
            {
                "data": b.data[0].asnumpy().ravel().astype(int).tolist(),
                "label": b.label[0].asnumpy().astype(int).tolist(),
                "pad": b.pad,
                "index": str(b.index),
            }
            for b in it
        ]
        assert found == epoch
        it.reset()


@pytest.mark.parametrize("mode", ["pad", "discard", "roll_over"])
def test_batches_are_as_recorded(mode):
    recorded = table("ndarrayiter.json")
    if mode not in recorded:
        pytest.skip(f"recording ndarrayiter.json {mode} is absent")
    iterated(recorded[mode], mode)


def test_buckets_train_as_recorded():
    folder = path("lstm_bucket")
    run = arrays("lstm_bucket/run.npz")
    info = table("lstm_bucket/info.json")
    symbols = {k: mx.sym.load(str(folder / f"m-{k}-symbol.json")) for k in (6, 4, 3)}
    size = info["B"]
    m = mx.mod.BucketingModule(
        lambda key: (symbols[key], ("data",), ("softmax_label",)), default_bucket_key=6
    )
    m.bind([("data", (size, 6))], [("softmax_label", (size, 6))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        m.init_params()
        m.load_params(str(folder / "m-init.params"))
    m.init_optimizer(optimizer="sgd", optimizer_params={"learning_rate": 0.5, "momentum": 0.9})
    for i, length in enumerate(info["seq"]):
        batch = mx.io.DataBatch(
            [mx.nd.array(run[f"x{i}"])], [mx.nd.array(run[f"y{i}"])], bucket_key=length,
            provide_data=[("data", (size, length))],
            provide_label=[("softmax_label", (size, length))],
        )  # fmt: skip
        m.prepare(batch)
        m.forward(batch, is_train=True)
        assert_recorded(m.get_outputs()[0].asnumpy(), run[f"out{i}"], f"output {i}")
        m.backward()
        m.update()
    for name, x in m.get_params()[0].items():
        assert_recorded(x.asnumpy(), run[f"final/{name}"], name)


def test_checkpoints_are_written_byte_for_byte(tmp_path):
    count = 0
    for folder in sorted(ROOT.iterdir()):
        if not folder.is_dir():
            continue
        for file in folder.glob("*.params"):
            mx.nd.save(tmp_path / "x.params", mx.nd.load(file))
            assert (tmp_path / "x.params").read_bytes() == file.read_bytes()
            count += 1
        for file in folder.glob("*-symbol.json"):
            mx.sym.load(file).save(tmp_path / "x.json")
            assert (tmp_path / "x.json").read_bytes() == file.read_bytes()
            count += 1
    assert count, "no checkpoint was found"
