"""A result is a view where NumPy's is one, and lies in memory as NumPy's does.

Code that writes into an array tells a view from a copy.  So each function is called on an array
that is written afterwards, and on one whose result is flattened and written.
"""

import warnings

import numpy as np
import pytest

import tapegrad as tg

BASES = {
    "C order": np.arange(1.0, 7).reshape(2, 3),
    "Fortran order": np.asfortranarray(np.arange(1.0, 7).reshape(2, 3)),
}
CALLS = {
    "diagonal": np.diagonal,
    "diag": np.diag,
    "prod1": lambda a: np.prod(a[:1, :1]),
    "sum1": lambda a: np.sum(a[:1, :1]),
    "mean1": lambda a: np.mean(a[:1, :1]),
    "max1": lambda a: np.max(a[:1, :1]),
    "take": lambda a: np.take(a, 1, axis=0),
    "take list": lambda a: np.take(a, [1], axis=0),
    "tile": lambda a: np.tile(a, 1),
    "tile2": lambda a: np.tile(a[:1, :1], (1, 1)),
    "tile3": lambda a: np.tile(a[:, :1], (1, 2)),
    "repeat": lambda a: np.repeat(a, 1, axis=0),
    "repeat flat": lambda a: np.repeat(a, 1),
    "median": lambda a: np.median(a[:1, :1]),
    "cumsum": lambda a: np.cumsum(a[:, :1], axis=1),
    "cumprod": lambda a: np.cumprod(a[:, :1], axis=1),
    "roll": lambda a: np.roll(a, 0),
    "flip": np.flip,
    "delete": lambda a: np.delete(a, []),
    "compress": lambda a: np.compress([True, True], a, axis=0),
    "concat": lambda a: np.concatenate([a]),
    "stack": lambda a: np.stack([a]),
    "vstack": lambda a: np.vstack([a]),
    "append": lambda a: np.append(a, []),
    "insert": lambda a: np.insert(a, [], []),
    "resize": lambda a: np.resize(a, (2, 3)),
    "pad0": lambda a: np.pad(a, 0),
    "clip": lambda a: a.clip(-99, 99),
    "round": np.round,
    "real": np.real,
    "conj": np.conj,
    "nan_to_num": np.nan_to_num,
    "astype": lambda a: a.astype(float),
    "astype nocopy": lambda a: a.astype(float, copy=False),
    "trace": lambda a: np.trace(a[:1, :1]),
    "sort": np.sort,
    "unique": np.unique,
    "triu": lambda a: np.triu(a, -9),
    "atleast": np.atleast_3d,
    "squeeze": np.squeeze,
    "broadcast": lambda a: np.broadcast_to(a, (1, 2, 3)),
    "T": lambda a: a.T,
    "split": lambda a: np.split(a, 2)[0],
    "unstack": lambda a: np.unstack(a)[0],
    "ravel": np.ravel,
    "flatten": lambda a: a.flatten(),
    "reshape": lambda a: np.reshape(a, (3, 2)),
    "reshapeF": lambda a: np.reshape(a, (3, 2), order="F"),
    "expand": lambda a: np.expand_dims(a, 0),
    "swap": lambda a: np.swapaxes(a, 0, 1),
    "move": lambda a: np.moveaxis(a, 0, 1),
    "rot90": np.rot90,
    "rot0": lambda a: np.rot90(a, 0),
    "rot2": lambda a: np.rot90(a, 2),
    "getitem int": lambda a: a[0],
    "item00": lambda a: a[0, 0],
    "mask": lambda a: a[a > 0],
    "fancy": lambda a: a[[0]],
    "iter": lambda a: next(iter(a)),
    "iter2": lambda a: next(t for r in a for t in r),
    "einsum ii": lambda a: np.einsum("ij->ji", a),
    "einsum id": lambda a: np.einsum("ij", a),
    "array_split": lambda a: np.array_split(a, 1)[0],
    "meshgrid": lambda a: np.meshgrid(a[0], a[1])[0],
    "bcast arrays": lambda a: np.broadcast_arrays(a, a)[0],
    "where": lambda a: np.where(True, a, a),
    "select": lambda a: np.select([a > -9], [a]),
    "choose": lambda a: np.choose(0, [a]),
    "pos": lambda a: +a,
    "block": lambda a: np.block([a]),
    "block1": np.block,
    "hstack": lambda a: np.hstack([a]),
    "column": lambda a: np.column_stack([a]),
    "dstack": lambda a: np.dstack([a]),
    "ptp": lambda a: np.ptp(a[:1, :1]),
    "average": lambda a: np.average(a[:1, :1]),
    "quantile": lambda a: np.quantile(a[:1, :1], 0.5),
    "nansum": lambda a: np.nansum(a[:1, :1]),
    "diff0": lambda a: np.diff(a, 0),
    "gradient": lambda a: np.gradient(a[0]),
    "linspace": lambda a: np.linspace(a[0], a[0], 1)[0],
    "interp": lambda a: np.interp(1.0, [1.0, 2], a[0, :2]),
    "matrix_power": lambda a: np.linalg.matrix_power(a[:, :2], 1),
    "multi": lambda a: np.linalg.multi_dot([a[:, :2], a[:, :2]]),
    "norm": lambda a: np.linalg.norm(a[:1, :1]),
    "trapz": lambda a: np.trapezoid(a[:1, :2]),
    "fft": lambda a: np.fft.fft(a[:, :1]),
    "max2": lambda a: max(a[0]),
    "sum gen": sum,
    "kron": lambda a: np.kron(a[:1, :1], a[:1, :1]),
    "take_along": lambda a: np.take_along_axis(a, np.array([[0], [0]]), 1),
    "extract": lambda a: np.extract(a > 0, a),
    "partition": lambda a: np.partition(a, 1),
    "trim": lambda a: np.trim_zeros(a[0]),
    "ediff": np.ediff1d,
    "unwrap": lambda a: np.unwrap(a[0]),
    "vander": lambda a: np.vander(a[0], 2),
    "copyto": np.copy,
    "asarray": lambda a: a[()],
    "ellipsis": lambda a: a[...],
    "newaxis": lambda a: a[None],
    "flat": lambda a: a.flat[0],
    "flat sl": lambda a: a.flat[:2],
    "swapself": lambda a: a.swapaxes(0, 0),
    "view T T": lambda a: a.T.T,
    "real arr": lambda a: a.real,
    "item": lambda a: a[0, 0] * 1,
    "maximum": lambda a: np.maximum(a, -9),
    "cumulative": lambda a: np.cumulative_sum(a[:, :1], axis=1),
    "fliplr": np.fliplr,
    "dsplit": lambda a: np.dsplit(a[None], 1)[0],
    "vsplit": lambda a: np.vsplit(a, 1)[0],
    "atl1": np.atleast_1d,
    "permute": lambda a: np.permute_dims(a, (0, 1)),
    "mT": lambda a: a.mT,
    "matrix_transpose": np.linalg.matrix_transpose,
    "lin diagonal": np.linalg.diagonal,
    "tril": lambda a: np.tril(a, 9),
    "apply_along": lambda a: np.apply_along_axis(lambda r: r, 0, a),
    "piecewise": lambda a: np.piecewise(a, [a > 0], [lambda t: t]),
    "fix": np.fix,
    "divmod": lambda a: divmod(a, 1)[0],
    "modf": lambda a: np.modf(a)[1],
}
KINDS = {
    "untracked": tg.Tensor,
    "tracked": lambda base: np.copy(tg.Parameter(base) * 1),
}
each_call = pytest.mark.parametrize("name", CALLS)


def outcome(call, make, after):
    """What a call of an array gives once the array, or the flat result, has been written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            base = make()
            result = call(base)
            after(base, result)
        except (ValueError, TypeError, RuntimeError) as error:
            return type(error) in (ValueError, RuntimeError) and "refused"
    value = result.numpy() if isinstance(result, tg.Tensor) else np.asarray(result)
    return value.tolist()


def write_base(base, result):
    base[...] = 9.0


def write_flat(base, result):
    if np.ndim(result):
        result.reshape(-1)[0] = 9.0


@each_call
@pytest.mark.parametrize("order", BASES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [write_base, write_flat])
def test_a_result_shares_memory_where_numpys_does(name, order, kind, write):
    base = BASES[order]
    right = outcome(CALLS[name], lambda: base.copy(order="K"), write)
    found = outcome(CALLS[name], lambda: KINDS[kind](base.copy(order="K")), write)
    assert found in (right, "refused") if write is write_flat else found == right
