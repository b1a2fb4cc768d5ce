"""A machine that uses a Trainer as people do, beside a plain NumPy model of what must come of it.

It trains for some epochs or steps, again, on other data, stops inside an epoch and inside an
accumulation, goes on as another process would (new model and trainer, same folder), puts parts
into evaluation mode, validates with missing labels, with batches of any size, and with nothing.
After each rule parameters, running statistics, averages, figures and modes are compared with the
model, and a resumed run with the one that was not stopped, bit by bit.

    python -m tests.nightly trainer_machine --steps=100000
"""

from __future__ import annotations

import copy
import math
import tempfile

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from machine_runs import run_machine

from tapegrad import devices, nn, optim
from tapegrad.autograd import ops

FEATURES = frozenset(
    {
        "twice",
        "part",
        "accumulate",
        "modes",
        "missing",
        "sums",
        "empty",
        "lists",
        "orders",
        "nan",
        "predict",
        "weights",
    }
)
CLASSES, DECAY, LR = 3, 0.5, 0.2


class Plain:
    """Normalised inputs, one linear layer, log-softmax: everything that a run depends on."""

    def __init__(self, weight, bias, *, kind, class_weights, accumulate, momentum, average):
        self.weight, self.bias = weight.copy(), bias.copy()
        self.kind, self.class_weights = kind, class_weights
        self.accumulate, self.momentum, self.average = accumulate, momentum, average
        self.running = [np.zeros(weight.shape[1]), np.ones(weight.shape[1])]
        self.velocity = [np.zeros_like(weight), np.zeros_like(bias)]
        self.gradients = [np.zeros_like(weight), np.zeros_like(bias)]
        self.averages = [weight.copy(), bias.copy()]
        self.pending = self.epoch = self.position = self.step = 0
        self.total = self.weights = 0.0
        self.best, self.history, self.losses = math.inf, [], []

    def normalize(self, x, training):
        mean, var = self.running
        if training and len(x) > 1:
            mean, var = x.mean(0), x.var(0)
            unbiased = var * len(x) / (len(x) - 1)
            self.running = [
                0.9 * self.running[0] + 0.1 * mean,
                0.9 * self.running[1] + 0.1 * unbiased,
            ]
        return (x - mean) / np.sqrt(var + 1e-5)

    def output(self, z, weight, bias):
        y = z @ weight.T + bias
        return y - np.logaddexp.reduce(y, axis=1, keepdims=True)

    def loss(self, y, t, w):
        """The loss, its cotangent's factors for each sample, and (factor, weight) in means."""
        known = t >= 0
        each = np.where(known, -np.take_along_axis(y, np.maximum(t, 0)[:, None], 1)[:, 0], 0)
        factors = known.astype(float)
        if self.class_weights is not None:
            factors = factors * np.array(self.class_weights)[np.maximum(t, 0)]
        if self.kind == "weights":
            factors = w
        if self.kind == "sum":
            return float(each @ factors), factors, (1, len(t))
        total = factors.sum()
        factors = factors / (total or 1)
        return float(each @ factors), factors, (total, total)

    def learn(self, x, t, w, training):
        if not self.pending:
            self.gradients = [np.zeros_like(self.weight), np.zeros_like(self.bias)]
        z = self.normalize(x, training)
        y = self.output(z, self.weight, self.bias)
        value, factors, (factor, weight) = self.loss(y, t, w)
        g = (np.exp(y) - np.eye(CLASSES)[np.maximum(t, 0)]) * factors[:, None]
        self.gradients = [self.gradients[0] + g.T @ z, self.gradients[1] + g.sum(0)]
        self.pending += 1
        if self.pending == self.accumulate:
            self.flush()
        self.step, self.position = self.step + 1, self.position + 1
        self.total, self.weights = self.total + factor * value, self.weights + weight
        self.losses.append(value)

    def flush(self):
        if not self.pending:
            return
        for i, p in enumerate((self.weight, self.bias)):
            self.velocity[i] = self.momentum * self.velocity[i] + self.gradients[i] / self.pending
            p -= LR * self.velocity[i]
            self.averages[i] = self.averages[i] + (p - self.averages[i]) * (1 - DECAY)
        self.pending = 0

    def mean_loss(self):
        return self.total / self.weights if self.weights else math.nan

    def restart_epoch(self):
        self.flush()
        self.position, self.total, self.weights = 0, 0.0, 0.0

    def predict(self, x):
        z = self.normalize(x, training=False)
        return self.output(z, *(self.averages if self.average else (self.weight, self.bias)))

    def evaluate(self, x, t, w):
        y = self.predict(x)
        _, _, (factor, weight) = found = self.loss(y, t, w)
        known = t >= 0
        right = y[known].argmax(axis=1) == t[known]
        if np.isnan(y).any():
            right = np.zeros(len(right))
        own = np.take_along_axis(y[known], t[known][:, None], axis=1)
        top1 = right.mean() if known.any() else math.nan
        perplexity = np.exp(-own.mean()) if known.any() else math.nan
        loss = factor * found[0] / weight if weight else math.nan
        return {"val_loss": loss, "val_top1": top1, "val_perplexity": perplexity}


class TrainerMachine(RuleBasedStateMachine):
    """What people do with a trainer; `features` are the kinds of it that are tried."""

    features = FEATURES

    @initialize(seed=st.integers(0, 10**6))
    def build(self, seed):
        """One number decides all of the run, since choices one by one come out one-sided."""
        on = self.features
        pick = lambda feature, plain, *more: (  # noqa: E731  # one line for each choice
            [plain, *more][rng.integers(1 + len(more))] if feature in on else plain
        )
        rng = np.random.default_rng(seed)
        self.folder = tempfile.TemporaryDirectory()
        self.kind = pick("sums", "mean", "sum")
        self.kind = "weights" if pick("weights", False, True) else self.kind
        self.class_weights = pick("sums", None, [1.0, 3.0, 0.5]) if self.kind != "weights" else None
        self.accumulate = pick("accumulate", 1, 2, 3)
        self.momentum, self.average = rng.integers(2) * 0.5, bool(rng.integers(2))
        self.save_every = [None, 1, 2][rng.integers(3)]
        self.keeps_files = bool(rng.integers(2))
        self.data = {}
        for name in "ABV":
            n = int(rng.integers(2, 8))
            x, t = rng.normal(size=(n, 2)), rng.integers(0, CLASSES, n)
            if self.kind != "weights" and "missing" in on:
                t[rng.random(n) < [0, 0.3, 1][rng.integers(3)]] = -1
            self.data[name] = (x, t, rng.integers(0, 3, n) * 0.5)
        self.sources, self.iterations = {}, {}
        self.reference = self.order = None
        self.kept = [False] * 4
        self.checkpoint, self.saved_at, self.fits = None, -1, 0
        self.make_trainer(rng)
        if pick("modes", False, False, True):
            self.set_modes("norm off")
        if rng.integers(4):
            size = int(rng.integers(1, 5))
            steps = int(rng.integers(1, 4)) if self.keeps_files else None
            self.fit("A", "tuple", size, seed=0, epochs=1, steps=steps, validation="V", again=False)
            if self.keeps_files:
                self.resume(1, 2, seed)

    def make_trainer(self, rng):
        devices.manual_seed(int(rng.integers(1000)))
        bn = nn.BatchNormalization(2, affine=False)
        self.model = nn.Sequential(bn, nn.Linear(2, CLASSES), nn.LogSoftMax()).double()
        linear = self.model.get(1)
        criterion = nn.ClassNLLCriterion(self.class_weights, self.kind != "sum", -1)
        if self.kind == "weights":
            criterion = lambda y, t: -ops.take_along_axis(y, t[:, None], axis=1)  # noqa: E731
        optimizer = optim.SGD(self.model, lr=LR, momentum=self.momentum, accumulate=self.accumulate)
        average = optim.ExponentialMovingAverage(self.model, DECAY) if self.average else None
        more = {"sample_weights": True} if self.kind == "weights" else {}
        self.trainer = optim.Trainer(
            self.model, criterion, optimizer, average=average, metrics=["top1", "perplexity"],
            folder=self.folder.name if self.keeps_files else None, progress=False,
            save_every=self.save_every if self.keeps_files else None, **more,
        )  # fmt: skip
        self.plain = Plain(
            linear.weight.numpy(), linear.bias.numpy(), kind=self.kind,
            class_weights=self.class_weights, accumulate=self.accumulate,
            momentum=self.momentum, average=self.average,
        )  # fmt: skip
        self.modes = [True] * 4

    def parts(self):
        return self.model.listModules()

    def arrays(self, name):
        return self.data[name] if self.kind == "weights" else self.data[name][:2]

    def source(self, name, form, batch_size, seed):
        """The data in some form, what it is made of, and the order of its samples."""
        key = (name, form) if form in {"tuple", "lists"} else (name, form, batch_size, seed)
        arrays = self.arrays(name)
        order = (name, batch_size, seed)
        options = {"batch_size": batch_size, "seed": seed}
        if form == "list":
            return list(arrays), (name, "tuple"), order
        if key not in self.sources:
            make = {
                "tuple": lambda: arrays,
                "lists": lambda: [a.tolist() for a in arrays],
                "batches": lambda: optim.Batches(*arrays, **options),
                "function": lambda: lambda: optim.Batches(*arrays, **options),
            }  # fmt: skip
            self.sources[key] = make[form]()
        return self.sources[key], key, None if form == "function" else order

    # The model's own loop -------------------------------------------------------------------------

    def batches(self, name, batch_size, seed):
        x, t, w = self.data[name]
        order = np.random.default_rng([seed, self.plain.epoch]).permutation(len(x))
        for i in range(self.plain.position, -(-len(x) // batch_size)):
            part = order[i * batch_size : (i + 1) * batch_size]
            yield x[part], t[part], w[part]

    def save(self):
        if self.keeps_files:
            self.checkpoint, self.saved_at = (
                copy.deepcopy((self.plain, self.order)),
                self.plain.step,
            )

    def figures(self, validation):
        found = {"loss": self.plain.mean_loss()}
        return {**found, **(self.plain.evaluate(*self.data[validation]) if validation else {})}

    def expect(self, name, batch_size, seed, last_epoch, last_step, validation):
        """Do what `fit` must do; returns the figures that it must return."""
        plain = self.plain
        if any(self.modes):
            self.kept = [not mode for mode in self.modes]
        self.modes = [not kept for kept in self.kept]
        while plain.epoch < last_epoch and plain.step < last_step:
            for batch in self.batches(name, batch_size, seed):
                if plain.step >= last_step:
                    break
                plain.learn(*batch, training=self.modes[1])
                if self.save_every and plain.step % self.save_every == 0:
                    self.save()
            else:
                plain.flush()
                plain.history.append(self.figures(validation))
                monitored = plain.history[-1].get("val_loss", plain.history[-1]["loss"])
                plain.best = min(plain.best, monitored)
                plain.epoch, plain.position, plain.total, plain.weights = (
                    plain.epoch + 1,
                    0,
                    0.0,
                    0.0,
                )
                self.save()
        if not plain.position:
            return plain.history
        if self.saved_at != plain.step:
            self.save()
        return [*plain.history, self.figures(validation)]

    # Rules ----------------------------------------------------------------------------------------

    @precondition(lambda self: not self.fits or "twice" in self.features)
    @rule(
        name=st.sampled_from("AB"),
        form=st.sampled_from(["tuple", "list", "lists", "batches", "function"]),
        batch_size=st.integers(1, 4), seed=st.integers(0, 1),
        epochs=st.sampled_from([None, 0, 1, 1, 2, 3]), steps=st.sampled_from([None, 1, 2, 3, 5]),
        validation=st.sampled_from([None, "V", "empty"]), again=st.booleans(),
    )  # fmt: skip
    def fit(self, name, form, batch_size, seed, epochs, steps, validation, again):
        on = self.features
        if "part" not in on or steps is None:
            steps, epochs = None, 1 if epochs is None else epochs
        if "lists" not in on and form in {"list", "lists"}:
            form = "tuple"
        if "orders" not in on and form == "function":
            form = "batches"
        if again and getattr(self, "last", None):
            name, form, batch_size, seed = self.last
        self.last = name, form, batch_size, seed
        data, reference, order = self.source(name, form, batch_size, seed)
        options = {"epochs": epochs, "steps": steps, "batch_size": batch_size, "seed": seed}
        if validation == "empty":
            if "empty" in on:
                nothing = [a[:0] for a in self.arrays("V")]
                with pytest.raises(ValueError, match="no samples"):
                    self.trainer.fit(data, validation=tuple(nothing), **options)
            return
        if validation:
            options["validation"] = self.arrays("V")
        if self.plain.position and self.reference is None and None not in (order, self.order):
            if order[1:] != self.order[1:] or len(self.data[name][0]) != len(
                self.data[self.order[0]][0]
            ):
                with pytest.raises(ValueError, match="those would be other samples"):
                    self.trainer.fit(data, **options)
                return
            if name != self.order[0]:
                return  # other numbers, equally many: nobody can tell
        elif self.plain.position and self.reference is None and self.order is None:
            return
        self.fits += 1
        is_known = self.plain.position and self.reference is not None
        if is_known and (reference, order) != (self.reference, self.order):
            self.plain.restart_epoch()
        self.reference, self.order = reference, order
        last_epoch = math.inf if epochs is None else self.plain.epoch + epochs
        last_step = math.inf if steps is None else self.plain.step + steps
        right = self.expect(name, batch_size, seed, last_epoch, last_step, validation)
        same_figures(self.trainer.fit(data, **options), right)

    @precondition(lambda self: self.keeps_files)
    @rule(epochs=st.integers(0, 2), steps=st.integers(0, 4), number=st.integers(0, 99))
    def resume(self, epochs, steps, number):
        """Go on in a new process: whatever was not saved is lost."""
        if self.checkpoint is None or not getattr(self, "last", None):
            return
        name, form, batch_size, seed = self.last
        data, reference, order = self.source(name, form, batch_size, seed)
        plain, saved_order = copy.deepcopy(self.checkpoint)
        if plain.position and (order is None or order != saved_order):
            return
        old, modes, kept = self.trainer, self.modes, self.kept
        unchanged = (plain.step, plain.position, plain.pending) == (
            self.plain.step, self.plain.position, self.plain.pending
        )  # fmt: skip
        self.make_trainer(np.random.default_rng(number))
        self.plain, self.saved_at = plain, plain.step
        for part, mode in zip(
            self.parts(), modes if any(modes) else [not k for k in kept], strict=True
        ):
            part.train = mode
        self.modes = [part.train for part in self.parts()]
        totals = {
            "epochs": plain.epoch + epochs,
            "steps": plain.step + steps if "part" in self.features else None,
        }
        options = {"batch_size": batch_size, "seed": seed}
        before = copy.deepcopy(self.checkpoint)
        self.reference, self.order = reference, order
        last_step = math.inf if totals["steps"] is None else totals["steps"]
        right = self.expect(name, batch_size, seed, totals["epochs"], last_step, None)
        same_figures(self.trainer.fit(data, resume=True, **totals, **options), right)
        if (
            "twice" in self.features
            and unchanged
            and before[1] == order
            and old.model.get(0).train == self.model.get(0).train
        ):
            old.checkpoints = None  # one process writes to the folder
            more = None if totals["steps"] is None else steps
            old.save_every = None
            old.fit(data, epochs=epochs, steps=more, **options)
            same_bits(old.state_dict(), self.trainer.state_dict(), "state")

    @precondition(lambda self: "nan" in self.features and not self.plain.position)
    @rule(name=st.sampled_from("AB"))
    def fit_nan(self, name):
        """A loss that is not finite is an error, and nothing was learned from it."""
        arrays = self.arrays(name)
        if (arrays[1] < 0).any():
            return  # of samples without a label there is a loss
        if any(self.modes):
            self.kept = [not mode for mode in self.modes]
        self.modes = [not kept for kept in self.kept]
        with pytest.raises(FloatingPointError, match="no parameter was updated"):
            self.trainer.fit((arrays[0] * np.nan, *arrays[1:]), steps=1, batch_size=7)
        if not self.plain.pending:
            self.plain.gradients = [np.zeros_like(g) for g in self.plain.gradients]

    @precondition(lambda self: "modes" in self.features)
    @rule(what=st.sampled_from(["norm off", "norm on", "all off", "all on", "freeze", "unfreeze"]))
    def set_modes(self, what):
        norm = self.model.get(0)
        {
            "norm off": norm.evaluate, "norm on": norm.training, "all off": self.model.evaluate,
            "all on": self.model.training, "freeze": norm.freeze, "unfreeze": norm.unfreeze,
        }[what]()  # fmt: skip
        if what.startswith("norm"):
            self.modes[1] = what == "norm on"
        if what.startswith("all"):
            self.modes = [what == "all on"] * 4

    @rule(
        name=st.sampled_from("ABV"),
        batch_size=st.integers(1, 8),
        form=st.sampled_from(["tuple", "list"]),
    )
    def evaluate(self, name, batch_size, form):
        arrays = self.arrays(name)
        data = list(arrays) if form == "list" and "lists" in self.features else arrays
        found = self.trainer.evaluate(data, batch_size=batch_size)
        same_figures([found], [self.plain.evaluate(*self.data[name])])

    @precondition(lambda self: "empty" in self.features)
    @rule()
    def evaluate_nothing(self):
        for data in (tuple(a[:0] for a in self.arrays("A")), [], lambda: iter(())):
            with pytest.raises(ValueError, match="no samples"):
                self.trainer.evaluate(data)

    @precondition(lambda self: "predict" in self.features)
    @rule(name=st.sampled_from("ABV"), batch_size=st.integers(1, 8), column=st.booleans())
    def predict(self, name, batch_size, column):
        x = self.data[name][0]
        found = self.trainer.predict((x,) if column else x, batch_size=batch_size)
        np.testing.assert_allclose(found, self.plain.predict(x), rtol=1e-7, atol=1e-9)

    @precondition(lambda self: "orders" in self.features)
    @rule(seed=st.integers(0, 1))
    def iterate(self, seed):
        """Each `for` over the same batches has the order of another epoch."""
        if seed not in self.iterations:
            self.iterations[seed] = [optim.Batches(np.arange(12), batch_size=5, seed=seed), 0]
        batches, number = self.iterations[seed]
        found = np.concatenate([x for (x,) in batches])
        right = np.random.default_rng([seed, number]).permutation(12)
        np.testing.assert_array_equal(found, right)
        self.iterations[seed][1] += 1

    @precondition(lambda self: "nan" in self.features)
    @rule()
    def diverge(self):
        """The parameters become NaN, and then are what they were."""
        values = self.trainer.average.values if self.average else {}
        bias = values.get("1.bias", self.model.get(1).bias).detach()
        kept = bias.numpy().copy()
        bias[...] = np.nan
        found = self.trainer.evaluate(self.arrays("A"))
        bias[...] = kept
        known = (self.data["A"][1] >= 0).any()
        assert found["val_top1"] == 0 if known else math.isnan(found["val_top1"])
        assert math.isnan(found["val_perplexity"])

    @invariant()
    def everything_is_as_in_the_model(self):
        if not hasattr(self, "plain"):
            return
        plain, trainer, (norm, linear, _) = self.plain, self.trainer, self.model.modules
        assert (trainer.step_count, trainer.epoch, trainer.position) == (
            plain.step, plain.epoch, plain.position
        )  # fmt: skip
        pairs = [(linear.weight, plain.weight), (linear.bias, plain.bias)]
        pairs += zip((norm.running_mean, norm.running_var), plain.running, strict=True)
        if self.average:
            pairs += zip(trainer.average.values.values(), plain.averages, strict=True)
        for tensor, right in pairs:
            np.testing.assert_allclose(tensor.numpy(), right, rtol=1e-7, atol=1e-9)
        assert [part.train for part in self.parts()] == self.modes
        same_figures(trainer.history, plain.history)
        np.testing.assert_allclose(trainer.step_losses, plain.losses, rtol=1e-7, atol=1e-9)
        if self.keeps_files:
            np.testing.assert_allclose(trainer.best, plain.best, rtol=1e-7, atol=1e-9)

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()


def same_figures(found, right):
    assert len(found) == len(right)
    for one, other in zip(found, right, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-7, atol=1e-9, err_msg=name)


def same_bits(a, b, where):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same_bits(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same_bits(x, y, f"{where}[{i}]")
    elif isinstance(a, (np.ndarray, float)):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), where
    else:
        assert a == b, where


def test_a_trainer_does_what_a_plain_model_of_it_does():
    run_machine(TrainerMachine, 36, 12)
