"""DLPack: memory that is handed out and taken in without a copy, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import Parameter, Tensor, devices, grad


class Old:
    """A producer whose consumer knows DLPack before 1.0: it passes a stream at most."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, stream=None):
        return self.tensor.__dlpack__(stream=stream)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, bool, np.complex128])
@pytest.mark.parametrize("shape", [(), (3,), (0, 2), (2, 3)])
def test_numpy_takes_a_tensor_without_a_copy(dtype, shape):
    x = Tensor(np.ones(shape, dtype))
    array = np.from_dlpack(x)
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert np.shares_memory(array, x.data) or not array.size


def test_writes_show_on_both_sides():
    x = Tensor(np.zeros(3))
    array = np.from_dlpack(x)
    array[1] = 5
    assert x.tolist() == [0, 5, 0]
    y = tg.from_dlpack(array)
    y[2] = 7
    assert array.tolist() == [0, 5, 7]
    assert x.tolist() == [0, 5, 7]


def test_views_keep_their_strides():
    x = Tensor(np.arange(24.0).reshape(4, 6))[::2, 1::2].T
    array = np.from_dlpack(x)
    assert array.strides == x.data.strides
    np.testing.assert_array_equal(array, x.numpy())


def test_what_comes_in_is_an_untracked_tensor():
    x = tg.from_dlpack(np.ones((2, 3)))
    assert type(x) is Tensor
    assert not x.tracked
    assert x.device == devices.device("cpu")
    np.testing.assert_array_equal(grad(lambda w: (w * x).sum())(np.ones((2, 3))), np.ones((2, 3)))


def test_a_tensor_comes_in_sharing_memory():
    x = Tensor(np.ones(3))
    assert tg.from_dlpack(x).data.ctypes.data == x.data.ctypes.data


def test_a_copy_is_made_when_asked():
    x = Tensor(np.ones(3))
    array = np.from_dlpack(x, copy=True)
    assert not np.shares_memory(array, x.data)
    assert np.shares_memory(np.from_dlpack(x, copy=False), x.data)
    assert np.shares_memory(np.from_dlpack(x, device="cpu"), x.data)


@pytest.mark.parametrize("take", [np.from_dlpack, tg.from_dlpack])
def test_tracked_tensors_are_refused_with_the_way_out(take):
    p = Parameter(np.ones(2))
    for x in (p, p * 2):
        with pytest.raises(TypeError, match=r"tracked.*\.detach\(\)"):
            take(x)
        assert take(x.detach()).shape == (2,)
    with pytest.raises(TypeError, match="tracked"):
        grad(lambda x: take(x).sum())(np.ones(2))


def test_read_only_memory_stays_read_only():
    x = Tensor(np.broadcast_to(np.arange(3.0), (2, 3)))
    array = np.from_dlpack(x)
    assert np.shares_memory(array, x.data)
    assert not array.flags.writeable
    y = tg.from_dlpack(array)
    assert not y.data.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        y[0, 0] = 1


def test_a_consumer_without_a_mark_for_read_only_memory_gets_a_copy():
    x = Tensor(np.broadcast_to(np.arange(3.0), (2, 3)))
    array = np.from_dlpack(Old(x))
    np.testing.assert_array_equal(array, x.numpy())
    assert not np.shares_memory(array, x.data)
    writable = Tensor(np.ones(3))
    assert np.shares_memory(np.from_dlpack(Old(writable)), writable.data)
    with pytest.raises(BufferError, match="readonly"):
        x.__dlpack__(copy=False)


@pytest.mark.extra
def test_jax_takes_a_tensor_and_gives_it_back():
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    x = Tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    there = jax.numpy.from_dlpack(x)
    np.testing.assert_array_equal(np.asarray(there), x.numpy())
    back = tg.from_dlpack(there * 2)
    assert type(back) is Tensor
    np.testing.assert_array_equal(back.numpy(), 2 * x.numpy())


@pytest.mark.extra
def test_torch_takes_a_tensor_and_gives_it_back():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = Tensor(np.zeros(3, np.float32))
    there = torch.from_dlpack(x)
    there[1] = 5
    assert x.tolist() == [0, 5, 0]
    assert tg.from_dlpack(there).tolist() == [0, 5, 0]


def test_what_has_no_protocol_or_no_known_device_is_refused():
    with pytest.raises(TypeError, match=r"builtins\.list has no __dlpack__"):
        tg.from_dlpack([1.0])

    class Elsewhere(Old):
        def __dlpack_device__(self):
            return (7, 0)

    with pytest.raises(devices.DeviceError, match="device 7"):
        tg.from_dlpack(Elsewhere(Tensor([1.0])))


def test_a_device_that_cannot_hand_on_its_memory_says_so():
    x = Tensor([1.0], device="strict")
    for take in (np.from_dlpack, tg.from_dlpack):
        with pytest.raises(BufferError, match=r"strict cannot be handed on.*x\.to\('cpu'\)"):
            take(x)


def test_memory_is_not_handed_out_while_replay_records():
    with pytest.raises(tg.autograd.ReplayError, match="DLPack"):
        tg.replay(lambda x: Tensor(np.from_dlpack(x)))(np.ones(2))


def test_memory_lives_as_long_as_its_last_user():
    array = np.from_dlpack(Tensor(np.full(1000, 3.0)))
    assert array.sum() == 3000
    x = tg.from_dlpack(np.full(1000, 4.0))
    assert float(x.sum()) == 4000


@pytest.mark.cuda
def test_cupy_takes_a_tensor_and_gives_it_back():
    cupy = pytest.importorskip("cupy")
    x = Tensor(np.zeros(3, np.float32), device="cuda")
    there = cupy.from_dlpack(x)
    there[1] = 5
    assert x.tolist() == [0, 5, 0]
    back = tg.from_dlpack(there)
    assert back.device == x.device
    assert back.data.data.ptr == x.data.data.ptr
