"""Recurrent layers and attention with PyTorch's equations, compared with PyTorch where it is there.

Values, states, attention weights, and gradients of all of them by everything, in double precision.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tapegrad import nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

# PyTorch turns a mask of booleans into one of floats where the other mask has floats, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")

RNG = np.random.default_rng(5)
T, N, D, H = 5, 3, 4, 2
LENGTHS = np.array([5, 2, 3])


def close(found, expected):
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)


def values(*shape):
    return RNG.standard_normal(shape)


def tensor(array, learned=True):
    return torch.tensor(array, requires_grad=learned and array.dtype.kind == "f")


def pair_of_networks(cell, **options):
    kinds = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    if cell in kinds:
        theirs = kinds[cell](D, H, **options)
    else:
        theirs = torch.nn.RNN(D, H, nonlinearity=cell, **options)
    ours, theirs = nn.RNNLayer(cell, D, H, **options).double(), theirs.double()
    state = {f"weights.{name}": p.detach().numpy() for name, p in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)  # the same names, in the same order
    ours.load_state_dict(state)
    ours.zeroGradParameters()
    return ours, theirs


OPTIONS = list(itertools.product([1, 2], [False, True], [False, True], [False, True]))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "tanh", "relu"])
def test_recurrent_networks_are_those_of_pytorch(cell, with_states, packed):
    for layers, bias, batch_first, bidirectional in OPTIONS:
        options = {
            "num_layers": layers,
            "bias": bias,
            "batch_first": batch_first,
            "bidirectional": bidirectional,
        }
        compare_networks(cell, with_states, packed, options)


def compare_networks(cell, with_states, packed, options):
    ours, theirs = pair_of_networks(cell, **options)
    first = options["batch_first"]
    x = values(*((N, T) if first else (T, N)), D)
    count = options["num_layers"] * (1 + options["bidirectional"])
    states = [values(count, N, H) for _ in range(2 if cell == "lstm" else 1)]
    at, states_at = tensor(x), [tensor(state) for state in states]
    given = None
    if with_states:
        given = tuple(states_at) if cell == "lstm" else states_at[0]
    mask = ()
    if packed:
        pack = torch.nn.utils.rnn
        batch = pack.pack_padded_sequence(at, LENGTHS, batch_first=first, enforce_sorted=False)
        y, last = theirs(batch, given)
        y, _ = pack.pad_packed_sequence(y, batch_first=first, total_length=T)
        padding = np.arange(T)[:, None] >= LENGTHS
        mask = (padding.T if first else padding,)
    else:
        y, last = theirs(at, given)
    expected = [y, *(last if cell == "lstm" else [last])]
    gradients = [values(*part.shape) for part in expected]
    torch.autograd.backward(expected, [torch.from_numpy(g) for g in gradients])

    own_states = states if cell == "lstm" else states[0]
    inputs = ([x, own_states if with_states else None], *mask)
    y, last = ours.forward(*inputs)
    found = [y, *(last if cell == "lstm" else [last])]
    for ours_part, theirs_part in zip(found, expected, strict=True):
        close(ours_part, theirs_part)
    g = [gradients[0], gradients[1:] if cell == "lstm" else gradients[1]]
    result = ours.backward(inputs if mask else inputs[0], g)
    by_x, by_states = result[0] if mask else result
    close(by_x, at.grad)
    if with_states:
        for g, state in zip(by_states if cell == "lstm" else [by_states], states_at, strict=True):
            close(g, state.grad)
    for (name, own), other in zip(ours.weights.items(), theirs.parameters(), strict=True):
        assert own.grad is not None, name
        close(own.grad, other.grad)


# Attention ----------------------------------------------------------------------------------------


def mask_of(kind, *shape):
    if kind is None:
        return None
    mask = RNG.random(shape) < 0.4 if kind == "bool" else values(*shape)
    if kind == "bool":
        mask[..., 0] = False  # every step sees something
    return mask


def with_their_values(ours, theirs):
    ours.double().load_state_dict({k: v.numpy() for k, v in theirs.double().state_dict().items()})
    return ours, theirs


def tensors_of(masks):
    return {name: torch.tensor(mask) for name, mask in masks.items() if mask is not None}


@pytest.mark.parametrize("attn", [None, "bool", "float", "heads"])
@pytest.mark.parametrize("padding", [None, "bool", "float"])
@pytest.mark.parametrize("n", [1, 4])  # four samples of four steps: masks are told apart by name
def test_masks_and_weights_of_attention_are_those_of_pytorch(attn, padding, n):
    ours, theirs = with_their_values(
        nn.MultiHeadAttention(6, 2, need_weights=True),
        torch.nn.MultiheadAttention(6, 2, batch_first=True),
    )
    x = [values(n, 4, 6), values(n, 5, 6), values(n, 5, 6)]
    attn_mask = mask_of("bool", n * 2, 4, 5) if attn == "heads" else mask_of(attn, 4, 5)
    padding_mask = mask_of(padding, n, 5)
    at = [tensor(part) for part in x]
    masks = tensors_of({"attn_mask": attn_mask, "key_padding_mask": padding_mask})
    expected = theirs(*at, **masks, average_attn_weights=False)
    found = ours.forward(x, attn_mask, padding_mask)
    gradients = [values(*part.shape) for part in expected]
    torch.autograd.backward(expected, [torch.from_numpy(g) for g in gradients])
    for own, other in zip(found, expected, strict=True):
        close(own, other)
    by_inputs = ours.backward((x, attn_mask, padding_mask), gradients)[0]
    for g, part in zip(by_inputs, at, strict=True):
        close(g, part.grad)
    before = [part.numpy().copy() for part in found]
    ours.setMask(attn_mask=attn_mask, key_padding_mask=padding_mask)
    for own, other in zip(ours.forward(x), before, strict=True):
        np.testing.assert_array_equal(own.numpy(), other)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_transformer_s_layers_are_those_of_pytorch(activation, norm_first, masked):
    causal = np.triu(np.ones((3, 3), bool), 1)
    own_padding = np.array([[False] * 3, [False, False, True], [False] * 3])
    options = {"batch_first": True, "norm_first": norm_first}
    ours, theirs = with_their_values(
        nn.TransformerDecoderLayer(6, 2, 5, 0.1, activation, norm_first=norm_first).evaluate(),
        torch.nn.TransformerDecoderLayer(6, 2, 5, 0.1, activation, **options).eval(),
    )
    x = [values(3, 3, 6), values(3, 5, 6)]
    at = [tensor(part) for part in x]
    others = (mask_of("float", 3, 5), own_padding, mask_of("bool", 3, 5))
    names = ("memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask")
    masks = dict(zip(names, others, strict=True)) if masked else {}
    expected = theirs(*at, **tensors_of({"tgt_mask": causal} | masks))
    inputs = (x, None, *others) if masked else (x,)
    close(ours.forward(*inputs), expected)
    g = values(*expected.shape)
    expected.backward(torch.from_numpy(g))
    result = ours.backward(inputs if masked else x, g)
    for own, part in zip(result[0] if masked else result, at, strict=True):
        close(own, part.grad)
    own_gradients = dict(ours.named_parameters())
    for name, other in theirs.named_parameters():
        close(own_gradients[name].grad, other.grad)

    encoder, their_encoder = with_their_values(
        nn.TransformerEncoderLayer(6, 2, 5, 0.1, activation, norm_first=norm_first).evaluate(),
        torch.nn.TransformerEncoderLayer(6, 2, 5, 0.1, activation, **options).eval(),
    )
    masks = {"src_mask": causal, "src_key_padding_mask": own_padding} if masked else {}
    close(encoder.forward(x[0], *masks.values()), their_encoder(at[0], **tensors_of(masks)))
