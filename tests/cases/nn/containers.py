"""Examples for nn/containers/; see `cases`."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd.check import Layer


def sequential(d):
    n, k, m = d.size("N"), d.size("k"), d.size("m")
    middle = d.choice([nn.Tanh(), nn.BatchNormalization(k, 1e-2), nn.Dropout(0.25), nn.ReLU()])
    module = nn.Sequential().add(nn.Linear(m, k)).add(middle).add(nn.Linear(k, 2))
    return Layer(module, d.array((n, m)), d.array((n, m + 1)), "evaluate")


def concat_table(d):
    n, m = d.size("N"), d.size("m")
    module = nn.ConcatTable().add(nn.Linear(m, 2)).add(nn.Identity())
    if d.choice([True, False]):
        module.add(nn.Sequential().add(nn.Linear(m, 1)).add(nn.Sigmoid()))
    return Layer(module, d.array((n, m)), d.array((n, m + 1)), "always")


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


def bigdl_graph(d):
    """BigDL's order of layers, and entries of a list."""
    n, k, m = d.size("N"), d.size("k"), d.size("m")
    x = nn.Input("x")
    hidden = nn.Linear(m, k).setName("hidden").inputs(x)
    both = nn.ConcatTable().add(nn.Tanh()).add(nn.Sigmoid()).inputs(hidden)
    out = nn.CAddTable().inputs((both, 1), nn.Linear(k, k).setName("out").inputs((both, 0)))
    return Layer(nn.Graph(x, out), d.array((n, m)), d.array((n, m + 1)), "always")


def spectral_norm(d):
    n, m = d.size("N"), d.size("m")
    module = nn.SpectralNorm(nn.Linear(m, d.size("n_out")))
    return Layer(module, d.array((n, m)), d.array((n, m + 1)), "always")


MODULES = {
    "SpectralNorm": spectral_norm,
    "Bottle": bottle,
    "Checkpoint": decorated(checkpointed),
    "Concat": concat,
    "ConcatTable": concat_table,
    "Decorator": decorated(nn.Decorator),
    "DepthConcat": depth_concat,
    "DontCast": decorated(lambda module: nn.DontCast(module, True)),
    "GPU": decorated(nn.GPU),
    "Graph": bigdl_graph,
    "MapTable": map_table,
    "NaN": decorated(lambda module: nn.NaN(module, 1)),
    "Parallel": parallel,
    "ParallelTable": parallel_table,
    "Profile": decorated(nn.Profile),
    "Sequential": sequential,
    "WeightNorm": weight_norm,
    "gModule": graph,
}


EXCEPTIONS = {
    ("DontCast", "float32_agrees_with_float64"): "its parameters keep their dtype",
    ("DontCast", "conversion_to_float_and_back_keeps_structure"): (
        "its parameters are not rounded"
    ),
    ("NaN", "nan_stays_nan"): "a NaN is an error there",
}
