"""BigDL's optimizers and schedules against what BigDL 2.4 recorded: step by step, rate by rate.

Another directory of this layout is read with TAPEGRAD_BIGDL_RECORDINGS=DIRECTORY.  The names hide
the options of some methods; README.md there has them, and `METHODS` says them for each.
"""

import re

import numpy as np
import pytest
from bigdl_recordings import arrays_in, require, require_cases

from tapegrad.optim import bigdl

# Of the largest entry; BigDL computes in float32.
TOLERANCE = 1e-5


TRAJECTORIES = arrays_in("optim.npz")
SCHEDULES = arrays_in("schedules.npz")


def test_there_is_something_to_compare_with():
    require_cases(len(TRAJECTORIES), "optim.npz")
    require_cases(len(SCHEDULES), "schedules.npz")


# By a recording's name: the method with its options.
METHODS = {
    "sgd": lambda: bigdl.SGD(0.1),
    "sgd_momentum_defaultdamp": lambda: bigdl.SGD(0.05, momentum=0.9),
    "sgd_momentum_damp0": lambda: bigdl.SGD(0.05, momentum=0.9, dampening=0.0),
    "sgd_nesterov": lambda: bigdl.SGD(0.05, momentum=0.9, dampening=0.0, nesterov=True),
    "sgd_wd_lrd": lambda: bigdl.SGD(0.1, learningRateDecay=0.1, weightDecay=0.01),
    "adam": lambda: bigdl.Adam(0.1),
    "adam_lrd": lambda: bigdl.Adam(0.1, 0.1),
    "adamax": lambda: bigdl.Adamax(0.1),
    "adagrad": lambda: bigdl.Adagrad(0.1, 0.1, 0.01),
    "adadelta": lambda: bigdl.Adadelta(0.9, 1e-6),
    "rmsprop": lambda: bigdl.RMSprop(0.1),
    "rmsprop_lrd": lambda: bigdl.RMSprop(0.1, 0.1, 0.9),
    "ftrl": lambda: bigdl.Ftrl(0.1),
    "ftrl_l1l2": lambda: bigdl.Ftrl(0.1, -0.5, 0.1, 0.01, 0.01, 0.01),
    "lbfgs": lambda: bigdl.LBFGS(maxIter=2),
    "paralleladam": lambda: bigdl.ParallelAdam(0.1, parallelNum=1),
    "lars": lambda: bigdl.LarsSGD(True, 1.0, 0.1),
}


def recorded_function(x):
    """f = Σ i·x_i²/2 + 0.1·x_i, and its gradient."""
    i = np.arange(1, x.size + 1, dtype=np.float32)
    return float((0.5 * i * x * x + 0.1 * x).sum()), i * x + np.float32(0.1)


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_trajectory(name):
    assert name in METHODS, f"{name}: say in METHODS which options the name stands for"
    expected = TRAJECTORIES[name]
    method, x = METHODS[name](), expected[0].copy()
    found = [x.copy()]
    for _ in expected[1:]:
        method.optimize(recorded_function, x)
        found.append(x.copy())
    assert np.abs(np.array(found) - expected).max() <= TOLERANCE * np.abs(expected).max()


def numbers_in(name):
    return [float(text) for text in re.findall(r"(?<![a-z\d])\d+(?:\.\d+)?", name)]


def schedule_of(name):
    """The method whose rates a recording called `name` holds.

    Rate 1 but where the name says lrN; _pP_maxN are of Poly; numbers are the schedule's own.
    """
    kind, *_ = name.split("_")
    found = numbers_in(name.replace("lrd", "_").replace("lr", "~").replace("_p", "_"))
    rates = re.search(r"lr(\d[\d.]*)$", name)
    rate = float(rates[1]) if rates else 1.0
    decay = re.search(r"lrd(\d[\d.]*)", name)
    steps = [int(n) for n in found]
    make = {
        "default": bigdl.SGD.Default,
        "poly": lambda: bigdl.SGD.Poly(float(re.search(r"_p([\d.]+)", name)[1]),
                                       int(re.search(r"max(\d+)", name)[1])),
        "step": lambda: bigdl.SGD.Step(steps[0], found[1]),
        "multistep": lambda: bigdl.SGD.MultiStep(steps[:-1], found[-1]),
        "epochstep": lambda: bigdl.SGD.EpochStep(steps[0], found[1]),
        "naturalexp": lambda: bigdl.SGD.NaturalExp(steps[0], found[1]),
        "exponential": lambda: bigdl.SGD.Exponential(*(found or (4, 0.5)), "stair" in name),
        "epochdecay": lambda: bigdl.SGD.EpochDecay(float),
        "sequential": lambda: bigdl.SGD.SequentialSchedule(4)
        .add(bigdl.SGD.Warmup(0.1), int(re.search(r"warmup(\d+)", name)[1]))
        .add(bigdl.SGD.Poly(0.5, 10), 10),
    }  # fmt: skip
    assert kind in make, f"{name}: say which schedule the name stands for"
    if kind == "sequential":
        rate = 0.5
    return bigdl.SGD(
        rate,
        learningRateDecay=float(decay[1]) if decay else 0.0,
        learningRateSchedule=make[kind](),
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    expected, method = SCHEDULES[name], schedule_of(name)
    found = []
    for step in range(len(expected)):
        method.state["epoch"] = step // 4 + 1
        x = np.zeros(1, np.float32)
        method.optimize(lambda x: (0.0, np.ones(1, np.float32)), x)
        found.append(-x[0])
    assert np.abs(np.array(found) - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("file", ["optim.npz", "schedules.npz"])
def test_the_recording_is_there(file):
    require(file)
    require_cases(len(arrays_in(file)), file)


def test_ftrl_with_all_its_penalties_by_hand():
    rate, power, accum, l1, l2, shrinkage = 0.1, -0.5, 0.2, 0.3, 0.05, 0.02
    method, x = bigdl.Ftrl(rate, power, accum, l1, l2, shrinkage), np.array([0.8, -0.05])
    expected, totals, linear = x.tolist(), [accum] * 2, [0.0] * 2
    for _ in range(3):
        for i, slope in enumerate((1.0, 2.0)):
            g = slope * expected[i] + 0.1 + 2 * shrinkage * expected[i]
            new = totals[i] + g * g
            linear[i] += g - (new**0.5 - totals[i] ** 0.5) / rate * expected[i]
            totals[i] = new
            size = abs(linear[i]) - l1
            steep = new**0.5 / rate + 2 * l2
            expected[i] = 0.0 if size <= 0 else -np.sign(linear[i]) * size / steep
        method.optimize(lambda x: (0.0, np.array([1.0, 2.0]) * x + 0.1), x)
        assert np.allclose(x, expected, rtol=1e-12)
    assert expected[1] == 0.0, "the second weight has not become 0: nothing was tried"
