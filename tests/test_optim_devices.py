"""Optimizers on other devices: each steps there as on the CPU, whatever its rate is made of."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import Tensor, devices, nn, optim
from tapegrad.autograd.core import zeros

ELSEWHERE = ["strict", pytest.param("cuda", marks=pytest.mark.cuda)]
CLASSES = [
    value
    for name in optim.__all__
    if isinstance(value := getattr(optim, name), type)
    and issubclass(value, optim.Optimizer)
    and hasattr(value, "rule")
]


def trained(make, device, steps=4):
    """The weights of a layer after some steps."""
    devices.manual_seed(0)
    model = nn.Linear(3, 2, bias=False).to(device)  # Muon wants matrices
    x = Tensor(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32), device=device)
    optimizer = make(model)
    for _ in range(steps):
        optimizer.zero_grad()
        ((model(x) - 1) ** 2).mean().backward()
        optimizer.step()
    assert str(model.weight.device).startswith(device)
    return model.weight.numpy()


@pytest.mark.parametrize("device", ELSEWHERE)
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_optimizer_steps_as_on_the_cpu(kind, device):
    start = trained(kind, "cpu", steps=0)
    expected = trained(kind, "cpu")
    assert not np.array_equal(expected, start)
    np.testing.assert_allclose(trained(kind, device), expected, rtol=1e-5, atol=1e-7)


def set_later(model):
    optimizer = optim.SGD(model, lr=1.0)
    optimizer.lr = 0.05
    return optimizer


RATES = {
    "a number": lambda model: optim.Adam(model, lr=0.05),
    "a number set later": set_later,
    "a schedule": lambda model: optim.Adam(model, lr=optim.cosine_decay(0.05, 10)),
    "a plateau's, on the CPU": lambda model: optim.Adam(model, lr=optim.ReduceOnPlateau(0.05).rate),
    "of a group": lambda model: optim.Adam(model, groups=[{"params": "weight", "lr": 0.05}]),
    "with clipping": lambda model: optim.SGD(model, lr=0.5, clip_grad_norm=0.1),
    "with clipped numbers": lambda model: optim.SGD(model, lr=0.5, clip_grad_value=0.1),
    "accumulated": lambda model: optim.SGD(model, lr=0.5, accumulate=2),
}


@pytest.mark.parametrize("device", ELSEWHERE)
@pytest.mark.parametrize("make", RATES.values(), ids=RATES.keys())
def test_a_rate_serves_wherever_it_lies(make, device):
    np.testing.assert_allclose(trained(make, device), trained(make, "cpu"), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("device", ELSEWHERE)
def test_the_rate_lies_with_the_parameters_and_so_in_copies_and_after_loading(device):
    import copy

    model = nn.Linear(3, 2).to(device)
    optimizer = optim.Adam(model, lr=0.05)
    for one in (optimizer, copy.deepcopy(optimizer)):
        assert one.groups[0].rate.device == model.weight.device
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.groups[0].rate.device == model.weight.device
    optimizer.groups[0].options = {"lr": 0.1}
    assert optimizer.groups[0].rate.device == model.weight.device


@pytest.mark.parametrize("device", ELSEWHERE)
@pytest.mark.parametrize("wrap", [lambda step: step, tg.compile], ids=["eager", "compiled"])
def test_a_table_of_which_few_rows_are_looked_up_learns_as_on_the_cpu(wrap, device, monkeypatch):
    monkeypatch.setattr(zeros, "LEAST_LAUNCHED", 256)

    def trained(device):
        devices.manual_seed(0)
        model = nn.LookupTable(300, 8).to(device)
        optimizer, rng = optim.SGD(model, lr=lambda t: 0.1 / (1 + t)), np.random.default_rng(0)

        def body(i):
            optimizer.zero_grad()
            (model(i) ** 2).sum().backward()
            optimizer.step()

        step = wrap(body)
        for _ in range(6):
            step(Tensor(rng.integers(0, 300, 12), device=device))
        return model.weight.numpy(), model.weight.grad.numpy()

    for found, expected in zip(trained(device), trained("cpu"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
