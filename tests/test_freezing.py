"""Frozen modules beside modules that learn the same Parameters: in one model, and in threads."""

import copy
import pickle
import tempfile
import threading

import numpy as np
import pytest

from tapegrad import nn, optim
from tapegrad.autograd import Parameter, Tensor, checkpoint, detect_anomaly, vmap

X = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]])


class Weighted(nn.Module):
    """y = x·w, with something in the middle that a test gives."""

    def __init__(self, weight, between=None):
        self.weight = weight
        self.between = between

    def updateOutput(self, x):
        y = x * self.weight
        if self.between is not None:
            y = self.between(y)
        return y * self.weight


def weight() -> Parameter:
    return Parameter(np.array([2.0, 3.0, 5.0]))


def in_thread(function):
    """Run `function` in a thread of its own and raise what it raises."""
    errors = []

    def run():
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # raised again below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_another_module_learns_the_shared_weight_while_the_frozen_one_runs_in_another_thread():
    w = weight()
    learning = Weighted(w)

    def meanwhile(y):
        def learn():
            assert w.tracked
            learning(Tensor(X)).sum().backward()

        in_thread(learn)
        return y

    frozen = Weighted(w, meanwhile).freeze()
    assert not frozen(Tensor(X)).tracked
    np.testing.assert_allclose(w.grad.numpy(), (2 * w.numpy() * X).sum(0))


def test_two_threads_in_the_same_frozen_module_leave_the_weight_tracked():
    w = weight()
    first_in, second_in = threading.Event(), threading.Event()
    arrived = iter((first_in, second_in))

    def meet(y):
        mine = next(arrived)
        mine.set()
        assert second_in.wait(30)
        if mine is second_in:  # goes on when the first has left
            first.join(30)
        return y

    frozen = Weighted(w, meet).freeze()
    results = []
    first = threading.Thread(target=lambda: results.append(frozen(Tensor(X))))
    first.start()
    assert first_in.wait(30)
    in_thread(lambda: results.append(frozen(Tensor(X))))
    assert [y.tracked for y in results] == [False, False]
    assert w.tracked
    frozen.between = None
    frozen.unfreeze()(Tensor(X)).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), (2 * w.numpy() * X).sum(0))


@pytest.mark.parametrize("stateful", [False, True])
def test_a_child_that_learns_the_weight_of_a_frozen_module_goes_on_learning_it(stateful):
    w = weight()
    child = Weighted(w)
    parent = Weighted(w, child).freeze()
    child.unfreeze()
    assert parent.parameters()[0] == [w]
    parent.zeroGradParameters()
    x = Parameter(X)
    if stateful:
        parent.forward(X)
        parent.backward(X, np.ones_like(X))
        passed = parent.gradInput.numpy()
    else:
        parent(x).sum().backward()
        passed = x.grad.numpy()
    np.testing.assert_allclose(w.grad.numpy(), (2 * w.numpy() ** 3 * X).sum(0))
    np.testing.assert_allclose(passed, np.broadcast_to(w.numpy() ** 4, X.shape))


@pytest.mark.parametrize("stateful", [False, True])
def test_what_a_frozen_module_hands_on_of_its_own_is_a_constant(stateful):
    class Handing(nn.Module):
        def __init__(self):
            self.weight = weight()
            self.child = nn.CMulTable()

        def updateOutput(self, x):
            return [self.child([x, self.weight]), self.weight]

    module = Handing()
    module.freeze()
    if stateful:
        product, given = module.forward(X[0])
        module.backward(X[0], [np.ones(3), np.ones(3)])
    else:
        product, given = module(Tensor(X[0]))
    assert not product.tracked
    assert not given.tracked
    assert module.weight.grad is None
    np.testing.assert_array_equal(product.numpy(), X[0] * module.weight.numpy())
    assert given.numpy() is module.weight.numpy()


def test_parameters_in_lists_and_dicts_are_frozen_too():
    class Nested(nn.Module):
        def __init__(self):
            self.parts = [weight(), {"deep": (weight(), None)}]

        def updateOutput(self, x):
            return x * self.parts[0] * self.parts[1]["deep"][0]

    module = Nested()
    assert len(module.parameters()[0]) == 2
    module.freeze()
    assert not module(Tensor(X)).tracked
    assert module.parameters()[0] == []
    assert sorted(module.state_dict()) == ["parts.0", "parts.1.deep.0"]
    module.unfreeze()
    assert module(Tensor(X)).tracked


def test_a_frozen_container_may_use_what_lies_in_a_frozen_module_below_it():
    class Tied(nn.Module):
        def __init__(self):
            self.encode = nn.Linear(3, 2, False).double()

        def updateOutput(self, x):
            return self.encode(x) @ self.encode.weight

    module = Tied().freeze()
    assert not module(Tensor(X)).tracked
    module.unfreeze()
    module(Tensor(X)).sum().backward()
    assert module.encode.weight.grad is not None


def test_gradients_can_be_read_and_set_in_the_forward_code_of_a_frozen_module():
    module = Weighted(weight())

    def count(y):
        module.weight.grad = np.full(3, 7.0)
        assert module.weight.grad.numpy().sum() == 21
        with pytest.raises(ValueError, match="shape"):
            module.weight.grad = np.ones(2)
        assert not module.weight.tracked
        return y

    module.between = count
    module.freeze()(Tensor(X))
    assert module.weight.grad.numpy().sum() == 21
    assert module.weight.tracked


def test_a_checkpoint_in_a_frozen_module_computes_with_constants_both_times():
    module = Weighted(weight())
    module.between = checkpoint(lambda y: y * module.weight)
    x = Parameter(X)
    module.freeze()(x).sum().backward()
    assert module.weight.grad is None
    np.testing.assert_allclose(x.grad.numpy(), np.broadcast_to(module.weight.numpy() ** 3, X.shape))


def test_a_layer_that_is_given_a_frozen_weight_learns_it_before_it_was_called():
    """An optimizer of a list knows what is frozen from the Parameter alone."""
    frozen = nn.Linear(2, 2)
    model = nn.Sequential(frozen)
    optimizer = optim.SGD(model.parameters()[0], lr=0.1)
    x = np.ones((1, 2), np.float32)
    model.forward(x)
    model.backward(x, x)
    frozen.freeze()
    assert frozen.weight.frozen
    before = frozen.weight.numpy().copy()
    layer, listed = nn.Linear(2, 2), Weighted(weight())
    layer.freeze()
    layer.weight = frozen.weight
    assert frozen.weight.frozen, "all that hold it are frozen"
    listed.more = [{"w": frozen.weight}]
    assert not frozen.weight.frozen
    del listed.more
    assert frozen.weight.frozen
    layer.unfreeze()
    assert not frozen.weight.frozen
    optimizer.step()
    assert (frozen.weight.numpy() != before).all()


def through_a_file(ending):
    def copier(module):
        with tempfile.TemporaryDirectory() as folder:
            nn.save(module, f"{folder}/model{ending}")
            return nn.load(f"{folder}/model{ending}")

    return copier


COPIERS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "clone": lambda m: m.clone(),
    "file": through_a_file(".safetensors"),
}


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("copier", COPIERS.values(), ids=COPIERS)
def test_what_learns_beside_a_frozen_layer_learns_in_copies_too(copier, first):
    """Neither the model nor its copy was called."""
    layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
    layers[1].weight = layers[0].weight
    layers[first].freeze()
    model = nn.Sequential(*layers)
    for each in (model, copier(model)):
        assert each[0].weight is each[1].weight
        assert not each[0].weight.frozen
        assert each[first].bias.frozen
        assert not each[1 - first].bias.frozen


@pytest.mark.parametrize("ending", [".safetensors", ".t7"])
def test_what_a_file_shares_learns_beside_a_layer_that_is_frozen_after_loading(ending):
    layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
    layers[1].weight = layers[0].weight
    model = through_a_file(ending)(nn.Sequential(*layers))
    model[0].freeze()
    assert not model[0].weight.frozen
    assert model[0].bias.frozen


def test_a_copy_keeps_what_an_optimizer_shares_with_the_model():
    """It still has the Parameters of a layer that was replaced, whose memory its clone has."""
    model = nn.Sequential(nn.Linear(2, 2))
    optimizer = optim.SGD(model.parameters()[0], lr=0.1)
    model.add(model[0].clone("weight", "bias"))
    model[0] = nn.Linear(2, 2)
    model.getParameters()
    model[0].weight = Parameter(np.ones((2, 2), np.float32))  # no longer in the flat buffer
    copied, optimizers = copy.deepcopy((model, [optimizer]))
    for m, o in ((model, optimizer), (copied, optimizers[0])):
        old = next(iter(o.named.values()))
        assert np.shares_memory(old.numpy(), m[1].weight.numpy())
        assert not np.shares_memory(old.numpy(), model[1].weight.numpy()) or m is model


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_frozen_modules_are_frozen(copier):
    module = copier(nn.Linear(3, 2).double().freeze())
    assert not module(Tensor(X)).tracked
    assert module.unfreeze()(Tensor(X)).tracked


def test_a_frozen_module_comes_back_from_a_file_frozen(tmp_path):
    module = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double().freeze()
    module.save(tmp_path / "frozen.safetensors")
    again = nn.load(tmp_path / "frozen.safetensors")
    np.testing.assert_array_equal(again(Tensor(X)).numpy(), module(Tensor(X)).numpy())
    assert not again(Tensor(X)).tracked
    assert isinstance(again.get(0).weight, Parameter)
    assert again.unfreeze()(Tensor(X)).tracked


def test_a_class_of_parameters_of_ones_own_stays_that_class():
    class Named(Parameter):
        def __init__(self, data, name):
            super().__init__(data)
            self.name = name

    p = Named(np.array([1.0, 2.0, 4.0]), "scale")
    module = Weighted(p).freeze()
    assert not module(Tensor(X)).tracked
    assert isinstance(p, Named)
    assert p.name == "scale"
    assert repr(p).startswith("Named([1.")
    assert repr(weight()) == repr(Weighted(weight()).freeze().weight)


class ByHand(nn.Module):
    """y = x·w, whose gradient is written as in Torch7."""

    def __init__(self):
        self.weight = weight()

    def updateOutput(self, x):
        return x * self.weight

    def updateGradInput(self, input, gradOutput):
        self.gradInput = Tensor(gradOutput.numpy() * self.weight.numpy())
        return self.gradInput

    def accGradParameters(self, input, gradOutput, scale=1):
        gradient = Tensor((input.numpy() * gradOutput.numpy()).sum(0) * scale)
        self.weight.grad = gradient if self.weight.grad is None else self.weight.grad + gradient


@pytest.mark.parametrize("make", [lambda: Weighted(weight()), lambda: nn.Linear(3, 3).double()])
def test_batches_and_anomaly_mode_find_constants_too(make):
    module = make().freeze()
    samples = vmap(module)(Tensor(X))
    np.testing.assert_allclose(samples.numpy(), module(Tensor(X)).numpy())
    assert not samples.tracked
    x = Parameter(X)
    with detect_anomaly():
        module(x).sum().backward()
    assert x.grad is not None
    assert module.weight.grad is None


@pytest.mark.parametrize("wrap", [nn.Sequential, lambda module: module])
def test_a_hand_written_gradient_of_a_frozen_module_reaches_the_input_alone(wrap):
    module = ByHand()
    model = wrap(module)
    x, g = Tensor(X), Tensor(np.ones_like(X))
    for frozen in (True, False):
        (module.freeze if frozen else module.unfreeze)()
        model.forward(x)
        model.backward(x, g)
        expected = np.broadcast_to(module.weight.numpy(), X.shape)
        np.testing.assert_array_equal(model.gradInput.numpy(), expected)
        assert (module.weight.grad is None) is frozen
    np.testing.assert_array_equal(module.weight.grad.numpy(), X.sum(0))
