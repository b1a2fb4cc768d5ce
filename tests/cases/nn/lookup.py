"""Examples for nn/layers/lookup.py; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd.check import Layer


def lookup_table(d):
    """Without padding and frequencies, whose gradients are not the derivatives; see the tests."""
    count = d.size("count")
    module = nn.LookupTable(count, d.size("n_out"))
    chosen = d.integers(d.shape("N A?"), 0, count)
    return Layer(module, chosen, chosen + count)


def one_hot(d):
    chosen = d.integers(d.shape("N A?"), 0, 4)
    return Layer(nn.OneHot(4), chosen, chosen + 4)


def index_linear(d):
    n_in, n_out = 8, d.size("n_out")
    module = nn.IndexLinear(n_in, n_out, True)
    lengths = [d.integer(0, 3) for _ in range(d.integer(1, 3))]
    keys = [d.integers((n,), 0, n_in) for n in lengths]
    values = [d.array((n,)) for n in lengths]
    form = d.choice(["single", "tables", "flat"])
    if form == "single":
        x = [keys[0], values[0]]
    elif form == "tables":
        x = [keys, values]
    else:
        x = [np.concatenate(keys), np.concatenate(values), np.array(lengths)]
    return Layer(module, x, [np.array([n_in]), np.array([1.0])])


# The laws that change the entries of an input a little, or draw others.
MOVING_LAWS = (
    "float16_agrees_with_float64",
    "float16_sums_lose_nothing",
    "saturated_values_and_gradients_are_precise",
    "its_gradients_are_the_derivatives",
    "its_second_derivatives_are_right",
    "a_clone_is_equal_and_independent",
    "a_plain_call_gives_the_output_and_keeps_no_state",
    "results_are_not_overwritten_by_the_next_call",
    "results_do_not_depend_on_earlier_calls",
    "replay_equals_eager",
)


def sparse_linear(d):
    """Indices lie far enough from the ends that the other inputs of the laws stay inside."""
    module = nn.SparseLinear(100, d.size("n_out"), True)

    def sample(*shape):
        chosen = d.integers((*shape, d.integer(1, 3), 1), 30, 70).astype(float)
        return np.concatenate([chosen, d.array(chosen.shape)], axis=-1)

    x = d.choice([sample, lambda: sample(d.size("N")), lambda: [sample(), sample()]])()
    return Layer(module, x, np.array([[100.0, 1.0]]))


MODULES = {
    "IndexLinear": index_linear,
    "LookupTable": lookup_table,
    "OneHot": one_hot,
    "SparseLinear": sparse_linear,
}


EXCEPTIONS = {
    ("SparseLinear", "nan_stays_nan"): "an index that is NaN is an error",
    **{
        ("SparseLinear", law): "it moves indices off the integers; tests/test_integers.py holds "
        "values over fixed indices to it"
        for law in MOVING_LAWS
    },
}
