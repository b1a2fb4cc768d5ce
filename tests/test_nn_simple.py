"""What records and laws of containers, decorators and simple layers do not say."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn
from tapegrad.autograd import Parameter, Tensor, elementwise_grad, replay
from tapegrad.nn.core import affine

rng = np.random.default_rng(7)


def mlp():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Sequential(nn.Linear(4, 2), nn.Tanh()))


# Walking ------------------------------------------------------------------------------------------


def test_find_modules_gives_each_module_and_what_it_is_in():
    model = mlp()
    for kind in ("nn.Tanh", nn.Tanh):
        nodes, containers = model.findModules(kind)
        assert nodes == [model.get(1), model.get(2).get(1)]
        assert containers == [model, model.get(2)]
    assert model.findModules(nn.Sequential)[1] == [model, model]
    assert model.findModules(nn.Module) == ([], []), "subclasses do not count"


def test_replace_works_below_attributes_and_lists_too():
    class Net(nn.Module):
        def __init__(self):
            self.first = nn.Tanh()
            self.rest = [nn.Tanh(), {"deep": nn.Sequential(nn.Tanh())}]

        def updateOutput(self, x):
            return self.rest[1]["deep"](self.rest[0](self.first(x)))

    net = Net()
    seen = []

    def swap(module):
        seen.append(type(module).__name__)
        return nn.Sigmoid() if isinstance(module, nn.Tanh) else module

    assert net.replace(swap) is net
    assert seen == ["Net", "Tanh", "Tanh", "Sequential", "Tanh"]
    assert not net.findModules(nn.Tanh)[0]
    assert len(net.findModules(nn.Sigmoid)[0]) == 3
    assert nn.Tanh().replace(lambda _: nn.ReLU()).findModules("nn.ReLU")[0]


def test_apply_to_modules_reaches_direct_children_only():
    model, seen = mlp(), []
    assert model.applyToModules(seen.append) is model
    assert seen == model.modules


# Freezing, states, flat buffers -------------------------------------------------------------------


def test_a_frozen_module_passes_gradients_and_does_not_learn():
    model, x = mlp(), rng.standard_normal((2, 3)).astype(np.float32)
    reference = model.clone()
    g = np.ones((2, 2), np.float32)
    model.get(2).freeze()
    for m in (model, reference):
        m.zeroGradParameters()
        m.forward(x)
        m.backward(x, g)
    np.testing.assert_array_equal(model.gradInput.numpy(), reference.gradInput.numpy())
    assert len(model.parameters()[0]) == 2
    assert model.getParameters()[0].shape == (16,)
    assert len(model.state_dict()) == 4
    before = model.get(2).get(0).weight.numpy().copy()
    model.updateParameters(0.1)
    np.testing.assert_array_equal(model.get(2).get(0).weight.numpy(), before)
    assert model.get(2).get(0).weight.tracked, "it is a Parameter still"
    assert not pickle.loads(pickle.dumps(model)).get(2).parameters()[0]
    model.unfreeze()
    assert len(model.parameters()[0]) == 4
    model.forward(x)
    model.backward(x, g)
    assert model.get(2).get(0).gradWeight.numpy().any()
    assert model.freeze().double().type() == np.float64
    assert model.get(0).weight.dtype == np.float64, "frozen parameters are converted"


def test_a_replayed_step_notices_that_a_module_was_frozen():
    model, x = mlp(), Tensor(np.ones((2, 3), np.float32))

    @replay
    def step(x):
        model.zeroGradParameters()
        model(x).sum().backward()
        model.updateParameters(0.1)

    for _ in range(3):
        step(x)
    model.get(0).freeze()
    first, last = (model.get(0).weight.numpy(), model.get(2).get(0).weight.numpy())
    before = first.copy(), last.copy()
    step(x)
    np.testing.assert_array_equal(first, before[0])
    assert (last != before[1]).any()


def test_load_state_dict_names_every_difference_and_can_be_lenient():
    model = mlp()
    state = model.state_dict()
    state["other"] = state.pop("0.bias")
    state["0.weight"] = np.zeros((2, 2))
    before = model.state_dict()
    with pytest.raises(KeyError, match=r"0\.bias.*other.*0\.weight is \(2, 2\)"):
        model.load_state_dict(state)
    with pytest.raises(ValueError, match=r"0\.weight"):
        model.load_state_dict(state, strict=False)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    state["0.weight"] = np.ones((4, 3))
    assert model.load_state_dict(state, strict=False) == (["0.bias"], ["other"])
    assert (model.get(0).weight.numpy() == 1).all()


def test_flatten_gathers_tensors_and_keeps_sharing():
    base = np.arange(6.0)
    tensors = [Tensor(base[:4].reshape(2, 2)), Tensor(np.full(3, 9.0)), Tensor(base)]
    flat = nn.Module.flatten(tensors)
    np.testing.assert_array_equal(flat.numpy(), [0, 1, 2, 3, 4, 5, 9, 9, 9])
    flat.numpy()[0] = -1
    assert tensors[0].numpy()[0, 0] == tensors[2].numpy()[0] == -1
    with pytest.raises(ValueError, match="float32"):
        nn.Module.flatten([Tensor(np.zeros(2)), Tensor(np.zeros(2, np.float32))])


# Containers and decorators ------------------------------------------------------------------------


def test_map_table_shares_parameters_or_does_not():
    x = [rng.standard_normal((2, 3)).astype(np.float32) for _ in range(3)]
    shared = nn.MapTable(nn.Linear(3, 2))
    own = nn.MapTable(nn.Linear(3, 2), False)
    for module, count in ((shared, 2), (own, 6)):
        module.forward(x)
        assert module.size() == 3
        assert len(module.parameters()[0]) == count
        assert len(copy.deepcopy(module).parameters()[0]) == count
    assert [m.output.shape for m in shared] == [(2, 2)] * 3
    assert shared.clearState().size() == 1
    assert own.clearState().size() == 3
    with pytest.raises(nn.ShapeError, match="table"):
        shared.forward(x[0])


def test_errors_inside_containers_name_the_path():
    model = nn.Sequential(nn.ConcatTable(nn.Identity(), nn.Linear(3, 2)), nn.CAddTable())
    with pytest.raises(nn.ShapeError, match=r"^Sequential\[0\]\.ConcatTable\[1\]\.Linear: "):
        model.forward(np.zeros((2, 4), np.float32))
    with pytest.raises(nn.ShapeError, match=r"^Sequential\[1\]\.CAddTable: .*\(2, 3\), \(2, 2\)"):
        model.forward(np.zeros((2, 3), np.float32))


def test_dont_cast_keeps_its_module_s_dtype():
    model = nn.Sequential(nn.DontCast(nn.Linear(3, 2).double(), True), nn.Linear(2, 1)).float()
    assert model.get(0).get(0).weight.dtype == np.float64
    assert model.get(1).weight.dtype == np.float32
    assert model.forward(np.zeros((1, 3), np.float32)).dtype == np.float32
    assert nn.DontCast(nn.Linear(3, 2), moduleType="torch.DoubleTensor").get(0).type() == np.float64


@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_says_where_it_was_found():
    class Broken(nn.Module):
        def updateOutput(self, x):
            return (x * 0) ** 0.5

    x = np.ones((1, 2))
    with pytest.raises(FloatingPointError, match=r"output of Linear \(id a\)"):
        nn.NaN(nn.Linear(2, 2), "a").forward(x.astype(np.float32) * np.nan)
    module = nn.NaN(Broken())
    module.forward(x)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="gradInput of Broken"):
        module.backward(x, x)
    linear = nn.NaN(nn.Linear(2, 2))
    linear.get(0).weight.grad = np.full((2, 2), np.nan, np.float32)
    linear.forward(x.astype(np.float32))
    with pytest.raises(FloatingPointError, match="gradient of weight"):
        linear.backward(x.astype(np.float32), np.ones((1, 2), np.float32))


def test_profile_counts_and_prints(capsys):
    module, x = nn.Profile(nn.Linear(2, 2), 2, "layer"), np.ones((1, 2), np.float32)
    for _ in range(2):
        module.forward(x)
        module.backward(x, x)
    assert (module.numFwds, module.numBwds) == (2, 2)
    assert module.summedFwdTime > 0
    assert module.summedBwdTime > 0
    assert capsys.readouterr().out.count("layer: 2 passes") == 2


def test_print_size_prints_both_shapes(capsys):
    module = nn.Sequential(nn.PrintSize("here"), nn.Linear(2, 3))
    x = np.ones((1, 2), np.float32)
    module.forward(x)
    module.backward(x, np.ones((1, 3), np.float32))
    assert capsys.readouterr().out == "here: input (1, 2)\nhere: gradOutput (1, 2)\n"


def test_weight_norm_learns_length_and_direction_only():
    module = nn.WeightNorm(nn.Linear(3, 2)).double()
    names = [name for name, _ in module.named_parameters()]
    assert names == ["v", "g", "0.bias"]
    module.g.numpy()[...] = 2.0
    module.forward(np.ones((1, 3)))
    lengths = np.linalg.norm(module.get(0).weight.numpy(), axis=1)
    np.testing.assert_allclose(lengths, 2.0, rtol=1e-3)
    with pytest.raises(TypeError, match="Tanh has no parameter called weight"):
        nn.WeightNorm(nn.Tanh())


# Layers -------------------------------------------------------------------------------------------


def test_lookup_table_renormalizes_the_rows_it_uses_and_undoes_it_on_failure():
    table = nn.LookupTable(4, 3, maxNorm=1.0).double()
    table.weight.numpy()[...] = 2.0
    table.forward(np.array([1, 1, 3]))
    norms = np.linalg.norm(table.weight.numpy(), axis=1)
    np.testing.assert_allclose(norms, [12**0.5, 1, 12**0.5, 1], rtol=1e-6)
    model = nn.Sequential(table, nn.Linear(5, 2).double())
    before = table.weight.numpy().copy()
    with pytest.raises(nn.ShapeError):
        model.forward(np.array([0, 2]))
    np.testing.assert_array_equal(table.weight.numpy(), before)


def test_lookup_table_never_learns_its_padding():
    table = nn.LookupTable(4, 2, 0).double()
    table.forward(np.array([0, 1, 1]))
    table.backward(np.array([0, 1, 1]), np.ones((3, 2)))
    np.testing.assert_array_equal(table.gradWeight.numpy(), [[0, 0], [2, 2], [0, 0], [0, 0]])
    table.setPadding(-1).scaleGradByFreq().zeroGradParameters()
    table.forward(np.array([0, 1, 1]))
    table.backward(np.array([0, 1, 1]), np.ones((3, 2)))
    np.testing.assert_array_equal(table.gradWeight.numpy(), [[1, 1], [1, 1], [0, 0], [0, 0]])


def test_partial_linear_computes_its_partition():
    layer, x = nn.PartialLinear(3, 5).double(), rng.standard_normal((2, 3))
    whole = layer.forward(x).numpy().copy()
    layer.setPartition([4, 1])
    np.testing.assert_allclose(layer.forward(x).numpy(), whole[:, [4, 1]])
    with pytest.raises(nn.ShapeError):
        layer.setPartition([5])
    layer.resetPartition()
    np.testing.assert_array_equal(layer.forward(x).numpy(), whole)


def test_linear_weight_norm_comes_from_a_linear_and_goes_back():
    linear, x = nn.Linear(3, 2).double(), rng.standard_normal((4, 3))
    expected = linear.forward(x).numpy()
    normed = nn.LinearWeightNorm.fromLinear(linear)
    np.testing.assert_allclose(normed.forward(x).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(normed.toLinear().forward(x).numpy(), expected, rtol=1e-12)


def test_kmeans_finds_two_clusters_by_gradient_descent():
    x = np.concatenate([rng.normal(-5, 0.1, (20, 2)), rng.normal(5, 0.1, (20, 2))])
    for start in ("initRandom", "initKmeansPlus"):
        nn.manual_seed(3)
        module = nn.Kmeans(2, 2).double()
        getattr(module, start)(x)
        for _ in range(5):
            module.zeroGradParameters()
            y = module.forward(x)
            module.backward(x, np.zeros(40))
            module.updateParameters(1)
        centres = sorted(module.weight.numpy()[:, 0])
        if start == "initKmeansPlus":
            np.testing.assert_allclose(centres, [-5, 5], atol=0.1)
            assert module.clusterSampleCount.tolist() == [20, 20]
            assert len(set(y.numpy()[:20])) == 1
    with pytest.raises(nn.ShapeError):
        module.initRandom(x[:1])


def test_l1_penalty_can_hide_the_gradient_of_the_output():
    x = np.array([[1.0, -2.0, 0.0]])
    module = nn.L1Penalty(0.5, False, False)
    module.forward(x)
    assert float(module.loss) == 1.5
    np.testing.assert_array_equal(module.backward(x, x).numpy(), [[0.5, -0.5, 0.0]])


def test_narrow_keeps_torch7_s_negative_offsets():
    x = np.arange(5.0)
    assert nn.Narrow(0, 1, -2).forward(x).tolist() == [1, 2, 3]
    assert nn.Narrow(0, -1, 2).forward(x).tolist() == [0, 1, 2]
    with pytest.raises(nn.ShapeError, match="axis 0"):
        nn.Narrow(0, 4, 2).forward(x)


def test_convert_turns_shapes_named_by_letters():
    x = rng.standard_normal((2, 3, 4, 5))
    np.testing.assert_array_equal(nn.Convert("bchw", "whcb").forward(x).numpy(), x.T)
    assert nn.Convert("chw", "bf").forward(x[0]).shape == (60,)
    with pytest.raises(ValueError, match="no way from bchw to bt"):
        nn.Convert("bchw", "bt")


def test_parameters_equal_in_value_of_sparse_and_dense_linear_layers():
    dense, sparse = nn.Linear(6, 2).double(), nn.SparseLinear(6, 2).double()
    index = nn.IndexLinear(6, 2).double()
    for layer, weight in ((sparse, dense.weight.numpy()), (index, dense.weight.numpy().T)):
        layer.weight.numpy()[...] = weight
        layer.bias.numpy()[...] = dense.bias.numpy()
    x = np.zeros(6)
    x[[1, 4]] = 0.5, -2.0
    expected = dense.forward(x).numpy()
    pairs = np.array([[1, 0.5], [4, -2.0]])
    np.testing.assert_allclose(sparse.forward(pairs).numpy(), expected)
    np.testing.assert_allclose(index.forward([np.array([1, 4]), pairs[:, 1]]).numpy(), expected)


# Initialization and training ----------------------------------------------------------------------


def test_initializers_have_their_spread():
    nn.manual_seed(1)
    weight = Parameter(np.empty((200, 100, 3, 3)))
    fan_in, fan_out = 900, 1800
    assert nn.init.fans(weight.shape) == (fan_in, fan_out)
    expected = {
        "xavier_uniform_": (2 / (fan_in + fan_out)) ** 0.5,
        "xavier_normal_": (2 / (fan_in + fan_out)) ** 0.5,
        "kaiming_uniform_": (2 / fan_in) ** 0.5,
        "kaiming_normal_": (2 / fan_in) ** 0.5,
    }
    for name, deviation in expected.items():
        getattr(nn.init, name)(weight)
        assert weight.numpy().std() == pytest.approx(deviation, rel=0.01), name
        assert abs(weight.numpy().mean()) < deviation / 100
    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="linear")
    assert weight.numpy().std() == pytest.approx(fan_out**-0.5, rel=0.01)
    with pytest.raises(ValueError, match="two axes"):
        nn.init.xavier_normal_(Parameter(np.empty(3)))
    with pytest.raises(ValueError, match="gelu"):
        nn.init.calculate_gain("gelu")


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 2)])
def test_orthogonal_weights_are_orthogonal(shape):
    weight = Parameter(np.empty(shape))
    nn.init.orthogonal_(weight, 2.0)
    matrix = weight.numpy().reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_stochastic_gradient_calls_its_hooks_and_learns(capsys):
    nn.manual_seed(0)
    x = rng.standard_normal((20, 3))
    data = list(zip(x, x @ rng.standard_normal((3, 1)), strict=True))
    trainer = nn.StochasticGradient(nn.Linear(3, 1).double(), nn.MSECriterion())
    trainer.learningRate, trainer.maxIteration = 0.1, 5
    seen = []
    trainer.hookIteration = lambda t, epoch, loss, rate: seen.append((epoch, loss, rate))
    trainer.hookExample = lambda t, example: seen.append(len(example))
    losses = trainer.train(data)
    assert losses[-1] < 1e-3 * losses[0]
    assert [s for s in seen if s != 2] == [(k + 1, loss, 0.1) for k, loss in enumerate(losses)]
    assert seen.count(2) == 100
    assert capsys.readouterr().out.count("mean loss") == 5


# Kinks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 5000])  # by the body, and by a loop where there is one
def test_a_threshold_lets_pass_what_is_above_it_alone(copies):
    x = Parameter(np.repeat([0.5, 0.75, 0.25, -np.inf, np.nan], copies).astype("f"))
    y = nn.Threshold(0.5, 2)(x)
    y.backward(Tensor(np.full(x.shape, 3, "f")))
    for found, expected in ((y, [2, 0.75, 2, 2, np.nan]), (x.grad, [0, 3, 0, 0, 3])):
        np.testing.assert_array_equal(found.numpy(), np.repeat(expected, copies))


@pytest.mark.parametrize("copies", [1, 5000])
def test_the_derivatives_of_a_root_are_0_at_0(copies):
    x = np.repeat([0.0, -0.0, 4.0], copies)

    def root(x):
        return nn.Sqrt()(x)

    first = elementwise_grad(root)
    np.testing.assert_array_equal(first(x), np.repeat([0, 0, 0.25], copies))
    np.testing.assert_array_equal(elementwise_grad(first)(x), np.repeat([0, 0, -1 / 32], copies))
    np.testing.assert_array_equal(first(x.astype("f")), np.repeat([0, 0, 0.25], copies))


@pytest.mark.parametrize("criterion", [nn.BCEWithLogitsCriterion, nn.MultiLabelSoftMarginCriterion])
def test_a_logistic_loss_of_a_sure_score_keeps_its_digits(criterion):
    for copies in (1, 2500):
        x = Parameter(np.repeat([30.0, -30.0, 30.0, -30.0], copies).astype("f"))
        t = np.repeat([1.0, 0.0, 0.0, 1.0], copies)
        loss = criterion(reduction="none")(x, t)
        small = np.exp(-30.0)
        np.testing.assert_allclose(loss.numpy(), np.repeat([small, small, 30, 30], copies), 1e-6)
        loss.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), np.repeat([-small, small, 1, -1], copies), 1e-6)


@pytest.mark.parametrize("joins", [True, False])
@pytest.mark.parametrize(("size", "outputs"), [(0, 2), (3, 0)])
@pytest.mark.parametrize("lead", [(), (4,), (2, 4)])
def test_a_linear_may_have_no_features(lead, size, outputs, joins, monkeypatch):
    monkeypatch.setattr(affine, "may_join", lambda: joins)
    linear, x = nn.Linear(size, outputs), tg.Parameter(np.ones((*lead, size), np.float32))
    linear(x).sum().backward()
    assert x.grad.shape == x.shape
    assert linear.weight.grad.shape == (outputs, size)
    np.testing.assert_array_equal(linear.bias.grad, np.full(outputs, np.prod(lead)))


def test_the_row_of_a_linear_may_be_stretched_to_its_bias():
    linear, x = nn.Linear(3, 2), np.ones((4, 3), np.float32)
    linear.weight = tg.Parameter(np.ones((1, 3), np.float32))
    y = linear(tg.Tensor(x))
    np.testing.assert_allclose(y, 3 + np.broadcast_to(linear.bias.numpy(), (4, 2)))
    y.sum().backward()
    np.testing.assert_array_equal(linear.weight.grad, np.full((1, 3), 8))
