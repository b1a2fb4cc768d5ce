"""`Trainer(compile=True)` and `model.compile`: the same training, compiled."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

X = np.random.default_rng(0).normal(size=(70, 6)).astype("f")
LABELS = np.random.default_rng(1).integers(0, 3, 70)


def network():
    tg.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNormalization(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
    )


def trained(criterion=None, data=(X, LABELS), epochs=3, *, compiled, **settings):
    accumulate = settings.pop("accumulate", 1)
    model = network()
    sgd = optim.SGD(
        model, lr=optim.cosine_decay(0.1, 60), momentum=0.9, accumulate=accumulate, clip_grad_norm=1
    )
    criterion = criterion or nn.CrossEntropyCriterion()
    trainer = optim.Trainer(model, criterion, sgd, progress=False, compile=compiled, **settings)
    tg.manual_seed(4)
    trainer.fit(data, epochs=epochs, batch_size=20)
    return trainer


def assert_equal_runs(a, b):
    assert a.step_losses == pytest.approx(b.step_losses, rel=1e-5)
    assert [h["loss"] for h in a.history] == pytest.approx([h["loss"] for h in b.history], rel=1e-5)
    there = b.model.state_dict()
    for name, array in a.model.state_dict().items():
        np.testing.assert_allclose(array, there[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_compiled_trainer_learns_the_same(accumulate):
    compiled = trained(compiled=True, accumulate=accumulate)
    assert_equal_runs(compiled, trained(compiled=False, accumulate=accumulate))
    assert compiled._gradients.recorded >= 2  # batches of 20 and the last one of 10


def test_ignored_labels_count_for_nothing_in_a_compiled_mean():
    labels = np.where(np.arange(70) % 3 == 0, -100, LABELS)
    data = (X, labels)
    assert_equal_runs(trained(data=data, compiled=True), trained(data=data, compiled=False))


def test_compiled_losses_of_samples_are_weighted():
    data = (X, LABELS, np.random.default_rng(2).uniform(0, 2, 70))
    runs = [
        trained(
            nn.CrossEntropyCriterion(reduction="none"),
            data,
            compiled=compiled,
            sample_weights=True,
        )
        for compiled in (True, False)
    ]
    assert_equal_runs(*runs)


def test_a_loss_that_is_not_finite_changes_nothing_in_a_compiled_trainer():
    trainer = trained(compiled=True)
    before = trainer.model.state_dict()
    steps = trainer.step_count
    with pytest.raises(FloatingPointError, match="no parameter was updated"):
        trainer.fit((np.full_like(X, np.nan), LABELS), epochs=1, batch_size=20)
    after = trainer.model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    trainer.fit((X, LABELS), epochs=1, batch_size=20)
    assert trainer.step_count == steps + 4
    assert all(np.isfinite(array).all() for array in trainer.model.state_dict().values())


def test_a_compiled_trainer_resumes_with_equal_bits(tmp_path):
    whole = trained(compiled=True, epochs=4)
    trained(compiled=True, epochs=2, folder=tmp_path)
    model = network()
    sgd = optim.SGD(model, lr=optim.cosine_decay(0.1, 60), momentum=0.9, clip_grad_norm=1)
    resumed = optim.Trainer(
        model, nn.CrossEntropyCriterion(), sgd, progress=False, compile=True, folder=tmp_path
    )
    resumed.fit((X, LABELS), epochs=4, batch_size=20, resume=True)
    # The steps that record are eager, those after them compiled: bits may differ by rounding.
    assert_equal_runs(resumed, whole)


def test_a_layer_frozen_between_compiled_epochs_stays_as_it_is():
    trainer = trained(compiled=True)
    trainer.model[0].freeze()
    kept = trainer.model[0].weight.numpy().copy()
    trainer.fit((X, LABELS), epochs=2, batch_size=20)
    assert np.array_equal(trainer.model[0].weight.numpy(), kept)
    other = trainer.model[4].weight.numpy().copy()
    trainer.model[0].unfreeze()
    trainer.fit((X, LABELS), epochs=1, batch_size=20)
    assert not np.array_equal(trainer.model[0].weight.numpy(), kept)
    assert not np.array_equal(trainer.model[4].weight.numpy(), other)


def test_compile_of_a_module_is_a_training_step():
    def losses(make_step):
        model = network()
        tg.manual_seed(5)
        step = make_step(model, nn.CrossEntropyCriterion(), optim.Adam(model, lr=0.01))
        return [float(step(X, LABELS)) for _ in range(6)]

    def eager(model, criterion, optimizer):
        def step(x, target):
            optimizer.zero_grad()
            loss = criterion(model(x), target)
            loss.backward()
            optimizer.step()
            return loss

        return step

    compiled = losses(lambda model, criterion, optimizer: model.compile(criterion, optimizer))
    assert compiled == pytest.approx(losses(eager), rel=1e-4)


def test_compile_of_a_module_alone_is_its_compiled_call():
    model = network().evaluate()
    call = model.compile()
    expected = model(X).numpy()
    for _ in range(4):
        np.testing.assert_allclose(call(X).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_compile_refuses_half_a_step_and_the_other_order():
    model = network()
    sgd = optim.SGD(model, lr=0.1)
    with pytest.raises(TypeError, match="criterion and an optimizer"):
        model.compile(nn.MSECriterion())
    with pytest.raises(TypeError, match="found SGD, MSECriterion"):
        model.compile(sgd, nn.MSECriterion())
