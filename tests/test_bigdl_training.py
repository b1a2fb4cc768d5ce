"""BigDL's Optimizer: triggers, schedules, methods by module, validation, checkpoints, data sets."""

import copy

import numpy as np
import pytest

from tapegrad import Tensor, nn, optim
from tapegrad.optim import bigdl
from tapegrad.optim.bigdl import SGD, Adam, Loss, Optimizer, Top1Accuracy, Trigger

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, 3))).argmax(1)


def small_model(seed=0):
    nn.manual_seed(seed)
    return (
        nn.Sequential()
        .add(nn.Linear(4, 6))
        .add(nn.Tanh())
        .add(nn.Linear(6, 3))
        .add(nn.LogSoftMax())
    )


def make(model=None, data=(X, Y), **options):
    return Optimizer(model or small_model(), data, nn.ClassNLLCriterion(), batchSize=8, **options)


def weights_of(model):
    return np.concatenate([p.numpy().ravel() for _, p in model.named_parameters()])


class Recorder:
    """A trigger that never fires, and remembers the states that it was asked about."""

    def __init__(self):
        self.seen = []

    def __call__(self, state):
        self.seen.append(dict(state))
        return False


# Triggers -----------------------------------------------------------------------------------------


def fired(trigger, states):
    return [i for i, state in enumerate(states) if trigger(state)]


def test_triggers_fire_when_they_say():
    # Two epochs of three steps, as a run asks: before the first step, then after each.
    states = [{"epoch": 1 + i // 3, "neval": 1 + i, "Loss": 6 - i} for i in range(7)]
    states[4]["score"] = 0.9
    assert fired(Trigger.everyEpoch(), states) == [3, 6]
    assert fired(Trigger.severalIteration(2), states) == [2, 4, 6]
    assert fired(Trigger.maxEpoch(1), states) == [3, 4, 5, 6]
    assert fired(Trigger.maxIteration(4), states) == [4, 5, 6]
    assert fired(Trigger.maxScore(0.8), states) == [4]
    assert fired(Trigger.minLoss(2), states) == [5, 6]
    assert fired(Trigger.and_(Trigger.minLoss(4), Trigger.severalIteration(2)), states) == [4, 6]
    assert fired(Trigger.or_(Trigger.maxScore(0.8), Trigger.minLoss(1)), states) == [4, 6]
    both = optim.every_epoch() & optim.several_iteration(2) | optim.max_score(0.8)
    assert fired(both, states) == [4, 6]
    assert repr(both) == "((every_epoch() & several_iteration(2)) | max_score(0.8))"


def test_a_trigger_remembers_the_epoch_through_a_file():
    first, second = (optim.every_epoch() | optim.max_score(1) for _ in range(2))
    first({"epoch": 3})
    second.load_state_dict(first.state_dict())
    assert not second({"epoch": 3})
    assert second({"epoch": 4})


def test_triggers_refuse():
    for make_one in (Trigger.severalIteration, Trigger.maxEpoch, Trigger.maxIteration):
        with pytest.raises(ValueError, match="at least 1"):
            make_one(0)
    with pytest.raises(TypeError, match="not int"):
        Trigger.maxEpoch(1) & 3
    with pytest.raises(TypeError, match="everyEpoch"):
        make().setEndWhen(5)


# Runs ---------------------------------------------------------------------------------------------


def test_a_run_ends_when_it_is_told_and_goes_on():
    recorder = Recorder()
    optimizer = make().setEndWhen(Trigger.maxEpoch(2)).setValidation(recorder, (X, Y), [])
    optimizer.optimize()
    assert (optimizer.state["epoch"], optimizer.state["neval"]) == (3, 11)
    assert [s["epoch"] for s in recorder.seen] == [1] * 5 + [2] * 5 + [3]
    assert [s["recordsProcessedThisEpoch"] for s in recorder.seen][:7] == [0, 8, 16, 24, 32, 0, 8]
    optimizer.setEndWhen(Trigger.maxIteration(13)).optimize()
    assert (optimizer.state["epoch"], optimizer.state["neval"]) == (3, 14)
    before = weights_of(optimizer.model)
    optimizer.optimize()  # the end has come already
    assert (weights_of(optimizer.model) == before).all()


def test_a_run_is_the_trainers():
    model, other = small_model(), small_model()
    make(model).setOptimMethod(SGD(0.1, momentum=0.9, dampening=0.0)).setEndWhen(
        Trigger.maxEpoch(3)
    ).optimize()
    trainer = optim.Trainer(
        other, nn.ClassNLLCriterion(), optim.SGD(other, lr=0.1, momentum=0.9), progress=False
    )
    trainer.fit((X, Y), epochs=3, batch_size=8)
    assert (weights_of(model) == weights_of(other)).all()


def test_validation_does_not_disturb_and_its_score_ends_a_run(tmp_path):
    nn.manual_seed(0)
    model = nn.Sequential().add(nn.Linear(4, 3)).add(nn.Dropout(0.2)).add(nn.LogSoftMax())
    methods = [Top1Accuracy(), Loss(nn.ClassNLLCriterion())]
    optimizer = make(model).setOptimMethod(Adam(0.1)).setEndWhen(
        Trigger.maxScore(0.8) | Trigger.maxEpoch(50)
    )  # fmt: skip
    optimizer.setValidation(Trigger.everyEpoch(), (X, Y), methods).optimize()
    [(accuracy, method), (loss, _)] = optimizer.results
    assert method is methods[0]
    assert accuracy.result() == (optimizer.state["score"], 40)
    assert accuracy.result()[0] > 0.8
    assert 0 < loss.result()[0] < 1
    assert model.train
    assert optimizer.state["epoch"] < 50


def test_the_rate_follows_the_schedule():
    seen = []

    class Watching(Recorder):
        def __call__(self, state):
            seen.append(optimizer._trainer.optimizer.lr)
            return False

    schedule = SGD.SequentialSchedule(5).add(SGD.Warmup(0.1), 4).add(SGD.EpochStep(1, 0.5), 100)
    optimizer = make().setOptimMethod(SGD(0.1, learningRateSchedule=schedule))
    optimizer.setValidation(Watching(), (X, Y), []).setEndWhen(Trigger.maxIteration(12)).optimize()
    # Asked before the first step, then after each, the trigger sees the rate of the step.
    assert np.allclose(seen[1:6], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert np.allclose(seen[6:], [0.5 * 0.5**2] * 5 + [0.5 * 0.5**3] * 2)


def test_a_plateau_halves_the_rate_that_does_not_help():
    plateau = SGD.Plateau("score", factor=0.5, patience=1, mode="max", minLr=0.02)
    optimizer = make().setOptimMethod(SGD(1e-9, learningRateSchedule=plateau))
    optimizer._methods[""].learningRate = 0.1
    never = [0.5, 0.6, 0.6, 0.6, 0.6, 0.6]
    rates = []
    for epoch, score in enumerate([None, *never], 1):
        state = {"epoch": epoch, "neval": epoch} | ({} if score is None else {"score": score})
        optimizer._methods[""].state.update(state)
        rates.append(optimizer._methods[""].getLearningRate())
    # Better twice; then each second epoch without a gain halves it.
    assert np.allclose(rates, [0.1, 0.1, 0.1, 0.1, 0.05, 0.025, 0.02])
    with pytest.raises(RuntimeError, match="there is only"):
        SGD.Plateau("Loss")(bigdl.Moment(0.1, epoch=2, measured={"score": 1}))


def test_regimes_set_more_than_the_rate():
    regimes = [SGD.Regime(1, 1, {"learningRate": 0.1, "weightDecay": 0.5}),
               SGD.Regime(2, 9, {"learningRate": 0.01})]  # fmt: skip
    method = SGD(1.0, learningRateSchedule=SGD.EpochSchedule(regimes))
    optimizer = make().setOptimMethod(method).setEndWhen(Trigger.maxEpoch(1))
    optimizer.optimize()
    [group] = optimizer._trainer.optimizer.optimizers[""].groups
    assert group.options["weightDecay"] == 0.5
    assert float(group.rate) == 0.01
    wrong = SGD(learningRateSchedule=SGD.EpochSchedule([SGD.Regime(1, 2, {"decay": 1})]))
    with pytest.raises(TypeError, match="no option 'decay'"):
        wrong.getLearningRate()


def test_methods_by_module():
    model = small_model()
    before = weights_of(model)
    methods = {"0": SGD(0.0), "2": Adam(0.1)}
    make(model).setOptimMethods(methods).setEndWhen(Trigger.maxIteration(2)).optimize()
    after = weights_of(model)
    assert (after[:30] == before[:30]).all()
    assert (after[30:] != before[30:]).all()
    for wrong, words in (
        ({"7": SGD()}, "no module '7'; there are 0, 1, 2, 3"),
        ({"0": SGD()}, "no method updates 2.weight, 2.bias"),
        ({"": SGD(), "0": SGD()}, "both update"),
    ):
        with pytest.raises(ValueError, match=words):
            make().setOptimMethods(wrong).optimize()
    with pytest.raises(TypeError, match="not Linear"):
        make().setOptimMethod(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="several times in a step"):
        make().setOptimMethod(bigdl.LBFGS()).optimize()


def test_lars_for_each_module():
    model = small_model()
    methods = bigdl.LarsSGD.createOptimForModule(model, learningRate=0.1)
    assert list(methods) == ["0", "2"]
    make(model).setOptimMethods(methods).setEndWhen(Trigger.maxIteration(1)).optimize()


def test_rates_and_decays_for_each_entry():
    model, before = small_model(), weights_of(small_model())
    rates = np.r_[np.ones(24), np.zeros(6), np.ones(21)]
    method = SGD(0.1, learningRates=rates, weightDecays=np.zeros(51))
    make(model).setOptimMethod(method).setEndWhen(Trigger.maxIteration(1)).optimize()
    moved = weights_of(model) != before
    assert (moved == (rates > 0)).all()
    with pytest.raises(ValueError, match="3 entries, the model's parameters have 51"):
        make().setOptimMethod(SGD(learningRates=np.ones(3))).optimize()


def test_gradients_are_clipped_together():
    def first_step(optimizer):
        start = weights_of(optimizer.model)
        optimizer.setOptimMethod(SGD(1.0)).setEndWhen(Trigger.maxIteration(1)).optimize()
        return start - weights_of(optimizer.model)

    plain = first_step(make())
    limit = np.abs(plain).max() / 2
    clipped = first_step(make().setConstantGradientClipping(-limit, limit / 3))
    assert np.allclose(clipped, plain.clip(-limit, limit / 3), atol=1e-7)
    by_norm = first_step(make().setGradientClippingByl2Norm(np.linalg.norm(plain) / 2))
    assert np.allclose(by_norm, plain / 2, atol=1e-6)
    off = make().setGradientClippingByl2Norm(1e-3).disableGradientClipping()
    assert (first_step(off) == plain).all()
    with pytest.raises(ValueError, match="min 1 is above max 0"):
        make().setConstantGradientClipping(1, 0)
    with pytest.raises(ValueError, match="positive"):
        make().setGradientClippingByl2Norm(0)


def test_a_run_that_was_stopped_goes_on_with_equal_bits(tmp_path):
    def run(folder, end, model, resume=False):
        schedule = SGD.Plateau("Loss", patience=0, factor=0.5)
        method = SGD(0.1, momentum=0.9, dampening=0.0, learningRateSchedule=schedule)
        optimizer = make(model).setOptimMethod(method).setEndWhen(Trigger.maxIteration(end))
        optimizer.setCheckpoint(folder, Trigger.severalIteration(7)).overWriteCheckpoint()
        optimizer.optimize(resume=resume)
        return optimizer

    whole = run(tmp_path / "whole", 21, small_model())
    run(tmp_path / "parts", 15, small_model())
    assert [p.name for p in (tmp_path / "parts").iterdir()] == ["step-000000014.ckpt"]
    resumed = run(tmp_path / "parts", 21, small_model(5), resume=True)
    assert resumed.state == whole.state
    assert (weights_of(resumed.model) == weights_of(whole.model)).all()
    with pytest.raises(ValueError, match="setCheckpoint"):
        make().optimize(resume=True)


# What BigDL recorded of two steps (behaviours.txt); with weight decay its frozen layer moves.
@pytest.mark.parametrize(
    ("freeze", "method", "weights"),
    [
        (False, SGD(0.1), [0.86, 1.86, 0.36]),
        (True, SGD(0.1), [1, 2, 0.5]),
        (True, SGD(0.1, weightDecay=0.1), [1, 2, 0.5]),
        (True, SGD(0.1, momentum=0.9, dampening=0.0), [1, 2, 0.5]),
        (True, Adam(0.1), [1, 2, 0.5]),
    ],
    ids=["plain", "frozen", "frozen and decay", "frozen and momentum", "frozen Adam"],
)
def test_two_steps_are_bigdls(freeze, method, weights):
    model = nn.Linear(2, 1)
    model.load_state_dict({"weight": np.array([[1.0, 2.0]]), "bias": np.array([0.5])})
    if freeze:
        model.freeze()
    batch = np.ones((2, 2), np.float32), np.full((2, 1), 3, np.float32)
    optimizer = Optimizer(model, [batch], nn.MSECriterion()).setOptimMethod(method)
    optimizer.setEndWhen(Trigger.maxIteration(2)).optimize()
    assert np.allclose(weights_of(model), weights, atol=1e-6)


def test_frozen_layers_stay():
    model = small_model()
    model.modules[0].freeze()
    before = weights_of(model)
    method = SGD(0.1, weightDecay=0.1)
    make(model).setOptimMethod(method).setEndWhen(Trigger.maxIteration(2)).optimize()
    assert (weights_of(model)[:30] == before[:30]).all()


def test_what_is_missing_is_named():
    for given, words in (
        ({}, "no model"),
        ({"model": small_model()}, "no criterion"),
        ({"model": small_model(), "criterion": nn.ClassNLLCriterion()}, "no data"),
    ):
        with pytest.raises(ValueError, match=words):
            Optimizer(**given).optimize()
    optimizer = Optimizer().set_model(small_model()).set_criterion(nn.ClassNLLCriterion())
    optimizer.set_train_data((X, Y)).setState({"neval": 100}).setDropModuleProperty(0.1, 0.2)
    optimizer.optimize()
    assert optimizer.state["neval"] == 101


@pytest.mark.extra  # tensorboardX takes seconds to import
def test_the_summaries_are_written_and_read(tmp_path):
    train, validation = (
        kind(tmp_path, "app") for kind in (bigdl.TrainSummary, bigdl.ValidationSummary)
    )
    train.setSummaryTrigger("Loss", Trigger.severalIteration(2))
    train.setSummaryTrigger("Parameters", Trigger.maxIteration(4))
    optimizer = make().setEndWhen(Trigger.maxIteration(5)).setTrainSummary(train)
    optimizer.setValidation(Trigger.everyEpoch(), (X, Y), [Top1Accuracy()])
    optimizer.setValidationSummary(validation).optimize()
    assert [step for step, *_ in train.readScalar("Loss")] == [2, 4]
    assert [rate for _, rate, _ in train.read_scalar("LearningRate")] == [1e-3] * 5
    assert all(speed > 0 for _, speed, _ in train.readScalar("Throughput"))
    [(step, score, _)] = validation.readScalar("Top1Accuracy")
    assert (step, score) == (5, optimizer.state["score"])
    assert list((tmp_path / "app" / "train").iterdir())
    with pytest.raises(KeyError, match="no tag 'loss'"):
        train.readScalar("loss")
    with pytest.raises(ValueError, match="no tag"):
        train.setSummaryTrigger("loss", Trigger.everyEpoch())


# Data ---------------------------------------------------------------------------------------------


class Sample:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def feature(self):
        return Tensor(self.x)

    def label(self):
        return np.asarray(self.y)


class MiniBatch:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def getInput(self):
        return self.x

    def getTarget(self):
        return self.y


class DataSet:
    """BigDL's: in training its iterator never ends."""

    def __init__(self, entries, size, endless=True):
        self.entries, self.length, self.endless, self.shuffles = entries, size, endless, 0

    def size(self):
        return self.length

    def shuffle(self):
        self.shuffles += 1

    def data(self, train):
        yield from self.entries
        while train and self.endless:
            yield from self.entries


BATCHES = [MiniBatch(X[i : i + 8], Y[i : i + 8]) for i in range(0, 40, 8)]
SAMPLES = [Sample(x, y) for x, y in zip(X, Y, strict=True)]


@pytest.mark.parametrize(
    "data",
    [
        [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 40, 8)],
        BATCHES,
        DataSet(BATCHES, 40),
        DataSet(BATCHES, 40, endless=False),
        DataSet(SAMPLES, 40),
        DataSet([(b.x, b.y) for b in BATCHES], 40),
        lambda: iter([(b.x, b.y) for b in BATCHES]),
    ],
    ids=["pairs", "batches", "data set", "ending data set", "samples in a set", "pairs in a set",
         "function"],
)  # fmt: skip
def test_data_of_every_kind_are_the_same_data(data):
    optimizer = make(data=data).setOptimMethod(SGD(0.1)).setEndWhen(Trigger.maxEpoch(2))
    optimizer.setValidation(Trigger.everyEpoch(), data, [Top1Accuracy()]).optimize()
    assert (optimizer.state["epoch"], optimizer.state["neval"]) == (3, 11)
    assert optimizer.results[0][0].result()[1] == 40
    expected = make(data=BATCHES).setOptimMethod(SGD(0.1)).setEndWhen(Trigger.maxEpoch(2))
    assert (weights_of(optimizer.model) == weights_of(expected.optimize())).all()
    assert getattr(data, "shuffles", 2) == 2


def test_a_list_of_samples_is_shuffled_into_batches():
    optimizer = make(data=SAMPLES).setEndWhen(Trigger.maxEpoch(2))
    optimizer.setValidation(Trigger.everyEpoch(), SAMPLES, [Top1Accuracy()], 7).optimize()
    assert optimizer.state["neval"] == 11
    assert optimizer.results[0][0].result()[1] == 40
    with pytest.raises(ValueError, match="SampleToMiniBatch"):
        make(data=[*SAMPLES, Sample(np.zeros(2), 0)]).setEndWhen(Trigger.maxEpoch(1)).optimize()
    with pytest.raises(TypeError, match="the data set gave int"):
        make(data=DataSet([1, 2], 2)).optimize()
    with pytest.raises(ValueError, match="no samples"):
        make(data=DataSet([], 0, endless=False)).optimize()


# Methods by themselves ----------------------------------------------------------------------------


def test_a_method_is_saved_and_goes_on(tmp_path):
    def function(x):
        return float((x * x).sum()), 2 * x

    method, x = SGD(0.1, momentum=0.5, learningRateDecay=0.1), np.ones(3)
    for _ in range(3):
        method.optimize(function, x)
    method.save(tmp_path / "method")
    other, y = SGD.load(tmp_path / "method"), x.copy()
    for one, place in ((method, x), (other, y)):
        one.optimize(function, place)
    assert (x == y).all()
    assert repr(other) == repr(method)
    with pytest.raises(FileExistsError, match="overWrite"):
        method.save(tmp_path / "method")
    method.save(tmp_path / "method", overWrite=True)
    with pytest.raises(ValueError, match="saved by SGD"):
        Adam.load(tmp_path / "method")
    method.clearHistory()
    assert method.getLearningRate() == 0.1
    assert method.getHyperParameter().startswith("Current learning rate is 0.1. ")
    assert method.loadFromTable({"learningRate": 0.3}).getLearningRate() == 0.3
    with pytest.raises(TypeError, match="no option 'lr'"):
        method.loadFromTable({"lr": 0.3})


def test_methods_and_schedules_refuse():
    for wrong in (
        lambda: SGD(-1),
        lambda: SGD(nesterov=True),
        lambda: bigdl.LarsSGD(trust=2),
        lambda: SGD.Poly(0.5, 0),
        lambda: SGD.Plateau("Loss", factor=1.0),
        lambda: SGD.Plateau("Loss", mode="least"),
        lambda: SGD.SequentialSchedule(0),
        lambda: SGD.SequentialSchedule(2)(bigdl.Moment(0.1)),
    ):
        with pytest.raises(ValueError, match=r"must|needs|add"):
            wrong()


def test_schedules_that_are_not_recorded():
    at = bigdl.Moment(0.5, steps=3, epoch=2)
    assert SGD.EpochDecayWithWarmUp(5, 0.1, float)(at) == pytest.approx(0.5 + 0.3)
    assert SGD.EpochDecayWithWarmUp(3, 0.1, float)(at) == pytest.approx((0.5 + 0.3) * 0.01)
    assert SGD.Warmup(0.2)(at) == pytest.approx(1.1)
    assert SGD.NaturalExp(2, 0.5)(at) == pytest.approx(0.5 * np.exp(-0.5))


def test_a_copy_of_a_method_is_another():
    method = SGD(0.1)
    other = copy.deepcopy(method)
    other.state["neval"] = 7
    assert method.state["neval"] == 1
