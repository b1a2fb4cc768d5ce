"""Examples for optim/; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import Call, Setting
from tapegrad.optim import optimizer


def sgd(d):
    size = d.integer(1, 6)
    config = {"learningRate": d.choice([0.1, 0.01])}
    kind = d.choice(["plain", "momentum", "nesterov", "damped"])
    if kind != "plain":
        config["momentum"] = d.choice([0.5, 0.9])
    if kind == "nesterov":
        config.update(nesterov=True, dampening=0)
    if kind == "damped":
        config["dampening"] = 0.25
    decay = d.choice(["none", "weight", "weights", "rate"])
    if decay == "weight":
        config["weightDecay"] = 0.01
    elif decay == "weights":
        config["weightDecays"] = d.rng.uniform(0, 0.02, size)
    elif decay == "rate":
        config["learningRateDecay"] = 0.05
    if d.choice([False, True]):
        config["learningRates"] = d.rng.uniform(0.5, 1.0, size)
    return Setting(config, size)


def maybe(d, **options):
    """Some of the options."""
    return {name: value for name, value in options.items() if d.choice([False, True])}


def adam(d):
    config = {"learningRate": d.choice([0.05, 0.01]), "beta1": d.choice([0.9, 0.5])}
    config |= maybe(d, weightDecay=0.01, learningRateDecay=0.05, paper=True, decoupledDecay=0.1)
    return Setting(config, d.integer(1, 6))


def adamax(d):
    config = {"learningRate": d.choice([0.05, 0.01])}
    # float32 has no normal numbers below 1e-38
    config |= {"epsilon": 1e-8} | maybe(d, weightDecay=0.01, learningRateDecay=0.05, beta1=0.5)
    return Setting(config, d.integer(1, 6))


def adagrad(d):
    config = {"learningRate": d.choice([0.1, 0.01])}
    return Setting(config | maybe(d, weightDecay=0.01, learningRateDecay=0.05), d.integer(1, 6))


def adadelta(d):
    return Setting(maybe(d, rho=0.5, eps=1e-3, weightDecay=0.01), d.integer(1, 6))


def rmsprop(d):
    config = {"learningRate": d.choice([0.02, 0.01])}
    config |= maybe(
        d, momentum=0.5, alpha=0.9, initialMean=0.5, weightDecay=0.01, learningRateDecay=0.05
    )
    return Setting(config, d.integer(1, 6))


def rprop(d):
    config = {"stepsize": d.choice([0.01, 0.1])}
    return Setting(config | maybe(d, etaplus=1.1, etaminus=0.4, stepsizemax=1.0), d.integer(1, 6))


def nag(d):
    size = d.integer(1, 6)
    config = {"learningRate": d.choice([0.05, 0.01])}
    config |= maybe(d, momentum=0.5, weightDecay=0.01, learningRateDecay=0.05)
    config |= maybe(d, learningRates=d.rng.uniform(0.5, 1.0, size))
    return Setting(config, size)


def asgd(d):
    config = {"eta0": d.choice([0.1, 0.05])}
    return Setting(config | maybe(d, alpha=0.5, t0=2, **{"lambda": 0.01}), d.integer(1, 6))


def lion(d):
    config = {"learningRate": d.choice([0.02, 0.01])}
    return Setting(config | maybe(d, beta1=0.5, decoupledDecay=0.1), d.integer(4, 6))


def signsgd(d):
    # Steps of one size end by crossing the minimum to and fro: several entries, small steps.
    config = {"learningRate": d.choice([0.005, 0.002])}
    return Setting(config | maybe(d, momentum=0.5, weightDecay=0.1), d.integer(4, 6))


def lamb(d):
    config = {"learningRate": d.choice([0.02, 0.01])}
    return Setting(config | maybe(d, beta1=0.5, decoupledDecay=0.1), d.integer(2, 6))


def lars(d):
    config = {"learningRate": d.choice([0.5, 0.1]), "trust": 0.1}
    return Setting(config | maybe(d, momentum=0.5, weightDecay=0.1), d.integer(2, 6))


def adafactor(d):
    config = {"learningRate": d.choice([0.02, 0.01])}
    return Setting(config | maybe(d, decoupledDecay=0.1), d.integer(2, 6))


def muon(d):
    config = {"learningRate": d.choice([0.02, 0.01]), "decoupledDecay": d.choice([0, 0.1])}
    return Setting(config | maybe(d, nesterov=False, match=True), d.integer(2, 6))


@optimizer(learningRate=0.1, factors=1.0)
def plain(xp, x, g, state, *, learningRate, factors):
    """A rule without state: its primitive overwrites x alone."""
    return x - learningRate * (factors * g), {}


def optimizer_step(d):
    shape = d.shape()
    x, g, factors = (d.array(shape) for _ in range(3))
    settings = {
        "rule": plain,
        "slot_names": (),
        "names": ("factors",),
        "options": (("learningRate", 0.25),),
    }
    return Call([x, g, [], [factors]], settings)


OPERATIONS = {
    "optimizer_step": optimizer_step,
}


OPTIMIZERS = {
    "adadelta": adadelta,
    "adafactor": adafactor,
    "adagrad": adagrad,
    "adam": adam,
    "adamax": adamax,
    "asgd": asgd,
    "lamb": lamb,
    "lars": lars,
    "lion": lion,
    "muon": muon,
    "nag": nag,
    "rmsprop": rmsprop,
    "rprop": rprop,
    "sgd": sgd,
    "signsgd": signsgd,
}
