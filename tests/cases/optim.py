"""Examples for optim/; see `cases`.

Each rule has a case of its own, made of what its options may try (`law_case`).  Here are those that
need several options together, or an array as long as x.
"""

from __future__ import annotations

from tapegrad.autograd.check import Setting, TrialCall
from tapegrad.optim import option, update_rule


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


def nag(d):
    size = d.integer(1, 6)
    config = {"learningRate": d.choice([0.05, 0.01])}
    config |= maybe(d, momentum=0.5, weightDecay=0.01, learningRateDecay=0.05)
    config |= maybe(d, learningRates=d.rng.uniform(0.5, 1.0, size))
    return Setting(config, size)


@update_rule()
def plain(xp, x, g, state, *, learningRate=0.1, factors=option(1.0)):
    """A rule without state: its primitive overwrites x alone."""
    return x - learningRate * (factors * g), {}


def optimizer_step(d):
    shape = d.shape()
    x, g, factors = (d.array(shape) for _ in range(3))
    settings = {
        "rule": plain,
        "slot_names": (),
        "array_names": ("factors",),
        "options": (("learningRate", 0.25),),
    }
    return TrialCall([x, g, [], [factors]], settings)


OPERATIONS = {
    "optimizer_step": optimizer_step,
}


OPTIMIZERS = {"nag": nag, "sgd": sgd}


EXCEPTIONS = {
    ("ftrl", "a_quadratic_goes_down"): "with the power -1 a step may be longer than the way down",
}
