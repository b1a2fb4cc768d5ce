"""What the tests of compiled steps share: data, the third call of a step, and what it runs."""

from __future__ import annotations

import numpy as np

RNG = np.random.default_rng(0)
_FIRST = RNG.bit_generator.state


def start_again():
    """Have `RNG` draw from its beginning."""
    RNG.bit_generator.state = _FIRST


def single(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def third_call(step, *args):
    """The result of the first call that runs compiled."""
    for _ in range(2):
        step(*args)
    assert step.recorded == 1
    return step(*args)


def bound_program(step):
    [(_, _, found)] = step._bound
    assert not isinstance(found, str)
    return found


def kernels(step):
    return len(bound_program(step).kernels)


def calls(step):
    """What runs by its own body, by the name of the primitive."""
    found = bound_program(step)
    return [
        g.entries[0].primitive.name
        for i, g in enumerate(found.groups)
        if i not in {*found.kernels, *found.views, *found.placed}
    ]
