"""Integers into layers and criterions: promoted or refused, never wrapped, cut off or rounded.

The law `integers_give_the_values_of_their_floats` holds for every layer and criterion; here are the
dtypes of the results, the gradients, and indices.
"""

from __future__ import annotations

import numpy as np
import pytest
from cases.nn.lookup import MOVING_LAWS

from tapegrad import nn
from tapegrad.autograd.check import check, find


class OverFixedIndices(nn.Module):
    """SparseLinear of the values x at fixed indices: x (N, 3) -> (N, 2), floats."""

    keeps = ("inner",)
    law_case = {"input": "N 3", "batchwise": "split"}  # noqa: RUF012  # as in a user's class

    def __init__(self):
        self.inner = nn.SparseLinear(6, 2, doGradInput=True)

    def updateOutput(self, x):
        indices = np.broadcast_to(np.array([1.0, 4.0, 1.0]), x.shape)
        return self.inner(np.stack([indices, x], axis=-1))


@pytest.mark.extra
def test_values_over_fixed_indices_obey_the_laws_that_move_entries():
    summary = check(find(f"{__name__}:OverFixedIndices"))
    held = {outcome.law.name: outcome.ok for _, outcome in summary.outcomes}
    assert all(held[law] for law in MOVING_LAWS)


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [
        ("bool", "float32"),
        ("uint8", "float32"),
        ("int16", "float32"),
        ("int32", "float64"),
        ("int64", "float64"),
        ("float32", "float32"),
        ("float16", "float16"),
        ("float64", "float64"),
    ],
)
def test_integers_become_the_floats_that_hold_them(dtype, wanted):
    assert nn.Tanh()(np.ones((2, 3), dtype)).dtype == wanted


def test_average_pooling_of_an_image_of_bytes():
    image = np.full((1, 4, 4), 200, np.uint8)
    assert (nn.SpatialAveragePooling(2, 2, 2, 2).forward(image).numpy() == 200).all()
    assert (nn.SpatialAdaptiveAveragePooling(1, 1).forward(image).numpy() == 200).all()


def test_layers_that_only_move_entries_keep_integers():
    x = np.array([[3, 1, 2]], np.int64)
    for layer in (nn.Identity(), nn.View(3), nn.Select(-1, 0), nn.Sequential(nn.Reshape(3))):
        assert layer(x).dtype == np.int64


def test_an_integer_input_has_no_gradient():
    layer = nn.Sequential(nn.Mul(), nn.Tanh())
    layer.forward(np.array([1, 2], np.uint8))
    assert layer.backward(np.array([1, 2], np.uint8), np.ones(2, np.float32)) is None
    assert layer.get(0).gradWeight.numpy().any()


@pytest.mark.parametrize(
    ("criterion", "loss"),
    [(nn.MSECriterion(), 36100.0), (nn.AbsCriterion(), 190.0), (nn.SmoothL1Criterion(), 189.5)],
)
def test_losses_of_integers_do_not_wrap(criterion, loss):
    prediction, target = np.array([10, 200], np.uint8), np.array([200, 10], np.uint8)
    assert criterion.forward(prediction, target) == loss
    assert criterion.forward(prediction.astype(np.int64), target.astype(float)) == loss


def test_targets_are_not_cut_off_to_the_integers_of_a_prediction():
    counts = np.array([1, 2, 3])
    assert nn.MSECriterion().forward(counts, counts + 0.5) == 0.25
    joined = nn.ModuleCriterion(nn.MSECriterion())
    assert joined.forward(counts, counts + 0.5) == 0.25


INDEXED = [
    (lambda i: nn.LookupTable(5, 2).forward(i)),
    (lambda i: nn.Embedding(5, 2).forward(i)),
    (lambda i: nn.OneHot(5).forward(i)),
    (lambda i: nn.Index(0).forward([np.arange(5.0), i])),
    (lambda i: nn.SparseLinear(5, 2).forward(np.stack([i, i], axis=1))),
    (lambda i: nn.IndexLinear(5, 2).forward([i, np.ones(2)])),
]


@pytest.mark.parametrize("look_up", INDEXED)
@pytest.mark.parametrize("index", [1.5, np.nan, -1.0, 5.0])
def test_an_index_that_is_none_is_refused(look_up, index):
    with pytest.raises(nn.ShapeError, match=r"an index is|indices reach|holds the index"):
        look_up(np.array([1.0, index]))


@pytest.mark.parametrize("look_up", INDEXED[:4])
def test_a_mask_is_no_list_of_indices(look_up):
    with pytest.raises(nn.ShapeError, match="indices are bool"):
        look_up(np.array([True, False]))


@pytest.mark.parametrize("look_up", INDEXED)
def test_floats_that_are_integers_are_indices(look_up):
    np.testing.assert_array_equal(look_up(np.array([1.0, 3.0])).shape[:1] in ((2,), (5,)), True)
