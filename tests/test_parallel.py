"""Training in step on several ranks: the numbers of one process, equal bits, and no rank alone."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rank_programs
import rank_runs

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.devices import collectives
from tapegrad.devices.collectives import RankGroup, run_in_threads
from tapegrad.optim.parallel.shares import cut_share, share_bounds

CRITERION = nn.ClassNLLCriterion()


def loss_of(model: Any) -> Any:
    return lambda x, t: CRITERION(model(tg.Tensor(x)), tg.Tensor(t))


def trained(make: Any, steps: int = 6, *, by_hand: bool = False, **settings: Any) -> Any:
    """A function of a group: the model's arrays and the losses after some steps."""
    x, t = rank_programs.digits()

    def each(group: RankGroup) -> tuple[dict[str, Any], list[float]]:
        draw = np.random.default_rng(3)
        model = make()
        for p in model.parameters()[0]:
            p.detach()[...] = draw.normal(size=p.shape).astype(p.dtype) * 0.2 + group.rank
        losses = []
        with collectives.use(group):
            parallel = optim.DataParallel(model, **settings)  # the ranks begin with rank 0's
            optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
            batches = [(x[i : i + 25], t[i : i + 25]) for i in range(0, 25 * steps, 25)]
            if by_hand:
                for own_x, own_t in parallel.shares(batches):
                    optimizer.zero_grad()
                    loss = loss_of(model)(own_x, own_t)
                    losses.append(parallel.backward(loss, samples=len(own_t)))
                    optimizer.step()
            else:
                for batch in batches:
                    optimizer.zero_grad()
                    losses.append(parallel.gradients(batch, loss_of(model)))
                    optimizer.step()
        return {name: np.array(a) for name, a in model.state_dict().items()}, losses

    return each


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("size", [2, 3])
def test_ranks_make_the_steps_of_one_process(size: int, by_hand: bool) -> None:
    [(alone, losses)] = run_in_threads(1, trained(rank_programs.mlp))
    found = run_in_threads(size, trained(rank_programs.mlp, by_hand=by_hand, bucket_bytes=3000))
    for arrays, own in found:
        for name, array in arrays.items():
            np.testing.assert_allclose(array, alone[name], rtol=1e-5, atol=1e-6)
            assert np.array_equal(array, found[0][0][name])
        np.testing.assert_allclose(own, losses, rtol=1e-6)
        assert own == found[0][1]


def test_shards_make_equal_bits_on_any_number_of_ranks() -> None:
    bits = set()
    for size in (1, 2, 4):
        for arrays, _ in run_in_threads(size, trained(rank_programs.mlp, shards=4)):
            bits.add(b"".join(a.tobytes() for a in arrays.values()))
    assert len(bits) == 1


def test_a_sum_is_not_divided_and_weights_count() -> None:
    """Losses that are sums, and labels that do not count, as one process counts them."""
    x = np.random.default_rng(0).normal(size=(7, 3))
    t = np.array([0, 1, -100, 2, -100, -100, 1])

    def gradient(group: RankGroup, criterion: Any) -> tuple[float, Any]:
        model = nn.Linear(3, 3).double()
        model.weight.detach()[...] = np.arange(9.0).reshape(3, 3) / 9
        model.bias.detach()[...] = 0
        optimizer = optim.SGD(model, lr=0.0)
        with collectives.use(group):
            trainer = optim.Trainer(model, criterion, optimizer, progress=False)
            trainer.fit([(x, t)], steps=1)
        return trainer.step_losses[0], np.array(model.weight.grad.numpy())

    for criterion in (
        nn.CrossEntropyCriterion(),
        nn.CrossEntropyCriterion(weights=np.array([1.0, 5.0, 0.5])),
        _summing(nn.CrossEntropyCriterion()),
    ):
        make = functools.partial(gradient, criterion=criterion)
        [(loss, right)] = run_in_threads(1, make)
        for size in (2, 4):
            for found, grad in run_in_threads(size, make):
                assert found == pytest.approx(loss, rel=1e-12)
                np.testing.assert_allclose(grad, right, rtol=1e-10, atol=1e-14)


def _summing(criterion: Any) -> Any:
    criterion.sizeAverage = False
    return criterion


def test_regularizers_are_added_once() -> None:
    def gradient(group: RankGroup) -> Any:
        model = nn.Linear(3, 2).double().setWRegularizer(nn.L2Regularizer(0.5))
        model.weight.detach()[...] = np.arange(6.0).reshape(2, 3)
        model.bias.detach()[...] = 0
        with collectives.use(group):
            parallel = optim.DataParallel(model)
            parallel.gradients(
                (np.ones((4, 3)), np.zeros(4)), lambda x, t: np.mean(model(tg.Tensor(x)))
            )
        return model.weight.grad.numpy()

    [right] = run_in_threads(1, gradient)
    for grad in run_in_threads(2, gradient):
        np.testing.assert_allclose(grad, right, rtol=1e-12)


def test_gradients_are_accumulated_and_frozen_layers_stay() -> None:
    def each(group: RankGroup) -> tuple[Any, Any]:
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)).double()
        for p in model.parameters()[0]:
            p.detach()[...] = 0.5
        model[0].freeze()
        batch = (np.arange(12.0).reshape(4, 3), np.zeros(4))
        with collectives.use(group):
            parallel = optim.DataParallel(model)
            for _ in range(2):
                parallel.gradients(batch, lambda x, t: np.mean(model(tg.Tensor(x))))
        return model[0].weight.grad, model[1].weight.grad.numpy()

    [(_, right)] = run_in_threads(1, each)
    for frozen, grad in run_in_threads(2, each):
        assert frozen is None or not np.any(frozen.numpy())
        np.testing.assert_allclose(grad, right, rtol=1e-12)


def test_a_loss_that_is_not_finite_changes_nothing_on_any_rank() -> None:
    def each(group: RankGroup) -> tuple[str, bool]:
        model = rank_programs.norm()
        optimizer = optim.SGD(model, lr=0.1)
        x, t = rank_programs.digits()
        x = x.copy()
        x[23] = np.nan  # a sample of the last rank
        with collectives.use(group):
            trainer = optim.Trainer(model, CRITERION, optimizer, progress=False)
            before = {k: v.copy() for k, v in model.state_dict().items()}
            with pytest.raises(FloatingPointError, match="row") as raised:
                trainer.fit([(x[:24], t[:24])], steps=1)
        after = model.state_dict()
        return str(raised.value), all(np.array_equal(before[k], after[k]) for k in before)

    texts = run_in_threads(2, each)
    assert texts[0] == texts[1]
    assert texts[0][1]


def test_shares_are_consecutive_and_as_equal_as_they_can_be() -> None:
    for samples in range(20):
        for parts in range(1, 8):
            bounds = [share_bounds(samples, parts, part) for part in range(parts)]
            lengths = [stop - start for start, stop in bounds]
            assert bounds[0][0] == 0
            assert bounds[-1][1] == samples
            assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))
            assert max(lengths) - min(lengths) <= 1
    nest = ({"a": np.arange(5), "scale": 2.0}, [np.arange(10).reshape(5, 2)], np.arange(5))
    first = cut_share(nest, 2, 0)
    assert first[0]["a"].tolist() == [0, 1, 2]
    assert first[0]["scale"] == 2.0
    assert first[1][0].shape == (3, 2)
    with pytest.raises(ValueError, match=r"5 samples has an array of shape \(4,\)"):
        cut_share((np.arange(4), np.arange(5)), 2, 0)


def small() -> Any:
    draw = np.random.default_rng(1)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    twice = nn.Linear(3, 3).double()
    model.add(twice).add(twice)
    for p in model.parameters()[0]:
        p.detach()[...] = draw.normal(size=p.shape) * 0.3
    return model


def by_trainer(model: Any, x: Any, t: Any, optimizer: Any, **settings: Any) -> None:
    criterion = nn.CrossEntropyCriterion()
    batch = settings.pop("batch_size", 8)
    trainer = optim.Trainer(model, criterion, optimizer, progress=False, **settings)
    trainer.fit((x, t), epochs=2, batch_size=batch)


def by_bigdl(model: Any, x: Any, t: Any) -> None:
    made = optim.bigdl.Optimizer(model, (x, t), nn.CrossEntropyCriterion(), batchSize=10)
    made.setOptimMethod(optim.bigdl.Adam(0.01)).setEndWhen(optim.bigdl.Trigger.maxIteration(5))
    made.optimize()


def through_checkpoint(model: Any, x: Any, t: Any) -> None:
    parallel, optimizer = optim.DataParallel(model, bucket_bytes=100), optim.SGD(model, lr=0.5)
    run_again = tg.checkpoint(lambda x: model[1](model[0](x)))
    optimizer.zero_grad()
    parallel.gradients((x, t), lambda x, t: nn.CrossEntropyCriterion()(model[2](run_again(x)), t))
    optimizer.step()


WAYS: dict[str, Any] = {
    "accumulated and clipped": lambda m, x, t: by_trainer(
        m, x, t, optim.Adam(m, lr=0.01, accumulate=3, clip_grad_norm=0.1)
    ),
    "compiled": lambda m, x, t: by_trainer(
        m, x, t, optim.Adam(m, lr=0.01, accumulate=2), compile=True, batch_size=10
    ),
    "state shared out": lambda m, x, t: by_trainer(m, x, t, optim.ShardedOptimizer(optim.Adam, m)),
    "batches of less than the ranks": lambda m, x, t: by_trainer(
        m, x[:7], t[:7], optim.Adam(m), batch_size=6
    ),
    "checkpoint": through_checkpoint,
    "BigDL's Optimizer": by_bigdl,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_training_makes_the_updates_of_one_process(way: str) -> None:
    draw = np.random.default_rng(0)
    x, t = draw.normal(size=(60, 6)), draw.integers(0, 3, 60)

    def each(group: RankGroup) -> dict[str, Any]:
        model = small()
        with collectives.use(group):
            WAYS[way](model, x, t)
        return {name: np.array(array) for name, array in model.state_dict().items()}

    [right] = run_in_threads(1, each)
    start = small().state_dict()
    assert any(not np.array_equal(right[name], start[name]) for name in right)
    for size in (2, 4):
        found = run_in_threads(size, each)
        for arrays in found:
            for name, array in right.items():
                np.testing.assert_allclose(arrays[name], array, rtol=1e-9, atol=1e-12)
                assert np.array_equal(arrays[name], found[0][name])


def test_what_cannot_be_shared_out_is_refused() -> None:
    model = nn.Linear(2, 2)
    for shards in (0, 3, -8):
        with pytest.raises(ValueError, match="cannot be shared out"):
            optim.DataParallel(model, shards=shards)
    with pytest.raises(RuntimeError, match="gradients"):
        optim.DataParallel(model, shards=2).backward(np.sum(model(np.ones((1, 2)))), samples=1)
    optimizer = optim.SGD(model, lr=0.1)
    with pytest.raises(ValueError, match="rounds otherwise"):
        optim.Trainer(
            model, CRITERION, optimizer, compile=True, parallel=optim.DataParallel(model, shards=2)
        )
    with pytest.raises(TypeError, match="parallel is a DataParallel"):
        optim.Trainer(model, CRITERION, optimizer, parallel="yes")  # type: ignore[arg-type]
    synchronized = nn.Sequential(nn.Linear(2, 2), nn.SyncBatchNormalization(2))
    batch = (np.ones((1, 2), np.float32), np.zeros(1, int))
    with pytest.raises(ValueError, match="leave out one of both"):
        optim.DataParallel(synchronized, shards=2).gradients(batch, loss_of(synchronized))

    def few(group: RankGroup) -> None:
        with collectives.use(group):
            own = nn.Sequential(nn.Linear(2, 2), nn.SyncBatchNormalization(2))
            optim.DataParallel(own).gradients(batch, loss_of(own))

    with pytest.raises(ValueError, match="drop_last"):
        run_in_threads(2, few)


def test_ranks_with_other_models_or_numbers_are_found() -> None:
    def other(group: RankGroup) -> None:
        with collectives.use(group):
            optim.DataParallel(nn.Linear(2, 2 + group.rank))

    with pytest.raises(optim.RanksDifferError, match="other parameters"):
        run_in_threads(2, other)

    def moved(group: RankGroup) -> None:
        model = nn.Linear(2, 2)
        with collectives.use(group):
            parallel = optim.DataParallel(model, check_every=3)
            for step in range(10):
                if step == 4 and group.rank == 1:
                    model.bias.detach()[...] += 1e-6
                parallel.gradients((np.ones((2, 2)), np.zeros(2)), lambda x, t: np.sum(model(x)))
                assert step < 6, "found at the second comparison"

    with pytest.raises(optim.RanksDifferError, match="same bias: ranks 0 and 1"):
        run_in_threads(2, moved)


@pytest.mark.parametrize("kind", [optim.Adam, optim.SGD, optim.LARS])
def test_sharded_state_makes_the_updates_of_the_whole(kind: Any) -> None:
    x, t = rank_programs.digits()
    options = {"lr": 0.05, "clip_grad_norm": 0.5, "accumulate": 2}
    options |= {"momentum": 0.9} if kind is not optim.Adam else {}

    def start() -> Any:
        draw = np.random.default_rng(2)
        model = rank_programs.mlp()
        for p in model.parameters()[0]:
            p.detach()[...] = draw.normal(size=p.shape).astype(p.dtype) * 0.2
        return model

    def run(model: Any, optimizer: Any, steps: range) -> None:
        for i in steps:
            optimizer.zero_grad()
            loss_of(model)(x[i : i + 8], t[i : i + 8]).backward()
            optimizer.step()

    whole = start()
    plain = kind(whole, **options)
    run(whole, plain, range(7))

    def each(group: RankGroup) -> tuple[Any, ...]:
        model = start()
        optimizer = optim.ShardedOptimizer(kind, model, group=group, **options)
        run(model, optimizer, range(3))
        saved = optimizer.state_dict()
        again = optim.ShardedOptimizer(kind, model, group=group, **options)
        again.load_state_dict(saved)
        run(model, again, range(3, 7))
        held = (
            0
            if again.inner is None
            else sum(a.size for s in again.inner.state_dict()["state"].values() for a in s.values())
        )
        return {k: v.copy() for k, v in model.state_dict().items()}, again.state_dict(), held

    for size in (1, 2, 4, 5):
        found = run_in_threads(size, each)
        for arrays, state, _ in found:
            for name, array in whole.state_dict().items():
                np.testing.assert_allclose(array, arrays[name], rtol=1e-6, atol=1e-7)
            assert state.keys() == plain.state_dict().keys()
            assert state["updates"] == plain.steps
            for name, slots in plain.state_dict()["state"].items():
                for slot, value in slots.items():
                    np.testing.assert_allclose(
                        state["state"][name][slot], value, rtol=1e-5, atol=1e-7
                    )
        held = [n for *_, n in found]
        total = sum(a.size for s in plain.state_dict()["state"].values() for a in s.values())
        assert sum(held) == total
        if size == 2:
            assert max(held) < 0.97 * total


def test_metrics_of_shares_are_those_of_all() -> None:
    draw = np.random.default_rng(0)
    y, t = draw.normal(size=(40, 3)), draw.integers(0, 3, 40)
    for name in ("top1", "precision", "recall", "f1", "auc", "perplexity", "mae"):
        from tapegrad.optim.training.metrics import make_metric

        whole, parts = make_metric(name), [make_metric(name) for _ in range(3)]
        target = y * 0.5 if name == "mae" else t
        whole.add(y, target)
        for part, rows in zip(parts, (slice(0, 11), slice(11, 12), slice(12, 40)), strict=True):
            part.add(y[rows], target[rows])
        assert whole.is_mergeable
        empty = make_metric(name)
        for part in (parts[0], parts[2], parts[1]):
            empty.merge(part.state_dict())
        assert empty.value() == pytest.approx(whole.value(), rel=1e-12)

    class Own(optim.Metric):
        def add(self, output: Any, target: Any) -> None:
            self.mine = 1

    assert not Own().is_mergeable


# Processes ----------------------------------------------------------------------------------------

needs_mpi = pytest.mark.skipif(rank_runs.mpiexec() is None, reason="needs tapegrad[mpi]")


@needs_mpi
@pytest.mark.extra
@pytest.mark.parametrize("model", ["lenet", "mlp", "norm"])
def test_fifty_steps_have_the_bits_of_one_process(model: str, tmp_path: Path) -> None:
    runs = {
        size: rank_runs.run(size, "train", tmp_path / str(size), "--model", model, "--shards", 8)
        for size in (1, 2, 4)
    }
    for size, done in runs.items():
        assert (done.code, len(done.ranks)) == (0, size), done.text
        assert all(rank_runs.same_bits(rank, runs[1].ranks[0]) for rank in done.ranks)


@needs_mpi
@pytest.mark.extra
@pytest.mark.parametrize(("model", "how"), [("lenet", ()), ("sync", ()), ("mlp", ("--compile",))])
def test_fifty_steps_are_near_one_process(model: str, how: tuple[str, ...], tmp_path: Path) -> None:
    alone = rank_runs.run(1, "train", tmp_path / "1", "--model", model, *how).ranks[0]
    for size in (2, 4):
        done = rank_runs.run(size, "train", tmp_path / str(size), "--model", model, *how)
        assert (done.code, len(done.ranks)) == (0, size), done.text
        for name, array in alone.items():
            # of the size of 1; a running variance of 10 has 10 times the rounding
            np.testing.assert_allclose(done.ranks[0][name], array, rtol=1e-6, atol=1e-6)
        assert all(rank_runs.same_bits(rank, done.ranks[0]) for rank in done.ranks)


@needs_mpi
@pytest.mark.extra
def test_a_run_resumes_anywhere_and_with_another_number_of_ranks(tmp_path: Path) -> None:
    whole = rank_runs.run(2, "train", tmp_path / "whole", "--shards", 4, "--steps", 23)
    for stop, first, then in ((1, 2, 2), (7, 4, 2), (10, 1, 4), (22, 2, 1)):
        folder = tmp_path / f"{stop}"
        common = ("--shards", 4, "--folder", folder / "ckpt")
        done = rank_runs.run(first, "train", folder, *common, "--steps", stop)
        assert done.code == 0, done.text
        done = rank_runs.run(then, "train", folder / "b", *common, "--steps", 23, "--resume")
        assert done.code == 0, done.text
        for rank in done.ranks:
            assert rank_runs.same_bits(rank, whole.ranks[0])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What twenty steps on one rank end with."""
    out = tmp_path_factory.mktemp("undisturbed")
    return rank_runs.run(1, "train", out, "--shards", 4, "--steps", 20).ranks[0]


@needs_mpi
@pytest.mark.extra
@pytest.mark.parametrize(
    ("how", "where"),
    [
        *((how, "step") for how in ("kill", "raise", "exit", "leave")),
        ("kill", "collective"), ("kill", "sweep"), ("kill", "save"),
        ("raise", "collective"), ("raise", "sweep"), ("raise", "save"),
    ],
)  # fmt: skip
def test_a_rank_that_fails_ends_all_and_a_restart_goes_on(
    how: str, where: str, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    common = ("--shards", 4, "--steps", 20, "--save-every", 3, "--folder", tmp_path / "ckpt")
    at = {"step": 10, "collective": 40, "sweep": 45, "save": 3}[where]
    fault = ("--fault", how, "--where", where, "--at", at)
    done = rank_runs.run(2, "train", tmp_path / "out", *common, *fault, restarts=2)
    assert done.code == 0, done.text
    assert "restart 1 of 2" in done.text
    assert "restart 2 of 2" not in done.text
    if how == "raise":
        assert "a planted fault" in done.text
        assert "failed, and all ranks end" in done.text
    if how == "leave":
        assert "has ended its program" in done.text
    assert done.seconds < 40  # of which an end may take ten: two starts on a busy machine
    assert all(rank_runs.same_bits(rank, undisturbed) for rank in done.ranks)


@needs_mpi
@pytest.mark.extra
def test_a_rank_that_differs_is_found(tmp_path: Path) -> None:
    done = rank_runs.run(
        2, "train", tmp_path, "--check", 5, "--fault", "differ", "--at", 7, "--steps", 20
    )
    assert done.code != 0
    assert "no longer hold the same" in done.text
    assert "ranks 0 and 1 differ" in done.text


@needs_mpi
@pytest.mark.extra
def test_the_recorded_run_of_mxnet_with_two_workers(tmp_path: Path) -> None:
    import mxnet_records

    recorded = mxnet_records.table("dist.json")
    for rank in (0, 1):
        given = recorded[f"dist_sync/{rank}"]
        x, y = np.array(given["X"], np.float32), np.array(given["Y"], np.float32)
        np.savez(tmp_path / f"given-{rank}.npz", X=x, Y=y)
    done = rank_runs.run(2, "store", tmp_path / "out", "--model", "dist_sync", "--folder", tmp_path)
    assert done.code == 0, done.text
    for rank, found in enumerate(done.ranks):
        given = recorded[f"dist_sync/{rank}"]
        np.testing.assert_allclose(found["fc_weight"], given["w"], rtol=1e-5)
        np.testing.assert_allclose(found["fc_bias"], given["b"], rtol=1e-5, atol=1e-6)
        assert (found["rank"], found["workers"]) == (rank, given["workers"])
        assert found["rescale"] == given["rescale"]
        assert (tmp_path / f"states-{rank}").stat().st_size > 0
    one = rank_runs.run(
        2, "store", tmp_path / "async", "--model", "dist_async", "--folder", tmp_path
    )
    assert one.code == 0, one.text
    assert rank_runs.same_bits(
        {k: one.ranks[0][k] for k in ("fc_weight", "fc_bias")},
        {k: one.ranks[1][k] for k in ("fc_weight", "fc_bias")},
    )
    assert float(one.ranks[0]["rescale"]) == 0.25
    assert not np.array_equal(one.ranks[0]["fc_weight"], np.ones((3, 5)))
