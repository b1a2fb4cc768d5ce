"""Layers that Torch7 had not, compared with PyTorch where it is installed.

Values, gradients of the input and of every parameter, in double precision.
"""

import numpy as np
import pytest

from tapegrad import nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
pytestmark = pytest.mark.extra

RNG = np.random.default_rng(7)


def values(shape):
    return RNG.standard_normal(shape)


def compare(module, theirs, x, pairs=(), arguments=None):
    """Run both on x; `pairs` matches our parameters with theirs, which get our values."""
    module = module.double().evaluate()
    theirs = theirs.double().eval() if isinstance(theirs, torch.nn.Module) else theirs
    for own, other in pairs:
        own.data[...] = values(own.shape)
        with torch.no_grad():
            other.copy_(torch.from_numpy(own.numpy()))
    module.zeroGradParameters()
    given = [np.array(part) for part in x] if isinstance(x, list) else x
    ours = module.forward(given)
    at = [torch.tensor(part, requires_grad=part.dtype.kind == "f") for part in leaves(x)]
    expected = theirs(*at, **(arguments or {}))
    expected = expected[0] if isinstance(expected, tuple) else expected
    close(ours.numpy(), expected.detach().numpy())
    g = values(ours.shape)
    module.backward(given, g)
    expected.backward(torch.from_numpy(g))
    for own, other in zip(leaves(module.gradInput), at, strict=True):
        if other.grad is not None:
            close(own.numpy(), other.grad.numpy())
    for own, other in pairs:
        close(own.grad.numpy(), other.grad.numpy())


def leaves(x):
    return x if isinstance(x, list) else [x]


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (nn.GELU(), torch.nn.GELU()),
        (nn.GELU("tanh"), torch.nn.GELU(approximate="tanh")),
        (nn.SiLU(), torch.nn.SiLU()),
        (nn.Mish(), torch.nn.Mish()),
        (nn.ELU(0.5), torch.nn.ELU(0.5)),
        (nn.SoftPlus(2.5), torch.nn.Softplus(2.5)),
        (nn.LogSigmoid(), torch.nn.LogSigmoid()),
        (nn.HardShrink(), torch.nn.Hardshrink()),
        (nn.GatedLinearUnit(), torch.nn.GLU()),
    ],
    ids=repr,
)
def test_elementwise(ours, theirs):
    compare(ours, theirs, 3 * values((4, 6)))


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_layer_norm(shape):
    ours, theirs = nn.LayerNorm(shape, 1e-4), torch.nn.LayerNorm(shape, 1e-4)
    pairs = [(ours.weight, theirs.weight), (ours.bias, theirs.bias)]
    compare(ours, theirs, values((2, 3, 4)), pairs)


@pytest.mark.parametrize("eps", [None, 1e-3])
def test_rms_norm(eps):
    ours, theirs = nn.RMSNorm(5, eps), torch.nn.RMSNorm(5, eps)
    compare(ours, theirs, values((2, 3, 5)), [(ours.weight, theirs.weight)])


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 3, 4)])
def test_group_norm(shape):
    ours, theirs = nn.GroupNorm(3, 6), torch.nn.GroupNorm(3, 6)
    pairs = [(ours.weight, theirs.weight), (ours.bias, theirs.bias)]
    compare(ours, theirs, values(shape), pairs)


def attention_pairs(ours, theirs):
    return [
        (ours.in_proj_weight, theirs.in_proj_weight),
        (ours.in_proj_bias, theirs.in_proj_bias),
        (ours.out_proj.weight, theirs.out_proj.weight),
        (ours.out_proj.bias, theirs.out_proj.bias),
    ]


@pytest.mark.parametrize("causal", [False, True])
def test_attention_to_itself(causal):
    ours = nn.MultiHeadAttention(6, 2, causal=causal)
    theirs = torch.nn.MultiheadAttention(6, 2, batch_first=True)
    mask = torch.triu(torch.ones(4, 4, dtype=bool), diagonal=1) if causal else None

    class Self(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = theirs

        def forward(self, x):
            return self.inner(x, x, x, attn_mask=mask, need_weights=False)

    compare(ours, Self(), values((3, 4, 6)), attention_pairs(ours, theirs))


def test_attention_to_something_else_with_a_mask():
    ours, theirs = nn.MultiHeadAttention(6, 3), torch.nn.MultiheadAttention(6, 3, batch_first=True)
    padding = np.array([[False] * 5, [False, False, True, True, True]])
    ours.setMask(padding[:, None, None, :])
    x = [values((2, 4, 6)), values((2, 5, 6)), values((2, 5, 6))]
    arguments = {"key_padding_mask": torch.from_numpy(padding), "need_weights": False}
    compare(ours, theirs, x, attention_pairs(ours, theirs), arguments)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_encoder_layer(norm_first, activation):
    ours = nn.TransformerEncoderLayer(6, 2, 5, 0.1, activation, norm_first=norm_first)
    theirs = torch.nn.TransformerEncoderLayer(
        6, 2, 5, 0.1, activation, batch_first=True, norm_first=norm_first
    )
    pairs = attention_pairs(ours.self_attn, theirs.self_attn)
    for name in ("linear1", "linear2", "norm1", "norm2"):
        own, other = getattr(ours, name), getattr(theirs, name)
        pairs += [(own.weight, other.weight), (own.bias, other.bias)]
    compare(ours, theirs, values((2, 4, 6)), pairs)


def test_embedding_with_padding():
    ours = nn.Embedding(5, 3, padding_idx=1)
    theirs = torch.nn.Embedding(5, 3, padding_idx=1)
    x = np.array([[0, 1, 4], [1, 2, 4]])
    compare(ours, theirs, x, [(ours.weight, theirs.weight)])


def test_lstm_over_a_sequence():
    """The last two of the four gates stand the other way round in PyTorch."""
    ours, theirs = nn.SeqLSTM(3, 4).double(), torch.nn.LSTM(3, 4).double()
    x, order = values((5, 2, 3)), [0, 1, 3, 2]

    def rows(matrix):
        return np.concatenate([np.split(matrix, 4, axis=0)[k] for k in order])

    with torch.no_grad():
        w = ours.weight.numpy()
        theirs.weight_ih_l0.copy_(torch.from_numpy(rows(w[:3].T)))
        theirs.weight_hh_l0.copy_(torch.from_numpy(rows(w[3:].T)))
        theirs.bias_ih_l0.copy_(torch.from_numpy(rows(ours.bias.numpy())))
        theirs.bias_hh_l0.zero_()
    at = torch.tensor(x, requires_grad=True)
    expected, _ = theirs(at)
    close(ours.forward(x).numpy(), expected.detach().numpy())
    g = values((5, 2, 4))
    expected.backward(torch.from_numpy(g))
    close(ours.backward(x, g).numpy(), at.grad.numpy())


@pytest.mark.parametrize(
    ("ours", "theirs", "signed"),
    [
        (nn.SmoothL1Criterion(), torch.nn.SmoothL1Loss(), False),
        (nn.SoftMarginCriterion(), torch.nn.SoftMarginLoss(), True),
        (nn.HingeEmbeddingCriterion(0.8), torch.nn.HingeEmbeddingLoss(0.8), True),
        (nn.MultiLabelSoftMarginCriterion(), torch.nn.BCEWithLogitsLoss(), False),
        (nn.AbsCriterion(), torch.nn.L1Loss(), False),
    ],
    ids=lambda m: type(m).__name__,
)
def test_losses(ours, theirs, signed):
    x, target = 2 * values((4, 5)), values((4, 5))
    target = np.sign(target) if signed else (target > 0) * 1.0
    at = torch.tensor(x, requires_grad=True)
    expected = theirs(at, torch.from_numpy(target))
    expected.backward()
    close(ours.forward(x, target).numpy(), expected.detach().numpy())
    close(ours.backward(x, target).numpy(), at.grad.numpy())


def test_instance_norm():
    for affine in (False, True):
        ours, theirs = nn.InstanceNorm(3, affine=affine), torch.nn.InstanceNorm2d(3, affine=affine)
        pairs = [(ours.weight, theirs.weight), (ours.bias, theirs.bias)] if affine else []
        compare(ours, theirs, values((2, 3, 4, 5)), pairs)


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (nn.AdaptiveAvgPool1d(3), torch.nn.AdaptiveAvgPool1d(3), (2, 3, 7)),
        (nn.AdaptiveMaxPool1d(3), torch.nn.AdaptiveMaxPool1d(3), (2, 3, 7)),
        (nn.AdaptiveAvgPool3d((2, 3, 1)), torch.nn.AdaptiveAvgPool3d((2, 3, 1)), (2, 3, 4, 5, 6)),
        (nn.AdaptiveMaxPool3d((2, 3, 1)), torch.nn.AdaptiveMaxPool3d((2, 3, 1)), (2, 3, 4, 5, 6)),
        (nn.Flatten(1, 2), torch.nn.Flatten(1, 2), (2, 3, 4, 5)),
    ],
)
def test_pooling_to_a_size_and_flatten(ours, theirs, shape):
    compare(ours, theirs, values(shape))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_grid_sample(mode, padding_mode, align_corners):
    compare(
        nn.GridSample(mode, padding_mode, align_corners),
        torch.nn.functional.grid_sample,
        [values((2, 3, 4, 5)), RNG.uniform(-1.3, 1.3, (2, 3, 2, 2))],
        arguments={"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners},
    )


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(mode):
    ours = nn.EmbeddingBag(6, 4, mode, padding_idx=2)
    theirs = torch.nn.EmbeddingBag(6, 4, mode=mode, padding_idx=2)
    compare(
        ours, theirs, np.array([[0, 2, 5], [2, 2, 2], [1, 1, 4]]), [(ours.weight, theirs.weight)]
    )


def test_spectral_norm():
    ours, inner = nn.SpectralNorm(nn.Linear(4, 3)), torch.nn.Linear(4, 3).double()
    theirs = torch.nn.utils.parametrizations.spectral_norm(inner, n_power_iterations=200)
    weight = theirs.parametrizations.weight.original
    ours = ours.double()
    with torch.no_grad():
        weight.copy_(torch.from_numpy(ours.v.numpy()))
        theirs.bias.copy_(torch.from_numpy(ours.bias.numpy()))
    x, g = values((2, 4)), values((2, 3))
    expected = theirs.train()(torch.from_numpy(x))
    expected.backward(torch.from_numpy(g))
    np.testing.assert_allclose(ours.forward(x).numpy(), expected.detach().numpy(), rtol=1e-8)
    ours.zeroGradParameters()
    ours.backward(x, g)
    np.testing.assert_allclose(ours.v.grad.numpy(), weight.grad.numpy(), rtol=1e-6, atol=1e-9)
