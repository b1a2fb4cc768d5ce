"""What docs/looked_for.md claims of losses and of training; see looked_for.py."""

from __future__ import annotations

import numpy as np
from looked_for import IMAGE, LABELS, ROWS, equal, shows, trainer_of

import tapegrad as tg
from tapegrad import nn, optim

# Losses


@shows("label smoothing", "soft labels, mixup")
def _(folder):
    soft = np.eye(3)[LABELS] * 0.9 + 0.1 / 3
    smooth = nn.CrossEntropyCriterion(label_smoothing=0.1)
    equal(smooth(ROWS, LABELS), nn.CrossEntropyCriterion()(ROWS, soft), 1e-5)


@shows("ignore_index")
def _(folder):
    labels = np.where(np.arange(8) < 4, LABELS, 2)
    equal(
        nn.CrossEntropyCriterion(ignoreIndex=2)(ROWS, labels),
        nn.CrossEntropyCriterion()(ROWS[:4], LABELS[:4]),
    )
    for criterion in (
        nn.ClassNLLCriterion(ignoreIndex=2),
        nn.SpatialClassNLLCriterion(ignoreIndex=1),
    ):
        assert criterion.ignoreIndex


@shows("scores of pixels (N, C, H, W), of tokens (N, T, C)")
def _(folder):
    labels = np.zeros((2, 6, 6), int)
    pixels = nn.CrossEntropyCriterion()(IMAGE, labels)
    tokens = nn.CrossEntropyCriterion(axis=-1)(np.moveaxis(IMAGE, 1, -1), labels)
    equal(pixels, tokens)


@shows('reduction="none", per-sample losses')
def _(folder):
    assert nn.CrossEntropyCriterion(reduction="none")(ROWS, LABELS).shape == (8,)
    criterion = nn.MarginCriterion()
    criterion.reduction = "none"
    assert criterion(ROWS, np.sign(ROWS)).shape == ROWS.shape


@shows("sample weights")  # of Losses and of Training
def _(folder):
    criterion = nn.SampleWeightedCriterion(nn.CrossEntropyCriterion())
    w = np.arange(8.0)
    each = nn.CrossEntropyCriterion(reduction="none")(ROWS, LABELS).numpy()
    equal(criterion(ROWS, [LABELS, w]), (w * each).sum() / w.sum(), 1e-5)
    trainer = trainer_of(criterion=nn.CrossEntropyCriterion(reduction="none"), sample_weights=True)
    assert np.isfinite(trainer.fit((ROWS, LABELS, w), epochs=1)[-1]["loss"])


@shows("class weights")  # of Losses and of Training
def _(folder):
    weights = np.array([1.0, 3.0, 1.0])
    each = nn.CrossEntropyCriterion(reduction="none")(ROWS, LABELS).numpy()
    expected = np.average(each, weights=weights[LABELS])
    equal(nn.CrossEntropyCriterion(weights)(ROWS, LABELS), expected, 1e-5)
    scores = tg.ops.log_softmax(ROWS)
    equal(nn.ClassNLLCriterion(weights)(scores, LABELS), expected, 1e-5)
    equal(nn.MultiMarginCriterion(1, [0.0, 1, 1])(ROWS, 0 * LABELS), 0)


@shows("BCEWithLogitsLoss, pos_weight")
def _(folder):
    bits = (ROWS > 0).astype(float)
    p = 1 / (1 + np.exp(-ROWS))
    expected = -(3 * bits * np.log(p) + (1 - bits) * np.log(1 - p)).mean()
    equal(nn.BCEWithLogitsCriterion(None, 3.0)(ROWS, bits), expected, 1e-5)


@shows("focal loss")
def _(folder):
    bits = (ROWS > 0).astype(float)
    equal(nn.FocalCriterion(0)(ROWS, bits), nn.BCEWithLogitsCriterion()(ROWS, bits), 1e-5)


@shows("HuberLoss(delta)")
def _(folder):
    equal(nn.HuberCriterion(2)(np.array([1.0, 5.0]), np.zeros(2)), (0.5 + 2 * (5 - 1)) / 2)


@shows("TripletMarginLoss")
def _(folder):
    a, p, n = np.zeros((1, 2)), np.array([[3.0, 4]]), np.array([[1.0, 0]])
    equal(nn.TripletMarginCriterion(1, 2)([a, p, n]), 5, 1e-5)


@shows("GaussianNLLLoss, PoissonNLLLoss")
def _(folder):
    one = np.ones(3)
    equal(nn.GaussianNLLCriterion()([one, one], 3 * one), 2)
    equal(nn.PoissonNLLCriterion()(0 * one, one), 1)


@shows("CTCLoss")
def _(folder):
    log_p = np.log(np.full((2, 1, 2), 0.5))
    equal(nn.CTCCriterion(reduction="sum")(log_p, np.array([[1, -1]])), -np.log(0.75))


@shows("dice, contrastive and other losses")
def _(folder):
    class Dice(nn.Criterion):
        def updateOutput(self, x, target):
            return 1 - 2 * (x * target).sum() / (x.sum() + target.sum())

    p = tg.Parameter(np.full(4, 0.5))
    Dice()(p, np.array([1.0, 0, 0, 1])).backward()
    assert p.grad.numpy()[0] < 0


# Training


@shows("`predict()`")
def _(folder):
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    found = trainer_of(model).predict(ROWS, batch_size=3)
    assert type(found) is np.ndarray
    equal(found, model.evaluate()(ROWS))


@shows("a scheduler that is stepped for each batch")
def _(folder):
    class Half(optim.Callback):
        def on_step_end(self, trainer, loss):
            trainer.optimizer.lr = trainer.optimizer.lr / 2

    trainer = trainer_of(callbacks=[Half()])
    trainer.fit((ROWS, LABELS), steps=3, batch_size=4)
    equal(trainer.optimizer.lr, 0.1 / 8)
    optimizer = optim.SGD(nn.Linear(1, 1), lr=lambda step: 1 / (1 + step))
    assert optimizer.lr == 1
    assert optim.SGD(nn.Linear(1, 1), lr=optim.cosine_decay(0.1, 10)).lr == 0.1


@shows("the rate of one group", "to add a group later")
def _(folder):
    model = nn.Sequential(nn.Linear(3, 2))
    optimizer = optim.SGD(model, lr=0.1, groups=[{"params": "*.bias"}])
    optimizer.groups[0].options["lr"] = 0.5
    assert optimizer.rates() == [0.5, 0.1]
    optimizer.lr = 0.2
    model.add(nn.Linear(2, 2))
    optimizer.add_group(model[1], lr=0.01)
    assert optimizer.rates() == [0.2, 0.2, 0.01]
    waits = nn.Sequential(nn.Linear(3, 2)).freeze()
    optimizer = optim.SGD(waits, lr=0.1)
    assert optimizer.learning == []
    waits.unfreeze()
    assert optimizer.learning == ["0.weight", "0.bias"]


@shows("a weighted sampler")
def _(folder):
    batches = optim.Batches(np.arange(4), sampling_weights=[0, 0, 1, 0])
    assert [b[0].tolist() for b in batches] == [[2, 2, 2, 2]]


@shows("a random split")
def _(folder):
    (a, _), (b, _) = optim.random_split(np.arange(10), np.arange(10), fractions=(0.8, 0.2))
    assert sorted([*a, *b]) == list(range(10))
    assert len(a) == 8


@shows("metrics that ignore a label")
def _(folder):
    metric = optim.Accuracy(ignore_index=255)
    metric.add(np.eye(3), np.array([0, -1, 255]))
    assert metric.value() == 1
    trainer = trainer_of(criterion=nn.CrossEntropyCriterion(ignoreIndex=1), metrics="top1")
    whole = trainer.evaluate((ROWS, LABELS))["val_top1"]
    part = trainer.evaluate((ROWS[::2], LABELS[::2]))["val_top1"]
    assert whole == part


@shows("accuracy, precision, recall, F1, AUC", "binary accuracy")
def _(folder):
    names = ["top1", "precision", "recall", "f1", "auc"]
    more = [lambda: optim.Accuracy(2), lambda: optim.Precision(average="micro")]
    figures = trainer_of(metrics=names).evaluate((ROWS, LABELS))
    assert figures.keys() == {"val_loss", *(f"val_{name}" for name in names)}
    assert [make().value() != make().value() for make in more] == [True, True]  # NaN: no samples
    binary = optim.BinaryAccuracy(threshold=0)
    binary.add(np.array([-2.0, 3.0]), np.array([0, 1]))
    assert binary.value() == 1


@shows("a CSV log")
def _(folder):
    trainer = trainer_of(callbacks=[optim.CSVLog(folder / "log.csv")])
    trainer.fit((ROWS, LABELS), epochs=2, batch_size=4)
    assert len((folder / "log.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert (len(trainer.history), len(trainer.step_losses)) == (2, 4)


@shows("histograms and the graph in TensorBoard")
def _(folder):
    model = nn.Sequential(nn.Linear(3, 2))
    assert "svg" in str(nn.picture(model)._repr_svg_())
    assert tg.Tape(model(ROWS).sum()).draw() is not None


@shows("batch statistics that stay while training")
def _(folder):
    model = nn.Sequential(nn.BatchNormalization(3), nn.Linear(3, 2))
    model[0].evaluate()
    trainer_of(model).fit((ROWS, LABELS), epochs=1)
    equal(model[0].running_mean, np.zeros(3))


@shows("statistics in an EMA")
def _(folder):
    model = nn.Sequential(nn.BatchNormalization(3))
    average = optim.ExponentialMovingAverage(model, decay=0.5, buffers=True)
    model(ROWS)
    average.update()
    with average.apply():
        held = model[0].running_mean.numpy().copy()
    equal(held, model[0].running_mean.numpy() / 2)


@shows("`update_bn`")
def _(folder):
    model = nn.Sequential(nn.BatchNormalization(3))
    optim.update_bn(model, ROWS)
    equal(model[0].running_mean, ROWS.mean(0))


@shows("distributed training")
def _(folder):
    model = nn.Linear(3, 2)
    parallel = optim.DataParallel(model)  # of one process, here
    for x, labels in parallel.shares(optim.Batches(ROWS, LABELS, batch_size=8)):
        parallel.backward(nn.CrossEntropyCriterion()(model(x), labels), samples=len(x))
    assert np.abs(model.weight.grad.numpy()).max() > 0


@shows("early stopping, checkpoints, resuming")
def _(folder):
    trainer = trainer_of(folder=folder, callbacks=[optim.EarlyStopping("loss", patience=3)])
    trainer.fit((ROWS, LABELS), epochs=2)
    again = trainer_of(folder=folder, callbacks=[optim.EarlyStopping("loss", patience=3)])
    assert len(again.fit((ROWS, LABELS), epochs=3, resume=True)) == 3


@shows("a learning-rate finder")
def _(folder):
    found = trainer_of().lr_find((ROWS, LABELS), num_it=8, batch_size=4)
    assert found.suggestion is None or found.suggestion > 0
    assert len(found.plot().axes) == 1


@shows("training curves, confusion matrix")
def _(folder):
    trainer = trainer_of()
    trainer.fit((ROWS, LABELS), epochs=1)
    assert len(trainer.plot_history().axes) == 1
    output = trainer.predict(ROWS)
    assert optim.ConfusionMatrix.from_predictions(LABELS, output).render().axes


@shows("a progress bar")
def _(folder):
    tg.set_progress(False)
    try:
        trainer_of().fit((ROWS, LABELS), epochs=1)
    finally:
        tg.set_progress(None)
