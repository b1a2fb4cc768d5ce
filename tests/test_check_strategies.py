"""The public strategies: what they draw, and that failures shrink to the smallest shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import find, given, settings

from tapegrad import nn
from tapegrad.autograd.check import (
    LAYOUTS,
    Draws,
    HypothesisDraws,
    RecordedDraws,
    array,
    booleans,
    ints,
    module_case,
    primitive_case,
    strategies,
)


@given(strategies.shapes("N? C H+1", "N? 2*C"))
def test_sizes_of_one_name_are_equal(shapes):
    first, second = shapes
    assert len(first) - len(second) == 1
    assert first[0] == second[0] or len(second) == 1
    assert second[-1] == 2 * first[-2]
    assert first[-1] >= 2


@pytest.mark.extra
def test_shapes_shrink_to_the_smallest():
    assert find(strategies.shapes("N? C W"), lambda _: True) == (1, 1)
    assert find(strategies.shapes("N? C W"), lambda s: len(s) == 3 and s[2] > 2) == (1, 1, 3)
    assert find(strategies.shapes("N C", empties=True), lambda _: True) == (0, 1)


@pytest.mark.extra
def test_options_and_seeds_shrink_too():
    drawn = strategies.options(n=ints(2, 5), flag=booleans(), mode=["same", "valid"], rate=0.5)
    smallest = {"n": 2, "flag": False, "mode": "same", "rate": 0.5}
    assert find(drawn, lambda _: True) == smallest
    assert find(drawn, lambda o: o["mode"] == "valid" and o["n"] > 3)["n"] == 4
    assert find(strategies.seeds(), lambda seed: seed > 9) == 10


@given(strategies.arrays("N C", 0, 1, dtypes=("float32", "float64"), layouts=tuple(LAYOUTS)))
def test_arrays_keep_to_their_interval_dtype_and_names(x):
    assert x.ndim == 2
    assert x.dtype in (np.float32, np.float64)
    assert ((x > 0) & (x < 1)).all()


@given(strategies.arrays("N C"), strategies.layouts(), strategies.dtypes(), strategies.regimes())
def test_layouts_keep_values(x, layout, dtype, regime):
    assert regime in ("ordinary", "grid", "constant", "large")
    with np.errstate(over="ignore"):
        x = x.astype(dtype)
    np.testing.assert_array_equal(layout(x), x)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_lies_as_it_is_called(name):
    x = LAYOUTS[name](np.arange(6.0).reshape(2, 3))
    contiguous = x.flags["C_CONTIGUOUS"]
    assert contiguous == (name in ("contiguous", "read-only"))
    assert x.flags["WRITEABLE"] == (name != "read-only")


def test_examples_of_a_case_and_their_choices():
    case = module_case(nn.Linear, input="N? inputSize", inputSize=ints(1, 4), outputSize=2)
    choices = []

    @settings(max_examples=20, database=None)
    @given(strategies.draws(lambda d: (d, case(d))))
    def each(pair):
        drawn, layer = pair
        assert isinstance(drawn, HypothesisDraws)
        assert layer.module.weight.shape == (2, layer.input.shape[-1])
        choices.append((drawn.choices_made, layer.input))

    each()
    for made, x in choices:
        np.testing.assert_array_equal(case(RecordedDraws(made)).input, x)
    assert find(strategies.examples(case), lambda layer: layer.input.ndim == 2).input.shape == (
        1,
        1,
    )


def complex_arrays(d):
    d.complex = True
    return [d.array((3,)), d.array((2, 2), 0, None), d.normal((3,)), d.array((3,), real=True)]


@given(strategies.draws(complex_arrays, regimes=("ordinary", "grid", "constant", "large")))
def test_a_case_of_complex_arguments_draws_all_of_them_or_every_other_one(arrays):
    *drawn, real = arrays
    kinds = "".join(a.dtype.kind for a in drawn)
    assert kinds in {"ccc", "cfc", "fcf"}
    assert real.dtype == np.float64
    bounded = drawn[1]
    if bounded.dtype.kind == "c":  # away from branch cuts and poles, in all four quadrants
        assert np.abs(bounded.real).min() >= 0.25
        assert np.abs(bounded.imag).min() >= 0.25


def test_primitive_case_draws_complex_arrays_where_it_says_so():
    case = primitive_case(["N C", array("C", 0, 1)], complex=True)
    calls = [case(Draws(seed)) for seed in range(20)]
    assert any(a.dtype.kind == "c" for call in calls for a in call.args)
    plain = primitive_case(["N C"])
    assert all(plain(Draws(seed)).args[0].dtype.kind == "f" for seed in range(20))
