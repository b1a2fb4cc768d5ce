"""What people do with a Trainer: either right, or refused at its line."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapegrad import Tensor, devices, nn, ops, optim


def setup(criterion=None, *, layers=None, lr=0.1, samples=10, **options):
    """Data (x, labels) and a trainer of a small classifier."""
    devices.manual_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(samples, 3)).astype(np.float32), rng.integers(0, 2, samples)
    model = nn.Sequential(*(layers or [nn.Linear(3, 2)]), nn.LogSoftMax())
    accumulate = options.pop("accumulate", 1)
    optimizer = optim.SGD(model, lr=lr, accumulate=accumulate)
    options.setdefault("progress", False)
    return (x, y), optim.Trainer(model, criterion or nn.ClassNLLCriterion(), optimizer, **options)


# The loss of an epoch ---------------------------------------------------------------------------

SCORES, SIGNS = np.random.default_rng(0).normal(size=(7, 3)), np.array([1, -1, 1, 1, -1, -1, 1])
LABELS = np.array([0, 1, 2, -1, 1, 0, -1])
CHANCES = np.full((7, 3), 0.5) + 0.1 * np.tanh(SCORES)


def parts(make):
    """Criterions of a table or a sequence, each as a mean and as a sum."""
    return [make(nn.MSECriterion(True)), make(nn.MSECriterion(False))]


def several(cls):
    return lambda inner: cls().add(inner, 0.5).add(inner, 2)


# For each criterion of batches: instances, an output and a target; axis 1 is that of samples where
# axis 0 is that of steps.
CASES = {
    "ClassNLLCriterion": (
        [nn.ClassNLLCriterion(None, True, -1), nn.ClassNLLCriterion([1.0, 2.0, 5.0], True, -1),
         nn.ClassNLLCriterion([1.0, 2.0, 5.0], False, -1)], SCORES, LABELS),
    "CrossEntropyCriterion": (
        [nn.CrossEntropyCriterion(), nn.CrossEntropyCriterion([1.0, 2.0, 5.0]),
         nn.CrossEntropyCriterion(None, False)], SCORES, abs(LABELS)),
    "SpatialClassNLLCriterion": (
        [nn.SpatialClassNLLCriterion(), nn.SpatialClassNLLCriterion([1.0, 2.0, 5.0]),
         nn.SpatialClassNLLCriterion(None, False)],
        np.tile(SCORES[:, :, None, None], (1, 1, 2, 1)),
        np.tile(abs(LABELS)[:, None, None], (1, 2, 1))),
    "MSECriterion": ([nn.MSECriterion(), nn.MSECriterion(False)], SCORES, SCORES * 2),
    "BCECriterion": ([nn.BCECriterion(), nn.BCECriterion(None, False)], CHANCES, CHANCES > 0.5),
    "L1Cost": ([nn.L1Cost()], SCORES, SCORES),
    "MultiCriterion": (parts(several(nn.MultiCriterion)), SCORES, SCORES * 2),
    "MarginCriterion": ([nn.MarginCriterion()], SCORES[:, 0], SIGNS),
    "MultiMarginCriterion": ([nn.MultiMarginCriterion()], SCORES, abs(LABELS)),
    "ModuleCriterion": (
        parts(lambda inner: nn.ModuleCriterion(inner, nn.Tanh(), nn.Tanh())), SCORES, SCORES * 2),
}  # fmt: skip
STEPS = {
    "SequencerCriterion": (
        [*parts(nn.SequencerCriterion), nn.SequencerCriterion(nn.MSECriterion(), True)],
        np.stack([SCORES, SCORES * 3]), np.stack([SCORES, SCORES])),
}  # fmt: skip


@pytest.mark.parametrize(
    ("criterion", "output", "target", "axis"),
    [
        pytest.param(criterion, output, target, axis, id=f"{name}-{i}")
        for axis, cases in ((0, CASES), (1, STEPS))
        for name, (criterions, output, target) in cases.items()
        for i, criterion in enumerate(criterions)
    ],
)
def test_the_loss_of_an_epoch_does_not_depend_on_its_batches(criterion, output, target, axis):
    """It is the loss of all samples at once; of a criterion that sums, divided by their number."""
    model = nn.Identity()
    trainer = optim.Trainer(model, criterion, optim.SGD(nn.Linear(1, 1), lr=0.1), progress=False)
    whole = float(criterion(Tensor(output), target))
    samples = output.shape[axis]
    factor, weight = criterion.mean_weights(Tensor(output), target, samples)
    right = factor * whole / weight
    assert factor in {1, weight}
    for size in (1, 2, 3, samples):
        cuts = range(size, samples, size)
        batches = zip(np.split(output, cuts, axis), np.split(target, cuts, axis), strict=True)
        found = trainer.evaluate(list(batches))["val_loss"]
        assert found == pytest.approx(right), size


def test_a_mask_and_a_table_of_losses_count_the_samples_that_they_have():
    masked = nn.MaskZeroCriterion(nn.MSECriterion())
    masked.setZeroMask(np.arange(7) % 2 == 0)
    assert masked.mean_weights(Tensor(SCORES), Tensor(SCORES), 7) == (3, 3)
    assert masked.setZeroMask([True] * 7).mean_weights(Tensor(SCORES), Tensor(SCORES), 7) == (0, 0)
    table = nn.ParallelCriterion().add(nn.MSECriterion()).add(nn.ClassNLLCriterion())
    weights = table.mean_weights([Tensor(SCORES)] * 2, [Tensor(SCORES), abs(LABELS)], 7)
    assert weights == (7, 7)
    repeated = nn.RepeaterCriterion(nn.MSECriterion(False))
    assert repeated.mean_weights(Tensor(SCORES[None]), Tensor(SCORES), 7) == (1, 7)


def test_a_table_of_targets_has_the_samples_of_its_entries():
    model = nn.ConcatTable().add(nn.Linear(3, 2)).add(nn.Linear(3, 1))
    criterion = nn.ParallelCriterion().add(nn.MSECriterion()).add(nn.MSECriterion())
    trainer = optim.Trainer(model, criterion, optim.SGD(model, lr=0.1), progress=False)
    x = np.ones((5, 3), np.float32)
    targets = [np.zeros((5, 2), np.float32), np.ones((5, 1), np.float32)]
    batches = [(x[i:j], [t[i:j] for t in targets]) for i, j in ((0, 3), (3, 5))]
    [results] = trainer.fit(batches, epochs=1)
    assert trainer.evaluate([(x, targets)])["val_loss"] == pytest.approx(
        trainer.evaluate(batches)["val_loss"], rel=1e-6
    )
    assert results["loss"] == pytest.approx(
        (3 * trainer.step_losses[0] + 2 * trainer.step_losses[1]) / 5
    )


def test_all_samples_without_a_label_have_no_loss_and_no_accuracy():
    (x, y), trainer = setup(nn.ClassNLLCriterion(ignoreIndex=-1), metrics=["top1"])
    found = trainer.evaluate((x, np.full_like(y, -1)))
    assert math.isnan(found["val_loss"])
    assert math.isnan(found["val_top1"])


@pytest.mark.parametrize("ignored", [-1, 255, 0])
def test_metrics_leave_out_what_the_criterion_ignores(ignored):
    (x, y), trainer = setup(nn.ClassNLLCriterion(ignoreIndex=ignored), metrics=["top1", "f1"])
    y[:5] = ignored
    kept = y != ignored
    found = trainer.evaluate((x, y))
    _, plain = setup(metrics=["top1", "f1"])
    right = plain.evaluate((x[kept], y[kept]))
    assert found == pytest.approx(right)


# Weights of samples -----------------------------------------------------------------------------


def losses_of_samples(y, t):
    return -ops.take_along_axis(y, t[:, None], axis=1)


def test_weights_of_samples_are_those_of_as_many_copies():
    (x, y), trainer = setup(losses_of_samples, sample_weights=True)
    weights = np.random.default_rng(1).integers(0, 4, len(x))
    history = trainer.fit((x, y, weights), epochs=3, batch_size=len(x), validation=(x, y, weights))
    copies, copied = np.repeat(x, weights, axis=0), np.repeat(y, weights)
    (_, _), other = setup()
    right = other.fit(
        (copies, copied), epochs=3, batch_size=len(copies), validation=(copies, copied)
    )
    for found, wanted in zip(history, right, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5)
    for size in (1, 3):
        found = trainer.evaluate((x, y, weights), batch_size=size)
        assert found["val_loss"] == pytest.approx(right[-1]["val_loss"], rel=1e-5)


def test_weights_of_samples_need_a_loss_of_each_and_a_weight_of_each():
    (x, y), trainer = setup(sample_weights=True)
    with pytest.raises(ValueError, match="need one loss for each sample"):
        trainer.fit((x, y, np.ones(len(x))), epochs=1)
    _, trainer = setup(losses_of_samples, sample_weights=True)
    with pytest.raises(TypeError, match="give inputs and targets together"):
        trainer.fit((x, y), epochs=1)
    for weights in (np.ones((len(x), 2)), -np.ones(len(x))):
        with pytest.raises(ValueError, match="weights of shape"):
            trainer.fit((x, y, weights), epochs=1)
    _, trainer = setup(lambda y, t: y[:2, 0])
    with pytest.raises(ValueError, match=r"losses of shape \(2,\) for 10 samples"):
        trainer.fit((x, y), epochs=1)


# Data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tuple", "list", "lists", "tensors", "stream"])
def test_data_come_in_every_usual_form(form):
    (x, y), trainer = setup()
    right = trainer.fit((x, y), epochs=2, batch_size=4)
    data = {
        "tuple": (x, y), "list": [x, y], "lists": (x.tolist(), y.tolist()),
        "tensors": [Tensor(x), Tensor(y)], "stream": lambda: optim.Batches(x, y, batch_size=4),
    }[form]  # fmt: skip
    _, other = setup()
    for found, wanted in zip(other.fit(data, epochs=2, batch_size=4), right, strict=True):
        assert found == pytest.approx(wanted, rel=1e-6)


X = np.ones((4, 3), np.float32)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (X, TypeError, r"the data is ndarray of shape \(4, 3\): give inputs and targets together"),
        ((X,), TypeError, "give inputs and targets together"),
        ({"x": X}, TypeError, "the data is dict; it is a tuple of arrays"),
        ("train.csv", TypeError, "the data is 'train.csv'; it is"),
        (None, TypeError, "the data is None"),
        ((X, None), TypeError, "a tuple of ndarray of shape .* None; it is"),
        ((X, X[:3]), ValueError, r"different lengths \[3, 4\]"),
        ((X, [[1], [1, 2], [1], [1]]), ValueError, "the data is no array"),
        ([(X, 3)], TypeError, "batch 0 is a tuple of ndarray of shape .* 3; it is a tuple"),
        ([(X,)], TypeError, "batch 0 is a tuple of ndarray"),
        ((X[:0], X[:0]), ValueError, "there are no samples in the data, of which there are 0"),
        ([], ValueError, "no batch came"),
        (lambda: iter(()), ValueError, "no batch came"),
        (
            optim.Batches(X, X, batch_size=5, drop_last=True),
            ValueError,
            "drop_last leaves out all 4",
        ),
    ],
)
def test_other_data_are_refused_before_anything_is_learned(data, error, message):
    for part in ("fit", "validation", "evaluate"):
        if data is None and part == "validation":
            continue
        good, trainer = setup()
        before = trainer.model.state_dict()
        act = {
            "fit": lambda fit=trainer.fit: fit(data, epochs=1),
            "evaluate": lambda evaluate=trainer.evaluate: evaluate(data),
            "validation": lambda fit=trainer.fit, x=good: fit(x, epochs=1, validation=data),
        }[part]
        with pytest.raises(error, match=message):
            act()
        if "batch" not in message:  # of a stream nothing is known before it is read
            assert trainer.step_count == 0
            for name, array in trainer.model.state_dict().items():
                np.testing.assert_array_equal(array, before[name])


def test_each_epoch_has_an_order_of_its_own():
    batches = optim.Batches(np.arange(30), batch_size=4)
    orders = [np.concatenate([x for (x,) in batches]).tolist() for _ in range(3)]
    assert len(set(map(tuple, orders))) == 3
    assert [np.concatenate([x for (x,) in batches.epoch(i)]).tolist() for i in range(3)] == orders


def test_a_weighted_sampler_draws_in_proportion():
    weights = np.array([0.0, 1.0, 3.0])
    batches = optim.Batches(np.arange(3), batch_size=2, sampling_weights=weights)
    drawn = np.concatenate([x for number in range(4000) for (x,) in batches.epoch(number)])
    assert len(drawn) == 12000
    share = np.bincount(drawn, minlength=3) / len(drawn)
    # Four standard deviations of a share of 12,000 draws.
    np.testing.assert_allclose(share, [0, 0.25, 0.75], atol=4 * math.sqrt(0.25 * 0.75 / 12000))
    for bad in ([1, 2], [1, -1, 1], [0, 0, 0], [1, np.nan, 1]):
        with pytest.raises(ValueError, match="sampling_weights"):
            optim.Batches(np.arange(3), sampling_weights=bad)
    with pytest.raises(ValueError, match="shuffle=False does not"):
        optim.Batches(np.arange(3), sampling_weights=weights, shuffle=False)


@given(st.integers(2, 40), st.integers(0, 9), st.floats(0.1, 0.9))
def test_a_split_has_each_sample_once(n, seed, fraction):
    x = np.arange(n)
    if not 0 < round(n * fraction) < n:
        with pytest.raises(ValueError, match="samples are none"):
            optim.random_split(x, fractions=(fraction, 1 - fraction), seed=seed)
        return
    (a, a2), (b, b2) = optim.random_split(x, -x, fractions=(fraction, 1 - fraction), seed=seed)
    assert sorted([*a, *b]) == list(range(n))
    assert len(a) == round(n * fraction)
    np.testing.assert_array_equal(a, -a2)
    np.testing.assert_array_equal(b, -b2)
    with pytest.raises(ValueError, match="do not sum to 1"):
        optim.random_split(x, fractions=(0.5, 0.4))


# Runs -------------------------------------------------------------------------------------------


def test_a_second_fit_goes_on():
    data, trainer = setup()
    assert len(trainer.fit(data, epochs=2)) == 2
    assert len(trainer.fit(data, epochs=2)) == 4
    _, straight = setup()
    for found, right in zip(trainer.history, straight.fit(data, epochs=4), strict=True):
        assert found == right
    trainer.fit(data, steps=1)
    trainer.fit(data, steps=1)
    assert trainer.step_count == 6
    with pytest.raises(ValueError, match="say how long"):
        trainer.fit(data)


def test_steps_that_end_inside_an_epoch_leave_figures_and_a_checkpoint(tmp_path):
    (x, y), trainer = setup(folder=tmp_path, metrics=["top1"])
    [results] = trainer.fit((x, y), epochs=5, steps=2, batch_size=3, validation=(x, y))
    assert results.keys() == {"loss", "val_loss", "val_top1"}
    assert results["loss"] == pytest.approx(np.mean(trainer.step_losses))
    assert trainer.history == []
    assert [path.name for path in trainer.checkpoints.paths()] == ["step-000000002.ckpt"]
    _, other = setup(folder=tmp_path)
    with pytest.raises(ValueError, match="those would be other samples"):
        other.fit((x, y), epochs=1, batch_size=4, resume=True)
    history = other.fit((x, y), epochs=1, batch_size=3, resume=True)
    _, straight = setup()
    assert history == straight.fit((x, y), epochs=1, batch_size=3)
    assert other.step_losses == straight.step_losses


def test_other_data_begin_the_epoch_again():
    (x, y), trainer = setup()
    trainer.fit((x, y), steps=2, batch_size=3)
    trainer.fit((x[:6], y[:6]), epochs=1, batch_size=3)
    assert trainer.step_count == 4
    assert trainer.history[0]["loss"] == pytest.approx(np.mean(trainer.step_losses[2:]))


def test_the_last_gradients_of_an_epoch_make_an_update():
    (x, y), trainer = setup(accumulate=2, lr=1.0)
    trainer.fit((x, y), epochs=1, batch_size=2)
    _, other = setup(lr=1.0)
    parameters, order = (
        other.model.parameters()[0],
        next(iter(optim.Batches(np.arange(10), batch_size=10)))[0],
    )
    for samples in (order[:4], order[4:8], order[8:]):
        other.model.zeroGradParameters()
        other.criterion(other.model(x[samples]), y[samples]).backward()
        for p in parameters:
            p.detach()[...] -= p.grad.detach()
    for found, right in zip(trainer.model.parameters()[0], parameters, strict=True):
        np.testing.assert_allclose(found.numpy(), right.numpy(), rtol=1e-5, atol=1e-7)
    assert not trainer.optimizer.accumulated
    assert not trainer.optimizer.flush()


def test_parts_in_evaluation_mode_stay_there():
    norm, dropout = nn.BatchNormalization(4), nn.Dropout(0.5)
    data, trainer = setup(layers=[nn.Linear(3, 4), norm, dropout, nn.Linear(4, 2)])
    norm.evaluate()
    for _ in range(2):
        trainer.fit(data, epochs=1, validation=data)
        trainer.predict(data[0])
        assert not norm.running_mean.numpy().any()
        assert dropout.train
        trainer.model.evaluate()  # all of it, to look at predictions: the norm stays as it was
    trainer.model.training()
    trainer.fit(data, epochs=1)
    assert norm.running_mean.numpy().any()
    trainer.model.evaluate()
    trainer.fit(data, epochs=1)
    assert all(part.train for part in trainer.model.listModules())


def test_predictions_are_in_order_and_change_nothing():
    (x, _), trainer = setup(layers=[nn.Linear(3, 4), nn.Dropout(0.9), nn.Linear(4, 2)])
    trainer.model.evaluate()
    right = trainer.model(x).numpy()
    trainer.model.training()
    for data in (
        x,
        (x,),
        x.tolist(),
        optim.Batches(x, shuffle=False, batch_size=3),
        [x[:6], x[6:]][:1],
    ):
        np.testing.assert_allclose(
            trainer.predict(data, batch_size=3), right[: len(trainer.predict(data))], rtol=1e-5
        )
    assert trainer.model.train
    with pytest.raises(ValueError, match="shuffle=False"):
        trainer.predict(optim.Batches(x))
    table = nn.ConcatTable().add(nn.Identity()).add(nn.Linear(3, 1))
    both = optim.Trainer(table, nn.MSECriterion(), optim.SGD(table, lr=1)).predict(x, batch_size=4)
    assert [found.shape for found in both] == [(10, 3), (10, 1)]


# What is shown and kept -------------------------------------------------------------------------


def test_a_table_of_the_epochs_is_kept(tmp_path):
    data, trainer = setup(callbacks=[optim.CSVLog(tmp_path / "log.csv")], folder=tmp_path / "run")
    trainer.fit(data, epochs=2)
    trainer.fit(data, epochs=1, validation=data)
    _, other = setup(callbacks=[optim.CSVLog(tmp_path / "log.csv")], folder=tmp_path / "run")
    other.fit(data, epochs=4, resume=True)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in other.history]
    assert [bool(row["val_loss"]) for row in rows] == [False, False, True, False]


def test_files_have_a_line_an_epoch_if_that_is_asked_for(capsys):
    data, trainer = setup(progress=True)
    trainer.fit(data, epochs=2, batch_size=1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    trainer.fit(data, steps=3, batch_size=1)
    assert capsys.readouterr().err.startswith("epoch 3, 3 steps of 10: loss")


def test_messages_say_what_to_write():
    (x, y), trainer = setup()
    with pytest.raises(TypeError, match=r"fit\(\(x, target\), epochs=…\)"):
        trainer.fit(x, y, epochs=1)
    model, optimizer = trainer.model, trainer.optimizer
    for arguments, message in (
        (
            (nn.Linear, nn.MSECriterion(), optimizer),
            r"the model is the class Linear: give an instance",
        ),
        ((model, nn.MSECriterion, optimizer), r"MSECriterion\(…\)"),
        ((model, nn.MSECriterion(), optim.SGD), r"the optimizer is the class SGD"),
        ((model, "mse", optimizer), "the criterion is str, which cannot be called"),
    ):
        with pytest.raises(TypeError, match=message):
            optim.Trainer(*arguments)
    with pytest.raises(FloatingPointError) as caught:
        trainer.fit((x * np.nan, y), epochs=1)
    assert "none." not in str(caught.value)


def test_the_text_of_an_optimizer_has_all_its_options():
    model = nn.Linear(2, 2)
    assert "clip" not in repr(optim.SGD(model, lr=0.1))
    shown = repr(optim.SGD(model, lr=0.1, clip_grad_norm=1, clip_grad_value=0.5, accumulate=4))
    for text in ("clip_grad_norm=1", "clip_grad_value=0.5", "accumulate=4"):
        assert text in shown


# Averages and statistics ------------------------------------------------------------------------


def test_averages_of_statistics_are_used_and_put_back():
    norm = nn.BatchNormalization(3, affine=False)
    data, trainer = setup(layers=[norm, nn.Linear(3, 2)])
    average = optim.ExponentialMovingAverage(trainer.model, 0.5, buffers=True)
    trainer.average = average
    right = np.zeros(3, np.float32)
    for _ in range(3):
        trainer.fit(data, steps=1, batch_size=5)
        right = right + (norm.running_mean.numpy() - right) / 2
    own = norm.running_mean.numpy().copy()
    with average.apply():
        np.testing.assert_allclose(norm.running_mean.numpy(), right, rtol=1e-5)
    np.testing.assert_array_equal(norm.running_mean.numpy(), own)
    saved = average.state_dict()
    other = optim.ExponentialMovingAverage(trainer.model, 0.5, buffers=True)
    other.load_state_dict(saved)
    with other.apply():
        np.testing.assert_allclose(norm.running_mean.numpy(), right, rtol=1e-5)


def test_update_bn_takes_the_mean_over_the_batches():
    norm = nn.BatchNormalization(3, affine=False)
    data, trainer = setup(layers=[norm, nn.Linear(3, 2)])
    norm.evaluate()
    norm.running_mean.detach()[...] = 100
    optim.update_bn(trainer.model, data[0], batch_size=5)
    halves = data[0].reshape(2, 5, 3)
    np.testing.assert_allclose(norm.running_mean.numpy(), halves.mean(axis=(0, 1)), rtol=1e-5)
    variances = halves.var(axis=1, ddof=1).mean(axis=0)
    np.testing.assert_allclose(norm.running_var.numpy(), variances, rtol=1e-5)
    assert (norm.momentum, norm.train) == (0.1, False)
    with pytest.raises(ValueError, match="no samples"):
        optim.update_bn(trainer.model, data[0][:0])


def test_a_run_of_another_trainer_is_refused_and_changes_nothing(tmp_path):
    def trainer_of(*callbacks, **options):
        model = nn.Sequential(nn.Linear(3, 2))
        optimizer = optim.SGD(model, lr=0.1, **options)
        return optim.Trainer(
            model, nn.CrossEntropyCriterion(), optimizer, callbacks=callbacks, progress=False
        )

    saved = trainer_of(optim.EarlyStopping()).state_dict()
    others = [
        (trainer_of(), RuntimeError, "saved with 1 callbacks, and this one has 0"),
        (trainer_of(optim.EarlyStopping(), groups=[{"params": "*.bias"}]), ValueError, "groups"),
    ]
    for other, error, words in others:
        before = str(other.state_dict())
        with pytest.raises(error, match=words):
            other.load_state_dict(saved)
        assert str(other.state_dict()) == before
