"""One setting of threads: what it accepts, what pieces of work may do, forks, interrupts, bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import tapegrad
from tapegrad.autograd import ops, value_and_grad
from tapegrad.autograd.kernels import threads
from tapegrad.autograd.kernels.threads import run_pieces, scratch_arrays


@pytest.fixture(autouse=True)
def as_many_threads_as_before():
    before, libraries = threads._settings.count, list(threads._blas)
    counts = [library.num_threads for library in threads._blas_libraries()]
    yield
    threads._settings.count, threads._blas[:] = before, libraries
    for library, count in zip(threads._blas_libraries(), counts, strict=True):
        library.set_num_threads(count)


def python(code, **environment):
    """What a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


# The setting --------------------------------------------------------------------------------------


def test_the_number_of_threads_is_what_was_set():
    assert tapegrad.get_num_threads() >= 1
    tapegrad.set_num_threads(3)
    assert tapegrad.get_num_threads() == 3
    tapegrad.set_num_threads(np.int64(1))
    assert tapegrad.get_num_threads() == 1


@pytest.mark.parametrize(
    ("n", "error", "text"),
    [(0, ValueError, "at least 1, found 0"), (-2, ValueError, "found -2"),
     (2.0, TypeError, "whole number, found 2.0"), (True, TypeError, "found True"),
     ("2", TypeError, "found '2'")],
)  # fmt: skip
def test_a_bad_number_is_refused_and_changes_nothing(n, error, text):
    tapegrad.set_num_threads(2)
    with pytest.raises(error, match=text):
        tapegrad.set_num_threads(n)
    assert tapegrad.get_num_threads() == 2


def test_blas_has_one_thread_in_pieces_and_as_many_as_were_set_outside():
    pytest.importorskip("threadpoolctl")
    tapegrad.set_num_threads(2)
    libraries = threads._blas_libraries()
    assert libraries
    assert [library.num_threads for library in libraries] == [2] * len(libraries)
    inside = []
    run_pieces(lambda _: inside.append([library.num_threads for library in libraries]), 2)
    assert inside == [[1] * len(libraries)] * 2
    assert [library.num_threads for library in libraries] == [2] * len(libraries)


def test_blas_gets_no_thread_for_one_call_and_then_what_it_had():
    pytest.importorskip("threadpoolctl")
    tapegrad.set_num_threads(2)
    [library, *_] = threads._blas_libraries()
    assert threads.blas_alone(lambda: library.num_threads) == 1
    with pytest.raises(ZeroDivisionError):
        threads.blas_alone(lambda: 1 // 0)
    assert library.num_threads == 2


@pytest.mark.extra
def test_the_environment_sets_it_and_nothing_is_set_without_it():
    code = "import tapegrad; print(tapegrad.get_num_threads())"
    assert python(code, TAPEGRAD_NUM_THREADS="2") == "2"
    assert python(code, TAPEGRAD_NUM_THREADS="") == "1"
    for text in ("0", "two", "-1"):
        found = python(code, TAPEGRAD_NUM_THREADS=text)
        assert found == (
            f"ValueError: TAPEGRAD_NUM_THREADS must be a whole number of at least 1, found {text!r}"
        )
    untouched = "import sys, tapegrad; print('threadpoolctl' in sys.modules)"
    assert python(untouched, TAPEGRAD_NUM_THREADS="") == "False"


# Pieces -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_piece_runs_once(count):
    tapegrad.set_num_threads(count)
    done = [0] * 100
    for _ in range(20):

        def piece(number):
            done[number] += 1

        run_pieces(piece, 100)
    assert done == [20] * 100
    run_pieces(piece, 0)


def test_pieces_run_at_the_same_time():
    tapegrad.set_num_threads(2)
    meeting = threading.Barrier(2, timeout=20)
    run_pieces(lambda _: meeting.wait(), 2)


def test_a_piece_splits_its_own_work_by_itself():
    tapegrad.set_num_threads(2)
    seen = []

    def piece(_):
        outer = threading.get_ident()
        run_pieces(lambda _: seen.append(threading.get_ident() == outer), 3)

    run_pieces(piece, 4)
    assert seen == [True] * 12


def test_a_second_user_thread_works_by_itself():
    tapegrad.set_num_threads(2)
    totals = []

    def user():
        done = []
        for _ in range(50):
            run_pieces(done.append, 8)
        totals.append(len(done))

    users = [threading.Thread(target=user) for _ in range(4)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(20)
    assert totals == [400] * 4


@pytest.mark.parametrize("bad", range(4))
def test_what_a_piece_raises_arrives_and_the_pool_goes_on(bad):
    tapegrad.set_num_threads(2)
    running = []

    def piece(number):
        running.append(number)
        if number == bad:
            raise ZeroDivisionError(number)
        time.sleep(0.002)
        running.remove(number)

    with pytest.raises(ZeroDivisionError, match=str(bad)):
        run_pieces(piece, 4)
    assert running == [bad]  # nobody is at work any more
    test_every_piece_runs_once(2)


def interrupted_in_the_main_thread():
    main, at_work = threading.main_thread(), threading.Event()

    def piece(number):
        if threading.current_thread() is main:
            at_work.set()
            signal.raise_signal(signal.SIGINT)
        at_work.wait(20)  # or the others are done before the main thread begins
        time.sleep(0.002)

    return piece


@pytest.fixture
def listening():
    """Ctrl-C raises, also in a process that was started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_ctrl_c_arrives_after_all_have_stopped():
    tapegrad.set_num_threads(2)
    with pytest.raises(KeyboardInterrupt):
        run_pieces(interrupted_in_the_main_thread(), 50)
    test_every_piece_runs_once(2)
    assert not threads._settings.busy.locked()


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="the system has no timer")
def test_what_a_handler_of_a_signal_raises_arrives_after_all_have_stopped(monkeypatch):
    tapegrad.set_num_threads(2)
    close, running = threads._Work.close, []

    def stop(*_):
        raise ZeroDivisionError

    def closing(work):
        if not work._closed:  # the first time, while a helper is at work
            work._closed = True
            signal.raise_signal(signal.SIGALRM)
        close(work)

    def piece(_):
        running.append(1)
        time.sleep(0.002)
        running.pop()

    monkeypatch.setattr(threads._Work, "close", closing)
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(ZeroDivisionError):
            run_pieces(piece, 20)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert running == []
    assert not threads._local.inside


def test_pieces_heed_what_the_caller_says_of_floating_point_errors():
    tapegrad.set_num_threads(2)
    meeting = threading.Barrier(2, timeout=20)

    def piece(_):
        meeting.wait()
        seen.append(np.geterr())

    seen = []
    with np.errstate(over="ignore", divide="raise"):
        expected = np.geterr()
        run_pieces(piece, 2)
    assert seen == [expected] * 2


@pytest.mark.extra
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_of_fork_makes_its_own_pool():
    code = """
import os
import tapegrad
from tapegrad.autograd.kernels.threads import run_pieces
tapegrad.set_num_threads(2)
done = []
run_pieces(done.append, 8)
child = os.fork()
run_pieces(done.append, 8)
if child == 0:
    os._exit(0 if len(done) == 16 else 1)
print(os.waitpid(child, 0)[1], len(done))
"""
    assert python(code) == "0 16"


@pytest.mark.extra
def test_a_process_ends_while_a_daemon_thread_computes():
    code = """
import sys, threading, time
import numpy as np, tapegrad
from tapegrad import ops
tapegrad.set_num_threads(2)
a = np.ones((800, 800), np.float32)
def compute():
    while True:
        ops.matmul(a, a)
threading.Thread(target=compute, daemon=True).start()
time.sleep(0.5)
print("ended", flush=True)
sys.exit(0)
"""
    for _ in range(4):
        assert python(code) == "ended"


def test_scratch_memory_is_of_one_thread_and_has_zeros_behind_it():
    one = np.dtype(np.float32)
    a, b = scratch_arrays(one, (3, 5), (7,))
    assert a.shape == (3, 5)
    assert a.ctypes.data % 64 == b.ctypes.data % 64 == 0
    behind = np.lib.stride_tricks.as_strided(b, (7 + 16,), (4,))[7:]
    assert not behind.any()
    assert scratch_arrays(one, (3, 5), (7,))[0] is a
    found = []
    other = threading.Thread(target=lambda: found.extend(scratch_arrays(one, (3, 5), (7,))))
    other.start()
    other.join()
    assert not np.may_share_memory(found[0], a)


# Results ------------------------------------------------------------------------------------------


def test_results_have_the_same_bits_for_any_number_of_threads():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 16, 16, 16)).astype(np.float32)
    w = rng.normal(size=(20, 16, 3, 3)).astype(np.float32)
    w2 = rng.normal(size=(4, 20, 4, 4)).astype(np.float32)

    def loss(x, w, w2):
        y = ops.max_pool2d(ops.conv2d(x, w, 1, 1), 2)
        y = ops.avg_pool2d(ops.conv2d(y, w2, 2, 1), 2, 1)
        return ops.sum(y * y)

    found = []
    for count in (1, 2, 3):
        tapegrad.set_num_threads(count)
        value, gradients = value_and_grad(loss, (0, 1, 2))(x, w, w2)
        found.append([np.asarray(a).tobytes() for a in (value, *gradients)])
    assert found[0] == found[1] == found[2]
