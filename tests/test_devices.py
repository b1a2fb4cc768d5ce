"""tapegrad.devices: which library an array belongs to, transfers, memory, random numbers.

The same tests run on the CPU, on the strict stand-in, and where there is a GPU on CuPy. Without
one, CuPy's part is played by a small emulation (two "GPUs" over NumPy), and the random kernels
written for the GPU are compiled for the CPU and compared with an independent NumPy version.
"""

import copy
import ctypes
import gc
import importlib.machinery
import importlib.util
import json
import pickle
import re
import shutil
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tapegrad import devices
from tapegrad.devices import Device, DeviceError, Generator, MemoryInfo, _philox, _registry

EVERYWHERE = ["cpu", "strict", pytest.param("cuda", marks=pytest.mark.cuda)]
ELSEWHERE = ["strict", pytest.param("cuda", marks=pytest.mark.cuda)]
DTYPES = [
    "bool", "int8", "uint8", "int32", "int64", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
]  # fmt: skip


@pytest.fixture(params=EVERYWHERE)
def device(request):
    return devices.device(request.param)


def bits(array):
    """The bytes of the values, in C order, wherever they are."""
    return np.ascontiguousarray(devices.to_numpy(array)).tobytes()


@pytest.fixture
def registry(monkeypatch):
    """A registry that may be changed, and is as before afterwards."""
    for table in ("_declared", "_loaded", "_by_type", "_pending"):
        monkeypatch.setattr(_registry, table, dict(getattr(_registry, table)))


# An emulation of CuPy ----------------------------------------------------------------------------


class NoDriverError(RuntimeError):
    pass


class FakeDevice:
    """cupy.cuda.Device: the current one is the innermost `with`."""

    current = 0

    def __init__(self, id=None):
        self.id = FakeDevice.current if id is None else id

    def __enter__(self):
        self.before, FakeDevice.current = FakeDevice.current, self.id

    def __exit__(self, *_):
        FakeDevice.current = self.before

    def synchronize(self):
        FakeDevice.synchronized = self.id


class FakeArray:
    """cupy.ndarray, as far as transfers look at it."""

    __module__ = "cupy"

    def __init__(self, array):
        self.array, self.device = np.array(array), FakeDevice()
        self.dtype, self.shape = self.array.dtype, self.array.shape

    def copy(self):
        return FakeArray(self.array)


def fake_cupy(count=2, error=None):
    def get_device_count():
        if error is not None:
            raise NoDriverError(error)
        return count

    cupy = types.ModuleType("cupy")
    cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    cupy.__version__ = "14.2.0"
    cupy.ndarray = FakeArray
    cupy.asarray = FakeArray
    cupy.asnumpy = lambda x, order="C": x.array.copy(order)
    cupy.get_default_memory_pool = lambda: types.SimpleNamespace(
        used_bytes=lambda: 30, free_bytes=lambda: 12
    )
    cupy.cuda = types.SimpleNamespace(
        Device=FakeDevice,
        runtime=types.SimpleNamespace(
            getDeviceCount=get_device_count,
            getDevice=lambda: FakeDevice.current,
            memGetInfo=lambda: (50 + FakeDevice.current, 100),
            CUDARuntimeError=NoDriverError,
        ),
    )
    return cupy


@pytest.fixture
def two_gpus(registry, monkeypatch):
    cupy = fake_cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    _registry._loaded.pop("cuda", None)
    _registry._pending["cupy"] = "cuda"
    return cupy


# Which library an array belongs to ---------------------------------------------------------------


def test_numpy_arrays_and_numbers_belong_to_numpy():
    x = np.ones(3)
    for arrays in [
        (),
        (x,),
        (x, x),
        (x, 2.0),
        (2.0, x),
        (1,),
        (np.float32(1),),
        (None, x, True, 1j),
    ]:
        assert devices.namespace(*arrays) is np


def test_numbers_and_none_go_with_any_library():
    x = devices.to_device(np.ones(3), "strict")
    xp = devices.namespace(x)
    assert xp is not np
    for arrays in [(x, 2.0), (2.0, x), (None, x), (np.float32(2), x, np.int64(1)), (x, x)]:
        assert devices.namespace(*arrays) is xp


@pytest.mark.parametrize("order", [1, -1])
def test_mixed_devices_are_one_error_that_names_both_and_the_fix(order):
    pair = [np.ones(3), devices.to_device(np.ones(3), "strict")][::order]
    with pytest.raises(DeviceError, match=r"arrays on .* meet in one call") as caught:
        devices.namespace(*pair)
    for word in ("on cpu", "on strict", "x.to('cpu')", "x.to('strict')"):
        assert word in str(caught.value)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    "x",
    [[1.0], "cpu", object(), np.ma.ones(3), np.ones(3).view(np.recarray), range(3), np.dtype("f4")],
    ids=lambda x: type(x).__name__,
)
def test_what_is_no_array_is_refused_by_name(x):
    assert not devices.is_array(x)
    for ask in (devices.namespace, devices.device_of, devices.to_numpy):
        with pytest.raises(TypeError, match=f"{type(x).__name__} is not an array"):
            ask(x)
    with pytest.raises(TypeError, match="is not an array"):
        devices.to_device(x, "strict")


def test_the_error_for_a_tensor_names_its_bare_array():
    from tapegrad.autograd import Tensor

    with pytest.raises(TypeError, match=r"takes bare arrays; a Tensor's is its \.data"):
        devices.namespace(Tensor(np.ones(2)))


def test_numbers_are_no_arrays():
    for x in (1, 1.0, True, None, 1j, np.float32(1)):
        assert not devices.is_array(x)
    assert devices.is_array(np.ones(()))


def test_a_scalar_of_numpy_lives_on_the_cpu():
    assert str(devices.device_of(np.float32(2))) == "cpu"
    there = devices.to_device(np.float32(2), "strict")
    assert there.shape == ()
    assert there.dtype == np.float32
    here = devices.to_device(np.float32(2), "cpu")
    assert type(here) is np.ndarray


def test_nothing_optional_is_imported_until_it_is_met():
    program = """
        import sys
        import numpy as np
        from tapegrad import devices

        class Alien:
            pass

        devices.namespace(np.ones(2), 1.0)
        devices.is_array(Alien())
        devices.device_of(np.ones(2))
        devices.generator("cpu").uniform((3,))
        print([name for name in ("cupy", "tapegrad.devices.strict", "tapegrad.devices._cuda")
               if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_registered_library_is_used_by_its_type(registry):
    class Boxed:
        def __init__(self, array):
            self.array = array

    box = Device("box")
    loads = []

    def load():
        loads.append(1)
        return devices.Backend(
            kind="box",
            array_type=Boxed,
            xp="the namespace",
            device_of=lambda _: box,
            devices=lambda: [box],
            current=lambda: box,
            from_numpy=lambda array, _: Boxed(array.copy()),
            to_numpy=lambda boxed: boxed.array.copy(),
            move=lambda boxed, _: boxed,
            memory=lambda _: MemoryInfo(4, 1, 3, 2),
            stream=None,
        )

    devices.register_backend("box", load, module=Boxed.__module__)
    assert loads == []
    x = devices.to_device(np.arange(3), "box")
    assert devices.namespace(x, 1) == "the namespace"
    assert devices.is_array(x)
    assert box in devices.available_devices()
    assert devices.memory("box").free == 3
    devices.synchronize("box")
    with devices.device("box"):
        pass
    assert bits(x) == bits(np.arange(3))
    strict = devices.to_device(x, "strict")
    with pytest.raises(DeviceError, match="on box and on strict"):
        devices.namespace(x, strict)
    assert loads == [1]


@pytest.mark.parametrize(
    ("kind", "message"),
    [("cpu", "there is a backend called 'cpu'"), ("cuda", "already"), ("A b", "lower-case word")],
)
def test_a_backend_needs_a_name_of_its_own(registry, kind, message):
    with pytest.raises(ValueError, match=message):
        devices.register_backend(kind, lambda: None, module="elsewhere")


def test_a_backend_that_is_not_what_was_declared_is_refused(registry):
    devices.register_backend("other", _registry._declared["cpu"].load, module="numpy.other")
    with pytest.raises(ValueError, match=r"register_backend\('other'"):
        devices.device("other")


# Devices -----------------------------------------------------------------------------------------


def test_a_device_is_a_value():
    assert [str(Device("cpu")), str(Device("cuda", 1))] == ["cpu", "cuda:1"]
    assert repr(Device("cuda", 0)) == "device('cuda:0')"
    assert Device("cuda", 0) == Device("cuda", 0)
    assert len({Device("cuda", 0), Device("cuda", 0), Device("cuda", 1), Device("cpu")}) == 3
    assert Device("cpu") != "cpu"
    assert (Device("cuda", 3).kind, Device("cuda", 3).index) == ("cuda", 3)
    assert pickle.loads(pickle.dumps(Device("cuda", 5))) == Device("cuda", 5)
    assert copy.deepcopy(Device("cpu")) == Device("cpu")


def test_a_device_cannot_be_changed():
    for name in ("kind", "_kind", "other"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(Device("cpu"), name, "cuda")
    with pytest.raises(AttributeError, match="cannot be changed"):
        del Device("cpu")._kind


def test_a_device_is_found_by_its_name(device):
    assert devices.device(str(device)) == device
    assert devices.device(device) is device
    with device as entered:
        assert entered is device


@pytest.mark.parametrize("name", ["", "CPU", "cpu:", "cuda:x", "cuda:-1", "cpu 0", "cpu:0", "tpu"])
def test_a_name_that_means_nothing_is_a_value_error(name):
    with pytest.raises(ValueError, match=r"device|strict"):
        devices.device(name)


def test_a_device_is_asked_for_by_name():
    with pytest.raises(TypeError, match="a device is a name or a Device, not int"):
        devices.device(0)


def test_the_cpu_is_always_available():
    assert devices.available_devices()[0] == Device("cpu")
    assert Device("strict") not in devices.available_devices()


@pytest.mark.parametrize("name", ["cuda", "cuda:0", Device("cuda", 0)], ids=str)
def test_without_cupy_the_error_says_what_to_install(registry, monkeypatch, name):
    _registry._loaded.pop("cuda", None)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "cupy" else find(name)
    )
    for ask in (devices.device, devices.memory, devices.generator, devices.synchronize):
        with pytest.raises(DeviceError, match=r"pip install 'tapegrad\[cuda\]'"):
            ask(name)
    with pytest.raises(DeviceError, match="CuPy, which is not installed"):
        devices.to_device(np.ones(2), name)
    assert devices.available_devices() == [Device("cpu")]


def test_without_a_gpu_the_error_says_that_none_was_found(registry, monkeypatch):
    _registry._loaded.pop("cuda", None)
    for cupy, reason in [
        (fake_cupy(error="cudaErrorInsufficientDriver"), "cudaErrorInsufficientDriver"),
        (fake_cupy(count=0), "the driver lists none"),
    ]:
        _registry._loaded.pop("cuda", None)
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        for name in ("cuda", "cuda:0"):
            with pytest.raises(DeviceError, match=f"found no GPU .{reason}.*nvidia-smi"):
                devices.device(name)
        assert devices.available_devices() == [Device("cpu")]


def test_a_cupy_that_cannot_be_imported_is_reported(registry, monkeypatch):
    _registry._loaded.pop("cuda", None)
    spec = importlib.machinery.ModuleSpec("cupy", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match="installed but cannot be imported"):
        devices.device("cuda")


def test_arrays_on_two_gpus_do_not_mix(two_gpus):
    x, y = (devices.to_device(np.ones(2), name) for name in ("cuda:0", "cuda:1"))
    assert devices.namespace(x, 1.0, x) is two_gpus
    with pytest.raises(DeviceError, match="arrays on cuda:0 and on cuda:1 meet"):
        devices.namespace(x, y)
    with pytest.raises(DeviceError, match="arrays on cpu and on cuda:1 meet"):
        devices.namespace(np.ones(2), y)


def test_a_cupy_array_is_recognised_before_cuda_was_ever_mentioned(two_gpus):
    assert "cuda" not in _registry._loaded
    assert devices.is_array(FakeArray([1.0]))
    assert devices.namespace(FakeArray([1.0])) is two_gpus


def test_a_gpu_is_named_by_number_or_is_the_current_one(two_gpus):
    assert str(devices.device("cuda")) == "cuda:0"
    with devices.device("cuda:1"):
        assert str(devices.device("cuda")) == "cuda:1"
        with devices.device("cuda:0"):
            assert str(devices.device("cuda")) == "cuda:0"
        assert str(devices.device("cuda")) == "cuda:1"
    assert str(devices.device("cuda")) == "cuda:0"
    assert list(map(str, devices.available_devices())) == ["cpu", "cuda:0", "cuda:1"]
    with pytest.raises(DeviceError, match="there is no cuda:7: found cuda:0, cuda:1"):
        devices.device("cuda:7")


def test_arrays_move_between_gpus(two_gpus):
    x = devices.to_device(np.arange(3.0), "cuda:1")
    assert str(devices.device_of(x)) == "cuda:1"
    assert devices.to_device(x, "cuda:1") is x
    y = devices.to_device(x, "cuda:0")
    assert str(devices.device_of(y)) == "cuda:0"
    assert bits(y) == bits(x) == bits(np.arange(3.0))
    assert str(devices.device_of(devices.to_device(y, "cuda:1"))) == "cuda:1"
    z = devices.to_device(y, "strict")
    assert str(devices.device_of(z)) == "strict"
    assert FakeDevice.current == 0


def test_a_gpus_generator_is_philox(two_gpus):
    generator = Generator("cuda:1", 5)
    state = generator.get_state()
    assert state["algorithm"] == "Philox4x32-10"
    assert state["stream"] == {"key": key_of(5), "counter": 0}
    with pytest.raises(ValueError, match="a state of Philox4x32-10 does not fit"):
        Generator("cpu").set_state(state)
    assert FakeDevice.current == 0


def test_a_gpu_tells_its_memory_and_is_waited_for(two_gpus):
    assert devices.memory("cuda:1") == MemoryInfo(total=100, used=30, free=51 + 12, peak=None)
    devices.synchronize("cuda:1")
    assert FakeDevice.synchronized == 1


# Transfers ---------------------------------------------------------------------------------------


@given(
    data=st.data(),
    dtype=st.sampled_from(DTYPES),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    seed=st.integers(0, 2**32 - 1),
)
def check_round_trip(device, data, dtype, shape, seed):
    x = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    axes = data.draw(st.permutations(range(len(shape))))
    steps = data.draw(st.tuples(*[st.sampled_from([1, -1, 2])] * len(shape)))
    x = x.transpose(axes)[(*(slice(None, None, step) for step in steps), ...)]
    x.flags.writeable = data.draw(st.booleans())
    there = devices.to_device(x, device)
    assert (there.shape, there.dtype) == (x.shape, x.dtype)
    assert devices.device_of(there) == device
    assert devices.is_array(there)
    back = devices.to_numpy(there)
    assert type(back) is np.ndarray
    assert bits(back) == bits(x)


def test_values_survive_a_round_trip(device):
    check_round_trip(device)


@pytest.mark.parametrize("device", ELSEWHERE, indirect=True)
def test_a_transfer_copies(device):
    x = np.ones(4, np.float32)
    there = devices.to_device(x, device)
    back = devices.to_numpy(there)
    x[0], back[1] = 7, 7
    assert devices.to_numpy(there).tolist() == [1, 1, 1, 1]
    assert devices.to_device(there, "cpu").tolist() == [1, 1, 1, 1]


def test_where_it_is_already_nothing_is_copied(device):
    x = devices.to_device(np.ones(4), device)
    assert devices.to_device(x, device) is x
    assert devices.to_device(x, str(device)) is x


def test_on_the_cpu_to_numpy_is_the_array_itself():
    x = np.ones(4)
    assert devices.to_numpy(x) is x


# Memory ------------------------------------------------------------------------------------------


def test_memory_figures_fit_together(device):
    info = devices.memory(device)
    assert info.total > 2**28
    assert 0 <= info.used <= info.total
    assert 0 < info.free <= info.total
    if info.peak is not None:
        assert info.used <= info.peak


def test_memory_in_use_grows_by_what_is_allocated(device):
    size = 2**26
    before = devices.memory(device).used
    held = devices.to_device(np.ones(size, np.uint8), device)
    during = devices.memory(device)
    assert during.used - before >= 0.9 * size
    assert held.nbytes == size
    del held
    gc.collect()
    assert during.used - devices.memory(device).used >= 0.9 * size


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")
def test_on_the_cpu_memory_in_use_is_the_resident_set():
    status = Path("/proc/self/status").read_text(encoding="ascii")
    resident = 1024 * int(re.search(r"VmRSS:\s*(\d+) kB", status)[1])
    assert abs(devices.memory("cpu").used - resident) < 0.1 * resident


def test_a_platform_without_proc_answers_none(monkeypatch):
    from tapegrad.devices import _cpu

    monkeypatch.setattr(_cpu, "Path", lambda _: types.SimpleNamespace(exists=lambda: False))
    monkeypatch.setattr(_cpu.os, "sysconf_names", {}, raising=False)
    info = _cpu.memory()
    assert (info.total, info.used, info.free) == (None, None, None)


def test_waiting_for_a_device_returns(device):
    devices.synchronize(device)


# Random numbers ----------------------------------------------------------------------------------


def draws(generator):
    """A bit of everything, as bytes."""
    return [
        bits(x)
        for x in (
            generator.uniform((5,)),
            generator.normal((2, 3), np.float64),
            generator.bernoulli(0.3, (7,)),
            generator.integers(-5, 5, (4,)),
            generator.permutation(6),
            generator.normal((3,)),
            generator.uniform((), np.float16),
        )
    ]


def test_same_seed_same_bits(device):
    first = draws(Generator(device, 7))
    assert draws(Generator(str(device), 7)) == first
    assert draws(Generator(device, 8)) != first
    assert draws(Generator(device)) != draws(Generator(device))


def test_the_strict_stand_in_draws_what_the_cpu_draws():
    assert draws(Generator("strict", 3)) == draws(Generator("cpu", 3))


def test_on_the_cpu_the_stream_is_numpys_own():
    theirs = np.random.Generator(np.random.PCG64(5))
    ours = Generator("cpu", 5)
    assert bits(ours.uniform((4,))) == theirs.random(4, np.float32).tobytes()
    assert bits(ours.normal((3,), np.float64)) == theirs.standard_normal(3).tobytes()
    assert bits(ours.integers(0, 100, (5,))) == theirs.integers(0, 100, 5).tobytes()
    assert bits(ours.permutation(9)) == theirs.permutation(9).tobytes()


def test_results_are_arrays_of_the_device(device):
    generator = Generator(device, 0)
    assert generator.device == device
    for x, shape, dtype in [
        (generator.uniform(), (), "float32"),
        (generator.uniform(3, "float64"), (3,), "float64"),
        (generator.uniform((0, 2), np.float16), (0, 2), "float16"),
        (generator.normal((2, 2)), (2, 2), "float32"),
        (generator.normal((), np.float16), (), "float16"),
        (generator.bernoulli(0.5), (), "float32"),
        (generator.bernoulli(0.5, (2,), bool), (2,), "bool"),
        (generator.bernoulli(0.5, (2,), "int64"), (2,), "int64"),
        (generator.integers(0, 3), (), "int64"),
        (generator.integers(0, 3, [2, 1], np.uint8), (2, 1), "uint8"),
        (generator.permutation(4), (4,), "int64"),
        (generator.permutation(0), (0,), "int64"),
    ]:
        assert devices.device_of(x) == device
        assert (x.shape, x.dtype) == (shape, np.dtype(dtype))


def test_the_state_goes_through_json_and_pickle(device):
    generator = Generator(device, 1)
    generator.uniform((3,))
    state = json.loads(json.dumps(generator.get_state()))
    following = draws(generator)
    for other in (Generator(device, 2), Generator(device)):
        other.set_state(state)
        assert draws(other) == following
    generator.set_state(state)
    twins = [
        generator.copy(),
        copy.deepcopy(generator),
        copy.copy(generator),
        pickle.loads(pickle.dumps(generator)),
    ]
    for twin in twins:
        assert draws(twin) == following
    assert draws(generator) == following


def test_a_state_holds_what_will_be_spawned(device):
    generator = Generator(device, 1)
    generator.spawn(2)
    twin = generator.copy()
    assert draws(twin.spawn(1)[0]) == draws(generator.spawn(1)[0])


def test_a_state_of_another_algorithm_is_refused():
    state = Generator("cpu", 1).get_state()
    with pytest.raises(ValueError, match=r"a state of Philox.* does not fit .* on cpu.*PCG64"):
        Generator("cpu").set_state({**state, "algorithm": "Philox4x32-10"})


def test_spawned_generators_are_reproducible_and_differ(device):
    parent = Generator(device, 4)
    children = [draws(child) for child in parent.spawn(3)]
    other = Generator(device, 4)
    other.uniform((100,))  # what was drawn does not matter
    assert [draws(child) for child in [*other.spawn(1), *other.spawn(2)]] == children
    streams = [*children, draws(Generator(device, 4))]
    assert len({stream[0] for stream in streams}) == 4


def test_seeding_in_place_starts_anew(device):
    generator = Generator(device, 4)
    first = draws(generator)
    assert draws(generator) != first
    generator.seed(4)
    assert draws(generator) == first


@pytest.fixture
def fresh_defaults(monkeypatch):
    from tapegrad.devices import _generators

    monkeypatch.setattr(_generators, "_defaults", {})
    monkeypatch.setattr(_generators, "_seed", [None])


def test_manual_seed_seeds_generators_used_before_and_after(device, fresh_defaults):
    before = devices.generator(device)
    before.uniform((3,))
    devices.manual_seed(11)
    assert devices.generator(str(device)) is before
    assert draws(before) == draws(Generator(device, 11))
    from tapegrad.devices import _generators

    _generators._defaults.clear()
    after = devices.generator(device)
    assert after is not before
    assert draws(after) == draws(Generator(device, 11))


def test_unseeded_default_generators_differ(fresh_defaults):
    assert draws(devices.generator("cpu")) != draws(devices.generator("strict"))


def test_generators_are_hashable_settings(device):
    generator = Generator(device, 0)
    assert {generator: 1}[generator] == 1
    assert generator != Generator(device, 0)
    assert str(device) in repr(generator)


@pytest.mark.parametrize(("dtype", "digits"), [("float16", 11), ("float32", 24), ("float64", 53)])
def test_uniform_numbers_fill_the_half_open_interval(device, dtype, digits):
    u = devices.to_numpy(Generator(device, 0).uniform((100_000,), dtype)).astype(np.float64)
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert np.all(u * 2.0**digits == np.floor(u * 2.0**digits))
    steps = np.sort(u)
    distance = np.max(np.abs(steps - (np.arange(u.size) + 0.5) / u.size))
    # Kolmogorov's statistic exceeds 2.2/√n once in 8,000 seeds; float16 has steps of its own.
    assert distance < 2.2 / np.sqrt(u.size) + (2.0**-digits if dtype == "float16" else 0.0)


def test_uniform_numbers_are_scaled(device):
    a = Generator(device, 3).uniform((1000,), np.float64, low=-2.0, high=3.0)
    b = Generator(device, 3).uniform((1000,), np.float64)
    np.testing.assert_allclose(devices.to_numpy(a), devices.to_numpy(b) * 5 - 2, rtol=1e-15)
    assert (
        devices.to_numpy(Generator(device, 3).uniform((5,), low=2.0, high=2.0)).tolist() == [2] * 5
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_normal_numbers_have_their_moments(device, dtype):
    n = 400_000
    z = devices.to_numpy(Generator(device, 1).normal((n,), dtype)).astype(np.float64)
    # Bounds are five standard deviations of each sample moment.
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n) + (0.01 if dtype == "float16" else 0.0)
    assert 4.0 < np.abs(z).max() < 6.5
    lag = (z[1:] * z[:-1]).mean()
    assert abs(lag) < 5 / np.sqrt(n)


def test_normal_numbers_are_scaled(device):
    a = devices.to_numpy(Generator(device, 3).normal((1000,), np.float64, mean=10.0, std=0.5))
    b = devices.to_numpy(Generator(device, 3).normal((1000,), np.float64))
    np.testing.assert_allclose(a, b * 0.5 + 10, rtol=1e-15)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.999, 1.0])
def test_bernoulli_draws_ones_with_probability_p(device, p):
    n = 200_000
    x = devices.to_numpy(Generator(device, 5).bernoulli(p, (n,)))
    assert set(np.unique(x)) <= {0.0, 1.0}
    assert abs(x.mean() - p) <= 5 * np.sqrt(p * (1 - p) / n)


def test_masks_do_not_depend_on_the_dtype(device):
    masks = [
        devices.to_numpy(Generator(device, 5).bernoulli(0.4, (50,), dtype)).astype(bool).tolist()
        for dtype in ("float16", "float32", "float64", "bool", "int8")
    ]
    assert all(mask == masks[0] for mask in masks)


def test_bernoulli_takes_one_probability_per_entry(device):
    p = devices.to_device(np.array([[0.0], [1.0]]), device)
    x = devices.to_numpy(Generator(device, 5).bernoulli(p, (2, 50)))
    assert x[0].tolist() == [0] * 50
    assert x[1].tolist() == [1] * 50


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 7, "int64"), (-3, 4, "int8"), (0, 256, "uint8"), (-128, 128, "int8"), (5, 6, "int32")],
)
def test_integers_are_all_reached_equally_often(device, low, high, dtype):
    n = 300 * (high - low)
    x = devices.to_numpy(Generator(device, 2).integers(low, high, (n,), dtype))
    assert x.dtype == dtype
    counts = np.bincount(x.astype(np.int64) - low, minlength=high - low)
    assert counts.size == high - low
    chi_squared = np.sum((counts - 300.0) ** 2) / 300
    k = high - low - 1
    assert chi_squared <= k + 5 * np.sqrt(2 * k) + 10


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(-(2**63), 2**63, "int64"), (0, 2**64, "uint64"), (2**63, 2**63 + 4, "uint64")],
)
def test_integers_reach_the_ends_of_their_type(device, low, high, dtype):
    x = [int(i) for i in devices.to_numpy(Generator(device, 2).integers(low, high, (4000,), dtype))]
    assert low <= min(x)
    assert max(x) < high
    middle = sum(i >= (low + high) // 2 for i in x)
    assert abs(middle - 2000) < 5 * np.sqrt(1000)


def test_permutations_hold_every_number_and_vary(device):
    generator = Generator(device, 2)
    seen = [tuple(devices.to_numpy(generator.permutation(4)).tolist()) for _ in range(480)]
    assert {tuple(sorted(p)) for p in seen} == {(0, 1, 2, 3)}
    counts = [seen.count(p) for p in set(seen)]
    assert len(counts) == 24
    assert sum((c - 20) ** 2 / 20 for c in counts) < 23 + 5 * np.sqrt(46)


@pytest.mark.parametrize("draw", ["uniform", "normal", "bernoulli"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_draws_are_written_into_out(device, draw, dtype):
    arguments = [0.5] if draw == "bernoulli" else []
    settings = {"uniform": {"low": -1.0}, "normal": {"mean": 3.0}, "bernoulli": {}}[draw]
    expected = getattr(Generator(device, 9), draw)(*arguments, (4, 6), dtype, **settings)
    xp = devices.namespace(expected)
    whole = xp.zeros((8, 6), dtype=dtype)
    for out in (xp.zeros((4, 6), dtype=dtype), whole[::2], xp.zeros((6, 4), dtype=dtype).T):
        generator = Generator(device, 9)
        given = getattr(generator, draw)(*arguments, (4, 6), dtype, out=out, **settings)
        assert given is out
        assert bits(out) == bits(expected)
    assert not devices.to_numpy(whole[1::2]).any()


BAD_CALLS = {
    "dtype of uniform": (TypeError, "not int32", lambda g: g.uniform((2,), np.int32)),
    "complex normal": (TypeError, "not complex64", lambda g: g.normal((2,), np.complex64)),
    "dtype of integers": (TypeError, "integer one", lambda g: g.integers(0, 2, (2,), float)),
    "low above high": (ValueError, "need low ≤ high", lambda g: g.uniform(low=2.0, high=1.0)),
    "infinite range": (ValueError, "finite range", lambda g: g.uniform(high=np.inf)),
    "range of nan": (ValueError, "finite range", lambda g: g.uniform(high=np.nan)),
    "negative deviation": (ValueError, "must be ≥ 0", lambda g: g.normal(std=-1.0)),
    "probability above 1": (ValueError, "between 0 and 1, not 1.5", lambda g: g.bernoulli(1.5, 2)),
    "probability nan": (ValueError, "between 0 and 1", lambda g: g.bernoulli(np.nan, 2)),
    "empty range": (ValueError, "need low < high", lambda g: g.integers(3, 3)),
    "range of a type": (ValueError, "within uint8", lambda g: g.integers(0, 257, 2, np.uint8)),
    "fractional range": (TypeError, "float", lambda g: g.integers(0.5, 3)),
    "negative length": (ValueError, "whole number ≥ 0", lambda g: g.permutation(-1)),
    "negative shape": (ValueError, "lengths ≥ 0", lambda g: g.uniform((2, -1))),
    "fractional shape": (TypeError, "float", lambda g: g.uniform((2.0,))),
    "negative seed": (ValueError, "a seed is a whole number", lambda g: g.seed(-1)),
    "fractional seed": (TypeError, "float", lambda g: g.seed(0.5)),
    "shape of out": (
        ValueError,
        r"out is float32 of shape \(3,\); drawn are float32 of shape \(2,\)",
        lambda g: g.uniform((2,), out=g.uniform((3,))),
    ),
    "dtype of out": (
        ValueError,
        "out is float64",
        lambda g: g.bernoulli(0.5, (2,), out=g.uniform((2,), np.float64)),
    ),
    "shape of p": (
        ValueError,
        r"p of shape \(3,\) does not broadcast to \(2,\)",
        lambda g: g.bernoulli(g.uniform((3,)), (2,)),
    ),
    "p with more axes": (
        ValueError,
        "does not broadcast",
        lambda g: g.bernoulli(g.uniform((1, 2)), (2,)),
    ),
}


@pytest.mark.parametrize(("error", "message", "call"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_bad_call_says_what_is_wrong(device, error, message, call):
    with pytest.raises(error, match=message):
        call(Generator(device, 0))


def test_a_refused_seed_leaves_the_generator_as_it_was(device):
    generator = Generator(device, 3)
    with pytest.raises(ValueError, match="a seed"):
        generator.seed(-1)
    assert draws(generator) == draws(Generator(device, 3))


def test_out_must_be_on_the_generators_device():
    with pytest.raises(ValueError, match="out is on cpu, not strict"):
        Generator("strict", 0).uniform((2,), out=np.zeros(2, np.float32))


@pytest.mark.parametrize("seed", [-1, 0.5, "1", None])
def test_manual_seed_takes_whole_numbers(seed, fresh_defaults):
    with pytest.raises((TypeError, ValueError)):
        devices.manual_seed(seed)


# The generator for GPUs --------------------------------------------------------------------------


def philox(counter, key, rounds=10):
    """Philox4x32 of a 128-bit counter and a 64-bit key, in Python's integers."""
    c = [(counter >> 32 * i) & 0xFFFFFFFF for i in range(4)]
    k = [(key >> 32 * i) & 0xFFFFFFFF for i in range(2)]
    for _ in range(rounds):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q & 0xFFFFFFFF, (p >> 32) ^ c[3] ^ k[1], p & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def words(n, counter, key):
    """The first n 32-bit words of the stream from block `counter` on."""
    blocks = [philox((counter + i) % 2**64, key) for i in range(-(-n // 4))]
    return np.array(blocks, dtype=np.uint64).ravel()[:n]


def test_the_reference_gives_the_published_vectors():
    # The known answers for philox4x32-10 that come with the authors' Random123.
    ones = 2**128 - 1
    pi = 0x0370734413198A2E85A308D3243F6A88
    for counter, key, answer in [
        (0, 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (ones, 2**64 - 1, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (pi, 0x299F31D0A4093822, [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ]:
        assert philox(counter, key) == answer


ON_THE_CPU = """
#include <math.h>
static long long block_index;
#define BLOCK_INDEX block_index
#define KERNEL static void
#define DEVICE static
static void sincospif(float x, float *s, float *c) {
    *s = (float)sin(M_PI * (double)x); *c = (float)cos(M_PI * (double)x);
}
static void sincospi(double x, double *s, double *c) { *s = sin(M_PI * x); *c = cos(M_PI * x); }
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
"""


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory):
    """The kernels compiled for the CPU: a loop over block numbers stands for the GPU's threads."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the GPU's random kernels for the CPU with")
    loops = "".join(
        f"void run_{name}({pointer} *y, long long n, unsigned long long counter,"
        f" unsigned long long key{extra}, long long threads) {{\n"
        f"for (block_index = 0; block_index < threads; ++block_index)"
        f" {name}(y, n, counter, key{passed}); }}\n"
        for name, pointer, extra, passed in [
            ("uniform_float32", "float", "", ""),
            ("uniform_float64", "double", "", ""),
            ("normal_float32", "float", "", ""),
            ("normal_float64", "double", "", ""),
            ("words_uint64", "unsigned long long", "", ""),
            (
                "integers_uint64",
                "unsigned long long",
                ", unsigned long long low, unsigned long long range",
                ", low, range",
            ),
        ]
    )
    folder = tmp_path_factory.mktemp("philox")
    (folder / "philox.c").write_text(ON_THE_CPU + _philox.SOURCE + loops)
    library = folder / "philox.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, folder / "philox.c", "-lm"]
    subprocess.run(command, check=True, capture_output=True)
    return ctypes.CDLL(str(library))


@pytest.fixture
def philox_stream(host_kernels, monkeypatch):
    """PhiloxStream over NumPy's arrays, running the compiled kernels."""
    monkeypatch.setattr(_philox, "_kernels", {})

    def raw_kernel(source, name):
        assert source is _philox.SOURCE
        run = getattr(host_kernels, f"run_{name}")

        def launch(grid, block, arguments):
            y, *numbers = arguments
            assert y.flags.c_contiguous
            assert [type(number) for number in numbers] == [
                np.int64,
                *[np.uint64] * (len(numbers) - 1),
            ]
            run(
                y.ctypes.data_as(ctypes.c_void_p),
                *(ctypes.c_ulonglong(int(number)) for number in numbers),
                ctypes.c_longlong(grid[0] * block[0]),
            )

        return launch

    cupy = types.SimpleNamespace(RawKernel=raw_kernel, empty=np.empty, argsort=np.argsort)
    return lambda seed=0: _philox.PhiloxStream(cupy, FakeDevice, np.random.SeedSequence(seed))


def key_of(seed):
    return int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])


def expected_stream(kind, n, counter, key):
    """What the kernels compute, in NumPy."""
    if kind == "uniform_float32":
        return ((words(n, counter, key) >> np.uint64(8)) / 2.0**24).astype(np.float32)
    w = words(4 * n, counter, key)

    def bits53(high, low):
        return (high >> np.uint64(5)) * 2.0**26 + (low >> np.uint64(6))

    if kind == "uniform_float64":
        return (bits53(w[0::2], w[1::2]) / 2.0**53)[:n]
    if kind == "normal_float32":
        radius = np.sqrt(-2 * np.log((w[0::2] + 1.0) / 2.0**32))
        angle = 2 * np.pi * ((w[1::2] >> np.uint64(8)) / 2.0**24)
    else:
        radius = np.sqrt(-2 * np.log((bits53(w[0::4], w[1::4]) + 1.0) / 2.0**53))
        angle = 2 * np.pi * (bits53(w[2::4], w[3::4]) / 2.0**53)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return pairs.ravel()[:n].astype(kind.rsplit("_", maxsplit=1)[1])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 1023])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gpus_kernels_compute_the_published_algorithm(philox_stream, n, dtype):
    stream, key, dtype = philox_stream(5), key_of(5), np.dtype(dtype)
    per_block = 4 if dtype == "float32" else 2
    counter = 0
    for draw in (stream.uniform, stream.normal, stream.uniform):
        drawn = draw((n,), dtype, None)
        expected = expected_stream(f"{draw.__name__}_{dtype}", n, counter, key)
        if draw == stream.uniform:
            assert drawn.tobytes() == expected.tobytes()
        else:
            # log, sin and cos of the two compilers may differ in their last bits.
            np.testing.assert_allclose(drawn, expected, rtol=1e-5 if dtype == "float32" else 1e-13,
                                       atol=1e-6 if dtype == "float32" else 1e-14)  # fmt: skip
        counter += -(-n // per_block)
        assert stream.get_state() == {"key": key, "counter": counter}


def test_the_gpus_stream_does_not_depend_on_how_it_is_cut(philox_stream):
    whole = philox_stream(1).uniform((64,), np.dtype("float32"), None)
    stream = philox_stream(1)
    parts = [stream.uniform((n,), np.dtype("float32"), None) for n in (4, 40, 0, 20)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_the_gpus_stream_goes_past_its_32_bit_words(philox_stream):
    stream = philox_stream(1)
    stream.set_state({"key": 2**64 - 1, "counter": 2**32 - 1})
    drawn = stream.uniform((12,), np.dtype("float32"), None)
    assert drawn.tobytes() == expected_stream("uniform_float32", 12, 2**32 - 1, 2**64 - 1).tobytes()


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 10, "int64"), (-4, 4, "int8"), (-(2**63), 2**63, "int64"), (0, 2**64, "uint64"),
     (2**63 - 2, 2**63 + 2, "uint64"), (200, 256, "uint8")],
)  # fmt: skip
def test_the_gpus_integers_cover_their_range(philox_stream, low, high, dtype):
    drawn = philox_stream(3).integers(low, high, (2000,), np.dtype(dtype))
    assert drawn.dtype == dtype
    pairs = words(4000, 0, key_of(3))
    wide = [int(a) | int(b) << 32 for a, b in zip(pairs[0::2], pairs[1::2], strict=True)]
    assert [int(x) for x in drawn] == [low + (x * (high - low) >> 64) for x in wide]


def test_the_gpus_permutations_hold_every_number(philox_stream):
    order = philox_stream(3).permutation(1000)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(1000))
    assert list(order) != list(range(1000))
    assert philox_stream(3).permutation(0).shape == (0,)


def test_the_gpus_normal_numbers_have_no_infinities(philox_stream):
    """A word that is 0 would give log(0) were it not shifted by one; this one was searched for."""
    stream = philox_stream()
    stream.set_state({"key": 0, "counter": 3230741590})
    assert philox(3230741590, 0)[2] == 0
    z = stream.normal((4,), np.dtype("float32"), None)
    assert np.hypot(z[2], z[3]) == pytest.approx(np.sqrt(64 * np.log(2)), rel=1e-6)
    for dtype in ("float32", "float64"):
        z = philox_stream(0).normal((400_000,), np.dtype(dtype), None)
        assert np.isfinite(z).all()
        assert abs(z.mean()) < 5 / np.sqrt(z.size)
        assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / z.size)


@pytest.mark.cuda
@pytest.mark.parametrize("kind", ["uniform_float32", "uniform_float64", "normal_float32"])
def test_on_the_gpu_the_stream_is_the_reference(kind):
    draw, dtype = kind.split("_")
    drawn = devices.to_numpy(getattr(Generator("cuda", 5), draw)((1023,), dtype))
    expected = expected_stream(kind, 1023, 0, key_of(5))
    if draw == "uniform":
        assert drawn.tobytes() == expected.tobytes()
    else:
        np.testing.assert_allclose(drawn, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.cuda
def test_on_the_gpu_integers_are_the_reference():
    drawn = devices.to_numpy(Generator("cuda", 3).integers(-(2**40), 2**40, (501,)))
    pairs = words(1002, 0, key_of(3))
    wide = [int(a) | int(b) << 32 for a, b in zip(pairs[0::2], pairs[1::2], strict=True)]
    assert drawn.tolist() == [-(2**40) + (x * 2**41 >> 64) for x in wide]
