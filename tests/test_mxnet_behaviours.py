"""What the real MXNet 1.9.1 did in small experiments, one by one: the same here, or listed.

The calls are those of the recordings' own script.  DIFFERENT says what is otherwise by design, with
the reason; that is checked as well.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from mxnet_records import params, table

from tapegrad.nn import mxnet as mx

DATA, LABEL = [("data", (4, 5))], [("softmax_label", (4,))]


@pytest.fixture(autouse=True)
def as_1_9_1(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    with mx.compat("1.9.1"):
        yield


def net():
    full = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    return mx.sym.SoftmaxOutput(full, name="softmax")


def batch(rows=4):
    return mx.io.DataBatch([mx.nd.ones((rows, 5))], [mx.nd.zeros(rows)])


OF_MODULE = ("context", "fixed_param_names", "label_names", "data_names")


def made(**settings):
    m = mx.mod.Module(net(), **{k: settings.pop(k) for k in OF_MODULE if k in settings})
    m.bind(DATA, LABEL, **settings)
    m.init_params(mx.init.One())
    return m


def trained(m, rows=4, **settings):
    m.init_optimizer(**settings)
    m.forward_backward(batch(rows))
    m.update()
    return m


def executor(m):
    return m._exec_group.execs[0]


def gradient(m, name="fc_bias"):
    return executor(m).grad_dict[name].asnumpy()


class WithoutPad(mx.io.DataIter):
    provide_data, provide_label = DATA, LABEL

    def __init__(self):
        super().__init__(4)
        self.i = 0

    def reset(self):
        self.i = 0

    def next(self):
        self.i += 1
        if self.i > 2:
            raise StopIteration
        return batch()


class Counted(mx.io.NDArrayIter):
    fetched = 0

    def next(self):
        self.fetched += 1
        return super().next()


def after_forward_in_evaluate_mode():
    m = made()
    m.forward(batch(), is_train=False)
    m.backward()
    return np.round(gradient(m), 4).tolist()


def accumulated():
    m, found = made(grad_req="add"), []
    for _ in range(3):
        m.forward_backward(batch())
        found.append(float(gradient(m)[0]))
    m.init_optimizer(optimizer_params={"learning_rate": 1.0})
    m.update()
    return [*found, f"after update grad still {float(gradient(m)[0])}"]


def without_gradients():
    m = made(grad_req="null")
    m.forward_backward(batch())
    return str(m._exec_group.grad_arrays)


def fixed():
    m = trained(made(fixed_param_names=["fc_weight"]), optimizer_params={"learning_rate": 1.0})
    found = m.get_params()[0]
    return {
        "grad_arrays": str([g[0] is None for g in m._exec_group.grad_arrays]),
        "weight_same": bool(np.all(found["fc_weight"].asnumpy() == 1)),
        "bias": found["fc_bias"].asnumpy().tolist(),
        "state_keys": str(list(m._updater.states)),
    }


def rescaled():
    m = made()
    m.init_optimizer()
    first = m._optimizer.rescale_grad
    m.forward_backward(batch(2))
    m.update()
    return [first, m._optimizer.rescale_grad, str(m.data_shapes)]


def dropped():
    m = mx.mod.Module(mx.sym.Dropout(mx.sym.Variable("data"), p=0.5), label_names=None)
    m.bind([("data", (4, 50))])
    m.init_params()
    rows = mx.io.NDArrayIter(np.ones((4, 50)), batch_size=4)
    return [
        float(np.mean(m.predict(x).asnumpy() == 0)) for x in (mx.nd.ones((4, 50)), rows)
    ]  # fmt: skip


def fetched():
    rows = Counted(np.ones((40, 5)), np.zeros(40), 4)
    made().score(rows, "acc", num_batch=3)
    return rows.fetched


def rebound():
    m = trained(made(), optimizer_params={"momentum": 0.9})
    m.bind([("data", (2, 5))], [("softmax_label", (2,))], force_rebind=True)
    return [
        m.optimizer_initialized, m.params_initialized, m._optimizer.rescale_grad,
        str(m.data_shapes),
    ]  # fmt: skip


def rebound_after_update():
    m = trained(made(), optimizer_params={"learning_rate": 1.0})
    m.bind(DATA, LABEL, force_rebind=True)
    return {
        "bias": m.get_params()[0]["fc_bias"].asnumpy().tolist(),
        "exec_bias": executor(m).arg_dict["fc_bias"].asnumpy().tolist(),
        "dirty": m._params_dirty,
    }


def shared():
    a, b = made(), mx.mod.Module(net())
    b.bind([("data", (2, 5))], [("softmax_label", (2,))], shared_module=a)
    return [
        b.params_initialized,
        b._arg_params is a._arg_params,
        mx.test_utils.same_array(
            executor(a).arg_dict["fc_weight"], executor(b).arg_dict["fc_weight"]
        ),
        mx.test_utils.same_array(
            executor(a).grad_dict["fc_weight"], executor(b).grad_dict["fc_weight"]
        ),
    ]


def shared_too_early():
    a, b = mx.mod.Module(net()), mx.mod.Module(net())
    a.bind([("data", (4, 5))])
    b.bind([("data", (2, 5))], shared_module=a)


def changed_from_outside():
    m = made()
    m.get_params()[0]["fc_bias"][:] = 7
    m.forward(batch(), is_train=False)
    return [
        executor(m).arg_dict["fc_bias"].asnumpy().tolist(),
        m.get_params()[0]["fc_bias"].asnumpy().tolist(),
    ]


def reused_outputs():
    m, found = made(), []
    for _ in range(2):
        m.forward(batch(), is_train=False)
        found.append(m.get_outputs()[0])
    return mx.test_utils.same_array(*found)


def input_gradients():
    m = made(inputs_need_grad=True)
    m.forward_backward(batch())
    held = m.get_input_grads()[0]
    before = held.asnumpy()
    m.forward_backward(mx.io.DataBatch([mx.nd.ones((4, 5)) * 3], [mx.nd.ones(4)]))
    return bool(np.array_equal(before, held.asnumpy()))


def head_gradient_of_a_loss():
    m = made()
    m.forward(batch(), is_train=True)
    m.backward([mx.nd.zeros((4, 3))])
    return gradient(m).tolist()


def no_head_gradient():
    full = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    m = mx.mod.Module(full, label_names=None)
    m.bind(DATA)
    m.init_params(mx.init.One())
    m.forward(mx.io.DataBatch([mx.nd.ones((4, 5))]), is_train=True)
    m.backward()


def backward_twice():
    m = made()
    for _ in range(2):
        m.forward(batch(), is_train=True)
    m.backward()
    first = gradient(m)
    m.backward()
    return bool(np.allclose(first, gradient(m)))


def no_label():
    m = made()
    m.forward(mx.io.DataBatch([mx.nd.ones((4, 5))]), is_train=True)
    m.get_outputs()
    return None, "ok, stale label used"


def two_devices():
    m, metric = made(context=[mx.cpu(0), mx.cpu(1)]), mx.metric.Accuracy()
    m.forward(batch(), is_train=False)
    m.update_metric(metric, batch().label)
    return [metric.num_inst, str(metric.get())]


def too_many_devices():
    m = mx.mod.Module(net(), context=[mx.cpu(i) for i in range(3)])
    m.bind([("data", (2, 5))], [("softmax_label", (2,))])


def optimizer_twice():
    m = made()
    m.init_optimizer()
    m.init_optimizer(optimizer="adam")
    return type(m._optimizer).__name__


def normalized(columns=2):
    bn = mx.sym.BatchNorm(mx.sym.Variable("data"), name="bn", fix_gamma=False, momentum=0.9)
    m = mx.mod.Module(bn, label_names=None)
    m.bind([("data", (4, columns))])
    m.init_params()
    return m


def states(m):
    return {k: x.asnumpy().tolist() for k, x in executor(m).aux_dict.items()}


def running_statistics():
    m = normalized()
    x = np.array([[0, 1], [2, 3], [4, 9], [6, 1]], "f")
    m.forward(mx.io.DataBatch([mx.nd.array(x)]), is_train=True)
    m._params_dirty = True
    after_forward = states(m)
    m.backward([mx.nd.ones((4, 2))])
    return {
        "batch_mean": x.mean(0).tolist(), "var_biased": x.var(0).tolist(),
        "var_unbiased": x.var(0, ddof=1).tolist(), "after_forward": after_forward,
        "after_backward": states(m),
    }  # fmt: skip


def stale_states():
    m = normalized()
    m.init_optimizer()
    x = np.random.default_rng(0).random((4, 2))
    m.forward(mx.io.DataBatch([mx.nd.array(x)]), is_train=True)
    return {k: v.asnumpy().tolist() for k, v in m.get_params()[1].items()}


def multipliers():
    w = mx.sym.Variable("w", lr_mult=0.1, wd_mult=3, init=mx.init.Constant(2))
    full = mx.sym.FullyConnected(mx.sym.Variable("data"), weight=w, num_hidden=2, name="fc")
    m = mx.mod.Module(full, label_names=None)
    m.bind(DATA)
    m.init_params(mx.init.One())
    m.init_optimizer(optimizer_params={"wd": 0.1})
    return {
        "attr": full.attr_dict(), "lr_mult": m._optimizer.lr_mult,
        "wd_mult": m._optimizer.wd_mult, "w": m.get_params()[0]["w"].asnumpy()[0, 0].item(),
        "lr": m._optimizer._get_lrs([0, 1]), "wd": m._optimizer._get_wds([0, 1]),
    }  # fmt: skip


def decay():
    m = made()
    m.init_optimizer(optimizer_params={"wd": 0.1, "learning_rate": 1})
    return {"wd_mult": m._optimizer.wd_mult, "wds": m._optimizer._get_wds([0, 1])}


def states_without_optimizer():
    made().save_checkpoint("tmp/ck", 3, True)


def resumed():
    trained(made(), optimizer="adam").save_checkpoint("tmp/ck", 3, True)
    again = mx.mod.Module.load("tmp/ck", 3, True)
    before = again.params_initialized
    again.bind(DATA, LABEL)
    trained(again, optimizer="adam")
    return [before, again._optimizer._index_update_count, 1]


def load_with_other_names():
    made().save_checkpoint("tmp/ck", 3)
    mx.mod.Module.load("tmp/ck", 3, data_names=["x"])


def fixed_gamma():
    m = mx.mod.Module(mx.sym.BatchNorm(mx.sym.Variable("data"), name="bn"), label_names=None)
    m.bind([("data", (2, 2))], for_training=False)
    m.init_params()
    m.set_params(
        {"bn_gamma": mx.nd.array([5, 5]), "bn_beta": mx.nd.zeros(2)},
        {"bn_moving_mean": mx.nd.zeros(2), "bn_moving_var": mx.nd.ones(2)},
    )
    m.forward(mx.io.DataBatch([mx.nd.ones((2, 2))]))
    gamma = executor(m).arg_dict["bn_gamma"].asnumpy().tolist()
    return [m.get_outputs()[0].asnumpy().tolist(), gamma]


def full(**settings):
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    return mx.mod.Module(symbol, label_names=None, **settings)


def python_loss():
    first = full()
    last = mx.mod.PythonLossModule(
        grad_func=lambda scores, y: mx.nd.softmax(scores) - mx.nd.one_hot(y, 3)
    )
    m = mx.mod.SequentialModule().add(first).add(last, take_labels=True, auto_wiring=True)
    m.bind(DATA, LABEL)
    m.init_params(mx.init.One())
    trained(m, optimizer_params={"learning_rate": 1.0})
    return {
        "out": m.output_shapes, "bias": m.get_params()[0]["fc_bias"].asnumpy().tolist(),
        "binded_inner": [first.binded, last.binded],
    }  # fmt: skip


def twice_the_same_names():
    m = mx.mod.SequentialModule().add(full()).add(full(), auto_wiring=True)
    m.bind(DATA)
    m.init_params()


def without_bucket_key():
    m = mx.mod.BucketingModule(
        lambda _: (net(), ("data",), ("softmax_label",)), default_bucket_key=1
    )
    m.bind(DATA, LABEL)
    m.init_params()
    m.forward(batch())


def wrong_data(*arrays):
    made().forward(mx.io.DataBatch(list(arrays), [mx.nd.zeros(4)]))


DROPOUT = (
    "predict(NDArray) vs predict(iter): fraction of zeros with dropout .5, bound for_training=True"
)
EXPERIMENTS = {
    "backward after forward(is_train=False)": after_forward_in_evaluate_mode,
    "grad_req='add' bias grad[0] over 3 backward": accumulated,
    "grad_req=null": without_gradients,
    "fixed_param_names": fixed,
    "grad_req list wrong length": lambda: made(grad_req=["write"]),
    "grad_req dict": lambda: str(made(grad_req={"fc_weight": "null"})._exec_group.grad_req),
    "grad_req dict + fixed overridden by dict": lambda: str(
        made(grad_req={"fc_weight": "add"}, fixed_param_names=["fc_weight"])._exec_group.grad_req
    ),
    "rescale_grad after smaller batch": rescaled,
    DROPOUT: dropped,
    "batches fetched by score(num_batch=3)": fetched,
    "predict with DataBatch.pad=None": lambda: made().predict(WithoutPad()).shape,
    "predict eval_data not iter": lambda: made().predict([1]),
    "score with list metric": lambda: made().score(WithoutPad(), ["acc", "ce"]),
    "force_rebind keeps": rebound,
    "force_rebind after update without get_params (loses update?)": rebound_after_update,
    "shared_module: params_init, dict identity, weight memory shared, grad memory shared": shared,
    "shared_module not initialised": shared_too_early,
    "mutating get_params() result": changed_from_outside,
    "get_outputs() buffers reused between forwards": reused_outputs,
    "get_input_grads buffer unchanged by next backward?": input_gradients,
    "backward out_grads on loss head": head_gradient_of_a_loss,
    "backward() without out_grads on non-loss head": no_head_gradient,
    "backward twice same grads": backward_twice,
    "forward wrong number of data arrays": lambda: wrong_data(
        mx.nd.ones((4, 5)), mx.nd.ones((4, 5))
    ),
    "forward numpy instead of NDArray": lambda: wrong_data(np.ones((4, 5))),
    "forward wrong feature dim": lambda: wrong_data(mx.nd.ones((4, 6))),
    "forward label None in train": no_label,
    "metric over 2 devices": two_devices,
    "batch smaller than devices": too_many_devices,
    "second init_optimizer ignored": optimizer_twice,
    "BatchNorm running stats update (CPU: in backward, biased variance)": running_statistics,
    "aux via get_params after train forward but before update() (stale)": stale_states,
    "lr_mult/wd_mult attrs": multipliers,
    "wd default bias 0": decay,
    "save_checkpoint states without optimizer": states_without_optimizer,
    "resume adam: update count t restarts at": resumed,
    "load missing": lambda: mx.mod.Module.load("tmp/nonexist", 0),
    "load label_names wrong": load_with_other_names,
    "fix_gamma eval with stored gamma 5": fixed_gamma,
    "SequentialModule + PythonLossModule": python_loss,
    "SequentialModule unknown meta": lambda: mx.mod.SequentialModule().add(made(), foo=1),
    "SequentialModule bind empty": lambda: mx.mod.SequentialModule().bind([("data", (1, 2))]),
    "SequentialModule duplicate names": twice_the_same_names,
    "BucketingModule batch without bucket_key": without_bucket_key,
    "BucketingModule no default key": lambda: mx.mod.BucketingModule(lambda _: 1),
}
# Otherwise by design: what happens here, and why.
DIFFERENT = {
    "predict with DataBatch.pad=None": ((8, 3), "no pad means no row to drop"),
    "forward numpy instead of NDArray": (None, "NumPy arrays are taken wherever an NDArray is"),
    "load missing": (FileNotFoundError, "the error of the file system names the file"),
    "get_outputs() buffers reused between forwards": (False, "outputs that one holds stay"),
}


def outcome(call):
    """What a call returns, or the error that it raises."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # it is compared with the recorded one
        return error


def assert_same(found, recorded, what):
    if isinstance(recorded, dict):
        found = {str(k): v for k, v in found.items()}
        assert sorted(found) == sorted(recorded), what
        for key, value in recorded.items():
            assert_same(found[key], value, f"{what} {key}")
    elif isinstance(recorded, list):
        assert len(found) == len(recorded), what
        for i, value in enumerate(recorded):
            assert_same(found[i], value, f"{what} {i}")
    elif isinstance(recorded, float) and not isinstance(found, bool):
        assert found == pytest.approx(recorded, rel=1e-5, abs=1e-6), what
    elif isinstance(recorded, str):
        assert str(found) == recorded, what
    else:
        assert found == recorded, what


def is_error(recorded):
    head = recorded.split(":")[0] if isinstance(recorded, str) and ":" in recorded else ""
    return head if head.endswith("Error") else ""


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", params(table("experiments.json"), "experiments.json"))
def test_an_experiment_ends_as_recorded(name):
    recorded = table("experiments.json")[name]
    found = outcome(EXPERIMENTS[name])
    if name in DIFFERENT:
        expected, reason = DIFFERENT[name]
        assert reason
        if isinstance(expected, type):
            assert isinstance(found, expected)
        else:
            assert found == expected, found
        return
    kind = is_error(recorded)
    if kind:
        assert isinstance(found, Exception), f"{found!r}, recorded {recorded}"
        assert kind in {cls.__name__ for cls in type(found).__mro__}, repr(found)
        assert str(found), "the message is empty"
        return
    if isinstance(found, Exception):
        raise found
    if name == DROPOUT:
        assert found[0] == pytest.approx(0.5, abs=0.15)  # dropout's own draws
        assert found[1] == 0
        return
    assert_same(found, recorded, name)


# NDArrayIter --------------------------------------------------------------------------------------

ROWS, TARGETS = np.arange(10, dtype="f").reshape(10, 1), np.arange(10, dtype="f") * 10


def rows(**settings):
    return mx.io.NDArrayIter(ROWS, TARGETS, 4, **settings)


def described(which, data, label):
    return [str(d) for d in getattr(mx.io.NDArrayIter(data, label, 4), which)]


def doubled():
    m = mx.mod.Module(mx.sym.Variable("data") * 2, label_names=None)
    m.bind(rows().provide_data)
    m.init_params()
    return m


def flat(x):
    return x.asnumpy().ravel().tolist()


def larger_batch():
    found = mx.io.NDArrayIter(ROWS[:3], TARGETS[:3], 8)
    return [{"data": flat(b.data[0]), "pad": b.pad} for b in found]


def of_types():
    it = mx.io.NDArrayIter(ROWS.astype("float64"), TARGETS.astype("int64"), 4)
    return [str(it.provide_data), str(it.provide_label)]


def at_the_end():
    m, it = doubled(), rows()
    m.predict(it, num_batch=0)  # 1.9.1 fetches one batch for that, and the rest follows
    return repr(m.predict(it, reset=False))


def rolled_over():
    m, it = doubled(), rows(last_batch_handle="roll_over")
    return [flat(m.predict(it)), flat(m.predict(it))]


def scored():
    full = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2)
    m = mx.mod.Module(mx.sym.SoftmaxOutput(full, name="softmax"))
    it = mx.io.NDArrayIter(ROWS, (TARGETS > 40).astype("f"), 4)
    m.bind(it.provide_data, it.provide_label)
    m.init_params(mx.init.One())
    metric = mx.metric.Accuracy()
    m.score(it, metric)
    return metric.num_inst


BY_NAME = {"b": ROWS, "a": ROWS}, {"l2": TARGETS, "l1": TARGETS}
IN_LISTS = [ROWS, ROWS], [TARGETS, TARGETS]
ITERATORS = {
    "pad_bigger_than_data": larger_batch,
    "provide_data": lambda: described("provide_data", *BY_NAME),
    "provide_label": lambda: described("provide_label", *BY_NAME),
    "provide_data_list": lambda: described("provide_data", *IN_LISTS),
    "provide_label_list": lambda: described("provide_label", *IN_LISTS),
    "dtype_float64_int64": of_types,
    "predict merged": lambda: flat(doubled().predict(rows())),
    "predict num_batch=1": lambda: flat(doubled().predict(rows(), num_batch=1)),
    "predict unmerged": lambda: [
        [list(y.shape) for y in ys] for ys in doubled().predict(rows(), merge_batches=False)
    ],
    "predict list": lambda: str(type(doubled().predict(rows(), always_output_list=True))),
    "predict num_batch=0": lambda: doubled().predict(rows(), num_batch=0),
    "predict reset=False after end": at_the_end,
    "iter_predict": lambda: [
        [list(y[0].shape), n, b.pad] for y, n, b in doubled().iter_predict(rows())
    ],
    "predict roll_over": rolled_over,
    "score counts padded rows: num_inst": scored,
}
SEQUENCES = ("pad", "discard", "roll_over")  # test_mxnet_modules.py compares these


@pytest.mark.parametrize(
    "name",
    params(
        [name for name in table("ndarrayiter.json") if name not in SEQUENCES], "ndarrayiter.json"
    ),
)
def test_an_iterator_does_as_recorded(name):
    assert_same(ITERATORS[name](), table("ndarrayiter.json")[name], name)


# Initializers by the end of a name ----------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    params([name for name in table("initializers.json") if "suffix:" in name], "initializers.json"),
)
def test_a_name_is_initialized_by_its_end_as_recorded(entry):
    recorded = table("initializers.json")[entry]
    kind, _, suffix = entry.partition("suffix:")
    name = f"x_{suffix}"
    array = mx.nd.full((3, 3), -9)
    init = mx.init.One()
    found = outcome(lambda: init(name if kind else mx.init.InitDesc(name), array))
    if isinstance(recorded, str):
        assert type(found).__name__ == recorded.split(":")[0]
        assert str(found).startswith(recorded.split(": ", 1)[1])
    else:
        assert found is None
        assert math.isclose(array.asnumpy()[0, 0], recorded)


# Right where no version is asked for --------------------------------------------------------------


def test_what_differs_from_1_9_1_is_right_by_itself():
    with mx.compat(None):
        lost = rebound_after_update()
        assert lost["bias"] == pytest.approx([2 / 3, -1 / 3, -1 / 3], abs=1e-6)
        assert lost["exec_bias"] == lost["bias"]
        assert fetched() == 3
        assert scored() == 10
        assert dropped() == [0, 0]
        assert flat(doubled().predict(rows(), num_batch=1)) == [0, 2, 4, 6]
        with pytest.raises(ValueError, match="zz"):
            made().set_params({"zz": mx.nd.ones(1)}, {}, allow_missing=True)
