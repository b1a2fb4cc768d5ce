"""Collectives: what ranks compute together, as threads here and as processes where MPI is."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import threading
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rank_runs

import tapegrad as tg
from tapegrad import devices, nn
from tapegrad.autograd import ops
from tapegrad.devices import collectives
from tapegrad.devices.collectives import (
    CollectiveError,
    RankGroup,
    _world,
    run_in_threads,
    tree_sum,
)
from tapegrad.devices.collectives._nccl import NcclChannel


def on_ranks(size: int, function: Any) -> list[Any]:
    return run_in_threads(size, function)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_collectives_of_threads(size: int) -> None:
    def each(group: RankGroup) -> dict[str, Any]:
        own = np.arange(6.0).reshape(2, 3) + group.rank
        total, largest, other = own.copy(), own.copy(), own.copy()
        group.all_reduce(total)
        group.all_reduce(largest, "max")
        group.broadcast(other, size - 1)
        return {
            "sum": total, "max": largest, "root": other, "all": group.all_gather(own),
            "part": group.reduce_scatter(np.arange(2.0 * size)),
            "bytes": group.all_gather_bytes(b"x" * group.rank),
            "text": group.broadcast_bytes(f"from {group.rank}".encode(), size - 1),
            "numbers": group.sum_numbers(1, group.rank),
        }  # fmt: skip

    plain = np.arange(6.0).reshape(2, 3)
    found = on_ranks(size, each)
    for rank, result in enumerate(found):
        assert np.array_equal(result["sum"], size * plain + size * (size - 1) / 2)
        assert np.array_equal(result["max"], plain + size - 1)
        assert np.array_equal(result["root"], plain + size - 1)
        assert np.array_equal(result["all"], np.stack([plain + r for r in range(size)]))
        assert np.array_equal(result["part"], size * np.arange(2.0 * size)[2 * rank : 2 * rank + 2])
        assert result["bytes"] == [b"x" * r for r in range(size)]
        assert result["text"] == f"from {size - 1}".encode()
        assert result["numbers"] == [size, size * (size - 1) / 2]


def test_sums_in_the_order_of_a_tree_do_not_depend_on_the_ranks() -> None:
    parts = np.random.default_rng(0).normal(size=(8, 1000)).astype(np.float32)
    whole = tree_sum(list(parts))
    assert not np.array_equal(whole, parts.sum(0))  # else the test would show nothing
    for size in (1, 2, 4, 8):

        def each(group: RankGroup) -> Any:
            own = np.split(parts, group.size)[group.rank]
            buffer = tree_sum(list(own)).copy()
            group.all_reduce(buffer, ordered=True)
            return buffer

        assert all(np.array_equal(total, whole) for total in on_ranks(size, each))


def test_sums_that_were_begun_run_beside_and_in_order() -> None:
    def each(group: RankGroup) -> list[float]:
        buffers = [np.full(1000, float(k)) for k in range(20)]
        begun = [group.all_reduce_later(buffer) for buffer in buffers]
        for one in begun:
            one.wait()
        return [buffer[0] for buffer in buffers]

    assert on_ranks(2, each) == [[2.0 * k for k in range(20)]] * 2


def test_a_window_is_changed_by_one_rank_at_a_time() -> None:
    def each(group: RankGroup) -> int:
        window = group.window(np.zeros(8, np.uint8), group.size - 1)
        for _ in range(100):
            window.update(lambda content: content.view(np.int64).__iadd__(1))
        group.barrier()
        return int(window.read().view(np.int64)[0])

    assert on_ranks(3, each) == [300] * 3


def test_a_rank_that_fails_ends_the_others() -> None:
    def each(group: RankGroup) -> None:
        if group.rank == 1:
            raise KeyError("mine")
        group.all_reduce(np.ones(3))

    before = threading.active_count()
    with pytest.raises(KeyError, match="mine"):
        on_ranks(3, each)
    assert threading.active_count() <= before + 3  # the ranks' own threads for sums wait


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda g: g.all_reduce([1.0]), CollectiveError, "C-contiguous array of numbers, not a l"),
        (lambda g: g.all_reduce(np.ones((4, 4))[:, ::2]), CollectiveError, "not contiguous"),
        (lambda g: g.all_reduce(np.array(["a"])), CollectiveError, "<U1"),
        (lambda g: g.all_reduce(np.ones(2, bool)), CollectiveError, "no sum of bool"),
        (lambda g: g.all_reduce(np.ones(2, complex), "max"), CollectiveError, "no max of complex"),
        (lambda g: g.all_reduce(np.ones(2), "mean"), ValueError, "sum, max, min, not 'mean'"),
        (lambda g: g.broadcast(np.ones(2), 5), ValueError, "from 0 to 0, not 5"),
        (lambda g: g.reduce_scatter(np.ones((2, 2))), ValueError, "do not divide"),
        (lambda g: g.window(np.ones(2)), CollectiveError, "uint8, not float64"),
        (lambda g: g.window(np.ones(2, np.uint8), -1), ValueError, "root"),
    ],
)
def test_what_is_no_buffer_is_refused(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(collectives.SingleProcess())


def test_a_tree_needs_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="1, 2, 4, 8"):
        tree_sum([1, 2, 3])
    with pytest.raises(ValueError, match="not 3"):
        on_ranks(3, lambda group: group.all_reduce(np.ones(2), ordered=True))


def test_the_environment_says_which_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_world, "_world", [None])
    assert (collectives.world().size, collectives.world().name) == (1, "one process")
    assert collectives.world() is collectives.world()
    monkeypatch.setattr(_world, "_world", [None])
    monkeypatch.setenv("TAPEGRAD_COLLECTIVES", "pigeons")
    with pytest.raises(ValueError, match="single, mpi, not 'pigeons'"):
        collectives.world()
    monkeypatch.setenv("TAPEGRAD_COLLECTIVES", "single")
    monkeypatch.setenv("PMI_SIZE", "4")
    assert collectives.world().size == 1
    monkeypatch.setenv("TAPEGRAD_RESTART", "2")
    assert collectives.restarts() == 2


def test_without_mpi4py_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_world, "_world", [None])
    monkeypatch.delenv("TAPEGRAD_COLLECTIVES", raising=False)
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(CollectiveError, match=r"pip install 'tapegrad\[mpi\]'"):
        collectives.world()


def test_the_sum_over_ranks_has_the_derivative_of_all_ranks() -> None:
    def each(group: RankGroup) -> tuple[Any, Any]:
        with collectives.use(group):
            p = tg.Parameter(np.arange(3.0) + group.rank)
            y = ops.sum_over_ranks(p * p)
            np.sum(y * (1 + group.rank)).backward()
            assert p.grad is not None
            return y.numpy(), p.grad.numpy()

    for rank, (y, grad) in enumerate(on_ranks(2, each)):
        assert np.array_equal(y, [1.0, 5.0, 13.0])
        assert np.array_equal(grad, 3 * 2 * (np.arange(3.0) + rank))


def test_batch_normalization_over_ranks_is_that_of_the_whole_batch() -> None:
    draw = np.random.default_rng(1)
    x, v = draw.normal(size=(7, 3, 4)), draw.normal(size=(7, 3, 4))
    alone = nn.VolumetricBatchNormalization(3).double()
    y = alone.forward(x.reshape(7, 3, 4, 1, 1)).numpy().reshape(7, 3, 4)
    whole = alone.backward(x.reshape(7, 3, 4, 1, 1), v.reshape(7, 3, 4, 1, 1)).numpy()
    assert alone.weight is not None
    grad = alone.weight.grad.numpy()  # type: ignore[union-attr]

    def each(group: RankGroup) -> tuple[Any, ...]:
        layer = nn.SyncBatchNormalization(3).double()
        for name in ("weight", "bias"):
            getattr(layer, name).detach()[...] = getattr(alone, name).detach()
        own = slice(0, 5) if group.rank == 0 else slice(5, 7)
        with collectives.use(group):
            output = layer.forward(x[own])
            found = layer.backward(x[own], v[own]).numpy()
        return output.numpy(), found, layer.weight.grad.numpy(), layer.running_var.numpy()

    parts = on_ranks(2, each)
    np.testing.assert_allclose(np.concatenate([p[0] for p in parts]), y, rtol=1e-12)
    np.testing.assert_allclose(
        np.concatenate([p[1] for p in parts]), whole.reshape(7, 3, 4), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(parts[0][2] + parts[1][2], grad, rtol=1e-10)


def test_layers_are_converted_with_their_parameters() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNormalization(4), nn.ReLU())
    before = model[1]
    assert nn.SyncBatchNormalization.convert(model) is model
    assert type(model[1]) is nn.SyncBatchNormalization
    assert model[1].weight is before.weight
    assert model[1].running_var is before.running_var
    with pytest.raises(ValueError, match="not the last one"):
        nn.SyncBatchNormalization.convert(nn.SpatialBatchNormalization(3, format="NHWC"))


def test_devices_that_share_no_memory_exchange_arrays() -> None:
    """One rank computes on the CPU, the other on the stand-in for a GPU."""

    def each(group: RankGroup) -> tuple[str, Any, Any]:
        home = ("cpu", "strict")[group.rank]
        x = devices.to_device(np.arange(3.0) + group.rank, home)
        group.all_reduce(x)
        both = group.all_gather(x)
        return str(devices.device_of(x)), devices.to_numpy(x), devices.to_numpy(both)

    found = on_ranks(2, each)
    assert [home for home, _, _ in found] == ["cpu", "strict"]
    for _, total, both in found:
        assert np.array_equal(total, [1.0, 3.0, 5.0])
        assert np.array_equal(both, [[1.0, 3.0, 5.0]] * 2)


class _Nccl:
    """A stand-in for CuPy's module: sums memory at addresses, as two GPUs would."""

    available = True
    NCCL_SUM, NCCL_MAX, NCCL_MIN = "sum", "max", "min"

    def __init__(self) -> None:
        self.names: list[Any] = []
        self.lock = threading.Barrier(2)
        self.memory: dict[int, Any] = {}
        outer = self

        class NcclCommunicator:
            def __init__(self, size: int, name: Any, rank: int) -> None:
                outer.names.append(name)
                self.size, self.rank = size, rank

            def allReduce(  # CuPy's name
                self, source: int, target: int, count: int, kind: Any, op: str, stream: int
            ) -> None:
                assert source == target
                assert stream == 0
                item = ctypes.c_double if kind == "float64" else ctypes.c_float
                own = np.ctypeslib.as_array((item * count).from_address(source))
                outer.memory[self.rank] = own.copy()
                outer.lock.wait()
                combine = {"sum": np.add, "max": np.maximum, "min": np.minimum}[op]
                own[...] = combine(outer.memory[0], outer.memory[1])
                outer.lock.wait()

        self.NcclCommunicator = NcclCommunicator

    def __getattr__(self, name: str) -> str:
        return name.removeprefix("NCCL_").lower()

    def get_unique_id(self) -> tuple[int, ...]:
        return tuple(int(n) for n in np.arange(128) - 64)


class _GpuArray:
    """An array with an address, as CuPy's arrays have one."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self.dtype, self.size = values.dtype, values.size
        self.data = types.SimpleNamespace(ptr=values.ctypes.data)


@pytest.mark.parametrize(
    ("homes", "works"), [(("cuda:0", "cuda:1"), True), (("cuda:0",) * 2, False)]
)
def test_gpus_of_their_own_sum_by_nccl(
    homes: tuple[str, str], works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nccl = _Nccl()
    stream = types.SimpleNamespace(ptr=0, synchronize=lambda: None)
    cuda = types.SimpleNamespace(nccl=nccl, get_current_stream=lambda: stream)
    for name, module in (("cupy", types.SimpleNamespace(cuda=cuda)), ("cupy.cuda", cuda)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", nccl)

    def each(group: RankGroup) -> Any:
        channel = NcclChannel(group, homes[group.rank])  # type: ignore[arg-type]  # only its name is read
        if not channel.works:
            return None
        x = np.arange(4.0, dtype=np.float32) + group.rank
        channel.all_reduce(_GpuArray(x), "sum")  # type: ignore[arg-type]  # as far as it is asked
        return x

    found = on_ranks(2, each)
    if works:
        assert nccl.names == [tuple(range(-64, 64))] * 2
        assert all(np.array_equal(x, [1.0, 3.0, 5.0, 7.0]) for x in found)
    else:
        assert found == [None, None]


needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or rank_runs.mpiexec() is None,
    reason="MPI is missing: pip install 'tapegrad[mpi]'",
)


@needs_mpi
@pytest.mark.extra
@pytest.mark.parametrize("size", [2, 3, 4])
def test_collectives_of_processes(size: int, tmp_path: Path) -> None:
    done = rank_runs.run(size, "sums", tmp_path)
    assert (done.code, len(done.ranks)) == (0, size), done.text
    for rank, found in enumerate(done.ranks):
        for name, value in found.items():
            kind, _, dtype = name.partition(" ")
            own = [np.arange(6).astype(dtype or int).reshape(2, 3) + r for r in range(size)]
            right: Any = {
                "sum": sum(own[1:], own[0]), "ordered": sum(own[1:], own[0]), "max": own[-1],
                "min": own[0], "gather": np.stack(own), "broadcast": own[-1],
                "scatter": size * np.arange(2 * size)[2 * rank : 2 * rank + 2],
                "bytes": np.arange(size), "window": [25 * size],
            }[kind]  # fmt: skip
            assert np.array_equal(value, right), name
            assert not dtype or value.dtype == dtype
