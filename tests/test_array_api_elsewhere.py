"""Libraries that keep to the array API standard compute with Tensors, and differentiate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tapegrad
from tapegrad import Tensor

pytestmark = pytest.mark.extra

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "array_api.md"


@pytest.mark.parametrize(("library", "derived", "plain"), [("scipy", 90, 25), ("sklearn", 20, 9)])
def test_functions_of_other_libraries_take_tensors(library, derived, plain):
    pytest.importorskip(library)
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "array_api_elsewhere.py", library],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wrong = json.loads(done.stdout)
    assert {n: e for calls in wrong.values() for n, e in calls.items() if e} == {}
    assert len(wrong["derived"]) >= derived
    assert len(wrong["plain"]) >= plain
    page = PAGE.read_text(encoding="utf-8")
    names = {name.partition(" ")[0] for calls in wrong.values() for name in calls}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


# einops ------------------------------------------------------------------------------------------

X = np.arange(24.0).reshape(2, 3, 4)
PATTERNS = {
    "rearrange": lambda e, x: e.rearrange(x, "a b (c d) -> (a d) b c", d=2),
    "sum": lambda e, x: e.reduce(x, "a b c -> b", "sum"),
    "mean": lambda e, x: e.reduce(x, "a b (c d) -> a c", "mean", d=2),
    "max": lambda e, x: e.reduce(x, "a b c -> a () c", "max"),
    "min": lambda e, x: e.reduce(x, "a b c -> c", "min"),
    "prod": lambda e, x: e.reduce(x + 1, "a b c -> a b", "prod"),
    "repeat": lambda e, x: e.repeat(x, "a b c -> a (b r) c k", r=2, k=3),
    "a list": lambda e, x: e.rearrange([x, 2 * x], "n a b c -> a (n b) c"),
}


@pytest.mark.parametrize("door", ["einops", "einops.array_api"])
@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_einops_takes_tensors(name, door):
    einops = pytest.importorskip("einops")
    array_api = pytest.importorskip("einops.array_api")
    tapegrad.register_einops()
    library = einops if door == "einops" else array_api
    expected = PATTERNS[name](einops, X)
    found = PATTERNS[name](library, Tensor(X))
    assert isinstance(found, Tensor)
    np.testing.assert_array_equal(found.numpy(), expected)
    weights = np.random.default_rng(0).uniform(0.5, 1.5, expected.shape)
    way = np.random.default_rng(1).uniform(-1, 1, X.shape)
    gradient = tapegrad.grad(lambda x: (PATTERNS[name](library, x) * weights).sum())(X)
    up, down = ((PATTERNS[name](einops, X + s * way) * weights).sum() for s in (1e-6, -1e-6))
    np.testing.assert_allclose((gradient * way).sum(), (up - down) / 2e-6, rtol=1e-6)


def test_einops_packs_and_contracts_tensors():
    einops = pytest.importorskip("einops")
    tapegrad.register_einops()

    def packed(x):
        joined, shapes = einops.pack([x, x[0]], "* c")
        first, second = einops.unpack(joined, shapes, "* c")
        return (first * 2).sum() + (second * 3).sum()

    expected = np.full(X.shape, 2.0)
    expected[0] += 3
    np.testing.assert_array_equal(tapegrad.grad(packed)(X), expected)
    product = einops.einsum(Tensor(X), Tensor(X), "a b c, a d c -> b d")
    np.testing.assert_allclose(product.numpy(), np.einsum("abc,adc->bd", X, X))
    assert einops.parse_shape(Tensor(X), "a _ c") == {"a": 2, "c": 4}
    assert type(einops.asnumpy(Tensor(X))) is np.ndarray


def test_einops_is_registered_once():
    backends = pytest.importorskip("einops._backends")
    tapegrad.register_einops()
    tapegrad.register_einops()
    kinds = [kind.framework_name for kind in backends.NumpyBackend.__subclasses__()]
    assert kinds.count("tapegrad") == 1
    with pytest.raises(TypeError, match="tracked"):
        tapegrad.grad(lambda x: pytest.importorskip("einops").asnumpy(x).sum())(X)


# Objects that hold Tensors -----------------------------------------------------------------------


def test_labelled_arrays_hold_tensors():
    xarray = pytest.importorskip("xarray")
    labelled = xarray.DataArray(np.arange(3.0), dims="t")
    x = np.array([0.7, 1.9, 0.4])
    for total in (
        lambda x: (x * labelled).sum().data,
        lambda x: (labelled * x).sum().data,
        lambda x: (xarray.DataArray(x, dims="t") * labelled).sum("t").data,
        lambda x: np.multiply(x, labelled).data.sum(),
    ):
        np.testing.assert_array_equal(tapegrad.grad(total)(x), np.arange(3.0))


def test_quantities_with_units_hold_tensors():
    quantity = pytest.importorskip("pint").UnitRegistry().Quantity
    x = np.array([0.7, 1.9, 0.4])
    for total in (
        lambda x: (x * quantity(2.0, "m")).to("cm").magnitude.sum(),
        lambda x: (quantity(2.0, "m") * x).to("cm").magnitude.sum(),
        lambda x: (quantity(x, "m") * 2).to("cm").magnitude.sum(),
    ):
        np.testing.assert_allclose(tapegrad.grad(total)(x), 200 * np.ones(3))
