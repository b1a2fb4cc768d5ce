"""Masks of attention, its weights, and learned positions."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.autograd import grad

RNG = np.random.default_rng(3)


def values(*shape):
    return RNG.standard_normal(shape)


def test_keys_that_are_padding_might_as_well_not_be_there():
    layer = nn.MultiHeadAttention(6, 2).double()
    x, padding = values(3, 3, 6), np.array([[False] * 3, [False, False, True], [False, True, True]])
    y = layer.forward(x, None, padding).numpy()
    for n, length in enumerate((3, 2, 1)):
        kept = x[n, :length]
        alone = layer.forward([x[n], kept, kept]).numpy()
        np.testing.assert_allclose(y[n], alone, rtol=1e-12)
        single = layer.forward(x[n], None, padding[n]).numpy()
        np.testing.assert_allclose(single, alone, rtol=1e-12)


def test_a_mask_is_never_taken_for_another():
    """(T, S) and (N, S) are one shape in a batch of T samples."""
    layer, square = nn.MultiHeadAttention(6, 2).double(), np.zeros((3, 3), bool)
    with pytest.raises(nn.ShapeError, match=r"attn_mask=….*key_padding_mask=…"):
        layer.setMask(square)
    square[1, 2] = True
    x = values(3, 3, 6)
    steps = layer.setMask(attn_mask=square).forward(x).numpy()
    padding = layer.setMask(key_padding_mask=square).forward(x).numpy()
    assert not np.allclose(steps, padding)
    np.testing.assert_array_equal(layer.setMask(square[None, None]).forward(x).numpy(), steps)
    np.testing.assert_array_equal(layer.setMask(square[:, None, None]).forward(x).numpy(), padding)
    with pytest.raises(TypeError, match="give one"):
        layer.setMask(square[None, None], attn_mask=square)


def test_masks_of_other_numbers_are_refused():
    layer, x = nn.MultiHeadAttention(6, 2).double(), values(2, 3, 6)
    for keeps in (np.tril(np.ones((3, 3))), np.tril(np.ones((3, 3), int))):
        with pytest.raises(TypeError, match="mask == 0 turns a mask around"):
            layer.setMask(attn_mask=keeps)
    with pytest.raises(TypeError, match="booleans"):
        layer.forward(x, np.tril(np.ones((3, 3), int)))
    infinite = np.where(np.tril(np.ones((3, 3))) == 0, -np.inf, 0)
    causal = nn.MultiHeadAttention(6, 2, causal=True).double()
    causal.load_state_dict(layer.state_dict())
    np.testing.assert_allclose(
        layer.setMask(attn_mask=infinite).forward(x).numpy(), causal.forward(x).numpy(), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (
            (np.zeros((2, 2), bool),),
            r"attn_mask has shape \(2, 2\); it must be \(T, S\) = \(3, 4\)",
        ),
        ((np.zeros((5, 3, 4), bool),), r"\(2, 3, 4\), \(4, 3, 4\) or \(2, 2, 3, 4\)"),
        ((np.zeros((2, 3, 3, 4), bool),), "attn_mask"),
        ((None, np.zeros((4, 2), bool)), r"key_padding_mask .* must be \(N, S\) = \(2, 4\)"),
        ((None, np.zeros(4, bool)), "key_padding_mask"),
    ],
)
def test_masks_that_do_not_fit_are_named(masks, message):
    layer, x = nn.MultiHeadAttention(6, 2).double(), [values(2, 3, 6), *values(2, 2, 4, 6)]
    with pytest.raises(nn.ShapeError, match=message):
        layer.forward(x, *masks)


def test_a_mask_of_floats_can_be_learned():
    layer, x, w = nn.MultiHeadAttention(6, 2).double(), values(2, 3, 6), values(2, 3, 6)
    bias, direction = values(3, 3), values(3, 3)

    def loss(bias):
        return (layer(x, bias) * w).sum()

    change = (loss(bias + 1e-6 * direction) - loss(bias - 1e-6 * direction)).item() / 2e-6
    assert np.sum(grad(loss)(bias).numpy() * direction) == pytest.approx(change, rel=1e-7)


def test_weights_of_attention_sum_to_one_and_average_the_values():
    layer = nn.MultiHeadAttention(6, 3, need_weights=True, causal=True).double()
    y, weights = layer.forward(values(2, 4, 6))
    assert y.shape == (2, 4, 6)
    assert weights.shape == (2, 3, 4, 4)
    np.testing.assert_allclose(weights.numpy().sum(axis=-1), 1, rtol=1e-12)
    assert not np.triu(weights.numpy(), 1).any()
    assert layer.forward(values(4, 6))[1].shape == (3, 4, 4)


def test_lists_of_another_length_are_named():
    with pytest.raises(nn.ShapeError, match=r"\[query, key, value\], not a list of 2"):
        nn.MultiHeadAttention(6, 3).double().forward([values(2, 4, 6), values(2, 4, 6)])
    with pytest.raises(nn.ShapeError, match=r"\[x, memory\]"):
        nn.TransformerDecoderLayer(6, 3).double().forward(values(2, 4, 6))
    with pytest.raises(ValueError, match="TransformerDecoderLayer: activation is 'tanh'"):
        nn.TransformerDecoderLayer(6, 3, activation="tanh")


def test_a_decoder_sees_no_later_step():
    layer, x, memory = (
        nn.TransformerDecoderLayer(4, 2, 3).double(),
        values(2, 5, 4),
        values(2, 3, 4),
    )
    layer.evaluate()
    whole = layer.forward([x, memory]).numpy().copy()
    np.testing.assert_allclose(layer.forward([x[:, :2], memory]).numpy(), whole[:, :2], rtol=1e-12)


def test_learned_positions_are_added():
    layer = nn.LearnedPositions(4, 2).double()
    x = values(3, 3, 2)
    np.testing.assert_array_equal(layer.forward(x).numpy(), x + layer.weight.numpy()[:3])
    np.testing.assert_array_equal(layer.forward(x[0]).numpy(), x[0] + layer.weight.numpy()[:3])
    with pytest.raises(nn.ShapeError, match="T at most 4, num_embeddings"):
        layer.forward(values(3, 5, 2))
