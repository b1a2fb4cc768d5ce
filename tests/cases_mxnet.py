"""How to draw a call of each operator of MXNet: attributes, and arrays by the names of inputs.

A case is a function of a `Draw` that returns (attributes, arrays).  Families that differ by a
function alone (elementwise, reductions) share one.  test_mxnet_laws.py fails for an operator
without a case.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np

from tapegrad.nn.mxnet.operators import (
    densities,
    drawing,
    elementwise,
    recurrent,
    unary,
)

CASES = {}


class Draw:
    """Draws of one example."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape):
        return self.rng.standard_normal(shape)

    def positive(self, *shape):
        return self.rng.uniform(0.2, 0.9, shape)

    def whole(self, high, *shape):
        return self.rng.integers(0, high, shape).astype(np.float64)

    def one_of(self, *values):
        return values[self.rng.integers(len(values))]

    def flag(self):
        return bool(self.rng.integers(2))

    def size(self):
        return int(self.rng.integers(2, 5))

    def boxes(self, *shape):
        corner = self.rng.uniform(0, 0.6, (*shape, 2))
        return np.concatenate([corner, corner + self.rng.uniform(0.1, 0.4, (*shape, 2))], -1)

    def symmetric(self, n, batch=2):
        x = self.normal(batch, n, n)
        return x @ x.swapaxes(-1, -2) + np.eye(n)


def case(*names):
    """Decorator: the case of these operators."""

    def enter(draw):
        for name in names:
            assert name not in CASES, f"{name} has two cases"
            CASES[name] = draw
        return draw

    return enter


# Families ----------------------------------------------------------------------------------------

ABOVE_1 = {"arccosh"}


def _sampled(names, d):
    return {"shape": d.one_of((), (2, 3))}, {key: d.positive(2) for key in names}


def _density(names, d):
    parameters = {key: d.positive(2) + (key == "high") for key in names}
    return {"is_log": d.flag()}, {"sample": d.positive(2, 3), **parameters}


def _multiplied(batch, d):
    arrays = {"lhs": d.normal(*batch, 3, 2), "rhs": d.normal(*batch, 3, 4)}
    return {"transpose_a": True, "transpose_b": False}, arrays


def _updated(states, more, d):
    arrays = {key: d.positive(3, 2) + (key == "n") for key in ("weight", "grad", *states)}
    return {"lr": 0.1, "wd": 0.01, **more}, arrays


for _name in unary.UNARY:
    CASES[_name] = lambda d, more=2 * (_name in ABOVE_1): (
        {},
        {"data": d.positive(3, d.size()) + more},
    )
for _word, (_name, _) in elementwise.ELEMENTWISE.items():
    CASES[_name] = lambda d: ({}, {"lhs": d.positive(3, 2), "rhs": d.positive(3, 2)})
    CASES[f"broadcast_{_word}"] = lambda d: (
        {},
        {"lhs": d.positive(*d.one_of((2, 1, 3), (3,))), "rhs": d.positive(2, 4, 3)},
    )
for _stem in elementwise.SCALAR | elementwise.REFLECTED:
    CASES[f"_{_stem}_scalar"] = lambda d: (
        {"scalar": d.one_of(2.0, 0.5, 3)},
        {"data": d.positive(3, 2)},
    )
for _name in ("sum", "mean", "prod", "max", "min", "nansum", "nanprod"):
    CASES[_name] = lambda d: (
        {"axis": d.one_of(None, 1, (0, 2), (-1,)), "keepdims": d.flag(), "exclude": d.flag()},
        {"data": d.normal(2, 3, 4)},
    )
for _word, (_, _parameters, _) in drawing.DISTRIBUTIONS.items():
    CASES[f"_random_{_word}"] = lambda d: ({"shape": (2, 3)}, {})
    CASES[f"_random_{_word}_like"] = lambda d: ({}, {"data": d.normal(2, 3)})
    CASES[f"_sample_{_word}"] = partial(
        _sampled, [{"loc": "mu", "scale": "sigma"}.get(key, key) for key in _parameters]
    )
for _word, (_names, _) in densities.DENSITIES.items():
    CASES[f"_random_pdf_{_word}"] = partial(_density, _names.split())

ALIKE = {
    "hard_sigmoid": {},
    "_copy": {},
    "BlockGrad": {},
    "_copyto": {},
    "make_loss": {},
    "zeros_like": {},
    "ones_like": {},
    "all_finite": {},
    "shape_array": {},
    "size_array": {},
    "argwhere": {},
    "_contrib_round_ste": {},
    "_contrib_sign_ste": {},
    "_contrib_gradientmultiplier": {"scalar": -0.5},
    "_contrib_quadratic": {"a": 2.0, "b": 1.0, "c": 3.0},
    "_contrib_div_sqrt_dim": {},
    "cast_storage": {"stype": "default"},
    "amp_cast": {"dtype": "float64"},
    "Cast": {"dtype": "float64"},
    "smooth_l1": {"scalar": 1.5},
    "clip": {"a_min": -0.5, "a_max": 0.5},
    "_shuffle": {},
    "Flatten": {},
    "argmax_channel": {},
    "transpose": {"axes": (1, 0)},
    "SwapAxis": {"dim1": 0, "dim2": 1},
    "expand_dims": {"axis": 1},
    "reverse": {"axis": (1,)},
    "tile": {"reps": (2, 1, 2)},
    "slice_axis": {"axis": 1, "begin": 1, "end": None},
}
for _name, _settings in ALIKE.items():
    CASES[_name] = lambda d, given=_settings: (given, {"data": d.normal(3, 4)})


CASES["diag"] = lambda d: (
    {"k": d.one_of(0, 1), "axis1": d.one_of(0, 1), "axis2": 2},
    {"data": d.normal(2, 3, 4)},
)
CASES["SoftmaxActivation"] = lambda d: (
    {"mode": d.one_of("channel", "instance")},
    {"data": d.normal(2, 3, 4)},
)
CASES["slice"] = lambda d: (
    {"begin": (0, None), "end": (2, -1), "step": d.one_of((), (1, 2))},
    {"data": d.normal(3, 5)},
)
CASES["_slice_assign_scalar"] = lambda d: (
    {"scalar": 2.0, "begin": (0, 1), "end": (2, 3), "step": d.one_of((), (2, 1))},
    {"data": d.normal(3, 4)},
)
CASES["Dropout"] = lambda d: (
    {"p": 0.5, "mode": "always", "axes": d.one_of((), (0,))},
    {"data": d.normal(3, 4)},
)
CASES["_contrib_index_array"] = lambda d: (
    {"axes": d.one_of(None, (1,))},
    {"data": d.normal(3, 4)},
)


@case("Activation")
def _(d):
    words = ("relu", "sigmoid", "softrelu", "softsign", "tanh")
    return {"act_type": d.one_of(*words)}, {"data": d.normal(2, 3)}


@case("LeakyReLU")
def _(d):
    act = d.one_of("elu", "gelu", "leaky", "prelu", "rrelu", "selu")
    gamma = {"gamma": d.positive(3)} if act == "prelu" else {}
    return {"act_type": act}, {"data": d.normal(2, 3, 2), **gamma}


@case("_identity_with_attr_like_rhs", "_grad_add")
def _(d):
    names = ("lhs", "rhs")
    return {}, {name: d.normal(3, 2) for name in names}


CASES["reshape_like"] = lambda d: d.one_of(
    ({}, {"lhs": d.normal(2, 6), "rhs": d.normal(3, 4)}),
    (
        {"lhs_begin": 1, "lhs_end": 2, "rhs_begin": 0, "rhs_end": 2},
        {"lhs": d.normal(2, 6), "rhs": d.normal(2, 3, 4)},
    ),
)
CASES["_contrib_allclose"] = lambda d: (
    {"equal_nan": d.flag()},
    {"a": d.normal(3), "b": d.normal(3)},
)


# Creation ----------------------------------------------------------------------------------------

CASES["_zeros"] = CASES["_ones"] = lambda d: ({"shape": (2, d.size())}, {})
CASES["_full"] = lambda d: ({"shape": (2,), "value": 1.5}, {})
CASES["_arange"] = lambda d: ({"start": 1, "stop": 4, "step": 0.5, "repeat": d.size()}, {})
CASES["_linspace"] = lambda d: ({"start": 0, "stop": 1, "num": 5, "endpoint": d.flag()}, {})
CASES["_eye"] = lambda d: ({"N": 3, "M": d.one_of(0, 4), "k": d.one_of(-1, 0, 1)}, {})
CASES["_random_randint"] = lambda d: ({"low": 2, "high": 5, "shape": (4,)}, {})
CASES["_contrib_arange_like"] = lambda d: (
    {"start": 1.0, "axis": d.one_of(None, 1), "repeat": d.one_of(1, 2)},
    {"data": d.normal(2, 3)},
)


@case("_sample_multinomial")
def _(d):
    return {"shape": d.one_of((), (3,)), "get_prob": d.flag()}, {"data": d.positive(2, 3)}


# Arranging ---------------------------------------------------------------------------------------


@case("Reshape")
def _(d):
    shape = d.one_of((0, -1), (-2,), (-3, 0), (0, -4, 1, -1, 0), (-1,))
    settings = d.one_of(
        {"shape": shape},
        {"shape": (-1, 0), "reverse": True},
        {"target_shape": (2, 0)},
        {"target_shape": (7, 0), "keep_highest": True},
    )
    return settings, {"data": d.normal(2, 3, 4)}


@case("Pad")
def _(d):
    return {
        "mode": d.one_of("constant", "edge", "reflect"),
        "pad_width": (0, 0, 0, 0, 1, 2, 2, 1),
        "constant_value": 0.5,
    }, {"data": d.normal(1, 2, 3, 4)}


CASES["squeeze"] = lambda d: ({"axis": d.one_of(None, 1)}, {"data": d.normal(2, 1, 3)})
CASES["repeat"] = lambda d: ({"repeats": 2, "axis": d.one_of(None, 1)}, {"data": d.normal(2, 3)})
CASES["slice_like"] = lambda d: (
    {"axes": d.one_of((), (1,))},
    {"data": d.normal(3, 4), "shape_like": d.normal(2, 3)},
)
CASES["stack"] = lambda d: (
    {"axis": d.one_of(0, 1, -1), "num_args": 3},
    {f"arg{i}": d.normal(2, 3) for i in range(3)},
)
CASES["Concat"] = CASES["_rnn_param_concat"] = lambda d: (
    {"dim": 1, "num_args": 2},
    {"arg0": d.normal(2, 3), "arg1": d.normal(2, d.size())},
)
CASES["add_n"] = lambda d: ({"num_args": 3}, {f"arg{i}": d.normal(2, 3) for i in range(3)})
CASES["SliceChannel"] = lambda d: (
    {"num_outputs": d.one_of(1, 2, 4), "axis": 1, "squeeze_axis": d.flag()},
    {"data": d.normal(2, 4, 3)},
)
CASES["_split_v2"] = lambda d: (
    {
        **d.one_of({"sections": 2}, {"indices": (0, 1, 3)}, {"sections": 4, "squeeze_axis": True}),
        "axis": 1,
    },
    {"data": d.normal(2, 4)},
)
CASES["Crop"] = lambda d: d.one_of(_crop_to(d), _crop_like(d))


def _crop_to(d):
    return {"num_args": 1, "h_w": (2, 3)}, {"arg0": d.normal(1, 2, 4, 5)}


def _crop_like(d):
    settings = {"num_args": 2, "offset": (1, 0), "center_crop": d.flag()}
    return settings, {"arg0": d.normal(1, 2, 4, 5), "arg1": d.normal(1, 1, 2, 3)}


CASES["depth_to_space"] = lambda d: ({"block_size": 2}, {"data": d.normal(1, 8, 2, 3)})
CASES["space_to_depth"] = lambda d: ({"block_size": 2}, {"data": d.normal(1, 2, 4, 6)})
CASES["broadcast_to"] = lambda d: ({"shape": (0, 3)}, {"data": d.normal(2, 1)})
CASES["broadcast_axis"] = lambda d: ({"axis": (1,), "size": (3,)}, {"data": d.normal(2, 1)})
CASES["broadcast_like"] = lambda d: d.one_of(
    ({}, {"lhs": d.normal(2, 1), "rhs": d.normal(2, 3)}),
    (
        {"lhs_axes": (1,), "rhs_axes": (0,)},
        {"lhs": d.normal(2, 1), "rhs": d.normal(3, 4)},
    ),
)
CASES["_np_cumsum"] = lambda d: ({"axis": d.one_of(None, 0, 1)}, {"data": d.normal(2, 3)})
CASES["amp_multicast"] = lambda d: (
    {"num_outputs": 2, "cast_narrow": d.flag()},
    {"data_0": d.normal(2), "data_1": d.normal(3)},
)
CASES["_slice_assign"] = lambda d: (
    *d.one_of(
        ({"begin": (0, 1), "end": (2, 3)}, {"lhs": d.normal(3, 4), "rhs": d.normal(2, 2)}),
        (
            {"begin": (0, 1), "end": (3, 2), "step": (2, 1)},
            {"lhs": d.normal(3, 4), "rhs": d.normal(2, 1)},
        ),
    ),
)
CASES["_image_to_tensor"] = lambda d: ({}, {"data": d.whole(255, 4, 5, 3)})
CASES["_image_normalize"] = lambda d: (
    {"mean": (0.1, 0.2, 0.3), "std": (1.0, 2.0, 3.0)},
    {"data": d.normal(3, 4, 5)},
)
CASES["_image_random_flip_left_right"] = CASES["_image_random_flip_top_bottom"] = lambda d: (
    {},
    {"data": d.normal(2, 3, 4)},
)
for _name in ("brightness", "contrast", "saturation", "hue"):
    CASES[f"_image_random_{_name}"] = lambda d: (
        {"min_factor": 0.25, "max_factor": 0.75},
        {"data": 255 * d.positive(3, 4, d.one_of(3, 3, 1))},
    )
CASES["_image_random_color_jitter"] = lambda d: (
    {key: d.one_of(0.0, 0.5, 0.5, 0.5) for key in ("brightness", "contrast", "saturation", "hue")},
    {"data": 255 * d.positive(2, 3, 4, 3)},
)
CASES["_image_adjust_lighting"] = lambda d: (
    {"alpha": (0.1, -0.2, 0.05)},
    {"data": 255 * d.positive(3, 4, 3)},
)
CASES["_image_random_lighting"] = lambda d: ({}, {"data": 255 * d.positive(3, 4, 3)})
CASES["_image_resize"] = lambda d: (
    {"size": d.one_of((5,), (2, 6)), "keep_ratio": d.flag(), "interp": d.one_of(0, 1, 2, 3)},
    {"data": d.normal(*d.one_of((2,), ()), 3, 4, 2)},
)
CASES["_cvimresize"] = lambda d: (
    {"w": 5, "h": 2, "interp": d.one_of(0, 1, 2)},
    {"src": d.normal(3, 4, 2)},
)
CASES["_image_crop"] = lambda d: (
    {"x": 1, "y": 0, "width": 2, "height": 3},
    {"data": d.normal(4, 5, 3)},
)
CASES["_image_flip_left_right"] = CASES["_image_flip_top_bottom"] = lambda d: (
    {},
    {"data": d.normal(4, 5, 3)},
)


# Choosing ----------------------------------------------------------------------------------------


@case("take")
def _(d):
    axis = d.one_of(0, 1, -1)
    settings = {"axis": axis, "mode": d.one_of("clip", "wrap", "raise")}
    high = 2 if settings["mode"] == "raise" else 6
    return settings, {"a": d.normal(3, 2, 2), "indices": d.whole(high, 2, 3)}


CASES["batch_take"] = lambda d: ({}, {"a": d.normal(3, 4), "indices": d.whole(4, 3)})
CASES["pick"] = lambda d: (
    {"axis": 1, "keepdims": d.flag(), "mode": d.one_of("clip", "wrap")},
    {"data": d.normal(3, 4), "index": d.whole(6, 3)},
)
CASES["one_hot"] = lambda d: ({"depth": 4, "on_value": 2.0}, {"indices": d.whole(5, 2, 3)})
CASES["gather_nd"] = lambda d: (
    {},
    {"data": d.normal(3, 4, 2), "indices": d.whole(3, 2, 5)},
)
CASES["scatter_nd"] = lambda d: (
    {"shape": (3, 4)},
    {"data": d.normal(5), "indices": d.whole(3, 2, 5)},
)
CASES["_scatter_set_nd"] = lambda d: (
    {"shape": (3, 4)},
    {
        "lhs": d.normal(3, 4),
        "rhs": d.normal(3),
        "indices": np.array([[0.0, 1, 2], d.rng.permutation(3)]),
    },
)
CASES["_contrib_index_copy"] = lambda d: (
    {},
    {
        "old_tensor": d.normal(4, 2),
        "index_vector": d.rng.permutation(4)[:2].astype(float),
        "new_tensor": d.normal(2, 2),
    },
)
CASES["fill_element_0index"] = lambda d: (
    {},
    {"lhs": d.normal(3, 4), "mhs": d.normal(3), "rhs": d.whole(4, 3)},
)
CASES["_sparse_retain"] = lambda d: ({}, {"data": d.normal(4, 2), "indices": d.whole(4, 2)})
CASES["_contrib_boolean_mask"] = lambda d: (
    {"axis": 0},
    {"data": d.normal(3, 2), "index": np.array([1.0, 0, 2])},
)
CASES["_histogram"] = lambda d: (
    {"bin_cnt": 4, "range": (-1.0, 1.0)},
    {"data": d.normal(10)},
)
CASES["_ravel_multi_index"] = lambda d: ({"shape": (3, 4)}, {"data": d.whole(3, 2, 5)})
CASES["_unravel_index"] = lambda d: ({"shape": (3, 4)}, {"data": d.whole(12, 5)})


@case("where")
def _(d):
    rows = d.flag()
    condition = d.whole(2, 3) if rows else d.whole(2, 3, 2)
    return {}, {"condition": condition, "x": d.normal(3, 2), "y": d.normal(3, 2)}


@case("SequenceMask", "SequenceLast", "SequenceReverse")
def _(d):
    axis, given = d.one_of(0, 1), d.flag()
    lengths = {"sequence_length": d.whole(3, 4 if axis == 0 else 3) + 1} if given else {}
    return {"axis": axis, "use_sequence_length": given}, {"data": d.normal(3, 4, 2), **lengths}


# Reductions, orders, products --------------------------------------------------------------------

CASES["norm"] = lambda d: (
    {"ord": d.one_of(1, 2), "axis": d.one_of(None, 1), "keepdims": d.flag()},
    {"data": d.normal(2, 3)},
)
CASES["moments"] = lambda d: (
    {"axes": d.one_of(None, (0,), (0, 1)), "keepdims": d.flag()},
    {"data": d.normal(2, 3)},
)
CASES["argmax"] = CASES["argmin"] = lambda d: (
    {"axis": d.one_of(None, 0, 1), "keepdims": d.flag()},
    {"data": d.normal(2, 3)},
)
CASES["sort"] = CASES["argsort"] = lambda d: (
    {"axis": d.one_of(None, 0, -1), "is_ascend": d.flag()},
    {"data": d.normal(3, 4)},
)
CASES["topk"] = lambda d: (
    {
        "axis": d.one_of(None, 0, -1),
        "k": 2,
        "ret_typ": d.one_of("both", "indices", "mask", "value"),
        "is_ascend": d.flag(),
    },
    {"data": d.normal(3, 4)},
)
CASES["dot"], CASES["batch_dot"] = partial(_multiplied, ()), partial(_multiplied, (2,))
CASES["khatri_rao"] = lambda d: (
    {"num_args": 2},
    {"arg0": d.normal(2, 3), "arg1": d.normal(4, 3)},
)
CASES["multi_all_finite"] = CASES["multi_sum_sq"] = lambda d: (
    {"num_arrays": 2},
    {"arg0": d.normal(2), "arg1": d.normal(3)},
)


@case("softmax", "log_softmax", "softmin")
def _(d):
    lengths = d.flag()
    more = {"length": d.whole(3, 2, 3) + 1} if lengths else {}
    settings = {"axis": -1 if lengths else d.one_of(-1, 1), "temperature": d.one_of(None, 2.0)}
    return {**settings, "use_length": lengths}, {"data": d.normal(2, 3, 4), **more}


# linalg ------------------------------------------------------------------------------------------


def _product(third, d):
    across, rows_first = d.flag(), d.flag()
    pair = [d.normal(2, 3, 2), d.normal(2, 4, 3) if across else d.normal(2, 3, 4)]
    arrays = dict(zip("AB", pair, strict=True)) | ({"C": d.normal(2, 2, 4)} if third else {})
    if rows_first:
        arrays = {key: np.moveaxis(x, -2, 0) for key, x in arrays.items()}
    settings = {"transpose_a": True, "transpose_b": across, "axis": 0 if rows_first else -2}
    return settings, arrays


for _name in ("_linalg_gemm", "_linalg_gemm2"):
    CASES[_name] = partial(_product, _name == "_linalg_gemm")
CASES["_linalg_syrk"] = lambda d: ({"transpose": d.flag()}, {"A": d.normal(2, 3, 2)})
for _name in ("_linalg_trmm", "_linalg_trsm"):
    CASES[_name] = lambda d: (
        {"transpose": d.flag(), "rightside": d.flag(), "lower": d.flag(), "alpha": 2.0},
        {"A": d.normal(2, 3, 3) + 3 * np.eye(3), "B": d.normal(2, 3, 3)},
    )
CASES["_linalg_potrf"] = lambda d: ({"lower": d.flag()}, {"A": d.symmetric(3)})
CASES["_linalg_potri"] = lambda d: (
    {"lower": d.flag()},
    {"A": d.normal(2, 3, 3) + 3 * np.eye(3)},
)
CASES["_linalg_sumlogdiag"] = lambda d: ({}, {"A": d.positive(2, 3, 3)})
CASES["_linalg_extractdiag"] = lambda d: ({"offset": d.one_of(-1, 0, 1)}, {"A": d.normal(2, 3, 3)})
CASES["_linalg_makediag"] = lambda d: ({"offset": d.one_of(-1, 0, 1)}, {"A": d.normal(2, 3)})
CASES["_linalg_extracttrian"] = lambda d: (
    {"offset": d.one_of(-1, 0, 1), "lower": d.flag()},
    {"A": d.normal(2, 3, 3)},
)
CASES["_linalg_maketrian"] = lambda d: (
    {"offset": d.one_of(-1, 0, 1), "lower": d.flag()},
    {"A": d.normal(2, 6)},
)
CASES["_linalg_gelqf"] = lambda d: ({}, {"A": d.normal(2, 2, 3)})
CASES["_linalg_syevd"] = lambda d: ({}, {"A": d.symmetric(3)})
for _name in ("_linalg_inverse", "_linalg_det", "_linalg_slogdet"):
    CASES[_name] = lambda d: ({}, {"A": d.normal(2, 3, 3) + 2 * np.eye(3)})


@case("_random_pdf_dirichlet")
def _(d):
    sample = d.positive(2, 4, 3)
    return {"is_log": d.flag()}, {"sample": sample, "alpha": d.positive(2, 3)}


# Layers ------------------------------------------------------------------------------------------


@case("FullyConnected")
def _(d):
    flat, bias = d.flag(), d.flag()
    wide = 12 if flat else 4
    more = {"bias": d.normal(2)} if bias else {}
    settings = {"num_hidden": 2, "flatten": flat, "no_bias": not bias}
    return settings, {"data": d.normal(2, 3, 4), "weight": d.normal(2, wide), **more}


@case("Embedding")
def _(d):
    return {"input_dim": 4, "output_dim": 3}, {"data": d.whole(5, 2, 2), "weight": d.normal(4, 3)}


@case("Convolution", "Convolution_v1")
def _(d):
    rank, groups = d.one_of(1, 2, 3), d.one_of(1, 2)
    settings = {
        "kernel": (2,) * rank,
        "num_filter": 4,
        "num_group": groups,
        "stride": (d.one_of(1, 2),) * rank,
        "pad": (d.one_of(0, 1),) * rank,
        "dilate": (d.one_of(1, 2),) * rank,
    }
    weight = d.normal(4, 2 // groups, *(2,) * rank)
    data = d.normal(2, 2, *(4,) * rank)
    bias = {"bias": d.normal(4)} if d.flag() else {}
    return {**settings, "no_bias": not bias}, {"data": data, "weight": weight, **bias}


@case("Deconvolution")
def _(d):
    rank, groups = d.one_of(1, 2, 3), d.one_of(1, 2)
    settings = {
        "kernel": (3,) * rank,
        "num_filter": 4,
        "num_group": groups,
        "stride": (2,) * rank,
        "pad": (1,) * rank,
        "no_bias": True,
        **d.one_of(
            {"adj": (d.one_of(0, 1),) * rank, "dilate": (d.one_of(1, 2),) * rank},
            {"target_shape": (6,) * rank},
        ),
    }
    weight = d.normal(2, 4 // groups, *(3,) * rank)
    return settings, {"data": d.normal(1, 2, *(3,) * rank), "weight": weight}


@case("Pooling")
def _(d):
    rank = d.one_of(1, 2, 3)
    settings = {
        "kernel": (2,) * rank,
        "pool_type": d.one_of("avg", "lp", "max", "sum"),
        "stride": (d.one_of(1, 2),) * rank,
        "pad": (d.one_of(0, 1),) * rank,
        "pooling_convention": d.one_of("full", "valid"),
        "p_value": 2,
        "count_include_pad": d.one_of(True, False),
        "global_pool": d.one_of(False, False, True),
    }
    return settings, {"data": d.normal(1, 2, *(5,) * rank)}


@case("Pooling_v1")
def _(d):
    settings, arrays = CASES["Pooling"](d)
    known = ("kernel", "stride", "pad", "pooling_convention", "global_pool")
    return {**{k: settings[k] for k in known}, "pool_type": d.one_of("avg", "max", "sum")}, arrays


@case("UpSampling")
def _(d):
    if d.flag():
        settings = {"scale": 2, "sample_type": "bilinear", "num_filter": 2, "num_args": 2}
        return settings, {"data": d.normal(1, 2, 3, 3), "weight": d.normal(2, 1, 4, 4)}
    mode = d.one_of("concat", "sum")
    settings = {"scale": 2, "sample_type": "nearest", "num_args": 2, "multi_input_mode": mode}
    return settings, {"arg0": d.normal(1, 2, 4, 4), "arg1": d.normal(1, 2, 2, 2)}


@case("BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm")
def _(d):
    settings = {
        "fix_gamma": d.flag(),
        "use_global_stats": d.one_of(False, False, True),
        "output_mean_var": d.flag(),
    }
    return settings, {
        "data": d.normal(4, 3, 2),
        "gamma": d.positive(3),
        "beta": d.normal(3),
        "moving_mean": d.normal(3),
        "moving_var": d.positive(3),
    }


CASES["BatchNorm"] = lambda d, draw=CASES["BatchNorm"]: _on_axis(d.one_of(1, -1), *draw(d))


def _on_axis(axis, settings, arrays):
    data = np.moveaxis(arrays["data"], 1, axis)
    return {**settings, "axis": axis}, {**arrays, "data": data}


CASES["_contrib_SyncBatchNorm"] = lambda d, draw=CASES["BatchNorm_v1"]: (
    {**draw(d)[0], "key": "a"},
    draw(d)[1],
)
CASES["InstanceNorm"] = lambda d: (
    {},
    {"data": d.normal(2, 3, 4), "gamma": d.positive(3), "beta": d.normal(3)},
)
CASES["LayerNorm"] = lambda d: (
    {"axis": -1, "output_mean_var": d.flag()},
    {"data": d.normal(2, 4), "gamma": d.positive(4), "beta": d.normal(4)},
)
CASES["GroupNorm"] = lambda d: (
    {"num_groups": 2, "output_mean_var": d.flag()},
    {"data": d.normal(2, 4, 3), "gamma": d.positive(2), "beta": d.normal(2)},
)
CASES["L2Normalization"] = lambda d: (
    {"mode": d.one_of("channel", "instance", "spatial")},
    {"data": d.normal(2, 3, 4)},
)
CASES["LRN"] = lambda d: ({"nsize": 3, "alpha": 0.1}, {"data": d.normal(1, 4, 2, 2)})
CASES["IdentityAttachKLSparseReg"] = lambda d: (
    {},
    {"data": d.positive(4, 3), "moving_avg": d.positive(3)},
)


@case("RNN")
def _(d):
    mode, both = d.one_of(*recurrent.GATES), d.flag()
    ways = 1 + both
    lengths = d.flag()
    settings = {
        "mode": mode,
        "state_size": 2,
        "num_layers": 2,
        "bidirectional": both,
        "state_outputs": d.flag(),
        "use_sequence_length": lengths,
        "projection_size": d.one_of(None, 1) if mode == "lstm" else None,
    }
    if mode == "lstm" and d.flag():
        settings |= {"lstm_state_clip_min": -0.4, "lstm_state_clip_max": 0.3}
    size = recurrent.parameter_count(SimpleNamespace(**settings), 3)
    return settings, {
        "data": d.normal(3, 2, 3),
        "parameters": 0.5 * d.normal(size),
        "state": d.normal(2 * ways, 2, settings["projection_size"] or 2),
        **({"state_cell": d.normal(2 * ways, 2, 2)} if mode == "lstm" else {}),
        **({"sequence_length": d.whole(3, 2) + 1} if lengths else {}),
    }


# Losses ------------------------------------------------------------------------------------------


@case("SoftmaxOutput")
def _(d):
    multi = d.flag()
    settings = {
        "grad_scale": d.one_of(1.0, 2.0),
        "multi_output": multi,
        "use_ignore": d.flag(),
        "ignore_label": 0.0,
        "normalization": d.one_of("batch", "null", "valid"),
    }
    if multi:
        return settings, {"data": d.normal(2, 3, 4), "label": d.whole(3, 2, 4)}
    if d.flag():
        kept = {**settings, "preserve_shape": True}
        return kept, {"data": d.normal(2, 4, 3), "label": d.whole(3, 2, 4)}
    return settings, {"data": d.normal(4, 3), "label": d.whole(3, 4)}


@case("LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput")
def _(d):
    return {"grad_scale": 2.0}, {"data": d.normal(4, 3), "label": d.normal(4, 3)}


CASES["SVMOutput"] = lambda d: (
    {"use_linear": d.flag()},
    {"data": d.normal(4, 3), "label": d.whole(3, 4)},
)
CASES["MakeLoss"] = lambda d: (
    {"grad_scale": 2.0, "normalization": d.one_of("batch", "null", "valid")},
    {"data": d.normal(4, 3)},
)
CASES["softmax_cross_entropy"] = lambda d: ({}, {"data": d.normal(4, 3), "label": d.whole(3, 4)})


@case("CTCLoss")
def _(d):
    first, lengths = d.flag(), d.flag()
    settings = {
        "blank_label": "first" if first else "last",
        "use_data_lengths": lengths,
        "use_label_lengths": lengths,
    }
    more = {"data_lengths": np.array([5.0, 6]), "label_lengths": np.array([2.0, 1])}
    return settings, {
        "data": d.normal(6, 2, 4),
        "label": d.whole(3, 2, 2) + first,
        **(more if lengths else {}),
    }


# Images, regions, boxes --------------------------------------------------------------------------

CASES["GridGenerator"] = lambda d: d.one_of(
    ({"transform_type": "affine", "target_shape": (3, 4)}, {"data": d.normal(2, 6)}),
    ({"transform_type": "warp"}, {"data": d.normal(2, 2, 3, 4)}),
)
CASES["BilinearSampler"] = lambda d: (
    {},
    {"data": d.normal(2, 3, 4, 5), "grid": 0.9 * d.normal(2, 2, 3, 2)},
)
CASES["SpatialTransformer"] = lambda d: (
    {"transform_type": "affine", "sampler_type": "bilinear", "target_shape": (3, 2)},
    {"data": d.normal(2, 3, 4, 5), "loc": 0.5 * d.normal(2, 6)},
)


@case("_contrib_BilinearResize2D")
def _(d):
    mode = d.one_of("like", "odd_scale", "size", "to_even_down", "to_even_up", "to_odd_up")
    like = {"like": d.normal(1, 1, 6, 2)} if mode == "like" else {}
    settings = {"mode": mode, "align_corners": d.flag()}
    if mode == "size":
        settings |= {"height": 5, "width": 3}
    if mode in ("size", "odd_scale") and d.flag():
        settings |= {"scale_height": 1.5, "scale_width": 0.8}
    return settings, {"data": d.normal(2, 3, 4, 5), **like}


CASES["_contrib_AdaptiveAvgPooling2D"] = lambda d: (
    {"output_size": d.one_of((), (2,), (2, 3))},
    {"data": d.normal(2, 3, 5, 4)},
)
CASES["Correlation"] = lambda d: (
    {
        "kernel_size": d.one_of(1, 3),
        "max_displacement": 1,
        "pad_size": 2,
        "is_multiply": d.flag(),
        "stride1": d.one_of(1, 2),
        "stride2": d.one_of(1, 2),
    },
    {"data1": d.normal(1, 2, 4, 5), "data2": d.normal(1, 2, 4, 5)},
)


def _rois(d):
    corner = d.rng.uniform(0, 4, (3, 2))
    size = d.rng.uniform(1, 6, (3, 2))
    return np.concatenate([d.whole(2, 3, 1), corner, corner + size], 1)


CASES["ROIPooling"] = lambda d: (
    {"pooled_size": (2, 3), "spatial_scale": 0.5},
    {"data": d.normal(2, 2, 6, 6), "rois": _rois(d)},
)


@case("_contrib_ROIAlign")
def _(d):
    settings = {
        "pooled_size": (2, 2),
        "spatial_scale": 0.5,
        "sample_ratio": d.one_of(-1, 2),
        "position_sensitive": d.flag(),
        "aligned": d.flag(),
    }
    return settings, {"data": d.normal(2, 4, 6, 6), "rois": _rois(d)}


@case("_contrib_DeformableConvolution")
def _(d):
    settings = {
        "kernel": (2, 2),
        "num_filter": 4,
        "num_group": 2,
        "num_deformable_group": d.one_of(1, 2),
        "pad": (1, 1),
        **d.one_of({"stride": (2, 1), "dilate": (1, 1)}, {"stride": (1, 1), "dilate": (1, 1)}),
    }
    groups, high = settings["num_deformable_group"], 3 if settings["stride"] == (2, 1) else 5
    bias = {"bias": d.normal(4)} if d.flag() else {}
    return {**settings, "no_bias": not bias}, {
        "data": d.normal(2, 4, 4, 3),
        "offset": 0.7 * d.normal(2, 8 * groups, high, 4),
        "weight": d.normal(4, 2, 2, 2),
        **bias,
    }


CASES["_contrib_MultiBoxPrior"] = lambda d: (
    {
        "sizes": (0.5, 0.25),
        "ratios": (1.0, 2.0),
        "clip": d.flag(),
        **d.one_of({}, {"steps": (0.3, 0.2), "offsets": (0.4, 0.6)}),
    },
    {"data": d.normal(1, 2, 3, 4)},
)


@case("_contrib_MultiBoxTarget")
def _(d):
    labels = np.concatenate([d.whole(3, 2, 3, 1), d.boxes(2, 3)], 2)
    labels[1, 2] = -1
    variances = d.one_of((0.1, 0.1, 0.2, 0.2), (0.2, 0.3, 0.4, 0.5))
    settings = {"negative_mining_ratio": d.one_of(-1.0, 2.0), "variances": variances}
    return {**settings, "overlap_threshold": 0.3}, {
        "anchor": d.boxes(1, 8),
        "label": labels,
        "cls_pred": d.normal(2, 4, 8),
    }


@case("_contrib_MultiBoxDetection")
def _(d):
    settings = {"background_id": d.one_of(0, 1), "clip": d.flag(), "threshold": 0.3}
    settings["variances"] = d.one_of((0.1, 0.1, 0.2, 0.2), (0.2, 0.3, 0.4, 0.5))
    return {**settings, "nms_topk": d.one_of(-1, 3), "force_suppress": d.flag()}, {
        "cls_prob": d.positive(2, 3, 8),
        "loc_pred": d.normal(2, 32),
        "anchor": d.boxes(1, 8),
    }


@case("_contrib_box_nms")
def _(d):
    rows = np.concatenate([d.whole(2, 2, 6, 1), d.positive(2, 6, 1), d.boxes(2, 6)], 2)
    formats = ("corner", "center")
    settings = {
        "overlap_thresh": 0.3,
        # a class that a difference quotient moves is another class
        **d.one_of({"id_index": 0, "force_suppress": True}, {"id_index": -1}),
        "background_id": d.one_of(-1, 5),
        "topk": d.one_of(-1, 4),
        "in_format": d.one_of(*formats),
        "out_format": d.one_of(*formats),
    }
    if d.flag():  # the class and the score behind the box
        moved = {"coord_start": 0, "score_index": 5}
        index = {"id_index": 4} if settings["id_index"] == 0 else {}
        return {**settings, **moved, **index}, {"data": np.roll(rows, -2, axis=2)}
    return settings, {"data": rows}


CASES["_contrib_box_iou"] = lambda d: (
    {"format": d.one_of("corner", "center")},
    {"lhs": d.boxes(2, 3), "rhs": d.boxes(4)},
)


@case("_contrib_Proposal", "_contrib_MultiProposal")
def _(d):
    settings = {
        "rpn_pre_nms_top_n": 12,
        "rpn_post_nms_top_n": 5,
        "rpn_min_size": 4,
        "scales": (1.0, 2.0),
        "ratios": (0.5, 1.0),
        "feature_stride": 8,
        "output_score": d.flag(),
        "iou_loss": d.flag(),
    }
    return settings, {
        "cls_prob": d.positive(1, 8, 3, 4),
        "bbox_pred": 0.1 * d.normal(1, 16, 3, 4),
        "im_info": np.array([[24.0, 32.0, 1.0]]),
    }


_PATCHES = {"kernel": (2, 3), "stride": (1, 2), "pad": (1, 1), "dilate": (2, 1)}
CASES["im2col"] = lambda d: (_PATCHES, {"data": d.normal(2, 3, 4, 5)})
CASES["col2im"] = lambda d: ({**_PATCHES, "output_size": (4, 5)}, {"data": d.normal(2, 18, 12)})
for _kind, _parts in (("selfatt", 3), ("encdec", 2)):
    _name = "queries_keys_values" if _parts == 3 else "keys_values"
    CASES[f"_contrib_interleaved_matmul_{_kind}_valatt"] = lambda d, k=_parts, name=_name: (
        {"heads": 2},
        {name: d.normal(3, 2, 2 * k * 2), "attention": d.normal(4, 3, 3)},
    )
CASES["_contrib_interleaved_matmul_selfatt_qk"] = lambda d: (
    {"heads": 2},
    {"queries_keys_values": d.normal(3, 2, 12)},
)
CASES["_contrib_interleaved_matmul_encdec_qk"] = lambda d: (
    {"heads": 2},
    {"queries": d.normal(3, 2, 4), "keys_values": d.normal(5, 2, 8)},
)

# Quantized arrays --------------------------------------------------------------------------------


def _range_of(d, *names):
    """The ends of ranges, (1,) each."""
    return {
        f"{end}_{name}": sign * d.positive(1)
        for name in names
        for end, sign in (("min", -1), ("max", 1))
    }


def _steps(d, *shape, unsigned=False):
    low, high, kind = (0, 256, np.uint8) if unsigned else (-127, 128, np.int8)
    return d.rng.integers(low, high, shape).astype(kind)


def _calibration(d):
    if d.flag():
        return {}
    return {"min_calib_range": d.one_of(0.0, -0.5), "max_calib_range": 0.75}


@case("_contrib_quantize")
def _(d):
    return {"out_type": d.one_of("int8", "uint8")}, {
        "data": d.normal(2, 3),
        **_range_of(d, "range"),
    }


@case("_contrib_quantize_v2")
def _(d):
    return {"out_type": d.one_of("auto", "int8", "uint8"), **_calibration(d)}, {
        "data": d.normal(2, 3)
    }


@case("_contrib_dequantize")
def _(d):
    return {"out_type": "float32"}, {
        "data": _steps(d, 2, 3, unsigned=d.flag()),
        **_range_of(d, "range"),
    }


@case("_contrib_requantize")
def _(d):
    return {"out_type": d.one_of("auto", "int8", "uint8"), **_calibration(d)}, {
        "data": d.rng.integers(-(2**31), 2**31, (2, 3)).astype(np.int32),
        **_range_of(d, "range"),
    }


def _quantized_layer(settings, data, weight, d):
    no_bias = d.flag()
    own = {"data": _steps(d, *data, unsigned=d.flag()), "weight": _steps(d, *weight)}
    if not no_bias:
        own["bias"] = _steps(d, weight[0])
    return {**settings, "no_bias": no_bias}, {**own, **_range_of(d, *own)}


CASES["_contrib_quantized_conv"] = partial(
    _quantized_layer,
    {"kernel": (2, 3), "num_filter": 4, "stride": (1, 2), "pad": (1, 0), "dilate": (1, 1),
     "num_group": 1},
    (2, 3, 4, 5),
    (4, 3, 2, 3),
)  # fmt: skip
CASES["_contrib_quantized_fully_connected"] = partial(
    _quantized_layer, {"num_hidden": 3, "flatten": True}, (2, 2, 3), (3, 6)
)


@case("_contrib_quantized_pooling")
def _(d):
    settings, arrays = CASES["Pooling"](d)
    settings = {**settings, "pool_type": d.one_of("avg", "max")}
    steps = _steps(d, *arrays["data"].shape, unsigned=d.flag())
    return settings, {"data": steps, **_range_of(d, "data")}


@case("_contrib_quantized_flatten")
def _(d):
    return {}, {"data": _steps(d, 2, 3, 2, unsigned=d.flag()), **_range_of(d, "data")}


CASES["_contrib_quantized_act"] = lambda d: (
    {"act_type": "relu"},
    CASES["_contrib_quantized_flatten"](d)[1],
)


# Updates -----------------------------------------------------------------------------------------

_UPDATES = {
    "sgd_update": "",
    "sgd_mom_update": "mom",
    "mp_sgd_update": "weight32",
    "mp_sgd_mom_update": "mom weight32",
    "nag_mom_update": "mom",
    "adam_update": "mean var",
    "rmsprop_update": "n",
    "rmspropalex_update": "n g delta",
    "ftrl_update": "z n",
    "signsgd_update": "",
    "signum_update": "mom",
    "ftml_update": "d v z",
}
for _name, _states in _UPDATES.items():
    _more = {"t": 3} if _name == "ftml_update" else {}
    CASES[_name] = partial(_updated, _states.split(), _more)
