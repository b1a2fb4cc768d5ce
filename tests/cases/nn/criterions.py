"""Examples for nn/criterions/; see `cases`."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd.check import Layer, TrialCall


def mse(d):
    shape = d.shape("N A?")
    x = d.array(shape)
    target = d.rng.standard_normal(shape)
    return Layer(nn.MSECriterion(d.choice([True, False])), x, d.array((*shape, 2)), target=target)


def labelled(kind):
    def draw(d):
        n, c = d.size("N"), d.size("C")
        weights = d.choice([None, d.rng.uniform(0.5, 2.0, c)])
        module = kind(weights, d.choice([True, False]))
        return Layer(module, d.array((n, c)), d.array((n + 1, c)), target=d.integers((n,), 0, c))

    return draw


def criterion_table(d):
    """The target has no gradient, so it is drawn as whole numbers."""
    shape = d.shape("N A")
    x = d.array(shape)
    wrong = [x, d.integers((*shape, 2), -2, 3)]
    return Layer(nn.CriterionTable(nn.MSECriterion()), [x, d.integers(shape, -2, 3)], wrong)


def leading_labels(d):
    shape = (d.size("N", may_be_empty=True), d.size("C"))
    return TrialCall([d.integers(shape, -1, shape[1])], {"classes": shape[1]})


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


OPERATIONS = {
    "leading_labels": leading_labels,
}


MODULES = {
    "CriterionTable": criterion_table,
}


CRITERIONS = {
    "AbsCriterion": against(nn.AbsCriterion),
    "BCECriterion": weighted(nn.BCECriterion, bits, 0.0, 1.0),
    "ClassNLLCriterion": labelled(nn.ClassNLLCriterion),
    "ClassSimplexCriterion": simplex,
    "CosineEmbeddingCriterion": pairs(
        lambda d: with_flag(nn.CosineEmbeddingCriterion(d.choice([0, 0.1, -0.5])), d),
        lambda d, shape: signs(d, shape[:1]),
    ),
    "CrossEntropyCriterion": labelled(nn.CrossEntropyCriterion),
    "DistKLDivCriterion": against(nn.DistKLDivCriterion, probabilities),
    "DistanceRatioCriterion": pairs(
        lambda d: nn.DistanceRatioCriterion(d.choice([True, False])), lambda d, shape: []
    ),
    "HingeEmbeddingCriterion": hinge,
    "L1Cost": l1_cost,
    "L1HingeEmbeddingCriterion": pairs(
        lambda d: nn.L1HingeEmbeddingCriterion(d.choice([2, 20])), one_sign
    ),
    "MSECriterion": mse,
    "MarginCriterion": against(nn.MarginCriterion, signs),
    "MarginRankingCriterion": pairs(
        lambda d: with_flag(nn.MarginRankingCriterion(d.choice([1, 0.1])), d), signs
    ),
    "MaskZeroCriterion": masked_loss,
    "ModuleCriterion": through_modules,
    "MultiCriterion": multi,
    "MultiLabelMarginCriterion": multi_label_margin,
    "MultiLabelSoftMarginCriterion": weighted(nn.MultiLabelSoftMarginCriterion, bits),
    "MultiMarginCriterion": multi_margin,
    "ParallelCriterion": parallel,
    "RepeaterCriterion": over_time(lambda inner, d: nn.RepeaterCriterion(inner), repeated=True),
    "SequencerCriterion": over_time(
        lambda inner, d: nn.SequencerCriterion(inner, d.choice([False, True])), repeated=False
    ),
    "SmoothL1Criterion": against(nn.SmoothL1Criterion),
    "SoftMarginCriterion": against(nn.SoftMarginCriterion, signs),
    "SpatialAutoCropMSECriterion": auto_crop,
    "SpatialClassNLLCriterion": spatial_labelled,
    "WeightedMSECriterion": weighted_mse,
}
