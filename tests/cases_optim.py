"""How to draw an example of optimizers, and of the primitive that runs them.

Each rule has a case of its own, made of what its options may try (`law_case`).  Here are those that
need several options together, or an array as long as x; that of sgd stands in cases.py.
"""

from __future__ import annotations

from tapegrad.autograd.check import Setting, TrialCall
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


OPTIMIZERS = {"nag": nag}


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


PRIMITIVES = {"optimizer_step": optimizer_step}
