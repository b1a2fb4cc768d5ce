"""Random numbers on the GPU: Philox4x32-10, a block cipher of a counter.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC11, section 3.3 (and its published test vectors).  The n-th block of four 32-bit words is a
function of n and of the seed alone.  So the state is two numbers, every thread computes its words
by itself, and the numbers do not depend on how many threads the GPU has.  CuPy's own generators
were rejected: their state is megabytes on the device, sized by the GPU, and cannot be saved.

The kernels are plain C, so that tests can compile them for the CPU where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tapegrad.devices._types import Array, DTypeLike, Namespace, Shape

__all__ = ["SOURCE", "WORDS_PER_VALUE", "PhiloxStream"]

# Each kernel writes `n` values, starting at block number `counter`.  A float32 takes one word of a
# block, a float64 or an integer takes two.  Uniform numbers use as many bits as their type has, and
# are below 1.  Normal numbers are pairs of Box and Muller's; the argument of the logarithm is never
# 0 and reaches down to 2^-32 (2^-53 in float64), so the tails reach 6.7 (8.6) standard deviations.
SOURCE = r"""
#ifndef BLOCK_INDEX
#define BLOCK_INDEX ((long long)blockIdx.x * blockDim.x + threadIdx.x)
#define KERNEL extern "C" __global__ void
#define DEVICE __device__ static
#endif
typedef unsigned int word;
typedef unsigned long long wide;

DEVICE void philox(wide counter, wide key, word r[4]) {
    word c0 = (word)counter, c1 = (word)(counter >> 32), c2 = 0, c3 = 0;
    word k0 = (word)key, k1 = (word)(key >> 32);
    for (int round = 0; round < 10; ++round) {
        const wide p = 0xD2511F53ULL * c0, q = 0xCD9E8D57ULL * c2;
        c0 = (word)(q >> 32) ^ c1 ^ k0;
        c1 = (word)q;
        c2 = (word)(p >> 32) ^ c3 ^ k1;
        c3 = (word)p;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    r[0] = c0; r[1] = c1; r[2] = c2; r[3] = c3;
}

DEVICE double bits53(word high, word low) {
    return (high >> 5) * 67108864.0 + (low >> 6);
}

KERNEL uniform_float32(float *y, long long n, wide counter, wide key) {
    const long long block = BLOCK_INDEX;
    word r[4];
    if (4 * block >= n) return;
    philox(counter + (wide)block, key, r);
    for (int j = 0; j < 4 && 4 * block + j < n; ++j)
        y[4 * block + j] = (float)(r[j] >> 8) * 5.9604644775390625e-8f;
}

KERNEL uniform_float64(double *y, long long n, wide counter, wide key) {
    const long long block = BLOCK_INDEX;
    word r[4];
    if (2 * block >= n) return;
    philox(counter + (wide)block, key, r);
    for (int j = 0; j < 2 && 2 * block + j < n; ++j)
        y[2 * block + j] = bits53(r[2 * j], r[2 * j + 1]) * 1.1102230246251565e-16;
}

KERNEL normal_float32(float *y, long long n, wide counter, wide key) {
    const long long block = BLOCK_INDEX;
    word r[4];
    if (4 * block >= n) return;
    philox(counter + (wide)block, key, r);
    for (int j = 0; j < 4; j += 2) {
        const float u = ((float)r[j] + 1.0f) * 2.3283064365386963e-10f;
        const float radius = sqrtf(-2.0f * logf(u));
        float sine, cosine;
        sincospif((float)(r[j + 1] >> 8) * 1.1920928955078125e-7f, &sine, &cosine);
        if (4 * block + j < n) y[4 * block + j] = radius * cosine;
        if (4 * block + j + 1 < n) y[4 * block + j + 1] = radius * sine;
    }
}

KERNEL normal_float64(double *y, long long n, wide counter, wide key) {
    const long long block = BLOCK_INDEX;
    word r[4];
    if (2 * block >= n) return;
    philox(counter + (wide)block, key, r);
    const double u = (bits53(r[0], r[1]) + 1.0) * 1.1102230246251565e-16;
    const double radius = sqrt(-2.0 * log(u));
    double sine, cosine;
    sincospi(bits53(r[2], r[3]) * 2.220446049250313e-16, &sine, &cosine);
    y[2 * block] = radius * cosine;
    if (2 * block + 1 < n) y[2 * block + 1] = radius * sine;
}

KERNEL words_uint64(wide *y, long long n, wide counter, wide key) {
    const long long block = BLOCK_INDEX;
    word r[4];
    if (2 * block >= n) return;
    philox(counter + (wide)block, key, r);
    for (int j = 0; j < 2 && 2 * block + j < n; ++j)
        y[2 * block + j] = (wide)r[2 * j] | (wide)r[2 * j + 1] << 32;
}

/* y = low + floor(word * range / 2^64); range 0 stands for 2^64. */
KERNEL integers_uint64(wide *y, long long n, wide counter, wide key, wide low, wide range) {
    const long long block = BLOCK_INDEX;
    word r[4];
    if (2 * block >= n) return;
    philox(counter + (wide)block, key, r);
    for (int j = 0; j < 2 && 2 * block + j < n; ++j) {
        const wide x = (wide)r[2 * j] | (wide)r[2 * j + 1] << 32;
        y[2 * block + j] = low + (range ? __umul64hi(x, range) : x);
    }
}
"""

WORDS_PER_VALUE = {
    "uniform_float32": 1,
    "uniform_float64": 2,
    "normal_float32": 1,
    "normal_float64": 2,
    "words_uint64": 2,
    "integers_uint64": 2,
}

_THREADS = 256

# Kernels are compiled once per process; CuPy keeps the result on disk and loads it once per device.
_kernels: dict[str, Any] = {}


class PhiloxStream:
    """The random stream of one GPU: a key made from the seed, and the number of the next block.

    See `RandomStream`.
    """

    algorithm = "Philox4x32-10"

    def __init__(
        self,
        cupy: Namespace,
        on_device: Callable[[], AbstractContextManager[Any]],
        sequence: np.random.SeedSequence,
    ) -> None:
        self._cupy = cupy
        self._on_device = on_device
        self._key = int(sequence.generate_state(1, np.uint64)[0])
        self._counter = 0

    def _fill(self, name: str, y: Array, *more: Any) -> Array:
        """Write the next values of the stream into the C-contiguous array `y`."""
        if y.size == 0:
            return y
        if name not in _kernels:
            _kernels[name] = self._cupy.RawKernel(SOURCE, name)
        per_block = 4 // WORDS_PER_VALUE[name]
        blocks = -(-y.size // per_block)
        counter, key = np.uint64(self._counter), np.uint64(self._key)
        _kernels[name](
            (-(-blocks // _THREADS),), (_THREADS,), (y, np.int64(y.size), counter, key, *more)
        )
        self._counter += blocks
        return y

    def _draw(
        self, name: str, shape: Shape, dtype: DTypeLike, out: Array | None, *more: Any
    ) -> Array:
        with self._on_device():
            y = self._cupy.empty(shape, dtype) if out is None else out
            return self._fill(name, y, *more)

    def uniform(self, shape: Shape, dtype: np.dtype[Any], out: Array | None) -> Array:
        return self._draw(f"uniform_{dtype}", shape, dtype, out)

    def normal(self, shape: Shape, dtype: np.dtype[Any], out: Array | None) -> Array:
        return self._draw(f"normal_{dtype}", shape, dtype, out)

    def integers(self, low: int, high: int, shape: Shape, dtype: np.dtype[Any]) -> Array:
        # The probability of each number is right to 2^-64, far below what any sample can show.
        low, range_ = low % 2**64, (high - low) % 2**64
        words = self._draw(
            "integers_uint64", shape, np.uint64, None, np.uint64(low), np.uint64(range_)
        )
        with self._on_device():
            return words.view(np.int64).astype(dtype, copy=False)

    def permutation(self, n: int) -> Array:
        # Equal 64-bit words would favour some orders, with a probability of about n² / 2^65.
        words = self._draw("words_uint64", (n,), np.uint64, None)
        with self._on_device():
            return self._cupy.argsort(words).astype(np.int64, copy=False)

    def get_state(self) -> dict[str, Any]:
        return {"key": self._key, "counter": self._counter}

    def set_state(self, state: dict[str, Any]) -> None:
        self._key, self._counter = int(state["key"]), int(state["counter"])
