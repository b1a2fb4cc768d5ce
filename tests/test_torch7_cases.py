"""The recorded runs of the real Torch7, replayed.

Every record that builds nothing but classes of `nn.__all__` (and optimizers of `optim.__all__`) is
a test: outputs, gradients, accumulated gradients, running statistics, training runs, errors,
printed text.  A class added to `nn` widens the set by itself.  Tolerance: 1e-10 of the largest
recorded entry, in double precision.  Where tapegrad departs from Torch7 on purpose, the departure
is in the table DEPARTURES, with a check of what happens here instead, and is counted apart;
nn/DIFFERENCES.md gives the reasons.  The summary at the end of the run says how many records
passed, depart, or are not yet covered, by kind.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch7_optim
import torch7_records as torch7
from torch7_records import Record, assert_close

from tapegrad import devices, nn, optim
from tapegrad.autograd import Tensor, default_dtype, no_grad, set_default_dtype
from tapegrad.nn.core.state import kept_names
from tapegrad.nn.formats.torch7.files import known

# Fields of the originals that have no counterpart here, and why.
FIELDS_WITHOUT_COUNTERPART = {
    "_type": "the type is a property of the arrays; see Module.type()",
    "oldSizeAverage": "how the original forwards sizeAverage to its inner criterion",
    "output": "a criterion's output before the first call",
    "backwardSetup": "MixtureTable: whether its buffers have been made",
    "fastBackward": "Euclidean: whether backward may use more memory",
    "sparseUpdate": "SparseLinear: which columns the last update touched",
    "weightDecay": "SparseLinear, IndexLinear: optimizers have it",
    "normalize": "IndexLinear: how many columns of weight are not weights",
    "offset": "IndexLinear: that keys count from 1",
    "batchSize": "MixtureTable: the batch that its buffers were made for",
}

# Buffers of the originals that carry values from forward to backward; here the tape does.
SCRATCH_BUFFERS = {
    "norm", "save_mean", "save_std", "indices", "total_weight_tensor", "coef", "localstds",
    "maxIdx", "minIdx", "normp", "scale", "normalizedValues",
    "gradG", "gradV", "gradDiagCov",  # among the gradients of parameters()
}  # fmt: skip

# Working memory that the original's optimizers keep among their state.
SCRATCH_STATE = torch7_optim.SCRATCH_STATE

# What bad input may raise; anything else (AttributeError, …) is an accident, not an answer.
REFUSALS = (ValueError, TypeError, IndexError)

# How many of the records in the repository each check must reach, so that none can fall silent.
AT_LEAST = {
    "module": 311,
    "criterion": 55,
    "error": 38,
    "trajectory": 10,
    "method": 12,
    "optim": 71,
    "optim-def": 1,
    "optim-misc": 7,
    "optim-net": 4,
    "nngraph": 6,
    "rng": 1,
}


# Building and reading modules ------------------------------------------------------------------


def build(spec: Any) -> Any:
    """What the specification says; new parameters and constants are doubles, as in the records."""
    usual = default_dtype()
    set_default_dtype(np.float64)
    try:
        return torch7.Builder(lambda name: getattr(nn, name))(spec)
    finally:
        set_default_dtype(usual)


def graph_of(record: Record) -> Any:
    """The gModule of a record, whose nodes are named."""
    graph, builder = record["graph"], torch7.Builder(lambda name: getattr(nn, name))
    nodes: dict[str, nn.GraphNode] = {}
    entries: dict[str, list[nn.GraphNode]] = {}
    for told in graph["nodes"]:
        if told["kind"] == "split":
            parent = told["parent"]
            entries.setdefault(parent, nodes[parent].split(told["count"]))
            nodes[told["name"]] = entries[parent][told["index"] - 1]
        elif told["kind"] == "input":
            nodes[told["name"]] = nn.node(nn.Identity())
        else:
            assert told["kind"] == "module"
            module = builder(told["spec"])
            nodes[told["name"]] = module([nodes[name] for name in told["parents"]])
    ends = ([nodes[name] for name in graph[which]] for which in ("inputs", "outputs"))
    return nn.gModule(*ends)


def write(destination: Tensor, values: np.ndarray) -> None:
    assert destination.shape == values.shape
    with no_grad():
        destination[...] = values


def prepared(record: Record) -> Any:
    """The module of a record, in double precision, with its parameters, buffers and mode."""
    module = (graph_of(record) if "graph" in record else build(record["spec"])).double()
    if isinstance(module, nn.MaskZero):  # the record tells its mask by the outputs that are zero
        module.setZeroMask(~record["output"].any(axis=-1))
    parameters, _ = module.parameters()
    assert len(parameters) == len(record.get("params", []))
    for parameter, values in zip(parameters, record.get("params", []), strict=True):
        write(parameter, values)
    for name, values in record.get("buffers_before", {}).items():
        write(getattr(module, name), values)
    if record.get("mode") == "eval":
        module.evaluate()
    else:
        module.training()
    return module


def text(module: Any) -> str:
    """Torch7's `tostring`: containers number their children from 1 there, from 0 in `repr`."""
    return module.__tostring__() if hasattr(module, "__tostring__") else repr(module)


def names(module: Any) -> list[str]:
    return [f"nn.{type(m).__name__}" for m in module.listModules()]


def for_python(criterion: Any, target: Any) -> Any:
    """A target with its labels counted from 0, as the criterion that receives it declares."""
    children = getattr(criterion, "criterions", None)
    if children and isinstance(criterion, nn.ParallelCriterion) and not criterion.repeatTarget:
        return [for_python(child, part) for child, part in zip(children, target, strict=True)]
    inner = children[0] if children else getattr(criterion, "criterion", None)
    if inner is not None and getattr(criterion, "targetModule", None) is None:
        return for_python(inner, target)
    return torch7.translated(type(criterion), "target", target)


def input_for(module: Any, x: Any) -> Any:
    """An input with its indices, if the layer that receives it takes any, counted from 0."""
    return torch7.from_one_based(x, torch7.input_kind(module))


def output_kind(module: Any) -> Any:
    """What `counts` says about the output."""
    return type(module).counts.get("output")


def snapshot(module: Any) -> list[Any]:
    """Everything an error must leave alone: parameters, gradients, buffers, settings, outputs."""
    state: list[Any] = []
    for m in module.listModules():
        public = {name: value for name, value in vars(m).items() if not name.startswith("_")}
        public |= {"train": m.train, "output": m.output, "gradInput": m.gradInput}
        for name, value in sorted(public.items()):
            if isinstance(value, Tensor):
                state.append((name, value.numpy().tobytes()))
            elif isinstance(value, (int, float, str, tuple, type(None))):
                state.append((name, value))
    return state + [g.numpy().tobytes() for g in module.parameters()[1]]


# One check for each kind of record ---------------------------------------------------------------


def check_module(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    module = prepared(record)
    if "tostring" in record:  # the original's own raises an error in one class
        assert text(module) == record["tostring"]
    check_fields(module, record)
    noise = record.get("buffers", {}).get("noise")
    if noise is not None and noise.size:
        feed_noise(monkeypatch, noise, module)
    samples = record.get("buffers", {}).get("randomSamples")
    if samples is not None:
        feed_uniform(monkeypatch, samples)
    if "gradOutput" not in record:
        check_output_alone(module, record)
        return
    x, g = input_for(module, record["input"]), record["gradOutput"]
    x_before, g_before = [[leaf.copy() for leaf in torch7.leaves(v)] for v in (x, g)]
    module.zeroGradParameters()
    output = torch7.from_one_based(record["output"], output_kind(module))
    assert_close(module.forward(x), output, "output")
    assert_close(*differentiable(module.backward(x, g), record["gradInput"], x), "gradInput")
    gradients = module.parameters()[1]
    if "gradParams" in record:
        assert_close(gradients, record["gradParams"], "gradParams")
    for name, values in record.get("buffers", {}).items():
        if name not in SCRATCH_BUFFERS and np.size(values):
            assert_close(getattr(module, name), values, name)
    if "gradParams_acc" in record:
        module.backward(x, g, 0.5)
        assert_close(gradients, record["gradParams_acc"], "gradParams_acc")
    assert_close(x, x_before, "input afterwards", tolerance=0)
    assert_close(g, g_before, "gradOutput afterwards", tolerance=0)


def check_output_alone(module: Any, record: Record) -> None:
    """A record of a forward in evaluate mode; one of a single sample keeps the sample's shape."""
    output = torch7.from_one_based(record["output"], output_kind(module))
    x = input_for(module, record["input"])
    if isinstance(module, nn.BatchNormalization) and output.ndim == x.ndim + 1:
        output = output.reshape(x.shape)
    assert_close(module.forward(x), output, "output")


def check_nngraph(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [f"nn.{type(m).__name__}" for m in graph_of(record).modules] == record["modules"]
    check_module(record, monkeypatch)


def differentiable(gradient: Any, expected: Any, x: Any) -> tuple[list[Any], list[Any]]:
    """Both gradients without those of integer inputs: None here, zeros in the records."""
    found: list[Any] = []
    wanted: list[Any] = []

    def walk(g: Any, e: Any, x: Any) -> None:
        if isinstance(x, list):
            for parts in zip(g, e, x, strict=True):
                walk(*parts)
        elif x.dtype.kind == "f":
            found.append(g)
            wanted.append(e)
        else:
            assert g is None
            assert not np.any(e)

    walk(gradient, expected, x)
    return found, wanted


def check_fields(built: Any, record: Record) -> None:
    for name, value in record.get("fields", {}).items():
        if name in FIELDS_WITHOUT_COUNTERPART:
            continue
        expected = torch7.translated(type(built), name, value)
        found = getattr(built, name, None)  # which a recorded null is
        assert (list(found) if isinstance(found, tuple) else found) == expected, name


def feed_noise(monkeypatch: pytest.MonkeyPatch, noise: np.ndarray, module: Any) -> None:
    """Make the next draws those that gave the recorded noise of a module.

    Bernoulli: 1 where dropout kept the entry; uniform: RReLU's slopes; normal: WhiteNoise's terms.
    """

    def fed(standard: np.ndarray) -> Any:
        def draw(self: Any, *args: Any) -> np.ndarray:
            shape, dtype = args[-2:]
            assert int(np.prod(shape)) == standard.size
            return standard.astype(dtype).reshape(shape)

        return draw

    draws = {"bernoulli": noise != 0}
    if isinstance(module, nn.RReLU):
        draws["uniform"] = (noise - module.lower) / (module.upper - module.lower)
    if isinstance(module, nn.WhiteNoise):
        draws["normal"] = (noise - module.mean) / module.std
    for name, standard in draws.items():
        monkeypatch.setattr(devices.Generator, name, fed(standard))


def feed_uniform(monkeypatch: pytest.MonkeyPatch, samples: np.ndarray) -> None:
    """Make the next uniform draw the recorded one."""

    def uniform(self: Any, shape: Any, dtype: Any) -> np.ndarray:
        assert tuple(shape) == samples.shape
        return samples.astype(dtype)

    monkeypatch.setattr(devices.Generator, "uniform", uniform)


def check_criterion(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    criterion = build(record["spec"])
    assert text(criterion) == record["tostring"]
    check_fields(criterion, record)
    x, target = record["input"], for_python(criterion, record["target"])
    backward_target = for_python(criterion, record.get("target_backward", record["target"]))
    loss = criterion.forward(x, target)
    assert loss.ndim == 0
    assert_close(loss, record["output"], "output")
    assert_close(criterion.backward(x, backward_target), record["gradInput"], "gradInput")


def check_error(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    if record["stage"] == "construct":
        with pytest.raises(REFUSALS) as caught:
            build(record["spec"])
        assert str(caught.value)
        return
    built = build(record["spec"]).double() if "target" not in record else build(record["spec"])
    if "target" in record:
        arguments = (record["input"], for_python(built, record["target"]))
    else:
        arguments = (input_for(built, record["input"]),)
        built.evaluate() if record["mode"] == "eval" else built.training()
    refused = built.forward
    if record["stage"] == "backward":
        output = built.forward(*arguments)
        refused = built.backward
        arguments = arguments if "target" in record else (*arguments, output)
    before = snapshot(built)
    with pytest.raises(REFUSALS) as caught:
        refused(*arguments)
    assert type(built).__name__ in str(caught.value), "the message says where"
    assert snapshot(built) == before, "an error changes no state"


def check_trajectory(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    module, criterion = prepared(record), build(record["criterion"])
    share_as_recorded(module, record)
    x, rate = input_for(module, record["input"]), record["learningRate"]
    target = for_python(criterion, record["target"])
    for number, step in enumerate(record["steps"]):
        module.training()
        output = module.forward(x)
        assert_close(output, step["output"], f"output of step {number}")
        assert_close(criterion.forward(output, target), step["loss"], f"loss of step {number}")
        g = criterion.backward(output, target)
        if record["how"] == "sgd":
            module.zeroGradParameters()
            module.backward(x, g)
            gradients = module.parameters()[1]
            assert_close(gradients, step["gradParams"], f"gradients of step {number}")
            module.updateParameters(rate)
        elif record["how"] == "accupdate":
            module.updateGradInput(x, g)
            module.accUpdateGradParameters(x, g, rate)
        else:
            assert record["how"] == "backwardUpdate"
            module.backwardUpdate(x, g, rate)
        parameters = module.parameters()[0]
        assert_close(parameters, step["params"], f"parameters after step {number}")
        for position, mean, variance in step.get("buffers", []):
            child = module.listModules()[position - 1]
            assert_close(child.running_mean, mean, f"running mean after step {number}")
            assert_close(child.running_var, variance, f"running variance after step {number}")
    module.evaluate()
    assert_close(module.forward(x), record["eval_output"], "output in evaluate()")


def share_as_recorded(module: Any, record: Record) -> None:
    """The record's `id` says that parameters are shared; its arrays say which."""
    if "shared" not in record["id"]:
        return
    parameters = record["params"]
    owners = [m for m in module.listModules() if not hasattr(m, "modules") and m.parameters()[0]]
    first = 0
    starts = []
    for owner in owners:
        starts.append(first)
        first += len(owner.parameters()[0])
    gradients = record["steps"][0].get("gradParams")
    for later in range(1, len(owners)):
        for earlier in range(later):
            a, b = starts[earlier], starts[later]
            if not np.array_equal(parameters[a], parameters[b]):
                continue
            fields = ["weight", "bias"]
            if gradients and np.array_equal(gradients[a], gradients[b]):
                fields += ["gradWeight", "gradBias"]
            owners[later].share(owners[earlier], *fields)


def check_method(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    METHODS[method_of(record)](record)


def method_of(record: Record) -> str:
    """The name of a method record's check.

    How parameters were shared before `getParameters` is told in its name and note only.
    """
    name = record["id"].split("/")[1]
    told = "note" not in record or name.removeprefix("getParameters-") in SHARINGS
    return "getParameters" if name.startswith("getParameters-") and told else name


SHARINGS = {"shared", "shared-weightonly-misaligned", "tied-transpose", "noparams"}


def check_clone_share(record: Record) -> None:
    module, criterion = prepared(record), nn.MSECriterion()
    sharing, plain = module.clone("weight", "bias"), module.clone()
    module.zeroGradParameters()
    output = module.forward(record["input"])
    criterion.forward(output, record["target"])
    module.backward(record["input"], criterion.backward(output, record["target"]))
    module.updateParameters(record["learningRate"])
    sharing.zeroGradParameters()
    assert_close(module.parameters()[0], record["params_after"], "parameters")
    assert_close(sharing.parameters()[0], record["clone_weight_bias_params"], "sharing clone")
    assert_close(plain.parameters()[0], record["clone_plain_params"], "plain clone")
    gradients = module.parameters()[1]
    assert_close(gradients, record["orig_gradParams_after_clone_zeroed"], "gradients")


def check_get_parameters(record: Record) -> None:
    module = build(record["spec"]).double()
    variant = record["id"].removeprefix("method/getParameters-")
    linears = [m for m in module.listModules() if isinstance(m, nn.Linear)]
    if variant.startswith("shared"):
        for linear in linears:  # Torch7's layers always have gradients, each its own
            assert not linear.gradWeight.numpy().any()
            assert not linear.gradBias.numpy().any()
        gradients = () if "weightonly" in variant else ("gradWeight", "gradBias")
        linears[1].share(linears[0], "weight", "bias", *gradients)
    if variant == "tied-transpose":
        for name in ("weight", "gradWeight"):
            tie_transposed(linears[1], linears[0], name)
    if "error" in record:
        with pytest.raises(ValueError, match=r"gradients? .*shared alike|gradWeight"):
            module.getParameters()
        return
    if isinstance(module, nn.MapTable):
        module.resize(3)
    for parameter, values in zip(module.parameters()[0], record["params"], strict=True):
        write(parameter, values)
    for gradient, values in zip(module.parameters()[1], record["gradParams"], strict=True):
        write(gradient, values)
    flat, flat_gradient = module.getParameters()
    assert_close(flat, record["flat"], "flat parameters")
    assert_close(flat_gradient, record["flatGrad"], "flat gradients")
    for position, pair in enumerate(zip(*module.parameters(), strict=True)):
        for view, whole in zip(pair, (flat, flat_gradient), strict=True):
            array, base = view.numpy(), whole.numpy()
            assert np.shares_memory(array, base)
            assert [s // array.itemsize for s in array.strides] == record["strides"][position]
            offset = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
            assert offset // array.itemsize == record["storageOffset"][position] - 1
    assert_close(module.parameters()[0], record["params"], "parameters afterwards")
    assert_close(module.parameters()[1], record["gradParams"], "gradients afterwards")


def tie_transposed(module: Any, other: Any, name: str) -> None:
    """Make one layer's array the transpose of another's, in the same memory."""
    source = getattr(other, name).numpy()
    if name == "weight":
        module.weight.rebind(source.T)
    else:
        module.weight.grad = source.T


def check_type_float(record: Record) -> None:
    """Two layers that share everything still do after `float()`.

    The recorded weight was read after the conversion, so both outputs are known to single
    precision only.
    """
    first, second = nn.Linear(3, 3).double(), nn.Linear(3, 3).double()
    second.share(first, "weight", "bias", "gradWeight", "gradBias")
    write(first.weight, record["weight"])
    write(first.bias, record["bias"])
    module = nn.Sequential(first, second)
    single = float(np.finfo(np.float32).eps)
    output = module.forward(record["input"])
    assert_close(output, record["output_double"], "output_double", single)
    module.float()
    output = module.forward(record["input"].astype(np.float32))
    assert output.dtype == np.float32
    assert {"torch.FloatTensor": np.float32}[record["type"]] == module.type()
    assert_close(output, record["output_float"], "output_float", single)
    write(first.weight, np.zeros((3, 3), np.float32))
    assert record["still_shared"] == (not second.weight.numpy().any())


def check_call(record: Record) -> None:
    """Torch7's __call__(x, g) runs forward and backward; here those are two calls."""
    module = nn.Linear(3, 2).double()
    for parameter, values in zip(module.parameters()[0], record["params"], strict=True):
        write(parameter, values)
    module.zeroGradParameters()
    assert_close(module(record["input"]), record["output"], "output")
    assert_close(module.forward(record["input"]), record["output2"], "output2")
    gradient = module.backward(record["input"], record["gradOutput"])
    assert_close(gradient, record["gradInput"], "gradInput")
    assert_close(module.parameters()[1], record["gradParams"], "gradParams")


def check_structure(record: Record) -> None:
    module = build(record["spec"])
    assert module.size() == record["size"]
    assert text(module) == record["tostring"]
    assert names(module) == record["listModules"]
    visited: list[str] = []
    module.apply(lambda m: visited.append(f"nn.{type(m).__name__}"))
    assert visited == record["apply_order"]
    for name in ("Tanh", "Sequential"):
        nodes, containers = module.findModules(f"nn.{name}")
        assert [f"nn.{type(m).__name__}" for m in nodes] == record[f"findModules_{name}"]
        found = [f"nn.{type(m).__name__}" for m in containers]
        assert found == record[f"findModules_{name}_containers"]
    replaced = module.replace(lambda m: nn.Sigmoid() if isinstance(m, nn.Tanh) else m)
    assert text(replaced) == record["tostring_replaced"]


def check_stochastic_gradient(record: Record) -> None:
    module = prepared(record)
    trainer = nn.StochasticGradient(module, nn.MSECriterion())
    for name in ("learningRate", "learningRateDecay", "maxIteration"):
        setattr(trainer, name, record[name])
    trainer.shuffleIndices = trainer.verbose = False
    losses = trainer.train(list(zip(record["inputs"], record["targets"], strict=True)))
    assert_close(losses, record["errors"], "losses")
    assert_close(module.parameters()[0], record["params_after"], "parameters")


METHODS: dict[str, Callable[[Record], None]] = {
    "clone-share": check_clone_share,
    "getParameters": check_get_parameters,
    "type-float": check_type_float,
    "call": check_call,
    "structure": check_structure,
    "StochasticGradient": check_stochastic_gradient,
}


def check_optim_net(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    module, criterion = build(record["spec"]).double(), nn.MSECriterion()
    flat, flat_gradient = module.getParameters()
    write(flat, record["flat"])
    config = dict(record["config"])
    losses: list[float] = []

    def evaluate(parameters: Any) -> tuple[Any, Any]:
        module.zeroGradParameters()
        output = module.forward(record["input"])
        loss = criterion.forward(output, record["target"])
        module.backward(record["input"], criterion.backward(output, record["target"]))
        return float(loss), flat_gradient

    for number, expected in enumerate(record["flat_steps"]):
        _, values, *_ = getattr(optim, record["optimizer"])(evaluate, flat, config)
        losses.append(float(values[0]))
        assert_close(flat, expected, f"parameters after step {number}")
    assert_close(losses, record["f_steps"], "losses")


def check_optim(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    function = function_named(record["function"])
    optimizer = getattr(optim, record["optimizer"])
    config = {**dict(record["config"]), **torch7_optim.additions(record)}
    x = record["x0"].copy()
    evaluations = 0

    def evaluate(point: Any) -> tuple[float, np.ndarray]:
        nonlocal evaluations
        evaluations += 1
        return function(np.asarray(point))

    for number, expected in enumerate(record["x_steps"]):
        x, values, *_ = optimizer(evaluate, x, config)
        assert_close(x, expected, f"x after step {number}")
        recorded = np.ravel(record["f_steps"][number])  # de: one array; the others: numbers
        assert_close(np.array([float(v) for v in values]), recorded, f"values of step {number}")
        assert evaluations == record["evals"][number]
    for name in record["state_after"].keys() - SCRATCH_STATE:
        value = record["state_after"][name]
        found = torch7_optim.entry(optimizer, config, name)
        tolerance = torch7_optim.tolerance(record, name)
        assert_close(found, torch7_optim.flattened(name, value), f"state.{name}", tolerance)


def function_named(name: str) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """What was minimized: a number behind a name, as in rosenbrock4, is that of the dimensions."""
    return {"quadratic": quadratic, "rosenbrock": rosenbrock}[name.rstrip("0123456789")]


def quadratic(x: np.ndarray) -> tuple[float, np.ndarray]:
    a, b = torch7.quadratic()
    return float(0.5 * x @ a @ x - b @ x), a @ x - b


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Σ over consecutive pairs of 100·(x₂ - x₁²)² + (1 - x₁)²."""
    first, second = x[:-1], x[1:]
    inner = second - first**2
    gradient = np.zeros_like(x)
    gradient[:-1] += -400 * first * inner - 2 * (1 - first)
    gradient[1:] += 200 * inner
    return float(np.sum(100 * inner**2 + (1 - first) ** 2)), gradient


def check_rng(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers draw weight, then bias, from the recorded ranges.

    Torch7's uniform numbers are the words of a Mersenne Twister divided by 2³²; NumPy's seeds it in
    the same way, so the recorded initial weights can be drawn here.
    """
    words = np.random.RandomState(123).randint(0, 2**32, size=64, dtype=np.uint64) / 2.0**32
    assert_close(words[:8], record["uniform8"], "uniform8")
    position = 0

    def uniform(self: Any, shape: Any, dtype: Any) -> np.ndarray:
        nonlocal position
        count = int(np.prod(shape))
        position += count
        return words[position - count : position].reshape(shape).astype(dtype)

    monkeypatch.setattr(devices.Generator, "uniform", uniform)
    for module, name in (
        (nn.Linear(3, 2), "linear"),
        (nn.SpatialConvolution(1, 2, 2, 2), "conv"),
    ):
        module.double()
        position = 0
        module.reset()
        assert_close(module.weight, record[f"{name}_weight"], f"{name}_weight")
        assert_close(module.bias, record[f"{name}_bias"], f"{name}_bias")


CHECKS: dict[str, Callable[[Record, pytest.MonkeyPatch], None]] = {
    "module": check_module,
    "nngraph": check_nngraph,
    "criterion": check_criterion,
    "error": check_error,
    "trajectory": check_trajectory,
    "method": check_method,
    "optim-net": check_optim_net,
    "optim": check_optim,
    "optim-def": torch7_optim.check_definition,
    "optim-misc": torch7_optim.check_misc,
    "rng": check_rng,
}


# Departures from Torch7 --------------------------------------------------------------------------


class Departure(NamedTuple):
    """Records on which tapegrad gives another answer on purpose, and the check of that answer."""

    reason: str
    applies: Callable[[Record], bool]
    check: Callable[[Record, pytest.MonkeyPatch], None]
    of_output: bool = False  # whether it concerns records that have no gradients, too


def accepts_more_axes(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = build(record["spec"]).double(), record["input"]
    y = module.forward(x).numpy()
    rows = module.forward(x.reshape(-1, x.shape[-1])).numpy()
    assert y.shape == (*x.shape[:-1], rows.shape[-1])
    assert_close(y.reshape(rows.shape), rows, "output")


def accepts_strided_input(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = build(record["spec"]).double(), record["input"]
    strided = np.ascontiguousarray(x.T).T
    assert not strided.flags.c_contiguous
    assert_close(module.forward(strided), module.forward(x).numpy().copy(), "output", tolerance=0)


def is_the_identity(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = build(record["spec"]), record["input"]
    g = np.ones_like(x)
    assert_close(module.forward(x), x, "output", tolerance=0)
    gradient = module.backward(x, g).numpy()
    assert_close(gradient, g, "gradInput", tolerance=0)
    assert not np.shares_memory(gradient, g)


def differentiates_what_it_computed(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """gradInput is gradOutput times the factors that forward applied, in evaluate() too."""
    noise = record["buffers"]["noise"]
    check_module(record | {"gradInput": record["gradOutput"] * noise}, monkeypatch)


def keeps_the_caller_s_arrays(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, gradients and state are the recorded ones; the input is not overwritten."""
    check_module(record, monkeypatch)


def accumulates_in_the_shape_of_the_weight(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients have their parameters' shapes, and a second backward at scale 0.5 adds half."""
    once = [
        gradient.reshape(parameter.shape)
        for gradient, parameter in zip(record["gradParams"], record["params"], strict=True)
    ]
    expected = {"gradParams": once, "gradParams_acc": [1.5 * gradient for gradient in once]}
    check_module(record | expected, monkeypatch)


def keeps_unbatched_shape(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        name: record[name].reshape(record["input"].shape) for name in ("output", "gradInput")
    }
    gradient = record["gradOutput"].reshape(record["input"].shape)
    check_module(record | expected | {"gradOutput": gradient}, monkeypatch)


def padding_gets_no_gradient(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row of the padding, which forward replaces by zeros, gathers no gradient."""
    module = prepared(record)
    x, expected = input_for(module, record["input"]), record["gradParams"][0].copy()
    expected[0] = 0
    module.zeroGradParameters()
    assert_close(module.forward(x), record["output"], "output")
    module.backward(x, record["gradOutput"])
    assert_close(module.gradWeight, expected, "gradParams")
    assert text(module) == record["tostring"]
    check_fields(module, record)


def masked_samples_get_no_gradient(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """A masked sample adds nothing to the gradients of the parameters, as it gets no gradInput."""
    kept = record["output"].any(axis=-1, keepdims=True)
    module = prepared(record)
    module.get(0).zeroGradParameters()
    module.get(0).forward(record["input"])
    module.get(0).backward(record["input"], record["gradOutput"] * kept)
    gradients = [g.numpy().copy() for g in module.parameters()[1]]
    check_module(record | {"gradParams": gradients}, monkeypatch)


def crops_in_backward_too(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backward takes the target that forward took, where the original wants it cropped by hand."""
    check_criterion(record | {"target_backward": record["target"]}, monkeypatch)


def target_has_no_gradient(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded gradient, and zeros for the target, where the original has nothing."""
    expected = [*record["gradInput"], np.zeros_like(record["input"][1])]
    check_module(record | {"gradInput": expected, "gradOutput": np.asarray(1.0)}, monkeypatch)


def lists_a_parameter_once(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the recorded lists, whose entries repeat for each copy, the first copy's part."""
    count = 2  # weight and bias
    first = dict(record)
    for name in record.keys() & {
        "params",
        "gradParams",
        "gradParams_acc",
        "strides",
        "storageOffset",
    }:
        values = record[name]
        for i, value in enumerate(values):
            assert np.array_equal(value, values[i % count])
        first[name] = values[:count]
    CHECKS[record["kind"]](first, monkeypatch)


def gradient_has_the_parameter_s_shape(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything as recorded; the gradient of v has v's shape and not the weight's."""
    shaped = [
        g.reshape(p.shape) for g, p in zip(record["gradParams"], record["params"], strict=True)
    ]
    check_module(record | {"gradParams": shaped}, monkeypatch)


def _drops_scale(record: Record) -> bool:
    """Does the recorded second backward add something else than half of the first?"""
    if record["kind"] != "module" or torch7.short(record["class"]) not in SCALE_LOST:
        return False
    pairs = zip(record.get("gradParams", []), record.get("gradParams_acc", []), strict=False)
    return any(not np.allclose(acc, 1.5 * g, rtol=1e-9, atol=1e-12) for g, acc in pairs)


def normalizes_each_sample(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row minus its own mean, over its own deviation."""
    module, x = prepared(record), record["input"]
    weight, bias = record.get("params") or (1.0, 0.0)
    eps = module.get(2).eps
    deviations = x - x.mean(axis=1, keepdims=True)
    y = deviations / np.sqrt((deviations**2).sum(axis=1, keepdims=True) + eps) * np.sqrt(x.shape[1])
    assert_close(module.forward(x), y * weight + bias, "output")
    rows = [module.forward(row).numpy().copy() for row in x]
    assert_close(np.stack(rows), y * weight + bias, "output of each row")
    assert text(module) == record["tostring"]


def can_be_run_backwards(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of adding a constant is gradOutput; of a constant input, 0."""
    module = build(record["spec"]).evaluate()
    x = input_for(module, record["input"])
    g = np.ones(module.forward(x).shape)
    gradient = module.backward(x, g)
    if isinstance(module, nn.WhiteNoise):
        assert_close(gradient, g, "gradInput")
    else:
        assert not np.any(gradient[1].numpy())


def gradients_have_the_input_s_structure(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded gradients are of every column of weight; here those of the given values.

    Gradients of parameters, and the parameters after an update, are the recorded ones.
    """
    module = prepared(record)
    x = input_for(module, record["input"])
    assert text(module) == record["tostring"]
    check_fields(module, record)
    module.zeroGradParameters()
    assert_close(module.forward(x), record["output"], "output")
    found = values_of(module, module.backward(x, record["gradOutput"]))
    keys = values_of(module, x, keys=True)
    if module.doGradInput:
        dense = values_of(module, record["gradInput"])
        expected = [d[k] for d, k in zip(dense, keys, strict=True)]
        assert_close(found, expected, "gradInput")
    else:
        assert not any(np.any(f) for f in found)
    gradients = module.parameters()[1]
    assert_close(module.gradBias, record.get("gradBias", gradients[1].numpy()), "gradBias")
    if "gradParams" in record:
        assert_close(gradients, record["gradParams"], "gradParams")
    if "gradParams_acc" in record:
        module.backward(x, record["gradOutput"], 0.5)
        assert_close(gradients, record["gradParams_acc"], "gradParams_acc")
    if "weight_after_update_0.1" in record:
        module.updateParameters(0.1)
        assert_close(module.weight, record["weight_after_update_0.1"], "weight after an update")
        assert_close(module.bias, record["bias_after_update_0.1"], "bias after an update")


def values_of(module: Any, x: Any, keys: bool = False) -> list[np.ndarray]:
    """The values in a sparse input, or gradient, sample by sample; or the keys."""
    if isinstance(module, nn.SparseLinear):
        samples = x if isinstance(x, list) or x.ndim == 3 else [x]
        arrays = [np.asarray(s) for s in samples]
        return [s[:, 0].astype(int) if keys else s[:, 1] for s in arrays]
    part = x[0 if keys else 1]
    return [np.asarray(s) for s in (part if isinstance(part, list) else [part])]


SCALE_LOST = (
    "Bilinear",
    "Cosine",
    "DepthConcat",
    "LinearWeightNorm",
    "WeightedEuclidean",
    "WeightNorm",
)


def accumulates_with_scale(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else as recorded, and after a backward with scale 0.5 the gradients are 1.5."""
    check_module(record | {"gradParams_acc": [1.5 * g for g in record["gradParams"]]}, monkeypatch)


def stays_at_the_minimum(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same values until the last bits decide, then the same minimum."""
    config, x = dict(record["config"]), record["x0"].copy()
    for number, expected in enumerate(record["x_steps"]):
        values = np.ravel(record["f_steps"][number])
        gained = np.abs(np.diff(values)) > 8 * np.finfo(np.float64).eps * np.abs(values[1:])
        sure = 1 + int(np.sum(gained))
        _, found, _ = optim.cg(lambda point: quadratic(np.asarray(point)), x, config)
        assert len(found) >= sure
        assert_close(np.array(found[:sure]), values[:sure], f"values of step {number}")
        assert_close(found[-1], values[-1], f"last value of step {number}")
        assert_close(x, expected, f"x after step {number}")


def _is_error(record: Record, cls: str) -> bool:
    return record["kind"] == "error" and record["class"] == f"nn.{cls}"


def _is_module(record: Record, *classes: str) -> bool:
    return record["kind"] == "module" and torch7.short(record["class"]) in classes


DEPARTURES = (
    Departure(
        "Linear takes any number of leading axes",
        lambda r: (
            _is_error(r, "Linear")
            and isinstance(r["input"], np.ndarray)
            and r["input"].ndim > 2
            and r["input"].shape[-1] == r["spec"]["args"][0]
        ),
        accepts_more_axes,
    ),
    Departure(
        "View takes arrays that are not contiguous",
        lambda r: _is_error(r, "View") and "contiguous" in r["message"],
        accepts_strided_input,
    ),
    Departure(
        "an empty Sequential can be run backwards",
        lambda r: _is_error(r, "Sequential") and not r["spec"].get("add"),
        is_the_identity,
    ),
    Departure(
        "Dropout with stochasticInference differentiates the mask it applied",
        lambda r: (
            _is_module(r, "Dropout")
            and r.get("mode") == "eval"
            and bool(r.get("fields", {}).get("stochastic_inference"))
        ),
        differentiates_what_it_computed,
    ),
    Departure(
        "MaskZero keeps masked samples out of the parameters' gradients",
        lambda r: _is_module(r, "MaskZero"),
        masked_samples_get_no_gradient,
    ),
    Departure(
        "LookupTableMaskZero gives the row of the padding no gradient",
        lambda r: _is_module(r, "LookupTableMaskZero"),
        padding_gets_no_gradient,
    ),
    Departure(
        "SpatialAutoCropMSECriterion crops its target in backward too",
        lambda r: r["kind"] == "criterion" and "target_backward" in r,
        crops_in_backward_too,
    ),
    Departure(
        "in-place layers leave the caller's arrays alone",
        lambda r: r["kind"] == "module" and "input_after_forward" in r,
        keeps_the_caller_s_arrays,
    ),
    Departure(
        "SpatialDepthWiseConvolution gathers its gradient in the weight's shape",
        lambda r: _is_module(r, "SpatialDepthWiseConvolution"),
        accumulates_in_the_shape_of_the_weight,
    ),
    Departure(
        "batch normalization of one sample in evaluate() keeps the sample's shape",
        lambda r: (
            _is_module(r, "BatchNormalization", "SpatialBatchNormalization")
            and r["output"].ndim == r["input"].ndim + 1
        ),
        keeps_unbatched_shape,
    ),
    Departure(
        "scale reaches every parameter's gradient, and gradients accumulate",
        _drops_scale,
        accumulates_with_scale,
    ),
    Departure(
        "the gradient of WeightNorm's v has the shape of v",
        lambda r: _is_module(r, "WeightNorm") and r["gradParams"][0].ndim > 2,
        gradient_has_the_parameter_s_shape,
    ),
    Departure(
        "LayerNormalization subtracts from each sample its own mean",
        lambda r: _is_module(r, "LayerNormalization") and r["input"].ndim == 2,
        normalizes_each_sample,
        of_output=True,
    ),
    Departure(
        "WhiteNoise in evaluate(), and IndexLinear without doGradInput, can be run backwards",
        lambda r: (
            r.get("stage") == "backward"
            and torch7.short(r["class"]) in ("WhiteNoise", "IndexLinear")
        ),
        can_be_run_backwards,
    ),
    Departure(
        "gradients of sparse inputs have the structure of the input",
        lambda r: _is_module(r, "SparseLinear", "IndexLinear"),
        gradients_have_the_input_s_structure,
    ),
    Departure(
        "the target of a CriterionTable has a gradient, which is 0",
        lambda r: _is_module(r, "CriterionTable"),
        target_has_no_gradient,
    ),
    Departure(
        "a Parameter that copies share is listed once",
        lambda r: (
            _is_module(r, "MapTable")
            or (r["kind"] == "method" and r.get("spec", {}).get("class") == "nn.MapTable")
        ),
        lists_a_parameter_once,
    ),
    Departure(
        "cg at a minimum: how many more line searches it tries is decided by the last bits",
        lambda r: (
            r["kind"] == "optim"
            and r["optimizer"] == "cg"
            and r["function"].startswith("quadratic")
            and torch7_optim.stagnates(r)
        ),
        stays_at_the_minimum,
    ),
)


# The suite ---------------------------------------------------------------------------------------


def missing(entry: Record) -> str | None:
    """Why a record is not yet covered, or None when it is."""
    if entry["kind"] not in CHECKS:
        return f"records of kind {entry['kind']} have no check"
    if absent := torch7.classes_of(entry) - set(nn.__all__):
        return f"not in nn: {', '.join(sorted(absent))}"
    if "optimizer" in entry and entry["optimizer"] not in optim.__all__:
        return f"not in optim: {entry['optimizer']}"
    if entry["kind"] == "method" and method_of(entry) not in METHODS:
        return f"no check of {entry['id']}"
    return None


COVERED = [position for position, entry in enumerate(torch7.index()) if missing(entry) is None]


class Tally:
    """Counts records as they are checked, and prints the table at the end of the run."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.departing: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.passed and not self.departing:
            return
        everything = Counter(entry["kind"] for entry in torch7.index())
        uncovered = Counter(entry["kind"] for entry in torch7.index() if missing(entry))
        terminalreporter.section("recorded Torch7 cases")
        row = "{:<12}{:>9}{:>22}{:>17}{:>8}"
        terminalreporter.write_line(
            row.format("kind", "passed", "differing by design", "not yet covered", "all")
        )
        columns = (self.passed, self.departing, uncovered, everything)
        for kind in everything:
            terminalreporter.write_line(row.format(kind, *(column[kind] for column in columns)))
        totals = (column.total() for column in columns)
        terminalreporter.write_line(row.format("all", *totals))
        for reason, count in self.reasons.items():
            terminalreporter.write_line(f"by design: {reason} ({count})")


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Tally:
    tally = Tally()
    request.config.pluginmanager.register(tally, "torch7-tally")
    return tally


@pytest.mark.parametrize("position", COVERED, ids=lambda i: torch7.index()[i]["id"])
def test_torch7_record(position: int, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the real Torch7 computed is computed here, or departs as the table says."""
    record = torch7.resolved(torch7.index()[position], torch7.ROOT)
    only_evaluated = record["kind"] == "module" and "gradOutput" not in record
    for departure in DEPARTURES:
        if departure.of_output >= only_evaluated and departure.applies(record):
            departure.check(record, monkeypatch)
            tally.departing[record["kind"]] += 1
            tally.reasons[departure.reason] += 1
            return
    CHECKS[record["kind"]](record, monkeypatch)
    tally.passed[record["kind"]] += 1


# Arguments of these names are positions, which Torch7 counts from 1.  (How many there are of
# something is called otherwise: nInputDims.)
POSITIONS = {"dim", "dimension", "pos", "index", "offset", "permutations", "device", "outdevice"}
POSITIONS |= {"inputDimension", "outputDimension", "outputDim", "connTable", "ignoreIndex"}
POSITIONS |= {"axis", "axes", "dims", "dimensions", "indices", "label", "labels", "position"}
NO_POSITIONS = {
    ("Kmeans", "dim"),  # how many features a centroid has
    ("PriorBox", "offset"),  # of a centre in its cell
}


@pytest.mark.parametrize("name", [k.removeprefix("nn.") for k in sorted(known())])
def test_a_class_declares_which_of_its_settings_count_from_one_elsewhere(name: str) -> None:
    """Saying nothing would read a file's dimension 1 as the second one."""
    cls = known()[f"nn.{name}"]
    parameters = inspect.signature(cls).parameters
    declared = cls.counts
    silent = {argument for argument in POSITIONS & set(parameters) if argument not in declared}
    assert {(name, argument) for argument in silent} <= NO_POSITIONS
    kinds = {k for kind in declared.values() for k in (kind if type(kind) is tuple else (kind,))}
    assert kinds <= {None, *torch7.ONE_BASED}
    for argument in declared:
        method, _, inner = argument.rpartition(".")
        if method:
            assert inner in inspect.signature(getattr(cls, method)).parameters
        else:
            assert argument in {*parameters, *kept_names(cls), "input", "target", "output"}


class TestOtherRecords:
    """Records that this repository has none of, made of those that it has."""

    def record(self, name: str) -> Record:
        entry = next(e for e in torch7.index(torch7.OWN) if e["id"] == name)
        return torch7.resolved(entry, torch7.OWN)

    @pytest.mark.parametrize("name", ["nn.Linear/0", "nn.BatchNormalization/3", "nn.LookupTable/0"])
    def test_an_output_without_gradients(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        record = self.record(name)
        kept = {k: v for k, v in record.items() if not k.startswith("grad") and k != "buffers"}
        check_module(kept, monkeypatch)
        kept["output"] = kept["output"] + 1
        with pytest.raises(AssertionError, match="output"):
            check_module(kept, monkeypatch)

    def test_null_is_the_default(self) -> None:
        spec = self.record("nn.Threshold/2")["spec"]
        assert build(spec | {"args": [None, -0.5, None]}).threshold == 1e-6
        linear = build({"$spec": 1, "class": "nn.Linear", "args": [3, 2, None]})
        assert linear.bias is not None
        view = {"$spec": 1, "class": "nn.View", "args": [6], "calls": [["setNumInputDims", None]]}
        assert build(view).numInputDims is None

    def test_functions_go_by_their_names(self) -> None:
        assert function_named("rosenbrock4") is rosenbrock
        assert function_named("quadratic") is quadratic
        assert rosenbrock(np.ones(4))[0] == 0
        with pytest.raises(KeyError):
            function_named("sphere2")

    def test_pairs_of_a_batch_have_a_gradient_of_their_shape(self) -> None:
        module = nn.SparseLinear(5, 3, True).double()
        x = np.array([[[0, 1.0], [2, 2.0]], [[1, 1.5], [4, -2.0]]])
        g = np.ones(module.forward(x).shape)
        gradient = module.backward(x, g)
        assert gradient.shape == x.shape
        wanted = [list(module.weight.numpy().sum(axis=0)[part[:, 0].astype(int)]) for part in x]
        assert_close(np.stack(values_of(module, gradient)), np.array(wanted), "gradInput")


@pytest.mark.skipif(torch7.ROOT != torch7.OWN, reason="counts the records of the repository")
def test_the_torch7_records_of_the_repository_are_reached() -> None:
    """A check that stops finding its records fails here instead of passing empty."""
    reached = Counter(torch7.index()[position]["kind"] for position in COVERED)
    assert {kind: reached[kind] for kind in AT_LEAST if reached[kind] < AT_LEAST[kind]} == {}
