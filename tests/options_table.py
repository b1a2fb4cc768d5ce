"""NumPy's functions and the values of their options: the data of `test_options.py`.

OPERANDS says what each function is called with, VALUES what its options are given, one at a time.
Which options a function has NumPy's own signature says, so that those of a new NumPy are met too.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

V = np.array([0.7, 1.9, 1.2])
W = np.array([1.3, 0.4, 2.1])
M = np.array([[0.7, 1.9, 0.4], [1.2, 0.3, 2.2], [0.9, 1.5, 0.1]])
SYMMETRIC = M @ M.T + np.eye(3)
MASK = np.array([[True, True, False], [True, False, True], [False, True, False]])

_OF_A_MATRIX = """
    sum prod mean std var max min ptp median nansum nanprod nanmean nanstd nanvar nanmax nanmin
    nanmedian cumsum cumprod nancumsum nancumprod diff trace diagonal diag diagflat tril triu flip
    rot90 squeeze ravel transpose atleast_1d sort argsort argmax argmin nanargmax unique
    sort_complex angle nan_to_num round unwrap gradient trapezoid average cov corrcoef copy
    zeros_like ones_like empty_like count_nonzero nonzero all any size matrix_transpose
    linalg.cond linalg.det linalg.inv linalg.norm linalg.pinv linalg.qr linalg.matrix_norm
    linalg.matrix_rank linalg.slogdet linalg.svd linalg.trace linalg.diagonal linalg.vector_norm
    fft.fft fft.ifft fft.rfft fft.irfft fft.hfft fft.ihfft fft.fft2 fft.ifft2 fft.rfft2 fft.fftn
    fft.irfftn fft.fftshift fft.ifftshift
"""
_OF_A_VECTOR = """
    histogram histogram_bin_edges vander roots poly polyder polyint i0 sinc ediff1d trim_zeros
    cumulative_sum cumulative_prod
"""
_OF_TWO_VECTORS = """
    linspace logspace geomspace polyval convolve correlate setdiff1d intersect1d setxor1d union1d
    isin outer vdot meshgrid kron
"""
_OF_TWO_MATRICES = "isclose allclose tensordot inner dot append cross linalg.cross"
_UFUNCS = "absolute conjugate exp floor log sign sin sqrt negative isfinite log1p"
UFUNCS_OF_ONE = tuple(_UFUNCS.split())
_BINARY = """
    add subtract multiply divide power maximum minimum fmax fmin arctan2 hypot logaddexp logaddexp2
    copysign remainder fmod floor_divide heaviside nextafter logical_and logical_or logical_xor
    less equal
"""
UFUNCS_OF_TWO = tuple(_BINARY.split())
GUFUNCS = {"matmul": (M, M), "vecdot": (M, M + 0.5), "matvec": (M, V), "vecmat": (V, M)}

OPERANDS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(_OF_A_MATRIX.split(), (M,)),
    **dict.fromkeys(_OF_A_VECTOR.split(), (V,)),
    **dict.fromkeys(_OF_TWO_VECTORS.split(), (V, W)),
    **dict.fromkeys(_OF_TWO_MATRICES.split(), (M, M + 1)),
    **dict.fromkeys(UFUNCS_OF_ONE, (M,)),
    **dict.fromkeys(UFUNCS_OF_TWO, (M, M.T + 0.25)),
    **GUFUNCS,
    "reshape": (M, (9,)),
    "expand_dims": (M, 0),
    "roll": (M, 1),
    "partition": (M, 1),
    "argpartition": (M, 1),
    "quantile": (M, 0.3),
    "percentile": (M, 30),
    "nanquantile": (M, 0.3),
    "nanpercentile": (M, 30),
    "pad": (M, 1),
    "repeat": (M, 2),
    "take": (M, [0, 2]),
    "compress": ([True, False, True], M),
    "delete": (M, 1),
    "insert": (M, 1, 5.0),
    "full_like": (M, 2.0),
    "broadcast_to": (M, (2, 3, 3)),
    "interp": (V, [0.0, 1.0, 3.0], W),
    "clip": (M, 0.2, 1.0),
    "polyfit": (np.array([0.1, 0.9, 1.7, 3.1, 4.2]), np.array([1.0, 0.2, 0.9, 1.4, 2.0]), 1),
    "einsum": ("ij,jk", M, M),
    "searchsorted": (np.sort(V), W),
    "digitize": (V, [0.0, 1.0, 2.0]),
    "astype": (M, np.float32),
    "stack": ([V, W],),
    "concatenate": ([M, M],),
    "hstack": ([M, M],),
    "vstack": ([M, M],),
    "block": ([V, W],),
    "select": ([M > 1], [M]),
    "cross": (M, M + 1),
    "split": (M, 3),
    "array_split": (M, 2),
    "tensordot": (M, M),
    "lib.stride_tricks.sliding_window_view": (M, (2, 2)),
    "linalg.cholesky": (SYMMETRIC,),
    "linalg.eigh": (SYMMETRIC,),
    "linalg.eigvalsh": (SYMMETRIC,),
    "linalg.lstsq": (M, V),
    "linalg.tensorsolve": (M, V),
    "linalg.tensordot": (M, M),
}

VALUES: dict[str, list[Any]] = {
    "N": [2, 5],
    "UPLO": ["U", "L"],
    "append": [0.0, np.zeros((3, 1))],
    "assume_unique": [True],
    "atol": [1e-3],
    "aweights": [np.array([1.0, 2.0, 1.0])],
    "axes": [0, 1, (0, 1), [0, 1], (1, 0), ([1], [0])],
    "axis": [0, 1, -1, (0, 1), None, [0, 1]],
    "axis1": [1],
    "axis2": [0],
    "axisa": [0],
    "axisb": [0],
    "axisc": [0],
    "base": [2.0, np.array([2.0, 3.0, 4.0])],
    "bias": [True],
    "bins": [4, [0.0, 1.0, 2.0], "auto"],
    "casting": ["unsafe", "same_kind"],
    "compute_uv": [False],
    "constant_values": [7.0, (7.0, 8.0), ((1, 2), (3, 4))],
    "copy": [True, False, None],
    "correction": [1],
    "cov": [True, "unscaled"],
    "ddof": [1],
    "decimals": [1],
    "default": [9.0],
    "density": [True],
    "deg": [2],
    "device": ["cpu"],
    "discont": [1.0],
    "dtype": [np.float32, float, "float32", np.float64, complex, int],
    "dx": [2.0],
    "edge_order": [2],
    "end_values": [7.0, (7.0, 8.0)],
    "endpoint": [False],
    "equal_nan": [True, False],
    "full": [True],
    "full_matrices": [False],
    "fweights": [np.array([1, 2, 1])],
    "hermitian": [True],
    "include_initial": [True],
    "increasing": [True],
    "indexing": ["ij", "xy"],
    "initial": [1.5],
    "invert": [True],
    "k": [1, -1, 2],
    "keepdims": [True],
    "kind": ["stable", "quicksort", "mergesort", "heapsort"],
    "left": [-7.0],
    "m": [2],
    "mean": [np.mean(M)],
    "method": [
        "linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf",
        "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen",
        "weibull", "median_unbiased", "normal_unbiased",
    ],
    "mode": [
        "full", "same", "valid", "edge", "reflect", "wrap", "clip", "raise", "symmetric", "mean",
        "linear_ramp", "maximum", "minimum", "median", "constant", "reduced", "complete", "r",
        "raw",
    ],
    "n": [1, 2, 4, 5],
    "nan": [7.0],
    "neginf": [7.0],
    "norm": ["ortho", "forward", "backward"],
    "num": [5, 1],
    "offset": [1, -1],
    "optimize": [True, "greedy", False, ["einsum_path", (0, 1)]],
    "ord": [1, 2, 3, np.inf, -np.inf, "fro", "nuc", -2, 0],
    "order": ["F", "C", "A", "K"],
    "overwrite_input": [True],
    "p": [2, -2, 1, "fro", np.inf, None, "nuc"],
    "period": [2.0],
    "posinf": [7.0],
    "prepend": [0.0, np.zeros((3, 1))],
    "range": [(0.0, 2.0)],
    "rcond": [1e-10, None],
    "reflect_type": ["odd", "even"],
    "retstep": [True],
    "return_counts": [True],
    "return_index": [True],
    "return_indices": [True],
    "return_inverse": [True],
    "returned": [True],
    "right": [7.0],
    "rowvar": [False],
    "rtol": [1e-10],
    "s": [(2, 2), (4, 4)],
    "shape": [(2, 2)],
    "side": ["left", "right"],
    "sorted": [False],
    "sorter": [np.array([0, 1, 2])],
    "sparse": [True],
    "stable": [True],
    "stat_length": [2],
    "subok": [True, False],
    "tol": [10],
    "to_begin": [9.0],
    "to_end": [9.0],
    "trim": ["f", "b", "fb"],
    "upper": [True],
    "w": [np.array([1.0, 2.0, 1.0, 3.0, 1.0])],
    "weights": [np.array([1.0, 2.0, 3.0]), M],
    "where": [MASK, np.array([True, False, True])],
    "x": [np.array([0.0, 1.0, 3.0])],
    "y": [M + 1],
}  # fmt: skip
# Options that mean something beside others only.
BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    **{(name, "weights"): {"method": "inverted_cdf"} for name in ("quantile", "percentile")},
    ("pad", "reflect_type"): {"mode": "reflect"},
    ("pad", "end_values"): {"mode": "linear_ramp"},
    ("pad", "stat_length"): {"mode": "mean"},
    ("polyfit", "rcond"): {"full": True},
}
# What their signatures do not tell.
_OF_UFUNCS = ("casting", "dtype", "order", "subok", "where")
_HIDDEN = {
    "clip": ("casting", "dtype", "order", "subok"),
    "einsum": ("casting", "dtype", "optimize", "order"),
    "pad": ("mode", "constant_values", "end_values", "stat_length", "reflect_type"),
}
IRREGULAR = np.array([[0.713, 1.917, 0.437], [1.283, 0.331, 2.219], [0.917, 1.549, 0.173]])
METHODS: dict[str, list[dict[str, Any]]] = {
    "reduce": [
        {}, {"axis": 1}, {"axis": (0, 1)}, {"axis": None}, {"keepdims": True},
        {"dtype": np.float32}, {"initial": 1.45}, {"initial": 1.45, "where": MASK},
    ],
    "accumulate": [{}, {"axis": 1}, {"dtype": np.float32}],
    "reduceat": [{}, {"axis": 1}],
    "outer": [{}, {"dtype": np.float32}, {"order": "F"}],
    "at": [{}],
}  # fmt: skip


def function_of(name: str) -> Any:
    """NumPy's function of that name."""
    found: Any = np
    for part in name.split("."):
        found = getattr(found, part)
    return found


def options_of(name: str) -> tuple[str, ...]:
    """The options of a function that VALUES knows."""
    function = function_of(name)
    if isinstance(function, np.ufunc):
        if function.signature is None:
            return _OF_UFUNCS
        own = ("axis", "keepdims") if name == "vecdot" else ()
        return (*(o for o in _OF_UFUNCS if o != "where"), *own)
    hidden = _HIDDEN.get(name, ())
    parameters = list(inspect.signature(function).parameters)[len(OPERANDS[name]) :]
    return tuple(o for o in (*parameters, *hidden) if o in VALUES)


def combinations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(function, option, the options of one call), of all that are in the tables."""
    for name in OPERANDS:
        if not hasattr(np, name.partition(".")[0]):
            continue  # a NumPy before this function
        for option in dict.fromkeys(options_of(name)):
            for value in VALUES[option]:
                yield name, option, {**BESIDE.get((name, option), {}), option: value}
