"""Cases of the transfer functions, criterions, graphs, recurrent and modern layers."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd.check import Layer, TrialCall

# Primitives ---------------------------------------------------------------------------------------


def one_of_any_shape(d):
    return TrialCall([d.array(d.shape(), large=3.0)])


def leading_labels(d):
    shape = (d.size("N", may_be_empty=True), d.size("C"))
    return TrialCall([d.integers(shape, -1, shape[1])], {"classes": shape[1]})


def probabilities_of_any_shape(d):
    return TrialCall([d.array(d.shape(), 0.0, 1.0)])


def sequences_of_labels(d):
    shape = (d.size("N"), d.size("S", 1, 3))
    return TrialCall([d.integers(shape, -1, 3)], {"classes": 4, "blank": 3})


def step_counts(d):
    n = d.size("N")
    return TrialCall([d.integers((n,), 0, 5)], {"samples": n, "steps": 4})


PRIMITIVES = {
    "below_zero": lambda d: TrialCall([d.array(d.shape(), 0.0, 5.0)]),
    "extended_labels": sequences_of_labels,
    "numbers_of_steps": step_counts,
    "erf": one_of_any_shape,
    "leading_labels": leading_labels,
    "outside_unit_interval": probabilities_of_any_shape,
}

# Transfer functions -------------------------------------------------------------------------------


def anywhere(make, low=None, high=None, large=1000.0):
    """Elementwise: any shape, any first axis is a batch."""

    def draw(d):
        x = d.array(d.shape("N A? B?"), low, high, large=large)
        return Layer(make(d), x, batch="always")

    return draw


def fixed(kind, **options):
    return anywhere(lambda _: kind(), **options)


def classes(make):
    """(C,), (N, C), (C, H, W) or (N, C, H, W)."""

    def draw(d):
        shape = d.shape(d.choice(["C", "N C", "C H W", "N C H W"]))
        batch = "always" if len(shape) in (2, 4) else None
        return Layer(make(), d.array(shape), wrong=d.array((1,) * 5), batch=batch)

    return draw


def bounded(kind):
    return anywhere(lambda d: kind(*d.choice([(-1, 1), (-0.5, 0.7), (0.25, 1.5)])))


def powers(d):
    p = d.choice([2, 2.5, 3])
    return Layer(nn.Power(p), d.array(d.shape("N A?"), 0.0, large=10.0), batch="always")


def prelu(d):
    planes = d.choice([0, 3])
    shape = d.shape("N A? B?") if not planes else d.choice([(3,), (2, 3), (2, 3, 2), (1, 3, 2, 2)])
    wrong = d.array((4,)) if planes else None
    module = nn.PReLU(planes)
    return Layer(module, d.array(shape), wrong, "always" if not planes or len(shape) > 1 else None)


def rrelu(d):
    module = nn.RReLU(*d.choice([(), (0.1, 0.5), (0.25, 0.25)]))
    return Layer(module, d.array(d.shape("N A? B?")), batch="evaluate")


def crelu(d):
    module = nn.CReLU(d.choice([1, 2]))
    return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")


def gated(d):
    n, a, b = d.size("N"), d.size("A"), d.size("B")
    last = d.choice([True, False])
    module = nn.GatedLinearUnit(d.choice([None, 2, -1]) if last else 1)
    shape = (n, a, 2 * b) if last else (n, 2 * a, b)
    wrong = (n, a, 2 * b + 1) if last else (n, 2 * a + 1, b)
    return Layer(module, d.array(shape), d.array(wrong), "always")


def maxout(d):
    shape = (*d.shape("N?"), d.size("m"))
    module = nn.Maxout(shape[-1], d.size("k"), 2, d.choice([None, nn.Tanh()]))
    wrong = d.array((*shape[:-1], shape[-1] + 1))
    return Layer(module, d.array(shape), wrong, "always" if len(shape) > 1 else None)


TRANSFER_FUNCTIONS = {
    "Abs": fixed(nn.Abs),
    "CReLU": crelu,
    "Clamp": bounded(nn.Clamp),
    "ELU": anywhere(lambda d: nn.ELU(d.choice([1, 0.5]))),
    "Exp": fixed(nn.Exp, large=10.0),
    "GELU": anywhere(lambda d: nn.GELU(d.choice(["none", "tanh"])), large=3.0),
    "GatedLinearUnit": gated,
    "HardShrink": anywhere(lambda d: nn.HardShrink(d.choice([0.5, 0.3]))),
    "HardTanh": bounded(nn.HardTanh),
    "LeakyReLU": anywhere(lambda d: nn.LeakyReLU(d.choice([0.01, 0.3]))),
    "Log": fixed(nn.Log, low=0.0),
    "LogSigmoid": fixed(nn.LogSigmoid),
    "Maxout": maxout,
    "Mish": fixed(nn.Mish),
    "PReLU": prelu,
    "Power": powers,
    "RReLU": rrelu,
    "ReLU6": anywhere(lambda d: nn.ReLU6(d.choice([False, True]))),
    "SiLU": fixed(nn.SiLU),
    "SoftMin": classes(nn.SoftMin),
    "SoftPlus": anywhere(lambda d: nn.SoftPlus(d.choice([1, 2.5])), large=5.0),
    "SoftShrink": anywhere(lambda d: nn.SoftShrink(d.choice([0.5, 0.3]))),
    "SoftSign": fixed(nn.SoftSign),
    "SpatialLogSoftMax": classes(nn.SpatialLogSoftMax),
    "SpatialSoftMax": classes(nn.SpatialSoftMax),
    "Sqrt": fixed(nn.Sqrt, low=0.0),
    "Square": fixed(nn.Square),
    "TanhShrink": fixed(nn.TanhShrink),
    "Threshold": anywhere(lambda d: nn.Threshold(*d.choice([(), (0.2, -0.5), (-0.3, 1)]))),
}

# Graphs -------------------------------------------------------------------------------------------


def graph(d):
    """Two inputs, a module on two nodes, entries of a list, and two outputs; or a chain."""
    n, k, m = d.size("N"), d.size("k"), d.size("m")
    x, y = nn.node(nn.Identity()), nn.node(nn.Identity())
    first, second = nn.Linear(m, k)(x), nn.Tanh()(nn.Linear(2, k)(y))
    if d.choice([True, False]):
        module = nn.gModule(x, nn.Sigmoid()(first))
        return Layer(module, d.array((n, m)), d.array((n, m + 1)), "always")
    a, b = nn.Identity()([first, second]).split(2)
    module = nn.gModule([x, y], [nn.Linear(k, 2)(a), nn.ReLU()(b), a])
    x_and_y = [d.array((n, m)), d.array((n, 2))]
    return Layer(module, x_and_y, [x_and_y[0], d.array((n, 3))], "always")


# Recurrent ----------------------------------------------------------------------------------------


def sequences(make, least=1):
    """(T, N, D), samples apart along N, which is not the first axis."""

    def draw(d):
        t, n, size = d.size("T", least, 3), d.size("N"), d.size("D", 1, 3)
        shape = (t, n, size)
        return Layer(make(d, size), d.array(shape, large=3.0), d.array((t, n, size + 1)))

    return draw


def one_step(make):
    def draw(d):
        n, size = d.size("N"), d.size("D", 1, 3)
        x = d.array((n, size), large=3.0)
        return Layer(make(d, size), x, d.array((n, size + 1)), "always")

    return draw


def of_sizes(kind):
    return lambda d, size: kind(size, d.size("H", 1, 3))


def projected(kind):
    def make(d, size):
        output = d.choice([(), (2,)])
        return kind(size, d.size("H", 1, 3), *output)

    return make


def step_lstm(d):
    n, size, h = d.size("N"), d.size("D", 1, 3), d.size("H", 1, 3)
    o = d.choice([h, h + 1])
    x = [d.array((n, k), large=3.0) for k in (size, o, h)]
    return Layer(nn.StepLSTM(size, h, o), x, [x[0], x[1], d.array((n, h + 1))], "always")


def step_gru(d):
    n, size, h = d.size("N"), d.size("D", 1, 3), d.size("H", 1, 3)
    x = [d.array((n, k), large=3.0) for k in (size, h)]
    return Layer(nn.StepGRU(size, h), x, x[:1], "always")


def masked_sequence(kind):
    """Sometimes with padding, said by a mask."""

    def draw(d):
        layer = sequences(projected(kind) if kind is nn.SeqLSTM else of_sizes(kind))(d)
        if d.choice([False, True]):
            layer.module.setZeroMask(d.rng.random(layer.input.shape[:2]) < 0.4)
        return layer

    return draw


def stepped(d, size):
    """What a Sequencer may hold."""
    h = d.size("H", 1, 3)
    kind = d.choice([nn.RecGRU, nn.LSTM, nn.FastLSTM, nn.Linear])
    if d.choice([True, False]):
        return kind(size, h)
    return nn.Sequential(kind(size, h), nn.Linear(h, 2))


def listed_steps(d):
    """A list of steps instead of an array."""
    layer = sequences(lambda d, size: nn.Sequencer(stepped(d, size)))(d)
    if d.choice([True, False]):
        layer.input, layer.wrong = list(layer.input), list(layer.wrong)
        layer.input = [np.array(step) for step in layer.input]
    return layer


def lookup_rnn(d):
    n, h = d.size("N"), d.size("H", 1, 3)
    return Layer(nn.LookupRNN(4, h), d.integers((n,), 0, 4), d.integers((n, 2), 0, 4))


def lookup(make):
    def draw(d):
        shape = d.shape("N A?")
        module, low, high = make(d)
        wrong = np.full(shape, 5)
        return Layer(module, d.integers(shape, low, high), None if 0 in shape else wrong)

    return draw


def embedding(d):
    """Never at the padding: that its row gets no gradient is no derivative, and tested apart."""
    padding = d.choice([None, -1])
    return nn.Embedding(5, 3, padding), 0, 5 if padding is None else 4


def mask_zero(d):
    n, size = d.size("N"), d.size("D", 1, 3)
    v1 = d.choice([True, False])
    module = nn.MaskZero(nn.Linear(size, 2), v1, d.choice([True, False]))
    if not v1:
        module.setZeroMask(d.booleans((n,)))
    x = d.array((n, size))
    return Layer(module, x, d.array((n, size + 1)), "always" if v1 else None)


RECURRENT = {
    "BiSequencer": sequences(lambda d, size: nn.BiSequencer(stepped(d, size))),
    "Embedding": lookup(embedding),
    "FastLSTM": one_step(of_sizes(nn.FastLSTM)),
    "GRU": one_step(of_sizes(nn.GRU)),
    "LSTM": one_step(of_sizes(nn.LSTM)),
    "LinearRNN": one_step(of_sizes(nn.LinearRNN)),
    "LookupRNN": lookup_rnn,
    "LookupTableMaskZero": lookup(lambda d: (nn.LookupTableMaskZero(5, 3), -1, 5)),
    "MaskZero": mask_zero,
    "MuFuRu": one_step(
        lambda d, size: nn.MuFuRu(
            size,
            d.size("H", 1, 3),
            d.choice([None, ["keep", "replace"], ["mul", "forget", "diff"]]),
        )
    ),
    "RecGRU": one_step(of_sizes(nn.RecGRU)),
    "RecLSTM": one_step(projected(nn.RecLSTM)),
    "Recursor": one_step(lambda d, size: nn.Recursor(nn.Linear(size, 2))),
    "Repeater": one_step(
        lambda d, size: nn.Repeater(nn.Sequential(nn.RecGRU(size, 2), nn.Tanh()), d.integer(1, 3))
    ),
    "SAdd": anywhere(lambda d: nn.SAdd(d.choice([0.5, -2]))),
    "SeqBGRU": sequences(of_sizes(nn.SeqBGRU)),
    "SeqBLSTM": sequences(of_sizes(nn.SeqBLSTM)),
    "SeqGRU": masked_sequence(nn.SeqGRU),
    "SeqLSTM": masked_sequence(nn.SeqLSTM),
    "Sequencer": listed_steps,
    "StepGRU": step_gru,
    "StepLSTM": step_lstm,
}

# Modern layers ------------------------------------------------------------------------------------


def last_axes(make):
    """(…, A, B), normalized over B or over both."""

    def draw(d):
        shape = (*d.shape("N T?"), d.size("A", 1, 3), d.size("B", 2, 4))
        sizes = d.choice([shape[-1], shape[-1:], shape[-2:]])
        return Layer(
            make(sizes, d), d.array(shape), d.array((*shape[:-1], shape[-1] + 1)), "always"
        )

    return draw


def group_norm(d):
    groups, channels = d.choice([(1, 3), (2, 4), (3, 3)])
    shape = (*d.shape("N"), channels, *d.shape("H W?"))
    module = nn.GroupNorm(groups, channels, 1e-2, d.choice([True, False]))
    return Layer(module, d.array(shape), d.array((1, channels + 1, 2)), "always")


def attention(d):
    heads, width = d.choice([(1, 3), (2, 4)])
    n, t, s = d.size("N"), d.size("T", 1, 3), d.size("S", 1, 3)
    module = nn.MultiHeadAttention(
        width, heads, d.choice([0.0, 0.25]), d.choice([True, False]), causal=d.choice([False, True])
    )
    if d.choice([True, False]):
        x = d.array((n, t, width), large=3.0)
        return Layer(module, x, d.array((n, t, width + 1)), "evaluate")
    x = [d.array((n, steps, width), large=3.0) for steps in (t, s, s)]
    return Layer(module, x, [x[0], x[1], d.array((n, s + 1, width))], "evaluate")


def encoder(d):
    n, t = d.size("N"), d.size("T", 1, 3)
    module = nn.TransformerEncoderLayer(
        4,
        2,
        3,
        d.choice([0.0, 0.25]),
        d.choice(["relu", "gelu"]),
        1e-2,
        norm_first=d.choice([False, True]),
    )
    return Layer(module, d.array((n, t, 4), large=3.0), d.array((n, t, 5)), "evaluate")


# Layers that Torch7 lacks


def flatten(d):
    shape = d.shape("N A B?")
    module = nn.Flatten(*d.choice([(), (1, 1), (-1, -1)]))
    return Layer(module, d.array(shape), d.array((2,)) if module.start_dim == 1 else None, "always")


def instance_norm(d):
    c = d.size("C")
    shape = (*d.shape("N"), c, d.size("H", 2, 4), *d.shape("W?"))
    module = nn.InstanceNorm(c, 1e-2, d.choice([True, False]))
    return Layer(module, d.array(shape), d.array((1, c + 1, 2)), "always")


def alpha_dropout(d):
    return Layer(nn.AlphaDropout(d.choice([0, 0.25])), d.array(d.shape("N A?")), batch="evaluate")


def adaptive(kind, axes):
    def draw(d):
        size = d.choice([1, 2, tuple(d.integer(1, 3) for _ in range(axes))])
        shape = (*d.shape("N?"), d.size("C"), *(d.size(name, 1, 4) for name in "THW"[:axes]))
        batch = "always" if len(shape) == axes + 2 else None
        return Layer(kind(size), d.array(shape), d.array((3,)), batch)

    return draw


def grid_sample(d):
    n, c, h, w = d.size("N"), d.size("C"), d.size("H", 1, 3), d.size("W", 1, 3)
    module = nn.GridSample(
        d.choice(["bilinear", "nearest"]), d.choice(["zeros", "border"]), d.choice([False, True])
    )
    grid = d.array((n, d.size("A", 1, 2), 2, 2), -1.4, 1.4)
    x = [d.array((n, c, h, w)), grid]
    return Layer(module, x, [x[0], d.array((n + 1, 2, 2, 2))], "always")


def embedding_bag(d):
    shape, mode = (d.size("N"), d.size("S", 1, 3)), d.choice(["mean", "sum", "max", "weighted"])
    padding = d.choice([None, 0])
    module = nn.EmbeddingBag(5, 3, "sum" if mode == "weighted" else mode, padding)
    indices, wrong = d.integers(shape, 0, 5), np.full(shape, 5)
    if mode == "weighted":
        return Layer(module, [indices, d.array(shape)], [wrong, np.ones(shape)])
    return Layer(module, indices, wrong)


def spectral_norm(d):
    n, m = d.size("N"), d.size("m")
    module = nn.SpectralNorm(nn.Linear(m, d.size("n_out")))
    return Layer(module, d.array((n, m)), d.array((n, m + 1)), "always")


LAYERS_WITHOUT_TORCH7 = {
    "AdaptiveAvgPool1d": adaptive(nn.AdaptiveAvgPool1d, 1),
    "AdaptiveAvgPool3d": adaptive(nn.AdaptiveAvgPool3d, 3),
    "AdaptiveMaxPool1d": adaptive(nn.AdaptiveMaxPool1d, 1),
    "AdaptiveMaxPool3d": adaptive(nn.AdaptiveMaxPool3d, 3),
    "AlphaDropout": alpha_dropout,
    "EmbeddingBag": embedding_bag,
    "Flatten": flatten,
    "GridSample": grid_sample,
    "InstanceNorm": instance_norm,
    "SpectralNorm": spectral_norm,
}

MODERN = {
    **LAYERS_WITHOUT_TORCH7,
    "GroupNorm": group_norm,
    "LayerNorm": last_axes(
        lambda sizes, d: nn.LayerNorm(sizes, 1e-2, d.choice([True, False]), d.choice([True, False]))
    ),
    "MultiHeadAttention": attention,
    "RMSNorm": last_axes(
        lambda sizes, d: nn.RMSNorm(sizes, d.choice([1e-2, 0.1]), d.choice([True, False]))
    ),
    "TransformerEncoderLayer": encoder,
}

MODULES = {**TRANSFER_FUNCTIONS, "gModule": graph, **RECURRENT, **MODERN}

# Criterions ---------------------------------------------------------------------------------------


def flagged(kind, d):
    """A criterion with its flag given to the constructor, or set afterwards."""
    return with_flag(kind(), d)


def with_flag(criterion, d):
    criterion.sizeAverage = d.choice([True, False])
    return criterion


def against(kind, target=None, large=1000.0, low=None, high=None):
    """Entry against entry: any shape, the target of the same."""

    def draw(d):
        shape = d.shape("N A?")
        x = d.array(shape, low, high, large=large)
        t = d.rng.standard_normal(shape) if target is None else target(d, shape)
        return Layer(flagged(kind, d), x, d.array((*shape, 2)), target=t)

    return draw


def signs(d, shape):
    return d.rng.choice([-1.0, 1.0], shape)


def bits(d, shape):
    return d.rng.integers(0, 2, shape).astype(float)


def probabilities(d, shape):
    p = d.rng.uniform(0.1, 0.4, shape)
    return np.where(d.rng.uniform(size=shape) < 0.3, 0.0, p)


def weights(d, count):
    return d.choice([None, d.rng.uniform(0.5, 2.0, count)])


def weighted(kind, target, low=None, high=None):
    def draw(d):
        n, c = d.size("N"), d.size("C")
        x = d.array((n, c), low, high)
        module = kind(weights(d, c), d.choice([True, False]))
        return Layer(module, x, d.array((n, c + 1)), target=target(d, (n, c)))

    return draw


def weighted_mse(d):
    n, c = d.size("N"), d.size("C")
    module = with_flag(nn.WeightedMSECriterion(d.rng.uniform(0.5, 2.0, c)), d)
    target = d.rng.standard_normal((n, c))
    return Layer(module, d.array((n, c)), d.array((n, c + 1)), target=target)


def auto_crop(d):
    h, w, dh, dw = d.size("H"), d.size("W"), d.integer(0, 3), d.integer(0, 3)
    target = d.rng.standard_normal((2, h + dh, w + dw))
    module = nn.SpatialAutoCropMSECriterion(d.choice([True, False]))
    return Layer(module, d.array((2, h, w)), d.array((2, h + 9, w)), target=target)


def l1_cost(d):
    return Layer(nn.L1Cost(), d.array(d.shape("N A?")), target=[])


def hinge(d):
    shape = d.shape("N A?")
    one = d.choice([True, False])
    module = with_flag(nn.HingeEmbeddingCriterion(d.choice([1, 0.8])), d)
    return Layer(
        module,
        d.array(shape),
        None if one or np.prod(shape) == 1 else d.array((*shape, 2)),  # one sign is for all
        target=signs(d, () if one else shape),
    )


def pairs(make, target):
    def draw(d):
        shape = (d.size("N"), d.size("A", 2, 4))
        x = [d.array(shape), d.array(shape)]
        return Layer(make(d), x, [x[0], d.array((*shape, 2))], target=target(d, shape))

    return draw


def one_sign(d, shape):
    return signs(d, ())


def spatial_labelled(d):
    n, c, h, w = d.size("N"), d.size("C"), d.size("H"), d.size("W")
    module = nn.SpatialClassNLLCriterion(weights(d, c), d.choice([True, False]))
    return Layer(
        module, d.array((n, c, h, w)), d.array((n, c, h, w + 1)), target=d.integers((n, h, w), 0, c)
    )


def simplex(d):
    n, c = d.size("N"), d.size("C", 2, 4)
    module = with_flag(nn.ClassSimplexCriterion(c), d)
    return Layer(module, d.array((n, c)), d.array((n, c + 1)), target=d.integers((n,), 0, c))


def multi_margin(d):
    n, c = d.size("N"), d.size("C")
    module = nn.MultiMarginCriterion(d.choice([1, 2]), weights(d, c), d.choice([1, 0.5]))
    return Layer(
        with_flag(module, d), d.array((n, c)), d.array((n + 1, c)), target=d.integers((n,), 0, c)
    )


def multi_label_margin(d):
    n, c = d.size("N"), d.size("C")
    module = with_flag(nn.MultiLabelMarginCriterion(), d)
    target = d.integers((n, c), -1, c)
    return Layer(module, d.array((n, c)), d.array((n, c + 1)), target=target)


def multi(d):
    shape = d.shape("N A")
    module = nn.MultiCriterion().add(nn.MSECriterion()).add(nn.SmoothL1Criterion(), 0.3)
    target = d.rng.standard_normal(shape)
    return Layer(module, d.array(shape), d.array((*shape, 2)), target=target)


def parallel(d):
    n, c = d.size("N"), d.size("C")
    module = nn.ParallelCriterion().add(nn.MSECriterion(), 0.7).add(nn.ClassNLLCriterion())
    x = [d.array((n, c)), d.array((n, c))]
    target = [d.rng.standard_normal((n, c)), d.integers((n,), 0, c)]
    return Layer(module, x, x[:1], target=target)


def through_modules(d):
    n, c = d.size("N"), d.size("C")
    # Without parameters: a criterion's backward gathers no gradients of them, as in Torch7.
    module = nn.ModuleCriterion(nn.MSECriterion(), nn.Tanh(), nn.Sigmoid())
    target = d.rng.standard_normal((n, c))
    return Layer(module, d.array((n, c)), d.array((n, c + 1)), target=target)


def over_time(make, repeated):
    def draw(d):
        t, n, c = d.size("T", 1, 3), d.size("N"), d.size("C")
        module = make(nn.CrossEntropyCriterion(), d)
        target = d.integers((n,) if repeated else (t, n), 0, c)
        return Layer(module, d.array((t, n, c)), d.array((t, n + 1, c)), target=target)

    return draw


def masked_loss(d):
    n, c = d.size("N"), d.size("C")
    module = nn.MaskZeroCriterion(nn.CrossEntropyCriterion()).setZeroMask(d.booleans((n,)))
    target = d.integers((n,), 0, c)
    return Layer(module, d.array((n, c)), d.array((n + 1, c)), target=target)


# Criterions that Torch7 lacks, and options that it lacks


def cross_entropy(d):
    """Labels or shares, smoothed or not, at many positions or one, classes anywhere."""
    n, c, axis = d.size("N"), d.size("C"), d.choice([None, 1, -1])
    rest = d.choice([(), (2,), (2, 3)])
    shape = (n, *rest, c) if axis == -1 else (n, c, *rest)
    module = nn.CrossEntropyCriterion(
        weights(d, c), d.choice([True, False]), 0 if c > 1 else -100, d.choice([0, 0.25]), axis=axis
    )
    soft = d.choice([True, False])
    target = d.rng.dirichlet(np.ones(c), (n, *rest)) if soft else d.integers((n, *rest), 0, c)
    if soft and axis != -1:
        target = np.moveaxis(target, -1, 1)
    return Layer(module, d.array(shape), d.array((n + 1, *shape[1:])), target=target)


def logits(d):
    n, c = d.size("N"), d.size("C")
    module = nn.BCEWithLogitsCriterion(weights(d, c), weights(d, c), d.choice(["mean", "sum"]))
    return Layer(module, d.array((n, c)), d.array((n, c + 1)), target=bits(d, (n, c)))


def reduced(make, target=None, **options):
    """Entry against entry, with a reduction."""

    def draw(d):
        shape = d.shape("N A?")
        t = d.rng.standard_normal(shape) if target is None else target(d, shape)
        module = make(d, d.choice(["mean", "sum"]))
        return Layer(module, d.array(shape, **options), d.array((*shape, 2)), target=t)

    return draw


def counts(d, shape):
    return d.rng.integers(0, 5, shape).astype(float)


def gaussian_nll(d):
    n, a = d.size("N"), d.size("A")
    x = [d.array((n, a)), d.array((n, d.choice([1, a])), 0.1, 4.0)]
    module = nn.GaussianNLLCriterion(d.choice([True, False]), reduction=d.choice(["mean", "sum"]))
    return Layer(module, x, [x[0], d.array((n, a + 1))], target=d.rng.standard_normal((n, a)))


def triplets(d):
    shape = d.shape("N? A")
    x = [d.array(shape) for _ in range(3)]
    module = nn.TripletMarginCriterion(
        d.choice([1, 3]), d.choice([2, 1.5]), 1e-3, d.choice([True, False])
    )
    return Layer(module, x, [*x[:2], d.array((*shape, 2))], target=[])


def ctc(d):
    t, n, c = d.size("T", 2, 4), d.size("N"), d.size("C", 2, 4)
    blank = d.choice([0, c - 1])
    labels = d.integers((n, d.size("S", 1, 2)), -1, c)
    labels = np.where(labels == blank, -1, labels)
    x = d.array((t, n, c), -4.0, 0.0)
    module = nn.CTCCriterion(blank, zero_infinity=True, reduction=d.choice(["mean", "sum"]))
    lengths = d.integers((n,), 0, t + 1)
    target = d.choice([labels, [labels, lengths]])
    return Layer(module, x, d.array((t, n + 1, c)), target=target)


def sample_weighted(d):
    n, c = d.size("N"), d.size("C")
    inner, t = d.choice([0, 1]), d.integers((n,), 0, c)
    module = nn.SampleWeightedCriterion(
        [nn.CrossEntropyCriterion(), nn.MSECriterion()][inner], d.choice(["mean", "sum"])
    )
    target = [d.rng.standard_normal((n, c)) if inner else t, d.rng.uniform(0.5, 2, n)]
    return Layer(module, d.array((n, c)), d.array((n, c, 2)), target=target)


WITHOUT_TORCH7 = {
    "BCEWithLogitsCriterion": logits,
    "CTCCriterion": ctc,
    "CrossEntropyCriterion": cross_entropy,
    "FocalCriterion": reduced(
        lambda d, r: nn.FocalCriterion(d.choice([0, 1, 2]), d.choice([None, 0.25]), r), bits
    ),
    "GaussianNLLCriterion": gaussian_nll,
    "HuberCriterion": reduced(lambda d, r: nn.HuberCriterion(d.choice([1, 0.5, 3]), r)),
    "PoissonNLLCriterion": reduced(
        lambda d, r: nn.PoissonNLLCriterion(True, d.choice([True, False]), reduction=r),
        counts,
        large=10.0,
    ),
    "SampleWeightedCriterion": sample_weighted,
    "TripletMarginCriterion": triplets,
}

CRITERIONS = {
    **WITHOUT_TORCH7,
    "MaskZeroCriterion": masked_loss,
    "RepeaterCriterion": over_time(lambda inner, d: nn.RepeaterCriterion(inner), repeated=True),
    "SequencerCriterion": over_time(
        lambda inner, d: nn.SequencerCriterion(inner, d.choice([False, True])), repeated=False
    ),
    "AbsCriterion": against(nn.AbsCriterion),
    "BCECriterion": weighted(nn.BCECriterion, bits, 0.0, 1.0),
    "ClassSimplexCriterion": simplex,
    "CosineEmbeddingCriterion": pairs(
        lambda d: with_flag(nn.CosineEmbeddingCriterion(d.choice([0, 0.1, -0.5])), d),
        lambda d, shape: signs(d, shape[:1]),
    ),
    "DistKLDivCriterion": against(nn.DistKLDivCriterion, probabilities),
    "DistanceRatioCriterion": pairs(
        lambda d: nn.DistanceRatioCriterion(d.choice([True, False])), lambda d, shape: []
    ),
    "HingeEmbeddingCriterion": hinge,
    "L1Cost": l1_cost,
    "L1HingeEmbeddingCriterion": pairs(
        lambda d: nn.L1HingeEmbeddingCriterion(d.choice([2, 20])), one_sign
    ),
    "MarginCriterion": against(nn.MarginCriterion, signs),
    "MarginRankingCriterion": pairs(
        lambda d: with_flag(nn.MarginRankingCriterion(d.choice([1, 0.1])), d), signs
    ),
    "ModuleCriterion": through_modules,
    "MultiCriterion": multi,
    "MultiLabelMarginCriterion": multi_label_margin,
    "MultiLabelSoftMarginCriterion": weighted(nn.MultiLabelSoftMarginCriterion, bits),
    "MultiMarginCriterion": multi_margin,
    "ParallelCriterion": parallel,
    "SmoothL1Criterion": against(nn.SmoothL1Criterion),
    "SoftMarginCriterion": against(nn.SoftMarginCriterion, signs),
    "SpatialAutoCropMSECriterion": auto_crop,
    "SpatialClassNLLCriterion": spatial_labelled,
    "WeightedMSECriterion": weighted_mse,
}
