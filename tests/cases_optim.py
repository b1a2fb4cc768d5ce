"""How to draw an example of optimizers, and of the primitive that runs them.

Each rule has a case of its own, made of what its options may try (`law_case`).  Here are those that
need several options together, an array as long as x, or several entries.
"""

from __future__ import annotations

from tapegrad.autograd.check import Call, Setting
from tapegrad.optim import option, update_rule


def maybe(d, **options):
    """Some of the options."""
    return {name: value for name, value in options.items() if d.choice([False, True])}


def nag(d):
    size = d.integer(1, 6)
    config = {"learningRate": d.choice([0.05, 0.01])}
    config |= maybe(d, momentum=0.5, weightDecay=0.01, learningRateDecay=0.05)
    config |= maybe(d, learningRates=d.rng.uniform(0.5, 1.0, size))
    return Setting(config, size)


def lion(d):
    config = {"learningRate": d.choice([0.02, 0.01])}
    return Setting(config | maybe(d, beta1=0.5, decoupledDecay=0.1), d.integer(4, 6))


def signsgd(d):
    # Steps of one size end by crossing the minimum to and fro: several entries, small steps.
    config = {"learningRate": d.choice([0.005, 0.002])}
    return Setting(config | maybe(d, momentum=0.5, weightDecay=0.1), d.integer(4, 6))


OPTIMIZERS = {"lion": lion, "nag": nag, "signsgd": signsgd}


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
    return Call([x, g, [], [factors]], settings)


PRIMITIVES = {"optimizer_step": optimizer_step}
