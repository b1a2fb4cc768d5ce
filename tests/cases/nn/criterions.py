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


def cross_entropy(d):
    samples, classes = d.shape("N")[0], d.integer(1, 4)
    labels = d.integers((samples,), 0, classes)
    if not d.empties and d.choice([False, True]):
        labels[0] = -100
    settings = {"ignored": -100, "mean": d.choice([True, False])}
    return TrialCall([d.array((samples, classes)), labels], settings)


def label_likelihood(d):
    samples, classes, points = d.size("N"), d.integer(1, 4), d.choice([(), (2,), (2, 3)])
    labels = d.integers((samples, *points), 0, classes)
    if labels.size and d.choice([False, True]):
        labels[0] = -100
    own = d.choice([None, d.array((classes,), 0.5, 2.0)])
    settings = {"ignored": -100, "mean": d.choice([True, False])}
    return TrialCall([d.array((samples, classes, *points)), labels, own], settings)


def multi_label_hinges(d):
    shape = (d.size("N"), d.size("C"))
    labels = np.full(shape, -1)
    for row in labels:
        some = d.rng.permutation(shape[1])[: d.rng.integers(0, shape[1] + 1)]
        row[: len(some)] = some
    return TrialCall([d.array(shape), labels])


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


def probabilities_of_any_shape(d):
    return TrialCall([d.array(d.shape(), 0.0, 1.0)])


def sequences_of_labels(d):
    shape = (d.size("N"), d.size("S", 1, 3))
    return TrialCall([d.integers(shape, -1, 3)], {"classes": 4, "blank": 3})


def alignments(d):
    t, n, c = d.size("T", 1, 4), d.size("N"), d.size("C", 2, 3)
    length = d.size("S", 1, 2)
    labels = np.where(np.arange(length) < d.integers((n, 1), 0, length + 1), 1, -1)
    labels = np.where(labels > 0, d.integers((n, length), 1, c), -1)
    path = np.full((n, 2 * length + 1), -1)
    path[:, 1::2], path[:, 2::2], path[:, 0] = labels, np.where(labels > 0, 0, -1), 0
    lengths = d.choice([None, d.integers((n, 1), 0, t + 1)])
    return TrialCall([d.array((t, n, c), -4.0, 0.0), path, lengths])


def step_counts(d):
    n = d.size("N")
    return TrialCall([d.integers((n,), 0, 5)], {"count": n, "steps": 4})


OPERATIONS = {
    "alignment_likelihood": alignments,
    "cross_entropy": cross_entropy,
    "below_zero": lambda d: TrialCall([d.array(d.shape(), 0.0, 5.0)]),
    "extended_labels": sequences_of_labels,
    "numbers_of_steps": step_counts,
    "outside_unit_interval": probabilities_of_any_shape,
    "label_likelihood": label_likelihood,
    "leading_labels": leading_labels,
    "multi_label_hinges": multi_label_hinges,
}


MODULES = {
    "CriterionTable": criterion_table,
}


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


def positive(d, shape):
    return d.rng.uniform(0.1, 0.9, shape)


def rows_against(kind, target=None, **domain):
    """Rows of entries, the target of the same shape."""

    def draw(d):
        shape = (d.size("N"), d.size("C", 2, 4))
        x = d.array(shape, **domain)
        t = d.rng.standard_normal(shape) if target is None else target(d, shape)
        return Layer(kind(d), x, d.array((*shape, 2), **domain), target=t)

    return draw


def normal_pair(kind, target=True):
    def draw(d):
        shape = (d.size("N"), d.size("A"))
        x = [d.array(shape), d.array(shape, large=3.0)]
        wrong = [x[0], d.array((*shape, 2))]
        if not target:
            return Layer(kind(d), x, wrong)
        return Layer(kind(d), x, wrong, target=d.rng.standard_normal(shape))

    return draw


def softmax_with(d):
    n, c, places = d.size("N"), d.size("C", 2, 3), d.shape("H?")
    labels = d.integers((n, *places), 0, c)
    ignored = d.choice([None, 0])
    mode = d.choice(["VALID", "FULL", "BATCH_SIZE", "NONE"])
    module = nn.SoftmaxWithCriterion(ignored, mode)
    return Layer(module, d.array((n, c, *places)), d.array((n + 1, c, *places)), target=labels)


def weighted_smooth(d):
    shape = (d.size("N"), d.size("A"))
    target = [d.rng.standard_normal(shape), *(d.rng.uniform(0.5, 2, shape) for _ in range(2))]
    module = nn.SmoothL1CriterionWithWeights(d.choice([1, 2.5]), d.choice([0, 3]))
    return Layer(module, d.array(shape), d.array((*shape, 2)), target=target)


def distributed(d):
    n, t, c = d.size("N"), d.size("T", 1, 3), d.size("C")
    average = d.choice([True, False])
    module = nn.TimeDistributedCriterion(nn.ClassNLLCriterion(), average)
    return Layer(
        module, d.array((n, t, c)), d.array((n, t + 1, c)), target=d.integers((n, t), 0, c)
    )


def distributed_mask(d):
    n, t, c = d.size("N"), d.size("T", 1, 3), d.size("C")
    average = d.choice([True, False])
    module = nn.TimeDistributedMaskCriterion(nn.ClassNLLCriterion(None, average, -1))
    return Layer(
        module, d.array((n, t, c)), d.array((n, t + 1, c)), target=d.integers((n, t), -1, c)
    )


def transformed(d):
    n, a = d.size("N"), d.size("A")
    module = nn.TransformerCriterion(nn.MSECriterion(), nn.Tanh(), d.choice([None, nn.Sigmoid()]))
    target = d.rng.standard_normal((n, a))
    return Layer(module, d.array((n, a)), d.array((n, a + 1)), target=target)


CRITERIONS = {
    "CategoricalCrossEntropy": rows_against(
        lambda d: nn.CategoricalCrossEntropy(), positive, low=0
    ),
    "CosineDistanceCriterion": rows_against(
        lambda d: nn.CosineDistanceCriterion(d.choice([True, False]))
    ),
    "CosineProximityCriterion": rows_against(lambda d: nn.CosineProximityCriterion()),
    "DiceCoefficientCriterion": rows_against(
        lambda d: nn.DiceCoefficientCriterion(d.choice([True, False]), 0.5), bits, low=0, high=1
    ),
    "DotProductCriterion": rows_against(lambda d: nn.DotProductCriterion(d.choice([True, False]))),
    "GaussianCriterion": normal_pair(lambda d: nn.GaussianCriterion()),
    "KLDCriterion": normal_pair(lambda d: nn.KLDCriterion(d.choice([True, False])), target=False),
    "KullbackLeiblerDivergenceCriterion": rows_against(
        lambda d: nn.KullbackLeiblerDivergenceCriterion(), positive, low=0, high=1
    ),
    "MeanAbsolutePercentageCriterion": rows_against(
        lambda d: nn.MeanAbsolutePercentageCriterion(), positive
    ),
    "MeanSquaredLogarithmicCriterion": rows_against(
        lambda d: nn.MeanSquaredLogarithmicCriterion(), positive, low=0
    ),
    "PGCriterion": rows_against(lambda d: nn.PGCriterion(d.choice([True, False])), low=0, high=1),
    "PoissonCriterion": rows_against(lambda d: nn.PoissonCriterion(), positive, low=0),
    "SmoothL1CriterionWithWeights": weighted_smooth,
    "SoftmaxWithCriterion": softmax_with,
    "TimeDistributedCriterion": distributed,
    "TimeDistributedMaskCriterion": distributed_mask,
    "TransformerCriterion": transformed,
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
    "AbsCriterion": against(nn.AbsCriterion),
    "BCECriterion": weighted(nn.BCECriterion, bits, 0.0, 1.0),
    "ClassNLLCriterion": labelled(nn.ClassNLLCriterion),
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

EXCEPTIONS = {
    ("L1HingeEmbeddingCriterion", "its_second_derivatives_are_right"): (
        "where entries are equal, |a - b| has no second derivative, and gives NaN"
    ),
}
