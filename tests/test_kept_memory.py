"""Memory of freed arrays is kept for the next ones, within a limit, and never handed out twice."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.autograd.kernels import kept_memory

BIG = 2**17  # numbers of a megabyte
OURS = "tapegrad_store"

pytestmark = pytest.mark.skipif(
    kept_memory._access() is None, reason="needs the extra fast, POSIX and Python's lock"
)


@pytest.fixture(autouse=True)
def restored():
    """The default afterwards: kept within tapegrad's own, and not in this thread."""
    tg.keep_memory(0)
    yield
    tg.keep_memory(kept_memory.MEGABYTES)
    access = kept_memory._access()
    access.handler.set(access.own)


def held():
    store = kept_memory._access().store
    return store.count, store.held


def test_a_freed_block_is_taken_again():
    tg.keep_memory(64)
    a = np.empty(BIG)
    assert get_handler_name(a) == OURS
    place = a.ctypes.data
    del a
    count, size = held()
    assert count == 1
    assert 8 * BIG <= size < 8 * BIG + 2**16
    b = np.empty(BIG)
    assert b.ctypes.data == place
    assert held() == (0, 0)


def test_a_block_serves_what_is_at_most_an_eighth_smaller():
    tg.keep_memory(64)
    del (a := [np.empty(BIG)])[0]
    assert a == []
    less, much_less = np.empty(BIG - BIG // 10), np.empty(BIG // 2)
    assert held() == (0, 0)  # the first took it
    assert not np.shares_memory(less, much_less)


def test_zeros_are_zeros_in_a_block_that_was_used():
    tg.keep_memory(64)
    used = np.full(BIG, 7.0)
    place = used.ctypes.data
    del used
    zeros = np.zeros(BIG)
    assert zeros.ctypes.data == place
    assert not zeros.any()


def test_small_arrays_are_left_to_numpy():
    tg.keep_memory(64)
    small = [np.empty(1000) for _ in range(100)]
    del small
    assert held() == (0, 0)


def test_the_oldest_blocks_go_where_the_limit_is_reached():
    tg.keep_memory(4)
    arrays = [np.empty(BIG) for _ in range(6)]
    newest = arrays[-1].ctypes.data
    while arrays:
        del arrays[0]
    count, size = held()
    assert count == 3
    assert size <= 4e6
    assert np.empty(BIG).ctypes.data == newest
    tg.keep_memory(1.2)
    assert held()[0] == 1
    tg.keep_memory(0)
    assert held() == (0, 0)


def test_more_blocks_than_there_is_room_for():
    tg.keep_memory(1000)
    arrays = [np.empty(2**15 + k) for k in range(kept_memory.BLOCKS + 20)]
    while arrays:
        del arrays[0]
    assert held()[0] == kept_memory.BLOCKS


def test_an_array_larger_than_the_limit_is_given_back():
    tg.keep_memory(0.5)
    del (a := [np.empty(BIG)])[0]
    assert a == []
    assert held() == (0, 0)


def test_resized_arrays_are_measured_anew():
    tg.keep_memory(64)
    a = np.arange(float(BIG))
    a.resize(2 * BIG, refcheck=False)
    assert a[BIG - 1] == BIG - 1
    a.resize(10, refcheck=False)  # of a size that NumPy frees by itself
    del a
    b = np.ones(BIG)
    b.resize(BIG + BIG // 16, refcheck=False)
    del b
    count, size = held()
    assert count <= 1
    c = np.empty(BIG + BIG // 16)
    c[...] = 1  # within the block: a sanitizer or a crash would tell
    assert size == 0 or held() == (0, 0)


def test_living_arrays_never_share():
    tg.keep_memory(32)
    rng = np.random.default_rng(0)
    living = {}
    for step in range(600):
        key = int(rng.integers(24))
        if key in living:
            value, array = living.pop(key)
            assert (array == value).all(), step
            del array
        array = np.empty(int(rng.integers(2**15, 2**17)))
        array[...] = step
        living[key] = step, array
    for value, array in living.values():
        assert (array == value).all()


def test_what_tapegrad_runs_keeps_memory_and_what_others_run_does_not():
    tg.keep_memory(64)
    access = kept_memory._access()
    access.handler.set(access.own)
    x = np.ones(BIG)
    seen = []

    def loss(w):
        seen.append(get_handler_name())
        return np.sum(w * w)

    gradient = tg.grad(loss)(x)
    assert seen == [OURS]
    assert get_handler_name(gradient) == OURS
    assert get_handler_name() == "default_allocator"
    parameter = tg.Parameter(x)
    np.sum(parameter * parameter).backward()
    assert get_handler_name(parameter.grad.numpy()) == OURS
    tg.keep_memory(0)
    seen.clear()
    tg.grad(loss)(x)
    assert seen == ["default_allocator"]


def test_an_error_leaves_the_handler_as_it_was():
    tg.keep_memory(64)
    access = kept_memory._access()
    access.handler.set(access.own)

    def loss(w):
        raise KeyError(w.shape)

    with pytest.raises(KeyError):
        tg.grad(loss)(np.ones(3))
    assert get_handler_name() == "default_allocator"


def test_a_trainer_keeps_memory():
    tg.keep_memory(64)
    access = kept_memory._access()
    access.handler.set(access.own)
    seen = []

    class Spy(nn.Module):
        def updateOutput(self, x):
            seen.append(get_handler_name())
            return x

    model = nn.Sequential(nn.Linear(2, 1), Spy())
    trainer = optim.Trainer(model, nn.MSECriterion(), optim.SGD(model, lr=0.1), progress=False)
    data = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    trainer.fit(data, epochs=1, batch_size=2)
    trainer.evaluate(data)
    trainer.predict(data[0])
    assert set(seen) == {OURS}


def test_compiled_steps_with_large_arrays_keep_memory():
    tg.keep_memory(64)
    access = kept_memory._access()
    access.handler.set(access.own)

    def step(a, b):
        return np.sum(a @ b) * 2

    compiled = tg.compile(step)
    a, b = np.ones((256, 600)), np.ones((600, 256))
    for _ in range(3):
        assert float(compiled(a, b)) == 2.0 * 256 * 256 * 600
    assert get_handler_name() == "default_allocator"


@pytest.mark.parametrize("bad", ["256", None, True, 1j])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(TypeError, match="megabytes must be a number"):
        tg.keep_memory(bad)


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf")])
def test_what_is_below_zero_is_refused(bad):
    with pytest.raises(ValueError, match="at least 0"):
        tg.keep_memory(bad)


PROGRAM = """
import numpy as np
from numpy._core.multiarray import get_handler_name
import tapegrad
kept = np.ones(2**17)
print(get_handler_name(kept))
class Late:
    def __del__(self):
        self.array = None
late = Late()
late.array, late.itself = np.ones(2**17), late  # freed when Python ends
"""


@pytest.mark.extra
@pytest.mark.parametrize(
    ("text", "name"), [("64", OURS), ("0", "default_allocator"), ("", "default_allocator")]
)
def test_the_environment_asks_for_it_and_python_ends_well(text, name):
    environment = {**os.environ, kept_memory.VARIABLE: text}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, name, "")


@pytest.mark.extra
def test_no_number_in_the_environment_is_refused():
    environment = {**os.environ, kept_memory.VARIABLE: "much"}
    run = subprocess.run(
        [sys.executable, "-c", "import tapegrad"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "TAPEGRAD_KEEP_MEMORY must be a number of at least 0, found 'much'" in run.stderr


WITHOUT_FAST = """
import resource, sys
sys.modules.update(dict.fromkeys(("numba", "llvmlite")))
import numpy as np
import tapegrad as tg
tg.keep_memory(float(sys.argv[1]))
def faults():
    for _ in range(50):
        a = np.ones(2**18)
        a.sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
print(faults() - before)
"""


@pytest.mark.extra
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_without_the_extra_glibc_keeps_memory():
    counts = []
    for megabytes in ("64", "0"):
        run = subprocess.run(
            [sys.executable, "-c", WITHOUT_FAST, megabytes],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        counts.append(int(run.stdout))
    assert counts[0] < 512 < counts[1]  # pages of one array, and of all


def test_what_a_recorded_call_freed_is_given_back_before_the_step_is_compiled():
    def step(a):
        b = np.sqrt(a + 1)
        return np.sum(b * 2) + np.sum(np.concatenate([b, b[:100_000]]) * 3)

    tg.keep_memory(64)
    compiled = tg.compile(step)
    a = np.ones(BIG)
    counts = []
    for _ in range(4):
        compiled(a)
        counts.append(held()[0])
    assert counts[0] >= 3
    assert counts[-1] <= 1  # what the calls that are no kernels made
