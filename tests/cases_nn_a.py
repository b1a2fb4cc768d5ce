"""Cases of containers, decorators, simple layers and table layers; see cases.py."""

from __future__ import annotations

import numpy as np

from tapegrad import nn
from tapegrad.autograd.check import Layer, TrialCall

# Primitives ---------------------------------------------------------------------------------------


def away_from_zero(d, shape):
    return d.array(shape, 0) * np.where(d.booleans(shape), 1.0, -1.0)


def norm(d):
    shape = d.shape("N A B")
    settings = {"axis": d.choice([1, 2, -1]), "p": d.choice([2, 1, 1.5, 3])}
    return TrialCall([away_from_zero(d, shape)], settings)


def power_of_size(d):
    return TrialCall([away_from_zero(d, d.shape())], {"p": d.choice([2, 1, 1.5, 3, 4])})


def scaled(d):
    shape = d.shape()
    return TrialCall([d.array(shape), d.array((*shape[:-1], 1) if shape else ())])


def penalty(d):
    return TrialCall([d.array(d.shape())], {"weight": 0.25, "passing": d.choice([True, False])})


def ignore(gradient):
    """What a watched gradient is shown to."""


def watched(d):
    return TrialCall([d.array(d.shape())], {"watch": ignore})


def centroids(d):
    k, dim = d.size("k"), d.size("dim")
    return TrialCall([d.array((d.size("N"), dim)), d.array((k, dim))])


PRIMITIVES = {
    "guarded_norm": norm,
    "guarded_power": power_of_size,
    "nearest_centroid": centroids,
    "penalize_l1": penalty,
    "scale_gradient": scaled,
    "watch_gradient": watched,
}

# Tables -------------------------------------------------------------------------------------------


def alike(make, least=2, most=2):
    """A table of arrays of one shape, entry by entry."""

    def draw(d):
        shape = d.shape("N A B?")
        x = [d.array(shape) for _ in range(d.integer(least, most))]
        wrong = [x[0], d.array((*shape, 2))]
        return Layer(make(d), x, wrong, "always")

    return draw


def divided(d):
    shape = d.shape("N A B?")
    x = [d.array(shape), d.array(shape, 0)]
    return Layer(nn.CDivTable(), x, [x[0], d.array((*shape, 2), 0)], "always")


def add_tensor(d):
    shape = d.shape("N A")
    x = [d.array(shape), [d.array(shape) for _ in range(d.integer(1, 3))]]
    return Layer(nn.CAddTensorTable(), x, x[0], "always")


def matrices(d):
    n, k, m = d.size("n"), d.size("k"), d.size("m")
    batch = d.shape("N?")
    flips = d.choice([False, True]), d.choice([False, True])
    x = [
        d.array((*batch, *(s[::-1] if flip else s)))
        for s, flip in zip([(n, k), (k, m)], flips, strict=True)
    ]
    wrong = [x[0], d.array((*x[1].shape, 1))]
    return Layer(nn.MM(*flips), x, wrong, "always" if batch else None)


def matrix_vector(d):
    n, k, batch, flip = d.size("n"), d.size("k"), d.shape("N?"), d.choice([False, True])
    x = [d.array((*batch, *((k, n) if flip else (n, k)))), d.array((*batch, k))]
    wrong = [x[0], d.array((*batch, k + 1))]
    return Layer(nn.MV(flip), x, wrong, "always" if batch else None)


def mixture(d):
    experts, batch = d.size("E"), d.shape("N?")
    own = d.shape("A B?")
    gates = d.array((*batch, experts))
    if d.choice([True, False]):
        x = [gates, [d.array((*batch, *own)) for _ in range(experts)]]
    else:
        x = [gates, d.array((*batch, experts, *own))]
    wrong = [d.array((*batch, experts + 1)), x[1]]
    return Layer(nn.MixtureTable(), x, wrong, "always" if batch else None)


def some(d, least=1):
    """A table of arrays of any shapes with one batch size."""
    return [d.array(d.shape("N") + d.shape(most=1)) for _ in range(d.integer(least, 3))]


def select_table(d):
    x = some(d)
    index = d.integer(0, len(x) - 1)
    return Layer(nn.SelectTable(d.choice([index, index - len(x)])), x, [], "always")


def narrow_table(d):
    x = some(d, 2)
    offset = d.integer(0, len(x) - 2)
    return Layer(
        nn.NarrowTable(offset, d.integer(1, len(x) - offset)), x, x[:1] if offset else None
    )


def flatten_table(d):
    return Layer(nn.FlattenTable(), [some(d), [*some(d), some(d)]], batch="always")


def zip_table(d):
    length = d.integer(1, 3)
    x = [[d.array(d.shape("N A")) for _ in range(length)] for _ in range(d.integer(1, 3))]
    return Layer(nn.ZipTable(), x, [*x, [*x[0], x[0][0]]], "always")


def zip_one_to_many(d):
    x = [d.array(d.shape("N A")), some(d)]
    return Layer(nn.ZipTableOneToMany(), x, x[0], "always")


def join(d):
    n, a = d.size("N", may_be_empty=True), d.size("A")
    parts = [d.array((n, a, d.integer(1, 3))) for _ in range(d.integer(1, 3))]
    module = d.choice([nn.JoinTable(1, 2), nn.JoinTable(-1), nn.JoinTable(2)])
    return Layer(module, parts, [*parts, d.array((n, a + 1, 2))], "always")


def split(d):
    module = d.choice([nn.SplitTable(0, 2), nn.SplitTable(-1), nn.SplitTable(1)])
    return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")


def criterion_table(d):
    """The target has no gradient, so it is drawn as whole numbers."""
    shape = d.shape("N A")
    x = d.array(shape)
    wrong = [x, d.integers((*shape, 2), -2, 3)]
    return Layer(nn.CriterionTable(nn.MSECriterion()), [x, d.integers(shape, -2, 3)], wrong)


# Shapes and parts ---------------------------------------------------------------------------------


def anywhere(make):
    def draw(d):
        return Layer(make(d), d.array(d.shape("N A? B?")), batch="always")

    return draw


def collapse(d):
    axes = d.integer(1, 2)
    return Layer(
        nn.Collapse(axes), d.array((*d.shape("N"), *d.shape("A B")[:axes])), batch="always"
    )


def convert(d):
    make, shape = d.choice([
        (lambda: nn.Convert("bchw", "bhwc"), "N C A B"),
        (lambda: nn.Convert("chw", "whc"), "N C A B"),
        (lambda: nn.Convert("bchw", "bf"), "N C A B"),
        (lambda: nn.Convert("bt", "b"), "N C"),
        (lambda: nn.Convert("b", "bt"), "N"),
    ])  # fmt: skip
    return Layer(make(), d.array(d.shape(shape)), d.array((1,) * 6), "always")


def squeeze(d):
    n, a = d.size("N", may_be_empty=True), d.size("A", 2, 4)
    module, shape = d.choice([
        (nn.Squeeze(1), (n, 1, a)),
        (nn.Squeeze(0, 2), (n, 1, a)),
        (nn.Squeeze(None, 2), (n, 1, a)),
        (nn.Squeeze(-1), (n, a, 1)),
    ])  # fmt: skip
    return Layer(module, d.array(shape), batch="always")


def unsqueeze(d):
    module = d.choice([nn.Unsqueeze(1), nn.Unsqueeze(0, 2), nn.Unsqueeze(-1), nn.Unsqueeze(2, 2)])
    return Layer(module, d.array(d.shape("N A B")), batch="always")


def replicate(d):
    module = d.choice([nn.Replicate(3, 1), nn.Replicate(2, 0, 1), nn.Replicate(1, 2)])
    return Layer(module, d.array(d.shape("N A")), batch="always")


def transpose(d):
    module = d.choice([nn.Transpose((1, 2)), nn.Transpose((1, 3), (2, -1))])
    if d.choice([False, True]):
        module = nn.Transpose((0, 2), (1, 2)).setNumInputDims(3)
    return Layer(module, d.array(d.shape("N A B C")), d.array((2,)), "always")


def padding(d):
    a = d.size("A")
    module = nn.Padding(0, d.choice([2, -1]), 2, d.choice([0, 0.5]), d.integer(0, a))
    return Layer(module, d.array(d.shape("N A B")), batch="always")


def select(d):
    a = d.size("A")
    index = d.integer(-a, a - 1)
    wrong = d.array((2, 0, 3))
    return Layer(nn.Select(d.choice([1, -2]), index), d.array(d.shape("N A B")), wrong, "always")


def narrow(d):
    a = d.size("A")
    start = d.integer(0, a - 1)
    length = d.choice([d.integer(1, a - start), -1])
    module = nn.Narrow(d.choice([1, -2]), start, length)
    shorter = start if length > 0 else start - 1  # with -1, none left is still a slice
    wrong = d.array((2, shorter, 3)) if shorter >= 0 else None
    return Layer(module, d.array(d.shape("N A B")), wrong, "always")

    module = nn.Narrow(d.choice([1, -2]), start, d.choice([d.integer(1, a - start), -1]))
    return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")


def index(d):
    a = d.size("A")
    chosen = d.integers((d.integer(1, 5),), 0, a)
    x = d.array(d.shape("N A B"))
    return Layer(nn.Index(d.choice([1, -2])), [x, chosen], [x, chosen + a])


def masked_select(d):
    shape = d.shape("N A")
    x, mask = d.array(shape), d.booleans(shape)
    return Layer(
        nn.MaskedSelect(), [x, d.choice([mask, mask.astype(np.uint8)])], [x, mask[..., None]]
    )


def extremum(kind):
    def draw(d):
        module = d.choice([kind(1), kind(-1), kind(0, 2)])
        return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")

    return draw


def total(d):
    module = d.choice([
        nn.Sum(1), nn.Sum(0, 2, True), nn.Sum(-1, None, False, False), nn.Sum(2, None, True)
    ])  # fmt: skip
    return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")


def mean(d):
    module = d.choice([nn.Mean(1), nn.Mean(0, 2), nn.Mean(-1)])
    return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")


# Entry by entry -----------------------------------------------------------------------------------


def componentwise(kind):
    def draw(d):
        a, b = d.size("A", 2, 4), d.size("B")
        module = d.choice([kind(a, b), kind(a * b), kind(1, a, 1), kind(1, a, b)])
        return Layer(module, d.array(d.shape("N A B")), d.array((2, a + 1, b)), "always")

    return draw


def add(d):
    a, b = d.size("A"), d.size("B")
    if d.choice([False, True]):
        return Layer(nn.Add(1, True), d.array(d.shape("N A B")), batch="always")
    return Layer(nn.Add(a * b), d.array(d.shape("N A B")), d.array((2, a * b + 1)), "always")


def add_constant(d):
    constant = d.choice([1.5, np.linspace(-1, 1, d.size("A"))])
    broadcasts = isinstance(constant, float) or len(constant) == 1
    wrong = None if broadcasts else d.array((2, len(constant) + 1))
    return Layer(nn.AddConstant(constant), d.array(d.shape("N A")), wrong, "always")


def constant(d):
    module = nn.Constant(np.linspace(-1, 1, d.size("B")), 1)
    return Layer(module, d.array(d.shape("N A")), batch="always")


# Containers ---------------------------------------------------------------------------------------


def concat(d):
    n, m = d.size("N"), d.size("m")
    module = nn.Concat(d.choice([1, -1]), nn.Linear(m, 2), nn.Identity())
    return Layer(module, d.array((n, m)), d.array((n, m + 1)), "always")


def depth_concat(d):
    a = d.size("A", 3, 5)
    module = nn.DepthConcat(1, nn.Identity(), nn.Narrow(2, 0, 2), nn.Narrow(3, 0, 1))
    return Layer(module, d.array((*d.shape("N"), 2, a, a)), d.array((1, 2)), "always")


def parallel_table(d):
    n, m = d.size("N"), d.size("m")
    x = [d.array((n, m)), d.array((n, 2)), [d.array((n,)), d.array((n, 1))]]
    module = nn.ParallelTable(nn.Linear(m, 2), nn.Tanh(), nn.Identity())
    return Layer(module, x, x[:2], "always")


def parallel(d):
    n, m = d.size("N"), d.size("m")
    module = nn.Parallel(1, 1, nn.Linear(m, 2), nn.Linear(m, 3), nn.Identity())
    return Layer(module, d.array((n, 3, m)), d.array((n, 2, m)), "always")


def map_table(d):
    m = d.size("m")
    inner = nn.Sequential(nn.Linear(m, 2), nn.Tanh())
    x = [d.array((*d.shape("N"), m)) for _ in range(d.integer(1, 3))]
    module = nn.MapTable(inner, d.choice([True, True, False]))
    module.resize(len(x))
    return Layer(module, x, [*x, d.array((1, m + 1))], "always")


# Linear forms and looking up ----------------------------------------------------------------------


def linear_weight_norm(d):
    n_in, n_out = d.size("n_in"), d.size("n_out")
    module = nn.LinearWeightNorm(n_in, n_out, d.choice([True, False]))
    shape = d.shape("N")
    return Layer(module, d.array((*shape, n_in)), d.array((*shape, n_in + 1)), "always")


def bilinear(d):
    n, a, b = d.size("N"), d.size("A"), d.size("B")
    module = nn.Bilinear(a, b, d.size("n_out"), d.choice([True, False]))
    x = [d.array((n, a)), d.array((n, b))]
    return Layer(module, x, [x[0], d.array((n, b + 1))], "always")


def partial_linear(d):
    n_in, n_out = d.size("n_in"), d.size("n_out", 2, 4)
    module = nn.PartialLinear(n_in, n_out, d.choice([True, False]))
    if d.choice([True, False]):
        module.setPartition(d.integers((2,), 0, n_out))
    shape = d.shape("N")
    return Layer(module, d.array((*shape, n_in)), d.array((*shape, n_in + 1)), "always")


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


# Decorators ---------------------------------------------------------------------------------------


def decorated(make):
    def draw(d):
        n, m = d.size("N"), d.size("m")
        module = make(nn.Linear(m, d.size("n_out")).double())
        return Layer(module, d.array((n, m)), d.array((n, m + 1)), "always")

    return draw


def checkpointed(linear):
    return nn.Checkpoint(nn.Sequential(linear, nn.Tanh()))


def bottle(d):
    m = d.size("m")
    module = nn.Bottle(nn.Sequential(nn.Linear(m, 2), nn.LogSoftMax()))
    return Layer(module, d.array((*d.shape("N A? B?"), m)), d.array((2, 2, m + 1)), "always")


def weight_norm(d):
    module, x, wrong = d.choice([
        (nn.WeightNorm(nn.Linear(3, 2)), (3,), (4,)),
        (nn.WeightNorm(nn.Linear(3, 2), 1), (3,), (4,)),
        (nn.WeightNorm(nn.SpatialConvolution(2, 3, 2, 1)), (2, 3, 3), (1, 3, 3)),
    ])  # fmt: skip
    n = d.size("N")
    return Layer(module, d.array((n, *x)), d.array((n, *wrong)), "always")


# Distances ----------------------------------------------------------------------------------------


GUARDED = (nn.Euclidean, nn.WeightedEuclidean, nn.PairwiseDistance)  # by `small`, under the root


def unguarded(module):
    """With next to no guard, so that the gradient is the derivative; records have the usual one."""
    if isinstance(module, GUARDED):
        assert module.small, "the guard has another name"
        module.small = 1e-30
    return module


def centred(kind):

    def draw(d):
        n_in = d.size("n_in", 2, 4)
        shape = d.shape("N?")
        batch = "always" if shape else None
        module = unguarded(kind(n_in, d.size("n_out")))
        return Layer(module, d.array((*shape, n_in)), d.array((*shape, n_in + 1)), batch)

    return draw


def between(make):
    def draw(d):
        shape = (*d.shape("N?"), d.size("A", 2, 4))
        x = [d.array(shape), d.array(shape)]
        batch = "always" if len(shape) == 2 else None
        module = unguarded(make(d))
        return Layer(module, x, [x[0], d.array((*shape, 2))], batch)

    return draw


def normalize(d):
    shape = (*d.shape("N?"), d.size("A", 2, 4))
    module = nn.Normalize(d.choice([2, 1, 1.5, 3, 4, np.inf]), 1e-10)
    return Layer(module, d.array(shape), d.array((1, 1, 1)), "always" if len(shape) == 2 else None)


def kmeans(d):
    k, dim = d.size("k"), d.size("dim")
    x = d.array((d.size("N"), dim))
    return Layer(nn.Kmeans(k, dim, d.choice([None, 0.5])), x, d.array((2, dim + 1)))


# Normalization, noise, gradients ------------------------------------------------------------------


def layer_normalization(d):
    n = d.size("A", 2, 4)
    module = nn.LayerNormalization(n, 0.25, 1e-2, d.choice([True, False]))
    return Layer(module, d.array((*d.shape("N"), n)), d.array((1, 1, n)), "always")


def volumetric_normalization(d):
    features = d.size("C", 1, 3)
    module = nn.VolumetricBatchNormalization(features, 1e-2, 0.5, d.choice([True, False]))
    shape = (d.size("N", 1, 3), features, *d.shape("D H W"))
    wrong = d.array((shape[0], features + 1, *shape[2:]))
    return Layer(module, d.array(shape), wrong, "evaluate")


def map_dropout(kind, names):
    def draw(d):
        shape = d.shape(names)
        batch = "evaluate" if len(shape) == len(names.split()) else None
        return Layer(kind(d.choice([0.5, 0.25])), d.array(shape), d.array((2,)), batch)

    return draw


def white_noise(d):
    return Layer(nn.WhiteNoise(0.25, 0.5), d.array(d.shape("N A? B?")), batch="evaluate")


MODULES = {
    "Bilinear": bilinear,
    "Bottle": bottle,
    "Checkpoint": decorated(checkpointed),
    "Decorator": decorated(nn.Decorator),
    "DontCast": decorated(lambda module: nn.DontCast(module, True)),
    "GPU": decorated(nn.GPU),
    "NaN": decorated(lambda module: nn.NaN(module, 1)),
    "Profile": decorated(nn.Profile),
    "WeightNorm": weight_norm,
    "Cosine": centred(nn.Cosine),
    "CosineDistance": between(lambda _: nn.CosineDistance()),
    "DotProduct": between(lambda _: nn.DotProduct()),
    "Euclidean": centred(nn.Euclidean),
    "GradientReversal": anywhere(lambda d: nn.GradientReversal(d.choice([1, 0.5]))),
    "IndexLinear": index_linear,
    "Kmeans": kmeans,
    "L1Penalty": anywhere(lambda d: nn.L1Penalty(0.25, d.choice([True, False]))),
    "LayerNormalization": layer_normalization,
    "LinearWeightNorm": linear_weight_norm,
    "LookupTable": lookup_table,
    "Normalize": normalize,
    "OneHot": one_hot,
    "PairwiseDistance": between(lambda d: nn.PairwiseDistance(d.choice([2, 1, 1.5, 3]))),
    "PartialLinear": partial_linear,
    "PrintSize": anywhere(lambda _: nn.PrintSize("size")),
    "SparseLinear": sparse_linear,
    "SpatialDropout": map_dropout(nn.SpatialDropout, "N? C H W"),
    "VolumetricBatchNormalization": volumetric_normalization,
    "VolumetricDropout": map_dropout(nn.VolumetricDropout, "N? C T H W"),
    "WeightedEuclidean": centred(nn.WeightedEuclidean),
    "WhiteNoise": white_noise,
    "ZeroGrad": anywhere(lambda _: nn.ZeroGrad()),
    "Add": add,
    "AddConstant": add_constant,
    "CAdd": componentwise(nn.CAdd),
    "CAddTable": alike(lambda d: nn.CAddTable(d.choice([False, True])), 1, 3),
    "CAddTensorTable": add_tensor,
    "CDivTable": divided,
    "CMaxTable": alike(lambda _: nn.CMaxTable(), 1, 3),
    "CMinTable": alike(lambda _: nn.CMinTable(), 1, 3),
    "CMul": componentwise(nn.CMul),
    "CMulTable": alike(lambda _: nn.CMulTable(), 1, 3),
    "CSubTable": alike(lambda _: nn.CSubTable()),
    "Collapse": collapse,
    "Concat": concat,
    "Constant": constant,
    "Contiguous": anywhere(lambda _: nn.Contiguous()),
    "Convert": convert,
    "Copy": anywhere(lambda _: nn.Copy()),
    "CriterionTable": criterion_table,
    "DepthConcat": depth_concat,
    "FlattenTable": flatten_table,
    "Index": index,
    "JoinTable": join,
    "MM": matrices,
    "MV": matrix_vector,
    "MapTable": map_table,
    "MaskedSelect": masked_select,
    "Max": extremum(nn.Max),
    "Mean": mean,
    "Min": extremum(nn.Min),
    "MixtureTable": mixture,
    "Mul": anywhere(lambda _: nn.Mul()),
    "MulConstant": anywhere(lambda d: nn.MulConstant(d.choice([2.5, -1, 0]))),
    "Narrow": narrow,
    "NarrowTable": narrow_table,
    "Padding": padding,
    "Parallel": parallel,
    "ParallelTable": parallel_table,
    "Replicate": replicate,
    "Select": select,
    "SelectTable": select_table,
    "SplitTable": split,
    "Squeeze": squeeze,
    "Sum": total,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "ZipTable": zip_table,
    "ZipTableOneToMany": zip_one_to_many,
}

# Layers and primitives whose gradient is on purpose not the derivative of what they compute.
NOT_THE_DERIVATIVE = {
    "scale_gradient": "the gradient is multiplied on its way",
    "penalize_l1": "the gradient of a penalty is added that is not in the output",
    "nearest_centroid": "the rule is k-means' step; the output is a whole number",
    "GradientReversal": "the gradient is multiplied by -λ on its way",
    "ZeroGrad": "the gradient is 0",
    "L1Penalty": "the gradient of a penalty is added that is not in the output",
    "Kmeans": "the gradient is k-means' step; the output is a whole number",
}
LAWS_OF_DERIVATIVES = {
    True: ("its_gradients_are_the_derivatives", "its_second_derivatives_are_right"),
    False: ("its_gradient_is_the_derivative", "its_second_derivative_is_right"),
}
EXCEPTIONS = {
    (name, law): reason
    for name, reason in NOT_THE_DERIVATIVE.items()
    for law in LAWS_OF_DERIVATIVES[name[0].isupper()]
} | {
    ("penalize_l1", "its_gradient_is_linear_in_the_cotangent"): "the penalty has a gradient anyway",
    ("nearest_centroid", "its_gradient_is_linear_in_the_cotangent"): "the cotangent is not used",
    ("L1Penalty", "backward_is_linear_in_grad_output"): "the penalty has a gradient anyway",
    ("L1Penalty", "a_batch_is_its_samples_stacked"): "sizeAverage divides by the batch size",
    ("DontCast", "float32_agrees_with_float64"): "its parameters keep their dtype",
    ("DontCast", "conversion_to_float_and_back_keeps_structure"): "its parameters are not rounded",
    ("NaN", "nan_stays_nan"): "a NaN is an error there",
    ("SparseLinear", "nan_stays_nan"): "an index that is NaN is an error",
    **{
        ("SparseLinear", law): "it moves indices off the integers; tests/test_integers.py holds "
        "values over fixed indices to it"
        for law in MOVING_LAWS
    },
    ("WhiteNoise", "float32_agrees_with_float64"): "the two dtypes draw different numbers",
}
