"""The demo's network as one function of its parameters: its derivatives, of first and second order.

Everything the network is made of meets here: convolution, batch normalization in both modes,
pooling, dropout, rectifiers and the criterion, differentiated twice and compared with finite
differences of the loss.
"""

import numpy as np
import pytest

from tapegrad import _demo, devices, nn
from tapegrad.autograd.check import check_gradients


def loss_of_parameters(model, images, labels):
    """The function parameters -> loss, and the parameters: arrays by dotted name, in float64."""
    criterion = nn.CrossEntropyCriterion()
    owners = dict(model.named_modules())
    names = [name for name, _ in model.named_parameters()]

    def loss(values):
        for name in names:
            owner, _, attribute = name.rpartition(".")
            setattr(owners[owner], attribute, None)  # a computed weight takes its place
            setattr(owners[owner], attribute, values[name])
        devices.manual_seed(0)  # the same units drop out in every call
        return criterion(model(images), labels)

    return loss, {name: np.array(p.numpy()) for name, p in model.named_parameters()}


@pytest.mark.extra
@pytest.mark.parametrize("mode", ["training", "evaluate"])
def test_the_demo_loss_has_right_first_and_second_derivatives(mode):
    devices.manual_seed(0)
    digits = _demo.load_digits(0)
    model = _demo.LeNet().double()
    getattr(model, mode)()
    loss, values = loss_of_parameters(
        model, digits.test_images[:6].astype(float), digits.test_labels[:6]
    )
    report = check_gradients(loss, values, order=2, name="LeNet's loss")
    assert report.verdict == "ok", report


def fitted(device, *, compiled=False):
    """A model fitted on `device` to the zeros and ones among the digits, and its curve."""
    devices.manual_seed(0)
    digits = _demo.load_digits(0)
    train, test = digits.train_labels < 2, digits.test_labels < 2
    few = _demo.Digits(
        digits.train_images[train][:128],
        digits.train_labels[train][:128],
        digits.test_images[test],
        digits.test_labels[test],
    )
    device = devices.device(device)
    model = _demo.LeNet().to(device)
    curve = _demo.train_model(model, few, device=device, epochs=4, seed=0, compiled=compiled)
    return model, curve


def test_the_network_learns_to_tell_two_digits_apart_in_a_few_steps():
    _, curve = fitted("cpu")
    assert len(curve.loss) == len(curve.accuracy) == 4
    assert curve.loss[-1] < curve.loss[0]
    assert curve.accuracy[-1] > 0.95


def test_the_network_learns_the_same_with_a_compiled_step():
    eager, compiled = fitted("cpu")[1], fitted("cpu", compiled=True)[1]
    np.testing.assert_allclose(compiled.loss, eager.loss, rtol=2e-3)
    assert compiled.accuracy[-1] > 0.95


@pytest.mark.parametrize("device", ["strict", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_the_network_learns_on_other_devices(device, tmp_path):
    model, curve = fitted(device)
    assert curve.loss[-1] < curve.loss[0]
    assert curve.accuracy[-1] > 0.95
    assert {p.device for p in model.parameters()[0]} == {devices.device(device)}
    # What was learned there is saved and loads anywhere.
    _demo.save_parameters(model, tmp_path / "model.safetensors")
    here = _demo.LeNet()
    _demo.load_parameters(here, tmp_path / "model.safetensors")
    images = _demo.load_digits(0).test_images
    there = _demo.compute_scores(model, images, devices.device(device))
    on_cpu = _demo.compute_scores(here, images, "cpu")
    np.testing.assert_allclose(on_cpu, there, rtol=1e-4, atol=1e-4)
