"""The learning-rate finder: what it finds, and that nothing of the run moves."""

import copy

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.devices import collectives

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def trainer_of(model=None, lr=0.1, criterion=None, **options):
    model = model or nn.Sequential(
        nn.Linear(4, 8), nn.BatchNormalization(8), nn.Dropout(0.2), nn.Linear(8, 2)
    )
    optimizer = optim.Adam(model, lr=lr)
    options.setdefault("progress", False)
    return optim.Trainer(model, criterion or nn.CrossEntropyCriterion(), optimizer, **options)


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(a, b)


class Noting(optim.Callback):
    def __init__(self):
        self.calls = 0

    def on_step_end(self, trainer, loss):
        self.calls += 1


def test_nothing_of_model_optimizer_generators_and_run_changes():
    noting = Noting()
    trainer = trainer_of(lr=optim.cosine_decay(0.1, period=9), callbacks=[noting])
    trainer.fit((X, Y), epochs=1)
    trainer.model[1].evaluate()
    modes = [bool(part.train) for part in trainer.model.listModules()]
    gradients = [p.grad.numpy().copy() for p in trainer.model.parameters()[0]]
    before, calls = trainer.state_dict(), noting.calls
    found = trainer.lr_find((X, Y), num_it=20, start_lr=1e-4, end_lr=1)
    assert same(before, trainer.state_dict())
    assert [bool(part.train) for part in trainer.model.listModules()] == modes
    assert same(gradients, [p.grad.numpy() for p in trainer.model.parameters()[0]])
    assert noting.calls == calls
    assert len(found.lrs) > 5  # and there was a trial
    again = trainer.lr_find((X, Y), num_it=20, start_lr=1e-4, end_lr=1)
    np.testing.assert_array_equal(found.losses, again.losses)
    trainer.fit((X, Y), epochs=1)  # and the schedule goes on
    assert trainer.optimizer.lr == pytest.approx(optim.cosine_decay(0.1, period=9)(4))


def test_rates_rise_by_one_factor_and_each_is_the_rate_of_its_step():
    weight = tg.Parameter(np.array([1.0]))

    class Line(nn.Module):
        def __init__(self):
            self.w = weight

        def forward(self, x):
            return x * self.w

    model = Line()
    trainer = optim.Trainer(
        model, lambda y, t: (y - t).mean(), optim.SGD(model, lr=7.0), progress=False
    )
    ones = np.ones((4, 1))
    found = trainer.lr_find((ones, ones), start_lr=0.01, end_lr=1, num_it=5, batch_size=4)
    rates = np.geomspace(0.01, 1, 5)
    np.testing.assert_allclose(found.lrs, rates)
    # the loss w - 1 falls by each rate in turn
    np.testing.assert_allclose(found.losses, -np.concatenate([[0], np.cumsum(rates)[:-1]]))
    assert weight.numpy() == 1


def test_a_rate_that_is_a_number_stays_and_is_learned_with():
    trainer = trainer_of(nn.Sequential(nn.Linear(4, 2)))
    other = trainer_of(copy.deepcopy(trainer.model))
    trainer.lr_find((X, Y), num_it=10)
    assert trainer.optimizer.lr == 0.1
    trainer.fit((X, Y), epochs=1)
    other.fit((X, Y), epochs=1)
    assert trainer.step_losses == other.step_losses


def test_the_suggestion_is_where_the_loss_falls_fastest():
    lrs = np.geomspace(1e-5, 1, 51)
    smoothed = 2 - 1 / (1 + np.exp(-3 * np.log(lrs / 1e-2)))
    smoothed[45:] = 5  # it diverges
    found = optim.LRFindResult(lrs, smoothed, smoothed)
    assert found.suggestion == pytest.approx(1e-2, rel=0.3)
    rising = optim.LRFindResult(lrs, lrs, np.linspace(1, 2, 51))
    assert rising.suggestion is None
    assert "never falls" in repr(rising)


def test_the_trial_ends_where_the_loss_diverges():
    model = nn.Sequential(nn.Linear(4, 1))
    trainer = optim.Trainer(model, nn.MSECriterion(), optim.SGD(model, lr=1), progress=False)
    target = X @ np.ones((4, 1), np.float32)
    found = trainer.lr_find((X, target), end_lr=1e6, start_lr=1e-3, num_it=60)
    assert 3 < len(found.lrs) < 60
    longer = trainer.lr_find((X, target), end_lr=1e6, start_lr=1e-3, num_it=60, stop_div=False)
    assert len(longer.lrs) > len(found.lrs)
    assert np.isfinite(longer.losses).all()


def test_accumulated_gradients_and_sample_weights_go_through_the_trial():
    trainer = trainer_of(
        nn.Sequential(nn.Linear(4, 2)),
        criterion=nn.CrossEntropyCriterion(reduction="none"),
        sample_weights=True,
    )
    weights = np.where(Y == 1, 2.0, 0.0)
    found = trainer.lr_find((X, Y, weights), num_it=6, batch_size=16)
    assert len(found.losses) == 6
    model = nn.Sequential(nn.Linear(4, 2))
    optimizer = optim.SGD(model, lr=0.1, accumulate=3)
    other = optim.Trainer(model, nn.CrossEntropyCriterion(), optimizer, progress=False)
    made = []

    def batches():
        for start in range(0, 64, 8):
            made.append(start)
            yield X[start : start + 8], Y[start : start + 8]

    assert len(other.lr_find(batches, num_it=5).losses) == 5
    assert len(made) == 15
    assert optimizer.accumulated == 0


def test_bad_ranges_and_data_are_errors():
    trainer = trainer_of()
    for options, message in (
        ({"start_lr": 1, "end_lr": 0.1}, "positive and rising"),
        ({"start_lr": 0.0}, "positive and rising"),
        ({"num_it": 2}, "num_it is 2"),
    ):
        with pytest.raises(ValueError, match=message):
            trainer.lr_find((X, Y), **options)
    with pytest.raises(ValueError, match="no samples"):
        trainer.lr_find((X[:0], Y[:0]))
    with pytest.raises(FloatingPointError, match="smallest rate"):
        trainer.lr_find((X * np.nan, Y))


def test_the_curve_has_the_losses_and_a_mark():
    found = trainer_of().lr_find((X, Y), start_lr=1e-4, end_lr=1, num_it=30)
    [axes] = found.plot().axes
    assert axes.get_xscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), found.losses)
    assert axes.lines[2].get_xdata()[0] == found.suggestion


def test_words_of_other_trainers_say_what_to_write():
    trainer = trainer_of()
    trainer.fit((X, Y), epochs=1)
    assert repr(trainer).startswith("Trainer(Sequential, CrossEntropyCriterion, Adam; 1 epochs, 2 ")
    with pytest.raises(AttributeError, match=r"'train': use `trainer\.fit"):
        trainer.train()
    with pytest.raises(AttributeError, match=r"no attribute 'nosuch'$"):
        _ = trainer.nosuch


def test_several_ranks_find_what_one_process_does():
    def each(group):
        model = nn.Sequential(nn.Linear(4, 2))
        for p in model.parameters()[0]:
            p.detach()[...] = 0.1
        with collectives.use(group):
            trainer = trainer_of(model)
            before = trainer.state_dict()
            found = trainer.lr_find((X, Y), num_it=12, start_lr=1e-3, end_lr=1)
            assert same(before["model"], trainer.state_dict()["model"])
        return found

    [alone] = collectives.run_in_threads(1, each)
    for found in collectives.run_in_threads(2, each):
        np.testing.assert_allclose(found.losses, alone.losses, rtol=1e-5)
        np.testing.assert_array_equal(found.lrs, alone.lrs)
