"""How to draw an example of each operation, module, criterion and optimizer, for the laws.

One entry per name.  The laws find their subjects by themselves (the primitive registry, `__all__`
of nn and optim): a subject without a case, here or of its own (`law_case`), fails the suite, and so
does a case whose subject is gone.  An entry asks its `Draws` for shapes and options; arrays come
from the example's seed.
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import numpy as np

from tapegrad import nn, optim
from tapegrad.autograd import ops, primitives
from tapegrad.autograd.check import Case, Layer, Setting, TrialCall, operations, register_case
from tapegrad.autograd.ops.index_template import HOLE

# Primitives ---------------------------------------------------------------------------------------

# Functions with a branch cut on the imaginary axis.
CUT = {"arctan"}
# Entries of the regime "large" where a thousand would overflow, or lose every digit.
LARGE = {"exp": 10.0, "expm1": 10.0, "sinh": 10.0, "cosh": 10.0, "power": 5.0, "tan": 1.0}


def elementwise(name):
    """Operands that broadcast, each in the domain that the primitive declares."""
    primitive = primitives()[name].primitive

    def draw(d):
        shapes = d.broadcastable(len(primitive.arguments))
        large = LARGE.get(name, 1000.0)
        return TrialCall(
            [
                d.array(
                    shape,
                    *primitive.domain.get(argument, (None, None)),
                    large=large,
                    cut=name in CUT,
                )
                for argument, shape in zip(primitive.arguments, shapes, strict=True)
            ]
        )

    return draw


def reduction(d):
    """x over one axis, several or all of them; never over an empty one."""
    shape = d.shape("N A B") if d.empties else d.shape()
    axis = d.choice([1, (1, 2), -1]) if d.empties else d.axes(len(shape))
    return TrialCall([d.array(shape)], {"axis": axis, "keepdims": d.choice([False, True])})


def along_one_axis(d):
    """x along one axis, or flattened."""
    shape = d.shape("N A B") if d.empties else d.shape()
    axis = d.choice([1, -1]) if d.empties else d.axis(len(shape)) if shape else None
    if axis is not None and not d.empties and d.choice([False, False, True]):
        axis = None
    return TrialCall([d.array(shape)], {"axis": axis})


def arctan2(d):
    """Off the negative half-axis, where the angle jumps, except in ordinary data."""
    first, second = d.broadcastable(2)
    return TrialCall([d.array(first), d.array(second, None if d.regime == "ordinary" else 0)])


def softmax(d):
    shape = d.shape("N A B")[: 3 if d.empties else d.integer(1, 3)]
    return TrialCall(
        [d.array(shape)], {"axis": d.choice([1, -1]) if d.empties else d.axis(len(shape))}
    )


def where(d):
    c, x1, x2 = d.broadcastable(3)
    return TrialCall([d.booleans(c), d.array(x1), d.array(x2)])


def clip(d):
    low, high = d.choice([(-0.5, 0.75), (None, 0.25), (-1.5, None)])
    return TrialCall([d.array(d.shape())], {"a_min": low, "a_max": high})


def reshape(d):
    shape = d.shape()
    size = math.prod(shape)
    target = d.choice([shape[::-1], (-1,) if size else (0,), (1, *shape), (size, 1), size])
    return TrialCall([d.array(shape)], {"shape": target})


def transpose(d):
    shape = d.shape()
    axes = None
    if shape and d.choice([True, False]):
        axes = tuple(int(a) for a in d.rng.permutation(len(shape)))
        axes = tuple(a - len(shape) if d.choice([False, True]) else a for a in axes)
    return TrialCall([d.array(shape)], {"axes": axes})


def broadcast_to(d):
    full = d.shape()
    kept = full[d.integer(0, len(full)) :]
    own = tuple(1 if d.choice([False, True]) else n for n in kept)
    return TrialCall([d.array(own)], {"shape": full})


def flip(d):
    shape = d.shape()
    return TrialCall([d.array(shape)], {"axis": d.axes(len(shape))})


def concatenate(d):
    shape = d.shape("N A B")
    axis = d.choice([0, 1, -1, None])
    parts = []
    for _ in range(d.integer(1, 3)):
        own = list(shape)
        if axis is not None:
            own[axis] = d.integer(0, 3)
        parts.append(d.array(tuple(own)))
    return TrialCall([parts], {"axis": axis})


def split(d):
    axis = d.choice([0, 1, -1])
    shape = list(d.shape("N A B"))
    if d.choice([True, False]):
        sections = d.integer(1, 3)
        shape[axis] *= sections
    else:
        sections = tuple(sorted(d.integer(0, shape[axis]) for _ in range(d.integer(1, 2))))
    return TrialCall([d.array(tuple(shape))], {"sections": sections, "axis": axis})


def pad(d):
    shape = d.shape()
    widths = tuple((d.integer(0, 2), d.integer(0, 2)) for _ in shape)
    if shape and shape[0] > 1:  # cutting off, too
        widths = ((d.choice([1, -1]), 1), *widths[1:])
    return TrialCall([d.array(shape)], {"widths": widths, "value": d.choice([0, 1.5])})


def basic_index(d, shape):
    """Slices, integers, None and Ellipsis that fit `shape`."""
    index = []
    for n in shape[: d.integer(0, len(shape))]:
        kind = d.choice(["slice", "step", "back", "int", "new"])
        if kind == "new":
            index.append(None)
            kind = "slice"
        if kind == "int" and n:
            index.append(d.integer(-n, n - 1))
        else:
            start = d.integer(0, n)
            index.append({
                "step": slice(start, None, 2), "back": slice(None, None, -1)
            }.get(kind, slice(start, n)))  # fmt: skip
    if d.choice([False, True]):
        index.append(Ellipsis)
    return tuple(index)


def take_slice(d):
    shape = d.shape()
    return TrialCall([d.array(shape)], {"index": basic_index(d, shape)})


def unslice(d):
    shape = d.shape()
    index = basic_index(d, shape)
    return TrialCall([d.array(np.empty(shape)[index].shape)], {"index": index, "shape": shape})


def array_index(d):
    """(shape, template, index arrays): integer arrays that repeat entries, or a mask."""
    shape = (d.size("N"), d.size("A"), d.size("B"))
    if d.choice(["integers", "mask"]) == "mask":
        mask = d.booleans(shape[:1])
        return shape, (HOLE,), [mask]
    many = d.shape("K") if not d.empties else (0,)
    arrays = [d.integers(many, -n, n) for n in shape[:2]]
    template = d.choice([(HOLE,), (HOLE, HOLE), (slice(None), HOLE), (HOLE, slice(None), HOLE)])
    holes = sum(part is HOLE for part in template)
    if template[-1] is HOLE and len(template) == 3:
        arrays[1] = d.integers(many, 0, shape[2])
    if template == (slice(None), HOLE):
        arrays = arrays[1:]
    return shape, template, arrays[:holes]


def filled(template, arrays):
    arrays = iter(arrays)
    return tuple(next(arrays) if part is HOLE else part for part in template)


def take_index(d):
    shape, template, arrays = array_index(d)
    return TrialCall([d.array(shape), arrays], {"template": template})


def index_add(d):
    shape, template, arrays = array_index(d)
    own = np.empty(shape)[filled(template, arrays)].shape
    return TrialCall([d.array(own), arrays], {"template": template, "shape": shape})


def replace_entries(d):
    if d.choice(["arrays", "slices"]) == "arrays":
        shape, template, indices = array_index(d)
    else:
        shape, indices = d.shape(), []
        template = basic_index(d, shape)
    value = [d.choice([1, n]) for n in np.empty(shape)[filled(template, indices)].shape]
    path = ()
    if d.choice(["itself", "a view"]) == "a view":
        flips = [(ops.flip, (0,), None)] if shape else []
        path = (*flips, (ops.transpose, (None,), None))
        shape = shape[::-1]
    arguments = [d.array(shape), d.array(value), indices]
    return TrialCall(arguments, {"template": template, "path": path})


def is_last_write(d):
    shape, template, indices = array_index(d)
    return TrialCall([indices], {"template": template, "shape": shape})


def assign(d):
    shape = d.shape()
    return TrialCall([d.array(shape), d.array(shape[d.integer(0, len(shape)) :])])


def assign_at(d):
    shape, template, arrays = array_index(d)
    return TrialCall([d.array(shape), d.array(()), arrays], {"template": template})


def matmul(d):
    m, k, n = d.size("m"), d.size("k"), d.size("n")
    batch = d.shape("N T?")
    first, second = d.choice([
        ((m, k), (k, n)), ((k,), (k, n)), ((m, k), (k,)), ((k,), (k,)),
        ((*batch, m, k), (k, n)), ((*batch, m, k), (*batch, k, n)), ((m, k), (*batch, k, n)),
        ((*batch, m, k), (k,)), ((k,), (*batch, k, n)), ((*batch, m, k), (1, k, n)),
    ])  # fmt: skip
    return TrialCall([d.array(first), d.array(second)])


def contract(d):
    axes1, axes2, result = d.choice([
        ("ij", "jk", "ik"), ("bij", "bjk", "bik"), ("ij", "ij", ""), ("ij", "ij", "ji"),
        ("ijk", "kj", "i"), ("i", "j", "ji"), ("ijs", "jk", "ki"), ("bij", "kjb", "kib"),
        ("", "i", "i"),
    ])  # fmt: skip
    shapes = [tuple(d.size(c) for c in axes) for axes in (axes1, axes2)]
    if d.empties and axes1:
        first = tuple(0 if c == axes1[0] else d.size(c) for c in axes1)
        second = tuple(0 if c == axes1[0] else d.size(c) for c in axes2)
        shapes = [first, second]
    settings = {"axes1": axes1, "axes2": axes2, "result": result}
    return TrialCall([d.array(shapes[0]), d.array(shapes[1])], settings)


def drawing(**settings):
    def draw(d):
        return TrialCall([], {**settings, "shape": d.shape(), "dtype": np.dtype(np.float64)})

    return draw


def with_setting(**settings):
    return lambda d: TrialCall([d.array(d.shape())], settings)


def class_labels(d):
    classes = d.integer(1, 4)
    labels = d.integers(d.shape("N"), 0, classes)
    return TrialCall([labels], {"classes": classes, "ignored": -100})


def indices_within(d):
    length = d.integer(1, 4)
    return TrialCall([d.integers(d.shape("N A"), 0, length)], {"length": length})


def windows(d, *, dilated=False):
    """Kernel, stride and padding of a pooling as settings, and an image shape that holds one."""
    kernel = (d.integer(1, 3), d.integer(1, 3))
    settings = {
        "kernel": kernel,
        "stride": d.choice([None, (1, 1), (2, 1)]),
        "padding": tuple(d.integer(0, k // 2) for k in kernel),
        "ceil_mode": d.choice([False, True]),
    }
    dilation = (1, d.integer(1, 2)) if dilated else (1, 1)
    if dilated:
        settings["dilation"] = dilation
    height, width = (dilation[i] * (kernel[i] - 1) + 1 + d.integer(0, 3) for i in range(2))
    return settings, (d.size("N", 1, 2, may_be_empty=True), d.size("C", 1, 2), height, width)


def max_pool2d(d):
    settings, shape = windows(d, dilated=True)
    return TrialCall([d.array(shape)], settings)


def picks(d):
    """An image's shape and the picks of some max pooling of it."""
    settings, shape = windows(d)
    image = d.rng.standard_normal(shape)
    return shape, primitives()["max_pool2d"].with_aux(image, **settings)[1]


def max_pool2d_gather(d):
    shape, indices = picks(d)
    return TrialCall([d.array(shape), indices])


def max_unpool2d(d):
    shape, indices = picks(d)
    return TrialCall([d.array(indices.shape), indices], {"shape": shape})


def avg_pool2d(d):
    settings, shape = windows(d)
    settings["count_include_pad"] = d.choice([True, False])
    settings["divide"] = d.choice([True, True, False])
    return TrialCall([d.array(shape)], settings)


def avg_pool2d_gradient(d):
    call = avg_pool2d(d)
    [image] = call.args
    y = primitives()["avg_pool2d"](image, **call.settings)
    return TrialCall([d.array(y.shape)], {"shape": image.shape, **call.settings})


def conv2d(d):
    groups = d.choice([1, 1, 2])
    kernel = (d.integer(1, 3), d.integer(1, 3))
    settings = {
        "stride": (d.integer(1, 2), d.integer(1, 3)),
        "padding": (d.integer(0, 2), d.integer(0, 1)),
        "dilation": (d.integer(1, 2), 1),
        "groups": groups,
    }
    height, width = (
        max(1, settings["dilation"][i] * (kernel[i] - 1) + 1 - 2 * settings["padding"][i])
        + d.integer(0, 3)
        for i in range(2)
    )
    n, c, o = d.size("N", 1, 2, may_be_empty=True), d.size("C", 1, 2), d.size("O", 1, 2)
    x = d.array((n, groups * c, height, width))
    return TrialCall([x, d.array((groups * o, c, *kernel))], settings)


def conv2d_input_gradient(d):
    call = conv2d(d)
    x, w = call.args
    y = primitives()["conv2d"](x, w, **call.settings)
    return TrialCall([d.array(y.shape), w], {"shape": x.shape, **call.settings})


def conv2d_weight_gradient(d):
    call = conv2d(d)
    x, w = call.args
    y = primitives()["conv2d"](x, w, **call.settings)
    return TrialCall([x, d.array(y.shape)], {"shape": w.shape, **call.settings})


PRIMITIVES = {
    **{
        name: elementwise(name)
        for name in (
            "absolute", "add", "arccos", "arcsin", "arctan", "ceil", "conjugate", "copy",
            "cos", "cosh", "divide", "equal", "exp", "expm1", "floor", "floor_divide", "greater",
            "greater_equal", "identity", "isfinite", "isinf", "isnan", "less", "less_equal", "log",
            "log1p", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor",
            "maximum", "minimum", "multiply", "negative", "not_equal", "power", "real", "relu",
            "phase", "remainder", "rint", "sigmoid", "signum", "sin", "sinh", "sqrt", "square",
            "subtract", "tan", "tanh",
        )
    },
    **dict.fromkeys(("all", "any", "logsumexp", "max", "mean", "min", "sum"), reduction),
    **dict.fromkeys(("cumsum",), along_one_axis),
    **dict.fromkeys(("argmax", "argmin"), along_one_axis),
    **dict.fromkeys(("softmax", "log_softmax"), softmax),
    "accumulate": assign,
    "arctan2": arctan2,
    "assign": assign,
    "assign_at": assign_at,
    "avg_pool2d": avg_pool2d,
    "avg_pool2d_gradient": avg_pool2d_gradient,
    "bernoulli": drawing(p=0.25),
    "broadcast_to": broadcast_to,
    "cast": with_setting(dtype=np.dtype(np.float64)),
    "class_labels": class_labels,
    "clip": clip,
    "concatenate": concatenate,
    "contract": contract,
    "conv2d": conv2d,
    "conv2d_input_gradient": conv2d_input_gradient,
    "conv2d_weight_gradient": conv2d_weight_gradient,
    "flip": flip,
    "index_add": index_add,
    "indices_within": indices_within,
    "replace_entries": replace_entries,
    "is_last_write": is_last_write,
    "matmul": matmul,
    "max_pool2d": max_pool2d,
    "max_pool2d_gather": max_pool2d_gather,
    "max_unpool2d": max_unpool2d,
    "normal": drawing(),
    "pad": pad,
    "reshape": reshape,
    "split": split,
    "take_index": take_index,
    "take_slice": take_slice,
    "to_device": with_setting(device="cpu"),
    "to_integer": with_setting(dtype=np.dtype(np.int64)),
    "transpose": transpose,
    "uniform": drawing(),
    "unslice": unslice,
    "where": where,
}  # fmt: skip

# Composites ---------------------------------------------------------------------------------------


def one(d):
    return TrialCall([d.array(d.shape())])


def two(d):
    return TrialCall([d.array(shape) for shape in d.broadcastable(2)])


def einsum(d):
    subscripts = d.choice([
        "ij,jk->ik", "ij,jk", "ii->i", "ii", "ij->ji", "ij->", "...i,i->...", "ij,jk,kl->il",
        "bij,bjk->bik", "i,i,i->i", "ij,ij,ij->j", "ij,kj,k", "i...,i->...",
    ])  # fmt: skip
    terms = subscripts.split("->")[0].split(",")
    shapes = [tuple(d.size(c) for c in t.replace("...", "T")) for t in terms]
    return TrialCall([subscripts, *(d.array(shape) for shape in shapes)])


def expand_dims(d):
    shape = d.shape()
    axis = d.integer(-len(shape) - 1, len(shape))
    return TrialCall([d.array(shape), d.choice([axis, (0, -1)])])


def squeeze(d):
    shape = (d.size("N", may_be_empty=True), 1, d.size("A"), 1)
    return TrialCall([d.array(shape)], {"axis": d.choice([None, 1, -1, (1, 3)])})


def statistic(d):
    shape = d.shape("N A B")
    shape = (shape[0], shape[1] + 1, shape[2])
    axis = (
        d.choice([1, (1, 2), -2]) if d.empties or shape[0] < 2 else d.choice([0, 1, None, (0, 1)])
    )
    return TrialCall([d.array(shape)], {"axis": axis, "keepdims": d.choice([False, True])})


def variance(d):
    call = statistic(d)
    call.settings["ddof"] = d.choice([0, 1])
    return call


def stack(d):
    shape = d.shape()
    axis = d.integer(-len(shape) - 1, len(shape))
    return TrialCall([[d.array(shape) for _ in range(d.integer(1, 3))]], {"axis": axis})


def tile(d):
    reps = d.choice([2, (2,), (1, 3), (2, 1, 2)])
    return TrialCall([d.array(d.shape()), reps])


def repeat(d):
    shape = d.shape("N A")
    return TrialCall([d.array(shape), d.integer(1, 3)], {"axis": d.choice([None, 0, 1, -1])})


def take(d):
    shape = (d.size("N"), d.size("A"))
    axis = d.choice([None, 0, 1, -1])
    n = math.prod(shape) if axis is None else shape[axis]
    many = (0,) if d.empties else d.shape("K T?")
    return TrialCall([d.array(shape), d.integers(many, -n, n)], {"axis": axis})


def take_along_axis(d):
    shape = d.shape("N A B")
    axis = d.choice([1, 2, -1])
    wanted = list(shape)
    wanted[axis] = d.integer(1, 3)
    return TrialCall([d.array(shape), d.integers(tuple(wanted), 0, shape[axis])], {"axis": axis})


def tensordot(d):
    a, b = d.size("A"), d.size("B")
    shape = (d.size("N", may_be_empty=True), a, b)
    return TrialCall([d.array(shape), d.array((a, b, d.size("C")))], {
        "axes": d.choice([2, ([1, 2], [0, 1]), ([2], [1])])
    })  # fmt: skip


def dot(d):
    k = d.size("k")
    first, second = d.choice([
        ((k,), (k,)), ((2, k), (k, 3)), ((2, k), (k,)), ((), (k,)), ((2, 2, k), (3, k, 2)),
        ((k,), (2, k, 3)),
    ])  # fmt: skip
    return TrialCall([d.array(first), d.array(second)])


def inner(d):
    k = d.size("k")
    first, second = d.choice([((k,), (k,)), ((2, k), (3, k)), ((), (k,)), ((2, 2, k), (k,))])
    return TrialCall([d.array(first), d.array(second)])


def trace(d):
    return TrialCall([d.array((d.size("A"), d.size("B"), d.size("C")))], {
        "axis1": d.choice([0, 2]), "axis2": 1
    })  # fmt: skip


def swapaxes(d):
    return TrialCall([d.array(d.shape("N A B")), d.integer(-3, 2), d.integer(-3, 2)])


def moveaxis(d):
    source, destination = d.choice([(0, -1), (2, 0), ((0, 1), (1, 2)), ((-1, 0), (0, 1))])
    return TrialCall([d.array(d.shape("N A B")), source, destination])


def numpy_pad(d):
    shape = d.shape("N A")
    width = d.choice([1, (1, 2), ((1, 0), (0, 2))])
    return TrialCall([d.array(shape), width], {"constant_values": d.choice([0, 2.5])})


def same_or_not(d):
    x = d.array(d.shape())
    return TrialCall([x, np.array(x) if d.choice([True, False]) else np.array(x + 1)])


COMPOSITES = {
    **dict.fromkeys(
        ("atleast_1d", "iscomplexobj", "isrealobj", "ndim", "ones_like", "ravel", "shape", "sign",
         "size", "zeros_like"),
        one,
    ),
    "result_type": two,
    "outer": lambda d: TrialCall([d.array((d.integer(1, 4),)), d.array((d.integer(1, 4),))]),
    **dict.fromkeys(("allclose", "array_equal", "isclose", "shares_memory"), same_or_not),
    "dot": dot,
    "einsum": einsum,
    "expand_dims": expand_dims,
    "full_like": lambda d: TrialCall([d.array(d.shape()), 2.5]),
    "inner": inner,
    "moveaxis": moveaxis,
    "numpy_pad": numpy_pad,
    "prod": statistic,
    "repeat": repeat,
    "squeeze": squeeze,
    "stack": stack,
    "std": variance,
    "swapaxes": swapaxes,
    "take": take,
    "take_along_axis": take_along_axis,
    "tensordot": tensordot,
    "tile": tile,
    "trace": trace,
    "var": variance,
}  # fmt: skip


# Modules ------------------------------------------------------------------------------------------


def linear(d):
    n_in, n_out = d.size("n_in"), d.size("n_out")
    module = nn.Linear(n_in, n_out, d.choice([True, False]))
    shape = (*d.shape("N? T?"), n_in)
    return Layer(
        module,
        d.array(shape),
        wrong=d.array((*shape[:-1], n_in + 1)),
        batch="always" if len(shape) > 1 else None,
    )


def anywhere(make):
    """Elementwise: any shape, any first axis is a batch."""

    def draw(d):
        shape = d.shape("N A? B?")
        return Layer(make(d), d.array(shape), batch="always")

    return draw


def classes(make):
    """(C,), (N, C), (C, H, W) or (N, C, H, W)."""

    def draw(d):
        shape = d.shape(d.choice(["C", "N C", "C H W", "N C H W"]))
        batch = "always" if len(shape) in (2, 4) else None
        return Layer(make(), d.array(shape), wrong=d.array((1,) * 5), batch=batch)

    return draw


def images(d, kernel, padding, planes):
    """(N,) C, H, W that hold a window; and how they are wrong."""
    height = builtin_max(1, kernel[1] - 2 * padding[1]) + d.integer(0, 3)
    width = builtin_max(1, kernel[0] - 2 * padding[0]) + d.integer(0, 3)
    return (*d.shape("N?"), planes, height, width)


builtin_max = max


def convolution(d):
    n_in, n_out = d.size("n_in", 1, 3), d.size("n_out", 1, 3)
    kernel = (d.integer(1, 3), d.integer(1, 3))
    padding = (d.integer(0, 2), d.integer(0, 2))
    stride = (d.integer(1, 2), d.integer(1, 3))
    module = nn.SpatialConvolution(n_in, n_out, *kernel, *stride, *padding)
    if d.choice([False, True]):
        module.noBias()
    shape = images(d, kernel, padding, n_in)
    wrong = d.array((n_in + 1, *shape[-2:]))
    return Layer(module, d.array(shape), wrong, "always" if len(shape) == 4 else None)


def pooling(make):
    def draw(d):
        kernel = (d.integer(1, 3), d.integer(1, 3))
        padding = tuple(d.integer(0, k // 2) for k in kernel)
        stride = (d.integer(1, 3), d.integer(1, 2))
        module = make(d)(*kernel, *stride, *padding)
        if d.choice([False, True]):
            module.ceil()
        shape = images(d, kernel, padding, d.size("C", 1, 2))
        batch = "always" if len(shape) == 4 else None
        return Layer(module, d.array(shape), d.array(shape[-1:]), batch)

    return draw


def average(d):
    def make(*sizes):
        module = nn.SpatialAveragePooling(*sizes)
        module.divide = d.choice([True, True, False])
        return module.setCountExcludePad() if d.choice([False, True]) else module

    return make


def normalization(kind, axes):
    def draw(d):
        features = d.size("C", 1, 3)
        module = kind(features, 1e-2, d.choice([0.1, 0.5]), d.choice([True, False]))
        shape = (d.size("N", 1, 4), features, *d.shape("H W")[: axes - 2])
        wrong = d.array((shape[0], features + 1, *shape[2:]))
        return Layer(module, d.array(shape), wrong, "evaluate")

    return draw


def dropout(d):
    module = nn.Dropout(d.choice([0.5, 0.0, 0.25]), d.choice([False, True]))
    return Layer(module, d.array(d.shape("N A? B?")), batch="evaluate")


def reshaped(d):
    n, a, b = d.size("N"), d.size("A"), d.size("B")
    mode = d.choice([True, None, False])
    module = nn.Reshape(b, a, batchMode=mode)
    shape = (a, b) if mode is False else (n, a, b)
    if mode is None and n == 1:
        shape = (1, a, b)
    wrong = d.array((n, a * b + 1)) if a * b > 1 else None
    return Layer(module, d.array(shape), wrong, None if mode is False else "always")


def viewed(d):
    n, a, b = d.size("N"), d.size("A"), d.size("B")
    module = d.choice([nn.View(b, a), nn.View(b, -1)]).setNumInputDims(2)
    wrong = d.array((n, a, b + 1)) if a * (b + 1) % b else None
    return Layer(module, d.array((n, a, b)), wrong, "always")


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


def identity(d):
    shape = d.shape("N A")
    x = d.array(shape)
    table = [x, [d.array(shape), d.array(shape[:1])]]
    return Layer(nn.Identity(), d.choice([x, table]), batch="always")


MODULES = {
    "BatchNormalization": normalization(nn.BatchNormalization, 2),
    "ConcatTable": concat_table,
    "Dropout": dropout,
    "Identity": identity,
    "Linear": linear,
    "LogSoftMax": classes(nn.LogSoftMax),
    "ReLU": anywhere(lambda d: nn.ReLU(d.choice([False, True]))),
    "Reshape": reshaped,
    "Sequential": sequential,
    "Sigmoid": anywhere(lambda _: nn.Sigmoid()),
    "SoftMax": classes(nn.SoftMax),
    "SpatialAveragePooling": pooling(average),
    "SpatialBatchNormalization": normalization(nn.SpatialBatchNormalization, 4),
    "SpatialConvolution": convolution,
    "SpatialMaxPooling": pooling(lambda _: nn.SpatialMaxPooling),
    "Tanh": anywhere(lambda _: nn.Tanh()),
    "View": viewed,
}

# Criterions ---------------------------------------------------------------------------------------


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


CRITERIONS = {
    "ClassNLLCriterion": labelled(nn.ClassNLLCriterion),
    "CrossEntropyCriterion": labelled(nn.CrossEntropyCriterion),
    "MSECriterion": mse,
}

# Optimizers ---------------------------------------------------------------------------------------


def sgd(d):
    size = d.integer(1, 6)
    config = {"learningRate": d.choice([0.1, 0.01])}
    kind = d.choice(["plain", "momentum", "nesterov", "damped"])
    if kind != "plain":
        config["momentum"] = d.choice([0.5, 0.9])
    if kind == "nesterov":
        config.update(nesterov=True, dampening=0)
    if kind == "damped":
        config["dampening"] = 0.25
    decay = d.choice(["none", "weight", "weights", "rate"])
    if decay == "weight":
        config["weightDecay"] = 0.01
    elif decay == "weights":
        config["weightDecays"] = d.rng.uniform(0, 0.02, size)
    elif decay == "rate":
        config["learningRateDecay"] = 0.05
    if d.choice([False, True]):
        config["learningRates"] = d.rng.uniform(0.5, 1.0, size)
    return Setting(config, size)


OPTIMIZERS = {"sgd": sgd}

# Exceptions ---------------------------------------------------------------------------------------

# (subject, law): why the law does not hold there.  Strict: an exception that is no longer needed
# fails the suite.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("to_device", "strict_arrays_agree_with_numpy"): "its setting says where the result goes",
    ("nonzero_parts", "a_batch_agrees_with_the_loop_over_samples"): (
        "its results have as many entries as are not 0, which differs from sample to sample"
    ),
}

# Cases of an area stand in files of their own, `cases_<area>.py`, under the same names.
for _path in sorted(Path(__file__).parent.glob("cases_*.py")):
    _area = importlib.import_module(_path.stem)
    for _name in ("PRIMITIVES", "COMPOSITES", "MODULES", "CRITERIONS", "OPTIMIZERS", "EXCEPTIONS"):
        globals()[_name].update(getattr(_area, _name, {}))

OPERATIONS = {**PRIMITIVES, **COMPOSITES}


def register():
    """Declare every case to the checker, for `pytest --laws tapegrad.nn` and `tapegrad check`."""
    homes = [(MODULES, nn), (CRITERIONS, nn), (OPTIMIZERS, optim)]
    found = [(getattr(home, name), name, case) for table, home in homes
             for name, case in table.items()]  # fmt: skip
    found += [(operations()[name], name, case) for name, case in OPERATIONS.items()]
    for subject, name, case in found:
        exceptions = {law: why for (excepted, law), why in EXCEPTIONS.items() if excepted == name}
        register_case(subject, Case(case, exceptions=exceptions))
