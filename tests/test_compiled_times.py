"""`timing()`, `explain()` and `timeline()` of a compiled step; the work of compiling it."""

from __future__ import annotations

import cProfile
import pstats
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.autograd.kernels import machine

X = np.random.default_rng(0).normal(size=(200, 300)).astype("f")
W = np.random.default_rng(1).normal(size=(300, 300)).astype("f")


def loss(w, x):
    return np.mean(np.tanh(x @ w) ** 2)


def recorded():
    step = tg.compile(tg.value_and_grad(loss))
    for _ in range(3):
        step(W, X)
    return step


def test_explain_has_times_of_what_ran_within_timing():
    step = recorded()
    assert "µs" not in step.explain()
    with step.timing():
        timed = [step(W, X) for _ in range(5)]
    step(W, X)  # not timed
    head, _, *rows = step.explain().split("\n")[2:]
    total, between = map(float, re.findall(r"([\d,.]+) (?:µs|in between)", head.replace(",", "")))
    assert "5 timed calls" in head
    columns = rows[0].index("µs") + 2
    times = [
        float(row[:columns].split()[-1].replace(",", ""))
        for row in rows[1:]
        if row[:columns].split()[1:]
    ]
    assert sum(times) + between == pytest.approx(total, abs=0.2 * len(times))
    product = next(row for row in rows if "matmul" in row)
    assert float(product[:columns].split()[-1].replace(",", "")) > 20  # 36 million operations
    np.testing.assert_array_equal(timed[0][1].numpy(), step(W, X)[1].numpy())


def test_the_timeline_is_svg_with_a_bar_for_each_part():
    step = recorded()
    with step.timing():
        step(W, X)
    drawn = ET.fromstring(step.timeline().svg)
    titles = [t.text for t in drawn.iter("{http://www.w3.org/2000/svg}title")]
    ran = [row for row in step.explain().split("\n") if row.startswith(("call", "kernel"))]
    assert len(titles) == len(ran)
    assert sum("matmul" in title for title in titles) == 2
    assert all("test_compiled_times.py" in title for title in titles)


@pytest.mark.skipif(not machine.is_available(), reason="needs the `fast` extra")
def test_kernels_are_timed_one_by_one():
    step = recorded()
    with step.timing():
        step(W, X)
    kernels = [row for row in step.explain().split("\n") if row.startswith("kernel")]
    assert all(re.match(r"kernel +[\d,]+\.\d ", row) for row in kernels)


def test_without_a_timed_call_there_is_no_timeline():
    step = recorded()
    with pytest.raises(ValueError, match=r"timeline: no call has been timed yet: with step.timing"):
        step.timeline()


def test_an_exception_ends_timing():
    step = recorded()
    with pytest.raises(KeyError), step.timing():
        raise KeyError
    step(W, X)
    assert "µs" not in step.explain()


def calls_to_compile(steps):
    """The calls of Python functions that it takes to compile a loop of so many steps."""

    def end(force):
        place, speed = 0.0, 1.0
        for k in range(steps):
            place = place + 0.05 * speed
            speed = speed + 0.05 * (force[k] - np.sin(place))
        return place**2 + speed**2

    step = tg.compile(tg.value_and_grad(end))
    force = np.full(steps, 0.1)
    step(force)
    profile = cProfile.Profile()
    profile.runcall(step, force)
    found, ordinary = step(force), tg.value_and_grad(end)(force)
    for a, b in zip(found, ordinary, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-12)
    return pstats.Stats(profile).total_calls


@pytest.mark.extra
def test_a_loop_twice_as_long_takes_twice_the_work_to_compile():
    calls_to_compile(30)  # what is done once
    assert calls_to_compile(120) < 2.3 * calls_to_compile(60)
