import numpy as np

from tapegrad import devices


# %% Array Namespace Shape DTypeLike
def filled(xp: devices.Namespace, shape: devices.Shape, dtype: devices.DTypeLike) -> devices.Array:
    return xp.ones(shape, dtype)


filled(np, (2,), "float32")

# %% special
xp = devices.namespace(np.ones(2))
devices.special(xp).erf(np.array([0.0, 1.0]))

# %% address_of
x = np.zeros(4)
devices.address_of(x[1:]) - devices.address_of(x)

# %% from_dlpack
x = np.arange(3.0)
y = devices.from_dlpack(x)
x[0] = 7
y

# %% Device
cpu = devices.device("cpu")
cpu, type(cpu).__name__, cpu.kind

# %% MemoryInfo
memory = devices.memory("cpu")
type(memory).__name__, memory.used > 0

# %% synchronize
devices.synchronize("cpu")
devices.device("cpu")

# %% Generator
draws = devices.Generator("cpu", seed=3)
draws.normal((2,)), devices.Generator("cpu", seed=3).normal((2,))

# %% watched_draws
seen = []
with devices.watched_draws(seen.append):
    draws = devices.Generator(seed=0)
    x = draws.uniform((2,))
seen[0] is draws


# %% Backend register_backend
class Boxed:
    """An array of another library."""

    def __init__(self, array):
        self.array = array


box = devices.Device("box")


def load():
    return devices.Backend(
        kind="box",
        array_type=Boxed,
        xp=np,  # the functions that take such arrays
        device_of=lambda boxed: box,
        devices=lambda: [box],
        current=lambda: box,
        from_numpy=lambda array, device: Boxed(array.copy()),
        to_numpy=lambda boxed: boxed.array.copy(),
        move=lambda boxed, device: boxed,
        memory=lambda device: devices.MemoryInfo(None, None, None, None),
        stream=None,
    )


devices.register_backend("box", load, module=Boxed.__module__, listed=False)
x = devices.to_device(np.arange(3), "box")
devices.device_of(x), devices.to_device(x, "cpu")


# %% RandomStream
class Halves:
    """Draws that are all 1/2."""

    algorithm = "halves"

    def uniform(self, shape, dtype, out):
        return np.full(shape, 0.5, dtype)

    normal = uniform

    def integers(self, low, high, shape, dtype):
        return np.full(shape, (low + high) // 2, dtype)

    def permutation(self, n):
        return np.arange(n)

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


stream: devices.RandomStream = Halves()
stream.uniform((2,), np.dtype("float32"), None)

# %% launcher_of
devices.launcher_of(np.ones(2)) is None  # NumPy's arrays need none


# %% Launcher
class Noting(devices.Launcher):
    """Says what would be launched."""

    def compile(self, source, name):
        return lambda blocks, threads, arguments: print(name, "on", blocks, "×", threads)

    def capture(self, run):
        return run


Noting().compile("", "run")(4, 256, ())
