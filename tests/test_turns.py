"""Threads that take turns in Python: who has the turn when, that waiting ends, and who waits."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

import tapegrad
from tapegrad.autograd.kernels import machine, threads, turns
from tapegrad.autograd.kernels.threads import run_pieces
from tapegrad.autograd.kernels.turns import BUSY, TURN, WORK, Turns, call_all
from tapegrad.autograd.kernels.vector_code import KernelCode, ready

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="needs tapegrad[fast]")


@pytest.fixture(autouse=True)
def as_many_threads_as_before():
    before = tapegrad.get_num_threads()
    yield
    threads._local.inside = False
    tapegrad.set_num_threads(before)


@pytest.fixture
def taking_part():
    own = Turns()
    own.begin()
    yield own
    own.end()


def looking_at(turn):
    """A kernel that writes the number at an address, as it is while the kernel runs, to another."""
    k = KernelCode("turn into", np.dtype(np.float32))
    place, into = k["turn into"]
    k.store_whole(k.load_whole(place, 0), into)
    run, found = ready(k), np.full(1, -1, np.int64)
    run(turn, found.ctypes.data)
    return int(found[0])


def test_a_kernel_gives_the_turn_away_and_takes_it_back(taking_part):
    place = taking_part.numbers[TURN:].ctypes.data
    assert taking_part.numbers[TURN] == 1
    assert looking_at(place) == 0
    assert taking_part.numbers[TURN] == 1
    taking_part.numbers[TURN] = 0
    taking_part.end()
    looking_at(place)
    assert taking_part.numbers[TURN] == 0  # whoever takes no part takes no turn


def test_a_list_of_kernels_gives_the_turn_away(taking_part):
    k = KernelCode("turn into", np.dtype(np.float32))
    place, into = k["turn into"]
    k.store_whole(k.load_whole(place, 0), into)
    run, found = ready(k), np.full(1, -1, np.int64)
    table = np.array([taking_part.numbers[TURN:].ctypes.data, found.ctypes.data], np.int64)
    calls = np.array([run.address, table.ctypes.data, 0], np.int64)
    call_all(calls.ctypes.data)
    assert found[0] == 0
    assert taking_part.numbers[TURN] == 1


def test_the_turn_can_be_left_before_what_takes_long(taking_part):
    turns.leave_turn()
    assert taking_part.numbers[TURN] == 0
    taking_part.end()
    turns.leave_turn()  # nothing to leave


def test_waiting_ends_when_the_number_changes_or_after_a_while(taking_part):
    start = time.perf_counter()
    assert not taking_part.wait(WORK, 0)
    assert time.perf_counter() - start < 1
    assert taking_part.wait(WORK, 7)
    assert taking_part.numbers[TURN] == 1
    later = threading.Timer(0.01, lambda: taking_part.numbers.__setitem__(BUSY, 1))
    later.start()
    while not taking_part.wait(BUSY, 0):
        assert time.perf_counter() - start < 20
    later.join()


def test_who_waits_for_a_turn_that_is_never_given_goes_on(taking_part):
    # the kernel finds the turn free and then taken by another, who keeps it
    k = KernelCode("turn", np.dtype(np.float32))
    place = k["turn"]
    k.store_whole(k.zero() + 1, place)
    start = time.perf_counter()
    ready(k)(taking_part.numbers[TURN:].ctypes.data)
    assert time.perf_counter() - start < 1


def test_threads_wait_awake_only_where_each_has_a_processor(monkeypatch):
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    else:
        monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(turns, "_pause", lambda: turns.X86)
    for count, awake in ((2, True), (3, False), (1, False)):
        tapegrad.set_num_threads(count)
        assert threads._settings.stays_awake == awake
    monkeypatch.setattr(turns, "_pause", lambda: "")
    assert not turns.can_wait_awake(2)


@pytest.mark.parametrize("awake", [False, True])
def test_pieces_of_kernels_run_once_each_whether_threads_sleep_or_not(awake, monkeypatch):
    tapegrad.set_num_threads(2)
    monkeypatch.setattr(threads._settings, "stays_awake", awake)
    k = KernelCode("into", np.dtype(np.float32))
    into = k["into"]
    k.store_whole(k.load_whole(into, 0) + 1, into)
    run, counts = ready(k), np.zeros((40, 8), np.int64)
    for _ in range(50):
        run_pieces(lambda number: run(counts[number].ctypes.data), 40)
    assert (counts[:, 0] == 50).all()
    assert not turns.is_taking_turns()


def test_an_interrupt_leaves_no_turn_behind():
    tapegrad.set_num_threads(2)

    def piece(number):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pieces(piece, 4)
    assert not turns.is_taking_turns()
    done = []
    run_pieces(done.append, 4)
    assert sorted(done) == [0, 1, 2, 3]
