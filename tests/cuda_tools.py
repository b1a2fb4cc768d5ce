"""Generated CUDA C without a GPU: NVRTC compiles it, and a C++ compiler makes it run on the CPU.

On the CPU each block of threads is a set of fibers, which run one after another from one
`__syncthreads()` to the next; so shared memory and its barriers are what they are on a GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import gc
import hashlib
import importlib.util
import inspect
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

from tapegrad import devices
from tapegrad.devices import CaptureError, _registry
from tapegrad.devices._launching import OPTIONS
from tapegrad.devices._strict_array import StrictArray
from tapegrad.devices._strict_namespace import StrictNamespace

ARCHITECTURES = ("sm_80", "sm_90")

# NVRTC -------------------------------------------------------------------------------------------


@functools.cache
def _nvrtc() -> ctypes.CDLL | None:
    found = importlib.util.find_spec("nvidia")
    for folder in (found.submodule_search_locations or []) if found else []:
        for library in sorted(Path(folder, "cuda_nvrtc", "lib").glob("libnvrtc.so.*")):
            for builtins in sorted(library.parent.glob("libnvrtc-builtins.so.*")):
                ctypes.CDLL(str(builtins), ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(str(library))
    return None


def why_no_nvrtc() -> str:
    """Why NVRTC cannot compile here; "" where it can."""
    return "" if _nvrtc() else "NVRTC is not here: pip install nvidia-cuda-nvrtc-cu12"


@functools.cache  # many tests launch the same kernels
def compile_by_nvrtc(source: str, architecture: str) -> bytes:
    """The machine code (cubin) of a text.  Raises ValueError with the compiler's log."""
    library = _nvrtc()
    assert library is not None
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
    options = [o.encode() for o in (*OPTIONS, f"--gpu-architecture={architecture}")]
    array = (ctypes.c_char_p * len(options))(*options)
    failed = library.nvrtcCompileProgram(program, len(options), array)
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    try:
        if failed:
            raise ValueError(log.value.decode() + source)
        library.nvrtcGetCUBINSize(program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        library.nvrtcGetCUBIN(program, code)
        return code.raw
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


# On the CPU --------------------------------------------------------------------------------------

# Runs a kernel: its blocks one after another, its threads as fibers.
_FIBERS = """
#include <ucontext.h>
#include <stdlib.h>
struct dim3_ { int x; };
extern "C" {
dim3_ threadIdx, blockIdx, blockDim, gridDim;
static ucontext_t here, fibers[1024];
static char *stacks[1024];
static bool ended[1024];
static int current;
static void (*the_body)(void **);
static void **the_arguments;
void sync_threads() { swapcontext(&fibers[current], &here); }
static void one_thread() { the_body(the_arguments); ended[current] = true; }
void run_kernel(void (*body)(void **), void **arguments, int blocks, int threads, int joins) {
    gridDim.x = blocks; blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
        if (!joins) {
            for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) body(arguments);
            continue;
        }
        the_body = body; the_arguments = arguments;
        for (int t = 0; t < threads; ++t) {
            if (!stacks[t]) stacks[t] = (char *)malloc(65536);
            getcontext(&fibers[t]);
            fibers[t].uc_stack.ss_sp = stacks[t];
            fibers[t].uc_stack.ss_size = 65536;
            fibers[t].uc_link = &here;
            ended[t] = false;
            makecontext(&fibers[t], one_thread, 0);
        }
        for (int left = threads; left > 0;) {
            left = 0;
            for (int t = 0; t < threads; ++t)
                if (!ended[t]) {
                    current = threadIdx.x = t;
                    swapcontext(&here, &fibers[t]);
                    left += !ended[t];
                }
        }
    }
}
}
"""
_ON_THE_CPU = """
#include <math.h>
#include <string.h>
struct dim3_ { int x; };
extern "C" { extern dim3_ threadIdx, blockIdx, blockDim, gridDim; void sync_threads(); }
#define __global__
#define __device__
#define __shared__ static
#define __restrict__ __restrict
#define __launch_bounds__(n)
static inline void __syncthreads() {
    const int t = threadIdx.x; sync_threads(); threadIdx.x = t;
}
static inline void __threadfence() {}
static inline unsigned int atomicAdd(unsigned int *a, unsigned int n) {
    const unsigned int before = *a; *a += n; return before;
}
static inline float __int_as_float(int x) { float y; memcpy(&y, &x, 4); return y; }
static inline double __longlong_as_double(long long x) { double y; memcpy(&y, &x, 8); return y; }
"""
_SIGNATURE = re.compile(r"void (?:__launch_bounds__\(\d+\) )?(run|finish)\(([^)]*)\)")


def why_no_compiler() -> str:
    """Why no kernel can run on the CPU here; "" where one can."""
    return "" if shutil.which("g++") else "no C++ compiler (g++) to run the GPU's kernels with"


# The libraries that this process has loaded, by the hash of their text. Two copies of the fibers
# would share those names that are not static and not those that are: a barrier reached from the
# second would switch to a fiber of the first, which has none.
_LOADED: dict[str, ctypes.CDLL] = {}


class HostLauncher:
    """Compiles kernels for the CPU, launches them on strict arrays, and records captures.

    launched: how many launches there were
    captured: how many calls each capture recorded
    sources: all texts that were compiled
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.captured: list[int] = []
        self.launched = 0
        self.sources: list[str] = []
        self.recorder: _Recorder | None = None
        self._fibers = self._library(_FIBERS, ctypes.RTLD_GLOBAL)

    def _library(self, text: str, mode: int = ctypes.RTLD_LOCAL) -> ctypes.CDLL:
        name = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        if name not in _LOADED:
            library, source = self.folder / f"{name}.so", self.folder / f"{name}.cpp"
            source.write_text(text)
            command = ["g++", "-shared", "-fPIC", "-O0", "-ffp-contract=off", "-w"]
            done = subprocess.run(
                [*command, "-o", library, source], capture_output=True, text=True, check=False
            )
            assert not done.returncode, done.stderr + text
            _LOADED[name] = ctypes.CDLL(str(library), mode)
        return _LOADED[name]

    def compile(self, source: str, name: str):
        self.sources.append(source)
        wrappers = []
        for found, parameters in _SIGNATURE.findall(source):
            kinds = [
                p.rsplit(" ", 1)[0].replace("__restrict__", "") for p in parameters.split(", ")
            ]
            kinds = [k if "*" in k else k.replace("const ", "") for k in kinds]
            kinds = [k + "*" if "*" in p and "*" not in k else k
                     for k, p in zip(kinds, parameters.split(", "), strict=True)]  # fmt: skip
            passed = ", ".join(
                f"({k})a[{i}]" if "*" in k else f"*({k} *)a[{i}]" for i, k in enumerate(kinds)
            )
            wrappers.append(f'extern "C" void call_{found}(void **a) {{ {found}({passed}); }}')
        library = self._library(_ON_THE_CPU + source + "\n".join(wrappers))
        body = getattr(library, f"call_{name}")
        text = source[source.index(f" {name}(") :]
        text = text[: text.index("\n}\n")]

        def launch(blocks, threads, arguments):
            if self.recorder is not None:
                self.recorder.calls.append((launch, (blocks, threads, arguments), {}, None))
                return
            self.launched += 1
            numbers = [np.array(a) for a in arguments if not isinstance(a, StrictArray)]
            held = iter(numbers)
            places = [
                (a._array if isinstance(a, StrictArray) else next(held)).ctypes.data
                for a in arguments
            ]
            assert all(a._array.flags.c_contiguous for a in arguments if isinstance(a, StrictArray))
            table = (ctypes.c_void_p * len(places))(*places)
            self._fibers.run_kernel(body, table, blocks, threads, int("__shared__" in text))

        return launch

    def is_capturing(self):
        return self.recorder is not None

    def capture(self, run):
        """Record all calls on strict arrays, to be done at each launch on the same memory.

        What they did to memory while they were recorded is undone, for a GPU does nothing then.
        Reading a value is refused, and so are matrix products, as CuPy refuses them.
        """
        owners = {}
        for array in [o for o in gc.get_objects() if type(o) is StrictArray]:
            owner = array._array
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            owners[id(owner)] = owner
        before = [(owner, owner.copy()) for owner in owners.values() if owner.flags.writeable]
        recorder = _Recorder()
        try:
            with recorder.recording(self):
                run()
        except Exception as error:
            raise CaptureError(str(error)) from error
        finally:
            for owner, values in before:
                owner[...] = values
        self.captured.append(len(recorder.calls))
        return recorder.launch


REFUSED = {"__float__", "__int__", "__bool__", "__complex__", "get", "item", "tolist", "nonzero",
           "unique", "__matmul__", "__rmatmul__", "matmul", "dot", "tensordot", "einsum",
           "inner"}  # fmt: skip
# The methods of an array that compute or write.
_INNER = {"__init__", "__array_ufunc__", "__array_function__", "__array__", "__getattr__",
          "__len__", "__iter__", "__reduce__", "__repr__", "__str__", "__format__"}  # fmt: skip


class _Recorder:
    """The calls of a capture: functions, their arguments, and the arrays of their results."""

    def __init__(self):
        self.calls = []
        self._is_inside = False

    def launch(self):
        for function, args, kwargs, result in self.calls:
            again = function(*args, **kwargs)
            for new, old in zip(_arrays(again), _arrays(result), strict=True):
                if new is not old and old._array.flags.writeable:
                    old._array[...] = new._array

    def wrapped(self, name, function):
        @functools.wraps(function, updated=())
        def call(*args, **kwargs):
            if self._is_inside:
                return function(*args, **kwargs)
            index = args[1] if name == "__getitem__" else ()
            parts = index if isinstance(index, tuple) else (index,)
            is_mask = any(type(p) is StrictArray and p.dtype == bool for p in parts)
            if name in REFUSED or is_mask:  # the number of true entries would be read
                raise RuntimeError(f"{name}: not permitted when the stream is capturing")
            self._is_inside = True
            try:
                result = function(*args, **kwargs)
            finally:
                self._is_inside = False
            self.calls.append((function, args, kwargs, result))
            return result

        return call

    @contextlib.contextmanager
    def recording(self, launcher):
        kept = {
            name: f
            for name, f in vars(StrictArray).items()
            if inspect.isfunction(f) and name not in _INNER
        }
        look_up = StrictNamespace.__getattribute__
        for name, function in kept.items():
            setattr(StrictArray, name, self.wrapped(name, function))

        def found(namespace, name):
            function = look_up(namespace, name)
            is_one = callable(function) and not isinstance(function, type)
            return _Function(self, name, function) if is_one and name[0] != "_" else function

        StrictNamespace.__getattribute__ = found
        launcher.recorder = self
        try:
            yield
        finally:
            launcher.recorder = None
            StrictNamespace.__getattribute__ = look_up
            for name, function in kept.items():
                setattr(StrictArray, name, function)


class _Function:
    """A function of the namespace whose calls, and those of its methods, are recorded."""

    def __init__(self, recorder, name, function):
        self._recorder, self._name, self._function = recorder, name, function

    def __call__(self, *args, **kwargs):
        return self._recorder.wrapped(self._name, self._function)(*args, **kwargs)

    def __getattr__(self, name):
        inner = getattr(self._function, name)
        return self._recorder.wrapped(name, inner) if callable(inner) else inner


def _arrays(result):
    if type(result) is StrictArray:
        return [result]
    if isinstance(result, (tuple, list)):
        return [a for item in result for a in _arrays(item)]
    return []


@contextlib.contextmanager
def launching_on_strict(launcher):
    """Within it, the strict stand-in launches kernels by `launcher`."""
    backend = _registry.backend_named("strict")
    changed = dataclasses.replace(backend, launcher=launcher)
    _registry._loaded["strict"] = _registry._by_type[StrictArray] = changed
    try:
        yield
    finally:
        _registry._loaded["strict"] = _registry._by_type[StrictArray] = backend


assert devices  # the registry is filled
