"""The training loop, its checkpoints, and what remains of them when a process dies."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tapegrad import devices, nn, optim
from tapegrad.autograd import Tensor
from tapegrad.optim.training.data import not_finite_in

STEPS = 50

# The run that is interrupted: batch normalization and dropout have state of their own, the rate
# follows a schedule, and 50 steps end in the middle of the second epoch.
#
# `python -c RUN folder first last data` makes the steps up to `first`, then up to first + 1, … each
# in a process of its own.  To pay for imports once, a process that has only imported forks them: it
# has never held a model, a generator's state or data.
RUN = """
import os, sys
import numpy as np
from tapegrad import devices, nn, optim
folder, first, last, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
def go(steps):
    data = np.load(path)
    devices.manual_seed(7)
    model = nn.Sequential(
        nn.Linear(64, 16), nn.BatchNormalization(16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 10)
    )
    optimizer = optim.AdamW(model, lr=optim.cosine_decay(0.01, 60), clip_grad_norm=1.0)
    trainer = optim.Trainer(
        model, nn.CrossEntropyCriterion(), optimizer, folder=folder, keep=1, save_every=1,
        progress=False, average=optim.ExponentialMovingAverage(model, 0.9),
    )
    trainer.fit((data["x"], data["y"]), epochs=2, batch_size=64, seed=3, steps=steps, resume=True)
if first == last:
    go(last)
else:
    for steps in range(first, last + 1):
        child = os.fork()
        if not child:
            try:
                go(steps)
            finally:
                os._exit(0 if sys.exc_info()[0] is None else 1)
        assert os.waitpid(child, 0)[1] == 0, steps
"""


def digits(path):
    load = pytest.importorskip("sklearn.datasets").load_digits
    found = load()
    np.savez(path, x=(found.data / 8 - 1).astype(np.float32), y=found.target)


def run(folder, first, last, data):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(first), str(last), str(data)],
        check=True, env=environment,
    )  # fmt: skip


def same(a, b, where="content"):
    """Equal bits, everywhere."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{where}[{i}]")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, where
        assert a.tobytes() == b.tobytes(), where
    else:
        assert a == b, where


@pytest.mark.extra
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_interrupted_after_every_step_ends_with_the_same_bits(tmp_path, figures):
    digits(tmp_path / "digits.npz")
    run(tmp_path / "straight", STEPS, STEPS, tmp_path / "digits.npz")
    began = time.perf_counter()
    for step in (1, 2):  # with an interpreter of their own
        run(tmp_path / "broken", step, step, tmp_path / "digits.npz")
    run(tmp_path / "broken", 3, STEPS, tmp_path / "digits.npz")
    figures(f"resume: {STEPS} processes of one step each, {time.perf_counter() - began:.0f} s")
    straight = optim.Checkpoints(tmp_path / "straight").load_latest()
    broken = optim.Checkpoints(tmp_path / "broken").load_latest()
    assert straight["step"] == STEPS
    assert straight["epoch"] == 1
    assert straight["position"] > 0
    same(straight, broken)


# Checkpoints --------------------------------------------------------------------------------------

CONTENT = {
    "a": np.arange(5, dtype=np.float32), "b": [1, 2.5, None, True, "ü"], "nan": float("inf"),
    "big": 2**100, "empty": np.zeros((0, 3)), "nested": {"c": np.array(3.0)},
}  # fmt: skip


def test_content_comes_back_as_it_was(tmp_path):
    optim.save_checkpoint(CONTENT, tmp_path / "c")
    same(optim.load_checkpoint(tmp_path / "c"), CONTENT)
    with pytest.raises(TypeError, match=r"content\.x\[0\]: a checkpoint can't hold object"):
        optim.save_checkpoint({"x": [object()]}, tmp_path / "c")
    same(optim.load_checkpoint(tmp_path / "c"), CONTENT)


def test_any_damaged_byte_is_noticed(tmp_path):
    path = tmp_path / "c"
    optim.save_checkpoint({"a": np.arange(3)}, path)
    good = path.read_bytes()
    for i in range(len(good)):
        path.write_bytes(good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :])
        with pytest.raises(optim.ResumeError):
            optim.load_checkpoint(path)
        path.write_bytes(good[:i])
        with pytest.raises(optim.ResumeError):
            optim.load_checkpoint(path)


class Failing:
    """The k-th request to the disk (write, flush, fsync, rename) fails."""

    def __init__(self, monkeypatch, k):
        self.left, self.failed = k, False
        opened, replaced, synced = os.fdopen, Path.replace, os.fsync

        def fdopen(descriptor, mode):
            file = opened(descriptor, mode)
            return self.watched(file) if "w" in mode else file

        monkeypatch.setattr(os, "fdopen", fdopen)
        monkeypatch.setattr(Path, "replace", lambda *a: (self.count(), replaced(*a))[1])
        monkeypatch.setattr(os, "fsync", lambda *a: (self.count(), synced(*a))[1])

    def count(self):
        self.left -= 1
        if self.left == 0:
            self.failed = True
            raise OSError(28, "No space left on device")

    def watched(self, file):
        outer = self

        class File:
            def write(self, data):
                try:
                    outer.count()
                except OSError:
                    file.write(data[: len(data) // 2])  # part of it has arrived
                    raise
                return file.write(data)

            def flush(self):
                outer.count()
                file.flush()

            def fileno(self):
                return file.fileno()

            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

        return File()


def test_whichever_write_fails_the_previous_checkpoint_is_readable(tmp_path):
    failures = 0
    for k in range(1, 100):
        folder = tmp_path / str(k)
        checkpoints = optim.Checkpoints(folder, keep=1)
        checkpoints.save(1, {**CONTENT, "step": 1}, best=True)
        with pytest.MonkeyPatch.context() as patch:
            disk = Failing(patch, k)
            if k > 1 and failures < k - 1:
                break  # the save before this one needed fewer writes than there were to fail
            try:
                checkpoints.save(2, {**CONTENT, "step": 2}, best=True)
            except OSError:
                assert disk.failed
                failures += 1
            else:
                assert not disk.failed, f"the failure of write {k} went unnoticed"
        assert checkpoints.load_latest()["step"] in {1, 2}
        assert checkpoints.load_best()["step"] in {1, 2}
        for path in folder.iterdir():
            same(optim.load_checkpoint(path)["a"], CONTENT["a"])
    assert failures > 20


KILLS = """
import os, random, signal, sys, time
import numpy as np
from tapegrad import optim
folder, kills = sys.argv[1], int(sys.argv[2])
draw = random.Random(1)
content = {"x": np.random.default_rng(0).standard_normal(40_000), "step": 0}
start = optim.Checkpoints(folder, keep=2)
start.save(0, content, best=True)
unreadable = interrupted = 0
for _ in range(kills):
    child = os.fork()
    if not child:
        checkpoints = optim.Checkpoints(folder, keep=2)
        step = checkpoints.load_latest()["step"]
        while True:
            step += 1
            checkpoints.save(step, {**content, "step": step}, best=True)
    time.sleep(draw.uniform(0.002, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    names = os.listdir(folder)
    interrupted += any(name.endswith(".part") for name in names)
    for name in names:
        if name.endswith(".ckpt"):
            try:
                optim.load_checkpoint(os.path.join(folder, name))
            except optim.ResumeError:
                unreadable += 1
    assert start.load_latest() is not None
print(unreadable, interrupted, start.load_latest()["step"])
"""


@pytest.mark.extra
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killing_it_while_it_saves_leaves_no_unreadable_checkpoint(tmp_path, figures):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path), "200"],
        check=True, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    unreadable, interrupted, last = map(int, done.stdout.split())
    figures(f"kill -9: 200, of which {interrupted} in the middle of a file; {last} were saved")
    assert unreadable == 0
    assert interrupted > 20, "the kills did not hit the writing"
    assert last > 0


def test_the_last_few_and_the_best_are_kept(tmp_path):
    checkpoints = optim.Checkpoints(tmp_path, keep=2)
    for step in range(5):
        checkpoints.save(step, {"step": step}, best=step == 1)
    assert [p.name for p in checkpoints.paths()] == ["step-000000003.ckpt", "step-000000004.ckpt"]
    assert checkpoints.load_best() == {"step": 1}
    checkpoints.paths()[-1].write_bytes(b"broken")
    assert checkpoints.load_latest() == {"step": 3}


# The loop -----------------------------------------------------------------------------------------


def small(seed=0, **options):
    devices.manual_seed(seed)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 4)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(np.int64) + (x[:, 2] > 1)
    model = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 3))
    optimizer = optim.Adam(model, lr=options.pop("lr", 0.05))
    options.setdefault("progress", False)
    return (x, y), optim.Trainer(model, nn.CrossEntropyCriterion(), optimizer, **options)


def test_it_learns_and_measures():
    data, trainer = small(metrics=["top1", "f1"])
    history = trainer.fit(data, epochs=20, validation=data)
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert history[-1]["val_top1"] > 0.9
    assert set(history[0]) == {"loss", "val_loss", "val_top1", "val_f1"}


def test_batches_may_come_from_a_function_an_iterable_or_arrays():
    data, trainer = small()
    batches = [(data[0][i : i + 30], data[1][i : i + 30]) for i in (0, 30, 60)]
    ends = []
    for source in (
        batches,
        lambda: iter(batches),
        optim.Batches(*data, batch_size=30, shuffle=False),
    ):
        _, trainer = small()
        trainer.fit(source, epochs=2)
        ends.append([p.numpy().copy() for p in trainer.model.parameters()[0]])
    for other in ends[1:]:
        for a, b in zip(ends[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    _, trainer = small()
    with pytest.raises(ValueError, match="a generator can be used once"):
        trainer.fit(iter(batches), epochs=2)


def test_a_nan_in_the_data_is_said_to_be_there():
    data, trainer = small()
    x = data[0].copy()
    x[1, 0] = np.nan
    places = r"1 of \d+ numbers of the input, in the batch's rows \d+\. Leave these samples out"
    with pytest.raises(FloatingPointError, match=f"The data hold NaN .*{places}"):
        trainer.fit((x, data[1]), epochs=1)


def test_infinite_numbers_of_any_array_of_a_batch_are_counted_by_rows():
    x, y = np.ones((6, 2)), np.ones(6)
    assert not_finite_in(([x, {"more": x}], y)) == ""
    bad = x.copy()
    bad[1:, 0] = np.inf
    found = not_finite_in(([x, {"more": bad}], np.full(6, np.inf)))
    assert found == (
        "5 of 12 numbers of the input, in the batch's rows 1, 2, 3, 4, …; 6 of 6 numbers of array "
        "1 of the batch"
    )


def test_a_loss_that_is_not_finite_on_finite_data_asks_for_a_smaller_rate():
    data, trainer = small()
    trainer.model.get(0).weight.detach()[...] = np.nan
    with pytest.raises(FloatingPointError, match="A smaller rate") as caught:
        trainer.fit(data, epochs=1)
    assert "The data hold" not in str(caught.value)


def test_a_nan_changes_no_parameter_and_no_checkpoint(tmp_path):
    data, trainer = small(folder=tmp_path, save_every=1)
    trainer.fit(data, epochs=1)
    before = [p.numpy().copy() for p in trainer.model.parameters()[0]]
    newest = trainer.checkpoints.paths()[-1].read_bytes()
    bad = (np.full_like(data[0], np.nan), data[1])
    with pytest.raises(FloatingPointError, match=r"no parameter was updated.*step-000000003"):
        trainer.fit(bad, epochs=2)
    for p, b in zip(trainer.model.parameters()[0], before, strict=True):
        np.testing.assert_array_equal(p.numpy(), b)
    assert trainer.checkpoints.paths()[-1].read_bytes() == newest
    trainer.model.get(0).weight.detach()[...] = np.nan
    with pytest.raises(optim.ResumeError, match=r"0\.weight is not finite"):
        trainer.save_checkpoint()
    assert trainer.checkpoints.paths()[-1].read_bytes() == newest


def test_early_stopping_and_plateaus_end_what_no_longer_improves():
    data, _ = small()
    plateau = optim.ReduceOnPlateau(0.0, patience=0)
    _, trainer = small(
        lr=plateau.rate, plateau=plateau, callbacks=[optim.EarlyStopping("loss", patience=2)]
    )
    assert len(trainer.fit(data, epochs=50)) < 10


class States(optim.Callback):
    def __init__(self):
        self.seen = []

    def on_epoch_end(self, trainer, results):
        average = trainer.average and trainer.average.state_dict()
        self.seen.append((results["loss"], trainer.model.state_dict(), copy.deepcopy(average)))


def test_early_stopping_puts_back_what_was_best(tmp_path):
    def make(*, restore_best, folder=None):
        # of a rate that grows, so that losses fall at first and rise later
        data, trainer = small(lr=lambda step: 0.01 * 1.3**step, folder=folder)
        trainer.average = optim.ExponentialMovingAverage(trainer.model, 0.5)
        stopping = optim.EarlyStopping("loss", patience=3, restore_best=restore_best)
        trainer.callbacks = [states := States(), stopping]
        return data, trainer, states

    def equal(one, other):
        flat = [np.concatenate([np.ravel(v) for v in pytree(part)]) for part in (one, other)]
        return np.array_equal(*flat)

    data, trainer, states = make(restore_best=True)
    trainer.fit(data, epochs=50)
    best = np.argmin([loss for loss, _, _ in states.seen])
    assert 0 < best == len(states.seen) - 4
    assert equal(trainer.model.state_dict(), states.seen[best][1])
    assert equal(trainer.average.state_dict(), states.seen[best][2])

    data, trainer, again = make(restore_best=False)
    trainer.fit(data, epochs=50)
    assert equal(trainer.model.state_dict(), again.seen[-1][1])

    data, trainer, _ = make(restore_best=True, folder=tmp_path)
    trainer.fit(data, epochs=int(best) + 3)
    data, trainer, _ = make(restore_best=True, folder=tmp_path)  # which knows the file alone
    trainer.fit(data, epochs=50, resume=True)
    assert equal(trainer.model.state_dict(), states.seen[best][1])


def pytree(value):
    """The arrays in nested dicts, by their keys."""
    if isinstance(value, dict):
        return [array for key in sorted(value) for array in pytree(value[key])]
    return [np.asarray(value)]


def test_ctrl_c_leaves_parameters_from_before_or_after_an_update(request):
    # a shell that runs the tests in the background has them ignore Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    data, trainer = small()
    states = []

    class Watch(optim.Callback):
        def on_step_end(self, trainer, loss):
            states.append([p.numpy().copy() for p in trainer.model.parameters()[0]])

    trainer.callbacks.append(Watch())
    rule, calls = trainer.optimizer.rule, 0
    update = type(rule).update

    def interrupted(self, *arguments):
        nonlocal calls
        calls += 1
        if calls == 5:
            os.kill(os.getpid(), signal.SIGINT)  # in the middle of the fifth update
        update(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(rule), "update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(data, epochs=3)
    _, other = small()
    other.fit(data, epochs=3, steps=trainer.step_count)
    assert trainer.step_count == 5
    for p, q in zip(trainer.model.parameters()[0], other.model.parameters()[0], strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_event_files_can_be_read(tmp_path):
    pytest.importorskip("tensorboardX")
    data, trainer = small(callbacks=[optim.TensorBoard(tmp_path)])
    trainer.fit(data, epochs=1)
    [file] = tmp_path.iterdir()
    content = file.read_bytes()
    assert b"loss" in content
    assert b"rate" in content


def test_progress_is_shown(capsys):
    data, trainer = small(progress=True)
    trainer.fit(data, epochs=1)
    shown = capsys.readouterr().err
    assert "samples/s" in shown
    assert "epoch 1/1: loss" in shown


def test_metrics():
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    targets = np.array([1, 2, 0])

    def value(name, output, target):
        _, trainer = small(metrics=[name])
        trainer.model = nn.Identity()
        trainer.criterion = lambda y, t: Tensor(0.0)
        [found] = [v for k, v in trainer.evaluate([(output, target)]).items() if k != "val_loss"]
        return found

    assert value("top1", scores, targets) == pytest.approx(1 / 3)
    assert value("top5", scores, targets) == 1
    assert value("mae", scores, scores + 0.5) == pytest.approx(0.5)
    assert value("perplexity", np.log(scores), targets) == pytest.approx(
        (0.7 * 0.2 * 0.2) ** (-1 / 3)
    )
    with pytest.raises(ValueError, match="there is no metric 'top2'"):
        small(metrics=["top2"])
