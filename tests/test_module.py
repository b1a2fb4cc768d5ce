"""Module: what is derived from forward code, what state it leaves, and what bad input gets."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapegrad import devices, nn
from tapegrad.autograd import Parameter, Tensor, grad, no_grad

RNG = np.random.default_rng(0)


class Net(nn.Module):
    """A layer as a newcomer writes it: attributes, a list, plain forward code called forward."""

    def __init__(self) -> None:
        self.first = nn.Linear(4, 5)
        self.rest = [nn.Linear(5, 5), {"last": nn.Linear(5, 2)}]
        self.scale = Parameter(np.ones(1, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        x = np.tanh(self.first(x))
        x = self.rest[0].forward(x)
        return self.rest[1]["last"](x) * self.scale


class Doubled(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


# Composition -----------------------------------------------------------------------------------


def test_forward_and_call_compute_the_same() -> None:
    net, x = Net().double(), RNG.normal(size=(3, 4))
    np.testing.assert_array_equal(net.forward(x).numpy(), net(x).numpy())
    assert net(x).tracked
    assert not net.forward(x).tracked
    assert net.forward(x) is not net.output


def test_results_that_a_person_keeps_stay_what_they_were_and_output_is_the_one_handle() -> None:
    net, criterion = Net().double(), nn.MSECriterion()
    kept, values, handle = [], [], None
    for i in range(3):
        x, t = RNG.normal(size=(3, 4)) + i, np.zeros((3, 2))
        y = net.forward(x)
        loss, g = criterion.forward(y, t), criterion.backward(y, t)
        kept += [y, loss, g, net.backward(x, g), net.updateGradInput(x, g)]
        values += [each.numpy().copy() for each in kept[-5:]]
        handle = handle or (net.output, net.gradInput, criterion.output)
        assert handle[0] is net.output
        assert handle[1] is net.gradInput
        assert handle[2] is criterion.output
        np.testing.assert_array_equal(net.output.numpy(), y.numpy())
    for each, value in zip(kept, values, strict=True):
        np.testing.assert_array_equal(each.numpy(), value)


def test_a_table_that_a_person_keeps_stays_what_it_was() -> None:
    net = nn.ConcatTable(nn.Linear(4, 2), nn.Linear(4, 3))
    first = net.forward(np.ones((1, 4)))
    values = [y.numpy().copy() for y in first]
    net.forward(np.zeros((1, 4)))
    for y, value in zip(first, values, strict=True):
        np.testing.assert_array_equal(y.numpy(), value)


def test_a_tracked_result_can_be_kept_and_differentiated_later() -> None:
    net, x = Net().double(), Parameter(RNG.normal(size=(3, 4)))
    first = net.forward(x)
    net.forward(x * 2)
    first.sum().backward()
    expected = grad(lambda x: np.sum(net(x)))(x.numpy()).numpy()
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12)


def test_backward_agrees_with_grad_for_inputs_and_parameters() -> None:
    net, x, g = Net().double(), RNG.normal(size=(3, 4)), RNG.normal(size=(3, 2))
    net.forward(x)
    got = net.backward(x, g)
    np.testing.assert_allclose(
        got.numpy(), grad(lambda x: np.sum(net(x) * g))(x).numpy(), rtol=1e-13
    )
    gathered = [p.grad.numpy().copy() for p in net.parameters()[0]]
    net.zeroGradParameters()
    np.sum(net(x) * g).backward()
    for ours, p in zip(gathered, net.parameters()[0], strict=True):
        np.testing.assert_allclose(p.grad.numpy(), ours, rtol=1e-13)


def test_super_forward_does_not_recurse() -> None:
    net, x = Doubled(), np.ones((1, 4), np.float32)
    plain = Net.updateOutput(net, Tensor(x))
    np.testing.assert_array_equal(net.forward(x).numpy(), (plain * 2).numpy())


def test_children_keep_their_output_and_grad_input() -> None:
    net, x = Net(), np.ones((3, 4), np.float32)
    net.backward(x, net.forward(x).numpy())
    assert net.first.output.shape == (3, 5)
    assert net.first.gradInput.shape == (3, 4)
    np.testing.assert_allclose(net.first.gradInput.numpy(), net.gradInput.numpy(), rtol=1e-6)
    assert net.rest[0].gradInput.shape == (3, 5)
    kept = net.first.output.numpy()
    before = kept.copy()
    net.forward(x + 1)
    np.testing.assert_array_equal(kept, before)  # the handle is rebound, not overwritten


def test_a_plain_call_keeps_nothing() -> None:
    net = Net()
    y = net(np.ones((1, 4), np.float32))
    reference = weakref.ref(y)
    del y
    assert reference() is None
    assert net.output.size == 0


def test_tracked_input_stays_tracked_through_forward() -> None:
    net, x = Net().double(), RNG.normal(size=(3, 4))
    through_forward = grad(lambda x: np.sum(net.forward(x) ** 2))(x)
    right = grad(lambda x: np.sum(net(x) ** 2))(x)
    np.testing.assert_array_equal(through_forward.numpy(), right.numpy())


def test_several_inputs_and_tables() -> None:
    class Mix(nn.Module):
        def updateOutput(self, a: Tensor, rest: list[Tensor]) -> dict[str, Tensor]:
            return {"sum": a + rest[0], "product": a * rest[1]}

    a, b, c = (RNG.normal(size=3) for _ in range(3))
    mix = Mix()
    out = mix.forward(a, [b, c])
    np.testing.assert_allclose(out["product"].numpy(), a * c)
    one, two = mix.backward([a, [b, c]], {"sum": np.ones(3), "product": np.full(3, 2.0)})
    np.testing.assert_allclose(one.numpy(), 1 + 2 * c)
    np.testing.assert_allclose(two[1].numpy(), 2 * a)


def test_a_list_of_numbers_is_an_array_written_out() -> None:
    layer = nn.Linear(3, 2).double()
    expected = layer.forward(np.array([[1.0, 2.0, 3.0]])).numpy().copy()
    np.testing.assert_array_equal(layer.forward([[1.0, 2.0, 3.0]]).numpy(), expected)
    assert layer.backward([[1.0, 2.0, 3.0]], [[1.0, 1.0]]).shape == (1, 3)


def test_integer_inputs_get_no_gradient() -> None:
    class Pick(nn.Module):
        def updateOutput(self, x: list[Tensor]) -> Tensor:
            return x[0][x[1]]

    pick, x = Pick(), [np.arange(3.0), np.array([1, 1])]
    np.testing.assert_array_equal(pick.forward(x).numpy(), [1, 1])
    g, nothing = pick.backward(x, np.ones(2))
    np.testing.assert_array_equal(g.numpy(), [0, 2, 0])
    assert nothing is None


# Layers with a hand-written gradient -----------------------------------------------------------


class SquareByHand(nn.Module):
    """y = w·x², with Torch7's methods written out; `factor` plants a mistake."""

    factor = 2.0

    def __init__(self) -> None:
        self.weight = Parameter(np.array([3.0]))
        self.scales: list[float] = []

    def updateOutput(self, x: Tensor) -> Tensor:
        return self.weight * x * x

    def updateGradInput(self, x: Tensor, g: Tensor) -> Tensor:
        self.gradInput = (self.weight * x * g * self.factor).detach()
        return self.gradInput

    def accGradParameters(self, x: Tensor, g: Tensor, scale: float = 1) -> None:
        self.scales.append(scale)
        self.gradWeight += Tensor(np.sum(np.asarray(x) ** 2 * np.asarray(g)) * scale)


def test_a_hand_written_gradient_is_used_alone_and_inside_others() -> None:
    layer, x = SquareByHand(), np.array([1.0, 2.0])
    layer.forward(x)
    np.testing.assert_array_equal(layer.backward(x, np.ones(2), 0.5).numpy(), [6, 12])
    assert layer.scales == [0.5]
    assert layer.gradWeight.numpy() == [2.5]
    chain = nn.Sequential(nn.Identity(), layer, nn.Identity())
    np.testing.assert_array_equal(chain.forward(x).numpy(), [3, 12])
    np.testing.assert_array_equal(chain.backward(x, np.ones(2), 0.5).numpy(), [6, 12])
    assert layer.gradWeight.numpy() == [5.0]
    np.testing.assert_array_equal(grad(lambda x: np.sum(chain(x)))(x).numpy(), [6, 12])
    assert layer.gradWeight.numpy() == [5.0]  # grad puts the buffers back
    layer.factor = 4.0
    np.testing.assert_array_equal(grad(lambda x: np.sum(chain(x)))(x).numpy(), [12, 24])


def test_super_gives_the_tapes_gradient_to_a_hand_written_layer() -> None:
    class Clipped(nn.Linear):
        def updateGradInput(self, x: Tensor, g: Tensor) -> Tensor:
            return np.clip(super().updateGradInput(x, g), -0.1, 0.1)

    layer, x = Clipped(3, 2), np.ones((1, 3), np.float32)
    layer.weight.detach()[...] = 1.0
    chain = nn.Sequential(nn.Identity(), layer)
    chain.forward(x)
    np.testing.assert_array_equal(
        chain.backward(x, np.ones((1, 2), np.float32)).numpy(), np.full((1, 3), np.float32(0.1))
    )


def test_a_hand_written_gradient_has_no_second_derivative_and_says_so() -> None:
    layer = SquareByHand()
    with pytest.raises(RuntimeError, match="SquareByHand has a hand-written gradient"):
        grad(grad(lambda x: np.sum(layer(x))))(1.0)


# Bad input -------------------------------------------------------------------------------------


def test_a_wrong_shape_names_the_path_and_changes_no_state() -> None:
    devices.manual_seed(0)
    model = nn.Sequential(
        nn.BatchNormalization(4), nn.Dropout(0.5), nn.Sequential(nn.Tanh(), nn.Linear(5, 3))
    )
    x = np.ones((3, 4), np.float32)
    before = {k: v.copy() for k, v in model.state_dict().items()}
    draws = devices.generator("cpu").get_state()
    with pytest.raises(
        nn.ShapeError,
        match=r"^Sequential\[2\]\.Sequential\[1\]\.Linear: last axis .* is 4, inputSize is 5$",
    ):
        model.forward(x)
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())
    assert devices.generator("cpu").get_state() == draws
    assert model.output.size == 0

    net = Net()
    with pytest.raises(nn.ShapeError, match=r"^Net\.first\.Linear: "):
        net.forward(np.ones((2, 7)))
    net.rest[0] = nn.Linear(6, 5)
    with pytest.raises(nn.ShapeError, match=r"^Net\.rest\[0\]\.Linear: "):
        net(np.ones((2, 4)))


def test_other_errors_carry_the_path_as_a_note() -> None:
    class Broken(nn.Module):
        def updateOutput(self, x: Tensor) -> Tensor:
            return x @ np.ones((9, 9))

    with pytest.raises(ValueError, match="matmul") as caught:
        nn.Sequential(nn.Tanh(), Broken()).forward(np.ones((2, 4)))
    assert caught.value.__notes__ == ["in module Sequential[1].Broken"]


def test_backward_wants_the_input_of_the_last_forward() -> None:
    layer, x = nn.Linear(3, 2).double(), RNG.normal(size=(4, 3))
    g = np.ones((4, 2))
    with pytest.raises(RuntimeError, match=r"Linear\.backward: call forward"):
        layer.backward(x, g)
    layer.forward(x)
    layer.backward(x.copy(), g)  # equal bits are the same input
    before = layer.gradWeight.numpy().copy()
    for other in (x + 1, x[:2], x.astype(np.float32), [x, x]):
        with pytest.raises(ValueError, match="not the one of the last forward"):
            layer.backward(other, g)
    with pytest.raises(nn.ShapeError, match=r"gradOutput has shape \(4, 3\)"):
        layer.backward(x, np.ones((4, 3)))
    np.testing.assert_array_equal(layer.gradWeight.numpy(), before)
    with no_grad():
        layer.forward(x)
    with pytest.raises(RuntimeError, match="no_grad"):
        layer.backward(x, g)


def test_a_criterion_wants_its_input_and_target() -> None:
    criterion, x, t = nn.MSECriterion(), np.ones(3), np.zeros(3)
    assert float(criterion.forward(x, t)) == 1.0
    with pytest.raises(ValueError, match="the input is not"):
        criterion.backward(x + 1, t)
    with pytest.raises(ValueError, match="the target is not"):
        criterion.backward(x, t + 1)
    np.testing.assert_allclose(criterion.backward(x, t).numpy(), np.full(3, 2 / 3))


def test_a_module_without_forward_code_says_what_to_write() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="updateOutput"):
        Empty().forward(np.ones(1))
    with pytest.raises(TypeError, match="both forward and updateOutput"):
        type("Both", (nn.Module,), {"forward": lambda s, x: x, "updateOutput": lambda s, x: x})


# Parameters ------------------------------------------------------------------------------------


def test_parameters_are_found_in_attributes_lists_and_dicts_once() -> None:
    net = Net()
    names = [name for name, _ in net.named_parameters()]
    assert names == [
        "scale",
        "first.weight",
        "first.bias",
        "rest.0.weight",
        "rest.0.bias",
        "rest.1.last.weight",
        "rest.1.last.bias",
    ]
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied.get(1).weight = tied.get(0).weight
    assert len(tied.parameters()[0]) == 3
    assert [n for n, _ in tied.named_parameters()] == ["0.weight", "0.bias", "1.bias"]


def test_get_parameters_makes_views_that_stay_alive() -> None:
    net, x = Net(), np.ones((2, 4), np.float32)
    flat, flat_grad = net.getParameters()
    assert flat.size == sum(p.size for p in net.parameters()[0])
    flat *= 0.5
    assert all(np.shares_memory(p.numpy(), flat.numpy()) for p in net.parameters()[0])
    assert net.scale.numpy() == [0.5]
    net.backward(x, net.forward(x).numpy())
    assert np.shares_memory(net.first.gradWeight.numpy(), flat_grad.numpy())
    np.testing.assert_array_equal(
        flat_grad.numpy(), np.concatenate([g.numpy().ravel() for g in net.parameters()[1]])
    )
    again, again_grad = net.getParameters()
    assert again is flat
    assert again_grad is flat_grad
    copied = net.clone()
    theirs, _ = copied.getParameters()
    theirs += 1
    assert net.scale.numpy() == [0.5]
    net.double()
    assert net.getParameters()[0].dtype == np.float64
    net.scale.rebind(np.ones(1, np.float32))
    with pytest.raises(ValueError, match=r"float32 on cpu \(scale\), float64 on cpu"):
        net.getParameters()


def test_share_aliases_memory_and_clone_parts_it() -> None:
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.share(a, "weight", "gradWeight")
    assert np.shares_memory(a.weight.numpy(), b.weight.numpy())
    assert not np.shares_memory(a.bias.numpy(), b.bias.numpy())
    pair = nn.Sequential(a, b)
    copied = pair.clone()
    assert np.shares_memory(copied.get(0).weight.numpy(), copied.get(1).weight.numpy())
    assert not np.shares_memory(copied.get(0).weight.numpy(), a.weight.numpy())
    assert pair.double().get(0).weight.dtype == np.float64
    assert np.shares_memory(a.weight.numpy(), b.weight.numpy())
    named = pair.clone("weight")
    assert np.shares_memory(named.get(0).weight.numpy(), a.weight.numpy())
    assert not np.shares_memory(named.get(0).bias.numpy(), a.bias.numpy())


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_leave_the_tape_behind(copier) -> None:
    net, x = Net(), np.ones((2, 4), np.float32)
    net.backward(x, net.forward(x).numpy())
    other = copier(net)
    np.testing.assert_array_equal(other(x).numpy(), net(x).numpy())
    assert other._tapegrad_run is None
    assert other.output.size == 0
    with pytest.raises(RuntimeError, match="call forward"):
        other.backward(x, np.ones((2, 2)))


def test_state_dict_round_trip_names_every_difference() -> None:
    a, b = (nn.Sequential(nn.Linear(2, 3), nn.BatchNormalization(3)) for _ in range(2))
    a.forward(RNG.normal(size=(5, 2)).astype(np.float32))
    b.load_state_dict(a.state_dict())
    for name, value in b.state_dict().items():
        np.testing.assert_array_equal(value, a.state_dict()[name])
    state = a.state_dict()
    state["extra"] = state.pop("0.weight")
    before = b.state_dict()
    with pytest.raises(KeyError, match=r"missing \['0.weight'\].*\['extra'\]"):
        b.load_state_dict(state)
    state = a.state_dict() | {"0.bias": np.ones(7)}
    with pytest.raises(ValueError, match=r"0\.bias is \(7,\), expected \(3,\)"):
        b.load_state_dict(state)
    assert all(np.array_equal(before[k], v) for k, v in b.state_dict().items())


def test_clear_state_drops_outputs_and_tape() -> None:
    net, x = Net(), np.ones((2, 4), np.float32)
    net.backward(x, net.forward(x).numpy())
    assert net.clearState() is net
    assert net.output.size == net.gradInput.size == net.first.output.size == 0
    gc.collect()
    with pytest.raises(RuntimeError):
        net.backward(x, np.ones((2, 2)))


def test_a_module_without_parameters_has_a_type_of_its_own(tmp_path: Path) -> None:
    for module in (nn.Tanh(), nn.MSECriterion()):
        assert module.type() == np.float32
        assert module.double().type() == np.float64
        module.save(tmp_path / "m.safetensors")
        for again in (module.clone(), nn.load(tmp_path / "m.safetensors")):
            assert again.type() == np.float64
        assert module.float().type() == np.float32
    inner = nn.DontCast(nn.Tanh().double())
    assert nn.Sequential(inner).float().type() == np.float32
    assert inner.get(0).type() == np.float64


def test_what_two_modules_share_stays_shared_with_a_cache() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.share(first, "weight", "bias")
    cache: dict[Any, Any] = {}
    first.double(cache)
    second.double(cache)
    assert np.shares_memory(first.weight.numpy(), second.weight.numpy())
    assert first.float(cache).weight.dtype == np.float32


def test_type_conversions_chain_and_refuse_integers() -> None:
    layer = nn.BatchNormalization(3)
    assert layer.type() == np.float32
    assert layer.double() is layer
    assert layer.running_mean.dtype == layer.weight.dtype == np.float64
    assert layer.type("torch.FloatTensor").weight.dtype == np.float32
    with pytest.raises(TypeError, match="not floating point"):
        layer.type(np.int64)
    with pytest.raises(devices.DeviceError):
        layer.to("cuda:99")


def test_train_and_evaluate_reach_all_modules() -> None:
    net = nn.Sequential(Net(), nn.Sequential(nn.Dropout()))
    assert net.evaluate() is net
    assert not any(m.train for m in net.listModules())
    assert net.training() is net
    assert all(m.train for m in net.listModules())
    seen = []
    assert net.apply(seen.append) is net
    assert seen == net.listModules()
    assert seen[0] is net


# Showing ---------------------------------------------------------------------------------------


def test_a_module_shows_itself_as_a_table() -> None:
    net = Net()
    net.forward(np.ones((2, 4), np.float32))
    text, html = net.summary(), net._repr_html_()
    assert "weight 5×4, bias 5" in text
    assert "2×5" in text  # the output of `first`
    assert f"{sum(p.size for p in net.parameters()[0])} parameters" in text
    assert html.startswith("<table>")
    assert "nn.Linear(4 -&gt; 5)" in html
    assert repr(net).startswith("Net {")


def test_a_plain_call_leaves_nothing_and_a_stateful_one_an_object_of_its_own():
    net, x = Net(), np.ones((2, 4), np.float32)
    before = [dict(vars(part)) for part in net.listModules()]
    net(x)
    assert [dict(vars(part)) for part in net.listModules()] == before
    net.backward(x, net.forward(x))
    net.getParameters()
    for part, old in zip(net.listModules(), before, strict=True):
        assert vars(part).keys() - old.keys() == {"_tapegrad_run"}
    net.clearState()
    assert net.getParameters()[0] is net.getParameters()[0]
    assert net.output.shape == (0,)


def test_a_shallow_copy_has_a_tape_of_its_own():
    layer, x = nn.Linear(4, 2), np.ones((3, 4), np.float32)
    layer.forward(x)
    other = copy.copy(layer)
    assert other.weight is layer.weight
    with pytest.raises(RuntimeError, match="call forward"):
        other.backward(x, np.ones((3, 2)))
    other.forward(2 * x)
    layer.backward(x, np.ones((3, 2)))


def test_a_failing_call_leaves_the_copies_of_a_map_as_they_were():
    mapped = nn.MapTable(nn.Linear(2, 2))
    model = nn.Sequential(mapped, nn.JoinTable(0), nn.Linear(5, 1))
    [only] = mapped.modules
    with pytest.raises(nn.ShapeError):
        model.forward([np.ones((1, 2), np.float32)] * 3)
    assert mapped.modules == [only]


def test_conversion_lets_go_of_flat_buffers_and_tape():
    net, x = Net(), np.ones((2, 4), np.float32)
    flat, _ = net.getParameters()
    net.forward(x)
    gone = weakref.ref(flat), weakref.ref(net._tapegrad_run.trace.root)
    del flat
    assert all(reference() is not None for reference in gone)
    net.double()
    assert all(reference() is None for reference in gone)


def test_a_class_that_takes_the_name_of_passing_state_is_refused():
    with pytest.raises(TypeError, match=r"Mine\._tapegrad_run is where calls leave their results"):

        class Mine(nn.Module):
            def _tapegrad_run(self, x):
                return x


def test_methods_of_each_system_are_a_mixin_without_state():
    assert [base.__name__ for base in nn.Module.__bases__] == ["BigDL", "Torch7", "Python", "Part"]
    assert not nn.Module._by_hand
    assert not nn.Linear._by_hand
    assert [name for name in vars(nn.Module) if name in {"backward", "state_dict"}] == []
